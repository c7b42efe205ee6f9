//! An application that does whatever a message's first byte says, and writes down what it did and heard.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{Answer, Application, ConnectionId, DialError, SendError, Sent, Sessions};
use loopwire::protocol::{Closed, Config, Event};
use loopwire::wire::{CloseCode, Message, MessageKind, PreparedMessage};

use super::rng::Rng;

/// What a peer may ask for by the first byte of a message.
pub const COMMANDS: u8 = 16;

/// One connection's life as the application saw it.
#[derive(Debug, Default)]
pub struct Record {
    pub opened: usize,
    pub closed: Option<Closed>,
    pub failed: bool,
    /// Whole messages, in order.
    pub received: Vec<Vec<u8>>,
    /// Messages that were queued for it, in order.
    pub sent: Vec<Vec<u8>>,
    /// The peer's Close came.
    pub got_close: bool,
    /// We ended it, one way or another.
    pub closed_by_us: bool,
    /// It had too much waiting, of which some was forgotten.
    pub overflown: bool,
    /// A protocol error, timeouts included.
    pub error: bool,
    /// Messages still to be sent once there is room.
    flood: usize,
    /// The message that is being sent in pieces.
    streaming: bool,
}

impl Record {
    /// Whether the application waits to go on sending.
    pub fn is_flooding(&self) -> bool {
        self.flood > 0 && !self.streaming
    }
}

pub struct App {
    pub rng: Rng,
    pub config: Arc<Config>,
    pub records: BTreeMap<ConnectionId, Record>,
    /// A panic in a callback is caught, so what must not be is written down.
    pub violations: Vec<String>,
    timers: BTreeSet<u64>,
    next_timer: u64,
    pub panics: usize,
}

impl App {
    pub fn new(rng: &mut Rng, config: Config) -> Self {
        Self {
            rng: rng.fork(),
            config: Arc::new(config),
            records: BTreeMap::new(),
            violations: Vec::new(),
            timers: BTreeSet::new(),
            next_timer: 0,
            panics: 0,
        }
    }

    fn record(&mut self, id: ConnectionId) -> &mut Record {
        self.records.entry(id).or_default()
    }

    fn check(&mut self, holds: bool, what: &str, id: ConnectionId) {
        if !holds {
            self.violations.push(format!("{id}: {what}"));
        }
    }

    /// Sends, and writes down what was promised.
    fn send(&mut self, sessions: &mut Sessions, id: ConnectionId, payload: &[u8]) -> bool {
        if self.record(id).streaming {
            return false;
        }
        let sent = match self.rng.below(4) {
            0 => sessions.send_prepared(id, &PreparedMessage::new(payload)),
            1 if payload.len() > 1 => return self.send_in_pieces(sessions, id, payload),
            _ => sessions.send(id, payload),
        };
        self.note(id, &sent, payload)
    }

    fn note(&mut self, id: ConnectionId, sent: &Result<Sent, SendError>, payload: &[u8]) -> bool {
        let record = self.record(id);
        match sent {
            Ok(Sent::Written | Sent::Backpressure) => record.sent.push(payload.to_vec()),
            Err(SendError::Overflow) => (record.closed_by_us, record.overflown) = (true, true),
            Ok(Sent::Dropped) | Err(_) => {}
        }
        matches!(sent, Ok(Sent::Written))
    }

    fn send_in_pieces(&mut self, sessions: &mut Sessions, id: ConnectionId, payload: &[u8]) -> bool {
        let cut = self.rng.between(0, payload.len());
        let first = sessions.send_piece(id, MessageKind::Binary, &payload[..cut], false);
        if !matches!(first, Ok(Sent::Written | Sent::Backpressure)) {
            return self.note(id, &first, &[]);
        }
        let last = sessions.send_piece(id, MessageKind::Binary, &payload[cut..], true);
        if matches!(last, Ok(Sent::Dropped)) {
            // The message stays unfinished, and nothing else can be sent.
            self.record(id).streaming = true;
        }
        self.note(id, &last, payload)
    }

    fn flood(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        while self.record(id).flood > 0 {
            self.record(id).flood -= 1;
            let len = self.rng.between(0, 100);
            let payload = vec![255; len];
            if !self.send(sessions, id, &payload) {
                return;
            }
        }
    }

    fn somebody(&mut self, sessions: &Sessions, id: ConnectionId) -> ConnectionId {
        let others: Vec<_> = sessions.ids().collect();
        if others.is_empty() { id } else { self.rng.pick(&others) }
    }

