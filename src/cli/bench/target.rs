//! Whom to measure: the server at a URL, or one of our own, started for the purpose and ended with it.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io};

use clap::Args;
use loopwire::deflate::DeflateConfig;
use loopwire::handshake::{ClientOptions, Uri};
use loopwire::net::{TlsConnector, Transport};
use mio::net::{TcpStream, UnixStream};

use super::super::dial::{Field, field, trusted, url};
use super::super::values::Span;
use super::super::{Exit, Failure};
use super::usage;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connecting")]
pub(super) struct TargetArgs {
    /// The server to measure: ws://host:port/path, wss://host/path or ws+unix:/path/to.sock:/path. Without it,
    /// `loopwire echo`, or `loopwire serve`, is started on a free port of this machine, measured, and ended
    #[arg(value_parser = url, help_heading = None)]
    pub(super) url: Option<String>,

    /// The server's process: its CPU time and memory are reported too (Linux)
    #[arg(long, value_name = "PID")]
    pub(super) pid: Option<u32>,

    /// Send this field with every opening handshake, such as "Authorization: Bearer x". May be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = field)]
    header: Vec<Field>,

    /// Offer this subprotocol, the preferred one first. May be given several times
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,

    /// Name this origin, as a browser would
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// Trust the certificates in this file (PEM) and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate: for development, since anybody on the way can then read and answer
    #[arg(long)]
    insecure: bool,

    /// How long each connection may take, up to the end of the opening handshake
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,
}

/// A push server that anybody may use, and where everything can be recovered.
const PUSH_SERVER: &[&str] = &[
    "serve",
    "--allow-anonymous",
    "--insecure-channels",
    "--force-recovery",
    "--history-size=1000",
    "--history-ttl=1h",
];

impl TargetArgs {
    /// Finds the server, or starts `loopwire echo` with these further flags.
    pub(super) fn find(&self, flags: &[&str], deflate: bool) -> Result<Target, Failure> {
        self.find_or_start(&[&["echo"], flags].concat(), "", deflate)
    }

    /// Finds the push server, or starts one that lets everybody do everything and keeps its histories in `data`.
    pub(super) fn find_push(&self, data: Option<&Path>) -> Result<Target, Failure> {
        let data = data.map(|dir| dir.to_string_lossy());
        let store = match &data {
            Some(dir) => ["--data", dir],
            None => ["--memory", "--no-raw"],
        };
        self.find_or_start(&[PUSH_SERVER, &store].concat(), "/connection/websocket", false)
    }

    fn find_or_start(&self, command: &[&str], path: &str, deflate: bool) -> Result<Target, Failure> {
        let own = match &self.url {
            Some(_) => None,
            None if self.pid.is_some() => {
                return Err(Failure::new(Exit::Usage, "--pid is for the server at a URL: give that, or leave it out"));
            }
            None => Some(OwnServer::start(command, path)?),
        };
        let url = own.as_ref().map_or_else(|| self.url.clone().unwrap_or_default(), |own| own.url.clone());
        let mut target = match self.pid {
            Some(pid) => self.process(&url, pid, deflate)?,
            None => self.at(&url, deflate)?,
        };
        if let Some(own) = own {
            target.pid = Some(own.child.id());
            target.own = Some(own);
        }
        Ok(target)
    }

    /// The server at this URL, of a process whose CPU time is wanted.
    pub(super) fn process(&self, url: &str, pid: u32, deflate: bool) -> Result<Target, Failure> {
        if usage::cpu_seconds(pid).is_none() {
            let what = format!("cannot tell what process {pid} uses: it is not there, or this is not Linux");
            return Err(Failure::new(Exit::Usage, what));
        }
        Ok(Target { pid: Some(pid), ..self.at(url, deflate)? })
    }

