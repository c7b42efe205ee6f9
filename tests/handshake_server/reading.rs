//! What is read of a request: target, fields, protocols and offers.

use loopwire::deflate::DeflateConfig;
use loopwire::handshake::{Acceptance, Body, HandshakeError, HeadLimits, Rejection, Request};

use crate::exchange::*;

#[test]
fn path_and_query_are_found_in_every_form_of_target() {
    let rows = [
        ("/", "/", None),
        ("/a/b", "/a/b", None),
        ("/a?", "/a", Some("")),
        ("/a?b=c&d", "/a", Some("b=c&d")),
        ("/a?b?c", "/a", Some("b?c")),
        ("/?http://x/", "/", Some("http://x/")),
        ("/%2e%2E/%00", "/%2e%2E/%00", None),
        ("http://example.com", "/", None),
        ("http://example.com?a", "/", Some("a")),
        ("http://example.com/a/b?c", "/a/b", Some("c")),
    ];
    for (target, path, query) in rows {
        let request = accepted(&line(format!("GET {target} HTTP/1.1")));
        assert_eq!((request.path(), request.query()), (path, query), "{target}");
        assert_eq!(request.request().target(), target);
        assert_eq!(request.host(), "example.com");
    }
}

#[test]
fn frames_behind_the_head_are_not_lost() {
    let frames = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\r\n\r\n";
    let (_, left) = shake_every_way(&[&good()[..], frames].concat()).expect("a handshake");
    assert_eq!(left, frames);
}

#[test]
fn a_field_given_twice_has_no_single_value() {
    let request = accepted(&plus("X-A: 1\r\nx-a: 2, 3\r\nX-B: \t4 \r\n"));
    let fields = request.fields();
    assert_eq!(fields.get("X-A"), None);
    assert_eq!(fields.all("X-A").collect::<Vec<_>>(), ["1", "2, 3"]);
    assert_eq!(fields.list("x-A").collect::<Vec<_>>(), ["1", "2", "3"]);
    assert_eq!(fields.get("x-b"), Some("4"));
    assert_eq!(fields.get("X-C"), None);
    assert_eq!(fields.len(), 8);
    assert_eq!(fields.iter().last(), Some(("X-B", "4")));
}

#[test]
fn a_value_is_text_even_if_it_is_not_utf_8() {
    let request = accepted(&plus(b"X-A: \xe9\xff\r\nX-B: \xc3\xa9\r\n"));
    assert_eq!(request.fields().get("X-A"), Some("éÿ"), "as ISO-8859-1");
    assert_eq!(request.fields().get("X-B"), Some("é"), "as UTF-8");
}

#[test]
fn printing_a_request_hides_what_may_be_a_secret() {
    let request = accepted(&plus("cookie: session=s3cret\r\nAuthorization: Bearer s3cret\r\nX-A: shown\r\n"));
    let printed = format!("{request:?}");
    assert!(printed.contains("shown") && !printed.contains("s3cret"), "{printed}");
    assert_eq!(request.fields().get("Cookie"), Some("session=s3cret"));
}

#[test]
fn protocols_are_read_in_order_and_one_of_them_may_be_chosen() {
    let request = accepted(&with_each("Sec-WebSocket-Protocol", &["chat, superchat", "v2.x~y"]));
    assert_eq!(request.protocols(), ["chat", "superchat", "v2.x~y"]);

    let choose =
        |protocol: &str| request.response(&Acceptance { protocol: Some(protocol.to_owned()), ..Acceptance::default() });
    let response = String::from_utf8(choose("superchat").unwrap()).unwrap();
    assert!(response.contains("\r\nSec-WebSocket-Protocol: superchat\r\n"), "{response}");
    for other in ["Chat", "", "chat, superchat", "chat\r\nX: y"] {
        assert!(matches!(choose(other), Err(HandshakeError::ProtocolNotOffered(_))), "{other:?}");
    }

    let none = request.response(&Acceptance::default()).unwrap();
    assert!(!String::from_utf8(none).unwrap().contains("Sec-WebSocket-Protocol"));
    check_answer(&Rejection::no_common_protocol(), 400, "no-common-protocol");
}

#[test]
fn bad_offers_are_declined_and_the_next_is_looked_at() {
    // The lines of Sec-WebSocket-Extensions, how many offers remain, the answer.
    let rows: &[(&[&str], usize, Option<&str>)] = &[
        (&["x-unknown"], 0, None),
        (&["x-webkit-deflate-frame, x-unknown; a=b; c=\"d\""], 0, None),
        (&["permessage-deflate"], 1, Some("permessage-deflate")),
        (&["Permessage-Deflate"], 0, None),
        (&["permessage-deflate; x"], 0, None),
        (&["permessage-deflate; server_no_context_takeover=1"], 0, None),
        (&["permessage-deflate; server_no_context_takeover; server_no_context_takeover"], 0, None),
        (&["permessage-deflate; server_max_window_bits"], 0, None),
        (&["permessage-deflate; server_max_window_bits=7"], 0, None),
        (&["permessage-deflate; server_max_window_bits=16"], 0, None),
        (&["permessage-deflate; server_max_window_bits=1000"], 0, None),
        (&["permessage-deflate; client_max_window_bits=008"], 0, None),
        (
            &["permessage-deflate; client_max_window_bits=\"10\""],
            1,
            Some("permessage-deflate; client_max_window_bits=10"),
        ),
        (&["x, permessage-deflate; x, permessage-deflate"], 1, Some("permessage-deflate")),
        (&["permessage-deflate; server_max_window_bits=7", "permessage-deflate"], 1, Some("permessage-deflate")),
        (&["permessage-deflate", "permessage-deflate; server_no_context_takeover"], 2, Some("permessage-deflate")),
    ];
    for (lines, offers, answer) in rows {
        let request = accepted(&with_each("Sec-WebSocket-Extensions", lines));
        assert_eq!(request.offers().len(), *offers, "{lines:?}");
        let deflate = DeflateConfig::default().answer(request.offers());
        let response = request.response(&Acceptance { deflate, ..Acceptance::default() }).unwrap();
        let response = String::from_utf8(response).unwrap();
        let found = response.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
        assert_eq!(found, *answer, "{lines:?}");
    }
}

#[test]
fn compression_is_not_agreed_to_where_none_was_offered() {
    let offered = accepted(&with("Sec-WebSocket-Extensions", "permessage-deflate"));
    let deflate = DeflateConfig::default().answer(offered.offers());
    assert!(deflate.is_some());
    let response = accepted(&good()).response(&Acceptance { deflate, ..Acceptance::default() });
    assert!(matches!(response, Err(HandshakeError::ExtensionNotOffered(_))));
}

#[test]
fn plain_requests_are_read_as_strictly_but_not_judged() {
    let limits = HeadLimits::default();
    let parse = |head: &str| Request::parse(head.as_bytes(), &limits);

    let post = parse("POST /api/publish?x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n").unwrap();
    assert_eq!((post.method(), post.path(), post.query()), ("POST", "/api/publish", Some("x")));
    assert_eq!((post.body(), post.wants_upgrade()), (Body::Length(12), false));
    let chunked = parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap();
    assert_eq!(chunked.body(), Body::Chunked);
    let old = parse("GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((old.is_http10(), old.host(), old.body()), (true, "", Body::None));

    let rows = [
        ("GET / HTTP/1.1\r\n\r\n", "host-missing"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "host-duplicate"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding"),
        ("", "incomplete-head"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "incomplete-head"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n", "incomplete-head"),
    ];
    for (head, id) in rows {
        assert_eq!(parse(head).unwrap_err().rule().id, id, "{head:?}");
    }
}
