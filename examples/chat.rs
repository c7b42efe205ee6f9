//! A chat with rooms: a message goes to one, to a room, or to all.
//!
//! ```sh
//! cargo run --example chat -- 127.0.0.1:8080
//! cargo run --example client -- 'ws://127.0.0.1:8080/lobby?name=Ada'
//! ```
//!
//! The path is the room, `name` in the query is who speaks. A line goes to the room; `/to Grace hello` goes to Grace
//! alone, `/all hello` to everybody.

use std::collections::HashMap;

use loopwire::{
    CloseCode, Closed, ConnectionId, Handler, Message, PeerAddr, PreparedMessage, Server, Upgrade, UpgradeRequest,
    WebSocket,
};

#[derive(Default)]
struct Chat {
    rooms: HashMap<String, Vec<ConnectionId>>,
    people: HashMap<String, ConnectionId>,
}

/// Who stands behind a connection.
#[derive(Clone)]
struct Person {
    name: String,
    room: String,
}

impl Chat {
    fn say(&self, ws: &mut WebSocket<'_>, room: &str, text: &str) {
        let members = self.rooms.get(room).into_iter().flatten().copied();
        // Encoded once, however many are in the room.
        ws.connections().send_to(members, &PreparedMessage::new(text));
    }
}

impl Handler for Chat {
    fn on_upgrade(&mut self, request: &UpgradeRequest, _peer: &PeerAddr) -> Upgrade {
        let Some(name) = request.query().and_then(|query| query.strip_prefix("name=")).filter(|name| !name.is_empty())
        else {
            return Upgrade::reject(400).body("say who you are: ?name=…\n");
        };
        if self.people.contains_key(name) {
            return Upgrade::reject(409).body("somebody of that name is here\n");
        }
        Upgrade::accept().data(Person { name: name.to_owned(), room: request.path().to_owned() })
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        let id = ws.id();
        let Some(Person { name, room }) = ws.data::<Person>().cloned() else { return };
        // Two handshakes may have been under way at the same time.
        if self.people.contains_key(&name) {
            let _ = ws.close(CloseCode::POLICY_VIOLATION, "somebody of that name is here");
            return;
        }
        self.people.insert(name.clone(), id);
        self.rooms.entry(room.clone()).or_default().push(id);
        self.say(ws, &room, &format!("* {name} is here"));
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        let Some(Person { name, room }) = ws.data::<Person>().cloned() else { return };
        let Some(text) = message.as_text() else {
            let _ = ws.close(CloseCode::UNSUPPORTED_DATA, "text only");
            return;
        };
        if let Some(text) = text.strip_prefix("/all ") {
            ws.connections().broadcast(&PreparedMessage::new(&format!("{name} to all: {text}")));
        } else if let Some((to, text)) = text.strip_prefix("/to ").and_then(|rest| rest.split_once(' ')) {
            let _ = match self.people.get(to) {
                Some(&to) => ws.connections().send(to, &format!("{name} to you: {text}")),
                None => ws.send(&format!("* {to} is not here")),
            };
        } else {
            self.say(ws, &room, &format!("{name}: {text}"));
        }
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, _closed: &Closed) {
        let id = ws.id();
        let Some(Person { name, room }) = ws.data::<Person>().cloned() else { return };
        if self.people.get(&name) != Some(&id) {
            return;
        }
        self.people.remove(&name);
        if let Some(members) = self.rooms.get_mut(&room) {
            members.retain(|&member| member != id);
            if members.is_empty() {
                self.rooms.remove(&room);
            }
        }
        self.say(ws, &room, &format!("* {name} has left"));
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::builder().listen(addr).max_message(4096).handle_signals().build()?;
    for addr in server.local_addrs() {
        eprintln!("chatting at {addr}");
    }
    server.run(Chat::default())
}
