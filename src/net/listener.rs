//! Where connections come in: a TCP port or a Unix socket's path.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::{PeerAddr, TlsAcceptor, Transport};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// A TCP address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket. A stale file there is replaced; the file is removed when the loop ends.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenConfig {
    /// Where.
    pub addr: ListenAddr,
    /// TLS for every connection, or none.
    pub tls: Option<TlsAcceptor>,
    /// Shares the port with other loops' listeners (`SO_REUSEPORT`); the kernel spreads connections among them. Off.
    pub reuse_port: bool,
    /// Connections that the kernel may keep waiting. 1,024.
    pub backlog: i32,
}

impl ListenConfig {
    /// Listening in the clear at `addr`.
    pub fn new(addr: ListenAddr) -> Self {
        Self { addr, tls: None, reuse_port: false, backlog: 1024 }
    }
}

/// A socket that listens. Dropping one on a path removes its file.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Accepting,
    addr: ListenAddr,
    /// The file that a listener on a path has made.
    file: Option<FileId>,
    tls: Option<TlsAcceptor>,
    /// Connections may be waiting: readiness is edge-triggered, so a batch that was cut short goes on by itself.
    pub(crate) ready: bool,
    /// After a failure that only time heals: when to try again.
    pub(crate) retry: Option<Instant>,
}

#[derive(Debug)]
enum Accepting {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
    #[cfg(test)]
    Test(std::collections::VecDeque<io::Error>),
}

/// What one attempt to accept gave.
#[derive(Debug)]
pub(crate) enum Accepted {
    Connection(Transport, PeerAddr),
    /// Nobody waits any more.
    None,
    /// This one is lost; the next may be fine.
    Skipped(io::Error),
    /// The process or the system lacks something: trying again at once would only burn the processor.
    Exhausted(io::Error),
}

impl Listener {
    pub(crate) fn bind(config: ListenConfig) -> io::Result<Self> {
        let (socket, addr, file) = match config.addr {
            ListenAddr::Tcp(addr) => {
                let socket = bind_tcp(addr, config.reuse_port, config.backlog)?;
                let addr = ListenAddr::Tcp(socket.local_addr()?);
                (Accepting::Tcp(socket), addr, None)
            }
            ListenAddr::Unix(path) => {
                let socket = bind_unix(&path, config.backlog)?;
                let file = FileId::of(&path);
                (Accepting::Unix(socket), ListenAddr::Unix(path), file)
            }
        };
        Ok(Self { socket, addr, file, tls: config.tls, ready: true, retry: None })
    }

    /// One whose attempts to accept fail with `errors`, until nobody waits.
    #[cfg(test)]
    pub(crate) fn failing(errors: impl IntoIterator<Item = io::Error>) -> Self {
        Self {
            socket: Accepting::Test(errors.into_iter().collect()),
            addr: ListenAddr::Tcp(([127, 0, 0, 1], 1).into()),
            file: None,
            tls: None,
            ready: true,
            retry: None,
        }
    }

    pub(crate) fn addr(&self) -> &ListenAddr {
        &self.addr
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Accepting::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            Accepting::Unix(socket) => registry.register(socket, token, Interest::READABLE),
            #[cfg(test)]
            Accepting::Test(_) => Ok(()),
        }
    }

    pub(crate) fn accept(&mut self) -> Accepted {
        let accepted = match &mut self.socket {
            Accepting::Tcp(socket) => {
                socket.accept().map(|(stream, addr)| (Transport::Tcp(stream), PeerAddr::Ip(addr)))
            }
            Accepting::Unix(socket) => {
                socket.accept().map(|(stream, _)| (Transport::Unix(stream), PeerAddr::Unix(None)))
            }
            #[cfg(test)]
            Accepting::Test(errors) => Err(errors.pop_front().unwrap_or(io::ErrorKind::WouldBlock.into())),
        };
        let secured = accepted.map(|(transport, peer)| match &self.tls {
            Some(tls) => (tls.accept(transport).map(|stream| Transport::Tls(Box::new(stream))), peer),
            None => (Ok(transport), peer),
        });
        match secured {
            Ok((Ok(transport), peer)) => Accepted::Connection(transport, peer),
            Ok((Err(error), _)) => Accepted::Skipped(error),
            Err(error) => judge(error),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The path may have been taken over since, and is then another server's.
        if let (ListenAddr::Unix(path), Some(file)) = (&self.addr, self.file)
            && FileId::of(path) == Some(file)
            && let Err(error) = std::fs::remove_file(path)
        {
            log::debug!("cannot remove {}: {error}", path.display());
        }
    }
}

/// What tells a file from another that has taken its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        let metadata = std::fs::symlink_metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Sorts a failed accept: accept(2) passes on errors of the connection that was waiting, which say nothing about the
/// next one.
fn judge(error: io::Error) -> Accepted {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::WouldBlock => Accepted::None,
        Kind::Interrupted
        | Kind::ConnectionAborted
        | Kind::ConnectionReset
        | Kind::HostUnreachable
        | Kind::NetworkDown
        | Kind::NetworkUnreachable
        | Kind::PermissionDenied => Accepted::Skipped(error),
        // No descriptor left (EMFILE, ENFILE), no memory (ENOBUFS, ENOMEM), and whatever else there may be.
        _ => Accepted::Exhausted(error),
    }
}

fn bind_tcp(addr: SocketAddr, reuse_port: bool, backlog: i32) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart need not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

fn bind_unix(path: &Path, backlog: i32) -> io::Result<mio::net::UnixListener> {
    use std::os::unix::fs::FileTypeExt;

    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let addr = socket2::SockAddr::unix(path)?;
    socket.set_nonblocking(true)?;
    if let Err(error) = socket.bind(&addr) {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
        if error.kind() != io::ErrorKind::AddrInUse || !is_socket {
            return Err(error);
        }
        // A server that crashed leaves its file behind; one that runs answers.
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // One that is stuck does not even that: it has a full queue, in which nobody should wait.
        probe.set_nonblocking(true)?;
        match probe.connect(&addr) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            _ => return Err(error),
        }
        socket.bind(&addr)?;
    }
    socket.listen(backlog)?;
    Ok(mio::net::UnixListener::from_std(std::os::unix::net::UnixListener::from(std::os::fd::OwnedFd::from(socket))))
}
