//! A client over real sockets: what it asks for, what it takes from a server, and how it comes back.

// A handler stands in the test that needs it, behind what it is told.
#![allow(clippy::items_after_statements)]

mod support;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use loopwire::handshake::{HandshakeError, accept_key};
use loopwire::protocol::Config;
use loopwire::{
    Backoff, Client, ClientBuilder, ClientError, ClientHandle, ClientSendError, CloseCode, Closed, ConnectionId,
    Connections, DialError, Handler, Message, MessageKind, NetConfig, ReconnectPolicy, ResubmitId, Server, Side,
    TlsAcceptor, TlsConnector, Upgrade, Version, WebSocket,
};
use support::{Heard, PATIENCE, Raw, Running, Teller, teller};
use tungstenite::Message as Theirs;

/// A server that does what `script` says with each connection it takes.
fn scripted(script: impl FnOnce(&TcpListener) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, thread::spawn(move || script(&listener)))
}

/// Takes a connection and reads its request.
fn take(listener: &TcpListener) -> (Raw, String) {
    let stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut raw = Raw(stream);
    let head = raw.head();
    (raw, head)
}

/// Takes a connection and agrees.
fn agree(listener: &TcpListener) -> Raw {
    let (mut raw, head) = take(listener);
    raw.send(answer(&head, ""));
    raw
}

/// The 101 to a request, with more fields.
fn answer(head: &str, fields: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{fields}\r\n",
        accept_key(key)
    )
}

/// The next frame of a client: its first byte and its payload, unmasked.
fn frame(raw: &mut Raw) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    raw.0.read_exact(&mut header).unwrap();
    assert!(header[1] & 0x80 != 0, "a client masks");
    let len = match header[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            raw.0.read_exact(&mut len).unwrap();
            usize::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            raw.0.read_exact(&mut len).unwrap();
            usize::try_from(u64::from_be_bytes(len)).unwrap()
        }
        len => usize::from(len),
    };
    let mut key = [0; 4];
    raw.0.read_exact(&mut key).unwrap();
    let mut payload = vec![0; len];
    raw.0.read_exact(&mut payload).unwrap();
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    (header[0], payload)
}

fn text(raw: &mut Raw) -> String {
    let (first, payload) = frame(raw);
    assert_eq!(first, 0x81);
    String::from_utf8(payload).unwrap()
}

fn builder(addr: SocketAddr) -> ClientBuilder {
    Client::builder(format!("ws://{addr}/")).no_deflate()
}

/// Dials again at once, but not for ever.
fn at_once(attempts: u32) -> ReconnectPolicy {
    let backoff = Backoff::new().first(Duration::ZERO).base(Duration::ZERO);
    ReconnectPolicy::new(backoff).max_attempts(attempts)
}

/// Runs a client on a thread of its own.
fn run(client: Client, handler: impl Handler + Send + 'static) -> mpsc::Receiver<Result<Closed, ClientError>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(client.run(handler)));
    receiver
}

#[test]
fn talks_with_another_implementation() {
    use tungstenite::handshake::server::{Request, Response};
    let (addr, server) = scripted(|listener| {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        #[expect(clippy::result_large_err, reason = "the type of the other implementation")]
        let judge = |request: &Request, mut response: Response| {
            let field = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(request.uri(), "/chat?x=y");
            assert_eq!(field("Origin").as_deref(), Some("https://page.example"));
            assert_eq!(field("Authorization").as_deref(), Some("Bearer key"));
            assert_eq!(field("X-Two").as_deref(), Some("2"));
            assert_eq!(field("Sec-WebSocket-Protocol").as_deref(), Some("a, b"));
            response.headers_mut().insert("Sec-WebSocket-Protocol", "b".parse().unwrap());
            Ok(response)
        };
        let mut server = tungstenite::accept_hdr(stream, judge).unwrap();
        assert_eq!(server.read().unwrap(), Theirs::text("Hello"));
        server.send(Theirs::text("Hello yourself")).unwrap();
        assert_eq!(server.read().unwrap(), Theirs::binary(vec![7; 70_000]));
        server.send(Theirs::Ping("p".into())).unwrap();
        assert_eq!(server.read().unwrap(), Theirs::Pong("p".into()));
        assert_eq!(server.read().unwrap(), Theirs::Ping("q".into()));
        server.flush().unwrap();
        let Theirs::Close(Some(frame)) = server.read().unwrap() else { panic!("no Close") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, "done"));
        while server.read().is_ok() {}
    });
    struct Talk;
    impl Handler for Talk {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            assert_eq!(ws.protocol(), Some("b"));
            assert!(ws.agreed().is_some() && ws.request().is_none());
            ws.send("Hello").unwrap();
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            assert_eq!(message.as_text(), Some("Hello yourself"));
            ws.send(&vec![7; 70_000]).unwrap();
        }
        fn on_ping(&mut self, ws: &mut WebSocket<'_>, payload: &[u8]) {
            assert_eq!(payload, b"p");
            ws.ping(b"q").unwrap();
        }
        fn on_pong(&mut self, ws: &mut WebSocket<'_>, payload: &[u8], rtt: Option<Duration>) {
            assert!(payload == b"q" && rtt.is_some());
            ws.close(CloseCode::NORMAL, "done").unwrap();
        }
    }
    let closed = Client::builder(format!("ws://{addr}/chat?x=y"))
        .origin("https://page.example")
        .header("Authorization", "Bearer key")
        .headers([("X-Two", "2")])
        .protocols(["a", "b"])
        .build()
        .unwrap()
        .run(Talk)
        .unwrap();
    assert_eq!((closed.code.0, closed.clean, closed.by), (1000, true, Side::Local));
    server.join().unwrap();
}

