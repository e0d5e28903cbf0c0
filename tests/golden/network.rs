//! The cases, port after port in the order in which they are read.

use std::net::{Ipv4Addr, Ipv6Addr};

use ces::packet::arp::Operation;
use ces::packet::build::{self, Icmpv6Error, Ip, Path, Transport};
use ces::packet::vlan::{Tag, Tags};
use ces::packet::{
    Arp, DropReason, IcmpType, Icmpv6Type, Ipv6, Link, MacAddr, Protocol, TcpFlags, icmp, icmpv6, ipv4, ipv6,
    ndp, tcp, udp,
};

use crate::Case;
use crate::links::{BRANCH, HOME, IN, INTERNET, Network, OFFICE, OUT};

/// Beyond the gateway.
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa000, 0, 0, 0, 0, 7);
const PAYLOAD: &[u8] = b"what is the time?";

fn padded(mut frame: Vec<u8>, path: &Path) -> Vec<u8> {
    // The edge pads its own messages before the tags go on.
    frame.resize(frame.len().max(60 + 4 * path.tags.len()), 0);
    frame
}

fn frame(path: &Path, ip: ipv6::Header, transport: &Transport<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 1700];
    let length = build::frame(&mut buffer, path, &Ip::V6(ip), transport).expect("fits");
    buffer.truncate(length);
    buffer
}

fn header(from: Ipv6Addr, to: Ipv6Addr, protocol: Protocol, hop_limit: u8) -> ipv6::Header {
    ipv6::Header { hop_limit, ..ipv6::Header::new(from, to, protocol) }
}

/// The parts of a packet that crosses, built once for each side.
struct Crossing<'a> {
    from: Ipv6Addr,
    to: Ipv6Addr,
    protocol: Protocol,
    transport: Transport<'a>,
}

impl Crossing<'_> {
    fn built(&self, path: &Path, hop_limit: u8) -> Vec<u8> {
        frame(path, header(self.from, self.to, self.protocol, hop_limit), &self.transport)
    }
}

fn udp(from: Ipv6Addr, port: u16, to: Ipv6Addr, to_port: u16) -> Crossing<'static> {
    let header = udp::Header { source_port: port, destination_port: to_port };
    Crossing { from, to, protocol: Protocol::UDP, transport: Transport::Udp(header, PAYLOAD) }
}

fn tcp(from: Ipv6Addr, port: u16, to: Ipv6Addr, to_port: u16, flags: u8, mss: &[u8]) -> Crossing<'_> {
    let header = tcp::Header { options: mss, ..tcp::Header::new(port, to_port, TcpFlags(flags)) };
    Crossing { from, to, protocol: Protocol::TCP, transport: Transport::Tcp(header, &[]) }
}

/// The ICMPv6 error that the edge sends about a frame which came in from `network`.
fn told(network: &Network, host: u8, error: Icmpv6Error, about: &[u8]) -> (usize, Vec<u8>) {
    let link = Link::parse(about).expect("a frame");
    let packet = Ipv6::parse(link.payload).expect("an IPv6 packet");
    let mut ip = header(network.edge(), packet.source(), Protocol::ICMPV6, 64);
    ip.traffic_class = 48 << 2;
    let most = 1280 - 48;
    let whole = 40 + usize::from(packet.payload_length());
    let quote = &link.payload[..whole.min(most)];
    let (kind, code, parameter) = match error {
        Icmpv6Error::NoRoute => (1, 0, 0),
        Icmpv6Error::AdminProhibited => (1, 1, 0),
        Icmpv6Error::PortUnreachable => (1, 4, 0),
        Icmpv6Error::RejectRoute => (1, 6, 0),
        Icmpv6Error::PacketTooBig { mtu } => (2, 0, mtu),
        Icmpv6Error::TimeExceeded => (3, 0, 0),
        Icmpv6Error::UnrecognizedNextHeader { pointer } => (4, 1, pointer),
        other => panic!("{other:?} is not made here"),
    };
    let header = icmpv6::Header { kind: Icmpv6Type(kind), code, parameter: u32::to_be_bytes(parameter) };
    let path = network.down(host);
    (network.port, padded(frame(&path, ip, &Transport::Icmpv6(header, quote)), &path))
}

pub fn cases() -> Vec<Case> {
    let mut c = Cases(vec![]);
    outbound(&mut c);
    tags(&mut c);
    errors(&mut c);
    to_the_edge(&mut c);
    refused(&mut c);
    inbound(&mut c);
    c.0
}

