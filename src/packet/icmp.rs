//! ICMP for IPv4 (RFC 792): echo, and errors with the packet that they quote.
//!
//! The decision whether an error may be sent at all is [`may_generate_error`]; [`super::build`] writes it.

use super::{
    Error, Ipv4, MacAddr, Protocol,
    checksum::{Delta, Sum},
};
use std::net::Ipv4Addr;

/// Bytes of a header: type, code, checksum, and four whose meaning depends on the type.
pub const HEADER_LENGTH: usize = 8;

/// The type of an ICMP message (the IANA registry); any value is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct IcmpType(pub u8);

impl IcmpType {
    pub const ECHO_REPLY: IcmpType = IcmpType(0);
    pub const DESTINATION_UNREACHABLE: IcmpType = IcmpType(3);
    pub const SOURCE_QUENCH: IcmpType = IcmpType(4);
    pub const REDIRECT: IcmpType = IcmpType(5);
    pub const ECHO_REQUEST: IcmpType = IcmpType(8);
    pub const TIME_EXCEEDED: IcmpType = IcmpType(11);
    pub const PARAMETER_PROBLEM: IcmpType = IcmpType(12);

    /// Does the message report on a packet, and quote it (RFC 1122 section 3.2.2)?
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::DESTINATION_UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }

    pub const fn is_echo(self) -> bool {
        matches!(self, Self::ECHO_REQUEST | Self::ECHO_REPLY)
    }
}

/// What joins an echo reply to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Echo {
    pub identifier: u16,
    pub sequence: u16,
}

/// An ICMP message.
#[derive(Clone, Copy, Debug)]
pub struct Icmp<'a> {
    header: &'a [u8; HEADER_LENGTH],
    payload: &'a [u8],
}

impl<'a> Icmp<'a> {
    /// Reads a message from an IP payload. Errors: [`Error::L4HeaderInvalid`] under 8 bytes.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) = bytes.split_first_chunk().ok_or(Error::L4HeaderInvalid)?;
        Ok(Icmp { header, payload })
    }

    pub fn kind(&self) -> IcmpType {
        IcmpType(self.header[0])
    }

    pub fn code(&self) -> u8 {
        self.header[1]
    }

    /// In the order of memory: see [`super::checksum`].
    pub fn checksum(&self) -> u16 {
        u16::from_ne_bytes([self.header[2], self.header[3]])
    }

    pub fn checksum_is_right(&self) -> bool {
        Sum::ZERO.and(self.header).and(self.payload).is_right()
    }

    /// The four bytes whose meaning depends on the type: an error's MTU, pointer or gateway, an echo's identifier and sequence.
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

    /// The bytes that an error quotes, for [`Ipv4::parse_quoted`]; none if it is no error. Extensions (RFC 4884) are not cut off.
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

/// The part of a quoted packet's transport header that RFC 792 promises: 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedTransport(pub [u8; 8]);

impl QuotedTransport {
    /// From the payload of a quoted packet that is no later fragment. Errors: [`Error::L4HeaderInvalid`] under 8 bytes.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        payload.first_chunk().map(|bytes| QuotedTransport(*bytes)).ok_or(Error::L4HeaderInvalid)
    }

    /// Of TCP or UDP.
    pub const fn source_port(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// Of TCP or UDP.
    pub const fn destination_port(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Of an ICMP or ICMPv6 echo.
    pub const fn echo_identifier(&self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }
}

/// An ICMP message to change in place. Every setter keeps the checksum right if it was, and wrong if it was not.
#[derive(Debug)]
pub struct IcmpMut<'a> {
    header: &'a mut [u8; HEADER_LENGTH],
    payload: &'a mut [u8],
}

impl<'a> IcmpMut<'a> {
    /// Errors: as [`Icmp::parse`].
    #[inline]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let (header, payload) = bytes.split_first_chunk_mut().ok_or(Error::L4HeaderInvalid)?;
        Ok(IcmpMut { header, payload })
    }

    pub fn view(&self) -> Icmp<'_> {
        Icmp { header: self.header, payload: self.payload }
    }

    /// Type and code, as when a request becomes its reply.
    pub fn set_kind(&mut self, kind: IcmpType, code: u8) {
        self.replace(0, [kind.0, code]);
    }

    /// Of an echo.
    pub fn set_echo_identifier(&mut self, identifier: u16) {
        self.replace(4, identifier.to_be_bytes());
    }

    /// For a change in the payload.
    pub fn adjust_checksum(&mut self, delta: Delta) {
        let checksum = delta.apply(self.view().checksum());
        self.header[2..4].copy_from_slice(&checksum.to_ne_bytes());
    }

    /// The caller makes up for its changes with [`IcmpMut::adjust_checksum`].
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    fn replace(&mut self, at: usize, new: [u8; 2]) {
        let field = &mut self.header[at..at + 2];
        let delta = Delta::between(field, &new);
        field.copy_from_slice(&new);
        self.adjust_checksum(delta);
    }
}

