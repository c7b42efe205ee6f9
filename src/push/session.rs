//! A client's session: who it is, what it is subscribed to; and all sessions, by key, client, user and group.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::channel::{self, ChannelKey};
use super::{ClientId, ClientInfo, Data, Receiver, Time};

/// Names a session to the hub and in its effects: a number that the gateway chooses and never uses twice while the hub
/// knows it. Connections' ids serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// Which encoding a session is served in. The hub hands it back with each [`Receiver`], so that a gateway
/// can encode once for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u8);

/// Who is behind a session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its name to others.
    pub client: ClientId,
    /// Whose it is; empty for an anonymous one.
    pub user: Arc<str>,
    /// What others may know of it.
    pub info: Option<Data>,
}

/// A session as the hub knows it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) identity: Identity,
    pub(super) lane: Lane,
    pub(super) subscriptions: HashMap<ChannelKey, Subscription>,
    /// Its place among its user's sessions.
    user_at: u32,
    /// The groups that it is in, and its place in each.
    groups: HashMap<Arc<str>, u32>,
}

/// That a session is subscribed to a channel.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Its place among the channel's receivers.
    pub(super) receiver_at: u32,
    /// Its place among those that hear of joins and leaves, if it does.
    pub(super) listener_at: Option<u32>,
    pub(super) is_present: bool,
    /// Others hear of its coming and going.
    pub(super) is_announced: bool,
    pub(super) is_positioned: bool,
    pub(super) is_server_side: bool,
    /// What only a token or a backend gives.
    pub(super) granted: Option<Box<Granted>>,
}

#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) info: Option<Data>,
    pub(super) expire_at: Option<Time>,
}

impl Subscription {
    pub(super) fn expire_at(&self) -> Option<Time> {
        self.granted.as_ref().and_then(|granted| granted.expire_at)
    }
}

impl Session {
    /// Takes a subscription out.
    pub(super) fn remove(&mut self, channel: ChannelKey) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(&channel)?;
        channel::shrink_own(&mut self.subscriptions);
        Some(subscription)
    }

    /// As others see it, in the channel that `subscription` is to.
    pub(super) fn info(&self, subscription: Option<&Subscription>) -> ClientInfo {
        ClientInfo {
            user: Arc::clone(&self.identity.user),
            client: self.identity.client,
            conn_info: self.identity.info.clone(),
            chan_info: subscription.and_then(|subscription| subscription.granted.as_ref()?.info.clone()),
        }
    }
}

/// The sessions that there are.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: HashMap<SessionKey, Box<Session>>,
    by_client: HashMap<ClientId, SessionKey>,
    /// Without the anonymous ones.
    by_user: HashMap<Arc<str>, Vec<Receiver>>,
    by_group: HashMap<Arc<str>, Vec<Receiver>>,
}

impl Sessions {
    /// Adds a session whose key is not known yet.
    pub(super) fn add(&mut self, key: SessionKey, lane: Lane, mut identity: Identity) {
        self.by_client.insert(identity.client, key);
        let mut user_at = 0;
        if !identity.user.is_empty() {
            // A user's sessions share the name.
            if let Some((user, _)) = self.by_user.get_key_value(&identity.user) {
                identity.user = Arc::clone(user);
            }
            let sessions = self.by_user.entry(Arc::clone(&identity.user)).or_default();
            user_at = channel::join(sessions, Receiver { key, lane });
        }
        let session = Session { identity, lane, subscriptions: HashMap::new(), user_at, groups: HashMap::new() };
        self.all.insert(key, Box::new(session));
    }

