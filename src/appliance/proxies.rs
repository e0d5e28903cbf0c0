//! From the realms' proxy addresses to what workers and the DNS share, and how they are shown.

use crate::config::{Config, Remote};
use crate::edge::proxies::{self as room, Assignment, Proxies};
use crate::flow::{self, Bindings, HashKey, Realm};
use crate::manage::Refusal;
use crate::manage::protocol::ProxyFilter;
use crate::manage::proxy_model::{ProxyCounter, ProxyList, ProxyPool, ProxyStatus};
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Instant;

use super::routes;

/// What workers see of them, and who assigns them; `None` where no host sees any.
pub fn pools(config: &Config, random: &mut StdRng) -> Option<(Arc<flow::Proxies>, Bindings)> {
    // Without tunnels there is nobody but strangers to see.
    let is_seen = |realm: &&crate::config::Realm| realm.remote == Remote::Proxy || config.tunnels.is_some();
    let seen = config.realms.iter().filter(is_seen).filter(|realm| !realm.proxy_addresses.is_empty());
    let ranges = |realm: &crate::config::Realm| {
        let ranges = realm.proxy_addresses.iter().map(|range| (range.first, range.last)).collect();
        (Realm(realm.id), ranges)
    };
    let realms: Vec<_> = seen.map(ranges).collect();
    (!realms.is_empty()).then(|| flow::Proxies::new(realms, HashKey::new(|| random.random())))
}

/// Who assigns them.
pub fn book(config: &Config, bindings: Bindings) -> Arc<Proxies> {
    let per_host = |realm: Realm| {
        config.realms.iter().find(|own| own.id == realm.0).map_or(0, |own| own.proxies_per_host)
    };
    let real = config.realms.iter().filter(|realm| realm.remote == Remote::Real).map(|realm| Realm(realm.id));
    Arc::new(Proxies::new(bindings, per_host, Instant::now()).with_real_strangers(real.collect()))
}

/// As the operator sees them.
///
/// # Errors
/// There are none, or no such realm.
pub fn show(config: &Config, proxies: Option<&Proxies>, filter: &ProxyFilter) -> Result<ProxyList, Refusal> {
    let hint = "write remote = \"proxy\" and proxy_addresses into a [[realm]] and start cesd again";
    let proxies = proxies.ok_or_else(|| Refusal::new("no host sees proxy addresses", hint))?;
    let realm = filter.realm.as_deref().map(|name| routes::realm(config, name)).transpose()?;
    let name = |realm: Realm| {
        let named = config.realms.iter().find(|own| own.id == realm.0);
        named.map_or_else(|| realm.0.to_string(), |own| own.name.clone())
    };
    let (pools, counters) = proxies.figures();
    let pool = |used: crate::edge::proxies::Use| ProxyPool {
        realm: name(used.realm),
        addresses: used.addresses,
        assigned: used.assigned,
        resting: used.resting,
    };
    let counter = |(name, count): (&str, u64)| ProxyCounter { name: name.into(), count };
    let mut list = ProxyList {
        pools: pools.into_iter().map(pool).collect(),
        counters: counters.iter().map(counter).collect(),
        total_matched: 0,
        truncated: false,
        proxies: vec![],
    };
    proxies.show(realm.map(Realm), Instant::now(), |found| {
        let is_it = |address| found.address == address || found.remote == room::Remote::Address(address);
        if !filter.address.is_none_or(is_it) {
            return;
        }
        list.total_matched += 1;
        if list.proxies.len() < filter.limit.get() {
            let Assignment { realm, address, remote, names, sessions, age } = found;
            list.proxies.push(ProxyStatus {
                realm: name(realm),
                proxy: address,
                remote: match remote {
                    room::Remote::Address(remote) => Some(remote),
                    room::Remote::Host(_) => None,
                },
                names: names.into_iter().map(Into::into).collect(),
                sessions,
                age_ms: age,
            });
        }
    });
    list.truncated = list.total_matched > list.proxies.len() as u64;
    Ok(list)
}
