//! The key about addresses that the world reaches as they are: `realm.public`. What names of hosts that have such an address are
//! answered with outside, instead of one of the circular pool.
//!
//! Guarantees: such a prefix is globally routable, is of one realm, and none of it is translated, in the NAT's pools or in the
//! circular one. Never: asks who routes it there.

use ipnet::IpNet;

use super::bogons::PRIVATE;
use super::error::Report;
use super::model::{Ipv6, Side};
use super::nat_model::{Nat44, PoolRange};
use super::network::Network;
use super::prgw::Prgw;
use super::section::{Located, Section};
use super::values;

const PUBLIC_MAX: usize = 1024;

/// The prefixes of a realm.
pub(super) fn read(report: &Report<'_>, section: &mut Section<'_>) -> Vec<Located<IpNet>> {
    let mut public = section.strings("public", 0..=PUBLIC_MAX, values::public).unwrap_or_default();
    public.retain(|Located { value, place }| {
        let overlaps = |private: &&IpNet| private.contains(value) || value.contains(*private);
        let private = PRIVATE.iter().find(overlaps);
        if let Some(private) = private {
            let message = format!("{value} is not globally routable: it overlaps {private}");
            report.refuse(*place, message, "remove it: hosts there are reached by the circular pool");
        }
        private.is_none()
    });
    public
}

/// Refuses prefixes that cannot be reached as they are, whoever routes them.
pub(super) fn check(
    report: &Report<'_>,
    network: &Network,
    nat44: Option<&Nat44>,
    ipv6: Option<&Ipv6>,
    prgw: Option<&Prgw>,
) {
    let translated = nat44.iter().flat_map(|nat44| nat44.pools.iter().flat_map(|pool| &pool.addresses));
    let pools: Vec<&PoolRange> = translated.chain(prgw.iter().flat_map(|prgw| &prgw.pool)).collect();
    for realm in network.realms() {
        let is_translated = nat44.is_some_and(|nat44| nat44.inside.contains(&realm));
        for &Located { value, place } in network.public(realm) {
            let refuse = |message: String, hint: &str| report.refuse(place, message, hint);
            if network.side(realm) == Some(Side::Outside) {
                refuse("the realm is outside".into(), "write it in the [[realm]] of the hosts");
            } else if value.addr().is_ipv4() && is_translated {
                let hint = "put those hosts into a realm that is not in nat44.inside, or remove this";
                refuse(format!("hosts of this realm are translated, those of {value} too"), hint);
            } else if let Some(range) = pools.iter().find(|range| is_in(range, &value)) {
                refuse(format!("{value} overlaps {range}, of a pool"), "write the hosts' own addresses");
            }
            if value.addr().is_ipv6() && ipv6.is_some_and(|ipv6| ipv6.inside.contains(&realm)) {
                let why = "names lead there, but [ipv6] lets hosts be answered only, not called (RFC 6092)";
                report.warn(place, why);
            }
        }
    }
    check_apart(report, network);
}

/// Refuses what stands twice, or within another.
fn check_apart(report: &Report<'_>, network: &Network) {
    let mut all: Vec<&Located<IpNet>> = network.realms().flat_map(|realm| network.public(realm)).collect();
    all.sort_by_key(|prefix| (prefix.value, prefix.place.offset));
    let mut widest: Option<IpNet> = None;
    for Located { value, place } in all {
        match widest.filter(|widest| widest.contains(value)) {
            Some(other) => report.refuse(
                *place,
                format!("{value} is in {other}, of this or another realm"),
                "write it once",
            ),
            None => widest = Some(*value),
        }
    }
}

fn is_in(range: &PoolRange, prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(prefix) => range.first <= prefix.broadcast() && prefix.network() <= range.last,
        IpNet::V6(_) => false,
    }
}
