//! From the configuration to sizes, cores, queues and owners: pure arithmetic, no device is touched.

use super::Error;
use crate::config::{self, Config, Device, Distribute, Workers};
use crate::doctor::Needs;
use crate::dpdk::{BURST, Capabilities, EalOptions, HugePages, LcoreSpec, MAIN_LCORE, PortOptions};
use crate::nat::fragments::Limits;
use std::time::Duration;

/// Where threads run.
pub struct Layout {
    pub control: usize,
    /// By worker.
    pub workers: Vec<usize>,
}

/// Chooses the control core, and checks all cores against those that this process may use. Before EAL starts: it pins the
/// calling thread to one.
pub fn cores(workers: &Workers) -> Result<Layout, Error> {
    let usable: Vec<usize> =
        core_affinity::get_core_ids().ok_or(Error::Cores)?.iter().map(|c| c.id).collect();
    let check = |core: u16| {
        let known = usable.contains(&usize::from(core));
        if known { Ok(usize::from(core)) } else { Err(Error::NoSuchCore(core, usable.clone())) }
    };
    let places = workers.cores.iter().map(|&c| check(c)).collect::<Result<Vec<_>, _>>()?;
    let control = match workers.control_core {
        Some(core) => check(core)?,
        // A core without a worker if there is one.
        None => *usable.iter().find(|c| !places.contains(c)).or(usable.first()).ok_or(Error::Cores)?,
    };
    Ok(Layout { control, workers: places })
}

/// Between two looks of a control thread that not everybody wakes: what comes waits that long at most.
const NAP: Duration = Duration::from_micros(100);
/// And of one that whoever gives it something wakes: its timers are late by so much.
const LONG_NAP: Duration = Duration::from_millis(4);

/// Between two looks of a control thread whose other ends are the workers': those that sleep wake it.
pub fn nap(config: &Config) -> Duration {
    match config.workers.idle {
        config::Idle::Poll => NAP,
        config::Idle::Sleep => LONG_NAP,
    }
}

/// The lcore of a worker.
pub fn lcore(worker: usize) -> u32 {
    MAIN_LCORE + 1 + worker as u32
}

/// The name of a worker's thread.
pub fn thread_name(worker: usize) -> String {
    format!("ces-worker-{worker}")
}

/// EAL's options.
pub fn eal(config: &Config, layout: &Layout) -> EalOptions {
    let mut options = EalOptions::new(format!("ces-{}", config.instance.name), layout.control);
    let spec = |(id, &core): (usize, &usize)| LcoreSpec { lcore_id: lcore(id), core };
    options.lcores = layout.workers.iter().enumerate().map(spec).collect();
    options.huge_pages = match config.eal.huge_pages {
        config::HugePages::Auto => HugePages::Auto,
        config::HugePages::Required => HugePages::Required,
        config::HugePages::None => HugePages::None,
    };
    options.memory_mb = Some(config.eal.memory_mb.unwrap_or_else(|| memory_mb(config)));
    for port in &config.ports {
        match &port.device {
            Device::Pci(address) => options.pci_allow.push(address.clone()),
            vdev @ Device::Vdev { .. } => options.vdevs.push(vdev.to_string()),
        }
    }
    options.extra_args.clone_from(&config.eal.args);
    options
}

/// What is asked of a port's device.
pub fn port(config: &Config, port: &config::Port) -> PortOptions {
    let mut options = PortOptions::new(port.device.to_string());
    options.rx_queues = match config.workers.distribute {
        Distribute::Rss => port.queues,
        Distribute::Software => 1,
    };
    options.tx_queues = config.workers.cores.len() as u16;
    (options.rx_desc, options.tx_desc) = (port.rx_descriptors, port.tx_descriptors);
    options.mtu = Some(port.mtu);
    // With an address of its own that the device does not take, frames still have to arrive.
    options.promiscuous = port.mac.is_some();
    options.rx_interrupts = config.workers.idle == config::Idle::Sleep;
    let mut on_port = config.interfaces.iter().filter(|i| &config.ports[usize::from(i.port)] == port);
    options.vlan = port.vlan_offload && on_port.any(|i| i.vlan != config::Vlan::Untagged);
    options
}

