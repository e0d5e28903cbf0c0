//! What takes its time: packets whose next hop is dead, which it is when it has been asked for seconds, or takes less; and what
//! the edge says of itself to its links.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/captured.rs"]
mod captured;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/running.rs"]
mod running;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{
    Arp, Error, IcmpType, Icmpv6Type, Ipv4, Link, MacAddr, Protocol, icmp, icmpv6, ipv4, ipv6, mld, ndp, udp,
};
use nix::sys::signal::Signal;
use running::{Running, show};

const HOST: MacAddr = MacAddr([2, 0, 0, 0, 1, 2]);
const EDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OUTSIDE: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ME6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const LINK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0);

/// On the link outside: `.254` is there, nobody else.
const fn outside(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, last)
}

fn outside6(last: u16) -> Ipv6Addr {
    Ipv6Addr::from_bits(LINK6.to_bits() | u128::from(last))
}

fn config(workers: &str) -> String {
    let port = |number: u8, name: &str, mac: MacAddr| {
        format!(
            "[[port]]\nname = \"{name}\"\nmac = \"{mac}\"\n\
             device = \"net_pcap{number},rx_pcap={name}-in.pcap,tx_pcap={name}-out.pcap\"\n"
        )
    };
    let neighbor = |interface: &str, address: &str, mac: &str| {
        format!("[[neighbor]]\ninterface = \"{interface}\"\naddress = \"{address}\"\nmac = \"{mac}\"\n")
    };
    [
        format!("[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n"),
        port(0, "in", EDGE),
        port(1, "out", OUTSIDE),
        "[[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\", \"2001:db8:1::1/64\"]\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\nmtu = 1400\n\
         addresses = [\"203.0.113.1/24\", \"2001:db8:2::1/64\"]\n\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.64/30\"]\n\
         [ipv6]\ninside = [\"home\"]\noutside = \"internet\"\nsessions = 2048\n"
            .to_owned(),
        neighbor("in", "10.0.0.2", "02:00:00:00:01:02"),
        neighbor("in", "2001:db8:1::2", "02:00:00:00:01:02"),
        neighbor("out", "203.0.113.254", "02:00:00:00:02:fe"),
        neighbor("out", "2001:db8:2::fe", "02:00:00:00:02:fe"),
    ]
    .concat()
}

fn framed(path: &Path, ip: &Ip<'_>, transport: &Transport<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 1600];
    let length = build::frame(&mut buffer, path, ip, transport).expect("fits");
    buffer.truncate(length);
    buffer
}

const PORTS: udp::Header = udp::Header { source_port: 4000, destination_port: 53 };

/// A question without a checksum (RFC 768): what is quoted of it is then what went in.
fn question(to: Ipv4Addr, ttl: u8, dont_fragment: bool, length: usize) -> Vec<u8> {
    let ip = ipv4::Header { ttl, dont_fragment, ..ipv4::Header::new(ME, to, Protocol::UDP) };
    let payload: Vec<u8> = (0..length).map(|n| (n / 8) as u8).collect();
    let mut frame = framed(&Path::untagged(HOST, EDGE), &Ip::V4(ip), &Transport::Udp(PORTS, &payload));
    frame[40..42].fill(0);
    frame
}

fn question6(to: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let ip = ipv6::Header { hop_limit, ..ipv6::Header::new(ME6, to, Protocol::UDP) };
    framed(&Path::untagged(HOST, EDGE), &Ip::V6(ip), &Transport::Udp(PORTS, b"is anybody there?"))
}

/// The ICMP error about the packet of a frame, from the edge to [`HOST`].
fn unreachable(about: &[u8]) -> Vec<u8> {
    let ip = ipv4::Header {
        dscp: 48,
        dont_fragment: false,
        ..ipv4::Header::new(Ipv4Addr::new(10, 0, 0, 1), ME, Protocol::ICMP)
    };
    let header = icmp::Header { kind: IcmpType::DESTINATION_UNREACHABLE, code: 1, parameter: [0; 4] };
    framed(&Path::untagged(EDGE, HOST), &Ip::V4(ip), &Transport::Icmp(header, &about[14..]))
}

