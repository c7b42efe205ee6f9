//! A client: one connection that is kept up, from dialling to the last reconnect.
//!
//! It is a [`Handler`] around the application's own: it dials, dials again, and sends what waits; everything else it
//! passes on.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::adapter::{Endpoint, Policy};
use super::client_handle::{Command, Ended, Shared};
use super::outgoing::Step;
use super::router::{Loop, Router};
use super::server::run_loop;
use super::{
    ClientBuilder, ClientHandle, Connections, Handler, HttpAnswer, HttpExchange, ReconnectPolicy, Upgrade, WebSocket,
};
use crate::handshake::{HandshakeError, Request, UpgradeRequest, UriError};
use crate::net::{ConnectionId, DialError, DialRequest, EventLoop, PeerAddr, SendError, Sent};
use crate::protocol::{self, Closed, Piece};
use crate::wire::{CloseCode, Message, ProtocolError};

/// A WebSocket client: `ws:`, `wss:` or `ws+unix:`, reconnecting if told so.
///
/// ```no_run
/// use loopwire::{Client, CloseCode, Handler, Message, WebSocket};
///
/// struct Hello;
///
/// impl Handler for Hello {
///     fn on_open(&mut self, ws: &mut WebSocket<'_>) {
///         let _ = ws.send("Hello");
///     }
///
///     fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
///         println!("{message:?}");
///         let _ = ws.close(CloseCode::NORMAL, "");
///     }
/// }
///
/// let closed = Client::builder("ws://127.0.0.1:8080/").build()?.run(Hello)?;
/// println!("closed with {}", closed.code);
/// # Ok::<(), loopwire::ClientError>(())
/// ```
pub struct Client {
    event_loop: EventLoop<Endpoint>,
    router: Arc<Router>,
    shared: Arc<Shared>,
    request: DialRequest,
    reconnect: Option<ReconnectPolicy>,
    linger: Duration,
}

/// Why a client could not be made, or never had a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be read.
    Uri(UriError),
    /// Something in the request may not be sent.
    Handshake(HandshakeError),
    /// The system fails.
    Io(io::Error),
    /// No connection came about, or none again, and no further attempt is made.
    Dial(DialError),
    /// It was told to stop before it had a connection.
    Cancelled,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(error) => error.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Dial(error) => error.fmt(f),
            Self::Cancelled => f.write_str("told to stop before there was a connection"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Uri(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Dial(error) => Some(error),
            Self::Cancelled => None,
        }
    }
}

impl Client {
    /// A client of the server at `url` to be set up.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(super) fn new(
        mut event_loop: EventLoop<Endpoint>,
        request: DialRequest,
        reconnect: Option<ReconnectPolicy>,
        max_queued: usize,
        linger: Duration,
    ) -> Self {
        let router = Router { loops: vec![Loop::of(&mut event_loop)] };
        let shared = Arc::new(Shared::new(max_queued));
        Self { event_loop, router: Arc::new(router), shared, request, reconnect, linger }
    }

    /// The way in for other threads, and for the handler itself.
    pub fn handle(&self) -> ClientHandle {
        ClientHandle::new(Arc::clone(&self.router), Arc::clone(&self.shared))
    }

    /// Runs on this thread until the connection has ended and none follows; how the last one ended.
    ///
    /// # Errors
    /// No connection came about, or the system's poll fails.
    pub fn run(self, handler: impl Handler + 'static) -> Result<Closed, ClientError> {
        let driver = Driver {
            inner: Box::new(handler),
            shared: Arc::clone(&self.shared),
            request: self.request,
            reconnect: self.reconnect,
            linger: self.linger,
            state: State::Over,
            full: false,
            stalled: false,
            closing: None,
            left: None,
        };
        let mut endpoint = Endpoint::new(Box::new(driver), Arc::new(Policy::default()), self.router, 0);
        let ran = run_loop(self.event_loop, &mut endpoint);
        self.shared.outgoing().stopped = true;
        self.shared.connected.store(false, Ordering::Relaxed);
        ran.map_err(ClientError::Io)?;
        match self.shared.take_ended() {
            Some(Ended::Closed(closed)) => Ok(closed),
            Some(Ended::DialFailed(id)) => {
                Err(endpoint.take_dial_error(id).map_or(ClientError::Cancelled, ClientError::Dial))
            }
            None => Err(ClientError::Cancelled),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("uri", &self.request.uri).finish_non_exhaustive()
    }
}

/// The loop timer that dials again, or looks after a connection that is to be closed.
const RECONNECT: u64 = u64::MAX;

