//! Each fault of the event loop by its name, on the real sessions and under a clock that moves only when told.

mod sim;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{
    Answer, Application, ConnectionId, NetConfig, OverflowPolicy, PeerAddr, Readiness, SendError, Sent, Sessions,
    Stream, Transport,
};
use loopwire::protocol::{Closed, Config, Event};
use loopwire::wire::{CloseCode, ProtocolError};
use sim::pipe::{Pipe, Shared, SimStream};

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const READABLE: Readiness = Readiness { readable: true, writable: false, read_closed: false };
const WRITABLE: Readiness = Readiness { readable: false, writable: true, read_closed: false };

type Behaviour = fn(&mut Sessions, ConnectionId, &[u8]);

/// Writes down what it hears and does one thing with each message.
struct App {
    config: Arc<Config>,
    behaviour: Behaviour,
    requests: usize,
    opened: Vec<ConnectionId>,
    messages: Vec<(ConnectionId, Vec<u8>)>,
    errors: Vec<ProtocolError>,
    closed: Vec<(ConnectionId, Closed)>,
    writable: usize,
    timers: Vec<u64>,
}

fn echo(sessions: &mut Sessions, id: ConnectionId, payload: &[u8]) {
    let _ = match std::str::from_utf8(payload) {
        Ok(text) => sessions.send(id, text),
        Err(_) => sessions.send(id, payload),
    };
}

impl Application for App {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, request: &UpgradeRequest) -> Answer {
        self.requests += 1;
        if request.path() == "/panic" {
            // Without the hook's noise.
            std::panic::resume_unwind(Box::new("as asked"));
        }
        Answer::Accept(Acceptance::default(), Arc::clone(&self.config))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request) -> Response {
        self.requests += 1;
        Response::text(200, "plain")
    }

    fn opened(&mut self, _: &mut Sessions, id: ConnectionId) {
        self.opened.push(id);
    }

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.messages.push((id, message.payload().to_vec()));
                (self.behaviour)(sessions, id, message.payload());
            }
            Event::Error(error) => self.errors.push(error),
            _ => {}
        }
    }

    fn writable(&mut self, _: &mut Sessions, _: ConnectionId) {
        self.writable += 1;
    }

    fn closed(&mut self, _: &mut Sessions, id: ConnectionId, closed: Closed) {
        self.closed.push((id, closed));
    }

    fn timer(&mut self, _: &mut Sessions, key: u64) {
        self.timers.push(key);
    }

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}

struct World {
    sessions: Sessions,
    app: App,
    now: Instant,
}

impl World {
    fn new(net: NetConfig, config: Config, behaviour: Behaviour) -> Self {
        let now = Instant::now();
        let app = App {
            config: Arc::new(config),
            behaviour,
            requests: 0,
            opened: Vec::new(),
            messages: Vec::new(),
            errors: Vec::new(),
            closed: Vec::new(),
            writable: 0,
            timers: Vec::new(),
        };
        Self { sessions: Sessions::new(net, None, None, now), app, now }
    }

    fn echo() -> Self {
        Self::new(NetConfig::default(), Config::default(), echo)
    }

    fn accept(&mut self, pipe: &Shared) -> ConnectionId {
        let stream = SimStream(Arc::clone(pipe));
        self.sessions.accept(Transport::Other(Box::new(stream)), PeerAddr::Unknown).unwrap()
    }

    /// A connection whose opening handshake is done.
    fn open(&mut self, pipe: &Shared) -> ConnectionId {
        let id = self.accept(pipe);
        pipe.lock().unwrap().arrive(HANDSHAKE);
        self.settle(&[(id, pipe)]);
        assert!(self.sessions.is_open(id));
        take(pipe);
        id
    }

    fn turn(&mut self) {
        self.sessions.tick(&mut self.app, self.now);
        self.sessions.flush(&mut self.app);
    }

    fn ready(&mut self, id: ConnectionId, readiness: Readiness) {
        self.sessions.ready(&mut self.app, id, readiness, self.now);
    }

