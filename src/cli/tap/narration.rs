//! What passes, told: a line for each thing seen, for people or for programs.

use std::time::Duration;

use loopwire::Role;
use loopwire::explain::{Breach, EndpointState, Frame, Seen, WholeMessage};
use loopwire::wire::{MessageKind, Opcode};
use serde_json::{Map, Value, json};

use super::Show;
use crate::cli::telling::{WIDTH, owed_text, role_name, violation_details, wrap};
use crate::cli::terminal::{Colour, paint, printable};

/// How they are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) show: Show,
    pub(crate) json: bool,
    pub(crate) coloured: bool,
}

/// Tells one connection.
#[derive(Debug)]
pub(crate) struct Narrator {
    style: Style,
    number: u64,
    states: States,
}

/// Something about a connection that its bytes do not say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outside<'o> {
    /// A client has connected.
    Opened,
    /// The upstream or a TLS handshake has failed.
    Failed(&'o str),
    /// That end has broken off.
    Reset(Role),
    /// Both have ended.
    Closed,
}

impl Narrator {
    pub(crate) fn new(style: Style, number: u64) -> Self {
        Self { style, number, states: States::default() }
    }

    /// Tells what was seen, at the end of `out`.
    pub(crate) fn seen(&mut self, at: Duration, seen: &Seen<'_>, out: &mut String) {
        self.states.follow(seen);
        if !self.is_shown(seen) {
            return;
        }
        let from = sender(seen);
        let sentence = seen.to_string();
        if self.style.json {
            let mut object = json!({"event": kind(seen), "from": role_name(from)});
            if let Value::Object(object) = &mut object {
                details(seen, object);
            }
            self.object(at, &sentence, object, out);
            return;
        }
        let section = section(seen);
        // What breaks a rule names the section itself.
        let section = if sentence.contains(section) { None } else { Some(format!("[{section}]")) };
        let [client, server] = [Role::Client, Role::Server].map(|role| state_name(self.states.of(role)));
        let states = format!("{client}|{server}");
        let sentence = printable(&sentence);
        let words = sentence.split(' ').chain(section.as_deref()).chain([states.as_str()]);
        let colour = match seen {
            Seen::Violation(_) => Some(Colour::Red),
            _ if from == Role::Client => Some(Colour::Cyan),
            _ => Some(Colour::Green),
        };
        let arrow = if from == Role::Client { '→' } else { '←' };
        self.line(at, arrow, words, colour, out);
        if let Seen::Violation(violation) = seen {
            self.more(&owed_text(violation.rule()), out);
        }
    }

    /// Tells what happened around the bytes.
    pub(crate) fn outside(&mut self, at: Duration, what: Outside<'_>, out: &mut String) {
        let (kind, sentence) = match what {
            Outside::Opened => ("opened", "a client has connected".to_owned()),
            Outside::Failed(why) => ("failed", why.to_owned()),
            Outside::Reset(role) => ("reset", format!("{} breaks the connection off", role_name(role))),
            Outside::Closed => ("closed", "the connection is over".to_owned()),
        };
        let is_end = !matches!(what, Outside::Opened);
        if is_end {
            self.states.ended = true;
        }
        if self.style.show < if is_end { Show::Violations } else { Show::Messages } {
            return;
        }
        if self.style.json {
            let object = match what {
                Outside::Reset(role) => json!({"event": kind, "from": role_name(role)}),
                _ => json!({"event": kind}),
            };
            self.object(at, &sentence, object, out);
        } else {
            let arrow = match what {
                Outside::Reset(Role::Client) => '→',
                Outside::Reset(Role::Server) => '←',
                _ => '·',
            };
            self.line(at, arrow, printable(&sentence).split(' '), None, out);
        }
    }