/// Many packets of HOME's host, few of OFFICE's, of one flow each.
pub fn two_subscribers(many: usize, few: usize) -> Vec<Case> {
    let mut c = Cases(vec![]);
    for n in 0..many {
        for network in [HOME, OFFICE].iter().take(if n < few { 2 } else { 1 }) {
            let packet = udp(network.address(2), 4000, SERVER, 53).built(&network.up(2), 64);
            c.add("a packet", IN, packet);
        }
    }
    c.0
}

struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: &'static str, port: usize, frame: Vec<u8>) -> &mut Case {
        self.0.push(Case { name, port, frame, out: vec![], drop: None });
        self.0.last_mut().expect("just pushed")
    }

    /// From a link to another, tags off and on.
    fn crosses(&mut self, name: &'static str, packet: &Crossing<'_>, from: &Network, to: &Network) {
        let out = packet.built(&to.down(2), 63);
        self.add(name, from.port, packet.built(&from.up(2), 64)).out.push((to.port, out));
    }

    fn drops(&mut self, name: &'static str, port: usize, frame: Vec<u8>, why: DropReason) {
        self.add(name, port, frame).drop = Some(why);
    }

    fn told(
        &mut self,
        name: &'static str,
        network: &Network,
        error: Icmpv6Error,
        frame: Vec<u8>,
        why: DropReason,
    ) {
        let told = told(network, 2, error, &frame);
        let case = self.add(name, network.port, frame);
        case.out.push(told);
        case.drop = Some(why);
    }
}

const MSS_1440: [u8; 4] = [2, 4, 0x05, 0xa0];
/// 1,300 bytes less the headers.
const MSS_1240: [u8; 4] = [2, 4, 0x04, 0xd8];

fn outbound(c: &mut Cases) {
    for (name, from) in [("UDP, untagged", &HOME), ("UDP, 802.1Q", &OFFICE), ("UDP, 802.1ad", &BRANCH)] {
        let packet = udp(from.address(2), 4000, SERVER, 53);
        c.crosses(name, &packet, from, &INTERNET);
        // Now a hit: the fast way.
        c.crosses(name, &packet, from, &INTERNET);
        let syn = tcp(from.address(2), 5000, SERVER, 443, 2, &MSS_1440);
        let clamped = tcp(from.address(2), 5000, SERVER, 443, 2, &MSS_1240);
        let out = clamped.built(&INTERNET.down(2), 63);
        c.add("a SYN, its segment size clamped", IN, syn.built(&from.up(2), 64)).out.push((OUT, out));
        c.crosses("an ACK", &tcp(from.address(2), 5000, SERVER, 443, 0x10, &[]), from, &INTERNET);
        c.crosses("the first packet of another", &udp(from.address(2), 4001, SERVER, 53), from, &INTERNET);
    }
    let echo = icmpv6::Header::echo(Icmpv6Type::ECHO_REQUEST, icmp::Echo { identifier: 77, sequence: 1 });
    let (from, transport) = (HOME.address(2), Transport::Icmpv6(echo, PAYLOAD));
    let ping = Crossing { from, to: SERVER, protocol: Protocol::ICMPV6, transport };
    c.crosses("an echo request", &ping, &HOME, &INTERNET);
    let esp =
        Crossing { protocol: Protocol(50), transport: Transport::Raw(&[7; 40]), ..udp(from, 0, SERVER, 0) };
    c.crosses("ESP", &esp, &HOME, &INTERNET);
    let neighbors = udp(BRANCH.address(2), 1, BRANCH.address(3), 2);
    let out = neighbors.built(&BRANCH.down(3), 63);
    c.add("one subscriber to another", IN, neighbors.built(&BRANCH.up(2), 64)).out.push((IN, out));
}

