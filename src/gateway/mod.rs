//! The push server: wire protocols over the [hub](crate::push), each a folder, on one port.
//!
//! ```text
//! GET /connection/websocket ─▶ centrifugo ─┐
//! GET /channel/NAME         ─▶ raw        ─┼─▶ Core: Hub ─▶ Effects ─▶ settle: encode once per lane ─▶ connections
//! POST /api/METHOD          ─▶ api        ─┘     │  ▲
//!                                                ▼  │ on_task
//!                                     store, hooks: threads of their own
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
mod token;
mod transport;

pub use config::{ConfigError, GatewayConfig, HookConfig, RawConfig, TokenConfig};
pub use handle::{Answer, GatewayHandle, Publish, To};
pub use server::Gateway;
pub use token::{Claims, Issuer, Override, Overrides, SubscriptionClaims, TokenError, Verifier};
