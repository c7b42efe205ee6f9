//! How sending ends: queued, queued too much, dropped, refused.

use std::fmt;

use crate::protocol;

/// What became of something sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It leaves with this turn of the loop, or waits below the high-water mark.
    Written,
    /// It is queued, and the connection is at its high-water mark: wait for `writable` before sending more.
    Backpressure,
    /// It was not queued: the connection had too much waiting and the policy is to drop. `writable` follows here too.
    Dropped,
}

/// Why something was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The id names no open connection: it is gone, or its handshake is not done.
    NotOpen,
    /// The connection had too much waiting, and was ended by policy.
    Overflow,
    /// The connection's state or the message itself does not allow it.
    Protocol(protocol::SendError),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the connection is not open: it is gone, or its handshake is not done"),
            Self::Overflow => f.write_str("the connection had too much waiting to be sent and was closed"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::NotOpen | Self::Overflow => None,
        }
    }
}

impl From<protocol::SendError> for SendError {
    fn from(error: protocol::SendError) -> Self {
        Self::Protocol(error)
    }
}
