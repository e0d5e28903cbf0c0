//! What all workers share: made at start, read by everybody, changed by nobody but through the tables' own rules.

use super::classify::Ingress;
use super::police::Policer;
use super::reroute;
use super::sources;
use super::tunnels::Tunnels;
use super::vlan::{Links, Vlan};
use crate::firewall::Firewall;
use crate::flow::{Adjacencies, FlowTable, Realm};
use crate::nat::Nat44;
use crate::packet::{DropReason, MacAddr};
use crate::route::store::Look;
use crate::route::{Route, RouteTable, Routes};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The worker that owns the neighbours and hears all ARP.
pub const NEIGHBOR_OWNER: usize = 0;

/// A port's place in a realm.
#[derive(Clone, Debug)]
pub struct Interface {
    pub name: String,
    /// Number among the configured ports.
    pub port: u16,
    pub realm: Realm,
    pub mac: MacAddr,
    /// The edge's own addresses, with their connected prefixes.
    pub addresses: Vec<IpNet>,
    pub vlan: Vlan,
    /// Bytes of the largest IP packet.
    pub mtu: u16,
    pub tcp_mss: TcpMss,
    /// Whether the kernel has an interface like it (the exception path).
    pub mirrored: bool,
}

/// Which maximum segment size TCP may announce across an interface (RFC 9293 section 3.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMss {
    /// What fits the smaller MTU of the two interfaces.
    Auto,
    /// As the hosts say.
    Off,
    /// That, and what [`TcpMss::Auto`] allows.
    AtMost(u16),
}

impl Interface {
    /// The largest segment that TCP may announce across it, where the headers take that many bytes; `None` for no limit.
    pub fn segment_limit(&self, headers: u16) -> Option<u16> {
        let fits = self.mtu.saturating_sub(headers);
        match self.tcp_mss {
            TcpMss::Auto => Some(fits),
            TcpMss::Off => None,
            TcpMss::AtMost(most) => Some(most.min(fits)),
        }
    }

    /// How packets come in by it, being number `number`.
    pub fn ingress(&self, number: u16) -> Ingress {
        let [a, b, c, d, e, f] = self.mac.0;
        let mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        Ingress { interface: number, realm: self.realm, mac }
    }
}

/// See the module.
pub struct World {
    pub workers: usize,
    /// Whether the receiving worker spreads packets over all by their home (`distribute = "software"`).
    pub spread: bool,
    pub interfaces: Vec<Interface>,
    /// The interfaces of each port.
    pub links: Vec<Links>,
    /// Changed by the control side's [`crate::route::RouteStore`].
    pub routes: Arc<Routes>,
    pub flows: Arc<FlowTable>,
    pub adjacencies: Adjacencies,
    pub nat: Option<Arc<Nat44>>,
    pub firewall: Option<Arc<Firewall>>,
    /// Where there are tunnels to other edges.
    pub tunnels: Option<Tunnels>,
    /// By realm.
    pub sources: Vec<sources::Rules>,
    /// Where subscribers have a limit of packets.
    pub policer: Option<Policer>,
}

impl World {
    /// Whether this is an address of the edge's own in that realm.
    pub fn is_own(&self, realm: Realm, address: Ipv4Addr) -> bool {
        self.in_realm(realm).any(|i| i.addresses.iter().any(|n| n.addr() == IpAddr::V4(address)))
    }

    fn in_realm(&self, realm: Realm) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(move |i| i.realm == realm)
    }

    /// The directed broadcast address of a connected prefix of that realm (RFC 1812 section 5.3.5).
    pub fn is_broadcast(&self, realm: Realm, address: Ipv4Addr) -> bool {
        self.in_realm(realm).flat_map(|i| &i.addresses).any(|n| match n {
            IpNet::V4(n) => n.prefix_len() < 31 && (n.broadcast() == address || n.network() == address),
            IpNet::V6(_) => false,
        })
    }

    /// Whether the edge answers ARP for this address on that interface: its own ones there, and the NAT addresses that lie
    /// in a connected prefix of an outside interface.
    pub fn answers_for(&self, interface: u16, address: Ipv4Addr) -> bool {
        let i = &self.interfaces[usize::from(interface)];
        let own = i.addresses.iter().any(|n| n.addr() == IpAddr::V4(address));
        let nat = self.nat.as_deref().is_some_and(|nat| {
            nat.is_outside(i.realm) && nat.contains(address) && self.is_on_link(interface, address)
        });
        own || nat
    }

    /// Whether an address lies in a connected prefix of that interface.
    pub fn is_on_link(&self, interface: u16, address: Ipv4Addr) -> bool {
        let a = IpAddr::V4(address);
        self.interfaces[usize::from(interface)].addresses.iter().any(|n| n.contains(&a))
    }

    /// The edge's own IPv4 address that speaks on an interface: one in the prefix of `towards` if there is one.
    pub fn speaks_as(&self, interface: u16, towards: Ipv4Addr) -> Option<Ipv4Addr> {
        let addresses = &self.interfaces[usize::from(interface)].addresses;
        let v4 = |n: &IpNet| match n {
            IpNet::V4(n) => Some(n.addr()),
            IpNet::V6(_) => None,
        };
        let near = addresses.iter().find(|n| n.contains(&IpAddr::V4(towards))).and_then(v4);
        near.or_else(|| addresses.iter().find_map(v4))
    }

    /// The routes as they are now.
    pub fn routes(&self) -> Look {
        self.routes.look()
    }

    /// The interface and the neighbour that lead a flow to a destination in a realm: among several next hops the flow's own,
    /// as far as it is usable.
    ///
    /// # Errors
    /// What the routes say instead.
    pub fn next_hop(
        &self,
        routes: &RouteTable,
        realm: Realm,
        destination: impl Into<IpAddr>,
        flow_hash: u64,
    ) -> Result<(u16, IpAddr), DropReason> {
        let destination = destination.into();
        match routes.lookup(realm.0, destination).ok_or(DropReason::NoRoute)? {
            Route::Via(hops) => {
                let hop = hops.choose(flow_hash, |hop| reroute::is_usable(self, hop, destination));
                Ok((hop.interface, hop.neighbor(destination)))
            }
            Route::Blackhole => Err(DropReason::RouteBlackhole),
            Route::Unreachable => Err(DropReason::RouteUnreachable),
            Route::Prohibit => Err(DropReason::RouteProhibited),
        }
    }
}
