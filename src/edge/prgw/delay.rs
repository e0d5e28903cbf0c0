//! How long an asker's clients take from the answer to the first packet: a histogram with two buckets an octave, and the time
//! that a reservation for the next one should wait.
//!
//! A quantile and not a mean with its deviation (as RFC 6298 has for retransmissions): the delays of one resolver are those of
//! many clients, near and far, and the far ones are to be served as well.
//!
//! Old samples lose weight: all counts are halved when there are `FULL`.

const BUCKETS: usize = 24;
const FULL: u16 = 512;

/// Samples that say something.
pub const ENOUGH: u16 = 64;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    counts: [u16; BUCKETS],
    total: u16,
}

/// Octaves in the square root of two, one by one: 1, 1.4, 2, 2.8, 4, 5.7, 8 … milliseconds.
fn bucket(milliseconds: u64) -> usize {
    let d = milliseconds.max(1);
    let octave = d.ilog2() as usize;
    let upper_half = d * d >= 1 << (2 * octave + 1);
    (2 * octave + usize::from(upper_half)).min(BUCKETS - 1)
}

/// The delay from which on the next bucket begins.
fn end_of(bucket: usize) -> u64 {
    2f64.powf((bucket + 1) as f64 / 2.0).ceil() as u64
}

impl Delays {
    pub fn add(&mut self, milliseconds: u64) {
        if self.total == FULL {
            self.counts.iter_mut().for_each(|n| *n /= 2);
            self.total = self.counts.iter().sum();
        }
        self.counts[bucket(milliseconds)] += 1;
        self.total += 1;
    }

    /// Milliseconds that so many of a thousand stay below; `None` while too little is known.
    pub fn quantile(&self, of_a_thousand: u32) -> Option<u64> {
        let wanted = (u32::from(self.total) * of_a_thousand).div_ceil(1000);
        let mut below = 0;
        let found = self.counts.iter().position(|&n| {
            below += u32::from(n);
            below >= wanted
        });
        found.filter(|_| self.total >= ENOUGH).map(end_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Never below what was asked for, and at most half as much again and a millisecond above.
        #[test]
        fn a_quantile_is_near(delays in prop::collection::vec(0u64..2000, 64..500), of in 1u32..=1000) {
            let mut histogram = Delays::default();
            delays.iter().for_each(|&d| histogram.add(d));
            let mut sorted = delays;
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * of as usize).div_ceil(1000) - 1];
            let found = histogram.quantile(of).unwrap();
            prop_assert!(found > exact && found <= exact * 3 / 2 + 2, "{found} for {exact}");
        }
    }

    #[test]
    fn little_says_nothing_and_the_old_is_forgotten() {
        let mut delays = Delays::default();
        (1..ENOUGH).for_each(|_| delays.add(1500));
        assert_eq!(delays.quantile(990), None);
        delays.add(1500);
        assert!(delays.quantile(990).unwrap() > 1500);
        (0..8 * FULL).for_each(|_| delays.add(10));
        assert!(delays.quantile(990).unwrap() < 20);
    }
}
