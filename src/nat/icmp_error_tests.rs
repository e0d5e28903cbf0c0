//! Errors about the packets of real sessions, from either side, against packets that are written anew; and nonsense.

use super::*;
use crate::flow::record::Record;
use crate::flow::{FlowHome, FlowTable, HashKey, Record4};
use crate::nat::{Nat44, NatHome, NatOptions, Pool, PoolOptions, Timeouts};
use crate::packet::build::{self, Ip, Path, Transport};
use crate::packet::icmp::Echo;
use crate::packet::{MacAddr, TcpFlags, icmp, ipv4, tcp, udp};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

const OUTSIDE: Realm = Realm(9);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OTHER_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const INSIDE_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
const LINK: usize = 14;

struct Bed {
    table: Arc<FlowTable>,
    flows: FlowHome,
    nat: NatHome,
}

fn bed() -> Bed {
    let mut n = 7u64;
    let mut random = || {
        n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        n >> 31
    };
    let options = NatOptions {
        inside: vec![Realm(1), Realm(2)],
        outside: OUTSIDE,
        untranslated: vec![],
        hairpin: true,
        inbound_sessions_per_mapping: 3,
        sessions_per_subscriber: 100,
        new_sessions_per_second: 0,
        timeouts: Timeouts::default(),
        pcp: None,
        mappings: 64,
        subscribers: 16,
    };
    let public = |d| Ipv4Addr::new(203, 0, 113, d);
    let ranges = vec![(public(16), public(17))];
    let pool = Pool::new(PoolOptions::new("only", ranges, vec![Realm(1), Realm(2)]), &mut random);
    let table = Arc::new(FlowTable::new(256, 0, 1, HashKey::new(&mut random)));
    let nat = Arc::new(Nat44::new(options, vec![pool], HashKey::new(random), 1));
    Bed { flows: FlowHome::new(table.clone()), nat: NatHome::new(nat, 0, [3; 32]), table }
}

impl Bed {
    /// Opens a session from either side; returns the key of its first packet on the other side.
    fn open(&mut self, key: &Key4) -> Key4 {
        let flags = if key.protocol() == Protocol::Tcp as u8 { 2 } else { 0 };
        if key.realm() == OUTSIDE {
            self.nat.inbound(&mut self.flows, key, flags, 0).expect("a mapping");
        } else {
            self.nat.outbound(&mut self.flows, key, flags, 0).expect("room");
        }
        let w = self.record(key).rewrite();
        let realm = if key.realm() == OUTSIDE { Realm(1) } else { OUTSIDE };
        Key4::from_wire(w.addresses.to_le_bytes(), w.ports.to_le_bytes(), realm, key.protocol())
    }

    fn record(&self, key: &Key4) -> &Record4 {
        self.table.lookup::<Record4>(key).expect("a session").1
    }

    /// What the dataplane does with an error that arrives in `realm`, one leg of it.
    fn carry(&self, packet: &[u8], realm: Realm) -> Result<Vec<u8>, DropReason> {
        let key = key(&Ipv4::parse(packet)?, realm)?.expect("an ICMP error");
        let (_, record) = self.table.lookup::<Record4>(&key).ok_or(DropReason::IcmpErrorNoSession)?;
        let mut packet = packet.to_vec();
        translate(&mut packet, &key, &record.rewrite(), record.common().action())?;
        Ok(packet)
    }
}

fn session_key(realm: u16, protocol: Protocol, host: Ipv4Addr) -> Key4 {
    let (port, remote) = if protocol == Protocol::Icmp { (4000, 4000) } else { (4000, 53) };
    Key4::new(Realm(realm), protocol, (host, port), (SERVER, remote))
}

/// A packet of the flow, written anew with all its checksums.
fn packet_of(key: &Key4, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let ip = ipv4::Header {
        ttl: 1,
        options,
        ..ipv4::Header::new(key.source(), key.destination(), packet::Protocol(key.protocol()))
    };
    let (source, destination) = (key.source_port(), key.destination_port());
    let echo = Echo { identifier: source, sequence: 7 };
    let transport = match Protocol::from_number(key.protocol()) {
        Some(Protocol::Tcp) => Transport::Tcp(tcp::Header::new(source, destination, TcpFlags::ACK), payload),
        Some(Protocol::Udp) => {
            Transport::Udp(udp::Header { source_port: source, destination_port: destination }, payload)
        }
        _ => Transport::Icmp(icmp::Header::echo(IcmpType::ECHO_REQUEST, echo), payload),
    };
    written(&ip, &transport)
}

