//! Crowds of clients come to a push server and go, each in its own way, and leave nothing behind: no memory, no descriptor,
//! no subscription.

#![cfg(feature = "gateway")]

mod counting;
mod support;

use std::io::Read;

use loopwire::Server;
use loopwire::gateway::{Gateway, GatewayConfig, GatewayHandle};
use loopwire::push::{Audience, ChannelOptions};
use support::{Raw, Running, masked};

const CROWD: usize = 300;
const CROWDS: usize = 10;

fn start() -> (Running, GatewayHandle) {
    let everyone = Audience { client: true, subscriber: true, anonymous: true };
    let mut config = GatewayConfig { allow_anonymous: true, ..GatewayConfig::default() };
    let plain = ChannelOptions {
        presence: true,
        join_leave: true,
        history: everyone,
        subscribe: everyone,
        publish: everyone,
        presence_for: everyone,
        ..ChannelOptions::default()
    };
    config.hub.namespaces.plain = plain;
    // A history as long as it will ever be after the first few.
    let kept = ChannelOptions { history_size: 5, history_ttl: 3_600_000, ..plain };
    config.hub.namespaces.named.insert("kept".into(), kept);
    let server = Server::builder().listen("127.0.0.1:0").build().unwrap();
    let gateway = Gateway::new(config, None, server.handle()).unwrap();
    let handle = gateway.handle();
    (Running::of(server, move |server| server.run(gateway)), handle)
}

/// Reads until what was read holds this.
fn read_to(raw: &mut Raw, end: &[u8]) {
    let (mut bytes, mut len) = ([0; 4096], 0);
    while !bytes[..len].windows(end.len()).any(|window| window == end) {
        let more = raw.0.read(&mut bytes[len..]).unwrap();
        assert!(more > 0, "ended early: {}", String::from_utf8_lossy(&bytes[..len]));
        len += more;
    }
}

/// A client in one of many states.
fn come(server: &Running, number: usize) -> Raw {
    let open = |path: &str| server.raw().upgrade(path);
    let say = |raw: &mut Raw, text: String| raw.send(masked(0x81, text.as_bytes()));
    match number % 6 {
        // Only a socket; a client that has not said who it is.
        0 => server.raw(),
        1 => open("/connection/websocket"),
        // A connection that is a channel, of its own name.
        2 => {
            let mut raw = open(&format!("/channel/own{number}?hello=1"));
            read_to(&mut raw, b"\"channel\"");
            say(&mut raw, "to myself".to_owned());
            read_to(&mut raw, b"to myself");
            raw
        }
        // Subscriptions to a channel of all, to one that is kept, and to many of its own.
        kind => {
            let mut raw = open("/connection/websocket");
            say(&mut raw, r#"{"id":1,"connect":{}}"#.to_owned());
            read_to(&mut raw, b"\"client\"");
            let mut commands = vec![
                r#"{"id":2,"subscribe":{"channel":"all","join_leave":false}}"#.to_owned(),
                r#"{"id":3,"subscribe":{"channel":"kept:a","recoverable":true,"positioned":true}}"#.to_owned(),
            ];
            let each_own = |method: &str, first: u32| {
                let command = |each| format!(r#"{{"id":{},"{method}":{{"channel":"{number}x{each}"}}}}"#, first + each);
                (0..20).map(command).collect::<Vec<_>>()
            };
            commands.extend(each_own("subscribe", 10));
            commands.push(format!(r#"{{"id":99,"publish":{{"channel":"{number}x0","data":{{"n":{number}}}}}}}"#));
            if number.is_multiple_of(50) {
                commands.push(r#"{"id":98,"publish":{"channel":"kept:a","data":"0123456789"}}"#.to_owned());
            }
            if kind == 4 {
                commands.extend(each_own("unsubscribe", 40));
            }
            commands.push(r#"{"id":100,"ping":{}}"#.to_owned());
            say(&mut raw, commands.join("\n"));
            raw
        }
    }
}

/// It goes: properly, in the midst of a command, or by breaking a rule.
fn go(mut raw: Raw, number: usize) {
    match number % 5 {
        0 => raw.send(masked(0x88, b"\x03\xe8")),
        1 => raw.send(&masked(0x81, br#"{"id":101,"publish":{"channel":"all","data":1}}"#)[..20]),
        2 => raw.send(masked(0x81, b"nonsense")),
        _ => {}
    }
    raw.reset();
}

#[test]
fn crowds_of_clients_leave_nothing_behind() {
    let (server, handle) = start();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    server.ask(|_| ());
    let before = descriptors();
    let crowd = |first: usize| {
        let mut clients: Vec<_> = (first..first + CROWD).map(|number| (number, come(&server, number))).collect();
        // Those who came first do not go first.
        let half = clients.split_off(CROWD / 2);
        half.into_iter().chain(clients).for_each(|(number, raw)| go(raw, number / 6));
        server.wait_until("all are gone", |server| {
            server.handle.metrics().connections_open == 0 && descriptors() == before
        });
        let counts = handle.with_hub(|hub, _, _| hub.counts()).wait().unwrap();
        assert_eq!((counts.sessions, counts.subscriptions, counts.channels), (0, 0, 1), "{counts:?}");
        counting::live()
    };
    // What is kept for reuse is there after the first few.
    let first = (0..4).fold(0, |_, number| crowd(number * CROWD));
    let last = (4..4 + CROWDS).fold(first, |_, number| crowd(number * CROWD));
    assert!((last - first).abs() < 16 * 1024, "{first} bytes before, {last} after");
}
