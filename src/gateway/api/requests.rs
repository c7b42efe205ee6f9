//! What each method is told. Fields that are not known here are passed over: client libraries of the protocol's own server
//! send some.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::Refusal;
use crate::gateway::shapes;
use crate::gateway::shapes::{map, object, or_default, verbatim};
use crate::gateway::token::Overrides;
use crate::push::{ClientId, Data, Disconnect, PushError};
use crate::wire::CloseFrame;

/// Bytes of an idempotency key at most.
pub(super) const MAX_KEY: usize = 255;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Publish {
    #[serde(deserialize_with = "or_default")]
    pub(super) channel: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) channels: Vec<String>,
    #[serde(deserialize_with = "verbatim")]
    data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "or_default")]
    b64data: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) skip_history: bool,
    #[serde(deserialize_with = "map")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    idempotency_key: String,
    #[serde(deserialize_with = "or_default")]
    version: u64,
}

impl Publish {
    /// What to publish.
    pub(super) fn data(&self) -> Result<Data, Refusal> {
        // Deltas are a matter of how clients are sent what is published; versions would be one of what is.
        if self.version > 0 {
            return Err(PushError::NotAvailable.into());
        }
        required_data(self.data.as_deref(), &self.b64data)
    }

    pub(super) fn key(&self) -> Result<Option<&str>, Refusal> {
        match self.idempotency_key.len() {
            0 => Ok(None),
            1..=MAX_KEY => Ok(Some(&self.idempotency_key)),
            _ => Err(Refusal::too_much(format_args!("`idempotency_key` may have {MAX_KEY} bytes"))),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Channel {
    #[serde(deserialize_with = "or_default")]
    pub(super) channel: String,
}

/// The connections that a method is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    User(&'a str),
    /// One client; if a user is named too, it has to be that one's.
    Client(ClientId, Option<&'a str>),
    /// A client that cannot be: nobody.
    Nobody,
}

/// Reads `user` and `client`.
pub(super) fn whose<'a>(user: &'a str, client: &str) -> Result<Whose<'a>, Refusal> {
    match (user, client) {
        ("", "") => Err(Refusal::bad("`user` or `client` has to be there")),
        (user, "") => Ok(Whose::User(user)),
        (user, client) => Ok(match ClientId::parse(client) {
            Some(client) => Whose::Client(client, Some(user).filter(|user| !user.is_empty())),
            None => Whose::Nobody,
        }),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Subscribe {
    #[serde(deserialize_with = "or_default")]
    pub(super) channel: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client: String,
    info: Option<Box<RawValue>>,
    #[serde(deserialize_with = "or_default")]
    b64info: String,
    data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "or_default")]
    b64data: String,
    #[serde(deserialize_with = "object")]
    pub(super) recover_since: Option<StreamPosition>,
    #[serde(deserialize_with = "or_default")]
    pub(super) expire_at: u64,
    #[serde(rename = "override", deserialize_with = "object")]
    pub(super) overrides: Option<Overrides>,
}

impl Subscribe {
    pub(super) fn info(&self) -> Result<Option<Data>, Refusal> {
        data_of("info", self.info.as_deref(), &self.b64info)
    }

    pub(super) fn data(&self) -> Result<Option<Data>, Refusal> {
        data_of("data", self.data.as_deref(), &self.b64data)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamPosition {
    #[serde(deserialize_with = "or_default")]
    pub(super) offset: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) epoch: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Unsubscribe {
    #[serde(deserialize_with = "or_default")]
    pub(super) channel: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct DisconnectUser {
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client: String,
    /// Clients that stay.
    #[serde(deserialize_with = "or_default")]
    pub(super) whitelist: Vec<String>,
    #[serde(deserialize_with = "object")]
    disconnect: Option<CodeAndReason>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CodeAndReason {
    #[serde(deserialize_with = "or_default")]
    code: u16,
    #[serde(deserialize_with = "or_default")]
    reason: String,
}

impl DisconnectUser {
    /// How they are sent away: for good, if nothing else is said.
    pub(super) fn disconnect(&self) -> Result<Disconnect, Refusal> {
        match &self.disconnect {
            None => Ok(Disconnect::FORCE_NO_RECONNECT),
            Some(CodeAndReason { code, .. }) if !matches!(code, 3000..=4999) => {
                Err(Refusal::bad("`disconnect.code` has to be from 3000 to 4999"))
            }
            Some(CodeAndReason { reason, .. }) if reason.len() > CloseFrame::MAX_REASON_LEN => {
                let most = CloseFrame::MAX_REASON_LEN;
                Err(Refusal::too_much(format_args!("`disconnect.reason` may have {most} bytes")))
            }
            Some(CodeAndReason { code, reason }) => Ok(Disconnect::new(*code, reason.as_str())),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Refresh {
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client: String,
    /// Their time is over.
    #[serde(deserialize_with = "or_default")]
    pub(super) expired: bool,
    /// When their time is over, in Unix seconds; 0: never.
    #[serde(deserialize_with = "or_default")]
    pub(super) expire_at: u64,
    info: Option<Box<RawValue>>,
    #[serde(deserialize_with = "or_default")]
    b64info: String,
}

impl Refresh {
    pub(super) fn info(&self) -> Result<Option<Data>, Refusal> {
        data_of("info", self.info.as_deref(), &self.b64info)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    #[serde(deserialize_with = "or_default")]
    pub(super) channel: String,
    #[serde(deserialize_with = "or_default")]
    limit: i64,
    #[serde(deserialize_with = "object")]
    pub(super) since: Option<StreamPosition>,
    #[serde(deserialize_with = "or_default")]
    pub(super) reverse: bool,
}

impl History {
    /// How many publications at most: -1 for as many as the hub gives.
    pub(super) fn limit(&self) -> Result<usize, Refusal> {
        match self.limit {
            -1 => Ok(usize::MAX),
            limit => usize::try_from(limit).map_err(|_| Refusal::bad("`limit` is -1, 0 or more")),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Channels {
    #[serde(deserialize_with = "or_default")]
    pub(super) pattern: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Send {
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) group: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) all: bool,
    /// One client that is left out.
    #[serde(deserialize_with = "or_default")]
    pub(super) except: String,
    #[serde(deserialize_with = "verbatim")]
    data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "or_default")]
    b64data: String,
}

impl Send {
    pub(super) fn data(&self) -> Result<Data, Refusal> {
        required_data(self.data.as_deref(), &self.b64data)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Membership {
    #[serde(deserialize_with = "or_default")]
    pub(super) group: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) client: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
}

/// What a method without parameters is told.
#[derive(Default, Deserialize)]
pub(super) struct Nothing {}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Batch {
    #[serde(deserialize_with = "or_default")]
    pub(super) commands: Vec<Box<RawValue>>,
}

/// A command of a batch: one method by its name.
pub(super) type Command = BTreeMap<String, Box<RawValue>>;

/// Reads what a method is told.
pub(super) fn read<T: serde::de::DeserializeOwned + Default>(text: &str) -> Result<T, Refusal> {
    shapes::parse(text).map_err(Refusal::bad)
}

fn required_data(json: Option<&RawValue>, base64: &str) -> Result<Data, Refusal> {
    data_of("data", json, base64)?.ok_or_else(|| Refusal::bad("`data` or `b64data` has to be there"))
}

/// Data in either form.
fn data_of(name: &str, json: Option<&RawValue>, base64: &str) -> Result<Option<Data>, Refusal> {
    shapes::data(name, json, base64).map_err(Refusal::bad)
}
