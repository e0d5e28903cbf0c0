//! Ethernet II (IEEE 802.3 clause 3): addresses, types and the 14-byte header. Tags are [`super::vlan`]'s.

use super::Error;
use std::{fmt, str::FromStr};

/// A 48-bit MAC address, in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// No station: the unknown target of an ARP request.
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// Is this the address of all stations?
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// The group bit: multicast, and broadcast too.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// May a station have this address: neither a group's nor zero?
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// The group address to which frames for an IPv6 multicast address go (RFC 2464 section 7).
    pub const fn for_ipv6_multicast(group: std::net::Ipv6Addr) -> MacAddr {
        let [.., a, b, c, d] = group.octets();
        MacAddr([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is no MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a MAC address is six two-digit hexadecimal bytes with colons between them, such as 02:00:5e:00:53:01"
)]
pub struct MacAddrSyntax;

impl FromStr for MacAddr {
    type Err = MacAddrSyntax;

    /// Six two-digit hexadecimal bytes with a colon, or all with a hyphen, between them.
    fn from_str(text: &str) -> Result<MacAddr, MacAddrSyntax> {
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut address = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut address {
            let digits = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|d| d.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(digits.ok_or(MacAddrSyntax)?, 16).map_err(|_| MacAddrSyntax)?;
        }
        parts.next().map_or(Ok(MacAddr(address)), |_| Err(MacAddrSyntax))
    }
}

/// What a frame carries. Below 0x0600 it is not a type but an IEEE 802.3 length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP (RFC 826).
    pub const ARP: EtherType = EtherType(0x0806);
    /// A customer's VLAN tag (IEEE 802.1Q).
    pub const VLAN: EtherType = EtherType(0x8100);
    /// IPv6 (RFC 2464).
    pub const IPV6: EtherType = EtherType(0x86dd);
    /// The Customer Edge Traversal Protocol: the first number for local experiments (IEEE 802 clause 9.2.3), by whose side none is
    /// assigned.
    pub const CETP: EtherType = EtherType(0x88b5);
    /// A provider's VLAN tag (IEEE 802.1ad).
    pub const QINQ: EtherType = EtherType(0x88a8);
}

/// An Ethernet header and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a> {
    header: &'a [u8; HEADER_LENGTH],
    payload: &'a [u8],
}

/// Bytes of an untagged header.
pub const HEADER_LENGTH: usize = 14;

impl<'a> Ethernet<'a> {
    /// Errors: [`Error::Truncated`] under 14 bytes.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Result<Self, Error> {
        let (header, payload) = frame.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Ethernet { header, payload })
    }

    pub fn destination(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = *self.header;
        MacAddr([a, b, c, d, e, f])
    }

    pub fn source(&self) -> MacAddr {
        let [_, _, _, _, _, _, a, b, c, d, e, f, ..] = *self.header;
        MacAddr([a, b, c, d, e, f])
    }

    /// The outermost type: a tag's, if there is one.
    pub fn ether_type(&self) -> EtherType {
        EtherType(u16::from_be_bytes([self.header[12], self.header[13]]))
    }

    /// All that follows the header, padding too.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub fn header(&self) -> Header {
        Header { destination: self.destination(), source: self.source(), ether_type: self.ether_type() }
    }
}

/// An Ethernet header to change in place.
#[derive(Debug)]
pub struct EthernetMut<'a> {
    header: &'a mut [u8; HEADER_LENGTH],
    payload: &'a mut [u8],
}

impl<'a> EthernetMut<'a> {
    /// Errors: as [`Ethernet::parse`].
    #[inline]
    pub fn parse(frame: &'a mut [u8]) -> Result<Self, Error> {
        let (header, payload) = frame.split_first_chunk_mut().ok_or(Error::Truncated)?;
        Ok(EthernetMut { header, payload })
    }

    pub fn view(&self) -> Ethernet<'_> {
        Ethernet { header: self.header, payload: self.payload }
    }

    pub fn set_destination(&mut self, address: MacAddr) {
        self.header[0..6].copy_from_slice(&address.0);
    }

    pub fn set_source(&mut self, address: MacAddr) {
        self.header[6..12].copy_from_slice(&address.0);
    }

    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }
}

/// An Ethernet header as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub destination: MacAddr,
    pub source: MacAddr,
    pub ether_type: EtherType,
}

impl Header {
    /// Writes the header at the start of `buffer`; returns its length. Errors: [`Error::BufferTooSmall`].
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let header: &mut [u8; HEADER_LENGTH] = buffer.first_chunk_mut().ok_or(Error::BufferTooSmall)?;
        header[0..6].copy_from_slice(&self.destination.0);
        header[6..12].copy_from_slice(&self.source.0);
        header[12..14].copy_from_slice(&self.ether_type.0.to_be_bytes());
        Ok(HEADER_LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_read_as_written() {
        let address = MacAddr([0x02, 0, 0x5e, 0, 0x53, 0xab]);
        assert_eq!(address.to_string(), "02:00:5e:00:53:ab");
        assert_eq!("02:00:5E:00:53:AB".parse(), Ok(address));
        assert_eq!("02-00-5e-00-53-ab".parse(), Ok(address));
        for wrong in [
            "",
            "02:00:5e:00:53",
            "02:00:5e:00:53:ab:",
            "02:00:5e:00:53:abc",
            "2:0:5e:0:53:ab",
            "+2:00:5e:00:53:ab",
        ] {
            assert_eq!(wrong.parse::<MacAddr>(), Err(MacAddrSyntax), "{wrong}");
        }
    }

    #[test]
    fn groups_and_stations() {
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
        assert!(!MacAddr::ZERO.is_unicast() && !MacAddr::ZERO.is_multicast());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_unicast());
        let group = MacAddr::for_ipv6_multicast("ff02::1:ff00:9".parse().unwrap());
        assert_eq!(group.to_string(), "33:33:ff:00:00:09");
    }
}
