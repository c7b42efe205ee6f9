//! The way into a client from other threads.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outgoing::Outgoing;
use super::router::{Router, Task};
use super::{Connections, Metrics, OwnedMessage, ResubmitId, Stopped};
use crate::net::ConnectionId;
use crate::protocol::Closed;
use crate::wire::CloseCode;

/// Reaches a running client from any thread, its own handler included. Clones are cheap and reach the same client.
///
/// Messages wait in a queue while there is no connection, or while the server does not take them; what was not sent when
/// a connection is lost leaves by the next one.
#[derive(Clone, Debug)]
pub struct ClientHandle {
    router: Arc<Router>,
    shared: Arc<Shared>,
}

/// Why a client takes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientSendError {
    /// What waits to be sent, or to be acknowledged, would be more than this many bytes:
    /// [`ClientBuilder::max_queued`](super::ClientBuilder::max_queued).
    Full(usize),
    /// The client has stopped.
    Stopped,
}

impl fmt::Display for ClientSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(cap) => write!(f, "more than {cap} bytes would wait: send less, or allow more by max_queued"),
            Self::Stopped => f.write_str("the client has stopped"),
        }
    }
}

impl std::error::Error for ClientSendError {}

/// What a client's handles and its loop share.
#[derive(Debug)]
pub(super) struct Shared {
    outgoing: Mutex<Outgoing>,
    pub(super) connected: AtomicBool,
    ended: Mutex<Option<Ended>>,
    max_queued: usize,
}

/// What was the last of a client's connection.
#[derive(Debug)]
pub(super) enum Ended {
    Closed(Closed),
    /// It never came about; its loop knows why.
    DialFailed(ConnectionId),
}

/// What a client's loop is told by its handles.
#[derive(Debug)]
pub(super) enum Command {
    /// There is something to send.
    Flush,
    Close(CloseCode, String),
    Ping(Vec<u8>),
}

impl Shared {
    pub(super) fn new(max_queued: usize) -> Self {
        Self {
            outgoing: Mutex::new(Outgoing::new(max_queued)),
            connected: AtomicBool::new(false),
            ended: Mutex::new(None),
            max_queued,
        }
    }

    pub(super) fn set_ended(&self, ended: Ended) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    }

    pub(super) fn take_ended(&self) -> Option<Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn outgoing(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientHandle {
    pub(super) fn new(router: Arc<Router>, shared: Arc<Shared>) -> Self {
        Self { router, shared }
    }

    /// Queues a message. It is sent at most once: if the connection is lost behind it, so may be the message.
    ///
    /// # Errors
    /// Too much waits already, or the client has stopped.
    pub fn send(&self, message: impl Into<OwnedMessage>) -> Result<(), ClientSendError> {
        let message = message.into();
        self.queue(|outgoing| outgoing.push(message).ok())
    }

    /// Queues a message and keeps it: it is sent again, in order, after each reconnect, until it is
    /// [acknowledged](Self::acknowledge). The server may see it more than once.
    ///
    /// # Errors
    /// Too much waits already, or the client has stopped.
    pub fn resubmit(&self, message: impl Into<OwnedMessage>) -> Result<ResubmitId, ClientSendError> {
        let message = message.into();
        self.queue(|outgoing| outgoing.keep(message).ok())
    }

    /// Forgets a message that was kept; whether it still was.
    pub fn acknowledge(&self, id: ResubmitId) -> bool {
        self.shared.outgoing().acknowledge(id)
    }

    /// Messages that wait for a connection, or for the server to take them.
    pub fn queued(&self) -> usize {
        self.shared.outgoing().len()
    }

    /// Whether there is an open connection, for what that may be worth by the time it is read.
    pub fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Sends a ping with at most 125 bytes, if there is a connection.
    ///
    /// # Errors
    /// The client has stopped.
    pub fn ping(&self, payload: impl Into<Vec<u8>>) -> Result<(), Stopped> {
        self.command(Command::Ping(payload.into()))
    }

    /// Closes the connection behind all that is queued, one that is being dialled too, and ends the client. While it
    /// waits to reconnect it ends at once. A code that may not be sent, or a reason over 123 bytes, drops the connection
    /// instead. Messages that the server sends after this are not delivered any more.
    ///
    /// # Errors
    /// The client has stopped.
    pub fn close(&self, code: CloseCode, reason: impl Into<String>) -> Result<(), Stopped> {
        self.command(Command::Close(code, reason.into()))
    }

    /// Ends the client gracefully, with 1001; at the latest when `within` has passed.
    pub fn shutdown(&self, within: Duration) {
        self.router.shutdown(within);
    }

    /// Runs `job` on the client's thread.
    ///
    /// # Errors
    /// The client has stopped.
    pub fn run(&self, job: impl FnOnce(&mut Connections<'_>) + Send + 'static) -> Result<(), Stopped> {
        self.router.to_loop(0, Task::Run(Box::new(job)))
    }

    /// Hands `task` to the handler's [`on_task`](super::Handler::on_task).
    ///
    /// # Errors
    /// The client has stopped.
    pub fn post(&self, task: impl Any + Send) -> Result<(), Stopped> {
        self.router.to_loop(0, Task::Custom(Box::new(task)))
    }

    /// What the client has counted.
    pub fn metrics(&self) -> Metrics {
        self.router.metrics()
    }

    fn queue<T>(&self, enter: impl FnOnce(&mut Outgoing) -> Option<T>) -> Result<T, ClientSendError> {
        let mut outgoing = self.shared.outgoing();
        if outgoing.stopped {
            return Err(ClientSendError::Stopped);
        }
        let entered = enter(&mut outgoing).ok_or(ClientSendError::Full(self.shared.max_queued))?;
        // One word to the loop is enough until it has looked.
        if !std::mem::replace(&mut outgoing.woken, true) {
            drop(outgoing);
            self.command(Command::Flush).map_err(|_| ClientSendError::Stopped)?;
        }
        Ok(entered)
    }

    fn command(&self, command: Command) -> Result<(), Stopped> {
        self.router.to_loop(0, Task::Custom(Box::new(command)))
    }
}