    fn message(&mut self, sessions: &mut Sessions, id: ConnectionId, message: Message<'_>) {
        let payload = message.payload().to_vec();
        match payload.first().map_or(0, |first| first % COMMANDS) {
            8 => {
                for _ in 0..3 {
                    let other = self.somebody(sessions, id);
                    self.send(sessions, other, &payload);
                }
            }
            9 if payload.len().is_multiple_of(3) => {
                self.record(id).closed_by_us = true;
                let _ = sessions.close(id, CloseCode::NORMAL, "as asked");
                let late = sessions.send(id, "late");
                self.check(late.is_err(), "a send after the Close was taken", id);
            }
            10 if payload.len().is_multiple_of(5) => {
                let other = self.somebody(sessions, id);
                self.record(other).closed_by_us = true;
                let _ = sessions.close(other, CloseCode(4000), "");
            }
            11 if payload.len().is_multiple_of(7) => {
                let other = self.somebody(sessions, id);
                self.record(other).closed_by_us = true;
                sessions.abort(other);
                let late = sessions.send(other, "late");
                self.check(late == Err(SendError::NotOpen), "a send after the abort was taken", other);
            }
            12 => {
                self.record(id).flood += 20;
                self.flood(sessions, id);
            }
            13 => {
                let key = self.next_timer;
                self.next_timer += 1;
                self.timers.insert(key);
                let timer = sessions.set_timer(Duration::from_millis(self.rng.below(500) as u64), key);
                if self.rng.one_in(4) {
                    self.timers.remove(&key);
                    if !sessions.cancel_timer(timer) || sessions.cancel_timer(timer) {
                        self.violations.push(format!("timer {key} could not be cancelled exactly once"));
                    }
                }
            }
            14 => {
                let large = vec![payload.len() as u8; 9000];
                self.send(sessions, id, &large);
            }
            15 if payload.len().is_multiple_of(11) => {
                self.record(id).closed_by_us = true;
                self.panics += 1;
                // Without the hook's noise.
                resume_unwind(Box::new("as asked"));
            }
            _ => {
                self.send(sessions, id, &payload);
            }
        }
    }
}

impl Application for App {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, request: &UpgradeRequest) -> Answer {
        let deflate = self.config.deflate.answer(request.offers());
        Answer::Accept(Acceptance { deflate, ..Acceptance::default() }, Arc::clone(&self.config))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
        Some(Response::text(200, "a plain answer"))
    }

    fn opened(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        self.record(id).opened += 1;
        let fresh = self.record(id).opened == 1 && self.record(id).closed.is_none();
        self.check(fresh, "opened twice, or after its end", id);
        self.check(sessions.is_open(id), "opened but not open", id);
        sessions.set_data(id, Box::new(id));
    }

    fn event(&mut self, sessions: &mut Sessions, id: ConnectionId, event: Event<'_>) {
        let alive = self.record(id).opened == 1 && self.record(id).closed.is_none();
        self.check(alive, "an event outside opened … closed", id);
        let own = sessions.data(id).and_then(|data| data.downcast_ref::<ConnectionId>()) == Some(&id);
        self.check(own, "another connection's data", id);
        match event {
            Event::Message(message) => {
                self.record(id).received.push(message.payload().to_vec());
                self.message(sessions, id, message);
            }
            Event::Close(_) => self.record(id).got_close = true,
            Event::Error(_) => self.record(id).error = true,
            _ => {}
        }
    }

    fn writable(&mut self, sessions: &mut Sessions, id: ConnectionId) {
        let alive = self.record(id).opened == 1 && self.record(id).closed.is_none();
        self.check(alive, "writable outside opened … closed", id);
        self.flood(sessions, id);
    }

    fn closed(&mut self, sessions: &mut Sessions, id: ConnectionId, closed: Closed) {
        let first = self.record(id).opened == 1 && self.record(id).closed.is_none();
        self.check(first, "closed twice, or never opened", id);
        self.check(!sessions.is_open(id), "closed but open", id);
        let late = sessions.send(id, "late");
        self.check(late == Err(SendError::NotOpen), "a send after closed was taken", id);
        self.record(id).closed = Some(closed);
        if self.rng.one_in(3) {
            let other = self.somebody(sessions, id);
            self.send(sessions, other, b"somebody left");
        }
    }

    fn dial_failed(&mut self, _: &mut Sessions, id: ConnectionId, _: DialError) {
        let first = self.record(id).opened == 0 && !self.record(id).failed;
        self.check(first, "failed twice, or although it opened", id);
        self.record(id).failed = true;
    }

    fn timer(&mut self, sessions: &mut Sessions, key: u64) {
        if !self.timers.remove(&key) {
            self.violations.push(format!("timer {key} came twice, or after it was cancelled"));
        }
        let ids: Vec<_> = sessions.ids().collect();
        if !ids.is_empty() {
            let id = self.rng.pick(&ids);
            self.send(sessions, id, b"tick");
        }
    }

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}
