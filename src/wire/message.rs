//! Messages as applications see them, and a message encoded once for many receivers.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{FrameHeader, Opcode};

/// Whether a message is text or binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of the first frame of such a message.
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// A whole message, its payload borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Whether it is text or binary.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The payload's bytes.
    pub const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is a text message.
    pub const fn as_text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

/// The smallest and largest windows that this side deflates with, in bits [RFC 7692 §7.1.2].
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// A message encoded once and shared by every connection that it is sent to.
///
/// A server's frames are unmasked, so one encoding serves all receivers; a compressed form is made for the first
/// receiver that agreed on compression and then shared too. A clone is a reference.
#[derive(Clone)]
pub struct PreparedMessage(Arc<Prepared>);

struct Prepared {
    kind: MessageKind,
    /// The unmasked frame: header, then payload.
    frame: Box<[u8]>,
    header_len: usize,
    /// Per window size, the whole frame with a compressed payload, once somebody asked for it.
    compressed: [OnceLock<Box<[u8]>>; 7],
}

impl PreparedMessage {
    /// Encodes `message`.
    pub fn new<'a>(message: impl Into<Message<'a>>) -> Self {
        let message = message.into();
        let payload = message.payload();
        let mut frame = Vec::with_capacity(FrameHeader::MAX_LEN + payload.len());
        FrameHeader::new(message.kind().opcode(), payload.len() as u64).encode(&mut frame);
        let header_len = frame.len();
        frame.extend_from_slice(payload);
        Self(Arc::new(Prepared {
            kind: message.kind(),
            frame: frame.into_boxed_slice(),
            header_len,
            compressed: Default::default(),
        }))
    }

    /// Whether it is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.0.kind
    }

    /// The payload's bytes, uncompressed and unmasked.
    pub fn payload(&self) -> &[u8] {
        &self.0.frame[self.0.header_len..]
    }

    /// The frame, unmasked and uncompressed.
    pub fn frame(&self) -> SharedFrame {
        self.share(Encoding::PLAIN)
    }

    /// One of its encodings, to be kept.
    pub(crate) fn share(&self, encoding: Encoding) -> SharedFrame {
        SharedFrame { prepared: self.clone(), encoding }
    }

    /// The bytes of one of its encodings.
    pub(crate) fn encoded(&self, Encoding(window_bits): Encoding) -> &[u8] {
        match window_bits {
            None => &self.0.frame,
            Some(bits) => self.0.compressed[Self::slot(bits)].get().map_or(&[], |frame| &frame[..]),
        }
    }

    /// The unmasked frame with its payload compressed for a window of `window_bits` (9–15) and for a receiver whose
    /// window holds nothing: `compress` makes it once, whoever asks first.
    ///
    /// # Panics
    /// If `window_bits` is out of range.
    pub fn compressed_frame(&self, window_bits: u8, compress: impl FnOnce(&[u8]) -> Vec<u8>) -> SharedFrame {
        self.0.compressed[Self::slot(window_bits)].get_or_init(|| {
            let payload = compress(self.payload());
            let mut frame = Vec::with_capacity(FrameHeader::MAX_LEN + payload.len());
            FrameHeader { rsv1: true, ..FrameHeader::new(self.kind().opcode(), payload.len() as u64) }
                .encode(&mut frame);
            frame.extend_from_slice(&payload);
            frame.into_boxed_slice()
        });
        self.share(Encoding(Some(window_bits)))
    }

    fn slot(window_bits: u8) -> usize {
        assert!(WINDOW_BITS.contains(&window_bits), "window bits {window_bits} outside 9..=15");
        usize::from(window_bits - WINDOW_BITS.start())
    }
}

impl fmt::Debug for PreparedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedMessage").field("kind", &self.kind()).field("len", &self.payload().len()).finish()
    }
}

/// Names one encoding of a [`PreparedMessage`]: plain, or compressed for a window of that many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding(Option<u8>);

impl Encoding {
    pub(crate) const PLAIN: Self = Self(None);
}

/// One encoding of a [`PreparedMessage`]: the bytes of a whole frame, held by reference.
#[derive(Clone, Debug)]
pub struct SharedFrame {
    prepared: PreparedMessage,
    encoding: Encoding,
}

impl SharedFrame {
    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether it is this encoding of this very message.
    pub(crate) fn is(&self, message: &PreparedMessage, encoding: Encoding) -> bool {
        Arc::ptr_eq(&self.prepared.0, &message.0) && self.encoding == encoding
    }
}

impl AsRef<[u8]> for SharedFrame {
    fn as_ref(&self) -> &[u8] {
        self.prepared.encoded(self.encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_message_is_encoded_and_compressed_once() {
        let prepared = PreparedMessage::new("Hello");
        assert_eq!(prepared.frame().as_ref(), b"\x81\x05Hello");
        assert_eq!(prepared.payload(), b"Hello");

        let first = prepared.compressed_frame(15, |payload| payload[..2].to_vec());
        let second = prepared.clone().compressed_frame(15, |_| unreachable!("compressed twice"));
        assert_eq!(first.as_ref(), b"\xc1\x02He");
        assert!(std::ptr::eq(first.as_ref(), second.as_ref()));
    }
}
