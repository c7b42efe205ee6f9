//! `loopwire bench`: what it measures, what it refuses, and what it ends with.

use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::peer::accept;
use crate::process::{Ended, Process, loopwire, run, with_descriptors};

/// Measurements that end with their first answers, however long those take.
const SHORT: [&str; 6] = ["--messages", "5", "--duration", "1h", "--warmup", "off"];

fn bench(arguments: &[&str]) -> Ended {
    run(loopwire(&[&["bench"], arguments, &SHORT].concat()), b"")
}

/// The object that `--json` prints.
fn measured(arguments: &[&str]) -> Value {
    let ended = bench(&[arguments, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {path} of {value}"))
}

/// A server of another make that answers every message as `answer` says, on any number of connections.
fn answering(answer: fn(&mut WebSocket<TcpStream>, Message)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let (mut socket, _) = accept(stream.unwrap());
                while let Ok(message) = socket.read() {
                    if message.is_text() || message.is_binary() {
                        answer(&mut socket, message);
                    }
                }
            });
        }
    });
    url
}

#[test]
fn an_echo_is_measured_in_every_shape_and_told_as_one_json_object() {
    let kinds: [(&[&str], &str); 6] = [
        (&["-c", "3"], "text"),
        (&["-c", "2", "-s", "1", "--depth", "64"], "text"),
        (&["-c", "2", "-s", "70000", "--binary", "--depth", "3"], "binary"),
        (&["-c", "1", "-s", "2MiB"], "text"),
        (&["-c", "2", "-s", "300", "--deflate"], "text"),
        (&["-c", "2", "-s", "126", "--unchecked"], "text"),
    ];
    for (flags, kind) in kinds {
        let report = measured(&[&["echo"], flags].concat());
        assert_eq!(report["mode"], "echo");
        assert_eq!(report["kind"], kind);
        assert_eq!(report["errors"], 0, "{report}");
        assert_eq!(report["rate"], Value::Null);
        assert_eq!(report["latency_us"]["corrected"], false);
        let messages = number(&report, "/messages");
        assert!(messages >= 1.0, "{report}");
        let (seconds, rate) = (number(&report, "/seconds"), number(&report, "/messages_per_second"));
        // The seconds are told to three decimals.
        assert!((messages - seconds * rate).abs() < rate * 0.001, "{report}");
        let quantiles = ["min", "p50", "p90", "p99", "p99_9", "p99_99", "max"];
        let values = quantiles.map(|name| number(&report, &format!("/latency_us/{name}")));
        assert!(values.is_sorted(), "{report}");
        if cfg!(target_os = "linux") {
            assert!(number(&report, "/server/rss_bytes") > 0.0);
            assert!(number(&report, "/client/cpu_seconds") >= 0.0);
        }
        if flags.contains(&"--deflate") {
            assert_eq!(report["compressed_replies"], report["messages"]);
        }
    }
}

#[test]
fn at_a_constant_rate_latency_counts_from_when_messages_were_due() {
    let report = measured(&["echo", "-c", "2", "--rate", "500"]);
    assert_eq!(report["rate"], 500);
    assert_eq!(report["latency_us"]["corrected"], true);
    assert!(number(&report, "/messages") >= 5.0, "{report}");
}

#[test]
fn a_server_at_a_url_is_measured_with_its_process_over_tls_and_unix_sockets() {
    let socket = std::env::temp_dir().join(format!("loopwire-bench.{}.sock", std::process::id()));
    let servers: [&[&str]; 2] =
        [&["echo", "--listen", "127.0.0.1:0", "--self-signed"], &["echo", "--unix", socket.to_str().unwrap()]];
    for (arguments, tls) in servers.into_iter().zip([true, false]) {
        let (server, url) = Process::server(arguments);
        let pid = server.pid().to_string();
        let mut flags = vec!["echo", url.as_str(), "-c", "2", "-s", "20000", "--depth", "4", "--insecure"];
        if cfg!(target_os = "linux") {
            flags.extend(["--pid", &pid]);
        }
        let report = measured(&flags);
        assert_eq!((&report["url"], &report["tls"]), (&Value::from(url), &Value::from(tls)));
        assert!(number(&report, "/messages") >= 1.0);
        if cfg!(target_os = "linux") {
            assert_eq!(report["server"]["pid"], server.pid());
        }
    }
}

