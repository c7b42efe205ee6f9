//! The start: streams as a store brings them back, and the epochs that streams begin with.

use std::sync::Arc;

use super::Hub;
use super::schedule::Schedule;
use super::tally::Tally;
use crate::push::channel::{ChannelKey, Channels};
use crate::push::journal::Journal;
use crate::push::keys::Keys;
use crate::push::session::Sessions;
use crate::push::stream::{Entry, Retention, Stream};
use crate::push::{
    Effects, HubConfig, Namespaces, Position, Publication, Published, Record, RecordBody, Restored, Sequence, Time,
};

/// What streams begin with.
///
/// A stream without publications costs nothing and is not remembered: it begins with the current epoch, whenever that is.
/// So a stream that is forgotten takes the current epoch with it, if that is its own: what begins under the same name has
/// another. Whether what is in a stream outlives a crash can be seen by its epoch, whatever options the channel has by now.
///
/// What is published where no history is kept nobody counts, not even from the beginning of a stream that has none yet. So
/// an epoch ends with a mark of the namespaces that keep one, and with these: a client that knows the beginning of a stream
/// from before is then told that something may be missing, be it that the same namespace keeps one again.
#[derive(Debug)]
pub(super) struct Epochs {
    seed: u64,
    made: u64,
    mark: String,
    durable: Epoch,
    volatile: Epoch,
    none: Arc<str>,
}

#[derive(Debug)]
struct Epoch {
    name: Arc<str>,
    /// The record that says so.
    record: Sequence,
}

const DURABLE: char = 'd';
const VOLATILE: char = 'v';

impl Epochs {
    fn new(seed: u64, namespaces: &Namespaces) -> Self {
        let none: Arc<str> = "".into();
        let unnamed = || Epoch { name: Arc::clone(&none), record: Sequence::default() };
        Self { seed, made: 0, mark: mark_of(namespaces), durable: unnamed(), volatile: unnamed(), none }
    }

    /// From here on these namespaces keep a history, or not; whether others than before do.
    pub(super) fn are_for(&mut self, namespaces: &Namespaces) -> bool {
        let mark = mark_of(namespaces);
        mark != std::mem::replace(&mut self.mark, mark.clone())
    }

    /// Whether the current epoch was made when the same namespaces kept a history.
    fn is_marked(&self, is_durable: bool) -> bool {
        self.current(is_durable).ends_with(&self.mark)
    }

    /// The epoch of streams that begin now.
    pub(super) fn current(&self, is_durable: bool) -> &Arc<str> {
        if is_durable { &self.durable.name } else { &self.volatile.name }
    }

    /// The epoch of what has no stream.
    pub(super) const fn none(&self) -> &Arc<str> {
        &self.none
    }

    /// Whether nothing of a stream in this epoch is acknowledged before it is stored.
    pub(super) fn is_durable(epoch: &str) -> bool {
        epoch.starts_with(DURABLE)
    }

    pub(super) fn newest_record(&self) -> Sequence {
        self.durable.record.max(self.volatile.record)
    }

    pub(super) fn has_record(&self, record: Sequence) -> bool {
        [self.durable.record, self.volatile.record].contains(&record)
    }

    pub(super) fn rename_record(&mut self, from: Sequence, to: Sequence) {
        for epoch in [&mut self.durable, &mut self.volatile] {
            if epoch.record == from {
                epoch.record = to;
            }
        }
    }

    fn of_kind(&mut self, is_durable: bool) -> &mut Epoch {
        if is_durable { &mut self.durable } else { &mut self.volatile }
    }

