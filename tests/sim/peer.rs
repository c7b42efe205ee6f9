//! The other end of a simulated stream: the protocol's own state machine in the opposite role, with habits of its own.

use std::sync::Arc;
use std::time::Instant;

use loopwire::deflate::DeflateConfig;
use loopwire::handshake::{
    Acceptance, ClientHandshake, ClientOptions, HeadLimits, HeadReader, Request, UpgradeRequest, Uri,
};
use loopwire::protocol::{Config, Connection, Event, Input, Role, Scratch, State, Teardown};
use loopwire::wire::{CloseCode, MessageKind};

use super::pipe::Shared;
use super::rng::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The peer ends its direction.
    Fin,
    /// The connection is reset.
    Reset,
}

pub struct Peer {
    pub rng: Rng,
    pub pipe: Shared,
    stage: Stage,
    /// Written, not yet on the wire.
    out: Vec<u8>,
    /// Bytes put on the wire.
    pub delivered: usize,
    /// Messages it still wants to send.
    to_send: usize,
    /// Whether it ends by a Close once all is sent.
    closes: bool,
    /// At which byte the stream is cut, and how.
    pub cut: Option<(usize, Cut)>,
    /// Reads at most so much at a time; 0 never reads.
    pub appetite: usize,
    /// Sends rubbish sooner or later.
    evil: bool,
    was_evil: bool,
    said_close: bool,
    pub sent: Vec<Vec<u8>>,
    pub received: Vec<Vec<u8>>,
    /// The session's Close came.
    pub got_close: bool,
    /// The peer's stream is over, as far as it is concerned.
    pub ended: bool,
    /// What must not be.
    pub violations: Vec<String>,
    scratch: Scratch,
    config: Arc<Config>,
}

enum Stage {
    /// The request is sent; waits for the answer.
    Asking(ClientHandshake),
    /// Waits for a request.
    Listening(HeadReader),
    Open(Connection),
    /// Refused, or the stream ended.
    Over,
}

impl Peer {
    /// A client towards a session that serves.
    pub fn client(rng: &mut Rng, pipe: Shared, config: Arc<Config>) -> Self {
        let mut rng = rng.fork();
        let uri = Uri::parse("ws://sim.example/").unwrap();
        let deflate = rng.one_in(3).then(DeflateConfig::default);
        let options = ClientOptions { deflate, ..ClientOptions::default() };
        let (handshake, request) = ClientHandshake::with_nonce(&uri, &options, [7; 16]).unwrap();
        Self::new(rng, pipe, config, Stage::Asking(handshake), request)
    }

    /// A server towards a session that dials.
    pub fn server(rng: &mut Rng, pipe: Shared, config: Arc<Config>) -> Self {
        Self::new(rng.fork(), pipe, config, Stage::Listening(HeadReader::new(HeadLimits::default())), Vec::new())
    }

