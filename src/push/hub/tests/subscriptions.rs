//! Subscriptions: their beginnings and ends, joins, leaves, presence.

use super::*;
use crate::push::Unsubscribe;

#[test]
fn publications_go_to_subscribers_and_to_nobody_else() {
    let mut world = World::new(config(ChannelOptions::default())).with_sessions();
    world.subscribe(KEYS[0], "news");
    world.subscribe(KEYS[1], "news");
    world.subscribe(KEYS[2], "sport");
    assert_eq!(world.publish("news", "1"), Published::Now(Position { offset: 0, epoch: "".into() }));
    assert_eq!(world.told(), ["news 0=1 to 1,2"]);
    assert!(world.hub.unsubscribe(KEYS[0], "news", world.now, &mut world.effects));
    assert!(!world.hub.unsubscribe(KEYS[0], "news", world.now, &mut world.effects));
    world.publish("news", "2");
    assert_eq!(world.told(), ["news 0=2 to 2"]);
    world.hub.disconnect(KEYS[1], world.now, &mut world.effects);
    world.publish("news", "3");
    assert!(world.told().is_empty());
    assert_eq!(world.hub.counts().channels, 1, "a channel without subscribers and stream is gone");
}

#[test]
fn a_subscription_is_refused_for_a_reason() {
    let mut config = config(options());
    config.limits.channels_per_client = 2;
    let mut world = World::new(config).with_sessions();
    world.subscribe(KEYS[0], "a");
    let longest = "x".repeat(255);
    let too_long = "x".repeat(256);
    let now = world.now;
    let until = |at| SubscriptionGrant { expire_at: Some(at), ..SubscriptionGrant::default() };
    let rows = [
        (KEYS[0], "a", SubscriptionGrant::default(), Err(PushError::AlreadySubscribed)),
        (KEYS[0], "chat:a", SubscriptionGrant::default(), Err(PushError::UnknownChannel)),
        (KEYS[0], "", SubscriptionGrant::default(), Err(PushError::BadRequest)),
        (KEYS[0], &too_long, SubscriptionGrant::default(), Err(PushError::LimitExceeded)),
        (SessionKey(9), "a", SubscriptionGrant::default(), Err(PushError::BadRequest)),
        (KEYS[0], "b", until(now), Err(PushError::Expired)),
        (KEYS[1], "b", until(now.plus(1)), Ok(Some(1))),
        (KEYS[0], &longest, SubscriptionGrant::default(), Ok(None)),
        (KEYS[0], "c", SubscriptionGrant::default(), Err(PushError::LimitExceeded)),
        (KEYS[0], "a", SubscriptionGrant::default(), Err(PushError::AlreadySubscribed)),
    ];
    for (key, channel, grant, expected) in rows {
        let answer = world.grant(key, channel, grant, SubscribeRequest::default());
        assert_eq!(answer.map(|answer| answer.ttl), expected, "{key:?} {channel}");
    }
    let mut channels: Vec<_> = world.hub.subscriptions(KEYS[0]).collect();
    channels.sort_unstable();
    assert_eq!(channels, ["a", &longest]);
    assert_eq!(world.hub.counts().subscriptions, 3);
    world.hub.unsubscribe(KEYS[0], "a", now, &mut world.effects);
    world.subscribe(KEYS[0], "c");
}

#[test]
fn joins_and_leaves_are_told_to_those_who_listen() {
    let listening = SubscribeRequest { join_leave: true, ..SubscribeRequest::default() };
    let mut world = World::new(config(options())).with_sessions();
    world.subscribe(KEYS[0], "news");
    assert!(world.told().is_empty(), "nobody listens");
    world.subscribe_with(KEYS[1], "news", listening).unwrap();
    assert_eq!(world.told(), ["join news 2 to 2"], "who comes hears it too");
    world.subscribe_with(KEYS[2], "news", listening).unwrap();
    world.subscribe(KEYS[3], "news");
    assert_eq!(world.told(), ["join news 3 to 2,3", "join news 4 to 2,3"]);
    world.hub.unsubscribe(KEYS[1], "news", world.now, &mut world.effects);
    assert_eq!(world.told(), ["leave news 2 to 3"], "nothing follows for who has left");
    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    assert_eq!(world.told(), ["leave news 1 to 3"]);
    world.hub.force_unsubscribe(KEYS[3], "news", Unsubscribe::Server, world.now, &mut world.effects);
    assert_eq!(world.told(), ["unsubscribed news 4 2000", "leave news 4 to 3"]);
}

