//! A client and a server talk: messages both ways, closing from either side, silence, deadlines, under a virtual clock.

mod common;

use std::time::Duration;

use common::pair::{Chunks, Pair};
use common::{End, Seen, binary, frame, masked, text};
use loopwire::protocol::{Config, Delivery, Role, SendError, Side, State, Teardown};
use loopwire::wire::{CloseCode, MessageKind, PreparedMessage, ProtocolError};

const CHUNKS: [Chunks; 4] = [Chunks::Whole, Chunks::Of(1), Chunks::Of(7), Chunks::Seeded(0x5EED)];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn messages_of_every_length_form_come_back_as_they_went() {
    for chunks in CHUNKS {
        for fragment_size in [None, Some(1), Some(1000)] {
            let mut config = Config::default();
            config.fragment_size = fragment_size;
            let mut pair = Pair::new(&config, None, chunks);
            pair.server.echoes = true;
            let mut expected = Vec::new();
            for len in [0, 1, 125, 126, 4000] {
                let letters = "aé".repeat(len / 3) + &"x".repeat(len % 3);
                pair.client.send(&letters);
                pair.client.send(letters.as_bytes());
                expected.extend([text(&letters), binary(letters.as_bytes())]);
                pair.settle();
            }
            assert_eq!(pair.client.seen, expected, "{chunks:?} {fragment_size:?}");
            assert_eq!(pair.server.seen, expected);
        }
    }
}

#[test]
fn a_message_sent_in_pieces_is_one_message_and_control_frames_pass_between() {
    for chunks in CHUNKS {
        let mut pair = Pair::new(&Config::default(), None, chunks);
        let client = &mut pair.client;
        let word = "snö".as_bytes();
        client.connection.send_piece(MessageKind::Text, &word[..3], false, &mut client.out).unwrap();
        client.connection.ping(b"?", &mut client.out, pair.now).unwrap();
        client.connection.send_piece(MessageKind::Text, b"", false, &mut client.out).unwrap();
        client.connection.send_piece(MessageKind::Text, &word[3..], false, &mut client.out).unwrap();
        client.connection.send_piece(MessageKind::Text, b"", true, &mut client.out).unwrap();
        client.send("next");
        pair.settle();
        assert_eq!(pair.server.seen, [Seen::Ping(b"?".to_vec()), text("snö"), text("next")]);
        assert_eq!(pair.client.seen, [Seen::Pong(b"?".to_vec())]);
    }
}

#[test]
fn pieces_are_delivered_as_they_arrive() {
    let mut config = Config::default();
    config.delivery = Delivery::Pieces;
    let mut end = End::new(Role::Server, &config, None);
    let piece = |data: &[u8], first, last| Seen::Piece { kind: MessageKind::Text, data: data.to_vec(), first, last };

    end.feed(&masked(0x81, b"whole"));
    assert_eq!(end.seen, [piece(b"whole", true, true)]);

    end.seen.clear();
    let frame = masked(0x01, "snö".as_bytes());
    end.feed(&frame[..6]);
    assert_eq!(end.seen, [], "nothing yet but a header");
    end.feed(&frame[6..9]);
    end.feed(&frame[9..]);
    end.feed(&masked(0x80, b""));
    assert_eq!(end.seen, [piece(b"sn\xc3", true, false), piece(b"\xb6", false, false), piece(b"", false, true)]);

    end.seen.clear();
    end.feed(&masked(0x01, b"\xc3"));
    end.feed(&masked(0x80, b"("));
    assert_eq!(end.seen, [piece(b"\xc3", true, false), Seen::Error(ProtocolError::InvalidUtf8)]);
}

