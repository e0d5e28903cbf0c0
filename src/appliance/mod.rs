//! Puts the rooms together and runs them: what `cesd` starts, and the benches and tests too.
//!
//! Order of start: lock the instance, block signals, read the cores, EAL, packet pool, ports, tables, workers, socket. Order of
//! end: workers finish their round, then everything is given back. It makes nothing that outlives the process but the runtime
//! directory.
//!
//! | file | what it is |
//! |---|---|
//! | [`instance`] | one process an instance: the lock |
//! | [`plan`] | from the configuration to sizes, queues and owners |
//! | [`links`] | what the links are told, and whom they are asked for |
//! | [`assemble`] | the parts of every worker |
//! | [`routes`] | the routes: built, shown, changed |
//! | [`pools`] | the pools: shown, drained, removed; who has what by formula |
//! | [`circular`] | the circular pool: its parts, its desk, how it is shown |
//! | [`proxies`] | proxy addresses: their book, how they are shown |
//! | [`cetp`] | the thread that negotiates with other edges: started, shown |
//! | [`tunnels`] | tunnels to other edges: what workers share of them, who owns them |
//! | [`hosts`] | the host register: shown, changed, imported |
//! | [`policy`] | the rules of users: shown, changed; what would be decided |
//! | [`dns`] | the edge's DNS: started, shown |
//! | [`kernel`] | the kernel's interfaces (the exception path) |
//! | [`flows`] | the sessions, for that socket |
//! | [`source`] | what the operator's socket shows |
//! | [`commands`] | what it lets be changed |
//! | [`watch`] | signals, stalled workers, the dump at a crash |

pub mod assemble;
pub mod cetp;
pub mod circular;
pub mod commands;
pub mod dns;
pub mod flows;
pub mod hosts;
pub mod instance;
pub mod kernel;
pub mod links;
pub mod plan;
pub mod policy;
pub mod pools;
pub mod proxies;
pub mod routes;
pub mod source;
pub mod translation;
pub mod tunnels;
pub mod watch;

use crate::config::{Config, Stop};
use crate::dataplane::{Control, Worker, WorkerCounters};
use crate::dns::circular::Pool;
use crate::dns::discovery::{self, Callers};
use crate::dpdk::{Eal, Lcore};
use crate::edge::calls::thread::Cetp;
use crate::edge::calls::{Calls, Lookups};
use crate::edge::prgw::CircularPool;
use crate::edge::thread::Edge;
use crate::manage;
use crate::packet::DropReason;
use commands::Owners;
use hosts::HostControl;
use instance::Instance;
use pools::PoolControl;
use routes::RouteControl;
use source::Shown;
use std::sync::Arc;
use std::time::Instant;
pub use watch::{Ended, Signals};

/// Questions of naming checks that wait for an answer at most.
const LOOKUPS: usize = 4096;

