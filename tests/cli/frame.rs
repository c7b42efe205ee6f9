//! `loopwire frame`: text becomes frames, and what a server says to them is told.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::Value;

use crate::process::{Ended, Process, loopwire, run};
use crate::recordings::File;

fn echo() -> (Process, String) {
    Process::server(&["echo", "--listen", "127.0.0.1:0"])
}

fn frame(arguments: &[&str]) -> Ended {
    run(loopwire(&[&["frame"], arguments].concat()), b"")
}

/// The sentences that are told, for programs.
fn sentences(outcome: &Ended) -> Vec<String> {
    let mut sentences = Vec::new();
    for line in std::str::from_utf8(&outcome.stdout).unwrap().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        sentences.push(value["sentence"].as_str().unwrap().to_owned());
    }
    sentences
}

#[test]
fn a_pipe_gets_the_very_bytes() {
    // [RFC 6455 §5.7]
    let rows: &[(&[&str], &[u8])] = &[
        (&["text fin \"Hello\""], b"\x81\x05Hello"),
        (&["text fin mask=37fa213d \"Hello\""], b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        (&["text \"Hel\"; cont fin \"lo\""], b"\x01\x03Hel\x80\x02lo"),
        (&["text \"Hel\"", "cont fin \"lo\""], b"\x01\x03Hel\x80\x02lo"),
        (&["--role", "client", "ping fin unmasked"], b"\x89\x00"),
    ];
    for (arguments, bytes) in rows {
        let outcome = frame(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(0), *bytes), "{}", outcome.stderr);
    }
    let lines = run(loopwire(&["frame"]), b"# two frames\nping fin\n\npong fin\n");
    assert_eq!((lines.code, lines.stdout.as_slice()), (Some(0), &b"\x89\x00\x8a\x00"[..]), "{}", lines.stderr);
    let masked = frame(&["--role", "client", "binary fin repeat(0x64, hex:00)"]);
    let (key, payload) = masked.stdout[2..].split_at(4);
    assert_eq!((masked.stdout[1], payload), (0x80 | 0x64, key.repeat(25).as_slice()));
}

#[test]
fn hexadecimal_has_each_frame_from_the_beginning_of_a_line() {
    let outcome = frame(&["--hex", "ping fin \"a\"; binary fin repeat(30, hex:ff)"]);
    let ff = |count| vec!["ff"; count].join(" ");
    let expected = format!("89 01 61\n82 1e {}\n{}\n", ff(22), ff(8));
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), expected);
}

#[test]
fn what_is_no_frame_is_told_with_its_place_and_nothing_is_written() {
    for (arguments, expected) in [
        (&["text fin Hello"][..], "error: column 10: \"Hello\" is neither"),
        (&["ping\npong\ntext \"Hello"], "error: line 3, column 6: the quote"),
        // As a shell leaves what was not quoted.
        (&["text", "fin", "Hel"], "error: frame argument 2, column 1: a frame begins with"),
        (&["text file:/nowhere/at.all"], "error: column 6: cannot read /nowhere/at.all: No such file"),
        (&["  # nothing"], "error: no frame was given"),
        (&["text", "--to", "http://localhost/"], "error: invalid value 'http://localhost/'"),
        (&["texd", "--to", "ws://127.0.0.1:1/"], "error: column 1: a frame begins with"),
    ] {
        let outcome = frame(arguments);
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(2), 0), "{arguments:?}");
        assert!(outcome.stderr.starts_with(expected), "{}", outcome.stderr);
    }
}

#[test]
fn a_server_is_sent_them_and_what_it_says_is_told() {
    let (_server, url) = echo();
    let payload = File::with("payload", "from a file");
    let file = format!("text fin file:\"{}\"", payload.path());
    let frames =
        ["text \"Hel\"; cont fin \"lo\"", "text fin rsv1 deflate(\"smaller\")", &file, "close fin 1000 \"bye\""];
    let outcome = frame(&[&["--json", "--to", &url], &frames[..]].concat());
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let sentences = sentences(&outcome);
    for expected in [
        "client's message: text, 5 bytes in 2 frames: \"Hello\"",
        "server's message: text, 5 bytes: \"Hello\"",
        "server's message: text, 7 bytes: \"smaller\"",
        "server's message: text, 11 bytes: \"from a file\"",
        "server sends close fin, 2 bytes: 1000",
        "server ends the stream",
    ] {
        assert!(sentences.iter().any(|told| told == expected), "{expected} is not in {sentences:#?}");
    }
    assert!(!sentences.iter().any(|told| told.contains("breaks")), "{sentences:#?}");
}

#[test]
fn a_broken_frame_gets_the_close_that_it_deserves() {
    let (_server, url) = echo();
    for (text, rule, owed) in [
        ("text fin unmasked \"Hello\"", "mask-missing", "1002"),
        ("opcode=3 fin", "reserved-opcode", "1002"),
        ("ping", "fragmented-control-frame", "1002"),
        ("binary fin len=64 \"A\"", "length-not-minimal", "1002"),
        ("binary fin declared=0x8000000000000000", "length-top-bit", "1002"),
        ("text fin hex:ff", "invalid-utf8", "1007"),
    ] {
        let outcome = frame(&["--to", &url, text]);
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let told = String::from_utf8(outcome.stdout).unwrap();
        assert!(told.contains(&format!("rule {rule};")), "{told}");
        assert!(told.lines().any(|line| line.contains("server sends close") && line.contains(owed)), "{told}");
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
        assert!(!told.contains('\x1b'), "a pipe has no colour");
    }
}

#[test]
fn a_server_over_tls_is_talked_to_as_well() {
    let (_server, url) = Process::server(&["echo", "--self-signed", "--listen", "127.0.0.1:0"]);
    let trusting = frame(&["--insecure", "--json", "--to", &url, "ping fin \"x\"; close fin"]);
    assert_eq!(trusting.code, Some(0), "{}", trusting.stderr);
    assert!(sentences(&trusting).iter().any(|told| told.starts_with("server sends pong")));
    let wary = frame(&["--to", &url, "ping fin"]);
    assert_eq!((wary.code, wary.stdout.len()), (Some(3), 0));
    assert!(wary.stderr.contains("--insecure"), "{}", wary.stderr);
}

#[test]
fn without_a_connection_there_is_one_sentence_and_its_code() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = frame(&["--to", &format!("ws://{free}/"), "ping fin"]);
    assert_eq!((nobody.code, nobody.stderr.lines().count()), (Some(3), 1), "{}", nobody.stderr);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "no frame is sent to a server that refuses");
    });
    let refused = frame(&["--to", &url, "ping fin"]);
    assert_eq!(refused.code, Some(3));
    assert!(String::from_utf8(refused.stdout).unwrap().contains("server refuses with 403"));
    server.join().unwrap();
}
