//! Plain WebSocket clients: a connection is a channel.

use loopwire::gateway::{GatewayConfig, Publish, To};
use loopwire::push::{Audience, ChannelOptions, ClientId, Data, Kind, Sequence};
use loopwire::store::StoreEvent;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::backends::Backend;
use crate::durable::{Dir, start_mute};
use crate::support::{Peer, request, request_with};
use crate::talk::{Push, token, token_of, unix};

/// A plain client.
struct Plain(Peer);

impl Push {
    /// Opens `/channel/` and this.
    fn plain(&self, target: &str) -> Plain {
        Plain(self.server.open_at(&format!("/channel/{target}")))
    }

    /// One that is subscribed for certain.
    fn subscribed(&self, target: &str) -> (Plain, Value) {
        let mut plain = self.plain(&format!("{target}{}hello=1", if target.contains('?') { '&' } else { '?' }));
        let hello = plain.json();
        (plain, hello)
    }
}

impl Plain {
    fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).unwrap();
    }

    fn hear(&mut self) -> Message {
        self.0.read().unwrap()
    }

    fn text(&mut self) -> String {
        match self.hear() {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text: {other:?}"),
        }
    }

    fn json(&mut self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// The code and reason of the Close that comes next.
    fn closed(&mut self) -> (u16, String) {
        match self.hear() {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("not closed: {other:?}"),
        }
    }
}

fn closed_with(push: &Push, target: &str) -> (u16, String) {
    push.plain(target).closed()
}

/// The client that a hello is for.
fn client_of(hello: &Value) -> ClientId {
    ClientId::parse(hello["client"].as_str().unwrap()).unwrap()
}

