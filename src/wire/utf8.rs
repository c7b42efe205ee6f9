//! UTF-8 checked as it arrives: in pieces cut anywhere, failing at the first byte that cannot be right
//! [RFC 6455 §8.1].

use std::fmt;

use simdutf8::compat::from_utf8;

use super::ProtocolError;

/// Validates a text message piece by piece.
///
/// Between pieces it keeps at most the three bytes of a character whose end has not arrived, so no byte is looked at
/// twice however small the pieces are.
#[derive(Clone, Copy, Default)]
pub struct Utf8Validator {
    pending: [u8; 3],
    pending_len: u8,
}

impl Utf8Validator {
    /// A validator at the start of a message.
    pub const fn new() -> Self {
        Self { pending: [0; 3], pending_len: 0 }
    }

    /// The bytes of the character that is still incomplete, at most three.
    pub fn pending(&self) -> &[u8] {
        &self.pending[..usize::from(self.pending_len)]
    }

    /// Takes the next piece of the message.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] as soon as no continuation could make the text valid.
    #[inline]
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while self.pending_len > 0 {
            let [byte, rest @ ..] = piece else { return Ok(()) };
            self.complete_character_with(*byte)?;
            piece = rest;
        }
        self.check_from_boundary(piece)
    }

    /// Declares the message complete.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] if its last character is not.
    pub const fn finish(&self) -> Result<(), ProtocolError> {
        if self.pending_len == 0 { Ok(()) } else { Err(ProtocolError::InvalidUtf8) }
    }

    fn complete_character_with(&mut self, byte: u8) -> Result<(), ProtocolError> {
        let [first, second, third] = self.pending;
        let mut character = [first, second, third, 0];
        character[usize::from(self.pending_len)] = byte;
        let len = self.pending_len + 1;
        self.pending_len = 0;
        self.check_from_boundary(&character[..usize::from(len)])
    }

    fn check_from_boundary(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let Err(error) = from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(ProtocolError::InvalidUtf8);
        }
        let tail = &bytes[error.valid_up_to()..];
        self.pending[..tail.len()].copy_from_slice(tail);
        self.pending_len = tail.len() as u8;
        Ok(())
    }
}

impl fmt::Debug for Utf8Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Utf8Validator").field("pending", &self.pending()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of `text`, given one by one, pass before it fails; `None` if it never does.
    fn fails_at(text: &[u8]) -> Option<usize> {
        let mut validator = Utf8Validator::new();
        text.iter().position(|byte| validator.push(&[*byte]).is_err())
    }

    #[test]
    fn fails_at_the_first_byte_that_cannot_be_right() {
        let rows: &[(&[u8], Option<usize>)] = &[
            ("κόσμε".as_bytes(), None),
            ("😀".as_bytes(), None),
            (b"\xf4\x8f\xbf\xbf", None),    // U+10FFFF
            (b"\xf4\x90\x80\x80", Some(1)), // above U+10FFFF  (Autobahn 6.4.1)
            (b"\xf5\x80\x80\x80", Some(0)),
            (b"\xed\x9f\xbf", None),    // U+D7FF
            (b"\xed\xa0\x80", Some(1)), // a surrogate
            (b"\xc0\xaf", Some(0)),     // overlong
            (b"\xe0\x80\xaf", Some(1)),
            (b"\xf0\x80\x80\xaf", Some(1)),
            (b"\x80", Some(0)), // a lone continuation byte
            (b"ab\xc3(", Some(3)),
            (b"\xff", Some(0)),
        ];
        for (text, expected) in rows {
            assert_eq!(fails_at(text), *expected, "{text:02x?}");
        }
    }

    #[test]
    fn agrees_with_the_standard_library_at_every_split() {
        let mut texts: Vec<Vec<u8>> = vec!["a κόσμε 😀 z".into(), b"ok \xed\xa0\x80".to_vec(), b"\xe2\x82".to_vec()];
        // Every two-byte sequence between valid characters.
        texts.extend((0..=u16::MAX).step_by(7).map(|pair| [&b"\xc3\xa9"[..], &pair.to_be_bytes(), b"x"].concat()));
        for text in &texts {
            let expected = std::str::from_utf8(text).is_ok();
            for split in 0..=text.len() {
                let mut validator = Utf8Validator::new();
                let result = validator
                    .push(&text[..split])
                    .and_then(|()| validator.push(&text[split..]))
                    .and_then(|()| validator.finish());
                assert_eq!(result.is_ok(), expected, "{text:02x?} split at {split}");
            }
        }
    }
}
