//! Connections that somebody outside asks for and nobody inside has: refused, but not at once (RFC 5382 REQ-4, RFC 6092 REC-34).
//!
//! Two hosts behind different edges may open a connection at the same time (RFC 9293 section 3.5): the SYN of one arrives here
//! before that of the other has left, and an error would end what is about to succeed. So the SYN is dropped, under the reason
//! that refused it, and a copy of its beginning is held for six seconds. If the connection has a session by then, nothing more
//! happens. Else its sender hears that the port is unreachable (ICMP type 3, code 3, from the public address that it asked
//! for), or that it is prohibited (ICMPv6 type 1, code 1), within the limit of all ICMP errors; whoever wants silence makes that
//! 0 (REQ-4 a).
//!
//! Whether there is a session is looked up at the end, in the table that all workers share: whoever sees the SYN may hold it,
//! whoever makes the session need not know of that.
//!
//! Guarantees: a fixed number of places for each worker and, in them, for each source; constant time. What finds no place is
//! dropped silently: an error is a SHOULD, waiting for it a MUST. Never: answers what came over a hairpin, whose way back is
//! another.

use super::core::Core;
use super::errors;
use super::message;
use super::slow::Arrival;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::{Key4, Key6, Protocol, Realm, Record4, Record6};
use crate::packet::build::{IcmpError, Icmpv6Error, Path};
use crate::packet::icmp::may_generate_error;
use crate::packet::{Error, Ipv4, Ipv6, Link, Tcp, TcpFlags, icmpv6};

/// SYNs that one worker holds.
const HELD: usize = 256;
/// Of one source: an address, or a /64 prefix. SYNs are sent again after one and three seconds (RFC 6298), so that this is some
/// three connections at a time.
const HELD_OF_ONE: usize = 8;
/// RFC 5382 REQ-4: six seconds at the least, in milliseconds, of which the clock may be one short.
const WAIT: u32 = 6001;
/// The longest quote that an ICMPv6 error of 1,280 bytes has room for; one of ICMP has room for less.
const QUOTE: usize = 1232;
/// SYNs that one tick, of a millisecond, deals with.
const BUDGET: usize = 8;

/// A SYN's beginning, and the way back to its sender.
#[derive(Clone, Copy)]
pub struct Held {
    until: u32,
    length: u16,
    interface: u16,
    realm: Realm,
    path: Path,
    packet: [u8; QUOTE],
}

impl Held {
    fn packet(&self) -> &[u8] {
        &self.packet[..usize::from(self.length)]
    }
}

/// The SYNs that a worker holds, oldest first: all wait for the same time. See the module.
pub struct Unsolicited {
    held: Box<[Option<Held>]>,
    /// Their sources, by place; 0 in a free one. Apart, so that all are seen in a few cache lines.
    sources: [u64; HELD],
    /// The place of the oldest.
    first: usize,
    count: usize,
}

impl Default for Unsolicited {
    fn default() -> Self {
        Self { held: vec![None; HELD].into(), sources: [0; HELD], first: 0, count: 0 }
    }
}

impl Unsolicited {
    /// A place for a SYN of `source`, which is not 0. `None` without one.
    fn place(&mut self, source: u64) -> Option<&mut Option<Held>> {
        if self.count == HELD || self.sources.iter().filter(|s| **s == source).count() >= HELD_OF_ONE {
            return None;
        }
        let place = (self.first + self.count) % HELD;
        self.count += 1;
        self.sources[place] = source;
        self.held.get_mut(place)
    }

    /// Takes the oldest if its time has come.
    fn due(&mut self, now: u32) -> Option<Held> {
        let held = self.held[self.first].as_ref()?;
        if now.wrapping_sub(held.until) > u32::MAX / 2 {
            return None;
        }
        self.sources[self.first] = 0;
        let held = self.held[self.first].take();
        self.first = (self.first + 1) % HELD;
        self.count -= 1;
        held
    }
}

/// A packet from outside was refused for want of a mapping, or by its filter. If it opens a connection it is held.
#[cold]
pub fn hold4(core: &mut Core, mbuf: &Mbuf, ip: &Ipv4<'_>, tcp_flags: u8, arrival: Arrival) {
    let Ok(link) = Link::parse(mbuf.data()) else { return };
    let may = may_generate_error(link.ethernet.destination(), ip);
    let source = u64::from(u32::from(ip.source()));
    if may && !arrival.hairpin && TcpFlags(tcp_flags).starts_connection() {
        hold(core, &link, source, arrival, |quote| ip.copy_to(quote));
    }
}

/// The same of IPv6, where no session was to be made.
#[cold]
pub fn hold6(core: &mut Core, mbuf: &Mbuf, ip: &Ipv6<'_>, tcp_flags: u8, arrival: Arrival) {
    let Ok(link) = Link::parse(mbuf.data()) else { return };
    let may = icmpv6::may_generate_error(link.ethernet.destination(), ip);
    // No two families have the same: a /64 of unicast addresses is no 32-bit number.
    let source = (ip.source().to_bits() >> 64) as u64;
    if may && TcpFlags(tcp_flags).starts_connection() {
        hold(core, &link, source, arrival, |quote| ip.copy_to(quote));
    }
}

