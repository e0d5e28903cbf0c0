//! `setup`: how long a host waits, between two real `cesd` ([`edges`](crate::edges)), for the address of one behind the other edge, and
//! until its first packet is there.
//!
//! Each sample is a process of its own: its first call finds no association; those after it, a while apart so that everything
//! sleeps, ride on the one that there is by then. Where a name's edge is, its own edge knows beforehand: what that question takes is shown apart.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{Ipv4, Link, MacAddr, Protocol, Udp, ipv4, udp};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::edges::{BENCH, CALLER, EDGE, Edges, HOSTS, INSIDE, host};

const SAMPLES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two calls: everything sleeps as deeply as it does.
const PAUSE: Duration = Duration::from_millis(10);
/// The case of a process that takes one sample.
pub const SAMPLE: &str = "setup_sample";

/// Milliseconds: of questions of where a name is; until the answer and until the first packet, of first calls and of further ones.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Delays {
    naptr: Vec<f64>,
    first: Vec<[f64; 2]>,
    further: Vec<[f64; 2]>,
}

/// Takes all samples and shows what they come to. `by_itself`: milliseconds that a negotiation takes both edges, with warm caches and with
/// cold ones.
pub fn run(by_itself: [f64; 2], json: bool) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("cetp: setup needs root, for a network namespace: left out");
        return;
    }
    let mut all = Delays::default();
    for _ in 0..SAMPLES {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        let output = command.args(["--case", SAMPLE]).stderr(std::process::Stdio::inherit()).output();
        let output = output.expect("it starts again");
        assert!(output.status.success(), "{SAMPLE}: {}", output.status);
        let text = String::from_utf8(output.stdout).expect("text");
        let line = text.lines().last().expect("a line");
        let more: Delays = serde_json::from_str(line).expect("a sample");
        all.naptr.extend(more.naptr);
        all.first.extend(more.first);
        all.further.extend(more.further);
    }
    show("setup_first", &all.first, &all.naptr, by_itself, json);
    show("setup_further", &all.further, &all.naptr, by_itself, json);
}

fn show(case: &str, delays: &[[f64; 2]], naptr: &[f64], [warm, cold]: [f64; 2], json: bool) {
    let of = |at: usize| delays.iter().map(|delay| delay[at]).collect::<Vec<_>>();
    let ([p50, p99], [packet50, packet99], [naptr50, _]) =
        (percentiles(of(0)), percentiles(of(1)), percentiles(naptr.to_vec()));
    if json {
        let row = serde_json::json!({
            "case": case, "calls": delays.len(), "answer_ms_p50": p50, "answer_ms_p99": p99,
            "first_packet_ms_p50": packet50, "first_packet_ms_p99": packet99, "naptr_ms_p50": naptr50,
            "negotiation_ms": warm, "negotiation_cold_ms": cold,
        });
        println!("{row}");
    } else {
        println!(
            "{case:17} answered after {p50:.2} ms (median), {p99:.2} ms (99 %); the first packet there after {packet50:.2} and \
             {packet99:.2} ms; {} calls. NAPTR before it {naptr50:.2} ms; the negotiation by itself {warm:.3} ms, with cold caches {cold:.3}",
            delays.len()
        );
    }
}

fn percentiles(mut delays: Vec<f64>) -> [f64; 2] {
    delays.sort_by(f64::total_cmp);
    [50, 99].map(|p| (delays[(delays.len() * p / 100).min(delays.len() - 1)] * 1000.0).round() / 1000.0)
}

/// One sample, as a line of JSON.
pub fn sample() {
    let mut edges = Edges::start();
    let mut delays = Delays::default();
    let ms = |since: Instant, until: Instant| until.duration_since(since).as_secs_f64() * 1000.0;
    // The links are up once the edge answers.
    let start = Instant::now();
    while ask(&mut edges, "a.alpha.example", RecordType::TXT, Duration::from_millis(200)).is_none() {
        assert!(start.elapsed() < PATIENCE, "the edge does not answer");
    }
    for n in 0..HOSTS {
        let asked = Instant::now();
        let (_, answered) = ask(&mut edges, &host(n), RecordType::NAPTR, PATIENCE).expect("where it is");
        delays.naptr.push(ms(asked, answered));
    }
    for n in 0..HOSTS {
        std::thread::sleep(PAUSE);
        let asked = Instant::now();
        let (answer, answered) = ask(&mut edges, &host(n), RecordType::A, PATIENCE).expect("an answer");
        let address = answer.answers.iter().find_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        let proxy = address.unwrap_or_else(|| panic!("{answer}"));
        let mark = n.to_be_bytes();
        edges.wires[0].send(&datagram((proxy, 7), &mark));
        let is_it = |frame: &[u8]| (payload(frame)? == mark).then_some(());
        let ((), arrived) = edges.wires[1].receive(PATIENCE, is_it).expect("the first packet");
        let delay = [ms(asked, answered), ms(asked, arrived)];
        if n == 0 { delays.first.push(delay) } else { delays.further.push(delay) }
    }
    drop(edges);
    println!("{}", serde_json::to_string(&delays).expect("JSON"));
}

fn ask(edges: &mut Edges, name: &str, kind: RecordType, patience: Duration) -> Option<(Message, Instant)> {
    let id = rand::random();
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    let mut asked = Name::from_ascii(name).expect("a name");
    asked.set_fqdn(true);
    question.add_query(Query::query(asked.clone(), kind));
    let wire = &mut edges.wires[0];
    wire.send(&datagram((EDGE, 53), &question.to_vec().expect("sound")));
    wire.receive(patience, |frame| {
        let message = Message::from_vec(payload(frame)?).ok()?;
        message
            .queries
            .first()
            .is_some_and(|query| *query.name() == asked && query.query_type() == kind)
            .then_some(message)
    })
}

fn datagram(to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mac = |text: &str| text.parse::<MacAddr>().expect("a MAC address");
    let path = Path::untagged(mac(BENCH[0]), mac(INSIDE[0]));
    let ip = Ip::V4(ipv4::Header::new(CALLER, to.0, Protocol::UDP));
    let header = udp::Header { source_port: 5353, destination_port: to.1 };
    let mut frame = vec![0; 1500];
    let length = build::frame(&mut frame, &path, &ip, &Transport::Udp(header, payload)).expect("it fits");
    frame.truncate(length);
    frame
}

/// Of a datagram.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip =
        Ipv4::parse(Link::parse(frame).ok()?.payload).ok().filter(|ip| ip.protocol() == Protocol::UDP)?;
    let (start, end) = (14 + ip.header_length() + 8, 14 + usize::from(ip.total_length()));
    Udp::parse(ip.payload()).ok()?;
    frame.get(start..end)
}
