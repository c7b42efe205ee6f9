//! Who a client is, and for how long: `connect` and `refresh`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::lane_of;
use super::messages::{Connect, Connected, Reply, SubscribeResult, data_of};
use super::session::{State, Subject};
use super::turn::{Outcome, Refused, Turn};
use crate::gateway::clock::{millis, seconds_left, unix_seconds};
use crate::gateway::core::new_client_id;
use crate::gateway::grants;
use crate::gateway::hooks::{ConnectAnswer, HookRequest};
use crate::gateway::token::{Claims, SubscriptionClaims, TokenError};
use crate::push::{Access, Data, Decision, Disconnect, Effect, Identity, PushError, Since, SubscribeRequest};

/// This server, as it calls itself to clients.
const VERSION: &str = concat!("loopwire ", env!("CARGO_PKG_VERSION"));

/// Who a token or a backend says that a client is.
#[derive(Debug, Default)]
struct Credentials {
    user: String,
    info: Option<Data>,
    /// In Unix seconds.
    expire_at: Option<u64>,
    /// Data for the client.
    data: Option<Data>,
    /// Server-side subscriptions.
    subs: BTreeMap<String, SubscriptionClaims>,
    /// A backend said so, and is asked again when the time is over.
    of_backend: bool,
}

impl Turn<'_, '_> {
    pub(super) fn connect(&mut self, id: u32, request: Connect) -> Outcome {
        // An id of its own, from here on: a backend may want to name it.
        let client = new_client_id();
        if let Some(session) = self.session() {
            session.client = client;
        }
        if !request.token.is_empty() {
            return match self.core.verifier.connection(&request.token, unix_seconds()) {
                Ok(claims) => self.enter(&request, Credentials::of_token(claims)),
                Err(TokenError::Expired) => self.refuse(PushError::TokenExpired),
                Err(TokenError::Invalid(why)) => {
                    log::debug!("{:?}: {why}", self.key);
                    Err(Disconnect::INVALID_TOKEN.into())
                }
            };
        }
        if self.core.config.hooks.connect.is_some() {
            self.ask_who(id, request);
            return Ok(None);
        }
        if self.core.config.allow_anonymous || self.core.config.hub.insecure {
            return self.enter(&request, Credentials::default());
        }
        self.refuse(PushError::Unauthorized)
    }

    fn ask_who(&mut self, id: u32, request: Connect) {
        let client = self.facts();
        let Some(session) = self.session() else { return };
        session.state = State::Asking;
        let question = HookRequest::Connect {
            client,
            name: request.name.clone(),
            version: request.version.clone(),
            data: data_of(session.format, &request.data),
            channels: request.subs.keys().cloned().collect(),
        };
        let about = Subject::Connect { command: id, request: Box::new(request) };
        self.ask(question, about);
    }

    /// A backend has said who the client is.
    pub(super) fn let_in(&mut self, request: &Connect, answer: ConnectAnswer) -> Outcome {
        self.enter(request, Credentials::of_backend(answer))
    }

    /// The client cannot connect, and its connection is of no use any more.
    pub(super) fn refuse(&mut self, error: PushError) -> Outcome {
        self.shut();
        Err(error.into())
    }

    /// From here on, a client can only go.
    pub(super) fn shut(&mut self) {
        if let Some(session) = self.session() {
            session.state = State::Refused;
        }
    }

    /// Begins the client's session.
    fn enter(&mut self, request: &Connect, mut who: Credentials) -> Outcome {
        let config = Arc::clone(&self.core.config);
        if config.hub.insecure {
            who.expire_at = None;
        }
        let ttl = match who.expire_at.map(seconds_left) {
            Some(None) => return self.refuse(PushError::Expired),
            left => left.flatten(),
        };
        let now = self.core.now(self.connections);
        let Some(session) = self.session() else { return Ok(None) };
        let (format, client, websocket_pings) = (session.format, session.client, session.websocket_pings);
        let identity = Identity { client, user: who.user.as_str().into(), info: who.info.take() };
        self.core.hub.connect(self.key, lane_of(format), identity)?;

        self.add_own_subscriptions(request, &mut who);
        if who.subs.len() > config.hub.limits.channels_per_client {
            return Err(Disconnect::CHANNEL_LIMIT.into());
        }
        let mut subs = BTreeMap::new();
        // One answer brings what is recovered in all of them.
        let mut left = config.hub.limits.recovery_bytes;
        for (channel, claims) in &who.subs {
            match self.subscribe_on_connect(request, channel, claims, left) {
                Ok(result) => {
                    let recovered = result.answer.publications.iter().map(|it| it.data.bytes.len());
                    left = left.saturating_sub(recovered.sum());
                    subs.insert(channel.as_str().into(), result);
                }
                Err(PushError::LimitExceeded) => return Err(Disconnect::CHANNEL_LIMIT.into()),
                Err(error) => {
                    self.core.hub.disconnect(self.key, now, &mut self.core.effects);
                    return self.refuse(error);
                }
            }
        }

        let refreshed_by_backend = who.of_backend && config.hooks.refresh.is_some();
        let interval = if websocket_pings { 0 } else { millis(config.ping_interval) };
        let Some(session) = self.session() else { return Ok(None) };
        session.state = State::Connected;
        session.refreshed_by_backend = refreshed_by_backend;
        // The first ping comes somewhere in the second half of an interval: who came together is not pinged together.
        session.deadline = (interval > 0).then(|| now.plus(interval - client.0 as u64 % (interval / 2 + 1)));
        self.core.set_expiry(self.key, ttl.map(|seconds| now.plus(seconds.saturating_mul(1000))));
        Ok(Some(Reply::Connect(Box::new(Connected {
            client,
            version: VERSION,
            ttl: ttl.filter(|_| !refreshed_by_backend).map(|seconds| seconds.saturating_mul(1000)),
            data: who.data,
            subs,
            ping: u32::try_from(interval.div_ceil(1000)).unwrap_or(u32::MAX),
            pong: interval > 0 && !config.pong_timeout.is_zero(),
            node: String::new(),
            time: crate::push::Time(0),
        }))))
    }

