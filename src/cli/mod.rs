//! The `loopwire` command: its subcommands, how they are set, and what they end with.
//!
//! Data goes to standard output, everything else to standard error. A file per subcommand; what they share is
//! [`settings`] (flags, environment, file), [`engine`] (the limits) and [`terminal`] (what people read).

#![allow(
    clippy::doc_markdown,
    reason = "the flags' documentation is their help text, where Markdown would only be in the way"
)]

mod autobahn;
mod bench;
mod configure;
mod connect;
mod dial;
mod diff;
mod echo;
mod engine;
mod explain;
mod frame;
mod lint;
mod publish;
mod raw_line;
mod recording;
mod replay;
mod rules;
mod serve;
mod server;
mod settings;
mod subscribe;
mod talk;
mod tap;
mod telling;
mod terminal;
mod tokens;
mod values;
mod violate;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use log::LevelFilter;

use settings::{Settings, SettingsError};

/// What stands below every help text.
const AFTER_HELP: &str = "\
Every flag is also an environment variable (--ping-interval: LOOPWIRE_PING_INTERVAL) and a key in the file that --config \
names (ping-interval = \"25s\"; under [echo] for that command alone). A flag comes before the environment, that before \
the file, that before the default. Sizes are bytes or have KiB, MiB, GiB; times are seconds or have us, ms, s, m, h.

Exit codes:
  0  ended as asked: a server drained, a connection closed with 1000 or 1001
  1  something on this side failed, such as reading standard input; or a second signal cut a drain short
  2  a flag, variable, key or value is wrong; nothing was started
  3  the connection could not be made, or its handshake failed
  4  the connection ended abnormally, or with another close code; a benchmark met wrong answers or lost connections
  5  the address cannot be listened on, such as a port in use
  6  --timeout ran out
  7  a benchmark's threshold was missed
  8  the data directory cannot be used: another server has it, or what it keeps is damaged
  9  a push server refused what it was asked, or a token is not valid
 10  a rule was found broken: by lint or explain, or by a peer that violate tested; or diff found a difference";

/// WebSocket from the bytes up. Without a command: the push server, at http://127.0.0.1:8080
#[derive(Debug, Parser)]
#[command(name = "loopwire", version, after_help = AFTER_HELP, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Args, Debug)]
struct GlobalArgs {
    /// Read settings from this TOML file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print the settings in force as TOML, each with where it comes from, and do nothing
    #[arg(long, global = true)]
    print_config: bool,

    /// What to log to standard error: error, warn, info, debug (a line per frame), or as RUST_LOG, which it replaces
    /// [default: info for servers, warn for clients]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The push server: channels, history, presence and permissions, for Centrifugo's clients and for plain WebSockets (what
    /// runs without a command)
    #[command(after_help = AFTER_HELP)]
    Serve(Box<serve::ServeArgs>),
    /// Print a configuration of the push server to begin with
    #[command(after_help = AFTER_HELP)]
    Genconfig(configure::GenconfigArgs),
    /// Say whether the push server would start with a configuration
    #[command(after_help = AFTER_HELP)]
    Checkconfig(configure::CheckconfigArgs),
    /// Print a token that says who a client is, or what it may subscribe to
    #[command(after_help = AFTER_HELP)]
    Gentoken(tokens::GentokenArgs),
    /// Print what a token says, if it is valid
    #[command(after_help = AFTER_HELP)]
    Checktoken(tokens::ChecktokenArgs),
    /// Publish to a channel of a push server, by its API
    #[command(after_help = AFTER_HELP)]
    Publish(publish::PublishArgs),
    /// Print what is published to channels of a push server, a line each; reconnects, and recovers what it has missed
    #[command(after_help = AFTER_HELP)]
    Subscribe(Box<subscribe::SubscribeArgs>),
    /// Send every message back to where it came from, on any path
    #[command(after_help = AFTER_HELP)]
    Echo(Box<echo::EchoArgs>),
    /// Open a connection: what is read is sent, what is received is printed
    #[command(after_help = format!("{}\n\n{AFTER_HELP}", connect::COMMANDS))]
    Connect(Box<connect::ConnectArgs>),
    /// Stand between clients and a server: pass every byte on as it is, and tell what it means
    #[command(after_help = AFTER_HELP)]
    Tap(Box<tap::TapArgs>),
    /// Say to a server, byte for byte, what a client said in a recording
    #[command(after_help = AFTER_HELP)]
    Replay(Box<replay::ReplayArgs>),
    /// Compare two recordings by what was said in them
    #[command(after_help = AFTER_HELP)]
    Diff(diff::DiffArgs),
    /// Make frames from plain text, right or wrong ones, and write them out or send them to a server
    #[command(after_help = format!("{}\n\n{AFTER_HELP}", frame::LANGUAGE))]
    Frame(Box<frame::FrameArgs>),
    /// Break rules on purpose, and say whether a server or client answers as the RFCs demand
    #[command(after_help = AFTER_HELP)]
    Violate(Box<violate::ViolateArgs>),
    /// Find every broken rule in a recording, or in a capture of the network
    #[command(after_help = AFTER_HELP)]
    Lint(lint::LintArgs),
    /// Put load on a WebSocket server, of any make, and measure it
    #[command(subcommand, after_help = AFTER_HELP)]
    Bench(bench::BenchCommand),
    /// Explain frames or a handshake bit by bit: what each byte says, and which rule is broken
    #[command(after_help = format!("{}\n\n{AFTER_HELP}", explain::HELP))]
    Explain(explain::ExplainArgs),
    /// Print every rule that is held against a peer: where it is written, what it costs, and where it is tested
    #[command(after_help = AFTER_HELP)]
    Rules(rules::RulesArgs),
    /// Be tested by the Autobahn suite
    #[command(subcommand)]
    Autobahn(autobahn::AutobahnCommand),
}

