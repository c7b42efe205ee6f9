//! Where a client connects to: `ws:`, `wss:` and `ws+unix:` addresses [RFC 6455 §3].

use std::fmt;

use super::authority::{Authority, AuthorityFault, Credentials, percent_decode, percent_encode};
use super::fields::excerpt;

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

impl Scheme {
    /// As it stands before the colon.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::WsUnix => "ws+unix",
        }
    }

    /// The port if none is given; 0 for a Unix socket.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Ws => 80,
            Self::Wss => 443,
            Self::WsUnix => 0,
        }
    }
}

/// A WebSocket address.
///
/// A name and a password in it (`wss://user:password@host/`, with `%` for what cannot stand there) are sent as Basic
/// credentials [RFC 7617]; `Display` and `Debug` leave them out.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    scheme: Scheme,
    host: Box<str>,
    is_ipv6: bool,
    port: u16,
    target: Box<str>,
    socket_path: Option<Box<str>>,
    credentials: Option<Credentials>,
}

impl Uri {
    /// Reads `ws://host:port/path?query`, the same with `wss`, or `ws+unix:/path/to.sock:/path?query`.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        check_bytes(text)?;
        let (scheme, rest) = text.split_once(':').ok_or_else(|| UriError::Scheme(excerpt(text)))?;
        match scheme.to_ascii_lowercase().as_str() {
            "ws" => Self::network(Scheme::Ws, rest),
            "wss" => Self::network(Scheme::Wss, rest),
            "ws+unix" => Self::unix(rest),
            _ => Err(UriError::Scheme(excerpt(scheme))),
        }
    }

    fn network(scheme: Scheme, rest: &str) -> Result<Self, UriError> {
        let rest = rest.strip_prefix("//").ok_or(UriError::HostEmpty)?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (credentials, authority) = parse_authority(authority)?;
        Ok(Self {
            scheme,
            host: authority.host.into(),
            is_ipv6: authority.is_ipv6,
            port: authority.port.unwrap_or(scheme.default_port()),
            target: if target.starts_with('/') { target.into() } else { format!("/{target}").into() },
            socket_path: None,
            credentials,
        })
    }

    fn unix(rest: &str) -> Result<Self, UriError> {
        // ws+unix:///run/a.sock is the same as ws+unix:/run/a.sock: an empty authority.
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, target) = rest.split_once(':').unwrap_or((rest, ""));
        let decoded = percent_decode(path).and_then(|path| String::from_utf8(path).ok());
        let socket_path = decoded.filter(|path| path.starts_with('/') && !path.contains('\0'));
        let target = match target {
            "" => "/".into(),
            target if target.starts_with('/') => target.into(),
            target if target.starts_with('?') => format!("/{target}").into(),
            _ => return Err(UriError::SocketPath),
        };
        Ok(Self {
            scheme: Scheme::WsUnix,
            host: "localhost".into(),
            is_ipv6: false,
            port: 0,
            target,
            socket_path: Some(socket_path.ok_or(UriError::SocketPath)?.into()),
            credentials: None,
        })
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
        &self.host
    }

    /// The port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The Unix socket's path.
    pub fn socket_path(&self) -> Option<&str> {
        self.socket_path.as_deref()
    }

    /// The path and query to ask for, beginning with `/`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What stands in Host: the port only if it is not the scheme's own.
    pub fn host_field(&self) -> String {
        let port = (self.port != self.scheme.default_port()).then_some(self.port);
        Authority { host: &self.host, is_ipv6: self.is_ipv6, port }.to_string()
    }

    /// What stands in Authorization, if the address has a name and a password.
    pub fn authorization(&self) -> Option<String> {
        self.credentials.as_ref().map(Credentials::basic)
    }
}

impl fmt::Display for Uri {
    /// The address without name and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket_path {
            Some(path) => write!(f, "{}:{}:{}", self.scheme.as_str(), percent_encode(path), self.target),
            None => write!(f, "{}://{}{}", self.scheme.as_str(), self.host_field(), self.target),
        }
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

