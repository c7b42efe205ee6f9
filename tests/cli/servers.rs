//! `loopwire echo`, the push server's page, and what all servers share: how they start, drain, reload and end.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::process::{DEADLINE, Process, loopwire, run, with_descriptors};

const ON_ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A server with its `host:port`.
fn server(arguments: &[&str]) -> (Process, String) {
    let (server, url) = Process::server(&[arguments, &ON_ANY_PORT].concat());
    let authority = url.split_once("://").unwrap().1.trim_end_matches('/').to_owned();
    (server, authority)
}

fn tcp(authority: &str) -> TcpStream {
    let stream = TcpStream::connect(authority).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn websocket(authority: &str, path: &str) -> WebSocket<TcpStream> {
    tungstenite::client(format!("ws://{authority}{path}"), tcp(authority)).unwrap().0
}

fn text(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// A plain HTTP exchange: the head and the body of the answer.
fn http(authority: &str, request: &str) -> (String, String) {
    let mut stream = tcp(authority);
    write!(stream, "{request} HTTP/1.1\r\nHost: {authority}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn echo_answers_on_any_path_with_text_and_binary() {
    let (_server, authority) = server(&["echo"]);
    for path in ["/", "/any/path?and=query"] {
        let mut socket = websocket(&authority, path);
        for message in [
            Message::text("Hello"),
            Message::text(""),
            Message::binary(vec![0, 255]),
            Message::binary(vec![7; 300_000]),
        ] {
            socket.send(message.clone()).unwrap();
            assert_eq!(socket.read().unwrap(), message);
        }
        socket.close(None).unwrap();
    }
}

#[test]
fn several_addresses_are_listened_on_and_each_is_told() {
    let (mut server, first) = Process::server(&["echo", "--listen", "127.0.0.1:0,127.0.0.1:0"]);
    let second = server.line();
    for line in [first, second.trim_start_matches("listening on ").to_owned()] {
        let mut socket = websocket(line.trim_start_matches("ws://").trim_end_matches('/'), "/");
        socket.send(Message::text("Hello")).unwrap();
        assert_eq!(text(&mut socket), "Hello");
    }
}

#[test]
fn several_loops_share_a_port() {
    let (server, authority) = server(&["echo", "--loops", "3"]);
    let mut sockets: Vec<_> = (0..12).map(|_| websocket(&authority, "/")).collect();
    for (number, socket) in sockets.iter_mut().enumerate() {
        socket.send(Message::text(number.to_string())).unwrap();
        assert_eq!(text(socket), number.to_string());
    }
    server.signal("TERM");
    for mut socket in sockets {
        assert!(matches!(socket.read().unwrap(), Message::Close(Some(CloseFrame { code: CloseCode::Away, .. }))));
        assert!(socket.read().is_err());
    }
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_message_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let (_server, authority) = server(&["echo", "--max-message", "1000"]);
    let mut socket = websocket(&authority, "/");
    socket.send(Message::binary(vec![1; 1000])).unwrap();
    assert_eq!(socket.read().unwrap(), Message::binary(vec![1; 1000]));
    socket.send(Message::binary(vec![1; 1001])).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Close(Some(CloseFrame { code: CloseCode::Size, .. }))));
}

#[test]
fn health_is_answered_beside_the_websocket() {
    for command in [&["echo"][..], &["serve", "--memory"]] {
        let (_server, authority) = server(command);
        let (head, body) = http(&authority, "GET /healthz");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(body, "ok\n");
    }
}

#[test]
fn the_pages_are_served_and_nothing_from_elsewhere() {
    let (_server, authority) = server(&["serve", "--memory"]);
    for (path, content_type) in [
        ("/", "text/html"),
        ("/page/style.css", "text/css"),
        ("/page/client.js", "text/javascript"),
        ("/page/page.js", "text/javascript"),
        ("/learn", "text/html"),
        ("/learn/style.css", "text/css"),
        ("/learn/draw.js", "text/javascript"),
        ("/learn/learn.js", "text/javascript"),
    ] {
        let (head, body) = http(&authority, &format!("GET {path}"));
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {content_type}")), "{path}: {head}");
        assert!(head.contains("content-security-policy: default-src 'none'"), "{path}: {head}");
        for elsewhere in ["src=\"http", "href=\"http", "url(http", "@import", "fetch(\"http", "from \"http"] {
            assert!(!body.contains(elsewhere), "{path}: {elsewhere}");
        }
    }
    let (head, body) = http(&authority, "HEAD /");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
    assert!(http(&authority, "GET /nothing").0.starts_with("HTTP/1.1 404 "));
    assert!(http(&authority, "GET /connection/websocket").0.starts_with("HTTP/1.1 426 "));
    assert!(tungstenite::client(format!("ws://{authority}/nothing"), tcp(&authority)).is_err());
}

#[test]
fn without_descriptors_those_that_are_open_are_served_and_the_others_as_soon_as_there_is_room() {
    let mut server = Process::start(with_descriptors(32, &loopwire(&["echo", "--listen", "127.0.0.1:0"])));
    let authority = server.line().strip_prefix("listening on ws://").unwrap().to_owned();
    let mut first = websocket(&authority, "/");
    // The kernel takes them all, the server cannot.
    let mut waiting: VecDeque<_> = (0..60)
        .map(|_| {
            let mut stream = tcp(&authority);
            write!(
                stream,
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
            )
            .unwrap();
            stream
        })
        .collect();
    server.error_line("cannot accept for now");
    for _ in 0..3 {
        first.send(Message::text("still served")).unwrap();
        assert_eq!(text(&mut first), "still served");
        server.error_line("cannot accept for now");
    }
    // Each that goes makes room for another, and nobody has to knock again.
    let mut open = Vec::new();
    while let Some(mut stream) = waiting.pop_front() {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        open.push(stream);
        if open.len() == 5 {
            open.clear();
        }
    }
    first.send(Message::text("to the end")).unwrap();
    assert_eq!(text(&mut first), "to the end");
}

#[test]
fn a_port_in_use_is_one_sentence_and_its_own_code() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in [&["echo"][..], &["serve", "--memory"]] {
        let outcome = run(loopwire(&[command, &["--listen", &address]].concat()), b"");
        assert_eq!(outcome.code, Some(5), "{outcome:?}");
        assert!(outcome.stdout.is_empty());
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&address) && outcome.stderr.contains("in use"), "{}", outcome.stderr);
    }
}

