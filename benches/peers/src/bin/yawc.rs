//! yawc with the buffers of its own benchmark: 128 KiB to read into, 64 KiB of answers before it writes by itself.

use std::io;

use loopwire_peers::tokio::{echo, serve, serve_tls, upgrade};
use loopwire_peers::{Arguments, Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use yawc::{Frame, OpCode, Options, Role, WebSocket};

fn main() {
    let arguments = Arguments::read(&[Mode::Echo, Mode::Deflate, Mode::Tls]);
    match arguments.mode {
        Mode::Deflate => serve(arguments, compressed),
        Mode::Tls => serve_tls(arguments, connection),
        _ => serve(arguments, connection),
    }
}

fn options() -> Options {
    Options::default()
        .with_utf8()
        .with_limits(4 << 20, 8 << 20)
        .with_read_buffer_capacity(128 << 10)
        .with_backpressure_boundary(64 << 10)
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    upgrade(&mut stream, |_| None).await?;
    let socket = WebSocket::from_stream(stream, Role::Server, options()).map_err(io::Error::other)?;
    echo(socket, data).await;
    Ok(())
}

/// With its settings for low latency, which are the fastest level.
async fn compressed<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> io::Result<()> {
    let mut agreed = None;
    upgrade(&mut stream, |offers| {
        agreed = agree(offers);
        agreed.clone()
    })
    .await?;
    let options = options().with_low_latency_compression();
    let socket = WebSocket::from_stream_with_extensions(stream, Role::Server, agreed.as_deref(), options);
    echo(socket.map_err(io::Error::other)?, data).await;
    Ok(())
}

/// The first offer of permessage-deflate, with those parameters that cost nothing to grant.
fn agree(offers: &str) -> Option<String> {
    let offer = offers.split(',').map(str::trim).find(|offer| offer.starts_with("permessage-deflate"))?;
    let granted = ["server_no_context_takeover", "client_no_context_takeover"];
    let granted = offer.split(';').map(str::trim).filter(|parameter| granted.contains(parameter));
    Some(["permessage-deflate"].into_iter().chain(granted).collect::<Vec<_>>().join("; "))
}

fn data(frame: Frame) -> Option<Frame> {
    matches!(frame.opcode(), OpCode::Text | OpCode::Binary).then_some(frame)
}
