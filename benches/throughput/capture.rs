//! Captures to replay: classic pcap, laid out as CSIT's nat44ed cases walk their flows. Host h is 10.0.1.0 + h with source
//! ports from 1024 on, talking to 20.0.1.0 + h on the same port. One frame a flow, shuffled, or as many by Zipf's law; of 64 bytes (60 in
//! memory), or other lengths ([`Load`]).

use crate::bed::Kind;
use crate::prgw;
use ces::packet::{Ipv4, Link, MacAddr, Protocol, Tag, Tags, Tcp, TcpFlags, Udp, build};
use ces::packet::{ipv4, tcp, udp};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

pub const PORTS_PER_HOST: u32 = 63;
/// What every port of the harness answers to.
pub const EDGE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Of which length frames are, in bytes with their FCS, and how often each flow has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    pub frames: Frames,
    /// The n-th flow of N has every (n ln N)-th frame (Zipf's law, exponent 1) instead of one of N.
    pub is_zipf: bool,
}

impl Load {
    pub const SMALL: Load = Load { frames: Frames::Of(64), is_zipf: false };

    /// What file names and rows call it.
    pub fn name(self) -> String {
        format!("{}{}", self.frames.name(), if self.is_zipf { "-zipf" } else { "" })
    }

    /// In which order `flows` have their first packets, where hosts open them.
    pub fn opening_order(self, flows: u32) -> Vec<u32> {
        self.order(flows, 42)
    }

    /// Which of `flows` the frames of a capture are of, in their order.
    fn order(self, flows: u32, seed: u64) -> Vec<u32> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut order: Vec<u32> = (0..flows).collect();
        order.shuffle(&mut random);
        if !self.is_zipf {
            return order;
        }
        // By the inverse of the continuous law: the rank's logarithm is uniform.
        let rank = |uniform: f64| (f64::from(flows).powf(uniform) as u32 - 1).min(flows - 1);
        (0..flows).map(|_| order[rank(random.random::<f64>()) as usize]).collect()
    }
}

/// Lengths of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frames {
    Of(u16),
    /// Of twelve seven of 64 bytes, four of 594 and one of 1,518.
    Imix,
}

impl Frames {
    pub fn name(self) -> String {
        match self {
            Frames::Of(length) => length.to_string(),
            Frames::Imix => "imix".into(),
        }
    }

    /// Bytes in memory of the frames of a flow.
    fn length(self, flow: u32) -> usize {
        const FCS: u16 = 4;
        let length = match (self, flow % 12) {
            (Frames::Of(length), _) => length,
            (Frames::Imix, 0..7) => 64,
            (Frames::Imix, 7..11) => 594,
            (Frames::Imix, _) => 1518,
        };
        usize::from(length - FCS)
    }

    /// Of a buffer: headroom and the longest frame.
    pub fn data_room(self) -> u16 {
        if self == Frames::Of(64) { 256 } else { 2176 }
    }
}

/// From a host to the edge.
fn link(vlan: Option<u16>) -> build::Path {
    let tags = vlan.map_or(Tags::NONE, |id| Tags::one(Tag::customer(id)));
    build::Path { tags, ..build::Path::untagged(HOST_MAC, EDGE_MAC) }
}

pub fn write(path: &Path, frames: impl Iterator<Item = Vec<u8>>) -> Result<(), Box<dyn std::error::Error>> {
    let file = BufWriter::new(File::create(path)?);
    let mut writer = PcapWriter::with_header(file, PcapHeader::default())?;
    for frame in frames {
        writer.write_packet(&PcapPacket::new_owned(Duration::ZERO, frame.len() as u32, frame))?;
    }
    Ok(())
}

/// What a packet carries.
#[derive(Clone, Copy)]
enum Carried {
    Udp,
    Tcp(TcpFlags),
}

