//! Sessions: what happens on a miss from either side, and when one is over.
//!
//! A session has a home worker, which alone makes it. That is the home of its inside address's /64 prefix, so that all sessions
//! of a subscriber have the same; a session of two subscribers has the home of the lower of both prefixes, so that both ends'
//! first packets come to one home even if they cross. The realm does not count: an address that two realms claim has one home,
//! which refuses the second. See the module's parent for the rules and their tests.

use super::parse::Flow6;
use crate::flow::hash::Hashed;
use crate::flow::lifetime::{Counted, TcpState, idle};
use crate::flow::record::{Record, Rewrite6};
use crate::flow::table::Judge;
use crate::flow::{Action, FlowHome, Full, Half, HashKey, Key6, Realm, Record6, Ref};
use crate::packet::{DropReason, Protocol};
use std::net::Ipv6Addr;
use std::sync::Arc;

/// UDP port of the Internet key exchange (RFC 7296). Its other port, 4500, serves address translators, of which there is none.
const IKE: u16 = 500;

/// Idle times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts6 {
    /// UDP and UDP-Lite. REC-14: 5 minutes recommended, 2 at the least.
    pub udp: u32,
    /// And SCTP and DCCP that were answered. REC-35, REC-40, REC-44: 2 hours 4 minutes at the least.
    pub tcp_established: u32,
    /// Opening, closing and reset connections; SCTP and DCCP that nobody has answered. REC-35, REC-40, REC-44: 4 minutes at
    /// the least.
    pub tcp_transitory: u32,
    /// Echo. RFC 5508 REQ-2 has 60 seconds at the least; RFC 6092 is silent.
    pub icmp: u32,
    /// All other protocols. REC-12: 5 minutes recommended, 2 at the least.
    pub other: u32,
}

impl Default for Timeouts6 {
    fn default() -> Self {
        Self {
            udp: 300_000,
            tcp_established: 7_440_000,
            tcp_transitory: 240_000,
            icmp: 60_000,
            other: 300_000,
        }
    }
}

impl Timeouts6 {
    /// The idle time after which this session is over, and whose packets count against it.
    fn limit(&self, initiator: &Record6, other: &Record6) -> (u32, Counted) {
        let (a, b) = (initiator.common(), other.common());
        let answered = a.packets() > 0 && b.packets() > 0;
        match Protocol(initiator.key().protocol()) {
            Protocol::TCP => match TcpState::of(a.tcp_flags(), b.tcp_flags()) {
                TcpState::Established => (self.tcp_established, Counted::Both),
                TcpState::Opening | TcpState::Closing => (self.tcp_transitory, Counted::Both),
            },
            Protocol::SCTP | Protocol::DCCP if answered => (self.tcp_established, Counted::Both),
            Protocol::SCTP | Protocol::DCCP => (self.tcp_transitory, Counted::Both),
            Protocol::UDP | Protocol::UDP_LITE => (self.udp, Counted::Outbound),
            Protocol::ICMPV6 => (self.icmp, Counted::Outbound),
            _ => (self.other, Counted::Outbound),
        }
    }

    /// Whether a session has been idle for longer than it may at `now`.
    ///
    /// Connections count packets of both directions. What has none counts those from the inside only (REC-16), which between
    /// two subscribers are all.
    pub fn is_over(&self, initiator: &Record6, other: &Record6, now: u32) -> bool {
        let (limit, counted) = self.limit(initiator, other);
        let is_inside_alone = initiator.key().realm() == other.key().realm();
        let counted = if is_inside_alone { Counted::Both } else { counted };
        idle(initiator.common(), other.common(), counted, now) > limit
    }
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Realms whose subscribers are protected.
    pub inside: Vec<Realm>,
    /// The realm of the Internet.
    pub outside: Realm,
    /// Whether hosts outside may open sessions of AH, ESP, HIP and IKE (REC-21, 22, 24 and 26, where that is the default).
    pub allow_ipsec: bool,
    /// Sessions that were opened from outside, of all homes, at a time: what is left of the table is the subscribers' own.
    pub sessions_from_outside: usize,
    pub timeouts: Timeouts6,
}

/// The side that all workers share. Immutable.
pub struct Firewall {
    options: Options,
    hash: HashKey,
    workers: usize,
}

impl Firewall {
    pub fn new(options: Options, hash: HashKey, workers: usize) -> Self {
        assert!((1..=64).contains(&workers));
        Self { options, hash, workers }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether subscribers of this realm are protected.
    #[inline]
    pub fn is_inside(&self, realm: Realm) -> bool {
        self.options.inside.contains(&realm)
    }

    /// Whether this is the realm of the Internet.
    #[inline]
    pub fn is_outside(&self, realm: Realm) -> bool {
        self.options.outside == realm
    }

    /// The home of an inside address: of its /64 prefix.
    #[inline]
    pub fn home_of(&self, address: Ipv6Addr) -> usize {
        if self.workers == 1 {
            return 0;
        }
        let prefix = (address.to_bits() >> 64) as u64;
        let hash = Key6::from_words([prefix, 0, 0, 0], 0, Realm(0), 0).hash(&self.hash);
        ((hash.buckets as u32 as u64 * self.workers as u64) >> 32) as usize
    }

    /// The home of the session of a packet with this key that is routed to the realm `to`. `None` where there is no such
    /// session: between two inside realms, between strangers, or within the outside.
    pub fn home_of_session(&self, key: &Key6, to: Realm) -> Option<usize> {
        let from = key.realm();
        if self.is_inside(from) && self.is_outside(to) {
            Some(self.home_of(key.source()))
        } else if self.is_outside(from) && self.is_inside(to) {
            Some(self.home_of(key.destination()))
        } else if self.is_inside(from) && from == to {
            Some(self.home_of(key.source().min(key.destination())))
        } else {
            None
        }
    }
}

/// One worker's home: it alone makes and removes its sessions.
pub struct Home {
    firewall: Arc<Firewall>,
    /// Sessions opened from outside that live here, and how many may.
    from_outside: usize,
    most_from_outside: usize,
}

impl Home {
    /// A home without sessions.
    pub fn new(firewall: Arc<Firewall>) -> Self {
        let most_from_outside = firewall.options.sessions_from_outside.div_ceil(firewall.workers);
        Self { firewall, from_outside: 0, most_from_outside }
    }

