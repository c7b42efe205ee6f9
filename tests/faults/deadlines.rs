//! What happens when a peer takes its time: every deadline, and the clock itself.

use std::time::Duration;

use loopwire::net::NetConfig;
use loopwire::protocol::Config;
use loopwire::wire::{CloseCode, ProtocolError};

use crate::harness::{HANDSHAKE, READABLE, World, calm, echo, frame, is_dropped, take, text};
use crate::sim::pipe::Pipe;

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
fn a_slow_reader_has_to_finish_its_messages_in_time_while_we_hear_it() {
    let mut config = Config::default();
    config.message_timeout = Duration::from_secs(5);
    // What waits for it: below the high-water mark, so that it is heard, and above.
    for (waiting, in_time) in [(1_000, false), (100_000, true)] {
        let mut world = World::new(NetConfig::default(), config.clone(), echo);
        let pipe = Pipe::calm(300, usize::MAX);
        let id = world.open(&pipe);
        pipe.lock().unwrap().arrive(&frame(0x01, b"never finished"));
        world.settle(&[(id, &pipe)]);
        let _ = world.sessions.send(id, &vec![0; waiting]);
        for _ in 0..40 {
            world.pass(Duration::from_millis(500));
            pipe.lock().unwrap().take(100);
            world.settle(&[(id, &pipe)]);
            // Somebody else has something to tell it all the time.
            let _ = world.sessions.send(id, &[0; 96]);
        }
        let errors: &[_] = if in_time { &[] } else { &[ProtocolError::MessageTimeout] };
        assert_eq!(world.app.errors, errors, "{waiting} bytes wait");
    }
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
