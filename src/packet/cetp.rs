//! The payload TLV of the Customer Edge Traversal Protocol: a packet of a host on its way between two edges, in short form.
//!
//! No seed says how it looks (S0: "a shorter form, carrying a compressed IP packet or a whole Ethernet frame"); this is its
//! specification. It follows a UDP header over IPv4 or IPv6, or an Ethernet header of [`EtherType::CETP`](super::EtherType::CETP).
//! All numbers are in network order.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-----+---+-+-+---------------+-------------------------------+
//! |1| ver |kd |N|0|   key epoch   |            length             |
//! +-+-----+---+-+-+---------------+-------------------------------+
//! |                              SST                              |
//! +---------------------------------------------------------------+
//! |                              DST                              |
//! +---------------------------------------------------------------+
//! |  worker (N)   |                                               |
//! +---------------+            sequence number (N)                |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |   what is compressed, by kind ...
//! ```
//!
//! - The first bit tells a payload from a message, which has 0 there. `ver`: [`VERSION`]. `kd`: 1 an IPv4 packet, 2 an IPv6 packet,
//!   3 a whole Ethernet frame; 0 is none. The last bit is 0.
//! - `key epoch` counts the keys of the association; 0 where packets go in the clear.
//! - `length`: bytes of all of this, from the first on. What follows it is padding (Ethernet fills frames up to 60 bytes).
//! - SST is the tag that the sender's edge gave the session, DST that of the receiver's: never 0.
//! - N: the packet has a number. Each worker of a sender counts its own packets of an epoch, from 0 on: so no two packets of a key
//!   have the same worker and number (the nonce of an AEAD, RFC 5116 section 3.2), and no worker waits for another. Packets in the
//!   clear need none, and go without.
//!
//! Kind 1, an IPv4 packet: version, lengths and checksum follow from the rest, and of the addresses each edge knows its own. With
//! `F` the eight bytes end in what RFC 791 has in bytes 4 to 8 of its header.
//!
//! ```text
//! +---------------+---------------+---------------+-------+-----+-+
//! |type of service| time to live  |   protocol    | words |0 0 0|F|
//! +---------------+---------------+---------------+-------+-----+-+
//! |      identification (F)       | flags, fragment offset (F)    |
//! +-------------------------------+-------------------------------+
//! |   options, so many words of four bytes; payload ...
//! ```
//!
//! Without `F` it is an atomic datagram (RFC 6864 section 4: don't fragment, and no fragment), whose identification means nothing and
//! comes out as 0. Fragments and what routers may cut have `F`. Options are carried as they are: 0 to 10 words.
//!
//! Kind 2, an IPv6 packet; extension headers belong to its payload:
//!
//! ```text
//! +---------------+---------------+---------------+-------+-------+
//! | traffic class |   hop limit   |  next header  |0 0 0 0| label |
//! +---------------+---------------+---------------+-------+-------+
//! |      ...      flow label      |   payload ...
//! +-------------------------------+
//! ```
//!
//! # Checksums
//! Those of TCP, UDP, DCCP, UDP-Lite and ICMPv6 cover the addresses (the pseudo header), which differ in the two realms. On the way
//! between the edges **SST stands for the source address and DST for the destination**: the sender's edge changes the checksum as if
//! it translated its host's and proxy addresses to the two tags, the receiver's edge from the tags to its own two, each by RFC 1624
//! with a difference that it knows when the session begins. Neither learns the other's addresses, an absent UDP checksum stays absent,
//! a wrong one stays wrong, and so does one whose packet was brought to another session by an error in a tag. Of a fragment only the
//! first has a checksum, of the whole datagram: it is changed alike. IPv6 addresses are the tags behind twelve zero bytes.
//!
//! # Cost
//! Over UDP and IPv4 a packet grows by 24 bytes: 20 + 8 of the outer headers and 12 of this, while 20 bytes of header become 4. With
//! `F` by 28, whatever its options. Over UDP and IPv6 20 more. Over Ethernet it *shrinks* by 4 bytes (with `F` it stays as long).
//! An IPv6 packet grows by 6 bytes over UDP and IPv4. A number adds 8.
//!
//! # Example
//! A UDP datagram of 9 bytes (ports 1000 and 53, payload "x"), DSCP 46 and ECT(0), 63 hops left, from tag 0x01020304 to 0xa1b2c3d4:
//!
//! ```
//! use ces::packet::cetp::{Header, Inner, Kind, Payload};
//! let bytes = [
//!     0x94, 0, 0, 25, 0x01, 0x02, 0x03, 0x04, 0xa1, 0xb2, 0xc3, 0xd4, // IPv4, in the clear, 25 bytes
//!     0xba, 63, 17, 0, // type of service, time to live, UDP, no options and atomic
//!     0x03, 0xe8, 0, 53, 0, 9, 0x1a, 0x32, b'x',
//! ];
//! let payload = Payload::parse(&bytes).unwrap();
//! assert_eq!(payload.header(), Header::new(Kind::Ipv4, 0x0102_0304, 0xa1b2_c3d4));
//! let Inner::Ipv4(inner) = payload.inner() else { panic!() };
//! assert_eq!((inner.dscp(), inner.ecn(), inner.ttl(), inner.protocol().0), (46, 2, 63, 17));
//! let header = inner.restore(inner.service(), payload.header().tag_addresses());
//! assert_eq!(header, *b"\x45\xba\x00\x1d\x00\x00\x40\x00\x3f\x11\xd1\x89\x01\x02\x03\x04\xa1\xb2\xc3\xd4");
//! ```
//!
//! Guarantees: any bytes are a payload or an error; what was written is read back, but for the identification of an atomic datagram.
//! Never: allocates, reads a clock, knows a session.

