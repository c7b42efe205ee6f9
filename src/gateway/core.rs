//! What all wire protocols share: the hub, its clients, and how its effects reach them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::agenda::Agenda;
use super::api::Api;
use super::clock::{Clock, millis};
use super::config::{ConfigError, GatewayConfig};
use super::hooks::{About, HookAnswer, HookDone, HookFailure, HookRequest, HookTicket, Hooks, Question};
use super::metrics::Metrics;
use super::token::Verifier;
use super::transport::Transports;
use super::unwritten::Unwritten;
use super::{api, centrifugo, raw};
use crate::endpoint::{Connections, ServerHandle, TimerHandle};
use crate::net::{ConnectionId, SendError};
use crate::push::{
    ClientId, Disconnect, Effect, Effects, Hub, HubConfig, Lane, Position, PublishRequest, Published, PushError,
    Receiver, Restored, SessionKey, Ticket, Time, Unsubscribe,
};
use crate::store::{Store, StoreEvent};
use crate::wire::{CloseCode, CloseFrame, PreparedMessage};

/// The encodings that sessions are served in.
pub(super) const CENTRIFUGO_JSON: Lane = Lane(0);
pub(super) const CENTRIFUGO_PROTOBUF: Lane = Lane(1);
/// As it was published.
pub(super) const RAW: Lane = Lane(2);
/// The same, but not to the client that published it.
pub(super) const RAW_TO_OTHERS: Lane = Lane(3);
/// With its channel and its offset.
pub(super) const RAW_WITH_OFFSETS: Lane = Lane(4);
/// The same, but not to the client that published it.
pub(super) const RAW_WITH_OFFSETS_TO_OTHERS: Lane = Lane(5);
const LANES: usize = 6;

/// The push server without its sockets: they are lent to each call.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<GatewayConfig>,
    pub(super) hub: Hub,
    /// What the hub wants done; [`settle`](Self::settle) does it. Empty between calls.
    pub(super) effects: Effects,
    /// Clients that have a session in the hub, or are about to.
    pub(super) clients: HashMap<SessionKey, Client>,
    pub(super) verifier: Verifier,
    pub(super) store: Option<Store>,
    pub(super) hooks: Hooks,
    /// Who waits for the store.
    pub(super) waiters: HashMap<Ticket, Vec<Waiter>>,
    /// Who waits for a backend.
    pub(super) questions: HashMap<HookTicket, Question>,
    pub(super) metrics: Metrics,
    /// What the store has been given and not written yet.
    pub(super) unwritten: Unwritten,
    pub(super) api: Api,
    /// What connections of each protocol are opened with.
    pub(super) transports: Transports,
    /// Whether the store has failed since it last committed.
    pub(super) store_failing: bool,
    /// Whether the server is going.
    pub(super) draining: bool,
    pub(super) server: ServerHandle,
    clock: Clock,
    agenda: Agenda,
    /// The timer for what is due next, and when that is.
    timer: Option<(Time, TimerHandle)>,
    /// Room for effects while they are carried out.
    spare: Effects,
}

/// A client, whichever protocol it speaks.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) kind: ClientKind,
    /// When its token or its backend's word expires.
    pub(super) expire_at: Option<Time>,
    /// What it is on the agenda for.
    due: Option<Time>,
}

#[derive(Debug)]
pub(super) enum ClientKind {
    Centrifugo(Box<centrifugo::Session>),
    Raw(Box<raw::Session>),
}

/// Who is told when a publish is on disk.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A client of the Centrifugo protocol, by its command's id.
    Centrifugo { key: SessionKey, command: u32 },
    /// A plain client, which is told only of failure.
    Raw { key: SessionKey },
    /// A request of the server API: the answer's `index`th part.
    Api { exchange: ConnectionId, index: usize },
    /// Another thread of this process.
    Handle(Sender<Result<Position, PushError>>),
}

/// Effects that there is room for between calls; more is given back.
const SPARE: usize = 1024;

/// The only key of this gateway's timers of the loop.
pub(super) const TIMER: u64 = 0;

