//! Messages out of frames: reassembled, inflated, checked against the limits and for UTF-8 as they arrive.
//!
//! A message that stands whole in the input never comes into the [`Assembly`]: it is lent to the application where it
//! lies. Only what is in several frames, or in several reads, is collected, and only as much as has arrived.

use std::mem;

use super::decoder::Part;
use super::memory::Memory;
use super::{Config, Delivery, Scratch};
use crate::deflate::{Decompressor, InflateError};
use crate::wire::{FrameHeader, MessageKind, Opcode, ProtocolError, Utf8Validator};

/// How much of an unfinished message must have come, in compressed bytes, before it is inflated.
///
/// While a message is inflated bit by bit it occupies a codec, about 50 KB: that must not be had for a few bytes on each
/// of many connections.
const WORTH_A_CODEC: usize = 4096;

/// From how many bytes on it is worth reading them to where they belong, by a call of their own.
const WORTH_PLACING: usize = 16 << 10;

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
    /// What has arrived, inflated; nothing if it is delivered in pieces. Behind it may be what the memory held before.
    bytes: Memory,
    /// How many of these have arrived.
    filled: usize,
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
            self.inflate(payload, true, config.max_message, scratch.bytes.as_vec())?;
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
            bytes: Memory::new(),
            filled: 0,
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
        let had = message.filled;
        let last = part.ends && part.fin;
        if message.compressed {
            if !last && message.held.len() + part.payload.len() < WORTH_A_CODEC {
                message.held.extend_from_slice(part.payload);
                return Ok(None);
            }
            let held = mem::take(&mut message.held);
            if !held.is_empty() {
                self.inflate(&held, false, config.max_message, message.bytes.as_vec())?;
            }
            self.inflate(part.payload, last, config.max_message, message.bytes.as_vec())?;
            message.filled = message.bytes.len();
        } else {
            if message.bytes.capacity() == 0 {
                message.bytes = scratch.lend(message.declared);
            }
            message.append(part.payload, part.fin, config);
        }
        message.grown(had, last, scratch)
    }

    /// Where up to `len` more bytes of the message under way may be put by whoever reads them, if they are many, and to be
    /// delivered as they come. Room is made for no more than have arrived so far, whatever was declared.
    pub(super) fn room(&mut self, len: usize, fin: bool, config: &Config) -> Option<&mut [u8]> {
        let message = self.message.as_deref_mut()?;
        let len = len.min(message.filled);
        if message.compressed || config.delivery != Delivery::Whole || len < WORTH_PLACING {
            return None;
        }
        let end = message.reserve(len, fin, config);
        if message.bytes.len() < end {
            message.bytes.resize(end);
        }
        Some(&mut message.bytes[message.filled..end])
    }

    /// The first `len` bytes of that room.
    pub(super) fn placed(&mut self, len: usize) -> &mut [u8] {
        let message = self.message.as_deref_mut();
        message.map_or(&mut [], |message| &mut message.bytes[message.filled..][..len])
    }

    /// Takes them for more of the message, which may end with them.
    pub(super) fn take_placed(
        &mut self,
        len: usize,
        last: bool,
        scratch: &mut Scratch,
    ) -> Result<Option<Data<'static>>, ProtocolError> {
        let Some(message) = self.message.as_deref_mut() else { return Ok(None) };
        let had = message.filled;
        message.filled += len;
        let data = message.grown(had, last, scratch);
        if last {
            self.message = None;
        }
        data
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
            self.inflate(payload, last, config.max_message, scratch.bytes.as_vec())?;
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

impl Assembly {
    /// Appends what has arrived.
    fn append(&mut self, part: &[u8], fin: bool, config: &Config) {
        self.reserve(part.len(), fin, config);
        let (over_old, behind) = part.split_at(part.len().min(self.bytes.len() - self.filled));
        self.bytes[self.filled..][..over_old.len()].copy_from_slice(over_old);
        self.bytes.extend_from_slice(behind);
        self.filled += part.len();
    }

    /// Makes room for `len` more bytes, and says where they will end. Memory grows with what arrives, by doubling, but not
    /// past what can come.
    fn reserve(&mut self, len: usize, fin: bool, config: &Config) -> usize {
        let end = self.filled + len;
        if self.bytes.capacity() < end {
            let most = if fin { self.declared } else { config.max_message as u64 };
            let left = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(self.filled);
            let wanted = self.filled + self.filled.min(left).max(len);
            self.bytes.reserve(wanted);
        }
        end
    }

    /// Checks what has arrived behind the first `had` bytes, and delivers the message if it is the `last`.
    fn grown(&mut self, had: usize, last: bool, scratch: &mut Scratch) -> Result<Option<Data<'static>>, ProtocolError> {
        if last {
            self.bytes.truncate(self.filled);
            scratch.bytes = mem::take(&mut self.bytes);
            return Ok(Some(Data::Message(self.kind, Place::Scratch)));
        }
        if self.kind == MessageKind::Text {
            self.utf8.push(&self.bytes[had..self.filled])?;
        }
        Ok(None)
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

const fn kind_of(opcode: Opcode) -> MessageKind {
    match opcode {
        Opcode::Text => MessageKind::Text,
        _ => MessageKind::Binary,
    }
}
