//! `loopwire bench push`: what it measures, what it notices, and how everybody comes back.

use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::peer::accept;
use crate::process::{Ended, loopwire, run};

/// As little as can be measured.
const SHORT: [&str; 8] = ["--messages", "5", "--duration", "1h", "--warmup", "off", "--rate", "500"];

fn push(arguments: &[&str]) -> Ended {
    run(loopwire(&[&["bench", "push"], arguments, &SHORT].concat()), b"")
}

fn measured(arguments: &[&str]) -> Value {
    let ended = push(&[arguments, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn subscribers_get_what_is_published_and_come_back_to_what_they_missed() {
    let report = measured(&["--subscribers", "7", "--channels", "3", "--publishers", "2", "--storm", "cut"]);
    assert_eq!(report["mode"], "push");
    assert_eq!((&report["lost"], &report["doubled"], &report["errors"]), (&json!(0), &json!(0), &json!(0)));
    assert!(report["messages"].as_u64().unwrap() >= 5, "{report}");
    assert_eq!(report["published"], report["acknowledged"]);
    assert_eq!(report["latency_us"]["corrected"], true);
    let storm = &report["storm"];
    assert_eq!((&storm["kind"], &storm["recovered"]), (&json!("cut"), &json!(7)));
    assert_eq!(storm["publications"], 70, "ten to each of them");
    assert!(storm["most_ms"].as_f64() <= storm["all_ms"].as_f64() && storm["listening_ms"].is_null(), "{storm}");
}

#[test]
fn a_server_that_is_killed_has_everything_when_it_is_back() {
    let data = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-push-{}", std::process::id()));
    let storm = ["--storm", "restart", "--missed", "20", "--subscribers", "4", "--channels", "2"];
    let report = measured(&[&storm[..], &["--server-data", data.to_str().unwrap()]].concat());
    std::fs::remove_dir_all(&data).unwrap();
    assert_eq!((&report["lost"], &report["doubled"], &report["errors"]), (&json!(0), &json!(0), &json!(0)));
    assert_eq!((&report["storm"]["recovered"], &report["storm"]["publications"]), (&json!(4), &json!(80)));
    assert!(report["storm"]["listening_ms"].as_f64() <= report["storm"]["half_ms"].as_f64(), "{report}");

    let ended = push(&storm);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("give --server-data"), "{}", ended.stderr);
}

/// A server with one subscriber, which gets as many copies of each publication as `copies` says of its number.
fn copying(copies: fn(u64) -> usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let subscriber: Arc<Mutex<Option<Sender<Value>>>> = Arc::default();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let subscriber = Arc::clone(&subscriber);
            thread::spawn(move || {
                let (mut socket, _) = accept(stream.unwrap());
                while let Ok(Message::Text(text)) = socket.read() {
                    for command in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                        let (id, publish) = (&command["id"], &command["publish"]);
                        let method =
                            ["connect", "subscribe", "publish"].into_iter().find(|it| command.get(it).is_some());
                        let reply = json!({"id": id, method.unwrap(): {"epoch": "e"}});
                        socket.send(Message::text(reply.to_string())).unwrap();
                        if method == Some("subscribe") {
                            let (sender, publications) = channel::<Value>();
                            *subscriber.lock().unwrap() = Some(sender);
                            for data in publications {
                                let push = json!({"push": {"channel": "c", "pub": {"data": data}}});
                                let _ = socket.send(Message::text(push.to_string()));
                            }
                        } else if let Some(number) = publish["data"]["n"].as_u64() {
                            let subscriber = subscriber.lock().unwrap();
                            for _ in 0..copies(number) {
                                let _ = subscriber.as_ref().unwrap().send(publish["data"].clone());
                            }
                        }
                    }
                }
            });
        }
    });
    url
}

#[test]
fn what_is_lost_or_doubled_is_told() {
    type Copies = fn(u64) -> usize;
    let cases: [(Copies, u64, u64, &str); 3] = [
        (|_| 1, 0, 0, ""),
        (|number| usize::from(number != 2), 1, 0, "a publication is missing between others"),
        (|number| 1 + usize::from(number == 3), 0, 1, "a publication was delivered twice"),
    ];
    for (copies, lost, doubled, said) in cases {
        let ended = push(&[&copying(copies), "--subscribers", "1", "--channels", "1", "--json"]);
        let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert_eq!((&report["lost"], &report["doubled"]), (&json!(lost), &json!(doubled)), "{report}");
        assert_eq!(ended.code, Some(if said.is_empty() { 0 } else { 4 }), "{ended:?}");
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }

    let url = copying(|_| 0);
    let flags = ["--subscribers", "1", "--duration", "10ms", "--warmup", "off", "--answer-timeout", "50ms"];
    let nothing = run(loopwire(&[&["bench", "push", &url], &flags[..]].concat()), b"");
    assert_eq!(nothing.code, Some(4), "{nothing:?}");
    assert!(nothing.stderr.contains("a publication was not delivered within --answer-timeout"), "{}", nothing.stderr);
}
