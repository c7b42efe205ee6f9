//! Subscriptions of a client's own: `subscribe`, `sub_refresh`, `unsubscribe`.

use std::sync::Arc;

use super::messages::{Command, Method, Reply, Subscribe, SubscribeResult, data_of};
use super::session::Subject;
use super::turn::{Outcome, Refused, Turn};
use crate::gateway::clock::{millis, seconds_left, unix_seconds};
use crate::gateway::grants;
use crate::gateway::hooks::{HookFailure, HookRequest, SubscribeAnswer};
use crate::gateway::token::{Claims, TokenError};
use crate::push::{
    Access, Audience, Data, Decision, Disconnect, PushError, Since, SubscribeRequest, SubscriptionGrant, Time,
    Unsubscribe,
};

/// What lets a client subscribe, and for how long.
#[derive(Debug, Default)]
struct Permit {
    grant: SubscriptionGrant,
    /// In Unix seconds.
    expire_at: Option<u64>,
    /// Data for the subscriber.
    data: Option<Data>,
    /// A backend said so, and is asked again when the time is over.
    of_backend: bool,
}

impl Turn<'_, '_> {
    pub(super) fn subscribe(&mut self, id: u32, request: Subscribe) -> Outcome {
        self.check_channel(&request.channel)?;
        if self.core.hub.is_subscribed(self.key, &request.channel) {
            return Err(PushError::AlreadySubscribed.into());
        }
        if request.filtered {
            return Err(PushError::BadRequest.into());
        }
        if !request.token.is_empty() {
            let permit = self.permit_of_token(&request)?;
            return self.subscribe_permitted(&request, permit);
        }
        match self.core.hub.decide(self.key, &request.channel, Access::Subscribe) {
            Decision::Allow => self.subscribe_permitted(&request, Permit::default()),
            Decision::Deny(error) => Err(error.into()),
            Decision::AskBackend => self.ask_to_subscribe(id, request),
        }
    }

