//! Numbers that are leased: free chunks of records, free public port blocks.
//!
//! A Treiber stack of preallocated numbers. Any worker takes and gives back; nobody ever waits for another thread: a lost
//! race is retried, and somebody else's success is the only reason for one. The head carries a tag that changes with every
//! operation, so that a number which was taken and given back meanwhile is not mistaken for one that lay still (ABA).

use super::memory::Region;
use super::sync::{AtomicU32, AtomicU64, Ordering};

/// "No number".
const NONE: u32 = u32::MAX;

/// A store of free numbers. See the module.
pub struct Leases {
    /// Tag 32 | the topmost number 32.
    head: AtomicU64,
    /// For each free number the one below it.
    below: Region<AtomicU32>,
    /// Numbers are `first..first + below.len()`.
    first: u32,
}

impl Leases {
    /// All of `numbers` free, to be taken in the order given.
    ///
    /// # Panics
    /// When `numbers` is not a permutation of a range: a mistake of the caller's, at start.
    pub fn new(numbers: &[u32]) -> Self {
        let first = numbers.iter().copied().min().unwrap_or(0);
        let mut below = vec![NONE; numbers.len()];
        for pair in numbers.windows(2) {
            below[(pair[0] - first) as usize] = pair[1];
        }
        let head = numbers.first().copied().unwrap_or(NONE);
        Self {
            head: AtomicU64::new(u64::from(head)),
            below: Region::new(numbers.len(), |i| AtomicU32::new(below[i])),
            first,
        }
    }

    /// Takes a number, or `None` when all are taken.
    pub fn take(&self) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let top = head as u32;
            if top == NONE {
                return None;
            }
            let next = self.below[(top - self.first) as usize].load(Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                retag(head, next),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(top),
                Err(now) => head = now,
            }
        }
    }

    /// Gives a number back. Only whoever took it may, once.
    pub fn give(&self, number: u32) {
        let cell = &self.below[(number - self.first) as usize];
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            cell.store(head as u32, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                retag(head, number),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

/// The next head: a new tag and `top`.
fn retag(head: u64, top: u32) -> u64 {
    ((head >> 32).wrapping_add(1) << 32) | u64::from(top)
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_number_once_and_back() {
        let l = Leases::new(&[7, 5, 6, 8]);
        let taken: Vec<u32> = std::iter::from_fn(|| l.take()).collect();
        assert_eq!(taken, [7, 5, 6, 8]);
        l.give(6);
        l.give(8);
        assert_eq!((l.take(), l.take(), l.take()), (Some(8), Some(6), None));
        assert_eq!(Leases::new(&[]).take(), None);
    }
}

#[cfg(all(test, ces_loom))]
mod loom_models {
    use super::*;
    use loom::sync::Arc;

    /// Two threads take and give back; no number is ever held by both, none is lost.
    #[test]
    fn loom_lease_is_exclusive() {
        // Three preemptions reach every interesting order of a compare-and-swap loop; all orders take minutes.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let l = Arc::new(Leases::new(&[0, 1]));
            let held = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let work = |l: &Leases, held: &[AtomicU32; 2]| {
                for _ in 0..2 {
                    if let Some(n) = l.take() {
                        assert_eq!(held[n as usize].fetch_add(1, Ordering::AcqRel), 0);
                        held[n as usize].fetch_sub(1, Ordering::AcqRel);
                        l.give(n);
                    }
                }
            };
            let (l2, held2) = (l.clone(), held.clone());
            let t = loom::thread::spawn(move || work(&l2, &held2));
            work(&l, &held);
            t.join().unwrap();
            assert!(l.take().is_some() && l.take().is_some() && l.take().is_none());
        });
    }
}
