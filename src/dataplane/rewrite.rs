//! A record's compiled rewrite, executed on the bytes of a packet.

use super::classify::{HEADERS, at, half};
use crate::flow::record::Rewrite4;
use crate::flow::{Action, Protocol};
use crate::packet::Delta;

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
    if tcp {
        let sum = Delta(w.l4_delta).apply(half(h, at::TCP_CHECKSUM));
        write(h, at::TCP_CHECKSUM, sum.to_le_bytes());
    } else {
        let sum = Delta(w.l4_delta).apply_udp(half(h, at::UDP_CHECKSUM));
        write(h, at::UDP_CHECKSUM, sum.to_le_bytes());
    }
}

/// Any IPv4 packet that has a session: `frame` from Ethernet on, the IPv4 header at `ip`, the transport header at `l4`.
/// False, and nothing written, when the frame is too short for what must be rewritten.
pub fn general(
    frame: &mut [u8],
    ip: usize,
    l4: usize,
    w: &Rewrite4,
    kind: Action,
    protocol: Protocol,
) -> bool {
    let (ports, checksum) = match protocol {
        Protocol::Tcp => (l4, l4 + 16),
        Protocol::Udp => (l4, l4 + 6),
        Protocol::Icmp | Protocol::Icmpv6 => (l4 + 4, l4 + 2),
    };
    if frame.len() < checksum + 2 || frame.len() < ports + 4 || l4 < ip + 20 {
        return false;
    }
    let delta = |frame: &mut [u8], place: usize, change: &dyn Fn(u16) -> u16| {
        let sum = u16::from_ne_bytes([frame[place], frame[place + 1]]);
        frame[place..place + 2].copy_from_slice(&change(sum).to_ne_bytes());
    };
    delta(frame, ip + 10, &|sum| Delta(w.ip_delta).apply(sum));
    frame[ip + 8] -= u8::from(kind != Action::HAIRPIN);
    frame[ip + 12..ip + 20].copy_from_slice(&w.addresses.to_le_bytes());
    let new_ports = w.ports.to_le_bytes();
    if protocol == Protocol::Icmp {
        // The identifier alone: what follows it is the sequence number.
        frame[ports..ports + 2].copy_from_slice(&new_ports[..2]);
    } else {
        frame[ports..ports + 4].copy_from_slice(&new_ports);
    }
    if protocol == Protocol::Udp {
        delta(frame, checksum, &|sum| Delta(w.l4_delta).apply_udp(sum));
    } else {
        delta(frame, checksum, &|sum| Delta(w.l4_delta).apply(sum));
    }
    true
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
