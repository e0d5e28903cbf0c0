//! From `[cetp]` to tunnels: what the workers share of them, who owns them, and the rings to who negotiates.

use super::{plan, translation};
use crate::config::{self, Config};
use crate::dataplane::cetp::Cetp;
use crate::dataplane::tunnels::{Options, Tunnels};
use crate::flow::tunnel::{self, Sizes};
use crate::flow::{FlowTable, HashKey, Realm};
use crate::nat::Timeouts;
use crate::ring::frames::{FrameReceiver, FrameSender, frames};
use rand::RngExt;
use rand::rngs::StdRng;

/// RLOC pairs that there is room for, for each edge.
const RLOCS_OF_AN_EDGE: usize = 4;

/// The ends of the thread that negotiates.
#[derive(Default)]
pub struct Rings {
    /// From each worker.
    pub up: Vec<FrameReceiver>,
    /// To each worker.
    pub down: Vec<FrameSender>,
}

/// The shared side, and who owns what it shows; `None` where there are no tunnels.
pub fn tunnels(
    config: &Config,
    workers: usize,
    flows: &FlowTable,
    random: &mut StdRng,
) -> Option<(Tunnels, tunnel::Tunnels)> {
    let tunnels = config.tunnels.as_ref()?;
    let edges = tunnels.edges as usize;
    let sizes = Sizes { sessions: tunnels.sessions as usize, peers: edges, rlocs: edges * RLOCS_OF_AN_EDGE };
    let owner = tunnel::Tunnels::new(sizes, flows.quiescence().clone(), || random.random());
    let hash = HashKey::new(|| random.random());
    let shared = Tunnels::new(owner.shared().clone(), options(config, tunnels), workers, hash);
    Some((shared, owner))
}

fn options(config: &Config, tunnels: &config::Tunnels) -> Options {
    let realm = |interface: u16| Realm(config.interfaces[usize::from(interface)].realm);
    let numbers = 0..config.interfaces.len() as u16;
    Options {
        port: tunnels.port,
        timeouts: config
            .nat44
            .as_ref()
            .map_or_else(Timeouts::default, |nat44| translation::timeouts(&nat44.timeouts)),
        rlocs: tunnels.rlocs.iter().map(|rloc| (realm(rloc.interface), rloc.address)).collect(),
        ethernet: numbers.map(|number| tunnels.ethernet.contains(&number)).collect(),
    }
}

/// Whether packets of other edges may come in by an interface: it has an RLOC, or they meet it over Ethernet.
pub fn end_on(config: &Config, interface: u16) -> bool {
    let on = |tunnels: &config::Tunnels| {
        tunnels.rlocs.iter().any(|rloc| rloc.interface == interface) || tunnels.ethernet.contains(&interface)
    };
    config.tunnels.as_ref().is_some_and(on)
}

/// The ends of the next of so many workers.
pub fn worker(rings: &mut Rings, workers: usize, secret: u64) -> Cetp {
    let ((up, messages), (answers, down)) = (frames(plan::PUNT_RING), frames(plan::PUNT_RING));
    rings.up.push(messages);
    rings.down.push(answers);
    Cetp::new(workers, secret, up, down)
}
