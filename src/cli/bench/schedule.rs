//! Constant rate: when each message is due, whatever the server does.
//!
//! Latency counts from the time at which a message was due, not from when it could at last be sent. A generator that
//! waits for a stalled server before it sends the next message, and measures from there, leaves out just those messages
//! that would have shown the stall ("coordinated omission").

const SECOND: u64 = 1_000_000_000;

/// Messages at a constant rate, dealt to the connections in turn. Times are in nanoseconds since one beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: u64,
    /// Messages per second.
    rate: u64,
    connections: u64,
    /// Messages dealt so far.
    dealt: u64,
}

impl Schedule {
    /// The first message is due at `start`.
    pub(super) fn new(rate: u32, connections: usize, start: u64) -> Self {
        Self { start, rate: rate.into(), connections: connections as u64, dealt: 0 }
    }

    /// The connection whose message is due by `now` and has not been dealt yet, each message once.
    pub(super) fn deal(&mut self, now: u64) -> Option<usize> {
        if self.next_due() > now {
            return None;
        }
        let connection = self.dealt % self.connections;
        self.dealt += 1;
        Some(connection as usize)
    }

    /// Counts the next message as dealt, whenever it is due.
    pub(super) fn skip(&mut self) {
        self.dealt += 1;
    }

    /// When the next message is due.
    pub(super) fn next_due(&self) -> u64 {
        self.due(self.dealt)
    }

    /// When message `number` of a connection is due.
    pub(super) fn due_on(&self, connection: usize, number: u64) -> u64 {
        self.due(number * self.connections + connection as u64)
    }

    fn due(&self, number: u64) -> u64 {
        // In two parts, so that nothing overflows in a century.
        self.start + number / self.rate * SECOND + number % self.rate * SECOND / self.rate
    }
}
