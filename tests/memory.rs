//! What state costs: the growth of the process at a million live sessions, each with a mapping of its own or all through a
//! few. What TCP has beside its records counts apart.
//!
//! Everything is allocated and touched at the start, so that the process is as large at its first session as at its last; what
//! is compared are processes with small tables and with large ones, after the same packets.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/running.rs"]
mod running;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::flow::tcp::Window;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{MacAddr, Protocol, ipv4, udp};
use nix::sys::signal::Signal;
use running::{Running, show};

const LIVE: u32 = 1_000_000;
/// Of which a million are 95 %.
const CAPACITY: u32 = 1_052_632;
const EDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// The sizes that make the difference.
struct Sizes {
    sessions: u32,
    mappings: u32,
    pool: &'static str,
}

fn config(sizes: &Sizes) -> String {
    let Sizes { sessions, mappings, pool } = sizes;
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\ncores = [0]\nidle = \"sleep\"\n\
         [[port]]\nname = \"home\"\nmac = \"{EDGE}\"\ndevice = \"net_pcap0,rx_pcap=home.pcap\"\n\
         [[port]]\nname = \"outside\"\ndevice = \"net_null0,no-rx=1\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\nsource_check = \"off\"\n[[realm]]\nname = \"outside\"\nside = \"outside\"\n\
         [[interface]]\nport = \"home\"\nrealm = \"home\"\n\
         [[interface]]\nport = \"outside\"\nrealm = \"outside\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"outside\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"outside\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:01:fe\"\n\
         [flow]\nsessions = {sessions}\n\
         [nat44]\ninside = [\"home\"]\noutside = \"outside\"\npool = [\"{pool}\"]\n\
         mappings = {mappings}\nblocks_per_subscriber = 16\nrandom_seed = 1\n"
    )
}

/// A million UDP packets: the `i`th from `source` to `destination`.
fn capture(bed: &Bed, ends: impl Fn(u32) -> [(Ipv4Addr, u16); 2]) {
    let frames: Vec<Vec<u8>> = (0..LIVE)
        .map(|i| {
            let [source, destination] = ends(i);
            let mut frame = vec![0; 60];
            let transport = Transport::Udp(
                udp::Header { source_port: source.1, destination_port: destination.1 },
                &[0; 18],
            );
            let header = Ip::V4(ipv4::Header::new(source.0, destination.0, Protocol::UDP));
            build::frame(&mut frame, &Path::untagged(MacAddr([2; 6]), EDGE), &header, &transport)
                .expect("60 bytes");
            frame
        })
        .collect();
    capture::write(&bed.directory.join("home.pcap"), &frames);
}

/// Bytes of the process in memory, on huge pages too.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let kilobytes = |key: &str| -> u64 {
        let line = status.lines().find_map(|l| l.strip_prefix(key)).expect("a figure of every process");
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number")
    };
    (kilobytes("VmRSS") + kilobytes("HugetlbPages")) * 1024
}

/// The memory of a process that has seen all packets, and its sessions and mappings.
fn measure(bed: &Bed, sizes: &Sizes) -> (u64, u64, u64) {
    bed.configure(&config(sizes));
    let running = Running::start(bed);
    let start = Instant::now();
    while show(bed, &["counters"])["workers"][0]["rx_packets"] != LIVE {
        assert!(start.elapsed() < Duration::from_secs(120), "the packets are not read");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (bytes, status) = (resident(running.child.id()), show(bed, &["status"]));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end(Duration::from_secs(2)).code(), Some(0));
    let figure = |name: &str| status[name].as_u64().expect("a number");
    (bytes, figure("sessions"), figure("mappings"))
}

#[test]
fn a_million_sessions_cost_what_they_may() {
    let server = Ipv4Addr::new(198, 51, 100, 7);
    let host = |n: u32| Ipv4Addr::from(0x0a00_0100 + n);
    let small = Sizes { sessions: 1024, mappings: 1024, pool: "198.18.0.0" };
    let no_mappings = Sizes { sessions: CAPACITY, ..small };
    // 15,625 hosts of 64 ports each: 16 addresses have 16,128 blocks.
    let all = Sizes { sessions: CAPACITY, mappings: CAPACITY, pool: "198.18.0.0/28" };

    let bed = Bed::new();
    capture(&bed, |i| [(host(0), 1024 + (i % 1000) as u16), (server, 1024 + (i / 1000) as u16)]);
    let (floor, ..) = measure(&bed, &small);
    let (with_sessions, sessions, mappings) = measure(&bed, &no_mappings);
    assert_eq!((sessions, mappings), (LIVE.into(), 1000));
    capture(&bed, |i| [(host(i / 64), 1024 + (i % 64) as u16), (server, 53)]);
    let (with_mappings, sessions, mappings) = measure(&bed, &all);
    assert_eq!((sessions, mappings), (LIVE.into(), LIVE.into()));

    let each = |more: u64, less: u64| more.saturating_sub(less) as f64 / f64::from(LIVE);
    let (session, mapping) = (each(with_sessions, floor), each(with_mappings, with_sessions));
    // What only TCP uses lies apart, one for each half. It is there for as many sessions as fit.
    let cold = (2 * size_of::<Window>()) as f64 * f64::from(CAPACITY) / f64::from(LIVE);
    let hot = session - cold;
    println!(
        "at {LIVE} live of {CAPACITY}: a session {hot:.1} bytes and for TCP {cold:.1} bytes, its mapping {mapping:.1} bytes more"
    );
    assert!(hot > 128.0 && hot <= 160.0, "a session's records and index: {hot:.1} bytes");
    assert!(cold <= 32.0, "what a session has for TCP: {cold:.1} bytes");
    assert!(mapping > 28.0 && mapping <= 48.0, "a mapping with its port: {mapping:.1} bytes");
}