    /// The server at this URL, which need not be the one that is measured.
    pub(super) fn at(&self, url: &str, deflate: bool) -> Result<Target, Failure> {
        let uri = Uri::parse(url).map_err(|error| Failure::new(Exit::Usage, error))?;
        let addresses = if uri.socket_path().is_some() { Vec::new() } else { resolve(&uri)? };
        let options = ClientOptions {
            fields: self.header.iter().map(|Field(name, value)| (name.clone(), value.clone())).collect(),
            protocols: self.subprotocol.clone(),
            origin: self.origin.clone(),
            deflate: deflate.then(DeflateConfig::default),
            ..ClientOptions::default()
        };
        let tls = match trusted(self.ca.as_deref(), self.insecure)? {
            None if uri.is_secure() => {
                Some(TlsConnector::platform().map_err(|error| Failure::new(Exit::Usage, error))?)
            }
            tls => tls.filter(|_| uri.is_secure()),
        };
        let timeout = self.connect_timeout.0;
        Ok(Target { url: url.to_owned(), uri, addresses, options, tls, timeout, pid: None, own: None })
    }
}

/// A server, and how to open connections to it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) uri: Uri,
    /// Those that are left to try; the first is the one in use. None for a Unix socket.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) options: ClientOptions,
    pub(super) tls: Option<TlsConnector>,
    pub(super) timeout: Duration,
    pub(super) pid: Option<u32>,
    own: Option<OwnServer>,
}

impl Target {
    /// Kills the server that was started here, and starts it again.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        if let (Some(own), Some(address)) = (&mut self.own, self.addresses.first()) {
            own.restart(*address)?;
            self.pid = Some(own.child.id());
        }
        Ok(())
    }

    /// A socket on its way to the server.
    pub(super) fn dial(&self) -> io::Result<Transport> {
        if let Some(path) = self.uri.socket_path() {
            return UnixStream::connect(path).map(Transport::Unix);
        }
        let address = self.addresses.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
        TcpStream::connect(*address).map(Transport::Tcp)
    }
}

fn resolve(uri: &Uri) -> Result<Vec<SocketAddr>, Failure> {
    let unknown = |what: String| Failure::new(Exit::NotConnected, what);
    let host = uri.host();
    let found = (host, uri.port()).to_socket_addrs();
    let addresses: Vec<_> =
        found.map_err(|error| unknown(format!("cannot find the address of {host}: {error}")))?.collect();
    if addresses.is_empty() { Err(unknown(format!("{host} has no address"))) } else { Ok(addresses) }
}

/// This program as a child process; it ends with this.
#[derive(Debug)]
struct OwnServer {
    child: Child,
    /// What it was started with, but for where to listen.
    arguments: Vec<String>,
    url: String,
}

impl OwnServer {
    /// Starts it on a free port; its URL has this path.
    fn start(arguments: &[&str], path: &str) -> Result<Self, Failure> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (child, url) = Self::spawn(&arguments, "127.0.0.1:0")?;
        // A push server tells the address of its page.
        let url = url.strip_prefix("http").map_or_else(|| url.clone(), |rest| format!("ws{rest}"));
        Ok(Self { child, arguments, url: url + path })
    }

    fn spawn(arguments: &Vec<String>, listen: &str) -> Result<(Child, String), Failure> {
        let failed = |what: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format_args!("cannot start a server to measure: {what}"))
        };
        let program = env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.args(arguments).args(["--listen", listen, "--log", "warn"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| failed(&error))?;
        let mut line = String::new();
        let read = child.stdout.take().map_or(Ok(0), |stdout| BufReader::new(stdout).read_line(&mut line));
        match (read, line.trim_end().strip_prefix("listening on ")) {
            (Ok(_), Some(url)) => Ok((child, url.to_owned())),
            (read, _) => {
                let _ = child.kill();
                let _ = child.wait();
                let silent = io::Error::other("it does not say where it listens");
                Err(failed(&read.err().unwrap_or(silent)))
            }
        }
    }

    /// Kills it, and starts it again at the same address.
    fn restart(&mut self, address: SocketAddr) -> Result<(), Failure> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = Self::spawn(&self.arguments, &address.to_string())?.0;
        Ok(())
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It serves nobody else, so there is nothing to drain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
