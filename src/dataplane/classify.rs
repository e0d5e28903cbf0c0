//! The common packet, recognised in a few loads: an unfragmented IPv4 packet without options, or an IPv6 one without extension
//! headers, TCP or UDP, to our MAC address, with a right header checksum and a TTL to spare. Of TCP, what neither opens a
//! connection nor resets one. Anything else goes the slow way, which looks properly.

use crate::flow::{Key4, Key6, Realm};

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
    pub const TCP_ACKNOWLEDGEMENT: usize = 42;
    pub const TCP_OFFSET: usize = 46;
    pub const TCP_FLAGS: usize = 47;
    pub const TCP_CHECKSUM: usize = 50;
}

/// `N` bytes at a constant place: one load, and no check is left in the code.
#[inline(always)]
fn bytes<const N: usize, const H: usize>(h: &[u8; H], place: usize) -> [u8; N] {
    h[place..place + N].try_into().expect("a constant place within the headers")
}

/// Two bytes as they lie in memory, read little-endian like all that follows.
#[inline(always)]
pub fn half<const H: usize>(h: &[u8; H], place: usize) -> u16 {
    u16::from_le_bytes(bytes(h, place))
}

#[inline(always)]
pub(super) fn word<const H: usize>(h: &[u8; H], place: usize) -> u32 {
    u32::from_le_bytes(bytes(h, place))
}

#[inline(always)]
fn double<const H: usize>(h: &[u8; H], place: usize) -> u64 {
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

/// What the fast way needs to know of a packet: its key, and its TCP flags (0 for UDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Common<K> {
    pub key: K,
    pub tcp_flags: u8,
}

/// Of TCP flags, those by which the fast way knows its own: no SYN and no RST, but ACK.
pub(super) const SYN_RST_OR_ACK: u8 = 0x16;
const SYN_OR_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The key of a common packet, `None` for any other. `frame` is the first segment, `verified` says that the device has found
/// the header checksum right.
#[inline(always)]
pub fn common4(frame: &[u8], length: usize, ingress: &Ingress, verified: bool) -> Option<Common<Key4>> {
    usual4(SYN_RST_OR_ACK, frame, length, ingress, verified)
}

/// The key of a common packet, or of one that would be but for its RST: it belongs to the same worker, behind the others of its
/// flow.
pub fn of_a_flow4(frame: &[u8], length: usize, ingress: &Ingress) -> Option<Common<Key4>> {
    usual4(SYN_OR_ACK, frame, length, ingress, true)
}

/// The key of what looks like TCP or UDP over IPv4 without options: a guess, which nothing but speed hangs on.
pub fn key4(frame: &[u8], ingress: &Ingress) -> Option<Key4> {
    let h: &[u8; HEADERS] = frame.first_chunk()?;
    let protocol = h[at::TTL + 1];
    let is_likely = double(h, at::ETHER_TYPE) & 0xff_ffff == 0x45_0008 && matches!(protocol, TCP | UDP);
    is_likely.then(|| Key4::from_words(double(h, at::ADDRESSES), word(h, at::PORTS), ingress.realm, protocol))
}

/// `mask`: of these TCP flags only ACK is there.
#[inline(always)]
fn usual4(mask: u8, frame: &[u8], length: usize, ingress: &Ingress, verified: bool) -> Option<Common<Key4>> {
    let h: &[u8; HEADERS] = frame.first_chunk()?;
    // EtherType 16 | version and header length 8 | type of service 8 | total length 16 | identification 16.
    let front = double(h, at::ETHER_TYPE);
    // Flags and fragment offset 16 | TTL 8 | protocol 8 | header checksum 16 | half an address.
    let middle = double(h, at::FRAGMENT);
    let addresses = double(h, at::ADDRESSES);
    // Our MAC address; version 4 and five words of header; of the flags only "don't fragment" (0x4000 on the wire).
    let odd = (double(h, 0) ^ ingress.mac) << 16 | (front ^ 0x45_0008) & 0xff_ffff | middle & 0xffbf;
    let total = usize::from(((front >> 32) as u16).swap_bytes());
    // A TTL of 0 or 1 has no bit but its lowest.
    if odd != 0 || middle & 0xfe_0000 == 0 || total + at::IPV4 > length {
        return None;
    }
    let protocol = (middle >> 24) as u8;
    let (says, tcp_flags) = transport(h, 0, protocol, mask)?;
    // A contradiction is for the slow way to refuse.
    if 20 + says > total {
        return None;
    }
    if !verified && !is_right((front >> 16) + (middle & 0xffff_ffff_ffff), addresses) {
        return None;
    }
    let key = Key4::from_words(addresses, word(h, at::PORTS), ingress.realm, protocol);
    Some(Common { key, tcp_flags })
}

