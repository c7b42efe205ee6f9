//! What was measured, as one JSON object for programs and as a table for people.

use std::fmt::{self, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::drive::Used;
use super::stats::Stats;
use super::target::Target;

/// The result of one measurement. Field names are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report<S> {
    pub(super) mode: &'static str,
    pub(super) url: String,
    /// What was asked for, as each mode has it.
    #[serde(flatten)]
    pub(super) shape: S,
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) messages_per_second: f64,
    pub(super) bytes_received: u64,
    pub(super) server: Option<Server>,
    pub(super) client: Client,
    /// Nothing where nothing was measured.
    pub(super) latency_us: Option<Latency>,
    pub(super) errors: u64,
}

/// The server's process, where it is known and the system tells.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) messages_per_cpu_second: Option<f64>,
    pub(super) rss_bytes: Option<u64>,
    pub(super) bytes_per_connection: Option<f64>,
}

/// This process, where the system tells.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Client {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) messages_per_cpu_second: Option<f64>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    min: f64,
    mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99_9")]
    pub(super) p999: f64,
    #[serde(rename = "p99_99")]
    p9999: f64,
    max: f64,
    /// Whether they count from the time at which a message was due.
    corrected: bool,
}

impl<S> Report<S> {
    /// What `stats` counted, and what was used for it.
    pub(super) fn new(mode: &'static str, target: &Target, shape: S, stats: &Stats, used: &Used) -> Self {
        let Used { seconds, cpu, rss } = *used;
        let messages = stats.messages;
        let per_cpu = |used: Option<f64>| {
            used.filter(|used| *used > 0.0 && messages > 0).map(|used| rounded(float(messages) / used))
        };
        Self {
            mode,
            url: target.url.clone(),
            shape,
            seconds: rounded(seconds),
            messages,
            messages_per_second: rounded(float(messages) / seconds),
            bytes_received: stats.bytes,
            server: target.pid.map(|pid| Server {
                pid,
                cpu_seconds: cpu.server.map(rounded),
                messages_per_cpu_second: per_cpu(cpu.server),
                rss_bytes: rss,
                bytes_per_connection: None,
            }),
            client: Client { cpu_seconds: cpu.client.map(rounded), messages_per_cpu_second: per_cpu(cpu.client) },
            latency_us: (!stats.latency.is_empty()).then(|| Latency::of(&stats.latency)),
            errors: stats.errors,
        }
    }

    /// The latencies count from when messages were due.
    pub(super) fn corrected(mut self) -> Self {
        if let Some(latency) = &mut self.latency_us {
            latency.corrected = true;
        }
        self
    }
}

impl<S> Report<S> {
    /// What the messages of this mode are.
    fn counts(&self) -> &'static str {
        match self.mode {
            "fanout" | "push" => "delivered",
            "connect" => "opened",
            _ => "messages",
        }
    }
}

/// One line.
pub(super) fn to_json(report: &impl Serialize) -> String {
    // Numbers, texts and names: nothing that JSON could not say.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

impl Latency {
    fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile: f64| micros(nanos.value_at_quantile(quantile));
        Self {
            min: micros(nanos.min()),
            mean: rounded(nanos.mean() / 1e3),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(nanos.max()),
            corrected: false,
        }
    }
}

impl<S: fmt::Display> fmt::Display for Report<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {}: {}", self.mode, self.url, self.shape)?;
        if self.mode == "idle" {
            writeln!(f, "held      for {:.2} s", self.seconds)?;
        } else {
            let (count, rate) = (grouped(float(self.messages)), grouped(self.messages_per_second));
            writeln!(f, "{:<9} {count} in {:.2} s: {rate} per second", self.counts(), self.seconds)?;
        }
        if let Some(server) = &self.server {
            f.write_str("server    ")?;
            match server.cpu_seconds {
                Some(used) => writeln!(f, "{}", cpu(used, self.seconds, server.messages_per_cpu_second))?,
                None => writeln!(f, "its CPU time is unknown: only Linux tells")?,
            }
            if let Some(bytes) = server.rss_bytes {
                write!(f, "          {} KiB of memory", grouped(float(bytes >> 10)))?;
                match server.bytes_per_connection {
                    Some(each) => writeln!(f, ": {} bytes for each connection", grouped(each))?,
                    None => writeln!(f)?,
                }
            }
        }
        if let Some(used) = self.client.cpu_seconds {
            writeln!(f, "client    {}", cpu(used, self.seconds, self.client.messages_per_cpu_second))?;
        }
        if let Some(latency) = &self.latency_us {
            let from = if latency.corrected { " (from when they were due)" } else { "" };
            writeln!(f, "latency   {latency}{from}")?;
        }
        if self.errors > 0 {
            writeln!(f, "errors    {}", grouped(float(self.errors)))?;
        }
        Ok(())
    }
}

fn cpu(used: f64, seconds: f64, per_second: Option<f64>) -> String {
    let mut text = format!("{used:.2} s of CPU time, {:.0} % of a core", 100.0 * used / seconds);
    if let Some(per_second) = per_second {
        let _ = write!(text, ": {} per CPU second", grouped(per_second));
    }
    text
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99.9", self.p999)] {
            write!(f, "{name} {}  ", time(value))?;
        }
        write!(f, "max {}", time(self.max))
    }
}

/// A time of so many microseconds as people write it, to three digits.
pub(super) fn time(micros: f64) -> String {
    let (value, unit) = match micros {
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// A number without decimals, its thousands apart.
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn micros(nanos: u64) -> f64 {
    rounded(float(nanos) / 1e3)
}

/// To three decimals, beyond which nothing here is known.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, and these are for people")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([0.0, 999.4, 1000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let rows = [(0.5, "0.50 µs"), (12.34, "12.3 µs"), (999.0, "999 µs"), (1500.0, "1.50 ms"), (2e6, "2.00 s")];
        for (micros, text) in rows {
            assert_eq!(time(micros), text);
        }
    }
}
