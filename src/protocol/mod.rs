//! An open connection, from the handshake's end to the last byte: frames in, events out, answers written
//! [RFC 6455 §5.4–§7].
//!
//! No socket and no clock: bytes come in as [`Input`], bytes go out through a `Vec<u8>`, and the time is an argument.
//! So one [`Connection`] serves the event loop, the tests with their virtual clock and the fuzzers alike.
//!
//! ```text
//!            Input ─▶ decoder ─▶ assembler ─▶ Event          what the peer says
//!                        │           │
//!                        ▼           ▼
//!                     closing     keepalive ─▶ out            what the protocol answers by itself
//!                        ▲           ▲
//!          send, ping, close ─▶ encoder ─────▶ out            what the application says
//! ```
//!
//! Decoding happens in place in the caller's buffer, and an event borrows from it (or from the [`Scratch`], where
//! messages are put together that do not stand whole in the input), never from the connection: a handler can answer
//! while it reads.

mod assembler;
mod closing;
mod config;
mod connection;
mod decoder;
mod encoder;
mod event;
mod frame_log;
mod input;
mod keepalive;
mod memory;
mod rate;

pub use config::{Config, Delivery, Role};
pub use connection::{Connection, State, Teardown};
pub use event::{Closed, Event, Piece, SendError, Side};
pub(crate) use frame_log::log_as;
pub use input::{Input, Scratch};
pub(crate) use memory::Memory;
