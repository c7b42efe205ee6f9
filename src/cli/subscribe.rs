//! `loopwire subscribe`: a client of the push server for a shell. What is published is printed, a line each.

mod session;

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;

use clap::Args;
use loopwire::handshake::Uri;
use loopwire::{ClientError, CloseCode, ReconnectPolicy};

use super::dial::{DialArgs, failure};
use super::publish::DEFAULT_SERVER;
use super::values::{OrOff, Span, count_or_off};
use super::{Exit, Failure};
use session::Session;

/// Where the client protocol is spoken.
const PATH: &str = "/connection/websocket";

#[derive(Args, Debug)]
pub(crate) struct SubscribeArgs {
    /// The channels
    #[arg(value_name = "CHANNEL", required = true)]
    channels: Vec<String>,

    /// Print one JSON object for each publication: channel, epoch and the publication as the server sent it
    #[arg(long)]
    json: bool,

    /// Begin behind this position, EPOCH:OFFSET; `:0` is the beginning of what is kept
    #[arg(long, value_name = "POSITION")]
    since: Option<Since>,

    /// End after this many publications
    #[arg(long, value_name = "N", value_parser = count_or_off, default_value = "off")]
    count: OrOff<u32>,

    /// End with code 6 if it is not over by then
    #[arg(long, value_name = "TIME", default_value = "off")]
    timeout: OrOff<Span>,

    /// The connection token; better given as a variable than as a flag
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,

    /// A subscription token for the channel
    #[arg(long, value_name = "TOKEN")]
    channel_token: Option<String>,

    /// The server
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER)]
    server: String,

    #[command(flatten)]
    dial: DialArgs,
}

/// A position in a stream, as it is written in a URL of a plain WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Since {
    epoch: String,
    offset: u64,
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (epoch, offset) = text.rsplit_once(':').ok_or("write an epoch, a colon and an offset")?;
        let offset = offset.parse().map_err(|_| "write an epoch, a colon and an offset, which is a number")?;
        Ok(Self { epoch: epoch.to_owned(), offset })
    }
}

pub(crate) fn run(args: &SubscribeArgs) -> Result<Exit, Failure> {
    let wrong = |what: &str| Err(Failure::new(Exit::Usage, what));
    if args.channels.len() > 1 && (args.since.is_some() || args.channel_token.is_some()) {
        return wrong("--since and --channel-token are about one channel: leave them or the others out");
    }
    let url = websocket_url(&args.server)?;
    let mut policy = ReconnectPolicy::default();
    // With these the server says that coming back is of no use.
    policy.final_codes.extend((3500..4000).chain(4500..5000).map(CloseCode));
    let client = args.dial.client(&url)?.reconnect(policy).build().map_err(|error| failure(&error))?;
    let verdict = Rc::new(Cell::new(None));
    let ended = client.run(Session::new(args, Rc::clone(&verdict)));
    match (verdict.get(), ended) {
        (Some(exit), _) => Ok(exit),
        (None, Ok(closed)) => Ok(super::connect::judge(&closed)),
        (None, Err(ClientError::Cancelled)) => Ok(Exit::NotConnected),
        (None, Err(error)) => Err(failure(&error)),
    }
}

/// The WebSocket of a server that is named by its page's address, or by a WebSocket's.
fn websocket_url(server: &str) -> Result<String, Failure> {
    let url = match server.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => server.to_owned(),
    };
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'));
    let url = if has_path { url } else { format!("{}{PATH}", url.trim_end_matches('/')) };
    match Uri::parse(&url) {
        Ok(_) => Ok(url),
        Err(error) => Err(Failure::new(Exit::Usage, format_args!("--server {server}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_either_address() {
        for (server, url) in [
            ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/connection/websocket"),
            ("https://example.com/", "wss://example.com/connection/websocket"),
            ("ws://h:1", "ws://h:1/connection/websocket"),
            ("wss://example.com/push/connection/websocket", "wss://example.com/push/connection/websocket"),
        ] {
            assert_eq!(websocket_url(server).unwrap(), url);
        }
        assert!(websocket_url("example.com").is_err());
    }

    #[test]
    fn positions_are_read() {
        assert_eq!(":0".parse(), Ok(Since { epoch: String::new(), offset: 0 }));
        assert_eq!("ab:7".parse(), Ok(Since { epoch: "ab".to_owned(), offset: 7 }));
        for wrong in ["", "7", "ab:", "ab:x", "ab:-1"] {
            assert!(wrong.parse::<Since>().is_err(), "{wrong}");
        }
    }
}
