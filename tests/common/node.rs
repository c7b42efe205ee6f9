//! A loop on a thread of its own, as server or client, that tells a test what happens to it.

// Each test crate uses its own part of this, and no one else any.
#![allow(dead_code, missing_debug_implementations, missing_docs, unreachable_pub)]

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{
    Answer, Application, ConnectionId, DialError, DialRequest, EventLoop, ListenAddr, ListenConfig, NetConfig, Remote,
    Sessions, TlsAcceptor,
};
use loopwire::protocol::{Closed, Config, Event};
use loopwire::wire::Message;

/// Long enough for any machine; nobody waits for it unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What happened.
#[derive(Debug)]
pub enum Told {
    Opened(ConnectionId),
    Message(Vec<u8>),
    Closed(u16),
    DialFailed(DialError),
}

type Task = Box<dyn FnOnce(&mut Sessions) + Send>;

/// Echoes as a server, tells as a client.
struct Peer {
    config: Arc<Config>,
    told: mpsc::Sender<Told>,
    is_server: bool,
}

impl Peer {
    fn tell(&self, told: Told) {
        // A test that has seen enough does not listen any more.
        let _ = self.told.send(told);
    }
}

impl Application for Peer {
    type Task = Task;

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
        Answer::Accept(Acceptance::default(), Arc::clone(&self.config))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, request: &Request, _: &[u8]) -> Option<Response> {
        Some(Response::text(200, request.path()))
    }

    fn opened(&mut self, _: &mut Sessions, id: ConnectionId) {
        self.tell(Told::Opened(id));
    }

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        if let Event::Message(message) = event {
            if self.is_server {
                let _ = sessions.send(id, message);
            } else {
                self.tell(Told::Message(message.payload().to_vec()));
            }
        }
    }

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, closed: Closed) {
        self.tell(Told::Closed(closed.code.0));
    }

    fn dial_failed(&mut self, _: &mut Sessions, _: ConnectionId, error: DialError) {
        self.tell(Told::DialFailed(error));
    }

    fn task(&mut self, sessions: &mut Sessions, task: Task) {
        task(sessions);
    }
}

/// The loop; dropping it ends it.
pub struct Node {
    pub addr: ListenAddr,
    remote: Remote<Task>,
    told: mpsc::Receiver<Told>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Node {
    /// An echo server on a port of this machine.
    pub fn server(config: NetConfig, tls: Option<&TlsAcceptor>) -> Self {
        Self::server_at(ListenAddr::Tcp("127.0.0.1:0".parse().unwrap()), config, tls)
    }

    pub fn server_at(addr: ListenAddr, config: NetConfig, tls: Option<&TlsAcceptor>) -> Self {
        let mut listen = ListenConfig::new(addr);
        listen.tls = tls.cloned();
        Self::start(config, Some(listen))
    }

    /// A loop that listens nowhere.
    pub fn client() -> Self {
        Self::start(NetConfig::default(), None)
    }

    fn start(config: NetConfig, listen: Option<ListenConfig>) -> Self {
        let (tell, told) = mpsc::channel();
        let mut event_loop = EventLoop::new(config).unwrap();
        let is_server = listen.is_some();
        let addr = listen.map(|listen| event_loop.listen(listen).unwrap());
        let addr = addr.unwrap_or_else(|| ListenAddr::Tcp("127.0.0.1:0".parse().unwrap()));
        let remote = event_loop.remote();
        let mut peer = Peer { config: Arc::default(), told: tell, is_server };
        let thread = thread::spawn(move || event_loop.run(&mut peer).unwrap());
        Self { addr, remote, told, thread: Some(thread) }
    }

    pub fn socket_addr(&self) -> SocketAddr {
        let ListenAddr::Tcp(addr) = self.addr else { panic!("not a port: {}", self.addr) };
        addr
    }

    pub fn port(&self) -> u16 {
        self.socket_addr().port()
    }

    pub fn run(&self, task: impl FnOnce(&mut Sessions) + Send + 'static) {
        assert!(self.remote.post(Box::new(task)).is_ok(), "the loop has ended");
    }

    pub fn next(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("something to happen")
    }

    /// Dials and waits for the connection to open.
    pub fn open(&self, request: DialRequest) -> ConnectionId {
        match self.dial(request) {
            Ok(id) => id,
            Err(error) => panic!("{error}"),
        }
    }

    /// Dials and waits for what comes of it.
    pub fn dial(&self, request: DialRequest) -> Result<ConnectionId, DialError> {
        self.run(move |sessions| {
            sessions.dial(request);
        });
        match self.next() {
            Told::Opened(id) => Ok(id),
            Told::DialFailed(error) => Err(error),
            told => panic!("{told:?}"),
        }
    }

    /// Sends a message and expects it back.
    pub fn expect_echo(&self, id: ConnectionId, message: &[u8]) {
        let sent = message.to_vec();
        self.run(move |sessions| {
            let _ = sessions.send(id, Message::Binary(&sent)).unwrap();
        });
        match self.next() {
            Told::Message(received) => assert!(received == message, "another message came back"),
            told => panic!("{told:?}"),
        }
    }

    /// Closes the connection and expects that the other end agrees.
    pub fn expect_close(&self, id: ConnectionId) {
        self.run(move |sessions| sessions.close(id, loopwire::wire::CloseCode::NORMAL, "").unwrap());
        match self.next() {
            Told::Closed(code) => assert_eq!(code, 1000),
            told => panic!("{told:?}"),
        }
    }
}

impl Drop for Node {
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
