//! One connection, lent to a call.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use super::connections::Core;
use super::{Connections, TimerHandle};
use crate::deflate::DeflateParams;
use crate::handshake::{Agreed, UpgradeRequest};
use crate::net::{ConnectionId, PeerAddr, SendError, Sent, Sessions};
use crate::protocol::{Role, State};
use crate::wire::{CloseCode, Message, MessageKind, PreparedMessage};

/// One connection, lent for one call of the handler. To reach it later, keep its [`id`](Self::id).
pub struct WebSocket<'a> {
    connections: Connections<'a>,
    id: ConnectionId,
}

impl<'a> WebSocket<'a> {
    pub(super) fn new(sessions: &'a mut Sessions, core: &'a mut Core, id: ConnectionId) -> Self {
        Self { connections: Connections::new(sessions, core), id }
    }

    /// Its id, which names it and nothing else as long as the process lives.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Who is at the other end.
    pub fn peer_addr(&self) -> PeerAddr {
        self.sessions().peer_addr(self.id).unwrap_or(PeerAddr::Unknown)
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        if self.agreed().is_some() { Role::Client } else { Role::Server }
    }

    /// The request that opened it, with path, query and fields: at the server, unless
    /// [`NetConfig::keep_requests`](crate::net::NetConfig::keep_requests) is off.
    pub fn request(&self) -> Option<&UpgradeRequest> {
        self.sessions().request(self.id)
    }

    /// What the server agreed to, with the fields of its answer: at the client.
    pub fn agreed(&self) -> Option<&Agreed> {
        self.sessions().agreed(self.id)
    }

    /// The subprotocol in use.
    pub fn protocol(&self) -> Option<&str> {
        self.sessions().protocol(self.id)
    }

    /// The compression in use.
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.sessions().connection(self.id)?.deflate()
    }

    /// Whether something can be sent: it is open, and nobody has said Close.
    pub fn is_open(&self) -> bool {
        self.sessions().connection(self.id).is_some_and(|connection| connection.state() == State::Open)
    }

    /// Sends a message: a `&str` as text, a `&[u8]` as binary, or a [`Message`] as it is. It leaves with all else that this
    /// connection is sent while its input is handled, or otherwise in this turn of the loop; one of 8 KiB or more is
    /// offered to the socket at once.
    ///
    /// ```
    /// # use loopwire::{SendError, WebSocket};
    /// # fn f(ws: &mut WebSocket<'_>) -> Result<(), SendError> {
    /// ws.send("text")?;
    /// ws.send(b"bytes")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The connection is closing, a message in pieces is unfinished, or too much was waiting and the connection was
    /// ended by policy.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<Sent, SendError> {
        self.connections.send(self.id, message)
    }

    /// Sends what was encoded once for many.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, message: &PreparedMessage) -> Result<Sent, SendError> {
        self.connections.send_prepared(self.id, message)
    }

    /// Sends the next piece of a message; `last` ends it. Pieces become the frames of one fragmented message.
    ///
    /// # Errors
    /// As [`send`](Self::send), and a piece of the other kind than the first.
    pub fn send_piece(&mut self, kind: MessageKind, piece: &[u8], last: bool) -> Result<Sent, SendError> {
        self.connections.send_piece(self.id, kind, piece, last)
    }

    /// Sends a ping with at most 125 bytes; [`on_pong`](super::Handler::on_pong) brings the round-trip time.
    ///
    /// # Errors
    /// As [`send`](Self::send), and a payload too long.
    pub fn ping(&mut self, payload: &[u8]) -> Result<Sent, SendError> {
        self.connections.sessions.ping(self.id, payload)
    }

    /// Starts the closing handshake. What is queued still leaves; `on_close` follows when the peer has answered, or the
    /// time for that is over.
    ///
    /// # Errors
    /// The connection is already closing, the code may not be sent, or the reason is over 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        self.connections.close(self.id, code, reason)
    }

    /// Ends the connection at once and forgets what is queued; `on_close` follows.
    pub fn abort(&mut self) {
        self.connections.abort(self.id);
    }

    /// Bytes that wait to be sent.
    pub fn buffered_amount(&self) -> usize {
        self.sessions().buffered_amount(self.id)
    }

    /// The latest round-trip time measured by a ping.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.sessions().connection(self.id)?.round_trip_time()
    }

    /// What [`set_data`](Self::set_data) or [`Upgrade::data`](super::Upgrade::data) has put there, if it is a `T`.
    pub fn data<T: Any>(&mut self) -> Option<&mut T> {
        self.connections.sessions.data(self.id)?.downcast_mut()
    }

    /// Keeps a value with the connection until `on_close` has returned, in place of what was there.
    ///
    /// ```
    /// # use loopwire::WebSocket;
    /// struct User { name: String, messages: u32 }
    ///
    /// # fn f(ws: &mut WebSocket<'_>) {
    /// ws.set_data(User { name: "Ada".into(), messages: 0 });
    /// if let Some(user) = ws.data::<User>() {
    ///     user.messages += 1;
    /// }
    /// # }
    /// ```
    pub fn set_data<T: Any + Send>(&mut self, data: T) {
        self.connections.sessions.set_data(self.id, Box::new(data));
    }

    /// Calls [`on_timer`](super::Handler::on_timer) with `key` after `after`, never early and up to 20 ms late, unless
    /// the connection is gone by then.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerHandle {
        self.connections.set_timer_of(self.id, after, key)
    }

    /// Cancels a timer; whether it was still to come.
    pub fn cancel_timer(&mut self, timer: TimerHandle) -> bool {
        self.connections.cancel_timer(timer)
    }

    /// All connections, this one among them.
    pub fn connections(&mut self) -> &mut Connections<'a> {
        &mut self.connections
    }

    fn sessions(&self) -> &Sessions {
        self.connections.sessions
    }
}

impl fmt::Debug for WebSocket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("id", &self.id).field("peer", &self.peer_addr()).finish_non_exhaustive()
    }
}
