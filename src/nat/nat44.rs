//! NAT44: what happens on a miss from either side, and when a session is over.
//!
//! A session has a home worker: its subscriber's, by a keyed hash of (realm, inside address). Only home makes mappings and
//! sessions for that subscriber. A session between two subscribers (hairpinning, RFC 4787 REQ-9) is two sessions, one at
//! each home: the first translates the source and sends the packet round again as if it came from outside, the second
//! translates the destination. So no home ever needs another's mappings, and filters apply as from outside.

use super::claims::Claims;
use super::mapping::{Holder, Mappings};
use super::options::{Dependence, NatOptions};
use super::pcp::Control;
use super::permits::Permits;
use super::pool::{Endpoint, Pool, PoolState};
use super::ports::{WORKERS_MAX, space};
use super::session;
use super::tunnel;
use crate::flow::hash::Hashed;
use crate::flow::key;
use crate::flow::record::{Record, Rewrite4};
use crate::flow::table::Judge;
use crate::flow::tunnel::TunnelTable;
use crate::flow::{
    Action, Circular, FlowHome, Full, Half, HashKey, Key4, Protocol, Proxies, Realm, Record4, Ref,
};
use crate::packet::{DropReason, checksum::Delta};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// One of the protocols without ports, by its IANA number.
const GRE: u8 = 47;
/// TCP flag bits that tell a segment which opens a connection (RFC 9293 section 3.1).
const SYN: u8 = 2;
const NOT_OPENING: u8 = 1 | 4 | 16;

/// An inclusive range of public addresses, and the number of its pool.
struct Span {
    first: u32,
    last: u32,
    pool: u16,
}

/// The side that all workers share, read-only but for the pools.
pub struct Nat44 {
    options: NatOptions,
    pools: Vec<Pool>,
    /// The ranges of all pools, ascending.
    spans: Vec<Span>,
    hash: HashKey,
    workers: usize,
    /// No session is over that has had a packet from inside within so many milliseconds.
    shortest: u32,
    pub(super) circular: Option<Arc<Circular>>,
    pub(super) proxies: Option<Arc<Proxies>>,
    /// Whose flows live in the same tables.
    tunnels: Option<Arc<TunnelTable>>,
}

impl Nat44 {
    /// `pools` are asked in their order who serves a new subscriber.
    pub fn new(options: NatOptions, pools: Vec<Pool>, hash: HashKey, workers: usize) -> Self {
        assert!((1..=WORKERS_MAX).contains(&workers));
        let of = |(number, pool): (usize, &Pool)| {
            let span = move |r: &(Ipv4Addr, Ipv4Addr)| Span {
                first: r.0.into(),
                last: r.1.into(),
                pool: number as u16,
            };
            pool.options().ranges.iter().map(span).collect::<Vec<_>>()
        };
        let mut spans: Vec<Span> = pools.iter().enumerate().flat_map(of).collect();
        spans.sort_unstable_by_key(|s| s.first);
        let shortest = options.timeouts.shortest();
        Self { options, pools, spans, hash, workers, shortest, circular: None, proxies: None, tunnels: None }
    }

    /// The same, where flows to other edges live beside the NAT's.
    pub fn with_tunnels(mut self, tunnels: Arc<TunnelTable>) -> Self {
        self.tunnels = Some(tunnels);
        self
    }

    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    pub fn options(&self) -> &NatOptions {
        &self.options
    }

    /// The pool that an address belongs to, whatever its state.
    #[inline]
    pub fn pool_of(&self, address: Ipv4Addr) -> Option<&Pool> {
        let a = u32::from(address);
        let at = self.spans.partition_point(|s| s.last < a);
        let span = self.spans.get(at).filter(|s| s.first <= a)?;
        Some(&self.pools[usize::from(span.pool)])
    }

