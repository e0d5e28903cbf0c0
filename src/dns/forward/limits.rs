//! How many questions may be under way, altogether and of one asker.
//!
//! Guarantees: questions under way and answers that nobody has fetched are together no more than the limit, so the channel of
//! answers is never full; a [`Slot`] gives its place back when it is dropped, whatever becomes of its question. Taking one costs the
//! same whoever asks, and holds no lock. Askers are told apart by a keyed hash of 12 bits: two may share a limit, none can choose
//! with whom. What the edge asks for itself (an [`Asker`] of no realm) has a place of its own, and may be half of all.
//! Never: waits, or grows.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use crossbeam::channel::Receiver;

use super::Counters;
use crate::dns::{Asker, forwarder};

/// Places for askers.
const ASKERS: usize = 4096;
/// The edge's.
const EDGE: usize = ASKERS;

#[derive(Debug)]
pub(super) struct Limits {
    most: usize,
    most_of_one: u16,
    under_way: AtomicUsize,
    of_asker: Box<[AtomicU16]>,
    hasher: RandomState,
    /// What is answered and not fetched.
    answers: Receiver<(u64, forwarder::Found)>,
    counters: Arc<Counters>,
}

/// The place of a question under way.
#[derive(Debug)]
pub(super) struct Slot {
    limits: Arc<Limits>,
    asker: usize,
}

impl Limits {
    pub fn new(
        most: usize,
        most_of_one: u16,
        answers: Receiver<(u64, forwarder::Found)>,
        counters: Arc<Counters>,
    ) -> Limits {
        Limits {
            most,
            most_of_one,
            under_way: AtomicUsize::new(0),
            of_asker: (0..=EDGE).map(|_| AtomicU16::new(0)).collect(),
            hasher: RandomState::new(),
            answers,
            counters,
        }
    }

    /// A place for a question of `asker`; `None`, counted, if there is none.
    pub fn take(limits: &Arc<Limits>, asker: &Asker) -> Option<Slot> {
        let counters = &limits.counters;
        let (place, most_of_one) = match asker.realm {
            Some(realm) => {
                let hash = limits.hasher.hash_one((realm, asker.address));
                (hash as usize % ASKERS, limits.most_of_one)
            }
            None => (EDGE, u16::try_from(limits.most.div_ceil(2)).unwrap_or(u16::MAX)),
        };
        // What leaves the first number enters the second before: their sum is never too small.
        let under_way = limits.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now + limits.answers.len() < limits.most).then_some(now + 1)
        });
        if under_way.is_err() {
            counters.too_many.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let of_one = limits.of_asker[place]
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most_of_one).then_some(now + 1));
        if of_one.is_err() {
            limits.under_way.fetch_sub(1, Ordering::AcqRel);
            counters.too_many_of_one.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        counters.asked.fetch_add(1, Ordering::Relaxed);
        Some(Slot { limits: limits.clone(), asker: place })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limits.of_asker[self.asker].fetch_sub(1, Ordering::AcqRel);
        self.limits.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Transport;

    /// However much hosts ask, and the other way round.
    #[test]
    fn the_edge_has_a_place_of_its_own() {
        let (_, answers) = crossbeam::channel::bounded(1);
        let limits = Arc::new(Limits::new(20, 2, answers, Arc::default()));
        let host = Asker { address: [10, 0, 0, 2].into(), transport: Transport::Udp, realm: Some(1) };
        let edge: Vec<Slot> = std::iter::from_fn(|| Limits::take(&limits, &Asker::EDGE)).collect();
        let of_host: Vec<Slot> = std::iter::from_fn(|| Limits::take(&limits, &host)).collect();
        assert_eq!((edge.len(), of_host.len()), (10, 2));
        drop(edge);
        assert!(Limits::take(&limits, &host).is_none() && Limits::take(&limits, &Asker::EDGE).is_some());
    }
}