    /// Reports what is due, turn by turn, until nothing is.
    fn settle(&mut self, links: &[(ConnectionId, &Shared)]) {
        for turn in 0.. {
            assert!(turn < 100_000, "it never comes to rest");
            for (id, pipe) in links {
                let due = std::mem::take(&mut pipe.lock().unwrap().due);
                self.ready(*id, due);
            }
            self.turn();
            let is_due = links.iter().any(|(_, pipe)| pipe.lock().unwrap().due != Readiness::default());
            if !is_due && !self.has_work() {
                return;
            }
        }
    }

    fn has_work(&self) -> bool {
        self.sessions.next_deadline().is_some_and(|deadline| deadline <= self.now)
    }

    /// Lets time pass, with every turn that is due on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.sessions.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.turn();
        }
        self.now = end;
        self.turn();
    }
}

fn calm() -> Shared {
    Pipe::calm(1 << 20, usize::MAX)
}

fn take(pipe: &Shared) -> Vec<u8> {
    pipe.lock().unwrap().take(usize::MAX)
}

fn is_dropped(pipe: &Shared) -> bool {
    pipe.lock().unwrap().dropped
}

/// A client's frame under a mask of zeros, which leaves the payload readable.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

#[test]
fn short_reads_and_writes_of_one_byte_give_the_identical_stream() {
    let conversation = [HANDSHAKE, &text("Hello"), &frame(0x89, b"ping"), &text(&"x".repeat(300))].concat();
    let reply = |capacity, chunk| {
        let mut world = World::echo();
        let pipe = Pipe::calm(capacity, chunk);
        let id = world.accept(&pipe);
        pipe.lock().unwrap().arrive(&conversation);
        let mut reply = Vec::new();
        loop {
            world.settle(&[(id, &pipe)]);
            let bytes = take(&pipe);
            if bytes.is_empty() {
                return reply;
            }
            reply.extend(bytes);
        }
    };
    let whole = reply(1 << 20, usize::MAX);
    assert!(whole.ends_with(&[&b"\x81\x7e\x01\x2c"[..], &[b'x'; 300]].concat()));
    for (capacity, chunk) in [(1, 1), (1, 1000), (1000, 1), (3, 2)] {
        assert!(reply(capacity, chunk) == whole, "{chunk} bytes at a time, {capacity} buffered");
    }
}

#[test]
fn frames_in_the_requests_segment_are_frames() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.accept(&pipe);
    pipe.lock().unwrap().arrive(&[HANDSHAKE, &text("a"), &text("b")].concat());
    world.settle(&[(id, &pipe)]);
    assert!(take(&pipe).ends_with(b"\r\n\r\n\x81\x01a\x81\x01b"));
}

