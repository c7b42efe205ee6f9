//! What an application writes: the calls that it wants to hear.

use std::any::Any;
use std::time::Duration;

use super::{Connections, HttpAnswer, HttpExchange, Upgrade, WebSocket};
use crate::handshake::{Request, UpgradeRequest};
use crate::net::{ConnectionId, DialError, PeerAddr};
use crate::protocol::{Closed, Piece, Side};
use crate::wire::{Message, ProtocolError};

/// The code of an application: one value per event loop, called on the loop's thread, one call at a time.
///
/// Every method has a default, so an application writes those that it needs:
///
/// ```
/// use loopwire::{Handler, Message, WebSocket};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
///         let _ = ws.send(message);
///     }
/// }
/// ```
///
/// ```text
/// on_start ─▶ on_upgrade ─▶ on_open ─▶ on_message, on_piece, on_ping, on_pong,       ─▶ on_close
///             │                        on_writable, on_timer, on_error (the last before on_close)
///             │                        on_wire, if it is watched
///             └ body_limit ─▶ on_http (plain HTTP)
/// ```
///
/// What is sent in a call leaves before the answer to the peer's next message. Small messages leave together: a
/// connection's own replies in one system call once the input at hand is handled, what others are sent in one at the end
/// of the loop's turn. A call that takes long holds up every connection of its loop: give
/// such work to another thread and let it answer through a [`ServerHandle`](super::ServerHandle).
///
/// **A panic** in a call is caught and logged; the connection it was about is closed with 1011 (a request that was not
/// answered yet gets a 500), and all others go on. What the handler itself left half done is its own to care for.
pub trait Handler {
    /// The loop is about to run: the place for the first timers and for connections to dial.
    fn on_start(&mut self, connections: &mut Connections<'_>) {
        let _ = connections;
    }

    /// A valid opening handshake that the server's paths and origins allow; the default accepts it. Nothing else is
    /// called for a connection that is refused here.
    fn on_upgrade(&mut self, request: &UpgradeRequest, peer: &PeerAddr) -> Upgrade {
        let _ = (request, peer);
        Upgrade::accept()
    }

    /// How many bytes of a plain HTTP request's body are wanted, asked once its head has come.
    ///
    /// 0, the default: none; [`on_http`](Self::on_http) follows at once with an empty body, and whatever the client sends
    /// is discarded. Above 0: a body that is announced as longer, or found to be, is answered 413; `on_http` follows when
    /// all of it has come, within [`NetConfig::body_timeout`](crate::net::NetConfig::body_timeout). What is held of it
    /// meanwhile is what has come, so the credentials that a head carries are best looked at here, and strangers given 0.
    fn body_limit(&mut self, request: &Request, peer: &PeerAddr) -> usize {
        let _ = (request, peer);
        0
    }

    /// A plain HTTP request on the same port, which is answered now, later, or by the server itself: that is the default.
    /// The connection closes behind the answer.
    ///
    /// ```
    /// use loopwire::{Connections, Handler, HttpAnswer, HttpExchange, HttpRequest, HttpResponse, PeerAddr, PreparedMessage};
    ///
    /// struct Publisher;
    ///
    /// impl Handler for Publisher {
    ///     fn body_limit(&mut self, request: &HttpRequest, _: &PeerAddr) -> usize {
    ///         if request.method() == "POST" && request.path() == "/publish" { 64 * 1024 } else { 0 }
    ///     }
    ///
    ///     fn on_http(&mut self, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
    ///         match (exchange.request.method(), exchange.request.path()) {
    ///             ("POST", "/publish") => {
    ///                 connections.broadcast(&PreparedMessage::new(exchange.body));
    ///                 HttpResponse::new(204).into()
    ///             }
    ///             _ => HttpAnswer::Default,
    ///         }
    ///     }
    /// }
    /// ```
    fn on_http(&mut self, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        let _ = (connections, exchange);
        HttpAnswer::Default
    }

