//! The push server's tools: configurations, tokens, publishing and subscribing from a shell.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::peer::accept;
use crate::process::{Ended, Process, loopwire, run};
use crate::serve::{Client, Directory, server};

/// What `{"sub":"42"}` is with the secret `secret`.
const TOKEN_OF_42: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408";

fn stdout(outcome: Ended) -> String {
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    String::from_utf8(outcome.stdout).unwrap().trim_end().to_owned()
}

fn refused(outcome: &Ended, code: i32, part: &str) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    assert!(outcome.stderr.contains(part), "{part:?} is not in {:?}", outcome.stderr);
}

#[test]
fn a_generated_configuration_is_one_that_serves() {
    let files = Directory::new("generated");
    let (first, second) = (stdout(run(loopwire(&["genconfig"]), b"")), stdout(run(loopwire(&["genconfig"]), b"")));
    assert_ne!(first, second, "secrets are nobody else's");
    assert!(!first.contains(['{', '}']), "{first}");
    let config = files.file("loopwire.toml", &first);
    let checked = run(loopwire(&["checkconfig", &config]), b"");
    assert_eq!(checked.stderr, "", "there is nothing to be said of it");
    assert_eq!(stdout(checked), format!("{config}: ok"));

    let (_server, authority) = server(&["--config", &config]);
    let token = stdout(run(loopwire(&["gentoken", "--config", &config, "--user", "42"]), b""));
    let mut client = Client::open(&authority);
    client.ask(&json!({"id": 1, "connect": {"token": token}}));
    let subscribed = client.ask(&json!({"id": 2, "subscribe": {"channel": "chat:a"}}));
    assert_eq!(subscribed["subscribe"]["recoverable"], true, "{subscribed}");
    assert_eq!(
        client.ask(&json!({"id": 3, "presence_stats": {"channel": "chat:a"}}))["presence_stats"]["num_users"],
        1
    );
}

#[test]
fn checkconfig_says_what_serve_would_and_what_may_not_be_meant() {
    let files = Directory::new("checked");
    for (text, part) in [
        ("[serve]\npnig-interval = 5", "`serve.pnig-interval`"),
        ("[serve]\nhistory-size = 5", "history-ttl"),
        ("[serve]\nhook-rpc-url = \"ftp://h/\"", "hook-rpc-url"),
        ("[serve]\ntls-cert = \"/nowhere/cert.pem\"", "--tls-key"),
    ] {
        refused(&run(loopwire(&["checkconfig", &files.file("loopwire.toml", text)]), b""), 2, part);
    }
    refused(&run(loopwire(&["checkconfig", "/nowhere.toml"]), b""), 2, "cannot read /nowhere.toml");
    for (text, remark) in [
        ("", "nobody can connect"),
        ("", "answers 401 to everybody"),
        ("insecure-channels = true", "insecure-channels"),
        ("insecure-api = true", "insecure-api"),
        ("[serve.namespaces.a]\nsubscribe-hook = true", "there is no hook-subscribe-url"),
        ("[serve]\npublish-hook = true", "there is no hook-publish-url"),
    ] {
        let outcome = run(loopwire(&["checkconfig", &files.file("loopwire.toml", text)]), b"");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.stderr.contains(remark), "{remark:?} is not in {:?}", outcome.stderr);
    }
}

