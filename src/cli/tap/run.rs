//! The loop: accepts clients, makes a connection for each, and gives every pair its turns.

use std::fs::File;
use std::io::{self, BufWriter, Read as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use loopwire::handshake::Uri;
use loopwire::net::{TlsAcceptor, TlsConnector, TlsError};
use loopwire::{ListenAddr, Role};
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;
use slab::Slab;

use super::TapArgs;
use super::dial::Upstream;
use super::listener::Listener;
use super::narration::{Outside, Style, left_out, left_out_json};
use super::output::Output;
use super::pair::{CHUNK, Pair, Side, Turn};
use super::witness::{Story, Witness};
use crate::cli::recording::Recorder;
use crate::cli::{Exit, Failure, dial, terminal};

const LISTENER: Token = Token(0);
const SIGNALS: Token = Token(1);
const WAKER: Token = Token(2);
/// The first pair's client; its upstream and the other pairs follow.
const FIRST: usize = 3;

/// How long to wait until accepting is tried again when the process lacks something for it.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(args: &TapArgs) -> Result<Exit, Failure> {
    let uri = Uri::parse(&args.upstream).map_err(|error| Failure::new(Exit::Usage, error))?;
    let mut trust = dial::trusted(args.ca.as_deref(), args.insecure)?;
    if !uri.is_secure() {
        trust = None;
    } else if trust.is_none() {
        trust = Some(TlsConnector::platform().map_err(|error| Failure::new(Exit::Usage, error))?);
    }
    let tls = match &args.listen.0 {
        ListenAddr::Tcp(address) => args.tls.acceptor(&[*address])?,
        // What stays on this machine needs no TLS.
        ListenAddr::Unix(_) => None,
    };
    let upstream = Upstream::find(uri, trust).map_err(|error| unreachable(&args.upstream, &error, ""))?;
    if !args.lazy {
        let probed = upstream.probe(args.connect_timeout.0);
        probed.map_err(|error| unreachable(&args.upstream, &error, "; --lazy starts without trying"))?;
    }
    let listener = Listener::bind(&args.listen.0, tls.clone());
    let listener = listener.map_err(|error| Failure::new(Exit::CannotListen, cannot_listen(&args.listen.0, &error)))?;
    let recorder = args.record.as_deref().map(|path| {
        let file = File::create(path).and_then(|file| Recorder::new(BufWriter::new(file), Some(&args.upstream)));
        file.map_err(|error| Failure::new(Exit::Failed, format_args!("cannot write {}: {error}", path.display())))
    });
    let recorder = recorder.transpose()?;
    let style = Style { show: args.shown(), json: args.json, coloured: !args.json && terminal::colour_on_stdout() };
    let failed = |error: io::Error| Failure::new(Exit::Failed, error);
    let mut tap = Tap::new(args, listener, tls, upstream, style, recorder).map_err(failed)?;
    let outcome = tap.run();
    let (is_told, not_recorded) = tap.witness.finish();
    if !is_told {
        terminal::say("standard output was not read to its end");
    }
    let record = args.record.as_deref().unwrap_or("".as_ref()).display();
    if let Some(error) = not_recorded {
        return Err(Failure::new(Exit::Failed, format_args!("cannot write {record}: {error}")));
    }
    outcome.map_err(failed)?;
    Ok(Exit::Done)
}

#[derive(Debug)]
struct Tap {
    poll: Poll,
    listener: Listener,
    tls: Option<TlsAcceptor>,
    upstream: Upstream,
    url: String,
    timeout: Duration,
    signals: Signals,
    witness: Witness,
    pairs: Slab<(Pair, Story)>,
    /// The pairs that have something to do.
    runnable: Vec<usize>,
    /// Clients may be waiting.
    accepting: bool,
    /// When to try again to accept.
    retry: Option<Instant>,
    /// The next connection's number.
    next: u64,
    chunk: Vec<u8>,
}

