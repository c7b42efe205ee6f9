//! Short messages deflated fast: one look for a repetition at each byte, and the codes that DEFLATE has fixed
//! [RFC 1951 §3.2.6].
//!
//! A general codec is made for long streams. Before it compresses 200 bytes of a connection that had not the last turn,
//! it clears 128 KB of hash table and reads the connection's history again, which costs twenty times as much as the
//! message itself. Here each connection keeps a small table of where in its history what stands ([`Index`]), and that
//! table needs no clearing ever: whatever it says is compared with the bytes before it is believed.
//!
//! ```text
//!   history                          piece
//!   ├──────────────────────────────┼────────────────┤     the window, in one place for the time of a call
//!        ▲ slots[hash of the next 4 bytes]  │
//!        └─────────── distance ─────────────┘
//! ```

use super::TAIL;
use super::history::History;

/// The longest piece that is compressed here, in bytes. Of more, a codec with larger tables and windows makes less.
pub(super) const MAX_PIECE: usize = 8 * 1024;

/// What a piece can become at most: 9 bits a byte, the end of a block, and what the writer writes ahead.
const BLOCK_LEN: usize = MAX_PIECE * 9 / 8 + 16;

const SLOT_BITS: u32 = 10;

/// What is hashed, and so the shortest repetition that is found, in bytes.
const MIN_MATCH: usize = 4;

const MAX_MATCH: usize = 258;

/// A repetition of at least this length is taken without a look at whether the next byte begins a longer one.
const GOOD_MATCH: usize = 16;

/// Where in a stream the last four bytes of each hash began: its position's low 16 bits, which suffice for any distance
/// that DEFLATE knows.
pub(super) struct Index {
    /// Allocated with the first message. 2 KiB.
    slots: Option<Box<Slots>>,
    /// How far the stream is indexed.
    end: u64,
}

type Slots = [u16; 1 << SLOT_BITS];

impl Index {
    pub(super) const fn new() -> Self {
        Self { slots: None, end: 0 }
    }

    /// Knows nothing again; the memory stays.
    fn clear(&mut self) {
        self.end = 0;
        if let Some(slots) = &mut self.slots {
            slots.fill(0);
        }
    }
}

/// What compressing needs only while it runs, shared by all connections of a thread.
pub(super) struct Workshop {
    window: Vec<u8>,
    block: Box<[u8; BLOCK_LEN]>,
    /// For messages that have nothing to do with those before.
    index: Index,
}

impl Workshop {
    pub(super) fn new() -> Self {
        Self { window: Vec::new(), block: vec![0; BLOCK_LEN].try_into().expect("its length"), index: Index::new() }
    }

    /// Compresses `piece`, of at most [`MAX_PIECE`] bytes, appends it to `out` and flushes, so that the output ends with
    /// [`TAIL`]; it refers to `history`, and no further back than `reach` bytes.
    ///
    /// `index` is of `history`, and afterwards of `piece` too. Without one the history is indexed for this call.
    pub(super) fn compress(
        &mut self,
        history: &History,
        index: Option<&mut Index>,
        piece: &[u8],
        reach: usize,
        out: &mut Vec<u8>,
    ) {
        let index = index.unwrap_or_else(|| {
            self.index.clear();
            &mut self.index
        });
        self.window.clear();
        for part in history.parts() {
            self.window.extend_from_slice(part);
        }
        let start = self.window.len();
        self.window.extend_from_slice(piece);

        let base = history.end() - start as u64;
        let mut search = Search {
            window: &self.window,
            slots: index.slots.get_or_insert_with(|| Box::new([0; _])),
            base: base as u16,
            reach,
        };
        // Told to the history without being compressed here, and the last bytes of the message before, whose hashes
        // began there and ended here.
        search.learn(index.end.saturating_sub(base) as usize, start);
        let len = search.encode(start, &mut self.block[..]);
        index.end = (history.end() + piece.len() as u64).saturating_sub(MIN_MATCH as u64 - 1);

        let stored_len = 1 + 4 + piece.len() + 1;
        if len <= stored_len {
            out.extend_from_slice(&self.block[..len]);
        } else {
            // As it is [RFC 1951 §3.2.4], and the header of the empty block that flushes.
            let [low, high] = (piece.len() as u16).to_le_bytes();
            out.extend_from_slice(&[0, low, high, !low, !high]);
            out.extend_from_slice(piece);
            out.push(0);
        }
        out.extend_from_slice(&TAIL);
    }
}

/// The way through one window.
struct Search<'a> {
    window: &'a [u8],
    slots: &'a mut Slots,
    /// The position of the window's first byte in the stream.
    base: u16,
    reach: usize,
}

