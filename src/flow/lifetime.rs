//! What the two halves of a session tell together, for whoever judges when it is over: the state of a TCP connection, and
//! for how long nothing has passed.
//!
//! What it never does: know a limit, or remove a session. Limits are policy, which the NAT and the firewall have.

use super::record::Common;
use super::tcp::{ACK, FIN, RST, SYN};

/// What a TCP connection is doing, as far as an edge needs to know (RFC 7857 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpState {
    /// The three-way handshake is not complete.
    Opening,
    Established,
    /// Both sides have sent FIN; or one has sent a reset that was believed ([`super::tcp`]), and not both have gone on since.
    Closing,
}

impl TcpState {
    /// From the flags that either direction has shown so far, in any order. A believed reset takes ACK back from both.
    pub fn of(a: u8, b: u8) -> Self {
        let both = a & b;
        if both & FIN != 0 || ((a | b) & RST != 0 && both & ACK == 0) {
            Self::Closing
        } else if both & (SYN | ACK) == SYN | ACK {
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

/// Whose packets keep a session alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Both,
    /// Those from the inside alone (RFC 4787 REQ-6, RFC 6092 REC-16): else somebody outside could keep a session for ever.
    Outbound,
}

/// Milliseconds for which no packet that counts has passed, at `now`. `a` and `b` are the halves of a session, in any order.
pub fn idle(a: &Common, b: &Common, counted: Counted, now: u32) -> u32 {
    // Another worker may have written a `last_seen` slightly after this worker read its clock.
    let since = |half: &Common| match now.wrapping_sub(half.last_seen()) {
        late if late >= u32::MAX / 2 => 0,
        since => since,
    };
    match counted {
        Counted::Both => since(a).min(since(b)),
        Counted::Outbound if a.action().is_outbound() => since(a),
        Counted::Outbound => since(b),
    }
}

#[cfg(all(test, not(ces_loom)))]
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
            (SYN | ACK, SYN | RST, Closing),
            (SYN, SYN | RST | ACK, Closing),
            (SYN | ACK, SYN | RST | ACK, Established),
            (SYN, RST, Closing),
            (SYN, SYN, Opening),
        ];
        for (a, b, state) in cases {
            assert_eq!(TcpState::of(a, b), state, "{a:#x} {b:#x}");
            assert_eq!(TcpState::of(b, a), state, "{b:#x} {a:#x}");
        }
    }
}
