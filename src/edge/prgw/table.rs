//! A bounded memory of what is known of many: eight places a set, and a newcomer to a full set takes the place of the one of
//! least worth, if that one is worth no more than itself.
//!
//! The secret that chooses the set keeps an attacker from aiming: to drive somebody out, all of the memory must be filled with
//! what is worth more. Preallocated.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};

const PLACES: usize = 8;

/// The secret of an instance: SipHash of it and the key.
#[derive(Clone, Copy)]
pub struct Secret(pub [u64; 2]);

impl BuildHasher for Secret {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        self.0.iter().for_each(|&word| hasher.write_u64(word));
        hasher
    }
}

/// See the module.
pub struct Table<K, V> {
    secret: Secret,
    sets: Box<[[Option<(K, V)>; PLACES]]>,
}

impl<K: Copy + Eq + Hash, V: Copy> Table<K, V> {
    /// Room for so many at the least.
    pub fn new(capacity: usize, secret: Secret) -> Self {
        let sets = capacity.div_ceil(PLACES).max(1);
        Self { secret, sets: vec![[None; PLACES]; sets].into() }
    }

    fn set(&self, key: &K) -> usize {
        ((u128::from(self.secret.hash_one(key)) * self.sets.len() as u128) >> 64) as usize
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.sets[self.set(key)].iter().flatten().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let set = self.set(key);
        self.sets[set].iter_mut().flatten().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Remembers one that is not known yet. False where all others are worth more.
    pub fn put<W: PartialOrd>(&mut self, key: K, value: V, worth: impl Fn(&V) -> W) -> bool {
        let set = self.set(&key);
        let of = |place: &Option<(K, V)>| place.as_ref().map(|(_, v)| worth(v));
        let least = self.sets[set].iter_mut().reduce(|least, place| {
            // None, an empty place, is less than all.
            if of(place) < of(least) { place } else { least }
        });
        match least {
            Some(place) if of(place) <= Some(worth(&value)) => *place = Some((key, value)),
            _ => return false,
        }
        true
    }

    pub fn remove(&mut self, key: &K) {
        let set = self.set(key);
        for place in &mut self.sets[set] {
            *place = place.filter(|(k, _)| k != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_more_stays() {
        let mut table = Table::<u32, u32>::new(PLACES, Secret([1, 2]));
        for n in 0..8 {
            assert!(table.put(n, 10 + n, |v| *v));
        }
        assert!(!table.put(100, 9, |v| *v), "worth less than all");
        assert!(table.put(101, 12, |v| *v), "worth more than one");
        assert_eq!((table.get(&0), table.get(&101)), (None, Some(&12)));
        table.remove(&5);
        assert!(table.put(100, 9, |v| *v), "there is room");
        assert_eq!((table.get(&5), table.get(&100), table.get(&7)), (None, Some(&9), Some(&17)));
    }
}
