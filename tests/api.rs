//! The server API of the push server, over real sockets: every method, who may use it, and what it refuses.

#![cfg(feature = "gateway")]

mod support;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use loopwire::Server;
use loopwire::gateway::{Claims, Gateway, GatewayConfig, Issuer};
use loopwire::push::{Audience, ChannelOptions, Sequence};
use loopwire::store::{Store, StoreEvent};
use serde_json::{Value, json};
use support::{Peer, Raw, Running};
use tungstenite::Message;

const KEY: &str = "X-API-Key: secret\r\n";

fn config() -> GatewayConfig {
    let everyone = Audience { client: true, subscriber: true, anonymous: true };
    let mut config =
        GatewayConfig { api_key: Some("secret".into()), allow_anonymous: true, ..GatewayConfig::default() };
    let plain = &mut config.hub.namespaces.plain;
    *plain = ChannelOptions { subscribe: everyone, presence: true, history_size: 3, history_ttl: 60_000, ..*plain };
    let flat = ChannelOptions { subscribe: everyone, ..ChannelOptions::default() };
    config.hub.namespaces.named.insert("flat".into(), flat);
    config
}

fn start(config: GatewayConfig) -> Running {
    let server = Server::builder().listen("127.0.0.1:0").build().unwrap();
    let gateway = Gateway::new(config, None, server.handle()).unwrap();
    Running::of(server, move |server| server.run(gateway))
}

/// The status and the body.
fn request(server: &Running, method: &str, target: &str, fields: &str, body: &str) -> (u16, String) {
    let mut raw = server.raw();
    let length = body.len();
    raw.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}Content-Length: {length}\r\n\r\n{body}",
        server.addr
    ));
    let answer = String::from_utf8(raw.all()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// What a method answers.
fn api(server: &Running, method: &str, params: impl Into<Value>) -> Value {
    let params = params.into();
    let (status, body) = request(server, "POST", &format!("/api/{method}"), KEY, &params.to_string());
    assert_eq!(status, 200, "{method} {params}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn result(server: &Running, method: &str, params: impl Into<Value>) -> Value {
    let mut answer = api(server, method, params);
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].take()
}

fn error(server: &Running, method: &str, params: impl Into<Value>) -> u64 {
    let answer = api(server, method, params);
    answer["error"]["code"].as_u64().unwrap_or_else(|| panic!("{method}: {answer}"))
}

/// A client of the client protocol, connected as `user`, and its name.
struct Client {
    peer: Peer,
    id: String,
}

impl Client {
    fn connect(server: &Running, user: &str) -> Self {
        let mut peer = server.open_at("/connection/websocket");
        let connect = match user {
            "" => json!({"id": 1, "connect": {}}),
            user => json!({"id": 1, "connect": {"token": token(user)}}),
        };
        peer.send(Message::text(connect.to_string())).unwrap();
        let reply = next(&mut peer);
        let id = reply["connect"]["client"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
        Self { peer, id }
    }

    fn subscribe(&mut self, channel: &str) {
        self.peer.send(Message::text(json!({"id": 2, "subscribe": {"channel": channel}}).to_string())).unwrap();
        let reply = self.next();
        assert!(reply.get("subscribe").is_some(), "{reply}");
    }

    /// The next reply or push that is no ping.
    fn next(&mut self) -> Value {
        next(&mut self.peer)
    }

    /// The close code.
    fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(Some(frame)) = self.peer.read().unwrap() {
                return frame.code.into();
            }
        }
    }
}

