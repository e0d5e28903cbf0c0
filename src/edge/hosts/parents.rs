//! Names that are nobody's and have hosts' names below them: an empty non-terminal is no NXDOMAIN (RFC 8020).
//!
//! Guarantees: adding, removing and asking take time by a name's labels, however many names there are; most names share their parents,
//! and where they do not, and there are more than the room, what does not fit is not known: its answer is then NXDOMAIN.
//! Never: keeps a name; a parent is known by its keyed hash.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// See the module.
#[derive(Debug)]
pub(super) struct Parents {
    /// The hash of a parent, and how many names are below it.
    counts: HashTable<(u64, u32)>,
    most: usize,
}

/// The names above `name`, the nearest first.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[at + 1..])
}

/// A parent is one for a realm's hosts, and one for anybody's.
fn hashes(secret: &RandomState, realm: u16, name: &str) -> [u64; 2] {
    [Some(realm), None].map(|realm| secret.hash_one((realm, name)))
}

impl Parents {
    /// With room for so many.
    pub fn new(most: usize) -> Parents {
        Parents { counts: HashTable::new(), most }
    }

    /// A host of that realm has that name.
    pub fn add(&mut self, secret: &RandomState, realm: u16, name: &str) {
        for hash in above(name).flat_map(|parent| hashes(secret, realm, parent)) {
            let is_full = self.counts.len() >= self.most;
            match self.counts.entry(hash, |known| known.0 == hash, |known| known.0) {
                Entry::Occupied(mut known) => known.get_mut().1 += 1,
                Entry::Vacant(place) if !is_full => drop(place.insert((hash, 1))),
                Entry::Vacant(_) => {}
            }
        }
    }

    /// It has it no more.
    pub fn remove(&mut self, secret: &RandomState, realm: u16, name: &str) {
        for hash in above(name).flat_map(|parent| hashes(secret, realm, parent)) {
            if let Ok(mut known) = self.counts.find_entry(hash, |known| known.0 == hash) {
                known.get_mut().1 -= 1;
                if known.get().1 == 0 {
                    known.remove();
                }
            }
        }
    }

    /// Whether there are names below `name`, in lower case: of hosts of that realm, or of any.
    pub fn has(&self, secret: &RandomState, realm: Option<u16>, name: &str) -> bool {
        let hash = secret.hash_one((realm, name));
        self.counts.find(hash, |known| known.0 == hash).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(&["a", "b", "ab"][..]), 1..5)
            .prop_map(|labels| labels.join("."))
    }

    proptest! {
        #[test]
        fn a_parent_is_what_names_are_below_of(
            steps in prop::collection::vec((name(), 1..3u16, any::<bool>()), 0..60),
            asked in prop::collection::vec(name(), 20),
        ) {
            let (mut parents, secret) = (Parents::new(1000), RandomState::new());
            let mut there: Vec<(u16, String)> = vec![];
            for (name, realm, is_added) in steps {
                let at = there.iter().position(|known| *known == (realm, name.clone()));
                match (is_added, at) {
                    (true, _) => {
                        parents.add(&secret, realm, &name);
                        there.push((realm, name));
                    }
                    (false, Some(at)) => {
                        parents.remove(&secret, realm, &name);
                        there.remove(at);
                    }
                    (false, None) => {}
                }
            }
            for name in asked {
                for realm in [None, Some(1), Some(2)] {
                    let below = format!(".{name}");
                    let expected = there.iter().any(|(of, known)| {
                        realm.is_none_or(|realm| realm == *of) && known.ends_with(&below)
                    });
                    prop_assert_eq!(parents.has(&secret, realm, &name), expected, "{} {:?}", name, realm);
                }
            }
            there.iter().for_each(|(realm, name)| parents.remove(&secret, *realm, name));
            prop_assert_eq!(parents.counts.len(), 0);
        }
    }

    #[test]
    fn more_than_the_room_is_not_known_and_does_no_harm() {
        let (mut parents, secret) = (Parents::new(2), RandomState::new());
        parents.add(&secret, 1, "x.a");
        parents.add(&secret, 1, "x.b");
        assert!(parents.has(&secret, None, "a") && !parents.has(&secret, None, "b"));
        parents.remove(&secret, 1, "x.b");
        parents.remove(&secret, 1, "x.a");
        assert_eq!(parents.counts.len(), 0);
    }
}
