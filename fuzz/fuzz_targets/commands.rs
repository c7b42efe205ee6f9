//! Messages of the Centrifugo protocol: each command is the same alone as among others; JSON is what serde_json reads
//! into a value, with the same id; what is sent on to JSON clients is one line of JSON with the same data in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopwire::gateway::fuzzing::{Command, decode};
use loopwire::push::Kind;
use serde_json::Value;

const MAX_COMMANDS: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, message)) = bytes.split_first() else { return };
    let is_protobuf = choice & 1 == 1;
    let Ok(commands) = decode(is_protobuf, message, MAX_COMMANDS) else { return };
    let items = if is_protobuf { prefixed(message) } else { lines(message) };
    assert!(items.len() == commands.len() && items.len() <= MAX_COMMANDS, "{items:?} and {commands:?}");
    for (item, command) in items.into_iter().zip(commands) {
        if !is_protobuf {
            check_json(item, &command);
        }
        if let Some((data, sent_on)) = &command.data {
            assert!(!sent_on.contains(['\n', '\r']), "{sent_on}");
            let value = parse(sent_on);
            if data.kind == Kind::Text
                && let Some(value) = value
            {
                assert_eq!(value["push"]["message"]["data"].as_str().map(str::as_bytes), Some(&data.bytes[..]));
            }
        }
        assert_eq!(decode(is_protobuf, item, 1), Ok(vec![command]));
    }
});

fn check_json(line: &[u8], command: &Command) {
    let text = std::str::from_utf8(line).expect("JSON is UTF-8");
    let Some(value) = parse(text) else { return };
    let object = value.as_object().expect("a command is an object");
    assert_eq!(object.get("id").and_then(Value::as_u64).unwrap_or(0), u64::from(command.id), "{text}");
}

/// `None` where only a value cannot be had: it has no room for the number, half a character, or the depth.
fn parse(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(error) => {
            let error = error.to_string();
            let is_syntax =
                !["out of range", "surrogate", "hex escape", "recursion"].iter().any(|known| error.contains(known));
            assert!(!is_syntax, "{error} in {text}");
            None
        }
    }
}

fn lines(message: &[u8]) -> Vec<&[u8]> {
    message.strip_suffix(b"\n").unwrap_or(message).split(|&byte| byte == b'\n').collect()
}

/// Items behind their lengths, each with its length.
fn prefixed(mut message: &[u8]) -> Vec<&[u8]> {
    let mut items = Vec::new();
    while !message.is_empty() {
        let bytes = message.iter().position(|byte| byte & 0x80 == 0).expect("a length has an end") + 1;
        let length = message[..bytes].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        let (item, rest) = message.split_at(bytes + length);
        items.push(item);
        message = rest;
    }
    items
}
