//! The page at `/learn`: a WebSocket that shows its own bytes.
//!
//! ```text
//! browser ── /learn/echo?watch=ID ─▶ echo: a connection that is watched ── on_wire ─┐
//!         ◀─ /learn/watch ────────── its watcher: what was seen, as JSON ◀──────────┘ explain::Conversation
//! ```
//! No browser shows frames to a script, so the server does. It stands beside the gateway rather than in it: whoever embeds a
//! push server wants none of this, and neither needs to know of the other.

mod json;
mod watchers;

use std::any::Any;
use std::time::Duration;

use loopwire::gateway::Gateway;
use loopwire::{
    Closed, ConnectionId, Connections, DialError, Handler, HttpAnswer, HttpExchange, HttpRequest, Message,
    OriginPolicy, PeerAddr, Piece, ProtocolError, Side, Upgrade, UpgradeRequest, WebSocket,
};

use super::page::{self, File};
use watchers::{Part, Watchers};

const FILES: [File; 4] = [
    ("/learn", "text/html; charset=utf-8", include_str!("index.html")),
    ("/learn/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/learn/draw.js", "text/javascript; charset=utf-8", include_str!("draw.js")),
    ("/learn/learn.js", "text/javascript; charset=utf-8", include_str!("learn.js")),
];

/// Where the page's WebSockets are.
const PREFIX: &str = "/learn/";

/// The gateway, with the page and its WebSockets beside it.
pub(super) struct Learn {
    gateway: Gateway,
    watchers: Watchers,
}

impl Learn {
    /// `origins`: whose pages may connect.
    pub(super) fn beside(gateway: Gateway, origins: OriginPolicy) -> Self {
        Self { gateway: page::add_to(gateway, &FILES), watchers: Watchers::new(origins) }
    }
}

/// What is about the page's connections goes to it, all else to the gateway: every call, also those that it has no use for
/// today.
impl Handler for Learn {
    fn on_upgrade(&mut self, request: &UpgradeRequest, peer: &PeerAddr) -> Upgrade {
        match request.path().strip_prefix(PREFIX) {
            Some(name) => self.watchers.judge(name, request),
            None => self.gateway.on_upgrade(request, peer),
        }
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        match ws.data::<Part>() {
            Some(&mut part) => self.watchers.open(ws, part),
            None => self.gateway.on_open(ws),
        }
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        match ws.data::<Part>() {
            Some(&mut part) => self.watchers.take(ws, part, message),
            None => self.gateway.on_message(ws, message),
        }
    }

    fn on_wire(&mut self, connections: &mut Connections<'_>, id: ConnectionId, by: Side, bytes: &[u8]) {
        if !self.watchers.show(connections, id, by, bytes) {
            self.gateway.on_wire(connections, id, by, bytes);
        }
    }

    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        match ws.data::<Part>() {
            Some(Part::Watcher) => self.watchers.go_on(ws),
            Some(Part::Echo(_)) => {}
            None => self.gateway.on_writable(ws),
        }
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, closed: &Closed) {
        match ws.data::<Part>() {
            Some(&mut part) => self.watchers.close(ws, part, closed),
            None => self.gateway.on_close(ws, closed),
        }
    }

    fn on_piece(&mut self, ws: &mut WebSocket<'_>, piece: Piece<'_>) {
        if !is_ours(ws) {
            self.gateway.on_piece(ws, piece);
        }
    }

    fn on_ping(&mut self, ws: &mut WebSocket<'_>, payload: &[u8]) {
        if !is_ours(ws) {
            self.gateway.on_ping(ws, payload);
        }
    }

    fn on_pong(&mut self, ws: &mut WebSocket<'_>, payload: &[u8], rtt: Option<Duration>) {
        if !is_ours(ws) {
            self.gateway.on_pong(ws, payload, rtt);
        }
    }

    fn on_error(&mut self, ws: &mut WebSocket<'_>, error: &ProtocolError) {
        if !is_ours(ws) {
            self.gateway.on_error(ws, error);
        }
    }

    fn on_timer(&mut self, ws: &mut WebSocket<'_>, key: u64) {
        if !is_ours(ws) {
            self.gateway.on_timer(ws, key);
        }
    }

    fn on_going_away(&mut self, ws: &mut WebSocket<'_>) {
        if !is_ours(ws) {
            self.gateway.on_going_away(ws);
        }
    }

    fn on_start(&mut self, connections: &mut Connections<'_>) {
        self.gateway.on_start(connections);
    }

    fn body_limit(&mut self, request: &HttpRequest, peer: &PeerAddr) -> usize {
        self.gateway.body_limit(request, peer)
    }

    fn on_http(&mut self, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        self.gateway.on_http(connections, exchange)
    }

    fn on_loop_timer(&mut self, connections: &mut Connections<'_>, key: u64) {
        self.gateway.on_loop_timer(connections, key);
    }

    fn on_task(&mut self, connections: &mut Connections<'_>, task: Box<dyn Any + Send>) {
        self.gateway.on_task(connections, task);
    }

    fn on_dial_failed(&mut self, connections: &mut Connections<'_>, id: ConnectionId, error: &DialError) {
        self.gateway.on_dial_failed(connections, id, error);
    }

    fn on_reconnecting(&mut self, connections: &mut Connections<'_>, delay: Duration, attempt: u32) {
        self.gateway.on_reconnecting(connections, delay, attempt);
    }

    fn on_draining(&mut self, connections: &mut Connections<'_>) {
        self.gateway.on_draining(connections);
    }

    fn on_reload(&mut self, connections: &mut Connections<'_>) {
        self.gateway.on_reload(connections);
    }
}

/// Whether a connection is one of the page's.
fn is_ours(ws: &mut WebSocket<'_>) -> bool {
    ws.data::<Part>().is_some()
}

#[cfg(test)]
mod tests {
    /// The methods of an `impl` or `trait` in a source.
    fn methods(source: &str, start: &str) -> Vec<String> {
        let body = source.split_once(start).unwrap().1.split("\n}\n").next().unwrap();
        let lines = body.lines().filter_map(|line| line.strip_prefix("    fn "));
        let mut names: Vec<_> = lines.filter_map(|line| line.split('(').next()).map(str::to_owned).collect();
        names.sort();
        names
    }

    #[test]
    fn no_call_is_kept_from_the_gateway() {
        // A method with a default that nobody passes on would just not be called.
        let wanted = methods(include_str!("../../../endpoint/handler.rs"), "\npub trait Handler {");
        assert_eq!(methods(include_str!("mod.rs"), "\nimpl Handler for Learn {"), wanted);
    }
}
