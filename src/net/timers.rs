//! A coarse timer wheel: inserting and cancelling cost the same for ten timers as for a hundred thousand.
//!
//! One ring of slots, each a doubly linked list in a slab. A timer further off than one turn of the ring stays in its
//! slot until its round comes. Timers are never early and at most one [`TICK`] late.

use std::time::{Duration, Instant};

use slab::Slab;

/// The wheel's grain.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// One turn of the ring: 4096 × 20 ms, about 82 s, which is longer than every default deadline.
pub(crate) const SLOTS: usize = 4096;
const WORDS: usize = SLOTS / 64;
const NONE: u32 = u32::MAX;

/// Names a timer in a wheel; stale keys name nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TimerKey {
    index: u32,
    serial: u32,
}

/// Timers carrying a `T` each.
#[derive(Debug)]
pub(crate) struct Wheel<T> {
    start: Instant,
    /// The last tick that was handled, and when the next one is.
    tick: u64,
    next_tick: Instant,
    entries: Slab<Entry<T>>,
    /// The first entry of each slot.
    heads: Box<[u32]>,
    occupied: Occupied,
    serial: u32,
}

#[derive(Debug)]
struct Entry<T> {
    tick: u64,
    serial: u32,
    previous: u32,
    next: u32,
    value: T,
}

/// The slots of a ring that have entries: one bit each.
#[derive(Debug)]
pub(crate) struct Occupied([u64; WORDS]);

