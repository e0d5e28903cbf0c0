//! What an operator sees of sessions, edges and refusals; and what ends sessions by an operator's word.
//!
//! Guarantees: at most as many sessions are copied as are asked for. Never: changes anything but [`Service::terminate`].

use super::edges::{Key, ShownWay};
use super::house::Lent;
use super::local::Twins;
use super::path_mtu;
use super::refusals::Refusal;
use super::reputations::ShownReputation;
use super::service::{Counters, Now, Service};
use crate::edge::cetp::message::{Reason, Rloc, Service as Wire, Tag};
use crate::edge::cetp::negotiation::Counters as Protocol;
use crate::edge::cetp::terms::Side;
use crate::edge::hosts::name_hash;
use crate::flow::Realm;
use crate::flow::tunnel::Counts;
use std::net::Ipv4Addr;

/// A session with a host behind another edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSession {
    pub realm: Realm,
    pub host: Box<str>,
    pub address: Ipv4Addr,
    pub proxy: Ipv4Addr,
    /// The other host, as it is known.
    pub peer: Box<str>,
    /// The other edge, where it is proved.
    pub edge: Option<Box<str>>,
    pub rloc: Rloc,
    pub side: Side,
    pub tags: (Tag, Tag),
    pub services: Vec<Wire>,
    pub timeout: u32,
    pub counts: Counts,
    /// Milliseconds since it began, and since the last packet.
    pub age: u64,
    pub idle: u64,
}

/// Another edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownEdge {
    pub name: Box<str>,
    pub is_associated: bool,
    /// Where messages go, then all others that it has told.
    pub rlocs: Vec<Rloc>,
    pub sessions: u32,
    /// By how many milliseconds its clock is ahead.
    pub clock: Option<i64>,
    pub incarnation: Option<u64>,
    /// Milliseconds since it was last heard.
    pub heard: Option<u64>,
}

/// Who has asked for something to be kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// This edge, of the other one.
    Sent,
    /// The other edge, of this one.
    Received,
    /// Nobody: this edge turns it away without that.
    Nobody,
}

/// What is kept away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownFilter {
    pub edge: Box<str>,
    pub told: Told,
    /// A host; of a domain, its name after a dot. Behind the other edge, or behind this one where that was received.
    pub what: Box<str>,
    /// From whom; `None`: from all at the edge that wants it.
    pub from: Option<Box<str>>,
    pub why: String,
    /// Seconds.
    pub left: u16,
}

/// All that is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    pub counters: Counters,
    pub path_mtu: path_mtu::Counters,
    pub protocol: Protocol,
    /// Sessions that there are, of those that are shown.
    pub total: u64,
    pub sessions: Vec<ShownSession>,
    pub locals: Vec<Twins>,
    pub edges: Vec<ShownEdge>,
    /// On which packets go to edges, and the proved name of each; `until` counts from now.
    pub ways: Vec<(Option<Box<str>>, ShownWay)>,
    pub refusals: Vec<Refusal>,
    pub refused: u64,
    /// What is kept away.
    pub filters: Vec<ShownFilter>,
    /// Who is worth least, the least first.
    pub reputations: Vec<ShownReputation>,
}

/// Whose sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of that host, or with that host.
    pub host: Option<Box<str>>,
    /// With that edge.
    pub edge: Option<Box<str>>,
    /// Most of each list.
    pub limit: usize,
}

impl Service {
    /// What a host behind that edge, or behind this one, is held to be worth by what has come of it, in hundredths.
    pub fn worth(&self, edge: Option<&str>, host: &str, now: Now) -> u8 {
        let hash = name_hash(host);
        match edge {
            Some(edge) => self.reputations.of(&Key::Named(edge.into()), Some(&hash), now.ms),
            None => self.reputations.of_own(&hash, now.ms),
        }
    }

