//! loopwire
pub mod net;
pub mod wire;
