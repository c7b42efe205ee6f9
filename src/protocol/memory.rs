//! Memory that the kernel copies to and from at full speed.
//!
//! Kernels copy with `rep movsb` where the processor says that this is fast. AMD's since Zen 3 say so, and then take about
//! twenty times as long if the destination stands 1 to 31 bytes behind the source, both counted within a page of 4 KiB.
//! Over loopback that is no rare accident: what a peer sends after a pause lies at the beginning of a page, and large
//! memory from the usual allocators begins 16 bytes behind one. So large memory is used from well within a page on.

use std::ops::{Deref, DerefMut};

const PAGE: usize = 4096;

/// Below this much, copying costs little beside the call that does it, and a page more would be much.
const LARGE: usize = 32 << 10;

/// Bytes whose first one, if they are many, stands at a chosen place within a page.
#[derive(Debug)]
pub(crate) struct Memory {
    /// That place.
    phase: usize,
    /// Those before `start` mean nothing.
    bytes: Vec<u8>,
    start: usize,
}

impl Memory {
    /// Where what is read begins, and where messages that are put together from it do: apart, for one is copied to the
    /// other, and both are written with a header of some bytes before them. A frame of medium length that begins the input
    /// has its payload, behind 8 bytes of header, at the beginning of a cache line.
    const INPUT: usize = PAGE / 2 - 8;
    const MESSAGE: usize = PAGE / 4;

    /// Memory for a message, none yet.
    pub(super) const fn new() -> Self {
        Self { phase: Self::MESSAGE, bytes: Vec::new(), start: 0 }
    }

    /// `len` bytes to read into.
    pub(crate) fn for_input(len: usize) -> Self {
        let mut memory = Self { phase: Self::INPUT, ..Self::new() };
        memory.reserve(len);
        memory.bytes.resize(memory.start + len, 0);
        memory
    }

    /// How many bytes there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity() - self.start
    }

    /// Makes room for `capacity` bytes in all, and for no more but what their place costs. Those that are there stay.
    pub(super) fn reserve(&mut self, capacity: usize) {
        if capacity <= self.capacity() {
            return;
        }
        let spare = if capacity < LARGE { 0 } else { PAGE };
        self.bytes.reserve_exact((spare + capacity).saturating_sub(self.bytes.len()));
        if spare > 0 {
            self.find_place();
        }
    }

    /// Lets go of what is beyond `capacity` bytes.
    pub(super) fn shrink_to(&mut self, capacity: usize) {
        if self.bytes.capacity() > PAGE + capacity {
            self.truncate(capacity);
            self.bytes.shrink_to(PAGE + capacity);
            self.find_place();
        }
    }

    /// Moves what is there to where it should begin, which has room: allocating may have given it another place.
    fn find_place(&mut self) {
        let (old, len) = (self.start, self.len());
        let start = (self.bytes.as_ptr().align_offset(PAGE) + self.phase) % PAGE;
        if start != old {
            self.bytes.resize(old.max(start) + len, 0);
            self.bytes.copy_within(old..old + len, start);
            self.start = start;
            self.truncate(len);
        }
    }

    pub(super) fn extend_from_slice(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
    }

    /// Cuts to `len` bytes, or fills up to there with zeroes.
    pub(super) fn resize(&mut self, len: usize) {
        self.bytes.resize(self.start + len, 0);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }

    /// The vector behind it, to append to.
    pub(super) fn as_vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(memory: &Memory) -> usize {
        memory.as_ptr().addr() % PAGE
    }

    #[test]
    fn large_memory_begins_at_its_place_and_keeps_what_is_there() {
        for len in [LARGE, LARGE + 1, 128 << 10, 1 << 20, 16 << 20] {
            let input = Memory::for_input(len);
            assert_eq!((phase(&input), input.len()), (Memory::INPUT, len));
            assert!(input.iter().all(|&byte| byte == 0));
        }
        let mut memory = Memory::new();
        let mut expected = Vec::new();
        for round in 0..2 {
            for size in [1, 100, LARGE - 1, LARGE, LARGE + 1, 100_000, 1 << 20, (1 << 20) + 1, 5 << 20] {
                memory.reserve(size);
                assert!(memory.capacity() >= size && (memory.capacity() <= size + PAGE || round > 0), "{size}");
                let more: Vec<u8> = (expected.len()..size).map(|at| (at % 251) as u8).collect();
                let room = memory.as_ptr();
                memory.extend_from_slice(&more);
                expected.extend_from_slice(&more);
                assert_eq!(room, memory.as_ptr(), "there was room for {size}");
                assert!(*memory == *expected, "{size}");
                assert!(size < LARGE || phase(&memory) == Memory::MESSAGE, "{size}");
            }
            memory.shrink_to(1 << 20);
            assert!(memory.capacity() <= (1 << 20) + PAGE && *memory == expected[..1 << 20]);
            assert_eq!(phase(&memory), Memory::MESSAGE);
            memory.truncate(10);
            expected.truncate(10);
            assert_eq!(*memory, *expected);
        }
    }

    #[test]
    fn small_memory_is_as_large_as_asked_for() {
        let mut memory = Memory::new();
        for size in [1, 2, 1000, LARGE - 1] {
            memory.reserve(size);
            assert_eq!(memory.capacity(), size);
        }
    }
}