fn written(ip: &ipv4::Header<'_>, transport: &Transport<'_>) -> Vec<u8> {
    let path = Path::untagged(MacAddr([2; 6]), MacAddr([4; 6]));
    let mut buffer = [0; 1024];
    let length = build::frame(&mut buffer, &path, &Ip::V4(*ip), transport).expect("it fits");
    buffer[LINK..length].to_vec()
}

fn error(kind: IcmpType, source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, quote: &[u8]) -> Vec<u8> {
    let ip = ipv4::Header { ttl, ..ipv4::Header::new(source, destination, packet::Protocol::ICMP) };
    written(&ip, &Transport::Icmp(icmp::Header { kind, code: 1, parameter: [0, 0, 5, 0x78] }, quote))
}

/// A time-exceeded message about the whole of a packet, on its way to whoever sent it.
fn expired(from: Ipv4Addr, quote: &[u8]) -> Vec<u8> {
    let sender = Ipv4Addr::new(quote[12], quote[13], quote[14], quote[15]);
    error(IcmpType::TIME_EXCEEDED, from, sender, 60, quote)
}

/// The lengths at which a quote may be cut, none of them within a checksum.
fn cuts(packet: &[u8]) -> impl Iterator<Item = usize> {
    let header = usize::from(packet[0] & 15) * 4;
    [header + 8, header + 11, header + 16, header + 18, header + 19, packet.len()]
        .into_iter()
        .filter(move |cut| *cut <= packet.len())
}

#[test]
fn from_the_outside_the_inside_host_reads_its_own_packet() {
    for protocol in PROTOCOLS {
        let mut bed = bed();
        let inside = session_key(1, protocol, HOST);
        let public = bed.open(&inside);
        for options in [&[][..], &[148, 4, 0, 0], &[7; 40]] {
            let (sent, seen) =
                (packet_of(&inside, options, b"payload"), packet_of(&public, options, b"payload"));
            for cut in cuts(&seen) {
                for kind in
                    [IcmpType::DESTINATION_UNREACHABLE, IcmpType::TIME_EXCEEDED, IcmpType::PARAMETER_PROBLEM]
                {
                    let arrives = error(kind, ROUTER, public.source(), 60, &seen[..cut]);
                    let leaves = error(kind, ROUTER, HOST, 59, &sent[..cut]);
                    assert_eq!(bed.carry(&arrives, OUTSIDE), Ok(leaves), "{protocol:?} cut at {cut}");
                }
            }
        }
    }
}

#[test]
fn from_the_inside_the_sender_reads_its_own_packet_and_no_private_address() {
    for protocol in PROTOCOLS {
        for reporter in [HOST, INSIDE_ROUTER] {
            let mut bed = bed();
            let inside = session_key(2, protocol, HOST);
            let public = bed.open(&inside);
            let sent = packet_of(&public.reversed(OUTSIDE), &[], b"payload");
            let heard = packet_of(&inside.reversed(Realm(2)), &[], b"payload");
            for cut in cuts(&heard) {
                let kind = IcmpType::DESTINATION_UNREACHABLE;
                let arrives = error(kind, reporter, SERVER, 60, &heard[..cut]);
                let leaves = error(kind, public.source(), SERVER, 59, &sent[..cut]);
                assert_eq!(bed.carry(&arrives, Realm(2)), Ok(leaves), "{protocol:?} cut at {cut}");
                // The same addresses and ports in the other realm are somebody else's.
                assert_eq!(bed.carry(&arrives, Realm(1)), Err(DropReason::IcmpErrorNoSession));
            }
        }
    }
}

#[test]
fn a_session_opened_from_outside_has_errors_too() {
    let mut bed = bed();
    let public = bed.open(&session_key(1, Protocol::Udp, HOST));
    let call = Key4::new(OUTSIDE, Protocol::Udp, (ROUTER, 9), (public.source(), public.source_port()));
    let heard = bed.open(&call);
    let arrives = expired(INSIDE_ROUTER, &packet_of(&heard, &[], b"?"));
    let leaves = error(IcmpType::TIME_EXCEEDED, public.source(), ROUTER, 59, &packet_of(&call, &[], b"?"));
    assert_eq!(bed.carry(&arrives, Realm(1)), Ok(leaves));
}

