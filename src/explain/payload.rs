//! A payload byte by byte: as it came, the key, and what it was before it was masked; and as text, across frames.

use std::fmt::Write as _;

use super::detail::row;
use super::frame::Frame;
use super::text::{count, hex, shown};
use crate::wire::{CloseCode, CloseFrame, MessageKind, Opcode};

/// Bytes in a row.
const ROW: usize = 16;

/// The rows that are shown of a long payload: so many at its beginning, one at its end.
const FIRST_ROWS: usize = 2;

/// The columns left for a payload's text behind a label.
const TEXT: usize = 62;

/// The payload's bytes, masked, key and unmasked below each other; the middle of a long one is left out.
pub(super) fn rows(frame: &Frame) -> String {
    let mut out = String::new();
    if frame.payload.is_empty() {
        return out;
    }
    let plain = frame.unmasked();
    let key = frame.header.masking_key();
    let what = match key {
        Some(_) => "each byte XOR the key's byte at i mod 4, i from 0 [RFC 6455 §5.3]",
        None => "as it is: there is no mask",
    };
    out.push_str(&row("Payload", what));
    let rows = plain.len().div_ceil(ROW);
    let is_cut = rows > FIRST_ROWS + 2;
    for row in 0..rows {
        if is_cut && (FIRST_ROWS..rows - 1).contains(&row) {
            if row == FIRST_ROWS {
                let left_out = (rows - 1 - FIRST_ROWS) * ROW;
                let _ = writeln!(out, "         …  {} not shown", count(left_out as u64, "byte"));
            }
            continue;
        }
        let start = row * ROW;
        let range = start..plain.len().min(start + ROW);
        let mut line = |offset: &str, label: &str, cells: &str| {
            out.push_str(format!("{offset:>10}  {label:<9}  {cells}").trim_end());
            out.push('\n');
        };
        let offset = start.to_string();
        if let Some(key) = key {
            let keys: Vec<u8> = range.clone().map(|at| key.0[at % 4]).collect();
            line(&offset, "masked", &hex(&frame.payload[range.clone()]));
            line("", "XOR key", &hex(&keys));
            line("", "unmasked", &hex(&plain[range.clone()]));
        } else {
            line(&offset, "bytes", &hex(&plain[range.clone()]));
        }
        // Compressed bytes are no letters.
        if !frame.compressed {
            let letters = plain[range].iter().map(|byte| match byte {
                b' '..=b'~' => format!(" {}", char::from(*byte)),
                _ => " .".to_owned(),
            });
            line("", "as ASCII", &letters.collect::<Vec<_>>().join(" "));
        }
    }
    if !frame.is_kept() {
        let rest = frame.received - frame.payload.len() as u64;
        let _ = writeln!(out, "         …  {} were not kept", count(rest, "byte"));
    }
    out
}

/// What the payload says, for those kinds of frames whose payload alone says something.
pub(super) fn meaning(frame: &Frame) -> String {
    match frame.header.opcode() {
        Some(Opcode::Close) if frame.is_complete() => close(&frame.unmasked()),
        Some(Opcode::Ping) => row("Ping", "asks for a pong with the same payload [RFC 6455 §5.5.2]"),
        Some(Opcode::Pong) => row("Pong", "answers a ping of this payload, or comes unasked [RFC 6455 §5.5.3]"),
        _ if frame.part_of == Some(MessageKind::Text) && !frame.compressed => utf8(frame),
        _ => String::new(),
    }
}

fn close(payload: &[u8]) -> String {
    let what = match (payload, CloseFrame::decode(payload)) {
        ([], _) => "without a code; the application is told 1005 [RFC 6455 §7.1.5]".to_owned(),
        ([high, low, rest @ ..], decoded) => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            let mut what = format!("{} = code {code}: {}", hex(&payload[..2]), code_meaning(code));
            if !rest.is_empty() {
                let _ = write!(what, "; the reason: {}", shown(rest, TEXT));
            } else if decoded.is_ok() {
                what.push_str("; no reason");
            }
            what
        }
        _ => "one byte, which is half a code".to_owned(),
    };
    row("Close", &what)
}

/// What a close code stands for [RFC 6455 §7.4].
fn code_meaning(code: CloseCode) -> &'static str {
    match code.0 {
        0..=999 => "below 1000 there are none",
        1000 => "the purpose of the connection is fulfilled",
        1001 => "the endpoint goes away",
        1002 => "the peer broke the protocol",
        1003 => "a kind of data that is not accepted",
        1005 => "stands for a Close without a code, and is never sent",
        1006 => "stands for an end without a Close, and is never sent",
        1007 => "data that is not what its type says",
        1008 => "a policy is violated",
        1009 => "a message is too big",
        1010 => "the server lacks an extension that the client needs",
        1011 => "the endpoint met an unexpected condition",
        1012 => "the server restarts",
        1013 => "the server is overloaded; try again later",
        1014 => "a gateway got a bad answer",
        1015 => "stands for a failed TLS handshake, and is never sent",
        1004 | 1016..=2999 => "reserved, and means nothing yet",
        3000..=3999 => "registered with IANA by a library or framework",
        4000..=4999 => "private: the application's own",
        5000.. => "above 4999 there are none",
    }
}

