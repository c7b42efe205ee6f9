//! What was seen, in detail: for people who look at one thing at a time.

use std::fmt;

use super::conversation::Seen;
use super::frame::Frame;
use super::text::{count, hex, wrap};
use super::violation::Violation;
use super::{RawHeader, figure, inflated, opening, payload};
use crate::protocol::Role;
use crate::wire::{MessageKind, Owed, Rule};

/// What was seen, explained in several lines of at most 80 columns; each ends with a line feed. Ends of streams at which
/// nothing is left over are not worth any.
///
/// `Display` gives the text.
#[derive(Clone, Copy, Debug)]
pub struct Detail<'s>(pub(super) &'s Seen<'s>);

impl Seen<'_> {
    /// The same in detail: a frame drawn bit by bit, a handshake field by field, a broken rule with all that is known of it.
    pub fn detail(&self) -> Detail<'_> {
        Detail(self)
    }
}

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.0;
        let sentence = || wrap(&seen.to_string(), "", "  ");
        match seen {
            Seen::Request { head, outcome } => write!(f, "{}{}", sentence(), opening::request(head, outcome)),
            Seen::Answer { request, head, outcome } => {
                write!(f, "{}{}", sentence(), opening::answer(request, head, outcome))
            }
            Seen::Frame { frame, .. } => write!(f, "{}\n{}", sentence(), whole(frame)),
            Seen::Message { from, message } => f.write_str(&inflated::explain(*from, message)),
            Seen::Violation(violation) => f.write_str(&broken(violation)),
            Seen::End { .. } => f.write_str(&end(seen)),
        }
    }
}

/// The figure, the bytes beneath, the form of the length, and the payload.
fn whole(frame: &Frame) -> String {
    let length = row("Length", &figure::length(&frame.header));
    let parts = [figure::figure(frame), figure::bytes(frame)].join("\n");
    let rest = [length, payload::rows(frame), payload::meaning(frame)].concat();
    format!("{parts}\n{rest}")
}

fn broken(violation: &Violation) -> String {
    let rule = violation.rule();
    let what = violation.breach.to_string();
    let what = what.strip_suffix(&format!(": {} [{}]", rule.sentence, rule.section)).unwrap_or(&what);
    let here = format!("{what}, at byte {} of what the {} sent", violation.offset, name(violation.by));
    let broken = format!("{} [{}]: {}", rule.id, rule.section, rule.sentence);
    [row("Broken", &broken), row("Here", &here), consequences(rule)].concat()
}

/// A rule with all that is known of it, in several lines of at most 80 columns.
pub fn rule_in_detail(rule: &Rule) -> String {
    let is = format!("{} [{}]: {}", rule.id, rule.section, rule.sentence);
    [row("Rule", &is), consequences(rule)].concat()
}

fn consequences(rule: &Rule) -> String {
    let owed = match rule.owed {
        Owed::Close(code) => format!("a Close with {code}, and the end of the connection [RFC 6455 §7.1.7]"),
        Owed::Status(status) => format!("an HTTP answer with {status} and no WebSocket"),
        Owed::Failure => "the end of the connection; there is no WebSocket to say why on".to_owned(),
        Owed::Nothing => "nothing: the peer is not told".to_owned(),
    };
    let none = |text: &'static str, none: &'static str| if text.is_empty() { none } else { text };
    let autobahn = none(rule.autobahn, "no case breaks it");
    let test = none(rule.test, "none: it cannot be broken on purpose");
    [row("Owed", &owed), row("Autobahn", autobahn), row("Our test", test)].concat()
}

fn end(end: &Seen<'_>) -> String {
    let Seen::End { from, frame, message, header, passed_over, unfinished } = end else { return String::new() };
    let name = name(*from);
    let mut out = String::new();
    if let Some(frame) = frame {
        let missing = count(frame.header.payload_len() - frame.received, "byte");
        out.push_str(&wrap(&format!("{name} sends the beginning of a frame: {missing} did not come"), "", "  "));
        out.push('\n');
        out.push_str(&whole(frame));
    } else if !header.is_empty() {
        let what = match RawHeader::len_of(header) {
            Some(len) => format!("{} of a header that has {len}", count(header.len() as u64, "byte")),
            None => "one byte of a header, which has two at least".to_owned(),
        };
        out.push_str(&wrap(&format!("{name} sends the beginning of a frame: {}, {what}", hex(header)), "", "  "));
    } else if let Some(message) = message {
        let kind = match message.kind {
            MessageKind::Text => "text",
            MessageKind::Binary => "binary",
        };
        let so_far = format!("{} so far", count(message.wire_len, "byte"));
        out.push_str(&wrap(&format!("{name} has not ended its message yet: {kind}, {so_far}"), "", "  "));
    } else if *unfinished {
        out.push_str(&wrap(&format!("{name} sends the beginning of a head: the blank line did not come"), "", "  "));
    }
    if *passed_over > 0 {
        let what = format!("{} more from the {name} are not looked at", count(*passed_over, "byte"));
        out.push_str(&row("Behind", &what));
    }
    out
}

/// A label, and a text beside it in as many lines as it needs.
pub(super) fn row(label: &str, text: &str) -> String {
    wrap(text, &format!("  {label:<10}"), "            ")
}

pub(super) const fn name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}
