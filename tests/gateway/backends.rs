//! Backends that decide: the application is asked, and whoever waits goes on when it has answered.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use loopwire::gateway::GatewayConfig;
use loopwire::push::Data;
use loopwire::{
    ConnectionId, Connections, Handler, HttpAnswer, HttpExchange, HttpRequest, HttpResponse, PeerAddr, Server,
    ServerBuilder,
};
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::support::{PATIENCE, Running};
use crate::talk::{Push, Talker};

/// A backend whose answers the test gives, when it likes.
pub(crate) struct Backend {
    server: Running,
    questions: Receiver<Question>,
}

/// A request that waits for its answer.
pub(crate) struct Question {
    path: String,
    pub(crate) cookie: Option<String>,
    pub(crate) body: Value,
    id: ConnectionId,
}

struct Asking(Sender<Question>);

impl Handler for Asking {
    fn body_limit(&mut self, _: &HttpRequest, _: &PeerAddr) -> usize {
        1 << 20
    }

    fn on_http(&mut self, _: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        let _ = self.0.send(Question {
            path: exchange.request.path().to_owned(),
            cookie: exchange.request.fields().get("Cookie").map(str::to_owned),
            body: serde_json::from_slice(exchange.body).unwrap(),
            id: exchange.id,
        });
        HttpAnswer::Later
    }
}

impl Backend {
    pub(crate) fn start() -> Self {
        Self::on(Server::builder().listen("127.0.0.1:0"))
    }

    fn on(builder: ServerBuilder) -> Self {
        let (sender, questions) = mpsc::channel();
        let server = builder.build().unwrap();
        Self { server: Running::of(server, move |server| server.run(Asking(sender))), questions }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.server.addr)
    }

    /// The next question, which is to this path.
    pub(crate) fn asked(&self, path: &str) -> Question {
        let question = self.questions.recv_timeout(PATIENCE).expect("a question");
        assert_eq!(question.path, path, "{}", question.body);
        question
    }

    pub(crate) fn answer(&self, question: &Question, answer: &Value) {
        let body = HttpResponse::new(200).with_body("application/json", answer.to_string());
        self.server.handle.respond(question.id, body).unwrap();
    }

    /// Answers the next question, which is to this path.
    pub(crate) fn says(&self, path: &str, answer: &Value) -> Value {
        let question = self.asked(path);
        self.answer(&question, answer);
        question.body
    }

    /// A push server that asks it about everything in `asked:`.
    pub(crate) fn push(&self, change: impl FnOnce(&mut GatewayConfig)) -> Push {
        Push::start(|config| {
            config.hooks.timeout = PATIENCE;
            config.hooks.subscribe = Some(self.url("subscribe"));
            config.hooks.publish = Some(self.url("publish"));
            config.hooks.rpc = Some(self.url("rpc"));
            let mut asked = config.hub.namespaces.plain;
            (asked.subscribe_hook, asked.publish_hook) = (true, true);
            config.hub.namespaces.named.insert("asked".to_owned(), asked);
            change(config);
        })
    }
}

fn yes() -> Value {
    json!({ "result": {} })
}

#[test]
fn a_backend_over_tls_is_asked_if_its_certificate_is_trusted_and_its_own() {
    let (ours, another) = (Authority::new(), Authority::new());
    let by_address = |authority: &Authority| authority.issue(&["127.0.0.1"]).acceptor();
    for (certificate, is_asked) in
        [(by_address(&ours), true), (by_address(&another), false), (ours.issue(&["other.example"]).acceptor(), false)]
    {
        let backend = Backend::on(Server::builder().listen_tls("127.0.0.1:0", certificate));
        let push = backend.push(|config| {
            config.hooks.connect = Some(backend.url("connect").replace("http:", "https:"));
            config.hooks.roots = Some(ours.pem());
        });
        let mut client = push.open();
        let id = client.say("connect", json!({}));
        if is_asked {
            backend.says("/connect", &json!({ "result": { "user": "42" } }));
            assert!(client.hear()["connect"]["client"].is_string());
            assert_eq!(push.handle.connections_of("42").wait().unwrap(), 1);
        } else {
            assert_eq!(client.error(id), 100, "nothing is asked of whoever that is");
        }
    }
}

