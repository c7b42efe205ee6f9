//! `loopwire bench echo`: every message is sent back, and the next is sent when it is there, or when it is due.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use clap::Args;
use mio::Poll;
use serde::Serialize;

use super::super::values::{Size, count};
use super::super::{Exit, Failure};
use super::drive::Load;
use super::flight::{Flight, Pace};
use super::kind::{Kind, Steady};
use super::link::{Link, Loss, READ};
use super::opening::Opened;
use super::payloads::{Content, Payloads};
use super::pool;
use super::progress::Progress;
use super::replies::{Judge, Replies};
use super::report::{float, grouped};
use super::schedule::Schedule;
use super::stats::{Stats, nanos};
use super::target::{Target, TargetArgs};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadArgs {
    /// Connections
    #[arg(long, short, value_name = "N", value_parser = count::<usize>, default_value_t = 100)]
    connections: usize,

    /// Bytes in each message
    #[arg(long, short, value_name = "BYTES", default_value_t = Size(20))]
    size: Size,

    /// Send binary messages; without it they are text
    #[arg(long)]
    binary: bool,

    /// Send this text each time, instead of messages of --size
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// Messages in flight on each connection, sent by one write as far as they can be
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = 1)]
    depth: usize,

    /// Send so many messages per second, all connections together, instead of one for each answer. Latency then counts
    /// from when a message was due, even if the server (or --depth) kept it from being sent
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    rate: Option<u32>,

    /// Agree on permessage-deflate, and send compressed messages, which look like JSON if --message gives no other. Of the
    /// answers to the first connection 10,000 are inflated and compared, the others counted
    #[arg(long)]
    deflate: bool,

    /// Only count answers, by their headers: for servers that answer something else. Without it payloads up to 4 KiB are
    /// compared whole, larger ones in samples
    #[arg(long)]
    unchecked: bool,

    /// Ignore messages that are no answers, such as a greeting; without it they are errors
    #[arg(long)]
    allow_others: bool,
}

/// What was asked for, in the report.
#[derive(Debug, Serialize)]
pub(super) struct Shape {
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
    /// Messages that were no answers.
    other_messages: u64,
    /// At a constant rate: messages that were due and could not be sent before the end.
    unsent: u64,
}

impl Kind for LoadArgs {
    const MODE: &'static str = "echo";
    const SERVER: &'static [&'static str] = &[];
    type Load = Echo;
    type Shape = Shape;

    fn check(&self) -> Result<(), Failure> {
        let wrong = if self.deflate && self.binary {
            "--deflate sends text: leave it or --binary out"
        } else if self.message.is_some() && self.binary {
            "--message sends text: leave it or --binary out"
        } else if self.unchecked && self.allow_others {
            "--unchecked takes any message for an answer: leave it or --allow-others out"
        } else {
            return Ok(());
        };
        Err(Failure::new(Exit::Usage, wrong))
    }

    fn deflate(&self) -> bool {
        self.deflate
    }

    fn rate(&self) -> Option<u32> {
        self.rate
    }

    fn open(
        &self,
        _args: &TargetArgs,
        target: &mut Target,
        poll: &mut Poll,
        progress: &mut Progress,
    ) -> Result<Echo, Failure> {
        let opened = pool::open(target, self.connections, 0, poll, progress)?;
        let window_bits = if self.deflate { Some(window_bits(target, &opened)?) } else { None };
        Echo::new(self, opened, window_bits)
    }

    fn shape(&self, load: &mut Echo, target: &Target) -> Shape {
        Shape {
            connections: self.connections,
            size: load.payloads.size,
            depth: self.depth,
            kind: if self.binary { "binary" } else { "text" },
            deflate: self.deflate,
            tls: target.tls.is_some(),
            rate: self.rate,
            checked: !self.unchecked,
            compressed_replies: load.stats.compressed,
            other_messages: load.stats.others,
            unsent: load.unsent,
        }
    }
}

