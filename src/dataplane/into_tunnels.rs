//! The fast way of packets of hosts that have a session with the host that they are for: into its tunnel, or, where that host is behind
//! this edge too, translated in one step, straight to it.
//!
//! ```text
//! burst ─► look up ─► hits of these kinds wait together ─► session, edge, RLOC, next hop ─► act
//!                          (their sessions are on the way meanwhile)        │ anything odd
//!                                                                           └─► the slow way
//! ```
//!
//! Guarantees: what leaves is what the slow way would send; a packet that it does not know is left as it was. Never: resolves a next
//! hop, cuts a packet, or tells anybody anything.

use super::classify::{HEADERS, at};
use super::core::Core;
use super::encapsulate::{Way, entropy, header_of, wrap};
use super::police::Subscriber;
use super::rewrite;
use super::slow::IP;
use super::tunnels::Tunnels;
use super::vlan::Vlan;
use super::world::World;
use crate::dpdk::{BURST, Mbuf};
use crate::flow::record::Record;
use crate::flow::tunnel::{Ends, Session};
use crate::flow::{Action, Lookup, Protocol, Record4};
use crate::nat::tunnel::outer::{INNER, Tagged};
use crate::nat::tunnel::{self, common};
use crate::packet::DropReason;
use crate::packet::cetp::GROWTH;
use arrayvec::ArrayVec;

/// A packet whose flow was found, and that waits for its session to be there.
pub struct Waiting<'w> {
    mbuf: Mbuf,
    record: &'w Record4,
    lookup: Lookup,
    tag: u32,
    place: u32,
}

/// Those of a burst.
pub type Batch<'w> = ArrayVec<Waiting<'w>, BURST>;

/// Takes a hit that is of a session's flow, and asks for that; gives back any other.
#[inline]
pub(super) fn gather<'w>(
    tunnels: &Tunnels,
    batch: &mut Batch<'w>,
    mbuf: Mbuf,
    record: &'w Record4,
    lookup: Lookup,
) -> Option<Mbuf> {
    if !matches!(record.common().action().kind(), Action::ENCAPSULATE | Action::LOCAL) {
        return Some(mbuf);
    }
    let tag = tunnel::own_tag(record);
    let place = tunnels.table.begin(tag);
    batch.push(Waiting { mbuf, record, lookup, tag, place });
    None
}

/// What becomes of a common packet on the fast way.
enum Acted {
    /// By that port, in that VLAN: its addresses are written.
    Out(u16, Vlan),
    Sent,
    Dropped(DropReason),
    /// Untouched: it is for the slow way.
    Not,
}

/// Sends the gathered packets on their way; what this does not know goes to `odd`.
#[inline(never)]
pub(super) fn burst<'w>(
    core: &mut Core,
    world: &'w World,
    tunnels: &'w Tunnels,
    batch: &mut Batch<'w>,
    mut odd: impl FnMut(Mbuf),
) {
    let (mut forwarded, mut bytes) = (0, 0);
    for Waiting { mut mbuf, record, lookup, tag, place } in batch.drain(..) {
        let length = mbuf.len();
        let to = tunnels.table.at(place, tag).and_then(|session| To::of(tunnels, session));
        let acted = match &to {
            Some(To::Edge(way)) => match common4(core, world, tunnels, &mut mbuf, (record, &lookup), way) {
                Acted::Not => encapsulate(core, world, tunnels, &mut mbuf, (record, &lookup), way),
                acted => acted,
            },
            Some(To::Host { from, to }) => local(core, world, &mut mbuf, (record, &lookup), (from, to)),
            None => Acted::Not,
        };
        match acted {
            Acted::Out(port, vlan) => {
                forwarded += 1;
                bytes += length as u64;
                core.send(mbuf, port, vlan);
            }
            Acted::Sent => {
                forwarded += 1;
                bytes += length as u64;
                leave(core, world, mbuf, to.as_ref());
            }
            Acted::Dropped(why) => core.out.drop(mbuf, why),
            Acted::Not => odd(mbuf),
        }
    }
    core.out.counters.forwarded_packets.add(forwarded);
    core.out.counters.forwarded_bytes.add(bytes);
}

