//! The fast way against the views, which look properly: it never accepts what they refuse, and reads the same.

use super::*;
use crate::dataplane::slow;
use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::{EtherType, Ipv4, Link, MacAddr, Protocol, TcpFlags, checksum, ipv4, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::net::Ipv4Addr;

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

fn ingress() -> Ingress {
    let [a, b, c, d, e, f] = OURS.0;
    Ingress { interface: 0, realm: Realm(7), mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) }
}

/// What the views make of a frame, if it is of the common kind: that is the specification.
fn properly(frame: &[u8]) -> Option<Common<Key4>> {
    properly_but(frame, 0x16)
}

/// The same, where of these TCP flags only ACK is there.
fn properly_but(frame: &[u8], mask: u8) -> Option<Common<Key4>> {
    let link = Link::parse(frame).ok()?;
    let plain =
        link.ethernet.destination() == OURS && link.tags.is_empty() && link.ether_type == EtherType::IPV4;
    let ip = plain.then(|| Ipv4::parse(link.payload).ok()).flatten()?;
    let whole = !ip.is_fragment() && ip.header_length() == 20 && ip.ttl() > 1 && ip.checksum_is_right();
    let kind = matches!(ip.protocol(), Protocol::TCP | Protocol::UDP);
    let flow = (whole && kind).then(|| slow::transport(&ip, ingress().realm).ok()).flatten()?;
    // The fast way leaves to the slow one what opens or resets a connection.
    let usual = ip.protocol() == Protocol::UDP || flow.tcp_flags & mask == 0x10;
    usual.then_some(Common { key: flow.key, tcp_flags: flow.tcp_flags })
}

/// A TCP or UDP packet to us that is right in all, and may be too small or have IP options.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let words = |most| vec(any::<[u8; 4]>(), 0..=most).prop_map(|w| w.concat());
    let ip_options = prop_oneof![9 => Just(vec![]), 1 => words(10)];
    let header = (any::<(Ipv4Addr, Ipv4Addr)>(), any::<(u16, u16, u8, u8, bool, bool)>(), ip_options);
    let transport =
        (any::<bool>(), words(10), prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..1400)]);
    (header, transport, vec(any::<u8>(), 0..30)).prop_map(
        |((addresses, small, ip_options), transport, trailer)| {
            let ((source, destination), (port, to, ttl, flags, df, udp)) = (addresses, small);
            let (summed, options, payload) = transport;
            let protocol = if udp { Protocol::UDP } else { Protocol::TCP };
            let header = ipv4::Header {
                ttl,
                dont_fragment: df,
                options: &ip_options,
                ..ipv4::Header::new(source, destination, protocol)
            };
            let transport = if udp {
                Transport::Udp(udp::Header { source_port: port, destination_port: to }, &payload)
            } else {
                let segment =
                    tcp::Header { options: &options, ..tcp::Header::new(port, to, TcpFlags(flags)) };
                Transport::Tcp(segment, &payload)
            };
            let mut frame = vec![0; 1600];
            let path = Path::untagged(THEIRS, OURS);
            let length = build::frame(&mut frame, &path, &Ip::V4(header), &transport).expect("it fits");
            frame.truncate(length);
            if udp && !summed {
                let at = 34 + ip_options.len() + 6;
                frame[at..at + 2].fill(0);
            }
            frame.extend(trailer);
            frame
        },
    )
}

fn mend(frame: &mut [u8]) {
    let length = frame.get(14).map_or(0, |b| usize::from(b & 15) * 4).max(20);
    if let Some(header) = frame.get_mut(14..14 + length) {
        header[10..12].fill(0);
        let sum = checksum::checksum(header);
        header[10..12].copy_from_slice(&sum.to_ne_bytes());
    }
}

#[test]
fn nothing_short_is_common4() {
    let ingress = Ingress { interface: 0, realm: Realm(1), mac: 0 };
    for length in 0..HEADERS {
        assert_eq!(common4(&vec![0; length], length, &ingress, true), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// And nothing common is missed, but for frames that are shorter than all headers of the longer kind.
    #[test]
    fn right_packets_are_read_the_same(frame in packet()) {
        let fast = common4(&frame, frame.len(), &ingress(), false);
        let wanted = if frame.len() < HEADERS { None } else { properly(&frame) };
        prop_assert_eq!(fast, wanted);
        let wanted = if frame.len() < HEADERS { None } else { properly_but(&frame, 0x12) };
        prop_assert_eq!(of_a_flow4(&frame, frame.len(), &ingress()), wanted);
    }

    /// Bits turned, with the checksum mended or not, cut off anywhere: the judgement is the views'.
    #[test]
    fn bent_packets_are_judged_the_same(
        mut frame in packet(), bits in vec((any::<Index>(), 0..8u32), 0..6), mended in any::<bool>(),
        cut in prop_oneof![3 => Just(None), 1 => any::<Index>().prop_map(Some)],
    ) {
        for (at, bit) in bits {
            let at = at.index(frame.len().min(60));
            frame[at] ^= 1 << bit;
        }
        if mended {
            mend(&mut frame);
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len() + 1));
        }
        let fast = common4(&frame, frame.len(), &ingress(), false);
        // The bit that is reserved in the fragment word is not worth a look on the fast way (RFC 791 section 3.1).
        let reserved = frame.get(20).is_some_and(|b| b & 0x80 != 0);
        let wanted = if frame.len() < HEADERS || reserved { None } else { properly(&frame) };
        prop_assert_eq!(fast, wanted);
    }

    /// A device's word on the checksum replaces our own, and nothing else.
    #[test]
    fn a_verified_checksum_is_all_that_is_believed(frame in packet(), wrong in 1..=u16::MAX) {
        let mut frame = frame;
        let right = common4(&frame, frame.len(), &ingress(), false);
        let sum = u16::from_ne_bytes([frame[24], frame[25]]).wrapping_add(wrong);
        frame[24..26].copy_from_slice(&sum.to_ne_bytes());
        prop_assert_eq!(common4(&frame, frame.len(), &ingress(), true), right);
    }

    /// A chain of segments is longer than its first.
    #[test]
    fn the_length_is_the_whole_packets(frame in packet()) {
        if frame.len() <= HEADERS || properly(&frame).is_none() {
            return Ok(());
        }
        let first = &frame[..HEADERS];
        prop_assert_eq!(common4(first, frame.len(), &ingress(), false), properly(&frame));
        let total = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        prop_assert_eq!(common4(first, total - 1, &ingress(), false), None);
    }

    #[test]
    fn noise_is_judged_the_same(mut frame in vec(any::<u8>(), 0..120)) {
        frame.iter_mut().zip(OURS.0.iter().chain(&[0, 0, 0, 0, 0, 0, 8, 0, 0x45])).for_each(|(b, o)| *b = *o);
        mend(&mut frame);
        let fast = common4(&frame, frame.len(), &ingress(), false);
        prop_assert!(fast.is_none() || fast == properly(&frame));
    }
}
