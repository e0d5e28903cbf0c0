//! How many there are of each: a bounded hash table of small counts, in which what has none takes no place.
//!
//! A key lies in the slot of its hash, or in the next ones behind that; what is taken away closes its gap, so that nothing is
//! left of it. At most two slots of three are taken: nearly every look-up ends in the cache line where it begins.
//!
//! Never: grows, allocates after start.

use super::table::Secret;
use crate::flow::memory::{Region, prefetch};
use std::hash::{BuildHasher, Hash};

/// A key, and how many there are of it; empty with none.
#[derive(Clone, Copy)]
struct Slot<K> {
    key: K,
    count: u32,
}

/// See the module.
pub struct Counts<K> {
    secret: Secret,
    slots: Region<Slot<K>>,
    len: usize,
    most: usize,
}

impl<K: Copy + Default + Eq + Hash> Counts<K> {
    /// Room for so many keys.
    pub fn new(most: usize, secret: Secret) -> Self {
        // One slot is always empty: there every search ends.
        let slots = Region::new(most + most / 2 + 1, |_| Slot { key: K::default(), count: 0 });
        Self { secret, slots, len: 0, most }
    }

    /// Whether there is none of any.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there are of that.
    pub fn get(&self, key: &K) -> u32 {
        self.slots[self.find(key)].count
    }

    /// That key will be asked for soon.
    pub fn prefetch(&self, key: &K) {
        prefetch(&self.slots[self.home(key)]);
    }

    /// One more. What finds no room is not counted.
    pub fn add(&mut self, key: K) {
        let at = self.find(&key);
        let is_new = self.slots[at].count == 0;
        if is_new && self.len == self.most {
            return;
        }
        self.len += usize::from(is_new);
        self.slots[at] = Slot { key, count: self.slots[at].count.saturating_add(1) };
    }

    /// One less, if there is any.
    pub fn subtract(&mut self, key: &K) {
        let at = self.find(key);
        match self.slots[at].count {
            0 => (),
            1 => {
                self.len -= 1;
                self.vacate(at);
            }
            count => self.slots[at].count = count - 1,
        }
    }

    fn home(&self, key: &K) -> usize {
        ((u128::from(self.secret.hash_one(key)) * self.slots.len() as u128) >> 64) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// How far `to` is behind `from`.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// The slot of a key, or the empty one where it would be.
    fn find(&self, key: &K) -> usize {
        let mut at = self.home(key);
        while self.slots[at].count > 0 && self.slots[at].key != *key {
            at = self.next(at);
        }
        at
    }

    /// Empties a slot. What lies behind it, and would be looked for in it, moves up.
    fn vacate(&mut self, mut hole: usize) {
        let mut at = self.next(hole);
        while self.slots[at].count > 0 {
            let home = self.home(&self.slots[at].key);
            if self.distance(home, at) >= self.distance(hole, at) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
            at = self.next(at);
        }
        self.slots[hole].count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Against a map, in a table so small that keys lie far from their slots, and wrap around its end.
        #[test]
        fn like_a_map(
            words in any::<[u64; 2]>(),
            events in prop::collection::vec((0u32..24, prop::bool::weighted(0.6)), 0..400),
        ) {
            const MOST: usize = 16;
            let mut counts = Counts::<u32>::new(MOST, Secret::new(words));
            let mut model = HashMap::<u32, u32>::new();
            for (key, more) in events {
                if more && (model.contains_key(&key) || model.len() < MOST) {
                    *model.entry(key).or_insert(0) += 1;
                } else if let Some(count) = model.get_mut(&key).filter(|_| !more) {
                    *count -= 1;
                }
                model.retain(|_, count| *count > 0);
                if more { counts.add(key) } else { counts.subtract(&key) }
                for key in 0..24 {
                    prop_assert_eq!(counts.get(&key), model.get(&key).copied().unwrap_or(0));
                }
                prop_assert_eq!((counts.len, counts.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
