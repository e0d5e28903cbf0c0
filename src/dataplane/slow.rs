//! One packet at a time: what the fast way does not know. ARP, the edge's own addresses, header options, ICMP echo and
//! errors, the second leg of a hairpin, and every miss. It judges first and acts afterwards; each packet ends in exactly one
//! `Verdict`.

use super::cetp;
use super::claims;
use super::classify::Ingress;
use super::core::Core;
use super::decapsulate;
use super::depart;
use super::errors;
use super::fragments;
use super::local;
use super::newcomers;
use super::pcp;
use super::police::Subscriber;
use super::resolve;
use super::slow6;
use super::sources;
use super::tunnels;
use super::unsolicited;
use super::vlan::{self, Vlan};
use super::world::{NEIGHBOR_OWNER, World};
use crate::dpdk::{Checksum, Mbuf};
use crate::flow::key::ports;
use crate::flow::record::Record;
use crate::flow::{Key4, Protocol, Realm, Record4, Record6};
use crate::nat::tunnel::outer::Outer;
use crate::nat::{Nat44, Opening, fragments::Head, icmp_error};
use crate::packet::build::IcmpError;
use crate::packet::icmp::{Icmp, IcmpType};
use crate::packet::{DropReason, EtherType, Ipv4, Link, MacAddr, Tcp};
use crate::ring::Task;
use std::net::Ipv4Addr;

/// How a packet came here.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub interface: u16,
    pub realm: Realm,
    /// On its second leg: translated once, its link-layer header no longer to be judged.
    pub hairpin: bool,
    /// Hand-offs behind it.
    pub hops: u8,
}

impl Arrival {
    pub fn on(ingress: &Ingress) -> Self {
        Self { interface: ingress.interface, realm: ingress.realm, hairpin: false, hops: 0 }
    }
}

/// What becomes of a packet.
pub enum Verdict<'w> {
    Drop(DropReason),
    /// It has been answered or taken note of.
    Done,
    /// Another worker's: its home's, or the neighbour owner's.
    Hand(usize),
    /// It has a session.
    Act {
        record: &'w Record4,
        place: Place,
        tcp_flags: u8,
    },
    /// It opens a session, which has its mapping: see [`newcomers`].
    Open {
        opening: Opening,
        place: Place,
        tcp_flags: u8,
    },
    /// It is an ICMP error about a packet of a session, and travels along this half: the session takes no notice.
    Report {
        record: &'w Record4,
    },
    /// A fragment that waits for the first of its datagram, at this place.
    Hold(u32),
    /// A fragment whose datagram's ports are known.
    Fragment(Head),
    /// A tunnelled packet: what it carries is to be judged.
    Tunnelled(Outer),
    /// As [`Verdict::Act`], for IPv6; `upper` is where its transport begins in the frame.
    Act6 {
        record: &'w Record6,
        upper: usize,
        tcp_flags: u8,
    },
    /// As [`Verdict::Report`], for IPv6.
    Report6 {
        record: &'w Record6,
    },
}

/// Where the headers lie in the frame, and which transport it is, by its IANA number.
#[derive(Clone, Copy)]
pub struct Place {
    pub ip: usize,
    pub l4: usize,
    pub protocol: u8,
}

impl<'w> From<Result<Verdict<'w>, DropReason>> for Verdict<'w> {
    fn from(r: Result<Verdict<'w>, DropReason>) -> Self {
        r.unwrap_or_else(Verdict::Drop)
    }
}

/// Judges a packet and does what the verdict says.
pub fn receive(core: &mut Core, world: &World, mut mbuf: Mbuf, arrival: Arrival) {
    let verdict = Verdict::from(judge(core, world, &mut mbuf, arrival));
    carry_out(core, world, mbuf, arrival, verdict);
}

