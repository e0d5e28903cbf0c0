//! The flow that an IPv6 packet belongs to: the walk over its extension headers, and what its transport says.
//!
//! Guaranteed: total for every input; a key is only made of what is there. Never: verifies a transport checksum, which is the
//! receiver's; looks behind the transport header.
//!
//! Fragments are refused, for only the first shows ports: hosts find the path's MTU (RFC 8201), and an edge that put them
//! together could be filled from outside. An atomic fragment (RFC 6946) is a whole packet and passes. AH and HIP are protocols
//! of their own, whatever stands behind them: what AH leads to may be encrypted, and HIP leads to nothing.

use crate::flow::{Key6, Realm};
use crate::packet::icmpv6::Icmpv6;
use crate::packet::ipv6::Upper;
use crate::packet::{DropReason, Error, Icmpv6Type, Ipv6, Protocol, Tcp, Udp};

/// A packet as the firewall sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow6 {
    pub key: Key6,
    /// 0 but for TCP.
    pub tcp_flags: u8,
    /// Whether such a packet may be a session's first: not a TCP segment without SYN or with more, and no echo reply.
    pub opens: bool,
    /// Where the transport begins, counted from the IPv6 header.
    pub upper_offset: usize,
}

/// The flow of a packet that arrives in `realm`. ICMPv6 errors have none of their own: ask [`super::icmpv6::error_key`] first.
///
/// # Errors
/// Why the packet is dropped.
/// - [`DropReason::Ipv6Fragment`], [`DropReason::Ipv6ExtensionInvalid`]: see the module; a chain of extension headers that is
///   too long or out of order.
/// - [`DropReason::Truncated`], [`DropReason::L4HeaderInvalid`]: a header is not all there, or contradicts itself.
/// - [`DropReason::TcpFlagsInvalid`]: see [`TcpFlags::is_sane`](crate::packet::TcpFlags::is_sane).
/// - [`DropReason::Icmpv6Filtered`]: no echo.
pub fn flow(ip: &Ipv6<'_>, realm: Realm) -> Result<Flow6, DropReason> {
    let upper = transport(ip)?;
    let protocol = upper.protection.unwrap_or(upper.protocol);
    let (mut tcp_flags, mut opens) = (0, true);
    match protocol {
        Protocol::TCP => {
            let flags = Tcp::parse(upper.payload)?.flags();
            if !flags.is_sane() {
                return Err(DropReason::TcpFlagsInvalid);
            }
            (tcp_flags, opens) = (flags.0, flags.starts_connection());
        }
        Protocol::UDP => _ = Udp::parse(upper.payload)?,
        Protocol::ICMPV6 => {
            let kind = Icmpv6::parse(upper.payload)?.kind();
            if !kind.is_echo() {
                return Err(DropReason::Icmpv6Filtered);
            }
            opens = kind == Icmpv6Type::ECHO_REQUEST;
        }
        _ if upper.payload.len() < least_header(protocol) => return Err(DropReason::L4HeaderInvalid),
        _ => {}
    }
    let ports = ports(protocol, upper.payload)?;
    let addresses = (ip.source(), ip.destination());
    let key = Key6::of_any_protocol(realm, protocol.0, addresses, ports);
    Ok(Flow6 { key, tcp_flags, opens, upper_offset: upper.offset })
}

/// The walk to the transport of a packet that is whole and routed by nobody but the routers.
pub(super) fn transport<'a>(ip: &Ipv6<'a>) -> Result<Upper<'a>, DropReason> {
    let upper = ip.upper().map_err(|error| match error {
        Error::Ipv6HeaderInvalid => DropReason::Ipv6ExtensionInvalid,
        other => other.drop_reason(),
    })?;
    if upper.has_source_route {
        return Err(DropReason::Ipv6ExtensionInvalid);
    }
    match upper.fragment {
        Some(fragment) if fragment.offset > 0 || fragment.more => Err(DropReason::Ipv6Fragment),
        _ => Ok(upper),
    }
}

/// The ports of a key, as the packet has them, read little-endian: an echo's identifier for both, 0 for a protocol without.
/// Any transport header that is there as far as these will do: a quoted one may be cut short.
pub(super) fn ports(protocol: Protocol, transport: &[u8]) -> Result<u32, Error> {
    match (protocol, transport) {
        (
            Protocol::TCP | Protocol::UDP | Protocol::UDP_LITE | Protocol::SCTP | Protocol::DCCP,
            &[a, b, c, d, ..],
        ) => Ok(u32::from_le_bytes([a, b, c, d])),
        (Protocol::ICMPV6, &[_, _, _, _, a, b, _, _, ..]) => Ok(u32::from_le_bytes([a, b, a, b])),
        (
            Protocol::TCP
            | Protocol::UDP
            | Protocol::UDP_LITE
            | Protocol::SCTP
            | Protocol::DCCP
            | Protocol::ICMPV6,
            _,
        ) => Err(Error::L4HeaderInvalid),
        _ => Ok(0),
    }
}

/// Bytes that a packet of this protocol has at least.
const fn least_header(protocol: Protocol) -> usize {
    match protocol {
        // SPI and sequence number (RFC 4303 section 2); ports, coverage and checksum (RFC 3828 section 3.1).
        Protocol::ESP | Protocol::UDP_LITE => 8,
        // The common header (RFC 9260 section 3.1); the generic one with a short sequence number (RFC 4340 section 5.1).
        Protocol::SCTP | Protocol::DCCP => 12,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
