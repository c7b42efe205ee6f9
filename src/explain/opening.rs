//! The opening handshake, field by field: what each is for, and why it was accepted, refused or ignored; and how the key
//! becomes the proof that it was read [RFC 6455 §1.3, §4].
//!
//! Each field is judged by itself, with a good handshake around it: by the very code that judges handshakes.

use std::fmt::Write as _;

use super::text::{columns, count, hex, printable, wrap};
use crate::deflate::{DeflateOffer, DeflateParams};
use crate::handshake::{
    Agreed, ClientHandshake, DEFLATE, GUID, HandshakeError, HeadLimits, Rejection, Request, UpgradeRequest, accept_key,
    decode_key, digest, parse_extensions,
};
use crate::wire::Rule;

/// What stands before the text under a field.
const INDENT: &str = "            ";

/// What servers refuse by their own choice is not judged here.
const LIMITS: HeadLimits = HeadLimits { request_line: usize::MAX, head: usize::MAX, fields: usize::MAX };

/// The fields that a request cannot be without, and good values for them.
const ASKED: [(&str, &str); 5] = [
    ("Host", "localhost"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// The width of what was offered, in columns.
const OFFERED: usize = 36;

/// The request, line by line, and what becomes of its key.
pub(super) fn request(head: &[u8], outcome: &Result<UpgradeRequest, Rejection>) -> String {
    let mut out = String::from("\n");
    let Some(head) = Head::read(head) else { return unread(head) };
    let judge = |lines: &[String]| {
        let fault = judge_request(&good("GET / HTTP/1.1", &ASKED, lines)).err()?;
        Some(Refused { what: fault.to_string(), rule: fault.rule() })
    };
    let start = match judge_request(&good(&head.start, &ASKED, &head.lines("Host"))).err() {
        // A bad Host is not the start line's fault, and which server an absolute target names is then of no matter.
        Some(Rejection::HostMissing | Rejection::HostDuplicate | Rejection::HostInvalid(_)) => {
            let fault = judge_request(&good(&head.start, &ASKED, &[])).err();
            fault.filter(|fault| *fault != Rejection::TargetMismatch)
        }
        fault => fault,
    };
    let start = start.map(|fault| Refused { what: fault.to_string(), rule: fault.rule() });
    let is_fine = "a GET over HTTP/1.1, as an opening handshake is [RFC 6455 §4.1]".to_owned();
    push(&mut out, &head.start, start.map_or_else(|| Verdict::Accepted(is_fine), Verdict::Refused));
    head.explain(&mut out, &judge, request_field);
    for (name, _) in ASKED {
        if head.lines(name).is_empty() {
            let others: Vec<_> = ASKED.iter().filter(|(other, _)| *other != name).copied().collect();
            if let Err(fault) = judge_request(&good("GET / HTTP/1.1", &others, &[])) {
                push(&mut out, name, Verdict::Missing(fault.to_string()));
            }
        }
    }
    if let Ok(request) = outcome {
        out.push('\n');
        out.push_str(&proof(request.fields().get("Sec-WebSocket-Key").unwrap_or_default()));
    }
    out
}

/// The answer, line by line, beside what was asked for.
pub(super) fn answer(request: &UpgradeRequest, bytes: &[u8], outcome: &Result<Agreed, HandshakeError>) -> String {
    let Some(head) = Head::read(without_interim(bytes)) else { return unread(bytes) };
    let key = request.fields().get("Sec-WebSocket-Key").unwrap_or_default();
    let accept = accept_key(key);
    let given = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", &accept[..])];
    let mut out = String::from("\n");
    let judge_all = |bytes: &[u8]| ClientHandshake::observing(request).push(bytes).err();
    let refused = |fault: HandshakeError| Refused { what: fault.to_string(), rule: fault.rule() };
    if matches!(outcome, Err(HandshakeError::Refused(_))) {
        push(&mut out, &head.start, Verdict::Refused(Refused { what: outcome_text(outcome), rule: Rule::REFUSED }));
        head.explain(&mut out, &|_| None, |name, _| Verdict::Ignored(refusal_field(name)));
        return out;
    }
    let judge = |lines: &[String]| {
        let start = if lines.is_empty() { head.start.clone() } else { "HTTP/1.1 101 Switching Protocols".to_owned() };
        judge_all(&good(&start, &given, lines)).map(refused)
    };
    let is_fine = "the server agrees: behind the blank line both speak WebSocket [RFC 6455 §4.2.2]".to_owned();
    push(&mut out, &head.start, judge(&[]).map_or_else(|| Verdict::Accepted(is_fine), Verdict::Refused));
    head.explain(&mut out, &judge, |name, values| answer_field(name, values, request));
    for (name, _) in given {
        if head.lines(name).is_empty() {
            let others: Vec<_> = given.iter().filter(|(other, _)| *other != name).copied().collect();
            if let Some(fault) = judge_all(&good("HTTP/1.1 101 Switching Protocols", &others, &[])) {
                push(&mut out, name, Verdict::Missing(fault.to_string()));
            }
        }
    }
    out.push('\n');
    out.push_str(&wrap("The proof that the key was read [RFC 6455 §1.3]", "  ", "  "));
    out.push_str(&proof_row("the key's", &accept));
    for value in head.values("Sec-WebSocket-Accept") {
        let same = if value == accept { "the same" } else { "another" };
        out.push_str(&proof_row("the answer's", &format!("{value}, {same}")));
    }
    out.push('\n');
    out.push_str(&offers(request, &head));
    if let Ok(Agreed { deflate: Some(deflate), .. }) = outcome {
        out.push_str(&agreed(*deflate));
    }
    out
}

/// The final answer alone, as interim ones before it say nothing [RFC 9110 §15.2].
fn without_interim(mut answers: &[u8]) -> &[u8] {
    while let (Some(b"1"), Some(b"00" | b"02" | b"03")) = (answers.get(9..10), answers.get(10..12))
        && let Some(end) = answers.windows(4).position(|four| four == b"\r\n\r\n")
    {
        answers = &answers[end + 4..];
    }
    answers
}

fn judge_request(head: &[u8]) -> Result<UpgradeRequest, Rejection> {
    Request::parse(head, &LIMITS).and_then(UpgradeRequest::from_request)
}

/// A head that is good but for what these lines change.
fn good(start: &str, fields: &[(&str, &str)], lines: &[String]) -> Vec<u8> {
    let is_given = |name: &str| lines.iter().any(|line| name_of(line).eq_ignore_ascii_case(name));
    let mut head = format!("{start}\r\n");
    for (name, value) in fields.iter().filter(|(name, _)| !is_given(name)) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    for line in lines {
        let _ = write!(head, "{line}\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A head that could not be taken apart: its lines as they are.
fn unread(head: &[u8]) -> String {
    let mut out = String::from("\n");
    for line in String::from_utf8_lossy(head).split_inclusive('\n') {
        out.push_str(&wrap(&printable(line), "            ", INDENT));
    }
    out
}

/// A head as lines.
struct Head {
    start: String,
    fields: Vec<String>,
}

/// What became of a line.
enum Verdict {
    Accepted(String),
    Refused(Refused),
    Ignored(&'static str),
    Missing(String),
}

struct Refused {
    what: String,
    rule: &'static Rule,
}

impl Head {
    /// The lines of a head; `None` if lines are not what separates it.
    fn read(head: &[u8]) -> Option<Self> {
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let end = head.windows(4).position(|four| four == b"\r\n\r\n")?;
        // As ISO-8859-1 where it is not UTF-8, as the fields themselves are read.
        let text = |line: &[u8]| match std::str::from_utf8(line) {
            Ok(text) => text.to_owned(),
            Err(_) => line.iter().map(|byte| char::from(*byte)).collect(),
        };
        let mut lines =
            head[..end].split(|byte| *byte == b'\n').map(|line| text(line.strip_suffix(b"\r").unwrap_or(line)));
        Some(Self { start: lines.next()?, fields: lines.collect() })
    }

    /// The lines that have this name.
    fn lines(&self, name: &str) -> Vec<String> {
        self.fields.iter().filter(|line| name_of(line).eq_ignore_ascii_case(name)).cloned().collect()
    }

    fn values(&self, name: &str) -> Vec<String> {
        self.lines(name)
            .iter()
            .map(|line| line.split_once(':').map_or("", |(_, value)| value).trim().to_owned())
            .collect()
    }

    /// Every field with its verdict, once for all lines of the same name.
    fn explain(
        &self,
        out: &mut String,
        judge: &dyn Fn(&[String]) -> Option<Refused>,
        mut fine: impl FnMut(&str, &[String]) -> Verdict,
    ) {
        for (at, line) in self.fields.iter().enumerate() {
            let name = name_of(line);
            let is_last = !self.fields[at + 1..].iter().any(|other| name_of(other).eq_ignore_ascii_case(name));
            if !is_last {
                out.push_str(&wrap(&printable(line), INDENT, INDENT));
                continue;
            }
            let verdict = judge(&self.lines(name)).map_or_else(|| fine(name, &self.values(name)), Verdict::Refused);
            push(out, line, verdict);
        }
    }
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// A line of the head, and beneath it why.
fn push(out: &mut String, line: &str, verdict: Verdict) {
    let (word, why) = match verdict {
        Verdict::Accepted(why) => ("accepted", why),
        Verdict::Refused(Refused { what, rule }) => {
            ("refused", if what.contains(rule.section) { what } else { format!("{what} [{}]", rule.section) })
        }
        Verdict::Ignored(why) => ("ignored", why.to_owned()),
        Verdict::Missing(why) => ("missing", why),
    };
    out.push_str(&wrap(&printable(line), &format!("  {word:<10}"), "              "));
    out.push_str(&wrap(&printable(&why), "              ", "              "));
}

/// What a good field of a request is for.
fn request_field(name: &str, values: &[String]) -> Verdict {
    let why = match &name.to_ascii_lowercase()[..] {
        "host" => "the server that the client means, as others may share its address [RFC 9112 §3.2]".to_owned(),
        "upgrade" => "the protocol to go over to [RFC 6455 §4.2.1]".to_owned(),
        "connection" => "says that Upgrade is meant for the next hop alone [RFC 9110 §7.8]".to_owned(),
        "sec-websocket-key" => {
            "16 random bytes in base64, so that no cache and no other server can answer by accident [RFC 6455 §4.1]"
                .to_owned()
        }
        "sec-websocket-version" if values.iter().any(|value| value == "8") => {
            "8 is draft hybi-10, whose frames are those of 13 [RFC 6455 §4.4]".to_owned()
        }
        "sec-websocket-version" => "13 is RFC 6455 itself [RFC 6455 §4.1]".to_owned(),
        "sec-websocket-protocol" => {
            "the subprotocols that the client speaks, its favourite first; the server may choose one [RFC 6455 §1.9]"
                .to_owned()
        }
        "sec-websocket-extensions" => extensions(values),
        "origin" | "sec-websocket-origin" => {
            "the page that connects; a server that trusts cookies decides by it [RFC 6455 §10.2]".to_owned()
        }
        "content-length" | "transfer-encoding" => "no body follows [RFC 9112 §6.3]".to_owned(),
        "cookie" | "authorization" => return Verdict::Ignored("the application's to judge, not the handshake's"),
        _ => return Verdict::Ignored("says nothing in an opening handshake"),
    };
    Verdict::Accepted(why)
}

/// Each extension that is offered, and why a server may agree to it or declines it.
fn extensions(values: &[String]) -> String {
    let mut said = Vec::new();
    for value in values {
        for extension in parse_extensions(value).unwrap_or_default() {
            if extension.name != DEFLATE {
                said.push(format!("{} is not known and is declined by silence [RFC 6455 §9.1]", extension.name));
                continue;
            }
            let params = extension.params.iter().map(|(name, value)| (*name, value.as_deref()));
            said.push(match DeflateOffer::from_params(params) {
                Ok(offer) => format!("offered: {offer} [RFC 7692 §7.1]"),
                Err(error) => format!("declined: {error} [RFC 7692 §7.1]"),
            });
        }
    }
    said.join("; ")
}

/// What a good field of an answer is for.
fn answer_field(name: &str, values: &[String], request: &UpgradeRequest) -> Verdict {
    let why = match &name.to_ascii_lowercase()[..] {
        "upgrade" => "the protocol that both go over to [RFC 6455 §4.2.2]".to_owned(),
        "connection" => "says that Upgrade is meant for this hop [RFC 6455 §4.2.2]".to_owned(),
        "sec-websocket-accept" => "what the key asks for, see below [RFC 6455 §4.2.2]".to_owned(),
        "sec-websocket-protocol" => {
            let offered =
                request.protocols().iter().position(|protocol| values.contains(protocol)).map_or(0, |at| at + 1);
            format!("number {offered} of {} offered [RFC 6455 §4.2.2]", request.protocols().len())
        }
        "sec-websocket-extensions" => "within what was offered [RFC 7692 §7.1]".to_owned(),
        _ => return Verdict::Ignored("says nothing in an opening handshake"),
    };
    Verdict::Accepted(why)
}

/// What a field of a refusal is good for.
fn refusal_field(name: &str) -> &'static str {
    match &name.to_ascii_lowercase()[..] {
        "location" => "where to ask instead; a client may follow it [RFC 6455 §4.1]",
        "www-authenticate" => "what credentials to come back with [RFC 9110 §11.6.1]",
        "retry-after" => "when to come back [RFC 9110 §10.2.3]",
        "sec-websocket-version" => "the versions that would have done [RFC 6455 §4.4]",
        "upgrade" => "what would have done [RFC 9110 §7.8]",
        _ => "nothing is agreed to, so this says nothing",
    }
}

fn outcome_text(outcome: &Result<Agreed, HandshakeError>) -> String {
    outcome.as_ref().err().map_or_else(String::new, ToString::to_string)
}

/// From the key to its proof, a step in each row.
fn proof(key: &str) -> String {
    let mut out = wrap("What proves that the key was read [RFC 6455 §1.3]", "  ", "  ");
    out.push_str(&proof_row("key", key));
    if let Some(bytes) = decode_key(key) {
        out.push_str(&proof_row("its bytes", &hex(&bytes)));
    }
    out.push_str(&proof_row("key + GUID", &format!("{key}{GUID}")));
    out.push_str(&proof_row("SHA-1 of it", &hex(&digest(key))));
    out.push_str(&proof_row("base64", &accept_key(key)));
    out
}

fn proof_row(label: &str, text: &str) -> String {
    wrap(&printable(text), &format!("    {label:<13}"), "                 ")
}

/// What was offered, and beside it what was answered.
fn offers(request: &UpgradeRequest, answer: &Head) -> String {
    let mut out = two("Offered", "Answered");
    let mut row = |name: &str| {
        let asked = request.fields().all(name).collect::<Vec<_>>().join(", ");
        let given = answer.values(name).join(", ");
        if !asked.is_empty() || !given.is_empty() {
            let none = |text: String| if text.is_empty() { "nothing".to_owned() } else { printable(&text) };
            let _ = writeln!(out, "  {name}");
            out.push_str(&two(&none(asked), &none(given)));
        }
    };
    let version = request.version().number();
    row("Sec-WebSocket-Protocol");
    row("Sec-WebSocket-Extensions");
    if out.lines().count() == 1 {
        return format!("  Nothing was offered besides version {version}, and nothing else is agreed to.\n");
    }
    out
}

/// Two columns, each wrapped in itself.
fn two(left: &str, right: &str) -> String {
    // `wrap` knows one width: what is indented so far is as narrow as a column.
    let narrow = |text: &str| -> Vec<String> {
        let indent = " ".repeat(80 - OFFERED);
        wrap(text, &indent, &indent).lines().map(|line| line.trim_start().to_owned()).collect()
    };
    let (left, right) = (narrow(left), narrow(right));
    let mut out = String::new();
    for at in 0..left.len().max(right.len()) {
        let (left, right) = (left.get(at).map_or("", String::as_str), right.get(at).map_or("", String::as_str));
        let space = " ".repeat(OFFERED.saturating_sub(columns(left)));
        let _ = writeln!(out, "{}", format!("    {left}{space}    {right}").trim_end());
    }
    out
}

/// What the agreement on compression means for each side.
fn agreed(deflate: DeflateParams) -> String {
    let side = |name: &str, bits: u8, alone: bool| {
        let takeover = if alone { "compresses each message by itself" } else { "may refer to its earlier messages" };
        format!("the {name} {takeover}, at most {} back ({bits} bits)", count(1 << bits, "byte"))
    };
    let client = side("client", deflate.client_max_window_bits, deflate.client_no_context_takeover);
    let server = side("server", deflate.server_max_window_bits, deflate.server_no_context_takeover);
    wrap(&format!("Agreed: {client}; {server}."), "  ", "  ")
}
