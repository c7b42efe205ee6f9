//! Two connections joined by two byte queues: whatever one is asked to send, the other reports, once, in order and
//! unharmed; neither ever finds fault with the other; and they agree on how it ended.

#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use loopwire::deflate::{DeflateConfig, DeflateOffer};
use loopwire::protocol::{Config, Connection, Delivery, Role, SendError, State};
use loopwire::wire::{CloseCode, Message, MessageKind, PreparedMessage};
use loopwire_fuzz::{Choices, Recorder, Said};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let now = Instant::now();
    let offer = DeflateOffer {
        server_no_context_takeover: choices.flag(),
        client_no_context_takeover: choices.flag(),
        server_max_window_bits: Some(8 + choices.byte() % 8),
        client_max_window_bits: Some(8 + choices.byte() % 8),
    };
    let deflate = choices.flag().then(|| DeflateConfig::default().answer(&[offer]).expect("an offer is always met"));
    let mut ends = [Role::Client, Role::Server].map(|role| {
        let mut config = Config::default();
        config.delivery = if choices.flag() { Delivery::Pieces } else { Delivery::Whole };
        config.fragment_size = Some(choices.below(300)).filter(|size| *size > 0);
        config.max_control_rate = u32::MAX;
        config.deflate = DeflateConfig::default().threshold(choices.below(100)).history(choices.below(1 << 15));
        End::new(Connection::new(role, Arc::new(config), deflate, now))
    });

    while !choices.is_empty() {
        let (from, to) = split(&mut ends, choices.flag());
        match choices.byte() % 8 {
            0 | 1 => from.deliver(to, choices.below(2000), now),
            2 => from.deliver(to, usize::MAX, now),
            3..=5 => from.send(&mut choices),
            6 => from.ping(&mut choices, now),
            _ => from.close(&mut choices, now),
        }
    }

    // All that is under way arrives, and an unfinished message is finished.
    for which in [false, true] {
        split(&mut ends, which).0.finish_message();
    }
    for _ in 0..4 {
        for which in [false, true] {
            let (from, to) = split(&mut ends, which);
            from.deliver(to, usize::MAX, now);
        }
    }
    let [client, server] = &ends;
    client.check(server);
    server.check(client);
    assert_eq!(client.recorder.connection.state(), server.recorder.connection.state());
});

fn split(ends: &mut [End; 2], which: bool) -> (&mut End, &mut End) {
    let [one, other] = ends;
    if which { (one, other) } else { (other, one) }
}