/// Keeps a connection up for the application's handler.
struct Driver {
    inner: Box<dyn Handler>,
    shared: Arc<Shared>,
    request: DialRequest,
    reconnect: Option<ReconnectPolicy>,
    linger: Duration,
    state: State,
    /// Whether the connection is at its high-water mark, and `on_writable` will tell when it no longer is.
    full: bool,
    /// Whether the queue waits for the end of a message that the handler sends in pieces.
    stalled: bool,
    /// What to close with as soon as all is sent.
    closing: Option<(CloseCode, String)>,
    /// What had to leave before that, in messages and in bytes, when it was last looked at.
    left: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Dialing(ConnectionId),
    Open(ConnectionId),
    /// For the timer that dials again.
    Waiting,
    Over,
}

impl Driver {
    fn dial(&mut self, connections: &mut Connections<'_>) {
        self.state = State::Dialing(connections.dial(self.request.clone()));
    }

    fn is_ours(&self, id: ConnectionId) -> bool {
        matches!(self.state, State::Dialing(ours) | State::Open(ours) if ours == id)
    }

    /// There is no connection any more: waits for the next attempt, or ends the client.
    fn again(&mut self, connections: &mut Connections<'_>, wanted: bool) {
        match self.reconnect.as_mut().filter(|_| wanted).and_then(ReconnectPolicy::next) {
            Some((delay, attempt)) => {
                self.state = State::Waiting;
                log::info!("{}: dialling again in {} ms, attempt {attempt}", self.request.uri, delay.as_millis());
                connections.set_timer(delay, RECONNECT);
                self.inner.on_reconnecting(connections, delay, attempt);
            }
            None => self.end(connections),
        }
    }

    fn end(&mut self, connections: &mut Connections<'_>) {
        self.state = State::Over;
        connections.shutdown(self.linger);
    }

    /// Sends what waits, as far as the connection takes it, and the Close behind all of it.
    fn flush(&mut self, connections: &mut Connections<'_>) {
        let mut outgoing = self.shared.outgoing();
        outgoing.woken = false;
        let State::Open(id) = self.state else { return };
        if self.full {
            return;
        }
        self.stalled = false;
        outgoing.flush(|message| match connections.send(id, message) {
            Ok(Sent::Written) => Step::Sent,
            Ok(Sent::Backpressure) => {
                self.full = true;
                Step::SentLast
            }
            Err(SendError::Protocol(protocol::SendError::MessageInProgress)) => {
                self.stalled = true;
                Step::Wait
            }
            // The next connection will have it.
            Ok(Sent::Dropped) | Err(_) => Step::Wait,
        });
        if outgoing.is_empty()
            && let Some((code, reason)) = self.closing.take()
        {
            match connections.close(id, code, &reason) {
                // Told twice, or by the handler or the server too.
                Ok(()) | Err(SendError::Protocol(protocol::SendError::Closing)) => {}
                Err(_) => connections.abort(id),
            }
        }
    }

    /// Looks after a connection that is to be closed: a server that takes nothing is given as long as one that says
    /// nothing. The session cannot tell, for what it hears may be all the signs of life there are.
    fn watch(&mut self, connections: &mut Connections<'_>) {
        let State::Open(id) = self.state else { return };
        if self.closing.is_none() {
            return;
        }
        let left = Some((self.shared.outgoing().len(), connections.sessions.buffered_amount(id)));
        if std::mem::replace(&mut self.left, left) == left && !self.stalled {
            log::info!("{}: dropped: the server does not take what is to be sent before the Close", self.request.uri);
            connections.abort(id);
        } else {
            let config = &self.request.config;
            let patience = config.ping_interval.unwrap_or_default().saturating_add(config.pong_timeout);
            connections.set_timer(patience, RECONNECT);
        }
    }

    /// After a call in which the handler may have ended a message in pieces.
    fn resume(&mut self, connections: &mut Connections<'_>) {
        if self.stalled {
            self.flush(connections);
        }
    }

    /// After a call of the handler for our connection: what waits may have room now.
    fn flush_after(&mut self, ws: &mut WebSocket<'_>) {
        if self.is_ours(ws.id()) && (self.closing.is_some() || !self.shared.outgoing().is_empty()) {
            self.flush(ws.connections());
        }
    }
}

impl Handler for Driver {
    fn on_start(&mut self, connections: &mut Connections<'_>) {
        self.inner.on_start(connections);
        self.dial(connections);
    }

    fn on_upgrade(&mut self, request: &UpgradeRequest, peer: &PeerAddr) -> Upgrade {
        self.inner.on_upgrade(request, peer)
    }

    fn body_limit(&mut self, request: &Request, peer: &PeerAddr) -> usize {
        self.inner.body_limit(request, peer)
    }

