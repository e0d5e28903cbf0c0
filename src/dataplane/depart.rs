//! A packet of an IPv4 session on its way out, where the fast way does not know it: hairpins, next hops to resolve, the MTU of
//! the next link (RFC 1191, RFC 791 section 2.3), and the segment size that a SYN announces (RFC 9293 section 3.7.1).

use super::core::Core;
use super::encapsulate;
use super::errors;
use super::fragments;
use super::pieces;
use super::reroute;
use super::resolve;
use super::rewrite;
use super::slow::{self, Arrival, Place};
use super::tcp;
use super::tunnels;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::record::Record;
use crate::flow::{Action, Path, Protocol, Realm, Record4};
use crate::nat::{icmp_error, tunnel};
use crate::packet::build::IcmpError;
use crate::packet::{DropReason, Ipv4, TcpFlags, TcpMut};
use std::net::Ipv4Addr;

/// Bytes of IPv4 and TCP headers without options: what a segment size leaves out (RFC 6691 section 2).
const IPV4_AND_TCP: u16 = 40;

/// Translates a packet of this half, whose headers lie at `place`, and sends it on.
pub fn act(
    core: &mut Core,
    world: &World,
    mut mbuf: Mbuf,
    record: &Record4,
    place: Place,
    tcp_flags: u8,
    arrival: Arrival,
) {
    let Place { ip, l4, protocol } = place;
    let kind = record.common().action().kind();
    if kind == Action::ENCAPSULATE {
        return encapsulate::act(core, world, mbuf, record, place, tcp_flags, arrival);
    }
    if !tunnels::lives(world, record) {
        return core.out.drop(mbuf, DropReason::CetpNoTunnel);
    }
    let egress = match egress(core, world, record) {
        _ if kind == Action::HAIRPIN => None,
        Ok(interface) => Some(interface),
        Err(why) => {
            if let Some(Ok(packet)) = mbuf.data().get(ip..).map(Ipv4::parse_quoted) {
                slow::unroutable(core, world, &packet, &mbuf, arrival, why);
            }
            return core.out.drop(mbuf, why);
        }
    };
    if let Some(interface) = egress {
        trim(&mut mbuf, ip, world.interfaces[usize::from(interface)].mtu);
    }
    if let Some(interface) = egress
        && is_too_big(&mbuf, world.interfaces[usize::from(interface)].mtu)
        && let Ok(packet) = Ipv4::parse_quoted(&mbuf.data()[ip..])
        && packet.dont_fragment()
    {
        let mtu = world.interfaces[usize::from(interface)].mtu;
        errors::answer4(core, world, &mbuf, &packet, arrival, IcmpError::FragmentationNeeded { mtu });
        return core.out.drop(mbuf, DropReason::PacketTooBig);
    }
    let length = mbuf.len();
    if !rewrite::general(mbuf.data_mut(), ip, l4, &tunnel::rewrite_of(record), kind, protocol) {
        return core.out.drop(mbuf, DropReason::L4HeaderInvalid);
    }
    tcp::count(core, world, record, length, tcp_flags, tcp::segment4(&mbuf, ip, l4));
    if protocol == Protocol::Tcp as u8 && TcpFlags(tcp_flags).contains(TcpFlags::SYN) {
        // A hairpin's way is bounded in two steps: by the interface that it comes in by, then by the one that it leaves by.
        let within = kind == Action::DECAPSULATE;
        let ingress = (!arrival.hairpin && !within).then_some(arrival.interface);
        let tunnel = if within { encapsulate::segment_limit(world, record) } else { None };
        clamp(world, &mut mbuf, l4, ingress.into_iter().chain(egress), tunnel);
    }
    if record.common().action().is_tunnelled() {
        tunnels::count(core, world, record, length);
    }
    depart(core, world, mbuf, record, arrival);
}

/// An ICMP error about a packet of this half's session travels along it.
pub fn report(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, arrival: Arrival) {
    let (half, rewrite, action) = (record.key(), tunnel::rewrite_of(record), record.common().action());
    if action.kind() == Action::ENCAPSULATE {
        return encapsulate::report(core, world, mbuf, record, arrival);
    }
    if !tunnels::lives(world, record) {
        return core.out.drop(mbuf, DropReason::CetpNoTunnel);
    }
    match icmp_error::translate(&mut mbuf.data_mut()[14..], &half, &rewrite, action) {
        Ok(()) => depart(core, world, mbuf, record, arrival),
        Err(why) => core.out.drop(mbuf, why),
    }
}

