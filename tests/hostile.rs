//! Frames that mean no good, on every port of the whole appliance: it ends well, and each of them is accounted for.
//!
//! Guarantees: the frames follow from the seed alone. Never: asks what became of one frame; that is `tests/golden.rs`.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/captured.rs"]
mod captured;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/packets.rs"]
mod packets;
#[path = "support/summary.rs"]
mod summary;

use std::net::Ipv4Addr;

use bed::Bed;
use ces::packet::build::{self, Path};
use ces::packet::{Arp, EtherType, Ipv4, Ipv6, Link, MacAddr, TcpFlags};
use packets::{Carried, End, Packet};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use summary::Summary;

/// On each port of each run.
const FRAMES: usize = 30_000;
const PORTS: [&str; 3] = ["home", "twin", "outside"];
/// The longest frame: a jumbo packet.
const LONGEST: usize = 9014;

fn edge(port: usize) -> MacAddr {
    MacAddr([2, 0, 0, 0, port as u8, 1])
}

/// Small tables and few ports, so that all of them are full before the end.
fn config(workers: &str) -> String {
    let mut text = format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\nstop = \"end-of-input\"\n{workers}\n\
         [flow]\nsessions = 8192\nneighbors = 64\n"
    );
    for (number, (port, address)) in
        PORTS.iter().zip(["10.0.0.1/24", "10.0.0.1/24", "203.0.113.1/24"]).enumerate()
    {
        let (mac, side) = (edge(number), if number == 2 { "outside" } else { "inside" });
        let mtu = if number == 1 { 1500 } else { LONGEST - 14 };
        text += &format!(
            "[[port]]\nname = \"{port}\"\nmac = \"{mac}\"\nmtu = {mtu}\n\
             device = \"net_pcap{number},rx_pcap={port}-in.pcap,tx_pcap={port}-out.pcap\"\n\
             [[realm]]\nname = \"{port}\"\nside = \"{side}\"\n\
             [[interface]]\nport = \"{port}\"\nrealm = \"{port}\"\naddresses = [\"{address}\"]\n"
        );
    }
    // Two VLANs beside HOME, and IPv6 on all of them.
    text += "[[realm]]\nname = \"tagged\"\nside = \"inside\"\n[[realm]]\nname = \"twice\"\nside = \"inside\"\n\
             [[interface]]\nport = \"home\"\nrealm = \"tagged\"\nvlan = 7\naddresses = [\"10.0.0.1/24\", \"2001:db8:7::1/64\"]\n\
             [[interface]]\nport = \"home\"\nrealm = \"twice\"\nvlan = [7, 8]\naddresses = [\"2001:db8:8::1/64\"]\n\
             [[interface]]\nport = \"outside\"\nrealm = \"outside\"\nvlan = 9\naddresses = [\"2001:db8:9::1/64\"]\n\
             [[neighbor]]\ninterface = \"outside-9\"\naddress = \"2001:db8:9::fe\"\nmac = \"02:00:00:00:00:fd\"\n\
             [[neighbor]]\ninterface = \"home-7\"\naddress = \"2001:db8:7::2\"\nmac = \"02:00:00:00:00:72\"\n\
             [[route]]\nrealm = \"outside\"\nprefix = \"::/0\"\nvia = \"2001:db8:9::fe\"\n\
             [ipv6]\ninside = [\"tagged\", \"twice\"]\noutside = \"outside\"\nsessions = 2048\n";
    text + "[[neighbor]]\ninterface = \"home\"\naddress = \"10.0.0.2\"\nmac = \"02:00:00:00:00:02\"\n\
            [[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:00:fe\"\n\
            [[route]]\nrealm = \"outside\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
            [nat44]\ninside = [\"home\", \"twin\"]\noutside = \"outside\"\npool = [\"203.0.113.64/26\"]\n\
            ports = \"1024-1535\"\nrandom_seed = 1\nmappings = 2048\n"
}

/// The generator of everything, by one seed.
struct Hostile {
    random: StdRng,
}