#[test]
fn nothing_behind_a_refused_or_plain_request_is_looked_at() {
    for first in ["POST / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let mut world = World::echo();
        let pipe = calm();
        let id = world.accept(&pipe);
        pipe.lock().unwrap().arrive(format!("{first}GET /api HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        world.settle(&[(id, &pipe)]);
        let answer = String::from_utf8(take(&pipe)).unwrap();
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(world.app.requests <= 1);
        assert!(pipe.lock().unwrap().session_ended, "our direction ends behind the answer");
        assert!(!is_dropped(&pipe), "the peer still may read it");
        pipe.lock().unwrap().end();
        world.settle(&[(id, &pipe)]);
        assert!(is_dropped(&pipe));
        assert!(world.sessions.is_empty());
    }
}

#[test]
fn would_block_in_storms_costs_no_more_calls_than_events() {
    let mut world = World::echo();
    let pipe = Pipe::calm(2, usize::MAX);
    let id = world.accept(&pipe);
    pipe.lock().unwrap().arrive(&[HANDSHAKE, &text("Hello")].concat());
    world.settle(&[(id, &pipe)]);
    let calls = pipe.lock().unwrap().calls;
    for _ in 0..1000 {
        world.turn();
        assert!(!world.has_work(), "a full socket must not keep the loop turning");
    }
    assert_eq!(pipe.lock().unwrap().calls, calls, "a full socket is left alone until it is ready");
    for _ in 0..1000 {
        world.ready(id, READABLE);
        world.ready(id, WRITABLE);
        world.turn();
    }
    assert!(pipe.lock().unwrap().calls <= calls + 2000, "one call per spurious event");
    let mut reply = Vec::new();
    while !reply.ends_with(b"Hello") {
        let bytes = take(&pipe);
        assert!(!bytes.is_empty(), "a wake-up was lost");
        reply.extend(bytes);
        world.settle(&[(id, &pipe)]);
    }
}

#[test]
fn an_end_or_a_reset_at_any_byte_frees_everything_and_pairs_opened_with_closed() {
    let conversation = [HANDSHAKE, &text("Hello"), &frame(0x01, b"unfin"), &frame(0x89, b"p")].concat();
    for at in 0..=conversation.len() {
        for reset in [false, true] {
            let mut world = World::echo();
            let pipe = calm();
            let id = world.accept(&pipe);
            pipe.lock().unwrap().arrive(&conversation[..at]);
            world.settle(&[(id, &pipe)]);
            if reset {
                pipe.lock().unwrap().reset();
            } else {
                pipe.lock().unwrap().end();
            }
            world.settle(&[(id, &pipe)]);
            assert!(is_dropped(&pipe), "byte {at}, reset {reset}: the socket is still held");
            assert!(world.sessions.is_empty(), "byte {at}, reset {reset}");
            assert_eq!(world.app.opened.len(), world.app.closed.len(), "byte {at}, reset {reset}");
            assert_eq!(world.app.opened.len(), usize::from(at >= HANDSHAKE.len()), "byte {at}, reset {reset}");
            assert_eq!(world.sessions.next_deadline(), None, "byte {at}, reset {reset}: a timer is left");
        }
    }
}

#[test]
fn a_stale_event_touches_no_newcomer_in_the_same_slot() {
    let mut world = World::echo();
    let (old_pipe, new_pipe) = (calm(), calm());
    let old = world.open(&old_pipe);
    assert!(world.sessions.abort(old));
    world.turn();
    let new = world.open(&new_pipe);
    assert_eq!((old.to_u64() ^ new.to_u64()) & 0xff_ffff, 0, "the slot is reused");
    new_pipe.lock().unwrap().arrive(&text("Hello"));
    world.ready(old, Readiness { readable: true, writable: true, read_closed: true });
    world.turn();
    assert!(world.app.messages.is_empty());
    assert!(world.sessions.is_open(new));
    assert!(!world.sessions.abort(old));
    assert_eq!(world.sessions.send(old, "x"), Err(SendError::NotOpen));
    world.settle(&[(new, &new_pipe)]);
    assert_eq!(world.app.messages, [(new, b"Hello".to_vec())]);
}

#[test]
fn a_firehose_gets_its_share_of_a_turn_and_its_neighbour_too() {
    let mut net = NetConfig::default();
    net.turn_bytes = 10_000;
    net.turn_events = 100;
    net.receive_buffer = 4096;
    let mut world = World::new(net, Config::default(), echo);
    let (hose, neighbour) = (calm(), calm());
    let (hose_id, neighbour_id) = (world.open(&hose), world.open(&neighbour));
    hose.lock().unwrap().arrive(&text("x").repeat(100_000));
    for round in 0..10 {
        neighbour.lock().unwrap().arrive(&text("me too"));
        for (id, pipe) in [(hose_id, &hose), (neighbour_id, &neighbour)] {
            let due = std::mem::take(&mut pipe.lock().unwrap().due);
            world.ready(id, due);
        }
        world.turn();
        assert_eq!(take(&neighbour), b"\x81\x06me too", "round {round}");
        let share = world.app.messages.iter().filter(|(id, _)| *id == hose_id).count();
        // Once for the event, and once per turn by itself.
        assert!(share <= 100 * (round + 2), "round {round}: {share} messages");
    }
    world.settle(&[(hose_id, &hose)]);
    assert_eq!(
        world.app.messages.iter().filter(|(id, _)| *id == hose_id).count(),
        100_000,
        "all get there by themselves"
    );
}

#[test]
fn a_peer_that_does_not_read_is_not_decoded_beyond_the_high_water_mark() {
    let mut net = NetConfig::default();
    net.high_water_mark = 1000;
    net.max_buffered = 5000;
    let mut world = World::new(net, Config::default(), echo);
    let pipe = Pipe::calm(100, usize::MAX);
    let id = world.accept(&pipe);
    pipe.lock().unwrap().arrive(HANDSHAKE);
    while !world.sessions.is_open(id) || world.sessions.buffered_amount(id) > 0 {
        world.settle(&[(id, &pipe)]);
        take(&pipe);
    }
    // Pings too: their pongs are written by the protocol itself.
    pipe.lock().unwrap().arrive(&[text(&"x".repeat(90)), frame(0x89, &[b'p'; 90])].concat().repeat(500));
    world.settle(&[(id, &pipe)]);
    assert!(world.sessions.buffered_amount(id) < 1100);
    let echoed = world.app.messages.len();
    assert!(echoed < 15, "{echoed} messages were decoded without room for the replies");
    let calls = pipe.lock().unwrap().calls;
    (0..1000).for_each(|_| world.turn());
    assert_eq!(pipe.lock().unwrap().calls, calls, "no spin while it does not read");

    let mut received = 0;
    loop {
        let bytes = take(&pipe);
        if bytes.is_empty() {
            break;
        }
        received += bytes.len();
        world.settle(&[(id, &pipe)]);
    }
    assert_eq!(received, 500 * (92 + 92), "it all comes once there is room");
}

#[test]
fn a_ping_flood_is_answered_up_to_the_rate_and_then_failed_with_1008() {
    let mut config = Config::default();
    config.max_control_rate = 50;
    let mut world = World::new(NetConfig::default(), config, echo);
    let pipe = calm();
    let id = world.open(&pipe);
    pipe.lock().unwrap().arrive(&frame(0x89, b"").repeat(100));
    world.settle(&[(id, &pipe)]);
    let reply = take(&pipe);
    assert!(reply.starts_with(&b"\x8a\x00".repeat(50)));
    assert_eq!(&reply[100..101], b"\x88");
    assert_eq!(&reply[102..104], 1008_u16.to_be_bytes());
    assert_eq!(world.app.closed.len(), 1);
}

#[test]
fn too_much_waiting_drops_messages_or_the_connection_as_the_policy_says() {
    for overflow in [OverflowPolicy::Drop, OverflowPolicy::Close] {
        let mut net = NetConfig::default();
        (net.high_water_mark, net.max_buffered, net.overflow) = (1000, 3000, overflow);
        let mut world = World::new(net, Config::default(), echo);
        let (slow, quick) = (Pipe::calm(200, usize::MAX), calm());
        let slow_id = world.accept(&slow);
        slow.lock().unwrap().arrive(HANDSHAKE);
        world.settle(&[(slow_id, &slow)]);
        let quick_id = world.open(&quick);
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            for id in [slow_id, quick_id] {
                let sent = world.sessions.send(id, &[b'x'; 100]);
                if id == slow_id {
                    outcomes.push(sent);
                }
            }
            world.turn();
            assert!(world.sessions.buffered_amount(slow_id) <= 3000 + 4);
        }
        assert_eq!(take(&quick).len(), 40 * 102, "the others are not affected");
        assert_eq!(outcomes[0], Ok(Sent::Written));
        assert!(outcomes.contains(&Ok(Sent::Backpressure)));
        match overflow {
            OverflowPolicy::Drop => {
                assert_eq!(outcomes.last(), Some(&Ok(Sent::Dropped)));
                assert!(world.sessions.is_open(slow_id));
                while !take(&slow).is_empty() {
                    world.settle(&[(slow_id, &slow)]);
                }
                assert_eq!(world.app.writable, 1, "told once that there is room again");
            }
            OverflowPolicy::Close => {
                assert!(outcomes.contains(&Err(SendError::Overflow)));
                assert_eq!(outcomes.last(), Some(&Err(SendError::NotOpen)));
                assert_eq!(world.app.closed.len(), 1);
                assert!(is_dropped(&slow));
            }
        }
    }
}

#[test]
fn a_silent_peer_is_dropped_after_ping_and_pong_timeout_even_with_data_pending() {
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_secs(10));
    config.pong_timeout = Duration::from_secs(5);
    for capacity in [1 << 20, 300] {
        let mut world = World::new(NetConfig::default(), config.clone(), echo);
        let pipe = Pipe::calm(capacity, usize::MAX);
        let id = world.open(&pipe);
        let _ = world.sessions.send(id, &[0; 5000]);
        world.pass(Duration::from_secs(9));
        assert!(world.sessions.is_open(id));
        world.pass(Duration::from_secs(30));
        assert_eq!(world.app.closed.len(), 1, "capacity {capacity}");
        assert!(is_dropped(&pipe), "capacity {capacity}");
        assert!(world.sessions.is_empty());
    }
}

