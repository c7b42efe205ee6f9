//! The open connection: a state machine between two byte streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Closed, Config, Event, Input, Role, Scratch, SendError};
use crate::deflate::DeflateParams;
use crate::wire::{CloseCode, Message, MessageKind, PreparedMessage, SharedFrame};

/// Where a connection stands in its life [RFC 6455 §7].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Messages flow both ways.
    Open,
    /// A Close was sent or received, or a rule was broken; the stream still stands.
    Closing {
        /// Whether our Close is written.
        sent: bool,
        /// Whether the peer's has come.
        received: bool,
    },
    /// The stream ended, or a deadline gave it up.
    Closed,
}

/// What the transport is to do now. Deadlines are among [`Connection::next_timeout`]; when one passes, the answer
/// becomes [`Drop`](Self::Drop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teardown {
    /// Go on reading and writing.
    KeepOpen,
    /// Write out what is queued, shut down the write side, then read and discard until the peer's end of stream: so that
    /// no reset destroys our Close on its way. A server after both Closes, and either end after a failure.
    FlushThenCloseWrite,
    /// Write out what is queued, then read until the server's end of stream: the server closes first, so that the
    /// `TIME_WAIT` is its own [RFC 6455 §7.1.1]. A client after both Closes.
    AwaitPeerEnd,
    /// Close the socket at once.
    Drop,
}

/// One end of an open connection.
///
/// Feed it what was read ([`receive`](Self::receive)), ask it to send, write out what it appends to `out`, and call
/// [`handle_timeout`](Self::handle_timeout) when [`next_timeout`](Self::next_timeout) has come.
#[derive(Debug)]
pub struct Connection {}

impl Connection {
    /// A connection whose opening handshake just ended at `now`, having agreed on `deflate`.
    pub fn new(role: Role, config: Arc<Config>, deflate: Option<DeflateParams>, now: Instant) -> Self {
        todo!()
    }

    /// Decodes the next event; `None` when the input is used up, and whatever it began is kept.
    ///
    /// The event borrows from the input or the scratch, never from the connection. What the protocol answers by itself
    /// (pongs, the Close) is appended to `out`.
    pub fn receive<'e, 'i: 'e>(
        &mut self,
        input: &mut Input<'i>,
        scratch: &'e mut Scratch,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Event<'e>> {
        todo!()
    }

    /// Appends a message to `out`: compressed if that was agreed and is worth it, in frames of at most
    /// [`Config::fragment_size`].
    ///
    /// # Errors
    /// If the connection is closing, or a message sent in pieces is unfinished.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>, out: &mut Vec<u8>) -> Result<(), SendError> {
        todo!()
    }

    /// Appends the next piece of a message that is sent as it comes into being; `last` ends it. Pings, pongs and a Close
    /// may go between the pieces, other messages not. The pieces of a text may be cut inside a character.
    ///
    /// # Errors
    /// If the connection is closing, a message of the other kind is unfinished, or the text is not UTF-8: that piece is
    /// then not sent, and the message still unfinished.
    pub fn send_piece(
        &mut self,
        kind: MessageKind,
        data: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        todo!()
    }

    /// Sends a message that many connections share. A server gets the frame back, for its caller to queue by reference
    /// after what is in `out`; a client must mask it, so it is written to `out` and `None` returned.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_prepared(
        &mut self,
        message: &PreparedMessage,
        out: &mut Vec<u8>,
    ) -> Result<Option<SharedFrame>, SendError> {
        todo!()
    }

    /// Appends a ping; the pong that answers it carries the round-trip time.
    ///
    /// # Errors
    /// If the connection is closing, or the payload is longer than 125 bytes.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>, now: Instant) -> Result<(), SendError> {
        todo!()
    }

    /// Appends a pong that nobody asked for: a one-way heartbeat [RFC 6455 §5.5.3].
    ///
    /// # Errors
    /// If the connection is closing, or the payload is longer than 125 bytes.
    pub fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        todo!()
    }

    /// Appends a Close and gives the peer [`Config::close_timeout`] to answer; until then what it sends is discarded.
    /// [`CloseCode::NO_STATUS`] sends an empty one.
    ///
    /// # Errors
    /// If a Close was already sent, the code may not be sent, or the reason is longer than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>, now: Instant) -> Result<(), SendError> {
        todo!()
    }

    /// Takes note that the peer's stream has ended.
    pub fn end_of_stream(&mut self) {
        todo!()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. The moment may move with every call; being early is harmless.
    pub fn next_timeout(&self) -> Option<Instant> {
        todo!()
    }

    /// Does what is due at `now`: pings a silent peer, fails one that stays silent or never finishes a message, and gives
    /// up on one that does not let go.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Event<'static>> {
        todo!()
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        todo!()
    }

    /// What the transport is to do now.
    pub fn teardown(&self) -> Teardown {
        todo!()
    }

    /// How the connection ended, or would if the stream broke now.
    pub fn closed(&self) -> Closed {
        todo!()
    }

    /// The latest measured time between a ping and its pong.
    pub fn round_trip_time(&self) -> Option<Duration> {
        todo!()
    }

    /// What was agreed about compression.
    pub fn deflate(&self) -> Option<DeflateParams> {
        todo!()
    }
}
