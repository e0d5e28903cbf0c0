//! A bounded memory of what is known of many: eight places a set, and a newcomer to a full set takes the place of the one of
//! least worth, if that one is worth no more than itself.
//!
//! The secret that chooses the set keeps an attacker from aiming: to drive somebody out, all of the memory must be filled with
//! what is worth more. Preallocated.

use crate::flow::memory::{Region, prefetch};
use std::hash::{BuildHasher, Hash, Hasher};

const PLACES: usize = 8;
/// The tag of an empty place.
const EMPTY: u8 = 0;

/// The secret of an instance.
///
/// Each word of a key is folded in by a full product with a secret factor. Nobody outside sees a hash or can time a look-up to
/// tell one, so no more is asked of it than that collisions cannot be worked out beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Secret {
    state: u64,
    factor: u64,
}

impl Secret {
    /// From two words of a source of random ones. They are mixed (the finalizer of SplitMix64), so that simple ones do in tests.
    pub fn new(words: [u64; 2]) -> Self {
        let [state, factor] = words.map(|word| {
            let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        });
        // Odd: a factor of 0 would hide everything.
        Self { state, factor: factor | 1 }
    }
}

/// See [`Secret`].
pub struct Folding {
    state: u64,
    factor: u64,
}

impl BuildHasher for Secret {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.state, factor: self.factor }
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        // What a state of 0 hides of one word, the next state still has.
        self.state = (product as u64 ^ (product >> 64) as u64).wrapping_add(self.factor.rotate_left(32));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u128(&mut self, n: u128) {
        self.write_u64(n as u64);
        self.write_u64((n >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.factor);
        product as u64 ^ (product >> 64) as u64
    }
}

/// See the module.
pub struct Table<K, V> {
    secret: Secret,
    /// Eight bits of the hash of what is in each place: a look-up for what isn't there sees no more than these.
    tags: Region<[u8; PLACES]>,
    places: Region<Option<(K, V)>>,
}

impl<K: Copy + Eq + Hash, V: Copy> Table<K, V> {
    /// Room for so many at the least.
    pub fn new(capacity: usize, secret: Secret) -> Self {
        let sets = capacity.div_ceil(PLACES).max(1);
        let (tags, places) = (Region::new(sets, |_| [EMPTY; PLACES]), Region::new(sets * PLACES, |_| None));
        Self { secret, tags, places }
    }

    /// The set of a key, and its tag.
    fn set(&self, key: &K) -> (usize, u8) {
        let hash = self.secret.hash_one(key);
        let set = (u128::from(hash) * self.tags.len() as u128) >> 64;
        (set as usize, (hash as u8).max(1))
    }

    /// That key will be asked for soon, or put.
    pub fn prefetch(&self, key: &K) {
        let (set, _) = self.set(key);
        prefetch(&self.tags[set]);
        // Every second place: a line has two and a half.
        self.places[set * PLACES..][..PLACES].iter().step_by(2).for_each(prefetch);
    }

    fn place(&self, key: &K) -> Option<usize> {
        let (set, tag) = self.set(key);
        let is = |place: usize| self.places[place].as_ref().is_some_and(|(k, _)| k == key);
        (0..PLACES).filter(|&n| self.tags[set][n] == tag).map(|n| set * PLACES + n).find(|&n| is(n))
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).and_then(|n| self.places[n].as_ref()).map(|(_, v)| v)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).and_then(|n| self.places[n].as_mut()).map(|(_, v)| v)
    }

    /// Remembers one that is not known yet. False where all others are worth more.
    pub fn put<W: PartialOrd>(&mut self, key: K, value: V, worth: impl Fn(&V) -> W) -> bool {
        let (set, tag) = self.set(&key);
        let chosen = match self.tags[set].iter().position(|&tag| tag == EMPTY) {
            Some(empty) => empty,
            None => {
                let of = |n: usize| self.places[set * PLACES + n].as_ref().map(|(_, v)| worth(v));
                let least = (1..PLACES).fold(0, |least, n| if of(n) < of(least) { n } else { least });
                if of(least) > Some(worth(&value)) {
                    return false;
                }
                least
            }
        };
        self.tags[set][chosen] = tag;
        self.places[set * PLACES + chosen] = Some((key, value));
        true
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(n) = self.place(key) {
            self.tags[n / PLACES][n % PLACES] = EMPTY;
            self.places[n] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_more_stays() {
        let mut table = Table::<u32, u32>::new(PLACES, Secret::new([1, 2]));
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

    /// A set holds 8 of 4,096 keys on average here; a Poisson law puts none of 512 above 27.
    #[test]
    fn keys_of_an_attackers_choice_spread() {
        for secret in [[0, 0], [1, 2], [u64::MAX, 0x1234_5678_9abc_def0]].map(Secret::new) {
            let table = Table::<(u128, u16), ()>::new(4096, secret);
            for key in [|n: u32| (u128::from(n), 0), |n| (u128::from(n) << 96, 0), |n| (u128::MAX, n as u16)]
            {
                let mut sets = [0; 512];
                (0..4096).for_each(|n| sets[table.set(&key(n)).0] += 1);
                assert!(sets.iter().all(|&n| n < 28), "{secret:?}: {:?}", sets.iter().max());
            }
        }
    }
}