fn hold(
    core: &mut Core,
    link: &Link<'_>,
    source: u64,
    arrival: Arrival,
    copy: impl FnOnce(&mut [u8]) -> usize,
) {
    let Some(place) = core.unsolicited.place(source) else { return };
    // It was sent to us alone: that is the address of ours on that link.
    let path = Path::back(link, link.ethernet.destination());
    let Arrival { interface, realm, .. } = arrival;
    let until = core.now.wrapping_add(WAIT);
    let held = place.insert(Held { until, length: 0, interface, realm, path, packet: [0; QUOTE] });
    held.length = copy(&mut held.packet) as u16;
}

/// Deals with those whose time has come.
pub fn tick(core: &mut Core, world: &World) {
    for _ in 0..BUDGET {
        let Some(held) = core.unsolicited.due(core.now) else { return };
        // What is held was parsed before: an error here is none of the sender's.
        let _ = match held.packet().first() {
            Some(first) if first >> 4 == 6 => refuse6(core, world, &held),
            _ => refuse4(core, world, &held),
        };
    }
}

fn refuse4(core: &mut Core, world: &World, held: &Held) -> Result<(), Error> {
    let ip = Ipv4::parse_quoted(held.packet())?;
    let tcp = Tcp::parse(ip.payload())?;
    let (source, destination) =
        ((ip.source(), tcp.source_port()), (ip.destination(), tcp.destination_port()));
    let key = Key4::new(held.realm, Protocol::Tcp, source, destination);
    if world.flows.lookup::<Record4>(&key).is_none() && core.icmp_errors.allow(ip.source().into(), core.now) {
        let (error, from) = (IcmpError::PortUnreachable, ip.destination());
        let message = message::icmp_error(&core.pool, &held.path, from, error, &ip);
        send(core, world, held, message);
    }
    Ok(())
}

fn refuse6(core: &mut Core, world: &World, held: &Held) -> Result<(), Error> {
    let ip = Ipv6::parse_quoted(held.packet())?;
    let upper = ip.upper()?;
    let tcp = Tcp::parse(upper.payload)?;
    let (source, destination) =
        ((ip.source(), tcp.source_port()), (ip.destination(), tcp.destination_port()));
    let key = Key6::new(held.realm, Protocol::Tcp, source, destination);
    if world.flows.lookup::<Record6>(&key).is_none() && core.icmp_errors.allow(ip.source().into(), core.now) {
        let from = errors::speaks_as6(world, held.interface, ip.source());
        let error = Icmpv6Error::AdminProhibited;
        let message = message::icmpv6_error(&core.pool, &held.path, from, error, &ip);
        send(core, world, held, message);
    }
    Ok(())
}

fn send(core: &mut Core, world: &World, held: &Held, message: Option<Mbuf>) {
    if let Some(message) = message {
        core.originate(&world.interfaces[usize::from(held.interface)], message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{MacAddr, Tags};

    fn held(until: u32) -> Held {
        let path = Path { destination: MacAddr::ZERO, source: MacAddr::ZERO, tags: Tags::NONE };
        Held { until, length: 0, interface: 0, realm: Realm(1), path, packet: [0; QUOTE] }
    }

    fn add(all: &mut Unsolicited, source: u64, until: u32) -> bool {
        all.place(source).map(|place| place.insert(held(until))).is_some()
    }

    #[test]
    fn they_come_in_their_time_and_order_across_a_wrap_of_the_clock() {
        let mut all = Unsolicited::default();
        let start = u32::MAX - 3;
        for i in 0..5 {
            assert!(add(&mut all, 1, start.wrapping_add(i)));
        }
        assert!(all.due(start.wrapping_sub(1)).is_none());
        for i in 0..5 {
            let now = start.wrapping_add(i);
            assert_eq!(all.due(now).expect("its time has come").until, now);
            assert!(all.due(now).is_none());
        }
        assert_eq!(all.count, 0);
    }

    #[test]
    fn one_source_has_its_share_and_all_have_the_whole() {
        let mut all = Unsolicited::default();
        assert_eq!((0..20).filter(|_| add(&mut all, 7, 0)).count(), HELD_OF_ONE);
        let others = (0..1000).filter(|i| add(&mut all, 100 + i / 2, 0)).count();
        assert_eq!(others, HELD - HELD_OF_ONE);
        // What is dealt with makes room again, for the source as for all.
        assert!(all.due(0).is_some());
        assert!(add(&mut all, 7, 0) && !add(&mut all, 7, 0));
        assert_eq!(std::iter::from_fn(|| all.due(0)).count(), HELD);
        assert!(all.sources.iter().all(|s| *s == 0));
    }
}
