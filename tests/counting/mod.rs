//! An allocator that counts, for the tests of what things cost: `mod counting;` makes it the test's own.

// Counting allocations takes an allocator, and those are unsafe to write. Nothing else in the project is.
#![allow(unsafe_code)]
#![allow(dead_code, reason = "no test asks all of its questions")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that are allocated now, by all threads.
static EVERYWHERE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn record(allocated: usize, freed: usize) {
    let more = allocated.cast_signed() - freed.cast_signed();
    EVERYWHERE.fetch_add(more, Ordering::Relaxed);
    if allocated > 0 {
        COUNT.set(COUNT.get() + 1);
        TOTAL.set(TOTAL.get() + allocated);
    }
    LIVE.set(LIVE.get() + more);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size(), 0);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        record(0, layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        record(new_size, layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, new_size) }
    }
}

/// Bytes that are allocated now, by all threads.
pub(crate) fn live() -> isize {
    EVERYWHERE.load(Ordering::Relaxed)
}

/// What some work did with memory, on this thread.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) allocations: usize,
    /// Bytes allocated in all: what was moved about is among them.
    pub(crate) total: usize,
    /// Bytes more than before, at the most and at the end.
    pub(crate) peak: isize,
    pub(crate) kept: isize,
}

/// What `work` does with memory, on this thread.
pub(crate) fn usage(work: impl FnOnce()) -> Usage {
    let (count, total, live) = (COUNT.get(), TOTAL.get(), LIVE.get());
    PEAK.set(live);
    work();
    Usage {
        allocations: COUNT.get() - count,
        total: TOTAL.get() - total,
        peak: PEAK.get() - live,
        kept: LIVE.get() - live,
    }
}
