//! The lock-free index: from a key's hash to a reference to its record.
//!
//! Buckets of one cache line hold eight 64-bit slots. A key may lie in either of two buckets, or in the bounded overflow;
//! entries are published, replaced and cleared by compare-and-swap and are **never moved**, so a reader that looks at all
//! its candidates never misses a live entry. The index stores no keys: the caller compares the key in the record that a
//! slot refers to. Full means refused; nothing grows.
//!
//! Any thread may call any method. For one key the home worker alone inserts and removes, so a key is in the index once.

use super::hash::Hash;
use super::memory::{Region, prefetch};
use super::sync::{AtomicU32, AtomicU64, Ordering};

/// Slots in a bucket.
const SLOTS: usize = 8;
/// An entry goes to its first bucket while that has at most this many entries: then most look-ups touch one line.
/// Beyond it, to the emptier of its two.
const FIRST_CHOICE_LIMIT: u32 = 6;
/// Buckets of overflow a reader scans for one key.
const OVERFLOW_RUN: usize = 2;

/// A reference to a record: which table, which element, and the generation that it must still have.
///
/// Layout of its bits: index 28 | table 4 | generation 16.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ref(u64);

impl Ref {
    /// The largest element number.
    pub const MAX_INDEX: u32 = (1 << 28) - 1;

    /// `index` up to [`Self::MAX_INDEX`], `table` 1 to 15 (0 is "nothing").
    #[inline(always)]
    pub const fn new(table: u8, index: u32, generation: u16) -> Self {
        debug_assert!(index <= Self::MAX_INDEX && table < 16);
        Self(index as u64 | (table as u64) << 28 | (generation as u64) << 32)
    }
    #[inline(always)]
    pub const fn index(self) -> usize {
        (self.0 & Self::MAX_INDEX as u64) as usize
    }
    #[inline(always)]
    pub const fn table(self) -> u8 {
        (self.0 >> 28) as u8 & 15
    }
    #[inline(always)]
    pub const fn generation(self) -> u16 {
        (self.0 >> 32) as u16
    }
    /// Whether it refers to anything.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.0 & (15 << 28) != 0
    }
}

impl std::fmt::Debug for Ref {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}#{}", self.table(), self.index(), self.generation())
    }
}

/// Where a record is, without the generation that it must still have: index 28 | table 4.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place(u32);

impl Place {
    /// The element number within `table`; past the end of any table where it is in another one.
    #[inline(always)]
    pub const fn within(self, table: u8) -> usize {
        (self.0 ^ (table as u32) << 28) as usize
    }
}

/// A published entry: tag 16 | generation 16 | table 4 | index 28; 0 is an empty slot.
#[inline(always)]
const fn slot(hash: Hash, r: Ref) -> u64 {
    r.0 | (hash.tag as u64) << 48
}

#[inline(always)]
const fn reference(slot: u64) -> Ref {
    Ref(slot & 0xffff_ffff_ffff)
}

/// The index is full for this key: both buckets and the overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFull;

#[repr(C, align(64))]
struct Bucket([AtomicU64; SLOTS]);

impl Bucket {
    fn empty() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Bit i is set where slot i has this tag: a hint, to be confirmed by an atomic load of the slot.
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2", not(ces_loom), not(miri)))]
    #[inline(always)]
    fn matches(&self, tag: u16) -> u32 {
        let (low, high): (u32, u32);
        // SAFETY: reads the 64 bytes of this bucket, which is 64-byte aligned, and writes registers only. The loads are
        // made in assembly because other threads write the slots meanwhile: to the compiler this is an opaque read, and
        // to the processor each aligned 8-byte lane is a load of its own. What is seen is used as a hint only.
        unsafe {
            std::arch::asm!(
                "vmovd {t:x}, {tag:e}",
                "vpbroadcastw {t:y}, {t:x}",
                "vpcmpeqw {a:y}, {t:y}, ymmword ptr [{p}]",
                "vpcmpeqw {b:y}, {t:y}, ymmword ptr [{p} + 32]",
                "vmovmskpd {low:e}, {a:y}",
                "vmovmskpd {high:e}, {b:y}",
                tag = in(reg) tag as u32,
                p = in(reg) self,
                t = out(ymm_reg) _,
                a = out(ymm_reg) _,
                b = out(ymm_reg) _,
                low = lateout(reg) low,
                high = lateout(reg) high,
                options(nostack, readonly, preserves_flags),
            );
        }
        // A word compare sets the sign of a 64-bit lane exactly when the lane's highest word, the tag, is equal.
        low | high << 4
    }

    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2", not(ces_loom), not(miri))))]
    #[inline(always)]
    fn matches(&self, tag: u16) -> u32 {
        (0..SLOTS).fold(0, |m, i| m | u32::from((self.0[i].load(Ordering::Relaxed) >> 48) as u16 == tag) << i)
    }

