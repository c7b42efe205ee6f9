//! What goes wrong in a handshake besides a bad request: an answer that breaks a rule, or something that may not be
//! sent.

use std::fmt;

use super::{Fields, HeadFault};
use crate::deflate::ParamError;
use crate::wire::Rule;

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
    pub fn rule(&self) -> &'static Rule {
        match self {
            Self::Head(fault) => fault.rule(),
            Self::FieldInvalid(_) => Rule::FIELD_UNSENDABLE,
            Self::FieldReserved(_) => Rule::FIELD_RESERVED,
            Self::ProtocolInvalid(_) => Rule::PROTOCOL_UNSENDABLE,
            Self::ProtocolDuplicate(_) => Rule::PROTOCOL_OFFERED_TWICE,
            Self::Random => Rule::RANDOM,
            Self::NotHttp11 => Rule::ANSWER_HTTP_VERSION,
            Self::Refused(_) => Rule::REFUSED,
            Self::UpgradeWrong => Rule::ANSWER_UPGRADE,
            Self::ConnectionWithoutUpgrade => Rule::ANSWER_CONNECTION,
            Self::AcceptMissing => Rule::ACCEPT_MISSING,
            Self::AcceptDuplicate => Rule::ACCEPT_DUPLICATE,
            Self::AcceptWrong => Rule::ACCEPT_WRONG,
            Self::ProtocolNotOffered(_) => Rule::PROTOCOL_NOT_OFFERED,
            Self::ProtocolAmbiguous => Rule::PROTOCOL_AMBIGUOUS,
            Self::ExtensionNotOffered(_) => Rule::EXTENSION_NOT_OFFERED,
            Self::ExtensionsInvalid => Rule::ANSWER_EXTENSIONS_INVALID,
            Self::DeflateRefused(_) => Rule::DEFLATE_PARAMETERS,
            Self::Truncated(_) => Rule::ANSWER_TRUNCATED,
        }
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
