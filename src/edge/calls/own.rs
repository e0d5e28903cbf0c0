//! What the edge knows of itself, and by which certificates it knows others.
//!
//! Guarantees: of other edges the certificates of so many are kept as there may be associations, those of who hasn't spoken for longest
//! give way; each is validated anew when it counts. Never: keeps a certificate of somebody who has not signed.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::config::DomainName;
use crate::edge::cetp::association::handshake;
use crate::edge::cetp::message::{Carriers, Fqdn, Limits, Ranked, Rloc, Rlocs, Value};
use crate::edge::identity::load::Own as Keys;
use crate::edge::identity::{Certified, Identities};
use crate::edge::policy::Name;
use crate::flow::Realm;

/// An address of the edge's own between the realms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRloc {
    pub rloc: Rloc,
    /// In which packets between the edges travel.
    pub realm: Realm,
    /// Where that address is.
    pub interface: u16,
    /// Bytes of the largest packet that reaches other edges from there, outer headers included.
    pub mtu: u16,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Own {
    /// The edge's name: that of its certificate, if it has one.
    pub name: DomainName,
    /// UDP port of messages, here and at other edges.
    pub port: u16,
    /// In the order of preference; at least one.
    pub rlocs: Vec<OwnRloc>,
    /// Longest packet of a host that is taken out of a tunnel.
    pub mtu: u16,
    /// What another edge may have of this one where no policy says.
    pub limits: Limits,
    /// Seconds without a packet after which a session goes, where no policy says.
    pub timeout: u32,
}

impl Own {
    /// On which it takes packets and messages.
    pub fn carriers(&self) -> Carriers {
        self.rlocs.iter().fold(Carriers::default(), |all, own| all.with(own.rloc.carrier()))
    }

    /// For how many bytes of certificates there is room in its messages, whose CA is found at that address.
    pub fn room_for_certificates(&self, ca_address: Option<&str>) -> usize {
        let values = [
            self.told_v4(),
            self.told_v6(),
            self.told_ethernet(),
            Some(Value::Carriers(self.carriers())),
            Some(Value::Mtu(self.mtu)),
            ca_address.map(Value::CaAddress),
        ];
        let values: Vec<Value<'_>> = values.into_iter().flatten().collect();
        Fqdn::new(self.name.as_str()).map_or(0, |name| handshake::room_for_certificates(name, &values))
    }

    /// The own RLOC of that family that comes first.
    pub fn facing(&self, rloc: Rloc) -> Option<&OwnRloc> {
        self.rlocs.iter().find(|own| own.rloc.carrier() == rloc.carrier())
    }

    /// What messages tell of them, by family.
    pub(super) fn told<A>(&self, of: impl Fn(Rloc) -> Option<A>) -> Rlocs<A> {
        let each = self.rlocs.iter().filter_map(|own| of(own.rloc)).zip(0u8..);
        each.map(|(address, preference)| Ranked { order: 0, preference, address }).take(8).collect()
    }

    /// Those of IPv4, or of another family, as a value; none where there are none.
    pub(super) fn told_v4(&self) -> Option<Value<'static>> {
        let rlocs = self.told(|rloc| if let Rloc::V4(address) = rloc { Some(address) } else { None });
        (!rlocs.is_empty()).then_some(Value::RlocIpv4(rlocs))
    }

    pub(super) fn told_v6(&self) -> Option<Value<'static>> {
        let rlocs = self.told(|rloc| if let Rloc::V6(address) = rloc { Some(address) } else { None });
        (!rlocs.is_empty()).then_some(Value::RlocIpv6(rlocs))
    }

    pub(super) fn told_ethernet(&self) -> Option<Value<'static>> {
        let rlocs = self.told(|rloc| if let Rloc::Ethernet(address) = rloc { Some(address) } else { None });
        (!rlocs.is_empty()).then_some(Value::RlocEthernet(rlocs))
    }
}

/// Certificates in DER, leaf first.
type Chain = Vec<Box<[u8]>>;

/// Who is believed, and the edge's own key.
pub struct Credentials {
    pub(super) keys: Option<Keys>,
    identities: Identities,
    /// Those that edges have signed with, by name.
    chains: RefCell<LruCache<Box<str>, Chain>>,
}

impl Credentials {
    /// The certificates of so many other edges are kept.
    pub fn new(keys: Option<Keys>, identities: Identities, edges: NonZeroUsize) -> Credentials {
        Credentials { keys, identities, chains: RefCell::new(LruCache::new(edges)) }
    }

    pub fn identities(&self) -> &Identities {
        &self.identities
    }

    /// To change whom it believes: what is kept was believed by what was.
    pub fn identities_mut(&mut self) -> &mut Identities {
        &mut self.identities
    }

    /// An edge has signed itself.
    pub(super) fn keep(&self, name: Name<'_>, chain: &[&[u8]]) {
        let chain = chain.iter().map(|certificate| Box::from(*certificate)).collect();
        self.chains.borrow_mut().put(name.as_str().into(), chain);
    }

    /// The certificate of an edge that has signed itself, if it is still good at `now` seconds since 1970-01-01 UTC.
    pub(super) fn of_edge(&self, name: Name<'_>, now: u64) -> Option<Arc<Certified>> {
        let mut chains = self.chains.borrow_mut();
        let chain: Vec<&[u8]> = chains.get(name.as_str())?.iter().map(|certificate| &**certificate).collect();
        self.identities.identify(&chain, name, None, now).ok()
    }

    /// Edges whose certificates are kept.
    pub fn kept(&self) -> usize {
        self.chains.borrow().len()
    }
}

#[cfg(test)]
impl Credentials {
    /// For another life of the same edge.
    pub fn take_keys(&mut self) -> Option<Keys> {
        self.keys.take()
    }

    pub fn set_keys(&mut self, keys: Keys) {
        self.keys = Some(keys);
    }
}
