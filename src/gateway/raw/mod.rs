//! The raw protocol: a plain WebSocket is a channel. What a client sends is published, what is published it receives.

/// The state of a client of this protocol.
#[derive(Debug)]
pub(super) struct Session {}

/// What waits for a backend.
#[derive(Debug)]
pub(super) struct Asked {}