#[test]
fn a_slow_reader_outlives_its_deadlines_as_long_as_it_takes_something() {
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_secs(2));
    config.pong_timeout = Duration::from_secs(2);
    let mut world = World::new(NetConfig::default(), config, echo);
    let pipe = Pipe::calm(300, usize::MAX);
    let id = world.open(&pipe);
    let _ = world.sessions.send(id, &[0; 10_000]);
    for _ in 0..60 {
        world.pass(Duration::from_millis(500));
        pipe.lock().unwrap().take(100);
        world.settle(&[(id, &pipe)]);
    }
    assert!(world.sessions.is_open(id), "{:?}", world.app.closed);
    world.pass(Duration::from_secs(30));
    assert!(is_dropped(&pipe), "but not once it takes nothing");
}

#[test]
fn a_peer_that_ignores_our_close_is_gone_within_the_close_timeout() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.open(&pipe);
    world.sessions.close(id, CloseCode::NORMAL, "").unwrap();
    world.turn();
    assert_eq!(take(&pipe), b"\x88\x02\x03\xe8");
    pipe.lock().unwrap().arrive(&text("never mind"));
    world.settle(&[(id, &pipe)]);
    world.pass(Duration::from_millis(4900));
    assert!(!is_dropped(&pipe));
    world.pass(Duration::from_millis(200));
    assert!(is_dropped(&pipe));
    assert_eq!(world.app.closed[0].1.code, CloseCode::ABNORMAL);
}

