//! What the integration tests share: frames by hand, events one can keep, and two connections joined.

// Each test crate uses its own part of this, and no one else any.
#![allow(dead_code, missing_debug_implementations, missing_docs, unreachable_pub)]

pub mod pair;

use std::sync::Arc;
use std::time::Instant;

use loopwire::deflate::DeflateParams;
use loopwire::protocol::{Config, Connection, Event, Input, Role, Scratch};
use loopwire::wire::{FrameHeader, MaskingKey, Message, MessageKind, Opcode, ProtocolError, apply_mask};

/// The masking key of every frame made by hand here: the RFC's own [RFC 6455 §5.7].
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event that has outlived its buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Piece { kind: MessageKind, data: Vec<u8>, first: bool, last: bool },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Error(ProtocolError),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(Message::Text(text)) => Self::Text(text.to_owned()),
            Event::Message(Message::Binary(bytes)) => Self::Binary(bytes.to_vec()),
            Event::Piece(piece) => {
                Self::Piece { kind: piece.kind, data: piece.data.to_vec(), first: piece.first, last: piece.last }
            }
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong { payload, .. } => Self::Pong(payload.to_vec()),
            Event::Close(frame) => Self::Close(frame.code.0, frame.reason.to_owned()),
            Event::Error(error) => Self::Error(error),
            other => panic!("an event that the tests do not know: {other:?}"),
        }
    }
}

pub fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

pub fn binary(bytes: &[u8]) -> Seen {
    Seen::Binary(bytes.to_vec())
}

/// A frame with `first` as its first byte, the length in its shortest form, unmasked: as a server sends.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, None, payload)
}

/// The same masked with [`KEY`]: as a client sends.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    framed(first, Some(MaskingKey(KEY)), payload)
}

fn framed(first: u8, masking_key: Option<MaskingKey>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader { masking_key, ..FrameHeader::new(Opcode::Binary, payload.len() as u64) }.encode(&mut bytes);
    bytes[0] = first;
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    if let Some(key) = masking_key {
        apply_mask(&mut bytes[start..], key);
    }
    bytes
}

/// One end alone, fed by hand.
pub struct End {
    pub connection: Connection,
    pub scratch: Scratch,
    /// What it wrote.
    pub out: Vec<u8>,
    /// What it reported.
    pub seen: Vec<Seen>,
    pub now: Instant,
}

impl End {
    pub fn new(role: Role, config: &Config, deflate: Option<DeflateParams>) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::new(role, Arc::new(config.clone()), deflate, now),
            scratch: Scratch::new(),
            out: Vec::new(),
            seen: Vec::new(),
            now,
        }
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        while let Some(event) = self.connection.receive(&mut input, &mut self.scratch, &mut self.out, self.now) {
            self.seen.push(event.into());
        }
        assert!(input.is_empty(), "input left over");
    }

    /// Takes what was written so far.
    pub fn take_out(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// The ways to cut `len` bytes: not at all, everywhere, and in two at each point. Each is a list of ends of chunks.
pub fn chunkings(len: usize) -> impl Iterator<Item = Vec<usize>> {
    let whole = std::iter::once(vec![len]);
    let single = std::iter::once((1..=len).collect());
    // Long inputs are cut in two near their ends, where the headers are, and here and there between.
    let splits = (1..len).filter(move |&at| len <= 600 || at < 40 || at + 40 > len || at % 997 == 0);
    whole.chain(single).chain(splits.map(move |at| vec![at, len]))
}

/// Feeds `bytes` to a new connection in every chunking and gives what was seen and written, having asserted that it is
/// the same for all.
pub fn at_every_chunking(
    role: Role,
    config: &Config,
    deflate: Option<DeflateParams>,
    bytes: &[u8],
    name: &str,
) -> (Vec<Seen>, Vec<u8>) {
    let mut expected: Option<(Vec<Seen>, Vec<u8>)> = None;
    for cuts in chunkings(bytes.len()) {
        let mut end = End::new(role, config, deflate);
        let mut from = 0;
        for &to in &cuts {
            end.feed(&bytes[from..to]);
            from = to;
        }
        let result = (end.seen, if role == Role::Server { end.out } else { unmasked(&end.out) });
        match &expected {
            None => expected = Some(result),
            Some(expected) => {
                assert_eq!(&result, expected, "{name}: chunks ending at {:?}", &cuts[..cuts.len().min(3)]);
            }
        }
    }
    expected.unwrap_or_default()
}

/// The frames in `bytes`, which a client wrote, with their masks taken off: for comparing what is otherwise random.
pub fn unmasked(mut bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let Some((mut header, header_len)) = FrameHeader::decode(bytes).expect("a client writes valid frames") {
        let (payload, rest) = bytes[header_len..].split_at(header.payload_len as usize);
        let key = header.masking_key.take().expect("a client masks");
        header.encode(&mut plain);
        let start = plain.len();
        plain.extend_from_slice(payload);
        apply_mask(&mut plain[start..], key);
        bytes = rest;
    }
    assert!(bytes.is_empty(), "a client writes whole frames");
    plain
}
