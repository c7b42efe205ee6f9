//! Where a client connects to: `ws:`, `wss:` and `ws+unix:` addresses [RFC 6455 §3].

use std::fmt;

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `ws:`, over TCP, port 80 if none is given.
    Ws,
    /// `wss:`, over TLS, port 443 if none is given.
    Wss,
    /// `ws+unix:/path/to.sock:/path`, over a Unix socket.
    WsUnix,
}

/// A WebSocket address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    scheme: Scheme,
}

/// Why a text is not a WebSocket address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// A fragment.
    Fragment,
}

impl Uri {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let _ = text;
        todo!()
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.scheme == Scheme::Wss
    }

    /// The host to resolve, to connect to and to verify: a name, or an address without brackets. `localhost` for a
    /// Unix socket.
    pub fn host(&self) -> &str {
        todo!()
    }

    /// The port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        todo!()
    }

    /// The Unix socket's path.
    pub fn socket_path(&self) -> Option<&str> {
        todo!()
    }

    /// The path and query to ask for, beginning with `/`.
    pub fn target(&self) -> &str {
        todo!()
    }

    /// What stands in Host: the port only if it is not the scheme's own.
    pub fn host_field(&self) -> String {
        todo!()
    }
}

impl fmt::Display for Uri {
    /// The address without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

impl std::error::Error for UriError {}