/// What the device of that port gives less of, or otherwise, than was asked; what an operator should know.
pub fn shortfalls(port: &str, asked: &PortOptions, got: &Capabilities) -> Vec<String> {
    let mut notes = vec![];
    let driver = &got.driver;
    if got.rx_queues < asked.rx_queues {
        notes.push(format!(
            "port \"{port}\": {driver} gives {} of {} receive queues: one worker reads all of them",
            got.rx_queues, asked.rx_queues
        ));
    }
    if got.tx_queues < asked.tx_queues {
        notes.push(format!(
            "port \"{port}\": {driver} gives {} of {} transmit queues: one worker sends for the others",
            got.tx_queues, asked.tx_queues
        ));
    }
    if (got.rx_desc, got.tx_desc) != (asked.rx_desc, asked.tx_desc) {
        notes.push(format!(
            "port \"{port}\": {driver} has {} receive and {} transmit descriptors, not {} and {}",
            got.rx_desc, got.tx_desc, asked.rx_desc, asked.tx_desc
        ));
    }
    notes
}

/// Buffers of the packet pool: what all rings, caches, bursts and held packets can hold at once, and as much again in
/// flight; a power of two less one fills the pool's ring best.
pub fn mbufs(config: &Config) -> u32 {
    let workers = config.workers.cores.len() as u32;
    let rings: u32 = config
        .ports
        .iter()
        .map(|p| u32::from(p.queues) * u32::from(p.rx_descriptors) + workers * u32::from(p.tx_descriptors))
        .sum();
    let bursts = workers * (config.ports.len() as u32 + 4) * BURST as u32;
    let caches = workers * 512 * 3 / 2;
    let between = workers * workers.saturating_sub(1) * HANDOFF_RING as u32;
    let held = u32::from(config.limits.neighbor_hold_total) + workers * fragments(config).held;
    let needed = rings + bursts + caches + between + held;
    config.eal.mbufs.unwrap_or_else(|| (needed + needed / 4).next_power_of_two().max(4096) - 1)
}

/// A worker's share of the fragments: enough for some of the longest datagrams, however many workers there are.
pub fn fragments(config: &Config) -> Limits {
    const LEAST: u32 = 256;
    let (f, workers) = (&config.limits.fragments, config.workers.cores.len() as u32);
    let share = |all: u32| (all / workers).max(LEAST.min(all));
    let (datagrams, held) = (share(f.datagrams), share(f.hold.into()));
    Limits {
        datagrams,
        datagrams_of_one: f.datagrams_per_source.min(datagrams),
        held,
        held_of_one: u32::from(f.hold_per_source).min(held),
        lifetime: f.timeout * 1000,
    }
}

/// Megabytes that the packet pool takes, and what queues and rings need beside it.
fn memory_mb(config: &Config) -> u32 {
    const OBJECT_OVERHEAD: u64 = 256;
    const BESIDE: u64 = 128;
    let pool = u64::from(mbufs(config)) * (u64::from(config.eal.mbuf_data_room) + OBJECT_OVERHEAD);
    u32::try_from((pool >> 20) + BESIDE).unwrap_or(u32::MAX)
}

/// What an instance takes of huge pages, for [`doctor`](crate::doctor). The tables by their bounds a session and a mapping,
/// which `tests/memory.rs` measures.
pub fn needs(config: &Config) -> Needs {
    const SESSION: u64 = 160 + TCP;
    /// Two records of 128 bytes, and two slots of the index.
    const SESSION6: u64 = 288 + TCP;
    /// The windows of both halves.
    const TCP: u64 = 16;
    const MAPPING: u64 = 48;
    let mappings = config.nat44.as_ref().map_or(0, |nat44| u64::from(nat44.mappings));
    Needs {
        packets_mb: u64::from(config.eal.memory_mb.unwrap_or_else(|| memory_mb(config))),
        tables_mb: (u64::from(config.flow.sessions) * SESSION
            + config.ipv6.as_ref().map_or(0, |v6| u64::from(v6.sessions)) * SESSION6
            + mappings * MAPPING)
            .div_ceil(1 << 20),
    }
}

