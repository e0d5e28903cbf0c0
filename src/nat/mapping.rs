//! The mappings of one home: private to its worker, preallocated.
//!
//! A mapping gives an inside endpoint, and as much of whom it talks to as the pool's behaviour asks for, its public endpoint.
//! It holds neither address: its subscriber has both. It lives as long as it has sessions, and takes new ones from outside as
//! long as one of them is kept by packets from inside (RFC 4787 REQ-6); and as long as its subscriber has asked for
//! ([`super::pcp`]).

mod ahead;
mod asked;
mod resting;

use super::id_map::IdMap;
use super::nat44::Nat44;
use super::options::{Dependence, PortSelection};
use super::pool::{Endpoint, NONE, Pool, PoolState};
use super::ports::{Wish, space};
use super::store::Store;
use super::subscriber::Subscribers;
use crate::flow::hash::Hashed;
use crate::flow::{HashKey, Key4, Realm};
use crate::packet::DropReason;
use asked::Access;
use resting::Resting;
use std::net::Ipv4Addr;

pub use asked::Want;

const UDP: u8 = 17;

/// An inside endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inside {
    pub realm: Realm,
    pub address: Ipv4Addr,
    /// 0 for protocols without.
    pub port: u16,
}

/// Who holds a whole public address, and how many sessions strangers have opened to it.
pub struct Holder {
    pub realm: Realm,
    pub address: Ipv4Addr,
    pub from_outside: u32,
}

/// Of whom an inside endpoint talks to, what its mapping depends on; zeros for what it doesn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Remote {
    address: u32,
    port: u16,
}

impl Remote {
    /// Of the destination of packets of this key. An identifier is nobody's port.
    fn of(dependence: Dependence, key: &Key4) -> Self {
        let address = u32::from(key.destination());
        match dependence {
            Dependence::Endpoint => Self::default(),
            // It has one public endpoint, whatever the class: its address.
            _ if space(key.protocol()).is_none() => Self::default(),
            Dependence::AddressAndPort if matches!(key.protocol(), 6 | UDP) => {
                Self { address, port: key.destination_port() }
            }
            Dependence::Address | Dependence::AddressAndPort => Self { address, port: 0 },
        }
    }
}

/// One mapping: 28 bytes, and 12 more in the two maps.
#[derive(Clone, Copy, Default)]
pub struct Mapping {
    /// The next free mapping while this one is free.
    subscriber: u32,
    /// Sessions through it; it lives as long as there are any.
    sessions: u32,
    /// Those of them that packets from inside have opened or answered.
    keepers: u32,
    remote_address: u32,
    remote_port: u16,
    inside_port: u16,
    public_port: u16,
    /// Sessions that were opened from outside.
    from_outside: u16,
    /// What its subscriber has asked for and is not over: it lives as long as there is any (RFC 6887).
    holds: u16,
    protocol: u8,
    access: Access,
}

/// A carrier has millions.
const _: () = assert!(size_of::<Mapping>() == 28);

impl Mapping {
    pub fn subscriber(&self) -> u32 {
        self.subscriber
    }

    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    pub fn sessions_from_outside(&self) -> u16 {
        self.from_outside
    }

    /// Whether packets from inside keep it alive, or its subscriber's word.
    pub fn is_kept(&self) -> bool {
        match self.access {
            Access::Unpublished | Access::Implicit => self.keepers > 0,
            Access::Open => true,
            Access::Closed => false,
        }
    }

    /// Whether its subscriber has asked for packets from outside.
    pub fn is_open(&self) -> bool {
        self.access == Access::Open
    }

    fn is_used(&self) -> bool {
        self.sessions > 0 || self.holds > 0
    }

    /// Whether it was made for packets to that address alone.
    pub fn is_for(&self, remote: Ipv4Addr) -> bool {
        self.remote_address == u32::from(remote)
    }

    fn remote(&self) -> Remote {
        Remote { address: self.remote_address, port: self.remote_port }
    }

    fn public(&self, subscribers: &Subscribers) -> Endpoint {
        Endpoint { address: subscribers[self.subscriber].public.into(), port: self.public_port }
    }

