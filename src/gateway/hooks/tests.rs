//! What a backend gets to see, what its answers mean, and what becomes of those that never come.

mod server;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use server::{TinyServer, ok};

use super::*;
use crate::handshake::{HeadLimits, Request};
use crate::push::Kind;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A backend for each kind of question, all at `url`.
fn config(url: &str) -> HookConfig {
    let url = || Some(url.to_owned());
    HookConfig {
        connect: url(),
        refresh: url(),
        subscribe: url(),
        publish: url(),
        rpc: url(),
        sub_refresh: url(),
        timeout: LONG,
        concurrency: 2,
        ..HookConfig::default()
    }
}

fn start(config: &HookConfig) -> (Hooks, Receiver<HookDone>) {
    let (tell, done) = channel();
    let tell = Mutex::new(tell);
    let hooks = Hooks::start(config, move |answer| drop(tell.lock().unwrap().send(answer))).unwrap();
    (hooks, done)
}

fn outcome(config: &HookConfig, request: HookRequest) -> Result<HookAnswer, HookFailure> {
    let (hooks, done) = start(config);
    let ticket = hooks.ask(request);
    let answer = done.recv_timeout(LONG * 2).unwrap();
    assert_eq!(answer.ticket, ticket);
    answer.outcome
}

/// The text for the log of a question that was not answered.
fn trouble(config: &HookConfig, request: HookRequest) -> String {
    match outcome(config, request) {
        Err(HookFailure::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn ada() -> ClientFacts {
    let (client, user) = ("c-1".to_owned(), "ada".to_owned());
    ClientFacts { client, user, protocol: "json", encoding: "json", fields: Vec::new() }
}

fn connect() -> HookRequest {
    let client = ClientFacts { user: String::new(), ..ada() };
    HookRequest::Connect { client, name: String::new(), version: String::new(), data: None, channels: Vec::new() }
}

fn subscribe() -> HookRequest {
    HookRequest::Subscribe { client: ada(), channel: "news".to_owned(), data: None }
}

fn publish(data: Data) -> HookRequest {
    HookRequest::Publish { client: ada(), channel: "news".to_owned(), data }
}

fn rpc() -> HookRequest {
    HookRequest::Rpc { client: ada(), method: "time".to_owned(), data: None }
}

#[test]
fn a_backend_is_asked_in_the_shapes_of_centrifugo() {
    let server = TinyServer::saying(r#"{"result":{}}"#);
    let who = r#""client":"c-1","transport":"websocket","protocol":"json","encoding":"json""#;
    let rows = [
        (connect(), format!("{{{who}}}")),
        (
            HookRequest::Connect {
                client: ada(),
                name: "js".to_owned(),
                version: "5".to_owned(),
                data: Some(Data::json(r#"{"a": 1}"#)),
                channels: vec!["news".to_owned(), "a\"b".to_owned()],
            },
            format!(r#"{{{who},"name":"js","version":"5","channels":["news","a\"b"],"data":{{"a": 1}}}}"#),
        ),
        (HookRequest::Refresh { client: ada() }, format!(r#"{{{who},"user":"ada"}}"#)),
        (subscribe(), format!(r#"{{{who},"user":"ada","channel":"news"}}"#)),
        (
            publish(Data::new(Kind::Text, "say \"hi\"\n".as_bytes())),
            format!(r#"{{{who},"user":"ada","channel":"news","data":"say \"hi\"\n"}}"#),
        ),
        (
            publish(Data::new(Kind::Binary, &[0, 255, 16])),
            format!(r#"{{{who},"user":"ada","channel":"news","b64data":"AP8Q"}}"#),
        ),
        (rpc(), format!(r#"{{{who},"user":"ada","method":"time"}}"#)),
        (
            HookRequest::SubRefresh { client: ada(), channel: "news".to_owned() },
            format!(r#"{{{who},"user":"ada","channel":"news"}}"#),
        ),
    ];
    let config = config(&server.url("/hook.php?a=b"));
    for (request, body) in rows {
        outcome(&config, request).unwrap();
        let seen = server.seen.recv().unwrap();
        assert_eq!(seen.body, body);
        assert!(seen.head.starts_with("POST /hook.php?a=b HTTP/1.1\r\n"), "{}", seen.head);
        assert_eq!(seen.all("Content-Type"), ["application/json"]);
        assert_eq!(seen.all("Host"), [server.address.as_str()]);
    }
}

#[test]
fn each_kind_of_question_has_its_url() {
    let server = TinyServer::saying(r#"{"result":{}}"#);
    let mut config = config(&server.url("/any"));
    config.connect = Some(server.url("/connect"));
    config.sub_refresh = Some(server.url("/sub_refresh"));
    let path = |request| {
        outcome(&config, request).unwrap();
        server.seen.recv().unwrap().head.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(path(connect()), "/connect");
    assert_eq!(path(HookRequest::SubRefresh { client: ada(), channel: "news".to_owned() }), "/sub_refresh");
    assert_eq!(path(rpc()), "/any");
    config.rpc = None;
    assert_eq!(trouble(&config, rpc()), "hook-rpc-url is not set");
    assert_eq!(trouble(&HookConfig::default(), connect()), "hook-connect-url is not set");
}

/// What the answer to `request` is taken for, in a few words.
fn reading(request: &HookRequest, body: &str) -> String {
    let data = |data: &Option<Data>| data.as_ref().map_or("-".to_owned(), |data| format!("{data:?}"));
    match json::answer(request, body.as_bytes()) {
        Ok(HookAnswer::Connect(answer)) => {
            let subs: Vec<_> = answer.subs.keys().collect();
            let (info, own) = (data(&answer.info), data(&answer.data));
            format!("user {:?} until {:?} {info} {own} {:?} {subs:?}", answer.user, answer.expire_at, answer.channels)
        }
        Ok(HookAnswer::Refresh { expired, expire_at, info }) => {
            format!("expired {expired} until {expire_at:?} {}", data(&info))
        }
        Ok(HookAnswer::Subscribe(answer)) => {
            let presence = answer.overrides.and_then(|overrides| overrides.presence).map(|presence| presence.value);
            let (info, own) = (data(&answer.info), data(&answer.data));
            format!("until {:?} {info} {own} presence {presence:?}", answer.expire_at)
        }
        Ok(HookAnswer::Publish { data: instead, skip_history }) => format!("{} skip {skip_history}", data(&instead)),
        Ok(HookAnswer::Rpc { data: answer }) => data(&answer),
        Err(json::Refusal::Says(HookFailure::Error { code, message, temporary })) => {
            format!("error {code} {message:?} {temporary}")
        }
        Err(json::Refusal::Says(HookFailure::Disconnect(disconnect))) => {
            format!("disconnect {} {:?}", disconnect.code, disconnect.reason)
        }
        Err(json::Refusal::Says(HookFailure::Unavailable(why)) | json::Refusal::Unintelligible(why)) => {
            format!("unavailable: {why}")
        }
    }
}

#[test]
fn answers_are_read_by_what_was_asked() {
    let refresh = || HookRequest::Refresh { client: ada() };
    let anything = || publish(Data::json("1"));
    let rows = [
        (connect(), r#"{"result":{"user":"ada"}}"#, r#"user "ada" until None - - [] []"#),
        (
            connect(),
            r#"{"result":{"user":"ada","expire_at":1700000000,"info":{"n":1},"data":[
                1],"channels":["a","b"],"subs":{"c":{"info":{"x":1}}},"meta":{}}}"#,
            r#"user "ada" until Some(1700000000) Json("{\"n\":1}") Json("[                 1]") ["a", "b"] ["c"]"#,
        ),
        (connect(), r#"{"result":{"b64info":"AP8="}}"#, "user \"\" until None Binary(\"\\0\u{fffd}\") - [] []"),
        (connect(), r#"{"result":{"b64data":"aGk="}}"#, r#"user "" until None - Text("hi") [] []"#),
        // PHP writes an empty object as `[]`.
        (connect(), r#"{"result":[]}"#, r#"user "" until None - - [] []"#),
        (connect(), r#"{"result":{"user":"ada","subs":[]}}"#, r#"user "ada" until None - - [] []"#),
        (connect(), r#"{"result":{"expire_at":0,"info":null}}"#, r#"user "" until None - - [] []"#),
        (refresh(), r#"{"result":{"expired":true}}"#, "expired true until None -"),
        (refresh(), r#"{"result":{"expire_at":5,"info":"x"}}"#, r#"expired false until Some(5) Json("\"x\"")"#),
        (
            subscribe(),
            r#"{"result":{"info":1,"data":2,"expire_at":3,"override":{"presence":{"value":true}}}}"#,
            r#"until Some(3) Json("1") Json("2") presence Some(true)"#,
        ),
        (anything(), r#"{"result":{}}"#, "- skip false"),
        (anything(), r#"{"result":{"data":{"a":1},"skip_history":true}}"#, r#"Json("{\"a\":1}") skip true"#),
        (rpc(), r#"{"result":{"data":{"a":1}}}"#, r#"Json("{\"a\":1}")"#),
        (rpc(), r#"{"error":{"code":1000,"message":"no"}}"#, r#"error 1000 "no" false"#),
        (rpc(), r#"{"error":{"code":1000,"temporary":true}}"#, r#"error 1000 "" true"#),
        (rpc(), r#"{"disconnect":{"code":4500,"reason":"go"}}"#, r#"disconnect 4500 "go""#),
        // Whatever is less than a plain yes counts.
        (rpc(), r#"{"result":{},"error":{"code":1}}"#, r#"error 1 "" false"#),
        (rpc(), r#"{"result":{},"error":{"code":1},"disconnect":{"code":3000}}"#, r#"disconnect 3000 """#),
        (rpc(), r#"{"result":{},"error":null,"disconnect":null}"#, "-"),
    ];
    for (request, body, expected) in rows {
        assert_eq!(reading(&request, body), expected, "{body}");
    }
}

#[test]
fn an_answer_without_meaning_is_no_yes() {
    let deep = format!(r#"{{"result":{{"data":{}{}}}}}"#, "[".repeat(129), "]".repeat(129));
    let long = format!(r#"{{"disconnect":{{"code":4000,"reason":"{}"}}}}"#, "x".repeat(124));
    let rows = [
        ("", "the answer cannot be read: EOF"),
        ("<h1>Fatal error</h1>", "the answer cannot be read: expected value"),
        ("{}", "the answer has neither"),
        ("[]", "the answer cannot be read: invalid length 0"),
        (r#"{"result":null}"#, "the answer has neither"),
        (r#"{"result":true}"#, "`result` cannot be read: invalid type: boolean `true`, expected an object"),
        (r#"{"result":[{}]}"#, "`result` cannot be read"),
        (r#"{"result":{}} {}"#, "the answer cannot be read: trailing"),
        (r#"{"result":{"user":42}}"#, "`result` cannot be read: invalid type: integer `42`, expected a string"),
        (r#"{"result":{"expire_at":-1}}"#, "`result` cannot be read"),
        (r#"{"result":{"channels":"a"}}"#, "`result` cannot be read"),
        (r#"{"result":{"subs":["a"]}}"#, "`result` cannot be read"),
        (r#"{"result":{"b64data":"%"}}"#, "`b64data` is no base64"),
        (deep.as_str(), "`data` is nested more than 100 deep"),
        (r#"{"error":{}}"#, "the answer cannot be read: missing field `code`"),
        (r#"{"error":{"code":-1}}"#, "the answer cannot be read"),
        (r#"{"disconnect":{"code":2999}}"#, "`disconnect.code` is 2999"),
        (r#"{"disconnect":{"code":5000}}"#, "`disconnect.code` is 5000"),
        (long.as_str(), "`disconnect.reason` has 124 bytes"),
    ];
    for (body, expected) in rows {
        let reading = reading(&connect(), body);
        let why = reading.strip_prefix("unavailable: ").unwrap_or_else(|| panic!("{body}: {reading}"));
        assert!(why.starts_with(expected), "{body}: {why}");
    }
    for code in [3000, 4999] {
        let body = format!(r#"{{"disconnect":{{"code":{code},"reason":"{}"}}}}"#, "x".repeat(123));
        assert!(reading(&connect(), &body).starts_with("disconnect"), "{code}");
    }
}

#[test]
fn a_clients_fields_are_sent_along_but_never_in_place_of_the_applications() {
    let server = TinyServer::saying(r#"{"result":{}}"#);
    let mut config = config(&server.url("/"));
    config.fields = BTreeMap::from([("authorization".to_owned(), "Bearer ours".to_owned())]);
    let fields = [
        ("cookie", "PHPSESSID=1"),
        ("Cookie", "theme=dark"),
        ("Authorization", "Bearer theirs"),
        ("X-Name", "zoë"),
        ("Host", "elsewhere"),
        ("Content-Type", "text/html"),
        ("Transfer-Encoding", "chunked"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    outcome(&config, HookRequest::Refresh { client: ClientFacts { fields, ..ada() } }).unwrap();
    let seen = server.seen.recv().unwrap();
    assert_eq!(seen.all("Cookie"), ["PHPSESSID=1", "theme=dark"]);
    assert_eq!(seen.all("Authorization"), ["Bearer ours"]);
    assert_eq!(seen.all("X-Name"), ["zoë"]);
    assert_eq!(seen.all("Host"), [server.address.as_str()]);
    assert_eq!(seen.all("Content-Type"), ["application/json"]);
    assert!(seen.all("Transfer-Encoding").is_empty());

    for (name, value) in [("Cookie", "a\r\nX-Evil: 1"), ("Cookie", "a\nb"), ("Coo\r\nkie", "a"), ("Cookie", "\0")] {
        let fields = vec![(name.to_owned(), value.to_owned())];
        let why = trouble(&config, HookRequest::Refresh { client: ClientFacts { fields, ..ada() } });
        assert!(why.contains("cannot be sent along") && !why.contains(['\r', '\n']), "{why}");
    }
    assert!(server.seen.try_recv().is_err(), "nothing was asked");
}

#[test]
fn only_chosen_fields_of_the_handshake_are_sent_along() {
    let head = "GET / HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\ncookie: c=d\r\nX-Secret: s\r\n\r\n";
    let request = Request::parse(head.as_bytes(), &HeadLimits::default()).unwrap();
    let mut config = config("http://localhost/");
    let names = |config: &HookConfig| {
        let fields = config.forwarded(request.fields());
        fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
    };
    assert_eq!(names(&config), ["Cookie: a=b", "cookie: c=d"]);
    config.forward_fields = vec!["x-secret".to_owned()];
    assert_eq!(names(&config), ["X-Secret: s"]);
    assert!(names(&HookConfig::default()).is_empty(), "kept for nobody");
}

#[test]
fn a_connection_is_used_again() {
    let server = TinyServer::saying(r#"{"result":{}}"#);
    let (hooks, done) = start(&config(&server.url("/")));
    for _ in 0..3 {
        hooks.ask(rpc());
        done.recv().unwrap().outcome.unwrap();
        assert_eq!(server.seen.recv().unwrap().connection, 0);
    }
}

#[test]
fn what_is_no_200_with_an_answer_in_time_is_no_yes() {
    let server = TinyServer::start(|request, stream| {
        let path = request.head.split(' ').nth(1).unwrap();
        let yes = r#"{"result":{}}"#;
        let sent = match path {
            "/500" => stream.write_all(format!("HTTP/1.1 500 Oh\r\nContent-Length: 13\r\n\r\n{yes}").as_bytes()),
            "/201" => stream.write_all(format!("HTTP/1.1 201 Made\r\nContent-Length: 13\r\n\r\n{yes}").as_bytes()),
            // Nobody has asked for another protocol; what it says in that is not for us.
            "/101" => stream.write_all(
                format!("HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n{}", ok(yes)).as_bytes(),
            ),
            "/302" => stream.write_all(b"HTTP/1.1 302 Go\r\nLocation: /yes\r\nContent-Length: 0\r\n\r\n"),
            "/close" => Ok(()),
            "/half" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
            "/noise" => stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n"),
            _ => stream.write_all(ok(yes).as_bytes()),
        };
        sent.unwrap();
        false
    });
    let at = |path| config(&server.url(path));
    assert!(outcome(&at("/yes"), connect()).is_ok());
    for (path, expected) in [
        ("/500", "500"),
        ("/201", "201"),
        ("/101", "101"),
        ("/302", "302"),
        ("/close", ""),
        ("/half", ""),
        ("/noise", ""),
    ] {
        let why = trouble(&at(path), connect());
        assert!(why.starts_with("hook-connect-url: ") && why.contains(expected), "{path}: {why}");
    }
    let asked: Vec<String> =
        server.seen.try_iter().map(|seen| seen.head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        ["/yes", "/500", "/201", "/101", "/302", "/close", "/half", "/noise"],
        "each once, nothing followed"
    );

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = trouble(&config(&format!("http://{nobody}/")), connect());
    assert!(why.contains("refused"), "{why}");
}

#[test]
fn an_answer_has_a_size() {
    // With and without its length said in advance; the smallest answer padded to `n` bytes.
    let server = TinyServer::start(|request, stream| {
        let path = request.head.split(' ').nth(1).unwrap();
        let (how, length) = path[1..].split_once('/').unwrap();
        let body = format!("{:1$}", r#"{"result":{}}"#, length.parse::<usize>().unwrap());
        let answer = match how {
            "sized" => ok(&body),
            "chunked" => {
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
            }
            _ => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}"),
        };
        let _ = stream.write_all(answer.as_bytes());
        false
    });
    for how in ["sized", "chunked", "until-closed"] {
        for (length, fits) in [(13, true), (999, true), (1000, true), (1001, false), (100_000, false)] {
            let config = HookConfig { max_answer: 1000, ..config(&server.url(&format!("/{how}/{length}"))) };
            let outcome = outcome(&config, rpc());
            assert_eq!(outcome.is_ok(), fits, "{how}, {length}: {outcome:?}");
        }
    }
}

#[test]
fn the_time_for_an_answer_begins_with_the_question_and_is_not_stretched_by_drops() {
    let server = TinyServer::start(|request, stream| {
        let (_keep, pace) = channel::<()>();
        let pause = || pace.recv_timeout(Duration::from_millis(5)).unwrap_err();
        if request.head.contains("/silent") {
            let _ = pace.recv_timeout(LONG);
            return false;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        let drops = if request.head.contains("/head") { (head.repeat(20), 0) } else { (head.to_owned(), head.len()) };
        let _ = stream.write_all(&drops.0.as_bytes()[..drops.1]);
        for drop in drops.0.as_bytes()[drops.1..].iter().chain([b' '].iter().cycle().take(1000)) {
            if stream.write_all(&[*drop]).is_err() {
                break;
            }
            pause();
        }
        false
    });
    for path in ["/silent", "/head", "/body"] {
        let config = HookConfig { timeout: Duration::from_millis(60), ..config(&server.url(path)) };
        let began = Instant::now();
        let why = trouble(&config, rpc());
        assert!(why.contains("timeout"), "{path}: {why}");
        assert!(began.elapsed() >= config.timeout, "{path}");
        assert!(began.elapsed() < Duration::from_secs(2), "{path}: {:?}", began.elapsed());
    }
    // One thread: those who wait for it do not get more time for that.
    let config = HookConfig { timeout: Duration::from_millis(60), concurrency: 1, ..config(&server.url("/silent")) };
    let (hooks, done) = start(&config);
    let began = Instant::now();
    for _ in 0..20 {
        hooks.ask(rpc());
    }
    for _ in 0..20 {
        assert!(matches!(done.recv_timeout(LONG).unwrap().outcome, Err(HookFailure::Unavailable(_))));
    }
    assert!(began.elapsed() < Duration::from_millis(60 * 20), "one after the other: {:?}", began.elapsed());
}

/// A backend that answers when it is let, and one thread to ask it.
fn held(queue: usize) -> (Hooks, Receiver<HookDone>, std::sync::mpsc::Sender<()>, TinyServer) {
    let (release, gate) = channel();
    let gate = Mutex::new(gate);
    let server = TinyServer::start(move |_, stream| {
        let _ = gate.lock().unwrap().recv();
        stream.write_all(ok(r#"{"result":{}}"#).as_bytes()).is_ok()
    });
    let (hooks, done) = start(&HookConfig { concurrency: 1, queue, ..config(&server.url("/")) });
    hooks.ask(rpc());
    server.seen.recv().unwrap();
    assert_eq!(hooks.waiting(), 0, "it is under way");
    (hooks, done, release, server)
}

#[test]
fn so_many_may_wait_and_the_next_is_refused_at_once() {
    let (hooks, done, release, _server) = held(2);
    hooks.ask(rpc());
    hooks.ask(rpc());
    assert_eq!(hooks.waiting(), 2);
    assert!(done.try_recv().is_err());
    for _ in 0..2 {
        let refused = hooks.ask(rpc());
        let answer = done.try_recv().unwrap();
        assert_eq!(answer.ticket, refused);
        let Err(HookFailure::Unavailable(why)) = answer.outcome else { panic!() };
        assert_eq!(why, "2 questions to backends wait already");
    }
    for _ in 0..3 {
        release.send(()).unwrap();
        assert!(done.recv_timeout(LONG).unwrap().outcome.is_ok());
    }
    assert_eq!(hooks.waiting(), 0);
    hooks.ask(rpc());
    release.send(()).unwrap();
    assert!(done.recv_timeout(LONG).unwrap().outcome.is_ok(), "there is room again");
}

#[test]
fn so_many_bytes_may_wait() {
    let (hooks, done, _release, _server) = held(100);
    let half = Data::new(Kind::Binary, &vec![0; 32 << 20]);
    hooks.ask(publish(half.clone()));
    hooks.ask(publish(half));
    assert!(done.try_recv().is_err(), "64 MiB fit");
    hooks.ask(publish(Data::json("1")));
    let Err(HookFailure::Unavailable(why)) = done.try_recv().unwrap().outcome else { panic!() };
    assert_eq!(why, "too much data waits for backends already");
    hooks.ask(rpc());
    assert!(done.try_recv().is_err(), "what holds none may wait");
    assert_eq!(hooks.waiting(), 3);
}

#[test]
fn what_was_asked_is_answered_even_if_the_pool_is_gone() {
    let (hooks, done, release, _server) = held(10);
    let (second, third) = (hooks.ask(rpc()), hooks.ask(rpc()));
    drop(hooks);
    for _ in 0..3 {
        release.send(()).unwrap();
    }
    let answers: Vec<HookDone> = done.iter().collect();
    assert_eq!(answers.len(), 3, "and then the threads have ended");
    assert_eq!([answers[1].ticket, answers[2].ticket], [second, third]);
    assert!(answers.iter().all(|answer| answer.outcome.is_ok()));
}

#[test]
fn a_configuration_that_cannot_be_asked_is_refused_by_its_key() {
    type Change = fn(&mut HookConfig);
    let rows: [(Change, &str); 12] = [
        (|config| config.connect = Some("localhost/hook".to_owned()), "hook-connect-url: `localhost/hook` is no URL"),
        (|config| config.publish = Some("/hook".to_owned()), "hook-publish-url: `/hook` has to begin with"),
        (|config| config.rpc = Some("ftp://h/".to_owned()), "hook-rpc-url: `ftp://h/` has to begin with"),
        (|config| config.refresh = Some("http://a b/".to_owned()), "hook-refresh-url: `http://a b/` is no URL"),
        (|config| config.subscribe = Some(String::new()), "hook-subscribe-url: `` is no URL"),
        (|config| config.subscribe = Some("http://:80/".to_owned()), "hook-subscribe-url: `http://:80/`"),
        (
            |config| config.sub_refresh = Some("http://u:p@h/".to_owned()),
            "hook-sub-refresh-url: `http://u:p@h/` has a user",
        ),
        (|config| drop(config.fields.insert("X".to_owned(), "a\r\nY: b".to_owned())), "hook-header: `X` has a control"),
        (|config| drop(config.fields.insert("X\n".to_owned(), "a".to_owned())), "hook-header: `X\\n` is no field"),
        (|config| drop(config.fields.insert("host".to_owned(), "a".to_owned())), "hook-header: `host` belongs to"),
        (
            |config| config.fields = ["A", "a"].map(|name| (name.to_owned(), "1".to_owned())).into(),
            "hook-header: `a` is there twice",
        ),
        (
            |config| config.forward_fields = vec!["Content-Length".to_owned()],
            "hook-forward: `Content-Length` belongs to",
        ),
    ];
    for (change, expected) in rows {
        let mut config = config("http://localhost/");
        change(&mut config);
        let error = Hooks::start(&config, drop).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}, not {expected}");
    }
}
