//! From a destination to a next hop. Any worker looks next hops up; one, the neighbour owner, asks for unknown ones, hears
//! all ARP, and holds packets meanwhile, within bounds.

use super::announce;
use super::board::Board;
use super::core::Core;
use super::errors;
use super::limit::TokenBucket;
use super::message;
use super::reroute::{self, Reroute};
use super::slow;
use super::world::{NEIGHBOR_OWNER, World};
use crate::dpdk::Mbuf;
use crate::flow::record::Common;
use crate::flow::{Hop, KeepsPath, Realm};
use crate::neigh::{AdjacencyId, Announcer, Heard, Neighbors, Output, Want};
use crate::packet::arp::Operation;
use crate::packet::build::Path;
use crate::packet::vlan::Tags;
use crate::packet::{Arp, DropReason, Link, MacAddr};
use crate::ring::Task;
use crate::route::NextHop;
use arrayvec::ArrayVec;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// Timers that one tick handles at most.
const TICK_BUDGET: usize = 16;
/// Packets that wait for one neighbour at most: `limits.neighbor_hold` allows no more.
const HELD_MOST: usize = 64;

/// The one worker's neighbours, and the packets that wait for them.
pub struct NeighborOwner {
    table: Neighbors,
    /// By the id that they wait for, with the realm that they leave into, oldest first. As many as the table lets be held.
    held: VecDeque<(AdjacencyId, Realm, Mbuf)>,
    /// Forgotten neighbours whose id others may still read, until that epoch.
    releasing: VecDeque<(u64, AdjacencyId)>,
    reroute: Reroute,
    pub(super) solicitations: TokenBucket,
    outputs: ArrayVec<Output, { TICK_BUDGET + 1 }>,
    /// By port, so that a link which comes and goes holds up no other's.
    pub(super) announcers: Box<[Announcer]>,
    /// The share of the solicitations that announcements may take.
    pub(super) announcements: TokenBucket,
    pub(super) board: Arc<Board>,
}

impl NeighborOwner {
    /// `hold_total` is the limit that `table` was made with, `capacity` its size.
    pub fn new(
        table: Neighbors,
        capacity: usize,
        hold_total: usize,
        solicitations: TokenBucket,
        board: Arc<Board>,
    ) -> Self {
        Self {
            table,
            held: VecDeque::with_capacity(hold_total + 1),
            releasing: VecDeque::with_capacity(capacity),
            reroute: Reroute::default(),
            solicitations,
            outputs: ArrayVec::new(),
            announcers: Box::new([]),
            announcements: TokenBucket::new(0, 0),
            board,
        }
    }

    /// Before it starts: what the announcer of each port says is sent, no more often than `announcements` allows.
    /// And every gateway is kept resolved, with or without traffic.
    pub fn announce(&mut self, announcers: Box<[Announcer]>, announcements: TokenBucket) {
        (self.announcers, self.announcements) = (announcers, announcements);
        self.reroute.keep_gateways();
    }
}

/// The next hop of a packet in `realm`, by its destination; where it belongs to a session, or to what many share, whose hash stands
/// beside it, that remembers it. What can't be resolved here goes to the neighbour owner.
#[cold]
pub fn towards(
    core: &mut Core,
    world: &World,
    mbuf: Mbuf,
    realm: Realm,
    session: Option<(&dyn KeepsPath, u64)>,
    hops: u8,
) {
    let Some(destination) = destination(&mbuf) else {
        return core.out.drop(mbuf, DropReason::Truncated);
    };
    // A fragment has none of its session's ports.
    let flow_hash = session.map_or_else(|| reroute::flow_hash(&mbuf.data()[14..]), |(_, hash)| hash);
    let (interface, neighbor) = match world.next_hop(core.routes.now(), realm, destination, flow_hash) {
        Ok(next) => next,
        Err(reason) => return core.out.drop(mbuf, reason),
    };
    if let Some((path, hop)) = reroute::resolved(world, interface, neighbor) {
        if let Some((session, _)) = session {
            session.set_path(path);
        }
        return core.send_to(mbuf, &hop);
    }
    let Some(owner) = core.neighbors.as_mut() else {
        return core.out.hand(NEIGHBOR_OWNER, mbuf, Task::Resolve { realm }, hops);
    };
    let want = owner.table.want(interface, neighbor, core.now, &mut |o| owner.outputs.push(o));
    match want {
        Want::Hold { id } => owner.held.push_back((id, realm, mbuf)),
        // It was only learnt: now its path is there for all, unless the table of paths is full.
        Want::Known(_) => {
            carry_out(core, world);
            match reroute::resolved(world, interface, neighbor) {
                Some((_, hop)) => core.send_to(mbuf, &hop),
                None => core.out.drop(mbuf, DropReason::NeighborsFull),
            }
        }
        Want::QueueFull => core.out.drop(mbuf, DropReason::NeighborQueueFull),
        Want::Unreachable => unreachable(core, world, mbuf, realm),
        Want::TableFull => core.out.drop(mbuf, DropReason::NeighborsFull),
    }
    carry_out(core, world);
}