/// Reads the settings, runs the command, and says what it ended with.
pub(crate) fn main() -> ExitCode {
    let (settings, cli) = match read() {
        Ok(read) => read,
        Err(SettingsError::Usage(error)) => {
            // Help and version go to standard output and end with 0, the rest to standard error and with 2.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
        Err(error @ SettingsError::Setting(_)) => {
            terminal::error(&error);
            return Exit::Usage.into();
        }
    };
    if cli.global.print_config {
        return print(&settings.to_toml()).into();
    }
    let is_server = matches!(cli.command, Some(Command::Serve(_) | Command::Echo(_) | Command::Tap(_)));
    start_log(cli.global.log.as_deref(), if is_server { LevelFilter::Info } else { LevelFilter::Warn });
    for name in settings.unknown_variables() {
        log::warn!("environment variable {name} is no setting of any command");
    }
    let outcome = match cli.command {
        Some(Command::Serve(args)) => serve::run(&args, settings),
        Some(Command::Genconfig(_)) => Ok(configure::generate()),
        Some(Command::Checkconfig(args)) => configure::check(&args),
        Some(Command::Gentoken(args)) => tokens::generate(&args),
        Some(Command::Checktoken(args)) => tokens::check(&args),
        Some(Command::Publish(args)) => publish::run(&args),
        Some(Command::Subscribe(args)) => subscribe::run(&args),
        Some(Command::Echo(args)) => echo::run(&args),
        Some(Command::Connect(args)) => connect::run(&args),
        Some(Command::Tap(args)) => tap::run(&args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Diff(args)) => diff::run(&args),
        Some(Command::Frame(args)) => frame::run(&args),
        Some(Command::Violate(args)) => violate::run(&args),
        Some(Command::Lint(args)) => lint::run(&args),
        Some(Command::Bench(command)) => bench::run(&command),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::Rules(args)) => rules::run(&args),
        Some(Command::Autobahn(command)) => autobahn::run(command),
        None => unreachable!("the settings name a command"),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            terminal::error(&failure.what);
            failure.exit.into()
        }
    }
}

/// The settings as they are now, and what they ask for.
fn read() -> Result<(Settings, Cli), SettingsError> {
    read_from(std::env::args_os().collect())
}

/// The same for other arguments than this process's.
fn read_from(arguments: Vec<OsString>) -> Result<(Settings, Cli), SettingsError> {
    let settings = Settings::read(Cli::command(), arguments, "serve", serve::tables())?;
    let cli = Cli::from_arg_matches(&settings.matches)?;
    Ok((settings, cli))
}

/// How the command ends. The numbers stand in [`AFTER_HELP`] and the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotConnected = 3,
    Abnormal = 4,
    CannotListen = 5,
    TimedOut = 6,
    Missed = 7,
    Data = 8,
    Refused = 9,
    Broken = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do its work: one sentence, and the exit code that tells scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) what: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl fmt::Display) -> Self {
        Self { exit, what: what.to_string() }
    }
}

/// Writes to standard output. A reader that has gone away has read what it wanted.
pub(crate) fn print(text: &str) -> Exit {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            terminal::error(&format!("cannot write to standard output: {error}"));
            Exit::Failed
        }
    }
}

fn start_log(filter: Option<&str>, default: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    match (filter, std::env::var("RUST_LOG")) {
        (Some(filter), _) => builder.parse_filters(filter),
        (None, Ok(filter)) => builder.parse_filters(&filter),
        (None, Err(_)) => builder.filter_level(default),
    };
    builder.write_style(if terminal::colour_on_stderr() {
        env_logger::WriteStyle::Always
    } else {
        env_logger::WriteStyle::Never
    });
    builder.init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
