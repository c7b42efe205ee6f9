//! A connection on which every byte is one's own: TCP, a Unix socket or TLS, without a word said by this program.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use loopwire::handshake::Uri;
use loopwire::net::{Stream as _, TlsConnector, Transport};
use mio::{Events, Poll, Token};

use super::{Exit, Failure};

/// The most that is kept of what the peer says while it is being sent to, in bytes.
const MAX_WAITING: usize = 64 << 20;

/// A connected stream that is waited for, up to a time.
#[derive(Debug)]
pub(crate) struct RawLine {
    transport: Transport,
    poll: Poll,
    events: Events,
    /// How long the peer may take nothing of what is sent to it.
    timeout: Duration,
    /// What came while something was sent: a peer that answers before it has read all would wait for us otherwise.
    waiting: Vec<u8>,
    /// How much of that was received.
    taken: usize,
    /// The peer's end, if that came too.
    over: Option<Over>,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The peer sends no more.
    End,
    /// The connection is broken.
    Reset,
    /// Nothing within the time.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    End,
    Reset,
}

impl RawLine {
    /// Connects to where `uri` says, TLS included, within `timeout`. `tls`: whom to trust, if not the platform's roots.
    pub(crate) fn connect(uri: &Uri, tls: Option<TlsConnector>, timeout: Duration) -> Result<Self, Failure> {
        let deadline = Instant::now() + timeout;
        let failed = |what: String| Failure::new(Exit::NotConnected, what);
        let socket = dial(uri, deadline).map_err(failed)?;
        let transport = if uri.is_secure() {
            let tls = match tls {
                Some(tls) => tls,
                None => TlsConnector::platform().map_err(|error| Failure::new(Exit::Usage, error))?,
            };
            let stream = tls.connect(socket, uri.host()).map_err(|error| failed(error.to_string()))?;
            Transport::Tls(Box::new(stream))
        } else {
            socket
        };
        let mut line = Self::from_accepted(transport, timeout)
            .map_err(|error| failed(format!("cannot wait for a socket: {error}")))?;
        let secured = line.handshake(deadline);
        secured.map_err(|error| {
            failed(format!("no TLS with {}: {error}; --ca FILE trusts another issuer, --insecure anybody", uri.host()))
        })?;
        Ok(line)
    }

    /// The same for a stream that somebody else has connected; it must be non-blocking. `timeout`: how long its peer may
    /// take nothing of what is sent to it.
    pub(crate) fn from_accepted(mut transport: Transport, timeout: Duration) -> io::Result<Self> {
        let poll = Poll::new()?;
        transport.register(poll.registry(), Token(0))?;
        let events = Events::with_capacity(8);
        Ok(Self { transport, poll, events, timeout, waiting: Vec::new(), taken: 0, over: None })
    }

    /// Sends all of it. What the peer says in the meantime is kept for [`receive`](Self::receive).
    ///
    /// Fails with `TimedOut` if the peer takes nothing for as long as connecting might have lasted.
    pub(crate) fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut deadline = Instant::now() + self.timeout;
        while !bytes.is_empty() || self.transport.wants_write() {
            let written = match bytes {
                [] => self.transport.flush().map(|()| 0),
                _ => self.transport.write(bytes),
            };
            match written {
                Ok(len) => {
                    bytes = &bytes[len..];
                    deadline = Instant::now() + self.timeout;
                }
                Err(error) if is_for_later(&error) => {
                    if !self.listen()? && !self.wait(deadline)? {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read what is sent"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` for what the peer says.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<Received> {
        let deadline = Instant::now() + timeout;
        if self.taken < self.waiting.len() {
            let len = (self.waiting.len() - self.taken).min(buffer.len());
            buffer[..len].copy_from_slice(&self.waiting[self.taken..self.taken + len]);
            self.taken += len;
            if self.taken == self.waiting.len() {
                self.waiting.clear();
                self.taken = 0;
            }
            return Ok(Received::Bytes(len));
        }
        loop {
            match self.over {
                Some(Over::End) => return Ok(Received::End),
                Some(Over::Reset) => return Ok(Received::Reset),
                None => {}
            }
            match self.read(buffer)? {
                Some(len) => return Ok(Received::Bytes(len)),
                None if self.over.is_some() => {}
                None if !self.wait(deadline)? => return Ok(Received::Nothing),
                None => {}
            }
        }
    }

    /// Ends the sending direction; the peer may still say something.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.transport.shutdown_write() {
                Err(error) if is_for_later(&error) => {
                    if !self.listen()? && !self.wait(deadline)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                // The peer was first.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                outcome => return outcome,
            }
        }
    }

    fn handshake(&mut self, deadline: Instant) -> io::Result<()> {
        while !self.transport.handshake()? {
            if !self.wait(deadline)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
        }
        Ok(())
    }

    /// Keeps what the peer says now; whether that was anything.
    fn listen(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        if self.over.is_some() || self.waiting.len() >= MAX_WAITING {
            return Ok(false);
        }
        let Some(len) = self.read(&mut buffer)? else { return Ok(false) };
        self.waiting.extend_from_slice(&buffer[..len]);
        Ok(true)
    }

    /// Reads at least a byte; `None` if there is none now, or, which `over` then says, never again.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.transport.read(buffer) {
            Ok(0) => self.over = Some(Over::End),
            Ok(len) => return Ok(Some(len)),
            Err(error) if is_for_later(&error) => {}
            Err(error) if is_reset(&error) => self.over = Some(Over::Reset),
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    /// Waits for the socket; whether anything happened before the time was up. Readiness is told once, so this is only
    /// asked after a call that could not go on.
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut self.events, Some(left)) {
                Ok(()) if !self.events.is_empty() => return Ok(true),
                Ok(()) if left.is_zero() => return Ok(false),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A connected socket, from the first address that answers.
fn dial(uri: &Uri, deadline: Instant) -> Result<Transport, String> {
    if let Some(path) = uri.socket_path() {
        let socket = UnixStream::connect(path).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(Transport::Unix(mio::net::UnixStream::from_std(socket)))
        });
        return socket.map_err(|error| format!("cannot connect to {path}: {error}"));
    }
    let (host, port) = (uri.host(), uri.port());
    let found = (host, port).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|error| format!("cannot find the address of {host}: {error}"))?.collect();
    let mut refused = format!("{host} has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len() as u32).rev()) {
        // One that does not answer leaves time for the others. A time of nothing would be refused.
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let socket = TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            Ok(Transport::Tcp(mio::net::TcpStream::from_std(socket)))
        });
        match socket {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = format!("cannot connect to {address}: {error}"),
        }
    }
    Err(refused)
}

