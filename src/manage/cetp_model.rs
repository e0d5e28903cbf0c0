//! What the operator's socket shows of sessions with hosts behind edges, of those edges, and of what was refused: a part of
//! [`super::model`], with its promises; and laid out for people. And what ends sessions.

use super::protocol::FlowLimit;
use super::text::{LEFT, RIGHT, Table, bytes, count, duration};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Whose sessions: those that meet every condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CetpFilter {
    /// Of that host, or with that host, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// With that edge, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// How many of each list to show.
    #[serde(default)]
    pub limit: FlowLimit,
}

/// A command about sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cetp", rename_all = "lowercase", deny_unknown_fields)]
pub enum CetpChange {
    /// Ends those that meet every condition, of which there must be one, or all; the other edges are told.
    Terminate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edge: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all: bool,
    },
    /// Lets hosts come again, of those that meet every condition, that are kept away for what they have done; the other edges are told.
    Pardon {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edge: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all: bool,
    },
}

/// What a command has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpChanged {
    /// Sessions that were ended.
    pub ended: u64,
    /// Hosts that may come again.
    #[serde(default)]
    pub pardoned: u64,
}

/// `show cetp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpStatus {
    /// What has happened since the start.
    pub counters: Vec<CetpCounter>,
    /// Sessions with hosts behind other edges that match.
    pub total_matched: u64,
    pub sessions: Vec<CetpSession>,
    /// Pairs of hosts behind this edge.
    pub local: Vec<CetpLocal>,
    pub edges: Vec<CetpEdge>,
    /// On which packets go to edges.
    pub ways: Vec<CetpWay>,
    /// The last ones, the newest first.
    pub refusals: Vec<CetpRefusal>,
    /// What is kept away.
    #[serde(default)]
    pub filtering: Vec<CetpFiltering>,
    /// Who is held to be worth least, the least first.
    #[serde(default)]
    pub reputations: Vec<CetpReputation>,
}

/// One of [`CetpStatus::counters`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpCounter {
    pub name: String,
    pub count: u64,
}

/// A session with a host behind another edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpSession {
    pub realm: String,
    pub host: String,
    pub address: Ipv4Addr,
    /// The other host, as the host sees it.
    pub proxy: Ipv4Addr,
    /// Its name, as far as that is known.
    pub peer: String,
    /// Where an association has proved it.
    pub edge: Option<String>,
    pub rloc: String,
    /// `outbound`: the host behind this edge has asked first.
    pub direction: String,
    pub local_tag: u32,
    pub remote_tag: u32,
    /// As the host behind this edge sees them: `out tcp/443`, `in any`.
    pub services: Vec<String>,
    pub timeout_s: u32,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    pub age_ms: u64,
    pub idle_ms: u64,
}

/// Two hosts behind this edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpLocal {
    pub hosts: [String; 2],
    /// Of each of them, what stands for the other in its realm.
    pub proxies: [Ipv4Addr; 2],
    pub timeout_s: u32,
}

/// Another edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpEdge {
    pub name: String,
    pub is_associated: bool,
    /// The one in use first.
    pub rlocs: Vec<String>,
    pub sessions: u32,
    /// By how much its clock is ahead.
    pub clock_ms: Option<i64>,
    /// Which life of it this is.
    pub incarnation: Option<u64>,
    pub heard_ms: Option<u64>,
}

/// A way to another edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpWay {
    /// The edge's name, where an association has proved it.
    pub edge: Option<String>,
    /// From where, and to where.
    pub local: String,
    pub rloc: String,
    /// Bytes of the longest packet between the edges, outer headers included; and where no router has said less.
    pub mtu: u16,
    pub most: u16,
    /// When a router's word counts no more.
    pub restored_in_ms: Option<u64>,
}

/// A question that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpRefusal {
    /// Since 1970-01-01 UTC.
    pub at_ms: u64,
    pub direction: String,
    pub host: String,
    pub peer: String,
    pub edge: Option<String>,
    pub rloc: Option<String>,
    /// `own` or `peer`: who has refused.
    pub by: String,
    /// It was a session that there was, and that would not be agreed on any more.
    #[serde(default)]
    pub has_ended: bool,
    pub reason: String,
    /// What it is about.
    pub about: Option<String>,
    /// Of the own policy: level and name.
    pub rule: Option<String>,
}