    /// The first entry with this tag for which `is_it` says yes.
    #[inline(always)]
    fn find(&self, tag: u16, is_it: &mut impl FnMut(Ref) -> bool) -> Option<Ref> {
        let mut mask = self.matches(tag);
        while mask != 0 {
            let i = mask.trailing_zeros() as usize & (SLOTS - 1);
            mask &= mask - 1;
            // Acquire: what the publisher wrote into the record before the slot is seen by whoever follows it.
            let s = self.0[i].load(Ordering::Acquire);
            if (s >> 48) as u16 == tag && is_it(reference(s)) {
                return Some(reference(s));
            }
        }
        None
    }

    /// The place that the first slot with this tag names. Whoever changes the slot between comparison and load makes it name
    /// another one, which the key in the record tells.
    #[inline(always)]
    fn candidate(&self, tag: u16) -> Option<Place> {
        let mask = self.matches(tag);
        let i = mask.trailing_zeros() as usize & (SLOTS - 1);
        // Acquire: as in `find`.
        (mask != 0).then(|| Place(self.0[i].load(Ordering::Acquire) as u32))
    }

    fn used(&self) -> u32 {
        self.0.iter().map(|s| u32::from(s.load(Ordering::Relaxed) != 0)).sum()
    }

    /// Publishes `value` in a free slot.
    fn publish(&self, value: u64) -> bool {
        self.0.iter().any(|s| {
            s.load(Ordering::Relaxed) == 0
                && s.compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// Swaps exactly `old` for `new`.
    fn swap(&self, old: u64, new: u64) -> bool {
        self.0.iter().any(|s| {
            s.load(Ordering::Relaxed) == old
                && s.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }
}

/// The index of all workers. See the module.
pub struct Index {
    buckets: Region<Bucket>,
    overflow: Region<Bucket>,
    /// Entries in the overflow: readers skip it while there are none, which is nearly always.
    /// Raised before such an entry is published and lowered after it is cleared.
    overflowed: AtomicU32,
}

impl Index {
    /// An index that holds `entries` entries at a load of 70 %: 11.5 bytes an entry, so that a session's records and index
    /// stay under 160 bytes at 95 % of all sessions.
    pub fn new(entries: usize) -> Self {
        // 36 slots for 25 entries.
        let buckets = (entries * 36).div_ceil(25 * SLOTS).max(2);
        Self::with_buckets(buckets, buckets / 64 + OVERFLOW_RUN)
    }

    fn with_buckets(buckets: usize, overflow: usize) -> Self {
        assert!(buckets <= u32::MAX as usize, "more buckets than 32 bits of hash can choose from");
        Self {
            buckets: Region::new(buckets, |_| Bucket::empty()),
            overflow: Region::new(overflow, |_| Bucket::empty()),
            overflowed: AtomicU32::new(0),
        }
    }

    /// Whether it lies on reserved huge pages.
    pub fn is_huge(&self) -> bool {
        self.buckets.is_huge()
    }

    /// A bucket by 32 bits of hash.
    #[inline(always)]
    fn bucket(&self, bits: u32) -> &Bucket {
        let i = ((u64::from(bits) * self.buckets.len() as u64) >> 32) as usize;
        // SAFETY: i is below the length, being length * bits / 2^32 with bits below 2^32; the length fits 32 bits.
        unsafe { self.buckets.get_unchecked(i) }
    }

    #[inline(always)]
    fn first(&self, hash: Hash) -> &Bucket {
        self.bucket(hash.buckets as u32)
    }

    #[inline(always)]
    fn second(&self, hash: Hash) -> &Bucket {
        self.bucket((hash.buckets >> 32) as u32)
    }

    /// The overflow buckets of a key.
    fn overflow(&self, hash: Hash) -> impl Iterator<Item = &Bucket> {
        let start = (hash.buckets as u32 ^ (hash.buckets >> 32) as u32) as usize % self.overflow.len();
        (0..OVERFLOW_RUN).map(move |i| &self.overflow[(start + i) % self.overflow.len()])
    }

    /// Fetches the first bucket ahead of [`Self::candidate_first`].
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        prefetch(self.first(hash));
    }

    /// Fetches the second bucket ahead of [`Self::find`].
    #[inline(always)]
    pub fn prefetch_second(&self, hash: Hash) {
        prefetch(self.second(hash));
    }

    /// Fetches the overflow ahead of [`Self::find`], where there is any.
    #[inline]
    pub fn prefetch_overflow(&self, hash: Hash) {
        if self.overflowed.load(Ordering::Relaxed) > 0 {
            self.overflow(hash).for_each(prefetch);
        }
    }

    /// An entry of the first bucket with this hash's tag, its key not yet compared: 15 in 16 hits are found here.
    #[inline(always)]
    pub fn candidate_first(&self, hash: Hash) -> Option<Place> {
        self.first(hash).candidate(hash.tag)
    }

    /// An entry of the second bucket with this hash's tag, its key not yet compared.
    #[inline(always)]
    pub fn candidate_second(&self, hash: Hash) -> Option<Place> {
        self.second(hash).candidate(hash.tag)
    }

    /// The entry with this hash for which `is_it` says yes (by comparing the key in its record).
    pub fn find(&self, hash: Hash, mut is_it: impl FnMut(Ref) -> bool) -> Option<Ref> {
        let is_it = &mut is_it;
        self.first(hash)
            .find(hash.tag, is_it)
            .or_else(|| self.second(hash).find(hash.tag, is_it))
            .or_else(|| self.find_overflowed(hash, is_it))
    }

    #[cold]
    fn find_overflowed(&self, hash: Hash, is_it: &mut impl FnMut(Ref) -> bool) -> Option<Ref> {
        if self.overflowed.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.overflow(hash).find_map(|b| b.find(hash.tag, is_it))
    }

    /// Publishes an entry. The caller has written the record and knows that the key isn't in the index.
    ///
    /// # Errors
    /// [`IndexFull`] when both buckets and the overflow are full for this hash.
    pub fn insert(&self, hash: Hash, r: Ref) -> Result<(), IndexFull> {
        let value = slot(hash, r);
        let (first, second) = (self.first(hash), self.second(hash));
        let n = first.used();
        let order =
            if n <= FIRST_CHOICE_LIMIT || n <= second.used() { [first, second] } else { [second, first] };
        if order.iter().any(|b| b.publish(value)) {
            return Ok(());
        }
        self.overflowed.fetch_add(1, Ordering::AcqRel);
        if self.overflow(hash).any(|b| b.publish(value)) {
            return Ok(());
        }
        self.overflowed.fetch_sub(1, Ordering::AcqRel);
        Err(IndexFull)
    }

    /// Swaps exactly the entry `old` for `new` in one step: no reader finds neither. False when `old` isn't there.
    pub fn replace(&self, hash: Hash, old: Ref, new: Ref) -> bool {
        let (old, new) = (slot(hash, old), slot(hash, new));
        self.first(hash).swap(old, new)
            || self.second(hash).swap(old, new)
            || self.overflow(hash).any(|b| b.swap(old, new))
    }

    /// Clears exactly this entry. False when it isn't there.
    pub fn remove(&self, hash: Hash, r: Ref) -> bool {
        let value = slot(hash, r);
        if self.first(hash).swap(value, 0) || self.second(hash).swap(value, 0) {
            return true;
        }
        let cleared = self.overflow(hash).any(|b| b.swap(value, 0));
        if cleared {
            self.overflowed.fetch_sub(1, Ordering::AcqRel);
        }
        cleared
    }

    /// (entries, the part of them in their second bucket is not known here, entries in the overflow): a full scan, for
    /// tests and the operator, not for a worker.
    pub fn census(&self) -> (usize, usize) {
        let count = |r: &Region<Bucket>| r.iter().map(|b| b.used() as usize).sum::<usize>();
        let spilled = count(&self.overflow);
        (count(&self.buckets) + spilled, spilled)
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    fn random_hash(rng: &mut StdRng) -> Hash {
        Hash { buckets: rng.random(), tag: rng.random::<u16>().max(1) }
    }

    #[test]
    fn reference_keeps_its_parts() {
        for (t, i, g) in [(1, 0, 0), (15, Ref::MAX_INDEX, u16::MAX), (2, 12345, 9)] {
            let r = Ref::new(t, i, g);
            assert_eq!((r.table(), r.index(), r.generation()), (t, i as usize, g));
            assert!(r.is_some());
            assert_eq!(reference(slot(Hash { buckets: 0, tag: 77 }, r)), r);
        }
        assert!(!Ref::default().is_some());
    }

    #[test]
    fn simd_and_scalar_tag_compare_agree() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..2000 {
            let tags: [u16; SLOTS] = std::array::from_fn(|_| rng.random_range(0..4));
            let b = Bucket(std::array::from_fn(|i| {
                AtomicU64::new((tags[i] as u64) << 48 | rng.random::<u64>() >> 16)
            }));
            for tag in 1..4 {
                let naive = (0..SLOTS).fold(0, |m, i| m | u32::from(tags[i] == tag) << i);
                assert_eq!(b.matches(tag), naive);
            }
        }
    }

    #[test]
    fn every_insert_succeeds_at_full_capacity_and_few_overflow() {
        let n = 200_000;
        for seed in 0..4 {
            let mut rng = StdRng::seed_from_u64(seed);
            let index = Index::new(n);
            let hashes: Vec<Hash> = (0..n).map(|_| random_hash(&mut rng)).collect();
            for (i, h) in hashes.iter().enumerate() {
                index.insert(*h, Ref::new(1, i as u32, 0)).expect("room for every entry");
            }
            let in_first = hashes
                .iter()
                .enumerate()
                .filter(|(i, h)| index.first(**h).find(h.tag, &mut |r: Ref| r.index() == *i).is_some())
                .count();
            assert!(in_first * 100 > n * 75, "{in_first} of {n} in the first bucket");
            let (used, spilled) = index.census();
            assert_eq!(used, n);
            assert!(spilled * 200 < n, "{spilled} of {n} in the overflow");
            // Churn at full load: the index must not degrade.
            let mut live: Vec<(Hash, Ref)> =
                hashes.iter().enumerate().map(|(i, h)| (*h, Ref::new(1, i as u32, 0))).collect();
            for round in 0..n {
                let at = rng.random_range(0..live.len());
                let (h, r) = live[at];
                assert!(index.remove(h, r));
                let fresh = random_hash(&mut rng);
                let next = Ref::new(1, r.index() as u32, round as u16);
                index.insert(fresh, next).expect("room after a removal");
                live[at] = (fresh, next);
            }
            assert!(live.iter().all(|(h, r)| index.find(*h, |x| x == *r).is_some()));
        }
    }

    #[test]
    fn refuses_when_full_and_recovers() {
        let index = Index::with_buckets(2, OVERFLOW_RUN);
        let h = Hash { buckets: 1 << 63, tag: 5 };
        let mut held = vec![];
        let full = loop {
            let r = Ref::new(1, held.len() as u32, 0);
            match index.insert(h, r) {
                Ok(()) => held.push(r),
                Err(e) => break e,
            }
        };
        assert_eq!(full, IndexFull);
        assert_eq!(held.len(), 16 + OVERFLOW_RUN * SLOTS);
        assert!(held.iter().all(|r| index.find(h, |x| x == *r).is_some()));
        assert!(held.iter().all(|r| index.remove(h, *r)));
        assert_eq!(index.census(), (0, 0));
        assert_eq!(index.overflowed.load(Ordering::Relaxed), 0);
    }

    proptest! {
        /// Against a naive list: insert, remove, replace and find in any order, with few hashes so that all collide.
        #[test]
        fn like_a_list(ops in prop::collection::vec((0u8..4, 0u64..6, 1u16..3, 0u32..40), 1..400)) {
            let index = Index::with_buckets(3, OVERFLOW_RUN);
            let mut list: Vec<(Hash, Ref)> = vec![];
            for (op, bucket, tag, id) in ops {
                let h = Hash { buckets: bucket << 61 | bucket << 29, tag };
                // A record is entered under one hash at a time: so is an id here.
                let id = id << 4 | (bucket as u32) << 1 | u32::from(tag - 1);
                let r = Ref::new(1, id, 0);
                match op {
                    0 => if !list.contains(&(h, r)) && index.insert(h, r).is_ok() { list.push((h, r)) },
                    1 => prop_assert_eq!(index.remove(h, r), list.iter().position(|e| *e == (h, r))
                        .map(|i| list.swap_remove(i)).is_some()),
                    2 => {
                        let new = Ref::new(1, id, 1);
                        if list.contains(&(h, new)) { continue }
                        let at = list.iter().position(|e| *e == (h, r));
                        prop_assert_eq!(index.replace(h, r, new), at.is_some());
                        if let Some(at) = at { list[at].1 = new }
                    }
                    _ => prop_assert_eq!(index.find(h, |x| x == r).is_some(), list.contains(&(h, r))),
                }
                prop_assert_eq!(index.census().0, list.len());
            }
            for (h, r) in &list {
                prop_assert_eq!(index.find(*h, |x| x == *r), Some(*r));
            }
        }
    }
}
