//! The table of routes: built, and looked up by the longest prefix. See [`super`] for what it guarantees.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use super::{NextHop, Origin, Route};

/// Why a route is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// A realm has one route for a prefix: two would make the choice depend on their order.
    #[error(
        "realm {realm} has two routes for {prefix}: {first}, and {second}; remove one of them, or replace it"
    )]
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
    /// Connected routes come and go with the interfaces' addresses.
    #[error("the route to {prefix} in realm {realm} is an interface's prefix; change the interface instead")]
    Connected {
        /// Its realm.
        realm: u16,
        /// The prefix, its host bits cleared.
        prefix: IpNet,
    },
    /// There is nothing to delete.
    #[error("realm {realm} has no route for exactly {prefix}; name one that it has")]
    Absent {
        /// The realm that was asked.
        realm: u16,
        /// The prefix, its host bits cleared.
        prefix: IpNet,
    },
    /// The table is bounded.
    #[error("there are {0} routes, as many as may be; delete one first")]
    Full(usize),
    /// Tables that were replaced are still being read, so that no further one is made.
    #[error("the workers have not taken up the last {0} changes yet; try again, or see why they stand still")]
    Busy(usize),
}

/// A route in the table.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) route: Route,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug, Default)]
struct Realm {
    ipv4: PrefixMap<Ipv4Net, Entry>,
    ipv6: PrefixMap<Ipv6Net, Entry>,
}

impl Realm {
    fn get(&self, prefix: &IpNet) -> Option<&Entry> {
        match prefix {
            IpNet::V4(net) => self.ipv4.get(net),
            IpNet::V6(net) => self.ipv6.get(net),
        }
    }

    fn insert(&mut self, prefix: IpNet, entry: Entry) -> Option<Entry> {
        match prefix {
            IpNet::V4(net) => self.ipv4.insert(net, entry),
            IpNet::V6(net) => self.ipv6.insert(net, entry),
        }
    }

    fn remove(&mut self, prefix: &IpNet) -> Option<Entry> {
        match prefix {
            IpNet::V4(net) => self.ipv4.remove(net),
            IpNet::V6(net) => self.ipv6.remove(net),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (IpNet, &Entry)> {
        let ipv4 = self.ipv4.iter().map(|(net, entry)| (IpNet::V4(net), entry));
        ipv4.chain(self.ipv6.iter().map(|(net, entry)| (IpNet::V6(net), entry)))
    }
}

/// Collects routes for a [`RouteTable`].
#[derive(Debug, Default)]
pub struct RouteTableBuilder {
    realms: BTreeMap<u16, Arc<Realm>>,
}

impl RouteTableBuilder {
    /// Adds a route. Host bits of the prefix are ignored: `10.0.0.1/8` is `10.0.0.0/8`.
    ///
    /// # Errors
    /// [`RouteError::Duplicate`] when the realm has a route for this prefix; the first one stays.
    pub fn insert(
        &mut self,
        realm: u16,
        prefix: IpNet,
        route: impl Into<Route>,
        origin: Origin,
    ) -> Result<(), RouteError> {
        let (prefix, route) = (prefix.trunc(), route.into());
        let routes = Arc::make_mut(self.realms.entry(realm).or_default());
        if let Some(known) = routes.get(&prefix) {
            let first = known.route.clone();
            return Err(RouteError::Duplicate { realm, prefix, first, second: route });
        }
        routes.insert(prefix, Entry { route, origin });
        Ok(())
    }

    /// The finished table.
    pub fn build(self) -> RouteTable {
        RouteTable::of(self.realms)
    }
}

/// The routes of every realm. Immutable, so that threads share it behind an `Arc`. Tables share the realms in which they
/// don't differ.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Sorted by realm.
    realms: Box<[(u16, Arc<Realm>)]>,
    /// See [`Self::gateways`].
    gateways: Box<[NextHop]>,
    /// See [`Self::multipath_gateways`].
    multipath: Box<[NextHop]>,
}

impl RouteTable {
    fn of(realms: BTreeMap<u16, Arc<Realm>>) -> Self {
        let (mut gateways, mut multipath) = (BTreeSet::new(), BTreeSet::new());
        for (_, entry) in realms.values().flat_map(|realm| realm.iter()) {
            let next_hops = entry.route.next_hops();
            let with_gateway = || next_hops.iter().filter(|hop| hop.gateway.is_some());
            gateways.extend(with_gateway());
            if next_hops.len() > 1 {
                multipath.extend(with_gateway());
            }
        }
        Self {
            realms: realms.into_iter().collect(),
            gateways: gateways.into_iter().collect(),
            multipath: multipath.into_iter().collect(),
        }
    }

    /// The route of the longest prefix of `realm` that covers `destination`; `None` when there is none.
    pub fn lookup(&self, realm: u16, destination: IpAddr) -> Option<&Route> {
        match destination {
            IpAddr::V4(destination) => self.lookup4(realm, destination),
            IpAddr::V6(destination) => self.lookup6(realm, destination),
        }
    }

    /// The route of the longest prefix of `realm` that covers `destination`; `None` when there is none.
    pub fn lookup4(&self, realm: u16, destination: Ipv4Addr) -> Option<&Route> {
        let (_, entry) = self.realm(realm)?.ipv4.get_lpm(&destination.into())?;
        Some(&entry.route)
    }

    /// The route of the longest prefix of `realm` that covers `destination`; `None` when there is none.
    pub fn lookup6(&self, realm: u16, destination: Ipv6Addr) -> Option<&Route> {
        let (_, entry) = self.realm(realm)?.ipv6.get_lpm(&destination.into())?;
        Some(&entry.route)
    }

    /// The gateways of all routes, sorted, each once.
    pub fn gateways(&self) -> &[NextHop] {
        &self.gateways
    }

    /// The gateways of all routes with several next hops, sorted, each once: those whose usability decides a choice.
    pub fn multipath_gateways(&self) -> &[NextHop] {
        &self.multipath
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.realms.iter().map(|(_, realm)| realm.ipv4.len() + realm.ipv6.len()).sum()
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every route: by realm, IPv4 first, by prefix.
    pub fn iter(&self) -> impl Iterator<Item = (u16, IpNet, &Route, Origin)> {
        self.realms.iter().flat_map(|(number, realm)| {
            realm.iter().map(|(prefix, entry)| (*number, prefix, &entry.route, entry.origin))
        })
    }

    /// The route of exactly this prefix, and its origin.
    pub fn get(&self, realm: u16, prefix: IpNet) -> Option<(&Route, Origin)> {
        let entry = self.realm(realm)?.get(&prefix.trunc())?;
        Some((&entry.route, entry.origin))
    }

    /// A table that differs in one route; with `None` the prefix has none. The other realms are shared, this one is copied.
    pub(super) fn with(&self, realm: u16, prefix: IpNet, entry: Option<Entry>) -> Self {
        let mut realms: BTreeMap<u16, Arc<Realm>> = self.realms.iter().cloned().collect();
        let routes = Arc::make_mut(realms.entry(realm).or_default());
        match entry {
            Some(entry) => routes.insert(prefix, entry),
            None => routes.remove(&prefix),
        };
        Self::of(realms)
    }

    fn realm(&self, realm: u16) -> Option<&Realm> {
        let at = self.realms.binary_search_by_key(&realm, |(number, _)| *number).ok()?;
        Some(&self.realms[at].1)
    }
}
