//! Every kind of virtual device, each in a process of its own (DPDK starts once in a process) and, where it makes an
//! interface, in a network namespace of its own; and what happens when a start fails. Needs root, as namespaces do.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ces::dpdk::{
    Burst, Eal, EalOptions, Error, HugePages, Interrupts, Pool, PoolOptions, Port, PortOptions, RxQueue,
    TxQueue,
};
use ces::ring::wake;

/// The scenario that a child process runs; the parent runs none itself.
const CASE: &str = "CES_DPDK_CASE";

/// The name of the one test of this file that a child runs.
const CHILD: &str = "scenario_of_a_child";

/// What a child prints when its parent may go on.
const READY: &str = "ready-for-the-parent";

const PEER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
const PEER_IP: [u8; 4] = [198, 51, 100, 1];
const OUR_IP: [u8; 4] = [198, 51, 100, 2];

#[test]
fn scenario_of_a_child() {
    match std::env::var(CASE).as_deref() {
        Ok("tap") => answers_arp("net_tap0,iface=ces-t0", "ces-t0", 1),
        Ok("tap-queues") => answers_arp("net_tap0,iface=ces-t0", "ces-t0", 2),
        Ok("af_packet") => answers_arp("net_af_packet0,iface=ces-v0,framecnt=512", &veth(), 1),
        Ok("af_xdp") => answers_arp("net_af_xdp0,iface=ces-v0", &veth(), 1),
        Ok("memif-server") => memif_echoes(),
        Ok("memif-client") => memif_carries_packets(),
        Ok("vhost-server") => vhost_echoes(),
        Ok("vhost-client") => vhost_interrupts_a_sleep(),
        Ok("tap-interrupts") => a_tap_interrupts_a_sleep(),
        Ok("no-interrupts") => has_no_interrupts(),
        Ok("no-driver") => fails_to_start("net_nothing0", "net_nothing0"),
        Ok("no-file") => fails_to_start("net_pcap0,rx_pcap=/nonexistent.pcap", "/nonexistent.pcap"),
        Ok("no-core") => has_no_such_core(),
        Ok("no-huge-pages") => has_no_huge_pages(),
        Ok("hold") => holds_the_instance(),
        Ok("in-use") => assert!(matches!(start("instance", &[]), Err(Error::InUse { .. }))),
        Ok("again") => drop(start("instance", &[]).expect("the instance is free again")),
        Ok(other) => panic!("no scenario {other:?}"),
        Err(_) => {}
    }
}

#[test]
fn every_kind_of_device_starts_and_carries_packets() {
    for case in ["tap", "tap-queues", "af_packet", "af_xdp"] {
        passes(case, child(case));
    }
}

#[test]
fn a_failed_start_says_why() {
    for case in ["no-driver", "no-file", "no-core", "no-huge-pages"] {
        passes(case, child(case));
    }
}

#[test]
fn an_instance_is_refused_while_it_runs_and_starts_again_after_sigkill() {
    let (mut holder, _output) = ready("hold");
    passes("in-use", child("in-use"));
    holder.kill().expect("SIGKILL");
    holder.wait().expect("it ends");
    passes("again", child("again"));
}

#[test]
fn memif_joins_two_processes() {
    let (mut server, mut output) = ready("memif-server");
    passes("memif-client", child("memif-client"));
    drop(server.stdin.take());
    let mut text = String::new();
    output.read_to_string(&mut text).expect("its output");
    assert!(server.wait().expect("it ends").success(), "{text}");
}

#[test]
fn who_polls_sleeps_until_a_packet_comes_where_the_device_has_interrupts() {
    let (mut server, mut output) = ready("vhost-server");
    passes("vhost-client", child("vhost-client"));
    drop(server.stdin.take());
    let mut text = String::new();
    output.read_to_string(&mut text).expect("its output");
    assert!(server.wait().expect("it ends").success(), "{text}");
    for case in ["tap-interrupts", "no-interrupts"] {
        passes(case, child(case));
    }
}

/// A child that has started, and runs until its standard input ends; and the rest of its output.
fn ready(case: &str) -> (Child, impl BufRead) {
    let mut process =
        child(case).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child starts");
    let mut output = BufReader::new(process.stdout.take().expect("its output"));
    let mut lines = output.by_ref().lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(READY)), "{case} does not start");
    (process, output)
}

