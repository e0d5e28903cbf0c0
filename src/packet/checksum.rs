//! The Internet checksum: over bytes (RFC 1071), and the change of one (RFC 1624).
//!
//! # Byte order
//! One's complement sums do not depend on byte order (RFC 1071 section 2(B)): summing byte-swapped words gives the byte-swapped sum.
//! So words are taken as memory has them, without a swap: **every checksum here is a `u16` in the order of memory**, read by `u16::from_ne_bytes`
//! and written by `to_ne_bytes`. It must never be mixed with one read by `from_be_bytes`.
//!
//! Never allocates; every function is total.

use super::Protocol;
use std::net::{Ipv4Addr, Ipv6Addr};

/// One's complement addition: the carry out of the top comes in at the bottom.
#[inline(always)]
const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16 // cannot overflow: the sum of a carry is at most 0xfffe
}

/// A wide sum of words to its 16 bits: 2^16 is 1 in one's complement, so every half adds to the next.
#[inline(always)]
const fn fold(wide: u64) -> u16 {
    let wide = (wide & 0xffff_ffff) + (wide >> 32);
    let wide = (wide & 0xffff) + ((wide >> 16) & 0xffff) + (wide >> 32);
    let wide = (wide & 0xffff) + (wide >> 16);
    ((wide & 0xffff) + (wide >> 16)) as u16
}

/// The sum of the words of `bytes`; an odd last byte is the first of a word whose second is zero.
fn sum_of(bytes: &[u8]) -> u16 {
    let (quads, tail) = bytes.as_chunks::<4>();
    let mut wide: u64 = quads.iter().map(|quad| u64::from(u32::from_ne_bytes(*quad))).sum();
    let (pairs, last) = tail.as_chunks::<2>();
    for pair in pairs {
        wide += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [byte] = last {
        wide += u64::from(u16::from_ne_bytes([*byte, 0]));
    }
    fold(wide)
}

/// A running sum over the parts of one message, as if they were one slice: a part may have an odd length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    sum: u16,
    /// An odd number of bytes so far: the next part's bytes are the other halves of their words.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum { sum: 0, odd: false };

    /// Appends a part.
    #[must_use]
    pub fn and(self, part: &[u8]) -> Sum {
        let sum = sum_of(part);
        let sum = if self.odd { sum.swap_bytes() } else { sum };
        Sum { sum: add(self.sum, sum), odd: self.odd ^ (part.len() % 2 == 1) }
    }

    /// The checksum that makes a message with this sum right, when its checksum field counted as zero.
    pub const fn checksum(self) -> u16 {
        !self.sum
    }

    /// Is a message with this sum, its checksum field included, right? (RFC 1071 section 1, step 3)
    pub const fn is_right(self) -> bool {
        self.sum == 0xffff
    }
}

/// The checksum of `bytes`, whose checksum field must be zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::ZERO.and(bytes).checksum()
}

/// What TCP, UDP and ICMPv6 checksums cover besides their message (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PseudoHeader {
    V4 { source: Ipv4Addr, destination: Ipv4Addr },
    V6 { source: Ipv6Addr, destination: Ipv6Addr },
}

impl PseudoHeader {
    /// The pseudo header's sum for a message of `length` bytes, its own header included.
    pub fn sum(&self, protocol: Protocol, length: usize) -> Sum {
        // IPv4 has 16 bits for the length and IPv6 32: the same sum, as the upper 16 are zero where they are absent.
        let tail = Sum::ZERO.and(&(length as u32).to_be_bytes()).and(&[0, protocol.0]);
        match self {
            PseudoHeader::V4 { source, destination } => tail.and(&source.octets()).and(&destination.octets()),
            PseudoHeader::V6 { source, destination } => tail.and(&source.octets()).and(&destination.octets()),
        }
    }
}

/// UDP's checksum as it goes on the wire: a computed zero is sent as all ones, for zero says "no checksum" (RFC 768).
#[inline(always)]
pub const fn udp_on_wire(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// What a change of some words does to a checksum that covers them: the sum of the new words and of the complements of the old (RFC 1624, equation 3).
/// It depends on the change alone, so it is computed once when a rewrite is compiled, and applied to every packet.
///
/// ```
/// use ces::packet::checksum::{Delta, checksum};
/// let (mut packet, new) = (*b"from 10.0.0.1 to..", *b"192.0.2.77");
/// let delta = Delta::between(&packet[4..14], &new);
/// let before = checksum(&packet);
/// packet[4..14].copy_from_slice(&new);
/// assert_eq!(delta.apply(before), checksum(&packet));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Delta(pub u16);

impl Delta {
    /// Nothing changes.
    pub const ZERO: Delta = Delta(0);

    /// The time to live goes down by one: the first byte of its word, in memory's order.
    pub const TTL_DECREMENT: Delta = Delta(u16::from_ne_bytes([0xfe, 0xff]));

    /// The change from `old` to `new`, both beginning at an even offset of what the checksum covers (else see [`Delta::at_odd_offset`]).
    /// Their lengths may differ, as when an IPv4 address becomes an IPv6 one in a pseudo header. The change of nothing is [`Delta::ZERO`].
    pub fn between(old: &[u8], new: &[u8]) -> Delta {
        Delta::canonical(add(sum_of(new), !sum_of(old)))
    }

    /// The same change, of bytes that begin at an odd offset: each is the other half of its word.
    #[must_use]
    pub const fn at_odd_offset(self) -> Delta {
        Delta(self.0.swap_bytes())
    }

    /// Both changes.
    #[must_use]
    pub const fn combine(self, other: Delta) -> Delta {
        Delta::canonical(add(self.0, other.0))
    }

    /// One's complement has two zeros; only this one leaves every checksum as it was, bit for bit.
    const fn canonical(sum: u16) -> Delta {
        if sum == 0xffff { Delta::ZERO } else { Delta(sum) }
    }

    /// The checksum after the change; both are in the order of memory. Neither branches nor loads.
    ///
    /// Equals a full computation wherever that covers a byte that is not zero, as every header here does; over
    /// zeros alone the one gives 0x0000 and the other 0xffff, which receivers accept alike.
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !add(!checksum, self.0)
    }

    /// As [`Delta::apply`], for UDP over IPv4: an absent checksum (0) stays absent, and none becomes absent.
    #[inline(always)]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        let changed = udp_on_wire(self.apply(checksum));
        if checksum == 0 { 0 } else { changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_1071_section_3_example() {
        let sum = Sum::ZERO.and(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.sum.to_ne_bytes(), [0xdd, 0xf2]);
    }

    #[test]
    fn rfc_1624_section_4_example() {
        // The corner where equation 2 goes wrong: 0xdd2f, 0x5555 becomes 0x3285, and the checksum is 0x0000.
        let delta = Delta::between(&[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(delta.apply(u16::from_ne_bytes([0xdd, 0x2f])).to_ne_bytes(), [0x00, 0x00]);
    }

    #[test]
    fn ttl_decrement_is_what_between_says() {
        for ttl in 1..=255u8 {
            assert_eq!(Delta::between(&[ttl, 6], &[ttl - 1, 6]), Delta::TTL_DECREMENT);
        }
    }

    #[test]
    fn udp_keeps_absence_and_never_invents_it() {
        assert_eq!(Delta(1).apply_udp(0), 0);
        for checksum in 1..=0xffff_u16 {
            assert_ne!(Delta(!checksum).apply_udp(checksum), 0);
            assert_ne!(Delta(checksum).apply_udp(checksum), 0);
            assert_eq!(Delta::ZERO.apply_udp(checksum), checksum);
        }
    }
}