use super::checksum::Sum;
use super::{Error, Ipv4, Ipv6, Protocol, ethernet, ipv4, ipv6};

/// This is version 1.
pub const VERSION: u8 = 1;
/// Bytes of a header without a number.
pub const HEADER_LENGTH: usize = 12;
/// Bytes of a number.
pub const NUMBER_LENGTH: usize = 8;
/// Bytes of a compressed IPv4 header without options, atomic.
pub const ATOMIC: usize = 4;
/// Of one that isn't atomic.
pub const NOT_ATOMIC: usize = 8;
/// Bytes of a compressed IPv6 header.
pub const COMPRESSED6: usize = 6;
/// Bytes of the longest header with what is compressed, options not counted.
pub const LONGEST_HEAD: usize = HEADER_LENGTH + NUMBER_LENGTH + NOT_ATOMIC;
/// By how much an atomic IPv4 packet without a number grows over UDP and IPv4, in bytes.
pub const GROWTH: usize = ipv4::HEADER_LENGTH + 8 + HEADER_LENGTH + ATOMIC - ipv4::HEADER_LENGTH;

/// Of the first byte: this is a payload, and no message.
pub const PAYLOAD: u8 = 0x80;
const VERSION_SHIFT: u32 = 4;
const KIND_SHIFT: u32 = 2;
const NUMBERED: u8 = 0x02;
const RESERVED: u8 = 0x01;
/// Of a compressed IPv4 header's last byte.
const FRAGMENTS: u8 = 0x01;
const RESERVED4: u8 = 0x0e;
const WORDS_SHIFT: u32 = 4;
/// What RFC 791 has in its flags and offset of an atomic datagram.
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];
/// A sequence number has 56 bits.
pub const LAST_SEQUENCE: u64 = (1 << 56) - 1;

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    Ipv4 = 1,
    Ipv6 = 2,
    /// From its destination address on, without a check sequence; tags are part of it.
    Ethernet = 3,
}

/// Whose packet it is under a key, and its place among those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    /// Of the sender.
    pub worker: u8,
    /// 0 to [`LAST_SEQUENCE`].
    pub sequence: u64,
}

/// The header as a value. Its length follows from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub kind: Kind,
    pub epoch: u8,
    /// SST, not 0.
    pub source: u32,
    /// DST, not 0.
    pub destination: u32,
    pub number: Option<Number>,
}

impl Header {
    /// In the clear.
    pub const fn new(kind: Kind, source: u32, destination: u32) -> Header {
        Header { kind, epoch: 0, source, destination, number: None }
    }

    /// The two tags as they stand for addresses: source, destination.
    #[inline(always)]
    pub const fn tag_addresses(&self) -> [u8; 8] {
        let word = (self.source as u64) << 32 | self.destination as u64;
        word.to_be_bytes()
    }

