//! A server over real sockets: who is called when, which limits hold where, and what no peer can do to another.

// A handler stands in the test that needs it, behind what it is told.
#![allow(clippy::items_after_statements)]

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use loopwire::{
    CloseCode, Closed, Config, Connections, Delivery, Handler, HttpAnswer, HttpExchange, ListenAddr, Message,
    MessageKind, OriginPolicy, PeerAddr, Role, Server, Side, TlsAcceptor, Upgrade, UpgradeRequest, WebSocket,
};
use support::{Heard, Raw, Running, close_code, masked, request, request_with, teller};
use tungstenite::Message as Theirs;

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

#[test]
fn a_connection_is_heard_of_from_its_request_to_its_end() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let mut peer = server.open_at("/here?x=y");
    assert_eq!(ear.next(), Heard::Upgrade("/here".into()));
    let id = ear.opened();

    peer.send(Theirs::text("Hello")).unwrap();
    assert_eq!(peer.read().unwrap(), Theirs::text("Hello"));
    peer.send(Theirs::binary(vec![7; 50_000])).unwrap();
    assert_eq!(peer.read().unwrap().len(), 50_000);
    peer.send(Theirs::Ping("p".into())).unwrap();
    assert_eq!(peer.read().unwrap(), Theirs::Pong("p".into()));
    server.ask(move |connections| {
        connections.get(id).unwrap().ping(b"ours").unwrap();
        assert_eq!((connections.len(), connections.ids().next()), (1, Some(id)));
    });
    assert_eq!(peer.read().unwrap(), Theirs::Ping("ours".into()));
    peer.flush().unwrap();
    for heard in [
        Heard::Text("Hello".into()),
        Heard::Binary(50_000),
        Heard::Ping(b"p".into()),
        Heard::Pong(b"ours".into(), true),
    ] {
        assert_eq!(ear.next(), heard);
    }
    assert!(server.ask(move |connections| connections.get(id).unwrap().round_trip_time()).is_some());

    peer.close(None).unwrap();
    assert!(peer.read().unwrap().is_close());
    assert_eq!(ear.next(), Heard::Close { id, code: 1005, clean: true, by: Side::Peer });
    assert!(!server.ask(move |connections| connections.contains(id)));
}

#[test]
fn nothing_is_heard_of_a_connection_that_got_no_101() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder().paths(["/ws", "/status/403"]), teller);
    // The request, and whether the handler is asked.
    let rows = [
        (request("/status/403"), 403, true),
        (request("/elsewhere"), 404, false),
        (request("/ws").replace("Version: 13", "Version: 14"), 426, false),
        (request("/ws").replace("Connection: Upgrade", "Connection: close"), 400, false),
        (request("/ws").replace("GET", "POST"), 405, false),
    ];
    for (request, status, asked) in rows {
        let mut raw = server.raw();
        // What comes behind must mean nothing.
        raw.send([request.as_bytes(), &masked(0x81, b"Hello"), &masked(0x88, b"")].concat());
        let answer = String::from_utf8_lossy(&raw.all()).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        drop(raw);
        server.ask(|_| ());
        let heard = ear.rest();
        assert!(matches!((&heard[..], asked), ([Heard::Upgrade(_)], true) | ([], false)), "{heard:?}");
    }
    assert_eq!(server.handle.metrics().connections_total, 0);
    let metrics = server.handle.metrics();
    assert_eq!((metrics.handshakes_refused, metrics.requests_refused), (2, 3), "the valid ones, and the others");
}

/// Sends a message of `len` bytes and says with which code the connection was closed, if it was not echoed.
fn closed_at(raw: &mut (impl Read + Write), len: usize) -> Option<u16> {
    raw.write_all(&masked(0x82, &vec![7; len])).unwrap();
    let mut header = [0; 4];
    raw.read_exact(&mut header).unwrap();
    if header[0] == 0x88 {
        return close_code(&header);
    }
    assert_eq!(header, [0x82, 126, (len >> 8) as u8, len as u8]);
    raw.read_exact(&mut vec![0; len]).unwrap();
    None
}

