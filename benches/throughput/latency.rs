//! `latency`: how long packets stay in the edge, by open loop. Each has a time at which it is due, whatever has become of those before
//! it: a queue that is full, and a generator that is late, count as its waiting.
//!
//! ```text
//! generator ─► ring ─► worker ─► ring ─► generator      one core sends what is due and takes what has come, the other works
//! ```
//!
//! The load is a share of what the two cores reach together when the ring is kept full, which frames that change cores bound: the row
//! says how busy the worker is by its own account. Every packet must come back. Who shares the machine takes a core away now and then,
//! and what has queued meanwhile goes at a tenth of the worker's pace where the load is nine tenths of it: so beside the percentiles of
//! all packets stands the p99 of a quiet slice.
//!
//! `sweep` asks the same at 90 %, alone, beside eight million sessions more that live, and while those expire.

use crate::bed::{Case, Kind, Outcome};
use crate::capture::{self, Load};
use crate::generator::Traffic;
use crate::round;
use crate::setup::Place;
use crate::template::Template;
use crate::turns::Spread;
use ces::appliance::{assemble, plan};
use ces::config;
use ces::dataplane::account::Stage;
use ces::dataplane::{RxSide, Worker, WorkerCounters};
use ces::dpdk::{BURST, Burst, Eal, Pool, PoolOptions, Port, PortOptions, RxQueue, TxQueue, cycles};
use hdrhistogram::Histogram;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// In per cent of what is reached.
const LOADS: [u32; 3] = [50, 90, 99];
/// And where there are sessions beside.
const BESIDE_LOAD: u32 = 90;
/// Until those are opened, and have expired.
const PATIENCE: Duration = Duration::from_secs(180);
const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(1);
const FLOWS: u32 = 1024 * capture::PORTS_PER_HOST;
/// The generator's ring, in the place of a port that receives nothing; the other is a port of the configuration.
const INTO: &str = "net_ring0";
const SOURCE: usize = 0;
const SINK: usize = 2;
/// Packets between the generator's both ends: as many as the ring back takes, whatever the worker does.
const IN_FLIGHT: u64 = 1024 - 2 * BURST as u64;
/// Where a frame has the time at which it was due: behind addresses and ports, which are all that is translated.
const STAMP: std::ops::Range<usize> = 48..56;
const CHECKSUM: std::ops::Range<usize> = 40..42;
/// Short beside a second, and thousands of packets.
const SLICE: Duration = Duration::from_millis(2);
/// Fewer packets have no p99.
const LEAST: usize = 1000;
/// The quiet slice is the last of so many hundredths, in the order of their p99.
const QUIET: usize = 10;

/// How long packets have waited, in cycles.
#[derive(Default)]
struct Waits {
    /// One after the other. After the first second there is room for another without a system call.
    each: Vec<u32>,
    /// Where slices end.
    ends: Vec<usize>,
}

impl Waits {
    fn clear(&mut self) {
        self.each.clear();
        self.ends.clear();
    }

    fn histogram(&self) -> Outcome<Histogram<u64>> {
        let mut histogram = Histogram::new(3)?;
        self.each.iter().try_for_each(|wait| histogram.record(u64::from(*wait)))?;
        Ok(histogram)
    }

    /// Of a quiet slice.
    fn quiet_p99(&self) -> Option<u64> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let slices = starts.zip(&self.ends).map(|(start, end)| &self.each[start..*end]);
        let p99 = |slice: &[u32]| *slice.to_vec().select_nth_unstable(slice.len() / 100 * 99).1;
        let mut p99s: Vec<u32> = slices.filter(|slice| slice.len() >= LEAST).map(p99).collect();
        p99s.sort_unstable();
        p99s.get(p99s.len() * QUIET / 100).copied().map(u64::from)
    }
}

/// What the parent says on the command line.
pub struct Latency {
    config: PathBuf,
    flows: u32,
    /// Sessions more, which nobody uses once they are open.
    beside: u32,
    hertz: f64,
}

impl Latency {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let config = arguments.next()?.into();
        let mut number = || arguments.next()?.parse::<u32>().ok();
        let (flows, beside) = (number()?, number()?);
        Some(Self { config, flows, beside, hertz: arguments.next()?.parse().ok()? })
    }
}

