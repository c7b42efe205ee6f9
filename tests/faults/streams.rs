//! What a stream, its readiness and its peer can do to the bytes, to the loop and to the neighbours.

use std::time::Duration;

use loopwire::net::{NetConfig, OverflowPolicy, Readiness, SendError, Sent};
use loopwire::protocol::{Config, Side};
use loopwire::wire::CloseCode;

use crate::harness::{HANDSHAKE, READABLE, WRITABLE, World, calm, echo, frame, is_dropped, take, text};
use crate::sim::pipe::Pipe;

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
fn a_reader_that_is_too_slow_is_told_so_behind_what_had_begun() {
    // What it takes in between: nothing, so that time runs out; all of it, with and without an answer.
    for (reads, answers) in [(false, false), (true, false), (true, true)] {
        let mut net = NetConfig::default();
        (net.high_water_mark, net.max_buffered) = (1000, 3000);
        net.overflow_close = Some((CloseCode(3008), "slow"));
        let mut world = World::new(net, Config::default(), echo);
        let pipe = Pipe::calm(200, usize::MAX);
        let id = world.open(&pipe);
        let mut sent = 0;
        let refused = loop {
            match world.sessions.send(id, &[b'x'; 100]) {
                Ok(_) => sent += 1,
                Err(refused) => break refused,
            }
            world.turn();
        };
        assert_eq!((refused, sent), (SendError::Overflow, 200 / 102 + 1 + 3000 / 102));
        let late = world.sessions.send(id, "late");
        assert!(matches!(late, Err(SendError::Protocol(_))), "{late:?}");
        assert!(world.sessions.buffered_amount(id) < 102 + 8, "what has not begun is forgotten");
        if reads {
            let mut got = Vec::new();
            for _ in 0..3 {
                got.extend(take(&pipe));
                world.settle(&[(id, &pipe)]);
            }
            let message = [b"\x82\x64".as_slice(), &[b'x'; 100]].concat();
            assert_eq!(got, [&message[..], &message, b"\x88\x06\x0b\xc0slow"].concat());
        }
        if answers {
            pipe.lock().unwrap().arrive(&frame(0x88, b"\x0b\xc0"));
            world.settle(&[(id, &pipe)]);
        }
        world.pass(Duration::from_millis(if answers { 0 } else { 4900 }));
        assert_eq!(world.app.closed.len(), usize::from(answers));
        world.pass(Duration::from_millis(200));
        let closed = &world.app.closed[0].1;
        assert_eq!((closed.code, closed.reason == "slow"), (CloseCode(3008), !answers));
        assert_eq!((closed.clean, closed.by, closed.error), (answers, Side::Local, None));
        assert_eq!(is_dropped(&pipe), !answers, "what is over is waited for");
    }
}

#[test]
fn a_reader_that_is_too_slow_is_not_waited_for_although_it_reads_on() {
    let mut net = NetConfig::default();
    (net.high_water_mark, net.max_buffered) = (1000, 3000);
    net.overflow_close = Some((CloseCode(3008), ""));
    let mut world = World::new(net, Config::default(), echo);
    let pipe = Pipe::calm(200, usize::MAX);
    let id = world.open(&pipe);
    world.sessions.send(id, &vec![b'x'; 60_000]).unwrap();
    world.turn();
    assert_eq!(world.sessions.send(id, "more"), Err(SendError::Overflow));
    for _ in 0..51 {
        world.pass(Duration::from_millis(100));
        pipe.lock().unwrap().take(50);
        world.settle(&[(id, &pipe)]);
    }
    assert!(is_dropped(&pipe));
    assert_eq!(world.app.closed[0].1.code, CloseCode(3008));
}

#[test]
fn what_a_peer_has_asked_for_leaves_all_of_its_room_to_what_comes_behind() {
    let mut net = NetConfig::default();
    (net.high_water_mark, net.max_buffered) = (1000, 3000);
    let mut world = World::new(net, Config::default(), echo);
    let pipe = Pipe::calm(200, usize::MAX);
    let id = world.open(&pipe);
    let message = |world: &mut World, len: usize| {
        let sent = world.sessions.send(id, &vec![b'x'; len]);
        world.turn();
        sent.is_ok()
    };
    assert!(message(&mut world, 2900));
    world.sessions.excuse(id);
    for _ in 0..3 {
        assert!(message(&mut world, 60_000), "behind what is excused it is the first");
        world.sessions.excuse(id);
    }
    assert!(message(&mut world, 2900));
    // What has left of it meanwhile was excused, and gives no further room.
    for _ in 0..100 {
        take(&pipe);
        world.settle(&[(id, &pipe)]);
    }
    assert!(message(&mut world, 90));
    assert!(!message(&mut world, 90), "3000 bytes wait behind it");
}

#[test]
fn an_overflow_close_that_may_not_be_sent_ends_the_connection_without() {
    for close in [(CloseCode::ABNORMAL, ""), (CloseCode(3008), &*"x".repeat(124).leak())] {
        let mut net = NetConfig::default();
        (net.max_buffered, net.overflow_close) = (3000, Some(close));
        let mut world = World::new(net, Config::default(), echo);
        let pipe = Pipe::calm(200, usize::MAX);
        let id = world.open(&pipe);
        world.sessions.send(id, &[b'x'; 5000]).unwrap();
        world.turn();
        assert_eq!(world.sessions.send(id, "more"), Err(SendError::Overflow));
        world.settle(&[(id, &pipe)]);
        assert!(is_dropped(&pipe));
        assert_eq!(world.app.closed[0].1.code, CloseCode::ABNORMAL);
    }
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
fn a_large_message_arrives_whole_however_it_is_cut_and_whatever_comes_between() {
    // Read to its place where enough has come: masked, text cut in its characters, in one frame or two, with a ping between.
    let payload: String = "aé日𝄞".chars().cycle().take(200_000).collect();
    let masked = |first: u8, payload: &[u8]| {
        let key = [1, 2, 3, 250];
        let mut frame = vec![first, 0xff];
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        frame.extend_from_slice(&key);
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    };
    let (front, back) = payload.as_bytes().split_at(300_001);
    let mut broken = payload.clone().into_bytes();
    broken[400_000] = 0xff;
    let in_two = [masked(0x01, front), frame(0x89, b"ping"), masked(0x80, back)].concat();
    for first in [masked(0x81, payload.as_bytes()), in_two] {
        for (receive_buffer, chunk) in
            [(20_000, usize::MAX), (128 << 10, usize::MAX), (128 << 10, 17_001), (1 << 20, 50_000)]
        {
            let mut net = NetConfig::default();
            net.receive_buffer = receive_buffer;
            let mut world = World::new(net, Config::default(), echo);
            let pipe = Pipe::calm(4 << 20, chunk);
            let id = world.open(&pipe);
            pipe.lock()
                .unwrap()
                .arrive(&[&first[..], &text("small"), &masked(0x82, &broken), &masked(0x81, &broken)].concat());
            world.settle(&[(id, &pipe)]);
            let heard: Vec<_> = world.app.messages.iter().map(|(_, payload)| &payload[..]).collect();
            assert!(heard == [payload.as_bytes(), b"small", &broken], "{receive_buffer}, {chunk}");
            assert_eq!(world.app.errors.len(), 1, "the last is no text");
        }
    }
}
