//! The stages of a burst that each fast way has: classify, look up while others act, act. What a way is, `Fast` says; there are those
//! of [`super::forward`] and [`super::out_of_tunnels`].
//!
//! Guarantees: every packet of a burst is sent, dropped by its name, or given to who asked for the rest. Never: knows what a way does.

use super::classify::{Common, Ingress};
use super::core::Core;
use super::vlan::Links;
use super::world::World;
use crate::dpdk::{BURST, Burst, Mbuf};
use crate::flow::record::Record;
use crate::flow::table::Family;
use crate::flow::{FlowTable, Lookup};

/// How many packets ahead of its use a cache line is asked for: some 400 cycles of work, about what memory takes.
const AHEAD: usize = 8;

/// A fast way: of one kind of common packets, to the records of one family.
pub(super) trait Fast {
    type Record: Family<Key: Default> + 'static;
    /// What a packet carries beside its key.
    type Memo: Copy + Default;
    /// Whether [`Self::foresee`] does anything.
    const FORESEES: bool = false;
    /// The key of a common packet of this way.
    fn classify(world: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<KeyOf<Self>>>;
    fn memo(ingress: &Ingress) -> Self::Memo;
    /// Asks for what it needs beside its record, which has just come, if it is the right one.
    fn foresee(_world: &World, _record: &Self::Record) {}
    /// Sends a packet whose record was found, where it can do so at once. What is [`Acted::Not`] this way's is untouched.
    fn act(core: &mut Core, world: &World, mbuf: Mbuf, record: &Self::Record, lane: &Lane<Self>) -> Acted
    where
        Self: Sized;
}

pub(super) type KeyOf<F> = <<F as Fast>::Record as Record>::Key;

/// What one packet of a burst carries from stage to stage.
pub(super) struct Lane<F: Fast> {
    pub key: KeyOf<F>,
    pub lookup: Lookup,
    pub tcp_flags: u8,
    stage: Stage,
    pub memo: F::Memo,
}

/// How far a packet has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Not for this way.
    #[default]
    Odd,
    /// Its first bucket is on the way.
    First,
    /// Its second bucket is on the way.
    Second,
    /// Its record is on the way.
    Record,
    /// A common packet without a session that its buckets show.
    Miss,
}

/// The lanes of a burst, reused from burst to burst.
/// Behind the last of a burst there are odd ones, so that whoever looks ahead need not know where it ends.
pub(super) struct BurstLanes<F: Fast>([Lane<F>; BURST + 2 * AHEAD]);

impl<F: Fast> BurstLanes<F> {
    pub fn new() -> Self {
        Self(std::array::from_fn(|_| Lane {
            key: KeyOf::<F>::default(),
            lookup: Lookup::default(),
            tcp_flags: 0,
            stage: Stage::Odd,
            memo: F::Memo::default(),
        }))
    }

    /// The lane of packet `i` and those that come after it. No check is left in the code: a burst has at most [`BURST`] packets.
    #[inline(always)]
    fn from(&mut self, i: usize) -> &mut [Lane<F>; 2 * AHEAD + 1] {
        self.0[i % BURST..].first_chunk_mut().expect("as many lanes behind the last packet's")
    }
}

/// How a packet of this port came in. Of a tagged port its own word names the place of its interface.
#[inline(always)]
pub(super) fn ingress_of<'l, const TAGGED: bool>(links: &'l Links, mbuf: &Mbuf) -> &'l Ingress {
    links.at(if TAGGED { mbuf.tag() } else { 0 })
}

