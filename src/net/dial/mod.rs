//! Outgoing connections, from a host's name to a stream on which the opening handshake can begin.
//!
//! ```text
//! name ─▶ addresses ─▶ race ─▶ [ proxy ] ─▶ [ TLS ] ─▶ stream
//!   on a thread   RFC 8305      ws+unix: a Unix socket's path leads straight to the stream
//! ```

mod backoff;
mod error;
mod race;
mod resolve;

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Registry;
use mio::net::{TcpStream, UnixStream};

use super::mailbox::Notifier;
use super::proxy::Tunnel;
use super::{ConnectionId, PeerAddr, Stream, TlsConnector, TlsStream, Transport};
use crate::handshake::{ClientOptions, ProxyUri, Uri};
use crate::protocol::Config;

use race::{Move, Race};
use resolve::Lookup;

pub use backoff::Backoff;
pub use error::DialError;
pub use race::Attempt;

/// Whom to connect to, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialRequest {
    /// The server.
    pub uri: Uri,
    /// What to ask for in the opening handshake.
    pub options: ClientOptions,
    /// The open connection's configuration.
    pub config: Arc<Config>,
    /// Where the server, or its proxy, is; the resolver is asked if nothing stands here. The name in `uri` is still what is
    /// verified and asked for.
    pub addresses: Vec<SocketAddr>,
    /// From the call to the end of the opening handshake. 10 s.
    pub timeout: Duration,
    /// For each address of a host. 5 s.
    pub attempt_timeout: Duration,
    /// Before the next address is tried while the one before has not answered [RFC 8305 §5]. 250 ms.
    pub attempt_delay: Duration,
    /// Whom to go through, if not straight. Without effect for a Unix socket.
    pub proxy: Option<ProxyUri>,
    /// Whom to trust for `wss`; the platform's roots if nothing is said.
    pub tls: Option<TlsConnector>,
}

impl DialRequest {
    /// Connects to `uri` straight, with all defaults.
    pub fn new(uri: Uri) -> Self {
        Self {
            uri,
            options: ClientOptions::default(),
            config: Arc::default(),
            addresses: Vec::new(),
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(5),
            attempt_delay: Duration::from_millis(250),
            proxy: None,
            tls: None,
        }
    }
}

/// What the loop lends to a connection under way.
pub(crate) struct DialContext<'a> {
    /// Where sockets are registered, every one of them under `id.token()`: readiness of any of them leads to `advance`.
    pub(crate) registry: &'a Registry,
    pub(crate) id: ConnectionId,
    /// For work on other threads: `notifier.notify(id)` leads to `advance`.
    pub(crate) notifier: &'a Notifier,
    pub(crate) now: Instant,
}

/// A connection under way: the name's lookup, the race of addresses, the proxy, the TLS handshake.
#[derive(Debug)]
pub(crate) struct Dial {
    request: DialRequest,
    stage: Stage,
}

/// How far a connection under way has come.
#[derive(Debug)]
pub(crate) enum DialStep {
    /// It waits for a socket, a notification, or the time given.
    Wait(Option<Instant>),
    /// The stream stands, TLS included, and is registered. The opening handshake is the session's own.
    Connected(Transport, PeerAddr),
    /// All was tried.
    Failed(DialError),
}

#[derive(Debug)]
enum Stage {
    Start,
    /// The server's name is resolved here because its proxy does not do it.
    ResolvingServer(Lookup),
    /// The name of whom we connect to: the server or its proxy. `server` is what a proxy is asked for.
    Resolving {
        lookup: Lookup,
        server: String,
    },
    Racing {
        race: Race,
        sockets: Vec<(SocketAddr, TcpStream)>,
        server: String,
    },
    ConnectingUnix(UnixStream),
    Tunnelling {
        tunnel: Tunnel,
        socket: TcpStream,
        peer: PeerAddr,
    },
    Securing {
        stream: Box<TlsStream>,
        peer: PeerAddr,
    },
    Over,
}

/// What a stage comes to.
enum Outcome {
    /// It goes on at once with the next one.
    Next(Stage),
    /// It waits where it is.
    Stay(Stage, Option<Instant>),
    Connected(Transport, PeerAddr),
}

impl Dial {
    /// Keeps what is wanted; nothing happens before the first [`advance`](Self::advance).
    pub(crate) fn new(request: DialRequest) -> Self {
        Self { request, stage: Stage::Start }
    }

    /// What is wanted, for the opening handshake that follows. The session itself keeps to `request().timeout`.
    pub(crate) fn request(&self) -> &DialRequest {
        &self.request
    }

