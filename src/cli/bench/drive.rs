//! The course of a measurement, whatever the load: warm-up, the time that counts, and the wait for what is under way.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use clap::Args;
use mio::{Events, Poll};

use super::super::values::{OrOff, Span, count};
use super::super::{Exit, Failure};
use super::progress::Progress;
use super::report::{float, grouped, time};
use super::stats::{Cpu, Stats, nanos};
use super::{interrupted, usage};

/// Events taken from the poll at once.
pub(super) const EVENTS: usize = 1024;
/// How long to wait for an event before looking at the clock.
const TICK: Duration = Duration::from_millis(100);

/// How long is measured.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Measuring")]
pub(super) struct MeasureArgs {
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) duration: Span,

    /// How long to run before that
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(super) warmup: OrOff<Span>,

    /// End after this many messages, if that comes before --duration is over
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    pub(super) messages: Option<u32>,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// How it ends, and how it is told.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Measuring")]
pub(super) struct OutputArgs {
    /// How long the last answers may take before they count as lost
    #[arg(long, value_name = "TIME", default_value = "5s")]
    pub(super) answer_timeout: Span,

    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// What is done to the server, and with what it answers. Times are in nanoseconds since the beginning.
pub(super) trait Load {
    /// All times count from `beginning`; what happens in `window` is measured. Begins.
    fn begin(&mut self, beginning: Instant, window: Range<u64>);
    /// The connection with this token can be read or written.
    fn turn(&mut self, token: usize);
    /// Does what is due by now.
    fn due(&mut self, _now: u64) {}
    /// When something will be due that no event tells of.
    fn next_due(&self) -> Option<u64> {
        None
    }
    /// Whether there is nothing left to measure.
    fn is_over(&self) -> bool;
    /// The time is up: begins nothing more.
    fn stop(&mut self, now: u64);
    /// How many answers are still to come.
    fn under_way(&self) -> usize;
    fn stats(&mut self) -> &mut Stats;
}

/// When to measure, and whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    /// Messages that are enough, whatever the time.
    pub(super) enough: u64,
    pub(super) answer_timeout: Duration,
    pub(super) pid: Option<u32>,
}

/// What it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) seconds: f64,
    pub(super) cpu: Cpu,
    /// The server's memory at the end, in bytes.
    pub(super) rss: Option<u64>,
}

impl MeasureArgs {
    pub(super) fn course(&self, pid: Option<u32>) -> Course {
        Course {
            warmup: self.warmup.0.map_or(Duration::ZERO, |span| span.0),
            duration: self.duration.0,
            enough: self.messages.map_or(u64::MAX, u64::from),
            answer_timeout: self.output.answer_timeout.0,
            pid,
        }
    }
}

/// Runs a load from its beginning to its last answer.
pub(super) fn drive(
    load: &mut impl Load,
    course: &Course,
    poll: &mut Poll,
    progress: &mut Progress,
) -> Result<Used, Failure> {
    let mut events = Events::with_capacity(EVENTS);
    let from = nanos(course.warmup);
    let until = from.saturating_add(nanos(course.duration));
    let beginning = Instant::now();
    let now = || nanos(beginning.elapsed());
    load.begin(beginning, from..until);
    let mut begun = None;
    let mut shown = (0, 0);
    let used = loop {
        let at = now();
        match begun {
            None if at >= from || load.is_over() => {
                load.stats().reset();
                begun = Some((at, Cpu::now(course.pid)));
                shown.1 = 0;
            }
            Some((start, cpu)) if at >= until || load.stats().messages >= course.enough || load.is_over() => {
                let cpu = Cpu::now(course.pid).since(cpu);
                let rss = course.pid.and_then(usage::resident_bytes);
                break Used { seconds: float((at - start).max(1)) / 1e9, cpu, rss };
            }
            _ => {}
        }
        if interrupted() {
            return Err(Failure::new(Exit::Failed, "interrupted before the measurement was over"));
        }
        progress.say(|| {
            let stats = load.stats();
            let rate = float(stats.messages - shown.1) * 1e9 / float((at - shown.0).max(1));
            shown = (at, stats.messages);
            let phase = if begun.is_none() { "warming up" } else { "measuring" };
            let p99 = time(float(stats.latency.value_at_quantile(0.99)) / 1e3);
            format!("{phase}, {:.0} s: {} per second, p99 {p99}", float(at) / 1e9, grouped(rate))
        });
        load.due(at.min(until - 1));
        let end = if begun.is_none() { from } else { until };
        wait(poll, &mut events, pause(load.next_due(), end, now()))?;
        for event in &events {
            load.turn(event.token().0);
        }
    };
    load.stop(now());
    finish(poll, &mut events, course.answer_timeout, load)?;
    Ok(used)
}

