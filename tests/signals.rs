//! What the process's signals do to a loop. Alone in its process, because signals are everybody's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{
    Answer, Application, ConnectionId, EventLoop, ListenAddr, ListenConfig, NetConfig, Remote, Sessions,
};
use loopwire::protocol::{Closed, Config, Event};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::raise;

/// Set in the process that is to be ended by force.
const CHILD: &str = "LOOPWIRE_TEST_SIGNALS_CHILD";

/// Says when it was told to reload or to drain.
struct App(mpsc::Sender<&'static str>);

impl Application for App {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
        Answer::Accept(Acceptance::default(), Arc::new(Config::default()))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
        Some(Response::new(404))
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, _: &mut Sessions, _: ConnectionId, _: Event<'_>) {}

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, _: Closed) {}

    fn task(&mut self, _: &mut Sessions, (): ()) {}

    fn reload(&mut self, _: &mut Sessions) {
        self.0.send("reload").unwrap();
    }

    fn draining(&mut self, _: &mut Sessions) {
        self.0.send("draining").unwrap();
    }
}

/// A loop that takes signals, what it says, a client connected to it, and the way in.
fn start() -> (thread::JoinHandle<()>, mpsc::Receiver<&'static str>, TcpStream, Remote<()>) {
    let mut event_loop = EventLoop::new(NetConfig::default()).unwrap();
    let addr = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
    let ListenAddr::Tcp(addr) = event_loop.listen(ListenConfig::new(addr)).unwrap() else { unreachable!() };
    event_loop.handle_signals().unwrap();
    let remote = event_loop.remote();
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || event_loop.run(&mut App(sender)).unwrap());

    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (thread, receiver, stream, remote)
}

#[test]
fn hangup_reloads_the_first_signal_drains_and_the_second_forces() {
    let timeout = Duration::from_secs(10);
    if std::env::var_os(CHILD).is_some() {
        // The client never answers the Close, so only force ends this process before its time.
        let (thread, said, _stream, _remote) = start();
        raise(SIGINT).unwrap();
        assert_eq!(said.recv_timeout(timeout), Ok("draining"));
        raise(SIGTERM).unwrap();
        thread.join().unwrap();
        return;
    }

    // A drain that was not begun by a signal has its first one still to come.
    for already_draining in [false, true] {
        let (thread, said, mut stream, remote) = start();
        raise(SIGHUP).unwrap();
        assert_eq!(said.recv_timeout(timeout), Ok("reload"));
        if already_draining {
            remote.shutdown(timeout);
            assert_eq!(said.recv_timeout(timeout), Ok("draining"));
        }
        raise(SIGTERM).unwrap();
        if !already_draining {
            assert_eq!(said.recv_timeout(timeout), Ok("draining"));
        }
        let mut close = [0; 4];
        stream.read_exact(&mut close).unwrap();
        assert_eq!(close, *b"\x88\x02\x03\xe9");
        stream.write_all(b"\x88\x82\0\0\0\0\x03\xe9").unwrap();
        assert_eq!(stream.read(&mut close).unwrap(), 0);
        drop(stream);
        thread.join().unwrap();
    }

    let status = Command::new(std::env::current_exe().unwrap()).env(CHILD, "1").status().unwrap();
    assert_eq!(status.code(), Some(1));
}
