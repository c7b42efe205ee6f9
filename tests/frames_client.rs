//! What a client makes of a server's frames, where that differs from the other way round; each row at every chunking.

mod common;

use common::{Seen, at_every_chunking, binary, frame, masked, text};
use loopwire::protocol::{Config, Role};
use loopwire::wire::ProtocolError;

#[test]
fn a_server_s_frames_are_unmasked_and_a_client_s_answers_masked() {
    let pings = [frame(0x89, b"one"), frame(0x89, b"two")].concat();
    let close = frame(0x88, b"\x03\xe8bye");
    let rows = [
        ("the RFC's Hello", b"\x81\x05Hello".to_vec(), vec![text("Hello")], vec![]),
        ("the RFC's fragments", b"\x01\x03Hel\x80\x02lo".to_vec(), vec![text("Hello")], vec![]),
        ("256 bytes", frame(0x82, &[9; 256]), vec![binary(&[9; 256])], vec![]),
        (
            "pings",
            pings,
            vec![Seen::Ping(b"one".to_vec()), Seen::Ping(b"two".to_vec())],
            [frame(0x8A, b"one"), frame(0x8A, b"two")].concat(),
        ),
        ("a close", close, vec![Seen::Close(1000, "bye".into())], frame(0x88, b"\x03\xe8")),
    ];
    for (name, bytes, seen, out) in rows {
        assert_eq!(at_every_chunking(Role::Client, &Config::default(), None, &bytes, name), (seen, out), "{name}");
    }
}

#[test]
fn a_masked_frame_from_a_server_fails_the_connection() {
    let error = ProtocolError::MaskForbidden;
    for first in [0x81, 0x82, 0x88, 0x89, 0x8A] {
        for len in [0, 5, 125] {
            let (seen, out) =
                at_every_chunking(Role::Client, &Config::default(), None, &masked(first, &vec![0; len]), "masked");
            assert_eq!(seen, [Seen::Error(error)]);
            assert_eq!(out[2..4], 1002_u16.to_be_bytes());
        }
    }
}
