//! A stream: the publications of a channel that are kept, and the position of the latest.
//!
//! ```text
//!     held for their keys     kept: contiguous offsets      waiting for the store
//!    ┌─────────┬─────────┐   ┌──────┬──────┬──────┬──────┐   ┌╌╌╌╌╌╌┬╌╌╌╌╌╌┐
//!    │ record  │ record  │   │  5   │  6   │  7   │ 8=top│   ╎  9   ╎  10  ╎
//!    └─────────┴─────────┘   └──────┴──────┴──────┴──────┘   └╌╌╌╌╌╌┴╌╌╌╌╌╌┘
//! ```
//!
//! What a store keeps of a stream is told by [`Sequence`]s: number 0 stands for "not stored". The newest record is not let
//! go of while the stream lives, as it is what a restart learns the stream's position from.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{ChannelOptions, HubConfig, Position, Publication, PushError, Sequence, Since, Time};

/// For how long a stream and its publications are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) size: usize,
    pub(super) ttl: u64,
    /// For how long the stream is, after its last publication.
    pub(super) meta_ttl: u64,
    /// For how long an idempotency key is remembered, and with it the record that has it.
    pub(super) key_ttl: u64,
}

impl Retention {
    /// That of a channel; none if the channel keeps no stream.
    ///
    /// A stream whose namespace does not exist (any more) cannot be read, but stays as it is for a while: a mistake in a
    /// configuration is not to cost what was stored.
    pub(super) fn of(config: &HubConfig, channel: &str) -> Option<Self> {
        let key_ttl = config.limits.idempotency_ttl;
        match config.options(channel) {
            Ok(options) if options.has_history() => Some(Self::by(options, key_ttl)),
            Ok(_) => None,
            Err(_) => {
                let meta_ttl = ChannelOptions::default().history_meta_ttl;
                Some(Self { size: usize::MAX, ttl: meta_ttl, meta_ttl, key_ttl })
            }
        }
    }

    /// That of a channel with these options.
    pub(super) fn by(options: &ChannelOptions, key_ttl: u64) -> Self {
        let ttl = options.history_ttl;
        Self { size: options.history_size, ttl, meta_ttl: options.history_meta_ttl.max(ttl), key_ttl }
    }
}

/// How much one answer brings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    pub(super) publications: usize,
    /// Of data.
    pub(super) bytes: usize,
}

/// The publications of one channel, and how far they have come.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) epoch: Arc<str>,
    /// The offset of the latest publication that can be seen.
    pub(super) top: u64,
    /// Publications behind it that wait for the store.
    pub(super) waiting: u64,
    /// When the hub's schedule has this stream next: never too late, at times too early.
    pub(super) due: Option<Time>,
    entries: VecDeque<Entry>,
    /// Bytes of data in `entries`.
    bytes: usize,
    /// Records of publications that are gone from `entries`, with an idempotency key that is still remembered; until when.
    held: VecDeque<(Time, Sequence)>,
    /// The record of the last publication, once it has left `entries`: by it a restart knows where the stream stands.
    last: Sequence,
    /// The record of the last reset, while there are records that it has to hide, or none behind it.
    reset: Sequence,
    /// When it last had a publication.
    touched: Time,
}

/// A publication that is kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) publication: Arc<Publication>,
    pub(super) sequence: Sequence,
    /// When it was published. Not after the restart that brought it back, whatever the clock said before.
    pub(super) at: Time,
    pub(super) has_key: bool,
}

impl Stream {
    pub(super) fn new(epoch: Arc<str>, now: Time) -> Self {
        Self {
            epoch,
            top: 0,
            waiting: 0,
            due: None,
            entries: VecDeque::new(),
            bytes: 0,
            held: VecDeque::new(),
            last: Sequence::default(),
            reset: Sequence::default(),
            touched: now,
        }
    }

    /// Where it stands.
    pub(super) fn position(&self) -> Position {
        Position { offset: self.top, epoch: Arc::clone(&self.epoch) }
    }

    /// The offset of the next publication.
    pub(super) const fn next_offset(&self) -> u64 {
        self.top + self.waiting + 1
    }

