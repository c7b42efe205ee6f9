//! Frames from plain text: right ones, and wrong ones as exactly as they are wanted.
//!
//! ```text
//! frames  = frame { (";" | end of line) frame }            "#" begins a comment
//! frame   = kind { word | payload }
//! kind    = text | binary | cont | close | ping | pong | opcode=N
//! word    = fin | rsv1 | rsv2 | rsv3 | mask | mask=HEX | unmasked | len=7 | len=16 | len=64 | declared=N
//! payload = "text" | hex:HEX | file:PATH | N | repeat(N, payload …) | deflate(payload …)
//! ```
//!
//! Nothing is added that is not there: a frame without `fin` is a fragment, even a ping, and a compressed message has
//! `rsv1` only if it says so.

use std::fmt;

use super::frame::{LengthForm, RawHeader};
use crate::deflate::{Compressor, DeflateConfig};
use crate::wire::{MaskingKey, Opcode, apply_mask};

/// The longest payload, in bytes.
const MAX_PAYLOAD: usize = 256 << 20;

/// How deep `repeat` and `deflate` may stand in each other.
const MAX_DEPTH: usize = 16;

/// A frame, as its text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposedFrame {
    /// Its header.
    pub header: RawHeader,
    /// All of its bytes: the header's, then the payload's as they stand on the wire.
    pub bytes: Vec<u8>,
}

/// Makes frames from text.
///
/// | word | meaning |
/// |---|---|
/// | `text` `binary` `cont` `close` `ping` `pong` `opcode=N` | what the frame carries; N is 0 to 15 |
/// | `fin` `rsv1` `rsv2` `rsv3` | this bit is set |
/// | `mask` `mask=01020304` `unmasked` | with a fresh key, with this one, or not masked |
/// | `len=7` `len=16` `len=64` | the length stands in so many bits; otherwise in as few as hold it |
/// | `declared=N` | the header says N, however long the payload is |
/// | `"Hel\n\x00\u{fc}"` | text, with Rust's escapes |
/// | `hex:48656c` | these bytes |
/// | `file:PATH` `file:"a path"` | a file's bytes |
/// | `1000` | in a Close: its code |
/// | `repeat(3, "ab")` | the same again and again |
/// | `deflate("Hello")` | a message's compressed payload, with what earlier ones left in the window |
///
/// Payloads may follow each other, and words may stand behind them. Numbers may be hexadecimal, as in `0xff`.
///
/// ```
/// use loopwire::explain::Composer;
/// use loopwire::wire::MaskingKey;
///
/// let mut composer = Composer::new(|| MaskingKey([1, 2, 3, 4]));
/// // A fragmented text message that is not masked [RFC 6455 §5.7].
/// let frames = composer.compose(r#"text "Hel"; cont fin "lo""#)?;
/// assert_eq!(frames[0].bytes, b"\x01\x03Hel");
/// assert_eq!(frames[1].bytes, b"\x80\x02lo");
/// # Ok::<(), loopwire::explain::ComposeError>(())
/// ```
pub struct Composer<'c> {
    masked: bool,
    keys: Box<dyn FnMut() -> MaskingKey + 'c>,
    files: Files<'c>,
    compressor: Compressor,
}

/// Gives a file's bytes by its path, or says why not.
type Files<'c> = Box<dyn FnMut(&str) -> Result<Vec<u8>, String> + 'c>;

/// Why a text says no frame: where, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeError {
    /// The line, from 1.
    pub line: usize,
    /// The character in it, from 1.
    pub column: usize,
    /// What is wrong, and what is to be written.
    pub what: String,
}

impl<'c> Composer<'c> {
    /// Makes frames that are not masked unless they say so, with these keys if they do not say which.
    pub fn new(keys: impl FnMut() -> MaskingKey + 'c) -> Self {
        Self {
            masked: false,
            keys: Box::new(keys),
            files: Box::new(|_| Err("files cannot be read here".to_owned())),
            compressor: compressor(15, true),
        }
    }

    /// Whether a frame is masked that does not say.
    #[must_use]
    pub fn masked(mut self, masked: bool) -> Self {
        self.masked = masked;
        self
    }

    /// Where `file:` gets a file's bytes, or why it does not.
    #[must_use]
    pub fn files(mut self, files: impl FnMut(&str) -> Result<Vec<u8>, String> + 'c) -> Self {
        self.files = Box::new(files);
        self
    }

