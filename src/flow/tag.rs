//! Session tags: a keyed permutation of the numbers of records, so that a tag is found by index and says nothing of it.
//!
//! Guarantees: tag and number are one to one, 0 is no tag, and who doesn't know the key can neither guess a tag that is in use nor
//! tell how many are. Never: decides whether a record is in use; its generation does. Shared by value: nobody writes to it.

/// Bits of a number that say which record; the other eight are its generation.
pub const SLOT_BITS: u32 = 24;
const ROUNDS: usize = 4;

/// A record, and which of those that had its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Under 2^24.
    pub index: u32,
    /// 1 to 255, and from there to 1 again: what was freed has another tag when it is used again.
    pub generation: u8,
}

impl Slot {
    /// The generation after this one.
    pub const fn next_generation(generation: u8) -> u8 {
        if generation == u8::MAX { 1 } else { generation + 1 }
    }
}

/// The key of an instance: four rounds of a Feistel network on halves of 16 bits, each keyed with three words.
#[derive(Clone)]
pub struct TagKey([[u64; 3]; ROUNDS]);

impl std::fmt::Debug for TagKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagKey")
    }
}

impl TagKey {
    /// From words of a cryptographic source of random ones.
    pub fn new(words: [[u64; 3]; ROUNDS]) -> TagKey {
        // A factor that is even would lose bits.
        TagKey(words.map(|[offset, first, second]| [offset, first | 1, second | 1]))
    }

    /// What stands on the wire for a record; never 0.
    #[inline]
    pub fn tag(&self, slot: Slot) -> u32 {
        let number = u32::from(slot.generation.max(1)) << SLOT_BITS | slot.index & ((1 << SLOT_BITS) - 1);
        match self.forward(number) {
            // Number 0 is no record's: what it would be takes the place of 0.
            0 => self.forward(0),
            tag => tag,
        }
    }

    /// Which record a tag stands for, if it was given out.
    #[inline]
    pub fn slot(&self, tag: u32) -> Slot {
        let number = match self.backward(tag) {
            0 => self.backward(0),
            number => number,
        };
        Slot { index: number & ((1 << SLOT_BITS) - 1), generation: (number >> SLOT_BITS) as u8 }
    }

    #[inline]
    fn forward(&self, number: u32) -> u32 {
        let halves = ((number >> 16) as u16, number as u16);
        let (left, right) =
            self.0.iter().fold(halves, |(left, right), key| (right, left ^ round(right, key)));
        u32::from(left) << 16 | u32::from(right)
    }

    #[inline]
    fn backward(&self, number: u32) -> u32 {
        let halves = ((number >> 16) as u16, number as u16);
        let (left, right) =
            self.0.iter().rev().fold(halves, |(left, right), key| (right ^ round(left, key), left));
        u32::from(left) << 16 | u32::from(right)
    }
}

/// Two products with a fold between them: no output bit is a linear function of input or key.
#[inline]
fn round(half: u16, [offset, first, second]: &[u64; 3]) -> u16 {
    let product = (u64::from(half) ^ offset).wrapping_mul(*first);
    ((product ^ product >> 32).wrapping_mul(*second) >> 48) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(seed: u64) -> TagKey {
        let mut state = seed;
        TagKey::new(std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ z >> 31
            })
        }))
    }

    proptest! {
        #[test]
        fn a_tag_is_its_records(seed: u64, index in 0..1u32 << SLOT_BITS, generation in 1..=255u8) {
            let (key, slot) = (key(seed), Slot { index, generation });
            let tag = key.tag(slot);
            prop_assert!(tag != 0);
            prop_assert_eq!(key.slot(tag), slot);
        }
    }

    #[test]
    fn the_record_that_would_be_tag_0_has_another() {
        let key = key(7);
        let number = key.backward(0);
        let slot = Slot { index: number & 0xff_ffff, generation: (number >> 24) as u8 };
        assert!(slot.generation > 0, "choose another seed");
        assert_eq!(key.tag(slot), key.forward(0));
        assert_eq!(key.slot(key.tag(slot)), slot);
    }

    /// Neighbours differ in half of their bits, and so do the same numbers under keys that differ in one bit.
    #[test]
    fn neighbours_have_nothing_in_common() {
        let (one, other) = (key(1), key(2));
        let mean = |differences: &mut dyn Iterator<Item = u32>| {
            let all: Vec<f64> = differences.map(|bits| f64::from(bits.count_ones())).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        let tag = |key: &TagKey, index| key.tag(Slot { index, generation: 1 });
        let neighbours = mean(&mut (0..10_000).map(|n| tag(&one, n) ^ tag(&one, n + 1)));
        let keys = mean(&mut (0..10_000).map(|n| tag(&one, n) ^ tag(&other, n)));
        assert!((15.8..16.2).contains(&neighbours) && (15.8..16.2).contains(&keys), "{neighbours} {keys}");
        assert_eq!((1..=255).map(Slot::next_generation).collect::<std::collections::HashSet<_>>().len(), 255);
    }
}