/// This test program again, for one scenario, in a network namespace of its own.
fn child(case: &str) -> Command {
    let mut command = Command::new("unshare");
    let program = std::env::current_exe().expect("this program");
    command.arg("-n").arg(program).args([CHILD, "--exact", "--nocapture"]).env(CASE, case);
    command.env(format!("{CASE}_PARENT"), std::process::id().to_string());
    command
}

fn passes(case: &str, mut command: Command) {
    let output = command.output().expect("unshare runs");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{case}: {}\n{}", output.status, String::from_utf8_lossy(&text));
}

fn options(name: &str, devices: &[&str]) -> EalOptions {
    let parent = std::env::var(format!("{CASE}_PARENT")).expect("the parent's id");
    EalOptions {
        huge_pages: HugePages::None,
        memory_mb: Some(128),
        vdevs: devices.iter().map(|&device| device.into()).collect(),
        ..EalOptions::new(format!("ces-test-{name}-{parent}"), 0)
    }
}

fn start(name: &str, devices: &[&str]) -> Result<Eal, Error> {
    Eal::init(options(name, devices))
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

/// A veth pair: one end for DPDK, the other, whose name it gives, for the kernel.
fn veth() -> String {
    ip("link add ces-v0 type veth peer name ces-v1");
    ip("link set ces-v0 up");
    "ces-v1".into()
}

/// The kernel answers an ARP request that goes out by the port, on the port's first queue or another.
fn answers_arp(device: &str, interface: &str, queues: u16) {
    let case = std::env::var(CASE).expect("a scenario");
    let eal = start(&case, &[device]).expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("packets", 16_383)).expect("a pool");
    let options = PortOptions {
        rx_queues: queues,
        tx_queues: queues,
        promiscuous: true,
        mtu: Some(1400),
        ..PortOptions::new(device)
    };
    let (port, mut rx, mut tx) = Port::start(&eal, &options, &pool).expect("the port starts");
    eprintln!("{:?} {:?} {:?}", port.capabilities(), port.link(), port.mtu());
    assert_eq!((rx.len(), tx.len()), (usize::from(queues), usize::from(queues)));
    assert!(!port.capabilities().rss);
    ip(&format!("link set {interface} up"));
    ip(&format!("addr add 198.51.100.1/24 dev {interface}"));

    let reply = exchange(&pool, &mut rx, &mut tx, &arp_request(), |frame| {
        frame.get(12..14) == Some(&[0x08, 0x06]) && frame.get(20..22) == Some(&[0, 2])
    });
    assert_eq!(reply[0..6], PEER_MAC);
    assert_eq!(reply[28..32], PEER_IP);
    assert_eq!(reply[38..42], OUR_IP);
    assert!(port.link().expect("a link").up);
    let stats = port.stats().expect("statistics");
    assert!(stats.rx_packets > 0 && stats.tx_packets > 0, "{stats:?}");
    assert_eq!(port.mtu().expect("an MTU"), 1400);
    let port_driver = port.capabilities().driver.clone();
    drop((port, rx, tx));
    if port_driver != "net_af_xdp" {
        assert_eq!(pool.in_use(), 0, "a closed device gives everything back");
    }
}

/// Sends `frame` again and again until one that is `wanted` comes.
fn exchange(
    pool: &Pool,
    rx: &mut [RxQueue],
    tx: &mut [TxQueue],
    frame: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut burst = Burst::new();
    while Instant::now() < end {
        for queue in tx.iter_mut() {
            burst.extend(pool.alloc_copy(frame));
            queue.send(&mut burst);
            burst.clear();
        }
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(1));
            for queue in rx.iter_mut() {
                queue.receive(&mut burst);
                if let Some(mbuf) = burst.iter().find(|mbuf| wanted(mbuf.data())) {
                    return mbuf.data().to_vec();
                }
                burst.clear();
            }
        }
    }
    panic!("no answer within 10 seconds");
}

/// Who has 198.51.100.1? (RFC 826)
fn arp_request() -> Vec<u8> {
    let ethernet = [&[0xff; 6][..], &PEER_MAC, &[0x08, 0x06]].concat();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &PEER_MAC, &OUR_IP, &[0; 6], &PEER_IP, &[0; 18]].concat();
    [ethernet, arp].concat()
}

fn memif(role: &str) -> (Eal, Pool, String) {
    let parent = std::env::var(format!("{CASE}_PARENT")).expect("the parent's id");
    let socket = std::env::temp_dir().join(format!("ces-test-memif-{parent}.sock"));
    let device = format!("net_memif0,role={role},id=0,socket={},socket-abstract=no", socket.display());
    let eal = start(&format!("memif-{role}"), &[&device]).expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("packets", 16_383)).expect("a pool");
    (eal, pool, device)
}

