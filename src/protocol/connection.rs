//! The open connection: a state machine between two byte streams.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assembler::{Assembler, Data, Place};
use super::closing::Closing;
use super::decoder::{Decoder, Part};
use super::encoder::Encoder;
use super::frame_log::{self, Direction};
use super::keepalive::{Due, Keepalive};
use super::rate::ControlRate;
use super::{Closed, Config, Delivery, Event, Input, Piece, Role, Scratch, SendError};
use crate::deflate::{Compressor, Decompressor, DeflateParams};
use crate::wire::{
    CloseCode, CloseFrame, Encoding, Message, MessageKind, Opcode, PreparedMessage, ProtocolError, SharedFrame,
};

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
///
/// An idle one owns nothing but itself: what is in flight, and what is rare, lives behind pointers.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    decoder: Decoder,
    assembler: Assembler,
    encoder: Encoder,
    keepalive: Keepalive,
    control_rate: ControlRate,
    /// `None` while the connection is open.
    closing: Option<Box<Closing>>,
}

/// A control frame's payload is at most this long [RFC 6455 §5.5].
const MAX_CONTROL_LEN: usize = 125;

/// What an event is made of.
#[derive(Clone, Copy)]
enum Found<'i> {
    Data(Data<'i>),
    Control(Opcode, Place<'i>),
}

impl Connection {
    /// A connection whose opening handshake just ended at `now`, having agreed on `deflate`.
    pub fn new(role: Role, config: Arc<Config>, deflate: Option<DeflateParams>, now: Instant) -> Self {
        let (compressor, decompressor) = deflate.map(|agreed| codecs(role, agreed, &config)).unzip();
        Self {
            config,
            decoder: Decoder::new(role, deflate),
            assembler: Assembler::new(decompressor),
            encoder: Encoder::new(role, compressor),
            keepalive: Keepalive::new(now),
            control_rate: ControlRate::full(),
            closing: None,
        }
    }

    // What the peer says.

    /// Decodes the next event; `None` when the input is used up, and whatever it began is kept.
    ///
    /// The event borrows from the input or the scratch, never from the connection. What the protocol answers by itself
    /// (pongs, the Close) is appended to `out`.
    #[inline(always)]
    pub fn receive<'e, 'i: 'e>(
        &mut self,
        input: &mut Input<'i>,
        scratch: &'e mut Scratch,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Event<'e>> {
        if input.is_empty() {
            return None;
        }
        self.heard(now);
        match self.whole_message(input) {
            Some((MessageKind::Binary, payload)) => Some(Event::Message(Message::Binary(payload))),
            Some((kind @ MessageKind::Text, payload)) => {
                Some(message_event(kind, payload).unwrap_or_else(|error| self.fail(error, out, now)))
            }
            None => self.receive_frames(input, scratch, out, now),
        }
    }

    /// Where the next bytes of the stream, up to `most`, may be put right away, instead of into an input: into the large
    /// message that they are more of. [`placed`](Self::placed) follows. `None` if they are anything else, or few.
    #[inline]
    pub(crate) fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        let (missing, fin) = self.decoder.missing()?;
        let len = usize::try_from(missing).unwrap_or(usize::MAX).min(most);
        if self.closing.is_some() { None } else { self.assembler.room(len, fin, &self.config) }
    }

    /// Takes what was put into the [`room`](Self::room): the event that ends with it, as [`receive`](Self::receive) gives it.
    pub(crate) fn placed<'e>(
        &mut self,
        len: usize,
        scratch: &'e mut Scratch,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Event<'e>> {
        self.heard(now);
        let last = self.decoder.placed(self.assembler.placed(len));
        let data = self.assembler.take_placed(len, last, scratch);
        self.decoder.settle(now);
        let event = match data {
            Ok(None) => return None,
            Ok(Some(data)) => self.event(Found::Data(data), scratch, out, now),
            Err(error) => Err(error),
        };
        Some(event.unwrap_or_else(|error| self.fail(error, out, now)))
    }

    #[inline]
    fn heard(&mut self, now: Instant) {
        if !self.control_rate.is_full() {
            self.refill(now);
        }
        self.keepalive.heard(now);
    }

    #[cold]
    fn refill(&mut self, now: Instant) {
        self.control_rate.fill(self.keepalive.silence(now));
    }

    #[inline(never)]
    fn receive_frames<'e, 'i: 'e>(
        &mut self,
        input: &mut Input<'i>,
        scratch: &'e mut Scratch,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Option<Event<'e>> {
        let event = match self.find(input, scratch, now) {
            Ok(None) => return None,
            Ok(Some(found)) => self.event(found, scratch, out, now),
            Err(error) => Err(error),
        };
        Some(event.unwrap_or_else(|error| self.fail(error, out, now)))
    }

    /// Takes the fast lane, if it is open: what stands whole in the input is an event as it is, and no line in the log.
    #[inline(always)]
    fn whole_message<'i>(&self, input: &mut Input<'i>) -> Option<(MessageKind, &'i [u8])> {
        let is_open = self.closing.is_none() && self.config.delivery == Delivery::Whole && !frame_log::is_on();
        if is_open { self.decoder.whole_message(input, self.config.max_message) } else { None }
    }

    /// Goes through the input frame by frame, until there is something for the application or nothing left.
    fn find<'i>(
        &mut self,
        input: &mut Input<'i>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Result<Option<Found<'i>>, ProtocolError> {
        if self.closing.as_ref().is_some_and(|closing| closing.is_deaf()) {
            input.take(usize::MAX);
            return Ok(None);
        }
        let mut found = None;
        while found.is_none() && !input.is_empty() {
            found = if self.decoder.is_in_frame() {
                self.rest_of_frame(input, scratch)?
            } else {
                self.frame(input, scratch)?
            };
        }
        self.decoder.settle(now);
        Ok(found)
    }

    /// Takes the next frame, or as much of it as there is.
    fn frame<'i>(&mut self, input: &mut Input<'i>, scratch: &mut Scratch) -> Result<Option<Found<'i>>, ProtocolError> {
        let Some(header) = self.decoder.header(input)? else { return Ok(None) };
        frame_log::frame(self.decoder.role(), Direction::Received, &header);

        if header.opcode.is_control() {
            match header.opcode {
                Opcode::Close if header.payload_len == 1 => return Err(ProtocolError::CloseTooShort),
                Opcode::Close => {}
                _ => self.control_rate.take(&self.config)?,
            }
            let part = self.decoder.begin(&header, input);
            return self.control(&part, scratch);
        }
        if self.closing.is_some() {
            // While we wait for the answer to our Close, data is only passed over.
            self.decoder.begin(&header, input);
            return Ok(None);
        }
        self.assembler.admit(&header, &self.config)?;
        let part = self.decoder.begin(&header, input);
        let data = if header.opcode == Opcode::Continuation {
            self.assembler.add(&part, scratch, &self.config)?
        } else if part.fin && part.ends {
            Some(self.assembler.whole(&header, part.payload, scratch, &self.config)?)
        } else {
            self.assembler.begin(&header);
            self.assembler.add(&part, scratch, &self.config)?
        };
        Ok(data.map(Found::Data))
    }

    /// Takes more of the frame that is arriving.
    fn rest_of_frame<'i>(
        &mut self,
        input: &mut Input<'i>,
        scratch: &mut Scratch,
    ) -> Result<Option<Found<'i>>, ProtocolError> {
        match self.decoder.resume(input) {
            Some(part) if part.opcode.is_control() => self.control(&part, scratch),
            Some(part) => Ok(self.assembler.add(&part, scratch, &self.config)?.map(Found::Data)),
            None => Ok(None),
        }
    }

    /// Takes a control frame, or a part of one: that is put together on the side, for it may stand inside a message.
    fn control<'i>(&mut self, part: &Part<'i>, scratch: &mut Scratch) -> Result<Option<Found<'i>>, ProtocolError> {
        let Part { opcode, payload, ends, .. } = *part;
        let place = match self.decoder.take_control() {
            None if ends => Place::Input(payload),
            begun => {
                let mut control = begun.unwrap_or_default();
                control.extend_from_slice(payload);
                if !ends {
                    if opcode == Opcode::Close {
                        CloseFrame::check_prefix(&control)?;
                    }
                    self.decoder.keep_control(control);
                    return Ok(None);
                }
                scratch.clear();
                scratch.bytes.extend_from_slice(&control);
                Place::Scratch
            }
        };
        // After our Close no pong is sent, and none is waited for [RFC 6455 §5.5.1].
        let matters = self.closing.is_none() || opcode == Opcode::Close;
        Ok(matters.then_some(Found::Control(opcode, place)))
    }

    /// Makes the event, and answers what the protocol answers by itself.
    #[inline]
    fn event<'e>(
        &mut self,
        found: Found<'e>,
        scratch: &'e Scratch,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<Event<'e>, ProtocolError> {
        Ok(match found {
            Found::Data(Data::Message(kind, place)) => message_event(kind, place.bytes(scratch))?,
            Found::Data(Data::Piece { kind, place, first, last }) => {
                Event::Piece(Piece { kind, data: place.bytes(scratch), first, last })
            }
            Found::Control(Opcode::Ping, place) => {
                let payload = place.bytes(scratch);
                self.encoder.control(Opcode::Pong, payload, out);
                Event::Ping(payload)
            }
            Found::Control(Opcode::Close, place) => {
                let frame = CloseFrame::decode(place.bytes(scratch))?;
                self.receive_close(&frame, out, now);
                Event::Close(frame)
            }
            Found::Control(_, place) => {
                let payload = place.bytes(scratch);
                Event::Pong { payload, rtt: self.keepalive.ponged(payload, now) }
            }
        })
    }

    /// Answers the peer's Close with the same code, or takes it as the answer to ours [RFC 6455 §5.5.1].
    #[cold]
    fn receive_close(&mut self, frame: &CloseFrame<'_>, out: &mut Vec<u8>, now: Instant) {
        if self.closing.is_none() {
            self.write_close(&CloseFrame { reason: "", ..*frame }, out);
            self.begin_closing(Closing::by_peer(now, &self.config));
        }
        if let Some(closing) = &mut self.closing {
            closing.receive(frame, now, &self.config);
        }
    }

    /// Fails the connection: tells the peer by a Close, unless one was sent, and hears nothing more
    /// [RFC 6455 §7.1.7].
    #[cold]
    fn fail(&mut self, error: ProtocolError, out: &mut Vec<u8>, now: Instant) -> Event<'static> {
        frame_log::failure(self.decoder.role(), error);
        if self.closing.is_none() {
            let rule = error.rule();
            self.write_close(&CloseFrame { code: error.close_code(), reason: rule.sentence }, out);
            self.begin_closing(Closing::by_peer(now, &self.config));
        }
        if let Some(closing) = &mut self.closing {
            closing.fail(error);
        }
        Event::Error(error)
    }

    fn write_close(&self, frame: &CloseFrame<'_>, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(MAX_CONTROL_LEN);
        frame.encode(&mut payload);
        self.encoder.control(Opcode::Close, &payload, out);
    }

    /// From here on no message is sent or delivered, so nothing is kept for one.
    fn begin_closing(&mut self, closing: Closing) {
        self.assembler.discard();
        self.encoder.discard();
        self.closing = Some(Box::new(closing));
    }

    // What the application says.

    /// Appends a message to `out`: compressed if that was agreed and is worth it, in frames of at most
    /// [`Config::fragment_size`].
    ///
    /// # Errors
    /// If the connection is closing, or a message sent in pieces is unfinished.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>, out: &mut Vec<u8>) -> Result<(), SendError> {
        self.check_open()?;
        let message = message.into();
        self.encoder.message(message.kind(), message.payload(), &self.config, out)
    }

    /// The fast lane of [`send`](Self::send): appends a message if nothing is to be refused, masked, compressed, cut or
    /// logged. Whether it did.
    #[inline]
    pub(crate) fn send_plain(&mut self, message: Message<'_>, out: &mut Vec<u8>) -> bool {
        self.closing.is_none() && self.encoder.plain(message.kind(), message.payload(), &self.config, out)
    }

    /// The same for a message that is worth writing from where it stands: appends the frame's header alone and gives the
    /// payload back, for its caller to write behind `out`. One that must be masked, compressed or cut is appended whole.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) fn send_in_place<'m>(
        &mut self,
        message: Message<'m>,
        out: &mut Vec<u8>,
    ) -> Result<Option<&'m [u8]>, SendError> {
        self.check_open()?;
        self.encoder.message_in_place(message.kind(), message.payload(), &self.config, out)
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
        self.check_open()?;
        self.encoder.piece(kind, data, last, &self.config, out)
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
        match self.share(message)? {
            Some(encoding) => Ok(Some(message.share(encoding))),
            None => self.encoder.message(message.kind(), message.payload(), &self.config, out).map(|()| None),
        }
    }

    /// The same without taking hold of the frame: which encoding of `message` is to follow what was sent before; `None` at
    /// a client, which sends it as its own.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    #[inline]
    pub(crate) fn share(&mut self, message: &PreparedMessage) -> Result<Option<Encoding>, SendError> {
        self.check_open()?;
        self.encoder.share(message, &self.config)
    }

    /// Appends a ping; the pong that answers it carries the round-trip time.
    ///
    /// # Errors
    /// If the connection is closing, or the payload is longer than 125 bytes.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>, now: Instant) -> Result<(), SendError> {
        self.send_control(Opcode::Ping, payload, out)?;
        self.keepalive.pinged(payload, now);
        Ok(())
    }

    /// Appends a pong that nobody asked for: a one-way heartbeat [RFC 6455 §5.5.3].
    ///
    /// # Errors
    /// If the connection is closing, or the payload is longer than 125 bytes.
    pub fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        self.send_control(Opcode::Pong, payload, out)
    }

    fn send_control(&self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        self.check_open()?;
        if payload.len() > MAX_CONTROL_LEN {
            return Err(SendError::PayloadTooLong(payload.len()));
        }
        self.encoder.control(opcode, payload, out);
        Ok(())
    }

    /// Appends a Close and gives the peer [`Config::close_timeout`] to answer; until then what it sends is discarded.
    /// [`CloseCode::NO_STATUS`] sends an empty one.
    ///
    /// # Errors
    /// If a Close was already sent, the code may not be sent, or the reason is longer than 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str, out: &mut Vec<u8>, now: Instant) -> Result<(), SendError> {
        self.check_open()?;
        let is_empty = code == CloseCode::NO_STATUS && reason.is_empty();
        if !code.is_sendable() && !is_empty {
            return Err(SendError::InvalidCloseCode(code));
        }
        if reason.len() > CloseFrame::MAX_REASON_LEN {
            return Err(SendError::ReasonTooLong(reason.len()));
        }
        self.write_close(&CloseFrame { code, reason }, out);
        self.begin_closing(Closing::by_us(now, &self.config));
        Ok(())
    }

    /// The same, not to end a conversation but because it cannot go on: if the peer does not answer, the connection has
    /// closed with this code all the same.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub(crate) fn give_up(
        &mut self,
        code: CloseCode,
        reason: &str,
        out: &mut Vec<u8>,
        now: Instant,
    ) -> Result<(), SendError> {
        self.close(code, reason, out, now)?;
        if let Some(closing) = &mut self.closing {
            closing.give_up(code, reason);
        }
        Ok(())
    }

    #[inline]
    fn check_open(&self) -> Result<(), SendError> {
        match self.state() {
            State::Open => Ok(()),
            State::Closing { .. } => Err(SendError::Closing),
            State::Closed => Err(SendError::Closed),
        }
    }

    // What time and the transport say.

    /// Takes note that the peer's stream has ended.
    pub fn end_of_stream(&mut self) {
        if self.closing.is_none() {
            self.begin_closing(Closing::by_end_of_stream());
        }
        if let Some(closing) = &mut self.closing {
            closing.end_of_stream();
        }
    }

    /// Whether nothing has begun and nobody waits for the peer: no message, no closing handshake, no sign of life asked for.
    /// [`next_timeout`](Self::next_timeout) then only moves away with what the peer says.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.closing.is_none() && self.decoder.is_at_rest() && !self.keepalive.is_asking()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. The moment may move with every call; being early is harmless.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.closing {
            Some(closing) => closing.deadline(),
            None => [self.message_deadline(), self.keepalive.next_timeout(&self.config)].into_iter().flatten().min(),
        }
    }

    /// Does what is due at `now`: pings a silent peer, fails one that stays silent or never finishes a message, and gives
    /// up on one that does not let go.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Event<'static>> {
        if let Some(closing) = &mut self.closing {
            closing.handle_timeout(now);
            return None;
        }
        if self.message_deadline().is_some_and(|deadline| deadline <= now) {
            return Some(self.fail(ProtocolError::MessageTimeout, out, now));
        }
        match self.keepalive.due(now, &self.config) {
            Due::Nothing => None,
            Due::Ping => {
                let payload = self.keepalive.ask(now);
                self.encoder.control(Opcode::Ping, &payload, out);
                None
            }
            Due::GiveUp => Some(self.fail(ProtocolError::KeepaliveTimeout, out, now)),
        }
    }

    /// When the message or frame under way must be finished.
    pub(crate) fn message_deadline(&self) -> Option<Instant> {
        self.decoder.unfinished_since()?.checked_add(self.config.message_timeout)
    }

    // What is known.

    /// Where the connection stands.
    #[inline]
    pub fn state(&self) -> State {
        self.closing.as_ref().map_or(State::Open, |closing| closing.state())
    }

    /// What the transport is to do now.
    #[inline]
    pub fn teardown(&self) -> Teardown {
        self.closing.as_ref().map_or(Teardown::KeepOpen, |closing| closing.teardown(self.decoder.role()))
    }

    /// How the connection ended, or would if the stream broke now.
    pub fn closed(&self) -> Closed {
        self.closing.as_ref().map_or_else(|| Closing::by_end_of_stream().closed(), |closing| closing.closed())
    }

    /// The latest measured time between a ping and its pong, in whole microseconds.
    pub fn round_trip_time(&self) -> Option<Duration> {
        self.keepalive.round_trip_time()
    }

    /// What was agreed about compression.
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.decoder.deflate()
    }
}

/// The event that a whole message is, if it is one.
#[inline]
fn message_event(kind: MessageKind, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    Ok(Event::Message(match kind {
        MessageKind::Text => {
            Message::Text(simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::InvalidUtf8)?)
        }
        MessageKind::Binary => Message::Binary(payload),
    }))
}

/// The two halves of the compression agreed on, each with the window of the role that sends.
fn codecs(role: Role, agreed: DeflateParams, config: &Config) -> (Box<Compressor>, Box<Decompressor>) {
    let server = (agreed.server_max_window_bits, !agreed.server_no_context_takeover);
    let client = (agreed.client_max_window_bits, !agreed.client_no_context_takeover);
    let (ours, theirs) = match role {
        Role::Client => (client, server),
        Role::Server => (server, client),
    };
    let compressor = Compressor::new(ours.0, ours.1, &config.deflate);
    let decompressor = Decompressor::new(theirs.0, theirs.1);
    (Box::new(compressor), Box::new(decompressor))
}
