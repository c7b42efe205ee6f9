//! One direction of a conversation: where its frames begin and end, and how their receiver judges them.

use std::sync::Arc;
use std::time::Instant;

use super::conversation::Seen;
use super::frame::{Frame, RawHeader, WholeMessage};
use super::violation::{Breach, Violation};
use crate::deflate::DeflateParams;
use crate::protocol::{Config, Connection, Delivery, Event, Input, Piece, Role, Scratch};
use crate::wire::{MessageKind, Opcode, ProtocolError, Utf8Validator};

/// A control frame's payload, which is always kept [RFC 6455 §5.5].
const MAX_CONTROL_LEN: usize = 125;

/// How many bytes of a compressed message are inflated at once: each may become a thousand.
const INFLATED_AT_ONCE: usize = 1024;

/// What one end sends.
#[derive(Debug)]
pub(super) struct Flow {
    from: Role,
    /// The other end, as it would receive this. What it would answer is dropped.
    receiver: Connection,
    deflate: Option<DeflateParams>,
    now: Instant,
    /// How many bytes of a frame's payload, and of a message, are kept to be shown.
    keep: usize,
    /// Bytes seen, from the start of the direction.
    offset: u64,
    /// The beginning of a header.
    head: Vec<u8>,
    frame: Option<Frame>,
    message: Option<WholeMessage>,
    utf8: Utf8Validator,
    stage: Stage,
    passed_over: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Frames that the receiver reads.
    Open,
    /// The rest of a frame that broke a rule.
    Failed,
    /// Behind a Close, which the receiver does not read on from. Whether data was met there.
    Closed { data: bool },
    /// Behind a broken rule: nobody knows any more what these bytes mean.
    Deaf,
}

