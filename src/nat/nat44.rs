//! NAT44: what happens on a miss from either side, and when a session is over.
//!
//! A session has a home worker: its subscriber's, by a keyed hash of (realm, inside address). Only home makes mappings and
//! sessions for that subscriber. A session between two subscribers (hairpinning, RFC 4787 REQ-9) is two sessions, one at
//! each home: the first translates the source and sends the packet round again as if it came from outside, the second
//! translates the destination. So no home ever needs another's mappings, and filters apply as from outside.

use super::mapping::{Inside, Mappings};
use super::pool::{Endpoint, Pool};
use super::session::Timeouts;
use crate::flow::hash::Hashed;
use crate::flow::record::{Record, Rewrite4};
use crate::flow::table::Judge;
use crate::flow::{Action, FlowHome, Full, Half, HashKey, Key4, Protocol, Realm, Record4, Ref};
use crate::packet::{DropReason, checksum::Delta};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// TCP flag bits that tell a segment which opens a connection (RFC 9293 section 3.1).
const SYN: u8 = 2;
const NOT_OPENING: u8 = 1 | 4 | 16;

/// Who may open a session from outside through an existing mapping (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Anybody (REQ-8, where transparency matters most).
    EndpointIndependent,
    /// Only whom the inside endpoint has sent to: those have a session already, so nobody opens one.
    AddressAndPortDependent,
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct NatOptions {
    /// Realms whose subscribers are translated.
    pub inside: Vec<Realm>,
    /// The realm of the public addresses.
    pub outside: Realm,
    pub filtering: Filtering,
    /// Whether subscribers reach one another by their public addresses.
    pub hairpin: bool,
    /// Sessions opened from outside that one mapping may have at a time.
    pub inbound_sessions_per_mapping: u16,
    /// Port blocks that one subscriber may have.
    pub blocks_per_subscriber: u16,
    pub timeouts: Timeouts,
    /// Mappings and subscribers of all homes together.
    pub mappings: usize,
    pub subscribers: usize,
}

/// The side that all workers share, read-only but for the pool.
pub struct Nat44 {
    options: NatOptions,
    pool: Pool,
    hash: HashKey,
    workers: usize,
}

impl Nat44 {
    pub fn new(options: NatOptions, pool: Pool, hash: HashKey, workers: usize) -> Self {
        assert!((1..=64).contains(&workers));
        Self { options, pool, hash, workers }
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    pub fn options(&self) -> &NatOptions {
        &self.options
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
        let hash = Key4::from_wire([a, b, c, d, 0, 0, 0, 0], port, realm, 0).hash(&self.hash);
        ((hash.buckets as u32 as u64 * self.workers as u64) >> 32) as usize
    }

    /// The home of whatever is behind a public endpoint; `None` where nobody has that port.
    #[inline]
    pub fn home_of_public(&self, address: Ipv4Addr, port: u16) -> Option<usize> {
        self.pool.owner(Endpoint { address, port })
    }
}

/// One worker's home: it alone makes and removes the mappings and sessions of its subscribers.
pub struct NatHome {
    nat: Arc<Nat44>,
    mappings: Mappings,
    random: StdRng,
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
            o.blocks_per_subscriber,
            worker,
            nat.hash.clone(),
        );
        Self { mappings, random: StdRng::from_seed(seed), nat }
    }

    /// The shared side.
    pub fn shared(&self) -> &Arc<Nat44> {
        &self.nat
    }

    /// (mappings, subscribers) that live here.
    pub fn population(&self) -> (usize, usize) {
        (self.mappings.len(), self.mappings.subscribers())
    }

    /// A packet of a subscriber whose home this is has no session: makes one. `tcp_flags` are the segment's, 0 for other
    /// protocols; ICMP is an echo request, its identifier for both ports.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn outbound(
        &mut self,
        flows: &mut FlowHome,
        key: &Key4,
        tcp_flags: u8,
        now: u32,
    ) -> Result<Ref, DropReason> {
        let protocol = opens(key, tcp_flags)?;
        let hairpin = self.nat.pool.contains(key.destination());
        if hairpin && !self.nat.options.hairpin {
            return Err(DropReason::HairpinOff);
        }
        let inside = Inside { realm: key.realm(), address: key.source(), port: key.source_port() };
        let mapping = match self.mappings.find_inside(inside, protocol) {
            Some(m) => m,
            None => {
                let random = &mut self.random;
                self.mappings.create(&self.nat.pool, inside, protocol, || random.random())?
            }
        };
        let public = self.mappings.get(mapping).public();
        let (out, back) = self.halves(inside, public, key, hairpin);
        let made = flows.create::<Record4>(&out, &back, now);
        self.settle(mapping, made, false)
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
        let protocol = opens(key, tcp_flags)?;
        let public = Endpoint { address: key.destination(), port: key.destination_port() };
        let mapping = self.mappings.find_public(public, protocol).ok_or(DropReason::NatNoMapping)?;
        // An echo request to a mapped identifier is not an answer, and nobody inside listens on identifiers.
        let open = self.nat.options.filtering == Filtering::EndpointIndependent;
        if !open || protocol == Protocol::Icmp {
            return Err(DropReason::NatFiltered);
        }
        let m = self.mappings.get(mapping);
        if m.sessions_from_outside() >= self.nat.options.inbound_sessions_per_mapping {
            return Err(DropReason::NatInboundQuota);
        }
        let inside = m.inside();
        let remote = (key.source(), key.source_port());
        let answer = Key4::new(inside.realm, protocol, (inside.address, inside.port), remote);
        let hairpin = self.nat.pool.contains(key.source());
        let (out, back) = self.halves(inside, public, &answer, hairpin);
        let made = flows.create::<Record4>(&back, &out, now);
        self.settle(mapping, made, true)
    }

    /// Books the session that was made, or undoes a mapping made for one that was not.
    fn settle(
        &mut self,
        mapping: u32,
        made: Result<Ref, Full>,
        from_outside: bool,
    ) -> Result<Ref, DropReason> {
        match made {
            Ok(r) => {
                self.mappings.enter(mapping, from_outside);
                Ok(r)
            }
            Err(full) => {
                self.mappings.remove_unused(&self.nat.pool, mapping);
                Err(match full {
                    Full::Records => DropReason::SessionsFull,
                    Full::Index => DropReason::IndexFull,
                })
            }
        }
    }

    /// Compiles both halves of the session of `inside` with whom `out_key` names, outbound half first.
    fn halves(
        &self,
        inside: Inside,
        public: Endpoint,
        out_key: &Key4,
        hairpin: bool,
    ) -> (Half<Key4, Rewrite4>, Half<Key4, Rewrite4>) {
        let protocol = Protocol::from_number(out_key.protocol()).expect("checked by `opens`");
        let remote = out_key.destination();
        // An echo has one identifier for both directions; it is translated as the source port is.
        let echo = protocol == Protocol::Icmp;
        let remote_port = |translated: u16| if echo { translated } else { out_key.destination_port() };
        let (inside_end, public_end) = ((inside.address, inside.port), (public.address, public.port));
        let outside = self.nat.options.outside;
        let translated = Key4::new(outside, protocol, public_end, (remote, remote_port(public.port)));
        let back_key = translated.reversed(outside);
        let untranslated = Key4::new(inside.realm, protocol, (remote, remote_port(inside.port)), inside_end);
        let kind = if hairpin { Action::HAIRPIN } else { Action::FORWARD };
        let out = Half {
            key: *out_key,
            rewrite: compile(out_key, &translated, !hairpin),
            action: kind.with(Action::OUTBOUND),
        };
        let back =
            Half { key: back_key, rewrite: compile(&back_key, &untranslated, true), action: Action::FORWARD };
        (out, back)
    }

    /// A step of the sweep: see [`FlowHome::sweep`].
    pub fn sweep(&mut self, flows: &mut FlowHome, budget: usize, now: u32) -> usize {
        flows.sweep(budget, now, self)
    }
}

