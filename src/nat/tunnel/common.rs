//! The common packet of a tunnel, in a few loads and stores: over UDP and IPv4, in the clear of a number, of an atomic IPv4 packet
//! without options. What it becomes is what [`super::outer`] makes of it; anything else is left to that.
//!
//! Never: looks for a session.

use super::outer::INNER;
use crate::packet::cetp::{self, GROWTH, VERSION};
use std::net::Ipv4Addr;

/// Bytes before what is not compressed: Ethernet, IPv4, UDP, payload TLV, compressed header.
pub const HEAD: usize = 58;
/// Where the IPv4 header of an untagged frame begins, and what follows it.
const IP: usize = 14;
const UDP: usize = 34;
const TLV: usize = 42;
const COMPRESSED: usize = 54;
/// The first byte of the payload TLV: this version, an IPv4 packet, no number.
const FIRST: u8 = cetp::PAYLOAD | VERSION << 4 | (cetp::Kind::Ipv4 as u8) << 2;
/// The dynamic ports begin here.
const DYNAMIC: u16 = 0xc000;

/// What of the packet inside is told by its header. The tags are source, then destination, as the wire has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    pub total: u16,
    pub service: u8,
    pub ttl: u8,
    pub protocol: u8,
    pub tags: [u8; 8],
}

/// Eight bytes as four words of a checksum.
#[inline(always)]
fn words(bytes: [u8; 8]) -> u32 {
    let word = u64::from_be_bytes(bytes);
    let halves = (word >> 32) + (word & 0xffff_ffff);
    (halves >> 16) as u32 + (halves & 0xffff) as u32
}

#[inline(always)]
fn addresses(source: Ipv4Addr, destination: Ipv4Addr) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (source.octets(), destination.octets());
    [a, b, c, d, e, f, g, h]
}

/// An IPv4 header that is not to be cut, without options or identification (RFC 791).
#[inline(always)]
fn header(total: u16, service: u8, ttl: u8, protocol: u8, ends: [u8; 8]) -> [u8; 20] {
    let about = 0x4500 + u32::from(service) + u32::from(total) + 0x4000;
    let sum = about + u32::from(u16::from_be_bytes([ttl, protocol])) + words(ends);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = !((sum >> 16) + sum) as u16;
    let ([t0, t1], [s0, s1], [a, b, c, d, e, f, g, h]) = (total.to_be_bytes(), sum.to_be_bytes(), ends);
    [0x45, service, t0, t1, 0, 0, 0x40, 0, ttl, protocol, s0, s1, a, b, c, d, e, f, g, h]
}

/// What stands before the packet behind its own header, from Ethernet on, whose addresses are left out. `None`: it would be too long.
#[inline(always)]
pub fn head(
    (local, remote): (Ipv4Addr, Ipv4Addr),
    inside: &Inside,
    epoch: u8,
    port: u16,
    entropy: u16,
) -> Option<[u8; HEAD]> {
    let total = inside.total.checked_add(GROWTH as u16)?;
    let (datagram, payload) = (total - 20, total - 28);
    let mut head = [0; HEAD];
    head[12] = 8;
    head[IP..UDP].copy_from_slice(&header(total, inside.service, 64, 17, addresses(local, remote)));
    let ([s0, s1], [d0, d1], [l0, l1]) =
        ((DYNAMIC | entropy).to_be_bytes(), port.to_be_bytes(), datagram.to_be_bytes());
    head[UDP..TLV].copy_from_slice(&[s0, s1, d0, d1, l0, l1, 0, 0]);
    let [p0, p1] = payload.to_be_bytes();
    head[TLV..TLV + 4].copy_from_slice(&[FIRST, epoch, p0, p1]);
    head[TLV + 4..COMPRESSED].copy_from_slice(&inside.tags);
    head[COMPRESSED..].copy_from_slice(&[inside.service, inside.ttl, inside.protocol, 0]);
    Some(head)
}

/// The common tunnelled packet, as its frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub local: Ipv4Addr,
    pub remote: Ipv4Addr,
    pub ecn: u8,
    pub epoch: u8,
    pub inside: Inside,
}

/// What the frame of an untagged packet shows; `None` for any other packet.
#[inline(always)]
pub fn see(frame: &[u8], port: u16) -> Option<Seen> {
    let h: &[u8; HEAD] = frame.first_chunk()?;
    let word = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
    let (total, datagram, payload) = (word(IP + 2), word(UDP + 4), word(TLV + 2));
    // Flags and offset but "don't fragment"; UDP; no UDP checksum.
    let is_common = word(12) == 0x0800
        && h[IP] == 0x45
        && word(IP + 6) & 0xbfff == 0
        && h[IP + 9] == 17
        && word(UDP + 2) == port
        && word(UDP + 6) == 0
        && h[TLV] == FIRST
        && h[COMPRESSED + 3] == 0;
    let fits = usize::from(total) + IP <= frame.len()
        && payload >= 16
        && u32::from(payload) + 8 == u32::from(datagram)
        && u32::from(datagram) + 20 == u32::from(total);
    if !is_common || !fits {
        return None;
    }
    let five = |at: usize| u32::from_be_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]);
    let ends = [five(IP + 12), five(IP + 16)];
    let sum: u64 = [five(IP), five(IP + 4), five(IP + 8), ends[0], ends[1]].into_iter().map(u64::from).sum();
    let tags = [five(TLV + 4), five(TLV + 8)];
    if !sum.is_multiple_of(0xffff) || tags.contains(&0) {
        return None;
    }
    let ([a, b, c, d], [e, f, g, i]) = (tags[0].to_be_bytes(), tags[1].to_be_bytes());
    let inside = Inside {
        total: payload + 4,
        service: h[COMPRESSED],
        ttl: h[COMPRESSED + 1],
        protocol: h[COMPRESSED + 2],
        tags: [a, b, c, d, e, f, g, i],
    };
    let (local, remote) = (ends[1].into(), ends[0].into());
    Some(Seen { local, remote, ecn: h[IP + 1] & 3, epoch: h[TLV + 1], inside })
}

impl Seen {
    /// The two tags: of whose edge it comes, and the own one.
    #[inline(always)]
    pub fn tags(&self) -> (u32, u32) {
        let word = u64::from_be_bytes(self.inside.tags);
        ((word >> 32) as u32, word as u32)
    }

    /// What takes the place of the first [`HEAD`] bytes of that frame; `None` where it is dropped for its ECN field.
    #[inline(always)]
    pub fn exit(&self) -> Option<[u8; INNER]> {
        let Inside { total, service, ttl, protocol, tags } = self.inside;
        let service = service & !3 | cetp::ecn_at_exit(service, self.ecn)?;
        let mut bytes = [0; INNER];
        bytes[12] = 8;
        bytes[IP..].copy_from_slice(&header(total, service, ttl, protocol, tags));
        Some(bytes)
    }
}
