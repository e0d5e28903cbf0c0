//! When may a removed record be used again? When every worker has said since that it holds no reference.
//!
//! Quiescent-state based reclamation: a worker reports between two bursts, when it holds no reference from the first. The
//! remover draws an epoch after clearing the index entry; once every worker has reported that epoch or a later one (or is
//! offline, asleep) nobody can still see the record.

use super::sync::{AtomicU64, Ordering, fence};
use crossbeam::utils::CachePadded;
use std::sync::Arc;

/// The report of a worker that sleeps or has ended: it holds nothing.
const OFFLINE: u64 = u64::MAX;

/// The shared side. Workers write their own cell through a [`Reporter`]; removers read all.
pub struct Quiescence {
    /// Drawn by removers.
    epoch: CachePadded<AtomicU64>,
    /// What each worker has last reported. Written by that worker alone.
    reported: Box<[CachePadded<AtomicU64>]>,
}

impl Quiescence {
    /// For `workers` workers, all of them offline at first.
    pub fn new(workers: usize) -> Self {
        Self {
            epoch: CachePadded::new(AtomicU64::new(1)),
            reported: (0..workers).map(|_| CachePadded::new(AtomicU64::new(OFFLINE))).collect(),
        }
    }

    /// Draws the epoch that every worker must reach before what was removed before this call may be used again.
    pub fn retire(&self) -> u64 {
        let e = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        // Pairs with the fence in `Reporter::online`: either that worker sees the removal, or we see it online.
        fence(Ordering::SeqCst);
        e
    }

    /// Whether every worker has reported `epoch` or is offline.
    pub fn reached(&self, epoch: u64) -> bool {
        self.reported.iter().all(|r| r.load(Ordering::Acquire) >= epoch)
    }
}

/// One worker's side of [`Quiescence`].
pub struct Reporter {
    shared: Arc<Quiescence>,
    worker: usize,
}

impl Reporter {
    /// The reporter of `worker`; there must be one a worker. Offline until [`Self::online`].
    pub fn new(shared: Arc<Quiescence>, worker: usize) -> Self {
        assert!(worker < shared.reported.len());
        Self { shared, worker }
    }

    /// Between two bursts: no reference is held.
    #[inline(always)]
    pub fn quiescent(&self) {
        let e = self.shared.epoch.load(Ordering::Acquire);
        self.shared.reported[self.worker].store(e, Ordering::Release);
    }

    /// Before sleeping or ending: no reference is held until [`Self::online`].
    pub fn offline(&self) {
        self.shared.reported[self.worker].store(OFFLINE, Ordering::Release);
    }

    /// After sleeping, before the first look-up.
    pub fn online(&self) {
        let e = self.shared.epoch.load(Ordering::Acquire);
        self.shared.reported[self.worker].store(e, Ordering::Release);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.offline();
    }
}

#[cfg(all(test, not(ces_loom)))]
mod tests {
    use super::*;

    #[test]
    fn grace_needs_every_worker() {
        let q = Arc::new(Quiescence::new(2));
        let (a, b) = (Reporter::new(q.clone(), 0), Reporter::new(q.clone(), 1));
        let e = q.retire();
        assert!(q.reached(e), "all offline");
        a.online();
        b.online();
        let e = q.retire();
        assert!(!q.reached(e));
        a.quiescent();
        assert!(!q.reached(e));
        b.offline();
        assert!(q.reached(e));
        b.online();
        let later = q.retire();
        assert!(q.reached(e) && !q.reached(later));
        b.quiescent();
        drop(a);
        assert!(q.reached(later));
    }
}
