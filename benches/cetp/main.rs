//! `cargo bench --bench cetp [-- --json] [--case …]`: negotiations between two edges, the work of both counted, on one core; and how
//! long a host waits for one.
//!
//! | case | what is negotiated |
//! |---|---|
//! | `negotiate_lax` | cold, by a policy that asks for nothing: two rounds, since the cookie comes first |
//! | `negotiate_assoc` | the same, in an association of the edges: one round |
//! | `negotiate_strict` | in an association, by a policy that asks for name and CA in a second round |
//! | `negotiate_signed` | in an association, with a signature (Ed25519) |
//! | `setup` | between two real `cesd` whose workers sleep: from a host's question to the answer and to its first packet ([`delay`]) |
//!
//! But for `setup`, messages go from edge to edge in memory, encoded and decoded as on the wire. The hosts' policies are the stand-ins of
//! [`edge`]: what the policy engine costs is not in these figures.

#[path = "../../tests/support/bed.rs"]
mod bed;
/// The program, in the namespace of the DNS that it asks.
mod cesd {
    use std::process::{Command, Stdio};

    use crate::bed::Bed;

    pub fn cesd(bed: &Bed) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &crate::edges::namespace(), env!("CARGO_BIN_EXE_cesd")]);
        command.args(["--config", "cesd.toml"]).current_dir(&bed.directory).stdin(Stdio::null());
        command.env("RUNTIME_DIRECTORY", &bed.directory);
        command
    }
}
mod delay;
mod edge;
mod edges;
#[allow(dead_code, reason = "tests use more of it")]
#[path = "../../tests/support/running.rs"]
mod running;
mod wakeups;

use std::collections::VecDeque;
use std::process::Command;
use std::time::Instant;

use ces::edge::cetp::io::{Now, Output};
use ces::edge::cetp::message::{Fqdn, Service};
use ces::edge::cetp::negotiation::{Cetp, Question, Size};
use ces::edge::cetp::terms::HostKey;

use edge::{Edge, HOSTS, Numbers, rloc};

/// What a message costs on Ethernet beside its bytes: Ethernet, IPv4 and UDP headers.
const HEADERS: u64 = 14 + 20 + 8;

struct Case {
    name: &'static str,
    negotiations: u32,
    set: fn(&mut Edge),
}

