//! The table's owner's side: events in, outputs out. See [`super`] for what it guarantees.

use std::net::{IpAddr, Ipv4Addr};

use super::state::{Effect, Event, State, Timer, transition};
use super::table::{Entry, Table};
use super::{AdjacencyId, Heard, MacAddr, Neighbor, NeighborsError, Output, Timers, Want};

/// Entries that nobody asked for take at most one part in this many of the table.
const LEARNT_PART: usize = 4;

/// Every neighbour that is known or looked for, by (interface, address).
#[derive(Debug)]
pub struct Neighbors {
    table: Table,
    timers: Timers,
    hold_limit_per_neighbor: usize,
    hold_limit_total: usize,
    /// Packets that wait, for all neighbours together.
    held: usize,
    /// Slots of entries that nobody asked for: those in [`State::Stale`], until released.
    learnt: usize,
}

impl Neighbors {
    /// A good limit of packets that wait for one neighbour; RFC 1122 section 2.3.2.2 asks for one at least.
    pub const DEFAULT_HOLD_LIMIT: usize = 8;

    /// An empty table for `capacity` neighbours, 1 to 65 535: as many as are in use at a time on the links together,
    /// and some to spare. The hold limits count packets.
    ///
    /// # Errors
    /// When the capacity or a timer is out of its range.
    pub fn new(
        capacity: usize,
        timers: Timers,
        hold_limit_per_neighbor: usize,
        hold_limit_total: usize,
    ) -> Result<Self, NeighborsError> {
        let slots =
            u16::try_from(capacity).ok().filter(|n| *n > 0).ok_or(NeighborsError::Capacity(capacity))?;
        check(&timers)?;
        let table = Table::new(slots);
        Ok(Self { table, timers, hold_limit_per_neighbor, hold_limit_total, held: 0, learnt: 0 })
    }

    /// There is a packet for this neighbour. Answers what to do with it, and solicits if that is needed.
    pub fn want(&mut self, interface: u16, addr: IpAddr, now: u32, out: &mut impl FnMut(Output)) -> Want {
        let id = match self.table.find(interface, addr) {
            Some(id) => {
                self.apply(id, Event::Wanted, now, out);
                id
            }
            None => {
                let state = State::Incomplete { sent: 1 };
                let Some(id) = self.insert(interface, addr, state, MacAddr::ZERO, now) else {
                    return Want::TableFull;
                };
                out(Output::Solicit { interface, addr, to: None });
                id
            }
        };
        match self.table.entry(id).state {
            State::Incomplete { .. } => self.hold(id),
            State::Failed { .. } => Want::Unreachable,
            _ => Want::Known(AdjacencyId(id)),
        }
    }

    /// Keeps this neighbour resolved from now on, as a gateway is: it is looked for though nobody wants it, asked again when
    /// it did not answer (once in a failed time and a retransmit time), and never removed.
    ///
    /// # Errors
    /// [`NeighborsError::Full`] when there is no room for another neighbour.
    pub fn monitor(
        &mut self,
        interface: u16,
        addr: IpAddr,
        now: u32,
        out: &mut impl FnMut(Output),
    ) -> Result<AdjacencyId, NeighborsError> {
        let id = match self.table.find(interface, addr) {
            Some(id) => {
                self.apply(id, Event::Wanted, now, out);
                id
            }
            None => {
                let state = State::Incomplete { sent: 1 };
                let id = self.insert(interface, addr, state, MacAddr::ZERO, now);
                let id = id.ok_or(NeighborsError::Full { interface, addr })?;
                out(Output::Solicit { interface, addr, to: None });
                id
            }
        };
        self.table.entry_mut(id).monitored = true;
        Ok(AdjacencyId(id))
    }

    /// Ends what [`Neighbors::monitor`] began: it is an ordinary neighbour again. `false` when it was not monitored.
    pub fn forget(&mut self, interface: u16, addr: IpAddr) -> bool {
        let id = self.table.find(interface, addr);
        id.is_some_and(|id| std::mem::take(&mut self.table.entry_mut(id).monitored))
    }

