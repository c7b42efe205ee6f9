//! A broken rule: which, by whom, and where.

use std::fmt;

use crate::handshake::{HandshakeError, Rejection};
use crate::protocol::Role;
use crate::wire::{ProtocolError, Rule};

/// A rule that one end of a conversation broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Who broke it.
    pub by: Role,
    /// Where the frame begins that broke it, in bytes from the start of what that end sent; for a handshake, 0.
    pub offset: u64,
    /// What happened.
    pub breach: Breach,
}

/// What broke a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// The client's request, as a server judges it.
    Request(Rejection),
    /// The server's answer, as a client judges it.
    Answer(HandshakeError),
    /// A frame or message, as its receiver judges it.
    Frame(ProtocolError),
    /// A data frame behind a Close.
    DataAfterClose,
    /// Bytes from the client between its request and the answer.
    DataBeforeAnswer,
}

impl Violation {
    /// The rule that was broken.
    pub fn rule(&self) -> &'static Rule {
        match &self.breach {
            Breach::Request(rejection) => rejection.rule(),
            Breach::Answer(error) => error.rule(),
            Breach::Frame(error) => error.rule(),
            Breach::DataAfterClose => Rule::DATA_AFTER_CLOSE,
            Breach::DataBeforeAnswer => Rule::DATA_BEFORE_ANSWER,
        }
    }
}

impl fmt::Display for Breach {
    /// What happened, then the rule and its section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, rule) = match self {
            Self::Request(rejection) => return rejection.fmt(f),
            Self::Answer(error) => return error.fmt(f),
            Self::Frame(error) => return error.fmt(f),
            Self::DataAfterClose => ("a data frame behind a Close", Rule::DATA_AFTER_CLOSE),
            Self::DataBeforeAnswer => ("bytes behind a request that is not answered yet", Rule::DATA_BEFORE_ANSWER),
        };
        write!(f, "{what}: {} [{}]", rule.sentence, rule.section)
    }
}
