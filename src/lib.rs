//! loopwire
pub mod deflate;
pub mod net;
pub mod wire;
