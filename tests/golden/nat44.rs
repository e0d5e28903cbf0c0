//! The scenario of the golden captures: everything that a frame can meet on its way through NAT44 with its usual options.

use std::net::Ipv4Addr;

use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::vlan::{Tag, Tags};
use ces::packet::{Arp, DropReason, EtherType, IcmpType, MacAddr, Protocol, TcpFlags, arp, icmp, ipv4, ipv6};

use crate::packets::{Carried, End, Packet};
use crate::scenario::{HOME, LAN, LATER, OUTSIDE, Scenario, TWIN, chosen, edge, host, next_hop};

pub const UDP: Carried = Carried::Udp { unsummed: false };
pub const UNSUMMED: Carried = Carried::Udp { unsummed: true };

pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

pub const EDGE_HOME: Ipv4Addr = ip(10, 0, 0, 1);
pub const EDGE_OUTSIDE: Ipv4Addr = ip(203, 0, 113, 1);
pub const ALICE: Ipv4Addr = ip(10, 0, 0, 2);
pub const BOB: Ipv4Addr = ip(10, 0, 0, 3);
/// Beyond the gateway.
pub const SERVER: Ipv4Addr = ip(198, 51, 100, 7);
pub const OTHER_SERVER: Ipv4Addr = ip(198, 51, 100, 8);
pub const STRANGER: Ipv4Addr = ip(198, 51, 100, 99);
/// Of the pool, and nobody's.
const UNUSED: Ipv4Addr = ip(203, 0, 113, 64);

// What the NAT chooses.
const ALICE_UDP: End = chosen(1);
const ALICE_TCP: End = chosen(2);
const ALICE_ECHO: End = chosen(3);
const BOB_UDP: End = chosen(4);
const TWIN_UDP: End = chosen(5);
const ALICE_ODD: End = chosen(6);
const ALICE_HELD: End = chosen(7);
const CAROL_UDP: End = chosen(8);
const ALICE_HAIRPIN: End = chosen(9);

const QUERY: u16 = 4000;

/// A segment's header; the options are whole words.
pub fn tcp(flags: TcpFlags, options: &[u8]) -> Carried {
    Carried::Tcp { flags, options: options.to_vec() }
}

// Segment size 1460, selective acknowledgements, timestamps, window scale (RFC 9293, RFC 2018, RFC 7323).
const OPENING: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7];
const STAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 8, 0, 0, 0, 9];

/// An Ethernet frame of any type to the edge.
fn ethernet(port: usize, ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&edge(port).0[..], &host(port, 2).0, &ether_type.0.to_be_bytes(), payload].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An ARP message in its frame, padded.
pub fn arp_frame(from: MacAddr, to: MacAddr, message: &Arp) -> Vec<u8> {
    let mut frame = vec![0; 60];
    build::arp(&mut frame, &Path::untagged(from, to), message).expect("42 bytes");
    frame
}

/// The reset that answers a SYN to a closed port of the edge's (RFC 9293 section 3.10.7.1).
fn refusal(from: End, to: End) -> Vec<u8> {
    let header = ces::packet::tcp::Header {
        sequence: 0,
        acknowledgement: 0x1234_5679,
        ..ces::packet::tcp::Header::new(from.1, to.1, TcpFlags::RST | TcpFlags::ACK)
    };
    let mut frame = vec![0; 60];
    let path = Path::untagged(edge(HOME), next_hop(HOME, to.0));
    let ip = ipv4::Header::new(from.0, to.0, Protocol::TCP);
    build::frame(&mut frame, &path, &Ip::V4(ip), &Transport::Tcp(header, &[])).expect("54 bytes");
    frame
}

/// The destination-unreachable message about a packet that came in by `port`.
pub fn unreachable(port: usize, edge_address: Ipv4Addr, code: u8, packet: &Packet) -> Vec<u8> {
    let about = packet.frame(next_hop(port, packet.source.0), edge(port));
    icmp_error(port, edge_address, IcmpType::DESTINATION_UNREACHABLE, code, [0; 4], &about)
}

/// The time-exceeded message about a frame, from the edge to where it came from.
fn time_exceeded(port: usize, edge_address: Ipv4Addr, about: &[u8]) -> Vec<u8> {
    icmp_error(port, edge_address, IcmpType::TIME_EXCEEDED, 0, [0; 4], about)
}

/// An ICMP error about a frame, from the edge to where it came from.
pub fn icmp_error(
    port: usize,
    edge_address: Ipv4Addr,
    kind: IcmpType,
    code: u8,
    parameter: [u8; 4],
    about: &[u8],
) -> Vec<u8> {
    let header = icmp::Header { kind, code, parameter };
    let source = ip(about[26], about[27], about[28], about[29]);
    let from = MacAddr(about[6..12].try_into().expect("six bytes"));
    let whole = 14 + usize::from(u16::from_be_bytes([about[16], about[17]]));
    let header_of_error = ipv4::Header {
        dscp: 48,
        dont_fragment: false,
        ..ipv4::Header::new(edge_address, source, Protocol::ICMP)
    };
    let mut frame = vec![0; 600];
    let quote = &about[14..whole.min(14 + 548)];
    let transport = Transport::Icmp(header, quote);
    let length =
        build::frame(&mut frame, &Path::untagged(edge(port), from), &Ip::V4(header_of_error), &transport)
            .expect("at most 576 bytes");
    frame.truncate(length.max(60));
    frame
}

