//! IPv4 (RFC 791): header, options, fragments.
//!
//! A view ends where the total length says, so that Ethernet's padding is never taken for payload. `parse` does not verify the
//! checksum, which a device may have done already: ask [`Ipv4::checksum_is_right`].

use super::{
    Error, Protocol, PseudoHeader,
    checksum::{Delta, Sum},
    options::RawOptions,
};
use std::net::Ipv4Addr;

pub mod fragment;

/// Bytes of a header without options.
pub const HEADER_LENGTH: usize = 20;
/// Bytes of options that a header can hold.
pub const MAX_OPTIONS: usize = 40;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// The lengths of a header and of its whole packet, agreeing with each other.
struct Lengths {
    header: usize,
    total: usize,
}

impl Lengths {
    #[inline]
    fn of(header: &[u8; HEADER_LENGTH]) -> Result<Lengths, Error> {
        let length = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || length < HEADER_LENGTH || total < length {
            return Err(Error::Ipv4HeaderInvalid);
        }
        Ok(Lengths { header: length, total })
    }
}

/// An IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a> {
    header: &'a [u8; HEADER_LENGTH],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Reads a packet at the start of `bytes`; what follows its total length is padding and left out.
    ///
    /// Errors: [`Error::Truncated`] if `bytes` end before the total length; [`Error::Ipv4HeaderInvalid`] if version, header
    /// length and total length contradict each other.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let lengths = Lengths::of(header)?;
        let packet = bytes.get(..lengths.total).ok_or(Error::Truncated)?;
        Ipv4::split(packet, lengths.header)
    }

    /// Reads the packet that an ICMP error quotes: it may end anywhere behind its header (RFC 792), and [`Ipv4::payload`] with it.
    ///
    /// Errors: as [`Ipv4::parse`], but for the payload's end.
    #[inline]
    pub fn parse_quoted(bytes: &'a [u8]) -> Result<Self, Error> {
        let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let lengths = Lengths::of(header)?;
        let packet = bytes.get(..lengths.total).unwrap_or(bytes);
        Ipv4::split(packet, lengths.header)
    }

    #[inline]
    fn split(packet: &'a [u8], header_length: usize) -> Result<Self, Error> {
        let (header, payload) = packet.split_at_checked(header_length).ok_or(Error::Truncated)?;
        let (header, options) = header.split_first_chunk().ok_or(Error::Truncated)?;
        Ok(Ipv4 { header, options, payload })
    }

    pub fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    pub fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    pub fn protocol(&self) -> Protocol {
        Protocol(self.header[9])
    }

    /// Hops left, 0 to 255.
    pub fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// Differentiated services code point, 0 to 63 (RFC 2474 section 3).
    pub fn dscp(&self) -> u8 {
        self.header[1] >> 2
    }

    /// Explicit congestion notification, 0 to 3 (RFC 3168 section 5).
    pub fn ecn(&self) -> u8 {
        self.header[1] & 3
    }

    /// Bytes of the header, options included: 20 to 60.
    pub fn header_length(&self) -> usize {
        HEADER_LENGTH + self.options.len()
    }

    /// Bytes of the whole packet as its header says: the view's own length, but for a quoted packet.
    pub fn total_length(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    pub fn identification(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    fn flags_and_offset(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    pub fn dont_fragment(&self) -> bool {
        self.flags_and_offset() & DONT_FRAGMENT != 0
    }

    pub fn more_fragments(&self) -> bool {
        self.flags_and_offset() & MORE_FRAGMENTS != 0
    }

    /// Where this fragment's payload stands in the whole one, in bytes: 0 to 65,528, a multiple of 8.
    pub fn fragment_offset(&self) -> u16 {
        (self.flags_and_offset() & OFFSET) * 8
    }

    /// Is this a part of a packet, first or not? A part that is not first has no transport header.
    pub fn is_fragment(&self) -> bool {
        self.flags_and_offset() & (MORE_FRAGMENTS | OFFSET) != 0
    }

    /// In the order of memory: see [`super::checksum`].
    pub fn checksum(&self) -> u16 {
        u16::from_ne_bytes([self.header[10], self.header[11]])
    }

    /// Does the header sum up (RFC 1812 section 5.2.2)?
    pub fn checksum_is_right(&self) -> bool {
        Sum::ZERO.and(self.header).and(self.options).is_right()
    }

    pub fn options(&self) -> Options<'a> {
        Options(RawOptions::new(self.options))
    }

    /// Does the packet ask to be routed by a list of its own (RFC 7126 sections 4.3 and 4.4)? A malformed option list ends the search.
    pub fn has_source_route(&self) -> bool {
        self.options().flatten().any(|option| option.is_source_route())
    }

    /// The payload, without Ethernet's padding.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    pub fn pseudo_header(&self) -> PseudoHeader {
        PseudoHeader::V4 { source: self.source(), destination: self.destination() }
    }

    pub fn header(&self) -> Header<'a> {
        Header {
            dscp: self.dscp(),
            ecn: self.ecn(),
            identification: self.identification(),
            dont_fragment: self.dont_fragment(),
            more_fragments: self.more_fragments(),
            fragment_offset: self.fragment_offset(),
            ttl: self.ttl(),
            protocol: self.protocol(),
            source: self.source(),
            destination: self.destination(),
            options: self.options,
        }
    }

    /// Copies the packet, header first, as far as `buffer` has room; returns how many bytes.
    pub fn copy_to(&self, buffer: &mut [u8]) -> usize {
        let mut at = 0;
        for part in [self.header, self.options, self.payload] {
            let room = &mut buffer[at..];
            let length = part.len().min(room.len());
            room[..length].copy_from_slice(&part[..length]);
            at += length;
        }
        at
    }
}

