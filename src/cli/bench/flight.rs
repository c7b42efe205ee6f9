//! Which messages of a connection are under way, which may be sent, and how long each took: arithmetic alone.
//!
//! Times are in nanoseconds since one beginning, and are arguments.

use std::collections::VecDeque;
use std::ops::Range;

use super::schedule::Schedule;

/// When messages are sent.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// As soon as there is room: the next for each answer.
    Answered,
    /// When they are due. Latencies count for those due in `window`, whenever they were sent or answered.
    Due { schedule: Schedule, window: Range<u64> },
}

/// One connection's messages.
#[derive(Debug)]
pub(super) struct Flight {
    /// Which connection this is, as the schedule counts them.
    index: usize,
    depth: usize,
    /// Messages sent and not answered.
    open: usize,
    /// When those in flight were sent, and how many at once; not kept where they have a time that they were due.
    sent: VecDeque<(u64, usize)>,
    /// Messages that are due and wait for others to be answered.
    waiting: usize,
    answered: u64,
}

impl Flight {
    /// Nothing is under way, and at most `depth` messages ever will be.
    pub(super) fn new(index: usize, depth: usize) -> Self {
        Self { index, depth, open: 0, sent: VecDeque::new(), waiting: 0, answered: 0 }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.open
    }

    /// One more message is due.
    pub(super) fn deal(&mut self) {
        self.waiting += 1;
    }

    /// How many messages are to be sent now. They count as sent.
    pub(super) fn send(&mut self, pace: &Pace, now: u64) -> usize {
        let room = self.depth - self.open;
        let count = match pace {
            Pace::Answered => room,
            Pace::Due { .. } => room.min(self.waiting),
        };
        if count > 0 {
            self.open += count;
            match pace {
                Pace::Answered => self.sent.push_back((now, count)),
                Pace::Due { .. } => self.waiting -= count,
            }
        }
        count
    }

    /// So many messages were answered, the oldest first: tells `took` how long how many of them took. The result is how
    /// many answers there were beyond the messages in flight.
    pub(super) fn answered(&mut self, count: usize, pace: &Pace, now: u64, mut took: impl FnMut(u64, u64)) -> usize {
        let asked = count.min(self.open);
        self.open -= asked;
        match pace {
            Pace::Answered => {
                let mut left = asked;
                while let Some((sent, several)) = self.sent.front_mut() {
                    let here = left.min(*several);
                    took(now - *sent, here as u64);
                    left -= here;
                    *several -= here;
                    if *several > 0 {
                        break;
                    }
                    self.sent.pop_front();
                    if left == 0 {
                        break;
                    }
                }
            }
            Pace::Due { schedule, window } => {
                for _ in 0..asked {
                    self.tell(schedule, window, now, &mut took);
                }
            }
        }
        count - asked
    }

    /// The time is up: what waits will not be sent, and took at least until now. How many those are.
    pub(super) fn give_up(&mut self, pace: &Pace, now: u64, mut took: impl FnMut(u64, u64)) -> usize {
        let given_up = std::mem::take(&mut self.waiting);
        if let Pace::Due { schedule, window } = pace {
            let first = self.answered + self.open as u64;
            for number in first..first + given_up as u64 {
                let due = schedule.due_on(self.index, number);
                if window.contains(&due) {
                    took(now.saturating_sub(due), 1);
                }
            }
        }
        given_up
    }

