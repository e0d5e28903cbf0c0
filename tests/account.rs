//! Where the workers' cycles go, by the account that is always on: bursts through the appliance in this process, and what each stage
//! had of them. Each test runs in a process of its own, because DPDK starts once in a process.

#[path = "support/alone.rs"]
mod alone;
#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use alone::alone;
use bed::Bed;
use ces::appliance::Appliance;
use ces::config;
use ces::dataplane::{Stage, WorkerCounters};
use ces::dpdk::cycles;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{DropReason, MacAddr, Protocol, ipv4, ipv6, udp};

const EDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Those of the capture, and of them those that are not for the edge.
const PACKETS: u64 = 235;
const STRAY: u64 = 3;

fn config(bed: &Bed, workers: &str) -> String {
    let directory = bed.directory.display();
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"home\"\nmac = \"{EDGE}\"\ndevice = \"net_pcap0,rx_pcap={directory}/home.pcap\"\n\
         [[port]]\nname = \"outside\"\ndevice = \"net_null0,no-rx=1\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"outside\"\nside = \"outside\"\n\
         [[interface]]\nport = \"home\"\nrealm = \"home\"\naddresses = [\"10.255.255.254/8\", \"2001:db8:1::1/64\"]\n\
         [[interface]]\nport = \"outside\"\nrealm = \"outside\"\naddresses = [\"203.0.113.1/24\", \"2001:db8:2::1/64\"]\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"::/0\"\nvia = \"2001:db8:2::fe\"\n\
         [[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:01:fe\"\n\
         [[neighbor]]\ninterface = \"outside\"\naddress = \"2001:db8:2::fe\"\nmac = \"02:00:00:00:01:fe\"\n\
         [flow]\nsessions = 4096\n[nat44]\ninside = [\"home\"]\noutside = \"outside\"\npool = [\"203.0.113.64/29\"]\n\
         [ipv6]\ninside = [\"home\"]\noutside = \"outside\"\n"
    )
}

/// A packet of the `i`th of many flows.
fn frame(ip: Ip<'_>, i: u16) -> Vec<u8> {
    let ports = udp::Header { source_port: 4000 + i, destination_port: 53 };
    let mut frame = vec![0; 100];
    let length = build::frame(&mut frame, &Path::untagged(HOST, EDGE), &ip, &Transport::Udp(ports, &[7; 20]));
    frame.truncate(length.expect("100 bytes"));
    frame
}

fn v4(i: u16) -> Vec<u8> {
    let (from, to) = (Ipv4Addr::new(10, 0, 0, i as u8), Ipv4Addr::new(198, 51, 100, 7));
    frame(Ip::V4(ipv4::Header::new(from, to, Protocol::UDP)), i)
}

fn v6(i: u16) -> Vec<u8> {
    let from = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 1, i);
    let to = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 7);
    frame(Ip::V6(ipv6::Header::new(from, to, Protocol::UDP)), i)
}

/// A packet between others.
fn stray(i: u16) -> Vec<u8> {
    let mut frame = v4(i);
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame
}

/// Four bursts: 64 open sessions, 64 are of these, 32 of these and 32 open sessions of IPv6, 32 of those, 8 and the stray ones.
fn frames() -> Vec<Vec<u8>> {
    let (all, half) = (1..65, 1..33);
    all.clone()
        .chain(all)
        .chain(half.clone())
        .map(v4)
        .chain(half.clone().chain(half).map(v6))
        .chain((1..9).map(v4))
        .chain((0..STRAY as u16).map(stray))
        .collect()
}

/// Calls and packets of a stage.
fn of(counters: &WorkerCounters, stage: Stage) -> (u64, u64) {
    let stage = &counters.stages[stage as usize];
    (stage.calls.get(), stage.packets.get())
}

fn all_cycles(counters: &WorkerCounters) -> u64 {
    counters.stages.iter().map(|stage| stage.cycles.get()).sum()
}

