//! `loopwire tap`: stands between a client and a server, passes every byte on as it is, and tells what it means.
//!
//! ```text
//! client ⇄ listener ─▶ Pair: two transports, each read only while the other takes ─▶ upstream
//!                        └─▶ Witness: recording, Conversation ─▶ narration ─▶ Output ─▶ standard output
//! ```

mod dial;
mod listener;
pub(crate) mod narration;
mod output;
mod pair;
mod run;
mod witness;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use loopwire::ListenAddr;

use super::engine::TlsArgs;
use super::values::Span;
use super::{Exit, Failure};

#[derive(Args, Debug)]
pub(crate) struct TapArgs {
    /// Where clients are to connect instead: an address and a port (port 0 lets the system choose), or unix:PATH
    #[arg(value_name = "LISTEN")]
    listen: Listen,

    /// Where they are passed on to: ws://, wss:// or ws+unix:. Only where it is counts: path, query and Host are the
    /// client's own, so Host names the tap
    #[arg(value_name = "UPSTREAM", value_parser = super::dial::url)]
    upstream: String,

    /// What is told of each connection
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Show::All)]
    show: Show,

    /// The same as --show violations
    #[arg(long)]
    quiet: bool,

    /// Tell it as JSON, one object per line
    #[arg(long)]
    json: bool,

    /// If standard output is read too slowly, leave lines out, and say how many, instead of letting the connections wait
    #[arg(long)]
    leave_out: bool,

    /// Record all bytes in this file, for replay, lint and diff
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Do not try at the start whether the upstream can be reached
    #[arg(long)]
    lazy: bool,

    /// How long reaching the upstream may take, and each TLS handshake
    #[arg(long, value_name = "TIME", default_value = "10s")]
    connect_timeout: Span,

    /// Trust the certificates in this file (PEM) and no others, instead of the platform's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Trust any certificate of the upstream: for development, since anybody on the way can then read and answer
    #[arg(long)]
    insecure: bool,

    #[command(flatten)]
    tls: TlsArgs,
}

impl TapArgs {
    fn shown(&self) -> Show {
        if self.quiet { self.show.min(Show::Violations) } else { self.show }
    }
}

pub(crate) fn run(args: &TapArgs) -> Result<Exit, Failure> {
    run::run(args)
}

/// How much is told, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Show {
    /// Nothing
    None,
    /// Broken rules, and how connections end
    Violations,
    /// Those, the handshakes, the messages, and the Closes
    Messages,
    /// Those, and every frame instead of the messages
    Frames,
    /// Frames and messages
    All,
}

#[derive(Clone, Debug)]
struct Listen(ListenAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(super::server::UNIX) {
            Some("") => Err("write the socket's path behind unix:".to_owned()),
            Some(path) => Ok(Self(ListenAddr::Unix(path.into()))),
            None => super::engine::address(text)
                .map(|address| Self(ListenAddr::Tcp(address)))
                .map_err(|error| error + ", or unix: and a path"),
        }
    }
}
