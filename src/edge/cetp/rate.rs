//! How often something may happen that others can provoke.

/// A bucket of tokens that refills at a constant rate and starts full: over any stretch of `t` milliseconds it allows at most
/// `rate × t / 1000 + burst`.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Tokens a second.
    rate: u32,
    /// Thousandths of a token.
    capacity: u64,
    level: u64,
    filled_at: u64,
}

impl Rate {
    /// So many a second, and at most `burst` at once.
    pub const fn new(rate: u32, burst: u32, now: u64) -> Rate {
        let capacity = burst as u64 * 1000;
        Rate { rate, capacity, level: capacity, filled_at: now }
    }

    /// Takes a token if there is one. `now`: milliseconds.
    pub fn allow(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.filled_at);
        self.filled_at = now;
        self.level = self.level.saturating_add(elapsed.saturating_mul(self.rate.into())).min(self.capacity);
        let is_there = self.level >= 1000;
        self.level -= if is_there { 1000 } else { 0 };
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_its_rate_and_burst() {
        let mut rate = Rate::new(10, 5, 0);
        let allowed =
            |rate: &mut Rate, span: std::ops::Range<u64>| span.filter(|now| rate.allow(*now)).count();
        assert_eq!(allowed(&mut rate, 0..1000), 5 + 9);
        assert_eq!(allowed(&mut rate, 1_000_000..1_000_001), 1);
        assert_eq!(allowed(&mut Rate::new(0, 0, 0), 0..1000), 0);
    }
}
