//! Runs a probe on a connection, and says what came of it.

use std::fmt;
use std::time::Duration;

use loopwire::Role;
use loopwire::deflate::DeflateConfig;
use loopwire::wire::Rule;

use super::frames::{close, fence};
use super::head::Head;
use super::probe::{Demand, Force, Probe, Sends, Then};
use super::talk::{Heard, Talk};
use crate::cli::raw_line::{RawLine, Received};

/// What came of a probe.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// What the peer did: `Close 1002`, `426`, `pong`, `end`.
    pub(super) got: String,
    /// The rule that the peer broke itself while it answered.
    pub(super) broke: Option<&'static Rule>,
}

/// What to think of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    AsDemanded,
    /// The connection ended, and nobody was told why. The RFC recommends to say it [RFC 6455 §7.1.7, §10.7].
    WithoutAWord,
    /// A Close with a code that tells something else.
    OtherCode,
    /// Refused with another status: which is appropriate the RFC only suggests [RFC 6455 §4.2.1].
    OtherStatus,
    /// Refused, and the HTTP connection stays open, as HTTP allows.
    KeptOpen,
    /// A frame on a connection that there is not.
    Spoke,
    /// It was not noticed, or was passed over.
    Accepted,
    /// What is right was refused.
    Refused,
    /// Nothing came within the time.
    NoAnswer,
    /// A Close came, and then no end.
    NotEnded,
    /// The answer itself breaks a rule.
    BreaksARule,
    /// There was no connection to send it on.
    NoConnection,
    /// It could not be sent: the peer did not agree to what it needs.
    NotSent,
}

/// How a verdict counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// All is as it should be.
    Good,
    /// Less than the RFCs recommend, and nothing that they forbid.
    Weak,
    /// A MUST was broken.
    Broken,
    /// Nothing was found out.
    None,
}

impl Verdict {
    /// How it counts where the demand has that force.
    pub(super) fn level(self, force: Force) -> Level {
        match self {
            Self::AsDemanded => Level::Good,
            Self::NotSent => Level::None,
            Self::WithoutAWord | Self::OtherCode | Self::OtherStatus | Self::KeptOpen | Self::Spoke => Level::Weak,
            Self::Accepted | Self::Refused | Self::NoAnswer if force == Force::Should => Level::Weak,
            Self::Accepted
            | Self::Refused
            | Self::NoAnswer
            | Self::NotEnded
            | Self::BreaksARule
            | Self::NoConnection => Level::Broken,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsDemanded => "as demanded",
            Self::WithoutAWord => "closed without a word",
            Self::OtherCode => "wrong code",
            Self::OtherStatus => "another status",
            Self::KeptOpen => "kept open",
            Self::Spoke => "a frame too many",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::NoAnswer => "no answer",
            Self::NotEnded => "not ended",
            Self::BreaksARule => "breaks a rule",
            Self::NoConnection => "no connection",
            Self::NotSent => "not sent",
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "as demanded",
            Self::Weak => "weak",
            Self::Broken => "broken",
            Self::None => "not sent",
        })
    }
}

impl Outcome {
    pub(super) fn new(verdict: Verdict, got: impl Into<String>) -> Self {
        Self { verdict, got: got.into(), broke: None }
    }
}

/// How long a peer is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For a handshake that nothing is wrong with.
    pub(super) connecting: Duration,
    /// For what it makes of a probe.
    pub(super) patience: Duration,
}

/// Puts a server to the test. `good`: a request that it takes.
pub(super) fn server(probe: &Probe, line: RawLine, good: &Head, times: Times) -> Outcome {
    let patience = times.patience;
    let mut talk = Talk::new(line, Role::Client);
    let outcome = match &probe.sends {
        Sends::Frames { bytes, compressed, closes } => {
            let request = if *compressed { good.clone().and(EXTENSIONS, DEFLATE) } else { good.clone() };
            let request = request.bytes();
            talk.suppose(&request);
            talk.send(&request);
            talk.listen(times.connecting, |heard| heard.agreed.is_some() || is_refusal(heard));
            match &talk.heard.agreed {
                None => Outcome::new(Verdict::NoConnection, of_head(&talk.heard)),
                Some(agreed) if *compressed && agreed.deflate.is_none() => Outcome::new(Verdict::NotSent, "no deflate"),
                Some(_) => {
                    let fence = if closes.is_some() { Vec::new() } else { fence(Role::Client) };
                    talk.send(&[&bytes[..], &fence].concat());
                    frames_judged(&mut talk, probe.demands, *closes, Role::Client, patience)
                }
            }
        }
        Sends::Head { change, then } => {
            let request = good.changed(*change);
            let supposed = if is_valid(&request) { request.clone() } else { good.bytes() };
            talk.suppose(&supposed);
            then.send(&mut talk, request, Role::Client);
            talk.listen(patience, |heard| heard.status().is_some());
            match talk.heard.status() {
                Some(101) => {
                    if *then != Then::Frames {
                        talk.send(&fence(Role::Client));
                    }
                    upgraded(&mut talk, probe.demands, patience)
                }
                _ => refused(&mut talk, probe.demands, patience),
            }
        }
    };
    with_breach(outcome, &talk.heard)
}

