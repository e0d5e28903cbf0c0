//! Whole frames into a caller's buffer: for tests, and for the messages that the edge itself sends.
//!
//! Guaranteed: lengths and checksums are right, and the parsed frame says what was asked for. Never pads to Ethernet's minimum of 60 bytes: a device does.

use super::{
    Arp, Error, EtherType, IcmpType, Icmpv6Type, Ipv4, Link, MacAddr, Protocol, PseudoHeader, Tags, icmp,
    icmpv6, ipv4, ipv6, ndp, tcp, udp, vlan,
};
use std::net::{Ipv4Addr, Ipv6Addr};

mod icmpv6_error;

pub use icmpv6_error::{Icmpv6Error, MAX_ERROR_PACKET_V6, icmpv6_error};

/// From whom, to whom, in which VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    pub destination: MacAddr,
    pub source: MacAddr,
    pub tags: Tags,
}

impl Path {
    pub const fn untagged(source: MacAddr, destination: MacAddr) -> Path {
        Path { destination, source, tags: Tags::NONE }
    }

    /// Back to the sender of `frame`, in its VLAN, from `source`.
    pub fn back(frame: &Link<'_>, source: MacAddr) -> Path {
        Path { destination: frame.ethernet.source(), source, tags: frame.tags }
    }

    const fn header(&self, ether_type: EtherType) -> vlan::Header {
        vlan::Header { destination: self.destination, source: self.source, tags: self.tags, ether_type }
    }
}

/// The network header of a frame to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ip<'a> {
    V4(ipv4::Header<'a>),
    V6(ipv6::Header),
}

impl Ip<'_> {
    fn ether_type(&self) -> EtherType {
        match self {
            Ip::V4(_) => EtherType::IPV4,
            Ip::V6(_) => EtherType::IPV6,
        }
    }

    fn length(&self) -> usize {
        match self {
            Ip::V4(header) => header.length(),
            Ip::V6(_) => ipv6::HEADER_LENGTH,
        }
    }

    fn pseudo_header(&self) -> PseudoHeader {
        match *self {
            Ip::V4(ipv4::Header { source, destination, .. }) => PseudoHeader::V4 { source, destination },
            Ip::V6(ipv6::Header { source, destination, .. }) => PseudoHeader::V6 { source, destination },
        }
    }

    fn emit(&self, buffer: &mut [u8], payload_length: usize) -> Result<usize, Error> {
        match self {
            Ip::V4(header) => header.emit(buffer, payload_length),
            Ip::V6(header) => header.emit(buffer, payload_length),
        }
    }
}

