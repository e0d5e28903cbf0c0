//! A bounded hash map from hashes to numbers: the keys lie in the elements that the numbers name.
//!
//! Linear probing at a load of at most three quarters, where each number knows how far it is from where its hash would have it.
//! Those that are farther from home go first, so that a look-up ends early and a removal closes its gap. The bits that a number
//! does not need are its tag, the low bits of its hash: a look-up asks for next to no element but the right one, a removal for
//! none. Preallocated: a cache line has twelve slots. Private to one worker.

use crate::flow::memory::{Region, prefetch};

/// No entry: its number would be as large as any.
const EMPTY: u32 = u32::MAX;
/// Slots in a line.
const SLOTS: usize = 12;
/// No number lies farther than this from home. At this load some forty are seen among millions.
const FARTHEST: u8 = 254;

/// Twelve slots: the entries, a tag and a number each, and how far each is from home.
#[repr(C, align(64))]
struct Line {
    entries: [u32; SLOTS],
    distances: [u8; SLOTS],
}

/// See the module.
pub struct IdMap {
    lines: Region<Line>,
    slots: usize,
    /// Low bits of an entry that are its number.
    number_bits: u32,
    len: usize,
    capacity: usize,
}

impl IdMap {
    /// Room for `capacity` numbers.
    pub fn new(capacity: usize) -> Self {
        let lines = (capacity * 4 / 3 + 8).div_ceil(SLOTS);
        let line = |_| Line { entries: [EMPTY; SLOTS], distances: [0; SLOTS] };
        // One more than there are, so that none has all bits.
        let number_bits = usize::BITS - capacity.leading_zeros();
        Self { lines: Region::new(lines, line), slots: lines * SLOTS, number_bits, len: 0, capacity }
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
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots { 0 } else { slot + 1 }
    }

    /// The entry in a slot, and its distance.
    #[inline]
    fn get(&self, slot: usize) -> (u32, u8) {
        let line = &self.lines[slot / SLOTS];
        (line.entries[slot % SLOTS], line.distances[slot % SLOTS])
    }

    #[inline]
    fn set(&mut self, slot: usize, entry: u32, distance: u8) {
        let line = &mut self.lines[slot / SLOTS];
        (line.entries[slot % SLOTS], line.distances[slot % SLOTS]) = (entry, distance);
    }

    #[inline]
    fn entry(&self, hash: u32, number: u32) -> u32 {
        hash << self.number_bits | number
    }

    #[inline]
    fn number(&self, entry: u32) -> u32 {
        entry & ((1 << self.number_bits) - 1)
    }

    /// Asks for the line where the search for `hash` begins.
    #[inline]
    pub fn prefetch(&self, hash: u32) {
        prefetch(&self.lines[self.home(hash) / SLOTS]);
    }

    /// The number entered under `hash` for which `is_it` says yes.
    #[inline]
    pub fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = self.entry(hash, 0);
        let slot = self.slot(hash, |entry| {
            let number = self.number(entry);
            entry - number == tag && is_it(number)
        });
        slot.map(|slot| self.number(self.get(slot).0))
    }

    /// What [`Self::find`] will most likely find, without asking for any element.
    #[inline]
    pub fn guess(&self, hash: u32) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// The slot that is as far from the home of `hash` as its entry should be, and whose entry is the one.
    #[inline]
    fn slot(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        for distance in 0..=FARTHEST {
            let (entry, its) = self.get(at);
            if entry == EMPTY || its < distance {
                return None;
            }
            if its == distance && is_it(entry) {
                return Some(at);
            }
            at = self.after(at);
        }
        None
    }

    /// Enters `number`, which is not in it. False, and nothing is changed, when the map is full.
    pub fn insert(&mut self, hash: u32, number: u32) -> bool {
        debug_assert!((number as usize) < self.capacity);
        let home = self.home(hash);
        if self.len == self.capacity || !self.has_room_from(home) {
            return false;
        }
        let (mut at, mut moving, mut distance) = (home, self.entry(hash, number), 0);
        loop {
            let (there, its) = self.get(at);
            if there == EMPTY {
                self.set(at, moving, distance);
                break;
            }
            if its < distance {
                self.set(at, moving, distance);
                (moving, distance) = (there, its);
            }
            (at, distance) = (self.after(at), distance + 1);
        }
        self.len += 1;
        true
    }

    /// Whether everything from this slot to the next empty one may move a slot on.
    fn has_room_from(&self, slot: usize) -> bool {
        let mut at = slot;
        for _ in 0..FARTHEST {
            match self.get(at) {
                (EMPTY, _) => return true,
                (_, FARTHEST..) => return false,
                _ => at = self.after(at),
            }
        }
        false
    }

    /// Removes `number`, entered under `hash`. False when it isn't there.
    pub fn remove(&mut self, hash: u32, number: u32) -> bool {
        let wanted = self.entry(hash, number);
        let Some(mut hole) = self.slot(hash, |entry| entry == wanted) else { return false };
        // Whatever follows and is not at home moves into the gap.
        loop {
            let next = self.after(hole);
            match self.get(next) {
                (EMPTY, _) | (_, 0) => break,
                (moved, distance) => self.set(hole, moved, distance - 1),
            }
            hole = next;
        }
        self.set(hole, EMPTY, 0);
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
        fn like_a_set(ops in prop::collection::vec((any::<bool>(), 0u32..40), 1..500)) {
            let hash_of = |n: u32| if n.is_multiple_of(3) { u32::MAX - n % 5 } else { (n % 7) << 28 };
            let mut map = IdMap::new(40);
            let mut set = HashSet::new();
            for (insert, n) in ops {
                if insert {
                    if !set.contains(&n) {
                        prop_assert!(map.insert(hash_of(n), n));
                        set.insert(n);
                    }
                } else {
                    prop_assert_eq!(map.remove(hash_of(n), n), set.remove(&n));
                }
                prop_assert_eq!(map.len(), set.len());
            }
            for n in 0..40 {
                prop_assert_eq!(map.find(hash_of(n), |x| x == n), set.get(&n).copied());
            }
        }
    }

    #[test]
    fn what_would_be_too_far_is_refused() {
        let mut map = IdMap::new(1000);
        let fit = (0..1000).take_while(|n| map.insert(7, *n)).count() as u32;
        assert_eq!(fit, u32::from(FARTHEST));
        assert!((0..fit).all(|n| map.find(7, |x| x == n) == Some(n)));
        assert!((0..fit).all(|n| map.remove(7, n)) && map.is_empty() && map.insert(7, 0));
    }
}