#[test]
fn who_hears_of_joins_is_by_option_request_and_grant() {
    let no = SubscriptionGrant::default;
    let joins = |join_leave| SubscriptionGrant { join_leave: Some(join_leave), ..no() };
    let pushes = |push| SubscriptionGrant { force_push_join_leave: Some(push), ..no() };
    // The option, the one to all, asked for, granted; then: is told to others, and hears.
    let rows = [
        (false, false, true, no(), false, false),
        (true, false, false, no(), true, false),
        (true, false, true, no(), true, true),
        (true, true, false, no(), true, true),
        (false, true, false, no(), false, true),
        (false, false, true, joins(true), true, true),
        (true, false, true, joins(false), false, false),
        (true, false, false, pushes(true), true, true),
        (true, true, false, pushes(false), true, false),
    ];
    for (row, (join_leave, force_push_join_leave, asked, grant, is_told, hears)) in rows.into_iter().enumerate() {
        let mut world = World::new(config(ChannelOptions { join_leave, force_push_join_leave, ..options() }));
        world = world.with_sessions();
        let everything = SubscriptionGrant { join_leave: Some(true), ..pushes(true) };
        world.grant(KEYS[0], "news", everything.clone(), SubscribeRequest::default()).unwrap();
        world.told();
        let request = SubscribeRequest { join_leave: asked, ..SubscribeRequest::default() };
        world.grant(KEYS[1], "news", grant, request).unwrap();
        assert_eq!(!world.told().is_empty(), is_told, "row {row}");
        world.grant(KEYS[2], "news", everything, SubscribeRequest::default()).unwrap();
        let to = if hears { "1,2,3" } else { "1,3" };
        assert_eq!(world.told(), [format!("join news 3 to {to}")], "row {row}");
    }
}

#[test]
fn presence_tells_who_is_there_with_what_may_be_known_of_them() {
    let mut world = World::new(config(options())).with_sessions();
    let grant = SubscriptionGrant { info: Some(Data::json("7")), ..SubscriptionGrant::default() };
    world.grant(KEYS[0], "news", grant, SubscribeRequest::default()).unwrap();
    world.hub.set_info(KEYS[0], Some(Data::json("8")));
    world.subscribe(KEYS[1], "news");
    world.subscribe(KEYS[3], "news");
    let hidden = SubscriptionGrant { presence: Some(false), ..SubscriptionGrant::default() };
    world.grant(KEYS[2], "news", hidden, SubscribeRequest::default()).unwrap();

    let mut present = world.hub.presence("news").unwrap();
    present.sort_unstable_by_key(|info| info.client);
    let clients: Vec<_> = present.iter().map(|info| (info.client.0, info.user.as_ref())).collect();
    assert_eq!(clients, [(1, "ann"), (2, "ann"), (4, "")]);
    assert_eq!(present[0].chan_info.as_ref().map(text), Some("7".to_owned()));
    assert_eq!(present[0].conn_info.as_ref().map(text), Some("8".to_owned()));
    assert_eq!(Some(&present[0]), world.hub.info(KEYS[0], "news").as_ref());
    assert_eq!(world.hub.info(KEYS[0], "sport").and_then(|info| info.chan_info), None);
    assert_eq!(world.hub.presence_stats("news"), Ok((3, 2)));

    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    world.hub.unsubscribe(KEYS[3], "news", world.now, &mut world.effects);
    assert_eq!(world.hub.presence_stats("news"), Ok((1, 1)));
    assert_eq!(world.hub.presence_stats("sport"), Ok((0, 0)));
    assert_eq!(world.hub.presence("chat:a"), Err(PushError::UnknownChannel));
    let silent = World::new(config(ChannelOptions { presence: false, ..options() }));
    assert_eq!(silent.hub.presence("news"), Err(PushError::NotAvailable));
    assert_eq!(silent.hub.presence_stats("news"), Err(PushError::NotAvailable));
}

