//! What is between two edges, built from nothing but the specification in `packet::cetp`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ces::packet::checksum::checksum;

pub const PORT: u16 = 48_001;

/// Where a tunnelled packet goes, and from where.
#[derive(Clone, Copy)]
pub enum Carrier {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
    Ethernet,
}

/// A payload TLV about a frame's IPv4 packet, whose addresses are the tags.
pub fn payload(inner: &[u8], epoch: u8) -> Vec<u8> {
    let ip = &inner[14..];
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let is_atomic = ip[6..8] == [0x40, 0];
    let words = (ip[0] & 15) - 5;
    let mut rest = vec![ip[1], ip[8], ip[9], words << 4 | u8::from(!is_atomic)];
    if !is_atomic {
        rest.extend(&ip[4..8]);
    }
    rest.extend(&ip[20..total]);
    let length = (12 + rest.len()) as u16;
    [&[0x94, epoch][..], &length.to_be_bytes(), &ip[12..20], &rest].concat()
}

/// A frame from `from` to `to` with that payload or message, of that DSCP and ECN. The source port is 0xc000.
pub fn carried(carrier: Carrier, from: [u8; 6], to: [u8; 6], service: u8, rest: &[u8]) -> Vec<u8> {
    let udp = (rest.len() + 8) as u16;
    let ports = [&[0xc0, 0][..], &PORT.to_be_bytes(), &udp.to_be_bytes(), &[0, 0]].concat();
    let mut frame = [to, from].concat();
    match carrier {
        Carrier::V4(source, destination) => {
            let total = (udp + 20).to_be_bytes();
            let mut header = [0x45, service, total[0], total[1], 0, 0, 0x40, 0, 64, 17, 0, 0].to_vec();
            header.extend([source.octets(), destination.octets()].concat());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_ne_bytes());
            frame.extend([&[8, 0][..], &header, &ports, rest].concat());
        }
        Carrier::V6(source, destination) => {
            let class = (0x6000_0000 | u32::from(service) << 20 | 1).to_be_bytes();
            let length = udp.to_be_bytes();
            frame.extend([&[0x86, 0xdd][..], &class, &length, &[17, 64]].concat());
            frame.extend([source.octets(), destination.octets()].concat());
            frame.extend([&ports[..], rest].concat());
        }
        Carrier::Ethernet => frame.extend([&[0x88, 0xb5][..], rest].concat()),
    }
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The frame with the flow's entropy taken out of it: the source port, which is a dynamic one, and the flow label.
pub fn plain(mut frame: Vec<u8>) -> Vec<u8> {
    let at = match frame.get(12..14) {
        Some([8, 0]) => 34,
        Some([0x86, 0xdd]) => 54,
        _ => return frame,
    };
    if frame.get(at + 2..at + 4) == Some(&PORT.to_be_bytes()) {
        assert!(frame[at] >= 0xc0, "a port of the dynamic range");
        if at == 54 {
            let label = u16::from_be_bytes([frame[16], frame[17]]);
            let port = u16::from_be_bytes([frame[at], frame[at + 1]]);
            assert_eq!(label, port & 0x3fff | 1, "the label says what the port does");
            frame[16..18].copy_from_slice(&[0, 1]);
        }
        frame[at..at + 2].copy_from_slice(&[0xc0, 0]);
    }
    frame
}

/// A frame's IPv4 packet may be cut: it has this identification and these flags and offset (RFC 791).
pub fn cuttable(mut frame: Vec<u8>, identification: u16, flags: u16) -> Vec<u8> {
    frame[18..20].copy_from_slice(&identification.to_be_bytes());
    frame[20..22].copy_from_slice(&flags.to_be_bytes());
    let end = 14 + usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
    frame
}
