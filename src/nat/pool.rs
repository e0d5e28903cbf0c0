//! A pool: public addresses, and how subscribers share them.
//!
//! A block of ports is leased by a home for one of its subscribers, without waiting for anyone ([`Leases`]). Any worker may
//! ask who leases a block: that is where a packet from outside that belongs to no session goes.

use super::deterministic::Formula;
use super::options::{PoolOptions, Sharing};
use super::ports::{Blocks, Layout};
use crate::flow::Realm;
use crate::flow::lease::Leases;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

pub use super::ports::NONE;

/// Addresses that a newcomer is tried on before it is refused.
const ADDRESSES_TRIED: u32 = 64;

/// A public endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// What the operator lets a pool do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PoolState {
    Active,
    /// No new mappings; those that are there live on.
    Draining,
    /// Nothing: its sessions end.
    Removed,
}

/// An inclusive range of public addresses; `first_index` numbers them through all ranges.
struct Range {
    first: u32,
    last: u32,
    first_index: u32,
}

/// One pool, shared by all homes. See the module.
pub struct Pool {
    options: PoolOptions,
    ranges: Vec<Range>,
    addresses: u32,
    formula: Option<Formula>,
    blocks: Blocks,
    /// Free blocks by address, those for newcomers and the others: a subscriber stays on one address.
    first_blocks: Box<[Leases]>,
    more_blocks: Box<[Leases]>,
    /// A [`PoolState`]. Written by management, read by homes.
    state: AtomicU8,
}

impl Pool {
    /// The pool that `options`, which the configuration has checked, describe. `random` gives the order in which blocks
    /// are leased.
    ///
    /// # Panics
    /// When a deterministic pool has no room for its subscribers.
    pub fn new(options: PoolOptions, mut random: impl FnMut() -> u64) -> Self {
        let mut sorted: Vec<(u32, u32)> =
            options.ranges.iter().map(|r| (u32::from(r.0), u32::from(r.1))).collect();
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
        let first_port = u32::from(*options.ports.start());
        let ports = u32::from(*options.ports.end()) + 1 - first_port;
        let mut formula = None;
        let layout = match options.sharing {
            Sharing::WholeAddress => Layout::even(0, 1 << 16, 1),
            Sharing::Blocks { first, block, .. } if first == block => {
                Layout::even(first_port, block, ports / block)
            }
            Sharing::Blocks { first, block, .. } => Layout::two_sizes(first_port, ports, first, block),
            Sharing::Deterministic => {
                let f = Formula::new(&options.realms, &options.subscribers, addresses, ports);
                let f = f.expect("the configuration has checked that there is room");
                let layout = f.layout(first_port, ports);
                formula = Some(f);
                layout
            }
        };
        let mut leases = |blocks: std::ops::Range<u32>| -> Box<[Leases]> {
            let of = |a: u32| (a * layout.blocks() + blocks.start)..(a * layout.blocks() + blocks.end);
            (0..addresses).map(|a| Leases::new(&shuffled(of(a), &mut random))).collect()
        };
        let (first_blocks, more_blocks) = match (&formula, layout.smalls) {
            (Some(_), _) => (leases(0..0), leases(0..0)),
            (None, 0) => (leases(0..layout.blocks()), leases(0..0)),
            (None, smalls) => (leases(0..smalls), leases(smalls..layout.blocks())),
        };
        let blocks = Blocks::new(layout, addresses, options.cool_down);
        let state = AtomicU8::new(PoolState::Active as u8);
        Self { options, ranges, addresses, formula, blocks, first_blocks, more_blocks, state }
    }

    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Addresses in the pool.
    pub fn addresses(&self) -> u32 {
        self.addresses
    }

    /// Its blocks of ports.
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    pub fn state(&self) -> PoolState {
        match self.state.load(Relaxed) {
            0 => PoolState::Active,
            1 => PoolState::Draining,
            _ => PoolState::Removed,
        }
    }

    /// Management: what it may do from now on. What was removed stays so: false.
    pub fn set_state(&self, state: PoolState) -> bool {
        let of = |now: u8| (now != PoolState::Removed as u8).then_some(state as u8);
        self.state.try_update(Relaxed, Relaxed, of).is_ok()
    }

