//! Opening connections: TCP, TLS and the opening handshake, many at a time without waiting for any one.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::time::Instant;

use loopwire::handshake::{Agreed, ClientHandshake, HandshakeError};
use loopwire::net::{Stream as _, TlsError, Transport};
use mio::{Registry, Token};

use super::target::Target;

/// One connection on its way to being open.
#[derive(Debug)]
pub(super) struct Opening {
    stage: Stage,
    handshake: ClientHandshake,
    /// What of the request is still to be written.
    request: Vec<u8>,
    written: usize,
    pub(super) since: Instant,
}

#[derive(Debug)]
enum Stage {
    Connecting(Transport),
    Upgrading(Transport),
    /// Between two stages, or failed.
    Nowhere,
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) agreed: Agreed,
    /// Frames that came with the answer.
    pub(super) rest: Vec<u8>,
}

/// Why a connection could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    Connect(io::Error),
    Tls(io::Error),
    Handshake(HandshakeError),
    Lost(io::Error),
    Timeout,
}

impl Opening {
    /// Dials; `token` is what events about it will carry, from now on and when it is open.
    pub(super) fn start(target: &Target, registry: &Registry, token: Token, now: Instant) -> Result<Self, OpenError> {
        let (handshake, request) = ClientHandshake::new(&target.uri, &target.options).map_err(OpenError::Handshake)?;
        let mut transport = target.dial().map_err(OpenError::Connect)?;
        transport.register(registry, token).map_err(OpenError::Connect)?;
        Ok(Self { stage: Stage::Connecting(transport), handshake, request, written: 0, since: now })
    }

    /// Goes on as far as the socket allows. `None`: it waits for the next event.
    pub(super) fn advance(&mut self, target: &Target, buffer: &mut [u8]) -> Result<Option<Opened>, OpenError> {
        if let Stage::Connecting(transport) = &self.stage {
            if !is_connected(transport)? {
                return Ok(None);
            }
            let Stage::Connecting(transport) = std::mem::replace(&mut self.stage, Stage::Nowhere) else {
                return Ok(None);
            };
            self.stage = Stage::Upgrading(secured(transport, target)?);
        }
        let Stage::Upgrading(transport) = &mut self.stage else { return Ok(None) };
        if !transport.handshake().map_err(OpenError::Tls)? {
            return Ok(None);
        }
        while self.written < self.request.len() {
            match transport.write(&self.request[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if is_for_later(&error) => return Ok(None),
                Err(error) => return Err(OpenError::Lost(error)),
            }
        }
        if transport.wants_write()
            && let Err(error) = transport.flush()
            && !is_for_later(&error)
        {
            return Err(OpenError::Lost(error));
        }
        loop {
            let len = match transport.read(buffer) {
                Ok(0) => return Err(OpenError::Handshake(self.handshake.give_up())),
                Ok(len) => len,
                Err(error) if is_for_later(&error) => return Ok(None),
                Err(error) => return Err(OpenError::Lost(error)),
            };
            if let Some((agreed, used)) = self.handshake.push(&buffer[..len]).map_err(OpenError::Handshake)? {
                let Stage::Upgrading(transport) = std::mem::replace(&mut self.stage, Stage::Nowhere) else {
                    return Ok(None);
                };
                return Ok(Some(Opened { transport, agreed, rest: buffer[used..len].to_vec() }));
            }
        }
    }
}

/// Whether the socket is connected by now.
fn is_connected(transport: &Transport) -> Result<bool, OpenError> {
    let Transport::Tcp(socket) = transport else { return Ok(true) };
    if let Some(error) = socket.take_error().map_err(OpenError::Connect)? {
        return Err(OpenError::Connect(error));
    }
    match socket.peer_addr() {
        Ok(_) => {
            // A socket that was reset in the meantime refuses; the next read reports it.
            let _ = socket.set_nodelay(true);
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(OpenError::Connect(error)),
    }
}

/// The socket with TLS over it, if the server is to speak that.
fn secured(transport: Transport, target: &Target) -> Result<Transport, OpenError> {
    let Some(tls) = &target.tls else { return Ok(transport) };
    let stream =
        tls.connect(transport, target.uri.host()).map_err(|error: TlsError| OpenError::Tls(io::Error::other(error)))?;
    Ok(Transport::Tls(Box::new(stream)))
}

/// Whether the same call may succeed later: nothing is wrong.
pub(super) fn is_for_later(error: &io::Error) -> bool {
    // Calls that never wait are never interrupted.
    error.kind() == io::ErrorKind::WouldBlock
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "no TLS: {error}; --ca FILE trusts another issuer, --insecure anybody"),
            Self::Handshake(error) => write!(f, "the opening handshake failed: {error}"),
            Self::Lost(error) => write!(f, "the connection failed in its opening handshake: {error}"),
            Self::Timeout => f.write_str("no answer to the opening handshake within --connect-timeout"),
        }
    }
}