#[test]
fn a_backend_says_who_a_client_is() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hooks.connect = Some(backend.url("connect")));
    let mut client = push.open();
    let commands = [
        client.command("connect", json!({ "name": "js", "data": { "a": 1 }, "subs": { "news": {} } })),
        client.command("subscribe", json!({ "channel": "room" })),
    ];
    client.send(&commands.map(|command| command.to_string()).join("\n"));
    client.say("publish", json!({ "channel": "room", "data": 1 }));
    let asked = backend.says(
        "/connect",
        &json!({ "result": { "user": "42", "info": { "n": 1 }, "data": { "b": 2 }, "channels": ["closed:a"] } }),
    );
    assert_eq!(
        (&asked["name"], &asked["data"], &asked["protocol"]),
        (&json!("js"), &json!({ "a": 1 }), &json!("json"))
    );
    let answer = client.hear();
    let connected = &answer["connect"];
    assert_eq!((&connected["client"], &connected["data"]), (&asked["client"], &json!({ "b": 2 })));
    assert_eq!(connected["subs"], json!({ "closed:a": {} }), "it gives what it says, and nothing else");
    // What came meanwhile has waited, in order.
    assert_eq!(client.hear(), json!({ "id": 2, "subscribe": {} }));
    assert_eq!(client.hear()["id"], 3);
    let heard = client.pushed();
    assert_eq!((&heard["pub"]["info"]["user"], &heard["pub"]["info"]["conn_info"]), (&json!("42"), &json!({ "n": 1 })));
    // A token needs no backend.
    push.client("43").hears_nothing();
}

#[test]
fn a_session_cookie_reaches_the_backend() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hooks.connect = Some(backend.url("connect")));
    let mut raw = push.server.raw();
    raw.send(crate::support::request_with("/connection/websocket", "Cookie: PHPSESSID=abc\r\n"));
    assert!(raw.head().starts_with("HTTP/1.1 101 "));
    raw.send(crate::support::masked(0x81, br#"{"id":1,"connect":{}}"#));
    assert_eq!(backend.asked("/connect").cookie.as_deref(), Some("PHPSESSID=abc"));
}

#[test]
fn whom_a_backend_refuses_is_told_in_its_words() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hooks.connect = Some(backend.url("connect")));
    let ask = |answer: &Value| {
        let mut client = push.open();
        let id = client.say("connect", json!({}));
        backend.says("/connect", answer);
        (client, id)
    };
    let (mut client, id) = ask(&json!({ "error": { "code": 1000, "message": "not today" } }));
    assert_eq!(client.hear(), json!({ "id": id, "error": { "code": 1000, "message": "not today" } }));
    client.say("ping", json!({}));
    assert_eq!(client.sent_away(), 3501);
    let (mut client, _) = ask(&json!({ "disconnect": { "code": 4500, "reason": "go away" } }));
    assert_eq!(client.sent_away(), 4500);
    // What cannot be understood lets nobody in.
    let (mut client, id) = ask(&json!({ "yes": true }));
    assert_eq!(client.error(id), 100);
}

#[test]
fn without_an_answer_nobody_is_let_in() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        config.hooks.connect = Some(backend.url("connect"));
        config.hooks.timeout = Duration::from_millis(50);
    });
    assert_eq!(push.open().refused("connect", json!({})), 100);
    let mut client = push.client("42");
    assert_eq!(client.refused("subscribe", json!({ "channel": "asked:a" })), 100);
    assert_eq!(client.refused("publish", json!({ "channel": "asked:a", "data": 1 })), 100);
    assert_eq!(client.refused("rpc", json!({ "method": "m" })), 100);
    // Nor is anybody held up.
    client.ask("subscribe", json!({ "channel": "news" }));
}

#[test]
fn a_backend_decides_on_subscriptions() {
    let backend = Backend::start();
    let push = backend.push(|_| ());
    let mut client = push.client("42");
    let id = client.say("subscribe", json!({ "channel": "asked:a", "data": [1] }));
    let question = backend.asked("/subscribe");
    assert_eq!((&question.body["channel"], &question.body["user"]), (&json!("asked:a"), &json!("42")));
    assert_eq!(question.body["data"], json!([1]));
    // Others are asked about afterwards; what needs no backend is not held up; what is not there yet is not ended yet.
    let second = client.say("subscribe", json!({ "channel": "asked:b" }));
    let ended = client.say("unsubscribe", json!({ "channel": "asked:a" }));
    client.ask("subscribe", json!({ "channel": "news" }));
    backend.answer(&question, &json!({ "result": { "data": { "x": 1 }, "info": { "y": 1 } } }));
    let answer = client.hear();
    assert_eq!((&answer["id"], &answer["subscribe"]["data"]), (&json!(id), &json!({ "x": 1 })));
    backend.says("/subscribe", &json!({ "error": { "code": 103, "message": "permission denied" } }));
    assert_eq!(client.error(second), 103);
    assert_eq!(client.hear(), json!({ "id": ended, "unsubscribe": {} }));
    let present = client.ask("presence", json!({ "channel": "asked:a" }));
    assert!(present.get("presence").is_none_or(|it| it.as_object().unwrap().is_empty()), "{present}");
}

