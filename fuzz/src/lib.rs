//! What the targets share: bytes as a source of decisions, and a connection's events in a form that can be compared.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use loopwire::protocol::{Config, Connection, Event, Input, Scratch};
use loopwire::wire::{MessageKind, ProtocolError};

/// Decisions taken from the fuzzer's bytes; zeros once they are used up.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end.max(1)
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Cuts `bytes` into pieces whose lengths are the bytes of `cuts`, over and over; a zero stands for an empty piece.
/// Without a length above zero the pieces are single bytes.
pub fn chopped<'b>(bytes: &'b [u8], cuts: &[u8]) -> Vec<&'b [u8]> {
    let mut lengths = cuts.iter().copied().map(usize::from).cycle();
    let has_progress = cuts.iter().any(|&length| length > 0);
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = if has_progress { lengths.next().unwrap_or(1) } else { 1 };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// An event, owned. A message in pieces becomes one when its last piece has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    Error(ProtocolError),
}

/// A connection, and all that it said and wrote.
#[derive(Debug)]
pub struct Recorder {
    pub connection: Connection,
    pub said: Vec<Said>,
    pub out: Vec<u8>,
    scratch: Scratch,
    pieces: Vec<u8>,
}

impl Recorder {
    pub fn new(connection: Connection) -> Self {
        Self { connection, said: Vec::new(), out: Vec::new(), scratch: Scratch::new(), pieces: Vec::new() }
    }

    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        // A heap copy of exactly this length, so that the address sanitizer sees any read beyond it.
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        loop {
            let event = self.connection.receive(&mut input, &mut self.scratch, &mut self.out, now);
            let said = match event {
                None => break,
                Some(Event::Message(message)) => Said::Message(message.kind(), message.payload().to_vec()),
                Some(Event::Piece(piece)) => {
                    if piece.first {
                        self.pieces.clear();
                    }
                    self.pieces.extend_from_slice(piece.data);
                    if !piece.last {
                        continue;
                    }
                    Said::Message(piece.kind, mem::take(&mut self.pieces))
                }
                Some(Event::Ping(payload)) => Said::Ping(payload.to_vec()),
                Some(Event::Pong { payload, .. }) => Said::Pong(payload.to_vec()),
                Some(Event::Close(frame)) => Said::Close(frame.code.0, frame.reason.to_owned()),
                Some(Event::Error(error)) => Said::Error(error),
                Some(event) => unreachable!("an event this file does not know: {event:?}"),
            };
            if let Said::Message(MessageKind::Text, payload) = &said {
                assert!(std::str::from_utf8(payload).is_ok(), "a text message that is not UTF-8");
            }
            self.said.push(said);
        }
        assert!(input.is_empty(), "input left over");
    }
}

/// A configuration with a small message limit, so that inputs of a few bytes reach it.
pub fn small_config(max_message: usize) -> Arc<Config> {
    let mut config = Config::default();
    config.max_message = max_message;
    config.max_fragments = 64;
    Arc::new(config)
}
