//! The ports of a pool's addresses, cut into blocks: which are in use, and which rest.
//!
//! Every address is cut alike ([`Layout`]). A block belongs to whoever leases it: until it is given back only that home
//! reads or writes its bits. A port that was freed rests for the pool's cool-down, and as long again at most (RFC 6888
//! REQ-8): ports freed in one period are free when the next one has passed, so that two bits a port are all it takes.
//!
//! Never: knows addresses or subscribers' names, reads a clock, allocates after start.

use crate::flow::memory::{Region, prefetch};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// "No block", "no subscriber".
pub const NONE: u32 = u32::MAX;

/// TCP, UDP and ICMP each have all the ports.
const SPACES: usize = 3;
/// The place among the counts of whatever has no ports.
const WITHOUT_PORTS: usize = SPACES;
/// In use, freed in this period, freed in the one before.
const PLANES: usize = 3;
/// Every second port: those of even numbers, where the first is even.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// Which of the port spaces a protocol uses, by its IANA number.
pub const fn space(protocol: u8) -> Option<usize> {
    match protocol {
        6 => Some(0),
        17 => Some(1),
        1 => Some(2),
        _ => None,
    }
}

/// How the ports of each address are cut: `smalls` blocks of `small` ports, then `larges` of `large`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub first_port: u32,
    pub small: u32,
    pub smalls: u32,
    pub large: u32,
    pub larges: u32,
}

impl Layout {
    /// All blocks of one size.
    pub const fn even(first_port: u32, size: u32, blocks: u32) -> Self {
        Self { first_port, small: 0, smalls: 0, large: size, larges: blocks }
    }

    /// `ports` from `first_port` on in first blocks of `first` ports and others of `block`: as many first blocks as
    /// there can be if each of their subscribers has one more.
    pub const fn two_sizes(first_port: u32, ports: u32, first: u32, block: u32) -> Self {
        let smalls = ports / (first + block);
        let larges = (ports - smalls * first) / block;
        Self { first_port, small: first, smalls, large: block, larges }
    }

    /// Whether it is one block of all ports.
    const fn is_whole(&self) -> bool {
        self.first_port == 0 && self.smalls == 0 && self.larges == 1 && self.large == 1 << 16
    }

    /// Blocks of one address.
    pub const fn blocks(&self) -> u32 {
        self.smalls + self.larges
    }

    /// Whether this block of an address is one for newcomers.
    pub const fn is_first_block(&self, block: u32) -> bool {
        block < self.smalls || self.smalls == 0
    }

    /// The block of an address that has this port.
    pub const fn block_of(&self, port: u16) -> Option<u32> {
        let Some(at) = (port as u32).checked_sub(self.first_port) else { return None };
        let area = self.smalls * self.small;
        if at < area {
            return Some(at / self.small);
        }
        let block = (at - area) / self.large;
        if block < self.larges { Some(self.smalls + block) } else { None }
    }

    /// First port, and number of ports, of a block of an address.
    pub const fn ports_of(&self, block: u32) -> (u32, u32) {
        if block < self.smalls {
            (self.first_port + block * self.small, self.small)
        } else {
            let at = self.smalls * self.small + (block - self.smalls) * self.large;
            (self.first_port + at, self.large)
        }
    }

    const fn words_of(&self, block: u32) -> usize {
        self.ports_of(block).1.div_ceil(64) as usize
    }

    /// The place of a block's first word among those of its address, in words of one plane of one space.
    const fn word_at(&self, block: u32) -> usize {
        let (small, large) = (self.small.div_ceil(64) as usize, self.large.div_ceil(64) as usize);
        if block < self.smalls {
            block as usize * small
        } else {
            self.smalls as usize * small + (block - self.smalls) as usize * large
        }
    }
}

/// Which port a mapping would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Any,
    /// That one or none.
    Exactly(u16),
    /// One as even, or as odd, as that.
    LikeParity(u16),
}

/// A port block. Written by the home that leases it.
struct Block {
    /// The worker that leases it, plus one; 0 is nobody. Read by every worker.
    owner: AtomicU8,
    /// The subscriber whose it is, a number of the owner's.
    subscriber: AtomicU32,
    /// The next block of that subscriber, or of those that rest.
    next: AtomicU32,
    /// When the present period of freed ports began, in wrapping milliseconds; of a block that rests, when it was left.
    since: AtomicU32,
    /// Ports in use, by port space, and mappings without ports.
    used: [AtomicU32; SPACES + 1],
}

