//! Between a loop and its handler: who may open a connection here, and which call belongs to what happens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::connections::Core;
use super::router::{Router, Task};
use super::upgrade::{Accept, Decision};
use super::{Connections, Handler, HttpAnswer, HttpExchange, Upgrade, WebSocket};
use crate::deflate::DeflateConfig;
use crate::handshake::{Acceptance, OriginPolicy, Rejection, Request, Response, UpgradeRequest};
use crate::net::{Answer, Application, ConnectionId, DialError, PeerAddr, Sessions, TlsAcceptor};
use crate::protocol::{Closed, Config, Event, Side};

/// What holds for all loops of a server.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) config: Arc<Config>,
    /// Whether compression is agreed to; how is in `config`.
    pub(super) deflate: bool,
    pub(super) origins: OriginPolicy,
    /// Where a WebSocket can be opened; anywhere if there are none.
    pub(super) paths: Vec<String>,
    /// The subprotocols that are spoken.
    pub(super) protocols: Vec<String>,
    /// Whether a client has to offer one of them.
    pub(super) require_protocol: bool,
    pub(super) tls: Vec<TlsAcceptor>,
    pub(super) drain_timeout: Duration,
}

impl Policy {
    fn is_websocket_path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|known| known == path)
    }

    /// Judges what needs no application: the path and the origin.
    fn judge(&self, request: &UpgradeRequest) -> Result<(), Rejection> {
        if !self.is_websocket_path(request.path()) {
            return Err(Rejection::not_found());
        }
        self.origins.judge(request)
    }

    /// The answer that was accepted, completed by what the server does by itself.
    fn complete(&self, request: &UpgradeRequest, accept: Accept) -> Result<(Acceptance, Arc<Config>), Rejection> {
        let config = accept.config.unwrap_or_else(|| Arc::clone(&self.config));
        // The client's preference decides among those that are spoken here.
        let common = || request.protocols().iter().find(|offered| self.protocols.contains(offered)).cloned();
        let protocol = accept.protocol.or_else(common);
        if protocol.is_none() && self.require_protocol {
            return Err(Rejection::no_common_protocol());
        }
        let wants_deflate = accept.deflate.unwrap_or(self.deflate);
        let deflate = wants_deflate.then(|| DeflateConfig::answer(&config.deflate, request.offers())).flatten();
        Ok((Acceptance { protocol, fields: accept.fields, deflate }, config))
    }

    /// The answer to a plain request that the handler left to us.
    fn respond(&self, request: &Request) -> Response {
        let is_read = matches!(request.method(), "GET" | "HEAD");
        if request.path() == "/healthz" && is_read {
            Response::text(200, "ok\n")
        } else if !self.is_websocket_path(request.path()) {
            Rejection::not_found().response()
        } else if is_read {
            Rejection::UpgradeMissing.response()
        } else {
            Rejection::Method(request.method().to_owned()).response()
        }
    }
}

/// One loop's application: the handler and what is kept for it.
pub(super) struct Endpoint {
    handler: Box<dyn Handler>,
    policy: Arc<Policy>,
    core: Core,
    /// Which dialling failed last, and with what.
    dial_error: Option<(ConnectionId, DialError)>,
}

impl Endpoint {
    pub(super) fn new(handler: Box<dyn Handler>, policy: Arc<Policy>, router: Arc<Router>, index: u8) -> Self {
        Self { handler, policy, core: Core::new(index, router), dial_error: None }
    }

    /// What the dialling of `id` failed with, if no other has failed since.
    pub(super) fn take_dial_error(&mut self, id: ConnectionId) -> Option<DialError> {
        self.dial_error.take().filter(|(failed, _)| *failed == id).map(|(_, error)| error)
    }

    /// Has the handler begin, before the loop runs.
    pub(super) fn start(&mut self, sessions: &mut Sessions) {
        self.handler.on_start(&mut Connections::new(sessions, &mut self.core));
    }

