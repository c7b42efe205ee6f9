//! The thread that writes: it takes all that waits, commits it at once, and tells.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::directory::Directory;
use super::journal::{Change, Journal};
use super::{StoreError, StoreEvent};
use crate::push::Sequence;

/// How long a store that failed is left alone: to open it again is to read all of it.
const RETRY: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<Change>,
    /// Records among them, and among those that are being written.
    records: usize,
    ending: Option<Ending>,
}

/// How the thread is to end, once nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The store is marked as properly closed.
    Clean,
    /// It is not.
    Unclean,
}

impl Queue {
    pub(super) fn push(&self, change: Change) {
        let mut waiting = self.lock();
        waiting.records += usize::from(matches!(change, Change::Append(_)));
        waiting.changes.push(change);
        // A writer that has something waiting is awake.
        if waiting.changes.len() == 1 {
            self.bell.notify_one();
        }
    }

    pub(super) fn end(&self, ending: Ending) {
        self.lock().ending = Some(ending);
        self.bell.notify_one();
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().records
    }

    /// All that waits, as soon as there is something, or how to end.
    pub(super) fn take(&self) -> Result<Vec<Change>, Ending> {
        let mut waiting = self.lock();
        loop {
            if !waiting.changes.is_empty() {
                return Ok(std::mem::take(&mut waiting.changes));
            }
            if let Some(ending) = waiting.ending {
                return Err(ending);
            }
            waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many records are written, or given up.
    fn done(&self, records: usize) {
        self.lock().records -= records;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing above can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) type Tell = Box<dyn Fn(StoreEvent) + Send>;

/// The thread's own.
pub(super) struct Writer {
    directory: Box<dyn Directory>,
    queue: Arc<Queue>,
    tell: Tell,
    state: State,
    /// The greatest sequence that is on disk.
    last: Sequence,
    /// What could not be forgotten yet, of what is on disk.
    unforgotten: Vec<Sequence>,
    /// The sequence that was appended last.
    previous: Sequence,
    /// What comes is given up, until a sequence is left out: it was appended before the last failure was heard of.
    is_giving_up: bool,
    /// Nothing was given up so far.
    is_whole: bool,
    retry: Duration,
}

enum State {
    Open(Box<Journal>),
    /// Something could not be written, and this is why.
    Failing {
        error: String,
        since: Instant,
    },
}

impl Writer {
    pub(super) fn new(directory: Box<dyn Directory>, journal: Journal, queue: Arc<Queue>, tell: Tell) -> Self {
        let last = journal.last();
        let state = State::Open(Box::new(journal));
        Self {
            directory,
            queue,
            tell,
            state,
            last,
            unforgotten: Vec::new(),
            previous: last,
            is_giving_up: false,
            is_whole: true,
            retry: RETRY,
        }
    }

    #[cfg(test)]
    pub(super) fn retry_after(&mut self, retry: Duration) {
        self.retry = retry;
    }

    /// Writes until it is told to end.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        loop {
            match self.queue.take() {
                Ok(changes) => self.write(changes),
                Err(ending) => return self.end(ending),
            }
        }
    }

    /// Writes all of these, but for what is given up, and tells.
    pub(super) fn write(&mut self, mut changes: Vec<Change>) {
        let taken = sequences(&changes).count();
        changes.retain(|change| !matches!(change, Change::Append(record) if self.gives_up(record.sequence)));
        let (first, highest) = (sequences(&changes).min(), sequences(&changes).max());
        if changes.is_empty() {
            return self.queue.done(taken);
        }
        if !self.unforgotten.is_empty() {
            changes.insert(0, Change::Forget(std::mem::take(&mut self.unforgotten)));
        }

        let result = self.commit(&changes);
        self.queue.done(taken);
        match result {
            Ok(()) => {
                self.last = self.last.max(highest.unwrap_or_default());
                if highest.is_some() {
                    (self.tell)(StoreEvent::Committed(self.last));
                }
            }
            Err(error) => {
                self.is_whole = false;
                self.is_giving_up |= first.is_some();
                // What is not on disk now is not there either when the store is open again.
                let on_disk = |sequence: &Sequence| *sequence <= self.last;
                self.unforgotten = changes
                    .into_iter()
                    .filter_map(|change| match change {
                        Change::Forget(sequences) => Some(sequences),
                        Change::Append(_) => None,
                    })
                    .flatten()
                    .filter(on_disk)
                    .collect();
                match first {
                    Some(from) => (self.tell)(StoreEvent::Failed { from, error }),
                    None => log::warn!("what could not be forgotten is going to be: {error}"),
                }
            }
        }
    }

    /// Whether a record belongs to what has failed before.
    fn gives_up(&mut self, sequence: Sequence) -> bool {
        self.is_giving_up &= sequence.0 == self.previous.0.saturating_add(1);
        self.previous = sequence;
        self.is_giving_up
    }

    /// Commits to the open journal; one that has failed is opened again, if it is time for that.
    fn commit(&mut self, changes: &[Change]) -> Result<(), String> {
        let (mut journal, is_back) =
            match std::mem::replace(&mut self.state, State::failing("it is being opened again")) {
                State::Open(journal) => (journal, false),
                State::Failing { error, since } if since.elapsed() < self.retry => {
                    self.state = State::Failing { error: error.clone(), since };
                    return Err(error);
                }
                State::Failing { .. } => match Journal::reopen(&*self.directory, self.last) {
                    Ok(journal) => (Box::new(journal), true),
                    Err(error) => return Err(self.fail(&error)),
                },
            };
        match journal.commit(changes) {
            Ok(()) => {
                if is_back {
                    log::debug!("the store can be written again");
                }
                self.state = State::Open(journal);
                Ok(())
            }
            Err(error) => {
                // Closed before it is said to have failed, so that it can be opened by others then.
                drop(journal);
                Err(self.fail(&error))
            }
        }
    }

    fn fail(&mut self, error: &StoreError) -> String {
        let error = error.to_string();
        self.state = State::failing(&error);
        error
    }

    pub(super) fn end(self, ending: Ending) -> Result<(), StoreError> {
        match self.state {
            State::Open(journal) => journal.close(ending == Ending::Clean && self.is_whole),
            State::Failing { error, .. } => {
                let path = self.directory.path("");
                Err(StoreError::io(path, "write what was last stored", std::io::Error::other(error)))
            }
        }
    }
}

fn sequences(changes: &[Change]) -> impl Iterator<Item = Sequence> {
    changes.iter().filter_map(|change| match change {
        Change::Append(record) => Some(record.sequence),
        Change::Forget(_) => None,
    })
}

impl State {
    fn failing(error: &str) -> Self {
        Self::Failing { error: error.to_owned(), since: Instant::now() }
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("directory", &self.directory).field("last", &self.last).finish_non_exhaustive()
    }
}
