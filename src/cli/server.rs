//! What every server of the command shares: where it listens, its limits, and how it starts and ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use loopwire::net::{ListenAddr, TlsAcceptor};
use loopwire::{Handler, Server, ServerBuilder};

use super::engine::{DeflateArgs, LimitArgs, ListenArgs, LoopArgs, MessageArgs, TlsArgs};
use super::{Exit, Failure, print};

/// Where a server listens that nobody told where to.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What stands before the path of a Unix socket.
pub(crate) const UNIX: &str = "unix:";

/// What a self-signed certificate is made for, besides the addresses that are listened on.
const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// All settings of a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    messages: MessageArgs,
    #[command(flatten)]
    deflate: DeflateArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    loops: LoopArgs,
}

impl ListenArgs {
    /// Whether its certificates can be used.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.tls().map(drop)
    }

    fn tls(&self) -> Result<Option<TlsAcceptor>, Failure> {
        self.tls.acceptor(&self.listen)
    }

    fn has_tls(&self) -> bool {
        self.tls.is_wanted()
    }

    fn addresses(&self) -> Vec<String> {
        let tcp = self.listen.iter().map(ToString::to_string);
        let unix = self.unix.iter().map(|path| format!("{UNIX}{}", path.display()));
        let mut addresses: Vec<String> = tcp.chain(unix).collect();
        if addresses.is_empty() {
            addresses.push(DEFAULT_ADDRESS.to_string());
        }
        addresses
    }
}

impl TlsArgs {
    /// What TLS is accepted with, if it is; `listen` is where, which a certificate of its own names.
    pub(crate) fn acceptor(&self, listen: &[SocketAddr]) -> Result<Option<TlsAcceptor>, Failure> {
        let wrong = |what: &str| Err(Failure::new(Exit::Usage, what));
        let acceptor = match (&self.tls_cert, &self.tls_key, self.self_signed) {
            (None, None, false) => return Ok(None),
            (None, None, true) => {
                let mut names: Vec<String> = SELF_SIGNED_NAMES.map(str::to_owned).to_vec();
                names.extend(listen.iter().map(|address| address.ip().to_string()));
                names.sort();
                names.dedup();
                TlsAcceptor::self_signed(&names.iter().map(String::as_str).collect::<Vec<_>>())
            }
            (Some(_), _, true) | (_, Some(_), true) => {
                return wrong("--self-signed makes its own certificate: leave it or --tls-cert and --tls-key out");
            }
            (Some(_), None, false) => return wrong("--tls-cert needs its private key: give --tls-key as well"),
            (None, Some(_), false) => return wrong("--tls-key needs its certificate: give --tls-cert as well"),
            (Some(certificate), Some(key), false) => TlsAcceptor::from_files(certificate, key),
        };
        acceptor.map(Some).map_err(|error| Failure::new(Exit::Usage, error))
    }

    fn is_wanted(&self) -> bool {
        self.self_signed || self.tls_cert.is_some()
    }
}

/// Listens, says where, and serves until a signal.
///
/// `scheme` is what the addresses are to be opened with, in the clear, `set_up` what this server has of its own, `make` its handler,
/// and `hint` is told the first address once all stand.
pub(crate) fn run<H: Handler + 'static>(
    args: &ServerArgs,
    scheme: &str,
    set_up: impl FnOnce(ServerBuilder) -> ServerBuilder,
    make: impl Fn() -> H + Sync,
    hint: impl FnOnce(&str),
) -> Result<Exit, Failure> {
    let builder = Server::builder()
        .net(args.loops.add_to(args.limits.config()))
        .config(args.messages.config(&args.deflate))
        .loops(args.loops.loops);
    let builder = if args.deflate.no_deflate { builder.no_deflate() } else { builder };
    let server = listen(set_up(builder), &args.listen)?;
    let urls = urls(&server, &args.listen, scheme);
    match announce(&urls) {
        Exit::Done => {}
        exit => return Ok(exit),
    }
    if let Some(url) = urls.first() {
        hint(url);
    }
    server.run_each(|_| make()).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Done)
}

/// Binds every address, and takes the process's signals.
pub(crate) fn listen(mut builder: ServerBuilder, args: &ListenArgs) -> Result<Server, Failure> {
    let tls = args.tls()?;
    for address in args.addresses() {
        builder = match &tls {
            // What stays on this machine needs no TLS.
            Some(tls) if !address.starts_with(UNIX) => builder.listen_tls(address, tls.clone()),
            _ => builder.listen(address),
        };
    }
    builder.handle_signals().build().map_err(|error| cannot_listen(&error))
}

/// Where a server is to be reached.
pub(crate) fn urls(server: &Server, args: &ListenArgs, scheme: &str) -> Vec<String> {
    server.local_addrs().iter().map(|address| url(scheme, args.has_tls(), address)).collect()
}

/// Says so on standard output: `listening on URL`, a line for each.
pub(crate) fn announce(urls: &[String]) -> Exit {
    let lines: Vec<String> = urls.iter().map(|url| format!("listening on {url}\n")).collect();
    print(&lines.concat())
}

fn url(scheme: &str, tls: bool, address: &ListenAddr) -> String {
    match address {
        ListenAddr::Tcp(address) => format!("{scheme}{}://{address}", if tls { "s" } else { "" }),
        ListenAddr::Unix(path) => format!("{scheme}+unix:{}", path.display()),
    }
}

fn cannot_listen(error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "; choose another with --listen, or end what listens there",
        io::ErrorKind::PermissionDenied => "; ports below 1024 are the system's, choose another with --listen",
        _ => "",
    };
    Failure::new(Exit::CannotListen, format_args!("{error}{advice}"))
}
