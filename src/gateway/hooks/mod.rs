//! Backends that decide: an application is asked by POST, off the loop, and whoever waits goes on when it has answered.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::config::{ConfigError, HookConfig};
use super::token::{Overrides, SubscriptionClaims};
use crate::push::{Data, Disconnect, SessionKey};

/// Names a question under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HookTicket(pub(super) u64);

/// What a backend is asked.
#[derive(Clone, Debug)]
pub(super) enum HookRequest {
    Connect { client: ClientFacts, name: String, version: String, data: Option<Data>, channels: Vec<String> },
    Refresh { client: ClientFacts },
    Subscribe { client: ClientFacts, channel: String, data: Option<Data> },
    Publish { client: ClientFacts, channel: String, data: Data },
    Rpc { client: ClientFacts, method: String, data: Option<Data> },
    SubRefresh { client: ClientFacts, channel: String },
}

/// What every question says of the client.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientFacts {
    pub(super) client: String,
    /// Empty before it is known.
    pub(super) user: String,
    /// `json` or `protobuf` (protocol) and `json` or `binary` (encoding).
    pub(super) protocol: &'static str,
    pub(super) encoding: &'static str,
    /// Fields of its opening handshake that are forwarded.
    pub(super) fields: Vec<(String, String)>,
}

/// What a backend has answered.
#[derive(Clone, Debug)]
pub(super) enum HookAnswer {
    Connect(ConnectAnswer),
    /// When the connection or subscription expires now (Unix seconds), or that it has.
    Refresh {
        expired: bool,
        expire_at: Option<u64>,
        info: Option<Data>,
    },
    Subscribe(SubscribeAnswer),
    /// The data to publish instead, if any.
    Publish {
        data: Option<Data>,
        skip_history: bool,
    },
    Rpc {
        data: Option<Data>,
    },
}

/// A connection that a backend lets in.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectAnswer {
    pub(super) user: String,
    pub(super) expire_at: Option<u64>,
    pub(super) info: Option<Data>,
    pub(super) data: Option<Data>,
    pub(super) channels: Vec<String>,
    pub(super) subs: BTreeMap<String, SubscriptionClaims>,
}

/// A subscription that a backend lets in.
#[derive(Clone, Debug, Default)]
pub(super) struct SubscribeAnswer {
    pub(super) info: Option<Data>,
    pub(super) data: Option<Data>,
    pub(super) expire_at: Option<u64>,
    pub(super) overrides: Option<Overrides>,
}

/// How a question ends that is not answered with yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HookFailure {
    /// The backend says no, in the client protocol's terms.
    Error { code: u32, message: String, temporary: bool },
    /// The backend sends the client away.
    Disconnect(Disconnect),
    /// No answer, none in time, none that could be understood, or too many questions waiting: the text is for the log.
    Unavailable(String),
}

/// Posted to the loop when a question is answered.
#[derive(Debug)]
pub(super) struct HookDone {
    pub(super) ticket: HookTicket,
    pub(super) outcome: Result<HookAnswer, HookFailure>,
}

/// Who waits for an answer, and what for.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: SessionKey,
    pub(super) about: About,
}

/// What was asked about, with all that is needed to go on.
#[derive(Debug)]
pub(super) enum About {
    /// Written by each protocol that asks: a command's id and its request.
    Centrifugo(super::centrifugo::Asked),
    Raw(super::raw::Asked),
}

/// The pool of threads that ask.
#[derive(Debug)]
pub(super) struct Hooks {}

impl Hooks {
    /// Starts the threads, unless there is nothing to ask. `done` is called on one of them for each question.
    pub(super) fn start(
        config: &HookConfig,
        done: impl Fn(HookDone) + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let _ = (config, done);
        todo!()
    }

    /// Asks; the answer comes by `done`, always, and never before this returns.
    pub(super) fn ask(&self, request: HookRequest) -> HookTicket {
        let _ = request;
        todo!()
    }
}

/// Data as they stand in JSON: the value itself, or base64 in the `b64` form.
pub(super) fn _placeholder(_: Option<Box<RawValue>>) {}
