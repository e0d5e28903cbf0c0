//! Why a packet is dropped. One enum for the whole house: every drop bumps exactly one of these counters.
//!
//! It lives in `packet/` because every room that judges packets may use `packet/`, and it touches nothing itself.

/// Declares the reasons once, with the name an operator sees and one line of explanation.
macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// The reason a packet was dropped, refused or lost. Its name is stable: operators alarm on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $doc])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in counter order: `ALL[i] as usize == i`.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];

            /// The counter's name, as `cesctl show counters` prints it.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)+ }
            }

            /// One line for the operator.
            pub const fn explanation(self) -> &'static str {
                match self { $(DropReason::$variant => concat!($($doc),+),)+ }
            }
        }
    };
}

drop_reasons! {
    /// The frame ends before the header it announces.
    Truncated = "truncated",
    /// No protocol of ours: neither ARP, IPv4 nor IPv6.
    EtherTypeUnknown = "ether_type_unknown",
    /// The destination MAC address is not ours, nor broadcast.
    NotForUs = "not_for_us",
    /// A VLAN, or no VLAN, that no interface of this port has (IEEE 802.1Q, 802.1ad).
    VlanUnknown = "vlan_unknown",
    /// More packets a second than this port may bring in.
    PortRate = "port_rate",
    /// An IPv4 header that contradicts itself: version, header length or total length.
    Ipv4HeaderInvalid = "ipv4_header_invalid",
    /// The IPv4 header checksum is wrong (RFC 1812 section 5.2.2).
    Ipv4ChecksumBad = "ipv4_checksum_bad",
    /// An IPv4 source that no host may have: zero, loopback, multicast, broadcast (RFC 1812 section 5.3.7).
    Ipv4SourceInvalid = "ipv4_source_invalid",
    /// An IPv4 destination that is never forwarded: loopback, multicast, broadcast, zero.
    Ipv4DestinationInvalid = "ipv4_destination_invalid",
    /// An IPv4 fragment in a realm that no NAT serves: its ports are not known.
    Ipv4Fragment = "ipv4_fragment",
    /// A fragment that contradicts itself: empty, or more is to follow and it is no multiple of eight bytes (RFC 791 section 3.2).
    Ipv4FragmentInvalid = "ipv4_fragment_invalid",
    /// A first fragment without its whole transport header, or one that would overwrite TCP's flags (RFC 1858, RFC 3128).
    Ipv4FragmentTiny = "ipv4_fragment_tiny",
    /// A fragment that ends beyond the longest packet there is, 65,535 bytes.
    Ipv4FragmentTooLong = "ipv4_fragment_too_long",
    /// A fragment that has been seen already.
    Ipv4FragmentDuplicate = "ipv4_fragment_duplicate",
    /// A fragment that overlaps others of its datagram or contradicts where it ends; and all that come after it.
    Ipv4FragmentOverlap = "ipv4_fragment_overlap",
    /// A fragment held in vain: the first one of its datagram did not come in time.
    Ipv4FragmentTimeout = "ipv4_fragment_timeout",
    /// A fragment held, or to be held, when others of the same source took all that one source may have.
    Ipv4FragmentSourceLimit = "ipv4_fragment_source_limit",
    /// A fragment held when those of other datagrams needed its place.
    Ipv4FragmentsFull = "ipv4_fragments_full",
    /// Source routing is never obeyed (RFC 7126).
    Ipv4SourceRoute = "ipv4_source_route",
    /// A source that has no route back by the interface, or the realm, that it came in by (BCP 38, BCP 84).
    SourceSpoofed = "source_spoofed",
    /// A source in a range that this realm never has (bogons).
    SourceBogon = "source_bogon",
    /// More packets a second than one subscriber may send.
    SubscriberRate = "subscriber_rate",
    /// An IPv6 packet where nothing forwards IPv6.
    Ipv6NotForwarded = "ipv6_not_forwarded",
    /// An IPv6 header that contradicts itself.
    Ipv6HeaderInvalid = "ipv6_header_invalid",
    /// An IPv6 source that no host may have: unspecified, loopback, multicast, IPv4-mapped, or link-local off its link.
    Ipv6SourceInvalid = "ipv6_source_invalid",
    /// An IPv6 destination that is never forwarded: unspecified, loopback, multicast, link-local, IPv4-mapped.
    Ipv6DestinationInvalid = "ipv6_destination_invalid",
    /// A routing header of a type that is never obeyed (RFC 5095), or an extension header out of its place.
    Ipv6ExtensionInvalid = "ipv6_extension_invalid",
    /// An IPv6 fragment: its ports are not known.
    Ipv6Fragment = "ipv6_fragment",
    /// An ICMPv6 message that is not to cross an edge (RFC 4890 section 4.3).
    Icmpv6Filtered = "icmpv6_filtered",
    /// A TCP, UDP or ICMP header that is cut short or contradicts itself.
    L4HeaderInvalid = "l4_header_invalid",
    /// TCP flags that no stack sends: none, SYN with FIN or RST, FIN without ACK.
    TcpFlagsInvalid = "tcp_flags_invalid",
    /// Time to live reached zero and the time-exceeded message went out.
    TtlExceeded = "ttl_exceeded",
    /// Time to live reached zero and the limit of ICMP errors a second was reached: no message.
    TtlExceededQuiet = "ttl_exceeded_quiet",
    /// A transport protocol that nothing here translates.
    ProtocolUnsupported = "protocol_unsupported",
    /// An ICMP message that is neither an echo nor an error that can be translated.
    IcmpUnsupported = "icmp_unsupported",
    /// An ICMP error with a wrong checksum, a quote that cannot be read, or for somebody else than it quotes.
    IcmpErrorInvalid = "icmp_error_invalid",
    /// An ICMP error that belongs to no session.
    IcmpErrorNoSession = "icmp_error_no_session",
    /// To an address of the edge itself where nothing listens.
    LocalNoListener = "local_no_listener",
    /// To the server of PCP and NAT-PMP, and no request: too short, an answer, or a wrong checksum.
    ControlInvalid = "control_invalid",
    /// To the edge's DNS, and no question: a wrong checksum, or from a port that nobody has.
    DnsInvalid = "dns_invalid",
    /// An ARP message that contradicts itself or claims an address of ours.
    ArpInvalid = "arp_invalid",
    /// A neighbour discovery message that RFC 4861 section 7.1 has discarded, or that claims an address of ours.
    NdInvalid = "nd_invalid",
    /// More packets of its kind to the edge itself than are let through a second.
    PuntRate = "punt_rate",
    /// The ring to the thread that serves the edge's own addresses, or its DNS, was full.
    PuntFull = "punt_full",
    /// From a realm that no NAT serves, to somewhere else than the edge.
    RealmNotServed = "realm_not_served",
    /// From the outside, to an address that is neither ours nor in a pool.
    NoSession = "no_session",
    /// From the outside, to a port of a pool address that nobody has mapped.
    NatNoMapping = "nat_no_mapping",
    /// From the outside, to a mapping whose filter refuses this sender.
    NatFiltered = "nat_filtered",
    /// Sessions opened from outside through one mapping reached their quota.
    NatInboundQuota = "nat_inbound_quota",
    /// A TCP segment without a session that does not start one.
    TcpNotSyn = "tcp_not_syn",
    /// A subscriber has as many sessions as it may.
    NatSessionLimit = "nat_session_limit",
    /// A subscriber opens more sessions a second than it may.
    NatSessionRate = "nat_session_rate",
    /// Towards a destination without translation, where another realm's host of the same address talks already.
    NatUntranslatedTaken = "nat_untranslated_taken",
    /// No pool serves this subscriber.
    NatNoPool = "nat_no_pool",
    /// The pools that serve this subscriber take no new mappings.
    NatPoolDraining = "nat_pool_draining",
    /// No public port is left for this subscriber.
    NatNoPort = "nat_no_port",
    /// The table of mappings is full.
    NatMappingsFull = "nat_mappings_full",
    /// The table of subscribers is full.
    NatSubscribersFull = "nat_subscribers_full",
    /// The table of sessions is full.
    SessionsFull = "sessions_full",
    /// Both buckets and the overflow of the index are full for this key.
    IndexFull = "index_full",
    /// From the outside, to an address of the circular pool where nothing waits: its sender was told, within the limits.
    PrgwNothingWaits = "prgw_nothing_waits",
    /// The first packet of nobody's connection to an address of the circular pool: its sender was told, within the limits.
    PrgwRejected = "prgw_rejected",
    /// More first packets to the circular pool, in all or of one source, than are looked at a second.
    PrgwRate = "prgw_rate",
    /// The ring to the thread that has the circular pool was full.
    PrgwFull = "prgw_full",
    /// No session was made for a first packet: what there is to tell of others has no room left.
    PrgwEventsFull = "prgw_events_full",
    /// A first packet whose connection is still another host's, at another worker, and about to end there.
    PrgwClosing = "prgw_closing",
    /// A first packet whose host talks to that very client socket already, and no other port was free.
    PrgwCollision = "prgw_collision",
    /// From inside, to a proxy address that stands for nobody: its sender was told, within the limits.
    ProxyUnassigned = "proxy_unassigned",
    /// From inside, to a remote host that the very same socket talks to by its other address: one of them is a proxy address. Or to a host
    /// behind an edge, from one port of two addresses of a host: in a tunnel they are the same.
    ProxyCollision = "proxy_collision",
    /// From another edge, and no tunnelled packet: cut short, of another version, or it contradicts itself.
    CetpInvalid = "cetp_invalid",
    /// A tunnelled packet with session tags that no session here has: the other edge may be told, within the limit.
    CetpUnknownTag = "cetp_unknown_tag",
    /// A tunnelled packet from, or to, an RLOC that its session was not negotiated for.
    CetpWrongRloc = "cetp_wrong_rloc",
    /// A tunnelled packet under a key that its session does not have.
    CetpUnknownEpoch = "cetp_unknown_epoch",
    /// A tunnelled packet of a kind that nothing here forwards: an IPv6 packet, or an Ethernet frame.
    CetpKindUnsupported = "cetp_kind_unsupported",
    /// A packet that a router on the tunnel's way has marked for congestion, and whose sender would not know (RFC 6040 section 4.2).
    CetpCongestion = "cetp_congestion",
    /// A router's message that a tunnelled packet was too big, with session tags that no session with that RLOC has.
    CetpPathMtuForged = "cetp_path_mtu_forged",
    /// A packet of two hosts, of a service that their edges have not negotiated, or opened from the wrong side.
    CetpNotNegotiated = "cetp_not_negotiated",
    /// A packet of two hosts whose session is over, or that no RLOC leads to at the moment.
    CetpNoTunnel = "cetp_no_tunnel",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The route to the destination drops silently.
    RouteBlackhole = "route_blackhole",
    /// The route to the destination says that it is unreachable.
    RouteUnreachable = "route_unreachable",
    /// The route to the destination prohibits it.
    RouteProhibited = "route_prohibited",
    /// The next hop did not answer ARP or neighbour discovery.
    NeighborUnreachable = "neighbor_unreachable",
    /// Too many packets wait for this next hop to answer.
    NeighborQueueFull = "neighbor_queue_full",
    /// The table of neighbours is full.
    NeighborsFull = "neighbors_full",
    /// The ring to another worker was full.
    HandoffFull = "handoff_full",
    /// Handed off more often than any packet needs to be: a loop.
    HandoffLoop = "handoff_loop",
    /// Hairpinned more than once: a loop through the NAT's own addresses.
    HairpinLoop = "hairpin_loop",
    /// Hairpinning is off.
    HairpinOff = "hairpin_off",
    /// The transmit queue did not take it.
    TxFull = "tx_full",
    /// Larger than the MTU of the interface that it leaves by.
    TxTooBig = "tx_too_big",
    /// Larger than the next link's MTU and not to be fragmented: its sender was told the MTU, within the limit of ICMP errors.
    PacketTooBig = "packet_too_big",
    /// Larger than the next link's MTU, and it could not be cut into fragments.
    FragmentationFailed = "fragmentation_failed",
    /// No packet buffer was left for a message of the edge's own.
    NoBuffer = "no_buffer",
    /// Still in flight when the process ended.
    Shutdown = "shutdown",
}

/// How many reasons there are: the length of every counter array.
pub const DROP_REASONS: usize = DropReason::ALL.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_indexed() {
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i);
            assert!(!r.explanation().is_empty());
            assert!(DropReason::ALL.iter().filter(|o| o.name() == r.name()).count() == 1, "{}", r.name());
        }
    }
}
