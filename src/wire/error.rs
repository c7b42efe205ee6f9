//! What a peer can do wrong, as data: one variant per rule, each with its section, its close code and a sentence.

use std::fmt;

use super::{CloseCode, Opcode};

/// A rule that a peer broke.
///
/// Every variant leads to one [`Rule`], from which the close frame, the log line, the documentation and the tests
/// are all made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 (its number here) is set, and no agreed extension gives it a meaning.
    ReservedBit(u8),
    /// An opcode that the RFC reserves.
    ReservedOpcode(u8),
    /// A control frame without FIN.
    FragmentedControlFrame(Opcode),
    /// A control frame with more than 125 bytes of payload.
    ControlFrameTooLong(Opcode),
    /// RSV1 set on a control or continuation frame, where compression has no meaning.
    CompressedOutOfPlace(Opcode),
    /// A length that would have fitted a shorter form.
    LengthNotMinimal(u64),
    /// A 64-bit length with its most significant bit set.
    LengthTopBit,
    /// A client sent a frame without a mask.
    MaskMissing,
    /// A server sent a frame with a mask.
    MaskForbidden,
    /// A continuation frame while no message is unfinished.
    ContinuationUnexpected,
    /// A new message began before the unfinished one ended.
    ContinuationExpected(Opcode),
    /// A text message that is not UTF-8.
    InvalidUtf8,
    /// A close frame whose payload is one byte.
    CloseTooShort,
    /// A close frame with a code that may not be sent.
    CloseCodeInvalid(CloseCode),
    /// A close frame whose reason is not UTF-8.
    CloseReasonNotUtf8,
    /// A compressed message that does not inflate.
    InflateFailed,
    /// A message longer than this endpoint takes; the limit in bytes.
    MessageTooBig(usize),
    /// A message in more fragments than this endpoint takes; the limit.
    TooManyFragments(u32),
    /// Control frames faster than this endpoint takes them; the limit per second.
    ControlFlood(u32),
    /// A frame or message was begun and not finished in time.
    MessageTimeout,
    /// No sign of life within the keepalive's deadline.
    KeepaliveTimeout,
}

/// What a [`ProtocolError`] violates, in words and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// A short name that stays the same, for tools and tests.
    pub id: &'static str,
    /// Where it is written.
    pub section: &'static str,
    /// The code that the connection closes with.
    pub close_code: CloseCode,
    /// The rule in a sentence.
    pub sentence: &'static str,
}

