//! Errors about packets of real sessions, from either side; the policy, type by type; and damaged errors.

use super::*;
use crate::firewall::parse::flow;
use crate::firewall::{Firewall, Flow6, Home, Options, Timeouts6};
use crate::flow::record::Record;
use crate::flow::{FlowHome, FlowTable, HashKey, Record6};
use crate::packet::build::{self, Icmpv6Error, Ip, Path, Transport};
use crate::packet::icmp::Echo;
use crate::packet::{MacAddr, TcpFlags, icmpv6, ipv6, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv6Addr;
use std::sync::Arc;

const INSIDE: Realm = Realm(1);
const OUTSIDE: Realm = Realm(9);
const LINK: usize = 14;

fn host() -> Ipv6Addr {
    "2001:db8:1::1".parse().unwrap()
}

fn server() -> Ipv6Addr {
    "2001:db8:ffff::1".parse().unwrap()
}

fn router() -> Ipv6Addr {
    "2001:db8:eeee::1".parse().unwrap()
}

fn written(header: ipv6::Header, transport: &Transport<'_>) -> Vec<u8> {
    let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
    let mut buffer = [0; 2048];
    let length = build::frame(&mut buffer, &path, &Ip::V6(header), transport).expect("it fits");
    buffer[LINK..length].to_vec()
}

/// A packet that opens a session from inside, by each kind of protocol; the last two behind extension headers.
fn openings() -> Vec<Vec<u8>> {
    let to = |next| ipv6::Header::new(host(), server(), next);
    let udp = udp::Header { source_port: 4000, destination_port: 53 };
    let echo = icmpv6::Header::echo(Icmpv6Type::ECHO_REQUEST, Echo { identifier: 77, sequence: 1 });
    let ports = [0x0f, 0xa0, 0, 53];
    let sctp = [&ports[..], &[1; 40]].concat();
    let behind = |first: &[u8]| [first, &ports, &[0, 16, 0, 0], &[1; 8]].concat();
    let options = behind(&[17, 0, 1, 4, 0, 0, 0, 0]);
    let protected = behind(&[17, 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
    vec![
        written(to(Protocol::TCP), &Transport::Tcp(tcp::Header::new(4000, 53, TcpFlags::SYN), b"data")),
        written(to(Protocol::UDP), &Transport::Udp(udp, &[7; 1400])),
        written(to(Protocol::ICMPV6), &Transport::Icmpv6(echo, b"echo")),
        written(to(Protocol::SCTP), &Transport::Raw(&sctp)),
        written(to(Protocol::ESP), &Transport::Raw(&[5; 64])),
        written(to(Protocol(47)), &Transport::Raw(&[])),
        written(to(Protocol::DESTINATION_OPTIONS), &Transport::Raw(&options)),
        written(to(Protocol::AH), &Transport::Raw(&protected)),
    ]
}

fn flow_of(packet: &[u8], realm: Realm) -> Flow6 {
    flow(&Ipv6::parse(packet).unwrap(), realm).unwrap()
}

/// An error from `from`, to `to`, that quotes `quote`.
fn error(kind: u8, parameter: u32, from: Ipv6Addr, to: Ipv6Addr, quote: &[u8]) -> Vec<u8> {
    let header = icmpv6::Header { kind: Icmpv6Type(kind), code: 0, parameter: parameter.to_be_bytes() };
    written(ipv6::Header::new(from, to, Protocol::ICMPV6), &Transport::Icmpv6(header, quote))
}

fn key_of(packet: &[u8], realm: Realm) -> Result<Option<Key6>, DropReason> {
    error_key(&Ipv6::parse(packet)?, realm)
}

/// A table in which `opening` has made its session.
fn table_with(opening: &[u8]) -> Arc<FlowTable> {
    let mut n = 7u64;
    let mut random = || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n >> 31
    };
    let options = Options {
        inside: vec![INSIDE],
        outside: OUTSIDE,
        allow_ipsec: false,
        sessions_from_outside: 0,
        timeouts: Timeouts6::default(),
    };
    let table = Arc::new(FlowTable::new(0, 16, 1, HashKey::new(&mut random)));
    let firewall = Arc::new(Firewall::new(options, HashKey::new(random), 1));
    let mut flows = FlowHome::new(table.clone());
    Home::new(firewall).outbound(&mut flows, &flow_of(opening, INSIDE), OUTSIDE, 0).unwrap();
    table
}

#[test]
fn errors_travel_along_their_session() {
    for opening in openings() {
        let table = table_with(&opening);
        let out = flow_of(&opening, INSIDE).key;
        for (kind, parameter) in [(1, 0), (2, 1280), (3, 0), (4, 40)] {
            // From the outside, about a packet that left: to its sender, along the half inwards.
            let arrives = error(kind, parameter, router(), host(), &opening[..opening.len().min(1232)]);
            let key = key_of(&arrives, OUTSIDE).unwrap().unwrap();
            let (_, record) = table.lookup::<Record6>(&key).expect("a session");
            assert_eq!(
                (record.key(), record.common().action().is_outbound()),
                (out.reversed(OUTSIDE), false)
            );
            // From the inside, about an answer: along the half outwards.
            let mut answer = opening.clone();
            answer[8..24].copy_from_slice(&server().octets());
            answer[24..40].copy_from_slice(&host().octets());
            let ports = flow_of(&opening, INSIDE).upper_offset;
            if out.source_port() != out.destination_port() {
                answer[ports..ports + 4].rotate_left(2);
            }
            let leaves = error(kind, parameter, host(), server(), &answer[..answer.len().min(1232)]);
            let key = key_of(&leaves, INSIDE).unwrap().unwrap();
            let (_, record) = table.lookup::<Record6>(&key).expect("a session");
            assert_eq!((record.key(), record.common().action().is_outbound()), (out, true));
            // About a packet that never crossed: there is no such half.
            let mut other = opening.clone();
            other[39] ^= 1;
            let key = key_of(&error(kind, parameter, router(), host(), &other), OUTSIDE).unwrap().unwrap();
            assert!(table.lookup::<Record6>(&key).is_none());
        }
    }
}

#[test]
fn the_errors_of_routers_are_read() {
    let opening = &openings()[1];
    let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
    for about in [Icmpv6Error::TimeExceeded, Icmpv6Error::PacketTooBig { mtu: 1400 }, Icmpv6Error::NoRoute] {
        let mut buffer = [0; 1500];
        let packet = Ipv6::parse(opening).unwrap();
        let length = build::icmpv6_error(&mut buffer, &path, router(), about, &packet).unwrap();
        let key = key_of(&buffer[LINK..length], OUTSIDE).unwrap();
        assert_eq!(key, Some(flow_of(opening, INSIDE).key.reversed(OUTSIDE)));
    }
}

#[test]
fn errors_that_are_not_right_are_dropped() {
    let opening = openings().remove(0);
    let key = |bytes: &[u8]| key_of(bytes, OUTSIDE);
    let invalid = Err(DropReason::IcmpErrorInvalid);
    for length in 0..opening.len() {
        let found = key(&error(3, 0, router(), host(), &opening[..length]));
        assert_eq!(found.is_ok(), length >= 44, "a quote of {length} bytes");
        assert!(found.is_ok() || found == invalid);
    }
    let mut damaged = error(3, 0, router(), host(), &opening);
    damaged[60] ^= 1;
    assert_eq!(key(&damaged), invalid);
    assert_eq!(key(&error(3, 0, router(), server(), &opening)), invalid, "to somebody else");
    assert_eq!(key(&error(2, 1279, router(), host(), &opening)), invalid, "less than the minimum MTU");
    let later = written(
        ipv6::Header::new(host(), server(), Protocol::FRAGMENT),
        &Transport::Raw(&[17, 0, 0, 8, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]),
    );
    assert_eq!(key(&error(3, 0, router(), host(), &later)), invalid, "the middle of a packet");
    let about_error = error(1, 0, host(), server(), &opening);
    let found = key(&error(3, 0, router(), host(), &about_error));
    assert_eq!(found, Err(DropReason::IcmpErrorNoSession), "about an error");
    // An error that is a fragment, or takes a route of its own.
    let message = error(3, 0, router(), host(), &opening);
    for (first, header, expected) in [
        (Protocol::FRAGMENT, [58, 0, 0, 1, 0, 0, 0, 1], DropReason::Ipv6Fragment),
        (Protocol::ROUTING, [58, 0, 0, 0, 0, 0, 0, 0], DropReason::Ipv6ExtensionInvalid),
    ] {
        let payload = [&header[..], &message[40..]].concat();
        let bytes = written(ipv6::Header::new(router(), host(), first), &Transport::Raw(&payload));
        assert_eq!(key(&bytes), Err(expected));
    }
}

#[test]
fn the_policy_type_by_type() {
    let opening = openings().remove(0);
    for kind in 0..=255u8 {
        let expected = match kind {
            1..=4 => Crossing::WithQuotedSession,
            128 | 129 => Crossing::AsSession,
            _ => Crossing::Never,
        };
        assert_eq!(crossing(Icmpv6Type(kind)), expected, "type {kind}");
        let found = key_of(&error(kind, 1500, router(), host(), &opening), OUTSIDE);
        match expected {
            Crossing::WithQuotedSession => assert!(found.unwrap().is_some()),
            Crossing::AsSession => assert_eq!(found, Ok(None)),
            Crossing::Never => assert_eq!(found, Err(DropReason::Icmpv6Filtered), "type {kind}"),
        }
    }
    for opening in openings() {
        assert_eq!(key_of(&opening, INSIDE), Ok(None), "no error");
    }
}

proptest! {
    /// An error of which any part was changed names a session only if it still sums up and is to whom it quotes.
    #[test]
    fn damaged_errors_never_panic(
        which in 0usize..8, kind in 0u8..6, cut in 0usize..200,
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..5), mend: bool,
    ) {
        let mut quote = openings().remove(which);
        quote.truncate(quote.len().saturating_sub(cut).clamp(1, 1232));
        for (at, value) in &changes {
            let at = at.index(quote.len());
            if mend {
                quote[at] = *value;
            }
        }
        let mut bytes = error(kind, 1500, router(), host(), &quote);
        if !mend {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
        }
        if let Ok(ip) = Ipv6::parse_quoted(&bytes)
            && let Ok(Some(key)) = error_key(&ip, OUTSIDE)
        {
            prop_assert_eq!((key.destination(), key.realm()), (ip.destination(), OUTSIDE));
            let upper = ip.upper().unwrap();
            prop_assert!(Icmpv6::parse(upper.payload).unwrap().checksum_is_right(&ip.pseudo_header()));
        }
    }
}
