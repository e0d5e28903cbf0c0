//! One IPv6 packet at a time: what the fast way does not know. Neighbour discovery goes to its owner, the edge's own addresses
//! get their answers; everything else needs a session, or makes one by the rules of [`crate::firewall`].

use super::core::Core;
use super::decapsulate;
use super::errors;
use super::local;
use super::nd;
use super::police::Subscriber;
use super::resolve;
use super::slow::{Arrival, Verdict, police};
use super::sources;
use super::tcp;
use super::unsolicited;
use super::world::{NEIGHBOR_OWNER, World};
use crate::dpdk::Mbuf;
use crate::firewall::{Flow6, icmpv6, parse};
use crate::flow::record::Record;
use crate::flow::{KeepsPath, Realm, Record6};
use crate::packet::build::Icmpv6Error;
use crate::packet::ipv6::{self, is_forwardable_destination, is_forwardable_source};
use crate::packet::{DropReason, Ipv6, Link, MacAddr, Protocol, TcpFlags, TcpMut};

const IP: usize = crate::packet::ethernet::HEADER_LENGTH;
/// Where the hop limit lies in an untagged frame.
const HOP_LIMIT: usize = IP + 7;
/// Bytes of IPv6 and TCP headers: what a segment size leaves out (RFC 6691 section 2).
const IPV6_AND_TCP: u16 = 60;

/// Says what becomes of an IPv6 packet.
///
/// # Errors
/// Why it is dropped; its sender may have been told.
pub fn judge<'w>(
    core: &mut Core,
    world: &'w World,
    mbuf: &Mbuf,
    frame_to: MacAddr,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let link = Link::parse(mbuf.data())?;
    if let Some(ip) = nd::for_owner(&link) {
        if core.id != NEIGHBOR_OWNER {
            return Ok(Verdict::Hand(NEIGHBOR_OWNER));
        }
        core.punts.neighbors(arrival.interface, core.now)?;
        nd::heard(core, world, &link, &ip, arrival.interface)?;
        local::neighbor_spoke(core, world, mbuf, arrival);
        return Ok(Verdict::Done);
    }
    let ip = if mbuf.is_contiguous() { Ipv6::parse(link.payload) } else { Ipv6::parse_quoted(link.payload) }?;
    if IP + ipv6::HEADER_LENGTH + usize::from(ip.payload_length()) > mbuf.len() {
        return Err(DropReason::Truncated);
    }
    let (source, destination) = (ip.source(), ip.destination());
    let is_ours = world.answers_for6(arrival.interface, source)
        || (!source.is_unicast_link_local() && world.is_own6(arrival.realm, source));
    if is_ours {
        return Err(DropReason::Ipv6SourceInvalid);
    }
    let is_own = world.answers_for6(arrival.interface, destination)
        || (!destination.is_unicast_link_local() && world.is_own6(arrival.realm, destination));
    if is_own {
        let is_host = is_forwardable_source(source) || source.is_unicast_link_local();
        if !is_host || frame_to.is_multicast() {
            return Err(DropReason::Ipv6SourceInvalid);
        }
        sources::check(core, world, arrival, source.into())?;
        if let Some(outer) = decapsulate::outside(world, mbuf, arrival.interface, arrival.realm) {
            return Ok(Verdict::Tunnelled(outer));
        }
        return local::ipv6(core, world, &ip, mbuf, arrival).map(|()| Verdict::Done);
    }
    if !is_forwardable_source(source) {
        return Err(DropReason::Ipv6SourceInvalid);
    }
    police(core, world, arrival, || {
        let [a, b, c, d, e, f, g, h, ..] = source.octets();
        Subscriber::v6(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    })?;
    if !is_forwardable_destination(destination) || frame_to.is_multicast() {
        return Err(DropReason::Ipv6DestinationInvalid);
    }
    if world.firewall.is_none() {
        return Err(DropReason::Ipv6NotForwarded);
    }
    if ip.hop_limit() <= 1 {
        let sent = errors::answer6(core, world, mbuf, &ip, arrival, Icmpv6Error::TimeExceeded);
        return Err(if sent { DropReason::TtlExceeded } else { DropReason::TtlExceededQuiet });
    }
    if let Some(key) = icmpv6::error_key(&ip, arrival.realm)? {
        let found = world.flows.lookup::<Record6>(&key);
        return found.map(|(_, record)| Verdict::Report6 { record }).ok_or(DropReason::IcmpErrorNoSession);
    }
    let flow = parse::flow(&ip, arrival.realm)?;
    session(core, world, &ip, &flow, mbuf, arrival)
}