/// Gives every packet back until the parent has had enough.
fn memif_echoes() {
    let (eal, pool, device) = memif("server");
    let (_port, mut rx, mut tx) =
        Port::start(&eal, &PortOptions::new(device), &pool).expect("the port starts");
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    let waiter = std::thread::spawn(move || {
        wait_for_the_parent();
        end.store(true, Ordering::Relaxed);
    });
    let mut burst = Burst::new();
    while !ended.load(Ordering::Relaxed) {
        rx[0].receive(&mut burst);
        tx[0].send(&mut burst);
        burst.clear();
        std::thread::sleep(Duration::from_millis(1));
    }
    waiter.join().expect("it has ended");
}

fn memif_carries_packets() {
    let (eal, pool, device) = memif("client");
    let (port, mut rx, mut tx) =
        Port::start(&eal, &PortOptions::new(device), &pool).expect("the port starts");
    let frame = arp_request();
    assert_eq!(exchange(&pool, &mut rx, &mut tx, &frame, |got| got == frame), frame);
    assert!(port.link().expect("a link").up);
    drop((port, rx, tx));
    assert_eq!(pool.in_use(), 0);
}

/// Far longer than a packet takes, and no test that works waits for it.
const NIGHT: Duration = Duration::from_secs(20);

/// What comes within so long. As a worker does it: armed, one more look, and only then asleep.
fn sleep_for(interrupts: &Interrupts, rx: &mut RxQueue, time: Duration) -> Burst {
    let mut burst = Burst::new();
    assert!(interrupts.arm());
    if rx.receive(&mut burst) == 0 {
        wake::nap_until(interrupts.readable(), time);
        interrupts.disarm();
        rx.receive(&mut burst);
    }
    burst
}

/// Sleeps, not woken for nothing for ever, until something comes.
fn sleep_until_it_comes(interrupts: &Interrupts, rx: &mut RxQueue) -> Vec<Vec<u8>> {
    let start = Instant::now();
    let mut sleeps =
        std::iter::from_fn(|| (start.elapsed() < NIGHT).then(|| sleep_for(interrupts, rx, NIGHT)));
    let burst = sleeps.find(|burst| !burst.is_empty()).unwrap_or_default();
    burst.iter().map(|mbuf| mbuf.data().to_vec()).collect()
}

fn with_interrupts(device: &str) -> PortOptions {
    PortOptions { rx_interrupts: true, ..PortOptions::new(device) }
}

fn vhost_socket() -> String {
    let parent = std::env::var(format!("{CASE}_PARENT")).expect("the parent's id");
    std::env::temp_dir().join(format!("ces-test-vhost-{parent}.sock")).display().to_string()
}

/// Gives every packet back, asleep until it comes, until the parent has had enough.
fn vhost_echoes() {
    let device = format!("net_vhost0,iface={}", vhost_socket());
    let eal = start("vhost-server", &[&device]).expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("packets", 4095)).expect("a pool");
    let (_port, mut rx, mut tx) = Port::start(&eal, &with_interrupts(&device), &pool).expect("it starts");
    let interrupts = Interrupts::of(&rx).expect("vhost has interrupts");
    let (ended, waker) = (Arc::new(AtomicBool::new(false)), wake::Waker::default());
    waker.wakes_me();
    let end = Arc::clone(&ended);
    let waiter = std::thread::spawn(move || {
        wait_for_the_parent();
        end.store(true, Ordering::Relaxed);
        waker.wake();
    });
    while !ended.load(Ordering::Relaxed) {
        tx[0].send(&mut sleep_for(&interrupts, &mut rx[0], NIGHT));
    }
    waiter.join().expect("it has ended");
    drop((interrupts, rx, tx));
}

