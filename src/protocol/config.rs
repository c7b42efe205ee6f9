//! What an endpoint allows its peer, what it does by itself, and when.

use std::time::Duration;

use crate::deflate::DeflateConfig;

/// Which end of the connection this is. The client masks what it sends, the server does not [RFC 6455 §5.1].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

/// How data messages reach the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Each as one [`Event::Message`](super::Event::Message), once it is complete.
    #[default]
    Whole,
    /// Each as one or more [`Event::Piece`](super::Event::Piece)s, as its bytes arrive; nothing is collected.
    Pieces,
}

/// The limits, times and habits of a connection. Many connections share one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The longest message taken, in bytes of payload after inflating (16 MiB). A longer one fails the connection with
    /// 1009 as soon as a header, or the inflated data, shows it.
    pub max_message: usize,
    /// The most frames one message may come in, empty ones included (131,072). More fail the connection with 1008.
    pub max_fragments: u32,
    /// Whether messages are delivered whole or in pieces (whole).
    pub delivery: Delivery,
    /// How many pings and pongs are taken per second, and at most in one burst (1000). More fail the connection with
    /// 1008.
    pub max_control_rate: u32,
    /// How long the peer may be silent before a ping asks for a sign of life (25 s); `None` never asks.
    pub ping_interval: Option<Duration>,
    /// How long after such a ping any byte at all must have come (20 s).
    pub pong_timeout: Duration,
    /// How long the peer has to answer a Close, and then again to let go of the stream (5 s).
    pub close_timeout: Duration,
    /// How long a frame or a message may take from its first byte to its last (60 s), however busy it is between;
    /// [`Duration::MAX`] for as long as it likes.
    pub message_timeout: Duration,
    /// Splits what is sent into frames of at most this many bytes of payload; `None` sends each message in one frame, as
    /// a server always sends a prepared one.
    pub fragment_size: Option<usize>,
    /// How messages are compressed, where compression was agreed.
    pub deflate: DeflateConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            max_fragments: 131_072,
            delivery: Delivery::Whole,
            max_control_rate: 1000,
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(60),
            fragment_size: None,
            deflate: DeflateConfig::default(),
        }
    }
}
