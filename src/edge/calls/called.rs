//! Whom the protocol's keys mean: a host behind this edge, by one of its names. By that of a single service (an SFQDN) it is a party of
//! its own: of that service alone, with sessions of its own, so that whoever calls another of the host's names has another one.
//!
//! Guarantees: a key is one host's and one name's. Never: says that the host, or its name, is still there.

use std::net::{IpAddr, Ipv4Addr};

use arrayvec::ArrayVec;

use crate::config::{Host, Services};
use crate::edge::cetp::terms::HostKey;
use crate::edge::hosts::names::Which;
use crate::edge::hosts::{Found, HostId, HostRef, NameHash};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    pub host: HostId,
    pub which: Which,
}

impl Called {
    /// By its own name.
    pub fn host(host: HostId) -> Called {
        Called { host, which: Which::OWN }
    }

    /// By the name that it was found by. Nobody calls by the label of a port: of those a host has more than there are sessions, and each
    /// would be one.
    pub fn by(found: &Found<'_>) -> Option<Called> {
        Some(Called { host: found.host.id, which: found.which? })
    }

    /// The last key of a host: none of its others is greater.
    pub fn last(host: HostId) -> HostKey {
        Called { host, which: Which::from_number(u32::MAX) }.into()
    }

    /// What can be had of it by that name; `None` where the host has it no more.
    pub fn services(&self, host: &HostRef<'_>) -> Option<Services> {
        let (_, target) = host.named(self.which)?;
        Some(target.map_or(Services::ANY, Services::of))
    }

    /// As whom the called host sees the other one: of each party somebody else, so that its packets tell by which session they go.
    pub fn sees(&self, peer: NameHash) -> NameHash {
        let which = u128::from(self.which.get());
        (u128::from_be_bytes(peer) ^ which).to_be_bytes()
    }
}

/// By which addresses a host may be in a session.
pub fn addresses(host: &HostRef<'_>) -> ArrayVec<Ipv4Addr, { Host::ADDRESSES_MAX }> {
    let v4 = host.parts().addresses().filter_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    v4.take(Host::ADDRESSES_MAX).collect()
}

impl From<Called> for HostKey {
    fn from(called: Called) -> HostKey {
        HostKey(u64::from(called.host.get()) << 32 | u64::from(called.which.get()))
    }
}

impl From<HostKey> for Called {
    fn from(key: HostKey) -> Called {
        let host = HostId::from_number((key.0 >> 32) as u32);
        Called { host, which: Which::from_number(key.0 as u32) }
    }
}