fn tags(c: &mut Cases) {
    let packet = udp(HOME.address(2), 4000, SERVER, 53);
    let out = packet.built(&INTERNET.down(2), 63);
    let priority = Path { tags: Tags::one(Tag { control: 5 << 13, ..Tag::customer(0) }), ..HOME.up(2) };
    c.add("a tag of priority only is none", IN, packet.built(&priority, 64)).out.push((OUT, out));
    let office = udp(OFFICE.address(2), 4000, SERVER, 53);
    let out = office.built(&INTERNET.down(2), 63);
    let urgent = Path { tags: Tags::one(Tag { control: 7 << 13 | 100, ..Tag::customer(0) }), ..OFFICE.up(2) };
    c.add("priority beside the VLAN", IN, office.built(&urgent, 64)).out.push((OUT, out));
    for (name, tags) in [
        ("an unknown VLAN", Tags::one(Tag::customer(101))),
        ("an S-tag alone", Tags::one(Tag::service(200))),
        ("an S-tag with a C-tag's identifier", Tags::one(Tag::service(100))),
        ("a C-tag with an S-tag's identifier", Tags::one(Tag::customer(200))),
        ("two C-tags", Tags::two(Tag::customer(200), Tag::customer(100))),
        ("the inner tag of another", Tags::two(Tag::service(200), Tag::customer(101))),
        ("the outer tag of another", Tags::two(Tag::service(201), Tag::customer(100))),
        ("two tags where there is one", Tags::two(Tag::customer(100), Tag::customer(100))),
    ] {
        c.drops(name, IN, packet.built(&Path { tags, ..HOME.up(2) }, 64), DropReason::VlanUnknown);
    }
    let mut third = packet.built(&BRANCH.up(2), 64);
    third.splice(20..20, [0x81, 0, 0, 9]);
    c.drops("three tags", IN, third, DropReason::VlanUnknown);
    let mut short = packet.built(&OFFICE.up(2), 64);
    short.truncate(15);
    c.drops("a frame that ends in its tag", IN, short, DropReason::Truncated);
    // The realm's own addresses, in another realm's VLAN.
    let stranger = udp(HOME.address(2), 4000, SERVER, 53);
    c.drops("a source of another VLAN", IN, stranger.built(&OFFICE.up(2), 64), DropReason::SourceSpoofed);
}

fn errors(c: &mut Cases) {
    for from in [&HOME, &OFFICE, &BRANCH] {
        let me = from.address(2);
        let to = |third: u16| Ipv6Addr::new(0x2001, 0xdb8, third, 0, 0, 0, 0, 9);
        let packet = |to: Ipv6Addr, hops: u8| udp(me, 6000, to, 33434).built(&from.up(2), hops);
        c.told("hop limit 1", from, Icmpv6Error::TimeExceeded, packet(SERVER, 1), DropReason::TtlExceeded);
        c.told("no route", from, Icmpv6Error::NoRoute, packet(to(0xc000), 64), DropReason::NoRoute);
        c.drops("a black hole", IN, packet(to(0xb001), 64), DropReason::RouteBlackhole);
        c.told(
            "unreachable",
            from,
            Icmpv6Error::RejectRoute,
            packet(to(0xb002), 64),
            DropReason::RouteUnreachable,
        );
        c.told(
            "prohibited",
            from,
            Icmpv6Error::AdminProhibited,
            packet(to(0xb003), 64),
            DropReason::RouteProhibited,
        );
        let long = Crossing {
            transport: Transport::Udp(udp::Header { source_port: 4000, destination_port: 53 }, &[9; 1253]),
            ..udp(me, 4000, SERVER, 53)
        };
        let mtu = Icmpv6Error::PacketTooBig { mtu: 1300 };
        c.told("longer than the next link", from, mtu, long.built(&from.up(2), 64), DropReason::PacketTooBig);
    }
    // What follows a packet in its frame is no part of it.
    let most = Crossing {
        transport: Transport::Udp(udp::Header { source_port: 4000, destination_port: 53 }, &[9; 1252]),
        ..udp(HOME.address(2), 4000, SERVER, 53)
    };
    let mut trailed = most.built(&HOME.up(2), 64);
    trailed.extend([0xee; 9]);
    c.add("as long as the next link takes, and a trailer", IN, trailed)
        .out
        .push((OUT, most.built(&INTERNET.down(2), 63)));
    // Of errors, none are made.
    let quote = udp(SERVER, 53, HOME.address(2), 9999).built(&HOME.up(2), 64);
    let error = icmpv6::Header { kind: Icmpv6Type::TIME_EXCEEDED, code: 0, parameter: [0; 4] };
    let error = |hops| {
        let ip = header(HOME.address(2), SERVER, Protocol::ICMPV6, hops);
        frame(&HOME.up(2), ip, &Transport::Icmpv6(error, &quote[14..]))
    };
    c.drops("hop limit 1 of an error", IN, error(1), DropReason::TtlExceededQuiet);
    c.drops("an error about nothing", IN, error(64), DropReason::IcmpErrorNoSession);
}

