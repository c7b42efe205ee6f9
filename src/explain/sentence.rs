//! What was seen, each in a sentence.

use std::fmt;

use super::conversation::Seen;
use super::detail::name;
use super::frame::{Frame, WholeMessage};
use super::text::{count, shown};
use crate::handshake::{HandshakeError, Rejection};
use crate::protocol::Role;
use crate::wire::{CloseFrame, MessageKind, Opcode};

/// How much of a payload a sentence shows, in columns.
const SHOWN: usize = 44;

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { outcome: Ok(request), .. } => {
                write!(f, "client asks for a WebSocket, version {}", request.version().number())?;
                write!(f, ", at {:?} of {}", request.path(), request.host())
            }
            Self::Request { outcome: Err(Rejection::UpgradeMissing), .. } => f.write_str("client asks plain HTTP"),
            Self::Request { outcome: Err(rejection), .. } => write!(f, "client asks what is no handshake: {rejection}"),
            Self::Answer { outcome: Ok(agreed), .. } => {
                f.write_str("server agrees")?;
                agreed.protocol.as_ref().map_or(Ok(()), |protocol| write!(f, ", to speak {protocol:?}"))?;
                agreed.deflate.as_ref().map_or(Ok(()), |deflate| write!(f, ", with {deflate}"))
            }
            Self::Answer { outcome: Err(HandshakeError::Refused(refusal)), .. } => {
                write!(f, "server refuses with {}", refusal.status)
            }
            Self::Answer { outcome: Err(error), .. } => write!(f, "server gives no valid answer: {error}"),
            Self::Violation(violation) => {
                write!(f, "{} breaks a rule at byte {}: {}", name(violation.by), violation.offset, violation.breach)
            }
            Self::Frame { from, frame } => write_frame(f, *from, frame),
            Self::Message { from, message } => write_message(f, *from, message),
            Self::End { from, unfinished, passed_over, .. } => {
                write!(f, "{} ends the stream", name(*from))?;
                f.write_str(if *unfinished { " in the middle of something" } else { "" })?;
                if *passed_over > 0 { write!(f, "; {} not looked at", count(*passed_over, "byte")) } else { Ok(()) }
            }
        }
    }
}

fn write_frame(f: &mut fmt::Formatter<'_>, from: Role, frame: &Frame) -> fmt::Result {
    let header = &frame.header;
    write!(f, "{} sends ", name(from))?;
    match header.opcode() {
        Some(opcode) => write!(f, "{opcode}")?,
        None => write!(f, "opcode {}", header.opcode_bits())?,
    }
    f.write_str(if header.fin() { " fin" } else { "" })?;
    for bit in 1..=3 {
        if header.rsv(bit) {
            write!(f, " rsv{bit}")?;
        }
    }
    write!(f, ", {}", count(header.payload_len(), "byte"))?;
    f.write_str(if header.masked() { ", masked" } else { "" })?;
    let payload = frame.unmasked();
    match header.opcode() {
        Some(Opcode::Close) => match CloseFrame::decode(&payload) {
            Ok(close) if payload.is_empty() => write!(f, ": no code ({} to the application)", close.code),
            Ok(close) if close.reason.is_empty() => write!(f, ": {}", close.code),
            Ok(close) => write!(f, ": {} {}", close.code, shown(close.reason.as_bytes(), SHOWN)),
            Err(_) => Ok(()),
        },
        Some(Opcode::Ping | Opcode::Pong) if !payload.is_empty() => write!(f, ": {}", shown(&payload, SHOWN)),
        _ => Ok(()),
    }
}

fn write_message(f: &mut fmt::Formatter<'_>, from: Role, message: &WholeMessage) -> fmt::Result {
    let kind = match message.kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    };
    write!(f, "{}'s message: {kind}, {}", name(from), count(message.len, "byte"))?;
    if message.frames > 1 {
        write!(f, " in {} frames", message.frames)?;
    }
    if message.compressed {
        write!(f, ", {} on the wire", message.wire_len)?;
    }
    write!(f, ": {}", shown(&message.payload, SHOWN))
}
