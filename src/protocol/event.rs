//! What a connection reports, and how its calls fail.

use std::fmt;
use std::time::Duration;

use crate::wire::{CloseCode, CloseFrame, Message, MessageKind, ProtocolError};

/// Something that the peer said or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// The next piece of a message, under [`Delivery::Pieces`](super::Delivery::Pieces).
    Piece(Piece<'a>),
    /// A ping with this payload; its pong is already written.
    Ping(&'a [u8]),
    /// A pong.
    Pong {
        /// Its payload.
        payload: &'a [u8],
        /// The time since our latest ping, if this pong answers that one.
        rtt: Option<Duration>,
    },
    /// The peer's Close; if it came first, it is already answered.
    Close(CloseFrame<'a>),
    /// The peer broke a rule, or let a deadline pass, and the connection failed. The Close that tells it so is already
    /// written, unless one was sent before [RFC 6455 §7.1.7].
    Error(ProtocolError),
}

/// A part of a message, cut wherever the network cut it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Whether the message is text or binary.
    pub kind: MessageKind,
    /// The bytes. Those of a text message are valid UTF-8 as far as they go, but may end inside a character.
    pub data: &'a [u8],
    /// Whether the message begins here.
    pub first: bool,
    /// Whether it ends here; such a piece may be empty.
    pub last: bool,
}

/// One end of a connection, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This end.
    Local,
    /// The other.
    Peer,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The code of the peer's Close: 1005 if that had none. Without one, the code that we failed the connection with, or
    /// else 1006 [RFC 6455 §7.1.5].
    pub code: CloseCode,
    /// The reason that came with the code.
    pub reason: String,
    /// Whether both ends sent and received a Close and no rule was broken [RFC 6455 §7.1.4].
    pub clean: bool,
    /// Who began: the end that sent the first Close, or that fell silent, or broke a rule or the stream.
    pub by: Side,
    /// The rule that was broken, if one was.
    pub error: Option<ProtocolError>,
}

/// Why something was not sent. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// A Close was sent or received, and nothing follows a Close [RFC 6455 §5.5.1].
    Closing,
    /// The connection is gone.
    Closed,
    /// A message sent in pieces is unfinished, and messages do not mix [RFC 6455 §5.4].
    MessageInProgress,
    /// The code may not stand in a close frame [RFC 6455 §7.4].
    InvalidCloseCode(CloseCode),
    /// The close reason has this many bytes, more than the 123 that fit.
    ReasonTooLong(usize),
    /// The ping's or pong's payload has this many bytes, more than the 125 that fit.
    PayloadTooLong(usize),
    /// The pieces of a text message are not UTF-8 together.
    NotUtf8,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closing => f.write_str("the connection is closing: nothing can be sent after a Close"),
            Self::Closed => f.write_str("the connection is closed"),
            Self::MessageInProgress => {
                f.write_str("a message is being sent in pieces: finish it before sending another")
            }
            Self::InvalidCloseCode(code) => {
                write!(f, "close code {code} may not be sent: use one of 1000–1003, 1007–1014 and 3000–4999")
            }
            Self::ReasonTooLong(len) => write!(f, "a close reason of {len} bytes: at most 123 fit"),
            Self::PayloadTooLong(len) => write!(f, "a ping or pong of {len} bytes: at most 125 fit"),
            Self::NotUtf8 => f.write_str("a piece of a text message that is not UTF-8"),
        }
    }
}

impl std::error::Error for SendError {}
