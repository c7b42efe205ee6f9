//! Where clients come in.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use loopwire::ListenAddr;
use loopwire::net::{TlsAcceptor, Transport};
use mio::{Interest, Registry, Token};

/// A socket that listens. Dropping one on a path removes its file.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    pub(super) addr: ListenAddr,
    tls: Option<TlsAcceptor>,
}

#[derive(Debug)]
enum Socket {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

impl Listener {
    pub(super) fn bind(addr: &ListenAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let (socket, addr) = match addr {
            ListenAddr::Tcp(addr) => {
                let socket = mio::net::TcpListener::bind(*addr)?;
                let addr = ListenAddr::Tcp(socket.local_addr()?);
                (Socket::Tcp(socket), addr)
            }
            ListenAddr::Unix(path) => (Socket::Unix(bind_unix(path)?), addr.clone()),
        };
        Ok(Self { socket, addr, tls })
    }

    /// Where clients are to connect to.
    pub(super) fn url(&self) -> String {
        match &self.addr {
            ListenAddr::Tcp(addr) => format!("{}://{addr}", if self.tls.is_some() { "wss" } else { "ws" }),
            ListenAddr::Unix(path) => format!("ws+unix:{}", path.display()),
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            Socket::Unix(socket) => registry.register(socket, token, Interest::READABLE),
        }
    }

    /// The next client; its TLS handshake has not begun.
    pub(super) fn accept(&mut self) -> io::Result<Transport> {
        let transport = match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, _) = socket.accept()?;
                // What was sent at once goes on at once.
                let _ = stream.set_nodelay(true);
                Transport::Tcp(stream)
            }
            // What stays on this machine needs no TLS.
            Socket::Unix(socket) => return Ok(Transport::Unix(socket.accept()?.0)),
        };
        match &self.tls {
            Some(tls) => Ok(Transport::Tls(Box::new(tls.accept(transport)?))),
            None => Ok(transport),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let ListenAddr::Unix(path) = &self.addr {
            let _ = fs::remove_file(path);
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<mio::net::UnixListener> {
    match mio::net::UnixListener::bind(path) {
        // One that crashed leaves its file behind; one that runs answers.
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
                && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) =>
        {
            fs::remove_file(path)?;
            mio::net::UnixListener::bind(path)
        }
        outcome => outcome,
    }
}
