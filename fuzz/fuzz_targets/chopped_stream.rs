//! A stream of frames means the same however the network cuts it, and whether it is delivered whole or in pieces.

#![no_main]

use std::sync::Arc;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use loopwire::deflate::{DeflateConfig, DeflateOffer, DeflateParams};
use loopwire::protocol::{Config, Connection, Delivery, Role};
use loopwire::wire::ProtocolError;
use loopwire_fuzz::{Choices, Recorder, Said, chopped, small_config};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let settings = choices.byte();
    let count = choices.below(8);
    let cuts = choices.bytes(count).to_vec();
    let stream = choices.rest();

    let role = if settings & 1 == 0 { Role::Server } else { Role::Client };
    let deflate = (settings & 2 != 0).then(|| agreed(settings));
    let whole = small_config(4096);
    let pieces = {
        let mut config = Config::clone(&whole);
        config.delivery = Delivery::Pieces;
        Arc::new(config)
    };
    let now = Instant::now();
    let run = |config: &Arc<Config>, cuts: Option<&[u8]>| {
        let mut recorder = Recorder::new(Connection::new(role, config.clone(), deflate, now));
        match cuts {
            None => recorder.receive(stream, now),
            Some(cuts) => chopped(stream, cuts).into_iter().for_each(|piece| recorder.receive(piece, now)),
        }
        recorder
    };

    let reference = run(&whole, None);
    for (config, cuts) in [(&whole, &cuts[..]), (&whole, &[]), (&pieces, &[255]), (&pieces, &cuts)] {
        let other = run(config, Some(cuts));
        if deflate.is_some() && config.delivery == Delivery::Pieces {
            assert_same_so_far(&reference, &other);
        } else {
            assert_same(role, &reference, &other);
        }
    }
});

/// Parameters by the bits of `settings`, as a server would agree to them.
fn agreed(settings: u8) -> DeflateParams {
    let offer = DeflateOffer {
        server_no_context_takeover: settings & 4 != 0,
        client_no_context_takeover: settings & 8 != 0,
        server_max_window_bits: Some(8 + (settings >> 4) % 8),
        client_max_window_bits: Some(8 + (settings >> 5) % 8),
    };
    DeflateConfig::default().answer(&[offer]).expect("an offer is always met")
}

fn assert_same(role: Role, one: &Recorder, other: &Recorder) {
    assert_eq!(one.said.len(), other.said.len(), "{:?} {:?}", one.said, other.said);
    let mut about_content = false;
    for (one, other) in one.said.iter().zip(&other.said) {
        match (one, other) {
            // A message with more than one thing wrong inside fails by whichever its pieces show first.
            (Said::Error(one), Said::Error(other)) if is_content(*one) && is_content(*other) => about_content = true,
            _ => assert_eq!(one, other),
        }
    }
    assert_eq!(one.connection.state(), other.connection.state());
    assert_eq!(one.connection.teardown(), other.connection.teardown());
    // A client masks with fresh keys, so only a server writes the same bytes.
    if role == Role::Server && !about_content {
        assert_eq!(one.out, other.out);
        assert_eq!(one.connection.closed(), other.connection.closed());
    }
}

/// A compressed message in pieces is inflated as it comes; a whole one may be kept compressed until more of it is there,
/// so that what is wrong inside shows later. Until then, both say the same.
fn assert_same_so_far(one: &Recorder, other: &Recorder) {
    let is_about_content = |said: &Said| matches!(said, Said::Error(error) if is_content(*error));
    let sound = |recorder: &Recorder| recorder.said.iter().position(is_about_content);
    match sound(one).into_iter().chain(sound(other)).min() {
        None => assert_eq!(one.said, other.said),
        Some(sound) => assert_eq!(one.said[..sound.min(one.said.len())], other.said[..sound.min(other.said.len())]),
    }
}

fn is_content(error: ProtocolError) -> bool {
    use ProtocolError::{InflateFailed, InvalidUtf8, MessageTooBig};
    matches!(error, InvalidUtf8 | InflateFailed | MessageTooBig(_))
}
