//! `loopwire serve`: what it does without a configuration, what it refuses, and what it reads again.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::process::{DEADLINE, Ended, Process, loopwire, run};

/// A directory of a test's own, gone when the test is over.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of something in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A push server in memory, with its `host:port`.
pub(crate) fn server(arguments: &[&str]) -> (Process, String) {
    let (server, url) = Process::server(&[&["serve", "--memory", "--listen", "127.0.0.1:0"], arguments].concat());
    let authority = url.strip_prefix("http://").unwrap().to_owned();
    (server, authority)
}

/// A client of the JSON protocol.
pub(crate) struct Client(WebSocket<TcpStream>);

impl Client {
    pub(crate) fn open(authority: &str) -> Self {
        let stream = TcpStream::connect(authority).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(tungstenite::client(format!("ws://{authority}/connection/websocket"), stream).unwrap().0)
    }

    /// The same, and who it is.
    fn connected(authority: &str, token: &str) -> Self {
        let mut client = Self::open(authority);
        let reply = client.ask(&json!({"id": 1, "connect": {"token": token}}));
        assert!(reply["connect"]["client"].is_string(), "{reply}");
        client
    }

    pub(crate) fn ask(&mut self, command: &Value) -> Value {
        self.0.send(Message::text(command.to_string())).unwrap();
        self.hear()
    }

