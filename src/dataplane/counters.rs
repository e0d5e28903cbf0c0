//! What a worker counts. Written by that worker alone, read by management.

use super::account::{StageCounters, Stages};
use crate::packet::{DROP_REASONS, DropReason};
use std::sync::atomic::{AtomicU64, Ordering};

/// A count with one writer: a load and a store, no locked instruction.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The one writer: `n` more.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// The one writer: a level rather than a count.
    #[inline(always)]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one worker. Packets and bytes are frames without their check sequence.
///
/// Over all workers, and but for the packets that are held or in flight:
/// `rx_packets + originated_packets == tx_packets + local_packets + the sum of drops`.
#[repr(align(128))]
pub struct WorkerCounters {
    pub rx_packets: Counter,
    pub rx_bytes: Counter,
    pub tx_packets: Counter,
    pub tx_bytes: Counter,
    /// Translated, on their way to a port.
    pub forwarded_packets: Counter,
    pub forwarded_bytes: Counter,
    /// To the edge itself, and answered or taken note of.
    pub local_packets: Counter,
    /// Made by the edge itself: ARP, echo replies, ICMP errors.
    pub originated_packets: Counter,
    pub handed_off: Counter,
    pub received_handoff: Counter,
    pub sessions_created: Counter,
    pub sessions_removed: Counter,
    /// Levels: mappings and subscribers that live at this home.
    pub mappings: Counter,
    pub subscribers: Counter,
    /// A level: what subscribers have asked for by PCP or NAT-PMP, and is not over.
    pub asked_mappings: Counter,
    /// Their requests that were answered.
    pub control_requests: Counter,
    /// Rounds of the loop: the heartbeat.
    pub polls: Counter,
    pub empty_polls: Counter,
    /// Whether it sleeps now.
    pub sleeping: Counter,
    /// Its clock: wrapping milliseconds, as records keep them.
    pub now_ms: Counter,
    /// Where its cycles go.
    pub stages: Stages,
    pub drops: [Counter; DROP_REASONS],
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            rx_packets: Counter::default(),
            rx_bytes: Counter::default(),
            tx_packets: Counter::default(),
            tx_bytes: Counter::default(),
            forwarded_packets: Counter::default(),
            forwarded_bytes: Counter::default(),
            local_packets: Counter::default(),
            originated_packets: Counter::default(),
            handed_off: Counter::default(),
            received_handoff: Counter::default(),
            sessions_created: Counter::default(),
            sessions_removed: Counter::default(),
            mappings: Counter::default(),
            subscribers: Counter::default(),
            asked_mappings: Counter::default(),
            control_requests: Counter::default(),
            polls: Counter::default(),
            empty_polls: Counter::default(),
            sleeping: Counter::default(),
            now_ms: Counter::default(),
            stages: std::array::from_fn(|_| StageCounters::default()),
            drops: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl WorkerCounters {
    /// One packet dropped for this reason.
    pub fn dropped(&self, why: DropReason) {
        self.drops[why as usize].add(1);
    }
}
