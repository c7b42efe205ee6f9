//! `loopwire tap`: every byte passes as it is, and is told.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use socket2::SockRef;

use crate::process::{DEADLINE, Process, loopwire, run};

pub(crate) const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A tap before a server that the test plays itself.
struct Tapped {
    tap: Process,
    address: SocketAddr,
    upstream: TcpListener,
}

impl Tapped {
    fn start(flags: &[&str]) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", upstream.local_addr().unwrap());
        let (tap, address) = Process::server(&[&["tap", "127.0.0.1:0", &url, "--lazy"], flags].concat());
        Self { tap, address: address.strip_prefix("ws://").unwrap().parse().unwrap(), upstream }
    }

    /// A client and a server, connected by the tap.
    fn connect(&self) -> (TcpStream, TcpStream) {
        connect(self.address, &self.upstream)
    }

    /// The next line that contains `part`.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.tap.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// All that is told after the connections have ended.
    fn told(self) -> Vec<String> {
        self.tap.signal("TERM");
        let ended = self.tap.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

fn connect(tap: SocketAddr, upstream: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(tap).unwrap();
    let (server, _) = upstream.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
    }
    (client, server)
}

/// Sends on one side, and has it arrive on the other.
fn send(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut came = vec![0; bytes.len()];
    to.read_exact(&mut came).unwrap();
    assert!(came == bytes);
}

fn handshake(client: &mut TcpStream, server: &mut TcpStream) {
    send(client, server, REQUEST);
    send(server, client, ANSWER);
}

fn end(from: &TcpStream, to: &mut TcpStream) {
    from.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to.read(&mut [0]).unwrap(), 0, "the end passes");
}

