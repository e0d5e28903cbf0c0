//! What the operator's socket shows of proxy addresses: a part of [`super::model`], with its promises; and laid out for people.

use super::text::{LEFT, RIGHT, Table, count, duration, share};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// `show proxies`: the addresses that stand for remote hosts inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyList {
    /// By realm.
    pub pools: Vec<ProxyPool>,
    /// What has become of questions and assignments, since the start.
    pub counters: Vec<ProxyCounter>,
    /// Assignments that match.
    pub total_matched: u64,
    /// Some of them are not shown.
    pub truncated: bool,
    /// In the order of their realms, then of their addresses.
    pub proxies: Vec<ProxyStatus>,
}

/// How much of a realm's addresses is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyPool {
    pub realm: String,
    pub addresses: u32,
    /// Of them, those that stand for somebody.
    pub assigned: u32,
    /// And those that lately have, and stand for nobody else before a while.
    pub resting: u32,
}

/// One of [`ProxyList::counters`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyCounter {
    pub name: String,
    pub count: u64,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    pub realm: String,
    pub proxy: Ipv4Addr,
    /// Whom it stands for; none is there for a host behind an edge, which its names tell.
    pub remote: Option<Ipv4Addr>,
    /// Names by which that was asked for, the last one first; at most a few.
    pub names: Vec<String>,
    /// That go there now.
    pub sessions: u32,
    /// Since it was assigned.
    pub age_ms: u64,
}

/// For people.
pub fn text(list: &ProxyList) -> String {
    let mut pools = Table::new(&[LEFT, RIGHT, RIGHT]);
    pools.row(["realm", "assigned", "resting"].map(str::to_owned));
    for pool in &list.pools {
        let assigned = share(pool.assigned.into(), pool.addresses.into());
        pools.row([pool.realm.clone(), assigned, count(pool.resting.into())]);
    }
    let mut counters = Table::new(&[LEFT, RIGHT]);
    counters.row(["counter", "count"].map(str::to_owned));
    list.counters.iter().for_each(|counter| counters.row([counter.name.clone(), count(counter.count)]));
    let mut proxies = Table::new(&[LEFT, LEFT, LEFT, RIGHT, RIGHT, LEFT]);
    proxies.row(["realm", "proxy", "remote", "sessions", "age", "names"].map(str::to_owned));
    for proxy in &list.proxies {
        proxies.row([
            proxy.realm.clone(),
            proxy.proxy.to_string(),
            proxy.remote.map_or_else(|| "(behind an edge)".into(), |remote| remote.to_string()),
            count(proxy.sessions.into()),
            duration(proxy.age_ms),
            proxy.names.join(" "),
        ]);
    }
    let (shown, total) = (count(list.proxies.len() as u64), count(list.total_matched));
    let more = if list.truncated { " (--limit shows more)" } else { "" };
    format!("{pools}\n{counters}\n{proxies}{shown} of {total} matching assignments{more}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_told() {
        let list = ProxyList {
            pools: vec![ProxyPool { realm: "home".into(), addresses: 16_384, assigned: 1_234, resting: 567 }],
            counters: vec![ProxyCounter { name: "exhausted".into(), count: 89 }],
            total_matched: 1_234,
            truncated: true,
            proxies: vec![ProxyStatus {
                realm: "home".into(),
                proxy: Ipv4Addr::new(172, 16, 64, 1),
                remote: Some(Ipv4Addr::new(198, 51, 100, 7)),
                names: vec!["www.example".into(), "cdn.example".into()],
                sessions: 42,
                age_ms: 61_000,
            }],
        };
        let text = text(&list);
        let told =
            ["1,234 of 16,384", "567", "exhausted", "89", "172.16.64.1", "198.51.100.7", "42", "1m01s"];
        for told in told.into_iter().chain(["www.example cdn.example", "1 of 1,234 matching", "--limit"]) {
            assert!(text.contains(told), "{told}: {text}");
        }
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(serde_json::from_str::<ProxyList>(&json).unwrap(), list);
    }
}
