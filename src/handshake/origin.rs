//! Which pages may connect: a browser sends its cookies to any host, so a server that trusts them must ask which page
//! opened the connection [RFC 6455 §10.2].

use std::fmt;
use std::net::IpAddr;

use super::authority::{Authority, default_port};
use super::{Rejection, Request, UpgradeRequest};

/// From which origins a browser may connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Any, or none given.
    #[default]
    Any,
    /// Only the host and port that the request itself names in Host; the scheme is not compared, as TLS may end at a
    /// proxy before this server. A server that only its machine or its network should reach wants a
    /// [`List`](Self::List): whoever points a name of their own at its address has the same host.
    SameHost,
    /// Only pages that come from this machine, by a name that nobody else can have: `localhost`, 127.0.0.1, `[::1]`, at any
    /// port. For servers that listen on loopback.
    Loopback,
    /// Only one of these.
    List(Vec<Origin>),
}

impl OriginPolicy {
    /// Only these, such as `https://example.com`.
    ///
    /// # Errors
    /// The first that is not an origin.
    pub fn list<'a>(origins: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidOrigin> {
        let parse = |origin: &str| Origin::parse(origin).ok_or_else(|| InvalidOrigin(origin.to_owned()));
        origins.into_iter().map(parse).collect::<Result<_, _>>().map(Self::List)
    }

    /// Judges a request.
    ///
    /// # Errors
    /// 403 if the origin is missing, given twice, `null`, or not one of those allowed.
    pub fn judge(&self, request: &UpgradeRequest) -> Result<(), Rejection> {
        if *self == Self::Any {
            return Ok(());
        }
        let field = request.version().origin_field();
        let value = request.fields().sole(field).map_err(|_| Rejection::OriginDuplicate)?;
        let value = value.ok_or(Rejection::OriginMissing)?;
        let origin = Origin::parse(value).ok_or_else(|| Rejection::forbidden_origin(value))?;
        if self.allows(&origin, request.host()) { Ok(()) } else { Err(Rejection::forbidden_origin(value)) }
    }

    /// Judges a plain request by the same policy. One that names no origin comes from no page, or from one of this host;
    /// for [`Loopback`](Self::Loopback) that host has to be this machine.
    ///
    /// # Errors
    /// 403 if the origin is given twice, `null`, or not one of those allowed.
    pub fn judge_plain(&self, request: &Request) -> Result<(), Rejection> {
        if *self == Self::Any {
            return Ok(());
        }
        let value = request.fields().sole("Origin").map_err(|_| Rejection::OriginDuplicate)?;
        let Some(value) = value else {
            let is_here = *self != Self::Loopback || is_loopback(request.host());
            return if is_here { Ok(()) } else { Err(Rejection::forbidden_origin(request.host())) };
        };
        let origin = Origin::parse(value).ok_or_else(|| Rejection::forbidden_origin(value))?;
        if self.allows(&origin, request.host()) { Ok(()) } else { Err(Rejection::forbidden_origin(value)) }
    }

    fn allows(&self, origin: &Origin, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::SameHost => origin.is_host(host),
            Self::Loopback => is_loopback_name(&origin.host),
            Self::List(allowed) => allowed.contains(origin),
        }
    }
}

/// Where a page comes from: scheme, host and port, in lower case, the port always said if the scheme has one
/// [RFC 6454 §4].
///
/// Two origins are equal if all three are; nothing is a prefix, a suffix or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host` or `scheme://host:port`; anything else, such as `null` or a path, is no origin.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let mut letters = scheme.bytes();
        let is_scheme = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !is_scheme {
            return None;
        }
        let authority = Authority::parse(authority).ok()?;
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            host: authority.host.to_ascii_lowercase(),
            port: authority.port.or(default_port(scheme)),
        })
    }

    /// Whether a Host field names this host and port. Only what a web server served has come from a host.
    fn is_host(&self, host: &str) -> bool {
        matches!(&self.scheme[..], "http" | "https")
            && Authority::parse(host).is_ok_and(|host| {
                host.host.eq_ignore_ascii_case(&self.host) && host.port.or(default_port(&self.scheme)) == self.port
            })
    }
}

/// Whether a Host field names this machine.
fn is_loopback(host: &str) -> bool {
    Authority::parse(host).is_ok_and(|authority| is_loopback_name(authority.host))
}

fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A text that was to be an allowed origin and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOrigin(String);

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an origin; write a scheme and a host, such as https://example.com", self.0)
    }
}

impl std::error::Error for InvalidOrigin {}
