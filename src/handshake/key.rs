//! Sec-WebSocket-Key and the proof that it was read [RFC 6455 §1.3].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// What is hashed after the key: a number that nobody hashes by chance.
pub(crate) const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What Sec-WebSocket-Accept answers to a key.
pub fn accept_key(key: &str) -> String {
    STANDARD.encode(digest(key))
}

/// The hash of a key and the number behind it, which the answer is the base64 of.
pub(crate) fn digest(key: &str) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    hash.finalize().into()
}

/// The bytes that a key is the base64 of, if it is.
pub(crate) fn decode_key(key: &str) -> Option<Vec<u8>> {
    STANDARD.decode(key).ok()
}

/// The key for a nonce.
pub(super) fn encode_nonce(nonce: [u8; 16]) -> String {
    STANDARD.encode(nonce)
}

/// Whether `key` is 16 bytes in base64: 22 characters and two for padding.
///
/// The last character stands for two bits and four that should be zero; they are not looked at, as the key is never
/// decoded, only hashed as it stands.
pub(super) fn is_key(key: &str) -> bool {
    let Some((digits, padding)) = key.as_bytes().split_first_chunk::<22>() else { return false };
    padding == b"==" && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfc_s_key_gives_the_rfc_s_answer() {
        // [RFC 6455 §1.3]
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(encode_nonce(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let rows = [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("dGhlIHNhbXBsZSBub25jZR==", true), // non-zero trailing bits
            ("++++////++++////++++//==", true),
            ("", false),
            ("dGhlIHNhbXBsZSBub25j", false),     // 15 bytes
            ("dGhlIHNhbXBsZSBub25jZWU=", false), // 17 bytes
            ("dGhlIHNhbXBsZSBub25jZWVl", false), // 18 bytes
            ("dGhlIHNhbXBsZSBub25jZQ", false),   // no padding
            ("dGhlIHNhbXBsZSBub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZQ===", false),
            ("dGhlIHNhbXBsZSBub25j-_==", false), // the alphabet for URLs
            ("dGhlIHNhbXBsZSB ub25jZQ=", false),
            ("dGhlIHNhbXBsZSBub25jZ===", false),
            ("dGhlIHNhbXBsZSBub25jé==", false),
        ];
        for (key, valid) in rows {
            assert_eq!(is_key(key), valid, "{key:?}");
        }
    }
}
