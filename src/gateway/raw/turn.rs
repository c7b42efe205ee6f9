//! A client's turn: from its opening to its subscription, and from its messages to publications.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::session::{Asked, Session};
use super::{disconnect_for, encode_publication, verbatim};
use crate::endpoint::Connections;
use crate::gateway::clock::{seconds_left, unix_seconds};
use crate::gateway::core::{ClientKind, Core, Waiter, connection_of};
use crate::gateway::hooks::{About, ClientFacts, ConnectAnswer, HookAnswer, HookFailure, HookRequest, SubscribeAnswer};
use crate::gateway::token::{Claims, SubscriptionClaims, TokenError};
use crate::gateway::{data, grants};
use crate::push::{
    Access, Audience, Data, Decision, Disconnect, Identity, Kind, PublishRequest, Published, PushError, SessionKey,
    Since, SubscribeRequest, Subscribed, SubscriptionGrant, Time,
};
use crate::wire::{Message, PreparedMessage};

/// A client that is being served, and all that serving it may touch.
pub(super) struct Turn<'t, 'c> {
    pub(super) core: &'t mut Core,
    pub(super) connections: &'t mut Connections<'c>,
    pub(super) key: SessionKey,
}

/// Who a token or a backend says that a client is.
#[derive(Debug, Default)]
struct Credentials {
    user: String,
    info: Option<Data>,
    /// In Unix seconds.
    expire_at: Option<u64>,
    /// A first message to the client.
    welcome: Option<Data>,
    /// Whether the channel is granted along with the connection, and how.
    grant: Option<SubscriptionGrant>,
    of_backend: bool,
}

/// What lets a client subscribe, and for how long.
#[derive(Debug, Default)]
struct Permit {
    grant: SubscriptionGrant,
    /// In Unix seconds.
    expire_at: Option<u64>,
    welcome: Option<Data>,
}

/// The first message to a client that wants one.
#[derive(Debug, Serialize)]
struct Hello<'a> {
    channel: &'a str,
    client: String,
    epoch: &'a str,
    offset: u64,
    recovered: bool,
    /// What a backend has to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<serde_json::value::RawValue>>,
}

impl From<PushError> for Refused {
    fn from(error: PushError) -> Self {
        Self(disconnect_for(error))
    }
}

impl From<Disconnect> for Refused {
    fn from(disconnect: Disconnect) -> Self {
        Self(disconnect)
    }
}

impl From<HookFailure> for Refused {
    /// A backend that does not answer is an error on this side: who asks is not let in, but may try again.
    fn from(failure: HookFailure) -> Self {
        match failure {
            HookFailure::Error { message, temporary, .. } => {
                let kind = if temporary { Disconnect::SERVER_ERROR } else { Disconnect::PERMISSION_DENIED };
                let reason = if message.is_empty() { kind.reason } else { message.into() };
                Self(Disconnect { reason, ..kind })
            }
            HookFailure::Disconnect(disconnect) => Self(disconnect),
            HookFailure::Unavailable(_) => PushError::Internal.into(),
        }
    }
}

/// How a client is sent away.
struct Refused(Disconnect);

type Outcome = Result<(), Refused>;

impl Turn<'_, '_> {
    /// Finds out who is there, and lets it in.
    pub(super) fn open(&mut self) {
        let outcome = self.identify();
        self.finish(outcome);
    }

    /// A message is published, once those before it are.
    pub(super) fn message(&mut self, message: Message<'_>) {
        let outcome = self.take(message);
        self.finish(outcome);
    }

    /// The time of the connection or of its subscription is over: a backend is asked whether it goes on, if that has let it
    /// in. Nobody else can be asked, as such clients have no way to bring a new token.
    pub(super) fn due(&mut self, now: Time) {
        let is_over = |until: Option<Time>| until.is_some_and(|until| until <= now);
        let expire_at = self.core.clients.get(&self.key).and_then(|client| client.expire_at);
        let Some(session) = self.session() else { return };
        if is_over(expire_at) {
            if !session.refreshed_by_backend {
                return self.core.disconnect(self.connections, self.key, &Disconnect::EXPIRED);
            }
            self.core.set_expiry(self.key, None);
            self.ask(|client, _| HookRequest::Refresh { client }, Asked::Refresh);
        }
        let Some(session) = self.session() else { return };
        if is_over(session.subscription_until) {
            session.subscription_until = None;
            self.ask(|client, channel| HookRequest::SubRefresh { client, channel }, Asked::SubRefresh);
        }
    }

