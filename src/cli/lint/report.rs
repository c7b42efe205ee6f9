//! What lint tells.

use std::io::{self, BufWriter, Stdout, Write as _};

use loopwire::Role;
use loopwire::explain::{Breach, Violation};
use serde_json::{Map, Value, json};

use crate::cli::telling::{WIDTH, owed_text, role_name, violation_details, wrap};
use crate::cli::terminal::{self, Colour, paint, printable};
use crate::cli::{Exit, Failure};

const INDENT: &str = "   ";

/// Writes what is found as it is found, and counts.
#[derive(Debug)]
pub(super) struct Report {
    output: BufWriter<Stdout>,
    json: bool,
    coloured: bool,
    connections: u64,
    /// Those whose request was there, at least.
    judged: u64,
    frames: u64,
    violations: u64,
    /// Connections of which something is missing.
    incomplete: u64,
    /// Packets that could not be read.
    passed_over: u64,
    /// TCP streams of which the first bytes are not there.
    beginning_missing: u64,
    /// Why nothing more is written.
    failure: Option<io::Error>,
}

/// A broken rule, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'f> {
    pub(super) connection: u64,
    pub(super) addresses: Option<&'f str>,
    /// Its sender's frame of this number, from 1 on, if it was in a frame.
    pub(super) frame: u64,
    pub(super) violation: &'f Violation,
}

