//! Wake-ups for connections: one for each of a hundred thousand, at a few bytes and hardly any work.
//!
//! A connection's deadline mostly moves away before it comes, so an alarm says no more than that a slot is to be looked at.
//! What is looked at too early sets its alarm anew, and none is ever taken out. That leaves little to keep:
//!
//! ```text
//! ring:  tick ▸ │ 17, 3 │ │ │ 5 │ │ 17, 20, 4 │ …      the slots to look at with each tick, one turn of the ring ahead
//! next:  slot ▸ │ … where in the ring its earliest alarm stands
//! ```
//!
//! Only a slot's earliest alarm counts. A later one that it had before is passed over, and an alarm outlives the occupant
//! it was set for and serves the next: so a slot has few, however often it is filled and emptied.

use std::mem;
use std::time::{Duration, Instant};

use super::timers::{Occupied, SLOTS, TICK};

/// Alarms by the slots of a [`GenerationSlab`](super::slab::GenerationSlab).
#[derive(Debug)]
pub(crate) struct Alarms {
    start: Instant,
    /// The last tick that was handled, and when the next one is.
    tick: u64,
    next_tick: Instant,
    /// The slots of each of the ticks to come.
    ring: Box<[Vec<u32>]>,
    occupied: Occupied,
    /// Where each slot's earliest alarm stands in the ring, or [`NONE`].
    next: Vec<u16>,
}

const NONE: u16 = u16::MAX;
const _: () = assert!(SLOTS < NONE as usize);

impl Alarms {
    pub(crate) fn new(now: Instant) -> Self {
        let ring = vec![Vec::new(); SLOTS].into_boxed_slice();
        Self { start: now, tick: 0, next_tick: now + TICK, ring, occupied: Occupied::default(), next: Vec::new() }
    }

    /// Makes sure that `slot` comes up no later than the first tick from `deadline` on. It may come up earlier: a deadline
    /// more than a turn of the ring off always does.
    #[inline]
    pub(crate) fn set(&mut self, slot: usize, deadline: Instant) {
        match self.next.get(slot) {
            Some(&place) if place != NONE && self.time(place) <= deadline => {}
            _ => self.set_earlier(slot, deadline),
        }
    }

    fn set_earlier(&mut self, slot: usize, deadline: Instant) {
        if slot >= self.next.len() {
            self.next.resize(slot + 1, NONE);
        }
        let after = deadline.saturating_duration_since(self.start);
        let tick = u64::try_from(after.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX);
        let place = (tick.clamp(self.tick + 1, self.tick + SLOTS as u64 - 1) % SLOTS as u64) as usize;
        if usize::from(self.next[slot]) != place {
            self.next[slot] = place as u16;
            self.ring[place].push(slot as u32);
            self.occupied.insert(place);
        }
    }

    /// Whether `slot` is going to come up.
    pub(crate) fn is_set(&self, slot: usize) -> bool {
        self.next.get(slot).is_some_and(|place| *place != NONE)
    }

    /// Moves on to `now` and appends the slots that come up, whose alarms are no longer set then.
    pub(crate) fn advance(&mut self, now: Instant, due: &mut impl Extend<usize>) {
        if now < self.next_tick {
            return;
        }
        let target = (now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos()) as u64;
        // All there are stand within a turn of the ring.
        let last = target.min(self.tick + SLOTS as u64);
        let mut tick = self.tick + 1;
        while let Some(found) = self.occupied.next(tick, last) {
            self.ring_out((found % SLOTS as u64) as usize, due);
            tick = found + 1;
        }
        self.tick = target;
        self.next_tick = self.time_of(target + 1);
    }

    fn ring_out(&mut self, place: usize, due: &mut impl Extend<usize>) {
        self.occupied.remove(place);
        for slot in mem::take(&mut self.ring[place]) {
            let slot = slot as usize;
            if usize::from(self.next[slot]) == place {
                self.next[slot] = NONE;
                due.extend([slot]);
            }
        }
    }

