//! `loopwire violate`: our own ends do as demanded, and whoever does not is found out. A check that nobody can fail says
//! nothing, so there is an end here that notices nothing, and each probe has to tell.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use loopwire::explain::RawHeader;
use loopwire::handshake::accept_key;
use loopwire::wire::apply_mask;
use serde_json::Value;

use crate::process::{DEADLINE, Ended, Process, loopwire, run};

/// Long enough for whoever answers, on however busy a machine.
const PATIENT: &str = "--patience=30s";

/// For whoever never will.
const IMPATIENT: &str = "--patience=1s";

fn violate(arguments: &[&str]) -> Ended {
    run(loopwire(&[&["violate"], arguments].concat()), b"")
}

/// The report as JSON, with its exit code.
fn report(arguments: &[&str]) -> (i32, Value) {
    let outcome = violate(&[&["--json"], arguments].concat());
    let report = serde_json::from_slice(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
    (outcome.code.unwrap(), report)
}

/// The probes, each with its verdict.
fn verdicts(report: &Value) -> Vec<(String, &str)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = report["probes"].as_array().unwrap();
    rows.iter()
        .map(|row| (format!("{}: {}", text(row, "rule"), text(row, "probe")), row["verdict"].as_str().unwrap()))
        .collect()
}

fn is_right(probe: &str) -> bool {
    // A ping behind the request is none of the server's business.
    [": right", ": declined", "data-before-answer"].iter().any(|part| probe.contains(part))
}

type Converse = fn(TcpStream);

/// A server in which each connection is given to this.
fn server(converse: Converse) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            thread::spawn(move || converse(stream));
        }
    });
    url
}

/// Bytes up to a blank line, and what came behind it. What is not like a head, or ends before, is taken for one.
fn head(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let len = stream.read(&mut piece).unwrap_or(0);
        bytes.extend_from_slice(&piece[..len]);
        let blank = |line: &[u8]| bytes.windows(line.len()).position(|part| part == line).map(|at| at + line.len());
        let end = blank(b"\n\r\n").or_else(|| blank(b"\n\n"));
        if end.is_some() || len == 0 || bytes[0] >= 0x80 {
            let behind = bytes.split_off(end.unwrap_or(bytes.len()));
            return (String::from_utf8_lossy(&bytes).into_owned(), behind);
        }
    }
}

fn answer(head: &str) -> String {
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map_or("", |(_, value)| value.trim())
    };
    let accept = accept_key(field("Sec-WebSocket-Key"));
    let extensions = match field("Sec-WebSocket-Extensions") {
        "permessage-deflate; client_max_window_bits" => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        _ => "",
    };
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{extensions}\r\n"
    )
}

/// Reads frames, of whatever kind, and answers pings and Closes, masked with zeros if need be.
fn go_on(mut stream: TcpStream, mut bytes: Vec<u8>, mask: bool) {
    let mut closes = 0;
    loop {
        while let Some(header) = RawHeader::read(&bytes) {
            let start = header.bytes().len();
            // Whoever knows 63 bits finds nothing in some, and here in all, of those that have the 64th.
            let len = if header.payload_len() >> 63 == 1 { 0 } else { header.payload_len() as usize };
            if bytes.len() < start + len {
                break;
            }
            let mut payload: Vec<u8> = bytes.drain(..start + len).skip(start).take(125).collect();
            if let Some(key) = header.masking_key() {
                apply_mask(&mut payload, key);
            }
            let opcode = match header.opcode_bits() {
                9 => 10,
                8 => 8,
                1 if payload == b"behind the Close" => 1,
                _ => continue,
            };
            closes += u32::from(opcode == 8);
            let mut frame = vec![0x80 | opcode, u8::from(mask) << 7 | payload.len() as u8];
            frame.extend(mask.then_some([0; 4]).into_iter().flatten());
            frame.extend(payload);
            if stream.write_all(&frame).is_err() {
                return;
            }
        }
        if closes > 1 {
            return;
        }
        let mut piece = vec![0; 1 << 16];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(len) => bytes.extend_from_slice(&piece[..len]),
        }
    }
}

/// Takes everything for a handshake, and every frame for a good one.
fn notice_nothing(mut stream: TcpStream) {
    let (head, behind) = head(&mut stream);
    if stream.write_all(answer(&head).as_bytes()).is_ok() {
        go_on(stream, behind, false);
    }
}

/// That this is what is said of an end that notices nothing.
fn assert_all_is_told(report: &Value) {
    for (probe, verdict) in verdicts(report) {
        match verdict {
            "as demanded" => assert!(is_right(&probe), "{probe} cannot be failed"),
            "accepted" => assert!(!is_right(&probe), "{probe}: {verdict}"),
            // What it sends back may not be sent.
            "breaks a rule" => {
                let is_echo = probe.starts_with("data-after-close") || probe.starts_with("close-too-short");
                assert!(is_echo, "{probe}: {verdict}");
            }
            "a frame too many" => assert!(probe.starts_with("answer-truncated"), "{probe}: {verdict}"),
            _ => panic!("{probe}: {verdict}"),
        }
    }
}

