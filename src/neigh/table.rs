//! The store behind [`Neighbors`](super::Neighbors): slots by id, found by key, queued by timer.
//!
//! Guarantees: three arrays, made once. Finding walks one hash chain (as many chains as slots or more, keyed hash);
//! everything else is a constant number of steps. A timer has one duration, so its queue, filled at the back, is in the
//! order of expiry.
//! Never: decides anything about neighbours.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};

use super::MacAddr;
use super::state::{State, Timer};

/// The end of a list; no slot has this number.
const NONE: u16 = u16::MAX;

/// A neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) interface: u16,
    pub(super) addr: IpAddr,
    pub(super) state: State,
    /// Meaningful in usable states.
    pub(super) mac: MacAddr,
    /// When its timer was started, on the wrapping clock.
    pub(super) since: u32,
    /// Packets that wait for it.
    pub(super) held: usize,
    /// It is kept resolved, whether or not anybody wants it.
    pub(super) monitored: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occupancy {
    Free,
    Live,
    /// Forgotten, but the id may still be in use elsewhere.
    Removed,
}

#[derive(Clone, Debug)]
struct Slot {
    entry: Entry,
    occupancy: Occupancy,
    /// The next slot with the same hash, or the next free one.
    chain: u16,
    /// The queue that it is in, and its neighbours there.
    timer: Option<Timer>,
    earlier: u16,
    later: u16,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u16,
    last: u16,
}

#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Slot]>,
    /// The first slot of each hash chain.
    buckets: Box<[u16]>,
    free: u16,
    queues: [Queue; Timer::ALL.len()],
    hasher: RandomState,
}

impl Table {
    /// `capacity`: 1 to 65 535.
    pub(super) fn new(capacity: u16) -> Self {
        let entry = Entry {
            interface: 0,
            addr: Ipv4Addr::UNSPECIFIED.into(),
            state: State::Stale,
            mac: MacAddr::ZERO,
            since: 0,
            held: 0,
            monitored: false,
        };
        let slot = |id: u16| Slot {
            entry,
            occupancy: Occupancy::Free,
            chain: if id + 1 == capacity { NONE } else { id + 1 },
            timer: None,
            earlier: NONE,
            later: NONE,
        };
        Self {
            slots: (0..capacity).map(slot).collect(),
            buckets: vec![NONE; usize::from(capacity).next_power_of_two()].into(),
            free: 0,
            queues: [Queue { first: NONE, last: NONE }; Timer::ALL.len()],
            hasher: RandomState::new(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&self, interface: u16, addr: IpAddr) -> Option<u16> {
        let mut id = self.buckets[self.bucket(interface, addr)];
        while id != NONE {
            let slot = &self.slots[usize::from(id)];
            if (slot.entry.interface, slot.entry.addr) == (interface, addr) {
                return Some(id);
            }
            id = slot.chain;
        }
        None
    }

    /// Takes a free slot for `entry`, whose key must be new. Its timer is not started. `None`: no slot is free.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<u16> {
        let id = self.free;
        let bucket = self.bucket(entry.interface, entry.addr);
        let slot = self.slots.get_mut(usize::from(id))?;
        self.free = slot.chain;
        slot.entry = entry;
        slot.occupancy = Occupancy::Live;
        slot.chain = std::mem::replace(&mut self.buckets[bucket], id);
        Some(id)
    }

    /// Forgets a live entry. Its slot stays taken until it is released.
    pub(super) fn remove(&mut self, id: u16) {
        self.unqueue(id);
        let Entry { interface, addr, .. } = *self.entry(id);
        let bucket = self.bucket(interface, addr);
        let slot = &mut self.slots[usize::from(id)];
        slot.occupancy = Occupancy::Removed;
        let next = std::mem::replace(&mut slot.chain, NONE);
        let mut link = &mut self.buckets[bucket];
        while *link != id {
            link = &mut self.slots[usize::from(*link)].chain;
        }
        *link = next;
    }

    /// Frees the slot of a removed entry and tells in which state it was removed; `None` when it is not one.
    pub(super) fn release(&mut self, id: u16) -> Option<State> {
        let slot = self.slots.get_mut(usize::from(id)).filter(|slot| slot.occupancy == Occupancy::Removed)?;
        slot.occupancy = Occupancy::Free;
        slot.chain = std::mem::replace(&mut self.free, id);
        Some(slot.entry.state)
    }

    pub(super) fn entry(&self, id: u16) -> &Entry {
        &self.slots[usize::from(id)].entry
    }

    pub(super) fn entry_mut(&mut self, id: u16) -> &mut Entry {
        &mut self.slots[usize::from(id)].entry
    }

    /// Every live entry, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, &Entry)> {
        let numbered = (0..).zip(&self.slots);
        numbered.filter(|(_, slot)| slot.occupancy == Occupancy::Live).map(|(id, slot)| (id, &slot.entry))
    }

    /// Starts the timer of the entry's state, at `now`, and stops the one that ran.
    pub(super) fn restart(&mut self, id: u16, now: u32) {
        self.unqueue(id);
        let slot = &mut self.slots[usize::from(id)];
        slot.entry.since = now;
        slot.timer = slot.entry.state.timer();
        let Some(timer) = slot.timer else { return };
        let queue = &mut self.queues[timer as usize];
        slot.earlier = std::mem::replace(&mut queue.last, id);
        slot.later = NONE;
        match slot.earlier {
            NONE => queue.first = id,
            earlier => self.slots[usize::from(earlier)].later = id,
        }
    }

    /// The entry whose timer of this kind was started first, and when that was.
    pub(super) fn first(&self, timer: Timer) -> Option<(u16, u32)> {
        let id = self.queues[timer as usize].first;
        self.slots.get(usize::from(id)).map(|slot| (id, slot.entry.since))
    }

    fn unqueue(&mut self, id: u16) {
        let slot = &mut self.slots[usize::from(id)];
        let Some(timer) = slot.timer.take() else { return };
        let (earlier, later) = (slot.earlier, slot.later);
        let queue = &mut self.queues[timer as usize];
        match earlier {
            NONE => queue.first = later,
            earlier => self.slots[usize::from(earlier)].later = later,
        }
        match later {
            NONE => queue.last = earlier,
            later => self.slots[usize::from(later)].earlier = earlier,
        }
    }

    fn bucket(&self, interface: u16, addr: IpAddr) -> usize {
        // The number of buckets is a power of two.
        self.hasher.hash_one((interface, addr)) as usize & (self.buckets.len() - 1)
    }
}