/// Why a text is not an address that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// A scheme that is not spoken here, or none.
    Scheme(String),
    /// A fragment.
    Fragment,
    /// A byte that must be percent-encoded, at this offset: white space, a control byte, or one that is not ASCII.
    Byte(usize),
    /// No host.
    HostEmpty,
    /// A host that is neither a name nor an address.
    HostInvalid(String),
    /// A port that is not a number from 1 to 65535.
    PortInvalid,
    /// A name and password with a byte that must be percent-encoded.
    Credentials,
    /// A Unix socket's path that is not absolute, or a target after it that is not.
    SocketPath,
    /// A path on a proxy.
    ProxyPath,
}

impl fmt::Display for UriError {
    /// What is wrong, and what to write instead.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme(scheme) => write!(
                f,
                "scheme {scheme:?}: a WebSocket address begins with ws://, wss:// or ws+unix:, a proxy's with http://, socks5:// or socks5h://"
            ),
            Self::Fragment => f.write_str("a fragment: a WebSocket address has none; write # as %23 [RFC 6455 §3]"),
            Self::Byte(at) => write!(f, "byte {at} cannot stand in an address: write it as % and two digits"),
            Self::HostEmpty => f.write_str("no host: write //, the host and then the path"),
            Self::HostInvalid(host) => {
                write!(
                    f,
                    "host {host:?}: write a name in ASCII (Punycode), an IPv4 address, or an IPv6 address in brackets"
                )
            }
            Self::PortInvalid => f.write_str("the port is not a number from 1 to 65535"),
            Self::Credentials => f.write_str(
                "the user's name or password has a colon or a byte that must be written as % and two digits",
            ),
            Self::SocketPath => {
                f.write_str("write ws+unix:, the socket's absolute path, a colon, and the absolute path to ask for")
            }
            Self::ProxyPath => f.write_str("a proxy's address ends after its port"),
        }
    }
}

impl std::error::Error for UriError {}

/// Refuses what cannot stand in an address, so that nothing of it can end a line in a request.
pub(super) fn check_bytes(text: &str) -> Result<(), UriError> {
    match text.bytes().position(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        None => Ok(()),
        Some(at) if text.as_bytes()[at] == b'#' => Err(UriError::Fragment),
        Some(at) => Err(UriError::Byte(at)),
    }
}