    /// The shared side.
    pub fn shared(&self) -> &Arc<Firewall> {
        &self.firewall
    }

    /// Sessions opened from outside that live here.
    pub fn sessions_from_outside(&self) -> usize {
        self.from_outside
    }

    /// A packet of a subscriber, routed to the realm `to`, has no session, and this is that session's home
    /// ([`Firewall::home_of_session`]): makes one. `to` is the outside, or the packet's own realm where its destination is
    /// another subscriber's.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn outbound(
        &mut self,
        flows: &mut FlowHome,
        flow: &Flow6,
        to: Realm,
        now: u32,
    ) -> Result<Ref, DropReason> {
        let from = flow.key.realm();
        if !self.firewall.is_inside(from) || !(self.firewall.is_outside(to) || from == to) {
            return Err(DropReason::RealmNotServed);
        }
        // Another packet of the flow may have been here first.
        if let Some((there, _)) = flows.table().lookup::<Record6>(&flow.key) {
            return Ok(there);
        }
        if !flow.opens {
            let is_tcp = flow.key.protocol() == Protocol::TCP.0;
            return Err(if is_tcp { DropReason::TcpNotSyn } else { DropReason::NoSession });
        }
        let back = flow.key.reversed(to);
        self.create(flows, (flow.key, Action::OUTBOUND), (back, 0), now)
    }

    /// A packet from outside, routed to the inside realm `to`, has no session, and this is its home: makes one if it is IPsec
    /// and that is allowed. When a refused TCP SYN (`flow.opens`) is answered (REC-34) is the caller's business.
    ///
    /// # Errors
    /// Why the packet is dropped.
    pub fn inbound(
        &mut self,
        flows: &mut FlowHome,
        flow: &Flow6,
        to: Realm,
        now: u32,
    ) -> Result<Ref, DropReason> {
        if !self.firewall.is_outside(flow.key.realm()) || !self.firewall.is_inside(to) {
            return Err(DropReason::RealmNotServed);
        }
        if let Some((there, _)) = flows.table().lookup::<Record6>(&flow.key) {
            return Ok(there);
        }
        if !self.firewall.options.allow_ipsec || !is_ipsec(&flow.key) {
            return Err(DropReason::NoSession);
        }
        if self.from_outside >= self.most_from_outside {
            return Err(DropReason::NatInboundQuota);
        }
        let out = flow.key.reversed(to);
        let made = self.create(flows, (flow.key, 0), (out, Action::OUTBOUND), now)?;
        self.from_outside += 1;
        Ok(made)
    }

    /// Makes a session of two keys and what their halves are, the initiator's first. If the answers' key is taken the packet
    /// came from another realm with an address that is somebody's already, or from and to the same end.
    fn create(
        &self,
        flows: &mut FlowHome,
        initiator: (Key6, u8),
        other: (Key6, u8),
        now: u32,
    ) -> Result<Ref, DropReason> {
        if initiator.0 == other.0 || flows.table().lookup::<Record6>(&other.0).is_some() {
            return Err(DropReason::SourceSpoofed);
        }
        let half = |(key, flags)| Half { key, rewrite: Rewrite6, action: Action::FORWARD.with(flags) };
        flows.create::<Record6>(&half(initiator), &half(other), now).map_err(|full| match full {
            Full::Records => DropReason::SessionsFull,
            Full::Index => DropReason::IndexFull,
        })
    }

    /// A step of the sweep: see [`FlowHome::sweep`].
    pub fn sweep(&mut self, flows: &mut FlowHome, budget: usize, now: u32) -> usize {
        flows.sweep::<Record6>(budget, now, self)
    }
}

/// AH, ESP and HIP, and IKE by its destination port.
fn is_ipsec(key: &Key6) -> bool {
    match Protocol(key.protocol()) {
        Protocol::AH | Protocol::ESP | Protocol::HIP => true,
        Protocol::UDP => key.destination_port() == IKE,
        _ => false,
    }
}

impl Judge<Record6> for Home {
    fn is_over(&mut self, initiator: &Record6, other: &Record6, now: u32) -> bool {
        self.firewall.options.timeouts.is_over(initiator, other, now)
    }

    fn removed(&mut self, initiator: &Record6, _: &Record6) {
        let from_outside = !initiator.common().action().is_outbound();
        self.from_outside -= usize::from(from_outside);
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
