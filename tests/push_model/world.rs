//! A hub, its clients, its store, and what happens to them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::AddAssign;

use loopwire::push::{
    Access, Audience, ChannelOptions, ClientId, Data, Decision, Effect, Effects, HistoryRequest, Hub, HubConfig,
    Identity, Lane, Namespaces, Position, PublishRequest, Published, PushError, RecordBody, Restored, SessionKey,
    Since, SubscribeRequest, SubscriptionGrant, Ticket, Time, Unsubscribe,
};

use crate::checker::{Checker, id_of};
use crate::disk::{Disk, News};
use crate::rng::Rng;

const STEPS: usize = 250;
pub const USERS: [&str; 5] = ["ann", "ann", "bob", "carl", ""];
/// Durable, twice; changed by the configuration; limited to users; not durable; without history.
pub const CHANNELS: [&str; 6] = ["news", "sport", "x:changing", "pair#ann,bob", "v:fast", "n:none"];
pub const CHANGING: &str = "x:changing";
pub const FAST: &str = "v:fast";
pub const META_TTL: u64 = 5_000;
pub const KEY_TTL: u64 = 700;
const RECOVERED_AT_MOST: usize = 3;

/// How much has happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub received: usize,
    pub recovered: usize,
    pub unrecovered: usize,
    pub refused: usize,
    pub deduplicated: usize,
    pub crashes: usize,
    pub stops: usize,
    /// Publications lost with a crash.
    pub lost: usize,
    /// Streams forgotten.
    pub gone: usize,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.recovered += other.recovered;
        self.unrecovered += other.unrecovered;
        self.refused += other.refused;
        self.deduplicated += other.deduplicated;
        self.crashes += other.crashes;
        self.stops += other.stops;
        self.lost += other.lost;
        self.gone += other.gone;
    }
}

/// What a stream should be.
#[derive(Default)]
pub struct Model {
    /// Offset, number and time of what can be read.
    pub kept: VecDeque<(u64, usize, Time)>,
    /// What was removed: it may come back with a crash before that is on disk.
    pub removed: Vec<(u64, usize, Time)>,
    pub position: Option<Position>,
    pub touched: Time,
    /// When it was emptied last, as far as that is on disk.
    pub emptied: Time,
}

impl Model {
    pub fn trim(&mut self, options: &ChannelOptions, now: Time) {
        let is_old = |at: Time| now.since(at) >= options.history_ttl;
        while self.kept.len() > options.history_size || self.kept.front().is_some_and(|&(_, _, at)| is_old(at)) {
            self.kept.pop_front();
        }
    }
}

pub struct World {
    pub rng: Rng,
    pub hub: Hub,
    pub config: HubConfig,
    pub now: Time,
    pub disk: Disk,
    pub checker: Checker,
    pub models: BTreeMap<&'static str, Model>,
    /// By channel and key: when, what was answered, and the publication's number.
    pub keys: BTreeMap<(&'static str, &'static str), (Time, Published, usize)>,
    /// Publications that were removed from a history, and will never be seen again.
    pub hidden: BTreeSet<usize>,
    /// Each client's session, while it is connected.
    pub sessions: Vec<Option<SessionKey>>,
    pub next_session: u64,
    pub starts: u64,
    pub summary: Summary,
    /// A history that is repeated by its seed tells its story.
    pub is_told: bool,
}

fn options(rng: &mut Rng) -> ChannelOptions {
    let everyone = Audience { client: true, subscriber: false, anonymous: true };
    ChannelOptions {
        presence: true,
        join_leave: true,
        force_push_join_leave: true,
        history_size: rng.pick(&[1, 3, 5]),
        history_ttl: rng.pick(&[300, 2_000]),
        history_meta_ttl: META_TTL,
        subscribe: everyone,
        publish: everyone,
        ..ChannelOptions::default()
    }
}

