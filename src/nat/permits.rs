//! Address-dependent filtering of endpoint-independent mappings (RFC 4787 section 5): to which addresses a mapping has sent.
//!
//! One counted entry a (mapping, remote address): the sessions between them that packets from inside keep. Private to a home,
//! preallocated; where the table is full nothing new is let in, which errs on the safe side. A mapping of another kind says by
//! itself whom it is for.

use super::id_map::IdMap;
use super::mapping::endpoint_hash;
use super::store::Store;
use crate::flow::{HashKey, Realm};
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Default)]
struct Permit {
    /// The next free one while this one is free.
    mapping: u32,
    remote: u32,
    sessions: u32,
}

/// See the module.
pub struct Permits {
    hash: HashKey,
    store: Store<Permit>,
    map: IdMap,
}

fn hash(key: &HashKey, mapping: u32, remote: u32) -> u32 {
    let [high, low] = [(mapping >> 16) as u16, mapping as u16];
    endpoint_hash(key, Realm(high), Ipv4Addr::from(remote), low, 0)
}

impl Permits {
    /// Room for so many pairs; none where no pool filters so.
    pub fn new(capacity: usize, hash: HashKey) -> Self {
        Self { hash, store: Store::new(capacity), map: IdMap::new(capacity) }
    }

    fn find(&self, mapping: u32, remote: u32) -> Option<u32> {
        self.map.find(hash(&self.hash, mapping, remote), |n| {
            let p = &self.store[n];
            p.mapping == mapping && p.remote == remote
        })
    }

    /// Whether that mapping has sent to that address.
    pub fn allows(&self, mapping: u32, remote: Ipv4Addr) -> bool {
        self.find(mapping, remote.into()).is_some()
    }

    /// One more session between them that the inside keeps.
    pub fn enter(&mut self, mapping: u32, remote: Ipv4Addr) {
        let remote = u32::from(remote);
        if let Some(n) = self.find(mapping, remote) {
            self.store[n].sessions += 1;
        } else if let Some(n) = self.store.take(|p| p.mapping) {
            self.store[n] = Permit { mapping, remote, sessions: 1 };
            if !self.map.insert(hash(&self.hash, mapping, remote), n) {
                self.store.give(n, |p, next| p.mapping = next);
            }
        }
    }

    /// One less.
    pub fn leave(&mut self, mapping: u32, remote: Ipv4Addr) {
        let remote = u32::from(remote);
        // One that found no room when it came is not there.
        let Some(n) = self.find(mapping, remote) else { return };
        self.store[n].sessions -= 1;
        if self.store[n].sessions == 0 {
            self.map.remove(hash(&self.hash, mapping, remote), n);
            self.store.give(n, |p, next| p.mapping = next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Against a map of counts; when it is full it refuses, and what it refused it forgets.
        #[test]
        fn like_counts(ops in prop::collection::vec((any::<bool>(), 0u32..6, 0u32..6), 1..300)) {
            let mut seed = 3u64;
            let key = HashKey::new(|| { seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1); seed });
            let mut permits = Permits::new(64, key);
            let mut counts: HashMap<(u32, u32), u32> = HashMap::new();
            for (enter, mapping, remote) in ops {
                let count = counts.entry((mapping, remote)).or_default();
                if enter {
                    permits.enter(mapping, remote.into());
                    *count += 1;
                } else if *count > 0 {
                    permits.leave(mapping, remote.into());
                    *count -= 1;
                }
                prop_assert_eq!(permits.allows(mapping, remote.into()), *count > 0);
            }
        }
    }
}
