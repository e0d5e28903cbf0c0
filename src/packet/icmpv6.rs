//! ICMP for IPv6 (RFC 4443): echo, and errors with the packet that they quote. Neighbour discovery is [`super::ndp`]'s.
//!
//! The decision whether an error may be sent at all is [`may_generate_error`]; [`super::build`] writes it.

use super::{Error, Ipv6, MacAddr, Protocol, PseudoHeader, icmp::Echo};
use std::net::Ipv6Addr;

/// Bytes of a header: type, code, checksum, and four whose meaning depends on the type.
pub const HEADER_LENGTH: usize = 8;

/// The type of an ICMPv6 message (the IANA registry); any value is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Icmpv6Type(pub u8);

impl Icmpv6Type {
    pub const DESTINATION_UNREACHABLE: Icmpv6Type = Icmpv6Type(1);
    pub const PACKET_TOO_BIG: Icmpv6Type = Icmpv6Type(2);
    pub const TIME_EXCEEDED: Icmpv6Type = Icmpv6Type(3);
    pub const PARAMETER_PROBLEM: Icmpv6Type = Icmpv6Type(4);
    pub const ECHO_REQUEST: Icmpv6Type = Icmpv6Type(128);
    pub const ECHO_REPLY: Icmpv6Type = Icmpv6Type(129);
    pub const ROUTER_SOLICITATION: Icmpv6Type = Icmpv6Type(133);
    pub const ROUTER_ADVERTISEMENT: Icmpv6Type = Icmpv6Type(134);
    pub const NEIGHBOR_SOLICITATION: Icmpv6Type = Icmpv6Type(135);
    pub const NEIGHBOR_ADVERTISEMENT: Icmpv6Type = Icmpv6Type(136);
    pub const REDIRECT: Icmpv6Type = Icmpv6Type(137);

    /// Does the message report on a packet, and quote it? Types under 128 do, unknown ones too (RFC 4443 section 2.1).
    pub const fn is_error(self) -> bool {
        self.0 < 128
    }

    pub const fn is_echo(self) -> bool {
        matches!(self, Self::ECHO_REQUEST | Self::ECHO_REPLY)
    }
}

/// An ICMPv6 message.
#[derive(Clone, Copy, Debug)]
pub struct Icmpv6<'a> {
    header: &'a [u8; HEADER_LENGTH],
    payload: &'a [u8],
}

impl<'a> Icmpv6<'a> {
    /// Reads a message from an IPv6 packet's upper payload. Errors: [`Error::L4HeaderInvalid`] under 8 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Error::L4HeaderInvalid)?;
        Ok(Icmpv6 { header, payload })
    }

    pub fn kind(&self) -> Icmpv6Type {
        Icmpv6Type(self.header[0])
    }

    pub fn code(&self) -> u8 {
        self.header[1]
    }

    /// In the order of memory: see [`super::checksum`].
    pub fn checksum(&self) -> u16 {
        u16::from_ne_bytes([self.header[2], self.header[3]])
    }

    pub fn checksum_is_right(&self, pseudo_header: &PseudoHeader) -> bool {
        let sum = pseudo_header.sum(Protocol::ICMPV6, HEADER_LENGTH + self.payload.len());
        sum.and(self.header).and(self.payload).is_right()
    }

    /// The four bytes whose meaning depends on the type: an error's MTU or pointer, an echo's identifier and sequence.
    pub fn parameter(&self) -> [u8; 4] {
        let [_, _, _, _, parameter @ ..] = *self.header;
        parameter
    }

    /// An echo's identifier and sequence; none if it is no echo.
    pub fn echo(&self) -> Option<Echo> {
        let [a, b, c, d] = self.parameter();
        let echo = Echo { identifier: u16::from_be_bytes([a, b]), sequence: u16::from_be_bytes([c, d]) };
        self.kind().is_echo().then_some(echo)
    }

    /// The bytes that an error quotes, for [`super::Ipv6::parse_quoted`]; none if it is no error.
    pub fn quoted(&self) -> Option<&'a [u8]> {
        self.kind().is_error().then_some(self.payload)
    }

    /// All that follows the header.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub fn header(&self) -> Header {
        Header { kind: self.kind(), code: self.code(), parameter: self.parameter() }
    }
}

/// An ICMPv6 header as a value; its checksum follows from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub kind: Icmpv6Type,
    pub code: u8,
    /// See [`Icmpv6::parameter`].
    pub parameter: [u8; 4],
}

