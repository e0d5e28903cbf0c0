//! The life of a process: it starts, shows what it does, refuses a second of its kind, and ends when it is told to, or when it
//! is killed.

#[path = "support/bed.rs"]
mod bed;
#[path = "support/capture.rs"]
mod capture;
#[path = "support/cesd.rs"]
mod cesd;
#[path = "support/running.rs"]
mod running;
#[path = "support/telemetry.rs"]
mod telemetry;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bed::Bed;
use ces::packet::build::{self, Ip, Transport};
use ces::packet::{MacAddr, Protocol, ipv4, udp};
use nix::sys::signal::Signal;
use running::{Running, show};
use serde_json::Value;

const ONE: &str = "cores = [0]";
const TWO: &str = "cores = [0, 1]\ndistribute = \"software\"";
/// How long a process may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Empty frames without end by one port, three flows by another.
fn config(workers: &str) -> String {
    format!(
        "[eal]\nhuge_pages = \"none\"\n[workers]\nidle = \"sleep\"\n{workers}\n\
         [[port]]\nname = \"flood\"\ndevice = \"net_null0,size=64\"\n\
         [[port]]\nname = \"hosts\"\ndevice = \"net_pcap0,rx_pcap=hosts.pcap\"\nmac = \"02:00:00:00:00:01\"\n\
         [[port]]\nname = \"sink\"\ndevice = \"net_null1,no-rx=1\"\n\
         [[realm]]\nname = \"noise\"\nside = \"inside\"\n[[realm]]\nname = \"home\"\nside = \"inside\"\n\
         [[realm]]\nname = \"internet\"\nside = \"outside\"\n\
         [[interface]]\nport = \"flood\"\nrealm = \"noise\"\naddresses = [\"10.9.0.1/24\"]\n\
         [[interface]]\nport = \"hosts\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
         [[interface]]\nport = \"sink\"\nrealm = \"internet\"\naddresses = [\"203.0.113.1/24\"]\n\
         [[route]]\nrealm = \"internet\"\nprefix = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n\
         [[neighbor]]\ninterface = \"sink\"\naddress = \"203.0.113.254\"\nmac = \"02:00:00:00:01:fe\"\n\
         [nat44]\ninside = [\"home\"]\noutside = \"internet\"\npool = [\"203.0.113.64/30\"]\n"
    )
}

/// A bed with three hosts, of which each sends two packets.
fn bed(workers: &str) -> Bed {
    let bed = Bed::new();
    let frame = |host: u8| {
        let header =
            ipv4::Header::new(Ipv4Addr::new(10, 0, 0, host), Ipv4Addr::new(198, 51, 100, 7), Protocol::UDP);
        let ports = udp::Header { source_port: 4000, destination_port: 53 };
        let path = build::Path::untagged(MacAddr([2, 0, 0, 0, 0, host]), MacAddr([2, 0, 0, 0, 0, 1]));
        let mut frame = vec![0; 100];
        build::frame(&mut frame, &path, &Ip::V4(header), &Transport::Udp(ports, &[7; 58]))
            .expect("100 bytes");
        frame
    };
    capture::write(&bed.directory.join("hosts.pcap"), &[2, 3, 4, 2, 3, 4].map(frame));
    bed.configure(&config(workers));
    bed
}

/// Asks again until the answer is as wanted.
fn until(what: &str, bed: &Bed, verb: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let answer = show(bed, verb);
        if is_so(&answer) {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {answer:#}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sum(of: &Value, name: &str) -> u64 {
    of["workers"].as_array().expect("workers").iter().map(|w| w[name].as_u64().expect("a count")).sum()
}

#[test]
fn sigterm_and_sigint_end_it_in_the_middle_of_its_work() {
    for (workers, signal) in [(ONE, Signal::SIGTERM), (TWO, Signal::SIGTERM), (TWO, Signal::SIGINT)] {
        let bed = bed(workers);
        let running = Running::start(&bed);
        until("traffic", &bed, &["counters"], |c| sum(c, "rx_packets") > 100_000);
        running.signal(signal);
        assert_eq!(running.end(PATIENCE).code(), Some(0));
        let log = std::fs::read_to_string(bed.directory.join("log")).expect("a log");
        assert!(log.contains("stopped by a signal"), "{log}");
        let socket = bed.directory.join(format!("{}.sock", bed.instance));
        assert!(!socket.exists(), "the socket is removed");
        let dpdk = bed.directory.join(format!("dpdk/ces-{}", bed.instance));
        assert!(!dpdk.exists(), "DPDK's files are removed");
    }
}

#[test]
fn a_second_one_is_refused_and_told_who_runs() {
    let bed = bed(ONE);
    let running = Running::start(&bed);
    let second = cesd::cesd(&bed).output().expect("cesd is there");
    let says = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{says}");
    assert!(says.contains("already running") && says.contains(&bed.instance), "{says}");
    assert!(says.contains(&running.child.id().to_string()), "it names the process: {says}");
    assert_eq!(show(&bed, &["status"])["ready"], true, "the first one is not disturbed");
    // Another configuration of the same instance, and another instance beside it.
    let other = self::bed(ONE);
    let beside = Running::start(&other);
    assert_eq!(show(&other, &["status"])["instance"], other.instance.as_str());
    for running in [running, beside] {
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(PATIENCE).code(), Some(0));
    }
}

#[test]
fn after_sigkill_it_starts_again_at_once() {
    for workers in [ONE, TWO] {
        let bed = bed(workers);
        for _ in 0..3 {
            let running = Running::start(&bed);
            running.signal(Signal::SIGKILL);
            assert_eq!(running.end(PATIENCE).code(), None);
        }
        let running = Running::start(&bed);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(PATIENCE).code(), Some(0));
    }
}