#[test]
fn the_message_limit_holds_on_every_way_in() {
    const LIMIT: usize = 1000;
    struct Own(Arc<Config>);
    impl Handler for Own {
        fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
            match request.path() {
                "/own" => Upgrade::accept().config(Arc::clone(&self.0)),
                _ => Upgrade::accept(),
            }
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            ws.send(message).unwrap();
        }
    }
    let own = |limit| Own(Arc::new(config(|config| config.max_message = limit)));

    // The setting by itself, in a whole configuration, and one connection's own.
    let short = Server::builder().max_message(LIMIT);
    let whole = Server::builder().config(config(|config| config.max_message = LIMIT));
    let other = Server::builder().max_message(7);
    for (builder, path) in [(short.clone(), "/"), (whole, "/"), (other, "/own")] {
        let server = Running::start(builder, own(LIMIT));
        assert_eq!(closed_at(&mut server.raw().upgrade(path).0, LIMIT), None);
        assert_eq!(closed_at(&mut server.raw().upgrade(path).0, LIMIT + 1), Some(1009));
    }

    // A second listener, a Unix socket, TLS.
    let path = std::env::temp_dir().join(format!("loopwire-limit-{}.sock", std::process::id()));
    let tls = TlsAcceptor::self_signed(&["localhost"]).unwrap();
    let server = short
        .clone()
        .listen("127.0.0.1:0")
        .listen("127.0.0.1:0")
        .listen(format!("unix:{}", path.display()))
        .listen_tls("127.0.0.1:0", tls.clone())
        .build()
        .unwrap();
    let addrs = server.local_addrs().to_owned();
    let running = Running::of(server, move |server| server.run(own(LIMIT)));
    for addr in &addrs[..2] {
        let ListenAddr::Tcp(addr) = addr else { panic!("not TCP: {addr}") };
        assert_eq!(closed_at(&mut Raw::connect(*addr).upgrade("/").0, LIMIT), None);
        assert_eq!(closed_at(&mut Raw::connect(*addr).upgrade("/").0, LIMIT + 1), Some(1009));
    }
    for (len, code) in [(LIMIT, None), (LIMIT + 1, Some(1009))] {
        let mut unix = UnixStream::connect(&path).unwrap();
        unix.set_read_timeout(Some(support::PATIENCE)).unwrap();
        shake_hands(&mut unix);
        assert_eq!(closed_at(&mut unix, len), code, "Unix socket");

        let ListenAddr::Tcp(addr) = addrs[3] else { panic!("not TCP") };
        let mut secure = tls_client(Raw::connect(addr), &tls);
        shake_hands(&mut secure);
        assert_eq!(closed_at(&mut secure, len), code, "TLS");
    }
    running.stop().unwrap();
    assert!(!path.exists(), "the socket's file goes with the server");

    // Every one of several loops.
    let server = Running::start_each(short.loops(3), move |_| own(LIMIT));
    for _ in 0..12 {
        assert_eq!(closed_at(&mut server.raw().upgrade("/").0, LIMIT), None);
        assert_eq!(closed_at(&mut server.raw().upgrade("/").0, LIMIT + 1), Some(1009));
    }
}