#[test]
fn what_may_not_be_sent_is_refused_and_nothing_of_it_is_written() {
    let mut end = End::new(Role::Server, &Config::default(), None);
    let now = end.now;
    let connection = &mut end.connection;
    let out = &mut Vec::new();
    let text = MessageKind::Text;

    assert_eq!(connection.ping(&[0; 126], out, now), Err(SendError::PayloadTooLong(126)));
    assert_eq!(connection.pong(&[0; 126], out), Err(SendError::PayloadTooLong(126)));
    assert_eq!(connection.close(CloseCode(1006), "", out, now), Err(SendError::InvalidCloseCode(CloseCode(1006))));
    assert_eq!(connection.close(CloseCode(1005), "r", out, now), Err(SendError::InvalidCloseCode(CloseCode(1005))));
    assert_eq!(connection.close(CloseCode(1000), &"r".repeat(124), out, now), Err(SendError::ReasonTooLong(124)));
    assert_eq!(connection.send_piece(text, b"\xff", false, out), Err(SendError::NotUtf8));
    assert_eq!(connection.send_piece(text, b"\xc3", true, out), Err(SendError::NotUtf8));
    assert!(out.is_empty());
    assert_eq!(connection.send("after these refusals", out), Ok(()), "no message was begun by them");
    out.clear();

    connection.send_piece(text, b"\xc3", false, out).unwrap();
    assert_eq!(std::mem::take(out), frame(0x01, b"\xc3"));
    assert_eq!(connection.send("other", out), Err(SendError::MessageInProgress));
    assert_eq!(connection.send_prepared(&PreparedMessage::new("x"), out).err(), Some(SendError::MessageInProgress));
    assert_eq!(connection.send_piece(MessageKind::Binary, b"", true, out), Err(SendError::MessageInProgress));
    assert_eq!(connection.send_piece(text, b"(", true, out), Err(SendError::NotUtf8));
    assert_eq!(connection.send_piece(text, b"", true, out), Err(SendError::NotUtf8));
    assert!(out.is_empty());
    connection.send_piece(text, b"\xa9", true, out).unwrap();
    assert_eq!(std::mem::take(out), frame(0x80, b"\xa9"));

    connection.close(CloseCode::NORMAL, "bye", out, now).unwrap();
    assert_eq!(std::mem::take(out), frame(0x88, b"\x03\xe8bye"));
    assert_eq!(connection.send("late", out), Err(SendError::Closing));
    assert_eq!(connection.send_piece(text, b"late", true, out), Err(SendError::Closing));
    assert_eq!(connection.ping(b"", out, now), Err(SendError::Closing));
    assert_eq!(connection.close(CloseCode::NORMAL, "", out, now), Err(SendError::Closing));
    connection.end_of_stream();
    assert_eq!(connection.send("later", out), Err(SendError::Closed));
    assert!(out.is_empty());
}

#[test]
fn a_prepared_message_is_shared_by_a_server_and_masked_by_a_client() {
    let prepared = PreparedMessage::new("to all");
    let mut server = End::new(Role::Server, &Config::default(), None);
    let shared = server.connection.send_prepared(&prepared, &mut server.out).unwrap().expect("a shared frame");
    assert_eq!(shared.as_ref(), frame(0x81, b"to all"));
    assert!(server.out.is_empty());

    let mut client = End::new(Role::Client, &Config::default(), None);
    assert!(client.connection.send_prepared(&prepared, &mut client.out).unwrap().is_none());
    assert_eq!(common::unmasked(&client.out), frame(0x81, b"to all"));
    server.feed(&client.take_out());
    assert_eq!(server.seen, [text("to all")]);
}

#[test]
fn every_client_frame_has_a_mask_of_its_own_and_no_payload_goes_in_clear() {
    let mut client = End::new(Role::Client, &Config::default(), None);
    let payload = b"the same secret every time";
    let mut keys = std::collections::HashSet::new();
    let frames = 100_000;
    for _ in 0..frames {
        client.connection.send(payload, &mut client.out).unwrap();
        let frame = client.take_out();
        assert_eq!(frame[1], 0x80 | payload.len() as u8);
        keys.insert(frame[2..6].to_vec());
        assert!(frame[2..6] == [0; 4] || &frame[6..] != payload);
    }
    // Of 100,000 out of 2^32, about 1.2 pairs meet by chance; 20 would be a miracle.
    assert!(keys.len() > frames - 20, "{} keys in {frames} frames", keys.len());
}

// Closing.

