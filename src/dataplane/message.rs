//! The edge's own packets: ARP, echo replies, ICMP errors. Written into fresh buffers of the worker's pool.

use crate::dpdk::{Mbuf, Pool};
use crate::packet::{Error, build};

/// Ethernet's minimum without its check sequence (IEEE 802.3): shorter frames are padded.
const MINIMUM: usize = 60;
/// The largest message of the edge's own but for echo replies: an ICMP error of 576 bytes in its frame.
const SMALL: usize = 14 + 576;

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