/// Something that is kept away from an edge, or from a host behind it, for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpFiltering {
    /// The other edge.
    pub edge: String,
    /// `sent`: that edge was asked to keep its own from this one; `received`: it has asked this one; `own`: this edge turns it away, and
    /// could not tell.
    pub direction: String,
    /// A host, or a domain, which begins with a dot: behind the other edge, or behind this one where it was received.
    pub what: String,
    /// The one host that it is kept from; none for all behind the edge that wants it.
    pub from: Option<String>,
    /// What the host has done; `rules` or `reputation`, of this edge; or the reason that the other one gives.
    pub why: String,
    /// For how many seconds more.
    pub left_s: u16,
}

/// What an edge, or a host, is held to be worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CetpReputation {
    /// By its name, where that is proved, or its RLOC; none for this edge.
    pub edge: Option<String>,
    /// None for the edge itself.
    pub host: Option<String>,
    /// In hundredths: 45 is somebody unknown.
    pub reputation: u8,
}

/// For people.
pub fn text(status: &CetpStatus) -> String {
    let mut counters = Table::new(&[LEFT, RIGHT]);
    counters.row(["counter", "count"].map(str::to_owned));
    status.counters.iter().for_each(|counter| counters.row([counter.name.clone(), count(counter.count)]));
    let (shown, total) = (count(status.sessions.len() as u64), count(status.total_matched));
    format!(
        "{counters}\n{}{shown} of {total} matching sessions\n\n{}\n{}\n{}\n{}\n{}\n{}",
        sessions(&status.sessions),
        local(&status.local),
        edges(&status.edges),
        ways(&status.ways),
        refusals(&status.refusals),
        filtering(&status.filtering),
        reputations(&status.reputations)
    )
}

fn or_dash(text: Option<&String>) -> String {
    text.map_or_else(|| "-".into(), Clone::clone)
}

fn sessions(list: &[CetpSession]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT, LEFT]);
    table.row(["host", "peer", "proxy", "edge", "rloc", "out", "in", "idle", "services"].map(str::to_owned));
    for session in list {
        table.row([
            session.host.clone(),
            session.peer.clone(),
            session.proxy.to_string(),
            or_dash(session.edge.as_ref()),
            session.rloc.clone(),
            bytes(session.bytes_out),
            bytes(session.bytes_in),
            duration(session.idle_ms),
            session.services.join(" "),
        ]);
    }
    table
}

fn local(list: &[CetpLocal]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, LEFT, LEFT]);
    table.row(["local host", "sees", "local host", "sees"].map(str::to_owned));
    for CetpLocal { hosts: [one, other], proxies: [at_one, at_other], .. } in list {
        table.row([one.clone(), at_one.to_string(), other.clone(), at_other.to_string()]);
    }
    table
}

fn edges(list: &[CetpEdge]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, RIGHT, RIGHT, RIGHT, LEFT]);
    table.row(["edge", "association", "sessions", "clock ms", "heard", "rlocs"].map(str::to_owned));
    for edge in list {
        table.row([
            edge.name.clone(),
            if edge.is_associated { "up" } else { "-" }.into(),
            count(edge.sessions.into()),
            edge.clock_ms.map_or_else(|| "-".into(), |ms| ms.to_string()),
            edge.heard_ms.map_or_else(|| "-".into(), duration),
            edge.rlocs.join(" "),
        ]);
    }
    table
}

fn ways(list: &[CetpWay]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT]);
    table.row(["way from", "to", "edge", "path mtu", "link mtu", "restored in"].map(str::to_owned));
    for way in list {
        table.row([
            way.local.clone(),
            way.rloc.clone(),
            or_dash(way.edge.as_ref()),
            way.mtu.to_string(),
            way.most.to_string(),
            way.restored_in_ms.map_or_else(|| "-".into(), duration),
        ]);
    }
    table
}

fn refusals(list: &[CetpRefusal]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, LEFT, LEFT, LEFT, LEFT]);
    table.row(["refused host", "direction", "peer", "by", "reason", "rule"].map(str::to_owned));
    for refusal in list {
        let about = refusal.about.as_ref().map_or_else(String::new, |about| format!(" ({about})"));
        table.row([
            refusal.host.clone(),
            refusal.direction.clone(),
            refusal.peer.clone(),
            refusal.by.clone(),
            format!("{}{}{about}", if refusal.has_ended { "session ended: " } else { "" }, refusal.reason),
            or_dash(refusal.rule.as_ref()),
        ]);
    }
    table
}

fn filtering(list: &[CetpFiltering]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, LEFT, LEFT, LEFT, RIGHT]);
    table.row(["filtering", "edge", "kept away", "from", "why", "left"].map(str::to_owned));
    for of in list {
        table.row([
            of.direction.clone(),
            of.edge.clone(),
            of.what.clone(),
            or_dash(of.from.as_ref()),
            of.why.clone(),
            duration(u64::from(of.left_s) * 1000),
        ]);
    }
    table
}

