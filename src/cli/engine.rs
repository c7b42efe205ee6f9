//! The engine's limits and habits as flags, shared by every command that opens or accepts connections.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use loopwire::deflate::DeflateConfig;
use loopwire::net::{NetConfig, OverflowPolicy};
use loopwire::protocol::Config;

use super::values::{OrOff, Size, Span, count, count_or_off};

/// What one message and one connection may be, whichever end this is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
pub(crate) struct MessageArgs {
    /// Bytes in one message at most, counted after inflating; more fail the connection with 1009
    #[arg(long, value_name = "BYTES", default_value_t = Size(32 << 20))]
    max_message: Size,

    /// How long the peer may be silent before a ping asks for a sign of life
    #[arg(long, value_name = "TIME", default_value_t = OrOff(Config::default().ping_interval.map(Span)))]
    ping_interval: OrOff<Span>,

    /// How long after such a ping a sign of life must have come
    #[arg(long, value_name = "TIME", default_value_t = Span(Config::default().pong_timeout))]
    pong_timeout: Span,

    #[command(flatten)]
    frames: FrameArgs,
}

impl MessageArgs {
    /// The protocol's configuration.
    pub(crate) fn config(&self, deflate: &DeflateArgs) -> Config {
        let mut config = self.frames.config(deflate);
        config.max_message = self.max_message.0;
        config.ping_interval = self.ping_interval.0.map(|span| span.0);
        config.pong_timeout = self.pong_timeout.0;
        config
    }
}

/// What every protocol over WebSocket needs, whatever its messages and its signs of life are.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
pub(crate) struct FrameArgs {
    /// Frames in one message at most, empty ones included; more fail the connection with 1008
    #[arg(long, value_name = "N", value_parser = count::<u32>, default_value_t = Config::default().max_fragments)]
    max_fragments: u32,

    /// Pings and pongs taken per second, and at most in one burst; more fail the connection with 1008
    #[arg(long, value_name = "N", value_parser = count::<u32>, default_value_t = Config::default().max_control_rate)]
    max_control_rate: u32,

    /// Split what is sent into frames of at most this many bytes
    #[arg(long, value_name = "BYTES", default_value_t = OrOff(Config::default().fragment_size.map(Size)))]
    fragment_size: OrOff<Size>,

    /// How long a message may take from its first byte to its last
    #[arg(long, value_name = "TIME", default_value_t = Span(Config::default().message_timeout))]
    message_timeout: Span,

    /// How long the peer has to answer a Close, and then again to let go of the connection
    #[arg(long, value_name = "TIME", default_value_t = Span(Config::default().close_timeout))]
    close_timeout: Span,
}

impl FrameArgs {
    /// The protocol's configuration, as far as these tell.
    pub(crate) fn config(&self, deflate: &DeflateArgs) -> Config {
        let mut config = Config::default();
        config.max_fragments = self.max_fragments;
        config.max_control_rate = self.max_control_rate;
        config.fragment_size = self.fragment_size.0.map(|size| size.0);
        config.message_timeout = self.message_timeout.0;
        config.close_timeout = self.close_timeout.0;
        config.deflate = deflate.config();
        config
    }
}

/// permessage-deflate.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Compression (permessage-deflate)")]
pub(crate) struct DeflateArgs {
    /// Neither offer nor accept compression
    #[arg(long)]
    pub(crate) no_deflate: bool,

