//! The keys about how hosts see remote hosts: `realm.remote`, `realm.proxy_addresses` and `realm.proxies_per_host`.
//!
//! Guarantees: proxy addresses are nobody's else in their realm, nor public ones, and where hosts are to see them there is
//! somebody who tells them and somebody who translates. Two realms may have the same ones. Never: assigns one.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::dns::Dns;
use super::error::Report;
use super::model::{Realm, Remote, RouteTarget, Side};
use super::nat_model::{Nat44, PoolRange};
use super::nat44::{self, Surroundings};
use super::network::Network;
use super::prgw::Prgw;
use super::section::{Located, Section, or};
use super::values;

const RANGES_MAX: usize = 1024;

/// What a realm says of it.
#[derive(Debug)]
pub(super) struct Draft {
    remote: Option<Located<Remote>>,
    pub addresses: Vec<Located<PoolRange>>,
    per_host: Option<Located<u32>>,
}

impl Draft {
    pub fn read(section: &mut Section<'_>) -> Draft {
        let remote = section.choice("remote", &[("real", Remote::Real), ("proxy", Remote::Proxy)]);
        let addresses = section.strings("proxy_addresses", 1..=RANGES_MAX, values::pool_range);
        let per_host = section.integer("proxies_per_host", 1..=Realm::PROXY_ADDRESSES_MAX);
        Draft { remote, addresses: addresses.unwrap_or_default(), per_host }
    }

    pub fn remote(&self) -> Remote {
        or(self.remote, Remote::Real)
    }

    fn count(&self) -> u64 {
        self.addresses.iter().map(|range| range.value.count()).sum()
    }

    pub fn per_host(&self) -> u32 {
        let addresses = self.count().clamp(1, Realm::PROXY_ADDRESSES_MAX.into()) as u32;
        or(self.per_host, (addresses / 8).clamp(16, 1024).min(addresses))
    }
}