impl Judge<Record4> for NatHome {
    fn is_over(&self, initiator: &Record4, other: &Record4, now: u32) -> bool {
        self.nat.options.timeouts.is_over(initiator, other, now)
    }

    fn removed(&mut self, initiator: &Record4, other: &Record4) {
        let from_outside = !initiator.common().action().is_outbound();
        let key = if from_outside { other.key() } else { initiator.key() };
        let inside = Inside { realm: key.realm(), address: key.source(), port: key.source_port() };
        let mapping = Protocol::from_number(key.protocol())
            .and_then(|protocol| self.mappings.find_inside(inside, protocol));
        debug_assert!(mapping.is_some(), "a session without a mapping: {key:?}");
        if let Some(m) = mapping {
            self.mappings.leave(&self.nat.pool, m, from_outside);
        }
    }
}

/// The protocol, if a packet of this key and these flags may open a session.
fn opens(key: &Key4, tcp_flags: u8) -> Result<Protocol, DropReason> {
    match Protocol::from_number(key.protocol()) {
        Some(Protocol::Tcp) if tcp_flags & SYN == 0 || tcp_flags & NOT_OPENING != 0 => {
            Err(DropReason::TcpNotSyn)
        }
        Some(p @ (Protocol::Tcp | Protocol::Udp | Protocol::Icmp)) => Ok(p),
        _ => Err(DropReason::ProtocolUnsupported),
    }
}

/// The rewrite that turns packets of `from` into packets of `to`; `takes_ttl` says that this counts as a hop.
pub fn compile(from: &Key4, to: &Key4, takes_ttl: bool) -> Rewrite4 {
    let (old, new) = (from.addresses.to_le_bytes(), to.addresses.to_le_bytes());
    let (old_ports, new_ports) = ((from.tail as u32).to_le_bytes(), (to.tail as u32).to_le_bytes());
    let addresses = Delta::between(&old, &new);
    let ip = if takes_ttl { addresses.combine(Delta::between(&[1, 0], &[0, 0])) } else { addresses };
    let l4 = if from.protocol() == Protocol::Icmp as u8 {
        // The checksum of ICMP covers the identifier, once, and no pseudo-header (RFC 792).
        Delta::between(&old_ports[..2], &new_ports[..2])
    } else {
        addresses.combine(Delta::between(&old_ports, &new_ports))
    };
    Rewrite4 { addresses: to.addresses, ports: to.tail as u32, ip_delta: ip.0, l4_delta: l4.0 }
}

#[cfg(test)]
#[path = "nat44_tests.rs"]
mod tests;
