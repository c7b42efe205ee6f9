//! The grammar of Sec-WebSocket-Extensions [RFC 6455 §9.1].
//!
//! ```text
//! list      = extension *( "," extension )
//! extension = token *( ";" parameter )
//! parameter = token [ "=" ( token | quoted-string ) ]     what is quoted is a token too, once unquoted
//! ```
//! White space may stand between all of these. The parser goes forward only, so its cost is the value's length.

use std::borrow::Cow;

use super::fields::is_token_byte;

/// One extension, offered or agreed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a str,
    pub(crate) params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Where a value leaves the grammar, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) usize);

/// Reads a list of at least one extension.
pub(crate) fn parse(value: &str) -> Result<Vec<Extension<'_>>, Malformed> {
    let mut cursor = Cursor { text: value, at: 0 };
    let mut extensions = Vec::new();
    loop {
        let name = cursor.token()?;
        let mut params = Vec::new();
        while cursor.take(b';') {
            let name = cursor.token()?;
            let value = if cursor.take(b'=') { Some(cursor.value()?) } else { None };
            params.push((name, value));
        }
        extensions.push(Extension { name, params });
        if cursor.is_at_end() {
            return Ok(extensions);
        }
        if !cursor.take(b',') {
            return Err(cursor.malformed());
        }
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        #[cfg(test)]
        tests::PEEKS.set(tests::PEEKS.get() + 1);
        self.text.as_bytes().get(self.at).copied()
    }

    fn malformed(&self) -> Malformed {
        Malformed(self.at)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.at == self.text.len()
    }

    /// Whether the next byte after white space is `wanted`, which is then consumed.
    fn take(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_space();
        let start = self.at;
        while self.peek().is_some_and(is_token_byte) {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed()) } else { Ok(&self.text[start..self.at]) }
    }

    fn value(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if !self.take(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = String::new();
        loop {
            match self.peek() {
                Some(b'"') if !value.is_empty() => {
                    self.at += 1;
                    return Ok(Cow::Owned(value));
                }
                Some(b'\\') => self.at += 1,
                _ => {}
            }
            match self.peek() {
                Some(byte) if is_token_byte(byte) => value.push(char::from(byte)),
                _ => return Err(self.malformed()),
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many bytes the parser has looked at: what its work is measured in.
        pub(super) static PEEKS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn the_cost_of_a_hostile_value_is_its_length() {
        // Values that made other parsers' patterns backtrack, and lists as long as a head can hold.
        let values = |len: usize| {
            [
                format!("b{}x", " ".repeat(len)),
                format!("a; b=\"{}", "\\c".repeat(len / 2)),
                format!("a; b=\"{}\"", "c".repeat(len)),
                "a,".repeat(len / 2) + "a",
                "a;".repeat(len / 2) + "a",
                "a; b=c , ".repeat(len / 9) + "a",
                " \t".repeat(len / 2),
                format!("a{}", " ;b =\"\\c\" ".repeat(len / 11)),
            ]
        };
        for len in [4096, 8192, 16_384] {
            for value in values(len) {
                PEEKS.set(0);
                let _ = parse(&value);
                assert!(PEEKS.get() <= 4 * value.len() + 8, "{} looks at {} bytes", PEEKS.get(), value.len());
            }
        }
    }

    /// What was read, written in a uniform way.
    fn read(value: &str) -> Result<String, Malformed> {
        let extensions = parse(value)?;
        let write = |extension: &Extension<'_>| {
            let params = extension.params.iter().map(|(name, value)| match value {
                None => format!(";{name}"),
                Some(value) => format!(";{name}={value}"),
            });
            extension.name.to_owned() + &params.collect::<String>()
        };
        Ok(extensions.iter().map(write).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn values_are_read_or_leave_the_grammar_at_a_byte() {
        let rows = [
            ("a", Ok("a")),
            (" a\t", Ok("a")),
            ("a,b", Ok("a,b")),
            ("a ; b ; c = d , e", Ok("a;b;c=d,e")),
            ("a;b=\"c\"", Ok("a;b=c")),
            ("a;b=\"\\c\\d\"", Ok("a;b=cd")),
            ("permessage-deflate; client_max_window_bits", Ok("permessage-deflate;client_max_window_bits")),
            ("", Err(0)),
            (" ", Err(1)),
            (";", Err(0)),
            (",", Err(0)),
            (",a", Err(0)),
            ("a,", Err(2)),
            ("a,,b", Err(2)),
            ("a;", Err(2)),
            ("a;;b", Err(2)),
            ("a;=1", Err(2)),
            ("a;b=", Err(4)),
            ("a;b==c", Err(4)),
            ("a;b=\"", Err(5)),
            ("a;b=\"c", Err(6)),
            ("a;b=\"\"", Err(5)),
            ("a;b=\"c d\"", Err(6)),
            ("a;b=\"\\\"\"", Err(6)),
            ("a;b=\"c\\", Err(7)),
            ("a;b=\"c\"d", Err(7)),
            ("a b", Err(2)),
            ("a=b", Err(1)),
            ("\"a\"", Err(0)),
            ("é", Err(0)),
            ("a;b=\"é\"", Err(5)),
        ];
        for (value, outcome) in rows {
            assert_eq!(read(value), outcome.map(str::to_owned).map_err(Malformed), "{value:?}");
        }
    }
}
