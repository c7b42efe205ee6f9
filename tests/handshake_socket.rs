//! Every row of bad and odd handshakes, over real sockets to a real server: the exact status, `Connection: close`, an
//! end without a reset, the descriptor freed, and the next connection served.

// A handler stands in the test that needs it, behind what it is told.
#![allow(clippy::items_after_statements)]

mod support;

use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use loopwire::{NetConfig, OriginPolicy, Server, ServerBuilder, TlsAcceptor, Upgrade};
use support::{Heard, Raw, Running, masked, request, request_with, teller};

/// The tests here count the process's descriptors, so they run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How a request is cut into writes.
#[derive(Clone, Copy, Debug)]
enum Chunks {
    Whole,
    Bytes,
    At(usize),
}

fn send(raw: &mut Raw, bytes: &[u8], chunks: Chunks) {
    match chunks {
        Chunks::Whole => raw.send(bytes),
        Chunks::Bytes => bytes.chunks(1).for_each(|byte| raw.send(byte)),
        Chunks::At(at) => {
            raw.send(&bytes[..at]);
            raw.send(&bytes[at..]);
        }
    }
}

/// The request with one field replaced, or without it.
fn but(name: &str, value: Option<&str>) -> Vec<u8> {
    let mut out = String::new();
    for line in request("/ws").split_inclusive("\r\n") {
        match value {
            _ if !line.starts_with(&format!("{name}: ")) => out.push_str(line),
            Some(value) => out.extend([name, ": ", value, "\r\n"]),
            None => {}
        }
    }
    out.into_bytes()
}

fn with(name: &str, value: &str) -> Vec<u8> {
    but(name, Some(value))
}

fn line(line: &str) -> Vec<u8> {
    request("/ws").replacen("GET /ws HTTP/1.1", line, 1).into_bytes()
}

fn plus(fields: &str) -> Vec<u8> {
    request_with("/ws", fields).into_bytes()
}

fn builder() -> ServerBuilder {
    // What a deadline would end here is a failure.
    let mut net = NetConfig::default();
    net.head_timeout = support::PATIENCE;
    Server::builder().paths(["/ws"]).net(net)
}

/// Sends each request at each chunking and looks at what the server says.
fn check(server: &Running, rows: &[(u8, &str, Vec<u8>, u16)]) {
    // Stays open over all of it.
    let mut bystander = server.raw().upgrade("/ws");
    let baseline = descriptors();
    for (row, what, bytes, status) in rows {
        let middle = bytes.len() / 2;
        let cuts = [Chunks::Whole, Chunks::Bytes, Chunks::At(1), Chunks::At(middle), Chunks::At(bytes.len() - 1)];
        for chunks in cuts {
            let mut raw = server.raw();
            send(&mut raw, bytes, chunks);
            let head = raw.head();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "row {row}, {what}, {chunks:?}: {head}");
            if *status == 101 {
                raw.send(masked(0x81, b"Hello"));
                raw.expect(b"\x81\x05Hello");
                continue;
            }
            assert!(head.contains("\r\nConnection: close\r\n"), "row {row}, {what}: {head}");
            // Nothing follows but the body, and the end comes without a reset.
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let body = raw.all();
            let is_head = bytes.starts_with(b"HEAD");
            assert_eq!(body.len(), if is_head { 0 } else { length.parse().unwrap() }, "row {row}, {what}");
        }
        // The next connection is served, and the one before.
        let mut next = server.raw().upgrade("/ws");
        for raw in [&mut next, &mut bystander] {
            raw.send(masked(0x81, b"still here"));
            raw.expect(b"\x81\x0astill here");
        }
    }
    server.wait_until("every descriptor is freed", |_| descriptors() == baseline);
}

