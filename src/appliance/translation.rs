//! From `[nat44]` to the NAT: names become the terms of [`crate::nat`], seconds milliseconds.

use crate::config;
use crate::flow::{HashKey, Realm};
use crate::nat::{
    Dependence, Nat44, NatOptions, PcpOptions, Pool, PoolOptions, PortSelection, Sharing, Timeouts,
    Untranslated,
};
use rand::RngExt;
use rand::rngs::StdRng;

/// The translation that the configuration asks for.
pub fn nat44(n: &config::Nat44, workers: usize, hash: HashKey, random: &mut StdRng) -> Nat44 {
    let pools = n.pools.iter().map(|p| Pool::new(pool(n, p), || random.random())).collect();
    let options = NatOptions {
        inside: n.inside.iter().map(|&r| Realm(r)).collect(),
        outside: Realm(n.outside),
        untranslated: n
            .untranslated
            .iter()
            .map(|u| Untranslated { prefix: u.prefix, port: u.port })
            .collect(),
        hairpin: n.hairpin,
        inbound_sessions_per_mapping: n.inbound_sessions_per_mapping,
        sessions_per_subscriber: n.sessions_per_subscriber,
        new_sessions_per_second: n.new_sessions_per_second.unwrap_or(0),
        timeouts: timeouts(&n.timeouts),
        pcp: n.pcp.as_ref().map(pcp),
        mappings: n.mappings as usize,
        subscribers: n.subscribers as usize,
    };
    Nat44::new(options, pools, hash, workers)
}

fn pcp(p: &config::Pcp) -> PcpOptions {
    PcpOptions {
        lifetime_min: p.lifetime_min,
        lifetime_max: p.lifetime_max,
        mappings: p.mappings as usize,
        per_subscriber: p.mappings_per_subscriber,
    }
}

/// Idle times.
pub fn timeouts(t: &config::Timeouts) -> Timeouts {
    Timeouts {
        udp: t.udp * 1000,
        udp_ports: t.udp_ports.iter().map(|&(port, seconds)| (port, seconds * 1000)).collect(),
        udp_inbound_refresh: t.udp_inbound_refresh,
        tcp_established: t.tcp_established * 1000,
        tcp_transitory: t.tcp_transitory * 1000,
        tcp_opening: t.tcp_opening * 1000,
        icmp: t.icmp * 1000,
    }
}

fn pool(n: &config::Nat44, p: &config::NatPool) -> PoolOptions {
    let b = &p.behaviour;
    PoolOptions {
        name: p.name.clone(),
        ranges: p.addresses.iter().map(|r| (r.first, r.last)).collect(),
        realms: p.realms.iter().map(|&r| Realm(r)).collect(),
        subscribers: p.subscribers.clone(),
        mapping: dependence(b.mapping),
        filtering: dependence(b.filtering),
        selection: match b.port_selection {
            config::PortSelection::Random => PortSelection::Random,
            config::PortSelection::Preserve => PortSelection::Preserve,
            config::PortSelection::PreserveParity => PortSelection::PreserveParity,
        },
        sharing: match p.sharing {
            config::Sharing::Blocks => Sharing::Blocks {
                first: b.first_block_size.into(),
                block: b.block_size.into(),
                per_subscriber: b.blocks_per_subscriber,
            },
            config::Sharing::Deterministic => Sharing::Deterministic,
            config::Sharing::WholeAddress => Sharing::WholeAddress,
        },
        ports: b.ports.first..=b.ports.last,
        cool_down: n.port_cool_down * 1000,
    }
}

fn dependence(d: config::Dependence) -> Dependence {
    match d {
        config::Dependence::EndpointIndependent => Dependence::Endpoint,
        config::Dependence::AddressDependent => Dependence::Address,
        config::Dependence::AddressAndPortDependent => Dependence::AddressAndPort,
    }
}
