//! How fast control frames may come: a bucket that holds a second's worth of them and fills steadily.

use std::time::{Duration, Instant};

use super::Config;
use crate::wire::ProtocolError;

/// The bucket, told by one instant: when it would be full again if nothing more came.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlRate {
    full_at: Instant,
}

impl ControlRate {
    pub(super) const fn new(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes one from the bucket.
    pub(super) fn take(&mut self, now: Instant, config: &Config) -> Result<(), ProtocolError> {
        const CAPACITY: Duration = Duration::from_secs(1);
        let rate = config.max_control_rate;
        let refused = ProtocolError::ControlFlood(rate);
        let share = CAPACITY.checked_div(rate).ok_or(refused)?;
        let full_at = self.full_at.max(now) + share;
        if full_at.duration_since(now) > CAPACITY {
            return Err(refused);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `count` frames that come `apart`, how many pass in a row.
    fn passing(rate: u32, apart: Duration, count: u32) -> u32 {
        let config = Config { max_control_rate: rate, ..Config::default() };
        let start = Instant::now();
        let mut bucket = ControlRate::new(start);
        (0..count).take_while(|&i| bucket.take(start + apart * i, &config).is_ok()).count() as u32
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
