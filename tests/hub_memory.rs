//! What the hub costs in memory, by an allocator that counts: so much for a session and for a subscription, and nothing for
//! those that are gone, however many there were and whatever names clients have made up.
//!
//! `LOOPWIRE_MEMORY_NAMES` and `LOOPWIRE_MEMORY_SESSIONS` say of how many.

mod counting;

use std::collections::BTreeMap;

use counting::{Usage, usage};
use loopwire::push::{
    ChannelOptions, ClientId, Data, Effects, Hub, HubConfig, Identity, Lane, Namespaces, PublishRequest, PushError,
    Restored, SessionKey, SubscribeRequest, SubscriptionGrant, Time,
};

/// What may be there more than before, however many there were: maps keep the room of their first thousand.
const LITTLE: isize = 128 << 10;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable}: no number")))
}

fn names() -> u64 {
    number("LOOPWIRE_MEMORY_NAMES", 100_000)
}

fn sessions() -> u64 {
    number("LOOPWIRE_MEMORY_SESSIONS", 20_000)
}

/// A hub and its clock; what the hub wants done is dropped at once.
struct World {
    hub: Hub,
    now: Time,
}

impl World {
    /// Channels of all namespaces there could be, with everything that a channel can have.
    fn new(change: impl FnOnce(&mut HubConfig)) -> Self {
        let options = ChannelOptions {
            presence: true,
            force_push_join_leave: true,
            join_leave: true,
            history_size: 10,
            history_ttl: 60_000,
            history_meta_ttl: 120_000,
            ..ChannelOptions::default()
        };
        let namespaces = Namespaces { plain: options, named: BTreeMap::new(), others: Some(options) };
        let mut config = HubConfig { namespaces, ..HubConfig::default() };
        change(&mut config);
        let now = Time(1_000_000);
        Self { hub: Hub::new(config, Restored::default(), 1, now, &mut Effects::new()), now }
    }

    fn connect(&mut self, number: u64, user: &str) -> SessionKey {
        let identity = Identity { client: ClientId(u128::from(number) << 64 | 7), user: user.into(), info: None };
        self.hub.connect(SessionKey(number), Lane(0), identity).unwrap();
        SessionKey(number)
    }

    fn disconnect(&mut self, key: SessionKey) {
        self.hub.disconnect(key, self.now, &mut Effects::new());
    }

    fn try_subscribe(&mut self, key: SessionKey, channel: &str) -> Result<(), PushError> {
        let request = SubscribeRequest { recoverable: true, ..SubscribeRequest::default() };
        let grant = SubscriptionGrant::default();
        self.hub.subscribe(key, channel, grant, request, self.now, &mut Effects::new()).map(drop)
    }

    fn subscribe(&mut self, key: SessionKey, channel: &str) {
        self.try_subscribe(key, channel).unwrap();
    }

    fn unsubscribe(&mut self, key: SessionKey, channel: &str) {
        assert!(self.hub.unsubscribe(key, channel, self.now, &mut Effects::new()), "{channel}");
    }

    fn is_empty(&self) -> bool {
        let counts = self.hub.counts();
        (counts.channels, counts.subscriptions, counts.publications) == (0, 0, 0)
    }
}

/// Every tenth in a namespace of its own.
fn name(number: u64) -> String {
    if number.is_multiple_of(10) { format!("n{number}:a") } else { format!("channel{number}") }
}

#[test]
fn a_session_and_a_subscription_cost_so_much() {
    const SESSIONS: u64 = 10_000;
    let per = |usage: &Usage, count: u64| usage.kept.cast_unsigned() as u64 / count;
    let mut world = World::new(|_| ());
    let sessions = usage(|| {
        for number in 0..SESSIONS {
            world.connect(number, &format!("user{number}"));
        }
    });
    let first = usage(|| {
        for number in 0..SESSIONS {
            world.subscribe(SessionKey(number), &format!("channel{}", number % 100));
        }
    });
    let more = usage(|| {
        for number in 0..SESSIONS {
            for step in 1..10 {
                world.subscribe(SessionKey(number), &format!("channel{}", (number + step) % 100));
            }
        }
    });
    let channels = usage(|| {
        let key = SessionKey(0);
        for number in 10..110 {
            world.subscribe(key, &format!("other{number}"));
        }
    });
    for (what, bytes, most) in [
        ("a session", per(&sessions, SESSIONS), 450),
        ("its first subscription", per(&first, SESSIONS), 240),
        ("a further one", per(&more, 9 * SESSIONS), 100),
        ("a channel with its subscription and an empty stream", per(&channels, 100), 480),
    ] {
        assert!(bytes <= most, "{what} takes {bytes} bytes");
    }
}

#[test]
fn names_that_clients_make_up_leave_nothing_behind() {
    let mut world = World::new(|_| ());
    let key = world.connect(1, "42");
    let usage = usage(|| {
        for number in 0..names() {
            let name = name(number);
            world.subscribe(key, &name);
            world.unsubscribe(key, &name);
        }
    });
    assert!(world.is_empty());
    assert!(usage.peak < LITTLE, "{usage:?}");
}

