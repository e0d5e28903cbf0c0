//! The common packet, recognised in a few loads: an untagged, unfragmented IPv4 packet without options, TCP or UDP, to our
//! MAC address, with a right header checksum and a TTL to spare. Anything else goes the slow way, which looks properly.

use crate::flow::{Key4, Realm};

/// Bytes that the fast way looks at: Ethernet, IPv4 without options, TCP without options. Every frame of Ethernet's minimum
/// size has them.
pub const HEADERS: usize = 54;

/// Where things lie in such a frame.
pub mod at {
    pub const ETHER_TYPE: usize = 12;
    pub const IPV4: usize = 14;
    pub const TOTAL_LENGTH: usize = 16;
    pub const FRAGMENT: usize = 20;
    pub const TTL: usize = 22;
    pub const PROTOCOL: usize = 23;
    pub const IP_CHECKSUM: usize = 24;
    pub const ADDRESSES: usize = 26;
    pub const PORTS: usize = 34;
    pub const UDP_LENGTH: usize = 38;
    pub const UDP_CHECKSUM: usize = 40;
    pub const TCP_OFFSET: usize = 46;
    pub const TCP_FLAGS: usize = 47;
    pub const TCP_CHECKSUM: usize = 50;
}

/// Reads `N` bytes at a constant place: no check is left in the code.
#[inline(always)]
pub fn read<const N: usize>(headers: &[u8; HEADERS], place: usize) -> [u8; N] {
    std::array::from_fn(|i| headers[place + i])
}

/// How packets come in.
#[derive(Clone, Copy, Debug)]
pub struct Ingress {
    /// Number in [`super::World::interfaces`].
    pub interface: u16,
    pub realm: Realm,
    /// Our MAC address there, as the low 48 bits of a little-endian word.
    pub mac: u64,
}

/// What the fast way needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common {
    pub key: Key4,
    /// 0 for UDP.
    pub tcp_flags: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The key of a common packet, `None` for any other. `frame` is the first segment, `verified` says that the device has found
/// the header checksum right.
#[inline(always)]
pub fn common(frame: &[u8], length: usize, ingress: &Ingress, verified: bool) -> Option<Common> {
    let h: &[u8; HEADERS] = frame.first_chunk()?;
    let mac = u64::from_le_bytes(read(h, 0)) & 0xffff_ffff_ffff;
    // EtherType, version and header length, type of service: one word, of which the last byte may be anything.
    let kind = u32::from_le_bytes(read(h, at::ETHER_TYPE)) & 0x00ff_ffff;
    // Of flags and offset only "don't fragment" may be set.
    let fragment = u16::from_be_bytes(read(h, at::FRAGMENT)) & 0xbfff;
    let (ttl, protocol) = (h[at::TTL], h[at::PROTOCOL]);
    let total = usize::from(u16::from_be_bytes(read(h, at::TOTAL_LENGTH)));
    let tcp = protocol == TCP;
    // What the transport header says of its own length (TCP) or its datagram's (UDP), and the least that it may say.
    let (says, least) = if tcp {
        (usize::from(h[at::TCP_OFFSET] >> 4) * 4, 20)
    } else {
        (usize::from(u16::from_be_bytes(read(h, at::UDP_LENGTH))), 8)
    };
    let odd = (mac ^ ingress.mac) | u64::from(kind ^ 0x0045_0008) | u64::from(fragment);
    // A contradiction is for the slow way to refuse.
    let short = says < least || 20 + says > total;
    if odd != 0 || ttl <= 1 || (!tcp && protocol != UDP) || short || total + at::IPV4 > length {
        return None;
    }
    if !verified && !header_checksum_is_right(h) {
        return None;
    }
    let key = Key4::from_wire(read(h, at::ADDRESSES), read(h, at::PORTS), ingress.realm, protocol);
    Some(Common { key, tcp_flags: if tcp { h[at::TCP_FLAGS] } else { 0 } })
}

/// RFC 1071 over twenty bytes: five words, folded.
#[inline(always)]
fn header_checksum_is_right(h: &[u8; HEADERS]) -> bool {
    let word = |i: usize| u64::from(u32::from_le_bytes(read(h, at::IPV4 + 4 * i)));
    let sum = word(0) + word(1) + word(2) + word(3) + word(4);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    // Now at most 0x1_ffff: congruent to zero, and not zero itself, is 0xffff or 0x1fffe.
    let sum = (sum & 0xffff) + (sum >> 16);
    sum == 0xffff
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
