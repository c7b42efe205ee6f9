//! The same conversations with another implementation at the other end: tungstenite as client and as server, over
//! streams in memory, with random messages cut at random.

mod common;

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use common::{End, Seen};
use loopwire::protocol::{Config, Role};
use loopwire::wire::{CloseCode, MessageKind};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Error, Message, WebSocket};

/// What tungstenite reads from and writes to.
#[derive(Default)]
struct Memory {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            result => result,
        }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// xorshift64: small, seeded, good enough to choose test cases.
struct Dice(u64);

impl Dice {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    /// Mostly short, at times around the edges of the length's three forms.
    fn len(&mut self) -> usize {
        match self.below(8) {
            0 => 124 + self.below(4),
            1 => 65_533 + self.below(5),
            _ => self.below(300),
        }
    }

    fn text(&mut self) -> String {
        (0..self.len()).map(|_| ['a', 'é', '消', '😀'][self.below(4)]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.len()).map(|_| self.below(256) as u8).collect()
    }
}

/// Us, and the other.
struct Both {
    ours: End,
    other: WebSocket<Memory>,
}

impl Both {
    fn new(role: Role, config: &Config) -> Self {
        let role_of_other = match role {
            Role::Client => tungstenite::protocol::Role::Server,
            Role::Server => tungstenite::protocol::Role::Client,
        };
        Self {
            ours: End::new(role, config, None),
            other: WebSocket::from_raw_socket(Memory::default(), role_of_other, None),
        }
    }

    /// Delivers what both have written; ours is cut at random. Gives what the other saw.
    fn exchange(&mut self, dice: &mut Dice) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let _ = self.other.flush();
            let to_us = std::mem::take(&mut self.other.get_mut().outgoing);
            let mut rest = &to_us[..];
            while !rest.is_empty() {
                let limit = if dice.below(2) == 0 { 20 } else { 100_000 };
                let (chunk, after) = rest.split_at(rest.len().min(1 + dice.below(limit)));
                self.ours.feed(chunk);
                rest = after;
            }
            let to_other = self.ours.take_out();
            if to_us.is_empty() && to_other.is_empty() {
                return seen;
            }
            self.other.get_mut().incoming.extend(to_other);
            loop {
                match self.other.read() {
                    Ok(message) => seen.push(as_seen(message)),
                    Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(Error::ConnectionClosed | Error::AlreadyClosed) => break,
                    Err(error) => panic!("tungstenite refuses what we send: {error}"),
                }
            }
        }
    }
}

fn as_seen(message: Message) -> Seen {
    match message {
        Message::Text(text) => Seen::Text(text.to_string()),
        Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
        Message::Ping(payload) => Seen::Ping(payload.to_vec()),
        Message::Pong(payload) => Seen::Pong(payload.to_vec()),
        Message::Close(frame) => frame
            .map_or(Seen::Close(1005, String::new()), |frame| Seen::Close(frame.code.into(), frame.reason.to_string())),
        Message::Frame(frame) => panic!("a raw frame: {frame}"),
    }
}

#[test]
fn what_the_other_sends_arrives_here() {
    for role in [Role::Server, Role::Client] {
        for seed in 1..=40 {
            let mut dice = Dice::seeded(seed);
            let mut both = Both::new(role, &Config::default());
            let mut expected = Vec::new();
            for _ in 0..20 {
                match dice.below(4) {
                    0 => {
                        let text = dice.text();
                        both.other.send(Message::text(&text)).unwrap();
                        expected.push(Seen::Text(text));
                    }
                    1 => {
                        let bytes = dice.bytes();
                        both.other.send(Message::binary(bytes.clone())).unwrap();
                        expected.push(Seen::Binary(bytes));
                    }
                    2 => {
                        // A text in fragments, cut between its bytes, with a ping in the middle.
                        let text = dice.text();
                        let mut opcode = OpCode::Data(Data::Text);
                        for chunk in text.as_bytes().chunks(1 + dice.below(text.len() + 1)) {
                            both.other.send(Message::Frame(Frame::message(chunk.to_vec(), opcode, false))).unwrap();
                            opcode = OpCode::Data(Data::Continue);
                        }
                        both.other.send(Message::Ping(b"between"[..].into())).unwrap();
                        both.other.send(Message::Frame(Frame::message(Vec::new(), opcode, true))).unwrap();
                        expected.extend([Seen::Ping(b"between".to_vec()), Seen::Text(text)]);
                    }
                    _ => {
                        let payload = vec![7; dice.below(126)];
                        both.other.send(Message::Ping(payload.clone().into())).unwrap();
                        expected.push(Seen::Ping(payload));
                    }
                }
            }
            both.exchange(&mut dice);
            assert_eq!(both.ours.seen, expected, "{role:?}, seed {seed}");

            both.other.close(Some(CloseFrame { code: 4001.into(), reason: "enough".into() })).unwrap();
            assert_eq!(both.exchange(&mut dice), [Seen::Close(4001, String::new())]);
            assert_eq!(both.ours.seen.last(), Some(&Seen::Close(4001, "enough".into())));
            assert!(both.ours.connection.closed().clean);
        }
    }
}

#[test]
fn what_we_send_arrives_there() {
    for role in [Role::Server, Role::Client] {
        for seed in 1..=40 {
            let mut dice = Dice::seeded(seed);
            let mut config = Config::default();
            config.fragment_size = (seed % 2 == 0).then(|| 1 + dice.below(2000));
            let mut both = Both::new(role, &config);
            let mut expected = Vec::new();
            for _ in 0..20 {
                let End { connection, out, now, .. } = &mut both.ours;
                match dice.below(4) {
                    0 => {
                        let text = dice.text();
                        connection.send(&text, out).unwrap();
                        expected.push(Seen::Text(text));
                    }
                    1 => {
                        let bytes = dice.bytes();
                        connection.send(&bytes, out).unwrap();
                        expected.push(Seen::Binary(bytes));
                    }
                    2 => {
                        let bytes = dice.bytes();
                        for chunk in bytes.chunks(1 + dice.below(bytes.len() + 1)) {
                            connection.send_piece(MessageKind::Binary, chunk, false, out).unwrap();
                        }
                        connection.ping(b"between", out, *now).unwrap();
                        connection.send_piece(MessageKind::Binary, b"", true, out).unwrap();
                        expected.extend([Seen::Ping(b"between".to_vec()), Seen::Binary(bytes)]);
                    }
                    _ => {
                        let payload = vec![7; dice.below(126)];
                        connection.pong(&payload, out).unwrap();
                        expected.push(Seen::Pong(payload));
                    }
                }
            }
            let seen = both.exchange(&mut dice);
            assert_eq!(seen, expected, "{role:?}, seed {seed}");

            let End { connection, out, now, .. } = &mut both.ours;
            connection.close(CloseCode(4001), "enough", out, *now).unwrap();
            assert_eq!(both.exchange(&mut dice), [Seen::Close(4001, "enough".into())]);
            assert!(both.ours.connection.closed().clean);
        }
    }
}
