//! The way into a loop from other threads: a channel and a waker.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use mio::Waker;

use super::ConnectionId;

/// Sends tasks into a loop from any thread. Clones are cheap and reach the same loop.
///
/// Tasks wait in memory until the loop takes them, in the order each sender posted them. There is no bound: a sender
/// that could outrun the loop looks at [`waiting`](Self::waiting).
pub struct Remote<T> {
    sender: mpsc::Sender<Mail<T>>,
    wake: Arc<Wake>,
}

/// What a loop is told from outside.
#[derive(Debug)]
pub(crate) enum Mail<T> {
    Task(T),
    Shutdown(Duration),
}

/// The loop has ended; here is the task back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PostError<T>(pub T);

struct Wake {
    /// Tasks posted and not yet taken; only the first of a batch pays for a wake-up.
    waiting: AtomicUsize,
    waker: Arc<Waker>,
}

impl<T> Remote<T> {
    /// Hands `task` to the loop's application.
    ///
    /// # Errors
    /// The task itself, if the loop has ended.
    pub fn post(&self, task: T) -> Result<(), PostError<T>> {
        self.send(Mail::Task(task)).map_err(|mail| match mail {
            Mail::Task(task) => PostError(task),
            Mail::Shutdown(_) => unreachable!("a task was sent"),
        })
    }

    /// Asks the loop to drain: stop accepting, close every connection with 1001, and end within `deadline` at the
    /// latest. Without effect if it has ended already.
    pub fn shutdown(&self, deadline: Duration) {
        let _ = self.send(Mail::Shutdown(deadline));
    }

    /// How many posted tasks the loop has not taken yet.
    pub fn waiting(&self) -> usize {
        self.wake.waiting.load(Ordering::Relaxed)
    }

    fn send(&self, mail: Mail<T>) -> Result<(), Mail<T>> {
        // Counted before it is sent, so that the loop can never take more than was counted.
        let first = self.wake.waiting.fetch_add(1, Ordering::AcqRel) == 0;
        if let Err(mpsc::SendError(mail)) = self.sender.send(mail) {
            self.wake.waiting.fetch_sub(1, Ordering::AcqRel);
            return Err(mail);
        }
        if first && let Err(error) = self.wake.waker.wake() {
            log::error!("cannot wake the event loop: {error}");
        }
        Ok(())
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostError(..)")
    }
}

impl<T> fmt::Display for PostError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop has ended")
    }
}

impl<T> std::error::Error for PostError<T> {}

/// The loop's end of the channel.
pub(crate) struct Mailbox<T> {
    receiver: mpsc::Receiver<Mail<T>>,
    remote: Remote<T>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { receiver, remote: Remote { sender, wake: Arc::new(Wake { waiting: AtomicUsize::new(0), waker }) } }
    }

    pub(crate) fn remote(&self) -> Remote<T> {
        self.remote.clone()
    }

    /// Whether anything waits. Asked every turn: after a batch nobody wakes the loop for the rest.
    pub(crate) fn is_waiting(&self) -> bool {
        self.remote.waiting() > 0
    }

    pub(crate) fn take(&self) -> Option<Mail<T>> {
        let mail = self.receiver.try_recv().ok()?;
        self.remote.wake.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(mail)
    }
}

/// Lets work that was handed to another thread (a name lookup) say that a connection should look again.
#[derive(Clone)]
pub(crate) struct Notifier {
    ids: Arc<Mutex<Vec<ConnectionId>>>,
    waker: Option<Arc<Waker>>,
}

impl Notifier {
    /// `waker` is absent where nothing polls, as in a simulation.
    pub(crate) fn new(waker: Option<Arc<Waker>>) -> Self {
        Self { ids: Arc::default(), waker }
    }

    /// Has the loop treat `id` as ready.
    pub(crate) fn notify(&self, id: ConnectionId) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        if let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            log::error!("cannot wake the event loop: {error}");
        }
    }

    /// Those that were notified since the last call.
    pub(crate) fn take(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}
