//! permessage-deflate on an open connection: the RFC's examples, what is refused, the limits, and two ends that agree
//! whatever the parameters [RFC 7692].

mod common;

use common::pair::{Chunks, Pair};
use common::{End, Seen, at_every_chunking, binary, masked, text};
use loopwire::deflate::{Compressor, DeflateConfig, DeflateParams};
use loopwire::protocol::{Config, Delivery, Role, State};
use loopwire::wire::{MessageKind, Opcode, PreparedMessage, ProtocolError};

fn check(config: &Config, rows: &[(&str, Vec<u8>, Vec<Seen>)]) {
    for (name, bytes, expected) in rows {
        let agreed = Some(DeflateParams::default());
        let (seen, _) = at_every_chunking(Role::Server, config, agreed, bytes, name);
        assert_eq!(&seen, expected, "{name}");
    }
}

/// `payload` as a client that compresses each message for itself puts it on the wire.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(15, false, &DeflateConfig::default()).compress(payload, true, &mut out);
    out
}

fn error(error: ProtocolError) -> Vec<Seen> {
    vec![Seen::Error(error)]
}

const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

#[test]
fn the_rfc_s_examples_inflate() {
    let hello = || vec![text("Hello")];
    let twice = || vec![text("Hello"), text("Hello")];
    check(
        &Config::default(),
        &[
            ("§7.2.3.1 one block", masked(0xC1, HELLO), hello()),
            ("§7.2.3.1 in fragments", [masked(0x41, &HELLO[..3]), masked(0x80, &HELLO[3..])].concat(), hello()),
            ("§7.2.3.2 window shared", [masked(0xC1, HELLO), masked(0xC1, b"\xf2\x00\x11\x00\x00")].concat(), twice()),
            ("§7.2.3.2 window not used", masked(0xC1, HELLO).repeat(2), twice()),
            ("§7.2.3.3 a stored block", masked(0xC1, b"\x00\x05\x00\xfa\xffHello\x00"), hello()),
            (
                "§7.2.3.4 BFINAL, then another message",
                masked(0xC1, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00").repeat(2),
                twice(),
            ),
            ("§7.2.3.5 two blocks", masked(0xC1, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), hello()),
            ("§7.2.3.6 an empty message", masked(0xC1, b"\x00"), vec![text("")]),
            (
                "not compressed, though agreed",
                [masked(0x81, b"plain"), masked(0xC1, HELLO)].concat(),
                vec![text("plain"), text("Hello")],
            ),
            (
                "a ping between compressed fragments",
                [masked(0x41, &HELLO[..3]), masked(0x89, b"p"), masked(0x00, b""), masked(0x80, &HELLO[3..])].concat(),
                vec![Seen::Ping(b"p".to_vec()), text("Hello")],
            ),
        ],
    );
}

#[test]
fn the_compressed_bit_elsewhere_and_what_does_not_inflate_are_refused() {
    use ProtocolError::{CompressedOutOfPlace, InflateFailed, InvalidUtf8, ReservedBit};
    check(
        &Config::default(),
        &[
            ("on a ping", masked(0xC9, b""), error(CompressedOutOfPlace(Opcode::Ping))),
            ("on a pong", masked(0xCA, b""), error(CompressedOutOfPlace(Opcode::Pong))),
            ("on a close", masked(0xC8, b""), error(CompressedOutOfPlace(Opcode::Close))),
            (
                "on a continuation",
                [masked(0x41, &HELLO[..3]), masked(0xC0, &HELLO[3..])].concat(),
                error(CompressedOutOfPlace(Opcode::Continuation)),
            ),
            ("with another reserved bit", masked(0xE1, HELLO), error(ReservedBit(2))),
            ("no payload at all: not even the beginning of a block", masked(0xC1, b""), error(InflateFailed)),
            (
                "the tail left in: what is appended is then the beginning of a block",
                masked(0xC1, b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"),
                error(InflateFailed),
            ),
            ("a truncated stream", masked(0xC1, &HELLO[..3]), error(InflateFailed)),
            ("an impossible block type", masked(0xC1, b"\xff\xff\xff"), error(InflateFailed)),
            ("a reference to before the beginning", masked(0xC1, b"\xf2\x00\x11\x00\x00"), error(InflateFailed)),
            ("text that is not UTF-8", masked(0xC1, &deflated(b"ok \xff")), error(InvalidUtf8)),
            ("text that ends inside a character", masked(0xC1, &deflated(b"ok \xe2\x82")), error(InvalidUtf8)),
        ],
    );
    let (seen, _) = at_every_chunking(Role::Server, &Config::default(), None, &masked(0xC1, HELLO), "not agreed");
    assert_eq!(seen, error(ReservedBit(1)));
}

#[test]
fn text_inside_a_long_compressed_message_fails_before_its_end() {
    let mut end = End::new(Role::Server, &Config::default(), Some(DeflateParams::default()));
    let mut compressor = Compressor::new(15, true, &DeflateConfig::default());
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'!' + (state >> 26) as u8
    })
    .take(8000)
    .collect();
    let mut piece = Vec::new();
    compressor.compress(&noise, false, &mut piece);
    compressor.compress(b"and then \xf4\x90", false, &mut piece);
    end.feed(&masked(0x41, &piece));
    assert_eq!(end.seen, error(ProtocolError::InvalidUtf8));
}

