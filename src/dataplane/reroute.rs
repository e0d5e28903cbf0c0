//! What the neighbour owner does so that sessions follow the routes: after a change of the routes, and when a gateway of a
//! route with several comes to answer.
//!
//! A session remembers the path to its next hop and doesn't ask the routes again. To make it ask, every adjacency is renewed
//! ([`crate::flow::Adjacencies::renew`]): the path that the session holds is void, and its next packet finds the route and the
//! same adjacency, or another one. No packet is lost by it.
//!
//! Guarantees: renews only after every worker has been quiescent since the change, because until then one may be between
//! its look at the old routes and what it remembers of it (see [`crate::route::store`]); at most 512 adjacencies a
//! tick, all of them after every change, however fast changes follow each other.
//! Never: publishes routes, or decides whether a next hop is usable.

use super::world::World;
use crate::flow::record::Record;
use crate::flow::{AdjacencyId, Hop, Path, Record4};
use crate::nat::tunnel;
use crate::neigh::Neighbors;
use crate::packet::{ipv4, ipv6};
use crate::route::NextHop;
use arrayvec::ArrayVec;
use std::net::IpAddr;

/// Adjacencies that one tick renews at most: some ten microseconds.
const STEP: usize = 512;
/// Gateways that one tick forgets at most.
const FORGET: usize = 16;

/// See the module. Of the neighbour owner.
#[derive(Debug, Default)]
pub struct Reroute {
    /// The change of routes that was seen last.
    seen: u64,
    /// Renews when every worker has reported this epoch. 0: nothing to wait for.
    after: u64,
    /// The id to be renewed next, and how many are left to renew.
    next: usize,
    left: usize,
    /// The place of the gateway to be looked at next; `None` where nobody is there to be asked.
    gateway: Option<usize>,
    /// Gateways of the routes before the last change may still be monitored.
    forgets: bool,
}

impl Reroute {
    /// One step of what is to be done. Answers a gateway, each in its turn, to be kept resolved with or without traffic: no
    /// packet asks for one of several while the others answer, and an operator wants to know of each.
    pub fn tick(&mut self, world: &World) -> Option<NextHop> {
        let changed = world.routes.epoch();
        if changed != self.seen {
            self.seen = changed;
            self.forgets = true;
            self.after = self.after.max(changed);
        }
        if self.after > 0 && world.flows.quiescence().reached(self.after) {
            self.after = 0;
            // Goes on from where it is, all the way round: a change never keeps another one's from coming to its end.
            self.left = world.adjacencies.capacity();
        }
        self.renew(world);
        self.look_at_a_gateway(world)
    }

    /// A neighbour has become usable. Where it is one of several gateways the flows that are its own come (back) to it.
    pub fn resolved(&mut self, world: &World, interface: u16, address: IpAddr) {
        let hop = NextHop { interface, gateway: Some(address) };
        if world.routes().multipath_gateways().binary_search(&hop).is_ok() {
            // A worker may be about to remember the path to another gateway, having seen this one unusable.
            self.after = world.flows.quiescence().retire();
        }
    }

    fn renew(&mut self, world: &World) {
        for _ in 0..self.left.min(STEP) {
            world.adjacencies.renew(AdjacencyId(self.next as u16));
            self.next = (self.next + 1) % world.adjacencies.capacity();
            self.left -= 1;
        }
    }

    fn look_at_a_gateway(&mut self, world: &World) -> Option<NextHop> {
        let routes = world.routes();
        let gateways = routes.gateways();
        let next = if self.gateway? + 1 < gateways.len() { self.gateway? + 1 } else { 0 };
        self.gateway = Some(next);
        gateways.get(next).copied()
    }

    /// From now on gateways are looked at: the links are live.
    pub fn keep_gateways(&mut self) {
        self.gateway = Some(0);
    }

    /// Whether the routes have changed since the last [`Self::forget`].
    pub fn may_forget(&self) -> bool {
        self.forgets
    }

    /// What no route names as a gateway any more is an ordinary neighbour again.
    pub fn forget(&mut self, world: &World, neighbors: &mut Neighbors, now: u32) {
        let routes = world.routes();
        let mut gone = ArrayVec::<(u16, IpAddr), FORGET>::new();
        for n in neighbors.iter(now).filter(|n| n.monitored) {
            let hop = NextHop { interface: n.interface, gateway: Some(n.addr) };
            if routes.gateways().binary_search(&hop).is_err() && gone.try_push((n.interface, n.addr)).is_err()
            {
                break;
            }
        }
        self.forgets = gone.is_full();
        for (interface, address) in gone {
            neighbors.forget(interface, address);
        }
    }
}

/// The path to a neighbour, and where it leads, if it is resolved.
pub fn resolved(world: &World, interface: u16, neighbor: IpAddr) -> Option<(Path, Hop)> {
    let path = world.adjacencies.lookup(interface, neighbor)?;
    Some((path, world.adjacencies.hop(path)?))
}

/// Whether a next hop towards `destination` can be sent to at once.
pub fn is_usable(world: &World, hop: &NextHop, destination: IpAddr) -> bool {
    resolved(world, hop.interface, hop.neighbor(destination)).is_some()
}

