//! A burst on its way: what other edges have sent leaves its tunnels, what is IPv4 and then what is IPv6 goes through the stages of
//! [`super::lanes`], and what is left is for others.

use super::account::Stage;
use super::classify::{self, Common, HEADERS, HEADERS6, Ingress, at, at6, common4, common6};
use super::core::Core;
use super::decapsulate;
use super::into_tunnels;
use super::lanes::{Acted, BurstLanes, Fast, Lane, ingress_of, run, saw};
use super::newcomers;
use super::out_of_tunnels::OutOfTunnel;
use super::police::Subscriber;
use super::rewrite;
use super::slow::{self, Arrival};
use super::tunnels;
use super::vlan::{self, Links, Vlan};
use super::world::World;
use crate::dpdk::{BURST, Burst, Checksum, Mbuf};
use crate::flow::table::Family;
use crate::flow::tunnel::Session;
use crate::flow::{Key4, Live, Protocol, Record4, Record6};
use crate::nat::tunnel;
use crate::packet::DropReason;
use crate::ring::Task;
use arrayvec::ArrayVec;

/// The lanes of each way, the packets that are for the second, and the odd ones.
pub struct Lanes {
    v4: BurstLanes<Record4>,
    of_hosts: BurstLanes<OfHosts>,
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
            of_hosts: BurstLanes::new(),
            v6: BurstLanes::new(),
            tunnelled: BurstLanes::new(),
            inside: BurstLanes::new(),
            rest: Burst::new(),
            odd: Burst::new(),
        }
    }
}

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

    #[inline(always)]
    fn classify(_: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<R::Key>> {
        R::classify(mbuf, ingress)
    }

    #[inline(always)]
    fn memo(_: &Ingress) {}

    #[inline(always)]
    fn act(core: &mut Core, world: &World, mbuf: Mbuf, record: &R, lane: &Lane<R>) -> Acted {
        act(core, world, mbuf, record, lane, |frame, hop, tcp| record.rewrite(frame, hop, tcp))
    }
}

/// Where there are tunnels: [`Record4`]'s way, and [`into_tunnels`] for packets of hosts that have a session.
struct OfHosts;

impl Fast for OfHosts {
    type Record = Record4;
    type Memo = ();
    const FORESEES: bool = true;

    #[inline(always)]
    fn classify(_: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Key4>> {
        <Record4 as Plain>::classify(mbuf, ingress)
    }

    #[inline(always)]
    fn memo(_: &Ingress) {}

    #[inline(always)]
    fn foresee(world: &World, record: &Record4) {
        if let Some(tunnels) = world.tunnels.as_ref().filter(|_| into_tunnels::is_of_a_session(record)) {
            into_tunnels::foresee(tunnels, record);
        }
    }

    #[inline(always)]
    fn act(core: &mut Core, world: &World, mbuf: Mbuf, record: &Record4, lane: &Lane<Self>) -> Acted {
        match world.tunnels.as_ref().filter(|_| into_tunnels::is_of_a_session(record)) {
            Some(tunnels) => into_tunnels::act(core, world, tunnels, mbuf, (record, lane.lookup.candidate)),
            None => act(core, world, mbuf, record, lane, |frame, hop, tcp| {
                Plain::rewrite(record, frame, hop, tcp)
            }),
        }
    }
}

/// Of packets that have left a tunnel: as [`Record4`], but in the place of new ports their halves have something else.
struct Inside;

impl Fast for Inside {
    type Record = Record4;
    type Memo = ();

    #[inline(always)]
    fn classify(_: &World, mbuf: &Mbuf, ingress: &Ingress) -> Option<Common<Key4>> {
        <Record4 as Plain>::classify(mbuf, ingress)
    }

    #[inline(always)]
    fn memo(_: &Ingress) {}

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
        let carried = out_of_tunnels::<TAGGED>(core, world, lanes, packets, links);
        core.account.lap_if_any(Stage::OutOfTunnels, carried);
    }
    if world.spread {
        let count = packets.len();
        spread::<TAGGED>(core, world, packets, links);
        core.account.lap_if_any(Stage::HandOff, count);
    }
    let Lanes { v4, of_hosts, v6, rest, odd, .. } = lanes;
    let count = packets.len();
    let left = |_: &mut Core, mbuf: Mbuf, _: &Ingress| {
        let gathered = if slow::is_ipv6(&mbuf) { &mut *rest } else { &mut *odd };
        gathered.push(mbuf);
    };
    if world.tunnels.is_some() {
        run::<OfHosts, TAGGED>(core, world, of_hosts, packets, links, |_, _| (), left);
    } else {
        run::<Record4, TAGGED>(core, world, v4, packets, links, |_, _| (), left);
    }
    core.account.lap_if_any(Stage::Ipv4, count);
    if !odd.is_empty() {
        let count = odd.len();
        newcomers::receive(core, world, odd, |mbuf| ingress_of::<TAGGED>(links, mbuf));
        core.account.lap(Stage::Slow, count);
    }
    if !rest.is_empty() {
        let count = rest.len();
        run::<Record6, TAGGED>(core, world, v6, rest, links, |_, _| (), |_, mbuf, _| odd.push(mbuf));
        core.account.lap(Stage::Ipv6, count);
    }
    let count = odd.len() + core.second_legs.len();
    if count > 0 {
        for mbuf in odd.drain(..) {
            let arrival = Arrival::on(ingress_of::<TAGGED>(links, &mbuf));
            slow::receive(core, world, mbuf, arrival);
        }
        slow::second_legs(core, world);
        core.account.lap(Stage::Slow, count);
    }
    core.flush();
}

/// What other edges have sent of hosts' packets goes on from here; the rest of the burst is left. Gives how many seemed to be sent so.
#[inline(never)]
fn out_of_tunnels<const TAGGED: bool>(
    core: &mut Core,
    world: &World,
    lanes: &mut Lanes,
    packets: &mut Burst,
    links: &Links,
) -> usize {
    let Some(tunnels) = &world.tunnels else { return 0 };
    let Some(mut tunnelled) = decapsulate::likely(tunnels, packets) else { return 0 };
    let carried = tunnelled.len();
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
            |_, mbuf, _| others.push(mbuf),
        );
        tunnelled = others;
    }
    if tunnelled.is_empty() {
        return carried;
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
        |core, mbuf, ingress| slow::receive(core, world, mbuf, Arrival::on(ingress)),
    );
    carried
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
