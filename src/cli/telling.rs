//! What is told of broken rules, by tap and lint alike.

use loopwire::Role;
use loopwire::explain::Violation;
use loopwire::wire::{Owed, Rule};
use serde_json::{Map, Value, json};

/// How wide lines for people are, in characters.
pub(crate) const WIDTH: usize = 80;

/// What the breach of a rule is answered with, and where it is tested.
pub(crate) fn owed_text(rule: &Rule) -> String {
    let owed = match rule.owed {
        Owed::Close(code) => format!("owed: a Close with {code}"),
        Owed::Status(status) => format!("owed: HTTP status {status}"),
        Owed::Failure => "owed: the end of the connection".to_owned(),
        Owed::Nothing => "nothing is owed".to_owned(),
    };
    let cases =
        if rule.autobahn.is_empty() { "no Autobahn case".to_owned() } else { format!("Autobahn {}", rule.autobahn) };
    format!("rule {}; {owed}; {cases}", rule.id)
}

/// A broken rule's keys, for tap and lint alike.
pub(crate) fn violation_details(violation: &Violation, object: &mut Map<String, Value>) {
    let rule = violation.rule();
    object.insert("rule".to_owned(), rule.id.into());
    object.insert("section".to_owned(), rule.section.into());
    object.insert("offset".to_owned(), violation.offset.into());
    object.insert("owed".to_owned(), owed_json(rule));
    object.insert("autobahn".to_owned(), rule.autobahn.into());
}

/// What the breach of a rule is answered with, for programs.
pub(crate) fn owed_json(rule: &Rule) -> Value {
    match rule.owed {
        Owed::Close(code) => json!({"close": code.0}),
        Owed::Status(status) => json!({"status": status}),
        Owed::Failure => json!("failure"),
        Owed::Nothing => json!("nothing"),
    }
}

pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// Words in lines of this many characters; a word that is longer stays whole, and so does a section's name.
pub(crate) fn wrap<'w>(words: impl Iterator<Item = &'w str>, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut len = 0;
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let mut word = word.to_owned();
        while let Some(next) = words.next_if(|next| word.ends_with("RFC") || next.starts_with('§')) {
            word.push(' ');
            word.push_str(next);
        }
        let word_len = word.chars().count();
        if len > 0 && len + 1 + word_len > width {
            lines.push(String::new());
            len = 0;
        }
        let line = lines.last_mut().expect("one at least");
        if len > 0 {
            line.push(' ');
            len += 1;
        }
        line.push_str(&word);
        len += word_len;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_section_stays_in_one_line() {
        let words = "as is told by [RFC 9110 §15.5] and RFC 6455 §4";
        for width in [16, 20, 21, 26, 30] {
            let lines = wrap(words.split(' '), width);
            assert_eq!(lines.join(" "), words);
            assert!(lines.iter().all(|line| line.matches("RFC").count() == line.matches('§').count()), "{lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:?}");
        }
    }
}
