//! The handler: which protocol a connection speaks, and which call goes where.

use std::fmt;

use super::config::{ConfigError, GatewayConfig};
use super::core::Core;
use crate::endpoint::{Handler, ServerHandle};
use crate::push::Restored;
use crate::store::Store;

/// The push server, as a [`Handler`]. It has one loop: the hub is a single thread's.
pub struct Gateway {
    core: Core,
}

impl Gateway {
    /// A push server that keeps its streams in memory, or in a store with what that has brought back. `handle` is that of
    /// the server it is going to run in.
    ///
    /// # Errors
    /// A key or URL of the configuration that cannot be used.
    pub fn new(
        config: GatewayConfig,
        store: Option<(Store, Restored)>,
        handle: ServerHandle,
    ) -> Result<Self, ConfigError> {
        let _ = (config, store, handle);
        todo!()
    }
}

impl Handler for Gateway {}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("clients", &self.core.clients.len()).finish_non_exhaustive()
    }
}
