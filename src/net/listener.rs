//! Where connections come in: a TCP port or a Unix socket's path.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::TlsAcceptor;

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
