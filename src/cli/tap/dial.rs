//! The server that clients are passed on to, and the way there.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use loopwire::handshake::Uri;
use loopwire::net::{Stream as _, TlsConnector, Transport};
use mio::net::{TcpStream, UnixStream};
use mio::{Events, Poll, Token};

use super::pair::{Side, Stage};

/// Where the upstream is.
#[derive(Debug)]
pub(super) struct Upstream {
    uri: Uri,
    way: Way,
    tls: Option<TlsConnector>,
}

#[derive(Debug)]
enum Way {
    /// One of these; never none.
    Tcp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Upstream {
    /// Looks up its addresses.
    pub(super) fn find(uri: Uri, tls: Option<TlsConnector>) -> io::Result<Self> {
        if let Some(path) = uri.socket_path() {
            let way = Way::Unix(path.into());
            return Ok(Self { uri, way, tls });
        }
        let addresses: Vec<_> = (uri.host(), uri.port()).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        let way = Way::Tcp(addresses);
        Ok(Self { uri, way, tls })
    }

    /// Begins to connect to its address of this number; nothing if there are fewer.
    pub(super) fn connect(&self, attempt: usize) -> Option<io::Result<Transport>> {
        match &self.way {
            Way::Tcp(addresses) => Some(TcpStream::connect(*addresses.get(attempt)?).map(Transport::Tcp)),
            Way::Unix(path) => (attempt == 0).then(|| UnixStream::connect(path).map(Transport::Unix)),
        }
    }

    /// What is spoken once the socket is connected.
    pub(super) fn secure(&self, transport: Transport) -> io::Result<Transport> {
        match &self.tls {
            Some(tls) => {
                let stream = tls.connect(transport, self.uri.host()).map_err(io::Error::other)?;
                Ok(Transport::Tls(Box::new(stream)))
            }
            None => Ok(transport),
        }
    }

    /// Whether it can be reached: connects, TLS included, and lets go again.
    pub(super) fn probe(&self, timeout: Duration) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(4);
        let mut side = Side::dial(self, poll.registry(), Token(0))?;
        loop {
            side.advance(self, poll.registry(), Token(0))?;
            if side.stage == Stage::Open {
                let mut transport = side.transport;
                let _ = transport.shutdown_write();
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => side.wake(),
            }
        }
    }
}
