//! The opening handshake, both roles, no I/O: bytes of a request or an answer ⇄ what was asked and agreed [RFC 6455 §4].
//!
//! A server feeds a [`HeadReader`] until a head is complete, reads it as a [`Request`] and, if that asks for a
//! WebSocket, as an [`UpgradeRequest`], which writes the answer. Whatever is wrong is a [`Rejection`]: data with a
//! status, a section and a sentence, from which both the answer and the log line are made. A client starts a
//! [`ClientHandshake`] from a [`Uri`] and feeds it what the server answers; [`ProxyHandshake`] comes before that when
//! there is a proxy on the way.
//!
//! ```text
//! HeadReader ─ bytes ─▶ Request ─▶ UpgradeRequest ─ Acceptance ─▶ 101
//!      │                   │              │
//!      └───────────────────┴──────────────┴─▶ Rejection ─▶ Response (4xx, 5xx, then close)
//! ```

mod answer;
mod authority;
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

pub use client::{Agreed, ClientHandshake, ClientOptions};
pub use error::{HandshakeError, Refusal};
pub use fields::Fields;
pub use head::{HeadFault, HeadLimits, HeadReader};
pub use key::accept_key;
pub use origin::{InvalidOrigin, Origin, OriginPolicy};
pub use proxy::{ProxyError, ProxyHandshake, ProxyScheme, ProxyStep, ProxyUri};
pub use rejection::{HandshakeRule, Rejection};
pub use request::{Body, Request};
pub use response::Response;
pub use server::{Acceptance, UpgradeRequest, Version};
pub use uri::{Scheme, Uri, UriError};
