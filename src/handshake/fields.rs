//! Header fields: kept in one allocation, looked up without regard to case [RFC 9110 §5].

use std::fmt;

use super::HeadFault;

/// The fields of a head, in their order.
///
/// A value is text. If its bytes are not UTF-8, each stands for the character of its number, as in ISO-8859-1, which
/// is what HTTP once said and what loses nothing [RFC 9110 §5.5].
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Names and values, one after the other, without anything between.
    text: Box<str>,
    /// Where each name and each value ends.
    ends: Box<[(u32, u32)]>,
}

impl Fields {
    /// Reads `count` field lines and the blank line after them, in which a [`HeadScan`](super::head::HeadScan) has
    /// found no fault.
    pub(super) fn parse(lines: &[u8], count: usize) -> Result<Self, HeadFault> {
        let mut headers = vec![httparse::EMPTY_HEADER; count];
        let headers = match httparse::parse_headers(lines, &mut headers) {
            Ok(httparse::Status::Complete((len, headers))) if len == lines.len() => headers,
            Ok(_) => return Err(HeadFault::Incomplete),
            Err(_) => return Err(diagnose(lines)),
        };
        let mut text = String::with_capacity(lines.len());
        let mut ends = Vec::with_capacity(count);
        let offset = |len: usize| u32::try_from(len).map_err(|_| HeadFault::TooLong(u32::MAX as usize));
        for header in headers {
            text.push_str(header.name);
            let name_end = offset(text.len())?;
            let value = header.value.trim_ascii();
            match std::str::from_utf8(value) {
                Ok(value) => text.push_str(value),
                Err(_) => text.extend(value.iter().map(|&byte| char::from(byte))),
            }
            ends.push((name_end, offset(text.len())?));
        }
        Ok(Self { text: text.into_boxed_str(), ends: ends.into_boxed_slice() })
    }

    /// The value of the only field of that name; `None` if there is none, or more than one.
    ///
    /// Two parties that each pick another one of several can be played off against each other, so none is picked;
    /// [`all`](Self::all) gives them all.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.sole(name).ok().flatten()
    }

    /// The values of all fields of that name.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The members of all the comma-separated lists of that name, empty ones left out [RFC 9110 §5.6.1].
    ///
    /// For lists of tokens; a comma inside quotes is taken for a comma.
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name)
            .flat_map(|value| value.split(','))
            .map(|member| member.trim_matches([' ', '\t']))
            .filter(|member| !member.is_empty())
    }

    /// Whether the lists of that name have this member, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token))
    }

    /// Every field: its name as it was sent, and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, value_end)| value_end));
        self.ends.iter().zip(starts).map(|(&(name_end, value_end), start)| {
            let (start, name_end, value_end) = (start as usize, name_end as usize, value_end as usize);
            (&self.text[start..name_end], &self.text[name_end..value_end])
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets the fields that `keep` does not want, and gives back their memory.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let mut text = String::with_capacity(self.text.len());
        let mut ends = Vec::with_capacity(self.ends.len());
        for (name, value) in self.iter().filter(|(name, _)| keep(name)) {
            text.push_str(name);
            let name_end = text.len() as u32;
            text.push_str(value);
            ends.push((name_end, text.len() as u32));
        }
        *self = Self { text: text.into_boxed_str(), ends: ends.into_boxed_slice() };
    }

    /// The value of the field of that name, if there is at most one.
    pub(super) fn sole(&self, name: &str) -> Result<Option<&str>, Duplicate> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            _ => Err(Duplicate),
        }
    }
}

impl fmt::Debug for Fields {
    /// All fields, but not what may be a secret: what is printed ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECRET: [&str; 4] = ["Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie"];
        let is_secret = |name: &str| SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
        let shown = self.iter().map(|(name, value)| (name, if is_secret(name) { "(hidden)" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

/// A field is there more than once.
#[derive(Debug)]
pub(super) struct Duplicate;

/// What is wrong with field lines that httparse refuses: it says that something is, we say which rule.
fn diagnose(lines: &[u8]) -> HeadFault {
    let broken = |line: &[u8]| {
        if matches!(line, [b' ' | b'\t', ..]) {
            return Some(HeadFault::Fold);
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return Some(HeadFault::NoColon) };
        let name = &line[..colon];
        if is_token(name) {
            return None;
        }
        let trimmed = name.trim_ascii_end();
        Some(if trimmed.len() < name.len() && is_token(trimmed) {
            HeadFault::SpaceBeforeColon
        } else {
            HeadFault::FieldName
        })
    };
    lines
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty())
        .find_map(broken)
        .unwrap_or(HeadFault::FieldValue)
}

/// Whether `text` is a token: one or more of the bytes that names are made of [RFC 9110 §5.6.2].
pub(super) fn is_token(text: impl AsRef<[u8]>) -> bool {
    let bytes = text.as_ref();
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether a byte may stand in a token.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// Whether `value` may be sent as a field's value: no control byte but HTAB, so no line can be smuggled in.
pub(super) fn is_field_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Appends a field line; the caller has checked both parts.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The beginning of something a peer sent, short enough for an error and a log line.
pub(super) fn excerpt(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_the_scan_would_not_let_pass_is_named_too() {
        // Before this comes a scan that knows of no value with such a byte.
        assert_eq!(Fields::parse(b"X: a\0b\r\n\r\n", 1), Err(HeadFault::FieldValue));
    }
}
