//! Sends the lines of standard input and prints what comes back; reconnects when the connection is lost.
//!
//! ```sh
//! cargo run --example client -- ws://127.0.0.1:8080/
//! ```

use std::process::ExitCode;
use std::time::Duration;

use loopwire::{
    Client, ClientError, CloseCode, Closed, ConnectionId, Connections, DialError, Handler, Message, ReconnectPolicy,
    WebSocket,
};

struct Printer;

impl Handler for Printer {
    fn on_open(&mut self, ws: &mut WebSocket<'_>) {
        eprintln!("connected to {}", ws.peer_addr());
    }

    fn on_message(&mut self, _: &mut WebSocket<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) => println!("{text}"),
            Message::Binary(bytes) => println!("({} bytes)", bytes.len()),
        }
    }

    fn on_close(&mut self, _: &mut WebSocket<'_>, closed: &Closed) {
        eprintln!("closed with {} {}", closed.code, closed.reason);
    }

    fn on_dial_failed(&mut self, _: &mut Connections<'_>, _: ConnectionId, error: &DialError) {
        eprintln!("no connection: {error}");
    }

    fn on_reconnecting(&mut self, _: &mut Connections<'_>, delay: Duration, attempt: u32) {
        eprintln!("attempt {attempt} in {delay:.1?}");
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Closed, ClientError> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080/".into());
    let client = Client::builder(url).reconnect(ReconnectPolicy::default()).handle_signals().build()?;

    let handle = client.handle();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if let Err(error) = handle.send(line) {
                eprintln!("{error}");
            }
        }
        // Goes out behind all that was said.
        let _ = handle.close(CloseCode::NORMAL, "");
    });

    client.run(Printer)
}
