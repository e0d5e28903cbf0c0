//! The other ends of a `cesd`'s ports: a test speaks on its links, frame by frame, over memif.
//!
//! Guarantees: needs no interface and no privileges; nothing is left. Never: answers by itself.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ces::dpdk::{Burst, Eal, EalOptions, HugePages, Pool, PoolOptions, Port, PortOptions, RxQueue, TxQueue};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(10);
/// How long silence is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// The device of a `cesd` that this is the other end of.
pub fn server(socket: &Path, number: usize, mac: &str) -> String {
    format!("net_memif{number},role=server,id=0,socket={},socket-abstract=no,mac={mac}", socket.display())
}

fn client(socket: &Path, number: usize) -> String {
    format!("net_memif{number},role=client,id=0,socket={},socket-abstract=no", socket.display())
}

/// The environment of the test's own links: one a process.
pub struct Bench {
    pool: Pool,
    sockets: Vec<PathBuf>,
    eal: Eal,
}

impl Bench {
    /// For links on these sockets.
    pub fn new(name: &str, sockets: Vec<PathBuf>) -> Bench {
        let myself = Pid::from_raw(0);
        let cores = sched_getaffinity(myself).expect("own affinity");
        let main = (0..CpuSet::count()).find(|at| cores.is_set(*at).unwrap_or(false));
        let eal = Eal::init(EalOptions {
            huge_pages: HugePages::None,
            memory_mb: Some(128),
            vdevs: sockets.iter().enumerate().map(|(number, socket)| client(socket, number)).collect(),
            ..EalOptions::new(name, main.expect("a core"))
        })
        .expect("EAL starts");
        // EAL pins this thread to one; the processes that it starts need them all.
        sched_setaffinity(myself, &cores).expect("as before");
        let pool = Pool::new(&eal, &PoolOptions::new("wire", 16_383)).expect("a pool");
        Bench { pool, sockets, eal }
    }

    /// The link on that socket, of a `cesd` with so many workers.
    pub fn wire(&self, number: usize, workers: u16) -> Wire {
        let mut options = PortOptions::new(client(&self.sockets[number], number));
        // Each worker sends by a queue of its own.
        options.rx_queues = workers;
        let (port, rx, tx) = Port::start(&self.eal, &options, &self.pool).expect("the link starts");
        Wire { rx, tx, pool: self.pool.clone(), heard: VecDeque::new(), _port: port }
    }
}

/// One link. Given back before its [`Bench`].
pub struct Wire {
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
    pool: Pool,
    /// Frames that nobody has asked for yet.
    heard: VecDeque<Vec<u8>>,
    _port: Port,
}

impl Wire {
    /// Once: an answer may be lost, and nobody sends again.
    pub fn send(&mut self, frame: &[u8]) {
        let mut burst = Burst::new();
        burst.extend(self.pool.alloc_copy(frame));
        self.tx[0].send(&mut burst);
    }

    /// The first frame that `of` makes something of, if one comes in time.
    fn receive<T>(&mut self, patience: Duration, of: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let (start, mut burst) = (Instant::now(), Burst::new());
        loop {
            while let Some(frame) = self.heard.pop_front() {
                if let Some(found) = of(&frame) {
                    return Some(found);
                }
            }
            if start.elapsed() >= patience {
                return None;
            }
            for queue in &mut self.rx {
                queue.receive(&mut burst);
                self.heard.extend(burst.drain(..).map(|mbuf| mbuf.data().to_vec()));
            }
            if self.heard.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// What `of` makes of every frame that comes for so long.
pub fn listen<T>(wire: &mut Wire, duration: Duration, of: impl Fn(&[u8]) -> Option<T>) -> Vec<T> {
    let end = Instant::now() + duration;
    let rest = || end.saturating_duration_since(Instant::now());
    std::iter::from_fn(|| wire.receive(rest(), &of)).collect()
}

/// Sends a frame on one link, again from time to time, until one comes on the other that `of` makes something of.
pub fn exchange<T>(
    wires: &mut [Wire],
    from: usize,
    frame: &[u8],
    to: usize,
    of: impl Fn(&[u8]) -> Option<T>,
) -> T {
    try_exchange(wires, from, frame, to, PATIENCE, of).expect("a frame")
}

/// As [`exchange`]; whether there is silence instead.
pub fn is_silent<T>(
    wires: &mut [Wire],
    from: usize,
    frame: &[u8],
    to: usize,
    of: impl Fn(&[u8]) -> Option<T>,
) -> bool {
    try_exchange(wires, from, frame, to, SILENCE, of).is_none()
}

fn try_exchange<T>(
    wires: &mut [Wire],
    from: usize,
    frame: &[u8],
    to: usize,
    patience: Duration,
    of: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    let start = Instant::now();
    // What was on its way before is no answer.
    wires[to].receive(Duration::ZERO, |_| None::<()>);
    while start.elapsed() < patience {
        wires[from].send(frame);
        if let Some(found) = wires[to].receive(SILENCE, &of) {
            return Some(found);
        }
    }
    None
}
