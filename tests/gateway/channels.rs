//! What clients do in channels, and in which order they see it.

use loopwire::gateway::{Publish, To};
use loopwire::push::{Audience, ChannelOptions, Data, RecoveryMode};
use serde_json::{Value, json};

use crate::talk::{Push, Talker, token_of};

fn positions(answer: &Value) -> (u64, &str) {
    (answer["offset"].as_u64().unwrap_or_default(), answer["epoch"].as_str().unwrap_or_default())
}

fn publish(client: &mut Talker, channel: &str, data: &Value) {
    assert_eq!(client.ask("publish", json!({ "channel": channel, "data": data })), json!({}));
}

#[test]
fn what_is_published_reaches_subscribers_and_its_publisher_behind_the_answer() {
    let push = Push::start(|_| ());
    let (mut ann, mut bob) = (push.client("ann"), push.client("bob"));
    assert_eq!(ann.ask("subscribe", json!({ "channel": "news" })), json!({}));
    bob.ask("subscribe", json!({ "channel": "news" }));
    publish(&mut ann, "news", &json!({ "text": "line\nbreak" }));
    for client in [&mut ann, &mut bob] {
        let heard = client.pushed();
        assert_eq!(heard["pub"]["data"], json!({ "text": "line\nbreak" }));
        assert_eq!((&heard["pub"]["offset"], &heard["pub"]["info"]["user"]), (&json!(1), &json!("ann")));
    }
    // Of the application's own nobody is named.
    let position = push.handle.publish("news", Data::json("2")).wait().unwrap().unwrap();
    assert_eq!(position.offset, 2);
    let heard = bob.pushed();
    assert_eq!((&heard["pub"]["data"], heard["pub"].get("info")), (&json!(2), None));
    assert_eq!(ann.published("news"), json!(2));
}

#[test]
fn several_commands_in_one_message_are_carried_out_in_order() {
    let push = Push::start(|_| ());
    let mut client = push.open();
    let commands = [
        client.command("connect", json!({ "token": crate::talk::token("42") })),
        client.command("subscribe", json!({ "channel": "news" })),
        client.command("publish", json!({ "channel": "news", "data": 1 })),
        client.command("unsubscribe", json!({ "channel": "news" })),
        client.command("publish", json!({ "channel": "news", "data": 2 })),
        client.command("ping", json!({})),
    ];
    client.send(&commands.map(|command| command.to_string()).join("\n"));
    assert!(client.hear()["connect"]["client"].is_string());
    assert_eq!(client.hear(), json!({ "id": 2, "subscribe": {} }));
    assert_eq!(client.hear(), json!({ "id": 3, "publish": {} }));
    assert_eq!(client.published("news"), json!(1));
    assert_eq!(client.hear(), json!({ "id": 4, "unsubscribe": {} }));
    // Nothing of a channel follows the answer to its unsubscribe.
    assert_eq!(client.hear(), json!({ "id": 5, "publish": {} }));
    assert_eq!(client.hear(), json!({ "id": 6, "ping": {} }));
}

