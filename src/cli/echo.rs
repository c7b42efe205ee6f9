//! `loopwire echo`: every message goes back to where it came from.

use clap::Args;
use loopwire::{Handler, Message, ServerBuilder, WebSocket};

use super::serve::{self, ServeArgs};
use super::{Exit, Failure};

#[derive(Args, Debug)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    serve: ServeArgs,
}

pub(crate) fn run(args: &EchoArgs) -> Result<Exit, Failure> {
    serve::run(&args.serve, "ws", ServerBuilder::forget_requests, || Echo, |_| {})
}

/// Sends every message back. The client under test does the same.
pub(crate) struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        // A connection that is closing has nobody to hear it.
        let _ = ws.send(message);
    }
}
