//! Questions and answers as JSON, in the shapes of Centrifugo's proxy: backends written for that serve here.
//!
//! ```text
//! {"client":"…","transport":"websocket","protocol":"json","encoding":"json","user":"42","channel":"news","data":{…}}
//!
//! {"result":{…}}   or   {"error":{"code":1000,"message":"…","temporary":false}}   or   {"disconnect":{"code":4500,"reason":"…"}}
//! ```
//!
//! Data stand as JSON under `data`; bytes that are no text stand as base64 under `b64data`, and `info` likewise.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{ConnectAnswer, HookAnswer, HookFailure, HookRequest, SubscribeAnswer};
use crate::gateway::token::{Overrides, SubscriptionClaims};
use crate::gateway::{data, shapes};
use crate::push::{Data, Disconnect, Kind};

/// Bytes of a close frame's reason at most [RFC 6455 §5.5]: 125 without the code.
const MAX_REASON: usize = 123;

/// Why an answer is no yes.
pub(super) enum Refusal {
    /// The backend says so.
    Says(HookFailure),
    /// The answer has no meaning.
    Unintelligible(String),
}

#[derive(Serialize)]
struct Body<'a> {
    client: &'a str,
    transport: &'static str,
    protocol: &'a str,
    encoding: &'a str,
    /// Absent where the question is who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    channels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
}

/// The body of a question.
pub(super) fn question(request: &HookRequest) -> Result<Vec<u8>, String> {
    let client = request.client();
    let mut body = Body {
        client: &client.client,
        transport: "websocket",
        protocol: client.protocol,
        encoding: client.encoding,
        user: Some(&client.user),
        name: "",
        version: "",
        method: None,
        channel: None,
        channels: &[],
        data: None,
        b64data: None,
    };
    match request {
        HookRequest::Connect { name, version, channels, .. } => {
            body.user = None;
            (body.name, body.version, body.channels) = (name, version, channels);
        }
        HookRequest::Rpc { method, .. } => body.method = Some(method),
        HookRequest::Subscribe { channel, .. }
        | HookRequest::Publish { channel, .. }
        | HookRequest::SubRefresh { channel, .. } => body.channel = Some(channel),
        HookRequest::Refresh { .. } => {}
    }
    match request.data() {
        Some(data) if data.kind == Kind::Binary => body.b64data = Some(STANDARD.encode(&data.bytes)),
        Some(data) => body.data = Some(as_json(data)?),
        None => {}
    }
    serde_json::to_vec(&body).map_err(|error| error.to_string())
}

fn as_json(data: &Data) -> Result<Box<RawValue>, String> {
    let mut json = Vec::with_capacity(data.bytes.len() + 2);
    data::write_json(data, &mut json);
    serde_json::from_slice(&json).map_err(|error| format!("the client's data are no JSON: {error}"))
}

#[derive(Deserialize)]
struct Envelope {
    result: Option<Box<RawValue>>,
    error: Option<ErrorAnswer>,
    disconnect: Option<DisconnectAnswer>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    temporary: bool,
}

#[derive(Deserialize)]
struct DisconnectAnswer {
    code: u16,
    #[serde(default)]
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConnectResult {
    user: String,
    expire_at: u64,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    channels: Vec<String>,
    #[serde(deserialize_with = "shapes::map")]
    subs: BTreeMap<String, SubscriptionClaims>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefreshResult {
    expired: bool,
    expire_at: u64,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubscribeResult {
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    expire_at: u64,
    #[serde(rename = "override")]
    overrides: Option<Overrides>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DataResult {
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    skip_history: bool,
}

/// What a backend's answer to `request` says.
pub(super) fn answer(request: &HookRequest, body: &[u8]) -> Result<HookAnswer, Refusal> {
    let envelope: Envelope = serde_json::from_slice(body)
        .map_err(|error| Refusal::Unintelligible(format!("the answer cannot be read: {error}")))?;
    if let Some(answer) = envelope.disconnect {
        return Err(disconnect(answer));
    }
    if let Some(ErrorAnswer { code, message, temporary }) = envelope.error {
        return Err(Refusal::Says(HookFailure::Error { code, message, temporary }));
    }
    let result = envelope.result.ok_or("the answer has neither `result` nor `error` nor `disconnect`".to_owned());
    result.and_then(|result| read(request, result.get())).map_err(Refusal::Unintelligible)
}

fn read(request: &HookRequest, result: &str) -> Result<HookAnswer, String> {
    Ok(match request {
        HookRequest::Connect { .. } => {
            let result: ConnectResult = object(result)?;
            HookAnswer::Connect(ConnectAnswer {
                user: result.user,
                expire_at: moment(result.expire_at),
                info: data_of("info", result.info.as_deref(), result.b64info.as_deref())?,
                data: data_of("data", result.data.as_deref(), result.b64data.as_deref())?,
                channels: result.channels,
                subs: result.subs,
            })
        }
        HookRequest::Refresh { .. } | HookRequest::SubRefresh { .. } => {
            let result: RefreshResult = object(result)?;
            HookAnswer::Refresh {
                expired: result.expired,
                expire_at: moment(result.expire_at),
                info: data_of("info", result.info.as_deref(), result.b64info.as_deref())?,
            }
        }
        HookRequest::Subscribe { .. } => {
            let result: SubscribeResult = object(result)?;
            HookAnswer::Subscribe(SubscribeAnswer {
                info: data_of("info", result.info.as_deref(), result.b64info.as_deref())?,
                data: data_of("data", result.data.as_deref(), result.b64data.as_deref())?,
                expire_at: moment(result.expire_at),
                overrides: result.overrides,
            })
        }
        HookRequest::Publish { .. } => {
            let result: DataResult = object(result)?;
            let data = data_of("data", result.data.as_deref(), result.b64data.as_deref())?;
            HookAnswer::Publish { data, skip_history: result.skip_history }
        }
        HookRequest::Rpc { .. } => {
            let result: DataResult = object(result)?;
            HookAnswer::Rpc { data: data_of("data", result.data.as_deref(), result.b64data.as_deref())? }
        }
    })
}

fn disconnect(DisconnectAnswer { code, reason }: DisconnectAnswer) -> Refusal {
    if !matches!(code, 3000..=4999) {
        return Refusal::Unintelligible(format!("`disconnect.code` is {code}, and has to be from 3000 to 4999"));
    }
    if reason.len() > MAX_REASON {
        let len = reason.len();
        return Refusal::Unintelligible(format!("`disconnect.reason` has {len} bytes, and may have {MAX_REASON}"));
    }
    Refusal::Says(HookFailure::Disconnect(Disconnect::new(code, reason)))
}

/// An object's value, in a backend's words if it is none.
fn object<T: Default + DeserializeOwned>(json: &str) -> Result<T, String> {
    shapes::parse(json).map_err(|error| format!("`result` cannot be read: {error}"))
}

/// Unix seconds; 0 is never.
fn moment(seconds: u64) -> Option<u64> {
    (seconds > 0).then_some(seconds)
}

fn data_of(name: &str, json: Option<&RawValue>, base64: Option<&str>) -> Result<Option<Data>, String> {
    shapes::data(name, json, base64.unwrap_or_default())
}