    fn is_shown(&self, seen: &Seen<'_>) -> bool {
        let from = match seen {
            Seen::Violation(_) | Seen::End { .. } => Show::Violations,
            Seen::Frame { frame, .. } if frame.header.opcode() == Some(Opcode::Close) => Show::Messages,
            Seen::Frame { .. } => Show::Frames,
            Seen::Message { .. } => return matches!(self.style.show, Show::Messages | Show::All),
            _ => Show::Messages,
        };
        self.style.show >= from
    }

    fn line<'w>(
        &self,
        at: Duration,
        arrow: char,
        words: impl Iterator<Item = &'w str>,
        colour: Option<Colour>,
        out: &mut String,
    ) {
        let start = format!("{:>10.4} #{} ", at.as_secs_f64(), self.number);
        let indent = start.chars().count() + 2;
        for (index, part) in wrap(words, WIDTH.saturating_sub(indent).max(20)).iter().enumerate() {
            if index == 0 {
                out.push_str(&paint(&start, Colour::Dim, self.style.coloured));
                out.push_str(
                    &colour.map_or_else(|| arrow.to_string(), |colour| paint(arrow, colour, self.style.coloured)),
                );
                out.push(' ');
            } else {
                out.extend(std::iter::repeat_n(' ', indent));
            }
            let is_red = matches!(colour, Some(Colour::Red));
            out.push_str(&if is_red { paint(part, Colour::Red, self.style.coloured) } else { part.clone() });
            out.push('\n');
        }
    }

    /// A line below another.
    fn more(&self, text: &str, out: &mut String) {
        let indent = format!("{:>10.4} #{} ", 0.0, self.number).chars().count() + 2;
        for part in wrap(text.split(' '), WIDTH.saturating_sub(indent).max(20)) {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(&part);
            out.push('\n');
        }
    }

    fn object(&self, at: Duration, sentence: &str, details: Value, out: &mut String) {
        let [client, server] = [Role::Client, Role::Server].map(|role| exact_state_name(self.states.of(role)));
        // Micros are as exact as a recording.
        let seconds = Value::from(Duration::from_micros(at.as_micros() as u64).as_secs_f64());
        let mut object = Map::from_iter([("at".to_owned(), seconds), ("connection".to_owned(), self.number.into())]);
        if let Value::Object(details) = details {
            object.extend(details);
        }
        object.insert("sentence".to_owned(), sentence.into());
        object.insert("client".to_owned(), client.into());
        object.insert("server".to_owned(), server.into());
        out.push_str(&Value::Object(object).to_string());
        out.push('\n');
    }
}

/// That lines were left out, for people.
pub(super) fn left_out(lines: u64) -> String {
    format!("           … {lines} lines left out: standard output is read too slowly\n")
}

/// The same for programs.
pub(super) fn left_out_json(lines: u64) -> String {
    format!("{}\n", json!({"event": "left-out", "lines": lines}))
}

pub(crate) fn sender(seen: &Seen<'_>) -> Role {
    match seen {
        Seen::Answer { .. } => Role::Server,
        Seen::Violation(violation) => violation.by,
        Seen::Frame { from, .. } | Seen::Message { from, .. } | Seen::End { from, .. } => *from,
        _ => Role::Client,
    }
}