#[test]
fn a_crowd_of_channels_leaves_nothing_behind() {
    let names = names() / 4;
    // One session in all of them, and each name in turn or all of them with their session.
    for by_name in [true, false] {
        let mut world = World::new(|config| config.limits.channels_per_client = usize::MAX);
        let (key, other) = (world.connect(1, "42"), world.connect(2, "43"));
        let usage = usage(|| {
            for number in 0..names {
                world.subscribe(key, &name(number));
            }
            assert_eq!(world.hub.counts().channels as u64, names);
            if by_name {
                for number in 0..names {
                    world.unsubscribe(key, &name(number));
                }
            } else {
                world.disconnect(key);
            }
        });
        assert!(world.is_empty());
        assert!(usage.kept < LITTLE, "by name {by_name}: {usage:?}");
        world.subscribe(other, "news");
    }
}

#[test]
fn a_session_without_subscriptions_holds_no_room_for_them() {
    let mut world = World::new(|_| ());
    for number in 0..200 {
        world.connect(number, "42");
    }
    let mut come_and_go = |key: SessionKey| {
        for channel in 0..128 {
            world.subscribe(key, &name(channel));
            world.hub.join_group(key, &name(channel)).unwrap();
        }
        for channel in 0..128 {
            world.unsubscribe(key, &name(channel));
            assert!(world.hub.leave_group(key, &name(channel)));
        }
    };
    // The hub's own room, for all of them.
    come_and_go(SessionKey(0));
    let usage = usage(|| (1..200).for_each(|number| come_and_go(SessionKey(number))));
    assert!(usage.kept < 4096, "{usage:?}");
}

#[test]
fn what_is_refused_costs_nothing() {
    const CAP: u64 = 128;
    let mut world = World::new(|config| config.limits.channels_per_client = CAP as usize);
    let key = world.connect(1, "42");
    for number in 0..CAP {
        world.subscribe(key, &name(number));
    }
    let long = "x".repeat(256);
    let usage = usage(|| {
        for number in 0..names() / 10 {
            let known = name(number % CAP);
            for (name, error) in [
                (name(CAP + number).as_str(), PushError::LimitExceeded),
                (&known, PushError::AlreadySubscribed),
                (&long, PushError::LimitExceeded),
                ("", PushError::BadRequest),
            ] {
                assert_eq!(world.try_subscribe(key, name), Err(error), "{name}");
            }
            assert_eq!(world.try_subscribe(SessionKey(9), &known), Err(PushError::BadRequest), "nobody");
        }
    });
    assert!(usage.kept == 0 && usage.peak < 2048, "{usage:?}");
    assert_eq!(world.hub.counts().subscriptions as u64, CAP);
    // One that goes makes room for one.
    world.unsubscribe(key, &name(0));
    world.subscribe(key, &name(CAP));
    assert_eq!(world.try_subscribe(key, &name(0)), Err(PushError::LimitExceeded));
}

#[test]
fn sessions_that_come_and_go_leave_nothing_behind() {
    const CROWD: u64 = 1_000;
    let mut world = World::new(|_| ());
    // Somebody stays, and hears of all of them.
    let stays = world.connect(u64::MAX, "stays");
    world.subscribe(stays, "news");
    world.hub.join_group(stays, "all").unwrap();
    let mut come_and_go = |number: u64| {
        let keys: Vec<_> = (number..number + CROWD)
            .map(|number| {
                // Some users have several sessions, some have no name.
                let user = if number.is_multiple_of(7) { String::new() } else { (number / 3).to_string() };
                let key = world.connect(number, &user);
                world.subscribe(key, "news");
                world.subscribe(key, &name(number));
                world.hub.join_group(key, "all").unwrap();
                world.hub.join_group(key, &(number / 2).to_string()).unwrap();
                world.hub.set_info(key, Some(Data::json("{}")));
                key
            })
            .collect();
        // In another order than they came.
        for step in 0..CROWD {
            world.disconnect(keys[(step * 389 % CROWD) as usize]);
        }
    };
    come_and_go(0);
    let usage = usage(|| (1..sessions() / CROWD).for_each(|crowd| come_and_go(crowd * CROWD)));
    assert!(usage.kept < 32 << 10, "{usage:?}");
    let counts = world.hub.counts();
    assert_eq!((counts.sessions, counts.users, counts.channels, counts.subscriptions), (1, 1, 1, 1));
    assert_eq!(world.hub.members("all"), [stays]);
}

#[test]
fn streams_that_are_over_leave_nothing_behind() {
    let names = names() / 4;
    let mut world = World::new(|_| ());
    let usage = usage(|| {
        for number in 0..names {
            let (name, key) = (name(number), format!("key{number}"));
            let request = PublishRequest {
                data: Data::json("[1,2,3]"),
                info: None,
                tags: [("a".to_owned(), "b".to_owned())].into(),
                idempotency_key: Some(&key),
                skip_history: false,
            };
            world.hub.publish(&name, request, world.now, &mut Effects::new()).unwrap();
        }
        assert_eq!(world.hub.counts().publications as u64, names);
        world.now = world.now.plus(24 * 3600 * 1000);
        while world.hub.next_due().is_some() {
            world.hub.tick(world.now, &mut Effects::new());
        }
    });
    assert!(world.is_empty());
    assert!(usage.kept < LITTLE, "{usage:?}");
}