    /// A name that no epoch has had: 64 bits that differ for each number in turn, and at random between seeds.
    fn invent(&mut self, is_durable: bool) -> Arc<str> {
        self.made += 1;
        let bits = mixed(self.seed.wrapping_add(self.made.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let kind = if is_durable { DURABLE } else { VOLATILE };
        std::iter::once(kind).chain(digits(bits, 13)).chain(self.mark.chars()).collect::<String>().into()
    }
}

/// Five digits that are others, as good as certainly, where other namespaces keep a history.
fn mark_of(namespaces: &Namespaces) -> String {
    let names = namespaces.with_history();
    digits(names.bytes().fold(0, |hash, byte| mixed(hash ^ u64::from(byte)).wrapping_add(1)), 5).collect()
}

/// The lowest bits, five in each digit.
fn digits(bits: u64, count: u32) -> impl Iterator<Item = char> {
    (0..count).map(move |digit| char::from(b"0123456789abcdefghijklmnopqrstuv"[(bits >> (5 * digit)) as usize & 31]))
}

/// The finalizer of splitmix64: one to one, and every bit of the input changes about half of those of the output.
const fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Hub {
    /// A hub with what a store has brought back. `seed` makes its epochs unlike any other's.
    pub fn new(config: HubConfig, restored: Restored, seed: u64, now: Time, effects: &mut Effects) -> Self {
        let mut hub = Self {
            sessions: Sessions::default(),
            channels: Channels::default(),
            keys: Keys::default(),
            journal: Journal::new(config.stored, restored.last),
            epochs: Epochs::new(seed, &config.namespaces),
            schedule: Schedule::default(),
            subscriptions: Tally::default(),
            publications: 0,
            publication_bytes: 0,
            config,
        };
        for record in restored.records {
            hub.restore(record, now);
        }
        for is_durable in [true, false] {
            let is_trusted = is_durable || restored.clean;
            if !is_trusted || !hub.epochs.is_marked(is_durable) {
                hub.renew_epoch(is_durable, effects);
            }
        }
        for channel in hub.channels.keys() {
            hub.distrust(channel, restored.clean, now, effects);
            hub.tend(channel, now, effects);
        }
        hub.journal.flush(effects);
        hub
    }

    /// Gives a stream a new epoch if its last publications may be lost by a crash: who has seen them is to notice. What is
    /// left stays readable.
    fn distrust(&mut self, key: ChannelKey, clean: bool, now: Time, effects: &mut Effects) {
        let Some(stream) = self.stream(key) else { return };
        let (was_durable, old, floor) = (Epochs::is_durable(&stream.epoch), Arc::clone(&stream.epoch), stream.floor());
        let Some(channel) = self.channels.get(key) else { return };
        // Without its options nobody publishes to it.
        let is_durable = self.config.options(&channel.name).map_or(was_durable, |options| options.durable);
        let is_trusted = if was_durable { is_durable } else { clean };
        if !is_trusted {
            self.retire_epoch(&old, effects);
            self.reset_stream(key, Arc::clone(self.epochs.current(is_durable)), floor, now, effects);
        }
    }

    fn restore(&mut self, record: Record, now: Time) {
        match record.body {
            RecordBody::Publication { channel, epoch, publication, idempotency_key } => {
                self.restore_publication(&channel, &epoch, publication, idempotency_key.as_ref(), record.sequence, now);
            }
            RecordBody::Reset { channel, epoch, offset, time } => {
                let retention = self.retention_or_any(&channel);
                let key = self.channels.find_or_add(&channel);
                self.revive(key, &epoch, now);
                let time = time.min(now);
                self.with_stream(key, |stream, gone| {
                    stream.reset(record.sequence, epoch, offset, retention, time, gone);
                });
            }
            RecordBody::Epoch { durable, epoch } => {
                let current = self.epochs.of_kind(durable);
                let old = std::mem::replace(current, Epoch { name: epoch, record: record.sequence });
                self.journal.gone().push(old.record);
            }
        }
    }

    fn restore_publication(
        &mut self,
        channel: &Arc<str>,
        epoch: &Arc<str>,
        publication: Arc<Publication>,
        idempotency_key: Option<&Arc<str>>,
        sequence: Sequence,
        now: Time,
    ) {
        let at = publication.time.min(now);
        if let Some(key) = idempotency_key
            && now < at.plus(self.config.limits.idempotency_ttl)
        {
            let position = Position { offset: publication.offset, epoch: Arc::clone(epoch) };
            self.keys.remember(channel, key, Published::Now(position), at);
        }
        let retention = self.retention_or_any(channel);
        let key = self.channels.find_or_add(channel);
        self.revive(key, epoch, at);
        let entry = Entry { publication, sequence, at, has_key: idempotency_key.is_some() };
        self.with_stream(key, |stream, gone| stream.restore(epoch, entry, retention, now, gone));
    }

    /// What is too much or too old goes once all is there; until then only the keys' time counts.
    fn retention_or_any(&self, channel: &str) -> Retention {
        let key_ttl = self.config.limits.idempotency_ttl;
        let any = Retention { size: usize::MAX, ttl: u64::MAX, meta_ttl: u64::MAX, key_ttl };
        Retention::of(&self.config, channel).unwrap_or(any)
    }

    fn revive(&mut self, key: ChannelKey, epoch: &Arc<str>, at: Time) {
        if let Some(channel) = self.channels.get_mut(key) {
            channel.stream.get_or_insert_with(|| Box::new(Stream::new(Arc::clone(epoch), at)));
        }
    }

    /// A stream leaves this epoch, by its end or for another: none begins with it any more, least of all the same again.
    pub(super) fn retire_epoch(&mut self, epoch: &Arc<str>, effects: &mut Effects) {
        for is_durable in [true, false] {
            if self.epochs.current(is_durable) == epoch {
                self.renew_epoch(is_durable, effects);
            }
        }
    }

    pub(super) fn renew_epoch(&mut self, is_durable: bool, effects: &mut Effects) {
        let name = self.epochs.invent(is_durable);
        let record = self.write(RecordBody::Epoch { durable: is_durable, epoch: Arc::clone(&name) }, effects);
        let old = std::mem::replace(self.epochs.of_kind(is_durable), Epoch { name, record });
        self.journal.gone_after(record, vec![old.record]);
    }
}
