//! One connection from its first byte to its last: its stream, the phase it is in, and what it has to send.

use std::any::Any;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffers::{BufferPool, Flushed};
use super::dial::Dial;
use super::outbox::Outbox;
use super::timers::later;
use super::{NetConfig, Peer, PeerAddr, Stream, Transport};
use crate::handshake::{Agreed, BodyReader, ClientHandshake, HeadReader, Request, UpgradeRequest};
use crate::protocol::{self, Connection, State};

/// One connection. Ten thousand of them sit idle, so what only some need is boxed; and many may be busy, so what every
/// message touches stands together, before the rest.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Session {
    pub(crate) flags: Flags,
    /// Absent while dialling and once the connection is gone.
    pub(crate) transport: Option<Transport>,
    pub(crate) outbox: Outbox,
    /// Bytes that were read but not decoded yet, because the outbox was full or the turn's budget spent.
    pub(crate) pending: Option<Box<Pending>>,
    pub(crate) phase: Phase,
    pub(crate) origin: Option<Box<Origin>>,
    pub(crate) data: Option<Box<dyn Any + Send>>,
    pub(crate) peer: Peer,
}

/// The phases of a connection; each knows its own deadline.
///
/// ```text
/// server:            Secure ─▶ Head ─▶ Deciding ─▶ Open ─▶ Ending ─▶ Gone
///                plain HTTP:              └─▶ Body ─▶ Answering ─▶┘
/// client: Dialing ───────────▶ Answer ───────────▶ Open ─▶ Ending ─▶ Gone
/// ```
#[derive(Debug)]
pub(crate) enum Phase {
    /// On the way to a stream.
    Dialing(Box<Dialing>),
    /// A server's TLS handshake.
    Secure(Instant),
    /// A server reading the request's head.
    Head(Box<Head>),
    /// The application judges the request, or learns of the answer, at this very moment.
    Deciding,
    /// A server reading the body of a plain request.
    Body(Box<Incoming>),
    /// The application has a plain request and has not answered it.
    Answering(Answering),
    /// A client waiting for the 101.
    Answer(Box<Answer>),
    /// A WebSocket.
    Open(Connection),
    /// Over for the application: what is queued leaves, then the stream is taken down.
    Ending(Ending),
    /// The stream is closed; the entry goes when the application has heard of it.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Dialing {
    pub(crate) dial: Dial,
    /// When the whole of it, the opening handshake included, must be done.
    pub(crate) deadline: Instant,
    /// When the dialling wants to be called again.
    pub(crate) wait: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) reader: HeadReader,
    pub(crate) deadline: Instant,
}

/// A plain request whose body is on its way.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) request: Request,
    pub(crate) reader: BodyReader,
    pub(crate) deadline: Instant,
}

/// What has to be known of a plain request to answer it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answering {
    pub(crate) deadline: Instant,
    /// Whether it was a HEAD, whose answer has no body.
    pub(crate) head_only: bool,
    /// Whether the peer has ended its direction.
    pub(crate) peer_ended: bool,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) handshake: ClientHandshake,
    pub(crate) config: Arc<protocol::Config>,
    pub(crate) deadline: Instant,
}

/// How a stream is taken down without a reset that could overtake our last bytes: flush, end our direction, read and
/// discard until the peer ends its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) deadline: Instant,
    /// Whether we still have to end our direction. Not for a client: the server closes first [RFC 6455 §7.1.1].
    pub(crate) shut_write: bool,
    /// Whether the peer has ended its direction.
    pub(crate) peer_ended: bool,
}

/// Input that waits to be decoded.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    /// Those before this were decoded.
    pub(crate) at: usize,
}

/// How the connection came about.
#[derive(Debug)]
pub(crate) enum Origin {
    Request { request: Option<UpgradeRequest>, protocol: Option<String> },
    Agreed(Agreed),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// The stream may have something to read: set by readiness, cleared when a read came up short.
    pub(crate) readable: bool,
    /// The peer has ended its direction, so a short read does not mean that nothing is left.
    pub(crate) read_closed: bool,
    /// The stream took no more; only readiness changes that.
    pub(crate) blocked: bool,
    /// A write failed. What was received before can still be read.
    pub(crate) write_broken: bool,
    /// It is in the list of those to be flushed.
    pub(crate) dirty: bool,
    /// It is in the list of those that go on with the next turn.
    pub(crate) queued: bool,
    /// Decoding stopped at the high-water mark.
    pub(crate) paused: bool,
    /// The application was told `Backpressure` and hears `writable` once it is over.
    pub(crate) wants_writable: bool,
    /// A stream that was full has taken something since its deadlines were last looked at: the peer is alive.
    pub(crate) progress: bool,
    /// Its deadline has passed and was postponed, so it is not looked at again before its alarm.
    pub(crate) postponed: bool,
    /// It was closed for having too much waiting.
    pub(crate) overflown: bool,
    /// `closed` or `dial_failed` is on its way.
    pub(crate) reporting: bool,
    /// It was accepted and counts against its address.
    pub(crate) counted: bool,
    /// It was accepted and has not opened: it counts as half-open.
    pub(crate) half_open: bool,
    /// It was accepted and its TLS handshake is counted.
    pub(crate) securing: bool,
    /// It was refused at once and counts against the number of those.
    pub(crate) refused: bool,
}

