//! Plain HTTP on the WebSocket port: what is answered, and what can never be smuggled past an answer.

mod support;

use std::any::Any;
use std::sync::mpsc::{self, Sender};
use std::thread;

use loopwire::{
    ConnectionId, Connections, Handler, HttpAnswer, HttpExchange, HttpRequest, HttpResponse, PeerAddr, PreparedMessage,
    Server, ServerHandle,
};
use support::{Heard, PATIENCE, Running, masked, request, teller};

/// The status, the fields and the body.
fn exchange(server: &Running, bytes: impl AsRef<[u8]>) -> (u16, String, String) {
    let mut raw = server.raw();
    raw.send(bytes);
    let answer = String::from_utf8(raw.all()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(head.contains("\r\nConnection: close"), "{head}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer: {answer}");
    (status, format!("{head}\r\n"), body.to_owned())
}

fn plain(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[test]
fn a_plain_request_is_told_what_there_is() {
    let (teller, _ear) = teller();
    let server = Running::start(Server::builder().paths(["/ws"]), teller);
    // method, path, status, a field
    let rows = [
        ("GET", "/healthz", 200, "Content-Length: 3\r\n"),
        ("HEAD", "/healthz", 200, "Content-Length: 3\r\n"),
        ("GET", "/ws", 426, "Upgrade: websocket\r\n"),
        ("GET", "/ws?x=y", 426, "Upgrade: websocket\r\n"),
        ("HEAD", "/ws", 426, "Upgrade: websocket\r\n"),
        ("POST", "/ws", 405, "Allow: GET\r\n"),
        ("GET", "/", 404, ""),
        ("GET", "/ws/", 404, ""),
        ("GET", "/WS", 404, ""),
        ("DELETE", "/healthz", 404, ""),
        ("OPTIONS", "/ws", 405, "Allow: GET\r\n"),
    ];
    for (method, path, status, field) in rows {
        let (found, head, body) = exchange(&server, plain(method, path));
        assert_eq!(found, status, "{method} {path}");
        assert!(head.contains(field), "{method} {path}: {head}");
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}: {body}");
    }
    assert_eq!(exchange(&server, plain("GET", "/healthz")).2, "ok\n");
    assert_eq!(server.handle.metrics().http_requests, rows.len() as u64 + 1);
}

#[test]
fn without_paths_a_websocket_is_anywhere_and_health_is_still_told() {
    let (teller, _ear) = teller();
    let server = Running::start(Server::builder(), teller);
    assert_eq!(exchange(&server, plain("GET", "/healthz")).0, 200);
    assert_eq!(exchange(&server, plain("GET", "/any/where")).0, 426);
    server.raw().upgrade("/any/where");
    server.raw().upgrade("/healthz");
}

#[test]
fn a_handler_answers_what_it_likes() {
    struct Pages;
    impl Handler for Pages {
        fn on_http(&mut self, _: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
            assert!(exchange.peer.ip().unwrap().is_loopback());
            match exchange.request.path() {
                "/page" => HttpResponse::new(200).with_body("text/html", "<p>here").into(),
                "/healthz" => HttpResponse::text(503, "not yet\n").into(),
                "/moved" => HttpResponse::new(302).with_field("Location", "/page").unwrap().into(),
                "/nothing" => HttpResponse::new(204).into(),
                _ => HttpAnswer::Default,
            }
        }
    }
    let server = Running::start(Server::builder(), Pages);
    let (status, head, body) = exchange(&server, plain("GET", "/page"));
    assert_eq!((status, body.as_str()), (200, "<p>here"));
    assert!(head.contains("Content-Type: text/html\r\n"));
    let (status, head, body) = exchange(&server, plain("HEAD", "/page"));
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(head.contains("Content-Length: 7\r\n"));
    assert_eq!(exchange(&server, plain("GET", "/healthz")).0, 503);
    assert!(exchange(&server, plain("GET", "/moved")).1.contains("Location: /page\r\n"));
    assert!(!exchange(&server, plain("GET", "/nothing")).1.contains("Content-Length"));
    assert_eq!(exchange(&server, plain("GET", "/other")).0, 426, "the rest is the server's");
}

#[test]
fn nothing_behind_an_answer_is_ever_a_request() {
    let post = "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";
    let version = request("/").replace("Version: 13", "Version: 99");
    let length = request("/").replace("Version: 13", "Version: 13\r\nContent-Length: 5");
    let chunked = request("/").replace("Version: 13", "Version: 13\r\nTransfer-Encoding: chunked");
    let both = plain("POST", "/").replace("Host", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nHost");
    let twice = plain("POST", "/").replace("Host", "Content-Length: 4\r\nContent-Length: 5\r\nHost");
    let rows = [
        ("a bad version", version, 426, vec![]),
        ("a body", length, 400, vec![]),
        ("a chunked body", chunked, 400, vec![]),
        ("both lengths", both, 400, vec![]),
        ("two lengths", twice, 400, vec![]),
        ("a plain request", plain("GET", "/x"), 426, vec![Heard::Http("GET /x".into())]),
        ("a post", post.to_owned(), 405, vec![Heard::Http("POST /api/publish".into())]),
        ("refused by the handler", request("/status/403"), 403, vec![Heard::Upgrade("/status/403".into())]),
    ];
    for (what, first, status, heard) in rows {
        let (teller, ear) = teller();
        let server = Running::start(Server::builder(), teller);
        let both = [first.as_bytes(), post.as_bytes(), &masked(0x81, b"Hello")].concat();
        assert_eq!(exchange(&server, &both).0, status, "{what}");
        server.ask(|_| ());
        assert_eq!(ear.rest(), heard, "{what}");
    }
}

#[test]
fn what_comes_with_the_request_is_not_lost() {
    let (teller, _ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let mut raw = server.raw();
    raw.send([request("/").as_bytes(), &masked(0x81, b"first"), &masked(0x89, b"p"), &masked(0x88, b"")].concat());
    raw.head();
    assert_eq!(raw.all(), b"\x81\x05first\x8a\x01p\x88\x00");
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Takes bodies, and has the test answer: who asked with what goes to a channel.
struct Asked(Sender<(ConnectionId, String)>);

impl Handler for Asked {
    fn body_limit(&mut self, request: &HttpRequest, peer: &PeerAddr) -> usize {
        assert!(peer.ip().unwrap().is_loopback());
        if request.method() == "POST" { 1 << 20 } else { 0 }
    }

    fn on_http(&mut self, connections: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        let body = String::from_utf8(exchange.body.to_vec()).unwrap();
        match exchange.request.path() {
            "/broadcast" => {
                let pushed = connections.broadcast(&PreparedMessage::new(&body));
                HttpResponse::text(200, &pushed.sent.to_string()).into()
            }
            "/within" => {
                assert!(connections.respond(exchange.id, HttpResponse::text(200, "from within the call")));
                HttpAnswer::Later
            }
            _ => {
                self.0.send((exchange.id, body)).unwrap();
                HttpAnswer::Later
            }
        }
    }
}

#[test]
fn a_request_s_body_is_pushed_to_the_sockets() {
    let server = Running::start(Server::builder(), Asked(mpsc::channel().0));
    let mut peers: Vec<_> = (0..3).map(|_| server.raw().upgrade("/")).collect();
    server.wait_until("all are open", |server| server.handle.metrics().connections_open == 3);
    let large = "x".repeat(1 << 20);
    for text in ["Hello", &large] {
        assert_eq!(exchange(&server, post("/broadcast", text)).2, "3");
        for peer in &mut peers {
            let frame = PreparedMessage::new(text).frame();
            peer.expect(frame.as_ref());
        }
    }
    assert_eq!(exchange(&server, post("/broadcast", &(large + "x"))).0, 413);
}

#[test]
fn another_thread_answers_when_it_is_done() {
    let (asks, asked) = mpsc::channel();
    let server = Running::start_each(Server::builder().loops(2), move |_| Asked(asks.clone()));
    let handle: ServerHandle = server.handle.clone();
    thread::spawn(move || {
        let waiting: Vec<_> = (0..4).map(|_| asked.recv_timeout(PATIENCE).unwrap()).collect();
        // In another order than they came.
        for (id, body) in waiting.into_iter().rev() {
            handle.respond(id, HttpResponse::text(202, &format!("{body} is kept"))).unwrap();
            handle.respond(id, HttpResponse::text(500, "twice")).unwrap();
        }
    });
    thread::scope(|scope| {
        for number in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let (status, _, body) = exchange(server, post("/api/publish", &number.to_string()));
                assert_eq!((status, body), (202, format!("{number} is kept")));
            });
        }
    });
    assert_eq!(exchange(&server, plain("GET", "/within")).2, "from within the call");
}

#[test]
fn a_loop_answers_what_another_was_asked() {
    struct Forward(ServerHandle);
    impl Handler for Forward {
        fn on_http(&mut self, _: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
            self.0.post(usize::from(1 - exchange.id.loop_index()), exchange.id).unwrap();
            HttpAnswer::Later
        }
        fn on_task(&mut self, connections: &mut Connections<'_>, id: Box<dyn Any + Send>) {
            let id: ConnectionId = *id.downcast().unwrap();
            assert!(connections.respond(id, HttpResponse::text(200, "from over there")));
        }
    }
    let server = Server::builder().listen("127.0.0.1:0").loops(2).build().unwrap();
    let server = Running::of(server, |server| {
        let handle = server.handle();
        server.run_each(move |_| Forward(handle.clone()))
    });
    for _ in 0..10 {
        assert_eq!(exchange(&server, plain("GET", "/")).2, "from over there");
    }
}
