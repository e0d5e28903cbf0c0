//! Sessions of hosts with hosts behind another edge, as [`installed`](crate::installed) has them put in; and their captures.
//!
//! Each host has one session, with the host that its packets are for, and all of them lead to the one edge. The tags follow from the
//! configured seed: those of the run that makes the captures are those of the runs that are measured.

use crate::bed::Outcome;
use crate::capture::{self, EDGE_MAC};
use ces::appliance::assemble::Parts;
use ces::flow::Realm;
use ces::flow::tunnel::{Ends, RlocOptions, Service, SessionOptions};
use ces::packet::cetp::{Inner, Payload};
use ces::packet::{Ipv4, Link, Udp};
use pcap_file::pcap::PcapReader;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::path::Path;

pub const OWN: Ipv4Addr = Ipv4Addr::new(198, 51, 101, 1);
const THEIRS: Ipv4Addr = Ipv4Addr::new(198, 51, 101, 9);
/// Bytes of Ethernet, IPv4 and UDP headers outside.
const OUTSIDE: usize = 42;

/// What a configuration has beside the others.
pub fn sections(hosts: u32) -> String {
    format!(
        "[hosts]\n[dns]\n[dns.edge]\ncesid = \"ces1.ces.example\"\nrlocs = [\"{OWN}\"]\n[[dns.zones]]\napex = \"ces.example\"\n\
         [[dns.zones.name_servers]]\nname = \"ns.other.example\"\n[cetp]\nsessions = {hosts}\nedges = 1\n"
    )
}

/// Before the worker runs.
pub fn install(parts: &mut Parts, hosts: u32) -> Outcome<()> {
    let (tunnels, _) = parts.tunnels.as_mut().ok_or("no tunnels are configured")?;
    let peer = tunnels.add_peer()?;
    let ends = Ends::V4 { local: OWN, remote: THEIRS };
    let rloc = tunnels.add_rloc(&RlocOptions { ends, realm: Realm(2), mtu: 1500 })?;
    tunnels.set_rlocs(peer, &[rloc])?;
    for n in 0..hosts {
        let tag = tunnels.reserve()?;
        let (host, proxy) = capture::ends(n);
        let services = [Service::ANY];
        let options =
            SessionOptions { peer_tag: n + 1, peer, realm: Realm(1), host, proxy, services: &services };
        tunnels.install(tag, &options, 0)?;
    }
    Ok(())
}

/// Reads the capture of what went into the tunnels, checks every frame (outer headers, tags, time to live, the checksum with the tags
/// for addresses, one packet a flow), and writes that of the answers, shuffled anew.
pub fn check(translated: &Path, flows: u32, answers: &Path) -> Outcome<()> {
    let mut reader = PcapReader::new(BufReader::new(File::open(translated)?))?;
    let (mut seen, mut back) = (HashSet::new(), vec![]);
    while let Some(packet) = reader.next_packet() {
        let frame = packet?.data.into_owned();
        let ip = Ipv4::parse(Link::parse(&frame)?.payload)?;
        let outer = Udp::parse(ip.payload())?;
        let payload = Payload::parse(outer.payload())?;
        let Inner::Ipv4(inner) = payload.inner() else { return Err("no IPv4 packet inside".into()) };
        let tags = payload.header().tag_addresses();
        let restored = [&inner.restore(0, tags)[..], inner.payload()].concat();
        let within = Ipv4::parse(&restored)?;
        let datagram = Udp::parse(within.payload())?;
        let is_right = ip.checksum_is_right()
            && (ip.source(), ip.destination()) == (OWN, THEIRS)
            && outer.destination_port() == 48_001
            && inner.ttl() == 63
            && datagram.checksum_is_right(&within.pseudo_header());
        if !is_right || !seen.insert((tags, datagram.source_port())) {
            return Err(
                format!("a frame did not go into its tunnel rightly: {ip:?} {:?}", payload.header()).into()
            );
        }
        back.push(answer(frame));
    }
    if back.len() != flows as usize {
        return Err(format!("{} of {flows} flows went into tunnels", back.len()).into());
    }
    back.shuffle(&mut StdRng::seed_from_u64(43));
    capture::write(answers, back.into_iter())
}

/// The same the other way round: both pairs of addresses, and the tags, change places; the ports of these flows are the same.
fn answer(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&EDGE_MAC.0);
    for (at, length) in [(26, 4), (OUTSIDE + 4, 4)] {
        let (one, other) = frame[at..at + 2 * length].split_at_mut(length);
        one.swap_with_slice(other);
    }
    frame
}
