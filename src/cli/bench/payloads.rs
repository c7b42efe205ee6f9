//! What is sent and what must come back: a fixed set of messages in rotation, masked and encoded once beforehand.
//!
//! Frames lie one behind the other, so that any run of them is one slice: several messages in flight leave by one write,
//! and a run of small replies is judged by one comparison.

use std::ops::Range;

use loopwire::deflate::{Compressor, DeflateConfig};
use loopwire::wire::{FrameHeader, MaskingKey, MessageKind, apply_mask};

/// Messages up to this many bytes are compared whole.
pub(super) const COMPARED_WHOLE: usize = 4096;

/// Different messages at most, and at least.
const MAX_DIFFERENT: usize = 64;
const MIN_DIFFERENT: usize = 2;
/// Bytes that messages to be compressed have together at least: more than the largest window, or a peer that keeps its
/// window would find each message whole in it and answer with a few bytes.
const BEYOND_WINDOW: usize = 96 << 10;
/// Bytes that the different messages have together, so that they stay in the processor's cache; two may be larger.
const MAX_BYTES: usize = 256 << 10;
/// Bytes that one run of messages has at most, unless it is a single one.
const MAX_RUN: usize = 256 << 10;

/// What the messages look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Letters and digits, as text.
    Text,
    /// Any bytes.
    Binary,
    /// Text that compresses as JSON does.
    Json,
    /// This text, each time.
    Given(&'a str),
}

impl Content<'_> {
    pub(super) fn kind(self) -> MessageKind {
        match self {
            Self::Text | Self::Json | Self::Given(_) => MessageKind::Text,
            Self::Binary => MessageKind::Binary,
        }
    }
}

/// The messages.
#[derive(Debug)]
pub(super) struct Payloads {
    pub(super) kind: MessageKind,
    /// The length of each, in bytes.
    pub(super) size: usize,
    plain: Vec<u8>,
    different: usize,
    /// Masked frames, as a client sends them. The first ones stand again behind the last, for runs across the end.
    frames: Vec<u8>,
    starts: Vec<usize>,
    /// The same in frames as a server sends them, one to a message and uncompressed; of large messages none.
    replies: Vec<u8>,
    reply_len: usize,
}

impl Payloads {
    /// Messages of `size` bytes, unless the text is given. Up to `run` of them are sent at once, compressed for a window of
    /// that many bits.
    pub(super) fn new(content: Content<'_>, size: usize, run: usize, window_bits: Option<u8>) -> Self {
        let size = if let Content::Given(text) = content { text.len() } else { size };
        let most =
            if content == Content::Json { MAX_DIFFERENT.max(BEYOND_WINDOW / size.max(1)) } else { MAX_DIFFERENT };
        let different = (MAX_BYTES / size.max(1)).clamp(MIN_DIFFERENT, most);
        let run = run.min(MAX_RUN / size.max(1)).max(1);
        let kind = content.kind();
        let mut random = Random::new();
        let mut plain = Vec::with_capacity(different * size);
        for number in 0..different {
            fill(content, number, size, &mut random, &mut plain);
        }
        let mut payloads = Self {
            kind,
            size,
            plain,
            different,
            frames: Vec::new(),
            starts: vec![0],
            replies: Vec::new(),
            reply_len: 0,
        };
        // Each compressed for itself, which any peer can inflate whatever was agreed about takeover.
        let mut compressor = window_bits.map(|bits| Compressor::new(bits, false, &DeflateConfig::default()));
        for index in 0..different + run - 1 {
            payloads.push(index % different, compressor.as_mut());
        }
        payloads.reply_len = payloads.replies.len() / (different + run - 1);
        payloads
    }

    fn push(&mut self, index: usize, compressor: Option<&mut Compressor>) {
        let opcode = self.kind.opcode();
        let plain = self.plain(index).to_vec();
        if plain.len() <= COMPARED_WHOLE {
            FrameHeader::new(opcode, plain.len() as u64).encode(&mut self.replies);
            self.replies.extend_from_slice(&plain);
        }

        let rsv1 = compressor.is_some();
        let mut payload = Vec::new();
        match compressor {
            Some(compressor) => compressor.compress(&plain, true, &mut payload),
            None => payload = plain,
        }
        frame(FrameHeader { rsv1, ..FrameHeader::new(opcode, 0) }, &payload, &mut self.frames);
        self.starts.push(self.frames.len());
    }

    /// The message at `index`, as it is before compression and masking.
    pub(super) fn plain(&self, index: usize) -> &[u8] {
        &self.plain[index * self.size..][..self.size]
    }

    /// Where in [`frames`](Self::frames) up to `wanted` messages from `index` on lie, and how many they are.
    pub(super) fn run(&self, index: usize, wanted: usize) -> (Range<usize>, usize) {
        let count = wanted.min(self.starts.len() - 1 - index);
        (self.starts[index]..self.starts[index + count], count)
    }

    /// What runs are parts of.
    pub(super) fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// How many messages `bytes` answer, if they are exactly the replies to those from `index` on.
    pub(super) fn answered_by(&self, index: usize, bytes: &[u8]) -> Option<usize> {
        if self.reply_len == 0 {
            return None;
        }
        let expected = self.replies.get(index * self.reply_len..)?.get(..bytes.len())?;
        (bytes.len().is_multiple_of(self.reply_len) && bytes == expected).then(|| bytes.len() / self.reply_len)
    }

    /// The message that `by` others follow from `index` on.
    pub(super) fn after(&self, index: usize, by: usize) -> usize {
        (index + by) % self.different
    }
}

