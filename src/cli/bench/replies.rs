//! Reading replies: frames walked by their headers, payloads judged against what was sent.
//!
//! Replies that came whole and one behind the other, as small ones do, are judged by a single comparison. All others
//! are walked: in pieces as they come, with control frames between, in fragments, compressed.

use std::fmt;

use loopwire::deflate::{Decompressor, DeflateParams};
use loopwire::wire::{CloseFrame, FrameHeader, Opcode, ProtocolError};

use super::payloads::{COMPARED_WHOLE, Payloads};

/// Of messages larger than [`COMPARED_WHOLE`] every 64th is compared whole, and of the others each piece that arrives by its
/// first 64 bytes: comparing them all could cost more than the server's work.
const ONE_IN: u32 = 64;
const COMPARED_OF_A_PIECE: usize = 64;
/// Of compressed replies, those that are inflated and compared: so many of the first connection.
pub(super) const INFLATED: u32 = 10_000;

/// One connection's incoming frames.
#[derive(Debug)]
pub(super) struct Replies {
    /// Which message is to be answered next.
    next: usize,
    judge: Judge,
    /// Whether compression was agreed on.
    deflate: bool,
    /// The beginning of a header whose rest has not come.
    head: [u8; FrameHeader::MAX_LEN],
    head_len: usize,
    /// The frame under way, and the message that it is a part of.
    frame: Option<Frame>,
    message: Option<Message>,
    /// Messages answered so far, to choose samples by.
    count: u32,
    control: Vec<u8>,
    inflater: Option<Box<Inflater>>,
}

/// How much a reply is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// Payloads are compared: what is not expected is wrong.
    Payload,
    /// The same, but other messages may come between, and are only counted.
    Ours,
    /// Replies are only counted, by their headers.
    Header,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    left: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    compressed: bool,
    /// Bytes of payload seen.
    seen: usize,
    whole: bool,
    right: bool,
}

#[derive(Debug)]
struct Inflater {
    codec: Decompressor,
    compressed: Vec<u8>,
    plain: Vec<u8>,
    left: u32,
}

/// What a piece of input brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Messages that ended in it, right or wrong.
    pub(super) messages: usize,
    /// Those among them that are not what was expected.
    pub(super) wrong: usize,
    /// Those among them that came compressed.
    pub(super) compressed: usize,
    /// Messages besides that were not expected and need not be.
    pub(super) others: usize,
    /// Pongs.
    pub(super) pongs: usize,
    /// Whether the peer asks for a pong: [`Replies::ping`] says with what.
    pub(super) ping: bool,
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Rule(ProtocolError),
    Masked,
    Reserved,
    Sequence,
    Closed(String),
}

impl Replies {
    /// Replies from the one to message `next` on.
    pub(super) fn new(next: usize, judge: Judge) -> Self {
        Self {
            next,
            judge,
            deflate: false,
            head: [0; FrameHeader::MAX_LEN],
            head_len: 0,
            frame: None,
            message: None,
            count: 0,
            control: Vec::new(),
            inflater: None,
        }
    }

    /// The same where compression was agreed on.
    pub(super) fn compressed(self) -> Self {
        Self { deflate: true, ..self }
    }

    /// Has compressed replies inflated and compared, the first [`INFLATED`] of them.
    pub(super) fn inflating(self, params: DeflateParams) -> Self {
        let codec = Decompressor::new(params.server_max_window_bits, !params.server_no_context_takeover);
        let inflater = Inflater { codec, compressed: Vec::new(), plain: Vec::new(), left: INFLATED };
        Self { inflater: Some(Box::new(inflater)), ..self.compressed() }
    }

    /// The payload of the last ping.
    pub(super) fn ping(&self) -> &[u8] {
        &self.control
    }

    /// Takes the next piece of the stream.
    pub(super) fn take(&mut self, piece: &[u8], payloads: &Payloads) -> Result<Taken, Fault> {
        let between = self.frame.is_none() && self.message.is_none() && self.head_len == 0;
        if between
            && self.judge != Judge::Header
            && let Some(messages) = payloads.answered_by(self.next, piece)
        {
            self.next = payloads.after(self.next, messages);
            return Ok(Taken { messages, ..Taken::default() });
        }
        self.walk(piece, payloads)
    }

