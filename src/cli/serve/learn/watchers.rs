//! Who watches which connection, and what either may ask for.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use loopwire::explain::Conversation;
use loopwire::protocol::Config;
use loopwire::{
    CloseCode, Closed, ConnectionId, Connections, DeflateConfig, Message, OriginPolicy, Role, Sent, Side, Upgrade,
    UpgradeRequest, WebSocket,
};
use serde_json::{Value, json};

use super::json;
use crate::cli::serve::new_secret;

/// Pages that are open at the same time.
const MAX_WATCHERS: usize = 16;

/// What names a watcher, in hexadecimal digits: 16 random bytes.
const SECRET_LEN: usize = 32;

/// The longest message that is echoed, in bytes.
const MAX_MESSAGE: usize = 256 << 10;

/// The longest order of a page, in bytes.
const MAX_ORDER: usize = 1024;

/// How much of a frame's payload, or of a message, is shown, in bytes.
const SHOWN: usize = 4096;

/// In how many frames an answer is sent at most, however small they are asked for.
const MAX_FRAMES: usize = 64;

/// When so much waits to be sent to a watcher, in bytes, it misses what comes until it has read. All frames of an answer of
/// the page's longest example are less.
const MAX_WAITING: usize = 512 << 10;

/// How much is told at once of what came at once.
const AT_ONCE: usize = 512;

/// How much of that is explained as in a terminal, too, which makes it many times as long.
const EXPLAINED: usize = 8;

/// What a connection of the page is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Watcher,
    /// Watched, by this one.
    Echo(ConnectionId),
}

pub(super) struct Watchers {
    origins: OriginPolicy,
    watcher_config: Arc<Config>,
    echo_config: Arc<Config>,
    open: HashMap<ConnectionId, Watcher>,
}

struct Watcher {
    /// What a connection has to say to be watched by this one: nobody else knows it.
    secret: String,
    since: Instant,
    echo: Option<Echo>,
    /// Answers are sent in frames of so many bytes; 0: each in one.
    fragment: usize,
    /// Too much waits to be sent to it, and so much was seen meanwhile that it is not going to be shown.
    full: bool,
    missed: u64,
}

struct Echo {
    id: ConnectionId,
    conversation: Conversation,
    states: Value,
}

impl Watchers {
    pub(super) fn new(origins: OriginPolicy) -> Self {
        let mut watcher_config = Config::default();
        watcher_config.max_message = MAX_ORDER;
        let mut echo_config = Config::default();
        echo_config.max_message = MAX_MESSAGE;
        // Whoever watches wants to see what he did, and short messages compressed.
        echo_config.ping_interval = None;
        echo_config.deflate = DeflateConfig::default().threshold(0);
        Self {
            origins,
            watcher_config: Arc::new(watcher_config),
            echo_config: Arc::new(echo_config),
            open: HashMap::new(),
        }
    }

    /// Whether a connection may be opened at `/learn/NAME`.
    pub(super) fn judge(&self, name: &str, request: &UpgradeRequest) -> Upgrade {
        if let Err(rejection) = self.origins.judge(request) {
            return rejection.into();
        }
        match name {
            "watch" if self.open.len() >= MAX_WATCHERS => Upgrade::reject(503).body("Too many pages are open.\n"),
            "watch" => Upgrade::accept().config(Arc::clone(&self.watcher_config)).deflate(false).data(Part::Watcher),
            "echo" => {
                let value = |key: &str| {
                    let mut pairs =
                        request.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
                    pairs.find_map(|(found, value)| (found == key).then_some(value))
                };
                let by = |secret| self.open.iter().find(|(_, watcher)| watcher.secret == secret);
                match value("watch").and_then(by) {
                    None => Upgrade::reject(403).body("Nobody watches by that name.\n"),
                    Some((_, Watcher { echo: Some(_), .. })) => Upgrade::reject(409).body("It watches another.\n"),
                    Some((id, _)) => Upgrade::accept()
                        .config(Arc::clone(&self.echo_config))
                        .deflate(value("deflate") != Some("no"))
                        .data(Part::Echo(*id))
                        .watch(),
                }
            }
            _ => Upgrade::reject(404),
        }
    }

    pub(super) fn open(&mut self, ws: &mut WebSocket<'_>, part: Part) {
        let (id, now) = (ws.id(), ws.connections().now());
        match part {
            Part::Watcher => {
                let mut secret = new_secret();
                secret.truncate(SECRET_LEN);
                let hello = json!({ "seen": "watching", "id": secret });
                let watcher = Watcher { secret, since: now, echo: None, fragment: 0, full: false, missed: 0 };
                self.open.insert(id, watcher);
                self.tell(ws.connections(), id, [hello]);
            }
            Part::Echo(by) => {
                if let Some(watcher) = self.open.get_mut(&by) {
                    let conversation = Conversation::new(now).keep(SHOWN);
                    watcher.echo = Some(Echo { id, conversation, states: Value::Null });
                }
            }
        }
    }

