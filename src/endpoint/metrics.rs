//! What an endpoint counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of an endpoint since it was built, all loops together. Sizes are bytes of payload, uncompressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections that are open now, in either role.
    pub connections_open: u64,
    /// Connections that have ever been open.
    pub connections_total: u64,
    /// Connections refused before anybody was asked: over a cap, a request that broke a rule or came too late, no TLS.
    pub requests_refused: u64,
    /// Opening handshakes that were valid and refused all the same: by path, origin, protocol or the application.
    pub handshakes_refused: u64,
    /// Plain HTTP requests.
    pub http_requests: u64,
    /// Dialled connections that never opened.
    pub dials_failed: u64,
    /// Messages received; one delivered in pieces counts with its last.
    pub messages_in: u64,
    /// Bytes in them.
    pub bytes_in: u64,
    /// Messages queued to be sent; one sent in pieces counts with its last.
    pub messages_out: u64,
    /// Bytes in them.
    pub bytes_out: u64,
    /// Connections that failed because the peer broke a rule or let a deadline pass.
    pub protocol_errors: u64,
    /// Messages not sent because the connection was gone, closing, in the middle of a message in pieces, or had too much
    /// waiting.
    pub messages_dropped: u64,
    /// How often a sender was told that a connection is at its high-water mark.
    pub backpressure: u64,
}

/// Counters of one loop.
///
/// Only the loop's thread writes, and a count may be read a little late: so a relaxed load and store do, which cost no
/// more than a plain addition, where `fetch_add` would lock the bus for every message.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    pub(super) fn one_less(&self) {
        self.0.store(self.get().wrapping_sub(1), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident)*) => {
        /// All counters of one loop.
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            /// `requests_refused` is counted below, by the loop itself.
            pub(super) fn snapshot(&self, requests_refused: u64) -> Metrics {
                Metrics { requests_refused, $($name: self.$name.get(),)* }
            }
        }

        impl Metrics {
            /// The sum of both.
            #[must_use]
            pub(super) fn plus(self, other: Self) -> Self {
                let requests_refused = self.requests_refused.wrapping_add(other.requests_refused);
                Self { requests_refused, $($name: self.$name.wrapping_add(other.$name),)* }
            }
        }
    };
}

counters! {
    connections_open connections_total handshakes_refused http_requests dials_failed messages_in bytes_in messages_out
    bytes_out protocol_errors messages_dropped backpressure
}