#[test]
fn the_closing_handshake_ends_our_direction_first_and_waits_for_the_peers() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.open(&pipe);
    pipe.lock().unwrap().arrive(&[text("last"), frame(0x88, b"\x03\xe8"), text("beyond")].concat());
    world.settle(&[(id, &pipe)]);
    assert_eq!(take(&pipe), b"\x81\x04last\x88\x02\x03\xe8");
    assert!(pipe.lock().unwrap().session_ended);
    assert!(world.app.closed[0].1.clean);
    assert!(!is_dropped(&pipe), "a reset could overtake our Close");
    pipe.lock().unwrap().arrive(&vec![0; 100_000]);
    world.settle(&[(id, &pipe)]);
    assert!(!is_dropped(&pipe));
    pipe.lock().unwrap().end();
    world.settle(&[(id, &pipe)]);
    assert!(is_dropped(&pipe));
}

#[test]
fn a_peer_that_ended_right_behind_its_close_is_let_go_at_once() {
    for bytes in [frame(0x88, b"\x03\xe8"), b"\x81\x01unmasked".to_vec()] {
        let mut world = World::echo();
        let pipe = calm();
        let id = world.open(&pipe);
        pipe.lock().unwrap().arrive(&bytes);
        pipe.lock().unwrap().end();
        world.settle(&[(id, &pipe)]);
        assert_eq!(take(&pipe)[0], 0x88);
        assert!(is_dropped(&pipe));
        assert_eq!(world.sessions.next_deadline(), None);
    }
}

#[test]
fn after_a_clean_close_a_peer_that_stays_is_dropped_in_time() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.open(&pipe);
    pipe.lock().unwrap().arrive(&frame(0x88, b"\x03\xe8"));
    world.settle(&[(id, &pipe)]);
    world.pass(Duration::from_millis(5100));
    assert!(is_dropped(&pipe));
    assert!(world.sessions.is_empty());
}

