//! The process under measurement where sessions come and go: the worker of `cesd`, made as `cesd` makes it from its
//! configuration, but for its source: a ring that the generator fills, on the control thread's core.

use crate::bed::Outcome;
use crate::generator::{self, Traffic};
use crate::quiet::Look;
use ces::appliance::assemble::{self, Parts};
use ces::appliance::plan;
use ces::config::{self, Config};
use ces::dataplane::account::Stage;
use ces::dataplane::{RxSide, Worker, WorkerCounters};
use ces::dpdk::{Eal, Pool, PoolOptions, Port, PortOptions, RxQueue};
use ces::nat::{self, Nat44, PoolState};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The ring, and its place among the configured ports: there the configuration names a device that receives nothing.
const RING: &str = "net_ring0";
const SOURCE: usize = 0;

/// The line that is more than a question: every pool is removed, as `cesctl pool remove` has it.
pub const REMOVE_POOL: &str = "remove-pool";

/// What the parent says on the command line.
pub struct Churn {
    pub config: PathBuf,
    pub traffic: Traffic,
}

impl Churn {
    pub fn arguments(&self) -> Vec<String> {
        let t = &self.traffic;
        let numbers = [
            u64::from(t.held),
            u64::from(t.fresh_percent),
            u64::from(t.sessions_per_mapping),
            t.fresh_live,
            t.fresh_per_second,
            t.fresh_total,
        ];
        let mut arguments = vec![self.config.display().to_string()];
        arguments.extend(numbers.map(|n| n.to_string()));
        arguments
    }

    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let config = arguments.next()?.into();
        let mut number = || arguments.next()?.parse::<u64>().ok();
        let traffic = Traffic {
            held: number()? as u32,
            fresh_percent: number()? as u32,
            sessions_per_mapping: number()? as u32,
            fresh_live: number()?,
            fresh_per_second: number()?,
            fresh_total: number()?,
        };
        Some(Self { config, traffic })
    }
}

/// Runs until standard input ends; answers each line with what was counted so far.
pub fn run(churn: Churn) -> Outcome<()> {
    let config = config::load(&churn.config)?;
    let layout = plan::cores(&config.workers)?;
    let mut options = plan::eal(&config, &layout);
    options.vdevs.push(RING.into());
    options.extra_args.push("--log-level=*:error".into());
    let eal = Eal::init(options)?;
    // What the ring, the caches of two cores and some bursts hold.
    let mut pool = PoolOptions::new("generator", 4095);
    pool.data_room = config.eal.mbuf_data_room;
    let pool = Pool::new(&eal, &pool)?;
    let (_port, mut rx, mut tx) = Port::start(&eal, &PortOptions::new(RING), &pool)?;
    let (rx, tx) = (rx.remove(0), &mut tx[0]);
    edge(&config, &eal, rx, |parts| {
        let counters = &*parts.counters[0];
        let pools = parts.world.nat.as_deref().map_or(&[][..], Nat44::pools);
        let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|threads| {
            threads.spawn(|| answer(&stop, pools, || Counts::of(counters, &sent).json()));
            generator::run(churn.traffic, &pool, tx, &stop, &sent, || counters.sessions_removed.get());
        });
    })
}

/// The worker on the queue `rx`, for as long as `work` lasts.
fn edge(config: &Config, eal: &Eal, rx: RxQueue, work: impl FnOnce(&Parts)) -> Outcome<()> {
    let mut parts = assemble::assemble(config, eal)?;
    let mut worker = parts.workers.remove(0);
    let source = worker.rx.iter_mut().find(|side| side.port == SOURCE).ok_or("no source is configured")?;
    *source = RxSide { queue: rx, port: SOURCE, rate: None };
    let lcore = eal.launch(plan::lcore(0), &plan::thread_name(0), move || Worker::new(worker).run())?;
    work(&parts);
    parts.control.stop();
    lcore.join();
    Ok(())
}

/// Answers each line of standard input; at its end says stop.
fn answer(stop: &AtomicBool, pools: &[nat::Pool], counts: impl Fn() -> String) {
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == REMOVE_POOL {
            pools.iter().for_each(|pool| assert!(pool.set_state(PoolState::Removed), "once only"));
        }
        println!("{}", counts());
    }
    stop.store(true, Ordering::Relaxed);
}

/// What an edge has done so far.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// By the generator, into the ring.
    pub sent: u64,
    pub tx: u64,
    pub forwarded: u64,
    pub created: u64,
    pub removed: u64,
    pub drops: u64,
    /// Of each stage.
    pub cycles: [u64; Stage::ALL.len()],
}

impl Counts {
    fn of(counters: &WorkerCounters, sent: &AtomicU64) -> Self {
        Self {
            sent: sent.load(Ordering::Relaxed),
            tx: counters.tx_packets.get(),
            forwarded: counters.forwarded_packets.get(),
            // In this order: never more than live.
            removed: counters.sessions_removed.get(),
            created: counters.sessions_created.get(),
            drops: counters.drops.iter().map(|d| d.get()).sum(),
            cycles: std::array::from_fn(|stage| counters.stages[stage].cycles.get()),
        }
    }

    fn json(&self) -> String {
        let Self { sent, tx, forwarded, created, removed, drops, cycles } = self;
        serde_json::json!({
            "sent": sent, "tx": tx, "forwarded": forwarded, "created": created, "removed": removed, "drops": drops,
            "cycles": cycles,
        })
        .to_string()
    }

    pub fn parse(line: &str) -> Outcome<Self> {
        let value: serde_json::Value = serde_json::from_str(line)?;
        let get = |name: &str| value[name].as_u64().ok_or(format!("{name} is missing in {line}"));
        Ok(Self {
            sent: get("sent")?,
            tx: get("tx")?,
            forwarded: get("forwarded")?,
            created: get("created")?,
            removed: get("removed")?,
            drops: get("drops")?,
            cycles: serde_json::from_value(value["cycles"].clone())?,
        })
    }

    /// That the sweep took.
    pub fn sweep_cycles(&self) -> u64 {
        self.cycles[Stage::Sweep as usize]
    }

    /// For [`crate::quiet`]: what those that came to be have taken of the worker's time, and what those that went have.
    pub fn looks(&self) -> [Look; 2] {
        let look = |sessions, is_theirs: fn(Stage) -> bool| Look {
            packets: sessions,
            cycles: Stage::ALL
                .map(|stage| if is_theirs(stage) { self.cycles[stage as usize] } else { 0 })
                .into(),
        };
        [
            look(self.created, |stage| !matches!(stage, Stage::Sweep | Stage::Idle | Stage::Asleep)),
            look(self.removed, |stage| stage == Stage::Sweep),
        ]
    }

    /// The same of all packets: what the worker has done, and not how long it has waited for the generator.
    pub fn busy(&self) -> Look {
        let is_busy = |stage: &&Stage| !matches!(stage, Stage::Idle | Stage::Asleep);
        let mut cycles = vec![0; Stage::ALL.len()];
        Stage::ALL.iter().filter(is_busy).for_each(|stage| {
            cycles[*stage as usize] = self.cycles[*stage as usize];
        });
        Look { packets: self.tx, cycles }
    }

    pub fn live(&self) -> u64 {
        self.created - self.removed
    }
}
