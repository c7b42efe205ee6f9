//! `loopwire bench echo`: every message is sent back, and the next is sent when it is there, or when it is due.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use loopwire::wire::{CloseCode, Opcode};
use mio::{Events, Poll};
use serde::Serialize;

use super::super::values::{Size, count};
use super::super::{Exit, Failure, print};
use super::flight::{Flight, Pace};
use super::link::{Link, Loss};
use super::opening::Opened;
use super::payloads::{Content, Payloads};
use super::progress::Progress;
use super::replies::{Judge, Replies};
use super::report::{Report, float, grouped, time};
use super::schedule::Schedule;
use super::stats::{Cpu, Stats, nanos};
use super::target::{Target, TargetArgs};
use super::thresholds::{ThresholdArgs, verdict};
use super::{MeasureArgs, interrupted, pool};

/// How long answers may come in after the end, before they count as lost.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait for an event before looking at the clock.
const TICK: Duration = Duration::from_millis(100);
/// Events taken from the poll at once.
const EVENTS: usize = 1024;
/// The payload of a Close with code 1000.
const CLOSE_NORMAL: [u8; 2] = CloseCode::NORMAL.0.to_be_bytes();
/// Bytes read at once.
const READ: usize = 128 << 10;

#[derive(Args, Debug)]
pub(crate) struct EchoArgs {
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
    /// Connections
    #[arg(long, short, value_name = "N", value_parser = count::<usize>, default_value_t = 100)]
    connections: usize,

    /// Bytes in each message
    #[arg(long, short, value_name = "BYTES", default_value_t = Size(20))]
    size: Size,

    /// Send binary messages; without it they are text
    #[arg(long)]
    binary: bool,

    /// Messages in flight on each connection, sent by one write as far as they can be
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 1)]
    depth: usize,

    /// Send so many messages per second, all connections together, instead of one for each answer. Latency then counts
    /// from when a message was due, even if the server (or --depth) kept it from being sent
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    rate: Option<u32>,

    /// Agree on permessage-deflate, and send messages that look like JSON, compressed
    #[arg(long)]
    deflate: bool,

    /// Only count answers, by their headers; without it payloads up to 4 KiB are compared whole, larger ones in samples
    #[arg(long)]
    unchecked: bool,
}

/// What was asked for, in the report.
#[derive(Debug, Serialize)]
struct Shape {
    connections: usize,
    size: usize,
    depth: usize,
    kind: &'static str,
    deflate: bool,
    tls: bool,
    rate: Option<u32>,
    checked: bool,
    /// Answers that came compressed.
    compressed_replies: u64,
    /// At a constant rate: messages that were due and could not be sent before the end.
    unsent: u64,
}

pub(super) fn run(args: &EchoArgs) -> Result<Exit, Failure> {
    let load = &args.load;
    if load.deflate && load.binary {
        return Err(Failure::new(Exit::Usage, "--deflate sends text: leave it or --binary out"));
    }
    args.thresholds.check(&args.target)?;
    let mut target = args.target.find(&[], load.deflate)?;
    let mut progress = Progress::new();
    let mut poll = Poll::new().map_err(|error| Failure::new(Exit::Failed, error))?;
    let opened = pool::open(&mut target, load.connections, 0, &mut poll, &mut progress)?;
    let window_bits = if load.deflate { Some(window_bits(&target, &opened)?) } else { None };
    let mut bench = Echo::new(load, opened, window_bits)?;
    let (seconds, cpu) = bench.measure(&mut poll, &mut progress, target.pid, load.rate, &args.measure)?;
    bench.finish(&mut poll)?;
    progress.clear();

    let stats = &bench.stats;
    let shape = Shape {
        connections: load.connections,
        size: load.size.0,
        depth: load.depth,
        kind: if load.binary { "binary" } else { "text" },
        deflate: load.deflate,
        tls: target.tls.is_some(),
        rate: load.rate,
        checked: !load.unchecked,
        compressed_replies: stats.compressed,
        unsent: bench.unsent,
    };
    let mut report = Report::new("echo", &target, shape, stats, seconds, cpu);
    if load.rate.is_some() {
        report = report.corrected();
    }
    match print(&if args.measure.json { report.to_json() } else { report.to_string() }) {
        Exit::Done => Ok(verdict(&args.thresholds.missed(&report), report.errors, stats.first_error.as_deref())),
        exit => Ok(exit),
    }
}

