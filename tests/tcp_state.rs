//! TCP connections through a running edge: which resets end a session, what a SYN does to one, and what becomes of
//! connections that nobody asked for.
//!
//! Guarantees: steps happen in their order, on one worker. Both ports are read in turns, a burst at a time, and each step fills
//! a burst. Never: looks at a sequence number; the segments of each connection are written out.

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
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use bed::Bed;
use ces::dpdk::BURST;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{Icmp, IcmpType, Icmpv6, Icmpv6Type, Ipv4, Ipv6, Link, MacAddr, Protocol, Tcp, TcpFlags};
use ces::packet::{ipv4, ipv6, tcp, udp};
use nix::sys::signal::Signal;
use running::{Running, show};
use serde_json::Value;

const FIN_ACK: u8 = 0x11;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const RST: u8 = 0x04;
const RST_ACK: u8 = 0x14;
const ACK: u8 = 0x10;

const EDGE: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 2]);
const GATEWAY_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xfe]);
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

const HOST6_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const HOST6: IpAddr = IpAddr::V6(HOST6_ADDRESS);
const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 7));
const STRANGER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 9, 1, 0, 0, 0, 8));
const EDGE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1));

type End = (IpAddr, u16);

fn config(filtering: &str) -> String {
    let port = |number: usize, name: &str, realm: &str, address: &str| {
        format!(
            "[[port]]\nname = \"{name}\"\nmac = \"{}\"\n\
             device = \"net_pcap{number},rx_pcap={name}-in.pcap,tx_pcap={name}-out.pcap\"\n\
             [[realm]]\nname = \"{realm}\"\nside = \"{realm}\"\n\
             [[interface]]\nport = \"{name}\"\nrealm = \"{realm}\"\naddresses = [{address}]\n",
            EDGE[number]
        )
    };
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = [0]\nidle = \"sleep\"\n{}{}\
         [[neighbor]]\ninterface = \"home\"\naddress = \"10.0.0.2\"\nmac = \"{HOST_MAC}\"\n\
         [[neighbor]]\ninterface = \"wan\"\naddress = \"203.0.113.254\"\nmac = \"{GATEWAY_MAC}\"\n\
         [[neighbor]]\ninterface = \"home\"\naddress = \"{HOST6}\"\nmac = \"{HOST_MAC}\"\n\
         [[neighbor]]\ninterface = \"wan\"\naddress = \"2001:db8:2::fe\"\nmac = \"{GATEWAY_MAC}\"\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"::/0\"\nvia = \"2001:db8:2::fe\"\n\
         [ipv6]\ninside = [\"inside\"]\noutside = \"outside\"\n\
         [nat44]\ninside = [\"inside\"]\noutside = \"outside\"\npool = [\"203.0.113.16\"]\nrandom_seed = 1\n\
         filtering = \"{filtering}\"\n",
        port(0, "home", "inside", "\"10.0.0.1/24\", \"2001:db8:1::1/64\""),
        port(1, "wan", "outside", "\"203.0.113.1/24\", \"2001:db8:2::1/64\""),
    )
}

/// A frame of an end at that port.
fn segment(port: usize, from: End, to: End, flags: u8, sequence: u32, acknowledgement: u32) -> Vec<u8> {
    let header = tcp::Header {
        sequence,
        acknowledgement,
        window: 1000,
        ..tcp::Header::new(from.1, to.1, TcpFlags(flags))
    };
    frame(port, from, to, Protocol::TCP, &Transport::Tcp(header, &[]))
}

fn frame(port: usize, from: End, to: End, protocol: Protocol, transport: &Transport<'_>) -> Vec<u8> {
    let mut frame = vec![0; 100];
    let path = Path::untagged(if port == 0 { HOST_MAC } else { GATEWAY_MAC }, EDGE[port]);
    let ip = match (from.0, to.0) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ip::V4(ipv4::Header::new(from, to, protocol)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ip::V6(ipv6::Header::new(from, to, protocol)),
        _ => panic!("{from:?} and {to:?} are of two families"),
    };
    let length = build::frame(&mut frame, &path, &ip, transport).expect("a small frame");
    frame.truncate(length);
    frame.resize(length.max(60), 0);
    frame
}