/// The measurement.
#[derive(Debug)]
pub(super) struct Echo {
    payloads: Payloads,
    /// By the tokens of their events; a connection that was lost is `None`.
    connections: Vec<Option<Connection>>,
    open: usize,
    stats: Stats,
    rate: Option<u32>,
    pace: Pace,
    /// What all times count from.
    beginning: Instant,
    /// Whether messages are still to be sent.
    is_sending: bool,
    /// Whether answers still count, and how long they took.
    is_counting: bool,
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
        let content = match &load.message {
            Some(text) => Content::Given(text),
            None if load.deflate => Content::Json,
            None if load.binary => Content::Binary,
            None => Content::Text,
        };
        let payloads = Payloads::new(content, load.size.0, load.depth, window_bits);
        let judge = match (load.unchecked, load.allow_others) {
            (true, _) => Judge::Header,
            (false, true) => Judge::Ours,
            (false, false) => Judge::Payload,
        };
        let mut stats = Stats::new()?;
        let mut connections = Vec::with_capacity(opened.len());
        for (index, opened) in opened.into_iter().enumerate() {
            let next = payloads.after(index, 0);
            let mut replies = Replies::new(next, judge);
            if let Some(params) = opened.agreed.deflate {
                let inflates = index == 0 && judge != Judge::Header;
                replies = if inflates { replies.inflating(params) } else { replies.compressed() };
            }
            let mut link = Link::new(opened.transport, replies, next);
            match link.take(&opened.rest, &payloads) {
                Ok(taken) => {
                    stats.others += taken.others as u64;
                    stats.error(taken.messages, unasked);
                }
                Err(loss) => stats.error(1, || loss.to_string()),
            }
            connections.push(Some(Connection { link, flight: Flight::new(index, load.depth) }));
        }
        Ok(Self {
            payloads,
            open: connections.len(),
            connections,
            stats,
            rate: load.rate,
            pace: Pace::Answered,
            beginning: Instant::now(),
            is_sending: false,
            is_counting: false,
            unsent: 0,
            buffer: vec![0; READ],
        })
    }

    fn lost(&mut self, index: usize, loss: &Loss) {
        self.connections[index] = None;
        self.open -= 1;
        self.stats.error(1, || loss.to_string());
    }
}

impl Load for Echo {
    fn begin(&mut self, beginning: Instant, window: Range<u64>) {
        self.beginning = beginning;
        if let Some(rate) = self.rate {
            let schedule = Schedule::new(rate, self.connections.len(), 0);
            self.pace = Pace::Due { schedule, window };
        }
        self.is_counting = true;
        // This reads, too, what came while others were being opened; no event will tell of it again.
        self.resume();
    }

    /// Reads what has come, and sends what that allows.
    fn turn(&mut self, index: usize) {
        let Some(Some(Connection { link, flight })) = self.connections.get_mut(index) else { return };
        let (stats, pace, payloads) = (&mut self.stats, &self.pace, &self.payloads);
        let (beginning, is_counting) = (self.beginning, self.is_counting);
        let counts_latency = is_counting || matches!(pace, Pace::Due { .. });
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
            stats.others += taken.others as u64;
            if is_counting {
                stats.count(&taken, bytes);
            }
            stats.error(taken.wrong, || "an answer is not what was sent".to_owned());
            stats.error(unasked_for, unasked);
        });
        if outcome.is_ok() {
            if self.is_sending {
                link.owe(flight.send(pace, now.unwrap_or_else(|| nanos(beginning.elapsed()))));
            }
            outcome = link.flush(payloads);
        }
        if let Err(loss) = outcome {
            self.lost(index, &loss);
        }
    }

    fn due(&mut self, now: u64) {
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

    fn next_due(&self) -> Option<u64> {
        match &self.pace {
            Pace::Answered => None,
            Pace::Due { schedule, .. } => Some(schedule.next_due()),
        }
    }

    fn is_over(&self) -> bool {
        self.open == 0
    }

    fn stop(&mut self, now: u64) {
        (self.is_sending, self.is_counting) = (false, false);
        for connection in self.connections.iter_mut().flatten() {
            let stats = &mut self.stats;
            let unsent = connection.flight.give_up(&self.pace, now, |took, count| stats.took(took, count));
            self.unsent += unsent as u64;
        }
    }

    fn under_way(&self) -> usize {
        self.connections.iter().flatten().map(|connection| connection.flight.in_flight()).sum()
    }

    fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }
}

impl Steady for Echo {
    fn pause(&mut self) {
        self.is_sending = false;
    }

    fn resume(&mut self) {
        self.is_sending = true;
        for index in 0..self.connections.len() {
            self.turn(index);
        }
    }

    fn close(&mut self) {
        self.stats.error(self.under_way(), || "a message was not answered within --answer-timeout".to_owned());
        for connection in self.connections.iter_mut().flatten() {
            connection.link.close(&self.payloads);
        }
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
        if self.other_messages > 0 {
            write!(f, "; {} other messages received", grouped(float(self.other_messages)))?;
        }
        if self.unsent > 0 {
            write!(f, "; {} messages that were due could not be sent", grouped(float(self.unsent)))?;
        }
        Ok(())
    }
}