    /// The user's own channel, and what the client asks for and might as well subscribe to by itself.
    fn add_own_subscriptions(&mut self, request: &Connect, who: &mut Credentials) {
        if self.core.config.personal_channel && !who.user.is_empty() {
            who.subs.entry(format!("#{}", who.user)).or_default();
        }
        if who.of_backend {
            return;
        }
        for channel in request.subs.keys().filter(|channel| !channel.is_empty()) {
            if self.core.hub.decide(self.key, channel, Access::Subscribe) == Decision::Allow {
                who.subs.entry(channel.clone()).or_default();
            }
        }
    }

    fn subscribe_on_connect(
        &mut self,
        request: &Connect,
        channel: &str,
        claims: &SubscriptionClaims,
        recovery_bytes: usize,
    ) -> Result<SubscribeResult, PushError> {
        let wanted = request.subs.get(channel).filter(|wanted| wanted.recover);
        let how = SubscribeRequest {
            recover: wanted.map(|wanted| Since { offset: wanted.offset, epoch: &wanted.epoch }),
            recovery_bytes: Some(recovery_bytes),
            server_side: true,
            ..SubscribeRequest::default()
        };
        let now = self.core.now(self.connections);
        let (grant, effects) = (grants::of_claims(claims), &mut self.core.effects);
        let answer = self.core.hub.subscribe(self.key, channel, grant, how, now, effects)?;
        // Its client hears of it by the answer to `connect`.
        effects.retain(|effect| !matches!(effect, Effect::Subscribed { to, .. } if to.key == self.key));
        Ok(SubscribeResult { answer, data: claims.data() })
    }

    /// A new token for a connection.
    pub(super) fn refresh(&mut self, token: &str) -> Outcome {
        let is_backends = self.session().is_some_and(|session| session.refreshed_by_backend);
        if token.is_empty() || is_backends {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        let claims = match self.core.verifier.connection(token, unix_seconds()) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => return Err(Disconnect::EXPIRED.into()),
            Err(TokenError::Invalid(why)) => {
                log::debug!("{:?}: {why}", self.key);
                return Err(Disconnect::INVALID_TOKEN.into());
            }
        };
        if claims.sub != self.user() {
            return Err(Disconnect::INVALID_TOKEN.into());
        }
        let who = Credentials::of_token(claims);
        // Server-side subscriptions are made on connecting: who has new ones connects again.
        if who.subs.keys().any(|channel| !self.core.hub.is_subscribed(self.key, channel)) {
            return Err(Disconnect::INSUFFICIENT_STATE.into());
        }
        let ttl = match who.expire_at.map(seconds_left) {
            Some(None) => return Err(PushError::Expired.into()),
            left => left.flatten().map(|seconds| seconds.saturating_mul(1000)),
        };
        if who.info.is_some() {
            self.core.hub.set_info(self.key, who.info);
        }
        let now = self.core.now(self.connections);
        self.core.set_expiry(self.key, ttl.map(|ttl| now.plus(ttl)));
        let Some(session) = self.session() else { return Ok(None) };
        Ok(Some(Reply::Refresh { client: session.client, version: VERSION, ttl }))
    }

    /// The connection's time is over: its backend is asked whether it goes on.
    pub(super) fn ask_for_refresh(&mut self) {
        let client = self.facts();
        let Some(session) = self.session() else { return };
        session.waiting().refreshing_connection = true;
        self.ask(HookRequest::Refresh { client }, Subject::Refresh);
    }

    /// A backend has said whether the connection goes on.
    pub(super) fn refreshed(
        &mut self,
        expired: bool,
        expire_at: Option<u64>,
        info: Option<Data>,
    ) -> Result<(), Refused> {
        if let Some(session) = self.session() {
            session.waiting().refreshing_connection = false;
        }
        let ttl = match expire_at.filter(|at| *at > 0).map(seconds_left) {
            _ if expired => return Err(Disconnect::EXPIRED.into()),
            Some(None) => return Err(Disconnect::EXPIRED.into()),
            left => left.flatten(),
        };
        if info.is_some() {
            self.core.hub.set_info(self.key, info);
        }
        let now = self.core.now(self.connections);
        self.core.set_expiry(self.key, ttl.map(|seconds| now.plus(seconds.saturating_mul(1000))));
        Ok(())
    }
}

impl Credentials {
    fn of_token(claims: Claims) -> Self {
        let info = claims.info();
        let mut subs = claims.subs;
        for channel in claims.channels {
            subs.entry(channel).or_default();
        }
        subs.remove("");
        Self {
            user: claims.sub,
            info,
            expire_at: claims.expire_at.or(claims.exp).filter(|at| *at > 0),
            data: None,
            subs,
            of_backend: false,
        }
    }

    fn of_backend(answer: ConnectAnswer) -> Self {
        let mut subs = answer.subs;
        for channel in answer.channels {
            subs.entry(channel).or_default();
        }
        subs.remove("");
        Self {
            user: answer.user,
            info: answer.info,
            expire_at: answer.expire_at.filter(|at| *at > 0),
            data: answer.data,
            subs,
            of_backend: true,
        }
    }
}
