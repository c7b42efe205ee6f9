//! The parts of the data's way, each alone and beside the same part of others: masks, UTF-8, headers, a full buffer
//! of messages received, messages sent, messages sent to many, deflate.
//!
//! `cargo bench --bench parts -- mask` runs one group. Every figure is for one operation on warm caches, named
//! `group/what/who`. Who is not there has no such part that can be called from outside: tungstenite masks in private, and
//! validates text by what the standard library has; fastwebsockets does that with simdutf8.

use std::future::Future;
use std::hint::black_box;
use std::io::{self, Cursor, IoSlice, Read, Write};
use std::iter::repeat_with;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use loopwire::deflate::{Compressor, Decompressor, DeflateConfig};
use loopwire::handshake::{Acceptance, Request, Response, UpgradeRequest};
use loopwire::net::{Answer, Application, ConnectionId, NetConfig, PeerAddr, Readiness, Sessions, Stream, Transport};
use loopwire::protocol::{Closed, Config, Connection, Event, Input, Role, Scratch};
use loopwire::wire::{FrameHeader, MaskingKey, Opcode, PreparedMessage, Utf8Validator, apply_mask};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

const KEY: MaskingKey = MaskingKey([0x37, 0xfa, 0x21, 0x3d]);

fn mask(c: &mut Criterion) {
    let mut group = c.benchmark_group("mask");
    // Each stands where its header ends, as it does in a buffer that was read into.
    for (header, len) in [(6, 20), (6, 125), (8, 1024), (14, 64 * 1024)] {
        let mut buffer = vec![0x5a; header + len];
        let payload = &mut buffer[header..];
        let what = format!("{len} B");
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new(&what, "loopwire"), |b| {
            b.iter(|| apply_mask(black_box(&mut *payload), black_box(KEY)));
        });
        group.bench_function(BenchmarkId::new(&what, "fastwebsockets"), |b| {
            b.iter(|| fastwebsockets::unmask(black_box(&mut *payload), black_box(KEY.0)));
        });
    }
}

