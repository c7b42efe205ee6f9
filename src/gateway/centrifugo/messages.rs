//! The protocol's messages as values, whichever encoding they came in.
//!
//! Data are raw: JSON text in the JSON encoding, any bytes in Protobuf.

use std::collections::BTreeMap;

/// Which encoding a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Protobuf,
}

/// A command of a client. Id 0 wants no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) id: u32,
    pub(super) method: Method,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Connect(Connect),
    Subscribe(Subscribe),
    Unsubscribe {
        channel: String,
    },
    Publish {
        channel: String,
        data: Vec<u8>,
    },
    History(History),
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
    Rpc {
        method: String,
        data: Vec<u8>,
    },
    Send {
        data: Vec<u8>,
    },
    Refresh {
        token: String,
    },
    SubRefresh {
        channel: String,
        token: String,
    },
    Ping,
    /// `{}`: the answer to a server's ping.
    Pong,
    /// A command with an id and nothing in it that is known.
    Unknown,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) token: String,
    pub(super) data: Vec<u8>,
    pub(super) subs: BTreeMap<String, Subscribe>,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) flag: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscribe {
    pub(super) channel: String,
    pub(super) token: String,
    pub(super) recover: bool,
    pub(super) epoch: String,
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
    pub(super) positioned: bool,
    pub(super) recoverable: bool,
    pub(super) join_leave: bool,
    pub(super) delta: String,
    pub(super) flag: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    pub(super) channel: String,
    pub(super) limit: i32,
    pub(super) since: Option<(u64, String)>,
    pub(super) reverse: bool,
}

/// A message that cannot be read: the client is sent away with 3501.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);