const CASES: [Case; 4] = [
    Case { name: "negotiate_lax", negotiations: HOSTS - 1, set: |_| () },
    Case { name: "negotiate_assoc", negotiations: HOSTS - 1, set: |edge| edge.needs_association = true },
    Case {
        name: "negotiate_strict",
        negotiations: HOSTS - 1,
        set: |edge| (edge.needs_association, edge.is_strict) = (true, true),
    },
    Case {
        name: "negotiate_signed",
        negotiations: 10_000,
        set: |edge| (edge.needs_association, edge.is_signed) = (true, true),
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--json");
    let asked = arguments.iter().position(|argument| argument == "--case");
    let asked: Option<Vec<&str>> =
        asked.and_then(|at| arguments.get(at + 1)).map(|list| list.split(',').collect());
    if asked.as_deref() == Some(&[delay::SAMPLE]) {
        return delay::sample();
    }
    let is_known = |name: &&str| *name == SETUP || CASES.iter().any(|case| case.name == *name);
    if let Some(unknown) = asked.iter().flatten().find(|name| !is_known(name)) {
        let names = CASES.map(|case| case.name).join(", ");
        eprintln!("cetp: no case is called {unknown}; there are {names}, {SETUP}");
        std::process::exit(2);
    }
    let is_asked = |name: &str| asked.as_ref().is_none_or(|asked| asked.contains(&name));
    let cases: Vec<&Case> = CASES.iter().filter(|case| is_asked(case.name)).collect();
    // Each in a process of its own: how much that grows is what its sessions take.
    match cases[..] {
        [case] => show(case, &Pair::new(case.set).run(case.negotiations), json),
        _ => cases.iter().for_each(|case| alone(case, json)),
    }
    if is_asked(SETUP) {
        let by_itself = Pair::new(CASES[1].set).run(10_000);
        let warm = by_itself.cpu * 1000.0 / f64::from(by_itself.negotiations);
        delay::run([warm, Pair::new(CASES[1].set).cold()], json);
    }
}

const SETUP: &str = "setup";
/// Negotiations of which each begins with cold caches, and bytes that are touched in between: more than the caches hold.
const COLD: u32 = 500;
const ELSEWHERE: usize = 64 << 20;

fn alone(case: &Case, json: bool) {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--case", case.name]).args(json.then_some("--json"));
    let status = command.status().expect("it starts again");
    assert!(status.success(), "{}: {status}", case.name);
}

/// What a run came to.
struct Run {
    negotiations: u32,
    /// Seconds.
    cpu: f64,
    wall: f64,
    messages: u64,
    /// Of all messages, as CETP has them.
    bytes: u64,
    /// Bytes by which the process grew.
    growth: u64,
}

fn show(case: &Case, run: &Run, json: bool) {
    let each = |of: u64| of as f64 / f64::from(run.negotiations);
    let rate = f64::from(run.negotiations) / run.cpu;
    let (messages, on_the_wire) = (each(run.messages), each(run.bytes + run.messages * HEADERS));
    let state = each(run.growth) / 2.0;
    if json {
        let row = serde_json::json!({
            "case": case.name, "negotiations_per_second": rate.round(), "negotiations": run.negotiations,
            "cpu_seconds": run.cpu, "seconds": run.wall, "messages": messages, "bytes_on_ethernet": on_the_wire.round(),
            "state_bytes_per_session_and_edge": state.round(),
        });
        println!("{row}");
    } else {
        println!(
            "{:17} {rate:>9.0} negotiations a second of CPU time; {messages:.1} messages, {on_the_wire:.0} bytes on Ethernet, \
             {state:.0} bytes a session and edge",
            case.name
        );
    }
}

/// Two edges and the messages between them.
struct Pair {
    houses: [Edge; 2],
    edges: [Cetp; 2],
    /// To whom, and what.
    under_way: VecDeque<(usize, Vec<u8>)>,
    established: u32,
    messages: u64,
    bytes: u64,
}

const NOW: Now = Now { ms: 1_000_000, unix: 0 };

impl Pair {
    fn new(set: fn(&mut Edge)) -> Pair {
        let mut houses = [Edge::new(0), Edge::new(1)];
        houses.iter_mut().for_each(set);
        let size = Size { sessions: HOSTS as usize + 10, peers: 4, tokens: 0 };
        let edges = [0, 1].map(|n| Cetp::new(size, Box::new(Numbers(n)), [n as u8; 32], NOW));
        Pair { houses, edges, under_way: Default::default(), established: 0, messages: 0, bytes: 0 }
    }

    fn run(mut self, negotiations: u32) -> Run {
        // The first sets up the association, where one is needed.
        self.negotiate(negotiations);
        (self.established, self.messages, self.bytes) = (0, 0, 0);
        let (before, start, wall) = (resident(), cpu(), Instant::now());
        (0..negotiations).for_each(|host| self.negotiate(host));
        let (cpu, wall) = (cpu() - start, wall.elapsed().as_secs_f64());
        assert_eq!(self.established, 2 * negotiations, "each has a session at both edges");
        let growth = resident().saturating_sub(before);
        Run { negotiations, cpu, wall, messages: self.messages, bytes: self.bytes, growth }
    }

    /// Milliseconds that one takes, the median, when neither its code nor its data is in a cache, as after a pause in which others ran.
    fn cold(mut self) -> f64 {
        self.negotiate(COLD);
        let mut elsewhere = vec![0_u8; ELSEWHERE];
        let timed = |host| {
            elsewhere.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
            std::hint::black_box(&mut elsewhere);
            let start = Instant::now();
            self.negotiate(host);
            start.elapsed().as_secs_f64() * 1000.0
        };
        let mut times: Vec<f64> = (0..COLD).map(timed).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    fn negotiate(&mut self, host: u32) {
        let name = self.houses[1].names[host as usize].clone();
        let question = Question {
            host: HostKey(host.into()),
            name: Fqdn::new(&name).expect("a name"),
            services: &[Service::ANY],
            edge: Fqdn::new("ces1.example"),
            rlocs: &[rloc(1)],
        };
        let Pair { houses, edges, under_way, established, messages, bytes } = self;
        let mut out = |from: usize, queue: &mut VecDeque<(usize, Vec<u8>)>, output: Output<'_>| match output {
            Output::Send { message, .. } => {
                *messages += 1;
                *bytes += message.len() as u64;
                queue.push_back((1 - from, message.to_vec()));
            }
            Output::Established(_) => *established += 1,
            Output::Refused { backoff, .. } => panic!("{backoff:?}"),
            _ => (),
        };
        edges[0].open(&question, &houses[0], NOW, &mut |output| out(0, under_way, output));
        while let Some((to, message)) = under_way.pop_front() {
            let from = rloc(1 - to);
            edges[to].receive(from, &message, &houses[to], NOW, &mut |output| out(to, under_way, output));
        }
    }
}

/// CPU time of this thread, the only one, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanoseconds = stat.split(' ').next().and_then(|field| field.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e9
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    pages.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok()).expect("a number") * 4096
}
