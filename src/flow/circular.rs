//! The circular pool as all threads see it: its addresses by number, and one bit each that says that something waits there. And
//! what a home tells of the sessions that begin and end at them.
//!
//! One thread writes the bits, the owner of [`Marks`]; every worker reads them, where a packet from outside has no session.
//! A bit is set before the answer leaves that brings the packet for it, so whoever has heard of an address finds it set.
//!
//! Guarantees: a look-up of an address takes a step for each doubling of the ranges, of a bit one load; nothing grows. Never: knows
//! what it is that waits, or for how long.

use super::key::Key4;
use super::ranges::Ranges;
use super::sync::{AtomicU64, Ordering};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses that a pool has at most.
pub const ADDRESSES_MAX: u32 = 65_536;

/// The shared side. See the module.
#[derive(Debug)]
pub struct Circular {
    ranges: Ranges,
    bits: Box<[AtomicU64]>,
}

/// The one writer of the bits.
#[derive(Debug)]
pub struct Marks(Arc<Circular>);

impl Circular {
    /// Of these inclusive ranges, which are disjoint and hold 1 to [`ADDRESSES_MAX`] addresses; nothing waits.
    pub fn new(ranges: &[(Ipv4Addr, Ipv4Addr)]) -> (Arc<Self>, Marks) {
        let ranges = Ranges::new(ranges);
        let count = ranges.count();
        assert!((1..=ADDRESSES_MAX).contains(&count), "{count} addresses");
        let bits = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Self { ranges, bits });
        (shared.clone(), Marks(shared))
    }

    /// How many addresses it has.
    pub fn count(&self) -> u32 {
        self.ranges.count()
    }

    /// The number of an address, if it is one of the pool.
    #[inline]
    pub fn number(&self, address: Ipv4Addr) -> Option<u32> {
        self.ranges.number(address)
    }

    /// The address of that number.
    pub fn address(&self, number: u32) -> Option<Ipv4Addr> {
        self.ranges.address(number)
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
