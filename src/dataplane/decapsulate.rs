//! The way out of a tunnel: a packet between edges is told apart, its session found by its tag, and what was carried restored, with
//! the two tags for addresses. It goes on from there in the realm of tunnels, see [`super::tunnels`].
//!
//! Guarantees: a packet leaves a tunnel only if both tags, the RLOC that it comes from and its key epoch are its session's; what
//! routers have marked on the way is honoured (RFC 6040); any other is dropped by its name, and told to who negotiates, within a
//! limit. Only ports on which RLOCs are look for such packets in bursts. Never: puts outer fragments together.

use super::cetp;
use super::classify::Ingress;
use super::core::Core;
use super::encapsulate;
use super::pieces;
use super::slow::{self, Arrival};
use super::tunnels::Tunnels;
use super::world::World;
use crate::dpdk::{BURST, Burst, Checksum, Mbuf};
use crate::flow::Realm;
use crate::flow::tunnel::{Ends, Session};
use crate::nat::tunnel::outer::{Exit, INNER, Outer};
use crate::packet::cetp::{Header, Inner, PAYLOAD};
use crate::packet::{DropReason, EtherType, MacAddr};
use crate::ring::Task;
use arrayvec::ArrayVec;

/// Where frames of the three carriers have their destination port, and the first byte of the payload TLV.
const PORT4: usize = 36;
const PAYLOAD4: usize = 42;
const PORT6: usize = 56;
const PAYLOAD6: usize = 62;
const PAYLOAD_ETHERNET: usize = 14;

/// What looks like a tunnelled packet: a guess, but nothing else is one.
#[inline(always)]
fn is_likely(frame: &[u8], port: u16) -> bool {
    let Some(ether_type) = frame.get(12..).and_then(<[u8]>::first_chunk) else { return false };
    let is_to_port = |at: usize| frame.get(at..at + 2) == Some(&port.to_be_bytes());
    let at = match EtherType(u16::from_be_bytes(*ether_type)) {
        EtherType::IPV4 if frame.get(14) != Some(&0x45) => return true,
        EtherType::IPV4 if is_to_port(PORT4) => PAYLOAD4,
        EtherType::IPV6 if is_to_port(PORT6) => PAYLOAD6,
        EtherType::CETP => PAYLOAD_ETHERNET,
        _ => return false,
    };
    frame.get(at).is_some_and(|first| first & PAYLOAD != 0)
}

/// Takes those out of a burst that look like tunnelled packets; `None`, and the burst is as it was, where there are none.
#[inline(always)]
pub(super) fn likely(tunnels: &Tunnels, packets: &mut Burst) -> Option<Burst> {
    let is_likely = |mbuf: &Mbuf| is_likely(mbuf.data(), tunnels.port);
    if !packets.iter().any(is_likely) {
        return None;
    }
    let (mut tunnelled, mut others) = (Burst::new(), Burst::new());
    for mbuf in packets.drain(..) {
        if is_likely(&mbuf) { tunnelled.push(mbuf) } else { others.push(mbuf) }
    }
    *packets = others;
    Some(tunnelled)
}

/// The outside of a frame, if it is a tunnelled packet for an RLOC of ours. (A packet for any other address is not the edge's.)
pub(super) fn outside(world: &World, mbuf: &Mbuf, interface: u16, realm: Realm) -> Option<Outer> {
    let tunnels = world.tunnels.as_ref()?;
    let outer = pieces::whole(mbuf, |frame| Outer::of(frame, interface, tunnels.port))?;
    let is_ours = match outer.ends {
        Ends::V4 { local, .. } => tunnels.rlocs.contains(&(realm, local.into())),
        Ends::V6 { local, .. } => tunnels.rlocs.contains(&(realm, local.into())),
        Ends::Ethernet { local, .. } => {
            tunnels.is_ethernet(interface) && world.interfaces[usize::from(interface)].mac == MacAddr(local)
        }
    };
    is_ours.then_some(outer)
}