#[test]
fn subscriptions_end_when_their_time_is_over() {
    let mut world = World::new(config(options())).with_sessions();
    let until = |at| SubscriptionGrant { expire_at: Some(Time(at)), ..SubscriptionGrant::default() };
    let by_server = SubscribeRequest { server_side: true, ..SubscribeRequest::default() };
    world.grant(KEYS[0], "news", until(11_000), SubscribeRequest::default()).unwrap();
    world.grant(KEYS[1], "news", until(11_000), by_server).unwrap();
    world.grant(KEYS[2], "news", until(11_000), SubscribeRequest::default()).unwrap();
    world.grant(KEYS[3], "news", until(11_000), SubscribeRequest::default()).unwrap();
    assert_eq!(world.told(), ["subscribed news 2"]);
    assert!(world.hub.refresh_subscription(KEYS[2], "news", Some(Time(12_000))));
    assert!(world.hub.refresh_subscription(KEYS[3], "news", None));
    assert!(!world.hub.refresh_subscription(KEYS[3], "sport", None));
    assert_eq!(world.hub.next_due(), Some(Time(11_000)));
    world.wait(999);
    assert!(world.told().is_empty());
    world.wait(1);
    assert_eq!(world.told(), ["unsubscribed news 1 2501", "disconnect 2 3006"]);
    assert_eq!(world.hub.next_due(), Some(Time(12_000)));
    world.publish("news", "1");
    assert_eq!(world.told(), ["news 1=1 to 3,4"]);
    world.wait(1_000);
    assert_eq!(world.told(), ["unsubscribed news 3 2501"]);
    world.wait(1_000_000);
    assert!(world.told().is_empty());
    assert!(world.hub.is_subscribed(KEYS[3], "news"));
}

#[test]
fn the_server_subscribes_and_unsubscribes() {
    let mut world = World::new(config(options())).with_sessions();
    let by_server = SubscribeRequest { server_side: true, ..SubscribeRequest::default() };
    world.subscribe_with(KEYS[0], "news", by_server).unwrap();
    assert_eq!(world.told(), ["subscribed news 1"]);
    // Why it ends, and what a client hears whose server has made the subscription, or which has made it itself.
    let rows = [
        (Unsubscribe::Server, "unsubscribed news 1 2000", "unsubscribed news 2 2000"),
        (Unsubscribe::InsufficientState, "disconnect 1 3010", "unsubscribed news 2 2500"),
        (Unsubscribe::Expired, "disconnect 1 3006", "unsubscribed news 2 2501"),
        (Unsubscribe::StateInvalidated, "disconnect 1 3014", "unsubscribed news 2 2502"),
    ];
    for (why, told_by_server, told_by_client) in rows {
        world.hub.unsubscribe(KEYS[0], "news", world.now, &mut world.effects);
        world.subscribe_with(KEYS[0], "news", by_server).unwrap();
        world.subscribe(KEYS[1], "news");
        world.told();
        for key in &KEYS[..2] {
            assert!(world.hub.force_unsubscribe(*key, "news", why, world.now, &mut world.effects));
            assert!(!world.hub.force_unsubscribe(*key, "news", why, world.now, &mut world.effects));
        }
        assert_eq!(world.told(), [told_by_server, told_by_client], "{why:?}");
    }
}

#[test]
fn channels_are_listed_by_pattern() {
    let mut world = World::new(config(options())).with_sessions();
    world.subscribe(KEYS[0], "news");
    world.subscribe(KEYS[1], "news");
    world.subscribe(KEYS[0], "new");
    world.publish("newer", "1");
    let listed = |pattern| {
        let mut channels = world.hub.channels(pattern);
        channels.sort_unstable();
        channels.iter().map(|(name, subscribers)| format!("{name} {subscribers}")).collect::<Vec<_>>()
    };
    assert_eq!(listed(None), ["new 1", "news 2"], "a stream alone is not listed");
    assert_eq!(listed(Some("*s")), ["news 2"]);
    assert_eq!(listed(Some("sport")), Vec::<String>::new());
}

#[test]
fn a_namespace_that_goes_takes_its_subscriptions_along() {
    let mut before = config(options());
    before.namespaces.named.insert("chat".to_owned(), options());
    let mut world = World::new(before).with_sessions();
    world.subscribe(KEYS[0], "chat:a");
    world.subscribe(KEYS[1], "chat:a");
    world.subscribe(KEYS[0], "news");
    let by_server = SubscribeRequest { server_side: true, ..SubscribeRequest::default() };
    world.subscribe_with(KEYS[2], "chat:a", by_server).unwrap();
    world.told();
    world.hub.configure(config(options()), world.now, &mut world.effects);
    let mut told = world.told();
    told.sort_unstable();
    assert_eq!(told, ["unsubscribed chat:a 1 2000", "unsubscribed chat:a 2 2000", "unsubscribed chat:a 3 2000"]);
    assert_eq!(world.hub.counts().subscriptions, 1);
}

