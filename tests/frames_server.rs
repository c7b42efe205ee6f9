//! What a server makes of every kind of frame: bytes → events, and the bytes it answers with; each row at every
//! chunking.

mod common;

use common::{Seen, at_every_chunking, binary, frame, masked, text};
use loopwire::protocol::{Config, Role};
use loopwire::wire::{CloseCode, Opcode, ProtocolError};

/// A row: what it is, what comes, what the application sees, what is answered.
struct Row(&'static str, Vec<u8>, Vec<Seen>, Vec<u8>);

fn check(config: &Config, rows: Vec<Row>) {
    for Row(name, bytes, seen, out) in rows {
        let (really_seen, really_out) = at_every_chunking(Role::Server, config, None, &bytes, name);
        assert_eq!(really_seen, seen, "{name}");
        assert_eq!(really_out, out, "{name}");
    }
}

/// The bytes that tell the peer which rule it broke.
fn told(error: ProtocolError) -> Vec<u8> {
    let rule = error.rule();
    frame(0x88, &[&error.close_code().0.to_be_bytes()[..], rule.sentence.as_bytes()].concat())
}

/// A row that fails at once with `error`.
fn fails(name: &'static str, bytes: Vec<u8>, error: ProtocolError) -> Row {
    Row(name, bytes, vec![Seen::Error(error)], told(error))
}

/// `parts`, one after the other.
fn all(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A masked header with this first byte and the 8-byte form of a length, and the key, but no payload.
fn long_header(first: u8, len: u64) -> Vec<u8> {
    all(&[&[first, 0xFF], &len.to_be_bytes(), &common::KEY])
}

#[test]
fn messages_arrive() {
    let hello = masked(0x81, b"Hello");
    let big = vec![7; 70_000];
    check(
        &Config::default(),
        vec![
            Row(
                "the RFC's masked Hello",
                b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(),
                vec![text("Hello")],
                vec![],
            ),
            Row("two in one read", all(&[&hello, &hello]), vec![text("Hello"), text("Hello")], vec![]),
            Row(
                "the RFC's fragmented Hello",
                all(&[&masked(0x01, b"Hel"), &masked(0x80, b"lo")]),
                vec![text("Hello")],
                vec![],
            ),
            Row("an empty text", masked(0x81, b""), vec![text("")], vec![]),
            Row(
                "a byte, then nothing",
                all(&[&masked(0x82, b"x"), &masked(0x82, b"")]),
                vec![binary(b"x"), binary(b"")],
                vec![],
            ),
            Row("125 bytes", masked(0x82, &big[..125]), vec![binary(&big[..125])], vec![]),
            Row("126 bytes", masked(0x82, &big[..126]), vec![binary(&big[..126])], vec![]),
            Row("65,535 bytes", masked(0x82, &big[..65_535]), vec![binary(&big[..65_535])], vec![]),
            Row("65,536 bytes", masked(0x82, &big[..65_536]), vec![binary(&big[..65_536])], vec![]),
            Row(
                "empty fragments around a full one (Autobahn 6.1.3)",
                all(&[&masked(0x01, b""), &masked(0x00, b"middle"), &masked(0x80, b"")]),
                vec![text("middle")],
                vec![],
            ),
            Row(
                "nothing but empty fragments (Autobahn 6.1.2)",
                all(&[&masked(0x01, b""), &masked(0x00, b""), &masked(0x80, b""), &masked(0x82, b"x")]),
                vec![text(""), binary(b"x")],
                vec![],
            ),
            Row(
                "a character cut by fragments",
                all(&[&masked(0x01, b"\xce"), &masked(0x00, b"\xba\xe1\xbd"), &masked(0x80, b"\xb9")]),
                vec![text("\u{3ba}\u{1f79}")],
                vec![],
            ),
        ],
    );
}

#[test]
fn pings_are_answered_in_order_also_between_fragments() {
    let ten: Vec<Vec<u8>> = (0..10_u8).map(|i| vec![i; usize::from(i)]).collect();
    let pinged: Vec<u8> = ten.iter().flat_map(|payload| masked(0x89, payload)).collect();
    let answers: Vec<u8> = ten.iter().flat_map(|payload| frame(0x8A, payload)).collect();
    let full = [0xFE; 125];
    check(
        &Config::default(),
        vec![
            Row("an empty ping", masked(0x89, b""), vec![Seen::Ping(vec![])], frame(0x8A, b"")),
            Row("a full ping", masked(0x89, &full), vec![Seen::Ping(full.to_vec())], frame(0x8A, &full)),
            Row("ten pings (Autobahn 2.10)", pinged, ten.into_iter().map(Seen::Ping).collect(), answers),
            Row("a pong that nobody asked for", masked(0x8A, b"hi"), vec![Seen::Pong(b"hi".to_vec())], vec![]),
            Row(
                "a ping between fragments (Autobahn 5.6)",
                all(&[&masked(0x01, b"Hel"), &masked(0x89, b"p"), &masked(0x80, b"lo")]),
                vec![Seen::Ping(b"p".to_vec()), text("Hello")],
                frame(0x8A, b"p"),
            ),
        ],
    );
}

#[test]
fn lengths_are_judged_on_the_header_alone() {
    use ProtocolError::{LengthNotMinimal, LengthTopBit, MessageTooBig};
    let limit = Config::default().max_message;
    let huge = |len| long_header(0x82, len);
    check(
        &Config::default(),
        vec![
            fails("the top bit and all others", huge(u64::MAX), LengthTopBit),
            fails("the top bit alone", huge(1 << 63), LengthTopBit),
            fails("the longest legal length", huge((1 << 63) - 1), MessageTooBig(limit)),
            fails("2^31", huge(1 << 31), MessageTooBig(limit)),
            fails("2^32, which narrows to 0", huge(1 << 32), MessageTooBig(limit)),
            fails("2^32 + 5, which narrows to 5", huge((1 << 32) + 5), MessageTooBig(limit)),
            fails("one more than the limit", huge(limit as u64 + 1), MessageTooBig(limit)),
            fails("125 in two bytes", vec![0x82, 0xFE, 0, 125], LengthNotMinimal(125)),
            fails("65,535 in eight bytes", long_header(0x82, 65_535)[..10].to_vec(), LengthNotMinimal(65_535)),
            fails(
                "a long continuation after a byte, which overflows a sum of usize",
                all(&[&masked(0x02, b"x"), &long_header(0x80, (1 << 63) - 1)]),
                MessageTooBig(limit),
            ),
        ],
    );
}

#[test]
fn a_message_may_be_as_long_as_the_limit_and_not_longer_however_it_is_cut() {
    let mut config = Config::default();
    config.max_message = 10;
    let too_big = ProtocolError::MessageTooBig(10);
    check(
        &config,
        vec![
            Row("at the limit", masked(0x82, &[1; 10]), vec![binary(&[1; 10])], vec![]),
            fails("over it", masked(0x82, &[1; 11])[..6].to_vec(), too_big),
            Row(
                "at the limit in fragments",
                all(&[&masked(0x02, &[1; 5]), &masked(0x00, b""), &masked(0x80, &[1; 5])]),
                vec![binary(&[1; 10])],
                vec![],
            ),
            fails("over it by the last fragment", all(&[&masked(0x02, &[1; 10]), &masked(0x80, &[1])]), too_big),
            fails(
                "over it by two of half a message",
                all(&[&masked(0x02, &[1; 6]), &masked(0x00, &[1; 5])[..6]]),
                too_big,
            ),
            Row(
                "each message for itself",
                all(&[&masked(0x82, &[1; 10]), &masked(0x82, &[2; 10])]),
                vec![binary(&[1; 10]), binary(&[2; 10])],
                vec![],
            ),
        ],
    );
}

#[test]
fn a_message_may_have_as_many_fragments_as_the_limit_empty_ones_included() {
    let mut config = Config::default();
    config.max_fragments = 4;
    let too_many = ProtocolError::TooManyFragments(4);
    let message = |payload: &[u8], continuations: usize| {
        let mut bytes = masked(0x02, payload);
        (1..continuations).for_each(|_| bytes.extend(masked(0x00, payload)));
        bytes.extend(masked(0x80, payload));
        bytes
    };
    let endless = |payload: &[u8]| all(&[&masked(0x02, payload), &masked(0x00, payload).repeat(5)]);
    check(
        &config,
        vec![
            Row("at the limit", message(b"x", 3), vec![binary(b"xxxx")], vec![]),
            fails("over it", message(b"x", 4), too_many),
            fails("over it, all empty", message(b"", 4), too_many),
            fails("endless, all empty", endless(b""), too_many),
            Row(
                "again at the limit",
                all(&[&message(b"", 3), &message(b"y", 3)]),
                vec![binary(b""), binary(b"yyyy")],
                vec![],
            ),
        ],
    );
}

#[test]
fn broken_frames_fail_with_their_rule() {
    use ProtocolError::*;
    let begun = masked(0x01, b"a");
    let after = |bytes: &[u8]| all(&[&begun, bytes]);
    let mut rows = vec![
        fails("RSV1 on text", masked(0xC1, b"a"), ReservedBit(1)),
        fails("RSV2 on text", masked(0xA1, b"a"), ReservedBit(2)),
        fails("RSV3 on text", masked(0x91, b"a"), ReservedBit(3)),
        fails("RSV1 on a ping", masked(0xC9, b""), ReservedBit(1)),
        fails("RSV2 on a close", masked(0xA8, b""), ReservedBit(2)),
        fails("RSV1 on a continuation", after(&masked(0xC0, b"")), ReservedBit(1)),
        fails("a reserved bit and no mask: the first byte counts", frame(0xC1, b"a"), ReservedBit(1)),
        fails("a continuation of nothing", masked(0x80, b"a"), ContinuationUnexpected),
        fails("an unfinished continuation of nothing", masked(0x00, b"a"), ContinuationUnexpected),
        fails("text in a message", after(&masked(0x81, b"b")), ContinuationExpected(Opcode::Text)),
        fails("binary in a message", after(&masked(0x02, b"b")), ContinuationExpected(Opcode::Binary)),
        fails("a fragmented ping", masked(0x09, b""), FragmentedControlFrame(Opcode::Ping)),
        fails("a fragmented close", masked(0x08, b""), FragmentedControlFrame(Opcode::Close)),
        fails("a ping of 126 bytes", masked(0x89, &[0; 126]), ControlFrameTooLong(Opcode::Ping)),
        fails("a pong of 2^63 - 1 bytes", long_header(0x8A, (1 << 63) - 1), ControlFrameTooLong(Opcode::Pong)),
        fails("a close of 126 bytes", masked(0x88, &[3; 126]), ControlFrameTooLong(Opcode::Close)),
        Row(
            "what came before a broken frame is delivered, what comes after is not (Autobahn 3.2, 4.1.3)",
            all(&[&masked(0x81, b"ok"), &masked(0x83, b""), &masked(0x81, b"lost"), &masked(0x89, b"lost")]),
            vec![text("ok"), Seen::Error(ReservedOpcode(3))],
            told(ReservedOpcode(3)),
        ),
    ];
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rows.push(fails("a reserved opcode", masked(0x80 | opcode, b""), ReservedOpcode(opcode)));
        rows.push(fails("a reserved opcode, unfinished", masked(opcode, b"x"), ReservedOpcode(opcode)));
    }
    // Unmasked: every opcode, all three forms of the length.
    for first in [0x81, 0x82, 0x88, 0x89, 0x8A] {
        rows.push(fails("no mask", frame(first, b"A"), MaskMissing));
        rows.push(fails("no mask, empty", frame(first, b""), MaskMissing));
    }
    rows.push(fails("no mask on a continuation", after(&frame(0x80, b"A")), MaskMissing));
    rows.push(fails("no mask, 16-bit length", frame(0x82, &[0; 200]), MaskMissing));
    rows.push(fails("no mask, 64-bit length", frame(0x82, &vec![0; 66_000]), MaskMissing));
    check(&Config::default(), rows);
}

#[test]
fn closes_are_answered_by_the_same_code_or_refused() {
    use ProtocolError::{CloseCodeInvalid, CloseReasonNotUtf8, CloseTooShort};
    let close = |code: u16, reason: &[u8]| masked(0x88, &[&code.to_be_bytes()[..], reason].concat());
    let echo = |code: u16| frame(0x88, &code.to_be_bytes());
    let seen = |code, reason: &str| Seen::Close(code, reason.to_owned());
    let mut rows = vec![
        Row("an empty close (Autobahn 7.3.1)", masked(0x88, b""), vec![seen(1005, "")], frame(0x88, b"")),
        Row("a reason", close(1000, "schön".as_bytes()), vec![seen(1000, "schön")], echo(1000)),
        Row("the longest reason", close(1001, &[b'r'; 123]), vec![seen(1001, &"r".repeat(123))], echo(1001)),
        Row(
            "a close inside a message, which is dropped (Autobahn 7.1.5)",
            all(&[&masked(0x01, b"lost"), &close(1000, b"")]),
            vec![seen(1000, "")],
            echo(1000),
        ),
        Row(
            "nothing after a close is heard, nor is a ping answered (Autobahn 7.1.3)",
            all(&[&close(1000, b""), &masked(0x89, b"p"), &masked(0x81, b"x"), &close(1001, b""), b"\xFF\xFF"]),
            vec![seen(1000, "")],
            echo(1000),
        ),
        Row(
            "a message, a ping, a close: all answered, in order",
            all(&[&masked(0x81, b"m"), &masked(0x89, b"p"), &close(4999, b"")]),
            vec![text("m"), Seen::Ping(b"p".to_vec()), seen(4999, "")],
            all(&[&frame(0x8A, b"p"), &echo(4999)]),
        ),
        fails("one byte (Autobahn 7.3.2)", masked(0x88, b"\x03"), CloseTooShort),
        fails("a reason that is not UTF-8 (Autobahn 7.5.1)", close(1000, b"\xff"), CloseReasonNotUtf8),
        fails("a reason cut inside a character", close(1000, b"a\xc3"), CloseReasonNotUtf8),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        rows.push(Row("a code that may be sent", close(code, b""), vec![seen(code, "")], echo(code)));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        rows.push(fails("a code that may not", close(code, b""), CloseCodeInvalid(CloseCode(code))));
        rows.push(fails("a code that may not, with a reason", close(code, b"r"), CloseCodeInvalid(CloseCode(code))));
    }
    check(&Config::default(), rows);
}

#[test]
fn text_that_is_not_utf8_fails_and_is_not_delivered() {
    let invalid = ProtocolError::InvalidUtf8;
    check(
        &Config::default(),
        vec![
            fails("a lone continuation byte", masked(0x81, b"\x80"), invalid),
            fails("a surrogate", masked(0x81, b"a\xed\xa0\x80b"), invalid),
            fails("overlong", masked(0x81, b"\xc0\xaf"), invalid),
            fails("above U+10FFFF", masked(0x81, b"\xf4\x90\x80\x80"), invalid),
            fails("ends inside a character", masked(0x81, b"\xe2\x82"), invalid),
            fails(
                "ends inside a character, in fragments",
                all(&[&masked(0x01, b"\xe2"), &masked(0x80, b"\x82")]),
                invalid,
            ),
            fails(
                "bad in the second fragment",
                all(&[&masked(0x01, b"ok"), &masked(0x00, b"\xff"), &masked(0x80, b"")]),
                invalid,
            ),
            Row("binary is not judged", masked(0x82, b"\xff\xfe"), vec![binary(b"\xff\xfe")], vec![]),
        ],
    );
}

#[test]
fn a_broken_frame_fails_at_the_first_byte_that_shows_it() {
    use ProtocolError::*;
    let within = |first: u8, payload: &[u8], shown: usize| masked(first, payload)[..6 + shown].to_vec();
    let rows: Vec<(&str, Vec<u8>, ProtocolError)> = vec![
        ("a reserved opcode", vec![0x83], ReservedOpcode(3)),
        ("a reserved bit", vec![0x91], ReservedBit(3)),
        ("a fragmented ping", vec![0x09], FragmentedControlFrame(Opcode::Ping)),
        ("a continuation of nothing", vec![0x80], ContinuationUnexpected),
        ("text in a message", all(&[&masked(0x01, b"a"), &[0x81]]), ContinuationExpected(Opcode::Text)),
        ("no mask", vec![0x81, 0x05], MaskMissing),
        ("a long ping", vec![0x89, 0xFE], ControlFrameTooLong(Opcode::Ping)),
        ("a length with the top bit", vec![0x82, 0xFF, 0x80], LengthTopBit),
        ("a close of one byte", masked(0x88, b"\x03")[..6].to_vec(), CloseTooShort),
        ("a bad close code", within(0x88, b"\x03\xec and why", 2), CloseCodeInvalid(CloseCode(1004))),
        ("a bad close reason", within(0x88, b"\x03\xe8ab\xffcd", 5), CloseReasonNotUtf8),
        ("F4 90, in an unfinished frame (Autobahn 6.4.3)", within(0x81, b"\xce\xba\xf4\x90\x80\x80ed", 4), InvalidUtf8),
        (
            "F4 90, in an unfinished message",
            all(&[&masked(0x01, b"ok\xf4"), &within(0x00, b"\x90\x80", 1)]),
            InvalidUtf8,
        ),
    ];
    for (name, bytes, error) in rows {
        let mut end = common::End::new(Role::Server, &Config::default(), None);
        let (last, before) = bytes.split_last().expect("a row has bytes");
        end.feed(before);
        assert_eq!(end.seen, [], "{name}: too early");
        end.feed(&[*last]);
        assert_eq!(end.seen, [Seen::Error(error)], "{name}");
        end.feed(&masked(0x89, b"after"));
        assert_eq!(end.out, told(error), "{name}");
    }
}
