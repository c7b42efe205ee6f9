//! What one client may ask of the server, at its limits and beyond.

use std::io::Read;
use std::time::Duration;

use loopwire::gateway::GatewayConfig;
use loopwire::push::Data;
use loopwire::{CloseCode, NetConfig};
use serde_json::json;
use tungstenite::Message;

use crate::talk::{Push, config, token, token_of};

/// More than what may wait for one client and what the kernel takes, in a history of so many publications.
const PUBLICATIONS: usize = 250;
const BYTES: usize = 60_000;

/// Publishes those to a channel.
fn fill(push: &Push, channel: &str) {
    for n in 1..=PUBLICATIONS {
        publish(push, channel, n);
    }
}

fn publish(push: &Push, channel: &str, n: usize) {
    let data = Data::json(&format!("[{n},\"{}\"]", "x".repeat(BYTES)));
    push.handle.publish(channel, data).wait().unwrap().unwrap();
}

/// A server whose clients may have a mebibyte waiting for them.
fn narrow(change: impl FnOnce(&mut GatewayConfig)) -> Push {
    let mut net = NetConfig::default();
    (net.max_buffered, net.overflow_close) = (1 << 20, Some((CloseCode(3008), "slow")));
    let mut config = config(change);
    config.hub.namespaces.plain.history_size = config.hub.namespaces.plain.history_size.min(1) * PUBLICATIONS;
    Push::with(config, net, |_| None)
}

fn subscribers(push: &Push) -> usize {
    push.handle.with_hub(|hub, _, _| hub.counts().subscriptions).wait().unwrap()
}

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
    let push = narrow(|config| {
        config.hub.namespaces.plain.history_size = 0;
        config.api_insecure = true;
    });
    let (mut slow, mut quick) = (push.client("slow"), push.client("quick"));
    slow.ask("subscribe", json!({ "channel": "news" }));
    quick.ask("subscribe", json!({ "channel": "news", "join_leave": true }));
    assert_eq!(quick.pushed()["join"]["info"]["user"], "quick");
    // More than the kernel takes, and than may wait.
    let mut sent = 0;
    while push.handle.connections_of("slow").wait().unwrap() == 1 {
        sent += 1;
        assert!(sent < 1_000, "it takes all that there is");
        publish(&push, "news", sent);
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

#[test]
fn what_is_recovered_does_not_make_its_reader_a_slow_one() {
    let push = narrow(|_| ());
    let mut client = push.client("42");
    fill(&push, "news");
    let id = client.say("subscribe", json!({ "channel": "news", "recover": true, "recoverable": true }));
    push.server.wait_until("it is subscribed", |_| subscribers(&push) == 1);
    for n in 1..=15 {
        publish(&push, "news", PUBLICATIONS + n);
    }
    let answer = client.hear();
    assert_eq!((&answer["id"], &answer["subscribe"]["recovered"]), (&json!(id), &json!(true)));
    let publications = answer["subscribe"]["publications"].as_array().unwrap();
    let numbers: Vec<_> = publications.iter().map(|publication| publication["data"][0].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=PUBLICATIONS as u64).collect::<Vec<_>>());
    for n in 1..=15 {
        assert_eq!(client.published("news")[0], PUBLICATIONS + n);
    }
}

#[test]
fn who_recovers_many_channels_at_once_gets_one_after_the_other() {
    let push = narrow(|_| ());
    let channels: Vec<_> = (0..3).map(|n| format!("c{n}")).collect();
    for channel in &channels {
        fill(&push, channel);
    }
    let mut client = push.client("42");
    let mut commands: Vec<_> = channels
        .iter()
        .map(|channel| {
            let request = json!({ "channel": channel, "recover": true, "recoverable": true });
            client.command("subscribe", request).to_string()
        })
        .collect();
    let last = client.command("ping", json!({}));
    commands.push(last.to_string());
    client.send(&commands.join("\n"));
    // What comes in behind them is behind them.
    let behind = client.say("presence_stats", json!({ "channel": "c2" }));
    for n in 0..commands.len() - 1 {
        let answer = client.hear();
        assert_eq!(answer["id"], json!(n + 2), "the first was to connect");
        assert_eq!(answer["subscribe"]["recovered"], true, "c{n}");
        assert_eq!(answer["subscribe"]["publications"].as_array().unwrap().len(), PUBLICATIONS);
    }
    assert_eq!(client.hear(), json!({ "id": last["id"], "ping": {} }));
    let answer = client.hear();
    assert_eq!((&answer["id"], &answer["presence_stats"]["num_clients"]), (&json!(behind), &json!(1)));
}

#[test]
fn what_a_plain_client_recovers_does_not_make_it_a_slow_one() {
    let push = narrow(|config| config.allow_anonymous = true);
    fill(&push, "news");
    let mut plain = push.server.open_at("/channel/news?since=:0");
    push.server.wait_until("it is subscribed", |_| subscribers(&push) == 1);
    for n in 1..=15 {
        publish(&push, "news", PUBLICATIONS + n);
    }
    let mut hear = || -> serde_json::Value {
        match plain.read().unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("not a text: {other:?}"),
        }
    };
    assert_eq!(hear()["recovered"], true);
    for n in 1..=PUBLICATIONS + 15 {
        assert_eq!(hear()[0], n);
    }
}

