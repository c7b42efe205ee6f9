//! The learning layer: what the bytes of a conversation say, who broke which rule with them, and how to see it.
//!
//! A [`Conversation`] watches both directions of a connection, from the request line to the last frame, without taking
//! part: bytes in, what is [`Seen`] out. Its judgement is the engine's own, because each direction is read by a
//! [`Connection`](crate::protocol::Connection) in the receiver's role.
//!
//! What is seen is told in a sentence by its `Display`, and in detail by [`Seen::detail`]: a frame as RFC 6455 §5.2 draws it, a
//! handshake field by field, a broken [`Rule`](crate::wire::Rule) with what it costs and where it is tested.
//!
//! ```
//! use std::time::Instant;
//!
//! use loopwire::Role;
//! use loopwire::explain::{Conversation, Seen};
//!
//! let mut conversation = Conversation::of_frames(None, Instant::now());
//! let mut sentences = Vec::new();
//! // A client's "Hello", but without the mask that a client's frames have [RFC 6455 §5.7].
//! conversation.push(Role::Client, b"\x81\x05Hello", &mut |seen| sentences.push(seen.to_string()));
//! assert!(sentences[0].contains("a client masks every frame it sends [RFC 6455 §5.1]"), "{sentences:?}");
//! ```

mod compose;
mod conversation;
mod detail;
mod figure;
mod flow;
mod frame;
mod inflated;
mod opening;
mod payload;
mod sentence;

mod text;
mod violation;

pub use compose::{ComposeError, ComposedFrame, Composer};
pub use conversation::{Conversation, EndpointState, Seen};
pub use detail::{Detail, rule_in_detail};
pub use frame::{Frame, LengthForm, RawHeader, WholeMessage};
pub use text::wrap;
pub use violation::{Breach, Violation};
