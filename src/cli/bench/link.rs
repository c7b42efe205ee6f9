//! An open connection of the load generator: what is owed to the server leaves by one write, what comes back is judged.

use std::io::{self, Read as _, Write as _};
use std::ops::Range;

use loopwire::net::{Stream as _, Transport};
use loopwire::wire::{CloseCode, FrameHeader, Opcode};

use super::opening::is_for_later;
use super::payloads::{Payloads, frame};
use super::replies::{Fault, Replies, Taken};

/// Bytes read at once: enough that large messages do not cost a call for every few KiB, and little enough to stay in the
/// processor's cache.
pub(super) const READ: usize = 128 << 10;
/// The payload of a Close with code 1000.
const CLOSE_NORMAL: [u8; 2] = CloseCode::NORMAL.0.to_be_bytes();

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    transport: Transport,
    replies: Replies,
    /// Which message is sent next, and how many are to be sent that no write has begun with.
    next: usize,
    owed: usize,
    /// What is left of the run that a write has begun with.
    sending: Range<usize>,
    /// Other frames, pongs above all, and how much of them has been written. They go between messages.
    between: Vec<u8>,
    between_written: usize,
}

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) enum Loss {
    Fault(Fault),
    Io(io::Error),
    /// The stream ended without a Close.
    Ended,
}

impl Link {
    /// A connection that sends, and expects back, messages from `next` on.
    pub(super) fn new(transport: Transport, replies: Replies, next: usize) -> Self {
        Self { transport, replies, next, owed: 0, sending: 0..0, between: Vec::new(), between_written: 0 }
    }

    /// Reads all there is, through `buffer`, and gives `each` what every piece of it brought.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        payloads: &Payloads,
        mut each: impl FnMut(Taken, usize),
    ) -> Result<(), Loss> {
        loop {
            let len = match self.transport.read(buffer) {
                Ok(0) => return Err(Loss::Ended),
                Ok(len) => len,
                Err(error) if is_for_later(&error) => return Ok(()),
                Err(error) => return Err(Loss::Io(error)),
            };
            each(self.take(&buffer[..len], payloads)?, len);
            if !self.transport.may_have_more(len, buffer.len()) {
                return Ok(());
            }
        }
    }

    /// Judges bytes that were read already.
    pub(super) fn take(&mut self, piece: &[u8], payloads: &Payloads) -> Result<Taken, Loss> {
        let taken = self.replies.take(piece, payloads).map_err(Loss::Fault)?;
        if taken.ping {
            frame(FrameHeader::new(Opcode::Pong, 0), self.replies.ping(), &mut self.between);
        }
        Ok(taken)
    }

    /// Lets so many more messages be sent. [`flush`](Self::flush) sends them.
    pub(super) fn owe(&mut self, messages: usize) {
        self.owed += messages;
    }

    /// Queues another frame, behind the messages that a write has begun with.
    pub(super) fn interject(&mut self, opcode: Opcode, payload: &[u8]) {
        frame(FrameHeader::new(opcode, 0), payload, &mut self.between);
    }

    /// Says goodbye, as far as the socket lets it. Whoever is gone by now need not be told.
    pub(super) fn close(&mut self, payloads: &Payloads) {
        self.interject(Opcode::Close, &CLOSE_NORMAL);
        let _ = self.flush(payloads);
    }

    /// Writes what is owed, as far as the socket takes it.
    pub(super) fn flush(&mut self, payloads: &Payloads) -> Result<(), Loss> {
        loop {
            if self.sending.is_empty() {
                if !self.between.is_empty() && !self.flush_between()? {
                    return Ok(());
                }
                if self.owed == 0 {
                    break;
                }
                let (run, count) = payloads.run(self.next, self.owed);
                self.next = payloads.after(self.next, count);
                self.owed -= count;
                self.sending = run;
            }
            let Some(len) = self.write(&payloads.frames()[self.sending.clone()])? else { return Ok(()) };
            self.sending.start += len;
            if !self.sending.is_empty() && !self.transport.is_tls() {
                // A socket that takes a part has no room for more; an event will tell when it has.
                return Ok(());
            }
        }
        if self.transport.wants_write() {
            match self.transport.flush() {
                Err(error) if !is_for_later(&error) => return Err(Loss::Io(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether all of them are written.
    fn flush_between(&mut self) -> Result<bool, Loss> {
        let between = std::mem::take(&mut self.between);
        while self.between_written < between.len() {
            let Some(len) = self.write(&between[self.between_written..])? else {
                self.between = between;
                return Ok(false);
            };
            self.between_written += len;
        }
        self.between_written = 0;
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<Option<usize>, Loss> {
        match self.transport.write(bytes) {
            Ok(len) => Ok(Some(len)),
            Err(error) if is_for_later(&error) => Ok(None),
            Err(error) => Err(Loss::Io(error)),
        }
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::Io(error) => write!(f, "the connection was lost: {error}"),
            Self::Ended => f.write_str("the server ended the connection without closing it"),
        }
    }
}