    /// A token decides alone; one for somebody or something else is no mistake of an honest client.
    fn permit_of_token(&mut self, request: &Subscribe) -> Result<Permit, Refused> {
        let claims = match self.core.verifier.subscription(&request.token, unix_seconds()) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => return Err(PushError::TokenExpired.into()),
            Err(TokenError::Invalid(why)) => {
                log::debug!("{:?}: {why}", self.key);
                return Err(PushError::PermissionDenied.into());
            }
        };
        if !self.is_meant(&claims, &request.channel) {
            return Err(Disconnect::INVALID_TOKEN.into());
        }
        match self.core.hub.decide(self.key, &request.channel, Access::SubscribeWithToken) {
            Decision::Deny(error) => Err(error.into()),
            Decision::Allow | Decision::AskBackend => Ok(Permit {
                grant: grants::of_token(&claims),
                expire_at: claims.expire_at.or(claims.exp),
                ..Permit::default()
            }),
        }
    }

    /// Whether a subscription's token is for this channel, user and client.
    fn is_meant(&mut self, claims: &Claims, channel: &str) -> bool {
        let client = self.session().map(|session| session.client.to_string());
        claims.channel.as_deref() == Some(channel)
            && claims.sub == self.user()
            && claims.client.as_deref().is_none_or(|meant| meant.is_empty() || Some(meant) == client.as_deref())
    }

    fn ask_to_subscribe(&mut self, id: u32, request: Subscribe) -> Outcome {
        if self.core.config.hooks.subscribe.is_none() {
            return Err(PushError::NotAvailable.into());
        }
        let Some(session) = self.session() else { return Ok(None) };
        if session.waiting().subscribes.is_busy {
            let command = Command { id, method: Method::Subscribe(request) };
            return self.enqueue(|session| &mut session.waiting().subscribes, command);
        }
        session.waiting().subscribes.is_busy = true;
        let data = data_of(session.format, &request.data);
        let question = HookRequest::Subscribe { client: self.facts(), channel: request.channel.clone(), data };
        let about = Subject::Subscribe { command: id, request: Box::new(request) };
        self.ask(question, about);
        Ok(None)
    }

    /// A backend lets the client subscribe.
    pub(super) fn subscribe_answered(&mut self, request: &Subscribe, answer: SubscribeAnswer) -> Outcome {
        let permit = Permit {
            grant: grants::with_overrides(answer.info, answer.overrides.as_ref()),
            expire_at: answer.expire_at,
            data: answer.data,
            of_backend: true,
        };
        self.subscribe_permitted(request, permit)
    }

    fn subscribe_permitted(&mut self, request: &Subscribe, permit: Permit) -> Outcome {
        let now = self.core.now(self.connections);
        let ttl = ttl_of(permit.expire_at)?;
        let of_backend = permit.of_backend && self.core.config.hooks.sub_refresh.is_some();
        let mut grant = permit.grant;
        // The hub ends it once the time for a refresh is over, too; a backend is asked instead.
        grant.expire_at = if of_backend { None } else { ttl.map(|ttl| self.end_of_subscription(now, ttl)) };

        let options = self.core.hub.config().options(&request.channel)?;
        let reads_history = self.is_in(options.history);
        let may_recover = reads_history || grant.force_recovery.unwrap_or(options.force_recovery);
        let how = SubscribeRequest {
            recover: (request.recover && may_recover)
                .then_some(Since { offset: request.offset, epoch: &request.epoch }),
            positioned: request.positioned && reads_history,
            recoverable: request.recoverable && reads_history,
            join_leave: request.join_leave && self.is_in(options.presence_for),
            reject_unrecovered: request.flag & Subscribe::REJECT_UNRECOVERED != 0,
            ..SubscribeRequest::default()
        };
        let effects = &mut self.core.effects;
        let mut answer = self.core.hub.subscribe(self.key, &request.channel, grant, how, now, effects)?;
        answer.ttl = ttl.filter(|_| !of_backend);
        if let (true, Some(ttl)) = (of_backend, ttl) {
            self.refresh_later(request.channel.as_str().into(), now.plus(ttl));
        }
        Ok(Some(Reply::Subscribe(SubscribeResult { answer, data: permit.data })))
    }

    /// When a subscription ends that expires in so many milliseconds.
    fn end_of_subscription(&self, now: Time, ttl: u64) -> Time {
        now.plus(ttl).plus(millis(self.core.config.expired_sub_close_delay))
    }

    /// Whether a subscriber may, who is this client.
    fn is_in(&self, audience: Audience) -> bool {
        let may = (audience.client || audience.subscriber) && (audience.anonymous || !self.user().is_empty());
        may || self.core.config.hub.insecure
    }

    /// A new token for a subscription.
    pub(super) fn sub_refresh(&mut self, id: u32, channel: String, token: String) -> Outcome {
        self.check_channel(&channel)?;
        if self.is_subscribing() {
            let command = Command { id, method: Method::SubRefresh { channel, token } };
            return self.enqueue(|session| &mut session.waiting().subscribes, command);
        }
        if !self.core.hub.is_subscribed(self.key, &channel) {
            return Err(PushError::PermissionDenied.into());
        }
        if token.is_empty() {
            return Err(PushError::BadRequest.into());
        }
        let claims = match self.core.verifier.subscription(&token, unix_seconds()) {
            Ok(claims) => claims,
            Err(TokenError::Expired) => return Err(PushError::TokenExpired.into()),
            Err(TokenError::Invalid(why)) => {
                log::debug!("{:?}: {why}", self.key);
                return Err(Disconnect::INVALID_TOKEN.into());
            }
        };
        if !self.is_meant(&claims, &channel) {
            return Err(Disconnect::INVALID_TOKEN.into());
        }
        let ttl = ttl_of(claims.expire_at.or(claims.exp))?;
        let now = self.core.now(self.connections);
        let end = ttl.map(|ttl| self.end_of_subscription(now, ttl));
        self.core.hub.refresh_subscription(self.key, &channel, end);
        Ok(Some(Reply::SubRefresh { ttl }))
    }

    pub(super) fn unsubscribe(&mut self, id: u32, channel: String) -> Outcome {
        if channel.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        // What is not subscribed yet cannot be ended yet.
        if self.is_subscribing() {
            let command = Command { id, method: Method::Unsubscribe { channel } };
            return self.enqueue(|session| &mut session.waiting().subscribes, command);
        }
        let now = self.core.now(self.connections);
        self.core.hub.unsubscribe(self.key, &channel, now, &mut self.core.effects);
        if let Some(session) = self.session() {
            session.forget_refreshes_of(&channel);
        }
        self.core.plan(self.key);
        Ok(Some(Reply::Unsubscribe))
    }

    /// Whether a backend is being asked about a subscription.
    fn is_subscribing(&mut self) -> bool {
        self.session().and_then(|session| session.waiting.as_ref()).is_some_and(|it| it.subscribes.is_busy)
    }

    /// Has a backend asked about a subscription when its time is over.
    fn refresh_later(&mut self, channel: Arc<str>, at: Time) {
        if let Some(session) = self.session() {
            session.forget_refreshes_of(&channel);
            session.waiting().refreshes.push((at, channel));
        }
        self.core.plan(self.key);
    }

    /// Asks a backend about the first subscription whose time is over; about the next one when that is answered.
    pub(super) fn refresh_subscriptions(&mut self, now: Time) {
        let Some(waiting) = self.session().and_then(|session| session.waiting.as_mut()) else { return };
        if waiting.refreshing_subscription {
            return;
        }
        let Some(first) = waiting.refreshes.iter().position(|(at, _)| *at <= now) else { return };
        let (_, channel) = waiting.refreshes.swap_remove(first);
        waiting.refreshing_subscription = true;
        let question = HookRequest::SubRefresh { client: self.facts(), channel: channel.to_string() };
        self.ask(question, Subject::SubRefresh { channel });
    }

    /// A backend has said whether a subscription goes on; without an answer it does not.
    pub(super) fn subscription_refreshed(&mut self, channel: Arc<str>, outcome: Result<Option<u64>, HookFailure>) {
        if let Some(session) = self.session() {
            session.waiting().refreshing_subscription = false;
        }
        let now = self.core.now(self.connections);
        match outcome.map_err(|_| PushError::Expired).and_then(ttl_of) {
            // The client may have ended it meanwhile.
            Ok(Some(ttl)) if self.core.hub.is_subscribed(self.key, &channel) => {
                self.refresh_later(channel, now.plus(ttl));
            }
            Ok(_) => {}
            Err(_) => {
                let (hub, effects) = (&mut self.core.hub, &mut self.core.effects);
                hub.force_unsubscribe(self.key, &channel, Unsubscribe::Expired, now, effects);
            }
        }
        self.core.plan(self.key);
    }
}

/// Milliseconds until a moment in Unix seconds; 0 and none at all are never.
fn ttl_of(expire_at: Option<u64>) -> Result<Option<u64>, PushError> {
    match expire_at.filter(|at| *at > 0).map(seconds_left) {
        None => Ok(None),
        Some(None) => Err(PushError::Expired),
        Some(Some(seconds)) => Ok(Some(seconds.saturating_mul(1000))),
    }
}
