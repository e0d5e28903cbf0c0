//! A record's compiled rewrite, executed on the bytes of a packet.

use super::classify::{HEADERS, at, half};
use crate::flow::record::Rewrite4;
use crate::flow::{Action, Protocol};
use crate::packet::{Delta, ipv4};

fn write<const N: usize>(headers: &mut [u8; HEADERS], place: usize, bytes: [u8; N]) {
    headers[place..place + N].copy_from_slice(&bytes);
}

/// The common packet (see [`super::classify`]) on its way out: addresses, ports, both checksums, the TTL.
#[inline(always)]
pub fn common4(h: &mut [u8; HEADERS], w: &Rewrite4, tcp: bool) {
    let ip = Delta(w.ip_delta).apply(half(h, at::IP_CHECKSUM));
    write(h, at::IP_CHECKSUM, ip.to_le_bytes());
    h[at::TTL] -= 1;
    write(h, at::ADDRESSES, w.addresses.to_le_bytes());
    write(h, at::PORTS, w.ports.to_le_bytes());
    transport4(h, w, tcp);
}

/// The checksum of its transport alone.
#[inline(always)]
pub fn transport4(h: &mut [u8; HEADERS], w: &Rewrite4, tcp: bool) {
    if tcp {
        let sum = Delta(w.l4_delta).apply(half(h, at::TCP_CHECKSUM));
        write(h, at::TCP_CHECKSUM, sum.to_le_bytes());
    } else {
        let sum = Delta(w.l4_delta).apply_udp(half(h, at::UDP_CHECKSUM));
        write(h, at::UDP_CHECKSUM, sum.to_le_bytes());
    }
}

/// Where the transport of an IANA number has what a translation changes, from its header on: its ports, which are so many
/// bytes, and its checksum.
const fn fields(protocol: u8) -> Option<(usize, usize, usize)> {
    match protocol {
        6 => Some((0, 4, 16)),
        17 => Some((0, 4, 6)),
        // The identifier alone: what follows it is the sequence number.
        1 => Some((4, 2, 2)),
        // DCCP and UDP-Lite, of which the addresses alone are translated, have them in their checksums.
        33 | 136 => Some((0, 0, 6)),
        _ => None,
    }
}

/// Any IPv4 packet that has a session: `frame` from Ethernet on, the IPv4 header at `ip`, the transport header at `l4`, its
/// protocol by IANA number. False, and nothing written, when the frame is too short for what must be rewritten.
pub fn general(frame: &mut [u8], ip: usize, l4: usize, w: &Rewrite4, kind: Action, protocol: u8) -> bool {
    let fields = fields(protocol);
    let end = fields.map_or(l4, |(ports, width, checksum)| l4 + (checksum + 2).max(ports + width));
    if frame.len() < end || l4 < ip + 20 || !header(frame, ip, w, kind) {
        return false;
    }
    let delta = |frame: &mut [u8], place: usize, change: &dyn Fn(u16) -> u16| {
        let sum = u16::from_ne_bytes([frame[place], frame[place + 1]]);
        frame[place..place + 2].copy_from_slice(&change(sum).to_ne_bytes());
    };
    let Some((ports, width, checksum)) = fields else { return true };
    frame[l4 + ports..][..width].copy_from_slice(&w.ports.to_le_bytes()[..width]);
    if protocol == Protocol::Udp as u8 {
        delta(frame, l4 + checksum, &|sum| Delta(w.l4_delta).apply_udp(sum));
    } else {
        delta(frame, l4 + checksum, &|sum| Delta(w.l4_delta).apply(sum));
    }
    true
}

/// The IPv4 header at `ip` alone: all that there is to rewrite of a fragment without a transport header. The TTL is at least 1.
/// False, and nothing written, when the frame is too short.
pub fn header(frame: &mut [u8], ip: usize, w: &Rewrite4, kind: Action) -> bool {
    let Some(header) = frame.get_mut(ip..).and_then(<[u8]>::first_chunk_mut::<{ ipv4::HEADER_LENGTH }>)
    else {
        return false;
    };
    let sum = Delta(w.ip_delta).apply(u16::from_ne_bytes([header[10], header[11]]));
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
    header[8] -= u8::from(kind != Action::HAIRPIN);
    header[12..20].copy_from_slice(&w.addresses.to_le_bytes());
    true
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
