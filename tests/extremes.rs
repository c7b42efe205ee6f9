//! Settings at the ends of their types, and applications that dial or panic where it hurts most: none of it stops a loop.

mod support;

use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use loopwire::handshake::Uri;
use loopwire::net::{DialRequest, NetConfig};
use loopwire::protocol::Config;
use loopwire::{
    Backoff, Client, ClientError, CloseCode, Closed, ConnectionId, Connections, DialError, Handler, Message, PeerAddr,
    ReconnectPolicy, Server, Upgrade, UpgradeRequest, WebSocket,
};
use support::{PATIENCE, Raw, Running, close_code, masked, teller};

/// Every time as long as can be said.
fn endless() -> (NetConfig, Config) {
    let mut net = NetConfig::default();
    net.head_timeout = Duration::MAX;
    net.tls_timeout = Duration::MAX;
    net.linger = Duration::MAX;
    net.accept_retry = Duration::MAX;
    net.drain_timeout = Duration::MAX;
    let mut config = Config::default();
    config.ping_interval = Some(Duration::MAX);
    config.pong_timeout = Duration::MAX;
    config.close_timeout = Duration::MAX;
    config.message_timeout = Duration::MAX;
    (net, config)
}

/// Says hello, and goodbye to the answer.
struct Hello;

impl Handler for Hello {
    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        ws.send("Hello").unwrap();
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, _: Message<'_>) {
        ws.close(CloseCode::NORMAL, "").unwrap();
    }
}

#[test]
fn times_without_end_are_no_accident() {
    let (net, config) = endless();
    let (teller, _ear) = teller();
    let server = Running::start(Server::builder().net(net.clone()).config(config.clone()), teller);
    let mut raw = server.raw().upgrade("/");
    raw.send([masked(0x01, b"Hel"), masked(0x80, b"lo"), masked(0x88, b"\x03\xe8")].concat());
    raw.expect(b"\x81\x05Hello\x88\x02\x03\xe8");
    assert_eq!(raw.all(), b"");
    let mut refused = server.raw();
    refused.send("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(refused.head().starts_with("HTTP/1.1 405 "));

    let backoff = Backoff::new().first(Duration::MAX).base(Duration::MAX).cap(Duration::MAX).stable(Duration::MAX);
    let client = Client::builder(format!("ws://{}/", server.addr))
        .net(net)
        .config(config)
        .connect_timeout(Duration::MAX)
        .reconnect(ReconnectPolicy::new(backoff))
        .build()
        .unwrap();
    assert!(run(client, Hello).recv_timeout(PATIENCE).unwrap().unwrap().clean);
}

/// Dials again, at once, whenever that failed.
struct Impatient(DialRequest);

impl Handler for Impatient {
    fn on_start(&mut self, connections: &mut Connections<'_>) {
        connections.dial(self.0.clone());
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        let _ = ws.send(message);
    }

    fn on_dial_failed(&mut self, connections: &mut Connections<'_>, _: ConnectionId, _: &DialError) {
        connections.dial(self.0.clone());
    }
}

#[test]
fn whoever_dials_again_at_once_holds_up_neither_the_loop_nor_its_end() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let request = DialRequest::new(Uri::parse(&format!("ws://{nobody}/")).unwrap());
    let mut full = NetConfig::default();
    full.max_connections = 0;
    // While there is no room it fails at once, and so it does while draining.
    for net in [NetConfig::default(), full] {
        let server = Server::builder().net(net).listen("127.0.0.1:0").build().unwrap();
        let handle = server.handle();
        let (sender, stopped) = mpsc::channel();
        let request = request.clone();
        thread::spawn(move || sender.send(server.run(Impatient(request))));
        let (sender, ran) = mpsc::channel();
        handle.run(move |_| sender.send(()).unwrap()).unwrap();
        ran.recv_timeout(PATIENCE).expect("the loop goes on");
        handle.shutdown(Duration::from_millis(100));
        stopped.recv_timeout(PATIENCE).expect("the server comes to an end").unwrap();
    }
}

fn run(client: Client, handler: impl Handler + Send + 'static) -> Receiver<Result<Closed, ClientError>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(client.run(handler)));
    receiver
}

/// Panics when it hears of an end.
struct Fragile;

