//! Askers and clients: a closed loop of so many questions under way, each of its own resolver, for so many seconds.
//!
//! The generator shares the machine with `cesd`: how many are under way decides how long each waits, not what each costs. So the
//! delay of a set-up is measured with one under way.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ces::dpdk::Burst;
use ces::packet::build::{self, Ip, Path, Transport};
use ces::packet::{MacAddr, Protocol, ipv4, udp};

use crate::edge::{Edge, HOME, HOSTS, OUTSIDE, OWN, ROUTER, SERVER, name};

const WINDOW: usize = 1024;
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
/// After this long without an answer something is lost, and counted so.
const LOST: Duration = Duration::from_millis(500);
/// Where UDP's payload begins.
const PAYLOAD: usize = 14 + 20 + 8;
const A: u16 = 1;
const NAPTR: u16 = 35;

/// `dns`: how other edges find this one (NAPTR of each host), asked with EDNS.
pub fn dns(edge: &mut Edge, json: bool) {
    let mut load = Load::new(edge, NAPTR, WINDOW);
    let run = load.run(WARM_UP, MEASURED);
    let rate = run.done as f64 / run.cpu;
    if json {
        let row = serde_json::json!({
            "case": "dns", "questions_per_second": rate.round(), "answered": run.done, "lost": run.lost,
            "seconds": run.wall, "control_cpu_seconds": run.cpu,
        });
        println!("{row}");
    } else {
        println!(
            "dns: {rate:.0} questions a second of control CPU time; {} answered in {:.1} s, {:.2} s of CPU, {} lost",
            run.done, run.wall, run.cpu, run.lost
        );
    }
}

/// `setup`: an address by name, and the first packet to it comes out at the host.
pub fn setup(edge: &mut Edge, json: bool) {
    let busy = Load::new(edge, A, WINDOW).run(WARM_UP, MEASURED);
    let mut alone = Load::new(edge, A, 1).run(Duration::from_millis(200), Duration::from_secs(2));
    alone.delays.sort_unstable();
    let percentile =
        |p: usize| alone.delays.get(alone.delays.len() * p / 100).copied().unwrap_or(0) as f64 / 1e3;
    let (rate, p50, p99) = (busy.done as f64 / busy.cpu, percentile(50), percentile(99));
    if json {
        let row = serde_json::json!({
            "case": "setup", "setups_per_second": rate.round(), "set_up": busy.done, "lost": busy.lost,
            "without_address": busy.empty, "seconds": busy.wall, "control_cpu_seconds": busy.cpu,
            "delay_us_p50": p50, "delay_us_p99": p99,
        });
        println!("{row}");
    } else {
        println!(
            "setup: {rate:.0} set-ups a second of control CPU time; {} in {:.1} s, {:.2} s of CPU, {} lost, {} without an \
             address; one at a time {p50:.0} us (median), {p99:.0} us (99 %)",
            busy.done, busy.wall, busy.cpu, busy.lost, busy.empty
        );
    }
}

/// What a run came to.
#[derive(Default)]
struct Run {
    done: u64,
    lost: u64,
    /// Answers without an address.
    empty: u64,
    wall: f64,
    cpu: f64,
    /// Nanoseconds from the question to the end.
    delays: Vec<u64>,
}

/// One thing under way: asked since, in which round, and what waits for it.
struct Slot {
    since: Instant,
    round: u32,
    questions: Vec<Vec<u8>>,
}

struct Load<'e> {
    edge: &'e mut Edge,
    record_type: u16,
    slots: Vec<Slot>,
    /// Counts clients: each set-up has one of its own.
    clients: u32,
    out: Burst,
    run: Run,
}

impl<'e> Load<'e> {
    fn new(edge: &'e mut Edge, record_type: u16, window: usize) -> Self {
        // Each slot asks for a few hosts in turn.
        let each = HOSTS as usize / window.max(256);
        let slot = |n: usize| Slot {
            since: Instant::now(),
            round: 0,
            questions: (0..each).map(|k| question(n as u16, (n * each + k) as u32, record_type)).collect(),
        };
        let slots = (0..window).map(slot).collect();
        Self { edge, record_type, slots, clients: 0, out: Burst::new(), run: Run::default() }
    }

    fn run(&mut self, warm_up: Duration, measured: Duration) -> Run {
        (0..self.slots.len()).for_each(|n| self.ask(n));
        self.go_on(warm_up);
        self.run = Run::default();
        let (start, cpu) = (Instant::now(), self.edge.control_seconds());
        self.go_on(measured);
        self.run.wall = start.elapsed().as_secs_f64();
        self.run.cpu = self.edge.control_seconds() - cpu;
        std::mem::take(&mut self.run)
    }