#[test]
fn every_shipped_configuration_is_right() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files = 0;
    for entry in std::fs::read_dir(&directory).expect("configs/") {
        let path = entry.expect("a file").path();
        assert_eq!(path.extension().and_then(|e| e.to_str()), Some("toml"), "{}", path.display());
        let output = Command::new(env!("CARGO_BIN_EXE_cesd")).arg("--check").arg(&path).output();
        let output = output.expect("cesd is there");
        let says = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {says}", path.display());
        assert!(String::from_utf8_lossy(&output.stdout).contains("ok"));
        files += 1;
    }
    assert!(files >= 5, "lab, pcap, null, bench and bare-metal");
    let wrong = Command::new(env!("CARGO_BIN_EXE_cesd")).args(["--check", "Cargo.toml"]).output();
    assert_eq!(wrong.expect("cesd is there").status.code(), Some(2), "and a wrong one is refused");
}

#[test]
fn it_shows_what_it_does() {
    for (workers, count) in [(ONE, 1), (TWO, 2)] {
        let bed = bed(workers);
        let running = Running::start(&bed);
        let counters = until("all packets", &bed, &["counters"], |c| sum(c, "forwarded_packets") == 6);
        assert_eq!(sum(&counters, "sessions_created"), 3);
        let flood = until("a flood", &bed, &["counters"], |c| sum(c, "rx_packets") > 1000);
        let drops = flood["drops"].as_object().expect("drops by name");
        assert!(drops.len() > 30, "every reason has its line");
        let lost: u64 = drops.values().map(|d| d["total"].as_u64().expect("a count")).sum();
        // net_null gives buffers as they were left: some hold what the edge has announced of itself, and more of it
        // than neighbours are listened to.
        let of = |reason: &str| drops[reason]["total"].as_u64().expect("a count");
        assert!(lost > 900 && of("not_for_us") + of("arp_invalid") + of("punt_rate") == lost, "{drops:#?}");

        let status = show(&bed, &["status"]);
        assert_eq!((&status["ready"], &status["instance"]), (&true.into(), &bed.instance.as_str().into()));
        assert_eq!((&status["sessions"], &status["mappings"]), (&3.into(), &3.into()));
        assert_eq!(status["subscribers"], 3);
        let threads = status["workers"].as_array().expect("workers");
        assert_eq!(threads.len(), count);
        assert!(threads.iter().enumerate().all(|(n, w)| w["thread"] == format!("ces-worker-{n}")));
        threads_are_named(running.child.id(), count);

        let ports = show(&bed, &["ports"]);
        let ports = ports.as_array().expect("ports");
        let names: Vec<_> = ports.iter().map(|p| (p["name"].as_str(), p["driver"].as_str())).collect();
        assert_eq!(
            names,
            [
                (Some("flood"), Some("net_null")),
                (Some("hosts"), Some("net_pcap")),
                (Some("sink"), Some("net_null"))
            ]
        );
        assert!(ports[0]["rx_packets"].as_u64() > Some(1000));
        assert_eq!(ports[1]["rx_packets"], 6);
        assert!(ports[2]["tx_packets"].as_u64() >= Some(6), "and what the edge says of its own addresses");
        assert_eq!(ports[1]["mac"], "02:00:00:00:00:01");

        flows_are_shown(&bed);
        let neighbors = show(&bed, &["neighbors"]);
        let neighbors = neighbors.as_array().expect("neighbours");
        assert_eq!(neighbors.len(), 1);
        assert_eq!(
            (&neighbors[0]["address"], &neighbors[0]["state"], &neighbors[0]["mac"]),
            (&"203.0.113.254".into(), &"permanent".into(), &"02:00:00:00:01:fe".into())
        );
        assert_eq!(neighbors[0]["gateway"], true);
        telemetry_agrees(&bed);
        cycles_are_shown(&bed, count);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.end(PATIENCE).code(), Some(0));
    }
}

