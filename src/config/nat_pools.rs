//! `[[nat44.pools]]`, and the keys that say for all pools how they translate.
//!
//! Guarantees: a pool has whole blocks, room for those whom a formula gives a block, and names what it can't have. Never:
//! compares its addresses with anybody else's; that is for all pools together.

use ipnet::{IpNet, Ipv4Net};

use super::error::{Place, Report, Wrong};
use super::model::Side;
use super::nat_model::{
    Dependence, Nat44, NatPool, PoolBehaviour, PoolRange, PortRange, PortSelection, Sharing,
};
use super::network::{Network, REALMS_MAX};
use super::section::{Located, Section, or};
use super::values;

const RANGES_MAX: usize = 4096;
const PREFIXES_MAX: usize = 256;
/// Ports of the smallest block, of a formula's too.
const BLOCK_MIN: u32 = 64;

/// A pool, and where its addresses stand.
pub(super) struct ReadPool {
    pub pool: NatPool,
    pub ranges: Vec<Located<PoolRange>>,
}

/// What a pool does of which nothing is said.
pub(super) const DEFAULT: PoolBehaviour = PoolBehaviour {
    mapping: Dependence::EndpointIndependent,
    filtering: Dependence::EndpointIndependent,
    port_selection: PortSelection::Random,
    ports: PortRange { first: 1024, last: u16::MAX },
    block_size: 64,
    first_block_size: 64,
    blocks_per_subscriber: 0,
};

const DEPENDENCES: [(&str, Dependence); 3] = [
    ("endpoint-independent", Dependence::EndpointIndependent),
    ("address-dependent", Dependence::AddressDependent),
    ("address-and-port-dependent", Dependence::AddressAndPortDependent),
];

const SELECTIONS: [(&str, PortSelection); 3] = [
    ("random", PortSelection::Random),
    ("preserve", PortSelection::Preserve),
    ("preserve-parity", PortSelection::PreserveParity),
];

/// How a pool, or all of them, translate; `inherited` says what holds where nothing is written.
pub(super) fn behaviour(
    report: &Report<'_>,
    section: &mut Section<'_>,
    inherited: &PoolBehaviour,
) -> Option<PoolBehaviour> {
    let mapping = or(section.choice("mapping", &DEPENDENCES), inherited.mapping);
    let filtering = or(section.choice("filtering", &DEPENDENCES), inherited.filtering);
    let port_selection = or(section.choice("port_selection", &SELECTIONS), inherited.port_selection);
    let ports = section.parse("ports", values::port_range);
    let size = section.integer("block_size", 64..=4096u16);
    let first_size = section.integer("first_block_size", 64..=4096u16);
    let per_subscriber = section.integer("blocks_per_subscriber", 1..=1024u16);
    let mut is_whole = true;
    for odd in [size, first_size].into_iter().flatten().filter(|size| !size.value.is_power_of_two()) {
        let above = odd.value.next_power_of_two();
        let hint = format!("write {} or {above}", above / 2);
        report.refuse(odd.place, format!("{} is not a power of two", odd.value), hint);
        is_whole = false;
    }
    let block = or(size, inherited.block_size);
    // A size that is written for one pool is that of its first blocks too, unless that is written as well.
    let unwritten = if size.is_some() { block } else { inherited.first_block_size };
    let first = or(first_size, unwritten);
    if let Some(large) = first_size.filter(|first| first.value > block) {
        let message = format!("{} is more than block_size, {block}", large.value);
        report.refuse(large.place, message, format!("write {block} or less"));
        is_whole = false;
    }
    if !is_whole {
        return None;
    }
    let range = or(ports, inherited.ports);
    let unit = u32::from(block);
    let (low, end) = (u32::from(range.first), u32::from(range.last) + 1);
    if low % unit != 0 || end % unit != 0 {
        let (low, end) = (low.next_multiple_of(unit), end / unit * unit);
        let hint = match low < end {
            true => format!("write ports = \"{low}-{}\", or a smaller block_size", end - 1),
            false => "write a wider range, or a smaller block_size".into(),
        };
        let place = ports.map(|ports| ports.place).or(size.map(|size| size.place))?;
        let message = format!("ports {}-{} are not whole blocks of {unit}", range.first, range.last);
        report.refuse(place, message, hint);
        return None;
    }
    let mut behaviour = PoolBehaviour {
        mapping,
        filtering,
        port_selection,
        ports: range,
        block_size: block,
        first_block_size: first,
        blocks_per_subscriber: inherited.blocks_per_subscriber,
    };
    if first < block && range.count() < u32::from(first) + unit {
        let message =
            format!("ports {}-{} have no room for a first block and another", range.first, range.last);
        let place = first_size.map(|first| first.place).unwrap_or(section.place());
        report.refuse(place, message, "write a wider range, or smaller blocks");
        return None;
    }
    let per_address = behaviour.blocks_per_address();
    if let Some(many) = per_subscriber.filter(|many| u32::from(many.value) > per_address) {
        let message = format!("one public address has only {per_address} block(s)");
        report.refuse(many.place, message, format!("write {per_address} or less, or more ports"));
    }
    behaviour.blocks_per_subscriber = match (per_subscriber, inherited.blocks_per_subscriber) {
        (Some(many), _) => many.value,
        (None, 0) => per_address.min(8) as u16,
        (None, many) => many.min(per_address as u16),
    };
    Some(behaviour)
}