    /// Bytes: 12 or 20.
    pub const fn length(&self) -> usize {
        HEADER_LENGTH + if self.number.is_some() { NUMBER_LENGTH } else { 0 }
    }

    /// Writes it in front of `rest` bytes, at the start of `buffer`; returns its length.
    ///
    /// Errors: [`Error::BufferTooSmall`] (the rest is not counted), [`Error::TooLong`] over 65,535 bytes together.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8], rest: usize) -> Result<usize, Error> {
        let length = self.length();
        let total = u16::try_from(length.saturating_add(rest)).map_err(|_| Error::TooLong)?;
        let room = buffer.get_mut(..length).ok_or(Error::BufferTooSmall)?;
        let (fixed, number) = room.split_first_chunk_mut::<HEADER_LENGTH>().ok_or(Error::BufferTooSmall)?;
        let numbered = if self.number.is_some() { NUMBERED } else { 0 };
        fixed[0] = PAYLOAD | VERSION << VERSION_SHIFT | (self.kind as u8) << KIND_SHIFT | numbered;
        fixed[1] = self.epoch;
        fixed[2..4].copy_from_slice(&total.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.source.to_be_bytes());
        fixed[8..].copy_from_slice(&self.destination.to_be_bytes());
        if let Some(own) = self.number {
            let word = u64::from(own.worker) << 56 | own.sequence & LAST_SEQUENCE;
            number.copy_from_slice(&word.to_be_bytes());
        }
        Ok(length)
    }
}

/// A payload TLV.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    header: Header,
    inner: Inner<'a>,
}

/// What it carries.
#[derive(Clone, Copy, Debug)]
pub enum Inner<'a> {
    Ipv4(Compressed4<'a>),
    Ipv6(Compressed6<'a>),
    /// At least 14 bytes.
    Ethernet(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// Reads one at the start of `bytes`; what follows its length is padding and left out.
    ///
    /// Errors: [`Error::Truncated`] if `bytes` end before the length; [`Error::CetpInvalid`] for a message, another version, a kind
    /// that is none, a tag of 0, bits that are not 0 where they must be, and what is compressed being cut short or too long for the
    /// packet that it stands for.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let fixed: &[u8; HEADER_LENGTH] = bytes.first_chunk().ok_or(Error::Truncated)?;
        let first = fixed[0];
        let kind = match first >> KIND_SHIFT & 3 {
            1 => Kind::Ipv4,
            2 => Kind::Ipv6,
            3 => Kind::Ethernet,
            _ => return Err(Error::CetpInvalid),
        };
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let (source, destination) = (word(4), word(8));
        let is_ours = first & RESERVED == 0 && first >> VERSION_SHIFT == PAYLOAD >> VERSION_SHIFT | VERSION;
        if !is_ours || source == 0 || destination == 0 || length < HEADER_LENGTH {
            return Err(Error::CetpInvalid);
        }
        let rest = bytes.get(HEADER_LENGTH..length).ok_or(Error::Truncated)?;
        let (number, rest) = match first & NUMBERED != 0 {
            false => (None, rest),
            true => {
                let (word, rest) = rest.split_first_chunk::<NUMBER_LENGTH>().ok_or(Error::CetpInvalid)?;
                let word = u64::from_be_bytes(*word);
                (Some(Number { worker: (word >> 56) as u8, sequence: word & LAST_SEQUENCE }), rest)
            }
        };
        let inner = match kind {
            Kind::Ipv4 => Inner::Ipv4(Compressed4::parse(rest)?),
            Kind::Ipv6 => Inner::Ipv6(Compressed6::parse(rest)?),
            Kind::Ethernet if rest.len() < ethernet::HEADER_LENGTH => return Err(Error::CetpInvalid),
            Kind::Ethernet => Inner::Ethernet(rest),
        };
        Ok(Payload { header: Header { kind, epoch: fixed[1], source, destination, number }, inner })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    pub fn inner(&self) -> Inner<'a> {
        self.inner
    }
}

/// The compressed header of an IPv4 packet, to be written: the first `length` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head4 {
    bytes: [u8; NOT_ATOMIC],
    length: usize,
}

