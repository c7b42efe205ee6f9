//! `loopwire replay`: the same bytes again, however they are cut, and the same is said.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::process::{DEADLINE, Ended, Process, loopwire, run};
use crate::recordings::{ACCEPT, File, KEY, Passed, answer, recording, request};

fn replay(arguments: &[&str]) -> Ended {
    run(loopwire(&[&["replay"], arguments].concat()), b"")
}

/// A server that has one connection with whoever comes first.
fn peer(talk: impl FnOnce(TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let peer = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        talk(stream);
    });
    (url, peer)
}

/// Reads so many bytes, behind which nothing came without being asked for.
fn take(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    stream.set_nonblocking(true).unwrap();
    assert!(stream.peek(&mut [0]).is_err(), "what follows waits for an answer");
    stream.set_nonblocking(false).unwrap();
    bytes
}

#[test]
fn however_it_is_cut_the_same_is_said() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let rows = [
        "text fin \"Hello\"; text \"H\u{fc}\"; ping fin \"between\"; cont fin hex:c3 hex:bc; close fin 1000 \"bye\"",
        "text fin rsv1 deflate(\"Hello Hello\"); text fin rsv1 deflate(\"Hello Hello\"); close fin",
        "binary repeat(300, \"ab\"); cont repeat(100, \"c\"); cont fin",
        // Broken ones: what follows is not looked at any more.
        "text fin unmasked \"Hello\"; text fin \"more\"",
        "text fin hex:c3 \"(\"",
        "binary fin declared=100 \"less\"",
    ];
    for frames in rows {
        let (first, again) = (File::named("first"), File::named("again"));
        let made =
            run(loopwire(&["frame", "--to", &url, "--record", first.path(), "--patience", "100ms", frames]), b"");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        for how in [&["--chop", "1"][..], &["--chop", "7"], &[]] {
            let replayed = replay(&[&[first.path(), &url, "--record", again.path()], how].concat());
            assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
            assert_eq!(again.said("client"), first.said("client"), "byte for byte");
            let compared = run(loopwire(&["diff", first.path(), again.path()]), b"");
            let told = String::from_utf8(compared.stdout).unwrap();
            assert_eq!(compared.code, Some(0), "{frames} {how:?}:\n{told}");
        }
    }
}

