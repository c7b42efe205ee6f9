//! What came of all probes: a line for each as it comes, and the sum.

use std::fmt::Write as _;

use loopwire::wire::Rule;
use serde_json::{Value, json};

use super::judge::{Level, Outcome};
use super::listing::as_json;
use super::probe::Probe;
use crate::cli::terminal::{self, Colour, paint};
use crate::cli::{Exit, Failure, print};

/// Prints while the probes run.
pub(super) struct Report {
    target: String,
    /// Everything at the end, for programs.
    json: Option<Vec<Value>>,
    rule: Option<&'static Rule>,
    counts: [(Level, usize); 4],
    coloured: bool,
}

impl Report {
    pub(super) fn new(target: &str, json: bool) -> Self {
        Self {
            target: target.to_owned(),
            json: json.then(Vec::new),
            rule: None,
            counts: [Level::Good, Level::Weak, Level::Broken, Level::None].map(|level| (level, 0)),
            coloured: terminal::colour_on_stdout(),
        }
    }

    pub(super) fn add(&mut self, probe: &Probe, outcome: &Outcome) -> Result<(), Failure> {
        let level = outcome.verdict.level(probe.force);
        for (counted, count) in &mut self.counts {
            *count += usize::from(*counted == level);
        }
        if let Some(rows) = &mut self.json {
            let mut row = as_json(probe);
            row["got"] = json!(outcome.got);
            row["verdict"] = json!(outcome.verdict.to_string());
            row["level"] = json!(level.to_string());
            row["breaks"] = json!(outcome.broke.map(|rule| rule.id));
            rows.push(row);
            return Ok(());
        }
        let mut text = String::new();
        if self.rule.is_none() {
            let _ = writeln!(text, "  {:<28} {:<13} {:<13} verdict", "rule", "demanded", "got");
        }
        if self.rule != Some(probe.rule) {
            self.rule = Some(probe.rule);
            let _ = writeln!(text, "{} [{}]", probe.rule.id, probe.rule.section);
        }
        let (mark, colour) = match level {
            Level::Good => (' ', Colour::Green),
            Level::Weak | Level::None => ('~', Colour::Dim),
            Level::Broken => ('!', Colour::Red),
        };
        let verdict = paint(outcome.verdict, colour, self.coloured);
        let demanded = probe.demands.to_string();
        let _ = writeln!(text, "{mark} {:<28} {demanded:<13} {:<13} {verdict}", probe.name, outcome.got);
        if let Some(rule) = outcome.broke {
            let _ = writeln!(text, "    it broke {} [{}]", rule.id, rule.section);
        }
        written(print(&text))
    }

    /// Prints the sum, and says what to end with.
    pub(super) fn end(self, lenient: bool) -> Result<Exit, Failure> {
        let count = |level| self.counts.iter().find(|counted| counted.0 == level).map_or(0, |counted| counted.1);
        let all: usize = self.counts.iter().map(|counted| counted.1).sum();
        let (good, weak) = (count(Level::Good), count(Level::Weak));
        let (broken, not_sent) = (count(Level::Broken), count(Level::None));
        let text = if let Some(rows) = self.json {
            let summary = json!({
                "probes": all, "as_demanded": good, "weak": weak, "broken": broken, "not_sent": not_sent,
            });
            format!("{}\n", json!({"target": self.target, "probes": rows, "summary": summary}))
        } else {
            let mut text = format!("\n{}: {good} of {all} as demanded\n", self.target);
            for (mark, count, told) in [
                ('!', broken, "against what the RFCs say a receiver must do"),
                ('~', weak, "less than they recommend, or let pass what a sender must not do"),
                ('~', not_sent, "not sent, as no compression was agreed on"),
            ] {
                if count > 0 {
                    let _ = writeln!(text, "{mark} {count:>4}  {told}");
                }
            }
            text
        };
        written(print(&text))?;
        let is_good = broken == 0 && (weak == 0 || lenient);
        Ok(if is_good { Exit::Done } else { Exit::Broken })
    }
}

/// What cannot be written has been told of.
fn written(exit: Exit) -> Result<(), Failure> {
    match exit {
        Exit::Done => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "the report could not be written")),
    }
}
