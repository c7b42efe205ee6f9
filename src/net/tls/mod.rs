//! TLS over another transport, by rustls, for both roles.
//!
//! A [`TlsAcceptor`] makes a server's sessions and can be given new certificates while it runs; a [`TlsConnector`] makes
//! a client's. Both yield a [`TlsStream`], which is read and written like the socket below it.
//!
//! Which cryptography is used is decided in `provider` and nowhere else.

mod client;
mod error;
mod pem;
mod provider;
mod server;
mod stream;

pub use client::TlsConnector;
pub use error::TlsError;
pub use server::{CertificateFiles, TlsAcceptor};
pub use stream::{TlsInfo, TlsStream};

/// The only protocol spoken inside: an upgrade to WebSocket starts from HTTP/1.1 [RFC 6455 §4.1]. A peer that offers
/// others alone is refused in the TLS handshake; one that offers none is welcome [RFC 7301 §3.2].
const ALPN: &[u8] = b"http/1.1";
