//! Outgoing connections, from a host's name to a stream on which the opening handshake can begin.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Registry;

use super::mailbox::Notifier;
use super::{ConnectionId, PeerAddr, Transport};
use crate::handshake::{ClientOptions, HandshakeError, Uri};
use crate::protocol::Config;

/// Why a connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// A socket failed.
    Io(io::Error),
    /// The server's answer to the opening handshake breaks a rule, or refuses.
    Handshake(HandshakeError),
    /// It took too long.
    Timeout,
    /// The loop is draining, has too many connections, or the connection was aborted.
    Cancelled,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

impl std::error::Error for DialError {}

/// Whom to connect to, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialRequest {
    /// The server.
    pub uri: Uri,
    /// What to ask for in the opening handshake.
    pub options: ClientOptions,
    /// The open connection's configuration.
    pub config: Arc<Config>,
    /// From the call to the end of the opening handshake. 10 s.
    pub timeout: Duration,
}

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
    Connected(Transport, PeerAddr),
    /// All was tried.
    Failed(DialError),
}

impl Dial {
    /// Keeps what is wanted; nothing happens before the first [`advance`](Self::advance).
    pub(crate) fn new(request: DialRequest, now: Instant) -> Self {
        let _ = (request, now);
        todo!()
    }

    /// What is wanted, for the opening handshake that follows. The session itself keeps to `request().timeout`.
    pub(crate) fn request(&self) -> &DialRequest {
        todo!()
    }

    /// Goes on as far as possible. Called at the start, after any event under its token, when notified, and at the
    /// time it waits for; calls for nothing are harmless.
    pub(crate) fn advance(&mut self, context: &DialContext<'_>) -> DialStep {
        let _ = context;
        todo!()
    }
}
