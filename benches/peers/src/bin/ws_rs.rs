//! ws-rs, as its own benchmark has it: an answer from the handler, with room for more connections. Its compression is
//! left out: it ends the process, by zeroing a structure that today's Rust knows must not be.

#![allow(clippy::result_large_err, reason = "the error is ws-rs's own")]

use std::net::{Ipv4Addr, SocketAddr};

use loopwire_peers::{Arguments, Mode};
use ws::{Builder, Factory, Message, Sender, Settings};

fn main() {
    let arguments = Arguments::read(&[Mode::Echo, Mode::Broadcast]);
    let port = arguments.port;
    match arguments.mode {
        Mode::Broadcast => serve(port, |out: Sender| move |message: Message| out.broadcast(message)),
        _ => serve(port, |out: Sender| move |message: Message| out.send(message)),
    }
}

fn serve<F: Factory>(port: u16, factory: F) {
    let settings = Settings {
        max_connections: 20_000,
        // Whole messages of 1 MiB leave in one frame.
        fragment_size: 2 << 20,
        tcp_nodelay: true,
        panic_on_internal: false,
        ..Settings::default()
    };
    let server = Builder::new().with_settings(settings).build(factory).expect("a server");
    server.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("a free port");
}
