//! Whoever breaks a rule leaves a line in the log that says who, which rule, and where it is written.

mod support;

use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use loopwire::{OriginPolicy, Server};
use support::{Running, masked, request, request_with, teller};

struct Lines(Mutex<Vec<(Level, String)>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = (record.level(), record.args().to_string());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// The lines about one peer, of those that an operator sees.
fn lines_about(peer: &str) -> Vec<String> {
    let lines = LINES.0.lock().unwrap();
    let about = lines.iter().filter(|(level, line)| *level <= Level::Info && line.starts_with(&format!("{peer}: ")));
    about.map(|(_, line)| line.clone()).collect()
}

#[test]
fn a_line_names_the_peer_the_rule_and_its_section() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Info);
    let (teller, ear) = teller();
    let origins = OriginPolicy::list(["https://good.example"]).unwrap();
    let server = Running::start(Server::builder().paths(["/"]).origins(origins), teller);
    let good = request_with("/", "Origin: https://good.example\r\n");
    let frame = |frame: &[u8]| [good.as_bytes(), frame].concat();
    // What is sent, what the log says of it, the section.
    let rows: Vec<(Vec<u8>, &str, &str)> = vec![
        (good.replace("HTTP/1.1", "HTTP/3.1").into_bytes(), "505", "[RFC 9110 §15.6.6]"),
        (good.replace("Version: 13", "Version: 12").into_bytes(), "426", "[RFC 6455 §4.4]"),
        (good.replace("Key: ", "Key: x").into_bytes(), "400", "[RFC 6455 §4.2.1]"),
        (request("/").into_bytes(), "no origin", "[RFC 6455 §10.2]"),
        (good.replace("good.example", "bad.example").into_bytes(), "https://bad.example", "[RFC 6455 §10.2]"),
        (good.replace("GET /", "GET /elsewhere").into_bytes(), "nothing here", "[RFC 9110 §15.5.5]"),
        (frame(b"\x81\x01A"), "mask", "RFC 6455 §5.1"),
        (frame(&masked(0x83, b"")), "opcode", "RFC 6455 §5.2"),
        (frame(&masked(0x81, b"\xff")), "UTF-8", "RFC 6455 §8.1"),
        (frame(&masked(0x88, b"\x03\xed")), "1005", "RFC 6455 §7.4"),
    ];
    for (bytes, what, section) in rows {
        let mut raw = server.raw();
        let peer = raw.0.local_addr().unwrap().to_string();
        raw.send(&bytes);
        raw.all();
        server.ask(|_| ());
        let lines = lines_about(&peer);
        assert!(lines.iter().any(|line| line.contains(what) && line.contains(section)), "{what} {section}: {lines:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
    // Whoever keeps to the rules leaves none.
    let mut raw = server.raw();
    let peer = raw.0.local_addr().unwrap().to_string();
    raw.send(frame(&masked(0x88, b"\x03\xe8")));
    raw.all();
    ear.closed();
    assert!(lines_about(&peer).is_empty());
}