/// The measurement.
#[derive(Debug)]
struct Echo {
    payloads: Payloads,
    /// By the tokens of their events; a connection that was lost is `None`.
    connections: Vec<Option<Connection>>,
    open: usize,
    stats: Stats,
    pace: Pace,
    /// What all times count from.
    beginning: Instant,
    /// Whether messages are still to be sent, and latencies of those answered still count.
    is_running: bool,
    /// Messages that were due and could not be sent.
    unsent: u64,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Connection {
    link: Link,
    flight: Flight,
}

impl Echo {
    fn new(load: &LoadArgs, opened: Vec<Opened>, window_bits: Option<u8>) -> Result<Self, Failure> {
        let content = match (load.deflate, load.binary) {
            (true, _) => Content::Json,
            (false, true) => Content::Binary,
            (false, false) => Content::Text,
        };
        let payloads = Payloads::new(content, load.size.0, load.depth, window_bits);
        let judge = if load.unchecked { Judge::Header } else { Judge::Payload };
        let mut stats = Stats::new()?;
        let mut connections = Vec::with_capacity(opened.len());
        for (index, opened) in opened.into_iter().enumerate() {
            let next = payloads.after(index, 0);
            let mut replies = Replies::new(next, judge);
            if let Some(params) = opened.agreed.deflate {
                let inflates = index == 0 && judge == Judge::Payload;
                replies = if inflates { replies.inflating(params) } else { replies.compressed() };
            }
            let mut link = Link::new(opened.transport, replies, next);
            match link.take(&opened.rest, &payloads) {
                Ok(taken) => stats.error(taken.messages, unasked),
                Err(loss) => stats.error(1, || loss.to_string()),
            }
            connections.push(Some(Connection { link, flight: Flight::new(index, load.depth) }));
        }
        Ok(Self {
            payloads,
            open: connections.len(),
            connections,
            stats,
            pace: Pace::Answered,
            beginning: Instant::now(),
            is_running: true,
            unsent: 0,
            buffer: vec![0; READ],
        })
    }

    fn now(&self) -> u64 {
        nanos(self.beginning.elapsed())
    }

    /// Runs for both times, and counts in the second of them. Gives how long that was, in seconds, and the CPU time used.
    fn measure(
        &mut self,
        poll: &mut Poll,
        progress: &mut Progress,
        pid: Option<u32>,
        rate: Option<u32>,
        measure: &MeasureArgs,
    ) -> Result<(f64, Cpu), Failure> {
        let mut events = Events::with_capacity(EVENTS);
        let from = measure.warmup.0.map_or(0, |warmup| nanos(warmup.0));
        let until = from + nanos(measure.duration.0);
        let enough = measure.messages.map_or(u64::MAX, u64::from);
        if let Some(rate) = rate {
            let schedule = Schedule::new(rate, self.connections.len(), 0);
            self.pace = Pace::Due { schedule, window: from..until };
        }
        self.beginning = Instant::now();
        for index in 0..self.connections.len() {
            // What came while others were being opened; no event will tell of it again.
            self.turn(index);
        }
        let mut begun = None;
        let mut shown = (0, 0);
        loop {
            let now = self.now();
            match begun {
                None if now >= from || self.open == 0 => {
                    self.stats.reset();
                    begun = Some((now, Cpu::now(pid)));
                    shown.1 = 0;
                }
                Some((started, cpu)) if now >= until || self.stats.messages >= enough || self.open == 0 => {
                    return Ok((float((now - started).max(1)) / 1e9, Cpu::now(pid).since(cpu)));
                }
                _ => {}
            }
            if interrupted() {
                return Err(Failure::new(Exit::Failed, "interrupted before the measurement was over"));
            }
            progress.say(Instant::now(), || {
                let phase = if begun.is_none() { "warming up" } else { "measuring" };
                let rate = float(self.stats.messages - shown.1) * 1e9 / float((now - shown.0).max(1));
                let p99 = time(float(self.stats.latency.value_at_quantile(0.99)) / 1e3);
                shown = (now, self.stats.messages);
                format!("{phase}, {:.0} s: {} messages per second, p99 {p99}", float(now) / 1e9, grouped(rate))
            });
            self.deal(now.min(until - 1));
            let wait = self.wait(if begun.is_none() { from } else { until });
            poll_for(poll, &mut events, wait)?;
            for event in &events {
                self.turn(event.token().0);
            }
        }
    }

    /// Sends what is due by `now`.
    fn deal(&mut self, now: u64) {
        loop {
            let Pace::Due { schedule, .. } = &mut self.pace else { return };
            let Some(index) = schedule.deal(now) else { return };
            let Some(connection) = &mut self.connections[index] else { continue };
            connection.flight.deal();
            connection.link.owe(connection.flight.send(&self.pace, now));
            if let Err(loss) = connection.link.flush(&self.payloads) {
                self.lost(index, &loss);
            }
        }
    }