    /// Lends the handler a connection.
    fn call(
        &mut self,
        sessions: &mut Sessions,
        id: ConnectionId,
        call: impl FnOnce(&mut dyn Handler, &mut WebSocket<'_>),
    ) {
        call(&mut *self.handler, &mut WebSocket::new(sessions, &mut self.core, id));
    }

    /// What comes beside whole messages.
    #[inline(never)]
    fn other_event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        let counters = &self.core.counters;
        match event {
            Event::Piece(piece) => {
                counters.messages_in.add(u64::from(piece.last));
                counters.bytes_in.add(piece.data.len() as u64);
                self.call(sessions, id, |handler, ws| handler.on_piece(ws, piece));
            }
            Event::Ping(payload) => self.call(sessions, id, |handler, ws| handler.on_ping(ws, payload)),
            Event::Pong { payload, rtt } => {
                self.call(sessions, id, |handler, ws| handler.on_pong(ws, payload, rtt));
            }
            Event::Error(error) => {
                counters.protocol_errors.add(1);
                self.call(sessions, id, |handler, ws| handler.on_error(ws, &error));
            }
            // `on_close` tells of it, once the whole connection is over; and whole messages are no matter of this.
            Event::Close(_) | Event::Message(_) => {}
        }
    }

    fn refuse(&self, peer: &PeerAddr, rejection: &Rejection) -> Answer {
        log::info!("{peer}: refused with {}: {rejection}", rejection.status());
        self.core.counters.handshakes_refused.add(1);
        Answer::Refuse(rejection.response())
    }
}

impl Application for Endpoint {
    type Task = Task;

    fn upgrade(&mut self, sessions: &mut Sessions, id: ConnectionId, request: &UpgradeRequest) -> Answer {
        let peer = sessions.peer_addr(id).unwrap_or(PeerAddr::Unknown);
        if let Err(rejection) = self.policy.judge(request) {
            return self.refuse(&peer, &rejection);
        }
        let Upgrade(decision) = self.handler.on_upgrade(request, &peer);
        let mut accept = match decision {
            Decision::Accept(accept) => accept,
            Decision::Refuse(response) => {
                self.core.counters.handshakes_refused.add(1);
                let response = response.unwrap_or_else(|error| {
                    log::error!("{peer}: the refusal cannot be sent so: {error}");
                    Response::new(500)
                });
                log::info!("{peer}: refused with {} by the application", response.status());
                return Answer::Refuse(response);
            }
        };
        if let Some(data) = accept.data.take() {
            sessions.set_data(id, data);
        }
        let is_watched = accept.watch;
        match self.policy.complete(request, accept) {
            Ok((acceptance, config)) => {
                if is_watched {
                    sessions.watch(id);
                }
                Answer::Accept(acceptance, config)
            }
            Err(rejection) => self.refuse(&peer, &rejection),
        }
    }

    fn body_limit(&mut self, sessions: &mut Sessions, id: ConnectionId, request: &Request) -> usize {
        let peer = sessions.peer_addr(id).unwrap_or(PeerAddr::Unknown);
        self.handler.body_limit(request, &peer)
    }

    fn request(
        &mut self,
        sessions: &mut Sessions,
        id: ConnectionId,
        request: &Request,
        body: &[u8],
    ) -> Option<Response> {
        self.core.counters.http_requests.add(1);
        let peer = &sessions.peer_addr(id).unwrap_or(PeerAddr::Unknown);
        let exchange = HttpExchange { id, request, body, peer };
        match self.handler.on_http(&mut Connections::new(sessions, &mut self.core), exchange) {
            HttpAnswer::Default => Some(self.policy.respond(request)),
            HttpAnswer::Now(response) => Some(response),
            HttpAnswer::Later => None,
        }
    }

    fn opened(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        self.core.counters.connections_open.add(1);
        self.core.counters.connections_total.add(1);
        self.core.dialled += usize::from(sessions.agreed(id).is_some());
        self.call(sessions, id, |handler, ws| handler.on_open(ws));
    }