#[test]
fn our_own_server_does_as_demanded() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let outcome = violate(&["all", &url, PATIENT]);
    let text = String::from_utf8(outcome.stdout).unwrap();
    assert_eq!(outcome.code, Some(0), "{text}");
    assert!(!text.contains('\x1b') && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let row = "  text, 16-bit length          Close 1002    Close 1002    as demanded";
    assert!(text.contains("mask-missing [RFC 6455 §5.1]\n") && text.lines().any(|line| line == row), "{text}");
    let sum = text.lines().last().unwrap();
    let (all, good) = (text.lines().filter(|line| line.ends_with("as demanded")).count() - 1, sum.split(' ').nth(1));
    assert!(all > 200 && good == Some(all.to_string().as_str()), "{all}, {sum}");
}

#[test]
fn our_own_client_does_as_demanded() {
    let client = [env!("CARGO_BIN_EXE_loopwire"), "connect", "--wait", "forever", "{url}"];
    for rule in ["mask-forbidden", "accept-wrong", "answer-truncated", "inflate-failed", "close-code-invalid"] {
        let arguments =
            [&[rule, "--listen", "127.0.0.1:0", PATIENT, "--connect-timeout=60s", "--"], &client[..]].concat();
        let (code, report) = report(&arguments);
        assert_eq!(code, 0, "{report:#}");
        assert!(report["summary"]["probes"].as_u64() > Some(1), "{report:#}");
    }
}

#[test]
fn a_server_that_notices_nothing_fails_everything_that_is_wrong() {
    let (code, report) = report(&["all", &server(notice_nothing), PATIENT]);
    assert_eq!(code, 10);
    assert_all_is_told(&report);
    let summary = &report["summary"];
    assert!(summary["broken"].as_u64() > Some(80) && summary["weak"].as_u64() > Some(80), "{summary}");
}

#[test]
fn a_client_that_notices_nothing_fails_everything_that_is_wrong() {
    let mut process = Process::start(loopwire(&["violate", "all", "--json", "--listen", "127.0.0.1:0", PATIENT]));
    let line = process.error_line("listening on");
    let address = line.trim_end().rsplit("ws://").next().unwrap().trim_end_matches('/').to_owned();
    thread::spawn(move || {
        // As many as there are probes; then nobody listens.
        while let Ok(mut stream) = TcpStream::connect(&address) {
            let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            if stream.write_all(request.as_bytes()).is_err() {
                return;
            }
            thread::spawn(move || {
                let (first, mut behind) = head(&mut stream);
                if first.starts_with("HTTP/1.1 103") {
                    // Another answer is behind it.
                    let end = loop {
                        if let Some(at) = behind.windows(4).position(|part| part == b"\r\n\r\n") {
                            break at + 4;
                        }
                        let mut piece = [0; 4096];
                        let len = stream.read(&mut piece).unwrap();
                        behind.extend_from_slice(&piece[..len]);
                    };
                    behind.drain(..end);
                }
                if !first.ends_with("\n\r\n") && !first.ends_with("\n\n") {
                    let _ = stream.write_all(b"\x88\x80\0\0\0\0");
                }
                go_on(stream, behind, true);
            });
        }
    });
    let outcome = process.ended();
    assert_eq!(outcome.code, Some(10), "{}", outcome.stderr);
    assert_all_is_told(&serde_json::from_slice(&outcome.stdout).unwrap());
}

#[test]
fn each_way_to_fail_has_its_own_verdict() {
    /// Shakes hands and waits for frames that have a bit wrong; a ping alone is answered.
    fn shaken(stream: &mut TcpStream) -> Option<u8> {
        let (head, mut behind) = head(stream);
        stream.write_all(answer(&head).as_bytes()).unwrap();
        while behind.is_empty() {
            let mut piece = vec![0; 1 << 16];
            let len = stream.read(&mut piece).ok().filter(|len| *len > 0)?;
            behind.extend_from_slice(&piece[..len]);
        }
        if behind[0] == 0x89 && behind.len() == 22 {
            let mut payload = behind[6..].to_vec();
            apply_mask(&mut payload, loopwire::wire::MaskingKey(behind[2..6].try_into().unwrap()));
            stream.write_all(&[&[0x8a, 16], &payload[..]].concat()).unwrap();
            return None;
        }
        Some(behind[0])
    }
    fn wait(mut stream: TcpStream) {
        while !matches!(stream.read(&mut [0; 4096]), Ok(0) | Err(_)) {}
    }
    let rows: [(Converse, &str, i32); 6] = [
        (
            |mut stream| {
                shaken(&mut stream);
            },
            "closed without a word",
            0,
        ),
        (
            |mut stream| {
                if shaken(&mut stream).is_some() {
                    stream.write_all(b"\x88\x02\x03\xf0").unwrap();
                    wait(stream);
                }
            },
            "wrong code",
            0,
        ),
        (
            |mut stream| {
                if shaken(&mut stream).is_some() {
                    stream.write_all(b"\x88\x02\x03\xea").unwrap();
                    wait(stream.try_clone().unwrap());
                    thread::park();
                }
            },
            "not ended",
            10,
        ),
        (
            |mut stream| {
                if shaken(&mut stream).is_some() {
                    // The right code in a frame that a server may not send.
                    stream.write_all(b"\x88\x82\0\0\0\0\x03\xea").unwrap();
                }
            },
            "breaks a rule",
            10,
        ),
        (
            |mut stream| {
                if shaken(&mut stream).is_some() {
                    thread::park();
                }
            },
            "no answer",
            0,
        ),
        (
            |mut stream| {
                if shaken(&mut stream).is_some() {
                    stream.write_all(b"\x88\x02\x03\xea").unwrap();
                }
            },
            "as demanded",
            0,
        ),
    ];
    for (converse, expected, lenient) in rows {
        let url = server(converse);
        let patience = if ["not ended", "no answer"].contains(&expected) { IMPATIENT } else { PATIENT };
        let (code, report) = report(&["close-too-short", &url, patience]);
        assert!(verdicts(&report).iter().all(|(_, verdict)| *verdict == expected), "{expected}: {report:#}");
        assert_eq!(code, if expected == "as demanded" { 0 } else { 10 }, "{expected}");
        assert_eq!(violate(&["close-too-short", &url, patience, "--lenient"]).code, Some(lenient), "{expected}");
    }
}

