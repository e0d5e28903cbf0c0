//! What rests before somebody else may have it (RFC 6888 REQ-8): blocks that their subscribers have left, and subscribers that
//! have left, with their blocks: who comes back in time finds the same address and ports.
//!
//! Two queues, in the order of arrival, from which so many are taken a step. A subscriber that has come back stays in its queue
//! until its turn.

use super::Mappings;
use crate::nat::nat44::Nat44;
use crate::nat::pool::{NONE, PoolState};

/// Those that rest, the one that came first at the head: blocks that their subscribers have left, or subscribers that have left.
#[derive(Clone, Copy)]
pub(super) struct Resting {
    first: u32,
    last: u32,
}

impl Resting {
    pub(super) const NOBODY: Self = Self { first: NONE, last: NONE };
}

/// Blocks that one step wakes at most.
const WAKE_BUDGET: usize = 64;

impl Mappings {
    /// Takes an empty block out of its subscriber's list; it goes back to its pool when it has rested.
    pub(super) fn give_back(&mut self, nat: &Nat44, s: u32, block: u32, now: u32) {
        let subscriber = &mut self.subscribers[s];
        let number = usize::from(subscriber.pool);
        let pool = &nat.pools()[number];
        let blocks = pool.blocks();
        subscriber.blocks -= 1;
        if subscriber.first_block == block {
            subscriber.first_block = blocks.next(block);
        } else {
            let mut at = subscriber.first_block;
            while blocks.next(at) != block {
                at = blocks.next(at);
            }
            blocks.set_next(at, blocks.next(block));
        }
        if !pool.must_rest() {
            blocks.vacate(block);
            return pool.give_back(block);
        }
        blocks.rest(block, now);
        blocks.vacate(block);
        blocks.set_next(block, NONE);
        let resting = &mut self.resting[number];
        match resting.first {
            NONE => resting.first = block,
            _ => blocks.set_next(resting.last, block),
        }
        resting.last = block;
    }

    /// What has rested is free: subscribers' blocks, and those that were left alone.
    pub fn wake(&mut self, nat: &Nat44, now: u32) {
        self.wake_absent(nat, now);
        for (resting, pool) in self.resting.iter_mut().zip(nat.pools()) {
            for _ in 0..WAKE_BUDGET {
                let block = resting.first;
                if block == NONE || !pool.blocks().has_rested(block, now) {
                    break;
                }
                resting.first = pool.blocks().next(block);
                pool.blocks().wake(block, self.worker, now);
                pool.give_back(block);
            }
        }
    }

    /// A subscriber may have no mapping any more: then it rests, and its blocks with it, so that it finds the same address and
    /// ports when it comes back; unless they are by formula, or it has a successor.
    pub(super) fn drop_unused(&mut self, nat: &Nat44, s: u32, now: u32) {
        let subscriber = self.subscribers[s];
        if subscriber.mappings > 0 {
            return;
        }
        let pool = &nat.pools()[usize::from(subscriber.pool)];
        let is_present = self.subscribers.find(subscriber.realm(), subscriber.address()) == Some(s);
        let rests = pool.must_rest() && pool.state() == PoolState::Active && is_present;
        if !rests && !subscriber.is_queued {
            return self.forget(nat, s, now);
        }
        self.subscribers[s].left = now;
        self.set_absent(s, is_present);
        if !subscriber.is_queued {
            self.queue(s, now);
        }
    }

    /// Keeps count of those who are in the map and have no mapping.
    pub(super) fn set_absent(&mut self, s: u32, is_absent: bool) {
        let was = std::mem::replace(&mut self.subscribers[s].is_absent, is_absent);
        self.absent_count += usize::from(is_absent);
        self.absent_count -= usize::from(was);
    }

    /// Puts a subscriber at the end of those that rest.
    fn queue(&mut self, s: u32, now: u32) {
        let subscriber = &mut self.subscribers[s];
        (subscriber.queued, subscriber.is_queued, subscriber.next_resting) = (now, true, NONE);
        match self.absent.first {
            NONE => self.absent.first = s,
            _ => self.subscribers[self.absent.last].next_resting = s,
        }
        self.absent.last = s;
    }

    /// Takes the first of those that rest from its queue.
    fn unqueue(&mut self) -> Option<u32> {
        let s = self.absent.first;
        if s == NONE {
            return None;
        }
        self.absent.first = self.subscribers[s].next_resting;
        self.subscribers[s].is_queued = false;
        Some(s)
    }

    /// Forgets subscribers that have rested, their blocks are free.
    fn wake_absent(&mut self, nat: &Nat44, now: u32) {
        for _ in 0..WAKE_BUDGET {
            let s = self.absent.first;
            if s == NONE {
                return;
            }
            let subscriber = self.subscribers[s];
            let cool_down = nat.pools()[usize::from(subscriber.pool)].options().cool_down;
            if now.wrapping_sub(subscriber.queued) < cool_down {
                return;
            }
            self.unqueue();
            if subscriber.mappings > 0 {
                continue;
            }
            if now.wrapping_sub(subscriber.left) < cool_down {
                // It was back meanwhile: it rests anew.
                self.queue(s, subscriber.left);
                continue;
            }
            self.set_absent(s, false);
            let pool = &nat.pools()[usize::from(subscriber.pool)];
            let mut block = subscriber.first_block;
            while block != NONE {
                let next = pool.blocks().next(block);
                pool.blocks().vacate(block);
                pool.blocks().refresh(block, now);
                pool.give_back(block);
                block = next;
            }
            self.subscribers[s].first_block = NONE;
            self.subscribers.remove(s);
        }
    }

    /// The table of subscribers is full: forgets the one that has rested for longest; false when nobody rests.
    pub(super) fn forget_one(&mut self, nat: &Nat44, now: u32) -> bool {
        for _ in 0..WAKE_BUDGET {
            let Some(s) = self.unqueue() else { return false };
            if self.subscribers[s].mappings == 0 {
                self.set_absent(s, false);
                self.forget(nat, s, now);
                return true;
            }
        }
        false
    }

    /// Forgets a subscriber that has no mapping; its blocks rest alone.
    fn forget(&mut self, nat: &Nat44, s: u32, now: u32) {
        while self.subscribers[s].first_block != NONE {
            self.give_back(nat, s, self.subscribers[s].first_block, now);
        }
        self.subscribers.remove(s);
    }
}
