//! The parts of every worker: pool, ports, tables, rings.

use super::{Error, circular, links, plan, proxies, routes, translation, tunnels};
use crate::config::{self, Config, Distribute, Stop};
use crate::dataplane::dns::{Dns, DnsRates};
use crate::dataplane::fragments::Fragments;
use crate::dataplane::output::{Output, TxSide};
use crate::dataplane::police::Policer;
use crate::dataplane::punt::{Punts, Rates};
use crate::dataplane::resolve::{self, NeighborOwner};
use crate::dataplane::sources::{Check, Rules};
use crate::dataplane::vlan::{Links, Vlan};
use crate::dataplane::world::{Interface, NEIGHBOR_OWNER, TcpMss, World};
use crate::dataplane::{
    Board, Control, Idle, RxSide, WorkerCounters, WorkerParts, limit::Answers, limit::TokenBucket,
};
use crate::dpdk::{Eal, Pool, PoolOptions, Port, RxQueue, TxQueue};
use crate::firewall::{self, Firewall};
use crate::flow::tunnel::Tunnels;
use crate::flow::{Adjacencies, Bindings, FlowHome, FlowTable, HashKey, Realm};
use crate::nat::NatHome;
use crate::neigh::{Announcer, Neighbors, Timers};
use crate::packet::MacAddr;
use crate::ring;
use crate::ring::frames::{FrameReceiver, FrameSender, frames};
use crate::route::Routes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use tracing::warn;

/// The ports, for their figures.
pub type Ports = Arc<Vec<Port>>;

/// Everything, ready to run.
pub struct Parts {
    pub workers: Vec<WorkerParts>,
    pub counters: Vec<Arc<WorkerCounters>>,
    pub world: Arc<World>,
    pub board: Arc<Board>,
    pub control: Arc<Control>,
    pub ports: Ports,
    /// The ends of the thread that serves the kernel's interfaces, where there is one.
    pub kernel: Option<KernelRings>,
    /// The ends of the thread that serves DNS, where there is one.
    pub dns: Option<DnsRings>,
    /// What the desk of the circular pool is made of, where there is one.
    pub circular: Option<circular::Parts>,
    /// Who says whom proxy addresses stand for, where there are any.
    pub proxies: Option<Bindings>,
    /// Who owns the tunnels to other edges, and the ends of the thread that negotiates, where there are tunnels.
    pub tunnels: Option<(Tunnels, tunnels::Rings)>,
}

/// What the workers share, and who else has to do with it.
struct Shared {
    world: World,
    circular: Option<circular::Parts>,
    proxies: Option<Bindings>,
    tunnels: Option<Tunnels>,
}

/// See [`Parts::dns`].
#[derive(Default)]
pub struct DnsRings {
    /// From each worker.
    pub up: Vec<FrameReceiver>,
    /// To each worker.
    pub down: Vec<FrameSender>,
}

/// See [`Parts::kernel`].
pub struct KernelRings {
    /// From each worker.
    pub up: Vec<FrameReceiver>,
    /// To the one that sends for the kernel.
    pub down: FrameSender,
}

/// A started port's queues, to be given out.
struct Queues {
    rx: Vec<Option<RxQueue>>,
    tx: Vec<Option<TxQueue>>,
}

/// The generator of all secrets: the operating system's, or the configured seed's for tests and benches.
fn random(config: &Config) -> StdRng {
    match config.nat44.as_ref().and_then(|n| n.random_seed) {
        Some(seed) => StdRng::seed_from_u64(seed),
        None => rand::make_rng(),
    }
}

