//! The page at `/learn`: what its connections show of each other, who may open them, and their limits.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::error::Error;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::process::{DEADLINE, Process};
use crate::serve::server;

/// A WebSocket as a page of this origin opens it, or the status it is refused with.
fn open_from(origin: Option<&str>, authority: &str, path: &str) -> Result<WebSocket<TcpStream>, u16> {
    // Little room to receive, so that whoever does not read is noticed soon.
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    stream.set_recv_buffer_size(16 << 10).unwrap();
    stream.connect(&authority.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut request = format!("ws://{authority}{path}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn open(authority: &str, path: &str) -> Result<WebSocket<TcpStream>, u16> {
    open_from(Some(&format!("http://{authority}")), authority, path)
}

struct Page {
    watcher: WebSocket<TcpStream>,
    id: String,
}

impl Page {
    fn open(authority: &str) -> Self {
        let mut watcher = open(authority, "/learn/watch").unwrap();
        let hello = hear(&mut watcher);
        Self { watcher, id: hello["id"].as_str().unwrap().to_owned() }
    }

    fn echo(&self, authority: &str, query: &str) -> Result<WebSocket<TcpStream>, u16> {
        open(authority, &format!("/learn/echo?watch={}{query}", self.id))
    }

    /// The next thing seen of this kind.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            let seen = hear(&mut self.watcher);
            if seen["seen"] == kind {
                return seen;
            }
        }
    }

    /// What is answered to an order.
    fn order(&mut self, order: &str) -> Value {
        self.watcher.send(Message::text(order)).unwrap();
        loop {
            let seen = hear(&mut self.watcher);
            if let Some("done" | "fragment" | "refusal") = seen["seen"].as_str() {
                return seen;
            }
        }
    }
}

fn hear(socket: &mut WebSocket<TcpStream>) -> Value {
    match socket.read().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("nothing is told for so long that there is {other:?}"),
    }
}

/// The code of the Close that comes next.
fn code_of(socket: &mut WebSocket<TcpStream>) -> u16 {
    loop {
        if let Message::Close(close) = socket.read().unwrap() {
            return close.map_or(1005, |close| close.code.into());
        }
    }
}

fn serve() -> (Process, String) {
    server(&[])
}

#[test]
fn a_watcher_is_shown_the_handshake_the_frames_and_the_end() {
    let (_server, authority) = serve();
    let mut page = Page::open(&authority);
    let mut echo = page.echo(&authority, "").unwrap();
    let request = page.next("request");
    assert!(request["head"].as_str().unwrap().starts_with(&format!("GET /learn/echo?watch={}", page.id)), "{request}");
    let answer = page.next("answer");
    assert!(answer["head"].as_str().unwrap().starts_with("HTTP/1.1 101 "), "{answer}");
    let states = page.next("states");
    assert_eq!((&states["client"], &states["server"]), (&json!("open"), &json!("open")));

    echo.send(Message::text("Hello")).unwrap();
    assert_eq!(echo.read().unwrap(), Message::text("Hello"));
    let (asked, message, answered) = (page.next("frame"), page.next("message"), page.next("frame"));
    assert_eq!(asked["offset"], request["head"].as_str().unwrap().len());
    let header = asked["header"].as_str().unwrap();
    assert!(header.len() == 12 && header.starts_with("8185"), "{asked}");
    assert_eq!(
        (&asked["from"], &asked["length"], &asked["plain"]),
        (&json!("client"), &json!(5), &json!("48656c6c6f"))
    );
    assert_ne!(asked["wire"], asked["plain"], "what passed was masked");
    assert_eq!((&message["text"], &message["payload"]), (&json!(true), &json!("48656c6c6f")));
    assert_eq!((&answered["from"], &answered["header"]), (&json!("server"), &json!("8105")));
    assert_eq!(answered["wire"], "48656c6c6f");

    echo.close(Some(CloseFrame { code: CloseCode::Normal, reason: "bye".into() })).unwrap();
    assert_eq!(code_of(&mut echo), 1000);
    assert_eq!(page.next("frame")["plain"], "03e8627965");
    assert_eq!(page.next("frame")["header"], "8802");
    let closed = page.next("closed");
    assert_eq!((&closed["code"], &closed["clean"], &closed["by"]), (&json!(1000), &json!(true), &json!("client")));
    page.echo(&authority, "").expect("it may watch another then");
}

