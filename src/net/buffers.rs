//! The buffers that all connections of a loop borrow for what they have to send.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::mem;

use super::Transport;
use super::run::Run;
use crate::wire::{FrameHeader, SharedFrame};

/// Shared frames of at least this many bytes are queued by reference: below, copying is cheaper than a slice of its own
/// in the vectored write.
pub(super) const BY_REFERENCE: usize = 4096;

/// Slices in one vectored write at most; more than enough for what one turn gathers.
const SLICES: usize = 64;

/// Empty buffers that outboxes take and give back, so that an idle connection needs none and a busy one allocates none.
///
/// The last one given is the first one taken: it is warm in the cache.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    #[expect(clippy::vec_box, reason = "an outbox carries a pointer, and takes and gives nothing more")]
    buffers: Vec<Box<Buffer>>,
    /// Bytes that `buffers` occupy.
    held: usize,
    /// What this turn sends to many.
    pub(super) run: Run,
}

impl BufferPool {
    /// Buffers grown beyond this are not kept.
    const LARGEST: usize = 1024 * 1024;
    /// Bytes kept at most, all buffers together.
    const HELD: usize = 4 * 1024 * 1024;
    /// What a new buffer begins with: a few small replies.
    const INITIAL: usize = 512;

    #[expect(clippy::unnecessary_box_returns, reason = "as above")]
    #[inline]
    pub(super) fn take(&mut self) -> Box<Buffer> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.held -= Self::size(&buffer);
                buffer
            }
            None => Box::new(Buffer { tail: Vec::with_capacity(Self::INITIAL), ..Buffer::default() }),
        }
    }

    #[inline(always)]
    pub(super) fn give(&mut self, mut buffer: Box<Buffer>) {
        let size = Self::size(&buffer);
        if buffer.tail.capacity() <= Self::LARGEST && self.held + size <= Self::HELD {
            buffer.tail.clear();
            if !buffer.queue.is_empty() {
                buffer.queue = VecDeque::new();
            }
            (buffer.sent, buffer.queued, buffer.lead, buffer.excused) = (0, 0, 0, 0);
            self.held += size;
            self.buffers.push(buffer);
        }
    }

    fn size(buffer: &Buffer) -> usize {
        size_of::<Buffer>() + buffer.tail.capacity()
    }
}

/// What an outbox borrows from the pool.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// What comes before the tail: there are some once a shared frame was queued by reference.
    queue: VecDeque<Chunk>,
    /// What is written now is appended here.
    pub(super) tail: Vec<u8>,
    /// Bytes of the first chunk (or of the tail, if there is no other) that have left.
    sent: usize,
    /// Bytes in `queue`.
    queued: usize,
    /// Bytes with which the first chunk begins that belong to what has begun to leave, of which no more is here than its
    /// rest. Behind them everything is whole frames.
    pub(super) lead: usize,
    /// Bytes at the front that the peer has asked for: its room is what may wait behind them.
    excused: usize,
}

#[derive(Debug)]
enum Chunk {
    Bytes(Vec<u8>),
    Shared(SharedFrame),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Shared(frame) => frame.as_ref(),
        }
    }
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing is left.
    Drained,
    /// The rest waits for the socket to become writable.
    Blocked,
}

