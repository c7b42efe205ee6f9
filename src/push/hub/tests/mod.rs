//! Conversations with a hub: what is asked, and what it then wants done, one line for each effect.

mod sessions;
mod store;
mod streams;
mod subscriptions;

use std::collections::BTreeMap;

use super::Hub;
use crate::push::{
    ChannelOptions, ClientId, Data, Effect, Effects, HistoryRequest, HubConfig, Identity, Lane, Namespaces, Position,
    PublishRequest, Published, PushError, Receiver, Record, RecordBody, Restored, Sequence, SessionKey, Since,
    SubscribeRequest, Subscribed, SubscriptionGrant, Time,
};

/// A hub, its clock, its store and what it wants done.
struct World {
    hub: Hub,
    now: Time,
    effects: Effects,
    /// Epochs in the order in which they were seen: E1, E2…
    epochs: Vec<String>,
    /// What a store would have by now, if it kept up with everything.
    disk: BTreeMap<Sequence, RecordBody>,
}

/// What all channels offer: presence, joins, and a history of three for a second.
fn options() -> ChannelOptions {
    ChannelOptions {
        presence: true,
        join_leave: true,
        history_size: 3,
        history_ttl: 1_000,
        history_meta_ttl: 5_000,
        ..ChannelOptions::default()
    }
}

fn config(plain: ChannelOptions) -> HubConfig {
    HubConfig { namespaces: Namespaces { plain, ..Namespaces::default() }, ..HubConfig::default() }
}

fn stored(plain: ChannelOptions) -> HubConfig {
    HubConfig { stored: true, ..config(plain) }
}

const KEYS: [SessionKey; 4] = [SessionKey(1), SessionKey(2), SessionKey(3), SessionKey(4)];

impl World {
    fn new(config: HubConfig) -> Self {
        Self::restored(config, Restored::default(), 1, Time(10_000))
    }

    fn restored(config: HubConfig, restored: Restored, seed: u64, now: Time) -> Self {
        let mut effects = Effects::new();
        let disk = restored.records.iter().map(|record| (record.sequence, record.body.clone())).collect();
        let hub = Hub::new(config, restored, seed, now, &mut effects);
        Self { hub, now, effects, epochs: Vec::new(), disk }
    }

    /// Sessions 1 and 2 of "ann", 3 of "bob", 4 of nobody.
    fn with_sessions(mut self) -> Self {
        for (key, user) in KEYS.into_iter().zip(["ann", "ann", "bob", ""]) {
            self.connect(key, user).unwrap();
        }
        self
    }

    fn connect(&mut self, key: SessionKey, user: &str) -> Result<(), crate::push::Disconnect> {
        let identity = Identity { client: ClientId(u128::from(key.0)), user: user.into(), info: None };
        self.hub.connect(key, Lane(0), identity)
    }

    fn subscribe(&mut self, key: SessionKey, channel: &str) -> Subscribed {
        self.subscribe_with(key, channel, SubscribeRequest::default()).unwrap()
    }

    fn subscribe_with(
        &mut self,
        key: SessionKey,
        channel: &str,
        request: SubscribeRequest<'_>,
    ) -> Result<Subscribed, PushError> {
        self.grant(key, channel, SubscriptionGrant::default(), request)
    }

    fn grant(
        &mut self,
        key: SessionKey,
        channel: &str,
        grant: SubscriptionGrant,
        request: SubscribeRequest<'_>,
    ) -> Result<Subscribed, PushError> {
        self.hub.subscribe(key, channel, grant, request, self.now, &mut self.effects)
    }

    fn recover(&mut self, key: SessionKey, channel: &str, offset: u64, epoch: &str) -> Subscribed {
        let recover = Some(Since { offset, epoch });
        self.subscribe_with(key, channel, SubscribeRequest { recover, recoverable: true, ..Default::default() })
            .unwrap()
    }

    fn publish(&mut self, channel: &str, text: &str) -> Published {
        self.publish_with(channel, text, None).unwrap()
    }

    fn publish_with(&mut self, channel: &str, text: &str, key: Option<&str>) -> Result<Published, PushError> {
        let request = request(text, key);
        self.hub.publish(channel, request, self.now, &mut self.effects)
    }

    fn history(&mut self, channel: &str) -> String {
        let request = HistoryRequest { limit: usize::MAX, ..HistoryRequest::default() };
        match self.hub.history(channel, request, self.now) {
            Ok(history) => {
                let texts: Vec<_> = history.publications.iter().map(|it| text(&it.data)).collect();
                format!("{} @ {}", texts.join(" "), self.at(&history.position))
            }
            Err(error) => error.to_string(),
        }
    }