    fn walk(&mut self, mut piece: &[u8], payloads: &Payloads) -> Result<Taken, Fault> {
        let mut taken = Taken::default();
        loop {
            let Some(mut frame) = self.frame.take() else {
                match self.header(&mut piece)? {
                    Some(header) => self.frame = Some(self.begin(&header, payloads)?),
                    None => return Ok(taken),
                }
                continue;
            };
            let here = usize::try_from(frame.left).unwrap_or(usize::MAX).min(piece.len());
            let (payload, rest) = piece.split_at(here);
            piece = rest;
            frame.left -= here as u64;
            if frame.opcode.is_control() {
                self.control.extend_from_slice(payload);
            } else {
                self.payload(payload, payloads);
            }
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(taken);
            }
            self.end(frame, payloads, &mut taken)?;
        }
    }

    /// The next header, once it is complete.
    fn header(&mut self, piece: &mut &[u8]) -> Result<Option<FrameHeader>, Fault> {
        if self.head_len == 0
            && let Some((header, len)) = FrameHeader::decode(piece).map_err(Fault::Rule)?
        {
            *piece = &piece[len..];
            return Ok(Some(header));
        }
        while let [byte, rest @ ..] = *piece {
            self.head[self.head_len] = *byte;
            self.head_len += 1;
            *piece = rest;
            if let Some((header, _)) = FrameHeader::decode(&self.head[..self.head_len]).map_err(Fault::Rule)? {
                self.head_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn begin(&mut self, header: &FrameHeader, payloads: &Payloads) -> Result<Frame, Fault> {
        if header.masking_key.is_some() {
            return Err(Fault::Masked);
        }
        let opcode = header.opcode;
        let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
        if header.rsv2 || header.rsv3 || (header.rsv1 && !(self.deflate && begins)) {
            return Err(Fault::Reserved);
        }
        if opcode.is_control() {
            self.control.clear();
        } else if begins == self.message.is_some() {
            return Err(Fault::Sequence);
        } else if begins {
            let whole = payloads.size <= COMPARED_WHOLE || self.count.is_multiple_of(ONE_IN);
            let right = self.judge == Judge::Header || opcode == payloads.kind.opcode();
            self.message = Some(Message { compressed: header.rsv1, seen: 0, whole, right });
        }
        Ok(Frame { opcode, fin: header.fin, left: header.payload_len })
    }

    /// A piece of a message's payload.
    fn payload(&mut self, piece: &[u8], payloads: &Payloads) {
        let Some(message) = &mut self.message else { return };
        let from = message.seen;
        message.seen += piece.len();
        if self.judge == Judge::Header {
            return;
        }
        if !message.compressed {
            let compared = if message.whole { piece.len() } else { piece.len().min(COMPARED_OF_A_PIECE) };
            let expected = payloads.plain(self.next).get(from..message.seen);
            message.right &= expected.is_some_and(|expected| expected[..compared] == piece[..compared]);
        } else if let Some(inflater) = &mut self.inflater {
            inflater.compressed.extend_from_slice(piece);
        }
    }

    fn end(&mut self, frame: Frame, payloads: &Payloads, taken: &mut Taken) -> Result<(), Fault> {
        match frame.opcode {
            Opcode::Close => Err(closed(&self.control)),
            Opcode::Ping => {
                taken.ping = true;
                Ok(())
            }
            Opcode::Pong => {
                taken.pongs += 1;
                Ok(())
            }
            _ if !frame.fin => Ok(()),
            _ => {
                let Some(message) = self.message.take() else { return Err(Fault::Sequence) };
                let is_right = self.is_right(message, payloads);
                if !is_right && self.judge == Judge::Ours {
                    taken.others += 1;
                    return Ok(());
                }
                taken.messages += 1;
                taken.compressed += usize::from(message.compressed);
                taken.wrong += usize::from(!is_right);
                self.next = payloads.after(self.next, 1);
                self.count = self.count.wrapping_add(1);
                Ok(())
            }
        }
    }

    fn is_right(&mut self, message: Message, payloads: &Payloads) -> bool {
        let expected = payloads.plain(self.next);
        if self.judge == Judge::Header {
            return true;
        }
        if !message.compressed {
            return message.right && message.seen == expected.len();
        }
        // What comes after the sample is counted alone.
        let Some(inflater) = &mut self.inflater else { return message.right };
        let right = inflater.inflates_to(expected);
        if inflater.left == 0 {
            self.inflater = None;
        }
        message.right && right
    }
}

impl Inflater {
    fn inflates_to(&mut self, expected: &[u8]) -> bool {
        self.left -= 1;
        self.plain.clear();
        let inflated = self.codec.decompress(&self.compressed, true, expected.len(), &mut self.plain);
        self.compressed.clear();
        inflated.is_ok() && self.plain == expected
    }
}

fn closed(payload: &[u8]) -> Fault {
    match CloseFrame::decode(payload) {
        Ok(CloseFrame { code, reason: "" }) => Fault::Closed(code.to_string()),
        Ok(CloseFrame { code, reason }) => Fault::Closed(format!("{code}: {reason}")),
        Err(error) => Fault::Rule(error),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(error) => write!(f, "the server broke a rule: {error}"),
            Self::Masked => f.write_str("the server masked a frame, which only clients do"),
            Self::Reserved => f.write_str("the server set a reserved bit that was not agreed on"),
            Self::Sequence => f.write_str("the server continued no message, or began one inside another"),
            Self::Closed(why) => {
                write!(f, "the server closed the connection with {}", super::super::terminal::printable(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::payloads::Content;
    use super::*;

    /// A server's frames: first byte, payload.
    fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (first, payload) in frames {
            let header = FrameHeader::new(Opcode::from_bits(*first).unwrap(), payload.len() as u64);
            let start = bytes.len();
            header.encode(&mut bytes);
            bytes[start] = *first;
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    /// What comes of `bytes` that arrive in two pieces, cut at each point, and byte by byte: always the same.
    fn however_cut(new: &dyn Fn() -> Replies, bytes: &[u8], payloads: &Payloads) -> Result<Taken, Fault> {
        let taken = |pieces: &[&[u8]]| {
            let mut replies = new();
            pieces.iter().try_fold(Taken::default(), |sum, piece| {
                let taken = replies.take(piece, payloads)?;
                Ok(Taken {
                    messages: sum.messages + taken.messages,
                    wrong: sum.wrong + taken.wrong,
                    compressed: sum.compressed + taken.compressed,
                    others: sum.others + taken.others,
                    pongs: sum.pongs + taken.pongs,
                    ping: sum.ping || taken.ping,
                })
            })
        };
        let whole = taken(&[bytes]);
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(taken(&[first, second]), whole, "cut at {cut}");
        }
        assert_eq!(taken(&bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
        whole
    }

    #[test]
    fn replies_are_right_or_wrong_however_they_are_cut() {
        let payloads = Payloads::new(Content::Text, 200, 3, None);
        let [a, b, c] = [0, 1, 2].map(|index| payloads.plain(index));
        let (mut bent, none) = (a.to_vec(), Taken::default());
        *bent.last_mut().unwrap() ^= 1;
        let rows: [(&str, Vec<u8>, Taken); 11] = [
            ("three in a row", frames(&[(0x81, a), (0x81, b), (0x81, c)]), Taken { messages: 3, ..none }),
            ("in fragments", frames(&[(0x01, &a[..9]), (0x00, b""), (0x80, &a[9..])]), Taken { messages: 1, ..none }),
            (
                "a ping and a pong within a message",
                frames(&[(0x01, &a[..9]), (0x89, b"hey"), (0x8A, b""), (0x80, &a[9..]), (0x81, b)]),
                Taken { messages: 2, pongs: 1, ping: true, ..none },
            ),
            ("unfinished", frames(&[(0x01, a)]), none),
            ("out of order", frames(&[(0x81, b), (0x81, a)]), Taken { messages: 2, wrong: 2, ..none }),
            ("the last byte", frames(&[(0x81, &bent), (0x81, b)]), Taken { messages: 2, wrong: 1, ..none }),
            ("too short", frames(&[(0x81, &a[..199])]), Taken { messages: 1, wrong: 1, ..none }),
            ("too long", frames(&[(0x01, a), (0x80, b"x")]), Taken { messages: 1, wrong: 1, ..none }),
            ("empty", frames(&[(0x81, b""), (0x81, b)]), Taken { messages: 2, wrong: 1, ..none }),
            ("binary for text", frames(&[(0x82, a)]), Taken { messages: 1, wrong: 1, ..none }),
            ("nothing", Vec::new(), none),
        ];
        for (what, bytes, taken) in rows {
            let judged = however_cut(&|| Replies::new(0, Judge::Payload), &bytes, &payloads);
            assert_eq!(judged, Ok(taken), "{what}");
            let counted = however_cut(&|| Replies::new(0, Judge::Header), &bytes, &payloads);
            assert_eq!(counted, Ok(Taken { wrong: 0, ..taken }), "{what}, unchecked");
        }
        // Where others may come between, what is expected is found among them.
        let between = frames(&[(0x81, b"hello"), (0x81, a), (0x82, c), (0x81, &bent), (0x81, b)]);
        let ours = however_cut(&|| Replies::new(0, Judge::Ours), &between, &payloads);
        assert_eq!(ours, Ok(Taken { messages: 2, others: 3, ..none }));
    }

    #[test]
    fn a_server_that_breaks_a_rule_is_told_so() {
        let payloads = Payloads::new(Content::Binary, 5, 1, None);
        let rows: [(&[u8], Fault); 9] = [
            (&[0x82, 0x85, 1, 2, 3, 4], Fault::Masked),
            (&[0x83], Fault::Rule(ProtocolError::ReservedOpcode(3))),
            (&[0xC2, 0x05], Fault::Reserved),
            (&[0xA2, 0x05], Fault::Reserved),
            (&[0x80, 0x05], Fault::Sequence),
            (&[0x02, 0x01, 0, 0x02, 0x01], Fault::Sequence),
            (&[0x88, 0x00], Fault::Closed(CloseFrame::EMPTY.code.to_string())),
            (&[0x88, 0x05, 0x03, 0xE9, b'b', b'y', b'e'], Fault::Closed("1001: bye".to_owned())),
            (&[0x88, 0x01, 0x03], Fault::Rule(ProtocolError::CloseTooShort)),
        ];
        for (bytes, fault) in rows {
            let outcome = however_cut(&|| Replies::new(0, Judge::Payload), bytes, &payloads);
            assert_eq!(outcome, Err(fault), "{bytes:02x?}");
        }
    }

    #[test]
    fn large_replies_are_compared_in_samples_and_the_first_of_them_whole() {
        let payloads = Payloads::new(Content::Binary, 20_000, 2, None);
        let bend = |index: usize, at: usize| {
            let mut payload = payloads.plain(index).to_vec();
            payload[at] ^= 1;
            frames(&[(0x82, &payload)])
        };
        let right = frames(&[(0x82, payloads.plain(0))]);
        let wrong = |bytes: &[&[u8]]| {
            let mut replies = Replies::new(0, Judge::Payload);
            bytes.iter().map(|bytes| replies.take(bytes, &payloads).unwrap().wrong).sum::<usize>()
        };
        assert_eq!(wrong(&[&right]), 0);
        assert_eq!(wrong(&[&bend(0, 10_000)]), 1, "the first is compared whole");
        assert_eq!(wrong(&[&right, &bend(1, 63)]), 1, "each piece is compared at its beginning");
        assert_eq!(wrong(&[&right, &bend(1, 64)]), 0, "and no further");
    }

    #[test]
    fn compressed_replies_are_inflated_and_compared_with_and_without_takeover() {
        use loopwire::deflate::{Compressor, DeflateConfig};

        let payloads = Payloads::new(Content::Json, 300, 1, Some(15));
        for takeover in [true, false] {
            let mut params = DeflateParams::default();
            params.server_no_context_takeover = !takeover;
            let mut server = Compressor::new(15, takeover, &DeflateConfig::default());
            let mut bytes = Vec::new();
            for index in [0, 1, 2, 2] {
                let mut payload = Vec::new();
                server.compress(payloads.plain(index), true, &mut payload);
                bytes.extend(frames(&[(0xC1, &payload)]));
            }
            let judged = however_cut(&|| Replies::new(0, Judge::Payload).inflating(params), &bytes, &payloads);
            // The last one is not what was sent.
            assert_eq!(judged, Ok(Taken { messages: 4, wrong: 1, compressed: 4, ..Taken::default() }));
            let counted = however_cut(&|| Replies::new(0, Judge::Payload).compressed(), &bytes, &payloads);
            assert_eq!(counted, Ok(Taken { messages: 4, compressed: 4, ..Taken::default() }));
        }
    }
}