/// A session, whose hash stands beside it, remembers its next hop in `realm` if that is resolved.
pub fn remember(
    core: &mut Core,
    world: &World,
    realm: Realm,
    destination: IpAddr,
    (session, flow_hash): (&Common, u64),
) {
    if let Ok((interface, neighbor)) = world.next_hop(core.routes.now(), realm, destination, flow_hash)
        && let Some((path, _)) = reroute::resolved(world, interface, neighbor)
    {
        session.set_path(path);
    }
}

/// Where the packet of an untagged frame goes.
fn destination(mbuf: &Mbuf) -> Option<IpAddr> {
    let frame = mbuf.data();
    if slow::is_ipv6(mbuf) {
        return frame.get(38..)?.first_chunk::<16>().map(|a| IpAddr::from(*a));
    }
    frame.get(30..)?.first_chunk::<4>().map(|a| IpAddr::from(*a))
}

/// Neighbour owner: an ARP message has come in.
pub fn heard_arp(core: &mut Core, world: &World, link: &Link<'_>, interface: u16) -> Result<(), DropReason> {
    core.punts.neighbors(interface, core.now)?;
    let arp = Arp::parse(link.payload)?;
    let own = &world.interfaces[usize::from(interface)];
    let for_us = world.answers_for(interface, arp.target_ip);
    // Somebody claims an address of ours, or speaks for a group.
    if !arp.sender_mac.is_unicast() {
        return Err(DropReason::ArpInvalid);
    }
    if world.answers_for(interface, arp.sender_ip) {
        // Our own words, come back by a loop in the link, are nobody's claim.
        if arp.sender_mac != own.mac {
            announce::conflict(core, world, interface, IpAddr::V4(arp.sender_ip), arp.sender_mac);
        }
        return Err(DropReason::ArpInvalid);
    }
    let heard = match arp.operation {
        Operation::Request => {
            if for_us {
                let link = Path { destination: arp.sender_mac, source: own.mac, tags: Tags::NONE };
                let reply = message::arp(&core.pool, &link, &arp.reply(own.mac));
                core.originate(own, reply.ok_or(DropReason::NoBuffer)?);
            }
            // A stranger is learnt if it is on the link; one that was asked for may be a gateway outside of every prefix.
            Heard::Request { for_us: for_us && world.is_on_link(interface, arp.sender_ip) }
        }
        Operation::Reply => Heard::Reply { solicited: arp.target_mac == own.mac, overrides: true },
    };
    if !arp.is_probe() {
        learn(core, world, interface, IpAddr::V4(arp.sender_ip), Some(arp.sender_mac), heard);
    }
    Ok(())
}

/// Neighbour owner: a message says where `address` is.
pub(super) fn learn(
    core: &mut Core,
    world: &World,
    interface: u16,
    address: IpAddr,
    mac: Option<MacAddr>,
    heard: Heard,
) {
    if let Some(owner) = core.neighbors.as_mut() {
        let out = &mut |o| owner.outputs.push(o);
        owner.table.heard(interface, address, mac, heard, core.now, out);
    }
    carry_out(core, world);
}

/// Neighbour owner: lets time pass. Every other worker: nothing.
pub fn tick(core: &mut Core, world: &World) {
    let Some(owner) = core.neighbors.as_mut() else { return };
    owner.table.tick(core.now, TICK_BUDGET, &mut |o| owner.outputs.push(o));
    if let Some(NextHop { interface, gateway: Some(gateway) }) = owner.reroute.tick(world) {
        // With a full table it is tried again when its turn comes.
        let _ = owner.table.monitor(interface, gateway, core.now, &mut |o| owner.outputs.push(o));
    }
    if owner.reroute.may_forget() {
        owner.reroute.forget(world, &mut owner.table, core.now);
    }
    while let Some(&(epoch, id)) = owner.releasing.front()
        && world.flows.quiescence().reached(epoch)
    {
        owner.releasing.pop_front();
        owner.table.release(id);
    }
    if owner.board.is_asked() {
        let held = |id: u16| owner.held.iter().filter(|h| h.0.0 == id).count() as u16;
        owner.board.show(owner.table.iter(core.now), held);
    }
    carry_out(core, world);
    announce::tick(core, world);
}