    /// Goes on as far as possible. Called at the start, after any event under its token, when notified, and at the
    /// time it waits for; calls for nothing are harmless.
    pub(crate) fn advance(&mut self, context: &DialContext<'_>) -> DialStep {
        loop {
            let outcome = match mem::replace(&mut self.stage, Stage::Over) {
                Stage::Start => self.start(context),
                Stage::ResolvingServer(lookup) => self.take_server(lookup, context),
                Stage::Resolving { lookup, server } => self.take_addresses(lookup, server, context),
                Stage::Racing { race, sockets, server } => self.run(race, sockets, server, context),
                Stage::ConnectingUnix(socket) => self.check_unix(socket),
                Stage::Tunnelling { tunnel, socket, peer } => self.tunnel(tunnel, socket, peer),
                Stage::Securing { stream, peer } => self.shake(stream, peer),
                Stage::Over => Err(DialError::Cancelled),
            };
            match outcome {
                Ok(Outcome::Next(stage)) => self.stage = stage,
                Ok(Outcome::Stay(stage, until)) => {
                    self.stage = stage;
                    return DialStep::Wait(until);
                }
                Ok(Outcome::Connected(transport, peer)) => return DialStep::Connected(transport, peer),
                Err(error) => return DialStep::Failed(error),
            }
        }
    }

