//! What connections of each protocol are opened with: who may, and within which limits.

use std::sync::Arc;
use std::time::Duration;

use super::config::GatewayConfig;
use crate::handshake::{OriginPolicy, Rejection, UpgradeRequest};
use crate::protocol::Config;

/// One shared configuration for the connections of each protocol.
#[derive(Debug)]
pub(super) struct Transports {
    /// Clients that are pinged by the client protocol.
    pub(super) centrifugo: Arc<Config>,
    /// Those that have asked for WebSocket pings instead.
    pub(super) centrifugo_with_pings: Arc<Config>,
    /// Plain clients.
    pub(super) raw: Arc<Config>,
}

impl Transports {
    pub(super) fn new(config: &GatewayConfig) -> Self {
        let with = |change: &dyn Fn(&mut Config)| {
            let mut transport = config.websocket.clone();
            change(&mut transport);
            Arc::new(transport)
        };
        let interval = Some(config.ping_interval).filter(|interval| *interval > Duration::ZERO);
        Self {
            centrifugo: with(&|transport| {
                transport.max_message = config.max_command;
                transport.ping_interval = None;
            }),
            centrifugo_with_pings: with(&|transport| {
                transport.max_message = config.max_command;
                transport.ping_interval = interval;
                transport.pong_timeout = config.pong_timeout;
            }),
            raw: with(&|transport| transport.max_message = config.raw.max_message),
        }
    }
}

/// Whether the page that asks may connect. What names no page is no browser: it has no cookies that others could make it
/// send, and proves who it is by what it says.
pub(super) fn judge_origin(policy: &OriginPolicy, request: &UpgradeRequest) -> Result<(), Rejection> {
    let is_page = ["Origin", "Sec-WebSocket-Origin"].iter().any(|field| request.fields().all(field).next().is_some());
    if is_page { policy.judge(request) } else { Ok(()) }
}
