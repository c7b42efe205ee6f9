//! Servers beside one another: load goes to one after the other in short slices, so that whatever else the machine does
//! meets all of them alike.
//!
//! A slice begins and ends with a server that has nothing to do: when its time is up the last answers are waited for, and
//! then the CPU time that the server has used is that of the messages it has answered. What is told is the ratio to the
//! first server within each round, in the middle of all rounds: a machine that is faster or slower in one round than in
//! another changes nothing about it.

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use mio::Events;
use serde::Serialize;

use super::super::dial::url;
use super::super::values::Span;
use super::super::{Exit, Failure, print};
use super::drive::{Course, EVENTS, Load as _, finish, turns};
use super::interrupted;
use super::kind::{Kind, LoadedArgs, Steady, Subject, connect};
use super::payloads::Random;
use super::progress::Progress;
use super::report::{float, grouped, rounded, to_json};
use super::stats::Cpu;
use super::thresholds::verdict;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Comparing")]
pub(super) struct BesideArgs {
    /// Compare the server with this one, of that process. Load goes to all of them in turns, in short slices; of each is
    /// told how many messages it answers per second of its CPU time, and the ratio to the first. May be given several
    /// times. --duration is the time for all of them together (Linux)
    #[arg(long = "beside", value_name = "PID@URL", value_parser = other)]
    pub(super) others: Vec<Other>,

    /// How long a server has load before it is the next one's turn
    #[arg(long, value_name = "TIME", default_value = "50ms")]
    slice: Span,
}

/// One more server.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pid: u32,
    url: String,
}

fn other(text: &str) -> Result<Other, String> {
    let (pid, at) = text.split_once('@').ok_or("write the number of its process, @ and its address")?;
    let pid = pid.parse().map_err(|_| format!("{pid:?} is no number of a process"))?;
    Ok(Other { pid, url: url(at)? })
}

/// What one server did in one round.
#[derive(Clone, Copy, Debug)]
struct Slice {
    messages: u64,
    seconds: f64,
    cpu: Cpu,
}

impl Slice {
    fn per_cpu_second(&self) -> Option<f64> {
        self.cpu.server.filter(|used| *used > 0.0 && self.messages > 0).map(|used| float(self.messages) / used)
    }
}

/// The result. Field names are those of the JSON.
#[derive(Debug, Serialize)]
struct Comparison<S> {
    mode: &'static str,
    #[serde(flatten)]
    shape: S,
    slice_ms: f64,
    rounds: usize,
    seconds: f64,
    /// The first is the one that the others are compared with.
    servers: Vec<Compared>,
    errors: u64,
}

/// One server, over all rounds.
#[derive(Debug, Serialize)]
struct Compared {
    url: String,
    pid: Option<u32>,
    messages: u64,
    /// The time of its slices together, and the CPU time that it and this process used in them.
    seconds: f64,
    cpu_seconds: f64,
    client_cpu_seconds: f64,
    /// Nothing where nothing was answered.
    messages_per_cpu_second: Option<Spread>,
    /// In each round, to the first server.
    ratio: Option<Spread>,
    errors: u64,
}

/// The middle of many values: half of them lie between the quartiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    lower_quartile: f64,
    median: f64,
    upper_quartile: f64,
}

pub(super) fn run<K: Kind>(args: &LoadedArgs<K>) -> Result<Exit, Failure> {
    if args.kind.rate().is_some() || args.thresholds.any() {
        let what = "--beside compares what servers do at their best: leave --rate and thresholds out";
        return Err(Failure::new(Exit::Usage, what));
    }
    if args.target.url.is_some() && args.target.pid.is_none() {
        return Err(Failure::new(Exit::Usage, "--beside needs the first server's process, too: give --pid"));
    }
    let mut progress = Progress::new();
    let mut targets = vec![args.target.find(K::SERVER, args.kind.deflate())?];
    for other in &args.beside.others {
        targets.push(args.target.process(&other.url, other.pid, args.kind.deflate())?);
    }
    let mut subjects = Vec::new();
    for target in targets {
        subjects.push(connect(args, target, &mut progress)?);
    }
    let slice = args.beside.slice.0;
    let beginning = Instant::now();
    let rounds = alternate(&mut subjects, &args.measure.course(None), slice, &mut progress)?;
    let seconds = rounded(beginning.elapsed().as_secs_f64());
    for subject in &mut subjects {
        subject.load.close();
    }
    progress.clear();

    let first = &mut subjects[0];
    let shape = args.kind.shape(&mut first.load, &first.target);
    let servers: Vec<_> = (0..subjects.len()).map(|index| Compared::of(index, &mut subjects[index], &rounds)).collect();
    let errors = servers.iter().map(|server| server.errors).sum();
    let slice_ms = slice.as_secs_f64() * 1e3;
    let told = Comparison { mode: K::MODE, shape, slice_ms, rounds: rounds.len(), seconds, servers, errors };
    match print(&if args.measure.output.json { to_json(&told) } else { told.to_string() }) {
        Exit::Done => {
            let first_error = subjects.iter_mut().find_map(|subject| {
                let what = subject.load.stats().first_error.as_ref()?;
                Some(format!("{}: {what}", subject.target.url))
            });
            Ok(verdict(&[], errors, first_error.as_deref()))
        }
        exit => Ok(exit),
    }
}

