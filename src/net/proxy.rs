//! A proxy's handshake over a socket that does not wait.

use std::io::{self, Read, Write};

use crate::handshake::{ProxyError, ProxyHandshake, ProxyUri};

/// A way through a proxy under construction.
#[derive(Debug)]
pub(crate) struct Tunnel {
    handshake: ProxyHandshake,
    /// What is still to be sent.
    send: Vec<u8>,
    done: bool,
}

impl Tunnel {
    /// Begins to ask for `host` and `port`.
    pub(crate) fn new(proxy: &ProxyUri, host: &str, port: u16) -> Result<Self, ProxyError> {
        let (handshake, send) = ProxyHandshake::new(proxy, host, port)?;
        Ok(Self { handshake, send, done: false })
    }

    /// Goes on as far as the stream allows; whether the way is open.
    ///
    /// # Errors
    /// The stream is broken, or ended, or the proxy does not let us through: then there is a [`ProxyError`] inside.
    pub(crate) fn advance<S: Read + Write>(&mut self, stream: &mut S) -> io::Result<bool> {
        loop {
            while !self.send.is_empty() {
                match stream.write(&self.send) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(len) => drop(self.send.drain(..len)),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if self.done {
                return Ok(true);
            }
            let mut piece = [0; 1024];
            let len = match stream.read(&mut piece) {
                Ok(0) => {
                    let reason = "the proxy ended the connection in the middle of its handshake";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let step = self.handshake.push(&piece[..len]).map_err(io::Error::other)?;
            self.send.extend_from_slice(&step.send);
            self.done = step.done;
            if step.consumed < len {
                // Through the tunnel the client speaks first, with TLS and without.
                let reason = "the proxy sent more than its answer";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
}