fn unreachable6(about: &[u8]) -> Vec<u8> {
    let edge = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    let ip = ipv6::Header { traffic_class: 48 << 2, ..ipv6::Header::new(edge, ME6, Protocol::ICMPV6) };
    let header = icmpv6::Header { kind: Icmpv6Type::DESTINATION_UNREACHABLE, code: 3, parameter: [0; 4] };
    framed(&Path::untagged(EDGE, HOST), &Ip::V6(ip), &Transport::Icmpv6(header, &about[14..]))
}

/// Runs until `is_over`, and answers what came out inside and outside.
fn run(workers: &str, inside: &[Vec<u8>], is_over: impl Fn(&Bed) -> bool) -> [Vec<Vec<u8>>; 2] {
    let bed = Bed::new();
    capture::write(&bed.directory.join("in-in.pcap"), inside);
    capture::write(&bed.directory.join("out-in.pcap"), []);
    bed.configure(&config(workers));
    let running = Running::start(&bed);
    let start = Instant::now();
    while !is_over(&bed) {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", show(&bed, &["counters"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(5)).code(), Some(0));
    ["in", "out"].map(|port| captured::read(&bed.directory.join(format!("{port}-out.pcap"))))
}

/// ARP, and of IPv6 neighbour discovery and listener reports.
fn is_of_the_link(frame: &[u8]) -> bool {
    match frame[12..14] {
        [8, 6] => true,
        [0x86, 0xdd] => frame[20] == 0 || (133..=137).contains(&frame[54]),
        _ => false,
    }
}

fn count(frames: &[Vec<u8>], frame: &[u8]) -> usize {
    frames.iter().filter(|f| *f == frame).count()
}

fn dropped(bed: &Bed, reason: &str) -> u64 {
    show(bed, &["counters"])["drops"][reason]["total"].as_u64().unwrap_or(0)
}

/// An Ethernet frame from the edge's outside, padded.
fn word(write: impl FnOnce(&mut [u8], &Path) -> Result<usize, Error>, to: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; 120];
    let length = write(&mut frame, &Path::untagged(OUTSIDE, to)).expect("fits");
    frame.truncate(length.max(60));
    frame
}

fn who_has(target: Ipv4Addr) -> Vec<u8> {
    let request = Arp::request(OUTSIDE, outside(1), target);
    word(|b, path| build::arp(b, path, &request), MacAddr::BROADCAST)
}

fn who_has6(target: Ipv6Addr) -> Vec<u8> {
    word(|b, path| build::neighbor_solicitation(b, path, outside6(1), target, None), MacAddr::ZERO)
}

/// Each own and each public address is probed once and announced twice: by ARP (RFC 5227 sections 2.1 and 2.3), and by duplicate
/// address detection and unsolicited advertisements (RFC 4862 section 5.4.2, RFC 4861 section 7.2.6).
#[test]
fn own_addresses_are_probed_and_announced() {
    // 2 own and 4 public ones, 3 times; 2 of IPv6 and 2 link-local ones, 3 times and 2 reports of their groups.
    let all = 6 * 3 + 4 * 5;
    let originated = |bed: &Bed| show(bed, &["counters"])["workers"][0]["originated_packets"].as_u64();
    let [_, said] = run("cores = [0]", &[], |bed| originated(bed).expect("a count") >= all);
    for address in [outside(1), outside(64), outside(67)] {
        let arp = |from| {
            let request = Arp::request(OUTSIDE, from, address);
            word(|b, path| build::arp(b, path, &request), MacAddr::BROADCAST)
        };
        assert_eq!(count(&said, &arp(Ipv4Addr::UNSPECIFIED)), 1, "{address} is probed");
        assert_eq!(count(&said, &arp(address)), 2, "{address} is announced");
    }
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 9);
    for target in [outside6(1), link_local] {
        let probe = word(|b, path| build::duplicate_address_probe(b, path, target), MacAddr::ZERO);
        assert_eq!(count(&said, &probe), 1, "{target} is probed");
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let said_is = ndp::NeighborAdvertisement { router: true, solicited: false, override_: true, target };
        let announcement = word(
            |b, path| build::neighbor_advertisement(b, path, target, all_nodes, &said_is),
            MacAddr::for_ipv6_multicast(all_nodes),
        );
        assert_eq!(count(&said, &announcement), 2, "{target} is announced");
        let group = ndp::solicited_node(target);
        let report = word(|b, path| mld::report(b, path, link_local, group), MacAddr::ZERO);
        assert_eq!(count(&said, &report), 2, "the group of {target} is reported");
    }
}

