//! Inflating messages: one codec shared by all connections of a thread, and the window of each.
//!
//! A message is inflated by whatever codec the thread has, after the connection's window has been given to it as a
//! dictionary. Between messages only the window stays with the connection: no more than 2^bits bytes, allocated by
//! what arrived, and nothing without context takeover.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::history::{History, Mark};
use super::{BLOCK_LEN, TAIL};

/// The codec's window whatever was agreed, in bits. It may be larger than the peer's, never smaller.
const CODEC_BITS: u8 = 15;

/// How many idle codecs a thread keeps. One does for whole messages; those in pieces may overlap.
const SPARE_CODECS: usize = 4;

/// How many streams a message may consist of besides one per 64 bytes: each costs the copying of a window, so that
/// two bytes of input, an empty stream, must not buy it without end.
const FREE_STREAMS: u64 = 1024;

/// Why a compressed message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InflateError {
    /// Not a DEFLATE stream, or one that breaks off.
    Corrupt,
    /// More bytes than the limit.
    TooBig,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the compressed message does not inflate",
            Self::TooBig => "the message inflates to more than the limit",
        })
    }
}

impl Error for InflateError {}

/// Inflates one connection's messages.
pub struct Decompressor {
    window_bits: u8,
    takeover: bool,
    history: History,
    /// The state of a message whose last piece has not come.
    unfinished: Option<Box<Codec>>,
}

impl Decompressor {
    /// A decompressor for an agreed window of `window_bits` (8–15) that, with `takeover`, may meet references to
    /// earlier messages.
    pub fn new(window_bits: u8, takeover: bool) -> Self {
        let window_bits = window_bits.clamp(8, CODEC_BITS);
        Self { window_bits, takeover, history: History::new(1 << window_bits), unfinished: None }
    }

    /// Inflates the next piece of a message and appends to `out`; a whole message is one piece with `last`.
    ///
    /// `limit` is the most bytes that the message may have in all, counted as they appear: what would exceed it is
    /// neither kept nor made. A message in pieces holds a codec, about 50 KB, until its end.
    ///
    /// # Errors
    /// The connection cannot go on after either.
    pub fn decompress(
        &mut self,
        piece: &[u8],
        last: bool,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        let mut codec = self.unfinished.take().map_or_else(|| self.prepare_codec(), |codec| *codec);
        let mut recorded = out.len();
        let result = BLOCK.with_borrow_mut(|block| {
            codec.inflate(piece, limit, block, out, |inflate, out| {
                self.history.push(&out[recorded..]);
                recorded = out.len();
                restart(inflate, &self.history)
            })?;
            if last { codec.finish(block) } else { Ok(()) }
        });
        if result.is_err() {
            codec.mark = Mark::NONE;
            codec.give_back();
            return result;
        }
        if self.takeover || !last {
            self.history.push(&out[recorded..]);
        } else {
            self.history.clear();
        }
        if last {
            codec.mark = if self.keeps_whole_window() { self.history.mark() } else { Mark::NONE };
            codec.give_back();
        } else {
            self.unfinished = Some(Box::new(codec));
        }
        Ok(())
    }

    /// A codec that knows this connection's window and nothing else.
    fn prepare_codec(&self) -> Codec {
        let mut codec = Codec::take();
        codec.produced = 0;
        codec.consumed = 0;
        codec.streams = 0;
        if codec.mark != self.history.mark() {
            codec.ended = false;
            // Fails only with a header to be read. Without its dictionary the message would be refused.
            let _ = restart(&mut codec.inflate, &self.history);
        }
        codec
    }

    /// Whether a codec that inflated our last message may go on with the next as it is. With a smaller window it would
    /// know more than was agreed, and whether a peer gets away with a reference too far back would depend on who came
    /// in between.
    fn keeps_whole_window(&self) -> bool {
        self.takeover && self.window_bits == CODEC_BITS
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("window_bits", &self.window_bits)
            .field("takeover", &self.takeover)
            .field("history", &self.history.len())
            .finish_non_exhaustive()
    }
}

/// Begins a new stream with a window that holds `history`.
fn restart(inflate: &mut Inflate, history: &History) -> Result<(), InflateError> {
    inflate.reset(false);
    for part in history.parts() {
        inflate.set_dictionary(part).map_err(|_| InflateError::Corrupt)?;
    }
    Ok(())
}

struct Codec {
    inflate: Inflate,
    mark: Mark,
    /// Bytes of this message so far, inflated and not.
    produced: usize,
    consumed: u64,
    /// How many streams ended within this message.
    streams: u64,
    /// The last block of a stream was read; what follows, if anything, is another stream.
    ended: bool,
}