    /// Whether this is a public address of any pool, or of the circular one. Those of a removed pool may be somebody else's
    /// already.
    #[inline]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        self.pool_of(address).is_some_and(|pool| pool.state() != PoolState::Removed)
            || self.circular_number(address).is_some()
    }

    fn is_removed(&self, address: Ipv4Addr) -> bool {
        self.pool_of(address).is_some_and(|pool| pool.state() == PoolState::Removed)
    }

    /// Whether subscribers of this realm are translated.
    #[inline]
    pub fn is_inside(&self, realm: Realm) -> bool {
        self.options.inside.contains(&realm)
    }

    /// Whether this is the realm of the public addresses.
    #[inline]
    pub fn is_outside(&self, realm: Realm) -> bool {
        self.options.outside == realm
    }

    /// The home of an inside address.
    #[inline]
    pub fn home_of_inside(&self, realm: Realm, address: Ipv4Addr) -> usize {
        if self.workers == 1 {
            return 0;
        }
        let ([a, b, c, d], port) = (address.octets(), [0; 4]);
        self.spread(&Key4::from_wire([a, b, c, d, 0, 0, 0, 0], port, realm, 0))
    }

    /// A worker by a keyed hash.
    fn spread(&self, key: &Key4) -> usize {
        let hash = key.hash(&self.hash);
        ((hash.buckets as u32 as u64 * self.workers as u64) >> 32) as usize
    }

    /// The worker where the fragments of a datagram from outside meet: until the first of them is there, nobody knows their
    /// home. `datagram` as in [`super::fragments::Fragment`].
    pub fn meeting_place(&self, datagram: &Key4) -> usize {
        self.spread(datagram)
    }

    /// The home of whatever is behind a public endpoint; `None` where nobody has that port.
    #[inline]
    pub fn home_of_public(&self, address: Ipv4Addr, port: u16) -> Option<usize> {
        self.pool_of(address)?.owner(Endpoint { address, port })
    }

    /// Whether packets of this key, which come from inside, keep their source.
    pub(super) fn is_untranslated(&self, key: &Key4) -> bool {
        let has_port = matches!(key.protocol(), 6 | 17);
        self.options.untranslated.iter().any(|u| {
            u.prefix.contains(&key.destination())
                && u.port.is_none_or(|port| has_port && port == key.destination_port())
        })
    }

    /// Whether packets from outside may be for inside addresses.
    pub fn knows_untranslated(&self) -> bool {
        !self.options.untranslated.is_empty()
    }

    /// Whether some pool filters by address what goes to mappings that don't say for whom they are.
    fn needs_permits(&self) -> bool {
        self.pools
            .iter()
            .any(|p| asks_permits(p, Protocol::Udp as u8) || p.is_whole() && asks_permits(p, GRE))
    }
}

/// One worker's home: it alone makes and removes the mappings and sessions of its subscribers.
pub struct NatHome {
    pub(super) nat: Arc<Nat44>,
    pub(super) mappings: Mappings,
    permits: Permits,
    pub(super) random: StdRng,
    pub(super) pcp: Option<Control>,
    /// Where there is a circular pool.
    pub(super) claims: Option<Claims>,
    /// Sessions without translation, and how many there may be.
    untranslated: usize,
    most_untranslated: usize,
    /// Of the present call, for what it leads to.
    pub(super) now: u32,
    /// Whether some pool's sessions are to end, asked once a sweep.
    any_removed: bool,
}

/// A home's share of a number that all homes divide by hash, with room for chance.
fn share(total: usize, workers: usize) -> usize {
    if workers == 1 { total } else { total / workers * 5 / 4 + 1024 }
}

