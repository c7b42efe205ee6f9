//! Deflating messages: what is needed only while a message is compressed is shared by all connections of a thread, and
//! each has a small history of its own.
//!
//! A deflate stream of its own would cost every connection 380 KB. Here a message is compressed with reference to the
//! connection's last few kilobytes: a short one by [`Workshop`], others by whatever codec the thread has, after it was
//! given the history as a dictionary. The peer's inflater, which keeps its whole window, cannot tell the difference:
//! every distance still points into what it has seen.

use std::cell::RefCell;
use std::fmt;

use zlib_rs::{Deflate, DeflateFlush};

use super::history::{History, Mark};
use super::quick::{self, Index, Workshop};
use super::{BLOCK_LEN, DeflateConfig, TAIL};
use crate::wire::{PreparedMessage, SharedFrame};

/// The smallest window that the codec compresses with.
///
/// It never reaches back further than its window less 262 bytes, which is 250 here: so what it makes also suits a
/// receiver with the smallest window of all, the 256 bytes of 8 bits.
const MIN_CODEC_BITS: u8 = 9;

/// The level at which short messages are compressed without a codec, and much faster.
const QUICK_LEVEL: i32 = 1;

/// The most history that any window can hold.
const MAX_HISTORY: usize = 1 << 15;

/// Compresses one connection's messages.
pub struct Compressor {
    window_bits: u8,
    level: i32,
    takeover: bool,
    /// Of this message too, while it is unfinished.
    history: History,
    /// Of the history, so far as short messages were compressed.
    index: Index,
}

impl Compressor {
    /// A compressor for an agreed window of `window_bits` (8–15) that, with `takeover`, refers to earlier messages.
    pub fn new(window_bits: u8, takeover: bool, config: &DeflateConfig) -> Self {
        let window_bits = window_bits.clamp(8, 15);
        let history = config.history.min(MAX_HISTORY).min(1 << window_bits);
        Self {
            window_bits,
            level: config.level.clamp(0, 9),
            takeover,
            history: History::new(history),
            index: Index::new(),
        }
    }

    /// Compresses the next piece of a message and appends to `out`; a whole message is one piece with `last`.
    ///
    /// Every piece comes out completely, and is never empty, so that a receiver who takes messages in pieces sees it at
    /// once. And so no codec is held by a message that is unfinished: each piece refers to those before as a message
    /// does.
    pub fn compress(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        if self.level == QUICK_LEVEL && piece.len() <= quick::MAX_PIECE && !piece.is_empty() {
            self.compress_quickly(piece, last, out);
            return;
        }
        let mut codec = self.prepare_codec();
        let start = out.len();
        codec.deflate(piece, out);
        if out.len() == start {
            // Nothing went in since the last flush: an empty stored block [RFC 7692 §7.2.3.6].
            out.push(0);
            out.extend_from_slice(&TAIL);
        }
        if last {
            out.truncate(out.len() - TAIL.len());
        }
        if self.takeover || !last {
            self.history.push(piece);
            codec.mark = self.history.mark();
        } else {
            self.history.clear();
        }
        codec.give_back();
    }

    fn compress_quickly(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let reach = self.reach();
        let index = self.takeover.then_some(&mut self.index);
        WORKSHOP.with_borrow_mut(|workshop| workshop.compress(&self.history, index, piece, reach, out));
        if last {
            out.truncate(out.len() - TAIL.len());
        }
        if self.takeover || !last { self.history.push(piece) } else { self.history.clear() }
    }

    /// The frame of `message`, compressed without reference to anything before it: once, for all receivers whose
    /// window has this size.
    ///
    /// The payload is recorded here as if it had been compressed for this connection alone.
    pub fn compress_shared(&mut self, message: &PreparedMessage) -> SharedFrame {
        let bits = self.window_bits.max(MIN_CODEC_BITS);
        let frame = message.compressed_frame(bits, |payload| {
            let mut out = Vec::new();
            Self { history: History::new(0), index: Index::new(), takeover: false, ..*self }
                .compress(payload, true, &mut out);
            out
        });
        if self.takeover {
            self.history.push(message.payload());
        }
        frame
    }

    /// The longest distance that short messages may use, in bytes. Receivers with 8 and with 9 bits are sent the same
    /// shared frames, so that of the first holds for both.
    fn reach(&self) -> usize {
        if self.window_bits <= MIN_CODEC_BITS { 1 << 8 } else { 1 << self.window_bits }
    }

    /// A codec that knows this connection's history and nothing else.
    fn prepare_codec(&self) -> Codec {
        let mut codec = Codec::take(self.window_bits.max(MIN_CODEC_BITS), self.level);
        if codec.mark == self.history.mark() {
            // It compressed our last message or piece and nothing since: its window is our history, and more of it.
            return codec;
        }
        codec.mark = Mark::NONE;
        codec.deflate.reset();
        for part in self.history.parts() {
            if !part.is_empty() {
                // Fails only in the middle of a stream. Without the dictionary the message is longer, not wrong.
                let _ = codec.deflate.set_dictionary(part);
            }
        }
        codec
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("window_bits", &self.window_bits)
            .field("takeover", &self.takeover)
            .field("history", &self.history.len())
            .finish_non_exhaustive()
    }
}

struct Codec {
    deflate: Deflate,
    bits: u8,
    level: i32,
    mark: Mark,
}

thread_local! {
    static WORKSHOP: RefCell<Workshop> = RefCell::new(Workshop::new());
    /// The codecs, one of each kind that was asked for; the last used last.
    static POOL: RefCell<Vec<Codec>> = const { RefCell::new(Vec::new()) };
    /// What a codec writes into: output is copied once, and a message's buffer grows by what there is.
    static BLOCK: RefCell<Box<[u8]>> = RefCell::new(vec![0; BLOCK_LEN].into());
}

impl Codec {
    fn take(bits: u8, level: i32) -> Self {
        POOL.with_borrow_mut(|pool| {
            let at = pool.iter().rposition(|codec| codec.bits == bits && codec.level == level)?;
            Some(pool.remove(at))
        })
        .unwrap_or_else(|| Self { deflate: Deflate::new(level, false, bits), bits, level, mark: Mark::NONE })
    }

    fn give_back(self) {
        POOL.with_borrow_mut(|pool| pool.push(self));
    }

    /// Compresses `input` to its end and flushes, so that the output ends with [`TAIL`]; it is empty if there has been
    /// no input since the last flush.
    fn deflate(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        BLOCK.with_borrow_mut(|block| {
            loop {
                let (read, written) = (self.deflate.total_in(), self.deflate.total_out());
                let Ok(_) = self.deflate.compress(input, block, DeflateFlush::SyncFlush) else {
                    unreachable!("a raw deflate stream takes any input until it is finished");
                };
                let read = (self.deflate.total_in() - read) as usize;
                let written = (self.deflate.total_out() - written) as usize;
                out.extend_from_slice(&block[..written]);
                input = &input[read..];
                if input.is_empty() && written < block.len() {
                    return;
                }
            }
        });
    }
}
