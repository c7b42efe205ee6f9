//! The way into a server from other threads.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::router::{Router, Task};
use super::{Connections, Metrics, OwnedMessage, Stopped};
use crate::handshake::Response;
use crate::net::ConnectionId;
use crate::wire::{CloseCode, PreparedMessage};

/// Reaches a running server from any thread. Clones are cheap and reach the same server.
///
/// Calls return at once; a loop does what they ask in its next turn, in the order in which one thread asked. What waits
/// for that is not bounded: a producer that could outrun the server looks at [`waiting`](Self::waiting). Ids that name
/// nothing any more are passed over.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    router: Arc<Router>,
}

impl ServerHandle {
    pub(super) fn new(router: Arc<Router>) -> Self {
        Self { router }
    }

    /// Sends to one connection.
    ///
    /// # Errors
    /// The server has stopped, as for all calls here.
    pub fn send(&self, id: ConnectionId, message: impl Into<OwnedMessage>) -> Result<(), Stopped> {
        self.router.to(id, Task::Send(id, message.into()))
    }

    /// Sends to one connection what was encoded once for many.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn send_prepared(&self, id: ConnectionId, message: &PreparedMessage) -> Result<(), Stopped> {
        self.router.to(id, Task::SendPrepared(id, message.clone()))
    }

    /// Sends to a set of connections.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn send_to(
        &self,
        ids: impl IntoIterator<Item = ConnectionId>,
        message: &PreparedMessage,
    ) -> Result<(), Stopped> {
        self.router.send_to(ids, None, message)
    }

    /// Sends to every connection that was accepted, at all loops.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn broadcast(&self, message: &PreparedMessage) -> Result<(), Stopped> {
        self.router.to_all(None, || Task::Broadcast(message.clone(), None))
    }

    /// The same, except for one.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn broadcast_except(&self, except: ConnectionId, message: &PreparedMessage) -> Result<(), Stopped> {
        self.router.to_all(None, || Task::Broadcast(message.clone(), Some(except)))
    }

    /// Starts the closing handshake of a connection. A code that may not be sent, or a reason over 123 bytes, has no
    /// effect.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn close(&self, id: ConnectionId, code: CloseCode, reason: impl Into<String>) -> Result<(), Stopped> {
        self.router.to(id, Task::Close(id, code, reason.into()))
    }

    /// Ends a connection at once.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn abort(&self, id: ConnectionId) -> Result<(), Stopped> {
        self.router.to(id, Task::Abort(id))
    }

    /// Answers a plain HTTP request for which [`on_http`](super::Handler::on_http) said
    /// [`Later`](super::HttpAnswer::Later).
    ///
    /// # Errors
    /// The server has stopped.
    pub fn respond(&self, id: ConnectionId, response: Response) -> Result<(), Stopped> {
        self.router.to(id, Task::Respond(id, Box::new(response)))
    }

    /// Runs `job` on the first loop's thread.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn run(&self, job: impl FnOnce(&mut Connections<'_>) + Send + 'static) -> Result<(), Stopped> {
        self.router.to_loop(0, Task::Run(Box::new(job)))
    }

    /// Runs a clone of `job` on each loop's thread.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn run_on_each(&self, job: impl FnOnce(&mut Connections<'_>) + Clone + Send + 'static) -> Result<(), Stopped> {
        self.router.to_all(None, || Task::Run(Box::new(job.clone())))
    }

    /// Hands `task` to the [`on_task`](super::Handler::on_task) of the loop with this index, from 0.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn post(&self, loop_index: usize, task: impl Any + Send) -> Result<(), Stopped> {
        self.router.to_loop(loop_index, Task::Custom(Box::new(task)))
    }

    /// How many loops there are.
    pub fn loops(&self) -> usize {
        self.router.loops.len()
    }

    /// Ends the server gracefully: it accepts nothing more, closes every connection with 1001, and ends when none is
    /// left, or `within` has passed.
    pub fn shutdown(&self, within: Duration) {
        self.router.shutdown(within);
    }

    /// How much of what was asked no loop has taken up yet.
    pub fn waiting(&self) -> usize {
        self.router.loops.iter().map(|each| each.remote.waiting()).sum()
    }

    /// What all loops have counted.
    pub fn metrics(&self) -> Metrics {
        self.router.metrics()
    }
}
