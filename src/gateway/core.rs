//! What all wire protocols share: the hub, its clients, and how its effects reach them.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::GatewayConfig;
use super::hooks::{HookTicket, Hooks, Question};
use super::metrics::Metrics;
use super::token::Verifier;
use super::{centrifugo, raw};
use crate::endpoint::Connections;
use crate::net::ConnectionId;
use crate::push::{Effects, Hub, Lane, SessionKey, Ticket, Time};
use crate::store::Store;

/// The encodings that sessions are served in.
pub(super) const CENTRIFUGO_JSON: Lane = Lane(0);
pub(super) const CENTRIFUGO_PROTOBUF: Lane = Lane(1);
/// As it was published.
pub(super) const RAW: Lane = Lane(2);
/// The same, but not to the client that published it.
pub(super) const RAW_TO_OTHERS: Lane = Lane(3);

/// The push server without its sockets: they are lent to each call.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<GatewayConfig>,
    pub(super) hub: Hub,
    /// What the hub wants done; [`settle`](Self::settle) does it. Empty between calls.
    pub(super) effects: Effects,
    /// Clients that have a session in the hub, or are about to.
    pub(super) clients: HashMap<SessionKey, Client>,
    pub(super) verifier: Verifier,
    pub(super) store: Option<Store>,
    pub(super) hooks: Hooks,
    /// Who waits for the store.
    pub(super) waiters: HashMap<Ticket, Vec<Waiter>>,
    /// Who waits for a backend.
    pub(super) questions: HashMap<HookTicket, Question>,
    pub(super) metrics: Metrics,
}

/// A client, whichever protocol it speaks.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) kind: ClientKind,
    /// When its token or its backend's word expires.
    pub(super) expire_at: Option<Time>,
}

#[derive(Debug)]
pub(super) enum ClientKind {
    Centrifugo(Box<centrifugo::Session>),
    Raw(Box<raw::Session>),
}

/// Who is told when a publish is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    /// A client of the Centrifugo protocol, by its command's id.
    Centrifugo { key: SessionKey, command: u32 },
    /// A plain client, which is told only of failure.
    Raw { key: SessionKey },
    /// A request of the server API: the answer's `index`th part.
    Api { exchange: ConnectionId, index: usize },
}

impl Core {
    /// Carries out what the hub wants done, in order, until nothing is left.
    pub(super) fn settle(&mut self, connections: &mut Connections<'_>) {
        let _ = connections;
        todo!()
    }

    /// The moment of this turn.
    pub(super) fn now(&self, connections: &Connections<'_>) -> Time {
        let _ = connections;
        todo!()
    }
}

/// The session of a connection.
pub(super) const fn key_of(id: ConnectionId) -> SessionKey {
    SessionKey(id.to_u64())
}

/// The connection of a session.
pub(super) const fn connection_of(key: SessionKey) -> ConnectionId {
    ConnectionId::from_u64(key.0)
}