impl Carried {
    /// A packet of a flow that is there already.
    fn of(kind: Kind) -> Carried {
        if kind == Kind::Tcp { Carried::Tcp(TcpFlags::ACK) } else { Carried::Udp }
    }
}

/// A datagram of a flow.
pub fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), vlan: Option<u16>) -> Vec<u8> {
    packet(from, to, vlan, Carried::Udp, 60)
}

fn packet(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    vlan: Option<u16>,
    carried: Carried,
    length: usize,
) -> Vec<u8> {
    let link = link(vlan);
    let mut frame = vec![0; length + 4 * link.tags.len()];
    let payload = vec![0; length - 42];
    let (protocol, transport) = match carried {
        Carried::Udp => {
            let header = udp::Header { source_port: from.1, destination_port: to.1 };
            (Protocol::UDP, build::Transport::Udp(header, &payload))
        }
        Carried::Tcp(flags) => {
            let header = tcp::Header::new(from.1, to.1, flags);
            (Protocol::TCP, build::Transport::Tcp(header, &payload[12..]))
        }
    };
    let ip = ipv4::Header { identification: 0, ..ipv4::Header::new(from.0, to.0, protocol) };
    build::frame(&mut frame, &link, &build::Ip::V4(ip), &transport).expect("so long it is");
    frame
}

/// The `n`th host, and whom it talks to.
pub fn ends(n: u32) -> (Ipv4Addr, Ipv4Addr) {
    let of = |first: Ipv4Addr| Ipv4Addr::from(u32::from(first) + n);
    (of(Ipv4Addr::new(10, 0, 1, 0)), of(Ipv4Addr::new(20, 0, 1, 0)))
}

/// The inside capture of `hosts` hosts.
pub fn inside(path: &Path, hosts: u32, kind: Kind, load: Load) -> Result<(), Box<dyn std::error::Error>> {
    inside_of(path, hosts, kind, Carried::of(kind), load)
}

/// The inside capture of small frames of those of `hosts` hosts that `is_of` takes.
pub fn part(path: &Path, hosts: u32, is_of: impl Fn(u32) -> bool) -> Result<(), Box<dyn std::error::Error>> {
    let flows = Load::SMALL.opening_order(hosts * PORTS_PER_HOST).into_iter();
    let part = flows.filter(|flow| is_of(flow / PORTS_PER_HOST));
    write(path, part.map(|flow| inside_frame(flow, Kind::Nat44, Carried::Udp, Load::SMALL)))
}

/// What comes to addresses of the pool (198.18.0.0/25), of so many flows, and is nobody's.
pub fn strangers(path: &Path, hosts: u32) -> Result<(), Box<dyn std::error::Error>> {
    let frame = |flow: u32| {
        let (_, remote) = ends(flow / PORTS_PER_HOST);
        let port = 1024 + flow % 64_000;
        let public = Ipv4Addr::new(198, 18, 0, (flow % 128) as u8);
        datagram((remote, port as u16), (public, port as u16), None)
    };
    write(path, Load::SMALL.order(hosts * PORTS_PER_HOST, 44).into_iter().map(frame))
}

/// The same flows, each with the packet that opens it.
pub fn opening(path: &Path, hosts: u32, kind: Kind, load: Load) -> Result<(), Box<dyn std::error::Error>> {
    let carried = if kind == Kind::Tcp { Carried::Tcp(TcpFlags::SYN) } else { Carried::Udp };
    inside_of(path, hosts, kind, carried, Load { is_zipf: false, ..load })
}

fn inside_of(
    path: &Path,
    hosts: u32,
    kind: Kind,
    carried: Carried,
    load: Load,
) -> Result<(), Box<dyn std::error::Error>> {
    let flows = load.opening_order(hosts * PORTS_PER_HOST).into_iter();
    write(path, flows.map(|flow| inside_frame(flow, kind, carried, load)))
}