thread_local! {
    /// The codecs that are not in the middle of a message; the last used last.
    static POOL: RefCell<Vec<Codec>> = const { RefCell::new(Vec::new()) };
    /// What a codec writes into: output is copied once, and a message's buffer grows by what there is.
    static BLOCK: RefCell<Box<[u8]>> = RefCell::new(vec![0; BLOCK_LEN].into());
}

impl Codec {
    fn take() -> Self {
        POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| Self {
            inflate: Inflate::new(false, CODEC_BITS),
            mark: Mark::NONE,
            produced: 0,
            consumed: 0,
            streams: 0,
            ended: false,
        })
    }

    fn give_back(self) {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < SPARE_CODECS {
                pool.push(self);
            }
        });
    }

    /// Inflates `input` to its end. Where a stream ends within it, `restart` begins the next.
    fn inflate(
        &mut self,
        mut input: &[u8],
        limit: usize,
        block: &mut [u8],
        out: &mut Vec<u8>,
        mut restart: impl FnMut(&mut Inflate, &[u8]) -> Result<(), InflateError>,
    ) -> Result<(), InflateError> {
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok(());
                }
                // BFINAL is legal inside a message: the data set ends, the message and its window go on
                // [RFC 7692 §7.2.3.4].
                self.streams += 1;
                if self.streams > FREE_STREAMS + self.consumed / 64 {
                    return Err(InflateError::Corrupt);
                }
                restart(&mut self.inflate, out)?;
                self.ended = false;
            }
            let left = limit.saturating_sub(self.produced);
            // One byte more than allowed, to see whether it is made.
            let room = block.len().min(left.saturating_add(1));
            let step = self.step(input, &mut block[..room], InflateFlush::SyncFlush);
            // First what came out, then whether that was the end of it: so that both limit and corruption are found at
            // the same byte however the message is cut.
            if step.written > left {
                return Err(InflateError::TooBig);
            }
            append(out, &block[..step.written], left);
            step.result?;
            self.produced += step.written;
            self.consumed += step.read as u64;
            input = &input[step.read..];
            if !self.ended && step.written < room {
                return if input.is_empty() { Ok(()) } else { Err(InflateError::Corrupt) };
            }
        }
    }

    /// Reads the four bytes that the wire leaves out, and nothing else may come of them than the end of a block.
    fn finish(&mut self, block: &mut [u8]) -> Result<(), InflateError> {
        if self.ended {
            return Ok(());
        }
        // The fifth byte stays unread if, and only if, a block ends before it.
        let [a, b, c, d] = TAIL;
        let step = self.step(&[a, b, c, d, 0], block, InflateFlush::Block);
        step.result?;
        if step.read == TAIL.len() && step.written == 0 { Ok(()) } else { Err(InflateError::Corrupt) }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8], flush: InflateFlush) -> Step {
        let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, flush);
        self.ended = status == Ok(Status::StreamEnd);
        Step {
            read: (self.inflate.total_in() - read) as usize,
            written: (self.inflate.total_out() - written) as usize,
            result: status.map(drop).map_err(|_| InflateError::Corrupt),
        }
    }
}

/// What one call of the codec did, in bytes.
struct Step {
    read: usize,
    written: usize,
    /// Whether it may be called again.
    result: Result<(), InflateError>,
}

/// Appends to `out`, which grows as a vector does but never past the `left` bytes that the message may still have.
fn append(out: &mut Vec<u8>, bytes: &[u8], left: usize) {
    if out.capacity() - out.len() < bytes.len() {
        out.reserve_exact(out.len().max(bytes.len()).min(left));
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_messages_nothing_stays_but_the_window() {
        // "Hello" in a stored block, and what the wire leaves in of the flush.
        let payload = b"\x00\x05\x00\xfa\xffHello\x00";
        for (bits, takeover, kept) in [(8, true, 256), (9, true, 512), (15, true, 5 * 5000), (15, false, 0)] {
            let mut decompressor = Decompressor::new(bits, takeover);
            let mut out = Vec::new();
            for _ in 0..5000 {
                out.clear();
                decompressor.decompress(&payload[..7], false, 5, &mut out).unwrap();
                decompressor.decompress(&payload[7..], true, 5, &mut out).unwrap();
                assert!(out == b"Hello" && decompressor.unfinished.is_none());
            }
            assert_eq!(decompressor.history.len(), kept);
        }
        assert_eq!(POOL.with_borrow(Vec::len), 1);
    }

    #[test]
    fn many_messages_at_once_leave_few_codecs_behind() {
        let mut all: Vec<_> = (0..50).map(|_| Decompressor::new(15, true)).collect();
        let mut out = Vec::new();
        for decompressor in &mut all {
            decompressor.decompress(&[], false, 0, &mut out).unwrap();
        }
        for decompressor in &mut all {
            decompressor.decompress(&[0], true, 0, &mut out).unwrap();
        }
        assert_eq!(POOL.with_borrow(Vec::len), SPARE_CODECS);
    }
}
