//! `loopwire bench`: a load generator for any WebSocket server.
//!
//! One thread and its own lean loop over mio, since it has to cost less than the server it measures: messages are masked
//! and encoded beforehand ([`payloads`]), each connection is read and written once a turn ([`link`]), and replies are
//! judged in place ([`replies`]).

mod echo;
mod flight;
mod link;
mod opening;
mod payloads;
mod pool;
mod progress;
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

use clap::{Args, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::values::{OrOff, Span, count};
use super::{AFTER_HELP, Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Send messages that the server sends back: messages per second, round-trip times
    #[command(after_help = AFTER_HELP)]
    Echo(Box<echo::EchoArgs>),
}

/// How long is measured, and how it is told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Measuring")]
struct MeasureArgs {
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: Span,

    /// How long to run before that
    #[arg(long, value_name = "TIME", default_value = "2s")]
    warmup: OrOff<Span>,

    /// End after this many messages, if that comes before --duration is over
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    messages: Option<u32>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &BenchCommand) -> Result<Exit, Failure> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // The first ends the measurement, and with it a server that was started for it.
        signal_hook::flag::register(signal, Arc::clone(flag)).map_err(|error| Failure::new(Exit::Failed, error))?;
    }
    match command {
        BenchCommand::Echo(args) => echo::run(args),
    }
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether a signal has asked for the end.
fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}
