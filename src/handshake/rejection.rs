//! Why a server answers something else than 101, as data: a status, a section and a sentence for each reason.

use std::fmt;
use std::time::Duration;

use super::fields::is_field_value;
use super::{HeadFault, Response};
use crate::wire::Rule;

/// Why a request is not answered with 101, or not given to the application.
///
/// Where a variant holds text that the client sent, it is the beginning of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The head itself is broken.
    Head(HeadFault),
    /// Neither HTTP/1.1 nor HTTP/1.0.
    HttpVersion(String),
    /// The target is not a path or an absolute address, or has a byte that no target has.
    Target(String),
    /// An absolute target and Host name different servers.
    TargetMismatch,
    /// No Host.
    HostMissing,
    /// More than one Host.
    HostDuplicate,
    /// Host is not a host and perhaps a port.
    HostInvalid(String),
    /// Content-Length is not one number that fits.
    ContentLengthInvalid,
    /// Transfer-Encoding that is not `chunked` alone, or stands where it may not.
    TransferEncodingInvalid,
    /// A chunk's size is not hexadecimal digits for at most 64 bits, or something else than CR LF is where it has to be.
    ChunkInvalid,
    /// More bytes of chunk extensions than this.
    ChunkExtensionsTooLong(usize),
    /// More bytes of fields behind the last chunk than this.
    TrailersTooLong(usize),
    /// More bytes in a body than this.
    BodyTooLong(usize),
    /// An expectation other than `100-continue`.
    Expectation(String),

    /// An upgrade by another method than GET.
    Method(String),
    /// An upgrade over HTTP/1.0.
    UpgradeOverHttp10,
    /// No Upgrade: a plain request where a handshake is expected.
    UpgradeMissing,
    /// Upgrade, but not to `websocket`.
    UpgradeOther(String),
    /// Connection does not list `upgrade`.
    ConnectionWithoutUpgrade,
    /// No Sec-WebSocket-Version.
    VersionMissing,
    /// Sec-WebSocket-Version is not one number from 0 to 255.
    VersionInvalid,
    /// A version that is not spoken here.
    VersionUnsupported(u8),
    /// No Sec-WebSocket-Key.
    KeyMissing,
    /// More than one Sec-WebSocket-Key.
    KeyDuplicate,
    /// Sec-WebSocket-Key is not 16 bytes in base64.
    KeyInvalid,
    /// A body comes with the request.
    BodyPresent,
    /// Sec-WebSocket-Protocol is not a list of tokens.
    ProtocolInvalid(String),
    /// A protocol offered twice.
    ProtocolDuplicate(String),
    /// Sec-WebSocket-Extensions does not follow its grammar at this byte of the value.
    ExtensionsInvalid(usize),

    /// No origin, and one is required.
    OriginMissing,
    /// More than one origin.
    OriginDuplicate,
    /// An origin that may not connect.
    OriginForbidden(String),
    /// None of the protocols offered is spoken, and one is required.
    NoCommonProtocol,
    /// Nothing is at this path.
    NotFound,
    /// Credentials are missing or wrong; what WWW-Authenticate says.
    Unauthorized(String),
    /// The client may not connect.
    Forbidden,
    /// The head was not complete in time.
    RequestTimeout,
    /// The body was not complete in time.
    BodyTimeout,
    /// The application has not answered in time.
    AnswerTimeout,
    /// This client asks too often.
    TooManyRequests(Option<Duration>),
    /// The server is full, or about to stop.
    Unavailable(Option<Duration>),
    /// Whatever the application says, by its status.
    Application(u16),
}

impl Rejection {
    /// 404: nothing is at this path.
    pub fn not_found() -> Self {
        Self::NotFound
    }

    /// 403: pages from this origin may not connect.
    pub fn forbidden_origin(origin: &str) -> Self {
        Self::OriginForbidden(super::fields::excerpt(origin))
    }

    /// 403: the client may not connect.
    pub fn forbidden() -> Self {
        Self::Forbidden
    }

    /// 401: credentials are missing or wrong; `challenge` is what WWW-Authenticate says, such as `Bearer`.
    pub fn unauthorized(challenge: &str) -> Self {
        Self::Unauthorized(challenge.to_owned())
    }

    /// 503: full, or about to stop; when to come back, in whole seconds.
    pub fn unavailable(retry_after: Option<Duration>) -> Self {
        Self::Unavailable(retry_after)
    }

