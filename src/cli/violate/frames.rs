//! Frames that break a rule, and some that look as if they did, byte by byte; the same for both ends but for the mask.

use loopwire::Role;
use loopwire::explain::LengthForm::{self, SevenBits, SixteenBits, SixtyFourBits};
use loopwire::wire::{MaskingKey, Rule, apply_mask};

use super::probe::Force::{Must, Should};
use super::probe::{Demand, Probe, Sends};

/// The RFC's own [RFC 6455 §5.7].
const KEY: MaskingKey = MaskingKey([0x37, 0xfa, 0x21, 0x3d]);

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;

/// What the ping behind a broken frame carries: who answers it has not noticed, or has gone on.
pub(super) const FENCE: &[u8] = b"loopwire violate";

/// What no peer sends by itself, behind a Close.
pub(super) const BEHIND_CLOSE: &[u8] = b"behind the Close";

/// Code and reason of a Close that nothing is wrong with.
const NORMAL: &[u8] = &[0x03, 0xe8];

/// A frame as it is to stand on the wire, right or wrong.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    form: LengthForm,
    /// What the header says, whatever the payload is.
    len: u64,
    payload: Vec<u8>,
}

impl Frame {
    /// With FIN, and the length in its shortest form.
    fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        let form = match payload.len() {
            0..=125 => SevenBits,
            126..=0xFFFF => SixteenBits,
            _ => SixtyFourBits,
        };
        Self { first: FIN | opcode, form, len: payload.len() as u64, payload }
    }

    fn unfinished(self) -> Self {
        Self { first: self.first & !FIN, ..self }
    }

    fn with(self, bits: u8) -> Self {
        Self { first: self.first | bits, ..self }
    }

    fn in_form(self, form: LengthForm) -> Self {
        Self { form, ..self }
    }

    /// Says that it is so long, in 64 bits, and has no payload.
    fn of_length(self, len: u64) -> Self {
        Self { form: SixtyFourBits, len, payload: Vec::new(), ..self }
    }

    fn bytes(&self, key: Option<MaskingKey>) -> Vec<u8> {
        let len = self.len.to_be_bytes();
        let (short, extended) = match self.form {
            SevenBits => (len[7], &[][..]),
            SixteenBits => (126, &len[6..]),
            SixtyFourBits => (127, &len[..]),
        };
        let mask = if key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![self.first, mask | short];
        bytes.extend_from_slice(extended);
        let mut payload = self.payload.clone();
        if let Some(key) = key {
            bytes.extend_from_slice(&key.0);
            apply_mask(&mut payload, key);
        }
        bytes.extend(payload);
        bytes
    }

    /// As this end sends it.
    fn from(&self, by: Role) -> Vec<u8> {
        self.bytes(key_of(by))
    }
}

fn key_of(by: Role) -> Option<MaskingKey> {
    (by == Role::Client).then_some(KEY)
}

/// A ping, as this end sends it, that tells whether the other goes on.
pub(super) fn fence(by: Role) -> Vec<u8> {
    Frame::new(PING, FENCE).from(by)
}

/// A Close as this end sends it.
pub(super) fn close(by: Role, code: Option<u16>) -> Vec<u8> {
    Frame::new(CLOSE, code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec())).from(by)
}

/// All probes that are frames sent by this end.
pub(super) fn probes(by: Role) -> Vec<Probe> {
    let mut table = Table { by, probes: Vec::new() };
    table.masks();
    table.lengths();
    table.headers();
    table.control_frames();
    table.fragments();
    table.texts();
    table.closes();
    table.compressed();
    table.probes
}

struct Table {
    by: Role,
    probes: Vec<Probe>,
}

impl Table {
    fn add(&mut self, rule: &'static Rule, name: impl Into<String>, demands: Demand, bytes: Vec<u8>) -> &mut Probe {
        // Where the RFC says in so many words what a receiver does. For all else it says what a sender may not do, that a
        // receiver validates what it gets, and that it then should close [RFC 6455 §10.7].
        let told =
            [Rule::MASK_MISSING, Rule::MASK_FORBIDDEN, Rule::RESERVED_BIT, Rule::RESERVED_OPCODE, Rule::INVALID_UTF8];
        let force = if demands == Demand::Open || told.contains(&rule) { Must } else { Should };
        let sends = Sends::Frames { bytes, compressed: false, closes: None };
        self.probes.push(Probe { rule, name: name.into(), force, sends, demands });
        self.probes.last_mut().expect("one was pushed")
    }

