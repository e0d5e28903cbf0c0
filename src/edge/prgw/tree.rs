//! Sets of up to 64 lanes, one set an address, and the next address that has none of some lanes.
//!
//! Each node above is the intersection of the sixteen below it: where it has a lane, all of them have it, and a search for an
//! address without that lane passes them by. For one lane a search never turns back, whatever the size: at most four levels of
//! sixteen words up, and as many down. For several lanes at once a node only says "perhaps", and the search ends after
//! `STEPS` nodes: it may then miss an address, but never names a wrong one.
//!
//! Never: allocates after start.

const FAN: usize = 16;
const STEPS: usize = 64;

/// See the module.
pub struct Tree {
    /// The leaves first, the one node at the top last. What is there to fill up a node has all lanes.
    levels: Vec<Box<[u64]>>,
}

impl Tree {
    /// All lanes of `len` addresses are free.
    pub fn new(len: usize) -> Self {
        let mut levels = vec![];
        let mut len = len.max(1);
        loop {
            let padded = len.next_multiple_of(FAN);
            levels.push((0..padded).map(|at| if at < len { 0 } else { u64::MAX }).collect());
            if padded == FAN {
                return Self { levels };
            }
            len = padded / FAN;
        }
    }

    /// The lanes of an address.
    pub fn get(&self, at: usize) -> u64 {
        self.levels[0][at]
    }

    /// Sets the lanes of an address.
    pub fn set(&mut self, mut at: usize, lanes: u64) {
        self.levels[0][at] = lanes;
        for level in 1..self.levels.len() {
            at /= FAN;
            let below = &self.levels[level - 1][at * FAN..][..FAN];
            let all = below.iter().fold(u64::MAX, |all, lanes| all & lanes);
            if std::mem::replace(&mut self.levels[level][at], all) == all {
                break;
            }
        }
    }

    /// The first address from `from` on that has none of `lanes`.
    pub fn find(&self, lanes: u64, from: usize) -> Option<usize> {
        let (mut level, mut at) = (0, from);
        for _ in 0..STEPS {
            let words = &self.levels[level];
            let end = ((at / FAN + 1) * FAN).min(words.len());
            match (at..end).find(|&at| words[at] & lanes == 0) {
                Some(found) if level == 0 => return Some(found),
                Some(found) => (level, at) = (level - 1, found * FAN),
                None if level + 1 == self.levels.len() => return None,
                None => (level, at) = (level + 1, at / FAN + 1),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a walk over all leaves, in trees of one to four levels.
        #[test]
        fn like_a_walk(
            len in prop_oneof![1usize..20, 200usize..300, 4090usize..4100],
            fill in 0usize..4200,
            holes in prop::collection::vec((0usize..4200, 0u32..4), 0..20),
            from in 0usize..4200,
        ) {
            let mut tree = Tree::new(len);
            (0..fill.min(len)).for_each(|at| tree.set(at, 0b1111));
            for (at, lane) in holes {
                tree.set(at % len, tree.get(at % len) ^ (1 << lane));
            }
            for lane in 0..4 {
                let walk = (from..len).find(|&at| tree.get(at) >> lane & 1 == 0);
                prop_assert_eq!(tree.find(1 << lane, from), walk);
            }
            // Several lanes: never a wrong one.
            if let Some(found) = tree.find(0b1111, from) {
                prop_assert!(found >= from && found < len && tree.get(found) & 0b1111 == 0);
            }
        }
    }

    #[test]
    fn the_last_of_65536_is_found() {
        let mut tree = Tree::new(65_536);
        (0..65_536).for_each(|at| tree.set(at, u64::MAX));
        assert_eq!(tree.find(1, 0), None);
        tree.set(65_535, u64::MAX - 1);
        assert_eq!((tree.find(1, 0), tree.find(2, 0)), (Some(65_535), None));
    }
}
