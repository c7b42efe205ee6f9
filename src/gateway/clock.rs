//! The hub's time, and the wall's.

use std::time::{Duration, Instant, SystemTime};

use crate::push::Time;

/// Tells the hub's time: the wall clock when the server started, and monotone from there, whatever the wall clock does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
    wall: Time,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), wall: Time(millis(since_epoch())) }
    }

    /// The hub's time at `instant`.
    pub(super) fn at(&self, instant: Instant) -> Time {
        self.wall.plus(millis(instant.saturating_duration_since(self.start)))
    }
}

/// The wall clock in seconds since the Unix epoch: what tokens are compared with, as it was the wall clock of another
/// machine that dated them.
pub(super) fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

/// Seconds until a moment in Unix seconds; `None`: it is over.
pub(super) fn seconds_left(unix: u64) -> Option<u64> {
    unix.checked_sub(unix_seconds()).filter(|left| *left > 0)
}

/// A duration in whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
