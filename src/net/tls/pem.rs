//! Certificates and keys out of PEM texts [RFC 7468].

use std::fs;
use std::path::{Path, PathBuf};

use rustls::InconsistentKeys;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::provider::provider;

/// A PEM text and where it came from; the path is empty for a text that was given as such.
pub(super) struct Pem {
    pub(super) text: Vec<u8>,
    pub(super) path: PathBuf,
}

impl Pem {
    pub(super) fn read(path: &Path) -> Result<Self, TlsError> {
        match fs::read(path) {
            Ok(text) => Ok(Self { text, path: path.to_owned() }),
            Err(error) => Err(TlsError::Read { path: path.to_owned(), error }),
        }
    }

    pub(super) fn given(text: &[u8]) -> Self {
        Self { text: text.to_owned(), path: PathBuf::new() }
    }

    /// Every certificate, in order; one at least.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found = CertificateDer::pem_slice_iter(&self.text).collect::<Result<Vec<_>, _>>();
        match found {
            Ok(found) if found.is_empty() => Err(TlsError::NoCertificate { path: self.path.clone() }),
            Ok(found) => Ok(found),
            Err(error) => Err(self.damaged(&error)),
        }
    }

    /// The first private key: PKCS #8, PKCS #1 (RSA) or SEC 1 (EC).
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|error| match error {
            Error::NoItemsFound => {
                let marker = b"ENCRYPTED PRIVATE KEY";
                let encrypted = self.text.windows(marker.len()).any(|window| window == marker);
                TlsError::NoKey { path: self.path.clone(), encrypted }
            }
            error => self.damaged(&error),
        })
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> TlsError {
        TlsError::Damaged { path: self.path.clone(), reason: error.to_string() }
    }
}

/// A certificate chain with the key that belongs to its first certificate.
pub(super) fn certified_key(chain: &Pem, key: &Pem) -> Result<CertifiedKey, TlsError> {
    let provider = provider();
    let certificates = chain.certificates()?;
    let private = provider.key_provider.load_private_key(key.key()?).map_err(|error| key.damaged(&error))?;
    let certified = CertifiedKey::new(certificates, private);
    match certified.keys_match() {
        // A provider that cannot tell is believed.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { certificate: chain.path.clone(), key: key.path.clone() })
        }
        Err(error) => Err(chain.damaged(&error)),
    }
}
