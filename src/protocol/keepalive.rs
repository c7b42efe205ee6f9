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
    /// The latest ping, the application's or ours, until it is answered.
    ping: Option<Box<SentPing>>,
    /// How many pings we sent by ourselves; each carries its number.
    count: u32,
    /// The latest time between a ping and its pong, in microseconds.
    round_trip: u32,
}

/// No round trip was measured yet.
const NO_ROUND_TRIP: u32 = u32::MAX;

#[derive(Debug)]
struct SentPing {
    at: Instant,
    /// What the application has put into it; ours carries nothing but its number, which is the count.
    payload: Option<Box<[u8]>>,
    /// When we asked for a sign of life, by this ping or an earlier one, if nothing has come since.
    asked: Option<Instant>,
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
        Self { heard: now, ping: None, count: 0, round_trip: NO_ROUND_TRIP }
    }

    pub(super) fn round_trip_time(&self) -> Option<Duration> {
        (self.round_trip != NO_ROUND_TRIP).then(|| Duration::from_micros(self.round_trip.into()))
    }

    /// How long nothing has come.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Bytes came from the peer.
    #[inline]
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        if let Some(ping) = &mut self.ping {
            ping.asked = None;
        }
    }

    /// We ask for a sign of life: the payload of the ping that does.
    pub(super) fn ask(&mut self, now: Instant) -> [u8; 4] {
        self.count = self.count.wrapping_add(1);
        self.ping = Some(Box::new(SentPing { at: now, payload: None, asked: Some(now) }));
        self.count.to_be_bytes()
    }

    /// The application sends a ping.
    pub(super) fn pinged(&mut self, payload: &[u8], now: Instant) {
        self.ping = Some(Box::new(SentPing { at: now, payload: Some(payload.into()), asked: self.asked() }));
    }

    /// A pong came: the time since our latest ping, if it answers that one. An answer to an earlier ping, or to none, is
    /// no measurement.
    pub(super) fn ponged(&mut self, payload: &[u8], now: Instant) -> Option<Duration> {
        let number = self.count.to_be_bytes();
        let ping = self.ping.take_if(|ping| payload == ping.payload.as_deref().unwrap_or(&number))?;
        let round_trip = now.saturating_duration_since(ping.at);
        self.round_trip = u32::try_from(round_trip.as_micros()).unwrap_or(NO_ROUND_TRIP).min(NO_ROUND_TRIP - 1);
        Some(round_trip)
    }

    /// Whether a sign of life was asked for, and none has come.
    #[inline]
    pub(super) fn is_asking(&self) -> bool {
        self.asked().is_some()
    }

    #[inline]
    fn asked(&self) -> Option<Instant> {
        self.ping.as_ref()?.asked
    }

    pub(super) fn next_timeout(&self, config: &Config) -> Option<Instant> {
        let interval = config.ping_interval?;
        match self.asked() {
            None => self.heard.checked_add(interval),
            Some(asked) => asked.checked_add(config.pong_timeout),
        }
    }

    /// What is due at `now`; to be called when [`next_timeout`](Self::next_timeout) has come.
    pub(super) fn due(&self, now: Instant, config: &Config) -> Due {
        if self.next_timeout(config).is_none_or(|at| now < at) {
            Due::Nothing
        } else if self.asked().is_some() {
            Due::GiveUp
        } else {
            Due::Ping
        }
    }
}