#[test]
fn reaches_a_server_by_every_scheme_and_version() {
    struct Hello;
    impl Handler for Hello {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            ws.send("Hello").unwrap();
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
            assert_eq!(message.as_text(), Some("Hello"));
            ws.close(CloseCode::NORMAL, "").unwrap();
        }
    }
    let path = std::env::temp_dir().join(format!("loopwire-client-{}.sock", std::process::id()));
    let tls = TlsAcceptor::self_signed(&["localhost", "127.0.0.1"]).unwrap();
    let roots = TlsConnector::with_roots_pem(tls.certificate_pem().as_bytes()).unwrap();
    let (teller, _ear) = teller();
    let server = Server::builder()
        .listen("127.0.0.1:0")
        .listen(format!("unix:{}", path.display()))
        .listen_tls("127.0.0.1:0", tls)
        .build()
        .unwrap();
    let addrs = server.local_addrs().to_owned();
    let server = Running::of(server, |server| server.run(teller));
    let urls = [format!("ws://{}/", addrs[0]), format!("ws+unix:{}:/", path.display()), format!("wss://{}/", addrs[2])];
    for url in &urls {
        for version in [Version::Rfc6455, Version::Hybi10] {
            let client = Client::builder(url).tls(roots.clone()).version(version).build().unwrap();
            assert!(client.run(Hello).unwrap().clean, "{url}");
        }
    }
    // Nobody vouches for it: nothing is ever said to it.
    let client = Client::builder(&urls[2]).build().unwrap();
    assert!(matches!(client.run(Hello), Err(ClientError::Dial(DialError::Tls { .. }))));
    assert_eq!(server.handle.metrics().connections_total, 6);
}

