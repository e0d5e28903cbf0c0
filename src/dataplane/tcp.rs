//! What a packet of a session counts for, where the fast way does not know it: above all what a TCP segment says of its
//! connection. The rules are [`crate::flow::tcp`]'s; here a header is read for them.
//!
//! Never: judges a packet; it is on its way out already.

use super::core::Core;
use super::world::World;
use crate::dpdk::Mbuf;
use crate::flow::table::Family;
use crate::flow::tcp::Segment;
use crate::packet::{Tcp, TcpFlags, TcpOption};

/// The transport of an untagged IPv4 frame whose headers begin at `ip` and `l4`, without what follows the packet.
pub fn segment4(mbuf: &Mbuf, ip: usize, l4: usize) -> &[u8] {
    let frame = mbuf.data();
    let length = frame.get(ip + 2..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_be_bytes(*b));
    between(frame, l4, ip + usize::from(length))
}

/// The same of an IPv6 frame, whose transport begins at `upper`.
pub fn segment6(mbuf: &Mbuf, upper: usize) -> &[u8] {
    let frame = mbuf.data();
    let length = frame.get(18..).and_then(<[u8]>::first_chunk).map_or(0, |b| u16::from_be_bytes(*b));
    between(frame, upper, 54 + usize::from(length))
}

fn between(frame: &[u8], start: usize, end: usize) -> &[u8] {
    frame.get(start..end.min(frame.len())).unwrap_or_default()
}

/// Counts a packet of `bytes` that `record`'s half forwards. Of a TCP segment `flags` are not none, and `segment` is all of it.
pub fn count<R: Family>(core: &Core, world: &World, record: &R, bytes: usize, flags: u8, segment: &[u8]) {
    let refreshes = flags == 0
        || Tcp::parse(segment).is_ok_and(|tcp| world.flows.pass_segment(record, &segment_of(&tcp)));
    if refreshes {
        record.common().count(bytes as u32, core.now);
    } else {
        record.common().count_quietly(bytes as u32);
    }
}

fn segment_of(tcp: &Tcp<'_>) -> Segment {
    let opens = tcp.flags().contains(TcpFlags::SYN);
    let window_scale = tcp.options().map_while(Result::ok).find_map(|option| match option {
        TcpOption::WindowScale(shift) if opens => Some(shift),
        _ => None,
    });
    Segment {
        flags: tcp.flags().0,
        sequence: tcp.sequence(),
        acknowledgement: tcp.acknowledgement(),
        window: tcp.window(),
        window_scale,
        payload: u16::try_from(tcp.payload().len()).unwrap_or(u16::MAX),
    }
}
