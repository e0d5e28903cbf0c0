//! Neighbour discovery as the neighbour owner hears it: solicitations for the edge's own addresses are answered,
//! advertisements are learnt from, and whoever claims an address of the edge's is told apart.
//!
//! [`judge`] is pure: from a frame to a [`Finding`]. [`heard`] does what the finding says.
//!
//! Guarantees: nothing is believed that RFC 4861 section 7.1 has discarded, that comes in fragments (RFC 6980), or that names a
//! group's MAC address, or ours from another station; only solicitations for our addresses, from hosts on the link, make new neighbours.
//! Never: learns routers or prefixes; an edge routes by its configuration, so that router discovery and redirects are taken
//! note of and nothing more.

use super::core::Core;
use super::world::{Interface, World};
use super::{announce, message, resolve};
use crate::neigh::Heard;
use crate::packet::build::Path;
use crate::packet::ndp::{self, Message, NeighborAdvertisement};
use crate::packet::{DropReason, Icmpv6, Icmpv6Type, Ipv6, Link, MacAddr, Protocol, mld};
use std::net::{IpAddr, Ipv6Addr};

/// Every node on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const REDIRECT: Icmpv6Type = Icmpv6Type(137);

/// The answer to a solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub to: MacAddr,
    /// The address that was asked for: it answers itself.
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub advertisement: NeighborAdvertisement,
}

/// What is learnt of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    pub address: Ipv6Addr,
    /// None where an advertisement leaves it out.
    pub mac: Option<MacAddr>,
    pub heard: Heard,
}

/// What a message is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Not our business, but in order.
    Noted,
    /// It asks for an address of ours; whoever does may be learnt.
    Asked(Answer, Option<Lesson>),
    Told(Lesson),
    /// A querier asks for our multicast groups.
    Queried,
    /// Somebody else uses an address of ours.
    Conflict {
        address: Ipv6Addr,
        mac: MacAddr,
    },
}

/// Whether a packet is the neighbour owner's: ICMPv6 of neighbour discovery (RFC 4861) or a multicast listener query.
pub fn is_for_owner(ip: &Ipv6<'_>) -> bool {
    let Ok(upper) = ip.upper() else { return false };
    let kind = upper.payload.first().filter(|_| upper.protocol == Protocol::ICMPV6);
    !upper.is_later_fragment()
        && kind.is_some_and(|kind| matches!(Icmpv6Type(*kind), mld::QUERY | Icmpv6Type(133..=137)))
}

/// The packet of a frame, if it is the neighbour owner's.
pub fn for_owner<'a>(link: &Link<'a>) -> Option<Ipv6<'a>> {
    Ipv6::parse(link.payload).ok().filter(is_for_owner)
}

/// What a message on `own`'s link is to us.
///
/// # Errors
/// [`DropReason::NdInvalid`] for what RFC 4861 section 7.1 discards, and for what no honest neighbour sends.
pub fn judge(own: &Interface, link: &Link<'_>, ip: &Ipv6<'_>) -> Result<Finding, DropReason> {
    const INVALID: DropReason = DropReason::NdInvalid;
    let upper = ip.upper().map_err(|_| INVALID)?;
    if upper.protocol != Protocol::ICMPV6 || upper.fragment.is_some() || upper.has_routing {
        return Err(INVALID);
    }
    let icmp = Icmpv6::parse(upper.payload).map_err(|_| INVALID)?;
    let (frame_from, source) = (link.ethernet.source(), ip.source());
    if !frame_from.is_unicast() || source.is_multicast() || source.is_loopback() {
        return Err(INVALID);
    }
    if icmp.kind() == mld::QUERY {
        return mld::is_query(ip, &icmp).then_some(Finding::Queried).ok_or(INVALID);
    }
    let Some(message) = Message::parse(ip, &icmp).map_err(|_| INVALID)? else {
        let right = icmp.kind() == REDIRECT
            && (ip.hop_limit(), icmp.code()) == (ndp::HOP_LIMIT, 0)
            && icmp.checksum_is_right(&ip.pseudo_header());
        return right.then_some(Finding::Noted).ok_or(INVALID);
    };
    if !ip.destination().is_multicast() && !own.has6(ip.destination()) {
        return Err(INVALID);
    }
    // Our own words, come back by a loop in the link, are nobody's claim. Other words from our MAC address are believed: a
    // tap's kernel end has its port's.
    let from_us = frame_from == own.mac;
    if from_us && own.has6(source) {
        return Err(INVALID);
    }
    if own.has6(source) {
        return Ok(Finding::Conflict { address: source, mac: frame_from });
    }
    match message {
        Message::NeighborSolicitation { target, options } => {
            let given = checked(own, options.source_link_layer_address(), frame_from)?;
            if from_us && source.is_unspecified() {
                return Err(INVALID);
            }
            Ok(solicited(own, source, target, given, frame_from))
        }
        Message::NeighborAdvertisement(advertisement, options) => {
            let NeighborAdvertisement { target, solicited, override_: overrides, .. } = advertisement;
            let mac = checked(own, options.target_link_layer_address(), frame_from)?;
            if from_us && own.has6(target) {
                return Err(INVALID);
            }
            if own.has6(target) {
                return Ok(Finding::Conflict { address: target, mac: mac.unwrap_or(frame_from) });
            }
            // Whether it is a router (RFC 4861 section 7.2.5) changes nothing: gateways are configured.
            Ok(Finding::Told(Lesson { address: target, mac, heard: Heard::Reply { solicited, overrides } }))
        }
        Message::RouterSolicitation(_) | Message::RouterAdvertisement(..) => Ok(Finding::Noted),
    }
}