/// Starts the devices and builds the tables.
pub fn assemble(config: &Config, eal: &Eal) -> Result<Parts, Error> {
    let workers = config.workers.cores.len();
    let mut random = random(config);
    let mut pool = PoolOptions::new("ces-packets", plan::mbufs(config));
    pool.data_room = config.eal.mbuf_data_room;
    let pool = Pool::new(eal, &pool)?;
    let (ports, mut queues) = start_ports(config, eal, &pool)?;
    let Shared { world, mut circular, proxies, tunnels } = shared(config, &ports, workers, &mut random)?;
    let world = Arc::new(world);
    let board = Arc::new(Board::new(usize::from(config.flow.neighbors), ports.len()));
    let inputs = (config.workers.stop == Stop::EndOfInput).then_some(config.ports.len());
    let counters: Vec<Arc<WorkerCounters>> = (0..workers).map(|_| Arc::default()).collect();
    let control = Arc::new(Control::new(inputs, counters.clone()));
    let mut parts = Vec::new();
    let mut up = vec![];
    let (to_worker, down) = frames(plan::PUNT_RING);
    // The neighbour owner sends for the kernel.
    let mut down = config.exception.is_some().then_some(down);
    let mut dns_rings = DnsRings::default();
    let mut edge_rings = tunnels::Rings::default();
    for (id, mut peers) in ring::mesh(workers, plan::HANDOFF_RING).into_iter().enumerate() {
        let out = Output::new(tx_sides(config, &ports, &mut queues, id), &mut peers, counters[id].clone());
        let (seed, secret) = (random.random(), random.random());
        let to_kernel = config.exception.as_ref().map(|_| {
            let (sender, receiver) = frames(plan::PUNT_RING);
            up.push(receiver);
            sender
        });
        let dns = config.dns.as_ref().map(|_| {
            let ((up, questions), (answers, down)) = (frames(plan::PUNT_RING), frames(plan::PUNT_RING));
            dns_rings.up.push(questions);
            dns_rings.down.push(answers);
            Dns::new(dns_rates(config), secret, up, down)
        });
        let cetp = tunnels.as_ref().map(|_| tunnels::worker(&mut edge_rings, workers, secret));
        let neighbors = match id {
            NEIGHBOR_OWNER => Some(neighbors(config, &world, board.clone())?),
            _ => None,
        };
        parts.push(WorkerParts {
            id,
            world: world.clone(),
            control: control.clone(),
            rx: rx_sides(config, &world, &mut queues, id),
            out,
            from_peers: peers.from,
            waker: peers.waker,
            flows: FlowHome::new(world.flows.clone()),
            nat: world.nat.clone().map(|nat| NatHome::new(nat, id, seed)),
            firewall: world.firewall.clone().map(firewall::Home::new),
            fragments: None,
            neighbors,
            pool: pool.clone(),
            icmp_errors: Answers::new(plan::part(config.limits.icmp_errors_per_second, workers), secret),
            punts: Punts::new(rates(config), world.interfaces.len(), secret, to_kernel, down.take())
                .with_dns(dns)
                .with_cetp(cetp),
            claims: circular
                .as_mut()
                .zip(config.prgw.as_ref())
                .map(|(parts, prgw)| circular::worker(prgw, parts, workers, &mut random)),
            idle: match config.workers.idle {
                config::Idle::Poll => Idle::Poll,
                config::Idle::Sleep => Idle::Sleep,
            },
        });
    }
    for part in parts.iter_mut().filter(|_| config.nat44.is_some() || tunnels.is_some()) {
        let limits = plan::fragments(config);
        part.fragments = Some(Fragments::new(limits, part.id, workers, || random.random()));
    }
    let kernel = config.exception.is_some().then_some(KernelRings { up, down: to_worker });
    let dns = config.dns.is_some().then_some(dns_rings);
    let ports = Arc::new(ports);
    let tunnels = tunnels.map(|tunnels| (tunnels, edge_rings));
    Ok(Parts {
        workers: parts,
        counters,
        world,
        board,
        control,
        ports,
        kernel,
        dns,
        circular,
        proxies,
        tunnels,
    })
}

/// Each worker's part of the questions to the edge's DNS.
fn dns_rates(config: &Config) -> DnsRates {
    let (limits, workers) = (&config.limits, config.workers.cores.len());
    DnsRates {
        all: plan::part(limits.dns_per_second, workers),
        source: plan::part(limits.dns_per_source_per_second, workers),
    }
}

/// Each worker's part of what is let through to the edge itself.
fn rates(config: &Config) -> Rates {
    let (limits, workers) = (&config.limits, config.workers.cores.len());
    let pcp = config.nat44.as_ref().and_then(|n| n.pcp);
    let requests = pcp.map_or(0, |pcp| pcp.requests_per_second);
    Rates {
        echo: plan::part(limits.echo_per_second, workers),
        // One worker hears them all.
        neighbors: limits.neighbor_messages_per_second,
        control: plan::part(requests, workers),
        class: plan::part(limits.exception_per_second, workers),
        source: plan::part(limits.exception_per_source_per_second, workers),
    }
}

fn start_ports(config: &Config, eal: &Eal, pool: &Pool) -> Result<(Vec<Port>, Vec<Queues>), Error> {
    let (mut ports, mut queues) = (vec![], vec![]);
    for port in &config.ports {
        let failed = |source| Error::Port { port: port.name.clone(), source };
        let options = plan::port(config, port);
        let (started, rx, tx) = Port::start(eal, &options, pool).map_err(failed)?;
        plan::shortfalls(&port.name, &options, started.capabilities())
            .iter()
            .for_each(|note| warn!("{note}"));
        if let Some(mac) = port.mac
            && let Err(why) = started.set_mac(mac)
        {
            warn!("port \"{}\" keeps its device's MAC address and receives promiscuously: {why}", port.name);
        }
        ports.push(started);
        queues
            .push(Queues { rx: rx.into_iter().map(Some).collect(), tx: tx.into_iter().map(Some).collect() });
    }
    Ok((ports, queues))
}

