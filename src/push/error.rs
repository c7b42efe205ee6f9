//! What can be refused, and how a client can be sent away: the codes of the client protocol, as data.

use std::fmt;

/// A command was refused; the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PushError {
    /// Something on this side failed, such as the store.
    Internal,
    /// Who asks is not known.
    Unauthorized,
    /// The channel's namespace does not exist.
    UnknownChannel,
    /// Who asks may not.
    PermissionDenied,
    /// There is no such method.
    MethodNotFound,
    /// The session is subscribed already.
    AlreadySubscribed,
    /// More than is allowed: channels, names, sizes.
    LimitExceeded,
    /// The request makes no sense.
    BadRequest,
    /// The channel does not offer this.
    NotAvailable,
    /// The token has expired.
    TokenExpired,
    /// What was asked for has expired.
    Expired,
    /// Too much in too short a time.
    TooManyRequests,
    /// What was published since that position is not all there any more.
    UnrecoverablePosition,
}

impl PushError {
    /// Its number in the client protocol.
    pub const fn code(self) -> u32 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::UnknownChannel => 102,
            Self::PermissionDenied => 103,
            Self::MethodNotFound => 104,
            Self::AlreadySubscribed => 105,
            Self::LimitExceeded => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired => 109,
            Self::Expired => 110,
            Self::TooManyRequests => 111,
            Self::UnrecoverablePosition => 112,
        }
    }

    /// Its words in the client protocol.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired => "token expired",
            Self::Expired => "expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
        }
    }

    /// Whether trying again may help.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests)
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())
    }
}

impl std::error::Error for PushError {}

/// Why a session is ended: a close code and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Disconnect {
    /// The close code. From 3500 to 3999 and from 4500 to 4999 clients do not come back.
    pub code: u16,
    /// The reason, at most 123 bytes.
    pub reason: std::borrow::Cow<'static, str>,
}

macro_rules! disconnects {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $reason:literal;)*) => {
        impl Disconnect {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, reason: std::borrow::Cow::Borrowed($reason) };)*

            /// All that this server says by itself.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

disconnects! {
    /// The connection was closed.
    CONNECTION_CLOSED = 3000, "connection closed";
    /// The server goes.
    SHUTDOWN = 3001, "shutdown";
    /// Something on this side failed.
    SERVER_ERROR = 3004, "internal server error";
    /// The connection's token has expired.
    EXPIRED = 3005, "connection expired";
    /// A subscription's token has expired.
    SUBSCRIPTION_EXPIRED = 3006, "subscription expired";
    /// It reads more slowly than it is sent to.
    SLOW = 3008, "slow";
    /// Writing failed.
    WRITE_ERROR = 3009, "write error";
    /// A server-side subscription's position is lost.
    INSUFFICIENT_STATE = 3010, "insufficient state";
    /// It is asked to come back.
    FORCE_RECONNECT = 3011, "force reconnect";
    /// It has not answered a ping.
    NO_PONG = 3012, "no pong";
    /// Too much in too short a time.
    TOO_MANY_REQUESTS = 3013, "too many requests";
    /// What it knows has become invalid.
    STATE_INVALIDATED = 3014, "state invalidated";
    /// The token is not ours.
    INVALID_TOKEN = 3500, "invalid token";
    /// What it sent makes no sense.
    BAD_REQUEST = 3501, "bad request";
    /// It has not said who it is.
    STALE = 3502, "stale";
    /// It is sent away for good.
    FORCE_NO_RECONNECT = 3503, "force disconnect";
    /// The user has too many connections.
    CONNECTION_LIMIT = 3504, "connection limit";
    /// It has too many channels.
    CHANNEL_LIMIT = 3505, "channel limit";
    /// Its protocol is not the one it opened with.
    INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol";
    /// It may not.
    PERMISSION_DENIED = 3507, "permission denied";
    /// What it asks for is not offered.
    NOT_AVAILABLE = 3508, "not available";
    /// It has made too many errors.
    TOO_MANY_ERRORS = 3509, "too many errors";
}

impl Disconnect {
    /// A code and reason of an application's own.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: std::borrow::Cow::Owned(reason.into()) }
    }

    /// Whether a client comes back after it.
    pub const fn reconnects(&self) -> bool {
        !matches!(self.code, 3500..=3999 | 4500..=4999)
    }
}

/// Why the server ends a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unsubscribe {
    /// The server says so; the client does not come back to the channel.
    Server,
    /// The position is lost; the client subscribes again.
    InsufficientState,
    /// The subscription's time is over.
    Expired,
    /// What the client knows of the channel has become invalid; it subscribes again.
    StateInvalidated,
}

impl Unsubscribe {
    /// Its number in the client protocol.
    pub const fn code(self) -> u32 {
        match self {
            Self::Server => 2000,
            Self::InsufficientState => 2500,
            Self::Expired => 2501,
            Self::StateInvalidated => 2502,
        }
    }

    /// Its words in the client protocol.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Server => "server unsubscribe",
            Self::InsufficientState => "insufficient state",
            Self::Expired => "subscription expired",
            Self::StateInvalidated => "state invalidated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_is_told_by_the_code_alone() {
        for disconnect in Disconnect::ALL {
            assert_eq!(disconnect.reconnects(), disconnect.code < 3500, "{disconnect:?}");
            assert!(disconnect.reason.len() <= 123);
        }
        for (code, reconnects) in [(4000, true), (4499, true), (4500, false), (4999, false), (1000, true)] {
            assert_eq!(Disconnect::new(code, "").reconnects(), reconnects, "{code}");
        }
    }
}