/// Something that a connection lacks, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap<'g> {
    pub(super) connection: u64,
    pub(super) addresses: Option<&'g str>,
    pub(super) from: Role,
    pub(super) offset: u64,
    /// How many bytes.
    pub(super) missing: u64,
    /// It comes before the end of the first request.
    pub(super) in_request: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            output: BufWriter::new(io::stdout()),
            json,
            coloured: !json && terminal::colour_on_stdout(),
            connections: 0,
            judged: 0,
            frames: 0,
            violations: 0,
            incomplete: 0,
            passed_over: 0,
            beginning_missing: 0,
            failure: None,
        }
    }

    pub(super) fn frame(&mut self) {
        self.frames += 1;
    }

    /// A connection; whether as much of it was there as tells what it is.
    pub(super) fn connection(&mut self, is_judged: bool) {
        self.connections += 1;
        self.judged += u64::from(is_judged);
    }

    pub(super) fn found(&mut self, found: &Found<'_>) {
        self.violations += 1;
        let violation = found.violation;
        let is_frame = matches!(violation.breach, Breach::Frame(_) | Breach::DataAfterClose);
        let frame = is_frame.then_some(found.frame);
        let what = printable(&violation.breach.to_string());
        if self.json {
            let mut object = Map::new();
            object.insert("event".to_owned(), "violation".into());
            object.insert("connection".to_owned(), found.connection.into());
            object.insert("addresses".to_owned(), found.addresses.into());
            object.insert("from".to_owned(), role_name(violation.by).into());
            object.insert("frame".to_owned(), frame.into());
            violation_details(violation, &mut object);
            object.insert("sentence".to_owned(), what.into());
            return self.line(&Value::Object(object).to_string());
        }
        let place = match frame {
            Some(frame) => format!("byte {}, frame {frame}", violation.offset),
            None => "handshake".to_owned(),
        };
        let head = format!("{} {}, {place}:", name(found.connection, found.addresses), role_name(violation.by));
        self.paragraph(&format!("{head} {what}"), Some(Colour::Red));
        self.paragraph(&format!("{INDENT}{}", owed_text(violation.rule())), None);
    }

    /// Bytes that a capture has not.
    pub(super) fn gap(&mut self, gap: &Gap<'_>) {
        self.incomplete += 1;
        let Gap { connection, addresses, offset, missing, .. } = *gap;
        let from = role_name(gap.from);
        if self.json {
            let object = json!({
                "event": "gap", "connection": connection, "addresses": addresses, "from": from, "offset": offset,
                "missing": missing,
            });
            return self.line(&object.to_string());
        }
        let name = name(connection, addresses);
        let unknown = if gap.in_request { ", nor whether it is a WebSocket" } else { "" };
        let what = format!(
            "{name} {from}, byte {offset}: {missing} bytes are not in the capture, so nothing is said of what \
             follows{unknown}"
        );
        self.paragraph(&what, None);
    }

    /// A TCP stream that was not looked into, as the capture lacks its first bytes.
    pub(super) fn beginning_missing(&mut self) {
        self.beginning_missing += 1;
    }

    /// Packets that were not looked into.
    pub(super) fn passed_over(&mut self, packets: u64) {
        self.passed_over = packets;
    }

    /// Whether there was no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.connections == 0 && self.violations == 0
    }

    /// Whether whoever reads this has gone away, or nothing can be written.
    pub(super) fn is_unread(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether a file that was read to its end had nothing in it that could be judged.
    pub(super) fn has_nothing_to_judge(&self) -> bool {
        self.judged == 0 && self.violations == 0 && !self.is_unread()
    }

    /// The last line, and what it comes to; `unread` is why the rest of the file was not read.
    pub(super) fn finish(mut self, unread: Option<&str>) -> Result<Exit, Failure> {
        let Self { connections, frames, violations, incomplete, passed_over, beginning_missing, judged, .. } = self;
        if self.json {
            let object = json!({
                "event": "summary", "connections": connections, "judged": judged, "frames": frames,
                "violations": violations, "incomplete": incomplete, "beginning_missing": beginning_missing,
                "passed_over": passed_over, "unread": unread,
            });
            self.line(&object.to_string());
        } else {
            if passed_over > 0 {
                let packets = count(passed_over, "packet");
                self.paragraph(
                    &format!("{packets} could not be read, being cut, fragments, or of an unknown link"),
                    None,
                );
            }
            if beginning_missing > 0 {
                let streams = count(beginning_missing, "TCP stream");
                self.paragraph(&format!("{streams} passed over, whose beginning is not in the capture"), None);
            }
            let found = match (violations, judged) {
                (0, 0) => "nothing to judge".to_owned(),
                (0, _) => "no broken rule".to_owned(),
                (n, _) => count(n, "broken rule"),
            };
            let incomplete_text = match incomplete {
                0 => String::new(),
                n => format!("; {n} not to be read to the end"),
            };
            let unread_text = if unread.is_some() { "; the rest of the file was not read" } else { "" };
            let (connections, frames) = (count(connections, "connection"), count(frames, "frame"));
            let text = format!("{connections}, {frames}: {found}{incomplete_text}{unread_text}");
            let colour = match (violations, judged, incomplete, unread) {
                (0, 1.., 0, None) => Some(Colour::Green),
                (0, ..) => None,
                _ => Some(Colour::Red),
            };
            self.paragraph(&text, colour);
        }
        if self.failure.is_none() {
            self.failure = self.output.flush().err();
        }
        match self.failure {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failed, format_args!("cannot write to standard output: {error}")))
            }
            _ if violations > 0 => Ok(Exit::Broken),
            _ if unread.is_some() => Ok(Exit::Failed),
            _ => Ok(Exit::Done),
        }
    }

    fn paragraph(&mut self, text: &str, colour: Option<Colour>) {
        let indent = if text.starts_with(INDENT) { INDENT } else { "" };
        for (index, part) in wrap(text.trim_start().split(' '), WIDTH - INDENT.len()).into_iter().enumerate() {
            let painted = colour.map_or_else(|| part.clone(), |colour| paint(&part, colour, self.coloured));
            self.line(&format!("{}{painted}", if index > 0 { INDENT } else { indent }));
        }
    }

    fn line(&mut self, line: &str) {
        if self.failure.is_none() {
            self.failure = writeln!(self.output, "{line}").err();
        }
    }
}

fn name(connection: u64, addresses: Option<&str>) -> String {
    match addresses {
        Some(addresses) => format!("#{connection} ({addresses})"),
        None => format!("#{connection}"),
    }
}

fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
