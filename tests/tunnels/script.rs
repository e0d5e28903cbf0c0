//! What goes in by each port, one port after another, and what must come of it.
//!
//! Between the phases of a port there is a burst of noise, so that what comes behind it finds its flow: so each kind of packet goes
//! the slow way first, and then the fast one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ces::dataplane::Stage;
use ces::dataplane::cetp::{FRAME, MESSAGE, STRAY, STRAY_LENGTH, TOO_BIG, TRESPASS};
use ces::packet::build::{self, IcmpError, Path};
use ces::packet::{Ipv4, MacAddr, TcpFlags};
use ces::ring::frames::{FRAME_MAX, FrameReceiver};
use ces::ring::wake;

use crate::bed::Bed;
use crate::between::{Carrier, carried, cuttable, payload, plain};
use crate::capture;
use crate::edge::*;
use crate::packets::{Carried, End, Packet};

pub const NAT: &str = "[nat44]\ninside = [\"home\", \"twin\"]\noutside = \"core\"\npool = [\"203.0.113.64/28\"]\n\
                       random_seed = 3\n";

const UDP: Carried = Carried::Udp { unsummed: false };
const NOISE: usize = 64;
const NAP: Duration = Duration::from_secs(60);
/// Of messages: the first bit of a payload is not theirs.
const HELLO: &[u8] = b"\x10\x00\x00\x14 some message";

fn tag(tag: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(tag)
}

fn mac(port: usize, last: u8) -> MacAddr {
    MacAddr(station(port, last))
}

fn syn(size: u16) -> Carried {
    let [high, low] = size.to_be_bytes();
    Carried::Tcp { flags: TcpFlags::SYN, options: vec![2, 4, high, low] }
}

/// A packet from one end to the other, so many hops to go.
fn packet(from: End, to: End, carried: Carried, payload: &[u8], ttl: u8) -> Packet {
    Packet { ttl, ..Packet::new(from, to, carried, payload) }
}

/// As it is in a tunnel: of the frame its addresses are not read.
fn bare(packet: &Packet) -> Vec<u8> {
    packet.frame(MacAddr::ZERO, MacAddr::ZERO)
}

/// An ICMP error about the packet of a frame.
fn error(from: Ipv4Addr, path: Path, error: IcmpError, about: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 1500];
    let packet = Ipv4::parse_quoted(&about[14..]).expect("a packet");
    let length = build::icmp_error(&mut frame, &path, from, error, &packet).expect("it fits");
    frame.truncate(length.max(60));
    frame
}

