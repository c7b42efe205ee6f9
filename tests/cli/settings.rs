//! Flags, environment and file: which comes first, and what is refused.

use std::fs;
use std::path::PathBuf;

use crate::process::{Ended, loopwire, run};

/// A configuration file that is gone when the test is over.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(name: &str, text: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn refused(outcome: &Ended, parts: &[&str]) {
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stdout.is_empty(), "{outcome:?}");
    for part in parts {
        assert!(outcome.stderr.contains(part), "{part:?} is not in {:?}", outcome.stderr);
    }
}

#[test]
fn a_flag_comes_before_the_environment_before_the_file_before_the_default() {
    let file =
        ConfigFile::new("order", "ping-interval = \"3s\"\n[echo]\nmax-message = 3\n[serve]\nmax-connections = 4\n");
    for (arguments, environment, expected) in [
        (&["echo"][..], None, "max-message = \"32MiB\" # default"),
        (&["echo", "--config", file.path()], None, "max-message = \"3\" # file"),
        (&["--config", file.path(), "echo"], None, "max-message = \"3\" # file"),
        (&["--config", file.path()], None, "max-connections = 4 # file"),
        (&["echo", "--config", file.path()], Some(("LOOPWIRE_MAX_MESSAGE", "2")), "max-message = \"2\" # environment"),
        (
            &["echo", "--config", file.path(), "--max-message", "1"],
            Some(("LOOPWIRE_MAX_MESSAGE", "2")),
            "max-message = \"1\" # flag",
        ),
        (&["echo", "--max-message=1"], Some(("LOOPWIRE_CONFIG", file.path())), "max-message = \"1\" # flag"),
        (&["echo"], Some(("LOOPWIRE_CONFIG", file.path())), "max-message = \"3\" # file"),
        (&["echo", "--config", file.path()], None, "ping-interval = \"3s\" # file"),
        (&["connect", "ws://localhost", "--config", file.path()], None, "ping-interval = \"3s\" # file"),
        (&["connect", "ws://localhost", "--config", file.path()], None, "max-message = \"32MiB\" # default"),
    ] {
        let mut command = loopwire(arguments);
        command.arg("--print-config").envs(environment);
        let outcome = run(command, b"");
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let stdout = String::from_utf8(outcome.stdout).unwrap();
        assert!(
            stdout.lines().any(|line| line == expected),
            "{arguments:?} {environment:?}: {expected} not in\n{stdout}"
        );
    }
}

#[test]
fn a_switch_that_the_file_sets_can_be_switched_off_again() {
    let file = ConfigFile::new("switch", "no-deflate = true\n");
    for (flag, environment, expected) in [
        (None, None, "no-deflate = true # file"),
        (None, Some(("LOOPWIRE_NO_DEFLATE", "no")), "no-deflate = false # environment"),
        (Some("--no-deflate=false"), None, "no-deflate = false # flag"),
        (Some("--no-deflate"), Some(("LOOPWIRE_NO_DEFLATE", "no")), "no-deflate = true # flag"),
    ] {
        let mut command = loopwire(&["echo", "--print-config", "--config", file.path()]);
        command.args(flag).envs(environment);
        let stdout = String::from_utf8(run(command, b"").stdout).unwrap();
        assert!(stdout.lines().any(|line| line == expected), "{expected} not in\n{stdout}");
    }
}

#[test]
fn what_print_config_prints_is_a_configuration_file() {
    for command in [
        &["echo"][..],
        &["serve"],
        &["connect", "ws://localhost"],
        &["autobahn", "client", "ws://localhost"],
        &["bench", "echo"],
        &["bench", "fanout"],
        &["bench", "idle"],
        &["bench", "connect"],
        &["bench", "push"],
        &["publish", "news", "text"],
        &["subscribe", "news"],
        &["explain", "8100"],
        &["rules"],
        &["tap", "127.0.0.1:0", "ws://localhost"],
        &["lint", "file"],
        &["replay", "file", "ws://localhost"],
        &["diff", "file", "file"],
        &["frame", "text fin"],
        &["violate", "all", "ws://localhost"],
    ] {
        let printed = run(loopwire(&[command, &["--print-config", "--log", "info"]].concat()), b"").stdout;
        let printed = String::from_utf8(printed).unwrap();
        let file = ConfigFile::new(&command.join("-").replace([':', '/'], ""), &printed);
        let again = run(loopwire(&[command, &["--print-config", "--config", file.path()]].concat()), b"");
        assert_eq!(again.code, Some(0), "{again:?}");
        let values = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.rsplit_once(" # ").unwrap_or((line, "")).0.to_owned()).collect()
        };
        assert_eq!(values(&String::from_utf8(again.stdout).unwrap()), values(&printed));
    }
}

