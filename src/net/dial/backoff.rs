//! How long to wait before connecting again [RFC 6455 §7.2.3]: pure, time and randomness are arguments.

use std::time::{Duration, Instant};

/// The waits between attempts to reconnect: the first a random time within a few seconds, so that the clients of a
/// server that has restarted do not come back in one wave; then random times within windows that double up to a cap.
/// A connection that stayed for a while begins it anew.
///
/// ```text
/// attempt      0        1         2         3         4 …
/// wait       0–5 s    0–10 s    0–20 s    0–40 s    0–60 s
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    base: Duration,
    cap: Duration,
    stable: Duration,
    failures: u32,
    opened: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// First wait up to 5 s, later ones up to 60 s, forgotten after 30 s of a connection.
    pub const fn new() -> Self {
        Self {
            first: Duration::from_secs(5),
            base: Duration::from_secs(5),
            cap: Duration::from_secs(60),
            stable: Duration::from_secs(30),
            failures: 0,
            opened: None,
        }
    }

    /// The longest first wait. 5 s; zero has a connection that is lost dialled again at once.
    #[must_use]
    pub const fn first(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }

    /// What the windows after the first double from. 5 s.
    #[must_use]
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The longest wait of all. 60 s.
    #[must_use]
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// How long a connection has to last for the waits to begin anew. 30 s.
    #[must_use]
    pub const fn stable(mut self, stable: Duration) -> Self {
        self.stable = stable;
        self
    }

    /// The wait before the next attempt. `random` is uniform over all of `u64`.
    pub fn wait(&mut self, random: u64) -> Duration {
        let window = self.window();
        self.failures = self.failures.saturating_add(1);
        // The fraction random / 2^64 of the window, exactly.
        let nanos = (window.as_nanos() * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The longest that the next wait can be.
    pub fn window(&self) -> Duration {
        let window = match self.failures {
            0 => self.first,
            failures => self.base.saturating_mul(2u32.saturating_pow(failures)),
        };
        window.min(self.cap)
    }

    /// A connection has opened.
    pub fn opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// It is closed. Whether it lasted long enough for the waits to begin anew.
    pub fn closed(&mut self, now: Instant) -> bool {
        let lasted = self.opened.take().map(|opened| now.saturating_duration_since(opened));
        let was_stable = lasted.is_some_and(|lasted| lasted >= self.stable);
        if was_stable {
            self.failures = 0;
        }
        was_stable
    }

    /// Waits since the last stable connection.
    pub fn attempts(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = u64::MAX;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn windows_double_up_to_the_cap() {
        let mut backoff = Backoff::new();
        for window in [5, 10, 20, 40, 60, 60, 60] {
            assert_eq!(backoff.window(), secs(window));
            let wait = backoff.wait(MAX);
            assert!(wait < secs(window) && wait + Duration::from_millis(1) > secs(window), "{wait:?}");
        }
        for _ in 0..100 {
            backoff.wait(0);
        }
        assert_eq!(backoff.window(), secs(60), "no overflow, however long it takes");
    }

    #[test]
    fn waits_are_spread_over_all_of_the_window() {
        for (random, wait) in [(0, 0), (MAX / 4 + 1, 1250), (MAX / 2 + 1, 2500), (MAX / 4 * 3 + 3, 3750)] {
            assert_eq!(Backoff::new().wait(random).as_millis(), wait);
        }
    }

    #[test]
    fn everything_can_be_chosen() {
        let mut backoff = Backoff::new().first(Duration::ZERO).base(secs(1)).cap(secs(3)).stable(secs(7));
        assert_eq!(backoff.wait(MAX), Duration::ZERO);
        assert_eq!((backoff.window(), backoff.attempts()), (secs(2), 1));
        backoff.wait(MAX);
        assert_eq!(backoff.window(), secs(3));
        assert_eq!(Backoff::new().first(secs(100)).window(), secs(60), "the cap holds for the first too");
        assert_eq!(Backoff::new().base(Duration::MAX).cap(Duration::MAX).wait(MAX).as_secs(), 4);
    }

    #[test]
    fn only_a_connection_that_lasted_begins_it_anew() {
        let start = Instant::now();
        let mut backoff = Backoff::new();
        backoff.wait(MAX);
        backoff.wait(MAX);
        backoff.opened(start);
        assert!(!backoff.closed(start + secs(29)));
        assert_eq!(backoff.attempts(), 2);
        backoff.opened(start);
        assert!(backoff.closed(start + secs(30)));
        assert_eq!((backoff.attempts(), backoff.window()), (0, secs(5)));
        backoff.wait(MAX);
        assert!(!backoff.closed(start + secs(99)), "a dial that failed is no connection");
        assert_eq!(backoff.attempts(), 1);
    }
}
