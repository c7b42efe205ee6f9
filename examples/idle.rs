//! Measures what an idle connection costs: the memory of a server before and after so many clients have connected.
//!
//! ```sh
//! cargo run --release --example idle -- 10000            # as client libraries ask
//! cargo run --release --example idle -- 10000 browser    # as browsers do, with longer heads
//! ```
//!
//! The clients live in a process of their own, so that only the server's side is measured; what the kernel holds for the
//! sockets is not in these figures.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use loopwire::{Handler, Message, Server, WebSocket};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        let _ = ws.send(message);
    }
}

/// What a client library sends, and what a browser sends.
const LIBRARY: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
    User-Agent: Python/3.13 websockets/15.0.1\r\n\r\n";
const BROWSER: &str = "GET /chat HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: Upgrade\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/140.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\nOrigin: http://127.0.0.1:8080\r\n\
    Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().map_or(Ok(10_000), |count| count.parse()).map_err(io::Error::other)?;
    let kind = args.next().unwrap_or_else(|| "library".into());
    let request = if kind == "browser" { BROWSER } else { LIBRARY };
    match args.next() {
        Some(addr) => connect(&addr, count, request),
        None => serve(count, &kind, request),
    }
}

fn serve(count: usize, kind: &str, request: &str) -> io::Result<()> {
    let server = Server::builder().listen("127.0.0.1:0").build()?;
    let addr = server.local_addr().ok_or(io::ErrorKind::AddrNotAvailable)?.to_string();
    let handle = server.handle();
    let thread = std::thread::spawn(move || server.run(Echo));

    // The first one pays for what all share.
    let mut first = open(&addr, request)?;
    exchange(&mut first)?;
    let before = resident()?;
    let mut clients = Command::new(std::env::current_exe()?)
        .args([&count.to_string(), kind, &addr])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(clients.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line)?;
    let after = resident()?;
    println!(
        "{count} idle connections: {} KiB before, {} KiB after, {} bytes each",
        before / 1024,
        after / 1024,
        after.saturating_sub(before) / count.max(1)
    );
    drop(clients.stdin.take());
    clients.wait()?;
    handle.shutdown(std::time::Duration::ZERO);
    thread.join().map_err(|_| io::Error::other("the server panicked"))?
}

/// Opens the connections, has each exchange a message, says so, and holds them until the input ends.
fn connect(addr: &str, count: usize, request: &str) -> io::Result<()> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = open(addr, request)?;
        exchange(&mut stream)?;
        streams.push(stream);
    }
    println!("all are open");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn open(addr: &str, request: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(stream)
}

fn exchange(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"\x81\x85\0\0\0\0Hello")?;
    stream.read_exact(&mut [0; 7])
}

/// This process's resident memory in bytes.
fn resident() -> io::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or(io::ErrorKind::InvalidData)?;
    let number = line.split_whitespace().next().ok_or(io::ErrorKind::InvalidData)?;
    number.parse::<usize>().map(|kib| kib * 1024).map_err(io::Error::other)
}
