//! How a client goes on when a backend has answered.

use super::messages::Refusal;
use super::session::{Asked, Line, Session, State, Subject};
use super::turn::{Outcome, Refused, Turn};
use crate::gateway::hooks::{HookAnswer, HookFailure};
use crate::push::{Disconnect, PushError};

impl From<HookFailure> for Refused {
    /// A backend that does not answer is an error on this side, which trying again may help: who asks is not let in.
    fn from(failure: HookFailure) -> Self {
        match failure {
            HookFailure::Error { code, message, temporary } => {
                Self::Error(Refusal { code, message: message.into(), temporary })
            }
            HookFailure::Disconnect(disconnect) => Self::Disconnect(disconnect),
            HookFailure::Unavailable(_) => PushError::Internal.into(),
        }
    }
}

impl Turn<'_, '_> {
    /// Goes on with what was asked about, and then with what waited behind it.
    pub(super) fn answered(&mut self, asked: Asked, outcome: Result<HookAnswer, HookFailure>) {
        // The client may have gone meanwhile.
        if self.session().is_none() {
            return;
        }
        match asked.0 {
            Subject::Connect { command, request } => {
                let outcome = match outcome {
                    Ok(HookAnswer::Connect(answer)) => self.let_in(&request, answer),
                    outcome => {
                        self.shut();
                        Err(refused(outcome))
                    }
                };
                self.finish(command, outcome);
                self.core.settle(self.connections);
                self.take_up_commands();
            }
            Subject::Subscribe { command, request } => {
                let outcome = match outcome {
                    Ok(HookAnswer::Subscribe(answer)) => self.subscribe_answered(&request, answer),
                    outcome => Err(refused(outcome)),
                };
                self.go_on(command, outcome, |session| &mut session.waiting().subscribes);
            }
            Subject::Publish { command, channel, data } => {
                let outcome = match outcome {
                    Ok(HookAnswer::Publish { data: other, skip_history }) => {
                        self.publish_permitted(command, &channel, other.unwrap_or(data), skip_history)
                    }
                    outcome => Err(refused(outcome)),
                };
                self.go_on(command, outcome, |session| &mut session.waiting().publishes);
            }
            Subject::Rpc { command } => {
                let outcome = match outcome {
                    Ok(HookAnswer::Rpc { data }) => Ok(Some(super::messages::Reply::Rpc { data })),
                    outcome => Err(refused(outcome)),
                };
                self.go_on(command, outcome, |session| &mut session.waiting().rpcs);
            }
            Subject::Refresh => {
                let outcome = match outcome {
                    Ok(HookAnswer::Refresh { expired, expire_at, info }) => self.refreshed(expired, expire_at, info),
                    Err(HookFailure::Disconnect(disconnect)) => Err(disconnect.into()),
                    // Nobody has said that it may go on.
                    _ => Err(Disconnect::EXPIRED.into()),
                };
                if let Err(refused) = outcome {
                    self.finish(0, Err(refused));
                }
                self.core.plan(self.key);
            }
            Subject::SubRefresh { channel } => {
                let outcome = match outcome {
                    Ok(HookAnswer::Refresh { expired: false, expire_at, .. }) => Ok(expire_at),
                    Ok(_) => Err(HookFailure::Unavailable("it has expired".to_owned())),
                    Err(failure) => Err(failure),
                };
                self.subscription_refreshed(channel, outcome);
            }
        }
    }

    /// Answers a command that was asked about, and takes up those behind it until one has to wait again.
    fn go_on(&mut self, id: u32, outcome: Outcome, line: fn(&mut Session) -> &mut Line) {
        self.finish(id, outcome);
        self.core.settle(self.connections);
        if let Some(session) = self.session() {
            line(session).is_busy = false;
        }
        self.take_up_questions(line);
    }

    /// Takes up commands of a line until one has to wait for a backend again.
    pub(super) fn take_up_questions(&mut self, line: fn(&mut Session) -> &mut Line) {
        while let Some(command) = self
            .session()
            .filter(|session| !session.is_full && session.waiting.is_some())
            .map(line)
            .filter(|line| !line.is_busy)
            .and_then(Line::pop)
        {
            self.carry_out(command);
        }
    }

    /// Takes up the commands that came behind a `connect`, or behind replies that had to leave first.
    pub(super) fn take_up_commands(&mut self) {
        while let Some(command) = self
            .session()
            .filter(|session| session.state != State::Asking && !session.is_full)
            .and_then(|session| session.waiting.as_mut())
            .and_then(|waiting| waiting.commands.pop())
        {
            self.carry_out(command);
        }
    }
}

/// Why a question was not answered with yes; an answer to another question is none.
fn refused(outcome: Result<HookAnswer, HookFailure>) -> Refused {
    match outcome {
        Err(failure) => failure.into(),
        Ok(_) => PushError::Internal.into(),
    }
}
