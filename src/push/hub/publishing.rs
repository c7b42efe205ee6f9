//! Publishing, and what was published: at once, or once the store has it.

use std::sync::Arc;

use super::Hub;
use super::restoring::Epochs;
use crate::push::channel::ChannelKey;
use crate::push::journal::Waiting;
use crate::push::stream::{Entry, Most, Retention, Stream};
use crate::push::{
    ChannelOptions, Effect, Effects, History, HistoryRequest, Position, Publication, PublishRequest, Published,
    PushError, RecordBody, Sequence, Time,
};

impl Hub {
    /// Publishes to a channel.
    ///
    /// # Errors
    /// `UnknownChannel`, `LimitExceeded` (the name's length), `Internal` (the store has failed, or too much waits for it).
    pub fn publish(
        &mut self,
        channel: &str,
        request: PublishRequest<'_>,
        now: Time,
        effects: &mut Effects,
    ) -> Result<Published, PushError> {
        let options = *self.config.options(channel)?;
        let key_ttl = self.config.limits.idempotency_ttl;
        if let Some(published) = request.idempotency_key.and_then(|key| self.keys.get(channel, key, now, key_ttl)) {
            return Ok(published);
        }
        // A stream that has yet to end, because something waits, goes on until then.
        let has_stream = options.has_history() || self.is_waiting(channel);
        let published = if has_stream && !request.skip_history {
            self.publish_to_stream(channel, &options, request, now, effects)?
        } else {
            self.publish_past_stream(channel, &options, request, now, effects)
        };
        self.journal.flush(effects);
        Ok(published)
    }

    /// Publishes what is not kept.
    fn publish_past_stream(
        &mut self,
        channel: &str,
        options: &ChannelOptions,
        request: PublishRequest<'_>,
        now: Time,
        effects: &mut Effects,
    ) -> Published {
        let published = Published::Now(Position { offset: 0, epoch: Arc::clone(self.epochs.none()) });
        if let Some(key) = request.idempotency_key {
            let name = self.channels.by_name(channel).map_or_else(|| channel.into(), |it| Arc::clone(&it.name));
            self.keys.remember(&name, &key.into(), published.clone(), now);
        }
        if let Some(channel) = self.channels.find(channel) {
            self.deliver(channel, &Arc::new(publication(request, 0, now)), effects);
            if !options.has_history() {
                // A stream from before would not know of this.
                self.tend(channel, now, effects);
            }
        }
        published
    }

    fn publish_to_stream(
        &mut self,
        channel: &str,
        options: &ChannelOptions,
        request: PublishRequest<'_>,
        now: Time,
        effects: &mut Effects,
    ) -> Result<Published, PushError> {
        if self.journal.waiting() >= self.config.limits.waiting {
            return Err(PushError::Internal);
        }
        let channel = self.channels.find_or_add(channel);
        self.begin_stream(channel, options, now);
        let is_stored = self.journal.is_stored();
        let Some((name, stream)) = self.channels.get_mut(channel).and_then(|it| Some((&it.name, it.stream.as_mut()?)))
        else {
            return Err(PushError::Internal);
        };
        let (name, epoch, offset) = (Arc::clone(name), Arc::clone(&stream.epoch), stream.next_offset());
        // A durable epoch has promised that nothing is lost, and what follows something that waits has to wait with it.
        let waits = is_stored && (options.durable || Epochs::is_durable(&epoch) || stream.waiting > 0);
        stream.waiting += u64::from(waits);
        let key: Option<Arc<str>> = request.idempotency_key.map(Arc::from);
        let publication = Arc::new(publication(request, offset, now));
        let record = RecordBody::Publication {
            channel: Arc::clone(&name),
            epoch: Arc::clone(&epoch),
            publication: Arc::clone(&publication),
            idempotency_key: key.clone(),
        };
        let sequence = self.write(record, effects);
        let published = if waits {
            let waiting = Waiting { sequence, channel, publication, key: key.clone() };
            let ticket = waiting.ticket();
            self.journal.wait(waiting);
            Published::Later(ticket)
        } else {
            self.keep(channel, &publication, sequence, key.is_some(), now);
            self.deliver(channel, &publication, effects);
            Published::Now(Position { offset, epoch })
        };
        if let Some(key) = key {
            self.keys.remember(&name, &key, published.clone(), now);
        }
        Ok(published)
    }

