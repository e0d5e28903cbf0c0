//! Captures to replay: classic pcap, laid out as CSIT's nat44ed cases walk their flows. Host h is 10.0.1.0 + h with source
//! ports from 1024 on, talking to 20.0.1.0 + h on the same port; one 64-byte frame (60 in memory) a flow, shuffled.

use ces::packet::{Ipv4, MacAddr, Protocol, Udp, build};
use ces::packet::{ipv4, udp};
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

fn link(source: MacAddr) -> build::Path {
    build::Path::untagged(source, EDGE_MAC)
}

fn write(path: &Path, frames: impl Iterator<Item = Vec<u8>>) -> Result<(), Box<dyn std::error::Error>> {
    let file = BufWriter::new(File::create(path)?);
    let mut writer = PcapWriter::with_header(file, PcapHeader::default())?;
    for frame in frames {
        writer.write_packet(&PcapPacket::new_owned(Duration::ZERO, frame.len() as u32, frame))?;
    }
    Ok(())
}

fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), mac: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; FRAME];
    let ip = ipv4::Header { identification: 0, ..ipv4::Header::new(from.0, to.0, Protocol::UDP) };
    let header = udp::Header { source_port: from.1, destination_port: to.1 };
    let transport = build::Transport::Udp(header, &PAYLOAD);
    build::frame(&mut frame, &link(mac), &build::Ip::V4(ip), &transport)
        .expect("60 bytes hold 18 of payload");
    frame
}

/// The inside capture of `hosts` hosts.
pub fn inside(path: &Path, hosts: u32) -> Result<(), Box<dyn std::error::Error>> {
    let mut flows: Vec<u32> = (0..hosts * PORTS_PER_HOST).collect();
    flows.shuffle(&mut StdRng::seed_from_u64(42));
    let frame = |flow: u32| {
        let (host, port) = (flow / PORTS_PER_HOST, 1024 + (flow % PORTS_PER_HOST) as u16);
        let near = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 1, 0)) + host);
        let far = Ipv4Addr::from(u32::from(Ipv4Addr::new(20, 0, 1, 0)) + host);
        datagram((near, port), (far, port), HOST_MAC)
    };
    write(path, flows.into_iter().map(frame))
}

/// What a translated capture shows, checked frame by frame.
pub struct Checked {
    /// (public endpoint, remote endpoint) of every flow.
    flows: Vec<((Ipv4Addr, u16), (Ipv4Addr, u16))>,
}

/// Reads the capture that `cesd` has made of an inside one and checks every frame: addresses translated, TTL taken, both
/// checksums right, one public endpoint a flow.
pub fn check(path: &Path, flows: u32) -> Result<Checked, Box<dyn std::error::Error>> {
    let mut reader = PcapReader::new(BufReader::new(File::open(path)?))?;
    let mut seen = std::collections::HashSet::new();
    let mut checked = Checked { flows: vec![] };
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        let ip = Ipv4::parse(packet.data.get(14..).ok_or("a frame without an IPv4 header")?)?;
        let datagram = Udp::parse(ip.payload())?;
        let right = ip.checksum_is_right() && datagram.checksum_is_right(&ip.pseudo_header());
        if !right || ip.ttl() != 63 || ip.source().octets()[0] != 198 {
            return Err(format!("a frame was not translated rightly: {ip:?}").into());
        }
        let public = (ip.source(), datagram.source_port());
        if !seen.insert(public) {
            return Err(format!("two flows share {public:?}").into());
        }
        checked.flows.push((public, (ip.destination(), datagram.destination_port())));
    }
    if checked.flows.len() != flows as usize {
        return Err(format!("{} of {flows} flows were translated", checked.flows.len()).into());
    }
    Ok(checked)
}

impl Checked {
    /// The capture of the answers, shuffled anew.
    pub fn answers(mut self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        self.flows.shuffle(&mut StdRng::seed_from_u64(43));
        write(path, self.flows.into_iter().map(|(public, remote)| datagram(remote, public, HOST_MAC)))
    }
}
