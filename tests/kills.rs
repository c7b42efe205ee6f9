//! The push server, killed again and again while it is published to: what it has acknowledged is there, once, in its order.
//!
//! `LOOPWIRE_KILLS` says how often.
#![cfg(feature = "cli")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Far beyond what anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

const PUBLISHERS: usize = 12;
const SHARED: &str = "shared";

/// `loopwire serve` with a store that forgets nothing here.
struct Server {
    child: Child,
    authority: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loopwire"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LOOPWIRE_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--insecure-api", "--data"]).arg(data);
        command.args(["--history-size", "1000000", "--history-ttl", "1h"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let authority = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}"));
        Self { authority: authority.trim_end_matches('/').to_owned(), child }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As `systemctl stop` does.
    fn terminate(mut self) {
        let status = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls a method of the server API; `None` if the server is gone.
fn call(authority: &str, method: &str, request: &Value) -> Option<Value> {
    let mut stream = TcpStream::connect(authority).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = request.to_string();
    let head = format!("POST /api/{method} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    // A server that was killed may have ended the connection in the midst of it.
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let len: usize = head.split_once("Content-Length: ")?.1.lines().next()?.parse().unwrap();
    if body.len() < len {
        return None;
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    Some(serde_json::from_str(body).unwrap())
}

/// Where the server is at the moment, or nowhere.
#[derive(Default)]
struct Whereabouts {
    authority: Mutex<Option<String>>,
    changed: Condvar,
}

impl Whereabouts {
    fn set(&self, authority: Option<String>) {
        *self.authority.lock().unwrap() = authority;
        self.changed.notify_all();
    }

    fn wait(&self) -> String {
        let found = self.changed.wait_while(self.authority.lock().unwrap(), |authority| authority.is_none()).unwrap();
        found.clone().unwrap()
    }

    /// Waits until it is elsewhere.
    fn wait_for_another(&self, old: &str) {
        drop(self.changed.wait_while(self.authority.lock().unwrap(), |now| now.as_deref() == Some(old)).unwrap());
    }
}

/// A publication as it was acknowledged.
struct Acknowledged {
    channel: String,
    key: String,
    offset: u64,
    epoch: String,
}

/// Publishes one after the other, in turn to a channel of its own and to that of all. What was not acknowledged is
/// published again with the same key.
fn publish(publisher: usize, whereabouts: &Whereabouts, is_over: &AtomicBool, acknowledged: &Sender<Acknowledged>) {
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let channel = if number % 2 == 0 { SHARED.to_owned() } else { format!("own-{publisher}") };
        let key = format!("{publisher}-{number}");
        let request = json!({"channel": channel, "data": {"key": key}, "idempotency_key": key});
        let result = loop {
            let authority = whereabouts.wait();
            match call(&authority, "publish", &request) {
                Some(answer) => break answer["result"].clone(),
                None => whereabouts.wait_for_another(&authority),
            }
        };
        let (offset, epoch) = (result["offset"].as_u64(), result["epoch"].as_str());
        let (Some(offset), Some(epoch)) = (offset, epoch) else { panic!("{key}: {result}") };
        acknowledged.send(Acknowledged { channel, key, offset, epoch: epoch.to_owned() }).unwrap();
    }
}

/// The whole history of a channel: its epoch, and the keys in their order.
fn history(authority: &str, channel: &str) -> (String, Vec<String>) {
    let mut keys = Vec::new();
    let mut since = Value::Null;
    loop {
        let mut request = json!({"channel": channel, "limit": 300});
        if !since.is_null() {
            request["since"] = since;
        }
        let answer = call(authority, "history", &request).unwrap();
        let result = &answer["result"];
        let epoch = result["epoch"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let Some(publications) = result["publications"].as_array().filter(|list| !list.is_empty()) else {
            return (epoch, keys);
        };
        for publication in publications {
            keys.push(publication["data"]["key"].as_str().unwrap().to_owned());
            assert_eq!(publication["offset"], keys.len(), "{channel}: offsets follow one another");
        }
        since = json!({"offset": keys.len(), "epoch": epoch});
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let kills: usize = std::env::var("LOOPWIRE_KILLS").map_or(5, |kills| kills.parse().unwrap());
    let scratch = Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kills-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&scratch.0);

    let (sender, acknowledgements) = channel();
    let (whereabouts, is_over) = (Arc::new(Whereabouts::default()), Arc::new(AtomicBool::new(false)));
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (whereabouts, is_over, sender) = (Arc::clone(&whereabouts), Arc::clone(&is_over), sender.clone());
            thread::spawn(move || publish(publisher, &whereabouts, &is_over, &sender))
        })
        .collect();
    drop(sender);

    let mut acknowledged = Vec::new();
    let mut random = 1_u64;
    for _ in 0..kills {
        let mut server = Server::start(&scratch.0);
        whereabouts.set(Some(server.authority.clone()));
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..=random % 400 {
            acknowledged.push(acknowledgements.recv_timeout(DEADLINE).expect("publications are acknowledged"));
        }
        server.kill();
        whereabouts.set(None);
    }

    let server = Server::start(&scratch.0);
    is_over.store(true, Ordering::Relaxed);
    whereabouts.set(Some(server.authority.clone()));
    for publisher in publishers {
        publisher.join().unwrap();
    }
    acknowledged.extend(acknowledgements);

    let names = (0..PUBLISHERS).map(|publisher| format!("own-{publisher}")).chain([SHARED.to_owned()]);
    let histories: BTreeMap<_, _> = names.map(|name| (name.clone(), history(&server.authority, &name))).collect();
    println!("{kills} kills, {} acknowledged publications", acknowledged.len());
    for Acknowledged { channel, key, offset, epoch } in &acknowledged {
        let (found, keys) = &histories[channel];
        assert_eq!(epoch, found, "{key}: {channel} is the same stream as before");
        assert_eq!(keys.get(*offset as usize - 1), Some(key), "{key} at {offset} of {channel}");
    }
    // All were acknowledged in the end, so there is nothing besides, and nothing twice.
    let kept: usize = histories.values().map(|(_, keys)| keys.len()).sum();
    assert_eq!(kept, acknowledged.len());

    // And once more, ended as it should be.
    server.terminate();
    let server = Server::start(&scratch.0);
    for (name, before) in &histories {
        assert_eq!(&history(&server.authority, name), before, "{name}");
    }
}
