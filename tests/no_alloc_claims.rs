//! Two workers never allocate while the circular pool is at work: first packets go up to the thread that has it, its commands come
//! back, sessions are made, told of and ended, packets delivered and refused; nor does that thread. In a file of its own: DPDK
//! starts once in a process.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/packets.rs"]
mod packets;

use std::alloc::System;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::appliance::Appliance;
use ces::config;
use ces::dataplane::WorkerCounters;
use ces::edge::prgw::{Carrier, CircularPool, Decision, Proof, Question, Service};
use ces::manage::client::Client;
use ces::manage::protocol::Request;
use ces::packet::checksum::checksum;
use ces::packet::{DropReason, MacAddr, TcpFlags};
use packets::{Carried, End, Packet};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const OUTSIDE: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 1, 0xfe]);
const ADDRESSES: u32 = 64;
const HOSTS: u32 = 64;
/// Different packets, which come again and again.
const FRAMES: u32 = 4096;
/// Sessions that are made, and end, while nobody may allocate.
const ENOUGH: u64 = 2000;
const UDP: Carried = Carried::Udp { unsummed: false };

fn config(bed: &Bed) -> String {
    let directory = bed.directory.display();
    let host = |n| {
        let name = format!("h{n}.ces.example");
        format!("[[host]]\nname = \"{name}\"\nrealm = \"home\"\naddresses = [\"10.0.0.{}\"]\n", n + 2)
    };
    let neighbor = |n| {
        format!(
            "[[neighbor]]\ninterface = \"home\"\naddress = \"10.0.0.{}\"\nmac = \"02:00:00:00:00:02\"\n",
            n + 2
        )
    };
    let (hosts, neighbors): (String, String) = (0..HOSTS).map(|n| (host(n), neighbor(n))).unzip();
    // Nobody is asked who he is, and what was rejected may soon come again.
    let tiers = "[[prgw.tiers]]\nproof = \"nothing\"\nasker = 0\nsource = 0\n".repeat(4);
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = [0, 1]\nidle = \"sleep\"\ndistribute = \"software\"\n\
         [[port]]\nname = \"home\"\ndevice = \"net_null0,no-rx=1\"\n\
         [[port]]\nname = \"outside\"\nmac = \"{OUTSIDE}\"\ndevice = \"net_pcap0,rx_pcap={directory}/outside.pcap,infinite_rx=1\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"home\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"outside\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.254\"\nmac = \"{GATEWAY}\"\n{neighbors}\
         [flow]\nsessions = 65_536\n\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.16\"]\n\
         [nat44.timeouts]\nudp = 1\nicmp = 1\n\
         [hosts]\npending_reservations = 64\nreservations_per_second = 1_000_000\n{hosts}\
         [prgw]\npool = [\"203.0.113.64/26\"]\nadaptive = false\nper_resolver = 64\nrejects = 1024\n\
         first_packets_per_second = 10_000_000\nfirst_packets_per_source_per_second = 10_000_000\n{tiers}"
    )
}

/// To the pool's addresses in turns: connections that open and end, datagrams, whole and in pieces, echoes, and others.
fn frames() -> Vec<Vec<u8>> {
    let frames = (0..FRAMES).flat_map(|i| {
        let kind = i / ADDRESSES % 8;
        let client: End = (Ipv4Addr::from(0xc633_6400 + i / 8 % 256), 1024 + i as u16);
        let address = Ipv4Addr::new(203, 0, 113, 64 + (i % ADDRESSES) as u8);
        let packet = |port, carried, length: usize| {
            let text = vec![7; length];
            Packet::new(client, (address, port), carried, &text).frame(GATEWAY, OUTSIDE)
        };
        match kind {
            0 => vec![packet(443, Carried::Tcp { flags: TcpFlags::SYN, options: vec![] }, 0)],
            1 => vec![packet(443, Carried::Tcp { flags: TcpFlags::FIN | TcpFlags::ACK, options: vec![] }, 0)],
            2 => vec![packet(0, Carried::EchoRequest { sequence: 1 }, 20)],
            3 => vec![packet(0, Carried::Raw(47), 20)],
            4 => in_two(&packet(53, UDP, 200), i as u16),
            5 => vec![packet(0, Carried::EchoReply { sequence: 1 }, 20)],
            _ => vec![packet(53, UDP, 20)],
        }
    });
    frames.collect()
}