#[test]
fn sigterm_tells_every_connection_and_ends_with_0() {
    for signal in ["TERM", "INT"] {
        let (server, authority) = server(&["echo"]);
        let sockets: Vec<_> = (0..20).map(|_| websocket(&authority, "/")).collect();
        server.signal(signal);
        for mut socket in sockets {
            assert!(matches!(socket.read().unwrap(), Message::Close(Some(CloseFrame { code: CloseCode::Away, .. }))));
            assert!(socket.read().is_err());
        }
        assert_eq!(server.ended().code, Some(0));
        assert!(TcpStream::connect(&authority).is_err());
    }
}

#[test]
fn a_second_signal_does_not_wait_for_a_peer_that_does_not_answer() {
    let (server, authority) = server(&["echo", "--drain-timeout", "1h", "--close-timeout", "1h"]);
    let mut stream = raw(&authority);
    server.signal("TERM");
    let mut close = [0; 4];
    stream.read_exact(&mut close).unwrap();
    assert_eq!((close[0], &close[2..]), (0x88, &1001u16.to_be_bytes()[..]), "told, and not answered");
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(1));
}

/// A certificate for localhost and its key, as files.
struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let pair = Self { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
        pair.renew();
        pair
    }

    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(&self.cert, made.cert.pem()).unwrap();
        fs::write(&self.key, made.signing_key.serialize_pem()).unwrap();
    }

    fn arguments(&self) -> [&str; 4] {
        ["--tls-cert", self.cert.to_str().unwrap(), "--tls-key", self.key.to_str().unwrap()]
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.cert.parent().unwrap());
    }
}