impl NatHome {
    /// The home on `worker`; `seed` feeds the generator that chooses ports (unpredictable outside of tests: RFC 6056).
    pub fn new(nat: Arc<Nat44>, worker: usize, seed: [u8; 32]) -> Self {
        let (o, w) = (&nat.options, nat.workers);
        let mappings = Mappings::new(
            share(o.mappings, w),
            share(o.subscribers, w),
            nat.pools.len(),
            worker,
            nat.hash.clone(),
        );
        let permits = if nat.needs_permits() { share(o.mappings, w) } else { 0 };
        let permits = Permits::new(permits, nat.hash.clone());
        let most_untranslated = share(o.mappings, w) / 4;
        let random = StdRng::from_seed(seed);
        let pcp = o.pcp.map(|p| Control::new(p, share(p.mappings, w), nat.hash.clone()));
        let claims = nat.circular.is_some().then(|| Claims::new(worker));
        Self {
            claims,
            mappings,
            permits,
            random,
            pcp,
            untranslated: 0,
            most_untranslated,
            nat,
            now: 0,
            any_removed: false,
        }
    }

    /// The shared side.
    pub fn shared(&self) -> &Arc<Nat44> {
        &self.nat
    }

    #[cfg(test)]
    pub(super) fn untranslated_sessions(&self) -> usize {
        self.untranslated
    }

    /// (mappings, subscribers) that live here.
    pub fn population(&self) -> (usize, usize) {
        (self.mappings.len(), self.mappings.present())
    }

