//! The circular pool as all threads see it: its addresses by number, and one bit each that says that something waits there. And
//! what a home tells of the sessions that begin and end at them.
//!
//! One thread writes the bits, the owner of [`Marks`]; every worker reads them, where a packet from outside has no session.
//! A bit is set before the answer leaves that brings the packet for it, so whoever has heard of an address finds it set.
//!
//! Guarantees: a look-up of an address takes a step for each doubling of the ranges, of a bit one load; nothing grows. Never: knows
//! what it is that waits, or for how long.

use super::key::Key4;
use super::sync::{AtomicU64, Ordering};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses that a pool has at most.
pub const ADDRESSES_MAX: u32 = 65_536;

/// An inclusive range of addresses, and the number of its first.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
    last: u32,
    number: u32,
}

/// The shared side. See the module.
#[derive(Debug)]
pub struct Circular {
    /// Ascending and disjoint.
    spans: Box<[Span]>,
    count: u32,
    bits: Box<[AtomicU64]>,
}

/// The one writer of the bits.
#[derive(Debug)]
pub struct Marks(Arc<Circular>);

impl Circular {
    /// Of these inclusive ranges, which are disjoint and hold 1 to [`ADDRESSES_MAX`] addresses; nothing waits.
    pub fn new(ranges: &[(Ipv4Addr, Ipv4Addr)]) -> (Arc<Self>, Marks) {
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        let mut count = 0;
        let span = |(first, last): (Ipv4Addr, Ipv4Addr)| {
            let span = Span { first: first.into(), last: last.into(), number: count };
            count += span.last - span.first + 1;
            span
        };
        let spans: Box<[Span]> = ranges.into_iter().map(span).collect();
        assert!((1..=ADDRESSES_MAX).contains(&count), "{count} addresses");
        let bits = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Self { spans, count, bits });
        (shared.clone(), Marks(shared))
    }

    /// How many addresses it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of an address, if it is one of the pool.
    #[inline]
    pub fn number(&self, address: Ipv4Addr) -> Option<u32> {
        let a = u32::from(address);
        let span = self.spans.get(self.spans.partition_point(|span| span.last < a))?;
        (span.first <= a).then(|| span.number + (a - span.first))
    }

    /// The address of that number.
    pub fn address(&self, number: u32) -> Option<Ipv4Addr> {
        let at = self.spans.partition_point(|span| span.number <= number);
        let span = self.spans.get(at.checked_sub(1)?).filter(|_| number < self.count)?;
        Some(Ipv4Addr::from(span.first + (number - span.number)))
    }

    /// Whether something waits at that number.
    #[inline]
    pub fn waits(&self, number: u32) -> bool {
        let word = self.bits.get(number as usize / 64);
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit(number) != 0)
    }
}

const fn bit(number: u32) -> u64 {
    1 << (number % 64)
}

impl Marks {
    /// The shared side.
    pub fn shared(&self) -> &Arc<Circular> {
        &self.0
    }

    /// Says whether something waits at that number. What is no number of the pool is nobody's.
    pub fn set(&mut self, number: u32, waits: bool) {
        let Some(word) = self.0.bits.get(number as usize / 64) else { return };
        let before = word.load(Ordering::Relaxed);
        let after = if waits { before | bit(number) } else { before & !bit(number) };
        if before != after {
            word.store(after, Ordering::Release);
        }
    }
}

/// What a home tells of a session at an address of the pool, by the key of its packets from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    Began(Key4),
    Ended(Key4),
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, last)
    }

    #[test]
    fn numbers_and_addresses_are_each_others() {
        let ranges = [(address(40), address(40)), (address(8), address(15)), (address(16), address(17))];
        let (pool, _) = Circular::new(&ranges);
        let expected: Vec<u8> = (8..=17).chain([40]).collect();
        assert_eq!(pool.count(), 11);
        for last in 0..=255 {
            let number = expected.iter().position(|own| *own == last).map(|n| n as u32);
            assert_eq!(pool.number(address(last)), number, "{last}");
            assert_eq!(number.and_then(|n| pool.address(n)), number.map(|_| address(last)));
        }
        assert_eq!((pool.address(11), pool.address(u32::MAX)), (None, None));
    }

    #[test]
    fn a_bit_is_one_addresss() {
        let (pool, mut marks) = Circular::new(&[(Ipv4Addr::new(10, 0, 0, 0), Ipv4Addr::new(10, 0, 0, 129))]);
        for number in [0, 63, 64, 129] {
            marks.set(number, true);
            assert_eq!((0..130).filter(|n| pool.waits(*n)).collect::<Vec<_>>(), [number]);
            marks.set(number, false);
        }
        marks.set(u32::MAX, true);
        assert!(!pool.waits(u32::MAX) && (0..130).all(|n| !pool.waits(n)));
    }
}
