//! What the tests over real sockets share: a server on a thread, a handler that tells what it hears, peers that cannot
//! hang.

// Each test crate uses its own part of this, and no one else any.
#![allow(dead_code, missing_debug_implementations, missing_docs, unreachable_pub)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use loopwire::{
    Closed, ConnectionId, Connections, DialError, Handler, HttpAnswer, HttpExchange, Message, PeerAddr, Piece,
    ProtocolError, Server, ServerBuilder, ServerHandle, Side, Upgrade, UpgradeRequest, WebSocket,
};

/// Longer than anything here takes; a test that would hang fails instead.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Peer = tungstenite::WebSocket<TcpStream>;

/// A server on a thread of its own; dropping it shuts it down and waits for it.
pub struct Running {
    pub addr: SocketAddr,
    pub handle: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    pub fn start(builder: ServerBuilder, handler: impl Handler + Send + 'static) -> Self {
        Self::of(builder.listen("127.0.0.1:0").build().unwrap(), move |server| server.run(handler))
    }

    pub fn start_each<H: Handler + 'static>(
        builder: ServerBuilder,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Self {
        Self::of(builder.listen("127.0.0.1:0").build().unwrap(), move |server| server.run_each(make))
    }

    pub fn of(server: Server, run: impl FnOnce(Server) -> io::Result<()> + Send + 'static) -> Self {
        let (addr, handle) = (server.local_addr().unwrap(), server.handle());
        Self { addr, handle, thread: Some(std::thread::spawn(move || run(server))) }
    }

    /// A raw connection.
    pub fn raw(&self) -> Raw {
        Raw::connect(self.addr)
    }

    /// An open WebSocket, by another implementation.
    pub fn open(&self) -> Peer {
        self.open_at("/")
    }

    pub fn open_at(&self, path: &str) -> Peer {
        let stream = self.raw().0;
        tungstenite::client(format!("ws://{}{path}", self.addr), stream).unwrap().0
    }

    /// Runs `look` on the first loop's thread, behind all that other threads have asked so far.
    pub fn ask<T: Send + 'static>(&self, look: impl FnOnce(&mut Connections<'_>) -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        self.handle.run(move |connections| sender.send(look(connections)).unwrap()).unwrap();
        receiver.recv_timeout(PATIENCE).unwrap()
    }

    /// Asks until the answer is yes.
    pub fn wait_until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !check(self) {
            assert!(Instant::now() < end, "not in time: {what}");
            // A turn of the loop rather than a pause.
            self.ask(|_| ());
        }
    }

    /// Shuts down and says how the run ended.
    pub fn stop(mut self) -> io::Result<()> {
        self.handle.shutdown(PATIENCE);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shutdown(Duration::ZERO);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// What a handler heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Upgrade(String),
    Http(String),
    Open(ConnectionId),
    Text(String),
    Binary(usize),
    Piece(usize, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>, bool),
    Writable(ConnectionId),
    Error(u16),
    Close { id: ConnectionId, code: u16, clean: bool, by: Side },
    Timer(u64),
    LoopTimer(u64),
    Task(&'static str),
    DialFailed(String),
    Reconnecting(u32),
    Draining,
}

/// Echoes, and tells everything to a channel. A text that begins with `!` is an order.
pub struct Teller(pub Sender<Heard>);

pub struct Ear(Receiver<Heard>);

pub fn teller() -> (Teller, Ear) {
    let (sender, receiver) = mpsc::channel();
    (Teller(sender), Ear(receiver))
}

impl Ear {
    pub fn next(&self) -> Heard {
        self.0.recv_timeout(PATIENCE).expect("something should have been heard by now")
    }

    /// What was heard and not taken yet.
    pub fn rest(&self) -> Vec<Heard> {
        self.0.try_iter().collect()
    }

    /// Passes over everything up to the next that is `wanted`.
    pub fn find<T>(&self, mut wanted: impl FnMut(Heard) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.next()) {
                return found;
            }
        }
    }

    pub fn opened(&self) -> ConnectionId {
        self.find(|heard| match heard {
            Heard::Open(id) => Some(id),
            _ => None,
        })
    }

    pub fn closed(&self) -> (ConnectionId, u16) {
        self.find(|heard| match heard {
            Heard::Close { id, code, .. } => Some((id, code)),
            _ => None,
        })
    }
}

