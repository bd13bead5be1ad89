//! Reads TCP headers and forges answers to them.

use std::net::SocketAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, PacketBuilderStep, SlicedPacket, TransportSlice, icmpv4, icmpv6,
};

/// Hops a forged packet may take; it takes one.
const TTL: u8 = 64;

/// As much of the offending packet as an ICMP error quotes: more than the headers is not needed.
const QUOTED: usize = 128;

/// What is read of a TCP segment.
pub struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    /// The SYN bit.
    pub syn: bool,
    /// The ACK bit.
    pub ack: bool,
}

impl Segment {
    /// None for anything but TCP.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { return None };
        let (from, to) = match sliced.net? {
            NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
            NetSlice::Arp(_) => return None,
        };
        Some(Self {
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            syn: tcp.syn(),
            ack: tcp.ack(),
        })
    }

    /// A segment back to the sender with this sequence number: a SYN, or else a RST.
    pub fn reply(&self, sequence: u32, syn: bool) -> Option<Vec<u8>> {
        let segment = self.back()?.tcp(self.to.port(), self.from.port(), sequence, u16::MAX);
        let segment = if syn { segment.syn() } else { segment.rst() };
        let mut packet = Vec::new();
        segment.write(&mut packet, &[]).ok()?;
        Some(packet)
    }

    fn back(&self) -> Option<PacketBuilderStep<etherparse::IpHeaders>> {
        match (self.to, self.from) {
            (SocketAddr::V4(to), SocketAddr::V4(from)) => {
                Some(PacketBuilder::ipv4(to.ip().octets(), from.ip().octets(), TTL))
            }
            (SocketAddr::V6(to), SocketAddr::V6(from)) => {
                Some(PacketBuilder::ipv6(to.ip().octets(), from.ip().octets(), TTL))
            }
            _ => None,
        }
    }
}

/// An ICMP or ICMPv6 error about `packet`: host or address unreachable, or else administratively prohibited.
pub fn unreachable(packet: &[u8], segment: &Segment, prohibited: bool) -> Option<Vec<u8>> {
    let quoted = &packet[..packet.len().min(QUOTED)];
    let back = segment.back()?;
    let mut answer = Vec::new();
    if segment.from.is_ipv4() {
        let code = if prohibited {
            icmpv4::DestUnreachableHeader::FilterProhibited
        } else {
            icmpv4::DestUnreachableHeader::Host
        };
        back.icmpv4(Icmpv4Type::DestinationUnreachable(code)).write(&mut answer, quoted).ok()?;
    } else {
        let code =
            if prohibited { icmpv6::DestUnreachableCode::Prohibited } else { icmpv6::DestUnreachableCode::Address };
        back.icmpv6(Icmpv6Type::DestinationUnreachable(code)).write(&mut answer, quoted).ok()?;
    }
    Some(answer)
}