fn udp(from: End, to: End) -> Packet {
    Packet::new(from, to, UDP, b"what is the time?")
}

/// The whole scenario. Inputs are read port after port; within a port in this order.
pub fn scenario() -> Scenario {
    let mut s = Scenario::default();
    translated_outbound(&mut s);
    odd_shapes(&mut s);
    to_the_edge(&mut s);
    held_for_arp(&mut s);
    refused_link(&mut s);
    refused_ip(&mut s);
    refused_transport(&mut s);
    on_the_fast_way(&mut s);
    other_realms(&mut s);
    hairpins(&mut s);
    translated_inbound(&mut s);
    strangers(&mut s);
    outside_arp_and_echo(&mut s);
    s
}

fn translated_outbound(s: &mut Scenario) {
    let (alice, dns, dns2) = ((ALICE, QUERY), (SERVER, 53), (OTHER_SERVER, 53));
    s.packet("UDP", HOME, udp(alice, dns)).becomes(OUTSIDE, ALICE_UDP, dns);
    s.packet("UDP of another host", HOME, udp((BOB, 5000), dns)).becomes(OUTSIDE, BOB_UDP, dns);
    s.packet("UDP, the session's second packet", HOME, udp(alice, dns)).becomes(OUTSIDE, ALICE_UDP, dns);
    let unsummed = Packet { carried: UNSUMMED, ..udp(alice, dns) };
    s.packet("UDP without a checksum", HOME, unsummed).becomes(OUTSIDE, ALICE_UDP, dns);
    s.packet("one mapping for a second remote", HOME, udp(alice, dns2)).becomes(OUTSIDE, ALICE_UDP, dns2);
    let other_port = (SERVER, 54);
    s.packet("and for another port", HOME, udp(alice, other_port)).becomes(OUTSIDE, ALICE_UDP, other_port);

    let (client, web) = ((ALICE, 51_000), (SERVER, 443));
    let mut segment = |name: &str, flags, options: &[u8], data: &[u8]| {
        let packet = Packet::new(client, web, tcp(flags, options), data);
        let case = s.packet(name, HOME, packet).becomes(OUTSIDE, ALICE_TCP, web);
        if flags == TcpFlags::SYN {
            // 1,460 do not fit the 1,400 bytes outside.
            case.but(|leaves| {
                if let Carried::Tcp { options, .. } = &mut leaves.carried {
                    options[2..4].copy_from_slice(&1360_u16.to_be_bytes());
                }
            });
        }
    };
    segment("TCP SYN with options", TcpFlags::SYN, &OPENING, b"");
    segment("TCP ACK", TcpFlags::ACK, &STAMPS, b"");
    segment("TCP data of odd length", TcpFlags(0x18), &STAMPS, &[0xa5; 1001]);
    segment("TCP data, no options", TcpFlags(0x18), &[], b"GET / HTTP/1.1\r\n\r\n");
    segment("TCP FIN", TcpFlags(0x11), &STAMPS, b"");
    let ask =
        |sequence| Packet::new((ALICE, 0x4242), (SERVER, 0), Carried::EchoRequest { sequence }, &[0x5a; 56]);
    for sequence in 1..=2 {
        s.packet("ICMP echo", HOME, ask(sequence)).becomes(OUTSIDE, ALICE_ECHO, (SERVER, 0));
    }
}

fn odd_shapes(s: &mut Scenario) {
    let (alice, dns) = ((ALICE, QUERY), (SERVER, 53));
    let mut out = |name: &str, packet: Packet| {
        s.packet(name, HOME, packet).becomes(OUTSIDE, ALICE_UDP, dns);
    };
    let tiny = Packet { payload: b"odd".to_vec(), ..udp(alice, dns) };
    out("a short frame, unpadded", tiny.clone());
    out("a short frame, padded with zeros", Packet { trailer: vec![0; 15], ..tiny.clone() });
    out("a short frame, padded with rubbish", Packet { trailer: vec![0xee; 15], ..tiny.clone() });
    out(
        "a trailer behind a long packet",
        Packet { trailer: vec![0xdd; 7], payload: vec![1; 333], ..tiny.clone() },
    );
    out("an empty datagram", Packet { payload: vec![], trailer: vec![0; 18], ..tiny.clone() });
    out("time to live of two", Packet { ttl: 2, ..tiny.clone() });
    out("time to live of 255", Packet { ttl: 255, ..tiny });
    let alert = Packet { ip_options: vec![148, 4, 0, 0], ..udp((ALICE, 4006), dns) };
    s.packet("IP options, first packet", HOME, alert.clone()).becomes(OUTSIDE, ALICE_ODD, dns);
    s.packet("IP options, second packet", HOME, alert).becomes(OUTSIDE, ALICE_ODD, dns);
    let mut record = vec![7, 39, 4];
    record.resize(40, 0);
    let most = Packet { ip_options: record, ..udp((ALICE, 4006), dns) };
    s.packet("forty bytes of IP options", HOME, most).becomes(OUTSIDE, ALICE_ODD, dns);
    let web = (SERVER, 443);
    let options = Packet {
        ip_options: vec![1, 1, 1, 0],
        ..Packet::new((ALICE, 51_000), web, tcp(TcpFlags::ACK, &[]), b"x")
    };
    s.packet("IP options before TCP", HOME, options).becomes(OUTSIDE, ALICE_TCP, web);
}

