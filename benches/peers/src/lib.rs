//! What the servers have in common: their arguments, their listener, and the opening handshake for those that have none.

pub mod tokio;

use std::env;
use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::exit;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};
use socket2::{Domain, Socket, Type};

/// What a server is to do with the messages that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each message back to its sender.
    Echo,
    /// Each message to all connections.
    Broadcast,
    /// As echo, with permessage-deflate.
    Deflate,
    /// As echo, over TLS.
    Tls,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Echo, Self::Broadcast, Self::Deflate, Self::Tls];
}

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Broadcast => "broadcast",
            Self::Deflate => "deflate",
            Self::Tls => "tls",
        })
    }
}

/// `SERVER PORT [MODE [SIZE]]`, as given on the command line.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// Where on 127.0.0.1 to listen.
    pub port: u16,
    /// One of those that the server can do.
    pub mode: Mode,
    /// The payload of every message that will come, in bytes: only the floor needs to know.
    pub size: usize,
}

impl Arguments {
    /// Reads the command line; ends the process with 2 if it makes no sense or asks for what the server cannot do.
    pub fn read(can: &[Mode]) -> Self {
        Self::parse(env::args().skip(1), can).unwrap_or_else(|message| {
            eprintln!("{message}");
            exit(2);
        })
    }

    fn parse(mut given: impl Iterator<Item = String>, can: &[Mode]) -> Result<Self, String> {
        let usage =
            || format!("usage: PORT [{}] [SIZE]", can.iter().map(Mode::to_string).collect::<Vec<_>>().join("|"));
        let port = given.next().and_then(|port| port.parse().ok()).ok_or_else(usage)?;
        let mode = match given.next() {
            None => Mode::Echo,
            Some(name) => Mode::ALL.into_iter().find(|mode| mode.to_string() == name).ok_or_else(usage)?,
        };
        if !can.contains(&mode) {
            return Err(format!("this peer cannot {mode}"));
        }
        let size = given.next().map_or(Ok(0), |size| size.parse()).map_err(|_| usage())?;
        Ok(Self { port, mode, size })
    }
}

/// A non-blocking listener on 127.0.0.1 whose queue holds a burst of thousands of connections.
pub fn listen(port: u16) -> TcpListener {
    let listener = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
        socket.listen(4096)?;
        Ok::<TcpListener, std::io::Error>(socket.into())
    };
    listener().unwrap_or_else(|error| {
        eprintln!("cannot listen on port {port}: {error}");
        exit(1);
    })
}

/// The request of an opening handshake. Nothing is judged: the load generator's requests are known to be right.
#[derive(Debug)]
pub struct Request<'a> {
    key: &'a str,
    /// The extensions that the client offers, as it wrote them.
    pub offers: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// `None` until the request is complete.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
        let field = |wanted: &str| {
            text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim())
            })
        };
        Some(Self { key: field("Sec-WebSocket-Key")?, offers: field("Sec-WebSocket-Extensions") })
    }

    /// Agrees to everything, and to `extension`.
    pub fn answer(&self, extension: Option<&str>) -> String {
        let field = extension.map(|extension| format!("Sec-WebSocket-Extensions: {extension}\r\n")).unwrap_or_default();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{field}\r\n",
            accept(self.key)
        )
    }
}

/// [RFC 6455 §4.2.2]
fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(u16, Mode, usize), String> {
        let parsed = Arguments::parse(line.split_whitespace().map(str::to_owned), &[Mode::Echo, Mode::Tls])?;
        Ok((parsed.port, parsed.mode, parsed.size))
    }

    #[test]
    fn arguments() {
        assert_eq!(parse("9001"), Ok((9001, Mode::Echo, 0)));
        assert_eq!(parse("9001 tls"), Ok((9001, Mode::Tls, 0)));
        assert_eq!(parse("9001 echo 20"), Ok((9001, Mode::Echo, 20)));
        assert_eq!(parse("9001 deflate").unwrap_err(), "this peer cannot deflate");
        for wrong in ["", "x", "9001 sing", "9001 echo x"] {
            assert_eq!(parse(wrong).unwrap_err(), "usage: PORT [echo|tls] [SIZE]", "{wrong}");
        }
    }

    #[test]
    fn answers_a_whole_request_with_the_key_of_the_rfc() {
        let request = "GET / HTTP/1.1\r\nHost: x\r\nsec-websocket-key:  dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        assert!(Request::parse(&request.as_bytes()[..request.len() - 1]).is_none());
        let request = Request::parse(request.as_bytes()).unwrap();
        assert_eq!(request.offers, None);
        assert!(request.answer(None).ends_with("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
        assert!(request.answer(Some("x; y")).ends_with("=\r\nSec-WebSocket-Extensions: x; y\r\n\r\n"));
    }
}
