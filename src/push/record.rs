//! What a store keeps, and what it brings back. How it does so is its own affair.

use std::sync::Arc;

use super::{Publication, Time};

/// The number of a record: each is greater than all before, also over restarts, and follows the one before without a gap.
///
/// The one gap is told on purpose: once the hub has heard that the store failed, it leaves a number out. What a store is
/// given between its failure and that gap was made without knowing of it, is refused with the rest, and must not be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// One thing to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub sequence: Sequence,
    /// What it says.
    pub body: RecordBody,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordBody {
    /// A publication of a stream. The latest of each stream is kept, as the stream's position, for longer than it can be
    /// read.
    Publication {
        /// The channel.
        channel: Arc<str>,
        /// The life of the stream.
        epoch: Arc<str>,
        /// What was published.
        publication: Arc<Publication>,
        /// The publisher's key by which it is not published twice.
        idempotency_key: Option<Arc<str>>,
    },
    /// A stream was emptied, or has begun a new life with what it has: of the publications before this record those up to
    /// `offset` do not count any more, the others count in `epoch`.
    Reset {
        /// The channel.
        channel: Arc<str>,
        /// The life of the stream from here on.
        epoch: Arc<str>,
        /// The offset of the last publication that does not count. The stream stands there, or at a later one that counts.
        offset: u64,
        /// When.
        time: Time,
    },
    /// Streams that begin from here on begin with this epoch.
    Epoch {
        /// Whether it is that of durable streams.
        durable: bool,
        /// The epoch.
        epoch: Arc<str>,
    },
}

/// What a store brings back at the start.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// All that was stored and not forgotten, in the order of its sequence.
    pub records: Vec<Record>,
    /// The next sequence is greater than this.
    pub last: Sequence,
    /// Whether the store was closed properly and has not failed before that: what was stored without waiting is all there.
    pub clean: bool,
}
