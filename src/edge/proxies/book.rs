//! The book of proxy addresses: see [the room](super).
//!
//! Each number is in one ring at any time, which says what it is: in that of the second at which it is to be looked at while it is
//! assigned, among those that rest, oldest first, or among the free ones of its pool, of which the one that has been free for longest
//! goes next.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::{
    Asker, Assigned, Assignment, Counter, Counters, GRACE, Known, NAMES, REST, Refused, Remote, TTL,
    TTL_IN_USE, Use,
};
use crate::edge::prgw::rings::Rings;
use crate::flow::{self, Bindings, Realm};

/// Seconds ahead in which something may be to be looked at.
const WHEEL: u64 = 256;
const _: () = assert!(WHEEL * 1000 > TTL_IN_USE as u64 * 1000 + GRACE);
/// The ring of those that rest; behind it come those of the free ones, by pool.
const RESTING: usize = WHEEL as usize;
/// Numbers that a turn looks at: the rest another time.
const BUDGET: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Free,
    Assigned,
    Resting,
}

/// Of a number: whom it stands for, or stood for.
#[derive(Debug)]
struct Entry {
    state: State,
    pool: u16,
    /// Unspecified where there was nobody.
    remote: Remote,
    /// Sessions of hosts behind edges that go there.
    held: u32,
    payer: Option<Payer>,
    /// When it was assigned; until when it is as it is, if nothing happens. Milliseconds.
    since: u64,
    until: u64,
    /// The one asked for last first.
    names: Vec<Box<str>>,
}

/// Who pays: a host of a pool's realm, of IPv6 its /64.
type Payer = IpAddr;

