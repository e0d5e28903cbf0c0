//! The environment without huge pages and without a NIC: start, memory, a worker, telemetry, end.

#[path = "support/telemetry.rs"]
mod telemetry;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ces::dpdk::{
    self, BURST, Burst, Eal, EalOptions, Error, HugePages, LcoreSpec, Mbuf, Pool, PoolOptions, Port,
    PortOptions,
};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

fn options(core: usize) -> EalOptions {
    EalOptions {
        huge_pages: HugePages::None,
        memory_mb: Some(128),
        lcores: vec![LcoreSpec { lcore_id: 1, core }],
        vdevs: vec!["net_null0,size=60".into(), "net_null1".into()],
        ..EalOptions::new(format!("ces-test-null-{}", std::process::id()), core)
    }
}

/// The cores of this thread, before EAL pins it.
fn my_cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("own affinity");
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

#[test]
fn starts_works_and_ends_without_huge_pages_or_nic() {
    let cores = my_cores();
    let core = *cores.last().expect("a core");
    let eal = Eal::init(options(core)).expect("EAL starts");
    assert!(matches!(Eal::init(options(core)), Err(Error::InUse { .. })));
    let other = EalOptions { file_prefix: "ces-test-null-other".into(), ..options(core) };
    assert!(matches!(Eal::init(other), Err(Error::AlreadyStarted)));
    assert!(!Path::new("/var/run/dpdk/ces-test-null-other").exists());
    assert_eq!(eal.ports(), ["net_null0", "net_null1"]);

    pool_gives_back_what_it_lends(&eal);
    pool_has_no_gaps(&eal);
    mbufs_are_edited_in_place(&eal);
    segments_are_made_one(&eal);
    ports_move_packets(&eal);
    workers_are_named_and_pinned(&eal, core);

    let directory = eal.runtime_dir().to_owned();
    assert!(directory.exists());
    drop(eal);
    assert!(!directory.exists(), "the runtime directory is removed at the end");
}

/// `net_af_xdp` takes the first so many bytes of a pool to be the whole of it.
fn pool_has_no_gaps(eal: &Eal) {
    let pool = Pool::new(eal, &PoolOptions::new("dense", 4095)).expect("a pool");
    let all: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
    let mut places: Vec<usize> = all.iter().map(|mbuf| mbuf.data().as_ptr() as usize).collect();
    places.sort_unstable();
    let steps: BTreeSet<usize> = places.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!((all.len(), steps.len()), (4095, 1), "{steps:?}");
    assert!(steps.iter().all(|step| *step < 4096), "a page each: {steps:?}");
}

fn pool_gives_back_what_it_lends(eal: &Eal) {
    let pool = Pool::new(eal, &PoolOptions::new("lend", 255)).expect("a pool");
    assert!(
        matches!(Pool::new(eal, &PoolOptions::new("lend", 255)), Err(Error::Pool { .. })),
        "the name is taken"
    );
    assert!(
        matches!(Pool::new(eal, &PoolOptions::new("huge", 1 << 24)), Err(Error::Pool { .. })),
        "no memory"
    );
    assert_eq!((pool.capacity(), pool.avail(), pool.in_use()), (255, 255, 0));

    let all: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((all.len(), pool.avail(), pool.in_use()), (255, 0, 255));
    drop(all);
    assert_eq!(pool.avail(), 255);

    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let burst: Burst = std::iter::from_fn(|| pool.alloc()).take(BURST).collect();
        assert_eq!(pool.in_use(), burst.len() as u32);
        std::panic::resume_unwind(Box::new("a stage panics"));
    }));
    assert!(unwound.is_err());
    assert_eq!(pool.avail(), 255, "unwinding drops the packets of a burst");

    let mut burst: Burst = std::iter::from_fn(|| pool.alloc()).take(BURST).collect();
    dpdk::free_bulk(&mut burst);
    assert!(burst.is_empty());
    dpdk::free_bulk(&mut burst);
    assert_eq!(pool.avail(), 255);
}