/// `latency`.
pub fn latency(place: &Place<'_>, json: bool) -> Outcome<()> {
    start(place, 0, "", json)
}

/// `sweep`'s: beside so many sessions, which expire after `idle` seconds.
pub fn beside(place: &Place<'_>, sessions: u32, idle: u32, json: bool) -> Outcome<()> {
    start(place, sessions, &format!("[nat44.timeouts]\nudp = {idle}\n"), json)
}

/// Starts the process under measurement; it prints the rows.
fn start(place: &Place<'_>, beside: u32, more: &str, json: bool) -> Outcome<()> {
    let directory = place.directory.into();
    let flows = FLOWS + beside;
    let case = Case { kind: Kind::Nat44, load: Load::SMALL, directory, flows, cores: vec![place.core] };
    let config = place.directory.join("latency.toml");
    let ports = [
        ("in-source", "net_null2,no-rx=1".to_owned()),
        ("in-sink", "net_null0,no-rx=1".into()),
        ("out-sink", "net_ring1".into()),
    ];
    std::fs::write(&config, case.config("bench-latency", 16_383, &ports, "") + more)?;
    let output = Command::new(std::env::current_exe()?)
        .arg("--latency")
        .args([config.display().to_string(), FLOWS.to_string(), beside.to_string(), place.hertz.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let row: serde_json::Value = serde_json::from_str(line)?;
        let us = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        match json {
            true => println!("{line}"),
            false => println!(
                "{} at {} % of {:.2} Mpps (worker {:.0} % busy), {FLOWS} flows{}: p50 {:.1} µs, p99 {:.1} ({:.1}-{:.1}), p99.9 {:.1}, max {:.0}; p99 while quiet {:.1}; medians of {}",
                row["case"].as_str().unwrap_or(""),
                row["load_percent"],
                us("capacity_mpps"),
                us("worker_busy_percent"),
                row["others"].as_str().map_or(String::new(), |others| format!(", {beside} others {others}")),
                us("p50_us"),
                us("p99_us"),
                us("p99_us_least"),
                us("p99_us_most"),
                us("p999_us"),
                us("max_us"),
                us("p99_us_quiet"),
                row["rounds"],
            ),
        }
    }
    if output.status.success() { Ok(()) } else { Err(format!("latency: {}", output.status).into()) }
}

/// The process under measurement.
pub fn run(latency: Latency) -> Outcome<()> {
    let config = config::load(Path::new(&latency.config))?;
    let layout = plan::cores(&config.workers)?;
    let mut options = plan::eal(&config, &layout);
    options.vdevs.push(INTO.into());
    options.extra_args.push("--log-level=*:error".into());
    let eal = Eal::init(options)?;
    let mut pool = PoolOptions::new("generator", 16_383);
    pool.data_room = config.eal.mbuf_data_room;
    let pool = Pool::new(&eal, &pool)?;
    let (_port, mut rx, mut tx) = Port::start(&eal, &PortOptions::new(INTO), &pool)?;
    let mut parts = assemble::assemble(&config, &eal)?;
    let mut worker = parts.workers.remove(0);
    let source = worker.rx.iter_mut().find(|side| side.port == SOURCE).ok_or("no source is configured")?;
    *source = RxSide { queue: rx.remove(0), port: SOURCE, rate: None };
    let sink = worker.rx.iter().position(|side| side.port == SINK).ok_or("no sink is configured")?;
    let arrived = worker.rx.remove(sink).queue;
    let lcore = eal.launch(plan::lcore(0), &plan::thread_name(0), move || Worker::new(worker).run())?;
    let bench = Bench {
        template: Template::new(capture::datagram(
            (Ipv4Addr::UNSPECIFIED, 0),
            (Ipv4Addr::UNSPECIFIED, 0),
            None,
        )),
        traffic: Traffic {
            held: latency.flows,
            fresh_percent: 0,
            sessions_per_mapping: 1,
            fresh_live: 0,
            fresh_per_second: 0,
            fresh_total: 0,
        },
        pool: &pool,
        into: &mut tx[0],
        arrived,
        hertz: latency.hertz,
        first: 0,
        count: latency.flows,
        flow: 0,
        waits: Waits::default(),
    };
    let measured = bench.measure(&parts.counters[0], latency.beside);
    parts.control.stop();
    lcore.join();
    measured
}

struct Bench<'a> {
    template: Template,
    traffic: Traffic,
    pool: &'a Pool,
    into: &'a mut TxQueue,
    arrived: RxQueue,
    hertz: f64,
    /// The flows that are sent of, and the place among them.
    first: u32,
    count: u32,
    flow: u32,
    /// Of the last drive.
    waits: Waits,
}

