//! What a server is made from.

use std::io;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Server;
use super::adapter::Policy;
use crate::deflate::DeflateConfig;
use crate::handshake::OriginPolicy;
use crate::net::{EventLoop, ListenAddr, ListenConfig, NetConfig, TlsAcceptor};
use crate::protocol::Config;

/// Settings of a [`Server`]; each has a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerBuilder {
    listeners: Vec<Listen>,
    net: NetConfig,
    config: Config,
    deflate: bool,
    origins: OriginPolicy,
    paths: Vec<String>,
    protocols: Vec<String>,
    require_protocol: bool,
    loops: u8,
    signals: bool,
}

#[derive(Clone, Debug)]
enum Listen {
    Text(String, Option<TlsAcceptor>),
    Config(ListenConfig),
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            listeners: Vec::new(),
            net: NetConfig::default(),
            config: Config::default(),
            deflate: true,
            origins: OriginPolicy::Any,
            paths: Vec::new(),
            protocols: Vec::new(),
            require_protocol: false,
            loops: 1,
            signals: false,
        }
    }

    /// Listens at `host:port` (port 0 lets the system choose) or `unix:/path`. Can be given several times.
    pub fn listen(mut self, addr: impl Into<String>) -> Self {
        self.listeners.push(Listen::Text(addr.into(), None));
        self
    }

    /// The same, with TLS.
    pub fn listen_tls(mut self, addr: impl Into<String>, tls: TlsAcceptor) -> Self {
        self.listeners.push(Listen::Text(addr.into(), Some(tls)));
        self
    }

    /// The same, with all that a listener can be told.
    pub fn listen_with(mut self, config: ListenConfig) -> Self {
        self.listeners.push(Listen::Config(config));
        self
    }

    /// The limits and times of each loop, in place of the defaults.
    pub fn net(mut self, net: NetConfig) -> Self {
        self.net = net;
        self
    }

    /// Keeps no connection's request once its handshake is done: [`WebSocket::request`](super::WebSocket::request) is
    /// `None` then, and an idle connection costs some 300 bytes less, after a browser's request 550.
    pub fn forget_requests(mut self) -> Self {
        self.net.keep_requests = false;
        self
    }

    /// The limits and times of each connection, in place of the defaults;
    /// [`Upgrade::config`](super::Upgrade::config) gives one connection others.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The longest message taken, in bytes after inflating. 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.config.max_message = bytes;
        self
    }

    /// How long a peer may be silent before it is pinged; `None` never asks. 25 s.
    pub fn ping_interval(mut self, interval: Option<Duration>) -> Self {
        self.config.ping_interval = interval;
        self
    }

    /// How messages are compressed, with clients that offer permessage-deflate.
    ///
    /// Compression tells the size of what is compressed: for a connection that mixes secrets with what an attacker can
    /// choose, turn it off, here or by [`Upgrade::deflate`](super::Upgrade::deflate).
    pub fn deflate(mut self, config: DeflateConfig) -> Self {
        self.config.deflate = config;
        self.deflate = true;
        self
    }

    /// Compresses nothing.
    pub fn no_deflate(mut self) -> Self {
        self.deflate = false;
        self
    }

    /// From which pages browsers may connect. From any.
    pub fn origins(mut self, policy: OriginPolicy) -> Self {
        self.origins = policy;
        self
    }

    /// Where a WebSocket can be opened: paths, as sent (percent-encoded); an opening handshake elsewhere is answered 404. Anywhere.
    pub fn paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// The subprotocols spoken: the first of the client's that is among them is chosen, unless
    /// [`Upgrade::protocol`](super::Upgrade::protocol) says another.
    pub fn protocols<S: Into<String>>(mut self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.protocols = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Answers 400 to clients with which no subprotocol is agreed on.
    pub fn require_protocol(mut self) -> Self {
        self.require_protocol = true;
        self
    }

    /// How many loops, each on a thread of its own. The kernel spreads connections to a TCP port among them
    /// (`SO_REUSEPORT`); a Unix socket is the first loop's. 1, at most 255.
    pub fn loops(mut self, loops: u8) -> Self {
        self.loops = loops.max(1);
        self
    }

    /// Takes the process's signals: SIGTERM and SIGINT drain (a second one ends the process at once with status 1),
    /// SIGHUP reads certificates again. Off.
    pub fn handle_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Binds every address.
    ///
    /// # Errors
    /// An address that cannot be read or used; the error names it.
    pub fn build(self) -> io::Result<Server> {
        let mut listeners = Vec::with_capacity(self.listeners.len());
        for listen in self.listeners {
            listeners.push(match listen {
                Listen::Config(config) => config,
                Listen::Text(addr, tls) => {
                    let mut config = ListenConfig::new(parse_addr(&addr).map_err(|error| at(&addr, &error))?);
                    config.tls = tls;
                    config
                }
            });
        }
        let mut loops = Vec::with_capacity(self.loops.into());
        for index in 0..self.loops {
            let mut net = self.net.clone();
            net.loop_index = index;
            let mut event_loop = EventLoop::new(net)?;
            for listener in &mut listeners {
                if index > 0 && matches!(listener.addr, ListenAddr::Unix(_)) {
                    continue;
                }
                listener.reuse_port |= self.loops > 1;
                // The other loops bind the port that the system has chosen for the first.
                listener.addr =
                    event_loop.listen(listener.clone()).map_err(|error| at(&listener.addr.to_string(), &error))?;
            }
            loops.push(event_loop);
        }
        if self.signals
            && let Some(first) = loops.first_mut()
        {
            first.handle_signals()?;
        }
        let policy = Policy {
            config: Arc::new(self.config),
            deflate: self.deflate,
            origins: self.origins,
            paths: self.paths,
            protocols: self.protocols,
            require_protocol: self.require_protocol,
            tls: listeners.iter().filter_map(|listener| listener.tls.clone()).collect(),
            drain_timeout: self.net.drain_timeout,
        };
        let addrs = listeners.into_iter().map(|listener| listener.addr).collect();
        Ok(Server::new(loops, policy, addrs))
    }
}

/// Reads `unix:/path`, or a host and a port; of several addresses that a name has, the first.
fn parse_addr(text: &str) -> io::Result<ListenAddr> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(ListenAddr::Unix(PathBuf::from(path)));
    }
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    text.to_socket_addrs()?.next().map(ListenAddr::Tcp).ok_or_else(none)
}

fn at(addr: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen at {addr}: {error}"))
}