impl Teller {
    fn tell(&self, heard: Heard) {
        // A test that has heard enough is gone.
        let _ = self.0.send(heard);
    }
}

impl Handler for Teller {
    fn on_upgrade(&mut self, request: &UpgradeRequest, _: &PeerAddr) -> Upgrade {
        self.tell(Heard::Upgrade(request.path().to_owned()));
        match request.path().strip_prefix("/status/") {
            Some(status) => Upgrade::reject(status.parse().unwrap()),
            None => Upgrade::accept(),
        }
    }

    fn on_http(&mut self, _: &mut Connections<'_>, exchange: HttpExchange<'_>) -> HttpAnswer {
        self.tell(Heard::Http(format!("{} {}", exchange.request.method(), exchange.request.path())));
        HttpAnswer::Default
    }

    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        self.tell(Heard::Open(ws.id()));
    }

    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) => {
                assert_ne!(text, "!panic", "an order to panic");
                self.tell(Heard::Text(text.to_owned()));
            }
            Message::Binary(bytes) => self.tell(Heard::Binary(bytes.len())),
        }
        let _ = ws.send(message);
    }

    fn on_piece(&mut self, _: &mut WebSocket<'_>, piece: Piece<'_>) {
        self.tell(Heard::Piece(piece.data.len(), piece.last));
    }

    fn on_ping(&mut self, _: &mut WebSocket<'_>, payload: &[u8]) {
        self.tell(Heard::Ping(payload.to_owned()));
    }

    fn on_pong(&mut self, _: &mut WebSocket<'_>, payload: &[u8], rtt: Option<Duration>) {
        self.tell(Heard::Pong(payload.to_owned(), rtt.is_some()));
    }

    fn on_writable(&mut self, ws: &mut WebSocket<'_>) {
        self.tell(Heard::Writable(ws.id()));
    }

    fn on_error(&mut self, _: &mut WebSocket<'_>, error: &ProtocolError) {
        self.tell(Heard::Error(error.close_code().0));
    }

    fn on_close(&mut self, ws: &mut WebSocket<'_>, closed: &Closed) {
        self.tell(Heard::Close { id: ws.id(), code: closed.code.0, clean: closed.clean, by: closed.by });
    }

    fn on_timer(&mut self, _: &mut WebSocket<'_>, key: u64) {
        self.tell(Heard::Timer(key));
    }

    fn on_loop_timer(&mut self, _: &mut Connections<'_>, key: u64) {
        self.tell(Heard::LoopTimer(key));
    }

    fn on_task(&mut self, _: &mut Connections<'_>, task: Box<dyn std::any::Any + Send>) {
        self.tell(Heard::Task(task.downcast::<&'static str>().unwrap().as_ref()));
    }

    fn on_dial_failed(&mut self, _: &mut Connections<'_>, _: ConnectionId, error: &DialError) {
        self.tell(Heard::DialFailed(error.to_string()));
    }

    fn on_reconnecting(&mut self, _: &mut Connections<'_>, _: Duration, attempt: u32) {
        self.tell(Heard::Reconnecting(attempt));
    }

    fn on_draining(&mut self, _: &mut Connections<'_>) {
        self.tell(Heard::Draining);
    }
}

/// A socket whose reads and writes cannot hang.
pub struct Raw(pub TcpStream);

impl Raw {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// An opening handshake that is right, up to the end of the answer's head.
    pub fn upgrade(mut self, path: &str) -> Self {
        self.send(request(path));
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    /// The answer's head.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    pub fn expect(&mut self, bytes: &[u8]) {
        let mut received = vec![0; bytes.len()];
        self.0.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes);
    }

    /// Everything up to the end of the stream, which must come without a reset.
    pub fn all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Ends the connection by a reset, which leaves no port waiting.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// An opening handshake that is right.
pub fn request(path: &str) -> String {
    request_with(path, "")
}

/// The same with more fields, each ended by CRLF.
pub fn request_with(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

/// A masked frame, its first byte given; a mask of zeros leaves the payload readable.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            frame.push(0xfe);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A Close as a server sends it, with the code first and whatever reason.
pub fn close_code(frame: &[u8]) -> Option<u16> {
    match frame {
        [0x88, len, high, low, ..] if *len >= 2 => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}
