//! What a layer between session and socket can do, such as TLS.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use loopwire::net::{NetConfig, PeerAddr, Stream, Transport};
use loopwire::protocol::Config;

use crate::harness::{HANDSHAKE, READABLE, World, calm, echo, text};
use crate::sim::pipe::SimStream;

/// A layer that holds plaintext back, as TLS does with a record of several frames, and that may never shake hands.
#[derive(Debug)]
struct Layer {
    held: Vec<u8>,
    below: SimStream,
    shakes_hands: bool,
    dropped: Arc<AtomicBool>,
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let mut bytes = [0; 4096];
            let len = self.below.read(&mut bytes)?;
            self.held.extend_from_slice(&bytes[..len]);
        }
        let len = self.held.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.held[..len]);
        self.held.drain(..len);
        Ok(len)
    }
}

impl Write for Layer {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.below.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.below.flush()
    }
}

impl Stream for Layer {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.below.shutdown_write()
    }

    fn handshake(&mut self) -> io::Result<bool> {
        Ok(self.shakes_hands)
    }

    fn handshaking(&self) -> bool {
        !self.shakes_hands
    }

    fn has_buffered_plaintext(&self) -> bool {
        !self.held.is_empty()
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn plaintext_that_a_layer_holds_is_delivered_although_no_event_tells() {
    let mut net = NetConfig::default();
    net.receive_buffer = 10;
    net.turn_bytes = 10;
    let mut world = World::new(net, Config::default(), echo);
    let pipe = calm();
    let dropped = Arc::new(AtomicBool::new(false));
    let layer = Layer { held: Vec::new(), below: SimStream(Arc::clone(&pipe)), shakes_hands: true, dropped };
    let id = world.sessions.accept(Transport::Other(Box::new(layer)), PeerAddr::Unknown).unwrap();
    pipe.lock().unwrap().arrive(&[HANDSHAKE, &text("a").repeat(100)].concat());
    // One event, and no more ever.
    world.ready(id, READABLE);
    for _ in 0..1000 {
        world.turn();
    }
    assert_eq!(world.app.messages.len(), 100);
}

#[test]
fn a_tls_handshake_that_does_not_end_meets_its_deadline() {
    let mut world = World::echo();
    let dropped = Arc::new(AtomicBool::new(false));
    let layer =
        Layer { held: Vec::new(), below: SimStream(calm()), shakes_hands: false, dropped: Arc::clone(&dropped) };
    let id = world.sessions.accept(Transport::Other(Box::new(layer)), PeerAddr::Unknown).unwrap();
    for _ in 0..99 {
        world.ready(id, READABLE);
        world.pass(Duration::from_millis(100));
    }
    assert!(!dropped.load(Ordering::Relaxed));
    world.pass(Duration::from_millis(200));
    assert!(dropped.load(Ordering::Relaxed));
    assert!(world.sessions.is_empty());
}
