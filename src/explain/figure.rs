//! A frame drawn as RFC 6455 §5.2 draws it, with this frame's bits in it; and beneath, what each byte is.

use std::fmt::Write as _;

use super::frame::{Frame, LengthForm, RawHeader};
use super::text::{count, hex, wrap};
use crate::wire::Opcode;

/// Bits in a row.
const ROW: usize = 32;

/// How much of the payload is drawn at most, behind what fills the row in which it begins, in bytes: a row's.
const DRAWN: u64 = 4;

/// The figure: the rows that this frame's header has, and the beginning of its payload.
pub(super) fn figure(frame: &Frame) -> String {
    let fields = fields(frame);
    let bits: Vec<bool> =
        drawn(frame).iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).collect();
    let mut out = ruler(bits.len().min(ROW));
    let mut above = String::new();
    for (row, row_bits) in bits.chunks(ROW).enumerate() {
        let cells = cells(&fields, row * ROW, row_bits.len());
        let border = border(&cells);
        push_line(&mut out, &merged(&above, &border));
        let lines = cells.iter().map(|cell| cell.label.len()).max().unwrap_or(0);
        for line in 0..lines {
            let texts = cells.iter().map(|cell| centred(cell.label.get(line).map_or("", String::as_str), cell.bits));
            push_line(&mut out, &format!("|{}|", texts.collect::<Vec<_>>().join("|")));
        }
        let mut at = 0;
        let digits = cells.iter().map(|cell| {
            let digits: Vec<_> = row_bits[at..at + cell.bits].iter().map(|bit| if *bit { "1" } else { "0" }).collect();
            at += cell.bits;
            digits.join(" ")
        });
        push_line(&mut out, &format!("|{}|", digits.collect::<Vec<_>>().join("|")));
        above = border;
    }
    let begun = (drawn(frame).len() - frame.header.bytes().len()) as u64;
    let more = frame.header.payload_len() - begun;
    if more == 0 {
        push_line(&mut out, &above);
    } else {
        let whole = format!("+{}+", "-".repeat(2 * ROW - 1));
        push_line(&mut out, &merged(&above, &whole));
        let continued = if begun > 0 { " continued" } else { "" };
        let what = format!("Payload Data{continued}: {}", count(more, "byte"));
        push_line(&mut out, &format!(":{}:", centred(&what, ROW)));
        push_line(&mut out, &whole);
    }
    out
}

/// Beneath the figure: each part's offset in what its sender sent, its bytes, and what they say.
pub(super) fn bytes(frame: &Frame) -> String {
    let header = &frame.header;
    let all = header.bytes();
    let mut out = String::from("  offset  bytes\n");
    let mut row = |at: usize, bytes: &str, what: &str| {
        let first = format!("{:>8}  {bytes:<23}  ", frame.offset + at as u64);
        out.push_str(&wrap(what, &first, &" ".repeat(35)));
    };
    row(0, &hex(&all[..1]), &first_byte(header));
    let mask = if header.masked() { "MASK" } else { "no MASK" };
    let length = match header.length_form() {
        LengthForm::SevenBits => format!("length {}", header.short_len()),
        LengthForm::SixteenBits => "126: the next 2 bytes are the length".to_owned(),
        LengthForm::SixtyFourBits => "127: the next 8 bytes are the length".to_owned(),
    };
    row(1, &hex(&all[1..2]), &format!("{mask}; {length}"));
    let extended = header.length_form().extended_len();
    if extended > 0 {
        row(2, &hex(&all[2..2 + extended]), &format!("length {}", header.payload_len()));
    }
    if header.masked() {
        row(2 + extended, &hex(&all[2 + extended..]), "masking key");
    }
    if header.payload_len() > 0 {
        let start = &frame.payload[..frame.payload.len().min(7)];
        let more = if (start.len() as u64) < header.payload_len() { " …" } else { "" };
        let masked = if header.masked() { ", masked" } else { "" };
        let mut what = format!("payload, {}{masked}", count(header.payload_len(), "byte"));
        if !frame.is_complete() {
            let _ = write!(what, ", of which {} came", frame.received);
        }
        row(all.len(), (hex(start) + more).trim_start(), &what);
    }
    out
}

