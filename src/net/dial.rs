//! Outgoing connections, from a host's name to a stream on which the opening handshake can begin.

use std::fmt;
use std::time::Instant;

use mio::Registry;

use super::mailbox::Notifier;
use super::{ConnectionId, Transport};

/// Why a connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {}

impl fmt::Display for DialError {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for DialError {}

/// What the loop lends to a connection under way.
pub(crate) struct DialContext<'a> {
    /// Where sockets are registered, every one of them under `id.token()`: readiness of any of them leads to `advance`.
    pub(crate) registry: &'a Registry,
    pub(crate) id: ConnectionId,
    /// For work on other threads: `notifier.notify(id)` leads to `advance`.
    pub(crate) notifier: &'a Notifier,
    pub(crate) now: Instant,
}

/// A connection under way: the name's lookup, the race of addresses, the proxy, the TLS handshake.
#[derive(Debug)]
pub(crate) struct Dial {}

/// How far a connection under way has come.
#[derive(Debug)]
pub(crate) enum DialStep {
    /// It waits for a socket, a notification, or the time given.
    Wait(Option<Instant>),
    /// The stream stands, TLS included, and is registered. The opening handshake is the session's own.
    Connected(Transport),
    /// All was tried.
    Failed(DialError),
}

impl Dial {
    /// Goes on as far as possible. Called at the start, after any event under its token, when notified, and at the
    /// time it waits for; calls for nothing are harmless.
    pub(crate) fn advance(&mut self, context: &DialContext<'_>) -> DialStep {
        let _ = context;
        todo!()
    }
}
