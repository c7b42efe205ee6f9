//! The heads of requests and answers, right ones and what can be changed in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use loopwire::handshake::{Uri, accept_key};

use crate::cli::dial::Field;

/// Sixteen bytes. They prove nothing here and need not be random.
const NONCE: &[u8; 16] = b"loopwire violate";

/// A head that nothing is wrong with.
#[derive(Clone, Debug)]
pub(super) struct Head {
    line: String,
    fields: Vec<(String, String)>,
    /// What stands for `TARGET` and `HOST` in a changed line.
    target: String,
    host: String,
}

/// What is changed in a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Nothing,
    /// Another first line.
    Line(&'static [u8]),
    /// The same, and no body.
    Bodiless(&'static [u8]),
    Without(&'static str),
    With(&'static str, &'static [u8]),
    /// The field stands once for each of these values.
    Each(&'static str, &'static [&'static str]),
    /// A field stands twice as it is.
    Twice(&'static str),
    /// More behind the fields.
    Plus(&'static [u8]),
    /// The same, and a body.
    Body(&'static [u8], &'static [u8]),
    /// More before the first line.
    Before(&'static [u8]),
    /// Something else altogether.
    Instead(&'static [u8]),
    /// Only so much of it, in hundredths.
    Part(usize),
    /// LF alone ends each line.
    LineFeeds,
    /// The fields' names in capitals.
    Capitals,
    /// White space before and behind each value.
    Spaces,
    /// None at all.
    NoSpaces,
    /// The target is an address.
    Absolute,
}

impl Head {
    /// A request for what is at `uri`.
    pub(super) fn request(uri: &Uri, more: &[Field]) -> Self {
        let target = uri.target().to_owned();
        let host = uri.host_field();
        let fields = [
            ("Host", host.as_str()),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", &STANDARD.encode(NONCE)),
            ("Sec-WebSocket-Version", "13"),
        ];
        let more = more.iter().map(|Field(name, value)| (name.as_str(), value.as_str()));
        let fields = fields.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { line: format!("GET {target} HTTP/1.1"), fields, target, host }
    }

    /// The answer to a request with this key.
    pub(super) fn answer(key: &str, protocol: Option<&str>, extensions: Option<&str>) -> Self {
        let accept = accept_key(key);
        let given = [
            ("Upgrade", Some("websocket")),
            ("Connection", Some("Upgrade")),
            ("Sec-WebSocket-Accept", Some(accept.as_str())),
            ("Sec-WebSocket-Protocol", protocol),
            ("Sec-WebSocket-Extensions", extensions),
        ];
        let fields = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let line = "HTTP/1.1 101 Switching Protocols".to_owned();
        Self { line, fields, target: String::new(), host: String::new() }
    }

    /// The same with another field.
    pub(super) fn and(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.changed(Change::Nothing)
    }

    pub(super) fn changed(&self, change: Change) -> Vec<u8> {
        let but = |left_out: &str| -> Vec<(&str, &[u8])> {
            let fields = self.fields.iter().filter(|(name, _)| name != left_out);
            fields.map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
        };
        let (line, all) = (self.line.as_bytes(), but(""));
        match change {
            Change::Nothing => head(line, &all, b""),
            Change::Line(line) => head(&self.filled(line), &all, b""),
            Change::Bodiless(line) => head(line, &all, b"Content-Length: 0\r\n"),
            Change::Without(name) => head(line, &but(name), b""),
            Change::With(name, value) => head(line, &[but(name), vec![(name, value)]].concat(), b""),
            Change::Each(name, values) => {
                let values = values.iter().map(|value| (name, value.as_bytes())).collect();
                head(line, &[but(name), values].concat(), b"")
            }
            Change::Twice(name) => {
                let again = all.iter().filter(|field| field.0 == name).copied().collect();
                head(line, &[all.clone(), again].concat(), b"")
            }
            Change::Plus(bytes) => head(line, &all, bytes),
            Change::Body(fields, body) => [&head(line, &all, fields), body].concat(),
            Change::Before(bytes) => [bytes, &head(line, &all, b"")].concat(),
            Change::Instead(bytes) => self.filled(bytes),
            Change::Part(hundredths) => {
                let mut bytes = head(line, &all, b"");
                bytes.truncate(bytes.len() * hundredths / 100);
                bytes
            }
            Change::LineFeeds => head(line, &all, b"").into_iter().filter(|byte| *byte != b'\r').collect(),
            Change::Capitals => {
                let names: Vec<String> = all.iter().map(|field| field.0.to_uppercase()).collect();
                let fields: Vec<_> = names.iter().zip(&all).map(|(name, field)| (name.as_str(), field.1)).collect();
                head(line, &fields, b"")
            }
            Change::Spaces => {
                let values: Vec<_> = all.iter().map(|field| [b" \t", field.1, b" \t "].concat()).collect();
                let fields: Vec<_> = all.iter().zip(&values).map(|(field, value)| (field.0, &value[..])).collect();
                head(line, &fields, b"")
            }
            Change::NoSpaces => {
                let fields = self.fields.iter().map(|(name, value)| [name, ":", value, "\r\n"].concat());
                head(line, &[], fields.collect::<String>().as_bytes())
            }
            Change::Absolute => head(format!("GET http://{}{} HTTP/1.1", self.host, self.target).as_bytes(), &all, b""),
        }
    }

    /// With this connection's own target and host.
    fn filled(&self, line: &[u8]) -> Vec<u8> {
        let mut filled = line.to_vec();
        for (name, value) in [("TARGET", &self.target), ("HOST", &self.host)] {
            if let Some(at) = filled.windows(name.len()).position(|part| part == name.as_bytes()) {
                filled.splice(at..at + name.len(), value.bytes());
            }
        }
        filled
    }
}

fn head(line: &[u8], fields: &[(&str, &[u8])], more: &[u8]) -> Vec<u8> {
    let mut bytes = [line, b"\r\n"].concat();
    for (name, value) in fields {
        bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    bytes.extend_from_slice(more);
    bytes.extend_from_slice(b"\r\n");
    bytes
}
