//! Longest-prefix routes for IPv4 and IPv6, a table of its own for every realm.
//!
//! A [`RouteTable`] never changes. Workers read the published one through [`Routes`]; the one who changes routes, a
//! [`RouteStore`] on the control side, makes the next table from it, publishes that, and keeps the old one until no worker
//! reads it any more. A table is asked when a session is made or its path is resolved again, never for each packet.
//!
//! Guarantees: the most specific prefix of the realm wins (RFC 1812 section 5.2.4.3); a realm never sees another
//! realm's routes; a prefix has one route a realm, with up to [`NextHops::MAX`] next hops of equal cost; a lookup neither
//! allocates, frees, locks nor waits.
//! Never: resolves a gateway through other routes (a gateway is on the link of its interface) or knows whether a next
//! hop answers; that is the business of [`crate::neigh`].
//!
//! | file | what it is |
//! |---|---|
//! | [`next_hops`] | next hops of equal cost, and the choice among them by the flow |
//! | [`table`] | the table: built, looked up |
//! | [`store`] | the table as it changes: published to workers, old ones reclaimed |

use std::fmt;

pub mod next_hops;
pub mod store;
pub mod table;

#[cfg(test)]
mod tests;

pub use next_hops::{NextHop, NextHops, NextHopsError};
pub use store::{Reader, RouteStore, Routes};
pub use table::{RouteError, RouteTable, RouteTableBuilder};

/// What a prefix says about the packets that it covers. Each takes part in the choice alike: no shorter prefix is asked
/// instead of one that drops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Forward by one of these.
    Via(NextHops),
    /// Drop, and say nothing.
    Blackhole,
    /// Drop, and say that the destination is unreachable (RFC 792; RFC 4443 section 3.1).
    Unreachable,
    /// Drop, and say that communication is administratively prohibited (RFC 1812 section 5.2.7.1; RFC 4443 section 3.1).
    Prohibit,
}

impl Route {
    /// The next hops; none where it drops.
    pub fn next_hops(&self) -> &[NextHop] {
        match self {
            Route::Via(next_hops) => next_hops.as_slice(),
            Route::Blackhole | Route::Unreachable | Route::Prohibit => &[],
        }
    }
}

impl From<NextHop> for Route {
    fn from(next_hop: NextHop) -> Self {
        Route::Via(next_hop.into())
    }
}

impl From<NextHops> for Route {
    fn from(next_hops: NextHops) -> Self {
        Route::Via(next_hops)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Via(next_hops) => next_hops.fmt(f),
            Route::Blackhole => f.write_str("blackhole"),
            Route::Unreachable => f.write_str("unreachable"),
            Route::Prohibit => f.write_str("prohibit"),
        }
    }
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An interface's prefix.
    Connected,
    /// The configuration.
    Static,
    /// The operator, while it runs: gone with the process.
    Runtime,
}

impl Origin {
    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Origin::Connected => "connected",
            Origin::Static => "static",
            Origin::Runtime => "runtime",
        }
    }
}
