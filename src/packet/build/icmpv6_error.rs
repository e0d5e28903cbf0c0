//! The ICMPv6 errors that the edge sends (RFC 4443 section 3).
//!
//! Guaranteed: no longer than the IPv6 minimum MTU, whatever they quote. Whether one may be sent is
//! [`icmpv6::may_generate_error`]'s to say, and how many a second the caller's.

use super::{CLASS_SELECTOR_6, Ip, Path, Transport, frame};
use crate::packet::{Error, Icmpv6Type, Ipv6, Protocol, icmpv6, ipv6};
use std::net::Ipv6Addr;

/// The minimum MTU of IPv6 (RFC 8200 section 5): no path is asked to take less, and no error is longer.
pub const MAX_ERROR_PACKET_V6: usize = 1280;
const MAX_QUOTE: usize = MAX_ERROR_PACKET_V6 - ipv6::HEADER_LENGTH - icmpv6::HEADER_LENGTH;

/// An error about a packet that the edge did not forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Icmpv6Error {
    /// Hop limit reached zero in transit.
    TimeExceeded,
    NoRoute,
    /// Refused by a rule; to an unsolicited TCP SYN too (RFC 6092 REC-34).
    AdminProhibited,
    /// The next hop did not answer.
    AddressUnreachable,
    PortUnreachable,
    /// The source failed an ingress or egress policy.
    PolicyFailed,
    /// The route rejects.
    RejectRoute,
    /// Larger than `mtu` bytes; under 1280 it says 1280, for a receiver disregards less (RFC 8201 section 4).
    PacketTooBig {
        mtu: u32,
    },
    /// The next header whose number stands `pointer` bytes into the packet is not known here.
    UnrecognizedNextHeader {
        pointer: u32,
    },
}

impl Icmpv6Error {
    /// The ICMPv6 header that says so.
    pub const fn header(self) -> icmpv6::Header {
        use Icmpv6Type as T;
        let (kind, code, parameter) = match self {
            Icmpv6Error::NoRoute => (T::DESTINATION_UNREACHABLE, 0, 0),
            Icmpv6Error::AdminProhibited => (T::DESTINATION_UNREACHABLE, 1, 0),
            Icmpv6Error::AddressUnreachable => (T::DESTINATION_UNREACHABLE, 3, 0),
            Icmpv6Error::PortUnreachable => (T::DESTINATION_UNREACHABLE, 4, 0),
            Icmpv6Error::PolicyFailed => (T::DESTINATION_UNREACHABLE, 5, 0),
            Icmpv6Error::RejectRoute => (T::DESTINATION_UNREACHABLE, 6, 0),
            Icmpv6Error::PacketTooBig { mtu } => {
                let least = MAX_ERROR_PACKET_V6 as u32;
                (T::PACKET_TOO_BIG, 0, if mtu < least { least } else { mtu })
            }
            Icmpv6Error::TimeExceeded => (T::TIME_EXCEEDED, 0, 0),
            Icmpv6Error::UnrecognizedNextHeader { pointer } => (T::PARAMETER_PROBLEM, 1, pointer),
        };
        icmpv6::Header { kind, code, parameter: parameter.to_be_bytes() }
    }
}

/// Writes an ICMPv6 error about `packet`, quoting as much of it as 1280 bytes hold (RFC 4443 section 2.4 (c)), to its sender
/// from the edge's address `source`; returns the frame's length. Errors: [`Error::BufferTooSmall`].
pub fn icmpv6_error(
    buffer: &mut [u8],
    path: &Path,
    source: Ipv6Addr,
    error: Icmpv6Error,
    packet: &Ipv6<'_>,
) -> Result<usize, Error> {
    let header = ipv6::Header {
        traffic_class: CLASS_SELECTOR_6 << 2,
        ..ipv6::Header::new(source, packet.source(), Protocol::ICMPV6)
    };
    let mut quote = [0; MAX_QUOTE];
    let length = packet.copy_to(&mut quote);
    frame(buffer, path, &Ip::V6(header), &Transport::Icmpv6(error.header(), &quote[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Icmpv6, Link, MacAddr};

    #[test]
    fn types_and_codes_are_those_of_rfc_4443() {
        use Icmpv6Error::*;
        for (error, kind, code, parameter) in [
            (NoRoute, 1, 0, 0),
            (AdminProhibited, 1, 1, 0),
            (AddressUnreachable, 1, 3, 0),
            (PortUnreachable, 1, 4, 0),
            (PolicyFailed, 1, 5, 0),
            (RejectRoute, 1, 6, 0),
            (PacketTooBig { mtu: 1400 }, 2, 0, 1400),
            (PacketTooBig { mtu: 68 }, 2, 0, 1280),
            (TimeExceeded, 3, 0, 0),
            (UnrecognizedNextHeader { pointer: 40 }, 4, 1, 40),
        ] {
            let header = error.header();
            assert_eq!(
                (header.kind.0, header.code, u32::from_be_bytes(header.parameter)),
                (kind, code, parameter)
            );
        }
    }

    #[test]
    fn quotes_as_much_as_the_minimum_mtu_holds() {
        let (edge, host) = ("2001:db8::1".parse().unwrap(), "2001:db8:1::2".parse().unwrap());
        let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
        for payload in [0, 1, 1191, 1192, 1193, 1460, 8960] {
            let mut bytes = vec![0xa5; ipv6::HEADER_LENGTH + payload];
            ipv6::Header::new(host, "2001:db8:2::3".parse().unwrap(), Protocol::UDP)
                .emit(&mut bytes, payload)
                .unwrap();
            let packet = Ipv6::parse(&bytes).unwrap();
            let mut buffer = [0; 1500];
            let length = icmpv6_error(&mut buffer, &path, edge, Icmpv6Error::TimeExceeded, &packet).unwrap();
            assert!(length <= 14 + MAX_ERROR_PACKET_V6);
            let link = Link::parse(&buffer[..length]).unwrap();
            let error = Ipv6::parse(link.payload).unwrap();
            assert_eq!((error.source(), error.destination()), (edge, host));
            let icmp = Icmpv6::parse(error.payload()).unwrap();
            assert!(icmp.checksum_is_right(&error.pseudo_header()));
            assert_eq!(icmp.quoted().unwrap(), &bytes[..bytes.len().min(MAX_QUOTE)]);
            let mut small = [0; 60];
            let refused = icmpv6_error(&mut small, &path, edge, Icmpv6Error::NoRoute, &packet);
            assert_eq!(refused, Err(Error::BufferTooSmall));
        }
    }
}
