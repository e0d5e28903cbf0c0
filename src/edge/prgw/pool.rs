//! The circular pool: addresses, and the reservations that wait for a first packet. Mechanism alone: who may have one is
//! decided in [`super::gateway`].
//!
//! A reservation **waits** until its time is over. Then it is **overdue**: it counts no longer, its place is free for others,
//! but while nobody takes that place a late first packet still finds it. It ends when it is claimed, when another needs its
//! place, or at the ceiling. So a short time costs a slow client nothing as long as there is room.
//!
//! Guarantees:
//! - No two reservations of an address could claim the same packet ([`Service::overlaps`]), overdue ones included.
//! - Finding a place, taking it, claiming and ending cost the same at any size: the search is one way through a tree of four
//!   levels at most; an address never has more than `AT_ONE_ADDRESS` reservations.
//! - A place that was left is the last one to be used again (hence "circular"), so that what comes late for one host is not
//!   taken for another's. Services go to the first quarter of the addresses first, plain FQDNs to the rest, each to the other
//!   part when its own is full: what shares stays together and leaves whole addresses to what needs them.
//!
//! Never: reads a clock, allocates after start.

use super::lanes::{BUSY, Lanes, Plan, without};
use super::rings::Rings;
use super::service::Service;
use super::tree::Tree;
use crate::flow::memory::Region;

/// Reservations of one address: 63 that wait, and what is overdue.
const AT_ONE_ADDRESS: u8 = 64;
/// Addresses that are looked at for one that the asker does not avoid.
const CANDIDATES: usize = 8;
/// Reservations that are asked, from the oldest, whether they are overdue, when there is no room for a new one.
const OLDEST: usize = 8;

/// How large a pool is, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// 1 to 65,536.
    pub addresses: u32,
    /// Reservations at once, overdue ones included.
    pub reservations: usize,
    /// Milliseconds after which a reservation ends whatever it is.
    pub ceiling: u32,
}

/// Where a reservation could go; good until the pool changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: u32,
    /// Others wait there already: it takes no address away.
    pub shares: bool,
    /// There was none that the asker does not avoid.
    pub avoided: bool,
    plan: Plan,
}

/// What happens to a reservation by time. Whatever is not claimed hears the last two, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing yet, but its turn may be next: there is time to fetch what belongs to it.
    Next,
    /// It counts no longer.
    Overdue,
    /// It is no longer there.
    Ended,
}

/// A reservation, and what its owner keeps with it.
#[derive(Clone, Copy, Debug)]
pub struct Reservation<T> {
    pub address: u32,
    pub service: Service,
    /// When it was made, in milliseconds.
    pub since: u64,
    pub overdue: bool,
    pub holder: T,
    lane: u8,
}

/// A cache line: all that claiming and ending one look at, but for its rings.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Entry<T>(Option<Reservation<T>>);

/// See the module.
pub struct Pool<T> {
    size: Size,
    tree: Tree,
    lanes: Lanes,
    /// By lane, and whether it is about the first part: from where on to search.
    cursors: [[u32; 2]; 64],
    /// The first part ends here.
    shared: u32,
    busy: u32,
    slab: Region<Entry<T>>,
    free: Vec<u32>,
    at_address: Box<[u8]>,
    by_address: Rings,
    by_age: Rings,
    /// By the millisecond at which each becomes overdue; those whose time is the ceiling are in none.
    by_deadline: Rings,
    /// How many those are.
    timed: u32,
    wheel: u64,
    /// Addresses that expect nothing any more, until somebody asks for them.
    left: Vec<u32>,
    /// The first millisecond that was not yet looked at.
    tick: u64,
}

impl<T: Copy> Pool<T> {
    pub fn new(size: Size) -> Self {
        const { assert!(size_of::<Entry<T>>() == 64) };
        let (addresses, reservations) = (size.addresses as usize, size.reservations);
        assert!((1..=65_536).contains(&addresses) && (1..=1 << 24).contains(&reservations));
        let wheel = u64::from(size.ceiling + 1).next_power_of_two();
        Self {
            size,
            tree: Tree::new(addresses),
            lanes: Lanes::default(),
            cursors: [[0; 2]; 64],
            shared: size.addresses / 4,
            busy: 0,
            slab: Region::new(reservations, |_| Entry(None)),
            free: (0..reservations as u32).rev().collect(),
            at_address: vec![0; addresses].into(),
            by_address: Rings::new(reservations, addresses),
            by_age: Rings::new(reservations, 1),
            by_deadline: Rings::new(reservations, wheel as usize),
            timed: 0,
            left: Vec::with_capacity(reservations),
            wheel,
            tick: 0,
        }
    }

