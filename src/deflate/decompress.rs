//! Inflating messages: one codec shared by all connections of a thread, and the window of each.

use std::error::Error;
use std::fmt;

/// Why a compressed message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InflateError {
    /// Not a DEFLATE stream, or one that ends before its end.
    Corrupt,
    /// More bytes than the limit.
    TooBig,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "the compressed message does not inflate",
            Self::TooBig => "the message inflates to more than the limit",
        })
    }
}

impl Error for InflateError {}

/// Inflates one connection's messages.
#[derive(Debug)]
pub struct Decompressor {
    bits: u8,
}

impl Decompressor {
    /// A decompressor for an agreed window of `window_bits` (8–15) that, with `takeover`, may meet references to
    /// earlier messages.
    pub fn new(window_bits: u8, takeover: bool) -> Self {
        let _ = takeover;
        Self { bits: window_bits }
    }

    /// Inflates the next piece of a message and appends to `out`; a whole message is one piece with `last`.
    ///
    /// `limit` is the most bytes that the message may have in all, counted as they appear.
    ///
    /// # Errors
    /// The connection cannot go on after either.
    pub fn decompress(
        &mut self,
        piece: &[u8],
        last: bool,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InflateError> {
        let _ = (self.bits, piece, last, limit, out);
        todo!()
    }
}
