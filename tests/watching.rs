//! The wire hook: what a watched connection shows is what passed, each byte once, in order, and before what it means.

mod support;

#[path = "common/certificates.rs"]
mod certificates;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use certificates::Authority;
use loopwire::explain::{Conversation, Seen};
use loopwire::{
    Closed, ConnectionId, Connections, Handler, Message, PeerAddr, Role, Server, Side, Upgrade, UpgradeRequest,
    WebSocket,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use support::{PATIENCE, Raw, Running, close_code, request};

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Open,
    Wire(Side, Vec<u8>),
    Message(usize),
    Close,
}

/// Echoes, and tells what it is shown. Connections at `/watched` and below are watched.
struct Glass(Sender<Told>);

impl Glass {
    fn tell(&self, told: Told) {
        // A test that has seen enough is gone.
        let _ = self.0.send(told);
    }
}

impl Handler for Glass {
    fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
        match request.path() {
            "/watched" => Upgrade::accept().watch(),
            "/refused" => Upgrade::reject(403).watch(),
            _ => Upgrade::accept(),
        }
    }

    fn on_open(&mut self, _: &mut WebSocket<'_>) {
        self.tell(Told::Open);
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        self.tell(Told::Message(message.payload().len()));
        let _ = ws.send(message);
    }

    fn on_wire(&mut self, _: &mut Connections<'_>, _: ConnectionId, by: Side, bytes: &[u8]) {
        assert!(!bytes.windows(6).any(|part| part == b"!panic"), "an order to panic");
        self.tell(Told::Wire(by, bytes.to_vec()));
    }

    fn on_close(&mut self, _: &mut WebSocket<'_>, _: &Closed) {
        self.tell(Told::Close);
    }
}

fn glass() -> (Glass, Receiver<Told>) {
    let (sender, receiver) = mpsc::channel();
    (Glass(sender), receiver)
}

fn until_closed(told: &Receiver<Told>) -> Vec<Told> {
    let mut all = Vec::new();
    loop {
        all.push(told.recv_timeout(PATIENCE).unwrap());
        if all.last() == Some(&Told::Close) {
            return all;
        }
    }
}

/// What was shown of one side, put together.
fn of(told: &[Told], side: Side) -> Vec<u8> {
    let pieces = told.iter().filter_map(|told| match told {
        Told::Wire(by, bytes) if *by == side => Some(&bytes[..]),
        _ => None,
    });
    pieces.flatten().copied().collect()
}

/// A masked frame whose mask is seen in its payload.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = support::masked(first, payload);
    let start = frame.len() - payload.len();
    let key = [0x37, 0xfa, 0x21, 0x3d];
    frame[start - 4..start].copy_from_slice(&key);
    frame[start..].iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    frame
}

#[test]
fn every_byte_is_shown_as_it_passed_however_it_was_cut() {
    let big = vec![b'x'; 300_000];
    let said = [
        request("/watched").into_bytes(),
        masked(0x81, b"Hello"),
        masked(0x89, b"ping"),
        masked(0x82, &big),
        masked(0x01, b"two "),
        masked(0x80, b"frames"),
        masked(0x88, b"\x03\xe8"),
    ]
    .concat();
    let (glass, told) = glass();
    let server = Running::start(Server::builder(), glass);
    for first in [said.len(), 1, 100, 150, 170, 200] {
        let mut raw = server.raw();
        let (head, rest) = said.split_at(first);
        for piece in head.chunks(if first < 200 { 1 } else { head.len() }).chain([rest]) {
            raw.send(piece);
        }
        let answered = raw.all();
        let told = until_closed(&told);
        assert!(of(&told, Side::Peer) == said, "{first}: what was received is shown, masks and all");
        assert!(of(&told, Side::Local) == answered, "{first}: what was sent is shown");
        let messages: Vec<_> = told.iter().filter(|told| matches!(told, Told::Message(_))).collect();
        assert_eq!(messages, [&Told::Message(5), &Told::Message(big.len()), &Told::Message(10)]);
    }
}

