//! Messages out of frames: reassembled, inflated, checked against the limits and for UTF-8 as they arrive.
//!
//! A message that stands whole in the input never comes into the [`Assembly`]: it is lent to the application where it
//! lies. Only what is in several frames, or in several reads, is collected, and only as much as has arrived.

use std::mem;

use super::decoder::Part;
use super::{Config, Delivery, Scratch};
use crate::deflate::{Decompressor, InflateError};
use crate::wire::{FrameHeader, MessageKind, Opcode, ProtocolError, Utf8Validator};

/// How much of an unfinished message must have come, in compressed bytes, before it is inflated.
///
/// While a message is inflated bit by bit it occupies a codec, about 50 KB: that must not be had for a few bytes on each
/// of many connections.
const WORTH_A_CODEC: usize = 4096;

/// Turns the data frames of one connection into messages or pieces.
#[derive(Debug)]
pub(super) struct Assembler {
    inflater: Option<Box<Decompressor>>,
    /// The message that has begun and not ended.
    message: Option<Box<Assembly>>,
}

#[derive(Debug)]
struct Assembly {
    kind: MessageKind,
    compressed: bool,
    /// What the headers so far say about the message's length on the wire, and in how many frames.
    declared: u64,
    fragments: u32,
    utf8: Utf8Validator,
    /// What has arrived and is not inflated yet.
    held: Vec<u8>,
    /// What has arrived, inflated; nothing if it is delivered in pieces.
    bytes: Vec<u8>,
    /// Whether a piece was delivered.
    delivered: bool,
}

/// Where the bytes of an event stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'i> {
    Input(&'i [u8]),
    Scratch,
}