#[derive(Default)]
struct Script {
    input: [Vec<Vec<u8>>; 4],
    output: [Vec<(&'static str, Vec<u8>)>; 4],
    drops: BTreeMap<&'static str, u64>,
    up: Vec<(u16, Vec<u8>)>,
}

impl Script {
    fn noise(&mut self, port: usize) {
        let noise = [&own(port)[..], &station(port, 2), &[0x12, 0x34], &[0; 46]].concat();
        self.input[port].extend(vec![noise; NOISE]);
        self.drop("ether_type_unknown", NOISE as u64);
    }

    fn drop(&mut self, name: &'static str, times: u64) {
        *self.drops.entry(name).or_default() += times;
    }

    /// From a host by a port.
    fn host_sends(&mut self, port: usize, packet: &Packet) -> Vec<u8> {
        let last = packet.source.0.octets()[3];
        let frame = packet.frame(mac(port, last), MacAddr(own(port)));
        self.input[port].push(frame.clone());
        frame
    }

    /// To a host by a port.
    fn host_gets(&mut self, name: &'static str, port: usize, packet: &Packet) {
        let last = packet.destination.0.octets()[3];
        let mut frame = packet.frame(MacAddr(own(port)), mac(port, last));
        frame.resize(frame.len().max(60), 0);
        self.output[port].push((name, frame));
    }

    /// To the other edge, by carrier.
    fn edge_gets(&mut self, name: &'static str, carrier: usize, inner: &[u8]) {
        let payload = payload(inner, 0);
        let frame = carried(to_outside()[carrier], own(CORE), station(CORE, 9), inner[15], &payload);
        self.output[CORE].push((name, frame));
    }

    fn outside_sends(&mut self, carrier: Carrier, service: u8, payload: &[u8]) -> Vec<u8> {
        let frame = carried(carrier, station(CORE, 9), own(CORE), service, payload);
        self.input[CORE].push(frame.clone());
        frame
    }

    /// From the other edge, by carrier.
    fn edge_sends(&mut self, carrier: usize, inner: &[u8]) {
        self.outside_sends(from_outside()[carrier], inner[15], &payload(inner, 0));
    }

    /// From the other edge, and dropped; it is a stray if it is told.
    fn refused(&mut self, name: &'static str, carrier: Carrier, service: u8, payload: &[u8], is_stray: bool) {
        let frame = self.outside_sends(carrier, service, payload);
        self.drop(name, 1);
        if is_stray {
            self.up.push((STRAY, frame[..frame.len().min(STRAY_LENGTH)].to_vec()));
        }
    }
}

/// What hosts send into tunnels.
fn into_tunnels(s: &mut Script, tags: &Tags) {
    let proxies = [PROXY4, PROXY6, PROXY_ETHERNET];
    for round in 0..2u8 {
        for (carrier, proxy) in proxies.into_iter().enumerate() {
            let (own, theirs) = (tag(tags.outside[carrier]), tag(THEIRS[carrier]));
            let text = [round; 20];
            s.host_sends(HOME, &packet((A, 5000), (proxy, 53), UDP, &text, 64));
            s.edge_gets("datagram", carrier, &bare(&packet((own, 5000), (theirs, 53), UDP, &text, 63)));
        }
        // A connection, whose second segment goes the fast way.
        let (own, theirs) = (tag(tags.outside[0]), tag(THEIRS[0]));
        let segment = |announced| match round {
            0 => syn(announced),
            _ => Carried::Tcp { flags: TcpFlags::ACK, options: vec![] },
        };
        s.host_sends(HOME, &packet((A, 6000), (PROXY4, 80), segment(1460), b"", 64));
        s.edge_gets("segment", 0, &bare(&packet((own, 6000), (theirs, 80), segment(1436), b"", 63)));
        // Another host of that realm talks to the very same address, of another session.
        let (own, theirs) = (tag(tags.outside[3]), tag(THEIRS[3]));
        let short = Packet { trailer: vec![7; 9], ..packet((A2, 5000), (PROXY4, 53), UDP, b"q", 64) };
        s.host_sends(HOME, &short);
        s.edge_gets("padded", 0, &bare(&packet((own, 5000), (theirs, 53), UDP, b"q", 63)));
        s.noise(HOME);
    }
    let (own, theirs) = (tag(tags.outside[0]), tag(THEIRS[0]));
    s.host_sends(HOME, &packet((A, 77), (PROXY4, 0), Carried::EchoRequest { sequence: 3 }, b"ping", 64));
    let echo = packet((own, 77), (theirs, 0), Carried::EchoRequest { sequence: 3 }, b"ping", 63);
    s.edge_gets("echo", 0, &bare(&echo));
    // Nobody looks into this one.
    let (own6, theirs6) = (tag(tags.outside[1]), tag(THEIRS[1]));
    s.host_sends(HOME, &packet((A, 0), (PROXY6, 0), Carried::Raw(50), b"sealed, whatever it is", 64));
    s.edge_gets(
        "ESP",
        1,
        &bare(&packet((own6, 0), (theirs6, 0), Carried::Raw(50), b"sealed, whatever it is", 63)),
    );
    let options = |p: Packet| Packet { ip_options: vec![148, 4, 0, 0], ..p };
    s.host_sends(HOME, &options(packet((A, 5000), (PROXY4, 53), UDP, b"options", 64)));
    s.edge_gets("options", 0, &bare(&options(packet((own, 5000), (theirs, 53), UDP, b"options", 63))));
    // Not what was negotiated.
    let back = Path::untagged(MacAddr(crate::edge::own(HOME)), mac(HOME, 2));
    let edge = Ipv4Addr::new(10, 0, 0, 1);
    let frame = s.host_sends(HOME, &packet((A, 5000), (PROXY4, 54), UDP, b"no", 64));
    s.drop("cetp_not_negotiated", 1);
    s.output[HOME].push(("refusal", error(edge, back, IcmpError::AdministrativelyProhibited, &frame)));
}

/// What does not fit, and pieces of it.
fn sizes(s: &mut Script, tags: &Tags) {
    let (own, theirs) = (tag(tags.outside[0]), tag(THEIRS[0]));
    let datagram = |from, to, length: usize, ttl| packet(from, to, UDP, &vec![9; length - 28], ttl);
    // To the byte.
    s.host_sends(HOME, &datagram((A, 5000), (PROXY4, 53), 1476, 64));
    s.edge_gets("as long as may be", 0, &bare(&datagram((own, 5000), (theirs, 53), 1476, 63)));
    let back = Path::untagged(MacAddr(crate::edge::own(HOME)), mac(HOME, 2));
    let frame = s.host_sends(HOME, &datagram((A, 5000), (PROXY4, 53), 1477, 64));
    let needed = IcmpError::FragmentationNeeded { mtu: 1476 };
    s.output[HOME].push(("too big", error(Ipv4Addr::new(10, 0, 0, 1), back, needed, &frame)));
    s.drop("packet_too_big", 1);
    // What may be cut is cut inside, as a router would.
    let frame = s.host_sends(HOME, &datagram((A, 5000), (PROXY4, 53), 1490, 64));
    *s.input[HOME].last_mut().expect("pushed") = cuttable(frame, 0x4711, 0);
    let whole = bare(&datagram((own, 5000), (theirs, 53), 1490, 63));
    for piece in pieces(&whole, 0x4711, 1448) {
        s.edge_gets("piece", 0, &piece);
    }
    // And what has come in pieces goes in pieces.
    let frame =
        datagram((A, 5000), (PROXY4, 53), 828, 64).frame(mac(HOME, 2), MacAddr(crate::edge::own(HOME)));
    s.input[HOME].extend(pieces(&frame, 0x4712, 400));
    let whole = bare(&datagram((own, 5000), (theirs, 53), 828, 63));
    for piece in pieces(&whole, 0x4712, 400) {
        s.edge_gets("fragment", 0, &piece);
    }
}

/// Fragments of a frame's datagram, the first of so many bytes behind the IPv4 header, the second of the rest.
fn pieces(frame: &[u8], identification: u16, first: usize) -> Vec<Vec<u8>> {
    let piece = |from: usize, to: usize, flags: u16| {
        let mut piece = [&frame[..34], &frame[34 + from..34 + to]].concat();
        let total = ((piece.len() - 14) as u16).to_be_bytes();
        piece[16..18].copy_from_slice(&total);
        cuttable(piece, identification, flags | (from / 8) as u16)
    };
    let rest = frame.len() - 34;
    vec![piece(0, first, 0x2000), piece(first, rest, 0)]
}

/// Two hosts behind this edge.
fn local_pair(s: &mut Script) {
    for round in 0..2u8 {
        let text = [round; 20];
        s.host_sends(HOME, &packet((A, 5000), (PROXY_OF_B, 7), UDP, &text, 64));
        s.host_gets("local", TWIN, &packet((PROXY_OF_A, 5000), (B, 7), UDP, &text, 63));
        s.noise(HOME);
        s.host_sends(TWIN, &packet((B, 7), (PROXY_OF_A, 5000), UDP, &text, 64));
        s.host_gets("local answer", HOME, &packet((PROXY_OF_B, 7), (A, 5000), UDP, &text, 63));
    }
    // The other host's router says that it is too long: the sender hears it of who stands for that host.
    let seen = packet((PROXY_OF_A, 5000), (B, 7), UDP, &[0; 20], 62).frame(MacAddr::ZERO, MacAddr::ZERO);
    let path = Path::untagged(mac(TWIN, 2), MacAddr(own(TWIN)));
    s.input[TWIN].push(error(Ipv4Addr::new(10, 0, 0, 77), path, IcmpError::PortUnreachable, &seen));
    let sent = packet((A, 5000), (PROXY_OF_B, 7), UDP, &[0; 20], 62).frame(MacAddr::ZERO, MacAddr::ZERO);
    let path = Path::untagged(MacAddr(own(HOME)), mac(HOME, 2));
    let told = error(PROXY_OF_B, path, IcmpError::PortUnreachable, &sent);
    s.output[HOME].push(("local error", a_hop_less(told)));
}

fn a_hop_less(mut frame: Vec<u8>) -> Vec<u8> {
    let [id, flags] = [18, 20].map(|at| u16::from_be_bytes([frame[at], frame[at + 1]]));
    frame[22] -= 1;
    cuttable(frame, id, flags)
}

/// What other edges send.
fn out_of_tunnels(s: &mut Script, tags: &Tags) {
    let proxies = [PROXY4, PROXY6, PROXY_ETHERNET];
    for round in 0..2u8 {
        for (carrier, proxy) in proxies.into_iter().enumerate() {
            let (own, theirs) = (tag(tags.outside[carrier]), tag(THEIRS[carrier]));
            let text = [round; 20];
            s.edge_sends(carrier, &bare(&packet((theirs, 53), (own, 5000), UDP, &text, 61)));
            s.host_gets("answer", HOME, &packet((proxy, 53), (A, 5000), UDP, &text, 60));
        }
        let (own, theirs) = (tag(tags.outside[0]), tag(THEIRS[0]));
        // The other host opens a connection, of a service that it may.
        let segment = |announced| match round {
            0 => syn(announced),
            _ => Carried::Tcp { flags: TcpFlags::ACK, options: vec![] },
        };
        s.edge_sends(0, &bare(&packet((theirs, 999), (own, 80), segment(1460), b"", 61)));
        s.host_gets("connection", HOME, &packet((PROXY4, 999), (A, 80), segment(1436), b"", 60));
        s.edge_sends(0, &bare(&packet((theirs, 53), (own, 5000), UDP, b"x", 61)));
        s.host_gets("short", HOME, &packet((PROXY4, 53), (A, 5000), UDP, b"x", 60));
        s.noise(CORE);
    }
    let (own, theirs) = (tag(tags.outside[0]), tag(THEIRS[0]));
    s.edge_sends(0, &bare(&packet((theirs, 77), (own, 0), Carried::EchoReply { sequence: 3 }, b"ping", 61)));
    let reply = packet((PROXY4, 77), (A, 0), Carried::EchoReply { sequence: 3 }, b"ping", 60);
    s.host_gets("echo", HOME, &reply);
    let answer = bare(&packet((theirs, 53), (own, 5000), UDP, &[3; 372], 61));
    for piece in pieces(&answer, 0x4713, 200) {
        s.edge_sends(0, &piece);
    }
    let whole = packet((PROXY4, 53), (A, 5000), UDP, &[3; 372], 60);
    for piece in pieces(&whole.frame(MacAddr(crate::edge::own(HOME)), mac(HOME, 2)), 0x4713, 200) {
        s.output[HOME].push(("fragment of an answer", piece));
    }
    // A router there reports on a packet of A's.
    let seen = bare(&packet((own, 5000), (theirs, 53), UDP, &[0; 20], 60));
    let path = Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
    s.edge_sends(0, &error(theirs, path, IcmpError::HostUnreachable, &seen));
    let sent = bare(&packet((A, 5000), (PROXY4, 53), UDP, &[0; 20], 60));
    let path = Path::untagged(MacAddr(crate::edge::own(HOME)), mac(HOME, 2));
    s.output[HOME].push(("error", a_hop_less(error(PROXY4, path, IcmpError::HostUnreachable, &sent))));
}

/// What is refused of it, by its name.
fn refusals(s: &mut Script, tags: &Tags) {
    let [v4, v6, ethernet] = from_outside();
    let (own, theirs) = (tag(tags.outside[0]), tag(THEIRS[0]));
    let good = bare(&packet((theirs, 53), (own, 5000), UDP, &[0; 20], 61));
    let of = |source: u32, destination: u32| {
        payload(&bare(&packet((tag(source), 53), (tag(destination), 5000), UDP, &[0; 120], 61)), 0)
    };
    // Each from another source, so that all of them are told.
    s.refused("cetp_unknown_tag", v4, 0, &of(THEIRS[0], tags.outside[0] ^ 1), true);
    s.refused("cetp_unknown_tag", v6, 0, &of(THEIRS[1] ^ 1, tags.outside[1]), true);
    let third = bare(&packet((tag(THEIRS[2]), 53), (tag(tags.outside[2]), 5000), UDP, &[0; 20], 61));
    s.refused("cetp_unknown_epoch", ethernet, 0, &payload(&third, 5), true);
    let other = |last| match v4 {
        Carrier::V4(_, to) => Carrier::V4(Ipv4Addr::new(203, 0, 113, last), to),
        same => same,
    };
    s.refused("cetp_wrong_rloc", other(8), 0, &payload(&good, 0), true);
    s.refused("cetp_wrong_rloc", other(7), 0, &of(tags.of_b, tags.of_a), true);
    // One more of the first source within a tenth of a second is not told.
    let mut kind = payload(&good, 0);
    kind[0] = 0x98;
    s.refused("cetp_kind_unsupported", v4, 0, &kind, false);
    // Of a flow that there is, too.
    s.refused("cetp_unknown_epoch", v4, 0, &payload(&good, 5), false);
    s.refused("cetp_congestion", v4, 3, &payload(&good, 0), false);
    s.refused("cetp_invalid", v4, 0, &payload(&good, 0)[..20], false);
    // Of a service that the host may use it is a late answer, of which nobody is told.
    let answer = bare(&packet((theirs, 53), (own, 5999), UDP, b"late", 61));
    s.refused("cetp_not_negotiated", v4, 0, &payload(&answer, 0), false);
    // The wrong way round, and the other host is told so.
    let refused = bare(&packet((theirs, 5), (own, 53), UDP, b"not offered", 61));
    s.refused("cetp_not_negotiated", v4, 0, &payload(&refused, 0), false);
    // The thread that negotiates learns of it, for the other edge.
    let mut padded = refused.clone();
    padded.resize(60, 0);
    s.up.push((TRESPASS, padded));
    let nowhere = Path::untagged(MacAddr::ZERO, MacAddr::ZERO);
    for (name, about) in [("late answer", &answer), ("refusal", &refused)] {
        s.edge_gets(name, 0, &error(own, nowhere, IcmpError::AdministrativelyProhibited, about));
    }
    let late = bare(&packet((tag(THEIRS[1]), 53), (tag(tags.outside[1]), 5000), UDP, &[0; 20], 1));
    s.refused("ttl_exceeded", v6, 0, &payload(&late, 0), false);
    s.edge_gets("too late", 1, &error(tag(tags.outside[1]), nowhere, IcmpError::TimeExceeded, &late));
}

/// What routers say of tunnelled packets, each router once.
fn too_big(s: &mut Script, tags: &Tags) {
    let [v4, v6, _] = to_outside();
    let inner = |carrier: usize, own: u32| {
        let ends = ((tag(own), 5000), (tag(THEIRS[carrier]), 53));
        payload(&bare(&packet(ends.0, ends.1, UDP, &[0; 1300], 63)), 0)
    };
    let sent = |carrier, own: u32, at: usize| {
        carried(carrier, own_mac(), station(CORE, 9), 0, &inner(at, own))[14..].to_vec()
    };
    let whole = [sent(v4, tags.outside[0], 0), sent(v6, tags.outside[1], 1)];
    let mut says = |at: usize, router: u8, quote: &[u8], dropped: Option<&'static str>| {
        let frame = of_a_router(at == 1, router, quote, 1300 - 40 * (1 - at as u16));
        s.input[CORE].push(frame.clone());
        match dropped {
            Some(name) => s.drop(name, 1),
            None => s.up.push((TOO_BIG, frame)),
        }
    };
    // With both tags; as RFC 792 has it, and that not once more; then all that fits.
    says(0, 21, &whole[0][..40], None);
    says(0, 22, &whole[0][..28], None);
    says(0, 22, &whole[0][..28], Some("punt_rate"));
    says(0, 22, &whole[0][..548], None);
    says(1, 23, &whole[1][..1192], None);
    // Of no session here, or of one with another edge; and what is about no tunnel at all.
    says(0, 24, &sent(v4, tags.outside[0] ^ 1, 0), Some("cetp_path_mtu_forged"));
    says(0, 25, &sent(v4, tags.outside[0], 1)[..100], Some("cetp_path_mtu_forged"));
    says(0, 26, &sent(v4, tags.outside[1], 1)[..100], Some("cetp_path_mtu_forged"));
    says(1, 27, &sent(v6, tags.outside[0], 0)[..100], Some("cetp_path_mtu_forged"));
    let mut other = whole[0].clone();
    other[22] ^= 1;
    says(0, 28, &other[..100], Some("local_no_listener"));
    says(1, 29, &whole[1][..59], Some("local_no_listener"));
}

fn own_mac() -> [u8; 6] {
    own(CORE)
}

/// That a packet is longer than `mtu` bytes, by a router of the core.
pub fn of_a_router(is_v6: bool, router: u8, quote: &[u8], mtu: u16) -> Vec<u8> {
    use ces::packet::build::{Ip, Transport};
    use ces::packet::{IcmpType, Icmpv6Type, Protocol, icmp, icmpv6, ipv4, ipv6};
    let path = Path::untagged(mac(CORE, 9), MacAddr(own_mac()));
    let [high, low] = mtu.to_be_bytes();
    let parameter = [0, 0, high, low];
    let mut frame = vec![0; 1600];
    let length = if is_v6 {
        let from = format!("2001:db8::{router}").parse().expect("one");
        let header = icmpv6::Header { kind: Icmpv6Type::PACKET_TOO_BIG, code: 0, parameter };
        let ip = ipv6::Header::new(from, "2001:db8::1".parse().expect("one"), Protocol::ICMPV6);
        build::frame(&mut frame, &path, &Ip::V6(ip), &Transport::Icmpv6(header, quote))
    } else {
        let header = icmp::Header { kind: IcmpType::DESTINATION_UNREACHABLE, code: 4, parameter };
        let ip = ipv4::Header::new([203, 0, 113, router].into(), [203, 0, 113, 1].into(), Protocol::ICMP);
        build::frame(&mut frame, &path, &Ip::V4(ip), &Transport::Icmp(header, quote))
    };
    frame.truncate(length.expect("it fits").max(60));
    frame
}

/// What edges say to each other.
fn messages(s: &mut Script) {
    for carrier in from_outside() {
        let mut frame = carried(carrier, station(CORE, 9), own(CORE), 0, HELLO);
        if let Carrier::V6(from, to) = carrier {
            // Of no tunnel: it has a checksum.
            let pseudo = ces::packet::PseudoHeader::V6 { source: from, destination: to };
            let header = ces::packet::udp::Header { source_port: 0xc000, destination_port: 48_001 };
            header.emit(&mut frame[54..], &pseudo, HELLO).expect("it fits");
        }
        s.input[CORE].push(frame.clone());
        s.up.push((MESSAGE, frame));
    }
    // By a port on which nobody meets over Ethernet.
    let stranger = carried(Carrier::Ethernet, station(HOME, 9), own(HOME), 0, HELLO);
    s.input[HOME].push(stranger);
    s.drop("ether_type_unknown", 1);
}

/// What the thread that negotiates says, before the workers run.
fn said(s: &mut Script, edge: &mut Edge) {
    for carrier in to_outside() {
        let whole = carried(carrier, own(CORE), station(CORE, 9), 0, HELLO);
        let (class, mut frame) =
            (if matches!(carrier, Carrier::Ethernet) { FRAME } else { MESSAGE }, whole.clone());
        if class == MESSAGE {
            frame[..12].fill(0);
        }
        assert!(edge.rings.down[0].push(CORE as u16, class, &[&frame]));
        s.output[CORE].push(("said", whole));
    }
}

/// Runs it all.
pub fn run(workers: &str, nat: &str) {
    let bed = Bed::new();
    let device = |number: usize| {
        let (directory, port) = (bed.directory.display(), PORTS[number]);
        format!("net_pcap{number},rx_pcap={directory}/{port}-in.pcap,tx_pcap={directory}/{port}-out.pcap")
    };
    let config = load(&bed, &configuration(workers, nat, device, "end-of-input"));
    // The devices open their captures now, and read on where these go on when the tags are known.
    let write = |frames: &[Vec<Vec<u8>>; 4]| {
        for (port, frames) in PORTS.iter().zip(frames) {
            capture::write(&bed.directory.join(format!("{port}-in.pcap")), frames);
        }
    };
    write(&Default::default());
    let mut edge = Edge::assemble(&config, &[]);
    let tags = install(&mut edge.tunnels);
    let mut s = Script::default();
    into_tunnels(&mut s, &tags);
    sizes(&mut s, &tags);
    local_pair(&mut s);
    out_of_tunnels(&mut s, &tags);
    refusals(&mut s, &tags);
    too_big(&mut s, &tags);
    messages(&mut s);
    write(&s.input);
    said(&mut s, &mut edge);
    // The thread that negotiates is this one here, and naps: a worker that has something for it wakes it.
    edge.rings.up.iter().for_each(FrameReceiver::wakes_me);
    let start = Instant::now();
    edge.start();
    wake::nap(NAP);
    assert!(start.elapsed() < NAP / 2, "nobody woke it");
    edge.wait("the end of input", |edge| edge.parts.control.input_is_over());
    edge.stop();
    judge(s, &bed, edge, workers.contains("software"), !nat.is_empty());
}

fn judge(mut s: Script, bed: &Bed, mut edge: Edge, is_by_software: bool, has_seed: bool) {
    edge.balance();
    let [carried, v4, slow] =
        [Stage::OutOfTunnels, Stage::Ipv4, Stage::Slow].map(|stage| edge.packets_of(stage));
    // What is handed over goes the slow way: where that is by software it may be all.
    assert!(carried > 0 && (is_by_software || v4 > slow), "fast ways: {carried}, {v4} - {slow}");
    let drops: BTreeMap<_, _> = edge.drops().into_iter().collect();
    let mut up = vec![];
    for ring in &mut edge.rings.up {
        let mut buffer = vec![0; FRAME_MAX];
        while let Some((interface, class, length)) = ring.pop(&mut buffer) {
            assert_eq!(usize::from(interface), CORE);
            up.push((class, buffer[..length].to_vec()));
        }
    }
    // By a secret of chance two routers may share what limits them: then one word more is not told.
    let untold = drops.get("punt_rate").copied().unwrap_or(0) - s.drops["punt_rate"];
    assert!(untold <= u64::from(!has_seed), "{untold}");
    *s.drops.entry("punt_rate").or_default() += untold;
    drop(edge);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut wrong = String::new();
    for (port, expected) in s.output.into_iter().enumerate() {
        let mut left: Vec<_> = sent(bed, port).into_iter().map(plain).collect();
        for (name, frame) in expected {
            match left.iter().position(|sent| *sent == frame) {
                Some(found) => drop(left.swap_remove(found)),
                None => wrong += &format!("{name}: {} lacks {}\n", PORTS[port], hex(&frame)),
            }
        }
        for frame in left {
            wrong += &format!("nobody expects from {}: {}\n", PORTS[port], hex(&frame));
        }
    }
    let sorted = |mut list: Vec<(u16, Vec<u8>)>| {
        list.sort();
        list.into_iter().map(|(class, frame)| format!("{class} {}", hex(&frame))).collect::<Vec<_>>()
    };
    let (up, mut expected) = (sorted(up), sorted(s.up));
    let all = expected.len();
    if untold > 0 {
        expected.retain(|told| up.contains(told));
    }
    assert_eq!(all - expected.len(), untold as usize, "what does not go up");
    assert!(wrong.is_empty() && drops == s.drops, "{wrong}{drops:?}\nnot {:?}\n", s.drops);
    assert_eq!(up, expected, "what goes up");
}