    /// 429: this client asks too often; when to come back, in whole seconds.
    pub fn too_many_requests(retry_after: Option<Duration>) -> Self {
        Self::TooManyRequests(retry_after)
    }

    /// 408: the head was not complete in time.
    pub fn request_timeout() -> Self {
        Self::RequestTimeout
    }

    /// 400: none of the protocols offered is spoken, and one is required.
    pub fn no_common_protocol() -> Self {
        Self::NoCommonProtocol
    }

    /// Whatever the application says: a status from 300 to 599; any other becomes 500.
    pub fn application(status: u16) -> Self {
        Self::Application(if matches!(status, 300..=599) { status } else { 500 })
    }

    /// The status to answer with.
    pub fn status(&self) -> u16 {
        match self {
            Self::Application(status) => *status,
            _ => self.rule().status().unwrap_or(400),
        }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> &'static Rule {
        match self {
            Self::Head(fault) => fault.rule(),
            Self::HttpVersion(_) => Rule::HTTP_VERSION,
            Self::Target(_) => Rule::TARGET,
            Self::TargetMismatch => Rule::TARGET_MISMATCH,
            Self::HostMissing => Rule::HOST_MISSING,
            Self::HostDuplicate => Rule::HOST_DUPLICATE,
            Self::HostInvalid(_) => Rule::HOST_INVALID,
            Self::ContentLengthInvalid => Rule::CONTENT_LENGTH,
            Self::TransferEncodingInvalid => Rule::TRANSFER_ENCODING,
            Self::ChunkInvalid => Rule::CHUNK,
            Self::ChunkExtensionsTooLong(_) => Rule::CHUNK_EXTENSIONS_TOO_LONG,
            Self::TrailersTooLong(_) => Rule::TRAILERS_TOO_LONG,
            Self::BodyTooLong(_) => Rule::BODY_TOO_LONG,
            Self::Expectation(_) => Rule::EXPECTATION,
            Self::Method(_) => Rule::METHOD,
            Self::UpgradeOverHttp10 => Rule::UPGRADE_OVER_HTTP_1_0,
            Self::UpgradeMissing | Self::UpgradeOther(_) => Rule::UPGRADE,
            Self::ConnectionWithoutUpgrade => Rule::CONNECTION,
            Self::VersionMissing => Rule::VERSION_MISSING,
            Self::VersionInvalid => Rule::VERSION_INVALID,
            Self::VersionUnsupported(_) => Rule::VERSION_UNSUPPORTED,
            Self::KeyMissing => Rule::KEY_MISSING,
            Self::KeyDuplicate => Rule::KEY_DUPLICATE,
            Self::KeyInvalid => Rule::KEY_INVALID,
            Self::BodyPresent => Rule::BODY_PRESENT,
            Self::ProtocolInvalid(_) => Rule::PROTOCOL_INVALID,
            Self::ProtocolDuplicate(_) => Rule::PROTOCOL_DUPLICATE,
            Self::ExtensionsInvalid(_) => Rule::EXTENSIONS_INVALID,
            Self::OriginMissing => Rule::ORIGIN_MISSING,
            Self::OriginDuplicate => Rule::ORIGIN_DUPLICATE,
            Self::OriginForbidden(_) => Rule::ORIGIN_FORBIDDEN,
            Self::NoCommonProtocol => Rule::NO_COMMON_PROTOCOL,
            Self::NotFound => Rule::NOT_FOUND,
            Self::Unauthorized(_) => Rule::UNAUTHORIZED,
            Self::Forbidden => Rule::FORBIDDEN,
            Self::RequestTimeout => Rule::REQUEST_TIMEOUT,
            Self::BodyTimeout => Rule::BODY_TIMEOUT,
            Self::AnswerTimeout => Rule::ANSWER_TIMEOUT,
            Self::TooManyRequests(_) => Rule::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => Rule::UNAVAILABLE,
            Self::Application(_) => Rule::APPLICATION,
        }
    }

