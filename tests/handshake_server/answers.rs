//! What a server answers: the 101, and everything else.

use std::time::Duration;

use loopwire::handshake::{Acceptance, HandshakeError, Rejection, Response};

use crate::exchange::*;

#[test]
fn the_rfc_s_handshake_is_answered_byte_for_byte() {
    let response = accepted(&good()).response(&Acceptance::default()).unwrap();
    assert_eq!(
        String::from_utf8(response).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn nothing_that_an_application_adds_ends_a_line_or_takes_a_field_of_ours() {
    let request = accepted(&good());
    let add = |name: &str, value: &str| {
        let fields = vec![(name.to_owned(), value.to_owned())];
        request.response(&Acceptance { fields, ..Acceptance::default() })
    };
    let response = String::from_utf8(add("Set-Cookie", "a=b; Path=/").unwrap()).unwrap();
    assert!(response.ends_with("\r\nSet-Cookie: a=b; Path=/\r\n\r\n"), "{response}");
    for (name, value) in [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0b"),
        ("X:", "a"),
        ("X\r\nY", "a"),
        ("", "a"),
        ("é", "a"),
    ] {
        assert!(matches!(add(name, value), Err(HandshakeError::FieldInvalid(_))), "{name:?}: {value:?}");
        assert!(Response::new(200).with_field(name, value).is_err(), "{name:?}: {value:?}");
    }
    for name in
        ["Connection", "upgrade", "Content-Length", "Transfer-Encoding", "sec-websocket-accept", "Sec-WebSocket-X"]
    {
        assert!(matches!(add(name, "a"), Err(HandshakeError::FieldReserved(_))), "{name}");
    }
}

#[test]
fn what_the_layers_above_decide_has_its_status_too() {
    let soon = Some(Duration::from_millis(1500));
    let rows = [
        (Rejection::not_found(), 404, "not-found", ""),
        (Rejection::forbidden(), 403, "forbidden", ""),
        (Rejection::forbidden_origin("https://evil"), 403, "origin-forbidden", ""),
        (Rejection::unauthorized("Bearer realm=\"a\""), 401, "unauthorized", "WWW-Authenticate: Bearer realm=\"a\""),
        (Rejection::unauthorized("a\r\nb"), 401, "unauthorized", "WWW-Authenticate: Bearer"),
        (Rejection::unavailable(None), 503, "unavailable", ""),
        (Rejection::unavailable(soon), 503, "unavailable", "Retry-After: 2"),
        (Rejection::too_many_requests(soon), 429, "too-many-requests", "Retry-After: 2"),
        (Rejection::request_timeout(), 408, "request-timeout", ""),
        (Rejection::BodyTooLong(9), 413, "body-too-long", ""),
        (Rejection::BodyTimeout, 408, "body-timeout", ""),
        (Rejection::AnswerTimeout, 503, "answer-timeout", ""),
        (Rejection::Expectation("200-ok".to_owned()), 417, "expectation", ""),
        (Rejection::application(418), 418, "application", ""),
        (Rejection::application(200), 500, "application", ""),
    ];
    for (rejection, status, id, field) in rows {
        check_answer(&rejection, status, id);
        let (lines, _) = read_response(&rejection.response());
        assert!(field.is_empty() || lines.iter().any(|line| line == field), "{lines:?}");
    }
}

#[test]
fn the_versions_spoken_are_told_to_who_asks_for_another() {
    for head in [with("Sec-WebSocket-Version", "7"), without("Sec-WebSocket-Version")] {
        let (lines, _) = read_response(&rejected(&head).response());
        assert!(lines.contains(&"Sec-WebSocket-Version: 13, 8".to_owned()), "{lines:?}");
    }
}

#[test]
fn an_answer_states_its_length_and_leaves_its_body_out_for_head() {
    let response = Response::text(200, "ok").with_field("X-A", "b").unwrap();
    assert_eq!(
        String::from_utf8(response.encode(false)).unwrap(),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok"
    );
    assert!(response.encode(true).ends_with(b"Content-Length: 2\r\n\r\n"));
    let empty = String::from_utf8(Response::new(204).encode(false)).unwrap();
    assert_eq!(empty, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!(Response::new(101).status(), 500, "a 101 is not made here");
}

#[test]
fn what_a_client_sent_is_quoted_short_and_in_one_line() {
    let long = rejected(&with("Upgrade", "x".repeat(5000)));
    assert!(long.to_string().len() < 300, "{long}");
    let odd = rejected(&with("Sec-WebSocket-Protocol", "a\u{202e}\u{9b}2Jb"));
    assert!(odd.to_string().contains("\\u{202e}\\u{9b}"), "{odd}");
}
