//! How each method is carried out.

use super::answer::{self, Answer, Outcome, Refusal, Shape, json};
use super::methods::Method;
use super::requests::{self, Whose, read, whose};
use super::results::{
    Channels, Connection, ConnectionsOf, History, Info, InfoJson, Member, Members, Node, NumClients, Presence,
    PresenceStats, PublicationJson, Receivers, Users,
};
use crate::endpoint::Connections;
use crate::gateway::clock::seconds_left;
use crate::gateway::core::{ClientKind, Core, Waiter};
use crate::gateway::grants;
use crate::net::ConnectionId;
use crate::push::{
    ClientId, Disconnect, Effect, HistoryRequest, PublishRequest, Published, PushError, SessionKey, Since,
    SubscribeRequest, Target, Time, Unsubscribe,
};

/// Commands of one batch at most.
pub(super) const MAX_COMMANDS: usize = 1_000;

/// Bytes of results from which on further commands of a batch are refused.
pub(super) const MAX_RESULTS: usize = 16 << 20;

/// A request that is being carried out, and all that this may touch.
pub(super) struct Run<'r, 'c> {
    core: &'r mut Core,
    connections: &'r mut Connections<'c>,
    exchange: ConnectionId,
    method: Method,
    parts: Vec<Option<Outcome>>,
    /// Bytes of results in them.
    bytes: usize,
}

impl<'r, 'c> Run<'r, 'c> {
    pub(super) fn new(
        core: &'r mut Core,
        connections: &'r mut Connections<'c>,
        exchange: ConnectionId,
        method: Method,
    ) -> Self {
        Self { core, connections, exchange, method, parts: Vec::new(), bytes: 0 }
    }

    /// Carries out the method with what it is told.
    ///
    /// # Errors
    /// That cannot be read.
    pub(super) fn carry_out(mut self, text: &str) -> Result<Answer, Refusal> {
        let shape = match self.method {
            Method::Batch => self.batch(text)?,
            method => self.one(method, text)?,
        };
        Ok(Answer::new(self.method, shape, self.parts))
    }

    /// One method after the other. What one of them cannot make sense of does not keep the others.
    fn batch(&mut self, text: &str) -> Result<Shape, Refusal> {
        let batch: requests::Batch = read(text)?;
        if batch.commands.len() > MAX_COMMANDS {
            return Err(Refusal::too_much(format_args!("a batch may have {MAX_COMMANDS} commands")));
        }
        let mut shapes = Vec::with_capacity(batch.commands.len());
        for command in &batch.commands {
            let first = self.parts.len();
            let (method, shape) = self.command(command.get()).unwrap_or_else(|refusal| {
                self.parts.truncate(first);
                self.parts.push(Some(Err(refusal)));
                (Method::Batch, Shape::One)
            });
            let results = self.parts[first..].iter().flatten().flatten();
            self.bytes += results.map(String::len).sum::<usize>();
            shapes.push((method, shape));
            // What comes next may end a connection that what was done is told to.
            self.core.settle(self.connections);
        }
        Ok(Shape::Batch(shapes))
    }

    fn command(&mut self, text: &str) -> Result<(Method, Shape), Refusal> {
        let command: requests::Command = read(text)?;
        let mut methods = command.iter();
        let (Some((name, params)), None) = (methods.next(), methods.next()) else {
            return Err(Refusal::bad("a command is one method"));
        };
        match Method::parse(name) {
            None => Err(PushError::MethodNotFound.into()),
            Some(Method::Batch) => Err(Refusal::bad("a batch in a batch")),
            Some(_) if self.bytes > MAX_RESULTS => Err(Refusal::too_much("the results of the batch so far")),
            Some(method) => self.one(method, params.get()).map(|shape| (method, shape)),
        }
    }

