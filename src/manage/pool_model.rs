//! What the operator's socket shows of the pools: a part of [`super::model`], with its promises.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// `show pools`: a pool of public addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// The pool's name in the config.
    pub name: String,
    pub state: PoolState,
    /// The realms of those whom it serves, by name.
    pub realms: Vec<String>,
    /// Whom it serves there; empty for all.
    pub subscribers: Vec<Ipv4Net>,
    pub addresses: Vec<AddressRange>,
    pub mapping: Dependence,
    pub filtering: Dependence,
    pub port_selection: PortSelection,
    pub sharing: Sharing,
    pub ports: PortRange,
    /// Port blocks of all addresses; a whole address is one.
    pub blocks: u64,
    /// Of them, those that subscribers have.
    pub blocks_leased: u64,
    /// Of them, those that their subscribers have left, and nobody else may have yet (RFC 6888 REQ-8).
    pub blocks_resting: u64,
    pub in_use: InUse,
}

/// Public ports in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    pub tcp: u64,
    pub udp: u64,
    /// Identifiers of ICMP queries.
    pub icmp: u64,
    /// Mappings of protocols without ports.
    pub other: u64,
}

/// What a pool may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolState {
    Active,
    /// No new mappings; those that are there live on.
    Draining,
    /// Nothing, until a restart.
    Removed,
}

/// What a pool's mapping, or its filter, depends on: the classes of RFC 4787 sections 4.1 and 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

/// Which of a subscriber's free ports a mapping gets (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortSelection {
    Random,
    Preserve,
    PreserveParity,
}

/// How subscribers share a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Blocks of so many ports as they are needed.
    Blocks { first_block_size: u32, block_size: u32, blocks_per_subscriber: u16 },
    /// A block each by a formula (RFC 7422): so many subscribers to an address, so many ports each.
    Deterministic { ratio: u32, ports_each: u32 },
    /// An address each.
    WholeAddress,
}

/// Addresses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRange {
    pub first: Ipv4Addr,
    pub last: Ipv4Addr,
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// `pool drain`, `undrain` and `remove`: what was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolChanged {
    /// False where it was so already.
    pub changed: bool,
    /// The pool as it is now.
    pub pool: PoolStatus,
}

/// `nat44 inside` and `nat44 public`: what the formula of a deterministic pool says (RFC 7422 section 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Determined {
    /// The pool, by name.
    pub pool: String,
    pub state: PoolState,
    /// The realm of the subscriber, by name.
    pub realm: String,
    pub inside: Ipv4Addr,
    pub public: Ipv4Addr,
    /// The ports that are the subscriber's.
    pub ports: PortRange,
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolState::Active => "active",
            PoolState::Draining => "draining",
            PoolState::Removed => "removed",
        })
    }
}

impl fmt::Display for Dependence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dependence::EndpointIndependent => "endpoint-independent",
            Dependence::AddressDependent => "address-dependent",
            Dependence::AddressAndPortDependent => "address-and-port-dependent",
        })
    }
}

impl fmt::Display for PortSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PortSelection::Random => "random",
            PortSelection::Preserve => "preserve",
            PortSelection::PreserveParity => "preserve-parity",
        })
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Sharing::Blocks { first_block_size: first, block_size: block, blocks_per_subscriber: most } => {
                if first != block {
                    write!(f, "a first block of {first}, then ")?;
                }
                write!(f, "blocks of {block}, {most} a subscriber")
            }
            Sharing::Deterministic { ratio, ports_each } => {
                write!(f, "deterministic, {ratio} to an address, {ports_each} ports each")
            }
            Sharing::WholeAddress => f.write_str("an address each"),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}