#[test]
fn tokens_say_what_they_were_made_to_say() {
    let secret = ("LOOPWIRE_TOKEN_HMAC_SECRET", "secret");
    let with_secret = |arguments: &[&str]| {
        let mut command = loopwire(arguments);
        command.env(secret.0, secret.1);
        run(command, b"")
    };
    let token = stdout(with_secret(&["gentoken", "--user", "42", "--ttl", "off"]));
    assert_eq!(token, TOKEN_OF_42);
    for (arguments, claims) in [
        (&["--ttl=off", "--user=42"][..], json!({"sub": "42"})),
        (&["--ttl=off", "--user=42", "--channel=news"], json!({"sub": "42", "channel": "news"})),
        (&["--ttl=off", "--info={\"a\":1}"], json!({"info": {"a": 1}})),
        (&["--ttl=off", "--subscribe-to=a,b"], json!({"channels": ["a", "b"]})),
    ] {
        let token = stdout(with_secret(&[&["gentoken"], arguments].concat()));
        let told: Value = serde_json::from_str(&stdout(with_secret(&["checktoken", &token]))).unwrap();
        assert_eq!(told, claims);
    }
    let token = stdout(with_secret(&["gentoken", "--ttl=1h"]));
    let told: Value = serde_json::from_str(&stdout(with_secret(&["checktoken", &token]))).unwrap();
    assert!(told["exp"].is_u64(), "{told}");

    refused(&run(loopwire(&["checktoken", TOKEN_OF_42, "--token-hmac-secret", "other"]), b""), 9, "not valid");
    refused(&with_secret(&["checktoken", "a.b.c"]), 9, "not valid");
    refused(&run(loopwire(&["gentoken", "--data", "/nowhere"]), b""), 2, "--token-hmac-secret");
    refused(&run(loopwire(&["checktoken", TOKEN_OF_42, "--data", "/nowhere"]), b""), 2, "--token-hmac-secret");
    refused(&with_secret(&["gentoken", "--info", "{"]), 2, "--info");
}

/// An API that answers one request, and gives what it was asked: head and body.
fn api(answer: &'static str) -> (String, thread::JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).unwrap();
            request.extend_from_slice(&piece[..length]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                write!(stream, "HTTP/1.1 {answer}").unwrap();
                return (head.to_lowercase(), body);
            }
            assert!(length > 0, "{text}");
        }
    });
    (url, asked)
}

