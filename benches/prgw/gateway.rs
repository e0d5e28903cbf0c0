//! The gateway by itself: reservations, claims and expiries a second of CPU time (tiers, limits, reputations, sessions and rejects), at
//! pool sizes 5, 256 and 65,536.
//!
//! In turns four of five addresses are reserved, and then all of them claimed, or all of them expire. Questions come from many
//! resolvers for many hosts, first packets from many networks; they are prepared a batch at a time, so that what is measured is the
//! gateway's memory and not the bench's. What is prepared is not timed, nor is what reading the clock takes; what else ran on
//! the core meanwhile is taken out by the thread's own CPU time over the whole run.

use ces::edge::prgw::{
    Carrier, Decision, FirstPacket, Gateway, HostLimits, Options, Proof, Question, Secret, Service, Verdict,
};
use nix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const SIZES: [u32; 3] = [5, 256, 65_536];
const WINDOW: Duration = Duration::from_millis(1500);
const CEILING: u64 = 2000;
const RESOLVERS: u32 = 4096;
const HOSTS: u32 = 100_000;
/// Services that share addresses, where it is about those.
const SERVICES: u32 = 16;
/// Questions, or first packets, that are prepared at a time.
const BATCH: usize = 256;

/// A line for each size.
pub fn run(json: bool) {
    let clock = clock_cost();
    for services in [false, true] {
        for addresses in SIZES {
            let row = Bed::new(addresses, services).measure(clock);
            println!("{}", if json { row.json() } else { row.text() });
        }
    }
}

/// Nanoseconds of CPU time that this thread has had.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock");
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// Nanoseconds between two looks at the clock with nothing between them.
fn clock_cost() -> f64 {
    let mut costs: Vec<_> =
        (0..10_000).map(|_| black_box(Instant::now()).elapsed().as_nanos() as f64).collect();
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// How often something was done, and how long it took.
#[derive(Clone, Copy, Default)]
struct Spent {
    times: u64,
    ns: f64,
}

impl Spent {
    fn of(&mut self, times: usize, clock: f64, work: impl FnOnce()) {
        let start = Instant::now();
        work();
        self.ns += (start.elapsed().as_nanos() as f64 - clock).max(0.0);
        self.times += times as u64;
    }
}

struct Row {
    addresses: u32,
    services: bool,
    /// Of the time that passed, this thread had the core.
    share: f64,
    reserve: Spent,
    claim: Spent,
    expire: Spent,
}

impl Row {
    fn per_second(&self, spent: &Spent) -> f64 {
        spent.times as f64 / (spent.ns * self.share) * 1e9
    }

    fn names(&self) -> &'static str {
        if self.services { "sfqdn" } else { "fqdn" }
    }

    fn text(&self) -> String {
        format!(
            "prgw, {:5} addresses, {:5}: {:9.0} reservations, {:9.0} claims, {:9.0} expiries a second of CPU time",
            self.addresses,
            self.names(),
            self.per_second(&self.reserve),
            self.per_second(&self.claim),
            self.per_second(&self.expire),
        )
    }

    fn json(&self) -> String {
        serde_json::json!({
            "case": "prgw",
            "addresses": self.addresses,
            "names": self.names(),
            "reservations_per_second": self.per_second(&self.reserve).round(),
            "claims_per_second": self.per_second(&self.claim).round(),
            "expiries_per_second": self.per_second(&self.expire).round(),
            "reservations": self.reserve.times,
            "claims": self.claim.times,
            "expiries": self.expire.times,
        })
        .to_string()
    }
}

struct Bed {
    gateway: Gateway,
    services: bool,
    now: u64,
    /// Any number, and the next one.
    random: u32,
    questions: Vec<Question>,
    waiting: Vec<Waiting>,
    packets: Vec<(FirstPacket, u32)>,
}

/// What a first packet is to know of a reservation.
struct Waiting {
    address: u32,
    host: u32,
    port: u16,
}

