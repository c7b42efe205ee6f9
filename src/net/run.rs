//! What one turn sends to many, each frame once.

use crate::wire::{Encoding, PreparedMessage, SharedFrame};

/// The small frames that this turn sends to many, one behind the other, each once.
///
/// Whoever is sent all of them, or an unbroken part, is sent that part of this as it stands.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(super) bytes: Vec<u8>,
    /// The frame that ends it. It is held so that no other can be taken for it.
    pub(super) last: Option<(SharedFrame, u32)>,
}

impl Run {
    /// Bytes at most; what is sent beyond is copied for each connection.
    pub(super) const LARGEST: usize = 1024 * 1024;
    /// Bytes of memory kept from one turn to the next.
    const KEPT: usize = 64 * 1024;

    /// Where a frame stands: where the last one does if it is that, or else at the end. `None` if there is no room.
    #[inline]
    pub(super) fn place(&mut self, message: &PreparedMessage, encoding: Encoding) -> Option<(u32, u32)> {
        let end = self.bytes.len() as u32;
        if let Some((last, start)) = &self.last
            && last.is(message, encoding)
        {
            return Some((*start, end));
        }
        let bytes = message.encoded(encoding);
        if self.bytes.len() + bytes.len() > Self::LARGEST {
            return None;
        }
        self.bytes.extend_from_slice(bytes);
        self.last = Some((message.share(encoding), end));
        Some((end, self.bytes.len() as u32))
    }

    /// From one byte to another, as `place` has named them.
    #[inline]
    pub(super) fn part(&self, start: u32, end: u32) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }

    /// Begins anew; no outbox may refer to it any more.
    pub(super) fn end(&mut self) {
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(Self::KEPT);
            self.last = None;
        }
    }
}