fn shake_hands(stream: &mut (impl Read + Write)) {
    stream.write_all(request("/").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
}

type TlsPeer = rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>;

fn tls_client(raw: Raw, acceptor: &TlsAcceptor) -> TlsPeer {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(acceptor.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let session = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    rustls::StreamOwned::new(session, raw.0)
}

#[test]
fn the_other_limits_of_a_connection_are_wired_through() {
    // What is set, what is sent, the code.
    type Row = (fn(&mut Config), Vec<u8>, u16);
    let fragments = [masked(0x01, b"a"), masked(0x00, b"b"), masked(0x00, b"c"), masked(0x80, b"d")].concat();
    let rows: [Row; 3] = [
        (|config| config.max_fragments = 3, fragments, 1008),
        (|config| config.max_control_rate = 4, masked(0x89, b"").repeat(5), 1008),
        (|config| config.message_timeout = Duration::from_millis(1), masked(0x01, b"never ended"), 1008),
    ];
    for (change, bytes, code) in rows {
        let (teller, ear) = teller();
        let server = Running::start(Server::builder().config(config(change)), teller);
        let mut raw = server.raw().upgrade("/");
        raw.send(bytes);
        raw.all();
        ear.opened();
        assert_eq!(ear.find(|heard| if let Heard::Error(code) = heard { Some(code) } else { None }), code);
        assert_eq!(ear.closed().1, code);
        assert_eq!(server.handle.metrics().protocol_errors, 1);
    }
}

#[test]
fn a_peer_that_falls_silent_is_asked_and_then_given_up() {
    let (teller, ear) = teller();
    let config = config(|config| {
        config.ping_interval = Some(Duration::from_millis(1));
        config.pong_timeout = Duration::from_millis(1);
    });
    let server = Running::start(Server::builder().config(config), teller);
    let mut raw = server.raw().upgrade("/");
    let bytes = raw.all();
    assert_eq!(bytes[0], 0x89, "a ping");
    ear.opened();
    assert!(matches!(ear.next(), Heard::Error(_)));
    assert!(matches!(ear.next(), Heard::Close { clean: false, by: Side::Peer, .. }));
}

#[test]
fn a_bad_peer_gets_its_code_and_no_other_connection_notices() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder().max_message(1 << 20), teller);
    let mut bystander = server.open();
    // What is wrong, the bytes, the code.
    let rows: [(&str, &[u8], u16); 12] = [
        ("unmasked", b"\x81\x01A", 1002),
        ("RSV1 without an extension", &masked(0xc1, b"a"), 1002),
        ("RSV2", &masked(0xa1, b"a"), 1002),
        ("an opcode that nobody knows", &masked(0x83, b"a"), 1002),
        ("a control frame in fragments", &masked(0x09, b"a"), 1002),
        ("a continuation of nothing", &masked(0x80, b"a"), 1002),
        ("a ping of 126 bytes", &masked(0x89, &[0; 126]), 1002),
        ("a length with its top bit set", b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1002),
        ("text that is not UTF-8", &masked(0x81, b"\xff"), 1007),
        ("a message too big", b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),
        ("a Close with half a code", &masked(0x88, b"\x03"), 1002),
        ("a Close with a code that may not be sent", &masked(0x88, b"\x03\xed"), 1002),
    ];
    for (what, bytes, code) in rows {
        let mut raw = server.raw().upgrade("/");
        raw.send(bytes);
        let answer = raw.all();
        assert_eq!(close_code(&answer), Some(code), "{what}: {answer:?}");
        assert_eq!(ear.closed().1, code, "{what}");
        bystander.send(Theirs::text(what)).unwrap();
        assert_eq!(bystander.read().unwrap(), Theirs::text(what));
    }
    assert_eq!(server.handle.metrics().protocol_errors, 12);
    assert_eq!(server.handle.metrics().connections_open, 1);
}

#[test]
fn a_panic_ends_the_connection_it_was_about_and_nothing_else() {
    struct Panics;
    impl Handler for Panics {
        fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
            assert_ne!(request.path(), "/panic", "at the upgrade");
            Upgrade::accept()
        }
        fn on_http(&mut self, _: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
            panic!("at {}", exchange.request.path());
        }
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            assert_ne!(ws.request().unwrap().path(), "/open", "at the opening");
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            assert_ne!(message.as_text(), Some("panic"), "at a message");
            ws.send(message).unwrap();
        }
        fn on_close(&mut self, _: &mut WebSocket<'_>, closed: &Closed) {
            assert!(closed.clean, "at the end");
        }
    }
    // The peers here answer no Close.
    let builder = Server::builder().config(config(|config| config.close_timeout = Duration::from_millis(1)));
    let server = Running::start(builder, Panics);
    let mut bystander = server.open();

    for head in [request("/panic"), "GET /page HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()] {
        let mut raw = server.raw();
        raw.send(head);
        assert!(raw.all().starts_with(b"HTTP/1.1 500 "));
    }
    let mut raw = server.raw().upgrade("/open");
    assert_eq!(close_code(&raw.all()), Some(1011));
    let mut raw = server.raw().upgrade("/");
    raw.send(masked(0x81, b"panic"));
    assert_eq!(close_code(&raw.all()), Some(1011));
    server.raw().upgrade("/").reset();
    server.handle.run(|_| panic!("in a job")).unwrap();

    bystander.send(Theirs::text("still here")).unwrap();
    assert_eq!(bystander.read().unwrap(), Theirs::text("still here"));
    server.wait_until("all others are gone", |server| server.handle.metrics().connections_open == 1);
}

