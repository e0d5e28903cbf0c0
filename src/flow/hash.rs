//! The keyed hash of flow keys.
//!
//! NH, the universal hash of UMAC (RFC 4418 section 5.2, there with 32-bit words, here with 64-bit ones): the sum of
//! products `(m[2i] + k[2i]) * (m[2i+1] + k[2i+1])`. Whatever two keys an attacker picks without knowing the hash key, they
//! collide in the 128-bit sum with a probability of at most 2^-64; a second keyed product spreads that over the bits that
//! choose buckets and tag. Unlike a CRC, whose collisions don't depend on its seed.

use super::key::{Key4, Key6};

/// The secret of one instance: seven random words.
#[derive(Clone)]
pub struct HashKey([u64; 7]);

/// What the index needs of a key's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Hash {
    /// The low half chooses the first bucket, the high half the second.
    pub buckets: u64,
    /// Never 0, which is the tag of an empty slot.
    pub tag: u16,
}

impl HashKey {
    /// From a source of random words: the operating system's, or a seeded one in tests and benches.
    pub fn new(mut random: impl FnMut() -> u64) -> Self {
        // Odd, because a second factor of 0 would hide everything.
        let mut k = [0; 7];
        k.iter_mut().for_each(|w| *w = random());
        Self([k[0], k[1], k[2], k[3], k[4], k[5], k[6] | 1])
    }

    #[inline(always)]
    fn finish(&self, sum: u128) -> Hash {
        let p = ((sum as u64) ^ ((sum >> 64) as u64)) as u128 * self.0[6] as u128;
        let (low, high) = (p as u64, (p >> 64) as u64);
        // The tag's bits come from the middle of the product, which neither bucket shows alone.
        let tag = ((high >> 16) ^ (sum as u64)) as u16;
        Hash { buckets: low ^ high, tag: tag.max(1) }
    }
}

#[inline(always)]
fn product(a: u64, b: u64, ka: u64, kb: u64) -> u128 {
    a.wrapping_add(ka) as u128 * b.wrapping_add(kb) as u128
}

/// A key that the index can hash.
pub trait Hashed {
    /// Its hash under `key`.
    fn hash(&self, key: &HashKey) -> Hash;
}

impl Hashed for Key4 {
    #[inline(always)]
    fn hash(&self, key: &HashKey) -> Hash {
        key.finish(product(self.addresses, self.tail, key.0[0], key.0[1]))
    }
}

impl Hashed for Key6 {
    #[inline(always)]
    fn hash(&self, key: &HashKey) -> Hash {
        let [a, b, c, d] = self.addresses;
        let sum = product(a, b, key.0[0], key.0[1])
            .wrapping_add(product(c, d, key.0[2], key.0[3]))
            .wrapping_add(product(self.tail, 0, key.0[4], key.0[5]));
        key.finish(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::key::{Protocol, Realm};
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use std::net::Ipv4Addr;

    fn key(seed: u64) -> HashKey {
        let mut rng = StdRng::seed_from_u64(seed);
        HashKey::new(|| rng.random())
    }

    /// A bucket of the first choice holds 6 keys on average here; a Poisson law puts none of 4096 above 30.
    fn worst_bucket(h: &HashKey, keys: impl Iterator<Item = Key4>) -> usize {
        let mut buckets = vec![0usize; 4096];
        for k in keys {
            buckets[((k.hash(h).buckets as u32 as u64 * 4096) >> 32) as usize] += 1;
        }
        buckets.into_iter().max().unwrap()
    }

    #[test]
    fn structured_keys_spread() {
        let k = |src: u32, dst: u32, sp: u16, dp: u16| {
            Key4::new(Realm(1), Protocol::Udp, (Ipv4Addr::from(src), sp), (Ipv4Addr::from(dst), dp))
        };
        for seed in 0..8 {
            let h = key(seed);
            // One host scanning ports, a /16 scanning one port, strides of powers of two, bit flips of one key.
            assert!(worst_bucket(&h, (0..24576).map(|i| k(1, 2, i as u16, 80))) < 30);
            assert!(worst_bucket(&h, (0..24576).map(|i| k(0x0a00_0000 + i, 2, 5, 80))) < 30);
            assert!(worst_bucket(&h, (0..24576u32).map(|i| k(i << 16, i << 8, (i << 4) as u16, 0))) < 30);
            assert!(worst_bucket(&h, (0..24576u32).map(|i| k(i, i, i as u16, i as u16))) < 30);
        }
    }

    #[test]
    fn keys_that_collide_under_one_secret_do_not_under_another() {
        let (a, b) = (key(1), key(2));
        let mut rng = StdRng::seed_from_u64(3);
        let mut random = || Key4 { addresses: rng.random(), tail: rng.random() };
        let bucket = |h: &HashKey, k: &Key4| (k.hash(h).buckets as u32 as u64 * 4096) >> 32;
        // An attacker who knew secret `a` collects keys of one bucket; under `b` they lie anywhere.
        let piled: Vec<Key4> =
            std::iter::repeat_with(&mut random).filter(|k| bucket(&a, k) == 0).take(512).collect();
        assert!(worst_bucket(&b, piled.into_iter()) < 12);
    }

    #[test]
    fn tag_and_buckets_are_independent() {
        let h = key(5);
        let mut rng = StdRng::seed_from_u64(6);
        let mut same = 0;
        for _ in 0..20_000 {
            let x = Key4 { addresses: rng.random(), tail: rng.random() }.hash(&h);
            assert_ne!(x.tag, 0);
            same +=
                u32::from(x.tag as u8 == x.buckets as u8) + u32::from(x.tag >> 8 == (x.buckets >> 56) as u16);
        }
        assert!((40..320).contains(&same), "expected about 156 chance matches of a byte, saw {same}");
    }
}
