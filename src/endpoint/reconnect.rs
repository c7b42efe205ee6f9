//! Whether and when a client dials again.

use std::time::{Duration, Instant};

use crate::net::{Backoff, DialError};
use crate::protocol::{Closed, Side};
use crate::wire::CloseCode;

/// Whether and when a client that lost its connection, or got none, dials again.
///
/// A connection that this end closed by itself is never dialled again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReconnectPolicy {
    /// How long to wait between attempts.
    pub backoff: Backoff,
    /// How often it is tried, since the last connection that lasted, before the client gives up. As long as it takes.
    pub max_attempts: Option<u32>,
    /// Close codes after which it is not tried again, because the end was meant or would only repeat itself. 1000, 1002,
    /// 1003, 1007–1010.
    pub final_codes: Vec<CloseCode>,
    /// HTTP statuses of a refused handshake after which it is not tried again. 400–407, 410, 426.
    pub final_statuses: Vec<u16>,
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            max_attempts: None,
            final_codes: [1000, 1002, 1003, 1007, 1008, 1009, 1010].map(CloseCode).to_vec(),
            final_statuses: vec![400, 401, 402, 403, 404, 405, 406, 407, 410, 426],
        }
    }
}

impl ReconnectPolicy {
    /// With these waits and otherwise the defaults.
    pub fn new(backoff: Backoff) -> Self {
        Self { backoff, ..Self::default() }
    }

    /// Gives up after so many attempts.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    pub(super) fn opened(&mut self, now: Instant) {
        self.backoff.opened(now);
    }

    /// Whether to dial again after this end.
    pub(super) fn after(&mut self, closed: &Closed, now: Instant) -> bool {
        self.backoff.closed(now);
        closed.by != Side::Local && !self.final_codes.contains(&closed.code)
    }

    /// Whether to dial again after no connection came about.
    pub(super) fn after_failure(&self, error: &DialError) -> bool {
        let status = match error {
            DialError::Handshake(error) => error.status(),
            _ => None,
        };
        !status.is_some_and(|status| self.final_statuses.contains(&status))
    }

    /// How long to wait, and before which attempt; `None` if there is to be none.
    pub(super) fn next(&mut self) -> Option<(Duration, u32)> {
        if self.max_attempts.is_some_and(|most| self.backoff.attempts() >= most) {
            return None;
        }
        // Without randomness from the system, half the window is as good a guess as any.
        let delay = self.backoff.wait(getrandom::u64().unwrap_or(u64::MAX / 2));
        Some((delay, self.backoff.attempts()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Fields, HandshakeError, Refusal};

    #[test]
    fn only_an_end_that_another_attempt_could_undo_is_tried_again() {
        // code, who began, tried again?
        let rows = [
            (1006, Side::Peer, true),
            (1001, Side::Peer, true),
            (1011, Side::Peer, true),
            (1012, Side::Peer, true),
            (3000, Side::Peer, true),
            (1000, Side::Peer, false),
            (1008, Side::Peer, false),
            (1001, Side::Local, false),
            (1006, Side::Local, false),
        ];
        for (code, by, again) in rows {
            let closed = Closed { code: CloseCode(code), reason: String::new(), clean: true, by, error: None };
            assert_eq!(ReconnectPolicy::default().after(&closed, Instant::now()), again, "{code} by {by:?}");
        }
    }

    #[test]
    fn only_a_refusal_that_is_meant_for_good_is_final() {
        let refused = |status| {
            let refusal = Refusal { status, fields: Fields::default(), body: Vec::new() };
            DialError::Handshake(HandshakeError::Refused(Box::new(refusal)))
        };
        let rows = [
            (refused(401), false),
            (refused(404), false),
            (refused(429), true),
            (refused(503), true),
            (DialError::Timeout, true),
            (DialError::Handshake(HandshakeError::AcceptWrong), true),
        ];
        for (error, again) in rows {
            assert_eq!(ReconnectPolicy::default().after_failure(&error), again, "{error}");
        }
    }

    #[test]
    fn attempts_come_to_an_end_if_told() {
        let mut policy = ReconnectPolicy::default().max_attempts(2);
        assert_eq!(policy.next().map(|(_, attempt)| attempt), Some(1));
        assert_eq!(policy.next().map(|(_, attempt)| attempt), Some(2));
        assert_eq!(policy.next(), None);
    }
}
