//! What a connection is read with. One serves all connections of a loop, each in its turn.

use super::NetConfig;
use super::budget::Budget;
use crate::protocol::{Memory, Scratch};

/// It is out of the sessions while a connection is read: events borrow from it, and with them the application is lent the
/// sessions.
#[derive(Debug)]
pub(super) struct Workspace {
    /// What every read goes into.
    pub(super) receive: Memory,
    pub(super) decoding: Decoding,
}

/// What input is decoded with.
#[derive(Debug)]
pub(super) struct Decoding {
    pub(super) scratch: Scratch,
    /// What the protocol answers by itself, on its way to the outbox.
    pub(super) answers: Vec<u8>,
    pub(super) budget: Budget,
}

impl Workspace {
    /// Bytes in the receive buffer at most: more than a socket holds gains nothing.
    const MAX_RECEIVE_BUFFER: usize = 16 << 20;

    pub(super) fn new(config: &NetConfig) -> Self {
        Self {
            receive: Memory::for_input(config.receive_buffer.min(Self::MAX_RECEIVE_BUFFER)),
            decoding: Decoding { scratch: Scratch::new(), answers: Vec::new(), budget: Budget::new(config) },
        }
    }
}
