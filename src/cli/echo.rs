//! `loopwire echo`: every message goes back to where it came from, or to all.

use clap::Args;
use loopwire::{Handler, Message, PreparedMessage, ServerBuilder, WebSocket};

use super::server::{self, ServerArgs};
use super::{Exit, Failure};

#[derive(Args, Debug)]
pub(crate) struct EchoArgs {
    /// Send every message to all connections instead, its sender's included
    #[arg(long)]
    broadcast: bool,

    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(args: &EchoArgs) -> Result<Exit, Failure> {
    if args.broadcast {
        server::run(&args.server, "ws", ServerBuilder::forget_requests, || Broadcast, |_| {})
    } else {
        server::run(&args.server, "ws", ServerBuilder::forget_requests, || Echo, |_| {})
    }
}

/// Sends every message back. The client under test does the same.
pub(crate) struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        // A connection that is closing has nobody to hear it.
        let _ = ws.send(message);
    }
}

/// Sends every message to everybody, encoded once.
struct Broadcast;

impl Handler for Broadcast {
    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        ws.connections().broadcast(&PreparedMessage::new(message));
    }
}
