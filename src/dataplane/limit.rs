//! A token bucket: how often something may happen that others can provoke (ICMP errors, punts, solicitations).
//!
//! Guarantees: over any stretch of `t` milliseconds it allows at most `rate × t / 1000 + burst`; with a rate and a burst of
//! one or more it allows again at the latest `⌈1000 / rate⌉` milliseconds after a refusal. Integer arithmetic, constant time.
//! Never: reads a clock, allocates, or is shared; every worker has its own.

/// One token, in the bucket's unit: a rate of one a second adds one unit a millisecond.
const TOKEN: u64 = 1000;

/// A bucket that refills at a constant rate and starts full.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate_per_second: u64,
    capacity: u64,
    level: u64,
    filled_at: u32,
}

impl TokenBucket {
    /// `rate_per_second` tokens a second, at most `burst` at once. A burst of zero allows nothing; a rate of zero
    /// allows the burst and nothing more.
    pub const fn new(rate_per_second: u32, burst: u32) -> Self {
        let capacity = burst as u64 * TOKEN;
        Self { rate_per_second: rate_per_second as u64, capacity, level: capacity, filled_at: 0 }
    }

    /// `rate_per_second`, with a burst of a tenth of it.
    pub const fn of_rate(rate_per_second: u32) -> Self {
        let tenth = rate_per_second / 10;
        Self::new(rate_per_second, if tenth == 0 && rate_per_second > 0 { 1 } else { tenth })
    }

    /// Takes as many tokens as there are, at most `wanted`; returns how many.
    pub const fn take(&mut self, wanted: u32, now_ms: u32) -> u32 {
        self.fill(now_ms);
        let there = self.level / TOKEN;
        let taken = if there < wanted as u64 { there } else { wanted as u64 };
        self.level -= taken * TOKEN;
        taken as u32
    }

    /// Takes a token if there is one. `now_ms`: milliseconds of a clock that never goes back and may wrap around.
    pub const fn allow(&mut self, now_ms: u32) -> bool {
        self.take(1, now_ms) == 1
    }

    const fn fill(&mut self, now_ms: u32) {
        let elapsed = now_ms.wrapping_sub(self.filled_at) as u64;
        self.filled_at = now_ms;
        let filled = self.level.saturating_add(elapsed * self.rate_per_second);
        self.level = if filled < self.capacity { filled } else { self.capacity };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = TokenBucket::new(2, 3);
        let allowed = |bucket: &mut TokenBucket, now| (0..10).filter(|_| bucket.allow(now)).count();
        assert_eq!(allowed(&mut bucket, 50), 3);
        assert_eq!(allowed(&mut bucket, 549), 0);
        assert_eq!(allowed(&mut bucket, 550), 1);
        assert_eq!(allowed(&mut bucket, 100_000), 3);
    }

    #[test]
    fn zero_means_zero() {
        let mut no_burst = TokenBucket::new(1000, 0);
        let mut no_rate = TokenBucket::new(0, 1);
        assert!(!no_burst.allow(0) && !no_burst.allow(u32::MAX));
        assert!(no_rate.allow(7) && !no_rate.allow(u32::MAX));
    }

    proptest! {
        /// Every window of the run, not just the whole of it, across a wrap of the clock.
        #[test]
        fn never_exceeds_the_rate(
            rate in prop_oneof![0..20u32, Just(1000), Just(u32::MAX)], burst in 0..20u32,
            start in prop_oneof![Just(0u32), (u32::MAX - 5000)..=u32::MAX, any::<u32>()],
            gaps in vec(prop_oneof![Just(0u64), 0..50u64, 0..3000u64], 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, burst);
            let (mut at, mut allowed) = (u64::from(start), Vec::new());
            for gap in gaps {
                at += gap;
                if bucket.allow(at as u32) {
                    allowed.push(at);
                }
            }
            for (i, from) in allowed.iter().enumerate() {
                for (j, to) in allowed.iter().enumerate().skip(i) {
                    let bound = (to - from) * u64::from(rate) + u64::from(burst) * TOKEN;
                    prop_assert!((j - i + 1) as u64 * TOKEN <= bound);
                }
            }
        }

        #[test]
        fn never_starves(rate in 1..5000u32, burst in 1..20u32, start: u32, gaps in vec(0..40u32, 1..200)) {
            let (mut bucket, mut at, mut refused_at) = (TokenBucket::new(rate, burst), start, None);
            let patience = 1000u32.div_ceil(rate);
            prop_assert!(bucket.allow(at), "it starts full");
            for gap in gaps {
                at = at.wrapping_add(gap);
                let allowed = bucket.allow(at);
                let since = *refused_at.get_or_insert(at);
                prop_assert!(allowed || at.wrapping_sub(since) < patience);
                if allowed {
                    refused_at = None;
                }
            }
        }
    }
}
