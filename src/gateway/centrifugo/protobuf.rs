//! The Protobuf encoding: each item behind its length. Field numbers are those of the protocol's `client.proto`.

use std::collections::BTreeMap;

use prost::Message;

use super::messages::{self, Command, Malformed, Push as Pushed, Refusal, seconds};
use super::requests::Envelope;
use crate::push::{self, Data};

/// The commands of a message.
pub(super) fn decode(mut message: &[u8], max_commands: usize) -> Result<Vec<Command>, Malformed> {
    if message.is_empty() {
        return Err(Malformed("an empty message".to_owned()));
    }
    let mut commands = Vec::new();
    while !message.is_empty() {
        if commands.len() == max_commands {
            return Err(Malformed(format!("more than {max_commands} commands in a message")));
        }
        let length = prost::decode_length_delimiter(&mut message).map_err(|error| Malformed(error.to_string()))?;
        let Some((item, rest)) = message.split_at_checked(length) else {
            return Err(Malformed(format!("{} bytes where {length} are announced", message.len())));
        };
        message = rest;
        let envelope = Envelope::decode(item).map_err(|error| Malformed(error.to_string()))?;
        commands.push(envelope.into_command()?);
    }
    Ok(commands)
}

pub(super) fn encode_reply(id: u32, reply: &messages::Reply) -> Vec<u8> {
    use messages::Reply as Answer;

    let mut item = Reply { id, ..Reply::default() };
    match reply {
        Answer::Connect(connected) => item.connect = Some(connected.as_ref().into()),
        Answer::Subscribe(subscribed) => item.subscribe = Some(subscribed.into()),
        Answer::Unsubscribe => item.unsubscribe = Some(Empty {}),
        Answer::Publish => item.publish = Some(Empty {}),
        Answer::History(page) => {
            item.history = Some(HistoryResult {
                publications: publications(&page.publications),
                epoch: page.position.epoch.to_string(),
                offset: page.position.offset,
            });
        }
        Answer::Presence(clients) => {
            let presence = clients.iter().map(|info| (info.client.to_string(), info.into())).collect();
            item.presence = Some(PresenceResult { presence });
        }
        Answer::PresenceStats { clients, users } => {
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            item.presence_stats = Some(PresenceStatsResult { num_clients: count(*clients), num_users: count(*users) });
        }
        Answer::Rpc { data } => item.rpc = Some(DataOnly { data: bytes(data.as_ref()) }),
        Answer::Refresh { client, version, ttl } => {
            item.refresh = Some(RefreshResult {
                client: client.to_string(),
                version: (*version).to_owned(),
                expires: ttl.is_some(),
                ttl: ttl.map_or(0, seconds),
            });
        }
        Answer::SubRefresh { ttl } => {
            item.sub_refresh = Some(SubRefreshResult { expires: ttl.is_some(), ttl: ttl.map_or(0, seconds) });
        }
        Answer::Ping => item.ping = Some(Empty {}),
    }
    item.encode_length_delimited_to_vec()
}

pub(super) fn encode_error(id: u32, refusal: &Refusal) -> Vec<u8> {
    let Refusal { code, message, temporary } = refusal;
    let error = ReplyError { code: *code, message: message.to_string(), temporary: *temporary };
    Reply { id, error: Some(error), ..Reply::default() }.encode_length_delimited_to_vec()
}

pub(super) fn encode_push(push: Pushed<'_>) -> Vec<u8> {
    Reply { push: Some(push.into()), ..Reply::default() }.encode_length_delimited_to_vec()
}

#[derive(Clone, PartialEq, Message)]
struct Reply {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "2")]
    error: Option<ReplyError>,
    #[prost(message, optional, tag = "4")]
    push: Option<Push>,
    #[prost(message, optional, tag = "5")]
    connect: Option<ConnectResult>,
    #[prost(message, optional, tag = "6")]
    subscribe: Option<SubscribeResult>,
    #[prost(message, optional, tag = "7")]
    unsubscribe: Option<Empty>,
    #[prost(message, optional, tag = "8")]
    publish: Option<Empty>,
    #[prost(message, optional, tag = "9")]
    presence: Option<PresenceResult>,
    #[prost(message, optional, tag = "10")]
    presence_stats: Option<PresenceStatsResult>,
    #[prost(message, optional, tag = "11")]
    history: Option<HistoryResult>,
    #[prost(message, optional, tag = "12")]
    ping: Option<Empty>,
    #[prost(message, optional, tag = "13")]
    rpc: Option<DataOnly>,
    #[prost(message, optional, tag = "14")]
    refresh: Option<RefreshResult>,
    #[prost(message, optional, tag = "15")]
    sub_refresh: Option<SubRefreshResult>,
}

