//! `loopwire autobahn client`: the client under test against Autobahn's fuzzing server.
//!
//! The suite is asked how many cases it has (`/getCaseCount`), each of them is run on a connection of its own
//! (`/runCase`), where every message is sent back, and at last the reports are written (`/updateReports`).

use std::cell::Cell;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::rc::Rc;

use clap::{Args, Subcommand};
use loopwire::protocol::{Closed, Side};
use loopwire::{Handler, Message, WebSocket};

use super::dial::{DialArgs, failure, url};
use super::echo::Echo;
use super::terminal::say;
use super::{AFTER_HELP, Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum AutobahnCommand {
    /// Connect to a fuzzing server and send every message back, case by case
    #[command(after_help = AFTER_HELP)]
    Client(Box<ClientArgs>),
}

#[derive(Args, Debug)]
pub(crate) struct ClientArgs {
    /// The fuzzing server, such as ws://127.0.0.1:9001
    #[arg(value_parser = url)]
    url: String,

    /// The name in the reports
    #[arg(long, value_name = "NAME", default_value = "loopwire")]
    agent: String,

    /// Run these cases alone, by their numbers from 1 on
    #[arg(long, value_name = "A-B", value_parser = cases)]
    cases: Option<RangeInclusive<u32>>,

    #[command(flatten)]
    dial: DialArgs,
}

pub(crate) fn run(command: AutobahnCommand) -> Result<Exit, Failure> {
    let AutobahnCommand::Client(args) = command;
    let agent = percent_encode(&args.agent);

    let counter = Counter::default();
    let count = Rc::clone(&counter.0);
    converse(&args, "/getCaseCount", counter)?;
    let count = count.get().ok_or_else(|| {
        let what = "the server did not say how many cases it has: is it `wstest -m fuzzingserver`?";
        Failure::new(Exit::Abnormal, what)
    })?;

    let wanted = args.cases.clone().unwrap_or(1..=count);
    for case in *wanted.start()..=count.min(*wanted.end()) {
        let closed = converse(&args, &format!("/runCase?case={case}&agent={agent}"), Echo)?;
        say(format_args!("case {case} of {count}: {}", closed.code));
    }
    converse(&args, &format!("/updateReports?agent={agent}"), Echo)?;
    say("the reports are written");
    Ok(Exit::Done)
}

/// One connection, from the opening handshake to its end. How that came about is for the suite to judge.
fn converse(args: &ClientArgs, target: &str, handler: impl Handler + 'static) -> Result<Closed, Failure> {
    let url = format!("{}{target}", args.url.trim_end_matches('/'));
    let client = args.dial.client(&url)?.build().map_err(|error| failure(&error))?;
    let closed = client.run(handler).map_err(|error| failure(&error))?;
    // Cases are ended by the suite; what ends one here is a signal, or a rule that the suite broke on purpose.
    if closed.by == Side::Local && closed.error.is_none() {
        return Err(Failure::new(Exit::Failed, "interrupted before the reports were written"));
    }
    Ok(closed)
}

/// Hears how many cases there are.
#[derive(Default)]
struct Counter(Rc<Cell<Option<u32>>>);

impl Handler for Counter {
    fn on_message(&mut self, _ws: &mut WebSocket<'_>, message: Message<'_>) {
        self.0.set(message.as_text().and_then(|text| text.trim().parse().ok()));
    }
}

/// Reads `A-B`, or one number alone.
fn cases(text: &str) -> Result<RangeInclusive<u32>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 1 <= first && first <= last => Ok(first..=last),
        _ => Err("write a range of numbers from 1 on, such as 1-300".to_owned()),
    }
}

/// What may stand in a query as it is stays, the rest is encoded [RFC 3986 §2.3].
fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
