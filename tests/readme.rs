//! The README says what is so: its commands are understood, its tables are those of the command itself. Its Rust is
//! compiled with the documentation's examples.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const README: &str = include_str!("../README.md");

/// What `loopwire` prints, given arguments as a shell reads them.
fn loopwire(arguments: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_loopwire"));
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOOPWIRE_") {
            command.env_remove(name);
        }
    }
    let script = format!("\"$0\" {arguments}");
    let output = command.args(["-c", &script]).arg(binary).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "loopwire {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The blocks of one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    README.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The rows of the table under a heading, as their cells.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let section = README.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// What the command takes for a setting that nobody has set.
fn defaults(command: &str) -> BTreeMap<String, String> {
    let printed = loopwire(&format!("{command} --print-config"));
    let settings = printed.lines().filter_map(|line| line.strip_suffix(" # default")?.split_once(" = "));
    let plain = |value: &str| value.trim_matches(['[', ']']).replace("\", \"", " ").trim_matches('"').to_owned();
    settings.map(|(key, value)| (key.to_owned(), plain(value))).collect()
}

#[test]
fn every_limit_stands_in_the_table_with_its_default() {
    let defaults = defaults("echo");
    let mut told = BTreeMap::new();
    for row in table("Limits and defaults") {
        let default = row[1].split(' ').next().unwrap();
        told.insert(row[0].trim_matches('`').to_owned(), default.to_owned());
    }
    let switches = |(_, value): &(&String, &String)| *value == "false";
    let limits: BTreeMap<_, _> =
        defaults.iter().filter(|setting| !switches(setting)).map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(told, limits);
}

#[test]
fn help_tells_every_setting_with_its_variable_and_its_default() {
    let benches = ["bench echo", "bench fanout", "bench push", "bench idle", "bench connect"];
    let others =
        ["serve", "publish", "subscribe", "echo", "connect", "tap", "replay", "frame", "violate", "autobahn client"];
    for command in others.into_iter().chain(benches) {
        let url = match command {
            "connect" | "autobahn client" => " ws://localhost/",
            "publish" | "subscribe" => " news",
            "violate" => " all ws://localhost/",
            "replay" => " day.jsonl ws://localhost/",
            "tap" => " 127.0.0.1:9001 ws://localhost/",
            _ => "",
        };
        // What stands before the next flag is about this one; its lines are as wide as the terminal.
        let help = loopwire(&format!("{command} --help"))
            .replace("\n  -c, --", "\n      --")
            .replace("\n  -s, --", "\n      --");
        let about = |part: &str| part.split_whitespace().collect::<Vec<_>>().join(" ");
        let parts: BTreeMap<_, _> = (help.split("\n      --").skip(1))
            .map(|part| part.split_at(part.find([' ', '[', '\n']).unwrap()))
            .map(|(flag, part)| (flag, about(part)))
            .collect();
        let settings = defaults(&format!("{command}{url}"));
        assert!(settings.len() > 3, "{command}: {settings:?}");
        for (key, value) in &settings {
            let part = parts.get(key.as_str()).unwrap_or_else(|| panic!("{command} --help tells nothing of {key}"));
            let variable = format!("[env: LOOPWIRE_{}]", key.to_uppercase().replace('-', "_"));
            assert!(part.contains(&variable), "{command} --{key}: {part}");
            assert!(value == "false" || part.contains(&format!("[default: {value}]")), "{command} --{key}: {part}");
        }
    }
}

#[test]
fn every_exit_code_is_the_one_that_help_tells() {
    let help = loopwire("--help").split_whitespace().collect::<Vec<_>>().join(" ");
    let codes = help.split("Exit codes: ").nth(1).unwrap();
    let told: Vec<String> =
        table("Exit codes").iter().map(|row| format!("{} {}", row[0], row[1].replace('`', ""))).collect();
    assert_eq!(told.join(" "), codes);
}

#[test]
fn every_command_is_understood() {
    let mut commands = 0;
    for line in blocks("console").iter().flat_map(|block| block.lines()) {
        let Some((_, after)) = line.split_once("loopwire ") else { continue };
        if !line.starts_with("$ ") || line.contains("cargo ") {
            continue;
        }
        let command = after.split(['#', '|', '<', '>']).next().unwrap();
        // That file is the reader's own, and the question is whether the command would be run.
        let command = command.replace("--config loopwire.toml", "").replace("--print-config", "");
        loopwire(&format!("{} --print-config", command.trim()));
        commands += 1;
    }
    assert!(commands >= 6, "{commands}");
}

#[test]
fn a_frame_is_explained_as_it_is_told() {
    let block = blocks("console").into_iter().find(|block| block.starts_with("$ loopwire explain ")).unwrap();
    let (command, told) = block.split_once('\n').unwrap();
    assert_eq!(loopwire(command.strip_prefix("$ loopwire ").unwrap()), told);
}

#[test]
fn the_configuration_file_is_accepted_and_does_what_is_told() {
    let path = std::env::temp_dir().join(format!("loopwire-readme.{}.toml", std::process::id()));
    fs::write(&path, blocks("toml")[0]).unwrap();
    let printed = loopwire(&format!("echo --config '{}' --print-config", path.display()));
    fs::write(&path, blocks("toml")[1]).unwrap();
    loopwire(&format!("checkconfig '{}'", path.display()));
    fs::remove_file(&path).unwrap();
    for line in
        ["ping-interval = \"20s\" # file", "max-message = \"4MiB\" # file", "listen = [\"127.0.0.1:9001\"] # file"]
    {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
}
