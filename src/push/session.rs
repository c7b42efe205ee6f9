//! A client's session: who it is, and how it is named.

use std::sync::Arc;

use super::{ClientId, Data};

/// Names a session to the hub and in its effects: a number that the gateway chooses and never uses twice while the hub
/// knows it. Connections' ids serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// Which encoding a session is served in. The hub hands it back with each [`Receiver`](super::Receiver), so that a gateway
/// can encode once for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u8);

/// Who is behind a session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name to others.
    pub client: ClientId,
    /// Whose it is; empty for an anonymous one.
    pub user: Arc<str>,
    /// What others may know of it.
    pub info: Option<Data>,
}