/// The queues that a worker polls.
fn rx_sides(config: &Config, world: &World, queues: &mut [Queues], id: usize) -> Vec<RxSide> {
    let workers = config.workers.cores.len();
    let mut sides = vec![];
    for (port, queues) in queues.iter_mut().enumerate() {
        // A port without an interface is never read.
        if world.links[port].is_empty() {
            continue;
        }
        let own = queues.rx.len() >= workers;
        let owner = plan::owner(config, port);
        for (number, queue) in queues.rx.iter_mut().enumerate() {
            let reader = if own { number % workers } else { owner };
            if reader == id
                && let Some(queue) = queue.take()
            {
                let rate = config.ports[port].rx_packets_per_second;
                let rate =
                    rate.map(|rate| TokenBucket::of_rate(plan::part(rate, if own { workers } else { 1 })));
                sides.push(RxSide { queue, port, rate });
            }
        }
    }
    sides
}

/// A worker's view of every port's way out.
fn tx_sides(config: &Config, ports: &[Port], queues: &mut [Queues], id: usize) -> Vec<TxSide> {
    let workers = config.workers.cores.len();
    let side = |(port, queues): (usize, &mut Queues)| {
        let own = queues.tx.len() >= workers;
        let owner = plan::owner(config, port);
        let number = if own { Some(id) } else { (owner == id).then_some(0) };
        TxSide {
            queue: number.and_then(|n| queues.tx.get_mut(n)).and_then(Option::take),
            owner,
            inserts_vlan: ports[port].capabilities().tx_vlan_insert,
            multi_segments: ports[port].capabilities().tx_multi_segments,
        }
    };
    queues.iter_mut().enumerate().map(side).collect()
}

fn shared(config: &Config, ports: &[Port], workers: usize, random: &mut StdRng) -> Result<Shared, Error> {
    let mut interfaces = vec![];
    let mut by_port: Vec<Vec<_>> = vec![vec![]; ports.len()];
    for (number, i) in config.interfaces.iter().enumerate() {
        let port = usize::from(i.port);
        let device = ports[port].mac();
        let mac = match config.ports[port].mac {
            Some(mac) => mac,
            None => device.map_err(|source| Error::Port { port: config.ports[port].name.clone(), source })?,
        };
        let interface = Interface {
            name: i.name.clone(),
            port: i.port,
            realm: Realm(i.realm),
            mac: MacAddr(mac),
            addresses: i.addresses.clone(),
            vlan: match i.vlan {
                config::Vlan::Untagged => Vlan::NONE,
                config::Vlan::Single(id) => Vlan::single(id),
                config::Vlan::Double { outer, inner } => Vlan::double(outer, inner),
            },
            mtu: i.mtu,
            tcp_mss: match i.tcp_mss {
                config::TcpMss::Auto => TcpMss::Auto,
                config::TcpMss::Off => TcpMss::Off,
                config::TcpMss::AtMost(most) => TcpMss::AtMost(most),
            },
            mirrored: config.exception.as_ref().is_some_and(|e| e.interfaces.contains(&(number as u16))),
        };
        by_port[port].push((interface.vlan, interface.ingress(number as u16)));
        interfaces.push(interface);
    }
    let mut key = || HashKey::new(|| random.random());
    let (flow_key, adjacency_key, nat_key) = (key(), key(), key());
    let sessions = config.flow.sessions as usize;
    // Where nothing forwards IPv6 there is no memory for it.
    let sessions6 = config.ipv6.as_ref().map_or(0, |v6| v6.sessions as usize);
    let flows = Arc::new(FlowTable::new(sessions, sessions6, workers, flow_key));
    let firewall_key = config.ipv6.is_some().then(|| HashKey::new(|| random.random()));
    let police = police(config);
    let policer_key = police.is_some().then(|| HashKey::new(|| random.random()));
    let nat = config.nat44.as_ref().map(|n| translation::nat44(n, workers, nat_key, random));
    let pool = config.prgw.as_ref().map(|prgw| circular::pool(prgw, random)).unzip();
    let nat = nat.map(|nat| match &pool.0 {
        Some(circular) => nat.with_circular(circular.clone()),
        None => nat,
    });
    let proxies = proxies::pools(config, random).unzip();
    let nat = nat.map(|nat| match proxies.0 {
        Some(proxies) => nat.with_proxies(proxies),
        None => nat,
    });
    let (tunnels, owner) = tunnels::tunnels(config, workers, &flows, random).unzip();
    let nat = nat.map(|nat| match &tunnels {
        Some(tunnels) => nat.with_tunnels(tunnels.table.clone()),
        None => nat,
    });
    let ends_tunnels = |port: usize| {
        let mut on_port = (0..).zip(&config.interfaces).filter(|(_, i)| usize::from(i.port) == port);
        on_port.any(|(number, _)| tunnels::end_on(config, number))
    };
    let links = by_port.iter().enumerate();
    let links = links.map(|(port, on)| Links::new(on).with_tunnels(ends_tunnels(port))).collect();
    let world = World {
        workers,
        spread: config.workers.distribute == Distribute::Software && workers > 1,
        routes: Arc::new(Routes::new(routes::table(config)?)),
        adjacencies: Adjacencies::new(usize::from(config.flow.neighbors), adjacency_key),
        firewall: config
            .ipv6
            .as_ref()
            .zip(firewall_key)
            .map(|(v6, hash)| Arc::new(Firewall::new(firewall_options(v6), hash, workers))),
        sources: sources(config),
        policer: policer_key
            .zip(police)
            .map(|(hash, (rate, subscribers))| Policer::new(rate, subscribers, hash)),
        nat: nat.map(Arc::new),
        tunnels,
        interfaces,
        links,
        flows,
    };
    Ok(Shared { world, circular: pool.1, proxies: proxies.1, tunnels: owner })
}

