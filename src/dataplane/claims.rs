//! Packets from outside to the circular pool that have no session: a name has made somebody expect them, or nobody has.
//!
//! ```text
//! no session ─► does something wait at that address? ─ no ─► refused at once, here
//!                      │ yes
//!                      ▼            the thread that has the pool
//!               first packet, as bytes ──────► whose is it? ──┬─► its host's home: makes the session, forwards the packet
//!                                                             └─► here again: refused
//! ```
//!
//! Who is refused hears it: TCP by a reset, UDP by "port unreachable", anything else by "administratively prohibited", from the
//! address that it asked for, within the limit of all ICMP errors.
//!
//! A SYN that finds a connection which is over but for its rest, at an address where something waits, is a first packet as
//! well: its home asks on its behalf, and the old session goes once the new one is somebody's.
//!
//! Guarantees: what goes up is limited, in all and for each source; a full ring makes nobody wait, and loses that packet alone,
//! under its name. Of a first packet in fragments the first one asks, and the others, whose ports [`fragments`] knows from it,
//! follow it by the same rings: they go its way, or are lost where it was refused. Never: decides whose a packet is; is on the way
//! of a packet that has a session.

use super::core::Core;
use super::depart;
use super::errors;
use super::fragments;
use super::limit::{Shares, TokenBucket};
use super::local;
use super::message;
use super::slow::{self, Arrival, Flow, IP, Place, Verdict};
use super::world::World;
use crate::dpdk::{BURST, Mbuf};
use crate::flow::{Key4, Realm, Record4};
use crate::nat::claims::closing;
use crate::packet::build::{IcmpError, Path};
use crate::packet::icmp::may_generate_error;
use crate::packet::{DropReason, Ipv4, Link, Protocol, TcpFlags};
use crate::ring::claims::{Command, Entrance, WorkerEnds};
use std::net::Ipv4Addr;

/// Commands that one round takes at most.
const COMMANDS: usize = BURST;

/// One worker's way to the thread that has the circular pool.
pub struct Claims {
    ends: WorkerEnds,
    all: TokenBucket,
    sources: Shares,
}

/// First packets that a worker sends up a second, in all and of one source.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    pub all: u32,
    pub source: u32,
}

impl Claims {
    pub fn new(ends: WorkerEnds, rates: Rates, secret: u64) -> Self {
        Self {
            ends,
            all: TokenBucket::of_rate(rates.all),
            sources: Shares::new(TokenBucket::of_rate(rates.source), secret),
        }
    }

    /// What comes down ends the calling thread's naps.
    pub fn wakes_me(&self) {
        self.ends.commands.wakes_me();
    }

    /// The thread that has the pool learns of what has gone up; whether anything has.
    #[inline]
    pub fn wake(&mut self) -> bool {
        self.ends.first_packets.wake()
    }

    /// Whether one more of that source may go up.
    fn admit(&mut self, source: Ipv4Addr, now: u32) -> bool {
        // The source first: what one sends too much of costs the others nothing.
        self.sources.allow(source.into(), now) && self.all.allow(now)
    }

    fn up(&mut self, entrance: Entrance, key: &Key4, mbuf: &Mbuf, now: u32) -> Result<(), DropReason> {
        if !self.admit(key.source(), now) {
            return Err(DropReason::PrgwRate);
        }
        let pushed = self.ends.first_packets.push(entrance, key.tail as u32, mbuf.segments());
        if pushed { Ok(()) } else { Err(DropReason::PrgwFull) }
    }
}

/// A packet from outside, to the circular pool, without a session.
///
/// # Errors
/// Why it is dropped; its sender may have been told.
#[cold]
pub(super) fn newcomer<'w>(
    core: &mut Core,
    world: &World,
    flow: &Flow,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let follows = ip.fragment_offset() > 0;
    if !flow.opens && !follows {
        return Err(DropReason::NoSession);
    }
    let waits = world.nat.as_deref().is_some_and(|nat| nat.waits(flow.key.destination()));
    // Whatever waits, it is not for the middle of a connection.
    let why = match ip.protocol() {
        _ if !waits => Some(DropReason::PrgwNothingWaits),
        Protocol::TCP if !follows && !TcpFlags(flow.tcp_flags).starts_connection() => {
            Some(DropReason::TcpNotSyn)
        }
        _ => None,
    };
    if let Some(why) = why {
        refuse(core, world, ip, mbuf, arrival);
        return Err(why);
    }
    up(core, &flow.key, mbuf, arrival, false)
}