impl Core {
    pub(super) fn new(
        config: GatewayConfig,
        store: Option<(Store, Restored)>,
        server: ServerHandle,
    ) -> Result<Self, ConfigError> {
        let clock = Clock::start();
        let verifier = Verifier::new(&config.token)?;
        let hooks = start_hooks(&config, &server)?;
        let (store, restored) = store.unzip();
        let mut effects = Effects::new();
        let hub_config = HubConfig { stored: store.is_some(), ..config.hub.clone() };
        let now = clock.at(std::time::Instant::now());
        let hub = Hub::new(hub_config, restored.unwrap_or_default(), random() as u64, now, &mut effects);
        Ok(Self {
            unwritten: Unwritten::default(),
            transports: Transports::new(&config),
            config: Arc::new(config),
            hub,
            effects,
            clients: HashMap::new(),
            verifier,
            store,
            hooks,
            waiters: HashMap::new(),
            questions: HashMap::new(),
            metrics: Metrics::default(),
            api: Api::new(now),
            store_failing: false,
            draining: false,
            server,
            clock,
            agenda: Agenda::default(),
            timer: None,
            spare: Effects::new(),
        })
    }

    /// Takes another configuration; nothing of it is taken if a part cannot be.
    pub(super) fn reconfigure(
        &mut self,
        connections: &mut Connections<'_>,
        config: GatewayConfig,
    ) -> Result<(), ConfigError> {
        let verifier = Verifier::new(&config.token)?;
        if config.hooks != self.config.hooks {
            // What was asked before is answered by those who were asked.
            self.hooks = start_hooks(&config, &self.server)?;
        }
        self.verifier = verifier;
        self.transports = Transports::new(&config);
        let hub_config = HubConfig { stored: self.store.is_some(), ..config.hub.clone() };
        self.config = Arc::new(config);
        let now = self.now(connections);
        self.hub.configure(hub_config, now, &mut self.effects);
        Ok(())
    }

    /// Carries out what the hub wants done, in order, until nothing is left.
    pub(super) fn settle(&mut self, connections: &mut Connections<'_>) {
        while !self.effects.is_empty() {
            let mut effects = std::mem::replace(&mut self.effects, std::mem::take(&mut self.spare));
            for effect in effects.drain(..) {
                self.carry_out(connections, effect);
            }
            effects.shrink_to(SPARE);
            self.spare = effects;
        }
        self.arm(connections);
    }

    fn carry_out(&mut self, connections: &mut Connections<'_>, effect: Effect) {
        match effect {
            Effect::Publication { channel, publication, to } => {
                let waited = Duration::from_millis(self.now(connections).since(publication.time));
                let namespaces = &self.hub.config().namespaces;
                self.metrics.delivered(namespaces, &channel, to.len(), waited + connections.now().elapsed());
                let publisher = publication.info.as_ref().map(|info| info.client);
                let is_own = |core: &Self, to: Receiver| {
                    matches!(to.lane, RAW_TO_OTHERS | RAW_WITH_OFFSETS_TO_OTHERS)
                        && publisher.is_some()
                        && core.hub.identity(to.key).map(|identity| identity.client) == publisher
                };
                self.deliver(connections, to.iter().copied(), is_own, |lane| {
                    centrifugo::encode_publication(lane, &channel, &publication)
                        .or_else(|| raw::encode_publication(lane, &channel, &publication))
                });
            }
            Effect::Join { channel, info, to } => {
                self.deliver_all(connections, to, |lane| centrifugo::encode_join(lane, &channel, &info));
            }
            Effect::Leave { channel, info, to } => {
                self.deliver_all(connections, to, |lane| centrifugo::encode_leave(lane, &channel, &info));
            }
            Effect::Message { data, to } => self.deliver_all(connections, to, |lane| {
                centrifugo::encode_message(lane, &data).or_else(|| raw::encode_message(lane, &data))
            }),
            Effect::Subscribed { to, channel, answer, data } => {
                let data = data.as_ref();
                // What was missed is not more than one recovery brings.
                connections.excuse(connection_of(to.key));
                self.deliver_all(connections, vec![to], |lane| {
                    centrifugo::encode_subscribed(lane, &channel, &answer, data)
                });
                connections.excuse(connection_of(to.key));
            }
            Effect::Unsubscribed { to, channel, why } => self.unsubscribed(connections, to, &channel, why),
            Effect::Disconnect { key, disconnect } => self.disconnect(connections, key, &disconnect),
            Effect::Acknowledged { ticket, result } => self.acknowledge(connections, ticket, &result),
            Effect::Store(record) => {
                if let Some(store) = &self.store {
                    self.unwritten.add(&record, connections.now());
                    store.append(record);
                }
            }
            Effect::Forget(sequences) => {
                if let Some(store) = &self.store {
                    store.forget(sequences);
                }
            }
        }
    }