    /// Where the rule is written, such as `RFC 6455 §4.2.1`.
    pub fn section(&self) -> &'static str {
        self.rule().section
    }

    /// The answer: the status, the fields that it needs, and a text that names the rule.
    pub fn response(&self) -> Response {
        let response = Response::text(self.status(), &format!("{self}\n"));
        let seconds = |after: &Duration| after.as_secs() + u64::from(after.subsec_nanos() > 0);
        match self {
            Self::Method(_) => response.with_known_field("Allow", "GET".to_owned()),
            Self::UpgradeMissing | Self::UpgradeOther(_) => {
                response.with_known_field("Upgrade", "websocket".to_owned())
            }
            Self::VersionMissing | Self::VersionUnsupported(_) => response
                .with_known_field("Upgrade", "websocket".to_owned())
                .with_known_field("Sec-WebSocket-Version", "13, 8".to_owned()),
            Self::Unauthorized(challenge) => {
                // A challenge that cannot be sent is a mistake of ours, and no reason to let anyone in.
                let challenge = if is_field_value(challenge) { challenge } else { "Bearer" };
                response.with_known_field("WWW-Authenticate", challenge.to_owned())
            }
            Self::TooManyRequests(Some(after)) | Self::Unavailable(Some(after)) => {
                response.with_known_field("Retry-After", seconds(after).to_string())
            }
            _ => response,
        }
    }
}

impl From<HeadFault> for Rejection {
    fn from(fault: HeadFault) -> Self {
        Self::Head(fault)
    }
}

impl fmt::Display for Rejection {
    /// What happened, then the rule and its section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(fault) => fault.fmt(f),
            Self::HttpVersion(version) => write!(f, "version {version:?}"),
            Self::Target(target) => write!(f, "target {target:?}"),
            Self::TargetMismatch => f.write_str("a target on another server than Host's"),
            Self::HostMissing => f.write_str("no Host"),
            Self::HostDuplicate => f.write_str("more than one Host"),
            Self::HostInvalid(host) => write!(f, "Host {host:?}"),
            Self::ContentLengthInvalid => f.write_str("a Content-Length that is ambiguous or no number"),
            Self::TransferEncodingInvalid => f.write_str("a Transfer-Encoding that is not understood"),
            Self::ChunkInvalid => f.write_str("a malformed chunk"),
            Self::ChunkExtensionsTooLong(limit) => write!(f, "more than {limit} bytes of chunk extensions"),
            Self::TrailersTooLong(limit) => write!(f, "more than {limit} bytes of fields behind a body"),
            Self::BodyTooLong(limit) => write!(f, "a body of more than {limit} bytes"),
            Self::Expectation(expectation) => write!(f, "expectation {expectation:?}"),
            Self::Method(method) => write!(f, "method {method:?}"),
            Self::UpgradeOverHttp10 => f.write_str("an upgrade over HTTP/1.0"),
            Self::UpgradeMissing => f.write_str("no Upgrade"),
            Self::UpgradeOther(upgrade) => write!(f, "Upgrade {upgrade:?}"),
            Self::ConnectionWithoutUpgrade => f.write_str("Connection without upgrade"),
            Self::VersionMissing => f.write_str("no Sec-WebSocket-Version"),
            Self::VersionInvalid => f.write_str("a Sec-WebSocket-Version that is not one number"),
            Self::VersionUnsupported(version) => write!(f, "version {version}"),
            Self::KeyMissing => f.write_str("no Sec-WebSocket-Key"),
            Self::KeyDuplicate => f.write_str("more than one Sec-WebSocket-Key"),
            Self::KeyInvalid => f.write_str("a malformed Sec-WebSocket-Key"),
            Self::BodyPresent => f.write_str("a body after an opening handshake"),
            Self::ProtocolInvalid(protocol) => write!(f, "protocol {protocol:?}"),
            Self::ProtocolDuplicate(protocol) => write!(f, "protocol {protocol:?} twice"),
            Self::ExtensionsInvalid(at) => write!(f, "Sec-WebSocket-Extensions malformed at byte {at}"),
            Self::OriginMissing => f.write_str("no origin"),
            Self::OriginDuplicate => f.write_str("more than one origin"),
            Self::OriginForbidden(origin) => write!(f, "origin {origin:?}"),
            Self::NoCommonProtocol => f.write_str("no protocol in common"),
            Self::NotFound => f.write_str("nothing here"),
            Self::Unauthorized(_) => f.write_str("no valid credentials"),
            Self::Forbidden => f.write_str("not allowed"),
            Self::RequestTimeout => f.write_str("a head not complete in time"),
            Self::BodyTimeout => f.write_str("a body not complete in time"),
            Self::AnswerTimeout => f.write_str("no answer in time"),
            Self::TooManyRequests(_) => f.write_str("too many connections or requests"),
            Self::Unavailable(_) => f.write_str("no room"),
            Self::Application(status) => write!(f, "refused with {status}"),
        }?;
        let rule = self.rule();
        write!(f, ": {} [{}]", rule.sentence, rule.section)
    }
}

impl std::error::Error for Rejection {}
