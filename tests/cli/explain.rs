//! `loopwire explain` and `loopwire rules`: what they print, letter by letter, and what they end with.
//!
//! Each text stands in a file of its own in the folder `explain`. With `BLESS=1` the files are written anew, to be read.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use loopwire::wire::Rule;

use crate::process::{Ended, loopwire, run};
use crate::serve::Directory;

const REQUEST: &str = "GET /chat HTTP/1.1\\r\\nHost: server.example.com\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nOrigin: http://example.com\\r\\n\
    Sec-WebSocket-Protocol: chat, superchat\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\nSec-WebSocket-Protocol: chat\\r\\n\\r\\n";

/// What was printed for these arguments, with this code, against the file of this name.
fn check(name: &str, arguments: &[&str], code: i32) {
    let outcome = run(loopwire(&[&["explain"], arguments].concat()), b"");
    assert_eq!(outcome.code, Some(code), "{name}: {outcome:?}");
    compare(name, outcome);
}

fn compare(name: &str, outcome: Ended) {
    let printed = String::from_utf8(outcome.stdout).unwrap();
    assert!(!printed.contains('\x1b'), "{name}: colour in a pipe");
    for line in printed.lines() {
        assert!(line.chars().count() <= 80, "{name}: {line:?} is wider than 80 columns");
        assert_eq!(line, line.trim_end(), "{name}: white space at a line's end");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/explain").join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &printed).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(printed == expected, "{name} is now:\n{printed}\nand was:\n{expected}");
}

/// A file with these bytes.
fn file(files: &Directory, name: &str, bytes: &[u8]) -> String {
    let path = PathBuf::from(files.path(name));
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_rfc_s_frames_are_drawn() {
    // [RFC 6455 §5.7]
    check("unmasked-text", &["81 05 48 65 6c 6c 6f"], 0);
    check("masked-text", &["0x81 0x85 0x37 0xfa 0x21 0x3d 0x7f 0x9f 0x4d 0x51 0x58"], 0);
    check("fragmented-text", &["01 03 48 65 6c", "80 02 6c 6f"], 0);
    check("ping", &["89 05 48 65 6c 6c 6f"], 0);
    check("masked-pong", &["8a 85 37 fa 21 3d 7f 9f 4d 51 58"], 0);
    let files = Directory::new("explain-rfc");
    let bytes: Vec<u8> = (0..=255).collect();
    let medium = file(&files, "medium", &[&b"\x82\x7e\x01\x00"[..], &bytes].concat());
    check("256-bytes", &["--file", &medium], 0);
    let long = file(&files, "long", &[&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &bytes.repeat(256)].concat());
    check("64-kib", &["--file", &long], 0);
}

#[test]
fn the_rfc_s_compressed_messages_are_taken_apart() {
    // [RFC 7692 §7.2.3]
    let deflate = |name: &str, bytes: &str| check(name, &["--permessage-deflate", bytes], 0);
    deflate("compressed", "c1 07 f2 48 cd c9 c9 07 00");
    deflate("compressed-in-fragments", "41 03 f2 48 cd 80 04 c9 c9 07 00");
    deflate("compressed-with-takeover", "c1 07 f2 48 cd c9 c9 07 00 c1 05 f2 00 11 00 00");
    deflate("compressed-stored", "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00");
    deflate("compressed-with-bfinal", "c1 08 f3 48 cd c9 c9 07 00 00");
    deflate("compressed-in-two-blocks", "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00");
    let parameters = "--permessage-deflate=server_no_context_takeover; server_max_window_bits=10";
    check("compressed-without-takeover", &[parameters, "c1 07 f2 48 cd c9 c9 07 00"], 0);
}

#[test]
fn the_rfc_s_handshake_is_told_step_by_step() {
    // [RFC 6455 §1.2, §1.3]
    check("handshake", &[REQUEST, ANSWER], 0);
    let offering = REQUEST.replace(
        "Sec-WebSocket-Version",
        "Cookie: a=b\\r\\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-other, \
         permessage-deflate; server_max_window_bits=7\\r\\nSec-WebSocket-Version",
    );
    let agreeing = ANSWER.replace(
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=11\\r\\nServer: x",
    );
    // Frames behind it are compressed as it says.
    check("handshake-with-compression", &[&offering, &agreeing, "\\xc1\\x07\\xf2\\x48\\xcd\\xc9\\xc9\\x07\\x00"], 0);
    check(
        "handshake-refused",
        &[REQUEST, "HTTP/1.1 301 \\r\\nLocation: /there\\r\\nContent-Length: 2\\r\\n\\r\\nno"],
        0,
    );
    check("handshake-absent", &["GET /page HTTP/1.1\\r\\nHost: example.com\\r\\n\\r\\n"], 0);
}

#[test]
fn what_is_wrong_with_a_handshake_is_told_at_its_field() {
    let request = "POST /chat HTTP/1.1\\r\\nHost: a b\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Key: short\\r\\n\
        X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\r\\n\\r\\n";
    check("handshake-bad-request", &[request], 10);
    check("handshake-bare-line-feed", &["GET /chat HTTP/1.1\\nHost: a\\n\\n"], 10);
    let answer = "HTTP/1.1 101 Switching Protocols\\r\\nConnection: keep-alive\\r\\n\
        Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\\r\\nSec-WebSocket-Protocol: other\\r\\n\
        Sec-WebSocket-Extensions: permessage-deflate\\r\\n\\r\\n";
    check("handshake-bad-answer", &[REQUEST, answer], 10);
}

#[test]
fn a_program_reads_an_object_in_each_line() {
    let outcome = run(loopwire(&["explain", "--json", "--from=server", "8185 37fa213d 7f9f4d5158", "880003"]), b"");
    assert_eq!(outcome.code, Some(10));
    let lines = String::from_utf8(outcome.stdout).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["frame", "violation", "end", "end"]);
    let frame = &lines[0];
    assert_eq!((&frame["header"], &frame["key"]), (&"818537fa213d".into(), &"37fa213d".into()));
    assert_eq!((&frame["payload"], &frame["unmasked"]), (&"7f9f4d5158".into(), &"48656c6c6f".into()));
    assert_eq!(lines[1]["rule"], "mask-forbidden");
    assert_eq!((&lines[3]["from"], &lines[3]["passed_over"]), (&"server".into(), &3.into()));
}

#[test]
fn text_is_followed_across_frames() {
    // κόσμε, in pieces that end inside characters.
    check("utf8-across-frames", &["01 02 ce ba 00 01 e1 00 01 bd 80 07 b9 cf 83 ce bc ce b5"], 0);
}

#[test]
fn every_rule_of_frames_is_told_when_it_is_broken() {
    let agreed = "--permessage-deflate";
    let rows: &[(&str, &[&str])] = &[
        ("reserved-bit", &["a1 01 41"]),
        ("reserved-opcode", &["83 00"]),
        ("fragmented-control-frame", &["09 00"]),
        ("control-frame-too-long", &["89 7e 00 7e"]),
        ("compressed-out-of-place", &[agreed, "c9 00"]),
        ("length-not-minimal", &["82 7f 00 00 00 00 00 00 01 00"]),
        ("length-top-bit", &["82 7f 80 00 00 00 00 00 00 00"]),
        ("mask-missing", &["--from=client", "81 01 41"]),
        ("mask-forbidden", &["--from=server", "81 81 00 00 00 00 41"]),
        ("continuation-unexpected", &["80 01 41"]),
        ("continuation-expected", &["01 01 41 81 01 42"]),
        ("invalid-utf8", &["01 03 ce ba ed 80 03 a0 80 65"]),
        ("close-too-short", &["88 01 03"]),
        ("close-code-invalid", &["88 02 03 ed"]),
        ("close-reason-not-utf8", &["88 04 03 e8 c3 28"]),
        ("inflate-failed", &[agreed, "c1 05 f2 00 11 00 00"]),
        ("data-after-close", &["88 02 03 e8 81 01 41"]),
        ("data-before-answer", &[REQUEST, "\\x81\\x81\\x00\\x00\\x00\\x00A"]),
    ];
    for (id, arguments) in rows {
        check(&format!("broken/{id}"), arguments, 10);
    }
    // Limits and deadlines are each receiver's own, and bytes alone do not break them.
    let own = ["message-too-big", "too-many-fragments", "control-flood", "message-timeout", "keepalive-timeout"];
    let all: BTreeSet<_> = rows.iter().map(|(id, _)| *id).chain(own).collect();
    let frames = Rule::ALL.iter().map(|rule| rule.id).take_while(|id| *id != "start-line-too-long");
    assert_eq!(all, frames.collect());
}

#[test]
fn input_is_taken_in_many_forms_and_what_is_no_input_gets_a_sentence() {
    let files = Directory::new("explain-forms");
    let text = file(&files, "hex", b"81 05 48 65\n6c 6c 6f\n");
    let base64 = file(&files, "base64", b"gQVIZWxsbw==\n");
    let raw = file(&files, "raw", b"\x81\x05Hello");
    let forms: &[&[&str]] = &[
        &["810548656c6c6f"],
        &["81", "05", "48", "65", "6c", "6c", "6f"],
        &["81:05:48:65:6c:6c:6f"],
        &["\\x81\\x05Hello"],
        &["gQVIZWxsbw=="],
        &["--base64", "gQVIZWxsbw"],
        &["--file", &text],
        &["--file", &raw],
        &["--file", &base64],
    ];
    for form in forms {
        check("unmasked-text", form, 0);
    }
    compare("unmasked-text", run(loopwire(&["explain"]), b"\x81\x05Hello"));
    for input in ["810548656c6c6f", "gQVIZWxsbw==\n", "gQVIZWxs\nbw\n", "\\x81\\x05Hello\n"] {
        compare("unmasked-text", run(loopwire(&["explain", "-"]), input.as_bytes()));
    }

    let cut = file(&files, "cut", b"\x81\x05Hel");
    let dump = file(&files, "dump", b"00000000: 8105 4865 6c6c 6f    ..Hello\n");
    let prose = file(&files, "prose", b"A frame is what I want to see here.\n");
    let blank = file(&files, "blank", b" \n");
    let cut_text = file(&files, "cut-text", b"815\n");
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--file", &dump], 1, "neither an HTTP head, base64 nor hexadecimal ('.', its character 32)"),
        (&["--file", &prose], 1, "in base64 and say so by --base64"),
        (&["--file", &blank], 1, "no bytes"),
        (&["--file", &cut_text], 1, "has 3 hexadecimal digits"),
        (&["hello there"], 2, "is no hexadecimal digit; if it is base64, say so by --base64"),
        (&["815"], 2, "\"815\" has 3 hexadecimal digits"),
        (&["81O5"], 2, "its character 3, is no hexadecimal digit"),
        (&["--base64", "a!"], 2, "not base64"),
        (&["\\x8"], 2, "two hexadecimal digits"),
        (&[""], 2, "no bytes"),
        (&[], 1, "no bytes"),
        (&["--file", &files.path("nowhere")], 1, "cannot read"),
        (&["--from", "both", "8100"], 2, "client or server"),
        (&["--permessage-deflate=x", "8100"], 2, "unknown parameter"),
        (&["--permessage-deflate", REQUEST], 2, "--permessage-deflate is for frames"),
        (&[ANSWER], 2, "give the request before it"),
        (&["8100", REQUEST], 2, "comes before the frames"),
        (&["8185 37"], 2, "it ends in its header"),
        (&["8105 48"], 2, "4 bytes of it are missing"),
        (&["--file", &cut], 1, "2 bytes of it are missing"),
        (&["GET / HTTP/1.1\\r\\nHost: a\\r\\n"], 2, "no blank line"),
    ];
    for (arguments, code, part) in rows {
        let outcome = run(loopwire(&[&["explain"], *arguments].concat()), b"");
        assert_eq!(outcome.code, Some(*code), "{arguments:?}: {outcome:?}");
        assert!(outcome.stderr.contains(part), "{arguments:?}: {}", outcome.stderr);
    }
    check("incomplete", &["8185 37fa213d 7f9f"], 2);
}

#[test]
fn the_rules_are_a_table_or_json_or_one_of_them() {
    compare("rules", run(loopwire(&["rules"]), b""));
    compare("rule", run(loopwire(&["rules", "invalid-utf8"]), b""));
    let printed = run(loopwire(&["rules", "--json"]), b"").stdout;
    let rules: Vec<serde_json::Value> = serde_json::from_slice(&printed).unwrap();
    let ids: Vec<_> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, Rule::ALL.iter().map(|rule| rule.id).collect::<Vec<_>>());
    let one = run(loopwire(&["rules", "upgrade", "--json"]), b"").stdout;
    let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
    assert_eq!(one["owed"], serde_json::json!({"status": 426}));
    let unknown = run(loopwire(&["rules", "mask-mising"]), b"");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("the nearest name is mask-missing"), "{}", unknown.stderr);
}
