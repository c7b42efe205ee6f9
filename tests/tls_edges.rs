//! TLS under an edge-triggered poll: two sessions are driven by nothing but the events of queues that cut, narrow and
//! widen at random, and must neither lose a byte nor wait for an event that has already come.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/pipes.rs"]
mod pipes;

use std::io::{self, Read, Write};

use certificates::Authority;
use loopwire::net::{Stream, TlsStream};
use pipes::{Pipe, pipes};

/// Small, and good enough to cut by.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// One end as an event loop drives it: it touches the stream only while no answer was "wait for the event".
struct End {
    stream: TlsStream<Pipe>,
    message: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    readable: bool,
    blocked: bool,
    closed: bool,
    peer_ended: bool,
}

impl End {
    fn new(stream: TlsStream<Pipe>, message: Vec<u8>) -> Self {
        Self {
            stream,
            message,
            sent: 0,
            received: Vec::new(),
            readable: true,
            blocked: false,
            closed: false,
            peer_ended: false,
        }
    }

    fn is_done(&self) -> bool {
        self.closed && self.peer_ended
    }

    /// One turn; whether anything moved.
    fn turn(&mut self, random: &mut Random) -> bool {
        let (readable, writable) = self.stream.get_ref().events();
        self.readable |= readable;
        self.blocked &= !writable;
        if self.stream.handshaking() {
            if !(readable || writable || self.readable) {
                return false;
            }
            self.readable = self.stream.handshake().unwrap();
            return true;
        }
        let mut moved = readable || writable;
        if self.readable && !self.peer_ended {
            let most = if random.below(2) == 0 { 50 } else { 100_000 };
            let mut buffer = vec![0; 1 + random.below(most)];
            match self.stream.read(&mut buffer) {
                Ok(0) => self.peer_ended = true,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    assert!(!self.stream.has_buffered_plaintext());
                    self.readable = false;
                }
            }
            moved = true;
        }
        if !self.blocked && !self.closed {
            let left = self.message.len() - self.sent;
            let outcome = if left > 0 {
                let len = 1 + random.below(left);
                self.stream.write(&self.message[self.sent..self.sent + len]).map(|len| self.sent += len)
            } else if self.stream.wants_write() {
                self.stream.flush()
            } else {
                self.stream.shutdown_write().map(|()| self.closed = true)
            };
            if let Err(error) = outcome {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                self.blocked = true;
            }
            moved = true;
        }
        moved
    }
}

#[test]
fn no_byte_is_lost_and_no_event_waited_for_in_vain() {
    let authority = Authority::new();
    let acceptor = authority.issue(&["example.com"]).acceptor();
    let connector = authority.connector();
    for seed in 1..=200 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let (one, other) = pipes(usize::MAX);
        let message = |random: &mut Random| -> Vec<u8> {
            let most = if random.below(4) == 0 { 300_000 } else { 3000 };
            (0..random.below(most)).map(|at| (at * 31 + at / 251) as u8).collect()
        };
        let messages = [message(&mut random), message(&mut random)];
        let client = connector.connect(one, "example.com").unwrap();
        let server = acceptor.accept(other).unwrap();
        let mut ends = [End::new(client, messages[0].clone()), End::new(server, messages[1].clone())];
        let mut idle = 0;
        while !ends.iter().all(End::is_done) {
            let end = &mut ends[random.below(2)];
            if random.below(20) == 0 {
                // From a trickle to more than a session ever holds back.
                let most = [100, 10_000, 300_000][random.below(3)];
                let (chunk, capacity) = (1 + random.below(most), 1 + random.below(most));
                end.stream.get_ref().narrow(chunk, capacity);
            }
            idle = if end.turn(&mut random) { 0 } else { idle + 1 };
            assert!(idle < 100, "seed {seed}: both wait for an event that does not come");
        }
        assert!(ends[0].received == messages[1] && ends[1].received == messages[0], "seed {seed}: other bytes came");
        assert!(!ends[0].stream.is_truncated() && !ends[1].stream.is_truncated(), "seed {seed}");
    }
}
