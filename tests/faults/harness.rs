//! Sessions, an application that writes down what it hears, and a clock that moves only when told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{Answer, Application, ConnectionId, NetConfig, PeerAddr, Readiness, Sessions, Transport};
use loopwire::protocol::{Closed, Config, Event};
use loopwire::wire::{CloseCode, ProtocolError};

use crate::sim::pipe::{Pipe, Shared, SimStream};

pub const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub const READABLE: Readiness = Readiness { readable: true, writable: false, read_closed: false };
pub const WRITABLE: Readiness = Readiness { readable: false, writable: true, read_closed: false };

pub type Behaviour = fn(&mut Sessions, ConnectionId, &[u8]);

/// Writes down what it hears and does one thing with each message.
pub struct App {
    pub config: Arc<Config>,
    pub behaviour: Behaviour,
    pub requests: usize,
    pub body_limit: usize,
    /// Of plain requests.
    pub bodies: Vec<(ConnectionId, Vec<u8>)>,
    pub opened: Vec<ConnectionId>,
    pub messages: Vec<(ConnectionId, Vec<u8>)>,
    pub errors: Vec<ProtocolError>,
    pub closed: Vec<(ConnectionId, Closed)>,
    pub writable: usize,
    pub going_away: usize,
    pub timers: Vec<u64>,
}

pub fn echo(sessions: &mut Sessions, id: ConnectionId, payload: &[u8]) {
    let _ = match std::str::from_utf8(payload) {
        Ok(text) => sessions.send(id, text),
        Err(_) => sessions.send(id, payload),
    };
}

impl Application for App {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, request: &UpgradeRequest) -> Answer {
        self.requests += 1;
        if request.path() == "/panic" {
            // Without the hook's noise.
            std::panic::resume_unwind(Box::new("as asked"));
        }
        Answer::Accept(Acceptance::default(), Arc::clone(&self.config))
    }

    fn body_limit(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request) -> usize {
        self.body_limit
    }

    /// At `/later` it is answered when a test says so.
    fn request(&mut self, _: &mut Sessions, id: ConnectionId, request: &Request, body: &[u8]) -> Option<Response> {
        self.requests += 1;
        if request.path() == "/panic" {
            std::panic::resume_unwind(Box::new("as asked"));
        }
        self.bodies.push((id, body.to_owned()));
        (request.path() != "/later").then(|| Response::text(200, "plain"))
    }

    fn opened(&mut self, _: &mut Sessions, id: ConnectionId) {
        self.opened.push(id);
    }

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                self.messages.push((id, message.payload().to_vec()));
                (self.behaviour)(sessions, id, message.payload());
            }
            Event::Error(error) => self.errors.push(error),
            _ => {}
        }
    }

    fn writable(&mut self, _: &mut Sessions, _: ConnectionId) {
        self.writable += 1;
    }

    /// The first is told by us, and the engine has nothing to add.
    fn going_away(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        self.going_away += 1;
        if self.going_away == 1 {
            sessions.close(id, CloseCode(3001), "shutdown").unwrap();
        }
    }

    fn closed(&mut self, _: &mut Sessions, id: ConnectionId, closed: Closed) {
        self.closed.push((id, closed));
    }

    fn timer(&mut self, _: &mut Sessions, key: u64) {
        self.timers.push(key);
    }

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}

pub struct World {
    pub sessions: Sessions,
    pub app: App,
    pub now: Instant,
}

impl World {
    pub fn new(net: NetConfig, config: Config, behaviour: Behaviour) -> Self {
        let now = Instant::now();
        let app = App {
            config: Arc::new(config),
            behaviour,
            requests: 0,
            body_limit: 0,
            bodies: Vec::new(),
            opened: Vec::new(),
            messages: Vec::new(),
            errors: Vec::new(),
            closed: Vec::new(),
            writable: 0,
            going_away: 0,
            timers: Vec::new(),
        };
        Self { sessions: Sessions::new(net, None, None, now), app, now }
    }

    pub fn echo() -> Self {
        Self::new(NetConfig::default(), Config::default(), echo)
    }

    pub fn accept(&mut self, pipe: &Shared) -> ConnectionId {
        let stream = SimStream(Arc::clone(pipe));
        self.sessions.accept(Transport::Other(Box::new(stream)), PeerAddr::Unknown).unwrap()
    }

    /// A connection whose opening handshake is done.
    pub fn open(&mut self, pipe: &Shared) -> ConnectionId {
        let id = self.accept(pipe);
        pipe.lock().unwrap().arrive(HANDSHAKE);
        self.settle(&[(id, pipe)]);
        assert!(self.sessions.is_open(id));
        take(pipe);
        id
    }

    pub fn turn(&mut self) {
        self.sessions.tick(&mut self.app, self.now);
        self.sessions.flush(&mut self.app);
    }

    pub fn ready(&mut self, id: ConnectionId, readiness: Readiness) {
        self.sessions.ready(&mut self.app, id, readiness, self.now);
    }

    /// Reports what is due, turn by turn, until nothing is.
    pub fn settle(&mut self, links: &[(ConnectionId, &Shared)]) {
        for turn in 0.. {
            assert!(turn < 100_000, "it never comes to rest");
            for (id, pipe) in links {
                let due = std::mem::take(&mut pipe.lock().unwrap().due);
                self.ready(*id, due);
            }
            self.turn();
            let is_due = links.iter().any(|(_, pipe)| pipe.lock().unwrap().due != Readiness::default());
            if !is_due && !self.has_work() {
                return;
            }
        }
    }

    pub fn has_work(&self) -> bool {
        self.sessions.next_deadline().is_some_and(|deadline| deadline <= self.now)
    }

    /// Lets time pass, with every turn that is due on the way.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.sessions.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.turn();
        }
        self.now = end;
        self.turn();
    }
}

pub fn calm() -> Shared {
    Pipe::calm(1 << 20, usize::MAX)
}

pub fn take(pipe: &Shared) -> Vec<u8> {
    pipe.lock().unwrap().take(usize::MAX)
}

pub fn is_dropped(pipe: &Shared) -> bool {
    pipe.lock().unwrap().dropped
}

/// A client's frame under a mask of zeros, which leaves the payload readable.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0xfe);
            frame.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}
