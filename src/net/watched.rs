//! The wire hook: connections whose every byte the application is shown.
//!
//! ```text
//! Transport::Watched ── copies of what it read and wrote ─▶ Tape ─▶ Application::wire
//! ```
//! A connection that nobody watches has another transport, and knows nothing of this.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Application, ConnectionId, Sessions, Transport};
use crate::protocol::Side;

/// What has passed on the watched connections of a loop, in order, and has not been shown yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Tape(Arc<Mutex<VecDeque<Passed>>>);

#[derive(Debug)]
struct Passed {
    id: ConnectionId,
    by: Side,
    bytes: Vec<u8>,
}

impl Tape {
    pub(super) fn note(&self, id: ConnectionId, by: Side, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.lock().push_back(Passed { id, by, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Passed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transport that notes what passes through it.
#[derive(Debug)]
pub struct Watched {
    pub(super) inner: Transport,
    id: ConnectionId,
    tape: Tape,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buffer)?;
        self.tape.note(self.id, Side::Peer, &buffer[..len]);
        Ok(len)
    }
}

impl Write for Watched {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(buffer)?;
        self.tape.note(self.id, Side::Local, &buffer[..len]);
        Ok(len)
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = self.inner.write_vectored(buffers)?;
        let mut left = len;
        for buffer in buffers {
            let taken = buffer.len().min(left);
            self.tape.note(self.id, Side::Local, &buffer[..taken]);
            left -= taken;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Sessions {
    /// Has the application shown every byte of a connection, in [`Application::wire`]. Asked for in
    /// [`upgrade`](Application::upgrade), it begins with the request's first byte; later, with what is read and written
    /// next, be that inside a frame. Whether there is such a connection.
    pub fn watch(&mut self, id: ConnectionId) -> bool {
        let Some(session) = self.slab.get_mut(id) else { return false };
        session.transport = match session.transport.take() {
            None => return false,
            Some(inner) if !matches!(inner, Transport::Watched(_)) => {
                let tape = self.tape.get_or_insert_default().clone();
                Some(Transport::Watched(Box::new(Watched { inner, id, tape })))
            }
            watched => watched,
        };
        true
    }

    /// Notes what was read of a connection before it was watched.
    pub(super) fn note_read(&self, id: ConnectionId, bytes: &[u8]) {
        if let Some(tape) = &self.tape
            && let Some(session) = self.slab.get(id)
            && matches!(session.transport, Some(Transport::Watched(_)))
        {
            tape.note(id, Side::Peer, bytes);
        }
    }

    /// Shows the application what has passed. What passes meanwhile is shown the next time.
    #[inline]
    pub(super) fn show<A: Application>(&mut self, app: &mut A) {
        if self.tape.is_some() {
            self.show_tape(app);
        }
    }

    fn show_tape<A: Application>(&mut self, app: &mut A) {
        let Some(tape) = &self.tape else { return };
        let passed = mem::take(&mut *tape.lock());
        for Passed { id, by, bytes } in passed {
            self.guard(Some(id), "wire", |sessions| app.wire(sessions, id, by, &bytes));
        }
    }
}
