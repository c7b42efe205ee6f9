//! Compressed messages: ours are read by zlib as one continuous stream, and foreign ones are read by ours as zlib
//! reads them; cut anywhere, and never beyond the limit.

#![no_main]

use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use loopwire::deflate::{Compressor, Decompressor, DeflateConfig, InflateError};
use loopwire_fuzz::{Choices, chopped};

/// What the wire leaves out at a message's end [RFC 7692 §7.2.1].
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// An empty stored block that says it is the last.
const FINAL_BLOCK: &[u8] = &[0x01, 0x00, 0x00, 0xff, 0xff];
const LIMIT: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let window_bits = 8 + choices.byte() % 8;
    let takeover = choices.flag();
    let cuts = [choices.byte(), choices.byte()];
    if choices.flag() {
        foreign(window_bits, takeover, &cuts, choices.rest());
    } else {
        ours(window_bits, takeover, &cuts, choices);
    }
});

/// Bytes that claim to be a compressed message.
fn foreign(window_bits: u8, takeover: bool, cuts: &[u8], stream: &[u8]) {
    let read = |pieces: &[&[u8]], limit: usize| {
        let mut decompressor = Decompressor::new(window_bits, takeover);
        let mut out = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let last = index + 1 == pieces.len();
            let outcome = decompressor.decompress(piece, last, limit, &mut out);
            assert!(out.len() <= limit, "{} bytes over a limit of {limit}", out.len());
            outcome?;
        }
        Ok(out)
    };
    let whole = read(&[stream], LIMIT);
    if !stream.is_empty() {
        assert_eq!(whole.is_ok(), read(&chopped(stream, cuts), LIMIT).is_ok(), "cut by {cuts:?}");
        assert_eq!(whole.as_ref().ok(), read(&chopped(stream, cuts), LIMIT).as_ref().ok(), "cut by {cuts:?}");
    }
    if let Ok(message) = &whole {
        // Exactly at the limit it passes, one byte under it does not.
        assert_eq!(read(&[stream], message.len()).as_ref(), Ok(message));
        if let Some(less) = message.len().checked_sub(1) {
            assert_eq!(read(&[stream], less), Err(InflateError::TooBig));
        }
    }
    // A stream that ends itself (BFINAL) ends for zlib, but not for us; and a smaller window may refuse more.
    if let Some(theirs) = Reference::new(window_bits).last_message(stream) {
        match &whole {
            Ok(ours) => assert_eq!(ours, &theirs),
            Err(InflateError::Corrupt) => assert!(window_bits < 15, "refused what zlib reads"),
            Err(_) => {}
        }
    }
}

/// Messages through our compressor, and back in both ways.
fn ours(window_bits: u8, takeover: bool, cuts: &[u8], mut choices: Choices<'_>) {
    let config = DeflateConfig::default().level(i32::from(choices.byte() % 10)).history(choices.below(1 << 15));
    let mut compressor = Compressor::new(window_bits, takeover, &config);
    let mut decompressor = Decompressor::new(window_bits, takeover);
    let mut reference = Reference::new(window_bits);
    while !choices.is_empty() {
        let len = choices.below(512);
        let repeated = 1 + choices.below(16);
        let message = choices.bytes(len).repeat(repeated);
        let mut compressed = Vec::new();
        if choices.flag() && !message.is_empty() {
            let pieces = chopped(&message, cuts);
            for (index, piece) in pieces.iter().enumerate() {
                compressor.compress(piece, index + 1 == pieces.len(), &mut compressed);
            }
        } else {
            compressor.compress(&message, true, &mut compressed);
        }
        let mut read = Vec::new();
        assert_eq!(decompressor.decompress(&compressed, true, message.len(), &mut read), Ok(()));
        assert!(read == message, "our own inflater reads something else");
        if !takeover {
            reference = Reference::new(window_bits);
        }
        assert!(reference.message(&compressed).as_ref() == Some(&message), "zlib reads something else");
    }
}

/// zlib, on one continuous stream.
struct Reference(Decompress);

impl Reference {
    fn new(window_bits: u8) -> Self {
        Self(Decompress::new_with_window_bits(false, window_bits.max(9)))
    }

    /// The next message; `None` if it is not one, is too long, or ends the stream.
    fn message(&mut self, compressed: &[u8]) -> Option<Vec<u8>> {
        let (out, status) = self.read(&[compressed, &TAIL].concat())?;
        (status != Status::StreamEnd).then_some(out)
    }

    /// The next message, and nothing after it: so that one which breaks off inside a block is known. One to which the
    /// bytes that the wire leaves out would add something breaks off too: no message ends like that.
    fn last_message(&mut self, compressed: &[u8]) -> Option<Vec<u8>> {
        let (out, status) = self.read(compressed)?;
        if status == Status::StreamEnd {
            return None;
        }
        let (more, status) = self.read(&[&TAIL, FINAL_BLOCK].concat())?;
        (more.is_empty() && status == Status::StreamEnd).then_some(out)
    }

    /// What these bytes inflate to, if all of them are part of the stream.
    fn read(&mut self, input: &[u8]) -> Option<(Vec<u8>, Status)> {
        let end = self.0.total_in() + input.len() as u64;
        let mut out = Vec::with_capacity(LIMIT + 1);
        loop {
            let rest = &input[input.len() - (end - self.0.total_in()) as usize..];
            let before = (self.0.total_in(), out.len());
            let status = self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync).ok()?;
            let is_used_up = self.0.total_in() == end;
            if out.len() > LIMIT {
                return None;
            }
            match status {
                Status::StreamEnd => return is_used_up.then_some((out, status)),
                _ if before == (self.0.total_in(), out.len()) => return is_used_up.then_some((out, status)),
                _ => {}
            }
        }
    }
}
