//! `loopwire bench`: a load generator for any WebSocket server.
//!
//! One thread and its own lean loop over mio, since it has to cost less than the server it measures: messages are masked
//! and encoded beforehand ([`payloads`]), each connection is read and written once a turn ([`link`]), and replies are
//! judged in place ([`replies`]).

mod beside;
mod connect;
mod drive;
mod echo;
mod fanout;
mod flight;
mod idle;
mod kind;
mod link;
mod opening;
mod payloads;
mod pool;
mod progress;
mod push;
mod replies;
mod report;
mod schedule;
mod stats;
mod target;
mod thresholds;
mod usage;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Subcommand;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::kind::LoadedArgs;
use super::{AFTER_HELP, Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Send messages that the server sends back: messages per second, round-trip times
    #[command(after_help = AFTER_HELP)]
    Echo(Box<LoadedArgs<echo::LoadArgs>>),
    /// Publish messages that the server sends to all subscribers: deliveries per second, time to each
    #[command(after_help = AFTER_HELP)]
    Fanout(Box<LoadedArgs<fanout::LoadArgs>>),
    /// Publish to subscribers of a push server, in channels: time to each, what is lost, how all come back at once
    #[command(after_help = AFTER_HELP)]
    Push(Box<push::PushArgs>),
    /// Keep connections open and do nothing: the server's memory for each, and CPU time
    #[command(after_help = AFTER_HELP)]
    Idle(Box<idle::IdleArgs>),
    /// Open connections, close them, and open more: connections per second, time for each
    #[command(after_help = AFTER_HELP)]
    Connect(Box<connect::ConnectArgs>),
}

pub(crate) fn run(command: &BenchCommand) -> Result<Exit, Failure> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // The first ends the measurement, and with it a server that was started for it.
        signal_hook::flag::register(signal, Arc::clone(flag)).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    match command {
        BenchCommand::Echo(args) => kind::run(&**args),
        BenchCommand::Fanout(args) => kind::run(&**args),
        BenchCommand::Push(args) => push::run(args),
        BenchCommand::Idle(args) => idle::run(args),
        BenchCommand::Connect(args) => connect::run(args),
    }
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether a signal has asked for the end.
fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
