//! loopwire

#![forbid(unsafe_code)]

pub mod deflate;
pub mod handshake;
pub mod net;
pub mod protocol;
pub mod wire;
