//! Frames out of bytes: headers judged against the role and the frames before, payloads unmasked in place.
//!
//! Each byte of a header is held against all of its rules before the next byte is, so that a broken frame is the same
//! error however the network cuts it.

use std::time::Instant;

use super::{Input, Role};
use crate::deflate::DeflateParams;
use crate::wire::{FrameHeader, MaskingKey, MessageKind, Opcode, ProtocolError, apply_mask};

const FIN: u8 = 0x80;
const FINAL_TEXT: u8 = FIN | Opcode::Text.bits();
const FINAL_BINARY: u8 = FIN | Opcode::Binary.bits();
const MASK: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;

/// The frame-level state of what the peer sends.
#[derive(Debug)]
pub(super) struct Decoder {
    /// What has begun and not ended. Between two calls it is there only if something has.
    unfinished: Option<Box<Unfinished>>,
    /// What was agreed about compression; without it, RSV1 has no meaning here.
    deflate: Option<DeflateParams>,
    /// The role of this end: the peer's frames obey the rules of the other.
    role: Role,
    /// Whether a data message is unfinished, so that only a continuation may follow.
    in_message: bool,
}

/// What is kept of the input from one read to the next.
#[derive(Debug, Default)]
struct Unfinished {
    /// Since when, as far as it was [told](Decoder::settle).
    since: Option<Instant>,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The beginning of a header whose end has not arrived.
    header: [u8; FrameHeader::MAX_LEN],
    header_len: u8,
    /// What has come of a control frame's payload, at most 125 bytes [RFC 6455 §5.5].
    control: Option<Vec<u8>>,
}

/// A frame whose payload has not all arrived.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    /// Advanced to the next byte of payload.
    key: Option<MaskingKey>,
    missing: u64,
}

/// The payload of a frame, or as much of it as has arrived, unmasked.
#[derive(Debug)]
pub(super) struct Part<'i> {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) payload: &'i [u8],
    /// Whether the frame ends with it.
    pub(super) ends: bool,
}