#[test]
fn what_a_client_may_not_is_refused_by_its_code() {
    let push = Push::start(|config| {
        config.hub.limits.channels_per_client = 2;
        config.hub.namespaces.named.insert("bare".to_owned(), {
            let plain = config.hub.namespaces.plain;
            loopwire::push::ChannelOptions { history_size: 0, presence: false, ..plain }
        });
    });
    let mut client = push.client("42");
    let long = "n".repeat(256);
    for (method, request, code) in [
        ("subscribe", json!({ "channel": "closed:a" }), 103),
        ("subscribe", json!({ "channel": "nowhere:a" }), 102),
        ("subscribe", json!({ "channel": long }), 107),
        ("subscribe", json!({ "channel": "two#43" }), 103),
        ("publish", json!({ "channel": "closed:a", "data": 1 }), 103),
        ("publish", json!({ "channel": "nowhere:a", "data": 1 }), 102),
        ("publish", json!({ "channel": long, "data": 1 }), 107),
        ("publish", json!({ "channel": "news" }), 107),
        ("history", json!({ "channel": "closed:a" }), 108),
        ("history", json!({ "channel": "bare:a" }), 108),
        ("history", json!({ "channel": "nowhere:a" }), 102),
        ("presence", json!({ "channel": "bare:a" }), 108),
        ("presence_stats", json!({ "channel": "closed:a" }), 108),
        ("presence_stats", json!({ "channel": "nowhere:a" }), 102),
        ("rpc", json!({ "method": "m", "data": 1 }), 108),
    ] {
        assert_eq!(client.refused(method, request.clone()), code, "{method} {request}");
    }
    client.ask("subscribe", json!({ "channel": "n".repeat(255) }));
    client.ask("subscribe", json!({ "channel": "two#41,42" }));
    assert_eq!(client.refused("subscribe", json!({ "channel": "two#41,42" })), 105);
    assert_eq!(client.refused("subscribe", json!({ "channel": "news" })), 106);
    client.ask("unsubscribe", json!({ "channel": "two#41,42" }));
    client.ask("subscribe", json!({ "channel": "news" }));
    // There is no harm in ending what is not there.
    client.ask("unsubscribe", json!({ "channel": "two#41,42" }));
}

#[test]
fn who_comes_back_gets_what_was_published_meanwhile_or_is_told_that_this_cannot_be() {
    let push = Push::start(|config| config.hub.namespaces.plain.history_size = 3);
    let mut client = push.client("42");
    let first = client.ask("subscribe", json!({ "channel": "news", "recoverable": true }));
    assert_eq!((&first["recoverable"], &first["positioned"]), (&json!(true), &json!(true)));
    let (offset, epoch) = positions(&first);
    client.ask("unsubscribe", json!({ "channel": "news" }));
    for n in 1..=3 {
        publish(&mut client, "news", &json!(n));
    }
    let back = |offset: u64, epoch: &str, flag: u32| json!({ "channel": "news", "recoverable": true, "recover": true, "offset": offset, "epoch": epoch, "flag": flag });
    let answer = client.ask("subscribe", back(offset, epoch, 0));
    assert_eq!((&answer["recovered"], &answer["was_recovering"]), (&json!(true), &json!(true)));
    let data: Vec<_> = answer["publications"].as_array().unwrap().iter().map(|it| it["data"].clone()).collect();
    assert_eq!(data, [1, 2, 3]);
    client.ask("unsubscribe", json!({ "channel": "news" }));

    publish(&mut client, "news", &json!(4));
    for (epoch, offset) in [(epoch, offset), ("other", 3), (epoch, 9)] {
        let answer = client.ask("subscribe", back(offset, epoch, 0));
        assert_eq!((answer.get("recovered"), answer.get("publications")), (None, None), "{answer}");
        assert_eq!((&answer["was_recovering"], &answer["offset"]), (&json!(true), &json!(4)));
        client.ask("unsubscribe", json!({ "channel": "news" }));
        assert_eq!(client.refused("subscribe", back(offset, epoch, 2)), 112);
    }
    client.ask("subscribe", back(4, epoch, 2));
}

#[test]
fn a_cache_brings_back_its_latest_state() {
    let push = Push::start(|config| {
        let plain = &mut config.hub.namespaces.plain;
        (plain.recovery_mode, plain.force_recovery) = (RecoveryMode::Cache, true);
    });
    let mut client = push.client("42");
    publish(&mut client, "state", &json!(1));
    publish(&mut client, "state", &json!(2));
    let answer = client.ask("subscribe", json!({ "channel": "state", "recover": true }));
    assert_eq!((&answer["recovered"], &answer["publications"][0]["data"]), (&json!(true), &json!(2)), "{answer}");
    assert_eq!(answer["publications"].as_array().unwrap().len(), 1);
}

