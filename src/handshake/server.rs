//! The server's side: a request read as an opening handshake, and the 101 that accepts it [RFC 6455 §4.2].

use std::collections::HashSet;

use super::fields::{excerpt, is_field_value, is_token, write_field};
use super::key::is_key;
use super::{Body, Fields, HandshakeError, Rejection, Request, accept_key, extensions};
use crate::deflate::{DeflateOffer, DeflateParams};

/// The name under which compression is offered [RFC 7692 §7].
pub(crate) const DEFLATE: &str = "permessage-deflate";

/// The protocol versions that are spoken: the same frames, slightly different handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// 13, the RFC.
    #[default]
    Rfc6455,
    /// 8, the drafts hybi-08 to hybi-12: the origin is in Sec-WebSocket-Origin.
    Hybi10,
}

impl Version {
    /// The number in Sec-WebSocket-Version.
    pub const fn number(self) -> u8 {
        match self {
            Self::Rfc6455 => 13,
            Self::Hybi10 => 8,
        }
    }

    /// The field in which a browser says which page connects.
    pub(super) const fn origin_field(self) -> &'static str {
        match self {
            Self::Rfc6455 => "Origin",
            Self::Hybi10 => "Sec-WebSocket-Origin",
        }
    }
}

/// A request that is a valid opening handshake.
#[derive(Clone, Debug)]
pub struct UpgradeRequest {
    request: Request,
    version: Version,
    protocols: Vec<String>,
    offers: Vec<DeflateOffer>,
}

/// What a server agrees to; the default is the plain protocol.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// One of the protocols that the client offered.
    pub protocol: Option<String>,
    /// More fields for the 101, such as Set-Cookie.
    pub fields: Vec<(String, String)>,
    /// The compression agreed on.
    pub deflate: Option<DeflateParams>,
}

impl UpgradeRequest {
    /// Judges a request as an opening handshake.
    ///
    /// # Errors
    /// The first rule of the RFC's server side that it breaks.
    pub fn from_request(request: Request) -> Result<Self, Rejection> {
        let fields = request.fields();
        if request.method() != "GET" {
            return Err(Rejection::Method(excerpt(request.method())));
        }
        if request.is_http10() {
            return Err(Rejection::UpgradeOverHttp10);
        }
        if !request.wants_upgrade() {
            let other = fields.all("Upgrade").next().map(excerpt);
            return Err(other.map_or(Rejection::UpgradeMissing, Rejection::UpgradeOther));
        }
        if !fields.has_token("Connection", "upgrade") {
            return Err(Rejection::ConnectionWithoutUpgrade);
        }
        let version = version_of(fields)?;
        check_key(fields)?;
        if request.body() != Body::None {
            return Err(Rejection::BodyPresent);
        }
        let protocols = protocols_of(fields)?;
        let offers = offers_of(fields)?;
        Ok(Self { request, version, protocols, offers })
    }

    /// The path, as it was sent (percent-encoded).
    pub fn path(&self) -> &str {
        self.request.path()
    }

    /// The query without its `?`, as it was sent.
    pub fn query(&self) -> Option<&str> {
        self.request.query()
    }

    /// The Host field.
    pub fn host(&self) -> &str {
        self.request.host()
    }

    /// All fields.
    pub fn fields(&self) -> &Fields {
        self.request.fields()
    }

    /// The request as it was.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Where the page that connects comes from, if the client said so exactly once.
    pub fn origin(&self) -> Option<&str> {
        self.fields().get(self.version.origin_field())
    }

    /// The protocols that the client offers, the preferred one first.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// The version of the protocol.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The well-formed offers of permessage-deflate, the preferred one first; others are declined by being left out.
    pub fn offers(&self) -> &[DeflateOffer] {
        &self.offers
    }

    /// Forgets what only the handshake needed, so that the request costs less while its connection lives: the offers of
    /// compression, and the fields Connection, Upgrade, Sec-WebSocket-Key, -Version and -Extensions, Accept-Encoding,
    /// Cache-Control and Pragma. All else stays; no other [`response`](Self::response) can be made.
    pub fn shed(&mut self) {
        const SPENT: [&str; 8] = [
            "Accept-Encoding",
            "Cache-Control",
            "Connection",
            "Pragma",
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Upgrade",
        ];
        self.offers = Vec::new();
        self.request.fields_mut().retain(|name| !SPENT.iter().any(|spent| name.eq_ignore_ascii_case(spent)));
    }