    /// Goes on with what a backend was asked about.
    pub(super) fn answered(&mut self, asked: Asked, outcome: Result<HookAnswer, HookFailure>) {
        // The client may have gone meanwhile.
        if self.session().is_none() {
            return;
        }
        let outcome = match (asked, outcome) {
            (Asked::Connect, Ok(HookAnswer::Connect(answer))) => self.enter_by(answer),
            (Asked::Subscribe(welcome), Ok(HookAnswer::Subscribe(answer))) => self.subscribe_by(answer, welcome),
            (Asked::Publish(data), Ok(HookAnswer::Publish { data: other, skip_history })) => {
                self.published_by(other.unwrap_or(data), skip_history)
            }
            (Asked::Refresh, Ok(HookAnswer::Refresh { expired, expire_at, info })) => {
                self.refreshed(expired, expire_at, info)
            }
            (Asked::SubRefresh, Ok(HookAnswer::Refresh { expired, expire_at, .. })) => {
                self.subscription_refreshed(expired, expire_at)
            }
            // Nobody has said that it may go on.
            (Asked::Refresh, Err(HookFailure::Unavailable(_) | HookFailure::Error { .. })) => {
                Err(Disconnect::EXPIRED.into())
            }
            (Asked::SubRefresh, Err(HookFailure::Unavailable(_) | HookFailure::Error { .. })) => {
                Err(Disconnect::SUBSCRIPTION_EXPIRED.into())
            }
            (_, Err(failure)) => Err(failure.into()),
            // An answer to another question is none.
            (_, Ok(_)) => Err(PushError::Internal.into()),
        };
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Err(Refused(disconnect)) = outcome {
            self.core.disconnect(self.connections, self.key, &disconnect);
        }
    }

    // Who it is.

    fn identify(&mut self) -> Outcome {
        let Some(opening) = self.session().and_then(|session| session.opening.as_ref()) else { return Ok(()) };
        let (token, parameters) = (opening.token.clone(), as_json(&opening.others));
        if let Some(token) = token {
            return self.enter_with(&token);
        }
        if self.core.config.hooks.connect.is_some() {
            let question = |client, channel| HookRequest::Connect {
                client,
                name: String::new(),
                version: String::new(),
                data: parameters,
                channels: vec![channel],
            };
            self.ask(question, Asked::Connect);
            return Ok(());
        }
        if self.core.config.allow_anonymous || self.core.config.hub.insecure {
            return self.enter(Credentials::default());
        }
        Err(PushError::Unauthorized.into())
    }

    /// A token says whose the connection is: one of a connection, or one of this subscription.
    fn enter_with(&mut self, token: &str) -> Outcome {
        let now = unix_seconds();
        let of_connection = self.core.verifier.connection(token, now);
        let claims = match of_connection {
            Ok(claims) => claims,
            Err(error) => match (self.core.verifier.subscription(token, now), error) {
                (Ok(claims), _) => claims,
                (Err(TokenError::Expired), _) | (_, TokenError::Expired) => return Err(PushError::TokenExpired.into()),
                (Err(TokenError::Invalid(why)), _) => {
                    log::debug!("{:?}: {why}", self.key);
                    return Err(Disconnect::INVALID_TOKEN.into());
                }
            },
        };
        let Some(session) = self.session() else { return Ok(()) };
        let is_elsewhere = claims.channel.as_deref().is_some_and(|channel| channel != &*session.channel);
        // Nobody knows the name of such a client before it is there.
        let is_anothers = claims.client.as_deref().is_some_and(|client| !client.is_empty());
        if is_elsewhere || is_anothers {
            return Err(Disconnect::INVALID_TOKEN.into());
        }
        let channel = Arc::clone(&session.channel);
        self.enter(Credentials::of_token(claims, &channel))
    }