/// An option of the header, its kind with its copy and class bits (RFC 791 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Option<'a> {
    pub kind: u8,
    pub data: &'a [u8],
}

impl Ipv4Option<'_> {
    /// Loose source and record route.
    pub const LSRR: u8 = 131;
    /// Strict source and record route.
    pub const SSRR: u8 = 137;

    pub const fn is_source_route(&self) -> bool {
        matches!(self.kind, Self::LSRR | Self::SSRR)
    }
}

/// The options of a header, padding left out. A malformed one is an error and the last item.
#[derive(Clone, Debug)]
pub struct Options<'a>(RawOptions<'a>);

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ipv4Option<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let option = self.0.next()?;
        Some(option.map(|o| Ipv4Option { kind: o.kind, data: o.data }).map_err(|_| Error::Ipv4HeaderInvalid))
    }
}

/// An IPv4 packet to change in place. Every setter keeps the header's checksum right if it was, and wrong if it was not.
#[derive(Debug)]
pub struct Ipv4Mut<'a> {
    header: &'a mut [u8; HEADER_LENGTH],
    options: &'a mut [u8],
    payload: &'a mut [u8],
}

impl<'a> Ipv4Mut<'a> {
    /// Errors: as [`Ipv4::parse`].
    #[inline]
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let lengths = Lengths::of(header)?;
        let packet = bytes.get_mut(..lengths.total).ok_or(Error::Truncated)?;
        Ipv4Mut::split(packet, lengths.header)
    }

    /// Errors: as [`Ipv4::parse_quoted`].
    pub fn parse_quoted(bytes: &'a mut [u8]) -> Result<Self, Error> {
        let header: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let lengths = Lengths::of(header)?;
        let end = lengths.total.min(bytes.len());
        Ipv4Mut::split(&mut bytes[..end], lengths.header)
    }

    #[inline]
    fn split(packet: &'a mut [u8], header_length: usize) -> Result<Self, Error> {
        let (header, payload) = packet.split_at_mut_checked(header_length).ok_or(Error::Truncated)?;
        let (header, options) = header.split_first_chunk_mut().ok_or(Error::Truncated)?;
        Ok(Ipv4Mut { header, options, payload })
    }

    pub fn view(&self) -> Ipv4<'_> {
        Ipv4 { header: self.header, options: self.options, payload: self.payload }
    }

    pub fn set_source(&mut self, address: Ipv4Addr) {
        self.replace(12, address.octets());
    }

    pub fn set_destination(&mut self, address: Ipv4Addr) {
        self.replace(16, address.octets());
    }

    pub fn set_identification(&mut self, identification: u16) {
        self.replace(4, identification.to_be_bytes());
    }

    /// One hop less; false, and nothing changed, if none is left to take (RFC 1812 section 5.3.1).
    #[must_use]
    pub fn decrement_ttl(&mut self) -> bool {
        let Some(ttl) = self.header[8].checked_sub(1) else { return false };
        self.header[8] = ttl;
        self.set_checksum(Delta::TTL_DECREMENT.apply(self.view().checksum()));
        true
    }

    /// In the order of memory: see [`super::checksum`].
    pub fn set_checksum(&mut self, checksum: u16) {
        self.header[10..12].copy_from_slice(&checksum.to_ne_bytes());
    }

    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.payload
    }

    fn replace<const N: usize>(&mut self, at: usize, new: [u8; N]) {
        let field = &mut self.header[at..at + N];
        let delta = Delta::between(field, &new);
        field.copy_from_slice(&new);
        self.set_checksum(delta.apply(self.view().checksum()));
    }
}

