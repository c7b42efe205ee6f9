//! `loopwire diff`: whether the same was said in two recordings, and where not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use loopwire::Role;
use loopwire::explain::{Breach, Conversation, Frame, Seen, WholeMessage};
use loopwire::wire::{CloseFrame, MessageKind, Opcode};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::recording::{self, What, unreadable};
use super::telling::role_name;
use super::terminal::{self, Colour, paint, printable};
use super::{Exit, Failure};

/// Fields of a handshake that are another each time, whatever is said.
const FLEETING: [&str; 3] = ["date", "sec-websocket-accept", "sec-websocket-key"];

/// How much of a payload is shown, in characters, or half as many bytes.
const SHOWN: usize = 30;

/// How long the fewest differences are looked for, for each direction of a connection; from then on, any that there are.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// A recording, as tap and others write them; - is standard input
    #[arg(value_name = "A")]
    old: PathBuf,

    /// Another
    #[arg(value_name = "B")]
    new: PathBuf,

    /// Compare only this connection of each, by its number; or, with a comma, one of A with another of B. Otherwise the first
    /// is compared with the first, and so on
    #[arg(long, value_name = "N|A,B")]
    connection: Option<Pair>,

    /// Compare the bytes of handshakes, frame headers and masking keys too, and not only what they mean
    #[arg(long)]
    exact: bool,

    /// Print one JSON object per difference, and one for the whole
    #[arg(long)]
    json: bool,
}

/// A connection's number in A, and in B.
#[derive(Clone, Copy, Debug)]
struct Pair(u64, u64);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (old, new) = text.split_once(',').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse().map_err(|_| "write a number, such as 2, or two, such as 2,0");
        Ok(Self(number(old)?, number(new)?))
    }
}

pub(crate) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    if args.old == args.new && args.old.as_os_str() == "-" {
        return Err(Failure::new(Exit::Usage, "standard input can be one of the recordings, not both"));
    }
    let old = read(&args.old, args.connection.map(|pair| pair.0), args.exact)?;
    let new = read(&args.new, args.connection.map(|pair| pair.1), args.exact)?;
    let mut report = Report { json: args.json, coloured: terminal::colour_on_stdout(), ..Report::default() };
    for place in 0..old.len().max(new.len()) {
        match (old.get(place), new.get(place)) {
            (Some((number, old)), Some((other, new))) => {
                for (role, (old, new)) in [Role::Client, Role::Server].into_iter().zip(old.iter().zip(new)) {
                    report.direction(Pair(*number, *other), role, old, new);
                }
            }
            (Some((number, said)), None) => report.lone(*number, said, true),
            (None, Some((number, said))) => report.lone(*number, said, false),
            (None, None) => {}
        }
    }
    report.end(old.len().max(new.len()));
    match super::print(&report.out) {
        Exit::Done if report.differences > 0 => Ok(Exit::Broken),
        exit => Ok(exit),
    }
}

/// What was said on a connection, by the client and by the server.
type Said = [Vec<Thing>; 2];

/// Something that was said.
#[derive(Debug)]
struct Thing {
    /// Equal if and only if the same was said.
    key: String,
    shown: String,
}

impl Thing {
    fn new(shown: String) -> Self {
        Self { key: shown.clone(), shown }
    }
}

/// What was said on each connection of a recording, or on this one, with its number and in the order in which they began.
fn read(path: &Path, only: Option<u64>, exact: bool) -> Result<Vec<(u64, Said)>, Failure> {
    let damaged = |why: String| unreadable(path, &why);
    let mut places = BTreeMap::new();
    let mut connections: Vec<(u64, Conversation, Listener)> = Vec::new();
    for entry in recording::open(path)? {
        let entry = entry.map_err(damaged)?;
        if only.is_some_and(|only| only != entry.connection) {
            continue;
        }
        let place = *places.entry(entry.connection).or_insert(connections.len());
        if place == connections.len() {
            // All of a frame is compared.
            let conversation = Conversation::new(Instant::now()).keep(usize::MAX);
            connections.push((entry.connection, conversation, Listener { exact, ..Listener::default() }));
        }
        let (_, conversation, listener) = &mut connections[place];
        let mut see = |seen: Seen<'_>| listener.note(&seen);
        match &entry.what {
            What::Bytes(bytes) => conversation.push(entry.from, bytes, &mut see),
            What::End => conversation.end(entry.from, &mut see),
        }
    }
    match only {
        Some(only) if connections.is_empty() => Err(damaged(format!("there is no connection {only} in it"))),
        _ => Ok(connections.into_iter().map(|(number, _, listener)| (number, listener.said)).collect()),
    }
}

