//! A client and the connection that was made for it: what one sends, the other gets.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use loopwire::Role;
use loopwire::net::{Stream as _, Transport};
use mio::{Registry, Token};
use socket2::SockRef;

use super::dial::Upstream;

/// What is read at once, and so what waits in a direction at most, beside what the systems' sockets hold.
pub(super) const CHUNK: usize = 64 << 10;

/// What a pair may pass on before it is the others' turn.
const TURN: usize = 8 * CHUNK;

/// One end of a pair.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) transport: Transport,
    pub(super) stage: Stage,
    /// Reading may give something: readiness is edge-triggered.
    readable: bool,
    writable: bool,
    /// It sends no more.
    ended: bool,
    /// It was told that nothing more comes.
    told: bool,
    /// It takes nothing any more; what it has sent before may still be read.
    deaf: bool,
    /// What it has sent and the other has not taken.
    waiting: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The upstream's address of this number is being tried.
    Connecting(usize),
    /// The TLS handshake is under way.
    Securing,
    Open,
}

impl Side {
    /// A client that was accepted.
    pub(super) fn accepted(mut transport: Transport, registry: &Registry, token: Token) -> io::Result<Self> {
        transport.register(registry, token)?;
        let stage = if transport.handshaking() { Stage::Securing } else { Stage::Open };
        Ok(Self::new(transport, stage))
    }

    /// An upstream that is being connected to.
    pub(super) fn dial(upstream: &Upstream, registry: &Registry, token: Token) -> io::Result<Self> {
        let (transport, attempt) = connect(upstream, 0, registry, token, io::ErrorKind::NotFound.into())?;
        Ok(Self::new(transport, Stage::Connecting(attempt)))
    }

    fn new(transport: Transport, stage: Stage) -> Self {
        Self {
            transport,
            stage,
            readable: true,
            writable: true,
            ended: false,
            told: false,
            deaf: false,
            waiting: Vec::new(),
        }
    }

    /// Its socket is ready for something.
    pub(super) fn wake(&mut self) {
        (self.readable, self.writable) = (true, true);
    }

    /// Goes on connecting, or with the TLS handshake.
    pub(super) fn advance(&mut self, upstream: &Upstream, registry: &Registry, token: Token) -> io::Result<()> {
        if let Stage::Connecting(attempt) = self.stage {
            match connected(&self.transport) {
                Ok(false) => return Ok(()),
                Ok(true) => self.secure(upstream)?,
                Err(error) => {
                    // The next address, if there is one; else this one's error is as good as any.
                    let (transport, attempt) = connect(upstream, attempt + 1, registry, token, error)?;
                    self.transport = transport;
                    self.stage = Stage::Connecting(attempt);
                    return Ok(());
                }
            }
        }
        if self.stage == Stage::Securing && self.transport.handshake()? {
            self.stage = Stage::Open;
            self.wake();
        }
        Ok(())
    }

    fn secure(&mut self, upstream: &Upstream) -> io::Result<()> {
        let unused = Transport::Unix(mio::net::UnixStream::pair()?.0);
        let connected = std::mem::replace(&mut self.transport, unused);
        if let Transport::Tcp(stream) = &connected {
            let _ = stream.set_nodelay(true);
        }
        self.transport = upstream.secure(connected)?;
        self.stage = if self.transport.handshaking() { Stage::Securing } else { Stage::Open };
        self.wake();
        Ok(())
    }

    /// Reads into `chunk`; nothing if there is nothing now.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<Option<usize>> {
        match retry(|| self.transport.read(chunk)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Writes as much of `bytes` as is taken.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() && self.writable && !self.deaf {
            match retry(|| self.transport.write(&bytes[written..])) {
                Ok(len) => written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => self.deaf = true,
            }
        }
        written
    }

    /// Moves on what TLS holds back; whether all of it is out.
    fn flush(&mut self) -> bool {
        if self.deaf || !self.transport.wants_write() {
            return true;
        }
        if self.writable {
            match retry(|| self.transport.flush()) {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => self.deaf = true,
            }
        }
        self.deaf
    }

    /// Says that nothing more comes.
    fn tell_end(&mut self) {
        if self.told || !self.writable {
            return;
        }
        match self.transport.shutdown_write() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
            // One that has gone away needs no telling.
            _ => self.told = true,
        }
    }

    /// Has the peer's next read fail, as the other's has.
    fn reset(&self) {
        let mut transport = &self.transport;
        while let Transport::Tls(stream) = transport {
            transport = stream.get_ref();
        }
        if let Transport::Tcp(stream) = transport {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// A client and its upstream.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: Side,
    pub(super) upstream: Side,
    /// When both have to be connected and their TLS handshakes done.
    pub(super) deadline: Option<Instant>,
    /// One of the two broke off; what it had sent is still passed on.
    broken: Option<(Role, io::Error)>,
}

/// What passes, in the order in which it does.
pub(super) trait Watcher {
    /// Whether reading has to wait.
    fn is_behind(&self) -> bool;
    fn bytes(&mut self, from: Role, bytes: &[u8]);
    fn end(&mut self, from: Role);
}

/// How far a pair has come in its turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// It waits for its sockets, or for the watcher.
    Waiting,
    /// There is more to be done.
    More,
    /// Both have ended, and know it of each other.
    Over,
    /// One broke off, and the other has what it had sent until then.
    Broken(Role, io::Error),
}