fn to_the_edge(c: &mut Cases) {
    let echo = |kind| icmpv6::Header::echo(kind, icmp::Echo { identifier: 5, sequence: 6 });
    for (network, fourth) in [(&HOME, 1), (&OFFICE, 2), (&BRANCH, 3)] {
        let (me, edge) = (network.address(2), network.edge());
        let ask = frame(
            &network.up(2),
            header(me, edge, Protocol::ICMPV6, 64),
            &Transport::Icmpv6(echo(Icmpv6Type::ECHO_REQUEST), PAYLOAD),
        );
        let answer = frame(
            &network.down(2),
            header(edge, me, Protocol::ICMPV6, 64),
            &Transport::Icmpv6(echo(Icmpv6Type::ECHO_REPLY), PAYLOAD),
        );
        c.add("an echo request to the edge", IN, ask).out.push((IN, padded(answer, &network.down(2))));
        let query = udp(me, 4000, edge, 53).built(&network.up(2), 64);
        c.told("UDP to the edge", network, Icmpv6Error::PortUnreachable, query, DropReason::LocalNoListener);
        let gre =
            Crossing { protocol: Protocol(47), transport: Transport::Raw(&[0; 20]), ..udp(me, 0, edge, 0) };
        let error = Icmpv6Error::UnrecognizedNextHeader { pointer: 6 };
        c.told("GRE to the edge", network, error, gre.built(&network.up(2), 64), DropReason::LocalNoListener);
        let (ip, mac) = (Ipv4Addr::new(10, 0, fourth, 1), network.mac(2));
        let request = Arp::request(mac, Ipv4Addr::new(10, 0, fourth, 2), ip);
        let mut asked = vec![0; 80];
        let broadcast = Path { destination: MacAddr::BROADCAST, ..network.up(2) };
        let length = build::arp(&mut asked, &broadcast, &request).expect("fits");
        asked.truncate(length);
        let mut answer = vec![0; 80];
        let reply = request.reply(crate::links::EDGE[IN]);
        assert_eq!(reply.operation, Operation::Reply);
        let length = build::arp(&mut answer, &network.down(2), &reply).expect("fits");
        answer.truncate(length);
        c.add("ARP", IN, asked).out.push((IN, padded(answer, &network.down(2))));
        let ping4 = |path: &Path, from, to, kind| {
            let header = ipv4::Header::new(from, to, Protocol::ICMP);
            let echo = icmp::Header::echo(kind, icmp::Echo { identifier: 3, sequence: 4 });
            let mut buffer = vec![0; 200];
            let length = build::frame(&mut buffer, path, &Ip::V4(header), &Transport::Icmp(echo, PAYLOAD));
            buffer.truncate(length.expect("fits"));
            buffer
        };
        let me4 = Ipv4Addr::new(10, 0, fourth, 2);
        let answer = ping4(&network.down(2), ip, me4, IcmpType::ECHO_REPLY);
        c.add("an IPv4 echo request to the edge", IN, ping4(&network.up(2), me4, ip, IcmpType::ECHO_REQUEST))
            .out
            .push((IN, padded(answer, &network.down(2))));
        solicited(c, network);
    }
}

/// A neighbour solicitation for the edge's address, and its advertisement (RFC 4861 section 7.2.4).
fn solicited(c: &mut Cases, network: &Network) {
    let (me, edge) = (network.address(2), network.edge());
    let mut asked = vec![0; 120];
    let length = build::neighbor_solicitation(&mut asked, &network.up(2), me, edge, None).expect("fits");
    asked.truncate(length);
    let advertisement =
        ndp::NeighborAdvertisement { router: true, solicited: true, override_: true, target: edge };
    let mut answer = vec![0; 120];
    let length = build::neighbor_advertisement(&mut answer, &network.down(2), edge, me, &advertisement);
    answer.truncate(length.expect("fits"));
    c.add("a neighbour solicitation", IN, asked).out.push((IN, padded(answer, &network.down(2))));
}