/// Puts a client to the test, which has connected.
pub(super) fn client(probe: &Probe, line: RawLine, times: Times) -> Outcome {
    let patience = times.patience;
    let mut talk = Talk::new(line, Role::Server);
    talk.listen(times.connecting, |heard| heard.request.is_some() || heard.broke.is_some());
    let Some(request) = &talk.heard.request else {
        let got = if talk.heard.bytes.is_empty() { of_end(&talk.heard) } else { "no handshake" };
        return with_breach(Outcome::new(Verdict::NoConnection, got), &talk.heard);
    };
    let deflate = DeflateConfig::default().answer(request.offers()).filter(|_| probe.is_compressed());
    let key = request.fields().get("Sec-WebSocket-Key").unwrap_or_default();
    let deflate_named = deflate.map(|deflate| deflate.to_string());
    let good = Head::answer(key, request.protocols().first().map(String::as_str), deflate_named.as_deref());
    talk.suppose(&good.bytes());
    let outcome = match &probe.sends {
        Sends::Frames { compressed: true, .. } if deflate.is_none() => Outcome::new(Verdict::NotSent, "no deflate"),
        Sends::Frames { bytes, closes, .. } => {
            let fence = if closes.is_some() { Vec::new() } else { fence(Role::Server) };
            talk.send(&[&good.bytes()[..], bytes, &fence].concat());
            frames_judged(&mut talk, probe.demands, *closes, Role::Server, patience)
        }
        Sends::Head { change, then } => {
            then.send(&mut talk, good.changed(*change), Role::Server);
            answered(&mut talk, probe.demands, patience)
        }
    };
    with_breach(outcome, &talk.heard)
}

impl Then {
    /// Sends a head and what follows it, all at once, so that how it is cut on the way makes no difference to the verdict.
    fn send(self, talk: &mut Talk, mut head: Vec<u8>, us: Role) {
        if self == Self::Frames {
            head.extend(fence(us));
        }
        talk.send(&head);
        if self == Self::End {
            talk.end();
        }
    }
}

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
const DEFLATE: &str = "permessage-deflate; client_max_window_bits";

/// Whether the peer answers a ping, before a Close. One that should have noticed something is asked again and again:
/// there are endpoints that answer pings at once, and look at a message only when the application reads it.
fn goes_on(talk: &mut Talk, demands: Demand, us: Role, patience: Duration) -> bool {
    /// More turns than any event loop needs to come round to a message.
    const ASKED: u32 = 20;
    let rounds = if matches!(demands, Demand::Open | Demand::OpenOr(_)) { 1 } else { ASKED };
    for round in 1..=rounds {
        talk.listen(patience, |heard| heard.pongs >= round || heard.close.is_some());
        if talk.heard.pongs < round {
            return false;
        }
        if round < rounds {
            talk.send(&fence(us));
        }
    }
    true
}

/// What a peer made of frames that it was sent.
fn frames_judged(talk: &mut Talk, demands: Demand, closes: Option<u16>, us: Role, patience: Duration) -> Outcome {
    if goes_on(talk, demands, us, patience) {
        talk.send(&close(us, Some(1000)));
        let verdict = if demands == Demand::Open { Verdict::AsDemanded } else { Verdict::Accepted };
        return Outcome::new(verdict, "pong");
    }
    let Some(code) = talk.heard.close else {
        let verdict = match (talk.heard.end, demands) {
            (None, _) => Verdict::NoAnswer,
            (Some(_), Demand::Open) => Verdict::Refused,
            (Some(_), _) => Verdict::WithoutAWord,
        };
        return Outcome::new(verdict, of_end(&talk.heard));
    };
    // What a peer may still wait for before it lets go: our own Close, and of a client, the end [RFC 6455 §7.1.1].
    talk.send(&close(us, Some(code).filter(|code| loopwire::CloseCode(*code).is_sendable())));
    if us == Role::Server {
        talk.end();
    }
    let got = match code {
        0 => "bad Close".to_owned(),
        1005 => "empty Close".to_owned(),
        code => format!("Close {code}"),
    };
    let is_owed = match demands {
        Demand::Close(codes) => codes.contains(&code),
        Demand::AnyClose => true,
        _ => false,
    };
    if is_owed {
        talk.listen(patience, |_| false);
    }
    let verdict = match demands {
        Demand::Open => Verdict::Refused,
        // The text came back before the Close; behind it, that is a breach of the peer's own.
        Demand::AnyClose if talk.heard.took_text => Verdict::Accepted,
        _ if is_owed && talk.heard.end.is_none() => Verdict::NotEnded,
        _ if is_owed => Verdict::AsDemanded,
        // Taken for a Close that nothing is wrong with, and answered like one.
        _ if closes.is_some_and(|said| [said, 1000, 1005].contains(&code)) => Verdict::Accepted,
        _ => Verdict::OtherCode,
    };
    Outcome::new(verdict, got)
}