#[test]
fn recovery_is_no_way_around_the_history_s_permissions() {
    let push = Push::start(|config| config.hub.namespaces.plain.history = loopwire::push::Audience::default());
    let mut client = push.client("42");
    push.handle.publish("news", Data::json("1")).wait().unwrap().unwrap();
    assert_eq!(client.refused("history", json!({ "channel": "news", "limit": 1 })), 103);
    let answer = client.ask("subscribe", json!({ "channel": "news", "recover": true, "recoverable": true }));
    assert_eq!((answer.get("publications"), answer.get("recoverable")), (None, None), "{answer}");
}

#[test]
fn the_history_is_read_from_both_ends() {
    let push = Push::start(|_| ());
    let mut client = push.client("42");
    for n in 1..=5 {
        publish(&mut client, "news", &json!(n));
    }
    let position = client.ask("history", json!({ "channel": "news" }));
    let (offset, epoch) = positions(&position);
    assert_eq!((offset, position.get("publications")), (5, None), "without a limit only the position");
    let mut read = |request: Value| {
        let mut request = request;
        request["channel"] = json!("news");
        let answer = client.ask("history", request);
        let all = answer["publications"].as_array().cloned().unwrap_or_default();
        all.iter().map(|it| it["data"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let since = |offset: u64| json!({ "offset": offset, "epoch": epoch });
    assert_eq!(read(json!({ "limit": -1 })), [1, 2, 3, 4, 5]);
    assert_eq!(read(json!({ "limit": 2 })), [1, 2]);
    assert_eq!(read(json!({ "limit": 2, "reverse": true })), [5, 4]);
    assert_eq!(read(json!({ "limit": 2, "since": since(2) })), [3, 4]);
    assert_eq!(read(json!({ "limit": -1, "since": since(3), "reverse": true })), [2, 1]);
    let wrong = json!({ "channel": "news", "limit": 1, "since": { "offset": 1, "epoch": "other" } });
    assert_eq!(client.refused("history", wrong), 112);
}

#[test]
fn who_is_there_can_be_seen_and_heard_of() {
    let push = Push::start(|_| ());
    let (mut ann, mut bob) = (push.client("ann"), push.client("bob"));
    ann.ask("subscribe", json!({ "channel": "room", "join_leave": true }));
    assert_eq!(ann.pushed()["join"]["info"]["user"], "ann", "the one who comes hears of it, too");
    bob.ask("subscribe", json!({ "channel": "room" }));
    let join = ann.pushed();
    assert_eq!((&join["channel"], &join["join"]["info"]["client"]), (&json!("room"), &json!(bob.client)));
    bob.hears_nothing();
    assert_eq!(ann.ask("presence_stats", json!({ "channel": "room" })), json!({ "num_clients": 2, "num_users": 2 }));
    bob.ask("unsubscribe", json!({ "channel": "room" }));
    assert_eq!(ann.pushed()["leave"]["info"]["user"], "bob");
    bob.ask("subscribe", json!({ "channel": "room" }));
    assert_eq!(ann.pushed()["join"]["info"]["user"], "bob");
    drop(bob);
    assert_eq!(ann.pushed()["leave"]["info"]["user"], "bob");
    let present = ann.ask("presence", json!({ "channel": "room" }));
    assert_eq!(present["presence"].as_object().unwrap().keys().collect::<Vec<_>>(), [&ann.client]);
}

#[test]
fn names_that_mean_something_elsewhere_are_names_here() {
    let push = Push::start(|_| ());
    for name in [
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "toString",
        "null",
        "undefined",
        "-1",
        "4294967295",
        "..",
        "/etc/passwd",
        "%s%n%00",
        "a*",
        "{}",
        "[]",
        "\"",
        "\\",
        "</script>",
        "' or 1=1 --",
        "\u{1}\n",
    ] {
        let mut client = push.client(name);
        client.ask("subscribe", json!({ "channel": name }));
        assert_eq!(client.ask("publish", json!({ "channel": name, "data": { name: { name: name } } })), json!({}));
        let heard = client.pushed();
        assert_eq!((&heard["channel"], &heard["pub"]["info"]["user"]), (&json!(name), &json!(name)));
        assert_eq!(heard["pub"]["data"], json!({ name: { name: name } }));
        let mut tagged = Publish::from(Data::json("1"));
        tagged.tags.insert(name.to_owned(), name.to_owned());
        tagged.idempotency_key = Some(name.to_owned());
        push.handle.publish(name, tagged).wait().unwrap().unwrap();
        assert_eq!(client.pushed()["pub"]["tags"], json!({ name: name }));
        let present = client.ask("presence", json!({ "channel": name }));
        assert_eq!(present["presence"][&client.client]["user"], name);
        assert_eq!(push.handle.join_group(name, name).wait().unwrap(), Ok(1));
        assert_eq!(push.handle.send(To::Group(name.to_owned()), Data::json("2")).wait().unwrap(), 1);
        assert_eq!(client.pushed(), json!({ "message": { "data": 2 } }));
        let channels = push.handle.with_hub(|hub, _, _| hub.channels(None)).wait().unwrap();
        assert_eq!(channels.iter().map(|(channel, _)| &**channel).collect::<Vec<_>>(), [name]);
        drop(client);
        push.server.wait_until("it is gone", |_| push.handle.connections_of(name).wait().unwrap() == 0);
    }
}

/// Every audience there can be, of clients with a user and without one, as subscribers and not: what each is answered, and
/// what others see of it.
#[test]
fn clients_may_do_what_the_options_say_and_others_see_nothing_else() {
    let audience = |bits: usize| Audience { client: bits & 1 > 0, subscriber: bits & 2 > 0, anonymous: bits & 4 > 0 };
    let push = Push::start(|config| {
        config.allow_anonymous = true;
        for bits in 0..8 {
            let to = audience(bits);
            let options = ChannelOptions {
                subscribe: to,
                publish: to,
                history: to,
                presence_for: to,
                ..config.hub.namespaces.plain
            };
            config.hub.namespaces.named.insert(format!("a{bits}"), options);
        }
    });
    let token = |user: &str, channel: &str| {
        token_of(|claims| (claims.sub, claims.channel) = (user.to_owned(), Some(channel.to_owned())))
    };
    let mut witness = push.client("witness");
    let mut clients = [("ann", push.client("ann")), ("", push.connect(json!({})).0)];
    for bits in 0..8 {
        let (to, channel) = (audience(bits), format!("a{bits}:x"));
        witness.ask("subscribe", json!({ "channel": channel, "token": token("witness", &channel) }));
        let mut published = Vec::new();
        for (user, client) in &mut clients {
            for is_subscribed in [false, true] {
                let may = (to.client || (to.subscriber && is_subscribed)) && (to.anonymous || !user.is_empty());
                let what = json!([user, is_subscribed]);
                let case = format!("{to:?} {what}");
                if is_subscribed {
                    let may_subscribe = to.client && (to.anonymous || !user.is_empty());
                    if !may_subscribe {
                        assert_eq!(client.refused("subscribe", json!({ "channel": channel })), 103, "{case}");
                    }
                    let token = if may_subscribe { String::new() } else { token(user, &channel) };
                    client.ask("subscribe", json!({ "channel": channel, "token": token }));
                }
                let requests = [
                    ("publish", json!({ "channel": channel, "data": what })),
                    ("history", json!({ "channel": channel, "limit": 10 })),
                    ("presence", json!({ "channel": channel })),
                    ("presence_stats", json!({ "channel": channel })),
                ];
                for (method, request) in requests {
                    if may {
                        client.ask(method, request);
                    } else {
                        assert_eq!(client.refused(method, request), 103, "{method} {case}");
                    }
                    if may && method == "publish" {
                        published.push(what.clone());
                        if is_subscribed {
                            assert_eq!(client.published(&channel), what);
                        }
                    }
                }
            }
            client.ask("unsubscribe", json!({ "channel": channel }));
        }
        for what in published {
            assert_eq!(witness.published(&channel), what);
        }
        witness.hears_nothing();
        assert_eq!(witness.refused("subscribe", json!({ "channel": channel })), 105, "it has been listening");
    }
}
