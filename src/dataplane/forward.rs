//! A burst through classify, look-up and act. The hot loop of the house: once for IPv4, and once for what of the burst is IPv6.

use super::classify::{self, Common, HEADERS, HEADERS6, Ingress, at, at6, common4, common6};
use super::core::Core;
use super::decapsulate;
use super::into_tunnels::{self, Batch};
use super::newcomers;
use super::out_of_tunnels::OutOfTunnel;
use super::police::Subscriber;
use super::rewrite;
use super::slow::{self, Arrival};
use super::tunnels;
use super::vlan::{self, Links, Vlan};
use super::world::World;
use crate::dpdk::{BURST, Burst, Checksum, Mbuf};
use crate::flow::record::Record;
use crate::flow::table::Family;
use crate::flow::tunnel::Session;
use crate::flow::{FlowTable, Key4, Live, Lookup, Place, Protocol, Record4, Record6};
use crate::nat::tunnel;
use crate::packet::DropReason;
use crate::ring::Task;
use arrayvec::ArrayVec;

/// How many packets ahead of its use a cache line is asked for: some 400 cycles of work, about what memory takes.
const AHEAD: usize = 8;

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
struct BurstLanes<F: Fast>([Lane<F>; BURST + 2 * AHEAD]);

impl<F: Fast> BurstLanes<F> {
    fn new() -> Self {
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

/// The lanes of each way, the packets that are for the second, and the odd ones.
pub struct Lanes {
    v4: BurstLanes<Record4>,
    v6: BurstLanes<Record6>,
    tunnelled: BurstLanes<OutOfTunnel>,
    inside: BurstLanes<Inside>,
    rest: Burst,
    odd: Burst,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            v4: BurstLanes::new(),
            v6: BurstLanes::new(),
            tunnelled: BurstLanes::new(),
            inside: BurstLanes::new(),
            rest: Burst::new(),
            odd: Burst::new(),
        }
    }
}

/// A fast way: of one kind of common packets, to the records of one family.
pub(super) trait Fast {
    type Record: Family<Key: Default> + 'static;
    /// What a packet carries beside its key.
    type Memo: Copy + Default;
    /// Whether [`Self::foresee`] does anything.
    const FORESEES: bool;
    /// The key of a common packet of this way.
    fn classify(world: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<KeyOf<Self>>>;
    fn memo(ingress: &Ingress) -> Self::Memo;
    /// Asks for what it needs beside its record, which has just come, if it is the right one.
    fn foresee(world: &World, record: &Self::Record);
    /// Sends a packet whose record was found, where it can do so at once. What is [`Acted::Not`] this way's is untouched.
    fn act(core: &mut Core, world: &World, mbuf: Mbuf, record: &Self::Record, lane: &Lane<Self>) -> Acted
    where
        Self: Sized;
}

pub(super) type KeyOf<F> = <<F as Fast>::Record as Record>::Key;

/// The ways that change nothing but addresses and ports, or not even these.
trait Plain: Family<Key: Default> + 'static {
    fn classify(mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Self::Key>>;
    /// Executes the record's rewrite on a common packet and sets its link-layer addresses.
    fn rewrite(&self, frame: &mut [u8], hop: Live, tcp: bool) -> Option<()>;
    /// Of a common TCP segment: eight bytes of its header, from the acknowledgement to the window.
    fn acknowledgement(frame: &[u8]) -> Option<[u8; 8]>;
    /// The number of the transport protocol.
    fn protocol(key: &Self::Key) -> u8;
    /// Who sends packets of this key, if it is a subscriber.
    fn subscriber(key: &Self::Key) -> Subscriber;
}

impl<R: Plain> Fast for R {
    type Record = R;
    type Memo = ();
    const FORESEES: bool = false;

