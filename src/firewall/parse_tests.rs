//! Flows of packets that are written anew, whatever extension headers stand before their transport; and of nonsense.

use super::*;
use crate::firewall::icmpv6::error_key;
use crate::packet::ipv6;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv6Addr;

const REALM: Realm = Realm(3);
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AH: u8 = 51;
const NOTHING: u8 = 59;
const OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

fn ends() -> (Ipv6Addr, Ipv6Addr) {
    ("2001:db8::1".parse().unwrap(), "2001:db8:1::2".parse().unwrap())
}

/// A packet with these extension headers, their content (from the third byte on) a whole number of words of 8 bytes, less 2.
fn packet(chain: &[(u8, Vec<u8>)], protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (i, (kind, content)) in chain.iter().enumerate() {
        let next = chain.get(i + 1).map_or(protocol, |(next, _)| *next);
        let words = (content.len() + 2) / 8;
        let length = match *kind {
            AH => words * 2 - 2,
            FRAGMENT => 0,
            _ => words - 1,
        };
        payload.extend([next, length as u8]);
        payload.extend(content);
    }
    payload.extend(transport);
    let first = chain.first().map_or(protocol, |(kind, _)| *kind);
    let mut bytes = vec![0; ipv6::HEADER_LENGTH];
    ipv6::Header::new(ends().0, ends().1, Protocol(first)).emit(&mut bytes, payload.len()).unwrap();
    bytes.extend(payload);
    bytes
}

fn of(bytes: &[u8]) -> Result<Flow6, DropReason> {
    flow(&Ipv6::parse(bytes)?, REALM)
}

/// The least that a transport can be, from port 4000 to 53; an echo request with identifier 4000.
fn transport(protocol: u8) -> Vec<u8> {
    let mut bytes = vec![0x0f, 0xa0, 0, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    match protocol {
        6 => (bytes[12], bytes[13]) = (5 << 4, 2),
        17 => {
            bytes.truncate(8);
            bytes[5] = 8;
        }
        58 => bytes = vec![128, 0, 0, 0, 0x0f, 0xa0, 0, 1],
        136 => bytes.truncate(8),
        132 | 33 => bytes.truncate(12),
        50 => bytes = vec![0x0f, 0xa0, 0, 53, 0, 0, 0, 1],
        _ => bytes.clear(),
    }
    bytes
}

/// The ports of [`transport`].
fn expected_ports(protocol: u8) -> (u16, u16) {
    match protocol {
        6 | 17 | 33 | 132 | 136 => (4000, 53),
        58 => (4000, 4000),
        _ => (0, 0),
    }
}

#[test]
fn every_protocol_has_its_key() {
    for protocol in [6, 17, 33, 47, 50, 58, 4, 41, 89, NOTHING, 132, 136, 253] {
        for (chain, expected) in [
            (vec![], protocol),
            (vec![(OPTIONS, vec![0; 6])], protocol),
            (vec![(MOBILITY, vec![0; 14])], protocol),
            (vec![(SHIM6, vec![0; 6])], protocol),
            (vec![(FRAGMENT, vec![0; 6])], protocol), // atomic
            (vec![(OPTIONS, vec![0; 6]), (AH, vec![0; 14])], AH),
            (vec![(HIP, vec![0; 30]), (AH, vec![0; 14])], HIP),
        ] {
            let bytes = packet(&chain, protocol, &transport(protocol));
            let flow = of(&bytes).unwrap_or_else(|e| panic!("{chain:?} {protocol}: {e:?}"));
            let key = flow.key;
            assert_eq!((key.source(), key.destination(), key.realm()), (ends().0, ends().1, REALM));
            assert_eq!((key.protocol(), (key.source_port(), key.destination_port())), {
                (expected, expected_ports(expected))
            });
            assert_eq!(flow.upper_offset, bytes.len() - transport(protocol).len());
            assert!(flow.opens && flow.tcp_flags == if expected == 6 { 2 } else { 0 });
        }
    }
    // Of one pair of hosts all SPIs are one flow (REC-25).
    let esp = |spi| of(&packet(&[], 50, &[spi, 2, 3, 4, 0, 0, 0, 1])).unwrap().key;
    assert_eq!(esp(1), esp(2));
}

#[test]
fn source_routes_never_cross() {
    for (kind, left, expected) in [
        (0, 0, Err(DropReason::Ipv6ExtensionInvalid)),
        (0, 1, Err(DropReason::Ipv6ExtensionInvalid)),
        (2, 1, Ok(17)),
        (3, 1, Err(DropReason::Ipv6ExtensionInvalid)),
        (4, 2, Err(DropReason::Ipv6ExtensionInvalid)),
        (4, 0, Ok(17)),
    ] {
        let routing = (ROUTING, [&[kind, left][..], &[0; 20]].concat());
        let bytes = packet(std::slice::from_ref(&routing), 17, &transport(17));
        assert_eq!(of(&bytes).map(|f| f.key.protocol()), expected, "type {kind}, {left} segments left");
        // Nor hidden behind another, or by protection.
        let harmless = (ROUTING, [&[2, 1][..], &[0; 20]].concat());
        for chain in [vec![harmless, routing.clone()], vec![(AH, vec![0; 14]), routing]] {
            assert_eq!(of(&packet(&chain, 17, &transport(17))).is_ok(), expected.is_ok());
        }
    }
}

#[test]
fn fragments_and_long_chains_are_refused() {
    for (offset, expected) in [([0, 1], false), ([0, 8], false), ([0, 9], false), ([0, 0], true)] {
        let fragment = (FRAGMENT, [&offset[..], &[0, 0, 0, 1]].concat());
        let found = of(&packet(&[fragment], 17, &transport(17)));
        assert_eq!(found.is_ok(), expected, "{offset:?}");
        assert!(expected || found == Err(DropReason::Ipv6Fragment));
    }
    let options = (OPTIONS, vec![0; 6]);
    let long = vec![options.clone(); ipv6::MAX_EXTENSIONS + 1];
    assert_eq!(of(&packet(&long, 17, &transport(17))), Err(DropReason::Ipv6ExtensionInvalid));
    let late = [options, (HOP_BY_HOP, vec![0; 6])];
    assert_eq!(of(&packet(&late, 17, &transport(17))), Err(DropReason::Ipv6ExtensionInvalid));
    assert_eq!(of(&packet(&[], OPTIONS, &[17, 1, 0, 0, 0, 0, 0, 0])), Err(DropReason::Truncated));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    for protocol in [6u8, 17, 33, 50, 58, 132, 136] {
        let whole = transport(protocol);
        for length in 0..whole.len() {
            let cut = of(&packet(&[], protocol, &whole[..length]));
            assert_eq!(cut, Err(DropReason::L4HeaderInvalid), "{protocol} cut to {length}");
        }
    }
    let mut udp = transport(17);
    udp[5] = 9;
    assert_eq!(of(&packet(&[], 17, &udp)), Err(DropReason::L4HeaderInvalid));
    for flags in 0..=255u8 {
        let mut tcp = transport(6);
        tcp[13] = flags;
        let expected = if crate::packet::TcpFlags(flags).is_sane() {
            Ok((flags, flags & 0x17 == 2))
        } else {
            Err(DropReason::TcpFlagsInvalid)
        };
        assert_eq!(of(&packet(&[], 6, &tcp)).map(|f| (f.tcp_flags, f.opens)), expected, "{flags:#x}");
    }
}

#[test]
fn of_icmpv6_only_echo_is_a_flow() {
    for kind in 0..=255u8 {
        let found = of(&packet(&[], 58, &[kind, 0, 0, 0, 0x0f, 0xa0, 0, 1])).map(|f| f.opens);
        let expected = match kind {
            128 => Ok(true),
            129 => Ok(false),
            _ => Err(DropReason::Icmpv6Filtered),
        };
        assert_eq!(found, expected, "type {kind}");
    }
}

fn extension() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let kinds = prop::sample::select(vec![OPTIONS, AH, MOBILITY, HIP, SHIM6]);
    let plain = (kinds, vec(any::<u8>(), 0..4).prop_map(|words| [vec![1; 6], words.repeat(8)].concat()));
    let routing = (Just(ROUTING), Just([&[2, 1][..], &[0; 20]].concat()));
    let atomic = (Just(FRAGMENT), any::<[u8; 4]>().prop_map(|id| [&[0, 0][..], &id].concat()));
    prop_oneof![6 => plain, 1 => routing, 1 => atomic]
}

