//! Questions to the edge's DNS, frame by frame: in a VLAN, from a link-local address, from behind a router; and what is none.

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

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::vlan::{Tag, Tags};
use ces::packet::{EtherType, Ipv4, Ipv6, Link, MacAddr, Protocol, Udp, ipv4, ipv6, udp};
use nix::sys::signal::Signal;
use running::{Running, show};

const EDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
/// Who sends all frames.
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 1, 2]);
/// The router behind which others are.
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xfe]);

fn config(workers: &str, dns: &str) -> String {
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"in\"\nmac = \"{EDGE}\"\ndevice = \"net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"office\"\nside = \"inside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\", \"fd00::1/64\"]\n\
         [[interface]]\nport = \"in\"\nvlan = 100\nrealm = \"office\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[route]]\nrealm = \"home\"\nprefix = \"192.168.0.0/16\"\nvia = \"10.0.0.254\"\n\
         [[neighbor]]\ninterface = \"in\"\naddress = \"10.0.0.2\"\nmac = \"{HOST}\"\n\
         [[neighbor]]\ninterface = \"in\"\naddress = \"fd00::2\"\nmac = \"{HOST}\"\n\
         [[neighbor]]\ninterface = \"in\"\naddress = \"10.0.0.254\"\nmac = \"{ROUTER}\"\n\
         [[neighbor]]\ninterface = \"in-100\"\naddress = \"10.0.0.2\"\nmac = \"{HOST}\"\n\
         [flow]\nsessions = 2048\n\
         [[host]]\nname = \"a.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.0.2\"]\n\
         [[host]]\nname = \"b.ces.example\"\nrealm = \"office\"\naddresses = [\"10.0.0.3\"]\n{dns}"
    )
}

const DNS: &str = "[dns]\n[[dns.zones]]\napex = \"ces.example\"\n[[dns.zones.name_servers]]\n\
     name = \"ns1.ces.example\"\naddresses = [\"203.0.113.1\"]\n";

/// A question for the address of `a` or `b.ces.example`.
fn question(id: u8, host: u8) -> Vec<u8> {
    let mut message = vec![0, id, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, host];
    message.extend(b"\x03ces\x07example\0\0\x01\0\x01");
    message
}

fn frame(tags: Tags, from: &str, to: &str, port: u16, message: &[u8]) -> Vec<u8> {
    let ip = match (from.parse().expect("an address"), to.parse().expect("an address")) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ip::V4(ipv4::Header::new(from, to, Protocol::UDP)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ip::V6(ipv6::Header::new(from, to, Protocol::UDP)),
        _ => unreachable!("one family"),
    };
    let ports = udp::Header { source_port: port, destination_port: 53 };
    let mut frame = vec![0; 200];
    let path = Path { destination: EDGE, source: HOST, tags };
    let length = build::frame(&mut frame, &path, &ip, &Transport::Udp(ports, message)).expect("fits");
    frame.truncate(length);
    frame
}

/// An answer: the station that it goes to, its VLAN, who asked, and the code of the message.
type Answer = (MacAddr, Option<u16>, String, u8);

/// The answers among these frames, by the id of their question.
fn answers(frames: &[Vec<u8>]) -> BTreeMap<u8, Answer> {
    let mut answers = BTreeMap::new();
    for frame in frames {
        let link = Link::parse(frame).expect("a frame");
        let (to, udp) = match link.ether_type {
            EtherType::IPV4 => {
                let ip = Ipv4::parse(link.payload).expect("IPv4");
                assert!(ip.checksum_is_right());
                if ip.protocol() != Protocol::UDP {
                    continue;
                }
                let udp = Udp::parse(ip.payload()).expect("UDP");
                assert!(udp.checksum_is_right(&ip.pseudo_header()));
                assert_eq!(ip.source().to_string(), "10.0.0.1");
                (ip.destination().to_string(), udp)
            }
            EtherType::IPV6 => {
                let ip = Ipv6::parse(link.payload).expect("IPv6");
                let upper = ip.upper().expect("whole");
                if upper.protocol != Protocol::UDP {
                    continue;
                }
                let udp = Udp::parse(upper.payload).expect("UDP");
                assert!(udp.checksum_is_right(&ip.pseudo_header()));
                (ip.destination().to_string(), udp)
            }
            _ => continue,
        };
        assert_eq!((udp.source_port(), udp.destination_port()), (53, 4000));
        let message = udp.payload();
        let vlan = link.tags.outer().map(|tag| tag.vlan());
        let answer = (link.ethernet.destination(), vlan, to, message[3] & 15);
        assert_eq!(answers.insert(message[1], answer), None, "once");
    }
    answers
}

