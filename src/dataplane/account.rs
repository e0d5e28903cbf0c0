//! The account of stages: where a worker's cycles go, to the last one, and how many packets each stage had in how many calls.
//!
//! ```text
//! ──┬─ receive ─┬─ IPv4 ─┬─ slow ─┬─ transmit ─┬─ receive ─┬─ IPv4 ─┬─ transmit ─┬─ idle ─┬─ idle ─── cycles
//!   lap         lap      lap      lap          lap         lap      lap          lap      lap
//! ```
//!
//! Guarantees: one reading of the cycle counter a stage and burst, never one a packet, and none for a stage that had no packets, so that
//! the account is always on; each cycle since the start is in exactly one stage, that of the lap which came next. Never: decides anything.
//!
//! What is no stage's own, such as a look at rings that are empty, is short, and goes into the lap that comes next.

use super::counters::{Counter, WorkerCounters};
use crate::dpdk::cycles;
use std::sync::Arc;

macro_rules! stages {
    ($($(#[doc = $what:literal])+ $stage:ident = $name:literal,)+) => {
        /// What a worker does. In the order of a burst's way.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Stage {
            $($(#[doc = $what])+ $stage,)+
        }

        impl Stage {
            /// All of them, in order.
            pub const ALL: [Stage; [$($name),+].len()] = [$(Stage::$stage),+];

            /// As `cesctl show runtime` prints it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Stage::$stage => $name,)+
                }
            }
        }
    };
}

stages! {
    /// A burst from a port: the device's driver, and the port's limit. What was polled before, and had nothing, is in it.
    Receive = "receive",
    /// What other edges have sent: out of its tunnel, and on, if it was for a flow that is known.
    OutOfTunnels = "out_of_tunnels",
    /// Where packets are spread by software: whose they are.
    HandOff = "hand_off",
    /// IPv4 packets, VLAN tags off: classify, look up, translate those of a known session, or put them into their tunnel.
    Ipv4 = "ipv4",
    /// One packet at a time: those that open sessions, and whatever is not common.
    Slow = "slow",
    /// IPv6 packets: classify, look up, on with those of a known session.
    Ipv6 = "ipv6",
    /// To the devices and to other workers, and buffers of dropped packets given back. What fills a burst before its time leaves within the
    /// stage that has filled it.
    Transmit = "transmit",
    /// What other workers have handed over.
    TakeOver = "take_over",
    /// What the control threads send, and what they ask for.
    Control = "control",
    /// Neighbours, fragments, announcements, what is told of sessions: once a millisecond.
    Timers = "timers",
    /// Sessions that are over, looked for a slice at a time.
    Sweep = "sweep",
    /// Rounds that found nothing.
    Idle = "idle",
    /// Naps, where a worker may take some.
    Asleep = "asleep",
}

/// What one stage of one worker took. Written by that worker alone, read by management.
#[derive(Default)]
pub struct StageCounters {
    pub calls: Counter,
    pub packets: Counter,
    /// Of the time-stamp counter, which goes on while the core runs something else.
    pub cycles: Counter,
}

/// Those of a worker, by [`Stage`].
pub type Stages = [StageCounters; Stage::ALL.len()];

/// A worker's own end of its account.
pub struct Account {
    counters: Arc<WorkerCounters>,
    /// Where the lap has begun that runs now.
    stamp: u64,
}

impl Account {
    /// Begins now.
    pub fn new(counters: Arc<WorkerCounters>) -> Self {
        Self { counters, stamp: cycles() }
    }

    /// A stage is done with so many packets: the cycles since the last lap were its own.
    #[inline(always)]
    pub fn lap(&mut self, stage: Stage, packets: usize) {
        let now = cycles();
        let taken = &self.counters.stages[stage as usize];
        taken.calls.add(1);
        taken.packets.add(packets as u64);
        taken.cycles.add(now.wrapping_sub(self.stamp));
        self.stamp = now;
    }

    /// [`Self::lap`], if there were packets.
    #[inline(always)]
    pub fn lap_if_any(&mut self, stage: Stage, packets: usize) {
        if packets > 0 {
            self.lap(stage, packets);
        }
    }

    /// When the last lap ended: the cycle counter, as it was read then.
    #[inline(always)]
    pub fn stamp(&self) -> u64 {
        self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(counters: &WorkerCounters, stage: Stage) -> [u64; 2] {
        let stage = &counters.stages[stage as usize];
        [stage.calls.get(), stage.packets.get()]
    }

    #[test]
    fn every_cycle_is_in_the_lap_that_came_next() {
        let counters = Arc::new(WorkerCounters::default());
        let before = cycles();
        let mut account = Account::new(counters.clone());
        let start = account.stamp();
        account.lap(Stage::Receive, 64);
        let received = account.stamp();
        // Some work.
        while cycles() < received + 10_000 {}
        account.lap(Stage::Ipv4, 60);
        account.lap_if_any(Stage::Slow, 4);
        account.lap_if_any(Stage::Ipv6, 0);
        account.lap(Stage::Receive, 3);
        let end = cycles();
        let of = |stage| figures(&counters, stage);
        assert_eq!(
            [of(Stage::Receive), of(Stage::Ipv4), of(Stage::Slow), of(Stage::Ipv6)],
            [[2, 67], [1, 60], [1, 4], [0, 0]]
        );
        assert!(counters.stages[Stage::Ipv4 as usize].cycles.get() >= 10_000);
        assert_eq!(counters.stages[Stage::Ipv6 as usize].cycles.get(), 0);
        let sum: u64 = counters.stages.iter().map(|stage| stage.cycles.get()).sum();
        assert_eq!(sum, account.stamp() - start, "none is lost, none is there twice");
        assert!(before <= start && account.stamp() <= end);
    }

    #[test]
    fn a_stage_has_the_place_of_its_number_and_a_name_of_its_own() {
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, number);
            assert_eq!(Stage::ALL.iter().filter(|other| other.name() == stage.name()).count(), 1);
        }
    }
}
