//! The way into a tunnel: a host's packet is translated to the session's tags, its header compressed, and one of the edge's own put
//! before it, to the RLOC that its edge is reached at.
//! One packet at a time: what is common goes the fast way, see [`super::into_tunnels`].
//!
//! Guarantees: nothing leaves that is longer than the way to the other edge takes: a packet that may be cut is cut inside, the
//! sender of any other is told (RFC 4459 section 3.2); a SYN announces what fits (RFC 9293 section 3.7.1). Packets of a flow, and
//! fragments of its datagrams, have the same source port outside. Never: opens a flow.

use super::core::Core;
use super::depart;
use super::errors;
use super::pieces;
use super::resolve;
use super::rewrite;
use super::slow::{Arrival, IP, Place};
use super::tcp;
use super::tunnels::{self, Tunnels};
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::record::Record;
use crate::flow::tunnel::{Ends, Peer, Rloc, Session};
use crate::flow::{Action, KeepsPath, Key4, Protocol, Record4};
use crate::nat::tunnel::outer::{self, INNER, Tagged};
use crate::nat::{icmp_error, tunnel};
use crate::packet::build::IcmpError;
use crate::packet::{DropReason, Ipv4, TcpFlags, ethernet, ipv4};

/// Bytes of IPv4 and TCP headers without options (RFC 6691 section 2).
const IPV4_AND_TCP: u16 = 40;
/// Ethernet's minimum without its check sequence (IEEE 802.3).
pub(super) const MINIMUM: usize = 60;

pub(super) fn header_of(frame: &[u8]) -> Option<&[u8; ipv4::HEADER_LENGTH]> {
    frame.get(IP..)?.first_chunk()
}

/// What tells flows apart outside: of all packets of a flow, and of fragments, the same.
#[inline(always)]
pub(super) fn entropy(key: &Key4) -> u16 {
    let word = key.addresses ^ key.tail.rotate_left(32);
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50) as u16
}

/// Puts the outer headers in the place of a tagged packet's own; only the addresses of the frame are left.
///
/// # Errors
/// No packet can be so long, or there is no room.
#[inline(always)]
pub(super) fn wrap(tunnels: &Tunnels, way: &Way<'_>, mbuf: &mut Mbuf) -> Result<(), DropReason> {
    let header = *header_of(mbuf.data()).ok_or(DropReason::Truncated)?;
    let tagged = Tagged { header: &header };
    let head = outer::head(&way.ends, tagged, way.peer.epoch(), tunnels.port, way.entropy);
    let head = head.ok_or(DropReason::TxTooBig)?;
    let bytes = head.bytes();
    let has_room = match bytes.len().checked_sub(INNER) {
        Some(more) => mbuf.prepend(more).is_some(),
        None => mbuf.adj(INNER - bytes.len()),
    };
    let room = mbuf.data_mut().get_mut(..bytes.len()).filter(|_| has_room).ok_or(DropReason::NoBuffer)?;
    room.copy_from_slice(bytes);
    if let Ends::Ethernet { local, remote, .. } = way.ends {
        let macs = mbuf.data_mut().first_chunk_mut::<12>().ok_or(DropReason::Truncated)?;
        macs[..6].copy_from_slice(&remote);
        macs[6..].copy_from_slice(&local);
    }
    if mbuf.len() < MINIMUM { pad(mbuf) } else { Ok(()) }
}

/// Not every virtual device fills a frame up to Ethernet's minimum.
///
/// # Errors
/// There is no room.
pub(super) fn pad(mbuf: &mut Mbuf) -> Result<(), DropReason> {
    let missing = MINIMUM.saturating_sub(mbuf.len());
    mbuf.append(missing).ok_or(DropReason::NoBuffer)?.fill(0);
    Ok(())
}

/// Where packets of a session go.
pub(super) struct Way<'w> {
    pub session: &'w Session,
    pub peer: &'w Peer,
    pub rloc: &'w Rloc,
    pub ends: Ends,
    /// Of the flow: in the source port outside, and in the choice of a next hop.
    pub entropy: u16,
}

impl<'w> Way<'w> {
    /// Of the session of an own tag; `None` where it is over, local, or no RLOC leads to its edge.
    pub fn of(tunnels: &'w Tunnels, tag: u32, entropy: u16) -> Option<Self> {
        Self::from(tunnels, tunnels.table.find(tag)?, entropy)
    }