#[test]
fn a_server_that_refuses_everything_is_not_called_a_good_one() {
    let url = server(|mut stream| {
        head(&mut stream);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let outcome = violate(&["key-missing", &url, PATIENT]);
    assert_eq!((outcome.code, outcome.stdout.as_slice()), (Some(3), &b""[..]));
    assert!(
        outcome.stderr.contains("does not take a right handshake") && outcome.stderr.contains("400"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_refusal_has_to_name_the_versions_and_to_let_go() {
    fn refuse(mut stream: TcpStream, head: &str, status: &str) {
        if head.contains("Sec-WebSocket-Version: 13\r\n") {
            stream.write_all(answer(head).as_bytes()).unwrap();
            return go_on(stream, Vec::new(), false);
        }
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    let rows: [(Converse, &str); 4] = [
        (
            |mut stream| {
                let (head, _) = head(&mut stream);
                refuse(stream, &head, "426 Upgrade Required\r\nSec-WebSocket-Version: 13");
            },
            "as demanded",
        ),
        (
            |mut stream| {
                let (head, _) = head(&mut stream);
                refuse(stream, &head, "426 Upgrade Required");
            },
            "breaks a rule",
        ),
        (
            |mut stream| {
                let (head, _) = head(&mut stream);
                refuse(stream, &head, "500 Oh\r\nSec-WebSocket-Version: 13");
            },
            "another status",
        ),
        (
            |mut stream| {
                let (head, _) = head(&mut stream);
                let kept = stream.try_clone().unwrap();
                refuse(stream, &head, "426 Upgrade Required\r\nSec-WebSocket-Version: 13");
                drop(kept.peek(&mut [0]));
            },
            "kept open",
        ),
    ];
    for (converse, expected) in rows {
        let url = server(converse);
        let patience = if expected == "kept open" { IMPATIENT } else { PATIENT };
        let (_, report) = report(&["version-unsupported", &url, patience]);
        assert!(verdicts(&report).iter().all(|(_, verdict)| *verdict == expected), "{expected}: {report:#}");
    }
}

#[test]
fn what_makes_no_sense_is_one_sentence() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("ws://{nobody}");
    for (arguments, code, part) in [
        (&["mask-mising", &nobody][..], 2, "the nearest name is mask-missing"),
        (&["mask-forbidden", &nobody], 2, "--listen"),
        (&["accept-wrong", &nobody], 2, "--listen"),
        (&["upgrade", "--listen", "127.0.0.1:0"], 2, "a server by its URL"),
        (&["origin-missing", &nobody], 2, "--list"),
        (&["all"], 2, "--listen"),
        (&["all", &nobody, "--listen", "127.0.0.1:0"], 2, "one at a time"),
        (&["all", &nobody], 3, "refused"),
        (&["all", "--listen", "127.0.0.1:0", "--", "/nowhere/client"], 2, "/nowhere/client"),
        (&["all", "--listen", "127.0.0.1:0", "--connect-timeout=50ms", "--", "true"], 3, "did not come"),
    ] {
        let outcome = violate(arguments);
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(code), 0), "{arguments:?}: {}", outcome.stderr);
        let said = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert!(said == 1 && outcome.stderr.contains(part), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn the_list_names_what_can_be_broken() {
    let all = String::from_utf8(violate(&["--list"]).stdout).unwrap();
    assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
    let row = all.lines().find(|line| line.starts_with("mask-missing ")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["mask-missing", "RFC", "6455", "§5.1", "16", "0"]);
    let one = String::from_utf8(violate(&["length-top-bit", "--list"]).stdout).unwrap();
    assert!(one.contains("text, 2^63") && one.contains("Close 1002"), "{one}");
    let json: Value = serde_json::from_slice(&violate(&["mask-forbidden", "--list", "--json"]).stdout).unwrap();
    assert_eq!((json["servers"].as_array().unwrap().len(), json["clients"].as_array().unwrap().len()), (0, 15));
}
