//! The Private Realm Gateway: a DNS question for a private host reserves a public address out of the circular pool, and the
//! first packet to that address, whose sender nobody could know before, becomes that host's.
//!
//! Sans-IO: the DNS side brings a [`Question`] and carries out the [`Decision`]; whoever gets first packets brings a
//! [`FirstPacket`] and carries out the [`Verdict`]; both bring `now` in milliseconds that never go back. Addresses are numbers
//! within the pool, hosts are numbers of the register.
//!
//! What it guarantees:
//! - One waiting reservation at most could claim a given packet ([`pool`]); established connections don't count.
//! - Whoever cannot show that it gets its answers fills a third of the pool at most, and nobody is blamed for what it did.
//! - Reserving, claiming and expiring cost the same at any pool size; everything is preallocated and bounded.
//! - Every question and every first packet ends in exactly one [`Counter`].
//!
//! What it never does: see a DNS message or, but for [`parse`], a packet; read a clock; allocate after start.
//!
//! | file | what it is |
//! |---|---|
//! | [`service`] | what a reservation is for, and which conflict |
//! | [`pool`] | the circular pool: waiting and overdue reservations |
//! | [`tree`], [`lanes`], [`rings`] | how it finds a place in constant time, and knows what is over |
//! | [`gateway`] | who may reserve and claim what: tiers of load, proofs, limits, blame |
//! | [`book`] | what is remembered of those outside; credit and blame |
//! | [`options`] | what the operator decides |
//! | [`reputation`] | what became of somebody's reservations |
//! | [`delay`] | how long a first packet takes, and so how long to wait for it |
//! | [`rate`] | how many reservations a second a host may have |
//! | [`table`] | bounded memory of many, which spoofed sources cannot empty |
//! | [`counts`], [`sessions`] | how many wait, of each; how many sessions there are |
//! | [`counters`] | how everything ended |
//! | [`circular`] | what the DNS side sees of all this |
//! | [`desk`] | between the gateway and the workers: first packets, commands, sessions |
//! | [`claims`], [`parse`] | claims that are remembered; a first packet's bytes |
//! | [`shown`] | what an operator sees of it |

pub mod book;
pub mod circular;
pub mod claims;
pub mod counters;
pub mod counts;
pub mod delay;
pub mod desk;
pub mod gateway;
pub mod lanes;
pub mod options;
pub mod parse;
pub mod pool;
pub mod rate;
pub mod reputation;
pub mod rings;
pub mod service;
pub mod sessions;
pub mod shown;
pub mod table;
pub mod tree;

pub use circular::CircularPool;
pub use counters::{Counter, Counters};
pub use gateway::Gateway;
pub use options::{Options, Tier};
pub use service::Service;
pub use table::Secret;

#[cfg(test)]
mod attack_tests;

use ipnet::IpNet;
use std::net::IpAddr;

/// What an asker has shown about itself, or has to. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    Nothing,
    /// It gets what is sent to its address: the question came by TCP, or with a valid server cookie (RFC 7873). Who sent a
    /// client cookie is told BADCOOKIE with ours; anybody else gets TC=1.
    ReturnPath,
    /// It asked for the random label that a CNAME sent it to: it resolves names, and gets answers.
    Label,
    /// That question came by TCP.
    LabelByTcp,
}

/// How a question came, which decides how it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Udp,
    Tcp,
    /// The second try, as [`Decision::TryAgain`] said.
    TcpAgain,
}

/// A question for a host's address, once its name is known to be somebody's.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub host: u32,
    pub limits: HostLimits,
    /// [`Service::ALL`] for a plain FQDN.
    pub service: Service,
    /// Who asks. Resolvers that ask as a group have the name of one of them: a label that one of them was sent to, and another
    /// one asks for, says who belongs together.
    pub resolver: IpAddr,
    /// The inside realm that it is in; `None` outside.
    pub realm: Option<u16>,
    /// Whose question the resolver says it is (RFC 7871).
    pub subnet: Option<IpNet>,
    /// The operator trusts this resolver's word on subnets: then those are blamed, and not the resolver, and who claims is judged
    /// by its subnet alone.
    pub subnet_is_trusted: bool,
    pub proof: Proof,
    pub carrier: Carrier,
}

/// What of a host's limits is its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// Reservations that may wait for it. `None`: [`Options::per_host`].
    pub waiting: Option<u16>,
    /// Reservations a second, 1 to 1,000,000. `None`: [`Options::per_host_per_second`].
    pub per_second: Option<u32>,
}

/// What the DNS side does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answers with that address of the pool, TTL 0. It waits for so many milliseconds.
    Reserved { address: u32, timeout: u32 },
    /// Asks for that proof; nothing is kept.
    Demand(Proof),
    /// Answers nothing: a resolver asks again.
    Silence,
    /// Brings the question again after so many milliseconds, as [`Carrier::TcpAgain`].
    TryAgain { after: u32 },
    /// Answers NOERROR without records.
    Empty,
}

/// A packet to an address of the pool that belongs to no session.
#[derive(Clone, Copy, Debug)]
pub struct FirstPacket {
    pub address: u32,
    /// Destination port; 0 for a protocol that has none.
    pub port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    pub source: IpAddr,
    /// Source port; 0 for a protocol that has none.
    pub source_port: u16,
    /// TCP's SYN alone, of the flags that open and close.
    pub pure_syn: bool,
}

/// What whoever brought a first packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Makes a session with that host: `waited` milliseconds after the answer.
    Claimed {
        host: u32,
        service: Service,
        waited: u32,
    },
    Rejected {
        why: Counter,
        answer: Answer,
    },
}

/// How a first packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// TCP.
    Reset,
    /// UDP: ICMP type 3 code 3 (RFC 792).
    PortUnreachable,
    /// Everything else: ICMP type 3 code 13, communication administratively prohibited (RFC 1812 section 5.2.7.1).
    Prohibited,
}

impl Answer {
    /// To a packet of that IANA protocol number.
    pub const fn to(protocol: u8) -> Self {
        match protocol {
            TCP => Self::Reset,
            17 => Self::PortUnreachable,
            _ => Self::Prohibited,
        }
    }
}

const TCP: u8 = 6;