impl Default for Occupied {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Occupied {
    pub(crate) const fn insert(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    pub(crate) const fn remove(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }

    /// The first tick in `first..=last` (at most one turn of the ring) whose slot has entries.
    pub(crate) fn next(&self, first: u64, last: u64) -> Option<u64> {
        let mut tick = first;
        while tick <= last {
            let slot = (tick % SLOTS as u64) as usize;
            let rest_of_word = self.0[slot / 64] >> (slot % 64);
            if rest_of_word != 0 {
                let found = tick + u64::from(rest_of_word.trailing_zeros());
                return (found <= last).then_some(found);
            }
            tick += 64 - (slot % 64) as u64;
        }
        None
    }
}

/// That much later than `now`; a time that no clock will show is a century off.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 86_400))
}

impl<T> Wheel<T> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            start: now,
            tick: 0,
            next_tick: now + TICK,
            entries: Slab::new(),
            heads: vec![NONE; SLOTS].into_boxed_slice(),
            occupied: Occupied::default(),
            serial: 0,
        }
    }

    /// How many timers there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Has `value` come back at `deadline`, or with the next tick if that has passed.
    pub(crate) fn insert(&mut self, deadline: Instant, value: T) -> TimerKey {
        let after = deadline.saturating_duration_since(self.start);
        let tick = after.as_nanos().div_ceil(TICK.as_nanos());
        let tick = u64::try_from(tick).unwrap_or(u64::MAX).max(self.tick + 1);
        self.serial = self.serial.wrapping_add(1);
        let slot = Self::slot(tick);
        let next = self.heads[slot];
        let index = self.entries.insert(Entry { tick, serial: self.serial, previous: NONE, next, value }) as u32;
        if let Some(entry) = self.entries.get_mut(next as usize) {
            entry.previous = index;
        }
        self.heads[slot] = index;
        self.occupied.insert(slot);
        TimerKey { index, serial: self.serial }
    }

    /// Takes a timer out; `None` if it has come back or was taken before.
    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let index = key.index as usize;
        let is_same = self.entries.get(index).is_some_and(|entry| entry.serial == key.serial);
        is_same.then(|| self.unlink(index))
    }

    /// Moves on to `now` and appends what has become due, tick by tick.
    pub(crate) fn advance(&mut self, now: Instant, due: &mut impl Extend<(TimerKey, T)>) {
        if now < self.next_tick {
            return;
        }
        let target = self.ticks_until(now);
        if target - self.tick >= SLOTS as u64 {
            // A whole turn or more was missed: each slot once.
            (0..SLOTS).for_each(|slot| self.expire(slot, target, due));
        } else {
            let (first, last) = (self.tick + 1, target);
            let mut tick = first;
            while let Some(next) = self.occupied.next(tick, last) {
                self.expire(Self::slot(next), target, due);
                tick = next + 1;
            }
        }
        self.tick = target;
        self.next_tick = self.time_of(target + 1);
    }

    /// When [`advance`](Self::advance) may have something to give at the earliest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.entries.is_empty() {
            return None;
        }
        let tick = self.occupied.next(self.tick + 1, self.tick + SLOTS as u64)?;
        Some(self.time_of(tick))
    }

    fn time_of(&self, tick: u64) -> Instant {
        later(self.start, Duration::from_nanos(tick.saturating_mul(TICK.as_nanos() as u64)))
    }

    /// Takes out the entries of one slot that are due by `target`; those of later rounds stay.
    fn expire(&mut self, slot: usize, target: u64, due: &mut impl Extend<(TimerKey, T)>) {
        let mut index = self.heads[slot];
        while let Some(entry) = self.entries.get(index as usize) {
            let next = entry.next;
            if entry.tick <= target {
                let key = TimerKey { index, serial: entry.serial };
                due.extend([(key, self.unlink(index as usize))]);
            }
            index = next;
        }
    }

    fn unlink(&mut self, index: usize) -> T {
        let Entry { tick, previous, next, value, .. } = self.entries.remove(index);
        if let Some(entry) = self.entries.get_mut(next as usize) {
            entry.previous = previous;
        }
        if let Some(entry) = self.entries.get_mut(previous as usize) {
            entry.next = next;
        } else {
            let slot = Self::slot(tick);
            self.heads[slot] = next;
            if next == NONE {
                self.occupied.remove(slot);
            }
        }
        value
    }

    fn ticks_until(&self, now: Instant) -> u64 {
        let ticks = now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos();
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    const fn slot(tick: u64) -> usize {
        (tick % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn due(wheel: &mut Wheel<u32>, at: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.advance(at, &mut due);
        let mut due: Vec<_> = due.into_iter().map(|(_, value)| value).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn a_timer_is_never_early_and_at_most_a_tick_late() {
        let start = Instant::now();
        for after in [0, 1, 19, 20, 21, 1_000, 81_919, 81_920, 81_921, 100_000, 1_000_000] {
            let mut wheel = Wheel::new(start);
            let deadline = start + after * MS;
            wheel.insert(deadline, 7);
            let mut now = start;
            loop {
                let next = wheel.next_deadline().expect("the timer is still to come");
                assert!(next > now, "{after}: time must move on");
                now = next;
                if !due(&mut wheel, now).is_empty() {
                    break;
                }
            }
            assert!(now >= deadline, "{after}: early");
            assert!(now <= deadline + TICK, "{after}: late by {:?}", now - deadline);
            assert_eq!(wheel.next_deadline(), None);
        }
    }

    #[test]
    fn a_long_absence_brings_back_everything_due_and_nothing_else() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for (value, seconds) in [(1, 1), (2, 80), (3, 90), (4, 200), (5, 2_000)] {
            wheel.insert(start + Duration::from_secs(seconds), value);
        }
        assert_eq!(due(&mut wheel, start + Duration::from_secs(250)), [1, 2, 3, 4]);
        assert_eq!(due(&mut wheel, start + Duration::from_secs(1_999)), [0; 0]);
        assert_eq!(due(&mut wheel, start + Duration::from_secs(2_001)), [5]);
    }

    #[test]
    fn a_cancelled_timer_is_gone_and_its_key_names_nothing_later() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        // Three in one slot: the middle, the first, the last.
        let keys: Vec<_> = (0..3).map(|value| wheel.insert(start + 50 * MS, value)).collect();
        assert_eq!(wheel.cancel(keys[1]), Some(1));
        assert_eq!(wheel.cancel(keys[1]), None);
        let other = wheel.insert(start + 50 * MS, 9);
        assert_eq!(wheel.cancel(keys[1]), None, "the slot's new occupant is not meant");
        assert_eq!(wheel.cancel(keys[2]), Some(2));
        assert_eq!(wheel.cancel(keys[0]), Some(0));
        assert_eq!(due(&mut wheel, start + 100 * MS), [9]);
        assert_eq!(wheel.cancel(other), None);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn time_that_stands_still_or_runs_backwards_is_harmless() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut wheel = Wheel::new(start);
        assert_eq!(due(&mut wheel, start + 40 * MS), [0; 0]);
        wheel.insert(start, 1);
        assert_eq!(due(&mut wheel, start + 40 * MS), [0; 0], "this tick was handled already");
        assert_eq!(due(&mut wheel, start), [0; 0]);
        assert_eq!(due(&mut wheel, start + 60 * MS), [1]);
    }

    #[test]
    fn a_hundred_thousand_timers_on_one_tick_come_back_once_each() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for value in 0..100_000 {
            wheel.insert(start + 500 * MS, value);
        }
        assert_eq!(due(&mut wheel, start + 480 * MS).len(), 0);
        assert_eq!(due(&mut wheel, start + 500 * MS), (0..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn random_timers_agree_with_a_sorted_list() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let mut model: Vec<(u64, u32, TimerKey)> = Vec::new();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut now = 0;
        for value in 0..20_000 {
            match random() % 4 {
                0 if !model.is_empty() => {
                    let at = (random() % model.len() as u64) as usize;
                    let (_, value, key) = model.swap_remove(at);
                    assert_eq!(wheel.cancel(key), Some(value));
                }
                1 => {
                    // Whole ticks, so that the model needs no rounding.
                    now += random() % 300 * 20;
                    let mut expected: Vec<_> =
                        model.iter().filter(|timer| timer.0 <= now).map(|timer| timer.1).collect();
                    expected.sort_unstable();
                    model.retain(|timer| timer.0 > now);
                    assert_eq!(due(&mut wheel, start + Duration::from_millis(now)), expected);
                }
                _ => {
                    let deadline = now + random() % 200_000 + 1;
                    let key = wheel.insert(start + Duration::from_millis(deadline), value);
                    model.push((deadline.div_ceil(20) * 20, value, key));
                }
            }
            assert_eq!(wheel.len(), model.len());
        }
    }
}
