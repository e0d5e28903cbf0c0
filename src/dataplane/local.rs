//! To an address of the edge's own. Echo is answered here (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2), and what
//! subscribers ask of the NAT ([`super::pcp`]); questions to the edge's DNS go up to its thread ([`super::dns`]), other edges' messages,
//! and routers' about tunnelled packets, to who negotiates ([`super::cetp`]); everything else to the kernel's interface where there is one (the exception path), and is refused as a host does where there is none: a
//! reset for TCP (RFC 9293 section 3.5.2), port or protocol unreachable for others (RFC 1122 section 3.2.2.1).

use super::cetp;
use super::core::Core;
use super::dns;
use super::errors;
use super::message;
use super::pcp;
use super::punt::Class;
use super::slow::Arrival;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::packet::arp::Operation;
use crate::packet::build::{self, IcmpError, Icmpv6Error, Ip, Path, Transport};
use crate::packet::icmp::{Icmp, IcmpType};
use crate::packet::icmpv6::{Icmpv6, Icmpv6Type};
use crate::packet::{
    Arp, DropReason, Error, EtherType, Ipv4, Ipv6, Link, Protocol, Tcp, TcpFlags, TooBig, ipv4, ipv6, tcp,
};
use std::net::IpAddr;

/// Bytes of Ethernet, IPv6 and TCP headers: the room of a reset.
const RESET: usize = 14 + 40 + 20;

/// IPv4, see the module.
///
/// # Errors
/// Why it was not taken note of; the sender may have been told.
pub fn ipv4(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    let is_echo = ip.protocol() == Protocol::ICMP
        && !ip.is_fragment()
        && Icmp::parse(ip.payload()).is_ok_and(|icmp| icmp.kind() == IcmpType::ECHO_REQUEST);
    if is_echo {
        core.punts.echo(core.now)?;
        let room = 14 + usize::from(ip.total_length());
        return reply(core, world, mbuf, arrival, room, |b, path| build::echo_reply(b, path, ip));
    }
    if pcp::is_request(world, ip, arrival.realm) {
        return pcp::serve(core, world, ip, mbuf, arrival);
    }
    let source = ip.source().into();
    if ip.protocol() == Protocol::UDP && !ip.is_fragment() && dns::is_question(core, ip.payload()) {
        return dns::up(core, arrival.interface, source, ip.payload(), &ip.pseudo_header(), mbuf);
    }
    let is_datagram = ip.protocol() == Protocol::UDP && !ip.is_fragment();
    if is_datagram && cetp::is_of_an_edge(world.tunnels.as_ref(), ip.payload()) {
        return cetp::up(core, arrival.interface, source, ip.payload(), &ip.pseudo_header(), mbuf);
    }
    if let Some(tunnels) = world.tunnels.as_ref().filter(|_| mbuf.is_contiguous())
        && let Some(said) = TooBig::of4(ip, tunnels.port)
        && tunnels.rlocs.contains(&(arrival.realm, said.local))
    {
        return cetp::up_too_big(core, tunnels, arrival, source, &said, mbuf);
    }
    let class = class_of(ip.protocol(), ip.payload(), ip.fragment_offset() > 0);
    let up = core.punts.up(world, arrival.interface, class, source, mbuf, core.now);
    if up != Err(DropReason::LocalNoListener) {
        return up;
    }
    match ip.protocol() {
        _ if ip.is_fragment() => (),
        Protocol::TCP => return reset4(core, world, ip, mbuf, arrival),
        Protocol::UDP => drop(errors::answer4(core, world, mbuf, ip, arrival, IcmpError::PortUnreachable)),
        Protocol::ICMP => (),
        _ => drop(errors::answer4(core, world, mbuf, ip, arrival, IcmpError::ProtocolUnreachable)),
    }
    Err(DropReason::LocalNoListener)
}