fn reason(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

/// Anonymous clients may do everything.
fn open_to_all(config: &mut GatewayConfig) {
    config.allow_anonymous = true;
}

#[test]
fn what_is_published_arrives_as_it_was() {
    let push = Push::start(open_to_all);
    let ((mut ann, _), (mut bob, _)) = (push.subscribed("news"), push.subscribed("n%65ws"));
    let mut eve = push.client("eve");
    eve.ask("subscribe", json!({ "channel": "news" }));
    let large = "x".repeat(70_000);
    let rows: [(Message, Value); 9] = [
        ("hi".into(), json!("hi")),
        ("".into(), json!("")),
        ("42".into(), json!("42")),
        (r#"{"a": [1,  2]}"#.into(), json!({ "a": [1, 2] })),
        ("{\"a\":\n1}".into(), json!("{\"a\":\n1}")),
        ("{broken}".into(), json!("{broken}")),
        (Message::binary(vec![0, 255, 16]), json!("AP8Q")),
        (Message::binary(vec![]), json!("")),
        (large.as_str().into(), json!(large)),
    ];
    for (message, as_json) in rows {
        ann.send(message.clone());
        assert_eq!(ann.hear(), message);
        assert_eq!(bob.hear(), message);
        assert_eq!(eve.published("news"), as_json);
    }
    eve.ask("publish", json!({ "channel": "news", "data": { "b": "line\nbreak" } }));
    push.handle.publish("news", Data::new(Kind::Text, b"from the application")).wait().unwrap().unwrap();
    for plain in [&mut ann, &mut bob] {
        assert_eq!(plain.text(), r#"{"b":"line\nbreak"}"#);
        assert_eq!(plain.text(), "from the application");
    }
}

#[test]
fn messages_are_in_the_order_of_all_and_other_channels_are_others() {
    let push = Push::start(open_to_all);
    let ((mut ann, _), (mut bob, _), (mut other, _)) =
        (push.subscribed("news"), push.subscribed("news"), push.subscribed("chat/1"));
    for n in 0..500 {
        ann.send(format!("ann {n}"));
        bob.send(format!("bob {n}"));
    }
    let heard: Vec<_> = (0..1000).map(|_| ann.text()).collect();
    assert_eq!((0..1000).map(|_| bob.text()).collect::<Vec<_>>(), heard);
    for name in ["ann", "bob"] {
        let own: Vec<_> = heard.iter().filter(|text| text.starts_with(name)).cloned().collect();
        assert_eq!(own, (0..500).map(|n| format!("{name} {n}")).collect::<Vec<_>>());
    }
    other.send("alone");
    assert_eq!(other.text(), "alone");
}

#[test]
fn without_echo_a_client_does_not_hear_itself() {
    let push = Push::start(open_to_all);
    let ((mut ann, _), (mut bob, _)) = (push.subscribed("news?echo=0"), push.subscribed("news?echo=0"));
    ann.send("from ann");
    assert_eq!(bob.text(), "from ann");
    bob.send("from bob");
    assert_eq!(ann.text(), "from bob");
}

#[test]
fn a_hello_says_where_its_client_is() {
    let push = Push::start(open_to_all);
    push.handle.publish("news", Data::json("1")).wait().unwrap().unwrap();
    let (_ann, hello) = push.subscribed(&format!("news?token={}", token("ann")));
    let mut eve = push.client("eve");
    let presence = eve.ask("presence", json!({ "channel": "news" }));
    assert_eq!(presence["presence"][hello["client"].as_str().unwrap()]["user"], "ann");
    let epoch = hello["epoch"].as_str().unwrap();
    assert!(!epoch.is_empty());
    let client = &hello["client"];
    assert_eq!(hello, json!({ "channel": "news", "client": client, "epoch": epoch, "offset": 1, "recovered": false }));
}

#[test]
fn who_comes_back_gets_what_was_missed_or_is_told_that_it_is_not_there() {
    let push = Push::start(|config| {
        open_to_all(config);
        config.hub.namespaces.plain.history_size = 3;
    });
    let (_, hello) = push.subscribed("news");
    let epoch = hello["epoch"].as_str().unwrap();
    for n in 1..=3 {
        push.handle.publish("news", Data::json(&n.to_string())).wait().unwrap().unwrap();
    }
    let mut back = push.plain(&format!("news?since={epoch}:0"));
    let hello = back.json();
    assert_eq!((&hello["recovered"], &hello["offset"]), (&json!(true), &json!(0)));
    assert_eq!([back.text(), back.text(), back.text()], ["1", "2", "3"]);
    push.handle.publish("news", Data::new(Kind::Binary, b"4")).wait().unwrap().unwrap();
    assert_eq!(back.hear(), Message::binary(b"4".to_vec()));

    // The second is the first that is still there.
    for (since, recovered, offset) in [
        (format!("{epoch}:1"), true, 1),
        (format!("{epoch}:4"), true, 4),
        (":4".to_owned(), true, 4),
        (format!("{epoch}:0"), false, 4),
        (format!("{epoch}:5"), false, 4),
        ("other:4".to_owned(), false, 4),
    ] {
        let hello = push.plain(&format!("news?since={since}")).json();
        assert_eq!((&hello["recovered"], &hello["offset"]), (&json!(recovered), &json!(offset)), "{since}");
    }
}

#[test]
fn a_token_says_whose_the_connection_is() {
    let push = Push::start(|_| ());
    let subscription = |channel: &str, change: &dyn Fn(&mut loopwire::gateway::Claims)| {
        token_of(|claims| {
            (claims.sub, claims.channel) = ("ann".to_owned(), Some(channel.to_owned()));
            change(claims);
        })
    };
    let of_connection = token("ann");
    let with_channel = token_of(|claims| {
        (claims.sub, claims.channels) = ("ann".to_owned(), vec!["closed:a".to_owned()]);
    });
    for (channel, token) in [
        ("news", &of_connection),
        ("two%23ann,bob", &of_connection),
        ("%23ann", &of_connection),
        ("closed:a", &with_channel),
        ("news", &subscription("news", &|_| ())),
        ("closed:a", &subscription("closed:a", &|_| ())),
        ("$secret", &subscription("$secret", &|claims| claims.exp = Some(unix() + 60))),
    ] {
        let (_plain, hello) = push.subscribed(&format!("{channel}?token={token}"));
        let client = client_of(&hello);
        assert_eq!(push.handle.send(To::Client(client), Data::json("1")).wait().unwrap(), 1, "{channel}");
        assert_eq!(push.handle.connections_of("ann").wait().unwrap(), 1, "{channel}");
    }

    let invalid = reason(3500, "invalid token");
    let expired = reason(3005, "token expired");
    let denied = reason(3507, "permission denied");
    let past = |claims: &mut loopwire::gateway::Claims| claims.exp = Some(unix() - 60);
    for (target, expected) in [
        ("news".to_owned(), reason(3500, "unauthorized")),
        ("news?token=".to_owned(), invalid.clone()),
        ("news?token=a.b.c".to_owned(), invalid.clone()),
        (format!("news?token={of_connection}x"), invalid.clone()),
        (format!("news?token={}", subscription("other", &|_| ())), invalid.clone()),
        (format!("news?token={}", subscription("news", &|claims| claims.client = Some("c".to_owned()))), invalid),
        (format!("news?token={}", subscription("news", &past)), expired.clone()),
        (format!("news?token={}", token_of(past)), expired),
        (format!("closed:a?token={of_connection}"), denied.clone()),
        (format!("$secret?token={of_connection}"), denied.clone()),
        (format!("two%23bob?token={of_connection}"), denied.clone()),
        (format!("closed:b?token={with_channel}"), denied),
    ] {
        assert_eq!(closed_with(&push, &target), expected, "{target}");
    }
}

#[test]
fn what_may_not_be_is_told_by_the_close_code() {
    let push = Push::start(|config| {
        open_to_all(config);
        config.hub.limits.connections_per_user = Some(1);
        let plain = config.hub.namespaces.plain;
        let read_only = ChannelOptions { publish: Audience::default(), ..plain };
        config.hub.namespaces.named.insert("read".to_owned(), read_only);
    });
    for (channel, expected) in [
        ("closed:a", reason(3507, "permission denied")),
        ("nowhere:a", reason(3508, "unknown channel")),
        ("caf%C3%A9", reason(3501, "bad request")),
    ] {
        assert_eq!(closed_with(&push, channel), expected, "{channel}");
    }
    let (code, _) = closed_with(&push, &"n".repeat(256));
    assert!(matches!(code, 3501 | 3505), "{code}");
    push.subscribed(&"n".repeat(255));

    let (_first, _) = push.subscribed(&format!("news?token={}", token("ann")));
    assert_eq!(closed_with(&push, &format!("news?token={}", token("ann"))), reason(3504, "connection limit"));

    let (mut reader, _) = push.subscribed("read:a");
    push.handle.publish("read:a", Data::json("1")).wait().unwrap().unwrap();
    reader.send("may I?");
    reader.send("or this?");
    assert_eq!(reader.text(), "1");
    assert_eq!(reader.closed(), reason(3507, "permission denied"));
}

#[test]
fn a_url_that_makes_no_sense_is_refused() {
    let push = Push::start(open_to_all);
    let status = |request: String| {
        let mut raw = push.server.raw();
        raw.send(request);
        raw.head().split(' ').nth(1).unwrap().to_owned()
    };
    for target in
        ["/channel/", "/channel/%ff", "/channel/a?since=1", "/channel/a?echo=no", "/channel/a?since=a:1&echo=0"]
    {
        assert_eq!(status(request(target)), "400", "{target}");
    }
    assert_eq!(status(request("/channel")), "404");
    assert_eq!(status("GET /channel/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()), "426");
    assert_eq!(status(request_with("/channel/a", "Origin: http://localhost\r\n")), "101");
    assert_eq!(status(request_with("/channel/a", "Origin: http://elsewhere\r\n")), "403");
    let without = Push::start(|config| config.raw.enabled = false);
    let mut raw = without.server.raw();
    raw.send(request("/channel/a"));
    assert!(raw.head().starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_message_has_a_size_and_messages_have_a_rate() {
    let push = Push::start(|config| {
        open_to_all(config);
        config.raw.max_message = 1000;
        config.max_command_rate = Some(1);
    });
    let (mut plain, _) = push.subscribed("news");
    plain.send("x".repeat(1000));
    assert_eq!(plain.text().len(), 1000);
    plain.send("x".repeat(1001));
    assert_eq!(plain.closed().0, 1009);

    let (mut plain, _) = push.subscribed("news");
    // Two seconds' worth at once, which takes longer to come back than all of this.
    plain.send("1");
    plain.send("2");
    assert_eq!([plain.text(), plain.text()], ["1", "2"]);
    for _ in 0..30 {
        let _ = plain.0.send("too much".into());
    }
    let end = std::iter::repeat_with(|| plain.hear()).find(Message::is_close);
    assert!(matches!(end, Some(Message::Close(Some(frame))) if u16::from(frame.code) == 3013));
}

#[test]
fn the_application_reaches_plain_clients_too() {
    let push = Push::start(|_| ());
    let target = format!("news?token={}", token("ann"));
    let ((mut plain, hello), mut eve) = (push.subscribed(&target), push.client("eve"));
    // Joins and leaves are no messages.
    eve.ask("subscribe", json!({ "channel": "news", "join_leave": true }));
    assert_eq!(push.handle.send(To::User("ann".to_owned()), Data::json("\"only you\"")).wait().unwrap(), 1);
    assert_eq!(plain.text(), "\"only you\"");
    let client = client_of(&hello);
    push.handle.send(To::Client(client), Data::new(Kind::Binary, &[1, 2])).wait().unwrap();
    assert_eq!(plain.hear(), Message::binary(vec![1, 2]));

    push.handle.unsubscribe("ann", "news").wait().unwrap();
    assert_eq!(plain.closed(), reason(3503, "force disconnect"));
}

#[test]
fn what_is_not_on_disk_is_not_heard_and_what_cannot_be_brought_there_ends_its_connection() {
    let dir = Dir::new("raw");
    let push = start_mute(&dir.0);
    let waiting = |number| {
        push.server.wait_until("a publication that waits for the disk", |_| {
            push.handle.with_hub(|hub, _, _| hub.counts().waiting).wait().unwrap() == number
        });
    };
    let target = format!("news?token={}", token("ann"));
    let ((mut ann, _), (mut bob, _)) = (push.subscribed(&target), push.subscribed(&target));
    ann.send("1");
    waiting(1);
    push.handle.send(To::All, Data::new(Kind::Text, b"first")).wait().unwrap();
    push.server.handle.post(0, StoreEvent::Committed(Sequence(u64::MAX))).unwrap();
    for plain in [&mut ann, &mut bob] {
        assert_eq!([plain.text(), plain.text()], ["first", "1"]);
    }
    ann.send("2");
    waiting(1);
    push.server.handle.post(0, StoreEvent::Failed { from: Sequence(0), error: "no space left".to_owned() }).unwrap();
    assert_eq!(ann.closed(), reason(3004, "internal server error"));
    push.handle.send(To::All, Data::new(Kind::Text, b"last")).wait().unwrap();
    assert_eq!(bob.text(), "last", "and not what was refused");
}

#[test]
fn a_connection_ends_when_its_token_does() {
    let push = Push::start(|_| ());
    let soon = token_of(|claims| (claims.sub, claims.expire_at) = ("ann".to_owned(), Some(unix() + 2)));
    let (mut plain, _) = push.subscribed(&format!("news?token={soon}"));
    assert_eq!(plain.closed(), reason(3005, "connection expired"));
}

#[test]
fn a_backend_says_who_connects_by_its_cookie() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hooks.connect = Some(backend.url("connect")));
    let mut raw = push.server.raw();
    raw.send(request_with("/channel/news?room=1&hello=1", "Cookie: PHPSESSID=abc\r\n"));
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    let question = backend.asked("/connect");
    assert_eq!(question.cookie.as_deref(), Some("PHPSESSID=abc"));
    let expected = json!({
        "client": question.body["client"], "transport": "websocket", "protocol": "raw", "encoding": "json",
        "channels": ["news"], "data": { "room": "1" },
    });
    assert_eq!(question.body, expected);
    backend.answer(&question, &json!({ "result": { "user": "ann", "data": { "welcome": true } } }));
    raw.expect(&[0x81]);
    assert_eq!(push.handle.connections_of("ann").wait().unwrap(), 1);
}

#[test]
fn what_is_sent_before_the_backend_has_answered_waits_in_order() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hooks.connect = Some(backend.url("connect")));
    let mut plain = push.plain("news");
    for text in ["1", "2", "3"] {
        plain.send(text);
    }
    backend.says("/connect", &json!({ "result": { "user": "ann", "data": "welcome" } }));
    assert_eq!([plain.text(), plain.text(), plain.text(), plain.text()], ["\"welcome\"", "1", "2", "3"]);
}

#[test]
fn a_backend_that_says_no_or_nothing_lets_nobody_in() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hooks.connect = Some(backend.url("connect")));
    for (answer, expected) in [
        (json!({ "error": { "code": 1000, "message": "not you" } }), reason(3507, "not you")),
        (json!({ "error": { "code": 1000, "message": "" } }), reason(3507, "permission denied")),
        (json!({ "error": { "code": 1000, "message": "later", "temporary": true } }), reason(3004, "later")),
        (json!({ "disconnect": { "code": 4400, "reason": "go away" } }), reason(4400, "go away")),
        (json!({ "result": { "expire_at": 1 } }), reason(3005, "expired")),
        (json!("Fatal error"), reason(3004, "internal server error")),
    ] {
        let mut plain = push.plain("news");
        backend.says("/connect", &answer);
        assert_eq!(plain.closed(), expected, "{answer}");
    }
    drop(backend);
    assert_eq!(closed_with(&push, "news"), reason(3004, "internal server error"));
}

#[test]
fn a_backend_decides_on_subscriptions_and_is_asked_again_in_time() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        open_to_all(config);
        config.hooks.sub_refresh = Some(backend.url("sub_refresh"));
    });
    let mut plain = push.plain("asked:a");
    let asked = backend.says("/subscribe", &json!({ "error": { "code": 403, "message": "members only" } }));
    assert_eq!(asked["channel"], "asked:a");
    assert_eq!(plain.closed(), reason(3507, "members only"));

    let mut plain = push.plain("asked:a?hello=1");
    backend.says("/subscribe", &json!({ "result": { "expire_at": unix() + 2, "data": { "topic": 1 } } }));
    assert_eq!(plain.json()["data"], json!({ "topic": 1 }));
    let asked = backend.says("/sub_refresh", &json!({ "result": { "expired": true } }));
    assert_eq!(asked["channel"], "asked:a");
    assert_eq!(plain.closed(), reason(3006, "subscription expired"));
}