/// Frames by step: step 0 comes in from the inside, step 1 from the outside, step 2 from the inside, and so on.
#[derive(Default)]
struct Steps(Vec<Vec<Vec<u8>>>);

impl Steps {
    fn add(&mut self, step: usize, frame: Vec<u8>) {
        self.0.resize_with(self.0.len().max(step + 1), Vec::new);
        self.0[step].push(frame);
    }

    /// Writes both captures; each step is filled up to a burst with frames of a type that nobody knows.
    fn write(&self, bed: &Bed) {
        for (port, name) in ["home", "wan"].into_iter().enumerate() {
            let mut filler = [&EDGE[port].0[..], &HOST_MAC.0, &[0x88, 0xcc]].concat();
            filler.resize(60, 0);
            let of_port = self.0.iter().skip(port).step_by(2).flat_map(|step| {
                assert!(step.len() <= BURST, "{} frames in a step", step.len());
                let mut burst = step.clone();
                burst.resize(BURST, filler.clone());
                burst
            });
            capture::write(&bed.directory.join(format!("{name}-in.pcap")), &of_port.collect::<Vec<_>>());
        }
    }

    fn frames(&self) -> u64 {
        self.0.iter().map(|step| step.len() as u64).sum()
    }
}

/// Starts an edge on these steps, and waits until they are done with.
fn start(steps: &Steps, filtering: &str) -> (Bed, Running) {
    let bed = Bed::new();
    steps.write(&bed);
    bed.configure(&config(filtering));
    let running = Running::start(&bed);
    let read = (steps.0.len() * BURST) as u64;
    wait_until(Duration::from_secs(20), || worker(&bed, "rx_packets") == read);
    (bed, running)
}

fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < patience, "not within {patience:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn worker(bed: &Bed, counter: &str) -> u64 {
    show(bed, &["counters"])["workers"][0][counter].as_u64().expect("a number")
}

fn dropped(bed: &Bed, reason: &str) -> u64 {
    show(bed, &["counters"])["drops"][reason]["total"].as_u64().unwrap_or(0)
}

fn end(running: Running) {
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(5)).code(), Some(0));
}

/// By the host's port: the state of its connection to the server, and the packets (out, in) of it.
fn flows(bed: &Bed) -> BTreeMap<u16, (String, u64, u64)> {
    let port =
        |end: &Value| end.as_str().and_then(|end| end.rsplit(':').next()?.parse().ok()).expect("an end");
    let of = |flow: &Value| {
        let count = |name: &str| flow[name].as_u64().expect("a number");
        let state = flow["state"].as_str().expect("a word").to_owned();
        (port(&flow["inside"]), (state, count("packets_out"), count("packets_in")))
    };
    show(bed, &["flows"])["flows"].as_array().expect("a list").iter().map(of).collect()
}

/// The public ends that the NAT gives to these ports of the host, in this order: the seed says which.
fn public_ends(ports: impl Iterator<Item = u16>, filtering: &str) -> BTreeMap<u16, End> {
    let mut steps = Steps::default();
    let ports: Vec<u16> = ports.collect();
    for &port in &ports {
        steps.add(0, segment(0, (HOST, port), (SERVER, 80), SYN, 0, 0));
    }
    steps.add(1, vec![0; 60]);
    let (bed, running) = start(&steps, filtering);
    end(running);
    let public = |frame: Vec<u8>| {
        // The edge announces its addresses, too.
        let ip = Ipv4::parse(Link::parse(&frame).expect("a frame").payload).ok()?;
        Some((ip.source().into(), Tcp::parse(ip.payload()).expect("TCP").source_port()))
    };
    let seen: Vec<End> =
        captured::read(&bed.directory.join("wan-out.pcap")).into_iter().filter_map(public).collect();
    assert_eq!(seen.len(), ports.len());
    ports.into_iter().zip(seen).collect()
}