/// IPv6, see the module. `address` is ours: the packet's destination.
///
/// # Errors
/// As for IPv4.
pub fn ipv6(
    core: &mut Core,
    world: &World,
    ip: &Ipv6<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    let upper = ip.upper().map_err(DropReason::from)?;
    if upper.has_source_route {
        return Err(DropReason::Ipv6ExtensionInvalid);
    }
    let is_echo = upper.protocol == Protocol::ICMPV6
        && upper.fragment.is_none()
        && Icmpv6::parse(upper.payload).is_ok_and(|icmp| icmp.kind() == Icmpv6Type::ECHO_REQUEST);
    if is_echo {
        core.punts.echo(core.now)?;
        let room = 14 + ipv6::HEADER_LENGTH + usize::from(ip.payload_length());
        let own = ip.destination();
        return reply(core, world, mbuf, arrival, room, |b, path| build::echo_reply_v6(b, path, own, ip));
    }
    let source = ip.source().into();
    let is_datagram = upper.protocol == Protocol::UDP && upper.fragment.is_none();
    if is_datagram && dns::is_question(core, upper.payload) {
        return dns::up(core, arrival.interface, source, upper.payload, &ip.pseudo_header(), mbuf);
    }
    if is_datagram && cetp::is_of_an_edge(world.tunnels.as_ref(), upper.payload) {
        return cetp::up(core, arrival.interface, source, upper.payload, &ip.pseudo_header(), mbuf);
    }
    if let Some(tunnels) = world.tunnels.as_ref().filter(|_| mbuf.is_contiguous())
        && let Some(said) = TooBig::of6(ip, tunnels.port)
        && tunnels.rlocs.contains(&(arrival.realm, said.local))
    {
        return cetp::up_too_big(core, tunnels, arrival, source, &said, mbuf);
    }
    let class = class_of(upper.protocol, upper.payload, upper.is_later_fragment());
    let up = core.punts.up(world, arrival.interface, class, source, mbuf, core.now);
    if up != Err(DropReason::LocalNoListener) || upper.fragment.is_some() {
        return up;
    }
    match upper.protocol {
        Protocol::TCP => return reset6(core, world, ip, mbuf, arrival),
        Protocol::UDP => drop(errors::answer6(core, world, mbuf, ip, arrival, Icmpv6Error::PortUnreachable)),
        Protocol::ICMPV6 => (),
        // Where it is named by the first header: behind others the place is not known here.
        _ if ip.next_header() != upper.protocol => (),
        _ => {
            let error = Icmpv6Error::UnrecognizedNextHeader { pointer: 6 };
            errors::answer6(core, world, mbuf, ip, arrival, error);
        }
    }
    Err(DropReason::LocalNoListener)
}

/// A neighbour has answered, an ARP reply or a neighbour advertisement: the kernel, which asks for itself, hears it too. What
/// it is asked is answered here.
pub fn neighbor_spoke(core: &mut Core, world: &World, mbuf: &Mbuf, arrival: Arrival) {
    let Ok(link) = Link::parse(mbuf.data()) else { return };
    let source = match link.ether_type {
        EtherType::ARP => Arp::parse(link.payload)
            .ok()
            .filter(|arp| arp.operation == Operation::Reply)
            .map(|arp| arp.sender_ip.into()),
        _ => Ipv6::parse(link.payload).ok().filter(is_advertisement).map(|ip| ip.source().into()),
    };
    // It is a copy: where it does not fit nothing is lost but one try of the kernel's.
    let _ = source.map(|source: IpAddr| {
        core.punts.up(world, arrival.interface, Class::Neighbor, source, mbuf, core.now)
    });
}

fn is_advertisement(ip: &Ipv6<'_>) -> bool {
    let kind = ip.upper().ok().and_then(|upper| upper.payload.first().copied());
    kind == Some(Icmpv6Type::NEIGHBOR_ADVERTISEMENT.0)
}

/// The limit that it comes under.
fn class_of(protocol: Protocol, transport: &[u8], is_later_fragment: bool) -> Class {
    match protocol {
        Protocol::TCP if !is_later_fragment => {
            let opens = Tcp::parse(transport).is_ok_and(|tcp| tcp.flags().starts_connection());
            if opens { Class::TcpSyn } else { Class::Tcp }
        }
        Protocol::UDP => Class::Udp,
        _ => Class::Other,
    }
}