/// Neighbour owner: does what the table said.
fn carry_out(core: &mut Core, world: &World) {
    loop {
        let Some(owner) = core.neighbors.as_mut() else { return };
        let Some(output) = owner.outputs.pop_at(0) else { return };
        match output {
            Output::Solicit { interface, addr, to } => solicit(core, world, interface, addr, to),
            Output::Resolved { id, interface, addr, mac } => {
                let hop = hop(world, interface, mac);
                world.adjacencies.resolved(id, interface, addr, hop);
                owner.reroute.resolved(world, interface, addr);
                release_held(core, id, |core, _, mbuf| core.send_to(mbuf, &hop));
            }
            Output::Changed { id, mac } => world.adjacencies.changed_mac(id, mac.0),
            Output::Lost { id } => {
                world.adjacencies.lost(id);
                release_held(core, id, |core, realm, mbuf| unreachable(core, world, mbuf, realm));
            }
            Output::Removed { id } => {
                world.adjacencies.lost(id);
                owner.releasing.push_back((world.flows.quiescence().retire(), id));
            }
        }
    }
}

fn hop(world: &World, interface: u16, mac: MacAddr) -> Hop {
    let own = &world.interfaces[usize::from(interface)];
    let mut macs = [0; 12];
    macs[..6].copy_from_slice(&mac.0);
    macs[6..].copy_from_slice(&own.mac.0);
    Hop { macs, port: own.port, limit: own.mtu + 14, vlan: own.vlan.0 }
}

/// Nobody answers at a packet's next hop: its sender is told, and it is dropped.
fn unreachable(core: &mut Core, world: &World, mbuf: Mbuf, realm: Realm) {
    errors::host_unreachable(core, world, &mbuf, realm);
    core.out.drop(mbuf, DropReason::NeighborUnreachable);
}

/// Takes the packets that wait for `id` out of the queue, in order; then does `each` with them, which may add to the queue.
fn release_held(core: &mut Core, id: AdjacencyId, mut each: impl FnMut(&mut Core, Realm, Mbuf)) {
    let mut released = ArrayVec::<(Realm, Mbuf), HELD_MOST>::new();
    let Some(owner) = core.neighbors.as_mut() else { return };
    for _ in 0..owner.held.len() {
        match owner.held.pop_front() {
            Some((of, realm, mbuf)) if of == id && !released.is_full() => released.push((realm, mbuf)),
            Some(other) => owner.held.push_back(other),
            None => break,
        }
    }
    for (realm, mbuf) in released {
        each(core, realm, mbuf);
    }
}

/// Asks who has `address`. Without an address of our own on that link, or over the limit, it stays unasked: the table asks
/// again in its time.
fn solicit(core: &mut Core, world: &World, interface: u16, address: IpAddr, to: Option<MacAddr>) {
    let own = &world.interfaces[usize::from(interface)];
    let Some(owner) = core.neighbors.as_mut() else { return };
    let path = Path { destination: to.unwrap_or(MacAddr::BROADCAST), source: own.mac, tags: Tags::NONE };
    let request = match address {
        IpAddr::V4(target) => {
            let Some(speaker) = world.speaks_as(interface, target) else { return };
            if !owner.solicitations.allow(core.now) {
                return;
            }
            message::arp(&core.pool, &path, &Arp::request(own.mac, speaker, target))
        }
        IpAddr::V6(target) => {
            if !owner.solicitations.allow(core.now) {
                return;
            }
            message::neighbor_solicitation(&core.pool, &path, own.speaks_as6(target), target, to)
        }
    };
    if let Some(request) = request {
        core.originate(own, request);
    }
}

/// Neighbour owner, before it starts: a neighbour that the operator has given. False when the tables are full.
pub fn insert_permanent(
    owner: &mut NeighborOwner,
    world: &World,
    interface: u16,
    address: IpAddr,
    mac: MacAddr,
) -> bool {
    let added = owner.table.insert_permanent(interface, address, mac, &mut |_| ());
    added.is_ok_and(|id| {
        world.adjacencies.resolved(id, interface, address, hop(world, interface, mac)).is_some()
    })
}

/// At the end: what is still held is dropped by name.
pub fn shut_down(core: &mut Core) {
    while let Some((_, _, mbuf)) = core.neighbors.as_mut().and_then(|o| o.held.pop_front()) {
        core.out.drop(mbuf, DropReason::Shutdown);
    }
}
