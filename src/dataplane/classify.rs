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
    pub const TTL: usize = 22;
    pub const IP_CHECKSUM: usize = 24;
    pub const ADDRESSES: usize = 26;
    pub const PORTS: usize = 34;
    pub const UDP_CHECKSUM: usize = 40;
    pub const TCP_OFFSET: usize = 46;
    pub const TCP_FLAGS: usize = 47;
    pub const TCP_CHECKSUM: usize = 50;
}

/// Two bytes at a constant place, as they lie in memory (little-endian): no check is left in the code.
#[inline(always)]
pub fn half(h: &[u8; HEADERS], place: usize) -> u16 {
    u16::from_le_bytes([h[place], h[place + 1]])
}

/// Four bytes likewise.
#[inline(always)]
pub fn word(h: &[u8; HEADERS], place: usize) -> u32 {
    u32::from_le_bytes([h[place], h[place + 1], h[place + 2], h[place + 3]])
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
    let header: [u32; 5] = [word(h, 14), word(h, 18), word(h, 22), word(h, 26), word(h, 30)];
    let mac = (word(h, 0) ^ ingress.mac as u32) | u32::from(half(h, 4) ^ (ingress.mac >> 32) as u16);
    // Version 4 and five words of header, after the EtherType of IPv4.
    let kind = u32::from(half(h, at::ETHER_TYPE) ^ 0x0008) | u32::from(header[0] as u8 ^ 0x45);
    // Of flags and offset only "don't fragment" may be set: 0x4000, which lies in memory as 0x0040.
    let fragment = (header[1] >> 16) & 0xffbf;
    let (ttl, protocol) = (header[2] as u8, (header[2] >> 8) as u8);
    let total = ((header[0] >> 16) as u16).swap_bytes() as usize;
    let tcp = protocol == TCP;
    // A TCP header that says less than 20 bytes is for the slow way to refuse.
    let short = if tcp { total < 40 || h[at::TCP_OFFSET] < 0x50 } else { total < 28 || protocol != UDP };
    if mac | kind | fragment != 0 || short || ttl <= 1 || total + at::IPV4 > length {
        return None;
    }
    if !verified && !is_right(&header) {
        return None;
    }
    let addresses = u64::from(header[3]) | u64::from(header[4]) << 32;
    let key = Key4::from_words(addresses, word(h, at::PORTS), ingress.realm, protocol);
    Some(Common { key, tcp_flags: if tcp { h[at::TCP_FLAGS] } else { 0 } })
}

/// RFC 1071 over the five words of a header.
#[inline(always)]
fn is_right(header: &[u32; 5]) -> bool {
    let sum: u64 = header.iter().map(|w| u64::from(*w)).sum();
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    // At most 0x1_ffff now; one more fold leaves 0xffff for a right header, which is never all zeros.
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
