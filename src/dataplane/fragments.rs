//! IPv4 fragments on their way through the NAT: where they meet, what is held of them, and how each goes on.
//!
//! All fragments of a datagram meet in one worker, which alone knows what was seen of it: those from inside at their
//! subscriber's home, those from outside, whose home nobody can tell yet, at a worker that a hash chooses. That one sends them
//! on by the datagram's ports. Where a session has still to be made, the first goes to its home, and the others behind it by
//! the same ring, with their ports beside them ([`Task::Fragment`]); where the circular pool's thread has to be asked first, all
//! by the ring to that ([`super::claims`]). A hairpin's fragments know their ports on the second leg.
//!
//! What it guarantees: a fragment is judged as every packet is before it comes here; it leaves as one of its session's packets,
//! with the addresses of the session; the first has its ports and checksum translated, and nobody sums up the rest. What leaves
//! in fragments with an address of ours has an identification of ours ([`Identifications`]); whole datagrams keep their own,
//! those that forbid fragmenting because theirs means nothing (RFC 6864 section 4.1), the others because a fresh one for each
//! is a counter on every packet's way, where only some router behind us, that has still to cut two of the same identification
//! within moments, could mix them up.
//!
//! What it never does: put datagrams together.

use super::core::Core;
use super::depart;
use super::encapsulate;
use super::rewrite;
use super::slow::{self, Arrival, Flow, IP, Place, Verdict};
use super::sources;
use super::tunnels;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::record::Record;
use crate::flow::{Action, HashKey, Key4, Realm, Record4};
use crate::nat::fragments::{Datagrams, Fate, Fragment, Head, Identifications, Limits, Seen};
use crate::packet::{self, DropReason, Ipv4, Ipv4Mut};
use crate::ring::Task;
use std::net::Ipv4Addr;

/// Datagrams of either kind that one tick gives up at most.
const TICK_BUDGET: usize = 64;
/// Bytes of a TCP header without options, and the place of its own length in it (RFC 9293 section 3.1).
const TCP_HEADER: usize = 20;
const TCP_OFFSET: usize = 12;
/// Of UDP and of an ICMP echo: all of their header.
const OTHER_HEADER: usize = 8;

/// One worker's fragments.
pub struct Fragments {
    datagrams: Datagrams,
    identifications: Identifications,
    /// By place.
    held: Vec<Option<(Mbuf, Arrival)>>,
}

impl Fragments {
    /// For worker `id` of `workers`; `random` words feed hashes and identifications.
    pub fn new(limits: Limits, id: usize, workers: usize, mut random: impl FnMut() -> u64) -> Self {
        Self {
            datagrams: Datagrams::new(limits, HashKey::new(&mut random)),
            identifications: Identifications::new(id, workers, random),
            held: (0..limits.held).map(|_| None).collect(),
        }
    }

    /// One for a datagram that leaves in fragments, to that address.
    fn identification(&mut self, ip: &Ipv4<'_>, destination: Ipv4Addr) -> u16 {
        self.identifications.fresh(destination, ip.protocol().0)
    }
}

