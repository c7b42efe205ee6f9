//! Where streams survive a restart: one file, one writer thread, many publications a commit.
//!
//! ```text
//! Effect::Store, Effect::Forget ──▶ Store::append, forget ──▶ writer thread: one transaction for all that waits ──▶ disk
//!                                                                         │
//!               Hub::committed, Hub::store_failed ◀── StoreEvent ◀────────┘
//! ```
//!
//! # What is on disk
//!
//! A directory that one process has at a time, and in it:
//!
//! | file | |
//! |---|---|
//! | `streams.redb` | a [redb](https://docs.rs/redb) database: sequence → record, and a few numbers about them |
//! | `streams.mark` | how many commits the database has had |
//!
//! # What it is safe against
//!
//! - **The end of the process or the machine, at any moment.** What [`StoreEvent::Committed`] has told is on disk. A commit
//!   that was under way is there whole or not at all.
//! - **Damage.** The database has a checksum for each page, all of which are verified on opening. What fails is reported,
//!   and nothing in the directory is changed: repairs and marks stay in memory until all records have been read.
//! - **A silent step back.** A database whose latest commit is damaged looks like one that died in that commit, and goes
//!   back to the one before. The mark, which is written behind each commit, knows better.
//! - **A full or failing disk.** What could not be written is reported once and given up; what is appended later is tried
//!   again.

mod codec;
mod directory;
mod disk;
mod error;
#[cfg(test)]
mod faults;
mod journal;
mod mark;
#[cfg(test)]
mod simulated;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

pub use error::StoreError;

use self::directory::RealDirectory;
use self::journal::{Change, Journal};
use self::writer::{Ending, Queue, Writer};
use crate::push::{Record, Restored, Sequence};

/// What the writer thread tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreEvent {
    /// Everything up to this is on disk, but for what [`Failed`](Self::Failed) told of before.
    Committed(Sequence),
    /// What was appended from this on, up to now, could not be written and is not going to be.
    ///
    /// Records that were appended before this is heard belong to it. They are known by their sequences, which follow one
    /// another: whoever has heard of a failure leaves out one, and what comes behind that is written again.
    Failed {
        /// The first that is lost.
        from: Sequence,
        /// Why.
        error: String,
    },
}

/// A store on disk; appending never waits for it.
///
/// Dropping it writes what waits and ends the thread, but only [`close`](Self::close) marks the store as properly closed.
#[derive(Debug)]
pub struct Store {
    queue: Arc<Queue>,
    /// `None` once it has been waited for.
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Store {
    /// Opens the store in the directory `dir`, made if it is not there, and reads all that it keeps. `tell` is called on the
    /// writer's thread after every commit that had records, and for those that failed.
    ///
    /// # Errors
    /// The directory or file cannot be read or written, another process has it, or what is there is damaged or not a store;
    /// the error says which, and what can be done. Nothing that was there has been changed then.
    pub fn open(dir: &Path, tell: impl Fn(StoreEvent) + Send + 'static) -> Result<(Self, Restored), StoreError> {
        let directory = Box::new(RealDirectory::lock(dir)?);
        let mut records = Vec::new();
        let journal = Journal::open(&*directory, |record| records.push(record))?;
        let restored = Restored { records, last: journal.last(), clean: journal.was_clean() };

        let queue = Arc::new(Queue::default());
        let writer = Writer::new(directory, journal, Arc::clone(&queue), Box::new(tell));
        let thread = thread::Builder::new()
            .name("loopwire-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::io(dir, "start a thread to write it", error))?;
        Ok((Self { queue, thread: Some(thread) }, restored))
    }

    /// Adds a record to the next commit.
    pub fn append(&self, record: Record) {
        self.queue.push(Change::Append(record));
    }

    /// Lets go of records with the next commit.
    pub fn forget(&self, sequences: Vec<Sequence>) {
        if !sequences.is_empty() {
            self.queue.push(Change::Forget(sequences));
        }
    }

    /// How many records wait to be written.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Writes what waits, marks the store as properly closed, and ends the thread. If anything could not be written since it
    /// was opened it is not marked so, because what was stored without waiting is not all there.
    ///
    /// # Errors
    /// That could not be written.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.end(Ending::Clean)
    }

    fn end(&mut self, ending: Ending) -> Result<(), StoreError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.queue.end(ending);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.end(Ending::Unclean) {
            log::error!("{error}");
        }
    }
}