#[test]
fn what_is_published_while_a_backend_is_asked_comes_once_or_is_said_to_be_missing() {
    let backend = Backend::start();
    let push = backend.push(|config| config.hub.namespaces.named.get_mut("asked").unwrap().history_size = 3);
    let publish = |numbers: std::ops::RangeInclusive<u32>| {
        for number in numbers {
            push.handle.publish("asked:a", Data::json(&number.to_string())).wait().unwrap().unwrap();
        }
    };
    let mut client = push.client("42");
    let id = client.say("subscribe", json!({ "channel": "asked:a", "recoverable": true }));
    backend.says("/subscribe", &yes());
    let answer = client.hear();
    assert_eq!(answer["id"], id);
    let epoch = answer["subscribe"]["epoch"].clone();
    // From where it comes back, what is published before and while the backend is asked, and what it then gets.
    for (offset, before, meanwhile, recovered) in
        [(0, 1..=1, 2..=3, Some(vec![1, 2, 3])), (4, 5..=6, 7..=8, None), (9, 10..=11, 12..=12, Some(vec![10, 11, 12]))]
    {
        client.ask("unsubscribe", json!({ "channel": "asked:a" }));
        publish(before);
        let id = client.say(
            "subscribe",
            json!({ "channel": "asked:a", "recoverable": true, "recover": true, "offset": offset, "epoch": epoch }),
        );
        let question = backend.asked("/subscribe");
        let end = *meanwhile.end();
        publish(meanwhile);
        client.hears_nothing();
        backend.answer(&question, &yes());
        let answer = client.hear();
        assert_eq!(answer["id"], id);
        let answer = &answer["subscribe"];
        assert_eq!(answer.get("recovered"), recovered.is_some().then_some(&json!(true)), "{answer}");
        let got =
            answer["publications"].as_array().map_or(vec![], |all| all.iter().map(|it| it["data"].clone()).collect());
        assert_eq!(got, recovered.unwrap_or_default(), "{answer}");
        // Behind that nothing is missing and nothing comes twice.
        publish(end + 1..=end + 1);
        let next = client.pushed();
        assert_eq!((&next["pub"]["offset"], &next["pub"]["data"]), (&json!(end + 1), &json!(end + 1)));
    }
}

#[test]
fn a_backend_decides_on_publications_in_their_order() {
    let backend = Backend::start();
    let push = backend.push(|_| ());
    let (mut ann, mut bob) = (push.client("ann"), push.client("bob"));
    subscribe(&backend, &mut bob, "asked:a");
    let ids: Vec<_> = (1..=3).map(|n| ann.say("publish", json!({ "channel": "asked:a", "data": n }))).collect();
    assert_eq!(backend.says("/publish", &yes())["data"], json!(1));
    assert_eq!(backend.says("/publish", &json!({ "result": { "data": "changed" } }))["data"], json!(2));
    backend.says("/publish", &json!({ "error": { "code": 103, "message": "no" } }));
    assert_eq!(ann.hear(), json!({ "id": ids[0], "publish": {} }));
    assert_eq!(ann.hear(), json!({ "id": ids[1], "publish": {} }));
    assert_eq!(ann.error(ids[2]), 103);
    assert_eq!((bob.published("asked:a"), bob.published("asked:a")), (json!(1), json!("changed")));
    bob.hears_nothing();
}

#[test]
fn a_backend_answers_procedure_calls() {
    let backend = Backend::start();
    let push = backend.push(|_| ());
    let mut client = push.client("42");
    let id = client.say("rpc", json!({ "method": "sum", "data": [1, 2] }));
    let asked = backend.says("/rpc", &json!({ "result": { "data": 3 } }));
    assert_eq!((&asked["method"], &asked["data"]), (&json!("sum"), &json!([1, 2])));
    assert_eq!(client.hear(), json!({ "id": id, "rpc": { "data": 3 } }));
    let id = client.say("rpc", json!({ "method": "fly" }));
    backend.says("/rpc", &json!({ "error": { "code": 104, "message": "method not found" } }));
    assert_eq!(client.error(id), 104);
}

