//! Through a proxy first: HTTP CONNECT [RFC 9110 §9.3.6] or SOCKS5 [RFC 1928, RFC 1929], no I/O.

use std::fmt;

use super::{HeadFault, UriError};

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyScheme {
    /// `http:`, CONNECT.
    Http,
    /// `socks5:`, the client resolves names.
    Socks5,
    /// `socks5h:`, the proxy resolves names.
    Socks5h,
}

/// A proxy's address and credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyUri {
    scheme: ProxyScheme,
}

impl ProxyUri {
    /// Reads `http://user:password@host:port`, `socks5://…` or `socks5h://…`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let _ = text;
        todo!()
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The host to connect to, without brackets.
    pub fn host(&self) -> &str {
        todo!()
    }

    /// The port; without one 80 for `http`, 1080 for SOCKS.
    pub fn port(&self) -> u16 {
        todo!()
    }

    /// Whether the proxy resolves the server's name; else the caller does, and gives [`ProxyHandshake::new`] an address.
    pub fn resolves_names(&self) -> bool {
        self.scheme != ProxyScheme::Socks5
    }
}

impl fmt::Debug for ProxyUri {
    /// The address without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

/// What to do after [`ProxyHandshake::push`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyStep {
    /// Bytes to send to the proxy now.
    pub send: Vec<u8>,
    /// How many bytes of the piece belonged to the proxy's handshake.
    pub consumed: usize,
    /// Whether the way to the server is open: the bytes that follow are the server's.
    pub done: bool,
}

/// A proxy's handshake under way.
#[derive(Debug)]
pub struct ProxyHandshake {}

impl ProxyHandshake {
    /// Begins to ask for `host` (a name, or an address without brackets) and `port`; gives the first bytes to send.
    ///
    /// # Errors
    /// A host or credentials that cannot be sent.
    pub fn new(proxy: &ProxyUri, host: &str, port: u16) -> Result<(Self, Vec<u8>), ProxyError> {
        let _ = (proxy, host, port);
        todo!()
    }

    /// Takes the next piece of what the proxy answers.
    ///
    /// # Errors
    /// The proxy refused, or does not speak its protocol.
    pub fn push(&mut self, piece: &[u8]) -> Result<ProxyStep, ProxyError> {
        let _ = piece;
        todo!()
    }
}

/// Why there is no way through the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyError {
    /// The answer's head is broken.
    Head(HeadFault),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!()
    }
}

impl std::error::Error for ProxyError {}