fn reputations(list: &[CetpReputation]) -> Table {
    let mut table = Table::new(&[LEFT, LEFT, RIGHT]);
    table.row(["edge", "host", "reputation"].map(str::to_owned));
    for of in list {
        table.row([or_dash(of.edge.as_ref()), or_dash(of.host.as_ref()), of.reputation.to_string()]);
    }
    table
}

/// For people.
pub fn changed(changed: &CetpChanged, change: &CetpChange) -> String {
    match change {
        CetpChange::Terminate { .. } => format!("{} sessions ended\n", count(changed.ended)),
        CetpChange::Pardon { .. } => format!("{} hosts may come again\n", count(changed.pardoned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_told() {
        let status = CetpStatus {
            counters: vec![CetpCounter { name: "calls".into(), count: 1_234 }],
            total_matched: 4_321,
            sessions: vec![CetpSession {
                realm: "home".into(),
                host: "tv.home.example".into(),
                address: Ipv4Addr::new(10, 0, 0, 2),
                proxy: Ipv4Addr::new(172, 16, 0, 9),
                peer: "pc.far.example".into(),
                edge: Some("ces.far.example".into()),
                rloc: "203.0.113.7".into(),
                direction: "outbound".into(),
                local_tag: 1,
                remote_tag: 2,
                services: vec!["out tcp/443".into()],
                timeout_s: 60,
                packets_out: 3,
                bytes_out: 5_000_000,
                packets_in: 4,
                bytes_in: 7_000_000,
                age_ms: 90_000,
                idle_ms: 61_000,
            }],
            local: vec![CetpLocal {
                hosts: ["a.home.example".into(), "b.home.example".into()],
                proxies: [Ipv4Addr::new(172, 16, 0, 1), Ipv4Addr::new(172, 16, 0, 2)],
                timeout_s: 60,
            }],
            edges: vec![CetpEdge {
                name: "ces.far.example".into(),
                is_associated: true,
                rlocs: vec!["203.0.113.7".into(), "2001:db8::7".into()],
                sessions: 42,
                clock_ms: Some(-15),
                incarnation: Some(7),
                heard_ms: Some(1_000),
            }],
            ways: vec![CetpWay {
                edge: Some("ces.far.example".into()),
                local: "203.0.113.1".into(),
                rloc: "203.0.113.8".into(),
                mtu: 1_300,
                most: 1_500,
                restored_in_ms: Some(599_000),
            }],
            refusals: vec![CetpRefusal {
                at_ms: 1,
                direction: "inbound".into(),
                host: "tv.home.example".into(),
                peer: "spam.example".into(),
                edge: None,
                rloc: None,
                by: "own".into(),
                has_ended: true,
                reason: "refused by policy".into(),
                about: Some("domain".into()),
                rule: Some("host quiet".into()),
            }],
            filtering: vec![CetpFiltering {
                edge: "ces.far.example".into(),
                direction: "sent".into(),
                what: "noisy.far.example".into(),
                from: Some("quiet.home.example".into()),
                why: "rules".into(),
                left_s: 125,
            }],
            reputations: vec![CetpReputation {
                edge: Some("ces.bad.example".into()),
                host: Some("spammer.example".into()),
                reputation: 17,
            }],
        };
        let text = text(&status);
        let told = ["1,234", "1 of 4,321 matching", "172.16.0.9", "pc.far.example", "1m01s", "out tcp/443"];
        let more = ["a.home.example", "172.16.0.2", "ces.far.example", "up", "42", "-15", "2001:db8::7"];
        let last = [
            "spam.example",
            "session ended: refused by policy (domain)",
            "host quiet",
            "spammer.example",
            "17",
        ];
        let ways = ["203.0.113.8", "1300", "1500", "9m59s"];
        let filtering = ["sent", "noisy.far.example", "quiet.home.example", "rules", "2m05s"];
        for told in told.into_iter().chain(more).chain(last).chain(ways).chain(filtering) {
            assert!(text.contains(told), "{told}: {text}");
        }
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<CetpStatus>(&json).unwrap(), status);
        let (host, edge, all) = (None, None, true);
        let terminate = CetpChange::Terminate { host: host.clone(), edge: edge.clone(), all };
        let told = changed(&CetpChanged { ended: 3, pardoned: 0 }, &terminate);
        assert_eq!(told, "3 sessions ended\n");
        let told = changed(&CetpChanged { ended: 0, pardoned: 2 }, &CetpChange::Pardon { host, edge, all });
        assert_eq!(told, "2 hosts may come again\n");
    }
}