#[test]
fn an_answer_for_a_client_that_has_gone_is_nobodys() {
    let backend = Backend::start();
    let push = backend.push(|_| ());
    let mut client = push.client("42");
    client.say("publish", json!({ "channel": "asked:a", "data": 1 }));
    let question = backend.asked("/publish");
    drop(client);
    push.server.wait_until("the client is gone", |_| push.handle.connections_of("42").wait().unwrap() == 0);
    backend.answer(&question, &yes());
    let mut other = push.client("42");
    subscribe(&backend, &mut other, "asked:a");
    let id = other.say("publish", json!({ "channel": "asked:a", "data": 2 }));
    backend.says("/publish", &yes());
    assert_eq!(other.hear()["id"], id);
    let heard = other.pushed();
    assert_eq!((&heard["pub"]["data"], &heard["pub"]["offset"]), (&json!(2), &json!(1)), "{heard}");
}

#[test]
fn a_backend_is_asked_whether_what_it_let_in_goes_on() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        config.hooks.connect = Some(backend.url("connect"));
        config.hooks.refresh = Some(backend.url("refresh"));
        config.hooks.sub_refresh = Some(backend.url("sub_refresh"));
    });
    let soon = || crate::talk::unix() + 2;
    let mut client = push.open();
    client.say("connect", json!({}));
    backend.says("/connect", &json!({ "result": { "user": "42", "expire_at": soon() } }));
    let answer = client.hear();
    assert!(answer["connect"].get("expires").is_none(), "its client need not care: {answer}");
    client.say("subscribe", json!({ "channel": "asked:a" }));
    backend.says("/subscribe", &json!({ "result": { "expire_at": soon() } }));
    assert!(client.hear()["subscribe"].get("expires").is_none());
    // Both are due at about the same time.
    let mut questions = [0, 1].map(|_| backend.questions.recv_timeout(PATIENCE).expect("a question"));
    questions.sort_by(|one, other| one.path.cmp(&other.path));
    let [refresh, sub_refresh] = &questions;
    assert_eq!((&*refresh.path, &*sub_refresh.path), ("/refresh", "/sub_refresh"));
    assert_eq!((&refresh.body["user"], &sub_refresh.body["channel"]), (&json!("42"), &json!("asked:a")));
    backend.answer(sub_refresh, &json!({ "result": { "expired": true } }));
    assert_eq!(client.pushed()["unsubscribe"]["code"], 2501);
    backend.answer(refresh, &json!({ "result": { "expire_at": crate::talk::unix() + 1 } }));
    backend.says("/refresh", &json!({ "result": { "expired": true } }));
    assert_eq!(client.sent_away(), 3005);
}

#[test]
fn so_many_commands_wait_for_a_backend() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        config.hooks.connect = Some(backend.url("connect"));
        config.max_commands_per_message = 5;
    });
    // Behind one that is being asked about.
    let mut client = push.client("42");
    let ids: Vec<_> = (0..7).map(|n| client.say("publish", json!({ "channel": "asked:a", "data": n }))).collect();
    assert_eq!(client.error(ids[6]), 111);
    for (n, id) in ids[..6].iter().enumerate() {
        assert_eq!(backend.says("/publish", &yes())["data"], json!(n));
        assert_eq!(client.hear()["id"], *id);
    }
    // Behind a connection that is.
    for (count, code) in [(5, None), (6, Some(3013))] {
        let mut client = push.open();
        client.say("connect", json!({}));
        for _ in 0..count {
            client.say("ping", json!({}));
        }
        let question = backend.asked("/connect");
        if let Some(code) = code {
            assert_eq!(client.sent_away(), code);
            continue;
        }
        backend.answer(&question, &json!({ "result": { "user": "42" } }));
        let ids: Vec<_> = (0..=count).map(|_| client.hear()["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn where_no_backend_is_named_what_needs_one_is_not_offered() {
    let backend = Backend::start();
    let push = backend.push(|config| {
        (config.hooks.subscribe, config.hooks.publish) = (None, None);
    });
    let mut client = push.client("42");
    assert_eq!(client.refused("subscribe", json!({ "channel": "asked:a" })), 108);
    assert_eq!(client.refused("publish", json!({ "channel": "asked:a", "data": 1 })), 108);
}

fn subscribe(backend: &Backend, client: &mut Talker, channel: &str) {
    let id = client.say("subscribe", json!({ "channel": channel }));
    backend.says("/subscribe", &yes());
    assert_eq!(client.hear()["id"], id);
}
