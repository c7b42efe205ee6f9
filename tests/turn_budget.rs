//! One connection's share of a turn of the loop, counted in what it makes of its input and not only in the input.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use loopwire::deflate::{Compressor, DeflateConfig};
use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{Answer, Application, ConnectionId, NetConfig, PeerAddr, Readiness, Sessions, Stream, Transport};
use loopwire::protocol::{Closed, Event};
use loopwire::wire::{FrameHeader, MaskingKey, Opcode, apply_mask};

/// A peer that has sent all it will ever send.
#[derive(Debug)]
struct Sent(VecDeque<u8>);

impl Read for Sent {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buf) }
    }
}

impl Write for Sent {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Sent {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The payload of every message, added up.
#[derive(Default)]
struct Sum(usize);

impl Application for Sum {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, request: &UpgradeRequest) -> Answer {
        let deflate = DeflateConfig::default().answer(request.offers());
        Answer::Accept(Acceptance { deflate, ..Acceptance::default() }, Arc::default())
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
        unreachable!("no plain request is made")
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, _: &mut Sessions, _: ConnectionId, event: Event<'_>) {
        let Event::Message(message) = event else { panic!("{event:?}") };
        self.0 += message.payload().len();
    }

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, _: Closed) {}

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}

#[test]
fn a_few_bytes_that_inflate_to_many_do_not_hold_up_the_others() {
    const MESSAGES: usize = 40;
    const LEN: usize = 1 << 20;

    let mut bomb = Vec::new();
    Compressor::new(15, false, &DeflateConfig::default().level(9)).compress(&vec![0; LEN], true, &mut bomb);
    let mut input = b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        .to_vec();
    for _ in 0..MESSAGES {
        let key = MaskingKey([1, 2, 3, 4]);
        let header = FrameHeader::new(Opcode::Binary, bomb.len() as u64);
        FrameHeader { rsv1: true, masking_key: Some(key), ..header }.encode(&mut input);
        let start = input.len();
        input.extend_from_slice(&bomb);
        apply_mask(&mut input[start..], key);
    }

    let net = NetConfig::default();
    assert!(input.len() < net.turn_bytes && MESSAGES < net.turn_events, "it is neither input nor events that run out");
    let allowed = net.turn_bytes * 4 + LEN;
    let now = Instant::now();
    let mut sessions = Sessions::new(net, None, None, now);
    let mut app = Sum::default();
    let id = sessions.accept(Transport::Other(Box::new(Sent(input.into()))), PeerAddr::Unknown).unwrap();
    sessions.ready(&mut app, id, Readiness { readable: true, ..Readiness::default() }, now);
    let mut turns = 1;
    let mut before = 0;
    while app.0 < MESSAGES * LEN {
        assert!(app.0 > before, "every turn gets on");
        assert!(app.0 - before <= allowed, "{} bytes in one turn", app.0 - before);
        assert_eq!(sessions.next_deadline(), Some(now), "the rest is not forgotten");
        before = app.0;
        sessions.flush(&mut app);
        sessions.tick(&mut app, now);
        turns += 1;
    }
    assert_eq!(app.0, MESSAGES * LEN);
    assert!(turns >= MESSAGES * LEN / allowed);
}
