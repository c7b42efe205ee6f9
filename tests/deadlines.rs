//! When something is due on an open connection, it is done then, whatever was awaited before: in virtual time.

#[path = "common/pipes.rs"]
mod pipes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{Answer, Application, ConnectionId, NetConfig, PeerAddr, Readiness, Sessions, Transport};
use loopwire::protocol::{Closed, Config, Event};
use pipes::{Pipe, pipes};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n";
const TEXT: &[u8] = b"\x81\x81\0\0\0\0x";
const BEGUN: &[u8] = b"\x01\x81\0\0\0\0x";

const PING: u8 = 0x89;
const CLOSE: u8 = 0x88;

/// Later than due by no more than the loop's clock is coarse.
const TICK: Duration = Duration::from_millis(20);

struct Accepting {
    config: Arc<Config>,
    closed: Option<Closed>,
}

impl Application for Accepting {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
        Answer::Accept(Acceptance::default(), Arc::clone(&self.config))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
        unreachable!("no plain request is made")
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, _: &mut Sessions, _: ConnectionId, _: Event<'_>) {}

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, closed: Closed) {
        self.closed = Some(closed);
    }

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}

/// One connection to a server that lets an opening handshake take an hour, and pings after a second.
struct World {
    sessions: Sessions,
    app: Accepting,
    id: ConnectionId,
    peer: Pipe,
    start: Instant,
    now: Instant,
}

impl World {
    fn open(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.ping_interval = Some(Duration::from_secs(1));
        config.pong_timeout = Duration::from_secs(3);
        change(&mut config);
        let app = Accepting { config: Arc::new(config), closed: None };
        let start = Instant::now();
        let mut net = NetConfig::default();
        net.head_timeout = Duration::from_secs(3600);
        let mut sessions = Sessions::new(net, None, None, start);
        let (ours, peer) = pipes(usize::MAX);
        let id = sessions.accept(Transport::Other(Box::new(ours)), PeerAddr::Unknown).unwrap();
        let mut world = Self { sessions, app, id, peer, start, now: start };
        world.say(REQUEST);
        assert!(world.heard().starts_with(b"HTTP/1.1 101 "));
        world
    }

    /// The peer says something, now.
    fn say(&mut self, bytes: &[u8]) {
        self.peer.outgoing.lock().unwrap().bytes.extend(bytes);
        let readiness = Readiness { readable: true, ..Readiness::default() };
        self.sessions.ready(&mut self.app, self.id, readiness, self.now);
        self.sessions.flush(&mut self.app);
    }

    /// What the peer was told since it was last asked.
    fn heard(&mut self) -> Vec<u8> {
        self.peer.incoming.lock().unwrap().bytes.drain(..).collect()
    }

    /// Lets time pass until the peer is told something: after how long since the beginning, and the first byte of it.
    fn next(&mut self) -> (Duration, u8) {
        loop {
            let deadline = self.sessions.next_deadline().expect("something is still to come");
            self.now = self.now.max(deadline);
            self.sessions.tick(&mut self.app, self.now);
            self.sessions.flush(&mut self.app);
            if let Some(first) = self.heard().first() {
                return (self.now - self.start, *first);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.sessions.tick(&mut self.app, self.now);
        self.sessions.flush(&mut self.app);
    }
}

#[track_caller]
fn assert_due((at, what): (Duration, u8), due: Duration, expected: u8) {
    assert_eq!(what, expected, "{at:?}");
    assert!((due..=due + TICK).contains(&at), "at {at:?}, due at {due:?}");
}

#[test]
fn a_silent_peer_is_pinged_however_long_its_handshake_could_have_taken() {
    let mut world = World::open(|_| ());
    assert_due(world.next(), Duration::from_secs(1), PING);
}

#[test]
fn a_peer_that_speaks_is_pinged_only_once_it_is_silent() {
    let mut world = World::open(|_| ());
    for _ in 0..10 {
        world.pass(Duration::from_millis(900));
        assert_eq!(world.heard(), [0; 0]);
        world.say(TEXT);
    }
    assert_due(world.next(), Duration::from_secs(10), PING);
}

#[test]
fn any_byte_after_the_ping_is_a_sign_of_life_and_none_the_end() {
    let mut world = World::open(|_| ());
    assert_due(world.next(), Duration::from_secs(1), PING);
    world.pass(Duration::from_millis(2_500));
    world.say(TEXT);
    let (at, what) = world.next();
    assert_due((at, what), Duration::from_millis(4_500), PING);
    let given_up = world.next();
    assert_due(given_up, at + Duration::from_secs(3), CLOSE);
}

#[test]
fn a_message_that_is_not_finished_ends_the_connection_in_its_own_time() {
    // Nearer than the next ping, and than what was awaited before.
    let mut world = World::open(|config| {
        config.ping_interval = Some(Duration::from_secs(60));
        config.message_timeout = Duration::from_secs(2);
    });
    world.pass(Duration::from_secs(5));
    world.say(BEGUN);
    assert_due(world.next(), Duration::from_secs(7), CLOSE);
}
