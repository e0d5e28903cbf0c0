//! What the operator decides about translation, in the terms of RFC 4787 and RFC 6888.

use super::pcp::PcpOptions;
use super::session::Timeouts;
use crate::flow::Realm;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// What a behaviour depends on, of whom an inside endpoint talks to: the three classes of RFC 4787, for mapping (section
/// 4.1) as for filtering (section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependence {
    /// Mapping: one public endpoint for all destinations (REQ-1). Filtering: whoever knows it may send to it (REQ-8).
    #[default]
    Endpoint,
    /// Mapping: one for each destination address. Filtering: any port of an address that was sent to.
    Address,
    /// Mapping: one for each destination endpoint. Filtering: an endpoint that was sent to.
    AddressAndPort,
}

/// Which of a subscriber's free ports a mapping gets (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortSelection {
    /// Any (RFC 6056, RFC 7857 section 9).
    #[default]
    Random,
    /// The inside port's number where it is free, else any.
    Preserve,
    /// For UDP one of the inside port's parity (RFC 4787 REQ-4) as long as there is one, else any.
    PreserveParity,
}

/// How subscribers share public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Blocks of ports are leased on demand: `first` ports at first, then `block` ports at a time, at most
    /// `per_subscriber` blocks. Where the two sizes differ each address keeps first blocks for as many subscribers as may
    /// have one more block each: growth takes nobody's first block.
    Blocks { first: u32, block: u32, per_subscriber: u16 },
    /// Each subscriber has its block by a formula, for ever (RFC 7422); the pool's `subscribers` say who they are.
    Deterministic,
    /// A subscriber holds a whole address, with every port and every protocol.
    WholeAddress,
}

/// One pool of public addresses.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The operator's name for it.
    pub name: String,
    /// Inclusive, disjoint from each other and from those of other pools.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// The realms whose subscribers it serves.
    pub realms: Vec<Realm>,
    /// The subscribers that it serves; empty for all.
    pub subscribers: Vec<Ipv4Net>,
    pub mapping: Dependence,
    pub filtering: Dependence,
    pub selection: PortSelection,
    pub sharing: Sharing,
    /// Public ports and ICMP identifiers. Of no meaning to whole addresses.
    pub ports: RangeInclusive<u16>,
    /// Milliseconds for which a port, and a block, rests before it is used again (RFC 6888 REQ-8).
    pub cool_down: u32,
}

impl PoolOptions {
    /// A pool with what is asked for by default: independent of the endpoint, random ports from 1024 on, blocks of 64, of which
    /// a subscriber may have 8, two minutes of rest.
    pub fn new(name: &str, ranges: Vec<(Ipv4Addr, Ipv4Addr)>, realms: Vec<Realm>) -> Self {
        Self {
            name: name.into(),
            ranges,
            realms,
            subscribers: vec![],
            mapping: Dependence::Endpoint,
            filtering: Dependence::Endpoint,
            selection: PortSelection::Random,
            sharing: Sharing::Blocks { first: 64, block: 64, per_subscriber: 8 },
            ports: 1024..=u16::MAX,
            cool_down: 120_000,
        }
    }
}

/// Destinations towards which nobody is translated (RFC 6888 REQ-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslated {
    pub prefix: Ipv4Net,
    /// That port alone, of TCP and UDP.
    pub port: Option<u16>,
}

/// What holds for all pools.
#[derive(Clone, Debug)]
pub struct NatOptions {
    /// Realms whose subscribers are translated.
    pub inside: Vec<Realm>,
    /// The realm of the public addresses.
    pub outside: Realm,
    /// Towards these, packets keep their source. The sessions are followed all the same; what is behind must know the way back.
    pub untranslated: Vec<Untranslated>,
    /// Whether subscribers reach one another by their public addresses.
    pub hairpin: bool,
    /// Sessions opened from outside that one mapping may have at a time.
    pub inbound_sessions_per_mapping: u16,
    /// Sessions that one subscriber may have at a time; those from outside may be half of them.
    pub sessions_per_subscriber: u32,
    /// Sessions that one subscriber may open a second, and at once; 0 for no limit.
    pub new_sessions_per_second: u32,
    pub timeouts: Timeouts,
    /// Where subscribers may ask for mappings themselves (RFC 6888 REQ-9).
    pub pcp: Option<PcpOptions>,
    /// Mappings and subscribers of all homes together.
    pub mappings: usize,
    pub subscribers: usize,
}