#[test]
fn whoever_closes_the_server_lets_go_of_the_stream_first() {
    for chunks in CHUNKS {
        for closer in [Role::Client, Role::Server] {
            let mut pair = Pair::new(&Config::default(), None, chunks);
            pair.client.send("last words");
            let end = if closer == Role::Client { &mut pair.client } else { &mut pair.server };
            end.connection.close(CloseCode(3001), "done", &mut end.out, pair.now).unwrap();
            assert_eq!(end.connection.state(), State::Closing { sent: true, received: false });
            pair.settle();

            assert!(pair.is_over());
            assert_eq!(pair.ends, [Role::Server, Role::Client], "{closer:?} closes");
            for (end, role) in [(&pair.client, Role::Client), (&pair.server, Role::Server)] {
                let closed = end.connection.closed();
                let by = if role == closer { Side::Local } else { Side::Peer };
                // The end that closed gets its code back, and no reason with it.
                let reason = if role == closer { "" } else { "done" };
                assert_eq!((closed.code, &*closed.reason), (CloseCode(3001), reason));
                assert_eq!((closed.clean, closed.by, closed.error), (true, by, None));
            }
            if closer == Role::Client {
                assert_eq!(pair.server.seen, [text("last words"), Seen::Close(3001, "done".into())]);
            } else {
                assert_eq!(pair.server.seen, [Seen::Close(3001, String::new())], "what comes after our Close is lost");
            }
        }
    }
}

#[test]
fn both_may_close_at_once() {
    for chunks in CHUNKS {
        let mut pair = Pair::new(&Config::default(), None, chunks);
        for (end, code) in [(&mut pair.client, 3001), (&mut pair.server, 3002)] {
            end.connection.close(CloseCode(code), "", &mut end.out, pair.now).unwrap();
        }
        pair.settle();
        assert!(pair.is_over());
        let (client, server) = (pair.client.connection.closed(), pair.server.connection.closed());
        assert_eq!((client.code, client.clean, client.by), (CloseCode(3002), true, Side::Local));
        assert_eq!((server.code, server.clean, server.by), (CloseCode(3001), true, Side::Local));
    }
}

#[test]
fn after_our_close_data_is_passed_over_and_frames_are_still_judged() {
    let config = Config::default();
    let closing = || {
        let mut end = End::new(Role::Server, &config, None);
        end.feed(&masked(0x01, b"begun"));
        end.connection.close(CloseCode::GOING_AWAY, "", &mut end.out, end.now).unwrap();
        end.take_out();
        end
    };

    let mut end = closing();
    end.feed(&masked(0x00, b"\xff not judged as text"));
    end.feed(&masked(0x89, b"not answered"));
    end.feed(&masked(0x80, &vec![0; 70_000]));
    end.feed(&masked(0x81, b"not delivered"));
    end.feed(&[masked(0x82, b"cut"), masked(0x88, b"\x03\xe9")].concat());
    assert_eq!(end.seen, [Seen::Close(1001, String::new())]);
    assert_eq!(end.take_out(), [0; 0]);
    assert!(end.connection.closed().clean);

    let mut end = closing();
    end.feed(&masked(0x81, b"interleaved"));
    let error = ProtocolError::ContinuationExpected(loopwire::wire::Opcode::Text);
    assert_eq!(end.seen, [Seen::Error(error)]);
    assert_eq!(end.take_out(), [0; 0], "one Close is enough");
    assert_eq!(end.connection.teardown(), Teardown::FlushThenCloseWrite);
    let closed = end.connection.closed();
    assert_eq!((closed.clean, closed.by, closed.error), (false, Side::Local, Some(error)));
}

#[test]
fn a_failed_connection_flushes_its_close_and_then_only_drains() {
    for role in [Role::Server, Role::Client] {
        let mut end = End::new(role, &Config::default(), None);
        end.feed(if role == Role::Server { b"\x83\x80" } else { b"\x83\x00" });
        assert_eq!(end.seen, [Seen::Error(ProtocolError::ReservedOpcode(3))]);
        assert_eq!(end.connection.teardown(), Teardown::FlushThenCloseWrite);
        assert_eq!(end.connection.state(), State::Closing { sent: true, received: false });

        end.take_out();
        end.feed(&frame(0x88, b"\x03\xe8"));
        end.feed(b"anything");
        assert_eq!((end.seen.len(), end.take_out()), (1, vec![]));

        let deadline = end.connection.next_timeout().unwrap();
        assert_eq!(deadline, end.now + secs(5));
        assert_eq!(end.connection.handle_timeout(deadline, &mut end.out), None);
        assert_eq!((end.connection.teardown(), end.connection.next_timeout()), (Teardown::Drop, None));
        let closed = end.connection.closed();
        assert_eq!((closed.code, closed.clean, closed.by), (CloseCode::PROTOCOL_ERROR, false, Side::Peer));
    }
}

