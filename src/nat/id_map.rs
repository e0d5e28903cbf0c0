//! A bounded hash map from hashes to numbers: the keys lie in the elements that the numbers name.
//!
//! A cache line has fifteen slots, and a number lies in the line of its hash; where that is full, in the next line that has room,
//! which the line remembers. At a load of seven tenths one line in twenty is full: so nearly every look-up, insertion and removal
//! touches one line alone. The bits that a number does not need are its tag, the low bits of its hash: a look-up asks for next to
//! no element but the right one, a removal for none. Preallocated. Private to one worker.

use crate::flow::memory::{Region, prefetch};

/// No entry: its number would be as large as any.
const EMPTY: u32 = u32::MAX;
/// Slots in a line.
const SLOTS: usize = 15;
/// No number lies more lines than this behind its own. At this load three are seen among millions.
const FARTHEST: u16 = 64;

/// Fifteen slots, an entry each: a tag and a number.
#[repr(C, align(64))]
struct Line {
    entries: [u32; SLOTS],
    /// Numbers of this line that lie in lines behind it,
    strays: u16,
    /// and how many lines behind it the farthest lies; an upper bound until none is left.
    farthest: u16,
}

/// See the module.
pub struct IdMap {
    lines: Region<Line>,
    /// Low bits of an entry that are its number.
    number_bits: u32,
    len: usize,
    capacity: usize,
}

impl IdMap {
    /// Room for `capacity` numbers.
    pub fn new(capacity: usize) -> Self {
        let lines = (capacity * 10 / 7 + SLOTS).div_ceil(SLOTS);
        let line = |_| Line { entries: [EMPTY; SLOTS], strays: 0, farthest: 0 };
        // One more than there are, so that none has all bits.
        let number_bits = usize::BITS - capacity.leading_zeros();
        Self { lines: Region::new(lines, line), number_bits, len: 0, capacity }
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
        ((u64::from(hash) * self.lines.len() as u64) >> 32) as usize
    }

    /// So many lines behind `home`, which are fewer than there are.
    #[inline]
    fn behind(&self, home: usize, lines: u16) -> usize {
        let at = home + usize::from(lines);
        if at < self.lines.len() { at } else { at - self.lines.len() }
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
        prefetch(&self.lines[self.home(hash)]);
    }

    /// The number entered under `hash` for which `is_it` says yes.
    #[inline]
    pub fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let (tag, tag_bits) = (self.entry(hash, 0), self.entry(u32::MAX, 0));
        let is_it = |entry| entry != EMPTY && is_it(self.number(entry));
        let (line, slot, _) = self.search(hash, |entry| entry & tag_bits == tag, is_it)?;
        Some(self.number(self.lines[line].entries[slot]))
    }

    /// What [`Self::find`] will most likely find, without asking for any element.
    #[inline]
    pub fn guess(&self, hash: u32) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Line and slot of the entry under `hash` that `may_be` the one, and then is, and how many lines behind its own it lies.
    #[inline]
    fn search(
        &self,
        hash: u32,
        may_be: impl Fn(u32) -> bool,
        is_it: impl Fn(u32) -> bool,
    ) -> Option<(usize, usize, u16)> {
        let home = self.home(hash);
        let farthest = self.lines[home].farthest;
        for lines in 0..=farthest {
            let at = self.behind(home, lines);
            let entries = &self.lines[at].entries;
            // All at once: no branch a slot.
            let mut found =
                (0..SLOTS).fold(0, |found, slot| found | u32::from(may_be(entries[slot])) << slot);
            while found != 0 {
                let slot = found.trailing_zeros() as usize;
                if is_it(entries[slot]) {
                    return Some((at, slot, lines));
                }
                found &= found - 1;
            }
        }
        None
    }

    /// Enters `number`, which is not in it. False, and nothing is changed, when the map is full.
    pub fn insert(&mut self, hash: u32, number: u32) -> bool {
        debug_assert!((number as usize) < self.capacity);
        if self.len == self.capacity {
            return false;
        }
        let (home, entry) = (self.home(hash), self.entry(hash, number));
        for lines in 0..=usize::from(FARTHEST).min(self.lines.len() - 1) as u16 {
            let at = self.behind(home, lines);
            let entries = &mut self.lines[at].entries;
            if let Some(slot) = entries.iter().position(|entry| *entry == EMPTY) {
                entries[slot] = entry;
                if lines > 0 {
                    let home = &mut self.lines[home];
                    (home.strays, home.farthest) = (home.strays + 1, home.farthest.max(lines));
                }
                self.len += 1;
                return true;
            }
        }
        false
    }

    /// Removes `number`, entered under `hash`. False when it isn't there.
    pub fn remove(&mut self, hash: u32, number: u32) -> bool {
        let wanted = self.entry(hash, number);
        let Some((line, slot, lines)) = self.search(hash, |entry| entry == wanted, |_| true) else {
            return false;
        };
        self.lines[line].entries[slot] = EMPTY;
        if lines > 0 {
            let home = self.home(hash);
            let home = &mut self.lines[home];
            home.strays -= 1;
            if home.strays == 0 {
                home.farthest = 0;
            }
        }
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
        let mut map = IdMap::new(2000);
        let fit = (0..2000).take_while(|n| map.insert(7, *n)).count() as u32;
        assert_eq!(fit as usize, SLOTS * (1 + usize::from(FARTHEST)));
        assert!((0..fit).all(|n| map.find(7, |x| x == n) == Some(n)));
        assert!((0..fit).all(|n| map.remove(7, n)) && map.is_empty() && map.insert(7, 0));
    }
}
