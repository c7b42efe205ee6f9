//! `loopwire demo`: a page at `/` that shows echo and chat live, and the two services behind it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Args;
use loopwire::handshake::Response;
use loopwire::net::ConnectionId;
use loopwire::protocol::Closed;
use loopwire::{Connections, Handler, HttpAnswer, HttpExchange, Message, PreparedMessage, WebSocket};

use super::chat::{Chat, Said};
use super::server::{self, ServerArgs};
use super::terminal::say;
use super::{Exit, Failure};

/// The page, whole: nothing is fetched from anywhere else, and nothing else would be allowed to.
const PAGE: &str = include_str!("page/index.html");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self' ws: wss:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const ECHO: &str = "/echo";
const CHAT: &str = "/chat";

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let room = Arc::new(Mutex::new(Room::default()));
    server::run(
        &args.server,
        "http",
        |builder| builder.paths([ECHO, CHAT]),
        move || Demo { room: Arc::clone(&room) },
        hints,
    )
}

/// What to do next, for who has just started it.
fn hints(url: &str) {
    let websocket = url.replacen("http", "ws", 1);
    let secure = url.starts_with("https:");
    say(format_args!(
        "\n  Open {url} in a browser, or from another terminal:\n    loopwire connect {}{websocket}{ECHO}\n    curl {}{url}/healthz\n  \
         Ctrl-C ends it. `loopwire --help` lists what else there is.\n",
        if secure { "--insecure " } else { "" },
        if secure { "-k " } else { "" },
    ));
}

struct Demo {
    room: Arc<Mutex<Room>>,
}

/// Kept with each connection of the chat: its number there.
struct Member(u64);

/// The chat and its connections, on whichever loop they are.
#[derive(Debug, Default)]
struct Room {
    chat: Chat,
    members: HashSet<ConnectionId>,
}

impl Demo {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which member of the chat this is, if it is one.
    fn member(ws: &mut WebSocket<'_>) -> Option<u64> {
        ws.data().map(|&mut Member(id)| id)
    }
}

/// Sends while the room is locked, so that all members hear everything in one order.
fn tell(room: &Room, ws: &mut WebSocket<'_>, said: &Said) {
    for text in &said.back {
        let _ = ws.send(text);
    }
    for text in &said.all {
        let message = PreparedMessage::new(text);
        let _ = ws.connections().send_to(room.members.iter().copied(), &message);
    }
}

impl Handler for Demo {
    fn on_http(&mut self, _connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        if exchange.request.path() != "/" {
            return HttpAnswer::Default;
        }
        let page = Response::new(200).with_body("text/html; charset=utf-8", PAGE);
        page.with_field("Content-Security-Policy", POLICY).map_or(HttpAnswer::Default, HttpAnswer::Now)
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        if ws.request().is_some_and(|request| request.path() == CHAT) {
            let mut room = self.room();
            let (id, said) = room.chat.join();
            ws.set_data(Member(id));
            room.members.insert(ws.id());
            tell(&room, ws, &said);
        }
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        match (Self::member(ws), message) {
            (None, message) => drop(ws.send(message)),
            (Some(id), Message::Text(text)) => {
                let mut room = self.room();
                let said = room.chat.hear(id, text);
                tell(&room, ws, &said);
            }
            (Some(_), Message::Binary(_)) => {}
        }
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, _closed: &Closed) {
        if let Some(id) = Self::member(ws) {
            let mut room = self.room();
            room.members.remove(&ws.id());
            let said = room.chat.leave(id);
            tell(&room, ws, &said);
        }
    }
}
