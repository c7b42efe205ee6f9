//! Backends that decide: an application is asked by POST, off the loop, and whoever waits goes on when it has answered.
//!
//! ```text
//! Core ── ask ──▶ queue, bounded ──▶ a thread of the pool: POST, within what is left of the question's time
//!   ▲                  │ full, or too late                  │
//!   └─ on_task ◀── HookDone ◀──────────── JSON read ◀───────┘
//! ```
//!
//! **No answer is no.** A backend that is gone, slow, or answers what cannot be understood lets nobody in: what went wrong
//! is in [`HookFailure::Unavailable`], for the log.

mod http;
mod json;
mod pool;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::http::Backend;
use self::pool::Pool;
pub(super) use self::room::Room;
use super::config::{ConfigError, HookConfig};
use super::token::{Overrides, SubscriptionClaims};
use crate::handshake::Fields;
use crate::push::{Data, Disconnect, SessionKey};

/// Names a question under way; no other in this process has the same.
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
    /// Fields of its opening handshake that are forwarded: see [`HookConfig::forwarded`].
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

/// Whether these URLs and fields can be used.
pub(super) fn check(config: &HookConfig) -> Result<(), ConfigError> {
    Backend::new(config).map(drop)
}

/// The pool of threads that ask. When it is dropped, what was asked is still answered.
#[derive(Debug)]
pub(super) struct Hooks {
    pool: Pool,
}

impl Hooks {
    /// Starts the threads, unless there is nothing to ask. `done` is called for each question, mostly on one of them.
    ///
    /// # Errors
    /// A URL or a field that no request can be made of, or threads that cannot be started.
    pub(super) fn start(
        config: &HookConfig,
        done: impl Fn(HookDone) + Send + Sync + 'static,
    ) -> Result<Self, ConfigError> {
        let backend = Backend::new(config)?;
        let threads = if config.asks_nothing() { 0 } else { config.concurrency };
        Ok(Self { pool: Pool::start(backend, threads, config, Box::new(done))? })
    }

    /// Asks; the answer comes by `done`, always, and once. A question that cannot even wait is refused on the caller's thread
    /// before this returns, so `done` hands over to the loop what it is given, and does no more.
    pub(super) fn ask(&self, request: HookRequest) -> HookTicket {
        self.pool.ask(request)
    }

    /// The room that whatever waits for a backend has to share.
    pub(super) fn room(&self) -> Arc<Room> {
        self.pool.room()
    }

    /// How many questions wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

impl HookConfig {
    /// Whether there is no backend to ask.
    pub(super) fn asks_nothing(&self) -> bool {
        self.urls().all(|(_, url)| url.is_none())
    }

    /// What of an opening handshake's `fields` each question of that client is sent with.
    pub(super) fn forwarded(&self, fields: &Fields) -> Vec<(String, String)> {
        if self.asks_nothing() {
            return Vec::new();
        }
        let wanted = |name: &str| self.forward_fields.iter().any(|forward| forward.eq_ignore_ascii_case(name));
        fields
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// Each URL by its key.
    fn urls(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        [
            ("connect", &self.connect),
            ("refresh", &self.refresh),
            ("subscribe", &self.subscribe),
            ("publish", &self.publish),
            ("rpc", &self.rpc),
            ("sub_refresh", &self.sub_refresh),
        ]
        .into_iter()
        .map(|(key, url)| (key, url.as_deref()))
    }
}

impl HookRequest {
    /// The key of the URL that is asked.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::Refresh { .. } => "refresh",
            Self::Subscribe { .. } => "subscribe",
            Self::Publish { .. } => "publish",
            Self::Rpc { .. } => "rpc",
            Self::SubRefresh { .. } => "sub_refresh",
        }
    }

    const fn client(&self) -> &ClientFacts {
        match self {
            Self::Connect { client, .. }
            | Self::Refresh { client }
            | Self::Subscribe { client, .. }
            | Self::Publish { client, .. }
            | Self::Rpc { client, .. }
            | Self::SubRefresh { client, .. } => client,
        }
    }

    const fn data(&self) -> Option<&Data> {
        match self {
            Self::Connect { data, .. } | Self::Subscribe { data, .. } | Self::Rpc { data, .. } => data.as_ref(),
            Self::Publish { data, .. } => Some(data),
            Self::Refresh { .. } | Self::SubRefresh { .. } => None,
        }
    }
}