#[test]
fn a_slow_request_meets_its_absolute_deadline_however_it_trickles() {
    let mut world = World::echo();
    let (silent, trickling) = (calm(), calm());
    let (silent_id, trickling_id) = (world.accept(&silent), world.accept(&trickling));
    for byte in HANDSHAKE.chunks(1).cycle().take(98) {
        // From the middle of a field, so that the head never ends.
        trickling.lock().unwrap().arrive(if byte == b"\n" || byte == b"\r" { b"a" } else { byte });
        world.settle(&[(silent_id, &silent), (trickling_id, &trickling)]);
        world.pass(Duration::from_millis(100));
    }
    assert_eq!(world.sessions.len(), 2);
    world.pass(Duration::from_millis(300));
    assert!(is_dropped(&silent));
    let answer = String::from_utf8(take(&trickling)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    world.pass(Duration::from_secs(6));
    assert!(is_dropped(&trickling));
    assert_eq!(world.app.requests, 0);
}

#[test]
fn half_open_connections_are_capped_and_the_next_is_told_503() {
    let mut net = NetConfig::default();
    net.max_half_open = 2;
    let mut world = World::new(net, Config::default(), echo);
    let pipes = [calm(), calm(), calm(), calm()];
    let first = world.accept(&pipes[0]);
    world.accept(&pipes[1]);
    let refused = world.accept(&pipes[2]);
    world.settle(&[(refused, &pipes[2])]);
    let answer = String::from_utf8(take(&pipes[2])).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: "), "{answer}");
    pipes[0].lock().unwrap().arrive(HANDSHAKE);
    world.settle(&[(first, &pipes[0])]);
    let fourth = world.accept(&pipes[3]);
    pipes[3].lock().unwrap().arrive(HANDSHAKE);
    world.settle(&[(fourth, &pipes[3])]);
    assert!(world.sessions.is_open(fourth), "an open connection makes room");
}

#[test]
fn a_clock_that_jumps_an_hour_fires_every_deadline_once_and_one_that_stands_fires_none() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.open(&pipe);
    world.sessions.set_timer(Duration::from_secs(60), 1);
    world.sessions.set_timer(Duration::from_secs(7200), 2);
    (0..100).for_each(|_| world.turn());
    assert!(world.app.timers.is_empty());
    world.now += Duration::from_secs(3600);
    world.settle(&[(id, &pipe)]);
    assert_eq!(world.app.timers, [1]);
    assert!(world.sessions.is_open(id), "it is asked for a sign of life first");
    assert!(take(&pipe).starts_with(b"\x89"));
    // Back again, as no monotonic clock does.
    world.now -= Duration::from_secs(3600);
    world.turn();
    assert_eq!(world.app.timers, [1]);
}

#[test]
fn a_hundred_thousand_timers_on_one_tick_let_others_in_between() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.open(&pipe);
    for key in 0..100_000 {
        world.sessions.set_timer(Duration::from_secs(1), key);
    }
    world.now += Duration::from_secs(2);
    world.turn();
    let first_turn = world.app.timers.len();
    assert!(first_turn < 10_000, "{first_turn} timers held up everybody else");
    pipe.lock().unwrap().arrive(&text("and me"));
    world.ready(id, READABLE);
    world.turn();
    assert_eq!(take(&pipe), b"\x81\x06and me");
    assert!(world.app.timers.len() < 20_000);
    world.settle(&[]);
    world.app.timers.sort_unstable();
    assert!(world.app.timers.iter().copied().eq(0..100_000), "each once");
}

