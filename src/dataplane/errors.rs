//! ICMP errors of the edge's own: to whom, from which address, and when not at all (RFC 1122 section 3.2.2, RFC 1812
//! section 4.3.2). One limit a second for all of them together, and a share of it for whoever is told (RFC 1812 section 4.3.2.8).

use super::core::Core;
use super::message;
use super::resolve;
use super::slow::Arrival;
use super::tunnels;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::firewall::parse;
use crate::flow::record::Record;
use crate::flow::{Key4, Protocol, Realm, Record4, Record6};
use crate::packet::build::{IcmpError, Icmpv6Error, Path};
use crate::packet::checksum::checksum;
use crate::packet::icmp::may_generate_error;
use crate::packet::icmpv6;
use crate::packet::{Ipv4, Ipv6, Link, MacAddr};
use std::net::{IpAddr, Ipv6Addr};

/// Tells the sender of a packet that came in what is wrong with it; false when nothing was sent, by the rules about errors or
/// the limit. The answer goes back the way that the packet came.
pub fn answer4(
    core: &mut Core,
    world: &World,
    mbuf: &Mbuf,
    ip: &Ipv4<'_>,
    arrival: Arrival,
    error: IcmpError,
) -> bool {
    if arrival.realm == Realm::TUNNEL {
        return tunnels::answer(core, world, ip, error);
    }
    let Ok(link) = Link::parse(mbuf.data()) else { return false };
    let interface = &world.interfaces[usize::from(arrival.interface)];
    // The second leg of a hairpin shows a translated source: its way back is not the one that it came.
    if arrival.hairpin {
        return answer_untranslated4(core, world, ip, arrival.realm, error);
    }
    if !may_generate_error(link.ethernet.destination(), ip) {
        return false;
    }
    let Some(source) = world.speaks_as(arrival.interface, ip.source()) else { return false };
    if !core.icmp_errors.allow(ip.source().into(), core.now) {
        return false;
    }
    let path = Path::back(&link, interface.mac);
    let Some(message) = message::icmp_error(&core.pool, &path, source, error, ip) else { return false };
    core.originate(interface, message);
    true
}

/// A packet that was translated, or is the edge's own, and was to leave into `realm` has found nobody at its next hop: tells
/// the sender, as the packet was before, that the host is unreachable (RFC 1812 section 5.2.7.1).
#[cold]
pub fn host_unreachable(core: &mut Core, world: &World, mbuf: &Mbuf, realm: Realm) {
    if super::slow::is_ipv6(mbuf) {
        host_unreachable6(core, world, mbuf, realm);
    } else {
        host_unreachable4(core, world, mbuf, realm);
    }
}

fn host_unreachable4(core: &mut Core, world: &World, mbuf: &Mbuf, realm: Realm) {
    let Ok(ip) = Ipv4::parse_quoted(&mbuf.data()[14.min(mbuf.data().len())..]) else { return };
    answer_untranslated4(core, world, &ip, realm, IcmpError::HostUnreachable);
}

/// Tells the sender of a packet that was translated, and is in `realm` or was to leave into it, as the packet was before; false
/// when nothing was sent. How the sender is reached is what the routes say.
fn answer_untranslated4(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    realm: Realm,
    error: IcmpError,
) -> bool {
    let Some((sender, interface)) = sender4(core, world, ip, realm) else { return false };
    let untranslated = untranslated(ip, &sender);
    let Ok(quote) = Ipv4::parse_quoted(&untranslated) else { return false };
    let Some(interface) = interface else { return tunnels::answer(core, world, &quote, error) };
    let Some(source) = world.speaks_as(interface, sender.source()) else { return false };
    // Nobody's link-layer address is known here; the rule about broadcasts was kept when the packet came in.
    if !may_generate_error(MacAddr::ZERO, ip) || !core.icmp_errors.allow(sender.source().into(), core.now) {
        return false;
    }
    let own = &world.interfaces[usize::from(interface)];
    let path = Path::untagged(own.mac, MacAddr::ZERO);
    let Some(message) = message::icmp_error(&core.pool, &path, source, error, &quote) else { return false };
    core.out.counters.originated_packets.add(1);
    resolve::towards(core, world, message, sender.realm(), None, 0);
    true
}

/// What a translated packet came as, and the interface by which its sender is reached; none of one that came by a tunnel.
fn sender4(core: &mut Core, world: &World, ip: &Ipv4<'_>, realm: Realm) -> Option<(Key4, Option<u16>)> {
    // Its answers would be translated back to that.
    let key = super::slow::transport(ip, realm).ok()?.key;
    let (_, back) = world.flows.lookup::<Record4>(&key.reversed(realm))?;
    let sender = world.flows.twin(back)?.key();
    if sender.realm() == Realm::TUNNEL {
        return Some((sender, None));
    }
    // Behind its second leg a hairpin has been translated twice: its source is an address of ours.
    if world.nat.as_deref().is_some_and(|nat| nat.is_outside(sender.realm()) && nat.contains(sender.source()))
    {
        return None;
    }
    let (interface, _) = world.next_hop(core.routes.now(), sender.realm(), sender.source(), 0).ok()?;
    Some((sender, Some(interface)))
}

