//! One connection to a peer under test: what is sent on it, and what is heard.

use std::time::{Duration, Instant};

use loopwire::Role;
use loopwire::explain::{Conversation, Seen};
use loopwire::handshake::{Agreed, UpgradeRequest};
use loopwire::wire::{CloseFrame, Opcode, Rule};

use super::frames::{BEHIND_CLOSE, FENCE};
use crate::cli::raw_line::{RawLine, Received};

/// How much of a peer's bytes is kept for its answer's head.
const KEPT: usize = 256 << 10;

/// A connection, and the peer's side of it as the learning layer reads it.
#[derive(Debug)]
pub(super) struct Talk {
    line: RawLine,
    us: Role,
    conversation: Conversation,
    pub(super) heard: Heard,
}

/// What the peer has said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The beginning of it, as it came.
    pub(super) bytes: Vec<u8>,
    /// The request, if the peer is a client and it is a valid one.
    pub(super) request: Option<UpgradeRequest>,
    /// What the answer agreed to, if the peer is a server and it is a valid one.
    pub(super) agreed: Option<Agreed>,
    /// The code of its Close, 1005 if that had none; 0 if it was none that can be read.
    pub(super) close: Option<u16>,
    /// How many of our pings were answered.
    pub(super) pongs: u32,
    /// It sent back what stood behind a Close.
    pub(super) took_text: bool,
    /// The first rule that it broke itself.
    pub(super) broke: Option<&'static Rule>,
    /// How its stream ended.
    pub(super) end: Option<Received>,
}

impl Talk {
    pub(super) fn new(line: RawLine, us: Role) -> Self {
        Self { line, us, conversation: Conversation::new(Instant::now()), heard: Heard::default() }
    }

    /// Sends this. That it cannot be sent any more shows in what is heard.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.line.send(bytes);
    }

    /// Has the peer judged as if this were what it got; what it is really sent may be nothing that anybody could judge
    /// an answer by.
    pub(super) fn suppose(&mut self, bytes: &[u8]) {
        self.conversation.push(self.us, bytes, &mut |_| {});
    }

    /// Ends what is sent.
    pub(super) fn end(&mut self) {
        let _ = self.line.end();
    }

    /// Listens until there is enough, the peer ends, or so much time has passed.
    pub(super) fn listen(&mut self, patience: Duration, enough: impl Fn(&Heard) -> bool) {
        let deadline = Instant::now() + patience;
        let mut buffer = vec![0; 64 << 10];
        while self.heard.end.is_none() && !enough(&self.heard) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.line.receive(&mut buffer, left) {
                Ok(Received::Bytes(len)) => self.hear(&buffer[..len]),
                Ok(Received::Nothing) => return,
                Ok(end @ (Received::End | Received::Reset)) => self.heard.end = Some(end),
                // Whatever the system says of it, there is no connection any more.
                Err(_) => self.heard.end = Some(Received::Reset),
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let peer = match self.us {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let room = KEPT - self.heard.bytes.len();
        self.heard.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let heard = &mut self.heard;
        self.conversation.push(peer, bytes, &mut |seen| heard.note(&seen, peer));
    }
}

impl Heard {
    fn note(&mut self, seen: &Seen<'_>, peer: Role) {
        match seen {
            Seen::Request { outcome: Ok(request), .. } => self.request = Some((*request).clone()),
            Seen::Answer { outcome: Ok(agreed), .. } => self.agreed = Some((*agreed).clone()),
            Seen::Violation(violation) if violation.by == peer => {
                self.broke.get_or_insert(violation.rule());
            }
            Seen::Frame { from, frame } if *from == peer => match frame.header.opcode() {
                Some(Opcode::Close) if self.close.is_none() => self.close = Some(code_of(&frame.unmasked())),
                Some(Opcode::Pong) => self.pongs += u32::from(frame.unmasked() == FENCE),
                _ => {}
            },
            Seen::Message { from, message } if *from == peer => self.took_text |= message.payload == BEHIND_CLOSE,
            _ => {}
        }
    }

    /// The status of the answer, as soon as its head is there.
    pub(super) fn status(&self) -> Option<u16> {
        self.head().map(|(status, _)| status)
    }

    /// The value of a field in the answer.
    pub(super) fn field(&self, wanted: &str) -> Option<String> {
        let (_, fields) = self.head()?;
        let mut values = fields.lines().filter_map(|line| line.split_once(':'));
        values.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
    }

    /// Status and fields, behind any interim answers. Read with an easy mind, as it is not the answer that is tested.
    fn head(&self) -> Option<(u16, String)> {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut rest = &*text;
        loop {
            let (head, behind) = rest.split_once("\r\n\r\n")?;
            let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
            let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
            if status == 101 || status >= 200 {
                return Some((status, fields.to_owned()));
            }
            rest = behind;
        }
    }
}

/// A code as it stands, whether or not it may.
fn code_of(payload: &[u8]) -> u16 {
    match payload {
        [] => CloseFrame::EMPTY.code.0,
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        [_] => 0,
    }
}