/// Takes down what is said on one connection.
#[derive(Debug, Default)]
struct Listener {
    exact: bool,
    said: Said,
    /// Compression was agreed on.
    deflate: bool,
    /// Whether the client, the server, is in a compressed message.
    compressed: [bool; 2],
}

impl Listener {
    fn note(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Request { head, .. } => self.said[0].extend(head_things("request", head, self.exact)),
            Seen::Answer { head, outcome, .. } => {
                self.deflate = outcome.as_ref().is_ok_and(|agreed| agreed.deflate.is_some());
                self.said[1].extend(head_things("answer", head, self.exact));
            }
            Seen::Violation(violation) => {
                let what = match &violation.breach {
                    Breach::Request(_) | Breach::Answer(_) => "handshake",
                    _ => "frame",
                };
                let shown = format!("breaks a rule in a {what}: {}", violation.rule().id);
                self.said[index(violation.by)].push(Thing::new(shown));
            }
            Seen::Frame { from, frame } => {
                let thing = self.frame(*from, frame);
                self.said[index(*from)].push(thing);
            }
            Seen::Message { from, message } if message.compressed => {
                self.said[index(*from)].push(message_thing(message));
            }
            Seen::End { from, unfinished, frame, passed_over, .. } => {
                let mut shown = "ends the stream".to_owned();
                if *unfinished {
                    shown.push_str(" in the middle of something");
                }
                if let Some(frame) = frame {
                    let _ = write!(shown, ": {}", self.frame(*from, frame).shown);
                }
                if *passed_over > 0 {
                    let _ = write!(shown, ", {passed_over} bytes behind what could be read");
                }
                self.said[index(*from)].push(Thing::new(shown));
            }
            _ => {}
        }
    }

    /// A frame's flags, opcode and payload. What is compressed can be so in many ways, and is told as a message.
    fn frame(&mut self, from: Role, frame: &Frame) -> Thing {
        let header = &frame.header;
        let start = frame_start(frame, self.exact);
        let in_compressed = &mut self.compressed[index(from)];
        match header.opcode() {
            Some(Opcode::Text | Opcode::Binary) => *in_compressed = self.deflate && header.rsv(1),
            Some(Opcode::Continuation) => {}
            _ => return frame_thing(&start, frame),
        }
        if *in_compressed && !self.exact {
            return Thing::new(format!("{start}, compressed"));
        }
        frame_thing(&start, frame)
    }
}

/// A handshake's first line, and its fields by their names, since their order says nothing.
fn head_things(kind: &str, head: &[u8], exact: bool) -> Vec<Thing> {
    let head = String::from_utf8_lossy(head);
    if exact {
        return head
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| Thing::new(format!("{kind}: {line}")))
            .collect();
    }
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut fields: Vec<(String, &str)> = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .filter(|(name, _)| !FLEETING.contains(&name.as_str()))
        .collect();
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut things = vec![Thing::new(format!("{kind}: {first}"))];
    things.extend(fields.into_iter().map(|(name, value)| Thing::new(format!("{kind} field {name}: {value}"))));
    let body = lines.collect::<Vec<_>>().join("\r\n");
    if !body.is_empty() {
        things.push(payload_thing(&format!("{kind} body"), body.as_bytes(), body.len() as u64));
    }
    things
}

/// What a frame's header says.
fn frame_start(frame: &Frame, exact: bool) -> String {
    let header = &frame.header;
    let mut start =
        header.opcode().map_or_else(|| format!("opcode {}", header.opcode_bits()), |opcode| opcode.to_string());
    for (is_set, name) in
        [(header.fin(), "fin"), (header.rsv(1), "rsv1"), (header.rsv(2), "rsv2"), (header.rsv(3), "rsv3")]
    {
        if is_set {
            start.push(' ');
            start.push_str(name);
        }
    }
    if exact {
        let bytes: Vec<String> = header.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(start, " [{}]", bytes.join(" "));
    }
    start
}

fn frame_thing(start: &str, frame: &Frame) -> Thing {
    let header = &frame.header;
    let payload = frame.unmasked();
    if header.opcode() == Some(Opcode::Close)
        && let Ok(close) = CloseFrame::decode(&payload)
        && !payload.is_empty()
    {
        return Thing::new(format!("{start} {} {:?}", close.code, close.reason));
    }
    payload_thing(start, &payload, header.payload_len())
}

fn message_thing(message: &WholeMessage) -> Thing {
    let kind = match message.kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    };
    payload_thing(&format!("inflated {kind}"), &message.payload, message.len)
}

