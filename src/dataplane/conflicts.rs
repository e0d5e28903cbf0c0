//! Who else uses an address of ours: a few lines that the neighbour owner writes and management and the control thread read,
//! whenever they like.
//!
//! Guarantees: bounded; a flood of claims takes no more than its lines, and each of them is to be logged once. A line may mix
//! two moments; nothing is decided by it.

use crate::packet::MacAddr;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Conflicts that are shown at a time; more are only counted as drops.
const LINES: usize = 16;
/// Milliseconds without a claim after which a conflict is over.
const OVER: u32 = 600_000;

#[derive(Default)]
struct Line {
    /// Interface 16 | MAC address 48.
    link: AtomicU64,
    /// Wire order; IPv4 as IPv4-mapped.
    address: [AtomicU64; 2],
    /// Claims so far; 0: the line is free.
    claims: AtomicU64,
    /// The last one, on the owner's wrapping clock.
    seen: AtomicU32,
    /// Set by the control thread, cleared by the owner when the line is taken.
    logged: AtomicBool,
}

/// A conflict, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub interface: u16,
    pub address: IpAddr,
    /// Who used it last.
    pub mac: MacAddr,
    /// How often it has been heard.
    pub claims: u64,
}

/// See the module.
#[derive(Default)]
pub struct Conflicts {
    lines: [Line; LINES],
}

impl Conflicts {
    /// Owner: `mac` has claimed `address`.
    pub fn note(&self, interface: u16, address: IpAddr, mac: MacAddr, now: u32) {
        let words = words(address);
        let is_it = |line: &&Line| {
            line.claims.load(Ordering::Relaxed) > 0
                && line.link.load(Ordering::Relaxed) as u16 == interface
                && [0, 1].map(|i| line.address[i].load(Ordering::Relaxed)) == words
        };
        let is_free = |line: &&Line| line.claims.load(Ordering::Relaxed) == 0;
        let Some(line) = self.lines.iter().find(is_it).or_else(|| self.lines.iter().find(is_free)) else {
            return;
        };
        let claims = line.claims.load(Ordering::Relaxed);
        if claims == 0 {
            line.logged.store(false, Ordering::Relaxed);
        }
        let [a, b, c, d, e, f] = mac.0;
        let mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        line.link.store(u64::from(interface) | mac << 16, Ordering::Relaxed);
        line.address[0].store(words[0], Ordering::Relaxed);
        line.address[1].store(words[1], Ordering::Relaxed);
        line.seen.store(now, Ordering::Relaxed);
        line.claims.store(claims.saturating_add(1), Ordering::Release);
    }

    /// Owner: frees the lines of conflicts that are over.
    pub fn expire(&self, now: u32) {
        for line in &self.lines {
            let seen = line.seen.load(Ordering::Relaxed);
            if line.claims.load(Ordering::Relaxed) > 0 && now.wrapping_sub(seen) >= OVER {
                line.claims.store(0, Ordering::Release);
            }
        }
    }

    /// Management: the conflicts of the last minutes.
    pub fn read(&self) -> Vec<Conflict> {
        self.lines.iter().filter_map(Line::read).collect()
    }

    /// The control thread: those that have not been logged yet. Allocates nothing when there are none.
    pub fn take_unlogged(&self) -> Vec<Conflict> {
        let is_new = |line: &&Line| {
            line.claims.load(Ordering::Acquire) > 0 && !line.logged.swap(true, Ordering::Relaxed)
        };
        self.lines.iter().filter(is_new).filter_map(Line::read).collect()
    }
}

impl Line {
    fn read(&self) -> Option<Conflict> {
        let claims = self.claims.load(Ordering::Acquire);
        let [low, high] = [0, 1].map(|i| u128::from(self.address[i].load(Ordering::Relaxed)));
        let address = Ipv6Addr::from((low | high << 64).to_le_bytes());
        let link = self.link.load(Ordering::Relaxed);
        let [a, b, c, d, e, f, ..] = (link >> 16).to_le_bytes();
        (claims > 0).then_some(Conflict {
            interface: link as u16,
            address: address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
            mac: MacAddr([a, b, c, d, e, f]),
            claims,
        })
    }
}

fn words(address: IpAddr) -> [u64; 2] {
    let address = match address {
        IpAddr::V4(a) => a.to_ipv6_mapped(),
        IpAddr::V6(a) => a,
    };
    let words = u128::from_le_bytes(address.octets());
    [words as u64, (words >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_shown_logged_once_and_forgotten() {
        let conflicts = Conflicts::default();
        let addresses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let (one, other) = (MacAddr([2, 1, 2, 3, 4, 5]), MacAddr([2, 9, 9, 9, 9, 9]));
        let start = u32::MAX - 1000; // the clock wraps
        conflicts.note(7, addresses[0], one, start);
        conflicts.note(7, addresses[0], other, start.wrapping_add(2000));
        conflicts.note(8, addresses[1], one, start);
        let first = Conflict { interface: 7, address: addresses[0], mac: other, claims: 2 };
        let second = Conflict { interface: 8, address: addresses[1], mac: one, claims: 1 };
        assert_eq!(conflicts.read(), [first, second]);
        assert_eq!(conflicts.take_unlogged(), [first, second]);
        conflicts.note(8, addresses[1], one, start.wrapping_add(1));
        assert_eq!(conflicts.take_unlogged(), []);
        conflicts.expire(start.wrapping_add(OVER + 1));
        assert_eq!(conflicts.read(), [first]);
        conflicts.note(8, addresses[1], one, start.wrapping_add(OVER + 2));
        assert_eq!(conflicts.take_unlogged(), [second], "once over, it is news again");
    }

    #[test]
    fn a_flood_takes_its_lines_and_no_more() {
        let conflicts = Conflicts::default();
        for n in 0..100u8 {
            conflicts.note(0, IpAddr::from([192, 0, 2, n]), MacAddr([2, 0, 0, 0, 0, 1]), 0);
        }
        assert_eq!(conflicts.read().len(), LINES);
        conflicts.expire(OVER);
        assert_eq!(conflicts.read(), []);
    }
}