#[test]
fn a_wrong_answer_is_no_connection() {
    type Answer = fn(&str) -> String;
    let rows: [(&str, Answer); 10] = [
        ("a wrong key", |head| answer(&head.replace("Key: ", "Key: A"), "")),
        ("no Upgrade", |head| answer(head, "").replace("Upgrade: websocket\r\n", "")),
        ("a status that is none", |_| "HTTP/1.1 1O1 Switching\r\n\r\n".into()),
        ("a protocol that was not offered", |head| answer(head, "Sec-WebSocket-Protocol: x\r\n")),
        ("an extension that was not offered", |head| answer(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n")),
        ("200", |_| "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("another language", |_| "SSH-2.0-OpenSSH_9.2\r\n".into()),
        ("nothing", |_| String::new()),
        ("a head over the limit that was set", |head| answer(head, &format!("X: {}\r\n", "a".repeat(1024)))),
        ("an endless head", |_| format!("HTTP/1.1 101 Switching Protocols\r\nX: {}", "a".repeat(100_000))),
    ];
    for (what, answer) in rows {
        let (addr, server) = scripted(move |listener| {
            let (mut raw, head) = take(listener);
            raw.send(answer(&head));
            // Nothing else is ever said.
            if what == "nothing" {
                raw.0.shutdown(std::net::Shutdown::Write).unwrap();
            }
            let mut rest = Vec::new();
            // The end may be a reset: the client leaves what it did not want unread.
            let _ = raw.0.read_to_end(&mut rest);
            assert!(rest.is_empty());
        });
        let (teller, ear) = teller();
        let mut net = NetConfig::default();
        net.head.head = 1024;
        let result = builder(addr).net(net).build().unwrap().run(teller);
        assert!(matches!(result, Err(ClientError::Dial(DialError::Handshake(_)))), "{what}: {result:?}");
        assert!(matches!(&ear.rest()[..], [Heard::DialFailed(_)]), "{what}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_breaks_a_rule_is_told_so() {
    let rows: [(&str, &[u8], u16); 4] = [
        ("masked", b"\x81\x81\0\0\0\0A", 1002),
        ("RSV1", b"\xc1\x01A", 1002),
        ("not UTF-8", b"\x81\x01\xff", 1007),
        ("too big", b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
    ];
    for (what, bytes, code) in rows {
        let (addr, server) = scripted(move |listener| {
            let (mut raw, head) = take(listener);
            // In one segment with the 101: not a byte is lost.
            raw.send([answer(&head, "").as_bytes(), b"\x81\x01a", bytes].concat());
            assert_eq!(text(&mut raw), "a", "the echo before the failure");
            let (first, payload) = frame(&mut raw);
            assert_eq!((first, &payload[..2]), (0x88, &u16::to_be_bytes(code)[..]), "{what}");
            assert_eq!(raw.all(), b"");
        });
        let (teller, ear) = teller();
        let closed = builder(addr).build().unwrap().run(teller).unwrap();
        assert_eq!((closed.code.0, closed.clean), (code, false), "{what}");
        ear.opened();
        assert_eq!([ear.next(), ear.next()], [Heard::Text("a".into()), Heard::Error(code)], "{what}");
        server.join().unwrap();
    }
}

#[test]
fn a_client_waits_for_the_server_to_end_the_stream() {
    let (addr, server) = scripted(|listener| {
        let mut raw = agree(listener);
        raw.send(b"\x88\x02\x03\xe8");
        assert_eq!(frame(&mut raw), (0x88, b"\x03\xe8".to_vec()));
        // Not a byte, and no end, before ours.
        raw.0.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(raw.0.read(&mut [0]).is_err());
    });
    let (teller, _ear) = teller();
    let closed = builder(addr).build().unwrap().run(teller).unwrap();
    assert_eq!((closed.code.0, closed.clean, closed.by), (1000, true, Side::Peer));
    server.join().unwrap();
}

#[test]
fn comes_back_and_gives_up_as_told() {
    let (addr, server) = scripted(|listener| {
        for _ in 0..3 {
            agree(listener).reset();
        }
        agree(listener).send(b"\x88\x02\x03\xe8");
    });
    let (teller, ear) = teller();
    let client = builder(addr).reconnect(at_once(10)).build().unwrap();
    let closed = client.run(teller).unwrap();
    assert_eq!(closed.code.0, 1000, "that one was meant");
    let heard = ear.rest();
    let ids: Vec<_> =
        heard.iter().filter_map(|heard| if let Heard::Open(id) = heard { Some(id) } else { None }).collect();
    assert_eq!(ids.len(), 4);
    let attempts = heard.iter().filter(|heard| matches!(heard, Heard::Reconnecting(_))).cloned();
    assert_eq!(attempts.collect::<Vec<_>>(), (1..=3).map(Heard::Reconnecting).collect::<Vec<_>>());
    server.join().unwrap();

    // Nobody is there any more.
    let (teller, ear) = support::teller();
    let result = builder(addr).reconnect(at_once(2)).build().unwrap().run(teller);
    assert!(matches!(result, Err(ClientError::Dial(DialError::Unreachable { .. }))), "{result:?}");
    let failed = |heard: &Heard| matches!(heard, Heard::DialFailed(_));
    assert_eq!(ear.rest().iter().filter(|heard| failed(heard)).count(), 3, "the first, and two more");
}

#[test]
fn a_refusal_that_is_meant_is_not_asked_again() {
    let (teller, _ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let dial = |path: &str| {
        let client = Client::builder(format!("ws://{}{path}", server.addr)).reconnect(at_once(2)).build().unwrap();
        let (teller, ear) = support::teller();
        let Err(ClientError::Dial(DialError::Handshake(HandshakeError::Refused(refusal)))) = client.run(teller) else {
            panic!("not refused")
        };
        (refusal.status, ear.rest().iter().filter(|heard| matches!(heard, Heard::DialFailed(_))).count())
    };
    assert_eq!(dial("/status/401"), (401, 1));
    assert_eq!(dial("/status/503"), (503, 3));
}

#[test]
fn what_is_kept_is_sent_again_in_order_until_it_is_acknowledged() {
    let (addr, server) = scripted(|listener| {
        let mut raw = agree(listener);
        for expected in ["hello", "keep 1", "once", "keep 2"] {
            assert_eq!(text(&mut raw), expected);
        }
        raw.send(b"\x81\x01\x31"); // acknowledges the first
        assert_eq!(text(&mut raw), "keep 3");
        raw.reset();
        let mut raw = agree(listener);
        for expected in ["hello", "keep 2", "keep 3", "while away"] {
            assert_eq!(text(&mut raw), expected, "after the first loss");
        }
        raw.reset();
        let mut raw = agree(listener);
        for expected in ["hello", "keep 2", "keep 3"] {
            assert_eq!(text(&mut raw), expected, "after the second loss");
        }
        raw.send(b"\x88\x02\x03\xe8");
        assert_eq!(frame(&mut raw).0, 0x88);
    });
    struct Keeper {
        handle: ClientHandle,
        first: ResubmitId,
        lost: u32,
    }
    impl Handler for Keeper {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            // What the handler says first comes first.
            ws.send("hello").unwrap();
        }
        fn on_message(&mut self, _: &mut WebSocket<'_>, message: Message<'_>) {
            assert_eq!(message.as_text(), Some("1"));
            assert!(self.handle.acknowledge(self.first));
            self.handle.resubmit("keep 3").unwrap();
        }
        fn on_close(&mut self, _: &mut WebSocket<'_>, _: &Closed) {
            self.lost += 1;
            assert!(!self.handle.is_connected());
            if self.lost == 1 {
                self.handle.send("while away").unwrap();
            }
        }
    }
    let client = builder(addr).reconnect(at_once(5)).build().unwrap();
    let handle = client.handle();
    // Before it runs, in the order in which the server must see it.
    let first = handle.resubmit("keep 1").unwrap();
    handle.send("once").unwrap();
    handle.resubmit("keep 2").unwrap();
    assert_eq!(handle.queued(), 3);
    let closed = client.run(Keeper { handle: handle.clone(), first, lost: 0 }).unwrap();
    assert_eq!(closed.code.0, 1000);
    assert_eq!(handle.send("too late"), Err(ClientSendError::Stopped));
    server.join().unwrap();
}

#[test]
fn the_queue_is_bounded_while_there_is_no_connection_and_while_the_server_does_not_read() {
    const CAP: usize = 100_000;
    let (start, started) = mpsc::channel::<()>();
    let (addr, server) = scripted(move |listener| {
        let mut raw = agree(listener);
        started.recv_timeout(PATIENCE).unwrap();
        // All that was taken arrives, in order, and then the Close.
        for n in 0_u32.. {
            let (first, payload) = frame(&mut raw);
            if first == 0x88 {
                assert!(n > 9, "more than fit before there was a connection");
                break;
            }
            assert_eq!((payload.len(), &payload[..4]), (10_000, &n.to_be_bytes()[..]));
        }
        raw.send(b"\x88\x02\x03\xe8");
    });
    let client = builder(addr).max_queued(CAP).build().unwrap();
    let handle = client.handle();
    let (teller, ear) = teller();
    let send = |n: u32| handle.send([&n.to_be_bytes()[..], &[7; 9_996]].concat());
    let mut n = 0;
    while send(n).is_ok() {
        n += 1;
    }
    assert_eq!((n, handle.queued()), (9, 9), "as many as fit");
    assert_eq!(handle.send(vec![7; 10_000]), Err(ClientSendError::Full(CAP)));
    assert!(ClientSendError::Full(CAP).to_string().contains("100000 bytes"));

    let result = run(client, teller);
    ear.opened();
    // Until the kernel's buffers and ours are full, and stay so over some turns of the client's loop.
    let mut refused = 0;
    while refused < 50 {
        if send(n).is_ok() {
            (n, refused) = (n + 1, 0);
        } else {
            refused += 1;
            let (sender, receiver) = mpsc::channel();
            handle.run(move |_| sender.send(()).unwrap()).unwrap();
            receiver.recv_timeout(PATIENCE).unwrap();
        }
    }
    handle.close(CloseCode::NORMAL, "").unwrap();
    start.send(()).unwrap();
    assert!(result.recv_timeout(PATIENCE).unwrap().unwrap().clean);
    server.join().unwrap();
}

#[test]
fn a_client_closes_behind_what_it_has_to_send() {
    // Told before it runs, while it dials.
    let (addr, server) = scripted(|listener| {
        let mut raw = agree(listener);
        assert_eq!([text(&mut raw), text(&mut raw)], ["one", "two"]);
        assert_eq!(frame(&mut raw), (0x88, b"\x03\xe8bye".to_vec()));
        raw.send(b"\x88\x05\x03\xe8bye");
    });
    let client = builder(addr).reconnect(at_once(5)).build().unwrap();
    let handle = client.handle();
    handle.send("one").unwrap();
    handle.send("two").unwrap();
    handle.close(CloseCode::NORMAL, "bye").unwrap();
    let (teller, _ear) = teller();
    let closed = client.run(teller).unwrap();
    assert_eq!((closed.code.0, closed.reason.as_str(), closed.clean), (1000, "bye", true));
    server.join().unwrap();
}

#[test]
fn a_client_that_waits_to_reconnect_can_be_told_to_stop() {
    struct Stops(ClientHandle, Teller);
    impl Handler for Stops {
        fn on_reconnecting(&mut self, _: &mut Connections<'_>, _: Duration, _: u32) {
            self.0.close(CloseCode::NORMAL, "").unwrap();
        }
        fn on_dial_failed(&mut self, connections: &mut Connections<'_>, id: ConnectionId, error: &DialError) {
            self.1.on_dial_failed(connections, id, error);
        }
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (teller, ear) = teller();
    let hours = Backoff::new().first(Duration::from_secs(100_000)).cap(Duration::from_secs(100_000));
    let client = builder(nobody).reconnect(ReconnectPolicy::new(hours)).build().unwrap();
    let handle = client.handle();
    let result = run(client, Stops(handle, teller));
    assert!(matches!(result.recv_timeout(PATIENCE).unwrap(), Err(ClientError::Dial(_))));
    assert!(matches!(&ear.rest()[..], [Heard::DialFailed(_)]));
}

#[test]
fn a_shutdown_closes_with_1001_whatever_the_policy_says() {
    let (addr, server) = scripted(|listener| {
        let mut raw = agree(listener);
        assert_eq!(frame(&mut raw), (0x88, b"\x03\xe9".to_vec()));
        raw.send(b"\x88\x02\x03\xe9");
    });
    let (teller, ear) = teller();
    let client = builder(addr).reconnect(at_once(5)).build().unwrap();
    let handle = client.handle();
    let result = run(client, teller);
    ear.opened();
    handle.shutdown(PATIENCE);
    let closed = result.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((closed.code.0, closed.by), (1001, Side::Local));
    server.join().unwrap();
}

#[test]
fn a_server_that_restarts_gets_its_client_back() {
    struct Restarting(u32);
    impl Handler for Restarting {
        fn on_upgrade(&mut self, _: &loopwire::UpgradeRequest, _: &loopwire::PeerAddr) -> Upgrade {
            self.0 += 1;
            // Overloaded at the second attempt.
            if self.0 == 2 { Upgrade::reject(503) } else { Upgrade::accept() }
        }
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            let code = if self.0 == 1 { CloseCode::SERVICE_RESTART } else { CloseCode::NORMAL };
            ws.close(code, "").unwrap();
        }
    }
    let server = Running::start(Server::builder(), Restarting(0));
    let (teller, ear) = teller();
    let client = builder(server.addr).reconnect(at_once(5)).build().unwrap();
    assert_eq!(client.run(teller).unwrap().code.0, 1000);
    let heard = ear.rest();
    let of = |wanted: fn(&Heard) -> bool| heard.iter().filter(|heard| wanted(heard)).count();
    assert_eq!(of(|heard| matches!(heard, Heard::Open(_))), 2);
    assert_eq!(of(|heard| matches!(heard, Heard::DialFailed(_))), 1);
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_dialled() {
    let rows: [(&str, ClientBuilder); 9] = [
        ("no address", Client::builder("localhost")),
        ("another scheme", Client::builder("http://localhost/")),
        ("a fragment", Client::builder("ws://localhost/#here")),
        ("a space", Client::builder("ws://localhost/a b")),
        ("a line's end in a field", Client::builder("ws://localhost/").header("X", "a\r\nY: b")),
        ("a field that is ours", Client::builder("ws://localhost/").header("Upgrade", "h2c")),
        ("a protocol twice", Client::builder("ws://localhost/").protocols(["a", "a"])),
        ("a line's end in the origin", Client::builder("ws://localhost/").origin("https://a\r\nX: y")),
        ("no proxy's address", Client::builder("ws://localhost/").proxy("ftp://proxy:1")),
    ];
    for (what, builder) in rows {
        let error = builder.build().map(|_| what).unwrap_err();
        assert!(matches!(error, ClientError::Uri(_) | ClientError::Handshake(_)), "{what}: {error}");
    }
}

#[test]
fn the_queue_waits_for_the_end_of_a_message_in_pieces() {
    let (addr, server) = scripted(|listener| {
        let mut raw = agree(listener);
        assert_eq!(frame(&mut raw), (0x01, b"one ".to_vec()));
        raw.send(b"\x81\x02go");
        assert_eq!(frame(&mut raw), (0x80, b"two".to_vec()));
        assert_eq!(text(&mut raw), "queued");
        raw.send(b"\x88\x02\x03\xe8");
        assert_eq!(frame(&mut raw).0, 0x88);
    });
    struct Pieces;
    impl Handler for Pieces {
        fn on_open(&mut self, ws: &mut WebSocket<'_>) {
            ws.send_piece(MessageKind::Text, b"one ", false).unwrap();
        }
        fn on_message(&mut self, ws: &mut WebSocket<'_>, _: Message<'_>) {
            ws.send_piece(MessageKind::Text, b"two", true).unwrap();
        }
    }
    let client = builder(addr).build().unwrap();
    client.handle().send("queued").unwrap();
    assert!(client.run(Pieces).unwrap().clean);
    server.join().unwrap();
}

#[test]
fn a_handler_that_panics_does_not_stop_its_client_from_coming_back() {
    let (addr, server) = scripted(|listener| {
        agree(listener).reset();
        drop(listener.accept().unwrap());
        let mut raw = agree(listener);
        raw.send(b"\x88\x02\x03\xe8");
        assert_eq!(frame(&mut raw).0, 0x88);
    });
    struct Panics;
    impl Handler for Panics {
        fn on_close(&mut self, _: &mut WebSocket<'_>, _: &Closed) {
            panic!("at the end");
        }
        fn on_dial_failed(&mut self, _: &mut Connections<'_>, _: ConnectionId, _: &DialError) {
            panic!("at a failure");
        }
        fn on_reconnecting(&mut self, _: &mut Connections<'_>, _: Duration, _: u32) {
            panic!("before an attempt");
        }
    }
    let closed = builder(addr).reconnect(at_once(5)).build().unwrap().run(Panics).unwrap();
    assert_eq!(closed.code.0, 1000);
    server.join().unwrap();
}

#[test]
fn a_server_that_talks_but_never_reads_does_not_keep_a_client_that_closes() {
    let (addr, server) = scripted(|listener| {
        // Little room, so that it is soon full.
        socket2::SockRef::from(listener).set_recv_buffer_size(4096).unwrap();
        let mut raw = agree(listener);
        // Until the client is gone.
        while std::io::Write::write_all(&mut raw.0, b"\x81\x02hi").is_ok() {}
    });
    let mut config = Config::default();
    config.ping_interval = Some(Duration::from_millis(100));
    config.pong_timeout = Duration::from_millis(100);
    // Should all of it leave after all.
    config.close_timeout = Duration::from_millis(100);
    let client = builder(addr).config(config).build().unwrap();
    let handle = client.handle();
    struct Deaf;
    impl Handler for Deaf {}
    let ended = run(client, Deaf);
    let message = "x".repeat(100_000);
    // As much as the client and both systems' buffers hold.
    let end = std::time::Instant::now() + PATIENCE;
    while handle.send(message.clone()) != Err(ClientSendError::Full(1 << 20)) || handle.metrics().backpressure == 0 {
        assert!(std::time::Instant::now() < end);
        thread::yield_now();
    }
    handle.close(CloseCode::NORMAL, "").unwrap();
    let closed = ended.recv_timeout(PATIENCE).expect("it ends").unwrap();
    assert_eq!((closed.code, closed.clean), (CloseCode::ABNORMAL, false));
    server.join().unwrap();
}

#[test]
fn closing_twice_is_closing() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let client = builder(server.addr).build().unwrap();
    let handle = client.handle();
    struct Quiet;
    impl Handler for Quiet {}
    let ended = run(client, Quiet);
    ear.opened();
    // Both find the connection open.
    let twice = handle.clone();
    handle
        .run(move |_| {
            twice.close(CloseCode::NORMAL, "").unwrap();
            twice.close(CloseCode::NORMAL, "").unwrap();
        })
        .unwrap();
    let closed = ended.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!((closed.code, closed.clean), (CloseCode::NORMAL, true));
}
