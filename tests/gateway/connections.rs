//! Who is let in, and for how long.

use std::time::Duration;

use loopwire::OriginPolicy;
use loopwire::gateway::{SubscriptionClaims, To};
use loopwire::push::{ClientId, Data, Disconnect};
use serde_json::json;
use serde_json::value::RawValue;
use tungstenite::Message;

use crate::support::request_with;
use crate::talk::{Push, token, token_of, unix};

#[test]
fn a_token_says_who_a_client_is() {
    let push = Push::start(|_| ());
    let (mut client, answer) = push.connect(json!({ "token": token("42"), "name": "js" }));
    assert_eq!(client.client.len(), 36, "{answer}");
    assert_eq!((&answer["ping"], &answer["pong"]), (&json!(25), &json!(true)));
    assert!(answer.get("expires").is_none() && answer.get("ttl").is_none(), "{answer}");
    client.ask("subscribe", json!({ "channel": "news" }));
    let present = client.ask("presence", json!({ "channel": "news" }));
    assert_eq!(present["presence"][&client.client]["user"], "42", "{present}");
    assert_eq!(push.handle.connections_of("42").wait().unwrap(), 1);
}

#[test]
fn nobody_can_guess_the_name_of_another_client() {
    const FIXED: u128 = 0xf << 76 | 0x3 << 62;
    let push = Push::start(|_| ());
    let name = |_| ClientId::parse(&push.client("42").client).unwrap().0;
    let names: Vec<u128> = (0..64).map(name).collect();
    // Random UUIDs: of 128 bits six say that they are, and each of the others is at times 0 and at times 1.
    assert!(names.iter().all(|name| name & FIXED == 4 << 76 | 2 << 62));
    assert_eq!(names.iter().fold(FIXED, |ones, name| ones | name), u128::MAX);
    assert_eq!(names.iter().fold(!FIXED, |ones, name| ones & name), 0);
    // Nor does one tell of another.
    for (index, name) in names.iter().enumerate() {
        for other in &names[..index] {
            assert!((name ^ other).count_ones() > 16, "{name:x} {other:x}");
        }
    }
}

#[test]
fn without_a_token_clients_are_anonymous_or_refused() {
    let push = Push::start(|config| config.allow_anonymous = true);
    let (mut client, _) = push.connect(json!({}));
    client.ask("subscribe", json!({ "channel": "news" }));
    let present = client.ask("presence", json!({ "channel": "news" }));
    assert_eq!(present["presence"][&client.client]["user"].as_str().unwrap_or_default(), "");

    let push = Push::start(|_| ());
    let mut client = push.open();
    assert_eq!(client.refused("connect", json!({})), 101);
    // What was refused is of no use any more.
    client.say("ping", json!({}));
    assert_eq!(client.sent_away(), 3501);
}

#[test]
fn a_token_that_is_not_good_lets_nobody_in() {
    let push = Push::start(|config| config.allow_anonymous = true);
    let expired = token_of(|claims| claims.exp = Some(unix() - 10));
    assert_eq!(push.open().refused("connect", json!({ "token": expired })), 109);
    let other = loopwire::gateway::Issuer::new("another").issue(&loopwire::gateway::Claims::default());
    let for_a_channel = token_of(|claims| claims.channel = Some("news".to_owned()));
    for bad in ["nonsense", &other, &for_a_channel] {
        let mut client = push.open();
        client.say("connect", json!({ "token": bad }));
        assert_eq!(client.sent_away(), 3500, "{bad}");
    }
    // A token is no use if the connection is over before it begins.
    let over = token_of(|claims| claims.expire_at = Some(unix() - 1));
    assert_eq!(push.open().refused("connect", json!({ "token": over })), 110);
}