impl Head4 {
    /// Of a packet without options that begins with `header`, and has `words` words of them.
    #[inline(always)]
    pub fn of(header: &[u8; ipv4::HEADER_LENGTH], words: u8) -> Head4 {
        let [_, service, _, _, id, id_low, flags, offset, ttl, protocol, ..] = *header;
        let is_atomic = [flags, offset] == DONT_FRAGMENT;
        let last = words << WORDS_SHIFT | if is_atomic { 0 } else { FRAGMENTS };
        Head4 {
            bytes: [service, ttl, protocol, last, id, id_low, flags, offset],
            length: if is_atomic { ATOMIC } else { NOT_ATOMIC },
        }
    }

    /// Options and payload follow these.
    #[inline(always)]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A compressed IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Compressed4<'a> {
    head: &'a [u8; ATOMIC],
    /// Identification, flags and offset.
    middle: [u8; 4],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Compressed4<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (head, rest) = bytes.split_first_chunk::<ATOMIC>().ok_or(Error::CetpInvalid)?;
        let (middle, rest) = match head[3] & FRAGMENTS != 0 {
            false => ([0, 0, DONT_FRAGMENT[0], DONT_FRAGMENT[1]], rest),
            true => {
                let (middle, rest) = rest.split_first_chunk::<4>().ok_or(Error::CetpInvalid)?;
                (*middle, rest)
            }
        };
        let options = usize::from(head[3] >> WORDS_SHIFT) * 4;
        let is_long = ipv4::HEADER_LENGTH + rest.len() > usize::from(u16::MAX);
        if head[3] & RESERVED4 != 0 || options > ipv4::MAX_OPTIONS || is_long {
            return Err(Error::CetpInvalid);
        }
        let (options, payload) = rest.split_at_checked(options).ok_or(Error::CetpInvalid)?;
        Ok(Compressed4 { head, middle, options, payload })
    }

    /// DSCP and ECN.
    pub fn service(&self) -> u8 {
        self.head[0]
    }

    /// 0 to 63.
    pub fn dscp(&self) -> u8 {
        self.head[0] >> 2
    }

    /// 0 to 3.
    pub fn ecn(&self) -> u8 {
        self.head[0] & 3
    }

    pub fn ttl(&self) -> u8 {
        self.head[1]
    }

    pub fn protocol(&self) -> Protocol {
        Protocol(self.head[2])
    }

    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// What follows the options.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Bytes of what follows the header that [`Self::restore`] gives: options and payload, which lie behind each other here.
    pub fn rest(&self) -> usize {
        self.options.len() + self.payload.len()
    }

    /// Bytes of the compressed header, options not counted: 4 or 8.
    pub fn head_length(&self) -> usize {
        if self.head[3] & FRAGMENTS != 0 { NOT_ATOMIC } else { ATOMIC }
    }

    /// The packet's header up to its options, with these addresses, source first, this DSCP and ECN, and a right checksum.
    #[inline]
    pub fn restore(&self, service: u8, addresses: [u8; 8]) -> [u8; ipv4::HEADER_LENGTH] {
        let [_, ttl, protocol, last] = *self.head;
        // Not more than 65,535: seen to in `parse`.
        let total = (ipv4::HEADER_LENGTH + self.rest()) as u16;
        let mut header = [0; ipv4::HEADER_LENGTH];
        header[0] = 0x45 + (last >> WORDS_SHIFT);
        header[1] = service;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[4..8].copy_from_slice(&self.middle);
        header[8] = ttl;
        header[9] = protocol;
        header[12..].copy_from_slice(&addresses);
        let mut sum = Sum::ZERO.and(&header);
        if !self.options.is_empty() {
            sum = sum.and(self.options);
        }
        header[10..12].copy_from_slice(&sum.checksum().to_ne_bytes());
        header
    }
}

/// A compressed IPv6 packet.
#[derive(Clone, Copy, Debug)]
pub struct Compressed6<'a> {
    head: &'a [u8; COMPRESSED6],
    payload: &'a [u8],
}