    /// Carries out a method that is no batch.
    ///
    /// # Errors
    /// What it is told cannot be read.
    fn one(&mut self, method: Method, text: &str) -> Result<Shape, Refusal> {
        let outcome = match method {
            Method::Publish => return Ok(self.publish(&read(text)?)),
            Method::Broadcast => return Ok(self.broadcast(&read(text)?)),
            Method::Batch => unreachable!("taken apart by its caller"),
            Method::Subscribe => self.subscribe(&read(text)?),
            Method::Unsubscribe => self.unsubscribe(&read(text)?),
            Method::Disconnect => self.disconnect(&read(text)?),
            Method::Refresh => self.refresh(&read(text)?),
            Method::Presence => self.presence(&read(text)?),
            Method::PresenceStats => self.presence_stats(&read(text)?),
            Method::History => self.history(&read(text)?),
            Method::HistoryRemove => self.remove_history(&read(text)?),
            Method::Channels => self.channels(&read(text)?),
            Method::Info => read(text).and_then(|requests::Nothing {}| self.info()),
            Method::Send => self.send(&read(text)?),
            Method::GroupJoin => self.join_group(&read(text)?),
            Method::GroupLeave => self.leave_group(&read(text)?),
            Method::GroupMembers => self.members(&read(text)?),
            Method::Connections => self.connections_of(&read(text)?),
            Method::Users => read(text).and_then(|requests::Nothing {}| self.users()),
        };
        self.parts.push(Some(outcome));
        Ok(Shape::One)
    }
}

/// Publishing.
impl Run<'_, '_> {
    fn publish(&mut self, request: &requests::Publish) -> Shape {
        match prepare(request) {
            Ok(what) => self.publish_to(&request.channel, what),
            Err(refusal) => self.parts.push(Some(Err(refusal))),
        }
        Shape::One
    }

    fn broadcast(&mut self, request: &requests::Publish) -> Shape {
        let channels = &request.channels;
        let what = if channels.is_empty() { Err(Refusal::bad("`channels` has to be there")) } else { prepare(request) };
        match what {
            Ok(what) => {
                for channel in channels {
                    self.publish_to(channel, what.clone());
                }
                Shape::Broadcast(channels.len())
            }
            Err(refusal) => {
                self.parts.push(Some(Err(refusal)));
                Shape::One
            }
        }
    }

    /// Adds a part, which is there or waits for the store.
    fn publish_to(&mut self, channel: &str, what: PublishRequest<'_>) {
        let index = self.parts.len();
        let published = check(channel).and_then(|()| Ok(self.core.publish(self.connections, channel, what)?));
        let part = match published {
            Ok(Published::Now(position)) => Some(answer::published(&position)),
            Ok(Published::Later(ticket)) => {
                self.core.wait_for(ticket, Waiter::Api { exchange: self.exchange, index });
                None
            }
            Err(refusal) => Some(Err(refusal)),
        };
        self.parts.push(part);
    }

    fn send(&mut self, request: &requests::Send) -> Outcome {
        let data = request.data()?;
        let except = match &*request.except {
            "" => None,
            // Who cannot be is not there to be left out.
            client => ClientId::parse(client),
        };
        let client = ClientId::parse(&request.client);
        let target = match (&*request.user, &*request.client, &*request.group, request.all) {
            (user, "", "", false) if !user.is_empty() => Target::User(user),
            ("", "", group, false) if !group.is_empty() => Target::Group(group),
            ("", "", "", true) => Target::All,
            ("", given, "", false) if !given.is_empty() => match client {
                Some(client) => Target::Client(client),
                None => return json(&Receivers { receivers: 0 }),
            },
            _ => return Err(Refusal::bad("one of `user`, `client`, `group` and `all` has to be there")),
        };
        let receivers = self.core.hub.send(target, except, data, &mut self.core.effects);
        json(&Receivers { receivers })
    }
}