impl Pair {
    pub(super) fn new(client: Side, upstream: Side, deadline: Instant) -> Self {
        Self { client, upstream, deadline: Some(deadline), broken: None }
    }

    /// Goes on with whichever side is not connected yet. The role says whose side failed.
    pub(super) fn advance(
        &mut self,
        upstream: &Upstream,
        registry: &Registry,
        tokens: [Token; 2],
    ) -> Result<(), (Role, io::Error)> {
        self.client.advance(upstream, registry, tokens[0]).map_err(|error| (Role::Client, error))?;
        self.upstream.advance(upstream, registry, tokens[1]).map_err(|error| (Role::Server, error))?;
        if self.client.stage == Stage::Open && self.upstream.stage == Stage::Open {
            self.deadline = None;
        }
        Ok(())
    }

    /// Whose connection or TLS handshake takes too long.
    pub(super) fn late(&self) -> Role {
        if self.upstream.stage == Stage::Open { Role::Client } else { Role::Server }
    }

    /// Passes on what there is.
    pub(super) fn turn(&mut self, chunk: &mut [u8], watcher: &mut impl Watcher) -> Turn {
        let mut passed = 0;
        loop {
            let mut moved = 0;
            for from in [Role::Client, Role::Server] {
                moved += self.pass(from, chunk, watcher);
            }
            passed += moved;
            if let Some(turn) = self.outcome() {
                return turn;
            }
            if moved == 0 {
                return Turn::Waiting;
            }
            if passed >= TURN {
                return Turn::More;
            }
        }
    }

    /// One direction; how much was done.
    fn pass(&mut self, role: Role, chunk: &mut [u8], watcher: &mut impl Watcher) -> usize {
        let (from, to) = match role {
            Role::Client => (&mut self.client, &mut self.upstream),
            Role::Server => (&mut self.upstream, &mut self.client),
        };
        let mut moved = 0;
        let to_is_open = to.stage == Stage::Open;
        if to_is_open && !from.waiting.is_empty() {
            moved += to.write(&from.waiting);
            from.waiting.drain(..moved);
        }
        if to.deaf {
            // Nobody will read it.
            from.waiting = Vec::new();
        } else if from.stage == Stage::Open
            && from.readable
            && !from.ended
            && from.waiting.is_empty()
            && !watcher.is_behind()
        {
            match from.read(chunk) {
                Ok(None) => {}
                Ok(Some(0)) => {
                    moved += 1;
                    from.ended = true;
                    watcher.end(role);
                }
                Ok(Some(len)) => {
                    moved += len;
                    watcher.bytes(role, &chunk[..len]);
                    let written = if to_is_open { to.write(&chunk[..len]) } else { 0 };
                    from.waiting.extend_from_slice(&chunk[written..len]);
                }
                Err(error) => {
                    moved += 1;
                    from.ended = true;
                    from.deaf = true;
                    watcher.end(role);
                    self.broken.get_or_insert((role, error));
                }
            }
        }
        if from.waiting.is_empty() {
            // An idle connection holds no buffer.
            from.waiting = Vec::new();
            if to_is_open && to.flush() && from.ended && !from.deaf {
                to.tell_end();
            }
        }
        moved
    }

    fn outcome(&mut self) -> Option<Turn> {
        let sides = [(Role::Client, &self.client), (Role::Server, &self.upstream)];
        if self.broken.is_none() {
            // One that refused what was written to it, and has been read to its end.
            let gone = sides.iter().find(|(_, side)| side.deaf && side.ended);
            self.broken = gone.map(|(role, _)| (*role, io::ErrorKind::ConnectionReset.into()));
        }
        if let Some((role, _)) = &self.broken {
            let (gone, other) = match role {
                Role::Client => (&self.client, &self.upstream),
                Role::Server => (&self.upstream, &self.client),
            };
            let is_passed_on = gone.waiting.is_empty() && !other.transport.wants_write();
            if is_passed_on || other.deaf {
                other.reset();
                return self.broken.take().map(|(role, error)| Turn::Broken(role, error));
            }
            return None;
        }
        let is_over = sides.iter().all(|(_, side)| side.ended && side.waiting.is_empty() && side.told);
        is_over.then_some(Turn::Over)
    }
}

/// Begins to connect to the first address from this number on that can be tried at all.
fn connect(
    upstream: &Upstream,
    first: usize,
    registry: &Registry,
    token: Token,
    mut error: io::Error,
) -> io::Result<(Transport, usize)> {
    for attempt in first.. {
        match upstream.connect(attempt) {
            None => break,
            Some(Err(failure)) => error = failure,
            Some(Ok(mut transport)) => {
                transport.register(registry, token)?;
                return Ok((transport, attempt));
            }
        }
    }
    Err(error)
}

/// Whether the socket is connected, or why it will not be.
fn connected(transport: &Transport) -> io::Result<bool> {
    let Transport::Tcp(stream) = transport else { return Ok(true) };
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
