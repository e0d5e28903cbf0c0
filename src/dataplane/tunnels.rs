//! Tunnels as workers see them: whose flow a packet is of between hosts that have a session, where such a flow lives, and what its
//! sender is told.
//!
//! A packet that has left its tunnel is in a realm of its own, [`Realm::TUNNEL`], where session tags stand for addresses, in a frame
//! without addresses: it is judged here, and then dealt with as any other. Its way into a tunnel is [`super::into_tunnels`] and
//! [`super::encapsulate`], that out of one [`super::decapsulate`].
//!
//! Guarantees: a flow begins only as its session's services say, at the home of its host (of two behind this edge: of that with the
//! lower tag); no packet passes after its session was removed; who sends what was not negotiated is told, within the limit of ICMP
//! errors. Never: knows an association.

use super::cetp;
use super::classify::Ingress;
use super::core::Core;
use super::depart;
use super::encapsulate::{self, Way};
use super::errors;
use super::message;
use super::slow::{self, Arrival, Flow, IP, Place, Verdict};
use super::sources;
use super::vlan::{Links, Vlan};
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::hash::Hashed;
use crate::flow::tunnel::{Opens, Session, TunnelTable};
use crate::flow::{Action, HashKey, Key4, Realm, Record, Record4};
use crate::nat::{Timeouts, tunnel};
use crate::packet::build::{IcmpError, Path};
use crate::packet::icmp::may_be_told;
use crate::packet::{DropReason, Ipv4, MacAddr};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Of all workers. See the module.
pub struct Tunnels {
    pub table: Arc<TunnelTable>,
    /// UDP port of messages and tunnels.
    pub port: u16,
    /// Idle times of flows.
    pub timeouts: Timeouts,
    /// The edge's own RLOCs, with their realms.
    pub rlocs: Box<[(Realm, IpAddr)]>,
    /// By interface: whether edges meet over Ethernet there.
    ethernet: Box<[bool]>,
    /// How packets that have left a tunnel come in, by the interface that they were brought by.
    pub(super) arrivals: Links,
    workers: usize,
    hash: HashKey,
}

/// What [`Tunnels`] is made of.
pub struct Options {
    pub port: u16,
    pub timeouts: Timeouts,
    pub rlocs: Box<[(Realm, IpAddr)]>,
    pub ethernet: Box<[bool]>,
}

impl Tunnels {
    /// For so many workers, whose homes `hash` chooses where there is no NAT.
    pub fn new(table: Arc<TunnelTable>, options: Options, workers: usize, hash: HashKey) -> Self {
        let Options { port, timeouts, rlocs, ethernet } = options;
        let arrival = |interface| (Vlan::NONE, Ingress { interface, realm: Realm::TUNNEL, mac: 0 });
        let arrivals = Links::new(&(0..ethernet.len() as u16).map(arrival).collect::<Vec<_>>());
        Self { table, port, timeouts, rlocs, ethernet, arrivals, workers, hash }
    }

    /// Whether edges meet over Ethernet on that interface.
    pub fn is_ethernet(&self, interface: u16) -> bool {
        self.ethernet.get(usize::from(interface)).is_some_and(|meets| *meets)
    }

    /// The session that packets of this key are of, if any.
    fn session_of(&self, key: &Key4) -> Option<&Session> {
        if key.realm() != Realm::TUNNEL {
            return self
                .table
                .find_pair(key.realm(), key.source(), key.destination())
                .map(|(_, found)| found);
        }
        let session = self.table.find(key.destination().to_bits())?;
        (!session.is_local() && session.tags().1 == key.source().to_bits()).then_some(session)
    }

    /// Where flows of a session live; `None` where the other one of two local ones is gone.
    fn home(&self, world: &World, session: &Session) -> Option<usize> {
        let (own, peer) = session.tags();
        let of = match session.is_local() {
            true if peer < own => self.table.twin(session)?,
            _ => session,
        };
        Some(self.home_of_host(world, of))
    }

    /// The home of a session's host.
    pub(super) fn home_of_host(&self, world: &World, session: &Session) -> usize {
        let (realm, host) = (session.realm(), session.pair().0);
        match world.nat.as_deref() {
            _ if self.workers == 1 => 0,
            Some(nat) => nat.home_of_inside(realm, host),
            None => {
                let hash = Key4::of_any_protocol(realm, 0, (host, Ipv4Addr::UNSPECIFIED), 0).hash(&self.hash);
                ((u64::from(hash.buckets as u32) * self.workers as u64) >> 32) as usize
            }
        }
    }
}

/// A packet that has left its tunnel.
pub(super) fn judge<'w>(
    core: &mut Core,
    world: &'w World,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    let bytes = mbuf.data().get(IP..).ok_or(DropReason::Truncated)?;
    // Of several segments the first has the headers; that the rest is there was seen before it left its tunnel.
    let ip = if mbuf.is_contiguous() { Ipv4::parse(bytes) } else { Ipv4::parse_quoted(bytes) }?;
    if ip.has_source_route() {
        return Err(DropReason::Ipv4SourceRoute);
    }
    if ip.ttl() <= 1 {
        let sent = answer(core, world, &ip, IcmpError::TimeExceeded);
        return Err(if sent { DropReason::TtlExceeded } else { DropReason::TtlExceededQuiet });
    }
    slow::of_a_flow(core, world, &ip, mbuf, arrival)
}

