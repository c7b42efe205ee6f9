//! Plain requests with a body, and answers that come later: how they arrive, how long they may take, who goes meanwhile.

use std::time::Duration;

use loopwire::handshake::Response;
use loopwire::net::{ConnectionId, NetConfig};
use loopwire::protocol::Config;

use crate::harness::{HANDSHAKE, World, calm, echo, is_dropped, take, text};
use crate::sim::pipe::{Pipe, Shared};

const LIMIT: usize = 1000;

fn world() -> World {
    world_with(|_| ())
}

fn world_with(set: impl FnOnce(&mut NetConfig)) -> World {
    let mut net = NetConfig::default();
    set(&mut net);
    let mut world = World::new(net, Config::default(), echo);
    world.app.body_limit = LIMIT;
    world
}

fn post(path: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}").into_bytes()
}

fn with_length(path: &str, body: &str) -> Vec<u8> {
    post(path, &format!("Content-Length: {}\r\n", body.len()), body)
}

/// Has `bytes` arrive on a connection of its own.
fn send(world: &mut World, bytes: &[u8]) -> (ConnectionId, Shared) {
    let pipe = calm();
    let id = world.accept(&pipe);
    arrive(world, id, &pipe, bytes);
    (id, pipe)
}

fn arrive(world: &mut World, id: ConnectionId, pipe: &Shared, bytes: &[u8]) {
    pipe.lock().unwrap().arrive(bytes);
    world.settle(&[(id, pipe)]);
}