#[test]
fn a_hairpin_error_takes_two_legs() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let mut bed = bed();
        let server = bed.open(&session_key(2, protocol, OTHER_HOST));
        let call = Key4::new(Realm(1), protocol, (HOST, 77), (server.source(), server.source_port()));
        let between = bed.open(&call);
        let heard = bed.open(&between);
        assert_eq!((heard.destination(), heard.destination_port()), (OTHER_HOST, 4000));

        // The called host reports: its own public address is the reporter's, and no TTL is taken on the first leg.
        let arrives = expired(OTHER_HOST, &packet_of(&heard, &[], b"hi"));
        let first = bed.carry(&arrives, Realm(2)).expect("the called host's session");
        let kind = IcmpType::TIME_EXCEEDED;
        let quote = packet_of(&between, &[], b"hi");
        assert_eq!(first, error(kind, server.source(), between.source(), 60, &quote));
        let leaves = error(kind, server.source(), HOST, 59, &packet_of(&call, &[], b"hi"));
        assert_eq!(bed.carry(&first, OUTSIDE), Ok(leaves));
    }
}

#[test]
fn checksums_that_cannot_be_right_are_left_as_they_are() {
    let mut bed = bed();
    let inside = session_key(1, Protocol::Udp, HOST);
    let public = bed.open(&inside);
    let none = |key: &Key4| {
        let mut packet = packet_of(key, &[], b"payload");
        packet[26..28].fill(0);
        packet
    };
    let leaves = error(IcmpType::TIME_EXCEEDED, ROUTER, HOST, 59, &none(&inside));
    assert_eq!(bed.carry(&expired(ROUTER, &none(&public)), OUTSIDE), Ok(leaves), "UDP without a checksum");

    let inside = session_key(1, Protocol::Tcp, HOST);
    let public = bed.open(&inside);
    let seen = &packet_of(&public, &[], b"payload")[..37];
    let mut sent = packet_of(&inside, &[], b"payload")[..37].to_vec();
    sent[36] = seen[36];
    let leaves = error(IcmpType::TIME_EXCEEDED, ROUTER, HOST, 59, &sent);
    assert_eq!(bed.carry(&expired(ROUTER, seen), OUTSIDE), Ok(leaves), "half a checksum");
}

#[test]
fn a_session_takes_no_notice_of_errors() {
    for protocol in PROTOCOLS {
        let mut bed = bed();
        let inside = session_key(1, protocol, HOST);
        let public = bed.open(&inside);
        let about = |bed: &Bed| {
            let records = [inside, public.reversed(OUTSIDE)].map(|k| {
                let c = bed.record(&k).common();
                (c.packets(), c.bytes(), c.last_seen(), c.tcp_flags())
            });
            (records, bed.nat.population())
        };
        let before = about(&bed);
        let quotes = [packet_of(&public, &[], &[]), packet_of(&inside.reversed(Realm(1)), &[], &[])];
        for kind in [IcmpType::DESTINATION_UNREACHABLE, IcmpType::TIME_EXCEEDED] {
            let (from_outside, from_inside) = (
                error(kind, ROUTER, public.source(), 60, &quotes[0]),
                error(kind, HOST, SERVER, 60, &quotes[1]),
            );
            bed.carry(&from_outside, OUTSIDE).expect("a session");
            bed.carry(&from_inside, Realm(1)).expect("a session");
        }
        assert_eq!(about(&bed), before, "RFC 5508 REQ-6, RFC 4787 REQ-12, RFC 5382 REQ-10");
    }
}

