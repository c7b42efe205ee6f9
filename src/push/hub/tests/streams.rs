//! Streams in memory: history, recovery, retention, idempotency.

use super::*;
use crate::push::{History, RecoveryMode};

/// A hub without a store, in whose channel "news" 1 to 5 were published; a history of three keeps 3 to 5.
fn five() -> (World, String) {
    let mut world = World::new(config(options())).with_sessions();
    for number in 1..=5 {
        world.publish("news", &number.to_string());
    }
    assert_eq!(world.history("news"), "3 4 5 @ E1/5");
    let epoch = world.epochs[0].clone();
    (world, epoch)
}

fn texts(publications: &[std::sync::Arc<crate::push::Publication>]) -> String {
    publications.iter().map(|it| format!("{}={}", it.offset, text(&it.data))).collect::<Vec<_>>().join(" ")
}

#[test]
fn recovery_brings_all_since_or_says_that_it_cannot() {
    let other = "another";
    // From where, in which epoch (`None`: the stream's); what is recovered, if it is; where the subscriber then stands.
    let rows = [
        (5, None, Some(""), 5),
        (4, None, Some("5=5"), 4),
        (2, None, Some("3=3 4=4 5=5"), 2),
        (1, None, None, 5),
        (0, None, None, 5),
        (6, None, None, 5),
        (u64::MAX, None, None, 5),
        (5, Some(other), None, 5),
        (4, Some(other), None, 5),
        (0, Some(other), None, 5),
        (4, Some(""), Some("5=5"), 4),
        (1, Some(""), None, 5),
    ];
    for (offset, epoch, recovered, stands_at) in rows {
        let (mut world, own) = five();
        let answer = world.recover(KEYS[0], "news", offset, epoch.unwrap_or(&own));
        assert_eq!(answer.recovered.then(|| texts(&answer.publications)).as_deref(), recovered, "{offset} {epoch:?}");
        assert_eq!(answer.position, Some(Position { offset: stands_at, epoch: own.as_str().into() }));
        assert!(answer.was_recovering && answer.recoverable && answer.positioned);
        assert!(answer.recovered || answer.publications.is_empty(), "never a part");
        world.publish("news", "6");
        assert_eq!(world.told(), ["news 6=6 to 1"]);

        let (mut world, own) = five();
        let recover = Some(Since { offset, epoch: epoch.unwrap_or(&own) });
        let strict = SubscribeRequest { recover, recoverable: true, reject_unrecovered: true, ..Default::default() };
        let result = world.subscribe_with(KEYS[0], "news", strict);
        let expected = if recovered.is_some() { Ok(answer) } else { Err(PushError::UnrecoverablePosition) };
        assert_eq!(result, expected, "{offset} {epoch:?}");
        assert_eq!(world.hub.is_subscribed(KEYS[0], "news"), recovered.is_some());
    }
}

#[test]
fn recovery_of_a_channel_without_a_stream_is_from_its_beginning() {
    let mut world = World::new(config(options())).with_sessions();
    let answer = world.recover(KEYS[0], "news", 0, "");
    assert!(answer.recovered);
    let start = answer.position.unwrap();
    assert_eq!(start.offset, 0);
    // The channel comes and goes; as nothing was published, nothing is missing.
    world.hub.unsubscribe(KEYS[0], "news", world.now, &mut world.effects);
    assert_eq!(world.hub.counts().channels, 0);
    assert!(world.recover(KEYS[0], "news", 0, &start.epoch).recovered);
    assert!(!world.recover(KEYS[1], "news", 1, &start.epoch).recovered);
    world.publish("news", "1");
    let answer = world.recover(KEYS[2], "news", 0, &start.epoch);
    assert_eq!((answer.recovered, texts(&answer.publications)), (true, "1=1".to_owned()));
}

#[test]
fn more_bytes_than_the_limit_are_not_recovered_at_all() {
    for (limit, since, recovered) in [(6, 0, Some("1=aa 2=bb 3=cc")), (5, 0, None), (5, 1, Some("2=bb 3=cc"))] {
        let mut config = config(options());
        config.limits.recovery_bytes = limit;
        let mut world = World::new(config).with_sessions();
        for data in ["aa", "bb", "cc"] {
            world.publish("news", data);
        }
        let answer = world.recover(KEYS[0], "news", since, "");
        assert_eq!(answer.recovered.then(|| texts(&answer.publications)).as_deref(), recovered, "{limit} {since}");
    }
}

#[test]
fn more_than_the_limit_is_not_recovered_at_all() {
    for (limit, recovered) in [(3, true), (2, false), (0, false)] {
        let mut config = config(options());
        config.limits.recovery_publications = limit;
        let mut world = World::new(config).with_sessions();
        for number in 1..=3 {
            world.publish("news", &number.to_string());
        }
        assert_eq!(world.recover(KEYS[0], "news", 0, "").recovered, recovered, "{limit}");
    }
}