fn protocol() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![6u8, 17, 33, 47, 50, 58, NOTHING, 132, 136])
}

proptest! {
    /// Whatever harmless extension headers stand before it.
    #[test]
    fn extension_headers_do_not_change_the_flow(
        chain in vec(extension(), 0..ipv6::MAX_EXTENSIONS), hop_by_hop: bool, protocol in protocol(),
    ) {
        let first = hop_by_hop.then(|| (HOP_BY_HOP, vec![1; 6]));
        let chain: Vec<_> = first.into_iter().chain(chain).collect();
        let found = of(&packet(&chain, protocol, &transport(protocol))).unwrap().key;
        let own = chain.iter().map(|(kind, _)| *kind).find(|kind| [AH, HIP].contains(kind));
        let ports = expected_ports(own.unwrap_or(protocol));
        prop_assert_eq!(found.protocol(), own.unwrap_or(protocol));
        prop_assert_eq!((found.source_port(), found.destination_port()), ports);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(ip) = Ipv6::parse_quoted(&bytes) {
            let _ = (flow(&ip, REALM), error_key(&ip, REALM));
        }
    }

    /// Nor those of a packet with a few changes, at any length.
    #[test]
    fn no_mutation_panics(
        chain in vec(extension(), 0..4), protocol in protocol(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = packet(&chain, protocol, &transport(protocol));
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(ip) = Ipv6::parse_quoted(&bytes) {
            if let Ok(found) = flow(&ip, REALM) {
                prop_assert!(found.upper_offset <= bytes.len());
                prop_assert_eq!((found.key.source(), found.key.destination()), (ip.source(), ip.destination()));
            }
            let _ = error_key(&ip, REALM);
        }
    }
}