impl Header {
    pub const fn echo(kind: Icmpv6Type, echo: Echo) -> Header {
        let ([a, b], [c, d]) = (echo.identifier.to_be_bytes(), echo.sequence.to_be_bytes());
        Header { kind, code: 0, parameter: [a, b, c, d] }
    }

    /// Writes a message, checksum included, at the start of `buffer`; returns its length. Errors: [`Error::BufferTooSmall`].
    pub fn emit(
        &self,
        buffer: &mut [u8],
        pseudo_header: &PseudoHeader,
        payload: &[u8],
    ) -> Result<usize, Error> {
        let length = HEADER_LENGTH + payload.len();
        let room = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
        let (header, rest) = room.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Error::BufferTooSmall)?;
        let [a, b, c, d] = self.parameter;
        *header = [self.kind.0, self.code, 0, 0, a, b, c, d];
        rest.copy_from_slice(payload);
        let checksum = pseudo_header.sum(Protocol::ICMPV6, length).and(header).and(payload).checksum();
        header[2..4].copy_from_slice(&checksum.to_ne_bytes());
        Ok(length)
    }
}

/// May an ICMPv6 error be sent about this packet, received in a frame to `frame_to` (RFC 4443 section 2.4 (e))?
///
/// Never about an ICMPv6 error, a redirect, an ICMPv6 message too short to tell, a packet to more than one station (by its MAC
/// or its IP address), or one whose source is no single host; nor about a fragment other than the first, or a chain of extension
/// headers that cannot be read, either of which may hide an error. The two errors that the RFC lets answer multicast (e.3) are
/// for those who forward it.
pub fn may_generate_error(frame_to: MacAddr, packet: &Ipv6<'_>) -> bool {
    let to_one = !frame_to.is_multicast() && is_single_host(packet.destination());
    let is_quiet = packet.upper().map_or(true, |upper| {
        let is_silent = |icmp: Icmpv6<'_>| icmp.kind().is_error() || icmp.kind() == Icmpv6Type::REDIRECT;
        let is_icmp = upper.protocol == Protocol::ICMPV6;
        upper.is_later_fragment() || is_icmp && Icmpv6::parse(upper.payload).map_or(true, is_silent)
    });
    to_one && is_single_host(packet.source()) && !is_quiet
}

/// Neither unspecified, loopback, multicast nor IPv4-mapped.
fn is_single_host(address: Ipv6Addr) -> bool {
    let nobody = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !nobody && address.to_ipv4_mapped().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ipv6;

    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn may(mac: MacAddr, source: &str, destination: &str, next: Protocol, payload: &[u8]) -> bool {
        let mut buffer = [0; 128];
        let header = ipv6::Header::new(source.parse().unwrap(), destination.parse().unwrap(), next);
        let length = header.emit(&mut buffer, payload.len()).unwrap();
        buffer[length..length + payload.len()].copy_from_slice(payload);
        may_generate_error(mac, &Ipv6::parse(&buffer).unwrap())
    }

    #[test]
    fn errors_are_for_ordinary_packets_only() {
        let (host, other) = ("2001:db8::1", "2001:db8::2");
        assert!(may(STATION, host, other, Protocol::UDP, &[]));
        for kind in 0..=255u8 {
            let expected = kind >= 128 && kind != 137;
            let message = [kind, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(may(STATION, host, other, Protocol::ICMPV6, &message), expected, "type {kind}");
            let behind_options = [&[58, 0, 0, 0, 0, 0, 0, 0][..], &message].concat();
            let may = may(STATION, host, other, Protocol::DESTINATION_OPTIONS, &behind_options);
            assert_eq!(may, expected, "type {kind} behind destination options");
        }
        assert!(!may(STATION, host, other, Protocol::ICMPV6, &[128, 0, 0, 0]), "cut short");
        assert!(!may(STATION, host, other, Protocol::HOP_BY_HOP, &[58, 9, 0, 0, 0, 0, 0, 0]), "cut short");
        assert!(
            may(STATION, host, other, Protocol::FRAGMENT, &[17, 0, 0, 1, 0, 0, 0, 1]),
            "the first fragment"
        );
        assert!(!may(STATION, host, other, Protocol::FRAGMENT, &[17, 0, 0, 9, 0, 0, 0, 1]));
        assert!(!may(MacAddr::BROADCAST, host, other, Protocol::UDP, &[]));
        assert!(!may(MacAddr([0x33, 0x33, 0, 0, 0, 1]), host, other, Protocol::UDP, &[]));
        for nobody in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
            assert!(!may(STATION, nobody, other, Protocol::UDP, &[]), "from {nobody}");
            assert!(!may(STATION, host, nobody, Protocol::UDP, &[]), "to {nobody}");
        }
    }
}
