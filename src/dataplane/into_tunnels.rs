//! The fast way of packets of hosts that have a session with the host that they are for: into its tunnel, or, where that host is behind
//! this edge too, translated in one step, straight to it.
//!
//! ```text
//! burst ─► look up ─► the record says which session, asked for some packets ahead ─► session, edge, RLOC, next hop ─► act
//!                                                                                     │ anything odd
//!                                                                                     └─► the slow way
//! ```
//!
//! Guarantees: what leaves is what the slow way would send; a packet that it does not know is left as it was. Never: resolves a next
//! hop, cuts a packet, or tells anybody anything.

use super::classify::{HEADERS, at};
use super::core::Core;
use super::encapsulate::{Way, entropy, header_of, wrap};
use super::lanes::Acted;
use super::police::Subscriber;
use super::rewrite;
use super::slow::IP;
use super::tunnels::Tunnels;
use super::vlan::Vlan;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::record::Record;
use crate::flow::tunnel::{Ends, Session};
use crate::flow::{Action, Live, Place, Protocol, Record4};
use crate::nat::tunnel;
use crate::nat::tunnel::common::{self, HEAD, Header, Outside, REMOVED};
use crate::nat::tunnel::outer::Tagged;
use crate::packet::DropReason;
use crate::packet::cetp::GROWTH;

/// Whether packets of a half have a session, and go this way.
#[inline(always)]
pub(super) fn is_of_a_session(record: &Record4) -> bool {
    matches!(record.common().action().kind(), Action::ENCAPSULATE | Action::LOCAL)
}

/// Asks for the session of such a half.
#[inline(always)]
pub(super) fn foresee(tunnels: &Tunnels, record: &Record4) {
    let session = match record.common().action().kind() {
        Action::ENCAPSULATE => record.rewrite().ports,
        _ => tunnels.table.place_of(tunnel::own_tag(record)),
    };
    tunnels.table.prefetch(session);
}

/// What becomes of a packet.
enum Fate {
    /// By that port, in that VLAN: its addresses are written.
    Out(u16, Vlan),
    Dropped(DropReason),
    /// Untouched: it is for the slow way.
    Unknown,
}

/// Sends a packet of such a half on its way, if this knows it.
#[inline(always)]
pub(super) fn act(
    core: &mut Core,
    world: &World,
    tunnels: &Tunnels,
    mut mbuf: Mbuf,
    half: (&Record4, Place),
) -> Acted {
    let fate = match half.0.common().action().kind() {
        Action::ENCAPSULATE => common4(core, world, tunnels, &mut mbuf, half),
        _ => Fate::Unknown,
    };
    let fate = if let Fate::Unknown = fate { other(core, world, tunnels, &mut mbuf, half) } else { fate };
    match fate {
        Fate::Out(port, vlan) => {
            core.send(mbuf, port, vlan);
            Acted::Sent
        }
        Fate::Dropped(why) => {
            core.out.drop(mbuf, why);
            Acted::Dropped
        }
        Fate::Unknown => Acted::Not(mbuf),
    }
}

/// Any but the common packet of them all.
#[inline(never)]
fn other(
    core: &mut Core,
    world: &World,
    tunnels: &Tunnels,
    mbuf: &mut Mbuf,
    half: (&Record4, Place),
) -> Fate {
    let Some(session) = tunnels.table.find(tunnel::own_tag(half.0)) else { return Fate::Unknown };
    match Way::from(tunnels, session, entropy(&half.0.key())) {
        Some(way) => encapsulate(core, world, tunnels, mbuf, half, &way),
        None => match tunnels.table.twin(session) {
            Some(twin) => local(core, world, mbuf, half, (session, twin)),
            None => Fate::Unknown,
        },
    }
}