/// The same for IPv6 (RFC 4443 section 3.1), of which nothing was translated.
fn host_unreachable6(core: &mut Core, world: &World, mbuf: &Mbuf, realm: Realm) {
    let Some(Ok(ip)) = mbuf.data().get(14..).map(Ipv6::parse_quoted) else { return };
    let Some(key) = parse::flow(&ip, realm).ok().map(|f| f.key) else { return };
    let Some((_, back)) = world.flows.lookup::<Record6>(&key.reversed(realm)) else { return };
    let Some(forward) = world.flows.twin(back) else { return };
    let from = forward.key().realm();
    let Ok((interface, _)) = world.next_hop(core.routes.now(), from, ip.source(), 0) else { return };
    if !icmpv6::may_generate_error(MacAddr::ZERO, &ip)
        || !core.icmp_errors.allow(ip.source().into(), core.now)
    {
        return;
    }
    let source = speaks_as6(world, interface, ip.source());
    let path = Path::untagged(world.interfaces[usize::from(interface)].mac, MacAddr::ZERO);
    let error = Icmpv6Error::AddressUnreachable;
    if let Some(message) = message::icmpv6_error(&core.pool, &path, source, error, &ip) {
        core.out.counters.originated_packets.add(1);
        resolve::towards(core, world, message, from, None, 0);
    }
}

/// Bytes of the quote of such an error: a header of the longest kind and the eight bytes that RFC 792 asks for.
const QUOTE: usize = 68;

/// The beginning of a packet with the addresses and ports that it came with. Its checksums are not put back: who gets the error
/// looks at addresses and ports alone (RFC 5508 section 4.2 forbids to check the quoted ones).
fn untranslated(ip: &Ipv4<'_>, sender: &Key4) -> [u8; QUOTE] {
    let mut quote = [0; QUOTE];
    let length = ip.copy_to(&mut quote);
    let l4 = ip.header_length();
    quote[12..20].copy_from_slice(&sender.addresses.to_le_bytes());
    let ports = (sender.tail as u32).to_le_bytes();
    // An echo has its identifier behind type, code and checksum.
    let (at, width) = if sender.protocol() == Protocol::Icmp as u8 { (l4 + 4, 2) } else { (l4, 4) };
    if at + width <= length.min(QUOTE) {
        quote[at..at + width].copy_from_slice(&ports[..width]);
    }
    quote[10..12].fill(0);
    let sum = checksum(&quote[..l4.min(QUOTE)]);
    quote[10..12].copy_from_slice(&sum.to_ne_bytes());
    quote
}

/// As [`answer4`], for IPv6 (RFC 4443 section 2.4).
pub fn answer6(
    core: &mut Core,
    world: &World,
    mbuf: &Mbuf,
    ip: &Ipv6<'_>,
    arrival: Arrival,
    error: Icmpv6Error,
) -> bool {
    let Ok(link) = Link::parse(mbuf.data()) else { return false };
    let interface = &world.interfaces[usize::from(arrival.interface)];
    if !icmpv6::may_generate_error(link.ethernet.destination(), ip) {
        return false;
    }
    let source = speaks_as6(world, arrival.interface, ip.source());
    if !core.icmp_errors.allow(ip.source().into(), core.now) {
        return false;
    }
    let path = Path::back(&link, interface.mac);
    let Some(message) = message::icmpv6_error(&core.pool, &path, source, error, ip) else { return false };
    core.originate(interface, message);
    true
}

/// The address that an error comes from (RFC 4443 section 2.2): one near the sender, else any of that interface or of its realm
/// that can be told from far away, else the link's.
pub(super) fn speaks_as6(world: &World, interface: u16, towards: Ipv6Addr) -> Ipv6Addr {
    let near = world.speaks_as6(interface, towards);
    if !near.is_unicast_link_local() || towards.is_unicast_link_local() {
        return near;
    }
    let own = &world.interfaces[usize::from(interface)];
    let others = world.interfaces.iter().filter(|i| i.realm == own.realm);
    let mut all = std::iter::once(own).chain(others).flat_map(|i| &i.addresses);
    let global = all.find_map(|net| match net.addr() {
        IpAddr::V6(address) if !address.is_unicast_link_local() => Some(address),
        _ => None,
    });
    global.unwrap_or(near)
}
