//! How many packets a second one subscriber may send: a token bucket each, in one table for all workers.
//!
//! Guarantees: a subscriber that keeps to its rate loses nothing to another's flood, unless four others in the same set are
//! busy in the same moment; over any second nobody gets more than its rate and its burst (a tenth of the rate, at least 16
//! packets), but for what two workers take at the very same time. Constant time, nothing allocated after start.
//! Never: limits what a subscriber receives; that is for whoever knows its subscription.

use crate::flow::{Realm, hash::HashKey, hash::Hashed, key::Key4};
use std::sync::atomic::{AtomicU64, Ordering};

/// Subscribers that share a set, one cache line.
const WAYS: usize = 4;
/// Thousandths of a packet: a rate of one a second adds one a millisecond.
const TOKEN: u64 = 1000;
const LEAST_BURST: u64 = 16;

/// A subscriber, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber(u64);

impl Subscriber {
    /// Of an IPv4 address; the realm gives it its meaning.
    #[inline(always)]
    pub fn v4(realm: Realm, source: u32) -> Self {
        Self(1 << 63 | u64::from(realm.0) << 32 | u64::from(source))
    }

    /// Of an IPv6 address: its /64 prefix, as it lies in memory, read little-endian. No two realms have the same.
    #[inline(always)]
    pub fn v6(prefix: u64) -> Self {
        // 8000::/16, which IPv4's look like, is nobody's (RFC 4291 section 2.4).
        Self(prefix.swap_bytes())
    }
}

#[derive(Default)]
struct Bucket {
    /// The [`Subscriber`], 0 for none.
    owner: AtomicU64,
    /// Thousandths of packets left 32 | milliseconds of the last packet 32.
    state: AtomicU64,
}

#[derive(Default)]
#[repr(align(64))]
struct Set([Bucket; WAYS]);

/// The buckets of all subscribers. Shared: any worker writes any bucket, relaxed.
pub struct Policer {
    sets: Box<[Set]>,
    hash: HashKey,
    rate: u64,
    capacity: u64,
}

impl Policer {
    /// For so many `subscribers` at a time, each of `rate` packets a second (at most 4,000,000).
    pub fn new(rate: u32, subscribers: usize, hash: HashKey) -> Self {
        let sets = (subscribers * 2 / WAYS).next_power_of_two();
        let rate = u64::from(rate.min(4_000_000));
        Self {
            sets: (0..sets).map(|_| Set::default()).collect(),
            hash,
            rate,
            capacity: (rate / 10).max(LEAST_BURST) * TOKEN,
        }
    }

    /// Takes a packet of that subscriber into account at `now`, wrapping milliseconds; whether it may pass.
    #[inline]
    pub fn allow(&self, subscriber: Subscriber, now: u32) -> bool {
        let key = Key4 { addresses: subscriber.0, tail: 0 };
        let set = &self.sets[key.hash(&self.hash).buckets as usize & (self.sets.len() - 1)];
        let bucket = self.bucket(set, subscriber, now);
        let state = bucket.state.load(Ordering::Relaxed);
        let (left, seen) = (state >> 32, state as u32);
        let left = (left + u64::from(now.wrapping_sub(seen)) * self.rate).min(self.capacity);
        let allowed = left >= TOKEN;
        let left = if allowed { left - TOKEN } else { left };
        bucket.state.store(left << 32 | u64::from(now), Ordering::Relaxed);
        allowed
    }

    /// The subscriber's bucket; of a full set that which has been quiet for longest becomes its own, full.
    #[inline]
    fn bucket<'s>(&self, set: &'s Set, subscriber: Subscriber, now: u32) -> &'s Bucket {
        let own = |b: &&Bucket| b.owner.load(Ordering::Relaxed) == subscriber.0;
        if let Some(bucket) = set.0.iter().find(own) {
            return bucket;
        }
        let quiet = |b: &&Bucket| match b.owner.load(Ordering::Relaxed) {
            0 => u32::MAX,
            _ => now.wrapping_sub(b.state.load(Ordering::Relaxed) as u32),
        };
        let bucket = set.0.iter().max_by_key(quiet).unwrap_or(&set.0[0]);
        bucket.owner.store(subscriber.0, Ordering::Relaxed);
        bucket.state.store(self.capacity << 32 | u64::from(now), Ordering::Relaxed);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policer(rate: u32, subscribers: usize) -> Policer {
        let mut seed = 7u64;
        Policer::new(
            rate,
            subscribers,
            HashKey::new(|| {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                seed
            }),
        )
    }

    #[test]
    fn a_flood_is_cut_to_its_rate_and_nobody_else_notices() {
        let p = policer(1000, 64);
        let (flood, quiet) = (Subscriber::v4(Realm(1), 1), Subscriber::v4(Realm(2), 1));
        let (mut passed, mut lost) = (0, 0);
        for packet in 0..100_000u32 {
            let now = (u32::MAX - 500).wrapping_add(packet / 100);
            passed += u32::from(p.allow(flood, now));
            if packet % 200 == 0 {
                lost += u32::from(!p.allow(quiet, now));
            }
        }
        assert_eq!(lost, 0);
        assert!((1000..=1101).contains(&passed), "{passed} in a second at 1,000 and a burst of 100");
    }

    proptest! {
        /// Against a bucket for each: with room to spare the table decides the same.
        #[test]
        fn as_a_bucket_for_each(
            rate in 100..20_000u32, packets in proptest::collection::vec((0..4u32, 0..5u32), 1..400),
        ) {
            let p = policer(rate, 64);
            let capacity = u64::from(rate / 10).max(LEAST_BURST) * TOKEN;
            let mut oracle = [(capacity, None); 4];
            let mut now = 5u32;
            for (who, later) in packets {
                now += later;
                let (left, seen) = &mut oracle[who as usize];
                let elapsed = seen.map_or(0, |seen: u32| now - seen);
                *left = (*left + u64::from(elapsed) * u64::from(rate)).min(capacity);
                *seen = Some(now);
                let allowed = *left >= TOKEN;
                *left -= if allowed { TOKEN } else { 0 };
                prop_assert_eq!(p.allow(Subscriber::v4(Realm(1), who), now), allowed);
            }
        }
    }
}