/// The packet's session: found, made here at home, or its home's business.
fn session<'w>(
    core: &mut Core,
    world: &'w World,
    ip: &Ipv6<'_>,
    flow: &Flow6,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let found =
        |record| Ok(Verdict::Act6 { record, upper: IP + flow.upper_offset, tcp_flags: flow.tcp_flags });
    if let Some((_, record)) = world.flows.lookup::<Record6>(&flow.key) {
        return found(record);
    }
    let firewall = world.firewall.as_deref().ok_or(DropReason::Ipv6NotForwarded)?;
    sources::check(core, world, arrival, ip.source().into())?;
    let outbound = firewall.is_inside(arrival.realm);
    let to = match realm_to(core, world, ip, arrival) {
        Ok(to) => to,
        Err(why) => {
            if outbound {
                unroutable(core, world, ip, mbuf, arrival, why);
            }
            return Err(why);
        }
    };
    let home = firewall.home_of_session(&flow.key, to).ok_or(DropReason::RealmNotServed)?;
    if home != core.id {
        return Ok(Verdict::Hand(home));
    }
    let home = core.firewall.as_mut().ok_or(DropReason::Ipv6NotForwarded)?;
    let made = if outbound {
        home.outbound(&mut core.flows, flow, to, core.now)
    } else {
        home.inbound(&mut core.flows, flow, to, core.now)
    };
    if !outbound && matches!(made, Err(DropReason::NoSession)) {
        unsolicited::hold6(core, mbuf, ip, flow.tcp_flags, arrival);
    }
    let made = made?;
    core.out.counters.sessions_created.add(1);
    match world.flows.get::<Record6>(made) {
        Some(record) if record.matches(&flow.key) => found(record),
        _ => Err(DropReason::NoSession),
    }
}

/// The realm that a packet is routed to: from the inside its own where that has a route, else the outside; from the outside
/// the inside realm that has one.
fn realm_to(core: &mut Core, world: &World, ip: &Ipv6<'_>, arrival: Arrival) -> Result<Realm, DropReason> {
    let firewall = world.firewall.as_deref().ok_or(DropReason::Ipv6NotForwarded)?;
    let (options, destination, routes) = (firewall.options(), ip.destination(), core.routes.now());
    let has_route = |realm: Realm| routes.lookup6(realm.0, destination).is_some();
    let to = if firewall.is_inside(arrival.realm) {
        if has_route(arrival.realm) { arrival.realm } else { options.outside }
    } else if firewall.is_outside(arrival.realm) {
        options.inside.iter().copied().find(|realm| has_route(*realm)).ok_or(DropReason::NoSession)?
    } else {
        return Err(DropReason::RealmNotServed);
    };
    world.next_hop(routes, to, destination, 0).map(|_| to)
}

/// Tells the sender what the routes say.
fn unroutable(core: &mut Core, world: &World, ip: &Ipv6<'_>, mbuf: &Mbuf, arrival: Arrival, why: DropReason) {
    let error = match why {
        DropReason::NoRoute => Icmpv6Error::NoRoute,
        DropReason::RouteUnreachable => Icmpv6Error::RejectRoute,
        DropReason::RouteProhibited => Icmpv6Error::AdminProhibited,
        _ => return,
    };
    errors::answer6(core, world, mbuf, ip, arrival, error);
}

