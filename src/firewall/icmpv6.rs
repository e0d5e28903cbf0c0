//! Which ICMPv6 messages cross the edge (RFC 4890 section 4.3), and along which session an error travels.
//!
//! The quoted packet travelled the other way. So the half-flow that an error travels along is the one whose key is the quoted
//! packet's *reversed*, in the realm in which the error arrives: [`error_key`]. If no such half lives the error is dropped
//! ([`DropReason::IcmpErrorNoSession`], the caller's). It is forwarded as it is, along that half's path.
//!
//! What it guarantees: an error crosses only if it sums up, quotes a packet of the host that it is addressed to, and can be
//! acted on. What it never does: create, refresh or end a session (RFC 6092 REC-19, REC-37, REC-42).

use super::parse;
use crate::flow::{Key6, Realm};
use crate::packet::icmpv6::Icmpv6;
use crate::packet::{DropReason, Icmpv6Type, Ipv6, Protocol};

pub use crate::packet::icmpv6::may_generate_error;

/// How a message may cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// Along the session that it quotes: errors (section 4.3.1, and 4.3.2's codes of the same types).
    WithQuotedSession,
    /// As a session of its own, which the inside opens: echo. Section 4.3.1 would let requests in; RFC 6092 makes the same
    /// of them as of any other packet that nobody asked for.
    AsSession,
    /// Not at all: what belongs on one link (section 4.3.3: neighbour and router discovery, redirects, multicast listeners,
    /// certification paths, multicast routers), renumbering, node information, Mobile IPv6's home agent discovery (4.3.2 only
    /// where that is used), experimental, unallocated (4.3.4).
    Never,
}

/// How messages of this type may cross.
pub const fn crossing(kind: Icmpv6Type) -> Crossing {
    match kind {
        Icmpv6Type::DESTINATION_UNREACHABLE
        | Icmpv6Type::PACKET_TOO_BIG
        | Icmpv6Type::TIME_EXCEEDED
        | Icmpv6Type::PARAMETER_PROBLEM => Crossing::WithQuotedSession,
        Icmpv6Type::ECHO_REQUEST | Icmpv6Type::ECHO_REPLY => Crossing::AsSession,
        _ => Crossing::Never,
    }
}

/// No link of IPv6 takes less (RFC 8200 section 5): a "packet too big" that says so is disregarded (RFC 8201 section 4).
const MINIMUM_MTU: u32 = 1280;

/// The key of the half-flow that an ICMPv6 error travels along; `None` for a packet that is no ICMPv6 message, or an echo.
///
/// # Errors
/// - [`DropReason::Icmpv6Filtered`]: a message that never crosses.
/// - [`DropReason::IcmpErrorInvalid`]: its checksum is wrong, the quote ends before its ports do or begins in the middle of a
///   packet, the error isn't addressed to whoever sent what it quotes, or it asks for less than the minimum MTU.
/// - [`DropReason::IcmpErrorNoSession`]: it quotes what no session can be about.
/// - As [`parse::flow`], for the packet's own extension headers.
pub fn error_key(ip: &Ipv6<'_>, realm: Realm) -> Result<Option<Key6>, DropReason> {
    let upper = parse::transport(ip)?;
    // Behind AH it is a packet of an AH session, like all that AH leads to.
    if upper.protocol != Protocol::ICMPV6 || upper.protection.is_some() {
        return Ok(None);
    }
    let icmp = Icmpv6::parse(upper.payload)?;
    match crossing(icmp.kind()) {
        Crossing::Never => return Err(DropReason::Icmpv6Filtered),
        Crossing::AsSession => return Ok(None),
        Crossing::WithQuotedSession => {}
    }
    let says_too_little =
        icmp.kind() == Icmpv6Type::PACKET_TOO_BIG && u32::from_be_bytes(icmp.parameter()) < MINIMUM_MTU;
    if says_too_little || !icmp.checksum_is_right(&ip.pseudo_header()) {
        return Err(DropReason::IcmpErrorInvalid);
    }
    quoted_key(icmp.payload(), ip, realm).map(|quoted| Some(quoted.reversed(realm)))
}

/// The key that the packet which `error` quotes had, were it in `realm`.
fn quoted_key(quote: &[u8], error: &Ipv6<'_>, realm: Realm) -> Result<Key6, DropReason> {
    let invalid = |_| DropReason::IcmpErrorInvalid;
    let quoted = Ipv6::parse_quoted(quote).map_err(invalid)?;
    let upper = quoted.upper().map_err(invalid)?;
    if quoted.source() != error.destination() || upper.is_later_fragment() {
        return Err(DropReason::IcmpErrorInvalid);
    }
    let protocol = upper.protection.unwrap_or(upper.protocol);
    let ports = parse::ports(protocol, upper.payload).map_err(invalid)?;
    if protocol == Protocol::ICMPV6 && !Icmpv6::parse(upper.payload).map_err(invalid)?.kind().is_echo() {
        return Err(DropReason::IcmpErrorNoSession);
    }
    Ok(Key6::of_any_protocol(realm, protocol.0, (quoted.source(), quoted.destination()), ports))
}

#[cfg(test)]
#[path = "icmpv6_tests.rs"]
mod tests;
