//! Where streams survive a restart: one file, one writer thread, many publications a commit.
//!
//! ```text
//! Effect::Store, Effect::Forget ──▶ Store::append, forget ──▶ writer thread: one transaction for all that waits ──▶ disk
//!                                                                         │
//!               Hub::committed, Hub::store_failed ◀── StoreEvent ◀────────┘
//! ```

use std::path::Path;

use crate::push::{Record, Restored, Sequence};

/// What the writer thread tells.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreEvent {
    /// Everything up to this is on disk.
    Committed(Sequence),
    /// What was appended from this on could not be written, and is not going to be.
    Failed {
        /// The first that is lost.
        from: Sequence,
        /// Why.
        error: String,
    },
}

/// A store on disk; appending never waits for it.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the store in the directory `dir`, made if it is not there, and reads all that it keeps. `tell` is called on the
    /// writer's thread after every commit.
    ///
    /// # Errors
    /// The directory or file cannot be read or written, another process has it, or what is there is damaged or not a store;
    /// the error says which, and what can be done.
    pub fn open(dir: &Path, tell: impl Fn(StoreEvent) + Send + 'static) -> Result<(Self, Restored), StoreError> {
        let _ = (dir, tell);
        todo!()
    }

    /// Adds a record to the next commit.
    pub fn append(&self, record: Record) {
        let _ = record;
        todo!()
    }

    /// Lets go of records with the next commit.
    pub fn forget(&self, sequences: Vec<Sequence>) {
        let _ = sequences;
        todo!()
    }

    /// How many records wait to be written.
    pub fn waiting(&self) -> usize {
        todo!()
    }

    /// Writes what waits, marks the store as properly closed, and ends the thread.
    ///
    /// # Errors
    /// That could not be written.
    pub fn close(self) -> Result<(), StoreError> {
        todo!()
    }
}

/// Why a store cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {}
