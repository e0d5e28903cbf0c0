//! The public side of the NAT: addresses, and their ports in blocks.
//!
//! A block is leased by a home for one of its subscribers, without waiting for anyone ([`Leases`]); until it is given back
//! only that home reads or writes its `Block` and its bits. Any worker may ask who leases a block: that is where a packet
//! from outside that belongs to no session goes.

use crate::flow::Protocol;
use crate::flow::lease::Leases;
use crate::flow::memory::Region;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// "No block", "no subscriber".
pub const NONE: u32 = u32::MAX;

/// TCP, UDP and ICMP each have all the ports.
const SPACES: usize = 3;

/// Which of the port spaces a protocol uses.
fn space(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Icmp | Protocol::Icmpv6 => 2,
    }
}

/// A port block. Written by the home that leases it.
struct Block {
    /// The worker that leases it, plus one; 0 is nobody. Read by every worker.
    owner: AtomicU8,
    /// The subscriber whose it is, a number of the owner's.
    subscriber: AtomicU32,
    /// The next block of that subscriber.
    next: AtomicU32,
    /// Ports in use, by port space.
    used: [AtomicU16; SPACES],
}

/// An inclusive range of public addresses; `first_index` numbers them through all ranges.
struct Range {
    first: u32,
    last: u32,
    first_index: u32,
}

/// The public addresses and ports of one NAT, shared by all its homes. See the module.
pub struct Pool {
    ranges: Vec<Range>,
    addresses: u32,
    first_port: u16,
    /// log2 of the ports in a block.
    shift: u32,
    blocks_per_address: u32,
    blocks: Region<Block>,
    /// One bit a port, set while in use: block-major, then port space.
    bits: Region<AtomicU64>,
    /// Free blocks by address: a subscriber stays on one address.
    free: Box<[Leases]>,
}

/// A public endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
}

impl Pool {
    /// The pool of `ranges` (inclusive, disjoint, checked by the configuration), each address with `ports` in blocks of
    /// `block_size` (a power of two, at least 64, dividing the ports). `random` gives the order in which blocks are leased.
    pub fn new(
        ranges: &[(Ipv4Addr, Ipv4Addr)],
        ports: RangeInclusive<u16>,
        block_size: u16,
        mut random: impl FnMut() -> u64,
    ) -> Self {
        assert!(block_size.is_power_of_two() && block_size >= 64);
        let mut sorted: Vec<(u32, u32)> = ranges.iter().map(|r| (u32::from(r.0), u32::from(r.1))).collect();
        sorted.sort_unstable();
        let mut addresses = 0;
        let ranges = sorted
            .into_iter()
            .map(|(first, last)| {
                let range = Range { first, last, first_index: addresses };
                addresses += last - first + 1;
                range
            })
            .collect();
        let count = u32::from(*ports.end()) + 1 - u32::from(*ports.start());
        let blocks_per_address = count / u32::from(block_size);
        let blocks = (addresses * blocks_per_address) as usize;
        let words = usize::from(block_size) / 64 * SPACES;
        let free = (0..addresses)
            .map(|a| {
                let mut order: Vec<u32> = (a * blocks_per_address..(a + 1) * blocks_per_address).collect();
                for i in (1..order.len()).rev() {
                    order.swap(i, (random() % (i as u64 + 1)) as usize);
                }
                Leases::new(&order)
            })
            .collect();
        Self {
            ranges,
            addresses,
            first_port: *ports.start(),
            shift: block_size.trailing_zeros(),
            blocks_per_address,
            blocks: Region::new(blocks, |_| Block {
                owner: AtomicU8::new(0),
                subscriber: AtomicU32::new(NONE),
                next: AtomicU32::new(NONE),
                used: std::array::from_fn(|_| AtomicU16::new(0)),
            }),
            bits: Region::new(blocks * words, |_| AtomicU64::new(0)),
            free,
        }
    }

