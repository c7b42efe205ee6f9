//! The frame of a measurement under load, of whatever kind: find the servers, connect, measure, close, tell.

use std::fmt;

use clap::Args;
use mio::Poll;
use serde::Serialize;

use super::super::{Exit, Failure, print};
use super::beside::{self, BesideArgs};
use super::drive::{Load, MeasureArgs, drive};
use super::progress::Progress;
use super::report::{Report, to_json};
use super::target::{Target, TargetArgs};
use super::thresholds::{ThresholdArgs, verdict};

/// The flags of a load, between those that all have.
#[derive(Args, Debug)]
pub(crate) struct LoadedArgs<K: Args> {
    #[command(flatten)]
    pub(super) target: TargetArgs,

    #[command(flatten)]
    pub(super) kind: K,

    #[command(flatten)]
    pub(super) measure: MeasureArgs,

    #[command(flatten)]
    pub(super) beside: BesideArgs,

    #[command(flatten)]
    pub(super) thresholds: ThresholdArgs,
}

/// A kind of load, as its own flags describe it.
pub(super) trait Kind: Args {
    /// As reports name it.
    const MODE: &'static str;
    /// What `loopwire echo` is started with, where no other server is named.
    const SERVER: &'static [&'static str];
    type Load: Steady;
    /// What was asked for, in the report.
    type Shape: fmt::Display + Serialize;

    /// Refuses what makes no sense.
    fn check(&self) -> Result<(), Failure>;
    /// Whether to agree on compression.
    fn deflate(&self) -> bool;
    /// Messages per second, if not as many as possible.
    fn rate(&self) -> Option<u32>;
    /// Opens all connections.
    fn open(
        &self,
        args: &TargetArgs,
        target: &mut Target,
        poll: &mut Poll,
        progress: &mut Progress,
    ) -> Result<Self::Load, Failure>;
    fn shape(&self, load: &mut Self::Load, target: &Target) -> Self::Shape;
}

/// A load that can be taken off a server and put on again. It begins when driven.
pub(super) trait Steady: Load {
    /// Sends nothing more by itself. What is still answered counts.
    fn pause(&mut self);
    /// Sends again.
    fn resume(&mut self);
    /// Counts what was not answered as errors, and closes the connections.
    fn close(&mut self);
}

/// A server, and the load on it.
#[derive(Debug)]
pub(super) struct Subject<L> {
    pub(super) target: Target,
    pub(super) poll: Poll,
    pub(super) load: L,
}

pub(super) fn run<K: Kind>(args: &LoadedArgs<K>) -> Result<Exit, Failure> {
    args.kind.check()?;
    args.thresholds.check(&args.target)?;
    if !args.beside.others.is_empty() {
        return beside::run(args);
    }
    let mut progress = Progress::new();
    let target = args.target.find(K::SERVER, args.kind.deflate())?;
    let Subject { target, mut poll, mut load } = connect(args, target, &mut progress)?;
    let used = drive(&mut load, &args.measure.course(target.pid), &mut poll, &mut progress)?;
    load.close();
    progress.clear();

    let shape = args.kind.shape(&mut load, &target);
    let stats = load.stats();
    let mut report = Report::new(K::MODE, &target, shape, stats, &used);
    if args.kind.rate().is_some() {
        report = report.corrected();
    }
    match print(&if args.measure.output.json { to_json(&report) } else { report.to_string() }) {
        Exit::Done => Ok(verdict(&args.thresholds.missed(&report), report.errors, stats.first_error.as_deref())),
        exit => Ok(exit),
    }
}

/// Opens the connections to one server.
pub(super) fn connect<K: Kind>(
    args: &LoadedArgs<K>,
    mut target: Target,
    progress: &mut Progress,
) -> Result<Subject<K::Load>, Failure> {
    let mut poll = Poll::new().map_err(|error| Failure::new(Exit::Failed, error))?;
    let load = args.kind.open(&args.target, &mut target, &mut poll, progress)?;
    Ok(Subject { target, poll, load })
}
