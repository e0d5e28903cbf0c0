//! The floor: the same devices and bursts, forwarding only. Receives a burst, swaps the MAC addresses of each frame (as
//! testpmd's macswap does, so that the frame is read and written), sends it to the sink. Runs as a process of its own.

use ces::dpdk::{
    BURST, Burst, Eal, EalOptions, HugePages, LcoreSpec, Mbuf, Pool, PoolOptions, Port, PortOptions, RxQueue,
    TxQueue, cycles,
};
use crossbeam::utils::CachePadded;
use std::io::BufRead;
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