/// What a server did that has answered 101.
fn upgraded(talk: &mut Talk, demands: Demand, patience: Duration) -> Outcome {
    if !matches!(demands, Demand::Open | Demand::OpenOr(_)) {
        // To such a request no answer is right, so none is judged.
        talk.heard.broke = None;
        return Outcome::new(Verdict::Accepted, "101");
    }
    let pong = goes_on(talk, demands, Role::Client, patience);
    let heard = &talk.heard;
    match (pong, heard.close) {
        (true, _) => Outcome::new(Verdict::AsDemanded, "pong"),
        (_, Some(code)) => Outcome::new(Verdict::Refused, format!("101, {code}")),
        _ if heard.end.is_some() => Outcome::new(Verdict::Refused, "101, end"),
        _ => Outcome::new(Verdict::NoAnswer, "101"),
    }
}

/// What a server did that has not.
fn refused(talk: &mut Talk, demands: Demand, patience: Duration) -> Outcome {
    let Some(status) = talk.heard.status() else {
        let verdict = match demands {
            _ if talk.heard.end.is_none() => Verdict::NoAnswer,
            Demand::StatusOrEnd(_) => Verdict::AsDemanded,
            Demand::Open | Demand::OpenOr(_) => Verdict::Refused,
            _ if !talk.heard.bytes.is_empty() => Verdict::OtherStatus,
            _ => Verdict::WithoutAWord,
        };
        let got = if talk.heard.bytes.is_empty() { of_end(&talk.heard) } else { "no HTTP" };
        return Outcome::new(verdict, got);
    };
    talk.listen(patience, |_| false);
    let is_over = talk.heard.end.is_some();
    let verdict = match demands {
        Demand::Open => Verdict::Refused,
        Demand::OpenOr(statuses) if !statuses.contains(&status) => Verdict::Refused,
        Demand::Versions(_) if talk.heard.field("Sec-WebSocket-Version").is_none() => {
            // Who is asked in a version that it does not speak has to say which it does.
            return Outcome::new(Verdict::BreaksARule, format!("{status}, none"));
        }
        Demand::Status(statuses) | Demand::Versions(statuses) | Demand::StatusOrEnd(statuses)
            if !statuses.contains(&status) =>
        {
            Verdict::OtherStatus
        }
        _ if is_over => Verdict::AsDemanded,
        _ => Verdict::KeptOpen,
    };
    Outcome::new(verdict, status.to_string())
}

/// What a client made of a changed answer.
fn answered(talk: &mut Talk, demands: Demand, patience: Duration) -> Outcome {
    let pong = goes_on(talk, demands, Role::Server, patience);
    let is_to_go_on = demands == Demand::Open;
    let heard = &talk.heard;
    let (verdict, got) = match (pong, heard.close, heard.end) {
        (true, ..) if is_to_go_on => (Verdict::AsDemanded, "pong".to_owned()),
        (true, ..) => (Verdict::Accepted, "pong".to_owned()),
        (_, Some(code), _) if is_to_go_on => (Verdict::Refused, format!("Close {code}")),
        (_, Some(code), _) => (Verdict::Spoke, format!("Close {code}")),
        (_, _, Some(_)) if is_to_go_on => (Verdict::Refused, of_end(heard).to_owned()),
        (_, _, Some(_)) => (Verdict::AsDemanded, of_end(heard).to_owned()),
        _ => (Verdict::NoAnswer, "nothing".to_owned()),
    };
    Outcome::new(verdict, got)
}

/// Whoever breaks a rule while it refuses, or goes on, has not done as demanded.
fn with_breach(outcome: Outcome, heard: &Heard) -> Outcome {
    let verdict = match outcome.verdict {
        verdict @ (Verdict::Accepted | Verdict::NotEnded | Verdict::NoConnection) => verdict,
        _ if heard.broke.is_some() => Verdict::BreaksARule,
        verdict => verdict,
    };
    Outcome { verdict, broke: heard.broke, ..outcome }
}

fn is_refusal(heard: &Heard) -> bool {
    heard.broke.is_some() || heard.status().is_some_and(|status| status != 101)
}

fn of_head(heard: &Heard) -> String {
    heard.status().map_or_else(|| of_end(heard).to_owned(), |status| status.to_string())
}

fn of_end(heard: &Heard) -> &'static str {
    match heard.end {
        None => "nothing",
        Some(Received::Reset) => "reset",
        Some(_) => "end",
    }
}

/// Whether a request is one that an answer can be judged by.
fn is_valid(request: &[u8]) -> bool {
    use loopwire::explain::{Conversation, Seen};
    let mut valid = false;
    Conversation::new(std::time::Instant::now()).push(Role::Client, request, &mut |seen| {
        valid |= matches!(seen, Seen::Request { outcome: Ok(_), .. });
    });
    valid
}