/// What `loopwire connect` ends with, having trusted this certificate.
fn connect_trusting(pair: &Path, authority: &str) -> Option<i32> {
    let url = format!("wss://{authority}/");
    let outcome = run(loopwire(&["connect", "--ca", pair.to_str().unwrap(), &url]), b"Hello\n");
    if outcome.code == Some(0) {
        assert_eq!(outcome.stdout, b"Hello\n");
    }
    outcome.code
}

#[test]
fn sighup_takes_a_good_pair_and_keeps_the_old_one_for_a_bad_one() {
    let pair = Pair::new("reload");
    let first = pair.cert.with_file_name("first.pem");
    fs::copy(&pair.cert, &first).unwrap();
    let (mut server, authority) = server(&[&["echo", "--log", "info"], &pair.arguments()[..]].concat());
    assert_eq!(connect_trusting(&first, &authority), Some(0));

    pair.renew();
    let second = pair.cert.with_file_name("second.pem");
    fs::copy(&pair.cert, &second).unwrap();
    server.signal("HUP");
    server.error_line("certificate");
    assert_eq!(connect_trusting(&second, &authority), Some(0));
    assert_eq!(connect_trusting(&first, &authority), Some(3));

    fs::write(&pair.cert, "nothing that a certificate would be").unwrap();
    server.signal("HUP");
    server.error_line("certificate");
    assert_eq!(connect_trusting(&second, &authority), Some(0));

    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn a_self_signed_server_is_trusted_only_when_told_to() {
    let (_server, url) = Process::server(&["echo", "--self-signed", "--listen", "127.0.0.1:0"]);
    assert!(url.starts_with("wss://"), "{url}");
    let trusting = run(loopwire(&["connect", "--insecure", &url]), b"Hello\n");
    assert_eq!((trusting.code, trusting.stdout.as_slice()), (Some(0), &b"Hello\n"[..]), "{}", trusting.stderr);
    let wary = run(loopwire(&["connect", &url]), b"Hello\n");
    assert_eq!((wary.code, wary.stdout.as_slice()), (Some(3), &b""[..]));
    assert!(wary.stderr.contains("--insecure"), "{}", wary.stderr);
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("echo.{}.sock", std::process::id()));
    let path = path.to_str().unwrap();
    let (server, url) = Process::server(&["echo", "--unix", path]);
    assert_eq!(url, format!("ws+unix:{path}"));
    let outcome = run(loopwire(&["connect", &url]), b"Hello\n");
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), &b"Hello\n"[..]), "{}", outcome.stderr);
    server.signal("TERM");
    assert_eq!(server.ended().code, Some(0));
    assert!(!Path::new(path).exists());
}

/// A connection opened by hand, to send what no WebSocket client would.
fn raw(authority: &str) -> TcpStream {
    let mut stream = tcp(authority);
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream
}

#[test]
fn what_breaks_a_rule_is_logged_with_its_section_and_disturbs_nobody() {
    let (mut server, authority) = server(&["echo"]);
    let mut bystander = websocket(&authority, "/");

    raw(&authority).write_all(b"\x81\x01A").unwrap();
    server.error_line("RFC 6455 §5.1");
    assert!(http(&authority, "POST /").0.starts_with("HTTP/1.1 4"));
    let (head, _) = http(&authority, "GET / HTTP/1.1\r\nUpgrade: websocket\r\nX:");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    server.error_line("RFC 6455 §4.2.1");

    bystander.send(Message::text("Hello")).unwrap();
    assert_eq!(text(&mut bystander), "Hello");
}

#[test]
fn the_debug_log_has_a_line_per_frame_and_no_colour_in_a_file() {
    let (server, authority) = server(&["echo", "--log", "debug"]);
    let mut socket = websocket(&authority, "/");
    socket.send(Message::text("Hello")).unwrap();
    assert_eq!(text(&mut socket), "Hello");
    server.signal("TERM");
    while socket.read().is_ok() {}
    drop(socket);
    let outcome = server.ended();
    // Each says whose it is: loop, slot and generation.
    for line in ["0.0.0: server < text fin 5 bytes masked", "0.0.0: server > text fin 5 bytes", "0.0.0: server > close"]
    {
        assert!(outcome.stderr.lines().any(|told| told.contains("DEBUG") && told.contains(line)), "{}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains('\x1b'));
}