impl Session {
    pub(crate) fn new(transport: Option<Transport>, phase: Phase, peer: PeerAddr) -> Self {
        Self {
            transport,
            phase,
            outbox: Outbox::default(),
            pending: None,
            peer: peer.into(),
            data: None,
            origin: None,
            flags: Flags::default(),
        }
    }

    /// When something must have happened, whatever the phase.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Dialing(dialing) => Some(dialing.wait.map_or(dialing.deadline, |wait| wait.min(dialing.deadline))),
            Phase::Secure(deadline) => Some(*deadline),
            Phase::Head(head) => Some(head.deadline),
            Phase::Body(incoming) => Some(incoming.deadline),
            Phase::Answering(answering) => Some(answering.deadline),
            Phase::Answer(answer) => Some(answer.deadline),
            Phase::Open(connection) => connection.next_timeout(),
            Phase::Ending(ending) => Some(ending.deadline),
            Phase::Deciding | Phase::Gone => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether the stream may have something to read.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.flags.readable || self.transport.as_ref().is_some_and(Transport::has_buffered_plaintext)
    }

    /// Whether what it reads is for the protocol, in an opening handshake or behind it.
    #[inline]
    pub(crate) fn takes_bytes(&self) -> bool {
        matches!(self.phase, Phase::Open(_) | Phase::Head(_) | Phase::Body(_) | Phase::Answer(_))
    }

    /// Whether it is open, between two messages, and nobody is waited for: then what was just read has moved its deadline
    /// away, if anything, and its stream stays.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(&self.phase, Phase::Open(connection) if connection.is_at_rest())
    }

    /// Whether the peer can be told something that is worth hearing: open, and no Close sent or received.
    pub(crate) fn takes_messages(&self) -> bool {
        matches!(&self.phase, Phase::Open(connection) if connection.state() == State::Open)
    }

    /// How many bytes may wait to be sent before decoding waits too.
    ///
    /// Two ends that both wait with reading until the other has read wait for ever. So a server gives way early, and a
    /// client only where what waits would be too much.
    pub(crate) fn pause_mark(&self, config: &NetConfig) -> usize {
        let is_client = matches!(self.origin.as_deref(), Some(Origin::Agreed(_)));
        if is_client { config.max_buffered } else { config.high_water_mark }
    }

    /// Since when the peer's message, or frame, should have been finished, if one is overdue.
    pub(crate) fn overdue_message(&self, now: Instant) -> Option<Instant> {
        let Phase::Open(connection) = &self.phase else { return None };
        let is_open = connection.state() == State::Open;
        connection.message_deadline().filter(|deadline| is_open && *deadline <= now)
    }

    /// Takes the stream down as `Ending` says, `linger` at most.
    pub(crate) fn end(&mut self, now: Instant, linger: Duration, shut_write: bool, peer_ended: bool) {
        self.phase = Phase::Ending(Ending { deadline: later(now, linger), shut_write, peer_ended });
        self.pending = None;
    }

    /// Closes the stream at once.
    pub(crate) fn drop_stream(&mut self, pool: &mut BufferPool) {
        self.transport = None;
        self.phase = Phase::Gone;
        self.pending = None;
        self.outbox.clear(pool);
    }

    /// Writes what is queued, as far as the stream takes it, and ends our direction behind it if that is due.
    ///
    /// # Errors
    /// The stream is broken.
    #[inline(always)]
    pub(crate) fn flush(&mut self, pool: &mut BufferPool) -> io::Result<Flushed> {
        let Some(transport) = &mut self.transport else { return Ok(Flushed::Drained) };
        if self.flags.write_broken {
            self.outbox.clear(pool);
            return Ok(Flushed::Drained);
        }
        let before = self.outbox.len();
        let flushed = self.outbox.write_to(transport, pool);
        self.flags.progress |= self.outbox.len() < before;
        let mut flushed = flushed?;
        if transport.wants_write() {
            match transport.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => flushed = Flushed::Blocked,
                Err(error) => return Err(error),
            }
        }
        if flushed == Flushed::Drained
            && let Phase::Ending(ending) = &mut self.phase
            && ending.shut_write
        {
            match transport.shutdown_write() {
                Ok(()) => ending.shut_write = false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => flushed = Flushed::Blocked,
                Err(error) => return Err(error),
            }
        }
        self.flags.blocked = flushed == Flushed::Blocked;
        Ok(flushed)
    }

    /// Queues `payload` behind what is queued, having offered both to the stream as they stand if it may take them.
    ///
    /// # Errors
    /// The stream is broken.
    pub(crate) fn write_through(&mut self, payload: &[u8], pool: &mut BufferPool) -> io::Result<()> {
        match &mut self.transport {
            Some(transport) if !self.flags.blocked && !self.flags.write_broken => {
                let flushed = self.outbox.write_through(payload, transport, pool)?;
                self.flags.blocked = flushed == Flushed::Blocked;
            }
            _ => self.outbox.tail(pool).extend_from_slice(payload),
        }
        Ok(())
    }

    /// Whether the stream may be closed: all was sent and both directions have ended, or ours never will.
    #[inline(always)]
    pub(crate) fn is_finished(&self) -> bool {
        match &self.phase {
            Phase::Ending(ending) => ending.peer_ended && self.outbox.is_empty() && !self.flags.blocked,
            Phase::Gone => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // With its id and its alarm, an idle connection is to cost less than 230 bytes.
        assert!(size_of::<Session>() <= 208, "{} bytes", size_of::<Session>());
    }
}