#[test]
fn what_makes_no_sense_ends_the_connection() {
    let push = Push::start(|_| ());
    let before_connecting = [
        r#"{"id":1,"ping":{}}"#,
        r#"{"id":1,"subscribe":{"channel":"news"}}"#,
        "{}",
        "[]",
        "nonsense",
        "",
        r#"{"id":1}"#,
        r#"{"id":0,"connect":{}}"#,
        r#"{"connect":{}}"#,
        r#"{"id":-1,"connect":{}}"#,
    ];
    for text in before_connecting {
        let mut client = push.open();
        client.send(text);
        assert_eq!(client.sent_away(), 3501, "{text}");
    }
    let connected = [
        r#"{"id":9,"connect":{}}"#,
        "{}",
        r#"{"id":9}"#,
        r#"{"id":9,"fly":{}}"#,
        r#"{"ping":{}}"#,
        r#"{"id":9,"subscribe":{}}"#,
        r#"{"id":9,"publish":{"data":1}}"#,
        r#"{"id":9,"history":{}}"#,
        r#"{"id":9,"presence":{"channel":""}}"#,
        r#"{"id":9,"refresh":{}}"#,
    ];
    for text in connected {
        let mut client = push.client("42");
        client.send(text);
        assert_eq!(client.sent_away(), 3501, "{text}");
    }
}