pub(super) fn carry_out(core: &mut Core, world: &World, mbuf: Mbuf, arrival: Arrival, verdict: Verdict<'_>) {
    match verdict {
        Verdict::Drop(why) => core.out.drop(mbuf, why),
        Verdict::Done => core.out.counters.local_packets.add(1),
        Verdict::Hand(worker) => {
            let Arrival { interface, realm, hairpin, hops } = arrival;
            core.out.hand(worker, mbuf, Task::Receive { interface, realm, hairpin }, hops);
        }
        Verdict::Act { record, place, tcp_flags } => {
            depart::act(core, world, mbuf, record, place, tcp_flags, arrival);
        }
        Verdict::Open { opening, place, tcp_flags } => {
            match newcomers::open(core, world, opening, &mbuf, arrival) {
                Ok(record) => depart::act(core, world, mbuf, record, place, tcp_flags, arrival),
                Err(why) => core.out.drop(mbuf, why),
            }
        }
        Verdict::Report { record } => depart::report(core, world, mbuf, record, arrival),
        Verdict::Hold(place) => fragments::hold(core, world, mbuf, place, arrival),
        Verdict::Fragment(head) => fragments::forward(core, world, mbuf, head, arrival),
        Verdict::Tunnelled(outer) => decapsulate::receive(core, world, mbuf, &outer, arrival),
        Verdict::Act6 { record, upper, tcp_flags } => {
            slow6::act(core, world, mbuf, record, upper, tcp_flags, arrival);
        }
        Verdict::Report6 { record } => slow6::report(core, world, mbuf, record),
    }
}

/// The second legs of the hairpins of a burst: as if they came from the outside.
pub fn second_legs(core: &mut Core, world: &World) {
    let Some(nat) = world.nat.as_deref() else { return };
    while let Some((mbuf, ports)) = core.second_legs.pop_at(0) {
        let interface = 0;
        let arrival = Arrival { interface, realm: nat.options().outside, hairpin: true, hops: 0 };
        if fragments::is_fragment(&mbuf) {
            fragments::onward(core, world, mbuf, ports, arrival);
        } else {
            receive(core, world, mbuf, arrival);
        }
    }
}

/// Whether the frame, without tags, carries IPv6.
#[inline(always)]
pub fn is_ipv6(mbuf: &Mbuf) -> bool {
    mbuf.data().get(12..14) == Some(&[0x86, 0xdd])
}

/// The home of a packet: its subscriber's, from either side. `None` when it has none.
pub fn home_of(nat: &Nat44, key: &Key4) -> Option<usize> {
    if nat.is_inside(key.realm()) {
        Some(nat.home_of_inside(key.realm(), key.source()))
    } else if nat.is_outside(key.realm()) {
        nat.home_of_public(key.destination(), key.destination_port())
    } else {
        None
    }
}

pub(super) fn judge<'w>(
    core: &mut Core,
    world: &'w World,
    mbuf: &mut Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    if arrival.realm == Realm::TUNNEL {
        return tunnels::judge(core, world, mbuf, arrival);
    }
    let link = Link::parse(mbuf.data())?;
    let to = link.ethernet.destination();
    let ours = world.interfaces[usize::from(arrival.interface)].mac;
    if !arrival.hairpin && to != ours && !to.is_multicast() {
        return Err(DropReason::NotForUs);
    }
    // Of a tagged port's frames the tags are off already; on others a tag of priority only is none.
    if !link.tags.is_empty() {
        let none = link.tags.len() == 1 && vlan::take_off(mbuf) == Some(Vlan::NONE);
        return if none { judge(core, world, mbuf, arrival) } else { Err(DropReason::VlanUnknown) };
    }
    match link.ether_type {
        EtherType::IPV4 => ipv4(core, world, mbuf, to, arrival),
        EtherType::ARP if core.id == NEIGHBOR_OWNER => {
            resolve::heard_arp(core, world, &link, arrival.interface)?;
            local::neighbor_spoke(core, world, mbuf, arrival);
            Ok(Verdict::Done)
        }
        EtherType::ARP => Ok(Verdict::Hand(NEIGHBOR_OWNER)),
        EtherType::IPV6 => slow6::judge(core, world, mbuf, to, arrival),
        EtherType::CETP
            if to == ours && world.tunnels.as_ref().is_some_and(|t| t.is_ethernet(arrival.interface)) =>
        {
            match decapsulate::outside(world, mbuf, arrival.interface, arrival.realm) {
                Some(outer) => Ok(Verdict::Tunnelled(outer)),
                None => {
                    let source = link.ethernet.source();
                    cetp::up_ethernet(core, arrival.interface, source, mbuf).map(|()| Verdict::Done)
                }
            }
        }
        _ => Err(DropReason::EtherTypeUnknown),
    }
}

