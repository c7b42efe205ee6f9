//! The last bytes of earlier messages: what a connection keeps of its context between them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most recent bytes of a stream, at most `limit`, in memory that grows with what arrived.
pub(super) struct History {
    bytes: VecDeque<u8>,
    limit: usize,
    /// How many bytes were told in all.
    end: u64,
    mark: Mark,
}

/// Names one state of one history: a codec that bears it has read exactly what that history was told, to the last
/// byte, and may go on without being told again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Unique in the process, from 1; 0 marks no history.
    history: u64,
    /// How often something was pushed.
    version: u64,
}

impl Mark {
    /// Borne by a codec whose window belongs to no history.
    pub(super) const NONE: Self = Self { history: 0, version: 0 };
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mark = Mark { history: NEXT.fetch_add(1, Ordering::Relaxed), version: 0 };
        Self { bytes: VecDeque::new(), limit, end: 0, mark }
    }

    /// Appends `bytes` and forgets the oldest beyond the limit.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.mark.version += 1;
        self.end += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let len = self.bytes.len() + bytes.len();
        if len > self.limit {
            self.bytes.drain(..len - self.limit);
        }
        self.reserve(bytes.len());
        self.bytes.extend(bytes);
    }

    /// What is kept, oldest first, in two parts.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        let (older, newer) = self.bytes.as_slices();
        [older, newer]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The stream's position behind the last byte; forgotten bytes count.
    pub(super) const fn end(&self) -> u64 {
        self.end
    }

    /// The state that the last push led to.
    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Forgets everything and frees the memory.
    pub(super) fn clear(&mut self) {
        self.mark.version += 1;
        self.bytes = VecDeque::new();
    }

    /// Doubles as a vector does, but never past the limit.
    fn reserve(&mut self, additional: usize) {
        let needed = self.bytes.len() + additional;
        if needed > self.bytes.capacity() {
            let capacity = needed.max(self.bytes.capacity() * 2).min(self.limit);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_most_recent_bytes_in_memory_for_what_arrived() {
        let mut history = History::new(256);
        let mut all = Vec::new();
        assert_eq!(history.bytes.capacity(), 0);
        for len in [0, 3, 100, 1, 0, 200, 55, 256, 7, 1000, 90] {
            let piece: Vec<u8> = (0..len).map(|i| (all.len() + i) as u8).collect();
            all.extend_from_slice(&piece);
            history.push(&piece);
            assert_eq!(history.parts().concat(), all[all.len().saturating_sub(256)..]);
            assert_eq!(history.len(), all.len().min(256));
            assert!(history.bytes.capacity() <= 256);
        }
        history.clear();
        assert_eq!(history.bytes.capacity(), 0);
    }
}
