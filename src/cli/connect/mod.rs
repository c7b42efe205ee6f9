//! `loopwire connect`: a client for people and for scripts.

mod command;
mod input;
mod session;

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::rc::Rc;
use std::str::FromStr;

use clap::Args;
use loopwire::protocol::{Closed, Side};
use loopwire::wire::CloseCode;
use loopwire::{ClientError, ReconnectPolicy};

use super::dial::{DialArgs, failure, url};
use super::values::{OrOff, Span, count_or_off};
use super::{Exit, Failure, terminal};
use session::Session;

pub(crate) use command::HELP as COMMANDS;

#[derive(Args, Debug)]
pub(crate) struct ConnectArgs {
    /// Where to: ws://host:port/path, wss://host/path or ws+unix:/path/to.sock:/path
    #[arg(value_parser = url)]
    url: String,

    #[command(flatten)]
    talk: TalkArgs,

    #[command(flatten)]
    dial: DialArgs,

    #[command(flatten)]
    reconnect: ReconnectArgs,
}

/// What is sent, and when it is enough.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Talking")]
struct TalkArgs {
    /// Send standard input as one binary message, as it is read, and print what is received byte by byte
    #[arg(long)]
    binary: bool,

    /// End after the first message received
    #[arg(long)]
    one: bool,

    /// After the last line, wait this long for answers; `answers`: until a ping sent behind it is answered, which for
    /// a server that works in order is when all is; `forever`: until the server closes
    #[arg(long, value_name = "TIME", default_value_t = Wait::Answers)]
    wait: Wait,

    /// End with code 6 if it is not over by then
    #[arg(long, value_name = "TIME", default_value = "off")]
    timeout: OrOff<Span>,
}

/// How a lost connection is made again.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reconnecting")]
struct ReconnectArgs {
    /// Connect again when the connection is lost or refused for now
    #[arg(long)]
    reconnect: bool,

    /// The longest first delay; it is random, so that not all clients come back at once. Each later one may be twice as
    /// long
    #[arg(long, value_name = "TIME", default_value = "5s")]
    reconnect_delay: Span,

    /// The longest delay of all
    #[arg(long, value_name = "TIME", default_value = "1m")]
    reconnect_max: Span,

    /// How often to try before giving up
    #[arg(long, value_name = "N", value_parser = count_or_off, default_value_t = OrOff(ReconnectPolicy::default().max_attempts))]
    reconnect_attempts: OrOff<u32>,
}

impl ReconnectArgs {
    fn policy(&self) -> Option<ReconnectPolicy> {
        let mut policy = ReconnectPolicy::default();
        let delay = self.reconnect_delay.0;
        policy.backoff = policy.backoff.first(delay).base(delay).cap(self.reconnect_max.0);
        policy.max_attempts = self.reconnect_attempts.0;
        self.reconnect.then_some(policy)
    }
}

/// How long the end of the input is not the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Answers,
    For(Span),
    Forever,
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "answers" => Ok(Self::Answers),
            "forever" => Ok(Self::Forever),
            time => time.parse().map(Self::For).map_err(|error| error + ", answers or forever"),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answers => f.write_str("answers"),
            Self::For(time) => time.fmt(f),
            Self::Forever => f.write_str("forever"),
        }
    }
}

pub(crate) fn run(args: &ConnectArgs) -> Result<Exit, Failure> {
    if args.talk.binary && args.reconnect.reconnect {
        let what = "--binary is one message, which --reconnect could not go on with: leave one of them out";
        return Err(Failure::new(Exit::Usage, what));
    }
    let mut builder = args.dial.client(&args.url)?;
    if let Some(policy) = args.reconnect.policy() {
        builder = builder.reconnect(policy);
    }
    let client = builder.build().map_err(|error| failure(&error))?;
    let input = input::start(client.handle(), args.talk.binary)
        .map_err(|error| Failure::new(Exit::Failed, format_args!("cannot read standard input: {error}")))?;
    let interactive = io::stdin().is_terminal() && !args.talk.binary;
    let verdict = Rc::new(Cell::new(None));
    terminal::say_in(terminal::Colour::Dim, format_args!("connecting to {}", session::without_password(&args.url)));
    let ended = client.run(Session::new(args.talk.clone(), interactive, input, Rc::clone(&verdict)));
    match (verdict.get(), ended) {
        (Some(exit), _) => Ok(exit),
        (None, Ok(closed)) => Ok(judge(&closed)),
        (None, Err(ClientError::Cancelled)) => Ok(Exit::NotConnected),
        (None, Err(error)) => Err(failure(&error)),
    }
}

/// The exit code for the end of a connection that nothing else decides.
pub(crate) fn judge(closed: &Closed) -> Exit {
    match closed.code {
        CloseCode::NORMAL | CloseCode::GOING_AWAY => Exit::Done,
        // An empty Close says nothing against it.
        CloseCode::NO_STATUS if closed.clean => Exit::Done,
        // We wanted to end, by whatever code, and even if the server let go without a word.
        _ if closed.by == Side::Local && closed.error.is_none() => Exit::Done,
        _ => Exit::Abnormal,
    }
}