    /// The next message that is no ping.
    pub(crate) fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap()
                && text.as_str() != "{}"
            {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}

fn get(authority: &str, target: &str, fields: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn refused(outcome: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{outcome:?}");
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    for part in parts {
        assert!(outcome.stderr.contains(part), "{part:?} is not in {:?}", outcome.stderr);
    }
}

#[test]
fn without_a_configuration_it_says_what_it_is_and_everybody_may_do_everything() {
    let (mut server, authority) = server(&[]);
    server.error_line("Development mode");
    server.error_line(&format!("http://{authority} in a browser"));
    server.error_line(&format!("curl http://{authority}/api/publish"));
    server.error_line("A token of the user ada");
    let token = server.error_line("eyJ").trim().to_owned();
    for token in ["", &token] {
        let mut client = Client::connected(&authority, token);
        let subscribed = client.ask(&json!({"id": 2, "subscribe": {"channel": "news"}}));
        assert_eq!(subscribed["subscribe"]["recoverable"], true, "{subscribed}");
        let published = client.ask(&json!({"id": 3, "publish": {"channel": "news", "data": 1}}));
        assert_eq!(published, json!({"id": 3, "publish": {}}));
    }
}

#[test]
fn development_mode_says_that_it_reads_nothing_again() {
    let (mut server, _authority) = server(&[]);
    for _ in 0..2 {
        server.signal("HUP");
        server.error_line("nothing is read again in development mode");
    }
}

#[test]
fn development_mode_is_for_this_machine_and_its_pages() {
    let outcome = run(loopwire(&["serve", "--memory", "--listen", "0.0.0.0:0"]), b"");
    refused(&outcome, 2, &["0.0.0.0:0", "genconfig"]);
    let (_server, authority) = server(&[]);
    for (fields, status) in [
        ("Host: localhost\r\n", 200),
        ("Host: localhost\r\nOrigin: http://localhost:3000\r\n", 200),
        ("Host: evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
    ] {
        assert_eq!(get(&authority, "/", fields).0, status, "{fields}");
        assert_eq!(get(&authority, "/dev/token?user=ada", fields).0, status, "{fields}");
        let mut request = format!("ws://{authority}/connection/websocket").into_client_request().unwrap();
        if let Some((_, origin)) = fields.split_once("Origin: ") {
            request.headers_mut().insert("Origin", origin.trim().parse().unwrap());
            let opened = tungstenite::client(request, TcpStream::connect(&authority).unwrap());
            assert_eq!(opened.is_ok(), status == 200, "{fields}");
        }
    }
}

#[test]
fn development_mode_gives_tokens_that_outlive_it_with_its_data() {
    let data = Directory::new("development");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", &data.path("data")];
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let (server, url) = Process::server(&arguments);
        let authority = url.strip_prefix("http://").unwrap();
        let (status, token) = get(authority, "/dev/token?user=a%20b", "Host: localhost\r\n");
        assert_eq!(status, 200, "{token}");
        for wrong in ["/dev/token", "/dev/token?user=", "/dev/token?user=%f", "/dev/token?name=x"] {
            assert_eq!(get(authority, wrong, "Host: localhost\r\n").0, 400, "{wrong}");
        }
        for token in tokens.iter().chain([&token]) {
            Client::connected(authority, token);
        }
        tokens.push(token);
        server.signal("TERM");
        assert_eq!(server.ended().code, Some(0));
    }
    assert_eq!(tokens[0], tokens[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let secret = fs::metadata(data.path("data/development-secret")).unwrap();
        assert_eq!(secret.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn sigterm_sends_clients_elsewhere_and_keeps_what_was_acknowledged() {
    let data = Directory::new("drained");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", &data.path("data")];
    let start = || {
        let (server, url) = Process::server(&arguments);
        (server, url.strip_prefix("http://").unwrap().to_owned())
    };
    let (server, authority) = start();
    let mut others = [0, 1, 2].map(|_| Client::connected(&authority, ""));
    let mut publisher = Client::connected(&authority, "");
    // More than one commit's worth, of which some will have been answered and some not.
    let commands = |from: u32| {
        let publish = |n| json!({"id": n, "publish": {"channel": "news", "data": n}}).to_string();
        Message::text((from..from + 50).map(publish).collect::<Vec<_>>().join("\n"))
    };
    publisher.0.send(commands(2)).unwrap();
    let mut acknowledged = vec![publisher.hear()["id"].as_u64().unwrap()];
    publisher.0.send(commands(52)).unwrap();
    server.signal("TERM");
    for client in &mut others {
        assert_eq!(client.hear()["push"]["disconnect"]["code"], 3001);
        assert!(matches!(client.0.read().unwrap(), Message::Close(Some(frame)) if u16::from(frame.code) == 3001));
    }
    loop {
        let heard = publisher.hear();
        match heard["id"].as_u64() {
            Some(id) => acknowledged.push(id),
            None => break assert_eq!(heard["push"]["disconnect"]["code"], 3001, "{heard}"),
        }
    }
    assert!(publisher.0.read().unwrap().is_close());
    drop((publisher, others));
    assert_eq!(server.ended().code, Some(0));
    assert!(TcpStream::connect(&authority).is_err());

    let (_server, authority) = start();
    let answer = Client::connected(&authority, "").ask(&json!({"id": 2, "history": {"channel": "news", "limit": -1}}));
    let kept: Vec<_> = answer["history"]["publications"].as_array().unwrap().iter().map(|it| &it["data"]).collect();
    assert!(kept.len() >= acknowledged.len(), "{answer}");
    for (kept, acknowledged) in kept.iter().zip(&acknowledged) {
        assert_eq!(**kept, *acknowledged, "in order, and none twice");
    }
}

#[test]
fn a_second_server_cannot_have_the_same_data() {
    let data = Directory::new("shared");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", &data.path("data")];
    let (_server, _) = Process::server(&arguments);
    refused(&run(loopwire(&arguments), b""), 8, &[&data.path("data")]);
}

/// What `{"sub":"42"}` is with the secret `secret`.
const TOKEN_OF_42: &str =
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408";

#[test]
fn a_configuration_says_who_may_do_what() {
    let files = Directory::new("rules");
    let config = files.file(
        "loopwire.toml",
        "token-hmac-secret = \"secret\"\n\
         [serve]\nallow-subscribe-for-client = true\n\
         [serve.namespaces.chat]\nallow-subscribe-for-client = true\nallow-publish-for-subscriber = true\n\
         history-size = 10\nhistory-ttl = \"1m\"\nforce-recovery = true\n",
    );
    let (server, authority) = server(&["--config", &config]);
    assert_eq!(get(&authority, "/dev/token?user=ada", "Host: localhost\r\n").0, 404);
    let mut nobody = Client::open(&authority);
    let refused = nobody.ask(&json!({"id": 1, "connect": {}}));
    assert!(refused["push"]["disconnect"]["code"].is_u64() || refused["error"]["code"].is_u64(), "{refused}");
    let mut client = Client::connected(&authority, TOKEN_OF_42);
    let subscribed = client.ask(&json!({"id": 2, "subscribe": {"channel": "news"}}));
    assert_eq!(subscribed, json!({"id": 2, "subscribe": {}}));
    let error = client.ask(&json!({"id": 3, "publish": {"channel": "news", "data": 1}}));
    assert_eq!(error["error"]["code"], 103, "{error}");
    let subscribed = client.ask(&json!({"id": 4, "subscribe": {"channel": "chat:a"}}));
    assert_eq!(subscribed["subscribe"]["recoverable"], true, "{subscribed}");
    assert_eq!(
        client.ask(&json!({"id": 5, "publish": {"channel": "chat:a", "data": 1}})),
        json!({"id": 5, "publish": {}})
    );
    assert_eq!(client.hear()["push"]["pub"]["offset"], 1);
    let error = client.ask(&json!({"id": 6, "subscribe": {"channel": "other:a"}}));
    assert_eq!(error["error"]["code"], 102, "{error}");
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn sighup_takes_what_can_be_changed_and_names_what_cannot() {
    let files = Directory::new("reload");
    let config = |text: &str| files.file("loopwire.toml", &format!("token-hmac-secret = \"secret\"\n[serve]\n{text}"));
    let path = config("max-channels = 5\n");
    let (mut server, authority) = server(&["--config", &path]);
    let mut client = Client::connected(&authority, TOKEN_OF_42);
    let error = client.ask(&json!({"id": 2, "subscribe": {"channel": "chat:a"}}));
    assert_eq!(error["error"]["code"], 102, "{error}");

    config("max-connections = 7\n[serve.namespaces.chat]\nallow-subscribe-for-client = true\n");
    server.signal("HUP");
    let changed = server.error_line("changed: ");
    for key in ["max-channels", "namespaces.chat", "namespaces.chat.allow-subscribe-for-client"] {
        assert!(changed.contains(key), "{key} is not in {changed}");
    }
    assert!(!changed.contains("max-connections"), "{changed}");
    assert!(server.error_line("only taken up by a restart").contains("max-connections"));
    let subscribed = client.ask(&json!({"id": 3, "subscribe": {"channel": "chat:a"}}));
    assert_eq!(subscribed, json!({"id": 3, "subscribe": {}}));

    for (wrong, part) in [("max-chanels = 5\n", "`serve.max-chanels`"), ("history-size = 5\n", "history-ttl")] {
        config(wrong);
        server.signal("HUP");
        assert!(server.error_line("stays as it was").contains(part));
        let refused = client.ask(&json!({"id": 4, "subscribe": {"channel": "chat:a"}}));
        assert_eq!(refused["error"]["code"], 105, "still there: {refused}");
    }
    config("[serve.namespaces.chat]\nallow-subscribe-for-client = true\n");
    server.signal("HUP");
    assert!(server.error_line("only taken up").contains("by a restart: max-connections"));
}

#[test]
fn what_cannot_be_is_refused_by_its_key_before_anything_starts() {
    let files = Directory::new("refused");
    for (text, parts) in [
        ("[serve]\nhistory-size = 0", &["`serve.history-size`", "off"][..]),
        ("[serve]\nhistory_size = 5", &["`serve.history_size`", "`history-size`"]),
        ("[serve]\nhistory-size = 5", &["history-ttl"]),
        ("[serve]\nhistory-ttl = 5", &["history-size"]),
        ("[serve]\nforce-recovery = true", &["force-recovery"]),
        ("[serve]\nhistory-size = 5\nhistory-ttl = \"2h\"\nhistory-meta-ttl = \"1h\"", &["history-meta-ttl"]),
        ("[serve]\nallowed-origin = [\"good.example\"]", &["`serve.allowed-origin`", "https://example.com"]),
        ("[serve]\nallowed-origin = [\"any\", \"https://good.example\"]", &["allowed-origin", "any stands alone"]),
        ("[serve]\ntoken-rsa-public-key = \"/nowhere/key.pem\"", &["token-rsa-public-key", "/nowhere/key.pem"]),
        ("[serve]\ntoken-hmac-secret = \"\"", &["`serve.token-hmac-secret`", "empty"]),
        ("[serve]\nhook-connect-url = \"nowhere\"", &["hook-connect-url"]),
        ("[serve]\nhook-ca = \"/nowhere/ca.pem\"", &["hook-ca", "/nowhere/ca.pem"]),
        ("[serve]\nhook-ca = \"Cargo.toml\"\nhook-rpc-url = \"https://localhost\"", &["hook-ca", "no certificate"]),
        ("[serve]\nmax-waiting = 0", &["`serve.max-waiting`"]),
        ("[serve]\nmax-unwritten = 0", &["`serve.max-unwritten`"]),
        ("[serve.namespaces.chat]\nhistory-sise = 5", &["`serve.namespaces.chat.history-sise`", "no such setting"]),
        ("[serve.namespaces.chat]\nhistory-size = true", &["`serve.namespaces.chat.history-size`", "a boolean"]),
        ("[serve.namespaces.chat]\nhistory-size = 5", &["namespaces.chat.history-ttl"]),
        ("[serve.namespaces.chat]\nlisten = \"127.0.0.1:1\"", &["`serve.namespaces.chat.listen`"]),
        ("[serve.namespaces.\"a:b\"]\npresence = true", &["`serve.namespaces.a:b`", "letters"]),
        ("[serve.namespaces]\nchat = true", &["`serve.namespaces.chat`", "should be a table"]),
        ("[echo.namespaces.chat]\npresence = true", &["`echo.namespaces`"]),
    ] {
        let config = files.file("loopwire.toml", text);
        let outcome = run(loopwire(&["serve", "--memory", "--listen", "127.0.0.1:0", "--config", &config]), b"");
        refused(&outcome, 2, parts);
    }
    let outcome = run(loopwire(&["serve", "--memory", "--dev", "--presence"]), b"");
    refused(&outcome, 2, &["--dev", "--presence"]);
}

#[test]
fn secrets_are_not_printed() {
    let arguments = ["serve", "--print-config", "--api-key", "hunter2", "--hook-header", "Authorization: hunter2"];
    let mut command = loopwire(&arguments);
    command.env("LOOPWIRE_TOKEN_HMAC_SECRET", "hunter2");
    let outcome = run(command, b"");
    let told = String::from_utf8(outcome.stdout).unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    for (key, source) in [("api-key", "flag"), ("hook-header", "flag"), ("token-hmac-secret", "environment")] {
        assert!(told.contains(&format!("# {key} is set, and not shown # {source}\n")), "{told}");
    }
}

#[test]
fn namespaces_are_printed_as_the_file_has_them() {
    let files = Directory::new("printed");
    let config = files.file(
        "loopwire.toml",
        "[namespaces.chat]\npresence = true\nhistory-size = 3\n[serve.namespaces.chat]\nhistory-size = 5\n",
    );
    let printed = run(loopwire(&["serve", "--print-config", "--config", &config]), b"").stdout;
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        printed.ends_with("\n[namespaces.chat]\npresence = true # file\nhistory-size = \"5\" # file\n"),
        "{printed}"
    );
    let again = files.file("again.toml", &printed);
    let again = run(loopwire(&["serve", "--print-config", "--config", &again]), b"").stdout;
    assert!(String::from_utf8(again).unwrap().ends_with(printed.split_once("\n\n").unwrap().1));
}
