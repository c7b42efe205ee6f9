//! What every server of the command shares: where it listens, its limits, and how it starts and ends.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use loopwire::net::{ListenAddr, TlsAcceptor};
use loopwire::{Handler, Server, ServerBuilder};

use super::engine::{DeflateArgs, LimitArgs, ListenArgs, MessageArgs};
use super::{Exit, Failure, print};

/// Where a server listens that nobody told where to.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// What a self-signed certificate is made for, besides the addresses that are listened on.
const SELF_SIGNED_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// All settings of a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    messages: MessageArgs,
    #[command(flatten)]
    deflate: DeflateArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl ServeArgs {
    fn tls(&self) -> Result<Option<TlsAcceptor>, Failure> {
        let wrong = |what: &str| Err(Failure::new(Exit::Usage, what));
        let acceptor = match (&self.listen.tls_cert, &self.listen.tls_key, self.listen.self_signed) {
            (None, None, false) => return Ok(None),
            (None, None, true) => {
                let mut names: Vec<String> = SELF_SIGNED_NAMES.map(str::to_owned).to_vec();
                names.extend(self.listen.listen.iter().map(|address| address.ip().to_string()));
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

    fn addresses(&self) -> Vec<String> {
        let tcp = self.listen.listen.iter().map(ToString::to_string);
        let unix = self.listen.unix.iter().map(|path| format!("{UNIX}{}", path.display()));
        let mut addresses: Vec<String> = tcp.chain(unix).collect();
        if addresses.is_empty() {
            addresses.push(DEFAULT_ADDRESS.to_string());
        }
        addresses
    }
}

/// Listens, says where on standard output (`listening on URL`, a line for each address), and serves until a signal.
///
/// `scheme` is what the addresses are to be opened with, in the clear, `set_up` what this server has of its own, `make` its handler,
/// and `hint` is told the first address once all stand.
pub(crate) fn run<H: Handler + 'static>(
    args: &ServeArgs,
    scheme: &str,
    set_up: impl FnOnce(ServerBuilder) -> ServerBuilder,
    make: impl Fn() -> H + Sync,
    hint: impl FnOnce(&str),
) -> Result<Exit, Failure> {
    let tls = args.tls()?;
    let mut builder = Server::builder()
        .net(args.limits.config())
        .config(args.messages.config(&args.deflate))
        .loops(args.limits.loops)
        .handle_signals();
    if args.deflate.no_deflate {
        builder = builder.no_deflate();
    }
    for address in args.addresses() {
        builder = match &tls {
            // What stays on this machine needs no TLS.
            Some(tls) if !address.starts_with(UNIX) => builder.listen_tls(address, tls.clone()),
            _ => builder.listen(address),
        };
    }
    let server = set_up(builder).build().map_err(|error| cannot_listen(&error))?;
    let urls: Vec<String> = server.local_addrs().iter().map(|address| url(scheme, tls.is_some(), address)).collect();
    let told: Vec<String> = urls.iter().map(|url| format!("listening on {url}\n")).collect();
    match print(&told.concat()) {
        Exit::Done => {}
        exit => return Ok(exit),
    }
    if let Some(url) = urls.first() {
        hint(url);
    }
    server.run_each(|_| make()).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Exit::Done)
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