/// Whether the same call may succeed later: nothing is wrong.
fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the peer has let go of the connection in the middle.
pub(crate) fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Far beyond what anything here takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// A line to a peer that does this with its end.
    fn line(peer: impl FnOnce(TcpStream) + Send + 'static) -> (RawLine, thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = Uri::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
        let peer = thread::spawn(move || peer(listener.accept().unwrap().0));
        (RawLine::connect(&uri, None, DEADLINE).unwrap(), peer)
    }

    /// All that comes, and how it ends.
    fn rest(line: &mut RawLine) -> (Vec<u8>, Received) {
        let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
        loop {
            match line.receive(&mut buffer, DEADLINE).unwrap() {
                Received::Bytes(len) => all.extend_from_slice(&buffer[..len]),
                end => return (all, end),
            }
        }
    }

    #[test]
    fn bytes_go_both_ways_and_each_end_is_told() {
        let (mut line, peer) = line(|mut peer| {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            assert_eq!(all, b"to the peer");
            peer.write_all(b"and back").unwrap();
        });
        assert_eq!(line.receive(&mut [0; 9], Duration::from_millis(1)).unwrap(), Received::Nothing);
        line.send(b"to the ").unwrap();
        line.send(b"peer").unwrap();
        line.end().unwrap();
        assert_eq!(rest(&mut line), (b"and back".to_vec(), Received::End));
        peer.join().unwrap();
    }

    #[test]
    fn a_peer_that_answers_before_it_has_read_all_is_listened_to() {
        let sent: Vec<u8> = (0..16u32 << 20).map(|at| at as u8).collect();
        let (mut line, peer) = line(|mut peer| {
            let mut reader = peer.try_clone().unwrap();
            io::copy(&mut reader, &mut peer).unwrap();
        });
        line.send(&sent).unwrap();
        line.end().unwrap();
        let (came, end) = rest(&mut line);
        assert!(came == sent && end == Received::End, "{} bytes, {end:?}", came.len());
        peer.join().unwrap();
    }

    #[test]
    fn a_peer_that_lets_go_has_reset_the_line() {
        let (mut line, peer) = line(|peer| {
            let socket = socket2::SockRef::from(&peer);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        });
        peer.join().unwrap();
        assert_eq!(rest(&mut line), (Vec::new(), Received::Reset));
        assert!(is_reset(&line.send(b"too late").unwrap_err()));
    }

    #[test]
    fn nobody_there_is_not_connected() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for url in [format!("ws://{free}"), "ws+unix:/nowhere/at.all".to_owned(), "ws://name.invalid".to_owned()] {
            let failure = RawLine::connect(&Uri::parse(&url).unwrap(), None, DEADLINE).unwrap_err();
            assert_eq!(failure.exit, Exit::NotConnected, "{}", failure.what);
            assert!(failure.what.starts_with("cannot "), "{}", failure.what);
        }
    }
}