#[derive(Clone, Copy)]
struct Match {
    len: usize,
    distance: usize,
}

impl Search<'_> {
    /// Writes what stands from `start` on as one block, and the three bits behind it with which a flush begins; returns
    /// how many bytes that is.
    fn encode(&mut self, start: usize, block: &mut [u8]) -> usize {
        let mut bits = BitWriter::begin(block);
        let mut at = start;
        // Found at the byte before, and not taken yet: a longer one may begin here.
        let mut held: Option<Match> = None;
        while at + MIN_MATCH <= self.window.len() {
            let found = self.find(at);
            if let Some(repeated) = held.take_if(|held| found.is_none_or(|found| found.len <= held.len)) {
                bits.repetition(repeated);
                at += repeated.len - 1;
                self.learn_end(at);
                continue;
            }
            if held.is_some() {
                bits.literal(self.window[at - 1]);
            }
            match found {
                Some(repeated) if repeated.len >= GOOD_MATCH => {
                    held = None;
                    bits.repetition(repeated);
                    at += repeated.len;
                    self.learn_end(at);
                }
                Some(_) => {
                    held = found;
                    at += 1;
                }
                None => {
                    bits.literal(self.window[at]);
                    at += 1;
                }
            }
        }
        if let Some(repeated) = held {
            bits.repetition(repeated);
            at += repeated.len - 1;
        }
        for &byte in &self.window[at..] {
            bits.literal(byte);
        }
        bits.finish()
    }

    /// What stands at `at` too, if it stood anywhere before; and remembers that it stands there now.
    #[inline]
    fn find(&mut self, at: usize) -> Option<Match> {
        let next = four(self.window, at)?;
        let slot = &mut self.slots[hash(next)];
        let here = self.base.wrapping_add(at as u16);
        let distance = usize::from(here.wrapping_sub(*slot));
        *slot = here;
        if distance == 0 || distance > at.min(self.reach) || four(self.window, at - distance) != Some(next) {
            return None;
        }
        let (old, new) = (&self.window[at - distance + MIN_MATCH..], &self.window[at + MIN_MATCH..]);
        let most = new.len().min(MAX_MATCH - MIN_MATCH);
        Some(Match { len: MIN_MATCH + common_prefix(&old[..most], &new[..most]), distance })
    }

    /// Remembers the end of a repetition, up to `at`, where something new begins. What begins within one is mostly known
    /// from where it was first.
    #[inline]
    fn learn_end(&mut self, at: usize) {
        if let Some(next) = four(self.window, at - 2) {
            self.slots[hash(next)] = self.base.wrapping_add((at - 2) as u16);
        }
    }

    /// Remembers what begins from `from` up to `to`.
    #[inline]
    fn learn(&mut self, from: usize, to: usize) {
        for at in from..to {
            let Some(next) = four(self.window, at) else { return };
            self.slots[hash(next)] = self.base.wrapping_add(at as u16);
        }
    }
}

#[inline]
fn four(window: &[u8], at: usize) -> Option<u32> {
    window.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// A multiplication carries every bit upwards, so the upper ones depend on all four bytes.
#[inline]
const fn hash(next: u32) -> usize {
    (next.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SLOT_BITS)) as usize
}

/// How many bytes two slices of the same length have in common at their beginning.
#[inline]
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words_a, rest_a) = a.as_chunks::<8>();
    let (words_b, rest_b) = b.as_chunks::<8>();
    let mut len = 0;
    for (a, b) in words_a.iter().zip(words_b) {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return len + (differing.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    len + rest_a.iter().zip(rest_b).take_while(|(a, b)| a == b).count()
}

/// Codes, packed from the lowest bit up [RFC 1951 §3.1.1].
struct BitWriter<'a> {
    block: &'a mut [u8],
    len: usize,
    /// What does not fill a byte yet. Its bits are in the block too.
    held: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// A block that is not the last, of type 1: fixed codes.
    fn begin(block: &'a mut [u8]) -> Self {
        Self { block, len: 0, held: 0b010, count: 3 }
    }

    #[inline]
    fn literal(&mut self, byte: u8) {
        self.write(LITERALS[usize::from(byte)]);
    }

    #[inline]
    fn repetition(&mut self, Match { len, distance }: Match) {
        let len = LENGTHS[len - MIN_MATCH];
        let distance = distance_code(distance as u32);
        self.write(Code { bits: len.bits | distance.bits << len.count, count: len.count + distance.count });
    }

    #[inline]
    fn write(&mut self, code: Code) {
        self.held |= u64::from(code.bits) << self.count;
        self.count += code.count;
        self.block[self.len..self.len + 8].copy_from_slice(&self.held.to_le_bytes());
        self.len += (self.count / 8) as usize;
        self.held >>= self.count & !7;
        self.count &= 7;
    }

    /// The end of the block, and a stored one's beginning: zeros all, to the end of a byte.
    fn finish(mut self) -> usize {
        self.write(Code { bits: 0, count: 7 + 3 });
        self.len + usize::from(self.count > 0)
    }
}

