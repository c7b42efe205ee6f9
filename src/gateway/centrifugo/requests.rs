//! Commands as they stand on the wire: one schema for both encodings, and what has to hold of a command in either.
//!
//! A field that is `null` in JSON is one that is left out, as the protocol's own clients take it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::messages::{Command, Connect, History, Malformed, Method, Subscribe};
use crate::gateway::data;

/// One command.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(super) struct Envelope {
    #[prost(uint32, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    id: u32,
    #[prost(message, optional, boxed, tag = "4")]
    #[serde(deserialize_with = "object")]
    connect: Option<Box<ConnectRequest>>,
    #[prost(message, optional, boxed, tag = "5")]
    #[serde(deserialize_with = "object")]
    subscribe: Option<Box<SubscribeRequest>>,
    #[prost(message, optional, tag = "6")]
    #[serde(deserialize_with = "object")]
    unsubscribe: Option<ChannelRequest>,
    #[prost(message, optional, tag = "7")]
    #[serde(deserialize_with = "object")]
    publish: Option<PublishRequest>,
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "object")]
    presence: Option<ChannelRequest>,
    #[prost(message, optional, tag = "9")]
    #[serde(deserialize_with = "object")]
    presence_stats: Option<ChannelRequest>,
    #[prost(message, optional, tag = "10")]
    #[serde(deserialize_with = "object")]
    history: Option<HistoryRequest>,
    #[prost(message, optional, tag = "11")]
    #[serde(deserialize_with = "object")]
    ping: Option<PingRequest>,
    #[prost(message, optional, tag = "12")]
    #[serde(deserialize_with = "object")]
    send: Option<SendRequest>,
    #[prost(message, optional, tag = "13")]
    #[serde(deserialize_with = "object")]
    rpc: Option<RpcRequest>,
    #[prost(message, optional, tag = "14")]
    #[serde(deserialize_with = "object")]
    refresh: Option<RefreshRequest>,
    #[prost(message, optional, tag = "15")]
    #[serde(deserialize_with = "object")]
    sub_refresh: Option<SubRefreshRequest>,
}

impl Envelope {
    /// The command of a line of JSON.
    pub(super) fn from_json(line: &str) -> Result<Self, Malformed> {
        let mut deserializer = serde_json::Deserializer::from_str(line);
        let envelope = Object::deserialize(&mut deserializer).and_then(|object| deserializer.end().map(|()| object));
        match envelope {
            Ok(Object(Some(envelope))) => Ok(envelope),
            Ok(Object(None)) => Err(Malformed("null for a command".to_owned())),
            Err(error) => Err(Malformed(error.to_string())),
        }
    }

    /// The command, if it keeps to the protocol.
    pub(super) fn into_command(self) -> Result<Command, Malformed> {
        let id = self.id;
        let mut methods = [
            self.connect.map(|request| Method::Connect((*request).into())),
            self.subscribe.map(|request| Method::Subscribe((*request).into())),
            self.unsubscribe.map(|request| Method::Unsubscribe { channel: request.channel }),
            self.publish.map(|request| Method::Publish { channel: request.channel, data: request.data }),
            self.presence.map(|request| Method::Presence { channel: request.channel }),
            self.presence_stats.map(|request| Method::PresenceStats { channel: request.channel }),
            self.history.map(|request| Method::History(request.into())),
            self.ping.map(|PingRequest {}| Method::Ping),
            self.send.map(|request| Method::Send { data: request.data }),
            self.rpc.map(|request| Method::Rpc { method: request.method, data: request.data }),
            self.refresh.map(|request| Method::Refresh { token: request.token }),
            self.sub_refresh.map(|request| Method::SubRefresh { channel: request.channel, token: request.token }),
        ]
        .into_iter()
        .flatten();
        let method = methods.next();
        if methods.next().is_some() {
            return Err(Malformed("more than one method in a command".to_owned()));
        }
        let method = match (id, method) {
            (0, None) => Method::Pong,
            (_, None) => Method::Unknown,
            (_, Some(method @ Method::Send { .. })) => method,
            (0, Some(_)) => return Err(Malformed("no id in a command that is to be answered".to_owned())),
            (_, Some(method)) => method,
        };
        Ok(Command { id, method })
    }
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct ConnectRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    token: String,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(deserialize_with = "json_but_null")]
    data: Vec<u8>,
    #[prost(btree_map = "string, message", tag = "3")]
    #[serde(deserialize_with = "objects")]
    subs: BTreeMap<String, SubscribeRequest>,
    #[prost(string, tag = "4")]
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[prost(string, tag = "5")]
    #[serde(deserialize_with = "or_default")]
    version: String,
    #[prost(btree_map = "string, string", tag = "6")]
    #[serde(deserialize_with = "or_default")]
    headers: BTreeMap<String, String>,
    #[prost(int64, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    flag: i64,
}