/// Of a flow, the host's, and that of whom it talks to.
pub fn sockets(flow: u32) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let port = 1024 + (flow % PORTS_PER_HOST) as u16;
    let (near, far) = ends(flow / PORTS_PER_HOST);
    ((near, port), (far, port))
}

/// Of a flow, from its host.
fn inside_frame(flow: u32, kind: Kind, carried: Carried, load: Load) -> Vec<u8> {
    let (near, far) = sockets(flow);
    packet(near, far, kind.vlan(false), carried, load.frames.length(flow))
}

/// What a translated capture shows, checked frame by frame.
pub struct Checked {
    /// (public endpoint, remote endpoint) of every flow.
    flows: Vec<((Ipv4Addr, u16), (Ipv4Addr, u16))>,
    kind: Kind,
    load: Load,
}

/// Reads the capture that `cesd` has made of an inside one and checks every frame: addresses translated, TTL taken, both
/// checksums right, one public endpoint a flow, or that of the circular pool, in the right VLAN, and every gateway has its part of the flows.
pub fn check(path: &Path, flows: u32, kind: Kind, load: Load) -> Result<Checked, Box<dyn std::error::Error>> {
    let mut reader = PcapReader::new(BufReader::new(File::open(path)?))?;
    let mut seen = std::collections::HashSet::new();
    let mut checked = Checked { flows: vec![], kind, load };
    let mut gateways = std::collections::HashMap::<u8, u32>::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        let link = Link::parse(&packet.data)?;
        if link.tags != self::link(kind.vlan(true)).tags {
            return Err(format!("a frame with the tags {:?}", link.tags).into());
        }
        *gateways.entry(link.ethernet.destination().0[5]).or_default() += 1;
        let ip = Ipv4::parse(link.payload)?;
        let (l4_is_right, ports) = if kind == Kind::Tcp {
            let segment = Tcp::parse(ip.payload())?;
            let ports = (segment.source_port(), segment.destination_port());
            (segment.checksum_is_right(&ip.pseudo_header()), ports)
        } else {
            let datagram = Udp::parse(ip.payload())?;
            let ports = (datagram.source_port(), datagram.destination_port());
            (datagram.checksum_is_right(&ip.pseudo_header()), ports)
        };
        let right = ip.checksum_is_right() && l4_is_right;
        if !right || ip.ttl() != 63 || ip.source().octets()[0] != 198 {
            return Err(format!("a frame was not translated rightly: {ip:?}").into());
        }
        let (public, remote) = ((ip.source(), ports.0), (ip.destination(), ports.1));
        let is_claimed = kind == Kind::PrgwEstablished;
        let host = u32::from(remote.0).wrapping_sub(ends(0).1.into());
        if is_claimed && public != (prgw::address(host), remote.1) {
            return Err(format!("{public:?} is not where {remote:?} found its host").into());
        }
        // Those who came by the circular pool share what they came to.
        if !seen.insert((public, is_claimed.then_some(remote))) {
            return Err(format!("two flows share {public:?}").into());
        }
        checked.flows.push((public, remote));
    }
    if checked.flows.len() != flows as usize {
        return Err(format!("{} of {flows} flows were translated", checked.flows.len()).into());
    }
    let share = flows / kind.gateways().len() as u32;
    if kind.gateways().iter().any(|g| gateways.get(g).is_none_or(|n| *n < share * 9 / 10)) {
        return Err(format!("the gateways {:?} got {gateways:?} flows", kind.gateways()).into());
    }
    Ok(checked)
}

impl Checked {
    /// The capture of the answers, shuffled anew.
    pub fn answers(self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let (vlan, carried) = (self.kind.vlan(true), Carried::of(self.kind));
        let order = self.load.order(self.flows.len() as u32, 43);
        let frame = |flow: u32| {
            let (public, remote) = self.flows[flow as usize];
            packet(remote, public, vlan, carried, self.load.frames.length(flow))
        };
        write(path, order.into_iter().map(frame))
    }
}