    fn enter_by(&mut self, answer: ConnectAnswer) -> Outcome {
        let Some(session) = self.session() else { return Ok(()) };
        let channel = Arc::clone(&session.channel);
        self.enter(Credentials::of_backend(answer, &channel))
    }

    fn enter(&mut self, who: Credentials) -> Outcome {
        let expire_at = who.expire_at.filter(|_| !self.core.config.hub.insecure);
        let expire_at = self.time_of(expire_at).map_err(|_| PushError::Expired)?;
        let refreshed_by_backend = who.of_backend && self.core.config.hooks.refresh.is_some();
        let Some(session) = self.session() else { return Ok(()) };
        session.refreshed_by_backend = refreshed_by_backend;
        let (lane, channel) = (session.lane, Arc::clone(&session.channel));
        let identity = Identity { client: session.client, user: who.user.into(), info: who.info };
        self.core.hub.connect(self.key, lane, identity)?;
        self.core.set_expiry(self.key, expire_at);

        let access = if who.grant.is_some() { Access::SubscribeWithToken } else { Access::Subscribe };
        match self.core.hub.decide(self.key, &channel, access) {
            Decision::Deny(error) => Err(error.into()),
            Decision::AskBackend if who.grant.is_none() => {
                if self.core.config.hooks.subscribe.is_none() {
                    return Err(PushError::NotAvailable.into());
                }
                let question = |client, channel| HookRequest::Subscribe { client, channel, data: None };
                self.ask(question, Asked::Subscribe(who.welcome));
                Ok(())
            }
            Decision::Allow | Decision::AskBackend => {
                let grant = who.grant.unwrap_or_default();
                self.subscribe(Permit { grant, expire_at: None, welcome: who.welcome })
            }
        }
    }

    // Its subscription.

    fn subscribe_by(&mut self, answer: SubscribeAnswer, welcome: Option<Data>) -> Outcome {
        let grant = grants::with_overrides(answer.info, answer.overrides.as_ref());
        self.subscribe(Permit { grant, expire_at: answer.expire_at, welcome: answer.data.or(welcome) })
    }

    fn subscribe(&mut self, mut permit: Permit) -> Outcome {
        let now = self.core.now(self.connections);
        let end = self.time_of(permit.expire_at).map_err(|_| PushError::Expired)?;
        let asks_again = end.is_some() && self.core.config.hooks.sub_refresh.is_some();
        permit.grant.expire_at = end.filter(|_| !asks_again);

        let Some(session) = self.session() else { return Ok(()) };
        let Some(opening) = session.opening.take() else { return Ok(()) };
        let lane = session.lane;
        session.subscription_until = end.filter(|_| asks_again);
        self.core.plan(self.key);
        let options = self.core.hub.config().options(&opening.channel)?;
        let reads_history = self.is_in(options.history);
        let may_recover = reads_history || permit.grant.force_recovery.unwrap_or(options.force_recovery);
        let how = SubscribeRequest {
            recover: opening
                .since
                .as_ref()
                .filter(|_| may_recover)
                .map(|(epoch, offset)| Since { offset: *offset, epoch }),
            positioned: opening.hello && reads_history,
            recoverable: opening.hello && reads_history,
            ..SubscribeRequest::default()
        };
        let effects = &mut self.core.effects;
        let answer = self.core.hub.subscribe(self.key, &opening.channel, permit.grant, how, now, effects)?;
        if opening.hello {
            self.say_hello(&opening.channel, &answer, permit.welcome.as_ref());
        } else if let Some(welcome) = &permit.welcome {
            self.send(&verbatim(welcome));
        }
        for publication in &answer.publications {
            // What a client asks for is no sign that it reads slowly: not that, and not what comes behind it.
            self.connections.excuse(connection_of(self.key));
            if let Some(message) = encode_publication(lane, &opening.channel, publication) {
                self.send(&message);
            }
        }
        self.connections.excuse(connection_of(self.key));
        self.take_up_messages()
    }

