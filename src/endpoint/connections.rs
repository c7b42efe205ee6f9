//! All connections of a loop, lent to a call: push to one, to some, to all; timers; dialling.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics::{Counters, Metrics};
use super::router::{Router, Task};
use super::timers::{TimerHandle, Timers};
use super::{OwnedMessage, WebSocket};
use crate::handshake::Response;
use crate::net::{ConnectionId, DialRequest, SendError, Sent, Sessions};
use crate::wire::{CloseCode, Message, MessageKind, PreparedMessage};

/// All connections, lent for one call of the handler.
///
/// An id may belong to another loop of the same server: sending and closing reach it there, a moment later, and what
/// becomes of it is not known here. All that asks or changes more ([`get`](Self::get), [`ids`](Self::ids), timers) is
/// about this loop.
pub struct Connections<'a> {
    pub(super) sessions: &'a mut Sessions,
    pub(super) core: &'a mut Core,
}

/// What a loop's endpoint keeps besides its sessions and its handler.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) index: u8,
    pub(super) router: Arc<Router>,
    pub(super) counters: Arc<Counters>,
    pub(super) timers: Timers,
    /// Open connections that this end has dialled. While there are none, nobody has to be asked which role it is.
    pub(super) dialled: usize,
    /// Room for the ids of a broadcast.
    pub(super) ids: Vec<ConnectionId>,
}

/// What became of a message sent to many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// Connections of this loop for which it was queued.
    pub sent: usize,
    /// Those among them that are at their high-water mark.
    pub backpressure: usize,
    /// Connections that had too much waiting: it was dropped, or the connection ended, by policy.
    pub dropped: usize,
    /// Connections that are gone or closing, or in the middle of a message that is sent in pieces.
    pub gone: usize,
}

impl Core {
    pub(super) fn new(index: u8, router: Arc<Router>) -> Self {
        let counters = Arc::clone(&router.loops[usize::from(index)].counters);
        Self { index, router, counters, timers: Timers::default(), dialled: 0, ids: Vec::new() }
    }

    fn count_sent(&self, len: usize, sent: &Result<Sent, SendError>) {
        match sent {
            Ok(Sent::Dropped) | Err(_) => self.counters.messages_dropped.add(1),
            Ok(sent) => {
                self.counters.messages_out.add(1);
                self.counters.bytes_out.add(len as u64);
                if *sent == Sent::Backpressure {
                    self.counters.backpressure.add(1);
                }
            }
        }
    }
}

impl<'a> Connections<'a> {
    pub(super) fn new(sessions: &'a mut Sessions, core: &'a mut Core) -> Self {
        Self { sessions, core }
    }