    /// Whether this subscriber is one of those whom it serves.
    pub fn serves(&self, realm: Realm, subscriber: Ipv4Addr) -> bool {
        let o = &self.options;
        o.realms.contains(&realm)
            && (o.subscribers.is_empty() || o.subscribers.iter().any(|p| p.contains(&subscriber)))
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

    /// The address of a block.
    pub fn address_of(&self, block: u32) -> Ipv4Addr {
        self.address(block / self.blocks.layout().blocks())
    }

    /// The block of a public endpoint.
    pub fn block_of(&self, e: Endpoint) -> Option<u32> {
        let address = self.index_of(e.address)?;
        let block = self.blocks.layout().block_of(e.port)?;
        Some(address * self.blocks.layout().blocks() + block)
    }

    /// The worker whose subscriber has the block of this public endpoint.
    pub fn owner(&self, e: Endpoint) -> Option<usize> {
        self.blocks.owner(self.block_of(e)?)
    }

    /// Leases the first block of `worker`'s new `subscriber`, of this realm and inside address: it chooses the public address
    /// that the subscriber stays on. `None` when no address that was tried has one.
    pub fn lease_first(
        &self,
        (realm, inside): (Realm, Ipv4Addr),
        worker: usize,
        subscriber: u32,
        random: u32,
        now: u32,
    ) -> Option<u32> {
        let number = match &self.formula {
            Some(formula) => formula.block(realm, inside)?,
            None => (0..self.addresses.min(ADDRESSES_TRIED))
                .find_map(|i| self.first_blocks[(random.wrapping_add(i) % self.addresses) as usize].take())?,
        };
        self.blocks.occupy(number, worker, subscriber, NONE, now);
        Some(number)
    }

    /// Leases one more block for a subscriber, on the address of `beside`, its first. `None` when there is none.
    pub fn lease_more(&self, beside: u32, worker: usize, subscriber: u32, now: u32) -> Option<u32> {
        if self.formula.is_some() {
            return None;
        }
        let address = (beside / self.blocks.layout().blocks()) as usize;
        let leases = if self.blocks.layout().smalls == 0 { &self.first_blocks } else { &self.more_blocks };
        let number = leases[address].take()?;
        self.blocks.occupy(number, worker, subscriber, beside, now);
        Some(number)
    }

    /// Whether a block that its subscriber has left must rest before somebody else may have it.
    pub fn must_rest(&self) -> bool {
        self.formula.is_none() && self.options.cool_down > 0
    }

    /// Gives a block back that is not in use, and has rested.
    pub fn give_back(&self, number: u32) {
        if self.formula.is_some() {
            return;
        }
        let (address, block) =
            (number / self.blocks.layout().blocks(), number % self.blocks.layout().blocks());
        let of =
            if self.blocks.layout().is_first_block(block) { &self.first_blocks } else { &self.more_blocks };
        of[address as usize].give(number);
    }

    /// Blocks that one subscriber may have.
    pub fn blocks_per_subscriber(&self) -> u16 {
        match self.options.sharing {
            Sharing::Blocks { per_subscriber, .. } => per_subscriber,
            Sharing::Deterministic | Sharing::WholeAddress => 1,
        }
    }

    /// Whether a subscriber has an address for itself, and so every protocol.
    pub fn is_whole(&self) -> bool {
        self.options.sharing == Sharing::WholeAddress
    }

    /// Subscribers that share an address of a deterministic pool.
    pub fn ratio(&self) -> Option<u32> {
        self.formula.as_ref().map(Formula::ratio)
    }

    /// The public address and ports that the formula of a deterministic pool gives a subscriber (RFC 7422).
    pub fn determined(&self, realm: Realm, inside: Ipv4Addr) -> Option<(Ipv4Addr, RangeInclusive<u16>)> {
        let block = self.formula.as_ref()?.block(realm, inside)?;
        Some((self.address_of(block), self.ports_of(block)))
    }

    /// The inverse of [`Self::determined`]: the subscriber who has this public endpoint, and the ports of its block.
    pub fn determined_subscriber(&self, e: Endpoint) -> Option<((Realm, Ipv4Addr), RangeInclusive<u16>)> {
        let block = self.block_of(e)?;
        Some((self.formula.as_ref()?.subscriber(block)?, self.ports_of(block)))
    }

    fn ports_of(&self, block: u32) -> RangeInclusive<u16> {
        let (first, size) = self.blocks.layout().ports_of(block % self.blocks.layout().blocks());
        first as u16..=(first + size - 1) as u16
    }
}

fn shuffled(numbers: std::ops::Range<u32>, random: &mut impl FnMut() -> u64) -> Vec<u32> {
    let mut order: Vec<u32> = numbers.collect();
    for i in (1..order.len()).rev() {
        order.swap(i, (random() % (i as u64 + 1)) as usize);
    }
    order
}
