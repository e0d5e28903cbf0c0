//! From `[prgw]` to the circular pool: what workers and the pool's desk share, the rings between them, and how it is shown.

use super::plan;
use crate::config::{self, Config, Prgw};
use crate::dataplane::World;
use crate::dataplane::claims::{Claims, Rates};
use crate::dns::circular::Pool;
use crate::edge::prgw::desk::{Desk, DeskParts};
use crate::edge::prgw::shown::Shown;
use crate::edge::prgw::{Gateway, Options, Proof, Secret, Tier};
use crate::edge::thread::Reader;
use crate::flow::{Circular, Marks, Realm};
use crate::manage::Refusal;
use crate::manage::prgw_model::{PrgwCounter, PrgwStatus};
use crate::ring::claims::{DeskEnds, rings};
use rand::RngExt;
use rand::rngs::StdRng;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Bytes of a ring of first packets, or of commands: some ten thousand SYNs.
const PACKETS: usize = 1 << 20;
/// Sessions of a worker whose beginning or end is on its way.
const EVENTS: usize = 16_384;

/// The pool, before the workers run.
pub struct Parts {
    marks: Marks,
    secret: Secret,
    ends: Vec<DeskEnds>,
    pub shown: Arc<Shown>,
}

/// The shared side of the pool, and what becomes of it.
pub fn pool(prgw: &Prgw, random: &mut StdRng) -> (Arc<Circular>, Parts) {
    let ranges: Vec<_> = prgw.pool.iter().map(|range| (range.first, range.last)).collect();
    let (circular, marks) = Circular::new(&ranges);
    let secret = Secret::new([random.random(), random.random()]);
    (circular, Parts { marks, secret, ends: vec![], shown: Arc::default() })
}

/// The ends of the next of so many workers.
pub fn worker(prgw: &Prgw, parts: &mut Parts, workers: usize, random: &mut StdRng) -> Claims {
    let (own, desk) = rings(PACKETS, EVENTS);
    parts.ends.push(desk);
    let rates = Rates {
        all: plan::part(prgw.first_packets_per_second, workers),
        source: prgw.first_packets_per_source_per_second,
    };
    Claims::new(own, rates, random.random())
}

/// The pool, for the thread that answers questions. Hosts are those of the register.
pub fn answers(config: &Config, parts: Parts, world: &Arc<World>, hosts: Reader) -> Option<Pool> {
    let prgw = config.prgw.as_ref()?;
    let nat = world.nat.clone()?;
    let outside = nat.options().outside;
    let hairpins = config.nat44.iter().filter(|nat44| nat44.hairpin).flat_map(|nat44| &nat44.inside);
    let hairpins = hairpins.copied().collect();
    let home = move |realm, address| nat.is_inside(realm).then(|| nat.home_of_inside(realm, address));
    let shared = parts.marks.shared().clone();
    let desk = Desk::new(DeskParts {
        gateway: Gateway::new(options(prgw, hosts.config()), parts.secret),
        marks: parts.marks,
        outside,
        find: Box::new(move |host| find(&hosts, host)),
        home: Box::new(home),
        workers: parts.ends,
        shown: parts.shown,
    });
    let address = move |number| shared.address(number).map(IpAddr::V4);
    let trusted = prgw.trusted_resolvers.clone();
    Some(Pool { gateway: Box::new(desk), address: Box::new(address), trusted, hairpins })
}

/// The realm and the first IPv4 address of a host of the register.
fn find(hosts: &Reader, host: u32) -> Option<(Realm, Ipv4Addr)> {
    let register = hosts.register();
    let parts = register.get(crate::edge::hosts::HostId::from_number(host))?.parts();
    let address = parts.addresses().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })?;
    Some((Realm(parts.realm), address))
}

fn options(prgw: &Prgw, hosts: &config::Hosts) -> Options {
    let share = |hundredths: u8| f32::from(hundredths) / 100.0;
    let tier = |tier: config::PrgwTier| Tier {
        proof: match tier.proof {
            config::PrgwProof::Nothing => Proof::Nothing,
            config::PrgwProof::ReturnPath => Proof::ReturnPath,
            config::PrgwProof::Label => Proof::Label,
            config::PrgwProof::LabelByTcp => Proof::LabelByTcp,
        },
        asker: share(tier.asker),
        source: share(tier.source),
    };
    Options {
        addresses: prgw.addresses(),
        reservations: prgw.reservations as usize,
        ceiling: prgw.timeout_ms,
        floor: prgw.timeout_least_ms,
        adaptive: prgw.adaptive,
        per_host: hosts.pending_reservations.into(),
        per_host_per_second: hosts.reservations_per_second,
        per_resolver: prgw.per_resolver,
        tiers: prgw.tiers.map(tier),
        good: share(prgw.good),
        remembered: prgw.remembered as usize,
        rejects: prgw.rejects as usize,
        sessions: prgw.session_pairs as usize,
    }
}

/// As the operator sees it.
pub fn show(shown: Option<&Arc<Shown>>) -> Result<PrgwStatus, Refusal> {
    let hint = "write [prgw] into the configuration and start cesd again";
    let figures = shown.ok_or_else(|| Refusal::new("there is no circular pool", hint))?.read();
    let counter = |(name, count): (&str, u64)| PrgwCounter { name: name.into(), count };
    Ok(PrgwStatus {
        addresses: figures.addresses,
        busy: figures.busy,
        waiting: figures.waiting,
        tier: figures.tier,
        sessions: figures.sessions,
        counters: figures.counters.into_iter().map(counter).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without numbers in `[prgw]` the gateway has its own defaults.
    #[test]
    fn the_defaults_are_the_gateways() {
        let text = "[instance]\nname = \"t\"\n[workers]\ncores = [0]\nidle = \"sleep\"\n\
             [[port]]\nname = \"p\"\ndevice = \"net_null0\"\n[[port]]\nname = \"q\"\ndevice = \"net_null1\"\n\
             [[realm]]\nname = \"home\"\nside = \"inside\"\n[[realm]]\nname = \"net\"\nside = \"outside\"\n\
             [[interface]]\nport = \"p\"\nrealm = \"home\"\naddresses = [\"10.0.0.1/24\"]\n\
             [[interface]]\nport = \"q\"\nrealm = \"net\"\naddresses = [\"192.0.2.1/24\"]\n\
             [nat44]\ninside = [\"home\"]\noutside = \"net\"\npool = [\"192.0.2.9\"]\n[hosts]\n\
             [prgw]\npool = [\"192.0.2.16/28\", \"198.51.100.0/24\"]\n";
        let config = config::parse("t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
        let (prgw, hosts) = (config.prgw.expect("it is written"), config.hosts.expect("a register"));
        assert_eq!(format!("{:?}", options(&prgw, &hosts)), format!("{:?}", Options::new(272)));
    }
}
