//! The edge's own packets: ARP, echo replies, ICMP errors. Written into fresh buffers of the worker's pool.

use crate::dpdk::{Mbuf, Pool};
use crate::packet::{Error, MacAddr, build, mld, ndp};
use std::net::Ipv6Addr;

/// Ethernet's minimum without its check sequence (IEEE 802.3): shorter frames are padded.
const MINIMUM: usize = 60;
/// The largest message of the edge's own but for echo replies: an ICMP error of 576 bytes in its frame.
const SMALL: usize = 14 + 576;

/// Room for a message of neighbour discovery, or a report of one group, in two VLAN tags.
const DISCOVERY: usize = 14 + 8 + 40 + 36;

/// An ICMPv6 error of 1,280 bytes in its frame.
const SMALL6: usize = 14 + 1280;

/// A fresh buffer with what `write` puts into `room` bytes. `None` when no buffer is left, or the message doesn't fit one.
pub fn compose(
    pool: &Pool,
    room: usize,
    write: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
) -> Option<Mbuf> {
    let room = room.max(MINIMUM);
    let mut mbuf = pool.alloc()?;
    let buffer = mbuf.append(room)?;
    buffer[..MINIMUM].fill(0);
    let length = write(buffer).ok()?;
    mbuf.truncate(length.max(MINIMUM));
    Some(mbuf)
}

/// An ARP message.
pub fn arp(pool: &Pool, path: &build::Path, message: &crate::packet::Arp) -> Option<Mbuf> {
    compose(pool, MINIMUM, |b| build::arp(b, path, message))
}

/// "Who has `target`?" of IPv6, to everyone who might, or to `known` alone. Of `path` the destination is not used.
pub fn neighbor_solicitation(
    pool: &Pool,
    path: &build::Path,
    source: Ipv6Addr,
    target: Ipv6Addr,
    known: Option<MacAddr>,
) -> Option<Mbuf> {
    compose(pool, DISCOVERY, |b| build::neighbor_solicitation(b, path, source, target, known))
}

/// "We have it."
pub fn neighbor_advertisement(
    pool: &Pool,
    path: &build::Path,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    advertisement: &ndp::NeighborAdvertisement,
) -> Option<Mbuf> {
    compose(pool, DISCOVERY, |b| build::neighbor_advertisement(b, path, source, destination, advertisement))
}

/// "Does anybody else have `target`?" Of `path` the destination is not used.
pub fn duplicate_address_probe(pool: &Pool, path: &build::Path, target: Ipv6Addr) -> Option<Mbuf> {
    compose(pool, DISCOVERY, |b| build::duplicate_address_probe(b, path, target))
}

/// "We listen to the solicited-node group of `address`." Of `path` the destination is not used.
pub fn listener_report(pool: &Pool, path: &build::Path, source: Ipv6Addr, address: Ipv6Addr) -> Option<Mbuf> {
    compose(pool, DISCOVERY, |b| mld::report(b, path, source, ndp::solicited_node(address)))
}

/// An ICMP error about `packet`, from the edge's `source`.
pub fn icmp_error(
    pool: &Pool,
    path: &build::Path,
    source: std::net::Ipv4Addr,
    error: build::IcmpError,
    packet: &crate::packet::Ipv4<'_>,
) -> Option<Mbuf> {
    // Small packet rooms (captures replayed from memory) hold less than 576 bytes: quote less then.
    let room = SMALL.min(usize::from(pool.data_room()).saturating_sub(crate::dpdk::HEADROOM.into()));
    compose(pool, room, |b| build::icmp_error(b, path, source, error, packet))
}

/// An ICMPv6 error about `packet`, from the edge's `source`.
pub fn icmpv6_error(
    pool: &Pool,
    path: &build::Path,
    source: std::net::Ipv6Addr,
    error: build::Icmpv6Error,
    packet: &crate::packet::Ipv6<'_>,
) -> Option<Mbuf> {
    let room = SMALL6.min(usize::from(pool.data_room()).saturating_sub(crate::dpdk::HEADROOM.into()));
    compose(pool, room, |b| build::icmpv6_error(b, path, source, error, packet))
}