impl Decoder {
    pub(super) const fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        Self { unfinished: None, deflate, role, in_message: false }
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) const fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }

    /// Whether the header has been read of a frame whose payload has not: [`resume`](Self::resume) comes next.
    pub(super) fn is_in_frame(&self) -> bool {
        self.unfinished.as_ref().is_some_and(|unfinished| unfinished.frame.is_some())
    }

    /// Ends a look at the input: takes the time if a frame or a message has begun and not ended, or else keeps nothing.
    #[inline]
    pub(super) fn settle(&mut self, now: Instant) {
        let is_in_header = self.unfinished.as_ref().is_some_and(|unfinished| unfinished.header_len > 0);
        if self.in_message || is_in_header || self.is_in_frame() {
            self.unfinished_mut().since.get_or_insert(now);
        } else {
            self.unfinished = None;
        }
    }

    /// Whether no frame and no message has begun.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        self.unfinished.is_none()
    }

    /// Since when a frame or a message is unfinished.
    #[inline]
    pub(super) fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished.as_ref()?.since
    }

    /// What was kept of a control frame's payload.
    pub(super) fn take_control(&mut self) -> Option<Vec<u8>> {
        self.unfinished.as_mut()?.control.take()
    }

    /// Keeps a control frame's payload until the rest of it comes.
    pub(super) fn keep_control(&mut self, payload: Vec<u8>) {
        self.unfinished_mut().control = Some(payload);
    }

    fn unfinished_mut(&mut self) -> &mut Unfinished {
        self.unfinished.get_or_insert_default()
    }

    /// The fast lane: takes a message that stands in one frame of less than 64 KiB, has arrived whole, and breaks no
    /// rule. That is how nearly all messages come.
    ///
    /// What it does not recognise at a glance stays where it is, for [`header`](Self::header) to judge.
    #[inline(always)]
    pub(super) fn whole_message<'i>(&self, input: &mut Input<'i>, limit: usize) -> Option<(MessageKind, &'i [u8])> {
        let (&[first, second], rest) = input.remaining().split_first_chunk::<2>()?;
        let kind = match first {
            FINAL_TEXT => MessageKind::Text,
            FINAL_BINARY => MessageKind::Binary,
            _ => return None,
        };
        let (len, rest) = match second & !MASK {
            len @ 0..=125 => (usize::from(len), rest),
            126 => {
                let (len, rest) = rest.split_first_chunk::<2>()?;
                let len = usize::from(u16::from_be_bytes(*len));
                if len < 126 {
                    return None;
                }
                (len, rest)
            }
            _ => return None,
        };
        let (key, rest) = match (self.role, second & MASK != 0) {
            (Role::Server, true) => {
                let (key, rest) = rest.split_first_chunk::<4>()?;
                (Some(MaskingKey(*key)), rest)
            }
            (Role::Client, false) => (None, rest),
            _ => return None,
        };
        if self.unfinished.is_some() || len > rest.len() || len > limit {
            return None;
        }

        let header_len = input.remaining().len() - rest.len();
        let (_, payload) = input.take(header_len + len).split_at_mut(header_len);
        if let Some(key) = key {
            apply_mask(payload, key);
        }
        Some((kind, payload))
    }

    /// Reads the next frame's header, or `None` while it is incomplete: then all of the input is taken.
    #[inline]
    pub(super) fn header(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, ProtocolError> {
        if self.unfinished.as_ref().is_some_and(|unfinished| unfinished.header_len > 0) {
            return self.rest_of_header(input);
        }
        if let Some((header, len)) = self.judge(input.remaining())? {
            input.take(len);
            return Ok(Some(self.accept(header)));
        }
        let start = input.take(FrameHeader::MAX_LEN);
        let unfinished = self.unfinished_mut();
        unfinished.header[..start.len()].copy_from_slice(start);
        unfinished.header_len = start.len() as u8;
        Ok(None)
    }

    #[cold]
    fn rest_of_header(&mut self, input: &mut Input<'_>) -> Result<Option<FrameHeader>, ProtocolError> {
        let unfinished = self.unfinished_mut();
        let had = usize::from(unfinished.header_len);
        let more = input.remaining().len().min(FrameHeader::MAX_LEN - had);
        unfinished.header[had..had + more].copy_from_slice(&input.remaining()[..more]);
        let bytes = unfinished.header;
        if let Some((header, len)) = self.judge(&bytes[..had + more])? {
            input.take(len - had);
            self.unfinished_mut().header_len = 0;
            return Ok(Some(self.accept(header)));
        }
        input.take(more);
        self.unfinished_mut().header_len = (had + more) as u8;
        Ok(None)
    }

    /// Decodes a header and holds it against the rules.
    #[inline]
    fn judge(&self, bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        FrameHeader::decode(&[*first])?;
        self.judge_first_byte(*first)?;
        if let [second, ..] = rest {
            match (self.role, second & MASK != 0) {
                (Role::Server, false) => return Err(ProtocolError::MaskMissing),
                (Role::Client, true) => return Err(ProtocolError::MaskForbidden),
                (Role::Server, true) | (Role::Client, false) => {}
            }
        }
        FrameHeader::decode(bytes)
    }

    #[inline]
    fn judge_first_byte(&self, first: u8) -> Result<(), ProtocolError> {
        let Some(opcode) = Opcode::from_bits(first) else { return Ok(()) };
        if first & (RSV1 | RSV2 | RSV3) != 0 {
            self.judge_reserved_bits(first, opcode)?;
        }
        match opcode {
            Opcode::Continuation if !self.in_message => Err(ProtocolError::ContinuationUnexpected),
            Opcode::Text | Opcode::Binary if self.in_message => Err(ProtocolError::ContinuationExpected(opcode)),
            _ => Ok(()),
        }
    }

    fn judge_reserved_bits(&self, first: u8, opcode: Opcode) -> Result<(), ProtocolError> {
        for (number, bit) in [(1, RSV1), (2, RSV2), (3, RSV3)] {
            let has_meaning = number == 1 && self.deflate.is_some();
            if first & bit != 0 && !has_meaning {
                return Err(ProtocolError::ReservedBit(number));
            }
        }
        match opcode {
            Opcode::Text | Opcode::Binary => Ok(()),
            _ => Err(ProtocolError::CompressedOutOfPlace(opcode)),
        }
    }

    #[inline]
    fn accept(&mut self, header: FrameHeader) -> FrameHeader {
        if !header.opcode.is_control() {
            self.in_message = !header.fin;
        }
        header
    }

    /// How much is missing of the data frame whose payload is arriving, and whether its message ends with it.
    #[inline]
    pub(super) fn missing(&self) -> Option<(u64, bool)> {
        let frame = self.unfinished.as_ref()?.frame.as_ref()?;
        (!frame.opcode.is_control()).then_some((frame.missing, frame.fin))
    }

    /// Takes more of that payload from where it was read to: whether the message ends with it.
    pub(super) fn placed(&mut self, payload: &mut [u8]) -> bool {
        let mut input = Input::new(payload);
        self.resume(&mut input).is_some_and(|part| part.ends && part.fin)
    }

    /// Takes the payload that follows `header`, or as much of it as there is.
    #[inline]
    pub(super) fn begin<'i>(&mut self, header: &FrameHeader, input: &mut Input<'i>) -> Part<'i> {
        let frame =
            Frame { opcode: header.opcode, fin: header.fin, key: header.masking_key, missing: header.payload_len };
        self.payload(frame, input)
    }

    /// Takes more of the payload of the frame that is arriving; `None` if no frame is.
    pub(super) fn resume<'i>(&mut self, input: &mut Input<'i>) -> Option<Part<'i>> {
        let frame = self.unfinished.as_mut()?.frame.take()?;
        Some(self.payload(frame, input))
    }

    #[inline]
    fn payload<'i>(&mut self, frame: Frame, input: &mut Input<'i>) -> Part<'i> {
        let payload = input.take(usize::try_from(frame.missing).unwrap_or(usize::MAX));
        if let Some(key) = frame.key {
            apply_mask(payload, key);
        }
        let missing = frame.missing - payload.len() as u64;
        if missing > 0 {
            let key = frame.key.map(|key| key.advanced(payload.len() as u64));
            self.unfinished_mut().frame = Some(Frame { key, missing, ..frame });
        }
        Part { opcode: frame.opcode, fin: frame.fin, payload, ends: missing == 0 }
    }
}