    /// How long to wait for events. The poll counts in whole milliseconds, so what is due sooner is waited for awake:
    /// sleeping too long would be measured as the server's latency.
    fn wait(&self, until: u64) -> Duration {
        let now = self.now();
        let end = Duration::from_nanos(until.saturating_sub(now)).min(TICK);
        let Pace::Due { schedule, .. } = &self.pace else { return end };
        let millis = schedule.next_due().saturating_sub(now) / 1_000_000;
        Duration::from_millis(millis.saturating_sub(1)).min(end)
    }

    /// One connection's turn: reads what has come, sends what that allows.
    fn turn(&mut self, index: usize) {
        let Some(Some(Connection { link, flight })) = self.connections.get_mut(index) else { return };
        let (stats, pace, payloads, is_running) = (&mut self.stats, &self.pace, &self.payloads, self.is_running);
        let beginning = self.beginning;
        let counts_latency = is_running || matches!(pace, Pace::Due { .. });
        // One look at the clock for each read: it is when these were answered, and when the next are sent.
        let mut now = None;
        let mut outcome = link.receive(&mut self.buffer, payloads, |taken, bytes| {
            let at = nanos(beginning.elapsed());
            now = Some(at);
            let unasked_for = flight.answered(taken.messages, pace, at, |took, count| {
                if counts_latency {
                    stats.took(took, count);
                }
            });
            if is_running {
                stats.messages += taken.messages as u64;
                stats.compressed += taken.compressed as u64;
                stats.bytes += bytes as u64;
            }
            stats.error(taken.wrong, || "an answer is not what was sent".to_owned());
            stats.error(unasked_for, unasked);
        });
        if outcome.is_ok() {
            if is_running {
                link.owe(flight.send(pace, now.unwrap_or_else(|| nanos(beginning.elapsed()))));
            }
            outcome = link.flush(payloads);
        }
        if let Err(loss) = outcome {
            self.lost(index, &loss);
        }
    }

    fn lost(&mut self, index: usize, loss: &Loss) {
        self.connections[index] = None;
        self.open -= 1;
        self.stats.error(1, || loss.to_string());
    }

    /// Waits for the answers that are still under way, and closes the connections.
    fn finish(&mut self, poll: &mut Poll) -> Result<(), Failure> {
        self.is_running = false;
        let now = self.now();
        for connection in self.connections.iter_mut().flatten() {
            let stats = &mut self.stats;
            let unsent = connection.flight.give_up(&self.pace, now, |took, count| stats.took(took, count));
            self.unsent += unsent as u64;
        }
        let mut events = Events::with_capacity(EVENTS);
        let deadline = now + nanos(GRACE);
        while self.in_flight() > 0 && self.now() < deadline && !interrupted() {
            poll_for(poll, &mut events, TICK)?;
            for event in &events {
                self.turn(event.token().0);
            }
        }
        self.stats.error(self.in_flight(), || format!("a message was not answered within {} s", GRACE.as_secs()));
        for connection in self.connections.iter_mut().flatten() {
            connection.link.push_control(Opcode::Close, &CLOSE_NORMAL);
            // Whoever is gone by now need not be told.
            let _ = connection.link.flush(&self.payloads);
        }
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.connections.iter().flatten().map(|connection| connection.flight.in_flight()).sum()
    }
}

/// The window for which messages are to be compressed, if all connections agreed on that: what suits the smallest suits
/// all.
fn window_bits(target: &Target, opened: &[Opened]) -> Result<u8, Failure> {
    let mut bits = 15;
    for opened in opened {
        let params = opened.agreed.deflate.ok_or_else(|| {
            Failure::new(Exit::NotConnected, format_args!("{} does not agree to permessage-deflate", target.url))
        })?;
        bits = bits.min(params.client_max_window_bits);
    }
    Ok(bits)
}

fn unasked() -> String {
    "a message answers nothing that was sent".to_owned()
}

fn poll_for(poll: &mut Poll, events: &mut Events, time: Duration) -> Result<(), Failure> {
    match poll.poll(events, Some(time)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(Failure::new(Exit::Failed, error)),
        _ => Ok(()),
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, size, kind, depth, .. } = self;
        write!(f, "{connections} connections, {size} bytes of {kind}, {depth} in flight on each")?;
        if let Some(rate) = self.rate {
            write!(f, ", {} per second", grouped(rate.into()))?;
        }
        for (is, what) in [(self.tls, ", TLS"), (self.deflate, ", compressed"), (!self.checked, ", unchecked")] {
            f.write_str(if is { what } else { "" })?;
        }
        if self.unsent > 0 {
            write!(f, "; {} messages that were due could not be sent", grouped(float(self.unsent)))?;
        }
        Ok(())
    }
}
