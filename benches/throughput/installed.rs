//! The process under measurement where sessions are put in before any packet comes: the worker of `cesd`, made as `cesd` makes it from its
//! configuration. Those with hosts behind another edge are of [`tunnels`], those at the circular pool of [`prgw`].

use crate::bed::{Measured, Outcome, Reading, Watched, Window, run_packets, run_window};
use crate::process::Asked;
use crate::quiet::Look;
use crate::{prgw, tunnels};
use ces::appliance::{assemble, plan};
use ces::config;
use ces::dataplane::account::Stage;
use ces::dataplane::{Worker, WorkerCounters};
use ces::dpdk::Eal;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What the parent says on the command line.
pub struct Installed {
    pub config: PathBuf,
    pub hosts: u32,
    /// Flows that are to live before it is ready; 0 for a run to the end of its input.
    pub flows: u64,
}

impl Installed {
    pub fn arguments(&self) -> [String; 3] {
        [self.config.display().to_string(), self.hosts.to_string(), self.flows.to_string()]
    }

    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let config = arguments.next()?.into();
        Some(Self { config, hosts: arguments.next()?.parse().ok()?, flows: arguments.next()?.parse().ok()? })
    }
}

/// Runs until standard input ends, or its own input does; answers each line with what was counted so far.
pub fn run(own: Installed) -> Outcome<()> {
    let config = config::load(&own.config)?;
    let mut options = plan::eal(&config, &plan::cores(&config.workers)?);
    options.extra_args.push("--log-level=*:error".into());
    let eal = Eal::init(options)?;
    let mut parts = assemble::assemble(&config, &eal)?;
    if parts.tunnels.is_some() {
        tunnels::install(&mut parts, own.hosts)?;
    }
    if parts.circular.is_some() {
        prgw::install(&mut parts, own.hosts)?;
    }
    let worker = parts.workers.remove(0);
    let lcore = eal.launch(plan::lcore(0), &plan::thread_name(0), move || Worker::new(worker).run())?;
    let counters = &parts.counters[0];
    if own.flows == 0 {
        while !parts.control.input_is_over() {
            std::thread::sleep(Duration::from_millis(10));
        }
    } else {
        while counters.sessions_created.get() < own.flows {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("ready");
        for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
            println!("{}", line(counters));
        }
    }
    parts.control.stop();
    lcore.join();
    Ok(())
}

/// Packets dropped, flows that live, packets received, and the cycles of each stage.
fn line(counters: &WorkerCounters) -> String {
    let drops: u64 = counters.drops.iter().map(|d| d.get()).sum();
    let flows = counters.sessions_created.get() - counters.sessions_removed.get();
    let received = counters.stages[Stage::Receive as usize].packets.get();
    let cycles = counters.stages.iter().map(|stage| format!(" {}", stage.cycles.get()));
    format!("{drops} {flows} {received}{}", cycles.collect::<String>())
}

/// A running worker whose sessions were put in, and how many flows they have.
pub struct InstalledProcess(Asked, u64);

impl InstalledProcess {
    /// Starts it and waits until its flows live. It is left paused.
    pub fn start(command: Command, flows: u64) -> Outcome<Self> {
        let process = Self(Asked::start(command)?, flows);
        process.0.process.pause()?;
        Ok(process)
    }

    /// [drops, flows], and what a look gives.
    fn ask(&mut self) -> Outcome<([u64; 2], Look)> {
        let line = self.0.tell("")?;
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [drops, flows, packets, ref cycles @ ..] = numbers[..] else {
            return Err(format!("\"{line}\"").into());
        };
        Ok(([drops, flows], Look { packets, cycles: cycles.to_vec() }))
    }
}

impl Watched for InstalledProcess {
    /// Those that came in: nothing is dropped.
    fn totals(&mut self) -> Outcome<(u64, u64)> {
        let cpu_ns = self.0.process.cpu_time("ces-worker-0")?;
        Ok((self.ask()?.1.packets, cpu_ns))
    }

    fn look(&mut self) -> Outcome<Vec<Look>> {
        Ok(vec![self.ask()?.1])
    }
}

impl Measured for InstalledProcess {
    fn measure(&mut self, window: Window) -> Outcome<Reading> {
        self.0.process.go_on()?;
        let before = self.ask()?.0;
        let reading = run_window(window, self)?;
        let after = self.ask()?.0;
        self.0.process.pause()?;
        // None came to be beside those that are measured.
        if before != after || after[1] != self.1 {
            return Err(format!("[drops, flows] went from {before:?} to {after:?} during a window").into());
        }
        Ok(reading)
    }

    fn warm_up(&mut self, packets: u64) -> Outcome<()> {
        self.0.process.go_on()?;
        run_packets(packets, self)?;
        self.0.process.pause()
    }
}