/// Has workers take the frames; what holds for any of them is judged here, the rest by `judge`.
fn run(workers: &str, judge: impl Fn(&[&WorkerCounters])) {
    let bed = Bed::new();
    capture::write(&bed.directory.join("home.pcap"), &frames());
    let path = bed.configure(&config(&bed, workers));
    let config = config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
    let begin = cycles();
    let appliance = Appliance::start(config).unwrap_or_else(|error| panic!("{error}"));
    let shared = appliance.counters().to_vec();
    let counters: Vec<&WorkerCounters> = shared.iter().map(|counters| &**counters).collect();
    let sum = |of: fn(&WorkerCounters) -> u64| counters.iter().map(|c| of(c)).sum::<u64>();
    let start = Instant::now();
    let settled = || sum(|c| c.forwarded_packets.get() + c.drops[DropReason::NotForUs as usize].get());
    while settled() < PACKETS {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", settled());
        std::thread::sleep(Duration::from_millis(1));
    }
    let look = || (cycles(), counters.iter().map(|c| all_cycles(c)).collect::<Vec<_>>());
    let (then, earlier) = look();
    std::thread::sleep(Duration::from_millis(400));
    let (now, later) = look();
    let summary = appliance.stop();
    let end = cycles();
    for (earlier, later) in earlier.iter().zip(&later) {
        assert!((later - earlier) * 2 > now - then, "nearly all of its cycles, whatever it does");
    }
    for worker in &counters {
        assert!(all_cycles(worker) <= end - begin, "no more than there were");
        for stage in Stage::ALL {
            let cycles = worker.stages[stage as usize].cycles.get();
            assert_eq!(of(worker, stage).0 > 0, cycles > 0, "{}: {cycles}", stage.name());
        }
        assert_eq!(of(worker, Stage::Idle), (worker.empty_polls.get(), 0));
        for stage in [Stage::Asleep, Stage::Timers] {
            let (calls, packets) = of(worker, stage);
            assert!(calls > 0 && packets == 0, "{}", stage.name());
        }
        for stage in [Stage::OutOfTunnels, Stage::Control] {
            assert_eq!(of(worker, stage), (0, 0), "{}", stage.name());
        }
        let dropped: u64 = worker.drops.iter().map(|count| count.get()).sum();
        let left = worker.tx_packets.get() + worker.handed_off.get() + dropped;
        assert_eq!(of(worker, Stage::Transmit).1, left, "{summary}");
    }
    judge(&counters);
}

#[test]
fn one_worker() {
    alone("one_worker", || {
        run("cores = [0]", |counters| {
            let of = |stage| of(counters[0], stage);
            assert_eq!(of(Stage::Receive), (4, PACKETS));
            assert_eq!(of(Stage::Ipv4), (4, PACKETS));
            assert_eq!(of(Stage::Ipv6), (2, 64));
            assert_eq!(of(Stage::Slow), (3, 96 + STRAY), "those that open sessions, and the stray ones");
            let (calls, packets) = of(Stage::Transmit);
            assert!(
                calls >= 4 && packets >= PACKETS,
                "those of the bursts, and what the edge says of itself"
            );
            assert_eq!([of(Stage::HandOff), of(Stage::TakeOver)], [(0, 0); 2]);
        });
    });
}

#[test]
fn two_workers() {
    alone("two_workers", || {
        run("cores = [0, 1]\ndistribute = \"software\"", |counters| {
            let sum = |stage| {
                let packets = counters.iter().map(|worker| of(worker, stage).1);
                packets.sum::<u64>()
            };
            assert_eq!(sum(Stage::Receive), PACKETS);
            assert_eq!(sum(Stage::HandOff), PACKETS, "each is looked at, whosever it is");
            let handed: u64 = counters.iter().map(|worker| worker.handed_off.get()).sum();
            assert!(handed > 50, "{handed}");
            assert_eq!(sum(Stage::TakeOver), handed);
        });
    });
}
