//! A burst through classify, look-up and act. The hot loop of the house.

use super::classify::{Common, HEADERS, Ingress, common};
use super::core::Core;
use super::rewrite;
use super::slow::{self, Arrival};
use super::world::World;
use super::{classify, resolve};
use crate::dpdk::{BURST, Burst, Checksum, Mbuf};
use crate::flow::record::Record;
use crate::flow::{Action, FlowTable, Key4, Lookup, Protocol, Record4};
use crate::packet::DropReason;
use crate::ring::Task;

/// How many packets ahead of its use a cache line is asked for: some 400 cycles of work, about what memory takes.
const AHEAD: usize = 8;

/// What one packet of a burst carries from stage to stage.
#[derive(Clone, Copy, Default)]
struct Lane {
    key: Key4,
    lookup: Lookup,
    tcp_flags: u8,
    stage: Stage,
}

/// How far a packet has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// For the slow way.
    #[default]
    Odd,
    /// Its first bucket is on the way.
    First,
    /// Its second bucket is on the way.
    Second,
    /// Its record is on the way.
    Record,
}

/// The lanes of a burst, reused from burst to burst.
pub struct Lanes([Lane; BURST]);

impl Default for Lanes {
    fn default() -> Self {
        Self([Lane::default(); BURST])
    }
}

impl Lanes {
    /// No check is left in the code: a burst has at most as many packets as there are lanes.
    #[inline(always)]
    fn at(&mut self, i: usize) -> &mut Lane {
        &mut self.0[i % BURST]
    }
}

/// Takes a received burst through all stages. The burst is empty afterwards.
///
/// Classify runs over the whole burst; then each packet acts while those behind it advance: the one `AHEAD` places behind
/// has its second bucket looked at if need be, the one twice as far behind its first. So two cache misses a packet overlap
/// with the work on others, spread evenly.
#[inline(never)]
pub fn burst(core: &mut Core, world: &World, lanes: &mut Lanes, packets: &mut Burst, ingress: &Ingress) {
    if world.spread {
        spread(core, world, packets, ingress);
    }
    let flows = &*world.flows;
    let count = packets.len();
    classify_all(world, lanes, packets, ingress);
    (0..count.min(2 * AHEAD)).for_each(|i| first(flows, lanes.at(i)));
    (0..count.min(AHEAD)).for_each(|i| second(flows, lanes.at(i)));
    let (mut forwarded, mut bytes) = (0, 0);
    for (i, mbuf) in packets.drain(..).enumerate() {
        if i + 2 * AHEAD < count {
            first(flows, lanes.at(i + 2 * AHEAD));
        }
        if i + AHEAD < count {
            second(flows, lanes.at(i + AHEAD));
        }
        let lane = lanes.at(i);
        let record = match lane.stage {
            Stage::Record => flows.confirm::<Record4>(&lane.lookup, &lane.key),
            _ => None,
        };
        match record {
            Some(record) => {
                let length = mbuf.len();
                if act(core, world, mbuf, record, lane) {
                    forwarded += 1;
                    bytes += length;
                }
            }
            None => slow::receive(core, world, mbuf, Arrival::on(ingress)),
        }
    }
    core.out.counters.forwarded_packets.add(forwarded);
    core.out.counters.forwarded_bytes.add(bytes as u64);
    slow::second_legs(core, world);
    core.out.flush();
}

/// Not inlined, as [`burst`] is not: each has the registers to itself.
#[inline(never)]
fn classify_all(world: &World, lanes: &mut Lanes, packets: &Burst, ingress: &Ingress) {
    for (lane, mbuf) in lanes.0.iter_mut().zip(packets) {
        let verified = mbuf.rx_ip_checksum() == Checksum::Good;
        lane.stage = match common(mbuf.data(), mbuf.len(), ingress, verified) {
            Some(Common { key, tcp_flags }) => {
                (lane.key, lane.tcp_flags) = (key, tcp_flags);
                lane.lookup = world.flows.begin::<Record4>(&key);
                Stage::First
            }
            None => Stage::Odd,
        };
    }
}

#[inline(always)]
fn first(flows: &FlowTable, lane: &mut Lane) {
    if lane.stage == Stage::First {
        let found = flows.locate::<Record4>(&mut lane.lookup);
        lane.stage = if found { Stage::Record } else { Stage::Second };
    }
}

#[inline(always)]
fn second(flows: &FlowTable, lane: &mut Lane) {
    if lane.stage == Stage::Second {
        let found = flows.locate_second::<Record4>(&mut lane.lookup);
        lane.stage = if found { Stage::Record } else { Stage::Odd };
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