/// A new session remembers its next hop before its first packet asks for it, if that is resolved.
pub(super) fn settle(core: &mut Core, world: &World, record: &Record4) {
    if matches!(record.common().action().kind(), Action::FORWARD | Action::DECAPSULATE)
        && let Some(realm) = realm_out(world, record)
    {
        let [_, _, _, _, a, b, c, d] = record.rewrite().addresses.to_le_bytes();
        let session = (record.common(), reroute::flow_hash_of(record));
        resolve::remember(core, world, realm, Ipv4Addr::new(a, b, c, d).into(), session);
    }
}

/// The interface that packets of this half leave by, or what the routes say instead.
fn egress(core: &mut Core, world: &World, record: &Record4) -> Result<u16, DropReason> {
    if let Some(interface) = world.adjacencies.interface(path(world, record)) {
        return Ok(interface);
    }
    let realm = realm_out(world, record).ok_or(DropReason::NoSession)?;
    let [_, _, _, _, a, b, c, d] = record.rewrite().addresses.to_le_bytes();
    let next =
        world.next_hop(core.routes.now(), realm, Ipv4Addr::new(a, b, c, d), reroute::flow_hash_of(record))?;
    Ok(next.0)
}

/// Takes off what follows the packet in its frame, where the frame is longer than its packet may be on the next link.
fn trim(mbuf: &mut Mbuf, ip: usize, mtu: u16) {
    if is_too_big(mbuf, mtu)
        && let Some(&[high, low]) = mbuf.data().get(ip + 2..).and_then(<[u8]>::first_chunk)
    {
        mbuf.truncate(ip + usize::from(u16::from_be_bytes([high, low])));
    }
}

/// Whether the IP packet of an untagged frame without padding is longer than `mtu`.
fn is_too_big(mbuf: &Mbuf, mtu: u16) -> bool {
    mbuf.len() > usize::from(mtu) + 14
}

/// Keeps the announced segment size within what fits the interfaces on the way, and a tunnel.
pub(super) fn clamp(
    world: &World,
    mbuf: &mut Mbuf,
    l4: usize,
    interfaces: impl Iterator<Item = u16>,
    tunnel: Option<u16>,
) {
    let fits = interfaces.filter_map(|i| world.interfaces[usize::from(i)].segment_limit(IPV4_AND_TCP));
    let most = fits.chain(tunnel).min();
    if let Some(most) = most
        && let Some(segment) = mbuf.data_mut().get_mut(l4..)
        && let Ok(mut tcp) = TcpMut::parse(segment)
        && tcp.view().maximum_segment_size().is_some_and(|announced| announced > most)
    {
        tcp.set_mss(most);
    }
}

/// A translated packet goes where the packets of this half go.
pub(super) fn depart(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, arrival: Arrival) {
    if record.common().action().kind() == Action::HAIRPIN {
        if arrival.hairpin {
            return core.out.drop(mbuf, DropReason::HairpinLoop);
        }
        // Its source is translated: it waits for the end of the burst to go round again.
        if core.second_legs.is_full() {
            return core.out.drop(mbuf, DropReason::HandoffFull);
        }
        return core.second_legs.push((mbuf, record.rewrite().ports));
    }
    core.out.counters.forwarded_packets.add(1);
    core.out.counters.forwarded_bytes.add(mbuf.len() as u64);
    let mtu = egress(core, world, record).map_or(u16::MAX, |i| world.interfaces[usize::from(i)].mtu);
    if is_too_big(&mbuf, mtu) {
        if record.common().action().is_outbound() || arrival.hairpin {
            fragments::renumber(core, &mut mbuf);
        }
        return pieces::cut(core, mbuf, mtu, |core, piece| onward(core, world, piece, record));
    }
    onward(core, world, mbuf, record);
}

fn onward(core: &mut Core, world: &World, mbuf: Mbuf, record: &Record4) {
    match world.adjacencies.hop(path(world, record)) {
        Some(hop) => core.send_to(mbuf, &hop),
        None => match realm_out(world, record) {
            Some(realm) => {
                let session = (encapsulate::keeper(world, record), reroute::flow_hash_of(record));
                resolve::towards(core, world, mbuf, realm, Some(session), 0);
            }
            None => core.out.drop(mbuf, DropReason::NoSession),
        },
    }
}

/// What packets of this half go by. That of a local one is its receiver's.
fn path(world: &World, record: &Record4) -> Path {
    tunnels::receiver(world, record).map_or(record.common().path(), |session| session.path())
}

/// The realm into which packets of this half leave: that in which those of the other arrive.
fn realm_out(world: &World, record: &Record4) -> Option<Realm> {
    world.flows.twin(record).map(|twin| twin.key().realm())
}
