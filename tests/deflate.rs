//! The codec of permessage-deflate against two others: zlib-rs with one continuous stream per direction, as any peer
//! would use it, and an inflater written here from RFC 1951 that knows every distance it follows.

use std::fmt::Write;

use loopwire::deflate::{Compressor, Decompressor, DeflateConfig, InflateError};
use loopwire::wire::PreparedMessage;
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
const NO_LIMIT: usize = usize::MAX;

/// What `compressor` makes of a whole message.
fn compress(compressor: &mut Compressor, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compressor.compress(message, true, &mut out);
    out
}

/// What `decompressor` makes of a whole message.
fn decompress(decompressor: &mut Decompressor, payload: &[u8], limit: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    decompressor.decompress(payload, true, limit, &mut out).map(|()| out)
}

fn compressor(bits: u8, takeover: bool) -> Compressor {
    Compressor::new(bits, takeover, &DeflateConfig::default())
}

/// A peer with one deflate stream for the whole connection.
struct Peer(Deflate);

impl Peer {
    fn new(level: i32, bits: u8) -> Self {
        Self(Deflate::new(level, false, bits))
    }

    fn raw(&mut self, message: &[u8], flush: DeflateFlush) -> Vec<u8> {
        let mut out = vec![0; message.len() * 2 + 1024];
        let before = self.0.total_out();
        self.0.compress(message, &mut out, flush).unwrap();
        out.truncate((self.0.total_out() - before) as usize);
        out
    }

    fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut out = self.raw(message, DeflateFlush::SyncFlush);
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }
}

/// What a peer with one inflate stream for the whole connection reads.
fn inflate(peer: &mut Inflate, payload: &[u8]) -> Vec<u8> {
    let input = [payload, &TAIL].concat();
    let mut out = vec![0; 1 << 20];
    let (read, written) = (peer.total_in(), peer.total_out());
    peer.decompress(&input, &mut out, InflateFlush::SyncFlush).unwrap();
    assert_eq!(peer.total_in() - read, input.len() as u64);
    out.truncate((peer.total_out() - written) as usize);
    out
}

/// Messages of many lengths that resemble one another, as a connection's do; some do not compress, some are empty.
fn messages(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random(seed | 1);
    (0..60)
        .map(|i| match i % 10 {
            0 => random.bytes(300),
            1 => Vec::new(),
            2 => b"ends like a flush \x00\x00\xff\xff".to_vec(),
            3 => json(&mut random, 400),
            4 => vec![b'a'; (random.next() % 3000) as usize],
            _ => json(&mut random, 1 + i % 4),
        })
        .collect()
}