    fn say_hello(&mut self, channel: &str, answer: &Subscribed, welcome: Option<&Data>) {
        let Some(session) = self.session() else { return };
        let hello = Hello {
            channel,
            client: session.client.to_string(),
            epoch: answer.position.as_ref().map_or("", |position| &position.epoch),
            offset: answer.position.as_ref().map_or(0, |position| position.offset),
            recovered: answer.recovered,
            data: welcome.and_then(|data| {
                let mut json = Vec::new();
                data::write_json(data, &mut json);
                serde_json::from_slice(&json).ok()
            }),
        };
        if let Some(hello) = as_json(&hello) {
            self.send(&verbatim(&hello));
        }
    }

    // Its messages.

    fn take(&mut self, message: Message<'_>) -> Outcome {
        self.charge()?;
        let data = match message {
            Message::Text(text) => data::of_text(text),
            Message::Binary(bytes) => Data::new(Kind::Binary, bytes),
        };
        let (max_messages, max_bytes) = (self.core.config.max_commands_per_message, self.core.config.raw.max_message);
        if !self.session().is_some_and(|session| session.is_held_up()) {
            return self.publish(data);
        }
        let room = self.core.hooks.room();
        let Some(session) = self.session() else { return Ok(()) };
        if session.line(&room).push(data, max_messages, max_bytes) {
            Ok(())
        } else {
            Err(Disconnect::TOO_MANY_REQUESTS.into())
        }
    }

    /// Counts a message against its client's rate: up to two seconds' worth of messages at once (the generic cell rate
    /// algorithm).
    fn charge(&mut self) -> Outcome {
        const SECOND: u64 = 1_000_000;
        let Some(rate) = self.core.config.max_command_rate else { return Ok(()) };
        let now = self.core.now(self.connections).0.saturating_mul(1000);
        let Some(session) = self.session() else { return Ok(()) };
        session.spent_until = session.spent_until.max(now) + SECOND / u64::from(rate.max(1));
        if session.spent_until - now > 2 * SECOND {
            return Err(Disconnect::TOO_MANY_REQUESTS.into());
        }
        Ok(())
    }

    fn publish(&mut self, data: Data) -> Outcome {
        let Some(session) = self.session() else { return Ok(()) };
        let channel = Arc::clone(&session.channel);
        match self.core.hub.decide(self.key, &channel, Access::Publish) {
            Decision::Allow => self.publish_permitted(data, false),
            Decision::Deny(error) => Err(error.into()),
            Decision::AskBackend if self.core.config.hooks.publish.is_none() => Err(PushError::NotAvailable.into()),
            Decision::AskBackend => {
                let room = self.core.hooks.room();
                if let Some(session) = self.session() {
                    session.line(&room).is_busy = true;
                }
                let asked = Asked::Publish(data.clone());
                self.ask(|client, channel| HookRequest::Publish { client, channel, data }, asked);
                Ok(())
            }
        }
    }

    /// A backend lets a message be published; those behind it follow.
    fn published_by(&mut self, data: Data, skip_history: bool) -> Outcome {
        if let Some(session) = self.session() {
            session.is_answered();
        }
        self.publish_permitted(data, skip_history)?;
        self.take_up_messages()
    }

    /// Publishes what has waited, up to the next message that a backend has to be asked about.
    fn take_up_messages(&mut self) -> Outcome {
        while let Some(data) = self.session().and_then(Session::next_message) {
            self.publish(data)?;
        }
        Ok(())
    }

    fn publish_permitted(&mut self, data: Data, skip_history: bool) -> Outcome {
        let Some(session) = self.session() else { return Ok(()) };
        let channel = Arc::clone(&session.channel);
        let info = self.core.hub.info(self.key, &channel);
        let request = PublishRequest { data, info, tags: BTreeMap::new(), idempotency_key: None, skip_history };
        if let Published::Later(ticket) = self.core.publish(self.connections, &channel, request)? {
            self.core.wait_for(ticket, Waiter::Raw { key: self.key });
        }
        Ok(())
    }

    // Its time.

