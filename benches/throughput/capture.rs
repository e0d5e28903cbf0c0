//! Captures to replay: classic pcap, laid out as CSIT's nat44ed cases walk their flows. Host h is 10.0.1.0 + h with source
//! ports from 1024 on, talking to 20.0.1.0 + h on the same port; one 64-byte frame (60 in memory) a flow, shuffled.

use crate::bed::Kind;
use ces::packet::{Ipv4, Link, MacAddr, Protocol, Tag, Tags, Tcp, TcpFlags, Udp, build};
use ces::packet::{ipv4, tcp, udp};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

pub const PORTS_PER_HOST: u32 = 63;
/// What every port of the harness answers to.
pub const EDGE_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PAYLOAD: [u8; 18] = [0; 18];
const FRAME: usize = 60;

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
    packet(from, to, vlan, Carried::Udp)
}

fn packet(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), vlan: Option<u16>, carried: Carried) -> Vec<u8> {
    let link = link(vlan);
    let mut frame = vec![0; FRAME + 4 * link.tags.len()];
    let (protocol, transport) = match carried {
        Carried::Udp => {
            let header = udp::Header { source_port: from.1, destination_port: to.1 };
            (Protocol::UDP, build::Transport::Udp(header, &PAYLOAD))
        }
        Carried::Tcp(flags) => {
            let header = tcp::Header::new(from.1, to.1, flags);
            (Protocol::TCP, build::Transport::Tcp(header, &PAYLOAD[..6]))
        }
    };
    let ip = ipv4::Header { identification: 0, ..ipv4::Header::new(from.0, to.0, protocol) };
    build::frame(&mut frame, &link, &build::Ip::V4(ip), &transport).expect("60 bytes hold either");
    frame
}

/// The `n`th host, and whom it talks to.
pub fn ends(n: u32) -> (Ipv4Addr, Ipv4Addr) {
    let of = |first: Ipv4Addr| Ipv4Addr::from(u32::from(first) + n);
    (of(Ipv4Addr::new(10, 0, 1, 0)), of(Ipv4Addr::new(20, 0, 1, 0)))
}

/// The inside capture of `hosts` hosts.
pub fn inside(path: &Path, hosts: u32, kind: Kind) -> Result<(), Box<dyn std::error::Error>> {
    inside_of(path, hosts, kind, Carried::of(kind))
}

/// The same flows, each with the packet that opens it.
pub fn opening(path: &Path, hosts: u32, kind: Kind) -> Result<(), Box<dyn std::error::Error>> {
    inside_of(path, hosts, kind, if kind == Kind::Tcp { Carried::Tcp(TcpFlags::SYN) } else { Carried::Udp })
}

fn inside_of(
    path: &Path,
    hosts: u32,
    kind: Kind,
    carried: Carried,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut flows: Vec<u32> = (0..hosts * PORTS_PER_HOST).collect();
    flows.shuffle(&mut StdRng::seed_from_u64(42));
    let frame = |flow: u32| {
        let (host, port) = (flow / PORTS_PER_HOST, 1024 + (flow % PORTS_PER_HOST) as u16);
        let (near, far) = ends(host);
        packet((near, port), (far, port), kind.vlan(false), carried)
    };
    write(path, flows.into_iter().map(frame))
}

/// What a translated capture shows, checked frame by frame.
pub struct Checked {
    /// (public endpoint, remote endpoint) of every flow.
    flows: Vec<((Ipv4Addr, u16), (Ipv4Addr, u16))>,
    kind: Kind,
}

/// Reads the capture that `cesd` has made of an inside one and checks every frame: addresses translated, TTL taken, both
/// checksums right, one public endpoint a flow, in the right VLAN, and every gateway has its part of the flows.
pub fn check(path: &Path, flows: u32, kind: Kind) -> Result<Checked, Box<dyn std::error::Error>> {
    let mut reader = PcapReader::new(BufReader::new(File::open(path)?))?;
    let mut seen = std::collections::HashSet::new();
    let mut checked = Checked { flows: vec![], kind };
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
        let public = (ip.source(), ports.0);
        if !seen.insert(public) {
            return Err(format!("two flows share {public:?}").into());
        }
        checked.flows.push((public, (ip.destination(), ports.1)));
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
    pub fn answers(mut self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        self.flows.shuffle(&mut StdRng::seed_from_u64(43));
        let (vlan, carried) = (self.kind.vlan(true), Carried::of(self.kind));
        write(path, self.flows.into_iter().map(|(public, remote)| packet(remote, public, vlan, carried)))
    }
}
