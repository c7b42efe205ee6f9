//! Both directions of one connection, from the request line on.

use std::time::Instant;

use super::flow::Flow;
use super::frame::{Frame, WholeMessage};
use super::violation::{Breach, Violation};
use crate::deflate::DeflateParams;
use crate::handshake::{
    Agreed, ClientHandshake, HandshakeError, HeadLimits, HeadReader, Rejection, Request, UpgradeRequest,
};
use crate::protocol::Role;

/// How much of a frame or message is kept to be shown, in bytes, if nobody says otherwise.
const KEEP: usize = 1024;

/// The most that is kept of what a client sends before it is answered, in bytes.
const MAX_EARLY: usize = 64 << 10;

/// The limits of a head here: what servers refuse by their own choice is not judged.
const HEAD: HeadLimits = HeadLimits { request_line: 64 << 10, head: 128 << 10, fields: 2000 };

/// Something that the bytes of a conversation say, in the order in which they say it; how they were cut on the way makes
/// no difference.
///
/// `Display` gives the sentence.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Seen<'s> {
    /// The client's request. [`Rejection::UpgradeMissing`] alone is no breach: it is plain HTTP, and what follows is not
    /// looked at.
    Request {
        /// Its bytes, to the blank line; less if it broke off at one that no head has.
        head: &'s [u8],
        /// What a server makes of it.
        outcome: &'s Result<UpgradeRequest, Rejection>,
    },
    /// The server's answer. [`HandshakeError::Refused`] is no breach.
    Answer {
        /// What it answers.
        request: &'s UpgradeRequest,
        /// Its bytes: to the blank line, and the beginning of the body if there is one.
        head: &'s [u8],
        /// What the client makes of it.
        outcome: &'s Result<Agreed, HandshakeError>,
    },
    /// A rule was broken. In a frame it is seen before the frame is complete.
    Violation(&'s Violation),
    /// A frame is complete.
    Frame {
        /// Who sent it.
        from: Role,
        /// The frame.
        frame: &'s Frame,
    },
    /// A message is complete, with the frame before.
    Message {
        /// Who sent it.
        from: Role,
        /// The message.
        message: &'s WholeMessage,
    },
    /// One end sends no more.
    End {
        /// Which.
        from: Role,
        /// A head, frame or message has begun and not ended.
        unfinished: bool,
        /// The frame that has begun and not ended, if its header was complete.
        frame: Option<&'s Frame>,
        /// The message that has begun and not ended.
        message: Option<&'s WholeMessage>,
        /// The bytes of a frame's header, if that has begun and not ended.
        header: &'s [u8],
        /// How many bytes came that nobody was to read any more: behind a broken rule, or behind a handshake that failed.
        passed_over: u64,
    },
}

/// Where an endpoint stands, as far as the bytes between both tell [RFC 6455 §7.1].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// The handshake is not finished.
    Connecting,
    /// Messages flow.
    Open,
    /// A Close was sent or received.
    Closing {
        /// Whether this end has sent one.
        sent: bool,
        /// Whether the other has.
        received: bool,
    },
    /// Both have sent theirs, or a stream has ended.
    Closed,
}

/// Watches one connection without taking part in it.
#[derive(Debug)]
pub struct Conversation {
    now: Instant,
    keep: usize,
    phase: Phase,
    deflate: Option<DeflateParams>,
    /// The streams that have ended: the client's, the server's.
    ended: [bool; 2],
    passed_over: [u64; 2],
}

#[derive(Debug)]
enum Phase {
    /// The request has not come.
    Request(HeadReader),
    /// The answer has not come.
    Answer {
        request: Box<UpgradeRequest>,
        handshake: Box<ClientHandshake>,
        request_len: u64,
        head: Vec<u8>,
        early: Vec<u8>,
    },
    /// Frames.
    Open(Box<[Flow; 2]>),
    /// No WebSocket has come of it.
    Other,
}

impl Conversation {
    /// A conversation that has not begun. `now` is any instant: nothing here depends on time.
    pub fn new(now: Instant) -> Self {
        Self {
            now,
            keep: KEEP,
            phase: Phase::Request(HeadReader::new(HEAD)),
            deflate: None,
            ended: [false; 2],
            passed_over: [0; 2],
        }
    }

    /// A conversation whose handshake is over, with what was agreed in it.
    pub fn of_frames(deflate: Option<DeflateParams>, now: Instant) -> Self {
        let mut conversation = Self::new(now);
        conversation.open(deflate, 0, 0);
        conversation
    }

