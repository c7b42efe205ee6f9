//! What a hub is asked, and what it answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ClientId, ClientInfo, Data, Position, Publication};

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
    /// How many bytes of data that may be, if fewer than the hub's limit.
    pub recovery_bytes: Option<usize>,
    /// To be told if a publication should be missing.
    pub positioned: bool,
    /// To be able to recover later.
    pub recoverable: bool,
    /// To hear of joins and leaves.
    pub join_leave: bool,
    /// Answer `UnrecoverablePosition` instead of subscribing where recovery fails.
    pub reject_unrecovered: bool,
    /// The server subscribes the session, not its client: an [`Effect::Subscribed`](super::Effect::Subscribed) tells that.
    pub server_side: bool,
}

/// The answer to a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// The channel keeps positions for this subscriber.
    pub positioned: bool,
    /// The subscriber can recover.
    pub recoverable: bool,
    /// Where the subscriber stands: what it asked to recover from if all since then is in `publications`, otherwise the
    /// stream's latest. Absent where the channel keeps no stream or the subscription is not positioned.
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