impl Tap {
    fn new(
        args: &TapArgs,
        mut listener: Listener,
        tls: Option<TlsAcceptor>,
        upstream: Upstream,
        style: Style,
        recorder: Option<Recorder<BufWriter<File>>>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        listener.register(poll.registry(), LISTENER)?;
        let signals = Signals::new(poll.registry(), SIGNALS)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let mut output = Output::start(waker, args.leave_out, if style.json { left_out_json } else { left_out })?;
        let url = listener.url();
        output.lines(&if style.json {
            format!("{}\n", json!({"event": "listening", "url": url, "upstream": args.upstream}))
        } else {
            format!("listening on {url}\n")
        });
        Ok(Self {
            poll,
            listener,
            tls,
            upstream,
            url: args.upstream.clone(),
            timeout: args.connect_timeout.0,
            signals,
            witness: Witness::new(style, output, recorder),
            pairs: Slab::new(),
            runnable: Vec::new(),
            accepting: true,
            retry: None,
            next: 0,
            chunk: vec![0; CHUNK],
        })
    }

    /// Until a signal, or nobody reads what is told.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = self.timeout();
            if timeout != Some(Duration::ZERO) {
                self.witness.flush();
            }
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accepting = true,
                    SIGNALS => {}
                    // There is room again for what is told.
                    WAKER => self.runnable = self.pairs.iter().map(|(key, _)| key).collect(),
                    Token(token) => self.wake(token),
                }
            }
            if self.signals.terminate.take() {
                return Ok(());
            }
            if self.signals.reload.take()
                && let Some(tls) = &self.tls
                && let Err(error) = tls.reload()
            {
                log::warn!("keeping the old certificate: {error}");
            }
            match self.witness.output_failure() {
                // Whoever has gone away has read what was wanted.
                Some(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Some(error) => {
                    return Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}")));
                }
                None => {}
            }
            self.accept();
            for key in std::mem::take(&mut self.runnable) {
                self.serve(key);
            }
            self.give_up();
            if self.witness.failure.is_some() {
                return Ok(());
            }
        }
    }

    /// How long to wait for events.
    fn timeout(&self) -> Option<Duration> {
        if !self.runnable.is_empty() {
            return Some(Duration::ZERO);
        }
        let deadlines = self.pairs.iter().filter_map(|(_, (pair, _))| pair.deadline);
        let first = deadlines.chain(self.retry).min()?;
        // A millisecond too late rather than too early.
        Some(first.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn wake(&mut self, token: usize) {
        let (key, is_upstream) = ((token - FIRST) / 2, (token - FIRST) % 2 == 1);
        // What is told of one that has gone, or of the one before it with this number, does no harm.
        if let Some((pair, _)) = self.pairs.get_mut(key) {
            (if is_upstream { &mut pair.upstream } else { &mut pair.client }).wake();
            self.runnable.push(key);
        }
    }

    fn accept(&mut self) {
        let now = Instant::now();
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
            self.accepting = true;
        }
        while self.accepting && self.retry.is_none() {
            match self.listener.accept() {
                Ok(transport) => self.open(transport),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.accepting = false,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {}
                    _ => {
                        terminal::say(format_args!("cannot accept a client for now: {error}"));
                        self.retry = Some(now + PAUSE);
                    }
                },
            }
        }
    }

    fn open(&mut self, transport: loopwire::net::Transport) {
        let number = self.next;
        self.next += 1;
        let story = self.witness.open(number);
        let entry = self.pairs.vacant_entry();
        let [client_token, upstream_token] = tokens(entry.key());
        let registry = self.poll.registry();
        let client = match Side::accepted(transport, registry, client_token) {
            Ok(client) => client,
            Err(error) => return self.fail(story, Role::Client, &error),
        };
        match Side::dial(&self.upstream, registry, upstream_token) {
            Ok(upstream) => {
                self.runnable.push(entry.key());
                entry.insert((Pair::new(client, upstream, Instant::now() + self.timeout), story));
            }
            Err(error) => self.fail(story, Role::Server, &error),
        }
    }

    /// A pair's turn.
    fn serve(&mut self, key: usize) {
        let Some((pair, story)) = self.pairs.get_mut(key) else { return };
        if pair.deadline.is_some()
            && let Err((role, error)) = pair.advance(&self.upstream, self.poll.registry(), tokens(key))
        {
            let (_, story) = self.pairs.remove(key);
            return self.fail(story, role, &error);
        }
        match pair.turn(&mut self.chunk, &mut self.witness.of(story)) {
            Turn::Waiting => {}
            Turn::More => self.runnable.push(key),
            Turn::Over => {
                let (_, story) = self.pairs.remove(key);
                self.witness.over(story, Outside::Closed);
            }
            Turn::Broken(role, error) => {
                let (_, story) = self.pairs.remove(key);
                log::debug!("{error}");
                self.witness.over(story, Outside::Reset(role));
            }
        }
    }

    /// Lets go of the pairs whose connections or TLS handshakes take too long.
    fn give_up(&mut self) {
        let now = Instant::now();
        let late = |(key, (pair, _)): (usize, &(Pair, Story))| {
            pair.deadline.is_some_and(|deadline| deadline <= now).then_some(key)
        };
        for key in self.pairs.iter().filter_map(late).collect::<Vec<_>>() {
            let (pair, story) = self.pairs.remove(key);
            self.fail(story, pair.late(), &io::ErrorKind::TimedOut.into());
        }
    }

    /// Says why a connection did not come about.
    fn fail(&mut self, story: Story, role: Role, error: &io::Error) {
        let why = match role {
            Role::Client => format!("the client's TLS handshake failed: {error}"),
            Role::Server => format!("cannot reach {}: {error}{}", self.url, advice(error)),
        };
        terminal::say(format_args!("#{}: {why}; the client's connection is closed", story.number()));
        self.witness.over(story, Outside::Failed(&why));
    }
}