#[test]
fn a_history_of_more_bytes_than_the_limit_is_read_in_parts() {
    for (limit, read) in [(18, 3), (17, 2), (12, 2), (11, 1), (0, 1)] {
        let mut config = config(options());
        config.limits.history_bytes = limit;
        let mut world = World::new(config);
        for _ in 0..3 {
            world.publish("news", "123456");
        }
        for (reverse, offsets) in [(false, [1, 2, 3]), (true, [3, 2, 1])] {
            let request = HistoryRequest { limit: 10, since: None, reverse };
            let history = world.hub.history("news", request, world.now).unwrap();
            let found: Vec<_> = history.publications.iter().map(|it| it.offset).collect();
            assert_eq!((found.as_slice(), history.position.offset), (&offsets[..read], 3), "{limit}");
        }
    }
}

#[test]
fn a_recovery_has_no_more_room_than_is_left_for_it() {
    for (limit, left, recovered) in
        [(18, None, true), (20, Some(18), true), (20, Some(17), false), (17, Some(18), false), (18, Some(0), false)]
    {
        let mut config = config(options());
        config.limits.recovery_bytes = limit;
        let mut world = World::new(config).with_sessions();
        for _ in 0..3 {
            world.publish("news", "123456");
        }
        let recover = Some(Since { offset: 0, epoch: "" });
        let request =
            SubscribeRequest { recover, recoverable: true, recovery_bytes: left, ..SubscribeRequest::default() };
        let answer = world.subscribe_with(KEYS[0], "news", request).unwrap();
        assert_eq!(
            (answer.recovered, answer.publications.len()),
            (recovered, if recovered { 3 } else { 0 }),
            "{limit}"
        );
        // Who has all of it needs no room for that.
        let recover = Some(Since { offset: 3, epoch: "" });
        assert!(world.subscribe_with(KEYS[1], "news", SubscribeRequest { recover, ..request }).unwrap().recovered);
    }
}

#[test]
fn what_a_subscription_keeps_is_by_option_request_and_grant() {
    let recovering = Since { offset: 0, epoch: "" };
    let grant = |force_positioning, force_recovery| SubscriptionGrant {
        force_positioning,
        force_recovery,
        ..SubscriptionGrant::default()
    };
    // History; forced by option; asked for; granted; then: positioned, recoverable, recovered. First positioning, then recovery.
    let rows = [
        (true, (false, false), (false, false), grant(None, None), (false, false, false)),
        (true, (true, false), (false, false), grant(None, None), (true, false, false)),
        (true, (false, true), (false, false), grant(None, None), (true, true, true)),
        (true, (false, false), (true, false), grant(None, None), (true, false, false)),
        (true, (false, false), (false, true), grant(None, None), (true, true, true)),
        (true, (false, false), (false, false), grant(Some(true), None), (true, false, false)),
        (true, (false, false), (false, false), grant(None, Some(true)), (true, true, true)),
        (true, (true, true), (false, false), grant(Some(false), Some(false)), (false, false, false)),
        (false, (true, true), (true, true), grant(Some(true), Some(true)), (false, false, false)),
    ];
    for (row, (has_history, forced, asked, grant, expected)) in rows.into_iter().enumerate() {
        let mut world = World::new(config(ChannelOptions {
            history_size: usize::from(has_history),
            force_positioning: forced.0,
            force_recovery: forced.1,
            ..options()
        }));
        world = world.with_sessions();
        let request = SubscribeRequest {
            recover: Some(recovering),
            positioned: asked.0,
            recoverable: asked.1,
            ..SubscribeRequest::default()
        };
        let answer = world.grant(KEYS[0], "news", grant, request).unwrap();
        assert_eq!((answer.positioned, answer.recoverable, answer.recovered), expected, "row {row}");
        assert_eq!(answer.position.is_some(), answer.positioned, "row {row}");
        assert!(answer.was_recovering, "what was asked for and did not happen is told");
    }
}

