//! Which [`Kind`] of data bytes are, and what each kind is in JSON.
//!
//! JSON that enters here is one value on one line, not nested beyond [`MAX_DEPTH`]: what one client publishes is within
//! what the parsers of the others take.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

use crate::push::{Data, Kind};

/// Arrays and objects within each other. What is wrapped around them on the way out stays below the 128 that some parsers
/// take.
pub(super) const MAX_DEPTH: usize = 100;

/// JSON text as data: verbatim, but on one line. An escape such as `\ud800`, half a character, is as good as any to the
/// grammar, and stays [RFC 8259 §8.2]. `None` if it is no JSON value, or nested too deeply.
pub(super) fn of_json(text: &[u8]) -> Option<Data> {
    let text = text.trim_ascii();
    let line = on_one_line(text)?;
    check(text)?;
    Some(Data::new(Kind::Json, &line))
}

/// A JSON value that has been checked, on one line. `None` if it is nested too deeply.
pub(super) fn on_one_line(json: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !scan(json)? {
        return Some(Cow::Borrowed(json));
    }
    // Strings have none in JSON, so each line break is blank space.
    let line = json.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
    Some(Cow::Owned(line.collect()))
}

/// Bytes of a publisher that does not say what they are: JSON if they are it, otherwise text if they are UTF-8. They stay
/// as they are, except for line breaks in a JSON document.
pub(super) fn of_bytes(bytes: &[u8]) -> Data {
    let is_document = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    match on_one_line(bytes) {
        Some(line) if (is_document || line == bytes) && check(bytes).is_some() => Data::new(Kind::Json, &line),
        _ if simdutf8::basic::from_utf8(bytes).is_ok() => Data::new(Kind::Text, bytes),
        _ => Data::new(Kind::Binary, bytes),
    }
}

/// Text that has to arrive byte for byte: JSON if it is an object or an array on one line, otherwise text.
pub(super) fn of_text(text: &str) -> Data {
    let bytes = text.as_bytes();
    let is_document = matches!((bytes.first(), bytes.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')));
    let is_json = is_document && scan(bytes) == Some(false) && check(bytes).is_some();
    Data::new(if is_json { Kind::Json } else { Kind::Text }, bytes)
}

/// Appends data as a JSON value: JSON as it is, text as a string, other bytes as a string of base64.
pub(super) fn write_json(data: &Data, out: &mut Vec<u8>) {
    match data.kind {
        Kind::Json => out.extend_from_slice(&data.bytes),
        Kind::Text => write_json_string(&String::from_utf8_lossy(&data.bytes), out),
        Kind::Binary => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(&data.bytes).as_bytes());
            out.push(b'"');
        }
    }
}

/// Appends a JSON string.
pub(super) fn write_json_string(text: &str, out: &mut Vec<u8>) {
    // A `Vec` takes all that is written, and a `str` is always a JSON string.
    let _ = serde_json::to_writer(out, text);
}

/// `Some` if this is one JSON value.
fn check(text: &[u8]) -> Option<IgnoredAny> {
    // What is ignored is not looked at as UTF-8.
    serde_json::from_str(simdutf8::basic::from_utf8(text).ok()?).ok()
}

/// Whether there is a line break in what may be JSON; `None` if it is nested too deeply to be taken.
fn scan(text: &[u8]) -> Option<bool> {
    let (mut depth, mut breaks, mut in_string, mut escaped) = (0_usize, false, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return None;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'\n' | b'\r' => breaks = true,
            _ => {}
        }
    }
    Some(breaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_taken_whole_and_on_one_line() {
        let rows = [
            ("{\"a\":1}", Some("{\"a\":1}")),
            ("\n\t {\r\n \"a\": \"\\n\" }\n", Some("{   \"a\": \"\\n\" }")),
            ("0", Some("0")),
            ("\"\"", Some("\"\"")),
            (r#"{"a":"\ud800","\udc00":1}"#, Some(r#"{"a":"\ud800","\udc00":1}"#)),
            (r#""\u12g4""#, None),
            ("", None),
            ("  ", None),
            ("{} {}", None),
            ("{\"a\":1,}", None),
            ("\"a\nb\"", None),
            ("'a'", None),
            ("NaN", None),
        ];
        for (text, expected) in rows {
            assert_eq!(of_json(text.as_bytes()), expected.map(Data::json), "{text:?}");
        }
        assert_eq!(of_json(b"\"\xff\""), None, "no UTF-8");
    }

    #[test]
    fn bytes_stay_as_they_are_but_for_line_breaks_in_documents() {
        let rows: [(&[u8], Kind, &[u8]); 9] = [
            (b"{\"a\": 1}", Kind::Json, b"{\"a\": 1}"),
            (b"{\n\"a\": 1\r\n}\n", Kind::Json, b"{ \"a\": 1  } "),
            (b" [1]", Kind::Json, b" [1]"),
            (b"42 ", Kind::Json, b"42 "),
            (b"42\n", Kind::Text, b"42\n"),
            (b"{a}", Kind::Text, b"{a}"),
            (b"", Kind::Text, b""),
            (b"{\"a\": \"\xff\"}", Kind::Binary, b"{\"a\": \"\xff\"}"),
            (b"\xff", Kind::Binary, b"\xff"),
        ];
        for (bytes, kind, kept) in rows {
            assert_eq!(of_bytes(bytes), Data::new(kind, kept), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn text_that_arrives_byte_for_byte_is_json_only_as_a_document_on_one_line() {
        let rows = [
            ("{\"a\": [1]}", Kind::Json),
            ("[]", Kind::Json),
            ("1", Kind::Text),
            ("\"x\"", Kind::Text),
            (" {}", Kind::Text),
            ("{}\n", Kind::Text),
            ("{\n}", Kind::Text),
            ("{\"a\"}", Kind::Text),
            ("[}", Kind::Text),
            ("", Kind::Text),
            ("hello", Kind::Text),
        ];
        for (text, kind) in rows {
            assert_eq!(of_text(text), Data::new(kind, text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn each_kind_is_a_json_value() {
        let rows = [
            (Data::json("{\"a\":1}"), "{\"a\":1}"),
            (Data::new(Kind::Text, "a\n\"é\"".as_bytes()), "\"a\\n\\\"é\\\"\""),
            (Data::new(Kind::Binary, b"\x00\xff\xfe"), "\"AP/+\""),
            (Data::new(Kind::Binary, b""), "\"\""),
        ];
        for (data, expected) in rows {
            let mut out = Vec::new();
            write_json(&data, &mut out);
            assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
        }
    }
}