    /// The 101.
    ///
    /// # Errors
    /// A protocol that was not offered, compression where none was offered, a field that may not be sent.
    pub fn response(&self, acceptance: &Acceptance) -> Result<Vec<u8>, HandshakeError> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        write_field(&mut out, "Upgrade", "websocket");
        write_field(&mut out, "Connection", "Upgrade");
        let key = self.fields().get("Sec-WebSocket-Key").unwrap_or_default();
        write_field(&mut out, "Sec-WebSocket-Accept", &accept_key(key));
        if let Some(protocol) = &acceptance.protocol {
            if !self.protocols.contains(protocol) {
                return Err(HandshakeError::ProtocolNotOffered(excerpt(protocol)));
            }
            write_field(&mut out, "Sec-WebSocket-Protocol", protocol);
        }
        if let Some(params) = &acceptance.deflate {
            if self.offers.is_empty() {
                return Err(HandshakeError::ExtensionNotOffered(DEFLATE.to_owned()));
            }
            write_field(&mut out, "Sec-WebSocket-Extensions", &params.to_string());
        }
        for (name, value) in &acceptance.fields {
            check_field(name, value)?;
            write_field(&mut out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        Ok(out)
    }
}

/// Whether an application may add this field to a handshake.
pub(super) fn check_field(name: &str, value: &str) -> Result<(), HandshakeError> {
    /// What the handshake itself writes, and what would announce a body where frames follow.
    const OURS: [&str; 6] = ["Connection", "Content-Length", "Origin", "Trailer", "Transfer-Encoding", "Upgrade"];
    let is_ours = name.get(..14).is_some_and(|start| start.eq_ignore_ascii_case("Sec-WebSocket-"))
        || OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    if is_ours {
        return Err(HandshakeError::FieldReserved(excerpt(name)));
    }
    if !is_token(name) || !is_field_value(value) {
        return Err(HandshakeError::FieldInvalid(excerpt(name)));
    }
    Ok(())
}

/// The version: `0`–`255` without leading zeros, and one that is spoken [RFC 6455 §4.1, §4.4].
fn version_of(fields: &Fields) -> Result<Version, Rejection> {
    let value = fields.sole("Sec-WebSocket-Version").map_err(|_| Rejection::VersionInvalid)?;
    let value = value.ok_or(Rejection::VersionMissing)?;
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit()) && (value == "0" || !value.starts_with('0'));
    match value.parse() {
        Ok(13) if is_number => Ok(Version::Rfc6455),
        Ok(8) if is_number => Ok(Version::Hybi10),
        Ok(number) if is_number => Err(Rejection::VersionUnsupported(number)),
        _ => Err(Rejection::VersionInvalid),
    }
}

fn check_key(fields: &Fields) -> Result<(), Rejection> {
    match fields.sole("Sec-WebSocket-Key").map_err(|_| Rejection::KeyDuplicate)? {
        None => Err(Rejection::KeyMissing),
        Some(key) if is_key(key) => Ok(()),
        Some(_) => Err(Rejection::KeyInvalid),
    }
}

/// The protocols offered: tokens, all different, on one line or several [RFC 6455 §11.3.4].
fn protocols_of(fields: &Fields) -> Result<Vec<String>, Rejection> {
    let mut seen = HashSet::new();
    let mut protocols = Vec::new();
    for protocol in fields.all("Sec-WebSocket-Protocol").flat_map(|value| value.split(',')) {
        let protocol = protocol.trim_matches([' ', '\t']);
        if !is_token(protocol) {
            return Err(Rejection::ProtocolInvalid(excerpt(protocol)));
        }
        if !seen.insert(protocol) {
            return Err(Rejection::ProtocolDuplicate(excerpt(protocol)));
        }
        protocols.push(protocol.to_owned());
    }
    Ok(protocols)
}

/// The acceptable offers of compression. An unknown extension is declined by silence, and so is an offer with
/// parameters that are unknown, doubled or out of range [RFC 6455 §9.1, RFC 7692 §7].
fn offers_of(fields: &Fields) -> Result<Vec<DeflateOffer>, Rejection> {
    let mut offers = Vec::new();
    for value in fields.all("Sec-WebSocket-Extensions") {
        let extensions = extensions::parse(value).map_err(|malformed| Rejection::ExtensionsInvalid(malformed.0))?;
        let offered = extensions.iter().filter(|extension| extension.name == DEFLATE);
        offers.extend(offered.filter_map(|offer| {
            DeflateOffer::from_params(offer.params.iter().map(|(name, value)| (*name, value.as_deref()))).ok()
        }));
    }
    Ok(offers)
}

#[cfg(test)]
mod tests {
    use super::super::HeadLimits;
    use super::*;

    #[test]
    fn a_request_that_shed_its_handshake_still_says_who_asked_for_what() {
        let head = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nupgrade: websocket\r\nConnection: Upgrade\r\n\
            Origin: http://example.com\r\nCookie: a=1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Cookie: b=2\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Version: 13\r\nPragma: no-cache\r\n\
            Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let request = Request::parse(head, &HeadLimits::default()).unwrap();
        let mut request = UpgradeRequest::from_request(request).unwrap();
        request.shed();
        let left: Vec<_> = request.fields().iter().collect();
        assert_eq!(
            left,
            [
                ("Host", "example.com"),
                ("Origin", "http://example.com"),
                ("Cookie", "a=1"),
                ("Cookie", "b=2"),
                ("Sec-WebSocket-Protocol", "chat"),
            ]
        );
        assert_eq!((request.path(), request.query(), request.host()), ("/chat", Some("room=1"), "example.com"));
        assert_eq!((request.origin(), request.version()), (Some("http://example.com"), Version::Rfc6455));
        assert_eq!((request.protocols(), request.offers()), (&["chat".to_owned()][..], &[][..]));
    }
}