/// Of a common packet whose headers lie `shift` bytes behind their places: what its transport header says of its own length (TCP) or its
/// datagram's (UDP), and its TCP flags. `mask`: of these only ACK is there.
#[inline(always)]
pub(super) fn transport<const H: usize>(
    h: &[u8; H],
    shift: usize,
    protocol: u8,
    mask: u8,
) -> Option<(usize, u8)> {
    let (says, least, flags) = match protocol {
        UDP => (usize::from(half(h, shift + at::UDP_LENGTH).swap_bytes()), 8, 0),
        TCP if h[shift + at::TCP_FLAGS] & mask == ACK => {
            (usize::from(h[shift + at::TCP_OFFSET] >> 4) * 4, 20, h[shift + at::TCP_FLAGS])
        }
        _ => return None,
    };
    (says >= least).then_some((says, flags))
}

/// Bytes of Ethernet, IPv6 and UDP headers, and of the first eight bytes of TCP's.
pub const HEADERS6: usize = 62;

/// Where things lie in an IPv6 frame.
pub mod at6 {
    pub const HOP_LIMIT: usize = 21;
    pub const ADDRESSES: usize = 22;
    pub const PORTS: usize = 54;
    pub const UDP_LENGTH: usize = 58;
    pub const TCP_ACKNOWLEDGEMENT: usize = 62;
    pub const TCP_OFFSET: usize = 66;
    pub const TCP_FLAGS: usize = 67;
}

/// As [`common4`], for IPv6.
#[inline(always)]
pub fn common6(frame: &[u8], length: usize, ingress: &Ingress) -> Option<Common<Key6>> {
    let h: &[u8; HEADERS6] = frame.first_chunk()?;
    // EtherType 16 | version 4, traffic class 8, flow label 20 | payload length 16.
    let front = double(h, at::ETHER_TYPE);
    let odd = (double(h, 0) ^ ingress.mac) << 16 | (front ^ 0x60_dd86) & 0xf0_ffff;
    let payload = usize::from(((front >> 48) as u16).swap_bytes());
    let (protocol, hops) = (h[at6::HOP_LIMIT - 1], h[at6::HOP_LIMIT]);
    let (says, least, tcp_flags) = match protocol {
        TCP => {
            let (offset, flags) = (*frame.get(at6::TCP_OFFSET)?, *frame.get(at6::TCP_FLAGS)?);
            if flags & SYN_RST_OR_ACK != ACK {
                return None;
            }
            (usize::from(offset >> 4) * 4, 20, flags)
        }
        UDP => (usize::from(half(h, at6::UDP_LENGTH).swap_bytes()), 8, 0),
        _ => return None,
    };
    if odd != 0 || hops <= 1 || says < least || says > payload || payload + at6::PORTS > length {
        return None;
    }
    let addresses = std::array::from_fn(|i| double(h, at6::ADDRESSES + 8 * i));
    Some(Common { key: Key6::from_words(addresses, word(h, at6::PORTS), ingress.realm, protocol), tcp_flags })
}

/// RFC 1071 over a header of twenty bytes: the sum of its first six 16-bit words (in three lanes), and the addresses.
#[inline(always)]
fn is_right(front: u64, addresses: u64) -> bool {
    let sum = front + (addresses & 0xffff_ffff) + (addresses >> 32);
    // Folding keeps the remainder by 0xffff, and leaves 0xffff for a right header, which is never all zeros.
    sum.is_multiple_of(0xffff)
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