impl Buffer {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.queued + self.tail.len() - self.sent
    }

    /// Bytes that wait behind those that the peer has asked for.
    pub(super) fn counted(&self) -> usize {
        self.len() - self.excused
    }

    /// All that waits now is what the peer has asked for.
    pub(super) fn excuse(&mut self) {
        self.excused = self.len();
    }

    pub(super) fn push(&mut self, frame: SharedFrame) {
        self.queued += self.tail.len() + frame.as_ref().len();
        if !self.tail.is_empty() {
            self.queue.push_back(Chunk::Bytes(mem::take(&mut self.tail)));
        }
        self.queue.push_back(Chunk::Shared(frame));
    }

    #[inline(always)]
    pub(super) fn write_to(&mut self, stream: &mut Transport) -> io::Result<Flushed> {
        while self.len() > 0 {
            let (written, offered) = if self.queue.is_empty() {
                // The common case, and the system's cheaper call.
                (stream.write(&self.tail[self.sent..]), self.len())
            } else {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let (count, offered) = self.gather(&mut slices);
                (stream.write_vectored(&slices[..count]), offered)
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) if written == offered && self.queue.is_empty() => {
                    self.tail.clear();
                    (self.sent, self.lead, self.excused) = (0, 0, 0);
                    break;
                }
                Ok(written) => {
                    self.consume(written);
                    if written < offered && short_means_full(stream) {
                        return Ok(Flushed::Blocked);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::Drained)
    }

    pub(super) fn write_through(&mut self, payload: &[u8], stream: &mut Transport) -> io::Result<Flushed> {
        let waiting = self.len();
        let mut written = 0;
        if self.queue.is_empty() {
            let slices = [IoSlice::new(&self.tail[self.sent..]), IoSlice::new(payload)];
            match stream.write_vectored(&slices) {
                Ok(len) => written = len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.tail.extend_from_slice(payload);
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.consume(written.min(waiting));
        let rest = &payload[written.saturating_sub(waiting)..];
        if self.tail.is_empty() {
            // Its header has left.
            self.lead = rest.len();
        }
        self.tail.extend_from_slice(rest);
        if written > 0 && self.len() > 0 && short_means_full(stream) {
            return Ok(Flushed::Blocked);
        }
        self.write_to(stream)
    }

    /// Fills `slices` with what waits, in order; how many, and of how many bytes together.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> (usize, usize) {
        let queued = self.queue.iter().map(Chunk::bytes);
        let mut skip = self.sent;
        let (mut count, mut offered) = (0, 0);
        for (slice, bytes) in slices.iter_mut().zip(queued.chain([&self.tail[..]])) {
            let bytes = &bytes[mem::take(&mut skip)..];
            *slice = IoSlice::new(bytes);
            count += 1;
            offered += bytes.len();
        }
        (count, offered)
    }

    fn consume(&mut self, written: usize) {
        self.sent += written;
        self.excused = self.excused.saturating_sub(written);
        while let Some(first) = self.queue.front() {
            let len = first.bytes().len();
            if self.sent < len {
                return;
            }
            self.sent -= len;
            self.queued -= len;
            self.lead = 0;
            if let Some(Chunk::Bytes(mut bytes)) = self.queue.pop_front()
                && self.tail.capacity() == 0
            {
                bytes.clear();
                self.tail = bytes;
            }
        }
        // More may be appended for as long as the peer is slow: let go of what left, at a cost that stays linear.
        if self.sent == self.tail.len() {
            self.tail.clear();
            (self.sent, self.lead) = (0, 0);
        } else if self.sent >= BY_REFERENCE && self.sent >= self.tail.len() / 2 {
            self.lead = end_of_frame(&self.tail, self.lead, self.sent) - self.sent;
            self.tail.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Forgets what has not begun to leave. A frame that has stays, up to its end.
    pub(super) fn keep_begun(&mut self) {
        self.excused = 0;
        let first = self.queue.pop_front();
        self.queue.clear();
        self.queued = 0;
        match first {
            None => {}
            Some(Chunk::Bytes(bytes)) => self.tail = bytes,
            Some(Chunk::Shared(frame)) => {
                self.tail.clear();
                if self.sent > 0 {
                    self.queued = frame.as_ref().len();
                    self.queue.push_back(Chunk::Shared(frame));
                }
                return;
            }
        }
        self.tail.truncate(end_of_frame(&self.tail, self.lead, self.sent));
    }
}

/// Where the frame ends of which the byte before `at` is a part; frames stand in `bytes` from `start` on.
pub(super) fn end_of_frame(bytes: &[u8], start: usize, at: usize) -> usize {
    let mut end = start;
    while end < at {
        end = match bytes.get(end..).map(FrameHeader::decode) {
            Some(Ok(Some((header, len)))) => {
                let payload = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
                end.saturating_add(len).saturating_add(payload)
            }
            // No frame of ours: what there is stays together.
            _ => bytes.len().max(at),
        };
    }
    end
}

/// Whether taking less than was offered means that nothing more fits: so with a socket; layers above one may just cut
/// their own way.
fn short_means_full(stream: &Transport) -> bool {
    matches!(stream, Transport::Tcp(_) | Transport::Unix(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_huge_buffer_is_kept_nor_too_many() {
        let mut pool = BufferPool::default();
        let mut lent = pool.take();
        lent.tail.reserve_exact(BufferPool::LARGEST + 1);
        pool.give(lent);
        assert!(pool.buffers.is_empty(), "a huge buffer is not kept");
        for _ in 0..1000 {
            pool.give(Box::new(Buffer { tail: Vec::with_capacity(BufferPool::LARGEST / 4), ..Buffer::default() }));
        }
        assert!(pool.held <= BufferPool::HELD);
    }
}