    /// The store has everything up to this: what waited for it is delivered and acknowledged.
    pub fn committed(&mut self, up_to: Sequence, now: Time, effects: &mut Effects) {
        self.journal.commit(up_to);
        while let Some(waiting) = self.journal.next_committed() {
            let channel = waiting.channel;
            let Some(name) = self.channels.get(channel).map(|channel| Arc::clone(&channel.name)) else { continue };
            self.with_stream(channel, |stream, _| stream.waiting -= 1);
            self.keep(channel, &waiting.publication, waiting.sequence, waiting.key.is_some(), now);
            self.deliver(channel, &waiting.publication, effects);
            let Some(position) = self.stream(channel).map(Stream::position) else { continue };
            let ticket = waiting.ticket();
            if let Some(key) = &waiting.key {
                self.keys.settle(&name, key, ticket, &position);
            }
            effects.push(Effect::Acknowledged { ticket, result: Ok(position) });
            if Retention::of(&self.config, &name).is_none() {
                self.tend(channel, now, effects);
            }
        }
        self.journal.flush(effects);
    }

    /// The store could not take what it was given from this on: what waits is refused and will not be delivered.
    ///
    /// The next record's number leaves one out, by which the store knows it from those that were made before this was heard.
    pub fn store_failed(&mut self, from: Sequence, now: Time, effects: &mut Effects) {
        for waiting in self.journal.fail(from) {
            let (channel, ticket) = (waiting.channel, waiting.ticket());
            self.with_stream(channel, |stream, _| stream.waiting -= 1);
            if let (Some(key), Some(channel)) = (&waiting.key, self.channels.get(channel)) {
                self.keys.refuse(&channel.name, key, ticket);
            }
            effects.push(Effect::Acknowledged { ticket, result: Err(PushError::Internal) });
            self.tend(channel, now, effects);
        }
        self.journal.flush(effects);
    }

    /// Reads a channel's stream.
    ///
    /// # Errors
    /// `UnknownChannel`; `NotAvailable`: it keeps none; `UnrecoverablePosition`: the epoch is another.
    pub fn history(&mut self, channel: &str, request: HistoryRequest<'_>, now: Time) -> Result<History, PushError> {
        let options = *self.config.options(channel)?;
        if !options.has_history() {
            return Err(PushError::NotAvailable);
        }
        let retention = Retention::by(&options, self.config.limits.idempotency_ttl);
        let channel = self.channels.find(channel);
        if let Some(channel) = channel {
            self.with_stream(channel, |stream, gone| stream.trim(retention, now, gone));
        }
        let unborn = Stream::new(Arc::clone(self.epochs.current(options.durable)), now);
        let stream = channel.and_then(|channel| self.stream(channel)).unwrap_or(&unborn);
        let limits = &self.config.limits;
        let publications = request.limit.min(limits.history_publications);
        let most = Most { publications, bytes: limits.history_bytes };
        let publications = stream.read(request.since, request.reverse, most)?;
        Ok(History { publications, position: stream.position() })
    }

    /// Empties a channel's stream; its position stays.
    ///
    /// # Errors
    /// `UnknownChannel`; `NotAvailable`: it keeps none.
    pub fn remove_history(&mut self, channel: &str, now: Time, effects: &mut Effects) -> Result<(), PushError> {
        let options = *self.config.options(channel)?;
        if !options.has_history() {
            return Err(PushError::NotAvailable);
        }
        if let Some(channel) = self.channels.find(channel)
            && let Some(stream) = self.stream(channel)
            && stream.kept().0 > 0
        {
            let Position { offset, epoch } = stream.position();
            self.reset_stream(channel, epoch, offset, now, effects);
        }
        self.journal.flush(effects);
        Ok(())
    }

    /// A record for the store, behind those that are still owed to it.
    pub(super) fn write(&mut self, body: RecordBody, effects: &mut Effects) -> Sequence {
        while let Some((old, body)) = self.journal.next_owed() {
            if let Some(successor) = self.successor(old, &body) {
                self.journal.rename(old, successor);
                continue;
            }
            let new = self.journal.write(body.clone(), effects);
            self.journal.rename(old, new);
            if let RecordBody::Reset { channel, .. } = body
                && let Some(channel) = self.channels.find(&channel)
            {
                self.with_stream(channel, |stream, _| stream.rename_reset(old, new));
            } else {
                self.epochs.rename_record(old, new);
            }
        }
        self.journal.write(body, effects)
    }

