//! Why a connection could not be made.

use std::fmt;
use std::io;

use super::Attempt;
use crate::handshake::HandshakeError;

/// Why a connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address, or nobody says which.
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// None of the addresses could be connected to.
    Unreachable {
        /// The server, or the proxy on the way to it.
        host: String,
        /// Every address that was tried, with the reason.
        attempts: Vec<Attempt>,
    },
    /// The proxy refused, or does not speak its protocol: inside the error is a
    /// [`ProxyError`](crate::handshake::ProxyError) if there is more to it than the stream.
    Proxy {
        /// The proxy, without credentials.
        proxy: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The TLS handshake failed: inside the error is a [`TlsError`](crate::net::TlsError) if there is more to it than the
    /// stream.
    Tls {
        /// The server that was to be verified.
        host: String,
        /// What went wrong.
        error: io::Error,
    },
    /// The stream failed, before or during the opening handshake.
    Io(io::Error),
    /// The server's answer to the opening handshake breaks a rule, or refuses.
    Handshake(HandshakeError),
    /// The server did not answer the opening handshake in time.
    Timeout,
    /// The loop is draining, has too many connections, or the connection was aborted.
    Cancelled,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, error } => write!(f, "cannot find the address of {host}: {error}"),
            Self::Unreachable { host, attempts } => {
                write!(f, "cannot connect to {host}")?;
                for (at, attempt) in attempts.iter().enumerate() {
                    write!(f, "{} {attempt}", if at == 0 { ":" } else { "," })?;
                }
                Ok(())
            }
            Self::Proxy { proxy, error } => write!(f, "no way through the proxy {proxy}: {error}"),
            Self::Tls { host, error } => write!(f, "no TLS with {host}: {error}"),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
            Self::Handshake(error) => write!(f, "the opening handshake failed: {error}"),
            Self::Timeout => f.write_str("the server did not answer the opening handshake in time"),
            Self::Cancelled => f.write_str("the connection was given up on this side"),
        }
    }
}

impl std::error::Error for DialError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Resolve { error, .. } | Self::Proxy { error, .. } | Self::Tls { error, .. } | Self::Io(error) => {
                Some(error)
            }
            Self::Handshake(error) => Some(error),
            Self::Unreachable { attempts, .. } => attempts.last().map(|attempt| &attempt.error as _),
            Self::Timeout | Self::Cancelled => None,
        }
    }
}