/// Where the IP header of an untagged frame begins.
pub(super) const IP: usize = crate::packet::ethernet::HEADER_LENGTH;

fn ipv4<'w>(
    core: &mut Core,
    world: &'w World,
    mbuf: &mut Mbuf,
    frame_to: MacAddr,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let verified = mbuf.rx_ip_checksum();
    let bytes = &mbuf.data()[IP..];
    let ip = if mbuf.is_contiguous() { Ipv4::parse(bytes) } else { Ipv4::parse_quoted(bytes) }?;
    if IP + usize::from(ip.total_length()) > mbuf.len() {
        return Err(DropReason::Truncated);
    }
    if verified == Checksum::Bad || (verified == Checksum::Unknown && !ip.checksum_is_right()) {
        return Err(DropReason::Ipv4ChecksumBad);
    }
    let (source, destination) = (ip.source(), ip.destination());
    // Of a broadcast address nobody speaks (RFC 1812 section 5.3.7), and an answer would go to all (RFC 1122 section 3.2.2).
    if !is_host(source) || world.is_own(arrival.realm, source) || world.is_broadcast(arrival.realm, source) {
        return Err(DropReason::Ipv4SourceInvalid);
    }
    if world.is_own(arrival.realm, destination) {
        // RFC 1122 section 3.3.6: what everybody on the link has got is for nobody's own address.
        if frame_to.is_multicast() {
            return Err(DropReason::Ipv4DestinationInvalid);
        }
        sources::check(core, world, arrival, source.into())?;
        if let Some(outer) = decapsulate::outside(world, mbuf, arrival.interface, arrival.realm) {
            return Ok(Verdict::Tunnelled(outer));
        }
        // What a subscriber asks of the NAT its home answers.
        if let Some(home) = pcp::home(world, &ip, arrival.realm).filter(|home| *home != core.id) {
            return Ok(Verdict::Hand(home));
        }
        return local::ipv4(core, world, &ip, mbuf, arrival).map(|()| Verdict::Done);
    }
    police(core, world, arrival, || Subscriber::v4(arrival.realm, u32::from_le_bytes(source.octets())))?;
    if !is_host(destination) || frame_to.is_multicast() || world.is_broadcast(arrival.realm, destination) {
        return Err(DropReason::Ipv4DestinationInvalid);
    }
    // RFC 3927 section 7: link-local addresses never leave their link.
    if source.is_link_local() {
        return Err(DropReason::Ipv4SourceInvalid);
    }
    if destination.is_link_local() {
        return Err(DropReason::Ipv4DestinationInvalid);
    }
    if ip.has_source_route() {
        return Err(DropReason::Ipv4SourceRoute);
    }
    if ip.ttl() <= 1 {
        let sent = errors::answer4(core, world, mbuf, &ip, arrival, IcmpError::TimeExceeded);
        return Err(if sent { DropReason::TtlExceeded } else { DropReason::TtlExceededQuiet });
    }
    of_a_flow(core, world, &ip, mbuf, arrival)
}

/// A packet between hosts that may be forwarded as far as its IPv4 header tells: the flow that it is of.
pub(super) fn of_a_flow<'w>(
    core: &mut Core,
    world: &'w World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    if ip.is_fragment() {
        return fragments::gather(core, world, ip, arrival);
    }
    if let Some(key) = icmp_error::key(ip, arrival.realm)? {
        let found = world.flows.lookup::<Record4>(&key);
        return found.map(|(_, record)| Verdict::Report { record }).ok_or(DropReason::IcmpErrorNoSession);
    }
    let flow = transport(ip, arrival.realm)?;
    let place = Place { ip: IP, l4: IP + ip.header_length(), protocol: flow.key.protocol() };
    session_or_opening(core, world, &flow, place, ip, mbuf, arrival)
}

