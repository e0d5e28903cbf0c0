//! What the operator's socket shows: counters and tables, read as they are. Nothing here makes a worker wait.

use super::Summary;
use super::assemble::{Parts, Ports};
use super::circular;
use super::commands::Owners;
use super::flows;
use super::plan::{self, Layout, thread_name};
use super::proxies;
use super::routes;
use super::watch::{Change, Links};
use crate::config::Config;
use crate::dataplane::conflicts::Conflict;
use crate::dataplane::{Board, Stage, WorkerCounters, World};
use crate::dpdk::cycles_hz;
use crate::edge::identity::reload::Reload;
use crate::manage::model::{self, Drops, WorkerState, WorkerStatus};
use crate::manage::protocol::VERSION;
use crate::manage::runtime_model::{StageRuntime, WorkerRuntime};
use crate::manage::{
    CetpFilter, CetpStatus, Counters, Determined, DnsStatus, ExplainQuestion, Explanation, FlowFilter, Flows,
    HostFilter, HostList, ImportShown, Nat44Question, NeighborStatus, PolicyFilter, PolicyList, PoolStatus,
    PortStatus, PrgwStatus, ProxyFilter, ProxyList, Refusal, RouteFilter, Routes, Runtime, Source, Status,
};
use crate::packet::{DROP_REASONS, DropReason, MacAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tracing::{info, warn};

/// The shared figures of a running appliance.
pub struct Shown {
    config: Arc<Config>,
    world: Arc<World>,
    board: Arc<Board>,
    ports: Ports,
    counters: Vec<Arc<WorkerCounters>>,
    cores: Vec<usize>,
    owners: Arc<Owners>,
    circular: Option<Arc<crate::edge::prgw::shown::Shown>>,
    started: Instant,
    ready: AtomicBool,
    /// By worker, written by the watcher: (rounds at the last change, milliseconds of that change since the start).
    beats: Vec<(AtomicU64, AtomicU64)>,
}

impl Shown {
    pub fn new(
        config: Arc<Config>,
        parts: &Parts,
        layout: &Layout,
        owners: Arc<Owners>,
        started: Instant,
    ) -> Self {
        Self {
            config,
            world: parts.world.clone(),
            board: parts.board.clone(),
            ports: parts.ports.clone(),
            counters: parts.counters.clone(),
            cores: layout.workers.clone(),
            owners,
            circular: None,
            started,
            ready: AtomicBool::new(false),
            beats: parts.counters.iter().map(|_| Default::default()).collect(),
        }
    }

    /// The same, with what the circular pool shows.
    pub fn with_circular(self, circular: Option<Arc<crate::edge::prgw::shown::Shown>>) -> Self {
        Self { circular, ..self }
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    pub fn counters(&self) -> &[Arc<WorkerCounters>] {
        &self.counters
    }

    fn uptime_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Looks at every worker's heartbeat; the longest time without one, in milliseconds, and whose.
    pub fn feel_pulse(&self) -> (usize, u64) {
        let now = self.uptime_ms();
        let age = |(worker, (beat, since)): (usize, &(AtomicU64, AtomicU64))| {
            let polls = self.counters[worker].polls.get();
            if beat.swap(polls, Ordering::Relaxed) != polls || since.load(Ordering::Relaxed) == 0 {
                since.store(now, Ordering::Relaxed);
            }
            (worker, now - since.load(Ordering::Relaxed))
        };
        self.beats.iter().enumerate().map(age).max_by_key(|a| a.1).unwrap_or((0, 0))
    }

    /// A pause of the whole process (a stopped one, a suspended machine) is nobody's stall.
    pub fn forgive(&self) {
        self.beats.iter().for_each(|b| b.1.store(0, Ordering::Relaxed));
    }

    /// What an operator should know of somebody else's use of an address of ours.
    fn conflict_note(&self, conflict: &Conflict) -> String {
        let Conflict { interface, address, mac, claims } = conflict;
        let interface = self.interface_name(*interface);
        format!(
            "{address} on {interface} is also used by {mac} ({claims} claims heard): take it away from one of the two"
        )
    }

    /// The control thread: says once of each conflict that there is one.
    pub fn log_conflicts(&self) {
        for conflict in self.board.conflicts.take_unlogged() {
            warn!("{}", self.conflict_note(&conflict));
        }
    }

    /// The control thread: where a link has returned the neighbour owner says again whose addresses are there.
    pub fn look_at_links(&self, links: &mut Links) {
        for (number, port) in self.ports.iter().enumerate() {
            // A device that does not say keeps the state that it had.
            let Ok(link) = port.link() else { continue };
            let name = &self.config.ports[number].name;
            match links.saw(number, link.up) {
                Some(Change::Up) => {
                    self.board.link_returned(number);
                    info!("port \"{name}\": the link is up");
                }
                Some(Change::Down) => warn!("port \"{name}\": the link is down"),
                None => {}
            }
        }
    }

    /// The control thread: who is believed is read anew when it is time. What cannot be read leaves those who are.
    pub fn reload_authorities(&self, reload: &mut Reload, now_ms: u64) {
        let Some(cetp) = &self.owners.cetp else { return };
        if let Err(error) = super::cetp::reload(&self.config, cetp, reload, now_ms) {
            warn!("the authorities stay as they are: {error}");
        }
    }

    fn interface_name(&self, interface: u16) -> String {
        self.world.interfaces.get(usize::from(interface)).map_or_else(String::new, |i| i.name.clone())
    }

    fn drops(&self) -> Vec<[u64; DROP_REASONS]> {
        self.counters.iter().map(|c| std::array::from_fn(|i| c.drops[i].get())).collect()
    }

    fn sum(&self, of: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.counters.iter().map(|c| of(c)).sum()
    }

    /// The figures of the whole run.
    pub fn summary(&self) -> Summary {
        let drops = self.drops();
        let total = |r: &DropReason| (*r, drops.iter().map(|d| d[*r as usize]).sum::<u64>());
        Summary {
            seconds: self.started.elapsed().as_secs_f64(),
            rx_packets: self.sum(|c| c.rx_packets.get()),
            tx_packets: self.sum(|c| c.tx_packets.get()),
            forwarded_packets: self.sum(|c| c.forwarded_packets.get()),
            local_packets: self.sum(|c| c.local_packets.get()),
            originated_packets: self.sum(|c| c.originated_packets.get()),
            sessions_created: self.sum(|c| c.sessions_created.get()),
            sessions_removed: self.sum(|c| c.sessions_removed.get()),
            drops: DropReason::ALL.iter().map(total).filter(|d| d.1 > 0).collect(),
        }
    }
}

impl Source for Shown {
    fn status(&self) -> Status {
        let worker = |(id, c): (usize, &Arc<WorkerCounters>)| WorkerStatus {
            worker: id as u16,
            core: self.cores[id] as u32,
            thread: thread_name(id),
            state: if c.sleeping.get() > 0 { WorkerState::Sleeping } else { WorkerState::Polling },
            heartbeat_age_ms: self.uptime_ms().saturating_sub(self.beats[id].1.load(Ordering::Relaxed)),
        };
        let nat = self.world.nat.as_deref();
        let huge = self.world.flows.is_huge();
        let mut notes = self.config.warnings.clone();
        if !huge {
            notes.push("the flow table is not on reserved huge pages: expect more TLB misses".into());
        }
        for (config, port) in self.config.ports.iter().zip(self.ports.iter()) {
            let asked = plan::port(&self.config, config);
            notes.extend(plan::shortfalls(&config.name, &asked, port.capabilities()));
        }
        notes.extend(self.board.conflicts.read().iter().map(|c| self.conflict_note(c)));
        Status {
            version: VERSION,
            instance: self.config.instance.name.clone(),
            ces_version: env!("CARGO_PKG_VERSION").into(),
            uptime_ms: self.uptime_ms(),
            ready: self.ready.load(Ordering::Acquire),
            workers: self.counters.iter().enumerate().map(worker).collect(),
            sessions: self
                .sum(|c| c.sessions_created.get())
                .saturating_sub(self.sum(|c| c.sessions_removed.get())),
            sessions_capacity: u64::from(self.config.flow.sessions),
            mappings: self.sum(|c| c.mappings.get()),
            mappings_capacity: nat.map_or(0, |n| n.options().mappings as u64),
            subscribers: self.sum(|c| c.subscribers.get()),
            subscribers_capacity: nat.map_or(0, |n| n.options().subscribers as u64),
            huge_pages: huge,
            notes,
        }
    }

    fn ports(&self) -> Vec<PortStatus> {
        let show = |(config, port): (&crate::config::Port, &crate::dpdk::Port)| {
            let (stats, link, caps) =
                (port.stats().unwrap_or_default(), port.link().ok(), port.capabilities());
            let offloads = [
                (caps.rss, "rss"),
                (caps.rx_ipv4_checksum, "rx_ipv4_checksum"),
                (caps.rx_l4_checksum, "rx_l4_checksum"),
                (caps.tx_ipv4_checksum, "tx_ipv4_checksum"),
                (caps.tx_multi_segments, "tx_multi_segments"),
                (caps.rx_vlan_strip, "rx_vlan_strip"),
                (caps.tx_vlan_insert, "tx_vlan_insert"),
            ];
            PortStatus {
                name: config.name.clone(),
                device: config.device.to_string(),
                driver: caps.driver.clone(),
                mac: config
                    .mac
                    .or_else(|| port.mac().ok())
                    .map_or_else(String::new, |m| MacAddr(m).to_string()),
                link_up: link.is_some_and(|l| l.up),
                speed_mbps: link.and_then(|l| l.speed_mbps),
                mtu: config.mtu,
                rx_queues: caps.rx_queues,
                tx_queues: caps.tx_queues,
                rx_descriptors: caps.rx_desc,
                tx_descriptors: caps.tx_desc,
                rx_packets: stats.rx_packets,
                rx_bytes: stats.rx_bytes,
                rx_missed: stats.rx_missed,
                rx_errors: stats.rx_errors,
                rx_nombuf: stats.rx_no_mbuf,
                tx_packets: stats.tx_packets,
                tx_bytes: stats.tx_bytes,
                tx_errors: stats.tx_errors,
                offloads: offloads.iter().filter(|o| o.0).map(|o| o.1.to_owned()).collect(),
            }
        };
        self.config.ports.iter().zip(self.ports.iter()).map(show).collect()
    }

    fn counters(&self) -> Counters {
        let worker = |(id, c): (usize, &Arc<WorkerCounters>)| model::WorkerCounters {
            worker: id as u16,
            rx_packets: c.rx_packets.get(),
            rx_bytes: c.rx_bytes.get(),
            tx_packets: c.tx_packets.get(),
            tx_bytes: c.tx_bytes.get(),
            forwarded_packets: c.forwarded_packets.get(),
            forwarded_bytes: c.forwarded_bytes.get(),
            local_packets: c.local_packets.get(),
            originated_packets: c.originated_packets.get(),
            handed_off: c.handed_off.get(),
            received_handoff: c.received_handoff.get(),
            sessions_created: c.sessions_created.get(),
            sessions_removed: c.sessions_removed.get(),
            control_requests: c.control_requests.get(),
            asked_mappings: c.asked_mappings.get(),
            polls: c.polls.get(),
            empty_polls: c.empty_polls.get(),
        };
        Counters {
            workers: self.counters.iter().enumerate().map(worker).collect(),
            drops: Drops::new(&self.drops()),
        }
    }

    fn runtime(&self) -> Runtime {
        let stage = |c: &WorkerCounters, stage: Stage| {
            let taken = &c.stages[stage as usize];
            StageRuntime {
                stage: stage.name().into(),
                calls: taken.calls.get(),
                packets: taken.packets.get(),
                cycles: taken.cycles.get(),
            }
        };
        let worker = |(id, c): (usize, &Arc<WorkerCounters>)| WorkerRuntime {
            worker: id as u16,
            stages: Stage::ALL.iter().map(|&s| stage(c, s)).collect(),
        };
        Runtime {
            elapsed_ms: self.uptime_ms(),
            hertz: cycles_hz(),
            workers: self.counters.iter().enumerate().map(worker).collect(),
        }
    }

    fn flows(&self, filter: &FlowFilter) -> Result<Flows, Refusal> {
        let realm = filter.realm.as_deref().map(|name| routes::realm(&self.config, name)).transpose()?;
        let now = self.counters[0].now_ms.get() as u32;
        Ok(flows::matching(&self.config, &self.world, filter, realm, now))
    }

    fn neighbors(&self) -> Vec<NeighborStatus> {
        self.board
            .read()
            .into_iter()
            .map(|n| NeighborStatus {
                interface: self.interface_name(n.interface),
                address: n.address,
                mac: n.mac.map(|m| m.to_string()),
                state: n.state.into(),
                age_ms: u64::from(n.age_ms),
                held: u32::from(n.held),
                gateway: n.gateway,
            })
            .collect()
    }

    fn routes(&self, filter: &RouteFilter) -> Result<Routes, Refusal> {
        self.owners.routes.show(filter)
    }

    fn pools(&self) -> Vec<PoolStatus> {
        self.owners.pools.show()
    }

    fn determined(&self, question: &Nat44Question) -> Result<Vec<Determined>, Refusal> {
        self.owners.pools.determined(question)
    }

    fn dns(&self) -> Result<DnsStatus, Refusal> {
        let hint = "write [dns] into the configuration and start cesd again";
        let dns = self.owners.dns.as_ref().map(super::dns::DnsControl::show);
        dns.ok_or_else(|| Refusal::new("the edge serves no DNS", hint))
    }

    fn hosts(&self, filter: &HostFilter) -> Result<HostList, Refusal> {
        self.owners.hosts.show(filter)
    }

    fn import(&self) -> Result<ImportShown, Refusal> {
        self.owners.hosts.import()
    }

    fn prgw(&self) -> Result<PrgwStatus, Refusal> {
        circular::show(self.circular.as_ref())
    }

    fn proxies(&self, filter: &ProxyFilter) -> Result<ProxyList, Refusal> {
        proxies::show(&self.config, self.owners.proxies.as_deref(), filter)
    }

    fn cetp(&self, filter: &CetpFilter) -> Result<CetpStatus, Refusal> {
        super::cetp::show(&self.config, self.owners.cetp.as_ref(), filter)
    }

    fn policy(&self, filter: &PolicyFilter) -> Result<PolicyList, Refusal> {
        self.owners.hosts.policy(filter)
    }

    fn explain(&self, question: &ExplainQuestion) -> Result<Explanation, Refusal> {
        let cetp = self.owners.cetp.as_ref();
        self.owners.hosts.explain(question, |edge, host| cetp?.worth(edge, host).ok())
    }
}
