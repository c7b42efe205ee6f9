//! What a session reads from and writes to: a TCP or Unix socket, TLS over one of them, or anything of the same shape.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::TlsStream;
use super::watched::Watched;

/// A non-blocking stream of bytes in both directions.
///
/// Reads and writes answer [`WouldBlock`](io::ErrorKind::WouldBlock) when they cannot go on, and a read of 0 bytes is
/// the peer's end of stream. Readiness is edge-triggered: after a `WouldBlock` the session waits for the next event.
/// A plain stream implements only the first two methods; the rest is for layers, such as TLS, that hold bytes back.
pub trait Stream: Read + Write + Send + fmt::Debug {
    /// Ends the writing direction, so that the peer reads an end of stream behind all that was written. Layers first
    /// send what they owe (TLS: `close_notify`). Called again after `WouldBlock`, once the stream is writable.
    ///
    /// # Errors
    /// `WouldBlock` if something must be written first; else the stream is broken.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Puts the sockets below under `token` at `registry`. Streams without a socket need no poll.
    ///
    /// # Errors
    /// Whatever the poll says.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let _ = (registry, token);
        Ok(())
    }

    /// Drives the layer's own handshake on as far as the socket allows, in both directions. `Ok(true)`: it is done;
    /// `Ok(false)`: it waits for the socket.
    ///
    /// # Errors
    /// The handshake failed. What the layer still wanted to say (a TLS alert) was written as far as possible.
    fn handshake(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    /// Whether the layer's own handshake is still under way.
    fn handshaking(&self) -> bool {
        false
    }

    /// Whether bytes accepted by `write` still wait for the socket below; `flush` moves them on.
    fn wants_write(&self) -> bool {
        false
    }

    /// Whether another read could yield anything before the next event, after one that gave `len` of the `room` there
    /// was. Only what knows that it is drained says no, and saves the read that would tell.
    fn may_have_more(&self, len: usize, room: usize) -> bool {
        let _ = (len, room);
        true
    }

    /// Whether a read would yield bytes although the socket below has none: no event will tell.
    fn has_buffered_plaintext(&self) -> bool {
        false
    }
}

/// The stream of one session. An enum rather than a type parameter keeps an application's handle free of generics.
#[derive(Debug)]
pub enum Transport {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A Unix domain socket.
    Unix(UnixStream),
    /// TLS over another transport.
    Tls(Box<TlsStream>),
    /// Anything else, such as a simulated network.
    Other(Box<dyn Stream>),
    /// Any of these, with every byte shown: see [`Sessions::watch`](super::Sessions::watch).
    Watched(Box<Watched>),
}

impl Transport {
    /// Whether bytes travel encrypted.
    pub fn is_tls(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Watched(stream) => stream.inner.is_tls(),
            Self::Tcp(_) | Self::Unix(_) | Self::Other(_) => false,
        }
    }

    /// Sends small writes at once (`TCP_NODELAY`); without effect where there is no TCP.
    pub(crate) fn set_nodelay(&self) {
        match self {
            Self::Tcp(socket) => {
                // A socket that was reset in the meantime refuses; the next read reports it.
                let _ = socket.set_nodelay(true);
            }
            Self::Tls(stream) => stream.get_ref().set_nodelay(),
            Self::Watched(stream) => stream.inner.set_nodelay(),
            Self::Unix(_) | Self::Other(_) => {}
        }
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Transport::Tcp($stream) => $call,
            Transport::Unix($stream) => $call,
            Transport::Tls($stream) => $call,
            Transport::Other($stream) => $call,
            Transport::Watched($stream) => $call,
        }
    };
}

impl Read for Transport {
    #[inline(always)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, stream => stream.read(buffer))
    }
}

impl Write for Transport {
    #[inline(always)]
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        each!(self, stream => stream.write(buffer))
    }

    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, stream => stream.write_vectored(buffers))
    }

    fn flush(&mut self) -> io::Result<()> {
        each!(self, stream => stream.flush())
    }
}

