//! The loops of an endpoint, as seen from any thread: which one has a connection, and what it can be asked to do.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::adapter::Endpoint;
use super::metrics::{Counters, Metrics};
use super::{Connections, OwnedMessage};
use crate::handshake::Response;
use crate::net::{ConnectionId, EventLoop, Remote};
use crate::wire::{CloseCode, PreparedMessage};

/// The endpoint has stopped; nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the endpoint has stopped")
    }
}

impl std::error::Error for Stopped {}

/// What a loop is asked to do from outside.
pub(super) enum Task {
    Send(ConnectionId, OwnedMessage),
    SendPrepared(ConnectionId, PreparedMessage),
    SendTo(Vec<ConnectionId>, PreparedMessage),
    Broadcast(PreparedMessage, Option<ConnectionId>),
    Close(ConnectionId, CloseCode, String),
    Abort(ConnectionId),
    Respond(ConnectionId, Box<Response>),
    Run(Job),
    Custom(Box<dyn Any + Send>),
}

/// Something to run on a loop's thread.
pub(super) type Job = Box<dyn FnOnce(&mut Connections<'_>) + Send>;

/// The loops, by their index.
pub(super) struct Router {
    pub(super) loops: Vec<Loop>,
}

pub(super) struct Loop {
    pub(super) remote: Remote<Task>,
    pub(super) counters: Arc<Counters>,
    refusals: Arc<AtomicU64>,
}

impl Loop {
    pub(super) fn of(event_loop: &mut EventLoop<Endpoint>) -> Self {
        let refusals = event_loop.sessions().refusals();
        Self { remote: event_loop.remote(), counters: Arc::default(), refusals }
    }

    fn metrics(&self) -> Metrics {
        self.counters.snapshot(self.refusals.load(Ordering::Relaxed))
    }
}

impl Router {
    /// Hands `task` to the loop that has `id`; without effect if there is no such loop, as for any id that names nothing.
    pub(super) fn to(&self, id: ConnectionId, task: Task) -> Result<(), Stopped> {
        self.to_loop(id.loop_index().into(), task)
    }

    pub(super) fn to_loop(&self, index: usize, task: Task) -> Result<(), Stopped> {
        match self.loops.get(index) {
            Some(found) => found.remote.post(task).map_err(|_| Stopped),
            None => Ok(()),
        }
    }

    /// Hands a task to each loop but `except`; an error if none of them runs any more.
    pub(super) fn to_all(&self, except: Option<u8>, mut task: impl FnMut() -> Task) -> Result<(), Stopped> {
        let mut result = Err(Stopped);
        for (index, each) in self.loops.iter().enumerate() {
            if except.is_none_or(|except| usize::from(except) != index) {
                let posted = each.remote.post(task()).map_err(|_| Stopped);
                result = result.or(posted);
            }
        }
        result
    }

    /// Hands `message` to every loop but `except` that has some of `ids`.
    pub(super) fn send_to(
        &self,
        ids: impl IntoIterator<Item = ConnectionId>,
        except: Option<u8>,
        message: &PreparedMessage,
    ) -> Result<(), Stopped> {
        let mut per_loop = vec![Vec::new(); self.loops.len()];
        for id in ids {
            if Some(id.loop_index()) != except
                && let Some(ids) = per_loop.get_mut(usize::from(id.loop_index()))
            {
                ids.push(id);
            }
        }
        let mut result = Ok(());
        for (ids, each) in per_loop.into_iter().zip(&self.loops).filter(|(ids, _)| !ids.is_empty()) {
            result = result.and(each.remote.post(Task::SendTo(ids, message.clone())).map_err(|_| Stopped));
        }
        result
    }

    pub(super) fn shutdown(&self, within: Duration) {
        for each in &self.loops {
            each.remote.shutdown(within);
        }
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.loops.iter().map(Loop::metrics).fold(Metrics::default(), Metrics::plus)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("loops", &self.loops.len()).finish()
    }
}