#[derive(Clone, PartialEq, Message)]
struct ReplyError {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(bool, tag = "3")]
    temporary: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ConnectResult {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bool, tag = "3")]
    expires: bool,
    #[prost(uint32, tag = "4")]
    ttl: u32,
    #[prost(bytes = "vec", tag = "5")]
    data: Vec<u8>,
    #[prost(btree_map = "string, message", tag = "6")]
    subs: BTreeMap<String, SubscribeResult>,
    #[prost(uint32, tag = "7")]
    ping: u32,
    #[prost(bool, tag = "8")]
    pong: bool,
    #[prost(string, tag = "10")]
    node: String,
    #[prost(int64, tag = "11")]
    time: i64,
}

impl From<&messages::Connected> for ConnectResult {
    fn from(connected: &messages::Connected) -> Self {
        Self {
            client: connected.client.to_string(),
            version: connected.version.to_owned(),
            expires: connected.ttl.is_some(),
            ttl: connected.ttl.map_or(0, seconds),
            data: bytes(connected.data.as_ref()),
            subs: connected.subs.iter().map(|(channel, subscribed)| (channel.to_string(), subscribed.into())).collect(),
            ping: connected.ping,
            pong: connected.pong,
            node: connected.node.clone(),
            time: moment(connected.time),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct SubscribeResult {
    #[prost(bool, tag = "1")]
    expires: bool,
    #[prost(uint32, tag = "2")]
    ttl: u32,
    #[prost(bool, tag = "3")]
    recoverable: bool,
    #[prost(string, tag = "6")]
    epoch: String,
    #[prost(message, repeated, tag = "7")]
    publications: Vec<Publication>,
    #[prost(bool, tag = "8")]
    recovered: bool,
    #[prost(uint64, tag = "9")]
    offset: u64,
    #[prost(bool, tag = "10")]
    positioned: bool,
    #[prost(bytes = "vec", tag = "11")]
    data: Vec<u8>,
    #[prost(bool, tag = "12")]
    was_recovering: bool,
}

impl From<&messages::SubscribeResult> for SubscribeResult {
    fn from(messages::SubscribeResult { answer, data }: &messages::SubscribeResult) -> Self {
        let (epoch, offset) = position(answer);
        Self {
            expires: answer.ttl.is_some(),
            ttl: answer.ttl.map_or(0, seconds),
            recoverable: answer.recoverable,
            epoch,
            publications: publications(&answer.publications),
            recovered: answer.recovered,
            offset,
            positioned: answer.positioned,
            data: bytes(data.as_ref()),
            was_recovering: answer.was_recovering,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct HistoryResult {
    #[prost(message, repeated, tag = "1")]
    publications: Vec<Publication>,
    #[prost(string, tag = "2")]
    epoch: String,
    #[prost(uint64, tag = "3")]
    offset: u64,
}

#[derive(Clone, PartialEq, Message)]
struct PresenceResult {
    #[prost(btree_map = "string, message", tag = "1")]
    presence: BTreeMap<String, ClientInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct PresenceStatsResult {
    #[prost(uint32, tag = "1")]
    num_clients: u32,
    #[prost(uint32, tag = "2")]
    num_users: u32,
}

#[derive(Clone, PartialEq, Message)]
struct RefreshResult {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bool, tag = "3")]
    expires: bool,
    #[prost(uint32, tag = "4")]
    ttl: u32,
}

#[derive(Clone, PartialEq, Message)]
struct SubRefreshResult {
    #[prost(bool, tag = "1")]
    expires: bool,
    #[prost(uint32, tag = "2")]
    ttl: u32,
}

/// The results of methods that answer nothing.
#[derive(Clone, PartialEq, Message)]
struct Empty {}

/// The result of `rpc`, and the push of a message.
#[derive(Clone, PartialEq, Message)]
struct DataOnly {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(string, tag = "2")]
    channel: String,
    #[prost(message, optional, tag = "4")]
    publication: Option<Publication>,
    #[prost(message, optional, tag = "5")]
    join: Option<Presence>,
    #[prost(message, optional, tag = "6")]
    leave: Option<Presence>,
    #[prost(message, optional, tag = "7")]
    unsubscribe: Option<Unsubscribe>,
    #[prost(message, optional, tag = "8")]
    message: Option<DataOnly>,
    #[prost(message, optional, tag = "9")]
    subscribe: Option<SubscribePush>,
    #[prost(message, optional, tag = "11")]
    disconnect: Option<Disconnect>,
}

impl From<Pushed<'_>> for Push {
    fn from(push: Pushed<'_>) -> Self {
        let none = Self::default();
        match push {
            Pushed::Publication { channel, publication } => {
                Self { channel: channel.to_owned(), publication: Some(publication.into()), ..none }
            }
            Pushed::Join { channel, info } => {
                Self { channel: channel.to_owned(), join: Some(Presence { info: Some(info.into()) }), ..none }
            }
            Pushed::Leave { channel, info } => {
                Self { channel: channel.to_owned(), leave: Some(Presence { info: Some(info.into()) }), ..none }
            }
            Pushed::Subscribe { channel, answer, data } => {
                let (epoch, offset) = position(answer);
                let subscribe = SubscribePush {
                    recoverable: answer.recoverable,
                    epoch,
                    offset,
                    positioned: answer.positioned,
                    data: bytes(data),
                };
                Self { channel: channel.to_owned(), subscribe: Some(subscribe), ..none }
            }
            Pushed::Unsubscribe { channel, why } => {
                let unsubscribe = Unsubscribe { code: why.code(), reason: why.reason().to_owned() };
                Self { channel: channel.to_owned(), unsubscribe: Some(unsubscribe), ..none }
            }
            Pushed::Message { data } => Self { message: Some(DataOnly { data: bytes(Some(data)) }), ..none },
            Pushed::Disconnect(disconnect) => {
                let reason = disconnect.reason.to_string();
                Self { disconnect: Some(Disconnect { code: disconnect.code.into(), reason }), ..none }
            }
        }
    }
}

/// A join or a leave.
#[derive(Clone, PartialEq, Message)]
struct Presence {
    #[prost(message, optional, tag = "1")]
    info: Option<ClientInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct SubscribePush {
    #[prost(bool, tag = "1")]
    recoverable: bool,
    #[prost(string, tag = "4")]
    epoch: String,
    #[prost(uint64, tag = "5")]
    offset: u64,
    #[prost(bool, tag = "6")]
    positioned: bool,
    #[prost(bytes = "vec", tag = "7")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Unsubscribe {
    #[prost(uint32, tag = "2")]
    code: u32,
    #[prost(string, tag = "3")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct Disconnect {
    #[prost(uint32, tag = "1")]
    code: u32,
    #[prost(string, tag = "2")]
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct Publication {
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    info: Option<ClientInfo>,
    #[prost(uint64, tag = "6")]
    offset: u64,
    #[prost(btree_map = "string, string", tag = "7")]
    tags: BTreeMap<String, String>,
    #[prost(int64, tag = "9")]
    time: i64,
}

impl From<&push::Publication> for Publication {
    fn from(publication: &push::Publication) -> Self {
        Self {
            data: bytes(Some(&publication.data)),
            info: publication.info.as_ref().map(ClientInfo::from),
            offset: publication.offset,
            tags: publication.tags.clone(),
            time: moment(publication.time),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct ClientInfo {
    #[prost(string, tag = "1")]
    user: String,
    #[prost(string, tag = "2")]
    client: String,
    #[prost(bytes = "vec", tag = "3")]
    conn_info: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    chan_info: Vec<u8>,
}

impl From<&push::ClientInfo> for ClientInfo {
    fn from(info: &push::ClientInfo) -> Self {
        Self {
            user: info.user.to_string(),
            client: info.client.to_string(),
            conn_info: bytes(info.conn_info.as_ref()),
            chan_info: bytes(info.chan_info.as_ref()),
        }
    }
}

fn publications(publications: &[std::sync::Arc<push::Publication>]) -> Vec<Publication> {
    publications.iter().map(|publication| publication.as_ref().into()).collect()
}

/// Data of every kind are bytes here.
fn bytes(data: Option<&Data>) -> Vec<u8> {
    data.map_or_else(Vec::new, |data| data.bytes.to_vec())
}

/// Epoch and offset.
fn position(answer: &push::Subscribed) -> (String, u64) {
    answer.position.as_ref().map_or_else(Default::default, |position| (position.epoch.to_string(), position.offset))
}

fn moment(time: push::Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}