/// Tunnelled packets leave their tunnels, and stand in `inside` with their sessions beside them, each with the interface that has
/// brought it for its word; what of them is not for an RLOC goes to `others`. `ingress` says how each came in.
#[inline(always)]
pub(super) fn take_out<'w, 'l>(
    core: &mut Core,
    world: &'w World,
    tunnels: &'w Tunnels,
    ingress: impl Fn(&Mbuf) -> &'l Ingress,
    (tunnelled, others): (&mut Burst, &mut Burst),
    (inside, sessions): (&mut Burst, &mut ArrayVec<&'w Session, BURST>),
) {
    for mut mbuf in tunnelled.drain(..) {
        let Ingress { interface, realm, mac } = *ingress(&mbuf);
        let is_to_us = mbuf.data().first_chunk().is_some_and(|to| u64::from_le_bytes(*to) << 16 == mac << 16);
        let outer = if is_to_us { outside(world, &mbuf, interface, realm) } else { None };
        let Some(outer) = outer else {
            others.push(mbuf);
            continue;
        };
        match leave(core, tunnels, &mut mbuf, &outer, interface) {
            Ok(session) => {
                let home = if world.spread { tunnels.home_of_host(world, session) } else { core.id };
                if home != core.id {
                    let task = Task::Receive { interface, realm: Realm::TUNNEL, hairpin: false };
                    core.out.hand(home, mbuf, task, 0);
                    continue;
                }
                mbuf.set_tag(interface.into());
                inside.push(mbuf);
                sessions.push(session);
            }
            Err(why) => core.out.drop(mbuf, why),
        }
    }
}

/// A tunnelled packet that came another way than by a burst.
pub(super) fn receive(core: &mut Core, world: &World, mut mbuf: Mbuf, outer: &Outer, arrival: Arrival) {
    let Some(tunnels) = &world.tunnels else { return core.out.drop(mbuf, DropReason::CetpUnknownTag) };
    match leave(core, tunnels, &mut mbuf, outer, arrival.interface) {
        Ok(_) => slow::receive(core, world, mbuf, Arrival { realm: Realm::TUNNEL, ..arrival }),
        Err(why) => core.out.drop(mbuf, why),
    }
}

/// A frame becomes one with the packet that it carries, if that is its session's.
#[inline(never)]
fn leave<'w>(
    core: &mut Core,
    tunnels: &'w Tunnels,
    mbuf: &mut Mbuf,
    outer: &Outer,
    interface: u16,
) -> Result<&'w Session, DropReason> {
    if !outer.is_whole || mbuf.rx_ip_checksum() == Checksum::Bad {
        return Err(DropReason::CetpInvalid);
    }
    let carried = pieces::whole(mbuf, |frame| carried(outer, frame));
    let (header, exit) = carried.ok_or(DropReason::CetpInvalid)?;
    let session = match admit(tunnels, &header, &outer.ends) {
        Ok(session) => session,
        Err(why) => {
            cetp::stray(core, interface, cetp::sender(&outer.ends), mbuf);
            return Err(why);
        }
    };
    restore(mbuf, &exit?)?;
    Ok(session)
}

/// What a frame carries, and what becomes of it where it is its session's.
#[inline(always)]
fn carried(outer: &Outer, frame: &[u8]) -> Option<(Header, Result<Exit, DropReason>)> {
    let payload = outer.payload(frame)?;
    let header = payload.header();
    let exit = match payload.inner() {
        Inner::Ipv4(inner) => outer.exit(&header, &inner).ok_or(DropReason::CetpCongestion),
        _ => Err(DropReason::CetpKindUnsupported),
    };
    Some((header, exit))
}

/// The session of a packet between those ends.
#[inline(always)]
fn admit<'w>(tunnels: &'w Tunnels, header: &Header, ends: &Ends) -> Result<&'w Session, DropReason> {
    let table = &tunnels.table;
    let session = table.find(header.destination).ok_or(DropReason::CetpUnknownTag)?;
    if session.tags().1 != header.source {
        return Err(DropReason::CetpUnknownTag);
    }
    // Nobody comes from outside in the name of a host behind this edge.
    let peer = table.peer(session).ok_or(DropReason::CetpWrongRloc)?;
    if !table.accepts(peer, ends) {
        return Err(DropReason::CetpWrongRloc);
    }
    if !peer.takes_epoch(header.epoch) {
        return Err(DropReason::CetpUnknownEpoch);
    }
    Ok(session)
}

/// # Errors
/// There is no room, which cannot be: what is put in was there before, or fits a headroom.
#[inline(always)]
fn restore(mbuf: &mut Mbuf, exit: &Exit) -> Result<(), DropReason> {
    let has_room = match exit.replaced.checked_sub(INNER) {
        Some(less) => mbuf.adj(less),
        None => mbuf.prepend(INNER - exit.replaced).is_some(),
    };
    let head = mbuf.data_mut().first_chunk_mut::<INNER>().filter(|_| has_room).ok_or(DropReason::NoBuffer)?;
    *head = exit.bytes;
    mbuf.truncate(exit.length);
    if mbuf.len() < 60 { encapsulate::pad(mbuf) } else { Ok(()) }
}
