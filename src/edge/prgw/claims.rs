//! Claims that are remembered, each for a while: whose connection the packets of a key are.
//!
//! Guarantees: bounded, and made at the start: when it is full the oldest is forgotten. Never: reads a clock.

use super::desk::{CONFIRMED, UNCONFIRMED};
use super::table::Secret;
use crate::flow::{Key4, Realm};
use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;

/// Claims that are remembered at most: those of a second at 100,000 a second.
pub const REMEMBERED: usize = 131_072;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub realm: Realm,
    pub host: Ipv4Addr,
    /// The worker that is the home of that.
    pub home: u16,
    /// Of the pool's address.
    pub number: u32,
    /// Milliseconds.
    pub since: u64,
    /// Whether its session has begun.
    pub began: bool,
}

/// See the module.
pub struct Claims {
    by_key: HashMap<Key4, Claim, Secret>,
    /// In the order of their making, and those of them that are not confirmed after [`CONFIRMED`]; what was removed since
    /// stands there still.
    young: VecDeque<(u64, Key4)>,
    old: VecDeque<(u64, Key4)>,
    most: usize,
}

impl Default for Claims {
    fn default() -> Self {
        // Its keys are chosen by strangers.
        Self::new(REMEMBERED, Secret::new(rand::random()))
    }
}

impl Claims {
    pub fn new(most: usize, secret: Secret) -> Self {
        Self {
            by_key: HashMap::with_capacity_and_hasher(most, secret),
            young: VecDeque::with_capacity(most),
            old: VecDeque::with_capacity(most),
            most,
        }
    }

    pub fn get(&self, key: &Key4) -> Option<Claim> {
        self.by_key.get(key).copied()
    }

    /// Remembers one that is not there; gives back the one that had to go for it.
    pub fn insert(&mut self, key: Key4, claim: Claim) -> Option<(Key4, Claim)> {
        let mut forgotten = None;
        while forgotten.is_none() && self.young.len() + self.old.len() >= self.most {
            let (since, oldest) = self.old.pop_front().or_else(|| self.young.pop_front())?;
            forgotten = self.forget(since, oldest);
        }
        self.young.push_back((claim.since, key));
        self.by_key.insert(key, claim);
        forgotten
    }

    pub fn remove(&mut self, key: &Key4) {
        self.by_key.remove(key);
    }

    /// A session of that key has begun: gives back the claim that it is of, if that has waited for it.
    pub fn begin(&mut self, key: &Key4) -> Option<Claim> {
        let claim = self.by_key.get_mut(key).filter(|claim| !claim.began)?;
        claim.began = true;
        Some(*claim)
    }

    /// One whose time is over. To be called until there is none.
    pub fn expire(&mut self, now: u64) -> Option<(Key4, Claim)> {
        while let Some(&(since, key)) = self.young.front().filter(|young| young.0 + CONFIRMED <= now) {
            self.young.pop_front();
            match self.by_key.get(&key).filter(|claim| claim.since == since) {
                Some(claim) if claim.began => return self.forget(since, key),
                Some(_) => self.old.push_back((since, key)),
                None => (),
            }
        }
        while let Some(&(since, key)) = self.old.front().filter(|old| old.0 + UNCONFIRMED <= now) {
            self.old.pop_front();
            let forgotten = self.forget(since, key);
            if forgotten.is_some() {
                return forgotten;
            }
        }
        None
    }

    /// Forgets what was made then, if it is there still.
    fn forget(&mut self, since: u64, key: Key4) -> Option<(Key4, Claim)> {
        let claim = self.by_key.get(&key).copied().filter(|claim| claim.since == since)?;
        self.by_key.remove(&key);
        Some((key, claim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Protocol;

    fn key(n: u16) -> Key4 {
        let end = |last| Ipv4Addr::new(198, 51, 100, last);
        Key4::new(Realm(9), Protocol::Tcp, (end(1), n), (end(2), 443))
    }

    fn claim(since: u64) -> Claim {
        Claim { realm: Realm(1), host: Ipv4Addr::LOCALHOST, home: 0, number: 0, since, began: false }
    }

    fn expired(claims: &mut Claims, now: u64) -> Vec<u16> {
        std::iter::from_fn(|| claims.expire(now)).map(|(key, _)| key.source_port()).collect()
    }

    #[test]
    fn what_has_begun_goes_after_a_second_and_what_has_not_after_ten() {
        let mut claims = Claims::new(8, Secret::new([1, 2]));
        for (n, since) in [(1, 0), (2, 0), (3, 500), (4, 600)] {
            assert_eq!(claims.insert(key(n), claim(since)), None);
        }
        assert!(claims.begin(&key(1)).is_some() && claims.begin(&key(3)).is_some());
        assert_eq!((claims.begin(&key(1)), claims.begin(&key(9))), (None, None), "once, and if it is there");
        assert_eq!(expired(&mut claims, 999), [0; 0]);
        assert_eq!(expired(&mut claims, 1000), [1]);
        assert_eq!(expired(&mut claims, 9_999), [3]);
        claims.remove(&key(2));
        assert_eq!(claims.insert(key(2), claim(9_999)), None);
        assert_eq!(expired(&mut claims, 10_599), [0; 0], "another of that key is younger");
        assert_eq!(expired(&mut claims, 10_600), [4]);
        assert_eq!(expired(&mut claims, 19_999), [2]);
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let mut claims = Claims::new(4, Secret::new([1, 2]));
        for n in 0..4 {
            assert_eq!(claims.insert(key(n), claim(u64::from(n))), None);
        }
        claims.remove(&key(0));
        let forgotten: Vec<_> = (4..8)
            .map(|n| claims.insert(key(n), claim(u64::from(n))).map(|(key, _)| key.source_port()))
            .collect();
        assert_eq!(forgotten, [None, Some(1), Some(2), Some(3)], "one was gone already");
        assert!((4..8).all(|n| claims.get(&key(n)).is_some()));
    }
}