    /// Of the session of an [`Action::ENCAPSULATE`] half.
    fn of_half(tunnels: &'w Tunnels, record: &Record4) -> Option<Self> {
        Self::of(tunnels, tunnel::own_tag(record), entropy(&record.key()))
    }

    #[inline(always)]
    pub fn from(tunnels: &'w Tunnels, session: &'w Session, entropy: u16) -> Option<Self> {
        let peer = tunnels.table.peer(session)?;
        let rloc = tunnels.table.active(peer)?;
        Some(Self { session, peer, rloc, ends: rloc.ends(), entropy })
    }

    /// Bytes that a packet outside may have, where its next hop is known.
    #[inline(always)]
    pub fn mtu(&self, world: &World) -> Option<u16> {
        let link = match self.ends {
            Ends::Ethernet { interface, .. } => world.interfaces.get(usize::from(interface))?.mtu,
            _ => world
                .adjacencies
                .live(self.rloc.path(self.entropy))?
                .limit()
                .saturating_sub(ethernet::HEADER_LENGTH as u16),
        };
        Some(link.min(self.rloc.mtu()))
    }

    /// The same; where its next hop is not known yet, that of the RLOC alone.
    fn likely_mtu(&self, world: &World) -> u16 {
        self.mtu(world).unwrap_or(self.rloc.mtu())
    }

    /// Bytes that a host's packet may have: one that is not to be cut, and one that may be.
    fn mtu_inside(&self, world: &World) -> (u16, u16) {
        outer::mtu_inside(&self.ends, self.likely_mtu(world))
    }

    fn fits(&self, world: &World, frame: &[u8]) -> bool {
        let most = usize::from(self.likely_mtu(world));
        header_of(frame).is_some_and(|header| Tagged { header }.length_outside(&self.ends) <= most)
    }
}

/// The largest segment that TCP may announce in a flow through a tunnel; `None` of any other.
pub(super) fn segment_limit(world: &World, record: &Record4) -> Option<u16> {
    if record.common().action().kind() == Action::LOCAL {
        return None;
    }
    let way = Way::of_half(world.tunnels.as_ref()?, record)?;
    Some(way.mtu_inside(world).0.saturating_sub(IPV4_AND_TCP))
}

/// The slow way of a packet of an [`Action::ENCAPSULATE`] half, whose headers lie at `place`.
pub(super) fn act(
    core: &mut Core,
    world: &World,
    mut mbuf: Mbuf,
    record: &Record4,
    place: Place,
    tcp_flags: u8,
    arrival: Arrival,
) {
    let Place { ip, l4, protocol } = place;
    let Some((tunnels, way)) = world.tunnels.as_ref().and_then(|t| Some((t, Way::of_half(t, record)?)))
    else {
        return no_tunnel(core, world, mbuf, arrival);
    };
    trim(&mut mbuf);
    if !way.fits(world, mbuf.data())
        && let Ok(packet) = Ipv4::parse_quoted(&mbuf.data()[ip..])
        && packet.dont_fragment()
    {
        let mtu = way.mtu_inside(world).0;
        errors::answer4(core, world, &mbuf, &packet, arrival, IcmpError::FragmentationNeeded { mtu });
        return core.out.drop(mbuf, DropReason::PacketTooBig);
    }
    let length = mbuf.len();
    let rewrite = tunnel::rewrite_of(record);
    if !rewrite::general(mbuf.data_mut(), ip, l4, &rewrite, Action::ENCAPSULATE, protocol) {
        return core.out.drop(mbuf, DropReason::L4HeaderInvalid);
    }
    tcp::count(core, world, record, length, tcp_flags, tcp::segment4(&mbuf, ip, l4));
    if protocol == Protocol::Tcp as u8 && TcpFlags(tcp_flags).contains(TcpFlags::SYN) {
        let fits = Some(way.mtu_inside(world).0.saturating_sub(IPV4_AND_TCP));
        depart::clamp(world, &mut mbuf, l4, std::iter::once(arrival.interface), fits);
    }
    way.session.count_out(length as u32, core.now);
    forward(core, world, tunnels, &way, mbuf);
}

