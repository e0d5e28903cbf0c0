//! IPv4 packets in pieces: those that do not fit, cut (RFC 791 section 3.2), and frames of several segments, as devices make of those that
//! are longer than a buffer, looked at as one.
//!
//! Guarantees: each piece is a packet of the edge's own, in one buffer; a packet of however many segments is cut. Never: puts fragments
//! together.

use super::core::Core;
use super::message;
use super::slow::IP;
use crate::dpdk::{HEADROOM, Mbuf};
use crate::packet::ipv4::fragment::Fragments;
use crate::packet::{DropReason, Error, Ipv4};

/// Bytes of the longest frame of several segments that is looked at: more than ports take.
const LONGEST: usize = 9_728;

/// Looks at a frame in one piece. `None`, too, for one of several segments that is longer than any port takes.
#[inline(always)]
pub(super) fn whole<T>(mbuf: &Mbuf, look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    if mbuf.is_contiguous() { look(mbuf.data()) } else { scattered(mbuf, look) }
}

#[cold]
#[inline(never)]
fn scattered<T>(mbuf: &Mbuf, look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let (mut room, mut length) = ([0; LONGEST], 0);
    for segment in mbuf.segments() {
        room.get_mut(length..length + segment.len())?.copy_from_slice(segment);
        length += segment.len();
    }
    look(&room[..length])
}

/// Cuts a packet into fragments of at most `mtu` bytes, or of as many as a buffer has room for; `send` gets each, behind the Ethernet
/// header of the whole.
pub(super) fn cut(core: &mut Core, mbuf: Mbuf, mtu: u16, send: impl FnMut(&mut Core, Mbuf)) {
    let room = core.pool.data_room().saturating_sub(HEADROOM + IP as u16);
    let done = whole(&mbuf, |frame| Some(send_pieces(core, frame, mtu.min(room).into(), send)));
    match done.unwrap_or(Err(DropReason::FragmentationFailed)) {
        Ok(()) => {
            // It went out in pieces: neither sent nor dropped itself.
            core.out.counters.local_packets.add(1);
            core.out.free(mbuf);
        }
        Err(why) => core.out.drop(mbuf, why),
    }
}

fn send_pieces(
    core: &mut Core,
    frame: &[u8],
    mtu: usize,
    mut send: impl FnMut(&mut Core, Mbuf),
) -> Result<(), DropReason> {
    let (link, packet) = frame.split_first_chunk::<IP>().ok_or(DropReason::Truncated)?;
    let packet = Ipv4::parse(packet).map_err(|_| DropReason::FragmentationFailed)?;
    let mut fragments = Fragments::new(&packet, mtu).map_err(|refused| refused.drop_reason())?;
    loop {
        let mut is_last = false;
        let piece = message::compose(&core.pool, IP + mtu, |buffer| {
            let (head, room) = buffer.split_first_chunk_mut().ok_or(Error::BufferTooSmall)?;
            *head = *link;
            let length = fragments.write_next(room)?;
            is_last = length.is_none();
            Ok(IP + length.unwrap_or(0))
        });
        let piece = piece.ok_or(DropReason::NoBuffer)?;
        if is_last {
            return Ok(());
        }
        core.out.counters.originated_packets.add(1);
        send(core, piece);
    }
}
