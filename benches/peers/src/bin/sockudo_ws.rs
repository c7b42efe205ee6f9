//! sockudo-ws without timers. Answers are queued; reading on writes them. Without mimalloc, which it recommends: that
//! was no faster here, and made an idle connection cost 85 KB instead of 12.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use loopwire_peers::tokio::{serve, serve_tls, upgrade};
use loopwire_peers::{Arguments, Mode};
use sockudo_ws::deflate::{DeflateConfig, negotiate_server_deflate};
use sockudo_ws::stream::CompressedWebSocketStream;
use sockudo_ws::{Config, Error, Message, WebSocketStream};
use tokio::io::{AsyncRead, AsyncWrite};

fn main() {
    let arguments = Arguments::read(&[Mode::Echo, Mode::Deflate, Mode::Tls]);
    match arguments.mode {
        Mode::Deflate => serve(arguments, compressed),
        Mode::Tls => serve_tls(arguments, connection),
        _ => serve(arguments, connection),
    }
}

fn config() -> Config {
    Config::builder().auto_ping(false).idle_timeout(0).build()
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<(), Error> {
    upgrade(&mut stream, |_| None).await?;
    echo(WebSocketStream::server(stream, config())).await
}

/// With the fastest level, and whatever is offered.
async fn compressed<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<(), Error> {
    let policy = DeflateConfig { compression_level: 1, ..DeflateConfig::default() };
    let mut agreed = None;
    upgrade(&mut stream, |offers| {
        let negotiation = negotiate_server_deflate(offers, &policy)?;
        let header = negotiation.to_response_header();
        agreed = Some(negotiation.config);
        Some(header)
    })
    .await?;
    match agreed {
        Some(deflate) => echo(CompressedWebSocketStream::server(stream, config(), deflate)).await,
        None => echo(WebSocketStream::server(stream, config())).await,
    }
}

async fn echo<S>(mut socket: S) -> Result<(), Error>
where
    S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.feed(message).await?,
            Message::Close(_) => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}
