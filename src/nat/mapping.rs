//! The mappings and subscribers of one home: private to its worker, preallocated.

use super::id_map::IdMap;
use super::pool::{Endpoint, NONE, Pool};
use crate::flow::hash::Hashed;
use crate::flow::memory::Region;
use crate::flow::{HashKey, Key4, Protocol, Realm};
use crate::packet::DropReason;
use std::net::Ipv4Addr;

/// An inside endpoint: what a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inside {
    pub realm: Realm,
    pub address: Ipv4Addr,
    pub port: u16,
}

/// One inside endpoint's public endpoint: 28 bytes, and 12 more in the two maps.
#[derive(Clone, Copy, Default)]
pub struct Mapping {
    inside: u32,
    public: u32,
    inside_port: u16,
    public_port: u16,
    realm: u16,
    protocol: u8,
    /// The next free mapping while this one is free; else the subscriber.
    subscriber: u32,
    /// Sessions through it; it lives as long as there are any.
    sessions: u32,
    /// Those of them that were opened from outside.
    from_outside: u16,
}

impl Mapping {
    pub fn inside(&self) -> Inside {
        Inside { realm: Realm(self.realm), address: Ipv4Addr::from(self.inside), port: self.inside_port }
    }
    pub fn public(&self) -> Endpoint {
        Endpoint { address: Ipv4Addr::from(self.public), port: self.public_port }
    }
    pub fn sessions_from_outside(&self) -> u16 {
        self.from_outside
    }
}

/// An inside address with at least one mapping.
#[derive(Clone, Copy, Default)]
struct Subscriber {
    address: u32,
    realm: u16,
    blocks: u16,
    /// The first of its blocks, or [`NONE`]; the next free subscriber while this one is free.
    first_block: u32,
    mappings: u32,
}

/// Elements with a free list through one of their fields.
struct Store<T> {
    elements: Region<T>,
    /// The first free one that was used before, or [`NONE`].
    free: u32,
    /// Elements from here on were never used.
    fresh: u32,
}

impl<T: Copy + Default> Store<T> {
    fn new(capacity: usize) -> Self {
        Self { elements: Region::new(capacity, |_| T::default()), free: NONE, fresh: 0 }
    }

    /// Takes a free element; `link` reads its link.
    fn take(&mut self, link: impl Fn(&T) -> u32) -> Option<u32> {
        if self.free != NONE {
            let n = self.free;
            self.free = link(&self.elements[n as usize]);
            return Some(n);
        }
        let n = self.fresh;
        (n < self.elements.len() as u32).then(|| self.fresh += 1)?;
        Some(n)
    }

    /// Gives an element back; `set_link` writes its link.
    fn give(&mut self, n: u32, set_link: impl Fn(&mut T, u32)) {
        set_link(&mut self.elements[n as usize], self.free);
        self.free = n;
    }
}

