//! Identifications for datagrams that leave in fragments (RFC 6864 section 5.3.1, RFC 7857 section 9).
//!
//! Behind one public address two subscribers may use the same identification towards the same destination, and whoever puts
//! their fragments together would mix them. So what leaves in fragments gets a fresh one: by destination and protocol,
//! counting from where nobody can guess (RFC 6274 section 3.5.2.1), each worker in a part of its own, so that none repeats one
//! before it has used all of its part.

use crate::flow::hash::Hashed;
use crate::flow::memory::Region;
use crate::flow::{HashKey, Key4, Realm};
use std::net::Ipv4Addr;

/// Counters; destinations share them by a keyed hash.
const COUNTERS: usize = 4096;

/// One worker's part. See the module.
pub struct Identifications {
    hash: HashKey,
    counters: Region<u16>,
    first: u16,
    /// How many it has.
    span: u32,
}

impl Identifications {
    /// The part of `worker` among `workers`, by random words.
    pub fn new(worker: usize, workers: usize, mut random: impl FnMut() -> u64) -> Self {
        let span = (1 << 16) / workers as u32;
        let hash = HashKey::new(&mut random);
        let counters = Region::new(COUNTERS, |_| (random() % u64::from(span)) as u16);
        Self { hash, counters, first: (worker as u32 * span) as u16, span }
    }

    /// A fresh one for a datagram of this protocol to this destination.
    pub fn fresh(&mut self, destination: Ipv4Addr, protocol: u8) -> u16 {
        let [a, b, c, d] = destination.octets();
        let key = Key4::from_wire([a, b, c, d, 0, 0, 0, 0], [0; 4], Realm(0), protocol);
        let counter = &mut self.counters[key.hash(&self.hash).buckets as usize % COUNTERS];
        let fresh = self.first + *counter;
        *counter = ((u32::from(*counter) + 1) % self.span) as u16;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::HashSet;

    fn of(worker: usize, workers: usize, seed: u64) -> Identifications {
        let mut random = StdRng::seed_from_u64(seed);
        Identifications::new(worker, workers, || random.random())
    }

    #[test]
    fn no_two_workers_share_one_and_none_repeats_before_all_are_used() {
        for workers in [1, 2, 3, 64] {
            let mut seen = HashSet::new();
            for worker in 0..workers {
                let mut part = of(worker, workers, 7);
                for _ in 0..(1 << 16) / workers {
                    assert!(seen.insert(part.fresh(Ipv4Addr::new(192, 0, 2, 1), 17)), "of {workers} workers");
                }
            }
        }
    }

    #[test]
    fn where_it_begins_is_nobodys_guess() {
        let begin = |seed, last| of(0, 1, seed).fresh(Ipv4Addr::new(192, 0, 2, last), 17);
        let begins: HashSet<u16> = (0..50).flat_map(|seed| [begin(seed, 1), begin(seed, 2)]).collect();
        assert!(begins.len() > 90, "of 100 beginnings {} are different", begins.len());
        // What one destination sees says nothing about another's.
        let mut one = of(0, 1, 3);
        let before = one.fresh(Ipv4Addr::new(192, 0, 2, 1), 17);
        for last in 10..30 {
            one.fresh(Ipv4Addr::new(192, 0, 2, last), 17);
        }
        assert_eq!(one.fresh(Ipv4Addr::new(192, 0, 2, 1), 17), before.wrapping_add(1));
    }
}
