//! `loopwire bench idle`: connections that are open and do nothing, and what each costs the server.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use loopwire::wire::Opcode;
use mio::Poll;
use serde::Serialize;

use super::super::values::{OrOff, Size, Span, count};
use super::super::{Exit, Failure, print};
use super::drive::{Course, Load, OutputArgs, drive, settle};
use super::link::Link;
use super::opening::Opened;
use super::payloads::{Content, Payloads};
use super::pool;
use super::progress::Progress;
use super::replies::{Judge, Replies};
use super::report::{Report, float, grouped, rounded, to_json};
use super::stats::Stats;
use super::target::TargetArgs;
use super::thresholds::verdict;
use super::usage;

/// Connections that are open before memory is read first: what a server allocates with its first ones it does not
/// allocate for each.
const FIRST: usize = 100;
/// How long the server has to come to rest before memory is read.
const REST: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Connections
    #[arg(long, short, value_name = "N", value_parser = count::<usize>, default_value_t = 10_000, help_heading = "Load")]
    connections: usize,

    /// Offer permessage-deflate
    #[arg(long, help_heading = "Load")]
    deflate: bool,

    /// How long to keep them open
    #[arg(long, value_name = "TIME", default_value = "5s", help_heading = "Measuring")]
    hold: Span,

    #[command(flatten)]
    output: OutputArgs,

    /// The server's memory for each connection at most; more makes the exit code 7
    #[arg(long, value_name = "BYTES", default_value = "off", help_heading = "Thresholds")]
    max_bytes_per_connection: OrOff<Size>,
}

/// What was asked for, in the report.
#[derive(Debug, Serialize)]
struct Shape {
    connections: usize,
    deflate: bool,
    tls: bool,
}

pub(super) fn run(args: &IdleArgs) -> Result<Exit, Failure> {
    if args.max_bytes_per_connection.0.is_some() && args.target.url.is_some() && args.target.pid.is_none() {
        let what = "--max-bytes-per-connection needs the server's process: give --pid as well";
        return Err(Failure::new(Exit::Usage, what));
    }
    let mut target = args.target.find(&[], args.deflate)?;
    let mut progress = Progress::new();
    let mut poll = Poll::new().map_err(|error| Failure::new(Exit::Failed, error))?;

    let first = FIRST.min(args.connections / 2);
    let mut bench = Idle::new()?;
    if first > 0 {
        bench.add(pool::open(&mut target, first, 0, &mut poll, &mut progress)?);
        settle(&mut poll, REST, &mut bench)?;
    }
    let before = target.pid.and_then(usage::resident_bytes);
    bench.add(pool::open(&mut target, args.connections - first, first, &mut poll, &mut progress)?);
    let course = Course {
        warmup: REST,
        duration: args.hold.0,
        enough: u64::MAX,
        answer_timeout: args.output.answer_timeout.0,
        pid: target.pid,
    };
    let used = drive(&mut bench, &course, &mut poll, &mut progress)?;
    bench.close();
    progress.clear();

    let shape = Shape { connections: args.connections, deflate: args.deflate, tls: target.tls.is_some() };
    let mut report = Report::new("idle", &target, shape, &bench.stats, &used);
    if let (Some(server), Some(before), Some(after)) = (&mut report.server, before, used.rss) {
        let grown = float(after.saturating_sub(before));
        server.bytes_per_connection = Some(rounded(grown / float((args.connections - first) as u64)));
    }
    match print(&if args.output.json { to_json(&report) } else { report.to_string() }) {
        Exit::Done => Ok(verdict(&args.missed(&report), report.errors, bench.stats.first_error.as_deref())),
        exit => Ok(exit),
    }
}

impl IdleArgs {
    fn missed(&self, report: &Report<Shape>) -> Vec<String> {
        let Some(most) = self.max_bytes_per_connection.0 else { return Vec::new() };
        let bytes = report.server.and_then(|server| server.bytes_per_connection);
        match bytes {
            Some(bytes) if bytes <= float(most.0 as u64) => Vec::new(),
            Some(bytes) => vec![format!("--max-bytes-per-connection {most}: {}", grouped(bytes))],
            None => vec![format!("--max-bytes-per-connection {most}: unknown, only Linux tells")],
        }
    }
}

/// The measurement: nothing happens, but pings are answered, and in the end each connection has to answer one.
#[derive(Debug)]
struct Idle {
    links: Vec<Option<Link>>,
    /// Nothing is ever sent of these.
    payloads: Payloads,
    /// Pings that were sent and not answered.
    pings: usize,
    stats: Stats,
    buffer: Vec<u8>,
}

impl Idle {
    fn new() -> Result<Self, Failure> {
        let payloads = Payloads::new(Content::Text, 1, 1, None);
        Ok(Self { links: Vec::new(), payloads, pings: 0, stats: Stats::new()?, buffer: vec![0; 16 << 10] })
    }

    fn add(&mut self, opened: Vec<Opened>) {
        for Opened { transport, agreed, rest } in opened {
            let replies = Replies::new(0, Judge::Header);
            let replies = if agreed.deflate.is_some() { replies.compressed() } else { replies };
            let mut link = Link::new(transport, replies, 0);
            let _ = link.take(&rest, &self.payloads);
            self.links.push(Some(link));
        }
    }

    fn close(&mut self) {
        self.stats.error(self.pings, || "a ping was not answered within --answer-timeout".to_owned());
        for link in self.links.iter_mut().flatten() {
            link.close(&self.payloads);
        }
    }
}

impl Load for Idle {
    fn begin(&mut self, _beginning: Instant, _window: Range<u64>) {
        for token in 0..self.links.len() {
            // What came while others were being opened; no event will tell of it again.
            self.turn(token);
        }
    }

    fn turn(&mut self, token: usize) {
        let Some(Some(link)) = self.links.get_mut(token) else { return };
        let pings = &mut self.pings;
        let received =
            link.receive(&mut self.buffer, &self.payloads, |taken, _| *pings = pings.saturating_sub(taken.pongs));
        if let Err(loss) = received.and_then(|()| link.flush(&self.payloads)) {
            self.links[token] = None;
            self.stats.error(1, || loss.to_string());
        }
    }

    fn is_over(&self) -> bool {
        self.links.iter().all(Option::is_none)
    }

    /// A connection that does not answer any more would cost nothing: a ping on each of them.
    fn stop(&mut self, _now: u64) {
        for token in 0..self.links.len() {
            if let Some(link) = &mut self.links[token] {
                link.interject(Opcode::Ping, b"");
                self.pings += 1;
                self.turn(token);
            }
        }
    }

    fn under_way(&self) -> usize {
        self.pings
    }

    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", grouped(float(self.connections as u64)))?;
        f.write_str(if self.tls { ", TLS" } else { "" })?;
        f.write_str(if self.deflate { ", compression offered" } else { "" })
    }
}
