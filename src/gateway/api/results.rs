//! What methods give back, in JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::ser::{Error, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::push::{ClientInfo, Data, Kind, Publication};

#[derive(Serialize)]
pub(super) struct Receivers {
    pub(super) receivers: usize,
}

#[derive(Serialize)]
pub(super) struct NumClients {
    pub(super) num_clients: usize,
}

#[derive(Serialize)]
pub(super) struct Presence<'a> {
    pub(super) presence: BTreeMap<String, InfoJson<'a>>,
}

#[derive(Serialize)]
pub(super) struct PresenceStats {
    pub(super) num_clients: usize,
    pub(super) num_users: usize,
}

#[derive(Serialize)]
pub(super) struct History<'a> {
    pub(super) publications: Vec<PublicationJson<'a>>,
    pub(super) offset: u64,
    pub(super) epoch: &'a str,
}

#[derive(Serialize)]
pub(super) struct Channels<'a> {
    pub(super) channels: BTreeMap<&'a str, NumClients>,
}

#[derive(Serialize)]
pub(super) struct Info<'a> {
    pub(super) nodes: [Node<'a>; 1],
}

#[derive(Serialize)]
pub(super) struct Node<'a> {
    pub(super) uid: &'a str,
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) num_clients: usize,
    pub(super) num_users: usize,
    pub(super) num_channels: usize,
    pub(super) num_subs: usize,
    /// Seconds.
    pub(super) uptime: u64,
}

#[derive(Serialize)]
pub(super) struct Members<'a> {
    pub(super) clients: BTreeMap<String, Member<'a>>,
}

#[derive(Serialize)]
pub(super) struct Member<'a> {
    pub(super) user: &'a str,
}

#[derive(Serialize)]
pub(super) struct ConnectionsOf<'a> {
    pub(super) connections: BTreeMap<String, Connection<'a>>,
}

#[derive(Serialize)]
pub(super) struct Connection<'a> {
    pub(super) user: &'a str,
    pub(super) transport: &'a str,
    pub(super) protocol: &'a str,
}

#[derive(Serialize)]
pub(super) struct Users<'a> {
    pub(super) users: BTreeMap<&'a str, NumClients>,
}

/// A publication of a history.
pub(super) struct PublicationJson<'a>(pub(super) &'a Publication);

impl Serialize for PublicationJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let publication = self.0;
        let mut map = serializer.serialize_map(None)?;
        data_entry(&mut map, "data", "b64data", &publication.data)?;
        if let Some(info) = &publication.info {
            map.serialize_entry("info", &InfoJson(info))?;
        }
        map.serialize_entry("offset", &publication.offset)?;
        if !publication.tags.is_empty() {
            map.serialize_entry("tags", &publication.tags)?;
        }
        map.serialize_entry("time", &publication.time.0)?;
        map.end()
    }
}

/// A client, as others in a channel see it.
pub(super) struct InfoJson<'a>(pub(super) &'a ClientInfo);

impl Serialize for InfoJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("user", &*self.0.user)?;
        map.serialize_entry("client", &self.0.client.to_string())?;
        if let Some(info) = &self.0.conn_info {
            data_entry(&mut map, "conn_info", "b64conn_info", info)?;
        }
        if let Some(info) = &self.0.chan_info {
            data_entry(&mut map, "chan_info", "b64chan_info", info)?;
        }
        map.end()
    }
}

/// Data under their name: JSON as it is, text as a string; bytes that are neither, in base64, under another name.
fn data_entry<M: SerializeMap>(map: &mut M, name: &str, b64name: &str, data: &Data) -> Result<(), M::Error> {
    match data.kind {
        Kind::Json => {
            let value: &RawValue = serde_json::from_slice(&data.bytes).map_err(M::Error::custom)?;
            map.serialize_entry(name, value)
        }
        Kind::Text => map.serialize_entry(name, &*String::from_utf8_lossy(&data.bytes)),
        Kind::Binary => map.serialize_entry(b64name, &STANDARD.encode(&data.bytes)),
    }
}
