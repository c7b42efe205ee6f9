//! What the hub has given to the store and what it knows of its fate, in the order of sequences.
//!
//! ```text
//!              write ──▶ Effect::Store ──▶ the store ──▶ committed: publications become visible, `after` is forgotten
//!                                                   └──▶ failed: publications are refused, notes are written again
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::channel::ChannelKey;
use super::{Effect, Effects, Publication, Record, RecordBody, Sequence, Ticket};

/// The store, as far as the hub knows it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Whether there is a store at all.
    is_stored: bool,
    last: Sequence,
    committed: Sequence,
    /// Publications that wait to be on disk.
    waiting: VecDeque<Waiting>,
    /// Resets and epochs on their way to the disk. They have to get there sooner or later, and a failure is not told to
    /// anybody: so they are written again.
    notes: BTreeMap<Sequence, RecordBody>,
    /// Notes to be written again.
    owed: VecDeque<(Sequence, RecordBody)>,
    /// What can be forgotten once a note is on disk, and not before.
    after: BTreeMap<Sequence, Vec<Sequence>>,
    /// What can be forgotten.
    gone: Vec<Sequence>,
}

/// A publication that waits for the store.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) sequence: Sequence,
    pub(super) channel: ChannelKey,
    pub(super) publication: Arc<Publication>,
    pub(super) key: Option<Arc<str>>,
}

impl Waiting {
    pub(super) const fn ticket(&self) -> Ticket {
        Ticket(self.sequence.0)
    }
}

impl Journal {
    pub(super) fn new(is_stored: bool, last: Sequence) -> Self {
        Self { is_stored, last, committed: last, ..Self::default() }
    }

    pub(super) const fn is_stored(&self) -> bool {
        self.is_stored
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Gives a record to the store; number 0 without one.
    pub(super) fn write(&mut self, body: RecordBody, effects: &mut Effects) -> Sequence {
        if !self.is_stored {
            return Sequence::default();
        }
        self.last.0 += 1;
        let sequence = self.last;
        if !matches!(body, RecordBody::Publication { .. }) {
            self.notes.insert(sequence, body.clone());
        }
        effects.push(Effect::Store(Record { sequence, body }));
        sequence
    }

    /// The publication that was just written waits.
    pub(super) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// Lets the store forget a record, by the end of the command.
    pub(super) fn gone(&mut self) -> &mut Vec<Sequence> {
        &mut self.gone
    }

    /// Lets the store forget what `find` adds, once it has `note`.
    pub(super) fn gone_with(&mut self, note: Sequence, find: impl FnOnce(&mut Vec<Sequence>)) {
        let before = self.gone.len();
        find(&mut self.gone);
        if note > self.committed {
            let gone = self.gone.split_off(before);
            self.gone_after(note, gone);
        }
    }

    /// Lets the store forget records once it has `note`.
    pub(super) fn gone_after(&mut self, note: Sequence, mut gone: Vec<Sequence>) {
        if note <= self.committed {
            self.gone.append(&mut gone);
        } else {
            self.after.entry(note).or_default().append(&mut gone);
        }
    }

    /// The store has everything up to this.
    pub(super) fn commit(&mut self, up_to: Sequence) {
        self.committed = self.committed.max(up_to);
        while self.notes.first_key_value().is_some_and(|(&note, _)| note <= up_to) {
            self.notes.pop_first();
        }
        while self.after.first_key_value().is_some_and(|(&note, _)| note <= up_to) {
            self.gone.extend(self.after.pop_first().into_iter().flat_map(|(_, gone)| gone));
        }
    }

    /// The next publication that waits no more, by what was committed.
    pub(super) fn next_committed(&mut self) -> Option<Waiting> {
        let is_committed = self.waiting.front().is_some_and(|first| first.sequence <= self.committed);
        is_committed.then(|| self.waiting.pop_front()).flatten()
    }

    /// The store has lost everything from this on: the publications that were waiting, oldest first.
    pub(super) fn fail(&mut self, from: Sequence) -> VecDeque<Waiting> {
        // The gap by which the store sees that this was heard.
        self.last.0 += 1;
        self.owed.extend(self.notes.split_off(&from));
        self.waiting.split_off(self.waiting.partition_point(|waiting| waiting.sequence < from))
    }

    /// A note that is to be written again, and the number that it had.
    pub(super) fn next_owed(&mut self) -> Option<(Sequence, RecordBody)> {
        self.owed.pop_front()
    }

    /// A note was written again: what waits for it waits on.
    pub(super) fn rename(&mut self, from: Sequence, to: Sequence) {
        if let Some(gone) = self.after.remove(&from) {
            self.gone_after(to, gone);
        }
    }

    /// Tells the store what it may forget.
    pub(super) fn flush(&mut self, effects: &mut Effects) {
        self.gone.retain(|sequence| sequence.0 > 0);
        if !self.gone.is_empty() {
            effects.push(Effect::Forget(std::mem::take(&mut self.gone)));
        }
        // Without a store nothing takes it away, however much there was.
        self.gone.shrink_to(1024);
    }
}
