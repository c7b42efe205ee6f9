//! What a client says by its URL.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the opening handshake has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) channel: Arc<str>,
    pub(super) token: Option<String>,
    /// The first message says where the client is.
    pub(super) hello: bool,
    /// The epoch and offset to begin behind.
    pub(super) since: Option<(String, u64)>,
    /// Whether it gets what it has published itself.
    pub(super) echo: bool,
    /// Whether each message says where it stands.
    pub(super) offsets: bool,
    /// Parameters that mean something to the application.
    pub(super) others: BTreeMap<String, String>,
    /// Fields of the handshake that backends get to see.
    pub(super) forwarded: Vec<(String, String)>,
}

impl Opening {
    /// Reads `path`, which is a channel's name, and `query`, both as they were sent.
    ///
    /// # Errors
    /// A sentence about what makes no sense.
    pub(super) fn parse(path: &str, query: &str) -> Result<Self, String> {
        let channel = decode(path, false).ok_or("the channel's name is not percent-encoded UTF-8")?;
        if channel.is_empty() {
            return Err("the path is /channel/ and the name of a channel".to_owned());
        }
        let mut opening = Self { channel: channel.into(), echo: true, ..Self::default() };
        let (mut hello, mut echo, mut offsets) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name, true), decode(value, true)) else {
                return Err("the query is not percent-encoded UTF-8".to_owned());
            };
            let is_second = match &*name {
                "token" => opening.token.replace(value.into_owned()).is_some(),
                "hello" => hello.replace(switch("hello", &value)?).is_some(),
                "echo" => echo.replace(switch("echo", &value)?).is_some(),
                "offsets" => offsets.replace(switch("offsets", &value)?).is_some(),
                "since" => opening.since.replace(position(&value)?).is_some(),
                name => opening.others.insert(name.to_owned(), value.into_owned()).is_some(),
            };
            if is_second {
                return Err(format!("`{name}` is there twice"));
            }
        }
        opening.offsets = offsets.unwrap_or_default();
        opening.hello = hello.unwrap_or_default() || opening.offsets || opening.since.is_some();
        opening.echo = echo.unwrap_or(true);
        if opening.since.is_some() && !opening.echo && !opening.offsets {
            return Err("`since` and `echo=0` need `offsets=1`: offsets count a client's own messages, too".to_owned());
        }
        Ok(opening)
    }
}

fn switch(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(format!("`{name}` is 1 or 0")),
    }
}

fn position(value: &str) -> Result<(String, u64), String> {
    let (epoch, offset) = value.rsplit_once(':').ok_or("`since` is EPOCH:OFFSET, as the hello told them")?;
    let is_number = !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit());
    let offset = offset.parse().ok().filter(|_| is_number).ok_or("the offset in `since` is no number")?;
    Ok((epoch.to_owned(), offset))
}

/// Percent-decoded text; `+` is a space in a query, as HTML forms have it. `None` if it is no UTF-8, or a `%` without its
/// two digits.
pub(in crate::gateway) fn decode(text: &str, is_query: bool) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| byte == b'%' || (is_query && byte == b'+')) {
        return Some(text.into());
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high << 4 | low) as u8
            }
            b'+' if is_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_its_client_wants() {
        let news = || Opening { channel: "news".into(), echo: true, ..Opening::default() };
        let others = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        let rows = [
            ("news", "", news()),
            ("n%65ws", "&&", news()),
            ("a/b:c%23d%2Ce", "", Opening { channel: "a/b:c#d,e".into(), ..news() }),
            ("a+b", "", Opening { channel: "a+b".into(), ..news() }),
            ("news", "token=a.b-c_d", Opening { token: Some("a.b-c_d".to_owned()), ..news() }),
            ("news", "hello=1&echo=0", Opening { hello: true, echo: false, ..news() }),
            ("news", "hello=0&echo=1", news()),
            ("news", "since=Ab_1:7", Opening { since: Some(("Ab_1".to_owned(), 7)), hello: true, ..news() }),
            ("news", "since=%3A0&hello=0", Opening { since: Some((String::new(), 0)), hello: true, ..news() }),
            ("news", "since=a:b:7", Opening { since: Some(("a:b".to_owned(), 7)), hello: true, ..news() }),
            ("news", "offsets=1&hello=0", Opening { offsets: true, hello: true, ..news() }),
            (
                "news",
                "offsets=1&echo=0&since=a:1",
                Opening { offsets: true, hello: true, echo: false, since: Some(("a".to_owned(), 1)), ..news() },
            ),
            (
                "news",
                "room=1+2&name=zo%C3%AB&flag",
                Opening { others: others(&[("room", "1 2"), ("name", "zoë"), ("flag", "")]), ..news() },
            ),
        ];
        for (path, query, expected) in rows {
            assert_eq!(Opening::parse(path, query), Ok(expected), "{path}?{query}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let rows = [
            ("", "", "the path is /channel/"),
            ("%", "", "the channel's name is not"),
            ("%4", "", "the channel's name is not"),
            ("%+1", "", "the channel's name is not"),
            ("%ff", "", "the channel's name is not"),
            ("a", "x=%zz", "the query is not"),
            ("a", "%80=x", "the query is not"),
            ("a", "token=a&token=a", "`token` is there twice"),
            ("a", "x&x=1", "`x` is there twice"),
            ("a", "hello", "`hello` is 1 or 0"),
            ("a", "echo=false", "`echo` is 1 or 0"),
            ("a", "hello=0&hello=0", "`hello` is there twice"),
            ("a", "offsets=yes", "`offsets` is 1 or 0"),
            ("a", "since=a:1&echo=0&offsets=0", "`since` and `echo=0`"),
            ("a", "since=7", "`since` is EPOCH:OFFSET"),
            ("a", "since=a:", "the offset in"),
            ("a", "since=a:-1", "the offset in"),
            ("a", "since=a:%2B1", "the offset in"),
            ("a", "since=a:18446744073709551616", "the offset in"),
            ("a", "since=a:1&echo=0", "`since` and `echo=0`"),
        ];
        for (path, query, expected) in rows {
            let what = Opening::parse(path, query).unwrap_err();
            assert!(what.starts_with(expected), "{path}?{query}: {what}");
        }
    }
}
