//! What is counted while measuring: messages, latencies, errors, CPU time.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::super::{Exit, Failure};
use super::replies::Taken;
use super::usage;

/// Latencies up to an hour, in nanoseconds, to three digits.
const LONGEST: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;

/// Counters of one measurement.
#[derive(Debug)]
pub(super) struct Stats {
    pub(super) latency: Histogram<u64>,
    pub(super) messages: u64,
    /// Bytes read, headers and compressed payloads as they are.
    pub(super) bytes: u64,
    pub(super) compressed: u64,
    /// Messages besides, from the beginning on.
    pub(super) others: u64,
    pub(super) errors: u64,
    /// The first error, in words.
    pub(super) first_error: Option<String>,
}

impl Stats {
    pub(super) fn new() -> Result<Self, Failure> {
        let latency =
            Histogram::new_with_bounds(1, LONGEST, DIGITS).map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok(Self { latency, messages: 0, bytes: 0, compressed: 0, others: 0, errors: 0, first_error: None })
    }

    /// Starts anew, but forgets no error.
    pub(super) fn reset(&mut self) {
        self.latency.reset();
        (self.messages, self.bytes, self.compressed) = (0, 0, 0);
    }

    /// Counts what a piece of input brought.
    pub(super) fn count(&mut self, taken: &Taken, bytes: usize) {
        self.messages += taken.messages as u64;
        self.compressed += taken.compressed as u64;
        self.bytes += bytes as u64;
    }

    /// So many messages took this long, in nanoseconds.
    pub(super) fn took(&mut self, nanos: u64, messages: u64) {
        self.latency.saturating_record_n(nanos.max(1), messages);
    }

    pub(super) fn error(&mut self, count: usize, what: impl FnOnce() -> String) {
        if count > 0 {
            self.errors += count as u64;
            self.first_error.get_or_insert_with(what);
        }
    }
}

/// CPU time used by server and client up to some moment, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpu {
    pub(super) server: Option<f64>,
    pub(super) client: Option<f64>,
}

impl Cpu {
    pub(super) fn now(server: Option<u32>) -> Self {
        Self { server: server.and_then(usage::cpu_seconds), client: usage::cpu_seconds(std::process::id()) }
    }

    /// What was used since `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        let difference = |now: Option<f64>, before: Option<f64>| Some((now? - before?).max(0.0));
        Self { server: difference(self.server, earlier.server), client: difference(self.client, earlier.client) }
    }
}

/// A time as a count of nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
