//! What is counted, and how `/metrics` tells it (OpenMetrics).

/// The counters.
#[derive(Debug)]
pub(super) struct Metrics {}
