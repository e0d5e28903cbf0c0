//! ICMP errors across the NAT (RFC 792, RFC 5508 section 4): somebody reports on a packet of a session, and quotes its head.
//!
//! The quoted packet travelled the other way. So the half-flow that an error travels along is the one whose key is the quoted
//! packet's *reversed*, in the realm in which the error arrives: [`key`]. The quote becomes what the other side knows, which
//! is that half's rewrite reversed, and the error goes where that half's packets go: [`translate`].
//!
//! A hairpin's errors (RFC 5508 REQ-7) take two legs as its packets do: the first finds the reporter's own session and shows
//! the quote with public addresses on both ends, the second arrives in the outside realm and finds the other subscriber's.
//!
//! What it guarantees: checksums that were right stay right, without summing up what did not change; those of a quoted
//! transport that were wrong stay wrong. What it never does: create, refresh or end a session (RFC 5508 REQ-6, RFC 5382
//! REQ-10), read a clock, allocate.

use crate::flow::key::ports;
use crate::flow::{Action, Key4, Protocol, Realm, Rewrite4};
use crate::packet::icmp::{Icmp, IcmpMut, IcmpType, QuotedTransport};
use crate::packet::{self, Delta, DropReason, Error, Ipv4, Ipv4Mut};

/// The key of the half-flow that an ICMP error travels along; `None` for any packet that is no ICMP error.
///
/// # Errors
/// - [`DropReason::IcmpErrorInvalid`]: the checksum of the error or of the quoted IP header is wrong (RFC 5508 REQ-3; that
///   of the quoted transport is nobody's business here), the quote ends before 8 bytes of transport (RFC 792) or begins in
///   the middle of a packet, or the error isn't addressed to whoever sent what it quotes.
/// - [`DropReason::IcmpErrorNoSession`]: it quotes what no session can be about.
/// - [`DropReason::IcmpUnsupported`]: a redirect, which means nothing off its own link (RFC 1122 section 3.2.2.2), or a
///   source quench (deprecated by RFC 6633).
pub fn key(packet: &Ipv4<'_>, realm: Realm) -> Result<Option<Key4>, DropReason> {
    if packet.protocol() != packet::Protocol::ICMP {
        return Ok(None);
    }
    let icmp = Icmp::parse(packet.payload())?;
    let Some(quote) = icmp.quoted() else { return Ok(None) };
    if matches!(icmp.kind(), IcmpType::REDIRECT | IcmpType::SOURCE_QUENCH) {
        return Err(DropReason::IcmpUnsupported);
    }
    let invalid = |_| DropReason::IcmpErrorInvalid;
    let quoted = Ipv4::parse_quoted(quote).map_err(invalid)?;
    let transport = QuotedTransport::parse(quoted.payload()).map_err(invalid)?;
    let is_whole = icmp.checksum_is_right() && quoted.checksum_is_right();
    if !is_whole || quoted.fragment_offset() > 0 || quoted.source() != packet.destination() {
        return Err(DropReason::IcmpErrorInvalid);
    }
    let ends = match Protocol::from_number(quoted.protocol().0) {
        Some(Protocol::Tcp | Protocol::Udp) => (transport.source_port(), transport.destination_port()),
        Some(Protocol::Icmp) if IcmpType(transport.0[0]).is_echo() => {
            (transport.echo_identifier(), transport.echo_identifier())
        }
        Some(Protocol::Icmp) => return Err(DropReason::IcmpErrorNoSession),
        // Of a subscriber that holds a whole address.
        _ => (0, 0),
    };
    let addresses = (quoted.source(), quoted.destination());
    let key = Key4::of_any_protocol(realm, quoted.protocol().0, addresses, ports(ends.0, ends.1));
    Ok(Some(key.reversed(realm)))
}