fn next(peer: &mut Peer) -> Value {
    loop {
        let text = peer.read().unwrap().into_text().unwrap();
        if text.as_str() != "{}" {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// For this user, signed with "secret".
fn token(user: &str) -> String {
    Issuer::new("secret").issue(&Claims { sub: user.into(), ..Claims::default() })
}

fn with_tokens() -> GatewayConfig {
    let mut config = config();
    config.token.hmac_secret = Some("secret".into());
    config
}

#[test]
fn what_is_published_reaches_subscribers_and_the_history() {
    let server = start(config());
    let mut client = Client::connect(&server, "");
    client.subscribe("news");
    let published =
        result(&server, "publish", json!({"channel": "news", "data": {"a": [1, null]}, "tags": {"t": "1"}}));
    assert_eq!(published["offset"], 1);
    let push = client.next();
    assert_eq!(push["push"]["channel"], "news");
    assert_eq!(push["push"]["pub"]["data"], json!({"a": [1, null]}));
    assert_eq!(push["push"]["pub"]["tags"], json!({"t": "1"}));
    // Base64: JSON, text and bytes.
    for (b64, shown) in [("eyJiIjoyfQ==", json!({"b": 2})), ("aMOp", json!("hé")), ("AP8=", json!("AP8="))] {
        result(&server, "publish", json!({"channel": "news", "b64data": b64}));
        assert_eq!(client.next()["push"]["pub"]["data"], shown);
    }
    let history = result(&server, "history", json!({"channel": "news", "limit": -1}));
    assert_eq!((&history["offset"], &history["epoch"]), (&json!(4), &published["epoch"]));
    let data: Vec<_> =
        history["publications"].as_array().unwrap().iter().map(|it| (&it["data"], &it["b64data"])).collect();
    let null = Value::Null;
    assert_eq!(data, [(&json!({"b": 2}), &null), (&json!("hé"), &null), (&null, &json!("AP8="))]);

    let since = json!({"offset": 3, "epoch": published["epoch"]});
    let page = |params: Value| {
        let history = result(&server, "history", params);
        history["publications"].as_array().unwrap().iter().map(|it| it["offset"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(page(json!({"channel": "news", "limit": 10, "since": since})), [4]);
    assert_eq!(page(json!({"channel": "news", "limit": 2, "reverse": true})), [4, 3]);
    assert_eq!(page(json!({"channel": "news"})), [0; 0]);
    assert_eq!(
        error(&server, "history", json!({"channel": "news", "limit": 1, "since": {"offset": 1, "epoch": "x"}})),
        112
    );
    assert_eq!(error(&server, "history", json!({"channel": "flat:a", "limit": 1})), 108);

    assert_eq!(result(&server, "history_remove", json!({"channel": "news"})), json!({}));
    assert_eq!(page(json!({"channel": "news", "limit": -1})), [0; 0]);
}

#[test]
fn a_publish_without_a_stream_has_no_position_and_one_with_a_key_happens_once() {
    let server = start(config());
    assert_eq!(result(&server, "publish", json!({"channel": "flat:a", "data": 1})), json!({}));
    let once = json!({"channel": "a", "data": 1, "idempotency_key": "k"});
    let first = result(&server, "publish", once.clone());
    assert_eq!(result(&server, "publish", once), first);
    assert_eq!(result(&server, "publish", json!({"channel": "a", "data": 1}))["offset"], 2);
    assert_eq!(result(&server, "publish", json!({"channel": "a", "data": 1, "skip_history": true})), json!({}));
}

#[test]
fn a_broadcast_says_of_each_channel_what_became_of_it() {
    let server = start(config());
    let answer = result(&server, "broadcast", json!({"channels": ["a", "none:b", "", "flat:c"], "data": "x"}));
    let responses = answer["responses"].as_array().unwrap();
    let told: Vec<_> =
        responses.iter().map(|it| (it["result"]["offset"].as_u64(), it["error"]["code"].as_u64())).collect();
    assert_eq!(told, [(Some(1), None), (None, Some(102)), (None, Some(107)), (None, None)]);
}

#[test]
fn a_batch_goes_on_behind_what_is_refused() {
    let server = start(config());
    let commands = json!([
        {"publish": {"channel": "a", "data": 1}},
        {"publish": {"channel": "none:a", "data": 1}},
        {"broadcast": {"channels": ["a", "none:b"], "data": 2}},
        {"rpc": {}},
        {"batch": {"commands": []}},
        {},
        {"publish": {"channel": "a", "data": 3}, "info": {}},
        {"publish": {"channel": 5}},
        5,
        {"presence_stats": {"channel": "a"}},
    ]);
    let answer = api(&server, "batch", json!({"commands": commands, "parallel": true}));
    let replies = answer["replies"].as_array().unwrap();
    assert_eq!(replies[0]["publish"]["offset"], 1);
    assert_eq!(replies[1]["error"], json!({"code": 102, "message": "unknown channel"}));
    assert_eq!(replies[2]["broadcast"]["responses"][0]["result"]["offset"], 2);
    assert_eq!(replies[2]["broadcast"]["responses"][1]["error"]["code"], 102);
    let codes: Vec<_> = replies[3..9].iter().map(|reply| reply["error"]["code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [104, 107, 107, 107, 107, 107]);
    assert_eq!(replies[9]["presence_stats"], json!({"num_clients": 0, "num_users": 0}));
    assert_eq!(replies.len(), 10);
    assert_eq!(api(&server, "batch", json!({})), json!({"replies": []}));

    let many = |count: usize| json!({"commands": vec![json!({"info": {}}); count]}).to_string();
    assert_eq!(request(&server, "POST", "/api/batch", KEY, &many(1000)).0, 200);
    assert_eq!(request(&server, "POST", "/api/batch", KEY, &many(1001)).0, 400);
}

#[test]
fn users_are_subscribed_unsubscribed_refreshed_and_sent_away() {
    let server = start(with_tokens());
    let [mut first, mut second, mut other] = ["42", "42", "43"].map(|user| Client::connect(&server, user));
    let both = json!({"user": "42", "channel": "news", "data": {"hello": 1}, "info": {"seat": 3}});
    assert_eq!(result(&server, "subscribe", both), json!({}));
    for client in [&mut first, &mut second] {
        let push = client.next();
        assert_eq!(push["push"]["channel"], "news");
        assert_eq!(push["push"]["subscribe"]["data"], json!({"hello": 1}), "{push}");
    }
    let presence = result(&server, "presence", json!({"channel": "news"}));
    assert_eq!(presence["presence"][&first.id]["user"], "42");
    assert_eq!(presence["presence"][&first.id]["chan_info"], json!({"seat": 3}));
    assert_eq!(presence["presence"].as_object().unwrap().len(), 2);
    let stats = result(&server, "presence_stats", json!({"channel": "news"}));
    assert_eq!(stats, json!({"num_clients": 2, "num_users": 1}));
    assert_eq!(
        result(&server, "channels", json!({"pattern": "n*"})),
        json!({"channels": {"news": {"num_clients": 2}}})
    );
    assert_eq!(result(&server, "channels", json!({"pattern": "x*"})), json!({"channels": {}}));

    // One client of the user; a client of somebody else; nobody.
    for (user, client, left) in
        [("42", &first.id, 1), ("43", &second.id, 1), ("", &"x".to_owned(), 1), ("44", &String::new(), 1)]
    {
        result(&server, "unsubscribe", json!({"user": user, "client": client, "channel": "news"}));
        let stats = result(&server, "presence_stats", json!({"channel": "news"}));
        assert_eq!(stats["num_clients"], left, "{user} {client}");
    }
    assert_eq!(first.next()["push"]["unsubscribe"]["code"], 2000);

    assert_eq!(error(&server, "subscribe", json!({"user": "42", "channel": "none:a"})), 102);
    assert_eq!(error(&server, "subscribe", json!({"channel": "news"})), 107);
    assert_eq!(error(&server, "subscribe", json!({"user": "42"})), 107);

    let away = json!({"user": "42", "whitelist": [second.id], "disconnect": {"code": 4001, "reason": "bye"}});
    result(&server, "disconnect", away);
    assert_eq!(first.closed(), 4001);
    result(&server, "disconnect", json!({"user": "42"}));
    assert_eq!(second.closed(), 3503);
    result(&server, "refresh", json!({"client": other.id, "expired": true}));
    assert_eq!(other.closed(), 3005);
    for disconnect in [json!({"code": 1000}), json!({"code": 5000}), json!({"code": 4000, "reason": "x".repeat(124)})] {
        let code = error(&server, "disconnect", json!({"user": "42", "disconnect": disconnect}));
        assert!([106, 107].contains(&code));
    }
}

#[test]
fn a_refresh_moves_the_end_of_a_connection() {
    let server = start(GatewayConfig { expired_close_delay: Duration::ZERO, ..with_tokens() });
    let mut client = Client::connect(&server, "42");
    let long_ago = json!({"user": "42", "expire_at": 1});
    let later = json!({"user": "42", "expire_at": 4_000_000_000_u64, "info": {"name": "A"}});
    result(&server, "refresh", later);
    result(&server, "subscribe", json!({"user": "42", "channel": "news"}));
    client.next();
    let presence = result(&server, "presence", json!({"channel": "news"}));
    assert_eq!(presence["presence"][&client.id]["conn_info"], json!({"name": "A"}));
    result(&server, "refresh", long_ago);
    assert_eq!(client.closed(), 3005);
}

#[test]
fn messages_reach_one_client_a_user_a_group_and_all() {
    let server = start(with_tokens());
    let mut clients = ["42", "42", "43"].map(|user| Client::connect(&server, user));
    let ids = clients.each_ref().map(|client| client.id.clone());
    assert_eq!(result(&server, "group_join", json!({"group": "g", "user": "42"})), json!({"num_clients": 2}));
    assert_eq!(result(&server, "group_join", json!({"group": "g", "client": ids[2]})), json!({"num_clients": 1}));
    assert_eq!(result(&server, "group_leave", json!({"group": "g", "client": ids[0]})), json!({"num_clients": 1}));
    assert_eq!(result(&server, "group_leave", json!({"group": "g", "client": ids[0]})), json!({"num_clients": 0}));
    let members = json!({"clients": {&ids[1]: {"user": "42"}, &ids[2]: {"user": "43"}}});
    assert_eq!(result(&server, "group_members", json!({"group": "g"})), members);

    // To whom, and who gets it.
    let rows = [
        (json!({"client": ids[1]}), vec![1]),
        (json!({"user": "42"}), vec![0, 1]),
        (json!({"user": "42", "except": ids[0]}), vec![1]),
        (json!({"group": "g"}), vec![1, 2]),
        (json!({"all": true}), vec![0, 1, 2]),
        (json!({"all": true, "except": ids[2]}), vec![0, 1]),
        (json!({"client": "nobody"}), vec![]),
        (json!({"user": "nobody"}), vec![]),
        (json!({"group": "none"}), vec![]),
    ];
    for (number, (mut to, who)) in rows.into_iter().enumerate() {
        to["data"] = json!(number);
        assert_eq!(result(&server, "send", to.clone()), json!({"receivers": who.len()}), "{to}");
        for index in who {
            assert_eq!(clients[index].next(), json!({"push": {"message": {"data": number}}}), "{to}");
        }
    }
    for params in [json!({}), json!({"user": "42", "group": "g"}), json!({"all": true, "client": ids[0]})] {
        let mut params = params;
        params["data"] = json!(1);
        assert_eq!(error(&server, "send", params), 107);
    }
    assert_eq!(error(&server, "send", json!({"all": true})), 107, "nothing to send");
    assert_eq!(error(&server, "group_join", json!({"user": "42"})), 107);

    let connections = result(&server, "connections", json!({"user": "43"}));
    let described = json!({"user": "43", "transport": "websocket", "protocol": "json"});
    assert_eq!(connections, json!({"connections": {&ids[2]: described}}));
    assert_eq!(result(&server, "connections", json!({"user": "44"})), json!({"connections": {}}));
    assert_eq!(
        result(&server, "users", json!({})),
        json!({"users": {"42": {"num_clients": 2}, "43": {"num_clients": 1}}})
    );
}

#[test]
fn the_server_tells_of_itself() {
    let server = start(GatewayConfig { node_name: "here".into(), ..with_tokens() });
    let mut client = Client::connect(&server, "42");
    client.subscribe("news");
    let info = result(&server, "info", json!({}));
    let node = &info["nodes"][0];
    assert_eq!((&node["name"], &node["version"]), (&json!("here"), &json!(env!("CARGO_PKG_VERSION"))));
    for count in ["num_clients", "num_users", "num_channels", "num_subs"] {
        assert_eq!(node[count], 1, "{count}");
    }
    assert_eq!(request(&server, "GET", "/healthz", "", ""), (200, "ok\n".into()));
    assert_eq!(request(&server, "GET", "/readyz", "", ""), (200, "ready\n".into()));
    assert_eq!(request(&server, "POST", "/readyz", "", "").0, 405);
    assert_eq!(request(&server, "GET", "/nowhere", "", "").0, 404);
}

#[test]
fn every_method_is_401_without_the_key_before_the_body_is_read() {
    let server = start(config());
    let methods = [
        "publish",
        "broadcast",
        "subscribe",
        "unsubscribe",
        "disconnect",
        "refresh",
        "presence",
        "presence_stats",
        "history",
        "history_remove",
        "channels",
        "info",
        "batch",
        "send",
        "group_join",
        "group_leave",
        "group_members",
        "connections",
        "users",
        "nothing",
        "",
    ];
    for method in methods {
        for fields in ["", "X-API-Key: wrong\r\n", "Authorization: Bearer secret\r\n"] {
            for verb in ["POST", "GET", "PUT"] {
                let (status, body) = request(&server, verb, &format!("/api/{method}"), fields, "");
                assert_eq!(status, 401, "{verb} {method} {fields}");
                assert_eq!(body, r#"{"error":{"code":101,"message":"unauthorized"}}"#);
            }
        }
        // A body of which nothing ever comes.
        let mut raw = server.raw();
        raw.send(format!("POST /api/{method} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"));
        assert!(raw.all().starts_with(b"HTTP/1.1 401 "), "{method}");
    }
    for fields in [KEY, "Authorization: apikey secret\r\n"] {
        assert_eq!(request(&server, "POST", "/api/info", fields, "").0, 200);
    }
    assert_eq!(request(&server, "POST", "/api/info?api_key=secret", "", "").0, 200);
    assert_eq!(request(&server, "GET", "/metrics", "", "").0, 401);
}

#[test]
fn what_makes_no_sense_is_told_so() {
    let server = start(GatewayConfig { max_api_body: 300_000, ..config() });
    let post = |method: &str, body: &str| request(&server, "POST", &format!("/api/{method}"), KEY, body);
    assert_eq!(request(&server, "GET", "/api/info", KEY, "").0, 405);
    assert_eq!(post("nothing", "{}").0, 404);
    assert_eq!(post("", "{}").0, 404);
    assert_eq!(post("publish/x", "{}").0, 404);
    for body in
        ["{", "[1]", "5", "\"x\"", "{} {}", r#"{"channel":5}"#, r#"{"channel":"a","tags":["b"]}"#, r#"{"data":}"#]
    {
        let (status, answer) = post("publish", body);
        assert_eq!(status, 400, "{body}");
        assert!(answer.starts_with(r#"{"error":{"code":107,"message":"bad request: "#), "{body}: {answer}");
    }
    let bad = [
        ("publish", json!({"data": 1})),
        ("publish", json!({"channel": "", "data": 1})),
        ("publish", json!({"channel": "a"})),
        ("publish", json!({"channel": "a", "b64data": "?"})),
        ("publish", json!({"channel": "é", "data": 1})),
        ("broadcast", json!({"data": 1})),
        ("history", json!({"channel": "a", "limit": -2})),
        ("presence", json!({})),
        ("connections", json!({})),
    ];
    for (method, params) in bad {
        assert_eq!(error(&server, method, params.clone()), 107, "{method} {params}");
    }
    assert_eq!(error(&server, "publish", json!({"channel": "a", "data": 1, "version": 1})), 108);
    for (len, fits) in [(255, true), (256, false)] {
        let answer = api(&server, "publish", json!({"channel": "a", "data": 1, "idempotency_key": "k".repeat(len)}));
        assert_eq!(answer.get("result").is_some(), fits, "{len}");
    }
    // Nesting: what clients could not read is not taken.
    for (depth, fits) in [(100, true), (101, false), (100_000, false)] {
        let body = format!(r#"{{"channel":"a","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(post("publish", &body).1.contains("result"), fits, "{depth}");
    }
    // The body's limit: at it, and over it.
    let body = |len: usize| format!(r#"{{"channel":"a","data":"{}"}}"#, "x".repeat(len - 25));
    assert_eq!((body(300_000).len(), post("publish", &body(300_000)).0), (300_000, 200));
    assert_eq!(post("publish", &body(300_001)).0, 413);
    // Null is a value to publish, and nothing elsewhere.
    assert_eq!(
        post("publish", r#"{"channel":"flat:a","data":null,"tags":null,"b64data":null}"#),
        (200, r#"{"result":{}}"#.into())
    );
    // An empty object, as PHP writes it.
    assert_eq!(post("publish", r#"{"channel":"flat:a","data":[],"tags":[]}"#).0, 200);
    assert_eq!(post("channels", "[]").0, 200);
}

/// What two readers could take for different requests, and what comes behind a refusal, in one segment with a request that
/// would publish.
#[test]
fn nothing_is_published_by_what_is_ambiguous_or_behind_a_refusal() {
    let server = start(config());
    let upgrade = "GET /connection/websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let body = r#"{"channel":"news","data":1}"#;
    let publish = |fields: &str| format!("POST /api/publish HTTP/1.1\r\nHost: a\r\n{KEY}{fields}\r\n");
    let whole = format!("{}{body}", publish(&format!("Content-Length: {}\r\n", body.len())));
    let (length, hex) = (body.len(), format!("{:x}", body.len()));
    // What comes first, and its status.
    let rows = [
        (format!("{upgrade}Sec-WebSocket-Version: 7\r\n\r\n"), 426),
        (format!("{upgrade}Sec-WebSocket-Version: 13\r\nOrigin: http://elsewhere\r\n\r\n"), 403),
        (format!("{upgrade}Sec-WebSocket-Version: 13\r\nContent-Length: {}\r\n\r\n", whole.len()), 400),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
        ("POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n".to_owned(), 401),
        (publish(&format!("Content-Length: {length}\r\nContent-Length: {length}0\r\n")), 400),
        (publish(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n")), 400),
        (publish(&format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n")), 400),
        (publish(&format!("Content-Length: {length}, {length}0\r\n")), 400),
        (publish(&format!("Content-Length: +{length}\r\n")), 400),
        (publish(&format!("Content-Length: 0x{hex}\r\n")), 400),
        (publish("Content-Length: -1\r\n"), 400),
        (publish("Content-Length: 18446744073709551643\r\n"), 400),
        (publish(&format!("Content-Length : {length}\r\n")), 400),
        (publish("Transfer-Encoding: chunked, identity\r\n"), 400),
        (publish("Transfer-Encoding: xchunked\r\n"), 400),
        (publish("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
        // A chunk whose size has more than 64 bits.
        (publish("Transfer-Encoding: chunked\r\n") + &format!("1{hex:0>16}\r\n{body}\r\n0\r\n\r\n"), 400),
        (publish("Transfer-Encoding: chunked\r\n") + &format!("{hex}\n{body}\r\n0\r\n\r\n"), 400),
    ];
    for (first, status) in rows {
        for behind in [&whole, body] {
            let mut raw = server.raw();
            raw.send(format!("{first}{behind}"));
            let answer = String::from_utf8(raw.all()).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{first}{answer}");
            assert_eq!(answer.matches("\r\nConnection: close\r\n").count(), 1, "{first}{answer}");
        }
    }
    let history = result(&server, "history", json!({"channel": "news", "limit": -1}));
    assert_eq!(history["offset"], 0, "{history}");
    // It is those that keep it out, and not what they are about.
    let mut raw = server.raw();
    raw.send(&whole);
    assert!(raw.all().starts_with(b"HTTP/1.1 200 "));
    assert_eq!(result(&server, "history", json!({"channel": "news"}))["offset"], 1);
}

/// Every field of every method with every type of JSON value: read exactly where it is its own, or null.
#[test]
fn a_parameter_takes_its_own_type_and_null() {
    type Values = &'static [&'static str];
    const ALL: Values = &["null", "\"x\"", "{}", "true", "7", "-7", "7.5", "[]", "[[1]]", "{\"x\":[7]}"];
    const STRING: Values = &["\"x\""];
    const BOOL: Values = &["true"];
    const UNSIGNED: Values = &["7"];
    const SIGNED: Values = &["7", "-7"];
    const STRINGS: Values = &["[]"];
    // As PHP writes an empty one, too.
    const OBJECT: Values = &["{}", "[]", "{\"x\":[7]}"];
    const MAP: Values = &["{}", "[]"];
    let publish: &[(&str, Values)] = &[
        ("channel", STRING),
        ("data", ALL),
        ("b64data", STRING),
        ("skip_history", BOOL),
        ("tags", MAP),
        ("idempotency_key", STRING),
        ("version", UNSIGNED),
        ("of_tomorrow", ALL),
    ];
    let methods: [(&str, &[(&str, Values)]); 17] = [
        ("publish", publish),
        ("broadcast", &[publish, &[("channels", STRINGS)]].concat()),
        (
            "subscribe",
            &[
                ("channel", STRING),
                ("user", STRING),
                ("client", STRING),
                ("info", ALL),
                ("b64info", STRING),
                ("data", ALL),
                ("b64data", STRING),
                ("recover_since", OBJECT),
                ("expire_at", UNSIGNED),
                ("override", OBJECT),
            ],
        ),
        ("unsubscribe", &[("channel", STRING), ("user", STRING), ("client", STRING)]),
        ("disconnect", &[("user", STRING), ("client", STRING), ("whitelist", STRINGS), ("disconnect", OBJECT)]),
        (
            "refresh",
            &[
                ("user", STRING),
                ("client", STRING),
                ("expired", BOOL),
                ("expire_at", UNSIGNED),
                ("info", ALL),
                ("b64info", STRING),
            ],
        ),
        ("presence", &[("channel", STRING)]),
        ("presence_stats", &[("channel", STRING)]),
        ("history", &[("channel", STRING), ("limit", SIGNED), ("since", OBJECT), ("reverse", BOOL)]),
        ("history_remove", &[("channel", STRING)]),
        ("channels", &[("pattern", STRING)]),
        (
            "send",
            &[
                ("user", STRING),
                ("client", STRING),
                ("group", STRING),
                ("all", BOOL),
                ("except", STRING),
                ("data", ALL),
                ("b64data", STRING),
            ],
        ),
        ("group_join", &[("group", STRING), ("user", STRING), ("client", STRING)]),
        ("group_leave", &[("group", STRING), ("user", STRING), ("client", STRING)]),
        ("group_members", &[("group", STRING)]),
        ("connections", &[("user", STRING)]),
        ("batch", &[("commands", &["[]", "[[1]]"]), ("parallel", ALL)]),
    ];
    let server = start(config());
    let status = |method: &str, body: &str| request(&server, "POST", &format!("/api/{method}"), KEY, body).0;
    for (method, fields) in methods {
        for value in ALL {
            let is_object = ["null", "{}", "[]", "{\"x\":[7]}"].contains(value);
            assert_eq!(status(method, value) == 200, is_object, "{method} {value}");
            for (field, own) in fields {
                let body = format!("{{\"{field}\":{value}}}");
                let is_read = own.contains(value) || *value == "null";
                assert_eq!(status(method, &body), if is_read { 200 } else { 400 }, "{method} {body}");
            }
        }
        // Deeper than a stack goes, where somebody looks and where nobody does: an answer comes all the same.
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for field in fields.iter().map(|(field, _)| *field).chain(["of_tomorrow"]) {
            let status = status(method, &format!("{{\"{field}\":{deep}}}"));
            assert!(matches!(status, 200 | 400), "{method} {field}: {status}");
        }
        assert_eq!(status(method, &deep), 400, "{method}");
    }
}

#[test]
fn a_key_that_was_replaced_opens_nothing_any_more() {
    let server = Server::builder().listen("127.0.0.1:0").build().unwrap();
    let gateway = Gateway::new(config(), None, server.handle()).unwrap();
    let handle = gateway.handle();
    let server = Running::of(server, move |server| server.run(gateway));
    let status = |key: &str| request(&server, "POST", "/api/info", &format!("X-API-Key: {key}\r\n"), "").0;
    assert_eq!((status("secret"), status("another")), (200, 401));
    handle.reconfigure(GatewayConfig { api_key: Some("another".into()), ..config() }).wait().unwrap().unwrap();
    assert_eq!((status("secret"), status("another")), (401, 200));
    handle.reconfigure(GatewayConfig { api_key: None, ..config() }).wait().unwrap().unwrap();
    assert_eq!((status("secret"), status("another"), status("")), (401, 401, 401));
}

#[test]
fn what_happened_is_counted() {
    let server = start(with_tokens());
    let mut clients = ["42", "43"].map(|user| Client::connect(&server, user));
    for client in &mut clients {
        client.subscribe("flat:a");
    }
    clients[0].subscribe("news");
    result(&server, "publish", json!({"channel": "flat:a", "data": 1}));
    error(&server, "publish", json!({"channel": "none:a", "data": 1}));
    clients[0].next();
    clients[0].peer.send(Message::text(r#"{"id":9,"subscribe":{"channel":"none:a"}}"#)).unwrap();
    assert_eq!(clients[0].next()["error"]["code"], 102);
    result(&server, "disconnect", json!({"user": "43", "disconnect": {"code": 4444}}));
    assert_eq!(clients[1].closed(), 4444);

    let (status, told) = request(&server, "GET", "/metrics", KEY, "");
    assert_eq!(status, 200);
    assert!(told.ends_with("# EOF\n"), "{told}");
    let rows = [
        "loopwire_clients 1",
        "loopwire_users 1",
        "loopwire_channels 2",
        "loopwire_subscriptions{namespace=\"\"} 1",
        "loopwire_subscriptions{namespace=\"flat\"} 1",
        "loopwire_publications_total{namespace=\"flat\"} 1",
        "loopwire_deliveries_total{namespace=\"flat\"} 2",
        "loopwire_disconnects_total{code=\"4444\"} 1",
        "loopwire_command_errors_total{code=\"102\"} 1",
        "loopwire_api_requests_total{method=\"publish\",status=\"200\"} 2",
        "loopwire_api_requests_total{method=\"disconnect\",status=\"200\"} 1",
        "loopwire_delivery_seconds_count 1",
        "loopwire_delivery_seconds_bucket{le=\"+Inf\"} 1",
        "loopwire_commit_seconds_count 0",
        "loopwire_store_waiting 0",
        "loopwire_store_failing 0",
        "loopwire_hooks_waiting 0",
        "loopwire_buffered_bytes 0",
        "loopwire_connections_opened_total 2",
    ];
    for row in rows {
        assert!(told.lines().any(|line| line == row), "{row}: {told}");
    }
}

#[test]
fn namespaces_that_clients_make_up_are_counted_as_one() {
    let mut config = with_tokens();
    config.hub.namespaces.others = Some(config.hub.namespaces.plain);
    let server = start(config);
    let mut client = Client::connect(&server, "42");
    for number in 0..5 {
        client.subscribe(&format!("n{number}:a"));
        result(&server, "publish", json!({"channel": format!("n{number}:a"), "data": 1}));
        client.next();
    }
    let (_, told) = request(&server, "GET", "/metrics", KEY, "");
    let of_namespaces: Vec<_> = told.lines().filter(|line| line.contains("namespace=")).collect();
    let expected = [
        "loopwire_subscriptions{namespace=\"*\"} 5",
        "loopwire_publications_total{namespace=\"*\"} 5",
        "loopwire_deliveries_total{namespace=\"*\"} 5",
    ];
    assert_eq!(of_namespaces, expected);
}

/// A server with a store, of which it hears when the test says so.
struct Stored {
    server: Running,
    events: Receiver<StoreEvent>,
    directory: PathBuf,
}

impl Stored {
    fn start(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("loopwire-api-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        let server = Server::builder().listen("127.0.0.1:0").build().unwrap();
        let (tell, events) = mpsc::channel();
        let store = Store::open(&directory, move |event| drop(tell.send(event))).unwrap();
        let config = GatewayConfig { max_unwritten: 10_000, ..config() };
        let gateway = Gateway::new(config, Some(store), server.handle()).unwrap();
        let stored = Self { server: Running::of(server, move |server| server.run(gateway)), events, directory };
        // Past what every store begins with.
        let first = stored.ask("publish", &json!({"channel": "first", "data": 1}));
        stored.wait_for_answers(1);
        stored.commit_all();
        answer(first);
        stored
    }

    /// Waits until so many requests wait.
    fn wait_for_answers(&self, count: usize) {
        let row = format!("loopwire_api_waiting {count}\n");
        self.server.wait_until(&row, |server| request(server, "GET", "/metrics", KEY, "").1.contains(&row));
    }

    /// Lets the server hear of commits until nobody waits for one.
    fn commit_all(&self) {
        self.server.wait_until("all is on disk", |server| {
            self.events.try_iter().for_each(|event| server.handle.post(0, event).unwrap());
            request(server, "GET", "/metrics", KEY, "").1.contains("loopwire_api_waiting 0\n")
        });
    }

    /// How many records have been committed.
    fn commits(&self) -> u64 {
        let (_, told) = request(&self.server, "GET", "/metrics", KEY, "");
        let count = told.lines().find_map(|line| line.strip_prefix("loopwire_commit_seconds_count "));
        count.unwrap().parse().unwrap()
    }

    /// Sends a request whose answer has to wait.
    fn ask(&self, method: &str, params: &Value) -> Raw {
        let (mut raw, body) = (self.server.raw(), params.to_string());
        let length = body.len();
        raw.send(format!("POST /api/{method} HTTP/1.1\r\nHost: a\r\n{KEY}Content-Length: {length}\r\n\r\n{body}"));
        raw
    }

    /// Lets the server hear of a commit.
    fn commit(&self) {
        let event = self.events.recv_timeout(support::PATIENCE).unwrap();
        assert!(matches!(event, StoreEvent::Committed(_)), "{event:?}");
        self.server.handle.post(0, event).unwrap();
    }

    fn fail(&self, from: Sequence) {
        self.server.handle.post(0, StoreEvent::Failed { from, error: "no room".into() }).unwrap();
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn answer(mut raw: Raw) -> Value {
    let all = String::from_utf8(raw.all()).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 "), "{all}");
    serde_json::from_str(all.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn what_has_to_be_on_disk_is_answered_once_it_is() {
    let stored = Stored::start("later");
    let before = stored.commits();
    let publish = |data: u32| json!({"channel": "a", "data": data, "idempotency_key": "k"});
    let mut first = stored.ask("publish", &publish(1));
    stored.wait_for_answers(1);
    // The same again, and others along with what need not wait.
    let commands = json!([
        {"publish": publish(2)},
        {"publish": {"channel": "flat:a", "data": 3}},
        {"broadcast": {"channels": ["b", "none:c", "a"], "data": 4}},
    ]);
    let batch = stored.ask("batch", &json!({"commands": commands}));
    stored.wait_for_answers(2);
    assert_eq!(result(&stored.server, "history", json!({"channel": "a", "limit": -1}))["publications"], json!([]));
    first.0.set_nonblocking(true).unwrap();
    assert!(std::io::Read::read(&mut first.0, &mut [0]).is_err(), "nothing is said before");
    first.0.set_nonblocking(false).unwrap();

    stored.commit_all();
    let (first, batch) = (answer(first), answer(batch));
    let epoch = &first["result"]["epoch"];
    assert_eq!(first["result"]["offset"], 1);
    let replies = &batch["replies"];
    assert_eq!(replies[0]["publish"], json!({"offset": 1, "epoch": epoch}), "the same key, the same publication");
    assert_eq!(replies[1]["publish"], json!({}));
    let responses = replies[2]["broadcast"]["responses"].as_array().unwrap();
    let offsets: Vec<_> = responses.iter().map(|it| it["result"]["offset"].as_u64()).collect();
    assert_eq!(offsets, [Some(1), None, Some(2)]);
    assert_eq!(responses[1]["error"]["code"], 102);
    assert_eq!(stored.commits(), before + 3);
}

#[test]
fn what_could_not_be_brought_to_disk_is_refused_and_the_server_is_not_ready() {
    let stored = Stored::start("failing");
    let ready = || request(&stored.server, "GET", "/readyz", "", "").0;
    assert_eq!(ready(), 200);
    let raw = stored.ask("publish", &json!({"channel": "a", "data": 1}));
    // It is on disk, but that is not what the server hears.
    let event = stored.events.recv_timeout(support::PATIENCE).unwrap();
    let StoreEvent::Committed(sequence) = event else { panic!("{event:?}") };
    stored.fail(sequence);
    assert_eq!(answer(raw)["error"], json!({"code": 100, "message": "internal server error"}));
    assert_eq!(ready(), 503);
    let raw = stored.ask("publish", &json!({"channel": "a", "data": 2}));
    stored.commit();
    assert_eq!(answer(raw)["result"]["offset"], 1);
    assert_eq!(ready(), 200);
}

#[test]
fn while_too_much_waits_for_the_disk_publishers_have_to_wait_too() {
    let stored = Stored::start("full");
    let publish = |channel: &str| json!({"channel": channel, "data": "x".repeat(6000)});
    let waiting = [stored.ask("publish", &publish("a")), stored.ask("publish", &publish("b"))];
    stored.wait_for_answers(2);
    assert_eq!(error(&stored.server, "publish", publish("c")), 111);
    assert_eq!(result(&stored.server, "publish", publish("flat:a")), json!({}), "this is not kept");
    stored.commit_all();
    for raw in waiting {
        assert_eq!(answer(raw)["result"]["offset"], 1);
    }
    let last = stored.ask("publish", &publish("c"));
    stored.wait_for_answers(1);
    stored.commit_all();
    assert_eq!(answer(last)["result"]["offset"], 1);
}

#[test]
fn who_goes_before_the_answer_leaves_nothing_behind() {
    let stored = Stored::start("gone");
    drop(stored.ask("publish", &json!({"channel": "a", "data": 1})));
    stored.commit();
    let history = result(&stored.server, "history", json!({"channel": "a", "limit": -1}));
    assert_eq!(history["publications"][0]["data"], 1, "it is published all the same");
    stored.wait_for_answers(0);
}
