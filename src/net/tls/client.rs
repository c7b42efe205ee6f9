//! A client's side: whom to trust.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::pem::Pem;
use super::provider::provider;
use super::{ALPN, TlsError, TlsStream};
use crate::net::Stream;

/// Makes a client's TLS sessions. Clones share the trusted roots and the sessions that can be resumed.
///
/// A server has to show a certificate for the very name or address that was asked for, within its time, signed by a
/// trusted root. TLS 1.2 and 1.3 are spoken.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    trust: &'static str,
}

impl TlsConnector {
    /// Trusts what the platform trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise. Reads hundreds of
    /// certificates, so keep the connector.
    ///
    /// # Errors
    /// The platform has no roots.
    pub fn platform() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Platforms carry some that do not parse; the others serve.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            let reason = if reasons.is_empty() { "the platform has none".to_owned() } else { reasons.join("; ") };
            return Err(TlsError::NoRoots { reason });
        }
        Self::trusting(roots, "the platform's roots")
    }

    /// As [`platform`](Self::platform), read once for the whole process.
    pub(crate) fn shared_platform() -> Result<Self, TlsError> {
        static SHARED: OnceLock<TlsConnector> = OnceLock::new();
        if let Some(connector) = SHARED.get() {
            return Ok(connector.clone());
        }
        // Where there are none, the next call looks again: they may have been installed.
        Self::platform().map(|connector| SHARED.get_or_init(|| connector).clone())
    }

    /// Trusts the certificates in a PEM file, and no others.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate or a damaged one.
    pub fn with_roots_file(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::with_roots(&Pem::read(path.as_ref())?)
    }

    /// Trusts the certificates in a PEM text, and no others. A self-signed certificate is its own root.
    ///
    /// # Errors
    /// It holds no certificate or a damaged one.
    pub fn with_roots_pem(pem: &[u8]) -> Result<Self, TlsError> {
        Self::with_roots(&Pem::given(pem))
    }

    fn with_roots(pem: &Pem) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in pem.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::Damaged { path: pem.path.clone(), reason: error.to_string() })?;
        }
        Self::trusting(roots, "given roots")
    }

    /// **Trusts everybody**: whoever sits between can read and change everything. For development alone.
    ///
    /// # Errors
    /// The configuration does not work out.
    pub fn danger_accept_any_certificate() -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Config(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
            .with_no_client_auth();
        Ok(Self::new(config, "anybody"))
    }

    fn trusting(roots: RootCertStore, trust: &'static str) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Config(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::new(config, trust))
    }

    fn new(mut config: ClientConfig, trust: &'static str) -> Self {
        config.alpn_protocols = vec![ALPN.to_vec()];
        Self { config: Arc::new(config), trust }
    }

    /// A TLS session over a stream that is connected; its handshake has not begun. `host` is the name or address to be
    /// verified, an IPv6 address without brackets; a name is also sent to the server (SNI).
    ///
    /// # Errors
    /// The host is neither a name nor an address.
    pub fn connect<S: Stream>(&self, stream: S, host: &str) -> Result<TlsStream<S>, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name { host: host.to_owned() })?;
        let session = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| TlsError::Config(error.to_string()))?;
        Ok(TlsStream::new(session.into(), stream))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector").field("trusts", &self.trust).finish_non_exhaustive()
    }
}

/// Accepts every certificate, but not a server that lacks its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