#[test]
fn a_backend_is_asked_whether_a_connection_goes_on() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        config.hooks.connect = Some(backend.url("connect"));
        config.hooks.refresh = Some(backend.url("refresh"));
    });
    let mut plain = push.plain("news");
    backend.says("/connect", &json!({ "result": { "user": "ann", "expire_at": unix() + 2 } }));
    let question = backend.asked("/refresh");
    assert_eq!(question.body["user"], "ann");
    // It is served while the question is under way, and after a yes.
    plain.send("still here");
    assert_eq!(plain.text(), "still here");
    backend.answer(&question, &json!({ "result": { "expire_at": unix() + 2 } }));
    backend.says("/refresh", &json!({ "result": { "expired": true } }));
    assert_eq!(plain.closed(), reason(3005, "connection expired"));
}

#[test]
fn a_backend_decides_on_messages_one_at_a_time_and_in_order() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        open_to_all(config);
        config.max_commands_per_message = 3;
    });
    let open = || {
        let mut plain = push.plain("asked:a?hello=1");
        backend.says("/subscribe", &json!({ "result": {} }));
        plain.json();
        plain
    };
    let mut plain = open();
    plain.send("1");
    plain.send(Message::binary(vec![0]));
    plain.send("3");
    let asked = backend.says("/publish", &json!({ "result": {} }));
    assert_eq!((&asked["channel"], &asked["data"]), (&json!("asked:a"), &json!("1")));
    assert_eq!(plain.text(), "1");
    let asked = backend.says("/publish", &json!({ "result": { "data": { "instead": 2 } } }));
    assert_eq!(asked["b64data"], "AA==");
    assert_eq!(plain.text(), r#"{"instead":2}"#);
    let asked = backend.says("/publish", &json!({ "error": { "code": 1, "message": "not that" } }));
    assert_eq!(asked["data"], "3");
    assert_eq!(plain.closed(), reason(3507, "not that"));

    // One is asked about, three wait, and the next is too much.
    let mut plain = open();
    for _ in 0..5 {
        plain.send("x");
    }
    assert_eq!(plain.closed().0, 3013);
}

