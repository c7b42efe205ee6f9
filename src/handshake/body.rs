//! A request's body: collected as it arrives, up to what is wanted of it [RFC 9112 §6, §7.1].

use super::fields::is_token_byte;
use super::{Body, HeadFault, Rejection};

/// Collects the body behind a request's head.
///
/// What it holds grows with what has arrived, never with what was announced. A body by chunks is read as strictly as a
/// head: no white space, no line that ends in anything but CR LF, no size that does not fit. What chunks may carry besides
/// their bytes is read past: extensions, and fields behind the last one.
///
/// ```
/// use loopwire::handshake::{Body, BodyReader};
///
/// # fn main() -> Result<(), loopwire::handshake::Rejection> {
/// let mut reader = BodyReader::new(Body::Chunked, 100)?;
/// assert_eq!(reader.push(b"5\r\nHel")?, None);
/// assert_eq!(reader.push(b"lo\r\n0\r\n\r\nGET")?, Some(9));
/// assert_eq!(reader.bytes(), b"Hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    bytes: Vec<u8>,
    limit: usize,
    /// The size of the chunk whose line is being read.
    size: u64,
    /// Bytes seen of what chunks carry besides: first extensions, then fields.
    extensions: usize,
    trailers: usize,
}

/// Where in a body the next byte stands.
///
/// ```text
/// chunk:  Size ─▶ Extension ─▶ SizeEnd ─▶ Data ─▶ DataEnd(CR) ─▶ DataEnd(LF) ─▶ Size
/// last:   Size ─▶ Extension ─▶ SizeEnd ─▶ Line ─▶ Name ─▶ Value ─▶ LineEnd ─▶ Line ─▶ End ─▶ Done
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a body of known length, or in a chunk: so many bytes are to come, at least one.
    Data {
        left: u64,
        chunked: bool,
    },
    /// In a chunk's size, of which so many digits have come.
    Size(u8),
    Extension,
    /// Behind the CR of a size's line.
    SizeEnd,
    /// Behind a chunk's bytes: before this one of CR and LF.
    DataEnd(u8),
    /// At the beginning of a line behind the last chunk.
    Line,
    /// In the name of a field there.
    Name,
    /// In its value.
    Value,
    /// Behind the CR of its line.
    LineEnd,
    /// Behind the CR of the last, empty line.
    End,
    Done,
}

impl BodyReader {
    /// Bytes of chunk extensions that are read past, in all of a body.
    pub const MAX_EXTENSIONS: usize = 4096;
    /// Bytes of fields behind the last chunk that are read past, ends of lines included.
    pub const MAX_TRAILERS: usize = 8192;

    /// As many digits as 64 bits have.
    const MAX_DIGITS: u8 = 16;

    /// A reader of the body that a head announces, of at most `limit` bytes.
    ///
    /// # Errors
    /// The head announces more.
    pub fn new(body: Body, limit: usize) -> Result<Self, Rejection> {
        let state = match body {
            Body::None => State::Done,
            Body::Length(left) if usize::try_from(left).is_ok_and(|len| len <= limit) => {
                State::Data { left, chunked: false }
            }
            Body::Length(_) => return Err(Rejection::BodyTooLong(limit)),
            Body::Chunked => State::Size(0),
        };
        Ok(Self { state, bytes: Vec::new(), limit, size: 0, extensions: 0, trailers: 0 })
    }

    /// Takes the next piece. `Some(n)`: the body is complete, and `n` bytes of this piece belonged to it.
    ///
    /// # Errors
    /// At the first byte that cannot stand where it does, or with which a limit is exceeded: a chunk's at its size. There
    /// is nothing to be read after that.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<usize>, Rejection> {
        let mut at = 0;
        while self.state != State::Done {
            let rest = &piece[at..];
            let Some(&byte) = rest.first() else { return Ok(None) };
            if let State::Data { left, chunked } = self.state {
                let len = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                self.bytes.extend_from_slice(&rest[..len]);
                at += len;
                self.state = match left - len as u64 {
                    0 if chunked => State::DataEnd(b'\r'),
                    0 => State::Done,
                    left => State::Data { left, chunked },
                };
            } else {
                self.state = self.step(byte)?;
                at += 1;
            }
        }
        Ok(Some(at))
    }

    /// The body as far as it has arrived.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the next byte of what is not data leads.
    fn step(&mut self, byte: u8) -> Result<State, Rejection> {
        match (self.state, byte) {
            (State::Size(digits), _) if byte.is_ascii_hexdigit() => {
                if digits == Self::MAX_DIGITS {
                    return Err(Rejection::ChunkInvalid);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.size = self.size << 4 | u64::from(digit);
                Ok(State::Size(digits + 1))
            }
            (State::Size(1..) | State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Size(1..), b';') | (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.extension(),
            (State::SizeEnd, b'\n') => self.chunk(),
            (State::DataEnd(b'\r'), b'\r') => Ok(State::DataEnd(b'\n')),
            (State::DataEnd(b'\n'), b'\n') => Ok(State::Size(0)),
            (State::End, b'\n') => Ok(State::Done),
            (State::Line, b'\r') => Ok(State::End),
            (State::Line | State::Name | State::Value | State::LineEnd, _) => self.trailer(byte),
            _ => Err(Rejection::ChunkInvalid),
        }
    }

    fn extension(&mut self) -> Result<State, Rejection> {
        self.extensions += 1;
        if self.extensions > Self::MAX_EXTENSIONS {
            return Err(Rejection::ChunkExtensionsTooLong(Self::MAX_EXTENSIONS));
        }
        Ok(State::Extension)
    }

    /// What follows the line that gave the size.
    fn chunk(&mut self) -> Result<State, Rejection> {
        let left = std::mem::take(&mut self.size);
        let room = self.limit - self.bytes.len();
        match usize::try_from(left) {
            Ok(0) => Ok(State::Line),
            Ok(len) if len <= room => Ok(State::Data { left, chunked: true }),
            _ => Err(Rejection::BodyTooLong(self.limit)),
        }
    }

    /// A byte of a field behind the last chunk: it has to look like one [RFC 9112 §7.1.2].
    fn trailer(&mut self, byte: u8) -> Result<State, Rejection> {
        self.trailers += 1;
        if self.trailers > Self::MAX_TRAILERS {
            return Err(Rejection::TrailersTooLong(Self::MAX_TRAILERS));
        }
        let fault = match (self.state, byte) {
            (State::Line | State::Name, _) if is_token_byte(byte) => return Ok(State::Name),
            (State::Name, b':') | (State::Value, b'\t' | b' '..=b'~' | 0x80..) => return Ok(State::Value),
            (State::Value, b'\r') => return Ok(State::LineEnd),
            (State::LineEnd, b'\n') => return Ok(State::Line),
            (State::LineEnd, _) => HeadFault::BareCarriageReturn,
            (_, b'\n') => HeadFault::BareLineFeed,
            (State::Line, b' ' | b'\t') => HeadFault::Fold,
            (State::Name, b' ' | b'\t') => HeadFault::SpaceBeforeColon,
            (State::Name, b'\r') => HeadFault::NoColon,
            (State::Value, _) => HeadFault::ControlByte(byte),
            _ => HeadFault::FieldName,
        };
        Err(fault.into())
    }
}
