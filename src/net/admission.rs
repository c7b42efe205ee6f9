//! Who may come in: the caps on accepted connections, in all and per address.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::{NetConfig, PeerAddr};

/// Counts of the accepted connections.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    half_open: usize,
    tls_handshakes: usize,
    /// Keyed by what one peer can hold many of: an IPv4 address, an IPv6 network. The map's hash is keyed at random.
    addresses: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    total: u32,
    half_open: u32,
}

/// The cap that a connection ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Draining,
    Connections,
    Address,
    HalfOpen,
    HalfOpenAddress,
    TlsHandshakes,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draining => "the server is draining",
            Self::Connections => "max_connections is reached",
            Self::Address => "max_per_address is reached",
            Self::HalfOpen => "max_half_open is reached",
            Self::HalfOpenAddress => "max_half_open_per_address is reached",
            Self::TlsHandshakes => "max_tls_handshakes is reached",
        })
    }
}

impl Admission {
    /// Counts one more half-open connection from `peer`, unless a cap is reached; `connections` are those of any kind.
    pub(crate) fn admit(&mut self, config: &NetConfig, connections: usize, peer: &PeerAddr) -> Result<(), Refused> {
        if connections >= config.max_connections {
            return Err(Refused::Connections);
        }
        if self.half_open >= config.max_half_open {
            return Err(Refused::HalfOpen);
        }
        if let Some(key) = key(peer) {
            let count = self.addresses.get(&key).copied().unwrap_or_default();
            if config.max_per_address.is_some_and(|max| count.total >= max) {
                return Err(Refused::Address);
            }
            if count.half_open >= config.max_half_open_per_address {
                return Err(Refused::HalfOpenAddress);
            }
            self.addresses.insert(key, Count { total: count.total + 1, half_open: count.half_open + 1 });
        }
        self.half_open += 1;
        Ok(())
    }

    /// Whether one more TLS handshake may begin.
    pub(crate) fn admits_tls(&self, config: &NetConfig) -> bool {
        self.tls_handshakes < config.max_tls_handshakes
    }

    /// An admitted connection begins its TLS handshake.
    pub(crate) fn begin_tls(&mut self) {
        self.tls_handshakes += 1;
    }

    /// A TLS handshake is done, or given up.
    pub(crate) fn end_tls(&mut self) {
        self.tls_handshakes -= 1;
    }

    /// A connection that was admitted is no longer half-open.
    pub(crate) fn opened(&mut self, peer: &PeerAddr) {
        self.half_open -= 1;
        if let Some(count) = key(peer).and_then(|key| self.addresses.get_mut(&key)) {
            count.half_open -= 1;
        }
    }

    /// A connection that was admitted, and is not half-open (any more), is gone.
    pub(crate) fn gone(&mut self, peer: &PeerAddr) {
        let Some(key) = key(peer) else { return };
        if let Some(count) = self.addresses.get_mut(&key) {
            count.total -= 1;
            if count.total == 0 {
                self.addresses.remove(&key);
            }
        }
    }

    /// Whether nothing is counted.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.half_open == 0 && self.tls_handshakes == 0 && self.addresses.is_empty()
    }
}

/// A host gets a whole /64 of IPv6, so single addresses there would be no cap at all.
fn key(peer: &PeerAddr) -> Option<IpAddr> {
    peer.ip().map(|ip| match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> PeerAddr {
        PeerAddr::Ip((ip.parse::<IpAddr>().unwrap(), 1).into())
    }

    #[test]
    fn each_cap_holds_at_its_number_and_frees_what_is_gone() {
        let config = NetConfig {
            max_connections: 10,
            max_per_address: Some(3),
            max_half_open: 5,
            max_half_open_per_address: 2,
            ..NetConfig::default()
        };
        let mut admission = Admission::default();
        let (a, b, c) = (peer("192.0.2.1"), peer("192.0.2.2"), peer("192.0.2.3"));
        assert_eq!(admission.admit(&config, 0, &a), Ok(()));
        assert_eq!(admission.admit(&config, 1, &a), Ok(()));
        assert_eq!(admission.admit(&config, 2, &a), Err(Refused::HalfOpenAddress));
        admission.opened(&a);
        assert_eq!(admission.admit(&config, 2, &a), Ok(()));
        admission.opened(&a);
        assert_eq!(admission.admit(&config, 3, &a), Err(Refused::Address));
        assert_eq!(admission.admit(&config, 3, &b), Ok(()));
        assert_eq!(admission.admit(&config, 4, &b), Ok(()));
        assert_eq!(admission.admit(&config, 5, &c), Ok(()));
        assert_eq!(admission.admit(&config, 6, &c), Ok(()));
        assert_eq!(admission.admit(&config, 7, &peer("192.0.2.4")), Err(Refused::HalfOpen));
        assert_eq!(admission.admit(&config, 10, &c), Err(Refused::Connections));

        for (peer, opened) in [(&a, true), (&a, true), (&a, false), (&b, false), (&b, false), (&c, false), (&c, false)]
        {
            if !opened {
                admission.opened(peer);
            }
            admission.gone(peer);
        }
        assert!(admission.is_empty());
    }

    #[test]
    fn one_ipv6_network_is_one_peer_and_a_mapped_address_is_ipv4() {
        let config = NetConfig { max_half_open_per_address: 1, ..NetConfig::default() };
        let mut admission = Admission::default();
        assert_eq!(admission.admit(&config, 0, &peer("2001:db8::1")), Ok(()));
        assert_eq!(admission.admit(&config, 1, &peer("2001:db8::2:1")), Err(Refused::HalfOpenAddress));
        assert_eq!(admission.admit(&config, 1, &peer("2001:db8:0:1::1")), Ok(()));
        assert_eq!(admission.admit(&config, 2, &peer("192.0.2.1")), Ok(()));
        assert_eq!(admission.admit(&config, 3, &peer("::ffff:192.0.2.1")), Err(Refused::HalfOpenAddress));
    }
}
