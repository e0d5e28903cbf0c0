//! A bounded hash map from hashes to numbers: the keys lie in the elements that the numbers name.
//!
//! Linear probing at a load of at most two thirds, with backward-shift deletion, so that there are no tombstones and nothing
//! degrades. Preallocated: four bytes a slot. Private to one worker.

use crate::flow::memory::Region;

const EMPTY: u32 = u32::MAX;

/// See the module. The hash that each number was entered under must be told again for its neighbours when one is removed.
pub struct IdMap {
    slots: Region<u32>,
    len: usize,
    capacity: usize,
}

impl IdMap {
    /// Room for `capacity` numbers.
    pub fn new(capacity: usize) -> Self {
        let slots = capacity * 3 / 2 + 8;
        Self { slots: Region::new(slots, |_| EMPTY), len: 0, capacity }
    }

    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn ideal(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    /// The number entered under `hash` for which `is_it` says yes.
    #[inline]
    pub fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.ideal(hash);
        loop {
            match self.slots[at] {
                EMPTY => return None,
                n if is_it(n) => return Some(n),
                _ => at = self.after(at),
            }
        }
    }

    /// Enters `number`, which is not in it. False when the map is full.
    pub fn insert(&mut self, hash: u32, number: u32) -> bool {
        debug_assert!(number != EMPTY);
        if self.len == self.capacity {
            return false;
        }
        let mut at = self.ideal(hash);
        while self.slots[at] != EMPTY {
            at = self.after(at);
        }
        self.slots[at] = number;
        self.len += 1;
        true
    }

    /// Removes `number`, entered under `hash`. `hash_of` tells the hash of any number in the map. False when it isn't there.
    pub fn remove(&mut self, hash: u32, number: u32, hash_of: impl Fn(u32) -> u32) -> bool {
        let mut hole = self.ideal(hash);
        while self.slots[hole] != number {
            if self.slots[hole] == EMPTY {
                return false;
            }
            hole = self.after(hole);
        }
        // Close the gap: whatever follows and would rather lie at or before the hole moves into it.
        let mut at = self.after(hole);
        while self.slots[at] != EMPTY {
            let ideal = self.ideal(hash_of(self.slots[at]));
            let distance = |from: usize| (at + self.slots.len() - from) % self.slots.len();
            if distance(ideal) >= distance(hole) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        /// Against a `HashSet`; few distinct hashes at both ends, so that runs collide and wrap around.
        #[test]
        fn like_a_set(ops in prop::collection::vec((any::<bool>(), 0u32..60), 1..500)) {
            let hash_of = |n: u32| if n.is_multiple_of(3) { u32::MAX - n % 5 } else { (n % 7) << 28 };
            let mut map = IdMap::new(40);
            let mut set = HashSet::new();
            for (insert, n) in ops {
                if insert {
                    if !set.contains(&n) {
                        prop_assert_eq!(map.insert(hash_of(n), n), set.len() < 40);
                        if set.len() < 40 { set.insert(n); }
                    }
                } else {
                    prop_assert_eq!(map.remove(hash_of(n), n, hash_of), set.remove(&n));
                }
                prop_assert_eq!(map.len(), set.len());
            }
            for n in 0..60 {
                prop_assert_eq!(map.find(hash_of(n), |x| x == n), set.get(&n).copied());
            }
        }
    }
}
