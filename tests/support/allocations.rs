//! No allocation after start: the appliance in this process, over more than a million packets of every kind that makes it
//! work, with an allocator that counts for all threads.
//!
//! Never: sees what libraries in C allocate; those of the fast path are DPDK's, whose pools are made at start.

use std::alloc::System;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use ces::appliance::Appliance;
use ces::config;
use ces::dataplane::WorkerCounters;
use ces::manage::client::Client;
use ces::manage::protocol::Request;
use ces::packet::build;
use ces::packet::checksum::checksum;
use ces::packet::{Arp, DropReason, MacAddr, TcpFlags};
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

use crate::bed::Bed;
use crate::capture;
use crate::packets::{Carried, End, Packet};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EDGE: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 1, 1])];
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const UDP: Carried = Carried::Udp { unsummed: false };

/// Different packets from inside, and how often each comes.
const DIFFERENT: u32 = 65_536;
const TIMES: usize = 24;
const FROM_OUTSIDE: u32 = 100_000;
const PACKETS: u64 = DIFFERENT as u64 * TIMES as u64 + FROM_OUTSIDE as u64;

/// UDP sessions are over after a second, so that the sweep has something to do.
fn config(bed: &Bed, cores: &str) -> String {
    let directory = bed.directory.display();
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = {cores}\nidle = \"sleep\"\ndistribute = \"software\"\n\
         [[port]]\nname = \"home\"\nmac = \"{}\"\ndevice = \"net_pcap0,rx_pcap={directory}/home.pcap\"\n\
         [[port]]\nname = \"outside\"\nmac = \"{}\"\ndevice = \"net_pcap1,rx_pcap={directory}/outside.pcap\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"outside\"\nside = \"outside\"\n\
         [[interface]]\nport = \"home\"\nrealm = \"home\"\naddresses = [\"10.255.255.254/8\"]\n\
         [[interface]]\nport = \"outside\"\nrealm = \"outside\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"198.51.100.0/24\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:01:fe\"\n\
         [flow]\nsessions = 131_072\nneighbors = 512\n\
         [nat44]\ninside = [\"home\"]\noutside = \"outside\"\npool = [\"203.0.113.64/29\"]\nrandom_seed = 1\n\
         [nat44.timeouts]\nudp = 1\nicmp = 1\n",
        EDGE[0], EDGE[1]
    )
}

/// The `i`th packet from inside: most make a session each, of 4,096 hosts.
fn from_inside(i: u32) -> Vec<u8> {
    let [_, a, b, c] = (i / 16).to_be_bytes();
    let host: End = (Ipv4Addr::new(10, a, b, c), 1024 + (i % 16) as u16);
    let public = (Ipv4Addr::new(203, 0, 113, 64 + (i / 16 % 8) as u8), 1024 + (i / 16) as u16);
    let edge = (Ipv4Addr::new(10, 255, 255, 254), 0);
    let packet = |to: End, carried| Packet::new(host, to, carried, b"0123456789abcdef0123");
    let syn = Carried::Tcp { flags: TcpFlags::SYN, options: vec![] };
    let packet = match i % 16 {
        0..8 => packet((SERVER, 53), UDP),
        8..12 => packet((SERVER, 443), syn),
        12 => {
            Packet { destination: (SERVER, 0), ..packet((SERVER, 0), Carried::EchoRequest { sequence: 1 }) }
        }
        13 => Packet { ip_options: vec![148, 4, 0, 0], ..packet((SERVER, 53), UDP) },
        14 => packet(public, UDP),
        _ => match i / 16 % 4 {
            0 => Packet { ttl: 1, ..packet((SERVER, 53), UDP) },
            1 => packet(edge, Carried::EchoRequest { sequence: 1 }),
            2 if i.is_multiple_of(5) => packet((SERVER, 0), Carried::Raw(47)),
            2 => packet((Ipv4Addr::new(203, 0, 113, 128 + (i / 64 % 64) as u8), 53), UDP),
            _ => return arp(Arp::request(HOST, host.0, edge.0), EDGE[0]),
        },
    };
    let mut frame = packet.frame(HOST, EDGE[0]);
    if i % 32 == 29 {
        fragment(&mut frame, i & 32 == 0);
    }
    frame
}