    /// Keeps up to so many bytes of each frame's payload, and of each message, to be shown; 1024.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        if let Phase::Open(_) = self.phase {
            self.open(self.deflate, 0, 0);
        }
        self
    }

    /// The compression that was agreed on.
    pub const fn deflate(&self) -> Option<DeflateParams> {
        self.deflate
    }

    /// Where an end stands.
    pub fn state(&self, of: Role) -> EndpointState {
        let Phase::Open(flows) = &self.phase else {
            let is_over = matches!(self.phase, Phase::Other) || self.ended.contains(&true);
            return if is_over { EndpointState::Closed } else { EndpointState::Connecting };
        };
        let (sent, received) = match of {
            Role::Client => (flows[0].is_closed(), flows[1].is_closed()),
            Role::Server => (flows[1].is_closed(), flows[0].is_closed()),
        };
        match (sent, received) {
            _ if self.ended.contains(&true) => EndpointState::Closed,
            (true, true) => EndpointState::Closed,
            (false, false) => EndpointState::Open,
            _ => EndpointState::Closing { sent, received },
        }
    }

    /// Takes more of what one end sends, cut anywhere.
    pub fn push(&mut self, from: Role, bytes: &[u8], see: &mut dyn FnMut(Seen<'_>)) {
        match (&mut self.phase, from) {
            (Phase::Request(_), Role::Client) => self.push_request(bytes, see),
            (Phase::Answer { early, .. }, Role::Client) => {
                if early.is_empty() && !bytes.is_empty() {
                    let violation = Violation { by: from, offset: 0, breach: Breach::DataBeforeAnswer };
                    see(Seen::Violation(&violation));
                }
                let kept = bytes.len().min(MAX_EARLY - early.len());
                early.extend_from_slice(&bytes[..kept]);
                self.passed_over[0] += (bytes.len() - kept) as u64;
            }
            (Phase::Answer { .. }, Role::Server) => self.push_answer(bytes, see),
            (Phase::Open(flows), _) => flows[index(from)].push(bytes, see),
            (Phase::Other, _) | (Phase::Request(_), Role::Server) => {
                self.passed_over[index(from)] += bytes.len() as u64;
            }
        }
    }

    /// One end sends no more.
    pub fn end(&mut self, from: Role, see: &mut dyn FnMut(Seen<'_>)) {
        let at = index(from);
        if std::mem::replace(&mut self.ended[at], true) {
            return;
        }
        // A refusal's body may have no other end than this.
        if let (Phase::Answer { request, handshake, head, .. }, Role::Server) = (&mut self.phase, from) {
            let outcome = Err(handshake.give_up());
            if matches!(outcome, Err(HandshakeError::Refused(_))) {
                see(Seen::Answer { request, head, outcome: &outcome });
                self.phase = Phase::Other;
            }
        }
        let flow = match &self.phase {
            Phase::Open(flows) => Some(&flows[at]),
            _ => None,
        };
        let unfinished = match &self.phase {
            Phase::Request(reader) => from == Role::Client && !reader.is_empty(),
            Phase::Answer { head, .. } => from == Role::Server && !head.is_empty(),
            Phase::Open(flows) => flows[at].is_unfinished(),
            Phase::Other => false,
        };
        let frame = flow.and_then(Flow::unfinished_frame);
        let message = flow.and_then(Flow::unfinished_message);
        let header = flow.map_or(&[][..], Flow::unfinished_header);
        let passed_over = self.passed_over[at] + flow.map_or(0, Flow::passed_over);
        see(Seen::End { from, unfinished, frame, message, header, passed_over });
    }

    fn push_request(&mut self, bytes: &[u8], see: &mut dyn FnMut(Seen<'_>)) {
        let Phase::Request(reader) = &mut self.phase else { return };
        // Byte by byte, so that a broken head ends at the same one however it was cut.
        let judged = bytes.iter().zip(1..).find_map(|(byte, used)| match reader.push(&[*byte]) {
            Ok(None) => None,
            Ok(Some(_)) => {
                let request = Request::parse(reader.bytes(), &HEAD);
                Some((used, request.and_then(UpgradeRequest::from_request)))
            }
            Err(rejection) => Some((used, Err(rejection))),
        });
        let Some((used, outcome)) = judged else { return };
        see(Seen::Request { head: reader.bytes(), outcome: &outcome });
        let request_len = reader.bytes().len() as u64;
        match outcome {
            Ok(request) => {
                let handshake = Box::new(ClientHandshake::observing(&request));
                let (request, head, early) = (Box::new(request), Vec::new(), Vec::new());
                self.phase = Phase::Answer { request, handshake, request_len, head, early };
            }
            Err(rejection) => {
                if rejection != Rejection::UpgradeMissing {
                    let breach = Breach::Request(rejection);
                    see(Seen::Violation(&Violation { by: Role::Client, offset: 0, breach }));
                }
                self.phase = Phase::Other;
            }
        }
        if used < bytes.len() {
            self.push(Role::Client, &bytes[used..], see);
        }
    }

    fn push_answer(&mut self, bytes: &[u8], see: &mut dyn FnMut(Seen<'_>)) {
        let Phase::Answer { request, handshake, request_len, head, early } = &mut self.phase else { return };
        let judged = bytes.iter().zip(1..).find_map(|(byte, used)| {
            let outcome = handshake.push(&[*byte]).transpose()?;
            Some((used, outcome.map(|(agreed, _)| agreed)))
        });
        let used = judged.as_ref().map_or(bytes.len(), |(used, _)| *used);
        head.extend_from_slice(&bytes[..used]);
        let Some((_, outcome)) = judged else { return };
        see(Seen::Answer { request, head, outcome: &outcome });
        let (request_len, answer_len, early) = (*request_len, head.len() as u64, std::mem::take(early));
        match outcome {
            Ok(agreed) => self.open(agreed.deflate, request_len, answer_len),
            Err(error) => {
                if !matches!(error, HandshakeError::Refused(_)) {
                    let breach = Breach::Answer(error);
                    see(Seen::Violation(&Violation { by: Role::Server, offset: 0, breach }));
                }
                self.phase = Phase::Other;
            }
        }
        self.push(Role::Client, &early, see);
        self.push(Role::Server, &bytes[used..], see);
    }

    fn open(&mut self, deflate: Option<DeflateParams>, client: u64, server: u64) {
        self.deflate = deflate;
        let flow = |from, offset| Flow::new(from, deflate, offset, self.keep, self.now);
        self.phase = Phase::Open(Box::new([flow(Role::Client, client), flow(Role::Server, server)]));
    }
}

const fn index(of: Role) -> usize {
    match of {
        Role::Client => 0,
        Role::Server => 1,
    }
}
