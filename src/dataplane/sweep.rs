//! The pace of the sweep, which looks for sessions that are over: a slice of a few records at the end of a round, so that no packet waits
//! for more than that, however many sessions end at once.
//!
//! Guarantees: a round without packets costs nobody anything, and always has its slice. While packets come the sweep has one part in
//! twenty of the worker's time, and what the removal of a session takes for each that was made: who opens sessions pays for those
//! that end, and the others hardly notice. So where every cycle goes to packets, sessions that are over may stay longer than a round.
//! Never: decides what is over.

/// Records of a slice, and of one after a slice in which sessions were over: what ends takes long. Some microseconds each.
const SLICE: usize = 64;
const SLICE_OF_ENDS: usize = 16;
/// While packets come: one cycle of so many.
const SHARE: u64 = 20;
/// Cycles for each session made: more than a removal takes.
const OF_A_SESSION: u64 = 4_000;
/// Earnings of so many milliseconds may wait to be spent, and of so many may be owed: a slice in which the machine did something else is
/// not the sweep's to pay for.
const SAVED: u64 = 2;
const OWED: u64 = 20;

/// Families: IPv4, IPv6.
const FAMILIES: usize = 2;

/// What the sweep of a worker owes and may spend.
#[derive(Debug)]
pub struct Pace {
    /// Records that are due to be looked at, by family.
    owed: [usize; FAMILIES],
    rounds: [Round; FAMILIES],
    /// Sessions were over in the last slice.
    ends: bool,
    /// Cycles, while packets come; what the last slice took too much is owed.
    credit: i64,
    /// Sessions ever made, when that was last looked at.
    made: u64,
    cycles_a_ms: u64,
}

/// A round of the sweep over a family. It takes its time for the most records that there were in it: were it for those that are left,
/// it would look at ever fewer in a time as sessions go, and never come to its end.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    most: usize,
    /// Milliseconds until the next one begins.
    left: u32,
}

impl Pace {
    pub fn new(cycles_hz: u64) -> Pace {
        let (owed, rounds) = ([0; FAMILIES], [Round::default(); FAMILIES]);
        Pace { owed, rounds, ends: false, credit: 0, made: 0, cycles_a_ms: cycles_hz / 1000 }
    }

    /// After so many milliseconds, with so many sessions ever made.
    pub fn tick(&mut self, elapsed: u32, made: u64) {
        let made = made.wrapping_sub(std::mem::replace(&mut self.made, made));
        let time = self.cycles_a_ms / SHARE;
        let earned = time * u64::from(elapsed) + made * OF_A_SESSION;
        let most = SAVED * (time + made * OF_A_SESSION);
        self.credit = self.credit.saturating_add_unsigned(earned).min(most as i64);
    }

    /// A family has so many records, of which a full round takes `round` milliseconds; `elapsed` of them have passed.
    pub fn owe(&mut self, family: usize, records: usize, elapsed: u32, round: u32) {
        let Round { most, left } = &mut self.rounds[family];
        *left = left.saturating_sub(elapsed);
        if *left == 0 {
            (*most, *left) = (0, round);
        }
        *most = records.max(*most);
        let due = *most * elapsed as usize / round as usize + 1;
        self.owed[family] = (self.owed[family] + due).min(records.max(1));
    }

    /// Whether there is something to look at.
    #[inline(always)]
    pub fn owes(&self) -> bool {
        self.owed != [0; FAMILIES]
    }

    /// Whether a round in which packets came, or none, may have a slice.
    #[inline(always)]
    pub fn may(&self, is_idle: bool) -> bool {
        self.owes() && (is_idle || self.credit > 0)
    }

    /// The next slice: of which family, and how many records.
    pub fn slice(&mut self) -> (usize, usize) {
        let family = usize::from(self.owed[0] < self.owed[1]);
        let slice = self.owed[family].min(if self.ends { SLICE_OF_ENDS } else { SLICE });
        self.owed[family] -= slice;
        (family, slice)
    }