/// A fragment other than the first of a datagram of such a half.
pub(super) fn later(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, arrival: Arrival) {
    let Some((tunnels, way)) = world.tunnels.as_ref().and_then(|t| Some((t, Way::of_half(t, record)?)))
    else {
        return no_tunnel(core, world, mbuf, arrival);
    };
    trim(&mut mbuf);
    let length = mbuf.len();
    if !rewrite::header(mbuf.data_mut(), IP, &record.rewrite(), Action::ENCAPSULATE) {
        return core.out.drop(mbuf, DropReason::Truncated);
    }
    record.common().count(length as u32, core.now);
    way.session.count_out(length as u32, core.now);
    forward(core, world, tunnels, &way, mbuf);
}

/// An ICMP error about a packet that came out of the tunnel of such a half travels along it.
pub(super) fn report(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, arrival: Arrival) {
    let Some((tunnels, way)) = world.tunnels.as_ref().and_then(|t| Some((t, Way::of_half(t, record)?)))
    else {
        return no_tunnel(core, world, mbuf, arrival);
    };
    trim(&mut mbuf);
    let (half, rewrite, action) = (record.key(), tunnel::rewrite_of(record), record.common().action());
    match icmp_error::translate(&mut mbuf.data_mut()[IP..], &half, &rewrite, action) {
        Ok(()) => forward(core, world, tunnels, &way, mbuf),
        Err(why) => core.out.drop(mbuf, why),
    }
}

#[cold]
fn no_tunnel(core: &mut Core, world: &World, mbuf: Mbuf, arrival: Arrival) {
    if let Some(Ok(packet)) = mbuf.data().get(IP..).map(Ipv4::parse_quoted) {
        errors::answer4(core, world, &mbuf, &packet, arrival, IcmpError::HostUnreachable);
    }
    core.out.drop(mbuf, DropReason::CetpNoTunnel);
}

/// Takes off what follows the packet in its frame.
fn trim(mbuf: &mut Mbuf) {
    if let Some(header) = header_of(mbuf.data()) {
        let end = IP + Tagged { header }.total();
        mbuf.truncate(end);
    }
}

fn forward(core: &mut Core, world: &World, tunnels: &Tunnels, way: &Way<'_>, mbuf: Mbuf) {
    core.out.counters.forwarded_packets.add(1);
    core.out.counters.forwarded_bytes.add(mbuf.len() as u64);
    send(core, world, tunnels, way, mbuf);
}

/// Sends a tagged packet along a session, in pieces where it does not fit.
pub(super) fn send(core: &mut Core, world: &World, tunnels: &Tunnels, way: &Way<'_>, mut mbuf: Mbuf) {
    trim(&mut mbuf);
    if way.fits(world, mbuf.data()) {
        return send_whole(core, world, tunnels, way, mbuf);
    }
    pieces::cut(core, mbuf, way.mtu_inside(world).1, |core, mut piece| {
        trim(&mut piece);
        send_whole(core, world, tunnels, way, piece);
    });
}

fn send_whole(core: &mut Core, world: &World, tunnels: &Tunnels, way: &Way<'_>, mut mbuf: Mbuf) {
    if let Err(why) = wrap(tunnels, way, &mut mbuf) {
        return core.out.drop(mbuf, why);
    }
    if let Ends::Ethernet { interface, .. } = way.ends {
        return match world.interfaces.get(usize::from(interface)) {
            Some(own) => core.send(mbuf, own.port, own.vlan),
            None => core.out.drop(mbuf, DropReason::CetpNoTunnel),
        };
    }
    match world.adjacencies.hop(way.rloc.path(way.entropy)) {
        Some(hop) => core.send_to(mbuf, &hop),
        None => {
            let (keeper, hash) = way.rloc.keeper(way.entropy);
            resolve::towards(core, world, mbuf, way.rloc.realm(), Some((&keeper, hash)), 0);
        }
    }
}

/// A local half's packets are its receiver's to be remembered; others' are of their half.
pub(super) fn keeper<'w>(world: &'w World, record: &'w Record4) -> &'w dyn KeepsPath {
    match tunnels::receiver(world, record) {
        Some(session) => session,
        None => record.common(),
    }
}
