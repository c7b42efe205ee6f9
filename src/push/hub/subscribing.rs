//! Subscriptions: how they begin, with what, and how they end.

use std::sync::Arc;

use super::Hub;
use super::schedule::Due;
use crate::push::channel::{self, ChannelKey};
use crate::push::session::{Granted, Session, Subscription};
use crate::push::stream::{Most, Retention, Stream};
use crate::push::{
    ChannelOptions, Disconnect, Effect, Effects, Position, Publication, PushError, Receiver, RecoveryMode, SessionKey,
    Since, SubscribeRequest, Subscribed, SubscriptionGrant, Time, Unsubscribe,
};

impl Hub {
    /// Subscribes a session that may.
    ///
    /// # Errors
    /// `UnknownChannel`, `LimitExceeded` (the name's length, the session's number of channels), `AlreadySubscribed`,
    /// `UnrecoverablePosition` (if that was asked for), `Expired` (the grant), `BadRequest` (no such session).
    pub fn subscribe(
        &mut self,
        key: SessionKey,
        channel: &str,
        grant: SubscriptionGrant,
        request: SubscribeRequest<'_>,
        now: Time,
        effects: &mut Effects,
    ) -> Result<Subscribed, PushError> {
        let options = *self.config.options(channel)?;
        let session = self.sessions.get(key).ok_or(PushError::BadRequest)?;
        let receiver = Receiver { key, lane: session.lane };
        if self.is_subscribed(key, channel) {
            return Err(PushError::AlreadySubscribed);
        }
        if session.subscriptions.len() >= self.config.limits.channels_per_client {
            return Err(PushError::LimitExceeded);
        }
        if grant.expire_at.is_some_and(|at| at <= now) {
            return Err(PushError::Expired);
        }
        let answer = self.answer(channel, &options, &grant, request, now);
        if request.reject_unrecovered && answer.was_recovering && !answer.recovered {
            self.journal.flush(effects);
            return Err(PushError::UnrecoverablePosition);
        }

        // From here on it succeeds.
        let channel_key = self.channels.find_or_add(channel);
        if answer.positioned {
            // The position that it was told stays good for as long as it listens.
            self.begin_stream(channel_key, &options, now);
        }
        let is_announced = grant.join_leave.unwrap_or(options.join_leave);
        let is_pushed = grant.force_push_join_leave.unwrap_or(options.force_push_join_leave);
        let listens = is_pushed || (is_announced && request.join_leave);
        let Some(channel) = self.channels.get_mut(channel_key) else { return Err(PushError::Internal) };
        let subscription = Subscription {
            receiver_at: channel::join(Arc::make_mut(&mut channel.receivers), receiver),
            listener_at: listens.then(|| channel::join(&mut channel.listeners, receiver)),
            is_present: grant.presence.unwrap_or(options.presence),
            is_announced,
            is_positioned: answer.positioned,
            is_server_side: request.server_side,
            granted: (grant.info.is_some() || grant.expire_at.is_some())
                .then(|| Box::new(Granted { info: grant.info, expire_at: grant.expire_at })),
        };
        if let Some(at) = subscription.expire_at() {
            self.schedule.add(at, Due::Subscription(key, channel_key));
        }
        let name = Arc::clone(&channel.name);
        if request.server_side {
            let answer = Box::new(answer.clone());
            effects.push(Effect::Subscribed { to: receiver, channel: Arc::clone(&name), answer, data: None });
        }
        if let Some(session) = self.sessions.get_mut(key) {
            self.subscriptions.add(&name);
            if is_announced && !channel.listeners.is_empty() {
                let (info, to) = (session.info(Some(&subscription)), channel.listeners.clone());
                effects.push(Effect::Join { channel: name, info, to });
            }
            session.subscriptions.insert(channel_key, subscription);
        }
        self.journal.flush(effects);
        Ok(answer)
    }

