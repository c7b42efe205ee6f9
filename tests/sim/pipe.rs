//! A socket that is not there: two byte queues with a kernel's manners, good and bad.
//!
//! Readiness is edge-triggered as epoll's: an arrival, freed room, an end or a reset makes an event due. Besides, reads
//! and writes are short, answer `WouldBlock` although they could go on (an event follows), or are interrupted.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use loopwire::net::{Readiness, Stream};

use super::rng::Rng;

#[derive(Debug)]
pub struct Pipe {
    rng: Rng,
    /// From the peer to the session.
    pub inbound: VecDeque<u8>,
    /// From the session to the peer.
    pub outbound: VecDeque<u8>,
    /// What the session's kernel buffers of `outbound`.
    capacity: usize,
    /// The most that one read or write moves.
    chunk: usize,
    /// Whether calls are interrupted, cut short or blocked for no reason.
    flaky: bool,
    /// Readiness that the poll has not reported yet.
    pub due: Readiness,
    /// The peer has ended its direction, behind `inbound`.
    pub peer_ended: bool,
    pub reset: bool,
    /// The session has ended its direction, behind `outbound`.
    pub session_ended: bool,
    /// The session has closed the socket.
    pub dropped: bool,
    write_starved: bool,
    /// Calls that were answered `WouldBlock`, and events that excuse them.
    pub read_blocks: usize,
    pub write_blocks: usize,
    pub read_events: usize,
    pub write_events: usize,
    /// All calls, and all bytes they moved.
    pub calls: usize,
    pub moved: usize,
}

pub type Shared = Arc<Mutex<Pipe>>;

impl Pipe {
    pub fn new(rng: &mut Rng) -> Shared {
        let mut rng = rng.fork();
        let chunk = rng.pick(&[1, 20, 100, 100, 5_000, 5_000, usize::MAX, usize::MAX]);
        let capacity = rng.pick(&[10, 100, 1_000, 1_000, 20_000, 500_000]);
        Self::with(rng, capacity, chunk, true)
    }

    /// One that moves as much as it can, up to `chunk` bytes in a call.
    pub fn calm(capacity: usize, chunk: usize) -> Shared {
        Self::with(Rng::new(0), capacity, chunk, false)
    }

    fn with(rng: Rng, capacity: usize, chunk: usize, flaky: bool) -> Shared {
        Arc::new(Mutex::new(Self {
            rng,
            flaky,
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
            capacity,
            chunk,
            due: Readiness { readable: false, writable: true, read_closed: false },
            peer_ended: false,
            reset: false,
            session_ended: false,
            dropped: false,
            write_starved: false,
            read_blocks: 0,
            write_blocks: 0,
            read_events: 0,
            write_events: 0,
            calls: 0,
            moved: 0,
        }))
    }

    /// The peer sends.
    pub fn arrive(&mut self, bytes: &[u8]) {
        if self.dropped || self.reset {
            return;
        }
        self.inbound.extend(bytes);
        self.due.readable = true;
    }

    /// The peer takes up to `max` bytes.
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let len = max.min(self.outbound.len());
        let bytes = self.outbound.drain(..len).collect();
        if len > 0 && std::mem::take(&mut self.write_starved) {
            self.due.writable = true;
        }
        bytes
    }

    pub fn end(&mut self) {
        self.peer_ended = true;
        self.due.readable = true;
        self.due.read_closed = true;
    }

    pub fn reset(&mut self) {
        self.reset = true;
        self.inbound.clear();
        self.outbound.clear();
        self.due = Readiness { readable: true, writable: true, read_closed: true };
    }

    fn whim(&mut self, n: usize) -> bool {
        self.flaky && self.rng.one_in(n)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.whim(30) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.inbound.is_empty() && self.peer_ended {
            return Ok(0);
        }
        if self.inbound.is_empty() || self.whim(15) {
            self.read_blocks += 1;
            self.due.readable |= !self.inbound.is_empty();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = self.inbound.len().min(buffer.len()).min(self.chunk);
        let len = if self.flaky { self.rng.between(1, most) } else { most };
        self.moved += len;
        self.inbound.read_exact(&mut buffer[..len])?;
        Ok(len)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.calls += 1;
        assert!(!self.session_ended, "a write after the end");
        if self.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.whim(30) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let room = self.capacity.saturating_sub(self.outbound.len());
        if room == 0 || self.whim(15) {
            self.write_blocks += 1;
            self.write_starved = room == 0;
            self.due.writable |= room > 0;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(offered > 0, "a write of nothing");
        let most = offered.min(room).min(self.chunk);
        let len = if self.flaky { self.rng.between(1, most) } else { most };
        self.outbound.extend(slices.iter().flat_map(|slice| slice.iter()).take(len));
        self.moved += len;
        Ok(len)
    }
}

/// The session's end.
#[derive(Debug)]
pub struct SimStream(pub Shared);

impl SimStream {
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap()
    }
}

impl Read for SimStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe().read(buffer)
    }
}

impl Write for SimStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.pipe().write(&[IoSlice::new(buffer)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.pipe().write(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SimStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut pipe = self.pipe();
        assert!(!pipe.session_ended, "the stream is ended twice");
        pipe.session_ended = true;
        if pipe.reset { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.pipe().dropped = true;
    }
}