    /// What `deflate` was agreed to be: the sender's window of 8 to 15 bits, and whether messages may refer to earlier
    /// ones. 15, and they may.
    #[must_use]
    pub fn deflate(mut self, window_bits: u8, takeover: bool) -> Self {
        self.compressor = compressor(window_bits, takeover);
        self
    }

    /// The frames that `text` says, in its order; none if it is blank.
    ///
    /// # Errors
    /// The first place where something else was expected.
    pub fn compose(&mut self, text: &str) -> Result<Vec<ComposedFrame>, ComposeError> {
        let mut reader = Reader { text, at: 0, composer: self };
        let mut frames = Vec::new();
        loop {
            reader.skip_blank();
            match reader.peek() {
                None => return Ok(frames),
                Some(';' | '\n') => reader.at += 1,
                Some(_) => frames.push(reader.frame()?),
            }
        }
    }
}

impl fmt::Debug for Composer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composer").field("masked", &self.masked).finish_non_exhaustive()
    }
}

impl fmt::Display for ComposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for ComposeError {}

fn compressor(window_bits: u8, takeover: bool) -> Compressor {
    Compressor::new(window_bits, takeover, &DeflateConfig::default())
}

/// What a frame's words have said so far.
#[derive(Debug, Default)]
struct Draft {
    /// The first byte: FIN, the reserved bits, the opcode.
    first: u8,
    mask: Masking,
    form: Option<LengthForm>,
    /// The length to declare, and where that stands.
    declared: Option<(u64, usize)>,
    payload: Vec<u8>,
}

/// What is said about masking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Masking {
    #[default]
    Unsaid,
    Not,
    With(MaskingKey),
}

struct Reader<'r, 'c> {
    text: &'r str,
    /// How far it is read, in bytes.
    at: usize,
    composer: &'r mut Composer<'c>,
}