    /// What a subscriber is told, and where it stands. Changes nothing but what is too old.
    fn answer(
        &mut self,
        channel: &str,
        options: &ChannelOptions,
        grant: &SubscriptionGrant,
        request: SubscribeRequest<'_>,
        now: Time,
    ) -> Subscribed {
        let has_history = options.has_history();
        let forced = grant.force_recovery.unwrap_or(options.force_recovery);
        let recoverable = has_history && (forced || request.recoverable);
        let forced = grant.force_positioning.unwrap_or(options.force_positioning);
        let positioned = has_history && (recoverable || forced || request.positioned);
        let mut answer = Subscribed {
            positioned,
            recoverable,
            was_recovering: request.recover.is_some(),
            ttl: grant.expire_at.map(|at| at.since(now)),
            ..Subscribed::default()
        };
        if !positioned {
            return answer;
        }
        let retention = Retention::by(options, self.config.limits.idempotency_ttl);
        let channel_key = self.channels.find(channel);
        if let Some(channel_key) = channel_key {
            self.with_stream(channel_key, |stream, gone| stream.trim(retention, now, gone));
        }
        let epoch = self.epochs.current(options.durable);
        let unborn = Stream::new(Arc::clone(epoch), now);
        let stream = channel_key.and_then(|key| self.channels.get(key)?.stream.as_deref()).unwrap_or(&unborn);
        let mut position = stream.position();
        if let Some(since) = request.recover.filter(|_| recoverable) {
            let limits = &self.config.limits;
            let bytes = request.recovery_bytes.map_or(limits.recovery_bytes, |left| left.min(limits.recovery_bytes));
            let most = Most { publications: limits.recovery_publications, bytes };
            let found = match options.recovery_mode {
                RecoveryMode::Stream => stream.recover(since, most),
                RecoveryMode::Cache => latest(stream, since),
            };
            if let Some(publications) = found {
                if options.recovery_mode == RecoveryMode::Stream {
                    position.offset = since.offset;
                }
                (answer.recovered, answer.publications) = (true, publications);
            }
        }
        answer.position = Some(position);
        answer
    }

    /// Ends a subscription because its client says so; whether there was one. Nothing of the channel follows.
    pub fn unsubscribe(&mut self, key: SessionKey, channel: &str, now: Time, effects: &mut Effects) -> bool {
        let Some(channel) = self.channels.find(channel) else { return false };
        let was_subscribed = self.remove_subscription(key, channel, now, effects);
        self.journal.flush(effects);
        was_subscribed
    }

    /// Ends a subscription because the server says so; whether there was one. An
    /// [`Effect::Unsubscribed`] tells the client. One that the server has made can only end for
    /// good by that: where the client is to come back to it, an [`Effect::Disconnect`] ends the
    /// session instead.
    pub fn force_unsubscribe(
        &mut self,
        key: SessionKey,
        channel: &str,
        why: Unsubscribe,
        now: Time,
        effects: &mut Effects,
    ) -> bool {
        let Some(channel) = self.channels.find(channel) else { return false };
        let was_subscribed = self.end_subscription(key, channel, why, now, effects);
        self.journal.flush(effects);
        was_subscribed
    }

    /// Whether a session is subscribed to a channel.
    pub fn is_subscribed(&self, key: SessionKey, channel: &str) -> bool {
        self.channels.find(channel).is_some_and(|channel| self.sessions.subscription(key, channel).is_some())
    }

    /// The channels that a session is subscribed to.
    pub fn subscriptions(&self, key: SessionKey) -> impl Iterator<Item = &str> {
        let channels = self.sessions.get(key).into_iter().flat_map(|session| session.subscriptions.keys());
        channels.filter_map(|&channel| Some(self.channels.get(channel)?.name.as_ref()))
    }

    /// Moves the end of a subscription; `None`: it has none any more. Whether there is such a subscription.
    pub fn refresh_subscription(&mut self, key: SessionKey, channel: &str, expire_at: Option<Time>) -> bool {
        let Some(channel) = self.channels.find(channel) else { return false };
        let Some(subscription) = self.sessions.subscription_mut(key, channel) else { return false };
        let due = Due::Subscription(key, channel);
        if let Some(at) = subscription.expire_at() {
            self.schedule.remove(at, due);
        }
        if let Some(at) = expire_at {
            self.schedule.add(at, due);
        }
        if expire_at.is_some() || subscription.granted.is_some() {
            subscription.granted.get_or_insert_default().expire_at = expire_at;
        }
        true
    }

    /// Ends a subscription and tells its client.
    pub(super) fn end_subscription(
        &mut self,
        key: SessionKey,
        channel: ChannelKey,
        why: Unsubscribe,
        now: Time,
        effects: &mut Effects,
    ) -> bool {
        let Some(subscription) = self.sessions.subscription(key, channel) else { return false };
        let disconnect = match why {
            _ if !subscription.is_server_side => None,
            Unsubscribe::Server => None,
            Unsubscribe::InsufficientState => Some(Disconnect::INSUFFICIENT_STATE),
            Unsubscribe::Expired => Some(Disconnect::SUBSCRIPTION_EXPIRED),
            Unsubscribe::StateInvalidated => Some(Disconnect::STATE_INVALIDATED),
        };
        if let Some(disconnect) = disconnect {
            effects.push(Effect::Disconnect { key, disconnect });
        } else if let (Some(session), Some(channel)) = (self.sessions.get(key), self.channels.get(channel)) {
            let to = Receiver { key, lane: session.lane };
            effects.push(Effect::Unsubscribed { to, channel: Arc::clone(&channel.name), why });
        }
        self.remove_subscription(key, channel, now, effects)
    }

