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
    pub const FRAGMENT: usize = 20;
    pub const TTL: usize = 22;
    pub const IP_CHECKSUM: usize = 24;
    pub const ADDRESSES: usize = 26;
    pub const PORTS: usize = 34;
    pub const UDP_LENGTH: usize = 38;
    pub const UDP_CHECKSUM: usize = 40;
    pub const TCP_OFFSET: usize = 46;
    pub const TCP_FLAGS: usize = 47;
    pub const TCP_CHECKSUM: usize = 50;
}

/// `N` bytes at a constant place: one load, and no check is left in the code.
#[inline(always)]
fn bytes<const N: usize>(h: &[u8; HEADERS], place: usize) -> [u8; N] {
    h[place..place + N].try_into().expect("a constant place within the headers")
}

/// Two bytes as they lie in memory, read little-endian like all that follows.
#[inline(always)]
pub fn half(h: &[u8; HEADERS], place: usize) -> u16 {
    u16::from_le_bytes(bytes(h, place))
}

#[inline(always)]
fn word(h: &[u8; HEADERS], place: usize) -> u32 {
    u32::from_le_bytes(bytes(h, place))
}

#[inline(always)]
fn double(h: &[u8; HEADERS], place: usize) -> u64 {
    u64::from_le_bytes(bytes(h, place))
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
    // EtherType 16 | version and header length 8 | type of service 8 | total length 16 | identification 16.
    let front = double(h, at::ETHER_TYPE);
    // Flags and fragment offset 16 | TTL 8 | protocol 8 | header checksum 16 | half an address.
    let middle = double(h, at::FRAGMENT);
    let addresses = double(h, at::ADDRESSES);
    // Our MAC address; version 4 and five words of header; of the flags only "don't fragment" (0x4000 on the wire).
    let odd = (double(h, 0) ^ ingress.mac) << 16 | (front ^ 0x45_0008) & 0xff_ffff | middle & 0xffbf;
    let (ttl, protocol) = ((middle >> 16) as u8, (middle >> 24) as u8);
    let total = usize::from(((front >> 32) as u16).swap_bytes());
    let tcp = protocol == TCP;
    // What the transport header says of its own length (TCP) or its datagram's (UDP), and the least that it may say.
    let (says, least) = if tcp {
        (usize::from(h[at::TCP_OFFSET] >> 4) * 4, 20)
    } else {
        (usize::from(half(h, at::UDP_LENGTH).swap_bytes()), 8)
    };
    // A contradiction is for the slow way to refuse.
    let short = says < least || 20 + says > total;
    if odd != 0 || ttl <= 1 || (!tcp && protocol != UDP) || short || total + at::IPV4 > length {
        return None;
    }
    if !verified && !is_right((front >> 16) + (middle & 0xffff_ffff_ffff), addresses) {
        return None;
    }
    let key = Key4::from_words(addresses, word(h, at::PORTS), ingress.realm, protocol);
    Some(Common { key, tcp_flags: if tcp { h[at::TCP_FLAGS] } else { 0 } })
}

/// RFC 1071 over a header of twenty bytes: the sum of its first six 16-bit words (in three lanes), and the addresses.
#[inline(always)]
fn is_right(front: u64, addresses: u64) -> bool {
    let sum = front + (addresses & 0xffff_ffff) + (addresses >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    // At most 0x1_ffff and a little now; one more fold leaves 0xffff for a right header, which is never all zeros.
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