/// Round after round, each with a slice of all servers in an order of its own. One that has lost its connections, or
/// does not answer in time, has none from there on; without the first there is nothing to compare with.
fn alternate<L: Steady>(
    subjects: &mut [Subject<L>],
    course: &Course,
    slice: Duration,
    progress: &mut Progress,
) -> Result<Vec<Vec<Option<Slice>>>, Failure> {
    let mut events = Events::with_capacity(EVENTS);
    let mut random = Random::new();
    let mut rounds = Vec::new();
    let beginning = Instant::now();
    let mut is_in = Vec::new();
    for subject in subjects.iter_mut() {
        subject.load.begin(beginning, 0..u64::MAX);
        is_in.push(turns_of(subject, &mut events, slice, course)?);
    }
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    let mut measured = 0;
    loop {
        order.retain(|&index| is_in[index]);
        let elapsed = beginning.elapsed();
        let is_over = elapsed >= course.warmup + course.duration || measured >= course.enough;
        if !is_in[0] || order.len() < 2 || (is_over && !rounds.is_empty()) {
            return Ok(rounds);
        }
        progress.say(|| format!("{} rounds in {:.0} s", rounds.len(), elapsed.as_secs_f64()));
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        let is_warm = elapsed >= course.warmup;
        let mut round = vec![None; subjects.len()];
        for &index in &order {
            let subject = &mut subjects[index];
            let (start, before) = (Instant::now(), Cpu::now(subject.target.pid));
            let answered = subject.load.stats().messages;
            subject.load.resume();
            is_in[index] = turns_of(subject, &mut events, slice, course)?;
            let messages = subject.load.stats().messages - answered;
            let cpu = Cpu::now(subject.target.pid).since(before);
            if is_in[index] {
                round[index] = Some(Slice { messages, seconds: start.elapsed().as_secs_f64(), cpu });
                measured += if is_warm { messages } else { 0 };
            }
            if interrupted() {
                return Err(Failure::new(Exit::Failed, "interrupted before the measurement was over"));
            }
        }
        if is_warm {
            rounds.push(round);
        }
    }
}

/// Load for the time of a slice, and until the last answer to it; whether that came, and more can be sent.
fn turns_of<L: Steady>(
    subject: &mut Subject<L>,
    events: &mut Events,
    slice: Duration,
    course: &Course,
) -> Result<bool, Failure> {
    let Subject { poll, load, .. } = subject;
    turns(poll, events, slice, load)?;
    load.pause();
    finish(poll, events, course.answer_timeout, load)?;
    Ok(load.under_way() == 0 && !load.is_over())
}

impl Compared {
    fn of<L: Steady>(index: usize, subject: &mut Subject<L>, rounds: &[Vec<Option<Slice>>]) -> Self {
        let slices = || rounds.iter().filter_map(|round| round[index]);
        let sum = |of: fn(&Slice) -> f64| rounded(slices().map(|slice| of(&slice)).sum());
        let rate = |slice: Option<Slice>| slice.and_then(|slice| slice.per_cpu_second());
        Self {
            url: subject.target.url.clone(),
            pid: subject.target.pid,
            messages: slices().map(|slice| slice.messages).sum(),
            seconds: sum(|slice| slice.seconds),
            cpu_seconds: sum(|slice| slice.cpu.server.unwrap_or(0.0)),
            client_cpu_seconds: sum(|slice| slice.cpu.client.unwrap_or(0.0)),
            messages_per_cpu_second: Spread::of(rounds.iter().filter_map(|round| rate(round[index])).collect()),
            ratio: Spread::of(rounds.iter().filter_map(|round| Some(rate(round[index])? / rate(round[0])?)).collect()),
            errors: subject.load.stats().errors,
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        // Between two values, where there is none.
        let at = |quarters: usize| {
            let (below, part) = (last * quarters / 4, float((last * quarters % 4) as u64) / 4.0);
            rounded(values[below] * (1.0 - part) + values[(below + 1).min(last)] * part)
        };
        Some(Self { lower_quartile: at(1), median: at(2), upper_quartile: at(3) })
    }
}

impl<S: fmt::Display> fmt::Display for Comparison<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, beside one another: {}", self.mode, self.shape)?;
        writeln!(f, "{} rounds of {} ms for each in {:.2} s", self.rounds, self.slice_ms, self.seconds)?;
        let width = self.servers.iter().map(|server| server.url.len()).max().unwrap_or(0);
        writeln!(f, "{:width$}  {:>14}  {:>7}  half of all rounds", "", "per CPU second", "ratio")?;
        for server in &self.servers {
            let rate = server.messages_per_cpu_second.map_or("?".to_owned(), |rate| grouped(rate.median));
            write!(f, "{:width$}  {rate:>14}", server.url)?;
            if let Some(ratio) = server.ratio {
                write!(f, "  {:>7.3}  {:.3} to {:.3}", ratio.median, ratio.lower_quartile, ratio.upper_quartile)?;
            }
            if server.errors > 0 {
                write!(f, "  {} errors", grouped(float(server.errors)))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_of_all_values_whatever_their_order() {
        let spread =
            |values: &[f64]| Spread::of(values.to_vec()).map(|s| [s.lower_quartile, s.median, s.upper_quartile]);
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[7.0]), Some([7.0; 3]));
        assert_eq!(spread(&[3.0, 1.0]), Some([1.5, 2.0, 2.5]));
        assert_eq!(spread(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some([2.0, 3.0, 4.0]));
        assert_eq!(spread(&[1.0, 1.0, 1000.0, 1.0, 1.0]), Some([1.0; 3]));
    }

    #[test]
    fn another_server_is_a_process_and_where_it_listens() {
        let Other { pid, url } = other("4711@ws://localhost:9001/").unwrap();
        assert_eq!((pid, url.as_str()), (4711, "ws://localhost:9001/"));
        // Only the first one parts them.
        assert_eq!(other("1@ws://localhost/a@b").unwrap().url, "ws://localhost/a@b");
        for wrong in ["ws://localhost/", "x@ws://localhost/", "-1@ws://localhost/", "1@", "1@http://localhost/"] {
            other(wrong).unwrap_err();
        }
    }
}
