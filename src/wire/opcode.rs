//! The four bits that say what a frame is [RFC 6455 §5.2].

use std::fmt;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Continues the message that an earlier data frame began.
    Continuation = 0x0,
    /// Begins a text message: UTF-8.
    Text = 0x1,
    /// Begins a binary message: any bytes.
    Binary = 0x2,
    /// Begins, or answers, the closing handshake.
    Close = 0x8,
    /// Asks the peer for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or comes unasked as a one-way heartbeat.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of the lower four bits of `bits`; `None` for those that the RFC reserves (3–7 and 11–15).
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0x0F {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// The opcode's number on the wire.
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Whether this is a control opcode (close, ping, pong) [RFC 6455 §5.5].
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nibble_is_an_opcode_or_reserved() {
        let known: Vec<u8> = (0..16).filter(|&bits| Opcode::from_bits(bits).is_some()).collect();
        assert_eq!(known, [0x0, 0x1, 0x2, 0x8, 0x9, 0xA]);
        for bits in known {
            let opcode = Opcode::from_bits(bits).unwrap();
            assert_eq!(opcode.bits(), bits);
            assert_eq!(opcode.is_control(), bits >= 8);
        }
    }
}