#[test]
fn callbacks_may_close_themselves_and_others_and_send_again() {
    fn behaviour(sessions: &mut Sessions, id: ConnectionId, payload: &[u8]) {
        let others: Vec<_> = sessions.ids().filter(|other| *other != id).collect();
        match payload {
            b"close" => sessions.close(id, CloseCode::NORMAL, "").unwrap(),
            b"abort" => assert!(sessions.abort(id)),
            _ => {
                for other in others {
                    match payload {
                        b"close others" => sessions.close(other, CloseCode::NORMAL, "").unwrap(),
                        b"abort others" => assert!(sessions.abort(other)),
                        _ => (0..3).for_each(|_| echo(sessions, other, payload)),
                    }
                }
            }
        }
    }
    for (said, own, other) in [
        ("close", &b"\x88\x02\x03\xe8"[..], &b""[..]),
        ("close others", b"", b"\x88\x02\x03\xe8"),
        ("abort", b"", b""),
        ("abort others", b"", b""),
        ("hi", b"", b"\x81\x02hi\x81\x02hi\x81\x02hi"),
    ] {
        let mut world = World::new(NetConfig::default(), Config::default(), behaviour);
        let (a, b) = (calm(), calm());
        let (a_id, b_id) = (world.open(&a), world.open(&b));
        // What follows in the same read meets whatever the first message did.
        a.lock().unwrap().arrive(&[text(said), frame(0x89, b"")].concat());
        world.settle(&[(a_id, &a), (b_id, &b)]);
        assert!(take(&a).starts_with(own), "{said}");
        assert_eq!(take(&b), other, "{said}");
        assert_eq!(is_dropped(&a), said == "abort", "{said}");
        assert_eq!(is_dropped(&b), said == "abort others", "{said}");
    }
}

#[test]
fn a_panic_in_a_callback_closes_that_connection_with_1011_and_no_other() {
    fn behaviour(sessions: &mut Sessions, id: ConnectionId, payload: &[u8]) {
        if payload == b"panic" {
            // Without the hook's noise.
            std::panic::resume_unwind(Box::new("as asked"));
        }
        echo(sessions, id, payload);
    }
    let mut world = World::new(NetConfig::default(), Config::default(), behaviour);
    let (a, b) = (calm(), calm());
    let (a_id, b_id) = (world.open(&a), world.open(&b));
    a.lock().unwrap().arrive(&text("panic"));
    b.lock().unwrap().arrive(&text("well"));
    world.settle(&[(a_id, &a), (b_id, &b)]);
    assert_eq!(take(&a), b"\x88\x02\x03\xf3");
    assert_eq!(take(&b), b"\x81\x04well");
    a.lock().unwrap().arrive(&frame(0x88, b"\x03\xf3"));
    world.settle(&[(a_id, &a)]);
    assert_eq!(world.app.closed.len(), 1);
}

#[test]
fn a_panic_while_a_request_is_judged_is_answered_500() {
    let mut world = World::echo();
    let pipe = calm();
    let id = world.accept(&pipe);
    let request = String::from_utf8(HANDSHAKE.to_vec()).unwrap().replacen("GET /", "GET /panic", 1);
    pipe.lock().unwrap().arrive(request.as_bytes());
    world.settle(&[(id, &pipe)]);
    assert!(take(&pipe).starts_with(b"HTTP/1.1 500 "));
    assert!(world.app.opened.is_empty());
}

#[test]
fn a_hundred_thousand_connections_that_come_and_go_leave_nothing() {
    let mut world = World::echo();
    for round in 0..100_000_u32 {
        let pipe = calm();
        let id = world.accept(&pipe);
        assert!(id.to_u64() & 0xff_ffff < 2, "slots are reused");
        match round % 4 {
            0 => {
                assert!(world.sessions.abort(id));
            }
            1 => pipe.lock().unwrap().reset(),
            2 => pipe.lock().unwrap().end(),
            _ => {
                pipe.lock().unwrap().arrive(HANDSHAKE);
                pipe.lock().unwrap().end();
            }
        }
        let due = std::mem::take(&mut pipe.lock().unwrap().due);
        world.ready(id, due);
        world.turn();
        world.turn();
        assert!(is_dropped(&pipe), "round {round}");
    }
    assert!(world.sessions.is_empty());
    assert_eq!(world.sessions.next_deadline(), None);
    assert_eq!(world.app.opened.len(), world.app.closed.len());
}

