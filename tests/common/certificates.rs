//! Certificates made at run time, and a folder to keep them in.

// Each test crate uses its own part of this, and no one else any.
#![allow(dead_code, missing_debug_implementations, missing_docs, unreachable_pub)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loopwire::net::{CertificateFiles, TlsAcceptor, TlsConnector};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

/// No two authorities share a name.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// An authority that the tests trust.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |_| ())
    }

    pub fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    pub fn connector(&self) -> TlsConnector {
        TlsConnector::with_roots_pem(self.pem().as_bytes()).unwrap()
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A configuration for a plain rustls that offers these protocols.
    pub fn rustls(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        self.rustls_of(alpn, &rustls::version::TLS13)
    }

    /// The same for one version of TLS.
    pub fn rustls_of(&self, alpn: &[&str], version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Pair {
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// A configuration for a plain rustls that shows this certificate.
    pub fn rustls(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    pub fn write(&self, files: &CertificateFiles) {
        fs::write(&files.certificate, &self.certificate).unwrap();
        fs::write(&files.key, &self.key).unwrap();
    }
}

/// A directory of one test's own, removed behind it.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles { certificate: self.0.join(format!("{name}.pem")), key: self.0.join(format!("{name}.key")) }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
