//! `user:password@host:port`, or a part of it, as it stands in Host, in an origin and in an address [RFC 3986 §3.2].

use std::fmt;
use std::net::Ipv6Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A host and perhaps a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// A name or an address, without the brackets that an IPv6 address has.
    pub(super) host: &'a str,
    pub(super) is_ipv6: bool,
    pub(super) port: Option<u16>,
}

/// Why a text is not a host with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthorityFault {
    HostEmpty,
    HostInvalid,
    PortInvalid,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
    ///
    /// Of what the RFC's grammar allows in a name, the sub-delimiters (`!$&'()*+,;=`) are refused: no host has them,
    /// and a comma makes one field look like two.
    pub(super) fn parse(text: &'a str) -> Result<Self, AuthorityFault> {
        let (host, is_ipv6, rest) = if let Some(inner) = text.strip_prefix('[') {
            let (host, rest) = inner.split_once(']').ok_or(AuthorityFault::HostInvalid)?;
            host.parse::<Ipv6Addr>().map_err(|_| AuthorityFault::HostInvalid)?;
            (host, true, rest)
        } else {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            if host.is_empty() {
                return Err(AuthorityFault::HostEmpty);
            }
            if !is_name(host) {
                return Err(AuthorityFault::HostInvalid);
            }
            (host, false, rest)
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return Err(AuthorityFault::HostInvalid),
            // An empty port is the default one [RFC 3986 §3.2.3].
            Some("") => None,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().map_err(|_| AuthorityFault::PortInvalid)?)
            }
            Some(_) => return Err(AuthorityFault::PortInvalid),
        };
        Ok(Self { host, is_ipv6, port })
    }

    /// Whether both name the same host and port; a port that is not given is `default`.
    pub(super) fn is_same(&self, other: &Self, default: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host) && self.port.or(default) == other.port.or(default)
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ipv6 {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(self.host)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The port that a scheme has if none is given.
pub(super) fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("http") || is("ws") {
        Some(80)
    } else if is("https") || is("wss") {
        Some(443)
    } else {
        None
    }
}

/// Whether `host` is a name: letters, digits, `-._~`, and bytes as `%` and two digits.
pub(super) fn is_name(host: &str) -> bool {
    let mut bytes = host.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => (0..2).all(|_| bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit())),
            _ => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'),
        };
        if !fits {
            return false;
        }
    }
    !host.is_empty()
}

/// A name and a password from an address; nothing prints them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Takes `user:password@` off the front of an authority.
    ///
    /// `None` if a byte cannot stand there, such as a backslash, which others take for the end of the host; if a `%` is
    /// not followed by two hexadecimal digits; or if the name has a colon, which Basic credentials cannot say
    /// [RFC 3986 §3.2.1, RFC 7617 §2].
    pub(super) fn split(authority: &str) -> Option<(Option<Self>, &str)> {
        let Some((userinfo, authority)) = authority.rsplit_once('@') else { return Some((None, authority)) };
        if !userinfo.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(&byte)) {
            return None;
        }
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let credentials = Self { user: percent_decode(user)?, password: percent_decode(password)? };
        (!credentials.user.contains(&b':')).then_some((Some(credentials), authority))
    }

    /// The value of Authorization or Proxy-Authorization [RFC 7617 §2].
    pub(super) fn basic(&self) -> String {
        let both = [&self.user[..], b":", &self.password[..]].concat();
        format!("Basic {}", STANDARD.encode(both))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The bytes that `text` stands for, `%` and two digits being one; `None` if the digits are missing.
pub(super) fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            (digit()? * 16 + digit()?) as u8
        } else {
            byte
        });
    }
    Some(decoded)
}

/// The reverse, for what a path shows: every byte but letters, digits and `-._~/`.
pub(super) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_or_refused() {
        let found = |host, is_ipv6, port| Ok(Authority { host, is_ipv6, port });
        let rows = [
            ("example.com", found("example.com", false, None)),
            ("example.com:", found("example.com", false, None)),
            ("EXAMPLE.com:8080", found("EXAMPLE.com", false, Some(8080))),
            ("127.0.0.1:65535", found("127.0.0.1", false, Some(65_535))),
            ("a%2Fb", found("a%2Fb", false, None)),
            ("[::1]", found("::1", true, None)),
            ("[2001:db8::1]:443", found("2001:db8::1", true, Some(443))),
            ("", Err(AuthorityFault::HostEmpty)),
            (":80", Err(AuthorityFault::HostEmpty)),
            ("::1", Err(AuthorityFault::HostEmpty)),
            ("[::1", Err(AuthorityFault::HostInvalid)),
            ("[::1]x", Err(AuthorityFault::HostInvalid)),
            ("[fe80::1%eth0]", Err(AuthorityFault::HostInvalid)),
            ("[127.0.0.1]", Err(AuthorityFault::HostInvalid)),
            ("a b", Err(AuthorityFault::HostInvalid)),
            ("a,b", Err(AuthorityFault::HostInvalid)),
            ("a/b", Err(AuthorityFault::HostInvalid)),
            ("user@a", Err(AuthorityFault::HostInvalid)),
            ("a%2", Err(AuthorityFault::HostInvalid)),
            ("a%zz", Err(AuthorityFault::HostInvalid)),
            ("bücher.example", Err(AuthorityFault::HostInvalid)),
            ("a:65536", Err(AuthorityFault::PortInvalid)),
            ("a:+80", Err(AuthorityFault::PortInvalid)),
            ("a:80:80", Err(AuthorityFault::PortInvalid)),
            ("a:8o", Err(AuthorityFault::PortInvalid)),
        ];
        for (text, outcome) in rows {
            assert_eq!(Authority::parse(text), outcome, "{text:?}");
        }
    }
}
