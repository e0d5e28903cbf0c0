//! The edge's own addresses, told to the links they are on: gratuitous ARP, duplicate address detection, advertisements and
//! multicast listener reports at start and when a link returns, and defence against others that use them. The rules are
//! [`crate::neigh::Announcer`]'s, one a port; here its outputs become frames, and conflicts reach the operator's board.
//!
//! Guarantees: what is announced takes its share of the limit of solicitations, so that many addresses never keep a next hop
//! from being resolved. Never: logs; a control thread does, from the board.

use super::core::Core;
use super::message;
use super::nd::ALL_NODES;
use super::world::{Interface, World};
use crate::neigh::{Announcement, Announcer};
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
    let (mut budget, announcements, all) = (TICK_BUDGET, &mut owner.announcements, &mut owner.solicitations);
    let allow = || {
        let allowed = budget > 0 && announcements.allow(now) && all.allow(now);
        budget -= usize::from(allowed);
        allowed
    };
    let returned = |port| owner.board.take_returned(port);
    announce(&mut owner.announcers, returned, now, allow, &mut |output| outputs.push(output));
    for output in outputs {
        say(core, world, output);
    }
}

/// What is due on every port, each first in its turn; from the beginning where the link has returned, as a switch that lost it has
/// forgotten where we are, and the hosts behind another one never heard.
fn announce(
    announcers: &mut [Announcer],
    returned: impl Fn(usize) -> bool,
    now: u32,
    mut allow: impl FnMut() -> bool,
    out: &mut impl FnMut(Announcement),
) {
    let ports = announcers.len();
    for port in (0..ports).map(|n| (now as usize + n) % ports) {
        let announcer = &mut announcers[port];
        if returned(port) {
            announcer.restart();
        }
        if !announcer.is_done() {
            announcer.tick(now, &mut allow, out);
        }
    }
}

/// Neighbour owner: `mac` uses an address of ours, or one of the NAT's, on that interface.
pub fn conflict(core: &mut Core, world: &World, interface: u16, address: IpAddr, mac: MacAddr) {
    let now = core.now;
    let Some(owner) = core.neighbors.as_mut() else { return };
    owner.board.conflicts.note(interface, address, mac, now);
    let mut defence = None;
    let port = world.interfaces[usize::from(interface)].port;
    if let Some(announcer) = owner.announcers.get_mut(usize::from(port)) {
        announcer.conflict(interface, address, now, &mut |output| defence = Some(output));
    }
    if let Some(output) = defence.filter(|_| owner.solicitations.allow(now)) {
        say(core, world, output);
    }
}

/// Neighbour owner: a querier asks for our multicast groups.
pub fn queried(core: &mut Core) {
    let now = core.now;
    if let Some(owner) = core.neighbors.as_mut() {
        owner.announcers.iter_mut().for_each(|announcer| announcer.queried(now));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Board;

    /// Two ports with an address each, as interfaces 0 and 1.
    fn announcers() -> [Announcer; 2] {
        [0, 1].map(|n| Announcer::new([(n, IpAddr::from([192, 0, 2, n as u8]))]))
    }

    /// Who is probed (true) or announced at that time, by interface.
    fn said(announcers: &mut [Announcer], board: &Board, now: u32, mut budget: usize) -> Vec<(u16, bool)> {
        let mut said = vec![];
        let allow = || {
            let allowed = budget > 0;
            budget -= usize::from(allowed);
            allowed
        };
        announce(announcers, |port| board.take_returned(port), now, allow, &mut |output| match output {
            Announcement::Probe { interface, .. } => said.push((interface, true)),
            Announcement::Announce { interface, .. } => said.push((interface, false)),
            Announcement::Join { .. } => (),
        });
        said.sort_unstable();
        said
    }

    #[test]
    fn a_link_that_returns_is_told_again_and_no_other() {
        let (board, mut announcers) = (Board::new(1, 2), announcers());
        for (now, probes) in [(0, true), (1000, false), (3000, false)] {
            assert_eq!(said(&mut announcers, &board, now, 9), [(0, probes), (1, probes)]);
        }
        assert_eq!(said(&mut announcers, &board, 60_000, 9), [], "all is said");
        board.link_returned(1);
        board.link_returned(7); // there is no such port
        assert_eq!(said(&mut announcers, &board, 60_001, 9), [(1, true)]);
        assert_eq!(said(&mut announcers, &board, 60_002, 9), [], "once");
        assert_eq!(said(&mut announcers, &board, 61_001, 9), [(1, false)]);
        assert_eq!(said(&mut announcers, &board, 63_001, 9), [(1, false)]);
        assert!(announcers.iter().all(Announcer::is_done));
    }

    #[test]
    fn a_link_that_comes_and_goes_holds_up_no_other() {
        let (board, mut announcers) = (Board::new(1, 2), announcers());
        let mut of_the_other = 0;
        for now in 0..4000 {
            board.link_returned(0);
            of_the_other += said(&mut announcers, &board, now, 1).iter().filter(|said| said.0 == 1).count();
        }
        assert_eq!(of_the_other, 3);
    }
}
