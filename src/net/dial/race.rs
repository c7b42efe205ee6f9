//! Which of a host's addresses to try, and when: "Happy Eyeballs" [RFC 8305], without sockets and without a clock.
//!
//! The first address is tried at once, the next after a short delay or as soon as one has failed, and so on while the
//! earlier ones go on. The first to connect wins.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An address that was tried, and what came of it.
#[derive(Debug)]
pub struct Attempt {
    /// The address.
    pub addr: SocketAddr,
    /// Why there is no connection to it.
    pub error: io::Error,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.addr, self.error)
    }
}

/// A race of addresses.
#[derive(Debug)]
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    /// Those under way and when each is given up.
    running: Vec<(SocketAddr, Instant)>,
    failed: Vec<Attempt>,
    /// When the next one starts, if none fails before.
    next: Instant,
    delay: Duration,
    patience: Duration,
}

/// What the owner of the sockets does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// Begins to connect to this address.
    Start(SocketAddr),
    /// Closes the socket of this address; its time is up.
    Abandon(SocketAddr),
    /// Waits for a socket, or for this time.
    Wait(Instant),
    /// Gives up: every address has failed.
    Lost,
}

impl Race {
    /// A race among `addrs`, in the order of preference that the resolver gave them. Each gets `patience`; the next
    /// starts `delay` after the one before.
    pub(super) fn new(addrs: &[SocketAddr], delay: Duration, patience: Duration, now: Instant) -> Self {
        Self { waiting: alternate(addrs), running: Vec::new(), failed: Vec::new(), next: now, delay, patience }
    }

    /// What to do at `now`. Asked again after each [`Move`] but `Wait`.
    pub(super) fn step(&mut self, now: Instant) -> Move {
        if let Some(at) = self.running.iter().position(|(_, until)| *until <= now) {
            let (addr, _) = self.running.swap_remove(at);
            let reason = format!("no answer within {} ms", self.patience.as_millis());
            self.fail(addr, io::Error::new(io::ErrorKind::TimedOut, reason), now);
            return Move::Abandon(addr);
        }
        if (self.running.is_empty() || self.next <= now)
            && let Some(addr) = self.waiting.pop_front()
        {
            self.running.push((addr, later(now, self.patience)));
            self.next = later(now, self.delay);
            return Move::Start(addr);
        }
        let next = (!self.waiting.is_empty()).then_some(self.next);
        let due = self.running.iter().map(|(_, until)| *until).chain(next).min();
        due.map_or(Move::Lost, Move::Wait)
    }

    /// The attempt at `addr` has failed; the next one starts at once.
    pub(super) fn failed(&mut self, addr: SocketAddr, error: io::Error, now: Instant) {
        self.running.retain(|(running, _)| *running != addr);
        self.fail(addr, error, now);
    }

    fn fail(&mut self, addr: SocketAddr, error: io::Error, now: Instant) {
        self.failed.push(Attempt { addr, error });
        self.next = now;
    }

    /// Every address and why it is not connected, when the race is lost or time is up for all of it.
    pub(super) fn into_attempts(self) -> Vec<Attempt> {
        let unfinished = |addr, reason: &str| Attempt { addr, error: io::Error::new(io::ErrorKind::TimedOut, reason) };
        let mut attempts = self.failed;
        attempts.extend(self.running.into_iter().map(|(addr, _)| unfinished(addr, "no answer")));
        attempts.extend(self.waiting.into_iter().map(|addr| unfinished(addr, "not tried: time was up")));
        attempts
    }
}

/// A time that no clock will show is a day.
fn later(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or_else(|| now + Duration::from_secs(86_400))
}

