//! The table of rules says what is so: every test that it names is there.

use std::fs;
use std::path::Path;

use loopwire::wire::Rule;

/// Rules that no test can break: the system would have to run out of randomness.
const UNBREAKABLE: [&str; 1] = ["random"];

#[test]
fn every_rule_names_a_test_that_is_there() {
    let mut missing = Vec::new();
    for rule in Rule::ALL {
        if rule.test.is_empty() && UNBREAKABLE.contains(&rule.id) {
            continue;
        }
        let found = rule.test.split_once("::").is_some_and(|(file, name)| {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
            text.contains(&format!("#[test]\nfn {name}() {{")) || text.contains(&format!("#[test]\n    fn {name}() {{"))
        });
        if !found {
            missing.push(format!("{}: {}", rule.id, rule.test));
        }
    }
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}
