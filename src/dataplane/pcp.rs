//! Subscribers ask the NAT for mappings (RFC 6888 REQ-9): datagrams to port 5351 of the edge's own address in an inside realm,
//! answered by the subscriber's home; and at start everybody there hears that the state began anew (RFC 6887 section 14.1.2).
//!
//! What is asked and answered is [`crate::nat::pcp`]'s; here it has frames. Within a limit of its own, and a share of it for each
//! source. Never: answers from outside (section 18.1).

use super::core::Core;
use super::local;
use super::message;
use super::slow::Arrival;
use super::world::{Interface, NEIGHBOR_OWNER, World};
use crate::dpdk::Mbuf;
use crate::flow::Realm;
use crate::nat::pcp::server::Done;
use crate::nat::pcp::{CLIENT_PORT, SERVER_PORT, wire};
use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::{DropReason, Ipv4, MacAddr, Protocol, PseudoHeader, Udp, ipv4, udp};
use ipnet::IpNet;
use std::net::Ipv4Addr;

/// Bytes of the headers before an answer.
const HEADERS: usize = 14 + 20 + 8;
/// All hosts of a link (RFC 1112 section 4), and how Ethernet writes that (section 6.4).
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_HOSTS_MAC: MacAddr = MacAddr([1, 0, 0x5e, 0, 0, 1]);
/// Announcements of a new epoch, each twice as long after the last as that after its own; the first two in milliseconds.
const ANNOUNCEMENTS: u32 = 10;
const FIRST_INTERVAL: u32 = 250;

/// Whether a packet to an address of the edge's own asks for mappings.
pub fn is_request(world: &World, ip: &Ipv4<'_>, realm: Realm) -> bool {
    let is_served =
        world.nat.as_deref().is_some_and(|nat| nat.options().pcp.is_some() && nat.is_inside(realm));
    let port = ip.payload().get(2..4);
    is_served
        && ip.protocol() == Protocol::UDP
        && !ip.is_fragment()
        && port == Some(&SERVER_PORT.to_be_bytes())
}

/// The home of whoever asks for mappings by this packet, if that is what it does.
pub fn home(world: &World, ip: &Ipv4<'_>, realm: Realm) -> Option<usize> {
    let nat = world.nat.as_deref().filter(|_| is_request(world, ip, realm))?;
    Some(nat.home_of_inside(realm, ip.source()))
}

/// Answers a request of a subscriber whose home this is.
///
/// # Errors
/// Why not.
pub fn serve(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<(), DropReason> {
    core.punts.control(ip.source().into(), core.now)?;
    let udp = Udp::parse(ip.payload())?;
    let ends = PseudoHeader::V4 { source: ip.source(), destination: ip.destination() };
    if !udp.checksum_is_right(&ends) {
        return Err(DropReason::ControlInvalid);
    }
    let mut answer = [0; wire::LONGEST];
    let (client, now) = ((arrival.realm, ip.source()), core.now);
    let home = core.nat.as_mut().ok_or(DropReason::ControlInvalid)?;
    let done = home.control(&mut core.flows, client, udp.payload(), now, &mut answer);
    let Done { length, sessions } = done.ok_or(DropReason::ControlInvalid)?;
    core.out.counters.sessions_created.add(sessions as u64);
    core.out.counters.control_requests.add(1);
    let header = ipv4::Header::new(ip.destination(), ip.source(), Protocol::UDP);
    let ports = udp::Header { source_port: SERVER_PORT, destination_port: udp.source_port() };
    local::reply(core, world, mbuf, arrival, HEADERS + length, |buffer, path| {
        build::frame(buffer, path, &Ip::V4(header), &Transport::Udp(ports, &answer[..length])).map(Some)
    })
}

/// How far the announcements of this start are.
#[derive(Default)]
pub struct Announcing {
    sent: u32,
    due: Option<u32>,
}

impl Announcing {
    /// Whether one is due.
    fn is_due(&mut self, now: u32) -> bool {
        let due = *self.due.get_or_insert(now);
        if self.sent >= ANNOUNCEMENTS || now.wrapping_sub(due) > u32::MAX / 2 {
            return false;
        }
        self.due = Some(now.wrapping_add(FIRST_INTERVAL << self.sent));
        self.sent += 1;
        true
    }
}

/// Neighbour owner: tells the hosts of every inside realm that there is a new epoch, now and then in the first minutes.
pub fn tick(core: &mut Core, world: &World) {
    if core.id != NEIGHBOR_OWNER || core.announcing.sent >= ANNOUNCEMENTS {
        return;
    }
    let Some(epoch) = core.nat.as_ref().and_then(|nat| nat.epoch()) else { return };
    if core.announcing.is_due(core.now) {
        announce(core, world, epoch);
    }
}

#[cold]
fn announce(core: &mut Core, world: &World, epoch: u32) {
    let Some(nat) = world.nat.as_deref() else { return };
    for interface in world.interfaces.iter().filter(|interface| nat.is_inside(interface.realm)) {
        if let Some(message) = announcement(core, interface, epoch) {
            core.originate(interface, message);
        }
    }
}

fn announcement(core: &Core, interface: &Interface, epoch: u32) -> Option<Mbuf> {
    let source = interface.addresses.iter().find_map(|net| match net {
        IpNet::V4(net) => Some(net.addr()),
        IpNet::V6(_) => None,
    })?;
    let mut payload = [0; wire::LONGEST];
    let length = wire::announce(epoch, &mut payload);
    let path = Path::untagged(interface.mac, ALL_HOSTS_MAC);
    let header = ipv4::Header { ttl: 1, ..ipv4::Header::new(source, ALL_HOSTS, Protocol::UDP) };
    let ports = udp::Header { source_port: SERVER_PORT, destination_port: CLIENT_PORT };
    message::compose(&core.pool, HEADERS + length, |buffer| {
        build::frame(buffer, &path, &Ip::V4(header), &Transport::Udp(ports, &payload[..length]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_announcements_each_after_twice_the_time() {
        let mut announcing = Announcing::default();
        let start = u32::MAX - 1000;
        let sent: Vec<u32> = (0..300_000).filter(|ms| announcing.is_due(start.wrapping_add(*ms))).collect();
        assert_eq!(sent, [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750, 127_750]);
    }
}