/// RFC 5508 REQ-3 d: what RFC 4884 appends behind the quote, and the zeros before it, are no part of the quoted packet.
#[test]
fn extensions_and_their_padding_are_left_as_they_are() {
    // Version 2, a checksum, and an object of eight bytes (RFC 4884 section 7).
    const EXTENSION: [u8; 12] = [0x20, 0, 0x61, 0x2c, 0, 8, 1, 1, 0, 0, 0xb1, 0x40];
    for protocol in PROTOCOLS {
        let mut bed = bed();
        let inside = session_key(1, protocol, HOST);
        let public = bed.open(&inside);
        let extended = |to, ttl, mut quote: Vec<u8>| {
            quote.resize(128, 0);
            quote.extend(EXTENSION);
            let mut packet = error(IcmpType::TIME_EXCEEDED, ROUTER, to, ttl, &quote);
            packet[22..24].fill(0);
            packet[25] = 128 / 4;
            let sum = packet::checksum::checksum(&packet[20..]);
            packet[22..24].copy_from_slice(&sum.to_ne_bytes());
            packet
        };
        let arrives = extended(public.source(), 60, packet_of(&public, &[], b"payload"));
        let leaves = extended(HOST, 59, packet_of(&inside, &[], b"payload"));
        assert_eq!(bed.carry(&arrives, OUTSIDE), Ok(leaves), "{protocol:?}");
    }
}

#[test]
fn what_is_wrong_is_dropped_by_name() {
    use DropReason::{IcmpErrorInvalid, IcmpErrorNoSession, IcmpUnsupported};
    let mut bed = bed();
    let public = bed.open(&session_key(1, Protocol::Udp, HOST));
    let seen = packet_of(&public, &[], b"payload");
    let good = expired(ROUTER, &seen);
    assert!(bed.carry(&good, OUTSIDE).is_ok());

    let with = |at: usize, value: u8| {
        let mut quote = seen.clone();
        quote[at] = value;
        expired(ROUTER, &quote)
    };
    let mut bad_icmp = good.clone();
    bad_icmp[50] ^= 1;
    let fragment = |offset| {
        let ip = Ipv4::parse(&seen).unwrap();
        let ip = ipv4::Header {
            fragment_offset: offset,
            more_fragments: true,
            dont_fragment: false,
            ..ip.header()
        };
        expired(ROUTER, &written(&ip, &Transport::Raw(&seen[20..])))
    };
    let elsewhere = error(IcmpType::TIME_EXCEEDED, ROUTER, SERVER, 60, &seen);
    let stranger =
        packet_of(&Key4::new(OUTSIDE, Protocol::Udp, (public.source(), 1), (SERVER, 53)), &[], b"");
    let nested = expired(ROUTER, &expired(public.source(), &packet_of(&public.reversed(OUTSIDE), &[], b"")));
    for (packet, expected, why) in [
        (bad_icmp, IcmpErrorInvalid, "ICMP checksum"),
        (with(8, 7), IcmpErrorInvalid, "quoted header checksum"),
        (with(0, 0x65), IcmpErrorInvalid, "quoted version"),
        (with(0, 0x4f), IcmpErrorInvalid, "quoted header longer than the quote"),
        (fragment(8), IcmpErrorInvalid, "quoted later fragment"),
        (expired(ROUTER, &seen[..27]), IcmpErrorInvalid, "7 bytes of transport"),
        (error(IcmpType::TIME_EXCEEDED, ROUTER, public.source(), 60, &[]), IcmpErrorInvalid, "no quote"),
        (elsewhere, IcmpErrorInvalid, "not to whom it quotes"),
        (expired(ROUTER, &stranger), IcmpErrorNoSession, "unknown session"),
        (nested, IcmpErrorNoSession, "an error about an error"),
        (error(IcmpType::REDIRECT, ROUTER, public.source(), 60, &seen), IcmpUnsupported, "redirect"),
        (error(IcmpType::SOURCE_QUENCH, ROUTER, public.source(), 60, &seen), IcmpUnsupported, "quench"),
    ] {
        assert_eq!(bed.carry(&packet, OUTSIDE), Err(expected), "{why}");
    }
    assert!(bed.carry(&fragment(0), OUTSIDE).is_ok(), "a first fragment has its ports");
    let from_inside =
        expired(HOST, &packet_of(&session_key(1, Protocol::Tcp, HOST).reversed(Realm(1)), &[], b""));
    assert_eq!(bed.carry(&from_inside, Realm(1)), Err(IcmpErrorNoSession), "RFC 5508 REQ-5");
    let data = Ipv4::parse(&seen).unwrap();
    assert_eq!(key(&data, OUTSIDE), Ok(None), "no error at all");
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(&PROTOCOLS[..])
}

fn rewrite_to(key: &Key4) -> Rewrite4 {
    Rewrite4 { addresses: key.addresses, ports: key.tail as u32, ..Rewrite4::default() }
}

