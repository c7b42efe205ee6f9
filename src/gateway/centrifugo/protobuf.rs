//! The Protobuf encoding: each item behind its length.

use super::messages::{Command, Malformed, Push, Refusal, Reply};

/// The commands of a message.
pub(super) fn decode(message: &[u8], max_commands: usize) -> Result<Vec<Command>, Malformed> {
    let _ = (message, max_commands);
    todo!()
}

pub(super) fn encode_reply(id: u32, reply: &Reply) -> Vec<u8> {
    let _ = (id, reply);
    todo!()
}

pub(super) fn encode_error(id: u32, refusal: &Refusal) -> Vec<u8> {
    let _ = (id, refusal);
    todo!()
}

pub(super) fn encode_push(push: Push<'_>) -> Vec<u8> {
    let _ = push;
    todo!()
}
