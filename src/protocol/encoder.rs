//! Frames into bytes: what this end says, compressed, cut and masked as its role and configuration ask.

use std::cell::RefCell;

use super::frame_log::{self, Direction};
use super::{Config, Role, SendError};
use crate::deflate::Compressor;
use crate::wire::{Encoding, FrameHeader, MaskingKey, MessageKind, Opcode, PreparedMessage, Utf8Validator, apply_mask};

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Encoder {
    role: Role,
    compressor: Option<Box<Compressor>>,
    /// The message that is being sent in pieces.
    stream: Option<Stream>,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    kind: MessageKind,
    compressed: bool,
    /// Whether its first frame is written.
    begun: bool,
    utf8: Utf8Validator,
}

impl Encoder {
    pub(super) const fn new(role: Role, compressor: Option<Box<Compressor>>) -> Self {
        Self { role, compressor, stream: None }
    }

    /// Lets go of the compressor: no data will be sent any more.
    pub(super) fn discard(&mut self) {
        self.compressor = None;
        self.stream = None;
    }

    /// Appends a whole message if it goes out as it is and nobody logs it. Whether it did.
    #[inline]
    pub(super) fn plain(&self, kind: MessageKind, payload: &[u8], config: &Config, out: &mut Vec<u8>) -> bool {
        let is_plain = self.stream.is_none() && self.compressor.is_none() && self.is_plain(payload.len(), config);
        if is_plain {
            plain_frame(kind.opcode(), payload, out);
        }
        is_plain
    }

    /// Appends a whole message.
    #[inline]
    pub(super) fn message(
        &mut self,
        kind: MessageKind,
        payload: &[u8],
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if self.stream.is_some() {
            return Err(SendError::MessageInProgress);
        }
        let opcode = kind.opcode();
        let is_plain = self.is_plain(payload.len(), config);
        match &mut self.compressor {
            Some(compressor) if payload.len() >= config.deflate.threshold => {
                let start = out.len();
                compressor.compress(payload, true, out);
                self.frame_compressed(opcode, true, start, config, out);
            }
            _ if is_plain => plain_frame(opcode, payload, out),
            _ => self.frames(opcode, false, true, payload, config, out),
        }
        Ok(())
    }