/// RFC 4861 section 7.2.3: a solicitation for an address that is not ours is nothing to us, its sender neither.
fn solicited(
    own: &Interface,
    source: Ipv6Addr,
    target: Ipv6Addr,
    given: Option<MacAddr>,
    frame_from: MacAddr,
) -> Finding {
    if !own.has6(target) {
        return Finding::Noted;
    }
    let advertisement =
        |solicited| NeighborAdvertisement { target, router: true, solicited, override_: true };
    if source.is_unspecified() {
        // RFC 4861 section 7.2.4, RFC 4862 section 5.4.3: whoever probes for it is told, with all others, that it is taken.
        let to = MacAddr::for_ipv6_multicast(ALL_NODES);
        let answer =
            Answer { to, source: target, destination: ALL_NODES, advertisement: advertisement(false) };
        return Finding::Asked(answer, None);
    }
    let to = given.unwrap_or(frame_from);
    let answer = Answer { to, source: target, destination: source, advertisement: advertisement(true) };
    let heard = Heard::Request { for_us: own.is_on_link6(source) };
    Finding::Asked(answer, given.map(|mac| Lesson { address: source, mac: Some(mac), heard }))
}

/// A link-layer address that is given: one station's, and not ours unless the frame comes from there itself.
fn checked(
    own: &Interface,
    mac: Option<MacAddr>,
    frame_from: MacAddr,
) -> Result<Option<MacAddr>, DropReason> {
    let is_right = |mac: MacAddr| mac.is_unicast() && (mac != own.mac || frame_from == own.mac);
    if mac.is_none_or(is_right) { Ok(mac) } else { Err(DropReason::NdInvalid) }
}

/// Neighbour owner: a message for which [`is_for_owner`] holds has come in, whole, on `interface`.
///
/// # Errors
/// [`DropReason::NdInvalid`] for what is not believed, a claim of our address too; [`DropReason::NoBuffer`].
pub fn heard(
    core: &mut Core,
    world: &World,
    link: &Link<'_>,
    ip: &Ipv6<'_>,
    interface: u16,
) -> Result<(), DropReason> {
    let own = &world.interfaces[usize::from(interface)];
    match judge(own, link, ip)? {
        Finding::Noted => Ok(()),
        Finding::Asked(answer, lesson) => {
            if let Some(lesson) = lesson {
                learn(core, world, interface, lesson);
            }
            let path = Path { destination: answer.to, source: own.mac, tags: link.tags };
            let Answer { source, destination, advertisement, .. } = answer;
            let reply =
                message::neighbor_advertisement(&core.pool, &path, source, destination, &advertisement);
            core.originate(own, reply.ok_or(DropReason::NoBuffer)?);
            Ok(())
        }
        Finding::Told(lesson) => {
            learn(core, world, interface, lesson);
            Ok(())
        }
        Finding::Queried => {
            announce::queried(core);
            Ok(())
        }
        Finding::Conflict { address, mac } => {
            announce::conflict(core, world, interface, IpAddr::V6(address), mac);
            Err(DropReason::NdInvalid)
        }
    }
}

fn learn(core: &mut Core, world: &World, interface: u16, lesson: Lesson) {
    resolve::learn(core, world, interface, IpAddr::V6(lesson.address), lesson.mac, lesson.heard);
}

#[cfg(test)]
#[path = "nd_tests.rs"]
mod tests;