/// Sends back what `write` makes, if anything.
pub(super) fn reply(
    core: &mut Core,
    world: &World,
    mbuf: &Mbuf,
    arrival: Arrival,
    room: usize,
    write: impl FnOnce(&mut [u8], &Path) -> Result<Option<usize>, Error>,
) -> Result<(), DropReason> {
    let interface = &world.interfaces[usize::from(arrival.interface)];
    let path = Path::back(&Link::parse(mbuf.data())?, interface.mac);
    let mut answered = false;
    let reply = message::compose(&core.pool, room, |buffer| {
        let length = write(buffer, &path)?;
        answered = length.is_some();
        Ok(length.unwrap_or(0))
    });
    match reply {
        Some(reply) if answered => {
            core.originate(interface, reply);
            Ok(())
        }
        Some(_) => Err(DropReason::LocalNoListener),
        None => Err(DropReason::NoBuffer),
    }
}

/// Refuses a segment from the address that it is to; always an error, which says nothing more.
pub(super) fn reset4(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    let header = ipv4::Header::new(ip.destination(), ip.source(), Protocol::TCP);
    reset(core, world, ip.payload(), Ip::V4(header), mbuf, arrival)
}

fn reset6(
    core: &mut Core,
    world: &World,
    ip: &Ipv6<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    let payload = ip.upper().map_err(DropReason::from)?.payload;
    let header = ipv6::Header::new(ip.destination(), ip.source(), Protocol::TCP);
    reset(core, world, payload, Ip::V6(header), mbuf, arrival)
}

/// Refuses a segment to a closed port, within the limit of errors: never a reset, which has no answer.
fn reset(
    core: &mut Core,
    world: &World,
    segment: &[u8],
    ip: Ip<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    let tcp = Tcp::parse(segment)?;
    let peer = match ip {
        Ip::V4(header) => IpAddr::V4(header.destination),
        Ip::V6(header) => IpAddr::V6(header.destination),
    };
    if tcp.flags().contains(TcpFlags::RST) || !core.icmp_errors.allow(peer, core.now) {
        return Err(DropReason::LocalNoListener);
    }
    let header = refusal(&tcp);
    let sent = reply(core, world, mbuf, arrival, RESET, |b, path| {
        build::frame(b, path, &ip, &Transport::Tcp(header, &[])).map(Some)
    });
    // Answered, and dropped for want of a listener all the same.
    sent.and(Err(DropReason::LocalNoListener))
}

/// The reset that answers a segment (RFC 9293 section 3.10.7.1).
fn refusal<'a>(tcp: &Tcp<'_>) -> tcp::Header<'a> {
    let (from, to, flags) = (tcp.destination_port(), tcp.source_port(), tcp.flags());
    if flags.contains(TcpFlags::ACK) {
        return tcp::Header { sequence: tcp.acknowledgement(), ..tcp::Header::new(from, to, TcpFlags::RST) };
    }
    let one = |flag| u32::from(flags.contains(flag));
    let length = tcp.payload().len() as u32 + one(TcpFlags::SYN) + one(TcpFlags::FIN);
    let header = tcp::Header::new(from, to, TcpFlags::RST | TcpFlags::ACK);
    tcp::Header { sequence: 0, acknowledgement: tcp.sequence().wrapping_add(length), ..header }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_acceptable_to_who_gets_it() {
        let answer = |flags, payload: &[u8]| {
            let header =
                tcp::Header { sequence: 1000, acknowledgement: 77, ..tcp::Header::new(5000, 22, flags) };
            let mut segment = vec![0; 20 + payload.len()];
            let pseudo_header = crate::packet::PseudoHeader::V4 {
                source: [10, 0, 0, 2].into(),
                destination: [10, 0, 0, 1].into(),
            };
            header.emit(&mut segment, &pseudo_header, payload).unwrap();
            let r = refusal(&Tcp::parse(&segment).unwrap());
            (r.source_port, r.destination_port, r.flags, r.sequence, r.acknowledgement)
        };
        let (rst, both) = (TcpFlags::RST, TcpFlags::RST | TcpFlags::ACK);
        assert_eq!(answer(TcpFlags::SYN, &[]), (22, 5000, both, 0, 1001));
        assert_eq!(answer(TcpFlags::FIN, &[1, 2]), (22, 5000, both, 0, 1003));
        let (_, _, flags, sequence, _) = answer(TcpFlags::ACK, &[1]);
        assert_eq!((flags, sequence), (rst, 77));
    }
}
