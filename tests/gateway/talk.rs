//! A push server, and clients that talk to it in JSON, line by line.

use loopwire::gateway::{Claims, Gateway, GatewayConfig, GatewayHandle, Issuer};
use loopwire::push::{Audience, ChannelOptions, Restored};
use loopwire::store::Store;
use loopwire::{NetConfig, Server, ServerHandle};
use serde_json::{Value, json};
use tungstenite::Message;

use crate::support::{Peer, Running};

pub(crate) const SECRET: &str = "secret";
const PATH: &str = "/connection/websocket";

/// A push server on a thread of its own.
pub(crate) struct Push {
    pub(crate) server: Running,
    pub(crate) handle: GatewayHandle,
}

impl Push {
    /// With everything allowed in channels without a namespace, and nothing in `closed:`; `change` changes that.
    pub(crate) fn start(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        Self::of(config(change))
    }

    pub(crate) fn of(config: GatewayConfig) -> Self {
        Self::with(config, NetConfig::default(), |_| None)
    }

    /// With limits and a store of its own.
    pub(crate) fn with(
        config: GatewayConfig,
        net: NetConfig,
        store: impl FnOnce(ServerHandle) -> Option<(Store, Restored)>,
    ) -> Self {
        let server = Server::builder().listen("127.0.0.1:0").net(net).build().unwrap();
        let gateway = Gateway::new(config, store(server.handle()), server.handle()).unwrap();
        let handle = gateway.handle();
        Self { server: Running::of(server, move |server| server.run(gateway)), handle }
    }

    /// A connection that has said nothing yet.
    pub(crate) fn open(&self) -> Talker {
        self.open_with("")
    }

    pub(crate) fn open_with(&self, query: &str) -> Talker {
        Talker { peer: self.server.open_at(&format!("{PATH}{query}")), id: 0, client: String::new() }
    }

    /// A connected client of this user.
    pub(crate) fn client(&self, user: &str) -> Talker {
        self.connect(json!({ "token": token(user) })).0
    }

    /// A connected client, and what it was answered.
    pub(crate) fn connect(&self, request: Value) -> (Talker, Value) {
        let mut talker = self.open();
        let answer = talker.ask("connect", request);
        talker.client = answer["client"].as_str().expect("a client").to_owned();
        (talker, answer)
    }
}

/// Everything is allowed and kept in channels without a namespace, and nothing in `closed:`.
pub(crate) fn config(change: impl FnOnce(&mut GatewayConfig)) -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.token.hmac_secret = Some(SECRET.to_owned());
    let everyone = Audience { client: true, subscriber: true, anonymous: true };
    config.hub.namespaces.plain = ChannelOptions {
        presence: true,
        join_leave: true,
        history_size: 100,
        history_ttl: 60_000,
        subscribe: everyone,
        publish: everyone,
        history: everyone,
        presence_for: everyone,
        ..ChannelOptions::default()
    };
    config.hub.namespaces.named.insert("closed".to_owned(), ChannelOptions::default());
    change(&mut config);
    config
}

pub(crate) fn token(user: &str) -> String {
    token_of(|claims| claims.sub = user.to_owned())
}

pub(crate) fn token_of(change: impl FnOnce(&mut Claims)) -> String {
    let mut claims = Claims::default();
    change(&mut claims);
    Issuer::new(SECRET).issue(&claims)
}

/// The wall clock, in seconds.
pub(crate) fn unix() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A client that speaks JSON.
pub(crate) struct Talker {
    pub(crate) peer: Peer,
    pub(crate) client: String,
    id: u32,
}

impl Talker {
    pub(crate) fn send(&mut self, text: &str) {
        self.peer.send(Message::text(text)).unwrap();
    }

    /// Says a command, and which id it has.
    pub(crate) fn say(&mut self, method: &str, request: Value) -> u32 {
        let command = self.command(method, request);
        self.send(&command.to_string());
        self.id
    }

    /// A command with the next id.
    pub(crate) fn command(&mut self, method: &str, request: Value) -> Value {
        self.id += 1;
        let mut command = json!({ "id": self.id });
        command[method] = request;
        command
    }

    /// The next message.
    pub(crate) fn hear(&mut self) -> Value {
        match self.peer.read().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a text: {other:?}"),
        }
    }

    /// What a command is answered, which is the next message.
    pub(crate) fn ask(&mut self, method: &str, request: Value) -> Value {
        let id = self.say(method, request);
        let mut answer = self.hear();
        assert_eq!(answer["id"], id, "{answer}");
        assert!(answer.get("error").is_none(), "{answer}");
        answer[method].take()
    }

    /// The code of the error that a command is answered with.
    pub(crate) fn refused(&mut self, method: &str, request: Value) -> u64 {
        let id = self.say(method, request);
        self.error(id)
    }

    pub(crate) fn error(&mut self, id: u32) -> u64 {
        let answer = self.hear();
        assert_eq!(answer["id"], id, "{answer}");
        let error = &answer["error"];
        let is_temporary = error.get("temporary") == Some(&json!(true));
        let code = error["code"].as_u64().unwrap_or_else(|| panic!("no error: {answer}"));
        assert_eq!(is_temporary, matches!(code, 100 | 111), "{answer}");
        assert!(error["message"].is_string(), "{answer}");
        code
    }

    /// A push, which is the next message.
    pub(crate) fn pushed(&mut self) -> Value {
        let mut message = self.hear();
        assert!(message.get("push").is_some(), "{message}");
        message["push"].take()
    }

    /// The data of a publication, which is the next message.
    pub(crate) fn published(&mut self, channel: &str) -> Value {
        let mut push = self.pushed();
        assert_eq!(push["channel"], channel, "{push}");
        assert!(push.get("pub").is_some(), "{push}");
        push["pub"]["data"].take()
    }

    /// Nothing waits to be heard that was sent before now.
    pub(crate) fn hears_nothing(&mut self) {
        assert_eq!(self.ask("ping", json!({})), json!({}));
    }

    /// The code with which the server sends the client away: by a push, and then by a Close with the same reason.
    pub(crate) fn sent_away(&mut self) -> u64 {
        let push = self.pushed();
        let code = push["disconnect"]["code"].as_u64().unwrap_or_else(|| panic!("no disconnect: {push}"));
        match self.peer.read().unwrap() {
            Message::Close(Some(frame)) => {
                assert_eq!(u64::from(u16::from(frame.code)), code);
                assert_eq!(push["disconnect"]["reason"], frame.reason.as_str());
            }
            other => panic!("not closed: {other:?}"),
        }
        code
    }
}
