//! `loopwire diff`: the same or not is what was said, not how it came.

use serde_json::Value;

use crate::process::{Ended, loopwire, run};
use crate::recordings::{ACCEPT, File, KEY, OTHER_ACCEPT, OTHER_KEY, Passed, answer, recording, request};

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// A recording in which the client and the server say this behind a handshake that agrees on compression, and end.
fn talk(name: &str, client: &[u8], server: &[u8]) -> File {
    let (asks, says) = (request(KEY), answer(ACCEPT, DEFLATE));
    let passed: &[Passed<'_>] = &[
        (0, "client", Some(&asks)),
        (0, "server", Some(&says)),
        (0, "client", Some(client)),
        (0, "server", Some(server)),
        (0, "client", None),
        (0, "server", None),
    ];
    File::with(name, recording(passed))
}

fn diff(old: &File, new: &File, flags: &[&str]) -> Ended {
    run(loopwire(&[&["diff", old.path(), new.path()], flags].concat()), b"")
}

fn told(outcome: &Ended) -> &str {
    std::str::from_utf8(&outcome.stdout).unwrap()
}

#[test]
fn how_it_came_makes_no_difference() {
    let old = talk("how-old", b"\x81\x82\0\0\0\0Hi", b"\x81\x02Hi");
    let (asks, says) = (request(OTHER_KEY), answer(OTHER_ACCEPT, &format!("Date: now\r\n{DEFLATE}")));
    let (asks_start, asks_end) = asks.split_at(100);
    let passed: &[Passed<'_>] = &[
        (9, "client", Some(asks_start)),
        (9, "client", Some(asks_end)),
        (9, "server", Some(&says)),
        (9, "client", Some(b"\x81\x82\x01\x01\x01\x01I")),
        (9, "client", Some(b"h")),
        (9, "client", None),
        (9, "server", Some(b"\x81\x02H")),
        (9, "server", Some(b"i")),
        (9, "server", None),
    ];
    let new = File::with("how-new", recording(passed));
    let same = diff(&old, &new, &[]);
    assert_eq!((same.code, told(&same)), (Some(0), "the same was said: 1 connection, 14 things\n"));
    let exact = diff(&old, &new, &["--exact"]);
    assert_eq!(exact.code, Some(10));
    assert!(told(&exact).contains("- text fin [81 82 00 00 00 00], 2 bytes: \"Hi\"\n"), "{}", told(&exact));
    assert!(told(&exact).contains("+ text fin [81 82 01 01 01 01], 2 bytes: \"Hi\"\n"), "{}", told(&exact));
    assert_eq!(diff(&old, &old, &["--exact"]).code, Some(0));
}

