//! Typed single-producer single-consumer messages between threads (rtrb). One writer, one reader, bounded: a full ring never
//! blocks, the sender keeps what did not fit and drops it under a counter of its own.
//!
//! The mesh by which workers hand packets to one another; [`frames`], by which bytes cross to a control thread and back;
//! [`claims`], by which first packets do and what becomes of them; and [`wake`], by which a napping reader learns of them.
//! An [`Mbuf`] crosses between workers only.

pub mod claims;
pub mod frames;
pub mod wake;

use crate::dpdk::Mbuf;
use crate::flow::Realm;
use rtrb::{Consumer, Producer, RingBuffer};
use wake::Waker;

/// What the receiving worker is to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// As if it had come in by `interface`, in `realm`: this worker is its home, or hears all ARP. `hairpin`: it has been
    /// through its first leg.
    Receive { interface: u16, realm: Realm, hairpin: bool },
    /// As [`Task::Receive`], a fragment that has been judged where those of its datagram meet: this worker is the home of its
    /// session. `ports`, as in [`Key4::from_words`](crate::flow::Key4::from_words), are those that its first fragment shows.
    Fragment { interface: u16, realm: Realm, hairpin: bool, ports: u32 },
    /// Find its next hop in `realm` by its IPv4 destination, ask for it if need be, and send it.
    Resolve { realm: Realm },
    /// Ready: send it by this port.
    Send { port: u16 },
}

/// A packet on its way from worker to worker.
pub struct Handoff {
    pub mbuf: Mbuf,
    pub task: Task,
    /// How often it has been handed off.
    pub hops: u8,
}

/// One worker's ends of the mesh: a ring from and a ring to every other.
pub struct Peers {
    /// By worker; none to itself.
    pub to: Vec<Option<ToPeer>>,
    pub from: Vec<Consumer<Handoff>>,
    /// By which the others wake this one.
    pub waker: Waker,
}

/// The way to another worker.
pub struct ToPeer {
    ring: Producer<Handoff>,
    reader: Waker,
}

/// The mesh of `workers` workers, each ring with room for `capacity` packets.
pub fn mesh(workers: usize, capacity: usize) -> Vec<Peers> {
    let mut peers: Vec<Peers> = (0..workers)
        .map(|_| Peers {
            to: (0..workers).map(|_| None).collect(),
            from: Vec::with_capacity(workers),
            waker: Waker::default(),
        })
        .collect();
    for from in 0..workers {
        for to in (0..workers).filter(|&to| to != from) {
            let (ring, consumer) = RingBuffer::new(capacity);
            let reader = peers[to].waker.clone();
            peers[from].to[to] = Some(ToPeer { ring, reader });
            peers[to].from.push(consumer);
        }
    }
    peers
}

impl ToPeer {
    /// Packets that there is room for.
    pub fn slots(&self) -> usize {
        self.ring.slots()
    }

    /// Sends `count` packets from the front of `packets`, in one step that the reader sees at once, and wakes it if it naps (which enters
    /// the kernel, and only where workers may sleep); it must
    /// be no more than there are slots.
    pub fn push_burst<const N: usize>(&mut self, packets: &mut arrayvec::ArrayVec<Handoff, N>, count: usize) {
        if let Ok(chunk) = self.ring.write_chunk_uninit(count) {
            chunk.fill_from_iter(packets.drain(..count));
            self.reader.wake();
        }
    }
}
