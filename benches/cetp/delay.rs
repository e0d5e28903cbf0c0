//! `setup`: how long a host waits, between two real `cesd` ([`edges`](crate::edges)), for the address of one behind the other edge, and
//! until its first packet is there.
//!
//! Each sample is a process of its own: its first call finds no association; those after it ride on the one that there is by then. How long
//! everything has slept before a call counts: caches go cold meanwhile, so the further ones come after a pause of each length in turn, and what
//! the wake-ups take by themselves after such a pause stands beside it ([`wakeups`]). Where a name's edge is, its own edge knows beforehand:
//! what that question takes is shown apart. Making the question and reading the answer are the host's, and not counted.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{Ipv4, Link, MacAddr, Protocol, Udp, ipv4, udp};
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::edges::{BENCH, CALLER, EDGE, Edges, HOSTS, INSIDE, host};
use crate::wakeups;

const SAMPLES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a call, in turn: everything sleeps as deeply as it does; everything sleeps; the call before has just been answered.
const PAUSES: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(1), Duration::ZERO];
/// The case of a process that takes one sample.
pub const SAMPLE: &str = "setup_sample";

/// Milliseconds: of questions of where a name is; until the answer and until the first packet, of first calls and of further ones, by the
/// pause before.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Delays {
    naptr: Vec<f64>,
    first: Vec<[f64; 2]>,
    further: [Vec<[f64; 2]>; PAUSES.len()],
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
        all.further.iter_mut().zip(more.further).for_each(|(all, more)| all.extend(more));
    }
    show("setup_first", PAUSES[0], &all.first, &all.naptr, by_itself, json);
    for (pause, delays) in PAUSES.into_iter().zip(&all.further) {
        show("setup_further", pause, delays, &all.naptr, by_itself, json);
    }
}

fn show(case: &str, pause: Duration, delays: &[[f64; 2]], naptr: &[f64], [warm, cold]: [f64; 2], json: bool) {
    let (wakeups, pause) = (wakeups::by_themselves(pause), pause.as_millis());
    let of = |at: usize| delays.iter().map(|delay| delay[at]).collect::<Vec<_>>();
    let ([p50, p99], [packet50, packet99], [naptr50, _]) =
        (percentiles(of(0)), percentiles(of(1)), percentiles(naptr.to_vec()));
    if json {
        let row = serde_json::json!({
            "case": case, "pause_ms": pause, "calls": delays.len(), "answer_ms_p50": p50, "answer_ms_p99": p99,
            "first_packet_ms_p50": packet50, "first_packet_ms_p99": packet99, "naptr_ms_p50": naptr50,
            "wakeups_ms_p50": wakeups, "negotiation_ms": warm, "negotiation_cold_ms": cold,
        });
        println!("{row}");
    } else {
        println!(
            "{case:13} {pause:2} ms after the one before: answered after {p50:.2} ms (median), {p99:.2} ms (99 %); the first packet there after {packet50:.2} and \
             {packet99:.2} ms; {} calls. NAPTR before it {naptr50:.2} ms; its wake-ups \
             by themselves {wakeups:.2} ms; the negotiation by itself {warm:.3} ms, with cold caches {cold:.3}",
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
        let (_, [asked, answered]) =
            ask(&mut edges, &host(n), RecordType::NAPTR, PATIENCE).expect("where it is");
        delays.naptr.push(ms(asked, answered));
    }
    for n in 0..HOSTS {
        let turn = n as usize % PAUSES.len();
        std::thread::sleep(PAUSES[turn]);
        let (answer, [asked, answered]) =
            ask(&mut edges, &host(n), RecordType::A, PATIENCE).expect("an answer");
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
        if n == 0 { delays.first.push(delay) } else { delays.further[turn].push(delay) }
    }
    drop(edges);
    println!("{}", serde_json::to_string(&delays).expect("JSON"));
}

/// The answer, and when the question was sent and the answer there.
fn ask(
    edges: &mut Edges,
    name: &str,
    kind: RecordType,
    patience: Duration,
) -> Option<(Message, [Instant; 2])> {
    let id = rand::random();
    let mut question = Message::new(id, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    let mut asked = Name::from_ascii(name).expect("a name");
    asked.set_fqdn(true);
    question.add_query(Query::query(asked.clone(), kind));
    let wire = &mut edges.wires[0];
    let frame = datagram((EDGE, 53), &question.to_vec().expect("sound"));
    let sent = Instant::now();
    wire.send(&frame);
    let (answer, answered) = wire.receive(patience, |frame| {
        let message = Message::from_vec(payload(frame)?).ok()?;
        message
            .queries
            .first()
            .is_some_and(|query| *query.name() == asked && query.query_type() == kind)
            .then_some(message)
    })?;
    Some((answer, [sent, answered]))
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