/// Data for the application. That a whole text is UTF-8 is left to be found when it is made a `str`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data<'i> {
    Message(MessageKind, Place<'i>),
    Piece { kind: MessageKind, place: Place<'i>, first: bool, last: bool },
}

impl Assembler {
    pub(super) fn new(inflater: Option<Box<Decompressor>>) -> Self {
        Self { inflater, message: None }
    }

    /// Lets go of everything: no message will be delivered any more.
    pub(super) fn discard(&mut self) {
        self.message = None;
        self.inflater = None;
    }

    /// Holds a data frame's header against the limits, before anything is kept of its payload.
    #[inline]
    pub(super) fn admit(&mut self, header: &FrameHeader, config: &Config) -> Result<(), ProtocolError> {
        let Some(message) = &mut self.message else {
            return Self::check_declared(header.payload_len, header.rsv1, config);
        };
        message.declared = message.declared.saturating_add(header.payload_len);
        message.fragments = message.fragments.saturating_add(1);
        if message.fragments > config.max_fragments {
            return Err(ProtocolError::TooManyFragments(config.max_fragments));
        }
        Self::check_declared(message.declared, message.compressed, config)
    }

    #[inline]
    fn check_declared(declared: u64, compressed: bool, config: &Config) -> Result<(), ProtocolError> {
        let limit = config.max_message;
        // What a message can have grown by when it was compressed: deflate itself adds less than a thousandth, the
        // rest allows for a flush after every few bytes. The inflated bytes are counted as they appear.
        let allowance = if compressed { limit / 8 + 1024 } else { 0 };
        if declared > limit.saturating_add(allowance) as u64 {
            return Err(ProtocolError::MessageTooBig(limit));
        }
        Ok(())
    }

    /// Takes a frame that is a whole message and has arrived whole.
    #[inline]
    pub(super) fn whole<'i>(
        &mut self,
        header: &FrameHeader,
        payload: &'i [u8],
        scratch: &mut Scratch,
        config: &Config,
    ) -> Result<Data<'i>, ProtocolError> {
        let kind = kind_of(header.opcode);
        let place = if header.rsv1 {
            scratch.clear();
            self.inflate(payload, true, config.max_message, &mut scratch.bytes)?;
            Place::Scratch
        } else {
            Place::Input(payload)
        };
        if config.delivery == Delivery::Whole {
            return Ok(Data::Message(kind, place));
        }
        if kind == MessageKind::Text {
            let mut utf8 = Utf8Validator::new();
            utf8.push(place.bytes(scratch))?;
            utf8.finish()?;
        }
        Ok(Data::Piece { kind, place, first: true, last: true })
    }

    /// Begins a message that has not arrived whole; its first bytes follow by [`add`](Self::add).
    pub(super) fn begin(&mut self, header: &FrameHeader) {
        self.message = Some(Box::new(Assembly {
            kind: kind_of(header.opcode),
            compressed: header.rsv1,
            declared: header.payload_len,
            fragments: 1,
            utf8: Utf8Validator::new(),
            held: Vec::new(),
            bytes: Vec::new(),
            delivered: false,
        }));
    }

    /// Takes more of the message that has begun.
    pub(super) fn add<'i>(
        &mut self,
        part: &Part<'i>,
        scratch: &mut Scratch,
        config: &Config,
    ) -> Result<Option<Data<'i>>, ProtocolError> {
        let Some(mut message) = self.message.take() else { return Ok(None) };
        let last = part.ends && part.fin;
        let data = match config.delivery {
            Delivery::Whole => self.collect(&mut message, part, scratch, config)?,
            Delivery::Pieces => self.pass_on(&mut message, part.payload, last, scratch, config)?,
        };
        if !last {
            self.message = Some(message);
        }
        Ok(data)
    }

    fn collect<'i>(
        &mut self,
        message: &mut Assembly,
        part: &Part<'_>,
        scratch: &mut Scratch,
        config: &Config,
    ) -> Result<Option<Data<'i>>, ProtocolError> {
        let had = message.bytes.len();
        let last = part.ends && part.fin;
        if message.compressed {
            if !last && message.held.len() + part.payload.len() < WORTH_A_CODEC {
                message.held.extend_from_slice(part.payload);
                return Ok(None);
            }
            let held = mem::take(&mut message.held);
            if !held.is_empty() {
                self.inflate(&held, false, config.max_message, &mut message.bytes)?;
            }
            self.inflate(part.payload, last, config.max_message, &mut message.bytes)?;
        } else {
            let most = if part.fin { message.declared } else { config.max_message as u64 };
            if message.bytes.capacity() == 0 {
                message.bytes = scratch.lend(message.declared);
            }
            append(&mut message.bytes, part.payload, most);
        }
        if last {
            scratch.bytes = mem::take(&mut message.bytes);
            return Ok(Some(Data::Message(message.kind, Place::Scratch)));
        }
        if message.kind == MessageKind::Text {
            message.utf8.push(&message.bytes[had..])?;
        }
        Ok(None)
    }

    fn pass_on<'i>(
        &mut self,
        message: &mut Assembly,
        payload: &'i [u8],
        last: bool,
        scratch: &mut Scratch,
        config: &Config,
    ) -> Result<Option<Data<'i>>, ProtocolError> {
        let place = if message.compressed {
            scratch.clear();
            self.inflate(payload, last, config.max_message, &mut scratch.bytes)?;
            Place::Scratch
        } else {
            Place::Input(payload)
        };
        let data = place.bytes(scratch);
        if message.kind == MessageKind::Text {
            message.utf8.push(data)?;
            if last {
                message.utf8.finish()?;
            }
        }
        if data.is_empty() && !last {
            return Ok(None);
        }
        let first = !mem::replace(&mut message.delivered, true);
        Ok(Some(Data::Piece { kind: message.kind, place, first, last }))
    }

    fn inflate(&mut self, payload: &[u8], last: bool, limit: usize, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        // The decoder lets RSV1 pass only if compression was agreed.
        let Some(inflater) = &mut self.inflater else { return Err(ProtocolError::ReservedBit(1)) };
        inflater.decompress(payload, last, limit, out).map_err(|error| match error {
            InflateError::Corrupt => ProtocolError::InflateFailed,
            InflateError::TooBig => ProtocolError::MessageTooBig(limit),
        })
    }
}

impl<'i> Place<'i> {
    #[inline]
    pub(super) fn bytes<'e>(self, scratch: &'e Scratch) -> &'e [u8]
    where
        'i: 'e,
    {
        match self {
            Self::Input(bytes) => bytes,
            Self::Scratch => &scratch.bytes,
        }
    }
}

/// Appends to `bytes`, whose memory grows with what arrives, by doubling, but not past the `most` that can come.
fn append(bytes: &mut Vec<u8>, part: &[u8], most: u64) {
    if bytes.capacity() - bytes.len() < part.len() {
        let left = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(bytes.len());
        bytes.reserve_exact(bytes.len().min(left).max(part.len()));
    }
    bytes.extend_from_slice(part);
}

const fn kind_of(opcode: Opcode) -> MessageKind {
    match opcode {
        Opcode::Text => MessageKind::Text,
        _ => MessageKind::Binary,
    }
}
