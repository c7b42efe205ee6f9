//! Finding the end of a head: capped before anything is parsed, and in one pass however the bytes are cut.

use std::fmt;

use super::Rejection;
use super::fields::is_token_byte;
use crate::wire::Rule;

/// How much of a head is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The longest request line (or status line), in bytes; 8192. Over it, 414.
    pub request_line: usize,
    /// The longest head with its last blank line, in bytes; 16,384. Over it, 431.
    pub head: usize,
    /// The most field lines, the same name counted each time; 100. Over it, 431.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { request_line: 8192, head: 16_384, fields: 100 }
    }
}

/// Collects a request's head as it arrives.
///
/// Every byte is looked at once. What cannot become a head is refused at its first wrong byte, so that a client that
/// speaks TLS, HTTP/2 or nothing known is not waited for.
#[derive(Debug)]
pub struct HeadReader {
    scan: HeadScan,
    bytes: Vec<u8>,
}

impl HeadReader {
    /// A reader that has seen nothing yet and owns no buffer.
    pub fn new(limits: HeadLimits) -> Self {
        Self { scan: HeadScan::new(limits), bytes: Vec::new() }
    }

    /// A reader of an answer's head, which begins with `HTTP/` or not at all: whoever says something else first, such
    /// as an SSH server, may never send a blank line.
    pub(super) fn for_answer(limits: HeadLimits) -> Self {
        Self { scan: HeadScan { prefix: b"HTTP/", ..HeadScan::new(limits) }, bytes: Vec::new() }
    }

    /// Takes the next piece. `Some(n)`: the head is complete, and `n` bytes of this piece belonged to it.
    ///
    /// # Errors
    /// At the first byte that cannot stand in a head or that exceeds a limit.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<usize>, Rejection> {
        self.push_raw(piece).map_err(Rejection::Head)
    }

    /// As [`push`](Self::push), for either role.
    pub(super) fn push_raw(&mut self, piece: &[u8]) -> Result<Option<usize>, HeadFault> {
        let end = self.scan.push(piece)?;
        self.bytes.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
        Ok(end)
    }

    /// Whether nothing has arrived yet: such a connection may be closed without a word.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The head as far as it has arrived; once complete, what [`Request::parse`](super::Request::parse) takes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Looks for the blank line that ends a head, one byte after the other, and remembers no byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadScan {
    limits: HeadLimits,
    /// What the first line begins with.
    prefix: &'static [u8],
    /// Bytes seen.
    len: usize,
    /// Bytes of the line that is being read.
    line_len: usize,
    /// Lines completed, the start line and the field lines.
    lines: usize,
    after_carriage_return: bool,
    skipped_blank_line: bool,
    outcome: Option<Result<(), HeadFault>>,
}

impl HeadScan {
    pub(super) const fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            prefix: b"",
            len: 0,
            line_len: 0,
            lines: 0,
            after_carriage_return: false,
            skipped_blank_line: false,
            outcome: None,
        }
    }

    /// The number of field lines, once the head is complete.
    pub(super) const fn fields(&self) -> usize {
        self.lines.saturating_sub(1)
    }

    /// Takes the next piece. `Some(n)`: the head ends after `n` bytes of it.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<usize>, HeadFault> {
        match self.outcome {
            None => {}
            Some(Ok(())) => return Ok(Some(0)),
            Some(Err(fault)) => return Err(fault),
        }
        for (at, &byte) in piece.iter().enumerate() {
            match self.step(byte) {
                Ok(false) => {}
                Ok(true) => {
                    self.outcome = Some(Ok(()));
                    return Ok(Some(at + 1));
                }
                Err(fault) => {
                    self.outcome = Some(Err(fault));
                    return Err(fault);
                }
            }
        }
        Ok(None)
    }

    /// Whether `byte` ends the head.
    fn step(&mut self, byte: u8) -> Result<bool, HeadFault> {
        self.len += 1;
        if self.len > self.limits.head {
            return Err(HeadFault::TooLong(self.limits.head));
        }
        if self.after_carriage_return {
            return if byte == b'\n' { self.end_line() } else { Err(HeadFault::BareCarriageReturn) };
        }
        match byte {
            b'\r' => {
                self.after_carriage_return = true;
                return Ok(false);
            }
            b'\n' => return Err(HeadFault::BareLineFeed),
            // TLS records begin with their content type, 20–23 [RFC 8446 §5.1].
            20..=23 if self.lines == 0 && self.line_len == 0 => return Err(HeadFault::Tls),
            b'\t' => {}
            0..=31 | 127 => return Err(HeadFault::ControlByte(byte)),
            _ => {}
        }
        if self.lines == 0 {
            if self.prefix.get(self.line_len).is_some_and(|expected| *expected != byte) {
                return Err(HeadFault::StartLine);
            }
            if self.line_len == 0 && !is_token_byte(byte) {
                return Err(HeadFault::NotHttp(byte));
            }
            if self.line_len == self.limits.request_line {
                return Err(HeadFault::StartLineTooLong(self.limits.request_line));
            }
        } else if self.line_len == 0 && self.lines > self.limits.fields {
            return Err(HeadFault::TooManyFields(self.limits.fields));
        }
        self.line_len += 1;
        Ok(false)
    }

    /// Whether the line that has just ended is the blank one after the fields.
    fn end_line(&mut self) -> Result<bool, HeadFault> {
        self.after_carriage_return = false;
        if self.line_len > 0 {
            self.line_len = 0;
            self.lines += 1;
            return Ok(false);
        }
        if self.lines > 0 {
            return Ok(true);
        }
        if !self.prefix.is_empty() {
            return Err(HeadFault::StartLine);
        }
        // One blank line before the request is what some clients leave behind an earlier body [RFC 9112 §2.2].
        if std::mem::replace(&mut self.skipped_blank_line, true) {
            return Err(HeadFault::LeadingBlankLines);
        }
        Ok(false)
    }
}