    /// Addresses at which something waits, of how many.
    pub fn load(&self) -> (u32, u32) {
        (self.busy, self.size.addresses)
    }

    /// Reservations, overdue ones included.
    pub fn len(&self) -> usize {
        self.slab.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a first packet to that address could find something: the bit that workers look at before they punt.
    pub fn expects(&self, address: u32) -> bool {
        self.at_address.get(address as usize).is_some_and(|&n| n > 0)
    }

    /// An address where a first packet found something once, and perhaps does not any more: to be asked until there is none, after
    /// whatever may end reservations. More than there are reservations are not kept.
    pub fn left(&mut self) -> Option<u32> {
        self.left.pop()
    }

    /// How such a reservation could be made; good until the pool changes.
    pub fn plan(&self, service: Service) -> Plan {
        self.lanes.plan(service)
    }

    /// The address that [`Pool::find`] most likely looks at first.
    pub fn likely(&self, plan: Plan) -> u32 {
        let first = usize::from(plan.lane != Plan::WHOLE);
        let cursor = self.cursors[usize::from(plan.lane)][first];
        if cursor < self.size.addresses { cursor } else { 0 }
    }

    /// Where that could go, best where `avoids` says no. `None`: the pool is exhausted for it.
    pub fn find(&self, plan: Plan, avoids: impl Fn(u32) -> bool) -> Option<Place> {
        let mut parts = [0..self.shared, self.shared..self.size.addresses];
        if plan.lane == Plan::WHOLE {
            parts.reverse();
        }
        let mut fallback = None;
        for part in parts {
            let cursor = self.cursors[usize::from(plan.lane)][usize::from(part.end == self.shared)];
            let cursor = if part.contains(&cursor) { cursor } else { part.start };
            let ahead = self.candidates(plan, cursor..part.end);
            for address in ahead.chain(self.candidates(plan, part.start..cursor)).take(CANDIDATES) {
                let shares = self.tree.get(address as usize) & BUSY != 0;
                let place = Place { address, shares, avoided: false, plan };
                if !avoids(address) {
                    return Some(place);
                }
                fallback = fallback.or(Some(Place { avoided: true, ..place }));
            }
        }
        fallback
    }

    fn candidates(&self, plan: Plan, range: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
        let mut from = range.start;
        std::iter::from_fn(move || {
            let found = self.tree.find(plan.conflicts, from as usize).map(|at| at as u32);
            found.filter(|&found| found < range.end).inspect(|&found| from = found + 1)
        })
    }

    /// Reserves a place that was just found, for so many milliseconds. `None` where there are too many
    /// reservations; `ended` hears who loses an overdue one.
    pub fn take(
        &mut self,
        place: Place,
        service: Service,
        holder: T,
        timeout: u32,
        now: u64,
        mut ended: impl FnMut(&T),
    ) -> Option<u32> {
        let address = place.address as usize;
        while let Some(id) = self.in_the_way(address, service) {
            ended(&self.end(id).holder);
        }
        if self.free.is_empty() {
            let oldest = self.by_age.iter(0).take(OLDEST).find(|&id| self.is_overdue(id))?;
            ended(&self.end(oldest).holder);
        }
        let id = self.free.pop()?;
        let lane = place.plan.lane;
        let reservation =
            Reservation { address: place.address, service, since: now, overdue: false, holder, lane };
        self.slab[id as usize].0 = Some(reservation);
        let before = self.tree.get(address);
        self.busy += u32::from(before == 0);
        self.tree.set(address, place.plan.occupied(before));
        self.lanes.enter(place.plan, service);
        self.cursors[usize::from(lane)][usize::from(place.address < self.shared)] = place.address + 1;
        self.at_address[address] += 1;
        self.by_address.push(address, id);
        self.by_age.push(0, id);
        if timeout < self.size.ceiling {
            let at = (now + u64::from(timeout)).max(self.tick) & (self.wheel - 1);
            self.by_deadline.push(at as usize, id);
            self.timed += 1;
        }
        Some(id)
    }

    /// An overdue reservation that a new one takes the place of.
    fn in_the_way(&self, address: usize, service: Service) -> Option<u32> {
        let full = self.at_address[address] == AT_ONE_ADDRESS;
        self.by_address
            .iter(address)
            .find(|&id| self.get(id).is_some_and(|r| r.overdue && (full || r.service.overlaps(service))))
    }

    fn is_overdue(&self, id: u32) -> bool {
        self.get(id).is_some_and(|r| r.overdue)
    }

    /// That reservation.
    pub fn get(&self, id: u32) -> Option<&Reservation<T>> {
        self.slab[id as usize].0.as_ref()
    }

    /// Who waits for such a packet, by the order of the look-up.
    pub fn look_up(&self, address: u32, port: u16, protocol: u8) -> Option<u32> {
        if !self.expects(address) {
            return None;
        }
        let is = |id: u32, service| self.get(id).is_some_and(|r| r.service == service);
        Service::look_up_order(port, protocol)
            .into_iter()
            .find_map(|service| self.by_address.iter(address as usize).find(|&id| is(id, service)))
    }

    /// Takes that reservation, which there is, away: its first packet has come.
    pub fn claim(&mut self, id: u32) -> Reservation<T> {
        self.end(id)
    }

    fn end(&mut self, id: u32) -> Reservation<T> {
        self.stop_counting(id);
        let reservation = self.slab[id as usize].0.take().expect("who names it has just looked it up");
        self.by_address.remove(id);
        self.by_age.remove(id);
        let at_address = &mut self.at_address[reservation.address as usize];
        *at_address -= 1;
        if *at_address == 0 && self.left.len() < self.slab.len() {
            self.left.push(reservation.address);
        }
        self.free.push(id);
        reservation
    }

    /// Gives its place back, once.
    fn stop_counting(&mut self, id: u32) -> bool {
        let Some(r) = self.slab[id as usize].0.as_mut().filter(|r| !r.overdue) else { return false };
        let (address, lane) = (r.address as usize, r.lane);
        let left = without(self.tree.get(address), lane);
        self.tree.set(address, left);
        self.busy -= u32::from(left == 0);
        self.lanes.leave(lane);
        self.timed -= u32::from(self.by_deadline.is_linked(id));
        self.by_deadline.remove(id);
        true
    }

    /// Time passes; `tell` hears what becomes overdue and what ends. To be called before anything else that has a `now`.
    pub fn advance(&mut self, now: u64, mut tell: impl FnMut(&Reservation<T>, Change)) {
        // After a long sleep each place of the wheel is looked at once.
        for tick in self.tick.max((now + 1).saturating_sub(self.wheel))..=now {
            if self.timed == 0 {
                break;
            }
            while let Some(id) = self.by_deadline.first((tick & (self.wheel - 1)) as usize) {
                self.look_ahead(self.by_deadline.after(id), &mut tell);
                self.become_overdue(id, &mut tell);
            }
        }
        self.tick = self.tick.max(now + 1);
        while let Some(id) = self.by_age.first(0) {
            if self.get(id).is_some_and(|r| r.since + u64::from(self.size.ceiling) > now) {
                break;
            }
            self.look_ahead(self.by_age.after(id), &mut tell);
            self.become_overdue(id, &mut tell);
            tell(&self.end(id), Change::Ended);
        }
    }

    fn look_ahead(&self, next: Option<u32>, tell: &mut impl FnMut(&Reservation<T>, Change)) {
        next.and_then(|id| self.get(id)).iter().for_each(|r| tell(r, Change::Next));
    }

    fn become_overdue(&mut self, id: u32, tell: &mut impl FnMut(&Reservation<T>, Change)) {
        if !self.stop_counting(id) {
            return;
        }
        if let Some(reservation) = self.slab[id as usize].0.as_mut() {
            reservation.overdue = true;
            tell(reservation, Change::Overdue);
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