    /// An open connection of this loop.
    pub fn get(&mut self, id: ConnectionId) -> Option<WebSocket<'_>> {
        self.contains(id).then(|| WebSocket::new(self.sessions, self.core, id))
    }

    /// Whether `id` names an open connection of this loop.
    pub fn contains(&self, id: ConnectionId) -> bool {
        self.sessions.is_open(id)
    }

    /// The open connections of this loop, in no order.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.sessions.ids()
    }

    /// How many connections of this loop are open.
    pub fn len(&self) -> usize {
        usize::try_from(self.core.counters.connections_open.get()).unwrap_or(usize::MAX)
    }

    /// Whether no connection of this loop is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends to one connection.
    ///
    /// # Errors
    /// The connection is not open, is closing, or has too much waiting and was ended by policy.
    pub fn send<'m>(&mut self, id: ConnectionId, message: impl Into<Message<'m>>) -> Result<Sent, SendError> {
        let message = message.into();
        if self.is_elsewhere(id) {
            return self.hand_over(id, Task::Send(id, OwnedMessage::from(message)));
        }
        let sent = self.sessions.send(id, message);
        self.core.count_sent(message.payload().len(), &sent);
        sent
    }

    /// Sends to one connection what was encoded once for many.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(&mut self, id: ConnectionId, message: &PreparedMessage) -> Result<Sent, SendError> {
        if self.is_elsewhere(id) {
            return self.hand_over(id, Task::SendPrepared(id, message.clone()));
        }
        let sent = self.sessions.send_prepared(id, message);
        self.core.count_sent(message.payload().len(), &sent);
        sent
    }

    /// Leaves what waits to be sent to a connection of this loop now out of what counts against
    /// [`max_buffered`](crate::NetConfig::max_buffered): its peer has asked for that, and is not slow for having it before
    /// it. Whoever does this bounds what a peer may ask for.
    pub fn excuse(&mut self, id: ConnectionId) {
        self.sessions.excuse(id);
    }

    pub(super) fn send_piece(
        &mut self,
        id: ConnectionId,
        kind: MessageKind,
        piece: &[u8],
        last: bool,
    ) -> Result<Sent, SendError> {
        let sent = self.sessions.send_piece(id, kind, piece, last);
        if last {
            self.core.count_sent(piece.len(), &sent);
        } else if sent.is_ok() {
            self.core.counters.bytes_out.add(piece.len() as u64);
        }
        sent
    }

    /// Sends to a set, encoded once. What became of it at other loops is not counted.
    pub fn send_to(&mut self, ids: impl IntoIterator<Item = ConnectionId>, message: &PreparedMessage) -> Pushed {
        let mut pushed = Pushed::default();
        let mut elsewhere = Vec::new();
        for id in ids {
            if self.is_elsewhere(id) {
                elsewhere.push(id);
            } else {
                let sent = self.send_prepared(id, message);
                pushed.count(&sent);
            }
        }
        if !elsewhere.is_empty() {
            // Loops end together: there is nobody left to miss it.
            let _ = self.core.router.send_to(elsewhere, Some(self.core.index), message);
        }
        pushed
    }

    /// Sends to every connection that was accepted, at all loops; connections that this end dialled are not meant.
    pub fn broadcast(&mut self, message: &PreparedMessage) -> Pushed {
        self.broadcast_where(None, message, true)
    }

    /// The same, except for one.
    pub fn broadcast_except(&mut self, except: ConnectionId, message: &PreparedMessage) -> Pushed {
        self.broadcast_where(Some(except), message, true)
    }

    pub(super) fn broadcast_where(
        &mut self,
        except: Option<ConnectionId>,
        message: &PreparedMessage,
        everywhere: bool,
    ) -> Pushed {
        let mut ids = std::mem::take(&mut self.core.ids);
        ids.extend(self.sessions.ids().filter(|id| Some(*id) != except));
        if self.core.dialled > 0 {
            ids.retain(|&id| self.sessions.agreed(id).is_none());
        }
        let mut pushed = Pushed::default();
        for id in ids.drain(..) {
            pushed.count(&self.send_prepared(id, message));
        }
        self.core.ids = ids;
        if everywhere {
            let _ = self.core.router.to_all(Some(self.core.index), || Task::Broadcast(message.clone(), except));
        }
        pushed
    }

    /// Starts the closing handshake of a connection.
    ///
    /// # Errors
    /// The connection is not open or already closing, the code may not be sent, or the reason is over 123 bytes.
    pub fn close(&mut self, id: ConnectionId, code: CloseCode, reason: &str) -> Result<(), SendError> {
        if self.is_elsewhere(id) {
            return self.hand_over(id, Task::Close(id, code, reason.to_owned())).map(|_| ());
        }
        self.sessions.close(id, code, reason)
    }

    /// Ends a connection at once, or gives up dialling it. `on_close` or `on_dial_failed` follows.
    pub fn abort(&mut self, id: ConnectionId) {
        if self.is_elsewhere(id) {
            let _ = self.hand_over(id, Task::Abort(id));
        } else {
            self.sessions.abort(id);
        }
    }

    /// Answers a plain HTTP request for which [`on_http`](super::Handler::on_http) said, or is about to say,
    /// [`Later`](super::HttpAnswer::Later). Whether there still was somebody to answer: not if the client has gone, if
    /// time was up, or if `id` names something else. Of another loop's only that is known that it has been asked.
    pub fn respond(&mut self, id: ConnectionId, response: Response) -> bool {
        if self.is_elsewhere(id) {
            return self.hand_over(id, Task::Respond(id, Box::new(response))).is_ok();
        }
        self.sessions.respond(id, &response)
    }

    /// Calls [`on_loop_timer`](super::Handler::on_loop_timer) with `key` after `after`, never early and up to 20 ms late.
    /// In a [`Client`](super::Client) the key `u64::MAX` is taken.
    pub fn set_timer(&mut self, after: Duration, key: u64) -> TimerHandle {
        self.core.timers.insert(None, key, |number| self.sessions.set_timer(after, number))
    }

    pub(super) fn set_timer_of(&mut self, id: ConnectionId, after: Duration, key: u64) -> TimerHandle {
        self.core.timers.insert(Some(id), key, |number| self.sessions.set_timer(after, number))
    }

    /// Cancels a timer of this loop or of one of its connections; whether it was still to come.
    pub fn cancel_timer(&mut self, timer: TimerHandle) -> bool {
        self.core.timers.cancel(timer).is_some_and(|id| self.sessions.cancel_timer(id))
    }

    /// Dials from within this loop: `on_open` or `on_dial_failed` follows, never before this returns.
    pub fn dial(&mut self, request: DialRequest) -> ConnectionId {
        self.sessions.dial(request)
    }

    /// Ends the whole endpoint gracefully: every loop accepts nothing more, closes its connections with 1001 and ends
    /// when none is left, or `within` has passed.
    pub fn shutdown(&mut self, within: Duration) {
        self.sessions.shutdown(within);
        self.core.router.shutdown(within);
    }

    /// The time of this turn.
    pub fn now(&self) -> Instant {
        self.sessions.now()
    }

    /// What all loops have counted.
    pub fn metrics(&self) -> Metrics {
        self.core.router.metrics()
    }

    fn is_elsewhere(&self, id: ConnectionId) -> bool {
        id.loop_index() != self.core.index
    }

    fn hand_over(&self, id: ConnectionId, task: Task) -> Result<Sent, SendError> {
        self.core.router.to(id, task).map(|()| Sent::Written).map_err(|_| SendError::NotOpen)
    }
}

impl fmt::Debug for Connections<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("loop", &self.core.index).field("open", &self.len()).finish()
    }
}

impl Pushed {
    fn count(&mut self, sent: &Result<Sent, SendError>) {
        match sent {
            Ok(Sent::Written) => self.sent += 1,
            Ok(Sent::Backpressure) => {
                self.sent += 1;
                self.backpressure += 1;
            }
            Ok(Sent::Dropped) | Err(SendError::Overflow) => self.dropped += 1,
            Err(_) => self.gone += 1,
        }
    }
}
