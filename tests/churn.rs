//! Ten thousand connections come and go, each in its own way, and leave nothing behind: no memory, no descriptor, no
//! timer.

mod counting;
mod support;

use std::io::Read;
use std::time::Duration;

use loopwire::{Closed, Config, Handler, Message, PeerAddr, Server, Upgrade, UpgradeRequest, WebSocket};
use support::{Raw, Running, masked, request};

/// Gives each connection all that it can leave behind.
struct Giver;

impl Handler for Giver {
    fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
        match request.path() {
            "/no" => Upgrade::reject(403),
            path => Upgrade::accept().data(path.to_owned()),
        }
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        ws.set_timer(Duration::from_secs(3600), 1);
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        let _ = ws.send(message);
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, _: &Closed) {
        ws.set_timer(Duration::from_secs(3600), 2);
    }
}

/// Reads until what was read ends so.
fn read_to(raw: &mut Raw, end: &[u8]) {
    let (mut bytes, mut len) = ([0; 1024], 0);
    while !bytes[..len].ends_with(end) {
        let more = raw.0.read(&mut bytes[len..]).unwrap();
        assert!(more > 0, "ended early: {}", String::from_utf8_lossy(&bytes[..len]));
        len += more;
    }
}

/// One connection, which ends in one of many ways.
fn come_and_go(server: &Running, way: usize) {
    let mut raw = server.raw();
    let open = |raw: &mut Raw| {
        raw.send(request("/"));
        read_to(raw, b"\r\n\r\n");
    };
    match way % 8 {
        0 => {
            open(&mut raw);
            raw.send(masked(0x88, b"\x03\xe8"));
            read_to(&mut raw, b"\x88\x02\x03\xe8");
        }
        1 => {
            open(&mut raw);
            raw.send([masked(0x82, &[7; 300]), masked(0x88, b"")].concat());
            read_to(&mut raw, b"\x88\x00");
        }
        // A frame and a message cut short.
        2 => {
            open(&mut raw);
            raw.send([masked(0x01, b"begun"), masked(0x82, &[7; 300])[..200].to_vec()].concat());
        }
        3 => {
            open(&mut raw);
            raw.send(b"\x81\x01A");
        }
        4 => raw.send(&request("/")[..60]),
        5 => {
            raw.send(request("/no"));
            read_to(&mut raw, b"]\n");
        }
        6 => raw.send("nonsense\r\n\r\n"),
        _ => {}
    }
    // No port is left waiting.
    raw.reset();
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let mut config = Config::default();
    config.close_timeout = Duration::from_millis(20);
    let server = Running::start(Server::builder().config(config), Giver);
    let settle = |server: &Running, descriptors: usize| {
        server.wait_until("all are gone", |server| {
            server.handle.metrics().connections_open == 0
                && std::fs::read_dir("/proc/self/fd").unwrap().count() == descriptors
        });
        counting::live()
    };
    server.ask(|_| ());
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    // What is kept for reuse is there after the first few.
    (0..400).for_each(|way| come_and_go(&server, way));
    let before = settle(&server, descriptors);
    (0..10_000).for_each(|way| come_and_go(&server, way));
    let after = settle(&server, descriptors);
    assert!((after - before).abs() < 16 * 1024, "{before} bytes before, {after} after");
    let metrics = server.handle.metrics();
    assert_eq!(metrics.connections_total, 10_400 / 8 * 4);
    assert_eq!((metrics.connections_open, metrics.handshakes_refused), (0, 10_400 / 8));
}
