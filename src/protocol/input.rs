//! The bytes that a connection decodes from, and the room it puts messages together in.

use std::mem;

use super::memory::Memory;

/// A cursor over bytes that were read from the peer; what it has passed belongs to the events made of it.
#[derive(Debug)]
pub struct Input<'i> {
    remaining: &'i mut [u8],
}

impl<'i> Input<'i> {
    /// A cursor at the start of `bytes`, which will be unmasked in place.
    pub const fn new(bytes: &'i mut [u8]) -> Self {
        Self { remaining: bytes }
    }

    /// The bytes not yet taken.
    pub const fn remaining(&self) -> &[u8] {
        self.remaining
    }

    /// Whether all bytes were taken.
    pub const fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Takes the next `len` bytes, or all if there are fewer.
    #[inline]
    pub fn take(&mut self, len: usize) -> &'i mut [u8] {
        let all = mem::take(&mut self.remaining);
        let (taken, remaining) = all.split_at_mut(len.min(all.len()));
        self.remaining = remaining;
        taken
    }
}

/// How much memory a [`Scratch`] keeps from one message to the next, in bytes.
const KEPT: usize = 4 << 20;

/// Room for messages that do not stand whole in the input: those in several frames or reads, and compressed ones.
///
/// One serves all connections of a loop, each in its turn, and keeps its memory between them up to a limit.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) bytes: Memory,
}

impl Scratch {
    /// Room that owns no memory yet.
    pub const fn new() -> Self {
        Self { bytes: Memory::new() }
    }

    /// Makes room for the next message, and lets go of what an unusually large one has left.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(0);
        self.bytes.shrink_to(KEPT);
    }

    /// Lends its memory, with the bytes that were left in it, to a message that is going to fill at least half of it:
    /// fresh memory costs the system more than all the copying. It comes back with that message.
    pub(super) fn lend(&mut self, declared: u64) -> Memory {
        self.bytes.shrink_to(KEPT);
        if declared >= self.bytes.capacity() as u64 / 2 { mem::take(&mut self.bytes) } else { Memory::new() }
    }
}