    /// What the last slice came to: sessions that were over, and what it has taken where packets came in its round.
    pub fn done(&mut self, removed: usize, spent: Option<u64>) {
        self.ends = removed > 0;
        let least = -((self.cycles_a_ms / SHARE * OWED) as i64);
        self.credit = self.credit.saturating_sub_unsigned(spent.unwrap_or(0)).max(least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HZ: u64 = 2_000_000_000;

    /// A worker of a round every `round_us` microseconds, with `records` that are all over, for `ms` milliseconds; how many it has looked
    /// at, and how many microseconds that took of its time and at most of a round's.
    fn run(ms: u32, round_us: u32, records: usize, is_idle: bool, made_a_ms: u64) -> (usize, f64, f64) {
        const CYCLES_EACH: u64 = 1_000;
        let mut pace = Pace::new(HZ);
        let (mut looked, mut spent, mut longest) = (0, 0, 0);
        for now in 1..=ms {
            pace.tick(1, u64::from(now) * made_a_ms);
            pace.owe(0, records, 1, 10_000);
            for _ in 0..1000 / round_us {
                if pace.may(is_idle) {
                    let (family, slice) = pace.slice();
                    assert_eq!(family, 0);
                    let cycles = slice as u64 * CYCLES_EACH;
                    pace.done(slice / 2, (!is_idle).then_some(cycles));
                    (looked, spent, longest) = (looked + slice, spent + cycles, longest.max(cycles));
                }
            }
        }
        (looked, spent as f64 / (HZ / 1_000_000) as f64, longest as f64 / (HZ / 1_000_000) as f64)
    }

    #[test]
    fn packets_lose_a_twentieth_to_it_and_an_idle_worker_goes_round_in_time() {
        // Sixteen million in ten seconds, for one.
        let (looked, ..) = run(10_000, 5, 16_000_000, true, 0);
        assert!(looked >= 16_000_000, "{looked}");
        let (looked, micros, longest) = run(1_000, 5, 16_000_000, false, 0);
        assert!((45_000.0..=51_000.0).contains(&micros), "{micros} of a million");
        // The first slice is a long one.
        assert!(longest <= 32.0 && looked > 90_000, "{looked} {longest}");
    }

    #[test]
    fn who_opens_sessions_pays_for_those_that_end() {
        let made_a_ms = 300;
        let (looked, ..) = run(1_000, 5, 16_000_000, false, made_a_ms);
        assert!(looked as u64 >= 1_000 * made_a_ms, "{looked} looked at, {} made", 1_000 * made_a_ms);
    }

    #[test]
    fn a_round_has_an_end_while_sessions_go() {
        let mut pace = Pace::new(HZ);
        let mut left = 1_000_000;
        for _ in 0..1_010 {
            pace.tick(1, 0);
            pace.owe(0, left, 1, 1_000);
            while pace.may(true) {
                let (_, slice) = pace.slice();
                left -= slice.min(left);
                pace.done(slice, None);
            }
        }
        assert_eq!(left, 0);
    }

    #[test]
    fn a_core_that_was_away_is_not_paid_for() {
        let mut pace = Pace::new(HZ);
        pace.owe(0, 1_000_000, 1, 10_000);
        pace.done(0, Some(60 * HZ));
        for _ in 0..=OWED {
            assert!(!pace.may(false));
            pace.tick(1, 0);
        }
        assert!(pace.may(false));
    }

    #[test]
    fn few_records_cost_nothing_to_speak_of() {
        let (looked, micros, _) = run(10_000, 5, 1_000, false, 0);
        assert!((1_000..=12_000).contains(&looked) && micros < 10_000.0, "{looked} {micros}");
    }

    proptest! {
        /// No more is owed than there is, both families have their turn, and what is owed is looked at when there is time.
        #[test]
        fn what_is_owed_is_bounded_and_paid(
            steps in prop::collection::vec((1..20_000_u32, 0..3_000_000_usize, 0..3_000_000_usize, any::<u32>()), 1..40)
        ) {
            let mut pace = Pace::new(HZ);
            let mut made = 0;
            for (elapsed, v4, v6, more) in steps {
                made += u64::from(more);
                pace.tick(elapsed, made);
                pace.owe(0, v4, elapsed, 10_000);
                pace.owe(1, v6, elapsed, 250);
                prop_assert!(pace.owed[0] <= v4.max(1) && pace.owed[1] <= v6.max(1));
                let mut looked = [0; FAMILIES];
                let owed = pace.owed;
                while pace.may(true) {
                    let (family, slice) = pace.slice();
                    prop_assert!((1..=SLICE).contains(&slice));
                    looked[family] += slice;
                }
                prop_assert_eq!(looked, owed);
            }
        }
    }
}
