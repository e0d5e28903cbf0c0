//! Session tags as the wire shows them: a keyed permutation of 32 bits, so that who sees some tags guesses none, and whoever has
//! the key finds the place of a session by a few multiplications, without a hash and without a table.
//!
//! A Feistel network of four rounds (Luby and Rackoff: with four rounds of random functions nobody tells it from a random
//! permutation, not even who may ask both ways) whose halves have 16 bits, and whose round function is a keyed product. That is
//! no cipher: it needn't be, because a tag is no secret from who is on its way, and both tags and the RLOC must be right.

/// The secret of one instance.
#[derive(Clone)]
pub struct TagKey([(u32, u32); 4]);

impl TagKey {
    /// From a source of random words: the operating system's, or a seeded one in tests and benches.
    pub fn new(mut random: impl FnMut() -> u64) -> Self {
        // Odd, because a factor of 0 would hide everything.
        Self(std::array::from_fn(|_| (random() as u32, random() as u32 | 1)))
    }

    /// The middle of a keyed product, on which all bits of `half` have their say.
    #[inline(always)]
    fn round(half: u32, key: (u32, u32)) -> u32 {
        let product = u64::from(half.wrapping_add(key.0)) * u64::from(key.1);
        ((product >> 16) as u32 ^ (product >> 40) as u32) & 0xffff
    }

    /// The tag of that number. Exactly one number has the tag 0, which is none.
    #[inline(always)]
    pub fn tag(&self, number: u32) -> u32 {
        let (mut left, mut right) = (number >> 16, number & 0xffff);
        for key in self.0 {
            (left, right) = (right, left ^ Self::round(right, key));
        }
        left << 16 | right
    }

    /// The number of that tag.
    #[inline(always)]
    pub fn number(&self, tag: u32) -> u32 {
        let (mut left, mut right) = (tag >> 16, tag & 0xffff);
        for key in self.0.into_iter().rev() {
            (left, right) = (right ^ Self::round(left, key), left);
        }
        left << 16 | right
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn key(seed: u64) -> TagKey {
        let mut rng = StdRng::seed_from_u64(seed);
        TagKey::new(|| rng.random())
    }

    proptest! {
        #[test]
        fn a_tag_is_one_numbers(seed: u64, number: u32) {
            let key = key(seed);
            prop_assert_eq!(key.number(key.tag(number)), number);
            prop_assert_eq!(key.tag(key.number(number)), number);
        }
    }

    #[test]
    fn neighbours_look_like_strangers() {
        let key = key(7);
        // By a Poisson law none of 4,096 bins of 16 numbers each has more than 45; the sum of differing bits is 16 of 32.
        let (mut bins, mut bits) = (vec![0; 4096], 0);
        for number in 0..65_536u32 {
            let tag = key.tag(number);
            bins[tag as usize >> 20] += 1;
            bits += (tag ^ key.tag(number + 1)).count_ones();
        }
        assert!(bins.iter().all(|n| *n < 45), "{:?}", bins.iter().max());
        assert!((15.8..16.2).contains(&(f64::from(bits) / 65_536.0)), "{bits}");
        // No difference between tags tells that of their numbers.
        let differences: std::collections::HashSet<u32> =
            (0..65_536u32).map(|n| key.tag(n).wrapping_sub(key.tag(n + 1))).collect();
        assert!(differences.len() > 65_000, "{}", differences.len());
    }

    #[test]
    fn another_key_gives_other_tags() {
        let (one, other) = (key(1), key(2));
        assert!((0..10_000).filter(|n| one.tag(*n) == other.tag(*n)).count() <= 1);
    }
}