pub(crate) fn kind(seen: &Seen<'_>) -> &'static str {
    match seen {
        Seen::Request { .. } => "request",
        Seen::Answer { .. } => "answer",
        Seen::Violation(_) => "violation",
        Seen::Frame { .. } => "frame",
        Seen::Message { .. } => "message",
        Seen::End { .. } => "end",
        _ => "other",
    }
}

/// Where the thing seen is described.
fn section(seen: &Seen<'_>) -> &'static str {
    match seen {
        Seen::Request { .. } => "RFC 6455 §4.1",
        Seen::Answer { .. } => "RFC 6455 §4.2.2",
        Seen::Violation(violation) => violation.rule().section,
        Seen::Frame { frame, .. } => match frame.header.opcode() {
            Some(Opcode::Continuation) => "RFC 6455 §5.4",
            Some(Opcode::Text | Opcode::Binary) => "RFC 6455 §5.6",
            Some(Opcode::Close) => "RFC 6455 §5.5.1",
            Some(Opcode::Ping) => "RFC 6455 §5.5.2",
            Some(Opcode::Pong) => "RFC 6455 §5.5.3",
            None => "RFC 6455 §5.2",
        },
        Seen::Message { message, .. } if message.compressed => "RFC 7692 §6.2",
        Seen::Message { .. } => "RFC 6455 §6.2",
        _ => "RFC 6455 §7.1.1",
    }
}

pub(crate) fn details(seen: &Seen<'_>, object: &mut Map<String, Value>) {
    let mut add = |key: &str, value: Value| {
        object.insert(key.to_owned(), value);
    };
    match seen {
        Seen::Violation(violation) => return violation_details(violation, object),
        Seen::Frame { frame, .. } => frame_details(frame, &mut add),
        Seen::Message { message, .. } => message_details(message, &mut add),
        Seen::End { unfinished, passed_over, .. } => {
            add("unfinished", (*unfinished).into());
            add("passed_over", (*passed_over).into());
        }
        _ => {}
    }
    add("section", section(seen).into());
}

fn frame_details(frame: &Frame, add: &mut impl FnMut(&str, Value)) {
    let header = &frame.header;
    add("offset", frame.offset.into());
    add("opcode", header.opcode().map_or_else(|| header.opcode_bits().into(), |opcode| opcode.to_string().into()));
    add("fin", header.fin().into());
    add("rsv", (1..=3).filter(|bit| header.rsv(*bit)).collect::<Vec<u8>>().into());
    add("masked", header.masked().into());
    add("length", header.payload_len().into());
}

fn message_details(message: &WholeMessage, add: &mut impl FnMut(&str, Value)) {
    let is_text = message.kind == MessageKind::Text;
    add("kind", if is_text { "text" } else { "binary" }.into());
    add("frames", message.frames.into());
    add("length", message.len.into());
    add("wire_length", message.wire_len.into());
    add("compressed", message.compressed.into());
}

/// Where both ends stand after each thing seen, as [`Conversation::state`](loopwire::explain::Conversation::state) says
/// it after all that one push brought.
#[derive(Debug, Default)]
struct States {
    is_open: bool,
    /// No WebSocket has come of it.
    is_other: bool,
    failed: [bool; 2],
    closed: [bool; 2],
    ended: bool,
}

impl States {
    fn follow(&mut self, seen: &Seen<'_>) {
        let from = index(sender(seen));
        match seen {
            Seen::Request { outcome: Err(_), .. } | Seen::Answer { outcome: Err(_), .. } => self.is_other = true,
            Seen::Answer { outcome: Ok(_), .. } => self.is_open = true,
            Seen::Violation(violation) if matches!(violation.breach, Breach::Frame(_)) => self.failed[from] = true,
            Seen::Frame { frame, .. } if frame.header.opcode() == Some(Opcode::Close) && !self.failed[from] => {
                self.closed[from] = true;
            }
            Seen::End { .. } => self.ended = true,
            _ => {}
        }
    }

    fn of(&self, role: Role) -> EndpointState {
        let own = index(role);
        let (sent, received) = (self.closed[own], self.closed[1 - own]);
        match (sent, received) {
            _ if self.ended || self.is_other => EndpointState::Closed,
            _ if !self.is_open => EndpointState::Connecting,
            (true, true) => EndpointState::Closed,
            (false, false) => EndpointState::Open,
            _ => EndpointState::Closing { sent, received },
        }
    }
}

fn state_name(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Closing { .. } => "closing",
        state => exact_state_name(state),
    }
}

fn exact_state_name(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Connecting => "connecting",
        EndpointState::Open => "open",
        EndpointState::Closing { sent: true, .. } => "close-sent",
        EndpointState::Closing { .. } => "close-received",
        EndpointState::Closed => "closed",
    }
}

const fn index(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}
