//! The opening handshake, both roles, no I/O: bytes of a request or an answer ⇄ what was asked and agreed [RFC 6455 §4].
//!
//! A server feeds a [`HeadReader`] until a head is complete, reads it as a [`Request`] and, if that asks for a
//! WebSocket, as an [`UpgradeRequest`], which writes the answer. Whatever is wrong is a [`Rejection`]: data with a
//! status, a section and a sentence, from which both the answer and the log line are made. A client starts a
//! [`ClientHandshake`] from a [`Uri`] and feeds it what the server answers; [`ProxyHandshake`] comes before that when
//! there is a proxy on the way. A [`BodyReader`] collects what follows the head of a request that is none of that.
//!
//! ```text
//! HeadReader ─ bytes ─▶ Request ─▶ UpgradeRequest ─ Acceptance ─▶ 101
//!      │                   │              │
//!      └───────────────────┴──────────────┴─▶ Rejection ─▶ Response (4xx, 5xx, then close)
//! ```
//!
//! ```
//! use loopwire::handshake::{Acceptance, HeadLimits, HeadReader, Rejection, Request, UpgradeRequest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = HeadLimits::default();
//! let mut reader = HeadReader::new(limits);
//! // A head arrives in pieces, and what follows it may be in the last.
//! assert_eq!(reader.push(b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n")?, None);
//! let rest = b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81";
//! assert_eq!(reader.push(rest)?, Some(rest.len() - 1));
//!
//! let request = UpgradeRequest::from_request(Request::parse(reader.bytes(), &limits)?)?;
//! assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
//! assert!(request.response(&Acceptance::default())?.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
//!
//! let rejection: Rejection = HeadReader::new(limits).push(b"GET / HTTP/1.1\n").unwrap_err();
//! assert_eq!(rejection.to_string(), "LF without CR: lines end with CR LF [RFC 9112 §2.2]");
//! # Ok(())
//! # }
//! ```

mod answer;
mod authority;
mod body;
mod client;
mod error;
mod extensions;
mod fields;
mod head;
mod key;
mod origin;
mod proxy;
mod rejection;
mod request;
mod response;
mod server;
mod uri;

pub use body::BodyReader;
pub use client::{Agreed, ClientHandshake, ClientOptions};
pub use error::{HandshakeError, Refusal};
pub(crate) use extensions::parse as parse_extensions;
pub use fields::Fields;
pub use head::{HeadFault, HeadLimits, HeadReader};
pub use key::accept_key;
pub(crate) use key::{GUID, decode_key, digest};
pub use origin::{InvalidOrigin, Origin, OriginPolicy};
pub use proxy::{ProxyError, ProxyHandshake, ProxyScheme, ProxyStep, ProxyUri};
pub use rejection::Rejection;
pub use request::{Body, Request};
pub use response::Response;
pub(crate) use server::DEFLATE;
pub use server::{Acceptance, UpgradeRequest, Version};
pub use uri::{Scheme, Uri, UriError};
