//! When a session is over: idle times by protocol, TCP's by the state that both halves' flags tell.

use crate::flow::record::Common;
use crate::flow::record::Record;
use crate::flow::{Protocol, Record4};

/// TCP flag bits (RFC 9293 section 3.1).
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

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

/// What a TCP connection is doing, as far as an edge needs to know (RFC 7857 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// The three-way handshake is not complete.
    Opening,
    Established,
    /// Both sides have sent FIN, or one has sent RST.
    Closing,
}

impl TcpState {
    /// From the flags that either direction has shown so far.
    pub fn of(initiator: u8, other: u8) -> Self {
        if (initiator | other) & RST != 0 || initiator & other & FIN != 0 {
            Self::Closing
        } else if other & SYN != 0 && initiator & SYN != 0 && (initiator & other) & ACK != 0 {
            Self::Established
        } else {
            Self::Opening
        }
    }

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::Closing => "closing",
        }
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
        let idle_a = now.wrapping_sub(a.last_seen());
        let idle_b = now.wrapping_sub(b.last_seen());
        let idle = if protocol == Protocol::Tcp as u8 {
            idle_a.min(idle_b)
        } else if a.action().is_outbound() {
            idle_a
        } else {
            idle_b
        };
        // Another worker may have written a `last_seen` slightly after this worker read its clock.
        idle < u32::MAX / 2 && idle > self.limit(protocol, a, b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_states_from_flags() {
        use TcpState::*;
        let cases = [
            (SYN, 0, Opening),
            (SYN, SYN | ACK, Opening),
            (SYN | ACK, SYN | ACK, Established),
            (SYN | ACK | FIN, SYN | ACK, Established),
            (SYN | ACK | FIN, SYN | ACK | FIN, Closing),
            (SYN | ACK, SYN | ACK | RST, Closing),
            (SYN, RST | ACK, Closing),
        ];
        for (a, b, state) in cases {
            assert_eq!(TcpState::of(a, b), state, "{a:#x} {b:#x}");
        }
    }
}