    /// A message on `interface` says that `addr`, which the caller has found to be on that link and not ours, is at
    /// `mac`; `None` where an advertisement leaves the address out. An entry that exists takes note of it (RFC 826,
    /// RFC 4861 sections 7.2.3 and 7.2.5); a new one is made from a request for one of our addresses only.
    pub fn heard(
        &mut self,
        interface: u16,
        addr: IpAddr,
        mac: Option<MacAddr>,
        heard: Heard,
        now: u32,
        out: &mut impl FnMut(Output),
    ) {
        // RFC 1812 section 3.3.2: never believe that a host is at a broadcast or multicast address.
        if mac.is_some_and(|mac| !mac.is_unicast()) {
            return;
        }
        let (solicited, overrides, for_us) = match heard {
            Heard::Reply { solicited, overrides } => (solicited, overrides, false),
            Heard::Request { for_us } => (false, true, for_us),
        };
        match (self.table.find(interface, addr), mac) {
            (Some(id), _) => self.apply(id, Event::Heard { mac, solicited, overrides }, now, out),
            (None, Some(mac)) if for_us && is_host(addr) => self.learn(interface, addr, mac, now),
            _ => (),
        }
    }

    /// Lets time pass: handles timers that ran out, at most `budget` of them, solicitations first. Call it at least
    /// every few hundred milliseconds; what is over the budget waits for the next call.
    pub fn tick(&mut self, now: u32, budget: usize, out: &mut impl FnMut(Output)) {
        let mut left = budget;
        for timer in Timer::ALL {
            let duration = timer.duration(&self.timers) as i32;
            // A restarted timer is never due at the same `now`, so that this ends without the budget too.
            while left > 0
                && let Some((id, since)) = self.table.first(timer)
                && now.wrapping_sub(since) as i32 >= duration
            {
                self.apply(id, Event::Timeout, now, out);
                left -= 1;
            }
        }
    }

    /// Nobody refers to this id any more: another neighbour may get it. `false`, without effect, unless
    /// [`Output::Removed`] named it and it was not released since.
    pub fn release(&mut self, id: AdjacencyId) -> bool {
        let removed = self.table.release(id.0);
        self.learnt -= usize::from(removed == Some(State::Stale));
        removed.is_some()
    }

    /// Adds a static neighbour, or makes the one that is there static. It never ages, and nothing heard changes it.
    ///
    /// # Errors
    /// [`NeighborsError::Full`], and [`NeighborsError::Duplicate`] when it is static already.
    pub fn insert_permanent(
        &mut self,
        interface: u16,
        addr: IpAddr,
        mac: MacAddr,
        out: &mut impl FnMut(Output),
    ) -> Result<AdjacencyId, NeighborsError> {
        let (id, effect) = match self.table.find(interface, addr) {
            None => {
                let id = self.insert(interface, addr, State::Permanent, mac, 0);
                (id.ok_or(NeighborsError::Full { interface, addr })?, Effect::Resolve(mac))
            }
            Some(id) => match *self.table.entry(id) {
                Entry { state: State::Permanent, .. } => {
                    return Err(NeighborsError::Duplicate { interface, addr });
                }
                Entry { state, mac: known, .. } if state.usable() && known == mac => (id, Effect::Nothing),
                Entry { state, .. } if state.usable() => (id, Effect::Change(mac)),
                _ => (id, Effect::Resolve(mac)),
            },
        };
        self.enter(id, State::Permanent);
        self.table.restart(id, 0);
        self.carry_out(id, effect, out);
        Ok(AdjacencyId(id))
    }

    /// Every neighbour, by id.
    pub fn iter(&self, now: u32) -> impl Iterator<Item = Neighbor> {
        self.table.iter().map(move |(id, entry)| Neighbor {
            id: AdjacencyId(id),
            interface: entry.interface,
            addr: entry.addr,
            mac: entry.state.has_mac().then_some(entry.mac),
            state: entry.state,
            age: entry.state.timer().map(|_| now.wrapping_sub(entry.since)),
            monitored: entry.monitored,
        })
    }

