//! tokio-websockets, which masks and validates with the widest SIMD that it finds. A batch of answers leaves whole
//! instead of 8 KiB at a time.

use loopwire_peers::tokio::{echo, serve, serve_tls};
use loopwire_peers::{Arguments, Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_websockets::{Config, ServerBuilder};

fn main() {
    let arguments = Arguments::read(&[Mode::Echo, Mode::Tls]);
    match arguments.mode {
        Mode::Tls => serve_tls(arguments, connection),
        _ => serve(arguments, connection),
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let builder = ServerBuilder::new().config(Config::default().flush_threshold(128 * 1024));
    if let Ok((_, socket)) = builder.accept(stream).await {
        echo(socket, |message| message.ok().filter(|message| message.is_text() || message.is_binary())).await;
    }
}