    /// What there is.
    pub fn show(&self, wanted: &Wanted, lent: Lent<'_>, now: Now) -> Shown {
        let mut sessions = Vec::new();
        let mut total = 0;
        for (local, session) in self.live().iter() {
            let host = lent.host(session.pair.host);
            let host = host.map_or("", |host| host.parts().name);
            let edge = session.edge.name();
            let is_host = |name: &str| name == host || name == &*session.name;
            let is_wanted = wanted.host.as_deref().is_none_or(is_host)
                && wanted.edge.as_deref().is_none_or(|name| edge == Some(name));
            total += u64::from(is_wanted);
            let Some(record) = self.shared.find(local.get()).filter(|_| is_wanted) else { continue };
            if sessions.len() < wanted.limit {
                sessions.push(ShownSession {
                    realm: session.realm,
                    host: host.into(),
                    address: session.host,
                    proxy: session.proxy,
                    peer: session.name.clone(),
                    edge: edge.map(Box::from),
                    rloc: self.edges.active(&session.edge).unwrap_or(session.rloc),
                    side: session.side,
                    tags: (local, session.remote),
                    services: session.services.to_vec(),
                    timeout: session.timeout,
                    counts: record.counts(),
                    age: now.ms.saturating_sub(session.since),
                    idle: now.ms.saturating_sub(super::live::own_time(record, now)),
                });
            }
        }
        let is_local = |twins: &&Twins| {
            let has = |name: &str| twins.halves.iter().any(|half| *half.name == *name);
            wanted.edge.is_none() && wanted.host.as_deref().is_none_or(has)
        };
        Shown {
            counters: self.counters(),
            path_mtu: self.mtu_counters,
            protocol: self.protocol().counters(),
            total,
            sessions,
            locals: self.locals().iter().filter(is_local).take(wanted.limit).cloned().collect(),
            edges: self.shown_edges(wanted, now),
            ways: self.shown_ways(wanted, now),
            refusals: self.refusals().iter().take(wanted.limit).cloned().collect(),
            refused: self.refusals().count(),
            filters: self.shown_filters(wanted, lent, now),
            reputations: self.reputations.worst(wanted.limit, now.ms),
        }
    }

    fn shown_edges(&self, wanted: &Wanted, now: Now) -> Vec<ShownEdge> {
        let is_wanted = |name: &str| wanted.edge.as_deref().is_none_or(|edge| edge == name);
        let edges = self.protocol().edges().filter(|peer| is_wanted(&peer.name)).take(wanted.limit);
        let shown = |peer: &crate::edge::cetp::association::peer::Peer| {
            let current = peer.current.as_deref();
            let active = peer.rloc();
            let others = peer.rlocs.iter().copied().filter(|rloc| Some(*rloc) != active);
            ShownEdge {
                name: peer.name.clone(),
                is_associated: current.is_some(),
                rlocs: active.into_iter().chain(others).collect(),
                sessions: peer.sessions,
                clock: self.clocks.get(&peer.name).copied(),
                incarnation: current.map(|current| current.told.incarnation),
                heard: current.map(|_| now.ms.saturating_sub(peer.heard)),
            }
        };
        edges.map(shown).collect()
    }

    fn shown_ways(&self, wanted: &Wanted, now: Now) -> Vec<(Option<Box<str>>, ShownWay)> {
        let is_wanted = |name: Option<&str>| wanted.edge.is_none() || name == wanted.edge.as_deref();
        let ways = self.edges.ways().filter(|(key, _)| is_wanted(key.name())).take(wanted.limit);
        let shown = ways.map(|(key, way)| {
            let until = way.until.map(|until| until.saturating_sub(now.ms));
            (key.name().map(Box::from), ShownWay { until, ..way })
        });
        shown.collect()
    }

    /// Ends the sessions of a host, or with an edge, or of both; how many.
    pub fn terminate(&mut self, wanted: &Wanted, lent: Lent<'_>, now: Now) -> u64 {
        let all = Wanted { limit: usize::MAX, ..wanted.clone() };
        let sessions = self.show(&all, lent, now).sessions;
        for session in &sessions {
            self.close(session.tags.0, Reason::CLOSED, lent, now);
        }
        let locals = self.terminate_locals(wanted, now);
        self.settle(lent, now);
        sessions.len() as u64 + locals
    }
}