/// Has the connections read for some time, and does nothing else.
pub(super) fn settle(poll: &mut Poll, time: Duration, load: &mut impl Load) -> Result<(), Failure> {
    turns(poll, &mut Events::with_capacity(EVENTS), time, load)
}

/// Gives the connections their turns for some time.
pub(super) fn turns(poll: &mut Poll, events: &mut Events, time: Duration, load: &mut impl Load) -> Result<(), Failure> {
    turns_while(poll, events, time, load, |_| true)
}

/// Waits for what is under way, for as long as an answer may take.
pub(super) fn finish(
    poll: &mut Poll,
    events: &mut Events,
    answer_timeout: Duration,
    load: &mut impl Load,
) -> Result<(), Failure> {
    turns_while(poll, events, answer_timeout, load, |load| load.under_way() > 0)
}

fn turns_while<L: Load>(
    poll: &mut Poll,
    events: &mut Events,
    time: Duration,
    load: &mut L,
    goes_on: impl Fn(&L) -> bool,
) -> Result<(), Failure> {
    let beginning = Instant::now();
    while goes_on(load) && !interrupted() {
        let Some(left) = time.checked_sub(beginning.elapsed()).filter(|left| !left.is_zero()) else { break };
        wait(poll, events, left.min(TICK))?;
        for event in &*events {
            load.turn(event.token().0);
        }
    }
    Ok(())
}

/// How long to wait for events. The poll counts in whole milliseconds, so what is due sooner is waited for awake:
/// sleeping too long would be measured as the server's latency.
fn pause(next_due: Option<u64>, end: u64, now: u64) -> Duration {
    let end = Duration::from_nanos(end.saturating_sub(now)).min(TICK);
    next_due.map_or(end, |due| {
        let millis = due.saturating_sub(now) / 1_000_000;
        Duration::from_millis(millis.saturating_sub(1)).min(end)
    })
}

fn wait(poll: &mut Poll, events: &mut Events, time: Duration) -> Result<(), Failure> {
    match poll.poll(events, Some(time)) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(Failure::new(Exit::Failed, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_soon_is_waited_for_awake_and_what_is_not_asleep() {
        let ms = 1_000_000;
        for (next_due, end, now, millis) in [
            // No schedule: to the end, but no longer than a tick.
            (None, 7 * ms, 0, 7),
            (None, 7000 * ms, 0, 100),
            (None, 7 * ms, 8 * ms, 0),
            // A schedule: a whole millisecond less than there is.
            (Some(10 * ms), 7000 * ms, 0, 9),
            (Some(10 * ms), 7 * ms, 0, 7),
            (Some(10 * ms), 7000 * ms, 8 * ms + 1, 0),
            (Some(10 * ms), 7000 * ms, 11 * ms, 0),
            (Some(5000 * ms), 7000 * ms, 0, 100),
        ] {
            let expected = Duration::from_millis(millis);
            assert_eq!(pause(next_due, end, now), expected, "{next_due:?}, {end}, {now}");
        }
    }
}