/// A fragment that is to be forwarded: to where its datagram's meet, or what is known there.
pub fn gather<'w>(
    core: &mut Core,
    world: &World,
    ip: &Ipv4<'_>,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let home = tunnels::meeting_place(world, ip, arrival.realm)?;
    let nat = world.nat.as_deref();
    // Whose address leaves is nobody's but that host's: its own identifications tell its datagrams apart.
    let outbound = home.is_none() && nat.is_some_and(|nat| nat.is_inside(arrival.realm));
    if home.is_none() && !outbound {
        let nat = nat.filter(|nat| nat.is_outside(arrival.realm)).ok_or(DropReason::Ipv4Fragment)?;
        if !nat.contains(ip.destination()) && !nat.knows_untranslated() {
            return Err(DropReason::NoSession);
        }
    }
    if arrival.hops == 0 {
        sources::check(core, world, arrival, ip.source().into())?;
    }
    let fragment = Fragment::of(ip, arrival.realm)?;
    let meeting_place = match (home, nat) {
        (Some(home), _) => home,
        (None, Some(nat)) if outbound => nat.home_of_inside(arrival.realm, ip.source()),
        (None, Some(nat)) => nat.meeting_place(&fragment.datagram),
        (None, None) => return Err(DropReason::Ipv4Fragment),
    };
    if meeting_place != core.id {
        return Ok(Verdict::Hand(meeting_place));
    }
    let fragments = core.fragments.as_mut().ok_or(DropReason::Ipv4Fragment)?;
    // Behind the edge nobody knows a proxy address; towards one that stands for nobody nothing leaves.
    let remote = nat.and_then(|nat| nat.remote_of(&fragment.datagram).ok());
    let destination = remote.unwrap_or(ip.destination());
    let head = fragment.is_first().then(|| {
        let ports = first(ip, arrival.realm)?.key.tail as u32;
        let identification =
            if outbound { fragments.identification(ip, destination) } else { ip.identification() };
        Ok(Head { ports, identification })
    });
    match fragments.datagrams.see(&fragment, head, core.now) {
        Ok(Seen::Forward(head)) => Ok(Verdict::Fragment(head)),
        Ok(Seen::Hold(place)) => Ok(Verdict::Hold(place)),
        Err(why) => {
            release(core, world);
            Err(why)
        }
    }
}

/// What a first fragment's transport header says of the flow.
fn first(ip: &Ipv4<'_>, realm: Realm) -> Result<Flow, DropReason> {
    let transport = ip.payload();
    let header = match ip.protocol() {
        packet::Protocol::TCP => {
            transport.get(TCP_OFFSET).map_or(TCP_HEADER, |b| TCP_HEADER.max(usize::from(b >> 4) * 4))
        }
        _ => OTHER_HEADER,
    };
    if transport.len() < header {
        return Err(DropReason::Ipv4FragmentTiny);
    }
    slow::transport(ip, realm)
}

/// Keeps a fragment whose ports are not known yet.
pub fn hold(core: &mut Core, world: &World, mbuf: Mbuf, place: u32, arrival: Arrival) {
    if let Some(fragments) = &mut core.fragments {
        fragments.held[place as usize] = Some((mbuf, arrival));
    }
    release(core, world);
}

/// Sends a fragment on whose datagram's ports are known, and what has waited for it.
pub fn forward(core: &mut Core, world: &World, mbuf: Mbuf, head: Head, arrival: Arrival) {
    send(core, world, mbuf, head.ports, Some(head.identification), arrival);
    release(core, world);
}

/// What is held no longer goes on, or is dropped.
fn release(core: &mut Core, world: &World) {
    while let Some(fragments) = &mut core.fragments
        && let Some((place, fate)) = fragments.datagrams.next_loose()
    {
        let Some((mbuf, arrival)) = fragments.held[place as usize].take() else { continue };
        match fate {
            Fate::Drop(why) => core.out.drop(mbuf, why),
            Fate::Forward(head) => {
                // A datagram's fragments may be more than a burst of hairpins.
                if core.second_legs.is_full() {
                    slow::second_legs(core, world);
                }
                send(core, world, mbuf, head.ports, Some(head.identification), arrival);
            }
        }
    }
}

/// A fragment goes on that has met the others of its datagram elsewhere: at another worker, or on the first leg of a hairpin.
pub fn onward(core: &mut Core, world: &World, mbuf: Mbuf, ports: u32, arrival: Arrival) {
    send(core, world, mbuf, ports, None, arrival);
}

