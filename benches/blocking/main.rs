//! `cargo bench --bench blocking [-- --json]`: how often a set-up succeeds in pools of 5, 16, 64 and 256 addresses, over the
//! offered load, by the real gateway on virtual time, next to the Erlang-B formula.
//!
//! Questions are a Poisson stream; each address is held from the question to the first packet, 50 to 450 ms. The offered load
//! is the rate times the mean of that (in Erlangs). A set-up has succeeded when its first packet was given to its host. Nobody
//! asks twice, and times are not adaptive, since the formula knows neither. Plain FQDNs must be within one percentage point of
//! it; names of services, which share addresses, above it. Otherwise this fails.
//!
//! Writes `target/blocking/blocking.csv` and `blocking.svg`.

mod plot;

use ces::edge::prgw::{
    Carrier, Decision, FirstPacket, Gateway, HostLimits, Options, Proof, Question, Secret, Service, Verdict,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::path::Path;
use std::{fs, process::ExitCode};

const POOLS: [u32; 4] = [5, 16, 64, 256];
/// Offered load, of a pool's addresses.
const LOADS: [f64; 13] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0];
/// Milliseconds for which an address is held.
const HELD: std::ops::Range<f64> = 50.0..450.0;
const SETUPS: u32 = 200_000;
/// Not counted: the pool fills.
const WARM_UP: u32 = 5_000;
/// Services among which those who ask by a service's name choose.
const SERVICES: u16 = 8;
/// Percentage points.
const TOLERANCE: f64 = 1.0;

/// One point of the plot: success in percent.
pub struct Point {
    pub addresses: u32,
    pub erlangs: f64,
    pub fqdn: f64,
    pub sfqdn: f64,
    pub erlang_b: f64,
}

impl Point {
    fn is_as_it_should_be(&self) -> bool {
        // Where nearly all succeed both are at the end of the scale.
        let above = self.sfqdn > self.erlang_b || self.sfqdn > 99.99;
        (self.fqdn - self.erlang_b).abs() <= TOLERANCE && above
    }

    fn csv(&self) -> String {
        let Self { addresses, erlangs, fqdn, sfqdn, erlang_b } = self;
        format!("{addresses},{erlangs},{fqdn:.4},{sfqdn:.4},{erlang_b:.4}\n")
    }

    fn text(&self) -> String {
        format!(
            "{:9} {:9.2} {:11.3} {:11.3} {:+11.3} {:11.3}",
            self.addresses,
            self.erlangs,
            self.erlang_b,
            self.fqdn,
            self.fqdn - self.erlang_b,
            self.sfqdn
        )
    }

    fn json(&self) -> String {
        serde_json::json!({
            "case": "blocking",
            "addresses": self.addresses,
            "erlangs": self.erlangs,
            "success_erlang_b_percent": self.erlang_b,
            "success_fqdn_percent": self.fqdn,
            "success_sfqdn_percent": self.sfqdn,
        })
        .to_string()
    }
}

