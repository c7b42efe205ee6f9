//! Thresholds: what a measurement must reach, for scripts that are to fail when it does not.

use clap::Args;

use super::super::values::{Span, count};
use super::super::{Exit, Failure, terminal};
use super::report::{Latency, Report, float, grouped, time};
use super::target::TargetArgs;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Thresholds (one that is missed makes the exit code 7)")]
pub(super) struct ThresholdArgs {
    /// Messages per second at least
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    min_rate: Option<u32>,

    /// Messages per second of the server's CPU time at least
    #[arg(long, value_name = "N", value_parser = count::<u32>)]
    min_per_cpu_second: Option<u32>,

    /// Half of the latencies at most this long
    #[arg(long, value_name = "TIME")]
    max_p50: Option<Span>,

    /// 90 % of the latencies at most this long
    #[arg(long, value_name = "TIME")]
    max_p90: Option<Span>,

    /// 99 % of the latencies at most this long
    #[arg(long, value_name = "TIME")]
    max_p99: Option<Span>,

    /// 99.9 % of the latencies at most this long
    #[arg(long, value_name = "TIME")]
    max_p999: Option<Span>,
}

impl ThresholdArgs {
    /// Refuses what could not be judged.
    pub(super) fn check(&self, target: &TargetArgs) -> Result<(), Failure> {
        if self.min_per_cpu_second.is_some() && target.url.is_some() && target.pid.is_none() {
            return Err(Failure::new(
                Exit::Usage,
                "--min-per-cpu-second needs the server's process: give --pid as well",
            ));
        }
        Ok(())
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        let times = [&self.max_p50, &self.max_p90, &self.max_p99, &self.max_p999];
        self.min_rate.is_some() || self.min_per_cpu_second.is_some() || times.into_iter().any(Option::is_some)
    }

    /// A line for each threshold that was missed.
    pub(super) fn missed<S>(&self, report: &Report<S>) -> Vec<String> {
        let mut missed = Vec::new();
        let per_cpu_second = report.server.and_then(|server| server.messages_per_cpu_second).unwrap_or(0.0);
        for (flag, least, what, value) in [
            ("min-rate", self.min_rate, "messages per second", report.messages_per_second),
            ("min-per-cpu-second", self.min_per_cpu_second, "messages per CPU second", per_cpu_second),
        ] {
            if let Some(least) = least
                && value < f64::from(least)
            {
                missed.push(format!("--{flag} {least}: {} {what}", grouped(value)));
            }
        }
        let at = |quantile: fn(&Latency) -> f64| report.latency_us.as_ref().map(quantile);
        for (flag, most, value) in [
            ("max-p50", self.max_p50, at(|latency| latency.p50)),
            ("max-p90", self.max_p90, at(|latency| latency.p90)),
            ("max-p99", self.max_p99, at(|latency| latency.p99)),
            ("max-p999", self.max_p999, at(|latency| latency.p999)),
        ] {
            match (most, value) {
                (Some(most), Some(value)) if value > float(most.0.as_micros() as u64) => {
                    missed.push(format!("--{flag} {most}: {}", time(value)));
                }
                (Some(most), None) => missed.push(format!("--{flag} {most}: there was no answer")),
                _ => {}
            }
        }
        missed
    }
}

/// Says what was missed, and what went wrong, and gives the exit code: what the server got wrong counts before a
/// threshold.
pub(super) fn verdict(missed: &[String], errors: u64, first_error: Option<&str>) -> Exit {
    for line in missed {
        terminal::say_in(terminal::Colour::Red, format_args!("missed {line}"));
    }
    if errors > 0 {
        let plural = if errors == 1 { "error" } else { "errors" };
        terminal::error(&format_args!(
            "{} {plural}; the first: {}",
            grouped(float(errors)),
            first_error.unwrap_or("?")
        ));
        return Exit::Abnormal;
    }
    if missed.is_empty() { Exit::Done } else { Exit::Missed }
}