/// The one pool that `pool` in `[nat44]` says.
pub(super) fn single(
    section: &mut Section<'_>,
    inside: &[u16],
    behaviour: PoolBehaviour,
) -> Option<Vec<ReadPool>> {
    let ranges = section.strings("pool", 1..=RANGES_MAX, values::pool_range);
    section.missing("pool", "write pool = [\"198.51.100.0/28\"]: the public addresses, or [[nat44.pools]]");
    let ranges = ranges?;
    let pool = NatPool {
        name: "pool".into(),
        addresses: ranges.iter().map(|range| range.value).collect(),
        realms: inside.to_vec(),
        subscribers: vec![],
        behaviour,
        sharing: Sharing::Blocks,
    };
    Some(vec![ReadPool { pool, ranges }])
}

/// Every `[[nat44.pools]]`; `None` when there are none and that was said.
pub(super) fn several(
    report: &Report<'_>,
    section: &mut Section<'_>,
    network: &Network,
    inside: &[u16],
    inherited: &PoolBehaviour,
) -> Option<Vec<ReadPool>> {
    let sections = section.tables_at("pools", "nat44.pools", Nat44::POOLS_MAX)?;
    let mut pools: Vec<ReadPool> = vec![];
    for section in sections {
        let place = section.place();
        let Some(read) = one(report, section, network, inside, inherited) else { continue };
        if pools.iter().any(|other| other.pool.name == read.pool.name) {
            let message = format!("pool \"{}\" stands twice", read.pool.name);
            report.refuse(place, message, "give each a name of its own");
        }
        pools.push(read);
    }
    Some(pools)
}

fn one(
    report: &Report<'_>,
    mut section: Section<'_>,
    network: &Network,
    inside: &[u16],
    inherited: &PoolBehaviour,
) -> Option<ReadPool> {
    let place = section.place();
    let name = section.require("name", values::name, "write name = \"…\": what cesctl calls the pool");
    let ranges = section.strings("addresses", 1..=RANGES_MAX, values::pool_range);
    section.missing("addresses", "write addresses = [\"198.51.100.0/28\"]: the public addresses");
    let realms = realms(report, &mut section, network, inside);
    let subscribers = section.strings("subscribers", 1..=PREFIXES_MAX, subscriber_prefix);
    let subscribers = subscribers.map(|list| disjoint(report, list)).unwrap_or_default();
    let deterministic = section.boolean("deterministic").filter(|value| value.value);
    let whole = section.boolean("whole_address").filter(|value| value.value);
    let cuts = ["block_size", "first_block_size", "blocks_per_subscriber"];
    let cut = cuts.iter().find(|key| section.contains(key));
    let behaviour = behaviour(report, &mut section, inherited);
    section.finish();

    let sharing = match (deterministic, whole) {
        (Some(one), Some(_)) => {
            let message = "a pool is deterministic or of whole addresses, not both";
            report.refuse(one.place, message, "remove one of the two");
            return None;
        }
        (Some(_), None) => Sharing::Deterministic,
        (None, Some(_)) => Sharing::WholeAddress,
        (None, None) => Sharing::Blocks,
    };
    if let (Some(flag), Some(key)) = (deterministic.or(whole), cut) {
        let message = format!("such a pool has no blocks that {key} could cut");
        report.refuse(flag.place, message, format!("remove {key} here, or this"));
    }
    let ranges = ranges?;
    let pool = NatPool {
        name: name?.value,
        addresses: ranges.iter().map(|range| range.value).collect(),
        realms: realms?,
        subscribers,
        behaviour: behaviour?,
        sharing,
    };
    if sharing == Sharing::Deterministic {
        check_formula(report, &pool, deterministic.map_or(place, |flag| flag.place))?;
    }
    Some(ReadPool { pool, ranges })
}

