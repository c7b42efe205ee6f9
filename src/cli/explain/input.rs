//! What is to be explained: read in whatever form it comes, and taken apart into heads and frames.

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use loopwire::Role;

use super::super::{Exit, Failure};

/// A piece of input, as bytes.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) bytes: Vec<u8>,
    pub(super) is_file: bool,
}

/// A part of a piece of input, and who sent it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'b> {
    Head(Role, &'b [u8]),
    Frames(Role, &'b [u8]),
}

/// Reads all pieces: arguments first, then files; standard input if there is neither.
pub(super) fn read(arguments: &[String], files: &[PathBuf], base64: bool) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    // Written without quotes, the bytes of one piece are arguments of their own.
    let joined = [arguments.join(" ")];
    let is_hex = !base64 && arguments.len() > 1 && arguments.iter().all(|argument| looks_like_hex(argument));
    for argument in if is_hex { &joined[..] } else { arguments } {
        if argument == "-" {
            sources.push(Source { bytes: standard_input(base64)?, is_file: true });
            continue;
        }
        let bytes = if base64 { from_base64(argument) } else { from_argument(argument) };
        let bytes =
            bytes.map_err(|what| Failure::new(Exit::Usage, format!("cannot read {}: {what}", short(argument))))?;
        sources.push(Source { bytes, is_file: false });
    }
    for path in files {
        let fail = |what: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("cannot read {}: {what}", path.display()))
        };
        let bytes = fs::read(path).map_err(|error| fail(&error))?;
        sources.push(Source { bytes: from_file(bytes, base64).map_err(|what| fail(&what))?, is_file: true });
    }
    if sources.is_empty() && !io::stdin().is_terminal() {
        sources.push(Source { bytes: standard_input(base64)?, is_file: true });
    }
    if sources.iter().all(|source| source.bytes.is_empty()) {
        let exit = if sources.iter().any(|source| source.is_file) { Exit::Failed } else { Exit::Usage };
        return Err(Failure::new(
            exit,
            "there are no bytes to explain: give them as an argument, by --file or on standard input",
        ));
    }
    Ok(sources)
}

fn standard_input(base64: bool) -> Result<Vec<u8>, Failure> {
    let fail = |what: &dyn std::fmt::Display| Failure::new(Exit::Failed, format!("cannot read standard input: {what}"));
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(|error| fail(&error))?;
    from_file(bytes, base64).map_err(|what| fail(&what))
}

/// The heads at the beginning of a piece, and the frames behind them.
pub(super) fn parts(source: &Source, from: Option<Role>) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = &source.bytes[..];
    while let Some(role) = head_of(rest) {
        // What follows a refusal is its body.
        let is_refusal =
            role == Role::Server && rest.get(8..13).is_some_and(|status| status != b" 101 " && status != b" 101\r");
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").filter(|_| !is_refusal);
        let (head, behind) = rest.split_at(end.map_or(rest.len(), |end| end + 4));
        parts.push(Part::Head(role, head));
        rest = behind;
    }
    if !rest.is_empty() {
        let is_masked = rest.get(1).is_some_and(|second| second & 0x80 != 0);
        let guessed = if is_masked { Role::Client } else { Role::Server };
        parts.push(Part::Frames(from.unwrap_or(guessed), rest));
    }
    parts
}

/// Who sent the head that begins here, if one does.
fn head_of(bytes: &[u8]) -> Option<Role> {
    if bytes.starts_with(b"HTTP/") {
        return Some(Role::Server);
    }
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let word = line.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let is_request = word > 0 && line.get(word) == Some(&b' ') && line.windows(6).any(|part| part == b" HTTP/");
    is_request.then_some(Role::Client)
}

/// An argument in hexadecimal, in base64, or as text with escapes in it.
fn from_argument(text: &str) -> Result<Vec<u8>, String> {
    if looks_like_hex(text) {
        return from_hex(text);
    }
    if head_of(text.as_bytes()).is_some() || text.contains('\\') {
        return unescape(text);
    }
    if let Some(bytes) = guessed_base64(text) {
        return Ok(bytes);
    }
    match no_hex(text) {
        Some((at, character)) => Err(format!(
            "{character:?}, its character {at}, is no hexadecimal digit; if it is base64, say so by --base64"
        )),
        None => from_hex(text),
    }
}