/// The worker where the fragments of a datagram between hosts that have a session meet; `None` of any other.
///
/// # Errors
/// It has left a tunnel whose session is gone since.
pub(super) fn meeting_place(world: &World, ip: &Ipv4<'_>, realm: Realm) -> Result<Option<usize>, DropReason> {
    let Some(tunnels) = &world.tunnels else { return Ok(None) };
    let key = Key4::of_any_protocol(realm, 0, (ip.source(), ip.destination()), 0);
    match tunnels.session_of(&key) {
        Some(session) => tunnels.home(world, session).map(Some).ok_or(DropReason::CetpNoTunnel),
        None if realm == Realm::TUNNEL => Err(DropReason::CetpNoTunnel),
        None => Ok(None),
    }
}

/// The home of the flow of a key between hosts that have a session.
pub fn home_of(world: &World, key: &Key4) -> Option<usize> {
    let tunnels = world.tunnels.as_ref()?;
    tunnels.home(world, tunnels.session_of(key)?)
}

/// A packet without a flow, of hosts that may have a session: its flow is made here, or it is its home's. `None`: they have none.
pub(super) fn opening<'w>(
    core: &mut Core,
    world: &'w World,
    flow: &Flow,
    place: Place,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Option<Result<Verdict<'w>, DropReason>> {
    let tunnels = world.tunnels.as_ref()?;
    match tunnels.session_of(&flow.key) {
        Some(session) => Some(open(core, world, (tunnels, session), flow, place, ip, mbuf, arrival)),
        None if arrival.realm == Realm::TUNNEL => Some(Err(DropReason::CetpUnknownTag)),
        None => None,
    }
}

#[expect(clippy::too_many_arguments, reason = "as the rest of a miss has them")]
fn open<'w>(
    core: &mut Core,
    world: &'w World,
    (tunnels, session): (&Tunnels, &Session),
    flow: &Flow,
    place: Place,
    ip: &Ipv4<'_>,
    mbuf: &Mbuf,
    arrival: Arrival,
) -> Result<Verdict<'w>, DropReason> {
    if arrival.realm != Realm::TUNNEL {
        sources::check(core, world, arrival, ip.source().into())?;
    }
    let home = tunnels.home(world, session).ok_or(DropReason::CetpNoTunnel)?;
    if home != core.id {
        return Ok(Verdict::Hand(home));
    }
    if !flow.opens {
        return Err(DropReason::NoSession);
    }
    let opened = tunnel::open(&mut core.flows, &tunnels.table, session, &flow.key, flow.tcp_flags, core.now);
    if let Err(why) = opened
        && (why == DropReason::CetpNotNegotiated || slow::is_refusal(why))
    {
        errors::answer4(core, world, mbuf, ip, arrival, IcmpError::AdministrativelyProhibited);
        // An answer of a service that the host may use is late: its flow is gone here, and not there.
        let key = &flow.key;
        let is_late = || session.services().allow(Opens::Host, key.protocol(), key.source_port());
        if why == DropReason::CetpNotNegotiated && arrival.realm == Realm::TUNNEL && !is_late() {
            cetp::trespass(core, arrival.interface, ip.destination().to_bits(), mbuf);
        }
    }
    let opened = opened?;
    core.out.counters.sessions_created.add(1);
    core.out.counters.sessions_removed.add(opened.ended);
    let record = world.flows.get::<Record4>(opened.flow).filter(|record| record.matches(&flow.key));
    let record = record.ok_or(DropReason::NoSession)?;
    depart::settle(core, world, record);
    Ok(Verdict::Act { record, place, tcp_flags: flow.tcp_flags })
}

/// Whether the session of a flow's half lives. Of a half of no session it does.
pub(super) fn lives(world: &World, record: &Record4) -> bool {
    let action = record.common().action();
    if !action.is_tunnelled() {
        return true;
    }
    let Some(tunnels) = &world.tunnels else { return false };
    let found = tunnels.table.find(tunnel::own_tag(record));
    found.is_some_and(|session| action.kind() != Action::LOCAL || tunnels.table.twin(session).is_some())
}

/// Counts a packet of a half at its session: out of a tunnel, or from host to host.
pub(super) fn count(core: &Core, world: &World, record: &Record4, bytes: usize) {
    let Some(tunnels) = &world.tunnels else { return };
    let Some(session) = tunnels.table.find(tunnel::own_tag(record)) else { return };
    let bytes = bytes as u32;
    match record.common().action().kind() {
        Action::DECAPSULATE => session.count_in(bytes, core.now),
        Action::LOCAL => {
            session.count_out(bytes, core.now);
            if let Some(twin) = tunnels.table.twin(session) {
                twin.count_in(bytes, core.now);
            }
        }
        _ => (),
    }
}

/// The session that remembers the way to the host of a [`Action::LOCAL`] half.
pub(super) fn receiver<'w>(world: &'w World, record: &Record4) -> Option<&'w Session> {
    let table = &world.tunnels.as_ref()?.table;
    if record.common().action().kind() != Action::LOCAL {
        return None;
    }
    table.twin(table.find(tunnel::own_tag(record))?)
}

/// Tells the sender of a packet that has left a tunnel what is wrong with it, back through the tunnel, from the address that stands
/// for the host that it is to; false when nothing was sent, by the rules about errors or the limit.
pub(super) fn answer(core: &mut Core, world: &World, ip: &Ipv4<'_>, error: IcmpError) -> bool {
    let (own, peer) = (ip.destination(), ip.source());
    let Some(tunnels) = &world.tunnels else { return false };
    let Some(way) = Way::of(tunnels, own.to_bits(), (own.to_bits() >> 18) as u16) else { return false };
    if way.session.tags().1 != peer.to_bits() || !may_be_told(ip) {
        return false;
    }
    if !core.icmp_errors.allow(peer.into(), core.now) {
        return false;
    }
    let path = Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
    let Some(message) = message::icmp_error(&core.pool, &path, own, error, ip) else { return false };
    core.out.counters.originated_packets.add(1);
    encapsulate::send(core, world, tunnels, &way, message);
    true
}
