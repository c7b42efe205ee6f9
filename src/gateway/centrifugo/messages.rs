//! The protocol's messages as values, whichever encoding they came in or go out in.
//!
//! A command's data are raw: JSON text on one line in the JSON encoding, any bytes in Protobuf;
//! [`data_of`] makes [`Data`] of both.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{json, protobuf};
use crate::gateway::data;
use crate::push::{
    ClientId, ClientInfo, Data, Disconnect, History as HistoryPage, Kind, Publication, PushError, Subscribed, Time,
    Unsubscribe,
};
use crate::wire::{Message, PreparedMessage};

/// Which encoding a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Protobuf,
}

/// A command of a client. Its id is 0 if it is a `Send` or a `Pong`, which have no reply, and above 0 otherwise.
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
    /// A command with an id and no method that is known.
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

impl Connect {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let subs = self
            .subs
            .iter()
            .map(|(channel, subscribe)| size_of::<(String, Subscribe)>() + channel.len() + subscribe.size());
        let headers = self.headers.iter().map(|(name, value)| size_of::<[String; 2]>() + name.len() + value.len());
        let texts = [self.token.len(), self.data.len(), self.name.len(), self.version.len()];
        texts.into_iter().chain(subs).chain(headers).sum()
    }
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
    /// It asks for publications with certain tags alone, which is not offered.
    pub(super) filtered: bool,
    pub(super) flag: i64,
}

impl Subscribe {
    /// In `flag`: answer with an error instead of subscribing where recovery fails.
    pub(super) const REJECT_UNRECOVERED: i64 = 2;

    /// About how many bytes it takes besides its own.
    pub(super) fn size(&self) -> usize {
        [self.channel.len(), self.token.len(), self.epoch.len(), self.data.len(), self.delta.len()].into_iter().sum()
    }
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

/// Data that came in a command; `None` if there were none.
pub(super) fn data_of(format: Format, bytes: &[u8]) -> Option<Data> {
    match format {
        _ if bytes.is_empty() => None,
        // Decoding has checked that this is JSON on one line.
        Format::Json => Some(Data::new(Kind::Json, bytes)),
        Format::Protobuf => Some(data::of_bytes(bytes)),
    }
}

/// What a command is answered with, if with no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Connect(Box<Connected>),
    Subscribe(SubscribeResult),
    Unsubscribe,
    Publish,
    History(HistoryPage),
    Presence(Vec<ClientInfo>),
    PresenceStats {
        clients: usize,
        users: usize,
    },
    Rpc {
        data: Option<Data>,
    },
    Refresh {
        client: ClientId,
        version: &'static str,
        /// Milliseconds until the connection expires.
        ttl: Option<u64>,
    },
    SubRefresh {
        /// Milliseconds until the subscription expires.
        ttl: Option<u64>,
    },
    Ping,
}

/// The answer to `connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connected {
    pub(super) client: ClientId,
    /// The server's.
    pub(super) version: &'static str,
    /// Milliseconds until the connection expires.
    pub(super) ttl: Option<u64>,
    pub(super) data: Option<Data>,
    /// Server-side subscriptions.
    pub(super) subs: BTreeMap<Arc<str>, SubscribeResult>,
    /// Seconds between the server's pings; 0: it sends none.
    pub(super) ping: u32,
    /// Whether they have to be answered.
    pub(super) pong: bool,
    /// Empty: left out.
    pub(super) node: String,
    pub(super) time: Time,
}

/// The answer to `subscribe`, and what stands in `connect`'s for each server-side subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SubscribeResult {
    pub(super) answer: Subscribed,
    /// Data for the subscriber, of its token or a backend.
    pub(super) data: Option<Data>,
}

/// An error that a command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u32,
    pub(super) message: Cow<'static, str>,
    pub(super) temporary: bool,
}

impl From<PushError> for Refusal {
    fn from(error: PushError) -> Self {
        Self { code: error.code(), message: error.message().into(), temporary: error.is_temporary() }
    }
}

/// What the server says unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Push<'a> {
    Publication {
        channel: &'a str,
        publication: &'a Publication,
    },
    Join {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    Leave {
        channel: &'a str,
        info: &'a ClientInfo,
    },
    /// The server has subscribed the client.
    Subscribe {
        channel: &'a str,
        answer: &'a Subscribed,
        data: Option<&'a Data>,
    },
    Unsubscribe {
        channel: &'a str,
        why: Unsubscribe,
    },
    /// Of no channel.
    Message {
        data: &'a Data,
    },
    /// The connection is closed next, with the same code and reason.
    Disconnect(&'a Disconnect),
}

/// One WebSocket message, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encoded {
    Json(String),
    Protobuf(Vec<u8>),
}

impl Encoded {
    /// To be sent to one client.
    pub(super) fn as_message(&self) -> Message<'_> {
        match self {
            Self::Json(text) => Message::Text(text),
            Self::Protobuf(bytes) => Message::Binary(bytes),
        }
    }

    /// To be sent to many.
    pub(super) fn prepare(&self) -> PreparedMessage {
        PreparedMessage::new(self.as_message())
    }
}

/// The commands of one WebSocket message, at least one and at most `max_commands`.
///
/// # Errors
/// All that makes it none of the protocol; no command of it is to be carried out then.
pub(super) fn decode(format: Format, message: &[u8], max_commands: usize) -> Result<Vec<Command>, Malformed> {
    match format {
        Format::Json => json::decode(message, max_commands),
        Format::Protobuf => protobuf::decode(message, max_commands),
    }
}

/// The answer to the command with this id.
pub(super) fn encode_reply(format: Format, id: u32, reply: &Reply) -> Encoded {
    match format {
        Format::Json => Encoded::Json(json::encode_reply(id, reply)),
        Format::Protobuf => Encoded::Protobuf(protobuf::encode_reply(id, reply)),
    }
}

/// The refusal of the command with this id.
pub(super) fn encode_error(format: Format, id: u32, refusal: &Refusal) -> Encoded {
    match format {
        Format::Json => Encoded::Json(json::encode_error(id, refusal)),
        Format::Protobuf => Encoded::Protobuf(protobuf::encode_error(id, refusal)),
    }
}

/// What is said unasked.
pub(super) fn encode_push(format: Format, push: Push<'_>) -> Encoded {
    match format {
        Format::Json => Encoded::Json(json::encode_push(push)),
        Format::Protobuf => Encoded::Protobuf(protobuf::encode_push(push)),
    }
}

/// The server's ping, an empty reply, to be answered by an empty command.
pub(super) fn encode_ping(format: Format) -> Encoded {
    match format {
        Format::Json => Encoded::Json("{}".to_owned()),
        // An empty message behind its length.
        Format::Protobuf => Encoded::Protobuf(vec![0]),
    }
}

/// A time to live as clients are told it: whole seconds, a begun one counted, and never 0, which would be none.
pub(super) fn seconds(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds.div_ceil(1000).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
