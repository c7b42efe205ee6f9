//! Signs of life: a silent peer is pinged, and given up if it stays silent.
//!
//! Any byte counts as life, not only the pong: that may stand behind a large message in the peer's queue. What counts
//! is what came *from* the peer, so a peer that vanished is found even while we still have data to send to it.

use std::time::{Duration, Instant};

use super::Config;

/// What is known about the peer being there.
#[derive(Debug)]
pub(super) struct Keepalive {
    /// When the latest byte came.
    heard: Instant,
    /// When we asked for a sign of life, if nothing has come since.
    asked: Option<Instant>,
    /// How many pings we sent by ourselves; each carries its number.
    count: u32,
    /// The latest ping, the application's or ours, until it is answered.
    ping: Option<Box<SentPing>>,
    round_trip_time: Option<Duration>,
}

#[derive(Debug)]
struct SentPing {
    at: Instant,
    payload: Vec<u8>,
}

/// What the keepalive asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    GiveUp,
}

impl Keepalive {
    pub(super) const fn new(now: Instant) -> Self {
        Self { heard: now, asked: None, count: 0, ping: None, round_trip_time: None }
    }

    pub(super) const fn round_trip_time(&self) -> Option<Duration> {
        self.round_trip_time
    }

    /// Bytes came from the peer.
    #[inline]
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// The payload of the next ping that we send by ourselves.
    pub(super) const fn next_payload(&mut self) -> [u8; 4] {
        self.count = self.count.wrapping_add(1);
        self.count.to_be_bytes()
    }

    /// A ping is sent: the application's, or ours.
    pub(super) fn pinged(&mut self, payload: &[u8], now: Instant) {
        self.ping = Some(Box::new(SentPing { at: now, payload: payload.to_vec() }));
    }

    /// A pong came: the time since our latest ping, if it answers that one. An answer to an earlier ping, or to none, is
    /// no measurement.
    pub(super) fn ponged(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let ping = self.ping.take_if(|ping| ping.payload == payload)?;
        self.round_trip_time = Some(now.saturating_duration_since(ping.at));
        self.round_trip_time
    }

    pub(super) fn next_timeout(&self, config: &Config) -> Option<Instant> {
        let interval = config.ping_interval?;
        match self.asked {
            None => self.heard.checked_add(interval),
            Some(asked) => asked.checked_add(config.pong_timeout),
        }
    }

    /// What is due at `now`; to be called when [`next_timeout`](Self::next_timeout) has come.
    pub(super) fn due(&mut self, now: Instant, config: &Config) -> Due {
        if self.next_timeout(config).is_none_or(|at| now < at) {
            return Due::Nothing;
        }
        if self.asked.is_some() {
            return Due::GiveUp;
        }
        self.asked = Some(now);
        Due::Ping
    }
}
