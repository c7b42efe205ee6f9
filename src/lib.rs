//! loopwire
pub mod wire;
