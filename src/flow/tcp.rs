//! What a TCP connection's segments say about it: which resets are believed, and what a segment changes (RFC 7857 section 2).
//!
//! Beside the record of each half lies a [`Window`], 8 bytes that only TCP uses: what that direction has last acknowledged, how
//! much more it takes, and what its SYN said. An attacker who cannot see a connection can guess its addresses and ports, and
//! its sequence numbers hardly: RFC 5961 has a host refuse resets out of its window, and so does this, on its behalf.
//!
//! # Which resets are believed
//! For a reset from X to Y with the sequence number `s`, in this order:
//! 1. **Y has acknowledged something**: if `s` is in Y's window, that is `a <= s < a + max(w, 1)`, where `a` is what Y has last
//!    acknowledged and `w` the window that it sent along, scaled if both SYNs allowed that (RFC 7323 section 2.2), and
//!    unscaled if it stood in a SYN. Of a closed window the next byte counts (RFC 9293 section 3.10.7.4).
//! 2. **Y has sent a SYN, and acknowledged nothing**: if the reset acknowledges that SYN, or a part of the data that came with
//!    it (RFC 9293 section 3.10.7.3: a refused connection).
//! 3. **Y has acknowledged nothing, and X has sent a SYN alone**: if `s` follows that SYN, with as much of its data: X takes
//!    back what it began, or resets a simultaneous open.
//!
//! No other is: it is translated and sent on like any packet, for the host to judge, but leaves no mark and refreshes nothing.
//! What bears on a reset from X is what Y has sent: whoever can only pretend to be X cannot prepare one.
//!
//! # What a segment changes
//! | segment | opening | established | closing |
//! |---|---|---|---|
//! | SYN | its half begins anew | nothing (RFC 5961 section 4) | **opens anew**: both halves begin anew |
//! | SYN and ACK | its half has answered | nothing | nothing |
//! | believed reset | closing | closing | closing still |
//! | any other reset | nothing | nothing | nothing |
//! | any other | its flags, its window | the same | the same |
//!
//! "Nothing" is said of the session's life as well: such a packet does not refresh it. A reset that ends a connection does,
//! once, so that the four minutes of RFC 7857 section 2.2 count from it; but an outbound one does not where it refuses what
//! was only being opened, nor does a repeated one (section 7.1: an answer that others provoke must not keep a mapping alive).
//!
//! A believed reset closes the session by taking the "has acknowledged" of both halves back ([`TcpState::of`]). It is not
//! removed: the reset may be lost on its way, or be refused by the host, which is stricter. If after it *both* sides send
//! segments with ACK, then the connection has survived, and the session is established again without anybody having decided
//! that: the fast path has set both flags as for any segment (RFC 7857 section 2, after figure 1 of which data leads from
//! the transitory state back to established). One side alone, talking to a peer that is gone, brings nothing back.
//!
//! # Sharing
//! As in [`super::record`], all is atomics, read and written relaxed. Home clears both windows of a session before it is
//! published. Then whichever worker forwards a direction writes that direction's window; a worker that sees a reset or a
//! reopening SYN reads both, and may clear both, and what the other side's worker writes in that very moment may be lost, or
//! survive: a reset is then judged by a window that is a segment too old. No unsafe code depends on it.

use super::lifetime::TcpState;
use super::record::Common;
use super::sync::{AtomicU64, Ordering};

/// TCP flag bits (RFC 9293 section 3.1).
pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

/// The largest shift of a window (RFC 7323 section 2.3).
const MAX_SHIFT: u8 = 14;

/// What one direction of a connection has said of itself: the cold part of its half.
///
/// Layout of its bits, from the highest: acknowledgement 32 | unused 10 | phase 2 | scale 4 | window 16.
#[repr(transparent)]
pub struct Window(AtomicU64);

#[cfg(not(ces_loom))]
const _: () = assert!(size_of::<Window>() == 8);

/// How far this direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has sent nothing.
    Silent,
    /// A SYN without ACK: for "acknowledgement" stands what acknowledges that SYN, for "window" the bytes that came with it.
    Opening,
    /// A SYN with ACK: its window is not scaled.
    Answering,
    Acknowledging,
}

/// What a [`Window`] holds.
#[derive(Clone, Copy, Debug)]
struct Said {
    acknowledgement: u32,
    window: u16,
    /// 0 where its SYN had no such option, else the shift and 1.
    scale: u8,
    phase: Phase,
}

const SCALE: u64 = 0xf << 16;
const PHASE: u64 = 3 << 20;

impl Said {
    const NOTHING: Self = Self { acknowledgement: 0, window: 0, scale: 0, phase: Phase::Silent };

    const fn word(self) -> u64 {
        (self.acknowledgement as u64) << 32
            | (self.phase as u64) << 20
            | (self.scale as u64) << 16
            | self.window as u64
    }

