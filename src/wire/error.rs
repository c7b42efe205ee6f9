//! What a peer can do wrong, as data: one variant per rule, each with its section, its close code and a sentence.

use std::fmt;

use super::{CloseCode, Opcode, Rule};

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

impl ProtocolError {
    /// The rule that was broken.
    pub const fn rule(&self) -> &'static Rule {
        match self {
            Self::ReservedBit(_) => Rule::RESERVED_BIT,
            Self::ReservedOpcode(_) => Rule::RESERVED_OPCODE,
            Self::FragmentedControlFrame(_) => Rule::FRAGMENTED_CONTROL_FRAME,
            Self::ControlFrameTooLong(_) => Rule::CONTROL_FRAME_TOO_LONG,
            Self::CompressedOutOfPlace(_) => Rule::COMPRESSED_OUT_OF_PLACE,
            Self::LengthNotMinimal(_) => Rule::LENGTH_NOT_MINIMAL,
            Self::LengthTopBit => Rule::LENGTH_TOP_BIT,
            Self::MaskMissing => Rule::MASK_MISSING,
            Self::MaskForbidden => Rule::MASK_FORBIDDEN,
            Self::ContinuationUnexpected => Rule::CONTINUATION_UNEXPECTED,
            Self::ContinuationExpected(_) => Rule::CONTINUATION_EXPECTED,
            Self::InvalidUtf8 => Rule::INVALID_UTF8,
            Self::CloseTooShort => Rule::CLOSE_TOO_SHORT,
            Self::CloseCodeInvalid(_) => Rule::CLOSE_CODE_INVALID,
            Self::CloseReasonNotUtf8 => Rule::CLOSE_REASON_NOT_UTF8,
            Self::InflateFailed => Rule::INFLATE_FAILED,
            Self::MessageTooBig(_) => Rule::MESSAGE_TOO_BIG,
            Self::TooManyFragments(_) => Rule::TOO_MANY_FRAGMENTS,
            Self::ControlFlood(_) => Rule::CONTROL_FLOOD,
            Self::MessageTimeout => Rule::MESSAGE_TIMEOUT,
            Self::KeepaliveTimeout => Rule::KEEPALIVE_TIMEOUT,
        }
    }

    /// The code that the connection closes with.
    pub const fn close_code(&self) -> CloseCode {
        match self.rule().close_code() {
            Some(code) => code,
            None => CloseCode::PROTOCOL_ERROR,
        }
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