/// The transport of a frame to write. The IP header must name its protocol itself: a test may want it to name another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport<'a> {
    Udp(udp::Header, &'a [u8]),
    Tcp(tcp::Header<'a>, &'a [u8]),
    Icmp(icmp::Header, &'a [u8]),
    Icmpv6(icmpv6::Header, &'a [u8]),
    /// Any other: the IP payload as it is.
    Raw(&'a [u8]),
}

impl Transport<'_> {
    fn emit(&self, buffer: &mut [u8], pseudo_header: &PseudoHeader) -> Result<usize, Error> {
        match self {
            Transport::Udp(header, payload) => header.emit(buffer, pseudo_header, payload),
            Transport::Tcp(header, payload) => header.emit(buffer, pseudo_header, payload),
            Transport::Icmp(header, payload) => header.emit(buffer, payload),
            Transport::Icmpv6(header, payload) => header.emit(buffer, pseudo_header, payload),
            Transport::Raw(payload) => {
                buffer.get_mut(..payload.len()).ok_or(Error::BufferTooSmall)?.copy_from_slice(payload);
                Ok(payload.len())
            }
        }
    }
}

/// Writes a frame at the start of `buffer`; returns its length.
///
/// Errors: [`Error::BufferTooSmall`], [`Error::TooLong`], [`Error::OptionsLength`].
pub fn frame(buffer: &mut [u8], path: &Path, ip: &Ip<'_>, transport: &Transport<'_>) -> Result<usize, Error> {
    frame_with(buffer, path, ip, |room, pseudo_header| transport.emit(room, pseudo_header))
}

/// As [`frame`], with an IP payload that `transport` writes.
fn frame_with(
    buffer: &mut [u8],
    path: &Path,
    ip: &Ip<'_>,
    transport: impl FnOnce(&mut [u8], &PseudoHeader) -> Result<usize, Error>,
) -> Result<usize, Error> {
    let link_length = path.header(ip.ether_type()).emit(buffer)?;
    let network = buffer.get_mut(link_length..).ok_or(Error::BufferTooSmall)?;
    let payload = network.get_mut(ip.length()..).ok_or(Error::BufferTooSmall)?;
    let payload_length = transport(payload, &ip.pseudo_header())?;
    let header_length = ip.emit(network, payload_length)?;
    Ok(link_length + header_length + payload_length)
}

/// Writes an ARP message in its frame; returns the frame's length. Errors: [`Error::BufferTooSmall`].
pub fn arp(buffer: &mut [u8], path: &Path, message: &Arp) -> Result<usize, Error> {
    let link_length = path.header(EtherType::ARP).emit(buffer)?;
    Ok(link_length + message.emit(&mut buffer[link_length..])?)
}

/// Writes the frame that asks who has `target`: of everyone who might, or of `known`, to confirm that it still has (RFC 4861 section 7.2.2).
/// Of `path` the destination is not used. Errors: [`Error::BufferTooSmall`].
pub fn neighbor_solicitation(
    buffer: &mut [u8],
    path: &Path,
    source: Ipv6Addr,
    target: Ipv6Addr,
    known: Option<MacAddr>,
) -> Result<usize, Error> {
    let group = ndp::solicited_node(target);
    let (mac, destination) = known.map_or((MacAddr::for_ipv6_multicast(group), group), |mac| (mac, target));
    let header = ipv6::Header {
        hop_limit: ndp::HOP_LIMIT,
        ..ipv6::Header::new(source, destination, Protocol::ICMPV6)
    };
    frame_with(buffer, &Path { destination: mac, ..*path }, &Ip::V6(header), |room, pseudo_header| {
        ndp::emit_solicitation(room, pseudo_header, target, Some(path.source))
    })
}

/// Writes the frame that asks whether anybody else has `target`, from nobody (RFC 4862 section 5.4.2). Of `path` the destination is not used.
/// Errors: [`Error::BufferTooSmall`].
pub fn duplicate_address_probe(buffer: &mut [u8], path: &Path, target: Ipv6Addr) -> Result<usize, Error> {
    let group = ndp::solicited_node(target);
    let header = ipv6::Header {
        hop_limit: ndp::HOP_LIMIT,
        ..ipv6::Header::new(Ipv6Addr::UNSPECIFIED, group, Protocol::ICMPV6)
    };
    let path = Path { destination: MacAddr::for_ipv6_multicast(group), ..*path };
    frame_with(buffer, &path, &Ip::V6(header), |room, pseudo_header| {
        ndp::emit_solicitation(room, pseudo_header, target, None)
    })
}

/// Writes the frame that answers a solicitation: `path.source` has the advertisement's target. Errors: [`Error::BufferTooSmall`].
pub fn neighbor_advertisement(
    buffer: &mut [u8],
    path: &Path,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    advertisement: &ndp::NeighborAdvertisement,
) -> Result<usize, Error> {
    let header = ipv6::Header {
        hop_limit: ndp::HOP_LIMIT,
        ..ipv6::Header::new(source, destination, Protocol::ICMPV6)
    };
    frame_with(buffer, path, &Ip::V6(header), |room, pseudo_header| {
        advertisement.emit(room, pseudo_header, Some(path.source))
    })
}

/// The ICMP errors that the edge sends (RFC 792, RFC 1812 section 5.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// Time to live reached zero in transit.
    TimeExceeded,
    NetworkUnreachable,
    HostUnreachable,
    ProtocolUnreachable,
    PortUnreachable,
    /// Larger than `mtu` bytes, and not to be fragmented (RFC 1191 section 4).
    FragmentationNeeded {
        mtu: u16,
    },
    /// Refused by a rule (RFC 1812 section 5.2.7.1).
    AdministrativelyProhibited,
}

impl IcmpError {
    /// The ICMP header that says so.
    pub const fn header(self) -> icmp::Header {
        let (kind, code) = match self {
            IcmpError::TimeExceeded => (IcmpType::TIME_EXCEEDED, 0),
            IcmpError::NetworkUnreachable => (IcmpType::DESTINATION_UNREACHABLE, 0),
            IcmpError::HostUnreachable => (IcmpType::DESTINATION_UNREACHABLE, 1),
            IcmpError::ProtocolUnreachable => (IcmpType::DESTINATION_UNREACHABLE, 2),
            IcmpError::PortUnreachable => (IcmpType::DESTINATION_UNREACHABLE, 3),
            IcmpError::FragmentationNeeded { .. } => (IcmpType::DESTINATION_UNREACHABLE, 4),
            IcmpError::AdministrativelyProhibited => (IcmpType::DESTINATION_UNREACHABLE, 13),
        };
        let [high, low] = match self {
            IcmpError::FragmentationNeeded { mtu } => mtu.to_be_bytes(),
            _ => [0, 0],
        };
        icmp::Header { kind, code, parameter: [0, 0, high, low] }
    }
}

/// An ICMP error's packet is no longer than this, whatever it quotes (RFC 1812 section 4.3.2.3).
pub const MAX_ERROR_PACKET: usize = 576;
const MAX_QUOTE: usize = MAX_ERROR_PACKET - ipv4::HEADER_LENGTH - icmp::HEADER_LENGTH;
/// Errors are internetwork control: precedence 6 (RFC 1812 section 4.3.2.5), and class selector 6 in both families.
const CLASS_SELECTOR_6: u8 = 48;

/// Writes an ICMP error about `packet`, quoting as much of it as 576 bytes hold, to its sender from the edge's address `source`; returns the frame's length.
/// Whether one may be sent is [`icmp::may_generate_error`]'s to say. Errors: [`Error::BufferTooSmall`].
pub fn icmp_error(
    buffer: &mut [u8],
    path: &Path,
    source: Ipv4Addr,
    error: IcmpError,
    packet: &Ipv4<'_>,
) -> Result<usize, Error> {
    let header = ipv4::Header {
        dscp: CLASS_SELECTOR_6,
        dont_fragment: false,
        ..ipv4::Header::new(source, packet.source(), Protocol::ICMP)
    };
    let mut quote = [0; MAX_QUOTE];
    let length = packet.copy_to(&mut quote);
    frame(buffer, path, &Ip::V4(header), &Transport::Icmp(error.header(), &quote[..length]))
}

/// Writes the reply to an ICMP echo request to one of the edge's addresses; returns the frame's length, or none if `packet` is no whole,
/// right echo request. Errors: [`Error::BufferTooSmall`].
pub fn echo_reply(buffer: &mut [u8], path: &Path, packet: &Ipv4<'_>) -> Result<Option<usize>, Error> {
    let request = (packet.protocol() == Protocol::ICMP && !packet.is_fragment())
        .then(|| icmp::Icmp::parse(packet.payload()).ok())
        .flatten()
        .filter(|icmp| icmp.kind() == IcmpType::ECHO_REQUEST && icmp.checksum_is_right());
    let Some(request) = request else { return Ok(None) };
    let header = ipv4::Header {
        dscp: packet.dscp(),
        dont_fragment: packet.dont_fragment(),
        ..ipv4::Header::new(packet.destination(), packet.source(), Protocol::ICMP)
    };
    let reply = icmp::Header { kind: IcmpType::ECHO_REPLY, ..request.header() };
    frame(buffer, path, &Ip::V4(header), &Transport::Icmp(reply, request.payload())).map(Some)
}

/// As [`echo_reply`], for ICMPv6 to one of the edge's addresses, `address` (the request may have been to a group).
pub fn echo_reply_v6(
    buffer: &mut [u8],
    path: &Path,
    address: Ipv6Addr,
    packet: &super::Ipv6<'_>,
) -> Result<Option<usize>, Error> {
    let request = packet
        .upper()
        .ok()
        .filter(|upper| upper.protocol == Protocol::ICMPV6 && upper.fragment.is_none())
        .and_then(|upper| icmpv6::Icmpv6::parse(upper.payload).ok())
        .filter(|icmp| {
            icmp.kind() == Icmpv6Type::ECHO_REQUEST && icmp.checksum_is_right(&packet.pseudo_header())
        });
    let Some(request) = request else { return Ok(None) };
    let header = ipv6::Header::new(address, packet.source(), Protocol::ICMPV6);
    let reply = icmpv6::Header { kind: Icmpv6Type::ECHO_REPLY, ..request.header() };
    frame(buffer, path, &Ip::V6(header), &Transport::Icmpv6(reply, request.payload())).map(Some)
}
