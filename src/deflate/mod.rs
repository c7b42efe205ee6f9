//! permessage-deflate: what two endpoints agree on, and the codec that then runs on each message [RFC 7692].
//!
//! Negotiation goes over plain values: [`DeflateOffer`], [`DeflateParams`]. Their text stands in the
//! `Sec-WebSocket-Extensions` field, whose grammar [`handshake`](crate::handshake) reads. The codec turns a message's payload into a compressed one and
//! back: whole or in pieces, with or without the context of earlier messages.

mod compress;
mod decompress;
mod history;
mod params;
mod quick;

pub use compress::Compressor;
pub use decompress::{Decompressor, InflateError};
pub use params::{DeflateConfig, DeflateOffer, DeflateParams, ParamError};

/// What a message's deflate data ends with and the wire leaves out: the length and its complement of an empty stored
/// block [RFC 7692 §7.2.1].
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How much a codec writes at a time, in bytes.
const BLOCK_LEN: usize = 16 * 1024;
