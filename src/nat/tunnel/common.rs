//! The common packet of a tunnel, in a few loads and stores: over UDP and IPv4, in the clear of a number, of an atomic IPv4 packet
//! without options. What it becomes is what [`super::outer`] makes of it; anything else is left to that.
//!
//! Words are read and written little-endian, as the rest of the fast path has them.
//!
//! Never: looks for a session.

use super::outer::INNER;
use crate::packet::cetp::{self, GROWTH, VERSION};

/// Bytes before what is not compressed: Ethernet, IPv4, UDP, payload TLV, compressed header.
pub const HEAD: usize = 58;
/// By how much the packet's frame is shorter inside.
pub const REMOVED: usize = HEAD - INNER;
/// Where things lie in its frame, EtherType and IPv4 header apart, whose places are those of any frame.
const ETHER_TYPE: usize = 12;
const UDP: usize = 34;
const TLV: usize = 42;
const TAGS: usize = 46;
const COMPRESSED: usize = 54;
/// The first byte of the payload TLV: this version, an IPv4 packet, no number.
const FIRST: u8 = cetp::PAYLOAD | VERSION << 4 | (cetp::Kind::Ipv4 as u8) << 2;
/// The dynamic ports begin here.
const DYNAMIC: u16 = 0xc000;
/// EtherType, and an IPv4 header of five words.
const IPV4: u64 = 0x45_0008;

#[inline(always)]
fn load<const H: usize>(h: &[u8; H], place: usize) -> u64 {
    u64::from_le_bytes(h[place..place + 8].try_into().expect("a constant place within the headers"))
}

#[inline(always)]
fn store<const N: usize, const H: usize>(h: &mut [u8; H], place: usize, bytes: [u8; N]) {
    h[place..place + N].copy_from_slice(&bytes);
}

/// A number that is in network order on the wire, at that bit of a word.
#[inline(always)]
fn wire(number: u16, bit: u32) -> u64 {
    u64::from(number.swap_bytes()) << bit
}

/// What an IPv4 header says that is not to be cut and has no options. Of addresses: source, then destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub total: u16,
    pub service: u8,
    pub ttl: u8,
    pub protocol: u8,
    pub addresses: u64,
}

impl Header {
    /// Writes EtherType and header, without an identification (RFC 6864), the EtherType at `place`.
    #[inline(always)]
    pub fn write<const H: usize>(&self, h: &mut [u8; H], place: usize) {
        let first = IPV4 | u64::from(self.service) << 24 | wire(self.total, 32);
        let rest = 0x40 | u64::from(self.ttl) << 16 | u64::from(self.protocol) << 24;
        let sum = (first >> 16) + rest + (self.addresses & 0xffff_ffff) + (self.addresses >> 32);
        // RFC 1071: three lanes of 16 bits become one; never zero, because a header is not.
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        store(h, place, first.to_le_bytes());
        store(h, place + 8, (rest | u64::from(!(sum as u16)) << 32).to_le_bytes());
        store(h, place + 14, self.addresses.to_le_bytes());
    }
}

/// How a packet travels: the RLOCs, ours first, the key epoch, the protocol's port, and what tells its flow apart.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    pub ends: u64,
    pub epoch: u8,
    pub port: u16,
    pub entropy: u16,
}

/// Writes what stands before the packet behind its own header, Ethernet's addresses left out. `inside` has the tags for addresses, and
/// its `total` is at most [`GROWTH`] less than fits.
#[inline(always)]
pub fn wrap(h: &mut [u8; HEAD], inside: &Header, outside: &Outside) {
    let total = inside.total.wrapping_add(GROWTH as u16);
    let (datagram, payload) = (total.wrapping_sub(20), total.wrapping_sub(28));
    let Outside { ends, epoch, port, entropy } = *outside;
    Header { total, service: inside.service, ttl: 64, protocol: 17, addresses: ends }.write(h, ETHER_TYPE);
    let udp = wire(DYNAMIC | entropy, 0) | wire(port, 16) | wire(datagram, 32);
    store(h, UDP, udp.to_le_bytes());
    let first = u32::from(FIRST) | u32::from(epoch) << 8 | u32::from(payload.swap_bytes()) << 16;
    store(h, TLV, first.to_le_bytes());
    store(h, TAGS, inside.addresses.to_le_bytes());
    store(h, COMPRESSED, [inside.service, inside.ttl, inside.protocol, 0]);
}

/// The first bytes of the frame of a common packet in a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<'f>(&'f [u8; HEAD]);

impl<'f> Wrapped<'f> {
    /// What begins as such a packet does, to our MAC address (the low 48 bits of a word) and the protocol's port, in a frame of so many
    /// bytes.
    /// `verified`: the device has found the outer header's checksum right. `None` for any other packet.
    #[inline(always)]
    pub fn parse(h: &'f [u8; HEAD], length: usize, mac: u64, port: u16, verified: bool) -> Option<Self> {
        let (front, middle) = (load(h, ETHER_TYPE), load(h, 20));
        let (udp, tlv, compressed) = (load(h, UDP), load(h, TLV), load(h, COMPRESSED - 4));
        // Of flags and offset nothing but "don't fragment"; UDP, without a checksum.
        let odd = (load(h, 0) ^ mac) << 16
            | (front ^ IPV4) & 0xff_ffff
            | (middle ^ 17 << 24) & 0xff00_ffbf
            | (udp ^ wire(port, 16)) & 0xffff_0000_ffff_0000
            | (tlv ^ u64::from(FIRST)) & 0xff
            | compressed >> 56;
        let number = |word: u64, bit: u32| u32::from(((word >> bit) as u16).swap_bytes());
        let (total, datagram, payload) = (number(front, 32), number(udp, 32), number(tlv, 16));
        let fits = payload >= 16 && payload + 8 == datagram && datagram + 20 == total;
        if odd != 0 || !fits || total as usize + 14 > length {
            return None;
        }
        let ends = load(h, 26);
        let sum = (front >> 16) + (middle & 0xffff_ffff_ffff) + (ends & 0xffff_ffff) + (ends >> 32);
        (verified || sum.is_multiple_of(0xffff)).then_some(Self(h))
    }

    /// One that [`Self::parse`] has seen before.
    #[inline(always)]
    pub fn again(h: &'f [u8; HEAD]) -> Self {
        Self(h)
    }

    /// Of the packet inside, its addresses the two tags: of whose edge it comes, and the own one.
    #[inline(always)]
    pub fn inside(&self) -> Header {
        let h = self.0;
        Header {
            total: u16::from_be_bytes([h[TLV + 2], h[TLV + 3]]).wrapping_add(4),
            service: h[COMPRESSED],
            ttl: h[COMPRESSED + 1],
            protocol: h[COMPRESSED + 2],
            addresses: load(h, TAGS),
        }
    }

    /// The RLOCs, ours first.
    #[inline(always)]
    pub fn ends(&self) -> u64 {
        load(self.0, 26).rotate_left(32)
    }

    #[inline(always)]
    pub fn epoch(&self) -> u8 {
        self.0[TLV + 1]
    }

    /// The type of service of the packet that goes on; `None` where it is dropped for its ECN field.
    #[inline(always)]
    pub fn service_at_exit(&self) -> Option<u8> {
        let (inner, outer) = (self.0[COMPRESSED], self.0[15]);
        if inner == outer {
            return Some(inner);
        }
        Some(inner & !3 | cetp::ecn_at_exit(inner, outer)?)
    }
}
