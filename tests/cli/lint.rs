//! `loopwire lint`: every broken rule in a recording or a capture, and none that nobody broke.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::Value;

use crate::process::{Ended, loopwire, run};
use crate::tap::{ANSWER, REQUEST};

/// `lint` of this, as a file on standard input.
fn lint(file: &[u8], flags: &[&str]) -> Ended {
    run(loopwire(&[&["lint", "-"], flags].concat()), file)
}

/// The same as JSON: what was found, then the summary.
fn found(file: &[u8]) -> (Vec<Value>, Value) {
    let ended = lint(file, &["--json"]);
    let text = String::from_utf8(ended.stdout).unwrap();
    let mut events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = events.pop().unwrap_or_else(|| panic!("{}", ended.stderr));
    assert_eq!(summary["event"], "summary");
    let code = match (summary["violations"].as_u64(), summary["judged"].as_u64()) {
        (Some(0), Some(0)) => 1,
        (Some(0), _) => 0,
        _ => 10,
    };
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    (events, summary)
}

/// Who sends what, in turn: `c` for the client, `s` for the server.
type Parts<'p> = &'p [(char, &'p [u8])];

fn recording(connections: &[Parts<'_>]) -> Vec<u8> {
    let mut lines = vec!["{\"recording\":1}".to_owned()];
    for (number, parts) in connections.iter().enumerate() {
        for (from, bytes) in [('c', REQUEST), ('s', ANSWER)].iter().chain(*parts) {
            let bytes = base64::engine::general_purpose::STANDARD.encode(bytes);
            let from = if *from == 'c' { "client" } else { "server" };
            lines.push(format!("{{\"at\":0.5,\"connection\":{number},\"from\":\"{from}\",\"bytes\":\"{bytes}\"}}"));
        }
    }
    (lines.join("\n") + "\n").into_bytes()
}

/// "Hello" from the client, masked, and from the server.
const HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const WORLD: &[u8] = b"\x81\x05World";

#[test]
fn each_broken_rule_is_told_with_its_place() {
    let rows: &[(Parts<'_>, &str, char, usize, u64)] = &[
        (&[('c', HELLO), ('c', b"\x81\x01A")], "mask-missing", 'c', 11, 2),
        (&[('s', b"\x81\x81\0\0\0\0A")], "mask-forbidden", 's', 0, 1),
        (&[('s', WORLD), ('s', WORLD), ('s', b"\x83\x00")], "reserved-opcode", 's', 14, 3),
        (&[('s', b"\xa1\x00")], "reserved-bit", 's', 0, 1),
        (&[('s', b"\x01\x00\x01\x00")], "continuation-expected", 's', 2, 2),
        (&[('s', b"\x81\x05ab\xffcd")], "invalid-utf8", 's', 0, 1),
        (&[('s', b"\x88\x00\x81\x01A")], "data-after-close", 's', 2, 2),
    ];
    for (parts, rule, by, offset, frame) in rows {
        let (events, summary) = found(&recording(&[&[('s', WORLD)], parts]));
        let [event] = &events[..] else { panic!("{events:?}") };
        let (from, before) = if *by == 'c' { ("client", REQUEST.len()) } else { ("server", ANSWER.len()) };
        assert_eq!((&event["rule"], &event["from"]), (&(*rule).into(), &from.into()));
        assert_eq!((&event["connection"], &event["frame"]), (&1.into(), &(*frame).into()), "{rule}");
        assert_eq!(event["offset"], before + offset, "{rule}");
        assert_eq!((&summary["connections"], &summary["violations"]), (&2.into(), &1.into()));
    }
    let (events, summary) =
        found(&recording(&[&[('c', HELLO), ('s', WORLD), ('c', b"\x88\x80\0\0\0\0"), ('s', b"\x88\0")]]));
    assert!(events.is_empty(), "{events:?}");
    assert_eq!((&summary["frames"], &summary["violations"]), (&4.into(), &0.into()));
}

#[test]
fn people_are_told_in_eighty_columns() {
    let offset = REQUEST.len();
    let ended = lint(&recording(&[&[('c', b"\x81\x01A")]]), &[]);
    assert_eq!(ended.code, Some(10));
    let text = String::from_utf8(ended.stdout).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(&*format!("#0 client, byte {offset}, frame 1: an unmasked frame from a client: a client masks"))
    );
    assert_eq!(lines.next(), Some("   every frame it sends [RFC 6455 §5.1]"));
    assert!(lines.next().unwrap().starts_with("   rule mask-missing; owed: a Close with 1002; "));
    assert_eq!(lines.next_back(), Some("1 connection, 1 frame: 1 broken rule"));
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\x1b'), "{text}");
    let ended = lint(&recording(&[&[], &[('c', HELLO)]]), &[]);
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), "2 connections, 1 frame: no broken rule\n");
}

#[test]
fn a_file_that_is_none_is_one_sentence() {
    let packet = Wire::ETHERNET.packet(&Tcp::new().client(b"GET"));
    let capture = pcap(Wire::ETHERNET, &[packet]);
    let rows: [(&[u8], &str); 5] = [
        (b"", "is empty"),
        (b"GET / HTTP/1.1\r\n", "line 1 is not a recording's"),
        (b"{\"recording\":1}\n{\"at\":0,\"conn", "is cut off"),
        (&capture[..capture.len() - 1], "ends in the middle of block 2"),
        (b"\xd4\xc3\xb2\xa1", "ends in the middle"),
    ];
    for (file, part) in rows {
        is_one_sentence(&lint(file, &[]), part);
        is_one_sentence(&lint(file, &["--json"]), part);
    }
    for (path, part) in [("/nowhere/at/all", "/nowhere/at/all: cannot be read"), ("/", "/: cannot be read")] {
        is_one_sentence(&run(loopwire(&["lint", path]), b""), part);
    }
}

/// Of what could not be read there is no verdict, only why.
fn is_one_sentence(ended: &Ended, part: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(part) && ended.stderr.lines().count() == 1, "{part}: {}", ended.stderr);
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "", "{part}");
}