/// What a second of a load was like.
struct Round {
    rate: f64,
    busy: f64,
    /// In microseconds: p50, p99, p99.9, the most, and p99 of a quiet slice.
    waited: [f64; 5],
}

/// A row of medians.
fn row(case: &str, others: Option<&str>, load: u32, capacity: f64, flows: u32, rounds: &[Round]) -> String {
    let of = |value: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(value).collect());
    let [p50, p99, p999, max, quiet] = [0, 1, 2, 3, 4].map(|n| of(&|round| round.waited[n]));
    let mut row = serde_json::json!({
        "case": case,
        "load_percent": load,
        "flows": flows,
        "frame_bytes": crate::FRAME_BYTES,
        "capacity_mpps": round(capacity / 1e6),
        "mpps": round(of(&|round| round.rate).0 / 1e6),
        "worker_busy_percent": round(of(&|round| round.busy).0),
        "p50_us": round(p50.0),
        "p99_us": round(p99.0),
        "p99_us_least": round(p99.1),
        "p99_us_most": round(p99.2),
        "p999_us": round(p999.0),
        "max_us": round(max.0),
        "p99_us_quiet": round(quiet.0),
        "rounds": rounds.len(),
    });
    if let Some(others) = others {
        row["others"] = others.into();
    }
    row.to_string()
}