/// A file's bytes as they are, unless they are hexadecimal or base64 written out. Frames are never text alone: that would
/// have control characters.
fn from_file(bytes: Vec<u8>, base64: bool) -> Result<Vec<u8>, String> {
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) if base64 => return from_base64(text),
        Err(_) if base64 => return Err("it is not base64".to_owned()),
        Ok(text) if looks_like_hex(text) => return from_hex(text),
        Ok(text) if head_of(&bytes).is_none() && is_printable(text) => text.trim_ascii(),
        _ => return Ok(bytes),
    };
    if text.starts_with("\\x") {
        return unescape(text);
    }
    if let Some(bytes) = guessed_base64(text) {
        return Ok(bytes);
    }
    match no_hex(text) {
        Some((at, character)) => Err(format!(
            "it is text, and neither an HTTP head, base64 nor hexadecimal ({character:?}, its character {at}): \
             write the bytes in hexadecimal alone, as xxd -p does, or in base64 and say so by --base64"
        )),
        None => from_hex(text),
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// What is base64, and not mistyped hexadecimal. Bytes in base64 are digits and the letters up to F only in a third of its
/// places; and nobody writes it with spaces.
fn guessed_base64(text: &str) -> Option<Vec<u8>> {
    let others = text.bytes().filter(|byte| !byte.is_ascii_hexdigit()).count();
    let is_guessed = (text.ends_with('=') || others * 4 > text.len()) && !text.contains(' ');
    if is_guessed { from_base64(text).ok() } else { None }
}

/// The first character that does not stand in hexadecimal, and which it is, from 1.
fn no_hex(text: &str) -> Option<(usize, char)> {
    let is_hex = |character: char| character.is_ascii_hexdigit() || is_separator(character);
    (1..).zip(text.chars()).find(|(_, character)| !is_hex(*character))
}

fn is_separator(character: char) -> bool {
    character.is_ascii_whitespace() || matches!(character, ',' | ':' | ';' | '-' | '_')
}

/// The text without what only says that it is hexadecimal.
fn without_prefixes(text: &str) -> String {
    text.replace("\\x", " ").replace("0x", " ").replace("0X", " ")
}

fn looks_like_hex(text: &str) -> bool {
    let has_escapes = text.contains("\\x");
    let text = without_prefixes(text);
    // Behind \x come two digits; what else there is stands for itself.
    let is_escaped = has_escapes && text.split(is_separator).any(|word| !matches!(word.len(), 0 | 2));
    !is_escaped
        && text.chars().any(|character| character.is_ascii_hexdigit())
        && text.chars().all(|character| character.is_ascii_hexdigit() || is_separator(character))
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let has_prefixes = text.contains("0x") || text.contains("0X");
    let mut bytes = Vec::new();
    for word in without_prefixes(text).split(is_separator).filter(|word| !word.is_empty()) {
        // 0x5 is a byte, 5 is half of one.
        let padded = if has_prefixes && word.len() == 1 { format!("0{word}") } else { word.to_owned() };
        if padded.len() % 2 != 0 {
            let digits = if word.len() == 1 { "digit" } else { "digits" };
            return Err(format!("{} has {} hexadecimal {digits}, and a byte has two", short(word), word.len()));
        }
        for at in (0..padded.len()).step_by(2) {
            bytes.push(u8::from_str_radix(&padded[at..at + 2], 16).map_err(|error| error.to_string())?);
        }
    }
    Ok(bytes)
}

/// Base64 in either alphabet, with or without padding; white space is passed over.
fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    let text: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = GeneralPurpose::new(&alphabet, config).decode(&text);
    decoded.map_err(|error| match error {
        // All before it are letters, of a byte each.
        DecodeError::InvalidByte(at, byte) if byte != b'=' => {
            let wrong = text.chars().nth(at).unwrap_or_default();
            format!("it is not base64: {wrong:?}, its character {}, is none of its letters", at + 1)
        }
        _ => "it is not base64: it is cut off, or wrong at its end".to_owned(),
    })
}

/// Text in which `\x81`, `\r`, `\n`, `\t`, `\0` and `\\` stand for bytes.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match characters.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('0') => bytes.push(0),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let digits: String = characters.by_ref().take(2).collect();
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 2);
                bytes.push(byte.ok_or_else(|| format!("\\x{digits} is not followed by two hexadecimal digits"))?);
            }
            other => {
                let other = other.map_or_else(String::new, |character| character.to_string());
                return Err(format!("\\{other} is no escape: there are \\x81, \\r, \\n, \\t, \\0 and \\\\"));
            }
        }
    }
    Ok(bytes)
}

