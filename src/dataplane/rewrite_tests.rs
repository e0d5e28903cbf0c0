//! A compiled rewrite, by the fast way and by the general one, against the packet built anew with all checksums in full.

use super::*;
use crate::flow::{Key4, Realm};
use crate::nat::nat44::compile;
use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::{IcmpType, MacAddr, Protocol as Number, TcpFlags, icmp, ipv4, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;

type End = (Ipv4Addr, u16);

/// A packet, but for its ends.
#[derive(Clone, Debug)]
struct Shape {
    protocol: Protocol,
    payload: Vec<u8>,
    options: Vec<u8>,
    ip_options: Vec<u8>,
    trailer: Vec<u8>,
    flags: u8,
    ttl: u8,
    unsummed: bool,
}

fn shape(protocol: impl Strategy<Value = Protocol>) -> impl Strategy<Value = Shape> {
    let words = || vec(any::<[u8; 4]>(), 0..=10).prop_map(|w| w.concat());
    // Zeros and ones are where one's complement has its corners.
    let payload = prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(prop_oneof![Just(0u8), Just(0xff)], 0..20),
        any::<u16>().prop_map(|w| w.to_be_bytes().to_vec()),
    ];
    (protocol, payload, words(), words(), vec(any::<u8>(), 0..30), any::<u8>(), 2..=255u8, any::<bool>())
        .prop_map(|(protocol, payload, options, ip_options, trailer, flags, ttl, unsummed)| Shape {
            protocol,
            payload,
            options,
            ip_options,
            trailer,
            flags,
            ttl,
            unsummed,
        })
}

fn end() -> impl Strategy<Value = End> {
    let corner = prop_oneof![Just(0u32), Just(u32::MAX), any::<u32>()];
    (corner, prop_oneof![Just(0u16), Just(u16::MAX), any::<u16>()]).prop_map(|(a, p)| (Ipv4Addr::from(a), p))
}

impl Shape {
    /// The frame, all of it computed from nothing. Of an echo, the source's port is the identifier.
    fn frame(&self, source: End, destination: End, ttl: u8) -> Vec<u8> {
        let number = Number(self.protocol as u8);
        let header = ipv4::Header {
            ttl,
            options: &self.ip_options,
            ..ipv4::Header::new(source.0, destination.0, number)
        };
        let transport = match self.protocol {
            Protocol::Udp => {
                let header = udp::Header { source_port: source.1, destination_port: destination.1 };
                Transport::Udp(header, &self.payload)
            }
            Protocol::Tcp => {
                let header = tcp::Header {
                    options: &self.options,
                    ..tcp::Header::new(source.1, destination.1, TcpFlags(self.flags))
                };
                Transport::Tcp(header, &self.payload)
            }
            Protocol::Icmp | Protocol::Icmpv6 => {
                let echo = icmp::Echo { identifier: source.1, sequence: u16::from(self.flags) };
                Transport::Icmp(icmp::Header::echo(IcmpType::ECHO_REQUEST, echo), &self.payload)
            }
        };
        let mut frame = vec![0; 600];
        let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
        let length = build::frame(&mut frame, &path, &Ip::V4(header), &transport).expect("it fits");
        frame.truncate(length);
        if self.unsummed && self.protocol == Protocol::Udp {
            let at = 34 + self.ip_options.len() + 6;
            frame[at..at + 2].fill(0);
        }
        frame.extend(&self.trailer);
        frame
    }

    fn key(&self, mut ends: [End; 2]) -> Key4 {
        if self.protocol == Protocol::Icmp {
            ends[1].1 = ends[0].1;
        }
        Key4::new(Realm(1), self.protocol, ends[0], ends[1])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fast_is_general_is_built_anew(
        shape in shape(prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]),
        old in [end(), end()], new in [end(), end()], hop in any::<bool>(),
    ) {
        let shape = Shape { ip_options: vec![], ..shape };
        let rewrite = compile(&shape.key(old), &shape.key(new), hop);
        let kind = if hop { Action::FORWARD } else { Action::HAIRPIN };
        let before = shape.frame(old[0], old[1], shape.ttl);
        let wanted = shape.frame(new[0], new[1], shape.ttl - u8::from(hop));
        let mut slow = before.clone();
        prop_assert!(general(&mut slow, 14, 34, &rewrite, kind, shape.protocol as u8));
        prop_assert_eq!(&slow, &wanted);
        let mut fast = before;
        // A hairpin's first leg, which takes no TTL, is never the fast way's.
        if let Some(headers) = fast.first_chunk_mut::<HEADERS>().filter(|_| hop) {
            common4(headers, &rewrite, shape.protocol == Protocol::Tcp);
            prop_assert_eq!(&fast, &wanted);
        }
    }