    /// When [`advance`](Self::advance) may have something to give at the earliest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.occupied.next(self.tick + 1, self.tick + SLOTS as u64).map(|tick| self.time_of(tick))
    }

    /// When an alarm at `place` comes up.
    #[inline]
    fn time(&self, place: u16) -> Instant {
        let next = self.tick + 1;
        let ahead = u64::from(place).wrapping_sub(next) % SLOTS as u64;
        self.time_of(next + ahead)
    }

    #[inline]
    fn time_of(&self, tick: u64) -> Instant {
        self.start + Duration::from_nanos(tick * TICK.as_nanos() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn due(alarms: &mut Alarms, at: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        alarms.advance(at, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn an_alarm_is_never_late_by_more_than_a_tick_and_early_only_beyond_a_turn() {
        let start = Instant::now();
        for after in [0, 1, 19, 20, 21, 1_000, 81_899, 81_900, 81_901, 81_921, 1_000_000] {
            let mut alarms = Alarms::new(start);
            let deadline = start + after * MS;
            let mut looks = 0;
            let mut now = start;
            while looks == 0 || now < deadline {
                alarms.set(7, deadline);
                let next = alarms.next_deadline().expect("the alarm is still to come");
                assert!(next > now, "{after}: time must move on");
                now = next;
                assert_eq!(due(&mut alarms, now), [7]);
                assert!(!alarms.is_set(7));
                looks += 1;
            }
            assert!(now <= deadline + TICK, "{after}: late by {:?}", now - deadline);
            assert_eq!(looks, 1.max(after.div_ceil(81_900)), "{after}");
            assert_eq!(alarms.next_deadline(), None);
        }
    }

    #[test]
    fn only_the_earliest_alarm_of_a_slot_counts_and_it_is_there_once() {
        let start = Instant::now();
        let mut alarms = Alarms::new(start);
        for deadline in [500, 500, 490, 100, 90, 300, 700] {
            alarms.set(3, start + deadline * MS);
        }
        alarms.set(4, start + 300 * MS);
        assert_eq!(alarms.ring.iter().map(Vec::len).sum::<usize>(), 3, "at 500 and 100 ms, and at 300 ms");
        assert_eq!(due(&mut alarms, start + 80 * MS), [0; 0]);
        assert_eq!(due(&mut alarms, start + 100 * MS), [3]);
        alarms.set(3, start + 600 * MS);
        assert_eq!(due(&mut alarms, start + 599 * MS), [4], "the old one at 500 ms means nothing any more");
        assert_eq!(due(&mut alarms, start + 600 * MS), [3]);
        assert_eq!(alarms.next_deadline(), None);
    }

    #[test]
    fn a_slot_that_is_filled_again_and_again_has_no_more_alarms_than_deadlines() {
        let start = Instant::now();
        let mut alarms = Alarms::new(start);
        let mut most = 0;
        for turn in 0..5_000 {
            let now = start + turn * TICK;
            due(&mut alarms, now);
            alarms.set(0, now + 10_000 * MS);
            alarms.set(0, now + 5_000 * MS);
            if turn % 50 == 0 {
                most = most.max(alarms.ring.iter().map(Vec::len).sum());
            }
        }
        assert!(most <= 4, "{most}");
    }

    #[test]
    fn a_long_absence_brings_up_everything_that_was_set_and_time_may_stand_still_or_run_backwards() {
        let before = Instant::now();
        let start = before + Duration::from_secs(10);
        let mut alarms = Alarms::new(start);
        for slot in 0..100 {
            alarms.set(slot, start + slot as u32 * 1_000 * MS);
        }
        assert_eq!(due(&mut alarms, before), [0; 0]);
        assert_eq!(due(&mut alarms, start), [0; 0]);
        assert_eq!(due(&mut alarms, start + Duration::from_secs(10_000)), (0..100).collect::<Vec<_>>());
        // Deadlines that have passed come up with the next tick.
        alarms.set(1, start);
        assert_eq!(due(&mut alarms, start + Duration::from_secs(10_000)), [0; 0]);
        assert_eq!(due(&mut alarms, start + Duration::from_secs(10_000) + TICK), [1]);
    }

    #[test]
    fn random_alarms_agree_with_a_table_of_deadlines() {
        let start = Instant::now();
        let mut alarms = Alarms::new(start);
        // By slot: the tick of its earliest alarm.
        let mut model = [None; 50];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut now = 0;
        for _ in 0..50_000 {
            if random(4) == 0 {
                now += random(3) * random(3_000);
                let expected: Vec<_> =
                    (0..50).filter(|slot| model[*slot].is_some_and(|tick| tick <= now / 20)).collect();
                for slot in &expected {
                    model[*slot] = None;
                }
                assert_eq!(due(&mut alarms, start + now as u32 * MS), expected);
            } else {
                let (slot, deadline) = (random(50) as usize, now + random(100_000));
                alarms.set(slot, start + deadline as u32 * MS);
                let tick = deadline.div_ceil(20).clamp(now / 20 + 1, now / 20 + SLOTS as u64 - 1);
                model[slot] = Some(model[slot].map_or(tick, |earlier: u64| earlier.min(tick)));
            }
        }
    }
}