fn json(random: &mut Random, fields: usize) -> Vec<u8> {
    let mut text = String::from("{\"type\":\"publication\"");
    for _ in 0..fields {
        let key = ["price", "symbol", "volume", "user", "channel"][(random.next() % 5) as usize];
        write!(text, ",\"{key}\":{}", random.next() % 10_000).unwrap();
    }
    (text + "}").into_bytes()
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn an_ordinary_inflater_reads_what_we_compress_and_no_distance_leaves_the_window() {
    for bits in 8..=15 {
        for level in [0, 1, 2, 6, 9] {
            for (takeover, history) in [(true, 4096), (true, usize::MAX), (false, 4096)] {
                let config = DeflateConfig::default().level(level).history(history);
                // Two connections take turns, unevenly, so that the shared codec changes hands and sometimes does not.
                let mut connections: Vec<_> = (0..2)
                    .map(|i| {
                        let oracle = Oracle::new(bits, takeover);
                        (Compressor::new(bits, takeover, &config), Inflate::new(false, 15), oracle, messages(7 + i))
                    })
                    .collect();
                for turn in 0..30 {
                    let (ours, peer, oracle, messages) = &mut connections[usize::from(turn % 3 == 0)];
                    let message = &messages[turn % messages.len()];
                    let payload = compress(ours, message);
                    assert!(!payload.is_empty());
                    let context = format!("bits {bits}, level {level}, takeover {takeover}, turn {turn}");
                    assert!(inflate(peer, &payload) == *message, "{context}");
                    assert!(oracle.message(&payload) == Ok(message.clone()), "{context}");
                }
            }
        }
    }
}

#[test]
fn short_and_long_messages_share_one_history() {
    for (bits, takeover) in [(8, true), (11, true), (15, true), (15, false)] {
        let mut random = Random(23);
        let (mut ours, mut peer) = (compressor(bits, takeover), Inflate::new(false, 15));
        let mut oracle = Oracle::new(bits, takeover);
        // Several times around all positions that 16 bits can tell apart.
        let mut total = 0;
        while total < 300_000 {
            let fields = 1 + (random.next() % 12) as usize;
            let message = match random.next() % 30 {
                0 => json(&mut random, 1000),
                1 => random.bytes(5000),
                2 => vec![b'x'; 40_000],
                3..8 => random.bytes(2 + fields),
                _ => json(&mut random, fields),
            };
            let mut payload = Vec::new();
            let (first, second) = message.split_at(message.len() / 2);
            if total % 3 == 0 {
                ours.compress(first, false, &mut payload);
                ours.compress(second, true, &mut payload);
            } else {
                ours.compress(&message, true, &mut payload);
            }
            assert!(payload.len() <= message.len() + 64, "{} bytes for {}", payload.len(), message.len());
            assert!(inflate(&mut peer, &payload) == message, "bits {bits}, after {total} bytes");
            assert!(oracle.message(&payload) == Ok(message.clone()), "bits {bits}, after {total} bytes");
            total += message.len();
        }
    }
}

#[test]
fn we_read_what_an_ordinary_deflater_compresses() {
    for bits in 9..=15 {
        for level in [0, 1, 6, 9] {
            let mut connections: Vec<_> =
                (0..2).map(|i| (Peer::new(level, bits), Decompressor::new(bits, true), messages(11 + i))).collect();
            for turn in 0..45 {
                let (peer, ours, messages) = &mut connections[usize::from(turn % 3 == 0)];
                let message = &messages[turn % messages.len()];
                let payload = if message.is_empty() { vec![0] } else { peer.message(message) };
                let read = decompress(ours, &payload, message.len());
                assert!(read.as_ref() == Ok(message), "bits {bits}, level {level}, turn {turn}");
            }
        }
    }
}

#[test]
fn both_directions_agree_at_every_split_and_in_single_bytes() {
    let first = b"{\"type\":\"publication\",\"price\":4711,\"symbol\":815}";
    let second = b"{\"type\":\"publication\",\"price\":4712,\"symbol\":816,\"volume\":1}";
    for bits in [8, 9, 12, 15] {
        for takeover in [true, false] {
            for split in 0..=second.len() {
                let mut ours = compressor(bits, takeover);
                let mut peer = Inflate::new(false, 15);
                assert_eq!(inflate(&mut peer, &compress(&mut ours, first)), first);
                let mut payload = Vec::new();
                ours.compress(&second[..split], false, &mut payload);
                assert!(payload.ends_with(&TAIL), "what was given is readable before the message ends");
                ours.compress(&second[split..], true, &mut payload);
                assert_eq!(inflate(&mut peer, &payload), second, "bits {bits}, split {split}");
                // The next message still fits.
                assert_eq!(inflate(&mut peer, &compress(&mut ours, first)), first);
            }

            let mut ours = compressor(bits, takeover);
            let payloads = [first, &second[..], first].map(|message| compress(&mut ours, message));
            for split in 0..=payloads[1].len() {
                let mut reader = Decompressor::new(bits, takeover);
                assert_eq!(decompress(&mut reader, &payloads[0], first.len()).unwrap(), first);
                let mut out = Vec::new();
                reader.decompress(&payloads[1][..split], false, second.len(), &mut out).unwrap();
                reader.decompress(&payloads[1][split..], true, second.len(), &mut out).unwrap();
                assert_eq!(out, second, "bits {bits}, split {split}");
                assert_eq!(decompress(&mut reader, &payloads[2], first.len()).unwrap(), first);
            }
            let mut reader = Decompressor::new(bits, takeover);
            for (payload, message) in payloads.iter().zip([first, &second[..], first]) {
                let mut out = Vec::new();
                for byte in payload {
                    reader.decompress(&[*byte], false, message.len(), &mut out).unwrap();
                }
                reader.decompress(&[], true, message.len(), &mut out).unwrap();
                assert_eq!(out, message);
            }
        }
    }
}

#[test]
fn messages_in_pieces_on_many_connections_do_not_disturb_each_other() {
    let mut connections: Vec<_> =
        (0..20).map(|i| (compressor(15, i % 2 == 0), Decompressor::new(15, i % 2 == 0), messages(100 + i))).collect();
    for turn in 0..60 {
        let mut outs = vec![Vec::new(); connections.len()];
        for step in 0..4 {
            for ((ours, reader, messages), out) in connections.iter_mut().zip(&mut outs) {
                let message = &messages[turn];
                let (from, to) = (message.len() * step / 4, message.len() * (step + 1) / 4);
                let mut payload = Vec::new();
                ours.compress(&message[from..to], step == 3, &mut payload);
                reader.decompress(&payload, step == 3, message.len(), out).unwrap();
            }
        }
        for ((_, _, messages), out) in connections.iter().zip(&outs) {
            assert!(*out == messages[turn]);
        }
    }
}

#[test]
fn the_rfc_s_examples_inflate() {
    type Row<'a> = (&'a str, &'a [&'a [u8]], &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        ("§7.2.3.1: one block", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00"], &["Hello"]),
        ("§7.2.3.2: sharing the window", &[b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"], &["Hello"; 2]),
        ("§7.2.3.3: no compression", &[b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"], &["Hello"]),
        ("§7.2.3.4: BFINAL", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"], &["Hello"]),
        ("§7.2.3.5: two blocks", &[b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"], &["Hello"]),
        ("§7.2.3.6: empty", &[b"\x00"], &[""]),
        ("BFINAL, then another", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"\xf2\x00\x11\x00\x00"], &["Hello"; 2]),
        ("BFINAL without a block behind", &[b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"], &["Hello"; 2]),
        ("a last block that is empty", &[b"\x01", b"\xf2\x48\xcd\xc9\xc9\x07\x00"], &["", "Hello"]),
        (
            "two streams in one message, the second with the first's window",
            &[b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"],
            &["HelloHello"],
        ),
    ];
    for (name, payloads, expected) in rows {
        let (mut whole, mut bytewise) = (Decompressor::new(15, true), Decompressor::new(15, true));
        for (payload, expected) in payloads.iter().zip(*expected) {
            assert_eq!(decompress(&mut whole, payload, NO_LIMIT).as_deref(), Ok(expected.as_bytes()), "{name}");
            let mut out = Vec::new();
            for byte in *payload {
                bytewise.decompress(&[*byte], false, NO_LIMIT, &mut out).unwrap();
            }
            bytewise.decompress(&[], true, NO_LIMIT, &mut out).unwrap();
            assert_eq!(out, expected.as_bytes(), "{name}, byte by byte");
        }
    }
}

#[test]
fn streams_that_end_within_messages_keep_the_window() {
    for takeover in [true, false] {
        let mut reader = Decompressor::new(15, takeover);
        for message in messages(3) {
            let (front, back) = message.split_at(message.len() / 2);
            let mut peer = Peer::new(1, 15);
            let mut payload = peer.raw(front, DeflateFlush::Finish);
            payload.extend(Peer::new(1, 15).message(back));
            for pieces in [1, 2, 7] {
                let mut out = Vec::new();
                for chunk in payload.chunks(payload.len().div_ceil(pieces)) {
                    reader.decompress(chunk, false, message.len(), &mut out).unwrap();
                }
                reader.decompress(&[], true, message.len(), &mut out).unwrap();
                assert!(out == message);
            }
        }
    }
}

#[test]
fn a_message_that_breaks_off_is_corrupt() {
    for level in [0, 1, 6] {
        let mut random = Random(5);
        for message in [json(&mut random, 3), json(&mut random, 300), random.bytes(200)] {
            let payload = Peer::new(level, 15).message(&message);
            for len in 0..payload.len() {
                let result = decompress(&mut Decompressor::new(15, true), &payload[..len], NO_LIMIT);
                // The header of a stored block alone is an empty message.
                let expected = if payload[..len] == [0] { Ok(Vec::new()) } else { Err(InflateError::Corrupt) };
                assert_eq!(result, expected, "level {level}: {len} of {} bytes", payload.len());
            }
            // A reader that met a broken message leaves nothing behind for others on this thread.
            assert!(decompress(&mut Decompressor::new(15, true), &payload, NO_LIMIT) == Ok(message));
        }
    }
}

#[test]
fn what_is_not_deflate_is_corrupt() {
    let rows: &[(&str, &[u8])] = &[
        ("a block of type 3", b"\x07"),
        ("stored, its length without the complement", b"\x00\x05\x00\x00\x00Hello\x00"),
        ("a distance before the beginning", b"\xf2\x00\x11\x00\x00"),
        ("nothing", b""),
        ("a dynamic block with too many codes", b"\xfc\xff\xff\xff\xff"),
        ("a plain text", b"{\"type\":\"publication\"}"),
    ];
    for (name, payload) in rows {
        let mut reader = Decompressor::new(15, true);
        assert_eq!(decompress(&mut reader, payload, NO_LIMIT), Err(InflateError::Corrupt), "{name}");
    }
}

#[test]
fn a_reference_beyond_what_was_agreed_is_corrupt_whoever_came_in_between() {
    let message = Random(9).bytes(600);
    for other_in_between in [false, true] {
        // (agreed bits, takeover, whether a repetition of the last message, 600 bytes back, may be read)
        for (bits, takeover, allowed) in [(8, true, false), (9, true, false), (10, true, true), (15, false, false)] {
            let mut peer = Peer::new(6, 15);
            let mut reader = Decompressor::new(bits, takeover);
            assert!(decompress(&mut reader, &peer.message(&message), NO_LIMIT).is_ok());
            if other_in_between {
                decompress(&mut Decompressor::new(15, true), &[0], NO_LIMIT).unwrap();
            }
            let repeated = peer.message(&message);
            assert!(repeated.len() < 100);
            assert_eq!(decompress(&mut reader, &repeated, NO_LIMIT).is_ok(), allowed, "bits {bits}");
        }
    }
}

#[test]
fn the_limit_counts_what_comes_out_and_when() {
    let zeros = vec![0; 6 << 20];
    let mut peer = Peer::new(9, 15);
    let bomb = peer.message(&zeros);
    assert!(bomb.len() < 8000);
    for limit in [0, 1, 1000, 16 * 1024, 16 * 1024 + 1, 1 << 20, zeros.len() - 1, zeros.len()] {
        for takeover in [true, false] {
            for piece_len in if limit > 1 << 20 { vec![bomb.len()] } else { vec![bomb.len(), 1000, 1] } {
                let mut reader = Decompressor::new(15, takeover);
                let mut out = Vec::new();
                let mut pieces = bomb.chunks(piece_len).peekable();
                let mut result = Ok(());
                while let (Ok(()), Some(piece)) = (result, pieces.next()) {
                    result = reader.decompress(piece, pieces.peek().is_none(), limit, &mut out);
                }
                let fits = limit >= zeros.len();
                assert_eq!(result, if fits { Ok(()) } else { Err(InflateError::TooBig) }, "limit {limit}");
                assert!(out.capacity() <= limit, "{} bytes of memory for a limit of {limit}", out.capacity());
            }
        }
    }

    // Around the limit: in pieces, in several streams, from history; counted anew for each message.
    let mut reader = Decompressor::new(15, true);
    let mut peer = Peer::new(6, 15);
    for _ in 0..3 {
        assert_eq!(decompress(&mut reader, &peer.message(&zeros[..1000]), 1000).unwrap().len(), 1000);
    }
    assert_eq!(decompress(&mut reader, &peer.message(&zeros[..1001]), 1000), Err(InflateError::TooBig));
    let streams = [Peer::new(6, 15).raw(&zeros[..600], DeflateFlush::Finish), Peer::new(6, 15).message(&zeros[..401])];
    let mut reader = Decompressor::new(15, true);
    let mut out = Vec::new();
    assert_eq!(reader.decompress(&streams[0], false, 1000, &mut out), Ok(()));
    assert_eq!(reader.decompress(&streams[1], true, 1000, &mut out), Err(InflateError::TooBig));
    assert_eq!(decompress(&mut Decompressor::new(15, true), &streams.concat(), 1000), Err(InflateError::TooBig));
}

#[test]
fn a_message_is_the_same_bytes_or_the_same_error_however_it_is_cut() {
    let mut random = Random(0x5eed);
    let mut seen = [0; 3];
    for fields in (0..40).cycle().take(2000) {
        let (bits, takeover) = (8 + (random.next() % 8) as u8, random.next().is_multiple_of(2));
        let level = [0, 1, 6][fields % 3];
        let message = json(&mut random, fields);
        let mut payload =
            compress(&mut Compressor::new(bits, takeover, &DeflateConfig::default().level(level)), &message);
        for _ in 0..random.next() % 3 {
            let at = random.next() as usize % payload.len();
            payload[at] ^= 1 << (random.next() % 8);
        }
        let limit = if random.next().is_multiple_of(2) { message.len() } else { random.next() as usize % 300 };

        let whole = decompress(&mut Decompressor::new(bits, takeover), &payload, limit);
        let mut reader = Decompressor::new(bits, takeover);
        let mut out = Vec::new();
        let mut pieces = payload.chunks(1 + random.next() as usize % 40).peekable();
        let mut result = Ok(());
        while let (Ok(()), Some(piece)) = (result, pieces.next()) {
            result = reader.decompress(piece, pieces.peek().is_none(), limit, &mut out);
        }
        assert_eq!(whole, result.map(|()| out), "limit {limit}: {payload:02x?}");
        match whole {
            Ok(_) => seen[0] += 1,
            Err(InflateError::Corrupt) => seen[1] += 1,
            Err(_) => seen[2] += 1,
        }
    }
    assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
}

#[test]
fn streams_without_content_are_not_endless() {
    // A stream of two bytes makes the reader copy a window: so many are not needed by anyone.
    let mut reader = Decompressor::new(15, true);
    let mut payload = [0x03, 0x00].repeat(1000);
    payload.push(0);
    assert_eq!(decompress(&mut reader, &payload, 0), Ok(Vec::new()));
    let mut payload = [0x03, 0x00].repeat(1 << 20);
    payload.push(0);
    assert_eq!(decompress(&mut reader, &payload, 0), Err(InflateError::Corrupt));

    // A peer that ends a stream with every line of a long message is read.
    let line = Random(1).bytes(80);
    let stream = Peer::new(1, 15).raw(&line, DeflateFlush::Finish);
    let mut payload = stream.repeat(20_000);
    payload.push(0);
    assert!(decompress(&mut Decompressor::new(15, true), &payload, NO_LIMIT).unwrap() == line.repeat(20_000));
}

#[test]
fn shared_and_own_messages_mix_in_one_stream() {
    for bits in 8..=15 {
        for takeover in [true, false] {
            let mut connections: Vec<_> = (0..3)
                .map(|_| (compressor(bits, takeover), Inflate::new(false, 15), Oracle::new(bits, takeover)))
                .collect();
            for (turn, message) in messages(21).iter().enumerate() {
                let prepared = PreparedMessage::new(message);
                for (i, (ours, peer, oracle)) in connections.iter_mut().enumerate() {
                    let payload = if (turn + i) % 3 == 0 {
                        let frame = ours.compress_shared(&prepared);
                        payload_of(frame.as_ref()).to_vec()
                    } else {
                        compress(ours, message)
                    };
                    assert!(inflate(peer, &payload) == *message, "bits {bits}, turn {turn}");
                    assert!(oracle.message(&payload) == Ok(message.clone()), "bits {bits}, turn {turn}");
                }
            }
        }
    }
}

#[test]
fn a_shared_message_suits_the_smallest_window_whoever_asked_first() {
    let repeated = Random(31).bytes(300).repeat(3);
    for order in [[9, 8], [8, 9]] {
        let prepared = PreparedMessage::new(&repeated);
        for bits in order {
            let frame = compressor(bits, true).compress_shared(&prepared);
            assert!(Oracle::new(bits, true).message(payload_of(frame.as_ref())) == Ok(repeated.clone()), "{order:?}");
        }
    }
}

/// The payload of an unmasked frame.
fn payload_of(frame: &[u8]) -> &[u8] {
    assert_eq!(frame[0], 0xc2, "FIN, RSV1, binary");
    match frame[1] {
        126 => &frame[4..],
        127 => &frame[10..],
        _ => &frame[2..],
    }
}

#[test]
fn context_takeover_makes_similar_messages_short() {
    let mut random = Random(3);
    let messages: Vec<_> = (0..200).map(|_| json(&mut random, 12)).collect();
    let total: usize = messages.iter().map(Vec::len).sum();
    let percent = |takeover| {
        // Another connection takes the codec each time.
        let mut pair = [compressor(15, takeover), compressor(15, takeover)];
        let compressed: usize =
            messages.iter().map(|message| pair.each_mut().map(|ours| compress(ours, message).len())[0]).sum();
        compressed * 100 / total
    };
    let (with, without) = (percent(true), percent(false));
    assert!(with < 50 && without > with + 10, "{with} % with, {without} % without");
}

/// An inflater that follows RFC 1951 to the letter, a bit at a time, and refuses any distance beyond the window.
struct Oracle {
    window: usize,
    takeover: bool,
    history: Vec<u8>,
}

impl Oracle {
    fn new(bits: u8, takeover: bool) -> Self {
        Self { window: 1 << bits, takeover, history: Vec::new() }
    }

    fn message(&mut self, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        if !self.takeover {
            self.history.clear();
        }
        let start = self.history.len();
        let input = [payload, &TAIL].concat();
        let mut bits = Bits { input: &input, at: 0 };
        while bits.at < input.len() * 8 {
            let last = bits.take(1)?;
            match bits.take(2)? {
                0 => self.stored(&mut bits)?,
                1 => {
                    let lengths: Vec<u8> = (0..288)
                        .map(|symbol| match symbol {
                            144..256 => 9,
                            256..280 => 7,
                            _ => 8,
                        })
                        .collect();
                    self.block(&mut bits, &Huffman::new(&lengths), &Huffman::new(&[5; 30]))?;
                }
                2 => {
                    let (literals, distances) = dynamic(&mut bits)?;
                    self.block(&mut bits, &literals, &distances)?;
                }
                _ => return Err("block type 3"),
            }
            if last == 1 {
                bits.align();
            }
        }
        Ok(self.history[start..].to_vec())
    }

    fn stored(&mut self, bits: &mut Bits<'_>) -> Result<(), &'static str> {
        bits.align();
        let len = bits.take(16)?;
        if bits.take(16)? != !len & 0xffff {
            return Err("stored length");
        }
        for _ in 0..len {
            self.history.push(bits.take(8)? as u8);
        }
        Ok(())
    }

    fn block(&mut self, bits: &mut Bits<'_>, literals: &Huffman, distances: &Huffman) -> Result<(), &'static str> {
        const LENGTHS: [usize; 29] = [
            3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
            227, 258,
        ];
        loop {
            match literals.symbol(bits)? {
                byte @ 0..256 => self.history.push(byte as u8),
                256 => return Ok(()),
                code => {
                    let code = code - 257;
                    let extra = if (8..28).contains(&code) { (code - 4) / 4 } else { 0 };
                    let len = LENGTHS.get(code).ok_or("length code")? + bits.take(extra)?;
                    let code = distances.symbol(bits)?;
                    let extra = code.saturating_sub(2) / 2;
                    let base = if code < 2 { 1 + code } else { 1 + ((2 + code % 2) << extra) };
                    let distance = base + bits.take(extra)?;
                    if distance > self.window {
                        return Err("a distance beyond the window");
                    }
                    for _ in 0..len {
                        let from = self.history.len().checked_sub(distance).ok_or("a distance before the beginning")?;
                        self.history.push(self.history[from]);
                    }
                }
            }
        }
    }
}

fn dynamic(bits: &mut Bits<'_>) -> Result<(Huffman, Huffman), &'static str> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, codes) = (257 + bits.take(5)?, 1 + bits.take(5)?, 4 + bits.take(4)?);
    let mut lengths = [0; 19];
    for &code in &ORDER[..codes] {
        lengths[code] = bits.take(3)? as u8;
    }
    let meta = Huffman::new(&lengths);
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (value, count) = match meta.symbol(bits)? {
            16 => (*lengths.last().ok_or("nothing to repeat")?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            len => (len as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(value, count));
    }
    let (literals, distances) = lengths.split_at(literals);
    Ok((Huffman::new(literals), Huffman::new(distances)))
}

struct Bits<'a> {
    input: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, &'static str> {
        (0..count).try_fold(0, |value, i| {
            let bit = self.input.get(self.at / 8).ok_or("the input ends")? >> (self.at % 8) & 1;
            self.at += 1;
            Ok(value | usize::from(bit) << i)
        })
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// A canonical code: symbols in the order of their codes, and how many there are of each length.
struct Huffman {
    symbols: Vec<usize>,
    counts: [usize; 16],
}

impl Huffman {
    fn new(lengths: &[u8]) -> Self {
        let mut counts = [0; 16];
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|&symbol| lengths[symbol] > 0).collect();
        symbols.sort_by_key(|&symbol| (lengths[symbol], symbol));
        for &symbol in &symbols {
            counts[usize::from(lengths[symbol])] += 1;
        }
        Self { symbols, counts }
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, &'static str> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return self.symbols.get(index + code - first).copied().ok_or("no such code");
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("no such code")
    }
}