#[test]
fn each_chunk_waits_for_what_the_server_had_said_by_then() {
    let (asks, says) = (request(KEY), answer(ACCEPT, ""));
    let (len, reply) = (asks.len(), says.clone());
    let (url, server) = peer(move |mut stream| {
        take(&mut stream, len);
        let (start, end) = reply.split_at(30);
        stream.write_all(start).unwrap();
        stream.write_all(end).unwrap();
        assert_eq!(take(&mut stream, 7), b"\x81\x81\0\0\0\0A");
        stream.write_all(b"\x81\x01a").unwrap();
        assert_eq!(take(&mut stream, 6), b"\x88\x80\0\0\0\0");
        stream.write_all(b"\x88\x00").unwrap();
    });
    let file = File::with(
        "in-step",
        recording(&[
            (3, "client", Some(&asks)),
            (3, "server", Some(&says)),
            (3, "client", Some(b"\x81\x81\0\0\0\0A")),
            (3, "server", Some(b"\x81")),
            (3, "server", Some(b"\x01a")),
            (3, "client", Some(b"\x88\x80\0\0\0\0")),
            (3, "server", Some(b"\x88\x00")),
            (3, "server", None),
            (3, "client", None),
        ]),
    );
    let outcome = replay(&[file.path(), &url, "--patience", "60s"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    server.join().unwrap();
}

#[test]
fn recorded_pauses_are_kept_if_wanted() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let asks = request(KEY);
    let text = recording(&[
        (0, "client", Some(&asks)),
        (0, "server", Some(&answer(ACCEPT, ""))),
        (0, "client", Some(b"\x89\x80\0\0\0\0")),
        (0, "client", None),
    ]);
    // A pause that nothing else would make.
    let file = File::with("pauses", text.replace("\"at\":0.002", "\"at\":0.2"));
    let again = File::named("pauses-again");
    let outcome = replay(&[file.path(), &url, "--timing", "--record", again.path()]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(again.said("client"), file.said("client"), "byte for byte");
    let lines = std::fs::read_to_string(again.path()).unwrap();
    let lines = lines.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let at: Vec<f64> = lines.filter(|line| line["from"] == "client").map(|line| line["at"].as_f64().unwrap()).collect();
    assert!(at[1] >= 0.2, "not before its time: {at:?}");
}

#[test]
fn what_a_tap_has_recorded_is_said_again() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let (tapped, again) = (File::named("tapped"), File::named("tapped-again"));
    let (tap, through) = Process::server(&["tap", "127.0.0.1:0", &url, "--quiet", "--record", tapped.path()]);
    let lines: Vec<String> = (0..200).map(|number| format!("line {number} with more of the same\n")).collect();
    let lines = lines.concat();
    let talked = run(loopwire(&["connect", &through]), lines.as_bytes());
    assert_eq!(talked.stdout, lines.as_bytes(), "{}", talked.stderr);
    tap.signal("TERM");
    assert_eq!(tap.ended().code, Some(0));
    let replayed = replay(&[tapped.path(), &url, "--chop", "1", "--show", "none", "--record", again.path()]);
    assert_eq!((replayed.code, replayed.stderr.as_str()), (Some(0), ""));
    let compared = run(loopwire(&["diff", tapped.path(), again.path()]), b"");
    assert_eq!(compared.code, Some(0), "{}", String::from_utf8_lossy(&compared.stdout));
    assert!(String::from_utf8(compared.stdout).unwrap().starts_with("the same was said: 1 connection, "));
}

/// Two connections at a time, each with a frame of its own.
fn two_connections(name: &str) -> File {
    let (asks, says) = (request(KEY), answer(ACCEPT, ""));
    let passed: &[Passed<'_>] = &[
        (5, "client", Some(&asks)),
        (2, "client", Some(&asks)),
        (5, "server", Some(&says)),
        (2, "client", Some(b"\x89\x80\0\0\0\0")),
        (5, "client", Some(b"\x8a\x80\0\0\0\0")),
    ];
    File::with(name, recording(passed))
}

#[test]
fn one_connection_of_several_is_chosen() {
    let file = two_connections("chosen");
    for (which, opcode) in [(&[][..], 0x8a), (&["--connection", "5"], 0x8a), (&["--connection", "2"], 0x89)] {
        let (url, server) = peer(move |mut stream| {
            let mut asked = request(KEY);
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(&answer(ACCEPT, "")).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            assert_eq!((asked, &rest[..]), (request(KEY), &[opcode, 0x80, 0, 0, 0, 0][..]));
        });
        let outcome = replay(&[&[file.path(), &url], which].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        server.join().unwrap();
    }
    let none = replay(&[file.path(), "ws://127.0.0.1:1/", "--connection", "1"]);
    assert_eq!(none.code, Some(1), "and nothing was dialled");
    assert!(none.stderr.contains("connection 1"), "{}", none.stderr);
}

#[test]
fn a_connection_keeps_its_number_and_is_compared_by_it() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let (tapped, again) = (File::named("numbers"), File::named("numbers-again"));
    let (tap, through) = Process::server(&["tap", "127.0.0.1:0", &url, "--quiet", "--record", tapped.path()]);
    for text in ["one\n", "two\n"] {
        let talked = run(loopwire(&["connect", &through]), text.as_bytes());
        assert_eq!(talked.stdout, text.as_bytes(), "{}", talked.stderr);
    }
    tap.signal("TERM");
    assert_eq!(tap.ended().code, Some(0));
    let lines = std::fs::read_to_string(tapped.path()).unwrap();
    let lines = lines.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
    let second = lines.map(|line| line["connection"].as_u64().unwrap()).max().unwrap();
    assert!(second > 0);
    let second = second.to_string();
    let replayed = replay(&[tapped.path(), &url, "--connection", &second, "--show=none", "--record", again.path()]);
    assert_eq!((replayed.code, replayed.stderr.as_str()), (Some(0), ""));
    let compared = run(loopwire(&["diff", "--connection", &second, tapped.path(), again.path()]), b"");
    assert_eq!(compared.code, Some(0), "{}{}", String::from_utf8_lossy(&compared.stdout), compared.stderr);
}

#[test]
fn a_server_that_says_less_is_not_waited_for_forever() {
    let file = two_connections("less");
    let (url, server) = peer(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all.ends_with(b"\x8a\x80\0\0\0\0"));
    });
    let outcome = replay(&[file.path(), &url, "--patience", "10ms"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the server said 2 fewer things"), "{}", outcome.stderr);
    server.join().unwrap();
}

#[test]
fn a_server_that_lets_go_ends_it_with_4() {
    let frames = [&request(KEY)[..], &b"\x82\x80\0\0\0\0".repeat(2000)].concat();
    let file = File::with("cut", recording(&[(0, "client", Some(&frames))]));
    let (url, server) = peer(|mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let outcome = replay(&[file.path(), &url, "--chop", "1"]);
    server.join().unwrap();
    assert_eq!(outcome.code, Some(4), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("bytes were sent"), "{}", outcome.stderr);
}

#[test]
fn what_is_told_can_be_read_by_programs_and_is_kept() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let (first, again) = (File::named("told-first"), File::named("told-again"));
    run(loopwire(&["frame", "--to", &url, "--record", first.path(), "text fin \"Hello\"; close fin"]), b"");
    let outcome = replay(&[first.path(), &url, "--json", "--record", again.path()]);
    let lines: Vec<Value> =
        String::from_utf8(outcome.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = |from: &str| -> Vec<&str> {
        lines.iter().filter(|line| line["from"] == from).map(|line| line["event"].as_str().unwrap()).collect()
    };
    assert_eq!(events("client"), ["request", "frame", "message", "frame", "end"]);
    assert_eq!(events("server"), ["answer", "frame", "message", "frame", "end"]);
    assert!(again.said("server").1 && again.said("client").1, "both ends are recorded");

    let quiet = replay(&[first.path(), &url, "--show", "none"]);
    assert_eq!((quiet.code, quiet.stdout.len()), (Some(0), 0));
}

#[test]
fn bad_input_is_one_sentence_and_its_code() {
    let (no_recording, damaged) = (File::with("no-recording", "GET / HTTP/1.1\r\n"), two_connections("whole-file"));
    let cut = std::fs::read(damaged.path()).unwrap();
    let cut = File::with("cut-off", &cut[..cut.len() - 10]);
    let (url, server) = peer(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    for (arguments, code, expected) in [
        (["/nowhere/at.all", &url], 1, "cannot be read: No such file"),
        ([no_recording.path(), &url], 1, "line 1 is not a recording's"),
        ([damaged.path(), "ws+unix:/nowhere/at.all"], 3, "cannot connect to /nowhere/at.all"),
        ([damaged.path(), "localhost"], 2, "invalid value 'localhost'"),
        // Found when it is there: a recording may be longer than memory.
        ([cut.path(), &url], 1, "line 6: is cut off"),
    ] {
        let outcome = replay(&[&arguments[..], &["--patience", "10ms", "--show", "none"]].concat());
        assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
        assert!(outcome.stdout.is_empty());
    }
    server.join().unwrap();
    let onto_itself = replay(&[damaged.path(), "ws://127.0.0.1:1/", "--record", damaged.path()]);
    assert_eq!(onto_itself.code, Some(2), "{}", onto_itself.stderr);
    assert!(std::fs::metadata(damaged.path()).unwrap().len() > 100, "and it is still there");
}
