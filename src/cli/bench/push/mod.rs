//! `loopwire bench push`: subscribers in channels, publications at a constant rate, and everybody coming back at once.
//!
//! It speaks the client protocol in JSON, so it measures any server that does.

mod client;
mod load;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use mio::{Events, Poll};
use serde::Serialize;

use self::load::{Counts, Push};
use super::super::values::{Size, count};
use super::super::{Exit, Failure, print};
use super::drive::{EVENTS, MeasureArgs, drive, finish, turns};
use super::pool;
use super::progress::Progress;
use super::report::{Report, float, grouped, rounded, time, to_json};
use super::target::{Target, TargetArgs};
use super::thresholds::{ThresholdArgs, verdict};
use super::usage;

/// Connections that are opened before they subscribe, and others are opened.
const AT_ONCE: usize = 250;
/// Subscribers that are there before memory is read first.
const FIRST: usize = 100;
/// How long the server has to come to rest before memory is read.
const REST: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    load: LoadArgs,

    #[command(flatten)]
    measure: MeasureArgs,

    #[command(flatten)]
    thresholds: ThresholdArgs,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
struct LoadArgs {
    /// Subscribers, a connection and a channel each
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 1000)]
    subscribers: usize,

    /// Channels, among which the subscribers are divided
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 100)]
    channels: usize,

    /// Publications per second, to the channels in turn. Latency counts from when one was due
    #[arg(long, value_name = "N", value_parser = count::<u32>, default_value_t = 1000)]
    rate: u32,

    /// Connections that publish, among which the channels are divided
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 1)]
    publishers: usize,

    /// Bytes in each publication
    #[arg(long, short, value_name = "BYTES", default_value_t = Size(128))]
    size: Size,

    /// How the channels' names begin; their numbers follow
    #[arg(long, value_name = "TEXT", default_value = "bench-")]
    channel: String,

    /// Connect with this token; without it anonymously
    #[arg(long, value_name = "JWT")]
    token: Option<String>,

    /// Where the server that is started keeps its histories; without it in memory
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    server_data: Option<PathBuf>,

    /// In the end have all subscribers gone at once, publish, and have them come back and recover
    #[arg(long, value_name = "HOW", value_enum)]
    storm: Option<StormKind>,

    /// Publications to each channel that they miss
    #[arg(long, value_name = "N", value_parser = count::<u32>, default_value_t = 10)]
    missed: u32,
}

/// What has them gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum StormKind {
    /// Their connections are cut
    Cut,
    /// The server that was started is killed and started again; for this it needs --server-data
    Restart,
}

/// What was asked for, and what came of it.
#[derive(Debug, Serialize)]
struct Shape {
    subscribers: usize,
    channels: usize,
    publishers: usize,
    size: usize,
    rate: u32,
    tls: bool,
    published: u64,
    acknowledged: u64,
    lost: u64,
    doubled: u64,
    storm: Option<Storm>,
}

/// How everybody came back. Times are in milliseconds since the connections were cut, or the server killed.
#[derive(Clone, Copy, Debug, Serialize)]
struct Storm {
    kind: StormKind,
    /// Subscribers that have everything.
    recovered: usize,
    /// Publications that they had missed, over all of them.
    publications: u64,
    /// When the server listened again.
    listening_ms: Option<f64>,
    half_ms: Option<f64>,
    /// When 99 % had recovered.
    most_ms: Option<f64>,
    all_ms: Option<f64>,
}

pub(super) fn run(args: &PushArgs) -> Result<Exit, Failure> {
    let load = &args.load;
    load.check(&args.target)?;
    args.thresholds.check(&args.target)?;
    let mut target = args.target.find_push(load.server_data.as_deref())?;
    let mut progress = Progress::new();
    let mut poll = Poll::new().map_err(|error| Failure::new(Exit::Failed, error))?;

    let mut bench =
        Push::new(load.subscribers, load.channels, &load.channel, load.token.as_deref(), load.size.0, load.rate)?;
    let mut desk = Desk { args, poll: &mut poll, progress: &mut progress, events: Events::with_capacity(EVENTS) };
    let first = FIRST.min(load.subscribers / 2);
    desk.connect(&mut target, &mut bench, 0..first, false)?;
    desk.rest(&mut bench)?;
    let before = target.pid.and_then(usage::resident_bytes);
    desk.connect(&mut target, &mut bench, first..load.subscribers, false)?;
    desk.rest(&mut bench)?;
    let after = target.pid.and_then(usage::resident_bytes);
    desk.connect_publishers(&mut target, &mut bench)?;

    let used = drive(&mut bench, &args.measure.course(target.pid), desk.poll, desk.progress)?;
    bench.settle();
    let storm = load.storm.map(|kind| desk.storm(&mut target, &mut bench, kind)).transpose()?;
    bench.close();
    progress.clear();

    let shape = load.shape(bench.counts, &target, storm);
    let mut report = Report::new("push", &target, shape, &bench.stats, &used).corrected();
    if let (Some(server), Some(before), Some(after)) = (&mut report.server, before, after) {
        let grown = float(after.saturating_sub(before));
        server.bytes_per_connection = Some(rounded(grown / float((load.subscribers - first).max(1) as u64)));
    }
    match print(&if args.measure.output.json { to_json(&report) } else { report.to_string() }) {
        Exit::Done => Ok(verdict(&args.thresholds.missed(&report), report.errors, bench.stats.first_error.as_deref())),
        exit => Ok(exit),
    }
}

