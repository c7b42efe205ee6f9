//! What an application may do in its callbacks, and what comes of many connections that come and go.

use std::time::Duration;

use loopwire::net::{ConnectionId, NetConfig, PeerAddr, Sessions, Transport};
use loopwire::protocol::Config;
use loopwire::wire::CloseCode;

use crate::harness::{HANDSHAKE, World, calm, echo, frame, is_dropped, take, text};
use crate::sim::pipe::SimStream;

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
    let mut words: Vec<_> = pipes.iter().map(take).filter(|told| !told.is_empty()).collect();
    let told = words.len();
    assert!((9..=10).contains(&told), "{told} were told in the first batch");
    assert_eq!(world.app.going_away, told, "each of them by the application first");
    words.sort();
    assert_eq!(words[0], b"\x88\x02\x03\xe9");
    assert_eq!(words[told - 2..], [b"\x88\x02\x03\xe9".to_vec(), b"\x88\x0a\x0b\xb9shutdown".to_vec()]);
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
