//! The section about translation: `[nat44]`.
//!
//! Guarantees: inside and outside realms are on their sides, and the public addresses belong to nobody else: pool, own
//! addresses, gateways and static neighbours are disjoint. Never: allocates a port.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::error::Report;
use super::model::{Filtering, Flow, Nat44, Neighbor, PoolRange, PortRange, Route, Side, Timeouts};
use super::network::Network;
use super::section::{Located, Section, or};
use super::system::{SESSIONS_MAX, SESSIONS_MIN};
use super::{sides, values};

const POOL_RANGES_MAX: usize = 4096;
const POOL_ADDRESSES_MAX: u64 = 65_536;

/// What the pool is compared with.
pub(super) struct Surroundings<'a> {
    pub network: &'a Network,
    pub routes: &'a [Route],
    pub neighbors: &'a [Located<Neighbor>],
    pub flow: &'a Flow,
}

/// The translation, if the section is there and is right.
pub(super) fn read(
    report: &Report<'_>,
    mut section: Section<'_>,
    around: &Surroundings<'_>,
) -> Option<Nat44> {
    if !section.is_written() {
        return None;
    }
    let hint = "write inside = [\"…\"]: the realms whose hosts are translated";
    let inside = sides::inside(report, &mut section, around.network, hint);
    let hint = "write outside = \"…\": the realm that hosts are translated into";
    let outside = sides::outside(report, &mut section, around.network, hint);
    let pool = section.strings("pool", 1..=POOL_RANGES_MAX, values::pool_range);
    section.missing("pool", "write pool = [\"198.51.100.0/28\"]: the public addresses");
    let blocks = read_blocks(report, &mut section);
    let subscribers = section.integer("subscribers", 1..=SESSIONS_MAX);
    let mappings = section.integer("mappings", SESSIONS_MIN..=SESSIONS_MAX);
    let filtering = [
        ("endpoint-independent", Filtering::EndpointIndependent),
        ("address-and-port-dependent", Filtering::AddressAndPortDependent),
    ];
    let filtering = or(section.choice("filtering", &filtering), Filtering::EndpointIndependent);
    let hairpin = or(section.boolean("hairpin"), true);
    let inbound_sessions_per_mapping = or(section.integer("inbound_sessions_per_mapping", 1..=u16::MAX), 64);
    let timeouts = read_timeouts(report, section.table("timeouts", "nat44.timeouts"));
    let random_seed = section.integer("random_seed", 0..=i64::MAX as u64);
    section.finish();

    if let Some(seed) = random_seed {
        report.warn(seed.place, "ports and hashes are predictable: for tests and benches only");
    }
    if let Some(mappings) = mappings.filter(|mappings| mappings.value > around.flow.sessions) {
        report.warn(mappings.place, "more mappings than flow.sessions");
    }
    let pool = pool?;
    check_pool(report, &pool, outside, around);
    let blocks = blocks?;
    let mut nat = Nat44 {
        inside: inside?,
        outside: outside?,
        pool: pool.into_iter().map(|range| range.value).collect(),
        ports: blocks.ports,
        block_size: blocks.size,
        blocks_per_subscriber: blocks.per_subscriber,
        subscribers: 0,
        mappings: or(mappings, around.flow.sessions),
        filtering,
        hairpin,
        inbound_sessions_per_mapping,
        timeouts,
        random_seed: random_seed.map(|seed| seed.value),
    };
    nat.subscribers = subscribers_of(report, subscribers, &nat, around.flow);
    Some(nat)
}

/// How public ports are cut into blocks.
struct Blocks {
    ports: PortRange,
    size: u16,
    per_subscriber: u16,
}

fn read_blocks(report: &Report<'_>, section: &mut Section<'_>) -> Option<Blocks> {
    let ports = section.parse("ports", values::port_range);
    let size = section.integer("block_size", 64..=4096u16);
    let per_subscriber = section.integer("blocks_per_subscriber", 1..=1024u16);
    if let Some(odd) = size.filter(|size| !size.value.is_power_of_two()) {
        let above = odd.value.next_power_of_two();
        let hint = format!("write {} or {above}", above / 2);
        report.refuse(odd.place, format!("{} is not a power of two", odd.value), hint);
        return None;
    }
    let block = u32::from(or(size, 64));
    let range = or(ports, PortRange { first: 1024, last: u16::MAX });
    let (first, end) = (u32::from(range.first), u32::from(range.last) + 1);
    if first % block != 0 || end % block != 0 {
        let (first, end) = (first.next_multiple_of(block), end / block * block);
        let hint = match first < end {
            true => format!("write ports = \"{first}-{}\", or a smaller block_size", end - 1),
            false => "write a wider range, or a smaller block_size".into(),
        };
        let place = ports.map(|ports| ports.place).or(size.map(|size| size.place))?;
        let message = format!("ports {}-{} are not whole blocks of {block}", range.first, range.last);
        report.refuse(place, message, hint);
        return None;
    }
    let per_address = range.count() / block;
    if let Some(many) = per_subscriber.filter(|many| u32::from(many.value) > per_address) {
        let message = format!("one public address has only {per_address} block(s)");
        report.refuse(many.place, message, format!("write {per_address} or less, or more ports"));
    }
    let per_subscriber = or(per_subscriber, per_address.min(8) as u16);
    Some(Blocks { ports: range, size: block as u16, per_subscriber })
}