/// Whether a packet that the fast way has not counted is within its subscriber's rate. Asked once, where it came in.
pub(super) fn police(
    core: &Core,
    world: &World,
    arrival: Arrival,
    subscriber: impl FnOnce() -> Subscriber,
) -> Result<(), DropReason> {
    let Some(policer) = &world.policer else { return Ok(()) };
    let is_new = arrival.hops == 0 && !arrival.hairpin;
    let inside = world.nat.as_deref().is_some_and(|nat| nat.is_inside(arrival.realm))
        || world.firewall.as_deref().is_some_and(|firewall| firewall.is_inside(arrival.realm));
    if is_new && inside && !policer.allow(subscriber(), core.now) {
        return Err(DropReason::SubscriberRate);
    }
    Ok(())
}

/// What the transport header says of the flow. (An ICMP error has been told apart before.)
pub(super) struct Flow {
    pub(super) key: Key4,
    pub(super) tcp_flags: u8,
    /// Whether this packet may create a session.
    pub(super) opens: bool,
}

pub(super) fn transport(ip: &Ipv4<'_>, realm: Realm) -> Result<Flow, DropReason> {
    let payload = ip.payload();
    let whole = usize::from(ip.total_length()) - ip.header_length();
    let number = ip.protocol().0;
    let end = |port: u16, port2: u16, tcp_flags, opens| {
        let (ends, ports) = ((ip.source(), ip.destination()), ports(port, port2));
        Flow { key: Key4::of_any_protocol(realm, number, ends, ports), tcp_flags, opens }
    };
    let Some(protocol) = Protocol::from_number(number) else { return Ok(end(0, 0, 0, true)) };
    match protocol {
        Protocol::Tcp => {
            let tcp = Tcp::parse(payload)?;
            if !tcp.flags().is_sane() {
                return Err(DropReason::TcpFlagsInvalid);
            }
            Ok(end(tcp.source_port(), tcp.destination_port(), tcp.flags().0, true))
        }
        Protocol::Udp => {
            let h: &[u8; 8] = payload.first_chunk().ok_or(DropReason::L4HeaderInvalid)?;
            let word = |i: usize| u16::from_be_bytes([h[i], h[i + 1]]);
            // A first fragment says how long its whole datagram is.
            if usize::from(word(4)) < 8 || usize::from(word(4)) > whole && !ip.is_fragment() {
                return Err(DropReason::L4HeaderInvalid);
            }
            Ok(end(word(0), word(2), 0, true))
        }
        Protocol::Icmp => {
            let icmp = Icmp::parse(payload)?;
            match icmp.echo() {
                Some(echo) => {
                    let request = icmp.kind() == IcmpType::ECHO_REQUEST;
                    Ok(end(echo.identifier, echo.identifier, 0, request))
                }
                None => Err(DropReason::IcmpUnsupported),
            }
        }
        Protocol::Icmpv6 => Err(DropReason::ProtocolUnsupported),
    }
}

/// Whether this says that a subscriber has no share left, or may have none: it is told so (RFC 5508 REQ-8).
pub(super) fn is_refusal(why: DropReason) -> bool {
    use DropReason::*;
    matches!(
        why,
        NatNoPort
            | NatNoPool
            | NatPoolDraining
            | NatSessionLimit
            | NatSessionRate
            | NatMappingsFull
            | NatSubscribersFull
            | SessionsFull
            | IndexFull
            | ProxyCollision
    )
}

/// The packet's session: found, made here at home, or its home's business.
pub(super) fn session<'w>(
    core: &mut Core,
    world: &'w World,
    flow: &Flow,
    place: Place,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    match session_or_opening(core, world, flow, place, ip, mbuf, arrival)? {
        Verdict::Open { opening, place, tcp_flags } => newcomers::open(core, world, opening, mbuf, arrival)
            .map(|record| Verdict::Act { record, place, tcp_flags }),
        verdict => Ok(verdict),
    }
}

