//! The hub: sessions, channels, users and groups, and the commands about them.

mod publishing;
mod restoring;
mod schedule;
mod subscribing;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::restoring::Epochs;
use self::schedule::Schedule;
use self::tally::Tally;
use super::auth::Asker;
use super::channel::{Channels, matches};
use super::journal::Journal;
use super::keys::Keys;
use super::session::{Sessions, count_users};
use super::{
    Access, ClientId, ClientInfo, Counts, Data, Decision, Disconnect, Effect, Effects, HubConfig, Identity, Lane,
    PushError, Receiver, SessionKey, Target, Time, Unsubscribe,
};

/// Sessions, channels, users and groups.
///
/// Commands are about what may be done, not who may do it: a gateway asks [`decide`](Self::decide) first. What they make
/// others see is added to the [`Effects`] that they are given, and is to be carried out after the command's own answer.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    sessions: Sessions,
    channels: Channels,
    keys: Keys,
    journal: Journal,
    epochs: Epochs,
    schedule: Schedule,
    subscriptions: Tally,
    /// All that streams keep.
    publications: usize,
    publication_bytes: usize,
}

/// Sessions, and who is behind them.
impl Hub {
    /// The configuration in force.
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// Takes another configuration. Subscriptions to channels whose namespace is gone end; streams keep to the new sizes,
    /// and end where no history is kept any more. Whether there is a store does not change.
    pub fn configure(&mut self, config: HubConfig, now: Time, effects: &mut Effects) {
        let config = HubConfig { stored: self.config.stored, ..config };
        self.config = config;
        if self.epochs.are_for(&self.config.namespaces) {
            for is_durable in [true, false] {
                self.renew_epoch(is_durable, effects);
            }
        }
        for channel in self.channels.keys() {
            let Some(name) = self.channels.get(channel).map(|channel| Arc::clone(&channel.name)) else { continue };
            if self.config.options(&name).is_err() {
                self.end_subscriptions(channel, Unsubscribe::Server, now, effects, |_| true);
            }
            self.tend(channel, now, effects);
        }
        self.journal.flush(effects);
    }

    /// A session begins.
    ///
    /// # Errors
    /// `CONNECTION_LIMIT`: its user has as many as it may. `BAD_REQUEST`: the key is in use.
    pub fn connect(&mut self, key: SessionKey, lane: Lane, identity: Identity) -> Result<(), Disconnect> {
        if self.sessions.get(key).is_some() {
            return Err(Disconnect::BAD_REQUEST);
        }
        let connections = self.sessions.of_user(&identity.user).len();
        if self.config.limits.connections_per_user.is_some_and(|limit| connections >= limit) {
            let is_anonymous = identity.user.is_empty();
            if !is_anonymous {
                return Err(Disconnect::CONNECTION_LIMIT);
            }
        }
        self.sessions.add(key, lane, identity);
        Ok(())
    }

    /// A session is over: its subscriptions, presence and groups end. Without effect if it is not known.
    pub fn disconnect(&mut self, key: SessionKey, now: Time, effects: &mut Effects) {
        let Some(session) = self.sessions.get(key) else { return };
        let channels: Vec<_> = session.subscriptions.keys().copied().collect();
        for channel in channels {
            self.remove_subscription(key, channel, now, effects);
        }
        self.sessions.remove(key);
        self.journal.flush(effects);
    }

    /// All sessions are about to end, as the server goes: those that there are hear of no more joins and leaves.
    pub fn ignore_listeners(&mut self) {
        self.channels.iter_mut().for_each(|channel| channel.listeners = Vec::new());
        self.sessions.forget_listeners();
    }

    /// Who is behind a session.
    pub fn identity(&self, key: SessionKey) -> Option<&Identity> {
        self.sessions.get(key).map(|session| &session.identity)
    }

    /// As others in `channel` see a session; what the channel knows of it is there if it is subscribed.
    pub fn info(&self, key: SessionKey, channel: &str) -> Option<ClientInfo> {
        let subscription = self.channels.find(channel).and_then(|channel| self.sessions.subscription(key, channel));
        self.sessions.get(key).map(|session| session.info(subscription))
    }