impl Bench<'_> {
    fn measure(mut self, counters: &WorkerCounters, beside: u32) -> Outcome<()> {
        // Each flow's session is opened, and everything is warm.
        self.drive(None, WINDOW)?;
        let flows = self.count;
        let sessions = counters.sessions_created.get();
        if sessions != u64::from(flows) {
            return Err(format!("{sessions} sessions of {flows}").into());
        }
        let reached: Outcome<Vec<f64>> = (0..ROUNDS).map(|_| self.drive(None, WINDOW)).collect();
        let capacity = Spread::of(reached?).0;
        if beside > 0 {
            return self.measure_beside(counters, beside, capacity);
        }
        for load in LOADS {
            let rounds = self.rounds(counters, capacity * f64::from(load) / 100.0)?;
            println!("{}", row("latency", None, load, capacity, flows, &rounds));
        }
        Ok(())
    }

    /// Alone, beside `others` that live, and while those expire.
    fn measure_beside(mut self, counters: &WorkerCounters, others: u32, capacity: f64) -> Outcome<()> {
        let (flows, rate) = (self.count, capacity * f64::from(BESIDE_LOAD) / 100.0);
        let print = |what, rounds: &[Round]| {
            println!("{}", row("sweep_latency", Some(what), BESIDE_LOAD, capacity, flows, rounds));
        };
        print("not there yet", &self.rounds(counters, rate)?);
        let (start, all) = (Instant::now(), u64::from(flows + others));
        let is_late = |what: &str| match start.elapsed() > PATIENCE {
            true => Err(format!("{what}: {} created", counters.sessions_created.get())),
            false => Ok(()),
        };
        (self.first, self.count) = (flows, others);
        while counters.sessions_created.get() < all {
            self.drive(None, WINDOW)?;
            is_late("to be opened")?;
        }
        (self.first, self.count) = (0, flows);
        let rounds = self.rounds(counters, rate)?;
        let removed = || counters.sessions_removed.get();
        if removed() > 0 {
            return Err(format!("{} have expired too early", removed()).into());
        }
        print("live", &rounds);
        let (mut rounds, most) = (vec![], u64::from(others));
        while removed() < most / 10 * 9 {
            let before = removed();
            let round = self.round(counters, rate)?;
            // Only of seconds in which they do.
            if before > 0 && removed() > before {
                rounds.push(round);
            }
            is_late("to expire")?;
        }
        if rounds.is_empty() || removed() > most || counters.sessions_created.get() != all {
            return Err(format!("{} rounds, {} removed of {most}", rounds.len(), removed()).into());
        }
        print("expire", &rounds);
        Ok(())
    }

    fn rounds(&mut self, counters: &WorkerCounters, rate: f64) -> Outcome<Vec<Round>> {
        (0..ROUNDS).map(|_| self.round(counters, rate)).collect()
    }

    /// So many packets a second, of which none may be dropped.
    fn round(&mut self, counters: &WorkerCounters, rate: f64) -> Outcome<Round> {
        let (start, idle) = (cycles(), idle(counters));
        let rate = self.drive(Some(rate), WINDOW)?;
        let rested = (self::idle(counters) - idle) as f64 / (cycles() - start) as f64;
        let drops: u64 = counters.drops.iter().map(|drop| drop.get()).sum();
        if drops > 0 {
            return Err(format!("{drops} packets were dropped").into());
        }
        let us = |cycles: u64| cycles as f64 * 1e6 / self.hertz;
        let histogram = self.waits.histogram()?;
        let quiet = self.waits.quiet_p99().map_or(f64::NAN, us);
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| us(histogram.value_at_percentile(percent)));
        Ok(Round { rate, busy: 100.0 * (1.0 - rested), waited: [p50, p99, p999, us(histogram.max()), quiet] })
    }

    /// Sends for so long, as many a second, or as the ring takes, and takes everything back; how many a second have come.
    fn drive(&mut self, rate: Option<f64>, window: Duration) -> Outcome<f64> {
        self.waits.clear();
        let (mut burst, mut got) = (Burst::new(), Burst::new());
        let (mut made, mut sent, mut came) = (0u64, 0u64, 0u64);
        let interval = rate.map(|rate| self.hertz / rate);
        let start = cycles();
        let end = start + (window.as_secs_f64() * self.hertz) as u64;
        let slice = (SLICE.as_secs_f64() * self.hertz) as u64;
        let (mut last, mut slice_end) = (start, start + slice);
        loop {
            let now = cycles();
            let elapsed = (now - start) as f64;
            while now < end && !burst.is_full() {
                let due = match interval {
                    Some(interval) if made as f64 * interval > elapsed => break,
                    Some(interval) => start + (made as f64 * interval) as u64,
                    None => now,
                };
                let Some(mut mbuf) = self.pool.alloc_copy(&self.template.frame) else { break };
                self.flow = (self.flow + STRIDE) % self.count;
                self.template.fill(mbuf.data_mut(), self.traffic.held(self.first + self.flow));
                stamp(mbuf.data_mut(), due);
                burst.push(mbuf);
                made += 1;
            }
            if sent - came < IN_FLIGHT {
                sent += self.into.send(&mut burst) as u64;
            }
            if self.arrived.receive(&mut got) > 0 {
                last = cycles();
                came += got.len() as u64;
                for mbuf in got.drain(..) {
                    let due = mbuf.data().get(STAMP).and_then(|bytes| bytes.try_into().ok());
                    let due = due.map(u64::from_be_bytes).ok_or("a frame is cut short")?;
                    self.waits.each.push(u32::try_from(last.saturating_sub(due)).unwrap_or(u32::MAX));
                }
                if last >= slice_end {
                    slice_end = last + slice;
                    self.waits.ends.push(self.waits.each.len());
                }
            }
            if now >= end && burst.is_empty() && came == sent {
                return Ok(came as f64 * self.hertz / (last - start) as f64);
            }
            if now > end + self.hertz as u64 {
                return Err(format!("{came} of {sent} packets have come back after a second").into());
            }
        }
    }
}

/// No number of flows has it for a factor; neighbours in turn are none.
const STRIDE: u32 = 611_953;

/// Cycles that the worker found nothing in, so far.
fn idle(counters: &WorkerCounters) -> u64 {
    counters.stages[Stage::Idle as usize].cycles.get()
}

/// Writes when a frame was due, and has its checksum right again (RFC 1624).
fn stamp(frame: &mut [u8], due: u64) {
    let bytes = due.to_be_bytes();
    frame[STAMP].copy_from_slice(&bytes);
    let old = u16::from_be_bytes([frame[CHECKSUM.start], frame[CHECKSUM.start + 1]]);
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum = u32::from(!old) + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let new = if sum == 0xffff { 0xffff } else { !(sum as u16) };
    frame[CHECKSUM].copy_from_slice(&new.to_be_bytes());
}
