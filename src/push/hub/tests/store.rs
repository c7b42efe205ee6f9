//! What is given to the store, what waits for it, and what a restart brings back.

use super::*;

/// Durable, two kept, keys remembered for 500 ms.
fn durable() -> HubConfig {
    let mut config = stored(ChannelOptions { history_size: 2, ..options() });
    config.limits.idempotency_ttl = 500;
    config
}

fn volatile() -> HubConfig {
    let mut config = durable();
    config.namespaces.plain.durable = false;
    config
}

/// A hub whose epochs, records 1 and 2, are on disk.
fn begun(config: HubConfig) -> World {
    let mut world = World::new(config).with_sessions();
    assert_eq!(world.told(), ["store 1 durable E1/", "store 2 volatile E2/"]);
    world.committed(2);
    assert!(world.told().is_empty());
    world
}

#[test]
fn without_a_store_nothing_is_stored() {
    let mut world = World::new(config(options())).with_sessions();
    for number in 1..=5 {
        assert!(matches!(world.publish("news", &number.to_string()), Published::Now(_)));
    }
    world.hub.remove_history("news", world.now, &mut world.effects).unwrap();
    world.wait(1_000_000);
    assert!(world.told().is_empty());
}

#[test]
fn a_durable_publication_is_seen_once_it_is_stored() {
    let mut world = begun(durable());
    world.subscribe(KEYS[0], "news");
    assert_eq!(world.publish("news", "1"), Published::Later(crate::push::Ticket(3)));
    assert_eq!(world.publish("news", "2"), Published::Later(crate::push::Ticket(4)));
    assert_eq!(world.told(), ["store 3 news E1/1=1", "store 4 news E1/2=2"]);
    assert_eq!((world.history("news"), world.hub.counts().waiting), (" @ E1/0".to_owned(), 2));
    // Who comes now has not missed what nobody has seen.
    let answer = world.recover(KEYS[1], "news", 0, "");
    assert_eq!((answer.recovered, answer.publications.len()), (true, 0));
    world.committed(3);
    assert_eq!(world.told(), ["news 1=1 to 1,2", "ack 3 E1/1"]);
    assert_eq!(world.history("news"), "1 @ E1/1");
    world.committed(3);
    assert!(world.told().is_empty());
    world.publish("news", "3");
    world.committed(5);
    assert_eq!(
        world.told(),
        ["store 5 news E1/3=3", "news 2=2 to 1,2", "ack 4 E1/2", "news 3=3 to 1,2", "ack 5 E1/3", "forget 3"]
    );
    assert_eq!((world.history("news"), world.hub.counts().waiting), ("2 3 @ E1/3".to_owned(), 0));
}

#[test]
fn what_could_not_be_stored_was_never_published() {
    let mut world = begun(durable());
    world.subscribe(KEYS[0], "news");
    for (text, key) in [("1", "a"), ("2", "b"), ("3", "c")] {
        world.publish_with("news", text, Some(key)).unwrap();
    }
    world.told();
    assert_eq!(world.publish_with("news", "2", Some("b")), Ok(Published::Later(crate::push::Ticket(4))));
    world.committed(3);
    assert_eq!(world.told(), ["news 1=1 to 1", "ack 3 E1/1"]);
    world.failed(4);
    assert_eq!(world.told(), ["refused 4 100", "refused 5 100"]);
    assert_eq!((world.history("news"), world.hub.counts().waiting), ("1 @ E1/1".to_owned(), 0));
    // The offset is free, the key may try again, and a number is left out.
    assert_eq!(world.publish_with("news", "2", Some("b")), Ok(Published::Later(crate::push::Ticket(7))));
    assert_eq!(
        world.publish_with("news", "1", Some("a")),
        Ok(Published::Now(Position { offset: 1, epoch: world.epochs[0].as_str().into() }))
    );
    world.committed(7);
    assert_eq!(world.told(), ["store 7 news E1/2=2", "news 2=2 to 1", "ack 7 E1/2"]);
}

