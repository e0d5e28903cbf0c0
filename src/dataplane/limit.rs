//! A token bucket: how often something may happen that others can provoke (ICMP errors, punts, solicitations); and a share of it
//! for each source, so that what one provokes is not missed by the others.
//!
//! Guarantees: over any stretch of `t` milliseconds it allows at most `rate × t / 1000 + burst`; with a rate and a burst of
//! one or more it allows again at the latest `⌈1000 / rate⌉` milliseconds after a refusal. Integer arithmetic, constant time.
//! Never: reads a clock, allocates, or is shared; every worker has its own.

use std::net::IpAddr;

/// Buckets that sources share by hash.
const SOURCES: usize = 1024;

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

/// A bucket for each source, some of which share one by hash.
pub struct Shares {
    buckets: Box<[TokenBucket]>,
    /// Which source shares a bucket with which is nobody's to know.
    secret: u64,
}

impl Shares {
    /// `each` is a full bucket.
    pub fn new(each: TokenBucket, secret: u64) -> Self {
        Self { buckets: vec![each; SOURCES].into(), secret: secret | 1 }
    }

    /// Whether that source has some of its share left; takes it.
    pub fn allow(&mut self, source: IpAddr, now_ms: u32) -> bool {
        self.buckets[place(self.secret, source)].allow(now_ms)
    }

    #[cfg(test)]
    pub fn share_a_bucket(&self, one: IpAddr, other: IpAddr) -> bool {
        place(self.secret, one) == place(self.secret, other)
    }
}

/// The place of a source's bucket: an IPv6 host owns its /64, and has one for all of it.
fn place(secret: u64, source: IpAddr) -> usize {
    let word = match source {
        IpAddr::V4(a) => u64::from(u32::from(a)),
        IpAddr::V6(a) => (u128::from(a) >> 64) as u64,
    };
    let mixed = u128::from(word ^ secret.rotate_left(32)) * u128::from(secret);
    ((mixed as u64 ^ (mixed >> 64) as u64) >> 32) as usize % SOURCES
}

/// A limit of what is sent because somebody has provoked it: of all together, and of each source a tenth.
pub struct Answers {
    shares: Shares,
    all: TokenBucket,
}

impl Answers {
    /// At most so many a second, with a burst of a tenth of it. A source has half of the burst at once, then its tenth.
    pub fn new(rate_per_second: u32, secret: u64) -> Self {
        let tenth = rate_per_second.div_ceil(10);
        Self {
            shares: Shares::new(TokenBucket::new(tenth, tenth.div_ceil(2)), secret),
            all: TokenBucket::of_rate(rate_per_second),
        }
    }

    /// Whether one more may be sent to that source. Its share first: what one provokes too much of costs the others nothing.
    pub fn allow(&mut self, source: IpAddr, now_ms: u32) -> bool {
        self.shares.allow(source, now_ms) && self.all.allow(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

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

    #[test]
    fn a_host_is_its_prefix() {
        let at = |n: u128| IpAddr::V6(Ipv6Addr::from(0x2001_0db8_u128 << 96 | n));
        assert_eq!(place(0x9e37_79b9_7f4a_7c15, at(1)), place(0x9e37_79b9_7f4a_7c15, at(2)));
        let used: std::collections::HashSet<_> =
            (0..1000u128).map(|n| place(0x9e37_79b9_7f4a_7c15, at(n << 64))).collect();
        assert!(used.len() > 500, "{} buckets for 1,000 hosts", used.len());
    }

    #[test]
    fn who_provokes_many_answers_leaves_the_others_theirs() {
        let host = |n: u8| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));
        let mut answers = Answers::new(1000, 0x1234_5678_9abc_def1);
        assert!((2..=5).all(|n| !answers.shares.share_a_bucket(host(1), host(n))), "of this secret");
        // A second of a flood, and now and then somebody whose packet was too big.
        let (mut flooded, mut others) = (0, 0);
        for now in 0..1000 {
            flooded += (0..50).filter(|_| answers.allow(host(1), now)).count();
            if now % 50 == 49 {
                others += (2..=5).filter(|&n| answers.allow(host(n), now)).count();
            }
        }
        assert_eq!(others, 20 * 4, "nobody else was refused");
        assert!((140..=160).contains(&flooded), "{flooded}");
        let strangers = (0..5000u32).filter(|n| answers.allow(IpAddr::V4((n << 8).into()), 1000 + n / 5));
        assert!((900..=1100).contains(&strangers.count()), "all together have their limit still");
    }

    #[test]
    fn one_a_second_is_one_a_second_and_none_is_none() {
        let host = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let allowed = |rate| {
            let mut answers = Answers::new(rate, 7);
            (0..3000).filter(|&now| answers.allow(host, now)).count()
        };
        assert_eq!((allowed(1), allowed(0)), (3, 0));
    }
}
