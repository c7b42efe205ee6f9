//! A message that is complete, and what its compression did [RFC 7692].

use super::detail::row;
use super::frame::WholeMessage;
use super::text::{count, hex, shown};
use crate::deflate::{Compressor, Decompressor, DeflateConfig, DeflateParams};
use crate::protocol::Role;
use crate::wire::MessageKind;

/// How hard the comparison compresses: what zlib does if nobody says otherwise, as most peers use.
const LEVEL: i32 = 6;

/// How many bytes of compressed data are shown.
const SHOWN: usize = 16;

/// The message, and of a compressed one how it came to its length.
pub(super) fn explain(from: Role, message: &WholeMessage) -> String {
    let what = match message.kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    };
    let frames = count(u64::from(message.frames), "frame");
    let what = format!("{what}, {} in {frames}: {}", count(message.len, "byte"), shown(&message.payload, 34));
    let mut out = row("Message", &what);
    if let Some(deflate) = message.deflate.filter(|_| message.compressed) {
        compressed(from, message, deflate, &mut out);
    }
    out
}

fn compressed(from: Role, message: &WholeMessage, deflate: DeflateParams, out: &mut String) {
    let mut say = |label: &str, what: &str| out.push_str(&row(label, what));
    say("RSV1", "on the first frame: the message is compressed [RFC 7692 §6]");
    let start = &message.wire[..message.wire.len().min(SHOWN)];
    let more = if start.len() as u64 == message.wire_len { "" } else { " …" };
    say("Deflate", &format!("{}{more} and 00 00 ff ff, which the sender cut off [RFC 7692 §7.2.1]", hex(start)));
    if let Some(first) = message.wire.first() {
        say("", &block(*first));
    }
    say("Ratio", &ratio(message));
    let (bits, alone) = match from {
        Role::Client => (deflate.client_max_window_bits, deflate.client_no_context_takeover),
        Role::Server => (deflate.server_max_window_bits, deflate.server_no_context_takeover),
    };
    let takeover =
        if alone { "each message by itself" } else { "with context takeover: messages may refer to earlier ones" };
    say("Window", &format!("{bits} bits: it refers to at most {} back; {takeover}", count(1 << bits, "byte")));
    if let Some(what) = saved(message, bits).filter(|_| !alone) {
        say("Takeover", &what);
    }
}

/// What the three bits at the beginning of a block say [RFC 1951 §3.2.3].
fn block(first: u8) -> String {
    let kind = match first >> 1 & 3 {
        0 => "stored as it is",
        1 => "compressed with the fixed Huffman codes",
        2 => "compressed with Huffman codes of its own",
        _ => "of a type that does not exist",
    };
    let last = if first & 1 == 0 { "not the last of its stream" } else { "the last of its stream" };
    format!("the first block: BFINAL={}, {last}; BTYPE={:02b}, {kind}", first & 1, first >> 1 & 3)
}

fn ratio(message: &WholeMessage) -> String {
    let (wire, len) = (message.wire_len, message.len);
    let what = format!("{} on the wire, {len} inflated", count(wire, "byte"));
    if len == 0 {
        return what;
    }
    let percent = format!("{} %", (u128::from(wire) * 100 + u128::from(len) / 2) / u128::from(len));
    match wire.cmp(&len) {
        std::cmp::Ordering::Less => format!("{what}: {percent}"),
        std::cmp::Ordering::Equal => format!("{what}: nothing was gained"),
        std::cmp::Ordering::Greater => format!("{what}: {percent}; without compression it would have been shorter"),
    }
}

/// What the history has saved: found by inflating the message without any, and by compressing it without any.
fn saved(message: &WholeMessage, bits: u8) -> Option<String> {
    let is_whole = message.wire.len() as u64 == message.wire_len && message.payload.len() as u64 == message.len;
    if !is_whole {
        return None;
    }
    let mut inflated = Vec::new();
    let alone = Decompressor::new(bits, false).decompress(&message.wire, true, message.payload.len(), &mut inflated);
    if alone.is_ok() && inflated == message.payload {
        return Some("it inflates alone: it refers to nothing in earlier messages".to_owned());
    }
    let mut deflated = Vec::new();
    let config = DeflateConfig::default().level(LEVEL);
    Compressor::new(bits, false, &config).compress(&message.payload, true, &mut deflated);
    let without = deflated.len() as u64;
    let difference = match without.checked_sub(message.wire_len) {
        Some(saved) if saved > 0 => format!("{} saved", count(saved, "byte")),
        _ => "nothing saved".to_owned(),
    };
    Some(format!(
        "it refers to earlier messages and does not inflate alone; without them zlib at level {LEVEL} makes {} of it: {difference}",
        count(without, "byte"),
    ))
}