    /// A packet from outside to a port that this home leases has no session: makes one if mapping and filter allow.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn inbound(
        &mut self,
        flows: &mut FlowHome,
        key: &Key4,
        tcp_flags: u8,
        now: u32,
    ) -> Result<Ref, DropReason> {
        self.now = now;
        opens(key, tcp_flags)?;
        let (mapping, door) = self.entrance(key)?;
        if let Err(why) = self.may_enter(mapping, door, key) {
            self.mappings.undo(&self.nat, mapping, now);
            return Err(why);
        }
        let inside = self.mappings.inside(mapping);
        let known_as = self.nat.known_as(inside.realm, key.source());
        let (ends, ports) = ((inside.address, known_as), key::ports(inside.port, key.source_port()));
        let answer = Key4::of_any_protocol(inside.realm, key.protocol(), ends, ports);
        let hairpin = self.nat.contains(key.source());
        let (mut out, back) = self.halves(mapping, &answer, key.source(), hairpin);
        // Both ends talk already, by another mapping: the answers go on that way.
        if flows.table().lookup::<Record4>(&answer).is_some() {
            out.key = answer.shadow();
        }
        self.mappings.enter(mapping, true);
        self.make(flows, mapping, (&back, &out), true)
    }

    /// The mapping by which a packet from outside may come in, and the one that its subscriber has opened for it.
    fn entrance(&mut self, key: &Key4) -> Result<(u32, Option<u32>), DropReason> {
        let public = Endpoint { address: key.destination(), port: key.destination_port() };
        let found = self.mappings.find_public(&self.nat, public, key.protocol());
        if let Some(mapping) = found.filter(|m| self.mappings.get(*m).is_kept()) {
            return Ok((mapping, found.filter(|m| self.mappings.get(*m).is_open())));
        }
        // One for all ports, or all protocols, of a whole address.
        if let Some(door) = self.mappings.open_for_all(&self.nat, public, key.protocol()) {
            let s = &self.mappings.subscribers[self.mappings.get(door).subscriber()];
            let holder = Holder { realm: s.realm(), address: s.address(), from_outside: s.from_outside };
            return Ok((self.entrance_of(holder, found, key)?, Some(door)));
        }
        // Who holds a whole address, and keeps it by packets of its own, is asked by every echo, whichever its identifier
        // (RFC 5508 REQ-7, RFC 7857 section 12).
        let holder = self.mappings.whole_holder(&self.nat, public);
        let holder =
            holder.filter(|_| key.protocol() == Protocol::Icmp as u8).ok_or(DropReason::NatNoMapping)?;
        let pool = self.nat.pool_of(public.address).filter(|pool| pool.state() == PoolState::Active);
        let filtering = pool.ok_or(DropReason::NatPoolDraining)?.options().filtering;
        if filtering != Dependence::Endpoint {
            return Err(DropReason::NatFiltered);
        }
        Ok((self.entrance_of(holder, found, key)?, None))
    }

    /// The mapping of a port of a whole address for what comes from outside: found, or made.
    fn entrance_of(&mut self, holder: Holder, found: Option<u32>, key: &Key4) -> Result<u32, DropReason> {
        if let Some(mapping) = found {
            return Ok(mapping);
        }
        let public = Endpoint { address: key.destination(), port: key.destination_port() };
        let ends = (holder.address, key.source());
        let answer = Key4::of_any_protocol(
            holder.realm,
            key.protocol(),
            ends,
            key::ports(public.port, key.source_port()),
        );
        // Each port or identifier that strangers bring is a mapping: what one mapping may let in holds for all of them together.
        if holder.from_outside >= u32::from(self.nat.options.inbound_sessions_per_mapping) {
            return Err(DropReason::NatInboundQuota);
        }
        let subscriber = self.mappings.subscribers.find(holder.realm, holder.address);
        if self.mappings.find_inside(&self.nat, subscriber, &answer).is_some() {
            return Err(DropReason::NatNoMapping);
        }
        let random = &mut self.random;
        let mapping = self.mappings.create(&self.nat, &answer, subscriber, self.now, || random.random())?;
        if self.mappings.public(mapping) != public {
            self.mappings.undo(&self.nat, mapping, self.now);
            return Err(DropReason::NatNoMapping);
        }
        Ok(mapping)
    }

    /// A session that is followed and keeps its source; its packets are for `remote`.
    pub(super) fn untranslated(
        &mut self,
        flows: &mut FlowHome,
        key: &Key4,
        remote: Ipv4Addr,
    ) -> Result<Ref, DropReason> {
        // Whoever claims a public address would be taken for who has it.
        if self.nat.pool_of(key.source()).is_some() || self.nat.circular_number(key.source()).is_some() {
            return Err(DropReason::Ipv4SourceInvalid);
        }
        // They have no subscriber whose share they could be of: all together leave most of the table to those that have.
        if self.untranslated >= self.most_untranslated {
            return Err(DropReason::SessionsFull);
        }
        let leaves = key.towards(remote);
        let beyond = leaves.reversed(self.nat.options.outside);
        // Another realm's host of the same address is talking there already.
        if flows.table().lookup::<Record4>(&beyond).is_some() {
            return Err(DropReason::NatUntranslatedTaken);
        }
        let action = Action::FORWARD;
        let there =
            Half { key: *key, rewrite: compile(key, &leaves, true), action: action.with(Action::OUTBOUND) };
        let answers = key.reversed(key.realm());
        let back = Half { key: beyond, rewrite: compile(&beyond, &answers, true), action };
        self.enter_proxy(key, remote)?;
        let made = flows.create::<Record4>(&there, &back, self.now).map_err(full);
        match made {
            Ok(_) => self.untranslated += 1,
            Err(_) => self.leave_proxy(key, remote),
        }
        made
    }

    /// Whether the filter lets a packet of this key, which has no session, in by a mapping (RFC 4787 section 5).
    /// What its subscriber has opened is for whom it has said (RFC 6887 section 11), whatever the pool's filter.
    fn may_enter(&self, mapping: u32, door: Option<u32>, key: &Key4) -> Result<(), DropReason> {
        let (m, pool) = (self.mappings.get(mapping), self.mappings.pool(&self.nat, mapping));
        if pool.state() == PoolState::Removed {
            return Err(DropReason::NatNoMapping);
        }
        // Inside, that address is somebody else.
        if self.nat.is_proxy(self.mappings.subscribers[m.subscriber()].realm(), key.source()) {
            return Err(DropReason::Ipv4SourceInvalid);
        }
        let behaviour = pool.options();
        let passes = match behaviour.filtering {
            _ if door.is_some() => door.is_some_and(|door| self.is_asked_for(door, key)),
            Dependence::Endpoint => true,
            Dependence::Address if asks_permits(pool, key.protocol()) => {
                self.permits.allows(mapping, key.source())
            }
            Dependence::Address => m.is_for(key.source()),
            // Whom the inside has sent to has a session.
            Dependence::AddressAndPort => false,
        };
        // An echo request to a mapped identifier is not an answer, and nobody inside listens on identifiers: but who holds a
        // whole address is asked.
        if !passes || (key.protocol() == Protocol::Icmp as u8 && !pool.is_whole()) {
            return Err(DropReason::NatFiltered);
        }
        let o = &self.nat.options;
        let s = &self.mappings.subscribers[m.subscriber()];
        // What strangers open leaves the subscriber the other half of what it may have.
        if m.sessions_from_outside() >= o.inbound_sessions_per_mapping
            || s.from_outside >= (o.sessions_per_subscriber / 2).max(1)
            || s.sessions >= o.sessions_per_subscriber
        {
            return Err(DropReason::NatInboundQuota);
        }
        Ok(())
    }

    /// A session between a mapping and a remote address is one more, or one less, that packets from inside keep.
    pub(super) fn permit(&mut self, mapping: u32, remote: Ipv4Addr, comes: bool) {
        let protocol = self.mappings.get(mapping).protocol();
        if asks_permits(self.mappings.pool(&self.nat, mapping), protocol) {
            if comes {
                self.permits.enter(mapping, remote);
            } else {
                self.permits.leave(mapping, remote);
            }
        }
    }

    /// A step of the sweep: see [`FlowHome::sweep`].
    pub fn sweep(&mut self, flows: &mut FlowHome, budget: usize, now: u32) -> usize {
        self.now = now;
        self.mappings.wake(&self.nat, now);
        self.expire_control(now);
        self.any_removed = self.nat.pools.iter().any(|pool| pool.state() == PoolState::Removed);
        flows.sweep(budget, now, self)
    }

    /// The mapping of a session, given the half of its answers; `None` of one that is not translated.
    pub(super) fn mapping_of(&self, back: &Key4) -> Option<u32> {
        let public = Endpoint { address: back.destination(), port: back.destination_port() };
        let mapping = self.mappings.find_public(&self.nat, public, back.protocol());
        debug_assert!(
            mapping.is_some() || self.nat.pool_of(public.address).is_none(),
            "a session without a mapping: {back:?}"
        );
        mapping
    }
}