    fn tell(&mut self, schedule: &Schedule, window: &Range<u64>, now: u64, took: &mut impl FnMut(u64, u64)) {
        let due = schedule.due_on(self.index, self.answered);
        self.answered += 1;
        if window.contains(&due) {
            took(now.saturating_sub(due), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// A server that answers each message after `service`, one at a time, but nothing while it stalls. Gives all
    /// latencies, in milliseconds.
    fn against_a_server_that_stalls(pace: Pace, depth: usize, stall: Range<u64>, end: u64) -> Vec<u64> {
        let mut pace = pace;
        let (mut flight, mut latencies) = (Flight::new(0, depth), Vec::new());
        for now in (0..end).step_by(MS as usize) {
            if !stall.contains(&now) && flight.in_flight() > 0 {
                let pace = &pace;
                assert_eq!(flight.answered(1, pace, now, |nanos, n| latencies.extend(vec![nanos / MS; n as usize])), 0);
            }
            if let Pace::Due { schedule, .. } = &mut pace {
                while schedule.deal(now).is_some() {
                    flight.deal();
                }
            }
            flight.send(&pace, now);
        }
        flight.give_up(&pace, end, |nanos, n| latencies.extend(vec![nanos / MS; n as usize]));
        latencies
    }

    #[test]
    fn a_stall_is_seen_by_every_message_that_was_due_in_it() {
        // 500 messages per second to a server that can do 1,000 and stalls for a second: the message due at its start
        // waits all of it, the next 2 ms less, and so on; then the queue of 500 takes another second to go away.
        let pace = Pace::Due { schedule: Schedule::new(500, 1, 0), window: 0..4000 * MS };
        let latencies = against_a_server_that_stalls(pace, 1, 1000 * MS..2000 * MS, 4000 * MS);
        assert_eq!(latencies.len(), 2000);
        let (stalled, longest) = (latencies.iter().filter(|ms| **ms > 1).count(), latencies.iter().max());
        assert_eq!(longest, Some(&1000));
        assert!((990..=1010).contains(&stalled), "{stalled}");
        // Whole latencies fall evenly from a second to nothing over those messages.
        let sum: u64 = latencies.iter().filter(|ms| **ms > 1).sum();
        assert!((490_000..510_000).contains(&sum), "{sum}");

        // Who waits for each answer before the next message sees the stall once.
        let latencies = against_a_server_that_stalls(Pace::Answered, 1, 1000 * MS..2000 * MS, 4000 * MS);
        assert_eq!(latencies.iter().filter(|ms| **ms > 1).count(), 1);
    }

    #[test]
    fn what_could_not_be_sent_took_until_the_end() {
        let pace = Pace::Due { schedule: Schedule::new(1000, 1, 0), window: 500 * MS..1000 * MS };
        let latencies = against_a_server_that_stalls(pace, 1, 0..u64::MAX, 1000 * MS);
        // The first, which was sent and never answered, was due before the window.
        assert_eq!(latencies, (1..=500).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn messages_are_dealt_in_turn_at_their_times_and_at_any_rate() {
        let mut schedule = Schedule::new(3, 2, 5);
        assert_eq!((schedule.deal(4), schedule.next_due()), (None, 5));
        let due: Vec<_> = (0..7)
            .map(|_| {
                let at = schedule.next_due();
                (at, schedule.deal(at).unwrap())
            })
            .collect();
        assert_eq!(due[..4], [(5, 0), (333_333_338, 1), (666_666_671, 0), (1_000_000_005, 1)]);
        assert_eq!(schedule.due_on(0, 3), due[6].0);
        assert_eq!(schedule.due_on(1, 1), due[3].0);
        // A week at the highest rate does not overflow.
        let number = u64::from(u32::MAX) * 7 * 24 * 3600;
        assert_eq!(Schedule::new(u32::MAX, 1, 0).due_on(0, number), 7 * 24 * 3600 * 1_000_000_000);
    }

    #[test]
    fn what_left_together_is_told_together_and_no_answer_is_counted_twice() {
        let mut flight = Flight::new(0, 4);
        assert_eq!(flight.send(&Pace::Answered, 10), 4);
        assert_eq!(flight.send(&Pace::Answered, 11), 0);
        let mut told = Vec::new();
        assert_eq!(flight.answered(3, &Pace::Answered, 15, |took, n| told.push((took, n))), 0);
        assert_eq!(flight.send(&Pace::Answered, 15), 3);
        assert_eq!(flight.answered(3, &Pace::Answered, 20, |took, n| told.push((took, n))), 0);
        assert_eq!(told, [(5, 3), (10, 1), (5, 2)]);
        assert_eq!(flight.answered(3, &Pace::Answered, 21, |_, _| ()), 2, "one was asked for");
        assert_eq!(flight.in_flight(), 0);
    }
}