    /// The opening handshake is done, in either role.
    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        let _ = ws;
    }

    /// A whole message. It is lent from the loop's receive buffer.
    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        let _ = (ws, message);
    }

    /// A part of a message, instead of `on_message` under [`Delivery::Pieces`](crate::protocol::Delivery::Pieces).
    fn on_piece(&mut self, ws: &mut WebSocket<'_>, piece: Piece<'_>) {
        let _ = (ws, piece);
    }

    /// A ping; its pong is already on the way.
    fn on_ping(&mut self, ws: &mut WebSocket<'_>, payload: &[u8]) {
        let _ = (ws, payload);
    }

    /// A pong, with the round-trip time if it answers our latest ping.
    fn on_pong(&mut self, ws: &mut WebSocket<'_>, payload: &[u8], rtt: Option<Duration>) {
        let _ = (ws, payload, rtt);
    }

    /// What had reached the high-water mark has been drained: a sender that was told
    /// [`Backpressure`](crate::net::Sent::Backpressure) may go on.
    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        let _ = ws;
    }

    /// The peer broke a rule, or let a deadline pass; it has been told by a Close, and `on_close` follows.
    fn on_error(&mut self, ws: &mut WebSocket<'_>, error: &ProtocolError) {
        let _ = (ws, error);
    }

    /// The connection is over: exactly once for each `on_open`. Its data can still be read; nothing can be sent.
    fn on_close(&mut self, ws: &mut WebSocket<'_>, closed: &Closed) {
        let _ = (ws, closed);
    }

    /// Bytes have passed on a connection that was accepted with [`Upgrade::watch`], a tool for debugging: those of the
    /// handshake first, then every frame, with nothing changed about them. What the peer sent ([`Side::Peer`]) is still
    /// masked and compressed, and shown before any call that follows from it; what this end sent ([`Side::Local`]) is shown
    /// soon after the stream took it. Both come in the order in which they passed, cut anywhere, and without TLS.
    ///
    /// `on_open` comes before the first of them (unless what was accepted cannot be answered so, which is a 500), and the last
    /// of them may follow `on_close`. Sending on the same connection from here never ends: that is shown too.
    ///
    /// ```
    /// use loopwire::{ConnectionId, Connections, Handler, PeerAddr, Side, Upgrade, UpgradeRequest};
    ///
    /// struct Debugged;
    ///
    /// impl Handler for Debugged {
    ///     fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
    ///         let accept = Upgrade::accept();
    ///         if request.query() == Some("watch") { accept.watch() } else { accept }
    ///     }
    ///
    ///     fn on_wire(&mut self, _: &mut Connections<'_>, id: ConnectionId, by: Side, bytes: &[u8]) {
    ///         eprintln!("{id} {by:?}: {bytes:02x?}");
    ///     }
    /// }
    /// ```
    ///
    /// [`explain::Conversation`](crate::explain::Conversation) makes frames and sentences of them.
    fn on_wire(&mut self, connections: &mut Connections<'_>, id: ConnectionId, by: Side, bytes: &[u8]) {
        let _ = (connections, id, by, bytes);
    }

    /// A timer of [`WebSocket::set_timer`]. Not called once the connection is gone.
    fn on_timer(&mut self, ws: &mut WebSocket<'_>, key: u64) {
        let _ = (ws, key);
    }

    /// A timer of [`Connections::set_timer`].
    fn on_loop_timer(&mut self, connections: &mut Connections<'_>, key: u64) {
        let _ = (connections, key);
    }

    /// Another thread posted this, by [`ServerHandle::post`](super::ServerHandle::post) or
    /// [`ClientHandle::post`](super::ClientHandle::post).
    fn on_task(&mut self, connections: &mut Connections<'_>, task: Box<dyn Any + Send>) {
        let _ = (connections, task);
    }

    /// A connection of [`Connections::dial`], or of a [`Client`](super::Client), never opened.
    fn on_dial_failed(&mut self, connections: &mut Connections<'_>, id: ConnectionId, error: &DialError) {
        let _ = (connections, id, error);
    }

    /// A client dials again after `delay`; `attempt` counts from 1 since the last connection that held.
    fn on_reconnecting(&mut self, connections: &mut Connections<'_>, delay: Duration, attempt: u32) {
        let _ = (connections, delay, attempt);
    }

    /// The loop begins to drain: it accepts nothing more and closes every connection with 1001.
    fn on_draining(&mut self, connections: &mut Connections<'_>) {
        let _ = connections;
    }

    /// This connection is closed with 1001 next, because the loop drains: a [batch](crate::NetConfig::drain_batch) of them in
    /// each turn. A server that has other words for it closes it here.
    fn on_going_away(&mut self, ws: &mut WebSocket<'_>) {
        let _ = ws;
    }

    /// SIGHUP came, and certificates have been read again.
    fn on_reload(&mut self, connections: &mut Connections<'_>) {
        let _ = connections;
    }
}