/// Where packets of a session go on the fast way.
enum To<'w> {
    Edge(Way<'w>),
    /// From the session's host to that of its twin.
    Host {
        from: &'w Session,
        to: &'w Session,
    },
}

impl<'w> To<'w> {
    #[inline(always)]
    fn of(tunnels: &'w Tunnels, session: &'w Session) -> Option<Self> {
        match Way::from(tunnels, session) {
            Some(way) => Some(To::Edge(way)),
            None => Some(To::Host { from: session, to: tunnels.table.twin(session)? }),
        }
    }
}

/// Out, its addresses written: by the next hop that was seen to be there.
#[inline(always)]
fn leave(core: &mut Core, world: &World, mut mbuf: Mbuf, to: Option<&To<'_>>) {
    let path = match to {
        Some(To::Edge(Way { ends: Ends::Ethernet { interface, .. }, .. })) => {
            let own = &world.interfaces[usize::from(*interface)];
            return core.send(mbuf, own.port, own.vlan);
        }
        Some(To::Edge(way)) => way.rloc.path(),
        Some(To::Host { to, .. }) => to.path(),
        None => return core.out.drop(mbuf, DropReason::CetpNoTunnel),
    };
    match (world.adjacencies.live(path), mbuf.data_mut().first_chunk_mut::<12>()) {
        (Some(hop), Some(macs)) => {
            *macs = hop.macs();
            core.send(mbuf, hop.port(), Vlan(hop.vlan()));
        }
        // It went within these few cycles.
        _ => core.out.drop(mbuf, DropReason::NeighborUnreachable),
    }
}

/// Whether the fast way may take a common packet of that many bytes behind Ethernet, as far as its sender goes.
#[inline(always)]
fn may_send(core: &Core, world: &World, record: &Record4) -> bool {
    let Some(policer) = &world.policer else { return true };
    let action = record.common().action();
    let is_inside = action.is_outbound() || action.kind() == Action::LOCAL;
    let key = record.key();
    !is_inside || policer.allow(Subscriber::v4(key.realm(), key.addresses as u32), core.now)
}

/// Rewrites a common packet of a half, and counts it there.
#[inline(always)]
fn translate(
    core: &Core,
    world: &World,
    mbuf: &mut Mbuf,
    (record, lookup): (&Record4, &Lookup),
) -> Option<()> {
    let length = mbuf.len() as u32;
    let is_tcp = record.key().protocol() == Protocol::Tcp as u8;
    let headers = mbuf.data_mut().first_chunk_mut::<HEADERS>()?;
    let flags = headers[at::TCP_FLAGS];
    rewrite::common4(headers, &tunnel::rewrite_of(record), is_tcp);
    let about = record.common();
    about.count(length, core.now);
    if is_tcp {
        about.saw_tcp(flags);
        let numbers = mbuf.data().get(at::TCP_ACKNOWLEDGEMENT..).and_then(<[u8]>::first_chunk);
        if let (Some(window), Some(numbers)) = (world.flows.window::<Record4>(lookup), numbers) {
            window.acknowledge(*numbers);
        }
    }
    Some(())
}

