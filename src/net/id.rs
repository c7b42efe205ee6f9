//! The name of a connection: which loop, which slot, and which of the slot's many occupants.

use std::fmt;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("loopwire carries a connection's generation in mio's token and needs 64-bit words");

/// A connection's id: unique in the process for as long as anybody could still hold it.
///
/// It carries a generation, so the id of a connection that is gone names nothing, even after its slot was given to
/// another. It says nothing about the connection and is no secret: do not use it as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    const SLOT_BITS: u32 = 24;
    const GENERATION_BITS: u32 = 32;
    /// How many connections one loop can name.
    pub(crate) const MAX_SLOTS: usize = (1 << Self::SLOT_BITS) - 1;

    pub(crate) const fn new(loop_index: u8, generation: u32, slot: usize) -> Self {
        Self(
            ((loop_index as u64) << (Self::SLOT_BITS + Self::GENERATION_BITS))
                | ((generation as u64) << Self::SLOT_BITS)
                | (slot & Self::MAX_SLOTS) as u64,
        )
    }

    /// The id as a number, to store or to send elsewhere.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The id that [`to_u64`](Self::to_u64) gave.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Which loop it belongs to.
    pub const fn loop_index(self) -> u8 {
        (self.0 >> (Self::SLOT_BITS + Self::GENERATION_BITS)) as u8
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> Self::SLOT_BITS) as u32
    }

    pub(crate) const fn slot(self) -> usize {
        self.0 as usize & Self::MAX_SLOTS
    }

    pub(crate) const fn token(self) -> mio::Token {
        mio::Token(self.0 as usize)
    }

    pub(crate) const fn from_token(token: mio::Token) -> Self {
        Self(token.0 as u64)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl fmt::Display for ConnectionId {
    /// Loop, slot and generation: `0.17.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.loop_index(), self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_survives_the_packing() {
        for (loop_index, generation, slot) in
            [(0, 0, 0), (255, u32::MAX, ConnectionId::MAX_SLOTS), (7, 1, 12_345), (0, u32::MAX, 0)]
        {
            let id = ConnectionId::from_token(ConnectionId::new(loop_index, generation, slot).token());
            assert_eq!((id.loop_index(), id.generation(), id.slot()), (loop_index, generation, slot));
            assert_eq!(ConnectionId::from_u64(id.to_u64()), id);
        }
    }
}
