//! The limits of one event loop.

use std::time::Duration;

use crate::handshake::HeadLimits;
use crate::wire::CloseCode;

/// What happens to a message for a connection that already has [`max_buffered`](NetConfig::max_buffered) bytes waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverflowPolicy {
    /// The message is not sent; the sender is told.
    Drop,
    /// The connection is ended: a reader this slow would only see gaps. At once, or by a Close if
    /// [`overflow_close`](NetConfig::overflow_close) says which.
    #[default]
    Close,
}

/// The limits of one event loop: sizes in bytes, times as durations.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetConfig {
    /// Which loop of the process this is; part of every [`ConnectionId`](super::ConnectionId). 0.
    pub loop_index: u8,
    /// Connections at most, of either role; one more is answered 503. 100,000.
    pub max_connections: usize,
    /// Accepted connections at most per peer address (IPv6: per /64 network); one more is answered 503. No limit.
    pub max_per_address: Option<u32>,
    /// Accepted connections at most that have not finished their opening handshake, plain requests to their end among
    /// them. 10,000.
    pub max_half_open: usize,
    /// The same per peer address. 1,000.
    pub max_half_open_per_address: u32,
    /// TLS handshakes of accepted connections under way at most, as each costs more than all else a stranger can ask for;
    /// one more is dropped. 1,000.
    pub max_tls_handshakes: usize,
    /// Limits of a request's head, and at a [`Client`](crate::Client) of an answer's.
    pub head: HeadLimits,
    /// Whether a connection's request is kept for [`Sessions::request`](super::Sessions::request) for as long as it lives.
    /// What only the handshake needed is shed ([`UpgradeRequest::shed`](crate::handshake::UpgradeRequest::shed)). On; off
    /// saves some 300 bytes per connection, more for a browser's.
    pub keep_requests: bool,
    /// From accepting to the end of the request's head, TLS handshake apart. 10 s.
    pub head_timeout: Duration,
    /// From the end of a plain request's head to the last byte of its body; longer is answered 408. 10 s.
    pub body_timeout: Duration,
    /// How long an application may take with an answer to a plain request that it gives later; longer is answered 503.
    /// [`linger`](Self::linger) at most once the client has ended its direction. 30 s.
    pub answer_timeout: Duration,
    /// From accepting to the end of the TLS handshake. 10 s.
    pub tls_timeout: Duration,
    /// How long a connection that is over may take to be flushed and to be closed by its peer. 5 s.
    pub linger: Duration,
    /// The receive buffer that all connections of the loop share; at least a byte and at most 16 MiB. 128 KiB.
    pub receive_buffer: usize,
    /// Bytes waiting to be sent from which a connection's sender is told `Backpressure`, and an accepted connection's
    /// input is not decoded any further. A dialled one's is decoded up to `max_buffered`: two ends that both wait with
    /// reading until the other has read would wait for ever. 64 KiB.
    pub high_water_mark: usize,
    /// Bytes waiting to be sent beyond which [`overflow`](Self::overflow) applies to a message; without those that are
    /// [excused](super::Sessions::excuse). 16 MiB.
    pub max_buffered: usize,
    /// What happens beyond `max_buffered`.
    pub overflow: OverflowPolicy,
    /// The code and the reason with which [`OverflowPolicy::Close`] ends a connection. What waits for it is forgotten, but
    /// for a frame that has begun to leave; the Close follows that, and `close_timeout` later, at the latest, the
    /// connection is over, with this code if the peer has not answered. None: it ends at once, without a word, as 1006.
    pub overflow_close: Option<(CloseCode, &'static str)>,
    /// Bytes that one connection may have decoded in one turn of the loop before others come first. 256 KiB.
    pub turn_bytes: usize,
    /// Events that one connection may have handled in one turn. 1,024.
    pub turn_events: usize,
    /// Connections accepted per listener and turn. 64.
    pub accept_batch: usize,
    /// How long to wait before accepting again when the process or the system has no descriptor left. 100 ms.
    pub accept_retry: Duration,
    /// Tasks taken from the mailbox per turn. 1,024.
    pub task_batch: usize,
    /// Connections told 1001 per turn while draining. 512.
    pub drain_batch: usize,
    /// How long draining may take after a signal. 10 s.
    pub drain_timeout: Duration,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            loop_index: 0,
            max_connections: 100_000,
            max_per_address: None,
            max_half_open: 10_000,
            max_half_open_per_address: 1_000,
            max_tls_handshakes: 1_000,
            head: HeadLimits::default(),
            keep_requests: true,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            tls_timeout: Duration::from_secs(10),
            linger: Duration::from_secs(5),
            receive_buffer: 128 * 1024,
            high_water_mark: 64 * 1024,
            max_buffered: 16 * 1024 * 1024,
            overflow: OverflowPolicy::default(),
            overflow_close: None,
            turn_bytes: 256 * 1024,
            turn_events: 1024,
            accept_batch: 64,
            accept_retry: Duration::from_millis(100),
            task_batch: 1024,
            drain_batch: 512,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