impl From<ConnectRequest> for Connect {
    fn from(request: ConnectRequest) -> Self {
        let ConnectRequest { token, data, subs, name, version, headers, flag } = request;
        let subs = subs.into_iter().map(|(channel, request)| (channel, request.into())).collect();
        Self { token, data, subs, name, version, headers, flag }
    }
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct SubscribeRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    token: String,
    #[prost(bool, tag = "3")]
    #[serde(deserialize_with = "or_default")]
    recover: bool,
    #[prost(string, tag = "6")]
    #[serde(deserialize_with = "or_default")]
    epoch: String,
    #[prost(uint64, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    offset: u64,
    #[prost(bytes = "vec", tag = "8")]
    #[serde(deserialize_with = "json_but_null")]
    data: Vec<u8>,
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "or_default")]
    positioned: bool,
    #[prost(bool, tag = "10")]
    #[serde(deserialize_with = "or_default")]
    recoverable: bool,
    #[prost(bool, tag = "11")]
    #[serde(deserialize_with = "or_default")]
    join_leave: bool,
    #[prost(string, tag = "12")]
    #[serde(deserialize_with = "or_default")]
    delta: String,
    /// A filter of tags, a message of its own that is not looked into.
    #[prost(bytes = "vec", tag = "13")]
    #[serde(deserialize_with = "json_but_null")]
    tf: Vec<u8>,
    #[prost(int64, tag = "14")]
    #[serde(deserialize_with = "or_default")]
    flag: i64,
}

impl From<SubscribeRequest> for Subscribe {
    fn from(request: SubscribeRequest) -> Self {
        Self {
            channel: request.channel,
            token: request.token,
            recover: request.recover,
            epoch: request.epoch,
            offset: request.offset,
            data: request.data,
            positioned: request.positioned,
            recoverable: request.recoverable,
            join_leave: request.join_leave,
            delta: request.delta,
            filtered: !request.tf.is_empty(),
            flag: request.flag,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct ChannelRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct PublishRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(deserialize_with = "json")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct HistoryRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(int32, tag = "7")]
    #[serde(deserialize_with = "or_default")]
    limit: i32,
    #[prost(message, optional, tag = "8")]
    #[serde(deserialize_with = "object")]
    since: Option<StreamPosition>,
    #[prost(bool, tag = "9")]
    #[serde(deserialize_with = "or_default")]
    reverse: bool,
}

impl From<HistoryRequest> for History {
    fn from(request: HistoryRequest) -> Self {
        let since = request.since.map(|since| (since.offset, since.epoch));
        Self { channel: request.channel, limit: request.limit, since, reverse: request.reverse }
    }
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct StreamPosition {
    #[prost(uint64, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    offset: u64,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    epoch: String,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
struct PingRequest {}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct SendRequest {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "json")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct RpcRequest {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(deserialize_with = "json")]
    data: Vec<u8>,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    method: String,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct RefreshRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    token: String,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
struct SubRefreshRequest {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "or_default")]
    channel: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "or_default")]
    token: String,
}

/// A value, or `null` for none.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A JSON value as it stands, but on one line.
fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?.get();
    data::on_one_line(text.as_bytes())
        .map(Cow::into_owned)
        .ok_or_else(|| D::Error::custom(format_args!("data nested more than {} deep", data::MAX_DEPTH)))
}

/// The same, where `null` means that there is none.
fn json_but_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let mut text = json(deserializer)?;
    if text == b"null" {
        text.clear();
    }
    Ok(text)
}

/// An object, or `null` for none.
fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Object::deserialize(deserializer)?.0)
}

/// Objects by name.
fn objects<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let objects: Option<BTreeMap<String, Object<T>>> = Option::deserialize(deserializer)?;
    Ok(objects.unwrap_or_default().into_iter().map(|(name, object)| (name, object.0.unwrap_or_default())).collect())
}

/// What stands in JSON as an object and nothing else: serde's own structs may also be written as arrays.
struct Object<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Object(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|value| Object(Some(value)))
            }
        }

        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}
