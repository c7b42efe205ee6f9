//! The parts of the data's way, each alone: masks, UTF-8, headers, a connection decoding a full buffer, deflate.
//!
//! `cargo bench --bench parts -- mask` runs one group. Every figure is for one operation on warm caches.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use loopwire::deflate::{Compressor, Decompressor, DeflateConfig};
use loopwire::protocol::{Config, Connection, Event, Input, Role, Scratch};
use loopwire::wire::{FrameHeader, MaskingKey, Opcode, Utf8Validator, apply_mask};
use zlib_rs::{Deflate, DeflateFlush};

const KEY: MaskingKey = MaskingKey([0x37, 0xfa, 0x21, 0x3d]);

fn mask(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    for len in [20, 125, 1024, 64 * 1024] {
        let mut payload = vec![0x5a; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(format!("{len} B"), |b| b.iter(|| apply_mask(black_box(&mut payload), KEY)));
    }
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    let texts = [("ascii", "a plain line of text, nothing else. "), ("mixed", "κόσμε, 世界, 😀 and some ASCII. ")];
    for (name, text) in texts {
        let text = text.repeat(64 * 1024 / text.len());
        for chunk in [64, text.len()] {
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{name}, {chunk} B at a time"), |b| {
                b.iter(|| {
                    let mut validator = Utf8Validator::new();
                    black_box(&text).as_bytes().chunks(chunk).try_for_each(|piece| validator.push(piece))
                });
            });
        }
    }
}

fn header(c: &mut Criterion) {
    let mut group = c.benchmark_group("header");
    for len in [20, 1000, 100_000] {
        let header = FrameHeader { masking_key: Some(KEY), ..FrameHeader::new(Opcode::Binary, len) };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        group.bench_function(format!("decode, {} B", bytes.len()), |b| {
            b.iter(|| FrameHeader::decode(black_box(&bytes)));
        });
        group.bench_function(format!("encode, {} B", bytes.len()), |b| {
            b.iter(|| {
                bytes.clear();
                black_box(&header).encode(&mut bytes);
            });
        });
    }
}

/// A server that reads a full buffer of a client's messages, one event at a time.
fn connection(c: &mut Criterion) {
    let mut group = c.benchmark_group("connection");
    for len in [20, 1000, 64 * 1024] {
        let count = (256 * 1024 / len).max(1);
        let mut client = Connection::new(Role::Client, Arc::default(), None, Instant::now());
        let mut wire = Vec::new();
        for _ in 0..count {
            client.send(&"m".repeat(len), &mut wire).unwrap();
        }
        let now = Instant::now();
        let mut server = Connection::new(Role::Server, Arc::default(), None, now);
        let (mut scratch, mut out) = (Scratch::new(), Vec::new());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("receive text of {len} B"), |b| {
            b.iter_batched_ref(
                || wire.clone(),
                |wire| {
                    let mut input = Input::new(wire);
                    let mut messages = 0;
                    while let Some(Event::Message(message)) = server.receive(&mut input, &mut scratch, &mut out, now) {
                        black_box(message);
                        messages += 1;
                    }
                    assert_eq!(messages, count);
                },
                BatchSize::LargeInput,
            );
        });

        let mut server = Connection::new(Role::Server, Arc::new(Config::default()), None, now);
        let message = "m".repeat(len);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("send text of {len} B"), |b| {
            b.iter(|| {
                out.clear();
                server.send(black_box(&message), &mut out)
            });
        });
    }
}

/// Messages of about 200 bytes, of one kind, as a market feed sends them.
fn quotes() -> Vec<Vec<u8>> {
    (0..256_u64)
        .map(|i| {
            let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            format!(
                r#"{{"type":"publication","channel":"quotes:{}","offset":{},"data":{{"symbol":"{}","bid":{}.{:02},"ask":{}.{:02},"volume":{},"time":"2024-03-{:02}T12:{:02}:{:02}.{:03}Z","venue":"XETR"}}}}"#,
                ["DE0007164600", "US0378331005", "NL0010273215"][(noise % 3) as usize],
                100_000 + i,
                ["SAP", "AAPL", "ASML"][(noise % 3) as usize],
                noise % 900,
                noise % 97,
                noise % 900,
                noise % 89,
                noise % 100_000,
                1 + noise % 28,
                noise % 60,
                noise % 59,
                noise % 997,
            )
            .into_bytes()
        })
        .collect()
}

/// Five or six quotes in one message: about 1 KiB.
fn batches() -> Vec<Vec<u8>> {
    let quotes = quotes();
    (0..quotes.len())
        .map(|i| [0, 7, 31, 101, 158].map(|step| quotes[(i + step) % quotes.len()].clone()).join(&b','))
        .collect()
}

/// Messages compressed and inflated by connections that take turns, with the windows that a server asks for; beside
/// them zlib-rs with a stream for each connection, which knows 32 KiB of the past and costs 430 KB.
fn deflate(c: &mut Criterion) {
    // (its name, how many connections take turns, context takeover)
    let rows =
        [("alone", 1, true), ("64 in turns", 64, true), ("1000 in turns", 1000, true), ("no takeover", 64, false)];
    for (kind, messages) in [("quote", quotes()), ("batch", batches())] {
        let mut group = c.benchmark_group(format!("deflate {kind}"));
        for (name, connections, takeover) in rows {
            let config = DeflateConfig::default();
            let mut compressors: Vec<_> = (0..connections).map(|_| Compressor::new(15, takeover, &config)).collect();
            let mut decompressors: Vec<_> = (0..connections).map(|_| Decompressor::new(11, takeover)).collect();

            // What every connection's peer sends: all messages, in the same order.
            let mut peer = Compressor::new(11, takeover, &config);
            let compressed: Vec<_> = messages.iter().map(|message| compress(&mut peer, message)).collect();
            let before: usize = messages.iter().map(Vec::len).sum();
            let after: usize = compressed.iter().map(Vec::len).sum();
            println!("{kind}, {name}: {} B become {} B", before / messages.len(), after / messages.len());

            let (mut turn, mut out) = (0, Vec::new());
            group.bench_function(format!("compress, {name}"), |b| {
                b.iter(|| {
                    out.clear();
                    let message = &messages[turn / connections % messages.len()];
                    compressors[turn % connections].compress(message, true, &mut out);
                    turn += 1;
                });
            });
            let mut turn = 0;
            group.bench_function(format!("inflate, {name}"), |b| {
                b.iter(|| {
                    out.clear();
                    // Over and over from the first message: what it refers to is not what it was, but as far away.
                    let payload = &compressed[turn / connections % messages.len()];
                    let result = decompressors[turn % connections].decompress(payload, true, 1 << 20, &mut out);
                    turn += 1;
                    result
                });
            });
        }

        let (mut streams, mut turn): (Vec<_>, _) = ((0..64).map(|_| Deflate::new(1, false, 15)).collect(), 0);
        let mut out = vec![0; 4096];
        group.bench_function("compress by a stream each, 64 in turns", |b| {
            b.iter(|| {
                let message = &messages[turn / streams.len() % messages.len()];
                let stream = turn % streams.len();
                turn += 1;
                streams[stream].compress(message, &mut out, DeflateFlush::SyncFlush)
            });
        });
    }
}

fn compress(compressor: &mut Compressor, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compressor.compress(message, true, &mut out);
    out
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! {
    name = parts;
    config = quick();
    targets = mask, utf8, header, connection, deflate
}
criterion_main!(parts);