#[test]
fn a_bad_handshake_gets_its_status_and_the_next_one_is_served() {
    let _alone = alone();
    let (teller, ear) = teller();
    let server = Running::start(builder(), teller);
    let key = |value: &str| with("Sec-WebSocket-Key", value);
    let version = |value: &str| with("Sec-WebSocket-Version", value);
    let key_line = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let rows: Vec<(u8, &str, Vec<u8>, u16)> = vec![
        (1, "POST", line("POST /ws HTTP/1.1"), 405),
        (1, "HEAD", line("HEAD /ws HTTP/1.1"), 405),
        (1, "get", line("get /ws HTTP/1.1"), 405),
        (2, "HTTP/1.0", line("GET /ws HTTP/1.0"), 400),
        (3, "HTTP/0.9", b"GET /ws\r\n\r\n".to_vec(), 400),
        (3, "HTTP/2.0", line("GET /ws HTTP/2.0"), 505),
        (3, "HTTP/9.9", line("GET /ws HTTP/9.9"), 505),
        (3, "the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505),
        (3, "lowercase version", line("GET /ws http/1.1"), 400),
        (4, "a plain GET", b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), 426),
        (5, "no Host", but("Host", None), 400),
        (5, "two Hosts", plus("Host: localhost\r\n"), 400),
        (5, "empty Host", with("Host", ""), 400),
        (5, "bad Host", with("Host", "a b"), 400),
        (5, "port 65536", with("Host", "localhost:65536"), 400),
        (6, "no Upgrade", but("Upgrade", None), 426),
        (6, "Upgrade h2c", with("Upgrade", "h2c"), 426),
        (6, "Upgrade websocketx", with("Upgrade", "websocketx"), 426),
        (6, "Upgrade empty", with("Upgrade", ""), 426),
        (7, "Upgrade in mixed case", with("Upgrade", "WebSocket"), 101),
        (7, "Upgrade a list", with("Upgrade", "h2c, websocket"), 101),
        (8, "no Connection", but("Connection", None), 400),
        (8, "Connection keep-alive", with("Connection", "keep-alive"), 400),
        (8, "Connection upgradex", with("Connection", "upgradex"), 400),
        (8, "Connection quoted", with("Connection", "\"Upgrade\""), 400),
        (9, "Connection a list", with("Connection", "keep-alive, UPGRADE"), 101),
        (9, "Connection on two lines", with("Connection", "keep-alive\r\nConnection: Upgrade"), 101),
        (9, "Connection with empty members", with("Connection", ",Upgrade,"), 101),
        (10, "no key", but("Sec-WebSocket-Key", None), 400),
        (10, "empty key", key(""), 400),
        (10, "two keys", plus(key_line), 400),
        (10, "key of 15 bytes", key("dGhlIHNhbXBsZSBub25j"), 400),
        (10, "key of 17 bytes", key("dGhlIHNhbXBsZSBub25jZWU="), 400),
        (10, "key in no alphabet", key("dGhlIHNhbXBsZSBub25!ZQ=="), 400),
        (10, "key without padding", key("dGhlIHNhbXBsZSBub25jZQ"), 400),
        (10, "key for URLs", key("dGhlIHNhbXBsZSBub2_-ZQ=="), 400),
        (10, "key with a space", key("dGhlIHNhbXBsZSBu b25jZQ=="), 400),
        (11, "key with trailing bits", key("dGhlIHNhbXBsZSBub25jZR=="), 101),
        (12, "no version", but("Sec-WebSocket-Version", None), 426),
        (13, "version 0", version("0"), 426),
        (13, "version 7", version("7"), 426),
        (13, "version 14", version("14"), 426),
        (13, "version 255", version("255"), 426),
        (14, "version 013", version("013"), 400),
        (14, "version 13a", version("13a"), 400),
        (14, "version list", version("13, 8"), 400),
        (14, "two versions", plus("Sec-WebSocket-Version: 13\r\n"), 400),
        (
            15,
            "Hixie-76",
            b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U"
                .to_vec(),
            426,
        ),
        (16, "protocol empty", plus("Sec-WebSocket-Protocol: \r\n"), 400),
        (16, "protocol twice", plus("Sec-WebSocket-Protocol: a, a\r\n"), 400),
        (16, "protocol a,,b", plus("Sec-WebSocket-Protocol: a,,b\r\n"), 400),
        (16, "protocol with separators", plus("Sec-WebSocket-Protocol: a(b)\r\n"), 400),
        (16, "protocol not ASCII", plus("Sec-WebSocket-Protocol: é\r\n"), 400),
        (16, "protocol unclosed", plus("Sec-WebSocket-Protocol: \"a\r\n"), 400),
        (17, "no common protocol", plus("Sec-WebSocket-Protocol: a, b\r\n"), 101),
        (18, "extension ;", plus("Sec-WebSocket-Extensions: ;\r\n"), 400),
        (18, "extension a;=1", plus("Sec-WebSocket-Extensions: a;=1\r\n"), 400),
        (18, "extension a;b=", plus("Sec-WebSocket-Extensions: a;b=\r\n"), 400),
        (18, "extension unclosed", plus("Sec-WebSocket-Extensions: a;b=\"c\r\n"), 400),
        (18, "extension quoting no token", plus("Sec-WebSocket-Extensions: a;b=\"c d\"\r\n"), 400),
        (18, "extension trailing comma", plus("Sec-WebSocket-Extensions: a,\r\n"), 400),
        (19, "an unknown extension", plus("Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n"), 101),
        (
            19,
            "a bad parameter",
            plus("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n"),
            101,
        ),
        (
            20,
            "the second offer is good",
            plus("Sec-WebSocket-Extensions: permessage-deflate; x\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"),
            101,
        ),
        (21, "absolute, matching", line("GET http://localhost/ws HTTP/1.1"), 101),
        (21, "absolute, other host", line("GET http://elsewhere/ws HTTP/1.1"), 400),
        (22, "target *", line("GET * HTTP/1.1"), 400),
        (22, "authority-form", line("GET localhost:80 HTTP/1.1"), 400),
        (22, "no slash", line("GET ws HTTP/1.1"), 400),
        (22, "fragment", line("GET /ws#a HTTP/1.1"), 400),
        (22, "raw space", line("GET /w s HTTP/1.1"), 400),
        (22, "control byte", line("GET /w\x01s HTTP/1.1"), 400),
        (23, "CONNECT", line("CONNECT localhost:80 HTTP/1.1"), 405),
        (24, "an unknown path", line("GET /elsewhere HTTP/1.1"), 404),
        (24, "an unknown path, plain", b"GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 404),
        (25, "a body", [&plus("Content-Length: 8\r\n")[..], &masked(0x81, b"ab")].concat(), 400),
        (25, "a chunked body", [&plus("Transfer-Encoding: chunked\r\n")[..], b"0\r\n\r\n"].concat(), 400),
        (26, "an empty body", plus("Content-Length: 0\r\n"), 101),
        (27, "length -1", plus("Content-Length: -1\r\n"), 400),
        (27, "length +5", plus("Content-Length: +5\r\n"), 400),
        (27, "length empty", plus("Content-Length: \r\n"), 400),
        (27, "length 5,5", plus("Content-Length: 5,5\r\n"), 400),
        (27, "two lengths", plus("Content-Length: 0\r\nContent-Length: 5\r\n"), 400),
        (27, "a length of 2^64", plus("Content-Length: 18446744073709551616\r\n"), 400),
        (27, "length and coding", plus("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400),
        (28, "a folded line", plus("X-A: b\r\n c\r\n"), 400),
        (28, "space before colon", plus("X-A : b\r\n"), 400),
        (28, "NUL", plus("X-A: b\0c\r\n"), 400),
        (28, "bare CR", plus("X-A: b\rc\r\n"), 400),
        (28, "bare LF", plus("X-A: b\n"), 400),
        (28, "no colon", plus("X-A\r\n"), 400),
        (28, "bad name", plus("X(A): b\r\n"), 400),
        (30, "a leading CRLF", [b"\r\n", &request("/ws").into_bytes()[..]].concat(), 101),
        (30, "two of them", [b"\r\n\r\n", &request("/ws").into_bytes()[..]].concat(), 400),
        (36, "TLS on a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400),
        (37, "Expect", plus("Expect: 100-continue\r\n"), 101),
    ];
    check(&server, &rows);
    // Only those with 101 were ever heard of, and everything that was opened was closed.
    drop(server);
    let heard = ear.rest();
    let count = |wanted: fn(&Heard) -> bool| heard.iter().filter(|heard| wanted(heard)).count();
    let opened = count(|heard| matches!(heard, Heard::Open(_)));
    assert_eq!(opened, 5 * rows.iter().filter(|row| row.3 == 101).count() + rows.len() + 1);
    assert_eq!(opened, count(|heard| matches!(heard, Heard::Close { .. })));
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let _alone = alone();
    let (teller, _ear) = teller();
    let server = Running::start(builder(), teller);
    let good = [request("/ws").as_bytes(), &masked(0x81, b"Hello")].concat();
    let bad = plus("X-A : b\r\n");
    for at in 1..good.len() {
        let mut raw = server.raw();
        send(&mut raw, &good, Chunks::At(at));
        assert!(raw.head().starts_with("HTTP/1.1 101 "), "row 31, cut at {at}");
        raw.expect(b"\x81\x05Hello");
    }
    for at in 1..bad.len() {
        let mut raw = server.raw();
        send(&mut raw, &bad, Chunks::At(at));
        assert!(raw.all().starts_with(b"HTTP/1.1 400 "), "row 28, cut at {at}");
    }
}

#[test]
fn a_handshake_that_ends_anywhere_leaves_nothing_behind() {
    let _alone = alone();
    let (teller, ear) = teller();
    let server = Running::start(builder(), teller);
    server.ask(|_| ());
    let baseline = descriptors();
    let good = request("/ws").into_bytes();
    for at in 0..good.len() {
        // Row 38: by FIN, and by a reset.
        let mut raw = server.raw();
        raw.send(&good[..at]);
        raw.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(raw.all(), b"", "cut at {at}");
        let mut raw = server.raw();
        raw.send(&good[..at]);
        raw.reset();
    }
    server.wait_until("every descriptor is freed", |_| descriptors() == baseline);
    assert!(ear.rest().is_empty());
    server.raw().upgrade("/ws");
}

#[test]
fn a_head_over_a_limit_gets_its_status() {
    let _alone = alone();
    let mut net = NetConfig::default();
    (net.head.request_line, net.head.head, net.head.fields) = (256, 1024, 10);
    let (teller, _ear) = teller();
    let server = Running::start(Server::builder().net(net), teller);
    let path = |len: usize| format!("/{}", "a".repeat(len - "GET / HTTP/1.1".len()));
    let of_len = |len: usize| {
        let spare = len - request_with("/", "X: \r\n").len();
        request_with("/", &format!("X: {}\r\n", "a".repeat(spare))).into_bytes()
    };
    let rows = [
        (29, "a line at its limit", request(&path(256)).into_bytes(), 101),
        (29, "a line over it", request(&path(257)).into_bytes(), 414),
        (29, "an endless line", format!("GET /{}", "a".repeat(5000)).into_bytes(), 414),
        (29, "a head at its limit", of_len(1024), 101),
        (29, "a head over it", of_len(1025), 431),
        (29, "as many fields as may be", request_with("/", "X: a\r\n".repeat(5).as_str()).into_bytes(), 101),
        (29, "one more, of one name", request_with("/", "X: a\r\n".repeat(6).as_str()).into_bytes(), 431),
    ];
    check_anywhere(&server, &rows);
}

fn check_anywhere(server: &Running, rows: &[(u8, &str, Vec<u8>, u16)]) {
    for (row, what, bytes, status) in rows {
        for chunks in [Chunks::Whole, Chunks::Bytes, Chunks::At(bytes.len() / 2)] {
            let mut raw = server.raw();
            send(&mut raw, bytes, chunks);
            let head = raw.head();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "row {row}, {what}, {chunks:?}: {head}");
        }
    }
}

#[test]
fn what_a_server_s_policy_forbids_gets_its_status() {
    let _alone = alone();
    struct Keys;
    impl loopwire::Handler for Keys {
        fn on_upgrade(&mut self, request: &loopwire::UpgradeRequest, _: &loopwire::PeerAddr) -> Upgrade {
            match request.fields().get("Authorization") {
                Some("Bearer right") => Upgrade::accept(),
                _ => Upgrade::reject(401),
            }
        }
    }
    let origins = OriginPolicy::list(["https://good.example"]).unwrap();
    let server = Running::start(Server::builder().origins(origins).protocols(["chat"]).require_protocol(), Keys);
    let asking = |origin: &str, key: &str, protocol: &str| {
        let fields = format!("Origin: {origin}\r\nAuthorization: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n");
        request_with("/", &fields).into_bytes()
    };
    let rows = [
        (33, "a good origin", asking("https://good.example", "Bearer right", "chat"), 101),
        (33, "a bad origin", asking("https://bad.example", "Bearer right", "chat"), 403),
        (33, "the origin null", asking("null", "Bearer right", "chat"), 403),
        (33, "no origin", request_with("/", "Authorization: Bearer right\r\n").into_bytes(), 403),
        (34, "bad credentials", asking("https://good.example", "Bearer wrong", "chat"), 401),
        (34, "no credentials", request_with("/", "Origin: https://good.example\r\n").into_bytes(), 401),
        (17, "no common protocol", asking("https://good.example", "Bearer right", "other"), 400),
    ];
    check_anywhere(&server, &rows);
}

#[test]
fn a_full_or_draining_server_says_when_to_come_back() {
    let _alone = alone();
    // What is limited, and how many connections fit.
    let limits: [fn(&mut NetConfig); 4] = [
        |net| net.max_connections = 2,
        |net| net.max_per_address = Some(2),
        |net| net.max_half_open = 2,
        |net| net.max_half_open_per_address = 2,
    ];
    for (index, limit) in limits.into_iter().enumerate() {
        let mut net = NetConfig::default();
        limit(&mut net);
        let (teller, _ear) = teller();
        let server = Running::start(Server::builder().net(net), teller);
        // For the limit on half-open ones, connections that say nothing.
        let full: Vec<_> = (0..2).map(|_| if index < 2 { server.raw().upgrade("/") } else { server.raw() }).collect();
        let mut raw = server.raw();
        raw.send(request("/"));
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "row 35, {index}: {head}");
        assert!(head.contains("\r\nConnection: close\r\n"));
        // Plain HTTP comes under the same limits.
        let mut plain = server.raw();
        plain.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(plain.head().starts_with("HTTP/1.1 503 "), "{index}");
        drop((plain, full, raw));
        server.wait_until("there is room again", |server| {
            let mut raw = server.raw();
            raw.send(request("/"));
            raw.head().starts_with("HTTP/1.1 101 ")
        });
    }
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    // Before the other, so that it is accepted when that is open.
    let mut half_open = server.raw();
    half_open.send("GET /");
    let _held = server.raw().upgrade("/");
    ear.opened();
    server.handle.shutdown(support::PATIENCE);
    let head = half_open.head();
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nRetry-After: "), "row 35: {head}");
    server.handle.shutdown(Duration::ZERO);
}

#[test]
fn a_head_that_is_not_complete_in_time_is_given_up() {
    let _alone = alone();
    let mut net = NetConfig::default();
    net.head_timeout = Duration::from_millis(20);
    let (teller, ear) = teller();
    let server = Running::start(Server::builder().net(net), teller);
    let mut raw = server.raw();
    raw.send("GET / HTTP/1.1\r\nHost: a");
    assert!(raw.all().starts_with(b"HTTP/1.1 408 "), "row 36");
    assert_eq!(server.raw().all(), b"", "row 36: who says nothing hears nothing");
    assert!(ear.rest().is_empty());
}

#[test]
fn plain_bytes_on_a_tls_port_end_the_connection() {
    let _alone = alone();
    let tls = TlsAcceptor::self_signed(&["localhost"]).unwrap();
    let (teller, ear) = teller();
    let server = Server::builder().listen_tls("127.0.0.1:0", tls).build().unwrap();
    let server = Running::of(server, |server| server.run(teller));
    let baseline = descriptors();
    let mut raw = server.raw();
    raw.send(request("/"));
    let answer = raw.all();
    assert!(!answer.starts_with(b"HTTP"), "row 36: {answer:?}");
    drop(raw);
    server.wait_until("the descriptor is freed", |_| descriptors() == baseline);
    assert!(ear.rest().is_empty());
}