#[test]
fn an_answer_larger_than_what_may_wait_leaves_its_room_to_what_comes_behind() {
    let push = narrow(|_| ());
    let mut client = push.client("42");
    fill(&push, "news");
    let subscribe = client.command("subscribe", json!({ "channel": "live" }));
    let history = client.command("history", json!({ "channel": "news", "limit": -1 }));
    client.send(&format!("{subscribe}\n{history}"));
    // Both are carried out in one go.
    push.server.wait_until("it is subscribed", |_| subscribers(&push) == 1);
    for n in 1..=15 {
        publish(&push, "live", n);
    }
    assert_eq!(client.hear()["id"], subscribe["id"]);
    assert_eq!(client.hear()["history"]["publications"].as_array().unwrap().len(), PUBLICATIONS);
    for n in 1..=15 {
        assert_eq!(client.published("live")[0], n);
    }
}

#[test]
fn who_is_still_taking_what_was_recovered_has_time_for_its_pong() {
    let push = narrow(|config| {
        (config.ping_interval, config.pong_timeout) = (Duration::from_millis(100), Duration::from_secs(2));
    });
    fill(&push, "news");
    let (mut client, mut clock) = (push.client("42"), push.client("clock"));
    client.say("subscribe", json!({ "channel": "news", "recover": true, "recoverable": true }));
    // At each ping of the other a piece is read: all of it takes longer than what an idle client is given.
    let mut piece = vec![0; PUBLICATIONS * BYTES / 40];
    for _ in 0..40 {
        assert_eq!(clock.hear(), json!({}));
        clock.send("{}");
        client.peer.get_mut().read_exact(&mut piece).unwrap();
    }
    assert_eq!(push.handle.connections_of("42").wait().unwrap(), 1);
}

#[test]
fn what_is_recovered_has_so_many_bytes_and_by_one_answer_no_more() {
    let push = Push::start(|config| {
        config.hub.limits.recovery_bytes = 6_000;
        config.hub.limits.history_bytes = 6_000;
        config.hub.namespaces.plain.force_recovery = true;
    });
    let names = ["a", "b", "c", "d"];
    for name in names {
        for _ in 0..2 {
            push.handle.publish(name, Data::json(&format!("\"{}\"", "x".repeat(998)))).wait().unwrap().unwrap();
        }
    }
    let mut client = push.client("42");
    let back = |offset: u32| json!({ "recover": true, "offset": offset });
    let subs: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), back(0))).into_iter().collect();
    let (_client, answer) = push.connect(json!({ "token": token("42"), "subs": subs }));
    // In the order of their names, as long as there is room.
    for (name, recovered) in names.into_iter().zip([true, true, true, false]) {
        let sub = &answer["subs"][name];
        assert_eq!(sub.get("recovered").is_some(), recovered, "{name}");
        assert_eq!(sub["publications"].as_array().map_or(0, Vec::len), if recovered { 2 } else { 0 }, "{name}");
    }
    // By itself there is room for each.
    let mut request = back(0);
    request["channel"] = json!("d");
    assert_eq!(client.ask("subscribe", request.clone())["recovered"], true);
    client.ask("unsubscribe", json!({ "channel": "d" }));
    for _ in 0..5 {
        push.handle.publish("d", Data::json(&format!("\"{}\"", "x".repeat(998)))).wait().unwrap().unwrap();
    }
    let answer = client.ask("subscribe", request);
    assert_eq!((answer.get("recovered"), &answer["offset"]), (None, &json!(7)), "{answer}");
    let history = client.ask("history", json!({ "channel": "d", "limit": -1 }));
    assert_eq!((history["publications"].as_array().unwrap().len(), &history["offset"]), (6, &json!(7)));
}

#[test]
fn who_asks_faster_than_it_reads_is_answered_in_its_time() {
    let push = narrow(|_| ());
    let mut client = push.client("42");
    fill(&push, "news");
    let history = client.command("history", json!({ "channel": "news", "limit": -1 }));
    let mut messages = vec![history.to_string()];
    // Together more than one message may have, and there at once: the answer to the first is not out by then.
    for _ in 0..3 {
        let pings: Vec<_> = (0..900).map(|_| client.command("ping", json!({})).to_string()).collect();
        messages.push(pings.join("\n"));
    }
    for message in messages {
        client.peer.write(Message::text(message)).unwrap();
    }
    client.peer.flush().unwrap();
    assert_eq!(client.hear()["history"]["publications"].as_array().unwrap().len(), PUBLICATIONS);
    for n in 1..=3 * 900 {
        assert_eq!(client.hear()["id"], json!(history["id"].as_u64().unwrap() + n));
    }
}