/// Runs on these frames until `count` of them came to something; what came out, and the drops by name.
fn run(config: &str, frames: &[Vec<u8>], reasons: &[&str]) -> (BTreeMap<u8, Answer>, Vec<u64>) {
    let bed = Bed::new();
    capture::write(&bed.directory.join("in.pcap"), frames);
    bed.configure(config);
    let running = Running::start(&bed);
    let dropped = || -> Vec<u64> {
        let drops = show(&bed, &["counters"])["drops"].clone();
        reasons.iter().map(|reason| drops[*reason]["total"].as_u64().unwrap_or(0)).collect()
    };
    let start = Instant::now();
    loop {
        let counters = show(&bed, &["counters"]);
        let workers = counters["workers"].as_array().expect("workers");
        let sum = |key: &str| workers.iter().map(|w| w[key].as_u64().expect("a count")).sum::<u64>();
        let local = sum("local_packets");
        if local + dropped().iter().sum::<u64>() >= frames.len() as u64 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{counters}");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What has gone up has come down.
    std::thread::sleep(Duration::from_millis(200));
    let dropped = dropped();
    let runtime = show(&bed, &["runtime"]);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(10)).code(), Some(0));
    let answers = answers(&captured::read(&bed.directory.join("out.pcap")));
    let workers = runtime["workers"].as_array().expect("workers").iter();
    let stages = workers.flat_map(|worker| worker["stages"].as_array().expect("stages"));
    let down = stages.filter(|s| s["stage"] == "control").map(|s| s["packets"].as_u64().expect("a count"));
    assert_eq!(down.sum::<u64>(), answers.len() as u64, "the account has all that came down");
    (answers, dropped)
}

fn frames() -> Vec<Vec<u8>> {
    let (none, vlan) = (Tags::NONE, Tags::one(Tag::customer(100)));
    let mut frames = vec![
        frame(none, "10.0.0.2", "10.0.0.1", 4000, &question(0, b'a')),
        // The same addresses in another realm: other hosts.
        frame(vlan, "10.0.0.2", "10.0.0.1", 4000, &question(1, b'b')),
        frame(vlan, "10.0.0.2", "10.0.0.1", 4000, &question(2, b'a')),
        frame(none, "fd00::2", "fd00::1", 4000, &question(3, b'a')),
        frame(none, "fe80::2", "fe80::ff:fe00:1", 4000, &question(4, b'a')),
        frame(none, "192.168.7.7", "10.0.0.1", 4000, &question(5, b'a')),
        // Without a checksum (RFC 768).
        frame(none, "10.0.0.2", "10.0.0.1", 4000, &question(6, b'a')),
        // No questions: a wrong checksum, a port that nobody has, none at all over IPv6, a fragment.
        frame(none, "10.0.0.2", "10.0.0.1", 4000, &question(7, b'a')),
        frame(none, "10.0.0.2", "10.0.0.1", 0, &question(8, b'a')),
        frame(none, "fd00::2", "fd00::1", 4000, &question(9, b'a')),
        frame(none, "10.0.0.2", "10.0.0.1", 4000, &question(10, b'a')),
    ];
    frames[6][40..42].fill(0);
    frames[7][60] ^= 1;
    frames[9][60..62].fill(0);
    // More fragments follow: RFC 791's flag, and the header's checksum for it.
    let at = 14 + 10;
    let sum = u16::from_be_bytes([frames[10][at], frames[10][at + 1]]);
    frames[10][20] |= 0x20;
    let (less, borrowed) = sum.overflowing_sub(0x2000);
    frames[10][at..at + 2].copy_from_slice(&(less - u16::from(borrowed)).to_be_bytes());
    frames
}

#[test]
fn who_asks_is_answered_where_it_is() {
    let answer = |mac, vlan, to: &str, code| (mac, vlan, to.to_owned(), code);
    let expected: BTreeMap<u8, Answer> = [
        answer(HOST, None, "10.0.0.2", 0),
        answer(HOST, Some(100), "10.0.0.2", 0),
        answer(HOST, Some(100), "10.0.0.2", 3),
        answer(HOST, None, "fd00::2", 0),
        answer(HOST, None, "fe80::2", 0),
        answer(ROUTER, None, "192.168.7.7", 0),
        answer(HOST, None, "10.0.0.2", 0),
    ]
    .into_iter()
    .enumerate()
    .map(|(id, answer)| (id as u8, answer))
    .collect();
    for workers in ["cores = [0]", "cores = [0, 0]\ndistribute = \"software\""] {
        let (answers, dropped) =
            run(&config(workers, DNS), &frames(), &["dns_invalid", "local_no_listener", "ipv4_fragment"]);
        assert_eq!(answers, expected, "{workers}");
        assert_eq!(dropped[0], 3, "{dropped:?}");
        assert_eq!(dropped[1] + dropped[2], 1, "{dropped:?}");
    }
}

#[test]
fn without_zones_and_within_its_limit_nobody_is_answered() {
    let (answers, dropped) = run(&config("cores = [0]", ""), &frames()[..7], &["local_no_listener"]);
    assert_eq!((answers, dropped), (BTreeMap::new(), vec![7]));
    let limited = config("cores = [0]", &format!("[limits]\ndns_per_second = 0\n{DNS}"));
    let (answers, dropped) = run(&limited, &frames()[..7], &["punt_rate"]);
    assert_eq!((answers, dropped), (BTreeMap::new(), vec![7]));
}
