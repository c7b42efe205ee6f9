//! The way into a push server from other threads of its process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};

use super::config::{ConfigError, GatewayConfig};
use super::core::{Core, Waiter};
use crate::endpoint::{Connections, ServerHandle, Stopped};
use crate::push::{
    ClientId, Data, Disconnect, Effects, Hub, Position, PublishRequest, Published, PushError, SubscribeRequest,
    SubscriptionGrant, Target, Time, Unsubscribe,
};

/// Reaches a running push server from any thread of its process, as the HTTP API does from others. Clones are cheap and
/// reach the same server.
///
/// Calls return at once, and are carried out in the order in which one thread makes them; what comes of one can be
/// [waited for](Answer::wait), or left alone.
///
/// ```no_run
/// use loopwire::gateway::{GatewayHandle, To};
/// use loopwire::push::{Data, PushError};
/// use loopwire::Stopped;
///
/// fn news(handle: &GatewayHandle) -> Result<(), Stopped> {
///     handle.publish("news", Data::json(r#"{"title":"It works"}"#));
///     let reached = handle.send(To::User("42".into()), Data::json("\"only for you\"")).wait()?;
///     println!("to {reached} connections");
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct GatewayHandle {
    server: ServerHandle,
}

/// What comes of a call, once the server's loop has carried it out.
#[derive(Debug)]
pub struct Answer<T>(Receiver<T>);

/// What to publish, with particulars.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The data.
    pub data: Data,
    /// Notes to the subscribers.
    pub tags: BTreeMap<String, String>,
    /// A publish to the same channel with the same key in the last minutes is this one.
    pub idempotency_key: Option<String>,
    /// Keep it out of the history.
    pub skip_history: bool,
}

/// Who is meant by a message that belongs to no channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// One client.
    Client(ClientId),
    /// All connections of a user.
    User(String),
    /// All connections in a group.
    Group(String),
    /// Everyone.
    All,
}

/// Posted to the loop: what a handle asks for.
pub(super) struct Job(pub(super) Box<Task>);

type Task = dyn FnOnce(&mut Core, &mut Connections<'_>) + Send;

impl<T> Answer<T> {
    /// Waits for it. Not on the loop's own thread, which would wait for itself.
    ///
    /// # Errors
    /// The server has stopped.
    pub fn wait(self) -> Result<T, Stopped> {
        self.0.recv().map_err(|_| Stopped)
    }
}

impl From<Data> for Publish {
    fn from(data: Data) -> Self {
        Self { data, tags: BTreeMap::new(), idempotency_key: None, skip_history: false }
    }
}

impl To {
    fn target(&self) -> Target<'_> {
        match self {
            Self::Client(client) => Target::Client(*client),
            Self::User(user) => Target::User(user),
            Self::Group(group) => Target::Group(group),
            Self::All => Target::All,
        }
    }
}

impl GatewayHandle {
    pub(super) const fn new(server: ServerHandle) -> Self {
        Self { server }
    }

    /// Publishes to a channel; where it stands then. In a durable channel the answer comes once it is on disk.
    pub fn publish(&self, channel: impl Into<String>, what: impl Into<Publish>) -> Answer<Result<Position, PushError>> {
        let (channel, what) = (channel.into(), what.into());
        self.ask(move |core, connections, answer| {
            let request = PublishRequest {
                data: what.data,
                info: None,
                tags: what.tags,
                idempotency_key: what.idempotency_key.as_deref(),
                skip_history: what.skip_history,
            };
            let result = match core.publish(connections, &channel, request) {
                Ok(Published::Later(ticket)) => return core.wait_for(ticket, Waiter::Handle(answer)),
                Ok(Published::Now(position)) => Ok(position),
                Err(error) => Err(error),
            };
            // Who asked may not want to know.
            let _ = answer.send(result);
        })
    }

    /// Sends a message that belongs to no channel; to how many connections.
    pub fn send(&self, to: To, data: Data) -> Answer<usize> {
        self.send_except(to, None, data)
    }

