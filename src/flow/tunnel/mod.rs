//! Tunnels to other edges as all threads see them: sessions by their tags, the edges that they lead to, and their RLOCs.
//!
//! ```text
//!  own tag ─(key)─► session ──► peer edge ──► RLOC in use        one write at the peer moves all of its sessions
//!  (realm, host, proxy address) ─(index)─┘  └─► RLOCs that its packets may come from
//! ```
//!
//! One thread writes, the owner of [`Tunnels`]: the one that negotiates, because a tag must be known before the other edge
//! answers with its own. Workers read, and write counters, times and next hops, by load and store.
//!
//! Guarantees:
//! - A session, and an RLOC, does not change while it is published, but for further services, and its host's further addresses; its place
//!   is used again after every worker has been quiescent.
//! - By its tag a session is found without a hash, in one cache line; a tag of a former use finds nothing.
//! - Everything is preallocated: what is full refuses.
//!
//! Never: knows why two hosts may talk, or for how long.
//!
//! | file | what it is |
//! |---|---|
//! | [`tag`] | tags as the wire shows them |
//! | [`session`] | two hosts, and what they may use of each other |
//! | [`services`] | that, compiled |
//! | [`rloc`] | the other edges, and where they are reached |
//! | [`owner`] | the one writer |

pub mod owner;
pub mod rloc;
pub mod services;
pub mod session;
pub mod tag;

use super::hash::{Hash, HashKey, Hashed};
use super::index::Index;
use super::key::{Key4, Realm};
use super::memory::{Region, prefetch_at};
use super::sync::Ordering;
pub use owner::{Refused, Tunnels};
pub use rloc::{Ends, Peer, RLOCS_OF_A_PEER, Rloc, RlocOptions};
pub use services::{Opens, Service, Services};
use session::pair_of;
pub use session::{Counts, Session, SessionOptions};
use std::net::Ipv4Addr;
use tag::TagKey;

/// Sessions, at most: a tag has 32 bits, of which ten at least tell one use of a place from the next.
pub const SESSIONS_MAX: usize = 1 << 22;
/// As a session's edge: none, because the other host is behind this one, too. Each of the two hosts has a session of its own, whose
/// peer's tag is the other's own tag.
pub const LOCAL: u32 = u32::MAX;
/// Table number within the index of pairs.
const TABLE: u8 = 1;

/// How much there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// 1 to [`SESSIONS_MAX`].
    pub sessions: usize,
    pub peers: usize,
    pub rlocs: usize,
}

/// The shared side. See the module.
pub struct TunnelTable {
    key: TagKey,
    /// Bits of a tag's number that say which place it is.
    place_bits: u32,
    sessions: Region<Session>,
    peers: Region<Peer>,
    rlocs: Region<Rloc>,
    pairs: Index,
    hash: HashKey,
}

impl TunnelTable {
    /// Fetches the session of an own tag ahead of its use. Any tag is safe to give. Returns its place for [`Self::at`].
    #[inline(always)]
    pub fn begin(&self, tag: u32) -> u32 {
        let place = self.place_of(tag);
        self.prefetch(place);
        place
    }

    /// Fetches the session at a place. Any place is safe to give: nothing is read.
    #[inline(always)]
    pub fn prefetch(&self, place: u32) {
        prefetch_at(self.sessions.as_ptr().wrapping_add(place as usize));
    }

    /// Where the session of an own tag is, if there is one.
    #[inline(always)]
    pub fn place_of(&self, tag: u32) -> u32 {
        self.key.number(tag) & ((1 << self.place_bits) - 1)
    }

    /// The session at a place, if that tag is still its own.
    #[inline(always)]
    pub fn at(&self, place: u32, tag: u32) -> Option<&Session> {
        let session = self.sessions.get(place as usize)?;
        (session.tags().0 == tag && tag != 0).then_some(session)
    }

    /// The session at a place, if it is the one of both tags: the other edge's, then the own one, wire order.
    #[inline(always)]
    pub fn of_both(&self, place: u32, tags: u64) -> Option<&Session> {
        let session = self.sessions.get(place as usize)?;
        (session.tags.load(Ordering::Acquire) == tags.swap_bytes() && tags >> 32 != 0).then_some(session)
    }

    /// The session of an own tag.
    #[inline(always)]
    pub fn find(&self, tag: u32) -> Option<&Session> {
        self.at(self.place_of(tag), tag)
    }

    /// The place of the session between a host, by any of its addresses, and a proxy address, and the session.
    pub fn find_pair(&self, realm: Realm, host: Ipv4Addr, proxy: Ipv4Addr) -> Option<(u32, &Session)> {
        let pair = pair_of(host, proxy);
        let is_it =
            |session: &Session| session.tags().0 != 0 && session.has_pair(pair) && session.realm() == realm;
        let found = self
            .pairs
            .find(self.hash_of(realm, pair), |r| self.sessions.get(r.index()).is_some_and(is_it))?;
        Some((found.index() as u32, &self.sessions[found.index()]))
    }

    fn hash_of(&self, realm: Realm, pair: u64) -> Hash {
        Key4::from_words(pair, 0, realm, 0).hash(&self.hash)
    }

    /// The session that the other host of a local one has; `None` of any other, or if it is gone.
    #[inline(always)]
    pub fn twin(&self, session: &Session) -> Option<&Session> {
        if session.is_local() { self.find(session.tags().1) } else { None }
    }

    /// The edge that a session leads to.
    #[inline(always)]
    pub fn peer(&self, session: &Session) -> Option<&Peer> {
        self.peers.get(session.peer() as usize)
    }

    /// The RLOC that packets to an edge go to; `None` where none is reachable.
    #[inline(always)]
    pub fn active(&self, peer: &Peer) -> Option<&Rloc> {
        self.rloc(peer.active.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn rloc(&self, reference: u32) -> Option<&Rloc> {
        self.rlocs.get((reference as usize).wrapping_sub(1))
    }

    /// Whether packets of an edge may come between these ends.
    pub fn accepts(&self, peer: &Peer, ends: &Ends) -> bool {
        let (words, about) = rloc::compiled(ends);
        // Most come the way that ours go.
        if self.active(peer).is_some_and(|rloc| rloc.ends_are(&words, about) == (true, true)) {
            return true;
        }
        let (mut local, mut remote) = (false, false);
        for reference in &peer.accepted {
            let Some(rloc) = self.rloc(reference.load(Ordering::Acquire)) else { continue };
            let (own, theirs) = rloc.ends_are(&words, about);
            (local, remote) = (local | own, remote | theirs);
        }
        local && remote
    }

    /// Whether a packet with these tags, own and the other edge's, may have gone between those ends: who quotes both has seen one.
    pub fn may_have_sent(&self, (own, theirs): (u32, u32), ends: &Ends) -> bool {
        let session = self.find(own).filter(|session| session.tags().1 == theirs);
        let peer = session.and_then(|session| self.peer(session));
        peer.is_some_and(|peer| self.accepts(peer, ends))
    }

    /// All sessions, for management and for who judges their age: one that comes or goes meanwhile may be missed.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|session| session.tags().0 != 0)
    }
}

#[cfg(all(test, not(ces_loom)))]
#[path = "tests.rs"]
mod tests;

#[cfg(all(test, ces_loom))]
#[path = "loom.rs"]
mod loom_models;
