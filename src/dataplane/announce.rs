//! The edge's own addresses, told to the links they are on: gratuitous ARP, duplicate address detection, advertisements and
//! multicast listener reports at start, and defence against others that use them. The rules are
//! [`crate::neigh::Announcer`]'s; here its outputs become frames, and conflicts reach the operator's board.
//!
//! Guarantees: what is announced takes its share of the limit of solicitations, so that many addresses never keep a next hop
//! from being resolved. Never: logs; a control thread does, from the board.

use super::core::Core;
use super::message;
use super::nd::ALL_NODES;
use super::world::{Interface, World};
use crate::neigh::Announcement;
use crate::packet::build::Path;
use crate::packet::ndp::NeighborAdvertisement;
use crate::packet::vlan::Tags;
use crate::packet::{Arp, MacAddr};
use arrayvec::ArrayVec;
use std::net::{IpAddr, Ipv4Addr};

/// Messages that one tick announces at most (and one more where two belong together).
const TICK_BUDGET: usize = 4;

/// Neighbour owner: lets time pass, and takes up the next neighbour that is to be monitored. Every other worker: nothing.
pub fn tick(core: &mut Core, world: &World) {
    let (now, mut outputs) = (core.now, ArrayVec::<Announcement, { TICK_BUDGET + 1 }>::new());
    let Some(owner) = core.neighbors.as_mut() else { return };
    owner.board.conflicts.expire(now);
    if !owner.announcer.is_done() {
        let (mut budget, announcements, all) =
            (TICK_BUDGET, &mut owner.announcements, &mut owner.solicitations);
        let allow = || {
            let allowed = budget > 0 && announcements.allow(now) && all.allow(now);
            budget -= usize::from(allowed);
            allowed
        };
        owner.announcer.tick(now, allow, &mut |output| outputs.push(output));
    }
    for output in outputs {
        say(core, world, output);
    }
}

/// Neighbour owner: `mac` uses an address of ours, or one of the NAT's, on that interface.
pub fn conflict(core: &mut Core, world: &World, interface: u16, address: IpAddr, mac: MacAddr) {
    let now = core.now;
    let Some(owner) = core.neighbors.as_mut() else { return };
    owner.board.conflicts.note(interface, address, mac, now);
    let mut defence = None;
    owner.announcer.conflict(interface, address, now, &mut |output| defence = Some(output));
    if let Some(output) = defence.filter(|_| owner.solicitations.allow(now)) {
        say(core, world, output);
    }
}

/// Neighbour owner: a querier asks for our multicast groups.
pub fn queried(core: &mut Core) {
    let now = core.now;
    if let Some(owner) = core.neighbors.as_mut() {
        owner.announcer.queried(now);
    }
}

/// Sends it, unless the address is ours no more: its pool was removed. Without a buffer it stays unsaid: each is said more
/// than once.
fn say(core: &mut Core, world: &World, announcement: Announcement) {
    let (Announcement::Probe { interface, addr }
    | Announcement::Announce { interface, addr }
    | Announcement::Join { interface, addr }) = announcement;
    if !world.has(interface, addr) {
        return;
    }
    let own = &world.interfaces[usize::from(interface)];
    let pool = &core.pool;
    let frame = match announcement {
        Announcement::Probe { addr: IpAddr::V4(addr), .. } => message::arp(
            pool,
            &to(own, MacAddr::BROADCAST),
            &Arp::request(own.mac, Ipv4Addr::UNSPECIFIED, addr),
        ),
        Announcement::Announce { addr: IpAddr::V4(addr), .. } => {
            message::arp(pool, &to(own, MacAddr::BROADCAST), &Arp::request(own.mac, addr, addr))
        }
        Announcement::Probe { addr: IpAddr::V6(addr), .. } => {
            message::duplicate_address_probe(pool, &to(own, MacAddr::ZERO), addr)
        }
        Announcement::Announce { addr: IpAddr::V6(target), .. } => {
            let path = to(own, MacAddr::for_ipv6_multicast(ALL_NODES));
            let said = NeighborAdvertisement { target, router: true, solicited: false, override_: true };
            message::neighbor_advertisement(pool, &path, target, ALL_NODES, &said)
        }
        Announcement::Join { addr: IpAddr::V6(addr), .. } => {
            message::listener_report(pool, &to(own, MacAddr::ZERO), own.link_local(), addr)
        }
        Announcement::Join { addr: IpAddr::V4(_), .. } => None,
    };
    if let Some(frame) = frame {
        core.originate(own, frame);
    }
}

fn to(own: &Interface, destination: MacAddr) -> Path {
    Path { destination, source: own.mac, tags: Tags::NONE }
}
