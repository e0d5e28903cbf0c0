//! A hairpin whose second leg is too big for its link: the host that sent it is told, by its packet as it was (RFC 1191 section 4,
//! RFC 5508 section 7.1). And what a device has less of than was asked.

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

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{IcmpType, Ipv4, Link, MacAddr, Protocol, icmp, ipv4, udp};
use nix::sys::signal::Signal;
use running::{Running, show};

const HOST: MacAddr = MacAddr([2, 0, 0, 0, 1, 2]);
const EDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Behind the link of 1,300 bytes.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);

fn config(workers: &str) -> String {
    let port = |number: u8, name: &str, mac: &str| {
        format!(
            "[[port]]\nname = \"{name}\"\nmac = \"{mac}\"\n\
             device = \"net_pcap{number},rx_pcap={name}-in.pcap,tx_pcap={name}-out.pcap\"\n"
        )
    };
    let neighbor = |interface: &str, address: Ipv4Addr| {
        format!("[[neighbor]]\ninterface = \"{interface}\"\naddress = \"{address}\"\nmac = \"{HOST}\"\n")
    };
    [
        format!("[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n"),
        port(0, "in", "02:00:00:00:00:01"),
        port(1, "low", "02:00:00:00:00:03"),
        port(2, "out", "02:00:00:00:00:09"),
        "[[realm]]\nname = \"home\"\nside = \"inside\"\nsource_check = \"off\"\n\
         [[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"in\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"low\"\nrealm = \"home\"\nmtu = 1300\naddresses = [\"10.0.1.1/24\"]\n\
         [[interface]]\nport = \"out\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.64/32\"]\n\
         filtering = \"endpoint-independent\"\nrandom_seed = 3\n"
            .to_owned(),
        neighbor("in", ME),
        neighbor("low", OTHER),
        neighbor("out", SERVER),
    ]
    .concat()
}

fn framed(path: &Path, ip: ipv4::Header, transport: &Transport<'_>) -> Vec<u8> {
    let mut buffer = vec![0; 1600];
    let length = build::frame(&mut buffer, path, &Ip::V4(ip), transport).expect("fits");
    buffer.truncate(length);
    buffer
}

/// Without UDP's checksum (RFC 768): what is quoted is then what went in.
fn datagram(from: Ipv4Addr, to: (Ipv4Addr, u16), ttl: u8, length: usize) -> Vec<u8> {
    let ip = ipv4::Header { ttl, dont_fragment: true, ..ipv4::Header::new(from, to.0, Protocol::UDP) };
    let ports = udp::Header { source_port: 4000, destination_port: to.1 };
    let mut frame = framed(&Path::untagged(HOST, EDGE), ip, &Transport::Udp(ports, &vec![7; length]));
    frame[40..42].fill(0);
    frame
}

/// Runs until `is_over`; the IPv4 frames that came out of each port.
fn run(workers: &str, inside: &[Vec<u8>], is_over: impl Fn(&Bed) -> bool) -> [Vec<Vec<u8>>; 3] {
    let bed = Bed::new();
    capture::write(&bed.directory.join("in-in.pcap"), inside);
    for port in ["low", "out"] {
        capture::write(&bed.directory.join(format!("{port}-in.pcap")), []);
    }
    bed.configure(&config(workers));
    let running = Running::start(&bed);
    let start = Instant::now();
    while !is_over(&bed) {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", show(&bed, &["counters"]));
        std::thread::sleep(Duration::from_millis(50));
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(5)).code(), Some(0));
    ["in", "low", "out"].map(|port| {
        let mut frames = captured::read(&bed.directory.join(format!("{port}-out.pcap")));
        frames.retain(|f| f[12..14] == [8, 0]);
        frames
    })
}

fn total(bed: &Bed, what: &str) -> u64 {
    let counters = show(bed, &["counters"]);
    let workers = counters["workers"].as_array().expect("workers");
    workers.iter().map(|w| w[what].as_u64().expect("a count")).sum()
}

fn dropped(bed: &Bed, reason: &str) -> u64 {
    show(bed, &["counters"])["drops"][reason]["total"].as_u64().unwrap_or(0)
}

#[test]
fn who_sends_too_much_by_a_hairpin_is_told() {
    let workers = "cores = [0]";
    // The other's mapping, which the seed chooses.
    let opens = datagram(OTHER, (SERVER, 53), 64, 17);
    let [_, _, out] = run(workers, std::slice::from_ref(&opens), |bed| total(bed, "forwarded_packets") >= 1);
    let seen = Ipv4::parse(Link::parse(&out[0]).expect("a frame").payload).expect("a packet");
    let ports = seen.payload();
    let mapping = (seen.source(), u16::from_be_bytes([ports[0], ports[1]]));

    let (fits, too_big) = (1300 - 28, 1300 - 27);
    let inside = [opens, datagram(ME, mapping, 64, too_big), datagram(ME, mapping, 64, fits)];
    let is_over = |bed: &Bed| dropped(bed, "packet_too_big") >= 1 && total(bed, "forwarded_packets") >= 2;
    let [told, low, _] = run(workers, &inside, is_over);
    assert_eq!(low.iter().map(Vec::len).collect::<Vec<_>>(), [1314], "what fits arrives");
    let [told] = &told[..] else { panic!("{told:02x?}") };
    // As it came: header, UDP's, and some of what it carried.
    let quote = &datagram(ME, mapping, 64, too_big)[14..];
    let ip = ipv4::Header {
        dscp: 48,
        dont_fragment: false,
        ..ipv4::Header::new(Ipv4Addr::new(10, 0, 0, 1), ME, Protocol::ICMP)
    };
    let parameter = 1300_u32.to_be_bytes();
    let header = icmp::Header { kind: IcmpType::DESTINATION_UNREACHABLE, code: 4, parameter };
    let quoted = told.len() - 42;
    assert!(quoted >= 28);
    let expected = framed(&Path::untagged(EDGE, HOST), ip, &Transport::Icmp(header, &quote[..quoted]));
    assert_eq!(*told, expected);
}

/// This device has one queue each way.
#[test]
fn what_a_device_has_less_of_is_said() {
    let bed = Bed::new();
    for port in ["in", "low", "out"] {
        capture::write(&bed.directory.join(format!("{port}-in.pcap")), []);
    }
    bed.configure(&config("cores = [0, 1]\ndistribute = \"rss\""));
    let running = Running::start(&bed);
    let (status, ports) = (show(&bed, &["status"]), show(&bed, &["ports"]));
    let notes: Vec<&str> =
        status["notes"].as_array().expect("notes").iter().filter_map(|n| n.as_str()).collect();
    for expected in ["port \"low\": net_pcap gives 1 of 2 receive queues", "1 of 2 transmit queues"] {
        assert!(notes.iter().any(|note| note.contains(expected)), "{notes:?}");
    }
    assert!(!notes.iter().any(|note| note.contains("descriptors")), "{notes:?}");
    assert_eq!((&ports[0]["rx_queues"], &ports[0]["rx_descriptors"]), (&1.into(), &1024.into()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(5)).code(), Some(0));
}
