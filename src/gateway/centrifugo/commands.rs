//! What clients do in channels: `publish`, `history`, `presence`, `presence_stats`; and `rpc`.

use std::collections::BTreeMap;

use super::messages::{Command, History, Method, Reply, data_of};
use super::session::Subject;
use super::turn::{Outcome, Turn};
use crate::gateway::core::Waiter;
use crate::gateway::hooks::HookRequest;
use crate::push::{Access, Data, Decision, HistoryRequest, PublishRequest, Published, PushError, Since};

impl Turn<'_, '_> {
    pub(super) fn publish(&mut self, id: u32, channel: String, data: Vec<u8>) -> Outcome {
        self.check_channel(&channel)?;
        let Some(session) = self.session() else { return Ok(None) };
        let content = data_of(session.format, &data).ok_or(PushError::BadRequest)?;
        match self.core.hub.decide(self.key, &channel, Access::Publish) {
            Decision::Allow => self.publish_permitted(id, &channel, content, false),
            Decision::Deny(error) => Err(error.into()),
            Decision::AskBackend => {
                if self.core.config.hooks.publish.is_none() {
                    return Err(PushError::NotAvailable.into());
                }
                let Some(session) = self.session() else { return Ok(None) };
                if session.waiting().publishes.is_busy {
                    let command = Command { id, method: Method::Publish { channel, data } };
                    return self.enqueue(|session| &mut session.waiting().publishes, command);
                }
                session.waiting().publishes.is_busy = true;
                let client = self.facts();
                let question = HookRequest::Publish { client, channel: channel.clone(), data: content.clone() };
                let about = Subject::Publish { command: id, channel, data: content };
                self.ask(question, about);
                Ok(None)
            }
        }
    }

    pub(super) fn publish_permitted(&mut self, id: u32, channel: &str, data: Data, skip_history: bool) -> Outcome {
        let request = PublishRequest {
            data,
            info: self.core.hub.info(self.key, channel),
            tags: BTreeMap::new(),
            idempotency_key: None,
            skip_history,
        };
        match self.core.publish(self.connections, channel, request)? {
            Published::Now(_) => Ok(Some(Reply::Publish)),
            Published::Later(ticket) => {
                self.core.wait_for(ticket, Waiter::Centrifugo { key: self.key, command: id });
                Ok(None)
            }
        }
    }

    pub(super) fn history(&mut self, request: &History) -> Outcome {
        self.check_access(&request.channel, Access::History)?;
        let wanted = HistoryRequest {
            // Below 0: all, as far as the hub gives them.
            limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
            since: request.since.as_ref().map(|(offset, epoch)| Since { offset: *offset, epoch }),
            reverse: request.reverse,
        };
        let now = self.core.now(self.connections);
        Ok(Some(Reply::History(self.core.hub.history(&request.channel, wanted, now)?)))
    }

    pub(super) fn presence(&mut self, channel: &str) -> Outcome {
        self.check_access(channel, Access::Presence)?;
        Ok(Some(Reply::Presence(self.core.hub.presence(channel)?)))
    }

    pub(super) fn presence_stats(&mut self, channel: &str) -> Outcome {
        self.check_access(channel, Access::Presence)?;
        let (clients, users) = self.core.hub.presence_stats(channel)?;
        Ok(Some(Reply::PresenceStats { clients, users }))
    }

    /// What no backend is asked about: yes or no.
    fn check_access(&mut self, channel: &str, access: Access) -> Result<(), super::turn::Refused> {
        self.check_channel(channel)?;
        match self.core.hub.decide(self.key, channel, access) {
            Decision::Allow => Ok(()),
            Decision::Deny(error) => Err(error.into()),
            Decision::AskBackend => Err(PushError::PermissionDenied.into()),
        }
    }

    pub(super) fn rpc(&mut self, id: u32, method: String, data: Vec<u8>) -> Outcome {
        if self.core.config.hooks.rpc.is_none() {
            return Err(PushError::NotAvailable.into());
        }
        let Some(session) = self.session() else { return Ok(None) };
        if session.waiting().rpcs.is_busy {
            let command = Command { id, method: Method::Rpc { method, data } };
            return self.enqueue(|session| &mut session.waiting().rpcs, command);
        }
        session.waiting().rpcs.is_busy = true;
        let data = data_of(session.format, &data);
        let question = HookRequest::Rpc { client: self.facts(), method, data };
        self.ask(question, Subject::Rpc { command: id });
        Ok(None)
    }
}