#[test]
fn how_it_was_compressed_makes_none_either() {
    // Twice the RFC's "Hello": by a fixed code, and stored [RFC 7692 §7.2.3].
    let fixed = talk("fixed", b"", b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
    let stored = talk("stored", b"", b"\xc1\x0b\x00\x05\x00\xfa\xffHello\x00");
    let same = diff(&fixed, &stored, &[]);
    assert_eq!(same.code, Some(0), "{}", told(&same));
    assert_eq!(diff(&fixed, &stored, &["--exact"]).code, Some(10));
    let uncompressed = talk("uncompressed", b"", b"\x81\x05Hello");
    let other = diff(&fixed, &uncompressed, &[]);
    assert_eq!(other.code, Some(10), "whether it was compressed is said");
    assert!(
        told(&other).contains("- text fin rsv1, compressed\n- inflated text, 5 bytes: \"Hello\"\n"),
        "{}",
        told(&other)
    );
}

#[test]
fn what_was_said_otherwise_is_shown_in_its_place() {
    let old = talk("said-old", b"\x89\x80\0\0\0\0", b"\x81\x01A\x81\x01B\x81\x01C\x88\x02\x03\xe8");
    let new = talk("said-new", b"\x89\x80\0\0\0\0", b"\x81\x01A\x82\x01B\x01\x00\x80\x01C\x88\x02\x03\xe9");
    let outcome = diff(&old, &new, &[]);
    assert_eq!(outcome.code, Some(10));
    let expected = "connection 0, server:\n\
        \x20 5 the same\n\
        - text fin, 1 byte: \"B\"\n\
        - text fin, 1 byte: \"C\"\n\
        - close fin 1000 \"\"\n\
        + binary fin, 1 byte: \"B\"\n\
        + text, 0 bytes\n\
        + continuation fin, 1 byte: \"C\"\n\
        + close fin 1001 \"\"\n\
        \x20 1 the same\n\
        7 differences in 1 connection; 14 things are the same\n";
    assert_eq!(told(&outcome), expected, "and no colour in a pipe");

    let json = diff(&old, &new, &["--json"]);
    let objects: Vec<Value> = told(&json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((json.code, objects.len()), (Some(10), 8));
    assert_eq!(objects[0]["difference"], "only-in-a");
    assert_eq!((&objects[0]["from"], &objects[0]["at"]), (&"server".into(), &5.into()));
    assert_eq!(objects[7], serde_json::json!({"equal": false, "differences": 7, "same": 14}));
}

#[test]
fn long_payloads_differ_to_their_last_byte() {
    let long = |last| [b"\x82\x7e\x13\x88", &[b'a'; 4999][..], &[last]].concat();
    let (old, new) = (talk("long-old", b"", &long(b'a')), talk("long-new", b"", &long(b'b')));
    assert_eq!(diff(&old, &old, &[]).code, Some(0));
    let outcome = diff(&old, &new, &[]);
    assert_eq!(outcome.code, Some(10));
    assert!(told(&outcome).lines().all(|line| line.chars().count() <= 80), "{}", told(&outcome));
    assert_eq!(told(&outcome).matches("sha1").count(), 2, "{}", told(&outcome));
}

#[test]
fn broken_rules_ends_and_whole_connections_count() {
    let plain = talk("plain", b"\x89\x80\0\0\0\0", b"");
    let broken = talk("broken", b"\x89\x00", b"");
    let outcome = diff(&plain, &broken, &[]);
    assert_eq!((outcome.code, told(&outcome).contains("+ breaks a rule in a frame: mask-missing\n")), (Some(10), true));

    let text = std::fs::read_to_string(plain.path()).unwrap();
    let unended = File::with("unended", &text[..=text.trim_end().rfind('\n').unwrap()]);
    let outcome = diff(&plain, &unended, &[]);
    assert_eq!((outcome.code, told(&outcome).contains("- ends the stream\n")), (Some(10), true));

    let more = recording(&[(1, "client", Some(b"GET"))]);
    let more = File::with("more", text.clone() + more.split_once('\n').unwrap().1);
    let outcome = diff(&plain, &more, &[]);
    assert_eq!(outcome.code, Some(10));
    assert!(told(&outcome).starts_with("connection 1: only in B"), "{}", told(&outcome));
}

#[test]
fn what_cannot_be_read_is_no_difference() {
    let whole = talk("whole", b"", b"");
    let none = File::with("none", "");
    let outcome = diff(&whole, &none, &[]);
    assert_eq!((outcome.code, outcome.stdout.len()), (Some(1), 0));
    assert!(outcome.stderr.contains("is empty, and so no recording"), "{}", outcome.stderr);
    assert_eq!(run(loopwire(&["diff", whole.path(), "/nowhere/at.all"]), b"").code, Some(1));
    assert_eq!(run(loopwire(&["diff", "-", "-"]), b"").code, Some(2));
    let input = std::fs::read(whole.path()).unwrap();
    assert_eq!(run(loopwire(&["diff", "-", whole.path()]), &input).code, Some(0));
}

#[test]
fn one_connection_of_several_is_compared() {
    let other = [(4, "client", Some(&b"GET"[..])), (7, "client", Some(b"PUT")), (7, "client", None)];
    let several = File::with("several", recording(&other));
    let one = File::with("one", recording(&[(7, "client", Some(b"PUT")), (7, "client", None)]));
    let renumbered = File::with("renumbered", recording(&[(0, "client", Some(b"PUT")), (0, "client", None)]));
    let all = diff(&several, &one, &[]);
    assert_eq!(all.code, Some(10));
    assert!(told(&all).contains("connection 7: only in A"), "{}", told(&all));
    for (new, which) in [(&one, "7"), (&renumbered, "7,0"), (&several, "4"), (&several, "7, 7")] {
        let same = diff(&several, new, &["--connection", which]);
        assert_eq!(same.code, Some(0), "{which}: {}{}", told(&same), same.stderr);
        assert!(told(&same).starts_with("the same was said: 1 connection, "), "{}", told(&same));
    }
    let unlike = diff(&several, &renumbered, &["--connection=4,0"]);
    assert_eq!(unlike.code, Some(10));
    assert!(told(&unlike).starts_with("connection 4 of A, 0 of B, client:\n"), "{}", told(&unlike));

    for (which, code, part) in [
        ("5", 1, "there is no connection 5 in it"),
        ("7,8", 1, "there is no connection 8 in it"),
        ("7,", 2, "write a number"),
        ("all", 2, "write a number"),
    ] {
        let outcome = diff(&several, &one, &["--connection", which]);
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(code), 0), "{which}: {outcome:?}");
        assert!(outcome.stderr.contains(part), "{which}: {}", outcome.stderr);
    }
}