    fn inside_hash(&self, key: &HashKey) -> u32 {
        inside_hash(key, self.subscriber, self.inside_port, self.remote(), self.protocol)
    }

    fn public_hash(&self, key: &HashKey, subscribers: &Subscribers) -> u32 {
        let e = self.public(subscribers);
        endpoint_hash(key, Realm(0), e.address, e.port, self.protocol)
    }
}

/// The hash of one endpoint: its key as a flow to nowhere.
pub(super) fn endpoint_hash(key: &HashKey, realm: Realm, address: Ipv4Addr, port: u16, protocol: u8) -> u32 {
    let ([a, b, c, d], p) = (address.octets(), port.to_be_bytes());
    let endpoint = Key4::from_wire([a, b, c, d, 0, 0, 0, 0], [p[0], p[1], 0, 0], realm, protocol);
    endpoint.hash(key).buckets as u32
}

/// Of what a mapping is found by from inside.
fn inside_hash(key: &HashKey, subscriber: u32, port: u16, remote: Remote, protocol: u8) -> u32 {
    let addresses = u64::from(subscriber) | u64::from(remote.address) << 32;
    let ports = u32::from(port) | u32::from(remote.port) << 16;
    Key4::from_words(addresses, ports, Realm(0), protocol).hash(key).buckets as u32
}

/// See the module.
pub struct Mappings {
    hash: HashKey,
    worker: usize,
    mappings: Store<Mapping>,
    by_inside: IdMap,
    by_public: IdMap,
    pub subscribers: Subscribers,
    /// Blocks, by pool.
    resting: Box<[Resting]>,
    /// Subscribers without a mapping, which keep their blocks meanwhile; and how many they are.
    absent: Resting,
    absent_count: usize,
}

impl Mappings {
    /// Room for `mappings` and `subscribers` of `pools` pools, of the home on `worker`.
    pub fn new(mappings: usize, subscribers: usize, pools: usize, worker: usize, hash: HashKey) -> Self {
        Self {
            worker,
            mappings: Store::new(mappings),
            by_inside: IdMap::new(mappings),
            by_public: IdMap::new(mappings),
            subscribers: Subscribers::new(subscribers, hash.clone()),
            resting: vec![Resting::NOBODY; pools].into(),
            absent: Resting::NOBODY,
            absent_count: 0,
            hash,
        }
    }