#[test]
fn a_peer_that_ignores_our_close_is_dropped_at_the_deadline() {
    let mut pair = Pair::new(&Config::default(), None, Chunks::Whole);
    pair.cut = true;
    let server = &mut pair.server;
    server.connection.close(CloseCode::NORMAL, "", &mut server.out, pair.now).unwrap();
    pair.advance(secs(4));
    assert!(!pair.server.dropped);
    pair.advance(secs(1));
    assert!(pair.server.dropped);
    let closed = pair.server.connection.closed();
    assert_eq!((closed.code, closed.clean, closed.by), (CloseCode::ABNORMAL, false, Side::Local));
}

#[test]
fn a_client_waits_for_the_server_to_let_go_and_not_for_ever() {
    let mut client = End::new(Role::Client, &Config::default(), None);
    client.feed(&frame(0x88, b"\x03\xe8"));
    assert_eq!(client.connection.teardown(), Teardown::AwaitPeerEnd);
    let deadline = client.connection.next_timeout().unwrap();
    client.connection.handle_timeout(deadline, &mut client.out);
    assert_eq!(client.connection.teardown(), Teardown::Drop);
    assert!(client.connection.closed().clean, "both Closes were exchanged");
}

#[test]
fn a_stream_that_ends_without_a_close_is_1006() {
    let mut end = End::new(Role::Server, &Config::default(), None);
    end.feed(&masked(0x01, b"never finished"));
    end.connection.end_of_stream();
    assert_eq!((end.connection.state(), end.connection.teardown()), (State::Closed, Teardown::Drop));
    assert_eq!(end.connection.next_timeout(), None);
    let closed = end.connection.closed();
    assert_eq!((closed.code, closed.clean, closed.by), (CloseCode::ABNORMAL, false, Side::Peer));
    assert_eq!(end.take_out(), [0; 0]);
}

#[test]
fn a_stream_that_ends_right_after_the_close_still_gets_the_answer() {
    let mut end = End::new(Role::Server, &Config::default(), None);
    end.feed(&masked(0x88, b"\x03\xe8"));
    end.connection.end_of_stream();
    assert_eq!((end.connection.state(), end.connection.teardown()), (State::Closed, Teardown::FlushThenCloseWrite));
    assert!(end.connection.closed().clean);
    let deadline = end.connection.next_timeout().expect("the flush has a deadline");
    end.connection.handle_timeout(deadline, &mut end.out);
    assert_eq!(end.connection.teardown(), Teardown::Drop);
}

// Time.

#[test]
fn a_silent_peer_is_pinged_and_its_pong_measures_the_round_trip() {
    let mut quiet = Config::default();
    quiet.ping_interval = None;
    let mut pair = Pair::between(&quiet, &Config::default(), None, Chunks::Whole);
    pair.advance(secs(24));
    assert_eq!(pair.client.take_seen(), []);
    pair.advance(secs(1));
    assert_eq!(pair.client.take_seen(), [Seen::Ping(vec![0, 0, 0, 1])]);
    assert_eq!(pair.server.take_seen(), [Seen::Pong(vec![0, 0, 0, 1])]);
    assert_eq!(pair.server.connection.round_trip_time(), Some(Duration::ZERO));

    // Any byte postpones the next ping.
    pair.advance(secs(20));
    pair.client.send("still here");
    pair.advance(secs(24));
    assert_eq!(pair.client.take_seen(), []);
    pair.advance(secs(1));
    assert_eq!(pair.client.take_seen(), [Seen::Ping(vec![0, 0, 0, 2])]);
    pair.advance(secs(3600));
    assert_eq!(pair.server.connection.state(), State::Open);
}

