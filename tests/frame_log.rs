//! The debug log shows every frame of a conversation, one line each, and what a connection fails by.

mod common;

use std::sync::Mutex;

use common::pair::{Chunks, Pair};
use common::text;
use log::{LevelFilter, Log, Metadata, Record};
use loopwire::deflate::DeflateParams;
use loopwire::protocol::Config;
use loopwire::wire::{CloseCode, PreparedMessage};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Collector;

impl Log for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        LINES.lock().expect("no test panics while it logs").push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// What was logged since the last time.
fn lines() -> Vec<String> {
    std::mem::take(&mut LINES.lock().expect("no test panics while it logs"))
}

#[test]
fn a_conversation_reads_well() {
    log::set_logger(&Collector).expect("this is the only test here");
    log::set_max_level(LevelFilter::Debug);

    for chunks in [Chunks::Whole, Chunks::Of(1)] {
        let mut pair = Pair::new(&Config::default(), Some(DeflateParams::default()), chunks);
        pair.client.send("Hello");
        pair.settle();
        pair.server.connection.ping(b"?", &mut pair.server.out, pair.now).unwrap();
        pair.settle();
        pair.server.send(&"again and ".repeat(20));
        pair.settle();
        pair.client.connection.close(CloseCode::NORMAL, "", &mut pair.client.out, pair.now).unwrap();
        pair.settle();
        assert_eq!(pair.server.seen[0], text("Hello"));

        let lines = lines();
        let compressed = lines[6].split(' ').nth(5).expect("a length").to_owned();
        assert_eq!(
            lines,
            [
                "client > text fin 5 bytes masked".to_owned(),
                "server < text fin 5 bytes masked".to_owned(),
                "server > ping fin 1 bytes".to_owned(),
                "client < ping fin 1 bytes".to_owned(),
                "client > pong fin 1 bytes masked".to_owned(),
                "server < pong fin 1 bytes masked".to_owned(),
                format!("server > text fin compressed {compressed} bytes"),
                format!("client < text fin compressed {compressed} bytes"),
                "client > close fin 2 bytes masked".to_owned(),
                "server < close fin 2 bytes masked".to_owned(),
                "server > close fin 2 bytes".to_owned(),
                "client < close fin 2 bytes".to_owned(),
            ]
        );
    }

    // One frame for many receivers is a line for each.
    let mut pair = Pair::new(&Config::default(), Some(DeflateParams::default()), Chunks::Whole);
    for message in [PreparedMessage::new("short"), PreparedMessage::new(&"long enough ".repeat(20))] {
        let frame =
            pair.server.connection.send_prepared(&message, &mut pair.server.out).unwrap().expect("a shared frame");
        pair.server.out.extend_from_slice(frame.as_ref());
        pair.settle();
        let lines = lines();
        assert!(lines[0].starts_with("server > text fin "), "{lines:?}");
        assert_eq!(lines[1], lines[0].replace("server >", "client <"));
        assert_eq!(lines.len(), 2);
    }

    let mut server = common::End::new(loopwire::protocol::Role::Server, &Config::default(), None);
    server.feed(b"\x81\x00");
    let [failure, close] = &lines()[..] else { panic!("two lines") };
    assert_eq!(
        failure,
        "server fails the connection: an unmasked frame from a client: a client masks every frame it sends [RFC 6455 §5.1]"
    );
    assert!(close.starts_with("server > close fin "));
}
