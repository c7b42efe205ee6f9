//! The client's side: a request, and the judgement of what the server answers [RFC 6455 §4.1].

use super::{Fields, HandshakeError, Uri, Version};
use crate::deflate::{DeflateConfig, DeflateParams};

/// What a client asks for besides the address.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// Protocols to offer, the preferred one first.
    pub protocols: Vec<String>,
    /// More fields, such as Cookie or Authorization.
    pub fields: Vec<(String, String)>,
    /// The origin to name, as a browser would.
    pub origin: Option<String>,
    /// The version to speak.
    pub version: Version,
    /// Compression to offer.
    pub deflate: Option<DeflateConfig>,
}

/// What client and server agreed on.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The protocol that the server chose, one of those offered.
    pub protocol: Option<String>,
    /// The compression agreed on.
    pub deflate: Option<DeflateParams>,
    /// The fields of the 101.
    pub fields: Fields,
}

/// A handshake under way, from the request sent to the answer judged.
#[derive(Debug)]
pub struct ClientHandshake {}

impl ClientHandshake {
    /// Begins a handshake and gives the request's bytes, to be sent before anything else.
    ///
    /// # Errors
    /// Something in the options may not be sent, or the system gives no randomness.
    pub fn new(uri: &Uri, options: &ClientOptions) -> Result<(Self, Vec<u8>), HandshakeError> {
        let _ = (uri, options);
        todo!()
    }

    /// As [`new`](Self::new), with a nonce of the caller's: for tests that replay.
    ///
    /// # Errors
    /// Something in the options may not be sent.
    pub fn with_nonce(uri: &Uri, options: &ClientOptions, nonce: [u8; 16]) -> Result<(Self, Vec<u8>), HandshakeError> {
        let _ = (uri, options, nonce);
        todo!()
    }

    /// Takes the next piece of the answer. `Some((agreed, n))`: the handshake is done, and `n` bytes of this piece
    /// belonged to it; the rest are frames.
    ///
    /// # Errors
    /// The rule that the answer breaks, or its status and the beginning of its body if it is not a 101.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<(Agreed, usize)>, HandshakeError> {
        let _ = piece;
        todo!()
    }

    /// The stream has ended, or time is up, before [`push`](Self::push) gave a result: what to say about that.
    pub fn give_up(&mut self) -> HandshakeError {
        todo!()
    }
}
