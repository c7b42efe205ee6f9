//! A client and a server joined by two byte queues, under a clock that moves only when told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loopwire::deflate::DeflateParams;
use loopwire::protocol::{Config, Connection, Event, Input, Role, Scratch, State, Teardown};
use loopwire::wire::Message;

use super::Seen;

/// How the bytes between the two are cut.
#[derive(Clone, Copy, Debug)]
pub enum Chunks {
    /// As much as there is.
    Whole,
    /// So many bytes at a time.
    Of(usize),
    /// Anything from one byte to many, decided by the seed.
    Seeded(u64),
}

/// One end and the bytes on their way from it.
pub struct Peer {
    pub connection: Connection,
    pub seen: Vec<Seen>,
    /// Written by the connection, not yet delivered.
    pub out: Vec<u8>,
    /// Whether this end has shut down its sending side.
    pub write_closed: bool,
    /// Whether it has closed its socket.
    pub dropped: bool,
    /// Whether it answers each message by the same message.
    pub echoes: bool,
    wire: VecDeque<u8>,
    scratch: Scratch,
}

/// The two ends.
pub struct Pair {
    pub client: Peer,
    pub server: Peer,
    pub now: Instant,
    /// While set, nothing written by either end arrives.
    pub cut: bool,
    chunks: Chunks,
    /// In which order the ends closed their sending sides.
    pub ends: Vec<Role>,
}

impl Pair {
    pub fn new(config: &Config, deflate: Option<DeflateParams>, chunks: Chunks) -> Self {
        Self::between(config, config, deflate, chunks)
    }

    pub fn between(client: &Config, server: &Config, deflate: Option<DeflateParams>, chunks: Chunks) -> Self {
        let now = Instant::now();
        let peer = |role, config: &Config| Peer {
            connection: Connection::new(role, Arc::new(config.clone()), deflate, now),
            seen: Vec::new(),
            out: Vec::new(),
            write_closed: false,
            dropped: false,
            echoes: false,
            wire: VecDeque::new(),
            scratch: Scratch::new(),
        };
        Self {
            client: peer(Role::Client, client),
            server: peer(Role::Server, server),
            now,
            cut: false,
            chunks,
            ends: Vec::new(),
        }
    }

    /// Delivers everything in both directions until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let to_server = Self::deliver(&mut self.client, &mut self.server, &mut self.chunks, self.now, self.cut);
            let to_client = Self::deliver(&mut self.server, &mut self.client, &mut self.chunks, self.now, self.cut);
            let closed = self.obey_teardowns();
            if !to_server && !to_client && !closed {
                return;
            }
        }
    }

    /// Moves the clock on by `span`, stopping at every timeout on the way.
    pub fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        self.settle();
        loop {
            let next = [&self.client, &self.server]
                .iter()
                .filter(|peer| !peer.dropped)
                .filter_map(|peer| peer.connection.next_timeout())
                .min();
            let Some(next) = next.filter(|&at| at <= end) else { break };
            self.now = self.now.max(next);
            for peer in [&mut self.client, &mut self.server] {
                if peer.connection.next_timeout().is_some_and(|at| at <= self.now) && !peer.dropped {
                    let event = peer.connection.handle_timeout(self.now, &mut peer.out);
                    peer.seen.extend(event.map(Seen::from));
                }
            }
            self.settle();
        }
        self.now = end;
    }

    fn deliver(from: &mut Peer, to: &mut Peer, chunks: &mut Chunks, now: Instant, cut: bool) -> bool {
        from.wire.extend(from.out.drain(..));
        if cut {
            return false;
        }
        let mut moved = false;
        while !from.wire.is_empty() {
            moved = true;
            let len = chunks.next(from.wire.len());
            let chunk: Vec<u8> = from.wire.drain(..len).collect();
            if !to.dropped {
                to.read(chunk, now);
            }
        }
        if from.write_closed && to.connection.state() != State::Closed {
            to.connection.end_of_stream();
            moved = true;
        }
        moved
    }

    fn obey_teardowns(&mut self) -> bool {
        let mut acted = false;
        for (role, peer) in [(Role::Client, &mut self.client), (Role::Server, &mut self.server)] {
            let drop = match peer.connection.teardown() {
                Teardown::KeepOpen | Teardown::AwaitPeerEnd => continue,
                Teardown::FlushThenCloseWrite if !peer.out.is_empty() || (self.cut && !peer.wire.is_empty()) => {
                    continue;
                }
                Teardown::FlushThenCloseWrite => peer.connection.state() == State::Closed,
                Teardown::Drop => true,
            };
            if !peer.write_closed {
                peer.write_closed = true;
                self.ends.push(role);
                acted = true;
            }
            if drop && !peer.dropped {
                peer.dropped = true;
                acted = true;
            }
        }
        acted
    }

    /// Whether both ends have closed their sockets.
    pub fn is_over(&self) -> bool {
        self.client.dropped && self.server.dropped
    }
}

impl Peer {
    fn read(&mut self, mut bytes: Vec<u8>, now: Instant) {
        let mut input = Input::new(&mut bytes);
        let mut reply = Vec::new();
        while let Some(event) = self.connection.receive(&mut input, &mut self.scratch, &mut self.out, now) {
            self.seen.push(event.into());
            if let (Event::Message(message), true) = (event, self.echoes) {
                self.connection.send(message, &mut reply).expect("an open connection echoes");
                self.out.append(&mut reply);
            }
        }
    }

    /// Sends a message.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) {
        self.connection.send(message, &mut self.out).expect("an open connection sends");
    }

    /// Takes what was seen so far.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }
}

impl Chunks {
    fn next(&mut self, available: usize) -> usize {
        match self {
            Self::Whole => available,
            Self::Of(len) => available.min(*len),
            Self::Seeded(state) => {
                // xorshift64
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                let limit = 1_usize << (*state % 14);
                available.min(1 + (*state >> 32) as usize % limit)
            }
        }
    }
}