    fn on_http(&mut self, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        self.inner.on_http(connections, exchange)
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        if self.is_ours(ws.id()) {
            self.state = State::Open(ws.id());
            self.full = false;
            if let Some(policy) = &mut self.reconnect {
                policy.opened(ws.connections().now());
            }
            self.shared.connected.store(true, Ordering::Relaxed);
        }
        self.inner.on_open(ws);
        self.flush_after(ws);
        if self.is_ours(ws.id()) {
            self.watch(ws.connections());
        }
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        self.inner.on_message(ws, message);
        self.resume(ws.connections());
    }

    fn on_piece(&mut self, ws: &mut WebSocket<'_>, piece: Piece<'_>) {
        self.inner.on_piece(ws, piece);
        self.resume(ws.connections());
    }

    fn on_ping(&mut self, ws: &mut WebSocket<'_>, payload: &[u8]) {
        self.inner.on_ping(ws, payload);
    }

    fn on_pong(&mut self, ws: &mut WebSocket<'_>, payload: &[u8], rtt: Option<Duration>) {
        self.inner.on_pong(ws, payload, rtt);
    }

    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        self.full &= !self.is_ours(ws.id());
        self.flush_after(ws);
        self.inner.on_writable(ws);
    }

    fn on_error(&mut self, ws: &mut WebSocket<'_>, error: &ProtocolError) {
        self.inner.on_error(ws, error);
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, closed: &Closed) {
        if !self.is_ours(ws.id()) {
            return self.inner.on_close(ws, closed);
        }
        let now = ws.connections().now();
        let wanted = self.reconnect.as_mut().is_some_and(|policy| policy.after(closed, now));
        self.shared.connected.store(false, Ordering::Relaxed);
        self.shared.set_ended(Ended::Closed(closed.clone()));
        self.shared.outgoing().lost();
        // Whatever becomes of the application's call, the client goes on.
        let panic = catch_unwind(AssertUnwindSafe(|| self.inner.on_close(ws, closed))).err();
        self.again(ws.connections(), wanted);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    fn on_timer(&mut self, ws: &mut WebSocket<'_>, key: u64) {
        self.inner.on_timer(ws, key);
        self.resume(ws.connections());
    }

    fn on_loop_timer(&mut self, connections: &mut Connections<'_>, key: u64) {
        match (key, self.state) {
            (RECONNECT, State::Waiting) => self.dial(connections),
            (RECONNECT, State::Open(_)) => self.watch(connections),
            (RECONNECT, _) => {}
            _ => {
                self.inner.on_loop_timer(connections, key);
                self.resume(connections);
            }
        }
    }

    fn on_task(&mut self, connections: &mut Connections<'_>, task: Box<dyn Any + Send>) {
        let command = match task.downcast::<Command>() {
            Ok(command) => *command,
            Err(task) => {
                self.inner.on_task(connections, task);
                return self.resume(connections);
            }
        };
        match (command, self.state) {
            (Command::Flush, _) => self.flush(connections),
            (Command::Ping(payload), State::Open(id)) => {
                if let Err(error) = connections.sessions.ping(id, &payload) {
                    log::debug!("{id}: no ping: {error}");
                }
            }
            (Command::Close(code, reason), State::Open(_) | State::Dialing(_)) => {
                self.reconnect = None;
                let is_watched = self.closing.replace((code, reason)).is_some();
                self.flush(connections);
                if !is_watched {
                    self.watch(connections);
                }
            }
            (Command::Close(..), State::Waiting) => self.end(connections),
            (Command::Ping(_), _) | (Command::Close(..), State::Over) => {}
        }
    }

    fn on_dial_failed(&mut self, connections: &mut Connections<'_>, id: ConnectionId, error: &DialError) {
        let panic = catch_unwind(AssertUnwindSafe(|| self.inner.on_dial_failed(connections, id, error))).err();
        if self.is_ours(id) {
            self.shared.set_ended(Ended::DialFailed(id));
            let wanted = self.reconnect.as_ref().is_some_and(|policy| policy.after_failure(error));
            self.again(connections, wanted);
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    fn on_reconnecting(&mut self, connections: &mut Connections<'_>, delay: Duration, attempt: u32) {
        self.inner.on_reconnecting(connections, delay, attempt);
    }

    fn on_draining(&mut self, connections: &mut Connections<'_>) {
        self.reconnect = None;
        // An end that we brought about ourselves is no news.
        let is_news = self.state != State::Over;
        if self.state == State::Waiting {
            self.state = State::Over;
        }
        if is_news {
            self.inner.on_draining(connections);
        }
    }

    fn on_going_away(&mut self, ws: &mut WebSocket<'_>) {
        self.inner.on_going_away(ws);
    }

    fn on_reload(&mut self, connections: &mut Connections<'_>) {
        self.inner.on_reload(connections);
    }
}
