//! The sessions, the application, the peers and the clock, moved in an order that a seed decides.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loopwire::handshake::Uri;
use loopwire::net::{ConnectionId, DialRequest, NetConfig, OverflowPolicy, PeerAddr, Readiness, Sessions, Transport};
use loopwire::protocol::Config;
use loopwire::wire::CloseCode;

use super::app::{App, Record};
use super::peer::Peer;
use super::pipe::{Pipe, Shared, SimStream};
use super::rng::Rng;

pub struct World {
    rng: Rng,
    sessions: Sessions,
    app: App,
    links: Vec<Link>,
    now: Instant,
}

struct Link {
    /// Absent if it was turned away at once.
    id: Option<ConnectionId>,
    pipe: Shared,
    peer: Peer,
}

/// What a seed's run came to, to show that the simulation is no empty one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub connections: usize,
    pub received: usize,
    pub sent: usize,
    pub calls: usize,
    pub panics: usize,
    pub errors: usize,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.received += other.received;
        self.sent += other.sent;
        self.calls += other.calls;
        self.panics += other.panics;
        self.errors += other.errors;
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut net = NetConfig::default();
        net.receive_buffer = rng.pick(&[1, 7, 200, 4_096, 65_536]);
        net.high_water_mark = rng.pick(&[1, 100, 2_000, 65_536]);
        net.max_buffered = rng.pick(&[1_000, 20_000, 1 << 20]);
        net.overflow = rng.pick(&[OverflowPolicy::Drop, OverflowPolicy::Close]);
        net.overflow_close = rng.pick(&[None, Some((CloseCode(3008), "slow"))]);
        net.turn_bytes = rng.pick(&[1, 500, 65_536]);
        net.turn_events = rng.pick(&[1, 3, 1_000]);
        net.drain_batch = rng.pick(&[1, 3, 100]);
        net.max_connections = rng.pick(&[5, 1_000]);
        let config = protocol_config(&mut rng);
        let now = Instant::now();
        let sessions = Sessions::new(net, None, None, now);
        let app = App::new(&mut rng, config);
        Self { rng, sessions, app, links: Vec::new(), now }
    }

    /// The whole life of a world.
    pub fn run(&mut self) -> Summary {
        for _ in 0..400 {
            self.step();
        }
        self.settle();
        self.check_settled();
        self.shut_down();
        self.check_ended()
    }

    fn step(&mut self) {
        if self.links.len() < 12 && self.rng.one_in(8) {
            self.connect();
        }
        for _ in 0..self.rng.below(12) {
            if let Some(at) = self.somewhere() {
                self.act(at);
            }
        }
        for _ in 0..self.rng.below(8) {
            if let Some(at) = self.somewhere() {
                let twice = self.rng.one_in(6);
                let due = self.deliver(at);
                if twice {
                    self.ready(at, due);
                }
            }
        }
        if self.rng.one_in(5)
            && let Some(at) = self.somewhere()
        {
            // For no reason, and perhaps to one that is long gone.
            let readiness = Readiness {
                readable: self.rng.one_in(2),
                writable: self.rng.one_in(2),
                // An end is only reported where there is one, but perhaps again.
                read_closed: self.links[at].pipe.lock().unwrap().peer_ended && self.rng.one_in(2),
            };
            self.ready(at, readiness);
        }
        self.now += match self.rng.below(1_000) {
            0 => Duration::from_secs(30),
            1..8 => Duration::from_secs(1),
            _ => Duration::from_millis(self.rng.below(10) as u64),
        };
        self.turn();
    }

    fn somewhere(&mut self) -> Option<usize> {
        (!self.links.is_empty()).then(|| self.rng.below(self.links.len()))
    }

    fn connect(&mut self) {
        let pipe = Pipe::new(&mut self.rng);
        let transport = Transport::Other(Box::new(SimStream(Arc::clone(&pipe))));
        let config = Arc::new(protocol_config(&mut self.rng));
        let (peer, id) = if self.rng.one_in(4) {
            let peer = Peer::server(&mut self.rng, Arc::clone(&pipe), config);
            let mut request = DialRequest::new(Uri::parse("ws://sim.example/").unwrap());
            request.config = Arc::clone(&self.app.config);
            (peer, self.sessions.dial_over(transport, PeerAddr::Unknown, &request).ok())
        } else {
            let peer = Peer::client(&mut self.rng, Arc::clone(&pipe), config);
            let addr = PeerAddr::Ip(([192, 0, 2, self.rng.below(4) as u8], 1).into());
            (peer, self.sessions.accept(transport, addr).ok())
        };
        self.links.push(Link { id, pipe, peer });
    }

    fn act(&mut self, at: usize) {
        let peer = &mut self.links[at].peer;
        match self.rng.below(4) {
            0 => peer.talk(self.now),
            1 | 2 => {
                let max = self.rng.pick(&[1, 2, 50, 1_000, 100_000]);
                peer.write(max);
            }
            _ => {
                peer.read(peer.appetite, self.now);
            }
        }
    }

    /// Hands over what the poll would report; what that was.
    fn deliver(&mut self, at: usize) -> Readiness {
        let due = std::mem::take(&mut self.links[at].pipe.lock().unwrap().due);
        self.ready(at, due);
        due
    }

    fn ready(&mut self, at: usize, readiness: Readiness) {
        let link = &self.links[at];
        let Some(id) = link.id else { return };
        if readiness == Readiness::default() {
            return;
        }
        {
            let mut pipe = link.pipe.lock().unwrap();
            pipe.read_events += usize::from(readiness.readable || readiness.read_closed);
            pipe.write_events += usize::from(readiness.writable);
        }
        self.sessions.ready(&mut self.app, id, readiness, self.now);
    }

    fn turn(&mut self) {
        self.sessions.tick(&mut self.app, self.now);
        self.sessions.flush(&mut self.app);
        assert!(self.app.violations.is_empty(), "{:?}", self.app.violations);
        for link in &self.links {
            assert!(link.peer.violations.is_empty(), "{:?}: {:?}", link.id, link.peer.violations);
        }
    }

    /// Everybody finishes what was begun, while the clock stands still: what then still waits was forgotten.
    fn settle(&mut self) {
        for link in &mut self.links {
            link.peer.calm_down();
        }
        for round in 0.. {
            assert!(round < 300_000, "the world never comes to rest");
            let mut moved = false;
            for at in 0..self.links.len() {
                let peer = &mut self.links[at].peer;
                moved |= peer.write(usize::MAX);
                if peer.appetite > 0 {
                    moved |= peer.read(usize::MAX, self.now);
                }
                moved |= self.deliver(at) != Readiness::default();
            }
            self.turn();
            // What the turn itself gave rise to.
            moved |= self.links.iter().any(|link| {
                let pipe = link.pipe.lock().unwrap();
                let is_due = link.id.is_some() && pipe.due != Readiness::default();
                is_due || (!pipe.outbound.is_empty() && link.peer.appetite > 0)
            });
            let has_work = self.sessions.next_deadline().is_some_and(|deadline| deadline <= self.now);
            if !moved && !has_work {
                return;
            }
        }
    }

    fn check_settled(&self) {
        for link in &self.links {
            let Link { id: Some(id), peer, .. } = link else { continue };
            let Some(record) = self.app.records.get(id) else { continue };
            let both_open = peer.is_open() && !peer.ended && self.sessions.is_open(*id) && record.closed.is_none();
            if both_open && !peer.evil_once() && peer.appetite > 0 {
                assert_same(&peer.received, &record.sent, "what the session sent", link);
                assert_same(&record.received, &peer.sent, "what the peer sent", link);
                assert!(!record.is_flooding(), "{id}: nobody told the application that it could go on");
            }
            if record.got_close && !record.closed_by_us && !record.error && !peer.evil_once() {
                assert_same(&record.received, &peer.sent, "what the peer sent before its Close", link);
            }
        }
    }

    fn shut_down(&mut self) {
        self.sessions.shutdown(Duration::from_secs(20));
        let deadline = self.now + Duration::from_secs(21);
        while !self.sessions.is_finished() {
            assert!(self.now < deadline, "{} connections outlive the shutdown", self.sessions.len());
            for at in 0..self.links.len() {
                let peer = &mut self.links[at].peer;
                peer.write(usize::MAX);
                if peer.appetite > 0 {
                    peer.read(usize::MAX, self.now);
                }
                self.deliver(at);
            }
            self.now += Duration::from_millis(self.rng.between(1, 50) as u64);
            self.turn();
        }
    }

    fn check_ended(&mut self) -> Summary {
        assert!(self.sessions.is_empty());
        let mut summary = Summary { connections: self.links.len(), panics: self.app.panics, ..Summary::default() };
        let nothing = Record::default();
        for link in &mut self.links {
            link.peer.read(usize::MAX, self.now);
        }
        for link in &self.links {
            let record = link.id.and_then(|id| self.app.records.get(&id)).unwrap_or(&nothing);
            let pipe = link.pipe.lock().unwrap();
            assert!(pipe.dropped, "{:?}: the stream is still held", link.id);
            assert_eq!(record.opened, usize::from(record.closed.is_some()), "{:?}: opened and closed pair", link.id);
            assert!(pipe.read_blocks <= pipe.read_events, "{:?}: reads without a reason: {pipe:?}", link.id);
            assert!(pipe.write_blocks <= pipe.write_events + 1, "{:?}: writes without a reason: {pipe:?}", link.id);
            assert!(record.sent.starts_with(&link.peer.received), "{:?}: the peer got something else", link.id);
            if !link.peer.evil_once() {
                assert!(link.peer.sent.starts_with(&record.received), "{:?}: we got something else", link.id);
            }
            if link.peer.got_close && !link.peer.said_close() && !record.overflown {
                assert_same(&link.peer.received, &record.sent, "what was sent before our Close", link);
            }
            summary.received += record.received.len();
            summary.sent += link.peer.received.len();
            summary.calls += pipe.calls;
            summary.errors += usize::from(record.error);
        }
        summary
    }
}

fn assert_same(got: &[Vec<u8>], sent: &[Vec<u8>], what: &str, link: &Link) {
    let lens = |messages: &[Vec<u8>]| messages.iter().map(Vec::len).collect::<Vec<_>>();
    assert!(got == sent, "{:?}: {what}: {:?} arrived of {:?}; {:?}", link.id, lens(got), lens(sent), link.pipe);
}

fn protocol_config(rng: &mut Rng) -> Config {
    let mut config = Config::default();
    config.ping_interval = rng.pick(&[None, Some(Duration::from_millis(700)), Some(Duration::from_secs(25))]);
    config.pong_timeout = Duration::from_secs(2);
    config.fragment_size = rng.pick(&[None, None, Some(10), Some(1_000)]);
    config
}