impl Flow {
    pub(super) fn new(from: Role, deflate: Option<DeflateParams>, offset: u64, keep: usize, now: Instant) -> Self {
        let receiver = match from {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        Self {
            from,
            receiver: Connection::new(receiver, Arc::new(without_limits()), deflate, now),
            deflate,
            now,
            keep,
            offset,
            head: Vec::new(),
            frame: None,
            message: None,
            utf8: Utf8Validator::new(),
            stage: Stage::Open,
            passed_over: 0,
        }
    }

    /// Whether a Close has come, whole.
    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed { .. })
    }

    /// How many bytes came that nobody was to read any more.
    pub(super) const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// The frame that has begun and not ended, if its header was complete.
    pub(super) const fn unfinished_frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// The message that has begun and not ended.
    pub(super) const fn unfinished_message(&self) -> Option<&WholeMessage> {
        self.message.as_ref()
    }

    /// The bytes of a header that is not complete.
    pub(super) fn unfinished_header(&self) -> &[u8] {
        &self.head
    }

    /// Whether a frame, or a message, has begun and not ended.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.head.is_empty() || self.frame.is_some() || self.message.is_some()
    }

    /// Takes more of what that end sends.
    pub(super) fn push(&mut self, mut bytes: &[u8], see: &mut dyn FnMut(Seen<'_>)) {
        while !bytes.is_empty() {
            let taken = match (self.stage, &self.frame) {
                (Stage::Deaf, _) => {
                    self.passed_over += bytes.len() as u64;
                    bytes.len()
                }
                (_, None) => self.push_header(bytes, see),
                (_, Some(_)) => self.push_payload(bytes, see),
            };
            self.offset += taken as u64;
            bytes = &bytes[taken..];
        }
    }

    /// Takes what belongs to a header; the frame begins when it is complete.
    fn push_header(&mut self, bytes: &[u8], see: &mut dyn FnMut(Seen<'_>)) -> usize {
        let had = self.head.len();
        let wanted = RawHeader::len_of(&self.head).unwrap_or(2);
        let taken = bytes.len().min(wanted - had);
        self.head.extend_from_slice(&bytes[..taken]);
        let offset = self.offset - had as u64;
        let header = RawHeader::read(&self.head);
        if let Some(header) = header {
            self.head.clear();
            self.count(&header);
            self.frame = Some(self.begin(offset, header));
        }
        self.receive(&bytes[..taken], offset, see);
        if let Some(header) = header {
            self.begun(&header, offset, see);
        }
        taken
    }

    fn begun(&mut self, header: &RawHeader, offset: u64, see: &mut dyn FnMut(Seen<'_>)) {
        let is_data = header.opcode().is_some_and(|opcode| !opcode.is_control());
        if self.stage == (Stage::Closed { data: false }) && is_data {
            self.stage = Stage::Closed { data: true };
            see(Seen::Violation(&Violation { by: self.from, offset, breach: Breach::DataAfterClose }));
        }
        if header.payload_len() == 0 {
            self.ended(see);
        }
    }

    /// The frame of which this is the header, already counted as one of its message's.
    fn begin(&self, offset: u64, header: RawHeader) -> Frame {
        let is_data = header.opcode().is_some_and(|opcode| !opcode.is_control());
        let message = self.message.as_ref().filter(|_| is_data);
        let is_plain_text = message.is_some_and(|message| message.kind == MessageKind::Text && !message.compressed);
        let utf8_before = if is_plain_text { self.utf8.pending().to_owned() } else { Vec::new() };
        Frame {
            offset,
            header,
            received: 0,
            payload: Vec::new(),
            part_of: message.map(|message| message.kind),
            compressed: message.is_some_and(|message| message.compressed),
            utf8_before,
            utf8_pending: Vec::new(),
        }
    }

    /// Counts the frame as one of a message's.
    fn count(&mut self, header: &RawHeader) {
        let kind = match header.opcode() {
            Some(Opcode::Text) => MessageKind::Text,
            Some(Opcode::Binary) => MessageKind::Binary,
            Some(Opcode::Continuation) => {
                if let Some(message) = &mut self.message {
                    message.frames += 1;
                    message.wire_len = message.wire_len.saturating_add(header.payload_len());
                }
                return;
            }
            _ => return,
        };
        if self.stage == Stage::Open && self.message.is_none() {
            self.utf8 = Utf8Validator::new();
            self.message = Some(WholeMessage {
                kind,
                frames: 1,
                wire_len: header.payload_len(),
                compressed: header.rsv(1) && self.deflate.is_some(),
                deflate: self.deflate,
                wire: Vec::new(),
                len: 0,
                payload: Vec::new(),
            });
        }
    }

    fn push_payload(&mut self, bytes: &[u8], see: &mut dyn FnMut(Seen<'_>)) -> usize {
        let Some(frame) = &mut self.frame else { return 0 };
        let missing = frame.header.payload_len() - frame.received;
        let most =
            if self.message.as_ref().is_some_and(|message| message.compressed) { INFLATED_AT_ONCE } else { usize::MAX };
        let taken = usize::try_from(missing).unwrap_or(usize::MAX).min(bytes.len()).min(most);
        let kept = taken.min(self.keep.max(MAX_CONTROL_LEN).saturating_sub(frame.payload.len()));
        frame.payload.extend_from_slice(&bytes[..kept]);
        frame.received += taken as u64;
        let (offset, is_complete) = (frame.offset, frame.is_complete());
        self.receive(&bytes[..taken], offset, see);
        if is_complete {
            self.ended(see);
        }
        taken
    }

    /// The frame is complete.
    fn ended(&mut self, see: &mut dyn FnMut(Seen<'_>)) {
        let Some(mut frame) = self.frame.take() else { return };
        let header = frame.header;
        let is_data = header.opcode().is_some_and(|opcode| !opcode.is_control());
        if is_data && self.stage == Stage::Open {
            frame.utf8_pending.extend_from_slice(self.utf8.pending());
            if let Some(message) = self.message.as_mut().filter(|message| message.compressed) {
                let room = self.keep.saturating_sub(message.wire.len());
                message.wire.extend(frame.unmasked().iter().take(room));
            }
        }
        see(Seen::Frame { from: self.from, frame: &frame });
        match self.stage {
            Stage::Open if header.opcode() == Some(Opcode::Close) => self.stage = Stage::Closed { data: false },
            Stage::Open if is_data && header.fin() => {
                if let Some(message) = self.message.take() {
                    see(Seen::Message { from: self.from, message: &message });
                }
            }
            Stage::Failed => self.stage = Stage::Deaf,
            _ => {}
        }
        if self.stage != Stage::Open {
            self.message = None;
        }
    }

    /// Has the receiver judge it.
    fn receive(&mut self, bytes: &[u8], offset: u64, see: &mut dyn FnMut(Seen<'_>)) {
        if self.stage != Stage::Open {
            return;
        }
        let (mut bytes, mut scratch, mut answer) = (bytes.to_owned(), Scratch::new(), Vec::new());
        let mut input = Input::new(&mut bytes);
        let mut broken = None;
        while let Some(event) = self.receiver.receive(&mut input, &mut scratch, &mut answer, self.now) {
            match event {
                Event::Piece(piece) => take_piece(&mut self.message, &mut self.utf8, &piece, self.keep),
                Event::Error(error) => broken = Some(error),
                _ => {}
            }
        }
        if let Some(error) = broken {
            self.fail(error, offset, see);
        }
    }

    fn fail(&mut self, error: ProtocolError, offset: u64, see: &mut dyn FnMut(Seen<'_>)) {
        self.stage = Stage::Failed;
        see(Seen::Violation(&Violation { by: self.from, offset, breach: Breach::Frame(error) }));
    }
}

fn take_piece(message: &mut Option<WholeMessage>, utf8: &mut Utf8Validator, piece: &Piece<'_>, keep: usize) {
    let Some(message) = message else { return };
    message.len += piece.data.len() as u64;
    let room = keep.saturating_sub(message.payload.len());
    message.payload.extend_from_slice(&piece.data[..piece.data.len().min(room)]);
    if piece.kind == MessageKind::Text && !message.compressed {
        // The receiver has let it pass; here it is only looked at where the characters end.
        let _ = utf8.push(piece.data);
    }
}

/// What every endpoint has to keep to, and none of the limits that each sets for itself. Messages are passed on as they
/// come, so that however large they are nothing is kept of them.
fn without_limits() -> Config {
    Config {
        max_message: usize::MAX,
        max_fragments: u32::MAX,
        delivery: Delivery::Pieces,
        max_control_rate: u32::MAX,
        ping_interval: None,
        ..Config::default()
    }
}
