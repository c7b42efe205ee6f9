//! What a client is made from.

use std::sync::Arc;
use std::time::Duration;

use super::{Client, ClientError, ReconnectPolicy};
use crate::deflate::DeflateConfig;
use crate::handshake::{ClientHandshake, ClientOptions, ProxyUri, Uri, Version};
use crate::net::{DialRequest, EventLoop, NetConfig, TlsConnector};
use crate::protocol::Config;

/// Settings of a [`Client`]; each has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    url: String,
    options: ClientOptions,
    config: Config,
    net: NetConfig,
    deflate: bool,
    timeout: Duration,
    proxy: Option<String>,
    tls: Option<TlsConnector>,
    reconnect: Option<ReconnectPolicy>,
    max_queued: usize,
    signals: bool,
}

impl ClientBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            options: ClientOptions::default(),
            config: Config::default(),
            net: NetConfig::default(),
            deflate: true,
            timeout: Duration::from_secs(10),
            proxy: None,
            tls: None,
            reconnect: None,
            max_queued: 1 << 20,
            signals: false,
        }
    }

    /// Adds a field to the request, such as Cookie or Authorization.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.fields.push((name.into(), value.into()));
        self
    }

    /// Adds fields to the request.
    pub fn headers<N: Into<String>, V: Into<String>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Self {
        self.options.fields.extend(fields.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The subprotocols to offer, the preferred one first.
    pub fn protocols<S: Into<String>>(mut self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.options.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Names an origin, as a browser would.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.options.origin = Some(origin.into());
        self
    }

    /// The protocol's version. 13.
    pub fn version(mut self, version: Version) -> Self {
        self.options.version = version;
        self
    }

    /// How to compress, if the server agrees.
    pub fn deflate(mut self, config: DeflateConfig) -> Self {
        self.config.deflate = config;
        self.deflate = true;
        self
    }

    /// Offers no compression.
    pub fn no_deflate(mut self) -> Self {
        self.deflate = false;
        self
    }

    /// The connection's limits and times, in place of the defaults.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The loop's limits and times, in place of the defaults.
    pub fn net(mut self, net: NetConfig) -> Self {
        self.net = net;
        self
    }

    /// The longest message taken, in bytes after inflating. 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.config.max_message = bytes;
        self
    }

    /// How long the server may be silent before it is pinged; `None` never asks. 25 s.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// How long it may take from dialling to an open connection. 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Whom to trust for `wss:`. The platform's roots.
    pub fn tls(mut self, connector: TlsConnector) -> Self {
        self.tls = Some(connector);
        self
    }

    /// Goes through a proxy, such as `http://user:password@host:3128` (CONNECT) or `socks5://host:1080`.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Dials again when a connection is lost or does not come about. Otherwise the client ends with its first.
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.reconnect = Some(policy);
        self
    }

    /// How many bytes may wait to be sent or to be acknowledged, 64 per message added. 1 MiB.
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes;
        self
    }

    /// Takes the process's SIGTERM and SIGINT: closes with 1001; a second one ends the process at once. Off.
    pub fn handle_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Checks everything that can be checked before a connection is dialled.
    ///
    /// # Errors
    /// The address, a field or a protocol may not be sent so; the system gives no poll.
    pub fn build(mut self) -> Result<Client, ClientError> {
        let uri = Uri::parse(&self.url).map_err(ClientError::Uri)?;
        self.options.head = self.net.head;
        self.options.deflate = self.deflate.then(|| self.config.deflate.clone());
        // Made for nothing but its judgement: what cannot be asked today cannot be asked at any later attempt.
        ClientHandshake::new(&uri, &self.options).map_err(ClientError::Handshake)?;
        let mut request = DialRequest::new(uri);
        request.options = self.options;
        request.config = Arc::new(self.config);
        request.timeout = self.timeout;
        request.tls = self.tls;
        request.proxy = self.proxy.as_deref().map(ProxyUri::parse).transpose().map_err(ClientError::Uri)?;
        let linger = self.net.linger;
        // What waits is held back at the high-water mark, so that nothing of it is ever dropped.
        self.net.high_water_mark = self.net.high_water_mark.min(self.net.max_buffered / 2);
        let mut event_loop = EventLoop::new(self.net).map_err(ClientError::Io)?;
        if self.signals {
            event_loop.handle_signals().map_err(ClientError::Io)?;
        }
        Ok(Client::new(event_loop, request, self.reconnect, self.max_queued, linger))
    }
}
