//! Routing locators: where an edge is reached between the realms.

use crate::packet::MacAddr;
use arrayvec::ArrayVec;
use std::net::{Ipv4Addr, Ipv6Addr};

/// RLOCs of one family that one edge may tell.
pub const RLOCS: usize = 8;

/// A routing locator: an address of an edge between the realms. Ports say nothing of who it is: they carry the entropy of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rloc {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Ethernet(MacAddr),
}

impl Rloc {
    /// On which carrier it is reached.
    pub const fn carrier(self) -> Carrier {
        match self {
            Rloc::V4(_) => Carrier::UdpIpv4,
            Rloc::V6(_) => Carrier::UdpIpv6,
            Rloc::Ethernet(_) => Carrier::Ethernet,
        }
    }
}

impl std::fmt::Display for Rloc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rloc::V4(address) => address.fmt(f),
            Rloc::V6(address) => address.fmt(f),
            Rloc::Ethernet(address) => address.fmt(f),
        }
    }
}

/// What carries messages and tunnelled packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Carrier {
    UdpIpv4 = 0,
    UdpIpv6 = 1,
    Ethernet = 2,
}

/// A set of carriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Carriers(u8);

impl Carriers {
    /// All that there are.
    pub const ALL: Carriers = Carriers(0b111);

    /// As the wire has it: bit n is the carrier of number n. `None` for none at all, and where one isn't known.
    pub const fn from_bits(bits: u8) -> Option<Carriers> {
        if bits != 0 && bits & !Carriers::ALL.0 == 0 { Some(Carriers(bits)) } else { None }
    }

    pub const fn bits(self) -> u8 {
        self.0
    }

    #[must_use]
    pub const fn with(self, carrier: Carrier) -> Carriers {
        Carriers(self.0 | 1 << carrier as u8)
    }

    pub const fn contains(self, carrier: Carrier) -> bool {
        self.0 >> carrier as u8 & 1 == 1
    }

    /// What both have.
    pub const fn intersection(self, other: Carriers) -> Carriers {
        Carriers(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// An RLOC with its place among the others: the lowest order first, among equals the lowest preference (as NAPTR's, RFC 3403
/// section 4.1). Neighbours that have both in common are one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ranked<A> {
    pub order: u8,
    pub preference: u8,
    pub address: A,
}

/// What a Reachability TLV tells.
pub type Rlocs<A> = ArrayVec<Ranked<A>, RLOCS>;