struct End {
    recorder: Recorder,
    /// What this end was asked to say, as the other end has to report it.
    asked: Vec<Said>,
    pings: usize,
    /// A message that is being sent in pieces.
    unfinished: Option<(MessageKind, Vec<u8>)>,
    under_way: VecDeque<u8>,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            recorder: Recorder::new(connection),
            asked: Vec::new(),
            pings: 0,
            unfinished: None,
            under_way: VecDeque::new(),
        }
    }

    /// Carries up to `len` bytes over to the other end, in one piece.
    fn deliver(&mut self, to: &mut Self, len: usize, now: Instant) {
        self.under_way.extend(self.recorder.out.drain(..));
        let piece: Vec<u8> = self.under_way.drain(..len.min(self.under_way.len())).collect();
        to.recorder.receive(&piece, now);
    }

    fn send(&mut self, choices: &mut Choices<'_>) {
        let how = choices.byte();
        let len = choices.below(400);
        let repeated = 1 + usize::from(how >> 4);
        let bytes = choices.bytes(len).repeat(repeated);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let message = if how & 1 == 0 { Message::Text(&text) } else { Message::Binary(&bytes) };
        let (kind, payload) = (message.kind(), message.payload().to_vec());
        let Recorder { connection, out, .. } = &mut self.recorder;
        let before = out.len();
        let result = match how >> 1 & 7 {
            0..=2 => connection.send(message, out),
            3 => connection.send_prepared(&PreparedMessage::new(message), out).map(|frame| {
                out.extend_from_slice(frame.as_ref().map_or(&[][..], AsRef::as_ref));
            }),
            step => {
                let last = step == 7;
                let (kind, _) = self.unfinished.get_or_insert((kind, Vec::new()));
                let kind = *kind;
                // Text must stay text: a piece of the other kind's bytes would rightly be refused.
                let piece = if kind == MessageKind::Text { text.as_bytes() } else { &bytes };
                let result = connection.send_piece(kind, piece, last, out);
                if result.is_ok() {
                    self.record_piece(kind, &piece.to_vec(), last);
                } else {
                    self.unfinished = None;
                }
                return self.check_result(result, false);
            }
        };
        let was_unfinished = self.unfinished.is_some();
        if result.is_ok() {
            self.asked.push(Said::Message(kind, payload));
        } else {
            assert_eq!(self.recorder.out.len(), before, "an error, and yet something was written");
        }
        self.check_result(result, was_unfinished);
    }

    fn record_piece(&mut self, kind: MessageKind, piece: &[u8], last: bool) {
        let (_, so_far) = self.unfinished.get_or_insert((kind, Vec::new()));
        so_far.extend_from_slice(piece);
        if last && let Some((kind, payload)) = self.unfinished.take() {
            self.asked.push(Said::Message(kind, payload));
        }
    }

    fn check_result(&self, result: Result<(), SendError>, was_unfinished: bool) {
        match result {
            Ok(()) => assert!(!was_unfinished, "a message inside another"),
            Err(SendError::MessageInProgress) => assert!(was_unfinished),
            Err(SendError::Closing | SendError::Closed) => assert_ne!(self.recorder.connection.state(), State::Open),
            Err(error) => panic!("{error}"),
        }
    }

    fn finish_message(&mut self) {
        let Some((kind, _)) = self.unfinished else { return };
        let Recorder { connection, out, .. } = &mut self.recorder;
        match connection.send_piece(kind, &[], true, out) {
            Ok(()) => self.record_piece(kind, &[], true),
            Err(error) => self.check_result(Err(error), false),
        }
    }

    fn ping(&mut self, choices: &mut Choices<'_>, now: Instant) {
        let len = choices.below(126);
        let payload = choices.bytes(len).to_vec();
        let Recorder { connection, out, .. } = &mut self.recorder;
        let result = connection.ping(&payload, out, now);
        if result.is_ok() {
            self.pings += 1;
            self.asked.push(Said::Ping(payload));
        }
        self.check_result(result, false);
    }

    fn close(&mut self, choices: &mut Choices<'_>, now: Instant) {
        // One in eight, so that most runs have a life before it.
        if choices.byte() % 8 != 0 {
            return;
        }
        let code = [1000, 1001, 1005, 3000, 4999][choices.below(5)];
        let reason = if code == 1005 { "" } else { "it is time" };
        let Recorder { connection, out, .. } = &mut self.recorder;
        let result = connection.close(CloseCode(code), reason, out, now);
        if result.is_ok() {
            self.asked.push(Said::Close(code, reason.to_owned()));
        }
        self.check_result(result, false);
    }

    /// That the other end reported what this one said.
    fn check(&self, other: &Self) {
        let (mut reported, mut pongs, mut closes) = (Vec::new(), 0, Vec::new());
        for said in &other.recorder.said {
            match said {
                Said::Error(error) => panic!("an honest peer is accused: {error}"),
                Said::Pong(_) => pongs += 1,
                Said::Close(code, reason) => closes.push((*code, reason.clone())),
                said => reported.push(said.clone()),
            }
        }
        let asked: Vec<_> = self.asked.iter().filter(|said| !matches!(said, Said::Close(..))).cloned().collect();
        // After a Close of its own an end still hears, but reports no message; before it, everything.
        assert!(asked.starts_with(&reported), "asked {asked:?}, reported {reported:?}");
        assert!(pongs <= other.pings, "pongs that no ping asked for");
        let is_open = self.recorder.connection.state() == State::Open;
        if is_open && other.recorder.connection.state() == State::Open {
            assert_eq!(asked, reported);
            assert_eq!(pongs, other.pings);
        }
        // Each end says Close once, its own or the echo of the other's.
        assert_eq!(closes.len(), usize::from(!is_open));
        if let (Some((code, reason)), Some(Said::Close(sent, why))) = (closes.first(), self.asked.last()) {
            assert_eq!((code, reason), (sent, why));
        }
    }
}