fn payer(asker: IpAddr) -> Payer {
    match asker {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[derive(Debug)]
struct Pool {
    realm: Realm,
    numbers: Range<u32>,
    per_host: u32,
    assigned: u32,
    resting: u32,
}

/// See the module.
pub struct Book {
    bindings: Bindings,
    shared: Arc<flow::Proxies>,
    pools: Box<[Pool]>,
    entries: Box<[Entry]>,
    rings: Rings,
    /// Numbers by pool and remote address, of all that have, or had, somebody.
    by_remote: HashTable<u32>,
    secret: RandomState,
    /// How many each pays for, by pool; nobody pays for none.
    payers: HashMap<(u16, Payer), u32>,
    /// The first second whose ring may still have something.
    second: u64,
    counters: Counters,
}

impl Book {
    /// Nobody has any; a host pays for as many as `per_host` says of its realm.
    pub fn new(bindings: Bindings, per_host: impl Fn(Realm) -> u32) -> Self {
        let shared = bindings.shared().clone();
        let pool = |(realm, numbers): (Realm, Range<u32>)| {
            let per_host = per_host(realm);
            Pool { realm, numbers, per_host, assigned: 0, resting: 0 }
        };
        let pools: Box<[Pool]> = shared.realms().map(pool).collect();
        let count = shared.count() as usize;
        let mut rings = Rings::new(count, RESTING + 1 + pools.len());
        let mut entries = Vec::with_capacity(count);
        for (at, pool) in pools.iter().enumerate() {
            for number in pool.numbers.clone() {
                rings.push(RESTING + 1 + at, number);
                entries.push(Entry {
                    state: State::Free,
                    pool: at as u16,
                    remote: Remote::Address(Ipv4Addr::UNSPECIFIED),
                    held: 0,
                    payer: None,
                    since: 0,
                    until: 0,
                    names: Vec::new(),
                });
            }
        }
        Self {
            bindings,
            shared,
            pools,
            entries: entries.into(),
            rings,
            by_remote: HashTable::with_capacity(count),
            secret: RandomState::new(),
            payers: HashMap::new(),
            second: 0,
            counters: Counters::default(),
        }
    }

    fn pool(&self, realm: Realm) -> Option<u16> {
        self.pools.binary_search_by_key(&realm, |pool| pool.realm).ok().map(|at| at as u16)
    }

    /// The address that stands for `remote`, which `asker` has asked for by `name`, in an answer of that TTL in seconds, or a
    /// shorter one, or, where it is in use, a longer one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn assign(
        &mut self,
        asker: &Asker,
        remote: Ipv4Addr,
        name: &str,
        ttl: u32,
        now: u64,
    ) -> Result<Assigned, Refused> {
        let number = self.counted(asker, Remote::Address(remote), now)?;
        let ttl = if self.shared.sessions(number) > 0 { TTL_IN_USE } else { ttl.min(TTL) };
        let entry = &mut self.entries[number as usize];
        entry.until = entry.until.max(now + u64::from(ttl) * 1000 + GRACE);
        remember(&mut entry.names, name);
        if !self.rings.is_linked(number) {
            self.schedule(number);
        }
        let (_, address) = self.shared.address(number).ok_or(Refused::NoRemote)?;
        Ok(Assigned { address, ttl })
    }

    /// The address that stands for a host behind an edge, by `name`, as long as a session of that host goes there: until
    /// [`Self::let_go`], once for each time that it was held.
    ///
    /// # Errors
    /// Why there is none.
    pub fn hold(&mut self, asker: &Asker, host: [u8; 16], name: &str, now: u64) -> Result<Ipv4Addr, Refused> {
        let number = self.counted(asker, Remote::Host(host), now)?;
        let (_, address) = self.shared.address(number).ok_or(Refused::NoRemote)?;
        let entry = &mut self.entries[number as usize];
        entry.held += 1;
        entry.until = entry.until.max(now + GRACE);
        if !name.is_empty() {
            remember(&mut entry.names, name);
        }
        if !self.rings.is_linked(number) {
            self.schedule(number);
        }
        Ok(address)
    }

    /// A session is over that the address was held for. It stands for its host until nobody may remember it.
    pub fn let_go(&mut self, realm: Realm, address: Ipv4Addr, now: u64) {
        let Some(number) = self.shared.number(realm, address) else { return };
        let entry = &mut self.entries[number as usize];
        debug_assert!(entry.held > 0, "{address} was not held");
        entry.held = entry.held.saturating_sub(1);
        entry.until = entry.until.max(now + GRACE);
    }

    /// An answer was given with an address that is held, for so many seconds.
    pub fn told(&mut self, realm: Realm, address: Ipv4Addr, name: &str, ttl: u32, now: u64) {
        let Some(number) = self.shared.number(realm, address) else { return };
        let entry = &mut self.entries[number as usize];
        if entry.state == State::Assigned {
            entry.until = entry.until.max(now + u64::from(ttl.min(TTL_IN_USE)) * 1000 + GRACE);
            remember(&mut entry.names, name);
        }
    }

    fn counted(&mut self, asker: &Asker, remote: Remote, now: u64) -> Result<u32, Refused> {
        let number = self.number_for(asker, remote, now);
        number.inspect_err(|why| {
            self.counters.bump(match why {
                Refused::NoRemote => Counter::NoRemote,
                Refused::Exhausted => Counter::Exhausted,
                Refused::Limited => Counter::Limited,
            });
        })
    }

    /// The number that stands for it, or from now on does: then it is in no ring.
    fn number_for(&mut self, asker: &Asker, remote: Remote, now: u64) -> Result<u32, Refused> {
        let pool = self.pool(asker.realm).ok_or(Refused::NoRemote)?;
        if let Remote::Address(remote) = remote
            && (remote.is_unspecified() || self.shared.number(asker.realm, remote).is_some())
        {
            return Err(Refused::NoRemote);
        }
        let payer = payer(asker.address);
        let known = self.find(pool, remote);
        let number = match known {
            Some(number) if self.entries[number as usize].state == State::Assigned => {
                // Who cannot pay has it at the expense of who asked before.
                self.charge(number, payer);
                self.counters.bump(Counter::Renewed);
                return Ok(number);
            }
            Some(number) => number,
            None if !self.may_pay(pool, payer) => return Err(Refused::Limited),
            None => self.rings.first(RESTING + 1 + usize::from(pool)).ok_or(Refused::Exhausted)?,
        };
        if !self.charge(number, payer) && self.entries[number as usize].payer.is_none() {
            return Err(Refused::Limited);
        }
        self.counters.bump(if known.is_some() { Counter::Returned } else { Counter::Assigned });
        if known.is_none() {
            self.give(number, remote);
        }
        self.rings.remove(number);
        if let Remote::Address(remote) = remote {
            let is_bound = self.bindings.bind(number, remote);
            debug_assert!(is_bound, "{number} stands for somebody who does not have it");
        }
        let entry = &mut self.entries[number as usize];
        self.pools[usize::from(pool)].resting -= u32::from(entry.state == State::Resting);
        self.pools[usize::from(pool)].assigned += 1;
        // Until when it would have rested says nothing.
        (entry.state, entry.since, entry.until) = (State::Assigned, now, now);
        Ok(number)
    }

    fn hash(&self, pool: u16, remote: Remote) -> u64 {
        self.secret.hash_one((pool, remote))
    }

    fn find(&self, pool: u16, remote: Remote) -> Option<u32> {
        let is_it = |number: &u32| {
            let entry = &self.entries[*number as usize];
            (entry.pool, entry.remote) == (pool, remote)
        };
        self.by_remote.find(self.hash(pool, remote), is_it).copied()
    }

    /// Another remote host has that number.
    fn give(&mut self, number: u32, remote: Remote) {
        let entry = &self.entries[number as usize];
        let (pool, before) = (entry.pool, entry.remote);
        if let Ok(place) = self.by_remote.find_entry(self.hash(pool, before), |other| *other == number) {
            place.remove();
        }
        let entry = &mut self.entries[number as usize];
        entry.remote = remote;
        entry.names.clear();
        let (entries, secret) = (&self.entries, &self.secret);
        let hash = |number: &u32| {
            let entry = &entries[*number as usize];
            secret.hash_one((entry.pool, entry.remote))
        };
        match self.by_remote.entry(hash(&number), |other| *other == number, hash) {
            Place::Vacant(place) => drop(place.insert(number)),
            Place::Occupied(_) => {}
        }
    }

    // ---- who pays ----

    fn may_pay(&self, pool: u16, payer: Payer) -> bool {
        let most = self.pools[usize::from(pool)].per_host;
        self.payers.get(&(pool, payer)).is_none_or(|paid| *paid < most)
    }

    /// Lets `payer` pay for that number, in place of who did; whether it does.
    fn charge(&mut self, number: u32, payer: Payer) -> bool {
        let Entry { pool, payer: before, .. } = self.entries[number as usize];
        if before == Some(payer) {
            return true;
        }
        if !self.may_pay(pool, payer) {
            return false;
        }
        self.discharge(number);
        *self.payers.entry((pool, payer)).or_default() += 1;
        self.entries[number as usize].payer = Some(payer);
        true
    }

    fn discharge(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        let Some(key) = entry.payer.take().map(|payer| (entry.pool, payer)) else { return };
        if let Some(paid) = self.payers.get_mut(&key) {
            *paid -= 1;
            if *paid == 0 {
                self.payers.remove(&key);
            }
        }
    }

    // ---- time ----

    /// Lets time pass.
    pub fn turn(&mut self, now: u64) {
        let mut budget = BUDGET;
        // After a long sleep each ring is looked at once.
        self.second = self.second.max((now / 1000 + 1).saturating_sub(WHEEL));
        while self.second <= now / 1000 {
            while let Some(number) = self.rings.first((self.second % WHEEL) as usize) {
                if budget == 0 {
                    return;
                }
                budget -= 1;
                self.rings.remove(number);
                self.look_at(number, now);
            }
            self.second += 1;
        }
        while let Some(number) = self.rings.first(RESTING)
            && budget > 0
            && self.entries[number as usize].until <= now
        {
            budget -= 1;
            self.rings.remove(number);
            self.discharge(number);
            let entry = &mut self.entries[number as usize];
            entry.state = State::Free;
            self.pools[usize::from(entry.pool)].resting -= 1;
            self.rings.push(RESTING + 1 + usize::from(entry.pool), number);
        }
    }

    /// One that is assigned, and in no ring, may be over.
    fn look_at(&mut self, number: u32, now: u64) {
        let entry = &mut self.entries[number as usize];
        if entry.until <= now && entry.held == 0 && self.bindings.unbind(number) {
            (entry.state, entry.until) = (State::Resting, now + REST);
            let pool = &mut self.pools[usize::from(entry.pool)];
            pool.assigned -= 1;
            pool.resting += 1;
            self.counters.bump(Counter::Released);
            return self.rings.push(RESTING, number);
        }
        if entry.until <= now {
            entry.until = now + GRACE;
        }
        self.schedule(number);
    }

    /// One that is assigned, and in no ring, is to be looked at when it may be over; or sooner where that ring is being looked at, which
    /// happens after a long sleep.
    fn schedule(&mut self, number: u32) {
        let second = self.entries[number as usize].until.div_ceil(1000).min(self.second + WHEEL - 1);
        self.rings.push((second % WHEEL) as usize, number);
    }

    // ---- shown ----

    /// What the address of that number is.
    pub fn known(&self, number: u32) -> Known {
        match self.entries.get(number as usize) {
            Some(entry) if entry.state == State::Assigned => Known::Named(entry.names.clone()),
            _ => Known::Nobody,
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How much of each pool is in use.
    pub fn in_use(&self) -> impl Iterator<Item = Use> {
        self.pools.iter().map(|pool| Use {
            realm: pool.realm,
            addresses: pool.numbers.len() as u32,
            assigned: pool.assigned,
            resting: pool.resting,
        })
    }

    /// The numbers of one realm, or of all.
    pub fn numbers(&self, realm: Option<Realm>) -> Range<u32> {
        match realm {
            None => 0..self.shared.count(),
            Some(realm) => self.pool(realm).map_or(0..0, |at| self.pools[usize::from(at)].numbers.clone()),
        }
    }

    /// The assignment of that number, if there is one.
    pub fn shown(&self, number: u32, now: u64) -> Option<Assignment> {
        let entry = self.entries.get(number as usize).filter(|entry| entry.state == State::Assigned)?;
        let (realm, address) = self.shared.address(number)?;
        Some(Assignment {
            realm,
            address,
            remote: entry.remote,
            names: entry.names.clone(),
            sessions: self.shared.sessions(number) + entry.held,
            age: now.saturating_sub(entry.since),
        })
    }
}

/// Puts a name to the front.
fn remember(names: &mut Vec<Box<str>>, name: &str) {
    match names.iter().position(|known| **known == *name) {
        Some(at) => names[..=at].rotate_right(1),
        None => {
            names.truncate(NAMES - 1);
            names.insert(0, name.into());
        }
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