/// Workers that there may be.
pub(super) const WORKERS_MAX: usize = 64;

/// What one worker has of the blocks. Written by that worker alone, read by management.
#[derive(Default)]
#[repr(align(64))]
struct Share {
    leased: AtomicU32,
    resting: AtomicU32,
    /// As [`Block::used`].
    used: [AtomicU32; SPACES + 1],
}

/// What all workers have of the blocks: counted as they take and give, so that nobody looks through millions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blocks that subscribers have.
    pub leased: u32,
    /// Blocks that their subscribers have left, and nobody else may have yet.
    pub resting: u32,
    /// Ports in use.
    pub tcp: u32,
    pub udp: u32,
    /// Identifiers in use.
    pub icmp: u32,
    /// Mappings of protocols without ports.
    pub other: u32,
}

/// The blocks of all addresses, numbered address by address.
pub struct Blocks {
    layout: Layout,
    /// Milliseconds for which a block rests, and a port in one.
    cool_down: u32,
    port_cool_down: u32,
    /// By owner as [`Block::owner`] has it; the first is nobody's.
    shares: Box<[Share]>,
    blocks: Region<Block>,
    /// Block by block, space by space, word by word the planes.
    bits: Region<AtomicU64>,
}

impl Blocks {
    /// A block of a whole address is one subscriber's alone: its ports need no rest.
    pub fn new(layout: Layout, addresses: u32, cool_down: u32) -> Self {
        let words = layout.word_at(layout.blocks()) * SPACES * PLANES;
        Self {
            layout,
            cool_down,
            port_cool_down: if layout.is_whole() { 0 } else { cool_down },
            shares: (0..=WORKERS_MAX).map(|_| Share::default()).collect(),
            blocks: Region::new((addresses * layout.blocks()) as usize, |_| Block {
                owner: AtomicU8::new(0),
                subscriber: AtomicU32::new(NONE),
                next: AtomicU32::new(NONE),
                since: AtomicU32::new(0),
                used: std::array::from_fn(|_| AtomicU32::new(0)),
            }),
            bits: Region::new(addresses as usize * words, |_| AtomicU64::new(0)),
        }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Blocks of all addresses.
    pub fn count(&self) -> usize {
        self.blocks.len()
    }

    /// Management: what all workers have at the moment.
    pub fn usage(&self) -> Usage {
        let sum = |of: fn(&Share) -> &AtomicU32| self.shares.iter().map(|s| of(s).load(Relaxed)).sum();
        Usage {
            leased: sum(|s| &s.leased),
            resting: sum(|s| &s.resting),
            tcp: sum(|s| &s.used[0]),
            udp: sum(|s| &s.used[1]),
            icmp: sum(|s| &s.used[2]),
            other: sum(|s| &s.used[WITHOUT_PORTS]),
        }
    }

    fn block(&self, number: u32) -> &Block {
        &self.blocks[number as usize]
    }

    /// The words of a block in one port space.
    fn words(&self, number: u32, space: usize) -> &[AtomicU64] {
        let (address, block) = (number / self.layout.blocks(), number % self.layout.blocks());
        let words = self.layout.words_of(block);
        let before =
            address as usize * self.layout.word_at(self.layout.blocks()) + self.layout.word_at(block);
        let start = (before * SPACES + space * words) * PLANES;
        &self.bits[start..start + words * PLANES]
    }

    /// Asks for a block, and for the first of its bits.
    pub fn prefetch(&self, number: u32, protocol: u8) {
        prefetch(self.block(number));
        if let Some(space) = space(protocol) {
            self.words(number, space).first().inspect(|word| prefetch(*word));
        }
    }

    /// Asks for a block, and for the bits of one of its ports.
    pub fn prefetch_port(&self, number: u32, port: u16, protocol: u8) {
        prefetch(self.block(number));
        let first = self.layout.ports_of(number % self.layout.blocks()).0;
        if let Some(space) = space(protocol)
            && let Some(at) = u32::from(port).checked_sub(first)
        {
            self.words(number, space).get((at / 64) as usize * PLANES).inspect(|word| prefetch(*word));
        }
    }

    /// The worker that leases it.
    pub fn owner(&self, number: u32) -> Option<usize> {
        use std::sync::atomic::Ordering::Acquire;
        usize::from(self.block(number).owner.load(Acquire)).checked_sub(1)
    }

    /// Whose block it becomes: `next` follows it in that subscriber's list.
    pub fn occupy(&self, number: u32, worker: usize, subscriber: u32, next: u32, now: u32) {
        let block = self.block(number);
        block.subscriber.store(subscriber, Relaxed);
        block.next.store(next, Relaxed);
        // A block of nobody else's keeps what rests in it: see `vacate`.
        if self.port_cool_down > 0 {
            self.rotate(number, now);
        }
        block.owner.store(worker as u8 + 1, std::sync::atomic::Ordering::Release);
        add(&self.share(number).leased, 1);
    }

    /// The owner's.
    fn share(&self, number: u32) -> &Share {
        &self.shares[usize::from(self.block(number).owner.load(Relaxed))]
    }

    /// Nobody's from now on; what was freed in it goes on resting.
    pub fn vacate(&self, number: u32) {
        add(&self.share(number).leased, u32::MAX);
        self.block(number).owner.store(0, std::sync::atomic::Ordering::Release);
    }

    /// The owner: the number of the subscriber whose it is.
    pub fn subscriber(&self, number: u32) -> u32 {
        self.block(number).subscriber.load(Relaxed)
    }

    /// The owner: the block after this one in its list, or [`NONE`].
    pub fn next(&self, number: u32) -> u32 {
        self.block(number).next.load(Relaxed)
    }

    /// The owner: links the list anew.
    pub fn set_next(&self, number: u32, next: u32) {
        self.block(number).next.store(next, Relaxed);
    }

    /// The owner: whether the last port of this block was freed a cool-down ago. `left` says when.
    pub fn has_rested(&self, number: u32, now: u32) -> bool {
        now.wrapping_sub(self.block(number).since.load(Relaxed)) >= self.cool_down
    }

    /// The owner, which is about to vacate it: the block rests from now on, as a whole.
    pub fn rest(&self, number: u32, now: u32) {
        self.block(number).since.store(now, Relaxed);
        add(&self.share(number).resting, 1);
    }

    /// The worker that let it rest: it has rested, and all of it is free.
    pub fn wake(&self, number: u32, worker: usize, now: u32) {
        add(&self.shares[worker + 1].resting, u32::MAX);
        self.refresh(number, now);
    }

    /// The owner: all of a block that has rested is free.
    pub fn refresh(&self, number: u32, now: u32) {
        self.block(number).since.store(now, Relaxed);
        self.each_word(number, |planes| {
            planes[1].store(0, Relaxed);
            planes[2].store(0, Relaxed);
        });
    }

    fn each_word(&self, number: u32, mut each: impl FnMut(&[AtomicU64])) {
        for space in 0..SPACES {
            self.words(number, space).chunks_exact(PLANES).for_each(&mut each);
        }
    }

    /// Moves on to the period of `now`: what was freed in the one before the last is free.
    fn rotate(&self, number: u32, now: u32) {
        let since = &self.block(number).since;
        let began = since.load(Relaxed);
        let elapsed = now.wrapping_sub(began);
        if elapsed >= self.port_cool_down.saturating_mul(2) {
            self.refresh(number, now);
        } else if elapsed >= self.port_cool_down {
            since.store(began.wrapping_add(self.port_cool_down), Relaxed);
            self.each_word(number, |planes| {
                planes[2].store(planes[1].load(Relaxed), Relaxed);
                planes[1].store(0, Relaxed);
            });
        }
    }

    /// The owner: takes a free port that has rested, the first from a random place on (RFC 6056 section 3.3.1 within the
    /// block), or `None` when there is none such. A protocol without ports takes port 0.
    pub fn take(&self, number: u32, protocol: u8, wish: Wish, random: u32, now: u32) -> Option<u16> {
        let used = &self.block(number).used;
        let Some(space) = space(protocol) else {
            add(&used[WITHOUT_PORTS], 1);
            add(&self.share(number).used[WITHOUT_PORTS], 1);
            return Some(0);
        };
        let (first, size) = self.layout.ports_of(number % self.layout.blocks());
        if used[space].load(Relaxed) == size {
            return None;
        }
        if self.port_cool_down > 0 {
            self.rotate(number, now);
        }
        let (start, allowed) = match wish {
            Wish::Any => (random % size, u64::MAX),
            Wish::LikeParity(port) => (random % size, EVEN << ((u32::from(port) ^ first) & 1)),
            Wish::Exactly(port) => {
                let at = u32::from(port).checked_sub(first).filter(|at| *at < size)?;
                (at, 1 << (at % 64))
            }
        };
        let words = self.words(number, space);
        let count = words.len() / PLANES;
        let (first_word, first_bit) = ((start / 64) as usize, start % 64);
        // The first word is looked at twice: from the random bit on, and at the end from its beginning.
        let looks = if matches!(wish, Wish::Exactly(_)) { 1 } else { count + 1 };
        for i in 0..looks {
            let w = (first_word + i) % count;
            let planes = &words[w * PLANES..][..PLANES];
            let taken = planes.iter().fold(0, |bits, plane| bits | plane.load(Relaxed));
            let from = if i == 0 { u64::MAX << first_bit } else { u64::MAX };
            // Port 0 is nobody's to send from (RFC 768, RFC 9293 section 3.1), unless it is asked for.
            let is_zero = first == 0 && w == 0 && space != 2 && !matches!(wish, Wish::Exactly(_));
            let from = if is_zero { from & !1 } else { from };
            let there = match size - w as u32 * 64 {
                64.. => u64::MAX,
                rest => (1 << rest) - 1,
            };
            let free = !taken & allowed & from & there;
            if free != 0 {
                let bit = free.trailing_zeros();
                planes[0].store(planes[0].load(Relaxed) | 1 << bit, Relaxed);
                add(&used[space], 1);
                add(&self.share(number).used[space], 1);
                return Some((first + w as u32 * 64 + bit) as u16);
            }
        }
        None
    }

    /// The owner: takes back what it took just now, as if it never had.
    pub fn unuse(&self, number: u32, port: u16, protocol: u8) {
        let count = |space: usize| {
            add(&self.share(number).used[space], u32::MAX);
            add(&self.block(number).used[space], u32::MAX);
        };
        let Some(space) = space(protocol) else { return count(WITHOUT_PORTS) };
        let at = u32::from(port) - self.layout.ports_of(number % self.layout.blocks()).0;
        let used = &self.words(number, space)[(at / 64) as usize * PLANES];
        used.store(used.load(Relaxed) & !(1 << (at % 64)), Relaxed);
        count(space);
    }

    /// The owner: frees what it took. Whether nothing of the block is in use any more.
    pub fn free(&self, number: u32, port: u16, protocol: u8, now: u32) -> bool {
        let used = &self.block(number).used;
        add(&self.share(number).used[space(protocol).unwrap_or(WITHOUT_PORTS)], u32::MAX);
        match space(protocol) {
            None => add(&used[WITHOUT_PORTS], u32::MAX),
            Some(space) => {
                if self.port_cool_down > 0 {
                    self.rotate(number, now);
                }
                let at = u32::from(port) - self.layout.ports_of(number % self.layout.blocks()).0;
                let planes = &self.words(number, space)[(at / 64) as usize * PLANES..][..PLANES];
                let bit = 1u64 << (at % 64);
                let bits = planes[0].load(Relaxed);
                debug_assert!(bits & bit != 0, "a port freed twice");
                planes[0].store(bits & !bit, Relaxed);
                if self.port_cool_down > 0 {
                    planes[1].store(planes[1].load(Relaxed) | bit, Relaxed);
                }
                add(&used[space], u32::MAX);
            }
        }
        used.iter().all(|u| u.load(Relaxed) == 0)
    }

    /// Ports in use over all spaces, of one block.
    pub fn in_use(&self, number: u32) -> u32 {
        self.block(number).used.iter().map(|u| u.load(Relaxed)).sum()
    }
}

/// The owner alone writes.
fn add(count: &AtomicU32, more: u32) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

#[cfg(test)]
#[path = "ports_tests.rs"]
mod tests;