    fn hold(&mut self, id: u16) -> Want {
        let entry = self.table.entry_mut(id);
        if entry.held >= self.hold_limit_per_neighbor || self.held >= self.hold_limit_total {
            return Want::QueueFull;
        }
        entry.held += 1;
        self.held += 1;
        Want::Hold { id: AdjacencyId(id) }
    }

    fn learn(&mut self, interface: u16, addr: IpAddr, mac: MacAddr, now: u32) {
        if self.learnt < self.table.capacity() / LEARNT_PART {
            self.insert(interface, addr, State::Stale, mac, now);
        }
    }

    fn insert(&mut self, interface: u16, addr: IpAddr, state: State, mac: MacAddr, now: u32) -> Option<u16> {
        let id = self.table.insert(Entry {
            interface,
            addr,
            state,
            mac,
            since: now,
            held: 0,
            monitored: false,
        })?;
        self.learnt += usize::from(state == State::Stale);
        self.table.restart(id, now);
        Some(id)
    }

    fn apply(&mut self, id: u16, event: Event, now: u32, out: &mut impl FnMut(Output)) {
        let Entry { state: before, mac, monitored, .. } = *self.table.entry(id);
        let event = match (event, before) {
            (Event::Timeout, State::Failed { .. }) if monitored => Event::Retry,
            _ => event,
        };
        let (next, effect) = transition(before, mac, event, &self.timers);
        let Some(after) = next else {
            self.table.remove(id);
            out(Output::Removed { id: AdjacencyId(id) });
            return;
        };
        self.enter(id, after);
        if event == Event::Timeout || before.timer() != after.timer() {
            self.table.restart(id, now);
        }
        self.carry_out(id, effect, out);
    }

    fn enter(&mut self, id: u16, after: State) {
        let entry = self.table.entry_mut(id);
        self.learnt -= usize::from(entry.state == State::Stale);
        self.learnt += usize::from(after == State::Stale);
        entry.state = after;
    }

    fn carry_out(&mut self, id: u16, effect: Effect, out: &mut impl FnMut(Output)) {
        let entry = self.table.entry_mut(id);
        let Entry { interface, addr, .. } = *entry;
        if let Effect::Resolve(mac) | Effect::Change(mac) | Effect::Note(mac) = effect {
            entry.mac = mac;
        }
        if let Effect::Resolve(_) | Effect::Lose = effect {
            self.held -= std::mem::take(&mut entry.held);
        }
        let to = entry.state.usable().then_some(entry.mac);
        let id = AdjacencyId(id);
        match effect {
            Effect::Nothing | Effect::Note(_) => (),
            Effect::Solicit => out(Output::Solicit { interface, addr, to }),
            Effect::Resolve(mac) => out(Output::Resolved { id, interface, addr, mac }),
            Effect::Change(mac) => out(Output::Changed { id, mac }),
            Effect::Lose => out(Output::Lost { id }),
        }
    }
}

fn check(timers: &Timers) -> Result<(), NeighborsError> {
    let Timers { retransmit, multicast_solicits, unicast_solicits, reachable, stale, failed } = *timers;
    let times = [("retransmit", retransmit), ("reachable", reachable), ("stale", stale), ("failed", failed)];
    if let Some(&(name, given)) = times.iter().find(|(_, ms)| !(1..=Timers::MAX).contains(ms)) {
        return Err(NeighborsError::Time { name, given });
    }
    if multicast_solicits == 0 || unicast_solicits == 0 {
        return Err(NeighborsError::NoSolicits);
    }
    if reachable < retransmit {
        return Err(NeighborsError::ReachableTooShort);
    }
    Ok(())
}

/// Whether a host can have this address: a probe for duplicates asks from none (RFC 5227 section 1.1, RFC 4861
/// section 7.2.3).
fn is_host(addr: IpAddr) -> bool {
    addr != IpAddr::V4(Ipv4Addr::BROADCAST)
        && !(addr.is_unspecified() || addr.is_multicast() || addr.is_loopback())
}
