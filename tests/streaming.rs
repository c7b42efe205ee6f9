//! One message far larger than any buffer, in pieces from end to end: what is sent waits for the receiver, and what is
//! received is never collected.

mod support;

use std::sync::mpsc::{self, Receiver, Sender};

use loopwire::{
    Client, CloseCode, Config, Delivery, Handler, Message, MessageKind, NetConfig, Piece, Sent, Server, WebSocket,
};
use support::{PATIENCE, Running, masked, request};

const PIECE: usize = 16 << 10;
const HIGH_WATER: usize = 64 << 10;

/// The piece with this number; no two are alike, so that none can be lost or change places unseen.
fn piece(number: usize) -> Vec<u8> {
    (0..PIECE).map(|at| (at * 31 / 8 + number * 7) as u8).collect()
}

/// Sends one message of so many pieces, as fast as it is taken.
struct Source {
    pieces: usize,
    next: usize,
    /// Told of each pause, and at the end: the most that ever waited.
    told: Sender<usize>,
    most: usize,
}

fn source(pieces: usize) -> (Source, Receiver<usize>) {
    let (told, heard) = mpsc::channel();
    (Source { pieces, next: 0, told, most: 0 }, heard)
}

impl Source {
    fn go_on(&mut self, ws: &mut WebSocket<'_>) {
        while self.next < self.pieces {
            let last = self.next + 1 == self.pieces;
            let sent = ws.send_piece(MessageKind::Binary, &piece(self.next), last).unwrap();
            assert_ne!(sent, Sent::Dropped, "it paused in time");
            self.next += 1;
            self.most = self.most.max(ws.buffered_amount());
            if last || sent == Sent::Backpressure {
                // A test that has heard enough is gone.
                let _ = self.told.send(self.most);
                return;
            }
        }
    }
}

impl Handler for Source {
    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        self.go_on(ws);
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, _: Message<'_>) {
        assert_eq!(ws.send("an answer").is_err(), self.next < self.pieces, "messages do not mix");
    }

    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        self.go_on(ws);
    }
}

/// Takes one message of so many pieces, however they are cut on the way, and closes.
struct Sink {
    pieces: usize,
    received: usize,
    /// The piece that is arriving.
    expected: Vec<u8>,
    /// Told of the longest part at the end.
    told: Sender<usize>,
    longest: usize,
}

fn sink(pieces: usize) -> (Sink, Receiver<usize>) {
    let (told, heard) = mpsc::channel();
    (Sink { pieces, received: 0, expected: piece(0), told, longest: 0 }, heard)
}

impl Handler for Sink {
    fn on_message(&mut self, _: &mut WebSocket<'_>, _: Message<'_>) {
        panic!("a whole message");
    }

    fn on_piece(&mut self, ws: &mut WebSocket<'_>, part: Piece<'_>) {
        assert_eq!((part.kind, part.first), (MessageKind::Binary, self.received == 0));
        self.longest = self.longest.max(part.data.len());
        let mut data = part.data;
        while !data.is_empty() {
            let at = self.received % PIECE;
            let len = data.len().min(PIECE - at);
            assert!(data[..len] == self.expected[at..at + len], "at byte {}", self.received);
            self.received += len;
            data = &data[len..];
            if self.received.is_multiple_of(PIECE) {
                self.expected = piece(self.received / PIECE);
            }
        }
        assert_eq!(part.last, self.received == self.pieces * PIECE);
        if part.last {
            self.told.send(self.longest).unwrap();
            ws.close(CloseCode::NORMAL, "").unwrap();
        }
    }
}

fn net() -> NetConfig {
    let mut net = NetConfig::default();
    net.high_water_mark = HIGH_WATER;
    // Whoever goes on when told to stop loses the connection.
    net.max_buffered = HIGH_WATER + PIECE;
    net
}

fn in_pieces() -> Config {
    let mut config = Config::default();
    config.delivery = Delivery::Pieces;
    config
}

#[test]
fn a_message_in_pieces_waits_for_a_receiver_that_does_not_read() {
    // More than the kernel's buffers take.
    const PIECES: usize = 1000;
    let (source, heard) = source(PIECES);
    let server = Running::start(Server::builder().net(net()), source);
    let mut raw = server.raw();
    raw.send([request("/").as_bytes(), &masked(0x81, b"a question")].concat());
    assert!(raw.head().starts_with("HTTP/1.1 101 "));

    heard.recv_timeout(PATIENCE).expect("it pauses");
    // Nothing is read, so in the end there is no more room, nor will there be.
    server.wait_until("it waits", |server| {
        server.ask(|connections| {
            let id = connections.ids().next().unwrap();
            connections.get(id).unwrap().buffered_amount() > HIGH_WATER / 2
        })
    });
    for number in 0..PIECES {
        let first = (u8::from(number == 0) * 0x02) | (u8::from(number + 1 == PIECES) * 0x80);
        raw.expect(&[first, 126, (PIECE >> 8) as u8, PIECE as u8]);
        raw.expect(&piece(number));
    }
    drop((raw, server));
    let most = heard.iter().last().unwrap();
    assert!((HIGH_WATER..HIGH_WATER + PIECE + 4).contains(&most), "{most} bytes waited");
}

#[test]
fn both_roles_send_and_receive_a_message_in_pieces_compressed_and_not() {
    const PIECES: usize = 200;
    for deflate in [true, false] {
        let (sending, _paused) = source(PIECES);
        let (receiving, done) = sink(PIECES);
        talk(sending, receiving, deflate);
        assert!(done.recv().unwrap() <= NetConfig::default().receive_buffer, "collected");

        let (sending, _paused) = source(PIECES);
        let (receiving, done) = sink(PIECES);
        talk(receiving, sending, deflate);
        assert!(done.recv().unwrap() <= NetConfig::default().receive_buffer, "collected");
    }
}

/// Runs a client until its connection is closed.
fn talk(of_server: impl Handler + Send + 'static, of_client: impl Handler + 'static, deflate: bool) {
    let server = Server::builder().net(net()).config(in_pieces());
    let server = Running::start(if deflate { server } else { server.no_deflate() }, of_server);
    let client = Client::builder(format!("ws://{}/", server.addr)).net(net()).config(in_pieces());
    let client = if deflate { client } else { client.no_deflate() };
    let closed = client.build().unwrap().run(of_client).unwrap();
    assert_eq!((closed.code, closed.clean), (CloseCode::NORMAL, true));
}
