//! Two byte queues joined to a stream that does not wait, takes and gives as little as a test wants, and tells of room
//! and bytes the way an edge-triggered poll does.

// Each test crate uses its own part of this, and no one else any.
#![allow(dead_code, missing_debug_implementations, missing_docs, unreachable_pub)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

use loopwire::net::Stream;

#[derive(Debug)]
pub struct Queue {
    pub bytes: VecDeque<u8>,
    pub ended: bool,
    /// Whether a write has been refused since the last room, and a read since the last bytes.
    refused: bool,
    /// Events that the ends have not taken yet: there are bytes, there is room again.
    readable: bool,
    writable: bool,
    /// Bytes that one call moves at most, and that wait on the way at most.
    pub chunk: usize,
    pub capacity: usize,
}

/// One end of two queues.
#[derive(Clone, Debug)]
pub struct Pipe {
    pub incoming: Arc<Mutex<Queue>>,
    pub outgoing: Arc<Mutex<Queue>>,
}

pub fn pipes(chunk: usize) -> (Pipe, Pipe) {
    let queue = || {
        Arc::new(Mutex::new(Queue {
            bytes: VecDeque::new(),
            ended: false,
            refused: false,
            readable: false,
            writable: false,
            chunk,
            capacity: 1 << 20,
        }))
    };
    let (one, other) = (queue(), queue());
    let end =
        |incoming: &Arc<_>, outgoing: &Arc<_>| Pipe { incoming: Arc::clone(incoming), outgoing: Arc::clone(outgoing) };
    (end(&one, &other), end(&other, &one))
}

impl Pipe {
    pub fn sent(&self) -> Vec<u8> {
        self.outgoing.lock().unwrap().bytes.iter().copied().collect()
    }

    /// The events since the last call, edge-triggered: bytes have come; there is room again after a refusal.
    pub fn events(&self) -> (bool, bool) {
        let readable = std::mem::take(&mut self.incoming.lock().unwrap().readable);
        let writable = std::mem::take(&mut self.outgoing.lock().unwrap().writable);
        (readable, writable)
    }

    /// Makes the way out narrow.
    pub fn narrow(&self, chunk: usize, capacity: usize) {
        let mut queue = self.outgoing.lock().unwrap();
        (queue.chunk, queue.capacity) = (chunk, capacity);
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut queue = self.incoming.lock().unwrap();
        let len = buffer.len().min(queue.chunk).min(queue.bytes.len());
        if len == 0 && !queue.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if len > 0 && std::mem::take(&mut queue.refused) {
            queue.writable = true;
        }
        for (to, from) in buffer.iter_mut().zip(queue.bytes.drain(..len)) {
            *to = from;
        }
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut queue = self.outgoing.lock().unwrap();
        let len = buffer.len().min(queue.chunk).min(queue.capacity.saturating_sub(queue.bytes.len()));
        if len == 0 {
            queue.refused = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        queue.readable = true;
        queue.bytes.extend(&buffer[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pipe {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut queue = self.outgoing.lock().unwrap();
        (queue.ended, queue.readable) = (true, true);
        Ok(())
    }
}