impl Hostile {
    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        // Short ones mostly.
        let most = if self.chance(95) { most.min(120) } else { most };
        let mut bytes = vec![0; self.random.random_range(0..=most)];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    fn address(&mut self) -> Ipv4Addr {
        const KNOWN: [Ipv4Addr; 12] = [
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 2),
            Ipv4Addr::new(10, 0, 0, 3),
            Ipv4Addr::new(10, 0, 0, 255),
            Ipv4Addr::new(203, 0, 113, 1),
            Ipv4Addr::new(203, 0, 113, 64),
            Ipv4Addr::new(203, 0, 113, 65),
            Ipv4Addr::new(203, 0, 113, 254),
            Ipv4Addr::new(198, 51, 100, 7),
            Ipv4Addr::new(127, 0, 0, 1),
            Ipv4Addr::new(224, 0, 0, 1),
            Ipv4Addr::BROADCAST,
        ];
        match self.random.random_range(0..10) {
            0 if self.chance(50) => Ipv4Addr::from(self.random.random::<u32>()),
            0 => Ipv4Addr::new(203, 0, 113, self.random.random()),
            1 => Ipv4Addr::new(10, 0, 0, self.random.random()),
            // A host inside, one outside, and a public address are met most.
            2..5 => KNOWN[1],
            5..8 => KNOWN[8],
            8 => KNOWN[5],
            _ => *KNOWN.choose(&mut self.random).expect("some"),
        }
    }

    fn end(&mut self) -> End {
        let port = if self.chance(90) { self.random.random_range(1020..1120) } else { self.random.random() };
        (self.address(), port)
    }

    fn packet(&mut self) -> Packet {
        let sequence = self.random.random();
        let carried = match self.random.random_range(0..10) {
            0..4 => Carried::Udp { unsummed: self.chance(30) },
            4..7 => {
                let flags = [0x02, 0x02, 0x10, 0x12, 0x18, 0x04, 0x11, self.random.random()];
                let flags = TcpFlags(*flags.choose(&mut self.random).expect("some"));
                Carried::Tcp { flags, options: self.words(10) }
            }
            7 => Carried::EchoRequest { sequence },
            8 => Carried::EchoReply { sequence },
            _ => Carried::Raw(*[1, 6, 17, 47, 50, 58, 132, 255].choose(&mut self.random).expect("some")),
        };
        let longest = LONGEST - 14 - 60 - 60;
        let payload = if self.chance(2) {
            let mut long = vec![0; self.random.random_range(0..=longest)];
            self.random.fill_bytes(&mut long);
            long
        } else {
            self.bytes(1400)
        };
        let mut packet = Packet::new(self.end(), self.end(), carried, &payload);
        packet.ttl = *[64, 64, 64, 64, 64, 64, 64, 255, 2, 1, 0].choose(&mut self.random).expect("some");
        packet.identification = self.random.random();
        packet.ip_options = if self.chance(10) { self.words(10) } else { vec![] };
        packet.trailer = if self.chance(20) { self.bytes(40) } else { vec![] };
        packet
    }

    /// Whole words, as options are.
    fn words(&mut self, most: usize) -> Vec<u8> {
        let mut words = vec![0; 4 * self.random.random_range(0..=most)];
        self.random.fill_bytes(&mut words);
        // Options that are some, now and then.
        if let [kind, length, ..] = &mut words[..] {
            *kind = *[1, 7, 68, 131, 137, 148, 2, 3, 8].choose(&mut self.random).expect("some");
            *length = self.random.random_range(0..44);
        }
        words
    }

    fn mac(&mut self, port: usize) -> MacAddr {
        match self.random.random_range(0..40) {
            0 => MacAddr::BROADCAST,
            1 => MacAddr([0x33, 0x33, 0, 0, 0, 1]),
            2 => MacAddr(self.random.random()),
            3 => MacAddr::ZERO,
            _ => edge(port),
        }
    }

    fn arp(&mut self, port: usize) -> Vec<u8> {
        let (sender, own) = (MacAddr(self.random.random()), self.mac(port));
        let mut message = Arp::request(sender, self.address(), self.address());
        if self.chance(50) {
            message = message.reply(own);
        }
        let mut frame = vec![0; 60];
        build::arp(&mut frame, &Path::untagged(sender, own), &message).expect("42 bytes");
        frame
    }

    /// A frame that says what it is, and goes on with anything.
    fn typed(&mut self, port: usize) -> Vec<u8> {
        let kind: u16 =
            *[0x0800, 0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 46].choose(&mut self.random).expect("some");
        let mut frame = [&self.mac(port).0[..], &edge(9).0, &kind.to_be_bytes(), &self.bytes(3000)].concat();
        if kind == 0x0800 && frame.len() > 14 && self.chance(80) {
            frame[14] = 0x40 | frame[14] & 0x0f;
        }
        frame
    }

    fn address6(&mut self) -> std::net::Ipv6Addr {
        const KNOWN: [&str; 12] = [
            "2001:db8:7::2",
            "2001:db8:7::2",
            "2001:db8:7::1",
            "2001:db8:8::2",
            "2001:db8:8::1",
            "2001:db8:a::7",
            "2001:db8:a::7",
            "2001:db8:9::1",
            "fe80::2",
            "ff02::1",
            "::1",
            "::",
        ];
        match self.random.random_range(0..20) {
            0 => std::net::Ipv6Addr::from(self.random.random::<u128>()),
            _ => KNOWN.choose(&mut self.random).and_then(|a| a.parse().ok()).expect("an address"),
        }
    }

    /// An IPv6 packet: transports, extension headers, neighbour discovery, or anything behind the header.
    fn six(&mut self, port: usize) -> Vec<u8> {
        let kinds = [6, 17, 17, 17, 58, 58, 58, 44, 43, 0, 60, 50, 51, 59, 135, 139, 140];
        let protocol = ces::packet::Protocol(*kinds.choose(&mut self.random).expect("some"));
        let mut payload = match protocol.0 {
            17 => {
                let mut datagram = self.bytes(1400);
                datagram.resize(datagram.len().max(8), 0);
                let length = datagram.len() as u16;
                datagram[4..6].copy_from_slice(&length.to_be_bytes());
                datagram[..4].copy_from_slice(&[4, 0, 0, self.random.random_range(50..60)]);
                datagram
            }
            _ => self.bytes(1400),
        };
        if protocol.0 == 58 && !payload.is_empty() {
            payload[0] = *[1, 2, 3, 128, 129, 130, 133, 135, 135, 136, 136, 137]
                .choose(&mut self.random)
                .expect("some");
        }
        let header = ces::packet::ipv6::Header {
            hop_limit: *[64, 64, 255, 255, 1, 0].choose(&mut self.random).expect("some"),
            ..ces::packet::ipv6::Header::new(self.address6(), self.address6(), protocol)
        };
        let mut frame = vec![0; 100 + payload.len()];
        let path = Path::untagged(MacAddr([2, 0, 0, 0, 9, 8]), self.mac(port));
        // With a right checksum it gets further in.
        let message = ces::packet::icmpv6::Header {
            kind: ces::packet::Icmpv6Type(payload.first().copied().unwrap_or(128)),
            code: u8::from(self.chance(10)),
            parameter: [0; 4],
        };
        let transport = match payload.get(8..) {
            Some(body) if protocol.0 == 58 && self.chance(80) => build::Transport::Icmpv6(message, body),
            _ => build::Transport::Raw(&payload),
        };
        let length = build::frame(&mut frame, &path, &build::Ip::V6(header), &transport).expect("fits");
        frame.truncate(length);
        frame
    }

    /// With none to three tags, of VLANs that there are and that there are not.
    fn tagged(&mut self, port: usize) -> Vec<u8> {
        let mut frame = self.untagged(port);
        let usual: &[u16] = if port == 2 { &[9] } else { &[7] };
        for _ in 0..*[0, 0, 1, 1, 1, 1, 2, 3].choose(&mut self.random).expect("some") {
            let kind: [u8; 2] = if self.chance(70) { [0x81, 0] } else { [0x88, 0xa8] };
            let id = if self.chance(70) {
                usual[0]
            } else {
                *[0, 7, 8, 9, 4095].choose(&mut self.random).expect("some")
            };
            if frame.len() >= 12 {
                frame.splice(12..12, [kind[0], kind[1], (id >> 8) as u8, id as u8]);
            }
        }
        frame
    }

    fn frame(&mut self, port: usize) -> Vec<u8> {
        if port != 1 && self.chance(40) { self.tagged(port) } else { self.untagged(port) }
    }

    /// Makes a fragment of a packet: of few identifications, so that some belong together.
    fn fragment(&mut self, frame: &mut [u8]) {
        let more = if self.chance(60) { 0x2000 } else { 0 };
        let offset = match self.random.random_range(0..4) {
            0 => 0,
            1 => self.random.random_range(0..0x2000),
            _ => self.random.random_range(0..12),
        };
        frame[18..20].copy_from_slice(&[0, self.random.random_range(0..4)]);
        frame[20..22].copy_from_slice(&(more | offset as u16).to_be_bytes());
        // Whole eights of payload, mostly.
        if self.chance(80) {
            let header = usize::from(frame[14] & 15) * 4;
            let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let even = (total - header) / 8 * 8 + header;
            frame[16..18].copy_from_slice(&(even as u16).to_be_bytes());
        }
        mend_header(frame);
    }

    fn untagged(&mut self, port: usize) -> Vec<u8> {
        let mut frame = match self.random.random_range(0..28) {
            0 => return self.bytes(LONGEST),
            1..3 => return self.typed(port),
            3 => self.arp(port),
            20.. => self.six(port),
            _ => {
                let to = self.mac(port);
                let mut frame = self.packet().frame(MacAddr([2, 0, 0, 0, 9, 9]), to);
                if self.chance(30) {
                    self.fragment(&mut frame);
                }
                frame
            }
        };
        match self.random.random_range(0..10) {
            0..6 => {}
            6..8 => {
                for _ in 0..self.random.random_range(1..8) {
                    let at = self.random.random_range(0..frame.len().min(80));
                    frame[at] ^= 1 << self.random.random_range(0..8);
                }
                // With a right checksum it gets further in.
                if self.chance(80) {
                    mend_header(&mut frame);
                }
            }
            8 => frame.truncate(self.random.random_range(0..=frame.len())),
            _ => {
                frame.truncate(self.random.random_range(0..=frame.len()));
                frame.extend(self.bytes(3000));
                mend_header(&mut frame);
            }
        }
        frame
    }
}