#[test]
fn a_bad_file_is_refused_and_the_key_named() {
    for (name, text, parts) in [
        ("unknown", "pnig-interval = 5", &["`pnig-interval`", "no such setting"][..]),
        ("unknown-table", "[ecco]\nmax-message = 5", &["`ecco`", "no such setting or command"]),
        ("not-this-command", "[echo]\nagent = \"x\"", &["`echo.agent`", "no such setting"]),
        ("other-command", "[autobahn.client]\nagent = 5", &["`autobahn.client.agent`", "should be a string"]),
        ("config-itself", "config = \"x\"", &["`config`", "no such setting"]),
        ("wrong-type", "ping-interval = true", &["`ping-interval`", "it is a boolean"]),
        ("text-for-number", "max-fragments = \"5\"", &["`max-fragments`", "should be a whole number"]),
        ("text-for-switch", "no-deflate = \"yes\"", &["`no-deflate`", "should be true or false"]),
        ("number-for-text", "listen = 8080", &["`listen`", "should be a string or an array"]),
        ("array-for-one", "max-message = [1]", &["`max-message`", "it is an array"]),
        ("zero-size", "max-message = 0", &["`max-message`", "at least 1 byte"]),
        ("zero-count", "max-connections = 0", &["`max-connections`", "at least 1"]),
        ("zero-time", "pong-timeout = 0", &["`pong-timeout`", "longer than nothing"]),
        ("zero-or-off", "max-per-address = \"0\"", &["`max-per-address`", "off"]),
        ("negative", "max-head = -1", &["`max-head`", "number of bytes"]),
        ("out-of-range", "deflate-level = 10", &["`deflate-level`", "0..=9"]),
        ("no-such-choice", "overflow = \"wait\"", &["`overflow`", "drop, close"]),
        ("not-toml", "max-message 5", &["is not TOML", "line 1"]),
    ] {
        let file = ConfigFile::new(name, text);
        refused(&run(loopwire(&["echo", "--config", file.path()]), b""), &[&[file.path()], parts].concat());
    }
    refused(&run(loopwire(&["--config", "/nowhere/loopwire.toml"]), b""), &["cannot read /nowhere/loopwire.toml"]);
}

/// Whatever has a number, a size or a time for its value: 0 could be meant as no limit, and as nothing at all.
#[test]
fn a_limit_of_zero_is_refused_by_its_name() {
    let mut limits = std::collections::BTreeSet::new();
    for command in ["echo", "serve"] {
        let printed = String::from_utf8(run(loopwire(&[command, "--print-config"]), b"").stdout).unwrap();
        for (key, value) in printed.lines().filter_map(|line| line.split_once(" = ")) {
            let value = value.trim_start_matches('"');
            if value.starts_with("off") || value.starts_with(|first: char| first.is_ascii_digit()) {
                // Those that both have are read alike.
                limits.insert((key.to_owned(), command));
            }
        }
    }
    limits.retain({
        let mut seen = std::collections::BTreeSet::new();
        move |(key, _)| seen.insert(key.clone())
    });
    assert!(limits.len() > 50, "only {}", limits.len());
    for (key, command) in limits {
        let outcome = run(loopwire(&[command, &format!("--{key}"), "0", "--print-config"]), b"");
        if key == "deflate-level" {
            // No limit, but a choice: not to compress.
            assert_eq!(outcome.code, Some(0), "{outcome:?}");
        } else {
            refused(&outcome, &[&format!("--{key}")]);
        }
    }
}

#[test]
fn a_bad_variable_is_refused_by_its_name() {
    for (name, value, part) in [
        ("LOOPWIRE_MAX_MESSAGE", "0", "at least 1 byte"),
        ("LOOPWIRE_MAX_FRAGMENTS", "many", "whole number"),
        ("LOOPWIRE_NO_DEFLATE", "maybe", "not a boolean"),
        ("LOOPWIRE_LISTEN", "8080", "127.0.0.1:8080"),
    ] {
        let mut command = loopwire(&["echo"]);
        command.env(name, value);
        refused(&run(command, b""), &[name, part]);
    }
}

#[test]
fn a_variable_that_is_no_setting_is_pointed_out() {
    let mut command = loopwire(&["connect", "ws://127.0.0.1:1"]);
    command.env("LOOPWIRE_MAX_MESAGE", "5");
    let outcome = run(command, b"");
    assert!(outcome.stderr.contains("LOOPWIRE_MAX_MESAGE is no setting"), "{}", outcome.stderr);
}

#[test]
fn a_bad_flag_is_refused_by_its_name() {
    for (arguments, part) in [
        (&["echo", "--max-message", "0"][..], "--max-message"),
        (&["echo", "--max-mesage", "5"], "--max-message"),
        (&["echo", "--ping-interval", "soon"], "--ping-interval"),
        (&["echo", "--tls-cert", "cert.pem"], "--tls-key"),
        (&["echo", "--tls-key", "key.pem"], "--tls-cert"),
        (&["echo", "--self-signed", "--tls-cert", "a", "--tls-key", "b"], "--self-signed"),
        (&["echo", "--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"], "/nowhere/cert.pem"),
        (&["ecco"], "echo"),
        (&["connect"], "<URL>"),
        (&["connect", "http://localhost"], "ws:"),
        (&["connect", "ws://localhost", "--header", "no colon"], "--header"),
        (&["connect", "ws://localhost", "--header", "Sec-WebSocket-Key: x"], "Sec-WebSocket-Key"),
        (&["connect", "ws://localhost", "--proxy", "gopher://localhost"], "--proxy"),
        (&["connect", "wss://localhost", "--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
        (&["autobahn", "client", "ws://localhost", "--cases", "9-3"], "--cases"),
    ] {
        refused(&run(loopwire(arguments), b""), &[part]);
    }
}

#[test]
fn help_goes_to_standard_output_and_tells_defaults_variables_and_exit_codes() {
    let help = run(loopwire(&["echo", "--help"]), b"");
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    let text = String::from_utf8(help.stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "[env: LOOPWIRE_MAX_MESSAGE] [default: 32MiB]",
        "[default: 10s]",
        "Exit codes: 0",
        "possible values: drop, close",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let mut command = loopwire(&["connect", "--help"]);
    command.env("LOOPWIRE_HEADER", "Authorization: Bearer secret");
    assert!(!String::from_utf8(run(command, b"").stdout).unwrap().contains("secret"));
    let version = run(loopwire(&["--version"]), b"");
    assert_eq!(version.stdout, format!("loopwire {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}
