//! What subscribers have asked for, and until when: private to a home, preallocated.
//!
//! An entry is a MAP, of which a mapping has one at the most, or a PEER, one for each remote end.

use super::wire::{FILTERS, Filter};
use crate::flow::hash::Hashed;
use crate::flow::{HashKey, Key4, Realm};
use crate::nat::id_map::IdMap;
use crate::nat::pool::NONE;
use crate::nat::store::Store;
use arrayvec::ArrayVec;
use std::net::Ipv4Addr;

/// Whose an entry is: of the mapping itself, or of its session with that remote end.
pub type Peer = Option<(Ipv4Addr, u16)>;

/// What was asked for.
#[derive(Clone, Copy)]
pub struct Explicit {
    /// [`NONE`] of one that is free.
    pub mapping: u32,
    /// The next free one while this one is free.
    next: u32,
    pub peer: Peer,
    /// In milliseconds since the epoch began.
    pub until: u64,
    pub nonce: [u8; 12],
    filters: [Filter; FILTERS],
    filter_count: u8,
}

impl Default for Explicit {
    fn default() -> Self {
        Self {
            mapping: NONE,
            next: NONE,
            peer: None,
            until: 0,
            nonce: [0; 12],
            filters: [Filter::default(); FILTERS],
            filter_count: 0,
        }
    }
}

impl Explicit {
    pub fn new(mapping: u32, peer: Peer, nonce: [u8; 12]) -> Self {
        Self { mapping, peer, nonce, ..Self::default() }
    }

    pub fn filters(&self) -> &[Filter] {
        &self.filters[..usize::from(self.filter_count)]
    }

    /// Those and no others.
    pub fn set_filters(&mut self, filters: &ArrayVec<Filter, FILTERS>) {
        self.filters[..filters.len()].copy_from_slice(filters);
        self.filter_count = filters.len() as u8;
    }

    /// Whether the filters, if there are any, let packets from there in.
    pub fn passes(&self, remote: Ipv4Addr, port: u16) -> bool {
        self.filters().is_empty() || self.filters().iter().any(|filter| filter.passes(remote, port))
    }
}

/// See the module.
pub struct Table {
    hash: HashKey,
    store: Store<Explicit>,
    by_mapping: IdMap,
    capacity: u32,
    /// Where the search for what is over goes on.
    cursor: u32,
}

fn hash(key: &HashKey, mapping: u32, peer: Peer) -> u32 {
    let (address, port) = peer.map_or((0, 0), |(address, port)| (u32::from(address), port));
    let words = u64::from(mapping) | u64::from(address) << 32;
    Key4::from_words(words, port.into(), Realm(0), u8::from(peer.is_some())).hash(key).buckets as u32
}

impl Table {
    pub fn new(capacity: usize, hash: HashKey) -> Self {
        let (store, by_mapping) = (Store::new(capacity), IdMap::new(capacity));
        Self { hash, store, by_mapping, capacity: capacity as u32, cursor: 0 }
    }

    pub fn len(&self) -> usize {
        self.by_mapping.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn is_full(&self) -> bool {
        self.len() == self.capacity as usize
    }

    pub fn find(&self, mapping: u32, peer: Peer) -> Option<u32> {
        self.by_mapping.find(hash(&self.hash, mapping, peer), |n| {
            self.store[n].mapping == mapping && self.store[n].peer == peer
        })
    }

    /// Enters what is not there yet; `None` where there is no room.
    pub fn insert(&mut self, entry: Explicit) -> Option<u32> {
        let n = self.store.take(|e| e.next)?;
        if self.by_mapping.insert(hash(&self.hash, entry.mapping, entry.peer), n) {
            self.store[n] = entry;
            return Some(n);
        }
        self.store.give(n, |e, next| e.next = next);
        None
    }

    pub fn remove(&mut self, n: u32) -> Explicit {
        let entry = self.store[n];
        self.by_mapping.remove(hash(&self.hash, entry.mapping, entry.peer), n);
        self.store[n] = Explicit::default();
        self.store.give(n, |e, next| e.next = next);
        entry
    }

    /// The next of `budget` places in their turn that has an entry; the budget shrinks.
    pub fn next_in_turn(&mut self, budget: &mut u32) -> Option<u32> {
        while *budget > 0 && !self.is_empty() {
            *budget -= 1;
            let n = self.cursor;
            self.cursor = if n + 1 < self.capacity { n + 1 } else { 0 };
            if self.store[n].mapping != NONE {
                return Some(n);
            }
        }
        None
    }

    /// Places of entries.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }
}

impl std::ops::Index<u32> for Table {
    type Output = Explicit;
    fn index(&self, n: u32) -> &Explicit {
        &self.store[n]
    }
}

impl std::ops::IndexMut<u32> for Table {
    fn index_mut(&mut self, n: u32) -> &mut Explicit {
        &mut self.store[n]
    }
}