/// The frame of a packet that is the next case of the scenario: the answer quotes it.
fn expiring(packet: Packet, port: usize, identification: u16) -> (Packet, Vec<u8>) {
    let packet = Packet { ttl: 1, identification, ..packet };
    let frame = packet.frame(crate::scenario::next_hop(port, packet.source.0), edge(port));
    (packet, frame)
}

fn to_the_edge(s: &mut Scenario) {
    let expired = DropReason::TtlExceeded;
    let short =
        Packet { trailer: vec![0; 15], payload: b"ttl".to_vec(), ..udp((ALICE, QUERY), (SERVER, 53)) };
    let long = Packet { payload: vec![3; 1000], ..udp((ALICE, QUERY), (SERVER, 53)) };
    for (name, packet) in [("TTL 1 of a short packet", short), ("TTL 1 of a long packet", long)] {
        let (packet, frame) = expiring(packet, HOME, s.next_identification());
        s.packet(name, HOME, packet).makes(HOME, time_exceeded(HOME, EDGE_HOME, &frame)).drops(expired);
    }
    let ask = Packet::new((ALICE, 77), (EDGE_HOME, 0), Carried::EchoRequest { sequence: 5 }, &[9; 56]);
    let answer = |ask: &Packet, port: usize, from: Ipv4Addr, to: MacAddr| {
        let mut frame = Packet::new((from, 0), ask.source, Carried::EchoReply { sequence: 5 }, &ask.payload)
            .frame(edge(port), to);
        frame.resize(frame.len().max(60), 0);
        frame
    };
    let reply = answer(&ask, HOME, EDGE_HOME, host(HOME, 2));
    s.packet("echo to the edge", HOME, ask.clone()).makes(HOME, reply);
    let short = Packet { payload: b"?".to_vec(), trailer: vec![0; 17], ..ask.clone() };
    let reply = answer(&short, HOME, EDGE_HOME, host(HOME, 2));
    s.packet("a short echo to the edge", HOME, short).makes(HOME, reply);
    let long = Packet { payload: vec![8; 1400], ..ask };
    let reply = answer(&long, HOME, EDGE_HOME, host(HOME, 2));
    s.packet("a long echo to the edge", HOME, long).makes(HOME, reply);
    let nobody = DropReason::LocalNoListener;
    let identification = s.next_identification();
    let query = Packet { identification, ..udp((ALICE, QUERY), (EDGE_HOME, 53)) };
    let told = unreachable(HOME, EDGE_HOME, 3, &query);
    s.packet("UDP to the edge", HOME, query).makes(HOME, told).drops(nobody);
    let unknown = Packet::new((ALICE, 0), (EDGE_HOME, 0), Carried::Raw(47), &[0; 30]);
    let unknown = Packet { identification: s.next_identification(), ..unknown };
    let told = unreachable(HOME, EDGE_HOME, 2, &unknown);
    s.packet("GRE to the edge", HOME, unknown).makes(HOME, told).drops(nobody);
    let syn = Packet::new((ALICE, 51_001), (EDGE_HOME, 22), tcp(TcpFlags::SYN, &[]), b"");
    s.packet("TCP to the edge", HOME, syn)
        .makes(HOME, refusal((EDGE_HOME, 22), (ALICE, 51_001)))
        .drops(nobody);
    let reset = Packet::new((ALICE, 51_001), (EDGE_HOME, 22), tcp(TcpFlags::RST, &[]), b"");
    s.packet("a TCP reset to the edge", HOME, reset).drops(nobody);

    let ask = |sender, target| Arp::request(host(HOME, 2), sender, target);
    let request = ask(ALICE, EDGE_HOME);
    let reply = arp_frame(edge(HOME), host(HOME, 2), &request.reply(edge(HOME)));
    s.frame("ARP for the edge", HOME, arp_frame(host(HOME, 2), MacAddr::BROADCAST, &request))
        .makes(HOME, reply);
    let probe = ask(ip(0, 0, 0, 0), EDGE_HOME);
    let reply = arp_frame(edge(HOME), host(HOME, 2), &probe.reply(edge(HOME)));
    s.frame(
        "an ARP probe for the edge's address",
        HOME,
        arp_frame(host(HOME, 2), MacAddr::BROADCAST, &probe),
    )
    .makes(HOME, reply);
    let elsewhere = ask(ALICE, BOB);
    s.frame("ARP for somebody else", HOME, arp_frame(host(HOME, 2), MacAddr::BROADCAST, &elsewhere));
    let outside = ask(ALICE, UNUSED);
    s.frame("ARP for a public address, inside", HOME, arp_frame(host(HOME, 2), MacAddr::BROADCAST, &outside));
    let claim = arp_frame(host(HOME, 2), MacAddr::BROADCAST, &ask(EDGE_HOME, EDGE_HOME));
    s.frame("ARP that claims the edge's address", HOME, claim).drops(DropReason::ArpInvalid);
    let group = Arp { sender_mac: MacAddr::BROADCAST, ..ask(ALICE, EDGE_HOME) };
    s.frame("ARP from a group", HOME, arp_frame(host(HOME, 2), MacAddr::BROADCAST, &group))
        .drops(DropReason::ArpInvalid);
    let mut odd = arp_frame(host(HOME, 2), MacAddr::BROADCAST, &ask(ALICE, EDGE_HOME));
    odd[14 + 7] = 9;
    s.frame("an ARP operation that is none", HOME, odd).drops(DropReason::ArpInvalid);
    let mut cut = arp_frame(host(HOME, 2), MacAddr::BROADCAST, &ask(ALICE, EDGE_HOME));
    cut.truncate(14 + arp::LENGTH - 1);
    s.frame("ARP cut short", HOME, cut).drops(DropReason::Truncated);
}

