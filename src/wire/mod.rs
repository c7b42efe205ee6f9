//! Bytes ⇄ frames: what stands on the wire, and nothing else [RFC 6455 §5].
//!
//! Pure functions and plain values. No clock, no I/O, no policy: whether a frame is *allowed now* is decided by
//! [`protocol`](crate::protocol); here it is only read and written.

mod close;
mod error;
mod header;
mod mask;
mod message;
mod opcode;
mod rules;
mod utf8;

pub use close::{CloseCode, CloseFrame};
pub use error::ProtocolError;
pub use header::FrameHeader;
pub use mask::{MaskingKey, apply_mask};
pub(crate) use message::Encoding;
pub use message::{Message, MessageKind, PreparedMessage, SharedFrame};
pub use opcode::Opcode;
pub use rules::{Owed, Rule};
pub use utf8::Utf8Validator;