/// Makes of an ICMP error, `packet` from its IPv4 header on, what the other side may read: along a half with this key, which
/// [`key`] has named, this rewrite and this action.
///
/// From the outside the source stays: it is the reporter's public address. But where the reporter is the remote host itself, and
/// the inside knows that by another address, it is that; and out of a tunnel, where nobody has an address, it becomes that which
/// stands for the other host, whoever reports. From the inside it becomes the session's public address, whichever inside host or
/// router reports (RFC 5508 REQ-5 c). A hairpin's first leg takes no TTL.
///
/// # Errors
/// Why the packet, of which a part may have been changed, must be dropped. Never after [`key`] and a look at the TTL.
pub fn translate(
    packet: &mut [u8],
    half: &Key4,
    rewrite: &Rewrite4,
    action: Action,
) -> Result<(), DropReason> {
    let along = Key4 { addresses: rewrite.addresses, tail: rewrite.ports.into() };
    let mut outer = Ipv4Mut::parse(packet)?;
    if action.kind() != Action::HAIRPIN && !outer.decrement_ttl() {
        return Err(DropReason::TtlExceededQuiet);
    }
    if action.is_outbound() || action.is_tunnelled() || outer.view().source() == half.source() {
        outer.set_source(along.source());
    }
    outer.set_destination(along.destination());
    let mut icmp = IcmpMut::parse(outer.payload_mut())?;
    let change = translate_quote(icmp.payload_mut(), &along.reversed(along.realm()))?;
    icmp.adjust_checksum(change);
    Ok(())
}

/// The longest part of a quote that changes: an IPv4 header with all its options, TCP up to its checksum. Extensions (RFC
/// 4884) begin behind 128 bytes.
const HEAD: usize = packet::ipv4::HEADER_LENGTH + packet::ipv4::MAX_OPTIONS + 18;

/// Gives a quoted packet the addresses and ports of `to`; returns what that does to a checksum over the quote.
fn translate_quote(quote: &mut [u8], to: &Key4) -> Result<Delta, Error> {
    let length = quote.len().min(HEAD);
    let mut before = [0; HEAD];
    before[..length].copy_from_slice(&quote[..length]);

    let mut ip = Ipv4Mut::parse_quoted(quote)?;
    ip.set_source(to.source());
    ip.set_destination(to.destination());
    let addresses = Delta::between(&before[12..20], &to.addresses.to_le_bytes());
    let protocol = ip.view().protocol();
    translate_transport(ip.payload_mut(), protocol, to, addresses)?;
    Ok(Delta::between(&before[..length], &quote[..length]))
}

/// Gives a transport header, which may be cut short behind its first 8 bytes, the ports of `to` and the checksum that goes
/// with them and with a pseudo header that has changed by `addresses`. A checksum that is cut short or absent stays so.
fn translate_transport(
    transport: &mut [u8],
    protocol: packet::Protocol,
    to: &Key4,
    addresses: Delta,
) -> Result<(), Error> {
    let new = (to.tail as u32).to_le_bytes();
    // An echo has its identifier alone, and no pseudo header (RFC 792).
    let (at, new, checksum, pseudo_header) = match protocol {
        packet::Protocol::TCP => (0, &new[..], 16, addresses),
        packet::Protocol::UDP => (0, &new[..], 6, addresses),
        packet::Protocol::ICMP => (4, &new[..2], 2, Delta::ZERO),
        // DCCP and UDP-Lite: see [`compile`](super::nat44::compile).
        packet::Protocol(33 | 136) => (0, &new[..0], 6, addresses),
        _ => return Ok(()),
    };
    let old = transport.get_mut(at..at + new.len()).ok_or(Error::L4HeaderInvalid)?;
    let change = Delta::between(old, new).combine(pseudo_header);
    old.copy_from_slice(new);
    if let Some(field) = transport.get_mut(checksum..checksum + 2) {
        let sum = u16::from_ne_bytes([field[0], field[1]]);
        let udp = protocol == packet::Protocol::UDP;
        let sum = if udp { change.apply_udp(sum) } else { change.apply(sum) };
        field.copy_from_slice(&sum.to_ne_bytes());
    }
    Ok(())
}

#[cfg(test)]
#[path = "icmp_error_tests.rs"]
mod tests;
