//! The one place that names a provider of cryptography: ring.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ProducesTickets;

use super::TlsError;

/// Cipher suites, key exchanges and the rest.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// Session tickets, encrypted with keys that are replaced every few hours.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    ring::Ticketer::new().map_err(|error| TlsError::Config(error.to_string()))
}

/// A certificate's SHA-256 as browsers and `openssl x509 -fingerprint` show it: `AB:CD:…`.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let rustls::SupportedCipherSuite::Tls13(suite) = ring::cipher_suite::TLS13_AES_128_GCM_SHA256 else {
        unreachable!("a TLS 1.3 suite")
    };
    let mut text = String::new();
    for (at, byte) in suite.common.hash_provider.hash(certificate).as_ref().iter().enumerate() {
        let _ = write!(text, "{}{byte:02X}", if at == 0 { "" } else { ":" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_sha_256() {
        let of_abc = fingerprint(b"abc");
        assert!(of_abc.starts_with("BA:78:16:BF:8F:01:CF:EA:"), "{of_abc}");
        assert_eq!(of_abc.len(), 32 * 3 - 1);
    }
}
