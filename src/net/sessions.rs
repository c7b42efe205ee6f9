//! All connections of a loop: everything but the poll itself.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Registry, Waker};

use super::{Application, ConnectionId, DialRequest, NetConfig, PeerAddr, Transport};
use crate::handshake::{Agreed, UpgradeRequest};
use crate::protocol;
use crate::wire::{CloseCode, Message, MessageKind, PreparedMessage};

/// What became of something sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It leaves with this turn of the loop, or waits below the high-water mark.
    Written,
    /// It is queued, and the connection is at its high-water mark: wait for `writable` before sending more.
    Backpressure,
    /// It was not queued: the connection had too much waiting and the policy is to drop.
    Dropped,
}

/// Why something was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The id names no open connection: it is gone, or its handshake is not done.
    NotOpen,
    /// The connection had too much waiting, and was ended by policy.
    Overflow,
    /// The connection's state or the message itself does not allow it.
    Protocol(protocol::SendError),
}

/// A timer of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    pub(crate) index: u32,
    pub(crate) serial: u32,
}

/// Which directions of a stream became ready, as the poll says; it may err on the side of too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read, or an error.
    pub readable: bool,
    /// There is room to write, or an error.
    pub writable: bool,
    /// The peer has ended its direction, or the stream is broken: read up to the end, a short read does not mean that
    /// nothing is left.
    pub read_closed: bool,
}

/// All connections of one loop, in either role, with their timers and what they have to send.
#[derive(Debug)]
pub struct Sessions {}

impl Sessions {
    /// Sessions at `now`, without a connection. `registry` and `waker` are absent where nothing polls, as in a
    /// simulation; dialling needs both.
    pub fn new(config: NetConfig, registry: Option<Registry>, waker: Option<Arc<Waker>>, now: Instant) -> Self {
        todo!()
    }

    /// Queues a message.
    ///
    /// # Errors
    /// If the connection is not open, was closed for having too much waiting, or is in the middle of a streamed message.
    pub fn send<'m>(&mut self, id: ConnectionId, message: impl Into<Message<'m>>) -> Result<Sent, SendError> {
        todo!()
    }

    /// Queues a message that was encoded once for many.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, id: ConnectionId, message: &PreparedMessage) -> Result<Sent, SendError> {
        todo!()
    }

    /// Queues the next piece of a message; `last` ends it. Pieces become frames of one fragmented message.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_piece(
        &mut self,
        id: ConnectionId,
        kind: MessageKind,
        piece: &[u8],
        last: bool,
    ) -> Result<Sent, SendError> {
        todo!()
    }

    /// Queues a ping with at most 125 bytes.
    ///
    /// # Errors
    /// As [`send`](Self::send), and a payload too long.
    pub fn ping(&mut self, id: ConnectionId, payload: &[u8]) -> Result<Sent, SendError> {
        todo!()
    }

    /// Queues an unsolicited pong with at most 125 bytes.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, id: ConnectionId, payload: &[u8]) -> Result<Sent, SendError> {
        todo!()
    }

    /// Starts the closing handshake. Messages that are queued still leave; `closed` follows when the peer has answered or
    /// the time for that is over.
    ///
    /// # Errors
    /// If the connection is not open or already closing, the code may not be sent, or the reason is over 123 bytes.
    pub fn close(&mut self, id: ConnectionId, code: CloseCode, reason: &str) -> Result<(), SendError> {
        todo!()
    }

    /// Ends a connection at once, in whatever phase, and forgets what was queued. `closed` or `dial_failed` follows.
    /// Whether there was such a connection.
    pub fn abort(&mut self, id: ConnectionId) -> bool {
        todo!()
    }

    /// Dials; `opened` or `dial_failed` follows, never before this returns.
    pub fn dial(&mut self, request: DialRequest) -> ConnectionId {
        todo!()
    }

    /// Takes a stream that a peer has opened and serves it.
    ///
    /// # Errors
    /// The stream could not be registered, or a limit on connections is reached and nothing could be answered.
    pub fn accept(&mut self, transport: Transport, peer: PeerAddr) -> io::Result<ConnectionId> {
        todo!()
    }

    /// Begins to drain, once: accepts nothing more, closes every connection with 1001 in batches, and ends the loop when
    /// none is left or `within` has passed.
    pub fn shutdown(&mut self, within: Duration) {
        todo!()
    }

    /// Whether the loop is draining.
    pub fn is_draining(&self) -> bool {
        todo!()
    }

    /// Has the application's `timer` called with `key` after `after`, never early and up to one tick (20 ms) late.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerId {
        todo!()
    }

    /// Cancels a timer; whether it was still to come.
    pub fn cancel_timer(&mut self, timer: TimerId) -> bool {
        todo!()
    }

    /// Bytes that wait to be sent to `id`; 0 if there is no such connection.
    pub fn buffered_amount(&self, id: ConnectionId) -> usize {
        todo!()
    }

    /// Who is at the other end.
    pub fn peer_addr(&self, id: ConnectionId) -> Option<&PeerAddr> {
        todo!()
    }

    /// The request that opened a connection of the server role, if [`NetConfig::keep_requests`] is on.
    pub fn request(&self, id: ConnectionId) -> Option<&UpgradeRequest> {
        todo!()
    }

    /// What a connection of the client role agreed on with its server.
    pub fn agreed(&self, id: ConnectionId) -> Option<&Agreed> {
        todo!()
    }

    /// The subprotocol in use, in either role.
    pub fn protocol(&self, id: ConnectionId) -> Option<&str> {
        todo!()
    }

    /// The protocol's state machine, to look at.
    pub fn connection(&self, id: ConnectionId) -> Option<&protocol::Connection> {
        todo!()
    }

    /// What the application keeps with a connection.
    pub fn data(&mut self, id: ConnectionId) -> Option<&mut (dyn Any + Send)> {
        todo!()
    }

    /// Keeps something with a connection until its `closed` has returned; gives back what was there.
    pub fn set_data(&mut self, id: ConnectionId, data: Box<dyn Any + Send>) -> Option<Box<dyn Any + Send>> {
        todo!()
    }

    /// Whether `id` names an open connection.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        todo!()
    }

    /// The ids of all open connections.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        std::iter::empty()
    }

    /// How many connections there are, in whatever phase.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        todo!()
    }
}

/// What the loop does with them.
impl Sessions {
    /// Handles what the poll said of one stream. An id that names nothing any more is no error.
    pub fn ready<A: Application>(&mut self, app: &mut A, id: ConnectionId, readiness: Readiness, now: Instant) {
        todo!()
    }

    /// Does all that is due at `now` besides readiness: timers, connections that were over their budget, draining.
    pub fn tick<A: Application>(&mut self, app: &mut A, now: Instant) {
        todo!()
    }

    /// Ends a turn: one write for each connection that has something to send.
    pub fn flush<A: Application>(&mut self, app: &mut A) {
        todo!()
    }

    /// When [`tick`](Self::tick) is due at the latest; now, if work is left over.
    pub fn next_deadline(&self) -> Option<Instant> {
        todo!()
    }

    /// Whether the drain has come to its end: nothing is left.
    pub fn is_finished(&self) -> bool {
        todo!()
    }
}