#[test]
fn bytes_come_before_what_they_mean() {
    let (glass, told) = glass();
    let server = Running::start(Server::builder(), glass);
    let mut raw = server.raw();
    let head = request("/watched");
    raw.send([head.as_bytes(), &masked(0x81, b"Hello")].concat());
    let mut answer = raw.head().into_bytes();
    raw.expect(b"\x81\x05Hello");
    raw.send(masked(0x88, b"\x03\xe8"));
    raw.expect(b"\x88\x02\x03\xe8");
    answer.extend_from_slice(b"\x81\x05Hello");
    let expected = [
        Told::Open,
        Told::Wire(Side::Peer, head.into_bytes()),
        Told::Wire(Side::Peer, masked(0x81, b"Hello")),
        Told::Message(5),
        Told::Wire(Side::Local, answer),
        Told::Wire(Side::Peer, masked(0x88, b"\x03\xe8")),
        Told::Wire(Side::Local, b"\x88\x02\x03\xe8".to_vec()),
        Told::Close,
    ];
    assert_eq!(until_closed(&told), expected);
}

#[test]
fn nothing_is_shown_of_others() {
    let (glass, told) = glass();
    let server = Running::start(Server::builder(), glass);
    let _watched = server.raw().upgrade("/watched");
    server.ask(|_| ());
    for _ in 0..3 {
        // Its opening, and both heads.
        told.recv_timeout(PATIENCE).unwrap();
    }
    let mut raw = server.raw();
    raw.send(request("/refused"));
    assert!(raw.head().contains("403"));
    let mut raw = server.raw().upgrade("/");
    raw.send(masked(0x81, b"unseen"));
    raw.expect(b"\x81\x06unseen");
    raw.send(masked(0x88, b""));
    assert_eq!(until_closed(&told), [Told::Open, Told::Message(6), Told::Close]);
}

#[test]
fn a_panic_on_being_shown_ends_that_connection_alone() {
    let (glass, _told) = glass();
    let server = Running::start(Server::builder(), glass);
    let mut other = server.raw().upgrade("/watched");
    let mut raw = server.raw().upgrade("/watched");
    // Its mask is of zeros, so the word is seen.
    raw.send(support::masked(0x81, b"!panic"));
    assert_eq!(close_code(&raw.all_after_echo(b"\x81\x06!panic")), Some(1011));
    other.send(masked(0x81, b"still here"));
    other.expect(b"\x81\x0astill here");
}

trait AfterEcho {
    fn all_after_echo(&mut self, echo: &[u8]) -> Vec<u8>;
}

impl AfterEcho for Raw {
    /// What came, without the echo that may have left before the Close.
    fn all_after_echo(&mut self, echo: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        self.0.read_exact(&mut bytes).unwrap();
        if bytes[0] == echo[0] {
            bytes = vec![0; echo.len()];
            self.0.read_exact(&mut bytes).unwrap();
        }
        bytes
    }
}

#[test]
fn tls_is_taken_off_and_the_conversation_can_be_read() {
    let authority = Authority::new();
    let (glass, told) = glass();
    let server = Server::builder().listen_tls("127.0.0.1:0", authority.issue(&["localhost"]).acceptor());
    let server = Running::of(server.build().unwrap(), move |server| server.run(glass));
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(server.addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(authority.rustls(&[]), name).unwrap(), socket);
    let (request, frames) = (request("/watched"), [masked(0x81, b"Hello"), masked(0x88, b"\x03\xe8")].concat());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answered = Vec::new();
    while !answered.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answered.push(byte[0]);
    }
    stream.write_all(&frames).unwrap();
    stream.read_to_end(&mut answered).unwrap();
    drop(stream);

    let told = until_closed(&told);
    assert_eq!(of(&told, Side::Peer), [request.as_bytes(), &frames].concat());
    assert_eq!(of(&told, Side::Local), answered);
    let mut conversation = Conversation::new(Instant::now());
    let mut frames = Vec::new();
    for told in &told {
        let Told::Wire(by, bytes) = told else { continue };
        let from = if *by == Side::Peer { Role::Client } else { Role::Server };
        conversation.push(from, bytes, &mut |seen| match seen {
            Seen::Frame { frame, .. } => frames.push(frame.unmasked()),
            Seen::Violation(violation) => panic!("{violation:?}"),
            _ => {}
        });
    }
    // Both came in one record, and both answers left together.
    assert_eq!(frames, [&b"Hello"[..], b"\x03\xe8", b"Hello", b"\x03\xe8"]);
}
