//! `loopwire rules`: every rule that is held against a peer.

use std::fmt::Write as _;

use clap::Args;
use loopwire::explain::{rule_in_detail, wrap};
use loopwire::wire::{Owed, Rule};
use serde_json::{Value, json};
use strsim::levenshtein;

use super::telling::owed_json;
use super::{Exit, Failure, print};

#[derive(Args, Debug)]
pub(crate) struct RulesArgs {
    /// Only this rule, with all that is known of it
    #[arg(value_name = "ID")]
    id: Option<String>,

    /// Print JSON: an array of objects, or one object
    #[arg(long)]
    json: bool,
}

/// Prints the table, or a rule.
pub(crate) fn run(args: &RulesArgs) -> Result<Exit, Failure> {
    let only = args.id.as_deref().map(find).transpose().map_err(|what| Failure::new(Exit::Usage, what))?;
    let text = match (only, args.json) {
        (Some(rule), true) => json_of(rule).to_string() + "\n",
        (None, true) => Rule::ALL.iter().map(|rule| json_of(rule)).collect::<Value>().to_string() + "\n",
        (Some(rule), false) => rule_in_detail(rule),
        (None, false) => table(),
    };
    Ok(print(&text))
}

/// The rule of that name; if there is none, a sentence with the nearest name, if one is near.
pub(crate) fn find(id: &str) -> Result<&'static Rule, String> {
    Rule::find(id).ok_or_else(|| {
        let is_part = |rule: &Rule| id.len() > 2 && rule.id.contains(id);
        // Of another name more than half would have to change.
        let is_near = |rule: &Rule| is_part(rule) || 2 * levenshtein(id, rule.id) <= id.len().max(rule.id.len());
        let near = Rule::ALL.iter().filter(|rule| is_near(rule));
        match near.min_by_key(|rule| (!is_part(rule), levenshtein(id, rule.id))) {
            Some(rule) => {
                format!("no rule is called {id:?}; the nearest name is {}, and `loopwire rules` tells all", rule.id)
            }
            None => format!("no rule is called {id:?}; `loopwire rules` tells all"),
        }
    })
}

/// A line of columns for each rule, and beneath it the rule itself and the test.
fn table() -> String {
    let mut out = line("RULE", "SECTION", "OWED", "AUTOBAHN");
    for rule in Rule::ALL {
        let owed = match rule.owed {
            Owed::Close(code) => format!("close {code}"),
            Owed::Status(status) => format!("HTTP {status}"),
            Owed::Failure => "the end".to_owned(),
            Owed::Nothing => "nothing".to_owned(),
        };
        let fits = rule.autobahn.chars().count() <= 20;
        out.push_str(&line(rule.id, rule.section, &owed, if fits { rule.autobahn } else { "see below" }));
        let mut beneath = |text: &str| out.push_str(&wrap(text, "    ", "    "));
        beneath(rule.sentence);
        if !fits {
            beneath(&format!("Autobahn {}", rule.autobahn));
        }
        if !rule.test.is_empty() {
            beneath(rule.test);
        }
    }
    out
}

fn line(id: &str, section: &str, owed: &str, autobahn: &str) -> String {
    let mut line = String::new();
    let _ = write!(line, "{id:<27} {section:<18} {owed:<11} {autobahn}");
    line.truncate(line.trim_end().len());
    line + "\n"
}

fn json_of(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "section": rule.section,
        "sentence": rule.sentence,
        "owed": owed_json(rule),
        "autobahn": rule.autobahn,
        "test": rule.test,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (id, nearest) in [
            ("mask-mising", "mask-missing"),
            ("close-to", "close-too-short"),
            ("Reserved-Bit", "reserved-bit"),
            ("reserved-bits", "reserved-bit"),
            ("invalid-utf-8", "invalid-utf8"),
        ] {
            let error = find(id).unwrap_err();
            assert!(error.contains(&format!("is {nearest},")), "{error}");
        }
        for id in ["nosuch", "", "x", "-", "quite-another-thing"] {
            assert_eq!(find(id).unwrap_err(), format!("no rule is called {id:?}; `loopwire rules` tells all"));
        }
    }
}
