//! Deflating messages: one codec shared by all connections of a thread, and a small history for each.

use super::DeflateConfig;
use crate::wire::{PreparedMessage, SharedFrame};

/// Compresses one connection's messages.
#[derive(Debug)]
pub struct Compressor {
    bits: u8,
}

impl Compressor {
    /// A compressor for an agreed window of `window_bits` (8–15) that, with `takeover`, refers to earlier messages.
    pub fn new(window_bits: u8, takeover: bool, config: &DeflateConfig) -> Self {
        let _ = (takeover, config);
        Self { bits: window_bits }
    }

    /// Compresses the next piece of a message and appends to `out`; a whole message is one piece with `last`.
    pub fn compress(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let _ = (self.bits, piece, last, out);
        todo!()
    }

    /// The frame of `message` compressed once for every receiver with this window, recorded in this one's history.
    pub fn compress_shared(&mut self, message: &PreparedMessage) -> SharedFrame {
        let _ = message;
        todo!()
    }
}
