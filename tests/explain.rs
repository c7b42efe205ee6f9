//! What a conversation watched from outside is seen to say.

mod counting;

use std::time::Instant;

use counting::usage;
use loopwire::deflate::{Compressor, DeflateConfig, DeflateParams};
use loopwire::explain::{Conversation, EndpointState, Seen};
use loopwire::protocol::Role;
use loopwire::wire::Rule;

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// Who sends what, in turn.
type Parts<'p> = &'p [(Role, &'p [u8])];

/// What is seen in these bytes, each direction's cut into pieces of `size`; a handshake before frames is in order.
fn seen(parts: Parts<'_>, size: usize) -> (Vec<String>, Vec<&'static str>) {
    let mut conversation = Conversation::new(Instant::now());
    let (mut sentences, mut broken) = (Vec::new(), Vec::new());
    let mut see = |seen: Seen<'_>| {
        if let Seen::Violation(violation) = seen {
            broken.push(violation.rule().id);
        }
        sentences.push(seen.to_string());
    };
    for (from, bytes) in parts {
        for piece in bytes.chunks(size) {
            conversation.push(*from, piece, &mut see);
        }
    }
    conversation.end(Role::Client, &mut see);
    conversation.end(Role::Server, &mut see);
    (sentences, broken)
}

/// The same for frames behind a handshake, with compression or without; and that the pieces make no difference.
fn frames(deflate: bool, parts: Parts<'_>) -> (Vec<String>, Vec<&'static str>) {
    let extension: &[u8] = if deflate { b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n" } else { b"\r\n" };
    let answer = [ANSWER, extension].concat();
    let all: Vec<_> = [(Role::Client, REQUEST), (Role::Server, &answer[..])].iter().chain(parts).copied().collect();
    let whole = seen(&all, usize::MAX);
    for size in [1, 2, 3, 7] {
        assert_eq!(seen(&all, size), whole, "in pieces of {size}");
    }
    (whole.0[2..].to_owned(), whole.1)
}

#[test]
fn the_rfc_s_own_examples_are_told() {
    // [RFC 6455 §5.7, RFC 7692 §7.2.3.1]
    let rows: &[(bool, Role, &[u8], &[&str])] = &[
        (
            false,
            Role::Server,
            b"\x81\x05Hello",
            &["server sends text fin, 5 bytes", "server's message: text, 5 bytes: \"Hello\""],
        ),
        (
            false,
            Role::Client,
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
            &["client sends text fin, 5 bytes, masked", "client's message: text, 5 bytes: \"Hello\""],
        ),
        (
            false,
            Role::Server,
            b"\x01\x03Hel\x80\x02lo",
            &[
                "server sends text, 3 bytes",
                "server sends continuation fin, 2 bytes",
                "server's message: text, 5 bytes in 2 frames: \"Hello\"",
            ],
        ),
        (false, Role::Server, b"\x89\x05Hello", &["server sends ping fin, 5 bytes: \"Hello\""]),
        (
            true,
            Role::Server,
            b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
            &["server sends text fin rsv1, 7 bytes", "server's message: text, 5 bytes, 7 on the wire: \"Hello\""],
        ),
    ];
    for (deflate, from, bytes, expected) in rows {
        let (sentences, broken) = frames(*deflate, &[(*from, bytes)]);
        assert_eq!(sentences[..expected.len()], **expected);
        assert_eq!(sentences.len(), expected.len() + 2, "and both ends");
        assert!(broken.is_empty());
    }
}

#[test]
fn a_broken_rule_is_seen_once_and_what_follows_is_not_judged() {
    let rows: &[(Role, &[u8], &Rule)] = &[
        (Role::Client, b"\x81\x01A\x81\x01A", Rule::MASK_MISSING),
        (Role::Server, b"\x81\x81\0\0\0\0A", Rule::MASK_FORBIDDEN),
        (Role::Server, b"\x83\x00", Rule::RESERVED_OPCODE),
        (Role::Server, b"\xa1\x00", Rule::RESERVED_BIT),
        (Role::Server, b"\x09\x00\x83\x00", Rule::FRAGMENTED_CONTROL_FRAME),
        (Role::Server, b"\x89\x7e\x00\x7e", Rule::CONTROL_FRAME_TOO_LONG),
        (Role::Server, b"\x82\x7e\x00\x01A\xff\xff", Rule::LENGTH_NOT_MINIMAL),
        (Role::Server, b"\x82\x7f\x80\0\0\0\0\0\0\0", Rule::LENGTH_TOP_BIT),
        (Role::Server, b"\x80\x00", Rule::CONTINUATION_UNEXPECTED),
        (Role::Server, b"\x01\x00\x01\x00", Rule::CONTINUATION_EXPECTED),
        (Role::Server, b"\x81\x05ab\xffcd", Rule::INVALID_UTF8),
        (Role::Server, b"\x88\x01A", Rule::CLOSE_TOO_SHORT),
        (Role::Server, b"\x88\x02\x03\xed", Rule::CLOSE_CODE_INVALID),
        (Role::Server, b"\x88\x03\x03\xe8\xff", Rule::CLOSE_REASON_NOT_UTF8),
        (Role::Server, b"\x88\x00\x81\x01A\x82\x01B", Rule::DATA_AFTER_CLOSE),
    ];
    for (from, bytes, rule) in rows {
        let (sentences, broken) = frames(false, &[(*from, bytes)]);
        assert_eq!(broken, [rule.id], "{sentences:#?}");
    }
}

#[test]
fn what_is_broken_in_a_handshake_is_told_too() {
    let wrong = ANSWER.to_ascii_lowercase();
    let rows: &[(Parts<'_>, &[&str])] = &[
        (&[(Role::Client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (Role::Server, b"HTTP/1.1 200 OK\r\n\r\n")], &[]),
        (&[(Role::Client, b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")], &["host-missing"]),
        (&[(Role::Client, REQUEST), (Role::Server, &wrong), (Role::Server, b"\r\n")], &["start-line"]),
        (&[(Role::Client, REQUEST), (Role::Server, b"HTTP/1.1 101 OK\r\n\r\n")], &["answer-upgrade"]),
        (&[(Role::Client, REQUEST), (Role::Server, b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")], &[]),
        (&[(Role::Client, REQUEST), (Role::Client, b"\x89\x80\0\0\0\0")], &["data-before-answer"]),
    ];
    for (parts, expected) in rows {
        let whole = seen(parts, usize::MAX);
        assert_eq!(whole.1, *expected, "{:#?}", whole.0);
        assert_eq!(seen(parts, 1), whole);
    }
}

#[test]
fn the_states_of_both_ends_follow_the_closes() {
    use EndpointState::{Closed, Closing, Connecting, Open};
    let mut conversation = Conversation::new(Instant::now());
    let states = |conversation: &Conversation| [Role::Client, Role::Server].map(|role| conversation.state(role));
    let mut see = |_: Seen<'_>| {};
    conversation.push(Role::Client, REQUEST, &mut see);
    assert_eq!(states(&conversation), [Connecting; 2]);
    conversation.push(Role::Server, &[ANSWER, b"\r\n"].concat(), &mut see);
    assert_eq!(states(&conversation), [Open; 2]);
    conversation.push(Role::Client, b"\x88\x80\0\0\0\0", &mut see);
    let (by_client, by_server) = (Closing { sent: true, received: false }, Closing { sent: false, received: true });
    assert_eq!(states(&conversation), [by_client, by_server]);
    conversation.push(Role::Server, b"\x88\x00", &mut see);
    assert_eq!(states(&conversation), [Closed; 2]);
}

#[test]
fn whatever_is_seen_is_explained_in_eighty_columns() {
    let answer = [ANSWER, b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"].concat();
    let frames = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x01\x02\xce\xba\x00\x01\xe1\
        \x80\x03\xbd\xb9a\x89\x02\x1b[\x88\x05\x03\xe8bye";
    let mut conversations = 0;
    // A byte of the handshake or of the frames is another one, is missing, or is there twice; at each place one of these.
    for (part, bytes) in [REQUEST, &answer, frames].into_iter().enumerate() {
        for at in 0..bytes.len() {
            let twice = bytes[at..=at].repeat(2);
            let others = [&[0x00][..], b"\xff", b"\x1b", b"\x81", b"\r\n", b"", &twice];
            let other = others[at % others.len()];
            let mut parts = [REQUEST.to_vec(), answer.clone(), frames.to_vec()];
            parts[part].splice(at..=at, other.iter().copied());
            let mut conversation = Conversation::new(Instant::now());
            let mut see = |seen: Seen<'_>| {
                let text = seen.detail().to_string();
                for line in text.lines() {
                    assert!(line.chars().count() <= 80 && !line.contains(|c: char| c.is_control()), "{line:?}");
                }
                assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
            };
            conversation.push(Role::Client, &parts[0], &mut see);
            conversation.push(Role::Server, &[&parts[1][..], &parts[2]].concat(), &mut see);
            conversation.end(Role::Client, &mut see);
            conversation.end(Role::Server, &mut see);
            conversations += 1;
        }
    }
    assert!(conversations > 300, "{conversations}");
}

#[test]
fn what_inflates_to_very_much_takes_little_memory_to_watch() {
    let mut bomb = Vec::new();
    Compressor::new(15, false, &DeflateConfig::default().level(9)).compress(&vec![0; 16 << 20], true, &mut bomb);
    let len = u16::try_from(bomb.len()).unwrap();
    let bytes = [&[0xC2, 126][..], &len.to_be_bytes(), &bomb].concat();
    let mut conversation = Conversation::of_frames(Some(DeflateParams::default()), Instant::now());
    let mut inflated = 0;
    let usage = usage(|| {
        conversation.push(Role::Server, &bytes, &mut |seen| {
            if let Seen::Message { message, .. } = seen {
                inflated = message.len;
            }
        });
    });
    assert_eq!(inflated, 16 << 20);
    assert!(usage.peak < 4 << 20, "{usage:?}");
}
