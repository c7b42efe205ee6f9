//! `loopwire bench connect`: connections opened, closed, and opened again, as fast as the server takes them.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use mio::{Poll, Registry, Token};
use serde::Serialize;

use super::super::values::count;
use super::super::{Exit, Failure, print};
use super::drive::{Load, MeasureArgs, drive};
use super::link::{Link, Loss};
use super::opening::{OpenError, Opened, Opening};
use super::payloads::{Content, Payloads};
use super::pool;
use super::progress::Progress;
use super::replies::{Fault, Judge, Replies};
use super::report::{Report, to_json};
use super::stats::{Stats, nanos};
use super::target::{Target, TargetArgs};
use super::thresholds::{ThresholdArgs, verdict};

/// How often each connection may fail in a row, with none opened between, before there is no point in going on.
const MAX_FAILURES: usize = 5;
/// How long a server may take to end a connection that was closed. Then it is dropped, and the next one opened.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Connections at the same time. Each is opened, closed in due form, and followed by the next
    #[arg(long, short, value_name = "N", value_parser = count::<usize>, default_value_t = 50, help_heading = "Load")]
    connections: usize,

    #[command(flatten)]
    measure: MeasureArgs,

    #[command(flatten)]
    thresholds: ThresholdArgs,
}

/// What was asked for, in the report.
#[derive(Debug, Serialize)]
struct Shape {
    connections: usize,
    tls: bool,
}

pub(super) fn run(args: &ConnectArgs) -> Result<Exit, Failure> {
    args.thresholds.check(&args.target)?;
    let mut target = args.target.find(&[], false)?;
    let mut progress = Progress::new();
    let mut poll = Poll::new().map_err(|error| Failure::new(Exit::Failed, error))?;
    // One to begin with, which says whether there is a server, and finds the address at which it is.
    drop(pool::open(&mut target, 1, usize::MAX / 2, &mut poll, &mut progress)?);

    let registry = poll.registry().try_clone().map_err(|error| Failure::new(Exit::Failed, error))?;
    let mut bench = Connect::new(&target, registry, args.connections)?;
    let used = drive(&mut bench, &args.measure.course(target.pid), &mut poll, &mut progress)?;
    progress.clear();

    let stats = &bench.stats;
    let shape = Shape { connections: args.connections, tls: target.tls.is_some() };
    let report = Report::new("connect", &target, shape, stats, &used);
    match print(&if args.measure.output.json { to_json(&report) } else { report.to_string() }) {
        Exit::Done => Ok(verdict(&args.thresholds.missed(&report), report.errors, stats.first_error.as_deref())),
        exit => Ok(exit),
    }
}

/// The measurement.
#[derive(Debug)]
struct Connect<'t> {
    target: &'t Target,
    registry: Registry,
    slots: Vec<Slot>,
    /// Nothing is ever sent of these.
    payloads: Payloads,
    beginning: Instant,
    is_running: bool,
    /// Failures since the last connection that was opened.
    failures: usize,
    /// When deadlines are looked at next.
    next_look: u64,
    stats: Stats,
    buffer: Vec<u8>,
}

/// What one of the connections is at.
#[derive(Debug)]
enum Slot {
    Vacant,
    Opening(Box<Opening>),
    /// Closed by us; the server answers and ends it.
    Closing(Box<Link>, Instant),
}

impl<'t> Connect<'t> {
    fn new(target: &'t Target, registry: Registry, connections: usize) -> Result<Self, Failure> {
        Ok(Self {
            target,
            registry,
            slots: (0..connections).map(|_| Slot::Vacant).collect(),
            payloads: Payloads::new(Content::Text, 1, 1, None),
            beginning: Instant::now(),
            is_running: true,
            failures: 0,
            next_look: 0,
            stats: Stats::new()?,
            buffer: vec![0; 16 << 10],
        })
    }

    /// Begins the next connection.
    fn dial(&mut self, token: usize) {
        match Opening::start(self.target, &self.registry, Token(token), Instant::now()) {
            Ok(opening) => self.slots[token] = Slot::Opening(Box::new(opening)),
            Err(error) => self.failed(&error),
        }
    }

    /// Reads until the server has ended the stream, so that the port is left waiting at its side and not at ours
    /// [RFC 6455 §7.1.1].
    fn read_to_the_end(&mut self, link: &mut Link) -> Option<Loss> {
        loop {
            let received = link.receive(&mut self.buffer, &self.payloads, |_, _| ());
            match received.and_then(|()| link.flush(&self.payloads)) {
                Ok(()) => return None,
                // The end of the stream comes behind.
                Err(Loss::Fault(Fault::Closed(_))) => {}
                Err(loss) => return Some(loss),
            }
        }
    }

    fn failed(&mut self, error: &OpenError) {
        self.failures += 1;
        self.stats.error(1, || pool::failure(self.target, 0, error).what);
    }

    fn opened(&mut self, token: usize, opened: Opened, since: Instant) {
        let now = Instant::now();
        self.failures = 0;
        if self.is_running {
            self.stats.messages += 1;
            self.stats.took(nanos(now - since), 1);
        }
        let mut link = Link::new(opened.transport, Replies::new(0, Judge::Header), 0);
        link.close(&self.payloads);
        self.slots[token] = Slot::Closing(Box::new(link), now);
        self.turn(token);
    }
}

impl Load for Connect<'_> {
    fn begin(&mut self, beginning: Instant, _window: Range<u64>) {
        self.beginning = beginning;
    }

    fn turn(&mut self, token: usize) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        match mem::replace(slot, Slot::Vacant) {
            Slot::Vacant => {}
            Slot::Opening(mut opening) => match opening.advance(self.target, &mut self.buffer) {
                Ok(None) => self.slots[token] = Slot::Opening(opening),
                Ok(Some(opened)) => self.opened(token, opened, opening.since),
                Err(error) => self.failed(&error),
            },
            Slot::Closing(mut link, since) => match self.read_to_the_end(&mut link) {
                None => self.slots[token] = Slot::Closing(link, since),
                Some(_) if self.is_running => {
                    drop(link);
                    self.dial(token);
                }
                Some(_) => {}
            },
        }
    }

    fn due(&mut self, now: u64) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + nanos(PATIENCE) / 10;
        let at = Instant::now();
        for token in 0..self.slots.len() {
            match &self.slots[token] {
                Slot::Opening(opening) if at.duration_since(opening.since) > self.target.timeout => {
                    self.slots[token] = Slot::Vacant;
                    self.failed(&OpenError::Timeout);
                }
                Slot::Closing(_, since) if at.duration_since(*since) > PATIENCE => self.slots[token] = Slot::Vacant,
                _ => {}
            }
            if matches!(self.slots[token], Slot::Vacant) {
                self.dial(token);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.failures >= MAX_FAILURES * self.slots.len()
    }

    fn stop(&mut self, _now: u64) {
        self.is_running = false;
    }

    fn under_way(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot, Slot::Closing(..))).count()
    }

    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at the same time{}", self.connections, if self.tls { ", TLS" } else { "" })
    }
}
