//! The numbers that IPv4's protocol and IPv6's next header fields share (RFC 5237, the IANA registry).

/// An IP protocol number: any value is one; those with a name here are those that the house acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv6 hop-by-hop options (RFC 8200 section 4.3).
    pub const HOP_BY_HOP: Protocol = Protocol(0);
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Protocol = Protocol(1);
    /// TCP (RFC 9293).
    pub const TCP: Protocol = Protocol(6);
    /// UDP (RFC 768).
    pub const UDP: Protocol = Protocol(17);
    /// IPv6 routing header (RFC 8200 section 4.4).
    pub const ROUTING: Protocol = Protocol(43);
    /// IPv6 fragment header (RFC 8200 section 4.5).
    pub const FRAGMENT: Protocol = Protocol(44);
    /// Encapsulating security payload (RFC 4303).
    pub const ESP: Protocol = Protocol(50);
    /// Authentication header (RFC 4302).
    pub const AH: Protocol = Protocol(51);
    /// Datagram congestion control protocol (RFC 4340).
    pub const DCCP: Protocol = Protocol(33);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Protocol = Protocol(58);
    /// IPv6: nothing follows (RFC 8200 section 4.7).
    pub const NO_NEXT_HEADER: Protocol = Protocol(59);
    /// IPv6 destination options (RFC 8200 section 4.6).
    pub const DESTINATION_OPTIONS: Protocol = Protocol(60);
    /// Stream control transmission protocol (RFC 9260).
    pub const SCTP: Protocol = Protocol(132);
    /// IPv6 mobility header (RFC 6275 section 6.1).
    pub const MOBILITY: Protocol = Protocol(135);
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: Protocol = Protocol(136);
    /// Host identity protocol (RFC 7401 section 5.1).
    pub const HIP: Protocol = Protocol(139);
    /// Shim6 (RFC 5533 section 5.1).
    pub const SHIM6: Protocol = Protocol(140);
}
