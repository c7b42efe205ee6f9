//! What was seen, as the page reads it. Bytes are in hexadecimal, offsets and lengths in bytes.

use std::fmt::Write as _;

use loopwire::explain::{Conversation, EndpointState, Frame, Seen, WholeMessage};
use loopwire::{Closed, MessageKind, Role, Side};
use serde_json::{Value, json};

/// The longest payload of a frame that is also explained as text, in bytes: that is several times as long.
const EXPLAINED: u64 = 256;

/// What there is to say of it; of the end of a stream, nothing that a Close had not said.
///
/// `explained`: with the text that a terminal shows of it, unless that is long.
pub(super) fn of(seen: &Seen<'_>, explained: bool) -> Option<Value> {
    let mut value = match seen {
        Seen::Request { head, .. } => json!({
            "seen": "request",
            "from": "client",
            "head": String::from_utf8_lossy(head),
        }),
        Seen::Answer { head, outcome, .. } => json!({
            "seen": "answer",
            "from": "server",
            "head": String::from_utf8_lossy(head),
            "deflate": outcome.as_ref().ok().and_then(|agreed| agreed.deflate).map(|deflate| deflate.to_string()),
        }),
        Seen::Frame { from, frame } => frame_of(*from, frame),
        Seen::Message { from, message } => message_of(*from, message),
        Seen::Violation(violation) => json!({
            "seen": "violation",
            "from": name(violation.by),
            "offset": violation.offset,
            "rule": violation.rule().id,
        }),
        _ => return None,
    };
    value["sentence"] = json!(seen.to_string());
    let is_short = match seen {
        Seen::Frame { frame, .. } => frame.received <= EXPLAINED,
        Seen::Message { message, .. } => message.compressed && message.len <= 4 * EXPLAINED,
        _ => true,
    };
    if explained && is_short {
        value["detail"] = json!(seen.detail().to_string());
    }
    Some(value)
}

fn frame_of(from: Role, frame: &Frame) -> Value {
    json!({
        "seen": "frame",
        "from": name(from),
        "offset": frame.offset,
        "header": hex(frame.header.bytes()),
        "length": frame.header.payload_len(),
        "wire": hex(&frame.payload),
        "plain": hex(&frame.unmasked()),
        "pending": hex(&frame.utf8_pending),
    })
}

fn message_of(from: Role, message: &WholeMessage) -> Value {
    json!({
        "seen": "message",
        "from": name(from),
        "text": message.kind == MessageKind::Text,
        "frames": message.frames,
        "compressed": message.compressed,
        "wire_length": message.wire_len,
        "length": message.len,
        "payload": hex(&message.payload),
    })
}

/// Where both ends stand.
pub(super) fn states(conversation: &Conversation) -> Value {
    let state = |of| match conversation.state(of) {
        EndpointState::Connecting => "connecting",
        EndpointState::Open => "open",
        EndpointState::Closing { sent: true, .. } => "closing: Close sent",
        EndpointState::Closing { .. } => "closing: Close received",
        EndpointState::Closed => "closed",
    };
    json!({ "seen": "states", "client": state(Role::Client), "server": state(Role::Server) })
}

/// How a connection ended.
pub(super) fn closed(closed: &Closed) -> Value {
    let by = if closed.by == Side::Local { Role::Server } else { Role::Client };
    json!({
        "seen": "closed",
        "code": closed.code.0,
        "reason": closed.reason,
        "clean": closed.clean,
        "by": name(by),
    })
}

const fn name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