#[test]
fn the_verdict_on_a_file_that_was_not_read_to_its_end_says_so() {
    let right: Parts<'_> = &[('c', HELLO), ('s', WORLD)];
    for (parts, code, verdict) in [
        (right, 1, "1 connection, 1 frame: no broken rule; the rest of the file was not read\n"),
        (BROKEN, 10, "1 connection, 3 frames: 1 broken rule; the rest of the file was not read\n"),
    ] {
        let recording = recording(&[parts]);
        let recording = &recording[..recording.len() - 10];
        let mut segments = Tcp::new().connection(parts, 1000);
        // Of the ends nothing is left, and of the last frame the half.
        segments.truncate(segments.len() - 2);
        let capture = capture(&segments);
        let capture = &capture[..capture.len() - 10];
        for (file, why) in [(recording, "is cut off"), (capture, "ends in the middle of block")] {
            let ended = lint(file, &[]);
            assert_eq!(ended.code, Some(code), "{}", ended.stderr);
            assert!(String::from_utf8(ended.stdout).unwrap().ends_with(verdict), "{verdict}");
            assert!(ended.stderr.contains(why), "{}", ended.stderr);
            let ended = lint(file, &["--json"]);
            let text = String::from_utf8(ended.stdout).unwrap();
            let summary: Value = serde_json::from_str(text.lines().next_back().unwrap()).unwrap();
            assert!(summary["unread"].as_str().unwrap().contains(why), "{summary}");
            assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_check_of_nothing_does_not_pass() {
    let empty = b"{\"recording\":1}\n".to_vec();
    let silent = [&empty[..], b"{\"at\":0,\"connection\":0,\"from\":\"client\",\"end\":true}\n"].concat();
    for (file, connections) in [(empty, "0 connections"), (silent, "1 connection"), (capture(&[]), "0 connections")] {
        let ended = lint(&file, &[]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("there is nothing to judge"), "{}", ended.stderr);
        let text = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(text, format!("{connections}, 0 frames: nothing to judge\n"));
        assert_eq!(found(&file).1["judged"], 0);
    }
}

/// What a packet travels in.
#[derive(Clone, Copy, Debug)]
struct Wire {
    /// The link's type in a capture file.
    link: u32,
    vlan: bool,
    v6: bool,
}

impl Wire {
    const ETHERNET: Self = Self { link: 1, vlan: false, v6: false };

    /// An IP packet as it is captured here.
    fn packet(self, tcp: &Segment) -> Vec<u8> {
        let (from, to): (IpAddr, IpAddr) = if self.v6 {
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
        } else {
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap())
        };
        let (from, to) = if tcp.by_client { (from, to) } else { (to, from) };
        let ports: [u16; 2] = if tcp.by_client { [50_000, 80] } else { [80, 50_000] };
        let mut segment = Vec::new();
        for port in ports {
            segment.extend(port.to_be_bytes());
        }
        segment.extend(tcp.sequence.to_be_bytes());
        segment.extend(tcp.acknowledged.unwrap_or(0).to_be_bytes());
        let flags = tcp.flags | if tcp.acknowledged.is_some() { 0x10 } else { 0 };
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(&tcp.payload);
        let len = segment.len() as u16;
        let mut ip = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut ip = vec![0x45, 0];
                ip.extend((20 + len).to_be_bytes());
                ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
                ip.extend(from.octets().into_iter().chain(to.octets()));
                ip
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut ip = vec![0x60, 0, 0, 0];
                ip.extend(len.to_be_bytes());
                ip.extend([6, 64]);
                ip.extend(from.octets().into_iter().chain(to.octets()));
                ip
            }
            _ => unreachable!(),
        };
        ip.extend(segment);
        let ether_type: [u8; 2] = if self.v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let mut packet = match self.link {
            1 => {
                let mut header = vec![2; 12];
                if self.vlan {
                    header.extend([0x81, 0x00, 0, 7]);
                }
                header.extend(ether_type);
                header
            }
            0 => vec![if self.v6 { 30 } else { 2 }, 0, 0, 0],
            108 => vec![0, 0, 0, if self.v6 { 30 } else { 2 }],
            113 => [&[0; 14][..], &ether_type].concat(),
            276 => [&ether_type[..], &[0; 18]].concat(),
            _ => Vec::new(),
        };
        packet.extend(ip);
        if self.link == 1 && packet.len() < 60 {
            // Ethernet pads short frames.
            packet.resize(60, 0);
        }
        packet
    }
}