fn config(rng: &mut Rng) -> HubConfig {
    let plain = options(rng);
    let mut named = BTreeMap::new();
    named.insert("v".to_owned(), ChannelOptions { durable: false, ..options(rng) });
    named.insert("n".to_owned(), ChannelOptions { history_size: 0, ..plain });
    if !rng.one_in(5) {
        let changing = ChannelOptions { durable: rng.one_in(2), ..options(rng) };
        named.insert(
            "x".to_owned(),
            if rng.one_in(4) { ChannelOptions { history_ttl: 0, ..changing } } else { changing },
        );
    }
    let mut config =
        HubConfig { namespaces: Namespaces { plain, named, others: None }, stored: true, ..HubConfig::default() };
    config.limits.idempotency_ttl = KEY_TTL;
    config.limits.recovery_publications = RECOVERED_AT_MOST;
    config
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (config, now) = (config(&mut rng), Time(1_000_000));
        let mut effects = Effects::new();
        let hub = Hub::new(config.clone(), Restored::default(), seed, now, &mut effects);
        let mut world = Self {
            rng,
            hub,
            config,
            now,
            disk: Disk::default(),
            checker: Checker::default(),
            models: CHANNELS.into_iter().map(|channel| (channel, Model::default())).collect(),
            keys: BTreeMap::new(),
            hidden: BTreeSet::new(),
            sessions: vec![None; USERS.len()],
            next_session: 1,
            starts: seed,
            summary: Summary::default(),
            is_told: std::env::var_os("LOOPWIRE_MODEL_SEED").is_some(),
        };
        world.settle(effects);
        for _ in USERS {
            world.connect_or_disconnect();
        }
        world
    }

    pub fn run(mut self) -> Summary {
        for _ in 0..STEPS {
            match self.rng.below(100) {
                0..26 => self.publish(),
                26..46 => self.subscribe(),
                46..52 => self.unsubscribe(),
                52..57 => self.connect_or_disconnect(),
                57..69 => {
                    let works = self.rng.below(8);
                    self.disk.commit(works);
                }
                69..84 => {
                    self.tell();
                }
                84 => self.disk.fail(),
                85..92 => self.pass_time(),
                92 => self.remove_history(),
                93 => self.configure(),
                94 => self.restart(),
                _ => {
                    let channel = self.rng.pick(&CHANNELS);
                    self.check(channel);
                }
            }
            self.checker.all_have_all();
        }
        self.catch_up();
        for channel in CHANNELS {
            self.check(channel);
        }
        assert_eq!(self.checker.waiting(), 0, "everything is acknowledged or refused in the end");
        self.check_leaks();
        self.summary
    }

    pub fn options(&self, channel: &str) -> Option<ChannelOptions> {
        self.config.options(channel).ok().copied()
    }

    fn publish(&mut self) {
        let channel = self.rng.pick(&CHANNELS);
        // What a key is worth while the history is switched on and off is left open.
        let key = (channel != CHANGING && self.rng.one_in(3)).then(|| self.rng.pick(&["k", "l"]));
        let skips = self.rng.one_in(12);
        let id = self.checker.attempt(channel, skips);
        let known = key.and_then(|key| self.keys.get(&(channel, key))).filter(|(at, ..)| self.now.since(*at) < KEY_TTL);
        let known = known.map(|(_, published, _)| published.clone());
        let request = PublishRequest {
            data: Data::json(&id.to_string()),
            info: None,
            tags: BTreeMap::new(),
            idempotency_key: key,
            skip_history: skips,
        };
        let mut effects = Effects::new();
        let result = self.hub.publish(channel, request, self.now, &mut effects);
        match (known, result) {
            (_, Err(error)) => {
                assert_eq!((error, channel), (PushError::UnknownChannel, CHANGING));
                self.checker.never(id);
            }
            (Some(known), Ok(published)) => {
                assert_eq!(published, known, "{key:?} in {channel}");
                self.checker.never(id);
                self.summary.deduplicated += 1;
            }
            (None, Ok(published)) => {
                match &published {
                    Published::Now(position) => self.appears(id, channel, position),
                    Published::Later(ticket) => self.checker.waits(id, *ticket),
                }
                if let Some(key) = key {
                    self.keys.insert((channel, key), (self.now, published, id));
                }
            }
        }
        self.settle(effects);
    }

    /// A publication is there.
    fn appears(&mut self, id: usize, channel: &'static str, position: &Position) {
        self.checker.published(id, Some(position));
        let Some(options) = self.options(channel) else { return };
        let model = self.models.get_mut(channel).unwrap();
        if position.offset == 0 {
            return;
        }
        let same_epoch = model.position.as_ref().filter(|it| channel != CHANGING && it.epoch == position.epoch);
        if let Some(before) = same_epoch {
            assert_eq!(position.offset, before.offset + 1, "offsets follow each other in {channel}");
        }
        model.position = Some(position.clone());
        // Published when it was asked for, not when it got to the disk.
        let at = self.times(id);
        let model = self.models.get_mut(channel).unwrap();
        model.touched = model.touched.max(at);
        model.kept.push_back((position.offset, id, at));
        model.trim(&options, self.now);
    }

    /// When a publication was made, by its record; now if there is none yet.
    fn times(&self, id: usize) -> Time {
        let records = self.disk.written.values().rev();
        let found = records.into_iter().find_map(|body| match body {
            RecordBody::Publication { publication, .. } if id_of(publication) == id => Some(publication.time),
            _ => None,
        });
        found.unwrap_or(self.now)
    }

    fn subscribe(&mut self) {
        let client = self.rng.below(USERS.len());
        let channel = self.rng.pick(&CHANNELS);
        let Some(key) = self.sessions[client] else { return };
        if self.hub.decide(key, channel, Access::Subscribe) != Decision::Allow {
            assert!(channel == CHANGING || (channel.starts_with("pair") && !["ann", "bob"].contains(&USERS[client])));
            return;
        }
        let position = self.checker.views.get(&(client, channel)).and_then(|view| view.position.clone());
        let position = position.filter(|_| !self.rng.one_in(6));
        let since = position.as_ref().map(|(epoch, offset)| Since { offset: *offset, epoch });
        let is_strict = self.rng.one_in(4);
        let request = SubscribeRequest {
            recover: since,
            positioned: self.rng.one_in(2),
            recoverable: since.is_some() || !self.rng.one_in(3),
            reject_unrecovered: is_strict,
            ..SubscribeRequest::default()
        };
        let expected = since.map(|since| self.can_recover(channel, since));
        let mut effects = Effects::new();
        let grant = SubscriptionGrant::default();
        match self.hub.subscribe(key, channel, grant, request, self.now, &mut effects) {
            Err(PushError::AlreadySubscribed) => assert!(self.checker.views[&(client, channel)].subscribed),
            Err(PushError::UnrecoverablePosition) => {
                assert!(is_strict && expected != Some(Some(true)), "client {client} in {channel}");
            }
            Err(error) => panic!("{error}"),
            Ok(answer) => {
                if let Some(Some(expected)) = expected {
                    assert_eq!(answer.recovered, expected, "client {client} in {channel} from {since:?}");
                }
                self.summary.recovered += usize::from(answer.recovered);
                self.summary.unrecovered += usize::from(answer.was_recovering && !answer.recovered);
                self.checker.subscribed(client, channel, since, &answer);
                let present = self.hub.presence(channel).unwrap();
                let view = self.checker.views.get_mut(&(client, channel)).unwrap();
                // Who comes hears of itself in a moment.
                view.roster = present.iter().map(|info| info.client.0).filter(|it| *it != client as u128).collect();
            }
        }
        self.settle(effects);
    }

    /// Whether all since then is still there, as far as that is known.
    fn can_recover(&mut self, channel: &'static str, since: Since<'_>) -> Option<bool> {
        let options = self.options(channel)?;
        if channel == CHANGING || !options.has_history() {
            return (channel != CHANGING).then_some(false);
        }
        let position = self.hub.history(channel, HistoryRequest::default(), self.now).ok()?.position;
        let model = self.models.get_mut(channel)?;
        model.trim(&options, self.now);
        let missed = position.offset.checked_sub(since.offset).map(|missed| missed as usize);
        let is_there = missed.is_some_and(|missed| missed <= model.kept.len() && missed <= RECOVERED_AT_MOST);
        Some(is_there && *since.epoch == *position.epoch)
    }

    fn unsubscribe(&mut self) {
        let client = self.rng.below(USERS.len());
        let channel = self.rng.pick(&CHANNELS);
        let Some(key) = self.sessions[client] else { return };
        let was_subscribed = self.checker.views.get(&(client, channel)).is_some_and(|view| view.subscribed);
        assert_eq!(self.hub.is_subscribed(key, channel), was_subscribed);
        let mut effects = Effects::new();
        if self.rng.one_in(3) {
            let why = Unsubscribe::StateInvalidated;
            assert_eq!(self.hub.force_unsubscribe(key, channel, why, self.now, &mut effects), was_subscribed);
        } else {
            assert_eq!(self.hub.unsubscribe(key, channel, self.now, &mut effects), was_subscribed);
            if was_subscribed {
                self.checker.left(client, channel);
            }
        }
        self.settle(effects);
    }

    fn connect_or_disconnect(&mut self) {
        // Who is away is likely to come back.
        let away = self.sessions.iter().position(Option::is_none).filter(|_| !self.rng.one_in(4));
        let client = away.unwrap_or_else(|| self.rng.below(USERS.len()));
        if let Some(key) = self.sessions[client].take() {
            let mut effects = Effects::new();
            self.hub.disconnect(key, self.now, &mut effects);
            self.all_left(client);
            self.settle(effects);
        } else {
            let key = SessionKey(self.next_session);
            self.next_session += 1;
            let identity = Identity { client: ClientId(client as u128), user: USERS[client].into(), info: None };
            self.hub.connect(key, Lane(0), identity).unwrap();
            self.sessions[client] = Some(key);
        }
    }

    pub fn all_left(&mut self, client: usize) {
        for ((of, _), view) in &mut self.checker.views {
            view.subscribed &= *of != client;
        }
    }

    /// The hub hears from the store; whether there was anything.
    pub fn tell(&mut self) -> bool {
        let Some(news) = self.disk.news() else { return false };
        self.say(format_args!("{news:?}"));
        let mut effects = Effects::new();
        match news {
            News::Committed(up_to) => {
                self.checker.committed = self.checker.committed.max(up_to.0);
                self.hub.committed(up_to, self.now, &mut effects);
            }
            News::Failed(from) => self.hub.store_failed(from, self.now, &mut effects),
        }
        self.settle(effects);
        true
    }

    /// Lets the store do everything.
    pub fn catch_up(&mut self) {
        self.disk.commit_all();
        while self.tell() {
            self.disk.commit_all();
        }
    }

    fn pass_time(&mut self) {
        let most = self.rng.pick(&[0, 0, 1, 1, 1, 2]);
        let milliseconds = self.rng.pick([&[1, 5, 10, 50][..], &[100, 250], &[700, 2_000, META_TTL]][most]);
        self.now = self.now.plus(milliseconds);
        let mut effects = Effects::new();
        self.hub.tick(self.now, &mut effects);
        assert!(self.hub.next_due().is_none_or(|due| due > self.now), "a tick does all that is due");
        self.settle(effects);
    }

    fn remove_history(&mut self) {
        let channel = self.rng.pick(&CHANNELS);
        let has_history = self.options(channel).is_some_and(|options| options.has_history());
        let mut effects = Effects::new();
        let result = self.hub.remove_history(channel, self.now, &mut effects);
        assert_eq!(result.is_ok(), has_history);
        if has_history {
            self.trim_models();
            let model = self.models.get_mut(channel).unwrap();
            if !model.kept.is_empty() {
                model.emptied = self.now;
            }
            model.removed.extend(model.kept.drain(..));
        }
        self.settle(effects);
    }

    fn configure(&mut self) {
        // What is too old by the old configuration goes first.
        let mut effects = Effects::new();
        self.hub.tick(self.now, &mut effects);
        self.settle(effects);
        self.trim_models();
        self.config = config(&mut self.rng);
        self.say(format_args!("{:?}", self.config.namespaces));
        let mut effects = Effects::new();
        self.hub.configure(self.config.clone(), self.now, &mut effects);
        self.settle(effects);
        self.trim_models();
    }

    pub fn trim_models(&mut self) {
        for channel in CHANNELS {
            if let Some(options) = self.options(channel) {
                self.models.get_mut(channel).unwrap().trim(&options, self.now);
            }
        }
    }

    pub fn settle(&mut self, effects: Effects) {
        for effect in effects {
            if self.is_told {
                println!("{} {effect:?}", self.now.0);
            }
            match effect {
                Effect::Publication { channel, publication, to } => {
                    let channel = name(&channel);
                    for receiver in to.iter() {
                        let client = self.client_of(receiver.key);
                        let may_see = !channel.starts_with("pair") || ["ann", "bob"].contains(&USERS[client]);
                        assert!(may_see, "client {client} sees {channel}");
                        self.checker.received(client, channel, &publication);
                        self.summary.received += 1;
                    }
                }
                Effect::Acknowledged { ticket, result } => self.acknowledged(ticket, result),
                Effect::Unsubscribed { to, channel, .. } => {
                    let client = self.client_of(to.key);
                    self.checker.left(client, name(&channel));
                }
                Effect::Join { channel, info, to } => {
                    for receiver in to {
                        let view = (self.client_of(receiver.key), name(&channel));
                        self.checker.views.get_mut(&view).unwrap().roster.insert(info.client.0);
                    }
                }
                Effect::Leave { channel, info, to } => {
                    for receiver in to {
                        let view = (self.client_of(receiver.key), name(&channel));
                        assert!(self.checker.views.get_mut(&view).unwrap().roster.remove(&info.client.0));
                    }
                }
                Effect::Store(record) => self.disk.append(record),
                Effect::Forget(sequences) => self.disk.forget(sequences),
                other => panic!("{other:?}"),
            }
        }
    }

    fn acknowledged(&mut self, ticket: Ticket, result: Result<Position, PushError>) {
        let id = self.checker.of_ticket(ticket);
        let channel = self.checker.channel(id);
        match result {
            Ok(position) => {
                self.appears(id, channel, &position);
                let same = |(_, published, _): &&mut (Time, Published, usize)| *published == Published::Later(ticket);
                if let Some((_, published, _)) = self.keys.values_mut().find(same) {
                    *published = Published::Now(position);
                }
            }
            Err(error) => {
                assert_eq!(error, PushError::Internal);
                self.checker.never(id);
                self.keys.retain(|_, (_, published, _)| *published != Published::Later(ticket));
                self.summary.refused += 1;
            }
        }
    }

    pub fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.is_told {
            println!("{} {what}", self.now.0);
        }
    }

    fn client_of(&self, key: SessionKey) -> usize {
        self.sessions.iter().position(|session| *session == Some(key)).expect("a session that is connected")
    }
}

pub fn name(channel: &str) -> &'static str {
    CHANNELS.into_iter().find(|it| *it == channel).expect("a channel that was asked for")
}
