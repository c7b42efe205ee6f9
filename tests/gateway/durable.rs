//! Publications on disk: when they are seen and answered, and what is left of them after a restart.

use std::path::{Path, PathBuf};

use loopwire::gateway::Publish;
use loopwire::push::{Data, Restored, Sequence};
use loopwire::store::{Store, StoreEvent};
use loopwire::{NetConfig, ServerHandle};
use serde_json::json;

use crate::talk::{Push, config};

/// A directory of a test's own, gone when it is dropped.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("loopwire-gateway-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A push server with a store, as an application has it.
fn start(dir: &Path) -> Push {
    let open = |handle: ServerHandle| Store::open(dir, move |event| handle.post(0, event).unwrap_or(())).unwrap();
    Push::with(config(|_| ()), NetConfig::default(), |handle| Some(open(handle)))
}

/// The same with a store that says nothing: the test does.
pub(crate) fn start_mute(dir: &Path) -> Push {
    let open = |_| -> (Store, Restored) { Store::open(dir, |_| ()).unwrap() };
    Push::with(config(|_| ()), NetConfig::default(), |handle| Some(open(handle)))
}

#[test]
fn streams_survive_a_restart() {
    let dir = Dir::new("restart");
    let push = start(&dir.0);
    let mut client = push.client("42");
    let first = client.ask("subscribe", json!({ "channel": "news", "recoverable": true }));
    for n in 1..=3 {
        let id = client.say("publish", json!({ "channel": "news", "data": n }));
        assert_eq!(client.published("news"), json!(n));
        assert_eq!(client.hear(), json!({ "id": id, "publish": {} }));
    }
    let mut once = Publish::from(Data::json("4"));
    once.idempotency_key = Some("once".to_owned());
    let position = push.handle.publish("news", once.clone()).wait().unwrap().unwrap();
    assert_eq!(position.offset, 4);
    drop(client);
    push.server.stop().unwrap();

    let push = start(&dir.0);
    // What was published before is not published again.
    assert_eq!(push.handle.publish("news", once).wait().unwrap().unwrap(), position);
    let mut client = push.client("42");
    let back = json!({
        "channel": "news", "recoverable": true, "recover": true, "offset": first["offset"], "epoch": first["epoch"],
    });
    let answer = client.ask("subscribe", back);
    let data: Vec<_> = answer["publications"].as_array().unwrap().iter().map(|it| it["data"].clone()).collect();
    assert_eq!((&answer["recovered"], data), (&json!(true), vec![json!(1), json!(2), json!(3), json!(4)]));
    assert_eq!(answer["epoch"], &*position.epoch);
}

#[test]
fn what_is_not_on_disk_yet_is_neither_answered_nor_seen() {
    let dir = Dir::new("mute");
    let push = start_mute(&dir.0);
    let (mut ann, mut bob) = (push.client("ann"), push.client("bob"));
    bob.ask("subscribe", json!({ "channel": "news" }));
    let id = ann.say("publish", json!({ "channel": "news", "data": 1 }));
    // Nobody else is held up, nor is its client otherwise.
    ann.hears_nothing();
    bob.hears_nothing();
    assert_eq!(ann.ask("history", json!({ "channel": "news", "limit": 1 }))["offset"], json!(null));
    push.server.handle.post(0, StoreEvent::Committed(Sequence(u64::MAX))).unwrap();
    assert_eq!(ann.hear(), json!({ "id": id, "publish": {} }));
    assert_eq!(bob.published("news"), json!(1));

    // What cannot be stored is refused, and may be tried again.
    let id = ann.say("publish", json!({ "channel": "news", "data": 2 }));
    let waiting = push.handle.publish("news", Data::json("3"));
    ann.hears_nothing();
    push.server.handle.post(0, StoreEvent::Failed { from: Sequence(0), error: "no space left".to_owned() }).unwrap();
    assert_eq!(ann.error(id), 100);
    assert_eq!(waiting.wait().unwrap().unwrap_err().code(), 100);
    bob.hears_nothing();
    let id = ann.say("publish", json!({ "channel": "news", "data": 4 }));
    ann.hears_nothing();
    push.server.handle.post(0, StoreEvent::Committed(Sequence(u64::MAX))).unwrap();
    assert_eq!(ann.hear()["id"], id);
    let heard = bob.pushed();
    assert_eq!((&heard["pub"]["data"], &heard["pub"]["offset"]), (&json!(4), &json!(2)));
}

#[test]
fn so_much_waits_for_the_disk_and_then_publishers_have_to() {
    let dir = Dir::new("full");
    let open = |_| -> (Store, Restored) { Store::open(&dir.0, |_| ()).unwrap() };
    let config = config(|config| {
        config.max_unwritten = 10_000;
        config.hub.namespaces.named.insert("fleeting".to_owned(), {
            loopwire::push::ChannelOptions { history_size: 0, ..config.hub.namespaces.plain }
        });
    });
    let push = Push::with(config, NetConfig::default(), |handle| Some(open(handle)));
    let mut client = push.client("42");
    let large = json!({ "channel": "news", "data": "x".repeat(4_000) });
    let waiting: Vec<_> = (0..3).map(|_| client.say("publish", large.clone())).collect();
    assert_eq!(client.refused("publish", large.clone()), 111);
    assert_eq!(push.handle.publish("news", Data::json("1")).wait().unwrap().unwrap_err().code(), 111);
    // What goes to no disk need not wait for it.
    client.ask("publish", json!({ "channel": "fleeting:a", "data": 1 }));
    push.server.handle.post(0, StoreEvent::Committed(Sequence(u64::MAX))).unwrap();
    for id in waiting {
        assert_eq!(client.hear(), json!({ "id": id, "publish": {} }));
    }
    client.say("publish", large);
    client.hears_nothing();
}