    /// Addresses in the pool.
    pub fn addresses(&self) -> u32 {
        self.addresses
    }

    /// Port blocks in the pool.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn index_of(&self, address: Ipv4Addr) -> Option<u32> {
        let a = u32::from(address);
        let at = self.ranges.partition_point(|r| r.last < a);
        let range = self.ranges.get(at).filter(|r| r.first <= a)?;
        Some(range.first_index + (a - range.first))
    }

    fn address(&self, index: u32) -> Ipv4Addr {
        let at = self.ranges.partition_point(|r| r.first_index <= index) - 1;
        let range = &self.ranges[at];
        Ipv4Addr::from(range.first + (index - range.first_index))
    }

    /// Whether this is an address of the pool.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.index_of(address).is_some()
    }

    fn block_of(&self, e: Endpoint) -> Option<u32> {
        let address = self.index_of(e.address)?;
        let block = u32::from(e.port.checked_sub(self.first_port)?) >> self.shift;
        (block < self.blocks_per_address).then(|| address * self.blocks_per_address + block)
    }

    /// The worker whose subscriber has the block of this public endpoint.
    pub fn owner(&self, e: Endpoint) -> Option<usize> {
        let owner = self.blocks[self.block_of(e)? as usize].owner.load(Ordering::Acquire);
        (owner as usize).checked_sub(1)
    }

    /// Leases a block of the address numbered `address` (modulo the number of addresses) for `worker`'s `subscriber`, whose
    /// list of blocks so far begins with `next`. `None` when the address has no free block.
    pub fn lease(&self, address: u32, worker: usize, subscriber: u32, next: u32) -> Option<u32> {
        let number = self.free[(address % self.addresses) as usize].take()?;
        let block = &self.blocks[number as usize];
        block.subscriber.store(subscriber, Ordering::Relaxed);
        block.next.store(next, Ordering::Relaxed);
        block.owner.store(worker as u8 + 1, Ordering::Release);
        Some(number)
    }

    /// Gives a leased block back, all of its ports free.
    pub fn give_back(&self, number: u32) {
        self.blocks[number as usize].owner.store(0, Ordering::Release);
        self.free[self.address_index(number) as usize].give(number);
    }

    /// The owner: the block after this one in its subscriber's list, or [`NONE`].
    pub fn next(&self, number: u32) -> u32 {
        self.blocks[number as usize].next.load(Ordering::Relaxed)
    }

    /// The owner: links the list anew.
    pub fn set_next(&self, number: u32, next: u32) {
        self.blocks[number as usize].next.store(next, Ordering::Relaxed);
    }

    /// The number of a block's address, as [`Self::lease`] takes it.
    pub fn address_index(&self, number: u32) -> u32 {
        number / self.blocks_per_address
    }

    fn words(&self, number: u32, protocol: Protocol) -> &[AtomicU64] {
        let words = (1usize << self.shift) / 64;
        let start = (number as usize * SPACES + space(protocol)) * words;
        &self.bits[start..start + words]
    }

    /// The owner: takes a free port of the block, the first from a random place on (RFC 6056 section 3.3.1 within the
    /// block), or `None` when all are in use.
    pub fn take_port(&self, number: u32, protocol: Protocol, random: u32) -> Option<Endpoint> {
        let used = &self.blocks[number as usize].used[space(protocol)];
        if u32::from(used.load(Ordering::Relaxed)) == 1 << self.shift {
            return None;
        }
        let words = self.words(number, protocol);
        let start = random as usize & ((1 << self.shift) - 1);
        let (first_word, first_bit) = (start / 64, start % 64);
        // The first word is looked at twice: from the random bit on, and at the end from its beginning.
        for i in 0..=words.len() {
            let w = (first_word + i) % words.len();
            let mask = if i == 0 { u64::MAX << first_bit } else { u64::MAX };
            let bits = words[w].load(Ordering::Relaxed);
            let free = !bits & mask;
            if free != 0 {
                let bit = free.trailing_zeros();
                words[w].store(bits | 1 << bit, Ordering::Relaxed);
                used.store(used.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                let in_address = ((number % self.blocks_per_address) << self.shift) + w as u32 * 64 + bit;
                let port = self.first_port + in_address as u16;
                return Some(Endpoint { address: self.address(self.address_index(number)), port });
            }
        }
        None
    }

    /// The owner: frees a port that it took. Returns its block, and whether no port of that is in use any more.
    pub fn free_port(&self, e: Endpoint, protocol: Protocol) -> (u32, bool) {
        let number = self.block_of(e).expect("a port that was taken from this pool");
        let in_block = usize::from(e.port - self.first_port) & ((1 << self.shift) - 1);
        let word = &self.words(number, protocol)[in_block / 64];
        let bits = word.load(Ordering::Relaxed);
        debug_assert!(bits & 1 << (in_block % 64) != 0, "a port freed twice");
        word.store(bits & !(1 << (in_block % 64)), Ordering::Relaxed);
        let block = &self.blocks[number as usize];
        let used = &block.used[space(protocol)];
        used.store(used.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        (number, block.used.iter().all(|u| u.load(Ordering::Relaxed) == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn pool() -> Pool {
        let ip = |d| Ipv4Addr::new(203, 0, 113, d);
        let mut n = 1u64;
        Pool::new(&[(ip(16), ip(17)), (ip(4), ip(4))], 1024..=1279, 128, || {
            n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            n >> 33
        })
    }

    #[test]
    fn numbers_addresses_and_blocks() {
        let p = pool();
        assert_eq!((p.addresses(), p.blocks()), (3, 6));
        let ip = |d| Ipv4Addr::new(203, 0, 113, d);
        assert!(p.contains(ip(4)) && p.contains(ip(17)) && !p.contains(ip(5)) && !p.contains(ip(18)));
        for d in [4, 16, 17] {
            assert_eq!(p.address(p.index_of(ip(d)).unwrap()), ip(d));
            assert_eq!(p.block_of(Endpoint { address: ip(d), port: 1023 }), None);
            assert_eq!(p.block_of(Endpoint { address: ip(d), port: 1280 }), None);
            assert!(p.block_of(Endpoint { address: ip(d), port: 1279 }).is_some());
        }
    }

    #[test]
    fn every_port_once_then_none_then_again() {
        let p = pool();
        let block = p.lease(1, 3, 7, NONE).unwrap();
        let mut seen = HashSet::new();
        for r in 0..128u32 {
            let e = p.take_port(block, Protocol::Udp, r.wrapping_mul(2654435761)).unwrap();
            assert!(seen.insert(e) && p.owner(e) == Some(3));
        }
        assert_eq!(p.take_port(block, Protocol::Udp, 5), None);
        assert!(p.take_port(block, Protocol::Tcp, 5).is_some(), "another port space");
        let e = *seen.iter().next().unwrap();
        assert_eq!(p.free_port(e, Protocol::Udp), (block, false));
        assert_eq!(p.take_port(block, Protocol::Udp, 9), Some(e));
    }

    #[test]
    fn blocks_are_exclusive_and_return() {
        let p = pool();
        let (a, b) = (p.lease(0, 0, 1, NONE).unwrap(), p.lease(0, 1, 2, NONE).unwrap());
        assert_ne!(a, b);
        assert_eq!(p.lease(0, 1, 2, b), None, "the address is full");
        let e = p.take_port(a, Protocol::Tcp, 0).unwrap();
        assert_eq!(p.free_port(e, Protocol::Tcp), (a, true));
        p.give_back(a);
        assert_eq!(p.owner(e), None);
        assert_eq!(p.lease(0, 1, 2, b), Some(a));
        assert_eq!((p.next(a), p.owner(e)), (b, Some(1)));
    }
}
