//! A connection's share of a turn.

use super::NetConfig;
use crate::protocol::Event;

/// What one connection may do in one turn.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    events: usize,
    /// Bytes of payload handed to the application: a message that was compressed can be a thousand times what was read.
    payload: usize,
}

impl Budget {
    /// How much more payload than input a turn allows.
    const INFLATION: usize = 4;

    pub(super) fn new(config: &NetConfig) -> Self {
        let bytes = config.turn_bytes;
        Self { bytes, events: config.turn_events, payload: bytes.saturating_mul(Self::INFLATION) }
    }

    #[inline]
    pub(super) fn is_spent(&self) -> bool {
        self.events == 0 || self.payload == 0
    }

    #[inline]
    pub(super) fn take(&mut self, event: &Event<'_>) {
        let len = match event {
            Event::Message(message) => message.payload().len(),
            Event::Piece(piece) => piece.data.len(),
            _ => 0,
        };
        self.events -= 1;
        self.payload = self.payload.saturating_sub(len);
    }
}