#[test]
fn a_threshold_that_is_missed_makes_it_fail_with_a_line_for_each() {
    let ended = bench(&["echo", "-c", "1", "--min-rate", "4000000000", "--max-p50", "1us", "--max-p999", "10m"]);
    assert_eq!(ended.code, Some(7), "{ended:?}");
    let missed: Vec<&str> = ended.stderr.lines().collect();
    assert!(missed[0].starts_with("missed --min-rate 4000000000: "), "{missed:?}");
    assert!(missed[1].starts_with("missed --max-p50 1us: "), "{missed:?}");
    assert_eq!(missed.len(), 2);

    let ended = bench(&["echo", "-c", "1", "--min-rate", "1", "--max-p50", "10m"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_wrong_answer_is_an_error_and_fails() {
    type Answer = fn(&mut WebSocket<TcpStream>, Message);
    let other_text: Answer = |socket, message| {
        let mut text = message.into_text().unwrap().to_string();
        text.replace_range(..1, "?");
        let _ = socket.send(Message::text(text));
    };
    let other_kind: Answer = |socket, message| {
        let _ = socket.send(Message::binary(message.into_data()));
    };
    let twice: Answer = |socket, message| {
        let _ = socket.send(message.clone());
        let _ = socket.send(message);
    };
    let shorter: Answer = |socket, message| {
        let _ = socket.send(Message::text(&message.into_text().unwrap()[1..]));
    };
    let closes: Answer = |socket, _| {
        let _ = socket.close(None);
    };
    let resets: Answer = |socket, _| {
        let _ = socket.get_mut().shutdown(std::net::Shutdown::Both);
    };
    for (answer, size, what) in [
        (other_text, "20", "an answer is not what was sent"),
        (other_text, "100000", "an answer is not what was sent"),
        (other_kind, "20", "an answer is not what was sent"),
        (shorter, "20", "an answer is not what was sent"),
        (twice, "20", "answer"),
        (closes, "20", "the server closed the connection with"),
        (resets, "20", "the server ended the connection without closing it"),
    ] {
        let ended = bench(&["echo", &answering(answer), "-c", "1", "-s", size, "--json"]);
        assert_eq!(ended.code, Some(4), "{what}: {ended:?}");
        assert!(ended.stderr.contains(what), "{what}: {}", ended.stderr);
        let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
        assert!(number(&report, "/errors") >= 1.0);
    }
    // Who does not look does not see.
    let ended = bench(&["echo", &answering(other_text), "-c", "1", "--unchecked"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_server_may_greet_and_may_answer_in_its_own_way_if_that_is_allowed() {
    // An answer behind something else: an error, or not, as one says.
    let chatty = answering(|socket, message| {
        let _ = socket.send(Message::text("by the way"));
        let _ = socket.send(message);
    });
    let report = measured(&["echo", &chatty, "-c", "1", "--allow-others"]);
    assert!(number(&report, "/other_messages") >= 5.0, "{report}");
    let ended = bench(&["echo", &chatty, "-c", "1"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    // A request and a response.
    let service = answering(|socket, message| {
        assert_eq!(message.to_text().unwrap(), "time?");
        let _ = socket.send(Message::text("it is late"));
    });
    let report = measured(&["echo", &service, "-c", "2", "--message", "time?", "--depth", "3", "--unchecked"]);
    assert_eq!((&report["size"], &report["checked"]), (&Value::from(5), &Value::from(false)));
    measured(&["echo", "-c", "2", "--message", &"hello ".repeat(50), "--deflate"]);
}

#[test]
fn a_server_that_cannot_be_measured_is_told_in_one_sentence() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("ws://{}", listener.local_addr().unwrap());
    let no_deflate = answering(|_, _| ());
    let nobody = format!("ws://{closed}/");
    let rows: [(&[&str], i32, &str); 11] = [
        (&[&nobody], 3, "Connection refused"),
        (&["ws://nowhere.invalid/"], 3, "cannot find the address of nowhere.invalid"),
        (&["ws+unix:/nowhere/loopwire.sock"], 3, "cannot connect to ws+unix:/nowhere/loopwire.sock"),
        (&[&silent, "--connect-timeout", "1ms"], 3, "within --connect-timeout"),
        (&[&no_deflate, "--deflate"], 3, "does not agree to permessage-deflate"),
        (&["--deflate", "--binary"], 2, "leave it or --binary out"),
        (&[&nobody, "--min-per-cpu-second", "1"], 2, "give --pid"),
        (&["--pid", "1"], 2, "--pid is for the server at a URL"),
        (&["--message", "hello", "--binary"], 2, "leave it or --binary out"),
        (&["--unchecked", "--allow-others"], 2, "leave it or --allow-others out"),
        (&["--ca", "/nowhere/ca.pem", "--insecure"], 2, "leave it or --ca out"),
    ];
    for (arguments, code, what) in rows {
        let ended = bench(&[&["echo"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(what), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
    for arguments in [
        &["echo", "-c", "0"][..],
        &["echo", "-s", "0"],
        &["echo", "--depth", "x"],
        &["echo", "--rate", "0"],
        &["echo", "--max-p50", "0"],
        &["echo", "http://localhost/"],
        &["ecco"],
        &[],
    ] {
        let ended = run(loopwire(&[&["bench"], arguments].concat()), b"");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
    drop(listener);
}

#[test]
fn a_fan_out_is_measured_by_its_deliveries() {
    for (flags, corrected) in [
        (&["--subscribers", "3"][..], false),
        (&["--subscribers", "2", "--batch", "16", "-s", "5000", "--binary"], false),
        (&["--subscribers", "2", "--batch", "2", "--rate", "1000"], true),
    ] {
        let report = measured(&[&["fanout"], flags].concat());
        assert_eq!(report["mode"], "fanout");
        assert_eq!(report["subscribers"], flags[1].parse::<u32>().unwrap());
        assert_eq!((&report["errors"], &report["other_messages"]), (&Value::from(0), &Value::from(0)), "{report}");
        assert_eq!(report["latency_us"]["corrected"], corrected);
        assert!(number(&report, "/messages") >= 5.0);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn servers_are_compared_beside_one_another() {
    let kinds: [&[&str]; 3] = [
        &["echo", "-c", "3", "--depth", "4"],
        &["echo", "-c", "2", "--deflate", "-s", "300"],
        &["fanout", "--subscribers", "3", "--batch", "2"],
    ];
    for flags in kinds {
        let serve = ["echo", "--listen", "127.0.0.1:0", "--broadcast"];
        let serve = &serve[..if flags[0] == "fanout" { 4 } else { 3 }];
        let (first, url) = Process::server(serve);
        let servers = [Process::server(serve), Process::server(serve)];
        let pid = first.pid().to_string();
        let others: Vec<_> = servers.iter().map(|(server, url)| format!("{}@{url}", server.pid())).collect();
        let beside = [&url, "--pid", &pid, "--slice", "5ms", "--beside", &others[0], "--beside", &others[1]];
        let report = measured(&[flags, &beside].concat());
        assert_eq!((&report["mode"], &report["errors"]), (&Value::from(flags[0]), &Value::from(0)));
        assert_eq!(report["servers"].as_array().unwrap().len(), 3);
        assert!(number(&report, "/rounds") >= 1.0);
        let urls = [&url, &servers[0].1, &servers[1].1];
        for (index, url) in urls.into_iter().enumerate() {
            let of = |what: &str| number(&report, &format!("/servers/{index}{what}"));
            assert_eq!(report["servers"][index]["url"], *url.as_str());
            assert!(of("/messages") >= 1.0, "{report}");
            assert!(of("/messages_per_cpu_second/median") > 0.0 && of("/ratio/median") > 0.0, "{report}");
        }
        assert_eq!(report["servers"][0]["ratio"]["median"], 1.0);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_that_fails_beside_others_is_told_and_they_are_compared_without_it() {
    let (first, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let (second, other) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let fails = answering(|socket, _| drop(socket.close(None)));
    let own = std::process::id();
    let others = [format!("{own}@{fails}"), format!("{}@{other}", second.pid())];
    let pid = first.pid().to_string();
    let flags = [
        "echo", &url, "--pid", &pid, "-c", "1", "--slice", "5ms", "--beside", &others[0], "--beside", &others[1],
        "--json",
    ];
    let ended = bench(&flags);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains(&format!("{fails}: the server closed the connection with")), "{}", ended.stderr);
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["servers"][1]["ratio"], Value::Null);
    assert!(number(&report, "/servers/2/ratio/median") > 0.0, "{report}");

    for (flags, what) in [
        (&["--rate", "5"][..], "leave --rate and thresholds out"),
        (&["--max-p99", "5ms"], "leave --rate and thresholds out"),
        (&["ws://localhost/"], "give --pid"),
        (&["--beside", "ws://localhost/"], "the number of its process"),
        (&["--beside", "4294967295@ws://localhost/"], "cannot tell what process 4294967295 uses"),
    ] {
        let ended = bench(&[&["echo", "--beside", &others[1]], flags].concat());
        assert_eq!(ended.code, Some(2), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains(what), "{flags:?}: {}", ended.stderr);
    }
}

#[test]
fn a_fan_out_server_may_leave_out_the_sender_ask_for_a_subscription_and_greet() {
    // Subscribers say so; whoever does not is a publisher, and hears nothing but the greeting.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let subscribers = Arc::new(Mutex::new(Vec::new()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mine = stream.try_clone().unwrap();
            let subscribers = Arc::clone(&subscribers);
            thread::spawn(move || {
                let (mut socket, _) = accept(stream);
                let _ = socket.send(Message::text("welcome"));
                while let Ok(message) = socket.read() {
                    if message.to_text().is_ok_and(|text| text == "subscribe me") {
                        let _ = socket.send(Message::text("subscribed"));
                        let stream = mine.try_clone().unwrap();
                        subscribers.lock().unwrap().push(WebSocket::from_raw_socket(stream, Role::Server, None));
                    } else if message.is_text() {
                        while subscribers.lock().unwrap().len() < 2 {
                            thread::yield_now();
                        }
                        for subscriber in subscribers.lock().unwrap().iter_mut() {
                            let _ = subscriber.send(message.clone());
                        }
                    }
                }
            });
        }
    });
    let flags = ["fanout", &url, "--publish-url", &url, "--subscribe", "subscribe me", "--settle", "1ms"];
    let report = measured(&[&flags[..], &["--subscribers", "2"]].concat());
    assert_eq!((&report["errors"], &report["server"]), (&Value::from(0), &Value::Null));
    assert!(number(&report, "/messages") >= 5.0);
    assert!(number(&report, "/other_messages") >= 4.0, "{report}");
}

#[test]
fn what_is_not_delivered_is_an_error_and_fails() {
    let url = answering(|socket, _| {
        let _ = socket.send(Message::text("something else"));
    });
    let flags = ["bench", "fanout", &url, "--subscribers", "2", "--duration", "50ms", "--warmup", "off"];
    let ended = run(loopwire(&[&flags[..], &["--answer-timeout", "50ms"]].concat()), b"");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("2 errors; the first: a message was not delivered"), "{}", ended.stderr);
}

#[test]
fn idle_connections_are_counted_in_bytes_and_have_to_be_alive() {
    let flags = ["bench", "idle", "-c", "40", "--hold", "1ms", "--json"];
    let ended = run(loopwire(&flags), b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&report["mode"], &report["connections"]), (&Value::from("idle"), &Value::from(40)));
    assert_eq!((&report["errors"], &report["latency_us"]), (&Value::from(0), &Value::Null));
    if cfg!(target_os = "linux") {
        assert!(number(&report, "/server/bytes_per_connection") >= 0.0);
        let ended = run(loopwire(&[&flags[..], &["--deflate", "--max-bytes-per-connection", "1GiB"]].concat()), b"");
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    // One that shakes hands and then does nothing more, not even answer a ping.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || accept(listener.accept().unwrap().0));
    let flags = ["bench", "idle", &url, "-c", "1", "--hold", "1ms", "--answer-timeout", "50ms"];
    let ended = run(loopwire(&flags), b"");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("a ping was not answered"), "{}", ended.stderr);
    drop(server.join());
    let ended = run(loopwire(&["bench", "idle", &url, "--max-bytes-per-connection", "1"]), b"");
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn connections_are_opened_closed_and_opened_again() {
    let report = measured(&["connect", "-c", "2"]);
    assert_eq!((&report["mode"], &report["errors"]), (&Value::from("connect"), &Value::from(0)));
    assert!(number(&report, "/messages") >= 5.0);
    assert!(number(&report, "/latency_us/p50") > 0.0);
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0", "--self-signed"]);
    assert_eq!(measured(&["connect", &url, "-c", "2", "--insecure"])["tls"], true);
}

#[test]
fn a_server_that_goes_away_ends_it() {
    // It takes the first connection, and then none.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || drop(accept(listener.accept().unwrap().0)));
    let ended = bench(&["connect", &url, "-c", "1"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("5 errors; the first: cannot connect to"), "{}", ended.stderr);
}

#[test]
fn without_descriptors_it_says_how_many_connections_there_were() {
    let (_server, url) = Process::server(&["echo", "--listen", "127.0.0.1:0"]);
    let command = with_descriptors(40, &loopwire(&["bench", "echo", &url, "-c", "100"]));
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    for part in ["for the connection after the first", "Too many open files", "ulimit -n"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_signal_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let bench = Process::start(loopwire(&["bench", "echo", &url, "-c", "1", "--duration", "1h"]));
    let (mut socket, _) = accept(listener.accept().unwrap().0);
    socket.read().unwrap();
    bench.signal("TERM");
    let ended = bench.ended();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("interrupted"), "{}", ended.stderr);
}
