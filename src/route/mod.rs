//! Longest-prefix routes for IPv4 and IPv6, a table of its own for every realm.
//!
//! A [`RouteTable`] is built once, by a [`RouteTableBuilder`], and never changes: a new configuration builds a new
//! table, and every worker reads the one it holds. It is asked when a session is made or its path is resolved again,
//! never for each packet.
//!
//! Guarantees: the most specific prefix of the realm wins (RFC 1812 section 5.2.4.3); a realm never sees another
//! realm's routes; a prefix has one route a realm; a lookup neither allocates nor locks.
//! Never: resolves a gateway through other routes (a gateway is on the link of its interface) or knows whether a next
//! hop answers; that is the business of [`crate::neigh`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

#[cfg(test)]
mod tests;

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The index of the interface that it leaves by.
    pub interface: u16,
    /// The router on that link; `None` where the prefix is connected, so that the destination itself is the next hop.
    pub gateway: Option<IpAddr>,
}

impl NextHop {
    /// The address whose link-layer address the packet needs: the gateway's, or else the destination's own.
    pub fn neighbor(&self, destination: IpAddr) -> IpAddr {
        self.gateway.unwrap_or(destination)
    }
}

/// What a prefix says about the packets that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Forward.
    Via(NextHop),
    /// Drop. It takes part in the choice like any other route: no shorter prefix is asked instead.
    Blackhole,
}

impl From<NextHop> for Route {
    fn from(next_hop: NextHop) -> Self {
        Route::Via(next_hop)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Via(NextHop { interface, gateway: Some(gateway) }) => {
                write!(f, "via {gateway} on interface {interface}")
            }
            Route::Via(NextHop { interface, gateway: None }) => {
                write!(f, "connected to interface {interface}")
            }
            Route::Blackhole => f.write_str("blackhole"),
        }
    }
}

/// Why a route is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A realm has one route for a prefix: two would make the choice depend on their order.
    #[error("realm {realm} has two routes for {prefix}: {first}, and {second}; remove one of them")]
    Duplicate {
        /// The realm that both are in.
        realm: u16,
        /// The prefix, its host bits cleared.
        prefix: IpNet,
        /// The route that stays.
        first: Route,
        /// The route that is refused.
        second: Route,
    },
}

#[derive(Debug, Default)]
struct Realm {
    ipv4: PrefixMap<Ipv4Net, Route>,
    ipv6: PrefixMap<Ipv6Net, Route>,
}

/// Collects routes for a [`RouteTable`].
#[derive(Debug, Default)]
pub struct RouteTableBuilder {
    realms: BTreeMap<u16, Realm>,
}

impl RouteTableBuilder {
    /// Adds a route. Host bits of the prefix are ignored: `10.0.0.1/8` is `10.0.0.0/8`.
    ///
    /// # Errors
    /// [`RouteError::Duplicate`] when the realm has a route for this prefix; the first one stays.
    pub fn insert(&mut self, realm: u16, prefix: IpNet, route: impl Into<Route>) -> Result<(), RouteError> {
        let (prefix, second) = (prefix.trunc(), route.into());
        let routes = self.realms.entry(realm).or_default();
        let known = match prefix {
            IpNet::V4(net) => routes.ipv4.get(&net),
            IpNet::V6(net) => routes.ipv6.get(&net),
        };
        if let Some(&first) = known {
            return Err(RouteError::Duplicate { realm, prefix, first, second });
        }
        match prefix {
            IpNet::V4(net) => routes.ipv4.insert(net, second),
            IpNet::V6(net) => routes.ipv6.insert(net, second),
        };
        Ok(())
    }

    /// The finished table.
    pub fn build(self) -> RouteTable {
        RouteTable { realms: self.realms.into_iter().collect() }
    }
}

/// The routes of every realm. Immutable, so that threads share it behind an `Arc`.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Sorted by realm.
    realms: Box<[(u16, Realm)]>,
}

impl RouteTable {
    /// The route of the longest prefix of `realm` that covers `destination`; `None` when there is none.
    pub fn lookup4(&self, realm: u16, destination: Ipv4Addr) -> Option<Route> {
        let (_, route) = self.realm(realm)?.ipv4.get_lpm(&destination.into())?;
        Some(*route)
    }

    /// The route of the longest prefix of `realm` that covers `destination`; `None` when there is none.
    pub fn lookup6(&self, realm: u16, destination: Ipv6Addr) -> Option<Route> {
        let (_, route) = self.realm(realm)?.ipv6.get_lpm(&destination.into())?;
        Some(*route)
    }

    fn realm(&self, realm: u16) -> Option<&Realm> {
        let at = self.realms.binary_search_by_key(&realm, |(number, _)| *number).ok()?;
        Some(&self.realms[at].1)
    }
}