    /// How hard to compress, 0 to 9
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(i32).range(0..=9), default_value_t = DeflateConfig::default().level)]
    deflate_level: i32,

    /// Messages shorter than this go uncompressed
    #[arg(long, value_name = "BYTES", default_value_t = Size(DeflateConfig::default().threshold))]
    deflate_threshold: Size,

    /// Bytes of earlier messages that each connection keeps for its compressor, at most 32KiB
    #[arg(long, value_name = "BYTES", default_value_t = Size(DeflateConfig::default().history), value_parser = history)]
    deflate_history: Size,

    /// Have the server compress each message for itself
    #[arg(long)]
    server_no_context_takeover: bool,

    /// Have the client compress each message for itself
    #[arg(long)]
    client_no_context_takeover: bool,

    /// The server's largest window, in bits
    #[arg(long, value_name = "8-15", value_parser = clap::value_parser!(u8).range(8..=15), default_value_t = DeflateConfig::default().server_max_window_bits)]
    server_max_window_bits: u8,

    /// The client's largest window, in bits; auto: a server asks for 11, a client uses what it may
    #[arg(long, value_name = "8-15|auto", default_value_t = ClientWindow(DeflateConfig::default().client_max_window_bits))]
    client_max_window_bits: ClientWindow,
}

impl DeflateArgs {
    fn config(&self) -> DeflateConfig {
        let mut config = DeflateConfig::default();
        config.level = self.deflate_level;
        config.threshold = self.deflate_threshold.0;
        config.history = self.deflate_history.0;
        config.server_no_context_takeover = self.server_no_context_takeover;
        config.client_no_context_takeover = self.client_no_context_takeover;
        config.server_max_window_bits = self.server_max_window_bits;
        config.client_max_window_bits = self.client_max_window_bits.0;
        config
    }
}

/// A window in bits, or none: each role's own.
#[derive(Clone, Copy, Debug)]
struct ClientWindow(Option<u8>);

impl FromStr for ClientWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(bits @ 8..=15) => Ok(Self(Some(bits))),
            _ if text == "auto" => Ok(Self(None)),
            _ => Err("write 8 to 15, or auto".to_owned()),
        }
    }
}

impl fmt::Display for ClientWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bits) => bits.fmt(f),
            None => f.write_str("auto"),
        }
    }
}

fn history(text: &str) -> Result<Size, String> {
    let size: Size = text.parse()?;
    if size.0 > 32 << 10 { Err("DEFLATE looks back 32KiB at most".to_owned()) } else { Ok(size) }
}

/// What a server lets its peers have, all together.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Connections at most, per loop; one more is answered 503
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = NetConfig::default().max_connections)]
    max_connections: usize,

    /// Connections at most per peer address (IPv6: per /64 network), per loop; one more is answered 503
    #[arg(long, value_name = "N", value_parser = count_or_off, default_value_t = OrOff(NetConfig::default().max_per_address))]
    max_per_address: OrOff<u32>,

    /// Connections at most that have not finished their opening handshake, per loop; one more is answered 503
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = NetConfig::default().max_half_open)]
    max_half_open: usize,

    /// The same per peer address
    #[arg(long, value_name = "N", value_parser = count::<u32>, default_value_t = NetConfig::default().max_half_open_per_address)]
    max_half_open_per_address: u32,

    /// TLS handshakes under way at most, per loop; one more is dropped
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = NetConfig::default().max_tls_handshakes)]
    max_tls_handshakes: usize,

    /// Bytes in a request line at most; more are answered 414
    #[arg(long, value_name = "BYTES", default_value_t = Size(NetConfig::default().head.request_line))]
    max_request_line: Size,

    /// Bytes in a request's head at most; more are answered 431
    #[arg(long, value_name = "BYTES", default_value_t = Size(NetConfig::default().head.head))]
    max_head: Size,

    /// Field lines in a request's head at most; more are answered 431
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = NetConfig::default().head.fields)]
    max_fields: usize,

    /// How long a request's head may take from its connection to its last byte
    #[arg(long, value_name = "TIME", default_value_t = Span(NetConfig::default().head_timeout))]
    head_timeout: Span,

    /// How long the body of a plain HTTP request may take from the end of its head; longer is answered 408
    #[arg(long, value_name = "TIME", default_value_t = Span(NetConfig::default().body_timeout))]
    body_timeout: Span,

    /// How long a plain HTTP request may wait for its answer; longer is answered 503
    #[arg(long, value_name = "TIME", default_value_t = Span(NetConfig::default().answer_timeout))]
    answer_timeout: Span,

    /// How long a TLS handshake may take
    #[arg(long, value_name = "TIME", default_value_t = Span(NetConfig::default().tls_timeout))]
    tls_timeout: Span,

    /// Bytes waiting to be sent from which a connection's input waits too
    #[arg(long, value_name = "BYTES", default_value_t = Size(NetConfig::default().high_water_mark))]
    high_water_mark: Size,

    /// Bytes that one connection may have decoded before it is the others' turn
    #[arg(long, value_name = "BYTES", default_value_t = Size(NetConfig::default().turn_bytes))]
    turn_bytes: Size,

    /// Messages and control frames that one connection may have handled before it is the others' turn
    #[arg(long, value_name = "N", value_parser = count::<usize>, default_value_t = NetConfig::default().turn_events)]
    turn_events: usize,

    /// How long a connection that is over may take to be flushed and let go
    #[arg(long, value_name = "TIME", default_value_t = Span(NetConfig::default().linger))]
    linger: Span,

    /// How long SIGTERM or SIGINT may take to close everything; a second signal does not wait
    #[arg(long, value_name = "TIME", default_value_t = Span(NetConfig::default().drain_timeout))]
    drain_timeout: Span,
}

