//! tokio-tungstenite with a buffer of 16 KiB to read into instead of 128, all of which it clears before each read: that
//! more than doubles what it does with small messages, and costs a tenth with large ones.

use loopwire_peers::tokio::{echo, serve, serve_tls};
use loopwire_peers::{Arguments, Mode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

fn main() {
    let arguments = Arguments::read(&[Mode::Echo, Mode::Tls]);
    match arguments.mode {
        Mode::Tls => serve_tls(arguments, connection),
        _ => serve(arguments, connection),
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
    if let Ok(socket) = accept_async_with_config(stream, Some(config)).await {
        echo(socket, |message| message.ok().filter(|message| message.is_text() || message.is_binary())).await;
    }
}
