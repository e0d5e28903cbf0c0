//! Neighbours: which link-layer address a next hop has, by ARP (RFC 826) and neighbour discovery (RFC 4861).
//!
//! [`Neighbors`] is a bounded table of small state machines, with one owner. It sends nothing and holds no packet: it is
//! given what was asked for, what was heard and the time, and answers with [`Output`]s that the owner carries out. The
//! owner keeps the packets that wait for an id, and publishes adjacencies, by the same id, for others to forward by.
//!
//! ```text
//!                    solicited answer                    reachable time over: ask it alone
//!  want ─► Incomplete ──────────────► Reachable ────────────────────────────────► Probe ─► (forwards meanwhile)
//!            │ ▲                          ▲          solicited answer               │
//!    no answer │ asked again              └─────────────────────────────────────────┤ no answer
//!            ▼ │                                                                    │
//!           Failed ◄────────────────────────────────────────────────────────────────┘
//!            └─► removed, when nobody asked        Stale: learnt from a request to us; wanted ─► Probe
//! ```
//!
//! Guarantees:
//! - Nothing is allocated after [`Neighbors::new`]; every call takes constant time, a tick at most its budget.
//! - A neighbour is solicited at most once a retransmit time (RFC 1122 section 2.3.2.1, RFC 4861 section 7.2.2).
//! - Every [`Want::Hold`] is followed by exactly one [`Output::Resolved`] or [`Output::Lost`] of that id.
//! - An id is not given to another neighbour before the owner has released it.
//! - Only a request for one of our own addresses makes an entry that nobody asked for, and such entries fill at most a
//!   quarter of the table and replace nothing. A permanent entry changes by nothing that is heard.
//!
//! Never: reads a clock, touches a packet, or decides whether an address is on the link; the owner has done that.
//!
//! An entry that was asked for lives as long as its neighbour answers, since others forward by its id. One that is
//! monitored ([`Neighbors::monitor`]) lives until it is forgotten: it is asked again for as long as it does not answer.
//!
//! [`Announcer`] is the other direction: it tells the link which addresses are the edge's own, and defends them.

use std::net::IpAddr;

mod announce;
mod neighbors;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use announce::{Announcement, Announcer};
pub use neighbors::Neighbors;
pub use state::State;

/// The index of a neighbour, dense from zero: the place of its adjacency in the shared table.
pub use crate::flow::AdjacencyId;
use crate::packet::MacAddr;

/// How long each state lasts, in milliseconds from 1 to [`Timers::MAX`], and how often is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two solicitations of one neighbour. 1 s: RFC 4861 section 10 (RETRANS_TIMER), and the most that
    /// RFC 1122 section 2.3.2.1 allows for ARP.
    pub retransmit: u32,
    /// Solicitations to everyone before a neighbour counts as failed, 1 or more. 3: RFC 4861 section 10
    /// (MAX_MULTICAST_SOLICIT).
    pub multicast_solicits: u8,
    /// Solicitations to the known address before a neighbour counts as failed, 1 or more. 3: RFC 4861 section 10
    /// (MAX_UNICAST_SOLICIT); RFC 1122 section 2.3.2.1 (2) polls the same way for ARP.
    pub unicast_solicits: u8,
    /// How long an answer is believed, at least `retransmit`. 30 s: RFC 4861 section 10 (REACHABLE_TIME).
    pub reachable: u32,
    /// How long an entry that nobody asked for is kept. 60 s: RFC 1122 section 2.3.2.1 ("on the order of a minute").
    pub stale: u32,
    /// How long a neighbour that did not answer is not asked again. 3 s, as long as it takes to find out.
    pub failed: u32,
}

impl Timers {
    /// The longest time of a state: a day, far below half the range of the wrapping clock.
    pub const MAX: u32 = 24 * 3600 * 1000;
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            retransmit: 1000,
            multicast_solicits: 3,
            unicast_solicits: 3,
            reachable: 30_000,
            stale: 60_000,
            failed: 3000,
        }
    }
}

