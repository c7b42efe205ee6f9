//! The push server: wire protocols over the [hub](crate::push), each a folder, on one port.
//!
//! ```text
//! GET /connection/websocket ─▶ centrifugo ─┐
//! GET /channel/NAME         ─▶ raw        ─┼─▶ Core: Hub ─▶ Effects ─▶ settle: encode once per lane ─▶ connections
//! POST /api/METHOD          ─▶ api        ─┘     │  ▲
//!                                                ▼  │ on_task
//!                                     store, hooks: threads of their own
//! ```
//!
//! A server that publishes the time, to whoever may know it:
//!
//! ```
//! use std::time::Duration;
//!
//! use loopwire::Server;
//! use loopwire::gateway::{Gateway, GatewayConfig};
//! use loopwire::push::{Audience, ChannelOptions, Data};
//!
//! let mut config = GatewayConfig { allow_anonymous: true, ..GatewayConfig::default() };
//! config.hub.namespaces.plain = ChannelOptions {
//!     subscribe: Audience { client: true, anonymous: true, ..Audience::default() },
//!     ..ChannelOptions::default()
//! };
//!
//! let server = Server::builder().listen("127.0.0.1:0").build()?;
//! let stop = server.handle();
//! let gateway = Gateway::new(config, None, server.handle())?;
//! let push = gateway.handle();
//! let thread = std::thread::spawn(move || server.run(gateway));
//!
//! push.publish("time", Data::json("\"12:00\"")).wait()?.expect("the channel exists");
//!
//! stop.shutdown(Duration::from_secs(5));
//! thread.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agenda;
mod api;
mod centrifugo;
mod clock;
mod config;
mod core;
mod data;
mod grants;
mod handle;
mod hooks;
mod metrics;
mod raw;
mod server;
mod shapes;
mod token;
mod transport;
mod unwritten;

#[cfg(fuzzing)]
pub use centrifugo::fuzzing;
pub use config::{ConfigError, GatewayConfig, HookConfig, RawConfig, TokenConfig};
pub use handle::{Answer, GatewayHandle, Publish, To};
pub use server::Gateway;
pub use token::{Claims, Issuer, Override, Overrides, SubscriptionClaims, TokenError, Verifier};