    /// Whether nothing would be lost with it: a new one would begin just so.
    pub(super) const fn is_blank(&self) -> bool {
        self.top == 0 && self.waiting == 0 && self.reset.0 == 0
    }

    /// How many publications it keeps, and how many bytes of data.
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// Adds the next publication. Records that may go are added to `gone`.
    pub(super) fn push(&mut self, entry: Entry, retention: Retention, now: Time, gone: &mut Vec<Sequence>) {
        debug_assert_eq!(entry.publication.offset, self.top + 1);
        self.append(entry);
        self.trim(retention, now, gone);
    }

    fn append(&mut self, entry: Entry) {
        self.top = entry.publication.offset;
        self.touched = self.touched.max(entry.at);
        self.bytes += entry.publication.data.bytes.len();
        self.entries.push_back(entry);
    }

    /// Lets go of publications that are too many or too old.
    pub(super) fn trim(&mut self, retention: Retention, now: Time, gone: &mut Vec<Sequence>) {
        while self.entries.len() > retention.size
            || self.entries.front().is_some_and(|entry| now >= entry.at.plus(retention.ttl))
        {
            self.evict(retention.key_ttl, now, gone);
        }
        while self.held.front().is_some_and(|&(until, _)| now >= until) {
            if let Some((_, sequence)) = self.held.pop_front()
                && sequence != self.last
            {
                gone.push(sequence);
            }
        }
        if let Some(oldest) = self.entries.front().map(|entry| entry.sequence) {
            self.release_last(gone);
            if oldest > self.reset && self.held.front().is_none_or(|&(_, sequence)| sequence > self.reset) {
                gone.push(std::mem::take(&mut self.reset));
            }
        }
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Takes the oldest publication out.
    fn evict(&mut self, key_ttl: u64, now: Time, gone: &mut Vec<Sequence>) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.publication.data.bytes.len();
        let key_until = entry.at.plus(key_ttl);
        let is_held = entry.has_key && now < key_until && entry.sequence.0 > 0;
        if is_held {
            self.held.push_back((key_until, entry.sequence));
        }
        if self.entries.is_empty() {
            self.release_last(gone);
            self.last = entry.sequence;
        } else if !is_held {
            gone.push(entry.sequence);
        }
    }

    /// Something newer tells where the stream stands.
    fn release_last(&mut self, gone: &mut Vec<Sequence>) {
        let last = std::mem::take(&mut self.last);
        if self.held.binary_search_by_key(&last, |&(_, sequence)| sequence).is_err() {
            gone.push(last);
        }
    }

    /// Empties it, or lets it begin a new epoch with what it has, as the record `reset` says.
    pub(super) fn reset(
        &mut self,
        reset: Sequence,
        epoch: Arc<str>,
        offset: u64,
        retention: Retention,
        now: Time,
        gone: &mut Vec<Sequence>,
    ) {
        while self.entries.front().is_some_and(|entry| entry.publication.offset <= offset) {
            self.evict(retention.key_ttl, now, gone);
        }
        if offset >= self.top {
            self.release_last(gone);
        }
        gone.push(std::mem::replace(&mut self.reset, reset));
        self.epoch = epoch;
        self.top = self.top.max(offset);
        self.touched = self.touched.max(now);
    }

    /// The record of the last reset, if it is still needed.
    pub(super) const fn last_reset(&self) -> Sequence {
        self.reset
    }

    /// The record that a reset was written again as, because the first could not be stored.
    pub(super) fn rename_reset(&mut self, from: Sequence, to: Sequence) {
        if self.reset == from {
            self.reset = to;
        }
    }

    /// Adds a publication that a store has brought back. One that does not follow what is there replaces it: a stream has
    /// no gaps, and of two with the same offset the later is the one that was acknowledged.
    pub(super) fn restore(
        &mut self,
        epoch: &Arc<str>,
        entry: Entry,
        retention: Retention,
        now: Time,
        gone: &mut Vec<Sequence>,
    ) {
        let offset = entry.publication.offset;
        if self.epoch != *epoch {
            self.epoch = Arc::clone(epoch);
            self.clear(retention, now, gone);
        } else if offset > self.top + 1 {
            self.clear(retention, now, gone);
        }
        while self.entries.back().is_some_and(|last| last.publication.offset >= offset) {
            if let Some(last) = self.entries.pop_back() {
                self.bytes -= last.publication.data.bytes.len();
                gone.push(last.sequence);
            }
        }
        self.append(entry);
    }