    /// Whether `sequence` is one that the sender of this takes from its peer, whose SYN had `peer`'s scale.
    fn takes(&self, sequence: u32, peer: &Said) -> bool {
        let scaled = self.phase == Phase::Acknowledging && self.scale > 0 && peer.scale > 0;
        let shift = if scaled { u32::from(self.scale - 1) } else { 0 };
        sequence.wrapping_sub(self.acknowledgement) < (u32::from(self.window) << shift).max(1)
    }

    /// Whether this is a SYN alone that `number` follows, or follows with a part of its data.
    fn is_opening_up_to(&self, number: u32) -> bool {
        self.phase == Phase::Opening && number.wrapping_sub(self.acknowledgement) <= u32::from(self.window)
    }
}

impl Window {
    pub(super) fn silent() -> Self {
        Self(AtomicU64::new(Said::NOTHING.word()))
    }

    /// Home, before publication; or whoever reopens a connection.
    pub(super) fn clear(&self) {
        self.0.store(Said::NOTHING.word(), Ordering::Relaxed);
    }

    /// A worker forwards a segment with ACK, and neither SYN nor RST: `numbers` is the eight bytes of its header from the
    /// acknowledgement on, which end with the window.
    #[inline(always)]
    pub fn acknowledge(&self, numbers: [u8; 8]) {
        let numbers = u64::from_be_bytes(numbers) & !0xffff_0000;
        let scale = self.0.load(Ordering::Relaxed) & SCALE;
        self.0.store(numbers | scale | PHASE, Ordering::Relaxed);
    }

    fn said(&self) -> Said {
        let word = self.0.load(Ordering::Relaxed);
        Said {
            acknowledgement: (word >> 32) as u32,
            window: word as u16,
            scale: (word >> 16 & 0xf) as u8,
            phase: match (word & PHASE) >> 20 {
                0 => Phase::Silent,
                1 => Phase::Opening,
                2 => Phase::Answering,
                _ => Phase::Acknowledging,
            },
        }
    }

    /// A SYN, with or without ACK.
    fn synchronize(&self, segment: &Segment) {
        let answers = segment.flags & ACK != 0;
        let said = Said {
            scale: segment.window_scale.map_or(0, |shift| shift.min(MAX_SHIFT) + 1),
            acknowledgement: if answers { segment.acknowledgement } else { segment.sequence.wrapping_add(1) },
            window: if answers { segment.window } else { segment.payload },
            phase: if answers { Phase::Answering } else { Phase::Opening },
        };
        self.0.store(said.word(), Ordering::Relaxed);
    }
}

/// What counts of a segment that goes the slow way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// As it stands in the header.
    pub window: u16,
    /// Of a SYN: the shift of its option (RFC 7323 section 2).
    pub window_scale: Option<u8>,
    /// Bytes behind the header.
    pub payload: u16,
}

/// One half of a connection, as it is shared.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub about: &'a Common,
    pub window: &'a Window,
}

/// The one transition function: a segment from `sender` passes. True where it refreshes the session. See the module.
pub fn pass(sender: Side<'_>, other: Side<'_>, segment: &Segment) -> bool {
    let state = TcpState::of(sender.about.tcp_flags(), other.about.tcp_flags());
    let answers = segment.flags & ACK != 0;
    if segment.flags & RST != 0 {
        return reset(sender, other, segment, state);
    }
    if segment.flags & SYN != 0 {
        match state {
            TcpState::Established => return false,
            TcpState::Closing if answers => return false,
            TcpState::Closing => {
                for side in [sender, other] {
                    side.about.set_tcp(0);
                    side.window.clear();
                }
            }
            TcpState::Opening => (),
        }
        sender.window.synchronize(segment);
    } else if answers {
        let [a, b, c, d] = segment.acknowledgement.to_be_bytes();
        let [e, f] = segment.window.to_be_bytes();
        sender.window.acknowledge([a, b, c, d, 0, 0, e, f]);
    }
    sender.about.saw_tcp(segment.flags);
    true
}

fn reset(sender: Side<'_>, other: Side<'_>, segment: &Segment, state: TcpState) -> bool {
    if !is_believed(&sender.window.said(), &other.window.said(), segment) {
        return false;
    }
    // Its own ACK is no sign that the connection goes on.
    sender.about.set_tcp(sender.about.tcp_flags() & !ACK | RST);
    other.about.set_tcp(other.about.tcp_flags() & !ACK);
    match state {
        TcpState::Established => true,
        TcpState::Opening => !sender.about.action().is_outbound(),
        TcpState::Closing => false,
    }
}

fn is_believed(sender: &Said, other: &Said, segment: &Segment) -> bool {
    match other.phase {
        Phase::Answering | Phase::Acknowledging => other.takes(segment.sequence, sender),
        Phase::Silent | Phase::Opening => {
            (segment.flags & ACK != 0 && other.is_opening_up_to(segment.acknowledgement))
                || sender.is_opening_up_to(segment.sequence)
        }
    }
}

#[cfg(all(test, not(ces_loom)))]
#[path = "tcp_tests.rs"]
mod tests;
