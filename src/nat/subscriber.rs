//! The subscribers of one home: who has which blocks of which pool, and what each may take.
//!
//! A subscriber stays on one public address (RFC 4787 REQ-2, paired pooling), and finds it again when it comes back before its
//! ports have rested. When its pool is drained, a successor on another
//! pool takes its place for new mappings, and the former one lives on until its last mapping ends.

use super::id_map::IdMap;
use super::mapping::endpoint_hash;
use super::pool::NONE;
use super::store::Store;
use crate::flow::{HashKey, Realm};
use crate::packet::DropReason;
use std::net::Ipv4Addr;

/// Thousandths of a session: a rate of one a second adds one a millisecond.
const TOKEN: u32 = 1000;

/// An inside address with at least one mapping.
#[derive(Clone, Copy, Default)]
pub struct Subscriber {
    address: u32,
    realm: u16,
    /// Its pool's number.
    pub pool: u16,
    pub blocks: u16,
    /// What it has asked for and is not over ([`super::pcp`]).
    pub explicit: u16,
    /// The public address that it stays on.
    pub public: u32,
    /// The first of its blocks, or [`NONE`]; the next free subscriber while this one is free.
    pub first_block: u32,
    pub mappings: u32,
    pub sessions: u32,
    /// Of those, the ones that were opened from outside.
    pub from_outside: u32,
    /// The same subscriber on a pool that is being drained, or [`NONE`].
    pub former: u32,
    /// The subscriber behind this one among those that rest, or [`NONE`]; and since when it stands there.
    pub next_resting: u32,
    pub queued: u32,
    /// Whether it stands there, though it may have come back since.
    pub is_queued: bool,
    /// Whether it is counted as one without a mapping that stands in the map.
    pub is_absent: bool,
    /// When its last mapping ended. Only of one that has none.
    pub left: u32,
    /// Thousandths of sessions that it may open now, and when that was counted.
    tokens: u32,
    counted: u32,
}

impl Subscriber {
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.address)
    }

    pub fn realm(&self) -> Realm {
        Realm(self.realm)
    }

    /// Takes one of `rate` sessions a second; false when there is none left.
    pub fn may_open(&mut self, rate: u32, now: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let elapsed = u64::from(now.wrapping_sub(self.counted));
        let most = u64::from(rate) * u64::from(TOKEN);
        let tokens = (u64::from(self.tokens) + elapsed * u64::from(rate)).min(most) as u32;
        (self.tokens, self.counted) = (tokens.saturating_sub(TOKEN), now);
        tokens >= TOKEN
    }
}

/// See the module.
pub struct Subscribers {
    hash: HashKey,
    store: Store<Subscriber>,
    by_address: IdMap,
}

fn hash(key: &HashKey, s: &Subscriber) -> u32 {
    endpoint_hash(key, s.realm(), s.address(), 0, 0)
}

impl Subscribers {
    pub fn new(capacity: usize, hash: HashKey) -> Self {
        Self { hash, store: Store::new(capacity), by_address: IdMap::new(capacity) }
    }

    /// Live subscribers, each once.
    pub fn count(&self) -> usize {
        self.by_address.len()
    }

    /// The number of an inside address, on the pool that serves it now.
    pub fn find(&self, realm: Realm, address: Ipv4Addr) -> Option<u32> {
        let wanted = endpoint_hash(&self.hash, realm, address, 0, 0);
        self.by_address.find(wanted, |n| {
            let s = &self.store[n];
            s.address == u32::from(address) && s.realm == realm.0
        })
    }

    /// Asks for where [`Self::find`] begins.
    pub fn prefetch(&self, realm: Realm, address: Ipv4Addr) {
        self.by_address.prefetch(endpoint_hash(&self.hash, realm, address, 0, 0));
    }

    /// What [`Self::find`] will most likely find, without asking for any subscriber.
    pub fn guess(&self, realm: Realm, address: Ipv4Addr) -> Option<u32> {
        self.by_address.guess(endpoint_hash(&self.hash, realm, address, 0, 0))
    }

    /// A subscriber and its former selves, given the present one.
    pub fn selves(&self, present: Option<u32>) -> impl Iterator<Item = u32> {
        std::iter::successors(present, |n| Some(self.store[*n].former).filter(|f| *f != NONE))
    }

    /// A new subscriber without blocks on that pool, in the place of `former` if there is one. `rate` is what it may open at
    /// once.
    ///
    /// # Errors
    /// The table is full.
    pub fn add(
        &mut self,
        (realm, address): (Realm, Ipv4Addr),
        pool: usize,
        former: Option<u32>,
        (rate, now): (u32, u32),
    ) -> Result<u32, DropReason> {
        let n = self.store.take(|s| s.first_block).ok_or(DropReason::NatSubscribersFull)?;
        self.store[n] = Subscriber {
            address: address.into(),
            realm: realm.0,
            pool: pool as u16,
            first_block: NONE,
            next_resting: NONE,
            former: former.unwrap_or(NONE),
            // The session that it comes with takes one.
            tokens: rate.saturating_mul(TOKEN).saturating_sub(TOKEN),
            counted: now,
            ..Subscriber::default()
        };
        if let Some(former) = former {
            self.leave_map(former);
        }
        if self.by_address.insert(hash(&self.hash, &self.store[n]), n) {
            return Ok(n);
        }
        // The map has room for every subscriber; what chance has heaped up in one place is refused as if it had not.
        if let Some(former) = former {
            self.by_address.insert(hash(&self.hash, &self.store[former]), former);
        }
        self.store.give(n, |s, next| s.first_block = next);
        Err(DropReason::NatSubscribersFull)
    }

    fn leave_map(&mut self, n: u32) {
        self.by_address.remove(hash(&self.hash, &self.store[n]), n);
    }

    /// Forgets a subscriber that has neither mapping nor block.
    pub fn remove(&mut self, n: u32) {
        let s = self.store[n];
        let present = self.find(s.realm(), s.address());
        if present == Some(n) {
            self.leave_map(n);
            if s.former != NONE {
                // Its former self takes its place again.
                self.by_address.insert(hash(&self.hash, &self.store[s.former]), s.former);
            }
        } else if let Some(mut at) = present {
            while self.store[at].former != n {
                at = self.store[at].former;
            }
            self.store[at].former = s.former;
        }
        self.store.give(n, |s, next| s.first_block = next);
    }
}

impl std::ops::Index<u32> for Subscribers {
    type Output = Subscriber;
    fn index(&self, n: u32) -> &Subscriber {
        &self.store[n]
    }
}

impl std::ops::IndexMut<u32> for Subscribers {
    fn index_mut(&mut self, n: u32) -> &mut Subscriber {
        &mut self.store[n]
    }
}
