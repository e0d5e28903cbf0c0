//! What will be touched soon, asked for ahead: memory is slow, and a burst that waits for it once is fast. Nothing but speed hangs
//! on what is said here.
//!
//! Each function takes steps, from 0 on: a caller takes one step for all that it has in hand before the next step, so that what
//! one step asks for is there in the next.

use super::{Mappings, Remote, endpoint_hash, inside_hash};
use crate::flow::memory::prefetch;
use crate::flow::{Key4, Realm};
use crate::nat::nat44::Nat44;
use crate::nat::pool::{Endpoint, NONE};

impl Mappings {
    /// For a packet of this key, which comes from inside and has no session. Three steps: the subscriber's place, the subscriber,
    /// its first block and the mapping's place.
    pub fn foresee(&self, nat: &Nat44, step: usize, key: &Key4) {
        let (realm, address) = (key.realm(), key.source());
        if step == 0 {
            return self.subscribers.prefetch(realm, address);
        }
        let Some(s) = self.subscribers.guess(realm, address) else { return };
        let subscriber = &self.subscribers[s];
        if step == 1 {
            return prefetch(subscriber);
        }
        let pool = &nat.pools()[usize::from(subscriber.pool)];
        let (port, protocol) = (key.source_port(), key.protocol());
        let remote = Remote::of(pool.options().mapping, key);
        self.by_inside.prefetch(inside_hash(&self.hash, s, port, remote, protocol));
        if subscriber.first_block != NONE {
            pool.blocks().prefetch(subscriber.first_block, protocol);
        }
    }

    /// For the removal of the mapping of this public endpoint, if its last session goes: see
    /// [`crate::flow::table::Judge::approach`]. Three steps: its place and its port's, the mapping, its subscriber and other place.
    pub fn approach(&self, nat: &Nat44, step: usize, e: Endpoint, protocol: u8) {
        let hash = endpoint_hash(&self.hash, Realm(0), e.address, e.port, protocol);
        if step == 0 {
            self.by_public.prefetch(hash);
            if let Some(pool) = nat.pool_of(e.address)
                && let Some(block) = pool.block_of(e)
            {
                pool.blocks().prefetch_port(block, e.port, protocol);
            }
            return;
        }
        let Some(n) = self.by_public.guess(hash) else { return };
        let m = &self.mappings[n];
        if step == 1 {
            prefetch(m);
        } else if m.sessions == 1 {
            prefetch(&self.subscribers[m.subscriber]);
            self.by_inside.prefetch(m.inside_hash(&self.hash));
        }
    }
}