fn status(answer: &[u8]) -> u16 {
    let answer = std::str::from_utf8(answer).unwrap();
    assert_eq!(answer.matches("Connection: close").count(), 1, "one answer: {answer:?}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_body_arrives_whole_however_it_is_cut() {
    let chunks = "4\r\nHell\r\n1;x=y\r\no\r\n0\r\nX: y\r\n\r\n";
    for request in [with_length("/", "Hello"), post("/", "Transfer-Encoding: chunked\r\n", chunks)] {
        let pipelined = [&request[..], &with_length("/", "again")].concat();
        for bytes in [request, pipelined] {
            let cuts = (0..=bytes.len()).map(|cut| vec![&bytes[..cut], &bytes[cut..]]);
            for pieces in cuts.chain([bytes.chunks(1).collect()]) {
                let mut world = world();
                let (id, pipe) = send(&mut world, b"");
                for piece in &pieces {
                    arrive(&mut world, id, &pipe, piece);
                }
                assert_eq!(world.app.bodies, [(id, b"Hello".to_vec())], "once: {pieces:?}");
                assert_eq!(status(&take(&pipe)), 200);
                pipe.lock().unwrap().end();
                world.settle(&[(id, &pipe)]);
                assert!(is_dropped(&pipe) && world.sessions.is_empty());
            }
        }
    }
}

#[test]
fn a_body_that_nobody_wants_is_not_waited_for() {
    for bytes in [with_length("/", "Hello"), post("/", "Content-Length: 99999999999\r\n", "He")] {
        let mut world = world();
        world.app.body_limit = 0;
        let (id, pipe) = send(&mut world, &bytes);
        assert_eq!(status(&take(&pipe)), 200);
        assert_eq!(world.app.bodies, [(id, Vec::new())]);
        arrive(&mut world, id, &pipe, &vec![0; 100_000]);
        assert!(!is_dropped(&pipe), "no reset overtakes the answer");
    }
}

#[test]
fn a_body_over_the_limit_is_answered_413_as_soon_as_that_shows() {
    let full = "x".repeat(LIMIT);
    let fits =
        [with_length("/", &full), post("/", "Transfer-Encoding: chunked\r\n", &format!("3E8\r\n{full}\r\n0\r\n\r\n"))];
    for bytes in fits {
        let mut world = world();
        let (_, pipe) = send(&mut world, &bytes);
        assert_eq!(status(&take(&pipe)), 200);
        assert_eq!(world.app.bodies[0].1.len(), LIMIT);
    }
    let exceeds = [
        post("/", "Content-Length: 1001\r\n", ""),
        post("/", "Content-Length: 18446744073709551615\r\n", ""),
        post("/", "Transfer-Encoding: chunked\r\n", "3E9\r\n"),
        post("/", "Transfer-Encoding: chunked\r\n", &format!("3E8\r\n{full}\r\n1\r\n")),
        post("/", "Transfer-Encoding: chunked\r\n", "1\r\nx\r\nFFFFFFFFFFFFFFFF\r\n"),
        post("/", "Content-Length: 1001\r\nExpect: 100-continue\r\n", ""),
    ];
    for bytes in exceeds {
        let mut world = world();
        let (_, pipe) = send(&mut world, &bytes);
        assert_eq!(status(&take(&pipe)), 413, "{:?}", String::from_utf8_lossy(&bytes));
        assert!(world.app.bodies.is_empty());
    }
}

#[test]
fn a_body_that_breaks_a_rule_is_answered_400() {
    let rows = [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "Hello"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "5\r\nHello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\n", "5\r\nHello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\nHello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "0x5\r\nHello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nHello0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "10000000000000005\r\nHello\r\n0\r\n\r\n"),
    ];
    for (fields, body) in rows {
        let mut world = world();
        let (_, pipe) = send(&mut world, &post("/", fields, body));
        assert_eq!(status(&take(&pipe)), 400, "{fields:?} {body:?}");
        assert!(world.app.bodies.is_empty());
    }
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told_if_the_body_is_wanted() {
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n".as_slice();
    // Fields, the limit, what is answered to the head alone.
    let rows = [
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", LIMIT, Ok(go_on)),
        ("Transfer-Encoding: chunked\r\nexpect: 100-Continue\r\n", LIMIT, Ok(go_on)),
        ("Content-Length: 5\r\n", LIMIT, Ok(b"")),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", 0, Err(200)),
        ("Content-Length: 5\r\nExpect: 100-continue\r\n", 4, Err(413)),
        ("Expect: 100-continue\r\n", LIMIT, Err(200)),
        ("Content-Length: 5\r\nExpect: 200-ok\r\n", LIMIT, Err(417)),
        ("Content-Length: 5\r\nExpect: 100-continue, more\r\n", LIMIT, Err(417)),
        ("Content-Length: 5\r\nExpect: 100-continue\r\nExpect: more\r\n", LIMIT, Err(417)),
    ];
    for (fields, limit, expected) in rows {
        let mut world = world();
        world.app.body_limit = limit;
        let (_, pipe) = send(&mut world, &post("/", fields, ""));
        match expected {
            Ok(bytes) => assert_eq!(take(&pipe), bytes, "{fields:?}"),
            Err(expected) => assert_eq!(status(&take(&pipe)), expected, "{fields:?}"),
        }
    }
    let mut world = world();
    let old = String::from_utf8(post("/", "Content-Length: 5\r\nExpect: 100-continue\r\n", "")).unwrap();
    let (id, pipe) = send(&mut world, old.replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert!(take(&pipe).is_empty(), "HTTP/1.0 knows no such thing");
    arrive(&mut world, id, &pipe, b"Hello");
    assert_eq!(status(&take(&pipe)), 200);
}

#[test]
fn a_slow_body_meets_its_absolute_deadline_however_it_trickles() {
    let mut world = world_with(|net| net.body_timeout = Duration::from_secs(3));
    let (id, pipe) = send(&mut world, b"");
    // The head has its own time, which does not count.
    world.pass(Duration::from_secs(9));
    arrive(&mut world, id, &pipe, &post("/", "Content-Length: 100\r\n", ""));
    for _ in 0..29 {
        world.pass(Duration::from_millis(100));
        arrive(&mut world, id, &pipe, b"x");
    }
    assert!(take(&pipe).is_empty());
    world.pass(Duration::from_millis(200));
    assert_eq!(status(&take(&pipe)), 408);
    world.pass(Duration::from_secs(6));
    assert!(is_dropped(&pipe));
    assert_eq!((world.app.requests, world.sessions.len()), (0, 0));
}

#[test]
fn an_answer_may_come_later_once() {
    let mut world = world();
    let (id, pipe) = send(&mut world, &with_length("/later", "Hello"));
    world.pass(Duration::from_secs(29));
    assert!(take(&pipe).is_empty());
    // What comes meanwhile is no request.
    arrive(&mut world, id, &pipe, &with_length("/later", "again"));
    assert_eq!(world.app.bodies, [(id, b"Hello".to_vec())]);
    assert!(world.sessions.respond(id, &Response::text(202, "kept")));
    assert!(!world.sessions.respond(id, &Response::text(202, "kept")), "only once");
    world.settle(&[(id, &pipe)]);
    let answer = take(&pipe);
    assert_eq!(status(&answer), 202);
    assert!(answer.ends_with(b"\r\n\r\nkept"));
    pipe.lock().unwrap().end();
    world.settle(&[(id, &pipe)]);
    assert!(is_dropped(&pipe) && world.sessions.is_empty());
    assert!(!world.sessions.respond(id, &Response::new(200)), "nobody is there");
}

#[test]
fn the_answer_to_head_has_no_body_later_either() {
    let mut world = world();
    let (id, pipe) = send(&mut world, b"HEAD /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(world.sessions.respond(id, &Response::text(200, "kept")));
    world.settle(&[(id, &pipe)]);
    assert!(take(&pipe).ends_with(b"Content-Length: 4\r\n\r\n"));
}

#[test]
fn an_answer_that_never_comes_is_503() {
    let mut world = world_with(|net| net.answer_timeout = Duration::from_secs(3));
    let (id, pipe) = send(&mut world, &with_length("/later", ""));
    world.pass(Duration::from_millis(2900));
    assert!(take(&pipe).is_empty());
    world.pass(Duration::from_millis(200));
    assert_eq!(status(&take(&pipe)), 503);
    assert!(!world.sessions.respond(id, &Response::new(200)), "too late");
}

#[test]
fn only_a_request_that_waits_can_be_answered() {
    let mut world = world();
    let (half, half_pipe) = send(&mut world, b"POST /later HT");
    let (body, body_pipe) = send(&mut world, &post("/later", "Content-Length: 5\r\n", "He"));
    let socket_pipe = calm();
    let socket = world.open(&socket_pipe);
    for (id, pipe) in [(half, &half_pipe), (body, &body_pipe), (socket, &socket_pipe)] {
        assert!(!world.sessions.respond(id, &Response::new(200)));
        world.settle(&[(id, pipe)]);
        assert!(take(pipe).is_empty());
    }
    arrive(&mut world, socket, &socket_pipe, &text("still open"));
    assert_eq!(take(&socket_pipe), b"\x81\x0astill open");
}

#[test]
fn who_resets_or_breaks_off_is_gone_at_once() {
    let full = with_length("/later", "Hello");
    for cut in [10, full.len() - 1, full.len()] {
        let mut world = world();
        let (id, pipe) = send(&mut world, &full[..cut]);
        pipe.lock().unwrap().reset();
        world.settle(&[(id, &pipe)]);
        assert!(is_dropped(&pipe) && world.sessions.is_empty(), "reset after {cut}");
        assert!(!world.sessions.respond(id, &Response::new(200)));
    }
    let mut world = world();
    let (id, pipe) = send(&mut world, &full[..full.len() - 1]);
    pipe.lock().unwrap().end();
    world.settle(&[(id, &pipe)]);
    assert!(is_dropped(&pipe) && world.sessions.is_empty(), "half a body and its end");
    assert_eq!(world.app.requests, 0);
}

#[test]
fn who_ends_its_direction_is_answered_for_a_while() {
    // Together with the request, or behind it; and what is awaited longer than that is given up.
    for (together, wait, expected) in [(true, 0, 200), (true, 4, 200), (false, 4, 200), (false, 6, 503), (true, 6, 503)]
    {
        let mut world = world();
        let pipe = calm();
        let id = world.accept(&pipe);
        pipe.lock().unwrap().arrive(&with_length("/later", "Hello"));
        if !together {
            world.settle(&[(id, &pipe)]);
            world.pass(Duration::from_secs(10));
        }
        pipe.lock().unwrap().end();
        world.settle(&[(id, &pipe)]);
        world.pass(Duration::from_secs(wait));
        assert_eq!(world.sessions.respond(id, &Response::new(200)), expected == 200);
        world.settle(&[(id, &pipe)]);
        assert_eq!(status(&take(&pipe)), expected);
        assert!(is_dropped(&pipe), "nothing more is waited for");
        assert!(world.sessions.is_empty());
    }
}

#[test]
fn a_client_that_talks_on_while_it_waits_is_read_past_in_its_turn() {
    let mut world = world();
    let (id, pipe) = send(&mut world, &with_length("/later", ""));
    pipe.lock().unwrap().arrive(&vec![b'x'; 10 << 20]);
    world.settle(&[(id, &pipe)]);
    assert!(pipe.lock().unwrap().inbound.is_empty());
    assert!(world.sessions.respond(id, &Response::new(200)));
    world.settle(&[(id, &pipe)]);
    assert_eq!(status(&take(&pipe)), 200);
}

#[test]
fn a_panic_over_a_request_is_answered_500() {
    let mut world = world();
    let (_, pipe) = send(&mut world, &with_length("/panic", "Hello"));
    assert_eq!(status(&take(&pipe)), 500);
}

#[test]
fn a_drain_refuses_bodies_and_awaits_answers() {
    let mut world = world();
    let (body, body_pipe) = send(&mut world, &post("/", "Content-Length: 5\r\n", "He"));
    let (later, later_pipe) = send(&mut world, &with_length("/later", ""));
    world.sessions.shutdown(Duration::from_secs(10));
    world.settle(&[(body, &body_pipe), (later, &later_pipe)]);
    assert_eq!(status(&take(&body_pipe)), 503);
    world.pass(Duration::from_secs(3));
    assert!(take(&later_pipe).is_empty() && !world.sessions.is_finished());
    assert!(world.sessions.respond(later, &Response::new(200)));
    world.settle(&[(later, &later_pipe)]);
    assert_eq!(status(&take(&later_pipe)), 200);
    for (id, pipe) in [(body, &body_pipe), (later, &later_pipe)] {
        pipe.lock().unwrap().end();
        world.settle(&[(id, pipe)]);
    }
    assert!(world.sessions.is_finished());
}

#[test]
fn requests_that_wait_count_as_half_open_and_make_room_when_they_go() {
    let mut world = world_with(|net| net.max_half_open = 1);
    let (id, pipe) = send(&mut world, &with_length("/later", ""));
    let (_, refused) = send(&mut world, b"");
    assert_eq!(status(&take(&refused)), 503);
    pipe.lock().unwrap().reset();
    world.settle(&[(id, &pipe)]);
    let (_, next) = send(&mut world, HANDSHAKE);
    assert!(take(&next).starts_with(b"HTTP/1.1 101 "));
}

#[test]
fn an_answer_leaves_over_a_stream_that_takes_little() {
    let mut world = world();
    let pipe = Pipe::calm(10, 3);
    let id = world.accept(&pipe);
    arrive(&mut world, id, &pipe, &post("/later", "Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
    let mut got = take(&pipe);
    // The answer comes before all of `100 Continue` has left.
    arrive(&mut world, id, &pipe, b"Hello");
    let large = "x".repeat(1000);
    assert!(world.sessions.respond(id, &Response::text(200, &large)));
    loop {
        world.settle(&[(id, &pipe)]);
        let bytes = take(&pipe);
        if bytes.is_empty() {
            break;
        }
        got.extend(bytes);
    }
    let got = String::from_utf8(got).unwrap();
    assert!(got.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n") && got.ends_with(&large), "{got}");
}
