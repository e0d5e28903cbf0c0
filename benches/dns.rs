//! What the thread of the edge's DNS carries: frames with questions by a ring, and answers by another, as a worker has them.
//!
//! `cargo bench --bench dns -- --json` prints a line of JSON a case: questions a second of the thread's own processor time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ces::config;
use ces::dns::Responder;
use ces::dns::counters::Counters;
use ces::dns::server::Parts;
use ces::dns::thread::{Options, Service};
use ces::edge::thread::Edge;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{MacAddr, Protocol, ipv4, udp};
use ces::ring::frames::{FRAME_MAX, frames};

const HOSTS: usize = 10_000;
const QUESTIONS: usize = 2_000_000;
const RING: usize = 1 << 20;

fn text() -> String {
    let hosts: String = (0..HOSTS)
        .map(|n| {
            let [_, _, high, low] = (n as u32 + 512).to_be_bytes();
            format!("[[host]]\nname = \"h{n}.ces.example\"\nrealm = \"home\"\naddresses = [\"10.0.{high}.{low}\"]\n")
        })
        .collect();
    format!(
        "[instance]\nname = \"bench\"\n[workers]\ncores = [0]\n[[port]]\nname = \"in\"\ndevice = \"net_null0\"\n\
         [[realm]]\nname = \"home\"\nside = \"inside\"\n[[interface]]\nport = \"in\"\nrealm = \"home\"\n\
         addresses = [\"10.0.0.1/8\"]\n[hosts]\n{hosts}[dns]\n[[dns.zones]]\napex = \"ces.example\"\n\
         [[dns.zones.name_servers]]\nname = \"ns1.ces.example\"\naddresses = [\"203.0.113.1\"]\n"
    )
}

/// A frame with a question for the address of host `n`, with EDNS as resolvers ask.
fn question(n: usize) -> Vec<u8> {
    let mut message = vec![(n >> 8) as u8, n as u8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    let label = format!("h{}", n % HOSTS);
    message.push(label.len() as u8);
    message.extend(label.bytes());
    message.extend(b"\x03ces\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0");
    let ip = ipv4::Header::new([198, 51, 100, 53].into(), [203, 0, 113, 1].into(), Protocol::UDP);
    let ports = udp::Header { source_port: 4000, destination_port: 53 };
    let path = Path::untagged(MacAddr([2, 0, 0, 0, 1, 1]), MacAddr([2, 0, 0, 0, 0, 1]));
    let mut frame = vec![0; 200];
    let length = build::frame(&mut frame, &path, &Ip::V4(ip), &Transport::Udp(ports, &message));
    frame.truncate(length.expect("fits"));
    frame
}

/// What the thread of that name has used of a processor.
fn used(thread: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted");
    for task in tasks.flatten() {
        let path = task.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim() == thread {
            let spent = std::fs::read_to_string(path.join("schedstat")).expect("of a living thread");
            let nanoseconds = spent.split(' ').next().and_then(|n| n.parse().ok());
            return Duration::from_nanos(nanoseconds.expect("a number"));
        }
    }
    panic!("no thread {thread}")
}

/// Questions that come by an interface of that realm.
fn measure(case: &str, realm: Option<u16>) {
    let config = config::parse("bench.toml", &text()).unwrap_or_else(|errors| panic!("{errors}"));
    let (dns, hosts) = (config.dns.expect("zones"), config.hosts.expect("hosts"));
    let responder = Responder::new(&dns, &hosts.realms, [7; 16]);
    let edge = Edge::start(hosts, None).expect("it starts");
    let ((mut up, questions), (answers, mut down)) = (frames(RING), frames(RING));
    let service = Service::start(Options {
        server: Parts {
            responder,
            realms: vec![realm],
            changer: None,
            pool: None,
            forwarder: None,
            counters: Arc::new(Counters::default()),
        },
        hosts: Some(edge.reader().clone()),
        from_workers: vec![questions],
        to_workers: vec![answers],
        streams: None,
        rotates: false,
        core: None,
    })
    .expect("it starts");
    let asked: Vec<Vec<u8>> = (0..HOSTS).map(question).collect();
    let mut buffer = vec![0; FRAME_MAX];
    let (mut pushed, mut answered) = (0, 0);
    let (start, before) = (Instant::now(), used("ces-dns"));
    while answered < QUESTIONS {
        // What is on its way down always fits.
        while pushed < QUESTIONS && pushed - answered < 4096 && up.push(0, 0, &[&asked[pushed % HOSTS]]) {
            pushed += 1;
        }
        while down.pop(&mut buffer).is_some() {
            answered += 1;
        }
        std::thread::yield_now();
    }
    let (took, spent) = (start.elapsed(), used("ces-dns") - before);
    assert_eq!((service.counters().udp.get(), service.counters().lost.get()), (QUESTIONS as u64, 0));
    let rate = |time: Duration| (QUESTIONS as f64 / time.as_secs_f64()) as u64;
    if std::env::args().any(|argument| argument == "--json") {
        println!(
            "{{\"case\":\"{case}\",\"questions_per_second\":{},\"questions_per_cpu_second\":{}}}",
            rate(took),
            rate(spent)
        );
    } else {
        println!("{case}: {} questions a second, {} a second of its thread", rate(took), rate(spent));
    }
}

fn main() {
    measure("dns_address", Some(1));
    measure("dns_no_address", None);
}