/// The beginning of an argument, in quotes.
fn short(text: &str) -> String {
    const MOST: usize = 24;
    let start: String = text.chars().take(MOST).collect();
    if start.len() == text.len() { format!("{text:?}") } else { format!("{start:?}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_the_forms_that_people_have_them_in() {
        let hello = b"\x81\x05Hello";
        for text in [
            "810548656c6c6f",
            "810548656C6C6F",
            "81 05 48 65 6c 6c 6f",
            "81:05:48:65:6c:6c:6f",
            "0x81,0x5,0x48, 0x65 0x6c 0x6c 0x6f",
            "0x810548656c6c6f",
            "8105 4865 6c6c 6f\n",
            "\\x81\\x05\\x48\\x65\\x6c\\x6c\\x6f",
            "\\x81 \\x05 \\x48 \\x65 \\x6c \\x6c \\x6f",
            "\\x81\\x05Hello",
            "gQVIZWxsbw==",
            "gQVIZWxsbw",
        ] {
            assert_eq!(from_argument(text).as_deref(), Ok(&hello[..]), "{text:?}");
        }
        assert_eq!(from_argument("GET / HTTP/1.1\\r\\n\\r\\n").as_deref(), Ok(&b"GET / HTTP/1.1\r\n\r\n"[..]));
        assert_eq!(from_file(hello.to_vec(), false).as_deref(), Ok(&hello[..]));
        assert_eq!(from_file(b"81 05\n48656c6c6f\n".to_vec(), false).as_deref(), Ok(&hello[..]));
        for base64 in [false, true] {
            assert_eq!(from_file(b"gQVIZWxs\nbw==\n".to_vec(), base64).as_deref(), Ok(&hello[..]));
        }
        let head = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(from_file(head.to_vec(), false).as_deref(), Ok(&head[..]));
        assert_eq!(from_file(b"\n".to_vec(), false).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn what_is_no_bytes_is_told_why() {
        for (text, part) in [
            ("815", "\"815\" has 3 hexadecimal digits"),
            ("81 5", "\"5\" has 1 hexadecimal digit, "),
            ("81O54865", "'O', its character 3, is no hexadecimal digit"),
            ("hello there", "'h', its character 1"),
            ("\\x8", "two hexadecimal digits"),
            ("\\q", "\\q is no escape"),
        ] {
            let error = from_argument(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        for (text, part) in [
            ("a!", "not base64: '!', its character 2"),
            ("gQ\u{fc}", "'\u{fc}', its character 3"),
            ("gQVIZWxsbw==gQ==", "at its end"),
            ("gQVIZ", "cut off"),
            ("gR==", "at its end"),
        ] {
            let error = from_base64(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        for text in ["00000000  81 05 48 65 6c 6c 6f   |..Hello|\n", "hello", "GET /chat\r\n\r\n", "a frame"] {
            let error = from_file(text.as_bytes().to_vec(), false).unwrap_err();
            assert!(error.contains("neither an HTTP head, base64 nor hexadecimal"), "{text:?}: {error}");
        }
    }

    #[test]
    fn heads_and_frames_are_told_apart() {
        let parts_of = |bytes: &[u8], from| {
            let source = Source { bytes: bytes.to_vec(), is_file: false };
            parts(&source, from).iter().map(|part| format!("{part:?}")).collect::<Vec<_>>()
        };
        let row = |part: Part<'_>| format!("{part:?}");
        let (get, ok) = (&b"GET / HTTP/1.1\r\n\r\n"[..], &b"HTTP/1.1 101 \r\n\r\n"[..]);
        let no = &b"HTTP/1.1 403 No\r\n\r\n\x81\x05"[..];
        let (masked, plain) = (&b"\x89\x80\0\0\0\0"[..], &b"\x89\x00"[..]);
        assert_eq!(parts_of(masked, None), [row(Part::Frames(Role::Client, masked))]);
        assert_eq!(parts_of(plain, None), [row(Part::Frames(Role::Server, plain))]);
        assert_eq!(parts_of(plain, Some(Role::Client)), [row(Part::Frames(Role::Client, plain))]);
        assert_eq!(
            parts_of(&[get, ok, plain].concat(), None),
            [
                row(Part::Head(Role::Client, get)),
                row(Part::Head(Role::Server, ok)),
                row(Part::Frames(Role::Server, plain))
            ]
        );
        assert_eq!(
            parts_of(&[get, no].concat(), None),
            [row(Part::Head(Role::Client, get)), row(Part::Head(Role::Server, no))]
        );
    }
}
