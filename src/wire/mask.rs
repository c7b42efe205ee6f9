//! Masking: every byte a client sends is combined by XOR with a key that travels with it [RFC 6455 §5.3].

use pulp::Arch;

/// The four bytes that a frame's payload is combined with by XOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskingKey(pub [u8; 4]);

impl MaskingKey {
    /// The key as it applies from the payload's byte `offset` on.
    #[must_use]
    #[inline]
    pub const fn advanced(self, offset: u64) -> Self {
        Self(u32::from_be_bytes(self.0).rotate_left(8 * (offset % 4) as u32).to_be_bytes())
    }
}

/// Masks, or unmasks, `payload` in place; its first byte meets the key's first.
///
/// The two are the same operation. A payload that arrives in pieces is unmasked piece by piece, each with the key
/// [`advanced`](MaskingKey::advanced) by what came before.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: MaskingKey) {
    // The key twice.
    let word = u64::from(u32::from_ne_bytes(key.0)) * 0x1_0000_0001;
    if payload.len() < WORTH_A_CHOICE { xor(payload, word) } else { xor_wide(payload, word) }
}

/// From how many bytes on asking what the processor can do costs less than it gains.
const WORTH_A_CHOICE: usize = 256;

/// With the widest vectors that this processor has, not only those that every one has.
#[inline(never)]
fn xor_wide(payload: &mut [u8], word: u64) {
    Arch::new().dispatch(
        #[inline(always)]
        || xor(payload, word),
    );
}

/// A plain loop over words, which the compiler widens to the vectors that it may use.
#[expect(clippy::inline_always, reason = "only so is it compiled for each choice of vectors")]
#[inline(always)]
fn xor(payload: &mut [u8], word: u64) {
    let (words, tail) = payload.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    let half = word as u32;
    let (halves, tail) = tail.as_chunks_mut::<4>();
    for chunk in halves {
        *chunk = (u32::from_ne_bytes(*chunk) ^ half).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_s_hello_unmasks() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply_mask(&mut payload, MaskingKey([0x37, 0xfa, 0x21, 0x3d]));
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_length_and_split_agrees_with_the_rfc_s_formula() {
        let key = MaskingKey([0x12, 0x34, 0x56, 0x78]);
        let plain: Vec<u8> = (0..=255).chain(0..=99).collect();
        for len in (0..70).chain(250..plain.len()) {
            // j = i MOD 4; transformed-octet-i = original-octet-i XOR masking-key-octet-j
            let expected: Vec<u8> = plain[..len].iter().enumerate().map(|(i, byte)| byte ^ key.0[i % 4]).collect();
            for split in 0..=len {
                let mut payload = plain[..len].to_vec();
                let (first, second) = payload.split_at_mut(split);
                apply_mask(first, key);
                apply_mask(second, key.advanced(split as u64));
                assert_eq!(payload, expected, "{len} bytes split at {split}");
            }
        }
    }
}
