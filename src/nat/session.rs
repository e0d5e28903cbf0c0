//! When a session is over: idle times by protocol, TCP's by the state that both halves' flags tell.

use crate::flow::lifetime::{Counted, idle};
use crate::flow::record::{Common, Record};
use crate::flow::{Protocol, Record4};

pub use crate::flow::lifetime::TcpState;

/// Idle times, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// RFC 4787 REQ-5: 5 minutes recommended, 2 at the least.
    pub udp: u32,
    /// RFC 5382 REQ-5: 2 hours 4 minutes at the least.
    pub tcp_established: u32,
    /// RFC 5382 REQ-5: 4 minutes at the least; opening, closing and reset connections.
    pub tcp_transitory: u32,
    /// RFC 5508 REQ-2: 60 seconds at the least.
    pub icmp: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { udp: 300_000, tcp_established: 7_440_000, tcp_transitory: 240_000, icmp: 60_000 }
    }
}

impl Timeouts {
    /// The idle time after which this session is over.
    fn limit(&self, protocol: u8, initiator: &Common, other: &Common) -> u32 {
        match Protocol::from_number(protocol) {
            Some(Protocol::Tcp) => match TcpState::of(initiator.tcp_flags(), other.tcp_flags()) {
                TcpState::Established => self.tcp_established,
                TcpState::Opening | TcpState::Closing => self.tcp_transitory,
            },
            Some(Protocol::Udp) => self.udp,
            _ => self.icmp,
        }
    }

    /// Whether a session has been idle for longer than it may at `now`.
    ///
    /// TCP counts packets of both directions. UDP and ICMP count outbound ones only (RFC 4787 REQ-6): else somebody outside
    /// could keep a mapping alive for ever.
    pub fn is_over(&self, initiator: &Record4, other: &Record4, now: u32) -> bool {
        let (a, b) = (initiator.common(), other.common());
        let protocol = initiator.key().protocol();
        let counted = if protocol == Protocol::Tcp as u8 { Counted::Both } else { Counted::Outbound };
        idle(a, b, counted, now) > self.limit(protocol, a, b)
    }
}
