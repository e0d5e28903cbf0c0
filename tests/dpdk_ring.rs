//! A ring as a port: what is sent is received, by another thread, and nothing leaks at the end.

use ces::dpdk::{BURST, Burst, Eal, EalOptions, HugePages, LcoreSpec, Pool, PoolOptions, Port, PortOptions};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

const ROUNDS: u32 = 2_000;

#[test]
fn a_ring_carries_packets_between_two_workers() {
    let cores = sched_getaffinity(Pid::from_raw(0)).expect("own affinity");
    let mut cores = (0..CpuSet::count()).filter(|&core| cores.is_set(core).unwrap_or(false));
    let first = cores.next().expect("a core");
    let second = cores.next().unwrap_or(first);
    let eal = Eal::init(EalOptions {
        huge_pages: HugePages::None,
        memory_mb: Some(128),
        lcores: vec![LcoreSpec { lcore_id: 1, core: first }, LcoreSpec { lcore_id: 2, core: second }],
        vdevs: vec!["net_ring0".into()],
        ..EalOptions::new(format!("ces-test-ring-{}", std::process::id()), first)
    })
    .expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("ring", 4095)).expect("a pool");
    let options = PortOptions { mtu: Some(9000), ..PortOptions::new("net_ring0") };
    let (port, mut rx, mut tx) = Port::start(&eal, &options, &pool).expect("net_ring0 starts");
    let (mut rx, mut tx) = (rx.remove(0), tx.remove(0));

    let source = pool.clone();
    let sender = eal.launch(1, "ces-worker-0", move || {
        let mut burst = Burst::new();
        for round in 0..ROUNDS {
            for i in 0..BURST as u32 {
                let number = (round * BURST as u32 + i).to_be_bytes();
                burst.extend(source.alloc_copy(&number));
            }
            while !burst.is_empty() {
                if tx.send(&mut burst) == 0 {
                    std::thread::yield_now();
                }
            }
        }
        tx
    });
    let receiver = eal.launch(2, "ces-worker-1", move || {
        let mut burst = Burst::new();
        let mut numbers = Vec::new();
        let mut idle = 0u32;
        while numbers.len() < ROUNDS as usize * BURST && idle < 10_000_000 {
            idle = if rx.receive(&mut burst) == 0 { idle + 1 } else { 0 };
            numbers.extend(
                burst.drain(..).map(|mbuf| <[u8; 4]>::try_from(mbuf.data()).map(u32::from_be_bytes).ok()),
            );
        }
        (rx, numbers)
    });
    let mut tx = sender.expect("lcore 1 runs").join();
    let (mut rx, numbers) = receiver.expect("lcore 2 runs").join();
    assert!(
        numbers.iter().copied().eq((0..ROUNDS * BURST as u32).map(Some)),
        "all of them, in order, unchanged"
    );
    assert_eq!(pool.in_use(), 0);

    what_is_not_taken_stays(&pool, &mut tx, &mut rx);

    let mut left: Burst = (0..8).filter_map(|_| pool.alloc_copy(b"left in the ring")).collect();
    assert_eq!(tx.send(&mut left), 8);
    assert_eq!(pool.in_use(), 8);
    drop((port, rx, tx));
    assert_eq!(pool.in_use(), 0, "closing the port takes out what was still in the ring");
}

/// A full ring takes a part of a burst: the rest stays in the burst, in order.
fn what_is_not_taken_stays(pool: &Pool, tx: &mut ces::dpdk::TxQueue, rx: &mut ces::dpdk::RxQueue) {
    let mut next = 0u32;
    let mut taken = 0;
    let mut burst = Burst::new();
    while burst.is_empty() && next < 4096 {
        for _ in 0..BURST - 1 {
            burst.extend(pool.alloc_copy(&next.to_be_bytes()));
            next += 1;
        }
        taken += tx.send(&mut burst) as u32;
    }
    assert!(!burst.is_empty(), "a ring is bounded");
    assert_eq!(taken + burst.len() as u32, next);
    let number = |mbuf: &ces::dpdk::Mbuf| <[u8; 4]>::try_from(mbuf.data()).map(u32::from_be_bytes).ok();
    assert!(burst.iter().map(number).eq((taken..next).map(Some)));
    burst.clear();

    let mut received = Vec::new();
    while rx.receive(&mut burst) > 0 {
        received.extend(burst.drain(..).map(|mbuf| number(&mbuf)));
    }
    assert!(received.into_iter().eq((0..taken).map(Some)));
    assert_eq!(pool.in_use(), 0);
}
