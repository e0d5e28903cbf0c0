//! What the edge does not answer, or not every time: frames to everybody, sources that are everybody, and floods.

use std::net::{Ipv4Addr, Ipv6Addr};

use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::vlan::{Tag, Tags};
use ces::packet::{Arp, DropReason, IcmpType, Icmpv6Type, MacAddr, Protocol, icmp, icmpv6, ipv4, ipv6, udp};

use crate::Case;
use crate::links::{HOME, IN, OFFICE};

const EDGE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
/// Everybody on that link (RFC 1812 section 5.3.5), and its old form.
const BROADCAST: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 1, 255), Ipv4Addr::new(10, 0, 1, 0)];
const EVERYBODY: Path = Path { destination: MacAddr::BROADCAST, ..HOME.up(2) };

fn frame(path: &Path, ip: &Ip<'_>, transport: &Transport<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 200];
    let length = build::frame(&mut buffer, path, ip, transport).expect("fits");
    buffer.truncate(length);
    buffer
}

fn ping(path: &Path, from: Ipv4Addr) -> Vec<u8> {
    let echo = icmp::Header::echo(IcmpType::ECHO_REQUEST, icmp::Echo { identifier: 1, sequence: 2 });
    let ip = ipv4::Header::new(from, EDGE, Protocol::ICMP);
    frame(path, &Ip::V4(ip), &Transport::Icmp(echo, b"anybody there?"))
}

fn query(path: &Path, from: Ipv4Addr, to: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let ip = ipv4::Header { ttl, ..ipv4::Header::new(from, to, Protocol::UDP) };
    let ports = udp::Header { source_port: 4000, destination_port: 53 };
    frame(path, &Ip::V4(ip), &Transport::Udp(ports, b"what is the time?"))
}

fn case(name: &'static str, frame: Vec<u8>, drop: DropReason) -> Case {
    Case { name, port: IN, frame, out: vec![], drop: Some(drop) }
}

/// None of them has an answer: one that is sent would be nobody's, or everybody's (RFC 1122 sections 3.2.2 and 3.3.6).
pub fn unanswered() -> Vec<Case> {
    let (up, far) = (HOME.up(2), Ipv4Addr::new(198, 51, 100, 7));
    let (to, from) = (DropReason::Ipv4DestinationInvalid, DropReason::Ipv4SourceInvalid);
    let mut cases = vec![
        case("a ping of the edge, to everybody's MAC address", ping(&EVERYBODY, HOST), to),
        case("UDP to the edge, to everybody's MAC address", query(&EVERYBODY, HOST, EDGE, 64), to),
        case("TTL 1, to everybody's MAC address", query(&EVERYBODY, HOST, far, 1), to),
    ];
    for everybody in BROADCAST {
        cases.push(case("a ping from everybody", ping(&up, everybody), from));
        cases.push(case("UDP to the edge from everybody", query(&up, everybody, EDGE, 64), from));
        cases.push(case("TTL 1 from everybody", query(&up, everybody, far, 1), from));
    }
    cases
}

/// In no VLAN that there is: pings of the edge.
pub fn half_tagged() -> Vec<Case> {
    let path = |tags| Path { tags, ..OFFICE.up(2) };
    let (edge, host) = (Ipv4Addr::new(10, 0, 2, 1), Ipv4Addr::new(10, 0, 2, 2));
    let inside = Tags::two(Tag::service(100), Tag::customer(0));
    vec![case(
        "an S-tag, and a tag of priority",
        query(&path(inside), host, edge, 64),
        DropReason::VlanUnknown,
    )]
}

/// So many questions of each kind that is limited: pings of both families, ARP and solicitations, packets that get an error.
pub fn flood(many: usize) -> Vec<Vec<u8>> {
    let (up, me, edge) = (HOME.up(2), HOME.address(2), HOME.edge());
    let echo = icmpv6::Header::echo(Icmpv6Type::ECHO_REQUEST, icmp::Echo { identifier: 1, sequence: 2 });
    let ip6 = ipv6::Header::new(me, edge, Protocol::ICMPV6);
    let mut asked = vec![0; 120];
    let length = build::neighbor_solicitation(&mut asked, &up, me, edge, None).expect("fits");
    asked.truncate(length);
    let mut arp = vec![0; 60];
    build::arp(&mut arp, &EVERYBODY, &Arp::request(HOME.mac(2), HOST, EDGE)).expect("fits");
    let expiring = ipv6::Header {
        hop_limit: 1,
        ..ipv6::Header::new(me, Ipv6Addr::new(0x2001, 0xdb8, 0xa000, 0, 0, 0, 0, 7), Protocol::UDP)
    };
    let ports = udp::Header { source_port: 4000, destination_port: 33434 };
    let each = [
        ping(&up, HOST),
        frame(&up, &Ip::V6(ip6), &Transport::Icmpv6(echo, b"anybody there?")),
        arp,
        asked,
        query(&up, HOST, Ipv4Addr::new(198, 51, 100, 7), 1),
        frame(&up, &Ip::V6(expiring), &Transport::Udp(ports, b"how far?")),
    ];
    (0..many).flat_map(|_| each.clone()).collect()
}
