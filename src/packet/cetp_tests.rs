//! What was written is read back; nothing else is; what it costs; RFC 6040's table.

use super::*;
use crate::packet::{Delta, PseudoHeader, Udp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const SST: u32 = 0x0102_0304;
const DST: u32 = 0xa1b2_c3d4;

fn headers() -> impl Strategy<Value = Header> {
    let number = (any::<u8>(), 0..=LAST_SEQUENCE).prop_map(|(worker, sequence)| Number { worker, sequence });
    (any::<u8>(), 1..=u32::MAX, 1..=u32::MAX, proptest::option::of(number)).prop_map(
        |(epoch, source, destination, number)| Header {
            kind: Kind::Ipv4,
            epoch,
            source,
            destination,
            number,
        },
    )
}

/// Any IPv4 packet: options that may be none, fragments, and all bits that RFC 791 has.
fn packets4() -> impl Strategy<Value = Vec<u8>> {
    let options = (0usize..=10).prop_flat_map(|words| vec(any::<u8>(), words * 4));
    (any::<[u8; 8]>(), any::<[u8; 8]>(), any::<bool>(), options, vec(any::<u8>(), 0..200)).prop_map(
        |(head, addresses, is_atomic, options, payload)| {
            let mut packet = vec![0; 20];
            packet.extend(&options);
            packet.extend(&payload);
            let total = packet.len() as u16;
            packet[0] = 0x45 + (options.len() / 4) as u8;
            packet[1] = head[0];
            packet[2..4].copy_from_slice(&total.to_be_bytes());
            packet[4..10].copy_from_slice(&head[1..7]);
            if is_atomic {
                packet[6..8].copy_from_slice(&DONT_FRAGMENT);
            }
            packet[12..20].copy_from_slice(&addresses);
            let sum = Sum::ZERO.and(&packet[..20 + options.len()]).checksum();
            packet[10..12].copy_from_slice(&sum.to_ne_bytes());
            packet
        },
    )
}

/// What a packet must come out as: an atomic datagram's identification is 0.
fn canonical(mut packet: Vec<u8>) -> Vec<u8> {
    if packet[6..8] == DONT_FRAGMENT {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
        let end = usize::from(packet[0] & 15) * 4;
        let sum = Sum::ZERO.and(&packet[..end]).checksum();
        packet[10..12].copy_from_slice(&sum.to_ne_bytes());
    }
    packet
}

fn restored4(bytes: &[u8], addresses: [u8; 8]) -> Vec<u8> {
    let payload = Payload::parse(bytes).unwrap();
    let Inner::Ipv4(inner) = payload.inner() else { panic!("{payload:?}") };
    [&inner.restore(inner.service(), addresses)[..], inner.options(), inner.payload()].concat()
}

proptest! {
    #[test]
    fn an_ipv4_packet_comes_back(packet in packets4(), header in headers(), padding in vec(any::<u8>(), 0..20)) {
        let mut buffer = [0; 400];
        let parsed = Ipv4::parse(&packet).unwrap();
        let length = emit_ipv4(&mut buffer, &header, &parsed).unwrap();
        let bytes = [&buffer[..length], &padding].concat();
        prop_assert_eq!(Payload::parse(&bytes).unwrap().header(), header);
        let addresses = packet[12..20].try_into().unwrap();
        prop_assert_eq!(restored4(&bytes, addresses), canonical(packet.clone()));
        // Behind 28 bytes of UDP and IPv4.
        let growth = (28 + length) as i32 - packet.len() as i32 - header.number.map_or(0, |_| 8);
        prop_assert_eq!(growth, if packet[6..8] == DONT_FRAGMENT { 24 } else { 28 });
    }

    #[test]
    fn an_ipv6_packet_comes_back(
        header in headers(), class: u8, label in 0..1u32 << 20, next: u8, hops: u8, addresses: [u128; 2],
        payload in vec(any::<u8>(), 0..100),
    ) {
        let written = ipv6::Header {
            traffic_class: class,
            flow_label: label,
            next_header: Protocol(next),
            hop_limit: hops,
            source: Ipv6Addr::from(addresses[0]),
            destination: Ipv6Addr::from(addresses[1]),
        };
        let (mut packet, mut buffer) = (vec![0; 40], [0; 400]);
        written.emit(&mut packet, payload.len()).unwrap();
        packet.extend(&payload);
        let length = emit_ipv6(&mut buffer, &header, &Ipv6::parse(&packet).unwrap()).unwrap();
        let read = Payload::parse(&buffer[..length]).unwrap();
        prop_assert_eq!(read.header(), Header { kind: Kind::Ipv6, ..header });
        let Inner::Ipv6(inner) = read.inner() else { panic!() };
        let back = [&inner.restore(packet[8..40].try_into().unwrap())[..], inner.payload()].concat();
        prop_assert_eq!(28 + length, packet.len() + 6 + header.number.map_or(0, |_| 8));
        prop_assert_eq!(back, packet);
    }

    #[test]
    fn a_frame_comes_back(header in headers(), frame in vec(any::<u8>(), 0..100)) {
        let mut buffer = [0; 400];
        let written = emit_ethernet(&mut buffer, &header, &frame);
        prop_assert_eq!(written.is_ok(), frame.len() >= 14);
        if let Ok(length) = written {
            let read = Payload::parse(&buffer[..length]).unwrap();
            let Inner::Ethernet(back) = read.inner() else { panic!() };
            prop_assert_eq!(back, &frame[..]);
        }
    }

    #[test]
    fn any_bytes_are_a_payload_or_none(mut bytes in vec(any::<u8>(), 0..90), kind in 0u8..4, is_likely: bool) {
        if is_likely && bytes.len() >= 4 {
            bytes[0] = 0x90 | kind << 2 | bytes[0] & 2;
            bytes[2] = 0;
            bytes[3] %= 100;
        }
        if let Ok(payload) = Payload::parse(&bytes) {
            // One encoding: what was read is written again as the same bytes.
            let (header, mut again) = (payload.header(), [0; 100]);
            let length = match payload.inner() {
                Inner::Ipv4(inner) => {
                    let packet = [&inner.restore(inner.service(), [0; 8])[..], inner.options(), inner.payload()].concat();
                    prop_assert!(Sum::ZERO.and(&packet[..20 + inner.options().len()]).is_right());
                    // An edge may tell the identification of an atomic datagram, which another doesn't.
                    prop_assume!(inner.head[3] & FRAGMENTS == 0 || inner.middle[2..] != DONT_FRAGMENT);
                    emit_ipv4(&mut again, &header, &Ipv4::parse(&packet).unwrap())
                }
                Inner::Ipv6(inner) => {
                    let packet = [&inner.restore(&[0; 32])[..], inner.payload()].concat();
                    emit_ipv6(&mut again, &header, &Ipv6::parse(&packet).unwrap())
                }
                Inner::Ethernet(frame) => emit_ethernet(&mut again, &header, frame),
            };
            prop_assert_eq!(&again[..length.unwrap()], &bytes[..length.unwrap()]);
        }
    }

    /// The whole way of a checksum: from the sender's addresses to the tags, from the tags to the receiver's.
    #[test]
    fn a_checksum_crosses(own: [u32; 2], theirs: [u32; 2], tags: [u32; 2], payload in vec(any::<u8>(), 0..40)) {
        let ends = |pair: [u32; 2]| PseudoHeader::V4 {
            source: Ipv4Addr::from(pair[0]),
            destination: Ipv4Addr::from(pair[1]),
        };
        let bytes = |pair: [u32; 2]| (u64::from(pair[0]) << 32 | u64::from(pair[1])).to_be_bytes();
        let mut datagram = vec![0; 8 + payload.len()];
        udp::Header { source_port: 5, destination_port: 6 }.emit(&mut datagram, &ends(own), &payload).unwrap();
        let mut pair = own;
        for next in [tags, theirs] {
            let sum = u16::from_ne_bytes([datagram[6], datagram[7]]);
            let sum = Delta::between(&bytes(pair), &bytes(next)).apply_udp(sum);
            datagram[6..8].copy_from_slice(&sum.to_ne_bytes());
            prop_assert!(Udp::parse(&datagram).unwrap().checksum_is_right(&ends(next)));
            pair = next;
        }
    }
}

/// A payload of an IPv4 packet without payload, atomic.
const SHORTEST: [u8; 16] = [0x94, 0, 0, 16, 1, 2, 3, 4, 0xa1, 0xb2, 0xc3, 0xd4, 0, 64, 17, 0];

#[test]
fn contradictions_are_refused() {
    let with = |at: usize, value: u8| {
        let mut bytes = SHORTEST;
        bytes[at] = value;
        Payload::parse(&bytes).err()
    };
    assert_eq!(with(1, 7), None, "an epoch is for the session to judge");
    for (at, value, why) in [
        (0, 0x14, "a message"),
        (0, 0xa4, "another version"),
        (0, 0x90, "no kind"),
        (0, 0x95, "a reserved bit"),
        (0, 0x96, "a number that isn't there"),
        (3, 11, "shorter than its header"),
        (3, 15, "cut short"),
        (15, 0x02, "a reserved bit inside"),
        (15, 0x01, "no identification"),
        (15, 0x10, "options that aren't there"),
    ] {
        assert_eq!(with(at, value), Some(Error::CetpInvalid), "{why}");
    }
    assert_eq!(with(3, 17), Some(Error::Truncated));
    for tag in [4, 8] {
        let mut bytes = SHORTEST;
        bytes[tag..tag + 4].fill(0);
        assert_eq!(Payload::parse(&bytes).err(), Some(Error::CetpInvalid), "no tag");
    }
    let mut many = SHORTEST.to_vec();
    (many[3], many[15]) = (60, 0xb0);
    many.resize(60, 0);
    assert_eq!(Payload::parse(&many).err(), Some(Error::CetpInvalid), "11 words of options");
}

#[test]
fn nothing_is_longer_than_its_length_can_say() {
    let header = Header::new(Kind::Ipv4, SST, DST);
    let mut packet = vec![0; 65_535];
    let mut buffer = vec![0; 70_000];
    let mut written = |total: u16| {
        packet[..4].copy_from_slice(&[0x45, 0, (total >> 8) as u8, total as u8]);
        packet[6] = 0x40;
        emit_ipv4(&mut buffer, &header, &Ipv4::parse(&packet).unwrap())
    };
    assert_eq!(written(65_535), Ok(65_531), "it is shorter in here");
    // What would be longer than a packet can be is none.
    let mut bytes = vec![0; 65_535];
    bytes[..16].copy_from_slice(&SHORTEST);
    bytes[2..4].copy_from_slice(&65_532_u16.to_be_bytes());
    assert_eq!(Payload::parse(&bytes).err(), Some(Error::CetpInvalid));
    bytes[2..4].copy_from_slice(&65_531_u16.to_be_bytes());
    assert!(Payload::parse(&bytes).is_ok());
    let frame = vec![0; 65_530];
    assert_eq!(emit_ethernet(&mut buffer, &header, &frame), Err(Error::TooLong));
    assert_eq!(emit_ethernet(&mut [0; 20], &header, &frame[..14]), Err(Error::BufferTooSmall));
}

/// RFC 6040 section 4.2, figure 4: a row for each inner field, a column for each outer one: Not-ECT, ECT(0), ECT(1), CE.
#[test]
fn the_ecn_field_leaves_as_rfc_6040_says() {
    const NOT: u8 = 0b00;
    const ECT_0: u8 = 0b10;
    const ECT_1: u8 = 0b01;
    const CE: u8 = 0b11;
    let outer = [NOT, ECT_0, ECT_1, CE];
    for (inner, row) in [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
        (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ] {
        assert_eq!(outer.map(|outer| ecn_at_exit(inner, outer)), row, "inner {inner:02b}");
    }
}

#[test]
fn what_it_costs() {
    assert_eq!((GROWTH, LONGEST_HEAD), (24, 28));
}
