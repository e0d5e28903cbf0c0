//! IPv6 (RFC 8200): header and extension headers.
//!
//! Guaranteed: the walk over extension headers is bounded, and never looks behind the header of a fragment that is not the first.
//! Jumbograms (RFC 2675) are not read: a payload length of zero is an empty payload.

use super::{Error, Protocol, PseudoHeader};
use std::net::Ipv6Addr;

/// Bytes of a header.
pub const HEADER_LENGTH: usize = 40;
/// How many extension headers are walked; RFC 8504 section 5.3 lets a node limit them, and 8 is what it suggests.
pub const MAX_EXTENSIONS: usize = 8;

/// An IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    header: &'a [u8; HEADER_LENGTH],
    payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// Reads a packet at the start of `bytes`; what follows its payload length is padding and left out.
    ///
    /// Errors: [`Error::Truncated`], [`Error::Ipv6HeaderInvalid`] if the version is not 6.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let quoted = Ipv6::parse_quoted(bytes)?;
        if quoted.payload.len() < usize::from(quoted.payload_length()) {
            return Err(Error::Truncated);
        }
        Ok(quoted)
    }

    /// Reads the packet that an ICMPv6 error quotes: it may end anywhere behind its header (RFC 4443 section 2.4(c)).
    ///
    /// Errors: as [`Ipv6::parse`], but for the payload's end.
    #[inline]
    pub fn parse_quoted(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LENGTH>().ok_or(Error::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(Error::Ipv6HeaderInvalid);
        }
        let announced = usize::from(u16::from_be_bytes([header[4], header[5]]));
        Ok(Ipv6 { header, payload: rest.get(..announced).unwrap_or(rest) })
    }

    pub fn source(&self) -> Ipv6Addr {
        self.address(8)
    }

    pub fn destination(&self) -> Ipv6Addr {
        self.address(24)
    }

    #[inline(always)]
    fn address(&self, at: usize) -> Ipv6Addr {
        Ipv6Addr::from_octets(std::array::from_fn(|i| self.header[at + i]))
    }

    /// DSCP (6 bits) and ECN (2 bits).
    pub fn traffic_class(&self) -> u8 {
        self.header[0] << 4 | self.header[1] >> 4
    }

    /// 20 bits (RFC 6437).
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header[1] & 0x0f, self.header[2], self.header[3]])
    }

    /// Bytes behind this header as it says: the view's own, but for a quoted packet.
    pub fn payload_length(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// What follows this header: an extension header or the transport. See [`Ipv6::upper`].
    pub fn next_header(&self) -> Protocol {
        Protocol(self.header[6])
    }

    pub fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// All that follows this header, extension headers too.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Copies the packet, header first, as far as `buffer` has room; returns how many bytes.
    pub fn copy_to(&self, buffer: &mut [u8]) -> usize {
        let mut at = 0;
        for part in [&self.header[..], self.payload] {
            let room = &mut buffer[at..];
            let length = part.len().min(room.len());
            room[..length].copy_from_slice(&part[..length]);
            at += length;
        }
        at
    }

    pub fn pseudo_header(&self) -> PseudoHeader {
        PseudoHeader::V6 { source: self.source(), destination: self.destination() }
    }

    /// Walks the extension headers to what they lead to.
    ///
    /// Errors: [`Error::Truncated`] if the packet ends in one; [`Error::Ipv6HeaderInvalid`] for more than [`MAX_EXTENSIONS`],
    /// or hop-by-hop options that are not first (RFC 8200 section 4).
    pub fn upper(&self) -> Result<Upper<'a>, Error> {
        let mut upper = Upper {
            protocol: self.next_header(),
            offset: HEADER_LENGTH,
            fragment: None,
            has_routing: false,
            has_source_route: false,
            protection: None,
            payload: self.payload,
        };
        for _ in 0..MAX_EXTENSIONS {
            if !upper.step()? {
                return Ok(upper);
            }
        }
        if upper.is_extension() { Err(Error::Ipv6HeaderInvalid) } else { Ok(upper) }
    }

    pub fn header(&self) -> Header {
        Header {
            traffic_class: self.traffic_class(),
            flow_label: self.flow_label(),
            next_header: self.next_header(),
            hop_limit: self.hop_limit(),
            source: self.source(),
            destination: self.destination(),
        }
    }
}

/// A fragment header's content (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    pub identification: u32,
    /// Where this part stands in the whole, in bytes: a multiple of 8.
    pub offset: u16,
    pub more: bool,
}