/// Makes the first fragment of a packet with four bytes of IP options, or a later one.
fn fragment(frame: &mut [u8], first: bool) {
    frame[17] = 24 + 24;
    frame[20..22].copy_from_slice(&(0x2000 | if first { 0_u16 } else { 3 }).to_be_bytes());
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..38]);
    frame[24..26].copy_from_slice(&sum.to_ne_bytes());
}

/// The `i`th from outside: strangers that meet mappings, answers to hosts that ARP must find, noise.
fn from_outside(i: u32) -> Vec<u8> {
    let n = i.wrapping_mul(2_654_435_761);
    let public = (Ipv4Addr::new(203, 0, 113, 64 + (n % 8) as u8), (n >> 16) as u16);
    let packet =
        |carried| Packet::new((SERVER, 53), public, carried, b"0123456789abcdef0123").frame(HOST, EDGE[1]);
    match i % 16 {
        15 => arp(Arp::request(HOST, Ipv4Addr::new(203, 0, 113, 200), public.0), EDGE[1]),
        14 => packet(Carried::EchoReply { sequence: 1 }),
        13 => packet(Carried::Tcp { flags: TcpFlags::SYN, options: vec![] }),
        _ => packet(UDP),
    }
}

fn arp(message: Arp, to: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; 60];
    build::arp(&mut frame, &build::Path::untagged(HOST, to), &message).expect("42 bytes");
    frame
}

fn write(path: &Path, frames: &[Vec<u8>], times: usize) {
    capture::write(path, std::iter::repeat_n(frames, times).flatten());
}

fn counts(stats: &Stats) -> [usize; 3] {
    [stats.allocations, stats.reallocations, stats.deallocations]
}

/// The counts once the threads that are no workers have nothing to do any more: the management thread runs, for it has
/// answered, and for a while nobody allocates.
fn settled(socket: &Path) -> Stats {
    Client::connect(socket).and_then(|mut client| client.ask(&Request::Status {})).expect("an answer");
    for _ in 0..500 {
        let before = COUNTING.stats();
        std::thread::sleep(Duration::from_millis(20));
        if counts(&COUNTING.stats()) == counts(&before) {
            return before;
        }
    }
    panic!("somebody allocates all the time")
}

/// Runs the appliance with these workers; every assertion is in here.
pub fn none_after_start(cores: &str) {
    let bed = Bed::new();
    let inside: Vec<_> = (0..DIFFERENT).map(from_inside).collect();
    write(&bed.directory.join("home.pcap"), &inside, TIMES);
    let outside: Vec<_> = (0..FROM_OUTSIDE).map(from_outside).collect();
    write(&bed.directory.join("outside.pcap"), &outside, 1);
    let path = bed.configure(&config(&bed, cores));
    let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    let socket = config.manage.socket.clone();
    let appliance = Appliance::start(config).unwrap_or_else(|error| panic!("{error}"));
    let sum = |of: fn(&WorkerCounters) -> u64| appliance.counters().iter().map(|c| of(c)).sum::<u64>();
    let wait = |what: &str, is_done: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_done() {
            assert!(start.elapsed() < Duration::from_secs(60), "still waiting for {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait("every worker's first round", &|| appliance.counters().iter().all(|c| c.polls.get() > 0));
    let (before, read) = (settled(&socket), sum(|c| c.rx_packets.get()));
    wait("a million packets", &|| sum(|c| c.rx_packets.get()) == PACKETS);
    wait("the sweep", &|| sum(|c| c.sessions_removed.get()) > 5_000);
    let after = COUNTING.stats();
    let (made, received) = (sum(|c| c.sessions_created.get()), sum(|c| c.rx_packets.get()));
    let fragments = sum(|c| {
        let reasons = [DropReason::Ipv4FragmentsFull, DropReason::Ipv4FragmentDuplicate];
        reasons.iter().map(|&why| c.drops[why as usize].get()).sum()
    });
    let summary = appliance.stop();
    println!("{summary}");
    assert!(received - read > 1_000_000, "{read} of the packets were read before the count began");
    assert!(made > 10_000, "{made} sessions were made");
    assert_eq!(counts(&after), counts(&before), "allocations, reallocations, deallocations");
    assert!(fragments > 1000, "{fragments} fragments have met others");
    // Of two workers the one that reads may outrun the other.
    assert!(summary.forwarded_packets > 50_000, "{summary}");
}