#[test]
fn only_so_much_waits_for_the_store() {
    let mut config = durable();
    config.limits.waiting = 2;
    let mut world = begun(config);
    world.publish("news", "1");
    world.publish("sport", "1");
    assert_eq!(world.publish_with("news", "2", None), Err(PushError::Internal));
    assert_eq!(world.publish_with("arts", "2", Some("key")), Err(PushError::Internal));
    assert_eq!(world.hub.counts().channels, 2);
    world.told();
    world.committed(3);
    world.publish_with("arts", "2", Some("key")).unwrap();
    assert_eq!(world.hub.counts().waiting, 2);
}

#[test]
fn a_volatile_publication_does_not_wait() {
    let mut world = begun(volatile());
    world.subscribe(KEYS[0], "news");
    for number in 1..=3 {
        world.publish("news", &number.to_string());
    }
    let told = ["store 3 news E2/1=1", "news 1=1 to 1", "store 4 news E2/2=2", "news 2=2 to 1"];
    assert_eq!(world.told(), [&told[..], &["store 5 news E2/3=3", "news 3=3 to 1", "forget 3"]].concat());
    world.committed(5);
    world.failed(6);
    assert!(world.told().is_empty());
}

#[test]
fn a_restart_brings_back_streams_and_positions() {
    for (config, epoch) in [(durable(), "E1"), (volatile(), "E2")] {
        let mut world = begun(config.clone());
        for number in 1..=3 {
            world.publish("news", &number.to_string());
        }
        world.committed(5);
        world = world.restart(config.clone(), true).with_sessions();
        assert_eq!(world.history("news"), format!("2 3 @ {epoch}/3"));
        assert_eq!(world.history("other"), format!(" @ {epoch}/0"), "empty streams keep their epoch, too");
        assert!(world.told().is_empty());
        // What has become too old while it was down is forgotten, except for the newest.
        world.now = world.now.plus(1_000);
        world = world.restart(config.clone(), true).with_sessions();
        assert_eq!(world.told(), ["forget 4"]);
        assert_eq!(world.history("news"), format!(" @ {epoch}/3"));
        world.publish("news", "4");
        world.committed(6);
        let told = world.told();
        assert!(told.contains(&"forget 5".to_owned()), "the next takes its place: {told:?}");
        // And all of it once the stream is forgotten.
        world.wait(5_000);
        world.committed(8);
        assert_eq!(world.hub.counts().channels, 0);
        world.told();
        assert_eq!(world.disk.len(), 2, "{:?}", world.disk);
        world = world.restart(config, true);
        assert_eq!(world.history("news"), " @ E3/0");
    }
}

#[test]
fn after_a_crash_durable_streams_go_on_and_others_begin_a_new_epoch() {
    let mut config = durable();
    config.namespaces.named.insert("fast".to_owned(), volatile().namespaces.plain);
    let mut world = begun(config.clone());
    for channel in ["news", "fast:news"] {
        world.publish(channel, "1");
        world.publish(channel, "2");
        world.publish(channel, "3");
    }
    world.committed(8);
    assert_eq!((world.history("news"), world.history("fast:news")), ("2 3 @ E1/3".to_owned(), "2 3 @ E2/3".to_owned()));
    world.told();
    world = world.restart(config.clone(), false);
    assert_eq!(world.told(), ["store 9 volatile E3/", "store 10 reset fast:news E3/1"]);
    assert_eq!((world.history("news"), world.history("fast:news")), ("2 3 @ E1/3".to_owned(), "2 3 @ E3/3".to_owned()));
    assert_eq!((world.history("x"), world.history("fast:x")), (" @ E1/0".to_owned(), " @ E3/0".to_owned()));
    // The crash may come again before anything of this is stored, or after.
    let mut again = world.restart(config.clone(), false);
    assert_eq!(again.told(), ["store 11 volatile E4/", "store 12 reset fast:news E4/1", "forget 2"]);
    again.committed(12);
    assert_eq!(again.told(), ["forget 9,10"]);
    again.publish("fast:news", "4");
    again.publish("fast:news", "5");
    again.told();
    again = again.restart(config, true);
    assert_eq!(again.history("fast:news"), "4 5 @ E4/5");
}