/// A fragment whose ports are known goes on by its session, or to its home; with another identification, if one is given.
fn send(
    core: &mut Core,
    world: &World,
    mut mbuf: Mbuf,
    ports: u32,
    identification: Option<u16>,
    arrival: Arrival,
) {
    let Arrival { interface, realm, hairpin, hops } = arrival;
    let ip = mbuf.data().get(IP..).map(Ipv4::parse_quoted);
    let Some(Ok(ip)) = ip else { return core.out.drop(mbuf, DropReason::Truncated) };
    let is_first = ip.fragment_offset() == 0;
    match session(core, world, &ip, &mbuf, ports, arrival) {
        Ok(Verdict::Act { record, place, tcp_flags }) => {
            if let Some(fresh) = identification
                && let Ok(mut ip) = Ipv4Mut::parse_quoted(&mut mbuf.data_mut()[IP..])
            {
                ip.set_identification(fresh);
            }
            if is_first {
                depart::act(core, world, mbuf, record, place, tcp_flags, arrival);
            } else {
                later(core, world, mbuf, record, arrival);
            }
        }
        Ok(Verdict::Hand(home)) => {
            core.out.hand(home, mbuf, Task::Fragment { interface, realm, hairpin, ports }, hops);
        }
        Ok(verdict @ Verdict::Done) => slow::carry_out(core, world, mbuf, arrival, verdict),
        Ok(_) => core.out.drop(mbuf, DropReason::NoSession),
        Err(why) => core.out.drop(mbuf, why),
    }
}

/// The session of a fragment: only the first may make it.
fn session<'w>(
    core: &mut Core,
    world: &'w World,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    ports: u32,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let flow = if ip.fragment_offset() == 0 {
        first(ip, arrival.realm)?
    } else {
        let ends = (ip.source(), ip.destination());
        let key = Key4::of_any_protocol(arrival.realm, ip.protocol().0, ends, ports);
        Flow { key, tcp_flags: 0, opens: false }
    };
    let place = Place { ip: IP, l4: IP + ip.header_length(), protocol: flow.key.protocol() };
    slow::session(core, world, &flow, place, ip, mbuf, arrival)
}

/// A fragment other than the first: it has an IPv4 header, and data.
pub(super) fn later(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, arrival: Arrival) {
    let kind = record.common().action().kind();
    if kind == Action::ENCAPSULATE {
        return encapsulate::later(core, world, mbuf, record, arrival);
    }
    if !tunnels::lives(world, record) {
        return core.out.drop(mbuf, DropReason::CetpNoTunnel);
    }
    let length = mbuf.len();
    if !rewrite::header(mbuf.data_mut(), IP, &record.rewrite(), kind) {
        return core.out.drop(mbuf, DropReason::Truncated);
    }
    record.common().count(length as u32, core.now);
    if record.common().action().is_tunnelled() {
        tunnels::count(core, world, record, length);
    }
    depart::depart(core, world, mbuf, record, arrival);
}

/// Whether the IPv4 packet of an untagged frame is a fragment.
pub fn is_fragment(mbuf: &Mbuf) -> bool {
    matches!(mbuf.data().get(IP..).map(Ipv4::parse_quoted), Some(Ok(ip)) if ip.is_fragment())
}

/// A packet with an address of ours is to be cut: whole, it gets a fresh identification.
pub fn renumber(core: &mut Core, mbuf: &mut Mbuf) {
    if let Some(fragments) = &mut core.fragments
        && let Some(Ok(mut ip)) = mbuf.data_mut().get_mut(IP..).map(Ipv4Mut::parse_quoted)
        && !ip.view().is_fragment()
    {
        let fresh = fragments.identification(&ip.view(), ip.view().destination());
        ip.set_identification(fresh);
    }
}

/// Lets time pass.
pub fn tick(core: &mut Core, world: &World) {
    if let Some(fragments) = &mut core.fragments {
        fragments.datagrams.expire(TICK_BUDGET, core.now);
        release(core, world);
    }
}

/// At the end: what is still held is dropped by name.
pub fn shut_down(core: &mut Core, world: &World) {
    if let Some(fragments) = &mut core.fragments {
        fragments.datagrams.clear(DropReason::Shutdown);
        release(core, world);
    }
}
