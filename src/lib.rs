//! loopwire
pub mod deflate;
pub mod net;
pub mod protocol;
pub mod wire;