#[test]
fn what_the_server_subscribes_a_plain_client_to_comes_on_top() {
    let push = Push::start(|_| ());
    let (mut plain, _) = push.subscribed(&format!("news?token={}", token("42")));
    let handle = &push.handle;
    assert_eq!(handle.subscribe("42", "more").wait().unwrap(), Ok(1));
    handle.publish("more", Data::json("1"));
    assert_eq!(plain.text(), "1");
    assert_eq!(handle.unsubscribe("42", "more").wait().unwrap(), 1);
    handle.publish("more", Data::json("2"));
    handle.publish("news", Data::json("3"));
    assert_eq!(plain.text(), "3", "it is still in its own channel");
    assert_eq!(handle.unsubscribe("42", "news").wait().unwrap(), 1);
    assert_eq!(plain.closed(), reason(3503, "force disconnect"));
}

#[test]
fn who_is_told_offsets_knows_where_it_is_without_counting() {
    let push = Push::start(|_| ());
    let query = format!("offsets=1&echo=0&token={}", token("ann"));
    let (mut plain, hello) = push.subscribed(&format!("news?{query}"));
    let handle = &push.handle;
    assert_eq!(handle.subscribe("ann", "more").wait().unwrap(), Ok(1));
    plain.send("its own, which counts and does not come back");
    push.server
        .wait_until("it is published", |_| handle.with_hub(|hub, _, _| hub.counts().publications).wait().unwrap() == 1);
    let past = Publish { skip_history: true, ..Publish::from(Data::json("[1]")) };
    handle.publish("news", past.clone()).wait().unwrap().unwrap();
    handle.send(To::User("ann".to_owned()), Data::json("[2]")).wait().unwrap();
    handle.publish("more", Data::json("[3]")).wait().unwrap().unwrap();
    handle.publish("news", Data::new(Kind::Text, "\"4\"\n".as_bytes())).wait().unwrap().unwrap();
    handle.publish("news", Data::new(Kind::Binary, &[0, 255])).wait().unwrap().unwrap();
    for expected in [
        json!({ "channel": "news", "data": [1] }),
        json!({ "data": [2] }),
        json!({ "channel": "more", "offset": 1, "data": [3] }),
        json!({ "channel": "news", "offset": 2, "data": "\"4\"\n" }),
        json!({ "channel": "news", "offset": 3, "b64data": "AP8=" }),
    ] {
        assert_eq!(plain.json(), expected);
    }
    drop(plain);
    handle.publish("news", past).wait().unwrap().unwrap();
    handle.publish("news", Data::json("[5]")).wait().unwrap().unwrap();
    let epoch = hello["epoch"].as_str().unwrap();
    let mut back = push.plain(&format!("news?{query}&since={epoch}:3"));
    assert_eq!(back.json()["recovered"], true);
    assert_eq!(back.json(), json!({ "channel": "news", "offset": 4, "data": [5] }));
}
