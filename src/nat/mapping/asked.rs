//! What a subscriber asks for of its mappings ([`crate::nat::pcp`]): that they live, that strangers come in, which public endpoint.

use super::Mappings;
use crate::nat::nat44::Nat44;
use crate::nat::pool::{Endpoint, PoolState};
use std::net::Ipv4Addr;

/// Who comes in by a mapping, beyond those who have a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody yet: it is not found from outside.
    #[default]
    Unpublished,
    /// Whom its pool's filter lets in, as long as packets from inside keep it.
    Implicit,
    /// Whom its subscriber has asked for (RFC 6887 section 11).
    Open,
    /// Nobody: what its subscriber asked for is over, and only strangers' sessions are left.
    Closed,
}

/// Which public endpoint a new mapping would like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    pub address: Option<Ipv4Addr>,
    pub port: Option<u16>,
    /// That or none.
    pub exact: bool,
}

impl Mappings {
    /// Whether the address that is wanted, and no other, is not the subscriber's.
    pub(super) fn is_elsewhere(&self, s: u32, want: &Want) -> bool {
        let own = Ipv4Addr::from(self.subscribers[s].public);
        want.exact && want.address.is_some_and(|address| address != own)
    }

    /// The mapping of all ports of a protocol, or of all protocols, that who holds the whole of a public address has asked for.
    pub fn open_for_all(&self, nat: &Nat44, e: Endpoint, protocol: u8) -> Option<u32> {
        nat.pool_of(e.address).filter(|pool| pool.is_whole() && pool.state() == PoolState::Active)?;
        let all = Endpoint { port: 0, ..e };
        let found = [protocol, 0].map(|protocol| self.find_public(nat, all, protocol));
        found.into_iter().flatten().find(|n| self.mappings[*n].is_open())
    }

    /// Its subscriber has asked for it: it lives until that is over. `opens` says that packets from outside may come in; it is
    /// published.
    pub fn hold(&mut self, n: u32, opens: bool) {
        let m = &mut self.mappings[n];
        m.holds += 1;
        if opens {
            debug_assert!(m.access != Access::Unpublished);
            m.access = Access::Open;
        }
        self.subscribers[m.subscriber].explicit += 1;
    }

    /// That is over. Whoever came in because of it goes on, and keeps the door open for nobody else.
    pub fn release(&mut self, nat: &Nat44, n: u32, closes: bool, now: u32) {
        let m = &mut self.mappings[n];
        m.holds -= 1;
        if closes {
            let has_own = m.sessions > u32::from(m.from_outside);
            m.access = if has_own { Access::Implicit } else { Access::Closed };
        }
        self.subscribers[m.subscriber].explicit -= 1;
        self.remove_unused(nat, n, now);
    }

    /// A session from outside was answered: from now on packets from inside keep it.
    pub fn answered(&mut self, n: u32) {
        self.mappings[n].keepers += 1;
    }
}