fn mbufs_are_edited_in_place(eal: &Eal) {
    let pool =
        Pool::new(eal, &PoolOptions { data_room: 256, ..PoolOptions::new("edit", 63) }).expect("a pool");
    let mut mbuf = pool.alloc_copy(b"payload").expect("room for seven bytes");
    assert_eq!((mbuf.data(), mbuf.len(), mbuf.is_contiguous()), (&b"payload"[..], 7, true));
    mbuf.prepend(4).expect("headroom").copy_from_slice(b"head");
    mbuf.append(4).expect("tailroom").copy_from_slice(b"tail");
    assert_eq!(mbuf.data(), b"headpayloadtail");
    assert!(mbuf.adj(4));
    mbuf.truncate(7);
    assert_eq!((mbuf.data(), mbuf.len()), (&b"payload"[..], 7));
    mbuf.truncate(100);
    mbuf.data_mut()[0] = b'P';
    assert_eq!(mbuf.data(), b"Payload");

    assert!(!mbuf.adj(8));
    assert!(mbuf.append(122).is_none(), "256 - 128 - 7 bytes are left");
    assert!(mbuf.prepend(129).is_none(), "128 bytes of headroom");
    assert!(mbuf.append(1 << 16).is_none() && mbuf.prepend(1 << 16).is_none());
    assert_eq!((mbuf.data(), mbuf.len()), (&b"Payload"[..], 7), "a refused change changes nothing");
    assert!(pool.alloc_copy(&[0; 129]).is_none());

    mbuf.set_tag(0xdead_beef);
    assert_eq!(mbuf.tag(), 0xdead_beef);
    assert_eq!(mbuf.rss_hash(), None);
    assert_eq!(mbuf.rx_ip_checksum(), dpdk::Checksum::Unknown);
    assert_eq!(mbuf.rx_l4_checksum(), dpdk::Checksum::Unknown);
    mbuf.prefetch_header();
    mbuf.prefetch_data();
    drop(mbuf);
    assert_eq!(pool.avail(), 63);
}

fn segments_are_made_one(eal: &Eal) {
    let pool =
        Pool::new(eal, &PoolOptions { data_room: 256, ..PoolOptions::new("chain", 63) }).expect("a pool");
    let chain_of = |parts: &[&[u8]]| {
        let mut parts = parts.iter().map(|part| pool.alloc_copy(part).expect("an mbuf"));
        let mut head = parts.next().expect("a first part");
        parts.for_each(|part| head.chain(part).unwrap_or_else(|_| panic!("chains")));
        head
    };
    let mut chain = chain_of(&[b"one ", b"two ", b"three"]);
    assert!(!chain.is_contiguous());
    assert_eq!((chain.data(), chain.len()), (&b"one "[..], 13));
    assert_eq!(chain.segments().collect::<Vec<_>>(), [&b"one "[..], b"two ", b"three"]);
    chain.append(1).expect("room in the last segment").copy_from_slice(b"!");
    assert_eq!(pool.in_use(), 3);
    chain.linearize().expect("fits into the first segment");
    assert_eq!((chain.data(), chain.is_contiguous()), (&b"one two three!"[..], true));
    assert_eq!(pool.in_use(), 1, "the other segments went back");

    let mut long = chain_of(&[&[1; 100], &[2; 100]]);
    assert!(matches!(long.linearize(), Err(Error::NoTailroom)));
    assert_eq!(long.segments().map(<[u8]>::len).collect::<Vec<_>>(), [100, 100]);
    long.truncate(150);
    assert_eq!(long.segments().map(<[u8]>::len).collect::<Vec<_>>(), [100, 50]);
    long.truncate(100);
    assert_eq!((long.len(), long.is_contiguous()), (100, true), "an emptied segment goes back");
    assert_eq!(pool.in_use(), 2);
    drop((chain, long));
    assert_eq!(pool.avail(), 63);
}