/// What to do with a packet for a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Want {
    /// Forward it by this adjacency.
    Known(AdjacencyId),
    /// Hold it until this id is resolved or lost. The table has counted it.
    Hold {
        /// The neighbour that it waits for.
        id: AdjacencyId,
    },
    /// Drop it: too many packets wait already, for this neighbour or in all.
    QueueFull,
    /// Drop it: the neighbour did not answer lately.
    Unreachable,
    /// Drop it: there is no room for another neighbour.
    TableFull,
}

/// By what message a neighbour was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An ARP reply or a neighbour advertisement.
    Reply {
        /// It answers a solicitation of ours: an ARP reply sent to our own link-layer address, or the S flag (RFC 4861
        /// section 4.4).
        solicited: bool,
        /// It may replace another link-layer address: always so for ARP (RFC 826), or the O flag.
        overrides: bool,
    },
    /// An ARP request, gratuitous ones included, or a neighbour solicitation.
    Request {
        /// It asks for one of our addresses.
        for_us: bool,
    },
}

/// What the owner has to do. One event makes at most one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send an ARP request or a neighbour solicitation.
    Solicit {
        /// The interface to send it from.
        interface: u16,
        /// The address that is asked for.
        addr: IpAddr,
        /// To this link-layer address alone; `None`: to all, that is broadcast or the solicited-node multicast group.
        to: Option<MacAddr>,
    },
    /// Make the adjacency usable and send what is held for it.
    Resolved {
        /// The adjacency.
        id: AdjacencyId,
        /// Its interface.
        interface: u16,
        /// The address of the neighbour.
        addr: IpAddr,
        /// The link-layer address of the neighbour.
        mac: MacAddr,
    },
    /// Write another link-layer address into the usable adjacency.
    Changed {
        /// The adjacency.
        id: AdjacencyId,
        /// The new address.
        mac: MacAddr,
    },
    /// Make the adjacency unusable and drop what is held for it. The neighbour keeps its id and may come back.
    Lost {
        /// The adjacency.
        id: AdjacencyId,
    },
    /// The neighbour is forgotten: make the adjacency unusable if it ever was usable, see to it that nobody refers to it any more, then
    /// call [`Neighbors::release`]. Nothing is held for it.
    Removed {
        /// The adjacency.
        id: AdjacencyId,
    },
}

/// A line of the table, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its adjacency.
    pub id: AdjacencyId,
    /// The interface that it is on.
    pub interface: u16,
    /// Its address.
    pub addr: IpAddr,
    /// Its link-layer address, where it is known.
    pub mac: Option<MacAddr>,
    /// What is known of it.
    pub state: State,
    /// Milliseconds since it was last confirmed (reachable), asked (incomplete, probe), learnt (stale) or given up
    /// (failed); `None` for a permanent entry.
    pub age: Option<u32>,
    /// It is kept resolved, as a gateway is.
    pub monitored: bool,
}

/// Why a table or a permanent entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeighborsError {
    /// Ids are 16 bits wide and one is no neighbour's.
    #[error("a table of {0} neighbours is not possible: give a capacity from 1 to 65535")]
    Capacity(usize),
    /// A time of zero would solicit without end, a very long one would outlast the wrapping clock.
    #[error("the {name} time of neighbours is {given} ms: give 1 to {max}", max = Timers::MAX)]
    Time {
        /// Which of the [`Timers`].
        name: &'static str,
        /// Its value in milliseconds.
        given: u32,
    },
    /// A neighbour that is never asked never answers.
    #[error("the number of solicitations of a neighbour is zero: give 1 or more")]
    NoSolicits,
    /// Every answer would be out of date before the next question is allowed.
    #[error(
        "the reachable time of neighbours is shorter than their retransmit time: make it at least as long"
    )]
    ReachableTooShort,
    /// There is no room.
    #[error(
        "no room for the static neighbour {addr} on interface {interface}: raise the capacity of the table"
    )]
    Full {
        /// The interface of the refused entry.
        interface: u16,
        /// The address of the refused entry.
        addr: IpAddr,
    },
    /// It is there already.
    #[error("the static neighbour {addr} on interface {interface} is given twice: remove one of them")]
    Duplicate {
        /// The interface of both.
        interface: u16,
        /// The address of both.
        addr: IpAddr,
    },
}
