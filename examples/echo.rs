//! Sends back what it receives.
//!
//! ```sh
//! cargo run --example echo -- 127.0.0.1:8080
//! cargo run --example client -- ws://127.0.0.1:8080/
//! ```

use loopwire::{Handler, Message, Server, WebSocket};

struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
        // It fails only for a connection that is on its way out, and then there is nobody to tell.
        let _ = ws.send(message);
    }
}

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let server = Server::builder().listen(addr).handle_signals().build()?;
    for addr in server.local_addrs() {
        eprintln!("echoing at {addr}");
    }
    server.run(Echo)
}
