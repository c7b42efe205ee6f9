//! The way out: who said Close, what went wrong, and who lets go of the stream first [RFC 6455 §7].
//!
//! ```text
//!                 we close                    the peer's Close
//!        Open ───────────────▶ sent only ───────────────────────▶ sent and received
//!          │  the peer's Close, echoed                                   ▲    server: flush, shut down, drain
//!          ├─────────────────────────────────────────────────────────────┘    client: flush, wait for the server
//!          │  a broken rule, a missed deadline
//!          └───────────────▶ failed: flush our Close, shut down, drain
//! ```
//! From each of these a deadline leads to the end.

use std::time::Instant;

use super::{Closed, Config, Role, Side, State, Teardown};
use crate::wire::{CloseCode, CloseFrame, ProtocolError};

/// What is known of a connection's end, from its first sign on.
#[derive(Debug)]
pub(super) struct Closing {
    by: Side,
    sent: bool,
    received: Option<(CloseCode, String)>,
    error: Option<ProtocolError>,
    /// What our Close said, if the connection is given up with it.
    given_up: Option<(CloseCode, String)>,
    /// Whether the peer's stream has ended.
    ended: bool,
    /// Whether the deadline has passed.
    expired: bool,
    deadline: Option<Instant>,
}

impl Closing {
    fn new(by: Side, deadline: Option<Instant>) -> Self {
        Self { by, sent: false, received: None, error: None, given_up: None, ended: false, expired: false, deadline }
    }

    /// We sent a Close.
    pub(super) fn by_us(now: Instant, config: &Config) -> Self {
        Self { sent: true, ..Self::new(Side::Local, now.checked_add(config.close_timeout)) }
    }

    /// The peer began, by a Close or by breaking a rule, and we sent ours.
    pub(super) fn by_peer(now: Instant, config: &Config) -> Self {
        Self { sent: true, ..Self::new(Side::Peer, now.checked_add(config.close_timeout)) }
    }

    /// The peer's stream ended without a Close.
    pub(super) fn by_end_of_stream() -> Self {
        Self::new(Side::Peer, None)
    }

    pub(super) fn receive(&mut self, frame: &CloseFrame<'_>, now: Instant, config: &Config) {
        self.received = Some((frame.code, frame.reason.to_owned()));
        self.deadline = now.checked_add(config.close_timeout);
    }

    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.error = Some(error);
    }

    pub(super) fn give_up(&mut self, code: CloseCode, reason: &str) {
        self.given_up = Some((code, reason.to_owned()));
    }

    pub(super) const fn end_of_stream(&mut self) {
        self.ended = true;
    }

    /// Whether nothing that the peer still sends has a meaning.
    pub(super) const fn is_deaf(&self) -> bool {
        self.received.is_some() || self.error.is_some() || self.ended || self.expired
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        if self.expired { None } else { self.deadline }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.expired |= self.deadline.is_some_and(|deadline| deadline <= now);
    }

    pub(super) const fn state(&self) -> State {
        if self.ended || self.expired {
            State::Closed
        } else {
            State::Closing { sent: self.sent, received: self.received.is_some() }
        }
    }

    pub(super) const fn teardown(&self, role: Role) -> Teardown {
        let over = self.received.is_some() || self.error.is_some();
        if self.expired || (self.ended && !over) {
            Teardown::Drop
        } else if !over {
            Teardown::KeepOpen
        } else if matches!(role, Role::Client) && self.error.is_none() && !self.ended {
            Teardown::AwaitPeerEnd
        } else {
            Teardown::FlushThenCloseWrite
        }
    }

    pub(super) fn closed(&self) -> Closed {
        let (code, reason) = match (&self.received, &self.error) {
            (Some((code, reason)), _) => (*code, reason.clone()),
            (None, Some(error)) => (error.close_code(), error.rule().sentence.to_owned()),
            (None, None) => self.given_up.clone().unwrap_or((CloseCode::ABNORMAL, String::new())),
        };
        let clean = self.sent && self.received.is_some() && self.error.is_none();
        Closed { code, reason, clean, by: self.by, error: self.error }
    }
}