/// The rate of a subscriber, and how many there are at a time.
fn police(config: &Config) -> Option<(u32, usize)> {
    let rate = config.limits.subscriber_packets_per_second?;
    let v4 = config.nat44.as_ref().map_or(0, |nat| nat.subscribers as usize);
    // Of IPv6 nobody counts subscribers: as many as there are of IPv4, or as sessions allow.
    let v6 = config.ipv6.as_ref().map_or(0, |v6| (v6.sessions as usize).min(v4.max(65_536)));
    Some((rate, v4 + v6))
}

fn firewall_options(v6: &config::Ipv6) -> firewall::Options {
    let t = &v6.timeouts;
    firewall::Options {
        inside: v6.inside.iter().map(|&r| Realm(r)).collect(),
        outside: Realm(v6.outside),
        allow_ipsec: v6.allow_ipsec,
        // What strangers open leaves the greater part of the table to the subscribers.
        sessions_from_outside: v6.sessions as usize / 8,
        timeouts: firewall::Timeouts6 {
            udp: t.udp * 1000,
            tcp_established: t.tcp_established * 1000,
            tcp_transitory: t.tcp_transitory * 1000,
            icmp: t.icmp * 1000,
            other: t.other * 1000,
        },
    }
}

/// The rules about sources, by realm; realm 0 is none.
fn sources(config: &Config) -> Vec<Rules> {
    let rules = |realm: &config::Realm| {
        let check = match realm.source_check {
            config::SourceCheck::Strict => Check::Strict,
            config::SourceCheck::Loose => Check::Loose,
            config::SourceCheck::Off => Check::Off,
        };
        Rules::new(check, &realm.bogons)
    };
    std::iter::once(Rules::default()).chain(config.realms.iter().map(rules)).collect()
}

fn neighbors(config: &Config, world: &World, board: Arc<Board>) -> Result<NeighborOwner, Error> {
    let (capacity, limits) = (usize::from(config.flow.neighbors), &config.limits);
    let (each, total) = (usize::from(limits.neighbor_hold), usize::from(limits.neighbor_hold_total));
    let table = Neighbors::new(capacity, Timers::default(), each, total)?;
    let solicitations = TokenBucket::of_rate(limits.arp_per_second);
    let mut owner = NeighborOwner::new(table, capacity, total, solicitations, board);
    for n in &config.neighbors {
        if !resolve::insert_permanent(&mut owner, world, n.interface, n.address, MacAddr(n.mac)) {
            return Err(Error::NeighborsFull(n.address));
        }
    }
    if links::are_live(config) {
        let announced = links::announced(config, &world.interfaces);
        let of = |port| announced.iter().filter(move |(i, _)| world.interfaces[usize::from(*i)].port == port);
        let announcers = (0..config.ports.len() as u16).map(|port| Announcer::new(of(port).copied()));
        owner.announce(announcers.collect(), TokenBucket::of_rate(links::announcements_per_second(config)));
    }
    Ok(owner)
}