fn utf8(c: &mut Criterion) {
    let mut group = c.benchmark_group("utf8");
    let texts = [("ascii", "a plain line of text, nothing else. "), ("mixed", "κόσμε, 世界, 😀 and some ASCII. ")];
    for (name, text) in texts {
        for len in [128, 64 * 1024] {
            let text = text.repeat(len / text.len());
            let what = format!("{name}, {} B", text.len());
            group.throughput(Throughput::Bytes(text.len() as u64));
            let mut in_pieces_of = |piece: usize, what: &str| {
                group.bench_function(BenchmarkId::new(what, "loopwire"), |b| {
                    b.iter(|| {
                        let mut validator = Utf8Validator::new();
                        black_box(&text).as_bytes().chunks(piece).try_for_each(|piece| validator.push(piece))?;
                        validator.finish()
                    });
                });
            };
            // The others have no way to take a text up again that was cut inside a character.
            if text.len() > 1024 {
                in_pieces_of(64, &format!("{what} in pieces of 64 B"));
            }
            in_pieces_of(text.len(), &what);
            group.bench_function(BenchmarkId::new(&what, "std"), |b| {
                b.iter(|| std::str::from_utf8(black_box(text.as_bytes())).is_ok());
            });
            group.bench_function(BenchmarkId::new(&what, "simdutf8"), |b| {
                b.iter(|| simdutf8::basic::from_utf8(black_box(text.as_bytes())).is_ok());
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

        let what = format!("decode {} B", bytes.len());
        group.bench_function(BenchmarkId::new(&what, "loopwire"), |b| {
            b.iter(|| FrameHeader::decode(black_box(&bytes)));
        });
        group.bench_function(BenchmarkId::new(&what, "tungstenite"), |b| {
            b.iter(|| tungstenite::protocol::frame::FrameHeader::parse(&mut Cursor::new(black_box(&bytes))));
        });

        let what = format!("encode {} B", bytes.len());
        group.bench_function(BenchmarkId::new(&what, "loopwire"), |b| {
            b.iter(|| {
                bytes.clear();
                black_box(&header).encode(&mut bytes);
            });
        });
        let header = tungstenite::protocol::frame::FrameHeader {
            opcode: OpCode::Data(Data::Binary),
            mask: Some(KEY.0),
            ..Default::default()
        };
        group.bench_function(BenchmarkId::new(&what, "tungstenite"), |b| {
            b.iter(|| {
                bytes.clear();
                black_box(&header).format(black_box(len), &mut bytes)
            });
        });
        let payload = vec![0; len as usize];
        let mut frame =
            fastwebsockets::Frame::new(true, fastwebsockets::OpCode::Binary, Some(KEY.0), payload[..].into());
        let mut head = [0; FrameHeader::MAX_LEN];
        group.bench_function(BenchmarkId::new(&what, "fastwebsockets"), |b| {
            b.iter(|| black_box(&mut frame).fmt_head(black_box(&mut head)));
        });
    }
}

/// A server that gets a full buffer of a client's messages at once, one event at a time. That the bytes are copied once
/// is what a socket does too, and counts for all.
fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive");
    for len in [20, 1000, 64 * 1024] {
        let now = Instant::now();
        let mut client = Connection::new(Role::Client, Arc::default(), None, now);
        let (text, mut wire, mut count) = ("m".repeat(len), Vec::new(), 0);
        while count == 0 || wire.len() + len < 128 * 1024 {
            client.send(&text, &mut wire).unwrap();
            count += 1;
        }
        let what = format!("{count} texts of {len} B");
        group.throughput(Throughput::Elements(count));

        let mut server = Connection::new(Role::Server, Arc::default(), None, now);
        let (mut scratch, mut out, mut buffer) = (Scratch::new(), Vec::new(), wire.clone());
        group.bench_function(BenchmarkId::new(&what, "loopwire"), |b| {
            b.iter(|| {
                buffer.copy_from_slice(&wire);
                let mut input = Input::new(&mut buffer);
                let mut messages = 0;
                while let Some(Event::Message(message)) = server.receive(&mut input, &mut scratch, &mut out, now) {
                    black_box(message);
                    messages += 1;
                }
                assert_eq!(messages, count);
            });
        });
        // These read whenever they want more, so the stream begins anew by itself.
        let mut server = tungstenite(Memory { endless: true, ..Memory::of(wire.clone()) });
        group.bench_function(BenchmarkId::new(&what, "tungstenite"), |b| {
            b.iter(|| {
                for _ in 0..count {
                    black_box(server.read().unwrap());
                }
            });
        });
        let mut server = fastwebsockets(Memory { endless: true, ..Memory::of(wire) });
        group.bench_function(BenchmarkId::new(&what, "fastwebsockets"), |b| {
            b.iter(|| {
                at_once(async {
                    for _ in 0..count {
                        black_box(server.read_frame().await.unwrap());
                    }
                });
            });
        });
    }
}

/// A server's message, from the application to the stream, alone in its turn: whoever gathers what a turn sends to save
/// system calls pays for that here and saves nothing.
///
/// 64 KiB are a copy for tungstenite alone. Where it lands a few bytes behind where it came from, counted within a page,
/// that takes some processors of AMD's twenty times as long as elsewhere; how the memory lies decides it.
fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("send");
    for len in [20, 1000, 64 * 1024] {
        let (what, text) = (format!("text of {len} B"), "m".repeat(len));

        let mut sessions = Sessions::new(NetConfig::default(), None, None, Instant::now());
        let id = open(&mut sessions);
        group.bench_function(BenchmarkId::new(&what, "loopwire"), |b| {
            b.iter(|| {
                sessions.send(id, black_box(&text)).unwrap();
                sessions.flush(&mut Quiet);
            });
        });
        let mut server = tungstenite(Memory::default());
        let shared = tungstenite::Utf8Bytes::from(&text);
        group.bench_function(BenchmarkId::new(&what, "tungstenite"), |b| {
            b.iter(|| server.send(tungstenite::Message::Text(black_box(&shared).clone())).unwrap());
        });
        let mut server = fastwebsockets(Memory::default());
        group.bench_function(BenchmarkId::new(&what, "fastwebsockets"), |b| {
            b.iter(|| {
                let frame = fastwebsockets::Frame::text(black_box(text.as_bytes()).into());
                at_once(server.write_frame(frame)).unwrap();
            });
        });
    }
}

/// Texts of 128 bytes for a thousand receivers, one or several in a turn, up to the streams, which take all at once.
fn fan_out(c: &mut Criterion) {
    const RECEIVERS: usize = 1000;
    let mut group = c.benchmark_group("fan-out");
    for count in [1, 16] {
        let texts: Vec<_> = (0..count).map(|number| format!("{number:0128}")).collect();
        let what = format!("{count} to {RECEIVERS}");
        group.throughput(Throughput::Elements((count * RECEIVERS) as u64));

        let mut sessions = Sessions::new(NetConfig::default(), None, None, Instant::now());
        let ids: Vec<_> = repeat_with(|| open(&mut sessions)).take(RECEIVERS).collect();
        group.bench_function(BenchmarkId::new(&what, "loopwire, encoded once"), |b| {
            b.iter(|| {
                for text in &texts {
                    let message = PreparedMessage::new(black_box(text));
                    for id in &ids {
                        sessions.send_prepared(*id, &message).unwrap();
                    }
                }
                sessions.flush(&mut Quiet);
            });
        });
        group.bench_function(BenchmarkId::new(&what, "loopwire, encoded for each"), |b| {
            b.iter(|| {
                for text in &texts {
                    for id in &ids {
                        sessions.send(*id, black_box(text)).unwrap();
                    }
                }
                sessions.flush(&mut Quiet);
            });
        });

        // These share the payload, and encode for each.
        let mut servers: Vec<_> = repeat_with(|| tungstenite(Memory::default())).take(RECEIVERS).collect();
        let shared: Vec<_> = texts.iter().map(tungstenite::Utf8Bytes::from).collect();
        group.bench_function(BenchmarkId::new(&what, "tungstenite"), |b| {
            b.iter(|| {
                for text in &shared {
                    for server in &mut servers {
                        server.write(tungstenite::Message::Text(black_box(text).clone())).unwrap();
                    }
                }
                for server in &mut servers {
                    server.flush().unwrap();
                }
            });
        });
        // Each write is one to the stream: nothing is gathered.
        let mut servers: Vec<_> = repeat_with(|| fastwebsockets(Memory::default())).take(RECEIVERS).collect();
        group.bench_function(BenchmarkId::new(&what, "fastwebsockets"), |b| {
            b.iter(|| {
                at_once(async {
                    for text in &texts {
                        for server in &mut servers {
                            let frame = fastwebsockets::Frame::text(black_box(text.as_bytes()).into());
                            server.write_frame(frame).await.unwrap();
                        }
                    }
                });
            });
        });
    }
}

/// An open connection of these sessions.
fn open(sessions: &mut Sessions) -> ConnectionId {
    const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let stream = Memory::of(HANDSHAKE.to_vec());
    let id = sessions.accept(Transport::Other(Box::new(stream)), PeerAddr::Unknown).unwrap();
    sessions.ready(&mut Quiet, id, Readiness { readable: true, ..Readiness::default() }, sessions.now());
    sessions.flush(&mut Quiet);
    assert!(sessions.is_open(id));
    id
}

/// Accepts everybody and has nothing to say.
struct Quiet;

impl Application for Quiet {
    type Task = ();

    fn upgrade(&mut self, _: &mut Sessions, _: ConnectionId, _: &UpgradeRequest) -> Answer {
        Answer::Accept(Acceptance::default(), Arc::new(Config::default()))
    }

    fn request(&mut self, _: &mut Sessions, _: ConnectionId, _: &Request, _: &[u8]) -> Option<Response> {
        unreachable!("nobody asks")
    }

    fn opened(&mut self, _: &mut Sessions, _: ConnectionId) {}

    fn event(&mut self, _: &mut Sessions, _: ConnectionId, _: Event<'_>) {}

    fn closed(&mut self, _: &mut Sessions, _: ConnectionId, _: Closed) {}

    fn task(&mut self, _: &mut Sessions, (): ()) {}
}

fn tungstenite(stream: Memory) -> tungstenite::WebSocket<Memory> {
    tungstenite::WebSocket::from_raw_socket(stream, tungstenite::protocol::Role::Server, None)
}

fn fastwebsockets(stream: Memory) -> fastwebsockets::WebSocket<Memory> {
    fastwebsockets::WebSocket::after_handshake(stream, fastwebsockets::Role::Server)
}

/// A stream that is read from memory and takes whatever is written, in slices too, as a socket with room does.
#[derive(Debug, Default)]
struct Memory {
    bytes: Vec<u8>,
    at: usize,
    /// Whether the bytes come over and over again.
    endless: bool,
}

impl Memory {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.endless && self.at == self.bytes.len() {
            self.at = 0;
        }
        let len = (&self.bytes[self.at..]).read(buffer)?;
        self.at += len;
        if len == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(black_box(slices).iter().map(|slice| slice.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Memory {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let len = self.read(buffer.initialize_unfilled())?;
        buffer.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What a future that never waits comes to.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("there is nothing to wait for"),
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

            let (compress, inflate) = (format!("compress, {name}"), format!("inflate, {name}"));
            // A thousand streams would be half a gigabyte.
            let with_streams = takeover && connections <= 64;

            let (mut turn, mut out) = (0, Vec::new());
            group.bench_function(BenchmarkId::new(&compress, "loopwire"), |b| {
                b.iter(|| {
                    out.clear();
                    let message = &messages[turn / connections % messages.len()];
                    compressors[turn % connections].compress(message, true, &mut out);
                    turn += 1;
                });
            });
            if with_streams {
                let mut streams: Vec<_> = (0..connections).map(|_| Deflate::new(1, false, 15)).collect();
                let (mut turn, mut out) = (0, vec![0; 4096]);
                group.bench_function(BenchmarkId::new(&compress, "zlib-rs"), |b| {
                    b.iter(|| {
                        let message = &messages[turn / connections % messages.len()];
                        let stream = &mut streams[turn % connections];
                        turn += 1;
                        stream.compress(message, &mut out, DeflateFlush::SyncFlush)
                    });
                });
            }

            // Over and over from the first message: what it refers to is not what it was, but as far away.
            let mut turn = 0;
            group.bench_function(BenchmarkId::new(&inflate, "loopwire"), |b| {
                b.iter(|| {
                    out.clear();
                    let payload = &compressed[turn / connections % messages.len()];
                    let result = decompressors[turn % connections].decompress(payload, true, 1 << 20, &mut out);
                    turn += 1;
                    result
                });
            });
            if with_streams {
                // It wants what the end of a message leaves out [RFC 7692 §7.2.2].
                let whole: Vec<_> =
                    compressed.iter().map(|payload| [payload, &[0, 0, 0xff, 0xff][..]].concat()).collect();
                let mut streams: Vec<_> = (0..connections).map(|_| Inflate::new(false, 15)).collect();
                let (mut turn, mut out) = (0, vec![0; 4096]);
                group.bench_function(BenchmarkId::new(&inflate, "zlib-rs"), |b| {
                    b.iter(|| {
                        let payload = &whole[turn / connections % messages.len()];
                        let stream = &mut streams[turn % connections];
                        turn += 1;
                        stream.decompress(payload, &mut out, InflateFlush::SyncFlush).unwrap()
                    });
                });
            }
        }
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
    targets = mask, utf8, header, receive, send, fan_out, deflate
}
criterion_main!(parts);