/// As [`session`], but one that is to be opened from inside is left to [`newcomers::open`].
fn session_or_opening<'w>(
    core: &mut Core,
    world: &'w World,
    flow: &Flow,
    place: Place,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let found = |record| Ok(Verdict::Act { record, place, tcp_flags: flow.tcp_flags });
    let hit = world.flows.lookup::<Record4>(&flow.key);
    if let Some((_, record)) = hit.filter(|(_, record)| tunnels::lives(world, record)) {
        let reopens = claims::reopening(core, world, flow, record, ip, mbuf, arrival);
        return reopens.unwrap_or_else(|| found(record));
    }
    if let Some(opening) = tunnels::opening(core, world, flow, place, ip, mbuf, arrival) {
        return opening;
    }
    if hit.is_some() {
        errors::answer4(core, world, mbuf, ip, arrival, IcmpError::HostUnreachable);
        return Err(DropReason::CetpNoTunnel);
    }
    let nat = world.nat.as_deref().ok_or(DropReason::RealmNotServed)?;
    sources::check(core, world, arrival, ip.source().into())?;
    let outbound = nat.is_inside(flow.key.realm());
    let destination = nat.remote_of(&flow.key).inspect_err(|_| {
        errors::answer4(core, world, mbuf, ip, arrival, IcmpError::HostUnreachable);
    })?;
    let to_pool = nat.contains(destination);
    if outbound {
        // No session, and no port spent, for what leads nowhere.
        if !to_pool && let Err(why) = world.next_hop(core.routes.now(), nat.options().outside, destination, 0)
        {
            unroutable(core, world, ip, mbuf, arrival, why);
            return Err(why);
        }
    } else if !nat.is_outside(flow.key.realm()) {
        return Err(DropReason::RealmNotServed);
    } else if !to_pool {
        return Err(DropReason::NoSession);
    }
    if !outbound && nat.circular_number(destination).is_some() {
        return claims::newcomer(core, world, flow, ip, mbuf, arrival);
    }
    let Some(home) = home_of(nat, &flow.key) else {
        unsolicited::hold4(core, mbuf, ip, flow.tcp_flags, arrival);
        return Err(DropReason::NatNoMapping);
    };
    if home != core.id {
        return Ok(Verdict::Hand(home));
    }
    if !flow.opens {
        return Err(DropReason::NoSession);
    }
    let home = core.nat.as_mut().ok_or(DropReason::RealmNotServed)?;
    if outbound {
        let chosen = home.choose(&world.flows, &flow.key, flow.tcp_flags, core.now);
        if let Err(why) = chosen
            && is_refusal(why)
        {
            errors::answer4(core, world, mbuf, ip, arrival, IcmpError::AdministrativelyProhibited);
        }
        return chosen.map(|opening| Verdict::Open { opening, place, tcp_flags: flow.tcp_flags });
    }
    let made = home.inbound(&mut core.flows, &flow.key, flow.tcp_flags, core.now);
    if let Err(DropReason::NatNoMapping | DropReason::NatFiltered) = made {
        unsolicited::hold4(core, mbuf, ip, flow.tcp_flags, arrival);
    }
    let made = made?;
    core.out.counters.sessions_created.add(1);
    match world.flows.get::<Record4>(made) {
        Some(record) if record.matches(&flow.key) => found(record),
        _ => Err(DropReason::NoSession),
    }
}

/// Tells the sender what the routes say (RFC 1812 section 5.2.7.1).
pub(super) fn unroutable(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
    why: DropReason,
) {
    let error = match why {
        DropReason::NoRoute => IcmpError::NetworkUnreachable,
        DropReason::RouteUnreachable => IcmpError::HostUnreachable,
        DropReason::RouteProhibited => IcmpError::AdministrativelyProhibited,
        _ => return,
    };
    errors::answer4(core, world, mbuf, ip, arrival, error);
}

/// Whether this can be the address of one host (RFC 1122 section 3.2.1.3, RFC 5735).
fn is_host(a: Ipv4Addr) -> bool {
    !(a.octets()[0] == 0 || a.is_loopback() || a.octets()[0] >= 224)
}
