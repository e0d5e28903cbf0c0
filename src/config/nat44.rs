//! The section about translation: `[nat44]`.
//!
//! Guarantees: inside and outside realms are on their sides, and the public addresses belong to nobody else: pool, own
//! addresses, gateways and static neighbours are disjoint. Never: allocates a port.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::error::{Report, Wrong};
use super::model::{Flow, Neighbor, Route, Side};
use super::nat_model::{Nat44, NatPool, PoolRange, Timeouts, Untranslated};
use super::nat_pools;
use super::network::Network;
use super::pcp;
use super::section::{Located, Section, or};
use super::system::{SESSIONS_MAX, SESSIONS_MIN};
use super::{sides, values};

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
    let behaviour = nat_pools::behaviour(report, &mut section, &nat_pools::DEFAULT);
    let realms = inside.clone().unwrap_or_default();
    let inherited = behaviour.unwrap_or(nat_pools::DEFAULT);
    let pools = if section.contains("pools") {
        if section.contains("pool") {
            let hint = "write its addresses into one of [[nat44.pools]]";
            report.refuse(section.place(), "there are both pool and pools", hint);
        }
        section.strings("pool", 1..=usize::MAX, values::reference);
        nat_pools::several(report, &mut section, around.network, &realms, &inherited)
    } else {
        nat_pools::single(&mut section, &realms, inherited)
    };
    let subscribers = section.integer("subscribers", 1..=SESSIONS_MAX);
    let mappings = section.integer("mappings", SESSIONS_MIN..=SESSIONS_MAX);
    let untranslated = section.strings("untranslated", 0..=Nat44::UNTRANSLATED_MAX, untranslated);
    let hairpin = or(section.boolean("hairpin"), true);
    let inbound_sessions_per_mapping = or(section.integer("inbound_sessions_per_mapping", 1..=u16::MAX), 64);
    let sessions_per_subscriber = section.integer("sessions_per_subscriber", 1..=SESSIONS_MAX);
    let new_sessions_per_second = section.integer("new_sessions_per_second", 1..=1_000_000u32);
    let port_cool_down = section.integer("port_cool_down", 0..=86_400u32);
    let timeouts = read_timeouts(report, section.table("timeouts", "nat44.timeouts"));
    let most = mappings.as_ref().map_or(around.flow.sessions, |mappings| mappings.value);
    let pcp = pcp::read(report, section.table("pcp", "nat44.pcp"), most);
    let random_seed = section.integer("random_seed", 0..=i64::MAX as u64);
    section.finish();

    if let Some(seed) = random_seed {
        report.warn(seed.place, "ports and hashes are predictable: for tests and benches only");
    }
    if let Some(mappings) = mappings.filter(|mappings| mappings.value > around.flow.sessions) {
        report.warn(mappings.place, "more mappings than flow.sessions");
    }
    if let Some(short) = port_cool_down.filter(|seconds| seconds.value < 120) {
        report.warn(short.place, format_args!("{} s is less than the 120 s of RFC 6888 REQ-8", short.value));
    }
    let pools = pools?;
    let ranges: Vec<Located<PoolRange>> = pools.iter().flat_map(|read| read.ranges.iter().copied()).collect();
    check_pool(report, &ranges, outside, around);
    behaviour?;
    let mut nat = Nat44 {
        inside: inside?,
        outside: outside?,
        pools: pools.into_iter().map(|read| read.pool).collect(),
        subscribers: 0,
        mappings: or(mappings, around.flow.sessions),
        untranslated: untranslated.unwrap_or_default().into_iter().map(|entry| entry.value).collect(),
        hairpin,
        inbound_sessions_per_mapping,
        sessions_per_subscriber: or(sessions_per_subscriber, around.flow.sessions),
        new_sessions_per_second: new_sessions_per_second.map(|rate| rate.value),
        port_cool_down: or(port_cool_down, 120),
        timeouts,
        pcp,
        random_seed: random_seed.map(|seed| seed.value),
    };
    nat.subscribers = subscribers_of(report, subscribers, &nat, around.flow);
    Some(nat)
}

/// `"192.0.2.0/24"`, `"192.0.2.0/24 port 443"` or `"port 25"`.
fn untranslated(text: &str) -> Result<Untranslated, Wrong> {
    let hint = "write \"192.0.2.0/24\", \"192.0.2.0/24 port 443\" or \"port 25\"";
    let wrong = || Wrong::new(format!("\"{text}\" is no destination"), hint);
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let prefix = |text: &str| match values::prefix(text)? {
        IpNet::V4(prefix) => Ok(prefix),
        IpNet::V6(_) => Err(wrong()),
    };
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        ["port", number] => Ok(Untranslated { prefix: Ipv4Net::default(), port: Some(port(number)?) }),
        [network, "port", number] => Ok(Untranslated { prefix: prefix(network)?, port: Some(port(number)?) }),
        [network] => Ok(Untranslated { prefix: prefix(network)?, port: None }),
        _ => Err(wrong()),
    }
}

/// How many subscribers there can be; each needs a block and a session.
fn subscribers_of(report: &Report<'_>, given: Option<Located<u32>>, nat: &Nat44, flow: &Flow) -> u32 {
    let blocks = nat.pools.iter().map(NatPool::room).fold(0, u32::saturating_add);
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
    let udp_ports = read_udp_ports(report, &mut section);
    let udp_inbound_refresh = or(section.boolean("udp_inbound_refresh"), false);
    let mut timeout = |key, default, least| sides::timeout(report, &mut section, key, default, least);
    let tcp_transitory = timeout("tcp_transitory", 240, (240, "RFC 5382 REQ-5"));
    let timeouts = Timeouts {
        udp: timeout("udp", 300, (120, "RFC 4787 REQ-5")),
        udp_ports,
        udp_inbound_refresh,
        tcp_established: timeout("tcp_established", 7440, (7440, "RFC 5382 REQ-5")),
        tcp_transitory,
        // RFC 7857 section 2.1: as short as the operator likes.
        tcp_opening: timeout("tcp_opening", tcp_transitory, (0, "")),
        icmp: timeout("icmp", 60, (60, "RFC 5508 REQ-2")),
    };
    section.finish();
    timeouts
}

const UDP_PORTS_MAX: usize = 64;
/// From here on no port is well known (RFC 6335 section 6).
const FIRST_REGISTERED: u16 = 1024;
const UDP_LEAST: u32 = 120;

/// Life times by destination port, ascending.
fn read_udp_ports(report: &Report<'_>, section: &mut Section<'_>) -> Vec<(u16, u32)> {
    let ports = section.table("udp_ports", "nat44.timeouts.udp_ports");
    let mut ports = ports.numbered(UDP_PORTS_MAX, 1..=u16::MAX, 1..=86_400u32);
    ports.sort_unstable_by_key(|(port, _)| *port);
    for (port, seconds) in &ports {
        if *port >= FIRST_REGISTERED && seconds.value < UDP_LEAST {
            let message = format!(
                "{} s is less than the {UDP_LEAST} s of RFC 4787 REQ-5, and port {port} is none of the well-known ones (REQ-5 a)",
                seconds.value
            );
            report.warn(seconds.place, message);
        }
    }
    ports.into_iter().map(|(port, seconds)| (port, seconds.value)).collect()
}

/// Refuses ranges that overlap one another.
pub(super) fn check_disjoint(report: &Report<'_>, pool: &[Located<PoolRange>]) {
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
}

/// Refuses public addresses that are somebody else's too.
pub(super) fn check_pool(
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
    check_disjoint(report, pool);
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
