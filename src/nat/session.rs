//! When a session is over: idle times by protocol, TCP's by the state that both halves tell.
//!
//! Whose packets keep a session alive:
//! - TCP: those of both directions.
//! - UDP: those from the inside (RFC 4787 REQ-6); of both directions where the operator says so (REQ-6 a).
//! - ICMP queries: those from the inside.
//! - Of any protocol: those from the inside alone, as long as the inside has never answered. Else whoever opens a session from
//!   outside could keep it, and the mapping with it, for ever (RFC 7857 section 7). A reset is no answer (section 7.1).
//!
//! ICMP errors keep nothing alive (RFC 5508 REQ-6, RFC 7857 section 7.1), nor do resets that change nothing: neither comes
//! here, see [`crate::flow::tcp`].
//!
//! Which demand of which RFC each of these meets is in [`super::requirements`].

use crate::flow::lifetime::{Counted, idle};
use crate::flow::record::Record;
use crate::flow::{Protocol, Record4};
use std::sync::Arc;

pub use crate::flow::lifetime::TcpState;

/// Idle times, in milliseconds.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// RFC 4787 REQ-5: 5 minutes recommended, 2 at the least. Protocols without ports have the same.
    pub udp: u32,
    /// By the destination port of the packet that opened the session, ascending, where that has another (REQ-5 a: shorter
    /// ones for ports below 1,024 only). At most a few dozen.
    pub udp_ports: Arc<[(u16, u32)]>,
    /// Whether inbound datagrams refresh, too (REQ-6 a).
    pub udp_inbound_refresh: bool,
    /// RFC 5382 REQ-5: 2 hours 4 minutes at the least.
    pub tcp_established: u32,
    /// RFC 5382 REQ-5: 4 minutes at the least; closing and reset connections.
    pub tcp_transitory: u32,
    /// Opening connections. RFC 7857 section 2.1: as transitory, or less.
    pub tcp_opening: u32,
    /// RFC 5508 REQ-2: 60 seconds at the least.
    pub icmp: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            udp: 300_000,
            udp_ports: Arc::new([]),
            udp_inbound_refresh: false,
            tcp_established: 7_440_000,
            tcp_transitory: 240_000,
            tcp_opening: 240_000,
            icmp: 60_000,
        }
    }
}

/// Its IANA number.
const DCCP: u8 = 33;

/// SYN or ACK: what a host sends that takes part in a connection.
const TAKES_PART: u8 = 2 | 16;

impl Timeouts {
    /// All of them.
    pub fn each(&self) -> impl Iterator<Item = u32> {
        let ports = self.udp_ports.iter().map(|(_, idle)| *idle);
        ports.chain([self.udp, self.tcp_established, self.tcp_transitory, self.tcp_opening, self.icmp])
    }

    /// No session is over whose inside was heard of within so many milliseconds.
    pub fn shortest(&self) -> u32 {
        self.each().min().unwrap_or(0)
    }

    /// The idle time of this session, and whose packets count against it.
    fn limit(&self, initiator: &Record4, other: &Record4) -> (u32, Counted) {
        let (a, b) = (initiator.common(), other.common());
        let out = if a.action().is_outbound() { initiator } else { other };
        let key = initiator.key();
        match Protocol::from_number(key.protocol()) {
            Some(Protocol::Tcp) => {
                let state = TcpState::of(a.tcp_flags(), b.tcp_flags());
                (self.tcp(state), counted(has_answered(out)))
            }
            Some(Protocol::Udp) => {
                let both = self.udp_inbound_refresh && has_answered(out);
                (self.udp_to(key.destination_port()), counted(both))
            }
            Some(Protocol::Icmp) => (self.icmp, Counted::Outbound),
            // DCCP has connections (RFC 5597 REQ-5: 124 minutes), whose states are not followed.
            None if key.protocol() == DCCP => (self.tcp_established, Counted::Outbound),
            // No RFC says: as UDP, which has no connections either.
            _ => (self.udp, Counted::Outbound),
        }
    }

    fn tcp(&self, state: TcpState) -> u32 {
        match state {
            TcpState::Opening => self.tcp_opening,
            TcpState::Established => self.tcp_established,
            TcpState::Closing => self.tcp_transitory,
        }
    }

    fn udp_to(&self, port: u16) -> u32 {
        match self.udp_ports.binary_search_by_key(&port, |own| own.0) {
            Ok(place) => self.udp_ports[place].1,
            Err(_) => self.udp,
        }
    }

    /// Whether a session has been idle for longer than it may at `now`.
    pub fn is_over(&self, initiator: &Record4, other: &Record4, now: u32) -> bool {
        let (limit, counted) = self.limit(initiator, other);
        // Between two edges either host keeps what both have negotiated.
        let counted = if initiator.common().action().is_tunnelled() { Counted::Both } else { counted };
        idle(initiator.common(), other.common(), counted, now) > limit
    }
}

fn counted(both: bool) -> Counted {
    if both { Counted::Both } else { Counted::Outbound }
}

/// Whether the inside takes part in a session, given its outbound half. A reset says that it does not (RFC 7857 section 7.1).
pub fn has_answered(out: &Record4) -> bool {
    match out.key().protocol() == Protocol::Tcp as u8 {
        true => out.common().tcp_flags() & TAKES_PART != 0,
        false => out.common().packets() > 0,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
