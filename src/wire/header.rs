//! The frame header: two to fourteen bytes before each payload [RFC 6455 §5.2].
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
//! |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
//! |N|V|V|V|       |S|             |   (if payload len==126/127)   |
//! | |1|2|3|       |K|             |                               |
//! +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//! |  Extended payload length continued, if payload len == 127     |
//! + - - - - - - - - - - - - - - - +-------------------------------+
//! |                               | Masking-key, if MASK set to 1 |
//! +-------------------------------+-------------------------------+
//! | Masking-key (continued)       |          Payload data         |
//! +-------------------------------- - - - - - - - - - - - - - - - +
//! ```

use super::{MaskingKey, Opcode, ProtocolError};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2: u8 = 0x20;
const RSV3: u8 = 0x10;
const MASK: u8 = 0x80;
/// A control frame's payload is at most this long [RFC 6455 §5.5].
const MAX_CONTROL_LEN: u8 = 125;

/// What stands in place of a length that follows in 16 bits, and in 64 [RFC 6455 §5.2].
const LEN_IN_16_BITS: u8 = 126;
const LEN_IN_64_BITS: u8 = 127;

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// The first reserved bit: with permessage-deflate, "this message is compressed" [RFC 7692 §6].
    pub rsv1: bool,
    /// The second reserved bit; no extension here uses it.
    pub rsv2: bool,
    /// The third reserved bit; no extension here uses it.
    pub rsv3: bool,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The key that the payload is masked with, as in every frame from a client [RFC 6455 §5.3].
    pub masking_key: Option<MaskingKey>,
    /// The payload's length in bytes, below 2⁶³.
    pub payload_len: u64,
}

impl FrameHeader {
    /// The longest a header can be, in bytes: 2 + 8 of length + 4 of masking key.
    pub const MAX_LEN: usize = 14;

    /// The header of an unfragmented, uncompressed, unmasked frame.
    pub const fn new(opcode: Opcode, payload_len: u64) -> Self {
        Self { fin: true, rsv1: false, rsv2: false, rsv3: false, opcode, masking_key: None, payload_len }
    }

