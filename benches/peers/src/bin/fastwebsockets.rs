//! fastwebsockets on the bare stream, without an HTTP server before it. It writes every frame at once, large ones
//! gathered with their header, and has no way to let answers leave together.

use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError};
use loopwire_peers::tokio::{serve, serve_tls, upgrade};
use loopwire_peers::{Arguments, Mode};
use tokio::io::{AsyncRead, AsyncWrite};

fn main() {
    let arguments = Arguments::read(&[Mode::Echo, Mode::Tls]);
    match arguments.mode {
        Mode::Tls => serve_tls(arguments, connection),
        _ => serve(arguments, connection),
    }
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> Result<(), WebSocketError> {
    upgrade(&mut stream, |_| None).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
