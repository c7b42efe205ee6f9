//! What is counted, and how `/metrics` tells it (OpenMetrics).

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Metrics {}
