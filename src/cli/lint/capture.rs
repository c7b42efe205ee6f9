//! TCP segments out of pcap and pcapng files.

use std::io::Read;
use std::net::IpAddr;

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::pcapng::Block;
use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};

/// Enough for the largest packets that are captured as one; grows to [`MAX_BLOCK`] for larger blocks.
const BLOCK: usize = 1 << 20;
const MAX_BLOCK: usize = 64 << 20;

/// One end of a TCP connection.
pub(super) type Endpoint = (IpAddr, u16);

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'s> {
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
    pub(super) sequence: u32,
    /// What its sender has received.
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: &'s [u8],
}

/// Whether a file that begins like this is a capture.
pub(super) fn is_capture(start: &[u8]) -> bool {
    let Some(magic) = start.first_chunk::<4>() else { return false };
    // pcapng; pcap with microseconds, nanoseconds, and Kuznetzov's fields, in either order of bytes.
    matches!(
        u32::from_be_bytes(*magic),
        0x0A0D_0D0A | 0xA1B2_C3D4 | 0xD4C3_B2A1 | 0xA1B2_3C4D | 0x4D3C_B2A1 | 0xA1B2_CD34 | 0x34CD_B2A1
    )
}

/// Gives every segment to `take`, until it wants no more; counts the packets that could not be read.
pub(super) fn read(
    input: impl Read + Send,
    passed_over: &mut u64,
    take: &mut dyn FnMut(Segment<'_>) -> bool,
) -> Result<(), String> {
    let mut reader = create_reader(BLOCK, input).map_err(|error| sentence(&error))?;
    let mut room = BLOCK;
    let mut packets = Packets { links: Vec::new(), legacy: None, passed_over };
    let mut number = 0_u64;
    loop {
        match reader.next() {
            Ok((len, block)) => {
                number += 1;
                let goes_on = packets.block(&block, take);
                reader.consume(len);
                if !goes_on {
                    return Ok(());
                }
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => refill(reader.as_mut(), number)?,
            Err(PcapError::BufferTooSmall) if room < MAX_BLOCK => {
                room *= 4;
                if !reader.grow(room) {
                    return Err(format!("block {} does not fit into memory", number + 1));
                }
                refill(reader.as_mut(), number)?;
            }
            Err(PcapError::UnexpectedEof) => return Err(format!("ends in the middle of block {}", number + 1)),
            Err(error) => return Err(format!("block {}: {}", number + 1, sentence(&error))),
        }
    }
}

fn refill(reader: &mut dyn PcapReaderIterator, number: u64) -> Result<(), String> {
    let is_done = reader.reader_exhausted();
    if is_done {
        return Err(format!("ends in the middle of block {}", number + 1));
    }
    reader.refill().map_err(|error| sentence(&error))
}

/// What the blocks so far say of those that follow.
struct Packets<'c> {
    /// The link types of this section's interfaces.
    links: Vec<Linktype>,
    /// The link type of a pcap file.
    legacy: Option<Linktype>,
    passed_over: &'c mut u64,
}

impl Packets<'_> {
    fn block(&mut self, block: &PcapBlockOwned<'_>, take: &mut dyn FnMut(Segment<'_>) -> bool) -> bool {
        let (link, bytes) = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.legacy = Some(header.network);
                return true;
            }
            PcapBlockOwned::Legacy(packet) => (self.legacy, packet.data),
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.links.clear();
                return true;
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                self.links.push(interface.linktype);
                return true;
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                (self.links.get(packet.if_id as usize).copied(), packet.packet_data())
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => (self.links.first().copied(), packet.packet_data()),
            PcapBlockOwned::NG(_) => return true,
        };
        match link.and_then(|link| slice(link, bytes)) {
            Some(packet) => match segment(&packet) {
                Ok(Some(segment)) => return take(segment),
                Ok(None) => {}
                Err(()) => *self.passed_over += 1,
            },
            None => *self.passed_over += 1,
        }
        true
    }
}

/// A packet's headers, by the type of the link that it was captured on.
fn slice(link: Linktype, bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let ether_type = |at: usize| Some(EtherType(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    match link {
        Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(bytes).ok(),
        // BSD's loopback, and OpenBSD's: the protocol's number there differs from system to system, IP's own does not.
        Linktype::NULL | Linktype::LOOP => LaxSlicedPacket::from_ip(bytes.get(4..)?).ok(),
        // Linux's "any" interface.
        Linktype::LINUX_SLL => Some(LaxSlicedPacket::from_ether_type(ether_type(14)?, bytes.get(16..)?)),
        LINUX_SLL2 => Some(LaxSlicedPacket::from_ether_type(ether_type(0)?, bytes.get(20..)?)),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(12 | 14) => LaxSlicedPacket::from_ip(bytes).ok(),
        _ => None,
    }
}

const LINUX_SLL2: Linktype = Linktype(276);

/// The segment in a packet; nothing if it is something else, an error if there may be one that cannot be read.
fn segment<'p>(packet: &LaxSlicedPacket<'p>) -> Result<Option<Segment<'p>>, ()> {
    let (from, to): (IpAddr, IpAddr) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        Some(LaxNetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        _ => return Ok(None),
    };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
        let payload = packet.ip_payload();
        let is_tcp = payload.is_some_and(|payload| payload.ip_number == etherparse::IpNumber::TCP);
        return if is_tcp { Err(()) } else { Ok(None) };
    };
    Ok(Some(Segment {
        from: (from, tcp.source_port()),
        to: (to, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        payload: tcp.payload(),
    }))
}

fn sentence(error: &PcapError<&[u8]>) -> String {
    match error {
        PcapError::Eof | PcapError::Incomplete(_) | PcapError::UnexpectedEof => {
            "ends in the middle of a block".to_owned()
        }
        PcapError::BufferTooSmall => format!("is longer than {} MiB", MAX_BLOCK >> 20),
        PcapError::ReadError => "cannot be read".to_owned(),
        _ => "is damaged: it is no block of a pcap or pcapng file".to_owned(),
    }
}