/// Flags, sequence, acknowledgement.
type Said = (u8, u32, u32);

/// One connection: its name, what is said in turns, the host first, and what state it is in then. The host's sequence numbers
/// begin at 99, the server's at 4,999; a turn may be silent.
type Connection = (&'static str, &'static [Option<Said>], &'static str);

const OPENS: Option<Said> = Some((SYN, 99, 0));
const ANSWERS: Option<Said> = Some((SYN_ACK, 4999, 100));
const AGREES: Option<Said> = Some((ACK, 100, 5000));

const CONNECTIONS: &[Connection] = &[
    ("three segments", &[OPENS, ANSWERS, AGREES], "established"),
    ("two", &[OPENS, ANSWERS], "opening"),
    ("a reset in the window", &[OPENS, ANSWERS, AGREES, Some((RST, 5999, 0))], "closing"),
    ("a reset in the window, with ACK", &[OPENS, ANSWERS, AGREES, Some((RST_ACK, 5000, 100))], "closing"),
    ("a reset beyond it", &[OPENS, ANSWERS, AGREES, Some((RST, 6000, 0))], "established"),
    ("a reset before it, with ACK", &[OPENS, ANSWERS, AGREES, Some((RST_ACK, 4999, 100))], "established"),
    ("a reset from the inside", &[OPENS, ANSWERS, AGREES, None, Some((RST, 1099, 0))], "closing"),
    ("one beyond the window", &[OPENS, ANSWERS, AGREES, None, Some((RST, 1100, 0))], "established"),
    (
        // What moves the window goes the fast way: its half has a next hop by then.
        "a reset in a window of the past",
        &[OPENS, ANSWERS, AGREES, None, Some((ACK, 100, 9000)), Some((RST, 5000, 0))],
        "established",
    ),
    (
        "a reset in the window of now",
        &[OPENS, ANSWERS, AGREES, None, Some((ACK, 100, 9000)), Some((RST, 9000, 0))],
        "closing",
    ),
    ("refused", &[OPENS, Some((RST_ACK, 0, 100))], "closing"),
    ("refused by a stranger to it", &[OPENS, Some((RST_ACK, 0, 77))], "opening"),
    ("a SYN on an established session", &[OPENS, ANSWERS, AGREES, Some((SYN, 1, 0)), OPENS], "established"),
    (
        "FIN from both",
        &[OPENS, ANSWERS, AGREES, Some((FIN_ACK, 5000, 100)), Some((FIN_ACK, 100, 5001))],
        "closing",
    ),
    (
        "FIN from one",
        &[OPENS, ANSWERS, AGREES, Some((FIN_ACK, 5000, 100)), Some((ACK, 100, 5001))],
        "established",
    ),
    (
        "a SYN on a closing session",
        &[OPENS, ANSWERS, AGREES, Some((RST, 5000, 0)), Some((SYN, 70_000, 0))],
        "opening",
    ),
    (
        "a whole connection after another",
        &[
            OPENS,
            ANSWERS,
            AGREES,
            Some((RST, 5000, 0)),
            Some((SYN, 70_000, 0)),
            Some((SYN_ACK, 1, 70_001)),
            Some((ACK, 70_001, 2)),
        ],
        "established",
    ),
    (
        "a SYN from outside on a closing session",
        &[OPENS, ANSWERS, AGREES, Some((FIN_ACK, 5000, 100)), Some((FIN_ACK, 100, 5001)), Some((SYN, 1, 0))],
        "opening",
    ),
    (
        "a connection that survives its reset",
        &[OPENS, ANSWERS, AGREES, Some((RST, 5000, 0)), Some((ACK, 100, 5000)), Some((ACK, 5000, 100))],
        "established",
    ),
    (
        "half a connection that survives it",
        &[OPENS, ANSWERS, AGREES, Some((RST, 5000, 0)), Some((ACK, 100, 5000)), None, Some((ACK, 100, 5000))],
        "closing",
    ),
    (
        "a simultaneous open",
        &[OPENS, Some((SYN, 4999, 0)), Some((SYN_ACK, 99, 5000)), Some((SYN_ACK, 4999, 100))],
        "established",
    ),
];

#[test]
fn connections_are_in_the_state_that_their_segments_say() {
    const FILTERING: &str = "address-and-port-dependent";
    let (port, port6) = (|number: usize| 2000 + number as u16, |number: usize| 3000 + number as u16);
    let public = public_ends((0..CONNECTIONS.len()).map(port), FILTERING);
    let mut steps = Steps::default();
    for (number, (_, said, _)) in CONNECTIONS.iter().enumerate() {
        // Over IPv6 nothing is translated.
        let host6 = (HOST6, port6(number));
        let ends =
            [((HOST, port(number)), (SERVER, 80), public[&port(number)]), (host6, (SERVER6, 80), host6)];
        for (host, server, translated) in ends {
            for (step, said) in said.iter().enumerate() {
                let Some((flags, sequence, acknowledgement)) = *said else { continue };
                let (from, to) = if step % 2 == 0 { (host, server) } else { (server, translated) };
                steps.add(step, segment(step % 2, from, to, flags, sequence, acknowledgement));
            }
        }
    }
    steps.add(7, vec![0; 60]);
    let (bed, running) = start(&steps, FILTERING);
    let flows = flows(&bed);
    for (number, (name, said, state)) in CONNECTIONS.iter().enumerate() {
        for port in [port(number), port6(number)] {
            let (seen, out, back) = &flows[&port];
            assert_eq!(seen, state, "{name}, {port}");
            // Whatever it does to the session, each segment is translated and sent on (RFC 7857 section 2.2).
            let spoken = |side: usize| said.iter().skip(side).step_by(2).flatten().count() as u64;
            assert_eq!((*out, *back), (spoken(0), spoken(1)), "{name}, {port}");
        }
    }
    assert_eq!(worker(&bed, "forwarded_packets"), steps.frames() - 1);
    end(running);
}

/// The ICMP errors of a capture: (from, to, quoted source port, quoted destination port), each of them right.
fn unreachable_ports(bed: &Bed) -> Vec<(IpAddr, IpAddr, u16, u16)> {
    let mut errors = vec![];
    for frame in captured::read(&bed.directory.join("wan-out.pcap")) {
        let link = Link::parse(&frame).expect("a frame");
        let (from, to, quoted) = if let Ok(ip) = Ipv4::parse(link.payload)
            && ip.protocol() == Protocol::ICMP
        {
            let icmp = Icmp::parse(ip.payload()).expect("ICMP");
            assert_eq!((icmp.kind(), icmp.code()), (IcmpType::DESTINATION_UNREACHABLE, 3));
            assert!(icmp.checksum_is_right() && ip.checksum_is_right());
            let quoted = Ipv4::parse_quoted(icmp.quoted().expect("an error")).expect("a quote");
            assert_eq!((quoted.source(), quoted.destination()), (ip.destination(), ip.source()));
            let tcp = Tcp::parse(quoted.payload()).expect("all of the SYN is quoted");
            assert!(tcp.checksum_is_right(&quoted.pseudo_header()));
            (IpAddr::V4(ip.source()), IpAddr::V4(ip.destination()), quoted.payload())
        } else if let Ok(ip) = Ipv6::parse(link.payload)
            && let Ok(icmp) = Icmpv6::parse(ip.payload())
            && ip.next_header() == Protocol::ICMPV6
            && icmp.kind() == Icmpv6Type::DESTINATION_UNREACHABLE
        {
            assert!(icmp.code() == 1 && icmp.checksum_is_right(&ip.pseudo_header()));
            let quoted = Ipv6::parse_quoted(icmp.quoted().expect("an error")).expect("a quote");
            assert_eq!((quoted.source(), quoted.destination()), (ip.destination(), HOST6_ADDRESS));
            (IpAddr::V6(ip.source()), IpAddr::V6(ip.destination()), quoted.payload())
        } else {
            continue;
        };
        assert_eq!((link.ethernet.source(), link.ethernet.destination()), (EDGE[1], GATEWAY_MAC));
        let tcp = Tcp::parse(quoted).expect("all of the SYN is quoted");
        assert!(tcp.flags().starts_connection());
        errors.push((from, to, tcp.source_port(), tcp.destination_port()));
    }
    errors
}

#[test]
fn an_unsolicited_syn_is_refused_after_six_seconds_unless_the_host_opens_too() {
    const FILTERING: &str = "address-and-port-dependent";
    let other = |last| IpAddr::V4(Ipv4Addr::new(198, 51, 100, last));
    let nobody: End = (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 16)), 40_000);
    let (peer, stranger, flood) = ((SERVER, 81), (other(8), 81), other(9));
    let host = (HOST, 2000);
    let public = public_ends([2000].into_iter(), FILTERING)[&2000];
    let mut steps = Steps::default();
    steps.add(0, segment(0, host, (SERVER, 80), SYN, 0, 0));
    // Filtered: the host has spoken with neither.
    for from in [peer, stranger] {
        steps.add(1, segment(1, from, public, SYN, 1000, 0));
    }
    // To a port that nobody has: a SYN, and what is none.
    steps.add(1, segment(1, stranger, nobody, SYN, 2000, 0));
    steps.add(1, segment(1, stranger, nobody, ACK, 2000, 1));
    steps.add(1, segment(1, stranger, nobody, SYN_ACK, 2000, 1));
    steps.add(1, segment(1, stranger, nobody, RST, 2000, 0));
    let datagram = Transport::Udp(udp::Header { source_port: 81, destination_port: nobody.1 }, &[]);
    steps.add(1, frame(1, stranger, nobody, Protocol::UDP, &datagram));
    for port in 0..20 {
        steps.add(1, segment(1, (flood, 3000 + port), nobody, SYN, 3000, 0));
    }
    // Simultaneous open: the host's own SYN to the peer has left only now.
    steps.add(2, segment(0, host, peer, SYN, 5000, 0));
    // The same over IPv6, where every connection from outside is unsolicited.
    let host6 = (HOST6, 2000);
    for from in [(SERVER6, 81), (STRANGER6, 81)] {
        steps.add(1, segment(1, from, host6, SYN, 1000, 0));
    }
    steps.add(1, segment(1, (STRANGER6, 81), host6, ACK, 1000, 1));
    steps.add(2, segment(0, host6, (SERVER6, 81), SYN, 5000, 0));
    steps.add(3, vec![0; 60]);
    let errors_after = |seconds: f32| {
        let (bed, running) = start(&steps, FILTERING);
        std::thread::sleep(Duration::from_secs_f32(seconds));
        let drops = ["nat_filtered", "nat_no_mapping", "no_session"].map(|reason| dropped(&bed, reason));
        assert_eq!(drops, [2, 25, 3], "once each, at once");
        end(running);
        unreachable_ports(&bed)
    };
    let (early, mut errors) = std::thread::scope(|runs| {
        let early = runs.spawn(|| errors_after(4.5));
        let late = errors_after(7.0);
        (early.join().expect("it ends well"), late)
    });
    assert_eq!(early, [], "nobody is told before six seconds have passed");
    let of_flood = errors.extract_if(.., |error| error.1 == flood).count();
    assert_eq!(of_flood, 8, "one source has its share");
    errors.sort_unstable_by_key(|error| error.3);
    let by_nat = [public, nobody].map(|asked| (asked.0, stranger.0, stranger.1, asked.1));
    let mut expected = [by_nat[0], by_nat[1], (EDGE6, STRANGER6, 81, host6.1)];
    expected.sort_unstable_by_key(|error| error.3);
    assert_eq!(errors, expected, "the peer of the simultaneous open hears nothing");
}
