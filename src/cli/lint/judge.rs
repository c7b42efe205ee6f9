//! One connection, watched for what breaks a rule.

use std::time::Instant;

use loopwire::Role;
use loopwire::explain::{Conversation, Seen};

use super::report::{Found, Gap, Report};

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Judge {
    number: u64,
    /// Both ends' addresses, if they are known.
    addresses: Option<String>,
    conversation: Conversation,
    /// The frames that each end has finished.
    frames: [u64; 2],
    ended: [bool; 2],
    /// Its last whole request, if there was one, was for a WebSocket.
    asked: Option<bool>,
    /// It was one of ours: a WebSocket was asked for.
    is_websocket: bool,
    /// Something is missing before anybody can tell whether it was.
    is_lost: bool,
}

impl Judge {
    pub(super) fn new(number: u64, addresses: Option<String>) -> Self {
        Self {
            number,
            addresses,
            // Nothing of the payloads is shown.
            conversation: Conversation::new(Instant::now()).keep(0),
            frames: [0; 2],
            ended: [false; 2],
            asked: None,
            is_websocket: false,
            is_lost: false,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn bytes(&mut self, from: Role, bytes: &[u8], report: &mut Report) {
        let Self { number, addresses, frames, asked, is_websocket, .. } = self;
        self.conversation.push(from, bytes, &mut |seen| match seen {
            Seen::Request { head, outcome } => {
                *asked = Some(asks_for_websocket(head, outcome.is_ok()));
                *is_websocket |= *asked == Some(true);
            }
            Seen::Frame { from, .. } => {
                frames[index(from)] += 1;
                report.frame();
            }
            // What breaks a rule of HTTP alone is no matter of ours.
            Seen::Violation(violation) if *asked == Some(true) || addresses.is_none() => {
                // It is seen before its frame is complete.
                let frame = frames[index(violation.by)] + 1;
                let addresses = addresses.as_deref();
                report.found(&Found { connection: *number, addresses, frame, violation });
            }
            _ => {}
        });
    }

    pub(super) fn end(&mut self, from: Role) {
        self.ended[index(from)] = true;
        // A refusal without a length is complete now, which breaks nothing.
        self.conversation.end(from, &mut |_| {});
    }

    /// Whether both ends have ended.
    pub(super) fn is_over(&self) -> bool {
        self.ended == [true; 2]
    }

    /// Something is missing, so that nothing more can be said.
    pub(super) fn lose(&mut self, from: Role, offset: u64, missing: u64, report: &mut Report) {
        self.is_lost = self.asked.is_none();
        if self.is_websocket || self.is_lost {
            let addresses = self.addresses.as_deref();
            report.gap(&Gap { connection: self.number, addresses, from, offset, missing, in_request: self.is_lost });
        }
    }

    pub(super) fn finish(self, report: &mut Report) {
        let is_recorded = self.addresses.is_none();
        if self.is_websocket || self.is_lost || is_recorded {
            report.connection(self.is_websocket || (is_recorded && self.asked.is_some()));
        }
    }
}

/// Whether a request, right or wrong, wants a WebSocket, rather than a page.
fn asks_for_websocket(head: &[u8], is_right: bool) -> bool {
    is_right || String::from_utf8_lossy(head).to_ascii_lowercase().contains("websocket")
}

const fn index(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}