impl LoadArgs {
    fn check(&self, target: &TargetArgs) -> Result<(), Failure> {
        if self.storm == Some(StormKind::Restart) && (target.url.is_some() || self.server_data.is_none()) {
            let what = "--storm restart kills the server that is started here, and looks for what it has kept: give \
                        --server-data, and no address";
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(())
    }

    fn shape(&self, counts: Counts, target: &Target, storm: Option<Storm>) -> Shape {
        Shape {
            subscribers: self.subscribers,
            channels: self.channels,
            publishers: self.publishers,
            size: self.size.0,
            rate: self.rate,
            tls: target.tls.is_some(),
            published: counts.published,
            acknowledged: counts.acknowledged,
            lost: counts.lost,
            doubled: counts.doubled,
            storm,
        }
    }
}

/// What connecting takes.
struct Desk<'a> {
    args: &'a PushArgs,
    poll: &'a mut Poll,
    progress: &'a mut Progress,
    events: Events,
}

impl Desk<'_> {
    /// Connects these subscribers, and waits until all are subscribed.
    fn connect(
        &mut self,
        target: &mut Target,
        bench: &mut Push,
        which: std::ops::Range<usize>,
        recover: bool,
    ) -> Result<(), Failure> {
        for first in which.clone().step_by(AT_ONCE) {
            let opened = pool::open(target, AT_ONCE.min(which.end - first), first, self.poll, self.progress)?;
            bench.subscribe(first, opened, recover);
            bench.turn_all();
        }
        self.finish(bench)
    }

    fn connect_publishers(&mut self, target: &mut Target, bench: &mut Push) -> Result<(), Failure> {
        let load = &self.args.load;
        let opened = pool::open(target, load.publishers, load.subscribers, self.poll, self.progress)?;
        bench.turn_all();
        bench.publish_by(opened);
        self.finish(bench)?;
        match &bench.stats.first_error {
            Some(error) => Err(Failure::new(Exit::Abnormal, error)),
            None => Ok(()),
        }
    }

    fn finish(&mut self, bench: &mut Push) -> Result<(), Failure> {
        finish(self.poll, &mut self.events, self.args.measure.output.answer_timeout.0, bench)
    }

    fn rest(&mut self, bench: &mut Push) -> Result<(), Failure> {
        turns(self.poll, &mut self.events, REST, bench)
    }

    fn storm(&mut self, target: &mut Target, bench: &mut Push, kind: StormKind) -> Result<Storm, Failure> {
        let load = &self.args.load;
        bench.cut_subscribers();
        let before = bench.counts.recovered;
        bench.publish_to_all(load.missed.into());
        self.finish(bench)?;
        bench.settle();
        bench.begin_anew();
        let beginning = std::time::Instant::now();
        let mut listening_ms = None;
        if kind == StormKind::Restart {
            bench.cut_publishers();
            target.restart()?;
            listening_ms = Some(millis(beginning.elapsed().as_nanos() as u64));
        }
        self.connect(target, bench, 0..load.subscribers, true)?;
        bench.settle();

        let mut times: Vec<u64> = bench.subscribers.iter().filter_map(|subscriber| subscriber.recovered).collect();
        times.sort_unstable();
        let by =
            |percent: usize| times.get((load.subscribers * percent).div_ceil(100).max(1) - 1).map(|time| millis(*time));
        Ok(Storm {
            kind,
            recovered: times.len(),
            publications: bench.counts.recovered - before,
            listening_ms,
            half_ms: by(50),
            most_ms: by(99),
            all_ms: by(100),
        })
    }
}

fn millis(nanos: u64) -> f64 {
    rounded(float(nanos) / 1e6)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: u64| grouped(float(number));
        let (subscribers, channels) = (number(self.subscribers as u64), number(self.channels as u64));
        write!(f, "{subscribers} subscribers in {channels} channels, {} bytes, ", self.size)?;
        write!(f, "{} published per second{}", number(self.rate.into()), if self.tls { ", TLS" } else { "" })?;
        write!(f, "\npublished {}, {} acknowledged; ", number(self.published), number(self.acknowledged))?;
        write!(f, "deliveries: {} lost, {} doubled", number(self.lost), number(self.doubled))?;
        let Some(storm) = &self.storm else { return Ok(()) };
        let cause = match storm.kind {
            StormKind::Cut => "all cut at once",
            StormKind::Restart => "the server killed and restarted",
        };
        write!(f, "\nstorm     {cause}: {} recovered, ", number(storm.recovered as u64))?;
        write!(f, "with {} publications", number(storm.publications))?;
        for (what, millis) in [
            ("listening after", storm.listening_ms),
            ("half after", storm.half_ms),
            ("99 % after", storm.most_ms),
            ("all after", storm.all_ms),
        ] {
            if let Some(millis) = millis {
                write!(f, ", {what} {}", time(millis * 1e3))?;
            }
        }
        Ok(())
    }
}
