//! What is published, by whom, and where in its stream it stands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A moment: milliseconds since the Unix epoch, on a clock that never goes back while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// This moment and `milliseconds` more.
    #[must_use]
    pub const fn plus(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Milliseconds from `earlier` to this; 0 if that is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What kind of bytes data are. Each gateway decides how its clients get to see each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A JSON value without a line break.
    #[default]
    Json,
    /// UTF-8 text that is no JSON.
    Text,
    /// Any bytes: an image, sound, an encoded document.
    Binary,
}

/// Bytes that travel unchanged from publisher to subscribers. A clone is a reference.
#[derive(Clone, PartialEq, Eq)]
pub struct Data {
    /// What they are.
    pub kind: Kind,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl Data {
    /// Data of this kind, copied from `bytes`.
    pub fn new(kind: Kind, bytes: &[u8]) -> Self {
        Self { kind, bytes: bytes.into() }
    }

    /// A JSON value; the caller has checked that it is one, on one line.
    pub fn json(text: &str) -> Self {
        Self::new(Kind::Json, text.as_bytes())
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({:?})", self.kind, String::from_utf8_lossy(&self.bytes))
    }
}

/// The name under which a client is known to others: random and unguessable, unlike its [`SessionKey`](super::SessionKey).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u128);

impl ClientId {
    /// Reads what [`Display`](fmt::Display) writes: 8-4-4-4-12 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let groups: Vec<usize> = text.split('-').map(str::len).collect();
        let is_hex = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
        if groups != [8, 4, 4, 4, 12] || !is_hex {
            return None;
        }
        u128::from_str_radix(&text.replace('-', ""), 16).ok().map(Self)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        let part = |shift: u32, bits: u32| (id >> shift) & ((1 << bits) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            part(80, 16),
            part(64, 16),
            part(48, 16),
            part(0, 48)
        )
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({self})")
    }
}

/// A client as others in a channel see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Whose it is; empty for an anonymous one.
    pub user: Arc<str>,
    /// Which of that user's connections.
    pub client: ClientId,
    /// What the connection's token or backend said of it.
    pub conn_info: Option<Data>,
    /// What the subscription's token or backend said of it.
    pub chan_info: Option<Data>,
}

/// A place in a stream: how many publications it has had in this epoch, up to there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The offset of the latest publication seen; 0 before the first.
    pub offset: u64,
    /// Which life of the stream the offset counts in.
    pub epoch: Arc<str>,
}

/// One message of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its place in the channel's stream, from 1; 0 if the channel keeps none.
    pub offset: u64,
    /// What was published.
    pub data: Data,
    /// Who published it, if a client did.
    pub info: Option<ClientInfo>,
    /// Small notes of the publisher to the subscribers.
    pub tags: BTreeMap<String, String>,
    /// When it was published.
    pub time: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids_are_read_as_they_are_written() {
        for id in [ClientId(0), ClientId(u128::MAX), ClientId(0x0123_4567_89ab_cdef_0011_2233_4455_6677)] {
            assert_eq!(ClientId::parse(&id.to_string()), Some(id), "{id}");
        }
        assert_eq!(ClientId(1 << 96).to_string(), "00000001-0000-0000-0000-000000000000");
        for wrong in ["", "0", "00000001-0000-0000-0000-00000000000", "0000000g-0000-0000-0000-000000000000"] {
            assert_eq!(ClientId::parse(wrong), None, "{wrong}");
        }
    }
}