fn refused(c: &mut Cases) {
    let (me, up) = (HOME.address(2), HOME.up(2));
    let segment = |flags| tcp(me, 5001, SERVER, 80, flags, &[]).built(&up, 64);
    for flags in [0x00, 0x03, 0x06, 0x01, 0x29] {
        c.drops("flags that nobody sends", IN, segment(flags), DropReason::TcpFlagsInvalid);
    }
    c.drops("an ACK of no session", IN, segment(0x10), DropReason::TcpNotSyn);
    let from = |source: Ipv6Addr| udp(source, 4000, SERVER, 53).built(&up, 64);
    c.drops("a source of nowhere", IN, from("2001:db8:7::1".parse().unwrap()), DropReason::SourceSpoofed);
    c.drops("a link-local source", IN, from("fe80::2".parse().unwrap()), DropReason::Ipv6SourceInvalid);
    c.drops("a loopback source", IN, from(Ipv6Addr::LOCALHOST), DropReason::Ipv6SourceInvalid);
    let bogon = udp("2001:db8:3:0:b000::1".parse().unwrap(), 1, SERVER, 2).built(&BRANCH.up(2), 64);
    c.drops("a bogon", IN, bogon, DropReason::SourceBogon);
    let to = |to: &str| udp(me, 4000, to.parse().unwrap(), 53).built(&up, 64);
    c.drops("to a link-local address", IN, to("fe80::9"), DropReason::Ipv6DestinationInvalid);
    c.drops("to loopback", IN, to("::1"), DropReason::Ipv6DestinationInvalid);
    let fragment = [17, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
    let part =
        Crossing { protocol: Protocol(44), transport: Transport::Raw(&fragment), ..udp(me, 0, SERVER, 0) };
    c.drops("a fragment", IN, part.built(&up, 64), DropReason::Ipv6Fragment);
    let routing = [17, 2, 0, 1, 0, 0, 0, 0, 0x20, 1, 13, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let type0 =
        Crossing { protocol: Protocol(43), transport: Transport::Raw(&routing), ..udp(me, 0, SERVER, 0) };
    c.drops("a source route", IN, type0.built(&up, 64), DropReason::Ipv6ExtensionInvalid);
    let report = icmpv6::Header { kind: Icmpv6Type(138), code: 0, parameter: [0; 4] };
    let renumber = frame(&up, header(me, SERVER, Protocol::ICMPV6, 64), &Transport::Icmpv6(report, &[0; 8]));
    c.drops("router renumbering", IN, renumber, DropReason::Icmpv6Filtered);
}

fn inbound(c: &mut Cases) {
    for (name, to) in
        [("an answer, untagged", &HOME), ("an answer, 802.1Q", &OFFICE), ("an answer, 802.1ad", &BRANCH)]
    {
        let answer = udp(SERVER, 53, to.address(2), 4000);
        c.crosses(name, &answer, &INTERNET, to);
        let syn_ack = tcp(SERVER, 443, to.address(2), 5000, 0x12, &MSS_1440);
        let clamped = tcp(SERVER, 443, to.address(2), 5000, 0x12, &MSS_1240);
        let out = clamped.built(&to.down(2), 63);
        c.add("a SYN ACK, clamped", OUT, syn_ack.built(&INTERNET.up(2), 64)).out.push((IN, out));
        let strange = udp(SERVER, 54, to.address(2), 4000).built(&INTERNET.up(2), 64);
        c.drops("of no session", OUT, strange, DropReason::NoSession);
        let syn = tcp(SERVER, 1, to.address(2), 22, 2, &[]).built(&INTERNET.up(2), 64);
        c.drops("a SYN from outside", OUT, syn, DropReason::NoSession);
        let quote = udp(to.address(2), 4000, SERVER, 53).built(&INTERNET.down(2), 63);
        let error = icmpv6::Header { kind: Icmpv6Type::TIME_EXCEEDED, code: 0, parameter: [0; 4] };
        let router = Ipv6Addr::new(0x2001, 0xdb8, 0xa000, 0, 0, 0, 0, 1);
        let transport = Transport::Icmpv6(error, &quote[18..]);
        let report = Crossing { from: router, to: to.address(2), protocol: Protocol::ICMPV6, transport };
        c.crosses("an error about a session", &report, &INTERNET, to);
    }
    let esp = Crossing {
        protocol: Protocol(50),
        transport: Transport::Raw(&[8; 40]),
        ..udp(SERVER, 0, OFFICE.address(2), 0)
    };
    c.crosses("ESP that nobody asked for", &esp, &INTERNET, &OFFICE);
    let untagged = Path { tags: Tags::NONE, ..INTERNET.up(2) };
    c.drops(
        "outside, without its tag",
        OUT,
        udp(SERVER, 53, HOME.address(2), 4000).built(&untagged, 64),
        DropReason::VlanUnknown,
    );
}
