//! The validated configuration of what a packet meets beside routes and translation: tags, sizes, source checks,
//! stateful IPv6 and the exception path. Part of the [`model`](super::model).
//!
//! Guarantees: as there, every name is an index, every number lies in the range that its field gives.
//! Never: changed after it is made.

use std::fmt;

/// `interface.vlan`: the tags that an interface's frames carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vlan {
    /// No key: frames without a tag.
    Untagged,
    /// `100`: one C-tag (IEEE 802.1Q, EtherType 0x8100); 1 to 4,094.
    Single(u16),
    /// `[200, 100]`: an S-tag (IEEE 802.1ad, EtherType 0x88a8), then a C-tag.
    Double {
        /// The S-tag's identifier: 1 to 4,094.
        outer: u16,
        /// The C-tag's identifier: 1 to 4,094.
        inner: u16,
    },
}

impl fmt::Display for Vlan {
    /// As it is written in the file; `untagged` where nothing is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Vlan::Untagged => f.write_str("untagged"),
            Vlan::Single(id) => id.fmt(f),
            Vlan::Double { outer, inner } => write!(f, "[{outer}, {inner}]"),
        }
    }
}

/// `interface.tcp_mss`: the maximum segment size (RFC 9293 section 3.7.1) that TCP connections through an interface
/// may announce; a higher one is lowered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMss {
    /// `"auto"`: what fits the smaller MTU of the two interfaces that a connection crosses.
    Auto,
    /// `"off"`: never changed.
    Off,
    /// The highest: 88 to the interface's MTU less 40.
    AtMost(u16),
}

/// `realm.source_check`: whether a packet's source may be where it comes from (BCP 38, BCP 84).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceCheck {
    /// `"strict"`: the route back leads out of the very interface that the packet came in by.
    Strict,
    /// `"loose"`: there is a route back that is neither the default route nor a blackhole.
    Loose,
    /// `"off"`: unchecked.
    Off,
}

/// `[exception]`: packets to the edge's own addresses that no worker answers go to the kernel, in a network namespace
/// of the instance's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// A namespace under `/run/netns`: 1 to 64 of `a-z`, `0-9`, `-` and `_`, not beginning with `-`. Required.
    pub netns: String,
    /// Indices in [`Config::interfaces`](super::Config::interfaces), one or more, each once, each with an address and
    /// a name of at most 15 bytes that is not `lo`. Default: every interface with an address.
    pub interfaces: Vec<u16>,
}

/// `[ipv6]`: IPv6 is forwarded between these realms, statefully (RFC 6092), without translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// [`Realm::id`](super::Realm::id)s whose hosts open sessions: one or more, each once, each of
    /// [`Side::Inside`](super::Side::Inside). No two of the section's realms have overlapping IPv6 prefixes. Required.
    pub inside: Vec<u16>,
    /// [`Realm::id`](super::Realm::id) that they open them to, of [`Side::Outside`](super::Side::Outside). Required.
    pub outside: u16,
    /// Bidirectional sessions, beside those of [`Flow::sessions`](super::Flow::sessions): 1,024 for each worker to
    /// 67,108,864 in all. Default: a quarter of those, and at least 1,024 for each worker.
    pub sessions: u32,
    /// Whether ESP, AH and IKE reach inside hosts without a session (RFC 6092 REC-21 to REC-24). Default true.
    pub allow_ipsec: bool,
    /// Life times without traffic.
    pub timeouts: Timeouts6,
}

/// `[ipv6.timeouts]`: seconds without traffic after which a session ends, each 1 to 86,400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts6 {
    /// UDP. Default 300; under 120 is warned about (RFC 6092 REC-14).
    pub udp: u32,
    /// Established TCP connections. Default 7,440; less is warned about (RFC 6092 REC-35).
    pub tcp_established: u32,
    /// TCP connections that open or close. Default 240; less is warned about (RFC 6092 REC-35).
    pub tcp_transitory: u32,
    /// ICMPv6 echo. Default 60; less is warned about (as for IPv4: RFC 5508 REQ-2).
    pub icmp: u32,
    /// Every other protocol. Default 300.
    pub other: u32,
}

/// `[limits]`: what the edge answers and holds at most. What is counted a second is counted for the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// ICMP errors sent a second (RFC 1812 section 4.3.2.8): 0 (none at all) to 1,000,000. Default 1,000.
    pub icmp_errors_per_second: u32,
    /// Echo requests to the edge's own addresses answered a second: 0 (none at all) to 1,000,000. Default 10,000.
    pub echo_per_second: u32,
    /// ARP requests and neighbour solicitations sent a second: 1 to 1,000,000. Default 1,000.
    pub arp_per_second: u32,
    /// ARP and neighbour discovery messages heard a second, at most half of them on one interface: 1 to 1,000,000. Default
    /// 20,000.
    pub neighbor_messages_per_second: u32,
    /// Packets to the kernel a second, by class: 0 (none at all) to 1,000,000. Default 20,000.
    pub exception_per_second: u32,
    /// Packets to the kernel a second from one source: 1 to 1,000,000. Default 2,000.
    pub exception_per_source_per_second: u32,
    /// Datagrams to the edge's DNS a second: 0 (none at all) to 1,000,000. Default 200,000.
    pub dns_per_second: u32,
    /// Datagrams to the edge's DNS a second from one source: 1 to 1,000,000. Default 5,000.
    pub dns_per_source_per_second: u32,
    /// Packets forwarded a second for one subscriber: 100 to 100,000,000. Default `None`: any number.
    pub subscriber_packets_per_second: Option<u32>,
    /// Packets held for one neighbour while it is resolved: 1 to 64. Default 8.
    pub neighbor_hold: u16,
    /// Packets held for all neighbours: [`Limits::neighbor_hold`] to 65,535. Default 1,024.
    pub neighbor_hold_total: u16,
    /// `fragment_…`: datagrams that cross the NAT in fragments.
    pub fragments: Fragments,
}

/// `limits.fragment_…`: numbers for the whole process, of which each worker has its share, and 256 at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// `fragment_datagrams`: datagrams that are followed at a time: 64 to 1,048,576. Default 4,096.
    pub datagrams: u32,
    /// `fragment_datagrams_per_source`: those of one source: 1 to `fragment_datagrams`. Default 64.
    pub datagrams_per_source: u32,
    /// `fragment_hold`: fragments held until the first of their datagram comes: 64 to 65,535. Default 1,024.
    pub hold: u16,
    /// `fragment_hold_per_source`: those of one source: 1 to `fragment_hold`. Default 128, of which a datagram of 64 KiB takes
    /// 44 at an MTU of 1,500.
    pub hold_per_source: u16,
    /// `fragment_timeout`: seconds to wait for the first fragment, and for the rest: 1 to 120. Default 15 (RFC 791 section
    /// 3.2).
    pub timeout: u32,
}
