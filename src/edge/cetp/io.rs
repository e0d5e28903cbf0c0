//! What goes into the protocol and what comes out of it.

use super::message::{Backoff, Carriers, Evidence, Filtering, Fqdn, Id, Reason, Rloc, Service, Tag, Value};
use super::terms::{HostKey, Side};

/// The time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub ms: u64,
    /// Milliseconds since 1970-01-01 UTC, for certificates and what is told of clocks; it may jump.
    pub unix: u64,
}

impl Now {
    /// Seconds of the clock that never goes back, for cookies.
    pub const fn seconds(self) -> u32 {
        (self.ms / 1000) as u32
    }
}

/// Two hosts as one side sees them: what is coalesced, reused and told of by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// The host behind this edge.
    pub host: HostKey,
    /// The other one: the hash of its name where its ID is a name or the hash of one, else a hash of the ID.
    pub peer: [u8; 16],
}

/// An edge with which there is, or may be, an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u32);

/// What crosses between two hosts from now on.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    pub pair: Pair,
    /// Of this edge in the negotiation that made it.
    pub side: Side,
    /// SST of what this edge sends, DST of what it receives; the record's number is in it.
    pub local: Tag,
    /// DST of what this edge sends.
    pub remote: Tag,
    /// Where the other edge is.
    pub rloc: Rloc,
    /// On which carriers it takes packets.
    pub carriers: Carriers,
    /// Longest packet that may go into the tunnel.
    pub mtu: u16,
    /// The other host.
    pub peer: Id<'a>,
    pub peer_name: Option<Fqdn<'a>>,
    /// The other edge, if an association has proved it.
    pub edge: Option<Fqdn<'a>>,
    /// What was negotiated, as if this edge had asked: `ToInbound` is towards the other host.
    pub services: &'a [Service],
    /// Seconds without a packet after which it goes.
    pub timeout: u32,
}

/// What the protocol wants of the rest of the edge.
#[derive(Debug)]
pub enum Output<'a> {
    /// These bytes are to be sent as a message.
    Send { to: Rloc, message: &'a [u8] },
    /// A session is there, or has changed: packets may cross by it.
    Established(Session<'a>),
    /// Nothing comes of a question; `by_peer` says who refused.
    Refused { pair: Pair, backoff: Backoff, by_peer: bool },
    /// A question of another edge is refused, by whatever it says of itself. `is_proved`: it comes from where it says it does.
    /// `is_flood`: there are more of that edge than were granted.
    Declined {
        peer: Id<'a>,
        name: Option<Fqdn<'a>>,
        edge: Option<Fqdn<'a>>,
        host: Id<'a>,
        rloc: Rloc,
        backoff: Backoff,
        is_proved: bool,
        is_flood: bool,
    },
    /// A session is gone: its tag finds nothing any more.
    Ended { pair: Pair, local: Tag, reason: Reason },
    /// Does the DNS say that the name is behind that RLOC, and behind that edge where one is proved?
    /// [`Cetp::checked`](super::negotiation::Cetp::checked) takes the answer.
    Check { local: Tag, name: Fqdn<'a>, edge: Option<Fqdn<'a>>, rloc: Rloc },
    /// What was asked for within a session. `None`: the other side doesn't tell.
    Told { local: Tag, value: Option<&'a Value<'a>> },
    /// The other side says that hosts behind this edge misbehave; `local` is the session, unless the report names others.
    Evidence { edge: Option<Fqdn<'a>>, local: Option<Tag>, evidence: &'a Evidence },
    /// The other side asks to keep something away from it.
    Filtering { edge: Option<Fqdn<'a>>, local: Option<Tag>, filtering: &'a Filtering<'a> },
    /// There is an association with that edge; `clock` is by how many milliseconds the other's clock is ahead.
    Associated { peer: PeerId, edge: Fqdn<'a>, rloc: Rloc, clock: i64 },
    /// There is none any more, or none could be had.
    Parted { peer: PeerId, edge: Fqdn<'a>, reason: Reason },
}

/// Takes what comes out.
pub type Out<'o> = dyn FnMut(Output<'_>) + 'o;