/// A hash of the flow that an IP packet belongs to, as it is to leave: addresses, protocol and, for TCP and UDP, ports.
/// All fragments of a datagram have the same one, and so do all packets of a flow that are not fragments. 0 for what is no IP
/// packet. It is not keyed: whoever chooses ports chooses among next hops, and gains nothing by it.
pub fn flow_hash(packet: &[u8]) -> u64 {
    match packet.first().map(|first| first >> 4) {
        Some(4) => flow_hash4(packet),
        Some(6) => flow_hash6(packet),
        _ => 0,
    }
}

fn flow_hash4(packet: &[u8]) -> u64 {
    let Some(header) = packet.first_chunk::<{ ipv4::HEADER_LENGTH }>() else { return 0 };
    let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
    let addresses = u64::from_be_bytes([s0, s1, s2, s3, d0, d1, d2, d3]);
    // More fragments, or an offset.
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let after = usize::from(header[0] & 0xf) * 4;
    let ports = if is_fragment { 0 } else { ports(header[9], packet.get(after..)) };
    fold(fold(0, addresses), u64::from(header[9]) << 32 | u64::from(ports))
}

/// The hash of the flow that packets of an IPv4 half belong to, as they leave.
pub fn flow_hash_of(record: &Record4) -> u64 {
    let (rewrite, protocol) = (tunnel::rewrite_of(record), record.key().protocol());
    let ports = if matches!(protocol, 6 | 17) { rewrite.ports.swap_bytes() } else { 0 };
    fold(fold(0, rewrite.addresses.swap_bytes()), u64::from(protocol) << 32 | u64::from(ports))
}

fn flow_hash6(packet: &[u8]) -> u64 {
    let Some(header) = packet.first_chunk::<{ ipv6::HEADER_LENGTH }>() else { return 0 };
    // Extension headers are not walked: such packets go by their addresses.
    let ports = ports(header[6], packet.get(ipv6::HEADER_LENGTH..));
    let (words, _) = header[8..].as_chunks::<8>();
    let addresses = words.iter().fold(0, |hash, word| fold(hash, u64::from_be_bytes(*word)));
    fold(addresses, u64::from(header[6]) << 32 | u64::from(ports))
}

fn ports(protocol: u8, transport: Option<&[u8]>) -> u32 {
    let is_tcp_or_udp = matches!(protocol, 6 | 17);
    let ports = transport.filter(|_| is_tcp_or_udp).and_then(|t| t.first_chunk::<4>());
    ports.map_or(0, |ports| u32::from_be_bytes(*ports))
}

/// Takes another word into a hash: both halves of a product, together.
fn fold(hash: u64, word: u64) -> u64 {
    let mixed = hash.rotate_left(32) ^ word ^ 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::build::{self, Ip, Transport};
    use crate::packet::{MacAddr, Protocol, udp};
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// An IP packet with UDP.
    fn packet(ip: Ip<'_>, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let path = build::Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
        let mut frame = vec![0; 200];
        let header = udp::Header { source_port: ports.0, destination_port: ports.1 };
        let length = build::frame(&mut frame, &path, &ip, &Transport::Udp(header, payload)).expect("it fits");
        frame.truncate(length);
        frame.split_off(14)
    }

    fn v4(source: u32, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let header = ipv4::Header::new(source.into(), Ipv4Addr::new(198, 51, 100, 7), Protocol::UDP);
        packet(Ip::V4(header), ports, payload)
    }

    fn v6(source: u128, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let header = ipv6::Header::new(source.into(), Ipv6Addr::LOCALHOST, Protocol::UDP);
        packet(Ip::V6(header), ports, payload)
    }

    #[test]
    fn every_address_and_port_counts() {
        let mut seen = HashSet::new();
        for n in 0..1000u16 {
            assert!(seen.insert(flow_hash(&v4(n.into(), (1, 2), b"x"))));
            assert!(seen.insert(flow_hash(&v4(7, (n + 10, 2), b"x"))));
            assert!(seen.insert(flow_hash(&v4(7, (1, n + 10), b"x"))));
            assert!(seen.insert(flow_hash(&v6(n.into(), (1, 2), b"x"))));
            assert!(seen.insert(flow_hash(&v6(7, (n + 10, 2), b"x"))));
            assert!(seen.insert(flow_hash(&v6(7, (1, n + 10), b"x"))));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, version in prop_oneof![Just(0x45u8), Just(0x4f), Just(0x60), any::<u8>()]) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            flow_hash(&bytes);
        }

        #[test]
        fn packets_of_a_flow_agree_and_so_do_fragments(
            source: u32, ports: (u16, u16), a in any::<[u8; 24]>(), b in any::<[u8; 24]>(), id: u16, offset in 0..0x2000u16,
        ) {
            let (mut first, mut second) = (v4(source, ports, &a), v4(source, ports, &b));
            second[4..6].copy_from_slice(&id.to_be_bytes());
            prop_assert_eq!(flow_hash(&first), flow_hash(&second));
            prop_assert_eq!(flow_hash(&v6(source.into(), ports, &a)), flow_hash(&v6(source.into(), ports, &b)));
            // The first fragment, whose ports could be read, and another one, without.
            first[6..8].copy_from_slice(&0x2000u16.to_be_bytes());
            second[6..8].copy_from_slice(&offset.max(1).to_be_bytes());
            second[20..24].copy_from_slice(&a[..4]);
            prop_assert_eq!(flow_hash(&first), flow_hash(&second));
        }
    }
}
