//! Whom a client connects to and how, as flags.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use loopwire::handshake::{ProxyUri, Uri, Version};
use loopwire::net::{DialError, TlsConnector};
use loopwire::{Client, ClientBuilder, ClientError, NetConfig};

use super::engine::{DeflateArgs, MessageArgs};
use super::values::Span;
use super::{Exit, Failure};

/// What may wait to be sent. Standard input waits at the high-water mark, so this is for one long line and what answers
/// it, and beyond it reading from the server would wait too.
const MAX_BUFFERED: usize = 1 << 30;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connecting")]
pub(crate) struct DialArgs {
    /// Send this field with the opening handshake, such as "Authorization: Bearer x". May be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<Field>,

    /// Offer this subprotocol, the preferred one first. May be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,

    /// Name this origin, as a browser would
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// Speak this version of the protocol: 13 is the RFC, 8 the draft before it
    #[arg(long, value_name = "N", value_enum, default_value_t = ProtocolVersion::Rfc6455)]
    protocol_version: ProtocolVersion,

    /// Trust the certificates in this file (PEM) and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate: for development, since anybody on the way can then read and answer
    #[arg(long)]
    insecure: bool,

    /// Connect through this proxy: http://, socks5:// or socks5h://, with user:password@ if it asks for them
    #[arg(long, value_name = "URL", value_parser = proxy)]
    proxy: Option<String>,

    /// How long connecting may take, up to the end of the opening handshake
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,

    #[command(flatten)]
    messages: MessageArgs,

    #[command(flatten)]
    deflate: DeflateArgs,
}

impl DialArgs {
    /// A client of the server at `url`, to which only what one command has of its own is to be added.
    pub(crate) fn client(&self, url: &str) -> Result<ClientBuilder, Failure> {
        let mut net = NetConfig::default();
        net.max_buffered = net.max_buffered.max(MAX_BUFFERED);
        let mut builder = Client::builder(url)
            .net(net)
            .config(self.messages.config(&self.deflate))
            .headers(self.header.iter().map(|Field(name, value)| (name, value)))
            .protocols(&self.subprotocol)
            .version(self.protocol_version.into())
            .connect_timeout(self.connect_timeout.0)
            .handle_signals();
        if let Some(origin) = &self.origin {
            builder = builder.origin(origin);
        }
        if self.deflate.no_deflate {
            builder = builder.no_deflate();
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(tls) = trusted(self.ca.as_deref(), self.insecure)? {
            builder = builder.tls(tls);
        }
        Ok(builder)
    }
}

/// Whom `--ca` and `--insecure` say to trust, if not the platform.
pub(crate) fn trusted(ca: Option<&Path>, insecure: bool) -> Result<Option<TlsConnector>, Failure> {
    let connector = match (ca, insecure) {
        (None, false) => return Ok(None),
        (None, true) => TlsConnector::danger_accept_any_certificate(),
        (Some(path), false) => TlsConnector::with_roots_file(path),
        (Some(_), true) => {
            return Err(Failure::new(Exit::Usage, "--insecure trusts anybody: leave it or --ca out"));
        }
    };
    connector.map(Some).map_err(|error| Failure::new(Exit::Usage, error))
}

/// What a client that could not be built, or had no connection, ends with.
pub(crate) fn failure(error: &ClientError) -> Failure {
    let exit = match error {
        ClientError::Uri(_) | ClientError::Handshake(_) => Exit::Usage,
        ClientError::Io(_) => Exit::Failed,
        _ => Exit::NotConnected,
    };
    let advice = match error {
        ClientError::Dial(DialError::Tls { .. }) => "; --ca FILE trusts another issuer, --insecure anybody",
        _ => "",
    };
    Failure::new(exit, format_args!("{error}{advice}"))
}

/// An address that can be connected to, as it was written.
pub(crate) fn url(text: &str) -> Result<String, String> {
    Uri::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn proxy(text: &str) -> Result<String, String> {
    ProxyUri::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A field of the opening handshake.
#[derive(Clone, Debug)]
pub(crate) struct Field(pub(crate) String, pub(crate) String);

pub(crate) fn field(text: &str) -> Result<Field, String> {
    let (name, value) = text.split_once(':').ok_or("write a name, a colon and a value")?;
    Ok(Field(name.trim_end().to_owned(), value.trim().to_owned()))
}

/// [`Version`] by its number.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolVersion {
    #[value(name = "13")]
    Rfc6455,
    #[value(name = "8")]
    Hybi10,
}

impl From<ProtocolVersion> for Version {
    fn from(version: ProtocolVersion) -> Self {
        match version {
            ProtocolVersion::Rfc6455 => Self::Rfc6455,
            ProtocolVersion::Hybi10 => Self::Hybi10,
        }
    }
}