/// Credentials, host and port.
pub(super) fn parse_authority(text: &str) -> Result<(Option<Credentials>, Authority<'_>), UriError> {
    let (credentials, text) = Credentials::split(text).ok_or(UriError::Credentials)?;
    match Authority::parse(text) {
        Ok(Authority { port: Some(0), .. }) | Err(AuthorityFault::PortInvalid) => Err(UriError::PortInvalid),
        Ok(authority) => Ok((credentials, authority)),
        Err(AuthorityFault::HostEmpty) => Err(UriError::HostEmpty),
        Err(AuthorityFault::HostInvalid) => Err(UriError::HostInvalid(excerpt(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        // address, host, port, Host field, target, as written again
        let rows = [
            ("ws://example.com", "example.com", 80, "example.com", "/", "ws://example.com/"),
            ("WSS://Example.com/", "Example.com", 443, "Example.com", "/", "wss://Example.com/"),
            ("ws://a:80/x", "a", 80, "a", "/x", "ws://a/x"),
            ("wss://a:80/x?y=z", "a", 80, "a:80", "/x?y=z", "wss://a:80/x?y=z"),
            ("ws://a?y", "a", 80, "a", "/?y", "ws://a/?y"),
            ("ws://a:/", "a", 80, "a", "/", "ws://a/"),
            ("ws://127.0.0.1:9001/a:b@c", "127.0.0.1", 9001, "127.0.0.1:9001", "/a:b@c", "ws://127.0.0.1:9001/a:b@c"),
            ("wss://[::1]/", "::1", 443, "[::1]", "/", "wss://[::1]/"),
            ("ws://[::1]:8080", "::1", 8080, "[::1]:8080", "/", "ws://[::1]:8080/"),
            ("ws://u:p@a/", "a", 80, "a", "/", "ws://a/"),
            ("ws+unix:/run/a.sock", "localhost", 0, "localhost", "/", "ws+unix:/run/a.sock:/"),
            ("ws+unix:///run/a.sock:/x?y", "localhost", 0, "localhost", "/x?y", "ws+unix:/run/a.sock:/x?y"),
        ];
        for (text, host, port, host_field, target, written) in rows {
            let uri = Uri::parse(text).expect(text);
            assert_eq!((uri.host(), uri.port(), uri.target()), (host, port, target), "{text}");
            assert_eq!(uri.host_field(), host_field, "{text}");
            assert_eq!(uri.to_string(), written, "{text}");
        }
        let odd = Uri::parse("ws+unix:/run/a%20b%3a%0A%C3%A9.sock:/").unwrap();
        assert_eq!(odd.socket_path(), Some("/run/a b:\né.sock"));
        assert_eq!(odd.to_string(), "ws+unix:/run/a%20b%3A%0A%C3%A9.sock:/", "one line, and the same address");
        assert_eq!(Uri::parse(&odd.to_string()), Ok(odd));
    }

    #[test]
    fn what_is_no_address_says_why() {
        let rows = [
            ("", UriError::Scheme(String::new())),
            ("example.com", UriError::Scheme("example.com".into())),
            ("http://a/", UriError::Scheme("http".into())),
            ("wss+unix:/a:/", UriError::Scheme("wss+unix".into())),
            ("ws:a", UriError::HostEmpty),
            ("ws:///a", UriError::HostEmpty),
            ("ws://:80/", UriError::HostEmpty),
            ("ws://u@/", UriError::HostEmpty),
            ("ws://a/#", UriError::Fragment),
            ("ws://a#b", UriError::Fragment),
            ("ws://a/ b", UriError::Byte(7)),
            ("ws://a/\r\nX: y", UriError::Byte(7)),
            ("ws://a\0/", UriError::Byte(6)),
            ("ws://bücher.example/", UriError::Byte(6)),
            ("ws://a/é", UriError::Byte(7)),
            ("ws://a_b,c/", UriError::HostInvalid("a_b,c".into())),
            ("ws://[::1/", UriError::HostInvalid("[::1".into())),
            ("ws://::1/", UriError::HostEmpty),
            ("ws://a:0/", UriError::PortInvalid),
            ("ws://a:65536/", UriError::PortInvalid),
            ("ws://a:b/", UriError::PortInvalid),
            ("ws://u%3Au:p@a/", UriError::Credentials),
            ("ws://u%z:p@a/", UriError::Credentials),
            ("ws://good.example\\@evil.example/", UriError::Credentials),
            ("ws://a@b@c/", UriError::Credentials),
            ("ws://good.example\\.evil.example/", UriError::HostInvalid("good.example\\.evil.example".into())),
            ("ws+unix:a.sock:/", UriError::SocketPath),
            ("ws+unix:", UriError::SocketPath),
            ("ws+unix:/a.sock:b", UriError::SocketPath),
            ("ws+unix:/a%00:/", UriError::SocketPath),
        ];
        for (text, error) in rows {
            assert_eq!(Uri::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn credentials_become_a_field_and_are_never_shown() {
        let uri = Uri::parse("wss://Aladdin:open%20sesame@example.com/").unwrap();
        assert_eq!(uri.authorization().as_deref(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), "[RFC 7617 §2]");
        assert_eq!(format!("{uri} {uri:?}"), "wss://example.com/ wss://example.com/");
    }
}