    fn committed(&mut self, up_to: u64) {
        self.hub.committed(Sequence(up_to), self.now, &mut self.effects);
    }

    fn failed(&mut self, from: u64) {
        self.hub.store_failed(Sequence(from), self.now, &mut self.effects);
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now = self.now.plus(milliseconds);
        self.hub.tick(self.now, &mut self.effects);
    }

    /// The next process, with all that this one has stored.
    fn restart(mut self, config: HubConfig, clean: bool) -> Self {
        self.told();
        let last = self.disk.last_key_value().map(|(&last, _)| last).unwrap_or_default();
        let records = self.disk.into_iter().map(|(sequence, body)| Record { sequence, body }).collect();
        let mut next = Self::restored(config, Restored { records, last, clean }, last.0 + 2, self.now);
        next.epochs = self.epochs;
        next
    }

    /// What the hub wants done since the last time that this was asked.
    fn told(&mut self) -> Vec<String> {
        let effects = std::mem::take(&mut self.effects);
        effects.into_iter().map(|effect| self.line(effect)).collect()
    }

    /// The same without what goes to the store.
    fn seen(&mut self) -> Vec<String> {
        let mut lines = self.told();
        lines.retain(|line| !line.starts_with("store") && !line.starts_with("forget"));
        lines
    }

    fn at(&mut self, position: &Position) -> String {
        format!("{}{}", self.epoch(&position.epoch), position.offset)
    }

    fn epoch(&mut self, epoch: &str) -> String {
        if epoch.is_empty() {
            return "none/".to_owned();
        }
        let known = self.epochs.iter().position(|it| it == epoch);
        let number = known.unwrap_or_else(|| {
            self.epochs.push(epoch.to_owned());
            self.epochs.len() - 1
        });
        format!("E{}/", number + 1)
    }

    fn line(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Publication { channel, publication, to } => {
                format!("{channel} {}={} to {}", publication.offset, text(&publication.data), list(&to))
            }
            Effect::Join { channel, info, to } => format!("join {channel} {} to {}", info.client.0, list(&to)),
            Effect::Leave { channel, info, to } => format!("leave {channel} {} to {}", info.client.0, list(&to)),
            Effect::Message { data, to } => format!("message {} to {}", text(&data), list(&to)),
            Effect::Subscribed { to, channel, .. } => format!("subscribed {channel} {}", to.key.0),
            Effect::Unsubscribed { to, channel, why } => format!("unsubscribed {channel} {} {}", to.key.0, why.code()),
            Effect::Disconnect { key, disconnect } => format!("disconnect {} {}", key.0, disconnect.code),
            Effect::Acknowledged { ticket, result } => match result {
                Ok(position) => format!("ack {} {}", ticket.0, self.at(&position)),
                Err(error) => format!("refused {} {}", ticket.0, error.code()),
            },
            Effect::Store(record) => {
                self.disk.insert(record.sequence, record.body.clone());
                let body = match record.body {
                    RecordBody::Publication { channel, epoch, publication, .. } => {
                        format!("{channel} {}{}={}", self.epoch(&epoch), publication.offset, text(&publication.data))
                    }
                    RecordBody::Reset { channel, epoch, offset, .. } => {
                        format!("reset {channel} {}{offset}", self.epoch(&epoch))
                    }
                    RecordBody::Epoch { durable, epoch } => {
                        format!("{} {}", if durable { "durable" } else { "volatile" }, self.epoch(&epoch))
                    }
                };
                format!("store {} {body}", record.sequence.0)
            }
            Effect::Forget(mut sequences) => {
                sequences.sort();
                for sequence in &sequences {
                    assert!(self.disk.remove(sequence).is_some(), "{sequence:?} is forgotten, but not stored");
                }
                let numbers: Vec<_> = sequences.iter().map(|sequence| sequence.0.to_string()).collect();
                format!("forget {}", numbers.join(","))
            }
        }
    }
}

fn request<'a>(text: &str, key: Option<&'a str>) -> PublishRequest<'a> {
    PublishRequest {
        data: Data::json(text),
        info: None,
        tags: BTreeMap::new(),
        idempotency_key: key,
        skip_history: false,
    }
}

fn text(data: &Data) -> String {
    String::from_utf8_lossy(&data.bytes).into_owned()
}

fn list(receivers: &[Receiver]) -> String {
    let mut keys: Vec<_> = receivers.iter().map(|receiver| receiver.key.0).collect();
    keys.sort_unstable();
    keys.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}
