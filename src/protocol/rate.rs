//! How fast control frames may come: a bucket that holds a second's worth of them and fills steadily.

use std::time::Duration;

use super::Config;
use crate::wire::ProtocolError;

/// The bucket, told by what it lacks: the time in which it would be full again if nothing more came, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlRate {
    lacking: u32,
}

/// A full bucket, in nanoseconds.
const CAPACITY: u32 = 1_000_000_000;

impl ControlRate {
    pub(super) const fn full() -> Self {
        Self { lacking: 0 }
    }

    #[inline]
    pub(super) const fn is_full(self) -> bool {
        self.lacking == 0
    }

    /// Lets it fill for that long.
    pub(super) fn fill(&mut self, time: Duration) {
        let filled = u32::try_from(time.as_nanos()).unwrap_or(u32::MAX);
        self.lacking = self.lacking.saturating_sub(filled);
    }

    /// Takes one from the bucket.
    pub(super) fn take(&mut self, config: &Config) -> Result<(), ProtocolError> {
        let rate = config.max_control_rate;
        let refused = ProtocolError::ControlFlood(rate);
        let lacking = self.lacking + CAPACITY.checked_div(rate).ok_or(refused)?;
        if lacking > CAPACITY {
            return Err(refused);
        }
        self.lacking = lacking;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `count` frames that come `apart`, how many pass in a row.
    fn passing(rate: u32, apart: Duration, count: u32) -> u32 {
        let config = Config { max_control_rate: rate, ..Config::default() };
        let mut bucket = ControlRate::full();
        let mut come = || {
            bucket.fill(apart);
            bucket.take(&config)
        };
        (0..count).take_while(|_| come().is_ok()).count() as u32
    }

    #[test]
    fn a_burst_of_a_second_s_worth_passes_and_then_no_more_than_the_rate() {
        let ms = Duration::from_millis;
        assert_eq!(passing(1000, ms(0), 5000), 1000, "all at once");
        assert_eq!(passing(1000, ms(1), 5000), 5000, "exactly at the rate");
        assert_eq!(passing(10, ms(50), 100), 19, "at twice the rate the bucket lasts for about two seconds");
        assert_eq!(passing(1, ms(1000), 10), 10);
        assert_eq!(passing(0, ms(1000), 10), 0);
    }
}