/// Sessions and their subscriptions.
impl Run<'_, '_> {
    fn subscribe(&mut self, request: &requests::Subscribe) -> Outcome {
        check(&request.channel)?;
        self.core.hub.config().options(&request.channel)?;
        let (info, data) = (request.info()?, request.data()?);
        let mut grant = grants::with_overrides(info, request.overrides.as_ref());
        grant.expire_at = self.moment(request.expire_at);
        let how = SubscribeRequest {
            recover: request.recover_since.as_ref().map(|since| Since { offset: since.offset, epoch: &since.epoch }),
            server_side: true,
            ..SubscribeRequest::default()
        };
        let now = self.core.now(self.connections);
        for key in self.sessions(&request.user, &request.client)? {
            // A plain client is its channel, and can be told of no other.
            if matches!(self.core.clients.get(&key).map(|client| &client.kind), Some(ClientKind::Raw(_))) {
                continue;
            }
            let first = self.core.effects.len();
            let subscribed =
                self.core.hub.subscribe(key, &request.channel, grant.clone(), how, now, &mut self.core.effects);
            match subscribed {
                Ok(_) | Err(PushError::AlreadySubscribed) => {}
                Err(error) => return Err(error.into()),
            }
            for effect in &mut self.core.effects[first..] {
                if let Effect::Subscribed { data: with, .. } = effect {
                    with.clone_from(&data);
                }
            }
        }
        Ok(NOTHING.to_owned())
    }

    fn unsubscribe(&mut self, request: &requests::Unsubscribe) -> Outcome {
        check(&request.channel)?;
        let now = self.core.now(self.connections);
        for key in self.sessions(&request.user, &request.client)? {
            let effects = &mut self.core.effects;
            self.core.hub.force_unsubscribe(key, &request.channel, Unsubscribe::Server, now, effects);
        }
        Ok(NOTHING.to_owned())
    }

    fn disconnect(&mut self, request: &requests::DisconnectUser) -> Outcome {
        let how = request.disconnect()?;
        let stay: Vec<_> = request.whitelist.iter().filter_map(|client| ClientId::parse(client)).collect();
        for key in self.sessions(&request.user, &request.client)? {
            if self.core.hub.identity(key).is_some_and(|identity| !stay.contains(&identity.client)) {
                self.core.disconnect(self.connections, key, &how);
            }
        }
        Ok(NOTHING.to_owned())
    }

    fn refresh(&mut self, request: &requests::Refresh) -> Outcome {
        let info = request.info()?;
        let expire_at = self.moment(request.expire_at);
        for key in self.sessions(&request.user, &request.client)? {
            if request.expired {
                self.core.disconnect(self.connections, key, &Disconnect::EXPIRED);
                continue;
            }
            self.core.set_expiry(key, expire_at);
            if info.is_some() {
                self.core.hub.set_info(key, info.clone());
            }
        }
        Ok(NOTHING.to_owned())
    }

    fn join_group(&mut self, request: &requests::Membership) -> Outcome {
        let mut num_clients = 0;
        for key in self.sessions(&request.user, &request.client)? {
            self.core.hub.join_group(key, group(request)?)?;
            num_clients += 1;
        }
        group(request)?;
        json(&NumClients { num_clients })
    }

    fn leave_group(&mut self, request: &requests::Membership) -> Outcome {
        let group = group(request)?;
        let sessions = self.sessions(&request.user, &request.client)?;
        let num_clients = sessions.into_iter().filter(|key| self.core.hub.leave_group(*key, group)).count();
        json(&NumClients { num_clients })
    }

    /// A moment in Unix seconds, in the hub's time; 0 is never. One that has passed is now.
    fn moment(&self, unix: u64) -> Option<Time> {
        let left = seconds_left(unix).unwrap_or_default().saturating_mul(1000);
        (unix > 0).then(|| self.core.now(self.connections).plus(left))
    }

    /// The sessions that are meant; there may be none.
    fn sessions(&self, user: &str, client: &str) -> Result<Vec<SessionKey>, Refusal> {
        let hub = &self.core.hub;
        Ok(match whose(user, client)? {
            Whose::User(user) => hub.sessions_of(user),
            Whose::Client(client, user) => {
                let is_user_s = |key: &SessionKey| {
                    user.is_none_or(|user| hub.identity(*key).is_some_and(|identity| &*identity.user == user))
                };
                hub.session_of(client).into_iter().filter(is_user_s).collect()
            }
            Whose::Nobody => Vec::new(),
        })
    }
}

/// Asking.
impl Run<'_, '_> {
    fn presence(&mut self, request: &requests::Channel) -> Outcome {
        check(&request.channel)?;
        let present = self.core.hub.presence(&request.channel)?;
        let presence = present.iter().map(|info| (info.client.to_string(), InfoJson(info))).collect();
        json(&Presence { presence })
    }