/// What is wrong with a head before its meaning is looked at; the same for a request and an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeadFault {
    /// The first line is longer than this many bytes.
    StartLineTooLong(usize),
    /// The head is longer than this many bytes.
    TooLong(usize),
    /// There are more field lines than this.
    TooManyFields(usize),
    /// The peer speaks TLS, and this side does not.
    Tls,
    /// The first byte begins neither a method nor a version.
    NotHttp(u8),
    /// More than one blank line before the first line.
    LeadingBlankLines,
    /// LF without CR.
    BareLineFeed,
    /// CR without LF.
    BareCarriageReturn,
    /// A control byte other than HTAB, such as NUL.
    ControlByte(u8),
    /// The first line has not its three parts, or one of them is not what it should be.
    StartLine,
    /// A field line that continues the one before.
    Fold,
    /// A field line without a colon.
    NoColon,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// A field's name is empty or has a byte that no name has.
    FieldName,
    /// A field's value has a byte that no value has.
    FieldValue,
    /// Not a whole head, or more than one.
    Incomplete,
}

impl HeadFault {
    /// The status that a server answers with.
    pub const fn status(&self) -> u16 {
        match self.rule().status() {
            Some(status) => status,
            None => 400,
        }
    }

    /// The rule that was broken.
    pub const fn rule(&self) -> &'static Rule {
        match self {
            Self::StartLineTooLong(_) => Rule::START_LINE_TOO_LONG,
            Self::TooLong(_) => Rule::HEAD_TOO_LONG,
            Self::TooManyFields(_) => Rule::TOO_MANY_FIELDS,
            Self::Tls => Rule::TLS_ON_PLAIN_PORT,
            Self::NotHttp(_) => Rule::NOT_HTTP,
            Self::LeadingBlankLines => Rule::LEADING_BLANK_LINES,
            Self::BareLineFeed => Rule::BARE_LINE_FEED,
            Self::BareCarriageReturn => Rule::BARE_CARRIAGE_RETURN,
            Self::ControlByte(_) => Rule::CONTROL_BYTE,
            Self::StartLine => Rule::START_LINE,
            Self::Fold => Rule::FOLD,
            Self::NoColon => Rule::NO_COLON,
            Self::SpaceBeforeColon => Rule::SPACE_BEFORE_COLON,
            Self::FieldName => Rule::FIELD_NAME,
            Self::FieldValue => Rule::FIELD_VALUE,
            Self::Incomplete => Rule::INCOMPLETE_HEAD,
        }
    }
}

impl fmt::Display for HeadFault {
    /// What happened, without the rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartLineTooLong(limit) => write!(f, "a first line of more than {limit} bytes"),
            Self::TooLong(limit) => write!(f, "a head of more than {limit} bytes"),
            Self::TooManyFields(limit) => write!(f, "more than {limit} field lines"),
            Self::Tls => f.write_str("TLS where plain text is spoken"),
            Self::NotHttp(byte) => write!(f, "a message that begins with byte {byte:#04x}"),
            Self::LeadingBlankLines => f.write_str("blank lines before the first line"),
            Self::BareLineFeed => f.write_str("LF without CR"),
            Self::BareCarriageReturn => f.write_str("CR without LF"),
            Self::ControlByte(byte) => write!(f, "control byte {byte:#04x}"),
            Self::StartLine => f.write_str("a malformed first line"),
            Self::Fold => f.write_str("a folded field line"),
            Self::NoColon => f.write_str("a field line without a colon"),
            Self::SpaceBeforeColon => f.write_str("white space before a colon"),
            Self::FieldName => f.write_str("a field name that is not a token"),
            Self::FieldValue => f.write_str("a malformed field value"),
            Self::Incomplete => f.write_str("not exactly one head"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_looked_at_once_however_the_head_is_cut() {
        let head = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'y'; 16_361], b"\r\n\r\n"].concat();
        assert_eq!(head.len(), HeadLimits::default().head);
        for size in [1, 2, 3, 1000, head.len()] {
            let mut reader = HeadReader::new(HeadLimits::default());
            let last = head.chunks(size).last().map_or(0, <[u8]>::len);
            let outcomes: Vec<_> = head.chunks(size).map(|piece| reader.push(piece)).collect();
            assert_eq!(outcomes.last(), Some(&Ok(Some(last))));
            assert!(outcomes[..outcomes.len() - 1].iter().all(|outcome| *outcome == Ok(None)));
            // `len` counts the scan's steps, and a step looks at one byte.
            assert_eq!(reader.scan.len, head.len(), "in pieces of {size}");
            assert_eq!(reader.bytes(), head);
            assert!(reader.bytes.capacity() <= 2 * head.len());
        }
    }

    #[test]
    fn nothing_behind_the_head_is_kept() {
        let mut reader = HeadReader::new(HeadLimits::default());
        assert_eq!(reader.push(b"GET / HTTP/1.1\r\n\r\nGET"), Ok(Some(18)));
        assert_eq!(reader.push(b" / HTTP/1.1\r\n\r\n"), Ok(Some(0)));
        assert_eq!(reader.bytes(), b"GET / HTTP/1.1\r\n\r\n");
    }
}
