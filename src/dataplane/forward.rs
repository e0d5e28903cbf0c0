//! A burst through classify, look-up and act. The hot loop of the house.

use super::classify::{Common, HEADERS, Ingress, common};
use super::rewrite;
use super::slow::{self, Arrival};
use super::worker::Core;
use super::world::World;
use super::{classify, resolve};
use crate::dpdk::{BURST, Burst, Checksum, Mbuf};
use crate::flow::record::Record;
use crate::flow::{Action, Hop, Key4, Lookup, Protocol, Record4};
use crate::packet::DropReason;
use crate::ring::Task;
use arrayvec::ArrayVec;

/// What one packet of a burst carries from stage to stage.
#[derive(Clone, Copy, Default)]
struct Lane {
    key: Key4,
    lookup: Lookup,
    tcp_flags: u8,
    /// Whether it is a common packet; only then does the rest mean anything.
    common: bool,
}

/// The lanes of a burst, reused from burst to burst.
pub struct Lanes([Lane; BURST]);

impl Default for Lanes {
    fn default() -> Self {
        Self([Lane::default(); BURST])
    }
}

/// Takes a received burst through all stages. The burst is empty afterwards.
#[inline]
pub fn burst(core: &mut Core, world: &World, lanes: &mut Lanes, packets: &mut Burst, ingress: &Ingress) {
    if world.spread {
        spread(core, world, packets, ingress);
    }
    look_up(world, lanes, packets, ingress);
    let (mut forwarded, mut bytes) = (0, 0);
    for (mbuf, lane) in packets.drain(..).zip(&lanes.0) {
        let record = if lane.common { world.flows.confirm::<Record4>(&lane.lookup, &lane.key) } else { None };
        match record {
            Some(record) => {
                let length = mbuf.len();
                if act(core, world, mbuf, record, lane) {
                    forwarded += 1;
                    bytes += length;
                }
            }
            None => {
                let arrival = Arrival::on(ingress);
                slow::receive(core, world, mbuf, arrival);
            }
        }
    }
    core.out.counters.forwarded_packets.add(forwarded);
    core.out.counters.forwarded_bytes.add(bytes as u64);
    slow::second_legs(core, world);
    core.out.flush();
}

/// Classify, and look up in bulk: three passes, so that the cache misses of all packets overlap.
#[inline(always)]
fn look_up(world: &World, lanes: &mut Lanes, packets: &Burst, ingress: &Ingress) {
    let flows = &*world.flows;
    for (lane, mbuf) in lanes.0.iter_mut().zip(packets) {
        let verified = mbuf.rx_ip_checksum() == Checksum::Good;
        lane.common = match common(mbuf.data(), mbuf.len(), ingress, verified) {
            Some(Common { key, tcp_flags }) => {
                (lane.key, lane.tcp_flags) = (key, tcp_flags);
                lane.lookup = flows.begin::<Record4>(&key);
                true
            }
            None => false,
        };
    }
    let mut second: ArrayVec<u8, BURST> = ArrayVec::new();
    for (i, lane) in lanes.0.iter_mut().take(packets.len()).enumerate() {
        if lane.common && flows.locate::<Record4>(&mut lane.lookup) {
            second.push(i as u8);
        }
    }
    for i in second {
        flows.locate_second::<Record4>(&mut lanes.0[usize::from(i) % BURST].lookup);
    }
}

/// A hit: count, rewrite, and on its way. False when that is not over: a hairpin's first leg.
#[inline(always)]
fn act(core: &mut Core, world: &World, mut mbuf: Mbuf, record: &Record4, lane: &Lane) -> bool {
    let about = record.common();
    about.count(mbuf.len() as u32, core.now);
    let tcp = lane.key.protocol() == Protocol::Tcp as u8;
    if tcp {
        about.saw_tcp(lane.tcp_flags);
    }
    let kind = about.action().kind();
    let Some(headers) = mbuf.data_mut().first_chunk_mut::<HEADERS>() else {
        // A common packet has them all.
        core.out.drop(mbuf, DropReason::Truncated);
        return false;
    };
    rewrite::common(headers, &record.rewrite(), kind, tcp);
    if kind == Action::HAIRPIN {
        slow::first_leg_done(core, mbuf);
        return false;
    }
    match world.adjacencies.hop(about.path()) {
        Some(hop) => {
            headers[..12].copy_from_slice(&hop.macs);
            core.out.send(hop.port, mbuf);
        }
        None => resolve::session(core, world, mbuf, record),
    }
    true
}

/// Writes the link layer of a resolved next hop and sends.
pub fn send(core: &mut Core, mut mbuf: Mbuf, hop: &Hop) {
    match mbuf.data_mut().first_chunk_mut::<12>() {
        Some(macs) => {
            *macs = hop.macs;
            core.out.send(hop.port, mbuf);
        }
        None => core.out.drop(mbuf, DropReason::Truncated),
    }
}

/// `distribute = "software"`: the receiving worker hands common packets to their homes, in bursts, and keeps its own and
/// all odd ones.
fn spread(core: &mut Core, world: &World, packets: &mut Burst, ingress: &Ingress) {
    let Some(nat) = world.nat.as_deref() else { return };
    let mut own = Burst::new();
    for mbuf in packets.drain(..) {
        let key = classify::common(mbuf.data(), mbuf.len(), ingress, true).map(|c| c.key);
        let home = key.and_then(|key| slow::home_of(nat, &key)).unwrap_or(core.id);
        if home == core.id {
            own.push(mbuf);
        } else {
            let task = Task::Receive { interface: ingress.interface, realm: ingress.realm, hairpin: false };
            core.out.hand(home, mbuf, task, 0);
        }
    }
    *packets = own;
}