/// A packet without IP options in two pieces, of 104 bytes of payload and the rest.
fn in_two(frame: &[u8], identification: u16) -> Vec<Vec<u8>> {
    let (head, payload) = frame.split_at(34);
    let piece = |data: &[u8], flags_and_offset: u16| {
        let mut piece = [head, data].concat();
        piece[16..18].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
        piece[18..20].copy_from_slice(&identification.to_be_bytes());
        piece[20..22].copy_from_slice(&flags_and_offset.to_be_bytes());
        piece[24..26].fill(0);
        let sum = checksum(&piece[14..34]);
        piece[24..26].copy_from_slice(&sum.to_ne_bytes());
        piece
    };
    vec![piece(&payload[..104], 0x2000), piece(&payload[104..], 13)]
}

/// Questions for a while, and what the pool's thread does, until there is enough or the time is over.
fn ask(pool: &mut dyn CircularPool, start: Instant, most: Duration, is_enough: &dyn Fn() -> bool) -> u32 {
    let (begin, mut reserved) = (Instant::now(), 0);
    let now = || start.elapsed().as_millis() as u64;
    let resolver = Ipv4Addr::new(192, 0, 2, 9).into();
    while begin.elapsed() < most && !is_enough() {
        for n in 0..16 {
            let question = Question {
                host: n % HOSTS,
                limits: Default::default(),
                service: Service::ALL,
                resolver,
                realm: None,
                subnet: None,
                subnet_is_trusted: false,
                proof: Proof::LabelByTcp,
                carrier: Carrier::Udp,
            };
            reserved += u32::from(matches!(pool.question(&question, now()), Decision::Reserved { .. }));
        }
        for _ in 0..4 {
            pool.turn(now());
            std::thread::sleep(Duration::from_micros(500));
        }
    }
    reserved
}

#[test]
fn two_workers_and_the_pools_thread() {
    let bed = Bed::new();
    capture::write(&bed.directory.join("outside.pcap"), frames().iter());
    let config = config::load(&bed.configure(&config(&bed))).unwrap_or_else(|errors| panic!("{errors}"));
    let socket = config.manage.socket.clone();
    let mut appliance = Appliance::start(config).unwrap_or_else(|error| panic!("{error}"));
    let mut pool = appliance.take_circular_pool().expect("a circular pool");
    let sum = |of: &dyn Fn(&WorkerCounters) -> u64| appliance.counters().iter().map(|c| of(c)).sum::<u64>();
    let start = Instant::now();
    // What threads make for themselves once, they make now; and the management thread has nothing else to do.
    ask(pool.as_mut(), start, Duration::from_millis(500), &|| false);
    Client::connect(&socket).and_then(|mut client| client.ask(&Request::Status {})).expect("an answer");
    ask(pool.as_mut(), start, Duration::from_millis(500), &|| false);

    let made = || sum(&|c| c.sessions_created.get());
    let ended = || sum(&|c| c.sessions_removed.get());
    let drops = |why: DropReason| sum(&|c| c.drops[why as usize].get());
    let (before, first) = (COUNTING.stats(), (made(), ended()));
    let enough = || made() - first.0 >= ENOUGH && ended() - first.1 >= ENOUGH;
    let reserved = ask(pool.as_mut(), start, Duration::from_secs(60), &enough);
    let after = COUNTING.stats();
    let (made, ended) = (made() - first.0, ended() - first.1);
    let (rejected, unasked) = (drops(DropReason::PrgwRejected), drops(DropReason::PrgwNothingWaits));
    drop(pool);
    let summary = appliance.stop();
    println!("{reserved} reserved, {made} sessions made, {ended} ended\n{summary}");
    let counts = |stats: stats_alloc::Stats| [stats.allocations, stats.reallocations, stats.deallocations];
    assert_eq!(counts(after), counts(before), "allocations, reallocations, deallocations");
    assert!(made >= ENOUGH && ended >= ENOUGH, "{made} made, {ended} ended");
    assert!(rejected > 1000 && unasked > 1000, "{rejected} rejected, {unasked} not asked for");
    assert!(summary.forwarded_packets > made, "{summary}");
}