/// The outbound half of a session, and that of its answers.
fn sides<'r>(initiator: &'r Record4, other: &'r Record4) -> (&'r Record4, &'r Record4) {
    if initiator.common().action().is_outbound() { (initiator, other) } else { (other, initiator) }
}

impl Judge<Record4> for NatHome {
    fn is_young(&self, initiator: &Record4, now: u32) -> bool {
        let about = initiator.common();
        !self.any_removed
            && about.action().is_outbound()
            && now.wrapping_sub(about.last_seen()) <= self.nat.shortest
    }

    fn is_over(&mut self, initiator: &Record4, other: &Record4, now: u32) -> bool {
        let (out, back) = sides(initiator, other);
        let action = initiator.common().action();
        if action.is_tunnelled() {
            let tunnels = self.nat.tunnels.as_deref();
            return tunnels
                .is_none_or(|t| tunnel::is_over(t, &self.nat.options.timeouts, initiator, other, now));
        }
        if !action.is_outbound() && !action.is_answered() && session::has_answered(out) {
            initiator.common().set(Action::ANSWERED);
            if let Some(mapping) = self.mapping_of(&back.key()) {
                self.mappings.answered(mapping);
                self.permit(mapping, back.key().source(), true);
            }
        }
        let hairpin = out.common().action().kind() == Action::HAIRPIN;
        let of_removed = || {
            self.nat.is_removed(back.key().destination())
                || (hairpin && self.nat.is_removed(back.key().source()))
        };
        let is_over = self.any_removed && of_removed()
            || self.nat.options.timeouts.is_over(initiator, other, now)
                && !self.is_asked_to_stay(&back.key());
        is_over && self.may_end(&back.key())
    }

