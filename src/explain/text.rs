//! What everything that is explained is written with: lines of at most 80 columns, hexadecimal, a peer's text made harmless.

use std::fmt::Write as _;

/// The widest line, in columns.
pub(super) const WIDTH: usize = 80;

/// `text` in lines of at most 80 columns, the first behind `first`, the others behind `rest`; each ends with a line feed.
///
/// Lines break at spaces. A word that is too long for a line breaks behind `::`, `/`, `;` or `,` if it can, else anywhere.
pub fn wrap(text: &str, first: &str, rest: &str) -> String {
    // A section stays in one piece.
    let text = text.replace("RFC ", "RFC\u{a0}").replace(" §", "\u{a0}§");
    let mut out = String::new();
    let mut line = first.to_owned();
    let mut room = WIDTH.saturating_sub(columns(first)).max(1);
    let mut is_empty = true;
    for mut word in text.split(' ') {
        loop {
            let space = usize::from(!is_empty);
            if columns(word) + space <= room {
                line.extend((!is_empty).then_some(' '));
                line.push_str(word);
                room -= columns(word) + space;
                is_empty = false;
                break;
            }
            if is_empty {
                let (start, end) = word.split_at(cut(word, room));
                line.push_str(start);
                word = end;
            }
            out.push_str(line.trim_end());
            out.push('\n');
            rest.clone_into(&mut line);
            room = WIDTH.saturating_sub(columns(rest)).max(1);
            is_empty = true;
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out.replace('\u{a0}', " ")
}

/// Where to break a word so that what comes before has at most so many columns, and at least one character.
fn cut(word: &str, room: usize) -> usize {
    let mut used = 0;
    let mut fits = 0;
    let mut nice = 0;
    for (at, character) in word.char_indices() {
        used += width_of(character);
        if used > room && at > 0 {
            break;
        }
        fits = at + character.len_utf8();
        if matches!(character, '/' | ';' | ',') || word[..fits].ends_with("::") {
            nice = fits;
        }
    }
    if nice > 0 { nice } else { fits }
}

/// How many columns a terminal gives to `text`.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Two for what East Asian scripts and pictures take, else one.
fn width_of(character: char) -> usize {
    let is_wide = matches!(u32::from(character),
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60
        | 0x1F000..=0x1FAFF | 0x20000..=0x3FFFD);
    if is_wide { 2 } else { 1 }
}

/// Bytes in hexadecimal, two digits each, with spaces between.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(3 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{}{byte:02x}", if out.is_empty() { "" } else { " " });
    }
    out
}

/// The beginning of a payload in at most so many columns: as text if it is text, otherwise in hexadecimal; with an
/// ellipsis if that is not all.
pub(super) fn shown(payload: &[u8], most: usize) -> String {
    let text = match std::str::from_utf8(payload) {
        Ok(text) => Some(text),
        // Cut inside a character by what is kept.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&payload[..error.valid_up_to()]).ok(),
        Err(_) => None,
    };
    let (shown, is_all) = if let Some(text) = text {
        let (start, used) = quoted(text, most.saturating_sub(1));
        (start, used == payload.len())
    } else {
        let count = payload.len().min(most / 3);
        (hex(&payload[..count]), count == payload.len())
    };
    if is_all { shown } else { shown + "…" }
}

/// The beginning of `text` in quotes and at most so many columns, and how many bytes of it that is.
fn quoted(text: &str, most: usize) -> (String, usize) {
    let mut out = String::from('"');
    let mut used = 0;
    for character in text.chars() {
        let escaped: String = match character {
            '\'' => "'".to_owned(),
            character => character.escape_debug().collect(),
        };
        if columns(&out) + columns(&escaped) + 1 > most {
            break;
        }
        out.push_str(&escaped);
        used += character.len_utf8();
    }
    out.push('"');
    (out, used)
}

/// `text` with whatever a peer could use to drive a terminal, or to turn its letters around, made visible.
pub(super) fn printable(text: &str) -> String {
    let escaped = |character: char| match character {
        '"' | '\'' | '\\' => character.to_string(),
        character => character.escape_debug().collect(),
    };
    text.chars().map(escaped).collect()
}

/// "1 byte", "2 bytes".
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_eighty_columns() {
        let long = "x".repeat(200);
        let rows = [
            ("a few words", "- a few words\n".to_owned()),
            ("", "-\n".to_owned()),
            (&long, format!("- {}\n  {}\n  {}\n", &long[..78], &long[..78], &long[..44])),
        ];
        for (text, expected) in rows {
            assert_eq!(wrap(text, "- ", "  "), expected);
        }
        let path = format!("tests/{}.rs::{}", "a".repeat(40), "b".repeat(60));
        assert_eq!(wrap(&path, "", " "), format!("tests/{}.rs::\n {}\n", "a".repeat(40), "b".repeat(60)));
        for text in ["字".repeat(100), "a b ".repeat(100), "é".repeat(100)] {
            let wrapped = wrap(&text, "    ", "  ");
            assert!(wrapped.lines().all(|line| columns(line) <= WIDTH), "{wrapped}");
            assert_eq!(wrapped.replace(['\n', ' '], ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn what_a_peer_sent_is_shown_short_and_harmless() {
        assert_eq!(shown(b"Hello", 40), "\"Hello\"");
        assert_eq!(shown(b"\x1b[31m\n", 40), "\"\\u{1b}[31m\\n\"");
        assert_eq!(shown(b"\xff\x00", 40), "ff 00");
        assert_eq!(shown(&[0xff; 100], 9), "ff ff ff…");
        assert_eq!(shown(&[7; 100], 20), "\"\\u{7}\\u{7}\\u{7}\"…");
        assert_eq!(shown("字".repeat(9).as_bytes(), 10), "\"字字字\"…");
        assert_eq!(printable("a\u{202e}\u{9b}\"b"), "a\\u{202e}\\u{9b}\"b");
    }
}
