//! What a connection costs in memory, by an allocator that counts: nothing for a whole message, nothing while idle, and
//! never more than what arrived, whatever was declared.

mod common;
mod counting;
#[path = "common/pipes.rs"]
mod pipes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{frame, masked};
use counting::usage;
use loopwire::deflate::{Compressor, DeflateConfig, DeflateParams};
use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{Answer, Application, ConnectionId, NetConfig, PeerAddr, Readiness, Sessions, Transport};
use loopwire::protocol::{Closed, Config, Connection, Delivery, Event, Input, Role, Scratch};
use loopwire::wire::ProtocolError;
use pipes::pipes;

/// Large memory begins at a chosen place of a page, which costs up to one.
const PAGE: isize = 4096;

/// A connection and its surroundings, warm.
struct Bench {
    connection: Connection,
    scratch: Scratch,
    out: Vec<u8>,
    now: Instant,
    events: usize,
    error: Option<ProtocolError>,
}

impl Bench {
    fn new(role: Role, config: &Config, deflate: Option<DeflateParams>) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::new(role, Arc::new(config.clone()), deflate, now),
            scratch: Scratch::new(),
            out: Vec::with_capacity(1 << 16),
            now,
            events: 0,
            error: None,
        }
    }

    fn feed(&mut self, bytes: &mut [u8]) {
        let mut input = Input::new(bytes);
        while let Some(event) = self.connection.receive(&mut input, &mut self.scratch, &mut self.out, self.now) {
            self.events += 1;
            if let Event::Error(error) = event {
                self.error = Some(error);
            }
        }
        self.out.clear();
    }
}

#[test]
fn a_whole_message_costs_no_allocation() {
    let agreed = Some(DeflateParams::default());
    let long = "a message long enough that compressing it is worth the while ".repeat(4);
    let mut deflated = Vec::new();
    Compressor::new(15, false, &DeflateConfig::default()).compress(long.as_bytes(), true, &mut deflated);
    let rows: [(&str, u8, &[u8]); 7] = [
        ("an empty text", 0x81, b""),
        ("a short text", 0x81, "schön".as_bytes()),
        ("a long text", 0x81, long.as_bytes()),
        ("binary", 0x82, &[0xFF; 5000]),
        ("a ping", 0x89, b"are you there?"),
        ("a pong", 0x8A, b""),
        ("a compressed text", 0xC1, &deflated),
    ];
    for (name, first, payload) in rows {
        for (role, bytes) in [(Role::Server, masked(first, payload)), (Role::Client, frame(first, payload))] {
            let mut bench = Bench::new(role, &Config::default(), agreed);
            let mut warm = bytes.repeat(400);
            let mut counted = bytes.repeat(100);
            bench.feed(&mut warm);
            let usage = usage(|| bench.feed(&mut counted));
            assert_eq!((usage.allocations, bench.events, bench.error), (0, 500, None), "{name} to a {role:?}");
        }
    }
}

/// Sends every message back.
struct Echo;

impl Application for Echo {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
        Answer::Accept(Acceptance::default(), Arc::default())
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
        unreachable!("no plain request is made")
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        let Event::Message(message) = event else { panic!("{event:?}") };
        sessions.send(id, message).unwrap();
    }

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, _: Closed) {}

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}

#[test]
fn a_turn_that_echoes_costs_no_allocation() {
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n";
    let mut now = Instant::now();
    let mut sessions = Sessions::new(NetConfig::default(), None, None, now);
    let (ours, peer) = pipes(usize::MAX);
    let id = sessions.accept(Transport::Other(Box::new(ours)), PeerAddr::Unknown).unwrap();
    let mut turn = |bytes: &[u8]| {
        peer.outgoing.lock().unwrap().bytes.extend(bytes);
        let readiness = Readiness { readable: true, ..Readiness::default() };
        now += Duration::from_millis(1);
        sessions.ready(&mut Echo, id, readiness, now);
        sessions.tick(&mut Echo, now);
        sessions.flush(&mut Echo);
        peer.incoming.lock().unwrap().bytes.drain(..).count()
    };
    assert!(turn(REQUEST) > 0);
    for len in [0, 20, 1000, 5000, 20_000, 300_000] {
        let message = masked(0x82, &vec![1; len]);
        turn(&message);
        turn(&message);
        let mut echoed = 0;
        let usage = usage(|| (0..100).for_each(|_| echoed += turn(&message)));
        assert!(echoed > 100 * len);
        // What is not whole yet stands beside the connection.
        let most = if len < 128 << 10 { 0 } else { 200 };
        assert!(usage.allocations <= most, "{len} bytes: {usage:?}");
    }
}

