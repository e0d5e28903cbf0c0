//! Attacks on virtual time: honest resolvers and clients, who do what they are asked for, beside those who mean harm.

use crate::edge::prgw::{
    Carrier, Decision, FirstPacket, Gateway, HostLimits, Options, Proof, Question, Secret, Service, Verdict,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

const HOSTS: u32 = 200;
const RESOLVERS: u8 = 20;
/// In milliseconds; the world itself counts microseconds, as a flood has many questions a millisecond.
///
/// From a resolver to here and back.
const ROUND_TRIP: u64 = 40;
/// A resolver that hears nothing asks again after so long, so often.
const RESOLVER_WAITS: u64 = 800;
const RESOLVER_TRIES: u8 = 3;

/// Who asks, and what it does with an address.
#[derive(Clone, Copy)]
enum Who {
    /// A known resolver; the client sends a first packet.
    Honest { resolver: u8 },
    /// Any address, a known resolver's among them. Never hears an answer.
    Spoofed,
    /// Its own address: it shows whatever is wanted, and lets every reservation expire.
    Idle,
}

enum Event {
    /// The next question of that kind.
    Next(Who),
    Ask {
        who: Who,
        question: Question,
        tries: u8,
    },
    Packet {
        packet: FirstPacket,
        host: u32,
    },
}

/// Questions a second of each kind.
#[derive(Clone, Copy, Default)]
struct Rates {
    honest: f64,
    spoofed: f64,
    idle: f64,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    asked: u64,
    reached: u64,
}

impl Outcome {
    fn share(&self) -> f64 {
        self.reached as f64 / self.asked as f64
    }
}

struct World {
    gateway: Gateway,
    rates: Rates,
    events: BinaryHeap<Reverse<(u64, usize)>>,
    what: Vec<Option<Event>>,
    random: StdRng,
    /// Microseconds.
    now: u64,
    outcome: Outcome,
    sockets: u16,
}

impl World {
    fn new(options: Options) -> Self {
        Self {
            gateway: Gateway::new(options, Secret::new([5, 6])),
            rates: Rates::default(),
            events: BinaryHeap::new(),
            what: vec![],
            random: StdRng::seed_from_u64(7),
            now: 0,
            outcome: Outcome::default(),
            sockets: 0,
        }
    }

    fn after(&mut self, milliseconds: u64, event: Event) {
        self.after_us(milliseconds * 1000, event);
    }

    fn after_us(&mut self, microseconds: u64, event: Event) {
        self.events.push(Reverse((self.now + microseconds, self.what.len())));
        self.what.push(Some(event));
    }

    /// A Poisson stream; whoever idles does so by the clock.
    fn next(&mut self, who: Who) {
        let rate = match who {
            Who::Honest { .. } => self.rates.honest,
            Who::Spoofed => self.rates.spoofed,
            Who::Idle => self.rates.idle,
        };
        if rate > 0.0 {
            let gap = match who {
                Who::Idle => 1.0,
                _ => -(1.0 - self.random.random::<f64>()).ln(),
            };
            self.after_us((gap * 1e6 / rate) as u64, Event::Next(who));
        }
    }

    /// So many seconds at those rates, and what became of the honest questions in them.
    fn run(&mut self, seconds: u64, rates: Rates) -> Outcome {
        (self.rates, self.outcome, self.what) = (rates, Outcome::default(), vec![]);
        self.events.clear();
        for who in [Who::Honest { resolver: 0 }, Who::Spoofed, Who::Idle] {
            self.next(who);
        }
        let end = self.now + seconds * 1_000_000;
        // Those who asked last get the time that they need.
        while let Some(Reverse((at, n))) = self.events.pop().filter(|&Reverse((at, _))| at < end + 5_000_000)
        {
            self.now = self.now.max(at);
            match self.what[n].take().expect("each is taken once") {
                Event::Next(_) if at >= end => (),
                Event::Next(who) => self.ask_first(who),
                Event::Ask { who, question, tries } => self.ask(who, question, tries),
                Event::Packet { packet, host } => {
                    let verdict = self.gateway.first_packet(&packet, self.now / 1000);
                    let is_there = matches!(verdict, Verdict::Claimed { host: found, .. } if found == host);
                    self.outcome.reached += u64::from(is_there);
                }
            }
        }
        std::mem::take(&mut self.outcome)
    }

    fn ask_first(&mut self, who: Who) {
        self.next(who);
        let known = |n: u8| IpAddr::from([203, 0, 113, n]);
        let (who, resolver) = match who {
            Who::Honest { .. } => {
                self.outcome.asked += 1;
                let resolver = self.random.random_range(0..RESOLVERS);
                (Who::Honest { resolver }, known(resolver))
            }
            Who::Spoofed if self.random.random() => (who, known(self.random.random_range(0..RESOLVERS))),
            Who::Spoofed => (who, IpAddr::from(self.random.random::<u32>().to_be_bytes())),
            Who::Idle => (who, IpAddr::from([192, 0, 2, 66])),
        };
        let host = self.random.random_range(0..HOSTS);
        let (proof, carrier) = (Proof::Nothing, Carrier::Udp);
        let (service, limits, realm, subnet) = (Service::ALL, HostLimits::default(), None, None);
        let subnet_is_trusted = false;
        let question =
            Question { host, limits, service, resolver, realm, subnet, subnet_is_trusted, proof, carrier };
        self.ask(who, question, 1);
    }

    fn ask(&mut self, who: Who, question: Question, tries: u8) {
        let decision = self.gateway.question(&question, self.now / 1000);
        match (who, decision) {
            (Who::Spoofed, _) | (Who::Idle, Decision::Reserved { .. }) => (),
            (Who::Honest { resolver }, Decision::Reserved { address, .. }) => {
                // By way of the resolver, and then by its own way: 40 to 160 ms.
                let delay = ROUND_TRIP + self.random.random_range(0..120);
                self.sockets = self.sockets.wrapping_add(1);
                let source = IpAddr::from([198, 51, 100, resolver]);
                let packet = FirstPacket {
                    address,
                    port: 443,
                    protocol: 6,
                    source,
                    source_port: self.sockets,
                    pure_syn: true,
                };
                self.after(delay, Event::Packet { packet, host: question.host });
            }
            (_, Decision::Demand(proof)) => {
                let carrier = if proof == Proof::Label { question.carrier } else { Carrier::Tcp };
                let rounds = if proof == Proof::LabelByTcp { 3 } else { 2 };
                let question = Question { proof, carrier, ..question };
                self.after(rounds * ROUND_TRIP, Event::Ask { who, question, tries });
            }
            (_, Decision::Silence) if tries < RESOLVER_TRIES => {
                self.after(RESOLVER_WAITS, Event::Ask { who, question, tries: tries + 1 });
            }
            (_, Decision::TryAgain { after }) => {
                let question = Question { carrier: Carrier::TcpAgain, ..question };
                self.after(u64::from(after), Event::Ask { who, question, tries });
            }
            (_, Decision::Silence | Decision::Empty) => (),
        }
    }
}

/// After a quiet time, an attack: what share of the honest questions led to the right host, before and during it.
fn attacked(options: Options, quiet: Rates, attack: Rates) -> (f64, f64) {
    let mut world = World::new(options);
    world.run(120, quiet);
    let before = world.run(60, quiet);
    let during = world.run(60, attack);
    assert!(before.asked > 20 && during.asked > 20);
    (before.share(), during.share())
}

/// A flood of spoofed questions, known resolvers' addresses among them, at a hundred times the honest rate.
#[test]
fn a_flood_of_spoofed_questions_leaves_the_known_working() {
    for (addresses, honest) in [(16, 8.0), (64, 20.0), (256, 60.0)] {
        let quiet = Rates { honest, ..Rates::default() };
        let flood = Rates { spoofed: 100.0 * honest, ..quiet };
        let (before, during) = attacked(Options::new(addresses), quiet, flood);
        println!("{addresses} addresses, {honest} setups/s: {before:.4} before, {during:.4} in the flood");
        assert!(before >= 0.99 && during >= 0.99, "{addresses}: {before}, {during}");
        // Without the defences there is nothing left.
        let (before, during) = attacked(Options::without_defences(addresses), quiet, flood);
        println!("  without defences: {before:.4} before, {during:.4} in the flood");
        assert!(before >= 0.99 && during < 0.30, "{addresses}: {before}, {during}");
    }
}

/// The attack on record: 2.5 questions a second, none claimed, hold five addresses for two seconds each.
#[test]
fn two_and_a_half_questions_a_second_no_longer_hold_five_addresses() {
    let quiet = Rates { honest: 0.5, ..Rates::default() };
    let attack = Rates { idle: 2.5, ..quiet };
    let adaptive = Options { adaptive: true, ..Options::without_defences(5) };
    let cases = [
        ("as it was", Options::without_defences(5), 0.0..0.85),
        ("by adaptive times alone", adaptive, 0.99..1.01),
        ("by all defences", Options::new(5), 0.99..1.01),
    ];
    for (name, options, expected) in cases {
        let (before, during) = attacked(options, quiet, attack);
        println!("{name}: {before:.4} before, {during:.4} in the attack");
        assert!(before >= 0.99 && expected.contains(&during), "{name}: {before}, {during}");
    }
}