    /// With IP options, and ICMP echoes.
    #[test]
    fn general_is_built_anew(
        shape in shape(prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Icmp)]),
        old in [end(), end()], new in [end(), end()], hop in any::<bool>(),
    ) {
        let rewrite = compile(&shape.key(old), &shape.key(new), hop);
        let kind = if hop { Action::FORWARD } else { Action::HAIRPIN };
        let mut frame = shape.frame(old[0], old[1], shape.ttl);
        let l4 = 34 + shape.ip_options.len();
        prop_assert!(general(&mut frame, 14, l4, &rewrite, kind, shape.protocol as u8));
        prop_assert_eq!(frame, shape.frame(new[0], new[1], shape.ttl - u8::from(hop)));
    }

    /// Cut anywhere behind its transport header, each piece rewritten by itself, put together again.
    #[test]
    fn fragments_are_the_whole_packet_rewritten(
        shape in shape(prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Icmp)]),
        old in [end(), end()], new in [end(), end()], hop in any::<bool>(), cuts in vec(any::<prop::sample::Index>(), 1..5),
    ) {
        let shape = Shape { ip_options: vec![], trailer: vec![], ..shape };
        let rewrite = compile(&shape.key(old), &shape.key(new), hop);
        let kind = if hop { Action::FORWARD } else { Action::HAIRPIN };
        let frame = shape.frame(old[0], old[1], shape.ttl);
        let (head, payload) = frame.split_at(34);
        let transport = if shape.protocol == Protocol::Tcp { 20 + shape.options.len() } else { 8 };
        let mut places: Vec<_> = cuts.iter().map(|c| c.index(payload.len() / 8 + 1) * 8).collect();
        places.retain(|&p| p >= transport && p < payload.len());
        places.extend([0, payload.len()]);
        places.sort_unstable();
        places.dedup();
        let mut together = Vec::<u8>::new();
        for place in places.windows(2) {
            let mut piece = [head, &payload[place[0]..place[1]]].concat();
            let header = ipv4::Header {
                ttl: shape.ttl,
                more_fragments: place[1] < payload.len(),
                fragment_offset: place[0] as u16,
                ..ipv4::Header::new(old[0].0, old[1].0, Number(shape.protocol as u8))
            };
            header.emit(&mut piece[14..], place[1] - place[0]).expect("it fits");
            if place[0] == 0 {
                prop_assert!(general(&mut piece, 14, 34, &rewrite, kind, shape.protocol as u8));
                together.extend(&piece[..34]);
            } else {
                prop_assert!(super::header(&mut piece, 14, &rewrite, kind));
            }
            let ip = ipv4::Ipv4::parse(&piece[14..]).expect("still a packet");
            prop_assert!(ip.checksum_is_right());
            prop_assert_eq!((ip.source(), ip.destination()), (new[0].0, new[1].0));
            prop_assert_eq!(ip.ttl(), shape.ttl - u8::from(hop));
            together.extend(ip.payload());
        }
        let wanted = shape.frame(new[0], new[1], shape.ttl - u8::from(hop));
        prop_assert_eq!(&together[34..], &wanted[34..]);
    }

    /// A frame too short for what must be rewritten stays as it is.
    #[test]
    fn nothing_is_written_into_what_is_short(
        shape in shape(Just(Protocol::Tcp)), old in [end(), end()], new in [end(), end()], keep in 0..52usize,
    ) {
        let rewrite = compile(&shape.key(old), &shape.key(new), true);
        let frame = Shape { ip_options: vec![], ..shape }.frame(old[0], old[1], 64);
        let mut cut = frame[..keep].to_vec();
        prop_assert!(!general(&mut cut, 14, 34, &rewrite, Action::FORWARD, Protocol::Tcp as u8));
        prop_assert_eq!(&cut, &frame[..keep]);
    }
}