#[test]
fn keys_survive_a_restart_even_if_their_publication_is_gone() {
    let mut world = begun(durable());
    world.publish_with("news", "1", Some("a")).unwrap();
    for _ in 0..3 {
        world.publish("news", "2");
    }
    world.committed(6);
    world.told();
    world.now = world.now.plus(499);
    world = world.restart(durable(), false).with_sessions();
    assert_eq!(world.history("news"), "2 2 @ E1/4");
    let first = Published::Now(Position { offset: 1, epoch: world.epochs[0].as_str().into() });
    assert_eq!(world.publish_with("news", "1", Some("a")), Ok(first.clone()));
    world.wait(1);
    assert_eq!(world.seen(), Vec::<String>::new());
    assert_ne!(world.publish_with("news", "1", Some("a")), Ok(first), "its time is over");
    assert!(!world.disk.contains_key(&Sequence(3)));
}

#[test]
fn a_removed_history_stays_removed() {
    let mut world = begun(durable());
    world.publish("news", "1");
    world.publish("news", "2");
    world.committed(4);
    world.publish("news", "3");
    world.told();
    world.hub.remove_history("news", world.now, &mut world.effects).unwrap();
    assert_eq!(world.told(), ["store 6 reset news E1/2"], "what is removed stays on disk until this is there");
    assert_eq!(world.history("news"), " @ E1/2");
    // 3 was on its way before, and is not among what was removed.
    world.committed(6);
    assert_eq!(world.told(), ["ack 5 E1/3", "forget 3,4"]);
    assert_eq!(world.history("news"), "3 @ E1/3");
    world = world.restart(durable(), true);
    assert_eq!(world.history("news"), "3 @ E1/3");
    for number in 4..=5 {
        world.publish("news", &number.to_string());
    }
    world.committed(8);
    assert_eq!(world.told().last().unwrap(), "forget 5,6", "the reset has done its work");
}

#[test]
fn what_a_reset_stands_for_stays_until_that_is_on_disk() {
    let mut world = begun(durable());
    world.publish_with("news", "1", Some("key")).unwrap();
    world.committed(3);
    world.hub.remove_history("news", world.now, &mut world.effects).unwrap();
    world.told();
    // The key's time is over, and nothing else holds the record but that the reset is on its way.
    world.wait(500);
    assert!(world.told().is_empty());
    world.committed(4);
    assert_eq!(world.told(), ["forget 3"]);
}

#[test]
fn what_has_to_be_stored_is_written_again_after_a_failure() {
    let mut world = begun(durable());
    world.publish("news", "1");
    world.committed(3);
    world.hub.remove_history("news", world.now, &mut world.effects).unwrap();
    world.told();
    world.failed(4);
    world.publish("sport", "1");
    assert_eq!(world.told(), ["store 6 reset news E1/1", "store 7 sport E1/1=1"]);
    world.failed(6);
    world.publish("sport", "1");
    world.committed(10);
    let told = ["refused 7 100", "store 9 reset news E1/1", "store 10 sport E1/1=1", "ack 10 E1/1", "forget 3"];
    assert_eq!(world.told(), told);

    // What is over by then is not. First the epoch goes, with "news", then "sport" goes without a word.
    world.wait(4_500);
    world.publish("sport", "2");
    world.committed(11);
    world.wait(500);
    world.committed(12);
    world.hub.remove_history("sport", world.now, &mut world.effects).unwrap();
    world.failed(13);
    world.wait(5_000);
    world.told();
    world.publish("arts", "1");
    world.committed(15);
    assert_eq!(world.told(), ["store 15 arts E3/1=1", "forget 11", "ack 15 E3/1"]);
    let failed = [4, 6, 7, 13];
    let left: Vec<_> = world.disk.keys().map(|sequence| sequence.0).filter(|it| !failed.contains(it)).collect();
    assert_eq!(left, [2, 12, 15]);
}

