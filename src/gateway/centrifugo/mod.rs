//! The Centrifugo client protocol, version 2, in JSON and Protobuf over a bidirectional WebSocket.

mod json;
mod messages;
mod protobuf;

/// The state of a client of this protocol.
#[derive(Debug)]
pub(super) struct Session {}

/// A command that waits for a backend.
#[derive(Debug)]
pub(super) struct Asked {}