/// Bytes without a pattern.
fn noise(len: usize, mut state: u32) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn scratch(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn whatever_is_sent_passes_as_it_is_even_behind_a_broken_rule_and_behind_one_side_s_end() {
    let tapped = Tapped::start(&[]);
    let (mut client, mut server) = tapped.connect();
    handshake(&mut client, &mut server);
    let (up, down) = (noise(5 << 20, 1), noise(3 << 20, 2));
    let sent = (up.clone(), down.clone());
    let (mut client_writes, mut server_writes) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let writers = [
        thread::spawn(move || {
            client_writes.write_all(&up).unwrap();
            client_writes.shutdown(Shutdown::Write).unwrap();
        }),
        thread::spawn(move || {
            // What the server sends after the client's end arrives too.
            server_writes.write_all(&down).unwrap();
        }),
    ];
    let (mut at_server, mut at_client) = (Vec::new(), Vec::new());
    server.read_to_end(&mut at_server).unwrap();
    for writer in writers {
        writer.join().unwrap();
    }
    server.write_all(b"and then").unwrap();
    drop(server);
    client.read_to_end(&mut at_client).unwrap();
    assert!(at_server == sent.0 && at_client == [&sent.1[..], b"and then"].concat());
}

#[test]
fn each_frame_is_told_with_its_section_and_where_both_ends_stand() {
    let tapped = Tapped::start(&[]);
    let (mut client, mut server) = tapped.connect();
    handshake(&mut client, &mut server);
    send(&mut client, &mut server, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    send(&mut server, &mut client, b"\x01\x03Hel\x80\x02lo");
    send(&mut server, &mut client, b"\x89\x04\x1b[2J");
    send(&mut client, &mut server, b"\x88\x82\0\0\0\0\x03\xe8");
    send(&mut server, &mut client, b"\x88\x02\x03\xe8");
    end(&server, &mut client);
    end(&client, &mut server);
    let lines = tapped.told();
    let text = lines.join("\n");
    assert!(!text.contains('\x1b'), "no colour in a pipe, and nothing of the peer's: {text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
    // The time is left out, and lines that were folded are put together.
    let mut told: Vec<String> = Vec::new();
    for line in &lines {
        match line.split_once('#') {
            Some((time, rest)) if time.trim().parse::<f64>().is_ok() => told.push(rest.to_owned()),
            _ => {
                let last = told.last_mut().unwrap();
                last.push(' ');
                last.push_str(line.trim_start());
            }
        }
    }
    let expected = [
        "0 · a client has connected",
        "0 → client asks for a WebSocket, version 13, at \"/chat\" of example.com [RFC 6455 §4.1] connecting|connecting",
        "0 ← server agrees [RFC 6455 §4.2.2] open|open",
        "0 → client sends text fin, 5 bytes, masked [RFC 6455 §5.6] open|open",
        "0 → client's message: text, 5 bytes: \"Hello\" [RFC 6455 §6.2] open|open",
        "0 ← server sends text, 3 bytes [RFC 6455 §5.6] open|open",
        "0 ← server sends continuation fin, 2 bytes [RFC 6455 §5.4] open|open",
        "0 ← server's message: text, 5 bytes in 2 frames: \"Hello\" [RFC 6455 §6.2] open|open",
        "0 ← server sends ping fin, 4 bytes: \"\\u{1b}[2J\" [RFC 6455 §5.5.2] open|open",
        "0 → client sends close fin, 2 bytes, masked: 1000 [RFC 6455 §5.5.1] closing|closing",
        "0 ← server sends close fin, 2 bytes: 1000 [RFC 6455 §5.5.1] closed|closed",
        "0 ← server ends the stream [RFC 6455 §7.1.1] closed|closed",
        "0 → client ends the stream [RFC 6455 §7.1.1] closed|closed",
        "0 · the connection is over",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_broken_rule_is_told_with_what_is_owed_at_every_level_but_none() {
    for (flags, kinds) in [
        (&[][..], "opened request answer frame message violation frame end end closed"),
        (&["--show", "frames"], "opened request answer frame violation frame end end closed"),
        (&["--show", "messages"], "opened request answer message violation end end closed"),
        (&["--quiet"], "violation end end closed"),
        (&["--show", "none"], ""),
    ] {
        let mut tapped = Tapped::start_json(flags);
        let (mut client, mut server) = tapped.connect();
        handshake(&mut client, &mut server);
        send(&mut server, &mut client, b"\x81\x05Hello");
        send(&mut client, &mut server, b"\x81\x05Hello");
        end(&client, &mut server);
        end(&server, &mut client);
        if kinds.is_empty() {
            assert_eq!(tapped.told(), [""; 0]);
            continue;
        }
        let mut events: Vec<Value> = Vec::new();
        while events.last().is_none_or(|event| event["event"] != "closed") {
            events.push(serde_json::from_str(&tapped.line("")).unwrap());
        }
        let told: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(told.join(" "), kinds, "{flags:?}");
        let violation = events.iter().find(|event| event["event"] == "violation").unwrap();
        assert_eq!(violation["rule"], "mask-missing");
        assert_eq!(violation["owed"]["close"], 1002);
        assert_eq!(violation["offset"], REQUEST.len());
        assert_eq!((&violation["from"], &violation["client"]), (&"client".into(), &"open".into()));
    }
    let mut tapped = Tapped::start(&["--quiet"]);
    let (mut client, mut server) = tapped.connect();
    handshake(&mut client, &mut server);
    send(&mut client, &mut server, b"\x81\x05Hello");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains("owed: a Close with 1002")) {
        lines.push(tapped.tap.line().trim_start().to_owned());
    }
    let text = lines.join(" ");
    assert!(text.contains(&format!("#0 → client breaks a rule at byte {}: ", REQUEST.len())), "{text}");
    assert!(text.contains("a client masks every frame it sends [RFC 6455 §5.1] open|open"), "{text}");
    assert!(text.contains("rule mask-missing; "), "{text}");
}

impl Tapped {
    /// With `--json`, whose first line says where to connect.
    fn start_json(flags: &[&str]) -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}", upstream.local_addr().unwrap());
        let mut tap = Process::start(loopwire(&[&["tap", "127.0.0.1:0", &url, "--lazy", "--json"], flags].concat()));
        Self { address: listening(&tap.line()), tap, upstream }
    }
}

fn listening(line: &str) -> SocketAddr {
    let first: Value = serde_json::from_str(line).unwrap();
    assert_eq!(first["event"], "listening");
    first["url"].as_str().unwrap().strip_prefix("ws://").unwrap().parse().unwrap()
}

#[test]
fn a_reset_passes_as_a_reset_behind_what_was_sent_before() {
    for client_resets in [true, false] {
        let mut tapped = Tapped::start(&["--quiet"]);
        let (mut client, mut server) = tapped.connect();
        handshake(&mut client, &mut server);
        let (mut gone, mut other) = if client_resets { (client, server) } else { (server, client) };
        gone.write_all(b"the last word").unwrap();
        let mut came = [0; 13];
        other.read_exact(&mut came).unwrap();
        SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
        drop(gone);
        assert_eq!(other.read(&mut came).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let who = if client_resets { "→ client" } else { "← server" };
        assert!(tapped.line("breaks the connection off").contains(who));
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_one_sentence() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{free}");
    for (arguments, code, part) in [
        (&["tap", "127.0.0.1:0", &url][..], 3, "cannot reach ws://127.0.0.1"),
        (&["tap", "127.0.0.1:0", "ws://name.invalid"], 3, "cannot reach ws://name.invalid"),
        (&["tap", "127.0.0.1:0", "ws+unix:/nowhere/at/all"], 3, "cannot reach ws+unix:/nowhere/at/all"),
        (&["tap", "127.0.0.1:0", "http://127.0.0.1"], 2, "ws"),
        (&["tap", "here", &url], 2, "such as 127.0.0.1:8080"),
        (&["tap", "127.0.0.1:0", &url, "--lazy", "--record", "/nowhere/at/all"], 1, "cannot write /nowhere/at/all"),
    ] {
        let outcome = run(loopwire(arguments), b"");
        assert_eq!(outcome.code, Some(code), "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(part) && outcome.stdout.is_empty(), "{}", outcome.stderr);
    }
    let (mut tap, address) = Process::server(&["tap", "127.0.0.1:0", &url, "--lazy"]);
    let mut client = TcpStream::connect(address.strip_prefix("ws://").unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed");
    let said = tap.error_line("cannot reach");
    assert!(said.starts_with("#0: ") && said.contains("the client's connection is closed"), "{said}");
}

#[test]
fn tls_and_unix_sockets_are_ends_as_well() {
    let (_echo, secure) = Process::server(&["echo", "--listen", "127.0.0.1:0", "--self-signed"]);
    let refused = run(loopwire(&["tap", "127.0.0.1:0", &secure]), b"");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("--insecure anybody"), "{}", refused.stderr);

    let (mut tap, url) = Process::server(&["tap", "127.0.0.1:0", &secure, "--insecure", "--self-signed"]);
    assert!(url.starts_with("wss://"));
    let outcome = run(loopwire(&["connect", "--insecure", &url]), &b"x".repeat(200_000));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stdout.len() == 200_001);
    while !tap.line().contains("the connection is over") {}

    let socket = scratch("tap.sock");
    let listen = format!("unix:{}", socket.display());
    let (tap, url) = Process::server(&["tap", &listen, &secure, "--insecure"]);
    assert_eq!(url, format!("ws+unix:{}", socket.display()));
    let (_second, through) = Process::server(&["tap", "127.0.0.1:0", &url]);
    let outcome = run(loopwire(&["connect", &through]), b"Hello\n");
    assert_eq!((outcome.code, &outcome.stdout[..]), (Some(0), &b"Hello\n"[..]), "{}", outcome.stderr);
    tap.signal("INT");
    assert_eq!(tap.ended().code, Some(0));
    assert!(!socket.exists(), "its file goes with it");
}

#[test]
fn a_recording_has_every_byte_in_its_order_and_is_whole_after_a_signal() {
    let file = scratch("tap.jsonl");
    let tapped = Tapped::start(&["--show", "none", "--record", file.to_str().unwrap()]);
    let (mut client, mut server) = tapped.connect();
    handshake(&mut client, &mut server);
    let noise = noise(300_000, 3);
    send(&mut client, &mut server, &noise);
    end(&server, &mut client);
    let (mut other, mut upstream) = tapped.connect();
    send(&mut other, &mut upstream, b"second");
    assert_eq!(tapped.told(), [""; 0]);
    let mut passed = [const { Vec::new() }; 3];
    let mut ends = Vec::new();
    for line in std::fs::read_to_string(&file).unwrap().lines().skip(1) {
        let entry: Value = serde_json::from_str(line).unwrap();
        let (from, connection) = (entry["from"].as_str().unwrap(), entry["connection"].as_u64().unwrap());
        match entry["bytes"].as_str() {
            Some(bytes) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(bytes).unwrap();
                let stream = if from == "server" { 2 } else { usize::try_from(connection).unwrap() };
                passed[stream].extend(bytes);
            }
            None => ends.push((from.to_owned(), connection)),
        }
    }
    assert!(passed == [[REQUEST, &noise].concat(), b"second".to_vec(), ANSWER.to_vec()]);
    assert_eq!(ends, [("server".to_owned(), 0)]);
    std::fs::remove_file(&file).unwrap();
}

/// What a process has held at most, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn who_does_not_read_is_waited_for_and_a_long_message_costs_no_memory() {
    const LEN: u64 = 64 << 20;
    let tapped = Tapped::start(&["--quiet"]);
    let (mut client, mut server) = tapped.connect();
    handshake(&mut client, &mut server);
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // One binary message from the server.
    let header = [&b"\x82\x7f"[..], &LEN.to_be_bytes()].concat();
    send(&mut server, &mut client, &header);
    server.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let chunk = vec![0; 1 << 20];
    let mut sent = 0;
    let stuck = loop {
        match server.write(&chunk[..chunk.len().min((LEN - sent) as usize)]) {
            Ok(len) => sent += len as u64,
            Err(error) => break error.kind(),
        }
        assert!(sent < LEN, "all of it went somewhere, although nobody has read any");
    };
    assert_eq!(stuck, io::ErrorKind::WouldBlock);
    let reader = thread::spawn(move || io::copy(&mut client, &mut io::sink()).unwrap());
    server.set_write_timeout(Some(DEADLINE)).unwrap();
    while sent < LEN {
        sent += server.write(&chunk[..chunk.len().min((LEN - sent) as usize)]).unwrap() as u64;
    }
    drop(server);
    // The client's own end is still open; the tap's process is looked at while it lives.
    assert_eq!(reader.join().unwrap(), LEN);
    let peak = peak(tapped.tap.pid());
    assert!(peak < 48 << 10, "{peak} KiB");
}

/// A tap whose standard output is only read when the test does.
fn unread(flags: &[&str]) -> (Child, SocketAddr, TcpListener, BufReader<std::process::ChildStdout>) {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", upstream.local_addr().unwrap());
    let arguments = [&["tap", "127.0.0.1:0", &url, "--lazy", "--json", "--show", "frames"], flags].concat();
    let mut tap = loopwire(&arguments).spawn().unwrap();
    let mut stdout = BufReader::new(tap.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    (tap, listening(&line), upstream, stdout)
}

/// Pings, far more than pipe and queue hold the lines of, and far more than are read at once.
const PINGS: usize = 12_000;

fn pings() -> Vec<u8> {
    [&b"\x89\x7d"[..], &[b'p'; 125]].concat().repeat(PINGS)
}

/// Tells the tap's whole narration: how many pings, in what order, and how many lines were left out.
fn count(stdout: &mut impl io::BufRead) -> (usize, u64) {
    let (mut pings, mut left_out, mut last) = (0, 0, 0);
    for line in stdout.lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).expect("every line is whole");
        match event["event"].as_str().unwrap() {
            "frame" => {
                let offset = event["offset"].as_u64().unwrap();
                assert!(offset > last, "in their order");
                last = offset;
                pings += 1;
            }
            "left-out" => left_out += event["lines"].as_u64().unwrap(),
            "closed" => break,
            _ => {}
        }
    }
    (pings, left_out)
}

fn kill(mut tap: Child) {
    tap.kill().unwrap();
    tap.wait().unwrap();
}

#[test]
fn who_does_not_read_the_narration_lets_the_connections_wait_and_loses_no_line() {
    let (tap, address, upstream, mut stdout) = unread(&[]);
    let (mut client, mut server) = connect(address, &upstream);
    handshake(&mut client, &mut server);
    let sender = thread::spawn(move || server.write_all(&pings()).unwrap());
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut came = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(len) = client.read(&mut buffer) {
        came += len;
    }
    let len = pings().len();
    assert!(came < len, "all of it has passed, although nobody has read about it");
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let sink = thread::spawn(move || io::copy(&mut client, &mut io::sink()).unwrap());
    assert_eq!(count(&mut stdout), (PINGS, 0));
    sender.join().unwrap();
    assert_eq!(came + sink.join().unwrap() as usize, len);
    kill(tap);
}

#[test]
fn lines_may_be_left_out_instead_and_their_number_is_told() {
    let (tap, address, upstream, mut stdout) = unread(&["--leave-out"]);
    let (mut client, mut server) = connect(address, &upstream);
    handshake(&mut client, &mut server);
    let sink = thread::spawn(move || io::copy(&mut client, &mut io::sink()).unwrap());
    server.write_all(&pings()).unwrap();
    drop(server);
    assert_eq!(sink.join().unwrap() as usize, pings().len(), "all of it has passed before anybody reads");
    kill_gently(&tap);
    let (pings, left_out) = count(&mut stdout);
    assert!(left_out > 0 && pings < PINGS, "{pings} and {left_out}");
    assert!(pings as u64 + left_out >= PINGS as u64);
    kill(tap);
}

fn kill_gently(tap: &Child) {
    let status = std::process::Command::new("kill").args(["-s", "TERM", &tap.id().to_string()]).status();
    assert!(status.unwrap().success());
}