#[test]
fn publish_asks_the_api_and_says_what_it_answers() {
    const OK: &str =
        "200 OK\r\nConnection: close\r\nContent-Length: 35\r\n\r\n{\"result\":{\"offset\":7,\"epoch\":\"e\"}}";
    for (arguments, input, asked) in [
        (&["news", "{\"a\": 1}"][..], &b""[..], json!({"channel": "news", "data": {"a": 1}})),
        (&["news"], b"hello\n", json!({"channel": "news", "data": "hello"})),
        (&["news", "7", "--text"], b"", json!({"channel": "news", "data": "7"})),
        (&["news", "--binary"], &[0, 255], json!({"channel": "news", "b64data": "AP8="})),
        (&["news", "1", "--idempotency-key", "k"], b"", json!({"channel": "news", "data": 1, "idempotency_key": "k"})),
    ] {
        let (url, api) = api(OK);
        let mut command = loopwire(&[&["publish", "--server", &url], arguments].concat());
        command.env("LOOPWIRE_API_KEY", "the key");
        assert_eq!(stdout(run(command, input)), "{\"offset\":7,\"epoch\":\"e\"}");
        let (head, body) = api.join().unwrap();
        assert!(head.starts_with("post /api/publish http/1.1\r\n") && head.contains("x-api-key: the key"), "{head}");
        assert_eq!(body, asked);
    }
    for (answer, code, part) in [
        ("401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 9, "--api-key"),
        ("404 Not Found\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n", 9, "status 404"),
        (
            "200 OK\r\nConnection: close\r\nContent-Length: 50\r\n\r\n{\"error\":{\"code\":102,\"message\":\"unknown channel\"}}",
            9,
            "error 102, unknown channel",
        ),
        ("200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n{", 3, "/api/publish"),
    ] {
        let (url, api) = api(answer);
        refused(&run(loopwire(&["publish", "--server", &url, "news", "1"]), b""), code, part);
        api.join().unwrap();
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = run(loopwire(&["publish", "news", "1", "--server", &format!("http://{nobody}")]), b"");
    refused(&outcome, 3, "/api/publish");
    refused(&run(loopwire(&["publish", "news", "1", "--server", "example.com"]), b""), 2, "--server");
    refused(&run(loopwire(&["publish", "news"]), &[255]), 2, "--binary");
}

#[test]
fn subscribe_prints_what_is_published_and_ends_when_it_has_enough() {
    let (_server, authority) = server(&[]);
    let url = format!("http://{authority}");
    let mut publisher = Client::open(&authority);
    publisher.ask(&json!({"id": 1, "connect": {}}));
    let mut publish = |id: u32, channel: &str, data: Value| {
        let reply = publisher.ask(&json!({"id": id, "publish": {"channel": channel, "data": data}}));
        assert_eq!(reply, json!({"id": id, "publish": {}}));
    };
    publish(2, "news", json!({"n": 1}));

    let mut many = Process::start(loopwire(&["subscribe", "news", "sport", "--server", &url, "--count", "2"]));
    many.error_line("subscribed to news");
    many.error_line("subscribed to sport");
    publish(3, "sport", json!("goal"));
    publish(4, "news", json!(2));
    let many = many.ended();
    assert_eq!(
        (many.code, String::from_utf8(many.stdout).unwrap()),
        (Some(0), "sport\t\"goal\"\nnews\t2\n".to_owned())
    );

    let all = run(loopwire(&["subscribe", "news", "--server", &url, "--since", ":0", "--count", "2", "--json"]), b"");
    let lines: Vec<Value> = stdout(all).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let epoch = lines[0]["epoch"].as_str().unwrap();
    for (line, (offset, data)) in lines.iter().zip([(1, json!({"n": 1})), (2, json!(2))]) {
        assert_eq!((&line["channel"], &line["publication"]["offset"]), (&json!("news"), &json!(offset)), "{line}");
        assert_eq!(line["publication"]["data"], data);
    }
    let since = format!("{epoch}:1");
    let one = run(loopwire(&["subscribe", "news", "--server", &url, "--since", &since, "--count", "1"]), b"");
    assert_eq!(stdout(one), "2");

    let late = loopwire(&["subscribe", "news", "--server", &url, "--since", "other:1", "--timeout", "300ms"]);
    refused(&run(late, b""), 6, "not all there any more");
    let nowhere = run(loopwire(&["subscribe", "$private", "--server", &url]), b"");
    refused(&nowhere, 9, "$private: error 103");
}

#[test]
fn subscribe_comes_back_to_a_server_that_cannot_let_it_in_for_now() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for is_able in [false, false, true] {
            let (mut socket, _) = accept(listener.accept().unwrap().0);
            let mut answer = |reply: Value| {
                let command: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
                socket.send(Message::text(reply.to_string())).unwrap();
                command
            };
            if is_able {
                assert!(answer(json!({"id": 1, "connect": {}})).get("connect").is_some());
                assert_eq!(answer(json!({"id": 2, "subscribe": {}}))["subscribe"]["channel"], "news");
                socket
                    .send(Message::text(json!({"push": {"channel": "news", "pub": {"data": 7}}}).to_string()))
                    .unwrap();
            } else {
                let error = json!({"code": 100, "message": "internal server error", "temporary": true});
                answer(json!({"id": 1, "error": error}));
            }
            // Until it has gone.
            while socket.read().is_ok() {}
        }
    });
    let outcome = run(loopwire(&["subscribe", "news", "--server", &url, "--count", "1"]), b"");
    assert!(outcome.stderr.contains("error 100, internal server error"), "{outcome:?}");
    assert_eq!(stdout(outcome), "7");
    server.join().unwrap();
}

#[test]
fn subscribe_comes_back_after_a_restart_and_has_missed_nothing() {
    let data = Directory::new("comes-back");
    let data = data.path("data");
    let (first, url) = Process::server(&["serve", "--listen", "127.0.0.1:0", "--data", &data]);
    let authority = url.strip_prefix("http://").unwrap().to_owned();
    let mut subscriber = Process::start(loopwire(&["subscribe", "news", "--server", &url]));
    subscriber.error_line("subscribed to news");
    let publish = |data: u32| {
        let mut client = Client::open(&authority);
        client.ask(&json!({"id": 1, "connect": {}}));
        client.ask(&json!({"id": 2, "publish": {"channel": "news", "data": data}}));
    };
    publish(1);
    assert_eq!(subscriber.line(), "1");
    first.signal("TERM");
    assert_eq!(first.ended().code, Some(0));
    subscriber.error_line("connecting again");
    let (_second, _) = Process::server(&["serve", "--listen", &authority, "--data", &data]);
    publish(2);
    publish(3);
    assert_eq!((subscriber.line(), subscriber.line()), ("2".to_owned(), "3".to_owned()));
    subscriber.signal("INT");
    assert_eq!(subscriber.ended().code, Some(0));
}
