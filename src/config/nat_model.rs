//! What `[nat44]` says, validated.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// `[nat44]`: translation of IPv4 addresses and ports (RFC 3022, with the behaviour of RFC 4787, 5382, 5508 and 6888).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat44 {
    /// [`Realm::id`](super::Realm::id)s whose hosts are translated: one or more, each once, each of
    /// [`Side::Inside`](super::Side::Inside). Required.
    pub inside: Vec<u16>,
    /// [`Realm::id`](super::Realm::id) that they are translated into, of [`Side::Outside`](super::Side::Outside). Required.
    pub outside: u16,
    /// Pools of public addresses, 1 to [`Nat44::POOLS_MAX`]: `[[nat44.pools]]`, or the one that `pool` says, named "pool". The
    /// first that serves a host and has room takes it.
    pub pools: Vec<NatPool>,
    /// Inside hosts with a mapping at once: 1 to the smaller of sessions and what the pools have room for. Default: that number.
    pub subscribers: u32,
    /// Mappings: 1,024 to 67,108,864. Default [`Flow::sessions`](super::Flow::sessions).
    pub mappings: u32,
    /// Destinations towards which hosts keep their addresses (RFC 6888 REQ-6): 0 to [`Nat44::UNTRANSLATED_MAX`]. Default: none.
    pub untranslated: Vec<Untranslated>,
    /// Whether inside hosts reach each other's public addresses (RFC 4787 section 6, REQ-9). Default true.
    pub hairpin: bool,
    /// Sessions that outside hosts may open through one mapping: 1 to 65,535. Default 64.
    pub inbound_sessions_per_mapping: u16,
    /// Sessions of one inside host at once (RFC 6888 REQ-4): 1 to 67,108,864. Default
    /// [`Flow::sessions`](super::Flow::sessions).
    pub sessions_per_subscriber: u32,
    /// Sessions that one inside host may open a second: 1 to 1,000,000. Default `None`: no limit.
    pub new_sessions_per_second: Option<u32>,
    /// Seconds for which a port rests before it is used again: 0 to 86,400. Default 120 (RFC 6888 REQ-8).
    pub port_cool_down: u32,
    /// Life times without traffic.
    pub timeouts: Timeouts,
    /// `[nat44.pcp]`: hosts may ask for mappings themselves (RFC 6888 REQ-9). Default `None`: nobody may.
    pub pcp: Option<Pcp>,
    /// Makes ports and hashes predictable, for tests and benches only: 0 to 2^63 - 1. Default `None`: unpredictable
    /// (RFC 6056).
    pub random_seed: Option<u64>,
}

impl Nat44 {
    /// Entries of `untranslated` that there may be.
    pub const UNTRANSLATED_MAX: usize = 64;
    /// Pools that there may be.
    pub const POOLS_MAX: usize = 256;

    /// Public addresses in all pools: 1 to 65,536.
    pub fn addresses(&self) -> u32 {
        self.pools.iter().map(NatPool::count).sum()
    }
}

/// One of `nat44.untranslated`: `"192.0.2.0/24"`, or `"192.0.2.0/24 port 443"`, or `"port 25"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslated {
    /// 0.0.0.0/0 where only a port is written.
    pub prefix: Ipv4Net,
    /// Of TCP and UDP: 1 to 65,535.
    pub port: Option<u16>,
}

/// `[[nat44.pools]]`: public addresses, and how hosts share them. What a pool does not say, `[nat44]` says for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatPool {
    /// 1 to 32 of a to z, 0 to 9 and `-`; unique. Required.
    pub name: String,
    /// Public addresses: 1 to 65,536 in all pools, in disjoint ranges, none an address of the edge, of a gateway, of a static
    /// neighbour or in an inside realm's connected prefix. Required.
    pub addresses: Vec<PoolRange>,
    /// [`Realm::id`](super::Realm::id)s whose hosts it serves. Default: all of [`Nat44::inside`].
    pub realms: Vec<u16>,
    /// Prefixes of the hosts that it serves. Default: empty, for all. Required where deterministic.
    pub subscribers: Vec<Ipv4Net>,
    /// How it treats them.
    pub behaviour: PoolBehaviour,
    /// How they share it.
    pub sharing: Sharing,
}

impl NatPool {
    /// Public addresses: 1 to 65,536.
    pub fn count(&self) -> u32 {
        self.addresses.iter().map(|range| range.count() as u32).sum()
    }

    /// Hosts that can have a mapping at once.
    pub fn room(&self) -> u32 {
        let b = &self.behaviour;
        let each = match self.sharing {
            Sharing::WholeAddress => 1,
            Sharing::Deterministic => return self.determined_subscribers() as u32,
            Sharing::Blocks => b.ports.count() / b.newcomers_share(),
        };
        self.count().saturating_mul(each)
    }

    /// Hosts that the prefixes of a deterministic pool name, in all of its realms.
    pub fn determined_subscribers(&self) -> u64 {
        let each: u64 = self.subscribers.iter().map(|prefix| 1 << (32 - prefix.prefix_len())).sum();
        each * self.realms.len() as u64
    }
}

