//! Room for the data of all that waits for backends: without it, slow backends would let clients fill the memory.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of data that may wait for backends, in the pool's queue and in the lines of clients. One piece alone may be larger.
const BYTES: usize = 64 << 20;

/// How much of it is taken.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Room {
    taken: AtomicUsize,
}

impl Room {
    /// Takes room for so many bytes, if there is.
    pub(in crate::gateway) fn take(&self, bytes: usize) -> bool {
        let with = |taken: usize| {
            let sum = taken.saturating_add(bytes);
            (bytes == 0 || taken == 0 || sum <= BYTES).then_some(sum)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }

    /// Gives back what was taken.
    pub(in crate::gateway) fn give(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_much_or_for_one_piece_alone() {
        let room = Room::default();
        assert!(room.take(BYTES - 1) && room.take(1) && room.take(0));
        assert!(!room.take(1));
        room.give(1);
        assert!(!room.take(2));
        assert!(room.take(1));
        room.give(BYTES);
        assert!(room.take(BYTES * 2) && room.take(0) && !room.take(1));
        room.give(BYTES * 2);
        assert!(room.take(1));
    }
}