    /// Time is up: what to say about that. Closes what is open.
    pub(crate) fn give_up(&mut self) -> DialError {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::ResolvingServer(_) => DialError::Resolve { host: self.request.uri.host().to_owned(), error: late() },
            Stage::Resolving { .. } => DialError::Resolve { host: self.first_hop().0.to_owned(), error: late() },
            Stage::Racing { race, .. } => self.unreachable(race.into_attempts()),
            Stage::ConnectingUnix(_) => self.unix_failed(&late()),
            Stage::Tunnelling { .. } => self.proxy_failed(late()),
            Stage::Securing { .. } => self.tls_failed(late()),
            Stage::Start | Stage::Over => DialError::Timeout,
        }
    }

    fn start(&self, context: &DialContext<'_>) -> Result<Outcome, DialError> {
        let uri = &self.request.uri;
        if let Some(path) = uri.socket_path() {
            let mut socket = UnixStream::connect(path).map_err(|error| self.unix_failed(&error))?;
            register(&mut socket, context).map_err(DialError::Io)?;
            return Ok(Outcome::Next(Stage::ConnectingUnix(socket)));
        }
        let server = uri.host();
        let needs_no_address = self.request.proxy.as_ref().is_none_or(ProxyUri::resolves_names);
        if needs_no_address || server.parse::<IpAddr>().is_ok() {
            return Ok(Outcome::Next(self.resolve(server.to_owned(), context)));
        }
        let lookup = Lookup::start(server, uri.port(), context.id, context.notifier);
        Ok(Outcome::Next(Stage::ResolvingServer(lookup)))
    }

    fn take_server(&self, lookup: Lookup, context: &DialContext<'_>) -> Result<Outcome, DialError> {
        let Some(answer) = lookup.poll() else { return Ok(Outcome::Stay(Stage::ResolvingServer(lookup), None)) };
        let host = self.request.uri.host();
        let addrs = answer.map_err(|error| DialError::Resolve { host: host.to_owned(), error })?;
        // A proxy takes one address, so it gets the one that the resolver prefers.
        let server = addrs.first().map_or_else(|| host.to_owned(), |addr| addr.ip().to_string());
        Ok(Outcome::Next(self.resolve(server, context)))
    }

    /// Looks for the addresses of the first hop; one that is written as an address needs no looking.
    fn resolve(&self, server: String, context: &DialContext<'_>) -> Stage {
        if !self.request.addresses.is_empty() {
            return self.begin_race(&self.request.addresses, server, context);
        }
        let (host, port) = self.first_hop();
        match host.parse::<IpAddr>() {
            Ok(address) => self.begin_race(&[SocketAddr::new(address, port)], server, context),
            Err(_) => Stage::Resolving { lookup: Lookup::start(host, port, context.id, context.notifier), server },
        }
    }

    fn take_addresses(&self, lookup: Lookup, server: String, context: &DialContext<'_>) -> Result<Outcome, DialError> {
        let Some(answer) = lookup.poll() else { return Ok(Outcome::Stay(Stage::Resolving { lookup, server }, None)) };
        let addrs = answer.map_err(|error| DialError::Resolve { host: self.first_hop().0.to_owned(), error })?;
        Ok(Outcome::Next(self.begin_race(&addrs, server, context)))
    }

    fn begin_race(&self, addrs: &[SocketAddr], server: String, context: &DialContext<'_>) -> Stage {
        let race = Race::new(addrs, self.request.attempt_delay, self.request.attempt_timeout, context.now);
        Stage::Racing { race, sockets: Vec::new(), server }
    }

    fn run(
        &self,
        mut race: Race,
        mut sockets: Vec<(SocketAddr, TcpStream)>,
        server: String,
        context: &DialContext<'_>,
    ) -> Result<Outcome, DialError> {
        let mut at = 0;
        while at < sockets.len() {
            match connected(&sockets[at].1) {
                Ok(true) => {
                    // The others are closed with the list.
                    let (addr, socket) = sockets.swap_remove(at);
                    log::debug!("{}: connected to {addr}", context.id);
                    return self.first_hop_reached(socket, addr, &server);
                }
                Ok(false) => at += 1,
                Err(error) => race.failed(sockets.swap_remove(at).0, error, context.now),
            }
        }
        loop {
            match race.step(context.now) {
                Move::Start(addr) => match connect(addr, context) {
                    Ok(socket) => sockets.push((addr, socket)),
                    Err(error) => race.failed(addr, error, context.now),
                },
                Move::Abandon(addr) => sockets.retain(|(running, _)| *running != addr),
                Move::Wait(until) => return Ok(Outcome::Stay(Stage::Racing { race, sockets, server }, Some(until))),
                Move::Lost => return Err(self.unreachable(race.into_attempts())),
            }
        }
    }

    fn first_hop_reached(&self, socket: TcpStream, addr: SocketAddr, server: &str) -> Result<Outcome, DialError> {
        // A socket that was reset in the meantime refuses; the next read reports it.
        let _ = socket.set_nodelay(true);
        let peer = PeerAddr::Ip(addr);
        let Some(proxy) = &self.request.proxy else { return self.secure(socket, peer) };
        let tunnel = Tunnel::new(proxy, server, self.request.uri.port())
            .map_err(|error| self.proxy_failed(io::Error::other(error)))?;
        Ok(Outcome::Next(Stage::Tunnelling { tunnel, socket, peer }))
    }

    fn tunnel(&self, mut tunnel: Tunnel, mut socket: TcpStream, peer: PeerAddr) -> Result<Outcome, DialError> {
        match tunnel.advance(&mut socket) {
            Ok(true) => self.secure(socket, peer),
            Ok(false) => Ok(Outcome::Stay(Stage::Tunnelling { tunnel, socket, peer }, None)),
            Err(error) => Err(self.proxy_failed(error)),
        }
    }

    /// The server is reached: begins TLS if that is asked for.
    fn secure(&self, socket: TcpStream, peer: PeerAddr) -> Result<Outcome, DialError> {
        let (uri, socket) = (&self.request.uri, Transport::Tcp(socket));
        if !uri.is_secure() {
            return Ok(Outcome::Connected(socket, peer));
        }
        let connector = match &self.request.tls {
            Some(connector) => Ok(connector.clone()),
            None => TlsConnector::shared_platform(),
        };
        let stream = connector.and_then(|connector| connector.connect(socket, uri.host()));
        let stream = stream.map_err(|error| self.tls_failed(io::Error::other(error)))?;
        Ok(Outcome::Next(Stage::Securing { stream: Box::new(stream), peer }))
    }

    fn shake(&self, mut stream: Box<TlsStream>, peer: PeerAddr) -> Result<Outcome, DialError> {
        match stream.handshake() {
            Ok(true) => Ok(Outcome::Connected(Transport::Tls(stream), peer)),
            Ok(false) => Ok(Outcome::Stay(Stage::Securing { stream, peer }, None)),
            Err(error) => Err(self.tls_failed(error)),
        }
    }

    fn check_unix(&self, socket: UnixStream) -> Result<Outcome, DialError> {
        let is_connected = match socket.take_error() {
            Ok(None) => socket.peer_addr().map(|_| ()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match is_connected {
            Ok(()) => {
                let path = self.request.uri.socket_path().map(Into::into);
                Ok(Outcome::Connected(Transport::Unix(socket), PeerAddr::Unix(path)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Ok(Outcome::Stay(Stage::ConnectingUnix(socket), None))
            }
            Err(error) => Err(self.unix_failed(&error)),
        }
    }

    /// Whom we connect to ourselves: the proxy, or the server.
    fn first_hop(&self) -> (&str, u16) {
        let uri = &self.request.uri;
        self.request.proxy.as_ref().map_or((uri.host(), uri.port()), |proxy| (proxy.host(), proxy.port()))
    }

    fn unreachable(&self, attempts: Vec<Attempt>) -> DialError {
        let proxy = self.request.proxy.as_ref().map(|proxy| format!("the proxy {proxy}"));
        let host = proxy.unwrap_or_else(|| self.request.uri.host_field());
        DialError::Unreachable { host, attempts }
    }

    fn unix_failed(&self, error: &io::Error) -> DialError {
        let path = self.request.uri.socket_path().unwrap_or_default();
        DialError::Io(io::Error::new(error.kind(), format!("{path}: {error}")))
    }

    fn proxy_failed(&self, error: io::Error) -> DialError {
        DialError::Proxy { proxy: self.request.proxy.as_ref().map(ToString::to_string).unwrap_or_default(), error }
    }

    fn tls_failed(&self, error: io::Error) -> DialError {
        DialError::Tls { host: self.request.uri.host().to_owned(), error }
    }
}

/// Begins to connect.
fn connect(addr: SocketAddr, context: &DialContext<'_>) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(addr)?;
    register(&mut socket, context)?;
    Ok(socket)
}

fn register(socket: &mut impl mio::event::Source, context: &DialContext<'_>) -> io::Result<()> {
    const BOTH: mio::Interest = mio::Interest::READABLE.add(mio::Interest::WRITABLE);
    context.registry.register(socket, context.id.token(), BOTH)
}

/// Whether a socket is connected by now, asked in the way that works everywhere: its error first, then its peer.
fn connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        // A port of this machine that nobody listens on can be the very one that the system gives to our end, and then
        // the socket has connected to itself.
        Ok(peer) if socket.local_addr().is_ok_and(|local| local == peer) => {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