    /// Replaces what others may know of a session, in its later publications and joins.
    pub fn set_info(&mut self, key: SessionKey, info: Option<Data>) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.identity.info = info;
        }
    }

    /// Whether a session may do something in a channel.
    pub fn decide(&self, key: SessionKey, channel: &str, access: Access) -> Decision {
        let Some(session) = self.sessions.get(key) else { return Decision::Deny(PushError::Unauthorized) };
        let is_subscribed = self.is_subscribed(key, channel);
        self.config.decide(Asker { user: &session.identity.user, is_subscribed }, channel, access)
    }

    /// The sessions of a user.
    pub fn sessions_of(&self, user: &str) -> Vec<SessionKey> {
        keys_of(self.sessions.of_user(user))
    }

    /// The session of a client.
    pub fn session_of(&self, client: ClientId) -> Option<SessionKey> {
        self.sessions.of_client(client)
    }

    /// The users that have a session, and how many each.
    pub fn users(&self) -> impl Iterator<Item = (&str, usize)> {
        self.sessions.users()
    }

    /// How many subscriptions there are to channels of each namespace; `""` is that of channels without one.
    pub fn subscriptions_by_namespace(&self) -> impl Iterator<Item = (&str, usize)> {
        self.subscriptions.by_namespace.iter().map(|(namespace, count)| (&**namespace, *count))
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.sessions.len(),
            users: self.sessions.users().len(),
            channels: self.channels.len(),
            subscriptions: self.subscriptions.total,
            publications: self.publications,
            publication_bytes: self.publication_bytes,
            waiting: self.journal.waiting(),
        }
    }
}

/// Channels, and who is in them.
impl Hub {
    /// Who is subscribed to a channel.
    ///
    /// # Errors
    /// `UnknownChannel`; `NotAvailable`: the channel does not tell.
    pub fn presence(&self, channel: &str) -> Result<Vec<ClientInfo>, PushError> {
        let infos = self.present(channel)?.map(|(session, subscription)| session.info(Some(subscription)));
        Ok(infos.collect())
    }

    /// How many clients and how many users those are.
    ///
    /// # Errors
    /// As [`presence`](Self::presence).
    pub fn presence_stats(&self, channel: &str) -> Result<(usize, usize), PushError> {
        let clients = self.present(channel)?.count();
        Ok((clients, count_users(self.present(channel)?.map(|(session, _)| session))))
    }

    /// Channels with subscribers, and how many; `pattern` may have `*` for any characters.
    pub fn channels(&self, pattern: Option<&str>) -> Vec<(Arc<str>, usize)> {
        let busy = self.channels.iter().filter(|channel| !channel.receivers.is_empty());
        busy.filter(|channel| pattern.is_none_or(|pattern| matches(pattern, &channel.name)))
            .map(|channel| (Arc::clone(&channel.name), channel.receivers.len()))
            .collect()
    }
}

/// Groups, and messages that belong to no channel.
impl Hub {
    /// Puts a session into a group of the server's.
    ///
    /// # Errors
    /// `LimitExceeded`: the session is in as many as it may, or the name is too long. `BadRequest`: no such session, or an empty name.
    pub fn join_group(&mut self, key: SessionKey, group: &str) -> Result<(), PushError> {
        let limits = &self.config.limits;
        if group.is_empty() {
            return Err(PushError::BadRequest);
        }
        if group.len() > limits.channel_length {
            return Err(PushError::LimitExceeded);
        }
        match self.sessions.groups_of(key, group) {
            None => Err(PushError::BadRequest),
            Some((_, true)) => Ok(()),
            Some((groups, false)) if groups >= limits.groups_per_client => Err(PushError::LimitExceeded),
            Some((_, false)) => {
                self.sessions.join_group(key, group);
                Ok(())
            }
        }
    }

    /// Takes a session out of a group; whether it was in it.
    pub fn leave_group(&mut self, key: SessionKey, group: &str) -> bool {
        self.sessions.leave_group(key, group)
    }

    /// The sessions of a group.
    pub fn members(&self, group: &str) -> Vec<SessionKey> {
        keys_of(self.sessions.of_group(group))
    }

    /// Sends a message that belongs to no channel; to how many.
    pub fn send(&mut self, target: Target<'_>, except: Option<ClientId>, data: Data, effects: &mut Effects) -> usize {
        let mut to: Vec<Receiver> = match target {
            Target::Client(client) => {
                let key = self.sessions.of_client(client);
                let session = key.and_then(|key| Some((key, self.sessions.get(key)?)));
                session.map(|(key, session)| Receiver { key, lane: session.lane }).into_iter().collect()
            }
            Target::User(user) => self.sessions.of_user(user).to_vec(),
            Target::Group(group) => self.sessions.of_group(group).to_vec(),
            Target::All => self.sessions.all().collect(),
        };
        if let Some(except) = except.and_then(|client| self.sessions.of_client(client)) {
            to.retain(|receiver| receiver.key != except);
        }
        let receivers = to.len();
        if receivers > 0 {
            effects.push(Effect::Message { data, to });
        }
        receivers
    }
}

fn keys_of(receivers: &[Receiver]) -> Vec<SessionKey> {
    receivers.iter().map(|receiver| receiver.key).collect()
}