/// Whether every subscriber of a deterministic pool has ports enough.
fn check_formula(report: &Report<'_>, pool: &NatPool, place: Place) -> Option<()> {
    if pool.subscribers.is_empty() {
        let hint = "write subscribers = [\"10.0.0.0/24\"]: whom the formula counts";
        report.refuse(place, "a deterministic pool must know its subscribers", hint);
        return None;
    }
    let (hosts, addresses) = (pool.determined_subscribers(), u64::from(pool.count()));
    let ratio = hosts.div_ceil(addresses.max(1));
    let most = u64::from(pool.behaviour.ports.count() / BLOCK_MIN);
    if ratio > most {
        let message = format!(
            "{hosts} subscribers share {addresses} address(es): {ratio} to one, with less than {BLOCK_MIN} ports each"
        );
        let hint = format!("write {} addresses or more, or fewer subscribers", hosts.div_ceil(most.max(1)));
        report.refuse(place, message, hint);
        return None;
    }
    Some(())
}

fn realms(
    report: &Report<'_>,
    section: &mut Section<'_>,
    network: &Network,
    inside: &[u16],
) -> Option<Vec<u16>> {
    if !section.contains("realms") {
        return Some(inside.to_vec());
    }
    let mut ids = vec![];
    for realm in section.strings("realms", 1..=REALMS_MAX, values::reference)? {
        let Some(id) = network.realm_names.resolve(report, &realm).map(|index| index + 1) else { continue };
        if !inside.contains(&id) {
            let hint = match network.side(id) {
                Some(Side::Outside) => "write a realm of nat44.inside".to_string(),
                _ => format!("write \"{}\" into nat44.inside too", realm.value),
            };
            report.refuse(realm.place, format!("realm \"{}\" is not in nat44.inside", realm.value), hint);
        } else if ids.contains(&id) {
            report.refuse(
                realm.place,
                format!("realm \"{}\" stands twice", realm.value),
                "remove one of the two",
            );
        } else {
            ids.push(id);
        }
    }
    Some(ids)
}

fn subscriber_prefix(text: &str) -> Result<Ipv4Net, Wrong> {
    match values::prefix(text)? {
        IpNet::V4(prefix) if prefix.prefix_len() >= 8 => Ok(prefix),
        IpNet::V4(_) => {
            Err(Wrong::new(format!("\"{text}\" is wider than any private network"), "write a /8 or longer"))
        }
        IpNet::V6(_) => Err(Wrong::new(format!("\"{text}\" is not of IPv4"), "write \"10.0.0.0/24\"")),
    }
}

/// The prefixes, which must not overlap: a formula counts each host once.
fn disjoint(report: &Report<'_>, list: Vec<Located<Ipv4Net>>) -> Vec<Ipv4Net> {
    let mut prefixes: Vec<Ipv4Net> = vec![];
    for prefix in list {
        let overlaps = |other: &&Ipv4Net| other.contains(&prefix.value) || prefix.value.contains(*other);
        if let Some(other) = prefixes.iter().find(overlaps) {
            report.refuse(prefix.place, format!("{} overlaps {other}", prefix.value), "write each host once");
        }
        prefixes.push(prefix.value);
    }
    prefixes
}