    /// The server has ended a subscription.
    fn unsubscribed(&mut self, connections: &mut Connections<'_>, to: Receiver, channel: &str, why: Unsubscribe) {
        match self.clients.get(&to.key).map(|client| &client.kind) {
            Some(ClientKind::Centrifugo(_)) => {
                centrifugo::unsubscribed(self, to.key, channel);
                self.deliver_all(connections, vec![to], |lane| centrifugo::encode_unsubscribed(lane, channel, why));
            }
            // The connection is its channel, and ends with it.
            Some(ClientKind::Raw(session)) if session.is_for(channel) => {
                self.disconnect(connections, to.key, &disconnect_for(why));
            }
            Some(ClientKind::Raw(_)) | None => {}
        }
    }

    fn deliver_all(
        &mut self,
        connections: &mut Connections<'_>,
        to: Vec<Receiver>,
        encode: impl Fn(Lane) -> Option<PreparedMessage>,
    ) {
        self.deliver(connections, to.into_iter(), |_, _| false, encode);
    }

    /// Sends to receivers what is encoded once for each lane; a lane may have no words for it.
    fn deliver(
        &mut self,
        connections: &mut Connections<'_>,
        to: impl Iterator<Item = Receiver>,
        is_excepted: impl Fn(&Self, Receiver) -> bool,
        encode: impl Fn(Lane) -> Option<PreparedMessage>,
    ) {
        let mut lanes: [Option<Option<PreparedMessage>>; LANES] = Default::default();
        for receiver in to {
            let Some(encoded) = lanes.get_mut(usize::from(receiver.lane.0)) else { continue };
            let Some(message) = encoded.get_or_insert_with(|| encode(receiver.lane)) else { continue };
            if !is_excepted(self, receiver)
                && let Err(error) = connections.send_prepared(connection_of(receiver.key), message)
            {
                self.not_sent(connections, receiver.key, &error);
            }
        }
    }

    /// A session cannot be sent to: it is gone, or about to be. One that reads too slowly is being sent away, and nothing more
    /// is meant for it; of all others `on_close` tells.
    pub(super) fn not_sent(&mut self, connections: &mut Connections<'_>, key: SessionKey, error: &SendError) {
        if *error == SendError::Overflow {
            log::info!("{} reads too slowly", connection_of(key));
            if self.forget(connections, key).is_some() {
                self.metrics.disconnected(Disconnect::SLOW.code);
            }
        }
    }

    fn acknowledge(&mut self, connections: &mut Connections<'_>, ticket: Ticket, result: &Result<Position, PushError>) {
        for waiter in self.waiters.remove(&ticket).unwrap_or_default() {
            match waiter {
                Waiter::Centrifugo { key, command } => {
                    centrifugo::acknowledged(self, connections, key, command, result);
                }
                Waiter::Raw { key } => {
                    if let Err(error) = result {
                        raw::refused(self, connections, key, *error);
                    }
                }
                Waiter::Api { exchange, index } => {
                    api::acknowledged(self, connections, exchange, index, result.clone());
                }
                // It may not want to know.
                Waiter::Handle(sender) => drop(sender.send(result.clone())),
            }
        }
    }

    /// Publishes to a channel, unless too much of what was published before is not on disk yet.
    pub(super) fn publish(
        &mut self,
        connections: &Connections<'_>,
        channel: &str,
        request: PublishRequest<'_>,
    ) -> Result<Published, PushError> {
        let is_full = self.unwritten.bytes() > self.config.max_unwritten;
        if is_full && self.hub.config().options(channel)?.has_history() {
            return Err(PushError::TooManyRequests);
        }
        let now = self.now(connections);
        self.hub.publish(channel, request, now, &mut self.effects)
    }

    /// Remembers who is to be told when a publish is on disk.
    pub(super) fn wait_for(&mut self, ticket: Ticket, waiter: Waiter) {
        self.waiters.entry(ticket).or_default().push(waiter);
    }