#[test]
fn a_page_orders_what_browsers_cannot_do() {
    let (_server, authority) = serve();
    let mut page = Page::open(&authority);
    assert_eq!(page.order(r#"{"ping": ""}"#)["sentence"], "nothing is connected");
    let mut echo = page.echo(&authority, "&deflate=no").unwrap();
    // Frames of so many bytes, but no more than 64 of them.
    for (fragment, len, frames) in [(0, 10, 1), (3, 10, 4), (10, 10, 1), (1, 64, 64), (1, 65, 33), (3, 70_000, 64)] {
        assert_eq!(page.order(&json!({ "fragment": fragment }).to_string())["fragment"], fragment);
        let text = "x".repeat(len);
        echo.send(Message::text(&*text)).unwrap();
        assert_eq!(echo.read().unwrap(), Message::text(text));
        let (sent, answered) = (page.next("message"), page.next("message"));
        assert_eq!((&sent["frames"], &answered["frames"]), (&json!(1), &json!(frames)), "{len} bytes by {fragment}");
        assert_eq!(answered["payload"].as_str().unwrap().len(), 2 * len.min(4096), "so much is shown");
    }
    assert_eq!(page.order(r#"{"ping": "there?"}"#)["seen"], "done");
    assert_eq!(echo.read().unwrap(), Message::Ping("there?".into()));
    for order in ["{", "[]", "{}", r#"{"jump": 1}"#, r#"{"close": 1006}"#, r#"{"close": 70000}"#] {
        assert_eq!(page.order(order)["seen"], "refusal", "{order}");
    }
    assert_eq!(page.order(&json!({ "ping": "x".repeat(126) }).to_string())["seen"], "refusal");
    assert_eq!(page.order(r#"{"close": 4000, "reason": "enough"}"#)["seen"], "done");
    assert_eq!(code_of(&mut echo), 4000);
    assert_eq!(page.next("closed")["by"], "server");
}

#[test]
fn nobody_watches_who_was_not_told_the_name() {
    let (_server, authority) = serve();
    let page = Page::open(&authority);
    let path = format!("/learn/echo?watch={}", page.id);
    assert_eq!(page.id.len(), 32);
    for (origin, path, status) in [
        (None, "/learn/watch", 403),
        (Some("https://elsewhere.example"), "/learn/watch", 403),
        (Some("null"), &path, 403),
        (Some("https://elsewhere.example"), &path, 403),
        (Some("http://localhost"), "/learn/echo", 403),
        (Some("http://localhost"), "/learn/echo?watch=", 403),
        (Some("http://localhost"), "/learn/echo?watch=00000000000000000000000000000000", 403),
        (Some("http://localhost"), "/learn/other", 404),
        (Some("http://localhost"), "/learn/", 404),
    ] {
        assert_eq!(open_from(origin, &authority, path).err(), Some(status), "{origin:?} {path}");
    }
    let _echo = page.echo(&authority, "").unwrap();
    assert_eq!(page.echo(&authority, "").err(), Some(409), "one at a time");
}

#[test]
fn pages_have_limits() {
    let (_server, authority) = serve();
    let mut pages: Vec<Page> = (0..16).map(|_| Page::open(&authority)).collect();
    assert_eq!(open(&authority, "/learn/watch").err(), Some(503));
    let mut echo = pages[0].echo(&authority, "").unwrap();
    let mut page = pages.remove(0);
    page.watcher.send(Message::text("x".repeat(1025))).unwrap();
    loop {
        // It may have been told of the handshake.
        match page.watcher.read().unwrap() {
            Message::Close(Some(close)) => break assert_eq!(u16::from(close.code), 1009),
            other => assert!(other.is_text(), "{other}"),
        }
    }
    assert_eq!(code_of(&mut echo), 1001, "nobody watches any more");
    drop(page);

    let mut page = Page::open(&authority);
    let mut echo = page.echo(&authority, "").unwrap();
    echo.send(Message::binary(vec![0; (256 << 10) + 1])).unwrap();
    assert_eq!(code_of(&mut echo), 1009);
    assert_eq!(page.next("closed")["code"], 1009);
}

#[test]
fn a_watcher_that_reads_nothing_is_told_how_much_it_has_missed() {
    let (_server, authority) = serve();
    let mut page = Page::open(&authority);
    let mut echo = page.echo(&authority, "&deflate=no").unwrap();
    let message = Message::binary(vec![7; 4096]);
    // Each is 50 KiB of JSON, and the sockets between hold a few MiB.
    for _ in 0..300 {
        echo.send(message.clone()).unwrap();
        assert_eq!(echo.read().unwrap(), message);
    }
    let (mut seen, mut missed) = (0, 0);
    while missed == 0 {
        let news = hear(&mut page.watcher);
        seen += 1;
        missed = if news["seen"] == "missed" { news["count"].as_u64().unwrap() } else { 0 };
    }
    // Both frames and both messages of each, and the handshake.
    assert!(seen > 100 && seen + missed > 1200, "{seen} seen, {missed} missed");
    echo.close(None).unwrap();
    assert_eq!(code_of(&mut echo), 1005);
    assert_eq!(page.next("closed")["code"], 1005, "it goes on");
}
