//! The floor: the same devices and bursts, forwarding only. Receives a burst, swaps the MAC addresses of each frame (as
//! testpmd's macswap does, so that the frame is read and written), sends it to the sink. Runs as a process of its own.

use crate::bed::{Measured, Outcome, Reading, Watched, Window, run_packets, run_window};
use crate::process::Asked;
use crate::quiet::Look;
use ces::dpdk::{
    BURST, Burst, Eal, EalOptions, HugePages, LcoreSpec, Mbuf, Pool, PoolOptions, Port, PortOptions, RxQueue,
    TxQueue, cycles,
};
use crossbeam::utils::CachePadded;
use std::io::BufRead;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the parent says on the command line.
pub struct Floor {
    pub prefix: String,
    /// One a worker.
    pub cores: Vec<usize>,
    pub mbufs: u32,
    pub data_room: u16,
    /// (source, sink) virtual devices, which the workers take in turns.
    pub pairs: Vec<(String, String)>,
}

impl Floor {
    /// As [`crate::bed::Case::start_floor_on`] writes it.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let prefix = arguments.next()?;
        let cores = arguments.next()?.split(',').map(|core| core.parse().ok()).collect::<Option<_>>()?;
        let mut number = || arguments.next()?.parse::<u32>().ok();
        let (mbufs, data_room) = (number()?, number()? as u16);
        let mut pairs = vec![];
        while let (Some(a), Some(b)) = (arguments.next(), arguments.next()) {
            pairs.push((a, b));
        }
        Some(Self { prefix, cores, mbufs, data_room, pairs })
    }
}

/// Forwards until standard input ends; answers each line with the packets that each worker has sent so far, and the time
/// stamp counter.
pub fn run(floor: Floor) -> Result<(), Box<dyn std::error::Error>> {
    let mut options = EalOptions::new(floor.prefix, 0);
    let lcores = floor.cores.iter().enumerate();
    options.lcores = lcores.map(|(n, &core)| LcoreSpec { lcore_id: 1 + n as u32, core }).collect();
    options.huge_pages = HugePages::Auto;
    options.vdevs = floor.pairs.iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    options.extra_args.push("--log-level=*:error".into());
    let eal = Eal::init(options)?;
    let mut pool = PoolOptions::new("floor", floor.mbufs);
    pool.data_room = floor.data_room;
    let pool = Pool::new(&eal, &pool)?;
    let mut ports = vec![];
    let mut queues: Vec<Vec<_>> = floor.cores.iter().map(|_| vec![]).collect();
    for (n, (source, sink)) in floor.pairs.iter().enumerate() {
        let (a, rx, _) = Port::start(&eal, &PortOptions::new(source), &pool)?;
        let (b, _, tx) = Port::start(&eal, &PortOptions::new(sink), &pool)?;
        ports.push((a, b));
        let workers = queues.len();
        queues[n % workers].extend(rx.into_iter().zip(tx));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (mut lcores, mut sent) = (vec![], vec![]);
    for (n, mut queues) in queues.into_iter().enumerate() {
        let (stop, count) = (stop.clone(), Arc::new(CachePadded::new(AtomicU64::new(0))));
        sent.push(count.clone());
        let work = move || forward(&mut queues, &stop, &count);
        lcores.push(eal.launch(1 + n as u32, &format!("ces-floor-{n}"), work)?);
    }
    println!("ready {BURST}");
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", counts(&sent));
    }
    stop.store(true, Ordering::Relaxed);
    lcores.into_iter().for_each(|lcore| lcore.join());
    Ok(())
}

/// At one time: read again if something came between.
fn counts(sent: &[Arc<CachePadded<AtomicU64>>]) -> String {
    loop {
        let before = cycles();
        let mut line: String =
            sent.iter().map(|count| format!("{} ", count.load(Ordering::Relaxed))).collect();
        let now = cycles();
        if now - before < 5_000 {
            line += &now.to_string();
            return line;
        }
    }
}

/// Forwards from queue to queue until it is told to stop; `sent` counts.
pub fn forward(queues: &mut [(RxQueue, TxQueue)], stop: &AtomicBool, sent: &AtomicU64) {
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        for (rx, tx) in &mut *queues {
            rx.receive(&mut burst);
            burst.iter_mut().for_each(swap_macs);
            let n = tx.send(&mut burst);
            burst.clear();
            sent.store(sent.load(Ordering::Relaxed) + n as u64, Ordering::Relaxed);
        }
    }
}

fn swap_macs(mbuf: &mut Mbuf) {
    if let Some(macs) = mbuf.data_mut().first_chunk_mut::<12>() {
        macs.rotate_left(6);
    }
}

/// The running floor, and how many workers it has.
pub struct FloorProcess(Asked, usize);

impl FloorProcess {
    /// Starts it and waits until it is ready. It is left paused.
    pub fn start(command: Command, workers: usize) -> Outcome<Self> {
        let floor = Self(Asked::start(command)?, workers);
        floor.0.process.pause()?;
        Ok(floor)
    }

    /// Packets sent, by thread, and the time stamp counter.
    fn ask(&mut self) -> Outcome<(Vec<u64>, u64)> {
        let line = self.0.tell("")?;
        let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [sent @ .., cycles] = &numbers[..] else { return Err("the floor says nothing".into()) };
        Ok((sent.to_vec(), *cycles))
    }
}

impl Watched for FloorProcess {
    fn totals(&mut self) -> Outcome<(u64, u64)> {
        let threads = (0..self.1).map(|n| self.0.process.cpu_time(&format!("ces-floor-{n}")));
        let cpu_ns = threads.sum::<Outcome<_>>()?;
        Ok((self.ask()?.0.iter().sum(), cpu_ns))
    }

    fn look(&mut self) -> Outcome<Vec<Look>> {
        let (sent, cycles) = self.ask()?;
        Ok(sent.into_iter().map(|packets| Look { packets, cycles: vec![cycles] }).collect())
    }
}

impl Measured for FloorProcess {
    fn measure(&mut self, window: Window) -> Outcome<Reading> {
        self.0.process.go_on()?;
        let reading = run_window(window, self)?;
        self.0.process.pause()?;
        Ok(reading)
    }

    fn warm_up(&mut self, packets: u64) -> Outcome<()> {
        self.0.process.go_on()?;
        run_packets(packets, self)?;
        self.0.process.pause()
    }
}
