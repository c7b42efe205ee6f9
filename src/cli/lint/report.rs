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
    frames: u64,
    violations: u64,
    /// Connections of which something is missing.
    incomplete: u64,
    /// Packets that could not be read.
    passed_over: u64,
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

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self {
            output: BufWriter::new(io::stdout()),
            json,
            coloured: !json && terminal::colour_on_stdout(),
            connections: 0,
            frames: 0,
            violations: 0,
            incomplete: 0,
            passed_over: 0,
            failure: None,
        }
    }

    pub(super) fn frame(&mut self) {
        self.frames += 1;
    }

    pub(super) fn connection(&mut self) {
        self.connections += 1;
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
    pub(super) fn gap(&mut self, connection: u64, addresses: Option<&str>, from: Role, offset: u64, missing: u64) {
        self.incomplete += 1;
        let from = role_name(from);
        if self.json {
            let object = json!({
                "event": "gap", "connection": connection, "addresses": addresses, "from": from, "offset": offset,
                "missing": missing,
            });
            return self.line(&object.to_string());
        }
        let name = name(connection, addresses);
        let what = format!(
            "{name} {from}, byte {offset}: {missing} bytes are not in the capture, so nothing is said of what follows"
        );
        self.paragraph(&what, None);
    }

    /// Packets that were not looked into.
    pub(super) fn passed_over(&mut self, packets: u64) {
        self.passed_over = packets;
    }

    /// Whether there was no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.connections == 0
    }

    /// Whether whoever reads this has gone away, or nothing can be written.
    pub(super) fn is_unread(&self) -> bool {
        self.failure.is_some()
    }

    /// The last line, and what it comes to.
    pub(super) fn finish(mut self) -> Result<Exit, Failure> {
        let Self { connections, frames, violations, incomplete, passed_over, .. } = self;
        if self.json {
            let object = json!({
                "event": "summary", "connections": connections, "frames": frames, "violations": violations,
                "incomplete": incomplete, "passed_over": passed_over,
            });
            self.line(&object.to_string());
        } else {
            let incomplete = match incomplete {
                0 => String::new(),
                n => format!("; {n} not to be read to the end"),
            };
            if passed_over > 0 {
                let packets = count(passed_over, "packet");
                self.paragraph(
                    &format!("{packets} could not be read, being cut, fragments, or of an unknown link"),
                    None,
                );
            }
            let found = match violations {
                0 => "no broken rule".to_owned(),
                n => count(n, "broken rule"),
            };
            let text = format!("{}, {}: {found}{incomplete}", count(connections, "connection"), count(frames, "frame"));
            let colour = if violations > 0 { Colour::Red } else { Colour::Green };
            self.paragraph(&text, Some(colour));
        }
        if self.failure.is_none() {
            self.failure = self.output.flush().err();
        }
        match self.failure {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Failed, format_args!("cannot write to standard output: {error}")))
            }
            _ if violations > 0 => Ok(Exit::Broken),
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