    fn clear(&mut self, retention: Retention, now: Time, gone: &mut Vec<Sequence>) {
        while !self.entries.is_empty() {
            self.evict(retention.key_ttl, now, gone);
        }
    }

    /// Gives up all of its records: it is over.
    pub(super) fn into_records(mut self, gone: &mut Vec<Sequence>) {
        self.held.retain(|&(_, sequence)| sequence != self.last);
        gone.extend(self.held.iter().map(|&(_, sequence)| sequence));
        gone.extend(self.entries.iter().map(|entry| entry.sequence));
        gone.extend([self.last, self.reset]);
    }

    /// When there is something to trim next, or, if nobody listens, when it is over.
    pub(super) fn next_due(&self, retention: Retention, is_idle: bool) -> Option<Time> {
        let expires = self.entries.front().map(|entry| entry.at.plus(retention.ttl));
        let released = self.held.front().map(|&(until, _)| until);
        let is_over = (is_idle && self.waiting == 0).then(|| self.over_at(retention));
        [expires, released, is_over].into_iter().flatten().min()
    }

    /// When nothing of it is remembered any more.
    pub(super) fn over_at(&self, retention: Retention) -> Time {
        self.touched.plus(retention.meta_ttl)
    }

    /// The offset before the oldest that is kept.
    pub(super) fn floor(&self) -> u64 {
        self.top - self.entries.len() as u64
    }

    /// All publications since `since`; none at all if some are missing, or if they are more than one recovery may bring.
    pub(super) fn recover(&self, since: Since<'_>, most: Most) -> Option<Vec<Arc<Publication>>> {
        let is_same = since.epoch.is_empty() || *since.epoch == *self.epoch;
        if !is_same || since.offset < self.floor() || since.offset > self.top {
            return None;
        }
        let missed = (self.top - since.offset) as usize;
        let range = self.entries.len() - missed..self.entries.len();
        if missed > most.publications {
            return None;
        }
        let bytes: usize = self.entries.range(range.clone()).map(|entry| entry.publication.data.bytes.len()).sum();
        (bytes <= most.bytes).then(|| self.range(range).collect())
    }

    /// The latest publication, if it is still kept.
    pub(super) fn latest(&self) -> Option<&Arc<Publication>> {
        self.entries.back().map(|entry| &entry.publication)
    }

    /// At most so many publications behind `since`, or before it and newest first if in reverse.
    ///
    /// # Errors
    /// `UnrecoverablePosition`: the epoch is another.
    pub(super) fn read(
        &self,
        since: Option<Since<'_>>,
        is_reverse: bool,
        most: Most,
    ) -> Result<Vec<Arc<Publication>>, PushError> {
        if since.is_some_and(|since| !since.epoch.is_empty() && *since.epoch != *self.epoch) {
            return Err(PushError::UnrecoverablePosition);
        }
        let len = self.entries.len();
        // How many of those that are kept have an offset up to this one.
        let up_to = |offset: u64| (offset.saturating_sub(self.floor()) as usize).min(len);
        Ok(if is_reverse {
            let end = since.map_or(len, |since| up_to(since.offset.saturating_sub(1)));
            within(self.range(end.saturating_sub(most.publications)..end).rev(), most.bytes)
        } else {
            let start = since.map_or(0, |since| up_to(since.offset));
            within(self.range(start..len.min(start.saturating_add(most.publications))), most.bytes)
        })
    }

    fn range(&self, range: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = Arc<Publication>> {
        self.entries.range(range).map(|entry| Arc::clone(&entry.publication))
    }
}

/// The first of these, as long as their data have no more bytes; one in any case, or who reads on would not get past it.
fn within(publications: impl Iterator<Item = Arc<Publication>>, bytes: usize) -> Vec<Arc<Publication>> {
    let mut so_far = 0_usize;
    let fitting = publications.enumerate().map_while(|(index, publication)| {
        so_far = so_far.saturating_add(publication.data.bytes.len());
        (index == 0 || so_far <= bytes).then_some(publication)
    });
    fitting.collect()
}