/// The common packet of them all: not to be cut, over UDP and IPv4.
#[inline(always)]
fn common4(
    core: &mut Core,
    world: &World,
    tunnels: &Tunnels,
    mbuf: &mut Mbuf,
    (record, lookup): (&Record4, &Lookup),
    way: &Way<'_>,
) -> Acted {
    let Ends::V4 { local, remote } = way.ends else { return Acted::Not };
    let Some(hop) = world.adjacencies.live(way.rloc.path()) else { return Acted::Not };
    let length = mbuf.len();
    let Some(headers) = mbuf.data_mut().first_chunk_mut::<HEADERS>() else { return Acted::Not };
    let total = u16::from_be_bytes([headers[IP + 2], headers[IP + 3]]);
    let outside = usize::from(total) + GROWTH;
    let most = usize::from(way.rloc.mtu()).min(usize::from(hop.limit()).saturating_sub(IP));
    if headers[at::FRAGMENT..at::TTL] != [0x40, 0] || outside > most {
        return Acted::Not;
    }
    let rewrite = record.rewrite();
    let (ttl, protocol) = (headers[at::TTL] - 1, headers[at::TTL + 1]);
    let tags = rewrite.addresses.to_le_bytes();
    let inside = common::Inside { total, service: headers[IP + 1], ttl, protocol, tags };
    let key = record.key();
    let head = common::head((local, remote), &inside, way.peer.epoch(), tunnels.port, entropy(&key));
    let Some(mut head) = head else { return Acted::Not };
    if !may_send(core, world, record) {
        return Acted::Dropped(DropReason::SubscriberRate);
    }
    // Of what stays only the transport's checksum changes.
    let is_tcp = protocol == Protocol::Tcp as u8;
    rewrite::transport4(headers, &rewrite, is_tcp);
    let flags = headers[at::TCP_FLAGS];
    let about = record.common();
    about.count(length as u32, core.now);
    if is_tcp {
        about.saw_tcp(flags);
        let numbers = mbuf.data().get(at::TCP_ACKNOWLEDGEMENT..).and_then(<[u8]>::first_chunk);
        if let (Some(window), Some(numbers)) = (world.flows.window::<Record4>(lookup), numbers) {
            window.acknowledge(*numbers);
        }
    }
    way.session.count_out(length as u32, core.now);
    if length > IP + usize::from(total) {
        mbuf.truncate(IP + usize::from(total));
    }
    head[..12].copy_from_slice(&hop.macs());
    let has_room = mbuf.prepend(common::HEAD - INNER).is_some();
    match mbuf.data_mut().first_chunk_mut().filter(|_| has_room) {
        Some(room) => *room = head,
        None => return Acted::Dropped(DropReason::NoBuffer),
    }
    Acted::Out(hop.port(), Vlan(hop.vlan()))
}

#[inline(never)]
fn encapsulate(
    core: &mut Core,
    world: &World,
    tunnels: &Tunnels,
    mbuf: &mut Mbuf,
    half: (&Record4, &Lookup),
    way: &Way<'_>,
) -> Acted {
    let Some(mtu) = way.mtu(world) else { return Acted::Not };
    let Some(header) = header_of(mbuf.data()) else { return Acted::Not };
    let tagged = Tagged { header };
    if tagged.length_outside(&way.ends) > usize::from(mtu) {
        return Acted::Not;
    }
    let end = IP + tagged.total();
    if !may_send(core, world, half.0) {
        return Acted::Dropped(DropReason::SubscriberRate);
    }
    let length = mbuf.len() as u32;
    if translate(core, world, mbuf, half).is_none() {
        return Acted::Dropped(DropReason::Truncated);
    }
    way.session.count_out(length, core.now);
    mbuf.truncate(end);
    match wrap(tunnels, way, mbuf, entropy(&half.0.key())) {
        Ok(()) => Acted::Sent,
        Err(why) => Acted::Dropped(why),
    }
}

/// From one host to the other.
#[inline(always)]
fn local(
    core: &mut Core,
    world: &World,
    mbuf: &mut Mbuf,
    half: (&Record4, &Lookup),
    (session, twin): (&Session, &Session),
) -> Acted {
    let length = mbuf.len();
    let live = world.adjacencies.live(twin.path());
    if live.is_none_or(|hop| length > usize::from(hop.limit())) {
        return Acted::Not;
    }
    if !may_send(core, world, half.0) {
        return Acted::Dropped(DropReason::SubscriberRate);
    }
    if translate(core, world, mbuf, half).is_none() {
        return Acted::Dropped(DropReason::Truncated);
    }
    session.count_out(length as u32, core.now);
    twin.count_in(length as u32, core.now);
    Acted::Sent
}