fn threads_are_named(process: u32, count: usize) {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let names =
        tasks.map(|t| std::fs::read_to_string(t.expect("a thread").path().join("comm")).unwrap_or_default());
    assert_eq!(names.filter(|n| n.starts_with("ces-worker-")).count(), count);
}

fn flows_are_shown(bed: &Bed) {
    let flows = show(bed, &["flows"]);
    assert_eq!((&flows["total_matched"], &flows["truncated"]), (&3.into(), &false.into()));
    let one = show(bed, &["flows", "--host", "10.0.0.3", "--realm", "home"]);
    assert_eq!(one["total_matched"], 1);
    let flow = &one["flows"][0];
    assert_eq!((&flow["inside"], &flow["remote"]), (&"10.0.0.3:4000".into(), &"198.51.100.7:53".into()));
    assert_eq!((&flow["packets_out"], &flow["packets_in"]), (&2.into(), &0.into()));
    assert_eq!((&flow["bytes_out"], &flow["protocol"]), (&200.into(), &"udp".into()));
    let outside = flow["outside"].as_str().expect("an endpoint");
    assert!(outside.starts_with("203.0.113.6"), "{outside}");
    assert_eq!(show(bed, &["flows", "--realm", "noise"])["total_matched"], 0);
    let limited = show(bed, &["flows", "--limit", "2"]);
    assert_eq!((limited["flows"].as_array().map(Vec::len), &limited["truncated"]), (Some(2), &true.into()));
}

/// Where the cycles go: of all since the start, and of a second.
fn cycles_are_shown(bed: &Bed, workers: usize) {
    let total = |shown: &Value, figure: &str, stage: &str| -> u64 {
        let workers = shown["workers"].as_array().expect("workers").iter();
        let stages = workers.flat_map(|worker| worker["stages"].as_array().expect("stages"));
        stages.filter(|s| s["stage"] == stage).map(|s| s[figure].as_u64().expect("a count")).sum()
    };
    let shown = show(bed, &["runtime"]);
    assert_eq!(shown["workers"].as_array().map(Vec::len), Some(workers));
    let received = sum(&show(bed, &["counters"]), "rx_packets");
    let packets = total(&shown, "packets", "receive");
    assert!(packets > 1000 && packets <= received, "{packets} of {received}");
    assert!(total(&shown, "cycles", "slow") > 0, "{shown:#}");
    let second = show(bed, &["runtime", "--interval", "1"]);
    let (elapsed, hertz) = (second["elapsed_ms"].as_u64(), second["hertz"].as_u64());
    assert!(elapsed >= Some(1000) && elapsed < Some(20_000), "{second:#}");
    assert!(hertz > Some(100_000_000), "{second:#}");
    let packets = total(&second, "packets", "receive");
    assert!(packets > 0 && packets < sum(&show(bed, &["counters"]), "rx_packets"), "{second:#}");
    for worker in second["workers"].as_array().expect("workers") {
        let stages = worker["stages"].as_array().expect("stages").iter();
        let cycles: u64 = stages.map(|stage| stage["cycles"].as_u64().expect("a count")).sum();
        // What is being done when it is looked at is in it at its end: at most a time slice, on a machine that has others to do.
        let whole = hertz.unwrap_or(0) / 1000 * elapsed.unwrap_or(0);
        assert!(cycles > whole / 2 && cycles < whole * 3 / 2, "{cycles} of {whole}");
    }
}

/// DPDK's own figures, from its own socket.
fn telemetry_agrees(bed: &Bed) {
    let path = bed.directory.join(format!("dpdk/ces-{}/dpdk_telemetry.v2", bed.instance));
    let answer: Value = serde_json::from_str(&telemetry::ask(&path, "/ethdev/stats,1")).expect("JSON");
    assert_eq!(answer["/ethdev/stats"]["ipackets"], 6, "{answer:#}");
    let answer: Value = serde_json::from_str(&telemetry::ask(&path, "/ethdev/stats,2")).expect("JSON");
    assert!(answer["/ethdev/stats"]["opackets"].as_u64() >= Some(6), "{answer:#}");
}