    fn presence_stats(&mut self, request: &requests::Channel) -> Outcome {
        check(&request.channel)?;
        let (num_clients, num_users) = self.core.hub.presence_stats(&request.channel)?;
        json(&PresenceStats { num_clients, num_users })
    }

    fn history(&mut self, request: &requests::History) -> Outcome {
        check(&request.channel)?;
        let what = HistoryRequest {
            limit: request.limit()?,
            since: request.since.as_ref().map(|since| Since { offset: since.offset, epoch: &since.epoch }),
            reverse: request.reverse,
        };
        let now = self.core.now(self.connections);
        let found = self.core.hub.history(&request.channel, what, now)?;
        json(&History {
            publications: found.publications.iter().map(|publication| PublicationJson(publication)).collect(),
            offset: found.position.offset,
            epoch: &found.position.epoch,
        })
    }

    fn remove_history(&mut self, request: &requests::Channel) -> Outcome {
        check(&request.channel)?;
        let now = self.core.now(self.connections);
        self.core.hub.remove_history(&request.channel, now, &mut self.core.effects)?;
        Ok(NOTHING.to_owned())
    }

    fn channels(&mut self, request: &requests::Channels) -> Outcome {
        let pattern = Some(&*request.pattern).filter(|pattern| !pattern.is_empty());
        let found = self.core.hub.channels(pattern);
        let channels = found.iter().map(|(name, num_clients)| (&**name, NumClients { num_clients: *num_clients }));
        json(&Channels { channels: channels.collect() })
    }

    fn info(&mut self) -> Outcome {
        let counts = self.core.hub.counts();
        let node = Node {
            uid: &self.core.api.node,
            name: &self.core.config.node_name,
            version: env!("CARGO_PKG_VERSION"),
            num_clients: counts.sessions,
            num_users: counts.users,
            num_channels: counts.channels,
            num_subs: counts.subscriptions,
            uptime: self.core.now(self.connections).since(self.core.api.started) / 1000,
        };
        json(&Info { nodes: [node] })
    }

    fn members(&mut self, request: &requests::Membership) -> Outcome {
        let hub = &self.core.hub;
        let members = hub.members(group(request)?).into_iter().filter_map(|key| hub.identity(key));
        let clients = members.map(|identity| (identity.client.to_string(), Member { user: &identity.user })).collect();
        json(&Members { clients })
    }

    fn connections_of(&mut self, request: &requests::User) -> Outcome {
        if request.user.is_empty() {
            return Err(Refusal::bad("`user` has to be there"));
        }
        let sessions = self.core.hub.sessions_of(&request.user).into_iter();
        let described = sessions.filter_map(|key| {
            let protocol = match &self.core.clients.get(&key)?.kind {
                ClientKind::Centrifugo(session) => session.protocol(),
                ClientKind::Raw(_) => "raw",
            };
            let client = self.core.hub.identity(key)?.client.to_string();
            Some((client, Connection { user: &request.user, transport: "websocket", protocol }))
        });
        json(&ConnectionsOf { connections: described.collect() })
    }

    fn users(&mut self) -> Outcome {
        let users = self.core.hub.users().map(|(user, num_clients)| (user, NumClients { num_clients }));
        json(&Users { users: users.collect() })
    }
}

/// What is published, to whichever channel.
fn prepare(request: &requests::Publish) -> Result<PublishRequest<'_>, Refusal> {
    Ok(PublishRequest {
        data: request.data()?,
        info: None,
        tags: request.tags.clone(),
        idempotency_key: request.key()?,
        skip_history: request.skip_history,
    })
}

fn check(channel: &str) -> Result<(), Refusal> {
    if channel.is_empty() { Err(Refusal::bad("`channel` has to be there")) } else { Ok(()) }
}

fn group(request: &requests::Membership) -> Result<&str, Refusal> {
    if request.group.is_empty() { Err(Refusal::bad("`group` has to be there")) } else { Ok(&request.group) }
}

/// The result of what has none.
const NOTHING: &str = "{}";