#[test]
fn draining_tells_everybody_in_batches_and_ends_in_time() {
    let mut net = NetConfig::default();
    net.drain_batch = 10;
    let mut world = World::new(net, Config::default(), echo);
    let pipes: Vec<_> = (0..35).map(|_| calm()).collect();
    let ids: Vec<_> = pipes.iter().map(|pipe| world.open(pipe)).collect();
    let half_open = calm();
    let half_open_id = world.accept(&half_open);
    world.sessions.shutdown(Duration::from_secs(3));
    world.turn();
    let told = pipes.iter().filter(|pipe| !take(pipe).is_empty()).count();
    assert!((9..=10).contains(&told), "{told} were told in the first batch");
    assert!(world.has_work());
    let late = SimStream(calm());
    assert!(world.sessions.accept(Transport::Other(Box::new(late)), PeerAddr::Unknown).is_ok(), "answered 503");
    for _ in 0..5 {
        world.turn();
    }
    assert!(take(&half_open).starts_with(b"HTTP/1.1 503 "));
    // All but one answer.
    for (pipe, id) in pipes.iter().zip(&ids).skip(1) {
        pipe.lock().unwrap().arrive(&frame(0x88, b"\x03\xe9"));
        pipe.lock().unwrap().end();
        world.settle(&[(*id, pipe)]);
        assert!(is_dropped(pipe));
    }
    half_open.lock().unwrap().end();
    world.settle(&[(half_open_id, &half_open)]);
    assert!(!world.sessions.is_finished());
    world.pass(Duration::from_secs(4));
    assert!(world.sessions.is_finished());
    assert!(is_dropped(&pipes[0]));
    assert_eq!(world.app.closed.len(), 35);
}

/// A layer that holds plaintext back, as TLS does with a record of several frames, and that may never shake hands.
#[derive(Debug)]
struct Layer {
    held: Vec<u8>,
    below: SimStream,
    shakes_hands: bool,
    dropped: Arc<AtomicBool>,
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let mut bytes = [0; 4096];
            let len = self.below.read(&mut bytes)?;
            self.held.extend_from_slice(&bytes[..len]);
        }
        let len = self.held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.held[..len]);
        self.held.drain(..len);
        Ok(len)
    }
}

impl Write for Layer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.below.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below.flush()
    }
}

impl Stream for Layer {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.below.shutdown_write()
    }

    fn handshake(&mut self) -> io::Result<bool> {
        Ok(self.shakes_hands)
    }

    fn handshaking(&self) -> bool {
        !self.shakes_hands
    }

    fn has_buffered_plaintext(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn plaintext_that_a_layer_holds_is_delivered_although_no_event_tells() {
    let mut net = NetConfig::default();
    net.receive_buffer = 10;
    net.turn_bytes = 10;
    let mut world = World::new(net, Config::default(), echo);
    let pipe = calm();
    let dropped = Arc::new(AtomicBool::new(false));
    let layer = Layer { held: Vec::new(), below: SimStream(Arc::clone(&pipe)), shakes_hands: true, dropped };
    let id = world.sessions.accept(Transport::Other(Box::new(layer)), PeerAddr::Unknown).unwrap();
    pipe.lock().unwrap().arrive(&[HANDSHAKE, &text("a").repeat(100)].concat());
    // One event, and no more ever.
    world.ready(id, READABLE);
    for _ in 0..1000 {
        world.turn();
    }
    assert_eq!(world.app.messages.len(), 100);
}

#[test]
fn a_tls_handshake_that_does_not_end_meets_its_deadline() {
    let mut world = World::echo();
    let dropped = Arc::new(AtomicBool::new(false));
    let layer =
        Layer { held: Vec::new(), below: SimStream(calm()), shakes_hands: false, dropped: Arc::clone(&dropped) };
    let id = world.sessions.accept(Transport::Other(Box::new(layer)), PeerAddr::Unknown).unwrap();
    for _ in 0..99 {
        world.ready(id, READABLE);
        world.pass(Duration::from_millis(100));
    }
    assert!(!dropped.load(Ordering::Relaxed));
    world.pass(Duration::from_millis(200));
    assert!(dropped.load(Ordering::Relaxed));
    assert!(world.sessions.is_empty());
}