#[test]
fn records_that_contradict_each_other_make_no_gaps() {
    let publication = |sequence, epoch: &str, offset, text: &str| Record {
        sequence: Sequence(sequence),
        body: RecordBody::Publication {
            channel: "news".into(),
            epoch: epoch.into(),
            publication: std::sync::Arc::new(crate::push::Publication {
                offset,
                data: Data::json(text),
                info: None,
                tags: BTreeMap::new(),
                time: Time(9_500),
            }),
            idempotency_key: None,
        },
    };
    let reset = |sequence, epoch: &str, offset| Record {
        sequence: Sequence(sequence),
        body: RecordBody::Reset { channel: "news".into(), epoch: epoch.into(), offset, time: Time(9_500) },
    };
    let wide = || stored(ChannelOptions { history_size: 100, ..options() });
    let rows = [
        ("a gap", vec![publication(1, "d1", 1, "1"), publication(2, "d1", 3, "3")], "3 @ E1/3", vec![1]),
        ("twice", vec![publication(1, "d1", 1, "1"), publication(2, "d1", 1, "2")], "2 @ E1/1", vec![1]),
        (
            "back",
            vec![publication(1, "d1", 5, "5"), publication(2, "d1", 6, "6"), publication(3, "d1", 5, "7")],
            "7 @ E1/5",
            vec![1, 2],
        ),
        ("another epoch", vec![publication(1, "d1", 1, "1"), publication(2, "d2", 2, "2")], "2 @ E1/2", vec![1]),
        ("reset", vec![publication(1, "d1", 1, "1"), reset(2, "d1", 1)], " @ E1/1", vec![1]),
        (
            "reset of a part",
            vec![publication(1, "d1", 1, "1"), publication(2, "d1", 2, "2"), reset(3, "d1", 1)],
            "2 @ E1/2",
            vec![1],
        ),
        ("reset to another", vec![publication(1, "d1", 1, "1"), reset(2, "d2", 0)], "1 @ E1/1", vec![]),
        ("reset alone", vec![reset(1, "d1", 7)], " @ E1/7", vec![]),
        ("after a reset", vec![reset(1, "d1", 7), publication(2, "d1", 8, "8")], "8 @ E1/8", vec![1]),
        ("resets", vec![reset(1, "d1", 7), reset(2, "d1", 8)], " @ E1/8", vec![1]),
    ];
    for (case, records, history, forgotten) in rows {
        let restored = Restored { records, last: Sequence(9), clean: true };
        let mut world = World::restored(wide(), restored, 1, Time(10_000));
        assert_eq!(world.history("news"), history, "{case}");
        world.effects.retain(|effect| matches!(effect, Effect::Forget(_)));
        let told = world.told();
        let gone: Vec<_> = forgotten.iter().map(ToString::to_string).collect();
        let expected: Vec<_> = (!gone.is_empty()).then(|| format!("forget {}", gone.join(","))).into_iter().collect();
        assert_eq!(told, expected, "{case}");
    }
}

#[test]
fn a_clock_that_was_ahead_does_not_keep_things_for_ever() {
    let mut world = begun(durable());
    world.publish_with("news", "1", Some("key")).unwrap();
    world.committed(3);
    world.told();
    world.now = Time(5_000);
    world = world.restart(durable(), true).with_sessions();
    assert_eq!(world.history("news"), "1 @ E1/1");
    world.wait(999);
    assert_eq!(world.history("news"), "1 @ E1/1");
    world.wait(1);
    assert_eq!(world.history("news"), " @ E1/1");
}