impl Bed {
    fn new(addresses: u32, services: bool) -> Self {
        // What holds askers back is asked for, and lets them pass: it is to be measured, too.
        let options = Options {
            per_host: u32::MAX,
            per_host_per_second: 1_000_000,
            per_resolver: u32::MAX,
            tiers: Options::without_defences(addresses).tiers,
            adaptive: false,
            ..Options::new(addresses)
        };
        let gateway = Gateway::new(options, Secret::new([11, 12]));
        let (questions, waiting, packets) = (vec![], vec![], vec![]);
        Self { gateway, services, now: 0, random: 1, questions, waiting, packets }
    }

    fn measure(mut self, clock: f64) -> Row {
        let [mut reserve, mut claim, mut expire] = [Spent::default(); 3];
        let warm = Instant::now();
        while warm.elapsed() < WINDOW / 4 {
            self.turn(clock, &mut Spent::default(), &mut Spent::default(), &mut Spent::default());
        }
        let (start, cpu) = (Instant::now(), cpu_ns());
        while start.elapsed() < WINDOW {
            self.turn(clock, &mut reserve, &mut claim, &mut expire);
        }
        let share = (cpu_ns() - cpu) / start.elapsed().as_nanos() as f64;
        let addresses = self.gateway.load().1;
        Row { addresses, services: self.services, share: share.min(1.0), reserve, claim, expire }
    }

    /// Reserves and claims, reserves and lets expire.
    fn turn(&mut self, clock: f64, reserve: &mut Spent, claim: &mut Spent, expire: &mut Spent) {
        self.now += 1;
        self.reserve_all(clock, reserve);
        for from in (0..self.waiting.len()).step_by(BATCH) {
            self.send(from);
            claim.of(self.packets.len(), clock, || self.claim());
        }
        self.now += 1;
        self.reserve_all(clock, reserve);
        self.now += CEILING;
        expire.of(self.waiting.len(), clock, || self.gateway.advance(self.now));
        assert_eq!(self.gateway.load().0, 0, "all are gone");
    }

    /// Four of five addresses.
    fn reserve_all(&mut self, clock: f64, spent: &mut Spent) {
        self.waiting.clear();
        let mut left = self.gateway.load().1 as usize * 4 / 5;
        while left > 0 {
            self.ask(left.min(BATCH));
            spent.of(self.questions.len(), clock, || self.reserve());
            left -= self.questions.len();
        }
    }

    fn next(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.random >> 4
    }

    /// Prepares so many questions.
    fn ask(&mut self, times: usize) {
        self.questions.clear();
        for _ in 0..times {
            let (host, n) = (self.next() % HOSTS, self.next());
            let service = Service::new((1 + n % SERVICES) as u16, 6);
            self.questions.push(Question {
                host,
                limits: HostLimits::default(),
                service: if self.services { service } else { Service::ALL },
                resolver: IpAddr::from((0xcb00_0000 + n % RESOLVERS).to_be_bytes()),
                realm: None,
                subnet: None,
                subnet_is_trusted: false,
                proof: Proof::LabelByTcp,
                carrier: Carrier::Tcp,
            });
        }
    }

    fn reserve(&mut self) {
        for question in &self.questions {
            let Decision::Reserved { address, .. } = self.gateway.question(question, self.now) else {
                panic!("a fifth of the pool is free")
            };
            self.waiting.push(Waiting { address, host: question.host, port: question.service.port });
        }
    }

    /// Prepares the first packets of a batch.
    fn send(&mut self, from: usize) {
        self.packets.clear();
        for n in from..(from + BATCH).min(self.waiting.len()) {
            let source = self.next();
            let Waiting { address, host, port } = self.waiting[n];
            let packet = FirstPacket {
                address,
                port: port.max(1),
                protocol: 6,
                source: IpAddr::from((0xc600_0000 + (source % RESOLVERS) * 256).to_be_bytes()),
                source_port: source as u16,
                pure_syn: true,
            };
            self.packets.push((packet, host));
        }
    }

    fn claim(&mut self) {
        for (packet, expected) in &self.packets {
            let verdict = self.gateway.first_packet(packet, self.now);
            let is_right = matches!(verdict, Verdict::Claimed { host, .. } if host == *expected);
            assert!(is_right, "{verdict:?}");
        }
    }
}
