//! The process under measurement where hosts have sessions with hosts behind another edge: the worker of `cesd`, made as `cesd` makes
//! it from its configuration, with those sessions put in; and its captures.
//!
//! Each host has one session, with the host that its packets are for, and all of them lead to the one edge. The tags follow from the
//! configured seed: those of the run that makes the captures are those of the runs that are measured.

use crate::bed::Outcome;
use crate::capture::{self, EDGE_MAC};
use ces::appliance::{assemble, plan};
use ces::config;
use ces::dataplane::{Worker, WorkerCounters};
use ces::dpdk::Eal;
use ces::flow::Realm;
use ces::flow::tunnel::{Ends, RlocOptions, Service, SessionOptions, Tunnels};
use ces::packet::cetp::{Inner, Payload};
use ces::packet::{Ipv4, Link, Udp};
use pcap_file::pcap::PcapReader;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What the parent says on the command line.
pub struct Tunnelling {
    pub config: PathBuf,
    pub hosts: u32,
    /// Flows that are to live before it is ready; 0 for a run to the end of its input.
    pub flows: u64,
}

impl Tunnelling {
    pub fn arguments(&self) -> [String; 3] {
        [self.config.display().to_string(), self.hosts.to_string(), self.flows.to_string()]
    }

    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let config = arguments.next()?.into();
        Some(Self { config, hosts: arguments.next()?.parse().ok()?, flows: arguments.next()?.parse().ok()? })
    }
}

fn install(tunnels: &mut Tunnels, hosts: u32) -> Outcome<()> {
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

/// Runs until standard input ends, or its own input does; answers each line with what was counted so far.
pub fn run(own: Tunnelling) -> Outcome<()> {
    let config = config::load(&own.config)?;
    let mut options = plan::eal(&config, &plan::cores(&config.workers)?);
    options.extra_args.push("--log-level=*:error".into());
    let eal = Eal::init(options)?;
    let mut parts = assemble::assemble(&config, &eal)?;
    let (mut tunnels, _rings) = parts.tunnels.take().ok_or("no tunnels are configured")?;
    install(&mut tunnels, own.hosts)?;
    let worker = parts.workers.remove(0);
    let lcore = eal.launch(plan::lcore(0), &plan::thread_name(0), move || Worker::new(worker).run())?;
    let counters = &parts.counters[0];
    if own.flows == 0 {
        while !parts.control.input_is_over() {
            std::thread::sleep(Duration::from_millis(10));
        }
    } else {
        while counters.sessions_created.get() < own.flows {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("ready");
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            println!("{}", line(counters));
        }
    }
    parts.control.stop();
    lcore.join();
    Ok(())
}

/// Packets sent, packets dropped, flows that live.
fn line(counters: &WorkerCounters) -> String {
    let drops: u64 = counters.drops.iter().map(|d| d.get()).sum();
    let flows = counters.sessions_created.get() - counters.sessions_removed.get();
    format!("{} {drops} {flows}", counters.tx_packets.get())
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
