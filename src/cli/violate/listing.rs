//! What can be sent, as `--list` prints it.

use std::fmt::Write as _;

use loopwire::Role;
use loopwire::wire::Rule;
use serde_json::{Value, json};

use super::probe::Probe;
use crate::cli::Exit;

/// The rules that can be broken, or how this one can.
pub(super) fn print(rule: Option<&'static Rule>, json: bool) -> Exit {
    let (to_servers, to_clients) = (Probe::all(Role::Client), Probe::all(Role::Server));
    if json {
        let probes = |probes: &[Probe]| -> Vec<Value> {
            let wanted = probes.iter().filter(|probe| rule.is_none_or(|rule| rule == probe.rule));
            wanted.map(as_json).collect()
        };
        return crate::cli::print(&format!(
            "{}\n",
            json!({"servers": probes(&to_servers), "clients": probes(&to_clients)})
        ));
    }
    let count = |probes: &[Probe], rule: &Rule| probes.iter().filter(|probe| *probe.rule == *rule).count();
    let mut text = String::new();
    if let Some(rule) = rule {
        let _ = writeln!(text, "{} [{}]", rule.id, rule.section);
        for (whom, probes) in [("servers", &to_servers), ("clients", &to_clients)] {
            for probe in probes.iter().filter(|probe| probe.rule == rule) {
                let _ =
                    writeln!(text, "  {whom}  {:<30}  {:<6}  {}", probe.name, probe.force.to_string(), probe.demands);
            }
        }
        return crate::cli::print(&text);
    }
    let _ = writeln!(text, "{:<26}{:<21}{:>7}  {:>7}", "rule", "section", "servers", "clients");
    for rule in Rule::ALL {
        let (servers, clients) = (count(&to_servers, rule), count(&to_clients, rule));
        if servers + clients > 0 {
            let _ = writeln!(text, "{:<26}{:<21}{servers:>7}  {clients:>7}", rule.id, rule.section);
        }
    }
    let _ = writeln!(text, "{:<47}{:>7}  {:>7}", "all", to_servers.len(), to_clients.len());
    crate::cli::print(&text)
}

pub(super) fn as_json(probe: &Probe) -> Value {
    json!({
        "rule": probe.rule.id,
        "section": probe.rule.section,
        "probe": probe.name,
        "force": probe.force.to_string(),
        "demanded": probe.demands.to_string(),
    })
}

/// Why nothing is sent for a rule.
pub(super) fn nothing_to_send(rule: Option<&'static Rule>, us: Role) -> String {
    let (whom, other) = match us {
        Role::Client => ("a server", Role::Server),
        Role::Server => ("a client", Role::Client),
    };
    let id = rule.map_or("all", |rule| rule.id);
    if rule.is_some_and(|rule| !Probe::of(rule, other).is_empty()) {
        let how = if us == Role::Client { "test a client with --listen ADDR" } else { "test a server by its URL" };
        return format!("`{id}` cannot be broken towards {whom}: {how}");
    }
    format!("`{id}` is for each endpoint to set for itself, or cannot be broken by a peer: --list shows those that can")
}
