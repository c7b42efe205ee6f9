//! A server of another make, for the client under test.

use std::net::TcpStream;

use tungstenite::WebSocket;
use tungstenite::handshake::server::{Request, Response};

use crate::process::DEADLINE;

/// Accepts a connection, with the first subprotocol offered; gives the request too.
#[allow(clippy::result_large_err, reason = "tungstenite says what its callback answers")]
pub(crate) fn accept(stream: TcpStream) -> (WebSocket<TcpStream>, Request) {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut seen = None;
    let socket = tungstenite::accept_hdr(stream, |request: &Request, mut response: Response| {
        seen = Some(request.clone());
        if let Some(protocols) = request.headers().get("Sec-WebSocket-Protocol") {
            let first = protocols.to_str().unwrap().split(',').next().unwrap().parse().unwrap();
            response.headers_mut().insert("Sec-WebSocket-Protocol", first);
        }
        Ok(response)
    });
    (socket.unwrap(), seen.unwrap())
}