impl Handler for Fragile {
    fn on_close(&mut self, _: &mut WebSocket<'_>, _: &Closed) {
        // Without the hook's noise.
        std::panic::resume_unwind(Box::new("as asked"));
    }

    fn on_dial_failed(&mut self, _: &mut Connections<'_>, _: ConnectionId, _: &DialError) {
        std::panic::resume_unwind(Box::new("as asked"));
    }
}

#[test]
fn a_client_whose_handler_panics_at_an_end_still_comes_to_its_own() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let url = format!("ws://{}/", server.addr);
    let at_once = || {
        let backoff = Backoff::new().first(Duration::ZERO).base(Duration::ZERO);
        ReconnectPolicy::new(backoff).max_attempts(1)
    };

    let client = run(Client::builder(url.clone()).build().unwrap(), Fragile);
    let id = ear.opened();
    server.handle.close(id, CloseCode(3000), "").unwrap();
    assert_eq!(client.recv_timeout(PATIENCE).expect("it ends").unwrap().code.0, 3000);

    let client = run(Client::builder(url).reconnect(at_once()).build().unwrap(), Fragile);
    for _ in 0..2 {
        // And dials again, as it was told.
        server.handle.close(ear.opened(), CloseCode(3000), "").unwrap();
    }
    assert_eq!(client.recv_timeout(PATIENCE).expect("it ends").unwrap().code.0, 3000);

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::builder(format!("ws://{nobody}/")).reconnect(at_once()).build().unwrap();
    let ended = run(client, Fragile).recv_timeout(PATIENCE).expect("it ends");
    assert!(matches!(ended, Err(ClientError::Dial(DialError::Unreachable { .. }))), "{ended:?}");
}

#[test]
fn limits_of_nothing_and_of_everything_are_limits() {
    for extreme in [0, usize::MAX] {
        let mut net = NetConfig::default();
        net.high_water_mark = extreme;
        net.max_buffered = extreme;
        net.turn_bytes = extreme;
        net.turn_events = extreme;
        net.accept_batch = extreme;
        net.task_batch = extreme;
        net.drain_batch = extreme;
        net.receive_buffer = extreme;
        let mut config = Config::default();
        config.max_message = extreme;
        config.fragment_size = Some(extreme);
        config.max_fragments = u32::try_from(extreme).unwrap_or(u32::MAX);
        config.max_control_rate = config.max_fragments;
        let (teller, _ear) = teller();
        let server = Running::start(Server::builder().net(net.clone()).config(config), teller);
        let mut raw: Raw = server.raw().upgrade("/");
        raw.send(masked(0x82, b""));
        raw.expect(b"\x82\x00");
        raw.send(masked(0x81, b"Hello"));
        if extreme == 0 {
            assert_eq!(close_code(&raw.all()), Some(1009));
        } else {
            raw.expect(b"\x81\x05Hello");
            // A frame with a length that no memory has, of which nothing comes.
            raw.send(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x");
        }
        let (teller, _ear) = support::teller();
        let server = Running::start(Server::builder(), teller);
        let client = Client::builder(format!("ws://{}/", server.addr)).net(net).build().unwrap();
        assert!(run(client, Hello).recv_timeout(PATIENCE).expect("it hears the answer").unwrap().clean);
    }
}

/// Goes off when it is let go of.
struct Mine;

impl Drop for Mine {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("as asked"));
    }
}

/// Gives every connection a mine, and takes only those that are on the right path.
struct Minefield;

impl Handler for Minefield {
    fn on_upgrade(&mut self, _: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
        Upgrade::accept().data(Mine)
    }

    fn on_task(&mut self, _: &mut Connections<'_>, _: Box<dyn std::any::Any + Send>) {}
}

#[test]
fn what_an_application_keeps_may_panic_when_it_is_dropped() {
    for builder in [Server::builder(), Server::builder().protocols(["none"]).require_protocol()] {
        let server = Running::start(builder, Minefield);
        for _ in 0..3 {
            let mut raw = server.raw();
            raw.send(support::request("/"));
            // Open, or refused behind the handler's back.
            let _ = raw.head();
            raw.reset();
        }
        server.handle.post(0, Mine).unwrap();
        server.wait_until("nobody is left", |server| server.handle.metrics().connections_open == 0);
        server.stop().unwrap();
    }
}