    fn approach(&self, step: usize, initiator: &Record4, other: &Record4) {
        if initiator.common().action().is_tunnelled() {
            return;
        }
        let back = sides(initiator, other).1.key();
        let public = Endpoint { address: back.destination(), port: back.destination_port() };
        self.mappings.approach(&self.nat, step, public, back.protocol());
    }

    fn removed(&mut self, initiator: &Record4, other: &Record4) {
        let (out, back) = sides(initiator, other);
        let action = initiator.common().action();
        // It held nothing of the NAT's, and its tags may look like somebody's address.
        if action.is_tunnelled() {
            return;
        }
        let from_outside = !action.is_outbound();
        self.leave_proxy(&out.key(), back.key().source());
        let kept = !from_outside || action.is_answered();
        if let Some(mapping) = self.mapping_of(&back.key()) {
            if kept {
                self.permit(mapping, back.key().source(), false);
            }
            self.mappings.leave(&self.nat, mapping, from_outside, kept, self.now);
        } else if !self.claim_is_over(&back.key()) {
            self.untranslated = self.untranslated.saturating_sub(1);
        }
    }
}

/// Whether a pool filters by address what goes to mappings of this protocol that don't say for whom they are.
fn asks_permits(pool: &Pool, protocol: u8) -> bool {
    let o = pool.options();
    o.filtering == Dependence::Address && (o.mapping == Dependence::Endpoint || space(protocol).is_none())
}

/// What a full table is called where packets are dropped.
pub(super) fn full(what: Full) -> DropReason {
    match what {
        Full::Records => DropReason::SessionsFull,
        Full::Index => DropReason::IndexFull,
    }
}

/// Whether a packet of this key and these flags may open a session.
pub(super) fn opens(key: &Key4, tcp_flags: u8) -> Result<(), DropReason> {
    let is_tcp = key.protocol() == Protocol::Tcp as u8;
    if is_tcp && (tcp_flags & SYN == 0 || tcp_flags & NOT_OPENING != 0) {
        return Err(DropReason::TcpNotSyn);
    }
    Ok(())
}

/// The rewrite that turns packets of `from` into packets of `to`; `takes_ttl` says that this counts as a hop.
pub fn compile(from: &Key4, to: &Key4, takes_ttl: bool) -> Rewrite4 {
    let (old, new) = (from.addresses.to_le_bytes(), to.addresses.to_le_bytes());
    let (old_ports, new_ports) = ((from.tail as u32).to_le_bytes(), (to.tail as u32).to_le_bytes());
    let addresses = Delta::between(&old, &new);
    let ip = if takes_ttl { addresses.combine(Delta::between(&[1, 0], &[0, 0])) } else { addresses };
    let l4 = match from.protocol() {
        // The checksum of ICMP covers the identifier, once, and no pseudo-header (RFC 792).
        1 => Delta::between(&old_ports[..2], &new_ports[..2]),
        6 | 17 => addresses.combine(Delta::between(&old_ports, &new_ports)),
        // DCCP (RFC 4340 section 9.1) and UDP-Lite (RFC 3828 section 3.1) have the pseudo-header in theirs. Those of others
        // cover their own bytes alone.
        33 | 136 => addresses,
        _ => Delta::ZERO,
    };
    Rewrite4 { addresses: to.addresses, ports: to.tail as u32, ip_delta: ip.0, l4_delta: l4.0 }
}

#[cfg(test)]
#[path = "nat44_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "requirements_tests.rs"]
mod requirements_tests;

#[cfg(test)]
#[path = "behaviour_tests.rs"]
mod behaviour_tests;

#[cfg(test)]
#[path = "drain_tests.rs"]
mod drain_tests;

#[cfg(test)]
#[path = "opening_tests.rs"]
mod opening_tests;

#[cfg(test)]
#[path = "proxies_tests.rs"]
mod proxies_tests;

#[cfg(test)]
#[path = "pcp/tests.rs"]
mod pcp_tests;

#[cfg(test)]
#[path = "pcp/model_tests.rs"]
mod pcp_model_tests;