/// Appends a client's frame, masked with a key of its own.
pub(super) fn frame(header: FrameHeader, payload: &[u8], out: &mut Vec<u8>) {
    let mut key = [0; 4];
    // Without randomness from the system, one key is as good as another to a server under test.
    let _ = getrandom::fill(&mut key);
    let masking_key = Some(MaskingKey(key));
    FrameHeader { masking_key, payload_len: payload.len() as u64, ..header }.encode(out);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], MaskingKey(key));
}

/// Appends the message of this number: the same in every run, and different from the others.
fn fill(content: Content<'_>, number: usize, size: usize, random: &mut Random, out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let end = out.len() + size;
    match content {
        Content::Text => out.extend((0..size).map(|_| ALPHABET[random.below(64)])),
        Content::Binary => out.extend((0..size).map(|_| random.below(256) as u8)),
        Content::Given(text) => out.extend_from_slice(text.as_bytes()),
        Content::Json => {
            const EVENTS: [&str; 4] = ["trade", "quote", "order", "cancel"];
            const SYMBOLS: [&str; 6] = ["AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "TSLA"];
            let mut opening = "[";
            while out.len() < end {
                let record = format!(
                    "{opening}{{\"id\":{},\"event\":\"{}\",\"symbol\":\"{}\",\"price\":{}.{:02},\"quantity\":{},\"time\":\"2026-01-01T{:02}:{:02}:{:02}.{:03}Z\",\"batch\":{number}}}",
                    100_000 + random.below(900_000),
                    EVENTS[random.below(EVENTS.len())],
                    SYMBOLS[random.below(SYMBOLS.len())],
                    10 + random.below(990),
                    random.below(100),
                    1 + random.below(500),
                    random.below(24),
                    random.below(60),
                    random.below(60),
                    random.below(1000),
                );
                out.extend_from_slice(record.as_bytes());
                opening = ",";
            }
            // Cut to the size: it only has to compress as JSON does.
            out.truncate(end);
        }
    }
}

/// A generator of numbers that only have to look random (xorshift64).
pub(super) struct Random(u64);

impl Random {
    /// The same numbers each time.
    pub(super) fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % limit
    }
}

#[cfg(test)]
mod tests {
    use loopwire::deflate::Decompressor;

    use super::*;

    /// Takes frames apart: each unmasked.
    fn messages(mut bytes: &[u8]) -> Vec<(FrameHeader, Vec<u8>)> {
        let mut messages = Vec::new();
        while let Some((header, len)) = FrameHeader::decode(bytes).unwrap() {
            let (payload, rest) = bytes[len..].split_at(header.payload_len as usize);
            let mut payload = payload.to_vec();
            apply_mask(&mut payload, header.masking_key.expect("a client masks"));
            messages.push((header, payload));
            bytes = rest;
        }
        messages
    }

    #[test]
    fn runs_are_masked_frames_of_the_messages_in_rotation() {
        for (content, size, run) in [(Content::Text, 20, 16), (Content::Binary, 70_000, 3), (Content::Text, 1, 1)] {
            let payloads = Payloads::new(content, size, run, None);
            let (mut next, mut sent) = (0, 0);
            while sent < 200 {
                let (range, count) = payloads.run(next, run);
                assert!((1..=run).contains(&count));
                for (offset, (header, payload)) in messages(&payloads.frames()[range]).into_iter().enumerate() {
                    assert_eq!((header.opcode, header.fin, header.rsv1), (content.kind().opcode(), true, false));
                    assert_eq!(payload, payloads.plain(payloads.after(next, offset)));
                    sent += 1;
                }
                next = payloads.after(next, count);
            }
        }
    }

    #[test]
    fn compressed_messages_need_no_other_to_be_inflated_and_compress_as_json_does() {
        let payloads = Payloads::new(Content::Json, 1024, 1, Some(9));
        let mut sizes = 0;
        for index in 0..64 {
            let (range, _) = payloads.run(index, 1);
            let [(header, payload)] = &messages(&payloads.frames()[range])[..] else { panic!("one message") };
            assert!(header.rsv1);
            let mut plain = Vec::new();
            Decompressor::new(9, false).decompress(payload, true, 1 << 20, &mut plain).unwrap();
            assert_eq!(plain, payloads.plain(index));
            assert!(std::str::from_utf8(&plain).is_ok());
            sizes += payload.len();
        }
        let ratio = sizes * 100 / (64 * 1024);
        assert!((20..70).contains(&ratio), "{ratio} %");
    }

    #[test]
    fn no_window_holds_all_messages_that_are_compressed() {
        for size in [1, 20, 200, 1024, 16 << 10, 1 << 20] {
            let payloads = Payloads::new(Content::Json, size, 1, Some(15));
            assert!(payloads.different * size > 1 << 15, "{size}");
        }
    }

    #[test]
    fn only_whole_and_right_replies_are_answers() {
        let payloads = Payloads::new(Content::Text, 126, 4, None);
        let mut replies = Vec::new();
        for index in [1, 2, 3] {
            FrameHeader::new(payloads.kind.opcode(), 126).encode(&mut replies);
            replies.extend_from_slice(payloads.plain(index));
        }
        assert_eq!(payloads.answered_by(1, &replies), Some(3));
        assert_eq!(payloads.answered_by(1, &replies[..130]), Some(1));
        assert_eq!(payloads.answered_by(0, &replies), None);
        assert_eq!(payloads.answered_by(1, &replies[..replies.len() - 1]), None);
    }
}
