//! `loopwire violate`: breaks rules on purpose, and says whether the peer answers as the RFCs demand.
//!
//! ```text
//! probe    what is sent and demanded: frames, requests (to servers), answers (to clients)
//! talk     one connection: what is sent on it, what is heard
//! judge    what came of a probe
//! report   a line for each, and the sum
//! ```

mod answers;
mod frames;
mod head;
mod judge;
mod listing;
mod probe;
mod report;
mod requests;
mod talk;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use loopwire::Role;
use loopwire::handshake::Uri;
use loopwire::net::{TlsConnector, Transport};
use loopwire::wire::Rule;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use self::head::{Change, Head};
use self::judge::{Outcome, Times, Verdict};
use self::probe::{Demand, Force, Probe, Sends, Then};
use self::report::Report;
use super::dial::{Field, field, trusted, url};
use super::raw_line::RawLine;
use super::terminal::say;
use super::values::Span;
use super::{Exit, Failure, rules};

#[derive(Args, Debug)]
pub(crate) struct ViolateArgs {
    /// The rule to break, by its id, or `all`
    #[arg(required_unless_present = "list")]
    rule: Option<String>,

    /// The server to test: ws://host:port/path, wss://host/path or ws+unix:/path/to.sock:/path
    #[arg(value_parser = url)]
    url: Option<String>,

    /// Print the rules that can be broken, or for one rule the ways to, and do nothing
    #[arg(long)]
    list: bool,

    /// Test a client instead: listen here, and give each connection that comes the next probe
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,

    /// How long the peer may take to answer a probe, and again to end the connection
    #[arg(long, value_name = "TIME", default_value = "2s")]
    patience: Span,

    /// How long connecting may take, up to the end of a right handshake, and with --listen from the command's start
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,

    /// End with 0 if no MUST was broken, though something else was recommended
    #[arg(long)]
    lenient: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Send this field with each request, such as "Authorization: Bearer x". May be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<Field>,

    /// Trust the certificates in this file (PEM) and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate
    #[arg(long)]
    insecure: bool,

    /// With --listen: what to run for each probe, such as `loopwire connect --wait forever {url}`. Without it, the client
    /// has to connect as often as there are probes
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl ViolateArgs {
    fn times(&self) -> Times {
        Times { connecting: self.connect_timeout.0, patience: self.patience.0 }
    }

    /// As long as connecting may take, for what does not depend on the probe.
    fn slow(&self) -> Times {
        Times { patience: self.connect_timeout.0, ..self.times() }
    }
}

pub(crate) fn run(args: &ViolateArgs) -> Result<Exit, Failure> {
    let rule = match args.rule.as_deref() {
        None | Some("all") => None,
        Some(id) => Some(rules::find(id).map_err(|what| Failure::new(Exit::Usage, what))?),
    };
    if args.list {
        return Ok(listing::print(rule, args.json));
    }
    let usage = |what: &str| Err(Failure::new(Exit::Usage, what));
    let us = match (&args.url, args.listen) {
        (Some(_), None) if !args.command.is_empty() => {
            return usage("a command is run for --listen alone, not for a URL");
        }
        (Some(_), None) => Role::Client,
        (None, Some(_)) => Role::Server,
        (None, None) => return usage("say whom to test: a server by its URL, or a client by --listen ADDR"),
        (Some(_), Some(_)) => return usage("test a server by its URL or a client by --listen, one at a time"),
    };
    let probes = rule.map_or_else(|| Probe::all(us), |rule| Probe::of(rule, us));
    if probes.is_empty() {
        return Err(Failure::new(Exit::Usage, listing::nothing_to_send(rule, us)));
    }
    match (&args.url, args.listen) {
        (Some(url), _) => Server::new(args, url)?.test(&probes),
        (None, Some(address)) => Client::new(args, address)?.test(&probes),
        (None, None) => unreachable!("one of them is there"),
    }
}

/// What a peer can do if nothing is wrong at all. If it does not, nothing else that it does says anything.
fn sound(us: Role) -> Probe {
    let then = if us == Role::Client { Then::Wait } else { Then::Frames };
    let sends = Sends::Head { change: Change::Nothing, then };
    Probe { rule: Rule::UPGRADE, name: String::new(), force: Force::Must, sends, demands: Demand::Open }
}

fn unsound(who: &str, outcome: &Outcome) -> Failure {
    let got = &outcome.got;
    let what = match outcome.broke {
        Some(rule) => format!("it broke the rule {}: {} [{}]", rule.id, rule.sentence, rule.section),
        None => format!("what came was: {got}"),
    };
    Failure::new(Exit::NotConnected, format_args!("{who} does not take a right handshake and answer a ping; {what}"))
}

/// A server under test.
struct Server<'a> {
    args: &'a ViolateArgs,
    uri: Uri,
    tls: Option<TlsConnector>,
    good: Head,
}

