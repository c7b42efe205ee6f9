//! The way into a push server from other threads of its process.

use std::fmt;

use super::core::Core;
use crate::endpoint::Connections;

/// Posted to the loop: what a handle asks for.
pub(super) struct Job(pub(super) Box<dyn FnOnce(&mut Core, &mut Connections<'_>) + Send>);

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}
