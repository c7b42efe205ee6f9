//! The push server: wire protocols over the [hub](crate::push), each a folder, on one port.
//!
//! ```text
//! GET /connection/websocket ─▶ centrifugo ─┐
//! GET /channel/NAME         ─▶ raw        ─┼─▶ Core: Hub ─▶ Effects ─▶ settle: encode once per lane ─▶ connections
//! POST /api/METHOD          ─▶ api        ─┘     │  ▲
//!                                                ▼  │ on_task
//!                                     store, hooks: threads of their own
//! ```

mod api;
mod centrifugo;
mod config;
mod core;
mod data;
mod hooks;
mod metrics;
mod raw;
mod server;
mod token;

pub use config::{ConfigError, GatewayConfig, HookConfig, RawConfig, TokenConfig};
pub use server::Gateway;
pub use token::{Claims, Issuer, TokenError, Verifier};
