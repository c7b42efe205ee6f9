//! The frame header against a second reading of [RFC 6455 §5.2], written as plainly as possible.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loopwire::wire::FrameHeader;

/// What the RFC says of these bytes: how long the header is, and how long the payload.
#[derive(Debug, PartialEq)]
enum Reading {
    Header { len: usize, payload: u64 },
    Incomplete,
    Wrong,
}

fn read(bytes: &[u8]) -> Reading {
    let Some(&first) = bytes.first() else { return Reading::Incomplete };
    let opcode = first & 0x0F;
    let is_control = opcode >= 8;
    if !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10) || (is_control && first < 0x80) {
        return Reading::Wrong;
    }
    let Some(&second) = bytes.get(1) else { return Reading::Incomplete };
    let (short, masked) = (second & 0x7F, second >= 0x80);
    if is_control && short > 125 {
        return Reading::Wrong;
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if short == 127 && bytes.get(2).is_some_and(|byte| *byte >= 0x80) {
        return Reading::Wrong;
    }
    let Some(field) = bytes.get(2..2 + extended) else { return Reading::Incomplete };
    let long = field.iter().fold(0, |value: u64, byte| (value << 8) | u64::from(*byte));
    let (payload, least) = match extended {
        0 => (u64::from(short), 0),
        2 => (long, 126),
        _ => (long, 65_536),
    };
    if payload < least {
        return Reading::Wrong;
    }
    let len = 2 + extended + if masked { 4 } else { 0 };
    if bytes.len() < len { Reading::Incomplete } else { Reading::Header { len, payload } }
}

fuzz_target!(|bytes: &[u8]| {
    let decoded = FrameHeader::decode(bytes);
    let reading = match &decoded {
        Ok(Some((header, len))) => Reading::Header { len: *len, payload: header.payload_len },
        Ok(None) => Reading::Incomplete,
        Err(_) => Reading::Wrong,
    };
    assert_eq!(reading, read(bytes));

    if let Ok(Some((header, len))) = &decoded {
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        assert_eq!(encoded, bytes[..*len], "a header has one encoding");
    }
    // What was found early stays found, and nothing is found before it is there.
    for cut in 0..bytes.len() {
        match FrameHeader::decode(&bytes[..cut]) {
            Ok(None) => {}
            early => assert_eq!(early, decoded, "cut at {cut}"),
        }
    }
});