/// What the extension headers lead to.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// The first that is no extension header. In a fragment that is not the first, it is what the fragment header
    /// names, and the payload holds the middle of it: perhaps an extension header that only the first fragment shows.
    pub protocol: Protocol,
    /// Where the payload begins, counted from the IPv6 header.
    pub offset: usize,
    /// The fragment header, if one was met. With offset 0 and nothing more to come it is "atomic" (RFC 6946): a whole packet.
    pub fragment: Option<Fragment>,
    /// A routing header was met.
    pub has_routing: bool,
    /// One of them asks to be routed by a list of its own: type 0, which is never obeyed (RFC 5095), or any other that has
    /// segments left, but for type 2, whose only segment is the receiver's own home address (RFC 6275 section 6.4).
    pub has_source_route: bool,
    /// AH or HIP, the first of them that was met: extension headers that are also protocols between two hosts.
    pub protection: Option<Protocol>,
    pub payload: &'a [u8],
}

impl Upper<'_> {
    /// Is there no transport header at the payload's start?
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    fn is_extension(&self) -> bool {
        use Protocol as P;
        let known = matches!(
            self.protocol,
            P::HOP_BY_HOP
                | P::ROUTING
                | P::FRAGMENT
                | P::AH
                | P::DESTINATION_OPTIONS
                | P::MOBILITY
                | P::HIP
                | P::SHIM6
        );
        known && !self.is_later_fragment()
    }

    /// Steps over one extension header; false if there is none.
    fn step(&mut self) -> Result<bool, Error> {
        if !self.is_extension() {
            return Ok(false);
        }
        let header: &[u8; 8] = self.payload.first_chunk().ok_or(Error::Truncated)?;
        let length = match self.protocol {
            Protocol::HOP_BY_HOP if self.offset != HEADER_LENGTH => return Err(Error::Ipv6HeaderInvalid),
            Protocol::FRAGMENT => {
                self.fragment = Some(Fragment {
                    identification: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                    offset: u16::from_be_bytes([header[2], header[3]]) & 0xfff8,
                    more: header[3] & 1 != 0,
                });
                8
            }
            // AH counts in words of 4 bytes, less 2 of them (RFC 4302 section 2.2); all others in words of 8, less 1.
            Protocol::AH => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        match self.protocol {
            Protocol::ROUTING => {
                let (kind, segments_left) = (header[2], header[3]);
                self.has_routing = true;
                self.has_source_route |= kind == 0 || kind != 2 && segments_left > 0;
            }
            Protocol::AH | Protocol::HIP => self.protection = self.protection.or(Some(self.protocol)),
            _ => {}
        }
        self.payload = self.payload.get(length..).ok_or(Error::Truncated)?;
        self.offset += length;
        self.protocol = Protocol(header[0]);
        Ok(true)
    }
}

/// May a packet from this address be forwarded, by any router (RFC 4291 sections 2.5 and 2.7, RFC 3879 section 4)? Not the
/// unspecified address, loopback, multicast, link-local, site-local, IPv4-mapped and IPv4-compatible ones.
pub const fn is_forwardable_source(address: Ipv6Addr) -> bool {
    is_unicast_beyond_a_link(address)
}

/// May a packet to this address be forwarded? The same addresses may not as [`is_forwardable_source`] names: there is no
/// forwarding of multicast here.
pub const fn is_forwardable_destination(address: Ipv6Addr) -> bool {
    is_unicast_beyond_a_link(address)
}

const fn is_unicast_beyond_a_link(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let is_multicast = bits >> 120 == 0xff;
    // fe80::/10 and fec0::/10 together.
    let is_local = bits >> 119 == 0xfe80 >> 7;
    // ::/96 (with :: and ::1) and ::ffff:0:0/96.
    let is_ipv4 = matches!(bits >> 32, 0 | 0xffff);
    !is_multicast && !is_local && !is_ipv4
}

/// An IPv6 header as a value; its payload length follows from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub traffic_class: u8,
    /// 20 bits; the upper ones are not written.
    pub flow_label: u32,
    pub next_header: Protocol,
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
}