impl<'a> Compressed6<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (head, payload) = bytes.split_first_chunk().ok_or(Error::CetpInvalid)?;
        if head[3] >> 4 != 0 {
            return Err(Error::CetpInvalid);
        }
        Ok(Compressed6 { head, payload })
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        self.head[0]
    }

    pub fn hop_limit(&self) -> u8 {
        self.head[1]
    }

    pub fn next_header(&self) -> Protocol {
        Protocol(self.head[2])
    }

    /// 20 bits.
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.head[3], self.head[4], self.head[5]])
    }

    /// All that follows the header, extension headers too.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The packet's header with these addresses, source first.
    pub fn restore(&self, addresses: &[u8; 32]) -> [u8; ipv6::HEADER_LENGTH] {
        let mut header = [0; ipv6::HEADER_LENGTH];
        let first = 6 << 28 | u32::from(self.traffic_class()) << 20 | self.flow_label();
        header[..4].copy_from_slice(&first.to_be_bytes());
        // A payload TLV is no longer than 65,535 bytes.
        header[4..6].copy_from_slice(&(self.payload.len() as u16).to_be_bytes());
        header[6] = self.head[2];
        header[7] = self.head[1];
        header[8..].copy_from_slice(addresses);
        header
    }
}

/// Writes a whole payload TLV with an IPv4 packet at the start of `buffer`; returns its length. Its checksums are left as they are:
/// see the module. The kind is this one's, whatever `header` says.
///
/// Errors: [`Error::BufferTooSmall`], [`Error::TooLong`].
pub fn emit_ipv4(buffer: &mut [u8], header: &Header, packet: &Ipv4<'_>) -> Result<usize, Error> {
    let mut whole = [0; ipv4::HEADER_LENGTH + ipv4::MAX_OPTIONS];
    packet.copy_to(&mut whole);
    let (fixed, options) = whole.split_first_chunk().ok_or(Error::BufferTooSmall)?;
    let options = &options[..packet.header_length() - ipv4::HEADER_LENGTH];
    let head = Head4::of(fixed, (options.len() / 4) as u8);
    emit(buffer, Kind::Ipv4, header, &[head.bytes(), options, packet.payload()])
}

/// The same of an IPv6 packet.
///
/// Errors: [`Error::BufferTooSmall`], [`Error::TooLong`].
pub fn emit_ipv6(buffer: &mut [u8], header: &Header, packet: &Ipv6<'_>) -> Result<usize, Error> {
    let [_, label @ ..] = packet.flow_label().to_be_bytes();
    let [a, b, c] = label;
    let head = [packet.traffic_class(), packet.hop_limit(), packet.next_header().0, a, b, c];
    emit(buffer, Kind::Ipv6, header, &[&head, packet.payload()])
}

/// The same of a whole Ethernet frame.
///
/// Errors: [`Error::BufferTooSmall`], [`Error::TooLong`], [`Error::Truncated`] for one without its header.
pub fn emit_ethernet(buffer: &mut [u8], header: &Header, frame: &[u8]) -> Result<usize, Error> {
    if frame.len() < ethernet::HEADER_LENGTH {
        return Err(Error::Truncated);
    }
    emit(buffer, Kind::Ethernet, header, &[frame])
}

fn emit(buffer: &mut [u8], kind: Kind, header: &Header, parts: &[&[u8]]) -> Result<usize, Error> {
    let rest = parts.iter().map(|part| part.len()).sum();
    let mut at = Header { kind, ..*header }.emit(buffer, rest)?;
    for part in parts {
        let room = buffer.get_mut(at..at + part.len()).ok_or(Error::BufferTooSmall)?;
        room.copy_from_slice(part);
        at += part.len();
    }
    Ok(at)
}

/// What becomes of the ECN field of a packet inside when it leaves the tunnel, by that of the packet outside (RFC 6040 section 4.2,
/// figure 4); `None`: it is dropped. On the way in the outer field is a copy of the inner one (section 4.1, normal mode).
#[inline(always)]
pub const fn ecn_at_exit(inner: u8, outer: u8) -> Option<u8> {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const CE: u8 = 3;
    match (inner & 3, outer & 3) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (CE, _) | (_, CE) => Some(CE),
        (_, ECT_1) => Some(ECT_1),
        (inner, _) => Some(inner),
    }
}

#[cfg(test)]
#[path = "cetp_tests.rs"]
mod tests;
