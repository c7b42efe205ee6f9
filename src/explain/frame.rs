//! A frame as it stood on the wire, right or wrong.

use crate::deflate::DeflateParams;
use crate::wire::{MaskingKey, MessageKind, Opcode, apply_mask};

/// How a header says how long its payload is [RFC 6455 §5.2].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthForm {
    /// In the second byte, up to 125.
    SevenBits,
    /// 126 there, and then two bytes.
    SixteenBits,
    /// 127 there, and then eight bytes.
    SixtyFourBits,
}

impl LengthForm {
    /// The bytes that follow the second.
    pub const fn extended_len(self) -> usize {
        match self {
            Self::SevenBits => 0,
            Self::SixteenBits => 2,
            Self::SixtyFourBits => 8,
        }
    }
}

/// A header as it stands, whether or not a rule forbids it: reserved opcodes, lengths in too long a form and all.
///
/// [`FrameHeader`](crate::wire::FrameHeader) is the same for one that keeps the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawHeader {
    bytes: [u8; 14],
    len: usize,
}

impl RawHeader {
    /// The header at the start of `bytes`; `None` while it is incomplete.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let len = Self::len_of(bytes)?;
        let mut header = Self { bytes: [0; 14], len };
        header.bytes[..len].copy_from_slice(bytes.get(..len)?);
        Some(header)
    }

    /// How long the header at the start of `bytes` is, as soon as its first two bytes tell.
    pub(super) fn len_of(bytes: &[u8]) -> Option<usize> {
        let [_, second, ..] = bytes else { return None };
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        Some(2 + form_of(*second).extended_len() + key)
    }

    /// Its bytes, 2 to 14.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether FIN is set.
    pub const fn fin(&self) -> bool {
        self.bytes[0] & 0x80 != 0
    }

    /// Whether the reserved bit of this number, 1 to 3, is set.
    pub const fn rsv(&self, number: u8) -> bool {
        self.bytes[0] & (0x80 >> number) != 0
    }

    /// The opcode's four bits.
    pub const fn opcode_bits(&self) -> u8 {
        self.bytes[0] & 0x0F
    }

    /// The opcode, unless it is a reserved one.
    pub const fn opcode(&self) -> Option<Opcode> {
        Opcode::from_bits(self.opcode_bits())
    }

    /// Whether MASK is set.
    pub const fn masked(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// The seven bits of length in the second byte.
    pub const fn short_len(&self) -> u8 {
        self.bytes[1] & 0x7F
    }

    /// Where the length stands.
    pub const fn length_form(&self) -> LengthForm {
        form_of(self.bytes[1])
    }

    /// The payload's length in bytes, whatever its form; 2⁶³ and more break a rule.
    pub fn payload_len(&self) -> u64 {
        let extended = &self.bytes[2..2 + self.length_form().extended_len()];
        match extended {
            [] => u64::from(self.short_len()),
            _ => extended.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        }
    }

    /// The key that the payload is masked with.
    pub fn masking_key(&self) -> Option<MaskingKey> {
        let key = self.bytes[..self.len].last_chunk::<4>()?;
        self.masked().then_some(MaskingKey(*key))
    }
}

const fn form_of(second: u8) -> LengthForm {
    match second & 0x7F {
        126 => LengthForm::SixteenBits,
        127 => LengthForm::SixtyFourBits,
        _ => LengthForm::SevenBits,
    }
}

/// A frame, whole or as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins, in bytes from the start of what that end sent, the handshake included.
    pub offset: u64,
    /// Its header.
    pub header: RawHeader,
    /// How many bytes of its payload came.
    pub received: u64,
    /// The first of them as they stood on the wire: all of a control frame, otherwise as many as the conversation keeps.
    pub payload: Vec<u8>,
    /// For a data frame: what kind of message it is a part of.
    pub part_of: Option<MessageKind>,
    /// Whether that message is compressed.
    pub compressed: bool,
    /// For a frame of uncompressed text: the bytes that the frame before left over, which begin a character.
    pub utf8_before: Vec<u8>,
    /// For a frame of uncompressed text: the bytes at its end that begin a character, which the next frame has to finish.
    pub utf8_pending: Vec<u8>,
}

impl Frame {
    /// The payload that was kept, unmasked.
    pub fn unmasked(&self) -> Vec<u8> {
        let mut payload = self.payload.clone();
        if let Some(key) = self.header.masking_key() {
            apply_mask(&mut payload, key);
        }
        payload
    }

    /// Whether all of it came.
    pub fn is_complete(&self) -> bool {
        self.received == self.header.payload_len()
    }

    /// Whether all of the payload that came was kept.
    pub fn is_kept(&self) -> bool {
        self.payload.len() as u64 == self.received
    }
}

/// A message, put together and inflated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeMessage {
    /// Text or binary.
    pub kind: MessageKind,
    /// In how many frames it came.
    pub frames: u32,
    /// The length of their payloads together, in bytes.
    pub wire_len: u64,
    /// Whether it was compressed.
    pub compressed: bool,
    /// What was agreed on compression.
    pub deflate: Option<DeflateParams>,
    /// If it was compressed: the first bytes of all its frames' payloads, unmasked, as many as the conversation keeps.
    pub wire: Vec<u8>,
    /// Its length in bytes, inflated.
    pub len: u64,
    /// The first of its bytes, inflated: as many as the conversation keeps.
    pub payload: Vec<u8>,
}
