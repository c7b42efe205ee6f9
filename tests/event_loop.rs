//! The event loop over real sockets: what only the operating system can show.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{
    Answer, Application, ConnectionId, EventLoop, ListenAddr, ListenConfig, NetConfig, Remote, Sessions,
};
use loopwire::protocol::{Closed, Config, Event};

/// Echoes messages; tasks are closures, so that each test says itself what it needs.
#[derive(Default)]
struct Echo {
    config: Arc<Config>,
}

type Task = Box<dyn FnOnce(&mut Sessions) + Send>;

impl Application for Echo {
    type Task = Task;

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
        Answer::Accept(Acceptance::default(), Arc::clone(&self.config))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, request: &Request) -> Response {
        Response::text(200, request.path())
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        if let Event::Message(message) = event {
            assert_ne!(message.as_text(), Some("panic"), "the application was asked to panic");
            let _ = sessions.send(id, message);
        }
    }

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, _: Closed) {}

    fn task(&mut self, sessions: &mut Sessions, task: Task) {
        task(sessions);
    }
}

/// A loop on a thread of its own; dropping it shuts it down and waits for it.
struct Running {
    addr: SocketAddr,
    remote: Remote<Task>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(config: NetConfig) -> Self {
        let mut event_loop = EventLoop::new(config).unwrap();
        let addr = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let ListenAddr::Tcp(addr) = event_loop.listen(ListenConfig::new(addr)).unwrap() else { unreachable!() };
        let remote = event_loop.remote();
        let thread = thread::spawn(move || event_loop.run(&mut Echo::default()).unwrap());
        Self { addr, remote, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn open(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(HANDSHAKE).unwrap();
        read_head(&mut stream);
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.remote.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn text(message: &str) -> Vec<u8> {
    // A mask of zeros leaves the payload readable.
    [&[0x81, 0x80 | message.len() as u8, 0, 0, 0, 0], message.as_bytes()].concat()
}

fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, bytes);
}

fn expect_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "the stream ends");
}

#[test]
fn a_task_finds_the_time_of_its_own_turn() {
    // A deadline that is counted from an earlier turn, perhaps hours ago, has passed before it began.
    let mut event_loop = EventLoop::new(NetConfig::default()).unwrap();
    let remote = event_loop.remote();
    for _ in 0..2 {
        let posted = Instant::now();
        let task = move |sessions: &mut Sessions| assert!(sessions.now() >= posted, "the time stood still");
        let (done, ended) = mpsc::channel();
        let task: Task = Box::new(move |sessions| {
            task(sessions);
            done.send(()).unwrap();
        });
        assert!(remote.post(task).is_ok());
        event_loop.turn(&mut Echo::default(), Some(Duration::ZERO)).unwrap();
        ended.try_recv().expect("the task ran to its end");
    }
}

#[test]
fn echoes() {
    let server = Running::start(NetConfig::default());
    let mut stream = server.open();
    stream.write_all(&text("Hello")).unwrap();
    expect(&mut stream, b"\x81\x05Hello");
}