    /// What the store's thread has told.
    pub(super) fn stored(&mut self, connections: &mut Connections<'_>, event: StoreEvent) {
        let now = self.now(connections);
        match event {
            StoreEvent::Committed(up_to) => {
                if std::mem::take(&mut self.store_failing) {
                    log::info!("the store takes publications again");
                }
                let metrics = &mut self.metrics;
                self.unwritten.written(up_to, |given| metrics.committed(connections.now() - given));
                self.hub.committed(up_to, now, &mut self.effects);
            }
            StoreEvent::Failed { from, error } => {
                if !std::mem::replace(&mut self.store_failing, true) {
                    log::error!("the store has failed: {error}");
                }
                self.unwritten.lost(from);
                self.hub.store_failed(from, now, &mut self.effects);
            }
        }
    }

    /// Asks a backend; who asks goes on in `answered` of its protocol.
    pub(super) fn ask(&mut self, key: SessionKey, request: HookRequest, about: About) {
        let ticket = self.hooks.ask(request);
        self.questions.insert(ticket, Question { key, about });
    }

    /// Takes what another thread has posted, if it is for here.
    pub(super) fn take(&mut self, connections: &mut Connections<'_>, task: Box<dyn std::any::Any + Send>) {
        let task = match task.downcast::<HookDone>() {
            Ok(done) => {
                if let Some(question) = self.questions.remove(&done.ticket) {
                    self.go_on(connections, question, done.outcome);
                }
                return;
            }
            Err(task) => task,
        };
        let task = match task.downcast::<StoreEvent>() {
            Ok(event) => return self.stored(connections, *event),
            Err(task) => task,
        };
        if let Ok(job) = task.downcast::<super::handle::Job>() {
            (job.0)(self, connections);
        }
    }

    fn go_on(
        &mut self,
        connections: &mut Connections<'_>,
        question: Question,
        outcome: Result<HookAnswer, HookFailure>,
    ) {
        if let Err(HookFailure::Unavailable(why)) = &outcome {
            log::warn!("a backend did not answer: {why}");
        }
        match question.about {
            About::Centrifugo(asked) => centrifugo::answered(self, connections, question.key, asked, outcome),
            About::Raw(asked) => raw::answered(self, connections, question.key, asked, outcome),
        }
    }

    /// A connection has opened, or is about to say who it is.
    pub(super) fn admit(&mut self, key: SessionKey, kind: ClientKind) {
        self.clients.insert(key, Client { kind, expire_at: None, due: None });
    }

    /// Ends a session: its client is told why, and its connection closes.
    pub(super) fn disconnect(&mut self, connections: &mut Connections<'_>, key: SessionKey, disconnect: &Disconnect) {
        let Some(client) = self.forget(connections, key) else { return };
        let disconnect = sendable(disconnect);
        log::debug!("{} is sent away: {} {}", connection_of(key), disconnect.code, disconnect.reason);
        self.metrics.disconnected(disconnect.code);
        if let ClientKind::Centrifugo(session) = &client.kind {
            session.say_goodbye(connections, key, &disconnect);
        }
        // One that is closing already needs no telling.
        let _ = connections.close(connection_of(key), CloseCode(disconnect.code), &disconnect.reason);
    }

    /// A connection is over, or as good as: nothing is sent to it any more.
    pub(super) fn forget(&mut self, connections: &mut Connections<'_>, key: SessionKey) -> Option<Client> {
        let client = self.clients.remove(&key)?;
        if self.clients.capacity() > 1024 && self.clients.len() < self.clients.capacity() / 8 {
            // A crowd has gone.
            self.clients.shrink_to(2 * self.clients.len());
        }
        self.agenda.plan(key, client.due, None);
        let now = self.now(connections);
        self.hub.disconnect(key, now, &mut self.effects);
        Some(client)
    }

