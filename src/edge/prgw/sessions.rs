//! How many sessions there are between a client's network and an address of the pool, as far as they are remembered.
//!
//! A bounded memory of hints: where there is no room, the pair with the fewest sessions is forgotten for a new one, if it has
//! one alone. A pair is known by 40 bits of its keyed hash and by the set in which it lies: once among 10¹¹ look-ups another
//! is taken for it, which costs an asker the address that would have been best. So a set of eight is one cache line.
//!
//! Never: grows, allocates after start.

use super::book::Party;
use super::table::Secret;
use crate::flow::memory::{Region, prefetch};
use std::hash::BuildHasher;

const PLACES: usize = 8;
/// Low bits of a word that count; those above are the pair's, and not all zero.
const COUNT_BITS: u32 = 24;
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// See the module.
pub struct Sessions {
    secret: Secret,
    /// Of each place the pair and its count; 0 is empty.
    sets: Region<[u64; PLACES]>,
}

impl Sessions {
    /// Room for so many pairs.
    pub fn new(capacity: usize, secret: Secret) -> Self {
        Self { secret, sets: Region::new(capacity.div_ceil(PLACES).max(1), |_| [0; PLACES]) }
    }

    /// The set of a pair, and its bits of a word.
    fn set(&self, network: Party, address: u32) -> (usize, u64) {
        let hash = self.secret.hash_one((network, address));
        let set = (u128::from(hash) * self.sets.len() as u128) >> 64;
        (set as usize, (hash << COUNT_BITS).max(1 << COUNT_BITS))
    }

    /// That pair will be asked for soon.
    pub fn prefetch(&self, network: Party, address: u32) {
        prefetch(&self.sets[self.set(network, address).0]);
    }

    /// How many sessions there are.
    pub fn get(&self, network: Party, address: u32) -> u32 {
        let (set, pair) = self.set(network, address);
        let found = self.sets[set].iter().find(|&word| word & !MOST == pair);
        found.map_or(0, |word| (word & MOST) as u32)
    }

    /// One more. Not counted where all others of its set are worth more.
    pub fn add(&mut self, network: Party, address: u32) {
        let (set, pair) = self.set(network, address);
        let set = &mut self.sets[set];
        if let Some(word) = set.iter_mut().find(|word| **word & !MOST == pair) {
            *word += u64::from(*word & MOST < MOST);
        } else if let Some(word) = set.iter_mut().min_by_key(|word| **word & MOST).filter(|w| **w & MOST <= 1)
        {
            *word = pair | 1;
        }
    }

    /// One less, if it is remembered.
    pub fn subtract(&mut self, network: Party, address: u32) {
        let (set, pair) = self.set(network, address);
        if let Some(word) = self.sets[set].iter_mut().find(|word| **word & !MOST == pair) {
            *word = if *word & MOST <= 1 { 0 } else { *word - 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// With room for all, as a map has it.
        #[test]
        fn like_a_map(events in prop::collection::vec((0u64..4, 0u32..3, prop::bool::weighted(0.6)), 0..300)) {
            let (mut sessions, mut model) = (Sessions::new(4096, Secret::new([1, 2])), HashMap::new());
            for (network, address, more) in events {
                let count: &mut u32 = model.entry((network, address)).or_default();
                if more { sessions.add(network, address) } else { sessions.subtract(network, address) }
                *count = if more { *count + 1 } else { count.saturating_sub(1) };
                for (&(network, address), &count) in &model {
                    prop_assert_eq!(sessions.get(network, address), count);
                }
            }
        }
    }

    #[test]
    fn who_has_one_gives_way_and_who_has_more_does_not() {
        let mut sessions = Sessions::new(PLACES, Secret::new([1, 2]));
        for address in 0..8 {
            sessions.add(1, address);
            sessions.add(1, address);
        }
        sessions.add(2, 0);
        assert_eq!((0..8).map(|address| sessions.get(1, address)).sum::<u32>(), 16, "all stay");
        assert_eq!(sessions.get(2, 0), 0);
        sessions.subtract(1, 3);
        sessions.add(2, 0);
        assert_eq!((sessions.get(1, 3), sessions.get(2, 0)), (0, 1));
        for address in 4..8 {
            (0..2).for_each(|_| sessions.subtract(1, address));
        }
        sessions.add(3, 0);
        assert_eq!((sessions.get(2, 0), sessions.get(3, 0)), (1, 1), "empty places first");
    }
}
