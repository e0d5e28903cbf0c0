//! Where the neighbour owner shows its table to management: written by that worker when it is asked; read
//! by the management thread. A line may mix two moments; nothing is decided by it. And where the control thread, which reads the
//! state of the links, tells it which have returned.

use super::conflicts::Conflicts;
use crate::neigh::{Neighbor, State};
use crate::packet::MacAddr;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Line {
    /// Interface 16 | MAC address 48.
    link: AtomicU64,
    /// Wire order; IPv4 as IPv4-mapped.
    address: [AtomicU64; 2],
    /// In use 1 | has MAC 1 | state 8 | held 16 | age 32 | gateway 1, from bit 0 on.
    about: AtomicU64,
}

/// See the module.
pub struct Board {
    lines: Box<[Line]>,
    asked: AtomicBool,
    /// Rounds completed.
    rounds: AtomicU32,
    /// By port: its link has come up since the owner looked. Set by the control thread, taken back by the owner.
    returned: Box<[AtomicBool]>,
    /// Who else uses our addresses.
    pub conflicts: Conflicts,
}

/// A line, read.
pub struct Shown {
    pub interface: u16,
    pub address: IpAddr,
    pub mac: Option<MacAddr>,
    pub state: &'static str,
    pub age_ms: u32,
    pub held: u16,
    /// Kept resolved.
    pub gateway: bool,
}

impl Board {
    /// For ids `0..capacity`, and so many ports.
    pub fn new(capacity: usize, ports: usize) -> Self {
        Self {
            lines: (0..capacity).map(|_| Line::default()).collect(),
            asked: AtomicBool::new(false),
            rounds: AtomicU32::new(0),
            returned: (0..ports).map(|_| AtomicBool::new(false)).collect(),
            conflicts: Conflicts::default(),
        }
    }

    /// Control thread: the link of that port has come up.
    pub fn link_returned(&self, port: usize) {
        if let Some(returned) = self.returned.get(port) {
            returned.store(true, Ordering::Relaxed);
        }
    }

    /// Owner: whether the link of that port has come up since it was last asked.
    pub fn take_returned(&self, port: usize) -> bool {
        self.returned.get(port).is_some_and(|r| r.load(Ordering::Relaxed) && r.swap(false, Ordering::Relaxed))
    }

    /// Owner: whether somebody waits for a fresh round.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Owner: writes a round. `held` counts the packets that wait for an id.
    pub fn show(&self, neighbors: impl Iterator<Item = Neighbor>, held: impl Fn(u16) -> u16) {
        self.asked.store(false, Ordering::Relaxed);
        self.lines.iter().for_each(|l| l.about.store(0, Ordering::Relaxed));
        for n in neighbors {
            let Some(line) = self.lines.get(usize::from(n.id.0)) else { continue };
            let address = match n.addr {
                IpAddr::V4(a) => a.to_ipv6_mapped(),
                IpAddr::V6(a) => a,
            };
            let words = u128::from_le_bytes(address.octets());
            line.address[0].store(words as u64, Ordering::Relaxed);
            line.address[1].store((words >> 64) as u64, Ordering::Relaxed);
            let [a, b, c, d, e, f] = n.mac.map_or([0; 6], |m| m.0);
            let mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
            line.link.store(u64::from(n.interface) | mac << 16, Ordering::Relaxed);
            // Packets wait for those alone that have not answered yet.
            let held = if n.mac.is_none() { held(n.id.0) } else { 0 };
            let about = 1
                | u64::from(n.mac.is_some()) << 1
                | u64::from(number(n.state)) << 2
                | u64::from(held) << 10
                | u64::from(n.age.unwrap_or(0)) << 26
                | u64::from(n.monitored) << 58;
            line.about.store(about, Ordering::Relaxed);
        }
        self.rounds.fetch_add(1, Ordering::Release);
    }

    /// Management: asks for a fresh round, waits for it (at most half a second) and reads it.
    pub fn read(&self) -> Vec<Shown> {
        let before = self.rounds.load(Ordering::Acquire);
        self.asked.store(true, Ordering::Release);
        let start = Instant::now();
        while self.rounds.load(Ordering::Acquire) == before && start.elapsed() < Duration::from_millis(500) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.lines.iter().filter_map(Line::read).collect()
    }
}

impl Line {
    fn read(&self) -> Option<Shown> {
        let about = self.about.load(Ordering::Relaxed);
        if about & 1 == 0 {
            return None;
        }
        let word = |i: usize| u128::from(self.address[i].load(Ordering::Relaxed));
        let address = Ipv6Addr::from((word(0) | word(1) << 64).to_le_bytes());
        let link = self.link.load(Ordering::Relaxed);
        let [a, b, c, d, e, f, ..] = (link >> 16).to_le_bytes();
        Some(Shown {
            interface: link as u16,
            address: address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
            mac: (about & 2 != 0).then_some(MacAddr([a, b, c, d, e, f])),
            state: NAMES[usize::from((about >> 2) as u8) % NAMES.len()],
            age_ms: (about >> 26) as u32,
            held: (about >> 10) as u16,
            gateway: about >> 58 & 1 != 0,
        })
    }
}

const NAMES: [&str; 6] = ["incomplete", "reachable", "stale", "probe", "failed", "permanent"];

fn number(state: State) -> u8 {
    NAMES.iter().position(|n| *n == state.name()).unwrap_or(0) as u8
}
