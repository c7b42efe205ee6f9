//! A compressed broadcast through a server: compressed once per window size, whoever receives it and whatever was said
//! before.

mod support;

use std::io::Read;

use loopwire::deflate::{Compressor, Decompressor, DeflateConfig};
use loopwire::{PreparedMessage, Server};
use support::{Raw, Running, masked, request_with, teller};

fn open(server: &Running, extensions: &str) -> Raw {
    let mut raw = server.raw();
    raw.send(request_with("/", extensions));
    let head = raw.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    raw
}

/// The next frame, of up to 65,535 bytes.
fn frame(raw: &mut Raw) -> Vec<u8> {
    let mut frame = vec![0; 2];
    raw.0.read_exact(&mut frame).unwrap();
    let len = match frame[1] {
        126 => {
            let mut len = [0; 2];
            raw.0.read_exact(&mut len).unwrap();
            frame.extend_from_slice(&len);
            usize::from(u16::from_be_bytes(len))
        }
        len => usize::from(len),
    };
    let start = frame.len();
    frame.resize(start + len, 0);
    raw.0.read_exact(&mut frame[start..]).unwrap();
    frame
}

fn payload(frame: &[u8]) -> &[u8] {
    if frame[1] == 126 { &frame[4..] } else { &frame[2..] }
}

fn words(seed: u32) -> String {
    (0..60).map(|n| format!("item {:03}", (n * 7919 + seed * 104_729) % 1000)).collect::<Vec<_>>().join("; ")
}

#[test]
fn one_compressed_frame_serves_every_receiver_with_that_window() {
    let (teller, ear) = teller();
    let server = Running::start(Server::builder(), teller);
    let offer = |parameters: &str| format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
    let mut wide: Vec<_> = (0..3).map(|_| open(&server, &offer(""))).collect();
    let mut narrow: Vec<_> = (0..2).map(|_| open(&server, &offer("; server_max_window_bits=10"))).collect();
    let mut plain = open(&server, "");
    for _ in 0..6 {
        ear.opened();
    }

    // Each has a past of its own, to which a compressor of its own would refer.
    let mut windows: Vec<_> = (0..5).map(|_| Decompressor::new(15, true)).collect();
    for (n, raw) in wide.iter_mut().chain(&mut narrow).enumerate() {
        let past = words(n as u32);
        raw.send(masked(0x81, past.as_bytes()));
        let echoed = frame(raw);
        assert_eq!(echoed[0], 0xC1);
        let mut out = Vec::new();
        windows[n].decompress(payload(&echoed), true, 1 << 20, &mut out).unwrap();
        assert_eq!(out, past.as_bytes());
    }

    // What stands in the message already is sent as it is; what the server compresses itself is shorter.
    let text = &words(99);
    let message = PreparedMessage::new(text);
    let stored = |payload: &[u8]| {
        let mut out = Vec::new();
        Compressor::new(15, false, &DeflateConfig::default().level(0)).compress(payload, true, &mut out);
        out
    };
    let prepared = message.compressed_frame(15, stored);
    assert!(prepared.as_ref().len() > text.len());
    server.handle.broadcast(&message).unwrap();

    let narrow_frames: Vec<_> = narrow.iter_mut().map(frame).collect();
    assert_eq!(narrow_frames[0], narrow_frames[1]);
    assert!(narrow_frames[0].len() < text.len() * 3 / 4, "compressed for its own window");
    // Asked for once more, it is there.
    let cached = message.compressed_frame(10, |_| unreachable!("compressed twice"));
    assert_eq!(cached.as_ref(), narrow_frames[0]);
    let wide_frames: Vec<_> = wide.iter_mut().map(frame).collect();
    assert!(wide_frames.iter().all(|frame| frame == prepared.as_ref()));
    assert_eq!(payload(&frame(&mut plain)), text.as_bytes());

    // And every receiver's window goes on from there.
    for (n, (raw, broadcast)) in
        wide.iter_mut().chain(&mut narrow).zip(wide_frames.iter().chain(&narrow_frames)).enumerate()
    {
        let mut out = Vec::new();
        windows[n].decompress(payload(broadcast), true, 1 << 20, &mut out).unwrap();
        assert_eq!(out, text.as_bytes());
        raw.send(masked(0x81, text.as_bytes()));
        let echoed = frame(raw);
        assert!(echoed.len() < narrow_frames[0].len() / 4, "it refers to the broadcast");
        out.clear();
        windows[n].decompress(payload(&echoed), true, 1 << 20, &mut out).unwrap();
        assert_eq!(out, text.as_bytes());
    }
}