impl<'r> Reader<'r, '_> {
    fn frame(&mut self) -> Result<ComposedFrame, ComposeError> {
        let start = self.at;
        let kind = self.word();
        let mut draft = Draft { first: self.opcode(kind, start)?, ..Draft::default() };
        loop {
            self.skip_blank();
            match self.peek() {
                None | Some(';' | '\n') => break,
                Some(_) => self.part(&mut draft)?,
            }
        }
        self.finish(draft, start)
    }

    fn opcode(&self, kind: &str, start: usize) -> Result<u8, ComposeError> {
        let opcode = match kind {
            "text" => Opcode::Text,
            "binary" => Opcode::Binary,
            "cont" | "continuation" => Opcode::Continuation,
            "close" => Opcode::Close,
            "ping" => Opcode::Ping,
            "pong" => Opcode::Pong,
            _ => {
                if let Some(bits) = kind.strip_prefix("opcode=") {
                    let bits = number(bits).filter(|bits| *bits <= 15);
                    return bits.map(|bits| bits as u8).ok_or_else(|| self.error(start, "an opcode is 0 to 15"));
                }
                let kinds = "text, binary, cont, close, ping, pong or opcode=N";
                let found = self.found(start);
                return Err(self.error(start, &format!("a frame begins with {kinds}, not with {found}")));
            }
        };
        Ok(opcode as u8)
    }

    /// Reads a word about the frame, or a part of its payload.
    fn part(&mut self, draft: &mut Draft) -> Result<(), ComposeError> {
        let start = self.at;
        let word = self.word();
        // A payload is read again from its beginning.
        let after = std::mem::replace(&mut self.at, start);
        let twice =
            |is_set: bool| if is_set { Err(self.error(start, &format!("{word} is said twice"))) } else { Ok(()) };
        let bit = match word {
            "fin" => 0x80,
            "rsv1" => 0x40,
            "rsv2" => 0x20,
            "rsv3" => 0x10,
            _ => 0,
        };
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            _ if bit != 0 => {
                twice(draft.first & bit != 0)?;
                draft.first |= bit;
            }
            "mask" | "unmasked" => {
                if draft.mask != Masking::Unsaid {
                    return Err(self.error(start, "mask or unmasked has been said already"));
                }
                draft.mask = match word {
                    "unmasked" => Masking::Not,
                    "mask" => Masking::With((self.composer.keys)()),
                    _ => Masking::With(self.key(value, start + "mask=".len())?),
                };
            }
            "len" => {
                twice(draft.form.is_some())?;
                draft.form = Some(match value {
                    "7" => LengthForm::SevenBits,
                    "16" => LengthForm::SixteenBits,
                    "64" => LengthForm::SixtyFourBits,
                    _ => {
                        let what =
                            "len= is 7, 16 or 64, the bits that the length stands in; declared=N makes it another";
                        return Err(self.error(start, what));
                    }
                });
            }
            "declared" => {
                twice(draft.declared.is_some())?;
                let len = number(value);
                let len =
                    len.ok_or_else(|| self.error(start, "declared= takes a number below 2^64, such as 5 or 0x7f"))?;
                draft.declared = Some((len, start));
            }
            _ if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) => {
                if draft.first & 0x0F != Opcode::Close as u8 {
                    let what =
                        "a number alone is the code of a close frame; bytes are written hex:03e8, digits \"1000\"";
                    return Err(self.error(start, what));
                }
                let code: u16 = word.parse().map_err(|_| self.error(start, "a close code is 0 to 65535"))?;
                draft.payload.extend_from_slice(&code.to_be_bytes());
            }
            _ => return self.payload(&mut draft.payload, 0),
        }
        self.at = after;
        Ok(())
    }

    /// Reads a part of a payload.
    fn payload(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), ComposeError> {
        let start = self.at;
        if self.peek() == Some('"') {
            let text = self.string()?;
            return self.append(out, &text, start);
        }
        let word = self.word();
        if let Some(digits) = word.strip_prefix("hex:") {
            let bytes = self.hex(digits, start + "hex:".len())?;
            return self.append(out, &bytes, start);
        }
        if let Some(path) = word.strip_prefix("file:") {
            let quoted = if path.is_empty() && self.peek() == Some('"') { Some(self.string()?) } else { None };
            let path = match &quoted {
                Some(path) => str::from_utf8(path).map_err(|_| self.error(start, "this path is not UTF-8"))?,
                None => path,
            };
            let bytes = (self.composer.files)(path).map_err(|why| self.error(start, &why))?;
            return self.append(out, &bytes, start);
        }
        match (word, self.peek()) {
            ("repeat" | "deflate", Some('(')) if depth == MAX_DEPTH => {
                Err(self.error(start, "this is nested too deeply"))
            }
            ("repeat", Some('(')) => {
                self.at += 1;
                self.skip_blank();
                let count = self.at;
                let times = number(self.word()).and_then(|times| usize::try_from(times).ok());
                let times =
                    times.ok_or_else(|| self.error(count, "repeat begins with how often: repeat(3, \"ab\")"))?;
                self.expect(',', "a comma, then what to repeat")?;
                let part = self.arguments(depth)?;
                let len = part.len().saturating_mul(times);
                if len > MAX_PAYLOAD {
                    return Err(self.error(start, TOO_LONG));
                }
                self.append(out, &part.repeat(if part.is_empty() { 0 } else { times }), start)
            }
            ("deflate", Some('(')) => {
                self.at += 1;
                let message = self.arguments(depth)?;
                let mut compressed = Vec::new();
                self.composer.compressor.compress(&message, true, &mut compressed);
                self.append(out, &compressed, start)
            }
            _ => {
                let found = self.found(start);
                let what =
                    format!("{found} is neither a word about a frame nor a payload, such as \"text\" or hex:0102");
                Err(self.error(start, &what))
            }
        }
    }

    /// Reads parts of a payload up to the closing parenthesis.
    fn arguments(&mut self, depth: usize) -> Result<Vec<u8>, ComposeError> {
        let mut out = Vec::new();
        loop {
            self.skip_blank();
            match self.peek() {
                Some(')') => {
                    self.at += 1;
                    return Ok(out);
                }
                None | Some(';' | '\n') => return Err(self.error(self.at, "a closing parenthesis is missing here")),
                Some(_) => self.payload(&mut out, depth + 1)?,
            }
        }
    }

    /// Reads a text in quotes, with Rust's escapes.
    fn string(&mut self) -> Result<Vec<u8>, ComposeError> {
        let start = self.at;
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let at = self.at;
            match self.next() {
                None | Some('\n') => {
                    return Err(self.error(start, "the quote that begins here is not ended by another"));
                }
                Some('"') => return Ok(out),
                Some('\\') => self.escape(at, &mut out)?,
                Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), ComposeError> {
        let plain = match self.next() {
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('"') => b'"',
            Some('\\') => b'\\',
            Some('x') => {
                let digits = self.text.get(self.at..self.at + 2).unwrap_or_default();
                let byte = hex_number(digits).ok_or_else(|| self.error(start, "\\x takes two hexadecimal digits"))?;
                self.at += 2;
                byte as u8
            }
            Some('u') => {
                let rest = &self.text[self.at..];
                let digits = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(digits, _)| digits);
                let c = digits.and_then(hex_number).and_then(char::from_u32);
                let c =
                    c.ok_or_else(|| self.error(start, "\\u takes a character's number in braces, such as \\u{fc}"))?;
                self.at += digits.map_or(0, |digits| digits.len() + 2);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => {
                return Err(
                    self.error(start, "behind a backslash stands n, r, t, 0, a quote, a backslash, xNN or u{N}")
                );
            }
        };
        out.push(plain);
        Ok(())
    }

    fn key(&self, digits: &str, start: usize) -> Result<MaskingKey, ComposeError> {
        let bytes = self.hex(digits, start)?;
        let key = bytes.try_into().map(MaskingKey);
        key.map_err(|_| self.error(start, "a masking key is eight hexadecimal digits, as in mask=01020304"))
    }

    fn hex(&self, digits: &str, start: usize) -> Result<Vec<u8>, ComposeError> {
        if let Some(at) = digits.find(|c: char| !c.is_ascii_hexdigit()) {
            let found = self.found(start + at);
            return Err(self.error(start + at, &format!("a hexadecimal digit was expected, not {found}")));
        }
        if !digits.len().is_multiple_of(2) {
            return Err(self.error(start + digits.len(), "a byte is two hexadecimal digits, and one is missing here"));
        }
        let pairs = digits.as_bytes().chunks_exact(2).map(|pair| hex_value(pair[0]) << 4 | hex_value(pair[1]));
        Ok(pairs.collect())
    }

    fn append(&self, out: &mut Vec<u8>, part: &[u8], start: usize) -> Result<(), ComposeError> {
        if out.len().saturating_add(part.len()) > MAX_PAYLOAD {
            return Err(self.error(start, TOO_LONG));
        }
        out.extend_from_slice(part);
        Ok(())
    }

    fn finish(&mut self, draft: Draft, start: usize) -> Result<ComposedFrame, ComposeError> {
        let Draft { first, mask, form, declared, mut payload } = draft;
        let (len, at) = declared.unwrap_or((payload.len() as u64, start));
        let form = form.unwrap_or(match len {
            0..=125 => LengthForm::SevenBits,
            126..=0xFFFF => LengthForm::SixteenBits,
            _ => LengthForm::SixtyFourBits,
        });
        let (short, extended) = match form {
            LengthForm::SevenBits if len <= 125 => (len as u8, Vec::new()),
            LengthForm::SixteenBits if len <= 0xFFFF => (126, (len as u16).to_be_bytes().to_vec()),
            LengthForm::SixtyFourBits => (127, len.to_be_bytes().to_vec()),
            LengthForm::SevenBits => return Err(self.error(at, &format!("len=7 holds lengths up to 125, not {len}"))),
            LengthForm::SixteenBits => {
                return Err(self.error(at, &format!("len=16 holds lengths up to 65535, not {len}")));
            }
        };
        let key = match mask {
            Masking::With(key) => Some(key),
            Masking::Unsaid if self.composer.masked => Some((self.composer.keys)()),
            Masking::Unsaid | Masking::Not => None,
        };
        let mut bytes = vec![first, short | if key.is_some() { 0x80 } else { 0 }];
        bytes.extend_from_slice(&extended);
        if let Some(key) = key {
            bytes.extend_from_slice(&key.0);
            apply_mask(&mut payload, key);
        }
        let Some(header) = RawHeader::read(&bytes) else { return Err(self.error(start, "this is no whole header")) };
        bytes.append(&mut payload);
        Ok(ComposedFrame { header, bytes })
    }

    fn expect(&mut self, wanted: char, what: &str) -> Result<(), ComposeError> {
        self.skip_blank();
        if self.peek() != Some(wanted) {
            let found = self.found(self.at);
            return Err(self.error(self.at, &format!("{what} was expected, not {found}")));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    /// Skips what separates words, but not what separates frames.
    fn skip_blank(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                '#' => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                '\n' => return,
                c if c.is_whitespace() => self.at += c.len_utf8(),
                _ => return,
            }
        }
    }

    /// Reads up to what no word has in it.
    fn word(&mut self) -> &'r str {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| c.is_whitespace() || ";\"(),#".contains(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// What stands at a place, for an error.
    fn found(&self, at: usize) -> String {
        let rest = &self.text[at..];
        let end = rest.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(rest.len());
        match &rest[..end] {
            "" => "the end".to_owned(),
            found => format!("{:?}", found.chars().take(20).collect::<String>()),
        }
    }

    fn error(&self, at: usize, what: &str) -> ComposeError {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        ComposeError { line, column, what: what.to_owned() }
    }
}

