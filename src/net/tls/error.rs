//! What goes wrong with TLS: files that do not serve, peers that do not agree.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

/// Why there is no TLS session, or no configuration for one.
///
/// A session's failure comes as an [`io::Error`] of kind [`InvalidData`](io::ErrorKind::InvalidData) (the peer's fault)
/// or [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) with one of these inside.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A PEM text has no certificate in it.
    NoCertificate {
        /// Where it was read from; empty if it was given as text.
        path: PathBuf,
    },
    /// A PEM text has no private key in it.
    NoKey {
        /// Where it was read from; empty if it was given as text.
        path: PathBuf,
        /// Whether there is one that only a password opens.
        encrypted: bool,
    },
    /// A PEM text, or a certificate or key in it, is damaged.
    Damaged {
        /// Where it was read from; empty if it was given as text.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The private key is not the certificate's.
    Mismatch {
        /// Where the certificate was read from; empty if it was given as text.
        certificate: PathBuf,
        /// Where the key was read from.
        key: PathBuf,
    },
    /// There is no root certificate to judge servers by.
    NoRoots {
        /// What was met where they were looked for.
        reason: String,
    },
    /// A host that is neither a DNS name nor an address.
    Name {
        /// The host.
        host: String,
    },
    /// The configuration does not work out.
    Config(String),

    /// The peer's first bytes are not TLS.
    NotTls {
        /// Those bytes, made printable.
        found: String,
    },
    /// The peer's certificate is not accepted: for another name, expired, from an issuer that is not trusted.
    Certificate(String),
    /// The peer ended the session with an alert.
    Alert(String),
    /// The peer broke a rule of TLS, or shares no version, cipher or protocol with us.
    Peer(String),
    /// The peer ended the stream in the middle of the handshake.
    Ended,
}

impl TlsError {
    /// What rustls says of a session. `first` are the peer's first bytes, if nothing of it was understood so far.
    pub(super) fn session(error: &rustls::Error, first: &[u8]) -> Self {
        use rustls::Error;
        match error {
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) if !first.is_empty() && !looks_like_tls(first) => {
                Self::NotTls { found: first.escape_ascii().to_string() }
            }
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                Self::Certificate("its issuer is not trusted: it is self-signed, or the root is missing".to_owned())
            }
            Error::InvalidCertificate(reason) => Self::Certificate(reason.to_string()),
            Error::NoCertificatesPresented => Self::Certificate("none was presented".to_owned()),
            Error::AlertReceived(alert) => Self::Alert(alert_name(*alert)),
            Error::NoApplicationProtocol => {
                Self::Peer("none of the application protocols offered is http/1.1".to_owned())
            }
            error => Self::Peer(error.to_string()),
        }
    }

    /// Wrapped as reads and writes report it.
    pub(super) fn into_io(self) -> io::Error {
        let kind = if matches!(self, Self::Ended) { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
        io::Error::new(kind, self)
    }
}

/// Whether bytes begin a record of the handshake: type 22, then a version 3.x [RFC 8446 §5.1].
fn looks_like_tls(first: &[u8]) -> bool {
    first[0] == 22 && first.get(1).is_none_or(|&major| major == 3)
}

/// An alert's name as the RFC writes it [RFC 8446 §6].
fn alert_name(alert: AlertDescription) -> String {
    let mut name = String::new();
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() && !name.ends_with(|last: char| last.is_ascii_uppercase()) {
            name.push('_');
        }
        name.push(letter);
    }
    name.to_ascii_lowercase()
}

/// A file's name for a sentence.
struct Place<'a>(&'a PathBuf);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str().is_empty() { f.write_str("the PEM text") } else { self.0.display().fmt(f) }
    }
}

impl fmt::Display for TlsError {
    /// What is wrong, where, and what to do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoCertificate { path } => {
                write!(f, "no certificate in {}: it needs a section BEGIN CERTIFICATE", Place(path))
            }
            Self::NoKey { path, encrypted: false } => {
                write!(f, "no private key in {}: it needs a section BEGIN PRIVATE KEY", Place(path))
            }
            Self::NoKey { path, encrypted: true } => {
                write!(f, "the private key in {} is encrypted: decrypt it with `openssl pkey`", Place(path))
            }
            Self::Damaged { path, reason } => write!(f, "{} is damaged: {reason}", Place(path)),
            Self::Mismatch { certificate, key } => {
                write!(
                    f,
                    "the private key in {} does not belong to the certificate in {}",
                    Place(key),
                    Place(certificate)
                )?;
                f.write_str(", which must be the first one there")
            }
            Self::NoRoots { reason } => write!(
                f,
                "no root certificates to judge servers by: {reason}; install the system's (package ca-certificates), \
                 set SSL_CERT_FILE, or give a PEM file of your own"
            ),
            Self::Name { host } => {
                write!(f, "{host:?} is neither a DNS name nor an address that a certificate could name")
            }
            Self::Config(reason) | Self::Peer(reason) => f.write_str(reason),
            Self::NotTls { found } => write!(f, "the peer does not speak TLS here: its first bytes are \"{found}\""),
            Self::Certificate(reason) => write!(f, "the peer's certificate is not accepted: {reason}"),
            Self::Alert(name) => write!(f, "the peer ended the TLS session with the alert {name}"),

            Self::Ended => f.write_str("the peer ended the stream in the middle of the TLS handshake"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_as_the_rfc_names_them() {
        assert_eq!(alert_name(AlertDescription::NoApplicationProtocol), "no_application_protocol");
        assert_eq!(alert_name(AlertDescription::UnknownCA), "unknown_ca");
        assert_eq!(alert_name(AlertDescription::CloseNotify), "close_notify");
    }
}