fn payload_thing(start: &str, payload: &[u8], len: u64) -> Thing {
    let (excerpt, is_all) = excerpt(payload);
    if is_all && payload.len() as u64 == len {
        let unit = if len == 1 { "byte" } else { "bytes" };
        return Thing::new(format!("{start}, {len} {unit}{}{excerpt}", if len == 0 { "" } else { ": " }));
    }
    let digest = Sha1::digest(payload);
    let hex: String = digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let came = if payload.len() as u64 == len { String::new() } else { format!(", {} came", payload.len()) };
    let start = format!("{start}, {len} bytes{came}");
    Thing { key: format!("{start} {hex}"), shown: format!("{start}: {excerpt}… sha1 {}", &hex[..8]) }
}

/// The beginning of a payload, and whether that is all.
fn excerpt(payload: &[u8]) -> (String, bool) {
    if let Ok(text) = str::from_utf8(payload) {
        let start: String = text.chars().take(SHOWN).collect();
        return (if text.is_empty() { String::new() } else { format!("{start:?}") }, start.len() == text.len());
    }
    let bytes: Vec<String> = payload.iter().take(SHOWN / 3).map(|byte| format!("{byte:02x}")).collect();
    (bytes.join(" "), payload.len() <= SHOWN / 3)
}

/// What is printed.
#[derive(Debug, Default)]
struct Report {
    json: bool,
    coloured: bool,
    out: String,
    differences: u64,
    same: u64,
}

impl Report {
    /// Compares what one end of a connection said.
    fn direction(&mut self, numbers: Pair, role: Role, old: &[Thing], new: &[Thing]) {
        let keys = |things: &[Thing]| things.iter().map(|thing| thing.key.clone()).collect::<Vec<_>>();
        let deadline = Some(Instant::now() + PATIENCE);
        let operations = capture_diff_slices_deadline(Algorithm::Myers, &keys(old), &keys(new), deadline);
        let is_equal = operations.iter().all(|operation| matches!(operation, DiffOp::Equal { .. }));
        if !is_equal && !self.json {
            let Pair(number, other) = numbers;
            let other = if other == number { String::new() } else { format!(" of A, {other} of B") };
            let _ = writeln!(self.out, "connection {number}{other}, {}:", role_name(role));
        }
        for operation in operations {
            let (was, is) = (operation.old_range(), operation.new_range());
            if matches!(operation, DiffOp::Equal { .. }) {
                self.same += was.len() as u64;
                if !is_equal && !self.json {
                    let text = format!("  {} the same", was.len());
                    let _ = writeln!(self.out, "{}", paint(text, Colour::Dim, self.coloured));
                }
                continue;
            }
            for (at, thing) in was.clone().zip(&old[was]) {
                self.difference(numbers.0, role, "only-in-a", at, thing);
            }
            for (at, thing) in is.clone().zip(&new[is]) {
                self.difference(numbers.1, role, "only-in-b", at, thing);
            }
        }
    }

    fn difference(&mut self, number: u64, role: Role, kind: &str, at: usize, thing: &Thing) {
        self.differences += 1;
        if self.json {
            let from = role_name(role);
            self.object(
                &json!({"difference": kind, "connection": number, "from": from, "at": at, "what": thing.shown}),
            );
            return;
        }
        let (mark, colour) = if kind == "only-in-a" { ('-', Colour::Red) } else { ('+', Colour::Green) };
        let text = format!("{mark} {}", printable(&thing.shown));
        let _ = writeln!(self.out, "{}", paint(text, colour, self.coloured));
    }

    /// A connection that the other recording does not have.
    fn lone(&mut self, number: u64, said: &Said, is_old: bool) {
        self.differences += 1;
        let (kind, which) = if is_old { ("only-in-a", "A") } else { ("only-in-b", "B") };
        if self.json {
            self.object(&json!({"difference": kind, "connection": number}));
        } else {
            let things = said[0].len() + said[1].len();
            let _ = writeln!(self.out, "connection {number}: only in {which}, {things} things were said on it");
        }
    }

    fn end(&mut self, connections: usize) {
        let is_same = self.differences == 0;
        if self.json {
            self.object(&json!({"equal": is_same, "differences": self.differences, "same": self.same}));
            return;
        }
        let count = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (connections, same) = (count(connections as u64, "connection"), self.same);
        let (text, colour) = if is_same {
            (format!("the same was said: {connections}, {same} things"), Colour::Green)
        } else {
            let differences = count(self.differences, "difference");
            (format!("{differences} in {connections}; {same} things are the same"), Colour::Red)
        };
        let _ = writeln!(self.out, "{}", paint(text, colour, self.coloured));
    }

    fn object(&mut self, object: &Value) {
        let _ = writeln!(self.out, "{object}");
    }
}

const fn index(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}