#[test]
fn the_limit_counts_what_was_inflated_wherever_it_stands() {
    let mut config = Config::default();
    config.max_message = 10_000;
    let too_big = || error(ProtocolError::MessageTooBig(10_000));
    let at_limit = deflated(&[0; 10_000]);
    let over = deflated(&[0; 10_001]);
    let bomb = deflated(&vec![0; 6 << 20]);
    let fragments = |payload: &[u8]| {
        let mut bytes = masked(0x42, b"");
        payload.chunks(5).for_each(|chunk| bytes.extend(masked(0x00, chunk)));
        bytes.extend(masked(0x80, b""));
        bytes
    };
    check(
        &config,
        &[
            ("at it", masked(0xC2, &at_limit), vec![binary(&[0; 10_000])]),
            ("at it, in fragments", fragments(&at_limit), vec![binary(&[0; 10_000])]),
            ("at it, twice", masked(0xC2, &at_limit).repeat(2), vec![binary(&[0; 10_000]), binary(&[0; 10_000])]),
            ("over it", masked(0xC2, &over), too_big()),
            ("over it, in fragments", fragments(&over), too_big()),
            ("far over it", masked(0xC2, &bomb), too_big()),
            ("far over it, in fragments", fragments(&bomb), too_big()),
        ],
    );
    // And what the wire's own length already shows is not waited for.
    let mut end = End::new(Role::Server, &config, Some(DeflateParams::default()));
    end.feed(&[&[0xC2, 0xFF], &(1_u64 << 40).to_be_bytes()[..], &common::KEY].concat());
    assert_eq!(end.seen, too_big());
}

#[test]
fn two_ends_agree_under_every_parameter_cut_and_fragment_size() {
    let sizes = [0, 1, 63, 64, 200, 3000, 40_000];
    let words = "subscribe publish presence {\"channel\":\"news\"} größer 消息 ";
    let cases: Vec<String> = sizes.iter().map(|&len| words.chars().cycle().take(len).collect()).collect();
    for bits in [8, 9, 12, 15] {
        for alone in [false, true] {
            for fragment_size in [None, Some(50)] {
                for chunks in [Chunks::Whole, Chunks::Seeded(u64::from(bits) + 1)] {
                    let mut config = Config::default();
                    config.fragment_size = fragment_size;
                    let mut agreed = DeflateParams::default();
                    agreed.server_max_window_bits = bits;
                    agreed.client_max_window_bits = 23 - bits;
                    agreed.server_no_context_takeover = alone;
                    agreed.client_no_context_takeover = !alone;
                    let mut pair = Pair::new(&config, Some(agreed), chunks);
                    pair.server.echoes = true;
                    for case in &cases {
                        pair.client.send(case);
                        pair.client.send(case.as_bytes());
                        pair.settle();
                        let expected = [text(case), binary(case.as_bytes())];
                        assert_eq!(pair.server.take_seen(), expected, "{agreed} {fragment_size:?} {chunks:?}");
                        assert_eq!(pair.client.take_seen(), expected, "{agreed} {fragment_size:?} {chunks:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_compressed_stream_of_pieces_arrives_piece_by_piece() {
    let mut config = Config::default();
    config.delivery = Delivery::Pieces;
    let mut pair = Pair::new(&config, Some(DeflateParams::default()), Chunks::Whole);
    let piece =
        |data: &str, first, last| Seen::Piece { kind: MessageKind::Text, data: data.as_bytes().to_vec(), first, last };
    for _ in 0..3 {
        for (data, last) in [("once upon ", false), ("", false), ("a time ", false), ("", true)] {
            let server = &mut pair.server;
            server.connection.send_piece(MessageKind::Text, data.as_bytes(), last, &mut server.out).unwrap();
            pair.settle();
        }
        assert_eq!(
            pair.client.take_seen(),
            [piece("once upon ", true, false), piece("a time ", false, false), piece("", false, true)]
        );
        pair.server.send("a whole message that is long enough to be compressed, which is 64 bytes");
        pair.settle();
        assert_eq!(pair.client.take_seen().len(), 1);
    }
    assert_eq!(pair.client.connection.state(), State::Open);
}

#[test]
fn short_messages_go_uncompressed_and_prepared_ones_keep_the_context_whole() {
    let mut pair = Pair::new(&Config::default(), Some(DeflateParams::default()), Chunks::Of(3));
    let long = "this one is repeated: ".repeat(8);
    let prepared = PreparedMessage::new(&long);
    for _ in 0..3 {
        let server = &mut pair.server;
        server.send("short");
        assert_eq!(server.out[0], 0x81);
        server.send(&long);
        let shared = server.connection.send_prepared(&prepared, &mut server.out).unwrap().expect("a shared frame");
        assert_eq!(shared.as_ref()[0], 0xC1);
        server.out.extend_from_slice(shared.as_ref());
        server.send(&long);
        pair.settle();
        assert_eq!(pair.client.take_seen(), [text("short"), text(&long), text(&long), text(&long)]);
    }
}