/// Which form the length stands in and why, in a sentence [RFC 6455 §5.2].
pub(super) fn length(header: &RawHeader) -> String {
    let len = header.payload_len();
    let (fits, needs) = match len {
        0..=125 => (LengthForm::SevenBits, format!("{len} fits in 7 bits (up to 125)")),
        126..=65_535 => {
            (LengthForm::SixteenBits, format!("{len} needs more than 7 bits (over 125) and fits in 16 (up to 65535)"))
        }
        65_536.. => (LengthForm::SixtyFourBits, format!("{len} needs more than 16 bits (over 65535)")),
    };
    if len >> 63 != 0 {
        return "the most significant bit of the 64 is 1, which it never is: no length reaches 2⁶³".to_owned();
    }
    let form = header.length_form();
    if form == fits {
        let stands = match form {
            LengthForm::SevenBits => "it stands in the second byte itself",
            LengthForm::SixteenBits => "the second byte says 126, and two bytes follow",
            LengthForm::SixtyFourBits => "the second byte says 127, and eight bytes follow",
        };
        return format!("{needs}: {stands}");
    }
    let stands = if form == LengthForm::SixteenBits { 16 } else { 64 };
    let mask = header.bytes()[1] & 0x80;
    let (fewer, right) = match fits {
        LengthForm::SevenBits => (7, vec![mask | len as u8]),
        _ => (16, [&[mask | 0x7E][..], &(len as u16).to_be_bytes()].concat()),
    };
    let behind = hex(&header.bytes()[1..2 + form.extended_len()]);
    format!("{len} stands in {stands} bits and fits in {fewer}: {behind} should have been {}", hex(&right))
}

/// The header's bytes, and those of the payload that are drawn.
fn drawn(frame: &Frame) -> Vec<u8> {
    let header = frame.header.bytes();
    // To the end of the row in which it begins; the rest if that is not more than a row, too.
    let row = (ROW / 8) as u64;
    let first = row - header.len() as u64 % row;
    let len = frame.header.payload_len();
    let wanted = if len <= first + DRAWN { len } else { first };
    let payload = &frame.payload[..frame.payload.len().min(wanted as usize)];
    [header, payload].concat()
}

/// A field of the figure: how many bits it has, and what stands above them in its first row and in the next.
struct Field {
    bits: usize,
    label: Vec<String>,
    continued: &'static str,
}

fn fields(frame: &Frame) -> Vec<Field> {
    let header = &frame.header;
    let field = |bits, label: &[&str], continued| {
        let label = label.iter().map(|line| (*line).to_owned()).collect();
        Field { bits, label, continued }
    };
    let mut fields = vec![field(1, &["F", "I", "N"], "")];
    fields.extend(["1", "2", "3"].map(|number| field(1, &["R", "S", "V", number], "")));
    let number = format!("%x{:X}", header.opcode_bits());
    fields.push(field(4, &[" opcode", "(4)", &number, short_name(header)], ""));
    fields.push(field(1, &["M", "A", "S", "K"], ""));
    let short = header.short_len().to_string();
    let extended = match header.length_form() {
        LengthForm::SevenBits => "",
        LengthForm::SixteenBits => "16 bits more",
        LengthForm::SixtyFourBits => "64 bits more",
    };
    fields.push(field(7, &["Payload len", "(7)", &short, extended], ""));
    let len = header.payload_len().to_string();
    match header.length_form() {
        LengthForm::SevenBits => {}
        LengthForm::SixteenBits => fields.push(field(16, &["Extended payload length", "(16)", &len], "")),
        LengthForm::SixtyFourBits => {
            let continued = "Extended payload length (continued)";
            fields.push(field(64, &["Extended payload length", "(64)", &len], continued));
        }
    }
    if let Some(key) = header.masking_key() {
        fields.push(field(32, &["Masking-key", "(32)", &hex(&key.0)], "Masking-key (continued)"));
    }
    let name = if header.masked() { "Payload Data (masked)" } else { "Payload Data" };
    let bytes = count(header.payload_len(), "byte");
    fields.push(field(usize::MAX, &[name, &bytes], "Payload Data (continued)"));
    fields
}

