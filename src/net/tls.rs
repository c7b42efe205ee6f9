//! TLS over another transport, by rustls.

use std::io::{self, IoSlice, Read, Write};

use mio::{Registry, Token};

use super::{Stream, Transport};

/// Makes a server's TLS sessions; what it holds can be replaced while the server runs.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {}

impl TlsAcceptor {
    /// A TLS session over a socket that was just accepted; its handshake has not begun.
    ///
    /// # Errors
    /// The configuration does not allow a session.
    pub fn accept(&self, transport: Transport) -> io::Result<TlsStream> {
        let _ = transport;
        todo!()
    }
}

/// A TLS session of either role over another transport.
#[derive(Debug)]
pub struct TlsStream {}

impl Read for TlsStream {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        todo!()
    }
}

impl Write for TlsStream {
    fn write(&mut self, _buffer: &[u8]) -> io::Result<usize> {
        todo!()
    }

    fn write_vectored(&mut self, _buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        todo!()
    }

    fn flush(&mut self) -> io::Result<()> {
        todo!()
    }
}

impl Stream for TlsStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        todo!()
    }

    fn register(&mut self, _registry: &Registry, _token: Token) -> io::Result<()> {
        todo!()
    }

    fn handshake(&mut self) -> io::Result<bool> {
        todo!()
    }

    fn handshaking(&self) -> bool {
        todo!()
    }

    fn wants_write(&self) -> bool {
        todo!()
    }

    fn has_buffered_plaintext(&self) -> bool {
        todo!()
    }
}