/// Sends a packet of this half on: nothing of it changes but the hop limit, and the segment size that a SYN announces. `upper`
/// is where its transport begins.
pub fn act(
    core: &mut Core,
    world: &World,
    mut mbuf: Mbuf,
    record: &Record6,
    upper: usize,
    tcp_flags: u8,
    arrival: Arrival,
) {
    let (realm, interface) = match egress(core, world, &mbuf, record) {
        Ok(egress) => egress,
        Err(why) => {
            if let Ok(ip) = Ipv6::parse_quoted(&mbuf.data()[IP..]) {
                unroutable(core, world, &ip, &mbuf, arrival, why);
            }
            return core.out.drop(mbuf, why);
        }
    };
    let mtu = world.interfaces[usize::from(interface)].mtu;
    let fits = fits(&mut mbuf, mtu);
    let length = mbuf.len();
    if !fits {
        let told = Ipv6::parse_quoted(&mbuf.data()[IP..]).map(|ip| {
            errors::answer6(core, world, &mbuf, &ip, arrival, Icmpv6Error::PacketTooBig { mtu: mtu.into() })
        });
        let _ = told;
        return core.out.drop(mbuf, DropReason::PacketTooBig);
    }
    tcp::count(core, world, record, length, tcp_flags, tcp::segment6(&mbuf, upper));
    if TcpFlags(tcp_flags).contains(TcpFlags::SYN) && record.key().protocol() == Protocol::TCP.0 {
        clamp(world, &mut mbuf, upper, [arrival.interface, interface]);
    }
    depart(core, world, mbuf, record, realm);
}

/// An ICMPv6 error about a packet of this half's session travels along it.
pub fn report(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record6) {
    let (realm, interface) = match egress(core, world, &mbuf, record) {
        Ok(egress) => egress,
        Err(why) => return core.out.drop(mbuf, why),
    };
    // About an error there is no error.
    if !fits(&mut mbuf, world.interfaces[usize::from(interface)].mtu) {
        return core.out.drop(mbuf, DropReason::PacketTooBig);
    }
    depart(core, world, mbuf, record, realm);
}

/// Whether the packet fits the next link; what follows it in a frame that does not is taken off first.
fn fits(mbuf: &mut Mbuf, mtu: u16) -> bool {
    let most = IP + usize::from(mtu);
    if mbuf.len() > most
        && let Some(&[high, low]) = mbuf.data().get(IP + 4..).and_then(<[u8]>::first_chunk)
    {
        mbuf.truncate(IP + ipv6::HEADER_LENGTH + usize::from(u16::from_be_bytes([high, low])));
    }
    mbuf.len() <= most
}

/// The realm and the interface that packets of this half leave into, or what the routes say instead.
fn egress(core: &mut Core, world: &World, mbuf: &Mbuf, record: &Record6) -> Result<(Realm, u16), DropReason> {
    let realm = world.flows.twin(record).ok_or(DropReason::NoSession)?.key().realm();
    if let Some(interface) = world.adjacencies.interface(record.common().path()) {
        return Ok((realm, interface));
    }
    let hash = super::reroute::flow_hash(&mbuf.data()[IP..]);
    let (interface, _) = world.next_hop(core.routes.now(), realm, record.key().destination(), hash)?;
    Ok((realm, interface))
}

fn clamp(world: &World, mbuf: &mut Mbuf, upper: usize, interfaces: [u16; 2]) {
    let limit = |i: u16| world.interfaces[usize::from(i)].segment_limit(IPV6_AND_TCP);
    let most = interfaces.into_iter().filter_map(limit).min();
    if let Some(most) = most
        && let Some(segment) = mbuf.data_mut().get_mut(upper..)
        && let Ok(mut tcp) = TcpMut::parse(segment)
        && tcp.view().maximum_segment_size().is_some_and(|announced| announced > most)
    {
        tcp.set_mss(most);
    }
}

fn depart(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record6, realm: Realm) {
    // Checked by `judge`: there is a whole header, and at least two hops are left.
    if let Some(hops) = mbuf.data_mut().get_mut(HOP_LIMIT) {
        *hops = hops.saturating_sub(1);
    }
    core.out.counters.forwarded_packets.add(1);
    core.out.counters.forwarded_bytes.add(mbuf.len() as u64);
    match world.adjacencies.hop(record.common().path()) {
        Some(hop) => core.send_to(mbuf, &hop),
        None => {
            let session = (record.common() as &dyn KeepsPath, super::reroute::flow_hash(&mbuf.data()[IP..]));
            resolve::towards(core, world, mbuf, realm, Some(session), 0);
        }
    }
}