/// Each address once, the families taking turns and the preferred one first [RFC 8305 §4]: when one of them leads
/// nowhere, the other is not far behind.
fn alternate(addrs: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::with_capacity(addrs.len());
    for addr in addrs {
        if !unique.contains(addr) {
            unique.push(*addr);
        }
    }
    let first_is_ipv4 = unique.first().is_some_and(SocketAddr::is_ipv4);
    let (preferred, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        unique.iter().partition(|addr| addr.is_ipv4() == first_is_ipv4);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut order = VecDeque::with_capacity(unique.len());
    while order.len() < unique.len() {
        order.extend(preferred.next());
        order.extend(other.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: u64 = 250;
    const PATIENCE: u64 = 5000;

    fn four(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn six(last: u16) -> SocketAddr {
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, last], 80))
    }

    /// A race and its clock, in milliseconds.
    struct Track {
        race: Race,
        start: Instant,
    }

    impl Track {
        fn new(addrs: &[SocketAddr]) -> Self {
            let start = Instant::now();
            let ms = Duration::from_millis;
            Self { race: Race::new(addrs, ms(DELAY), ms(PATIENCE), start), start }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn step(&mut self, ms: u64) -> Move {
            self.race.step(self.at(ms))
        }

        fn wait(&self, ms: u64) -> Move {
            Move::Wait(self.at(ms))
        }

        fn fail(&mut self, ms: u64, addr: SocketAddr) {
            self.race.failed(addr, io::ErrorKind::ConnectionRefused.into(), self.at(ms));
        }

        fn outcome(self) -> Vec<(SocketAddr, io::ErrorKind)> {
            self.race.into_attempts().iter().map(|attempt| (attempt.addr, attempt.error.kind())).collect()
        }
    }

    #[test]
    fn families_take_turns_and_the_preferred_one_begins() {
        let rows: [(&[SocketAddr], &[SocketAddr]); 5] = [
            (&[], &[]),
            (&[six(1), six(2), six(3), four(1)], &[six(1), four(1), six(2), six(3)]),
            (&[four(1), six(1), six(2)], &[four(1), six(1), six(2)]),
            (&[four(1), four(2), four(1)], &[four(1), four(2)]),
            (&[six(1), six(1), four(1), four(2)], &[six(1), four(1), four(2)]),
        ];
        for (given, order) in rows {
            assert_eq!(alternate(given), order, "{given:?}");
        }
    }

    #[test]
    fn the_next_starts_after_the_delay_while_the_first_goes_on() {
        let mut track = Track::new(&[six(1), four(1), six(2)]);
        assert_eq!(track.step(0), Move::Start(six(1)));
        assert_eq!(track.step(0), track.wait(DELAY));
        assert_eq!(track.step(DELAY - 1), track.wait(DELAY));
        assert_eq!(track.step(DELAY), Move::Start(four(1)));
        assert_eq!(track.step(2 * DELAY), Move::Start(six(2)));
        assert_eq!(track.step(2 * DELAY), track.wait(PATIENCE), "the first one's time is up first");
    }

    #[test]
    fn the_next_starts_at_once_when_one_fails() {
        let mut track = Track::new(&[six(1), four(1), six(2)]);
        assert_eq!(track.step(0), Move::Start(six(1)));
        track.fail(10, six(1));
        assert_eq!(track.step(10), Move::Start(four(1)));
        assert_eq!(track.step(10), track.wait(10 + DELAY), "and the one after that has the full delay again");
        track.fail(20, four(1));
        assert_eq!(track.step(20), Move::Start(six(2)));
        track.fail(30, six(2));
        assert_eq!(track.step(30), Move::Lost);
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(track.outcome(), [(six(1), refused), (four(1), refused), (six(2), refused)]);
    }

    #[test]
    fn each_attempt_has_its_own_time() {
        let mut track = Track::new(&[six(1), four(1)]);
        assert_eq!(track.step(0), Move::Start(six(1)));
        assert_eq!(track.step(DELAY), Move::Start(four(1)));
        assert_eq!(track.step(PATIENCE), Move::Abandon(six(1)));
        assert_eq!(track.step(PATIENCE), track.wait(DELAY + PATIENCE));
        assert_eq!(track.step(DELAY + PATIENCE), Move::Abandon(four(1)));
        assert_eq!(track.step(DELAY + PATIENCE), Move::Lost);
        let error = track.race.into_attempts()[0].to_string();
        assert_eq!(error, "[fd00::1]:80 (no answer within 5000 ms)");
    }

    #[test]
    fn a_clock_that_jumps_ahead_starts_one_at_a_time() {
        let mut track = Track::new(&[six(1), four(1), six(2)]);
        assert_eq!(track.step(0), Move::Start(six(1)));
        assert_eq!(track.step(3000), Move::Start(four(1)));
        assert_eq!(track.step(3000), track.wait(3000 + DELAY));
    }

    #[test]
    fn whoever_gives_up_hears_of_every_address() {
        let mut track = Track::new(&[six(1), four(1), six(2)]);
        assert_eq!(track.step(0), Move::Start(six(1)));
        track.fail(0, six(1));
        assert_eq!(track.step(0), Move::Start(four(1)));
        let timed_out = io::ErrorKind::TimedOut;
        let refused = io::ErrorKind::ConnectionRefused;
        assert_eq!(track.outcome(), [(six(1), refused), (four(1), timed_out), (six(2), timed_out)]);
        assert_eq!(Track::new(&[]).step(0), Move::Lost);
    }
}
