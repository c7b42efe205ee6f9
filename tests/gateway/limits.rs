//! What one client may ask of the server, at its limits and beyond.

use loopwire::push::Data;
use loopwire::{CloseCode, NetConfig};
use serde_json::json;
use tungstenite::Message;

use crate::talk::{Push, config, token, token_of};

#[test]
fn users_have_so_many_connections() {
    let push = Push::start(|config| config.hub.limits.connections_per_user = Some(2));
    let (_first, second) = (push.client("42"), push.client("42"));
    let mut third = push.open();
    third.say("connect", json!({ "token": token("42") }));
    assert_eq!(third.sent_away(), 3504);
    drop(second);
    push.server.wait_until("the second is gone", |_| push.handle.connections_of("42").wait().unwrap() == 1);
    push.client("42");
    push.client("43");
}

#[test]
fn a_token_subscribes_to_no_more_channels_than_a_client_may() {
    let push = Push::start(|config| config.hub.limits.channels_per_client = 3);
    let with = |count: u32| {
        let token = token_of(|claims| claims.channels = (0..count).map(|n| format!("c{n}")).collect());
        json!({ "token": token })
    };
    push.connect(with(3));
    let mut client = push.open();
    client.say("connect", with(4));
    assert_eq!(client.sent_away(), 3505);
}

#[test]
fn a_client_is_in_no_more_channels_than_it_may_whichever_way_it_asks() {
    let push = Push::start(|config| config.hub.limits.channels_per_client = 3);
    let names =
        |range: std::ops::Range<u32>| range.map(|n| (format!("c{n}"), json!({}))).collect::<serde_json::Map<_, _>>();
    let mut client = push.connect(json!({ "token": token("42"), "subs": names(0..2) })).0;
    client.ask("subscribe", json!({ "channel": "c2" }));
    for n in 3..200 {
        assert_eq!(client.refused("subscribe", json!({ "channel": format!("c{n}") })), 106);
    }
    // Those that it has do not count twice, and what it may not does not count.
    assert_eq!(client.refused("subscribe", json!({ "channel": "c0" })), 105);
    client.ask("unsubscribe", json!({ "channel": "c2" }));
    client.ask("subscribe", json!({ "channel": "c3" }));
    assert_eq!(push.handle.subscribe("42", "c4").wait().unwrap().unwrap_err().code(), 106);
    assert_eq!(push.handle.with_hub(|hub, _, _| hub.counts().subscriptions).wait().unwrap(), 3);

    let with = |count: u32| token_of(|claims| claims.channels = (0..count).map(|n| format!("c{n}")).collect());
    let mut asked = names(0..3);
    asked.insert("closed:a".to_owned(), json!({}));
    push.connect(json!({ "token": with(3), "subs": asked }));
    let mut client = push.open();
    client.say("connect", json!({ "token": with(2), "subs": names(1..4) }));
    assert_eq!(client.sent_away(), 3505);
}

#[test]
fn a_message_has_so_many_commands() {
    let push = Push::start(|config| config.max_commands_per_message = 10);
    let mut client = push.client("42");
    let pings = |count: u32| (0..count).map(|n| format!(r#"{{"id":{},"ping":{{}}}}"#, n + 100)).collect::<Vec<_>>();
    client.send(&pings(10).join("\n"));
    for n in 0..10 {
        assert_eq!(client.hear()["id"], n + 100);
    }
    client.send(&pings(11).join("\n"));
    assert_eq!(client.sent_away(), 3501, "not one of them is carried out");
}

#[test]
fn a_message_has_so_many_bytes() {
    let push = Push::start(|_| ());
    let mut client = push.client("42");
    let padded = |len: usize| {
        let mut text = r#"{"id":9,"ping":{}}"#.to_owned();
        text.push_str(&" ".repeat(len - text.len()));
        text
    };
    client.send(&padded(65_536));
    assert_eq!(client.hear()["id"], 9);
    client.send(&padded(65_537));
    match client.peer.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1009),
        other => panic!("not closed: {other:?}"),
    }
}

#[test]
fn commands_come_at_a_certain_rate() {
    // Two seconds' worth at once are carried out, as many more are refused, and who goes on is sent away.
    let push = Push::start(|config| config.max_command_rate = Some(5));
    let mut client = push.client("42");
    for _ in 0..10 {
        client.ask("ping", json!({}));
    }
    // What time passes meanwhile gives room again.
    let mut refused = 0;
    let last = loop {
        client.say("ping", json!({}));
        let answer = client.hear();
        if answer.get("push").is_some() {
            break answer;
        }
        refused += u32::from(answer["error"]["code"] == 111);
    };
    assert!(refused >= 5, "{refused}");
    assert_eq!(last["push"]["disconnect"]["code"], 3013);
}

#[test]
fn who_reads_too_slowly_is_let_go_and_no_other_notices() {
    let mut net = NetConfig::default();
    (net.max_buffered, net.overflow_close) = (1 << 20, Some((CloseCode(3008), "slow")));
    let config = config(|config| {
        config.hub.namespaces.plain.history_size = 0;
        config.api_insecure = true;
    });
    let push = Push::with(config, net, |_| None);
    let (mut slow, mut quick) = (push.client("slow"), push.client("quick"));
    slow.ask("subscribe", json!({ "channel": "news" }));
    quick.ask("subscribe", json!({ "channel": "news", "join_leave": true }));
    assert_eq!(quick.pushed()["join"]["info"]["user"], "quick");
    // More than the kernel takes, and than may wait.
    let mut sent = 0;
    while push.handle.connections_of("slow").wait().unwrap() == 1 {
        sent += 1;
        assert!(sent < 1_000, "it takes all that there is");
        push.handle
            .publish("news", Data::json(&format!("[{sent},\"{}\"]", "x".repeat(60_000))))
            .wait()
            .unwrap()
            .unwrap();
        assert_eq!(quick.published("news")[0], sent);
    }
    // Who is let go is gone for the others at once.
    assert_eq!(quick.pushed()["leave"]["info"]["user"], "slow");
    let mut metrics = push.server.raw();
    metrics.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let told = String::from_utf8(metrics.all()).unwrap();
    assert!(told.contains("loopwire_disconnects_total{code=\"3008\"} 1\n"), "{told}");
    // What it still gets has no gap, and then it is told.
    for n in 1.. {
        match slow.peer.read().unwrap() {
            Message::Text(text) => assert!(text.contains(&format!("[{n},\"")), "{n}"),
            Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (3008, "slow"));
                assert!(n < sent);
                break;
            }
            other => panic!("neither a publication nor a close: {other:?}"),
        }
    }
}