    /// Moves the moment at which a connection's time is over; `None`: it has none any more.
    pub(super) fn set_expiry(&mut self, key: SessionKey, expire_at: Option<Time>) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.expire_at = expire_at;
            self.plan(key);
        }
    }

    /// Puts on the agenda what a client has due next. To be called whenever that may have changed.
    pub(super) fn plan(&mut self, key: SessionKey) {
        let close_delay = millis(self.config.expired_close_delay);
        let Some(client) = self.clients.get_mut(&key) else { return };
        let due = match &client.kind {
            ClientKind::Centrifugo(session) => session.next_due(client.expire_at, close_delay),
            ClientKind::Raw(session) => session.next_due(client.expire_at),
        };
        self.agenda.plan(key, std::mem::replace(&mut client.due, due), due);
    }

    /// Does what is due, of the hub and of the clients.
    pub(super) fn tick(&mut self, connections: &mut Connections<'_>) {
        self.timer = None;
        let now = self.now(connections);
        if self.hub.next_due().is_some_and(|due| due <= now) {
            self.hub.tick(now, &mut self.effects);
        }
        while let Some(key) = self.agenda.pop(now) {
            let Some(client) = self.clients.get_mut(&key) else { continue };
            client.due = None;
            match client.kind {
                ClientKind::Centrifugo(_) => centrifugo::due(self, connections, key, now),
                ClientKind::Raw(_) => raw::due(self, connections, key, now),
            }
            self.plan(key);
        }
    }

    /// Sets the timer for what is due next, unless one comes as early.
    fn arm(&mut self, connections: &mut Connections<'_>) {
        let due = [self.agenda.next(), self.hub.next_due()].into_iter().flatten().min();
        let Some(due) = due else { return };
        if self.timer.is_some_and(|(armed, _)| armed <= due) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            connections.cancel_timer(timer);
        }
        let after = Duration::from_millis(due.since(self.now(connections)));
        self.timer = Some((due, connections.set_timer(after, TIMER)));
    }

    /// The server goes; each of its clients is sent away in a while.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.hub.ignore_listeners();
    }

    /// The moment of this turn.
    pub(super) fn now(&self, connections: &Connections<'_>) -> Time {
        self.clock.at(connections.now())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(store) = self.store.take()
            && let Err(error) = store.close()
        {
            log::error!("the store could not be closed properly: {error}");
        }
    }
}

fn start_hooks(config: &GatewayConfig, server: &ServerHandle) -> Result<Hooks, ConfigError> {
    let server = server.clone();
    Hooks::start(&config.hooks, move |done| {
        // A server that has stopped waits for no answer.
        let _ = server.post(0, done);
    })
}

/// How the only subscription of a connection ends it.
fn disconnect_for(why: Unsubscribe) -> Disconnect {
    match why {
        Unsubscribe::Server => Disconnect::FORCE_NO_RECONNECT,
        Unsubscribe::InsufficientState => Disconnect::INSUFFICIENT_STATE,
        Unsubscribe::Expired => Disconnect::SUBSCRIPTION_EXPIRED,
        Unsubscribe::StateInvalidated => Disconnect::STATE_INVALIDATED,
    }
}

/// What an application or its backend says, within what a Close can carry.
fn sendable(disconnect: &Disconnect) -> Disconnect {
    let mut disconnect = disconnect.clone();
    if !matches!(disconnect.code, 3000..=4999) {
        disconnect.code = Disconnect::FORCE_NO_RECONNECT.code;
    }
    if disconnect.reason.len() > CloseFrame::MAX_REASON_LEN {
        let ends = (0..=CloseFrame::MAX_REASON_LEN).rev().find(|&end| disconnect.reason.is_char_boundary(end));
        disconnect.reason.to_mut().truncate(ends.unwrap_or_default());
    }
    disconnect
}

/// A name for a client: a random UUID, version 4.
pub(super) fn new_client_id() -> ClientId {
    ClientId(random() & !(0xf << 76 | 0x3 << 62) | 4 << 76 | 2 << 62)
}

/// 128 bits that nobody can guess.
fn random() -> u128 {
    let mut bytes = [0; 16];
    // Without the system's randomness no id, key or mask of this process could be trusted.
    getrandom::fill(&mut bytes).expect("the system's source of randomness works");
    u128::from_ne_bytes(bytes)
}

/// The session of a connection.
pub(super) const fn key_of(id: ConnectionId) -> SessionKey {
    SessionKey(id.to_u64())
}

/// The connection of a session.
pub(super) const fn connection_of(key: SessionKey) -> ConnectionId {
    ConnectionId::from_u64(key.0)
}