fn ports_move_packets(eal: &Eal) {
    let pool = Pool::new(eal, &PoolOptions::new("null", 1023)).expect("a pool");
    let wanted =
        |name: &str| PortOptions { rx_queues: 2, tx_queues: 2, mtu: Some(1400), ..PortOptions::new(name) };
    let (from, mut rx, _tx) = Port::start(eal, &wanted("net_null0"), &pool).expect("net_null0 starts");
    let (to, _rx, mut tx) = Port::start(eal, &wanted("net_null1,size=60"), &pool).expect("net_null1 starts");
    assert!(matches!(Port::start(eal, &wanted("net_null1"), &pool), Err(Error::PortInUse { .. })));
    assert!(matches!(Port::start(eal, &wanted("net_null9"), &pool), Err(Error::NoSuchPort { .. })));
    assert_eq!((rx.len(), tx.len()), (2, 2));
    assert_eq!(from.capabilities().driver, "net_null");
    assert!(!from.capabilities().rss, "net_null takes an RSS key and does not hash by it");
    assert!(from.link().expect("a link").up);
    assert_eq!((rx[1].port(), rx[1].queue()), (from.id(), 1));
    assert_eq!(to.mac().expect("an address").len(), 6);

    let mut burst = Burst::new();
    assert_eq!(rx[0].receive(&mut burst), BURST);
    assert_eq!(rx[0].receive(&mut burst), 0, "a full burst receives nothing");
    assert!(burst.iter().all(|mbuf| mbuf.len() == 60 && mbuf.port() == from.id()));
    assert_eq!(tx[1].send(&mut burst), BURST);
    assert!(burst.is_empty());
    assert_eq!(from.stats().expect("statistics").rx_packets, 64);
    assert_eq!(to.stats().expect("statistics").tx_packets, 64);

    let answer = telemetry::ask(&eal.telemetry_path(), &format!("/ethdev/stats,{}", to.id()));
    assert!(answer.contains("\"opackets\":64") || answer.contains("\"opackets\": 64"), "{answer}");
    drop((from, to, rx, tx, _rx, _tx));
    assert_eq!(pool.avail(), pool.capacity(), "closed devices give everything back");
}

fn workers_are_named_and_pinned(eal: &Eal, core: usize) {
    let pool = Pool::new(eal, &PoolOptions::new("worker", 255)).expect("a pool");
    let borrowed = pool.clone();
    let work = move || {
        let name = std::fs::read_to_string("/proc/thread-self/comm").expect("own name");
        let mbuf = borrowed.alloc().expect("an mbuf");
        (name.trim().to_owned(), my_cores(), mbuf)
    };
    assert!(matches!(eal.launch(0, "ces-main", || ()), Err(Error::NoSuchLcore(0))));
    assert!(matches!(eal.launch(2, "ces-worker-2", || ()), Err(Error::NoSuchLcore(2))));
    assert!(matches!(eal.launch(500, "ces-worker-500", || ()), Err(Error::NoSuchLcore(500))));
    assert!(matches!(eal.launch(1, "a name longer than fifteen", || ()), Err(Error::ThreadName(_))));
    let worker = eal.launch(1, "ces-worker-0", work).expect("lcore 1 is free");
    let (name, cores, mbuf) = worker.join();
    assert_eq!((name.as_str(), cores), ("ces-worker-0", vec![core]));
    assert_eq!(pool.in_use(), 1, "an mbuf comes back from the worker");
    drop(mbuf);

    let (go, gate) = std::sync::mpsc::channel::<()>();
    let busy = eal.launch(1, "ces-worker-0", move || gate.recv().is_ok()).expect("free again after the join");
    assert!(matches!(eal.launch(1, "ces-worker-0", || ()), Err(Error::LcoreBusy(1))));
    assert!(!busy.is_finished());
    go.send(()).expect("the worker waits");
    assert!(busy.join());

    assert!(dpdk::cycles_hz() > 1_000_000);
    let before = dpdk::cycles();
    dpdk::pause();
    assert!(dpdk::cycles() > before);
}