impl<'a> Server<'a> {
    fn new(args: &'a ViolateArgs, url: &'a str) -> Result<Self, Failure> {
        let uri = Uri::parse(url).map_err(|error| Failure::new(Exit::Usage, error))?;
        let tls = trusted(args.ca.as_deref(), args.insecure)?;
        let mut good = Head::request(&uri, &args.header);
        if let Some(authorization) = uri.authorization() {
            good = good.and("Authorization", &authorization);
        }
        Ok(Self { args, uri, tls, good })
    }

    fn test(&self, probes: &[Probe]) -> Result<Exit, Failure> {
        let whole = judge::server(&sound(Role::Client), self.connect()?, &self.good, self.args.slow());
        if whole.verdict != Verdict::AsDemanded {
            return Err(unsound(&self.uri.to_string(), &whole));
        }
        let mut report = Report::new(&self.uri.to_string(), self.args.json);
        for probe in probes {
            let outcome = match self.connect() {
                Ok(line) => judge::server(probe, line, &self.good, self.args.times()),
                // It was there a moment ago.
                Err(_) => Outcome::new(Verdict::NoConnection, "unreachable"),
            };
            report.add(probe, &outcome)?;
        }
        report.end(self.args.lenient)
    }

    fn connect(&self) -> Result<RawLine, Failure> {
        RawLine::connect(&self.uri, self.tls.clone(), self.args.connect_timeout.0)
    }
}

/// A client under test.
struct Client<'a> {
    args: &'a ViolateArgs,
    listener: TcpListener,
    poll: Poll,
    events: Events,
    url: String,
}

impl<'a> Client<'a> {
    fn new(args: &'a ViolateArgs, address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error| Failure::new(Exit::CannotListen, format_args!("cannot listen on {address}: {error}"));
        let mut listener = TcpListener::bind(address).map_err(failed)?;
        let url = format!("ws://{}/", listener.local_addr().map_err(failed)?);
        let poll = Poll::new().map_err(failed)?;
        poll.registry().register(&mut listener, Token(0), Interest::READABLE).map_err(failed)?;
        Ok(Self { args, listener, poll, events: Events::with_capacity(8), url })
    }

    fn test(&mut self, probes: &[Probe]) -> Result<Exit, Failure> {
        say(format_args!("listening on {}", self.url));
        let whole = self.probe(&sound(Role::Server), self.args.slow())?;
        if whole.verdict != Verdict::AsDemanded {
            return Err(unsound("the client", &whole));
        }
        let mut report = Report::new("a client", self.args.json);
        for probe in probes {
            let outcome = self.probe(probe, self.args.times())?;
            report.add(probe, &outcome)?;
        }
        report.end(self.args.lenient)
    }

    fn probe(&mut self, probe: &Probe, times: Times) -> Result<Outcome, Failure> {
        let _running = self.start()?;
        let failed = |error| Failure::new(Exit::Failed, format_args!("cannot accept a connection: {error}"));
        match self.accept().map_err(failed)? {
            Some(line) => Ok(judge::client(probe, line, times)),
            None => Ok(Outcome::new(Verdict::NoConnection, "did not come")),
        }
    }

    /// Runs the client, if it is for us to run.
    fn start(&self) -> Result<Option<Running>, Failure> {
        let [program, arguments @ ..] = &self.args.command[..] else { return Ok(None) };
        let arguments = arguments.iter().map(|argument| argument.replace("{url}", &self.url));
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Failure::new(Exit::Usage, format_args!("cannot run {program}: {error}")))?;
        Ok(Some(Running(child)))
    }

    /// The next connection. Somebody's hand is waited for as long as it takes, a command not.
    fn accept(&mut self) -> io::Result<Option<RawLine>> {
        let deadline = (!self.args.command.is_empty()).then(|| Instant::now() + self.args.connect_timeout.0);
        loop {
            match self.listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nodelay(true)?;
                    return RawLine::from_accepted(Transport::Tcp(socket), self.args.patience.0).map(Some);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {
                    continue;
                }
                Err(error) => return Err(error),
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            match self.poll.poll(&mut self.events, left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

/// A client that runs, for one probe.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