const TOO_LONG: &str = "a payload has 256 MiB at most; declared=N makes the header say more";

/// A decimal number, or a hexadecimal one behind `0x`.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // The parsers would take a sign.
    let is_plain = digits.chars().all(|c| c.is_digit(radix));
    if is_plain { u64::from_str_radix(digits, radix).ok() } else { None }
}

/// A hexadecimal number of digits alone.
fn hex_number(digits: &str) -> Option<u32> {
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_plain { u32::from_str_radix(digits, 16).ok() } else { None }
}

fn hex_value(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(text: &str) -> Result<Vec<Vec<u8>>, ComposeError> {
        let mut composer = Composer::new(|| MaskingKey([0x37, 0xfa, 0x21, 0x3d]))
            .files(|path| if path == "a file" { Ok(b"its bytes".to_vec()) } else { Err(format!("no {path}")) });
        composer.compose(text).map(|frames| frames.into_iter().map(|frame| frame.bytes).collect())
    }

    #[test]
    fn what_is_said_is_what_comes_out() {
        let rows: &[(&str, &[&[u8]])] = &[
            // The RFCs' own examples [RFC 6455 §5.7, RFC 7692 §7.2.3], but that the second Hello refers to all of the first.
            ("text fin \"Hello\"", &[b"\x81\x05Hello"]),
            ("text fin mask=37fa213d \"Hello\"", &[b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"]),
            ("text \"Hel\"; cont fin \"lo\"", &[b"\x01\x03Hel", b"\x80\x02lo"]),
            ("ping fin \"Hello\"", &[b"\x89\x05Hello"]),
            ("pong fin mask \"Hello\"", &[b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"]),
            (
                "text fin rsv1 deflate(\"Hello\")\ntext fin rsv1 deflate(\"Hello\")",
                &[b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xc1\x04\x02\x13\x00\x00"],
            ),
            // Closes.
            ("close fin", &[b"\x88\x00"]),
            ("close fin 1000 \"bye\"", &[b"\x88\x05\x03\xe8bye"]),
            ("close fin 1005; opcode=8 fin 65535", &[b"\x88\x02\x03\xed", b"\x88\x02\xff\xff"]),
            // Broken ones.
            ("opcode=0xb rsv1 rsv2 rsv3 fin", &[b"\xfb\x00"]),
            ("ping", &[b"\x09\x00"]),
            ("binary fin len=16 \"A\"", &[b"\x82\x7e\x00\x01A"]),
            ("binary fin len=64 \"A\"", &[b"\x82\x7f\0\0\0\0\0\0\0\x01A"]),
            ("binary fin declared=0x8000000000000000", &[b"\x82\x7f\x80\0\0\0\0\0\0\0"]),
            ("binary declared=3 mask=00000000 \"A\"", &[b"\x02\x83\0\0\0\0A"]),
            ("text \"AAAAAAAA\" declared=0 len=7", &[b"\x01\x00AAAAAAAA"]),
            // Payloads, one behind the other.
            ("text \"\\u{fc}\\xff\\n\\r\\t\\0\\\"\\\\;#\u{fc}\"", &[b"\x01\x0d\xc3\xbc\xff\n\r\t\0\"\\;#\xc3\xbc"]),
            ("text hex:48656C6c6f \"!\" hex:", &[b"\x01\x06Hello!"]),
            ("text file:\"a file\"", &[b"\x01\x09its bytes"]),
            ("text repeat(3, \"a\" repeat(2,\"b\"))repeat(0,\"c\")", &[b"\x01\x09abbabbabb"]),
            // What is between frames.
            ("", &[]),
            (" ; \n# text\n;;text # fin\n\tping\r\n", &[b"\x01\x00", b"\x09\x00"]),
        ];
        for (text, frames) in rows {
            assert_eq!(
                composed(text).as_deref(),
                Ok(&frames.iter().map(|frame| frame.to_vec()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
    }

    #[test]
    fn lengths_take_the_form_that_holds_them() {
        for (len, header) in [
            (125, &b"\x02\x7d"[..]),
            (126, b"\x02\x7e\x00\x7e"),
            (65535, b"\x02\x7e\xff\xff"),
            (65536, b"\x02\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let frames = composed(&format!("binary repeat({len}, hex:00)")).unwrap();
            assert_eq!((frames[0].len(), &frames[0][..header.len()]), (header.len() + len, header));
        }
    }

    #[test]
    fn masking_is_what_was_said_before_what_is_usual() {
        let mut composer = Composer::new(|| MaskingKey([9; 4])).masked(true);
        let frames = composer.compose("ping; ping unmasked; ping mask=01020304").unwrap();
        let bytes: Vec<_> = frames.iter().map(|frame| frame.bytes.as_slice()).collect();
        assert_eq!(bytes, [&b"\x09\x80\x09\x09\x09\x09"[..], b"\x09\x00", b"\x09\x80\x01\x02\x03\x04"]);
        assert_eq!(frames[2].header.masking_key(), Some(MaskingKey([1, 2, 3, 4])));
    }

    #[test]
    fn errors_tell_where_and_what_was_expected() {
        for (text, expected) in [
            (
                "fin",
                "column 1: a frame begins with text, binary, cont, close, ping, pong or opcode=N, not with \"fin\"",
            ),
            (
                "text;\u{fc} x",
                "column 6: a frame begins with text, binary, cont, close, ping, pong or opcode=N, not with \"\u{fc}\"",
            ),
            ("opcode=16", "column 1: an opcode is 0 to 15"),
            ("opcode=+1", "column 1: an opcode is 0 to 15"),
            ("text\n\nping fin fin", "line 3, column 10: fin is said twice"),
            ("text mask unmasked", "column 11: mask or unmasked has been said already"),
            ("text mask=0102030", "column 18: a byte is two hexadecimal digits, and one is missing here"),
            ("text mask=010203", "column 11: a masking key is eight hexadecimal digits, as in mask=01020304"),
            ("text hex:0g", "column 11: a hexadecimal digit was expected, not \"g\""),
            (
                "text len=8",
                "column 6: len= is 7, 16 or 64, the bits that the length stands in; declared=N makes it another",
            ),
            ("text declared=-1", "column 6: declared= takes a number below 2^64, such as 5 or 0x7f"),
            ("text declared=126 len=7", "column 6: len=7 holds lengths up to 125, not 126"),
            ("text len=16 repeat(65536, \"a\")", "column 1: len=16 holds lengths up to 65535, not 65536"),
            (
                "text 1000",
                "column 6: a number alone is the code of a close frame; bytes are written hex:03e8, digits \"1000\"",
            ),
            ("close 65536", "column 7: a close code is 0 to 65535"),
            ("text \"Hel", "column 6: the quote that begins here is not ended by another"),
            ("text \"\\q\"", "column 7: behind a backslash stands n, r, t, 0, a quote, a backslash, xNN or u{N}"),
            ("text \"\\x4\"", "column 7: \\x takes two hexadecimal digits"),
            ("text \"\\u{d800}\"", "column 7: \\u takes a character's number in braces, such as \\u{fc}"),
            (
                "text Hello",
                "column 6: \"Hello\" is neither a word about a frame nor a payload, such as \"text\" or hex:0102",
            ),
            ("text repeat(\"a\")", "column 13: repeat begins with how often: repeat(3, \"ab\")"),
            ("text repeat(3 \"a\")", "column 15: a comma, then what to repeat was expected, not \"\\\"a\\\")\""),
            ("text repeat(3, \"a\"", "column 19: a closing parenthesis is missing here"),
            (
                "text repeat(268435457, \"a\")",
                "column 6: a payload has 256 MiB at most; declared=N makes the header say more",
            ),
            ("text file:gone", "column 6: no gone"),
        ] {
            assert_eq!(composed(text).unwrap_err().to_string(), expected, "{text}");
        }
        let deep = format!("text {}", "repeat(1,".repeat(100_000));
        assert!(composed(&deep).unwrap_err().what.starts_with("this is nested"));
    }

    #[test]
    fn no_text_is_too_strange() {
        let text = "text fin \u{fc} \"a\\x00\\u{fc}\" hex:00; repeat(2, deflate(\"b\")) # \nclose 1000 mask=01020304";
        for start in text.char_indices().map(|(at, _)| at) {
            for end in (start..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let _ = composed(&text[start..end]);
                let _ = composed(&format!("text {}", &text[start..end]));
            }
        }
    }
}