impl LimitArgs {
    /// The loop's configuration.
    pub(crate) fn config(&self) -> NetConfig {
        let mut config = NetConfig::default();
        config.max_connections = self.max_connections;
        config.max_per_address = self.max_per_address.0;
        config.max_half_open = self.max_half_open;
        config.max_half_open_per_address = self.max_half_open_per_address;
        config.max_tls_handshakes = self.max_tls_handshakes;
        config.head.request_line = self.max_request_line.0;
        config.head.head = self.max_head.0;
        config.head.fields = self.max_fields;
        config.head_timeout = self.head_timeout.0;
        config.body_timeout = self.body_timeout.0;
        config.answer_timeout = self.answer_timeout.0;
        config.tls_timeout = self.tls_timeout.0;
        config.high_water_mark = self.high_water_mark.0;
        config.turn_bytes = self.turn_bytes.0;
        config.turn_events = self.turn_events;
        config.linger = self.linger.0;
        config.drain_timeout = self.drain_timeout.0;
        config
    }
}

/// How many loops there are, and what they do about readers that are too slow: for servers that leave the choice.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LoopArgs {
    /// Event loops, each on its own thread with its own listener (SO_REUSEPORT)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..), default_value_t = 1)]
    pub(crate) loops: u8,

    /// Bytes waiting to be sent beyond which --overflow applies
    #[arg(long, value_name = "BYTES", default_value_t = Size(NetConfig::default().max_buffered))]
    max_buffered: Size,

    /// What happens to a reader that is too slow: its message is dropped, or its connection closed
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = NetConfig::default().overflow.into())]
    overflow: Overflow,
}

impl LoopArgs {
    /// The loop's configuration with these.
    pub(crate) fn add_to(&self, mut config: NetConfig) -> NetConfig {
        config.max_buffered = self.max_buffered.0;
        config.overflow = self.overflow.into();
        config
    }
}

/// [`OverflowPolicy`] by its names here.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Overflow {
    Drop,
    Close,
}

impl From<OverflowPolicy> for Overflow {
    fn from(policy: OverflowPolicy) -> Self {
        match policy {
            OverflowPolicy::Drop => Self::Drop,
            OverflowPolicy::Close => Self::Close,
        }
    }
}

impl From<Overflow> for OverflowPolicy {
    fn from(overflow: Overflow) -> Self {
        match overflow {
            Overflow::Drop => Self::Drop,
            Overflow::Close => Self::Close,
        }
    }
}

/// Where a server listens, and with which certificate.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct ListenArgs {
    /// Address and port to listen on; port 0 lets the system choose. May be given several times
    /// [default: 127.0.0.1:8080, unless --unix is given]
    #[arg(long, value_name = "ADDR", value_delimiter = ',', value_parser = address)]
    pub(crate) listen: Vec<SocketAddr>,

    /// Path of a Unix socket to listen on. May be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) unix: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) tls: TlsArgs,
}