    fn go_on(&mut self, duration: Duration) {
        let start = Instant::now();
        let (mut burst, mut looked) = (Burst::new(), start);
        while start.elapsed() < duration {
            let mut got = self.edge.wires[OUTSIDE].rx.receive(&mut burst);
            for mbuf in burst.drain(..) {
                self.answered(mbuf.data());
            }
            got += self.edge.wires[HOME].rx.receive(&mut burst);
            for mbuf in burst.drain(..) {
                self.arrived(mbuf.data());
            }
            self.flush();
            if looked.elapsed() > LOST / 4 {
                looked = Instant::now();
                self.ask_again();
            }
            if got == 0 {
                std::thread::yield_now();
            }
        }
    }

    fn ask(&mut self, n: usize) {
        let slot = &mut self.slots[n];
        (slot.since, slot.round) = (Instant::now(), slot.round + 1);
        let frame = &slot.questions[slot.round as usize % slot.questions.len()];
        push(self.edge, &mut self.out, frame);
    }

    fn ask_again(&mut self) {
        for n in 0..self.slots.len() {
            if self.slots[n].since.elapsed() > LOST {
                self.run.lost += 1;
                self.ask(n);
            }
        }
    }

    fn done(&mut self, n: usize) {
        self.run.done += 1;
        self.run.delays.push(self.slots[n].since.elapsed().as_nanos() as u64);
        self.ask(n);
    }

    /// A frame from the edge to the outside.
    fn answered(&mut self, frame: &[u8]) {
        let Some(message) = frame.get(PAYLOAD..).filter(|_| frame[14 + 9] == 17) else { return };
        let Some(&[a, b, flags, code, _, _, c, d, ..]) = message.first_chunk::<12>() else { return };
        let n = usize::from(u16::from_be_bytes([a, b]));
        if flags & 0x80 == 0 || n >= self.slots.len() {
            return;
        }
        match (code & 15, u16::from_be_bytes([c, d]), self.record_type) {
            (0, 1.., NAPTR) => self.done(n),
            (0, 1.., _) => match first_address(message) {
                Some(address) => self.first_packet(n, address),
                None => self.run.empty += 1,
            },
            // It is asked for again when its time is over.
            _ => self.run.empty += 1,
        }
    }

    /// A client that nobody has seen before sends to that address.
    fn first_packet(&mut self, n: usize, address: Ipv4Addr) {
        self.clients += 1;
        let client = Ipv4Addr::from(u32::from_be_bytes([20, 0, 0, 0]) + self.clients % (1 << 22));
        let mark = [(n as u32).to_be_bytes(), self.slots[n].round.to_be_bytes()].concat();
        let frame = datagram((client, 40_000), (address, 7), &mark);
        push(self.edge, &mut self.out, &frame);
    }

    /// A frame from the edge to the host.
    fn arrived(&mut self, frame: &[u8]) {
        let Some(&[a, b, c, d, e, f, g, h]) = frame.get(PAYLOAD..).and_then(<[u8]>::first_chunk) else {
            return;
        };
        let (n, round) = (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]));
        if self.slots.get(n).is_some_and(|slot| slot.round == round) {
            self.done(n);
        }
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.edge.wires[OUTSIDE].tx.send(&mut self.out);
            // What the link does not take is lost, and asked for again.
            self.out.clear();
        }
    }
}

fn push(edge: &mut Edge, out: &mut Burst, frame: &[u8]) {
    if out.is_full() {
        edge.wires[OUTSIDE].tx.send(out);
        out.clear();
    }
    out.extend(edge.pool.alloc_copy(frame));
}

/// The address of an answer's first record, which stands behind the one question.
fn first_address(message: &[u8]) -> Option<Ipv4Addr> {
    let mut at = 12;
    while *message.get(at)? != 0 {
        at += 1 + usize::from(message[at]);
    }
    // The question's end; then a pointer, type, class, TTL, length.
    let record = message.get(at + 5..)?;
    let [0xc0, _, 0, 1, 0, 1, _, _, _, _, 0, 4, a, b, c, d] = *record.first_chunk::<16>()? else {
        return None;
    };
    Some(Ipv4Addr::new(a, b, c, d))
}

fn question(id: u16, host: u32, record_type: u16) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 1]].concat();
    for label in name(host).split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend([record_type.to_be_bytes(), [0, 1]].concat());
    // OPT (RFC 6891 section 6.1.2): 1,232 bytes, no options.
    message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let resolver = Ipv4Addr::from(u32::from_be_bytes([30, 0, 0, 0]) + host);
    datagram((resolver, 5353), (SERVER.into(), 53), &message)
}

fn datagram(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mac = |text: &str| text.parse::<MacAddr>().expect("a constant address");
    let path = Path::untagged(mac(ROUTER[OUTSIDE]), mac(OWN[OUTSIDE]));
    let header = ipv4::Header::new(from.0, to.0, Protocol::UDP);
    let transport = udp::Header { source_port: from.1, destination_port: to.1 };
    let mut frame = vec![0; 1514];
    let length = build::frame(&mut frame, &path, &Ip::V4(header), &Transport::Udp(transport, payload));
    frame.truncate(length.expect("it fits").max(60));
    frame
}
