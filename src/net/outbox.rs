//! What waits to be sent on one connection, and the buffers that all connections of a loop borrow for it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use super::Transport;
use crate::wire::SharedFrame;

/// Shared frames of at least this many bytes are queued by reference: below, copying is cheaper than a slice of its own
/// in the vectored write.
const BY_REFERENCE: usize = 4096;

/// A message of at least this many bytes is written from where it stands, at once: below, copying it is cheaper than a
/// system call of its own.
pub(crate) const AT_ONCE: usize = 8 * 1024;

/// Slices in one vectored write at most; more than enough for what one turn gathers.
const SLICES: usize = 64;

/// The bytes that wait to be sent on one connection, in order. An empty one owns no memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What comes before the tail: present once a shared frame was queued by reference.
    #[expect(clippy::box_collection, reason = "an idle connection carries one word instead of four")]
    queue: Option<Box<VecDeque<Chunk>>>,
    /// What is written now is appended here.
    tail: Vec<u8>,
    /// Bytes of the first chunk (or of the tail, if there is no other) that have left.
    sent: usize,
    /// Bytes in `queue`.
    queued: usize,
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

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.queued + self.tail.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append; the buffer comes from the pool if there is none.
    pub(crate) fn tail(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.tail.capacity() == 0 {
            self.tail = pool.take();
        }
        &mut self.tail
    }

    /// Queues a frame behind all that was written before.
    pub(crate) fn push_shared(&mut self, frame: SharedFrame, pool: &mut BufferPool) {
        let bytes = frame.as_ref();
        if bytes.len() < BY_REFERENCE {
            self.tail(pool).extend_from_slice(bytes);
            return;
        }
        self.queued += self.tail.len() + bytes.len();
        let queue = self.queue.get_or_insert_default();
        if !self.tail.is_empty() {
            queue.push_back(Chunk::Bytes(std::mem::take(&mut self.tail)));
        }
        queue.push_back(Chunk::Shared(frame));
    }

    /// Gives a tail that stayed empty back to the pool.
    pub(crate) fn settle(&mut self, pool: &mut BufferPool) {
        if self.is_empty() {
            self.clear(pool);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        if self.tail.capacity() > 0 {
            pool.give(std::mem::take(&mut self.tail));
        }
        for chunk in self.queue.take().into_iter().flat_map(|queue| *queue) {
            if let Chunk::Bytes(bytes) = chunk {
                pool.give(bytes);
            }
        }
        (self.sent, self.queued) = (0, 0);
    }

    /// Writes as much as the stream takes: normally one vectored write.
    ///
    /// # Errors
    /// The stream is broken.
    pub(crate) fn write_to(&mut self, stream: &mut Transport, pool: &mut BufferPool) -> io::Result<Flushed> {
        let short_means_full = short_means_full(stream);
        while !self.is_empty() {
            let (written, offered) = match &self.queue {
                // The common case, and the system's cheaper call.
                None => (stream.write(&self.tail[self.sent..]), self.len()),
                Some(_) => {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let (count, offered) = self.gather(&mut slices);
                    (stream.write_vectored(&slices[..count]), offered)
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.consume(written, pool);
                    if written < offered && short_means_full {
                        return Ok(Flushed::Blocked);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Flushed::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.clear(pool);
        Ok(Flushed::Drained)
    }

    /// Queues `payload` behind all that was written before, having first offered both to the stream as they stand.
    ///
    /// # Errors
    /// The stream is broken.
    pub(crate) fn write_through(
        &mut self,
        payload: &[u8],
        stream: &mut Transport,
        pool: &mut BufferPool,
    ) -> io::Result<Flushed> {
        let waiting = self.len();
        if self.queue.is_none() {
            let slices = [IoSlice::new(&self.tail[self.sent..]), IoSlice::new(payload)];
            match stream.write_vectored(&slices) {
                Ok(written) if written == waiting + payload.len() => {
                    self.clear(pool);
                    return Ok(Flushed::Drained);
                }
                Ok(written) => {
                    self.consume(written.min(waiting), pool);
                    self.tail(pool).extend_from_slice(&payload[written.saturating_sub(waiting)..]);
                    return if short_means_full(stream) { Ok(Flushed::Blocked) } else { self.write_to(stream, pool) };
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        self.tail(pool).extend_from_slice(payload);
        self.write_to(stream, pool)
    }

    /// Fills `slices` with what waits, in order; how many, and of how many bytes together.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> (usize, usize) {
        let queued = self.queue.iter().flat_map(|queue| queue.iter()).map(Chunk::bytes);
        let mut skip = self.sent;
        let (mut count, mut offered) = (0, 0);
        for (slice, bytes) in slices.iter_mut().zip(queued.chain([&self.tail[..]])) {
            let bytes = &bytes[std::mem::take(&mut skip)..];
            *slice = IoSlice::new(bytes);
            count += 1;
            offered += bytes.len();
        }
        (count, offered)
    }

    fn consume(&mut self, written: usize, pool: &mut BufferPool) {
        self.sent += written;
        if let Some(queue) = &mut self.queue {
            while let Some(first) = queue.front() {
                let len = first.bytes().len();
                if self.sent < len {
                    return;
                }
                self.sent -= len;
                self.queued -= len;
                if let Some(Chunk::Bytes(bytes)) = queue.pop_front() {
                    pool.give(bytes);
                }
            }
            self.queue = None;
        }
        // More may be appended for as long as the peer is slow: let go of what left, at a cost that stays linear.
        if self.sent == self.tail.len() {
            self.tail.clear();
            self.sent = 0;
        } else if self.sent >= BY_REFERENCE && self.sent >= self.tail.len() / 2 {
            self.tail.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// Whether taking less than was offered means that nothing more fits: so with a socket; layers above one may just cut
/// their own way.
fn short_means_full(stream: &Transport) -> bool {
    matches!(stream, Transport::Tcp(_) | Transport::Unix(_))
}

/// Empty buffers that outboxes take and give back, so that an idle connection needs none and a busy one allocates none.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    /// Bytes of capacity in `buffers`.
    held: usize,
}

impl BufferPool {
    /// Buffers grown beyond this are not kept.
    const LARGEST: usize = 256 * 1024;
    /// Bytes kept at most, all buffers together.
    const HELD: usize = 4 * 1024 * 1024;
    /// What a new buffer begins with: a few small replies.
    const INITIAL: usize = 512;

    pub(crate) fn take(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.held -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(Self::INITIAL),
        }
    }

    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity > 0 && capacity <= Self::LARGEST && self.held + capacity <= Self::HELD {
            buffer.clear();
            self.held += capacity;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io::Read;
    use std::sync::{Arc, Mutex};

    use super::super::Stream;
    use super::*;
    use crate::wire::PreparedMessage;

    /// Takes as many bytes per call as it was told, then nothing.
    #[derive(Debug, Default)]
    struct Sink {
        taken: Arc<Mutex<Vec<u8>>>,
        rooms: VecDeque<usize>,
    }

    impl Read for Sink {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let mut room = self.rooms.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
            let mut taken = 0;
            for slice in slices {
                let part = &slice[..slice.len().min(room)];
                self.taken.lock().unwrap().extend_from_slice(part);
                (room, taken) = (room - part.len(), taken + part.len());
            }
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Sink {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(rooms: impl IntoIterator<Item = usize>) -> (Transport, Arc<Mutex<Vec<u8>>>) {
        let sink = Sink { taken: Arc::default(), rooms: rooms.into_iter().collect() };
        let taken = Arc::clone(&sink.taken);
        (Transport::Other(Box::new(sink)), taken)
    }

    #[test]
    fn whatever_the_stream_takes_the_bytes_leave_in_order_and_once() {
        let large = PreparedMessage::new(&vec![b'x'; 3 * BY_REFERENCE]);
        let small = PreparedMessage::new("small");
        for room in [1, 2, 3, 1000, BY_REFERENCE, usize::MAX] {
            let mut pool = BufferPool::default();
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            let (mut stream, taken) = sink(std::iter::repeat_n(room, 1_000_000 / room.min(1_000_000)));
            for round in 0..20_u8 {
                let own = vec![round; usize::from(round) * 100];
                outbox.tail(&mut pool).extend_from_slice(&own);
                expected.extend_from_slice(&own);
                let frame = if round % 3 == 0 { large.frame() } else { small.frame() };
                expected.extend_from_slice(frame.as_ref());
                outbox.push_shared(frame, &mut pool);
                if round % 7 == 0 {
                    // Something leaves before more is appended.
                    let (mut narrow, first) = sink([room]);
                    outbox.write_to(&mut narrow, &mut pool).unwrap();
                    taken.lock().unwrap().extend_from_slice(&first.lock().unwrap());
                }
                assert_eq!(outbox.len() + taken.lock().unwrap().len(), expected.len());
            }
            assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Drained);
            assert!(outbox.is_empty());
            assert!(*taken.lock().unwrap() == expected, "{room} bytes at a time");
        }
    }

    #[test]
    fn what_the_stream_refuses_is_kept_and_its_length_known() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.tail(&mut pool).extend_from_slice(b"Hello");
        let (mut stream, taken) = sink([2]);
        assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Blocked);
        assert_eq!((outbox.len(), &taken.lock().unwrap()[..]), (3, &b"He"[..]));
    }

    #[test]
    fn a_turn_of_many_pieces_is_one_write() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        let large = PreparedMessage::new(&vec![0; BY_REFERENCE]);
        for _ in 0..20 {
            outbox.tail(&mut pool).extend_from_slice(b"own");
            outbox.push_shared(large.frame(), &mut pool);
        }
        let (mut stream, _) = sink([usize::MAX]);
        assert_eq!(outbox.write_to(&mut stream, &mut pool).unwrap(), Flushed::Drained);
    }

    #[test]
    fn an_empty_outbox_owns_no_memory_and_the_pool_lends_again_what_came_back() {
        let mut pool = BufferPool::default();
        let mut outbox = Outbox::default();
        outbox.tail(&mut pool).extend_from_slice(b"Hello");
        let buffer = outbox.tail(&mut pool).as_ptr();
        let (mut stream, _) = sink([usize::MAX]);
        outbox.write_to(&mut stream, &mut pool).unwrap();
        assert_eq!(outbox.tail.capacity(), 0);
        assert!(outbox.queue.is_none());
        let lent = pool.take();
        assert_eq!(lent.as_ptr(), buffer);

        pool.give(Vec::with_capacity(BufferPool::LARGEST + 1));
        assert!(pool.buffers.is_empty(), "a huge buffer is not kept");
        for _ in 0..1000 {
            pool.give(Vec::with_capacity(BufferPool::LARGEST));
        }
        assert!(pool.held <= BufferPool::HELD);
    }
}