impl Stream for Transport {
    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
            Self::Tls(stream) => stream.shutdown_write(),
            Self::Other(stream) => stream.shutdown_write(),
            Self::Watched(stream) => stream.inner.shutdown_write(),
        }
    }

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Both directions once and for all: readiness is edge-triggered, so an interest nobody waits for costs nothing.
        const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
        match self {
            Self::Tcp(socket) => socket.register(registry, token, BOTH),
            Self::Unix(socket) => socket.register(registry, token, BOTH),
            Self::Tls(stream) => stream.register(registry, token),
            Self::Other(stream) => stream.register(registry, token),
            Self::Watched(stream) => stream.inner.register(registry, token),
        }
    }

    fn handshake(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(true),
            Self::Tls(stream) => stream.handshake(),
            Self::Other(stream) => stream.handshake(),
            Self::Watched(stream) => stream.inner.handshake(),
        }
    }

    fn handshaking(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.handshaking(),
            Self::Other(stream) => stream.handshaking(),
            Self::Watched(stream) => stream.inner.handshaking(),
        }
    }

    #[inline(always)]
    fn wants_write(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.wants_write(),
            Self::Other(stream) => stream.wants_write(),
            Self::Watched(stream) => stream.inner.wants_write(),
        }
    }

    #[inline(always)]
    fn may_have_more(&self, len: usize, room: usize) -> bool {
        match self {
            // A stream socket that gives less than it could has no more.
            Self::Tcp(_) | Self::Unix(_) => len == room,
            Self::Tls(stream) => stream.may_have_more(len, room),
            Self::Other(stream) => stream.may_have_more(len, room),
            Self::Watched(stream) => stream.inner.may_have_more(len, room),
        }
    }

    fn has_buffered_plaintext(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(stream) => stream.has_buffered_plaintext(),
            Self::Other(stream) => stream.has_buffered_plaintext(),
            Self::Watched(stream) => stream.inner.has_buffered_plaintext(),
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddr {
    /// An address and port.
    Ip(SocketAddr),
    /// A Unix socket: the path that was dialled, or nothing for a client that was accepted on one.
    Unix(Option<PathBuf>),
    /// A stream without an address.
    Unknown,
}

impl PeerAddr {
    /// The IP address, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(addr) => Some(addr.ip()),
            Self::Unix(_) | Self::Unknown => None,
        }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A [`PeerAddr`] as each of many connections keeps it: the usual kind in half of the room, any other behind a pointer.
#[derive(Debug)]
pub(crate) enum Peer {
    V4(SocketAddrV4),
    Other(Box<PeerAddr>),
}

impl Peer {
    pub(crate) fn addr(&self) -> PeerAddr {
        match self {
            Self::V4(addr) => PeerAddr::Ip(SocketAddr::V4(*addr)),
            Self::Other(addr) => PeerAddr::clone(addr),
        }
    }
}

impl From<PeerAddr> for Peer {
    fn from(addr: PeerAddr) -> Self {
        match addr {
            PeerAddr::Ip(SocketAddr::V4(addr)) => Self::V4(addr),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(addr) => addr.fmt(f),
            Self::Other(addr) => addr.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_kept_small_and_nothing_of_it_is_lost() {
        assert!(size_of::<Peer>() <= 16, "{} bytes", size_of::<Peer>());
        let ip = |addr: &str| PeerAddr::Ip(addr.parse().unwrap());
        for (addr, shown) in [
            (ip("192.0.2.1:80"), "192.0.2.1:80"),
            (ip("[2001:db8::1]:80"), "[2001:db8::1]:80"),
            (PeerAddr::Unix(Some("/run/echo".into())), "unix:/run/echo"),
            (PeerAddr::Unix(None), "unix"),
            (PeerAddr::Unknown, "unknown"),
        ] {
            let peer = Peer::from(addr.clone());
            assert_eq!((peer.addr(), peer.to_string()), (addr, shown.to_owned()));
        }
    }
}
