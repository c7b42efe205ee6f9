//! What is sent, and what has to come back.

use std::fmt;

use loopwire::Role;
use loopwire::wire::Rule;

use super::head::Change;
use super::{answers, frames, requests};

/// One thing to do wrong, or one that looks wrong and is right.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) rule: &'static Rule,
    /// Which breach of the rule it is; `right: ` before what is none.
    pub(super) name: String,
    pub(super) force: Force,
    pub(super) sends: Sends,
    pub(super) demands: Demand,
}

/// How much the RFCs demand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// Whoever receives this MUST.
    Must,
    /// They say what a sender must not do, and only recommend, or leave to the receiver, what comes of it.
    Should,
}

#[derive(Debug)]
pub(super) enum Sends {
    /// Frames, behind a handshake that nothing is wrong with.
    Frames {
        bytes: Vec<u8>,
        /// Compression has to be agreed on before.
        compressed: bool,
        /// A Close is among them, with this code: nothing is sent behind it, and a peer that has taken it says the same.
        closes: Option<u16>,
    },
    /// A changed request or answer.
    Head { change: Change, then: Then },
}

/// What follows a changed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing, before the answer has come.
    Wait,
    /// A ping, at once.
    Frames,
    /// The end of what is sent.
    End,
}

/// What the peer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// A Close with one of these codes, then the end.
    Close(&'static [u16]),
    /// A Close, whatever it says, then the end.
    AnyClose,
    /// Go on as if nothing were wrong, because nothing is: a ping is answered.
    Open,
    /// The same, or one of these statuses.
    OpenOr(&'static [u16]),
    /// An answer with one of these statuses.
    Status(&'static [u16]),
    /// The same, with the versions that it speaks [RFC 6455 §4.4].
    Versions(&'static [u16]),
    /// The same, or the end without an answer.
    StatusOrEnd(&'static [u16]),
    /// The end, without a frame.
    End,
}

impl Probe {
    /// All that can be sent by this end.
    pub(super) fn all(by: Role) -> Vec<Self> {
        let mut probes = frames::probes(by);
        probes.extend(match by {
            Role::Client => requests::probes(),
            Role::Server => answers::probes(),
        });
        // By rule, in the order of the rules' own table.
        probes.sort_by_key(|probe| Rule::ALL.iter().position(|rule| *rule == probe.rule));
        probes
    }

    /// The same for one rule.
    pub(super) fn of(rule: &'static Rule, by: Role) -> Vec<Self> {
        Self::all(by).into_iter().filter(|probe| probe.rule == rule).collect()
    }

    /// It is a Close with this code, or ends with one.
    pub(super) fn says(&mut self, code: u16) {
        if let Sends::Frames { closes, .. } = &mut self.sends {
            *closes = Some(code);
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.sends, Sends::Frames { compressed: true, .. })
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |codes: &[u16]| codes.iter().map(u16::to_string).collect::<Vec<_>>().join("/");
        match self {
            Self::Close([code]) => write!(f, "Close {code}"),
            Self::Close(codes) => f.write_str(&list(codes)),
            Self::AnyClose => f.write_str("Close"),
            Self::Open => f.write_str("pong"),
            Self::OpenOr(statuses) => write!(f, "pong or {}", list(statuses)),
            Self::Status(statuses) | Self::Versions(statuses) => f.write_str(&list(statuses)),
            Self::StatusOrEnd(statuses) => write!(f, "{}/end", list(statuses)),
            Self::End => f.write_str("end"),
        }
    }
}

impl fmt::Display for Force {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::Should => "should",
        })
    }
}
