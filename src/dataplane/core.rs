//! What the stages of one worker work with: its home, its way out, its clock. No stage keeps anything else.

use super::account::{Account, Stage};
use super::claims::Claims;
use super::fragments::Fragments;
use super::limit::Answers;
use super::output::Output;
use super::pcp::Announcing;
use super::punt::Punts;
use super::resolve::NeighborOwner;
use super::unsolicited::Unsolicited;
use super::vlan::{self, Vlan};
use super::world::Interface;
use crate::dpdk::{BURST, Mbuf, Pool};
use crate::firewall;
use crate::flow::{FlowHome, Hop};
use crate::nat::NatHome;
use crate::packet::DropReason;
use crate::route;
use arrayvec::ArrayVec;

/// What the stages work with.
pub struct Core {
    pub id: usize,
    pub out: Output,
    /// Where the cycles go.
    pub account: Account,
    pub flows: FlowHome,
    pub nat: Option<NatHome>,
    pub firewall: Option<firewall::Home>,
    pub neighbors: Option<NeighborOwner>,
    pub pool: Pool,
    /// As they are now.
    pub routes: route::Reader,
    pub icmp_errors: Answers,
    pub unsolicited: Unsolicited,
    pub announcing: Announcing,
    pub punts: Punts,
    /// Where there is a circular pool.
    pub claims: Option<Claims>,
    /// Where there is a NAT, or tunnels.
    pub fragments: Option<Fragments>,
    /// Hairpins between their legs, each with the ports that it has now: a fragment may not show them.
    pub second_legs: ArrayVec<(Mbuf, u32), BURST>,
    /// Wrapping milliseconds, read once a round.
    pub now: u32,
}

impl Core {
    /// Sends a frame, its addresses written, by a port, in a VLAN where it is one.
    #[inline(always)]
    pub fn send(&mut self, mbuf: Mbuf, port: u16, vlan: Vlan) {
        if vlan.0 != 0 {
            return self.send_tagged(port, mbuf, vlan);
        }
        self.out.send(port, mbuf);
    }

    /// As [`Punts::wake`], and the thread that has the circular pool.
    #[inline]
    pub fn wake_others(&mut self) -> bool {
        self.claims.as_mut().is_some_and(Claims::wake) | self.punts.wake()
    }

    /// Everything gathered leaves.
    #[inline(always)]
    pub fn flush(&mut self) {
        let left = self.out.flush();
        self.account.lap_if_any(Stage::Transmit, left);
    }

    /// Writes the addresses of a resolved next hop, and sends.
    pub fn send_to(&mut self, mut mbuf: Mbuf, hop: &Hop) {
        if mbuf.len() > usize::from(hop.limit) {
            return self.out.drop(mbuf, DropReason::TxTooBig);
        }
        match mbuf.data_mut().first_chunk_mut::<12>() {
            Some(macs) => {
                *macs = hop.macs;
                self.send(mbuf, hop.port, Vlan(hop.vlan));
            }
            None => self.out.drop(mbuf, DropReason::Truncated),
        }
    }

    #[inline(never)]
    fn send_tagged(&mut self, port: u16, mut mbuf: Mbuf, vlan: Vlan) {
        let inserts = self.out.inserts_vlan(port);
        match vlan::put_on(&mut mbuf, vlan, inserts) {
            Some(()) => self.out.send(port, mbuf),
            None => self.out.drop(mbuf, DropReason::NoBuffer),
        }
    }

    /// A frame of the edge's own out by an interface, in its VLAN.
    pub fn originate(&mut self, interface: &Interface, mbuf: Mbuf) {
        self.out.counters.originated_packets.add(1);
        if interface.vlan == Vlan::NONE {
            return self.out.send(interface.port, mbuf);
        }
        self.send_tagged(interface.port, mbuf, interface.vlan);
    }
}
