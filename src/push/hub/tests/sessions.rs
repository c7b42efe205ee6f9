//! Sessions, users, groups, and messages to them.

use super::*;
use crate::push::{Access, Decision, Disconnect, Target};

#[test]
fn a_user_has_as_many_connections_as_they_may() {
    let mut config = config(options());
    config.limits.connections_per_user = Some(2);
    let mut world = World::new(config).with_sessions();
    assert_eq!(world.connect(SessionKey(5), "ann"), Err(Disconnect::CONNECTION_LIMIT));
    assert_eq!(world.connect(SessionKey(5), "bob"), Ok(()));
    for key in 6..10 {
        assert_eq!(world.connect(SessionKey(key), ""), Ok(()), "anonymous ones are not counted");
    }
    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    assert_eq!(world.connect(SessionKey(10), "ann"), Ok(()));
    assert_eq!(world.connect(SessionKey(10), "carl"), Err(Disconnect::BAD_REQUEST), "the key is in use");
}

#[test]
fn users_and_clients_are_found_while_they_are_connected() {
    let mut world = World::new(config(options())).with_sessions();
    assert_eq!(world.hub.sessions_of("ann"), KEYS[..2]);
    assert_eq!(world.hub.sessions_of(""), []);
    assert_eq!(world.hub.session_of(ClientId(3)), Some(KEYS[2]));
    let mut users: Vec<_> = world.hub.users().collect();
    users.sort_unstable();
    assert_eq!(users, [("ann", 2), ("bob", 1)]);
    assert_eq!(world.hub.identity(KEYS[2]).map(|it| it.user.as_ref()), Some("bob"));

    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    world.hub.disconnect(KEYS[0], world.now, &mut world.effects);
    assert_eq!(world.hub.sessions_of("ann"), KEYS[1..2]);
    world.hub.disconnect(KEYS[1], world.now, &mut world.effects);
    assert_eq!(world.hub.sessions_of("ann"), []);
    assert_eq!((world.hub.session_of(ClientId(1)), world.hub.session_of(ClientId(2))), (None, None));
    assert_eq!((world.hub.counts().sessions, world.hub.counts().users), (2, 1));
    assert_eq!(world.hub.decide(KEYS[0], "news", Access::Publish), Decision::Deny(PushError::Unauthorized));
}

#[test]
fn messages_go_to_whom_they_are_meant_for() {
    let mut world = World::new(config(options())).with_sessions();
    for key in [KEYS[0], KEYS[2], KEYS[3]] {
        world.hub.join_group(key, "room").unwrap();
        world.hub.join_group(key, "room").unwrap();
    }
    let rows = [
        (Target::Client(ClientId(3)), None, "3"),
        (Target::Client(ClientId(3)), Some(3), ""),
        (Target::Client(ClientId(9)), None, ""),
        (Target::User("ann"), None, "1,2"),
        (Target::User("ann"), Some(1), "2"),
        (Target::User(""), None, ""),
        (Target::User("carl"), None, ""),
        (Target::Group("room"), None, "1,3,4"),
        (Target::Group("room"), Some(3), "1,4"),
        (Target::Group("hall"), None, ""),
        (Target::All, None, "1,2,3,4"),
        (Target::All, Some(4), "1,2,3"),
        (Target::All, Some(9), "1,2,3,4"),
    ];
    for (target, except, to) in rows {
        let sent = world.hub.send(target, except.map(ClientId), Data::json("1"), &mut world.effects);
        let expected: Vec<_> = (!to.is_empty()).then(|| format!("message 1 to {to}")).into_iter().collect();
        assert_eq!((world.told(), sent), (expected, to.split_terminator(',').count()), "{target:?} except {except:?}");
    }
}

#[test]
fn groups_lose_who_leaves_and_who_is_gone() {
    let mut world = World::new(config(options())).with_sessions();
    for key in KEYS {
        world.hub.join_group(key, "room").unwrap();
    }
    assert!(world.hub.leave_group(KEYS[0], "room"));
    assert!(!world.hub.leave_group(KEYS[0], "room"));
    assert!(!world.hub.leave_group(KEYS[0], "hall"));
    world.hub.disconnect(KEYS[3], world.now, &mut world.effects);
    let mut members = world.hub.members("room");
    members.sort_unstable();
    assert_eq!(members, KEYS[1..3]);
    world.hub.disconnect(KEYS[1], world.now, &mut world.effects);
    assert!(world.hub.leave_group(KEYS[2], "room"));
    assert_eq!(world.hub.members("room"), []);
}

#[test]
fn groups_have_names_and_limits() {
    let mut config = config(options());
    config.limits.groups_per_client = 2;
    let mut world = World::new(config).with_sessions();
    let rows = [
        (KEYS[0], "a".to_owned(), Ok(())),
        (KEYS[0], "b".repeat(255), Ok(())),
        (KEYS[0], "a".to_owned(), Ok(())),
        (KEYS[0], "c".to_owned(), Err(PushError::LimitExceeded)),
        (KEYS[1], "c".repeat(256), Err(PushError::LimitExceeded)),
        (KEYS[1], String::new(), Err(PushError::BadRequest)),
        (SessionKey(9), "a".to_owned(), Err(PushError::BadRequest)),
    ];
    for (key, group, expected) in rows {
        assert_eq!(world.hub.join_group(key, &group), expected, "{key:?} {group}");
    }
    assert!(world.hub.leave_group(KEYS[0], "a"));
    assert_eq!(world.hub.join_group(KEYS[0], "c"), Ok(()));
}