    #[inline(always)]
    fn classify(_: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<R::Key>> {
        R::classify(mbuf, ingress)
    }

    #[inline(always)]
    fn memo(_: &Ingress) {}

    #[inline(always)]
    fn foresee(_: &World, _: &R) {}

    #[inline(always)]
    fn act(core: &mut Core, world: &World, mbuf: Mbuf, record: &R, lane: &Lane<R>) -> Acted {
        act(core, world, mbuf, record, lane, |frame, hop, tcp| record.rewrite(frame, hop, tcp))
    }
}

/// Of packets that have left a tunnel: as [`Record4`], but in the place of new ports their halves have something else.
struct Inside;

impl Fast for Inside {
    type Record = Record4;
    type Memo = ();
    const FORESEES: bool = false;

    #[inline(always)]
    fn classify(_: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Key4>> {
        <Record4 as Plain>::classify(mbuf, ingress)
    }

    #[inline(always)]
    fn memo(_: &Ingress) {}

    #[inline(always)]
    fn foresee(_: &World, _: &Record4) {}

    #[inline(always)]
    fn act(core: &mut Core, world: &World, mbuf: Mbuf, record: &Record4, lane: &Lane<Self>) -> Acted {
        act(core, world, mbuf, record, lane, |frame, hop, tcp| {
            let headers = frame.first_chunk_mut::<HEADERS>()?;
            rewrite::common4(headers, &tunnel::rewrite_of(record), tcp);
            headers[..12].copy_from_slice(&hop.macs());
            Some(())
        })
    }
}

impl Plain for Record4 {
    #[inline(always)]
    fn classify(mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Self::Key>> {
        common4(mbuf.data(), mbuf.len(), ingress, mbuf.rx_ip_checksum() == Checksum::Good)
    }

    #[inline(always)]
    fn rewrite(&self, frame: &mut [u8], hop: Live, tcp: bool) -> Option<()> {
        let headers = frame.first_chunk_mut::<HEADERS>()?;
        rewrite::common4(headers, &Record4::rewrite(self), tcp);
        headers[..12].copy_from_slice(&hop.macs());
        Some(())
    }

    #[inline(always)]
    fn acknowledgement(frame: &[u8]) -> Option<[u8; 8]> {
        frame.get(at::TCP_ACKNOWLEDGEMENT..)?.first_chunk().copied()
    }

    #[inline(always)]
    fn protocol(key: &Self::Key) -> u8 {
        key.protocol()
    }

    #[inline(always)]
    fn subscriber(key: &Self::Key) -> Subscriber {
        Subscriber::v4(key.realm(), key.addresses as u32)
    }
}

impl Plain for Record6 {
    #[inline(always)]
    fn classify(mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Self::Key>> {
        common6(mbuf.data(), mbuf.len(), ingress)
    }

    /// A stateful firewall changes nothing but the hop limit.
    #[inline(always)]
    fn rewrite(&self, frame: &mut [u8], hop: Live, _tcp: bool) -> Option<()> {
        let headers = frame.first_chunk_mut::<HEADERS6>()?;
        headers[at6::HOP_LIMIT] -= 1;
        headers[..12].copy_from_slice(&hop.macs());
        Some(())
    }

    #[inline(always)]
    fn acknowledgement(frame: &[u8]) -> Option<[u8; 8]> {
        frame.get(at6::TCP_ACKNOWLEDGEMENT..)?.first_chunk().copied()
    }

    #[inline(always)]
    fn protocol(key: &Self::Key) -> u8 {
        key.protocol()
    }

    #[inline(always)]
    fn subscriber(key: &Self::Key) -> Subscriber {
        Subscriber::v6(key.addresses[0])
    }
}

/// Takes a received burst through all stages. The burst is empty afterwards. `TAGGED`: the port has interfaces with VLAN tags.
pub fn burst<const TAGGED: bool>(
    core: &mut Core,
    world: &World,
    lanes: &mut Lanes,
    packets: &mut Burst,
    links: &Links,
) {
    if TAGGED {
        untag(core, packets, links);
    }
    if links.ends_tunnels() {
        out_of_tunnels::<TAGGED>(core, world, lanes, packets, links);
    }
    if world.spread {
        spread::<TAGGED>(core, world, packets, links);
    }
    let Lanes { v4, v6, rest, odd, .. } = lanes;
    let mut batch = Batch::new();
    run::<Record4, TAGGED>(
        core,
        world,
        v4,
        packets,
        links,
        |_, _| (),
        |_, mbuf, _, hit| {
            let for_a_session = world.tunnels.as_ref().zip(hit);
            let mbuf = match for_a_session {
                Some((tunnels, (record, at))) => {
                    match into_tunnels::gather(tunnels, &mut batch, mbuf, record, at) {
                        Some(mbuf) => mbuf,
                        None => return,
                    }
                }
                None => mbuf,
            };
            let gathered = if slow::is_ipv6(&mbuf) { &mut *rest } else { &mut *odd };
            gathered.push(mbuf);
        },
    );
    if let Some(tunnels) = world.tunnels.as_ref().filter(|_| !batch.is_empty()) {
        into_tunnels::burst(core, world, tunnels, &mut batch, |mbuf| odd.push(mbuf));
    }
    if !odd.is_empty() {
        newcomers::receive(core, world, odd, |mbuf| ingress_of::<TAGGED>(links, mbuf));
    }
    if !rest.is_empty() {
        run::<Record6, TAGGED>(
            core,
            world,
            v6,
            rest,
            links,
            |_, _| (),
            |core, mbuf, ingress, _| {
                slow::receive(core, world, mbuf, Arrival::on(ingress));
            },
        );
    }
    slow::second_legs(core, world);
    core.out.flush();
}

/// What other edges have sent of hosts' packets goes on from here; the rest of the burst is left.
#[inline(never)]
fn out_of_tunnels<const TAGGED: bool>(
    core: &mut Core,
    world: &World,
    lanes: &mut Lanes,
    packets: &mut Burst,
    links: &Links,
) {
    let Some(tunnels) = &world.tunnels else { return };
    let Some(mut tunnelled) = decapsulate::likely(tunnels, packets) else { return };
    // Who hands packets to their homes does not look for flows.
    if !world.spread {
        let mut others = Burst::new();
        run::<OutOfTunnel, TAGGED>(
            core,
            world,
            &mut lanes.tunnelled,
            &mut tunnelled,
            links,
            |_, _| (),
            |_, mbuf, _, _| others.push(mbuf),
        );
        tunnelled = others;
    }
    if tunnelled.is_empty() {
        return;
    }
    let (mut inside, mut sessions) = (Burst::new(), ArrayVec::<&Session, BURST>::new());
    let ingress = |mbuf: &Mbuf| ingress_of::<TAGGED>(links, mbuf);
    decapsulate::take_out(
        core,
        world,
        tunnels,
        ingress,
        (&mut tunnelled, packets),
        (&mut inside, &mut sessions),
    );
    let now = core.now;
    let count = |i: usize, length: usize| sessions[i].count_in(length as u32, now);
    run::<Inside, true>(
        core,
        world,
        &mut lanes.inside,
        &mut inside,
        &tunnels.arrivals,
        count,
        |core, mbuf, ingress, _| slow::receive(core, world, mbuf, Arrival::on(ingress)),
    );
}

/// How a packet of this port came in. Of a tagged port its own word names the place of its interface.
#[inline(always)]
fn ingress_of<'l, const TAGGED: bool>(links: &'l Links, mbuf: &Mbuf) -> &'l Ingress {
    links.at(if TAGGED { mbuf.tag() } else { 0 })
}

/// One family's part of a burst: all packets leave it, those that are not common, or have no session, by `other`, which gets the half
/// that was found, if one was. `sent` hears the place and the length of each that is sent.
///
/// Classify runs over the whole burst; then each packet acts while those behind it advance: the one `AHEAD` places behind
/// has its second bucket looked at if need be, the one twice as far behind its first. So two cache misses a packet overlap
/// with the work on others, spread evenly.
#[inline(never)]
fn run<'w, F: Fast, const TAGGED: bool>(
    core: &mut Core,
    world: &'w World,
    lanes: &mut BurstLanes<F>,
    packets: &mut Burst,
    links: &Links,
    sent: impl Fn(usize, usize),
    mut other: impl FnMut(&mut Core, Mbuf, &Ingress, Option<(&'w F::Record, Place)>),
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
                other(core, mbuf, ingress, record.map(|record| (record, lane.lookup.candidate)));
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

/// A hit whose next hop is known and takes the packet whole: count, rewrite, and on its way. Any other is given back untouched:
/// hairpins, whose halves have no next hop, what must be resolved, and what is too big.
#[inline(always)]
fn act<R: Plain, F: Fast<Record = R>>(
    core: &mut Core,
    world: &World,
    mut mbuf: Mbuf,
    record: &R,
    lane: &Lane<F>,
    rewrite: impl FnOnce(&mut [u8], Live, bool) -> Option<()>,
) -> Acted {
    let about = record.common();
    let length = mbuf.len();
    let live = world.adjacencies.live(about.path());
    let Some(hop) = live.filter(|hop| length <= usize::from(hop.limit())) else {
        return Acted::Not(mbuf);
    };
    if let Some(policer) = &world.policer
        && about.action().is_outbound()
        && !policer.allow(R::subscriber(&lane.key), core.now)
    {
        core.out.drop(mbuf, DropReason::SubscriberRate);
        return Acted::Dropped;
    }
    let tcp = R::protocol(&lane.key) == Protocol::Tcp as u8;
    if rewrite(mbuf.data_mut(), hop, tcp).is_none() {
        // A common packet has them all.
        core.out.drop(mbuf, DropReason::Truncated);
        return Acted::Dropped;
    }
    about.count(length as u32, core.now);
    if tcp {
        saw(world, lane, record, R::acknowledgement(mbuf.data()));
    }
    core.send(mbuf, hop.port(), Vlan(hop.vlan()));
    Acted::Sent
}

/// A common TCP segment of a half: its flags, and its acknowledgement as [`Plain::acknowledgement`] has it.
#[inline(always)]
pub(super) fn saw<F: Fast>(world: &World, lane: &Lane<F>, record: &F::Record, numbers: Option<[u8; 8]>) {
    record.common().saw_tcp(lane.tcp_flags);
    if let Some((window, numbers)) = world.flows.window::<F::Record>(lane.lookup.candidate).zip(numbers) {
        window.acknowledge(numbers);
    }
}

/// Takes the tags off; each packet's own word says by which interface it came in.
#[inline(never)]
fn untag(core: &mut Core, packets: &mut Burst, links: &Links) {
    let mut known = Burst::new();
    for mut mbuf in packets.drain(..) {
        match vlan::take_off(&mut mbuf).and_then(|vlan| links.find(vlan)) {
            Some(place) => {
                mbuf.set_tag(u32::from(place));
                known.push(mbuf);
            }
            None => core.out.drop(mbuf, DropReason::VlanUnknown),
        }
    }
    *packets = known;
}

/// `distribute = "software"`: the receiving worker hands common packets to their homes, in bursts, and keeps its own and
/// all odd ones. Of what it hands over it counts who has sent it: nobody asks behind it.
fn spread<const TAGGED: bool>(core: &mut Core, world: &World, packets: &mut Burst, links: &Links) {
    let mut own = Burst::new();
    for mbuf in packets.drain(..) {
        let ingress = ingress_of::<TAGGED>(links, &mbuf);
        match home(world, &mbuf, ingress) {
            Some((home, key)) if home != core.id => {
                let arrival = Arrival::on(ingress);
                if let Err(why) = slow::police(core, world, arrival, || Record4::subscriber(&key)) {
                    core.out.drop(mbuf, why);
                    continue;
                }
                let Arrival { interface, realm, hairpin, hops } = arrival;
                core.out.hand(home, mbuf, Task::Receive { interface, realm, hairpin }, hops);
            }
            _ => own.push(mbuf),
        }
    }
    *packets = own;
}

/// The home of a common packet, and its key.
fn home(world: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<(usize, Key4)> {
    let Common { key, .. } = classify::of_a_flow4(mbuf.data(), mbuf.len(), ingress)?;
    let home = match world.nat.as_deref() {
        Some(nat) => slow::home_of(nat, &key),
        None => tunnels::home_of(world, &key),
    };
    Some((home?, key))
}