/// An IPv4 header as a value; its lengths and checksum follow from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header<'a> {
    /// 0 to 63.
    pub dscp: u8,
    /// 0 to 3.
    pub ecn: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In bytes; the lowest three bits are not written.
    pub fragment_offset: u16,
    pub ttl: u8,
    pub protocol: Protocol,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// Whole 32-bit words, at most 40 bytes.
    pub options: &'a [u8],
}

impl Header<'_> {
    /// A whole packet with 64 hops to live (RFC 1700), no options, don't fragment set.
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol) -> Header<'static> {
        Header {
            dscp: 0,
            ecn: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            source,
            destination,
            options: &[],
        }
    }

    /// Bytes: 20 to 60.
    pub fn length(&self) -> usize {
        HEADER_LENGTH + self.options.len()
    }

    /// Writes the header of a packet with `payload_length` bytes of payload at the start of `buffer`; returns the header's length.
    ///
    /// Errors: [`Error::BufferTooSmall`] (the payload is not counted), [`Error::TooLong`] over 65,535 bytes, [`Error::OptionsLength`].
    pub fn emit(&self, buffer: &mut [u8], payload_length: usize) -> Result<usize, Error> {
        let length = self.length();
        if self.options.len() > MAX_OPTIONS || !self.options.len().is_multiple_of(4) {
            return Err(Error::OptionsLength);
        }
        let total = u16::try_from(length.saturating_add(payload_length)).map_err(|_| Error::TooLong)?;
        let room = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
        let (header, options) = room.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Error::BufferTooSmall)?;
        header[0] = 0x40 | (length / 4) as u8;
        header[1] = self.dscp << 2 | self.ecn & 3;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[4..6].copy_from_slice(&self.identification.to_be_bytes());
        header[6..8].copy_from_slice(&self.flags_and_offset().to_be_bytes());
        header[8] = self.ttl;
        header[9] = self.protocol.0;
        header[10..12].fill(0);
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..20].copy_from_slice(&self.destination.octets());
        options.copy_from_slice(self.options);
        let checksum = Sum::ZERO.and(header).and(options).checksum();
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        Ok(length)
    }

    fn flags_and_offset(&self) -> u16 {
        let dont = if self.dont_fragment { DONT_FRAGMENT } else { 0 };
        let more = if self.more_fragments { MORE_FRAGMENTS } else { 0 };
        dont | more | (self.fragment_offset / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet that is nothing but its header.
    const PACKET: [u8; 20] = [
        0x45, 0x00, 0x00, 0x14, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0xc0, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7,
    ];

    #[test]
    fn a_known_header_reads_and_verifies() {
        let packet = Ipv4::parse(&PACKET).unwrap();
        assert!(packet.checksum_is_right());
        assert_eq!(packet.source(), Ipv4Addr::new(192, 168, 0, 1));
        assert_eq!(packet.destination(), Ipv4Addr::new(192, 168, 0, 199));
        assert!(packet.dont_fragment() && !packet.is_fragment());
    }

    #[test]
    fn contradictions_are_refused() {
        for (at, value) in [(0, 0x65), (0, 0x44), (3, 19), (0, 0x46)] {
            let mut packet = PACKET;
            packet[at] = value;
            assert_eq!(Ipv4::parse(&packet).err(), Some(Error::Ipv4HeaderInvalid), "byte {at} = {value:#x}");
        }
        let mut packet = PACKET;
        packet[3] = 21;
        assert_eq!(Ipv4::parse(&packet).err(), Some(Error::Truncated));
        assert!(Ipv4::parse_quoted(&packet).is_ok());
    }

    #[test]
    fn source_routes_are_seen_behind_padding_and_other_options() {
        let mut header = Header::new(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), Protocol::UDP);
        for (options, expected) in [
            (&[1, 131, 3, 4][..], true),
            (&[148, 4, 0, 0, 137, 3, 4, 0], true),
            (&[148, 4, 131, 137], false),
            (&[0, 131, 3, 4], false),
        ] {
            header.options = options;
            let mut buffer = [0; 60];
            let length = header.emit(&mut buffer, 0).unwrap();
            let packet = Ipv4::parse(&buffer[..length]).unwrap();
            assert_eq!(packet.has_source_route(), expected, "{options:?}");
        }
    }

    #[test]
    fn a_ttl_of_zero_stays() {
        let mut packet = PACKET;
        packet[8] = 1;
        let mut view = Ipv4Mut::parse(&mut packet).unwrap();
        assert!(view.decrement_ttl());
        assert!(!view.decrement_ttl());
        assert_eq!(view.view().ttl(), 0);
    }
}