fn up<'w>(
    core: &mut Core,
    key: &Key4,
    mbuf: &Mbuf,
    arrival: Arrival,
    closing: bool,
) -> Result<Verdict<'w>, DropReason> {
    let entrance = Entrance { interface: arrival.interface, hairpin: arrival.hairpin, closing };
    let claims = core.claims.as_mut().ok_or(DropReason::PrgwNothingWaits)?;
    claims.up(entrance, key, mbuf, core.now).map(|()| Verdict::Done)
}

/// Of a segment that has a session, what becomes of it if it opens its connection anew, at an address where something waits.
pub(super) fn reopening<'w>(
    core: &mut Core,
    world: &World,
    flow: &Flow,
    record: &Record4,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Option<Result<Verdict<'w>, DropReason>> {
    let nat = world.nat.as_deref().filter(|nat| nat.is_outside(flow.key.realm()))?;
    let is_syn = ip.protocol() == Protocol::TCP && TcpFlags(flow.tcp_flags).starts_connection();
    if !is_syn || !nat.waits(flow.key.destination()) {
        return None;
    }
    let out = closing(&world.flows, record)?;
    let home = nat.home_of_inside(out.realm(), out.source());
    Some(if home == core.id { up(core, &flow.key, mbuf, arrival, true) } else { Ok(Verdict::Hand(home)) })
}

/// Tells the sender of a packet to the circular pool that nobody is there for it: of one in fragments by the first (RFC 1122
/// section 3.2.2).
fn refuse(core: &mut Core, world: &World, ip: &Ipv4<'_>, mbuf: &Mbuf, arrival: Arrival) {
    if ip.fragment_offset() > 0 {
        return;
    }
    let error = match ip.protocol() {
        // Not of a hairpin, whose way back is another: an error finds it.
        Protocol::TCP if !arrival.hairpin => {
            // It always says why it is dropped, which is said here.
            let _ = local::reset4(core, world, ip, mbuf, arrival);
            return;
        }
        Protocol::UDP => IcmpError::PortUnreachable,
        _ => IcmpError::AdministrativelyProhibited,
    };
    if arrival.hairpin {
        errors::answer4(core, world, mbuf, ip, arrival, error);
        return;
    }
    let Ok(link) = Link::parse(mbuf.data()) else { return };
    if !may_generate_error(link.ethernet.destination(), ip)
        || !core.icmp_errors.allow(ip.source().into(), core.now)
    {
        return;
    }
    let interface = &world.interfaces[usize::from(arrival.interface)];
    let path = Path::back(&link, interface.mac);
    if let Some(message) = message::icmp_error(&core.pool, &path, ip.destination(), error, ip) {
        core.originate(interface, message);
    }
}

/// Carries out what the thread that has the pool has decided. Returns how much.
pub fn take(core: &mut Core, world: &World) -> usize {
    let mut taken = 0;
    while taken < COMMANDS {
        let Some(claims) = core.claims.as_mut() else { return taken };
        let Some(length) = claims.ends.commands.peek() else { break };
        taken += 1;
        let mbuf = (length > 0).then(|| core.pool.alloc()).flatten().and_then(|mut mbuf| {
            mbuf.append(length)?;
            Some(mbuf)
        });
        let Some(mut mbuf) = mbuf else {
            // Taken off all the same, or the ring would stand still.
            let command = claims.ends.commands.pop(&mut []).and_then(|(command, _)| command);
            match (command, core.nat.as_mut()) {
                (Some(Command::Release { key }), Some(nat)) => {
                    let released = nat.release(&mut core.flows, &key, core.now);
                    core.out.counters.sessions_removed.add(u64::from(released));
                }
                (Some(Command::Release { .. }) | None, _) => (),
                _ => core.out.lost(DropReason::NoBuffer),
            }
            continue;
        };
        let popped = claims.ends.commands.pop(mbuf.data_mut());
        // It was somebody's packet once, and was counted as dealt with.
        core.out.counters.originated_packets.add(1);
        match popped {
            Some((Some(command), entrance)) => carry_out(core, world, command, entrance, mbuf),
            _ => core.out.drop(mbuf, DropReason::PrgwRejected),
        }
    }
    if taken > 0 {
        slow::second_legs(core, world);
        tell(core);
    }
    taken
}