/// Out by a next hop that was seen to be there: its addresses are written.
#[inline(always)]
fn leave(mbuf: &mut Mbuf, hop: &Live<'_>) -> Fate {
    match mbuf.data_mut().first_chunk_mut::<12>() {
        Some(macs) => *macs = hop.macs(),
        None => return Fate::Dropped(DropReason::Truncated),
    }
    Fate::Out(hop.port(), Vlan(hop.vlan()))
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
fn translate(core: &Core, world: &World, mbuf: &mut Mbuf, half: (&Record4, Place)) -> Option<()> {
    let record = half.0;
    let length = mbuf.len() as u32;
    let is_tcp = record.key().protocol() == Protocol::Tcp as u8;
    let headers = mbuf.data_mut().first_chunk_mut::<HEADERS>()?;
    rewrite::common4(headers, &tunnel::rewrite_of(record), is_tcp);
    record.common().count(length, core.now);
    if is_tcp {
        saw(world, half, headers);
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
    half: (&Record4, Place),
) -> Fate {
    let record = half.0;
    let rewrite = record.rewrite();
    let tags = rewrite.addresses.rotate_left(32);
    let Some(session) = tunnels.table.of_both(rewrite.ports, tags) else { return Fate::Unknown };
    let Some(peer) = tunnels.table.peer(session) else { return Fate::Unknown };
    let Some(way) = tunnels.table.active(peer) else { return Fate::Unknown };
    let entropy = entropy(&record.key());
    let Some(hop) = world.adjacencies.live(way.path(entropy)) else { return Fate::Unknown };
    let (ends, length) = (way.ends4(), mbuf.len());
    let Some(h) = mbuf.data_mut().first_chunk_mut::<HEADERS>() else { return Fate::Unknown };
    let total = u16::from_be_bytes([h[IP + 2], h[IP + 3]]);
    let most = usize::from(way.mtu()).min(usize::from(hop.limit()).saturating_sub(IP));
    if ends == 0 || h[at::FRAGMENT..at::TTL] != [0x40, 0] || usize::from(total) + GROWTH > most {
        return Fate::Unknown;
    }
    if !may_send(core, world, record) {
        return Fate::Dropped(DropReason::SubscriberRate);
    }
    let (service, ttl, protocol) = (h[IP + 1], h[at::TTL] - 1, h[at::TTL + 1]);
    let inside = Header { total, service, ttl, protocol, addresses: rewrite.addresses };
    let is_tcp = protocol == Protocol::Tcp as u8;
    // Of what stays only the transport's checksum changes.
    rewrite::transport4(h, &rewrite, is_tcp);
    record.common().count(length as u32, core.now);
    if is_tcp {
        saw(world, half, h);
    }
    session.count_out(length as u32, core.now);
    if length > IP + usize::from(total) {
        mbuf.truncate(IP + usize::from(total));
    }
    let has_room = mbuf.prepend(REMOVED).is_some();
    let Some(h) = mbuf.data_mut().first_chunk_mut::<HEAD>().filter(|_| has_room) else {
        return Fate::Dropped(DropReason::NoBuffer);
    };
    common::wrap(h, &inside, &Outside { ends, epoch: peer.epoch(), port: tunnels.port, entropy });
    h[..12].copy_from_slice(&hop.macs());
    Fate::Out(hop.port(), Vlan(hop.vlan()))
}

/// What a common segment says of its connection.
#[inline(always)]
fn saw(world: &World, (record, at): (&Record4, Place), h: &[u8; HEADERS]) {
    record.common().saw_tcp(h[at::TCP_FLAGS]);
    let numbers = h[at::TCP_ACKNOWLEDGEMENT..].first_chunk();
    if let Some((window, numbers)) = world.flows.window::<Record4>(at).zip(numbers) {
        window.acknowledge(*numbers);
    }
}

#[inline(never)]
fn encapsulate(
    core: &mut Core,
    world: &World,
    tunnels: &Tunnels,
    mbuf: &mut Mbuf,
    half: (&Record4, Place),
    way: &Way<'_>,
) -> Fate {
    let Some(mtu) = way.mtu(world) else { return Fate::Unknown };
    let Some(header) = header_of(mbuf.data()) else { return Fate::Unknown };
    let tagged = Tagged { header };
    if tagged.length_outside(&way.ends) > usize::from(mtu) {
        return Fate::Unknown;
    }
    let end = IP + tagged.total();
    if !may_send(core, world, half.0) {
        return Fate::Dropped(DropReason::SubscriberRate);
    }
    let length = mbuf.len() as u32;
    if translate(core, world, mbuf, half).is_none() {
        return Fate::Dropped(DropReason::Truncated);
    }
    way.session.count_out(length, core.now);
    mbuf.truncate(end);
    if let Err(why) = wrap(tunnels, way, mbuf) {
        return Fate::Dropped(why);
    }
    if let Ends::Ethernet { interface, .. } = way.ends {
        let own = &world.interfaces[usize::from(interface)];
        return Fate::Out(own.port, own.vlan);
    }
    // It was there a few cycles ago.
    match world.adjacencies.live(way.rloc.path(way.entropy)) {
        Some(hop) => leave(mbuf, &hop),
        None => Fate::Dropped(DropReason::NeighborUnreachable),
    }
}

/// From one host to the other.
#[inline(always)]
fn local(
    core: &mut Core,
    world: &World,
    mbuf: &mut Mbuf,
    half: (&Record4, Place),
    (session, twin): (&Session, &Session),
) -> Fate {
    let length = mbuf.len();
    let live = world.adjacencies.live(twin.path());
    let Some(hop) = live.filter(|hop| length <= usize::from(hop.limit())) else { return Fate::Unknown };
    if !may_send(core, world, half.0) {
        return Fate::Dropped(DropReason::SubscriberRate);
    }
    if translate(core, world, mbuf, half).is_none() {
        return Fate::Dropped(DropReason::Truncated);
    }
    session.count_out(length as u32, core.now);
    twin.count_in(length as u32, core.now);
    leave(mbuf, &hop)
}