#[test]
fn a_shutdown_tells_everybody_and_comes_to_an_end() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    // Before the others, so that it is accepted when they are open.
    let mut half_open = server.raw();
    half_open.send("GET / HT");
    let mut peers: Vec<_> = (0..5).map(|_| server.open()).collect();
    server.wait_until("all are open", |server| server.handle.metrics().connections_open == 5);
    let (addr, handle) = (server.addr, server.handle.clone());
    handle.shutdown(support::PATIENCE);
    for peer in &mut peers {
        let Theirs::Close(Some(frame)) = peer.read().unwrap() else { panic!("no Close") };
        assert_eq!(u16::from(frame.code), 1001);
        // Sends the answer.
        while peer.read().is_ok() {}
    }
    assert!(half_open.all().starts_with(b"HTTP/1.1 503 "));
    drop((half_open, peers));
    server.stop().unwrap();
    ear.find(|heard| (heard == Heard::Draining).then_some(()));
    for _ in 0..5 {
        assert!(matches!(
            ear.find(|heard| if let Heard::Close { code, clean, by, .. } = heard {
                Some((code, clean, by))
            } else {
                None
            }),
            (1001, true, Side::Local)
        ));
    }
    assert!(std::net::TcpStream::connect(addr).is_err(), "nobody listens any more");
    assert!(handle.send(loopwire::ConnectionId::from_u64(0), "late").is_err());
}

#[test]
fn a_peer_that_ignores_a_shutdown_is_dropped_at_its_end() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let mut raw = server.raw().upgrade("/");
    ear.opened();
    server.handle.shutdown(Duration::from_millis(300));
    server.stop().unwrap();
    raw.expect(b"\x88\x02\x03\xe9");
}

#[test]
fn a_connection_keeps_its_data_its_timers_and_its_request() {
    struct User {
        name: String,
        messages: u32,
    }
    struct Keeper;
    impl Handler for Keeper {
        fn on_upgrade(&mut self, request: &UpgradeRequest, peer: &PeerAddr) -> Upgrade {
            assert!(peer.ip().unwrap().is_loopback());
            match request.query() {
                Some(name) => Upgrade::accept()
                    .data(User { name: name.to_owned(), messages: 0 })
                    .field("X-Welcome", name)
                    .protocol(request.protocols()[0].clone()),
                None => Upgrade::reject(401),
            }
        }
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            assert_eq!((ws.role(), ws.protocol()), (Role::Server, Some("b")));
            assert_eq!(ws.request().unwrap().path(), "/keep");
            assert!(ws.data::<String>().is_none(), "it is a user");
            ws.set_timer(Duration::ZERO, 7);
            let cancelled = ws.set_timer(Duration::ZERO, 8);
            assert!(ws.cancel_timer(cancelled) && !ws.cancel_timer(cancelled));
            ws.connections().set_timer(Duration::from_millis(60), 9);
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, _: Message<'_>) {
            let user = ws.data::<User>().unwrap();
            user.messages += 1;
            let answer = format!("{} {}", user.name, user.messages);
            ws.send(&answer).unwrap();
        }
        fn on_timer(&mut self, ws: &mut WebSocket<'_>, key: u64) {
            ws.send(&format!("timer {key}")).unwrap();
        }
        fn on_loop_timer(&mut self, connections: &mut loopwire::Connections<'_>, key: u64) {
            connections.broadcast(&loopwire::PreparedMessage::new(&format!("loop timer {key}")));
        }
        fn on_close(&mut self, ws: &mut WebSocket<'_>, _: &Closed) {
            assert_eq!(ws.data::<User>().unwrap().messages, 2, "it can be read to the last");
            assert!(ws.send("too late").is_err());
        }
    }
    let server = Running::start(Server::builder(), Keeper);
    let mut refused = server.raw();
    refused.send(request("/keep"));
    assert!(refused.head().contains("WWW-Authenticate: Bearer\r\n"));

    let mut raw = server.raw();
    raw.send(request_with("/keep?Ada", "Sec-WebSocket-Protocol: b, a\r\n"));
    let head = raw.head();
    assert!(head.contains("X-Welcome: Ada\r\n") && head.contains("Sec-WebSocket-Protocol: b\r\n"), "{head}");
    raw.expect(b"\x81\x07timer 7");
    raw.expect(b"\x81\x0cloop timer 9");
    raw.send([masked(0x81, b"x"), masked(0x81, b"y")].concat());
    raw.expect(b"\x81\x05Ada 1");
    raw.expect(b"\x81\x05Ada 2");
    raw.send(masked(0x88, b"\x03\xe8"));
    assert_eq!(raw.all(), b"\x88\x02\x03\xe8");
}