    /// Live mappings.
    pub fn len(&self) -> usize {
        self.by_inside.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Subscribers with a mapping, each once.
    pub fn present(&self) -> usize {
        self.subscribers.count() - self.absent_count
    }

    pub fn get(&self, n: u32) -> &Mapping {
        &self.mappings[n]
    }

    /// The pool of a mapping.
    pub fn pool<'n>(&self, nat: &'n Nat44, n: u32) -> &'n Pool {
        &nat.pools()[usize::from(self.subscribers[self.mappings[n].subscriber].pool)]
    }

    /// The inside endpoint of a mapping.
    pub fn inside(&self, n: u32) -> Inside {
        let (m, s) = (&self.mappings[n], &self.subscribers[self.mappings[n].subscriber]);
        Inside { realm: s.realm(), address: s.address(), port: m.inside_port }
    }

    /// The public endpoint of a mapping.
    pub fn public(&self, n: u32) -> Endpoint {
        self.mappings[n].public(&self.subscribers)
    }

    /// The mapping for packets of this key, which come from inside, from this subscriber.
    pub fn find_inside(&self, nat: &Nat44, subscriber: Option<u32>, key: &Key4) -> Option<u32> {
        self.subscribers.selves(subscriber).find_map(|s| {
            let pool = &nat.pools()[usize::from(self.subscribers[s].pool)];
            if pool.state() == PoolState::Removed {
                return None;
            }
            let (port, protocol) = (key.source_port(), key.protocol());
            let remote = Remote::of(pool.options().mapping, key);
            let find = |remote| {
                self.by_inside.find(inside_hash(&self.hash, s, port, remote, protocol), |n| {
                    let m = &self.mappings[n];
                    m.subscriber == s
                        && m.inside_port == port
                        && m.protocol == protocol
                        && m.remote() == remote
                })
            };
            // One that was asked for is for all, whatever the class (RFC 6887 section 11).
            let for_all = || find(Remote::default()).filter(|n| self.mappings[*n].is_open());
            if remote == Remote::default() { find(remote) } else { for_all().or_else(|| find(remote)) }
        })
    }

    /// The mapping of a public endpoint.
    pub fn find_public(&self, nat: &Nat44, e: Endpoint, protocol: u8) -> Option<u32> {
        let pool = nat.pool_of(e.address)?;
        let block = pool.block_of(e)?;
        if pool.blocks().owner(block) != Some(self.worker) {
            return None;
        }
        let s = pool.blocks().subscriber(block);
        self.by_public.find(endpoint_hash(&self.hash, Realm(0), e.address, e.port, protocol), |n| {
            let m = &self.mappings[n];
            m.subscriber == s && m.public_port == e.port && m.protocol == protocol
        })
    }

    /// Who holds the whole of a public address, and has a session there that packets from inside have opened.
    pub fn whole_holder(&self, nat: &Nat44, e: Endpoint) -> Option<Holder> {
        let pool = nat.pool_of(e.address).filter(|pool| pool.is_whole())?;
        let block = pool.block_of(e)?;
        if pool.blocks().owner(block) != Some(self.worker) {
            return None;
        }
        let s = &self.subscribers[pool.blocks().subscriber(block)];
        let keeps = s.sessions > s.from_outside;
        keeps.then(|| Holder { realm: s.realm(), address: s.address(), from_outside: s.from_outside })
    }

    /// Makes a mapping without sessions for packets of this key, which has none; `known` is the subscriber if there is one. The
    /// caller enters a session at once and publishes it before a packet may come from outside, or takes it back.
    ///
    /// # Errors
    /// Why not. Nothing is left behind.
    pub fn create(
        &mut self,
        nat: &Nat44,
        key: &Key4,
        known: Option<u32>,
        now: u32,
        random: impl FnMut() -> u32,
    ) -> Result<u32, DropReason> {
        self.create_as(nat, key, &Want::default(), known, now, random)
    }

    /// The same, with the public endpoint that is wanted.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_as(
        &mut self,
        nat: &Nat44,
        key: &Key4,
        want: &Want,
        known: Option<u32>,
        now: u32,
        mut random: impl FnMut() -> u32,
    ) -> Result<u32, DropReason> {
        let n = self.mappings.take(|m| m.subscriber).ok_or(DropReason::NatMappingsFull)?;
        let made = self.subscriber(nat, key, known, now, &mut random).and_then(|s| {
            let port = match self.is_elsewhere(s, want) {
                false => self.take_port(nat, s, key, want, now, &mut random),
                true => None,
            };
            let port = port.ok_or(DropReason::NatNoPort);
            if port.is_err() {
                self.drop_unused(nat, s, now);
            }
            Ok((s, port?))
        });
        let (s, public_port) = match made {
            Ok(made) => made,
            Err(why) => {
                self.mappings.give(n, |m, next| m.subscriber = next);
                return Err(why);
            }
        };
        let pool = &nat.pools()[usize::from(self.subscribers[s].pool)];
        let remote = Remote::of(pool.options().mapping, key);
        self.set_absent(s, false);
        self.subscribers[s].mappings += 1;
        self.mappings[n] = Mapping {
            subscriber: s,
            remote_address: remote.address,
            remote_port: remote.port,
            inside_port: key.source_port(),
            public_port,
            protocol: key.protocol(),
            ..Mapping::default()
        };
        // The map has room for all mappings; what chance has heaped up in one place is refused as if it had not.
        if !self.by_inside.insert(self.mappings[n].inside_hash(&self.hash), n) {
            self.undo(nat, n, now);
            return Err(DropReason::NatMappingsFull);
        }
        self.by_public.prefetch(self.mappings[n].public_hash(&self.hash, &self.subscribers));
        Ok(n)
    }

    /// Lets a mapping be found from outside, if it is not yet.
    ///
    /// # Errors
    /// What chance has heaped up in one place of the map is refused.
    pub fn publish(&mut self, n: u32) -> Result<(), DropReason> {
        if self.mappings[n].access == Access::Unpublished {
            let hash = self.mappings[n].public_hash(&self.hash, &self.subscribers);
            if !self.by_public.insert(hash, n) {
                return Err(DropReason::NatMappingsFull);
            }
            self.mappings[n].access = Access::Implicit;
        }
        Ok(())
    }

    /// The subscriber whom packets of this key are from, made with its first block if there is none that may have new mappings.
    fn subscriber(
        &mut self,
        nat: &Nat44,
        key: &Key4,
        mut known: Option<u32>,
        now: u32,
        random: &mut impl FnMut() -> u32,
    ) -> Result<u32, DropReason> {
        let who = (key.realm(), key.source());
        let pool_of = |s: u32| &nat.pools()[usize::from(self.subscribers[s].pool)];
        // A former self whose pool is drained no longer is as good as the present one: there is never a second one in a pool.
        let active = self.subscribers.selves(known).find(|s| pool_of(*s).state() == PoolState::Active);
        if let Some(s) = active {
            return if can_carry(pool_of(s), key) { Ok(s) } else { Err(DropReason::ProtocolUnsupported) };
        }
        let mut why = if known.is_some() { DropReason::NatPoolDraining } else { DropReason::NatNoPool };
        let (rate, workers) = (nat.options().new_sessions_per_second, self.worker);
        for (number, pool) in nat.pools().iter().enumerate().filter(|(_, p)| p.serves(who.0, who.1)) {
            if pool.state() != PoolState::Active {
                why = DropReason::NatPoolDraining;
                continue;
            }
            if !can_carry(pool, key) {
                why = DropReason::ProtocolUnsupported;
                continue;
            }
            let mut added = self.subscribers.add(who, number, known, (rate, now));
            if added.is_err() && self.forget_one(nat, now) {
                // It may have been this one's own former self.
                known = self.subscribers.find(who.0, who.1);
                added = self.subscribers.add(who, number, known, (rate, now));
            }
            let s = added?;
            if let Some(block) = pool.lease_first(who, workers, s, random(), now) {
                self.subscribers[s].first_block = block;
                self.subscribers[s].blocks = 1;
                self.subscribers[s].public = pool.address_of(block).into();
                if let Some(former) = known {
                    self.set_absent(former, false);
                }
                return Ok(s);
            }
            self.subscribers.remove(s);
            why = DropReason::NatNoPort;
        }
        Err(why)
    }

    /// A free port of the subscriber's: in its blocks, else in a new block of its address, if it may have one more.
    fn take_port(
        &mut self,
        nat: &Nat44,
        s: u32,
        key: &Key4,
        want: &Want,
        now: u32,
        random: &mut impl FnMut() -> u32,
    ) -> Option<u16> {
        let subscriber = self.subscribers[s];
        let pool = &nat.pools()[usize::from(subscriber.pool)];
        let (blocks, protocol, port) = (pool.blocks(), key.protocol(), key.source_port());
        let mut in_own = |wish| {
            let own = std::iter::successors(Some(subscriber.first_block), |b| {
                Some(blocks.next(*b)).filter(|b| *b != NONE)
            });
            own.into_iter().find_map(|b| blocks.take(b, protocol, wish, random(), now))
        };
        if let Some(wanted) = want.port {
            // Of a whole address each port is the inside's own.
            let may = !pool.is_whole() || wanted == port;
            let found = if may { in_own(Wish::Exactly(wanted)) } else { None };
            if found.is_some() || want.exact {
                return found;
            }
        }
        let wish = match pool.options().selection {
            _ if pool.is_whole() => Wish::Exactly(port),
            PortSelection::Preserve => Wish::Exactly(port),
            PortSelection::PreserveParity if protocol == UDP => Wish::LikeParity(port),
            PortSelection::PreserveParity | PortSelection::Random => Wish::Any,
        };
        let found = in_own(wish).or_else(|| match wish {
            Wish::Exactly(_) => in_own(Wish::Any),
            Wish::Any | Wish::LikeParity(_) => None,
        });
        if found.is_some() {
            return found;
        }
        let may_grow = subscriber.blocks < pool.blocks_per_subscriber() && space(protocol).is_some();
        let more = if may_grow { pool.lease_more(subscriber.first_block, self.worker, s, now) } else { None };
        let Some(more) = more else {
            return if matches!(wish, Wish::LikeParity(_)) { in_own(Wish::Any) } else { None };
        };
        self.subscribers[s].first_block = more;
        self.subscribers[s].blocks += 1;
        blocks
            .take(more, protocol, wish, random(), now)
            .or_else(|| blocks.take(more, protocol, Wish::Any, random(), now))
    }

    /// One more session through a mapping.
    pub fn enter(&mut self, n: u32, from_outside: bool) {
        let m = &mut self.mappings[n];
        let s = &mut self.subscribers[m.subscriber];
        m.sessions += 1;
        s.sessions += 1;
        if from_outside {
            m.from_outside += 1;
            s.from_outside += 1;
        } else {
            m.keepers += 1;
            if m.access == Access::Closed {
                m.access = Access::Implicit;
            }
        }
    }

    /// One session less; without any the mapping goes, and its port rests.
    pub fn leave(&mut self, nat: &Nat44, n: u32, from_outside: bool, kept: bool, now: u32) {
        self.take_out(n, from_outside, kept);
        self.remove_unused(nat, n, now);
    }

    fn take_out(&mut self, n: u32, from_outside: bool, kept: bool) {
        let m = &mut self.mappings[n];
        let s = &mut self.subscribers[m.subscriber];
        m.sessions -= 1;
        s.sessions -= 1;
        m.from_outside -= u16::from(from_outside);
        s.from_outside -= u32::from(from_outside);
        m.keepers -= u32::from(kept);
    }

    /// A session that was entered comes to nothing.
    pub fn retract(&mut self, nat: &Nat44, n: u32, from_outside: bool, now: u32) {
        self.take_out(n, from_outside, !from_outside);
        self.undo(nat, n, now);
    }

    /// Takes back a mapping that was made just now and has had no session: nothing of it needs to rest, nor does a subscriber
    /// that came with it.
    pub fn undo(&mut self, nat: &Nat44, n: u32, now: u32) {
        let m = self.mappings[n];
        if m.is_used() {
            return;
        }
        self.by_inside.remove(m.inside_hash(&self.hash), n);
        self.by_public.remove(m.public_hash(&self.hash, &self.subscribers), n);
        let (e, pool, s) = (self.public(n), self.pool(nat, n), m.subscriber);
        if let Some(block) = pool.block_of(e) {
            pool.blocks().unuse(block, e.port, m.protocol);
        }
        self.mappings.give(n, |m, next| m.subscriber = next);
        self.subscribers[s].mappings -= 1;
        let subscriber = self.subscribers[s];
        if subscriber.mappings > 0 || subscriber.is_queued || subscriber.blocks > 1 {
            return self.drop_unused(nat, s, now);
        }
        pool.blocks().vacate(subscriber.first_block);
        pool.give_back(subscriber.first_block);
        self.subscribers[s].first_block = NONE;
        self.subscribers.remove(s);
    }

    /// Removes a mapping that nobody needs.
    pub fn remove_unused(&mut self, nat: &Nat44, n: u32, now: u32) {
        let m = self.mappings[n];
        if m.is_used() {
            return;
        }
        self.by_inside.remove(m.inside_hash(&self.hash), n);
        self.by_public.remove(m.public_hash(&self.hash, &self.subscribers), n);

        let e = self.public(n);
        let pool = self.pool(nat, n);
        if let Some(block) = pool.block_of(e)
            && pool.blocks().free(block, e.port, m.protocol, now)
            && self.subscribers[m.subscriber].mappings > 1
        {
            self.give_back(nat, m.subscriber, block, now);
        }
        self.mappings.give(n, |m, next| m.subscriber = next);
        self.subscribers[m.subscriber].mappings -= 1;
        self.drop_unused(nat, m.subscriber, now);
    }
}

/// Whether a pool can translate packets of this key: those of protocols without ports need a whole address.
fn can_carry(pool: &Pool, key: &Key4) -> bool {
    pool.is_whole() || space(key.protocol()).is_some()
}
