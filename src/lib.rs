//! loopwire: WebSocket from the bytes up, client and server, on one single-threaded event loop per core.
//!
//! An echo server, and a client that says hello to it:
//!
//! ```
//! use std::time::Duration;
//!
//! use loopwire::{Client, CloseCode, Handler, Message, Server, WebSocket};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
//!         let _ = ws.send(message);
//!     }
//! }
//!
//! struct Hello;
//!
//! impl Handler for Hello {
//!     fn on_open(&mut self, ws: &mut WebSocket<'_>) {
//!         let _ = ws.send("Hello");
//!     }
//!
//!     fn on_message(&mut self, ws: &mut WebSocket<'_>, message: Message<'_>) {
//!         assert_eq!(message.as_text(), Some("Hello"));
//!         let _ = ws.close(CloseCode::NORMAL, "");
//!     }
//! }
//!
//! let server = Server::builder().listen("127.0.0.1:0").build()?;
//! let (addr, handle) = (server.local_addr().unwrap(), server.handle());
//! let thread = std::thread::spawn(move || server.run(Echo));
//!
//! let closed = Client::builder(format!("ws://{addr}/")).build()?.run(Hello)?;
//! assert_eq!(closed.code, CloseCode::NORMAL);
//!
//! handle.shutdown(Duration::from_secs(5));
//! thread.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The layers
//!
//! What is exported here is what applications need. Each layer is also public by itself, for those who build something
//! else on it; each imports only those above it in this table, and all but the last two do no I/O and know no clock.
//!
//! | | |
//! |---|---|
//! | [`wire`] | bytes ⇄ frames: headers, masks, UTF-8, close codes, and every rule of the RFC as data |
//! | [`deflate`] | permessage-deflate: what is offered and agreed, and the codec |
//! | [`handshake`] | the opening handshake in both roles, proxies, addresses, origins |
//! | [`protocol`] | an open connection: frames in, events out, time passed in |
//! | [`net`] | sockets, TLS, timers, signals: the event loop |
//! | [`endpoint`] | [`Server`], [`Client`], [`Handler`]: what applications use |
//! | [`push`] | channels, streams, presence, groups, permissions: the hub, which knows no sockets |
//! | [`explain`] | a conversation watched from outside: what each byte says, and which rule is broken |
//! | `store` | streams that survive a restart, on disk |
//! | `gateway` | the push server: wire protocols over the hub |
//!
//! ```text
//! socket ─▶ net::Session ─▶ protocol::Connection ─▶ endpoint ─▶ Handler::on_message(&mut WebSocket, Message)
//!                            decodes in place,                     │ send, broadcast, close
//!                            one event at a time                   ▼
//! socket ◀── one vectored write per socket and turn ◀─────────── Outbox
//! ```
//!
//! # What it keeps to
//!
//! A message that arrives whole is lent to the handler from the buffer it was read into, neither copied nor allocated.
//! An idle connection holds no buffer. Everything that a peer can make grow has a limit: see [`NetConfig`] and
//! [`Config`]. A peer that breaks a rule gets the HTTP status or close code that belongs to it, the log names the rule
//! and its section, and no other connection notices.

pub mod deflate;
pub mod endpoint;
pub mod explain;
#[cfg(feature = "gateway")]
pub mod gateway;
pub mod handshake;
pub mod net;
pub mod protocol;
pub mod push;
#[cfg(feature = "gateway")]
pub mod store;
pub mod wire;

pub use deflate::DeflateConfig;
pub use endpoint::{
    Client, ClientBuilder, ClientError, ClientHandle, ClientSendError, Connections, Handler, HttpAnswer, HttpExchange,
    Metrics, OwnedMessage, Pushed, ReconnectPolicy, ResubmitId, Server, ServerBuilder, ServerHandle, Stopped,
    TimerHandle, Upgrade, WebSocket,
};
pub use handshake::{
    OriginPolicy, Rejection, Request as HttpRequest, Response as HttpResponse, UpgradeRequest, Version,
};
pub use net::{
    Backoff, ConnectionId, DialError, DialRequest, ListenAddr, ListenConfig, NetConfig, OverflowPolicy, PeerAddr,
    SendError, Sent, TlsAcceptor, TlsConnector, TlsError,
};
pub use protocol::{Closed, Config, Delivery, Piece, Role, Side};
pub use wire::{CloseCode, Message, MessageKind, PreparedMessage, ProtocolError};

/// The README's examples, compiled as this documentation's are.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