/// How a pool translates: keys of `[nat44]` and of `[[nat44.pools]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolBehaviour {
    /// RFC 4787 section 4.1. Default [`Dependence::EndpointIndependent`] (REQ-1).
    pub mapping: Dependence,
    /// RFC 4787 section 5. Default [`Dependence::EndpointIndependent`] (REQ-8).
    pub filtering: Dependence,
    /// Default [`PortSelection::Random`].
    pub port_selection: PortSelection,
    /// Public ports and ICMP identifiers, in whole blocks. Default 1024–65535.
    pub ports: PortRange,
    /// Ports of a block, the unit that hosts lease: a power of two, 64 to 4,096. Default 64.
    pub block_size: u16,
    /// Ports of a host's first block: a power of two, 64 to [`Self::block_size`], which is the default. Where it is smaller,
    /// each address keeps first blocks for as many hosts as may have one more block each.
    pub first_block_size: u16,
    /// Blocks that a host may have at once: 1 to 1,024, and no more than one public address has. Default 8, or what one
    /// address has.
    pub blocks_per_subscriber: u16,
}

impl PoolBehaviour {
    /// Ports of an address that each newcomer has a claim on.
    fn newcomers_share(&self) -> u32 {
        let (first, block) = (u32::from(self.first_block_size), u32::from(self.block_size));
        if first == block { block } else { first + block }
    }

    /// Blocks of both sizes of one public address: 1 to 1,023.
    pub fn blocks_per_address(&self) -> u32 {
        let (first, block) = (u32::from(self.first_block_size), u32::from(self.block_size));
        if first == block {
            return self.ports.count() / block;
        }
        let firsts = self.ports.count() / (first + block);
        firsts + (self.ports.count() - firsts * first) / block
    }
}

/// What a behaviour depends on, of whom a host talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// `"endpoint-independent"`: nothing.
    EndpointIndependent,
    /// `"address-dependent"`: the other's address.
    AddressDependent,
    /// `"address-and-port-dependent"`: its address and port.
    AddressAndPortDependent,
}

/// `port_selection` (RFC 4787 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSelection {
    /// `"random"`: any free port (RFC 6056).
    Random,
    /// `"preserve"`: the host's port number where it is free.
    Preserve,
    /// `"preserve-parity"`: of UDP an even port for an even one, an odd one for an odd one.
    PreserveParity,
}

/// How hosts share the addresses of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Blocks of ports, as they are needed.
    Blocks,
    /// `deterministic = true`: a block each, by a formula (RFC 7422).
    Deterministic,
    /// `whole_address = true`: an address each, with every port and protocol.
    WholeAddress,
}

/// Public IPv4 addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRange {
    /// Lowest address.
    pub first: Ipv4Addr,
    /// Highest address, not below `first`.
    pub last: Ipv4Addr,
}

impl PoolRange {
    /// How many addresses: 1 or more.
    pub fn count(&self) -> u64 {
        u64::from(u32::from(self.last)) - u64::from(u32::from(self.first)) + 1
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl fmt::Display for PoolRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Ports from `first` to `last`, both included; `first` and `last + 1` are multiples of the block size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port: 1 or more.
    pub first: u16,
    /// Highest port, not below `first`.
    pub last: u16,
}

impl PortRange {
    /// How many ports: 1 or more.
    pub fn count(&self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

/// `[nat44.timeouts]`: seconds without traffic after which a session ends, each 1 to 86,400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP, and protocols without ports. Default 300; under 120 is warned about (RFC 4787 section 4.3, REQ-5).
    pub udp: u32,
    /// UDP by destination port, 1 to 65,535, ascending: at most 64. Default none; under 120 from port 1,024 on is warned
    /// about (RFC 4787 section 4.3, REQ-5 a).
    pub udp_ports: Vec<(u16, u32)>,
    /// Whether inbound datagrams keep a UDP session alive, too (RFC 4787 section 4.3, REQ-6 a). Default false.
    pub udp_inbound_refresh: bool,
    /// Established TCP connections. Default 7,440; less is warned about (RFC 5382 section 5, REQ-5).
    pub tcp_established: u32,
    /// TCP connections that close, or were reset. Default 240; less is warned about (RFC 5382 section 5, REQ-5).
    pub tcp_transitory: u32,
    /// TCP connections that open. Default [`Timeouts::tcp_transitory`]; it may be less (RFC 7857 section 2.1).
    pub tcp_opening: u32,
    /// ICMP queries. Default 60; less is warned about (RFC 5508 section 3.2, REQ-2).
    pub icmp: u32,
}

/// `[nat44.pcp]`: PCP (RFC 6887) and NAT-PMP (RFC 6886), served at port 5351 of the edge's addresses in the inside realms. Off where it
/// says `enabled = false`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcp {
    /// Seconds that a mapping lives at the least: 1 to 86,400. Default 120; less is warned about (RFC 6887 section 15).
    pub lifetime_min: u32,
    /// And at the most: [`Pcp::lifetime_min`] to 864,000. Default 86,400.
    pub lifetime_max: u32,
    /// Mappings that hosts may have asked for at a time: 1 to [`Nat44::mappings`]. Default 65,536, or that.
    pub mappings: u32,
    /// And of them each host: 1 to 65,535. Default 32.
    pub mappings_per_subscriber: u16,
    /// Requests that are answered a second, those of one host a tenth at the most: 1 to 1,000,000. Default 1,000.
    pub requests_per_second: u32,
}
