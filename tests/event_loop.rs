//! The event loop over real sockets: what only the operating system can show.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, mpsc};
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

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, request: &Request, _: &[u8]) -> Option<Response> {
        Some(Response::text(200, request.path()))
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        if let Event::Message(message) = event {
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
fn a_message_comes_back_and_a_plain_request_is_answered() {
    let server = Running::start(NetConfig::default());
    let mut stream = server.open();
    stream.write_all(&text("Hello")).unwrap();
    expect(&mut stream, b"\x81\x05Hello");

    let mut plain = server.connect();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(read_head(&mut plain).starts_with("HTTP/1.1 200 "));
    expect(&mut plain, b"/healthz");
    expect_end(&mut plain);
}

#[test]
fn the_close_arrives_although_the_peer_goes_on_sending() {
    let server = Running::start(NetConfig::default());
    let mut stream = server.open();
    // An unmasked frame, and much behind it that the server never wants to see.
    stream.write_all(b"\x81\x01a").unwrap();
    for _ in 0..50 {
        if stream.write_all(&[0; 16 * 1024]).is_err() {
            break;
        }
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((head[0], &head[2..]), (0x88, &1002_u16.to_be_bytes()[..]), "no reset overtakes the Close");
}

#[test]
fn writing_to_a_peer_that_is_gone_ends_only_that_connection() {
    let server = Running::start(NetConfig::default());
    let mut survivor = server.open();
    for _ in 0..20 {
        let mut stream = server.open();
        // A large echo towards a socket that is closed without reading it.
        let len = 60_000_u16.to_be_bytes();
        stream.write_all(&[&[0x82, 0xfe, len[0], len[1], 0, 0, 0, 0][..], &vec![0; 60_000]].concat()).unwrap();
        drop(stream);
    }
    survivor.write_all(&text("still here")).unwrap();
    expect(&mut survivor, b"\x81\x0astill here");
    wait_until(&server, |sessions| sessions.len() == 1);
}

#[test]
fn connections_in_quick_succession_leave_nothing() {
    let server = Running::start(NetConfig::default());
    for round in 0..500 {
        let mut stream = server.connect();
        if round % 2 == 0 {
            stream.write_all(&HANDSHAKE[..round % HANDSHAKE.len()]).unwrap();
        }
    }
    wait_until(&server, Sessions::is_empty);
}

#[test]
fn tasks_from_other_threads_reach_the_sessions_in_order() {
    let server = Running::start(NetConfig::default());
    let mut stream = server.open();
    for number in 0..10_u8 {
        server
            .remote
            .post(Box::new(move |sessions| {
                let ids: Vec<_> = sessions.ids().collect();
                for id in ids {
                    let _ = sessions.send(id, &[number]);
                }
            }))
            .unwrap();
    }
    let expected: Vec<u8> = (0..10).flat_map(|number| [0x82, 1, number]).collect();
    expect(&mut stream, &expected);
}

#[test]
fn a_task_that_panics_ends_neither_the_loop_nor_a_connection() {
    let server = Running::start(NetConfig::default());
    let mut stream = server.open();
    server.remote.post(Box::new(|_| std::panic::resume_unwind(Box::new("as asked")))).unwrap();
    stream.write_all(&text("Hello")).unwrap();
    expect(&mut stream, b"\x81\x05Hello");
}

#[test]
fn a_shutdown_says_1001_and_ends_the_loop() {
    let mut server = Running::start(NetConfig::default());
    let mut stream = server.open();
    server.remote.shutdown(Duration::from_secs(30));
    expect(&mut stream, b"\x88\x02\x03\xe9");
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe9").unwrap();
    expect_end(&mut stream);
    drop(stream);
    server.thread.take().unwrap().join().unwrap();
    assert!(TcpStream::connect(server.addr).is_err(), "nobody listens any more");
    assert!(server.remote.post(Box::new(|_| ())).is_err());
}

#[test]
fn a_unix_socket_serves_replaces_a_stale_file_and_removes_its_own() {
    let dir = std::env::temp_dir().join(format!("loopwire-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket");
    // What a server that crashed leaves behind.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());

    let config = ListenConfig::new(ListenAddr::Unix(path.clone()));
    let mut event_loop = EventLoop::new(NetConfig::default()).unwrap();
    event_loop.listen(config.clone()).unwrap();
    let taken = EventLoop::<Echo>::new(NetConfig::default()).unwrap().listen(config);
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::AddrInUse, "a live socket is not taken over");
    let remote = event_loop.remote();
    let thread = thread::spawn(move || event_loop.run(&mut Echo::default()).unwrap());

    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[HANDSHAKE, &text("Hello")].concat()).unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"\x81\x05Hello") {
        let mut bytes = [0; 1024];
        let len = stream.read(&mut bytes).unwrap();
        assert_ne!(len, 0);
        reply.extend_from_slice(&bytes[..len]);
    }
    drop(stream);
    remote.shutdown(Duration::ZERO);
    thread.join().unwrap();
    assert!(!path.exists());
    std::fs::remove_dir(&dir).unwrap();
}

#[test]
fn a_unix_socket_whose_path_was_taken_over_leaves_it_alone() {
    let dir = std::env::temp_dir().join(format!("loopwire-taken-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("socket");
    let mut event_loop = EventLoop::<Echo>::new(NetConfig::default()).unwrap();
    event_loop.listen(ListenConfig::new(ListenAddr::Unix(path.clone()))).unwrap();

    // The new file exists before the old one goes, so that it cannot be given the same number.
    let successor = UnixListener::bind(dir.join("successor")).unwrap();
    std::fs::rename(dir.join("successor"), &path).unwrap();
    drop(event_loop);
    assert!(UnixStream::connect(&path).is_ok());
    drop(successor);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_socket_whose_server_is_stuck_is_in_use_and_not_waited_for() {
    let path = std::env::temp_dir().join(format!("loopwire-{}-stuck", std::process::id()));
    let stuck = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    stuck.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    stuck.listen(0).unwrap();
    // Nobody takes these, and there is no room for more.
    let waiting = UnixStream::connect(&path).unwrap();
    let (sender, receiver) = mpsc::channel();
    let addr = ListenAddr::Unix(path.clone());
    thread::spawn(move || {
        let mut event_loop = EventLoop::<Echo>::new(NetConfig::default()).unwrap();
        sender.send(event_loop.listen(ListenConfig::new(addr)).map(|_| ()))
    });
    let error = receiver.recv_timeout(Duration::from_secs(20)).expect("it does not wait").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(path.exists(), "its file is left alone");
    drop((stuck, waiting));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = std::env::temp_dir().join(format!("loopwire-{}-file", std::process::id()));
    std::fs::write(&path, "precious").unwrap();
    let listened =
        EventLoop::<Echo>::new(NetConfig::default()).unwrap().listen(ListenConfig::new(ListenAddr::Unix(path.clone())));
    assert!(listened.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn several_loops_share_a_port_and_name_their_connections_apart() {
    let mut remotes = Vec::new();
    let mut threads = Vec::new();
    let mut addr: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for loop_index in 0..3 {
        let mut config = NetConfig::default();
        config.loop_index = loop_index;
        let mut event_loop = EventLoop::new(config).unwrap();
        let mut listen = ListenConfig::new(ListenAddr::Tcp(addr));
        listen.reuse_port = true;
        let ListenAddr::Tcp(bound) = event_loop.listen(listen).unwrap() else { unreachable!() };
        addr = bound;
        remotes.push(event_loop.remote());
        threads.push(thread::spawn(move || event_loop.run(&mut Echo::default()).unwrap()));
    }
    let mut streams: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(HANDSHAKE).unwrap();
            read_head(&mut stream);
            stream
        })
        .collect();
    for stream in &mut streams {
        stream.write_all(&text("Hello")).unwrap();
        expect(stream, b"\x81\x05Hello");
    }
    let mut total = 0;
    for (loop_index, remote) in remotes.iter().enumerate() {
        let (sender, receiver) = mpsc::channel();
        let count: Task = Box::new(move |sessions| {
            let ids: Vec<_> = sessions.ids().collect();
            assert!(ids.iter().all(|id| usize::from(id.loop_index()) == loop_index));
            sender.send(ids.len()).unwrap();
        });
        remote.post(count).unwrap();
        total += receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        remote.shutdown(Duration::ZERO);
    }
    assert_eq!(total, 30);
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Asks the loop until it is so; every question is a turn of the loop, so nothing sleeps.
fn wait_until(server: &Running, holds: fn(&Sessions) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (sender, receiver) = mpsc::channel();
        let ask: Task = Box::new(move |sessions| sender.send(holds(sessions)).unwrap());
        server.remote.post(ask).unwrap();
        if receiver.recv_timeout(Duration::from_secs(10)).unwrap() {
            return;
        }
        assert!(Instant::now() < deadline, "it never came to hold");
    }
}