/// A part of a field that stands in one row.
struct Cell {
    bits: usize,
    label: Vec<String>,
}

/// The cells of the row of `len` bits that begins at bit `start`.
fn cells(fields: &[Field], start: usize, len: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut at = 0_usize;
    for field in fields {
        let end = at.saturating_add(field.bits);
        let (from, to) = (at.max(start), end.min(start + len));
        if from < to {
            let is_first = from == at;
            let mut label = if is_first { field.label.clone() } else { vec![field.continued.to_owned()] };
            // Only the first row is high enough for more, or has to be.
            if start > 0 && label.len() > 1 {
                label.truncate(1);
            }
            // A part too narrow for its label has none.
            let room = 2 * (to - from) - 1;
            label.iter_mut().filter(|line| line.len() > room).for_each(String::clear);
            cells.push(Cell { bits: to - from, label });
        }
        at = end;
    }
    cells
}

/// The line above a row: a corner wherever a cell begins or ends.
fn border(cells: &[Cell]) -> String {
    let dashes: Vec<_> = cells.iter().map(|cell| "-".repeat(2 * cell.bits - 1)).collect();
    format!("+{}+", dashes.join("+"))
}

/// The line between two rows, with the corners of both.
fn merged(above: &str, below: &str) -> String {
    let (above, below) = (above.as_bytes(), below.as_bytes());
    (0..above.len().max(below.len()))
        .map(|at| if above.get(at) == Some(&b'+') || below.get(at) == Some(&b'+') { '+' } else { '-' })
        .collect()
}

/// The numbers of the bits, in two lines as in the RFC.
fn ruler(bits: usize) -> String {
    let (mut tens, mut ones) = (String::new(), String::new());
    for bit in 0..bits {
        let _ = write!(tens, " {}", if bit % 10 == 0 { (bit / 10).to_string() } else { " ".to_owned() });
        let _ = write!(ones, " {}", bit % 10);
    }
    let mut out = String::new();
    push_line(&mut out, tens.trim_end());
    push_line(&mut out, &ones);
    out
}

fn push_line(out: &mut String, line: &str) {
    let _ = writeln!(out, "    {line}");
}

/// `text` in the middle of a cell of so many bits.
fn centred(text: &str, bits: usize) -> String {
    format!("{text:^width$}", width = 2 * bits - 1)
}

/// An opcode in at most seven letters.
fn short_name(header: &RawHeader) -> &'static str {
    match header.opcode() {
        Some(Opcode::Continuation) => "cont.",
        Some(Opcode::Text) => "text",
        Some(Opcode::Binary) => "binary",
        Some(Opcode::Close) => "close",
        Some(Opcode::Ping) => "ping",
        Some(Opcode::Pong) => "pong",
        None => "?",
    }
}

fn first_byte(header: &RawHeader) -> String {
    let is_control = header.opcode_bits() & 0x8 != 0;
    let fin = match (header.fin(), is_control) {
        (true, true) => "FIN",
        (true, false) => "FIN: the message ends",
        (false, _) => "no FIN: more follows",
    };
    let mut out = fin.to_owned();
    for bit in 1..=3 {
        if header.rsv(bit) {
            let _ = write!(out, "; RSV{bit}");
        }
    }
    let name = header.opcode().map_or_else(|| "reserved".to_owned(), |opcode| opcode.to_string());
    let _ = write!(out, "; opcode {}: {name}", header.opcode_bits());
    out
}