/// A code and its extra bits, in the order in which they are sent: at most 13 for a length and 18 for a distance.
#[derive(Clone, Copy)]
struct Code {
    bits: u32,
    count: u32,
}

impl Code {
    /// A Huffman code goes with its highest bit first.
    const fn huffman(code: u32, count: u32) -> Self {
        Self { bits: code.reverse_bits() >> (32 - count), count }
    }

    /// Followed by `count` bits of a number, the lowest first.
    const fn with_extra(self, extra: u32, count: u32) -> Self {
        Self { bits: self.bits | extra << self.count, count: self.count + count }
    }

    /// The fixed code of a literal, the end of a block, or a length.
    const fn of_symbol(symbol: u32) -> Self {
        match symbol {
            0..144 => Self::huffman(0b0011_0000 + symbol, 8),
            144..256 => Self::huffman(0b1_1001_0000 + symbol - 144, 9),
            256..280 => Self::huffman(symbol - 256, 7),
            _ => Self::huffman(0b1100_0000 + symbol - 280, 8),
        }
    }
}

static LITERALS: [Code; 256] = {
    let mut codes = [Code { bits: 0, count: 0 }; 256];
    let mut byte = 0;
    while byte < codes.len() {
        codes[byte] = Code::of_symbol(byte as u32);
        byte += 1;
    }
    codes
};

/// From [`MIN_MATCH`] to [`MAX_MATCH`].
static LENGTHS: [Code; MAX_MATCH - MIN_MATCH + 1] = {
    let mut codes = [Code { bits: 0, count: 0 }; MAX_MATCH - MIN_MATCH + 1];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = match index + MIN_MATCH {
            // The longest has a symbol of its own.
            MAX_MATCH => Code::of_symbol(285),
            len => {
                let (class, extra, extra_bits) = class_of(len as u32 - 3, 2);
                Code::of_symbol(257 + class).with_extra(extra, extra_bits)
            }
        };
        index += 1;
    }
    codes
};

#[inline]
const fn distance_code(distance: u32) -> Code {
    let (class, extra, extra_bits) = class_of(distance - 1, 1);
    Code::huffman(class, 5).with_extra(extra, extra_bits)
}

/// Lengths and distances fall into classes: the first few have one value each, and from then on every `2^precision`
/// classes each one twice as many as those before. What is left is a number of so many extra bits.
#[inline]
const fn class_of(value: u32, precision: u32) -> (u32, u32, u32) {
    let extra_bits = (value >> (precision + 1)).checked_ilog2();
    let extra_bits = match extra_bits {
        Some(log) => log + 1,
        None => 0,
    };
    let class = (extra_bits << precision) + (value >> extra_bits);
    (class, value & ((1 << extra_bits) - 1), extra_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of [RFC 1951 §3.2.5].
    #[test]
    fn lengths_and_distances_are_classed_as_the_rfc_says() {
        let rows = [(3, 257, 0, 0), (10, 264, 0, 0), (11, 265, 0, 1), (12, 265, 1, 1), (13, 266, 0, 1)];
        let more = [(34, 272, 3, 2), (35, 273, 0, 3), (114, 279, 15, 4), (131, 281, 0, 5), (257, 284, 30, 5)];
        for (len, symbol, extra, extra_bits) in rows.into_iter().chain(more) {
            assert_eq!(class_of(len - 3, 2), (symbol - 257, extra, extra_bits), "length {len}");
        }
        let rows = [(1, 0, 0, 0), (4, 3, 0, 0), (5, 4, 0, 1), (6, 4, 1, 1), (7, 5, 0, 1), (9, 6, 0, 2), (13, 7, 0, 2)];
        let more =
            [(256, 15, 63, 6), (257, 16, 0, 7), (24576, 28, 8191, 13), (24577, 29, 0, 13), (32768, 29, 8191, 13)];
        for (distance, symbol, extra, extra_bits) in rows.into_iter().chain(more) {
            assert_eq!(class_of(distance - 1, 1), (symbol, extra, extra_bits), "distance {distance}");
        }
    }
}
