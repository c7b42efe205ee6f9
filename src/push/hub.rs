//! The hub: sessions, channels, users and groups, and the commands about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    Access, ClientId, ClientInfo, Data, Decision, Disconnect, Effects, HubConfig, Identity, Lane, Position,
    Publication, PushError, Restored, Sequence, SessionKey, SubscriptionGrant, Time,
};

/// Names a publish that waits for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A position that a client says it has; an empty epoch is anyone's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since<'a> {
    /// The offset of the latest publication seen.
    pub offset: u64,
    /// The epoch that it counts in.
    pub epoch: &'a str,
}

/// How somebody subscribes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SubscribeRequest<'a> {
    /// To bring what was published since.
    pub recover: Option<Since<'a>>,
    /// To be told if a publication should be missing.
    pub positioned: bool,
    /// To be able to recover later.
    pub recoverable: bool,
    /// To hear of joins and leaves.
    pub join_leave: bool,
    /// Answer `UnrecoverablePosition` instead of subscribing where recovery fails.
    pub reject_unrecovered: bool,
    /// The server subscribes the session, not its client.
    pub server_side: bool,
}

/// The answer to a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// The channel keeps positions for this subscriber.
    pub positioned: bool,
    /// The subscriber can recover.
    pub recoverable: bool,
    /// Where the subscriber stands: what it asked to recover from if it was recovered, otherwise the stream's latest.
    /// Absent where the channel keeps no stream or the subscription none.
    pub position: Option<Position>,
    /// Whether recovery was asked for.
    pub was_recovering: bool,
    /// Whether nothing is missing between what was asked for and now.
    pub recovered: bool,
    /// What was published since, oldest first.
    pub publications: Vec<Arc<Publication>>,
    /// Milliseconds until the subscription ends.
    pub ttl: Option<u64>,
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct PublishRequest<'a> {
    /// The data.
    pub data: Data,
    /// Who publishes, if it is a client.
    pub info: Option<ClientInfo>,
    /// Notes to the subscribers.
    pub tags: BTreeMap<String, String>,
    /// A publish to the same channel with the same key in the last minutes is this one.
    pub idempotency_key: Option<&'a str>,
    /// Keep it out of the history: it has no offset then.
    pub skip_history: bool,
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It stands here; offset 0 and an empty epoch where the channel keeps no stream.
    Now(Position),
    /// An [`Effect::Acknowledged`](super::Effect::Acknowledged) with this ticket follows when the store has it.
    Later(Ticket),
}

/// Which part of a history.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryRequest<'a> {
    /// How many publications at most; 0: the position alone. Never more than the hub's limit.
    pub limit: usize,
    /// Those behind this, or, in reverse, before it.
    pub since: Option<Since<'a>>,
    /// Newest first.
    pub reverse: bool,
}

/// A part of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The publications.
    pub publications: Vec<Arc<Publication>>,
    /// The stream's latest position.
    pub position: Position,
}