    #[inline(always)]
    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        let counters = &self.core.counters;
        if let Event::Message(message) = event {
            counters.messages_in.add(1);
            counters.bytes_in.add(message.payload().len() as u64);
            self.call(sessions, id, |handler, ws| handler.on_message(ws, message));
        } else {
            self.other_event(sessions, id, event);
        }
    }

    fn wire(&mut self, sessions: &mut Sessions, id: ConnectionId, by: Side, bytes: &[u8]) {
        self.handler.on_wire(&mut Connections::new(sessions, &mut self.core), id, by, bytes);
    }

    fn writable(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        self.call(sessions, id, |handler, ws| handler.on_writable(ws));
    }

    fn closed(&mut self, sessions: &mut Sessions, id: ConnectionId, closed: Closed) {
        // All of this before the handler, which may panic.
        self.core.counters.connections_open.one_less();
        self.core.dialled -= usize::from(sessions.agreed(id).is_some());
        for timer in self.core.timers.abandon(id) {
            sessions.cancel_timer(timer);
        }
        self.call(sessions, id, |handler, ws| handler.on_close(ws, &closed));
        // One that it has set meanwhile would find nobody.
        for timer in self.core.timers.abandon(id) {
            sessions.cancel_timer(timer);
        }
    }

    fn dial_failed(&mut self, sessions: &mut Sessions, id: ConnectionId, error: DialError) {
        self.core.counters.dials_failed.add(1);
        let (_, error) = self.dial_error.insert((id, error));
        self.handler.on_dial_failed(&mut Connections::new(sessions, &mut self.core), id, error);
    }

    fn timer(&mut self, sessions: &mut Sessions, number: u64) {
        let Some(timer) = self.core.timers.due(number) else { return };
        match timer.owner {
            None => self.handler.on_loop_timer(&mut Connections::new(sessions, &mut self.core), timer.key),
            Some(id) if sessions.is_open(id) => {
                self.call(sessions, id, |handler, ws| handler.on_timer(ws, timer.key));
            }
            Some(_) => {}
        }
    }

    fn task(&mut self, sessions: &mut Sessions, task: Task) {
        let mut connections = Connections::new(sessions, &mut self.core);
        // The connection may have gone since this was posted; nobody waits for an answer.
        match task {
            Task::Send(id, message) => drop(connections.send(id, &message)),
            Task::SendPrepared(id, message) => drop(connections.send_prepared(id, &message)),
            Task::SendTo(ids, message) => drop(connections.send_to(ids, &message)),
            Task::Broadcast(message, except) => drop(connections.broadcast_where(except, &message, false)),
            Task::Close(id, code, reason) => drop(connections.close(id, code, &reason)),
            Task::Abort(id) => connections.abort(id),
            Task::Respond(id, response) => drop(connections.respond(id, *response)),
            Task::Run(job) => job(&mut connections),
            Task::Custom(task) => self.handler.on_task(&mut connections, task),
        }
    }

    fn draining(&mut self, sessions: &mut Sessions) {
        // Loops go together, whichever of them was told.
        for (index, other) in self.core.router.loops.iter().enumerate() {
            if index != usize::from(self.core.index) {
                other.remote.shutdown(self.policy.drain_timeout);
            }
        }
        self.handler.on_draining(&mut Connections::new(sessions, &mut self.core));
    }

    fn going_away(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        self.call(sessions, id, |handler, ws| handler.on_going_away(ws));
    }

    fn reload(&mut self, sessions: &mut Sessions) {
        for tls in &self.policy.tls {
            match tls.reload() {
                Ok(()) => log::info!("certificates read again: SHA-256 {}", tls.fingerprint()),
                Err(error) => log::error!("certificates stay as they were: {error}"),
            }
        }
        self.handler.on_reload(&mut Connections::new(sessions, &mut self.core));
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("loop", &self.core.index).finish_non_exhaustive()
    }
}