#[test]
fn a_namespace_that_is_gone_by_mistake_costs_nothing_yet() {
    let mut with_chat = durable();
    with_chat.namespaces.named.insert("chat".to_owned(), durable().namespaces.plain);
    let mut world = begun(with_chat.clone());
    world.publish("chat:a", "1");
    world.committed(3);
    world.hub.configure(durable(), world.now, &mut world.effects);
    assert_eq!(world.history("chat:a"), "102: unknown channel");
    world.told();
    world = world.restart(durable(), true);
    world.hub.configure(with_chat.clone(), world.now, &mut world.effects);
    assert_eq!(world.history("chat:a"), "1 @ E1/1");
    // But not for ever.
    world.hub.configure(durable(), world.now, &mut world.effects);
    world.wait(30 * 24 * 3600 * 1000);
    world.committed(100);
    world.told();
    assert!(!world.disk.contains_key(&Sequence(3)));
}

#[test]
fn a_history_that_is_switched_off_is_forgotten() {
    let mut world = begun(durable());
    world.publish("news", "1");
    world.publish("news", "2");
    world.committed(3);
    world.told();
    let off = stored(ChannelOptions { history_size: 0, ..options() });
    world.hub.configure(off.clone(), world.now, &mut world.effects);
    // Nothing begins with the epochs of those who count, and what waits is not left behind.
    assert_eq!(world.told(), ["store 5 durable E3/", "store 6 volatile E4/"]);
    assert_eq!(world.publish("news", "3"), Published::Later(crate::push::Ticket(7)));
    world.committed(6);
    world.committed(7);
    assert_eq!(world.told(), ["store 7 news E1/3=3", "ack 4 E1/2", "forget 1,2,3", "ack 7 E1/3", "forget 4,7"]);
    assert_eq!(world.publish("news", "4"), Published::Now(Position { offset: 0, epoch: "".into() }));
    // And what was published then is missing where it is kept again.
    world.hub.configure(durable(), world.now, &mut world.effects);
    assert_eq!(world.history("news"), " @ E5/0");
    world = world.restart(durable(), true);
    assert_eq!(world.history("news"), " @ E5/0");
}

#[test]
fn what_was_published_while_no_history_was_kept_is_missing_after_a_restart_too() {
    let off = stored(ChannelOptions { history_size: 0, ..options() });
    for (between, recovered) in [(durable(), true), (off, false)] {
        let mut world = begun(durable());
        let begin = world.subscribe_with(KEYS[0], "news", SubscribeRequest { positioned: true, ..Default::default() });
        let epoch = begin.unwrap().position.unwrap().epoch;
        world = world.restart(between, true);
        if !recovered {
            assert!(matches!(world.publish("news", "1"), Published::Now(_)), "nobody counts it");
        }
        world = world.restart(durable(), true).with_sessions();
        assert_eq!(world.recover(KEYS[0], "news", 0, &epoch).recovered, recovered);
    }
}

#[test]
fn a_stream_is_durable_until_a_restart() {
    let mut world = begun(durable());
    world.publish("news", "1");
    world.committed(3);
    world.told();
    world.hub.configure(volatile(), world.now, &mut world.effects);
    assert_eq!(world.publish("news", "2"), Published::Later(crate::push::Ticket(4)));
    assert!(matches!(world.publish("sport", "1"), Published::Now(_)), "a stream that begins now is not");
    world.committed(5);
    world = world.restart(volatile(), true);
    assert_eq!(world.told(), ["store 6 durable E3/", "store 7 reset news E2/0"]);
    assert_eq!((world.history("news"), world.history("sport")), ("1 2 @ E2/2".to_owned(), "1 @ E2/1".to_owned()));
    assert!(matches!(world.publish("news", "3"), Published::Now(_)));
}

#[test]
fn a_stream_becomes_durable_by_a_crash() {
    let mut world = begun(volatile());
    world.publish("news", "1");
    world.committed(3);
    world.hub.configure(durable(), world.now, &mut world.effects);
    assert_eq!(world.publish("news", "2"), Published::Later(crate::push::Ticket(4)));
    world.committed(4);
    world = world.restart(durable(), true);
    assert_eq!(world.history("news"), "1 2 @ E2/2");
    world = world.restart(durable(), false);
    assert_eq!(world.history("news"), "1 2 @ E1/2");
}