    fn refreshed(&mut self, expired: bool, expire_at: Option<u64>, info: Option<Data>) -> Outcome {
        let end = self.time_of(expire_at).ok().filter(|_| !expired).ok_or(Disconnect::EXPIRED)?;
        if info.is_some() {
            self.core.hub.set_info(self.key, info);
        }
        self.core.set_expiry(self.key, end);
        Ok(())
    }

    fn subscription_refreshed(&mut self, expired: bool, expire_at: Option<u64>) -> Outcome {
        let end = self.time_of(expire_at).ok().filter(|_| !expired).ok_or(Disconnect::SUBSCRIPTION_EXPIRED)?;
        if let Some(session) = self.session() {
            session.subscription_until = end;
        }
        self.core.plan(self.key);
        Ok(())
    }

    /// The hub's time of a moment in Unix seconds; an error if it is over.
    fn time_of(&self, unix: Option<u64>) -> Result<Option<Time>, PushError> {
        let Some(unix) = unix.filter(|at| *at > 0) else { return Ok(None) };
        let left = seconds_left(unix).ok_or(PushError::Expired)?;
        Ok(Some(self.core.now(self.connections).plus(left.saturating_mul(1000))))
    }

    // All of it.

    fn session(&mut self) -> Option<&mut Session> {
        match &mut self.core.clients.get_mut(&self.key)?.kind {
            ClientKind::Raw(session) => Some(session),
            ClientKind::Centrifugo(_) => None,
        }
    }

    /// Asks a backend; [`answered`](Self::answered) follows.
    fn ask(&mut self, question: impl FnOnce(ClientFacts, String) -> HookRequest, asked: Asked) {
        let user = self.core.hub.identity(self.key).map_or_else(String::new, |identity| identity.user.to_string());
        let Some(session) = self.session() else { return };
        let facts = ClientFacts {
            client: session.client.to_string(),
            user,
            protocol: "raw",
            encoding: "json",
            fields: session.forwarded.as_deref().map(<[_]>::to_vec).unwrap_or_default(),
        };
        let request = question(facts, session.channel.to_string());
        self.core.ask(self.key, request, About::Raw(asked));
    }

    /// Whether a subscriber may, who is this client.
    fn is_in(&self, audience: Audience) -> bool {
        let is_anonymous = self.core.hub.identity(self.key).is_none_or(|identity| identity.user.is_empty());
        let may = (audience.client || audience.subscriber) && (audience.anonymous || !is_anonymous);
        may || self.core.config.hub.insecure
    }

    fn send(&mut self, message: &PreparedMessage) {
        // Who cannot be sent to is gone or about to be, and `on_close` tells.
        let _ = self.connections.send_prepared(connection_of(self.key), message);
    }
}

impl Credentials {
    fn of_token(claims: Claims, channel: &str) -> Self {
        let grant = if claims.channel.is_some() {
            Some(grants::of_token(&claims))
        } else {
            grant_among(&claims.channels, &claims.subs, channel)
        };
        Self {
            info: claims.info().filter(|_| claims.channel.is_none()),
            user: claims.sub,
            expire_at: claims.expire_at.or(claims.exp),
            welcome: claims.subs.get(channel).and_then(SubscriptionClaims::data),
            grant,
            of_backend: false,
        }
    }

    fn of_backend(answer: ConnectAnswer, channel: &str) -> Self {
        Self {
            grant: grant_among(&answer.channels, &answer.subs, channel),
            user: answer.user,
            info: answer.info,
            expire_at: answer.expire_at,
            welcome: answer.data,
            of_backend: true,
        }
    }
}

/// The subscription to `channel` among those that come with a connection.
fn grant_among(
    channels: &[String],
    subs: &BTreeMap<String, SubscriptionClaims>,
    channel: &str,
) -> Option<SubscriptionGrant> {
    let plain = || channels.iter().any(|name| name == channel).then(SubscriptionGrant::default);
    subs.get(channel).map(grants::of_claims).or_else(plain)
}

/// A value as a JSON document.
fn as_json(value: &impl Serialize) -> Option<Data> {
    serde_json::to_string(value).ok().map(|json| Data::json(&json))
}