/// How many subscribers there can be; each needs a block and a session.
fn subscribers_of(report: &Report<'_>, given: Option<Located<u32>>, nat: &Nat44, flow: &Flow) -> u32 {
    let blocks = nat.addresses().saturating_mul(nat.blocks_per_address());
    let most = blocks.min(flow.sessions);
    if let Some(given) = given.filter(|given| given.value > most) {
        let message = format!(
            "{} subscribers are more than there are port blocks ({blocks}) or sessions ({})",
            given.value, flow.sessions
        );
        report.refuse(
            given.place,
            message,
            format!("write {most} or less, a larger pool or more flow.sessions"),
        );
    }
    or(given, most)
}

fn read_timeouts(report: &Report<'_>, mut section: Section<'_>) -> Timeouts {
    let mut timeout = |key, default, least| sides::timeout(report, &mut section, key, default, least);
    let timeouts = Timeouts {
        udp: timeout("udp", 300, (120, "RFC 4787 REQ-5")),
        tcp_established: timeout("tcp_established", 7440, (7440, "RFC 5382 REQ-5")),
        tcp_transitory: timeout("tcp_transitory", 240, (240, "RFC 5382 REQ-5")),
        icmp: timeout("icmp", 60, (60, "RFC 5508 REQ-2")),
    };
    section.finish();
    timeouts
}

/// Refuses public addresses that are somebody else's too.
fn check_pool(
    report: &Report<'_>,
    pool: &[Located<PoolRange>],
    outside: Option<u16>,
    around: &Surroundings<'_>,
) {
    let addresses: u64 = pool.iter().map(|range| range.value.count()).sum();
    if let Some(first) = pool.first().filter(|_| addresses > POOL_ADDRESSES_MAX) {
        let hint = format!("write {POOL_ADDRESSES_MAX} addresses or less");
        report.refuse(first.place, format!("has {addresses} addresses"), hint);
    }
    let mut sorted: Vec<&Located<PoolRange>> = pool.iter().collect();
    sorted.sort_by_key(|range| range.value.first);
    let mut highest: Option<PoolRange> = None;
    for range in sorted {
        if let Some(below) = highest.filter(|below| below.last >= range.value.first) {
            report.refuse(
                range.place,
                format!("{} overlaps {below}", range.value),
                "write each address once",
            );
        }
        highest = Some(highest.filter(|below| below.last > range.value.last).unwrap_or(range.value));
    }
    let taken = taken_addresses(outside, around);
    for range in pool {
        let above = taken.partition_point(|(address, _)| *address < range.value.first);
        for (address, owner) in
            taken[above..].iter().take_while(|(address, _)| range.value.contains(*address))
        {
            let message = format!("{} has {address} in it, {owner}", range.value);
            report.refuse(range.place, message, "write ranges without it: \"FIRST-LAST\"");
        }
        check_inside_prefixes(report, range, around.network);
    }
}

/// IPv4 addresses that the pool must not have, ascending, each with what it is.
fn taken_addresses(outside: Option<u16>, around: &Surroundings<'_>) -> Vec<(Ipv4Addr, &'static str)> {
    let mut taken = Vec::new();
    let mut take = |address: IpAddr, owner| {
        if let IpAddr::V4(address) = address {
            taken.push((address, owner));
        }
    };
    for (_, own) in around.network.realms().flat_map(|realm| around.network.addresses_in(realm)) {
        take(own.value.addr(), "an address of the edge");
    }
    let Some(outside) = outside else { return taken };
    for (_, own) in around.network.addresses_in(outside) {
        for end in [own.value.network(), own.value.broadcast()] {
            if values::reserved_in(&own.value, end).is_some() {
                take(end, "the network or broadcast address of an interface");
            }
        }
    }
    for route in around.routes.iter().filter(|route| route.realm == outside) {
        for (_, address) in route.gateways() {
            take(address, "the gateway of a route");
        }
    }
    for neighbor in around.neighbors {
        let interface = around.network.interfaces.get(usize::from(neighbor.value.interface));
        if interface.is_some_and(|interface| interface.realm == Some(outside)) {
            take(neighbor.value.address, "a static neighbour");
        }
    }
    taken.sort_by_key(|(address, _)| *address);
    taken.dedup_by_key(|(address, _)| *address);
    taken
}

fn check_inside_prefixes(report: &Report<'_>, range: &Located<PoolRange>, network: &Network) {
    let inside = network.realms().filter(|&realm| network.side(realm) == Some(Side::Inside));
    for (_, own) in inside.flat_map(|realm| network.addresses_in(realm)) {
        let IpNet::V4(prefix) = own.value else { continue };
        let is_apart = range.value.last < prefix.network() || range.value.first > prefix.broadcast();
        // The edge's own address in the range is refused already.
        if !is_apart && !range.value.contains(prefix.addr()) {
            let message = format!("{} is in {}, where inside hosts are", range.value, prefix.trunc());
            report.refuse(range.place, message, "write public addresses");
            return;
        }
    }
}