/// Who is meant by a message to no channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// One client.
    Client(ClientId),
    /// All of a user's.
    User(&'a str),
    /// All in a group.
    Group(&'a str),
    /// Everyone.
    All,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Users that have a session; anonymous ones are none.
    pub users: usize,
    /// Channels with a subscriber or a stream.
    pub channels: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Publications kept.
    pub publications: usize,
    /// Bytes of their data.
    pub publication_bytes: usize,
    /// Publications that wait for the store.
    pub waiting: usize,
}

/// Sessions, channels, users and groups.
///
/// Commands are about what may be done, not who may do it: a gateway asks [`decide`](Self::decide) first. What they make
/// others see is added to the [`Effects`] that they are given, and is to be carried out after the command's own answer.
#[derive(Debug)]
pub struct Hub {}

impl Hub {
    /// A hub with what a store has brought back. `seed` makes its epochs unlike any other's.
    pub fn new(config: HubConfig, restored: Restored, seed: u64, now: Time, effects: &mut Effects) -> Self {
        let _ = (config, restored, seed, now, effects);
        todo!()
    }

    /// The configuration in force.
    pub fn config(&self) -> &HubConfig {
        todo!()
    }

    /// Takes another configuration. Subscriptions to channels whose namespace is gone end; streams keep to the new sizes.
    pub fn configure(&mut self, config: HubConfig, now: Time, effects: &mut Effects) {
        let _ = (config, now, effects);
        todo!()
    }

    /// A session begins.
    ///
    /// # Errors
    /// `CONNECTION_LIMIT`: its user has as many as it may.
    pub fn connect(&mut self, key: SessionKey, lane: Lane, identity: Identity) -> Result<(), Disconnect> {
        let _ = (key, lane, identity);
        todo!()
    }

    /// A session is over: its subscriptions, presence and groups end. Without effect if it is not known.
    pub fn disconnect(&mut self, key: SessionKey, now: Time, effects: &mut Effects) {
        let _ = (key, now, effects);
        todo!()
    }

    /// Who is behind a session.
    pub fn identity(&self, key: SessionKey) -> Option<&Identity> {
        let _ = key;
        todo!()
    }

    /// As others in `channel` see a session; what the channel knows of it is there if it is subscribed.
    pub fn info(&self, key: SessionKey, channel: &str) -> Option<ClientInfo> {
        let _ = (key, channel);
        todo!()
    }

    /// Replaces what others may know of a session, in its later publications and joins.
    pub fn set_info(&mut self, key: SessionKey, info: Option<Data>) {
        let _ = (key, info);
        todo!()
    }

    /// Whether a session may do something in a channel.
    pub fn decide(&self, key: SessionKey, channel: &str, access: Access) -> Decision {
        let _ = (key, channel, access);
        todo!()
    }

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
        let _ = (key, channel, grant, request, now, effects);
        todo!()
    }

    /// Ends a subscription because its client says so; whether there was one. Nothing of the channel follows.
    pub fn unsubscribe(&mut self, key: SessionKey, channel: &str, now: Time, effects: &mut Effects) -> bool {
        let _ = (key, channel, now, effects);
        todo!()
    }

    /// Ends a subscription because the server says so: an [`Effect::Unsubscribed`](super::Effect::Unsubscribed) tells the client.
    pub fn force_unsubscribe(
        &mut self,
        key: SessionKey,
        channel: &str,
        why: super::Unsubscribe,
        now: Time,
        effects: &mut Effects,
    ) -> bool {
        let _ = (key, channel, why, now, effects);
        todo!()
    }

    /// Whether a session is subscribed to a channel.
    pub fn is_subscribed(&self, key: SessionKey, channel: &str) -> bool {
        let _ = (key, channel);
        todo!()
    }

    /// The channels that a session is subscribed to.
    pub fn subscriptions(&self, key: SessionKey) -> impl Iterator<Item = &str> {
        let _ = key;
        std::iter::empty()
    }

    /// Moves the end of a subscription; `None`: it has none any more. Whether there is such a subscription.
    pub fn refresh_subscription(&mut self, key: SessionKey, channel: &str, expire_at: Option<Time>) -> bool {
        let _ = (key, channel, expire_at);
        todo!()
    }

    /// Publishes to a channel.
    ///
    /// # Errors
    /// `UnknownChannel`, `LimitExceeded` (the name's length), `Internal` (the store has failed).
    pub fn publish(
        &mut self,
        channel: &str,
        request: PublishRequest<'_>,
        now: Time,
        effects: &mut Effects,
    ) -> Result<Published, PushError> {
        let _ = (channel, request, now, effects);
        todo!()
    }

    /// Reads a channel's stream.
    ///
    /// # Errors
    /// `UnknownChannel`; `NotAvailable`: it keeps none; `UnrecoverablePosition`: the epoch is another.
    pub fn history(&mut self, channel: &str, request: HistoryRequest<'_>, now: Time) -> Result<History, PushError> {
        let _ = (channel, request, now);
        todo!()
    }

    /// Empties a channel's stream; its position stays.
    ///
    /// # Errors
    /// `UnknownChannel`; `NotAvailable`: it keeps none.
    pub fn remove_history(&mut self, channel: &str, now: Time, effects: &mut Effects) -> Result<(), PushError> {
        let _ = (channel, now, effects);
        todo!()
    }

    /// Who is subscribed to a channel.
    ///
    /// # Errors
    /// `UnknownChannel`; `NotAvailable`: the channel does not tell.
    pub fn presence(&self, channel: &str) -> Result<Vec<ClientInfo>, PushError> {
        let _ = channel;
        todo!()
    }

    /// How many clients and how many users those are.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn presence_stats(&self, channel: &str) -> Result<(usize, usize), PushError> {
        let _ = channel;
        todo!()
    }

    /// Channels with subscribers, and how many; `pattern` may have `*` for any characters.
    pub fn channels(&self, pattern: Option<&str>) -> Vec<(Arc<str>, usize)> {
        let _ = pattern;
        todo!()
    }

    /// The sessions of a user.
    pub fn sessions_of(&self, user: &str) -> Vec<SessionKey> {
        let _ = user;
        todo!()
    }

    /// The session of a client.
    pub fn session_of(&self, client: ClientId) -> Option<SessionKey> {
        let _ = client;
        todo!()
    }

    /// The users that have a session, and how many each.
    pub fn users(&self) -> impl Iterator<Item = (&str, usize)> {
        std::iter::empty()
    }

    /// Puts a session into a group of the server's.
    ///
    /// # Errors
    /// `LimitExceeded`: the session is in as many as it may, or the name is too long. `BadRequest`: no such session, or an empty name.
    pub fn join_group(&mut self, key: SessionKey, group: &str) -> Result<(), PushError> {
        let _ = (key, group);
        todo!()
    }

    /// Takes a session out of a group; whether it was in it.
    pub fn leave_group(&mut self, key: SessionKey, group: &str) -> bool {
        let _ = (key, group);
        todo!()
    }

    /// The sessions of a group.
    pub fn members(&self, group: &str) -> Vec<SessionKey> {
        let _ = group;
        todo!()
    }

    /// Sends a message that belongs to no channel; to how many.
    pub fn send(&mut self, target: Target<'_>, except: Option<ClientId>, data: Data, effects: &mut Effects) -> usize {
        let _ = (target, except, data, effects);
        todo!()
    }

    /// The store has everything up to this: what waited for it is delivered and acknowledged.
    pub fn committed(&mut self, up_to: Sequence, now: Time, effects: &mut Effects) {
        let _ = (up_to, now, effects);
        todo!()
    }

    /// The store could not take what it was given from this on: what waits is refused and will not be delivered.
    pub fn store_failed(&mut self, from: Sequence, now: Time, effects: &mut Effects) {
        let _ = (from, now, effects);
        todo!()
    }

    /// Does what is due: publications, idempotency keys and streams whose time is over go, subscriptions end.
    pub fn tick(&mut self, now: Time, effects: &mut Effects) {
        let _ = (now, effects);
        todo!()
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn next_due(&self) -> Option<Time> {
        todo!()
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        todo!()
    }
}