/// An ICMP header as a value; its checksum follows from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub kind: IcmpType,
    pub code: u8,
    /// See [`Icmp::parameter`].
    pub parameter: [u8; 4],
}

impl Header {
    pub const fn echo(kind: IcmpType, echo: Echo) -> Header {
        let ([a, b], [c, d]) = (echo.identifier.to_be_bytes(), echo.sequence.to_be_bytes());
        Header { kind, code: 0, parameter: [a, b, c, d] }
    }

    /// Writes a message, checksum included, at the start of `buffer`; returns its length. Errors: [`Error::BufferTooSmall`].
    pub fn emit(&self, buffer: &mut [u8], payload: &[u8]) -> Result<usize, Error> {
        let length = HEADER_LENGTH + payload.len();
        let room = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
        let (header, rest) = room.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Error::BufferTooSmall)?;
        let [a, b, c, d] = self.parameter;
        *header = [self.kind.0, self.code, 0, 0, a, b, c, d];
        rest.copy_from_slice(payload);
        let checksum = Sum::ZERO.and(header).and(payload).checksum();
        header[2..4].copy_from_slice(&checksum.to_ne_bytes());
        Ok(length)
    }
}

/// May an ICMP error be sent about this packet, received in a frame to `frame_destination` (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7)?
///
/// Never about an ICMP error or an ICMP message too short to tell, a fragment other than the first, a packet to more than
/// one station (by its MAC or its IP address), or one whose source is no single host. Directed broadcasts look like any
/// address here: their frames give them away on the last link, and an edge forwards none.
pub fn may_generate_error(frame_destination: MacAddr, packet: &Ipv4<'_>) -> bool {
    let to_one = !frame_destination.is_multicast() && is_single_host(packet.destination());
    to_one && is_single_host(packet.source()) && may_be_told(packet)
}

/// The part of it that does not look at addresses: whether the packet is no ICMP error, and no later fragment.
pub fn may_be_told(packet: &Ipv4<'_>) -> bool {
    let quiet = packet.protocol() == Protocol::ICMP
        && Icmp::parse(packet.payload()).map_or(true, |icmp| icmp.kind().is_error());
    packet.fragment_offset() == 0 && !quiet
}

/// Neither "this network" (0/8), loopback, multicast, reserved (240/4) nor broadcast (RFC 1122 section 3.2.1.3, RFC 1112).
fn is_single_host(address: Ipv4Addr) -> bool {
    !matches!(address.octets()[0], 0 | 127 | 224..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::ipv4;

    const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const STATION: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn may(mac: MacAddr, header: ipv4::Header<'_>, payload: &[u8]) -> bool {
        let mut buffer = [0; 128];
        let length = header.emit(&mut buffer, payload.len()).unwrap();
        buffer[length..length + payload.len()].copy_from_slice(payload);
        may_generate_error(mac, &Ipv4::parse(&buffer).unwrap())
    }

    #[test]
    fn errors_are_for_ordinary_packets_only() {
        let other = Ipv4Addr::new(192, 0, 2, 1);
        let udp = ipv4::Header::new(HOST, other, Protocol::UDP);
        let icmp = ipv4::Header { protocol: Protocol::ICMP, ..udp };
        assert!(may(STATION, udp, &[]));
        assert!(may(STATION, icmp, &[8, 0, 0, 0, 0, 0, 0, 0]));
        assert!(may(STATION, ipv4::Header { more_fragments: true, ..udp }, &[]), "the first fragment");
        assert!(!may(STATION, ipv4::Header { fragment_offset: 8, ..udp }, &[]));
        assert!(!may(STATION, icmp, &[8, 0, 0, 0]), "cut short");
        for error in [3, 4, 5, 11, 12] {
            assert!(!may(STATION, icmp, &[error, 0, 0, 0, 0, 0, 0, 0]), "type {error}");
        }
        assert!(!may(MacAddr::BROADCAST, udp, &[]));
        assert!(!may(MacAddr([1, 0, 0x5e, 0, 0, 1]), udp, &[]));
        for nobody in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 255]] {
            assert!(!may(STATION, ipv4::Header { source: nobody.into(), ..udp }, &[]), "from {nobody:?}");
            assert!(!may(STATION, ipv4::Header { destination: nobody.into(), ..udp }, &[]), "to {nobody:?}");
        }
    }
}
