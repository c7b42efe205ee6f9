use std::time::Instant;

use loopwire::Role;
use loopwire::deflate::DeflateParams;
use loopwire::explain::{Conversation, Seen};
use loopwire::handshake::Uri;
use loopwire::wire::Rule;

use super::frames::fence;
use super::head::Head;
use super::probe::{Demand, Probe, Sends, Then};

fn good() -> Head {
    Head::request(&Uri::parse("ws://example.com/chat").unwrap(), &[])
}

/// The first rule that this end breaks; and whether anything but a handshake came of it.
fn broken(conversation: &mut Conversation, by: Role, bytes: &[u8]) -> Option<&'static Rule> {
    let mut rule = None;
    conversation.push(by, bytes, &mut |seen| match seen {
        Seen::Violation(violation) if violation.by == by => drop(rule.get_or_insert(violation.rule())),
        // Neither is called a breach.
        Seen::Request { outcome: Err(rejection), .. } => drop(rule.get_or_insert(rejection.rule())),
        Seen::Answer { outcome: Err(error), .. } => drop(rule.get_or_insert(error.rule())),
        _ => {}
    });
    rule
}

#[test]
fn every_probe_breaks_the_rule_that_it_says_and_what_is_right_breaks_none() {
    let mut wrong = Vec::new();
    for by in [Role::Client, Role::Server] {
        for probe in Probe::all(by) {
            let now = Instant::now();
            let found = match &probe.sends {
                Sends::Frames { bytes, compressed, .. } => {
                    let deflate = compressed.then(DeflateParams::default);
                    broken(&mut Conversation::of_frames(deflate, now), by, bytes)
                }
                Sends::Head { change, .. } if by == Role::Client => {
                    broken(&mut Conversation::new(now), by, &good().changed(*change))
                }
                Sends::Head { change, then } => {
                    let mut conversation = Conversation::new(now);
                    let request = good().and("Sec-WebSocket-Extensions", "permessage-deflate").bytes();
                    conversation.push(Role::Client, &request, &mut |_| {});
                    let answer = Head::answer("bG9vcHdpcmUgdmlvbGF0ZQ==", None, None).changed(*change);
                    let behind = if *then == Then::Frames { fence(by) } else { Vec::new() };
                    broken(&mut conversation, by, &[answer, behind].concat())
                }
            };
            let is_right = matches!(probe.demands, Demand::Open | Demand::OpenOr(_));
            let is_cut = [Rule::INCOMPLETE_HEAD, Rule::ANSWER_TRUNCATED].contains(&probe.rule);
            let expected = (!is_right && !is_cut).then_some(probe.rule.id);
            if found.map(|rule| rule.id) != expected {
                wrong.push(format!("{by:?}, {}: {}: {found:?}", probe.rule.id, probe.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_two_probes_have_a_name_and_a_line_holds_each() {
    for by in [Role::Client, Role::Server] {
        let probes = Probe::all(by);
        let mut names: Vec<_> = probes.iter().map(|probe| (probe.rule.id, probe.name.as_str())).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        for probe in &probes {
            assert!(probe.name.chars().count() <= 28, "{}", probe.name);
            assert!(probe.demands.to_string().len() <= 13, "{}", probe.demands);
        }
    }
}