/// What a listener speaks TLS with.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct TlsArgs {
    /// Speak TLS with this certificate chain (PEM). SIGHUP reads it again; a bad pair keeps the old one
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Speak TLS with a certificate made at the start, for localhost and development
    #[arg(long)]
    pub(crate) self_signed: bool,
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct All {
        #[command(flatten)]
        messages: MessageArgs,
        #[command(flatten)]
        deflate: DeflateArgs,
        #[command(flatten)]
        limits: LimitArgs,
        #[command(flatten)]
        loops: LoopArgs,
    }

    #[test]
    fn every_flag_reaches_its_limit() {
        // The flag, a value that is not the default, and what it becomes in the configuration.
        let rows = [
            ("max-message", "11", "max_message: 11"),
            ("max-fragments", "12", "max_fragments: 12"),
            ("max-control-rate", "13", "max_control_rate: 13"),
            ("fragment-size", "14", "fragment_size: Some(14)"),
            ("message-timeout", "15", "message_timeout: 15s"),
            ("ping-interval", "16", "ping_interval: Some(16s)"),
            ("pong-timeout", "17", "pong_timeout: 17s"),
            ("close-timeout", "18", "close_timeout: 18s"),
            ("deflate-level", "9", "level: 9"),
            ("deflate-threshold", "19", "threshold: 19"),
            ("deflate-history", "77", "history: 77"),
            ("server-max-window-bits", "10", "server_max_window_bits: 10"),
            ("client-max-window-bits", "11", "client_max_window_bits: Some(11)"),
            ("max-connections", "21", "max_connections: 21"),
            ("max-per-address", "22", "max_per_address: Some(22)"),
            ("max-half-open", "23", "max_half_open: 23"),
            ("max-half-open-per-address", "24", "max_half_open_per_address: 24"),
            ("max-tls-handshakes", "25", "max_tls_handshakes: 25"),
            ("max-request-line", "26", "request_line: 26"),
            ("max-head", "27", "head: 27"),
            ("max-fields", "28", "fields: 28"),
            ("head-timeout", "29", "head_timeout: 29s"),
            ("body-timeout", "37", "body_timeout: 37s"),
            ("answer-timeout", "38", "answer_timeout: 38s"),
            ("tls-timeout", "30", "tls_timeout: 30s"),
            ("high-water-mark", "31", "high_water_mark: 31"),
            ("max-buffered", "32", "max_buffered: 32"),
            ("overflow", "drop", "overflow: Drop"),
            ("turn-bytes", "33", "turn_bytes: 33"),
            ("turn-events", "34", "turn_events: 34"),
            ("linger", "35", "linger: 35s"),
            ("drain-timeout", "36", "drain_timeout: 36s"),
        ];
        let told = |flags: &[String]| {
            let all = All::parse_from(std::iter::once("loopwire").chain(flags.iter().map(String::as_str)));
            format!("{:?} {:?}", all.messages.config(&all.deflate), all.loops.add_to(all.limits.config()))
        };
        let defaults = told(&[]);
        for (flag, value, becomes) in rows {
            assert!(!defaults.contains(becomes), "{flag}: {defaults}");
            let told = told(&[format!("--{flag}={value}")]);
            assert!(told.contains(becomes), "{flag}: {told}");
        }
        for switch in ["server-no-context-takeover", "client-no-context-takeover"] {
            let becomes = format!("{}: true", switch.replace('-', "_"));
            assert!(!defaults.contains(&becomes) && told(&[format!("--{switch}")]).contains(&becomes), "{switch}");
        }
        // With those that are used elsewhere, that is all of them.
        let command = <All as clap::CommandFactory>::command();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "help");
        let elsewhere = ["no-deflate", "loops"];
        assert_eq!(flags.count(), rows.len() + 2 + elsewhere.len());
    }
}
