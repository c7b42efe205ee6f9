//! A client's turn: its message taken apart, each command carried out and answered, in order.

use super::messages::{self, Command, Encoded, Format, Method, Refusal, Reply};
use super::session::{Asked, Line, Session, State, Subject};
use super::session_of;
use crate::endpoint::Connections;
use crate::gateway::clock::millis;
use crate::gateway::core::{Core, connection_of};
use crate::gateway::hooks::{About, ClientFacts, HookRequest};
use crate::net::Sent;
use crate::push::{Disconnect, Position, PushError, SessionKey, Time};
use crate::wire::Message;

/// A client that is being served, and all that serving it may touch.
pub(super) struct Turn<'t, 'c> {
    pub(super) core: &'t mut Core,
    pub(super) connections: &'t mut Connections<'c>,
    pub(super) key: SessionKey,
}

/// How a command ends that is not answered with a result.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is answered with an error; the session goes on.
    Error(Refusal),
    /// Its client is sent away.
    Disconnect(Disconnect),
}

/// A command's result, or `None` if it is answered later.
pub(super) type Outcome = Result<Option<Reply>, Refused>;

impl From<PushError> for Refused {
    fn from(error: PushError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Disconnect> for Refused {
    fn from(disconnect: Disconnect) -> Self {
        Self::Disconnect(disconnect)
    }
}

impl Turn<'_, '_> {
    /// Takes a message apart and carries out its commands.
    pub(super) fn message(&mut self, message: Message<'_>) {
        let Some(session) = self.session() else { return };
        let format = session.format;
        let bytes = match (format, message) {
            (Format::Json, Message::Text(text)) => text.as_bytes(),
            (Format::Protobuf, Message::Binary(bytes)) => bytes,
            _ => return self.disconnect(&Disconnect::INAPPROPRIATE_PROTOCOL),
        };
        match messages::decode(format, bytes, self.core.config.max_commands_per_message) {
            Ok(commands) => {
                for command in commands {
                    self.take(command);
                }
            }
            Err(malformed) => {
                log::debug!("{:?}: {}", self.key, malformed.0);
                self.disconnect(&Disconnect::BAD_REQUEST);
            }
        }
    }

    /// Takes a command: now, or once it is its turn.
    fn take(&mut self, command: Command) {
        let (max_commands, max_bytes) = self.room();
        let Some(session) = self.session() else { return };
        // While its replies wait nothing more is read from it: what has been read counts by its bytes alone.
        let max_commands = if session.is_full { usize::MAX } else { max_commands };
        let waits = match (session.state, &command.method) {
            (State::Asking, Method::Connect(_)) | (State::Connected, Method::Pong) => false,
            (State::Asking, _) => true,
            _ => session.is_full || session.waiting.as_ref().is_some_and(|waiting| !waiting.commands.is_empty()),
        };
        if !waits {
            self.carry_out(command);
        } else if !session.waiting().commands.push(command, max_commands, max_bytes) {
            self.disconnect(&Disconnect::TOO_MANY_REQUESTS);
        }
    }

    /// What the client was sent has left: its commands go on.
    pub(super) fn writable(&mut self) {
        if let Some(session) = self.session() {
            session.is_full = false;
        }
        self.take_up_questions(|session| &mut session.waiting().subscribes);
        self.take_up_questions(|session| &mut session.waiting().publishes);
        self.take_up_questions(|session| &mut session.waiting().rpcs);
        self.take_up_commands();
    }

    /// Carries out a command; what it makes others see comes behind its reply, and before the next command.
    pub(super) fn carry_out(&mut self, command: Command) {
        let id = command.id;
        let outcome = self.dispatch(command);
        self.finish(id, outcome);
        self.core.settle(self.connections);
    }

    fn dispatch(&mut self, command: Command) -> Outcome {
        let Some(session) = self.session() else { return Ok(None) };
        match (session.state, &command.method) {
            (State::Opened, Method::Connect(_)) | (State::Connected, Method::Pong) => {}
            (State::Connected, Method::Connect(_)) => return Err(Disconnect::BAD_REQUEST.into()),
            (State::Connected, _) => self.charge()?,
            _ => return Err(Disconnect::BAD_REQUEST.into()),
        }
        let id = command.id;
        match command.method {
            Method::Connect(request) => self.connect(id, request),
            Method::Subscribe(request) => self.subscribe(id, request),
            Method::Unsubscribe { channel } => self.unsubscribe(id, channel),
            Method::Publish { channel, data } => self.publish(id, channel, data),
            Method::History(request) => self.history(&request),
            Method::Presence { channel } => self.presence(&channel),
            Method::PresenceStats { channel } => self.presence_stats(&channel),
            Method::Rpc { method, data } => self.rpc(id, method, data),
            Method::Refresh { token } => self.refresh(&token),
            Method::SubRefresh { channel, token } => self.sub_refresh(id, channel, token),
            Method::Ping => Ok(Some(Reply::Ping)),
            Method::Pong => self.pong().map(|()| None).map_err(Refused::from),
            // What belongs to no channel and wants no answer has nobody here to take it.
            Method::Send { .. } => Err(Disconnect::NOT_AVAILABLE.into()),
            Method::Unknown => Err(Disconnect::BAD_REQUEST.into()),
        }
    }

    /// Answers a command, unless that comes later.
    pub(super) fn finish(&mut self, id: u32, outcome: Outcome) {
        match outcome {
            Ok(None) => {}
            // It comes from the disk whenever it does, so it counts.
            Ok(Some(Reply::Publish)) => self.send(|format| messages::encode_reply(format, id, &Reply::Publish)),
            Ok(Some(reply)) => {
                // What a client asks for is no sign that it reads slowly: not that, and not what comes behind it.
                self.connections.excuse(connection_of(self.key));
                self.send(|format| messages::encode_reply(format, id, &reply));
                self.connections.excuse(connection_of(self.key));
            }
            Err(Refused::Error(refusal)) => {
                self.core.metrics.command_error(refusal.code);
                self.send(|format| messages::encode_error(format, id, &refusal));
            }
            Err(Refused::Disconnect(disconnect)) => self.disconnect(&disconnect),
        }
    }

    /// A publish is on disk, or could not be brought there.
    pub(super) fn acknowledged(&mut self, id: u32, result: &Result<Position, PushError>) {
        let outcome = match result {
            Ok(_) => Ok(Some(Reply::Publish)),
            Err(error) => Err(Refused::from(*error)),
        };
        self.finish(id, outcome);
    }

    /// Something is due.
    pub(super) fn due(&mut self, now: Time) {
        let close_delay = millis(self.core.config.expired_close_delay);
        let expire_at = self.core.clients.get(&self.key).and_then(|client| client.expire_at);
        let Some(session) = self.session() else { return };
        let (state, is_pinged) = (session.state, session.pinged.is_some());
        if session.deadline.is_some_and(|deadline| deadline <= now) {
            match state {
                State::Connected if !is_pinged => self.ping(now),
                State::Connected if self.takes_what_waits() => self.wait_for_pong(now),
                State::Connected => return self.disconnect(&Disconnect::NO_PONG),
                State::Opened | State::Asking | State::Refused => return self.disconnect(&Disconnect::STALE),
            }
        }
        let Some(session) = self.session() else { return };
        if session.end(expire_at, close_delay).is_some_and(|end| end <= now) {
            if !session.refreshed_by_backend {
                return self.disconnect(&Disconnect::EXPIRED);
            }
            self.ask_for_refresh();
        }
        self.refresh_subscriptions(now);
    }

    fn ping(&mut self, now: Time) {
        let next = self.next_ping(now);
        let expects_pong = !self.core.config.pong_timeout.is_zero();
        let Some(session) = self.session() else { return };
        session.deadline = next;
        if next.is_none() {
            return;
        }
        if expects_pong {
            session.pinged = Some(now);
            self.takes_what_waits();
            self.wait_for_pong(now);
        }
        self.send(messages::encode_ping);
    }

    fn wait_for_pong(&mut self, now: Time) {
        let timeout = millis(self.core.config.pong_timeout);
        if let Some(session) = self.session() {
            session.deadline = Some(now.plus(timeout));
        }
    }

    /// Whether the client has taken some of what waited for it when this was last asked: its ping may stand behind all of
    /// that.
    fn takes_what_waits(&mut self) -> bool {
        let waiting = self.connections.get(connection_of(self.key)).map_or(0, |ws| ws.buffered_amount());
        self.session().is_some_and(|session| waiting < std::mem::replace(&mut session.waited, waiting))
    }

    /// When the ping behind one of this moment comes; pings may have been switched off since.
    fn next_ping(&self, pinged: Time) -> Option<Time> {
        let interval = millis(self.core.config.ping_interval);
        (interval > 0).then(|| pinged.plus(interval))
    }

    fn pong(&mut self) -> Result<(), Disconnect> {
        let pinged = self.session().and_then(|session| session.pinged.take()).ok_or(Disconnect::BAD_REQUEST)?;
        let next = self.next_ping(pinged);
        let Some(session) = self.session() else { return Ok(()) };
        session.deadline = next;
        self.core.plan(self.key);
        Ok(())
    }

    /// Counts a command against its client's rate: up to two seconds' worth of commands at once are carried out, further
    /// ones up to twice that are refused, and who goes on is sent away (the generic cell rate algorithm).
    fn charge(&mut self) -> Result<(), Refused> {
        const SECOND: u64 = 1_000_000;
        let Some(rate) = self.core.config.max_command_rate else { return Ok(()) };
        let now = self.core.now(self.connections).0.saturating_mul(1000);
        let Some(session) = self.session() else { return Ok(()) };
        session.spent_until = session.spent_until.max(now) + SECOND / u64::from(rate.max(1));
        match session.spent_until - now {
            spent if spent <= 2 * SECOND => Ok(()),
            spent if spent <= 4 * SECOND => Err(PushError::TooManyRequests.into()),
            _ => Err(Disconnect::TOO_MANY_REQUESTS.into()),
        }
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        session_of(self.core, self.key)
    }

    /// Asks a backend; [`answered`](Self::answered) follows.
    pub(super) fn ask(&mut self, question: HookRequest, about: Subject) {
        self.core.ask(self.key, question, About::Centrifugo(Asked(about)));
    }

    /// The line of commands that wait for the answer to one of their kind.
    pub(super) fn enqueue(&mut self, line: fn(&mut Session) -> &mut Line, command: Command) -> Outcome {
        let (max_commands, max_bytes) = self.room();
        let Some(session) = self.session() else { return Ok(None) };
        let waits = line(session).push(command, max_commands, max_bytes);
        if waits { Ok(None) } else { Err(PushError::TooManyRequests.into()) }
    }

    /// How many commands, and how many bytes of them, may wait in a line.
    fn room(&self) -> (usize, usize) {
        (self.core.config.max_commands_per_message, self.core.config.max_command.saturating_mul(16))
    }

    pub(super) fn disconnect(&mut self, disconnect: &Disconnect) {
        self.core.disconnect(self.connections, self.key, disconnect);
    }

    pub(super) fn send(&mut self, encode: impl FnOnce(Format) -> Encoded) {
        let Some(session) = session_of(self.core, self.key) else { return };
        let message = encode(session.format);
        match self.connections.send(connection_of(self.key), message.as_message()) {
            Ok(Sent::Backpressure) => session.is_full = true,
            Ok(_) => {}
            Err(error) => self.core.not_sent(self.connections, self.key, &error),
        }
    }

    /// The channel of a command: not empty, and not too long.
    pub(super) fn check_channel(&self, channel: &str) -> Result<(), Refused> {
        if channel.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        if channel.len() > self.core.config.hub.limits.channel_length {
            return Err(PushError::BadRequest.into());
        }
        Ok(())
    }

    /// The user of a connected client; empty for an anonymous one.
    pub(super) fn user(&self) -> &str {
        self.core.hub.identity(self.key).map_or("", |identity| &identity.user)
    }

    /// What a backend is told of the client.
    pub(super) fn facts(&mut self) -> ClientFacts {
        let user = self.user().to_owned();
        let Some(session) = self.session() else { return ClientFacts::default() };
        let (protocol, encoding) = match session.format {
            Format::Json => ("json", "json"),
            Format::Protobuf => ("protobuf", "binary"),
        };
        ClientFacts { client: session.client.to_string(), user, protocol, encoding, fields: session.forwarded.to_vec() }
    }
}
