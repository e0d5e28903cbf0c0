//! What the circular pool shows of itself. Written by the thread that has the pool, once a turn; read by management whenever it is
//! asked, without making that thread wait.

use super::counters::COUNTERS;
use super::gateway::Gateway;
use std::sync::atomic::{AtomicU64, Ordering};

/// What happens between the gateway and the workers, each counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeskCounter {
    /// Another packet of a claim that is remembered.
    Repeated,
    /// A fragment that came behind the first packet that it is of, before the session was there.
    Followed,
    /// A claim whose host is gone, or is where nobody translates.
    NoHost,
    /// A claim whose session never began.
    Unconfirmed,
    /// A command to a worker that its ring had no room for.
    CommandsLost,
    /// A first packet that is none.
    Unreadable,
}

const DESK: [(DeskCounter, &str); 6] = [
    (DeskCounter::Repeated, "repeated"),
    (DeskCounter::Followed, "followed"),
    (DeskCounter::NoHost, "no_host"),
    (DeskCounter::Unconfirmed, "unconfirmed"),
    (DeskCounter::CommandsLost, "commands_lost"),
    (DeskCounter::Unreadable, "unreadable"),
];

/// See the module.
#[derive(Debug, Default)]
pub struct Shown {
    addresses: AtomicU64,
    busy: AtomicU64,
    waiting: AtomicU64,
    tier: AtomicU64,
    sessions: AtomicU64,
    gateway: [AtomicU64; COUNTERS.len()],
    desk: [AtomicU64; DESK.len()],
}

/// The figures at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Of the pool.
    pub addresses: u32,
    /// Addresses at which something waits.
    pub busy: u32,
    /// Reservations, overdue ones included.
    pub waiting: u32,
    /// Of the load, 0 to 3.
    pub tier: u8,
    /// That live.
    pub sessions: u64,
    /// By name.
    pub counters: Vec<(&'static str, u64)>,
}

impl Shown {
    pub(super) fn write(&self, gateway: &Gateway, sessions: u64) {
        let (busy, addresses) = gateway.load();
        let set = |to: &AtomicU64, n: u64| to.store(n, Ordering::Relaxed);
        set(&self.addresses, addresses.into());
        set(&self.busy, busy.into());
        set(&self.waiting, gateway.reservations() as u64);
        set(&self.tier, gateway.load_tier() as u64);
        set(&self.sessions, sessions);
        gateway.counters().iter().zip(&self.gateway).for_each(|((_, n), to)| set(to, n));
    }

    /// One more. By the one writer.
    pub(super) fn bump(&self, counter: DeskCounter) {
        let n = &self.desk[counter as usize];
        n.store(n.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub fn get(&self, counter: DeskCounter) -> u64 {
        self.desk[counter as usize].load(Ordering::Relaxed)
    }

    pub fn read(&self) -> Figures {
        let get = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let gateway = COUNTERS.iter().zip(&self.gateway).map(|(counter, n)| (counter.name(), get(n)));
        let desk = DESK.iter().zip(&self.desk).map(|((_, name), n)| (*name, get(n)));
        Figures {
            addresses: get(&self.addresses) as u32,
            busy: get(&self.busy) as u32,
            waiting: get(&self.waiting) as u32,
            tier: get(&self.tier) as u8,
            sessions: get(&self.sessions),
            counters: gateway.chain(desk).collect(),
        }
    }
}