/// Whoever sends to an address on the link that nobody has is told so (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1), for every
/// packet that was held for it, and by the packet as it was sent; whoever sends to one that is there is told nothing.
#[test]
fn a_dead_next_hop_is_told_to_the_sender() {
    for workers in ["cores = [0]", "cores = [0, 1]\ndistribute = \"software\""] {
        let inside = [
            question(outside(9), 64, true, 17),
            question(outside(9), 33, true, 20),
            question(outside(254), 64, true, 17),
            question6(outside6(9), 64),
            question6(outside6(0xfe), 64),
        ];
        let [mut told, mut sent] = run(workers, &inside, |bed| dropped(bed, "neighbor_unreachable") >= 3);
        // First everybody is asked, three times (RFC 4861 section 7.2.2, and ARP alike).
        assert_eq!(count(&sent, &who_has(outside(9))), 3, "{workers}");
        assert_eq!(count(&sent, &who_has6(outside6(9))), 3, "{workers}");
        [&mut told, &mut sent].into_iter().for_each(|frames| frames.retain(|f| !is_of_the_link(f)));
        // One hop behind, as it was dropped.
        let expected = [
            unreachable(&question(outside(9), 63, true, 17)),
            unreachable(&question(outside(9), 32, true, 20)),
            unreachable6(&question6(outside6(9), 63)),
        ];
        for frame in &expected {
            assert!(told.contains(frame), "{workers}: {frame:02x?} is not among {told:02x?}");
        }
        assert_eq!((told.len(), sent.len()), (3, 2), "{workers}");
    }
}

/// RFC 791 section 2.3: what may be cut is cut to what the next link takes, and is the same when put together again.
#[test]
fn what_may_be_cut_is_cut() {
    let inside = [question(outside(254), 64, false, 1472), question(outside(254), 64, true, 1472)];
    let [mut told, mut sent] = run("cores = [0]", &inside, |bed| dropped(bed, "packet_too_big") >= 1);
    [&mut told, &mut sent].into_iter().for_each(|frames| frames.retain(|f| !is_of_the_link(f)));
    let pieces: Vec<Ipv4<'_>> = sent
        .iter()
        .map(|f| Ipv4::parse(Link::parse(f).expect("a frame").payload).expect("a packet"))
        .collect();
    assert_eq!(pieces.len(), 2, "{sent:02x?}");
    let mut whole: Vec<u8> = vec![];
    for (n, piece) in pieces.iter().enumerate() {
        assert!(piece.total_length() <= 1400 && piece.checksum_is_right() && piece.ttl() == 63);
        assert_eq!((usize::from(piece.fragment_offset()), piece.more_fragments()), (whole.len(), n == 0));
        whole.extend(piece.payload());
    }
    // Behind UDP's header, in which the NAT has changed the source port.
    assert_eq!(whole[8..], inside[0][42..]);
    let [error] = &told[..] else { panic!("{told:02x?}") };
    assert_eq!(
        (error[34], error[35], &error[40..42]),
        (3, 4, &1400_u16.to_be_bytes()[..]),
        "and the other is told the MTU"
    );
}
