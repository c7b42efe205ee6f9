//! What goes wrong in a handshake besides a bad request: an answer that breaks a rule, or something that may not be
//! sent.

use std::fmt;

use super::{Fields, HandshakeRule, HeadFault};
use crate::deflate::ParamError;

/// Why a client's handshake failed, or why something was not sent.
///
/// Where a variant holds text that the peer sent, it is the beginning of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A field that this side wants to send has a name that is no token, or a value with a control byte.
    FieldInvalid(String),
    /// A field that this side wants to send is one that the handshake writes itself.
    FieldReserved(String),
    /// A protocol that this side wants to offer is not a token.
    ProtocolInvalid(String),
    /// A protocol that this side wants to offer is in the list twice.
    ProtocolDuplicate(String),
    /// The system gives no random bytes for the key.
    Random,

    /// The answer's head is broken.
    Head(HeadFault),
    /// The answer is not HTTP/1.1.
    NotHttp11,
    /// The server answered something else than 101.
    Refused(Box<Refusal>),
    /// A 101 without Upgrade: websocket, or with more than that.
    UpgradeWrong,
    /// A 101 whose Connection does not list `upgrade`.
    ConnectionWithoutUpgrade,
    /// A 101 without Sec-WebSocket-Accept.
    AcceptMissing,
    /// A 101 with more than one Sec-WebSocket-Accept.
    AcceptDuplicate,
    /// A Sec-WebSocket-Accept that does not answer the key.
    AcceptWrong,
    /// A protocol was chosen that was not offered.
    ProtocolNotOffered(String),
    /// More than one Sec-WebSocket-Protocol in the answer.
    ProtocolAmbiguous,
    /// An extension was agreed to that was not offered, or twice.
    ExtensionNotOffered(String),
    /// The answer's Sec-WebSocket-Extensions does not follow its grammar, or is there more than once.
    ExtensionsInvalid,
    /// The answer's parameters for compression are not what was offered.
    DeflateRefused(ParamError),
    /// The answer ended, or time was up, before it was complete; how many bytes of it had arrived.
    Truncated(usize),
}

/// An answer other than 101: a redirect, a demand for credentials, a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The answer's fields, such as Location or WWW-Authenticate.
    pub fields: Fields,
    /// The beginning of the body as it came, at most 4 KiB.
    pub body: Vec<u8>,
}

impl HandshakeError {
    /// The rule that was broken.
    pub fn rule(&self) -> HandshakeRule {
        let (id, section, sentence) = match self {
            Self::Head(fault) => return fault.rule(),
            Self::FieldInvalid(_) => (
                "field-unsendable",
                "RFC 9110 §5.5",
                "a field is a token and a value without CR, LF, NUL and other control bytes",
            ),
            Self::FieldReserved(_) => ("field-reserved", "RFC 6455 §4", "the handshake writes this field itself"),
            Self::ProtocolInvalid(_) => ("protocol-invalid", "RFC 6455 §4.1", "a protocol's name is a token"),
            Self::ProtocolDuplicate(_) => {
                ("protocol-duplicate", "RFC 6455 §4.1", "the protocols that a client offers are all different")
            }
            Self::Random => ("random", "RFC 6455 §4.1", "the key is chosen at random"),
            Self::NotHttp11 => ("http-version", "RFC 6455 §4.2.2", "the answer is HTTP/1.1"),
            Self::Refused(_) => ("refused", "RFC 6455 §4.1", "a server that agrees answers 101"),
            Self::UpgradeWrong => ("upgrade", "RFC 6455 §4.1", "a 101 has Upgrade: websocket"),
            Self::ConnectionWithoutUpgrade => ("connection", "RFC 6455 §4.1", "a 101 has Connection: Upgrade"),
            Self::AcceptMissing => ("accept-missing", "RFC 6455 §4.1", "a 101 has a Sec-WebSocket-Accept"),
            Self::AcceptDuplicate => ("accept-duplicate", "RFC 6455 §11.3.3", "Sec-WebSocket-Accept is given once"),
            Self::AcceptWrong => {
                ("accept-wrong", "RFC 6455 §4.1", "Sec-WebSocket-Accept proves that the server has read the key")
            }
            Self::ProtocolNotOffered(_) => {
                ("protocol-not-offered", "RFC 6455 §4.1", "a server chooses one of the protocols offered")
            }
            Self::ProtocolAmbiguous => {
                ("protocol-ambiguous", "RFC 6455 §11.3.4", "an answer has no more than one Sec-WebSocket-Protocol")
            }
            Self::ExtensionNotOffered(_) => (
                "extension-not-offered",
                "RFC 6455 §4.1",
                "a server agrees only to extensions that were offered, once each",
            ),
            Self::ExtensionsInvalid => (
                "extensions-invalid",
                "RFC 6455 §9.1",
                "an answer has no more than one Sec-WebSocket-Extensions, a list of tokens with parameters",
            ),
            Self::DeflateRefused(_) => {
                ("deflate-parameters", "RFC 7692 §7.1", "the parameters agreed to are among those offered")
            }
            Self::Truncated(_) => ("truncated", "RFC 6455 §4.1", "the answer is complete before the connection ends"),
        };
        HandshakeRule { id, section, sentence }
    }

    /// Where the rule is written, such as `RFC 6455 §4.1`.
    pub fn section(&self) -> &'static str {
        self.rule().section
    }

    /// The status, if the server refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

impl From<HeadFault> for HandshakeError {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl fmt::Display for HandshakeError {
    /// What happened, then the rule and its section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(fault) => fault.fmt(f),
            Self::FieldInvalid(name) => write!(f, "field {name:?} cannot be sent"),
            Self::FieldReserved(name) => write!(f, "field {name:?} cannot be added"),
            Self::ProtocolInvalid(protocol) => write!(f, "protocol {protocol:?}"),
            Self::ProtocolDuplicate(protocol) => write!(f, "protocol {protocol:?} twice"),
            Self::Random => f.write_str("the system gives no random bytes"),
            Self::NotHttp11 => f.write_str("an answer in another version than HTTP/1.1"),
            Self::Refused(refusal) => {
                write!(f, "the server answered {}", refusal.status)?;
                refusal.fields.get("Location").map_or(Ok(()), |to| write!(f, " to {:?}", super::fields::excerpt(to)))
            }
            Self::UpgradeWrong => f.write_str("a 101 whose Upgrade is not websocket"),
            Self::ConnectionWithoutUpgrade => f.write_str("a 101 whose Connection is not upgrade"),
            Self::AcceptMissing => f.write_str("no Sec-WebSocket-Accept"),
            Self::AcceptDuplicate => f.write_str("more than one Sec-WebSocket-Accept"),
            Self::AcceptWrong => f.write_str("a wrong Sec-WebSocket-Accept"),
            Self::ProtocolNotOffered(protocol) => write!(f, "protocol {protocol:?} was not offered"),
            Self::ProtocolAmbiguous => f.write_str("more than one Sec-WebSocket-Protocol"),
            Self::ExtensionNotOffered(name) => write!(f, "extension {name:?} was not offered"),
            Self::ExtensionsInvalid => f.write_str("a malformed Sec-WebSocket-Extensions"),
            Self::DeflateRefused(error) => error.fmt(f),
            Self::Truncated(len) => write!(f, "an answer that ended after {len} bytes"),
        }?;
        let rule = self.rule();
        write!(f, ": {} [{}]", rule.sentence, rule.section)
    }
}

impl std::error::Error for HandshakeError {}