#[derive(Clone, Debug)]
struct Segment {
    by_client: bool,
    sequence: u32,
    acknowledged: Option<u32>,
    flags: u8,
    payload: Vec<u8>,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;

/// Both ends of a TCP connection, whose every segment is received at once.
struct Tcp {
    next: [u32; 2],
}

impl Tcp {
    fn new() -> Self {
        Self { next: [1000, 5000] }
    }

    fn client(&mut self, payload: &[u8]) -> Segment {
        self.segment(true, 0, payload)
    }

    fn server(&mut self, payload: &[u8]) -> Segment {
        self.segment(false, 0, payload)
    }

    fn segment(&mut self, by_client: bool, flags: u8, payload: &[u8]) -> Segment {
        let own = usize::from(!by_client);
        let sequence = self.next[own];
        let counted = payload.len() as u32 + u32::from(flags & (FIN | SYN) != 0);
        self.next[own] = sequence.wrapping_add(counted);
        let acknowledged = (flags & SYN == 0 || !by_client).then_some(self.next[1 - own]);
        Segment { by_client, sequence, acknowledged, flags, payload: payload.to_owned() }
    }

    /// A whole connection, each part cut into segments of `size`.
    fn connection(&mut self, parts: Parts<'_>, size: usize) -> Vec<Segment> {
        let mut segments = vec![self.segment(true, SYN, b""), self.segment(false, SYN, b"")];
        for (from, bytes) in [('c', REQUEST), ('s', ANSWER)].iter().chain(parts) {
            segments.extend(bytes.chunks(size).map(|chunk| self.segment(*from == 'c', 0, chunk)));
        }
        segments.extend([self.segment(true, FIN, b""), self.segment(false, FIN, b"")]);
        segments
    }
}

fn pcap(wire: Wire, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xA1B2_C3D4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    for field in [0, 0, 0x4_0000, wire.link] {
        file.extend(field.to_le_bytes());
    }
    for packet in packets {
        for field in [1, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(field.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

/// The same, all numbers the other way round.
fn pcap_big_endian(wire: Wire, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    // The one with nanoseconds.
    file.extend(0xA1B2_3C4D_u32.to_be_bytes());
    file.extend([0, 2, 0, 4]);
    for field in [0, 0, 0x4_0000, wire.link] {
        file.extend(field.to_be_bytes());
    }
    for packet in packets {
        for field in [1, 0, packet.len() as u32, packet.len() as u32] {
            file.extend(field.to_be_bytes());
        }
        file.extend(packet);
    }
    file
}

fn pcapng(wire: Wire, packets: &[Vec<u8>]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let padded = body.len().next_multiple_of(4);
        let len = (12 + padded) as u32;
        let mut block = [kind.to_le_bytes(), len.to_le_bytes()].concat();
        block.extend(body);
        block.resize(8 + padded, 0);
        block.extend(len.to_le_bytes());
        block
    };
    let section = [&0x1A2B_3C4D_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let interface = |link: u32| [&(link as u16).to_le_bytes()[..], &[0; 6]].concat();
    // The packets come from the second interface; of the first, of an unknown kind, there are none.
    let mut file = [block(0x0A0D_0D0A, &section), block(1, &interface(147)), block(1, &interface(wire.link))].concat();
    // A block that says nothing of packets.
    file.extend(block(5, &[0; 12]));
    for packet in packets {
        let len = (packet.len() as u32).to_le_bytes();
        let fields = [1_u32.to_le_bytes(), [0; 4], [0; 4], len, len].concat();
        file.extend(block(6, &[&fields[..], packet].concat()));
    }
    file
}

/// What is found in a capture: rule, offset, frame; and the summary.
fn rules(file: &[u8]) -> (Vec<(String, u64, u64)>, Value) {
    let (events, summary) = found(file);
    let rules = events.iter().filter(|event| event["event"] == "violation").map(|event| {
        let number = |key: &str| event[key].as_u64().unwrap_or_default();
        (event["rule"].as_str().unwrap().to_owned(), number("offset"), number("frame"))
    });
    (rules.collect(), summary)
}

fn capture(segments: &[Segment]) -> Vec<u8> {
    let packets: Vec<_> = segments.iter().map(|segment| Wire::ETHERNET.packet(segment)).collect();
    pcap(Wire::ETHERNET, &packets)
}

const BROKEN: Parts<'_> = &[('c', HELLO), ('s', WORLD), ('s', b"\x83\x00"), ('c', b"\x88\x80\0\0\0\0")];

fn expected() -> Vec<(String, u64, u64)> {
    vec![("reserved-opcode".to_owned(), ANSWER.len() as u64 + 7, 2)]
}

#[test]
fn captures_are_read_from_every_kind_of_link_and_file() {
    let segments = Tcp::new().connection(BROKEN, 100);
    for link in [1, 0, 108, 101, 113, 276] {
        for v6 in [false, true] {
            for vlan in [false, true] {
                let wire = Wire { link, vlan, v6 };
                let packets: Vec<_> = segments.iter().map(|segment| wire.packet(segment)).collect();
                for file in [pcap, pcap_big_endian, pcapng] {
                    let (rules, summary) = rules(&file(wire, &packets));
                    assert_eq!(rules, expected(), "{wire:?}");
                    assert_eq!((&summary["connections"], &summary["incomplete"]), (&1.into(), &0.into()));
                }
                if link != 1 {
                    break;
                }
            }
        }
    }
}

#[test]
fn segments_are_put_in_order_however_they_were_captured() {
    for size in [1, 7, 1000] {
        for first in [1000, u32::MAX - 60] {
            let segments = Tcp { next: [first, first.wrapping_add(9)] }.connection(BROKEN, size);
            let len = segments.len();
            assert_eq!(rules(&capture(&segments)).0, expected());
            // All twice; neighbours exchanged; the whole in reverse, but for the SYNs.
            let doubled: Vec<_> = segments.iter().flat_map(|segment| [segment.clone(), segment.clone()]).collect();
            let mut exchanged = segments.clone();
            exchanged[2..].chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            let mut reversed = segments.clone();
            reversed[2..].reverse();
            // A retransmission that has more in it, or begins earlier.
            let mut joined = segments.clone();
            let mut both = segments[2].clone();
            if segments[3].by_client {
                both.payload.extend(&segments[3].payload);
                joined.insert(4.min(len), both.clone());
                joined.insert(3, both);
            }
            for (how, segments) in
                [("doubled", doubled), ("exchanged", exchanged), ("reversed", reversed), ("joined", joined)]
            {
                let (rules, summary) = rules(&capture(&segments));
                assert_eq!(rules, expected(), "{how}, {size}");
                assert_eq!(summary["incomplete"], 0, "{how}, {size}");
            }
        }
    }
}

#[test]
fn an_answer_captured_late_is_no_breach_but_a_question_asked_early_is() {
    let mut tcp = Tcp::new();
    let mut segments = tcp.connection(&[('c', HELLO)], 1000);
    // The answer and the frame behind it, which acknowledges it.
    segments.swap(3, 4);
    assert_eq!(rules(&capture(&segments)).0, []);
    let early = segments[3].clone();
    segments[3] = Segment { acknowledged: segments[2].acknowledged, ..early };
    assert_eq!(rules(&capture(&segments)).0[0].0, "data-before-answer");
}

#[test]
fn what_a_capture_lacks_is_said_and_nothing_is_made_of_it() {
    for lost in [2, 3, 4, 5] {
        let mut segments = Tcp::new().connection(&[('c', HELLO), ('s', WORLD), ('c', HELLO)], 1000);
        let sent = segments.remove(lost);
        let (events, summary) = found(&capture(&segments));
        assert_eq!((&summary["violations"], &summary["frames"]), (&0.into(), &(lost as u64).saturating_sub(4).into()));
        if lost == 2 {
            // Without its request it was no WebSocket as far as anybody can tell.
            assert!(events.is_empty(), "{events:?}");
            assert_eq!((&summary["beginning_missing"], &summary["connections"]), (&1.into(), &0.into()));
            continue;
        }
        let [gap] = &events[..] else { panic!("{lost}: {events:?}") };
        assert_eq!((&gap["event"], &gap["missing"]), (&"gap".into(), &sent.payload.len().into()), "{lost}");
        assert_eq!(gap["from"], if sent.by_client { "client" } else { "server" });
        let ended = lint(&capture(&segments), &[]);
        let text = String::from_utf8(ended.stdout).unwrap();
        assert!(text.contains("bytes are not in the") && text.ends_with("; 1 not to be read to the end\n"), "{text}");
        assert_eq!(ended.code, Some(0));
    }
}

#[test]
fn a_connection_whose_request_is_not_whole_is_not_passed_over_in_silence() {
    let segments = Tcp::new().connection(BROKEN, 40);
    let whole = capture(&Tcp { next: [900_000, 70] }.connection(&[], 1000));
    for lost in 3..2 + REQUEST.len().div_ceil(40) {
        let mut segments = segments.clone();
        let missing = segments.remove(lost).payload.len();
        let file = capture(&segments);
        let (events, summary) = found(&file);
        let [gap] = &events[..] else { panic!("{lost}: {events:?}") };
        assert_eq!((&gap["event"], &gap["from"]), (&"gap".into(), &"client".into()));
        assert_eq!((&gap["offset"], &gap["missing"]), (&(40 * (lost - 2)).into(), &missing.into()));
        assert_eq!((&summary["connections"], &summary["judged"]), (&1.into(), &0.into()));
        assert_eq!(summary["incomplete"], 1);
        let ended = lint(&file, &[]);
        let text = String::from_utf8(ended.stdout).unwrap();
        let end = "0 frames: nothing to judge; 1 not to be read to the end\n";
        assert!(text.contains("nor whether it is a") && text.ends_with(end), "{text}");
        // Beside one that is whole.
        let (_, summary) = found(&[&file[..], &whole[24..]].concat());
        assert_eq!((&summary["connections"], &summary["judged"]), (&2.into(), &1.into()));
        assert_eq!(summary["incomplete"], 1);
    }
    // A SYN that is missing, either end's, takes nothing away.
    for lost in [0, 1] {
        let mut segments = segments.clone();
        segments.remove(lost);
        assert_eq!(rules(&capture(&segments)).0, expected(), "{lost}");
    }
}

#[test]
fn streams_whose_beginning_is_missing_are_counted() {
    let segments = Tcp::new().connection(BROKEN, 1000);
    let (found, summary) = rules(&capture(&segments[3..]));
    assert_eq!((found, &summary["beginning_missing"]), (vec![], &1.into()));
    let ended = lint(&capture(&segments[3..]), &[]);
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(text.starts_with("1 TCP stream passed over, whose beginning is not in the capture\n"), "{text}");
    // What comes late of a stream that has ended is none of its own.
    let late = [&segments[..], &segments[5..7]].concat();
    let (found, summary) = rules(&capture(&late));
    assert_eq!((found, &summary["beginning_missing"]), (expected(), &0.into()));
}

#[test]
fn other_streams_are_left_alone_and_one_may_begin_before_the_capture() {
    let other = |request: &[u8], answer: &[u8]| {
        let mut tcp = Tcp::new();
        let mut segments = vec![tcp.segment(true, SYN, b""), tcp.segment(false, SYN, b"")];
        segments.extend([tcp.client(request), tcp.server(answer), tcp.segment(true, RST, b"")]);
        capture(&segments)
    };
    for (request, answer) in [
        (&b"\x16\x03\x01\x02\0\x01"[..], &b"\x16\x03\x03"[..]),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (b"GET / HTTP/1.0\n\n", b"HTTP/1.0 200 OK\r\n\r\n"),
        (b"GE", b""),
        (b"", b"220 mail.example.com\r\n"),
    ] {
        let (rules, summary) = rules(&other(request, answer));
        assert_eq!((rules, &summary["connections"]), (vec![], &0.into()), "{request:?}");
    }
    let ended = lint(&other(b"POST", b""), &[]);
    assert!(ended.stderr.contains("no whole request for a WebSocket is in it"), "{}", ended.stderr);
    let asks_wrongly = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";
    assert_eq!(rules(&other(asks_wrongly, b"")).0[0].0, "key-missing");
    // Without its SYNs, and with what was sent before them.
    let segments = Tcp::new().connection(BROKEN, 1000);
    assert_eq!(rules(&capture(&segments[2..])).0, expected());
    assert_eq!(rules(&capture(&segments[3..])).0, []);
    // The same ports again, after an end and without one.
    let mut twice = [segments.clone(), segments.clone()].concat();
    twice.iter_mut().skip(segments.len()).for_each(|segment| {
        segment.sequence = segment.sequence.wrapping_add(70_000);
        segment.acknowledged = segment.acknowledged.map(|number| number.wrapping_add(70_000));
    });
    let (found, summary) = rules(&capture(&twice));
    assert_eq!((found, &summary["connections"]), ([expected(), expected()].concat(), &2.into()));
    let ends = segments.len() - 2..segments.len();
    twice.drain(ends);
    let (found, summary) = rules(&capture(&twice));
    assert_eq!((found, &summary["connections"]), ([expected(), expected()].concat(), &2.into()));
}

#[test]
fn a_damaged_capture_is_an_outcome_like_any_other() {
    let segments = Tcp::new().connection(BROKEN, 30);
    let packets: Vec<_> = segments.iter().map(|segment| Wire::ETHERNET.packet(segment)).collect();
    let files = [pcap(Wire::ETHERNET, &packets), pcapng(Wire::ETHERNET, &packets)];
    let mut state = 1_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for round in 0..60 {
        let mut file = files[round % 2].clone();
        for _ in 0..=random(20) {
            let at = random(file.len());
            file[at] = random(256) as u8;
        }
        file.truncate(file.len() - random(file.len() / 4));
        let ended = lint(&file, &[]);
        assert!(matches!(ended.code, Some(0 | 1 | 10)), "{round}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{round}: {}", ended.stderr);
    }
}

#[test]
fn what_tap_records_lint_reads() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("lint-{}.jsonl", std::process::id()));
    let text = std::str::from_utf8(&recording(&[BROKEN])).unwrap().to_owned();
    std::fs::write(&file, text).unwrap();
    let ended = run(loopwire(&["lint", file.to_str().unwrap()]), b"");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ended.code, Some(10), "{}", ended.stderr);
}