proptest! {
    /// Any translation of any flow, quoted at any length, equals the error about the packet written anew.
    #[test]
    fn equals_the_error_written_anew(
        protocol in protocol(), ends: [u8; 8], others: [u8; 8], ports: [u8; 4], new_ports: [u8; 4],
        words in 0usize..=10, payload in vec(any::<u8>(), 0..64), cut: prop::sample::Index, outbound: bool,
        by_remote: bool,
    ) {
        // An echo has one identifier.
        let both = |p: [u8; 4]| if protocol == Protocol::Icmp { [p[0], p[1], p[0], p[1]] } else { p };
        let from = Key4::from_wire(ends, both(ports), OUTSIDE, protocol as u8);
        let to = Key4::from_wire(others, both(new_ports), Realm(1), protocol as u8);
        let options = vec![1; words * 4];
        let (before, after) = (packet_of(&from, &options, &payload), packet_of(&to, &options, &payload));
        let cuts: Vec<usize> = cuts(&before).collect();
        let cut = cuts[cut.index(cuts.len())];
        let along = to.reversed(Realm(1));
        let half = from.reversed(OUTSIDE);
        // From outside the remote host itself is known inside by its address there.
        let reporter = if by_remote { half.source() } else { ROUTER };
        let shown = if outbound || by_remote { along.source() } else { ROUTER };
        let mut packet = error(IcmpType::TIME_EXCEEDED, reporter, from.source(), 9, &before[..cut]);
        prop_assert_eq!(key(&Ipv4::parse(&packet).unwrap(), OUTSIDE), Ok(Some(half)));
        let action = Action::FORWARD.with(if outbound { Action::OUTBOUND } else { 0 });
        prop_assert_eq!(translate(&mut packet, &half, &rewrite_to(&along), action), Ok(()));
        prop_assert_eq!(packet, error(IcmpType::TIME_EXCEEDED, shown, to.source(), 8, &after[..cut]));
    }

    /// Errors with some bytes changed or cut off: judged without a panic, and what is carried on is whole.
    #[test]
    fn mutated_errors_are_refused_or_whole(
        protocol in protocol(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        mended: bool, length: prop::sample::Index,
    ) {
        let from = session_key(1, protocol, HOST);
        let mut packet = expired(ROUTER, &packet_of(&from, &[], b"some payload"));
        for (at, value) in changes {
            let at = at.index(packet.len());
            packet[at] = value;
        }
        if mended && let Ok(mut ip) = Ipv4Mut::parse(&mut packet) {
            // A right ICMP checksum lets more of the nonsense through.
            let payload = ip.payload_mut();
            if payload.len() >= 8 {
                payload[2..4].fill(0);
                let sum = packet::checksum::checksum(payload);
                payload[2..4].copy_from_slice(&sum.to_ne_bytes());
            }
        }
        packet.truncate(packet.len() - length.index(8));
        let to = rewrite_to(&session_key(2, protocol, OTHER_HOST).reversed(Realm(2)));
        let Ok(ip) = Ipv4::parse(&packet) else { return Ok(()) };
        let (right, ttl) = (ip.checksum_is_right(), ip.ttl());
        if let Ok(Some(half)) = key(&ip, Realm(1)) && ttl > 0 {
            prop_assert_eq!(translate(&mut packet, &half, &to, Action::FORWARD), Ok(()));
            let ip = Ipv4::parse(&packet).unwrap();
            prop_assert_eq!(ip.checksum_is_right(), right);
            prop_assert!(Icmp::parse(ip.payload()).unwrap().checksum_is_right());
        }
    }

    /// Whatever the bytes, whatever the rewrite.
    #[test]
    fn nothing_panics(mut bytes in vec(any::<u8>(), 0..160), shape: bool, addresses: u64, ports: u32, action: u8) {
        if shape && bytes.len() >= 50 {
            let length = bytes.len() as u16;
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            (bytes[9], bytes[20], bytes[28]) = (1, 11, 0x45 | bytes[28] & 3);
        }
        if let Ok(ip) = Ipv4::parse(&bytes) {
            let _ = key(&ip, OUTSIDE);
        }
        let rewrite = Rewrite4 { addresses, ports, ..Rewrite4::default() };
        let _ = translate(&mut bytes, &Key4::default(), &rewrite, Action(action));
    }
}