#[test]
fn sending_allocates_nothing_but_room_in_the_output() {
    let long = "a message long enough that compressing it is worth the while ".repeat(4);
    for (role, deflate) in [(Role::Server, None), (Role::Client, None), (Role::Server, Some(DeflateParams::default()))]
    {
        let mut bench = Bench::new(role, &Config::default(), deflate);
        let mut send = |count| {
            for _ in 0..count {
                bench.connection.send(&long, &mut bench.out).unwrap();
                bench.connection.send(&b"short"[..], &mut bench.out).unwrap();
                bench.connection.pong(b"beat", &mut bench.out).unwrap();
                bench.out.clear();
            }
        };
        send(100);
        assert_eq!(usage(|| send(100)).allocations, 0, "{role:?} {deflate:?}");
    }
}

#[test]
fn an_idle_connection_owns_no_buffer_and_is_small() {
    assert!(size_of::<Connection>() <= 104, "{} bytes", size_of::<Connection>());
    let mut bench = Bench::new(Role::Server, &Config::default(), None);
    let mut bytes = [
        masked(0x01, b"in two "),
        masked(0x89, b"?"),
        masked(0x80, b"fragments"),
        masked(0x82, &vec![1; 70_000]),
        masked(0x89, &[2; 125]),
    ]
    .concat();
    let kept = usage(|| {
        for chunk in bytes.chunks_mut(1000) {
            bench.feed(chunk);
        }
    })
    .kept;
    assert_eq!(bench.events, 4);
    let kept = kept + usage(|| bench.scratch = Scratch::new()).kept;
    assert_eq!(kept, 0, "all that stays is the loop's scratch");
}

#[test]
fn memory_follows_what_arrived_and_not_what_was_declared() {
    // 16 MiB declared, and dribbled.
    let mut bench = Bench::new(Role::Server, &Config::default(), None);
    let mut bytes = masked(0x82, &vec![0; 16 << 20]);
    for (arrived, limit) in [(14, 1000), (100, 1000), (10_000, 20_000), (1 << 20, 2 << 20)] {
        let mut bench = Bench::new(Role::Server, &Config::default(), None);
        let usage = usage(|| {
            for chunk in bytes.clone()[..arrived].chunks_mut(1000) {
                bench.feed(chunk);
            }
        });
        // The copy of the input itself does not count.
        assert!(usage.kept <= limit, "{usage:?} for {arrived} bytes");
    }
    let whole = usage(|| {
        for chunk in bytes.chunks_mut(1 << 16) {
            bench.feed(chunk);
        }
    });
    assert_eq!(bench.events, 1);
    assert!(whole.kept <= (16 << 20) + PAGE + 1000, "as much as the message, within whose pages it lies: {whole:?}");

    // Lengths that nobody can mean.
    for declared in [1_u64 << 31, 1 << 32, (1 << 32) + 5, (1 << 63) - 1] {
        let mut bench = Bench::new(Role::Server, &Config::default(), None);
        let mut bytes = [&[0x82, 0xFF], &declared.to_be_bytes()[..], &common::KEY].concat();
        let usage = usage(|| bench.feed(&mut bytes));
        assert_eq!(bench.error, Some(ProtocolError::MessageTooBig(16 << 20)));
        assert!(usage.peak < 2000, "{usage:?}");
    }
}

#[test]
fn fragments_cost_what_they_carry_and_their_number_costs_nothing() {
    for (payload, limit) in [(&b""[..], 1000), (b"x", 300_000)] {
        let mut bench = Bench::new(Role::Server, &Config::default(), None);
        let mut bytes = [masked(0x02, payload), masked(0x00, payload).repeat(131_071)].concat();
        let usage_within = usage(|| {
            for chunk in bytes.chunks_mut(4096) {
                bench.feed(chunk);
            }
        });
        assert_eq!(bench.error, None);
        assert!(usage_within.peak < limit, "{usage_within:?}");
        bench.feed(&mut masked(0x00, payload));
        assert_eq!(bench.error, Some(ProtocolError::TooManyFragments(131_072)));
    }
}