/// What the proxy addresses are compared with; `None` of what is missing or wrong, and whether the file has it.
pub(super) struct Others<'a> {
    pub nat44: (bool, Option<&'a Nat44>),
    pub dns: (bool, Option<&'a Dns>),
    pub prgw: Option<&'a Prgw>,
    /// Whether hosts call hosts behind edges, whom they see by proxy addresses in any case.
    pub has_tunnels: bool,
}

/// Refuses what contradicts the rest of the file.
pub(super) fn check(report: &Report<'_>, around: &Surroundings<'_>, others: &Others<'_>) {
    let mut total = 0;
    for realm in around.network.realms() {
        let Some(draft) = around.network.proxies(realm) else { continue };
        let remote = draft.remote.filter(|remote| remote.value == Remote::Proxy);
        if around.network.side(realm) == Some(Side::Outside) {
            let places = draft.addresses.first().map(|range| range.place);
            let places = places.or(remote.map(|remote| remote.place)).or(draft.per_host.map(|n| n.place));
            if let Some(place) = places {
                let hint = "remove it: hosts of a realm of side inside see remote hosts by proxy addresses";
                report.refuse(place, "its realm is of side outside", hint);
            }
            continue;
        }
        match (remote, draft.addresses.first()) {
            (Some(remote), None) => {
                let hint =
                    "write proxy_addresses = [\"172.16.64.0/18\"]: private addresses that no host here has";
                report.refuse(remote.place, "there are no proxy addresses", hint);
            }
            (None, Some(range)) if !others.has_tunnels => {
                let message = "no host sees proxy addresses: write remote = \"proxy\", or [cetp]";
                report.warn(range.place, message);
            }
            (Some(remote), Some(_)) => needs(report, realm, remote, others),
            (None, _) => {}
        }
        total += draft.count();
        if let Some(range) = draft.addresses.first().filter(|_| total > Realm::PROXY_ADDRESSES_MAX.into()) {
            let message = format!("{total} proxy addresses, with those of realms before");
            let hint = format!("write {} or less, of all realms together", Realm::PROXY_ADDRESSES_MAX);
            report.refuse(range.place, message, hint);
            total = 0;
        }
        nat44::check_disjoint(report, &draft.addresses);
        for range in &draft.addresses {
            check_range(report, realm, range, around, others);
        }
    }
}

/// Who translates and who tells hosts of proxy addresses.
fn needs(report: &Report<'_>, realm: u16, remote: Located<Remote>, others: &Others<'_>) {
    match others.nat44 {
        (false, _) => {
            let hint = "write [nat44]: it translates what goes to a proxy address";
            report.refuse(remote.place, "there is no [nat44]", hint);
        }
        (true, Some(nat44)) if !nat44.inside.contains(&realm) => {
            report.refuse(
                remote.place,
                "its realm is not translated",
                "write the realm into nat44.inside, or remote = \"real\"",
            );
        }
        _ => {}
    }
    let (is_written, dns) = others.dns;
    if !is_written || dns.is_some_and(|dns| dns.upstreams.is_none()) {
        let hint = "write [[dns.upstreams]]: hosts hear of proxy addresses as answers to questions for others' names";
        report.refuse(remote.place, "there are no dns.upstreams", hint);
    }
}

/// Refuses a range with addresses that are somebody's.
fn check_range(
    report: &Report<'_>,
    realm: u16,
    range: &Located<PoolRange>,
    around: &Surroundings<'_>,
    others: &Others<'_>,
) {
    match whose(realm, &range.value, around, others) {
        Some(Whose::Inside(prefix)) => {
            let message = format!("{} meets {prefix}, where hosts of this realm are", range.value);
            report.refuse(range.place, message, "write addresses that no host of the realm has");
        }
        Some(Whose::Public(pool)) => {
            let message = format!("{} overlaps {pool}, of a public pool", range.value);
            report.refuse(range.place, message, "write private addresses");
        }
        Some(Whose::One(address, whose)) => {
            let message = format!("{} has {address} in it, {whose}", range.value);
            report.refuse(range.place, message, "write ranges without it: \"FIRST-LAST\"");
        }
        None => {}
    }
}

enum Whose {
    Inside(IpNet),
    Public(PoolRange),
    One(Ipv4Addr, &'static str),
}

fn whose(realm: u16, range: &PoolRange, around: &Surroundings<'_>, others: &Others<'_>) -> Option<Whose> {
    let network: &Network = around.network;
    let meets = |net: &IpNet| match net {
        IpNet::V4(net) => range.first <= net.broadcast() && net.network() <= range.last,
        IpNet::V6(_) => false,
    };
    if let Some((_, own)) = network.addresses_in(realm).find(|(_, own)| meets(&own.value)) {
        return Some(Whose::Inside(own.value.trunc()));
    }
    let one = |address: IpAddr, whose| match address {
        IpAddr::V4(address) if range.contains(address) => Some(Whose::One(address, whose)),
        _ => None,
    };
    // Another inside realm's are nobody's here.
    let outside = network.realms().filter(|&other| network.side(other) == Some(Side::Outside));
    let mut own = outside.flat_map(|other| network.addresses_in(other));
    if let Some(found) = own.find_map(|(_, own)| one(own.value.addr(), "an address of the edge")) {
        return Some(found);
    }
    let mut routes = around.routes.iter().filter(|route| route.realm == realm);
    let of_route = |route: &super::model::Route| {
        // A wider route leads to others, among whom these are nobody.
        let is_within = match route.prefix {
            IpNet::V4(net) => range.contains(net.network()) && range.contains(net.broadcast()),
            IpNet::V6(_) => false,
        };
        if is_within && matches!(route.target, RouteTarget::NextHops(_)) {
            return Some(Whose::Inside(route.prefix));
        }
        route.gateways().find_map(|(_, gateway)| one(gateway, "the gateway of a route"))
    };
    if let Some(found) = routes.find_map(of_route) {
        return Some(found);
    }
    let translated =
        others.nat44.1.into_iter().flat_map(|nat44| &nat44.pools).flat_map(|pool| &pool.addresses);
    let circular = others.prgw.into_iter().flat_map(|prgw| &prgw.pool);
    let mut public = translated.chain(circular);
    public.find(|pool| range.first <= pool.last && pool.first <= range.last).map(|pool| Whose::Public(*pool))
}