fn main() -> ExitCode {
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!("set-ups that succeed, in percent; {SETUPS} a point, services: {SERVICES} alike");
        println!("addresses   Erlangs    Erlang-B        FQDN  difference       SFQDN");
    }
    let mut points = vec![];
    for addresses in POOLS {
        for load in LOADS {
            let erlangs = load * f64::from(addresses);
            let point = Point {
                addresses,
                erlangs,
                fqdn: Bed::new(addresses, 0).success(erlangs),
                sfqdn: Bed::new(addresses, SERVICES).success(erlangs),
                erlang_b: 100.0 * (1.0 - erlang_b(addresses, erlangs)),
            };
            println!("{}", if json { point.json() } else { point.text() });
            points.push(point);
        }
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/blocking");
    let header = "addresses,erlangs,fqdn_percent,sfqdn_percent,erlang_b_percent\n";
    let table: String = points.iter().map(Point::csv).collect();
    let written = fs::create_dir_all(&place)
        .and_then(|()| fs::write(place.join("blocking.csv"), header.to_owned() + &table))
        .and_then(|()| fs::write(place.join("blocking.svg"), plot::svg(&POOLS, &points)));
    if let Err(e) = written {
        eprintln!("{}: {e}", place.display());
        return ExitCode::FAILURE;
    }
    let odd: Vec<_> = points.iter().filter(|point| !point.is_as_it_should_be()).collect();
    odd.iter().for_each(|point| eprintln!("not as it should be: {}", point.text()));
    if odd.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The share of calls that `lines` lines refuse at `erlangs` Erlangs (A. K. Erlang, 1917), by its recursion.
fn erlang_b(lines: u32, erlangs: f64) -> f64 {
    (1..=lines).fold(1.0, |blocked, n| erlangs * blocked / (f64::from(n) + erlangs * blocked))
}

/// When a first packet comes, in microseconds; the packet and its host.
type Coming = Reverse<(u64, u32)>;

struct Bed {
    gateway: Gateway,
    services: u16,
    random: StdRng,
    now_us: u64,
    coming: BinaryHeap<Coming>,
    packets: Vec<(FirstPacket, u32)>,
}

impl Bed {
    /// `services`: how many there are to choose from; with none it is all of an address.
    fn new(addresses: u32, services: u16) -> Self {
        let options = Options { sessions: 8, rejects: 8, ..Options::without_defences(addresses) };
        Self {
            gateway: Gateway::new(options, Secret::new([1, 2])),
            services,
            random: StdRng::seed_from_u64(u64::from(addresses)),
            now_us: 0,
            coming: BinaryHeap::new(),
            packets: vec![],
        }
    }

    /// The share of set-ups that succeed, in percent.
    fn success(mut self, erlangs: f64) -> f64 {
        let mean = (HELD.start + HELD.end) / 2.0;
        let gap_us = mean * 1000.0 / erlangs;
        let mut succeeded = 0;
        for n in 0..WARM_UP + SETUPS {
            let gap = -(1.0 - self.random.random::<f64>()).ln() * gap_us;
            let at = self.now_us + gap as u64;
            succeeded += self.deliver(at);
            self.now_us = at;
            self.ask(n);
        }
        succeeded += self.deliver(u64::MAX / 2);
        100.0 * f64::from(succeeded) / f64::from(SETUPS)
    }

    fn ask(&mut self, n: u32) {
        let port = if self.services == 0 { 0 } else { self.random.random_range(1..=self.services) };
        let service = if port == 0 { Service::ALL } else { Service::new(port, 6) };
        let held = self.random.random_range(HELD);
        let question = Question {
            host: n,
            limits: HostLimits::default(),
            service,
            resolver: IpAddr::from((0xcb00_0000 + n % 1000).to_be_bytes()),
            realm: None,
            subnet: None,
            subnet_is_trusted: false,
            proof: Proof::ReturnPath,
            carrier: Carrier::Udp,
        };
        if let Decision::Reserved { address, .. } = self.gateway.question(&question, self.now_us / 1000) {
            let packet = FirstPacket {
                address,
                port: port.max(1),
                protocol: 6,
                source: IpAddr::from((0xc600_0000 + n % 1_000_000).to_be_bytes()),
                source_port: n as u16,
                pure_syn: true,
            };
            self.coming.push(Reverse((self.now_us + (held * 1000.0) as u64, self.packets.len() as u32)));
            self.packets.push((packet, n));
        }
    }

    /// The first packets that come before that time: how many of those that count found their host.
    fn deliver(&mut self, before_us: u64) -> u32 {
        let mut succeeded = 0;
        while let Some(&Reverse((at, n))) = self.coming.peek().filter(|&&Reverse((at, _))| at < before_us) {
            self.coming.pop();
            let (packet, expected) = self.packets[n as usize];
            let verdict = self.gateway.first_packet(&packet, at / 1000);
            let is_there = matches!(verdict, Verdict::Claimed { host, .. } if host == expected);
            assert!(is_there, "whoever has an address reaches its host: {verdict:?}");
            succeeded += u32::from(expected >= WARM_UP);
        }
        succeeded
    }
}