#[test]
fn twice_the_fragments_are_twice_the_work() {
    let mut config = Config::default();
    config.max_fragments = u32::MAX;
    let work = |fragments: usize, kind: u8| {
        let mut bench = Bench::new(Role::Server, &config, None);
        let mut bytes = [masked(kind, b"x"), masked(0x00, b"x").repeat(fragments)].concat();
        let usage = usage(|| {
            // Cut everywhere, so that headers and payloads are all taken in parts.
            for byte in bytes.chunks_mut(1) {
                bench.feed(byte);
            }
        });
        assert_eq!(bench.error, None);
        // What is copied as the message grows is counted in bytes allocated.
        usage.total
    };
    for kind in [0x01, 0x02] {
        let (once, twice) = (work(1 << 16, kind), work(1 << 17, kind));
        assert!(twice * 2 <= once * 5, "{once} bytes moved, then {twice}");
    }
}

#[test]
fn a_deflate_bomb_costs_no_more_than_the_limit() {
    const LIMIT: usize = 1 << 20;
    let zeros = vec![0; 6 << 20];
    let mut bomb = Vec::new();
    Compressor::new(15, false, &DeflateConfig::default()).compress(&zeros, true, &mut bomb);
    let mut fragments = masked(0x42, b"");
    bomb.chunks(100).for_each(|chunk| fragments.extend(masked(0x00, chunk)));

    let mut config = Config::default();
    config.max_message = LIMIT;
    for (name, bytes) in [("text", masked(0xC1, &bomb)), ("binary", masked(0xC2, &bomb)), ("fragments", fragments)] {
        for alone in [false, true] {
            for chunk_len in [usize::MAX, 1000] {
                for delivery in [Delivery::Whole, Delivery::Pieces] {
                    config.delivery = delivery;
                    let mut agreed = DeflateParams::default();
                    agreed.client_no_context_takeover = alone;
                    let mut bench = Bench::new(Role::Server, &config, Some(agreed));
                    // The thread's codec is made once.
                    bench.feed(&mut masked(0xC1, b"\x00"));
                    let mut bytes = bytes.clone();
                    let usage = usage(|| {
                        for chunk in bytes.chunks_mut(chunk_len) {
                            bench.feed(chunk);
                        }
                    });
                    assert_eq!(bench.error, Some(ProtocolError::MessageTooBig(LIMIT)));
                    let most = (LIMIT + (64 << 10)).cast_signed();
                    assert!(usage.peak <= most, "{name} {alone} {chunk_len} {delivery:?}: {usage:?}");
                }
            }
        }
    }
}

#[test]
fn the_beginning_of_a_compressed_message_does_not_cost_a_codec() {
    let mut bench = Bench::new(Role::Server, &Config::default(), Some(DeflateParams::default()));
    let mut bytes = [masked(0x41, b"\xf2\x48\xcd"), masked(0x00, b"\xc9")].concat();
    let usage = usage(|| bench.feed(&mut bytes));
    assert!(usage.peak < 1000, "{usage:?}");
    bench.feed(&mut masked(0x80, b"\xc9\x07\x00"));
    assert_eq!((bench.events, bench.error), (1, None));
}

#[test]
fn a_million_unasked_pongs_leave_nothing_behind() {
    let mut bench = Bench::new(Role::Server, &Config::default(), None);
    let pongs = masked(0x8A, b"nobody asked").repeat(1000);
    let mut bytes = pongs.clone();
    let usage = usage(|| {
        for _ in 0..1000 {
            bytes.copy_from_slice(&pongs);
            bench.feed(&mut bytes);
            bench.now += Duration::from_secs(1);
        }
    });
    assert_eq!((bench.events, bench.error), (1_000_000, None));
    assert_eq!((usage.allocations, usage.kept), (0, 0));
}

#[test]
fn a_large_message_does_not_stay_in_the_scratch_for_ever() {
    let mut bench = Bench::new(Role::Server, &Config::default(), None);
    let mut bytes = masked(0x82, &vec![0; 8 << 20]);
    let large = usage(|| {
        for chunk in bytes.chunks_mut(1 << 16) {
            bench.feed(chunk);
        }
    });
    assert!(large.kept >= 8 << 20);
    let mut small = masked(0x89, b"p");
    let freed = usage(|| {
        for byte in small.chunks_mut(1) {
            bench.feed(byte);
        }
    });
    assert!(large.kept + freed.kept <= (4 << 20) + PAGE + 1000, "{freed:?}");
}