fn carry_out(core: &mut Core, world: &World, command: Command, entrance: Entrance, mbuf: Mbuf) {
    let Entrance { interface, hairpin, .. } = entrance;
    let Some(on) = world.interfaces.get(usize::from(interface)) else {
        return core.out.drop(mbuf, DropReason::PrgwRejected);
    };
    let realm = world.nat.as_deref().filter(|_| hairpin).map_or(on.realm, |nat| nat.options().outside);
    let arrival = Arrival { interface, realm, hairpin, hops: 1 };
    match command {
        Command::Install { key, realm, host } => install(core, world, mbuf, &key, (realm, host), arrival),
        Command::Pass => {
            if let Some(mbuf) = depart_by_session(core, world, mbuf, None, arrival) {
                reject(core, world, mbuf, arrival);
            }
        }
        Command::Reject | Command::Release { .. } => reject(core, world, mbuf, arrival),
    }
}

fn reject(core: &mut Core, world: &World, mbuf: Mbuf, arrival: Arrival) {
    if let Some(Ok(ip)) = mbuf.data().get(IP..).map(Ipv4::parse_quoted) {
        refuse(core, world, &ip, &mbuf, arrival);
    }
    core.out.drop(mbuf, DropReason::PrgwRejected);
}

fn install(
    core: &mut Core,
    world: &World,
    mbuf: Mbuf,
    key: &Key4,
    host: (Realm, Ipv4Addr),
    arrival: Arrival,
) {
    let Some(nat) = core.nat.as_mut() else { return core.out.drop(mbuf, DropReason::RealmNotServed) };
    match nat.claim(&mut core.flows, key, host, core.now) {
        Ok(claimed) => {
            core.out.counters.sessions_created.add(u64::from(claimed.is_new));
            core.out.counters.sessions_removed.add(u64::from(claimed.replaced));
            if let Some(mbuf) = depart_by_session(core, world, mbuf, Some(key), arrival) {
                core.out.drop(mbuf, DropReason::NoSession);
            }
        }
        Err(why) => core.out.drop(mbuf, why),
    }
}

/// What the packet says, and its place; of a fragment that has no transport header `None`.
fn flow_of(mbuf: &Mbuf, arrival: Arrival) -> Option<(Flow, Place)> {
    let ip = mbuf.data().get(IP..).and_then(|bytes| Ipv4::parse_quoted(bytes).ok())?;
    let flow = slow::transport(&ip, arrival.realm).ok().filter(|_| ip.fragment_offset() == 0)?;
    let place = Place { ip: IP, l4: IP + ip.header_length(), protocol: flow.key.protocol() };
    Some((flow, place))
}

/// Sends a packet on by its session, a fragment that follows by that of `key`; without one it is given back.
fn depart_by_session(
    core: &mut Core,
    world: &World,
    mbuf: Mbuf,
    key: Option<&Key4>,
    arrival: Arrival,
) -> Option<Mbuf> {
    if let Some((flow, place)) = flow_of(&mbuf, arrival) {
        let Some((_, record)) = world.flows.lookup::<Record4>(&flow.key) else { return Some(mbuf) };
        depart::act(core, world, mbuf, record, place, flow.tcp_flags, arrival);
    } else {
        let is_later = fragments::is_fragment(&mbuf);
        let found = key.filter(|_| is_later).and_then(|key| world.flows.lookup::<Record4>(key));
        let Some((_, record)) = found else { return Some(mbuf) };
        fragments::later(core, world, mbuf, record, arrival);
    }
    None
}

/// Tells of the sessions that have begun and ended here, as far as there is room: the rest another time.
pub fn tell(core: &mut Core) {
    if let (Some(nat), Some(claims)) = (core.nat.as_mut(), core.claims.as_mut()) {
        nat.tell_of_claims(|event| claims.ends.events.push(event).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::claims::rings;

    #[test]
    fn a_flood_of_first_packets_is_cut_and_one_source_takes_its_share() {
        let mut claims = Claims::new(rings(0, 1).0, Rates { all: 1000, source: 200 }, 0x1234_5678_9abc_def1);
        let host = |n: u32| Ipv4Addr::from(0xc633_6400 + n);
        // A second of a flood of one, and beside it somebody else.
        let one = (0..20_000).filter(|i| claims.admit(host(1), i / 20)).count();
        assert!((200..=230).contains(&one), "{one}");
        assert!(claims.admit(host(2), 1000));
        let all = (0..20_000).filter(|&i| claims.admit(host(i), 1000 + i / 20)).count();
        assert!((900..=1150).contains(&all), "{all}");
    }
}