#[test]
fn a_timer_goes_with_its_connection() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let raw = server.raw().upgrade("/");
    let id = ear.opened();
    server.ask(move |connections| {
        connections.get(id).unwrap().set_timer(Duration::from_millis(1), 1);
        connections.abort(id);
        // Later than the other in the same wheel.
        connections.set_timer(Duration::from_millis(60), 2);
    });
    assert!(matches!(ear.next(), Heard::Close { .. }));
    assert_eq!(ear.next(), Heard::LoopTimer(2));
    drop(raw);
}

#[test]
fn origins_and_subprotocols_follow_the_server_s_policy() {
    let origins = OriginPolicy::list(["https://good.example"]).unwrap();
    let builder = Server::builder().origins(origins).protocols(["chat.v2", "chat.v1"]).require_protocol();
    let (teller, _ear) = teller();
    let server = Running::start(builder, teller);
    let origin = |origin: &str| format!("Origin: {origin}\r\nSec-WebSocket-Protocol: other, chat.v1, chat.v2\r\n");
    let rows = [
        (origin("https://good.example"), 101),
        (origin("https://GOOD.example:443"), 101),
        (origin("null"), 403),
        (origin("https://good.example.evil"), 403),
        (origin("https://evilgood.example"), 403),
        (origin("http://good.example"), 403),
        (origin("https://good.example:444"), 403),
        (origin("https://good.example\r\nOrigin: https://good.example"), 403),
        ("Sec-WebSocket-Protocol: chat.v1\r\n".to_owned(), 403),
        ("Origin: https://good.example\r\nSec-WebSocket-Protocol: other\r\n".to_owned(), 400),
        ("Origin: https://good.example\r\n".to_owned(), 400),
    ];
    for (fields, status) in rows {
        let mut raw = server.raw();
        raw.send(request_with("/", &fields));
        let head = raw.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {head}");
        // The client's order decides.
        assert_eq!(head.contains("Sec-WebSocket-Protocol: chat.v1\r\n"), status == 101);
    }
}

#[test]
fn compression_is_agreed_unless_the_server_or_the_upgrade_says_no() {
    struct Plain;
    impl Handler for Plain {
        fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
            match request.path() {
                "/plain" => Upgrade::accept().deflate(false),
                "/small" => Upgrade::accept().deflate(true),
                _ => Upgrade::accept(),
            }
        }
    }
    let rows = [
        (Server::builder(), "/", true),
        (Server::builder(), "/plain", false),
        (Server::builder().no_deflate(), "/", false),
        (Server::builder().no_deflate(), "/small", true),
    ];
    for (builder, path, agreed) in rows {
        let server = Running::start(builder, Plain);
        let mut raw = server.raw();
        raw.send(request_with(path, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
        assert_eq!(raw.head().contains("Sec-WebSocket-Extensions: permessage-deflate"), agreed, "{path}");
    }
}

#[test]
fn messages_come_and_go_in_pieces() {
    struct Pieces(support::Teller);
    impl Handler for Pieces {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            ws.send_piece(MessageKind::Text, b"one ", false).unwrap();
            assert!(ws.send("in between").is_err(), "messages do not mix");
            ws.send_piece(MessageKind::Text, b"two", true).unwrap();
        }
        fn on_piece(&mut self, ws: &mut WebSocket<'_>, piece: loopwire::Piece<'_>) {
            self.0.on_piece(ws, piece);
        }
    }
    let (teller, ear) = teller();
    let builder = Server::builder().config(config(|config| config.delivery = Delivery::Pieces));
    let server = Running::start(builder, Pieces(teller));
    let mut raw = server.raw().upgrade("/");
    raw.expect(b"\x01\x04one \x80\x03two");
    raw.send(&masked(0x02, &[1; 10])[..9]);
    assert_eq!(ear.next(), Heard::Piece(3, false), "what has arrived of an unfinished frame");
    raw.send([1; 7]);
    raw.send(masked(0x80, &[1; 5]));
    let mut rest = 12;
    loop {
        let Heard::Piece(len, last) = ear.next() else { panic!("not a piece") };
        rest -= len;
        if last {
            break;
        }
    }
    assert_eq!(rest, 0);
    let metrics = server.handle.metrics();
    assert_eq!((metrics.messages_in, metrics.bytes_in, metrics.messages_out, metrics.bytes_out), (1, 15, 1, 7));
}