    fn new(mut rng: Rng, pipe: Shared, config: Arc<Config>, stage: Stage, out: Vec<u8>) -> Self {
        let cut = rng.one_in(4).then(|| (rng.below(3_000), rng.pick(&[Cut::Fin, Cut::Reset])));
        Self {
            stage,
            out,
            delivered: 0,
            to_send: rng.below(25),
            closes: rng.one_in(2),
            cut,
            appetite: rng.pick(&[0, 5, 300, 20_000, 20_000, 20_000]),
            evil: rng.one_in(12),
            was_evil: false,
            said_close: false,
            sent: Vec::new(),
            received: Vec::new(),
            got_close: false,
            ended: false,
            violations: Vec::new(),
            scratch: Scratch::new(),
            pipe,
            config,
            rng,
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(&self.stage, Stage::Open(connection) if connection.state() == State::Open)
    }

    /// Whether it has sent rubbish, so that nobody knows what the session makes of it.
    pub fn evil_once(&self) -> bool {
        self.was_evil
    }

    /// Whether it began to close, from when on it hears nothing.
    pub fn said_close(&self) -> bool {
        self.said_close
    }

    /// Stops wanting anything but to answer.
    pub fn calm_down(&mut self) {
        self.to_send = 0;
        self.closes = false;
        self.evil = false;
    }

    /// Says something, if there is something to say.
    pub fn talk(&mut self, now: Instant) {
        let Stage::Open(connection) = &mut self.stage else { return };
        if connection.state() != State::Open {
            return;
        }
        if self.to_send == 0 {
            if self.closes {
                connection.close(CloseCode::NORMAL, "enough", &mut self.out, now).unwrap();
                self.closes = false;
                self.said_close = true;
            }
            return;
        }
        self.to_send -= 1;
        if self.evil && self.rng.one_in(8) {
            self.was_evil = true;
            self.out.extend((0..20).map(|_| self.rng.next() as u8));
        }
        let len = match self.rng.below(10) {
            0 => 0,
            1 => self.rng.below(3_000),
            _ => self.rng.below(200),
        };
        let mut payload = vec![self.rng.next() as u8; len];
        for byte in payload.iter_mut().skip(1) {
            *byte = self.rng.next() as u8;
        }
        match self.rng.below(4) {
            0 => {
                let cut = self.rng.between(0, payload.len());
                connection.send_piece(MessageKind::Binary, &payload[..cut], false, &mut self.out).unwrap();
                connection.ping(b"between", &mut self.out, now).unwrap();
                connection.send_piece(MessageKind::Binary, &payload[cut..], true, &mut self.out).unwrap();
            }
            _ => connection.send(&payload, &mut self.out).unwrap(),
        }
        self.sent.push(payload);
    }

    /// Puts up to `max` bytes on the wire, or cuts the wire there.
    pub fn write(&mut self, max: usize) -> bool {
        if self.ended {
            return false;
        }
        let mut len = max.min(self.out.len());
        let cut = self.cut.filter(|(at, _)| *at <= self.delivered + len);
        if let Some((at, _)) = cut {
            len = at - self.delivered;
        }
        let bytes: Vec<u8> = self.out.drain(..len).collect();
        let mut pipe = self.pipe.lock().unwrap();
        if len > 0 {
            pipe.arrive(&bytes);
        }
        self.delivered += len;
        if let Some((_, kind)) = cut {
            self.ended = true;
            match kind {
                Cut::Fin => pipe.end(),
                Cut::Reset => {
                    pipe.reset();
                    self.stage = Stage::Over;
                }
            }
        }
        len > 0 || cut.is_some()
    }

    /// Takes up to `max` bytes from the wire and makes of them what the protocol says.
    pub fn read(&mut self, max: usize, now: Instant) -> bool {
        let (bytes, at_end) = {
            let mut pipe = self.pipe.lock().unwrap();
            let bytes = pipe.take(max);
            (bytes, pipe.outbound.is_empty() && (pipe.session_ended || pipe.dropped))
        };
        let moved = !bytes.is_empty();
        self.receive(bytes, now);
        if at_end && !self.ended {
            self.end();
            return true;
        }
        if let Stage::Open(connection) = &self.stage
            && !self.ended
            && self.out.is_empty()
            && matches!(connection.teardown(), Teardown::FlushThenCloseWrite | Teardown::Drop)
        {
            self.end();
            return true;
        }
        moved
    }

    fn end(&mut self) {
        self.ended = true;
        self.out.clear();
        if let Stage::Open(connection) = &mut self.stage {
            connection.end_of_stream();
        }
        self.pipe.lock().unwrap().end();
    }

    fn receive(&mut self, mut bytes: Vec<u8>, now: Instant) {
        let mut at = 0;
        loop {
            match &mut self.stage {
                Stage::Asking(handshake) => match handshake.push(&bytes[at..]) {
                    Ok(None) => return,
                    Ok(Some((agreed, len))) => {
                        at += len;
                        let config = Arc::clone(&self.config);
                        self.stage = Stage::Open(Connection::new(Role::Client, config, agreed.deflate, now));
                    }
                    // Refused: the session was draining.
                    Err(_) => self.stage = Stage::Over,
                },
                Stage::Listening(reader) => match reader.push(&bytes[at..]) {
                    Ok(None) => return,
                    Ok(Some(len)) => {
                        at += len;
                        let request = Request::parse(reader.bytes(), &HeadLimits::default()).unwrap();
                        let request = UpgradeRequest::from_request(request).unwrap();
                        self.out.extend(request.response(&Acceptance::default()).unwrap());
                        let config = Arc::clone(&self.config);
                        self.stage = Stage::Open(Connection::new(Role::Server, config, None, now));
                    }
                    Err(rejection) => {
                        self.violations.push(format!("the session's request is bad: {rejection}"));
                        self.stage = Stage::Over;
                    }
                },
                Stage::Open(connection) => {
                    let mut input = Input::new(&mut bytes[at..]);
                    while let Some(event) = connection.receive(&mut input, &mut self.scratch, &mut self.out, now) {
                        match event {
                            Event::Message(message) => self.received.push(message.payload().to_vec()),
                            Event::Close(_) => self.got_close = true,
                            Event::Error(error) => self.violations.push(format!("the session broke a rule: {error}")),
                            _ => {}
                        }
                    }
                    return;
                }
                Stage::Over => return,
            }
        }
    }
}