/// To neighbours outside that only ARP finds: one that answers, in its own capture, and one that never does.
fn held_for_arp(s: &mut Scenario) {
    for (last, name) in [(17, "held for ARP"), (18, "held in vain")] {
        let there = (ip(203, 0, 113, last), 53);
        let request = Arp::request(edge(OUTSIDE), EDGE_OUTSIDE, there.0);
        let question = arp_frame(edge(OUTSIDE), MacAddr::BROADCAST, &request);
        for packet in 0..2 {
            let case = s.packet(name, HOME, udp((ALICE, 4007), there));
            if packet == 0 {
                case.makes(OUTSIDE, question.clone());
            }
            match last {
                17 => case.becomes(OUTSIDE, ALICE_HELD, there),
                _ => case.drops(DropReason::Shutdown),
            };
        }
    }
}

fn refused_link(s: &mut Scenario) {
    let frame = || udp((ALICE, QUERY), (SERVER, 53)).frame(host(HOME, 2), edge(HOME));
    let mut drop = |name: &str, frame: Vec<u8>, why| {
        s.frame(name, HOME, frame).drops(why);
    };
    let unknown = DropReason::EtherTypeUnknown;
    drop("LLDP", ethernet(HOME, EtherType(0x88cc), &[0; 46]), unknown);
    drop("a length instead of a type", ethernet(HOME, EtherType(46), &[0; 46]), unknown);
    let mut tagged = vec![0; 200];
    let path = Path { tags: Tags::one(Tag::customer(5)), ..Path::untagged(host(HOME, 2), edge(HOME)) };
    let header = ipv4::Header::new(ALICE, SERVER, Protocol::UDP);
    build::frame(&mut tagged, &path, &Ip::V4(header), &Transport::Raw(&[0; 40])).expect("fits");
    drop("a VLAN tag where there is no VLAN", tagged, DropReason::VlanUnknown);
    let mut misled = frame();
    misled[5] ^= 0x40;
    drop("to another station", misled, DropReason::NotForUs);
    let mut broadcast = frame();
    broadcast[..6].fill(0xff);
    drop("a broadcast frame to one host", broadcast, DropReason::Ipv4DestinationInvalid);
    drop("ten bytes", frame()[..10].to_vec(), DropReason::Truncated);
    drop("a link-layer header alone", frame()[..14].to_vec(), DropReason::Truncated);
    drop("half an IPv4 header", frame()[..24].to_vec(), DropReason::Truncated);
    let mut cut = udp((ALICE, QUERY), (SERVER, 53)).frame(host(HOME, 2), edge(HOME));
    cut.pop();
    drop("a packet that lacks its last byte", cut, DropReason::Truncated);

    let v6 =
        ipv6::Header::new("2001:db8:1::2".parse().unwrap(), "2001:db8:2::1".parse().unwrap(), Protocol::UDP);
    let mut six = vec![0; 100];
    let length = build::frame(
        &mut six,
        &Path::untagged(host(HOME, 2), edge(HOME)),
        &Ip::V6(v6),
        &Transport::Raw(&[0; 20]),
    );
    six.truncate(length.expect("fits"));
    drop("IPv6", six.clone(), DropReason::Ipv6NotForwarded);
    six[14] = 0x45;
    drop("IPv6 of version 4", six.clone(), DropReason::Ipv6HeaderInvalid);
    six[14] = 0x60;
    six[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    drop("IPv6 in a multicast frame", six, DropReason::Ipv6DestinationInvalid);
}

fn refused_ip(s: &mut Scenario) {
    let good = udp((ALICE, QUERY), (SERVER, 53));
    let frame = good.frame(host(HOME, 2), edge(HOME));
    let mut bent = |name: &str, at: usize, value: u8, why| {
        let mut frame = frame.clone();
        frame[at] = value;
        s.frame(name, HOME, frame).drops(why);
    };
    bent("IP version 5", 14, 0x55, DropReason::Ipv4HeaderInvalid);
    bent("a header of 16 bytes", 14, 0x44, DropReason::Ipv4HeaderInvalid);
    bent("a total length under the header's", 17, 19, DropReason::Ipv4HeaderInvalid);
    bent("a wrong header checksum", 24, frame[24] ^ 0x10, DropReason::Ipv4ChecksumBad);
    bent("a bit error in an address", 33, frame[33] ^ 1, DropReason::Ipv4ChecksumBad);

    let from = |a| udp((a, QUERY), (SERVER, 53));
    for source in [ip(0, 0, 0, 0), ip(127, 0, 0, 1), ip(224, 0, 0, 1), ip(255, 255, 255, 255), EDGE_HOME] {
        let mut frame = from(source).frame(host(HOME, 2), edge(HOME));
        frame.resize(60.max(frame.len()), 0);
        s.frame(&format!("from {source}"), HOME, frame).drops(DropReason::Ipv4SourceInvalid);
    }
    let group = ip(224, 0, 0, 251);
    for destination in [ip(0, 0, 0, 0), ip(127, 0, 0, 1), group, ip(255, 255, 255, 255), ip(10, 0, 0, 255)] {
        let frame = udp((ALICE, QUERY), (destination, 53)).frame(host(HOME, 2), edge(HOME));
        s.frame(&format!("to {destination}"), HOME, frame).drops(DropReason::Ipv4DestinationInvalid);
    }
    for (name, kind) in [("loose source route", 131), ("strict source route", 137)] {
        let routed = Packet { ip_options: vec![kind, 7, 4, 10, 0, 0, 9, 0], ..good.clone() };
        s.packet(name, HOME, routed).drops(DropReason::Ipv4SourceRoute);
    }
    let contradictory = [
        ("a first fragment with half a header", 0, 8, DropReason::Ipv4FragmentTiny),
        ("an uneven fragment with more to follow", 64, 61, DropReason::Ipv4FragmentInvalid),
    ];
    for (name, fragment_offset, length, why) in contradictory {
        let header = ipv4::Header {
            more_fragments: true,
            fragment_offset,
            dont_fragment: false,
            ..ipv4::Header::new(ALICE, SERVER, Protocol::TCP)
        };
        let mut frame = vec![0; 14 + 20 + 64];
        let path = Path::untagged(host(HOME, 2), edge(HOME));
        build::frame(&mut frame, &path, &Ip::V4(header), &Transport::Raw(&[0x20; 64][..length]))
            .expect("fits");
        s.frame(name, HOME, frame).drops(why);
    }
    for (name, to, code, why) in [
        ("no route", ip(100, 64, 0, 1), Some(0), DropReason::NoRoute),
        ("a black hole", ip(192, 0, 2, 1), None, DropReason::RouteBlackhole),
        ("an unreachable route", ip(192, 0, 2, 129), Some(1), DropReason::RouteUnreachable),
        ("a prohibited route", ip(192, 0, 2, 193), Some(13), DropReason::RouteProhibited),
    ] {
        let packet = Packet { identification: s.next_identification(), ..udp((ALICE, QUERY), (to, 53)) };
        let told = code.map(|code| unreachable(HOME, EDGE_HOME, code, &packet));
        let case = s.packet(name, HOME, packet).drops(why);
        if let Some(told) = told {
            case.makes(HOME, told);
        }
    }
    let elsewhere = udp((ip(10, 77, 0, 1), QUERY), (SERVER, 53));
    s.packet("a source of nowhere", HOME, elsewhere).drops(DropReason::SourceSpoofed);
    let big =
        Packet { payload: vec![2; 1400 - 28 + 1], identification: s.next_identification(), ..good.clone() };
    let about = big.frame(host(HOME, 2), edge(HOME));
    let [high, low] = 1400_u16.to_be_bytes();
    let unreachable = IcmpType::DESTINATION_UNREACHABLE;
    let told = icmp_error(HOME, EDGE_HOME, unreachable, 4, [0, 0, high, low], &about);
    s.packet("larger than the MTU outside, not to be cut", HOME, big)
        .makes(HOME, told)
        .drops(DropReason::PacketTooBig);
    let most = Packet { payload: vec![2; 1400 - 28], ..good };
    s.packet("as large as the MTU outside", HOME, most).becomes(OUTSIDE, ALICE_UDP, (SERVER, 53));
}

fn refused_transport(s: &mut Scenario) {
    let web = (SERVER, 80);
    for (name, flags) in [("ACK", 0x10), ("RST", 0x04), ("SYN ACK", 0x12), ("FIN", 0x01), ("SYN RST", 0x06)] {
        let segment = Packet::new((ALICE, 51_002), web, tcp(TcpFlags(flags), &[]), b"");
        let insane = matches!(flags, 0x01 | 0x06);
        let why = if insane { DropReason::TcpFlagsInvalid } else { DropReason::TcpNotSyn };
        s.packet(&format!("TCP {name} without a session"), HOME, segment).drops(why);
    }
    let invalid = DropReason::L4HeaderInvalid;
    let mut raw = |name: &str, protocol: u8, payload: &[u8], why| {
        let packet = Packet::new((ALICE, 0), (SERVER, 0), Carried::Raw(protocol), payload);
        s.packet(name, HOME, packet).drops(why);
    };
    let port = [0x0f, 0xa0, 0, 53];
    raw("GRE", 47, &[0; 24], DropReason::ProtocolUnsupported);
    raw("ESP", 50, &[7; 24], DropReason::ProtocolUnsupported);
    raw("UDP cut short", 17, &port, invalid);
    raw("UDP of length 7", 17, &[&port[..], &[0, 7, 0, 0]].concat(), invalid);
    raw("UDP longer than its packet", 17, &[&port[..], &[0, 9, 0, 0]].concat(), invalid);
    raw("TCP cut short", 6, &[0; 19], invalid);
    let mut tcp = [0; 20];
    tcp[12] = 0x40;
    raw("TCP with a header of 16 bytes", 6, &tcp, invalid);
    tcp[12] = 0x60;
    raw("TCP with options beyond its packet", 6, &tcp, invalid);
    raw("ICMP cut short", 1, &[8, 0, 0], invalid);
    raw("an ICMP timestamp request", 1, &[13, 0, 0, 0, 0, 1, 0, 1], DropReason::IcmpUnsupported);
    raw("an ICMP error about nothing", 1, &[3, 3, 0, 0, 0, 0, 0, 0], DropReason::IcmpErrorInvalid);
    raw("an ICMP echo reply nobody asked for", 1, &[0, 0, 0, 0, 0, 1, 0, 1], DropReason::NoSession);
    let error = Packet::new((ALICE, 0), (SERVER, 0), Carried::Raw(1), &[3, 3, 0, 0, 0, 0, 0, 0]);
    let quiet = Packet { ttl: 1, ..error };
    s.packet("TTL 1 of an ICMP error", HOME, quiet).drops(DropReason::TtlExceededQuiet);
}

/// Subscribers that meet by their public addresses: both are translated, and the time to live counts one hop. Their mappings
/// are there already, whichever worker makes them.
fn hairpins(s: &mut Scenario) {
    let (alice, bob) = ((ALICE, QUERY), (BOB, 5000));
    s.packet("hairpin", LATER, udp(bob, ALICE_UDP)).becomes(HOME, BOB_UDP, alice);
    s.packet("hairpin, once more", LATER, udp(bob, ALICE_UDP)).becomes(HOME, BOB_UDP, alice);
    s.packet("hairpin, the answer", LATER, udp(alice, BOB_UDP)).becomes(HOME, ALICE_UDP, bob);
    s.packet("hairpin to oneself", LATER, udp((ALICE, 4009), ALICE_UDP)).becomes(HOME, ALICE_HAIRPIN, alice);
    s.packet("hairpin to a port nobody has", LATER, udp(bob, (UNUSED, 1024))).drops(DropReason::NatNoMapping);
    for _ in 0..64 {
        s.packet("fills the burst", LATER, udp(bob, (SERVER, 53))).becomes(OUTSIDE, BOB_UDP, (SERVER, 53));
    }
    s.packet("fast: hairpin", LATER, udp(bob, ALICE_UDP)).becomes(HOME, BOB_UDP, alice);
    s.packet("fast: hairpin, the answer", LATER, udp(alice, BOB_UDP)).becomes(HOME, ALICE_UDP, bob);
}

/// In bursts after the one that made their sessions: until then every packet goes the slow way.
fn on_the_fast_way(s: &mut Scenario) {
    let (alice, dns, web) = ((ALICE, QUERY), (SERVER, 53), (SERVER, 443));
    for length in 1..=64 {
        let packet = Packet { payload: vec![0x77; 20 * length], ..udp(alice, dns) };
        s.packet("one of a train", HOME, packet).becomes(OUTSIDE, ALICE_UDP, dns);
    }
    let mut out = |name: &str, packet: Packet, public: End, to: End| {
        s.packet(name, HOME, packet).becomes(OUTSIDE, public, to);
    };
    out("fast: no checksum", Packet { carried: UNSUMMED, ..udp(alice, dns) }, ALICE_UDP, dns);
    let short = Packet { payload: b"odd".to_vec(), trailer: vec![0xee; 15], ..udp(alice, dns) };
    out("fast: rubbish for padding", short, ALICE_UDP, dns);
    out("fast: time to live of two", Packet { ttl: 2, ..udp(alice, dns) }, ALICE_UDP, dns);
    for (name, flags, options) in
        [("fast: TCP data", 0x18, &STAMPS[..]), ("fast: TCP ACK", 0x10, &[]), ("fast: TCP RST", 0x04, &[])]
    {
        let data: &[u8] = if flags == 0x18 { &[0x3c; 333] } else { b"" };
        let segment = Packet::new((ALICE, 51_000), web, tcp(TcpFlags(flags), options), data);
        out(name, Packet { trailer: vec![0; 6], ..segment }, ALICE_TCP, web);
    }
    let expired = udp(alice, dns);
    let (packet, frame) = expiring(expired, HOME, s.next_identification());
    s.packet("TTL 1 of a session's packet", HOME, packet)
        .makes(HOME, time_exceeded(HOME, EDGE_HOME, &frame))
        .drops(DropReason::TtlExceeded);
    let mut bad = udp(alice, dns).frame(host(HOME, 2), edge(HOME));
    bad[25] ^= 1;
    s.frame("a session's packet with a wrong header checksum", HOME, bad).drops(DropReason::Ipv4ChecksumBad);
}

fn other_realms(s: &mut Scenario) {
    let (same, dns) = ((ALICE, QUERY), (SERVER, 53));
    s.packet("the same address in another realm", TWIN, udp(same, dns)).becomes(OUTSIDE, TWIN_UDP, dns);
    s.packet("hairpin between realms", TWIN, udp(same, ALICE_UDP)).becomes(HOME, TWIN_UDP, (ALICE, QUERY));
    let carol = (ip(10, 0, 0, 9), 6000);
    s.packet("from a host without a neighbour entry", TWIN, udp(carol, dns)).becomes(OUTSIDE, CAROL_UDP, dns);
    let lan = ip(10, 9, 0, 2);
    s.packet("a realm without NAT", LAN, udp((lan, QUERY), dns)).drops(DropReason::RealmNotServed);
    let ask = Packet::new((lan, 1), (ip(10, 9, 0, 1), 0), Carried::EchoRequest { sequence: 5 }, &[1; 20]);
    let reply = Packet::new((ip(10, 9, 0, 1), 0), (lan, 1), Carried::EchoReply { sequence: 5 }, &[1; 20]);
    s.packet("echo to the edge in a realm without NAT", LAN, ask)
        .makes(LAN, reply.frame(edge(LAN), host(LAN, 2)));
}

fn translated_inbound(s: &mut Scenario) {
    let found = Arp::request(edge(OUTSIDE), EDGE_OUTSIDE, ip(203, 0, 113, 17)).reply(host(OUTSIDE, 17));
    s.frame("the ARP answer", OUTSIDE, arp_frame(host(OUTSIDE, 17), edge(OUTSIDE), &found));
    let (alice, dns, web) = ((ALICE, QUERY), (SERVER, 53), (SERVER, 443));
    let answer = udp(dns, ALICE_UDP);
    s.packet("UDP answer", OUTSIDE, answer.clone()).becomes(HOME, dns, alice);
    s.packet("UDP answer without a checksum", OUTSIDE, Packet { carried: UNSUMMED, ..answer.clone() })
        .becomes(HOME, dns, alice);
    let short = Packet { payload: b"odd".to_vec(), trailer: vec![0xaa; 15], ..answer.clone() };
    s.packet("a short UDP answer", OUTSIDE, short).becomes(HOME, dns, alice);
    let options = Packet { ip_options: vec![148, 4, 0, 0], ..answer.clone() };
    s.packet("a UDP answer with IP options", OUTSIDE, options).becomes(HOME, dns, alice);
    s.packet("a UDP answer into the other realm", OUTSIDE, udp(dns, TWIN_UDP)).becomes(
        TWIN,
        dns,
        (ALICE, QUERY),
    );
    let client = (ALICE, 51_000);
    let syn_ack = Packet::new(web, ALICE_TCP, tcp(TcpFlags(0x12), &OPENING), b"");
    s.packet("TCP SYN ACK with options", OUTSIDE, syn_ack).becomes(HOME, web, client).but(|leaves| {
        if let Carried::Tcp { options, .. } = &mut leaves.carried {
            options[2..4].copy_from_slice(&1360_u16.to_be_bytes());
        }
    });
    let data = Packet::new(web, ALICE_TCP, tcp(TcpFlags(0x18), &[]), &[0x3c; 777]);
    s.packet("TCP data inbound", OUTSIDE, data).becomes(HOME, web, client);
    let pong = Packet::new((SERVER, 0), ALICE_ECHO, Carried::EchoReply { sequence: 1 }, &[0x5a; 56]);
    s.packet("ICMP echo reply", OUTSIDE, pong.clone()).becomes(HOME, (SERVER, 0), (ALICE, 0x4242));
    let unasked = Packet { source: (STRANGER, 0), ..pong };
    s.packet("an echo reply from somebody else", OUTSIDE, unasked).drops(DropReason::NoSession);
    let (packet, frame) =
        expiring(Packet { destination: (UNUSED, 1), ..answer }, OUTSIDE, s.next_identification());
    s.packet("TTL 1 from outside", OUTSIDE, packet)
        .makes(OUTSIDE, time_exceeded(OUTSIDE, EDGE_OUTSIDE, &frame))
        .drops(DropReason::TtlExceeded);
    let carol = ip(10, 0, 0, 9);
    let question = Arp::request(edge(TWIN), EDGE_HOME, carol);
    s.packet("an answer to a host that ARP doesn't find", OUTSIDE, udp(dns, CAROL_UDP))
        .makes(TWIN, arp_frame(edge(TWIN), MacAddr::BROADCAST, &question))
        .drops(DropReason::Shutdown);
}

/// Not through the mapping of the hairpins: how many of those come from outside is a matter of who speaks first.
fn strangers(s: &mut Scenario) {
    let alice = (ALICE, 4006);
    for port in [9000, 9001, 9002] {
        let from = (STRANGER, port);
        s.packet("a stranger through the mapping", OUTSIDE, udp(from, ALICE_ODD)).becomes(HOME, from, alice);
    }
    let again = (STRANGER, 9000);
    s.packet("the stranger's second packet", OUTSIDE, udp(again, ALICE_ODD)).becomes(HOME, again, alice);
    s.packet("one stranger too many", OUTSIDE, udp((STRANGER, 9003), ALICE_ODD))
        .drops(DropReason::NatInboundQuota);
    let ask = Packet::new((STRANGER, 0), ALICE_ECHO, Carried::EchoRequest { sequence: 1 }, b"anybody there?");
    s.packet("echo to a mapped identifier", OUTSIDE, ask).drops(DropReason::NatFiltered);
    let ack = Packet::new((STRANGER, 80), ALICE_TCP, tcp(TcpFlags::ACK, &[]), b"");
    s.packet("TCP ACK from a stranger", OUTSIDE, ack).drops(DropReason::TcpNotSyn);
    s.packet("a port that nobody has", OUTSIDE, udp((STRANGER, 9), (UNUSED, 1024)))
        .drops(DropReason::NatNoMapping);
    s.packet("a port below all blocks", OUTSIDE, udp((STRANGER, 9), (UNUSED, 80)))
        .drops(DropReason::NatNoMapping);
    let nobody = (ip(203, 0, 113, 200), 53);
    s.packet("neither the pool's nor the edge's", OUTSIDE, udp((STRANGER, 9), nobody))
        .drops(DropReason::NoSession);
    s.packet("past the edge", OUTSIDE, udp((STRANGER, 9), alice)).drops(DropReason::NoSession);
}

fn outside_arp_and_echo(s: &mut Scenario) {
    let gateway = ip(203, 0, 113, 254);
    for (name, target, answered) in [
        ("ARP for the edge, outside", EDGE_OUTSIDE, true),
        ("ARP for a public address", UNUSED, true),
        ("ARP for an address beside the pool", ip(203, 0, 113, 200), false),
    ] {
        let request = Arp::request(host(OUTSIDE, 254), gateway, target);
        let case = s.frame(name, OUTSIDE, arp_frame(host(OUTSIDE, 254), MacAddr::BROADCAST, &request));
        if answered {
            case.makes(OUTSIDE, arp_frame(edge(OUTSIDE), host(OUTSIDE, 254), &request.reply(edge(OUTSIDE))));
        }
    }
    let claim = Arp::request(host(OUTSIDE, 254), UNUSED, gateway);
    s.frame(
        "ARP that claims a public address",
        OUTSIDE,
        arp_frame(host(OUTSIDE, 254), MacAddr::BROADCAST, &claim),
    )
    .drops(DropReason::ArpInvalid);
    let ask = Packet::new((SERVER, 3), (EDGE_OUTSIDE, 0), Carried::EchoRequest { sequence: 1 }, &[7; 30]);
    let reply = Packet::new((EDGE_OUTSIDE, 0), (SERVER, 3), Carried::EchoReply { sequence: 1 }, &[7; 30]);
    s.packet("echo to the edge from outside", OUTSIDE, ask)
        .makes(OUTSIDE, reply.frame(edge(OUTSIDE), host(OUTSIDE, 254)));
}