/// Each packet ends two sleeps, one at either end, long before they would end by themselves.
fn vhost_interrupts_a_sleep() {
    let device = format!("net_virtio_user0,path={}", vhost_socket());
    let eal = start("vhost-client", &[&device]).expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("packets", 4095)).expect("a pool");
    let (port, mut rx, mut tx) = Port::start(&eal, &with_interrupts(&device), &pool).expect("it starts");
    let interrupts = Interrupts::of(&rx).expect("virtio has interrupts");
    // The other end answers once it has seen the link.
    let frame = arp_request();
    assert_eq!(exchange(&pool, &mut rx, &mut tx, &frame, |got| got == frame), frame);
    while !sleep_for(&interrupts, &mut rx[0], Duration::from_millis(100)).is_empty() {}
    let start = Instant::now();
    for round in 0..200_u8 {
        let mut burst = Burst::new();
        let frame = [&frame[..], &[round]].concat();
        burst.extend(pool.alloc_copy(&frame));
        assert_eq!(tx[0].send(&mut burst), 1);
        assert_eq!(sleep_until_it_comes(&interrupts, &mut rx[0]), [frame]);
    }
    assert!(start.elapsed() < NIGHT, "200 packets there and back: {:?}", start.elapsed());
    drop((interrupts, rx, tx, port));
    assert_eq!(pool.in_use(), 0);
}

/// What the kernel sends ends a sleep; where nothing comes it lasts.
fn a_tap_interrupts_a_sleep() {
    let device = "net_tap0,iface=ces-t0";
    let eal = start("tap-interrupts", &[device]).expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("packets", 16_383)).expect("a pool");
    let (_port, mut rx, mut tx) = Port::start(&eal, &with_interrupts(device), &pool).expect("it starts");
    let interrupts = Interrupts::of(&rx).expect("a tap has them");
    ip("link set ces-t0 addrgenmode none up");
    ip("addr add 198.51.100.1/24 dev ces-t0");
    let frame = arp_request();
    exchange(&pool, &mut rx, &mut tx, &frame, |got| got.get(20..22) == Some(&[0, 2]));
    // What the kernel says besides comes at any time, and ends a sleep as well.
    let (start, quiet) = (Instant::now(), Duration::from_millis(50));
    while let asleep = Instant::now()
        && (!sleep_for(&interrupts, &mut rx[0], quiet).is_empty() || asleep.elapsed() < quiet)
    {
        assert!(start.elapsed() < NIGHT, "no sleep lasts");
    }
    let start = Instant::now();
    for _ in 0..20 {
        let mut burst = Burst::new();
        burst.extend(pool.alloc_copy(&frame));
        assert_eq!(tx[0].send(&mut burst), 1);
        let is_answer = |got: &Vec<u8>| got.get(20..22) == Some(&[0, 2]);
        while !sleep_until_it_comes(&interrupts, &mut rx[0]).iter().any(is_answer) {
            assert!(start.elapsed() < NIGHT, "no answer");
        }
    }
    assert!(start.elapsed() < NIGHT, "20 answers: {:?}", start.elapsed());
}

/// Devices without interrupts start all the same, and say that they have none; so does who didn't ask for them.
fn has_no_interrupts() {
    let devices = ["net_null0", "net_ring0", "net_tap0,iface=ces-t0"];
    let eal = start("no-interrupts", &devices).expect("EAL starts");
    let pool = Pool::new(&eal, &PoolOptions::new("packets", 16_383)).expect("a pool");
    for (device, wants) in devices.into_iter().zip([true, true, false]) {
        let options = PortOptions { rx_interrupts: wants, ..PortOptions::new(device) };
        let (_port, rx, _tx) = Port::start(&eal, &options, &pool).expect("it starts");
        assert!(Interrupts::of(&rx).is_none(), "{device}");
    }
    assert!(Interrupts::of([]).is_some_and(|none| none.arm()), "nothing to wait for");
}

/// The error names the device, and says what EAL or its driver said about it.
fn fails_to_start(device: &str, said: &str) {
    let error = start("failing", &[device]).err().expect("the device cannot start");
    let text = error.to_string();
    assert!(matches!(error, Error::Device { .. } | Error::Init { .. }), "{text}");
    assert!(text.matches(said).count() >= 2, "the device, and what was said of it: {text}");
}

fn has_no_such_core() {
    let options = EalOptions { main_core: 1023, ..options("core", &[]) };
    let error = Eal::init(options).err().expect("there is no such core").to_string();
    assert!(error.contains("1023"), "{error}");
}

fn has_no_huge_pages() {
    let options =
        EalOptions { huge_pages: HugePages::Required, memory_mb: Some(1 << 30), ..options("huge", &[]) };
    assert!(matches!(Eal::init(options), Err(Error::NoHugePages { .. })));
}

fn holds_the_instance() {
    let _eal = start("instance", &[]).expect("EAL starts");
    wait_for_the_parent();
}

fn wait_for_the_parent() {
    println!("{READY}");
    std::io::stdout().flush().expect("the parent reads");
    let _ = std::io::stdin().read_line(&mut String::new());
}
