//! How many reservations a second a host may have.
//!
//! Each host has a budget of a second's worth, which fills again evenly (the generic cell rate algorithm, ITU-T I.371). Whoever
//! has shown nothing finds it used up at half of that: a flood of spoofed questions takes what is left over, and never what a
//! proven asker needs.
//!
//! Guarantees: bounded, preallocated, constant time. Where there is no room the host that has used least is forgotten, and has a
//! whole budget again. Never: reads a clock.

use super::table::{Secret, Table};

/// Microseconds of a budget, and of what of it there is for the unproven.
const BUDGET: u64 = 1_000_000;
const UNPROVEN: u64 = BUDGET / 2;

/// See the module.
pub struct Rates {
    /// By host: when its budget is whole again, in microseconds.
    whole_at: Table<u32, u64>,
}

impl Rates {
    /// For so many hosts at once.
    pub fn new(hosts: usize, secret: Secret) -> Self {
        Self { whole_at: Table::new(hosts, secret) }
    }

    /// That host will be asked for soon.
    pub fn prefetch(&self, host: u32) {
        self.whole_at.prefetch(&host);
    }

    /// Whether a host of `per_second` (1 to 1,000,000) may have one more at `now`, in milliseconds.
    pub fn allows(&self, host: u32, per_second: u32, is_proven: bool, now: u64) -> bool {
        let used = self.whole_at(host, now) - now * 1000;
        let budget = if is_proven { BUDGET } else { UNPROVEN };
        used + cost(per_second) <= budget.max(cost(per_second))
    }

    /// It has got one.
    pub fn count(&mut self, host: u32, per_second: u32, now: u64) {
        let whole_at = self.whole_at(host, now) + cost(per_second);
        match self.whole_at.get_mut(&host) {
            Some(known) => *known = whole_at,
            None => drop(self.whole_at.put(host, whole_at, |&whole_at| whole_at)),
        }
    }

    fn whole_at(&self, host: u32, now: u64) -> u64 {
        self.whole_at.get(&host).map_or(now * 1000, |&whole_at| whole_at.max(now * 1000))
    }
}

/// Microseconds that one takes of a budget.
fn cost(per_second: u32) -> u64 {
    BUDGET / u64::from(per_second.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn take(rates: &mut Rates, per_second: u32, is_proven: bool, now: u64) -> bool {
        let allowed = rates.allows(1, per_second, is_proven, now);
        if allowed {
            rates.count(1, per_second, now);
        }
        allowed
    }

    #[test]
    fn a_flood_of_the_unproven_leaves_the_proven_their_rate() {
        let mut rates = Rates::new(8, Secret::new([1, 2]));
        let (mut flood, mut proven) = (0, 0);
        for now in 0..10_000 {
            flood += u32::from((0..10).filter(|_| take(&mut rates, 100, false, now)).count() > 0);
            // Every 10 ms: as many as the host may have.
            proven += u32::from(now % 10 == 9 && take(&mut rates, 100, true, now));
        }
        assert_eq!(proven, 1000);
        assert!(flood < 100, "{flood}");
        assert!(
            (0..1).all(|_| take(&mut rates, 1, false, 20_000)),
            "one a second is one for the unproven too"
        );
        assert!(!take(&mut rates, 1, false, 20_999) && take(&mut rates, 1, false, 21_000));
    }

    #[test]
    fn who_used_least_is_forgotten_first() {
        let mut rates = Rates::new(8, Secret::new([1, 2]));
        (0..8).for_each(|host| (0..=host).for_each(|_| rates.count(host, 10, 0)));
        rates.count(100, 1, 0);
        assert!(rates.allows(0, 1, true, 0), "forgotten");
        assert!((1..8).chain([100]).all(|host| !rates.allows(host, 1, true, 0)));
    }

    proptest! {
        /// In no time more than a budget, and what has come since.
        #[test]
        fn never_more_than_the_rate_and_a_budget(
            per_second in prop_oneof![1..20u32, 1..2000u32],
            gaps in prop::collection::vec(0..40u64, 1..600),
        ) {
            let mut rates = Rates::new(8, Secret::new([1, 2]));
            let (mut now, mut got) = (5, vec![]);
            for gap in gaps {
                now += gap;
                if take(&mut rates, per_second, true, now) {
                    got.push(now);
                }
            }
            for (n, from) in got.iter().enumerate() {
                for (m, to) in got.iter().enumerate().skip(n) {
                    let most = 1.0 + f64::from(per_second) * (1.0 + (to - from) as f64 / 1000.0) * 1.001;
                    prop_assert!((m - n) as f64 <= most, "{} in {} ms", m - n + 1, to - from);
                }
            }
            // And not much less, as long as somebody asks.
            prop_assert!(!got.is_empty());
        }
    }
}