impl ProtocolError {
    /// The rule that was broken.
    pub const fn rule(&self) -> Rule {
        const fn rule(id: &'static str, section: &'static str, close_code: CloseCode, sentence: &'static str) -> Rule {
            Rule { id, section, close_code, sentence }
        }
        use CloseCode as Code;
        match self {
            Self::ReservedBit(_) => rule(
                "reserved-bit",
                "RFC 6455 §5.2",
                Code::PROTOCOL_ERROR,
                "a reserved bit is zero unless an agreed extension gives it a meaning",
            ),
            Self::ReservedOpcode(_) => {
                rule("reserved-opcode", "RFC 6455 §5.2", Code::PROTOCOL_ERROR, "opcodes 3–7 and 11–15 are reserved")
            }
            Self::FragmentedControlFrame(_) => rule(
                "fragmented-control-frame",
                "RFC 6455 §5.5",
                Code::PROTOCOL_ERROR,
                "a control frame is never fragmented",
            ),
            Self::ControlFrameTooLong(_) => rule(
                "control-frame-too-long",
                "RFC 6455 §5.5",
                Code::PROTOCOL_ERROR,
                "a control frame carries at most 125 bytes",
            ),
            Self::CompressedOutOfPlace(_) => rule(
                "compressed-out-of-place",
                "RFC 7692 §6.1",
                Code::PROTOCOL_ERROR,
                "only the first frame of a data message says that it is compressed",
            ),
            Self::LengthNotMinimal(_) => rule(
                "length-not-minimal",
                "RFC 6455 §5.2",
                Code::PROTOCOL_ERROR,
                "a length stands in the shortest form that holds it",
            ),
            Self::LengthTopBit => rule(
                "length-top-bit",
                "RFC 6455 §5.2",
                Code::PROTOCOL_ERROR,
                "the most significant bit of a 64-bit length is zero",
            ),
            Self::MaskMissing => {
                rule("mask-missing", "RFC 6455 §5.1", Code::PROTOCOL_ERROR, "a client masks every frame it sends")
            }
            Self::MaskForbidden => {
                rule("mask-forbidden", "RFC 6455 §5.1", Code::PROTOCOL_ERROR, "a server masks no frame it sends")
            }
            Self::ContinuationUnexpected => rule(
                "continuation-unexpected",
                "RFC 6455 §5.4",
                Code::PROTOCOL_ERROR,
                "a continuation frame follows the unfinished frame of a message",
            ),
            Self::ContinuationExpected(_) => rule(
                "continuation-expected",
                "RFC 6455 §5.4",
                Code::PROTOCOL_ERROR,
                "the fragments of one message are not interleaved with another's",
            ),
            Self::InvalidUtf8 => {
                rule("invalid-utf8", "RFC 6455 §8.1", Code::INVALID_PAYLOAD, "a text message is valid UTF-8")
            }
            Self::CloseTooShort => rule(
                "close-too-short",
                "RFC 6455 §5.5.1",
                Code::PROTOCOL_ERROR,
                "a close frame's payload is empty or begins with a code of two bytes",
            ),
            Self::CloseCodeInvalid(_) => rule(
                "close-code-invalid",
                "RFC 6455 §7.4",
                Code::PROTOCOL_ERROR,
                "a close code is one of 1000–1003, 1007–1014 and 3000–4999",
            ),
            Self::CloseReasonNotUtf8 => rule(
                "close-reason-not-utf8",
                "RFC 6455 §5.5.1",
                Code::INVALID_PAYLOAD,
                "the reason in a close frame is valid UTF-8",
            ),
            Self::InflateFailed => rule(
                "inflate-failed",
                "RFC 7692 §7.2.2",
                Code::INVALID_PAYLOAD,
                "a compressed message is a valid DEFLATE stream within the agreed window",
            ),
            Self::MessageTooBig(_) => rule(
                "message-too-big",
                "RFC 6455 §10.4",
                Code::MESSAGE_TOO_BIG,
                "a message stays within the length that the receiver allows",
            ),
            Self::TooManyFragments(_) => rule(
                "too-many-fragments",
                "RFC 6455 §10.4",
                Code::POLICY_VIOLATION,
                "a message stays within the number of fragments that the receiver allows",
            ),
            Self::ControlFlood(_) => rule(
                "control-flood",
                "RFC 6455 §10.4",
                Code::POLICY_VIOLATION,
                "control frames come no faster than the receiver allows",
            ),
            Self::MessageTimeout => rule(
                "message-timeout",
                "RFC 6455 §10.4",
                Code::POLICY_VIOLATION,
                "a message that has begun ends within the time that the receiver allows",
            ),
            Self::KeepaliveTimeout => rule(
                "keepalive-timeout",
                "RFC 6455 §5.5.2",
                Code::INTERNAL_ERROR,
                "a ping is answered within the time that its sender allows",
            ),
        }
    }

    /// The code that the connection closes with.
    pub const fn close_code(&self) -> CloseCode {
        self.rule().close_code
    }

    /// Where the rule is written, such as `RFC 6455 §5.2`.
    pub const fn section(&self) -> &'static str {
        self.rule().section
    }
}

impl fmt::Display for ProtocolError {
    /// What happened, then the rule and its section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedBit(bit) => write!(f, "RSV{bit} is set"),
            Self::ReservedOpcode(bits) => write!(f, "opcode {bits} is reserved"),
            Self::FragmentedControlFrame(opcode) => write!(f, "a {opcode} frame without FIN"),
            Self::ControlFrameTooLong(opcode) => write!(f, "a {opcode} frame of more than 125 bytes"),
            Self::CompressedOutOfPlace(opcode) => write!(f, "RSV1 on a {opcode} frame"),
            Self::LengthNotMinimal(len) => write!(f, "length {len} in a longer form than it needs"),
            Self::LengthTopBit => f.write_str("a length of 2⁶³ or more"),
            Self::MaskMissing => f.write_str("an unmasked frame from a client"),
            Self::MaskForbidden => f.write_str("a masked frame from a server"),
            Self::ContinuationUnexpected => f.write_str("a continuation frame, but nothing to continue"),
            Self::ContinuationExpected(opcode) => write!(f, "a {opcode} frame inside an unfinished message"),
            Self::InvalidUtf8 => f.write_str("text that is not UTF-8"),
            Self::CloseTooShort => f.write_str("a close frame of one byte"),
            Self::CloseCodeInvalid(code) => write!(f, "close code {code} may not be sent"),
            Self::CloseReasonNotUtf8 => f.write_str("a close reason that is not UTF-8"),
            Self::InflateFailed => f.write_str("compressed data that does not inflate"),
            Self::MessageTooBig(limit) => write!(f, "a message of more than {limit} bytes"),
            Self::TooManyFragments(limit) => write!(f, "a message of more than {limit} fragments"),
            Self::ControlFlood(limit) => write!(f, "more than {limit} control frames a second"),
            Self::MessageTimeout => f.write_str("a message begun and not finished in time"),
            Self::KeepaliveTimeout => f.write_str("a ping not answered in time"),
        }?;
        let rule = self.rule();
        write!(f, ": {} [{}]", rule.sentence, rule.section)
    }
}

impl std::error::Error for ProtocolError {}