#[test]
fn a_cache_recovers_the_latest_alone() {
    let cache = ChannelOptions { recovery_mode: RecoveryMode::Cache, ..options() };
    let mut world = World::new(config(cache)).with_sessions();
    let answer = world.recover(KEYS[0], "news", 0, "");
    assert_eq!((answer.recovered, answer.publications.len()), (false, 0), "there is no state yet");
    for number in 1..=5 {
        world.publish("news", &number.to_string());
    }
    let epoch = answer.position.unwrap().epoch;
    for (offset, epoch, expected) in [(0, "", "5=5"), (1, &*epoch, "5=5"), (5, &*epoch, ""), (5, "other", "5=5")] {
        let answer = world.recover(KEYS[1], "news", offset, epoch);
        assert_eq!((answer.recovered, texts(&answer.publications).as_str()), (true, expected), "{offset} {epoch}");
        assert_eq!(answer.position.map(|position| position.offset), Some(5));
        world.hub.unsubscribe(KEYS[1], "news", world.now, &mut world.effects);
    }
    world.wait(1_000);
    let answer = world.recover(KEYS[1], "news", 1, &epoch);
    assert_eq!((answer.recovered, answer.publications.len()), (false, 0), "it is too old");
}

#[test]
fn history_is_read_forwards_and_backwards() {
    let (mut world, own) = five();
    let since = |offset| Some(Since { offset, epoch: &own });
    let all = usize::MAX;
    let rows = [
        (0, None, false, ""),
        (all, None, false, "3=3 4=4 5=5"),
        (2, None, false, "3=3 4=4"),
        (all, None, true, "5=5 4=4 3=3"),
        (2, None, true, "5=5 4=4"),
        (all, since(0), false, "3=3 4=4 5=5"),
        (all, since(2), false, "3=3 4=4 5=5"),
        (all, since(3), false, "4=4 5=5"),
        (1, since(3), false, "4=4"),
        (all, since(5), false, ""),
        (all, since(9), false, ""),
        (all, since(5), true, "4=4 3=3"),
        (1, since(5), true, "4=4"),
        (all, since(3), true, ""),
        (all, since(4), true, "3=3"),
        (all, since(6), true, "5=5 4=4 3=3"),
        (all, since(u64::MAX), true, "5=5 4=4 3=3"),
        (all, since(0), true, ""),
        (all, Some(Since { offset: 3, epoch: "" }), false, "4=4 5=5"),
    ];
    for (limit, since, reverse, expected) in rows {
        let request = HistoryRequest { limit, since, reverse };
        let History { publications, position } = world.hub.history("news", request, world.now).unwrap();
        assert_eq!((texts(&publications).as_str(), position.offset), (expected, 5), "{request:?}");
    }
    let other = HistoryRequest { since: Some(Since { offset: 5, epoch: "other" }), ..HistoryRequest::default() };
    let mut refused = |channel, request| world.hub.history(channel, request, world.now).unwrap_err();
    assert_eq!(refused("news", other), PushError::UnrecoverablePosition);
    assert_eq!(refused("chat:a", HistoryRequest::default()), PushError::UnknownChannel);
    world.hub.configure(config(ChannelOptions::default()), world.now, &mut world.effects);
    assert_eq!(world.history("news"), "108: not available");
}

#[test]
fn a_history_has_a_size_and_a_time() {
    let mut world = World::new(config(options())).with_sessions();
    world.publish("news", "1");
    world.wait(600);
    world.publish("news", "2");
    world.wait(399);
    assert_eq!(world.history("news"), "1 2 @ E1/2");
    // Too old is too old, whether or not `tick` has been there.
    world.now = world.now.plus(1);
    assert_eq!(world.history("news"), "2 @ E1/2");
    world.now = world.now.plus(599);
    assert_eq!(world.history("news"), "2 @ E1/2");
    world.now = world.now.plus(1);
    let answer = world.recover(KEYS[0], "news", 1, "");
    assert!(!answer.recovered, "2 has gone meanwhile");
    assert_eq!(world.history("news"), " @ E1/2");
    assert!(world.recover(KEYS[1], "news", 2, "").recovered);
}

#[test]
fn a_schedule_lets_go_of_what_nobody_asks_for() {
    let mut world = World::new(config(options()));
    for channel in 0..100 {
        world.publish(&format!("channel{channel}"), "12345");
        world.now = world.now.plus(10);
    }
    let counts = world.hub.counts();
    assert_eq!((counts.channels, counts.publications, counts.publication_bytes), (100, 100, 500));
    assert_eq!(world.hub.next_due(), Some(Time(11_000)));
    world.wait(0);
    assert_eq!(world.hub.counts().publications, 99);
    world.wait(500);
    assert_eq!(world.hub.counts().publications, 49);
    // 5 s after the last publication, streams are forgotten.
    world.now = Time(14_999);
    world.wait(0);
    assert_eq!((world.hub.counts().channels, world.hub.counts().publications), (100, 0));
    assert_eq!(world.hub.next_due(), Some(Time(15_000)));
    world.wait(1);
    assert_eq!(world.hub.counts().channels, 99);
    world.wait(990);
    assert_eq!((world.hub.counts().channels, world.hub.next_due()), (0, None));
}