/// Bytes of a ring between a worker and the thread that serves the kernel's interfaces: some 700 full frames.
pub const PUNT_RING: usize = 1 << 20;

/// Packets in a hand-off ring between two workers.
pub const HANDOFF_RING: usize = 2048;

/// Each worker's part of a limit: none is left with nothing of a limit that is not nothing.
pub fn part(limit: u32, workers: usize) -> u32 {
    limit.div_ceil(workers as u32)
}

/// Which worker polls a receive queue, and which sends for a worker without a transmit queue: each worker its own queue where
/// there are enough, else the port's owner.
pub fn owner(config: &Config, port: usize) -> usize {
    let workers = config.workers.cores.len();
    config.ports[port].owner.map_or(port % workers, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &str) -> Config {
        let text = format!(
            "[instance]\nname = \"t\"\n[workers]\ncores = [0, 0]\nidle = \"sleep\"\n{extra}\n\
             [[port]]\nname = \"a\"\ndevice = \"net_null0\"\n[[realm]]\nname = \"r\"\nside = \"inside\"\n\
             [[interface]]\nport = \"a\"\nrealm = \"r\"\n"
        );
        config::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn without_a_pci_port_none_is_allowed() {
        let layout = Layout { control: 0, workers: vec![0, 0] };
        let options = eal(&config(""), &layout);
        assert!(options.pci_allow.is_empty());
        assert_eq!(options.vdevs, ["net_null0"]);
        assert_eq!(options.lcores.iter().map(|l| l.lcore_id).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_a_device_has_less_of_is_said() {
        let config = config("");
        let asked = port(&config, &config.ports[0]);
        let mut got = Capabilities {
            driver: "net_ice".into(),
            rx_queues: asked.rx_queues,
            tx_queues: asked.tx_queues,
            rx_desc: asked.rx_desc,
            tx_desc: asked.tx_desc,
            ..Capabilities::default()
        };
        assert_eq!(shortfalls("a", &asked, &got), [""; 0]);
        (got.rx_queues, got.tx_queues, got.tx_desc) = (1, 1, 512);
        let said = shortfalls("a", &asked, &got);
        let expected = [
            "1 of 2 receive queues",
            "1 of 2 transmit queues",
            "1024 receive and 512 transmit descriptors, not 1024 and 1024",
        ];
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.starts_with("port \"a\": net_ice ") && said.contains(expected), "{said}");
        }
    }

    #[test]
    fn every_worker_has_a_part_of_a_limit() {
        assert_eq!(
            [(1000, 1), (1000, 3), (1, 4), (0, 4)].map(|(limit, workers)| part(limit, workers)),
            [1000, 334, 1, 0]
        );
    }

    #[test]
    fn the_pool_covers_every_ring() {
        assert!(mbufs(&config("")) > 2 * 1024 + 2 * 1024);
        assert_eq!(mbufs(&config("[eal]\nmbufs = 50000")), 50_000);
    }

    #[test]
    fn each_worker_has_its_share_of_fragments() {
        let limits = fragments(&config("[limits]\nfragment_hold_per_source = 1000"));
        assert_eq!((limits.datagrams, limits.held, limits.lifetime), (2048, 512, 15_000));
        assert_eq!((limits.datagrams_of_one, limits.held_of_one), (64, 512));
        let few = fragments(&config("[limits]\nfragment_hold = 300\nfragment_datagrams = 64"));
        assert_eq!((few.datagrams, few.held, few.held_of_one), (64, 256, 128));
    }

    #[test]
    fn the_memory_covers_the_pool() {
        let needed = |eal: &str| memory_mb(&config(&format!("[eal]\nmbufs = 65536\n{eal}")));
        assert_eq!(needed(""), 152 + 128);
        assert_eq!(needed("mbuf_data_room = 256"), 32 + 128);
    }
}