#[test]
fn the_round_trip_is_that_of_the_latest_ping_only() {
    let mut end = End::new(Role::Server, &Config::default(), None);
    end.connection.ping(b"first", &mut end.out, end.now).unwrap();
    end.now += secs(1);
    end.connection.ping(b"second", &mut end.out, end.now).unwrap();
    end.now += secs(2);
    end.feed(&masked(0x8A, b"first"));
    assert_eq!(end.connection.round_trip_time(), None);
    end.feed(&masked(0x8A, b"second"));
    assert_eq!(end.connection.round_trip_time(), Some(secs(2)));
    end.now += secs(9);
    end.feed(&masked(0x8A, b"second"));
    assert_eq!(end.connection.round_trip_time(), Some(secs(2)), "answered once already");
}

#[test]
fn a_peer_that_vanished_is_given_up_even_while_we_still_have_data_for_it() {
    let mut pair = Pair::new(&Config::default(), None, Chunks::Whole);
    pair.cut = true;
    for _ in 0..44 {
        pair.server.send("more and more");
        pair.advance(secs(1));
    }
    assert_eq!(pair.server.seen, []);
    pair.advance(secs(1));
    assert_eq!(pair.server.seen, [Seen::Error(ProtocolError::KeepaliveTimeout)], "25 s of silence and 20 s of waiting");
    pair.advance(secs(5));
    assert!(pair.server.dropped, "the Close cannot be flushed either");
}

#[test]
fn any_byte_after_a_ping_is_a_sign_of_life() {
    let mut end = End::new(Role::Server, &Config::default(), None);
    let start = end.now;
    end.now = start + secs(25);
    assert_eq!(end.connection.handle_timeout(end.now, &mut end.out), None);
    assert_eq!(end.take_out(), frame(0x89, &[0, 0, 0, 1]));
    assert_eq!(end.connection.next_timeout(), Some(start + secs(45)));
    end.now = start + secs(44);
    end.feed(&masked(0x82, b"large and slow")[..3]);
    end.now = start + secs(45);
    assert_eq!(end.connection.handle_timeout(end.now, &mut end.out), None);
    assert_eq!(end.connection.state(), State::Open);
}

#[test]
fn a_message_ends_in_time_however_steadily_it_drips() {
    let mut config = Config::default();
    config.ping_interval = None;
    let drip = |bytes: &[u8]| {
        let mut end = End::new(Role::Server, &config, None);
        let start = end.now;
        for byte in bytes.iter().cycle() {
            end.feed(&[*byte]);
            end.now += secs(1);
            if let Some(event) = end.connection.handle_timeout(end.now, &mut end.out) {
                assert_eq!(Seen::from(event), Seen::Error(ProtocolError::MessageTimeout));
                return end.now - start;
            }
            assert!(!end.seen.iter().any(|seen| matches!(seen, Seen::Error(_))), "{:?}", end.seen.last());
            if end.now - start > secs(300) {
                break;
            }
        }
        Duration::MAX
    };
    assert_eq!(drip(&masked(0x82, &[0; 1000])), secs(60), "one frame");
    let fragments = [masked(0x02, b"x"), masked(0x00, b"y").repeat(50)].concat();
    assert_eq!(drip(&fragments), secs(60), "fragments");
    let pings_between = [masked(0x02, b"x"), masked(0x89, b"y").repeat(50)].concat();
    assert_eq!(drip(&pings_between), secs(60), "pings do not help");
    assert_eq!(drip(&masked(0x82, b"short")), Duration::MAX, "each message for itself");
    assert_eq!(drip(&masked(0x89, b"ping")), Duration::MAX, "each control frame for itself");
}

#[test]
fn control_frames_may_come_at_the_rate_and_not_faster() {
    let mut config = Config::default();
    config.max_control_rate = 10;
    let error = ProtocolError::ControlFlood(10);
    for (what, flood) in [("pings", masked(0x89, b"x")), ("pongs", masked(0x8A, b"x"))] {
        let mut end = End::new(Role::Server, &config, None);
        end.feed(&flood.repeat(11));
        assert_eq!(end.seen.len(), 11);
        assert_eq!(end.seen[10], Seen::Error(error), "{what}");
        assert_eq!(end.connection.closed().code, CloseCode::POLICY_VIOLATION);

        let mut end = End::new(Role::Server, &config, None);
        for _ in 0..1000 {
            end.feed(&flood);
            end.now += Duration::from_millis(100);
        }
        assert_eq!(end.connection.state(), State::Open, "{what} at the rate");
    }
}