    /// Reads the header at the start of `bytes`, giving it and its own length in bytes, or `None` while it is
    /// incomplete.
    ///
    /// # Errors
    /// What is wrong in every state of a connection: a reserved opcode, a control frame that is fragmented or too
    /// long, a length not in its shortest form or with its top bit set. Each is found at the first byte that shows it,
    /// even if the rest of the header has not arrived.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(*first).ok_or(ProtocolError::ReservedOpcode(first & 0x0F))?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControlFrame(opcode));
        }
        let [second, rest @ ..] = rest else { return Ok(None) };
        let short_len = second & !MASK;
        if opcode.is_control() && short_len > MAX_CONTROL_LEN {
            return Err(ProtocolError::ControlFrameTooLong(opcode));
        }

        let (payload_len, rest) = match short_len {
            LEN_IN_16_BITS => {
                let Some((len, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
                let len = u64::from(u16::from_be_bytes(*len));
                if len < 126 {
                    return Err(ProtocolError::LengthNotMinimal(len));
                }
                (len, rest)
            }
            LEN_IN_64_BITS => {
                if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                    return Err(ProtocolError::LengthTopBit);
                }
                let Some((len, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
                let len = u64::from_be_bytes(*len);
                if u16::try_from(len).is_ok() {
                    return Err(ProtocolError::LengthNotMinimal(len));
                }
                (len, rest)
            }
            len => (u64::from(len), rest),
        };

        let (masking_key, rest) = if second & MASK == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
            (Some(MaskingKey(*key)), rest)
        };

        let header = Self {
            fin,
            rsv1: first & RSV1 != 0,
            rsv2: first & RSV2 != 0,
            rsv3: first & RSV3 != 0,
            opcode,
            masking_key,
            payload_len,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Appends the header to `out`, the length in its shortest form.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let first = flag(self.fin, FIN)
            | flag(self.rsv1, RSV1)
            | flag(self.rsv2, RSV2)
            | flag(self.rsv3, RSV3)
            | self.opcode.bits();
        let mask = flag(self.masking_key.is_some(), MASK);
        Self::encode_len(first, mask, self.payload_len, out);
        if let Some(MaskingKey(key)) = self.masking_key {
            out.extend_from_slice(&key);
        }
    }

    /// Appends the header of a whole message in one unmasked frame, as nearly all that a server sends have it.
    #[inline]
    pub(crate) fn encode_whole(opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
        Self::encode_len(FIN | opcode.bits(), 0, payload_len as u64, out);
    }

    /// Appends the first byte, and the length in its shortest form beside the mask bit.
    #[inline(always)]
    fn encode_len(first: u8, mask: u8, payload_len: u64, out: &mut Vec<u8>) {
        match payload_len {
            len @ 0..=125 => out.extend_from_slice(&[first, mask | len as u8]),
            len @ 126..=0xFFFF => {
                let [high, low] = (len as u16).to_be_bytes();
                out.extend_from_slice(&[first, mask | LEN_IN_16_BITS, high, low]);
            }
            len => {
                out.extend_from_slice(&[first, mask | LEN_IN_64_BITS]);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: &FrameHeader) -> Vec<u8> {
        let mut out = Vec::new();
        header.encode(&mut out);
        out
    }

    #[test]
    fn the_rfc_s_own_examples_decode_and_encode_to_the_same_bytes() {
        // [RFC 6455 §5.7], and the three forms of the length at their edges.
        let key = Some(MaskingKey([0x37, 0xfa, 0x21, 0x3d]));
        let text = FrameHeader::new(Opcode::Text, 5);
        let binary = |len| FrameHeader::new(Opcode::Binary, len);
        let rows: &[(&[u8], FrameHeader)] = &[
            (&[0x81, 0x05], text),
            (&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d], FrameHeader { masking_key: key, ..text }),
            (&[0x01, 0x03], FrameHeader { fin: false, payload_len: 3, ..text }),
            (&[0x80, 0x02], FrameHeader::new(Opcode::Continuation, 2)),
            (&[0x89, 0x05], FrameHeader::new(Opcode::Ping, 5)),
            (&[0xC1, 0x07], FrameHeader { rsv1: true, payload_len: 7, ..text }),
            (&[0xA1, 0x05], FrameHeader { rsv2: true, ..text }),
            (&[0x91, 0x05], FrameHeader { rsv3: true, ..text }),
            (&[0x82, 0x7D], binary(125)),
            (&[0x82, 0x7E, 0x00, 0x7E], binary(126)),
            (&[0x82, 0x7E, 0x01, 0x00], binary(256)),
            (&[0x82, 0x7E, 0xFF, 0xFF], binary(65_535)),
            (&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], binary(65_536)),
            (&[0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], binary((1 << 63) - 1)),
        ];
        for (bytes, header) in rows {
            assert_eq!(FrameHeader::decode(bytes), Ok(Some((*header, bytes.len()))), "{bytes:02x?}");
            assert_eq!(encoded(header), *bytes);
            for cut in 0..bytes.len() {
                assert_eq!(FrameHeader::decode(&bytes[..cut]), Ok(None), "{bytes:02x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_broken_header_fails_at_the_first_byte_that_shows_it() {
        let rows: &[(&[u8], ProtocolError)] = &[
            (&[0x83], ProtocolError::ReservedOpcode(3)),
            (&[0x0B], ProtocolError::ReservedOpcode(11)),
            (&[0x09], ProtocolError::FragmentedControlFrame(Opcode::Ping)),
            (&[0x08], ProtocolError::FragmentedControlFrame(Opcode::Close)),
            (&[0x89, 0x7E], ProtocolError::ControlFrameTooLong(Opcode::Ping)),
            (&[0x88, 0xFF], ProtocolError::ControlFrameTooLong(Opcode::Close)),
            (&[0x82, 0x7E, 0x00, 0x7D], ProtocolError::LengthNotMinimal(125)),
            (&[0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], ProtocolError::LengthNotMinimal(65_535)),
            (&[0x82, 0x7F, 0x80], ProtocolError::LengthTopBit),
            (&[0x82, 0xFF, 0xFF], ProtocolError::LengthTopBit),
        ];
        for (bytes, error) in rows {
            assert_eq!(FrameHeader::decode(bytes), Err(*error), "{bytes:02x?}");
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(FrameHeader::decode(before), Ok(None), "{before:02x?}");
        }
    }
}
