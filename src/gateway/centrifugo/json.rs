//! The JSON encoding: items joined by line breaks, empty and zero fields left out.

use super::messages::{Command, Malformed, Push, Refusal, Reply};

/// The commands of a message.
pub(super) fn decode(message: &[u8], max_commands: usize) -> Result<Vec<Command>, Malformed> {
    let _ = (message, max_commands);
    todo!()
}

pub(super) fn encode_reply(id: u32, reply: &Reply) -> String {
    let _ = (id, reply);
    todo!()
}

pub(super) fn encode_error(id: u32, refusal: &Refusal) -> String {
    let _ = (id, refusal);
    todo!()
}

pub(super) fn encode_push(push: Push<'_>) -> String {
    let _ = push;
    todo!()
}