/// Makes the header checksum of what may be an IPv4 packet right.
fn mend_header(frame: &mut [u8]) {
    let Some(length) = frame.get(14).map(|b| usize::from(b & 15) * 4) else { return };
    if let Some(header) = frame.get_mut(14..14 + length).filter(|h| h.len() >= 20) {
        header[10..12].fill(0);
        let sum = ces::packet::checksum::checksum(header);
        header[10..12].copy_from_slice(&sum.to_ne_bytes());
    }
}

/// Whatever goes out is right as far as the edge is responsible for it.
fn is_sound(frame: &[u8]) -> bool {
    let Ok(link) = Link::parse(frame) else { return false };
    match link.ether_type {
        EtherType::IPV4 => Ipv4::parse(link.payload).is_ok_and(|ip| ip.checksum_is_right() && ip.ttl() > 0),
        EtherType::ARP => Arp::parse(link.payload).is_ok(),
        EtherType::IPV6 => Ipv6::parse(link.payload).is_ok_and(|ip| ip.hop_limit() > 0),
        _ => false,
    }
}

fn every_frame_is_accounted_for(workers: &str, seed: u64) {
    let mut hostile = Hostile { random: StdRng::seed_from_u64(seed) };
    let bed = Bed::new();
    for (number, port) in PORTS.iter().enumerate() {
        let frames: Vec<_> = (0..FRAMES).map(|_| hostile.frame(number)).collect();
        capture::write(&bed.directory.join(format!("{port}-in.pcap")), &frames);
    }
    bed.configure(&config(workers));
    let summary = Summary::of(&cesd::cesd(&bed).output().expect("cesd runs"));
    let mut sent = 0;
    for port in PORTS {
        let frames = captured::read(&bed.directory.join(format!("{port}-out.pcap")));
        sent += frames.len() as u64;
        let wrong = frames.iter().find(|f| !is_sound(f));
        assert!(wrong.is_none(), "seed {seed}, from {port}: {wrong:02x?}");
    }
    println!("seed {seed}: {summary:#?}");
    summary.balance();
    assert_eq!(summary.received, (PORTS.len() * FRAMES) as u64);
    assert_eq!(summary.sent, sent);
    assert!(summary.forwarded > 1000 && summary.local > 500, "not all of them are refused at the door");
    let fragments = summary.drops.keys().filter(|name| name.starts_with("ipv4_fragment"));
    assert!(fragments.count() >= 5, "nor do fragments meet one");
    assert!(summary.drops.len() >= 30, "they meet {} reasons", summary.drops.len());
}

#[test]
fn one_worker() {
    every_frame_is_accounted_for("cores = [0]", 1);
}

#[test]
fn two_workers_by_software() {
    every_frame_is_accounted_for("cores = [0, 1]\ndistribute = \"software\"", 2);
}

#[test]
fn two_workers_by_rss() {
    every_frame_is_accounted_for("cores = [0, 1]\ndistribute = \"rss\"", 3);
}
