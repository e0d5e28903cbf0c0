//! The reputation of a resolver or of a client's network, from 0 to 1: what became of the reservations that it asked for.
//!
//! In a period of 20 s: `base + 0.5·ok/n − 0.5·n^0.15·nok/n`, clamped, where `n` starts at five neutral events, so that a few
//! events say little. What counts is a quarter of the last period's and three quarters of this one's. When a period ends, the
//! next one's base is what counted, nearer to the middle (0.45) by a third: what is not confirmed is forgotten.

/// Milliseconds.
const PERIOD: u64 = 20_000;
/// Of whom nothing is known.
pub const MIDDLE: f32 = 0.45;
const NEUTRAL_EVENTS: f32 = 5.0;
/// After so many periods without events nothing is left.
const FORGOTTEN: u32 = 24;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Reputation {
    period: u32,
    base: f32,
    previous: f32,
    ok: u32,
    nok: u32,
}

impl Reputation {
    /// Of somebody who was never seen.
    pub const fn new(now: u64) -> Self {
        Self { period: (now / PERIOD) as u32, base: MIDDLE, previous: MIDDLE, ok: 0, nok: 0 }
    }

    fn current(&self) -> f32 {
        if self.ok | self.nok == 0 {
            return self.base.clamp(0.0, 1.0);
        }
        let (ok, nok) = (self.ok as f32, self.nok as f32);
        let n = NEUTRAL_EVENTS + ok + nok;
        let bad = if self.nok == 0 { 0.0 } else { 0.5 * n.powf(0.15) * nok / n };
        (0.5 * ok / n - bad + self.base).clamp(0.0, 1.0)
    }

    fn effective(&self) -> f32 {
        0.25 * self.previous + 0.75 * self.current()
    }

    fn at(mut self, now: u64) -> Self {
        let period = (now / PERIOD) as u32;
        if period.saturating_sub(self.period) > FORGOTTEN {
            return Self::new(now);
        }
        while self.period < period {
            let base = MIDDLE + (self.effective() - MIDDLE) * 2.0 / 3.0;
            let previous = self.current();
            self = Self { period: self.period + 1, base, previous, ok: 0, nok: 0 };
        }
        self
    }

    /// What counts now.
    pub fn value(&self, now: u64) -> f32 {
        self.at(now).effective()
    }

    /// How much it says: its distance from the middle.
    pub fn worth(&self, now: u64) -> f32 {
        (self.value(now) - MIDDLE).abs()
    }

    /// Something turned out well, or not.
    pub fn record(&mut self, well: bool, now: u64) {
        *self = self.at(now);
        let count = if well { &mut self.ok } else { &mut self.nok };
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ok: u32, nok: u32, now: u64) -> Reputation {
        let mut reputation = Reputation::new(now);
        (0..ok).for_each(|_| reputation.record(true, now));
        (0..nok).for_each(|_| reputation.record(false, now));
        reputation
    }

    #[test]
    fn the_formula_by_hand() {
        let near = |reputation: &Reputation, now, expected: f32| {
            let value = reputation.value(now);
            assert!((value - expected).abs() < 0.001, "{value} is not {expected}");
        };
        near(&Reputation::new(0), 0, 0.45);
        // Five of each kind: 0.5·5/10 + 0.45 = 0.7; a quarter of it is still the middle.
        let good = after(5, 0, 1000);
        near(&good, 1000, 0.25 * 0.45 + 0.75 * 0.7);
        // 0.45 − 0.5·10^0.15·0.5 = 0.0969
        near(&after(0, 5, 1000), 1000, 0.25 * 0.45 + 0.75 * 0.0969);
        near(&after(0, 1_000_000, 1000), 1000, 0.25 * 0.45);
        // A period later: the base is 0.6375 moved to the middle by a third, 0.575; the last period's was 0.7.
        near(&good, 20_000, 0.25 * 0.7 + 0.75 * 0.575);
        near(&good, 20 * PERIOD, 0.45);
        near(&good, 1_000_000 * PERIOD, 0.45);
    }

    #[test]
    fn good_comes_slowly_and_bad_soon() {
        let mut now = 0;
        let mut reputation = Reputation::new(now);
        for _ in 0..4 {
            now += PERIOD;
            (0..50).for_each(|_| reputation.record(true, now));
        }
        assert!(reputation.value(now) > 0.9);
        (0..25).for_each(|_| reputation.record(false, now));
        assert!(reputation.value(now) < 0.9 && reputation.value(now) > 0.6);
        (0..200).for_each(|_| reputation.record(false, now));
        assert!(reputation.value(now) < 0.4, "{}", reputation.value(now));
    }
}