impl Header {
    /// With 64 hops to live.
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr, next_header: Protocol) -> Header {
        Header { traffic_class: 0, flow_label: 0, next_header, hop_limit: 64, source, destination }
    }

    /// Writes the header of a packet with `payload_length` bytes behind it at the start of `buffer`; returns its length, 40.
    ///
    /// Errors: [`Error::BufferTooSmall`] (the payload is not counted), [`Error::TooLong`] over 65,535 bytes.
    pub fn emit(&self, buffer: &mut [u8], payload_length: usize) -> Result<usize, Error> {
        let payload_length = u16::try_from(payload_length).map_err(|_| Error::TooLong)?;
        let header: &mut [u8; HEADER_LENGTH] = buffer.first_chunk_mut().ok_or(Error::BufferTooSmall)?;
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        header[0..4].copy_from_slice(&first.to_be_bytes());
        header[4..6].copy_from_slice(&payload_length.to_be_bytes());
        header[6] = self.next_header.0;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..40].copy_from_slice(&self.destination.octets());
        Ok(HEADER_LENGTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(next_header: Protocol, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LENGTH];
        let header = Header::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap(), next_header);
        header.emit(&mut bytes, payload.len()).unwrap();
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn walks_to_the_transport() {
        let mut chain = vec![60, 0, 0, 0, 0, 0, 0, 0]; // hop-by-hop options, then destination options
        chain.extend([51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // of 16 bytes, then AH
        chain.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // of 12 bytes, then a fragment header
        chain.extend([17, 0, 0, 1, 0, 0, 0x12, 0x34, 0xaa]); // the first fragment, then UDP
        let bytes = packet(Protocol::HOP_BY_HOP, &chain);
        let upper = Ipv6::parse(&bytes).unwrap().upper().unwrap();
        assert_eq!((upper.protocol, upper.offset, upper.payload), (Protocol::UDP, 40 + 44, &[0xaa][..]));
        assert_eq!(upper.fragment, Some(Fragment { identification: 0x1234, offset: 0, more: true }));
    }

    #[test]
    fn source_routes_and_protection_are_seen() {
        for (kind, left, expected) in
            [(0, 0, true), (0, 1, true), (2, 1, false), (3, 0, false), (4, 0, false), (4, 2, true)]
        {
            let bytes = packet(Protocol::ROUTING, &[51, 0, kind, left, 0, 0, 0, 0, 59, 0, 0, 0, 0, 0, 0, 0]);
            let upper = Ipv6::parse(&bytes).unwrap().upper().unwrap();
            assert_eq!(upper.has_source_route, expected, "type {kind}, {left} segments left");
            assert_eq!((upper.has_routing, upper.protection), (true, Some(Protocol::AH)));
        }
        let bytes = packet(Protocol::HIP, &[59, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Ipv6::parse(&bytes).unwrap().upper().unwrap().protection, Some(Protocol::HIP));
    }

    #[test]
    fn addresses_that_no_router_forwards() {
        for address in [
            "::",
            "::1",
            "::192.0.2.1",
            "::ffff:192.0.2.1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "ff0e::1",
        ] {
            let address = address.parse().unwrap();
            assert!(!is_forwardable_source(address) && !is_forwardable_destination(address), "{address}");
        }
        for address in ["2001:db8::1", "fd00::1", "fdff::1", "fe00::1", "64:ff9b::192.0.2.1", "0:0:1::"] {
            let address = address.parse().unwrap();
            assert!(is_forwardable_source(address) && is_forwardable_destination(address), "{address}");
        }
    }

    #[test]
    fn stops_at_a_later_fragment() {
        let bytes = packet(Protocol::FRAGMENT, &[60, 0, 0, 8, 0, 0, 0, 1, 60, 255, 255]);
        let upper = Ipv6::parse(&bytes).unwrap().upper().unwrap();
        assert!(upper.is_later_fragment());
        assert_eq!((upper.protocol, upper.offset), (Protocol::DESTINATION_OPTIONS, 48));
    }

    #[test]
    fn is_bounded_and_strict() {
        let eight = [[60, 0, 0, 0, 0, 0, 0, 0]; MAX_EXTENSIONS].concat();
        let mut last = eight.clone();
        last[8 * (MAX_EXTENSIONS - 1)] = 6;
        let upper = |payload: &[u8]| {
            let bytes = packet(Protocol::DESTINATION_OPTIONS, payload);
            Ipv6::parse(&bytes).unwrap().upper().map(|upper| upper.protocol)
        };
        assert_eq!(upper(&last), Ok(Protocol::TCP));
        assert_eq!(upper(&eight), Err(Error::Ipv6HeaderInvalid));
        assert_eq!(upper(&[0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]), Err(Error::Ipv6HeaderInvalid));
        assert_eq!(upper(&[6, 1, 0, 0, 0, 0, 0, 0]), Err(Error::Truncated));
    }
}