    /// Takes a session out, of its groups too.
    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Box<Session>> {
        let mut session = self.all.remove(&key)?;
        if self.by_client.get(&session.identity.client) == Some(&key) {
            self.by_client.remove(&session.identity.client);
        }
        let user = &session.identity.user;
        if let Some(sessions) = self.by_user.get_mut(user) {
            if let Some(moved) = channel::leave(sessions, session.user_at)
                && let Some(moved) = self.all.get_mut(&moved)
            {
                moved.user_at = session.user_at;
            }
            if sessions.is_empty() {
                self.by_user.remove(user);
            }
        }
        for (group, at) in std::mem::take(&mut session.groups) {
            self.take_from_group(&group, at);
        }
        channel::shrink(&mut self.all);
        channel::shrink(&mut self.by_client);
        channel::shrink(&mut self.by_user);
        Some(session)
    }

    pub(super) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.all.get(&key).map(AsRef::as_ref)
    }

    pub(super) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.all.get_mut(&key).map(AsMut::as_mut)
    }

    pub(super) fn subscription(&self, key: SessionKey, channel: ChannelKey) -> Option<&Subscription> {
        self.get(key)?.subscriptions.get(&channel)
    }

    pub(super) fn subscription_mut(&mut self, key: SessionKey, channel: ChannelKey) -> Option<&mut Subscription> {
        self.get_mut(key)?.subscriptions.get_mut(&channel)
    }

    /// Nobody hears of joins and leaves any more.
    pub(super) fn forget_listeners(&mut self) {
        let subscriptions = self.all.values_mut().flat_map(|session| session.subscriptions.values_mut());
        subscriptions.for_each(|subscription| subscription.listener_at = None);
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Receiver> {
        self.all.iter().map(|(&key, session)| Receiver { key, lane: session.lane })
    }

    pub(super) fn of_client(&self, client: ClientId) -> Option<SessionKey> {
        self.by_client.get(&client).copied()
    }

    pub(super) fn of_user(&self, user: &str) -> &[Receiver] {
        self.by_user.get(user).map_or(&[], Vec::as_slice)
    }

    pub(super) fn of_group(&self, group: &str) -> &[Receiver] {
        self.by_group.get(group).map_or(&[], Vec::as_slice)
    }

    pub(super) fn users(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.by_user.iter().map(|(user, sessions)| (user.as_ref(), sessions.len()))
    }

    /// How many groups a session is in, and whether `group` is among them.
    pub(super) fn groups_of(&self, key: SessionKey, group: &str) -> Option<(usize, bool)> {
        let groups = &self.get(key)?.groups;
        Some((groups.len(), groups.contains_key(group)))
    }

    /// Puts a session that is there into a group that it is not in.
    pub(super) fn join_group(&mut self, key: SessionKey, group: &str) {
        let Some(session) = self.all.get_mut(&key) else { return };
        let group: Arc<str> = self.by_group.get_key_value(group).map_or_else(|| group.into(), |(it, _)| Arc::clone(it));
        let members = self.by_group.entry(Arc::clone(&group)).or_default();
        let at = channel::join(members, Receiver { key, lane: session.lane });
        session.groups.insert(group, at);
    }

    /// Takes a session out of a group; whether it was in it.
    pub(super) fn leave_group(&mut self, key: SessionKey, group: &str) -> bool {
        let Some(session) = self.all.get_mut(&key) else { return false };
        let Some(at) = session.groups.remove(group) else { return false };
        channel::shrink_own(&mut session.groups);
        self.take_from_group(group, at);
        true
    }

    fn take_from_group(&mut self, group: &str, at: u32) {
        let Some(members) = self.by_group.get_mut(group) else { return };
        if let Some(moved) = channel::leave(members, at)
            && let Some(moved) = self.all.get_mut(&moved)
            && let Some(place) = moved.groups.get_mut(group)
        {
            *place = at;
        }
        if members.is_empty() {
            self.by_group.remove(group);
            channel::shrink(&mut self.by_group);
        }
    }
}

/// How many users these are; all anonymous ones are one, as with Centrifugo.
pub(super) fn count_users<'a>(sessions: impl Iterator<Item = &'a Session>) -> usize {
    sessions.map(|session| session.identity.user.as_ref()).collect::<HashSet<&str>>().len()
}
