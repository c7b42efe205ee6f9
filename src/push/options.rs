//! What a channel offers and to whom: options of namespaces, and the hub's limits.

use std::collections::BTreeMap;

/// Who may do something by an option, besides those whom a token or a backend lets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Clients with a user.
    pub client: bool,
    /// Clients that are subscribed to the channel.
    pub subscriber: bool,
    /// Clients without a user, where clients or subscribers may.
    pub anonymous: bool,
}

/// What recovery brings back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecoveryMode {
    /// Everything since the position, or nothing and a word about it.
    #[default]
    Stream,
    /// The latest publication alone: for channels whose publications are whole states.
    Cache,
}

/// The options of a namespace. The default is closed: nobody may do anything, and nothing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Who is subscribed can be asked.
    pub presence: bool,
    /// Joins and leaves are told to subscribers that ask for them.
    pub join_leave: bool,
    /// They are told to all.
    pub force_push_join_leave: bool,
    /// Publications kept at most; 0 keeps none.
    pub history_size: usize,
    /// Milliseconds for which a publication is kept; 0 keeps none.
    pub history_ttl: u64,
    /// Milliseconds after its last publication for which a stream's epoch and offset are remembered. 30 days.
    pub history_meta_ttl: u64,
    /// Every subscription is positioned, asked for or not.
    pub force_positioning: bool,
    /// Every subscription is recoverable, asked for or not.
    pub force_recovery: bool,
    /// What recovery brings back.
    pub recovery_mode: RecoveryMode,
    /// With a store: a publication is delivered and acknowledged once it is on disk. Otherwise a crash can lose the last
    /// few, and the stream then gets a new epoch. A stream that has begun as durable is so until the server starts again.
    pub durable: bool,
    /// Who may subscribe; `subscriber` has no meaning here.
    pub subscribe: Audience,
    /// Who may publish.
    pub publish: Audience,
    /// Who may read the history.
    pub history: Audience,
    /// Who may ask for presence.
    pub presence_for: Audience,
    /// A backend decides on subscriptions that no token decides.
    pub subscribe_hook: bool,
    /// A backend decides on clients' publications.
    pub publish_hook: bool,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            presence: false,
            join_leave: false,
            force_push_join_leave: false,
            history_size: 0,
            history_ttl: 0,
            history_meta_ttl: 30 * 24 * 3600 * 1000,
            force_positioning: false,
            force_recovery: false,
            recovery_mode: RecoveryMode::Stream,
            durable: true,
            subscribe: Audience::default(),
            publish: Audience::default(),
            history: Audience::default(),
            presence_for: Audience::default(),
            subscribe_hook: false,
            publish_hook: false,
        }
    }
}

impl ChannelOptions {
    /// Whether publications are kept.
    pub const fn has_history(&self) -> bool {
        self.history_size > 0 && self.history_ttl > 0
    }
}

/// The options of every channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Of channels without a namespace: those without a `:`.
    pub plain: ChannelOptions,
    /// Of the others, by what stands before their first `:`.
    pub named: BTreeMap<String, ChannelOptions>,
    /// Of those with another; without these their namespace does not exist.
    pub others: Option<ChannelOptions>,
}

impl Namespaces {
    /// The options of a namespace, if it exists.
    pub fn get(&self, namespace: Option<&str>) -> Option<&ChannelOptions> {
        match namespace {
            None => Some(&self.plain),
            Some(name) => self.named.get(name).or(self.others.as_ref()),
        }
    }

    /// Those of them that keep publications: the name of each behind a `:`, and nothing behind it where it is channels without
    /// one, or a `*` where it is all others.
    pub(super) fn with_history(&self) -> String {
        let unnamed = [("", Some(&self.plain)), ("*", self.others.as_ref())];
        let named = self.named.iter().map(|(name, options)| (name.as_str(), Some(options)));
        let all = unnamed.into_iter().chain(named);
        all.filter(|(_, options)| options.is_some_and(ChannelOptions::has_history))
            .flat_map(|(name, _)| [":", name])
            .collect()
    }
}

/// Limits of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// Channels that one session may be subscribed to. 128.
    pub channels_per_client: usize,
    /// Bytes in a channel's name. 255.
    pub channel_length: usize,
    /// Connections of one user; `None`: any number. Anonymous ones are not counted.
    pub connections_per_user: Option<usize>,
    /// Publications that one recovery brings at most; more are a failed recovery. 300.
    pub recovery_publications: usize,
    /// Bytes of data that one recovery brings at most, and that all of those bring together which a client makes by
    /// connecting; more are a failed recovery. 16 MiB.
    pub recovery_bytes: usize,
    /// Publications in one answer to a history request at most. 300.
    pub history_publications: usize,
    /// Bytes of data in it at most, unless that is one publication; what follows is for a further request. 16 MiB.
    pub history_bytes: usize,
    /// Milliseconds for which an idempotency key is remembered. 5 minutes.
    pub idempotency_ttl: u64,
    /// Users that a user-limited channel may name. 100.
    pub users_per_channel: usize,
    /// Groups that one session may be in. 128.
    pub groups_per_client: usize,
    /// Publications that may wait for the store; more are refused. 100,000.
    pub waiting: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            channels_per_client: 128,
            channel_length: 255,
            connections_per_user: None,
            recovery_publications: 300,
            recovery_bytes: 16 << 20,
            history_publications: 300,
            history_bytes: 16 << 20,
            idempotency_ttl: 5 * 60 * 1000,
            users_per_channel: 100,
            groups_per_client: 128,
            waiting: 100_000,
        }
    }
}

/// All that a hub is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubConfig {
    /// What channels offer.
    pub namespaces: Namespaces,
    /// What sessions may have.
    pub limits: HubLimits,
    /// Everyone may do everything: for development.
    pub insecure: bool,
    /// Whether there is a store: without one no [`Effect::Store`](super::Effect::Store) is made, and nothing waits for it.
    pub stored: bool,
}