    /// The same, except to one of them.
    pub fn send_except(&self, to: To, except: Option<ClientId>, data: Data) -> Answer<usize> {
        self.with_hub(move |hub, _, effects| hub.send(to.target(), except, data, effects))
    }

    /// Subscribes all connections of a user to a channel; how many were not before.
    pub fn subscribe(&self, user: impl Into<String>, channel: impl Into<String>) -> Answer<Result<usize, PushError>> {
        let (user, channel) = (user.into(), channel.into());
        self.with_hub(move |hub, now, effects| {
            let mut subscribed = 0;
            for key in hub.sessions_of(&user) {
                let request = SubscribeRequest { server_side: true, ..SubscribeRequest::default() };
                match hub.subscribe(key, &channel, SubscriptionGrant::default(), request, now, effects) {
                    Ok(_) => subscribed += 1,
                    Err(PushError::AlreadySubscribed) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(subscribed)
        })
    }

    /// Ends the subscriptions of a user's connections to a channel; how many there were.
    pub fn unsubscribe(&self, user: impl Into<String>, channel: impl Into<String>) -> Answer<usize> {
        let (user, channel) = (user.into(), channel.into());
        self.with_hub(move |hub, now, effects| {
            let sessions = hub.sessions_of(&user).into_iter();
            sessions.filter(|&key| hub.force_unsubscribe(key, &channel, Unsubscribe::Server, now, effects)).count()
        })
    }

    /// Ends all connections of a user; how many there were.
    pub fn disconnect(&self, user: impl Into<String>, why: Disconnect) -> Answer<usize> {
        let user = user.into();
        self.ask(move |core, connections, answer| {
            let sessions = core.hub.sessions_of(&user);
            for &key in &sessions {
                core.disconnect(connections, key, &why);
            }
            let _ = answer.send(sessions.len());
        })
    }

    /// Puts all connections that a user has now into a group; how many those are.
    pub fn join_group(&self, user: impl Into<String>, group: impl Into<String>) -> Answer<Result<usize, PushError>> {
        let (user, group) = (user.into(), group.into());
        self.with_hub(move |hub, _, _| {
            let sessions = hub.sessions_of(&user);
            for &key in &sessions {
                hub.join_group(key, &group)?;
            }
            Ok(sessions.len())
        })
    }

    /// Takes all connections of a user out of a group; how many were in it.
    pub fn leave_group(&self, user: impl Into<String>, group: impl Into<String>) -> Answer<usize> {
        let (user, group) = (user.into(), group.into());
        self.with_hub(move |hub, _, _| {
            hub.sessions_of(&user).into_iter().filter(|&key| hub.leave_group(key, &group)).count()
        })
    }

    /// How many connections a user has.
    pub fn connections_of(&self, user: impl Into<String>) -> Answer<usize> {
        let user = user.into();
        self.with_hub(move |hub, _, _| hub.sessions_of(&user).len())
    }

    /// Does anything that a hub can do, on the loop's thread: what is added to the effects is carried out behind it.
    pub fn with_hub<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Hub, Time, &mut Effects) -> T + Send + 'static,
    ) -> Answer<T> {
        self.ask(move |core, connections, answer| {
            let now = core.now(connections);
            let _ = answer.send(job(&mut core.hub, now, &mut core.effects));
        })
    }

    /// Has the server take another configuration: see [`Gateway::reconfigure`](super::Gateway::reconfigure).
    pub fn reconfigure(&self, config: GatewayConfig) -> Answer<Result<(), ConfigError>> {
        self.ask(move |core, connections, answer| {
            let _ = answer.send(core.reconfigure(connections, config));
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Core, &mut Connections<'_>, Sender<T>) + Send + 'static,
    ) -> Answer<T> {
        let (sender, receiver) = mpsc::channel();
        // A server that has stopped drops the job, and with it the sender: the answer says so.
        let _ = self.server.post(0, Job(Box::new(move |core, connections| job(core, connections, sender))));
        Answer(receiver)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}