#[test]
fn several_loops_are_one_server() {
    struct Index(usize);
    impl Handler for Index {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            assert_eq!(usize::from(ws.id().loop_index()), self.0);
            ws.send(&self.0.to_string()).unwrap();
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            // From within a loop to all of them.
            let prepared = loopwire::PreparedMessage::new(message);
            ws.connections().broadcast(&prepared);
        }
    }
    let server = Running::start_each(Server::builder().loops(3), Index);
    let mut peers = Vec::new();
    let mut seen = [false; 3];
    // The kernel decides by the ports, so it takes a few.
    while seen.contains(&false) || peers.len() < 8 {
        let mut peer = server.open();
        let index: usize = peer.read().unwrap().to_text().unwrap().parse().unwrap();
        seen[index] = true;
        peers.push(peer);
        assert!(peers.len() < 500, "the kernel favours a loop");
    }
    peers[0].send(Theirs::text("to all")).unwrap();
    for peer in &mut peers {
        assert_eq!(peer.read().unwrap(), Theirs::text("to all"));
    }
    let metrics = server.handle.metrics();
    assert_eq!((metrics.connections_open, server.handle.loops()), (peers.len() as u64, 3));
    drop(peers);
    server.stop().unwrap();
}

#[test]
fn several_loops_want_several_handlers_and_go_together() {
    struct Quiet;
    impl Handler for Quiet {}
    let server = Server::builder().listen("127.0.0.1:0").loops(2).build().unwrap();
    assert_eq!(server.run(Quiet).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);

    // One loop is told, and all end.
    struct Ends;
    impl Handler for Ends {
        fn on_message(&mut self, ws: &mut WebSocket<'_>, _: Message<'_>) {
            ws.connections().shutdown(Duration::from_millis(1));
        }
    }
    let server = Server::builder().listen("127.0.0.1:0").loops(4).build().unwrap();
    let running = Running::of(server, |server| server.run_each(|_| Ends));
    let mut peer = running.open();
    peer.send(Theirs::text("end")).unwrap();
    while peer.read().is_ok() {}
    running.stop().unwrap();
}

#[test]
fn an_address_that_cannot_be_used_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let missing = "unix:/nowhere/at/all.sock";
    for addr in [taken.as_str(), "127.0.0.1", "127.0.0.1:99999", missing] {
        let error = Server::builder().listen(addr).build().unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot listen at {addr}: ")), "{error}");
    }
}

#[test]
fn a_server_can_dial_from_within_its_loop() {
    use loopwire::handshake::Uri;
    struct Relay {
        upstream: String,
        pairs: Vec<(loopwire::ConnectionId, loopwire::ConnectionId)>,
    }
    impl Relay {
        fn other(&self, id: loopwire::ConnectionId) -> Option<loopwire::ConnectionId> {
            self.pairs.iter().find_map(|&(a, b)| if a == id { Some(b) } else { (b == id).then_some(a) })
        }
    }
    impl Handler for Relay {
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            let id = ws.id();
            if message.as_text() == Some("dial") {
                let request = loopwire::DialRequest::new(Uri::parse(&self.upstream).unwrap());
                let upstream = ws.connections().dial(request);
                self.pairs.push((id, upstream));
            } else if let Some(other) = self.other(id) {
                ws.connections().send(other, message).unwrap();
            }
        }
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            if ws.role() == Role::Client {
                assert!(ws.agreed().is_some());
                ws.send("through").unwrap();
                // Those that were dialled are not meant.
                let pushed = ws.connections().broadcast(&loopwire::PreparedMessage::new("dialled"));
                assert_eq!(pushed.sent, 1);
            }
        }
        fn on_close(&mut self, ws: &mut WebSocket<'_>, _: &Closed) {
            let id = ws.id();
            if let Some(other) = self.other(id) {
                let _ = ws.connections().close(other, CloseCode::GOING_AWAY, "the other end has gone");
            }
        }
    }
    let (teller, ear) = teller();
    let upstream = Running::start(Server::builder(), teller);
    let relay =
        Running::start(Server::builder(), Relay { upstream: format!("ws://{}/", upstream.addr), pairs: Vec::new() });
    let mut peer = relay.open();
    peer.send(Theirs::text("dial")).unwrap();
    assert_eq!(peer.read().unwrap(), Theirs::text("dialled"));
    assert_eq!(peer.read().unwrap(), Theirs::text("through"));
    peer.close(None).unwrap();
    ear.opened();
    assert_eq!(ear.closed().1, 1001);
}