#[test]
fn who_goes_along_does_not_hear_of_the_others_leaving() {
    let loud = ChannelOptions { force_push_join_leave: true, ..options() };
    let mut before = config(loud);
    before.namespaces.named.insert("chat".to_owned(), loud);
    let mut world = World::new(before.clone()).with_sessions();
    for key in &KEYS[..3] {
        world.subscribe(*key, "chat:a");
        world.subscribe(*key, "news");
    }
    world.told();
    world.hub.configure(config(loud), world.now, &mut world.effects);
    let mut told = world.told();
    told.sort_unstable();
    assert_eq!(told, ["unsubscribed chat:a 1 2000", "unsubscribed chat:a 2 2000", "unsubscribed chat:a 3 2000"]);

    // Who stays hears of each of them.
    let positioned = SubscribeRequest { positioned: true, ..SubscribeRequest::default() };
    world.subscribe_with(KEYS[3], "sport", SubscribeRequest::default()).unwrap();
    world.subscribe_with(KEYS[0], "sport", positioned).unwrap();
    world.subscribe_with(KEYS[1], "sport", positioned).unwrap();
    world.told();
    let without = ChannelOptions { history_size: 0, ..loud };
    world.hub.configure(config(without), world.now, &mut world.effects);
    let mut told = world.told();
    told.sort_unstable();
    let expected =
        ["leave sport 1 to 4", "leave sport 2 to 4", "unsubscribed sport 1 2500", "unsubscribed sport 2 2500"];
    assert_eq!(told, expected);

    world.hub.ignore_listeners();
    for key in KEYS {
        world.hub.disconnect(key, world.now, &mut world.effects);
    }
    assert_eq!(world.told(), [""; 0]);
    let counts = world.hub.counts();
    assert_eq!((counts.sessions, counts.users, counts.channels, counts.subscriptions), (0, 0, 0, 0));
    // Nothing of those that were there is left in the way.
    let mut world = world.with_sessions();
    world.subscribe(KEYS[0], "news");
    world.subscribe(KEYS[1], "news");
    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    assert_eq!(world.told(), ["join news 1 to 1", "join news 2 to 1,2", "leave news 1 to 2"]);
}

#[test]
fn many_sessions_in_many_channels_find_their_places() {
    let mut world = World::new(config(ChannelOptions { force_push_join_leave: true, ..options() }));
    let keys: Vec<_> = (0..50).map(SessionKey).collect();
    for key in &keys {
        world.connect(*key, &format!("user{}", key.0 % 7)).unwrap();
        world.hub.join_group(*key, &format!("group{}", key.0 % 5)).unwrap();
        for channel in 0..10 {
            if (key.0 + channel) % 3 != 0 {
                world.subscribe(*key, &format!("channel{channel}"));
            }
        }
    }
    // In an order in which each is once the first, in the middle, the last.
    for step in 0..50 {
        let key = SessionKey(step * 17 % 50);
        world.hub.unsubscribe(key, &format!("channel{}", step % 10), world.now, &mut world.effects);
        world.hub.disconnect(key, world.now, &mut world.effects);
        world.told();
        let left: Vec<u64> = (step + 1..50).map(|step| step * 17 % 50).collect();
        for channel in 0..10 {
            let mut expected: Vec<_> = left.iter().filter(|key| (*key + channel) % 3 != 0).collect();
            expected.sort_unstable();
            let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
            world.publish(&format!("channel{channel}"), "1");
            let told = world.told();
            let to = told.first().and_then(|line| line.split_once(" to ")).map_or("", |(_, to)| to);
            assert_eq!(to, expected.join(","), "channel{channel} after {step}");
        }
        for user in 0..7 {
            let expected = left.iter().filter(|key| *key % 7 == user).count();
            assert_eq!(world.hub.sessions_of(&format!("user{user}")).len(), expected);
        }
        for group in 0..5 {
            let expected = left.iter().filter(|key| *key % 5 == group).count();
            assert_eq!(world.hub.members(&format!("group{group}")).len(), expected);
        }
    }
    assert_eq!((world.hub.counts().sessions, world.hub.counts().subscriptions), (0, 0));
}