#[test]
fn messages_to_nobody_are_not_offered() {
    let push = Push::start(|_| ());
    let mut client = push.client("42");
    client.send(r#"{"send":{"data":{}}}"#);
    assert_eq!(client.sent_away(), 3508);
}

#[test]
fn a_client_keeps_to_the_encoding_that_it_has_opened_with() {
    let push = Push::start(|_| ());
    let mut client = push.client("42");
    client.peer.send(Message::binary(br#"{"id":2,"ping":{}}"#.to_vec())).unwrap();
    assert_eq!(client.sent_away(), 3506);
}

#[test]
fn who_does_not_say_who_it_is_has_to_go() {
    let push = Push::start(|config| config.connect_timeout = Duration::from_millis(1));
    assert_eq!(push.open().sent_away(), 3502);
    // Nor does a refusal keep the door open.
    let push = Push::start(|config| config.connect_timeout = Duration::from_millis(300));
    let mut client = push.open();
    assert_eq!(client.refused("connect", json!({})), 101);
    assert_eq!(client.sent_away(), 3502);
}

#[test]
fn pings_are_answered_or_the_connection_ends() {
    let push = Push::start(|config| {
        config.ping_interval = Duration::from_millis(40);
        config.pong_timeout = Duration::from_millis(200);
    });
    let mut client = push.client("42");
    for _ in 0..3 {
        assert_eq!(client.hear(), json!({}));
        client.send("{}");
    }
    assert_eq!(client.hear(), json!({}));
    assert_eq!(client.sent_away(), 3012);
    // One ping wants one answer.
    let mut client = push.client("42");
    assert_eq!(client.hear(), json!({}));
    client.send("{}\n{}");
    assert_eq!(client.sent_away(), 3501);
}

#[test]
fn pings_can_be_switched_off_while_clients_are_there() {
    let change = |config: &mut loopwire::gateway::GatewayConfig| config.expired_close_delay = Duration::ZERO;
    let push = Push::start(|config| {
        change(config);
        config.ping_interval = Duration::from_millis(40);
    });
    let soon = token_of(|claims| claims.exp = Some(unix() + 2));
    let (mut client, _) = push.connect(json!({ "token": soon }));
    assert_eq!(client.hear(), json!({}));
    let off = crate::talk::config(|config| {
        change(config);
        config.ping_interval = Duration::ZERO;
    });
    push.handle.reconfigure(off).wait().unwrap().unwrap();
    client.send("{}");
    assert_eq!(client.sent_away(), 3005, "the next that it hears is the end of its token");
}

#[test]
fn websocket_pings_take_the_place_of_the_protocols_own() {
    let push = Push::start(|config| config.ping_interval = Duration::from_millis(20));
    let mut client = push.open_with("?cf_ws_frame_ping_pong=true");
    let answer = client.ask("connect", json!({ "token": token("42") }));
    assert!(answer.get("ping").is_none() && answer.get("pong").is_none(), "{answer}");
    assert!(matches!(client.peer.read().unwrap(), Message::Ping(_)));
}

#[test]
fn a_connection_ends_with_its_token_unless_it_is_refreshed() {
    let push = Push::start(|config| config.expired_close_delay = Duration::ZERO);
    let until = |seconds: u64| {
        move |claims: &mut loopwire::gateway::Claims| {
            claims.sub = "42".to_owned();
            claims.exp = Some(unix() + seconds);
        }
    };
    let (mut short, answer) = push.connect(json!({ "token": token_of(until(2)) }));
    assert_eq!(answer["expires"], true);
    assert!((1..=2).contains(&answer["ttl"].as_u64().unwrap()), "{answer}");
    let (mut refreshed, _) = push.connect(json!({ "token": token_of(until(2)) }));
    let answer = refreshed.ask("refresh", json!({ "token": token_of(until(60)) }));
    assert_eq!(answer["client"], refreshed.client.as_str());
    assert!((59..=60).contains(&answer["ttl"].as_u64().unwrap()) && answer["expires"] == true, "{answer}");
    assert_eq!(short.sent_away(), 3005);
    refreshed.hears_nothing();

    let expired = token_of(|claims| {
        claims.sub = "42".to_owned();
        claims.exp = Some(unix() - 10);
    });
    for (token, code) in [(expired, 3005), (token("43"), 3500), ("nonsense".to_owned(), 3500)] {
        let mut client = push.client("42");
        client.say("refresh", json!({ "token": token }));
        assert_eq!(client.sent_away(), code);
    }
    // With a token that says other server-side subscriptions, a client begins anew.
    let mut client = push.client("42");
    let more = token_of(|claims| {
        claims.sub = "42".to_owned();
        claims.channels = vec!["more".to_owned()];
    });
    client.say("refresh", json!({ "token": more }));
    assert_eq!(client.sent_away(), 3010);
}

#[test]
fn the_server_subscribes_clients_on_connecting() {
    let push = Push::start(|config| {
        config.personal_channel = true;
        config.hub.namespaces.plain.force_recovery = true;
    });
    let news = SubscriptionClaims {
        info: Some(RawValue::from_string(r#"{"of":"token"}"#.to_owned()).unwrap()),
        data: Some(RawValue::from_string("[1]".to_owned()).unwrap()),
        ..SubscriptionClaims::default()
    };
    let token = token_of(|claims| {
        claims.sub = "42".to_owned();
        claims.channels = vec!["closed:a".to_owned()];
        claims.subs.insert("news".to_owned(), news);
    });
    let asked = json!({ "token": token, "subs": { "own": {}, "closed:b": {} } });
    let (mut client, answer) = push.connect(asked);
    let channels: Vec<_> = answer["subs"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(channels, ["#42", "closed:a", "news", "own"], "what it may not by itself is not given by asking");
    assert_eq!(answer["subs"]["news"]["data"], json!([1]));
    let present = client.ask("presence", json!({ "channel": "news" }));
    assert_eq!(present["presence"][&client.client]["chan_info"], json!({ "of": "token" }));
    assert_eq!(client.refused("subscribe", json!({ "channel": "news" })), 105);

    // It comes back with the position that it has.
    let position = &answer["subs"]["news"];
    push.handle.publish("news", Data::json("1")).wait().unwrap().unwrap();
    assert_eq!(client.published("news"), json!(1));
    let subs = json!({ "news": { "recover": true, "epoch": position["epoch"], "offset": position["offset"] } });
    let (_, answer) = push.connect(json!({ "token": token, "subs": subs }));
    let news = &answer["subs"]["news"];
    assert_eq!((&news["recovered"], &news["publications"][0]["data"]), (&json!(true), &json!(1)), "{answer}");

    let unknown = token_of(|claims| claims.channels = vec!["nowhere:a".to_owned()]);
    assert_eq!(push.open().refused("connect", json!({ "token": unknown })), 102);
}

#[test]
fn other_threads_reach_clients_users_and_groups() {
    let push = Push::start(|_| ());
    let (mut ann, mut bob, mut other) = (push.client("ann"), push.client("bob"), push.client("bob"));
    let handle = &push.handle;
    let hello = |text: &str| Data::json(&format!("\"{text}\""));
    assert_eq!(handle.send(To::User("bob".to_owned()), hello("bobs")).wait().unwrap(), 2);
    assert_eq!(handle.join_group("ann", "friends").wait().unwrap(), Ok(1));
    assert_eq!(handle.send(To::Group("friends".to_owned()), hello("friends")).wait().unwrap(), 1);
    let bobs = loopwire::push::ClientId::parse(&bob.client);
    assert_eq!(handle.send(To::Client(bobs.unwrap()), hello("one")).wait().unwrap(), 1);
    assert_eq!(handle.send_except(To::All, bobs, hello("all")).wait().unwrap(), 2);
    for (client, texts) in
        [(&mut ann, vec!["friends", "all"]), (&mut bob, vec!["bobs", "one"]), (&mut other, vec!["bobs", "all"])]
    {
        for text in texts {
            assert_eq!(client.pushed(), json!({ "message": { "data": text } }));
        }
    }
    assert_eq!(handle.leave_group("ann", "friends").wait().unwrap(), 1);
    assert_eq!(handle.send(To::Group("friends".to_owned()), hello("nobody")).wait().unwrap(), 0);

    assert_eq!(handle.subscribe("ann", "news").wait().unwrap(), Ok(1));
    assert_eq!(ann.pushed()["channel"], "news");
    handle.publish("news", hello("news"));
    assert_eq!(ann.published("news"), "news");
    assert_eq!(handle.unsubscribe("ann", "news").wait().unwrap(), 1);
    assert_eq!(ann.pushed()["unsubscribe"]["code"], 2000);
    assert_eq!(handle.publish("nowhere:a", hello("news")).wait().unwrap().unwrap_err().code(), 102);

    let far = Disconnect::new(4001, "é".repeat(100));
    assert_eq!(handle.disconnect("bob", far).wait().unwrap(), 2);
    assert_eq!((bob.sent_away(), other.sent_away()), (4001, 4001));
    assert_eq!(handle.disconnect("ann", Disconnect::new(1005, "not a code to send")).wait().unwrap(), 1);
    assert_eq!(ann.sent_away(), 3503);
    assert_eq!(handle.connections_of("ann").wait().unwrap(), 0);
}

#[test]
fn a_server_that_goes_sends_its_clients_elsewhere() {
    let push = Push::start(|_| ());
    let (mut connected, mut open) = (push.client("42"), push.open());
    push.server.handle.shutdown(crate::support::PATIENCE);
    assert_eq!((connected.sent_away(), open.sent_away()), (3001, 3001));
    drop((connected, open));
    let handle = push.handle.clone();
    push.server.stop().unwrap();
    assert!(handle.publish("news", Data::json("1")).wait().is_err());
}

#[test]
fn another_configuration_is_taken_whole_or_not_at_all() {
    let push = Push::start(|_| ());
    let mut client = push.client("42");
    client.ask("subscribe", json!({ "channel": "news" }));
    assert_eq!(client.refused("subscribe", json!({ "channel": "more:a" })), 102);
    let wrong = crate::talk::config(|config| {
        config.hub.namespaces.named.insert("more".to_owned(), config.hub.namespaces.plain);
        config.token.rsa_public_key = Some("no key".to_owned());
    });
    push.handle.reconfigure(wrong).wait().unwrap().unwrap_err();
    assert_eq!(client.refused("subscribe", json!({ "channel": "more:a" })), 102);
    let right = crate::talk::config(|config| {
        config.hub.namespaces.named.insert("more".to_owned(), config.hub.namespaces.plain);
        config.token.hmac_secret = Some("another".to_owned());
    });
    push.handle.reconfigure(right).wait().unwrap().unwrap();
    client.ask("subscribe", json!({ "channel": "more:a" }));
    let mut late = push.open();
    late.say("connect", json!({ "token": token("42") }));
    assert_eq!(late.sent_away(), 3500);
}

#[test]
fn pages_from_elsewhere_may_not_connect() {
    let push = Push::start(|config| config.origins = OriginPolicy::list(["https://good.example"]).unwrap());
    let rows = [
        ("", 101),
        ("Origin: https://good.example\r\n", 101),
        ("Origin: https://good.example.evil\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Origin: https://good.example\r\nOrigin: https://good.example\r\n", 403),
    ];
    for (fields, status) in rows {
        let mut raw = push.server.raw();
        raw.send(request_with("/connection/websocket", fields));
        let head = raw.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}{head}");
    }
}

#[test]
fn nothing_is_at_other_paths() {
    let push = Push::start(|_| ());
    for (request, status) in [
        (request_with("/connection/websockets", ""), 404),
        ("GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 426),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404),
    ] {
        let mut raw = push.server.raw();
        raw.send(&request);
        let head = raw.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{head}");
    }
}