    /// Ends those subscriptions to a channel. Who goes along does not hear of the others' leaving: of many that would be
    /// as many messages as their number squared.
    pub(super) fn end_subscriptions(
        &mut self,
        channel: ChannelKey,
        why: Unsubscribe,
        now: Time,
        effects: &mut Effects,
        which: impl Fn(&Subscription) -> bool,
    ) {
        let Some(receivers) = self.channels.get(channel).map(|channel| &channel.receivers) else { return };
        let is_ending = |key: &SessionKey| self.sessions.subscription(*key, channel).is_some_and(&which);
        let ending: Vec<_> = receivers.iter().map(|receiver| receiver.key).filter(is_ending).collect();
        for key in &ending {
            self.stop_listening(*key, channel);
        }
        for key in ending {
            self.end_subscription(key, channel, why, now, effects);
        }
    }

    /// Has a subscriber hear of no more joins and leaves.
    fn stop_listening(&mut self, key: SessionKey, channel_key: ChannelKey) {
        let subscription = self.sessions.subscription_mut(key, channel_key);
        let Some(listener_at) = subscription.and_then(|subscription| subscription.listener_at.take()) else { return };
        let Some(channel) = self.channels.get_mut(channel_key) else { return };
        // Whoever is moved into the gap that this leaves has to know.
        if let Some(moved) = channel::leave(&mut channel.listeners, listener_at)
            && let Some(moved) = self.sessions.subscription_mut(moved, channel_key)
        {
            moved.listener_at = Some(listener_at);
        }
    }

    /// Takes a subscription out; whether there was one. Others hear that it left.
    pub(super) fn remove_subscription(
        &mut self,
        key: SessionKey,
        channel_key: ChannelKey,
        now: Time,
        effects: &mut Effects,
    ) -> bool {
        self.stop_listening(key, channel_key);
        let Some(session) = self.sessions.get_mut(key) else { return false };
        let Some(subscription) = session.remove(channel_key) else { return false };
        let info = session.info(Some(&subscription));
        if let Some(at) = subscription.expire_at() {
            self.schedule.remove(at, Due::Subscription(key, channel_key));
        }
        let Some(channel) = self.channels.get_mut(channel_key) else { return true };
        self.subscriptions.remove(&channel.name);
        // As in `stop_listening`.
        let receiver_at = subscription.receiver_at;
        if let Some(moved) = channel::leave(Arc::make_mut(&mut channel.receivers), receiver_at)
            && let Some(moved) = self.sessions.subscription_mut(moved, channel_key)
        {
            moved.receiver_at = receiver_at;
        }
        if subscription.is_announced && !channel.listeners.is_empty() {
            let (channel, to) = (Arc::clone(&channel.name), channel.listeners.clone());
            effects.push(Effect::Leave { channel, info, to });
        }
        if channel.receivers.is_empty() {
            self.tend(channel_key, now, effects);
        }
        true
    }

    /// Those who can be seen in a channel.
    pub(super) fn present(&self, channel: &str) -> Result<impl Iterator<Item = (&Session, &Subscription)>, PushError> {
        if !self.config.options(channel)?.presence {
            return Err(PushError::NotAvailable);
        }
        let found = self.channels.find(channel);
        let found = found.and_then(|key| Some((key, self.channels.get(key)?)));
        Ok(found.into_iter().flat_map(move |(channel_key, channel)| {
            channel.receivers.iter().filter_map(move |receiver| {
                let session = self.sessions.get(receiver.key)?;
                let subscription = session.subscriptions.get(&channel_key)?;
                subscription.is_present.then_some((session, subscription))
            })
        }))
    }
}

/// The stream's state, which is its latest publication, for a subscriber that has last seen `since`; none if there is no
/// such publication.
fn latest(stream: &Stream, since: Since<'_>) -> Option<Vec<Arc<Publication>>> {
    let latest = stream.latest()?;
    let Position { offset, epoch } = stream.position();
    let is_known = since.offset == offset && *since.epoch == *epoch;
    Some(if is_known { Vec::new() } else { vec![Arc::clone(latest)] })
}
