//! A server's side: certificates, chosen by name and replaced while the server runs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

use super::pem::{Pem, certified_key};
use super::provider::{fingerprint, provider, ticketer};
use super::{ALPN, TlsError, TlsStream};
use crate::net::Stream;

/// Where a certificate and its key are kept, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, then those that lead from it towards a root.
    pub certificate: PathBuf,
    /// The private key. It may be the same file.
    pub key: PathBuf,
}

/// Makes a server's TLS sessions. Clones share the certificates, which can be [reloaded](Self::reload) at any time:
/// sessions and handshakes under way keep those they began with.
///
/// With several certificates a client gets the first that is valid for the name it asks for (SNI [RFC 6066 §3]); one
/// that asks for another name, or none, gets the first of all. TLS 1.2 and 1.3 are spoken, sessions resume by tickets.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    files: Arc<[CertificateFiles]>,
}

impl TlsAcceptor {
    /// With a certificate and its key in files.
    ///
    /// # Errors
    /// As [`from_many_files`](Self::from_many_files).
    pub fn from_files(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        Self::from_many_files(vec![CertificateFiles { certificate: certificate.into(), key: key.into() }])
    }

    /// With certificates for several names.
    ///
    /// # Errors
    /// The file that cannot be read or used, and why: missing, nothing in it, damaged, a key of another certificate.
    pub fn from_many_files(files: Vec<CertificateFiles>) -> Result<Self, TlsError> {
        let certificates = load(&files)?;
        Self::new(certificates, files)
    }

    /// With a certificate chain and its key as PEM texts; there is nothing to reload.
    ///
    /// # Errors
    /// As [`from_many_files`](Self::from_many_files).
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(vec![certified_key(&Pem::given(certificate), &Pem::given(key))?], Vec::new())
    }

    /// With a new certificate that nobody has signed, for `names` (DNS names or addresses): for development. Clients
    /// have to be told to trust it, by its [`fingerprint`](Self::fingerprint), by its text
    /// ([`certificate_pem`](Self::certificate_pem)), or by not looking at all.
    ///
    /// # Errors
    /// A name that no certificate can have.
    pub fn self_signed(names: &[&str]) -> Result<Self, TlsError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|error| TlsError::Config(format!("cannot make a self-signed certificate: {error}")))?;
        let acceptor = Self::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())?;
        log::warn!("using a self-signed certificate, SHA-256 {}", acceptor.fingerprint());
        Ok(acceptor)
    }

    fn new(certificates: Vec<CertifiedKey>, files: Vec<CertificateFiles>) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Err(TlsError::Config("a TLS server needs a certificate".to_owned()));
        }
        let certificates = Arc::new(Certificates::new(certificates));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Config(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.ticketer = ticketer()?;
        Ok(Self { config: Arc::new(config), certificates, files: files.into() })
    }

    /// Reads the files again. New handshakes get the new certificates.
    ///
    /// # Errors
    /// As [`from_many_files`](Self::from_many_files); everything stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        if !self.files.is_empty() {
            self.certificates.replace(load(&self.files)?);
        }
        Ok(())
    }

    /// The first certificate's SHA-256, as browsers show it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificates.first().cert[0])
    }

    /// The first certificate itself in PEM, for a client that is to trust it.
    pub fn certificate_pem(&self) -> String {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD.encode(&self.certificates.first().cert[0]);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for line in base64.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// A TLS session over a stream that was just accepted; its handshake has not begun.
    ///
    /// # Errors
    /// The configuration does not allow a session.
    pub fn accept<S: Stream>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        Ok(TlsStream::new(session.into(), stream))
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Reads all certificates, or says which one does not serve.
fn load(files: &[CertificateFiles]) -> Result<Vec<CertifiedKey>, TlsError> {
    let load_one = |files: &CertificateFiles| certified_key(&Pem::read(&files.certificate)?, &Pem::read(&files.key)?);
    files.iter().map(load_one).collect()
}

/// The certificates in use. A handshake takes one out and keeps it, whatever comes after.
#[derive(Debug)]
struct Certificates(RwLock<Arc<[Arc<CertifiedKey>]>>);

impl Certificates {
    fn new(certificates: Vec<CertifiedKey>) -> Self {
        Self(RwLock::new(shared(certificates)))
    }

    fn replace(&self, certificates: Vec<CertifiedKey>) {
        let certificates = shared(certificates);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    fn all(&self) -> Arc<[Arc<CertifiedKey>]> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn first(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.all()[0])
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = self.all();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let named = match name {
            Some(name) if all.len() > 1 => all.iter().find(|certificate| is_valid_for(certificate, &name)),
            _ => None,
        };
        named.or(all.first()).cloned()
    }
}

fn shared(certificates: Vec<CertifiedKey>) -> Arc<[Arc<CertifiedKey>]> {
    certificates.into_iter().map(Arc::new).collect()
}

fn is_valid_for(certificate: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = certificate.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