#[test]
fn a_forgotten_stream_is_not_mistaken_for_the_one_that_follows() {
    let (mut world, epoch) = five();
    world.subscribe(KEYS[1], "other");
    world.wait(5_000);
    for _ in 1..=5 {
        world.publish("news", "new");
    }
    assert_eq!(world.history("news"), "new new new @ E2/5");
    assert!(!world.recover(KEYS[0], "news", 5, &epoch).recovered);
}

#[test]
fn a_stream_lives_while_somebody_listens() {
    let (mut world, epoch) = five();
    assert!(world.recover(KEYS[0], "news", 5, &epoch).recovered);
    world.wait(1_000_000);
    world.publish("news", "6");
    assert_eq!(world.told(), ["news 6=6 to 1"]);
    world.wait(1_000_000);
    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    assert_eq!(world.hub.counts().channels, 0, "its time was over long ago");
}

#[test]
fn a_removed_history_keeps_its_position() {
    let (mut world, epoch) = five();
    world.hub.remove_history("news", world.now, &mut world.effects).unwrap();
    world.hub.remove_history("none", world.now, &mut world.effects).unwrap();
    assert_eq!(world.history("news"), " @ E1/5");
    assert_eq!((world.hub.counts().publications, world.hub.counts().publication_bytes), (0, 0));
    assert!(!world.recover(KEYS[0], "news", 4, &epoch).recovered);
    assert!(world.recover(KEYS[1], "news", 5, &epoch).recovered);
    world.publish("news", "6");
    assert_eq!(world.history("news"), "6 @ E1/6");
    assert_eq!(world.told(), ["news 6=6 to 1,2"]);
    let remove = |world: &mut World, channel| world.hub.remove_history(channel, world.now, &mut world.effects);
    assert_eq!(remove(&mut world, "chat:a"), Err(PushError::UnknownChannel));
    let mut world = World::new(config(ChannelOptions::default()));
    assert_eq!(remove(&mut world, "news"), Err(PushError::NotAvailable));
}

#[test]
fn what_skips_the_history_has_no_offset() {
    let (mut world, _) = five();
    world.subscribe(KEYS[0], "news");
    let past = PublishRequest { skip_history: true, ..request("6", None) };
    let published = world.hub.publish("news", past, world.now, &mut world.effects).unwrap();
    assert_eq!(published, Published::Now(Position { offset: 0, epoch: "".into() }));
    assert_eq!(world.told(), ["news 0=6 to 1"]);
    assert_eq!(world.history("news"), "3 4 5 @ E1/5");
}

#[test]
fn a_key_publishes_once() {
    for options in [options(), ChannelOptions::default()] {
        let mut config = config(options);
        config.limits.idempotency_ttl = 500;
        let mut world = World::new(config).with_sessions();
        world.subscribe(KEYS[0], "news");
        let first = world.publish_with("news", "1", Some("key")).unwrap();
        world.wait(499);
        assert_eq!(world.publish_with("news", "2", Some("key")), Ok(first.clone()));
        assert_eq!(world.told().len(), 1);
        world.publish_with("news", "2", Some("other")).unwrap();
        world.publish_with("sport", "2", Some("key")).unwrap();
        assert_eq!(world.told().len(), 1, "another key, and another channel");
        // Its time is over, whether or not `tick` has been there.
        world.now = world.now.plus(1);
        assert_eq!(world.publish_with("news", "3", Some("key")) == Ok(first), !options.has_history());
        assert_eq!(world.told().len(), 1);
        world.wait(1_000);
        assert!(world.hub.next_due().is_none() || options.has_history());
    }
}

#[test]
fn streams_keep_to_a_new_configuration() {
    let (mut world, epoch) = five();
    let change = |world: &mut World, plain| world.hub.configure(config(plain), world.now, &mut world.effects);
    change(&mut world, ChannelOptions { history_size: 2, ..options() });
    assert_eq!(world.history("news"), "4 5 @ E1/5");
    change(&mut world, ChannelOptions { history_size: 9, history_ttl: 2_000, ..options() });
    world.wait(1_999);
    assert_eq!(world.history("news"), "4 5 @ E1/5");
    assert!(world.recover(KEYS[0], "news", 4, &epoch).recovered);
    world.subscribe(KEYS[1], "news");
    world.told();
    // Without a history there are no positions, and who has one is told.
    change(&mut world, ChannelOptions::default());
    assert_eq!(world.told(), ["unsubscribed news 1 2500"]);
    world.publish("news", "6");
    assert_eq!(world.told(), ["news 0=6 to 2"]);
    change(&mut world, options());
    assert!(!world.recover(KEYS[0], "news", 5, &epoch).recovered, "6 was missed");
    assert!(!world.recover(KEYS[0], "sport", 0, &epoch).recovered, "and so might have been the first here");
}