impl<T> std::ops::Index<u32> for Store<T> {
    type Output = T;
    fn index(&self, n: u32) -> &T {
        &self.elements[n as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Store<T> {
    fn index_mut(&mut self, n: u32) -> &mut T {
        &mut self.elements[n as usize]
    }
}

/// The hash of one endpoint: its key as a flow to nowhere.
fn hash_endpoint(key: &HashKey, realm: Realm, address: Ipv4Addr, port: u16, protocol: u8) -> u32 {
    let ([a, b, c, d], p) = (address.octets(), port.to_be_bytes());
    let endpoint = Key4::from_wire([a, b, c, d, 0, 0, 0, 0], [p[0], p[1], 0, 0], realm, protocol);
    endpoint.hash(key).buckets as u32
}

fn hash_inside(key: &HashKey, i: Inside, protocol: u8) -> u32 {
    hash_endpoint(key, i.realm, i.address, i.port, protocol)
}

fn hash_public(key: &HashKey, e: Endpoint, protocol: u8) -> u32 {
    hash_endpoint(key, Realm(0), e.address, e.port, protocol)
}

fn hash_subscriber(key: &HashKey, s: &Subscriber) -> u32 {
    hash_endpoint(key, Realm(s.realm), Ipv4Addr::from(s.address), 0, 0)
}

/// The mappings and subscribers of one home.
pub struct Mappings {
    hash: HashKey,
    worker: usize,
    blocks_per_subscriber: u16,
    mappings: Store<Mapping>,
    by_inside: IdMap,
    by_public: IdMap,
    subscribers: Store<Subscriber>,
    by_address: IdMap,
}

/// How many addresses a new subscriber is tried on before it is refused.
const ADDRESSES_TRIED: u32 = 64;

impl Mappings {
    /// Room for `mappings` and `subscribers`, of the home on `worker`.
    pub fn new(
        mappings: usize,
        subscribers: usize,
        blocks_per_subscriber: u16,
        worker: usize,
        hash: HashKey,
    ) -> Self {
        Self {
            hash,
            worker,
            blocks_per_subscriber,
            mappings: Store::new(mappings),
            by_inside: IdMap::new(mappings),
            by_public: IdMap::new(mappings),
            subscribers: Store::new(subscribers),
            by_address: IdMap::new(subscribers),
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

    /// Live subscribers.
    pub fn subscribers(&self) -> usize {
        self.by_address.len()
    }

    pub fn get(&self, n: u32) -> &Mapping {
        &self.mappings[n]
    }

    /// The mapping of an inside endpoint.
    pub fn find_inside(&self, i: Inside, protocol: Protocol) -> Option<u32> {
        self.by_inside.find(hash_inside(&self.hash, i, protocol as u8), |n| {
            let m = &self.mappings[n];
            m.inside() == i && m.protocol == protocol as u8
        })
    }

    /// The mapping of a public endpoint.
    pub fn find_public(&self, e: Endpoint, protocol: Protocol) -> Option<u32> {
        self.by_public.find(hash_public(&self.hash, e, protocol as u8), |n| {
            let m = &self.mappings[n];
            m.public() == e && m.protocol == protocol as u8
        })
    }

    /// Makes a mapping without sessions for an endpoint that has none. The caller enters a session at once, or removes it.
    ///
    /// # Errors
    /// Why not: the tables or the subscriber's ports are full. Nothing is left behind.
    pub fn create(
        &mut self,
        pool: &Pool,
        inside: Inside,
        protocol: Protocol,
        mut random: impl FnMut() -> u32,
    ) -> Result<u32, DropReason> {
        let n = self.mappings.take(|m| m.subscriber).ok_or(DropReason::NatMappingsFull)?;
        let made = self.subscriber(inside.realm, inside.address).and_then(|s| {
            match self.take_port(pool, s, protocol, &mut random) {
                Ok(e) => Ok((s, e)),
                Err(why) => {
                    self.drop_unused(pool, s);
                    Err(why)
                }
            }
        });
        let (s, e) = match made {
            Ok(made) => made,
            Err(why) => {
                self.mappings.give(n, |m, next| m.subscriber = next);
                return Err(why);
            }
        };
        self.subscribers[s].mappings += 1;
        self.mappings[n] = Mapping {
            inside: inside.address.into(),
            public: e.address.into(),
            inside_port: inside.port,
            public_port: e.port,
            realm: inside.realm.0,
            protocol: protocol as u8,
            subscriber: s,
            sessions: 0,
            from_outside: 0,
        };
        // Both maps have as much room as there are mappings.
        let (h, g) =
            (hash_inside(&self.hash, inside, protocol as u8), hash_public(&self.hash, e, protocol as u8));
        let entered = self.by_inside.insert(h, n) && self.by_public.insert(g, n);
        debug_assert!(entered);
        Ok(n)
    }

    /// The subscriber of an inside address, made if there is none.
    fn subscriber(&mut self, realm: Realm, address: Ipv4Addr) -> Result<u32, DropReason> {
        let fresh =
            Subscriber { address: address.into(), realm: realm.0, blocks: 0, first_block: NONE, mappings: 0 };
        let hash = hash_subscriber(&self.hash, &fresh);
        let known = self.by_address.find(hash, |n| {
            let s = &self.subscribers[n];
            s.address == fresh.address && s.realm == fresh.realm
        });
        if let Some(s) = known {
            return Ok(s);
        }
        let s = self.subscribers.take(|s| s.first_block).ok_or(DropReason::NatSubscribersFull)?;
        self.subscribers[s] = fresh;
        self.by_address.insert(hash, s);
        Ok(s)
    }

    /// A free port of the subscriber's: in its blocks, else in a new block of its address, if it may have one more.
    fn take_port(
        &mut self,
        pool: &Pool,
        s: u32,
        protocol: Protocol,
        random: &mut impl FnMut() -> u32,
    ) -> Result<Endpoint, DropReason> {
        let subscriber = self.subscribers[s];
        let mut block = subscriber.first_block;
        while block != NONE {
            if let Some(e) = pool.take_port(block, protocol, random()) {
                return Ok(e);
            }
            block = pool.next(block);
        }
        if subscriber.blocks == self.blocks_per_subscriber {
            return Err(DropReason::NatNoPort);
        }
        let block = if subscriber.first_block == NONE {
            // Its first block chooses the address that it stays on.
            let start = random();
            (0..pool.addresses().min(ADDRESSES_TRIED))
                .find_map(|i| pool.lease(start.wrapping_add(i), self.worker, s, NONE))
        } else {
            let address = pool.address_index(subscriber.first_block);
            pool.lease(address, self.worker, s, subscriber.first_block)
        };
        let block = block.ok_or(DropReason::NatNoPort)?;
        self.subscribers[s].first_block = block;
        self.subscribers[s].blocks += 1;
        pool.take_port(block, protocol, random()).ok_or(DropReason::NatNoPort)
    }

    /// One more session through a mapping.
    pub fn enter(&mut self, n: u32, from_outside: bool) {
        let m = &mut self.mappings[n];
        m.sessions += 1;
        m.from_outside += u16::from(from_outside);
    }

    /// One session less; without any the mapping goes, and its port is free again.
    pub fn leave(&mut self, pool: &Pool, n: u32, from_outside: bool) {
        let m = &mut self.mappings[n];
        m.sessions -= 1;
        m.from_outside -= u16::from(from_outside);
        self.remove_unused(pool, n);
    }

    /// Removes a mapping that has no session.
    pub fn remove_unused(&mut self, pool: &Pool, n: u32) {
        let m = self.mappings[n];
        if m.sessions > 0 {
            return;
        }
        let (key, mappings) = (&self.hash, &self.mappings);
        let inside = |m: &Mapping| hash_inside(key, m.inside(), m.protocol);
        let public = |m: &Mapping| hash_public(key, m.public(), m.protocol);
        self.by_inside.remove(inside(&m), n, |o| inside(&mappings[o]));
        self.by_public.remove(public(&m), n, |o| public(&mappings[o]));

        let protocol = Protocol::from_number(m.protocol).expect("written by create");
        let (block, empty) = pool.free_port(m.public(), protocol);
        if empty {
            self.give_back(pool, m.subscriber, block);
        }
        self.mappings.give(n, |m, next| m.subscriber = next);
        self.subscribers[m.subscriber].mappings -= 1;
        self.drop_unused(pool, m.subscriber);
    }

    /// Takes an empty block out of its subscriber's list and gives it back to the pool.
    fn give_back(&mut self, pool: &Pool, s: u32, block: u32) {
        let subscriber = &mut self.subscribers[s];
        subscriber.blocks -= 1;
        if subscriber.first_block == block {
            subscriber.first_block = pool.next(block);
        } else {
            let mut at = subscriber.first_block;
            while pool.next(at) != block {
                at = pool.next(at);
            }
            pool.set_next(at, pool.next(block));
        }
        pool.give_back(block);
    }

    /// Forgets a subscriber that has no mapping.
    fn drop_unused(&mut self, pool: &Pool, s: u32) {
        if self.subscribers[s].mappings > 0 {
            return;
        }
        while self.subscribers[s].first_block != NONE {
            self.give_back(pool, s, self.subscribers[s].first_block);
        }
        let (key, subscribers) = (&self.hash, &self.subscribers);
        self.by_address
            .remove(hash_subscriber(key, &subscribers[s]), s, |o| hash_subscriber(key, &subscribers[o]));
        self.subscribers.give(s, |s, next| s.first_block = next);
    }
}
