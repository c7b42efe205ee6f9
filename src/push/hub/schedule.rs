//! What is due when, and what is done then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Hub;
use crate::push::channel::ChannelKey;
use crate::push::stream::Retention;
use crate::push::{Effects, SessionKey, Time, Unsubscribe};

/// What one [`Hub::tick`] does at most, so that a great many things due at once do not hold up everything else.
const PER_TICK: usize = 2_000;

/// Moments at which something has to be done, in order.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeSet<(Time, Due)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A channel's stream has something that is too old.
    Stream(ChannelKey),
    /// A subscription ends.
    Subscription(SessionKey, ChannelKey),
}

impl Schedule {
    pub(super) fn add(&mut self, at: Time, due: Due) {
        self.0.insert((at, due));
    }

    pub(super) fn remove(&mut self, at: Time, due: Due) {
        self.0.remove(&(at, due));
    }

    fn first(&self) -> Option<Time> {
        self.0.first().map(|&(at, _)| at)
    }
}

impl Hub {
    /// Does what is due: publications, idempotency keys and streams whose time is over go, subscriptions end. Much at once
    /// is done in parts: [`next_due`](Self::next_due) is then still in the past.
    pub fn tick(&mut self, now: Time, effects: &mut Effects) {
        for _ in 0..PER_TICK {
            if self.schedule.first().is_none_or(|at| at > now) {
                break;
            }
            match self.schedule.0.pop_first() {
                Some((_, Due::Stream(channel))) => {
                    if let Some(stream) = self.channels.get_mut(channel).and_then(|channel| channel.stream.as_mut()) {
                        stream.due = None;
                    }
                    self.tend(channel, now, effects);
                }
                Some((_, Due::Subscription(key, channel))) => {
                    self.end_subscription(key, channel, Unsubscribe::Expired, now, effects);
                }
                None => break,
            }
        }
        self.keys.expire(now, self.config.limits.idempotency_ttl);
        self.journal.flush(effects);
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_due(&self) -> Option<Time> {
        let keys = self.keys.next_due(self.config.limits.idempotency_ttl);
        [self.schedule.first(), keys].into_iter().flatten().min()
    }

    /// Looks after a channel that something has happened to: lets go of what is too much or too old, of the stream once it is
    /// over, and of the channel once there is nothing in it.
    pub(super) fn tend(&mut self, key: ChannelKey, now: Time, effects: &mut Effects) {
        let Some(channel) = self.channels.get(key) else { return };
        let is_idle = channel.receivers.is_empty();
        let Some(stream) = &channel.stream else {
            if is_idle {
                self.channels.remove(key);
            }
            return;
        };
        let (is_waiting, is_blank) = (stream.waiting > 0, stream.is_blank());
        let retention = Retention::of(&self.config, &channel.name);
        let is_over = retention.is_none_or(|retention| is_idle && now >= stream.over_at(retention));
        if !is_waiting && (is_over || (is_idle && is_blank)) {
            return self.drop_stream(key, now, effects);
        }
        if let Some(retention) = retention {
            self.with_stream(key, |stream, gone| stream.trim(retention, now, gone));
            self.plan(key, retention);
        }
    }

    /// Puts a channel's stream into the schedule, unless it stands there early enough.
    pub(super) fn plan(&mut self, key: ChannelKey, retention: Retention) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        let is_idle = channel.receivers.is_empty();
        let Some(stream) = &mut channel.stream else { return };
        let Some(next) = stream.next_due(retention, is_idle) else { return };
        if let Some(planned) = stream.due {
            if planned <= next {
                return;
            }
            self.schedule.remove(planned, Due::Stream(key));
        }
        stream.due = Some(next);
        self.schedule.add(next, Due::Stream(key));
    }

    /// A stream is over. Its offsets must never come again in the same epoch.
    fn drop_stream(&mut self, key: ChannelKey, now: Time, effects: &mut Effects) {
        // Who has a position in it learns that this is worth nothing from here on.
        self.end_subscriptions(key, Unsubscribe::InsufficientState, now, effects, |it| it.is_positioned);
        // With the last of its subscribers it may be gone by now.
        let Some(channel) = self.channels.get_mut(key) else { return };
        let Some(stream) = channel.stream.take() else { return self.tend(key, now, effects) };
        if let Some(planned) = stream.due {
            self.schedule.remove(planned, Due::Stream(key));
        }
        let (publications, bytes) = stream.kept();
        self.publications -= publications;
        self.publication_bytes -= bytes;
        if !stream.is_blank() {
            self.retire_epoch(&Arc::clone(&stream.epoch), effects);
        }
        let mut gone = Vec::new();
        stream.into_records(&mut gone);
        self.journal.gone_after(self.epochs.newest_record(), gone);
        self.tend(key, now, effects);
    }
}