    /// Appends the header of a message whose payload can follow as it is, or else all of it.
    pub(super) fn message_in_place<'m>(
        &mut self,
        kind: MessageKind,
        payload: &'m [u8],
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'m [u8]>, SendError> {
        let is_compressed = self.compressor.is_some() && payload.len() >= config.deflate.threshold;
        if self.stream.is_some() || is_compressed || !self.is_plain(payload.len(), config) {
            return self.message(kind, payload, config, out).map(|()| None);
        }
        FrameHeader::encode_whole(kind.opcode(), payload.len(), out);
        Ok(Some(payload))
    }

    /// Whether a payload that is not compressed goes out as it is, in one frame and with no line in the log: that is how
    /// nearly all of a server's messages go.
    #[inline]
    fn is_plain(&self, len: usize, config: &Config) -> bool {
        self.role == Role::Server && len <= fragment_size(config) && !frame_log::is_on()
    }

    /// Appends the next piece of a message.
    pub(super) fn piece(
        &mut self,
        kind: MessageKind,
        data: &[u8],
        last: bool,
        config: &Config,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let mut stream = self.stream.unwrap_or_else(|| Stream {
            kind,
            // The length of what follows is not known, so only a message that ends here can be below the threshold.
            compressed: self.compressor.is_some() && !(last && data.len() < config.deflate.threshold),
            begun: false,
            utf8: Utf8Validator::new(),
        });
        if stream.kind != kind {
            return Err(SendError::MessageInProgress);
        }
        if kind == MessageKind::Text {
            stream.utf8.push(data).map_err(|_| SendError::NotUtf8)?;
            if last {
                stream.utf8.finish().map_err(|_| SendError::NotUtf8)?;
            }
        }

        if last || !data.is_empty() {
            let opcode = if stream.begun { Opcode::Continuation } else { kind.opcode() };
            stream.begun = true;
            match &mut self.compressor {
                Some(compressor) if stream.compressed => {
                    let start = out.len();
                    compressor.compress(data, last, out);
                    self.frame_compressed(opcode, last, start, config, out);
                }
                _ => self.frames(opcode, false, last, data, config, out),
            }
        }
        self.stream = (!last).then_some(stream);
        Ok(())
    }

    /// Which encoding of a message that many share goes to this connection; `None` at a client, whose frames are masked
    /// and so its own.
    #[inline]
    pub(super) fn share(&mut self, message: &PreparedMessage, config: &Config) -> Result<Option<Encoding>, SendError> {
        if self.stream.is_some() {
            return Err(SendError::MessageInProgress);
        }
        if self.role == Role::Client {
            return Ok(None);
        }
        let encoding = match &mut self.compressor {
            Some(compressor) if message.payload().len() >= config.deflate.threshold => {
                compressor.compress_shared(message).encoding()
            }
            _ => Encoding::PLAIN,
        };
        frame_log::encoded(self.role, message, encoding);
        Ok(Some(encoding))
    }

    /// Appends a control frame, whose payload is at most 125 bytes.
    #[inline]
    pub(super) fn control(&self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(opcode, false, true, payload, out);
    }

    /// Appends `payload` in frames of at most the configured size; `opcode` and `rsv1` are the first one's.
    #[inline]
    fn frames(
        &self,
        mut opcode: Opcode,
        mut rsv1: bool,
        fin: bool,
        mut payload: &[u8],
        config: &Config,
        out: &mut Vec<u8>,
    ) {
        let size = fragment_size(config);
        while payload.len() > size {
            let (fragment, rest) = payload.split_at(size);
            self.frame(opcode, rsv1, false, fragment, out);
            (opcode, rsv1, payload) = (Opcode::Continuation, false, rest);
        }
        self.frame(opcode, rsv1, fin, payload, out);
    }

    #[inline]
    fn frame(&self, opcode: Opcode, rsv1: bool, fin: bool, payload: &[u8], out: &mut Vec<u8>) {
        out.reserve(FrameHeader::MAX_LEN + payload.len());
        let header = self.header(opcode, rsv1, fin, payload.len());
        header.encode(out);
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(key) = header.masking_key {
            apply_mask(&mut out[start..], key);
        }
    }

    /// Makes a frame, or several, of the compressed bytes that stand in `out` from `start` on.
    fn frame_compressed(&self, opcode: Opcode, fin: bool, start: usize, config: &Config, out: &mut Vec<u8>) {
        // Only a message's first frame says that it is compressed [RFC 7692 §6.1].
        let rsv1 = opcode != Opcode::Continuation;
        let len = out.len() - start;
        if len > fragment_size(config) {
            let compressed = out.split_off(start);
            self.frames(opcode, rsv1, fin, &compressed, config, out);
            return;
        }
        // How long the header is shows only now. It is written behind its payload, and the two change places.
        let header = self.header(opcode, rsv1, fin, len);
        header.encode(out);
        let header_len = out.len() - start - len;
        let frame = &mut out[start..];
        frame.rotate_right(header_len);
        if let Some(key) = header.masking_key {
            apply_mask(&mut frame[header_len..], key);
        }
    }

    #[inline]
    fn header(&self, opcode: Opcode, rsv1: bool, fin: bool, payload_len: usize) -> FrameHeader {
        let masking_key = match self.role {
            Role::Client => Some(fresh_key()),
            Role::Server => None,
        };
        let header = FrameHeader { fin, rsv1, masking_key, ..FrameHeader::new(opcode, payload_len as u64) };
        frame_log::frame(self.role, Direction::Sent, &header);
        header
    }
}

/// Appends one whole message in one unmasked frame.
#[inline(always)]
fn plain_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(FrameHeader::MAX_LEN + payload.len());
    FrameHeader::encode_whole(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

fn fragment_size(config: &Config) -> usize {
    config.fragment_size.map_or(usize::MAX, |size| size.max(1))
}

/// Randomness for masking keys, fetched from the operating system a page at a time and used once.
struct KeyPool {
    bytes: [u8; 4096],
    used: usize,
}

thread_local! {
    static KEYS: RefCell<KeyPool> = const { RefCell::new(KeyPool { bytes: [0; 4096], used: 4096 }) };
}

/// A key that no one who chooses payloads can foresee [RFC 6455 §5.3, §10.3].
///
/// # Panics
/// If the operating system has no randomness to give: then nothing may be sent.
fn fresh_key() -> MaskingKey {
    KEYS.with_borrow_mut(|pool| {
        if pool.used == pool.bytes.len() {
            getrandom::fill(&mut pool.bytes).expect("the operating system gives randomness");
            pool.used = 0;
        }
        let mut key = [0; 4];
        key.copy_from_slice(&pool.bytes[pool.used..pool.used + 4]);
        pool.used += 4;
        MaskingKey(key)
    })
}
