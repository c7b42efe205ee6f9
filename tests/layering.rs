//! The layers import downward only, and those that do no I/O have no way to: read off the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer, and those that it may import.
const LAYERS: [(&str, &[&str]); 10] = [
    ("wire", &[]),
    ("deflate", &["wire"]),
    ("handshake", &["wire", "deflate"]),
    ("protocol", &["wire", "deflate", "handshake"]),
    ("net", &["wire", "deflate", "handshake", "protocol"]),
    ("endpoint", &["wire", "deflate", "handshake", "protocol", "net"]),
    ("push", &["wire"]),
    ("store", &["push"]),
    ("gateway", &["wire", "deflate", "handshake", "protocol", "net", "endpoint", "push", "store"]),
    ("explain", &["wire", "deflate", "handshake", "protocol"]),
];

/// The layers that are pure: bytes and time come in as arguments.
const PURE: [&str; 6] = ["wire", "deflate", "handshake", "protocol", "push", "explain"];

/// What would be I/O, a clock, or a thread of their own. Addresses are values and are allowed.
const IMPURE: [&str; 18] = [
    "mio::",
    "socket2::",
    "std::fs",
    "std::process",
    "std::thread::spawn",
    "std::thread::sleep",
    "thread::spawn",
    "thread::sleep",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime",
    "println!",
    "std::env",
];

/// A source file: its path, and its lines without comments and without what stands behind `#[cfg(test)] mod tests`.
struct Source {
    path: PathBuf,
    lines: Vec<(usize, String)>,
}

fn sources(dir: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().enumerate().map(|(index, line)| (index + 1, line));
            let until_tests = code.take_while(|(_, line)| !line.starts_with("mod tests"));
            let lines = until_tests.map(|(number, line)| {
                let code = line.split("//").next().unwrap_or_default();
                (number, code.to_owned())
            });
            found.push(Source { lines: lines.collect(), path });
        }
    }
    found
}

fn of_layer(layer: &str) -> Vec<Source> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(layer);
    if dir.is_dir() { sources(&dir) } else { Vec::new() }
}

/// The layers that a piece of code names by `crate::`, also in lists such as `crate::{wire::Message, net}`.
fn named(code: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            // Those at the outermost depth.
            let (mut depth, mut start) = (0, true);
            for (at, character) in list.char_indices() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    _ if start && depth == 0 && !character.is_whitespace() => {
                        names.push(&list[at..at + word(&list[at..])]);
                        start = false;
                    }
                    _ => {}
                }
            }
        } else {
            names.push(&rest[..word(rest)]);
        }
    }
    names
}

#[test]
fn layers_import_downward_only() {
    let mut upward = Vec::new();
    let mut imports = 0;
    for (layer, allowed) in LAYERS {
        for source in of_layer(layer) {
            // Joined, as an import may be spread over lines.
            let code = source.lines.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
            for name in named(&code) {
                imports += 1;
                if name != layer && !allowed.contains(&name) {
                    upward.push(format!("{}: crate::{name}", source.path.display()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "imports that lead upward:\n{}", upward.join("\n"));
    assert!(imports > 50, "only {imports} imports found: this test has stopped looking");
}

#[test]
fn pure_layers_have_no_sockets_no_clock_and_no_threads() {
    let mut impure = Vec::new();
    for layer in PURE {
        let sources = of_layer(layer);
        assert!(!sources.is_empty(), "no sources of {layer}");
        for source in sources {
            for (number, line) in &source.lines {
                if let Some(word) = IMPURE.iter().find(|word| line.contains(**word)) {
                    impure.push(format!("{}:{number}: {word}", source.path.display()));
                }
            }
        }
    }
    assert!(impure.is_empty(), "not pure:\n{}", impure.join("\n"));
}

/// Clients choose names of channels, users and keys: a map of them must not be one that they can make slow.
#[test]
fn maps_are_hashed_with_a_key_that_nobody_knows() {
    let others =
        ["BuildHasherDefault", "with_hasher", "with_capacity_and_hasher", "DefaultHasher", "FxHash", "ahash", "fnv"];
    let mut maps = 0;
    for layer in ["push", "gateway", "store", "endpoint", "net"] {
        for source in of_layer(layer) {
            for (number, line) in &source.lines {
                maps += usize::from(line.contains("HashMap<"));
                let found = others.iter().find(|word| line.contains(**word));
                assert!(found.is_none(), "{}:{number}: {found:?}", source.path.display());
            }
        }
    }
    assert!(maps > 10, "only {maps} maps found: this test has stopped looking");
}

/// How long a comparison takes must not tell how much of a guess is right.
#[test]
fn secrets_are_not_compared_as_texts_are() {
    let mut mentions = 0;
    for source in of_layer("gateway") {
        for (number, line) in &source.lines {
            if [".api_key", "hmac_secret", "ours"].iter().any(|secret| line.contains(secret)) {
                mentions += 1;
                let compares =
                    ["==", "!=", ".eq(", ".ne(", "matches!", "contains(&"].iter().any(|by| line.contains(by));
                assert!(!compares, "{}:{number}: {line}", source.path.display());
            }
        }
    }
    assert!(mentions > 5, "only {mentions} mentions found: this test has stopped looking");
}

#[test]
fn every_folder_has_its_place_in_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_known = name == "cli" || LAYERS.iter().any(|(layer, _)| *layer == name);
        assert!(path.is_file() || is_known, "{name} has no place among the layers");
    }
}

#[test]
fn the_test_itself_sees_an_upward_import() {
    let code =
        "use crate::wire::Message;\nuse crate::{\n    net::{Sessions, crate_like},\n    protocol,\n};\ncrate::x()";
    assert_eq!(named(code), ["wire", "net", "protocol", "x"]);
}