    /// A breach by one frame.
    fn bad(&mut self, rule: &'static Rule, name: impl Into<String>, frame: &Frame) {
        self.bad_all(rule, name, std::slice::from_ref(frame));
    }

    /// A breach by the last of these frames.
    fn bad_all(&mut self, rule: &'static Rule, name: impl Into<String>, frames: &[Frame]) {
        let bytes = self.bytes(frames);
        self.add(rule, name, Demand::Close(owed(rule)), bytes);
    }

    /// Frames that a peer has to take.
    fn good(&mut self, rule: &'static Rule, name: impl Into<String>, frames: &[Frame]) {
        let bytes = self.bytes(frames);
        self.add(rule, name, Demand::Open, bytes);
    }

    fn bytes(&self, frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.from(self.by)).collect()
    }

    /// A client's frames without masks, a server's with.
    fn masks(&mut self) {
        let (rule, key) = match self.by {
            Role::Client => (Rule::MASK_MISSING, None),
            Role::Server => (Rule::MASK_FORBIDDEN, Some(KEY)),
        };
        let demands = Demand::Close(owed(rule));
        for (form, len, told) in
            [(SevenBits, 5, "7-bit"), (SixteenBits, 126, "16-bit"), (SixtyFourBits, 65_536, "64-bit")]
        {
            for (opcode, kind) in [(TEXT, "text"), (BINARY, "binary"), (CONTINUATION, "continuation")] {
                let begin = Frame::new(TEXT, "a").unfinished();
                let mut bytes = if opcode == CONTINUATION { begin.from(self.by) } else { Vec::new() };
                bytes.extend(Frame::new(opcode, vec![b'a'; len]).in_form(form).bytes(key));
                self.add(rule, format!("{kind}, {told} length"), demands, bytes);
            }
        }
        self.add(rule, "text, empty", demands, Frame::new(TEXT, "").bytes(key));
        self.add(rule, "text, first fragment", demands, Frame::new(TEXT, "a").unfinished().bytes(key));
        self.add(rule, "ping", demands, Frame::new(PING, "ping").bytes(key));
        self.add(rule, "pong", demands, Frame::new(PONG, "pong").bytes(key));
        let close = self.add(rule, "close", demands, Frame::new(CLOSE, NORMAL).bytes(key));
        close.says(1000);
        let close = self.add(rule, "close, empty", demands, Frame::new(CLOSE, "").bytes(key));
        close.says(1000);
        if self.by == Role::Client {
            let bytes = Frame::new(TEXT, "Hello").bytes(Some(MaskingKey([0; 4])));
            self.add(rule, "right: a mask of zeros", Demand::Open, bytes);
        }
    }

    fn lengths(&mut self) {
        let rule = Rule::LENGTH_NOT_MINIMAL;
        for (opcode, len, form, name) in [
            (TEXT, 0, SixteenBits, "text, 0 in 16 bits"),
            (TEXT, 5, SixteenBits, "text, 5 in 16 bits"),
            (BINARY, 125, SixteenBits, "binary, 125 in 16 bits"),
            (TEXT, 0, SixtyFourBits, "text, 0 in 64 bits"),
            (TEXT, 5, SixtyFourBits, "text, 5 in 64 bits"),
            (BINARY, 126, SixtyFourBits, "binary, 126 in 64 bits"),
            (BINARY, 65_535, SixtyFourBits, "binary, 65535 in 64 bits"),
        ] {
            self.bad(rule, name, &Frame::new(opcode, vec![b'a'; len]).in_form(form));
        }
        for (form, name) in [(SixteenBits, "continuation, 3 in 16 bits"), (SixtyFourBits, "continuation, 3 in 64 bits")]
        {
            let frames = [Frame::new(TEXT, "a").unfinished(), Frame::new(CONTINUATION, "aaa").in_form(form)];
            self.bad_all(rule, name, &frames);
        }
        self.good(rule, "right: 126 in 16 bits", &[Frame::new(BINARY, [0; 126])]);
        self.good(rule, "right: 65536 in 64 bits", &[Frame::new(BINARY, vec![0; 65_536])]);

        let rule = Rule::LENGTH_TOP_BIT;
        // To a reader of 63 bits the first is a frame of nothing, and to one of signed numbers the last is one of -1.
        for (len, told) in [(1 << 63, "2^63"), ((1 << 63) + 5, "2^63 + 5"), (u64::MAX, "2^64 - 1")] {
            for (opcode, kind) in [(TEXT, "text"), (BINARY, "binary")] {
                self.bad(rule, format!("{kind}, {told}"), &Frame::new(opcode, "").of_length(len));
            }
        }
        let frames = [Frame::new(BINARY, "a").unfinished(), Frame::new(CONTINUATION, "").of_length(1 << 63)];
        self.bad_all(rule, "continuation, 2^63", &frames);
    }

    fn headers(&mut self) {
        let rule = Rule::RESERVED_BIT;
        for (bits, told) in [(RSV1, "RSV1"), (RSV2, "RSV2"), (RSV3, "RSV3"), (RSV1 | RSV2 | RSV3, "all three")] {
            self.bad(rule, format!("text, {told}"), &Frame::new(TEXT, "Hello").with(bits));
            self.bad(rule, format!("ping, {told}"), &Frame::new(PING, "Hello").with(bits));
        }
        let begin = Frame::new(TEXT, "Hel").unfinished();
        self.bad_all(rule, "continuation, RSV2", &[begin, Frame::new(CONTINUATION, "lo").with(RSV2)]);
        self.bad(rule, "close, RSV3", &Frame::new(CLOSE, NORMAL).with(RSV3));
        self.says(1000);
        for opcode in (3..=7).chain(11..=15) {
            self.bad(Rule::RESERVED_OPCODE, format!("opcode {opcode}"), &Frame::new(opcode, "Hello"));
        }
    }

    fn control_frames(&mut self) {
        for (opcode, kind, payload) in
            [(PING, "ping", &b"Hello"[..]), (PONG, "pong", b"Hello"), (CLOSE, "close", NORMAL)]
        {
            self.bad(
                Rule::FRAGMENTED_CONTROL_FRAME,
                format!("{kind} without FIN"),
                &Frame::new(opcode, payload).unfinished(),
            );
            if opcode == CLOSE {
                self.says(1000);
            }
        }
        let rule = Rule::CONTROL_FRAME_TOO_LONG;
        for (opcode, kind) in [(PING, "ping"), (PONG, "pong"), (CLOSE, "close")] {
            self.bad(rule, format!("{kind}, 126 bytes"), &Frame::new(opcode, [NORMAL, &[b'a'; 124]].concat()));
            if opcode == CLOSE {
                self.says(1000);
            }
        }
        self.bad(rule, "ping, 65536 bytes", &Frame::new(PING, vec![b'a'; 65_536]));
        self.bad(rule, "ping, 5 in 16 bits", &Frame::new(PING, "Hello").in_form(SixteenBits));
        self.bad(rule, "ping, 5 in 64 bits", &Frame::new(PING, "Hello").in_form(SixtyFourBits));
        self.bad(rule, "ping, 2^63 bytes", &Frame::new(PING, "").of_length(1 << 63));
        self.good(rule, "right: ping, 125 bytes", &[Frame::new(PING, [b'a'; 125])]);
        self.good(rule, "right: pong, unasked", &[Frame::new(PONG, "Hello")]);
    }

    fn fragments(&mut self) {
        let (begin, end) = (Frame::new(TEXT, "Hel").unfinished(), Frame::new(CONTINUATION, "lo"));
        let rule = Rule::CONTINUATION_UNEXPECTED;
        self.bad(rule, "first frame of all", &end);
        self.bad(rule, "the same without FIN", &end.clone().unfinished());
        self.bad_all(rule, "behind a whole message", &[Frame::new(TEXT, "Hello"), end.clone()]);
        self.bad_all(rule, "behind a last fragment", &[begin.clone(), end.clone(), end.clone()]);
        let empty = Frame::new(CONTINUATION, "").unfinished();
        self.good(rule, "right: empty fragments", &[begin.clone(), empty.clone(), empty, end.clone()]);
        let rule = Rule::CONTINUATION_EXPECTED;
        self.bad_all(rule, "text in a text", &[begin.clone(), Frame::new(TEXT, "Hello")]);
        self.bad_all(rule, "binary in a text", &[begin.clone(), Frame::new(BINARY, "Hello")]);
        self.bad_all(rule, "two first fragments", &[begin.clone(), begin.clone()]);
        self.good(rule, "right: a ping in a text", &[begin, Frame::new(PING, "Hello"), end]);
    }

    fn texts(&mut self) {
        let rule = Rule::INVALID_UTF8;
        for (name, payload) in [
            ("a byte that never is", &b"Hello\xff"[..]),
            ("a surrogate", b"\xed\xa0\x80"),
            ("an overlong form", b"\xc0\xaf"),
            ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
            ("ends inside a character", b"Hello\xe2\x82"),
        ] {
            self.bad(rule, name, &Frame::new(TEXT, payload));
        }
        let half = Frame::new(TEXT, b"\xe2\x82").unfinished();
        self.bad_all(rule, "cut, and not gone on with", &[half.clone(), Frame::new(CONTINUATION, b"Hello")]);
        self.good(rule, "right: character cut in two", &[half, Frame::new(CONTINUATION, b"\xac")]);
    }

    fn closes(&mut self) {
        self.bad(Rule::CLOSE_TOO_SHORT, "one byte", &Frame::new(CLOSE, [3]));
        self.says(1000);
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            self.bad(Rule::CLOSE_CODE_INVALID, code.to_string(), &Frame::new(CLOSE, code.to_be_bytes()));
            self.says(code);
        }
        self.bad(Rule::CLOSE_REASON_NOT_UTF8, "a byte that never is", &Frame::new(CLOSE, b"\x03\xe8\xff"));
        self.says(1000);
        self.bad(Rule::CLOSE_REASON_NOT_UTF8, "ends inside a character", &Frame::new(CLOSE, b"\x03\xe8\xe2\x82"));
        self.says(1000);
        let bytes = self.bytes(&[Frame::new(CLOSE, NORMAL), Frame::new(TEXT, BEHIND_CLOSE)]);
        self.add(Rule::DATA_AFTER_CLOSE, "text behind a Close", Demand::AnyClose, bytes).says(1000);
    }

    /// Where permessage-deflate is agreed on.
    fn compressed(&mut self) {
        let first = self.probes.len();
        // "Hello" [RFC 7692 §7.2.3.1].
        let hello = Frame::new(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00").with(RSV1);
        self.good(Rule::INFLATE_FAILED, "right: compressed", std::slice::from_ref(&hello));
        for (name, payload) in [
            ("a block of no type", &b"\x07\xff\xff"[..]),
            ("a stored block, wrong length", b"\x00\x05\x00\x05\x00Hello"),
            ("back beyond the beginning", b"\x02\x02\x00"),
        ] {
            self.bad(Rule::INFLATE_FAILED, name, &Frame::new(TEXT, payload).with(RSV1));
        }
        let rule = Rule::COMPRESSED_OUT_OF_PLACE;
        self.bad(rule, "ping with RSV1", &Frame::new(PING, "Hello").with(RSV1));
        self.bad(rule, "pong with RSV1", &Frame::new(PONG, "Hello").with(RSV1));
        self.bad(rule, "close with RSV1", &Frame::new(CLOSE, NORMAL).with(RSV1));
        self.says(1000);
        let begin = Frame::new(TEXT, b"\xf2\x48\xcd").with(RSV1).unfinished();
        self.bad_all(
            rule,
            "continuation with RSV1",
            &[begin, Frame::new(CONTINUATION, b"\xc9\xc9\x07\x00").with(RSV1)],
        );
        self.bad(Rule::RESERVED_BIT, "compressed text, RSV2", &hello.clone().with(RSV2));
        // "é" cut in two, in a stored block.
        let half = Frame::new(TEXT, b"\x00\x01\x00\xfe\xff\xc3\x00").with(RSV1);
        self.bad(Rule::INVALID_UTF8, "compressed, cut character", &half);
        for probe in &mut self.probes[first..] {
            if let Sends::Frames { compressed, .. } = &mut probe.sends {
                *compressed = true;
            }
        }
    }

    fn says(&mut self, code: u16) {
        self.probes.last_mut().expect("one was added").says(code);
    }
}

/// The codes that a Close about this may have.
fn owed(rule: &'static Rule) -> &'static [u16] {
    if *rule == *Rule::INFLATE_FAILED {
        // RFC 7692 names none.
        &[1007, 1002]
    } else if rule.close_code() == Some(loopwire::CloseCode::INVALID_PAYLOAD) {
        &[1007]
    } else {
        &[1002]
    }
}
