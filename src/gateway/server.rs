//! The handler: which protocol a connection speaks, and which call goes where.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;

use super::config::{ConfigError, GatewayConfig};
use super::core::{ClientKind, Core, TIMER, key_of};
use super::handle::GatewayHandle;
use super::transport::judge_origin;
use super::{api, centrifugo, raw};
use crate::endpoint::{Connections, Handler, HttpAnswer, HttpExchange, ServerHandle, Upgrade, WebSocket};
use crate::handshake::{Rejection, Request, Response, UpgradeRequest};
use crate::net::PeerAddr;
use crate::protocol::{Closed, Side};
use crate::push::{Disconnect, Restored};
use crate::store::Store;
use crate::wire::Message;

/// The push server, as a [`Handler`]. It has one loop: the hub is a single thread's.
///
/// It needs no requests kept: [`NetConfig::keep_requests`](crate::NetConfig::keep_requests) may be off. The events of its
/// store are to be [posted](ServerHandle::post) to it as they are.
pub struct Gateway {
    core: Core,
    pages: BTreeMap<String, Box<Page>>,
    reload: Option<Box<Reload>>,
}

/// Makes an answer to a GET request.
type Page = dyn FnMut(&Request) -> Response + Send;

/// Reads the configuration again; `None`: it cannot be used, and whoever reads it has said why.
type Reload = dyn FnMut() -> Option<GatewayConfig> + Send;

impl Gateway {
    /// A push server that keeps its streams in memory, or in a store with what that has brought back. `handle` is that of
    /// the server it is going to run in.
    ///
    /// # Errors
    /// A key or URL of the configuration that cannot be used.
    pub fn new(
        config: GatewayConfig,
        store: Option<(Store, Restored)>,
        handle: ServerHandle,
    ) -> Result<Self, ConfigError> {
        Ok(Self { core: Core::new(config, store, handle)?, pages: BTreeMap::new(), reload: None })
    }

    /// The way in from other threads.
    pub fn handle(&self) -> GatewayHandle {
        GatewayHandle::new(self.core.server.clone())
    }

    /// Answers GET requests for `path` with `response`, as it is.
    #[must_use]
    pub fn page(self, path: impl Into<String>, response: Response) -> Self {
        self.page_with(path, move |_| response.clone())
    }

    /// Answers GET requests for `path` with what `make` makes of them, if [the configured origins](GatewayConfig::origins)
    /// allow them.
    #[must_use]
    pub fn page_with(
        mut self,
        path: impl Into<String>,
        make: impl FnMut(&Request) -> Response + Send + 'static,
    ) -> Self {
        self.pages.insert(path.into(), Box::new(make));
        self
    }

    /// Has `read` read the configuration again on SIGHUP, for [`reconfigure`](Self::reconfigure).
    #[must_use]
    pub fn reload_with(mut self, read: impl FnMut() -> Option<GatewayConfig> + Send + 'static) -> Self {
        self.reload = Some(Box::new(read));
        self
    }

    /// Takes another configuration. Connections that are open stay, with the WebSocket limits that they were opened with.
    ///
    /// # Errors
    /// A key or URL of the configuration that cannot be used: all stays as it was.
    pub fn reconfigure(&mut self, connections: &mut Connections<'_>, config: GatewayConfig) -> Result<(), ConfigError> {
        self.core.reconfigure(connections, config)?;
        self.core.settle(connections);
        Ok(())
    }
}

impl Handler for Gateway {
    fn on_start(&mut self, connections: &mut Connections<'_>) {
        // What the hub has made of its store's records.
        self.core.settle(connections);
    }

    fn on_upgrade(&mut self, request: &UpgradeRequest, peer: &PeerAddr) -> Upgrade {
        let accept = match request.path() {
            centrifugo::PATH => centrifugo::accept,
            path if path.starts_with(raw::PATH) && self.core.config.raw.enabled => raw::accept,
            _ => return Upgrade::reject(404),
        };
        match judge_origin(&self.core.config.origins, request) {
            Ok(()) => accept(&self.core, request, peer),
            Err(rejection) => rejection.into(),
        }
    }

    fn body_limit(&mut self, request: &Request, _: &PeerAddr) -> usize {
        api::body_limit(&self.core, request)
    }

    fn on_http(&mut self, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        let request = exchange.request;
        if let ("GET" | "HEAD", Some(make)) = (request.method(), self.pages.get_mut(request.path())) {
            return match self.core.config.origins.judge_plain(request) {
                Ok(()) => make(request).into(),
                Err(rejection) => rejection.response().into(),
            };
        }
        if request.path() == centrifugo::PATH || request.path().starts_with(raw::PATH) {
            let response = Response::text(426, "This is a WebSocket.\n");
            return response.clone().with_field("Upgrade", "websocket").unwrap_or(response).into();
        }
        let answer = api::on_http(&mut self.core, connections, exchange);
        self.core.settle(connections);
        match answer {
            HttpAnswer::Default => Rejection::not_found().response().into(),
            answer => answer,
        }
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        if ws.data::<centrifugo::Opening>().is_some() {
            centrifugo::on_open(&mut self.core, ws);
        } else {
            raw::on_open(&mut self.core, ws);
        }
        self.core.settle(ws.connections());
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        // One that was sent away, and has not heard of it yet, is not known any more.
        match self.core.clients.get(&key_of(ws.id())).map(|client| &client.kind) {
            Some(ClientKind::Centrifugo(_)) => centrifugo::on_message(&mut self.core, ws, message),
            Some(ClientKind::Raw(_)) => raw::on_message(&mut self.core, ws, message),
            None => {}
        }
        self.core.settle(ws.connections());
    }

    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        if let Some(ClientKind::Centrifugo(_)) = self.core.clients.get(&key_of(ws.id())).map(|client| &client.kind) {
            centrifugo::on_writable(&mut self.core, ws);
            self.core.settle(ws.connections());
        }
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, closed: &Closed) {
        let key = key_of(ws.id());
        let was_there = self.core.forget(ws.connections(), key).is_some();
        if was_there && closed.by == Side::Local && matches!(closed.code.0, 3000..=4999) {
            // The loop has sent it away by itself: it was too slow.
            self.core.metrics.disconnected(closed.code.0);
        }
        self.core.settle(ws.connections());
    }

    fn on_loop_timer(&mut self, connections: &mut Connections<'_>, key: u64) {
        if key == TIMER {
            self.core.tick(connections);
            self.core.settle(connections);
        }
    }

    fn on_task(&mut self, connections: &mut Connections<'_>, task: Box<dyn Any + Send>) {
        self.core.take(connections, task);
        self.core.settle(connections);
    }

    fn on_draining(&mut self, connections: &mut Connections<'_>) {
        self.core.drain();
        self.core.settle(connections);
    }

    fn on_going_away(&mut self, ws: &mut WebSocket<'_>) {
        // Every client is told to come back, to whoever is there then.
        let key = key_of(ws.id());
        self.core.disconnect(ws.connections(), key, &Disconnect::SHUTDOWN);
        self.core.settle(ws.connections());
    }

    fn on_reload(&mut self, connections: &mut Connections<'_>) {
        let Some(config) = self.reload.as_mut().and_then(|read| read()) else { return };
        if let Err(error) = self.reconfigure(connections, config) {
            log::error!("the configuration stays as it was: {error}");
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("clients", &self.core.clients.len()).finish_non_exhaustive()
    }
}