/// A text frame as the validator sees it: what the frame before left over, and what this one leaves to the next.
fn utf8(frame: &Frame) -> String {
    let mut out = String::new();
    let mut say = |what: &str| out.push_str(&row("UTF-8", what));
    let plain = frame.unmasked();
    let before = frame.utf8_before.len();
    let text = [&frame.utf8_before[..], &plain].concat();
    // The character that the frame before began.
    let first = if before > 0 { expected_len(text[0]).min(text.len()) } else { 0 };
    if before > 0 {
        let own = &text[before.min(first)..first];
        let begun = format!("{} was left over by the frame before", hex(&frame.utf8_before));
        match std::str::from_utf8(&text[..first]) {
            Ok(character) => say(&format!("{begun}; {} makes it {}", hex(own), named(character))),
            Err(error) if error.error_len().is_none() && own.is_empty() => {
                say(&format!("{begun}, and is still pending"));
            }
            Err(error) if error.error_len().is_none() => {
                say(&format!("{begun}; {} is not the end of the character yet", hex(own)));
            }
            Err(_) => say(&format!("{begun}, and {} cannot follow it", hex(&own[..own.len().min(1)]))),
        }
    }
    let (valid, fault) = match std::str::from_utf8(&text) {
        Ok(_) => (text.len(), None),
        Err(error) => (error.valid_up_to(), Some(error.error_len())),
    };
    if valid > first {
        let what = &text[first..valid];
        let characters = std::str::from_utf8(what).map_or(0, |text| text.chars().count());
        say(&format!("{}: {}", shown(what, TEXT - 16), count(characters as u64, "character")));
    } else if text.is_empty() && frame.is_complete() {
        say("no bytes, no characters");
    }
    match fault {
        // What is there is the beginning of a character.
        Some(None) if frame.is_kept() => {
            let pending = &text[valid..];
            let missing = expected_len(pending[0]) - pending.len();
            let end = match (frame.is_complete(), frame.header.fin()) {
                (false, _) => "the rest of the frame has not come",
                (true, false) => "the next frame has to finish it",
                (true, true) => "but the message ends here, so it is not valid UTF-8",
            };
            let begins =
                format!("{} pending: the character wants {} more", hex(pending), count(missing as u64, "byte"));
            say(&format!("{begins}; {end}"));
        }
        None | Some(None) => {}
        Some(Some(_)) => {
            let at = valid.saturating_sub(before);
            say(&format!("from byte {at} of the payload on it is not valid: {}", why(&text[valid..])));
        }
    }
    out
}

/// How many bytes a character has that begins with this one, if any does.
const fn expected_len(first: u8) -> usize {
    match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}

/// Why these bytes begin no character [RFC 3629 §4].
fn why(bytes: &[u8]) -> String {
    let [first, rest @ ..] = bytes else { return String::new() };
    let second = rest.first();
    match (first, second) {
        (0x80..=0xBF, _) => format!("{first:02x} only continues a character, and there is none to continue"),
        (0xC0 | 0xC1, _) => format!("{first:02x} would begin a longer form than the character needs"),
        (0xF5..=0xF7, _) => format!("{first:02x} would begin a character above U+10FFFF"),
        (0xF8..=0xFF, _) => format!("{first:02x} stands in no UTF-8 at all"),
        (0xE0, Some(0x80..=0x9F)) | (0xF0, Some(0x80..=0x8F)) => {
            format!("{} would begin a longer form than the character needs", hex(&bytes[..2]))
        }
        (0xED, Some(0xA0..=0xBF)) => {
            format!("{} would begin a surrogate, which is half a character of UTF-16", hex(&bytes[..2]))
        }
        (0xF4, Some(0x90..=0xBF)) => format!("{} would begin a character above U+10FFFF", hex(&bytes[..2])),
        _ => {
            let good = 1 + rest.iter().take_while(|byte| matches!(byte, 0x80..=0xBF)).count();
            let wrong = bytes.get(good).map_or_else(String::new, |byte| format!(" before {byte:02x}"));
            format!(
                "{} wants {} in all, and breaks off{wrong}",
                hex(&bytes[..good]),
                count(expected_len(*first) as u64, "byte")
            )
        }
    }
}

/// A character with its number.
fn named(character: &str) -> String {
    let number = character.chars().next().map_or(0, u32::from);
    format!("U+{number:04X} {}", shown(character.as_bytes(), 12))
}