    pub(super) fn take(&mut self, ws: &mut WebSocket<'_>, part: Part, message: Message<'_>) {
        match part {
            Part::Watcher => {
                let id = ws.id();
                let done = match message {
                    Message::Text(order) => self.obey(ws.connections(), id, order),
                    Message::Binary(_) => Err("an order is text".to_owned()),
                };
                let answer = done.unwrap_or_else(|error| json!({ "seen": "refusal", "sentence": error }));
                // It waits for this one.
                if let Some(watcher) = self.open.get_mut(&id) {
                    watcher.say(ws.connections(), id, answer);
                }
            }
            Part::Echo(by) => {
                let fragment = self.open.get(&by).map_or(0, |watcher| watcher.fragment);
                let payload = message.payload();
                if fragment == 0 || payload.len() <= fragment {
                    // A connection that is closing has nobody to hear it.
                    let _ = ws.send(message);
                    return;
                }
                let pieces = payload.chunks(fragment.max(payload.len().div_ceil(MAX_FRAMES)));
                let last = pieces.len() - 1;
                for (number, piece) in pieces.enumerate() {
                    let _ = ws.send_piece(message.kind(), piece, number == last);
                }
            }
        }
    }

    /// Does what a page asks for besides what its browser can do by itself.
    fn obey(&mut self, connections: &mut Connections<'_>, id: ConnectionId, order: &str) -> Result<Value, String> {
        let order: Value = serde_json::from_str(order).map_err(|error| format!("no order: {error}"))?;
        let watcher = self.open.get_mut(&id).ok_or("nobody watches here")?;
        if let Some(bytes) = order["fragment"].as_u64() {
            watcher.fragment = usize::try_from(bytes).unwrap_or(usize::MAX);
            return Ok(json!({ "seen": "fragment", "fragment": watcher.fragment }));
        }
        let echo = watcher.echo.as_ref().ok_or("nothing is connected")?;
        let done = if let Some(payload) = order["ping"].as_str() {
            let mut ws = connections.get(echo.id).ok_or("nothing is connected")?;
            ws.ping(payload.as_bytes()).map(drop)
        } else if let Some(code) = order["close"].as_u64() {
            let code = CloseCode(u16::try_from(code).unwrap_or_default());
            connections.close(echo.id, code, order["reason"].as_str().unwrap_or_default())
        } else {
            return Err("an order has one of the keys `fragment`, `ping` and `close`".to_owned());
        };
        done.map(|()| json!({ "seen": "done" })).map_err(|error| error.to_string())
    }

    /// Shows its watcher what has passed on a connection, if that has one.
    pub(super) fn show(&mut self, connections: &mut Connections<'_>, id: ConnectionId, by: Side, bytes: &[u8]) -> bool {
        let found = self.open.iter_mut().find_map(|(watcher, Watcher { echo, missed, .. })| {
            echo.as_mut().filter(|echo| echo.id == id).map(|echo| (*watcher, echo, missed))
        });
        let Some((watcher, echo, missed)) = found else { return false };
        let from = match by {
            Side::Peer => Role::Client,
            Side::Local => Role::Server,
        };
        let mut news = Vec::new();
        echo.conversation.push(from, bytes, &mut |seen| {
            if news.len() < AT_ONCE {
                news.extend(json::of(&seen, news.len() < EXPLAINED));
            } else {
                *missed += 1;
            }
        });
        let states = json::states(&echo.conversation);
        if states != echo.states {
            news.push(states.clone());
            echo.states = states;
        }
        self.tell(connections, watcher, news);
        true
    }

    pub(super) fn close(&mut self, ws: &mut WebSocket<'_>, part: Part, closed: &Closed) {
        match part {
            Part::Watcher => {
                let watcher = self.open.remove(&ws.id());
                if let Some(echo) = watcher.and_then(|watcher| watcher.echo) {
                    // It may be closing by itself.
                    let _ = ws.connections().close(echo.id, CloseCode::GOING_AWAY, "nobody watches any more");
                }
            }
            Part::Echo(by) => {
                if let Some(watcher) = self.open.get_mut(&by) {
                    watcher.echo = None;
                }
                self.tell(ws.connections(), by, [json::closed(closed)]);
            }
        }
    }

    /// What waited to be sent to a watcher has left.
    pub(super) fn go_on(&mut self, ws: &mut WebSocket<'_>) {
        let id = ws.id();
        let Some(watcher) = self.open.get_mut(&id) else { return };
        watcher.full = false;
        let missed = mem::take(&mut watcher.missed);
        if missed > 0 {
            self.tell(ws.connections(), id, [json!({ "seen": "missed", "count": missed })]);
        }
    }

    fn tell(&mut self, connections: &mut Connections<'_>, id: ConnectionId, news: impl IntoIterator<Item = Value>) {
        let Some(watcher) = self.open.get_mut(&id) else { return };
        for seen in news {
            if watcher.full {
                watcher.missed += 1;
            } else {
                watcher.say(connections, id, seen);
            }
        }
    }
}

impl Watcher {
    fn say(&mut self, connections: &mut Connections<'_>, id: ConnectionId, mut what: Value) {
        let at = connections.now().saturating_duration_since(self.since).as_millis();
        what["at"] = json!(u64::try_from(at).unwrap_or(u64::MAX));
        // One that is closing has seen enough.
        if connections.send(id, &*what.to_string()) == Ok(Sent::Backpressure) {
            // When that has left, `go_on` follows.
            self.full |= connections.get(id).is_some_and(|ws| ws.buffered_amount() > MAX_WAITING);
        }
    }
}