/// One family's part of a burst: all packets leave it, those that are not common, or have no session, by `other`. `sent` hears the place
/// and the length of each that is sent.
///
/// Classify runs over the whole burst; then each packet acts while those behind it advance: the one `AHEAD` places behind
/// has its second bucket looked at if need be, the one twice as far behind its first. So two cache misses a packet overlap
/// with the work on others, spread evenly.
#[inline(never)]
pub(super) fn run<F: Fast, const TAGGED: bool>(
    core: &mut Core,
    world: &World,
    lanes: &mut BurstLanes<F>,
    packets: &mut Burst,
    links: &Links,
    sent: impl Fn(usize, usize),
    mut other: impl FnMut(&mut Core, Mbuf, &Ingress),
) {
    let flows = &*world.flows;
    let count = packets.len();
    classify_all::<F, TAGGED>(world, lanes, packets, links);
    let front = lanes.from(0);
    front.iter_mut().take(count.min(2 * AHEAD)).for_each(|lane| first(flows, lane));
    front.iter_mut().take(count.min(AHEAD)).for_each(|lane| second(world, lane));
    let (mut forwarded, mut bytes) = (0, 0);
    for (i, mbuf) in packets.drain(..).enumerate() {
        let ahead = lanes.from(i);
        first(flows, &mut ahead[2 * AHEAD]);
        second(world, &mut ahead[AHEAD]);
        let lane = &ahead[0];
        let record = match lane.stage {
            Stage::Record => flows.confirm::<F::Record>(&lane.lookup, &lane.key),
            _ => None,
        };
        let length = mbuf.len();
        let acted = match record {
            Some(record) => F::act(core, world, mbuf, record, lane),
            None => Acted::Not(mbuf),
        };
        match acted {
            Acted::Sent => {
                sent(i, length);
                forwarded += 1;
                bytes += length;
            }
            Acted::Dropped => (),
            Acted::Not(mbuf) => {
                let ingress = ingress_of::<TAGGED>(links, &mbuf);
                other(core, mbuf, ingress);
            }
        }
    }
    core.out.counters.forwarded_packets.add(forwarded);
    core.out.counters.forwarded_bytes.add(bytes as u64);
}

/// Not inlined, as [`run`] is not: each has the registers to itself.
#[inline(never)]
fn classify_all<F: Fast, const TAGGED: bool>(
    world: &World,
    lanes: &mut BurstLanes<F>,
    packets: &Burst,
    links: &Links,
) {
    // Of a port without tags there is one for all: it stays in registers.
    let one = *links.at(0);
    let (taken, behind) = lanes.0.split_at_mut(packets.len());
    behind.iter_mut().take(2 * AHEAD).for_each(|lane| lane.stage = Stage::Odd);
    for (lane, mbuf) in taken.iter_mut().zip(packets) {
        let ingress = if TAGGED { *links.at(mbuf.tag()) } else { one };
        lane.stage = match F::classify(world, mbuf, &ingress) {
            Some(Common { key, tcp_flags }) => {
                (lane.key, lane.tcp_flags) = (key, tcp_flags);
                lane.lookup = world.flows.begin::<F::Record>(&key);
                lane.memo = F::memo(&ingress);
                Stage::First
            }
            None => Stage::Odd,
        };
    }
}

#[inline(always)]
fn first<F: Fast>(flows: &FlowTable, lane: &mut Lane<F>) {
    if lane.stage == Stage::First {
        let found = flows.locate::<F::Record>(&mut lane.lookup);
        lane.stage = if found { Stage::Record } else { Stage::Second };
        fetch_window(flows, lane, found);
    }
}

#[inline(always)]
fn second<F: Fast>(world: &World, lane: &mut Lane<F>) {
    if lane.stage == Stage::Second {
        let found = world.flows.locate_second::<F::Record>(&mut lane.lookup);
        lane.stage = if found { Stage::Record } else { Stage::Miss };
        fetch_window(&world.flows, lane, found);
    } else if F::FORESEES
        && lane.stage == Stage::Record
        && let Some(record) = world.flows.candidate::<F::Record>(&lane.lookup)
    {
        F::foresee(world, record);
    }
}

/// A common TCP segment has at least one flag. Nothing else has a window.
#[inline(always)]
fn fetch_window<F: Fast>(flows: &FlowTable, lane: &Lane<F>, found: bool) {
    if lane.tcp_flags != 0 && found {
        flows.prefetch_window::<F::Record>(lane.lookup.candidate);
    }
}

/// What a way has done with a packet.
pub(super) enum Acted {
    Sent,
    Dropped,
    /// Nothing: it is another way's.
    Not(Mbuf),
}

/// A common TCP segment of a half: its flags, and its acknowledgement as [`Plain::acknowledgement`] has it.
#[inline(always)]
pub(super) fn saw<F: Fast>(world: &World, lane: &Lane<F>, record: &F::Record, numbers: Option<[u8; 8]>) {
    record.common().saw_tcp(lane.tcp_flags);
    if let Some((window, numbers)) = world.flows.window::<F::Record>(lane.lookup.candidate).zip(numbers) {
        window.acknowledge(numbers);
    }
}