    /// The record that says what a lost note would have said, or more; none if it is still needed.
    fn successor(&self, note: Sequence, body: &RecordBody) -> Option<Sequence> {
        let newest_epoch = self.epochs.newest_record();
        match body {
            RecordBody::Reset { channel, .. } => {
                let stream = self.channels.find(channel).and_then(|channel| self.stream(channel));
                let reset = stream.map_or(newest_epoch, Stream::last_reset);
                (reset != note).then_some(reset)
            }
            _ => (!self.epochs.has_record(note)).then_some(newest_epoch),
        }
    }

    /// Lets a stream begin behind `offset`, in this epoch.
    pub(super) fn reset_stream(
        &mut self,
        key: ChannelKey,
        epoch: Arc<str>,
        offset: u64,
        now: Time,
        effects: &mut Effects,
    ) {
        let Some(channel) = self.channels.get(key) else { return };
        let name = Arc::clone(&channel.name);
        let Some(retention) = Retention::of(&self.config, &name) else { return };
        let record = RecordBody::Reset { channel: name, epoch: Arc::clone(&epoch), offset, time: now };
        let reset = self.write(record, effects);
        let mut removed = Vec::new();
        self.with_stream(key, |stream, _| stream.reset(reset, epoch, offset, retention, now, &mut removed));
        // Without the reset on disk, a restart needs them to know where the stream stands.
        self.journal.gone_after(reset, removed);
        self.plan(key, retention);
    }

    /// Adds a publication to its stream.
    fn keep(&mut self, key: ChannelKey, publication: &Arc<Publication>, sequence: Sequence, has_key: bool, now: Time) {
        let Some(channel) = self.channels.get(key) else { return };
        // If the history was switched off meanwhile, the stream ends when nothing waits any more.
        let key_ttl = self.config.limits.idempotency_ttl;
        let ending = Retention { size: 0, ttl: 0, meta_ttl: 0, key_ttl };
        let retention = Retention::of(&self.config, &channel.name).unwrap_or(ending);
        let entry = Entry { publication: Arc::clone(publication), sequence, at: publication.time, has_key };
        self.with_stream(key, |stream, gone| stream.push(entry, retention, now, gone));
        self.plan(key, retention);
    }

    /// Shows a publication to the subscribers.
    fn deliver(&self, key: ChannelKey, publication: &Arc<Publication>, effects: &mut Effects) {
        let Some(channel) = self.channels.get(key).filter(|channel| !channel.receivers.is_empty()) else { return };
        effects.push(Effect::Publication {
            channel: Arc::clone(&channel.name),
            publication: Arc::clone(publication),
            to: Arc::clone(&channel.receivers),
        });
    }

    /// Gives a channel a stream if it has none.
    pub(super) fn begin_stream(&mut self, key: ChannelKey, options: &ChannelOptions, now: Time) {
        let epoch = self.epochs.current(options.durable);
        if let Some(channel) = self.channels.get_mut(key) {
            channel.stream.get_or_insert_with(|| Box::new(Stream::new(Arc::clone(epoch), now)));
        }
    }

    fn is_waiting(&self, channel: &str) -> bool {
        let stream = self.channels.by_name(channel).and_then(|channel| channel.stream.as_ref());
        stream.is_some_and(|stream| stream.waiting > 0)
    }

    pub(super) fn stream(&self, key: ChannelKey) -> Option<&Stream> {
        self.channels.get(key)?.stream.as_deref()
    }

    /// Changes a channel's stream, if it has one, and what the hub counts of all streams with it.
    pub(super) fn with_stream(&mut self, key: ChannelKey, change: impl FnOnce(&mut Stream, &mut Vec<Sequence>)) {
        let Some(stream) = self.channels.get_mut(key).and_then(|channel| channel.stream.as_mut()) else { return };
        let (publications, bytes) = stream.kept();
        // What a reset stands for is needed until that is on disk.
        self.journal.gone_with(stream.last_reset(), |gone| change(stream, gone));
        self.publications = self.publications - publications + stream.kept().0;
        self.publication_bytes = self.publication_bytes - bytes + stream.kept().1;
    }
}

fn publication(request: PublishRequest<'_>, offset: u64, now: Time) -> Publication {
    Publication { offset, data: request.data, info: request.info, tags: request.tags, time: now }
}
