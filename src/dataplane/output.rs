//! The way out: transmit queues, hand-off rings, and drops. Bursts are gathered and leave when full or at the end of a round.

use super::counters::WorkerCounters;
use crate::dpdk::{BURST, Burst, Mbuf, TxQueue, free_bulk};
use crate::packet::DropReason;
use crate::ring::{Handoff, Peers, Task, ToPeer};
use arrayvec::ArrayVec;
use std::sync::Arc;

/// More hand-offs than any packet needs: receive → home → hairpin home → neighbour owner → port owner.
const MAX_HOPS: u8 = 6;

/// A port as a worker transmits on it.
pub struct TxSide {
    /// `None` where the port has too few queues: `owner` sends for this worker.
    pub queue: Option<TxQueue>,
    pub owner: usize,
    /// Whether the device takes packets of several segments.
    pub multi_segments: bool,
    /// Whether the device puts a VLAN tag on by itself.
    pub inserts_vlan: bool,
}

/// A worker's way out.
pub struct Output {
    ports: Vec<(TxSide, Burst)>,
    peers: Vec<Option<(ToPeer, ArrayVec<Handoff, BURST>)>>,
    pub counters: Arc<WorkerCounters>,
    /// What is dropped in this round: freed together.
    dropped: Burst,
}

impl Output {
    pub fn new(ports: Vec<TxSide>, peers: &mut Peers, counters: Arc<WorkerCounters>) -> Self {
        let peers = peers.to.drain(..).map(|p| p.map(|p| (p, ArrayVec::new()))).collect();
        let ports = ports.into_iter().map(|p| (p, Burst::new())).collect();
        Self { ports, peers, counters, dropped: Burst::new() }
    }

    /// Drops a packet under a name.
    pub fn drop(&mut self, mbuf: Mbuf, why: DropReason) {
        self.counters.dropped(why);
        self.free(mbuf);
    }

    /// A message of the edge's own was lost before it was made: it counts as made, and as dropped.
    pub fn lost(&mut self, why: DropReason) {
        self.counters.originated_packets.add(1);
        self.counters.dropped(why);
    }

    /// Gives back the buffer of a packet that has been dealt with otherwise.
    pub fn free(&mut self, mbuf: Mbuf) {
        if self.dropped.is_full() {
            free_bulk(&mut self.dropped);
        }
        self.dropped.push(mbuf);
    }

    /// A whole frame out by a port.
    #[inline(always)]
    pub fn send(&mut self, port: u16, mbuf: Mbuf) {
        let Some((side, burst)) = self.ports.get_mut(usize::from(port)) else {
            return self.drop(mbuf, DropReason::NoRoute);
        };
        if !mbuf.is_contiguous() || side.queue.is_none() {
            return self.send_slow(port, mbuf);
        }
        if let Err(full) = burst.try_push(mbuf) {
            self.send_slow(port, full.element());
        }
    }

    #[cold]
    fn send_slow(&mut self, port: u16, mut mbuf: Mbuf) {
        let (side, burst) = &mut self.ports[usize::from(port)];
        if !mbuf.is_contiguous() && !side.multi_segments && mbuf.linearize().is_err() {
            return self.drop(mbuf, DropReason::TxTooBig);
        }
        if side.queue.is_none() {
            let owner = side.owner;
            return self.hand(owner, mbuf, Task::Send { port }, 0);
        }
        if burst.is_full() {
            flush(side, burst, &self.counters);
        }
        burst.push(mbuf);
    }

    /// Whether the device of a port puts a VLAN tag on by itself.
    pub fn inserts_vlan(&self, port: u16) -> bool {
        self.ports.get(usize::from(port)).is_some_and(|(side, _)| side.inserts_vlan)
    }

    /// A packet to another worker.
    pub fn hand(&mut self, worker: usize, mbuf: Mbuf, task: Task, hops: u8) {
        if hops >= MAX_HOPS {
            return self.drop(mbuf, DropReason::HandoffLoop);
        }
        let Some(Some((peer, burst))) = self.peers.get_mut(worker) else {
            return self.drop(mbuf, DropReason::HandoffLoop);
        };
        if burst.is_full() {
            hand_over(peer, burst, &self.counters);
        }
        burst.push(Handoff { mbuf, task, hops: hops + 1 });
    }

    /// The end of a round: everything gathered leaves. Gives how many packets that were, those dropped included.
    #[inline(always)]
    pub fn flush(&mut self) -> usize {
        let mut left = self.dropped.len();
        for (side, burst) in &mut self.ports {
            if !burst.is_empty() {
                left += burst.len();
                flush(side, burst, &self.counters);
            }
        }
        for (peer, burst) in self.peers.iter_mut().flatten() {
            if !burst.is_empty() {
                left += burst.len();
                hand_over(peer, burst, &self.counters);
            }
        }
        if !self.dropped.is_empty() {
            free_bulk(&mut self.dropped);
        }
        left
    }
}

/// Sends a burst; what the device does not take is dropped: a worker never waits for a device.
fn flush(side: &mut TxSide, burst: &mut Burst, counters: &WorkerCounters) {
    let Some(queue) = &mut side.queue else { return };
    let packets = burst.len();
    // Summed before: once sent they belong to the device.
    let mut bytes: usize = burst.iter().map(Mbuf::len).sum();
    queue.send(burst);
    if !burst.is_empty() {
        bytes -= burst.iter().map(Mbuf::len).sum::<usize>();
    }
    counters.tx_packets.add((packets - burst.len()) as u64);
    counters.tx_bytes.add(bytes as u64);
    if !burst.is_empty() {
        counters.drops[DropReason::TxFull as usize].add(burst.len() as u64);
        free_bulk(burst);
    }
}

fn hand_over(peer: &mut ToPeer, burst: &mut ArrayVec<Handoff, BURST>, counters: &WorkerCounters) {
    let room = peer.slots().min(burst.len());
    // Counted before: what has been taken over is never more than what was handed off.
    counters.handed_off.add(room as u64);
    peer.push_burst(burst, room);
    if !burst.is_empty() {
        counters.drops[DropReason::HandoffFull as usize].add(burst.len() as u64);
        burst.clear();
    }
}