/// The process's signals, as sockets that the poll watches.
#[derive(Debug)]
struct Signals {
    terminate: Signal,
    reload: Signal,
}

#[derive(Debug)]
struct Signal(UnixStream);

impl Signals {
    fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self {
            terminate: Signal::new(&[SIGINT, SIGTERM], registry, token)?,
            reload: Signal::new(&[SIGHUP], registry, token)?,
        })
    }
}

impl Signal {
    fn new(signals: &[i32], registry: &Registry, token: Token) -> io::Result<Self> {
        let (mut receiver, sender) = UnixStream::pair()?;
        registry.register(&mut receiver, token, Interest::READABLE)?;
        let sender = std::os::unix::net::UnixStream::from(OwnedFd::from(sender));
        for &signal in signals {
            low_level::pipe::register(signal, sender.try_clone()?)?;
        }
        Ok(Self(receiver))
    }

    /// Whether one has come since the last call.
    fn take(&mut self) -> bool {
        let mut bytes = [0; 64];
        matches!(self.0.read(&mut bytes), Ok(1..))
    }
}

const fn tokens(key: usize) -> [Token; 2] {
    [Token(FIRST + 2 * key), Token(FIRST + 2 * key + 1)]
}

fn unreachable(url: &str, error: &io::Error, hint: &str) -> Failure {
    Failure::new(Exit::NotConnected, format_args!("cannot reach {url}: {error}{}{hint}", advice(error)))
}

fn advice(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(TlsError::Certificate(_)) => "; --ca FILE trusts another issuer, --insecure anybody",
        _ => "",
    }
}

fn cannot_listen(addr: &ListenAddr, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; choose another, or end what listens there",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are the system's, choose another",
        _ => "",
    };
    format!("cannot listen on {addr}: {error}{advice}")
}
