//! What the application has sent, and how it leaves: into the outbox, and out by one write.

use std::io;
use std::mem;
use std::time::Instant;

use super::buffers::BufferPool;
use super::outbox::{AT_ONCE, Outbox};
use super::session::Phase;
use super::{Application, ConnectionId, DialError, OverflowPolicy, SendError, Sent, Sessions};
use crate::protocol::{self, Connection, State};
use crate::wire::{CloseCode, Message, MessageKind, PreparedMessage};

impl Sessions {
    /// Queues a message.
    ///
    /// # Errors
    /// If the connection is not open, was closed for having too much waiting, or is in the middle of a streamed message.
    #[inline]
    pub fn send<'m>(&mut self, id: ConnectionId, message: impl Into<Message<'m>>) -> Result<Sent, SendError> {
        let message = message.into();
        let len = message.payload().len();
        if len < AT_ONCE && self.send_plain(id, message) {
            return Ok(Sent::Written);
        }
        self.send_with_care(id, message)
    }

    #[inline(never)]
    fn send_with_care(&mut self, id: ConnectionId, message: Message<'_>) -> Result<Sent, SendError> {
        let len = message.payload().len();
        self.write(id, len, |connection, outbox, pool, _| {
            let out = outbox.tail(pool);
            if len < AT_ONCE {
                connection.send(message, out).map(|()| None)
            } else {
                connection.send_in_place(message, out)
            }
        })
    }

    /// The fast lane: queues a small message, if nothing about it needs a thought. Whether it did.
    #[inline(always)]
    fn send_plain(&mut self, id: ConnectionId, message: Message<'_>) -> bool {
        let most = self.config.high_water_mark.min(self.config.max_buffered);
        let Some(session) = self.slab.get_mut(id) else { return false };
        let Phase::Open(connection) = &mut session.phase else { return false };
        let Some(tail) = session.outbox.tail_within(most, message.payload().len(), &mut self.pool) else {
            return false;
        };
        if !connection.send_plain(message, tail) {
            session.outbox.settle(&mut self.pool);
            return false;
        }
        if !session.flags.dirty {
            session.flags.dirty = true;
            self.dirty.push(id);
        }
        true
    }

    /// Queues a message that was encoded once for many.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, id: ConnectionId, message: &PreparedMessage) -> Result<Sent, SendError> {
        self.write(id, message.payload().len(), |connection, outbox, pool, _| {
            match connection.share(message)? {
                Some(encoding) => outbox.push_shared(message, encoding, pool),
                // A client's, which is masked.
                None => drop(connection.send_prepared(message, outbox.tail(pool))?),
            }
            Ok(None)
        })
    }

    /// Leaves what waits to be sent to `id` now out of what counts against [`max_buffered`](super::NetConfig::max_buffered): its
    /// peer has asked for that, and is not slow for having it before it. Whoever does this bounds what a peer may ask for.
    pub fn excuse(&mut self, id: ConnectionId) {
        if let Some(session) = self.slab.get_mut(id) {
            session.outbox.excuse(&mut self.pool);
        }
    }

    /// Queues the next piece of a message; `last` ends it. Pieces become frames of one fragmented message.
    ///
    /// # Errors
    /// As [`send`](Self::send), and a piece of the other kind than the first.
    pub fn send_piece(
        &mut self,
        id: ConnectionId,
        kind: MessageKind,
        piece: &[u8],
        last: bool,
    ) -> Result<Sent, SendError> {
        self.write(id, piece.len(), |connection, outbox, pool, _| {
            connection.send_piece(kind, piece, last, outbox.tail(pool)).map(|()| None)
        })
    }

    /// Queues a ping with at most 125 bytes; the pong that answers it carries the round-trip time.
    ///
    /// # Errors
    /// As [`send`](Self::send), and a payload too long.
    pub fn ping(&mut self, id: ConnectionId, payload: &[u8]) -> Result<Sent, SendError> {
        let sent = self.write(id, payload.len(), |connection, outbox, pool, now| {
            connection.ping(payload, outbox.tail(pool), now).map(|()| None)
        });
        self.rearm(id);
        sent
    }

    /// Queues an unsolicited pong with at most 125 bytes.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, id: ConnectionId, payload: &[u8]) -> Result<Sent, SendError> {
        self.write(id, payload.len(), |connection, outbox, pool, _| {
            connection.pong(payload, outbox.tail(pool)).map(|()| None)
        })
    }

    /// Starts the closing handshake. Messages that are queued still leave; `closed` follows when the peer has answered or
    /// the time for that is over.
    ///
    /// # Errors
    /// If the connection is not open or already closing, the code may not be sent, or the reason is over 123 bytes.
    pub fn close(&mut self, id: ConnectionId, code: CloseCode, reason: &str) -> Result<(), SendError> {
        let session = self.slab.get_mut(id).ok_or(SendError::NotOpen)?;
        let Phase::Open(connection) = &mut session.phase else { return Err(SendError::NotOpen) };
        protocol::log_as(id);
        let closed = connection.close(code, reason, session.outbox.tail(&mut self.pool), self.now);
        // Refused, it has written nothing.
        session.outbox.settle(&mut self.pool);
        closed?;
        self.mark_dirty(id);
        self.rearm(id);
        Ok(())
    }

    /// Ends a connection that takes what it is sent too slowly. What has not begun to leave would come too late; but if
    /// there is a Close for this, the peer may learn why.
    fn end_overflown(&mut self, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        if let (Phase::Open(connection), Some((code, reason))) = (&mut session.phase, self.config.overflow_close) {
            session.outbox.keep_begun(&mut self.pool);
            protocol::log_as(id);
            if connection.give_up(code, reason, session.outbox.tail(&mut self.pool), self.now).is_ok() {
                session.flags.overflown = true;
                session.flags.wants_writable = false;
                self.mark_dirty(id);
                return self.rearm(id);
            }
            log::error!("{code} cannot be sent as `overflow_close`, or its reason is too long");
        }
        self.lose(id, DialError::Cancelled);
    }

    /// Checks a connection's room, has `write` append to its outbox, and says how full that is now. A payload that `write`
    /// gives back follows what it appended, from where it stands.
    fn write<'m>(
        &mut self,
        id: ConnectionId,
        len: usize,
        write: impl FnOnce(
            &mut Connection,
            &mut Outbox,
            &mut BufferPool,
            Instant,
        ) -> Result<Option<&'m [u8]>, protocol::SendError>,
    ) -> Result<Sent, SendError> {
        let session = self.slab.get_mut(id).ok_or(SendError::NotOpen)?;
        let Phase::Open(connection) = &mut session.phase else { return Err(SendError::NotOpen) };
        let waiting = session.outbox.counted();
        // A single message may be larger than the cap; a second one has to fit, but for what the peer has asked for. One
        // that is closing refuses by itself.
        let is_over = waiting > 0 && waiting.saturating_add(len) > self.config.max_buffered;
        if is_over && connection.state() == State::Open {
            return match self.config.overflow {
                OverflowPolicy::Drop => {
                    session.flags.wants_writable = true;
                    Ok(Sent::Dropped)
                }
                OverflowPolicy::Close => {
                    log::info!("{}: closed: {waiting} bytes wait to be sent and {len} more do not fit", session.peer);
                    self.end_overflown(id);
                    Err(SendError::Overflow)
                }
            };
        }
        protocol::log_as(id);
        let written = write(connection, &mut session.outbox, &mut self.pool, self.now);
        if let Ok(Some(payload)) = written
            && let Err(error) = session.write_through(payload, &mut self.pool)
        {
            self.write_failed(id, &error);
            return Err(SendError::NotOpen);
        }
        if session.flags.blocked {
            // It will not be sent with this turn.
            session.outbox.leave_run(&mut self.pool);
        }
        let is_full = session.outbox.len() >= self.config.high_water_mark;
        session.flags.wants_writable |= is_full;
        if session.outbox.is_empty() {
            // Nothing was written, or all of it has left: no buffer is kept for that.
            session.outbox.settle(&mut self.pool);
        } else if !session.flags.dirty {
            session.flags.dirty = true;
            self.dirty.push(id);
        }
        written?;
        Ok(if is_full { Sent::Backpressure } else { Sent::Written })
    }

    /// Ends a turn: one write for each connection that has something to send.
    pub fn flush<A: Application>(&mut self, app: &mut A) {
        // What applications send on hearing of an end leaves with the same turn; an endless exchange of that does not
        // hold up the loop.
        for _ in 0..3 {
            if self.dirty.is_empty() {
                break;
            }
            let mut dirty = mem::take(&mut self.dirty);
            for id in dirty.drain(..) {
                self.flush_dirty(id);
            }
            if self.dirty.is_empty() {
                // Keep the allocation.
                self.dirty = dirty;
            }
            self.settle(app);
        }
        if self.dirty.is_empty() {
            self.pool.run.end();
        }
    }

    /// Writes what a connection has to send; it stands in the list of those no more.
    #[inline(always)]
    pub(super) fn flush_dirty(&mut self, id: ConnectionId) {
        if let Some(session) = self.slab.get_mut(id) {
            session.flags.dirty = false;
            self.flush_one(id);
        }
    }

    #[inline(always)]
    pub(super) fn flush_one(&mut self, id: ConnectionId) {
        let Some(session) = self.slab.get_mut(id) else { return };
        if session.flags.blocked {
            return;
        }
        if let Err(error) = session.flush(&mut self.pool) {
            return self.write_failed(id, &error);
        }
        if session.is_finished() {
            return self.lose(id, DialError::Cancelled);
        }
        let is_low = session.outbox.len() <= self.config.high_water_mark / 2;
        if is_low && (session.flags.paused || session.flags.wants_writable) {
            session.flags.paused = false;
            self.requeue(id);
        }
    }

    /// The stream takes no more. What came in before it broke is still read.
    pub(super) fn write_failed(&mut self, id: ConnectionId, error: &io::Error) {
        let Some(session) = self.slab.get_mut(id) else { return };
        log::debug!("{}: cannot write: {error}", session.peer);
        session.outbox.clear(&mut self.pool);
        if matches!(session.phase, Phase::Answering(_) | Phase::Ending(_)) {
            self.lose(id, DialError::Cancelled);
            return;
        }
        (session.flags.write_broken, session.flags.readable) = (true, true);
        self.requeue(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::session::Session;
    use super::super::{NetConfig, PeerAddr};
    use super::*;
    use crate::protocol::{Config, Role};

    type Attempt = fn(&mut Sessions, ConnectionId) -> Result<Sent, SendError>;

    #[test]
    fn what_is_refused_leaves_no_buffer_with_its_connection() {
        let refused: &[(&str, Attempt)] = &[
            ("a small message", |sessions, id| sessions.send(id, "small")),
            ("a large message", |sessions, id| sessions.send(id, &[0; AT_ONCE][..])),
            ("one for many", |sessions, id| sessions.send_prepared(id, &PreparedMessage::new("for many"))),
            ("a piece of the other kind", |sessions, id| sessions.send_piece(id, MessageKind::Text, b"piece", true)),
            ("a ping too long", |sessions, id| sessions.ping(id, &[0; 126])),
            ("a pong too long", |sessions, id| sessions.pong(id, &[0; 126])),
            ("a code not to be sent", |sessions, id| sessions.close(id, CloseCode(1006), "").map(|()| Sent::Written)),
            ("a reason too long", |sessions, id| {
                sessions.close(id, CloseCode::NORMAL, &"x".repeat(124)).map(|()| Sent::Written)
            }),
        ];
        for role in [Role::Server, Role::Client] {
            let now = Instant::now();
            let mut sessions = Sessions::new(NetConfig::default(), None, None, now);
            let connection = Connection::new(role, Arc::new(Config::default()), None, now);
            let id = sessions.slab.insert(Session::new(None, Phase::Open(connection), PeerAddr::Unknown));
            sessions.send_piece(id, MessageKind::Binary, b"the first of several", false).unwrap();
            sessions.slab.get_mut(id).unwrap().outbox.clear(&mut sessions.pool);
            for (what, attempt) in refused {
                assert!(attempt(&mut sessions, id).is_err(), "{role:?}: {what}");
                let outbox = &sessions.slab.get(id).unwrap().outbox;
                assert!(matches!(outbox, Outbox::Empty), "{role:?}: {what}");
            }
        }
    }
}
