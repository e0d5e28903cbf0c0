//! What the stages of one worker work with: its home, its way out, its clock. No stage keeps anything else.

use super::limit::TokenBucket;
use super::output::Output;
use super::resolve::NeighborOwner;
use crate::dpdk::{BURST, Mbuf, Pool};
use crate::flow::{FlowHome, Hop};
use crate::nat::NatHome;
use crate::packet::DropReason;
use arrayvec::ArrayVec;

/// What the stages work with.
pub struct Core {
    pub id: usize,
    pub out: Output,
    pub flows: FlowHome,
    pub nat: Option<NatHome>,
    pub neighbors: Option<NeighborOwner>,
    pub pool: Pool,
    pub icmp_errors: TokenBucket,
    /// Hairpins between their legs.
    pub second_legs: ArrayVec<Mbuf, BURST>,
    /// Wrapping milliseconds, read once a round.
    pub now: u32,
}

impl Core {
    /// Writes the link layer of a resolved next hop and sends.
    pub fn send(&mut self, mut mbuf: Mbuf, hop: &Hop) {
        match mbuf.data_mut().first_chunk_mut::<12>() {
            Some(macs) => {
                *macs = hop.macs;
                self.out.send(hop.port, mbuf);
            }
            None => self.out.drop(mbuf, DropReason::Truncated),
        }
    }
}
