//! Subscriptions by token, and their time.

use std::time::Duration;

use loopwire::gateway::{Claims, Override, Overrides};
use serde_json::json;

use crate::talk::{Push, token_of, unix};

fn token(change: impl FnOnce(&mut Claims)) -> String {
    token_of(|claims| {
        claims.sub = "42".to_owned();
        claims.channel = Some("$news".to_owned());
        change(claims);
    })
}

#[test]
fn a_token_decides_alone() {
    let push = Push::start(|_| ());
    let mut client = push.client("42");
    assert_eq!(client.refused("subscribe", json!({ "channel": "$news" })), 103);
    let forced = Overrides { force_recovery: Some(Override { value: true }), ..Overrides::default() };
    let good = token(|claims| {
        claims.client = Some(client.client.clone());
        claims.overrides = Some(forced);
        claims.info = Some(serde_json::value::to_raw_value(&json!({ "is": "here" })).unwrap());
    });
    let answer = client.ask("subscribe", json!({ "channel": "$news", "token": good }));
    assert_eq!((&answer["recoverable"], answer.get("expires")), (&json!(true), None), "{answer}");
    let present = client.ask("presence", json!({ "channel": "$news" }));
    assert_eq!(present["presence"][&client.client]["chan_info"], json!({ "is": "here" }));
    let closed = token(|claims| claims.channel = Some("closed:a".to_owned()));
    client.ask("subscribe", json!({ "channel": "closed:a", "token": closed }));
    let unknown = token(|claims| claims.channel = Some("nowhere:a".to_owned()));
    assert_eq!(client.refused("subscribe", json!({ "channel": "nowhere:a", "token": unknown })), 102);
}

#[test]
fn a_token_for_something_else_is_none() {
    let push = Push::start(|_| ());
    for (what, change) in [
        ("another channel", (|claims| claims.channel = Some("$other".to_owned())) as fn(&mut Claims)),
        ("another user", |claims| claims.sub = "43".to_owned()),
        ("another client", |claims| claims.client = Some("00000000-0000-0000-0000-000000000000".to_owned())),
    ] {
        let mut client = push.client("42");
        client.say("subscribe", json!({ "channel": "$news", "token": token(change) }));
        assert_eq!(client.sent_away(), 3500, "{what}");
    }
    let mut client = push.client("42");
    let expired = token(|claims| claims.exp = Some(unix() - 10));
    let over = token(|claims| claims.expire_at = Some(unix() - 10));
    for (token, code) in [(expired.as_str(), 109), ("nonsense", 103), (&over, 110)] {
        assert_eq!(client.refused("subscribe", json!({ "channel": "$news", "token": token })), code);
    }
}

#[test]
fn a_subscription_ends_with_its_token_unless_it_is_refreshed() {
    let push = Push::start(|config| config.expired_sub_close_delay = Duration::ZERO);
    let until = |seconds: u64| token(|claims| claims.exp = Some(unix() + seconds));
    let (mut short, mut long) = (push.client("42"), push.client("42"));
    let answer = short.ask("subscribe", json!({ "channel": "$news", "token": until(2) }));
    assert!((1..=2).contains(&answer["ttl"].as_u64().unwrap()) && answer["expires"] == true, "{answer}");
    long.ask("subscribe", json!({ "channel": "$news", "token": until(2) }));
    let answer = long.ask("sub_refresh", json!({ "channel": "$news", "token": until(60) }));
    assert!((59..=60).contains(&answer["ttl"].as_u64().unwrap()) && answer["expires"] == true, "{answer}");
    let push = short.pushed();
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("$news"), &json!(2501)));
    // It may come back.
    short.ask("subscribe", json!({ "channel": "$news", "token": until(60) }));
    long.hears_nothing();

    assert_eq!(long.refused("sub_refresh", json!({ "channel": "news", "token": until(60) })), 103);
    assert_eq!(long.refused("sub_refresh", json!({ "channel": "$news" })), 107);
    let expired = token(|claims| claims.exp = Some(unix() - 10));
    assert_eq!(long.refused("sub_refresh", json!({ "channel": "$news", "token": expired })), 109);
    let other = token(|claims| claims.sub = "43".to_owned());
    long.say("sub_refresh", json!({ "channel": "$news", "token": other }));
    assert_eq!(long.sent_away(), 3500);
}
