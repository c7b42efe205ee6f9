//! What applications use: a [`Server`], a [`Client`], and a [`Handler`] that both call.
//!
//! A handler is one value per event loop, called on that loop's thread alone, so it needs no locks: `&mut self` is all
//! the synchronisation there is. Each call lends it the connection it is about as a [`WebSocket`], and through that the
//! others as [`Connections`]. Threads outside reach in by a [`ServerHandle`] or a [`ClientHandle`].
//!
//! ```text
//! other threads ── ServerHandle, ClientHandle ──▶ mailbox
//!                                                    ▼
//! net::EventLoop ──▶ Endpoint ──▶ Handler::on_…(&mut WebSocket, …)
//!                       │                     │ send, close, set_timer, broadcast, dial
//!                  origin, paths,             ▼
//!                  subprotocol,          Connections ──▶ net::Sessions, or the mailbox of another loop
//!                  compression
//! ```

mod adapter;
mod client;
mod client_builder;
mod client_handle;
mod connections;
mod handler;
mod http;
mod message;
mod metrics;
mod outgoing;
mod reconnect;
mod router;
mod server;
mod server_builder;
mod server_handle;
mod timers;
mod upgrade;
mod websocket;

pub use client::{Client, ClientError};
pub use client_builder::ClientBuilder;
pub use client_handle::{ClientHandle, ClientSendError};
pub use connections::{Connections, Pushed};
pub use handler::Handler;
pub use http::{HttpAnswer, HttpExchange};
pub use message::OwnedMessage;
pub use metrics::Metrics;
pub use outgoing::ResubmitId;
pub use reconnect::ReconnectPolicy;
pub use router::Stopped;
pub use server::Server;
pub use server_builder::ServerBuilder;
pub use server_handle::ServerHandle;
pub use timers::TimerHandle;
pub use upgrade::Upgrade;
pub use websocket::WebSocket;