/// Why the appliance does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Instance(#[from] instance::Error),
    #[error("the cores of this machine cannot be read; is /sys mounted?")]
    Cores,
    #[error(
        "workers.cores names core {0}, which this process may not use: choose among {1:?}, or widen its affinity"
    )]
    NoSuchCore(u16, Vec<usize>),
    #[error(transparent)]
    Dpdk(#[from] crate::dpdk::Error),
    #[error("port \"{port}\": {source}")]
    Port { port: String, source: crate::dpdk::Error },
    #[error("routes: {0}")]
    Route(#[from] crate::route::RouteError),
    #[error("routes: {0}")]
    NextHops(#[from] crate::route::NextHopsError),
    #[error("neighbours: {0}")]
    Neighbors(#[from] crate::neigh::NeighborsError),
    #[error("the static neighbour or gateway {0} does not fit: raise flow.neighbors")]
    NeighborsFull(std::net::IpAddr),
    #[error("the exception path: {0}")]
    Kernel(#[from] crate::exception::Error),
    #[error(transparent)]
    Edge(#[from] crate::edge::thread::Error),
    #[error("dns: {0}")]
    Dns(#[from] crate::dns::thread::Error),
    #[error("dns: {0}")]
    Resolver(#[from] crate::dns::forward::Error),
    #[error("dns: {0}")]
    DnsListen(crate::exception::Error),
    #[error("cetp: {0}")]
    Cetp(#[from] crate::edge::calls::thread::Error),
    #[error("cetp.identity: {0}")]
    Identity(#[from] crate::edge::identity::load::Error),
    #[error(
        "cetp.identity.certificate: {bytes} bytes do not fit into a message between edges, which has room for {room}; give the leaf \
         alone, and have the other edges believe the intermediate one (cetp.identity.authorities); a leaf that is too long by itself is \
         some 190 bytes shorter where its issuer signs by ECDSA P-256 and not by RSA"
    )]
    CertificatesTooLong { bytes: usize, room: usize },
    #[error(transparent)]
    Manage(#[from] manage::Error),
    #[error("signals cannot be read: {0}")]
    Signals(#[from] nix::Error),
}

/// A running appliance.
pub struct Appliance {
    config: Arc<Config>,
    shown: Arc<Shown>,
    control: Arc<Control>,
    lcores: Vec<Lcore<()>>,
    server: Option<manage::Server>,
    circular: Option<Pool>,
    eal: Eal,
    _instance: Instance,
}

/// What it did in its life: the figures of all workers together.
pub struct Summary {
    pub seconds: f64,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub forwarded_packets: u64,
    pub local_packets: u64,
    pub originated_packets: u64,
    pub sessions_created: u64,
    pub sessions_removed: u64,
    /// Every reason with a count.
    pub drops: Vec<(DropReason, u64)>,
}

impl Appliance {
    /// Starts everything that `config` asks for; the calling thread becomes the control thread.
    ///
    /// # Errors
    /// What is missing or refused, and what to do about it. Nothing is left behind.
    pub fn start(config: Config) -> Result<Self, Error> {
        let started = Instant::now();
        let config = Arc::new(config);
        let instance = Instance::lock(&config.instance)?;
        let layout = plan::cores(&config.workers)?;
        let eal = Eal::init(plan::eal(&config, &layout))?;
        let mut parts = assemble::assemble(&config, &eal)?;
        let (rings, dns_rings) = (parts.kernel.take(), parts.dns.take());
        let kernel = kernel::start(&config, &parts.world, rings, layout.control)?.map(Arc::new);
        let control = parts.control.clone();
        let routes = Arc::new(RouteControl::new(config.clone(), &parts, kernel));
        let pools = Arc::new(PoolControl::new(config.clone(), parts.world.clone()));
        let policy = Arc::new(config.policy.clone());
        let edge = config.hosts.clone().map(|hosts| Edge::start(hosts, policy, Some(layout.control)));
        let edge = edge.transpose()?;
        let shown_pool = parts.circular.as_ref().map(|circular| circular.shown.clone());
        let reader = edge.as_ref().map(|edge| edge.reader().clone());
        let pool = parts.circular.take().zip(reader);
        let pool = pool.and_then(|(pool, hosts)| circular::answers(&config, pool, &parts.world, hosts));
        // Without a DNS it is for whoever takes it.
        let (pool, circular) = if config.dns.is_some() { (pool, None) } else { (None, pool) };
        let proxies = parts.proxies.take().map(|bindings| proxies::book(&config, bindings));
        // Both before the register's owner: they end before it does.
        let tunnels = parts.tunnels.take().zip(edge.as_ref()).zip(proxies.clone());
        let (lookups, desk) = discovery::lookups::pair(LOOKUPS);
        let cetp = tunnels.map(|((tunnels, edge), proxies)| {
            let worker = parts.counters[0].clone();
            let worker_clock = Box::new(move || worker.now_ms.get() as u32);
            let macs = cetp::macs(&config, &parts.ports);
            let lookups: Option<Box<dyn Lookups>> = Some(Box::new(lookups));
            let (macs, core) = (&macs, layout.control);
            cetp::start(&config, cetp::Parts { tunnels, edge, proxies, lookups, macs, worker_clock, core })
        });
        let mut cetp = cetp.transpose()?.flatten();
        let calls = cetp.as_mut().and_then(Cetp::take_calls).map(|calls| Box::new(calls) as Box<dyn Calls>);
        let callers = Callers { lookups: calls.as_ref().map(|_| desk), calls };
        let dns =
            dns::start(&config, dns_rings, pool, proxies.clone(), edge.as_ref(), callers, layout.control)?;
        let hosts = Arc::new(HostControl::new(config.clone(), edge));
        let owners = Arc::new(Owners { dns, cetp, routes, pools, hosts, proxies });
        let shown = Shown::new(config.clone(), &parts, &layout, owners.clone(), started);
        let shown = Arc::new(shown.with_circular(shown_pool));
        watch::dump_on_panic(&shown);
        let mut appliance =
            Self { control, shown, lcores: vec![], server: None, circular, eal, _instance: instance, config };
        for (id, worker) in parts.workers.into_iter().enumerate() {
            let run = move || Worker::new(worker).run();
            let lcore = appliance.eal.launch(plan::lcore(id), &plan::thread_name(id), run)?;
            appliance.lcores.push(lcore);
        }
        appliance.shown.set_ready();
        let source: Arc<dyn manage::Source> = appliance.shown.clone();
        appliance.server = Some(manage::serve(&appliance.config.manage.socket, source, owners)?);
        Ok(appliance)
    }

    /// Waits for a signal, or the end of the input where it has one. A worker that stalls ends the process instead.
    pub fn wait(&self, signals: &Signals) -> Ended {
        let ends = self.config.workers.stop == Stop::EndOfInput;
        watch::wait(signals, &self.shown, || ends && self.control.input_is_over())
    }

    /// The circular pool, where there is one and no DNS that has it. Once.
    pub fn take_circular_pool(&mut self) -> Option<Box<dyn CircularPool>> {
        self.circular.take().map(|pool| pool.gateway)
    }

    /// The counters of each worker.
    pub fn counters(&self) -> &[Arc<WorkerCounters>] {
        self.shown.counters()
    }

    /// Where DPDK's own telemetry answers.
    pub fn telemetry_path(&self) -> std::path::PathBuf {
        self.eal.telemetry_path()
    }

    /// Stops the workers after their round, gives everything back, and says what was done.
    pub fn stop(mut self) -> Summary {
        self.end();
        self.shown.summary()
    }

    fn end(&mut self) {
        self.control.stop();
        for lcore in self.lcores.drain(..) {
            lcore.join();
        }
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// However it ends, no worker outlives its tables. The devices close with [`Shown`], before EAL.
impl Drop for Appliance {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} packets in, {} out ({} translated), {} for the edge itself, {} of its own, in {:.1} s",
            self.rx_packets,
            self.tx_packets,
            self.forwarded_packets,
            self.local_packets,
            self.originated_packets,
            self.seconds
        )?;
        write!(f, "{} sessions created, {} removed", self.sessions_created, self.sessions_removed)?;
        for (why, count) in &self.drops {
            write!(f, "\n  dropped {:>10}  {}: {}", count, why.name(), why.explanation().trim())?;
        }
        Ok(())
    }
}
